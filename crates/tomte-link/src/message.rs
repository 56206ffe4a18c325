//! What agent and hub say to each other, as values.
//!
//! These are not the wire's types: what arrives has been checked, and what one
//! side does not know has been left out.

use tomte_model::catalogue::KindDef;
use tomte_model::{Action, ActionId, BootId, HostId, Moment, Position, Report, Status, Timestamp};

/// The feature of both sides: the agent tells of Actions, and takes decisions.
pub const ACTIONS: &str = "actions";

/// The first thing an agent says on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The oldest protocol version the agent speaks.
    pub protocol_min: u32,
    /// The newest protocol version the agent speaks.
    pub protocol_max: u32,
    /// The agent's version, for people.
    pub agent_version: String,
    /// The host the agent runs on.
    pub host: HostId,
    /// What the machine calls itself.
    pub name: String,
    /// The boot that boot times on this connection count from.
    pub boot_id: BootId,
    /// The epoch of the agent's outbox; reports carry their own when it differs.
    pub outbox_epoch: u64,
    /// Random, made anew by every agent process: two at once under one host id
    /// are two machines (or two agents).
    pub instance: u128,
    /// What the agent can do beyond the version's minimum, by name.
    pub features: Vec<String>,
    /// Whether the agent publishes to an MQTT broker of its own, so that the
    /// hub need not publish for it.
    pub publishes_mqtt: bool,
}

/// The hub's answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The version both sides now speak; [`crate::HubLink::protocol`] chose it.
    pub protocol: u32,
    /// Grows with every connection of this host; the newest one decides presence.
    pub generation: u64,
    /// The hub's clock.
    pub server_time: Timestamp,
    /// The hub's version, for people.
    pub hub_version: String,
    /// What the hub calls the host.
    pub host_name: String,
    /// How often the hub expects a heartbeat, in milliseconds.
    pub heartbeat_millis: u32,
    /// What the hub can do beyond the version's minimum, by name.
    pub features: Vec<String>,
}

/// Which queue a report came from. Each lane has its own dictionaries and
/// bases, so that one never waits for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What has just been read.
    Live,
    /// What could not be sent when it was read.
    Backlog,
}

impl Lane {
    /// Both of them, live first.
    pub const ALL: [Self; 2] = [Self::Live, Self::Backlog];
}

/// A sign of life, and how the agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// The host's clocks.
    pub moment: Moment,
    /// Whether the host's clock is disciplined by NTP or the like.
    pub clock_synchronised: bool,
    /// How many reports wait in the outbox.
    pub backlog_reports: u64,
    /// How many bytes they take there.
    pub backlog_bytes: u64,
    /// When the oldest of them was read, by the host's clock.
    pub oldest: Option<Timestamp>,
}

/// Reports that will never come: the outbox had to drop them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The outbox's epoch.
    pub epoch: u64,
    /// The first sequence of the range.
    pub first: u64,
    /// The last sequence of the range.
    pub last: u64,
    /// How many reports of the range were dropped; the others were acked or
    /// are still to come.
    pub count: u64,
}

/// What became of a [`SettingsPush`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingsResult {
    /// The revision it answers.
    pub revision: u64,
    /// The keys that the host does not take, each with the reason.
    pub refused: Vec<(String, String)>,
}

/// Settings from the hub: all of them at once, so that what is not listed is
/// no longer set by the hub.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingsPush {
    /// Grows with every change at the hub.
    pub revision: u64,
    /// Dotted keys, each with its value as a TOML value: `("intervals.fast", "\"5s\"")`.
    pub values: Vec<(String, String)>,
}

/// Asks for a report to be sent whole, since what it builds on is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resend {
    /// The host the report is about.
    pub host: HostId,
    /// Its collector; empty when this side cannot tell any more. The position
    /// can.
    pub collector: String,
    /// The lane it came on.
    pub lane: Lane,
    /// The stream it came on, as the link numbers them.
    pub stream: u32,
    /// The report that could not be taken in; it was not stored.
    pub position: Position,
}

/// Somebody is watching: the fast tier should run more often for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// The interval of the fast tier, in milliseconds.
    pub interval_millis: u32,
    /// For how long, in milliseconds from now. Zero ends it.
    pub lease_millis: u32,
}

/// The feature of a hub that knows clusters: what several hosts see alike.
pub const CLUSTERS: &str = "clusters";

/// Which cluster the agent's host belongs to, or can see. Without an id: to
/// none. Sent when it is first known and when it changes, to hubs with the
/// feature [`CLUSTERS`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterClaim {
    /// What stays when the cluster is renamed, and no other cluster has.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Which of its nodes the host is; empty: none, it is seen from elsewhere.
    pub node: String,
    /// Its nodes, as they are seen from here.
    pub nodes: Vec<String>,
    /// Whether enough nodes see each other, this one among them.
    pub quorate: bool,
    /// Whether the cluster could be read when that was last tried.
    pub readable: bool,
}

