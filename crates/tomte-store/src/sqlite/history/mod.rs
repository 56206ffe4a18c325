//! `history.db`: one thread writes, a pool reads.
//!
//! A report is first appended to the [`journal`], whole; the newest readings
//! are in memory as well, in the [`head`]. Every two hours [`upkeep`] seals
//! what the memory has into [`part`]s, adds it to the buckets of five minutes,
//! merges the parts of a day that is over into one piece, and the buckets of
//! eight days into theirs and into those of an hour. All of that is done
//! beside the writer; it only applies what is ready, in short transactions.
//!
//! Start at [`writer`] for the way of a report, at [`query`] for the way back,
//! at [`place`] for where pieces are.

mod body;
mod care;
mod changes;
mod dictionary;
mod frame;
mod head;
mod journal;
mod load;
mod merge;
mod names;
mod part;
mod place;
mod prune;
mod query;
mod ranges;
mod replay;
mod retention;
mod upkeep;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use tomte_model::{Catalogue, HostId, RangeSet, ResourceKey, Timestamp};

use self::head::Head;
use self::journal::Record;
use self::names::Names;
use self::ranges::Received;
use self::retention::Rules;
use self::upkeep::Upkeep;
use self::writer::{Control, Job, Step, Write, Writer};
use super::file::{self, Folder, Kind, PAGE_SIZE};
use super::pool::Pool;
use crate::changes::{ChangeList, ChangeQuery, HostFacts, HostThen};
use crate::history::{
    Arrival, Checked, History, HistoryStats, HistoryStore, Maintained, OnDurable, Progress, Query, Receipt, Replayed,
    Row, Series, SeriesKey,
};
use crate::{OpenError, Options, StoreError};

pub(super) const KIND: Kind = Kind {
    file: "history.db",
    // "TomH" in ASCII.
    application_id: 0x546F_6D48,
    migrations: &[
        include_str!("schema.sql"),
        changes::SCHEMA,
        include_str!("schema-3.sql"),
        include_str!("schema-4.sql"),
    ],
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
    options: Options,
    rules: Rules,
    /// Held by upkeep, so that there is one at a time.
    caring: Mutex<()>,
    /// Kept locked while the database is open.
    _folder: Arc<Folder>,
}

/// What the writer tells the readers: only what is durable.
#[derive(Debug, Default)]
struct Shared {
    received: RwLock<Received>,
    names: RwLock<Names>,
    /// Readers hold it until they have begun to read the database, so that
    /// nothing leaves it meanwhile that they do not find there.
    head: RwLock<Head>,
    /// Row and time of receipt of what is in the journal: the last of each
    /// commit.
    marks: Mutex<VecDeque<(i64, i64)>>,
    /// The last row that needs a frame.
    frames: Mutex<HashMap<i64, i64>>,
    last_row: AtomicU64,
    released: AtomicU64,
    /// Rows up to here are gone from the journal.
    sealed: AtomicI64,
    /// Slots of the journal in use.
    slots: AtomicU64,
    /// Whether there are rows as version 1 kept them.
    legacy: AtomicBool,
    /// When old history was last deleted, and from which day on there is some
    /// in spite of the cap on the size.
    pruned_at: AtomicI64,
    raw_floor: AtomicI64,
    five_floor: AtomicI64,
    trouble: Mutex<Option<StoreError>>,
    /// Tests look at what a crash would leave after every commit.
    #[cfg(test)]
    committed: tests::Committed,
}

impl Shared {
    /// Something was committed.
    fn committed(&self) {
        #[cfg(test)]
        self.committed.tell();
    }

    /// Takes reports into memory, which must come in order.
    fn take(&self, records: &[Record]) {
        let Some(last) = records.last() else { return };
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let mut head = self.head.write().unwrap_or_else(PoisonError::into_inner);
        for record in records.iter().filter(|record| !record.quarantined) {
            head.add(record.collector, (record.row, record.at), &record.body, &names.exponents);
        }
        drop((head, names));
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            frames.insert(record.frame, record.row);
        }
        drop(frames);
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).push_back((last.row, last.received_at));
    }
}

impl SqliteHistory {
    pub(crate) fn open(folder: &Arc<Folder>, options: &Options) -> Result<Self, OpenError> {
        let (path, mut connection) = folder.connect(&KIND)?;
        let loaded = load::load(&mut connection).and_then(|loaded| {
            file::trust(&connection, true)?;
            connection.pragma_update(None, "secure_delete", options.secure_delete)?;
            Ok(loaded)
        });
        let (shared, journal) = loaded.map_err(|fault| match fault.of(DATABASE) {
            StoreError::Damaged { source, .. } => OpenError::Damaged { path: path.clone(), what: source.to_string() },
            StoreError::Engine { source, .. } | StoreError::Io { source, .. } => {
                OpenError::Engine { path: path.clone(), source }
            }
            other => OpenError::Engine { path: path.clone(), source: Arc::new(other) },
        })?;
        let shared = Arc::new(shared);
        let (jobs, queue) = mpsc::sync_channel(options.queue.max(1));
        let writer = Writer::new(connection, options.clone(), Arc::clone(&shared), queue, journal);
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
            options: options.clone(),
            rules: Rules::new(&options.retention),
            caring: Mutex::new(()),
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

    /// Has the writer apply a step of upkeep.
    fn apply(&self, step: Step) -> Result<(), StoreError> {
        self.ask(|reply| Control::Apply { step, reply })
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
        let after = after.max(self.shared.sealed.load(Ordering::Acquire).cast_unsigned());
        self.readers.read(|tx| replay::replay(tx, after, each))
    }

    fn release(&self, row: Row) {
        self.shared.released.fetch_max(row, Ordering::AcqRel);
    }

    fn series(&self, host: HostId) -> Result<Vec<Series>, StoreError> {
        Ok(self.shared.names.read().unwrap_or_else(PoisonError::into_inner).series(host))
    }

    fn find(&self, hosts: &[HostId], wanted: &dyn Fn(&str, &str, &str) -> bool) -> Result<Vec<SeriesKey>, StoreError> {
        Ok(self.shared.names.read().unwrap_or_else(PoisonError::into_inner).find(hosts, wanted))
    }

    fn query(&self, query: &Query) -> Result<History, StoreError> {
        query::run(self, query)
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
        let _alone = self.caring.lock().unwrap_or_else(PoisonError::into_inner);
        Upkeep::new(self, now).run()
    }

    fn remove_host(&self, host: HostId) -> Result<(), StoreError> {
        let _alone = self.caring.lock().unwrap_or_else(PoisonError::into_inner);
        care::remove_host(self, host)
    }

    fn stats(&self) -> Result<HistoryStats, StoreError> {
        care::stats(self)
    }

    fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<Checked, StoreError> {
        let _alone = self.caring.lock().unwrap_or_else(PoisonError::into_inner);
        care::check(self, progress)
    }

    fn compact(&self, now: Timestamp, progress: &mut dyn FnMut(Progress)) -> Result<u64, StoreError> {
        let _alone = self.caring.lock().unwrap_or_else(PoisonError::into_inner);
        Upkeep::new(self, now).compact(progress)
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
