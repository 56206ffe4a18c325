//! The command line as data: every command, flag and example. Help, man pages,
//! completions and the reference in the docs are made from it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueHint};

use crate::connect::Folder;
use crate::output::{ColourChoice, Format};

/// Watch a homelab or a small fleet.
#[derive(Debug, Parser)]
#[command(
    name = "tomte",
    version,
    about = "Watch a homelab or a small fleet, and mend it only when told to",
    max_term_width = 100,
    styles = STYLES,
    help_template = HELP_TEMPLATE,
    disable_help_subcommand = true,
    after_help = "Where the hub is: --hub URL with --token-file FILE, or TOMTE_URL and TOMTE_TOKEN, or on the hub's\n\
                  own machine --data DIR.  `tomte COMMAND --help` has examples."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const STYLES: Styles =
    Styles::styled().header(AnsiColor::Green.on_default().bold()).usage(AnsiColor::Green.on_default().bold());

/// Commands by what people want to do; a test keeps it complete.
const HELP_TEMPLATE: &str = "\
{about}

{usage-heading} {usage}

Run:
  hub          Run the hub: take in what agents report, keep it, serve it
  demo         Run a hub with simulated hosts, to look around

Look:
  top          The whole fleet on the screen, by keyboard; or one agent, without a hub
  watch        Live readings of a host, or of all of them
  query        Readings now, or their history
  host         List and show hosts; add, rename, group and remove them
  resource     List what hosts are made of; forget what is gone
  event        What happened
  change       What came, went, was judged or described otherwise
  catalogue    Every kind and field, with unit and meaning

Act:
  action       What hosts were asked to do, and decisions on it

Keep:
  store        How much is kept, and its care: check, compact, backup, restore
  export       Write history to a file
  import       Take history in from a file
  user         Accounts of people
  token        Tokens for programs

Set up:
  check        The configuration in force, and where each value comes from
  completions  Completions for your shell
  man          Manual pages

Options:
{options}{after-help}
";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Address of the hub, such as https://hub.lan:8420
    #[arg(long, global = true, env = "TOMTE_URL", value_name = "URL", help_heading = "Connection", value_hint = ValueHint::Url)]
    pub(crate) hub: Option<String>,
    /// File that holds an API token (or set TOMTE_TOKEN)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificate authority to trust for the hub, PEM
    #[arg(long, global = true, env = "TOMTE_CA_FILE", value_name = "FILE", help_heading = "Connection", value_hint = ValueHint::FilePath)]
    pub(crate) ca_file: Option<PathBuf>,
    /// SHA-256 of the hub's identity key, as the hub prints it at its start: trust that key alone
    #[arg(long, global = true, env = "TOMTE_FINGERPRINT", value_name = "HEX", help_heading = "Connection")]
    pub(crate) fingerprint: Option<String>,
    /// The hub's data folder, on the hub's own machine: needs no token
    #[arg(long, global = true, value_name = "DIR", help_heading = "Connection", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// How to print lists
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "table",
        help_heading = "Output",
        hide_possible_values = false
    )]
    pub(crate) format: Format,
    /// Same as --format json
    #[arg(long, global = true, help_heading = "Output", conflicts_with = "format")]
    pub(crate) json: bool,
    /// When to use colour
    #[arg(
        long,
        visible_alias = "colour",
        global = true,
        value_enum,
        default_value = "auto",
        value_name = "WHEN",
        help_heading = "Output"
    )]
    pub(crate) color: ColourChoice,
}

impl Global {
    /// Whether a hub was named at all.
    pub(crate) fn names_hub(&self) -> bool {
        self.hub.is_some() || self.data.is_some()
    }
}

/// The programs that people call.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Program {
    /// The hub and its command line
    Tomte,
    /// The agent
    TomteAgent,
}

