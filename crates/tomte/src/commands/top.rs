//! `tomte top`: hands the terminal to `tomte-tui`, connected to a hub or to an
//! agent's socket.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::tz::TimeZone;
use tomte_api::client::Client;
use tomte_tui::config::Config;
use tomte_tui::theme::Depth;
use tomte_tui::{Once, Options, Surroundings, Target};
use tracing_subscriber::EnvFilter;

use crate::cli::{Global, TopArgs};
use crate::connect::{self, Folder};
use crate::output::{ColourChoice, Output};

/// How wide a frame is printed where nobody says.
const COLUMNS: u16 = 120;

pub(crate) async fn run(args: TopArgs, global: &Global, output: Output) -> anyhow::Result<()> {
    if let Some(path) = &args.verbose {
        log_to(path)?;
    }
    let loaded = Config::load(args.config.as_deref())?;
    let once = args.once.then(|| once(output));
    let zone = zone();
    let surroundings = |target, address: String| Surroundings {
        target,
        address,
        depth: depth(global.color),
        unicode: unicode(),
        zone: zone.clone(),
        host: args.host.clone(),
    };
    if let Some(socket) = agent(&args, global)? {
        let address = socket.display().to_string();
        let options = Options { loaded, surroundings: surroundings(Target::Agent, address), once };
        return Ok(tomte_tui::run(Client::unix(socket), options).await?);
    }
    let hub = connect::open(global, Folder::Existing).await?;
    let address = hub.client.endpoint().to_string();
    let options = Options { loaded, surroundings: surroundings(Target::Hub, address), once };
    hub.with_owned(async |client| Ok(tomte_tui::run(client, options).await?)).await
}

/// This machine's time zone. Where its file says it, that is read and no more:
/// to find a zone by its name, all the names there are would be gathered first.
fn zone() -> TimeZone {
    let named = std::env::var_os("TZ").is_some();
    let own = std::fs::read("/etc/localtime").ok().filter(|_| !named);
    own.and_then(|bytes| TimeZone::tzif("local", &bytes).ok()).unwrap_or_else(TimeZone::system)
}

/// The agent's socket that is meant: the one that is named; the one that is
/// there, when none is named, or no hub either. `None`: a hub is meant.
fn agent(args: &TopArgs, global: &Global) -> anyhow::Result<Option<PathBuf>> {
    let there = || {
        let known = tomte_agent::config::candidates_here().into_iter();
        let mut sockets = known.map(|config| tomte_agent::config::places(&config).1);
        sockets.find(|socket| UnixStream::connect(socket).is_ok())
    };
    match &args.agent {
        Some(Some(socket)) => Ok(Some(socket.clone())),
        Some(None) => match there() {
            Some(socket) => Ok(Some(socket)),
            None => bail!(
                "no agent answers here; its socket is /run/tomte/agent.sock unless its configuration says otherwise, \
                 and open to root and the group tomte: name it with --agent SOCKET"
            ),
        },
        None if global.names_hub() => Ok(None),
        None => Ok(there()),
    }
}

/// How to print one frame: as wide as the terminal; to a pipe, plain.
fn once(output: Output) -> Once {
    let width = terminal_size::terminal_size().map(|(width, _)| width.0).filter(|_| output.terminal());
    Once { columns: width.unwrap_or(COLUMNS), lines: None, colour: output.colour() }
}

fn depth(choice: ColourChoice) -> Depth {
    match choice {
        ColourChoice::Never => Depth::None,
        // Who asks for colour has it, whatever else is said.
        ColourChoice::Always => Depth::detect(|name| std::env::var(name).ok().filter(|_| name != "NO_COLOR")),
        ColourChoice::Auto => Depth::detect(|name| std::env::var(name).ok()),
    }
}

/// Whether the locale is one of Unicode. Where nothing is said, as in many a
/// container, terminals know Unicode; the console of Linux has few characters.
fn unicode() -> bool {
    let said = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| {
        let value = std::env::var(name).ok()?;
        (!value.is_empty()).then_some(value)
    });
    let term = std::env::var("TERM").unwrap_or_default();
    match said {
        Some(locale) => {
            let locale = locale.to_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        }
        None => !matches!(term.as_str(), "linux" | "vt100" | "vt220" | "dumb"),
    }
}

/// What happens is told to a file; on the screen there is no room for it.
fn log_to(path: &Path) -> anyhow::Result<()> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("cannot write the log {}", path.display()))?;
    let filter = EnvFilter::try_from_env("TOMTE_LOG").unwrap_or_else(|_| EnvFilter::new("info,tomte_tui=debug"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::sync::Mutex::new(file))
        .with_ansi(false)
        .with_target(false)
        .init();
    Ok(())
}
