//! Care between writes: rows go to their final place, old ones go away, space
//! is given back, hosts are deleted. Everything in steps of a few
//! milliseconds, each a transaction of its own that may be the last: whatever
//! is left half done is done again by the next round.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use tomte_model::{HostId, Timestamp};

use super::Shared;
use super::changes::{self, Recorder};
use super::dictionary::Dictionary;
use crate::Options;
use crate::history::Maintained;
use crate::sqlite::{Fault, file};

/// How many rows one step moves or deletes.
const STEP: usize = 2_000;

/// How many free pages one step gives back.
const VACUUM_STEP: u64 = 256;

/// A series goes when its last reading is this much older than the retention:
/// the table's time may lag behind, and one that is away for a while comes back.
const SERIES_GRACE: Duration = Duration::from_secs(24 * 3600);

/// Whether there is more to do.
pub(super) enum Progress {
    More,
    Done,
}

/// One round of upkeep.
pub(super) struct Care {
    now: Timestamp,
    file_batch: usize,
    file_after: Duration,
    retention: Duration,
    state_retention: Duration,
    phase: Phase,
    done: Maintained,
}

enum Phase {
    /// Look whether there is enough to file.
    Look,
    /// Copy the rows up to `cut` to their final place, collector by collector.
    File { cut: i64, rows: Vec<i64> },
    /// Delete the copied rows.
    Drop { cut: i64 },
    /// Delete the frames that nothing refers to any more.
    Frames,
    /// Delete readings older than the retention.
    Prune { collectors: Vec<i64> },
    /// Delete series without readings.
    Series,
    /// Delete changes of state older than their retention.
    Changes { scopes: Vec<i64> },
    /// Give free pages back.
    Vacuum,
}

impl Care {
    pub(super) fn new(now: Timestamp, options: &Options) -> Self {
        Self {
            now,
            file_batch: options.seal_batch,
            file_after: options.seal_every.min(Duration::from_secs(900)),
            retention: options.retention.raw,
            state_retention: options.retention.hour,
            phase: Phase::Look,
            done: Maintained::default(),
        }
    }

