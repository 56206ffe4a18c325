//! Something that happened.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::id::EventId;
use crate::time::Timestamp;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Info,
    /// Somebody should look.
    Warning,
    /// Something failed.
    Error,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    /// The word for it, lower-case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The type of an event: one of the constants here, or what a newer agent or a
/// foreign source calls it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventKind(pub Name);

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $constant:ident = $text:literal;)*) => {
        impl EventKind {
            $($(#[$doc])* pub const $constant: Self = Self(Cow::Borrowed($text));)*
            /// Every type this version knows.
            pub const KNOWN: &'static [Self] = &[$(Self::$constant),*];
        }
    };
}

event_kinds! {
    /// A resource's status changed; details `from`, `to`, `reason`.
    STATUS_CHANGED = "status_changed";
    /// The agent process started; details `version`, `boot_id`.
    AGENT_STARTED = "agent_started";
    /// The agent stopped cleanly.
    AGENT_STOPPED = "agent_stopped";
    /// A collector's scope stopped working or works again; details `outcome`.
    COLLECTOR_CHANGED = "collector_changed";
    /// Reports were dropped before they could be sent; details `epoch`, `first`, `last`, `count`.
    GAP = "gap";
    /// The hub pushed settings that this host does not take; details `key`, `reason`.
    CONFIG_REFUSED = "config_refused";
    /// Settings that the hub pushed are in force; details `revision`.
    CONFIG_APPLIED = "config_applied";
    /// An Action was filed, decided, run, or is over; details `action`, `state`, `command`, `by`.
    ACTION_CHANGED = "action_changed";
    /// A request to change something was refused before it became an Action; details `via`, `reason`.
    REQUEST_REFUSED = "request_refused";
    /// A host's agent is connected (again).
    HOST_ONLINE = "host_online";
    /// A host has not been heard of for too long; details `last_seen_at`.
    HOST_OFFLINE = "host_offline";
    /// A host was enrolled.
    HOST_ENROLLED = "host_enrolled";
    /// A host was renamed; details `from`, `to`.
    HOST_RENAMED = "host_renamed";
    /// A host and all its history were deleted.
    HOST_REMOVED = "host_removed";
    /// A host's clock went wrong or is right again; details `skew_seconds`.
    CLOCK_SKEW = "clock_skew";
    /// Two agents use one identity and keep displacing each other.
    IDENTITY_CLASH = "identity_clash";
    /// A host offered more series than it may keep; details `kept`, `refused`.
    SERIES_LIMIT = "series_limit";
    /// Samples from too far in the future were set aside; details `count`.
    QUARANTINED = "quarantined";
    /// A token was used for a host it does not cover; details `host`.
    TOKEN_REFUSED = "token_refused";
    /// A cluster was given a host of its own; details `cluster`, `by`.
    CLUSTER_MADE = "cluster_made";
    /// A host says that it belongs to a cluster, and an administrator must decide; details `cluster`, `node`.
    CLUSTER_WAITS = "cluster_waits";
    /// An agent reports for a cluster; details `agent`.
    CLUSTER_GRANTED = "cluster_granted";
    /// Another agent reports for a cluster; details `agent`, `before`, `reason`.
    CLUSTER_MOVED = "cluster_moved";
    /// A cluster is called otherwise; details `from`, `to`.
    CLUSTER_RENAMED = "cluster_renamed";
    /// Storage ran into trouble or recovered; details `error`.
    STORE_TROUBLE = "store_trouble";
}

impl EventKind {
    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Something that happened. The host it happened on is known from where it is
/// kept; the hub adds its receipt number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Made by the source, so that the same event told twice is one.
    pub id: EventId,
    /// When, by the source's clock.
    pub at: Timestamp,
    /// Who says so: `agent`, `hub`, a foreign source's name.
    pub source: Name,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about, usually `kind:name`.
    pub subject: Option<String>,
    /// Shared by events that belong together.
    pub correlation_id: Option<EventId>,
    /// One sentence for people.
    pub message: String,
    /// More, by key.
    pub details: BTreeMap<String, String>,
}
