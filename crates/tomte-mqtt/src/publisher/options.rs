//! What a publisher is told, and what it has to remember.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tomte_model::HostId;

use crate::discovery::Style;
use crate::protocol::Qos;

/// How often, and with which guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The least time between two values of one topic.
    pub interval: Duration,
    /// A value that does not change is sent again after this time.
    pub keep_alive: Duration,
    /// For values and status.
    pub state: Qos,
    /// For discovery and availability.
    pub discovery: Qos,
    /// For events.
    pub event: Qos,
}

/// What Home Assistant is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// How.
    pub style: Style,
    /// Where, `homeassistant`.
    pub prefix: String,
    /// Whether guests, pools and disks are devices of their own.
    pub sub_devices: bool,
}

/// Which of `kind:name/field` are published.
pub type Shows = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// What is published, and how.
pub struct Options {
    /// The host; ids hang on it.
    pub host: HostId,
    /// Its name; topics hang on it.
    pub name: String,
    /// What own topics begin with.
    pub prefix: String,
    /// How often.
    pub pace: Pace,
    /// What Home Assistant is told, if anything.
    pub discovery: Option<Discovery>,
    /// What is published at all.
    pub shows: Shows,
    /// Boot time in milliseconds before which no values are sent.
    pub values_at: u64,
    /// Where the hub's own availability is told, where the hub publishes.
    pub hub_availability: Option<String>,
    /// The version of the program that publishes.
    pub version: String,
}

/// What must be remembered over a restart: every retained topic with something
/// in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// The topics.
    pub topics: BTreeSet<String>,
    /// Those of them whose resource is gone for good, and that are to be emptied.
    pub gone: BTreeSet<String>,
    /// What a device's message named: its components with their platforms.
    pub components: BTreeMap<String, BTreeMap<String, String>>,
    /// Discovery that was taken back; told again, since Home Assistant may
    /// have been away.
    pub removed: VecDeque<String>,
}
