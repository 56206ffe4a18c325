//! The thread that writes: gathers reports, commits them together, tells
//! everybody, and takes care of what is old in between.

use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tomte_model::{Catalogue, HostId, RangeSet, ResourceKey, Timestamp};

use super::care::{Care, Progress, Removal};
use super::changes::Recorder;
use super::dictionary::Dictionary;
use super::{DATABASE, Shared, ranges};
use crate::changes::HostFacts;
use crate::history::{Arrival, Maintained, OnDurable, Receipt};
use crate::sqlite::Fault;
use crate::{Options, StoreError};

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
    Maintain { now: Timestamp, reply: SyncSender<Result<Maintained, StoreError>> },
    RemoveHost { host: HostId, reply: SyncSender<Result<(), StoreError>> },
    LimitPages { pages: Option<u64>, reply: SyncSender<Result<(), StoreError>> },
    Flush { reply: SyncSender<Result<(), StoreError>> },
    Stop,
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
    /// Collector, time, row.
    unfiled: Vec<(i64, i64, i64)>,
    last_row: i64,
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
    /// Care under way, the first one at work.
    rounds: VecDeque<Round>,
    /// Epochs that are too old to be remembered, still to be deleted.
    old_epochs: Vec<(HostId, u64)>,
}

/// Care that was asked for, and who waits for it.
enum Round {
    Maintain(Care, SyncSender<Result<Maintained, StoreError>>),
    Remove(Removal, SyncSender<Result<(), StoreError>>),
}

impl Writer {
    pub(super) fn new(connection: Connection, options: Options, shared: Arc<Shared>, queue: Receiver<Job>) -> Self {
        let dictionary = Dictionary::new(options.series_per_host);
        Self {
            connection,
            options,
            shared,
            queue,
            dictionary,
            recorder: Recorder::default(),
            rounds: VecDeque::new(),
            old_epochs: Vec::new(),
        }
    }

    /// Works until told to stop, or until nobody can ask for anything.
    pub(super) fn run(mut self) {
        loop {
            let job = if self.rounds.is_empty() {
                self.queue.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                self.queue.try_recv()
            };
            let control = match job {
                Ok(Job::Control(control)) => Some(control),
                Ok(Job::Write(write)) => {
                    let (batch, control) = self.gather(*write);
                    self.commit(batch);
                    // Under constant load, care still goes on.
                    self.step();
                    control
                }
                Err(TryRecvError::Empty) => {
                    self.step();
                    None
                }
                Err(TryRecvError::Disconnected) => return,
            };
            match control {
                None => {}
                Some(Control::Stop) => return,
                Some(control) => self.handle(control),
            }
        }
    }

