//! What a collector saw at one moment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::event::Event;
use crate::id::HostId;
use crate::status::Assessment;
use crate::time::{BootId, Moment};

/// A thing on a host: its kind and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// A kind of the catalogue, singular: `disk`.
    pub kind: Name,
    /// The name by the kind's key rule; any text, `/mnt/nas` for a filesystem.
    pub name: String,
}

impl ResourceKey {
    /// A key from its parts.
    pub fn new(kind: impl Into<Name>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), name: name.into() }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// A text that is not `kind:name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a resource: write kind:name, for example filesystem:/home")]
pub struct BadResourceKey(pub String);

impl FromStr for ResourceKey {
    type Err = BadResourceKey;
    /// The kind ends at the first colon; the name may hold more of them.
    fn from_str(text: &str) -> Result<Self, BadResourceKey> {
        match text.split_once(':') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(Self::new(kind.to_owned(), name)),
            _ => Err(BadResourceKey(text.to_owned())),
        }
    }
}

impl Serialize for ResourceKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResourceKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a report stands in its agent's outbox. Positions of one epoch are
/// ordered; a new epoch starts when the outbox is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Position {
    /// The outbox: milliseconds since 1970 when it was made, raised if needed
    /// so that a later epoch is always greater.
    pub epoch: u64,
    /// Counts from 1 within the epoch.
    pub sequence: u64,
}

impl Position {
    /// So many bits of an epoch count within a turn: enough for milliseconds
    /// since 1970 until the year 2527.
    const EPOCH_BITS: u32 = 44;

    /// The place of a report about a host that several agents report for in
    /// turn: their outboxes know nothing of each other, so whatever is of a
    /// later turn comes after all that is of an earlier one.
    #[must_use]
    pub fn in_turn(self, turn: u64) -> Self {
        let epoch = self.epoch & ((1 << Self::EPOCH_BITS) - 1);
        Self { epoch: turn << Self::EPOCH_BITS | epoch, sequence: self.sequence }
    }

    /// The turn of a place that [`Self::in_turn`] made.
    #[must_use]
    pub fn turn(self) -> u64 {
        self.epoch >> Self::EPOCH_BITS
    }
}

/// What one collector saw at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The host it is about (an agent may also report for its `via` hosts).
    pub host: HostId,
    /// Who looked: `cpu`, `filesystem`.
    pub collector: Name,
    /// The place in the outbox.
    pub position: Position,
    /// The boot that `moment.boot_millis` counts from.
    pub boot_id: BootId,
    /// When the reading began, by both of the host's clocks.
    pub moment: Moment,
    /// Whether the host's clock was disciplined by NTP or the like then.
    pub clock_synchronised: bool,
    /// When the next report of this collector is due, in milliseconds; what is
    /// much older is stale. Zero: no regular interval, never stale by age.
    pub interval_millis: u32,
    /// What was read, part by part.
    pub scopes: Vec<Scope>,
    /// What happened between the last report and this one.
    pub events: Vec<Event>,
}

/// A part of a collector's work that succeeds or fails on its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    /// Stable name within the collector: `cpu`, `filesystem:/mnt/nas`.
    pub name: Name,
    /// How the reading went.
    pub outcome: Outcome,
    /// What was read; empty unless complete.
    pub facets: Vec<Facet>,
}

impl Scope {
    /// A scope that was read whole.
    pub fn complete(name: impl Into<Name>, facets: Vec<Facet>) -> Self {
        Self { name: name.into(), outcome: Outcome::Complete, facets }
    }
    /// A scope that could not be read.
    pub fn failed(name: impl Into<Name>, outcome: Outcome) -> Self {
        Self { name: name.into(), outcome, facets: Vec::new() }
    }
}