/// The hub's answer to a [`ClusterClaim`], and what changes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterGrant {
    /// The id of the claim.
    pub id: String,
    /// The cluster's own host; `None`: what belongs to the cluster stays with
    /// the agent's host.
    pub host: Option<HostId>,
    /// Whether it is this agent that reports for it.
    pub holder: bool,
    /// Why, for people.
    pub reason: String,
    /// What is wrong with the cluster as far as the hub knows: a new holder
    /// goes on judging from there.
    pub problems: Vec<ClusterProblem>,
}

/// Something that is wrong with a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterProblem {
    /// With what: `kind:name`.
    pub resource: String,
    /// Its facet.
    pub facet: String,
    /// The field that says so.
    pub field: String,
    /// How bad.
    pub status: Status,
    /// Since when, by the hub's clock.
    pub since: Timestamp,
}

/// A decision on an Action that the agent keeps. The agent has the last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The Action.
    pub id: ActionId,
    /// Whether it may run.
    pub approve: bool,
    /// The hash of the plan that was seen.
    pub plan_hash: String,
    /// Who decided.
    pub by: String,
    /// Why, where something was said.
    pub reason: String,
}

/// What an agent hears.
#[derive(Debug, Clone, PartialEq)]
pub enum FromHub {
    /// The handshake is done; reports may flow.
    Welcome(Welcome),
    /// These sequences of the epoch are stored for good.
    Ack {
        /// The outbox's epoch.
        epoch: u64,
        /// The sequences.
        ranges: tomte_model::RangeSet,
    },
    /// The report could not be taken in; the link has forgotten its base, so
    /// that sending the report again sends it whole.
    Resend(Resend),
    /// Settings to apply; answer with [`crate::AgentLink::settings_result`].
    Settings(SettingsPush),
    /// Run the fast tier more often.
    Live(Live),
    /// Run these collectors now; all of them when the list is empty.
    Refresh {
        /// The collectors' names.
        collectors: Vec<String>,
    },
    /// Somebody decided on an Action.
    Decide(Decision),
    /// The hub's answer to a heartbeat.
    Heartbeat {
        /// The heartbeat's `moment.boot_millis`, for the round-trip time.
        echo: u64,
        /// The hub's clock.
        server_time: Timestamp,
    },
    /// Who reports for the agent's cluster.
    Cluster(ClusterGrant),
    /// The hub ends the connection.
    Close {
        /// Why, for programs.
        code: CloseCode,
        /// Why, for people.
        reason: String,
    },
    /// Something this version does not know; ignored, and counted by the link.
    Unknown(u32),
}

/// What a hub hears.
#[derive(Debug, Clone, PartialEq)]
pub enum FromAgent {
    /// What a collector saw. The hub must check that the token covers
    /// `report.host`.
    Report {
        /// The report, whole.
        report: Report,
        /// The lane it came on.
        lane: Lane,
    },
    /// A report names a base that this end does not have. It was not taken in;
    /// answer with [`crate::HubLink::resend`].
    BaseUnknown(Resend),
    /// A kind that the agent is about to use, or fields that the hub may lack.
    Described(KindDef),
    /// A sign of life; answer with [`crate::HubLink::heartbeat`].
    Heartbeat(Heartbeat),
    /// Reports that will never come.
    Gap(Gap),
    /// What became of pushed settings.
    SettingsResult(SettingsResult),
    /// The cluster that its host belongs to; answer with
    /// [`crate::HubLink::cluster`].
    Cluster(ClusterClaim),

    /// An Action as it is now; it was told before, perhaps. The hub must check
    /// that it is of the agent's own host.
    Action(Box<Action>),
    /// The agent ends the connection: [`CloseCode::GoingAway`] when it stops cleanly.
    Close {
        /// Why, for programs.
        code: CloseCode,
        /// Why, for people.
        reason: String,
    },
    /// Something this version does not know; ignored, and counted by the link.
    Unknown(u32),
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// Why a connection was ended, for programs: the code of the
        /// WebSocket's close frame and of the protocol's own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CloseCode {
            $($(#[$doc])* $name,)*
            /// A code this version does not know.
            Other(u16),
        }

        impl CloseCode {
            /// Every code this version knows.
            pub const KNOWN: &'static [Self] = &[$(Self::$name),*];

            /// The number, a valid WebSocket close code.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Other(code) => code,
                }
            }
            /// The code of that number.
            #[must_use]
            pub const fn from_code(code: u16) -> Self {
                match code {
                    $($code => Self::$name,)*
                    other => Self::Other(other),
                }
            }
        }
    };
}

close_codes! {
    /// Nothing is wrong.
    Normal = 1000;
    /// The side that says so is stopping; come back later.
    GoingAway = 1001;
    /// A message made no sense.
    Malformed = 4400;
    /// The token is not valid, or no longer.
    Unauthorised = 4401;
    /// The token does not cover what was sent.
    Forbidden = 4403;
    /// No protocol version in common.
    NoCommonVersion = 4406;
    /// The other side was silent for too long.
    TimedOut = 4408;
    /// A newer connection of the same host took its place.
    Displaced = 4409;
    /// A message, or what it describes, was over a limit.
    TooLarge = 4413;
    /// Too many attempts; wait longer.
    SlowDown = 4429;
    /// The side that says so is in trouble of its own.
    Internal = 4500;
}
