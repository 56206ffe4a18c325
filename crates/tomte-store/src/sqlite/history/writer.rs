//! The thread that writes: gathers reports, commits them together, tells
//! everybody, and in between applies what upkeep has prepared.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tomte_model::{Catalogue, HostId, RangeSet, ResourceKey, Timestamp};

use super::changes::Recorder;
use super::dictionary::Dictionary;
use super::head::Blocks;
use super::journal::{self, Journal, Record};
use super::retention::Rules;
use super::{DATABASE, Shared, place, ranges};
use crate::changes::HostFacts;
use crate::history::{Arrival, OnDurable, Receipt};
use crate::sqlite::{Fault, file};
use crate::{Options, StoreError};

/// How many outboxes, slots and pages one step deals with.
const SAVE_AT_ONCE: usize = 500;
/// No commit has more than so many batches.
const AT_MOST: usize = 4;
const SLOTS_AT_ONCE: usize = 64;
const FRAMES_AT_ONCE: usize = 256;
const GIVE_BACK_AT_ONCE: u64 = 64;
/// There is a checkpoint after so many steps of upkeep: SQLite makes one at
/// eight megabytes, for which reports would wait too long.
const CHECKPOINT_STEPS: u32 = 8;

/// What the thread is asked for.
pub(super) enum Job {
    /// To be committed together with others.
    Write(Box<Write>),
    /// To be done on its own, after all writes before it.
    Control(Control),
}

/// Something to commit.
pub(super) enum Write {
    Append { arrival: Arrival, catalogue: Arc<Catalogue>, on_durable: OnDurable<Receipt> },
    Gap { outbox: HostId, epoch: u64, sequences: RangeInclusive<u64>, on_durable: OnDurable<()> },
    Host { host: HostId, at: Timestamp, facts: Box<HostFacts>, on_durable: OnDurable<()> },
    Forgotten { host: HostId, resource: ResourceKey, at: Timestamp, on_durable: OnDurable<()> },
}

/// Something to do in between. Answers are awaited by the one who asked; if
/// they no longer are, nothing is lost.
pub(super) enum Control {
    /// A transaction of upkeep.
    Apply {
        step: Step,
        reply: SyncSender<Result<(), StoreError>>,
    },
    /// Writes down what arrived from some outboxes. Answers how many are left.
    SaveReceived {
        reply: SyncSender<Result<usize, StoreError>>,
    },
    /// Forgets reports up to a row: they are sealed and covered.
    Trim {
        row: i64,
        now: i64,
        reply: SyncSender<Result<(), StoreError>>,
    },
    /// Deletes some of what [`Self::Trim`] left behind; with `all`, also what
    /// will be needed again. Answers whether there is more.
    Sweep {
        now: i64,
        all: bool,
        reply: SyncSender<Result<bool, StoreError>>,
    },
    /// Gives some free pages back; with `all`, also those that the next writes
    /// will need. Answers how many bytes went.
    GiveBack {
        all: bool,
        reply: SyncSender<Result<u64, StoreError>>,
    },
    /// Carries the log over to the database, as far as readers allow.
    Checkpoint {
        reply: SyncSender<Result<(), StoreError>>,
    },
    LimitPages {
        pages: Option<u64>,
        reply: SyncSender<Result<(), StoreError>>,
    },
    Flush {
        reply: SyncSender<Result<(), StoreError>>,
    },
    Stop,
}

/// What is to be done within one transaction.
type Work = Box<dyn FnOnce(&Transaction<'_>, &mut Known<'_>) -> Result<(), Fault> + Send>;

/// What the writer remembers of the database, and must forget with it.
pub(super) struct Known<'a> {
    pub(super) dictionary: &'a mut Dictionary,
    pub(super) recorder: &'a mut Recorder,
}

/// What is to be done once it is durable.
type After = Box<dyn FnOnce(&Shared) + Send>;

/// A transaction of upkeep. It must be short: reports wait meanwhile.
pub(super) struct Step {
    work: Work,
    /// What of the head is in the database then.
    sealing: Blocks,
    after: Option<After>,
}

impl Step {
    pub(super) fn new(
        work: impl FnOnce(&Transaction<'_>, &mut Known<'_>) -> Result<(), Fault> + Send + 'static,
    ) -> Self {
        Self { work: Box::new(work), sealing: Blocks::new(), after: None }
    }

    pub(super) fn sealing(self, sealing: Blocks) -> Self {
        Self { sealing, ..self }
    }

