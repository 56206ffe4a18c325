//! `history.db`: one thread writes, a pool reads.
//!
//! A report is first written whole into `arrival`, in the order of arrival,
//! together with the received ranges: few pages are touched, so a commit is
//! cheap. Once the hub's records cover it and enough have gathered, the
//! readings of many reports are moved to `reading` at once, ordered by
//! collector and time, which is how queries want them ([`care`]). Until then
//! the memory knows where each collector's rows are ([`Unfiled`]).
//!
//! Start at [`writer`] for the way of a report, at [`query`] for the way back.

mod body;
mod care;
mod changes;
mod dictionary;
mod frame;
mod query;
mod ranges;
mod writer;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tomte_model::{Catalogue, HostId, RangeSet, ResourceKey, Timestamp};

use self::ranges::Received;
use self::writer::{Control, Job, Write, Writer};
use super::Fault;
use super::file::{self, Folder, Kind, PAGE_SIZE};
use super::pool::Pool;
use crate::changes::{ChangeList, ChangeQuery, HostFacts, HostThen};
use crate::history::{
    Arrival, Checked, History, HistoryStats, HistoryStore, Maintained, OnDurable, PartStats, Progress, Query, Receipt,
    Replayed, Row, Series, SeriesKey,
};
use crate::{OpenError, Options, StoreError};

pub(super) const KIND: Kind = Kind {
    file: "history.db",
    // "TomH" in ASCII.
    application_id: 0x546F_6D48,
    migrations: &[include_str!("schema.sql"), changes::SCHEMA],
    check_whole: false,
};

const DATABASE: &str = KIND.file;

/// The history, in `history.db`.
#[derive(Debug)]
pub(crate) struct SqliteHistory {
    shared: Arc<Shared>,
    jobs: SyncSender<Job>,
    writer: Option<JoinHandle<()>>,
    readers: Pool,
    path: PathBuf,
    /// Kept locked while the database is open.
    _folder: Arc<Folder>,
}

/// What the writer tells the readers: only what is durable.
#[derive(Debug, Default)]
struct Shared {
    received: RwLock<Received>,
    unfiled: RwLock<Unfiled>,
    last_row: AtomicU64,
    released: AtomicU64,
    trouble: Mutex<Option<StoreError>>,
}

/// Where the rows are that are not in their final place yet: for each
/// collector the time and number of its rows in `arrival`.
///
/// The writer adds rows after the commit that wrote them, and removes them
/// after the commit that deleted them. A reader takes its copy first and opens
/// its transaction then, so that each row it was told of is either still there
/// or in its final place already, or in both: then it counts once.
#[derive(Debug, Default)]
struct Unfiled {
    rows: HashMap<i64, Vec<(i64, i64)>>,
    count: u64,
}

impl Unfiled {
    fn add(&mut self, collector: i64, at: i64, row: i64) {
        self.rows.entry(collector).or_default().push((at, row));
        self.count += 1;
    }

    /// Removes what is at or below a row.
    fn remove_up_to(&mut self, row: i64) {
        self.rows.retain(|_, rows| {
            rows.retain(|(_, number)| *number > row);
            !rows.is_empty()
        });
        self.count = self.rows.values().map(|rows| rows.len() as u64).sum();
    }

    fn remove_collectors(&mut self, collectors: &[i64]) {
        for collector in collectors {
            self.rows.remove(collector);
        }
        self.count = self.rows.values().map(|rows| rows.len() as u64).sum();
    }
}

impl SqliteHistory {
    pub(crate) fn open(folder: &Arc<Folder>, options: &Options) -> Result<Self, OpenError> {
        let (path, connection) = folder.connect(&KIND)?;
        let loaded = load(&connection).and_then(|shared| {
            file::trust(&connection, true)?;
            Ok(shared)
        });
        let shared = loaded.map_err(|fault| match fault.of(DATABASE) {
            StoreError::Damaged { source, .. } => OpenError::Damaged { path: path.clone(), what: source.to_string() },
            StoreError::Engine { source, .. } | StoreError::Io { source, .. } => {
                OpenError::Engine { path: path.clone(), source }
            }
            other => OpenError::Engine { path: path.clone(), source: Arc::new(other) },
        })?;
        let shared = Arc::new(shared);
        let (jobs, queue) = mpsc::sync_channel(options.queue.max(1));
        let writer = Writer::new(connection, options.clone(), Arc::clone(&shared), queue);
        let writer = std::thread::Builder::new()
            .name("history-writer".into())
            .spawn(move || writer.run())
            .map_err(|source| OpenError::Io { path: path.clone(), source })?;
        Ok(Self {
            shared,
            jobs,
            writer: Some(writer),
            readers: Pool::new(path.clone(), DATABASE, options.readers),
            path,
            _folder: Arc::clone(folder),
        })
    }