    /// What was done so far.
    pub(super) fn done(&self) -> Maintained {
        self.done
    }

    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        dictionary: &mut Dictionary,
        shared: &Shared,
    ) -> Result<Progress, Fault> {
        let cutoff = self.now.minus(self.retention);
        let next = match &mut self.phase {
            Phase::Look => self.look(connection, shared)?,
            Phase::File { cut, rows } => {
                let some = rows.split_off(rows.len().saturating_sub(STEP));
                let (cut, finished) = (*cut, rows.is_empty());
                self.done.sealed += transact(connection, |tx| file_rows(tx, &some))?;
                finished.then_some(Phase::Drop { cut })
            }
            Phase::Drop { cut } => {
                let cut = *cut;
                let last_row = shared.last_row.load(Ordering::Acquire).cast_signed();
                let deleted = transact(connection, |tx| drop_rows(tx, cut, last_row))?;
                (deleted < STEP).then(|| {
                    shared.unfiled.write().unwrap_or_else(PoisonError::into_inner).remove_up_to(cut);
                    Phase::Frames
                })
            }
            Phase::Frames => {
                let deleted = transact(connection, |tx| drop_frames(tx, dictionary))?;
                if deleted < STEP { Some(prune_phase(connection)?) } else { None }
            }
            Phase::Prune { collectors } => {
                let pruned = transact(connection, |tx| prune(tx, collectors, cutoff))?;
                self.done.pruned += pruned as u64;
                collectors.is_empty().then_some(Phase::Series)
            }
            Phase::Series => {
                let before = cutoff.minus(SERIES_GRACE);
                self.done.series_pruned += transact(connection, |tx| prune_series(tx, dictionary, before))?;
                Some(Phase::Changes { scopes: changes::scopes(connection)? })
            }
            Phase::Changes { scopes } => {
                let before = self.now.minus(self.state_retention).millis();
                self.done.pruned += transact(connection, |tx| changes::prune(tx, scopes, before, STEP))? as u64;
                scopes.is_empty().then_some(Phase::Vacuum)
            }
            Phase::Vacuum => {
                let freed = file::give_space_back(connection, VACUUM_STEP)?;
                self.done.bytes_freed += freed * u64::from(file::PAGE_SIZE);
                if freed == VACUUM_STEP {
                    return Ok(Progress::More);
                }
                if self.done.bytes_freed > 0 {
                    // The file shrinks when the log is carried over to it.
                    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
                }
                return Ok(Progress::Done);
            }
        };
        if let Some(next) = next {
            self.phase = next;
        }
        Ok(Progress::More)
    }

    /// Rows are moved when enough have gathered or the first has waited long
    /// enough, and only those that the hub's records cover: or that are older
    /// than the retention, so that a hub that never says so fills no disk.
    fn look(&self, connection: &Connection, shared: &Shared) -> Result<Option<Phase>, Fault> {
        let first: Option<(i64, i64)> = connection
            .query_row("SELECT row, received_at FROM arrival ORDER BY row LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((first, first_received)) = first else { return Ok(Some(prune_phase(connection)?)) };
        let last_row = shared.last_row.load(Ordering::Acquire).cast_signed();
        let released = i64::try_from(shared.released.load(Ordering::Acquire)).unwrap_or(i64::MAX).min(last_row);
        let expired = self.now.minus(self.retention).millis();
        let cut = if first_received < expired {
            // Reports come in about in the order of their receipt.
            let fresh: Option<i64> = connection
                .query_row("SELECT row FROM arrival WHERE received_at >= ?1 ORDER BY row LIMIT 1", [expired], |row| {
                    row.get(0)
                })
                .optional()?;
            released.max(fresh.map_or(last_row, |row| row - 1))
        } else {
            released
        };
        let waited = self.now.since(Timestamp::from_millis(first_received)) >= self.file_after;
        let enough = usize::try_from(cut.saturating_sub(first)).is_ok_and(|count| count + 1 >= self.file_batch);
        if cut < first || !(waited || enough) {
            return Ok(Some(prune_phase(connection)?));
        }
        let unfiled = shared.unfiled.read().unwrap_or_else(PoisonError::into_inner);
        let mut collectors: Vec<_> = unfiled.rows.iter().collect();
        collectors.sort_unstable_by_key(|(collector, _)| **collector);
        let rows = collectors.into_iter().flat_map(|(_, rows)| rows).map(|(_, row)| *row).filter(|row| *row <= cut);
        Ok(Some(Phase::File { cut, rows: rows.collect() }))
    }
}

fn transact<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = work(&tx)?;
    tx.commit()?;
    Ok(result)
}

fn file_rows(tx: &Transaction<'_>, rows: &[i64]) -> Result<u64, Fault> {
    let mut copy =
        tx.prepare_cached("INSERT OR IGNORE INTO reading SELECT collector, at, row, body FROM arrival WHERE row = ?1")?;
    let mut filed = 0;
    for row in rows {
        filed += copy.execute([row])? as u64;
    }
    Ok(filed)
}

fn drop_rows(tx: &Transaction<'_>, cut: i64, last_row: i64) -> Result<usize, Fault> {
    // Numbers must go on from here, also when no row is left to tell.
    tx.execute("UPDATE meta SET value = max(value, ?1) WHERE key = 'last_row'", [last_row])?;
    let sql = "DELETE FROM arrival WHERE row IN (SELECT row FROM arrival WHERE row <= ?1 ORDER BY row LIMIT ?2)";
    Ok(tx.execute(sql, (cut, STEP as i64))?)
}

fn drop_frames(tx: &Transaction<'_>, dictionary: &Dictionary) -> Result<usize, Fault> {
    let numbers =
        |sql: &str| -> rusqlite::Result<Vec<i64>> { tx.prepare(sql)?.query_map([], |row| row.get(0))?.collect() };
    let mut live: HashSet<i64> = numbers("SELECT DISTINCT frame FROM arrival")?.into_iter().collect();
    live.extend(dictionary.frames());
    let mut delete = tx.prepare_cached("DELETE FROM frame WHERE number = ?1")?;
    let mut deleted = 0;
    for number in numbers("SELECT number FROM frame")?.into_iter().filter(|number| !live.contains(number)).take(STEP) {
        deleted += delete.execute([number])?;
    }
    Ok(deleted)
}

