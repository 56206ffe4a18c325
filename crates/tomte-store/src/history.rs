//! The history of readings: what is written, and what can be asked.
//!
//! A report is written once, whatever happens: it is known by the outbox it
//! came from and its position there, and what was received is kept in the same
//! transaction as the report. Rows are numbered in the order of writing.
//!
//! What is received also changes records of [`StateStore`](crate::StateStore)
//! (latest state, events), and the two are not written in one transaction. So
//! the history keeps each report whole until [`HistoryStore::release`] says
//! that the records cover it, and [`HistoryStore::replay`] brings those back
//! at start. What they change must be idempotent: latest state is by position,
//! events are by id.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tomte_model::{Catalogue, HostId, Name, Position, RangeSet, Report, Resolution, ResourceKey, Timestamp};

use crate::StoreError;
use crate::changes::{ChangeList, ChangeQuery, HostFacts, HostThen};

/// The number of a written report; later ones are greater, gaps mean nothing.
pub type Row = u64;

/// A report as it came in.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The host whose agent's outbox it came from. It is `report.host` except
    /// for hosts that are seen through another one.
    pub outbox: HostId,
    /// The report.
    pub report: Arc<Report>,
    /// When it was read, by the hub's reckoning; history is kept by this time.
    pub at: Timestamp,
    /// When the hub received it.
    pub received_at: Timestamp,
    /// Set aside: it counts as received and is replayed, but its readings make
    /// no history (their time cannot be right).
    pub quarantined: bool,
    /// Of a host that several agents report for in turn (the nodes of a
    /// cluster): the number of the turn, which grows. `None`: what each agent
    /// sees of the host is kept apart.
    pub turn: Option<u64>,
}

impl Arrival {
    /// What the report is known under: reports of one collector replace each
    /// other, and are ordered by [`Self::place`].
    #[must_use]
    pub fn collector(&self) -> Name {
        if self.outbox == self.report.host || self.turn.is_some() {
            return self.report.collector.clone();
        }
        format!("{}@{}", self.report.collector, self.outbox).into()
    }

    /// Where it stands among the reports of its collector.
    #[must_use]
    pub fn place(&self) -> Position {
        let position = self.report.position;
        self.turn.map_or(position, |turn| position.in_turn(turn))
    }
}

/// The outbox of what was imported: no agent has it, so it is never brought
/// back as anybody's latest state, and what it tells of is no change of state.
#[must_use]
pub fn import_outbox() -> HostId {
    HostId::from_parts(0, 1)
}

/// What became of a report that is durable now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Its row; `None` when it had been received before, and nothing was written.
    pub row: Option<Row>,
    /// How many readings were kept.
    pub kept: usize,
    /// How many readings belong to series beyond the host's limit, and were not kept.
    pub over_limit: usize,
    /// How many readings were not finite, too large for their resolution, or
    /// there twice, and were not kept.
    pub unfit: usize,
}

/// Called once a write is durable, or has failed. Runs on the writer's thread
/// (on the caller's when it is refused at once): it must be short and must not
/// call the store.
pub type OnDurable<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;

/// One reading's name: what a series is the history of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// The host.
    pub host: HostId,
    /// The resource.
    pub resource: ResourceKey,
    /// The field.
    pub field: Name,
}

/// A series that has history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Which one.
    pub key: SeriesKey,
    /// The step its values were last rounded to; `None` for a field that
    /// nobody has described.
    pub resolution: Option<Resolution>,
}

/// What to read.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Which series. Those without history come back without points.
    pub series: Vec<SeriesKey>,
    /// From this moment on.
    pub from: Timestamp,
    /// Up to and without this moment.
    pub to: Timestamp,
    /// With a step: one bucket per step, the steps counted from 1970, every
    /// step whole that the range touches. Without: the points as they were read.
    pub step: Option<Duration>,
    /// What the answer may cost.
    pub budget: Budget,
}

/// What an answer may cost. Beyond it a query fails and says so; it never
/// brings a part as if it were all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How many points (or buckets, empty ones included) the answer may hold.
    pub points: usize,
    /// How many bytes of the database may be read for it.
    pub bytes: u64,
    /// How long it may take.
    pub time: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { points: 1_000_000, bytes: 256 << 20, time: Duration::from_secs(10) }
    }
}

impl Budget {
    /// The usual budget, with so many points.
    #[must_use]
    pub fn points(points: usize) -> Self {
        Self { points, ..Self::default() }
    }
}

