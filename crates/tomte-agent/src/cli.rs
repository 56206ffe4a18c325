//! The command line of `tomte-agent`.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory, Parser, Subcommand};
use tomte_collect::{Root, SystemClock};
use tomte_model::{Catalogue, ThresholdRule};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, reload};

use crate::action_command::{self, LocalAgent};
use crate::config::{Config, Found, Layers, LogFormat, LogLevel, SAMPLE, Sources, candidates_here};
use crate::link::with_causes;
use crate::run::SetLogLevel;
use crate::settings::Pushed;
use crate::state::StateDir;
use crate::{command, doctor, enrol, helper, import, once, run};

/// Something has to be done before this works.
const TROUBLE: u8 = 1;
/// Each thread's stack; collectors bring their own.
const STACK: usize = 256 * 1024;

/// The agent that watches one host.
#[derive(Debug, Parser)]
#[command(
    name = "tomte-agent",
    version,
    about = "The agent that watches one host",
    after_help = "Examples:\n  tomte-agent enroll https://hub.lan:8420 --code -\n  tomte-agent run\n  tomte-agent doctor"
)]
struct Cli {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Watch this host until told to stop
    #[command(after_help = "SIGHUP reads the configuration again; SIGTERM stops.")]
    Run {
        #[command(flatten)]
        settings: Settings,
        /// End with an error when the MQTT broker is not reached within mqtt.require_within
        #[arg(long)]
        require_broker: bool,
    },
    /// Look at everything once and print it
    #[command(after_help = "Examples:\n  tomte-agent once\n  tomte-agent once --json | jq '.reports[].collector'")]
    Once {
        #[command(flatten)]
        settings: Settings,
        /// Print JSON: the reports as the hub gets them
        #[arg(long)]
        json: bool,
        /// Look at a copied tree instead of this machine (no rates then)
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
    },
    /// Print the configuration and thresholds in force, and where they come from
    Check {
        #[command(flatten)]
        settings: Settings,
        /// Print a commented sample of agent.toml instead
        #[arg(long)]
        sample: bool,
        /// Print a commented sample of commands.toml instead
        #[arg(long, conflicts_with = "sample")]
        sample_commands: bool,
    },
    /// Make this host known to a hub
    #[command(after_help = "`tomte host add NAME` on the hub prints the whole line to paste.\n\nExamples:\n  \
                      tomte-agent enroll https://hub.lan:8420 --code AQC...\n  \
                      tomte host add nas --code-only | ssh nas tomte-agent enroll https://hub.lan:8420 --code -")]
    Enroll {
        /// Where the hub is
        url: String,
        /// The single-use code; - reads it from the standard input
        #[arg(long, value_name = "CODE")]
        code: String,
        #[command(flatten)]
        file: File,
    },
    /// Make a configuration of an old systant.toml
    #[command(after_help = "What could not be taken over is said on the standard error.\n\nExamples:\n  \
                      tomte-agent import /etc/systant/systant.toml\n  \
                      tomte-agent import /etc/systant/systant.toml --to /etc/tomte")]
    Import {
        /// The old file
        file: PathBuf,
        /// Write agent.toml, commands.toml and mqtt-password into this folder instead of printing them
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// Show what this host was asked to do, and decide on it
    #[command(subcommand)]
    Action(ActionCommands),
    /// Say what works, what does not, and what to do about it
    Doctor(Settings),
    /// Do, as root, the few things for the agent that only root may do
    #[command(after_help = "tomte-agent-helper.socket starts it when the agent asks. By hand:\n  \
                      tomte-agent helper --socket /run/tomte-helper.sock")]
    Helper {
        /// Listen here; without it, on the standard input, as systemd gives it
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// Whom to answer besides root: the agent's user
        #[arg(long, value_name = "USER", default_value = "tomte")]
        user: String,
        /// Run the commands of this list instead [default: /etc/tomte/commands.toml]
        #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = command::FILE)]
        commands: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum ActionCommands {
    /// List what waits and what runs
    List {
        #[command(flatten)]
        settings: Settings,
        /// What is over, too
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one: its plan, its history, what came of it
    Show {
        /// Its id, or the beginning of it
        id: String,
        #[command(flatten)]
        settings: Settings,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Approve one, as root: it is run at once
    Approve {
        /// Its id, or the beginning of it
        id: String,
        #[command(flatten)]
        settings: Settings,
        /// Do not ask whether the plan is meant
        #[arg(long)]
        yes: bool,
    },
    /// Reject one, as root
    Reject {
        /// Its id, or the beginning of it
        id: String,
        #[command(flatten)]
        settings: Settings,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct File {
    /// The configuration [default: ~/.config/tomte/agent.toml (not as root), /etc/tomte/agent.toml]
    #[arg(long, value_name = "FILE", env = "TOMTE_AGENT_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Settings {
    #[command(flatten)]
    file: File,
    /// Set a key of the configuration, over file and environment: intervals.fast=5s
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, for example intervals.fast=5s")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl Settings {
    fn sources(self) -> Sources {
        Sources::here(self.file.config, self.set)
    }
}

/// The command line as data, for its documentation, completions and man pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        // Whoever reads has enough; that is no error.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "tomte-agent: {error:#}");
            ExitCode::from(TROUBLE)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn dispatch(command: Commands) -> anyhow::Result<ExitCode> {
    match command {
        Commands::Run { settings, require_broker } => {
            let sources = settings.sources();
            let set_log_level = log(&sources);
            let runtime = runtime()?;
            let result = runtime.block_on(run::run(sources, set_log_level, require_broker));
            // Threads that hang in a dead mount are not waited for.
            runtime.shutdown_background();
            result.map(|()| ExitCode::SUCCESS)
        }
        Commands::Once { settings, json, root } => {
            let config = config_or_defaults(&settings.sources())?;
            let seen = once::once(&config, &root.map_or_else(crate::api::root, Root::new));
            let mut text = if json { serde_json::to_string_pretty(&seen)? } else { once::table(&seen) };
            if json {
                text.push('\n');
            }
            print(&text)
        }
        Commands::Check { sample: true, .. } => print(SAMPLE),
        Commands::Check { sample_commands: true, .. } => print(command::SAMPLE),
        Commands::Check { settings, .. } => check(&settings.sources()),
        Commands::Import { file, to } => take_over(&file, to.as_deref()),
        Commands::Enroll { url, code, file } => enroll(&url, &code, file.config),
        Commands::Helper { socket, user, commands } => {
            // Its level stays as it is: there is nobody to change it.
            let _ = start_log(LogLevel::default(), LogFormat::default());
            helper::run(socket.as_deref(), &user, commands.as_deref()).map(|()| ExitCode::SUCCESS)
        }
        Commands::Action(what) => action(what),
        Commands::Doctor(settings) => {
            let sources = settings.sources();
            let findings = runtime()?.block_on(doctor::examine(&sources));
            print(&doctor::text(&findings))?;
            let trouble = findings.iter().any(doctor::Finding::is_trouble);
            Ok(if trouble { ExitCode::from(TROUBLE) } else { ExitCode::SUCCESS })
        }
    }
}

fn action(what: ActionCommands) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let text = |action: &tomte_api::action::Action, json| {
        Ok::<_, anyhow::Error>(if json {
            serde_json::to_string_pretty(action)? + "\n"
        } else {
            action_command::shown(action)
        })
    };
    match what {
        ActionCommands::List { settings, all, json } => {
            let socket = config_or_defaults(&settings.sources())?.socket;
            let actions = runtime.block_on(LocalAgent(&socket).actions(all))?;
            print(&if json { serde_json::to_string_pretty(&actions)? + "\n" } else { action_command::table(&actions) })
        }
        ActionCommands::Show { id, settings, json } => {
            let socket = config_or_defaults(&settings.sources())?.socket;
            print(&text(&runtime.block_on(LocalAgent(&socket).action(&id))?, json)?)
        }
        ActionCommands::Approve { id, settings, yes } => {
            let socket = config_or_defaults(&settings.sources())?.socket;
            let agent = LocalAgent(&socket);
            let found = runtime.block_on(agent.action(&id))?;
            action_command::confirm(&found, yes)?;
            print(&text(&runtime.block_on(agent.decide(&found, true, String::new()))?, false)?)
        }
        ActionCommands::Reject { id, settings, reason } => {
            let socket = config_or_defaults(&settings.sources())?.socket;
            let agent = LocalAgent(&socket);
            let found = runtime.block_on(agent.action(&id))?;
            print(&text(&runtime.block_on(agent.decide(&found, false, reason))?, false)?)
        }
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_stack_size(STACK)
        .max_blocking_threads(4)
        .thread_keep_alive(std::time::Duration::from_secs(2))
        .build()
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Starts logging, as far as the configuration can say how; what is wrong with
/// it is told later, and then there is a log to tell it in.
fn log(sources: &Sources) -> SetLogLevel {
    let config = match Layers::read(sources) {
        Ok(Found::Layers(layers)) => layers.resolve(&[]).ok(),
        _ => None,
    };
    let (level, format) =
        config.map_or((LogLevel::default(), LogFormat::default()), |config| (config.log_level, config.log_format));
    start_log(level, format)
}

fn start_log(level: LogLevel, format: LogFormat) -> SetLogLevel {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = match format {
        // The journal has its own clock.
        LogFormat::Text if std::env::var_os("JOURNAL_STREAM").is_some() => {
            lines.without_time().with_ansi(false).boxed()
        }
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    Box::new(move |level| {
        // It fails only when the subscriber is gone, at the end of the process.
        let _ = handle.reload(self::filter(level));
    })
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn config_or_defaults(sources: &Sources) -> anyhow::Result<Config> {
    Ok(match Layers::read(sources)? {
        Found::Layers(layers) => layers.resolve(&[])?,
        Found::Nothing(missing) => {
            let path = missing.into_iter().next_back().unwrap_or_default();
            Layers::of(path, "", sources)?.resolve(&[])?
        }
    })
}

fn check(sources: &Sources) -> anyhow::Result<ExitCode> {
    let layers = match Layers::read(sources)? {
        Found::Layers(layers) => layers,
        Found::Nothing(missing) => {
            let paths: Vec<_> = missing.iter().map(|path| path.display().to_string()).collect();
            anyhow::bail!(
                "there is no {}; `tomte-agent enroll` writes one, `tomte-agent check --sample` prints one to start from",
                paths.join(" or ")
            );
        }
    };
    let mut config = layers.resolve(&[])?;
    if config.accept_hub_settings
        && let Some(state) = StateDir::existing(&config.state_dir)
        && let Ok(pushed) = state.peek::<Pushed>(run::HUB_SETTINGS)
    {
        config = layers.resolve(&pushed.values)?;
    }
    print(&effective(&config))
}

/// The configuration in force, then the thresholds in force, each with where
/// it comes from.
fn effective(config: &Config) -> String {
    use std::fmt::Write as _;
    let mut text = format!("# {} is in force\n", config.path.display());
    let width = config.settings.iter().map(|(key, value, _)| key.len() + value.chars().count() + 3).max();
    let width = width.unwrap_or(0).min(60);
    for (key, value, origin) in &config.settings {
        let line = format!("{key} = {value}");
        let _ = writeln!(text, "{line:width$}  # {origin}");
    }
    text.push_str("\n# thresholds in force; of several that match, the last one counts\n");
    let catalogue = Catalogue::builtin();
    for kind in catalogue.kinds() {
        for field in kind.fields.iter() {
            if let Some(threshold) = field.threshold {
                let rule = ThresholdRule::new(kind.name.as_ref(), "*", field.name.as_ref(), Some(threshold));
                let _ = writeln!(text, "{}  # catalogue", rule.map(|rule| described(&rule, "*")).unwrap_or_default());
            }
        }
    }
    for (rule, (entry, origin)) in config.thresholds.iter().zip(&config.threshold_origins) {
        let _ = writeln!(text, "{}  # {origin}", described(rule, &entry.name));
    }
    text
}

fn described(rule: &ThresholdRule, name: &str) -> String {
    let place = format!("{}:{name}/{}", rule.kind, rule.field);
    let Some(threshold) = rule.threshold else { return format!("{place} is not judged") };
    let unit = Catalogue::builtin().field(&rule.kind, &rule.field).map(|field| field.unit.clone());
    let value = |value: f64| unit.as_ref().map_or_else(|| value.to_string(), |unit| unit.format(value));
    let level = |level: Option<f64>| level.map_or_else(|| "off".to_owned(), value);
    let side = match threshold.direction {
        tomte_model::Direction::Above => "above",
        tomte_model::Direction::Below => "below",
    };
    format!(
        "{place}: {side} {} warning, {} critical, clears after {}, held for {}",
        level(threshold.warning),
        level(threshold.critical),
        value(threshold.clear_gap),
        crate::config::units::Span(threshold.hold)
    )
}

/// Makes new files of an old one.
fn take_over(file: &Path, to: Option<&Path>) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let folder = to.unwrap_or(Path::new("/etc/tomte"));
    let imported =
        import::import(&text, folder, import::on_this_system).with_context(|| format!("reading {}", file.display()))?;
    let mut notes = String::new();
    for note in &imported.notes {
        notes.push_str(&format!("- {note}\n"));
    }
    let _ = io::stderr().lock().write_all(notes.as_bytes());
    let Some(to) = to else {
        let named = |name: &str, text: &str| format!("### {}\n{text}", folder.join(name).display());
        let mut all = named("agent.toml", &imported.agent);
        if let Some(commands) = &imported.commands {
            all.push('\n');
            all.push_str(&named("commands.toml", commands));
        }
        return print(&all);
    };
    let to = std::path::absolute(to)?;
    let written = import::write(&imported, &to)?;
    let written: Vec<_> = written.iter().map(|path| format!("Written: {}\n", path.display())).collect();
    print(&format!("{}See what is in force with `tomte-agent check`.\n", written.concat()))
}

fn enroll(url: &str, code: &str, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let mut line = String::new();
    let code = if code == "-" {
        io::stdin().lock().read_line(&mut line)?;
        line.trim()
    } else {
        code
    };
    let config = config.or_else(|| candidates_here().into_iter().next()).unwrap_or_default();
    let outcome = runtime()?.block_on(enrol::enrol(url, code, &config, &SystemClock));
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => anyhow::bail!("{}", with_causes(&error)),
    };
    let written = if outcome.new { "written" } else { "its address changed" };
    print(&format!(
        "This host is {} at {url}.\nConfiguration: {} ({written})\nState: {}\nStart the agent with `{}`, \
         or `systemctl reload tomte-agent` where it runs already.\n",
        outcome.name,
        outcome.config.display(),
        outcome.state.display(),
        start_line(&outcome.config)
    ))
}

fn start_line(config: &std::path::Path) -> String {
    if config == std::path::Path::new(crate::config::SYSTEM) {
        "systemctl enable --now tomte-agent".to_owned()
    } else {
        format!("tomte-agent run --config {}", config.display())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn check_names_the_origin_of_every_value_and_threshold() {
        let text = "[intervals]\nfast = \"5s\"\n[[thresholds]]\nkind = \"load\"\nfield = \"load1\"\nwarning = 9\n";
        let layers = Layers::of("/x/agent.toml".into(), text, &Sources::default()).unwrap();
        let pushed = [("roles".to_owned(), "[\"nas\"]".to_owned())];
        let text = effective(&layers.resolve(&pushed).unwrap());
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        assert!(line("intervals.fast = \"5s\"").ends_with("# /x/agent.toml:2"), "{text}");
        assert!(line("roles").ends_with("# hub"));
        assert!(line("log.level").ends_with("# default"));
        assert!(line("load:*/load1: above 9 warning, off critical").ends_with("# /x/agent.toml:3"), "{text}");
        assert!(line("filesystem:*/used_ratio").ends_with("# catalogue"), "{text}");
    }

    #[test]
    fn settings_of_the_command_line_are_pairs() {
        assert_eq!(key_value("a.b = c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert!(key_value("ab").is_err());
        assert!(Cli::try_parse_from(["tomte-agent", "run", "--set", "intervals.fast=5s"]).is_ok());
        assert!(Cli::try_parse_from(["tomte-agent", "enroll", "https://x"]).is_err(), "a code is needed");
    }
}