    /// With something to be done once it is durable.
    pub(super) fn and_then(self, after: impl FnOnce(&Shared) + Send + 'static) -> Self {
        Self { after: Some(Box::new(after)), ..self }
    }
}

/// What a write came to, before anybody is told.
enum Outcome {
    Appended(Receipt),
    Noted,
    Refused(StoreError),
}

/// What a successful commit made durable.
#[derive(Default)]
struct Batch {
    outcomes: Vec<Outcome>,
    received: HashMap<(HostId, u64), RangeSet>,
    /// Of these, what must be in the table: no report tells it again.
    declared: HashSet<(HostId, u64)>,
    records: Vec<Record>,
}

impl Write {
    /// Tells the sender that nothing was written.
    pub(super) fn fail(self, error: StoreError) {
        self.tell(Outcome::Refused(error));
    }

    fn tell(self, outcome: Outcome) {
        // What the sender does with it must not end the thread.
        let told = catch_unwind(AssertUnwindSafe(|| match (self, outcome) {
            (Self::Append { on_durable, .. }, Outcome::Appended(receipt)) => on_durable(Ok(receipt)),
            (Self::Append { on_durable, .. }, Outcome::Refused(error)) => on_durable(Err(error)),
            (
                Self::Gap { on_durable, .. } | Self::Host { on_durable, .. } | Self::Forgotten { on_durable, .. },
                outcome,
            ) => on_durable(match outcome {
                Outcome::Refused(error) => Err(error),
                _ => Ok(()),
            }),
            (Self::Append { .. }, Outcome::Noted) => unreachable!("a report is appended or refused"),
        }));
        if told.is_err() {
            tracing::error!("a callback of the history panicked");
        }
    }
}

