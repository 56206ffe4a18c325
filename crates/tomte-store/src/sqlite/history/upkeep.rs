//! Upkeep: what is new is sealed, days are merged, buckets are folded, what is
//! old goes, space is given back.
//!
//! All of it is prepared here, on the thread of whoever asked for it; the
//! writer applies what is ready in transactions of about [`STEP`] bytes. Each
//! leaves the database whole, so that any of them may be the last.
//!
//! Buckets are only ever added to: what is sealed is counted into them in the
//! transaction that seals it, and never again. So they are exact also where
//! readings come late, and do not need the readings they were made of.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rusqlite::Transaction;
use tomte_model::Timestamp;

use super::SqliteHistory;
use super::head::{self, Block, Blocks};
use super::merge::{add_part, merge_tables, set_aside};
use super::part::{self, Buckets};
use super::place::{self, DAY, Kept};
use super::writer::{Control, Step};
use crate::StoreError;
use crate::codec::table::{Header, MAX_ROWS};
use crate::codec::{Effort, rollup};
use crate::history::{Maintained, Progress};
use crate::sqlite::Fault;

/// About so many bytes are written in one transaction.
pub(super) const STEP: usize = 192 * 1024;

/// The same of sealing, of which there is most at once.
pub(super) const SEAL_STEP: usize = STEP / 2;

/// A day is merged when it has been over for so long.
const GRACE: i64 = 3_600_000;

/// Eight days of buckets are put together when they have been over for so many
/// days: then late readings are rare.
const FOLD_AFTER: i64 = 3;

/// How long a clock that is ahead may be so without harm to what is sealed.
const AHEAD: i64 = 3_600_000;

/// One round of upkeep.
pub(super) struct Upkeep<'a> {
    pub(super) store: &'a SqliteHistory,
    pub(super) now: i64,
    pub(super) done: Maintained,
}

/// A change that waits to be applied together with others.
pub(super) type Change = Box<dyn FnOnce(&Transaction<'_>) -> Result<(), Fault> + Send>;

/// Changes that are applied together.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) changes: Vec<Change>,
    pub(super) bytes: usize,
}

impl Changes {
    pub(super) fn add(
        &mut self,
        bytes: usize,
        change: impl FnOnce(&Transaction<'_>) -> Result<(), Fault> + Send + 'static,
    ) {
        self.changes.push(Box::new(change));
        self.bytes += bytes;
    }

    pub(super) fn step(&mut self) -> Step {
        #[cfg(test)]
        super::tests::step_taken(self.bytes);
        self.bytes = 0;
        let changes = std::mem::take(&mut self.changes);
        Step::new(move |tx, _| changes.into_iter().try_for_each(|change| change(tx)))
    }
}

impl<'a> Upkeep<'a> {
    pub(super) fn new(store: &'a SqliteHistory, now: Timestamp) -> Self {
        Self { store, now: now.millis(), done: Maintained::default() }
    }

    /// All that is due.
    pub(super) fn run(mut self) -> Result<Maintained, StoreError> {
        self.seal(false)?;
        self.move_legacy()?;
        self.merge(false)?;
        self.fold()?;
        self.prune()?;
        self.trim()?;
        self.sweep(false)?;
        self.give_back(false)?;
        Ok(self.done)
    }

    /// All that can be done, due or not. Returns how many bytes went.
    pub(super) fn compact(mut self, progress: &mut dyn FnMut(Progress)) -> Result<u64, StoreError> {
        let total = 7;
        let mut done = 0;
        let mut told = |done: &mut u64| {
            *done += 1;
            progress(Progress { done: *done, total });
        };
        self.seal(true)?;
        told(&mut done);
        self.move_legacy()?;
        told(&mut done);
        self.merge(true)?;
        told(&mut done);
        self.fold()?;
        told(&mut done);
        self.prune()?;
        told(&mut done);
        self.trim()?;
        self.sweep(true)?;
        told(&mut done);
        self.give_back(true)?;
        told(&mut done);
        Ok(self.done.bytes_freed)
    }

    /// The first day from which readings are kept, the longest kept ones
    /// counted.
    fn raw_floor(&self) -> i64 {
        let pruned_at = self.store.shared.pruned_at.load(Ordering::Acquire);
        let (longest, _) = self.store.rules.extremes();
        longest.floors(pruned_at).raw.max(self.store.shared.raw_floor.load(Ordering::Acquire))
    }