fn prune_phase(connection: &Connection) -> Result<Phase, Fault> {
    let mut statement = connection.prepare_cached("SELECT number FROM collector")?;
    let collectors = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(Phase::Prune { collectors })
}

/// Deletes readings before a moment, collector by collector; those that are
/// finished are taken from the list.
fn prune(tx: &Transaction<'_>, collectors: &mut Vec<i64>, before: Timestamp) -> Result<usize, Fault> {
    let mut pruned = 0;
    while let Some(collector) = collectors.last() {
        let deleted = delete_readings(tx, *collector, before.millis().saturating_sub(1), STEP)?;
        pruned += deleted;
        if deleted >= STEP {
            return Ok(pruned);
        }
        collectors.pop();
        if pruned >= STEP {
            return Ok(pruned);
        }
    }
    Ok(pruned)
}

/// Deletes a collector's readings up to and with a moment, oldest first: all of
/// them or a little more than `limit`.
fn delete_readings(tx: &Transaction<'_>, collector: i64, last: i64, limit: usize) -> Result<usize, Fault> {
    let bound: Option<i64> = tx
        .prepare_cached("SELECT at FROM reading WHERE collector = ?1 AND at <= ?2 ORDER BY at LIMIT 1 OFFSET ?3")?
        .query_row((collector, last, limit as i64), |row| row.get(0))
        .optional()?;
    let deleted = tx
        .prepare_cached("DELETE FROM reading WHERE collector = ?1 AND at <= ?2")?
        .execute((collector, bound.unwrap_or(last)))?;
    Ok(deleted)
}

fn prune_series(tx: &Transaction<'_>, dictionary: &mut Dictionary, before: Timestamp) -> Result<u64, Fault> {
    dictionary.save_last_at(tx)?;
    let mut statement = tx.prepare_cached("DELETE FROM series WHERE last_at < ?1 RETURNING host")?;
    let mut rows = statement.query([before.millis()])?;
    let (mut hosts, mut count) = (HashSet::new(), 0);
    while let Some(row) = rows.next()? {
        hosts.insert(row.get(0)?);
        count += 1;
    }
    if count > 0 {
        dictionary.forget_series(&hosts);
    }
    Ok(count)
}

/// The deletion of a host.
pub(super) struct Removal {
    host: HostId,
}

impl Removal {
    pub(super) fn new(host: HostId) -> Self {
        Self { host }
    }

    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        dictionary: &mut Dictionary,
        recorder: &mut Recorder,
        shared: &Shared,
    ) -> Result<Progress, Fault> {
        let id = self.host.to_bytes();
        let collectors = transact(connection, |tx| {
            let host: Option<i64> =
                tx.query_row("SELECT number FROM host WHERE id = ?1", [id], |row| row.get(0)).optional()?;
            let Some(host) = host else { return Ok(Some(Vec::new())) };
            let sql = "DELETE FROM arrival WHERE row IN (SELECT row FROM arrival WHERE host = ?1 LIMIT ?2)";
            if tx.execute(sql, (host, STEP as i64))? == STEP {
                return Ok(None);
            }
            let collectors: Vec<i64> = tx
                .prepare("SELECT number FROM collector WHERE host = ?1")?
                .query_map([host], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for collector in &collectors {
                if delete_readings(tx, *collector, i64::MAX, STEP)? >= STEP {
                    return Ok(None);
                }
            }
            for table in ["series", "collector"] {
                tx.execute(&format!("DELETE FROM {table} WHERE host = ?1"), [host])?;
            }
            changes::remove_host(tx, self.host)?;
            tx.execute("DELETE FROM received WHERE outbox = ?1", [host])?;
            tx.execute("DELETE FROM host WHERE number = ?1", [host])?;
            Ok(Some(collectors))
        })?;
        let Some(collectors) = collectors else { return Ok(Progress::More) };
        // Its rows up to here are gone; frames go with the next round.
        dictionary.forget_host(self.host);
        recorder.forget_host(self.host);
        shared.received.write().unwrap_or_else(PoisonError::into_inner).remove(self.host);
        shared.unfiled.write().unwrap_or_else(PoisonError::into_inner).remove_collectors(&collectors);
        Ok(Progress::Done)
    }
}
