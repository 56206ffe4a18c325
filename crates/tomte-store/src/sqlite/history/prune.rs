//! What is old goes: by age, by rule, by the size of the file.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{OptionalExtension, Transaction};

use super::changes;
use super::merge::without;
use super::place::{self, DAY, Kept};
use super::retention::Floors;
use super::upkeep::{Changes, STEP, Upkeep};
use super::writer::Step;
use crate::StoreError;
use crate::codec::table::Header;

/// About so many pieces go in one transaction.
const DELETE_AT_ONCE: usize = 400;

/// When the clock moved on by more than this since the last time, nothing is
/// deleted for as long: it may move back.
const JUMP: i64 = 2 * DAY;
const HOLD: i64 = DAY;

impl Upkeep<'_> {
    /// Deletes what has had its time.
    pub(super) fn prune(&mut self) -> Result<(), StoreError> {
        let pruned_at = self.store.shared.pruned_at.load(Ordering::Acquire);
        if self.is_held(pruned_at)? {
            return Ok(());
        }
        let (longest, shortest) = self.store.rules.extremes();
        let today = self.now.div_euclid(DAY);
        if pruned_at.div_euclid(DAY) != today || self.store.options.seal_every.is_zero() {
            let now = self.now;
            self.set_meta("pruned_at", now)?;
            self.store.shared.pruned_at.store(now, Ordering::Release);
            let floors = longest.floors(now);
            for (kept, floor) in [
                (Kept::Part, floors.raw),
                (Kept::Chunk, floors.raw),
                (Kept::Recent, floors.five.min(floors.hour)),
                (Kept::Five, floors.five),
                (Kept::Hour, floors.hour),
            ] {
                self.delete_before(kept, kept.period(floor))?;
            }
            if longest != shortest {
                self.thin_out(now)?;
            }
            self.prune_series(floors.hour)?;
            self.prune_changes(floors.hour)?;
        }
        self.cap()
    }

    /// Whether nothing may be deleted, since the clock may be wrong.
    fn is_held(&self, pruned_at: i64) -> Result<bool, StoreError> {
        let seen_and_hold = |tx: &Transaction<'_>| {
            let read = |key: &str| {
                tx.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get::<_, i64>(0)).optional()
            };
            Ok((read("seen")?, read("hold_until")?.unwrap_or(0)))
        };
        let (seen, hold_until) = self.store.readers.read(seen_and_hold)?;
        let now = self.now;
        let Some(seen) = seen else {
            self.set_meta("seen", now)?;
            return Ok(false);
        };
        let mut hold_until = hold_until;
        if now.saturating_sub(seen) > JUMP && pruned_at > 0 {
            hold_until = now.saturating_add(HOLD);
            let days = (now - seen) / DAY;
            tracing::warn!(
                days,
                "the clock moved on since the history was last looked after: nothing is deleted for a day"
            );
            self.set_meta("hold_until", hold_until)?;
        } else if now < seen.saturating_sub(JUMP) {
            // It came back.
            hold_until = 0;
            self.set_meta("hold_until", 0)?;
            if pruned_at > now {
                self.set_meta("pruned_at", 0)?;
                self.store.shared.pruned_at.store(0, Ordering::Release);
            }
        }
        if now.abs_diff(seen) > 3_600_000 {
            self.set_meta("seen", now)?;
        }
        Ok(now < hold_until)
    }

    fn set_meta(&self, key: &'static str, value: i64) -> Result<(), StoreError> {
        let mut changes = Changes::default();
        changes.add(0, move |tx| {
            tx.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", (key, value))?;
            Ok(())
        });
        self.store.apply(changes.step())
    }

    /// Deletes the pieces of periods before one, a few at a time.
    fn delete_before(&mut self, kept: Kept, period: i64) -> Result<(), StoreError> {
        loop {
            let keys: Vec<i64> = self.store.readers.read(|tx| {
                let sql = format!("SELECT id FROM {} WHERE id < ?1 ORDER BY id LIMIT ?2", kept.table());
                let mut statement = tx.prepare_cached(&sql)?;
                let keys = statement.query_map((place::first_of(period), DELETE_AT_ONCE as i64), |row| row.get(0))?;
                Ok(keys.collect::<rusqlite::Result<_>>()?)
            })?;
            let Some(last) = keys.last().copied() else { return Ok(()) };
            self.done.pruned +=
                keys.iter().filter(|key| kept == Kept::Part || place::parts(**key).2 == 0).count() as u64;
            let sql = format!("DELETE FROM {} WHERE id <= ?1", kept.table());
            let mut changes = Changes::default();
            changes.add(0, move |tx| {
                tx.execute(&sql, [last])?;
                Ok(())
            });
            self.store.apply(changes.step())?;
        }
    }

    /// Where fields are kept for different spans: takes those out of the
    /// pieces that have had their time.
    fn thin_out(&mut self, now: i64) -> Result<(), StoreError> {
        let rules = &self.store.rules;
        let (longest, shortest) = rules.extremes();
        let fields = self.store.shared.names.read().unwrap_or_else(PoisonError::into_inner).fields();
        for kept in [Kept::Chunk, Kept::Five, Kept::Hour] {
            let span = |floors: Floors| match kept {
                Kept::Five => floors.five,
                Kept::Hour => floors.hour,
                _ => floors.raw,
            };
            let (first, end) = (kept.period(span(longest.floors(now))), kept.period(span(shortest.floors(now))));
            if first >= end {
                continue;
            }
            let due = self.keys_of(kept, place::first_of(end))?;
            let mut changes = Changes::default();
            for (period, collector) in due {
                let bytes = self.store.readers.read(|tx| place::slices(tx, kept, place::keys(period, collector)))?;
                let Some(header) = Header::read(&bytes) else { continue };
                let stays = |series: u64| {
                    // What buckets have in common is no field.
                    fields
                        .get(&series)
                        .is_none_or(|(kind, field)| period >= kept.period(span(rules.of(kind, field).floors(now))))
                };
                if header.entries.iter().all(|place| stays(place.series)) {
                    continue;
                }
                self.done.pruned += 1;
                let thinned = without(&header, &bytes, |series| !stays(series));
                changes.add(bytes.len(), move |tx| match &thinned {
                    Some(table) => place::put(tx, kept, period, collector, table),
                    None => place::remove(tx, kept, period, collector).map(drop),
                });
                if changes.bytes >= STEP {
                    self.store.apply(changes.step())?;
                }
            }
            if !changes.changes.is_empty() {
                self.store.apply(changes.step())?;
            }
        }
        Ok(())
    }

    /// Forgets series that have no history any more.
    fn prune_series(&mut self, floor: i64) -> Result<(), StoreError> {
        // The time that is known of a series may lag by some days.
        let before = floor.saturating_sub(3).saturating_mul(DAY);
        let gone: Vec<(i64, i64)> = self.store.readers.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT number, host FROM series WHERE last_at < ?1")?;
            let gone = statement.query_map([before], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(gone.collect::<rusqlite::Result<_>>()?)
        })?;
        for some in gone.chunks(DELETE_AT_ONCE) {
            let some = some.to_vec();
            let numbers: HashSet<u64> = some.iter().map(|(number, _)| number.cast_unsigned()).collect();
            self.done.series_pruned += some.len() as u64;
            self.store.apply(
                Step::new(move |tx, known| {
                    known.dictionary.forget_series(&some.iter().map(|(_, host)| *host).collect());
                    let mut delete = tx.prepare_cached("DELETE FROM series WHERE number = ?1")?;
                    some.iter().try_for_each(|(number, _)| delete.execute([number]).map(drop))?;
                    Ok(())
                })
                .and_then(move |shared| {
                    shared.names.write().unwrap_or_else(PoisonError::into_inner).remove(&numbers);
                }),
            )?;
        }
        Ok(())
    }

    /// Deletes changes of state before a day.
    fn prune_changes(&mut self, floor: i64) -> Result<(), StoreError> {
        let before = floor.saturating_mul(DAY);
        let scopes = self.store.readers.read(|tx| changes::scopes(tx))?;
        for some in scopes.chunks(DELETE_AT_ONCE) {
            let left = Arc::new(Mutex::new(some.to_vec()));
            while !left.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                let scopes = Arc::clone(&left);
                self.store.apply(Step::new(move |tx, _| {
                    let mut scopes = scopes.lock().unwrap_or_else(PoisonError::into_inner);
                    changes::prune(tx, &mut scopes, before, DELETE_AT_ONCE * 5).map(drop)
                }))?;
            }
        }
        Ok(())
    }

    /// Deletes the oldest while the database is larger than it may be:
    /// readings first, then buckets of five minutes, then those of an hour.
    fn cap(&mut self) -> Result<(), StoreError> {
        let Some(max_bytes) = self.store.rules.max_bytes else { return Ok(()) };
        let today = self.now.div_euclid(DAY);
        loop {
            let used = self.store.readers.read(|tx| {
                let number = |sql: &str| tx.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
                Ok((number("PRAGMA page_count")? - number("PRAGMA freelist_count")?) * u64::from(super::PAGE_SIZE))
            })?;
            if used <= max_bytes {
                return Ok(());
            }
            let oldest = |kept: Kept| {
                self.store.readers.read(|tx| {
                    let sql = format!("SELECT min(id) FROM {}", kept.table());
                    let key: Option<i64> = tx.query_row(&sql, [], |row| row.get(0))?;
                    Ok(key.map(|key| place::parts(key).0))
                })
            };
            let raw = [oldest(Kept::Part)?, oldest(Kept::Chunk)?].into_iter().flatten().min();
            let (five, hour) = (oldest(Kept::Five)?, oldest(Kept::Hour)?);
            if let Some(day) = raw.filter(|day| *day < today) {
                self.set_meta("raw_floor", day + 1)?;
                self.store.shared.raw_floor.store(day + 1, Ordering::Release);
                self.delete_before(Kept::Part, day + 1)?;
                self.delete_before(Kept::Chunk, day + 1)?;
            } else if let Some(period) = five {
                let floor = (period + 1) * Kept::Five.days();
                self.set_meta("five_floor", floor)?;
                self.store.shared.five_floor.store(floor, Ordering::Release);
                self.delete_before(Kept::Five, period + 1)?;
            } else if let Some(period) = hour {
                self.delete_before(Kept::Hour, period + 1)?;
            } else {
                tracing::warn!(
                    used,
                    max_bytes,
                    "the history is larger than it may be, and nothing old is left to delete"
                );
                return Ok(());
            }
        }
    }
}