/// How the reading of a scope went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    /// Read whole: what is not in it is not there.
    Complete,
    /// Should have worked and did not: what was known goes stale.
    Failed {
        /// What went wrong, for people.
        error: String,
    },
    /// The host would not let us: stale as well, and somebody can mend it.
    Denied {
        /// What was refused.
        error: String,
        /// What to do about it, as a sentence or a command.
        cure: String,
    },
    /// This host has no such thing. After 24 h of this, what was known of it
    /// is retired.
    Unavailable {
        /// What is missing.
        error: String,
    },
}

impl Outcome {
    /// Whether the scope was read whole.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Complete)
    }
    /// The error text, if it was not read.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Complete => None,
            Self::Failed { error } | Self::Denied { error, .. } | Self::Unavailable { error } => Some(error),
        }
    }
}

/// The part of a resource that one collector owns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facet {
    /// The resource it belongs to.
    pub resource: ResourceKey,
    /// Its name within the kind: `io`, `smart`; `main` where there is only one.
    pub name: Name,
    /// Whether the resource exists because this facet does. When an owning
    /// facet goes, the resource goes.
    pub owner: bool,
    /// Texts and flags.
    pub attributes: Vec<(Name, Value)>,
    /// Numbers, by field. A value that is not finite is missing.
    pub readings: Vec<(Name, f64)>,
    /// Latest-only lists.
    pub tables: Vec<Table>,
    /// How it was judged; `None` when nothing judges it.
    pub assessment: Option<Assessment>,
}

impl Facet {
    /// A facet that owns its resource's existence, still empty.
    pub fn owner(kind: impl Into<Name>, name: impl Into<String>, facet: impl Into<Name>) -> Self {
        Self {
            resource: ResourceKey::new(kind, name),
            name: facet.into(),
            owner: true,
            attributes: Vec::new(),
            readings: Vec::new(),
            tables: Vec::new(),
            assessment: None,
        }
    }
    /// A facet that adds to a resource which another facet owns, still empty.
    pub fn extra(kind: impl Into<Name>, name: impl Into<String>, facet: impl Into<Name>) -> Self {
        Self { owner: false, ..Self::owner(kind, name, facet) }
    }
    /// Adds a reading; what is missing or not finite is left out.
    pub fn read(&mut self, field: impl Into<Name>, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into().filter(|v| v.is_finite()) {
            self.readings.push((field.into(), value));
        }
    }
    /// Adds a text; an empty one is left out.
    pub fn text(&mut self, name: impl Into<Name>, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.attributes.push((name.into(), Value::Text(value)));
        }
    }
    /// Adds a flag.
    pub fn flag(&mut self, name: impl Into<Name>, value: bool) {
        self.attributes.push((name.into(), Value::Bool(value)));
    }
    /// The reading of a field.
    #[must_use]
    pub fn reading(&self, field: &str) -> Option<f64> {
        self.readings.iter().find(|(name, _)| name == field).map(|(_, value)| *value)
    }
    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }
}

/// An attribute's value, or a table's cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A number; in tables only (numbers of a facet are readings).
    Number(f64),
    /// Text.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(true) => f.write_str("yes"),
            Self::Bool(false) => f.write_str("no"),
            Self::Number(n) => n.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A latest-only list; it makes no series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its name within the facet: `top_by_cpu`.
    pub name: Name,
    /// The columns, in order.
    pub columns: Vec<Name>,
    /// The rows, each as long as `columns`; `None` is missing.
    pub rows: Vec<Vec<Option<Value>>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_key_keeps_colons_in_its_name() {
        let key: ResourceKey = "filesystem:/mnt/a:b".parse().expect("kind and name");
        assert_eq!((key.kind.as_ref(), key.name.as_str()), ("filesystem", "/mnt/a:b"));
        assert_eq!(key.to_string(), "filesystem:/mnt/a:b");
        for bad in ["", "disk", ":x", "disk:"] {
            assert!(bad.parse::<ResourceKey>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_finite_is_missing() {
        let mut facet = Facet::owner("disk", "sda", "io");
        facet.read("a", 1.0);
        facet.read("b", f64::NAN);
        facet.read("c", f64::INFINITY);
        facet.read("d", None);
        assert_eq!(facet.readings.len(), 1);
    }
}
