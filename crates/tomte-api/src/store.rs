//! The hub's databases: how much there is, and their care.

use serde::{Deserialize, Serialize};
use tomte_model::Timestamp;

use crate::Problem;

/// How much there is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreInfo {
    /// Bytes of the hub's own records, their log included.
    pub state_bytes: u64,
    /// Bytes of the history, its log included.
    pub history_bytes: u64,
    /// How large the history may be; null: as large as it gets.
    pub max_bytes: Option<u64>,
    /// Series of all hosts.
    pub series: u64,
    /// Readings that are kept one by one.
    pub readings: u64,
    /// What such a reading costs on disk; null while there are none.
    pub bytes_per_reading: Option<f64>,
    /// Reports that are not in their final place yet.
    pub waiting: u64,
    /// Pieces that were damaged and set aside.
    pub quarantined: u64,
    /// What the last write failed with, until one succeeds.
    pub trouble: Option<String>,
    /// What is kept where.
    pub parts: Vec<StorePart>,
    /// How long what is kept, in seconds.
    pub retention: StoreRetention,
}

/// A part of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StorePart {
    /// `waiting`, `recent`, `raw`, `5m`, `1h`.
    pub name: String,
    /// In how many pieces.
    pub pieces: u64,
    /// How many readings, or steps of the tier.
    pub values: u64,
    /// Bytes in the database.
    pub bytes: u64,
    /// When the oldest of it begins; null when there is none.
    pub oldest: Option<Timestamp>,
}

/// How long what is kept, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreRetention {
    /// Every reading.
    pub raw: u64,
    /// What five minutes came to.
    pub five_minutes: u64,
    /// What an hour came to, and changes of state.
    pub hourly: u64,
}

/// A line of the answer to long work: how far it has come, and in the end what
/// came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Step<T> {
    /// It goes on.
    Progress(Progress),
    /// It is done.
    Done(T),
    /// It failed.
    Failed(Problem),
}

/// How far work has come; the unit is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// So much is done.
    pub done: u64,
    /// Of so much.
    pub total: u64,
}

/// What a check of the history found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Checked {
    /// Whether nothing is wrong.
    pub sound: bool,
    /// How many pieces were looked at.
    pub pieces: u64,
    /// What is damaged, in words. It was set aside; the rest is kept.
    pub damaged: Vec<String>,
    /// What is wrong with the file as a whole: to be cured by a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// What compacting came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Compacted {
    /// Bytes that were given back to the file system.
    pub freed_bytes: u64,
}

/// Where to put a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackUp {
    /// A folder on the hub's machine, by its whole path. It is made if need
    /// be, and must hold no backup yet.
    pub folder: String,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackedUp {
    /// Where it is.
    pub folder: String,
    /// How large it is.
    pub bytes: u64,
}
