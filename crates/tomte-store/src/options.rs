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
    /// How long history is kept.
    pub retention: Retention,
    /// Released reports are put in their final place when a period of this
    /// length ends (counted from 1970), or when [`Self::seal_batch`] wait. Zero
    /// puts them there whenever the store is looked after.
    pub seal_every: Duration,
    /// See [`Self::seal_every`].
    pub seal_batch: usize,
    /// How many threads may read at the same time; more wait.
    pub readers: usize,
    /// Overwrites what is deleted, so that it cannot be read from the disk.
    /// Costs writes.
    pub secure_delete: bool,
    /// A history that is damaged beyond use is renamed, and a new one begun;
    /// see [`Store::set_aside`](crate::Store::set_aside). Otherwise the store
    /// does not open.
    pub set_damaged_history_aside: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            commit_window: Duration::from_secs(1),
            commit_batch: 256,
            queue: 1024,
            series_per_host: 5_000,
            retention: Retention::default(),
            seal_every: Duration::from_secs(2 * 3600),
            seal_batch: 500_000,
            readers: 4,
            secure_delete: false,
            set_damaged_history_aside: false,
        }
    }
}

/// How long history is kept, by tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Every reading.
    pub raw: Duration,
    /// The buckets of five minutes.
    pub five_minutes: Duration,
    /// The buckets of an hour, and changes of state.
    pub hour: Duration,
    /// What is kept longer or shorter; the first rule that fits counts.
    pub rules: Vec<RetentionRule>,
    /// How large the database may be. The oldest goes first, readings before
    /// buckets.
    pub max_bytes: Option<u64>,
}

/// How long some readings are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// Which kinds: a name, `*` stands for anything.
    pub kind: String,
    /// Which fields: a name, `*` stands for anything.
    pub field: String,
    /// Every reading; zero keeps no history of it at all.
    pub raw: Duration,
    /// The buckets of five minutes.
    pub five_minutes: Duration,
    /// The buckets of an hour.
    pub hour: Duration,
}

impl RetentionRule {
    /// A rule for everything that says what the usual retention says.
    #[must_use]
    pub fn like(usual: &Retention) -> Self {
        Self { kind: "*".into(), field: "*".into(), raw: usual.raw, five_minutes: usual.five_minutes, hour: usual.hour }
    }
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            raw: Duration::from_secs(2 * DAY),
            five_minutes: Duration::from_secs(90 * DAY),
            hour: Duration::from_secs(5 * 365 * DAY),
            rules: Vec::new(),
            max_bytes: None,
        }
    }
}