/// How fine what is kept is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Tier {
    /// Every reading.
    #[default]
    Raw,
    /// A bucket per five minutes.
    FiveMinutes,
    /// A bucket per hour.
    Hour,
}

impl Tier {
    /// Every tier, the finest first.
    pub const ALL: [Self; 3] = [Self::Raw, Self::FiveMinutes, Self::Hour];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
        }
    }

    /// How long its buckets are; `None` for readings.
    #[must_use]
    pub fn step(self) -> Option<Duration> {
        match self {
            Self::Raw => None,
            Self::FiveMinutes => Some(Duration::from_secs(300)),
            Self::Hour => Some(Duration::from_secs(3600)),
        }
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// With a step: when each bucket begins.
    pub t: Vec<Timestamp>,
    /// In the order of the query.
    pub series: Vec<SeriesHistory>,
}

/// One series' part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesHistory {
    /// Which one.
    pub key: SeriesKey,
    /// How often its collector reported at the end of the range, in
    /// milliseconds; zero when that is not regular or not known.
    pub interval_millis: u32,
    /// The coarsest tier that any of its values comes from.
    pub tier: Tier,
    /// Its values.
    pub points: Points,
}

/// Values over time.
#[derive(Debug, Clone, PartialEq)]
pub enum Points {
    /// As they were read, by time.
    Raw(Vec<(Timestamp, f64)>),
    /// One bucket per step, `None` where nothing was read.
    Stepped(Vec<Option<Bucket>>),
}

/// What was read within one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// How many values.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All together.
    pub sum: f64,
    /// The one that was read last.
    pub last: f64,
}

impl Bucket {
    /// A bucket of one value.
    #[must_use]
    pub fn of(value: f64) -> Self {
        Self { count: 1, min: value, max: value, sum: value, last: value }
    }
    /// Adds a value that is later than those in it.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value;
        self.last = value;
    }
    /// The mean of the values.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// What one round of care did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Maintained {
    /// Reports that were put in their final place.
    pub sealed: u64,
    /// Readings older than the retention (or beyond the cap on the file's
    /// size) that are gone.
    pub pruned: u64,
    /// Series that have no history any more, and are gone.
    pub series_pruned: u64,
    /// Bytes given back to the file system.
    pub bytes_freed: u64,
}

/// How much there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryStats {
    /// Reports that are not in their final place yet.
    pub waiting: u64,
    /// Series of all hosts.
    pub series: u64,
    /// Size of the database, its log included.
    pub bytes: u64,
    /// Pieces that were damaged and set aside.
    pub quarantined: u64,
    /// What is kept where. What is in none of these is names and free space.
    pub parts: Vec<PartStats>,
}

impl HistoryStats {
    /// A part by its name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&PartStats> {
        self.parts.iter().find(|part| part.name == name)
    }
}

/// How much there is of one part of the history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartStats {
    /// `waiting` (reports as they came in), `recent` (readings of the last
    /// hours), then the tiers: `raw`, `5m`, `1h`; and `changes` of state.
    pub name: &'static str,
    /// In how many pieces.
    pub pieces: u64,
    /// How many readings or buckets.
    pub values: u64,
    /// Bytes in the database, what the database itself adds included.
    pub bytes: u64,
    /// When the oldest of it begins (to the day, or to the tier's period).
    pub oldest: Option<Timestamp>,
}

/// How far long work has come; the unit is the work's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// So much is done.
    pub done: u64,
    /// Of so much.
    pub total: u64,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// How many pieces were looked at.
    pub pieces: u64,
    /// What is damaged, in words. Damaged pieces were set aside, and cost
    /// what was in them and no more.
    pub damaged: Vec<String>,
    /// What SQLite itself finds wrong with the file: that is cured by
    /// restoring a backup, or by a new file.
    pub file: Option<String>,
}

impl Checked {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.file.is_none()
    }
}

/// The history of every reading.
pub trait HistoryStore: Send + Sync {
    /// Writes a report. Many are written in one transaction; `on_durable` is
    /// called only once that transaction is on disk. When the queue is full it
    /// is called at once with [`StoreError::Busy`]; keep fewer in flight than
    /// [`Options::queue`](crate::Options::queue), and it never is.
    ///
    /// Fields that `catalogue` does not know are kept as they are, unrounded.
    fn append(&self, arrival: Arrival, catalogue: Arc<Catalogue>, on_durable: OnDurable<Receipt>);

