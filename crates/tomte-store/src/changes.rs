//! Changes of state: attributes, status, reason and existence of resources,
//! and who a host was, kept so that any past moment can be told.
//!
//! Readings are not here: those are series ([`crate::history`]). What is here
//! changes seldom, so a report that says the same again leaves nothing behind.
//! Times are those of the reports, by the hub's reckoning; what arrives late
//! lands where it belongs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tomte_model::latest::ResourceState;
use tomte_model::{HostId, HostName, Name, ResourceKey, Timestamp, Value};

/// Who a host is, as far as that can change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Its name.
    pub name: HostName,
    /// Other names it answers to.
    pub aliases: BTreeSet<HostName>,
    /// What it is for.
    pub roles: BTreeSet<String>,
    /// What other systems call it, by system.
    pub external_ids: BTreeMap<String, String>,
    /// The hosts whose agents may report for it.
    pub via: BTreeSet<HostId>,
    /// Whether its agent is heard: a word of the hub's.
    pub presence: String,
    /// Its agent's version.
    pub agent_version: Option<String>,
    /// When the hub learnt of it.
    pub created_at: Timestamp,
    /// When it was last heard of, as the presence changed. By itself it is no
    /// change.
    pub last_seen_at: Option<Timestamp>,
}

impl HostFacts {
    /// The facts without what is no change by itself.
    #[must_use]
    pub fn essence(&self) -> Self {
        Self { last_seen_at: None, ..self.clone() }
    }
}

/// What was known of a host at a past moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HostThen {
    /// Which one.
    pub id: HostId,
    /// Who it was; `None` before the first that is known of it.
    pub facts: Option<HostFacts>,
    /// Its resources without readings and lists. The time of a facet is when
    /// the part of the host that it was read with last changed.
    pub resources: BTreeMap<ResourceKey, ResourceState>,
}

/// What kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A resource came, or a host did.
    Appeared,
    /// A resource went.
    Gone,
    /// It was judged otherwise.
    Status,
    /// It was judged the same for another reason.
    Reason,
    /// A text or a flag is another one.
    Attribute,
    /// A part of the host could no longer be read, or not for another reason.
    Unreadable,
    /// It could be read again.
    Readable,
    /// The host is heard, or not.
    Presence,
    /// A name, a role or the like of the host is another one.
    Host,
}

impl ChangeKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Appeared,
        Self::Gone,
        Self::Status,
        Self::Reason,
        Self::Attribute,
        Self::Unreadable,
        Self::Readable,
        Self::Presence,
        Self::Host,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Gone => "gone",
            Self::Status => "status",
            Self::Reason => "reason",
            Self::Attribute => "attribute",
            Self::Unreadable => "unreadable",
            Self::Readable => "readable",
            Self::Presence => "presence",
            Self::Host => "host",
        }
    }
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When it was seen.
    pub at: Timestamp,
    /// The host.
    pub host: HostId,
    /// The resource; `None` for the host itself and for what could not be read.
    pub resource: Option<ResourceKey>,
    /// What kind of change.
    pub what: ChangeKind,
    /// The attribute, the part that could not be read, or what of the host.
    pub name: Option<Name>,
    /// What it was.
    pub from: Option<Value>,
    /// What it is.
    pub to: Option<Value>,
    /// Why, in words; for a status or what cannot be read.
    pub reason: String,
}

/// A place in the list of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangePlace {
    /// When.
    pub at: Timestamp,
    /// The number of the part of a host that changed.
    pub scope: i64,
    /// Which of its changes at that moment.
    pub index: u32,
}

/// Which changes to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeQuery {
    /// Of these hosts; empty: of all.
    pub hosts: Vec<HostId>,
    /// Of resources of these kinds; empty: of all, and of hosts.
    pub kinds: Vec<String>,
    /// Of these sorts; empty: all.
    pub what: Vec<ChangeKind>,
    /// Since.
    pub from: Timestamp,
    /// Until, that moment not included.
    pub to: Timestamp,
    /// The newest first, instead of the oldest.
    pub newest_first: bool,
    /// Go on behind this place.
    pub after: Option<ChangePlace>,
    /// How many at most.
    pub limit: usize,
}

/// A part of the list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChangeList {
    /// The changes, in the order that was asked for.
    pub changes: Vec<Change>,
    /// Where to go on, if there may be more.
    pub next: Option<ChangePlace>,
}