/// The writing side of `history.db`.
pub(super) struct Writer {
    connection: Connection,
    options: Options,
    shared: Arc<Shared>,
    queue: Receiver<Job>,
    dictionary: Dictionary,
    recorder: Recorder,
    journal: Journal,
    /// What is to be committed next.
    batch: Vec<Write>,
    /// Outboxes of which the table does not say all that arrived; the journal
    /// does.
    unsaved: HashSet<(HostId, u64)>,
    /// Epochs that are too old to be remembered, still to be deleted.
    old_epochs: Vec<(HostId, u64)>,
    /// Frames that nothing refers to, still to be deleted.
    unused_frames: Vec<i64>,
    /// Steps since there was a checkpoint after one.
    steps: u32,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        options: Options,
        shared: Arc<Shared>,
        queue: Receiver<Job>,
        (mut journal, unsaved): (Journal, HashSet<(HostId, u64)>),
    ) -> Self {
        if !options.secure_delete {
            journal.wipe_nothing();
        }
        let dictionary = Dictionary::new(options.series_per_host, Rules::new(&options.retention));
        let recorder = Recorder::default();
        Self {
            connection,
            options,
            shared,
            queue,
            dictionary,
            recorder,
            journal,
            batch: Vec::new(),
            unsaved,
            old_epochs: Vec::new(),
            unused_frames: Vec::new(),
            steps: 0,
        }
    }

    /// Works until told to stop, or until nobody can ask for anything.
    pub(super) fn run(mut self) {
        while let Ok(job) = self.queue.recv() {
            let control = match job {
                Job::Control(control) => Some(control),
                Job::Write(write) => {
                    let control = self.gather(*write);
                    self.commit();
                    control
                }
            };
            match control {
                None => {}
                Some(Control::Stop) => return,
                Some(control) => self.handle(control),
            }
        }
    }

    /// Waits for more writes until the window ends, the batch is full, or
    /// something else is asked for. What waits by then comes along.
    fn gather(&mut self, first: Write) -> Option<Control> {
        let deadline = Instant::now() + self.options.commit_window;
        self.batch.push(first);
        while self.batch.len() < self.options.commit_batch {
            let left = deadline.saturating_duration_since(Instant::now());
            let job = self.queue.recv_timeout(left);
            match job {
                Ok(Job::Write(write)) => self.batch.push(*write),
                Ok(Job::Control(control)) => return Some(control),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        // What waits already comes along: one commit costs less than two.
        while self.batch.len() < self.options.commit_batch.saturating_mul(AT_MOST) {
            match self.queue.try_recv() {
                Ok(Job::Write(write)) => self.batch.push(*write),
                Ok(Job::Control(control)) => return Some(control),
                Err(_) => break,
            }
        }
        None
    }

    /// Commits the batch, then tells everybody in it.
    fn commit(&mut self) {
        let mut writes = std::mem::take(&mut self.batch);
        self.journal.begin();
        match self.write(&writes) {
            Ok(batch) => {
                self.publish(batch.received, &batch.declared, &batch.records);
                for (write, outcome) in writes.drain(..).zip(batch.outcomes) {
                    write.tell(outcome);
                }
            }
            Err(fault) => {
                let error = fault.of(DATABASE);
                tracing::error!(%error, reports = writes.len(), "reports could not be written");
                self.dictionary.forget();
                self.recorder.forget();
                self.journal.roll_back();
                *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
                for write in writes.drain(..) {
                    write.fail(error.clone());
                }
            }
        }
        // Its room serves the next one.
        self.batch = writes;
    }

    fn write(&mut self, writes: &[Write]) -> Result<Batch, Fault> {
        let Self { connection, dictionary, recorder, journal, shared, .. } = self;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch::default();
        let mut last_row = shared.last_row.load(Ordering::Acquire).cast_signed();
        for write in writes {
            let outcome = match write {
                Write::Append { arrival, catalogue, .. } => {
                    let outcome = append(&tx, dictionary, shared, &mut batch, &mut last_row, arrival, catalogue)?;
                    if matches!(outcome, Outcome::Appended(Receipt { row: Some(_), .. })) {
                        let received = &batch.received[&(arrival.outbox, arrival.report.position.epoch)];
                        recorder.note(&tx, arrival, received)?;
                    }
                    outcome
                }
                Write::Host { host, at, facts, .. } => {
                    recorder.note_host(&tx, *host, *at, facts)?;
                    Outcome::Noted
                }
                Write::Forgotten { host, resource, at, .. } => {
                    recorder.note_forgotten(&tx, *host, resource, *at)?;
                    Outcome::Noted
                }
                Write::Gap { outbox, epoch, sequences, .. } => {
                    let (first, last) = (*sequences.start(), *sequences.end());
                    match ranges_with(shared, &mut batch, (*outbox, *epoch), first..=last) {
                        Ok(_) => {
                            batch.declared.insert((*outbox, *epoch));
                            Outcome::Noted
                        }
                        Err(error) => Outcome::Refused(error),
                    }
                }
            };
            batch.outcomes.push(outcome);
        }
        for record in &batch.records {
            journal.append(&tx, record)?;
        }
        journal.write(&tx)?;
        for key in &batch.declared {
            if let Some(ranges) = batch.received.get(key) {
                save_received(&tx, dictionary, *key, ranges)?;
            }
        }
        for (outbox, epoch) in &self.old_epochs {
            let sql = "DELETE FROM received WHERE outbox = (SELECT number FROM host WHERE id = ?1) AND epoch = ?2";
            tx.execute(sql, (outbox.to_bytes(), epoch.cast_signed()))?;
        }
        tx.commit()?;
        shared.committed();
        self.old_epochs.clear();
        Ok(batch)
    }

    /// Tells the readers what is durable now.
    fn publish(
        &mut self,
        touched: HashMap<(HostId, u64), RangeSet>,
        declared: &HashSet<(HostId, u64)>,
        records: &[Record],
    ) {
        let mut received = self.shared.received.write().unwrap_or_else(PoisonError::into_inner);
        for ((outbox, epoch), ranges) in touched {
            received.set(outbox, epoch, ranges);
            if !declared.contains(&(outbox, epoch)) {
                self.unsaved.insert((outbox, epoch));
            }
            while let Some(old) = received.forget_oldest(outbox) {
                self.old_epochs.push((outbox, old));
                self.unsaved.remove(&(outbox, old));
            }
        }
        drop(received);
        if !self.dictionary.fresh.is_empty() {
            let mut names = self.shared.names.write().unwrap_or_else(PoisonError::into_inner);
            for (host, named) in self.dictionary.fresh.drain(..) {
                names.add(host, named);
            }
        }
        self.shared.take(records);
        if !records.is_empty() {
            self.shared.last_row.store(self.journal.last_row().cast_unsigned(), Ordering::Release);
        }
        self.shared.slots.store(self.journal.in_use() as u64, Ordering::Relaxed);
        let mut trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.take().is_some() {
            tracing::info!("reports are written again");
        }
    }

    fn handle(&mut self, control: Control) {
        let told = |fault: Fault| fault.of(DATABASE);
        match control {
            Control::Apply { step, reply } => {
                let applied = self.apply(step);
                if applied.is_err() {
                    self.dictionary.forget();
                    self.recorder.forget();
                }
                let _ = reply.send(applied.map_err(told));
            }
            Control::SaveReceived { reply } => {
                let saved = self.save_received(SAVE_AT_ONCE);
                let _ = reply.send(saved.map_err(told));
            }
            Control::Trim { row, now, reply } => {
                let trimmed = self.trim(row, now);
                let _ = reply.send(trimmed.map_err(told));
            }
            Control::Sweep { now, all, reply } => {
                let swept = self.sweep(now, all);
                let _ = reply.send(swept.map_err(told));
            }
            Control::GiveBack { all, reply } => {
                let freed = file::give_space_back(&self.connection, GIVE_BACK_AT_ONCE, all);
                let freed = freed.map(|pages| pages * u64::from(file::PAGE_SIZE));
                let _ = reply.send(freed.map_err(|error| told(error.into())));
            }
            Control::Checkpoint { reply } => {
                let _ = reply.send(self.checkpoint().map_err(|error| told(error.into())));
            }
            Control::LimitPages { pages, reply } => {
                // The greatest number that SQLite takes, see its pragma.
                let pages = pages.unwrap_or(0xFFFF_FFFE).clamp(1, 0xFFFF_FFFE);
                let sql = format!("PRAGMA max_page_count = {pages}");
                let set = self.connection.query_row(&sql, [], |_| Ok(()));
                let _ = reply.send(set.map_err(|error| told(error.into())));
            }
            Control::Flush { reply } => {
                let _ = reply.send(Ok(()));
            }
            Control::Stop => {}
        }
    }

    fn apply(&mut self, step: Step) -> Result<(), Fault> {
        let Step { work, sealing, after } = step;
        let head = || self.shared.head.write().unwrap_or_else(PoisonError::into_inner);
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        work(&tx, &mut Known { dictionary: &mut self.dictionary, recorder: &mut self.recorder })?;
        // A reader takes what is sealed now from where its transaction sees it.
        let seals = !sealing.is_empty();
        if seals {
            let step = place::step(&tx)? + 1;
            place::set_step(&tx, step)?;
            head().begin_sealing(step, sealing);
        }
        let committed = tx.commit();
        if committed.is_ok() {
            self.shared.committed();
        }
        if seals {
            head().end_sealing(committed.is_ok());
        }
        committed?;
        if let Some(after) = after {
            after(&self.shared);
        }
        self.steps += 1;
        if self.steps >= CHECKPOINT_STEPS {
            self.steps = 0;
            // What was committed stays so; the next commit tries again.
            if let Err(error) = self.checkpoint() {
                tracing::warn!(%error, "there was no checkpoint of the history");
            }
        }
        Ok(())
    }

    /// Carries the log over to the database, as far as readers allow.
    fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    /// Writes down what arrived, for some outboxes.
    fn save_received(&mut self, limit: usize) -> Result<usize, Fault> {
        let some: Vec<(HostId, u64)> = self.unsaved.iter().copied().take(limit).collect();
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let received = self.shared.received.read().unwrap_or_else(PoisonError::into_inner);
            for key in &some {
                if let Some(ranges) = received.get(key.0, key.1) {
                    save_received(&tx, &mut self.dictionary, *key, ranges)?;
                }
            }
        }
        tx.commit()?;
        self.shared.committed();
        for key in &some {
            self.unsaved.remove(key);
        }
        Ok(self.unsaved.len())
    }

    fn trim(&mut self, row: i64, now: i64) -> Result<(), Fault> {
        // What the journal says of the received ranges must stand elsewhere.
        while self.save_received(SAVE_AT_ONCE)? > 0 {}
        let last_row = self.shared.last_row.load(Ordering::Acquire).cast_signed();
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Numbers must go on from here, also when no report is left to tell.
        tx.execute("UPDATE meta SET value = max(value, ?1) WHERE key = 'last_row'", [last_row])?;
        tx.execute("UPDATE meta SET value = max(value, ?1) WHERE key = 'sealed'", [row])?;
        tx.commit()?;
        self.shared.committed();
        self.journal.release(row, now, self.options.secure_delete);
        self.shared.sealed.fetch_max(row, Ordering::AcqRel);
        self.shared.slots.store(self.journal.in_use() as u64, Ordering::Relaxed);
        // What no report refers to, and the next ones will not.
        let live = self.dictionary.frames();
        let mut frames = self.shared.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.retain(|frame, last_row| {
            let stays = *last_row > row || live.contains(frame);
            if !stays {
                self.unused_frames.push(*frame);
            }
            stays
        });
        Ok(())
    }

    fn sweep(&mut self, now: i64, all: bool) -> Result<bool, Fault> {
        let wiped = self.journal.to_wipe(SLOTS_AT_ONCE);
        let surplus = self.journal.surplus(now, all, SLOTS_AT_ONCE);
        let frames = self.unused_frames.len().saturating_sub(FRAMES_AT_ONCE);
        if wiped.is_empty() && surplus.is_empty() && self.unused_frames.is_empty() {
            return Ok(false);
        }
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for slot in &wiped {
            tx.prepare_cached("UPDATE journal SET body = ?2 WHERE slot = ?1")?.execute((slot, journal::empty()))?;
        }
        for slot in &surplus {
            tx.prepare_cached("DELETE FROM journal WHERE slot = ?1")?.execute([slot])?;
        }
        for frame in &self.unused_frames[frames..] {
            tx.prepare_cached("DELETE FROM frame WHERE number = ?1")?.execute([frame])?;
        }
        tx.commit()?;
        self.shared.committed();
        self.journal.deleted(&surplus);
        self.journal.wiped(&wiped);
        self.unused_frames.truncate(frames);
        Ok(true)
    }
}