    /// Hands the writer a write, or refuses it at once.
    fn submit(&self, write: Write) {
        let (job, error) = match self.jobs.try_send(Job::Write(Box::new(write))) {
            Ok(()) => return,
            Err(TrySendError::Full(job)) => (job, StoreError::Busy),
            Err(TrySendError::Disconnected(job)) => (job, StoreError::Closed),
        };
        if let Job::Write(write) = job {
            write.fail(error);
        }
    }

    /// Has the writer do something, and waits for its answer.
    fn ask<T>(&self, control: impl FnOnce(SyncSender<Result<T, StoreError>>) -> Control) -> Result<T, StoreError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.jobs.send(Job::Control(control(reply))).map_err(|_| StoreError::Closed)?;
        answer.recv().map_err(|_| StoreError::Closed)?
    }
}

impl HistoryStore for SqliteHistory {
    fn append(&self, arrival: Arrival, catalogue: Arc<Catalogue>, on_durable: OnDurable<Receipt>) {
        self.submit(Write::Append { arrival, catalogue, on_durable });
    }

    fn declare_gap(&self, outbox: HostId, epoch: u64, sequences: RangeInclusive<u64>, on_durable: OnDurable<()>) {
        self.submit(Write::Gap { outbox, epoch, sequences, on_durable });
    }

    fn received(&self, outbox: HostId, epoch: u64) -> RangeSet {
        let received = self.shared.received.read().unwrap_or_else(PoisonError::into_inner);
        received.get(outbox, epoch).cloned().unwrap_or_default()
    }

    fn last_row(&self) -> Row {
        self.shared.last_row.load(Ordering::Acquire)
    }

    fn replay(&self, after: Row, each: &mut dyn FnMut(Row, Arrival)) -> Result<Replayed, StoreError> {
        self.readers.read(|tx| query::replay(tx, after, each))
    }

    fn release(&self, row: Row) {
        self.shared.released.fetch_max(row, Ordering::AcqRel);
    }

    fn series(&self, host: HostId) -> Result<Vec<Series>, StoreError> {
        self.readers.read(|tx| query::series(tx, host))
    }

    fn find(&self, hosts: &[HostId], wanted: &dyn Fn(&str, &str, &str) -> bool) -> Result<Vec<SeriesKey>, StoreError> {
        let mut found = Vec::new();
        for host in hosts {
            let keys = self.series(*host)?.into_iter().map(|series| series.key);
            found.extend(keys.filter(|key| wanted(&key.resource.kind, &key.resource.name, &key.field)));
        }
        Ok(found)
    }

    fn query(&self, query: &Query) -> Result<History, StoreError> {
        let plan = query::Plan::new(query)?;
        let sources = self.readers.read(|tx| plan.sources(tx))?;
        // Before the transaction that reads the rows: see `Unfiled`.
        let unfiled = plan.unfiled(&sources, &self.shared.unfiled.read().unwrap_or_else(PoisonError::into_inner));
        self.readers.read(|tx| plan.run(tx, &sources, &unfiled))
    }

    fn note_host(&self, host: HostId, at: Timestamp, facts: HostFacts, on_durable: OnDurable<()>) {
        self.submit(Write::Host { host, at, facts: Box::new(facts), on_durable });
    }

    fn note_forgotten(&self, host: HostId, resource: ResourceKey, at: Timestamp, on_durable: OnDurable<()>) {
        self.submit(Write::Forgotten { host, resource, at, on_durable });
    }