    /// Notes that these positions of an outbox will never come, so that they
    /// count as received.
    fn declare_gap(&self, outbox: HostId, epoch: u64, sequences: RangeInclusive<u64>, on_durable: OnDurable<()>);

    /// Which positions of an outbox are durable (or declared lost).
    fn received(&self, outbox: HostId, epoch: u64) -> RangeSet;

    /// The newest durable row; zero when there is none.
    fn last_row(&self) -> Row;

    /// Brings back every report after `after` that was not released yet, in
    /// the order of writing. Call it once, before the first append.
    ///
    /// # Errors
    /// When the database cannot be read. One report that makes no sense is
    /// left out and counted in the answer.
    fn replay(&self, after: Row, each: &mut dyn FnMut(Row, Arrival)) -> Result<Replayed, StoreError>;

    /// Says that everything up to `row` is covered by durable records, so that
    /// only its readings need to be kept.
    fn release(&self, row: Row);

    /// All series of a host, by key.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn series(&self, host: HostId) -> Result<Vec<Series>, StoreError>;

    /// The series of some hosts that are wanted, by host and key; `wanted` is
    /// asked with kind, name and field. Answered from memory.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn find(&self, hosts: &[HostId], wanted: &dyn Fn(&str, &str, &str) -> bool) -> Result<Vec<SeriesKey>, StoreError>;

    /// Reads points or buckets, from the tier that fits the step and that is
    /// there; what is newest is always in it.
    ///
    /// # Errors
    /// When the query is senseless or over its budget, or the database cannot
    /// be read.
    fn query(&self, query: &Query) -> Result<History, StoreError>;

    /// Notes who a host is from a moment on, unless that is known already.
    /// What a report changes of its resources is noted with the report.
    fn note_host(&self, host: HostId, at: Timestamp, facts: HostFacts, on_durable: OnDurable<()>);

    /// Notes that a resource was removed by hand. It is noted again when a
    /// report has it.
    fn note_forgotten(&self, host: HostId, resource: ResourceKey, at: Timestamp, on_durable: OnDurable<()>);

    /// How hosts were at a moment: those of the named ones that were known
    /// then, or all that were when none is named.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn state_at(&self, hosts: &[HostId], at: Timestamp) -> Result<Vec<HostThen>, StoreError>;

    /// What changed between two moments.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn changes(&self, query: &ChangeQuery) -> Result<ChangeList, StoreError>;

    /// Puts released reports in their final place, makes rollups, forgets what
    /// is older than the retention, gives space back: in small steps between
    /// writes. Meant to be called every minute; blocks until all that is due
    /// is done.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn maintain(&self, now: Timestamp) -> Result<Maintained, StoreError>;

    /// Deletes a host with all its history. Its reports must no longer be
    /// appended.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn remove_host(&self, host: HostId) -> Result<(), StoreError>;

    /// How much there is.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn stats(&self) -> Result<HistoryStats, StoreError>;

    /// Reads everything and compares checksums. Damaged pieces are set aside
    /// and told; the rest stays as it is.
    ///
    /// # Errors
    /// When the database cannot be read or written at all.
    fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<Checked, StoreError>;

    /// Puts everything released in its final place, whether it is due or not,
    /// and gives all free space back. Returns how many bytes went.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn compact(&self, now: Timestamp, progress: &mut dyn FnMut(Progress)) -> Result<u64, StoreError>;

    /// Copies the database into a file that must not exist yet, as it is at
    /// one moment, while it is in use.
    ///
    /// # Errors
    /// When the database cannot be read or the file not be made; what there is
    /// of it is deleted then.
    fn backup(&self, target: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError>;

    /// Lets the database grow to so many bytes, its log not counted; `None`
    /// lets it grow freely. Beyond it, writes fail with [`StoreError::Full`].
    ///
    /// # Errors
    /// When the store is closed.
    fn limit_size(&self, bytes: Option<u64>) -> Result<(), StoreError>;

    /// What the last write failed with, until one succeeds.
    fn trouble(&self) -> Option<StoreError>;

    /// Waits until everything that was appended before is durable or failed.
    ///
    /// # Errors
    /// When the store is closed.
    fn flush(&self) -> Result<(), StoreError>;
}

/// What a replay brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Reports brought back.
    pub reports: u64,
    /// Reports that could not be read, and were left out.
    pub unreadable: u64,
}