impl Program {
    /// Its command line, as data.
    pub(crate) fn command(self) -> clap::Command {
        match self {
            Self::Tomte => crate::command(),
            Self::TomteAgent => tomte_agent::cli::command(),
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the hub: take in what agents report, keep it, serve it
    #[command(after_help = "Examples:\n  \
        tomte hub --data /var/lib/tomte --listen 127.0.0.1:8420\n  \
        tomte hub --data /var/lib/tomte --listen 0.0.0.0:8420 --public-url https://hub.lan:8420\n\n\
        On loopback the hub speaks plain HTTP; elsewhere TLS by its own key, which agents know by the\n\
        hash in their enrolment code. Behind a proxy that does TLS: --listen 127.0.0.1:8420 and\n\
        --public-url https://…")]
    Hub(HubArgs),
    /// Run a hub with simulated hosts, to look around
    #[command(
        after_help = "Examples:\n  tomte demo --hosts 25\n  tomte demo --hosts 100 --data /tmp/demo --listen 127.0.0.1:8421\n\n\
        The hosts are simulated, everything else is the real thing: they enrol, connect and report\n\
        over the same link. One of them fails, one flaps and one is offline."
    )]
    Demo(DemoArgs),
    /// The whole fleet on the screen, by keyboard; or one agent, without a hub
    #[command(after_help = "Examples:\n  \
        tomte top\n  \
        tomte top --host nas\n  \
        tomte top --agent                          this machine's own agent, no hub needed\n  \
        tomte top --once | less                    one frame, as text\n\n\
        ? shows the keys. Where no hub is named and an agent runs on this machine, it is the agent that is\n\
        shown. Settings are in ~/.config/tomte/top.toml.")]
    Top(TopArgs),
    /// Live readings of a host, or of all of them
    #[command(after_help = "Examples:\n  tomte watch\n  tomte watch nas --every 1s\n  tomte watch nas --count 1")]
    Watch(WatchArgs),
    /// Readings now, or their history
    #[command(after_help = "Examples:\n  \
        tomte query cpu usage_ratio                         now, on every host\n  \
        tomte query cpu usage_ratio --host nas --from -24h --step 5m\n  \
        tomte query filesystem used_ratio --name '/*' --host 'nas*'\n  \
        tomte query cpu usage_ratio --from -1h --agg mean   one series over all hosts\n  \
        tomte query cpu usage_ratio --from -1h --agg quantile --q 0.95\n  \
        tomte query disk read_bytes_per_second --from -1h --format csv > reads.csv")]
    Query(QueryArgs),
    /// List and show hosts; add, rename, group and remove them
    Host {
        #[command(subcommand)]
        command: HostCommand,
    },
    /// List what hosts are made of; forget what is gone
    Resource {
        #[command(subcommand)]
        command: ResourceCommand,
    },
    /// What hosts were asked to do, and decisions on it
    Action {
        #[command(subcommand)]
        command: ActionCommand,
    },
    /// What happened
    Event {
        #[command(subcommand)]
        command: EventCommand,
    },
    /// What came, went, was judged or described otherwise
    Change {
        #[command(subcommand)]
        command: ChangeCommand,
    },
    /// Every kind and field, with unit and meaning
    #[command(after_help = "Examples:\n  tomte catalogue\n  tomte catalogue filesystem\n  tomte catalogue --json")]
    Catalogue {
        /// Only this kind
        kind: Option<String>,
    },
    /// How much is kept, and its care: check, compact, backup, restore
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Write history to a file
    #[command(after_help = "Examples:\n  \
        tomte export --from -7d --output week.csv\n  \
        tomte export --host nas --kind filesystem --from 2026-01-01T00:00:00Z --output nas.jsonl\n  \
        tomte export --kind cpu --as openmetrics --output cpu.om\n\n\
        CSV has the columns time, host, kind, name, field, value; JSON lines have an object a line;\n\
        OpenMetrics has samples tomte_KIND_FIELD{host,kind,name} with their times. What --as does not\n\
        say, the file's name does: .csv, .jsonl, .om.")]
    Export(ExportArgs),
    /// Take history in from a file
    #[command(after_help = "Examples:\n  \
        tomte import week.csv\n  \
        tomte import other.om --add-hosts --host attic\n  \
        zstdcat year.jsonl.zst | tomte import - --as jsonl\n\n\
        It reads what `tomte export` writes, and the OpenMetrics text of others: there the host is the\n\
        label host or instance (or --host), and what is left of the labels the resource's name. All of a\n\
        file is looked at before any of it is taken in, and what is there already is passed over: import\n\
        it again after an interruption.")]
    Import(ImportArgs),
    /// Accounts of people
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Tokens for programs
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// The configuration in force, and where each value comes from
    #[command(
        after_help = "Examples:\n  tomte check\n  tomte check --config /etc/tomte/hub.toml\n  tomte check --sample > hub.toml"
    )]
    Check(CheckArgs),
    /// Completions for your shell
    #[command(after_help = "Example:\n  tomte completions bash > ~/.local/share/bash-completion/completions/tomte")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
        /// Of which program
        #[arg(long, value_enum, default_value = "tomte")]
        program: Program,
    },
    /// Manual pages
    #[command(after_help = "Examples:\n  tomte man | man -l -\n  tomte man --out /usr/local/share/man/man1")]
    Man {
        /// Write a page for each command, of the agent too, into this folder
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        out: Option<PathBuf>,
    },
}

