//! The hub itself: version, counters, storage, configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tomte_model::Timestamp;

/// The hub, as it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HubInfo {
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// How long ago that is, in seconds.
    pub uptime_seconds: f64,
    /// Where agents and browsers reach it.
    pub public_url: String,
    /// How many hosts there are, by presence.
    pub hosts: BTreeMap<String, u64>,
    /// What it has counted since its start, by name.
    pub counters: BTreeMap<String, u64>,
    /// How many bytes its files hold, by file.
    pub storage_bytes: BTreeMap<String, u64>,
}

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Config {
    /// Every setting, in the order of the sample file.
    pub settings: Vec<Setting>,
}

/// One setting in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Setting {
    /// Its dotted key.
    pub key: String,
    /// Its value, as TOML would have it; secrets are hidden.
    pub value: String,
    /// Where the value comes from: `default`, a file, a variable, a flag.
    pub source: String,
}

/// Whether the hub is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`, or `starting`.
    pub status: String,
}