    /// Waits for more writes until the window ends, the batch is full, or
    /// something else is asked for.
    fn gather(&mut self, first: Write) -> (Vec<Write>, Option<Control>) {
        let deadline = Instant::now() + self.options.commit_window;
        let mut batch = vec![first];
        while batch.len() < self.options.commit_batch {
            let left = deadline.saturating_duration_since(Instant::now());
            let job = if self.rounds.is_empty() || left.is_zero() {
                self.queue.recv_timeout(left)
            } else {
                match self.queue.try_recv() {
                    Ok(job) => Ok(job),
                    Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
                    Err(TryRecvError::Empty) => {
                        self.step();
                        continue;
                    }
                }
            };
            match job {
                Ok(Job::Write(write)) => batch.push(*write),
                Ok(Job::Control(control)) => return (batch, Some(control)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        (batch, None)
    }

    /// Commits a batch, then tells everybody in it.
    fn commit(&mut self, writes: Vec<Write>) {
        match self.write(&writes) {
            Ok(batch) => {
                self.publish(batch.received, batch.unfiled, batch.last_row);
                for (write, outcome) in writes.into_iter().zip(batch.outcomes) {
                    write.tell(outcome);
                }
            }
            Err(fault) => {
                let error = fault.of(DATABASE);
                tracing::error!(%error, reports = writes.len(), "reports could not be written");
                self.dictionary.forget();
                self.recorder.forget();
                *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
                for write in writes {
                    write.fail(error.clone());
                }
            }
        }
    }

    fn write(&mut self, writes: &[Write]) -> Result<Batch, Fault> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last_row = self.shared.last_row.load(Ordering::Acquire).cast_signed();
        let mut batch = Batch { last_row, ..Batch::default() };
        for write in writes {
            let outcome = match write {
                Write::Append { arrival, catalogue, .. } => {
                    let outcome = append(&tx, &mut self.dictionary, &self.shared, &mut batch, arrival, catalogue)?;
                    if matches!(outcome, Outcome::Appended(Receipt { row: Some(_), .. })) {
                        let received = &batch.received[&(arrival.outbox, arrival.report.position.epoch)];
                        self.recorder.note(&tx, arrival, received)?;
                    }
                    outcome
                }
                Write::Gap { outbox, epoch, sequences, .. } => {
                    let (first, last) = (*sequences.start(), *sequences.end());
                    match ranges_with(&self.shared, &mut batch, (*outbox, *epoch), first..=last) {
                        Ok(_) => Outcome::Noted,
                        Err(error) => Outcome::Refused(error),
                    }
                }
                Write::Host { host, at, facts, .. } => {
                    self.recorder.note_host(&tx, *host, *at, facts)?;
                    Outcome::Noted
                }
                Write::Forgotten { host, resource, at, .. } => {
                    self.recorder.note_forgotten(&tx, *host, resource, *at)?;
                    Outcome::Noted
                }
            };
            batch.outcomes.push(outcome);
        }
        let mut insert = tx.prepare_cached("INSERT OR REPLACE INTO received VALUES (?1, ?2, ?3)")?;
        for ((outbox, epoch), ranges) in &batch.received {
            let outbox = self.dictionary.host(&tx, *outbox)?;
            insert.execute((outbox, epoch.cast_signed(), ranges::encode(ranges)))?;
        }
        drop(insert);
        for (outbox, epoch) in &self.old_epochs {
            let outbox = self.dictionary.host(&tx, *outbox)?;
            tx.execute("DELETE FROM received WHERE outbox = ?1 AND epoch = ?2", (outbox, epoch.cast_signed()))?;
        }
        tx.commit()?;
        self.old_epochs.clear();
        Ok(batch)
    }

    /// Tells the readers what is durable now.
    fn publish(&mut self, touched: HashMap<(HostId, u64), RangeSet>, unfiled: Vec<(i64, i64, i64)>, last_row: i64) {
        let mut received = self.shared.received.write().unwrap_or_else(PoisonError::into_inner);
        for ((outbox, epoch), ranges) in touched {
            received.set(outbox, epoch, ranges);
            while let Some(old) = received.forget_oldest(outbox) {
                self.old_epochs.push((outbox, old));
            }
        }
        drop(received);
        let mut known = self.shared.unfiled.write().unwrap_or_else(PoisonError::into_inner);
        for (collector, at, row) in unfiled {
            known.add(collector, at, row);
        }
        drop(known);
        self.shared.last_row.store(last_row.cast_unsigned(), Ordering::Release);
        let mut trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.take().is_some() {
            tracing::info!("reports are written again");
        }
    }

    fn handle(&mut self, control: Control) {
        match control {
            Control::Maintain { now, reply } => {
                self.rounds.push_back(Round::Maintain(Care::new(now, &self.options), reply));
            }
            Control::RemoveHost { host, reply } => {
                self.rounds.push_back(Round::Remove(Removal::new(host), reply));
            }
            Control::LimitPages { pages, reply } => {
                // The greatest number that SQLite takes, see its pragma.
                let pages = pages.unwrap_or(0xFFFF_FFFE).clamp(1, 0xFFFF_FFFE);
                let sql = format!("PRAGMA max_page_count = {pages}");
                let set = self.connection.query_row(&sql, [], |_| Ok(()));
                let _ = reply.send(set.map_err(|error| Fault::from(error).of(DATABASE)));
            }
            Control::Flush { reply } => {
                let _ = reply.send(Ok(()));
            }
            Control::Stop => {}
        }
    }

    /// One small step of the care under way.
    fn step(&mut self) {
        let (connection, dictionary, shared) = (&mut self.connection, &mut self.dictionary, &*self.shared);
        let recorder = &mut self.recorder;
        let Some(round) = self.rounds.front_mut() else { return };
        let progress = match round {
            Round::Maintain(care, _) => care.step(connection, dictionary, shared),
            Round::Remove(removal, _) => removal.step(connection, dictionary, recorder, shared),
        };
        let result = match progress {
            Ok(Progress::More) => return,
            Ok(Progress::Done) => Ok(()),
            Err(fault) => {
                dictionary.forget();
                Err(fault.of(DATABASE))
            }
        };
        match self.rounds.pop_front() {
            Some(Round::Maintain(care, reply)) => {
                let _ = reply.send(result.map(|()| care.done()));
            }
            Some(Round::Remove(_, reply)) => {
                let _ = reply.send(result);
            }
            None => {}
        }
    }
}

/// Writes one report, unless it is there already.
fn append(
    tx: &Transaction<'_>,
    dictionary: &mut Dictionary,
    shared: &Shared,
    batch: &mut Batch,
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
    let outbox = dictionary.host(tx, arrival.outbox)?;
    let filing = dictionary.file(tx, arrival, catalogue)?;
    let events = if report.events.is_empty() { None } else { Some(serde_json::to_string(&report.events)?) };
    batch.last_row += 1;
    let (row, at) = (batch.last_row, arrival.at.millis());
    tx.prepare_cached("INSERT INTO arrival VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)")?
        .execute(params![
            row,
            filing.host,
            filing.collector,
            filing.frame,
            outbox,
            position.epoch.cast_signed(),
            position.sequence.cast_signed(),
            at,
            arrival.received_at.millis(),
            report.moment.wall.millis(),
            report.moment.boot_millis.cast_signed(),
            arrival.quarantined,
            events,
            filing.body,
            filing.unkept,
        ])?;
    if !arrival.quarantined && filing.kept > 0 {
        batch.unfiled.push((filing.collector, at, row));
    }
    Ok(Outcome::Appended(Receipt {
        row: Some(row.cast_unsigned()),
        kept: if arrival.quarantined { 0 } else { filing.kept },
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