    fn state_at(&self, hosts: &[HostId], at: Timestamp) -> Result<Vec<HostThen>, StoreError> {
        self.readers.read(|tx| changes::state_at(tx, hosts, at))
    }

    fn changes(&self, query: &ChangeQuery) -> Result<ChangeList, StoreError> {
        self.readers.read(|tx| changes::list(tx, query))
    }

    fn maintain(&self, now: Timestamp) -> Result<Maintained, StoreError> {
        self.ask(|reply| Control::Maintain { now, reply })
    }

    fn remove_host(&self, host: HostId) -> Result<(), StoreError> {
        self.ask(|reply| Control::RemoveHost { host, reply })
    }

    fn stats(&self) -> Result<HistoryStats, StoreError> {
        let waiting = self.shared.unfiled.read().unwrap_or_else(PoisonError::into_inner).count;
        let (sealed, series, bytes) = self.readers.read(|tx| {
            let count = |sql: &str| tx.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
            let bytes = "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = 'reading' AND aggregate = TRUE";
            Ok((count("SELECT count(*) FROM reading")?, count("SELECT count(*) FROM series")?, count(bytes)?))
        })?;
        let part = |name, pieces, bytes| PartStats { name, pieces, values: 0, bytes, oldest: None };
        let parts = vec![part("waiting", waiting, 0), part("raw", sealed, bytes)];
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |found| found.len());
        let bytes = size(&self.path) + size(&self.path.with_extension("db-wal"));
        Ok(HistoryStats { waiting, series, bytes, quarantined: 0, parts })
    }

    fn check(&self, _progress: &mut dyn FnMut(Progress)) -> Result<Checked, StoreError> {
        self.readers.read(|tx| {
            let verdict: String = tx.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            Ok(Checked { file: (verdict != "ok").then_some(verdict), ..Checked::default() })
        })
    }

    fn compact(&self, now: Timestamp, _progress: &mut dyn FnMut(Progress)) -> Result<u64, StoreError> {
        self.maintain(now).map(|done| done.bytes_freed)
    }

    fn backup(&self, target: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
        file::back_up(&self.path, target, progress).map_err(|fault| fault.of(DATABASE))
    }

    fn limit_size(&self, bytes: Option<u64>) -> Result<(), StoreError> {
        let pages = bytes.map(|bytes| bytes / u64::from(PAGE_SIZE));
        self.ask(|reply| Control::LimitPages { pages, reply })
    }

    fn trouble(&self) -> Option<StoreError> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.ask(|reply| Control::Flush { reply })
    }
}

impl Drop for SqliteHistory {
    fn drop(&mut self) {
        // The last connection that closes tidies up the log, and must be able
        // to write.
        self.readers.close();
        // What was appended before is written; a writer that is gone already
        // leaves nothing to wait for.
        let _ = self.jobs.send(Job::Control(Control::Stop));
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Reads what must be known before anything is written.
fn load(connection: &Connection) -> Result<Shared, Fault> {
    let shared = Shared::default();
    {
        let mut received = shared.received.write().unwrap_or_else(PoisonError::into_inner);
        let mut statement =
            connection.prepare("SELECT id, epoch, ranges FROM received JOIN host ON host.number = received.outbox")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let host = HostId::from_bytes(row.get(0)?);
            let epoch = row.get::<_, i64>(1)?.cast_unsigned();
            let bytes: Vec<u8> = row.get(2)?;
            let ranges = ranges::decode(&bytes).ok_or(rusqlite::Error::InvalidColumnType(
                2,
                "ranges".into(),
                rusqlite::types::Type::Blob,
            ))?;
            received.set(host, epoch, ranges);
        }
        let mut unfiled = shared.unfiled.write().unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection.prepare("SELECT collector, at, row FROM arrival WHERE NOT quarantined")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            unfiled.add(row.get(0)?, row.get(1)?, row.get(2)?);
        }
        let last: i64 = connection.query_row(
            "SELECT max(value, coalesce((SELECT max(row) FROM arrival), 0)) FROM meta WHERE key = 'last_row'",
            [],
            |row| row.get(0),
        )?;
        shared.last_row.store(last.cast_unsigned(), Ordering::Release);
    }
    Ok(shared)
}