impl Command {
    /// Whether the command may make a hub's folder.
    pub(crate) fn folder(&self) -> Folder {
        match self {
            Self::Host { command: HostCommand::Add { .. } }
            | Self::User { command: UserCommand::Add { .. } }
            | Self::Token { command: TokenCommand::Add { .. } } => Folder::New,
            _ => Folder::Existing,
        }
    }
}

#[derive(Debug, Default, Args)]
pub(crate) struct HubArgs {
    /// Where to listen; may be given more than once
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// The address that agents and people use
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) public_url: Option<String>,
    /// Configuration file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Speak plain HTTP also where it is not loopback: anybody on the way can read and change it
    #[arg(long)]
    pub(crate) insecure_http: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many hosts
    #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(crate) hosts: u32,
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8420")]
    pub(crate) listen: SocketAddr,
    /// How often each host reports
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) interval: std::time::Duration,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Show an agent by its local socket, without a hub; this machine's own when no socket is named
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, value_hint = ValueHint::FilePath, conflicts_with_all = ["data", "token_file"])]
    pub(crate) agent: Option<Option<PathBuf>>,
    /// Begin with this host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Print one frame and leave; plain text in a pipe
    #[arg(long)]
    pub(crate) once: bool,
    /// Settings file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Write a log to this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) verbose: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Which hosts; all when none is named
    pub(crate) hosts: Vec<String>,
    /// How often
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) every: std::time::Duration,
    /// Stop after so many
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The kind, such as cpu or filesystem (see `tomte catalogue`)
    pub(crate) kind: String,
    /// The field, such as usage_ratio; a glob for history
    pub(crate) field: String,
    /// Only these hosts (glob); may be given more than once
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Vec<String>,
    /// Only hosts of this role
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,
    /// Only resources of this name (glob)
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// From when: -24h, an RFC 3339 time, or milliseconds since 1970. Without it: now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// Until when
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "from")]
    pub(crate) to: Option<String>,
    /// One point every so long; chosen by width in a terminal. `raw`: every point kept
    #[arg(long, value_name = "TIME", requires = "from")]
    pub(crate) step: Option<String>,
    /// What a point is: mean, min, max or last of its step, or rate: how fast it grew, per second
    #[arg(long = "fn", value_name = "FN", requires = "from")]
    pub(crate) function: Option<String>,
    /// One series over all hosts: sum, mean, min, max, quantile or topk
    #[arg(long, value_name = "AGG", requires = "from")]
    pub(crate) agg: Option<String>,
    /// How many for topk
    #[arg(long, value_name = "K", requires = "agg")]
    pub(crate) k: Option<u32>,
    /// Which for quantile, from 0 to 1
    #[arg(long, value_name = "Q", requires = "agg")]
    pub(crate) q: Option<String>,
}

