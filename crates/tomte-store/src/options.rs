//! How the store is run.

use std::time::Duration;

/// How the store is run. The defaults are those of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long a report may wait for others before they are committed
    /// together. Zero commits whatever waits at once.
    pub commit_window: Duration,
    /// So many waiting reports are committed before the window ends.
    pub commit_batch: usize,
    /// How many reports may wait to be written.
    pub queue: usize,
    /// How many series a host may have.
    pub series_per_host: usize,
    /// How long readings are kept.
    pub raw_retention: Duration,
    /// Released reports are put in their final place when so many wait, or
    /// when the oldest has waited for [`Self::file_after`].
    pub file_batch: usize,
    /// See [`Self::file_batch`].
    pub file_after: Duration,
    /// How many threads may read at the same time; more wait.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            commit_window: Duration::from_secs(1),
            commit_batch: 256,
            queue: 1024,
            series_per_host: 5_000,
            raw_retention: Duration::from_secs(48 * 3600),
            file_batch: 200_000,
            file_after: Duration::from_secs(15 * 60),
            readers: 4,
        }
    }
}