fn save_received(
    tx: &Transaction<'_>,
    dictionary: &mut Dictionary,
    (outbox, epoch): (HostId, u64),
    ranges: &RangeSet,
) -> Result<(), Fault> {
    let outbox = dictionary.host(tx, outbox, 0)?;
    tx.prepare_cached("INSERT OR REPLACE INTO received VALUES (?1, ?2, ?3)")?.execute((
        outbox,
        epoch.cast_signed(),
        ranges::encode(ranges),
    ))?;
    Ok(())
}

/// Writes one report, unless it is there already.
fn append(
    tx: &Transaction<'_>,
    dictionary: &mut Dictionary,
    shared: &Shared,
    batch: &mut Batch,
    last_row: &mut i64,
    arrival: &Arrival,
    catalogue: &Arc<Catalogue>,
) -> Result<Outcome, Fault> {
    let report = &*arrival.report;
    let position = report.position;
    let key = (arrival.outbox, position.epoch);
    match ranges_with(shared, batch, key, position.sequence..=position.sequence) {
        Ok(true) => {}
        Ok(false) => return Ok(Outcome::Appended(Receipt::default())),
        Err(error) => return Ok(Outcome::Refused(error)),
    }
    let outbox = dictionary.host(tx, arrival.outbox, arrival.at.millis())?;
    let filing = dictionary.file(tx, arrival, catalogue)?;
    let events = if report.events.is_empty() { None } else { Some(serde_json::to_vec(&report.events)?) };
    *last_row += 1;
    let at = arrival.at.millis();
    // What is from a time that cannot be kept makes no history either.
    let quarantined = arrival.quarantined || place::day(at).is_none() || !place::fits(filing.collector);
    batch.records.push(Record {
        row: *last_row,
        at,
        received_at: arrival.received_at.millis(),
        collector: filing.collector,
        frame: filing.frame,
        outbox,
        epoch: position.epoch,
        sequence: position.sequence,
        boot_millis: report.moment.boot_millis,
        quarantined: arrival.quarantined,
        events,
        unkept: filing.unkept,
        body: filing.body,
    });
    Ok(Outcome::Appended(Receipt {
        row: Some(last_row.cast_unsigned()),
        kept: if quarantined { 0 } else { filing.kept },
        over_limit: filing.over_limit,
        unfit: filing.unfit,
    }))
}

/// Adds positions to what has arrived, in this batch's view. Returns whether
/// any of a single position was new.
fn ranges_with(
    shared: &Shared,
    batch: &mut Batch,
    (outbox, epoch): (HostId, u64),
    sequences: RangeInclusive<u64>,
) -> Result<bool, StoreError> {
    let ranges = match batch.received.entry((outbox, epoch)) {
        std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
        std::collections::hash_map::Entry::Vacant(vacant) => {
            let received = shared.received.read().unwrap_or_else(PoisonError::into_inner);
            if received.is_forgotten(outbox, epoch) {
                return Ok(false);
            }
            vacant.insert(received.get(outbox, epoch).cloned().unwrap_or_default())
        }
    };
    if sequences.start() == sequences.end() && ranges.contains(*sequences.start()) {
        return Ok(false);
    }
    if ranges::is_full(ranges) {
        let mut grown = ranges.clone();
        grown.insert_range(sequences);
        if grown.range_count() > ranges.range_count() {
            return Err(StoreError::TooManyPieces);
        }
        *ranges = grown;
    } else {
        ranges.insert_range(sequences);
    }
    Ok(true)
}