/// How history is written in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Exchange {
    /// Comma-separated values with a header line
    Csv,
    /// A JSON object a line
    Jsonl,
    /// OpenMetrics text
    Openmetrics,
}

impl Exchange {
    /// What a file's name says.
    pub(crate) fn of(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" | "json" => Some(Self::Jsonl),
            "om" | "prom" | "openmetrics" => Some(Self::Openmetrics),
            _ => None,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file; - reads standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// How it is written, where its name does not say
    #[arg(long = "as", value_enum, value_name = "FORMAT")]
    pub(crate) exchange: Option<Exchange>,
    /// Make the hosts that are not known yet
    #[arg(long)]
    pub(crate) add_hosts: bool,
    /// The host of what names none
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// How to write it; by the file's name when it is not given
    #[arg(long = "as", value_enum, value_name = "FORMAT")]
    pub(crate) exchange: Option<Exchange>,
    /// The file; standard output when it is not given
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Only these hosts (glob); may be given more than once
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Vec<String>,
    /// Only this kind (glob)
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Only this field (glob)
    #[arg(long, value_name = "FIELD")]
    pub(crate) field: Option<String>,
    /// From when
    #[arg(long, value_name = "TIME", default_value = "-24h", allow_hyphen_values = true)]
    pub(crate) from: String,
    /// Until when
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    pub(crate) to: String,
    /// One point every so long; without it every point that is kept
    #[arg(long, value_name = "TIME")]
    pub(crate) step: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// All hosts with presence and status
    #[command(visible_alias = "ls", after_help = "Examples:\n  tomte host list\n  tomte host list --at -2h")]
    List {
        /// As they were: -2h, an RFC 3339 time, or milliseconds since 1970
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        at: Option<String>,
    },
    /// One host: who it is, what is wrong, all its resources
    #[command(after_help = "Examples:\n  tomte host show nas\n  tomte host show nas --at 2026-01-01T03:00:00Z")]
    Show {
        /// Name, alias or id
        host: String,
        /// As it was: -2h, an RFC 3339 time, or milliseconds since 1970
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        at: Option<String>,
    },
    /// A line to paste on the new host, good once and for ten minutes
    #[command(
        after_help = "Examples:\n  tomte host add nas --data /var/lib/tomte\n  tomte host add nas --code-only | ssh nas tomte-agent enroll https://hub.lan:8420 --code -"
    )]
    Add {
        /// The name the host will have
        name: String,
        /// Print the code alone
        #[arg(long)]
        code_only: bool,
        /// A role the host will have; may be given more than once
        #[arg(long, value_name = "ROLE")]
        role: Vec<String>,
    },
    /// Give a host another name; the old one stays as an alias
    Rename {
        /// Name, alias or id
        host: String,
        /// The new name
        name: String,
    },
    /// Another name for a host
    Alias {
        /// Name, alias or id
        host: String,
        /// The alias
        alias: String,
        /// Take it away instead
        #[arg(long)]
        remove: bool,
    },
    /// A role, to group hosts and to select them by
    Role {
        /// Name, alias or id
        host: String,
        /// The role
        role: String,
        /// Take it away instead
        #[arg(long)]
        remove: bool,
    },
    /// Let a host's agent report for another host seen through it
    #[command(after_help = "Example:\n  tomte host grant pve1 cluster-lab\n\n\
        The other host is made if there is none of that name. For the host of a Proxmox VE cluster, this lets the agent take \
        part in reporting for it, one at a time.")]
    Grant {
        /// The host whose agent reports
        host: String,
        /// The host it reports for
        via: String,
        /// Take it away instead
        #[arg(long)]
        remove: bool,
    },
    /// A new token for a host: a line to paste there; the old token ends when the new one is first used
    #[command(after_help = "Examples:\n  tomte host rotate nas\n  tomte host rotate nas --revoke\n\n\
        The line enrols the host again under the same identity; its history goes on.")]
    Rotate {
        /// Name, alias or id
        host: String,
        /// Print the new token itself, for those who put it into the agent's state folder by other means
        #[arg(long, conflicts_with = "revoke")]
        token: bool,
        /// End the old token at once: the host must be enrolled again
        #[arg(long)]
        revoke: bool,
    },
    /// Ask a host's agent to read now
    #[command(after_help = "Examples:\n  tomte host refresh nas\n  tomte host refresh nas filesystem disk")]
    Refresh {
        /// Name, alias or id
        host: String,
        /// Only these collectors
        collectors: Vec<String>,
    },
    /// Settings that the hub pushes to a host's agent, and what the host refused
    #[command(
        after_help = "Examples:\n  tomte host settings nas\n  tomte host settings nas intervals.fast=\"5s\" collectors.sensor.enabled=false\n  \
        tomte host settings nas --unset intervals.fast\n\n\
        Values are TOML; what is no TOML is taken as text. The host's own file wins, key by key."
    )]
    Settings {
        /// Name, alias or id
        host: String,
        /// What to set
        #[arg(value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// What the hub shall no longer set; may be given more than once
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
    },
    /// Remove a host and all its history
    #[command(visible_alias = "remove")]
    Rm {
        /// Name, alias or id
        host: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ResourceCommand {
    /// What hosts are made of, all of them or some
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  tomte resource list --status warning\n  tomte resource list --kind filesystem --search /mnt"
    )]
    List {
        /// Only of this host; may be given more than once
        #[arg(long, value_name = "HOST")]
        host: Vec<String>,
        /// Only this kind
        #[arg(long)]
        kind: Option<String>,
        /// Only this status or worse
        #[arg(long)]
        status: Option<String>,
        /// Only what has this text in its name or attributes
        #[arg(long, visible_alias = "q", value_name = "TEXT")]
        search: Option<String>,
    },
    /// Drop a resource that is gone; it comes back when it is seen again
    #[command(after_help = "Example:\n  tomte resource forget nas filesystem:/mnt/old")]
    Forget {
        /// Name, alias or id of the host
        host: String,
        /// kind:name
        resource: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ActionCommand {
    /// What waits and what runs, newest first
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  tomte action list\n  tomte action list --all --host nas"
    )]
    List {
        /// Only this host
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// What is over, too
        #[arg(long)]
        all: bool,
    },
    /// One: its plan, its history, what came of it
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Approve one: its host runs it at once
    Approve {
        /// Its id, or the beginning of it
        id: String,
        /// Do not ask whether the plan is meant
        #[arg(long)]
        yes: bool,
    },
    /// Reject one
    Reject {
        /// Its id, or the beginning of it
        id: String,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// Events, newest last
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  tomte event list --host nas --from -24h\n  tomte event list --type status_changed --severity warning"
    )]
    List {
        /// Only this host
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// Only this type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Only this severity or worse: info, warning, error, critical
        #[arg(long, value_name = "SEVERITY")]
        severity: Option<String>,
        /// From when
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        from: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChangeCommand {
    /// Changes of the last day, newest last
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  tomte change list\n  tomte change list --host nas --kind disk --from -30d\n  \
        tomte change list --what status --from 2026-01-01T00:00:00Z --to 2026-01-02T00:00:00Z"
    )]
    List {
        /// Only this host; may be given more than once
        #[arg(long, value_name = "HOST")]
        host: Vec<String>,
        /// Only resources of this kind; may be given more than once
        #[arg(long, value_name = "KIND")]
        kind: Vec<String>,
        /// Only this sort: appeared, gone, status, reason, attribute, unreadable, readable, presence, host
        #[arg(long, value_name = "SORT")]
        what: Vec<String>,
        /// From when
        #[arg(long, value_name = "TIME", default_value = "-24h", allow_hyphen_values = true)]
        from: String,
        /// Until when
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        to: Option<String>,
        /// The newest so many
        #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// How much there is: bytes, series, readings, what a reading costs
    #[command(after_help = "Examples:\n  tomte store stats\n  tomte store stats --json")]
    Stats,
    /// Read all of the history and compare checksums; what is damaged is set aside, the rest kept
    #[command(after_help = "Example:\n  tomte store check --data /var/lib/tomte\n\n\
        Ends with 1 when something is wrong.")]
    Check,
    /// Put everything in its final place and give free space back to the file system
    Compact,
    /// Copy the databases into a folder, also while the hub runs
    #[command(after_help = "Example:\n  tomte store backup /mnt/backup/tomte-$(date +%F) --data /var/lib/tomte\n\n\
        The folder is on the hub's machine and must hold no backup yet. It holds every secret that the\n\
        hub has but for its identity key, so keep it as safe as the hub's own folder.")]
    Backup {
        /// The folder to make
        #[arg(value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
    /// Put a backup in the place of the databases, while no hub runs
    #[command(after_help = "Example:\n  systemctl stop tomte-hub\n  \
        tomte store restore /mnt/backup/tomte-2026-01-01 --data /var/lib/tomte --replace\n\n\
        The backup is checked whole first. What it replaces is renamed, not deleted.")]
    Restore {
        /// The folder that a backup was made in
        #[arg(value_hint = ValueHint::DirPath)]
        folder: PathBuf,
        /// Take the place of the databases that are there
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// All accounts
    #[command(visible_alias = "ls")]
    List,
    /// A new account; the password is asked for, or read from standard input in a pipe
    Add {
        /// The name to sign in with
        name: String,
        /// viewer, operator or admin
        #[arg(long, default_value = "viewer")]
        role: String,
    },
    /// Another password; all sessions of the account end
    Password {
        /// The account
        name: String,
    },
    /// Another role
    Role {
        /// The account
        name: String,
        /// viewer, operator or admin
        role: String,
    },
    /// Remove an account
    #[command(visible_alias = "remove")]
    Rm {
        /// The account
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// All tokens (never their secrets)
    #[command(visible_alias = "ls")]
    List,
    /// A new token, printed once
    #[command(after_help = "Example:\n  tomte token add grafana --role viewer --data /var/lib/tomte > grafana.token")]
    Add {
        /// What it is for
        name: String,
        /// viewer, operator or admin
        #[arg(long, default_value = "viewer")]
        role: String,
    },
    /// End a token
    #[command(visible_alias = "remove")]
    Rm {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Print a commented file with every setting at its default
    #[arg(long)]
    pub(crate) sample: bool,
}

/// A span of time such as 10s, 500ms, 5m or 2h; more than nothing.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    // A bare number is seconds here: people type `--every 5`.
    let seconds = text.parse::<u64>().map(std::time::Duration::from_secs);
    let span = seconds.or_else(|_| tomte_api::time::duration(text))?;
    if span.is_zero() { Err("must be more than nothing".to_owned()) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_grouped_help_names_every_command() {
        for command in Cli::command().get_subcommands() {
            let line = format!("\n  {:<12} {}\n", command.get_name(), command.get_about().expect("an about"));
            assert!(HELP_TEMPLATE.contains(&line), "help lacks or misquotes {line:?}");
        }
    }

    #[test]
    fn spans_of_time_are_read_and_refused() {
        use std::time::Duration;
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        for bad in ["", "s", "0s", "-1s", "1y", "99999999999999999999s", "18446744073709551615d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