    // --- Sealing

    /// Puts what the memory has into the database, where it stays.
    fn seal(&mut self, force: bool) -> Result<(), StoreError> {
        if !force && !self.is_seal_due() {
            return Ok(());
        }
        let collectors = self.store.shared.head.read().unwrap_or_else(PoisonError::into_inner).collectors();
        let mut sealing = Sealing::default();
        for collector in collectors {
            let blocks = {
                let names = self.store.shared.names.read().unwrap_or_else(PoisonError::into_inner);
                let mut head = self.store.shared.head.write().unwrap_or_else(PoisonError::into_inner);
                head.closed(collector, &names.exponents)
            };
            self.done.sealed += blocks.iter().map(|block| block.rows).sum::<u64>();
            let mut left = blocks.as_slice();
            while !left.is_empty() {
                let (now, later) = left.split_at(first_step(left));
                let last_row = now.iter().map(|block| block.last_row).max();
                let of_these: Vec<&Block> = now.iter().map(|block| &**block).collect();
                self.prepare(collector, &of_these, &mut sealing.changes)?;
                if let Some(last_row) = last_row {
                    sealing.changes.add(0, move |tx| {
                        tx.prepare_cached("UPDATE collector SET sealed = max(sealed, ?2) WHERE number = ?1")?
                            .execute((collector, last_row))?;
                        Ok(())
                    });
                }
                sealing.blocks.push((collector, now.to_vec()));
                // What comes next of a collector is added to what is there.
                if sealing.changes.bytes >= SEAL_STEP || !later.is_empty() {
                    self.store.apply(sealing.step())?;
                }
                left = later;
            }
        }
        self.store.apply(sealing.step())
    }

    fn is_seal_due(&self) -> bool {
        let every = i64::try_from(self.store.options.seal_every.as_millis()).unwrap_or(i64::MAX);
        let (rows, first) = {
            let head = self.store.shared.head.read().unwrap_or_else(PoisonError::into_inner);
            (head.rows(), head.first_row())
        };
        let Some(first) = first else { return false };
        if every == 0 || rows >= self.store.options.seal_batch as u64 {
            return true;
        }
        let boundary = self.now.div_euclid(every) * every;
        let marks = self.store.shared.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = marks.iter().find(|(row, _)| *row >= first);
        oldest.is_some_and(|(_, received_at)| *received_at < boundary || *received_at > self.now.saturating_add(AHEAD))
    }

    /// Prepares blocks of a collector to be written: as parts of their days,
    /// and counted into buckets.
    fn prepare(&self, collector: i64, blocks: &[&Block], changes: &mut Changes) -> Result<(), StoreError> {
        let mut days: BTreeMap<i64, Vec<&Block>> = BTreeMap::new();
        for block in blocks {
            days.entry(block.day).or_default().push(block);
        }
        for (day, blocks) in days {
            let mut buckets = Buckets::new();
            let there = self.store.readers.read(|tx| place::slices(tx, Kept::Recent, place::keys(day, collector)))?;
            let before = Header::read(&there).and_then(|header| part::join_table(&mut buckets, &header, &there));
            if before.is_none() && !there.is_empty() {
                self.quarantine(changes, Kept::Recent, day, collector, "the buckets of a day make no sense", there);
            }
            for block in &blocks {
                let _ = Header::read(&block.bytes).map(|header| part::gather(&header, &block.bytes, &mut buckets));
            }
            if let Some(table) = part::table_of(&buckets, Effort::Fast) {
                changes.add(table.len(), move |tx| place::put(tx, Kept::Recent, day, collector, &table));
            }
            // Of a day whose readings have had their time only buckets stay.
            if day >= self.raw_floor() {
                let body = part::encode(blocks.iter().map(|block| block.bytes.as_slice()));
                changes.add(body.len(), move |tx| add_part(tx, day, collector, &body));
            }
        }
        Ok(())
    }

    /// Rows as version 1 kept them become parts.
    fn move_legacy(&mut self) -> Result<(), StoreError> {
        const ROWS: i64 = 3_000;
        while self.store.shared.legacy.load(Ordering::Acquire) {
            let rows: Vec<(i64, i64, i64, Vec<u8>)> = self.store.readers.read(|tx| {
                let sql = "SELECT collector, at, row, body FROM reading
                     WHERE collector = (SELECT collector FROM reading ORDER BY collector LIMIT 1)
                     ORDER BY collector, at, row LIMIT ?1";
                let mut statement = tx.prepare_cached(sql)?;
                let rows =
                    statement.query_map([ROWS], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })?;
            let Some((collector, last_at, last_row, _)) = rows.last().map(|(c, at, row, _)| (*c, *at, *row, ())) else {
                self.store.shared.legacy.store(false, Ordering::Release);
                return Ok(());
            };
            let blocks: Vec<Block> = {
                let names = self.store.shared.names.read().unwrap_or_else(PoisonError::into_inner);
                let of = |rows: &[(i64, i64, i64, Vec<u8>)]| {
                    let rows = rows.iter().map(|(_, at, row, body)| (*row, *at, body.as_slice())).collect();
                    head::blocks(collector, rows, &names.exponents)
                };
                rows.chunks(240).flat_map(of).collect()
            };
            let mut changes = Changes::default();
            self.prepare(collector, &blocks.iter().collect::<Vec<_>>(), &mut changes)?;
            changes.add(0, move |tx| {
                tx.execute(
                    "DELETE FROM reading WHERE collector = ?1 AND (at < ?2 OR (at = ?2 AND row <= ?3))",
                    (collector, last_at, last_row),
                )?;
                Ok(())
            });
            self.store.apply(changes.step())?;
        }
        Ok(())
    }

    // --- Merging

    /// Puts the parts of days that are over into one piece each.
    fn merge(&mut self, force: bool) -> Result<(), StoreError> {
        let until = if force { i64::MAX } else { place::first_of(self.now.saturating_sub(GRACE).div_euclid(DAY)) };
        let due = self.keys_of(Kept::Part, until)?;
        let mut changes = Changes::default();
        for (day, collector) in due {
            self.merge_day(day, collector, &mut changes)?;
            if changes.bytes >= STEP {
                self.store.apply(changes.step())?;
            }
        }
        if changes.changes.is_empty() { Ok(()) } else { self.store.apply(changes.step()) }
    }

    /// Period and collector of the pieces before a key.
    pub(super) fn keys_of(&self, kept: Kept, until: i64) -> Result<Vec<(i64, i64)>, StoreError> {
        self.store.readers.read(|tx| {
            let sql = format!("SELECT DISTINCT id >> 20 FROM {} WHERE id < ?1 ORDER BY 1", kept.table());
            let mut statement = tx.prepare(&sql)?;
            let keys = statement.query_map([until], |row| {
                let (period, collector, _) = place::parts(row.get::<_, i64>(0)? << 20);
                Ok((period, collector))
            })?;
            Ok(keys.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn merge_day(&mut self, day: i64, collector: i64, changes: &mut Changes) -> Result<(), StoreError> {
        let keys = place::keys(day, collector);
        let (parts, chunk) = self.store.readers.read(|tx| {
            let mut statement =
                tx.prepare_cached("SELECT id, body FROM part WHERE id >= ?1 AND id < ?2 ORDER BY id")?;
            let parts = statement.query_map((keys.start, keys.end), |row| Ok((row.get(0)?, row.get(1)?)))?;
            let parts = parts.collect::<rusqlite::Result<Vec<(i64, Vec<u8>)>>>()?;
            Ok((parts, place::slices(tx, Kept::Chunk, keys.clone())?))
        })?;
        let mut tables: Vec<(Header, &[u8])> = Vec::new();
        if !chunk.is_empty() {
            match Header::read(&chunk) {
                Some(header) if header.length <= chunk.len() => tables.push((header, chunk.as_slice())),
                _ => {
                    let what = "the readings of a day make no sense";
                    self.quarantine(changes, Kept::Chunk, day, collector, what, chunk.clone());
                }
            }
        }
        for (id, body) in &parts {
            match part::decode(body) {
                Some(found) => tables.extend(found.into_iter().map(|(header, bytes)| (header, &body[bytes]))),
                None => {
                    let (id, body) = (*id, body.clone());
                    changes.add(body.len(), move |tx| set_aside(tx, Kept::Part, id, "a part is damaged", &body));
                }
            }
        }
        let ids: Vec<i64> = parts.iter().map(|(id, _)| *id).collect();
        let delete = move |tx: &Transaction<'_>| {
            let mut delete = tx.prepare_cached("DELETE FROM part WHERE id = ?1")?;
            ids.iter().try_for_each(|id| delete.execute([id]).map(drop))?;
            Ok(())
        };
        let rows: usize = tables.iter().map(|(header, _)| header.rows).sum();
        if rows > MAX_ROWS {
            tracing::warn!(day, collector, rows, "a collector reported too often for its day to be put together");
            return Ok(());
        }
        if let Some((header, bytes)) = tables.first().filter(|_| !chunk.is_empty())
            && header.entries.iter().any(|place| header.entry(bytes, place.series).is_none())
        {
            let (key, copy) = (keys.start, chunk.clone());
            tracing::error!(day, collector, "some readings of a day are damaged; they were set aside");
            changes.add(copy.len(), move |tx| set_aside(tx, Kept::Chunk, key, "readings are damaged", &copy));
        }
        let Some((bytes, series)) = merge_tables(&mut tables) else {
            changes.add(0, delete);
            return Ok(());
        };
        let end = day.saturating_add(1).saturating_mul(DAY);
        changes.add(bytes.len(), move |tx| {
            delete(tx)?;
            // Unless its host was removed.
            let known = tx.prepare_cached("SELECT 1 FROM collector WHERE number = ?1")?.exists([collector])?;
            if !known {
                return Ok(());
            }
            place::put(tx, Kept::Chunk, day, collector, &bytes)?;
            let mut seen = tx.prepare_cached("UPDATE series SET last_at = ?2 WHERE number = ?1 AND last_at < ?2")?;
            series.iter().try_for_each(|number| seen.execute((number.cast_signed(), end)).map(drop))?;
            Ok(())
        });
        Ok(())
    }

    // --- Buckets

    /// Puts the buckets of days that are long over with those of their eight
    /// days, and into those of an hour.
    fn fold(&mut self) -> Result<(), StoreError> {
        let today = self.now.div_euclid(DAY);
        let period = Kept::Five.period(today - FOLD_AFTER);
        let due = self.keys_of(Kept::Recent, place::first_of(period * Kept::Five.days()))?;
        let mut grouped: BTreeMap<(i64, i64), Vec<i64>> = BTreeMap::new();
        for (day, collector) in due {
            grouped.entry((Kept::Five.period(day), collector)).or_default().push(day);
        }
        let mut changes = Changes::default();
        let mut waiting = HashSet::new();
        for ((period, collector), days) in grouped {
            // What waits to be written into the same hours must be there.
            if !waiting.insert((Kept::Hour.period(period * Kept::Five.days()), collector)) {
                self.store.apply(changes.step())?;
                waiting.clear();
            }
            self.fold_period(period, collector, days, &mut changes)?;
            if changes.bytes >= STEP {
                self.store.apply(changes.step())?;
            }
        }
        if changes.changes.is_empty() { Ok(()) } else { self.store.apply(changes.step()) }
    }

    fn fold_period(
        &mut self,
        period: i64,
        collector: i64,
        days: Vec<i64>,
        changes: &mut Changes,
    ) -> Result<(), StoreError> {
        let hours = Kept::Hour.period(period * Kept::Five.days());
        let (recent, five, hour) = self.store.readers.read(|tx| {
            let recent = days.iter().map(|day| place::slices(tx, Kept::Recent, place::keys(*day, collector)));
            Ok((
                recent.collect::<Result<Vec<_>, _>>()?,
                place::slices(tx, Kept::Five, place::keys(period, collector))?,
                place::slices(tx, Kept::Hour, place::keys(hours, collector))?,
            ))
        })?;
        let read = |buckets: &mut Buckets, bytes: &[u8]| {
            bytes.is_empty()
                || Header::read(bytes).and_then(|header| part::join_table(buckets, &header, bytes)).is_some()
        };
        let mut fresh = Buckets::new();
        for (day, bytes) in days.iter().zip(recent) {
            if !read(&mut fresh, &bytes) {
                self.quarantine(changes, Kept::Recent, *day, collector, "the buckets of a day make no sense", bytes);
            }
        }
        let mut fives = fresh.clone();
        if !read(&mut fives, &five) {
            self.quarantine(changes, Kept::Five, period, collector, "buckets make no sense", five);
        }
        let mut of_hours = Buckets::new();
        for (series, (exponent, rolls)) in &fresh {
            part::join(&mut of_hours, *series, *exponent, &rollup::coarsen(rolls, 3_600_000));
        }
        if !read(&mut of_hours, &hour) {
            self.quarantine(changes, Kept::Hour, hours, collector, "buckets make no sense", hour);
        }
        let tables = [(Kept::Five, period, &fives), (Kept::Hour, hours, &of_hours)];
        let tables: Vec<_> = tables
            .into_iter()
            .filter_map(|(kept, period, buckets)| Some((kept, period, part::table_of(buckets, Effort::Small)?)))
            .collect();
        let size = tables.iter().map(|(_, _, table)| table.len()).sum();
        changes.add(size, move |tx| {
            for day in days {
                place::remove(tx, Kept::Recent, day, collector)?;
            }
            if !tx.prepare_cached("SELECT 1 FROM collector WHERE number = ?1")?.exists([collector])? {
                return Ok(());
            }
            tables.iter().try_for_each(|(kept, period, table)| place::put(tx, *kept, *period, collector, table))
        });
        Ok(())
    }

    fn quarantine(
        &self,
        changes: &mut Changes,
        kept: Kept,
        period: i64,
        collector: i64,
        what: &'static str,
        body: Vec<u8>,
    ) {
        tracing::error!(
            table = kept.table(),
            period,
            collector,
            what,
            "a piece of the history is damaged and was set aside"
        );
        let key = place::keys(period, collector).start;
        changes.add(body.len(), move |tx| {
            set_aside(tx, kept, key, what, &body)?;
            place::remove(tx, kept, period, collector)?;
            Ok(())
        });
    }

    // --- Space

    /// Forgets reports that are sealed and that the hub's records cover; or
    /// that are older than the retention, so that a hub that never says so
    /// fills no disk.
    fn trim(&mut self) -> Result<(), StoreError> {
        let shared = &self.store.shared;
        let last_row = shared.last_row.load(Ordering::Acquire).cast_signed();
        let mut released = shared.released.load(Ordering::Acquire).min(last_row.cast_unsigned()).cast_signed();
        let too_old =
            self.now.saturating_sub(i64::try_from(self.store.options.retention.raw.as_millis()).unwrap_or(i64::MAX));
        let mut marks = shared.marks.lock().unwrap_or_else(PoisonError::into_inner);
        for (row, received_at) in marks.iter() {
            if *received_at < too_old {
                released = released.max(*row);
            }
        }
        let head = shared.head.read().unwrap_or_else(PoisonError::into_inner);
        let row = head.first_row().map_or(released, |first| released.min(first - 1));
        drop(head);
        let sealed = shared.sealed.load(Ordering::Acquire);
        while marks.front().is_some_and(|(marked, _)| *marked <= row.max(sealed)) {
            marks.pop_front();
        }
        drop(marks);
        if row <= sealed {
            return Ok(());
        }
        loop {
            let left = self.store.ask(|reply| Control::SaveReceived { reply })?;
            if left == 0 {
                break;
            }
        }
        let now = self.now;
        self.store.ask(|reply| Control::Trim { row, now, reply })
    }

    /// Deletes what reports left behind that were forgotten.
    fn sweep(&mut self, all: bool) -> Result<(), StoreError> {
        let now = self.now;
        while self.store.ask(|reply| Control::Sweep { now, all, reply })? {}
        Ok(())
    }

    fn give_back(&mut self, all: bool) -> Result<(), StoreError> {
        loop {
            let freed = self.store.ask(|reply| Control::GiveBack { all, reply })?;
            self.done.bytes_freed += freed;
            if freed == 0 {
                break;
            }
        }
        if self.done.bytes_freed > 0 {
            // The file shrinks when the log is carried over to it.
            self.store.ask(|reply| Control::Checkpoint { reply })?;
        }
        Ok(())
    }
}

/// How many of a collector's blocks are sealed in one transaction: about
/// [`SEAL_STEP`] bytes of them. What is not sealed then has later rows than what is.
fn first_step(blocks: &[Arc<Block>]) -> usize {
    let (mut bytes, mut last_row) = (0, i64::MIN);
    for (index, block) in blocks.iter().enumerate() {
        if bytes >= SEAL_STEP && blocks[index..].iter().all(|later| later.first_row > last_row) {
            return index;
        }
        bytes += block.bytes.len();
        last_row = last_row.max(block.last_row);
    }
    blocks.len()
}

/// Sealing under way.
#[derive(Default)]
struct Sealing {
    changes: Changes,
    blocks: Blocks,
}

impl Sealing {
    fn step(&mut self) -> Step {
        let blocks = std::mem::take(&mut self.blocks);
        self.changes.step().sealing(blocks)
    }
}
