//! What people ask for now and then: how much there is, whether it is sound,
//! that a host goes.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use rusqlite::OptionalExtension;
use tomte_model::{HostId, Timestamp};

use super::place::{self, DAY, Kept};
use super::writer::Step;
use super::{SqliteHistory, changes, merge, part};
use crate::StoreError;
use crate::codec::table::Header;
use crate::history::{Checked, HistoryStats, PartStats, Progress};

/// About so many pieces are deleted in one transaction.
const AT_ONCE: usize = 400;

pub(super) fn stats(store: &SqliteHistory) -> Result<HistoryStats, StoreError> {
    let shared = &store.shared;
    let (waiting, head_bytes) = {
        let head = shared.head.read().unwrap_or_else(PoisonError::into_inner);
        (head.rows(), head.bytes())
    };
    tracing::debug!(rows = waiting, bytes = head_bytes, "the newest readings in memory");
    let series = shared.names.read().unwrap_or_else(PoisonError::into_inner).count();
    let (parts, quarantined, legacy) = store.readers.read(|tx| {
        let size = |table: &str| {
            let sql = "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = ?1 AND aggregate = TRUE";
            tx.prepare_cached(sql)?.query_row([table], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
        };
        let count = |table: &str| {
            tx.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
                .map(i64::cast_unsigned)
        };
        let mut parts = vec![PartStats {
            name: "waiting",
            pieces: count("journal")?,
            values: waiting,
            bytes: size("journal")? + size("frame")?,
            oldest: None,
        }];
        for (name, tables) in [
            ("recent", &[Kept::Part][..]),
            ("raw", &[Kept::Chunk]),
            ("5m", &[Kept::Recent, Kept::Five]),
            ("1h", &[Kept::Hour]),
        ] {
            let mut stats = PartStats { name, ..PartStats::default() };
            for kept in tables {
                stats.bytes += size(kept.table())?;
                let mut statement = tx.prepare(&format!("SELECT id, body FROM {} ORDER BY id", kept.table()))?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let (period, _, number) = place::parts(row.get(0)?);
                    if *kept != Kept::Part && number != 0 {
                        continue;
                    }
                    let body = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
                    stats.pieces += 1;
                    stats.values += values(*kept, body);
                    let day = period.saturating_mul(kept.days());
                    let oldest = Timestamp::from_millis(day.saturating_mul(DAY));
                    stats.oldest = Some(stats.oldest.map_or(oldest, |there| there.min(oldest)));
                }
            }
            parts.push(stats);
        }
        parts.push(PartStats {
            name: "changes",
            pieces: count("change_scope")?,
            values: count("change")?,
            bytes: size("change")? + size("change_at")? + size("change_scope")?,
            oldest: None,
        });
        Ok((parts, count("damaged")?, count("reading")?))
    })?;
    let size = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |found| found.len());
    let bytes = size(&store.path) + size(&store.path.with_extension("db-wal"));
    Ok(HistoryStats { waiting: waiting + legacy, series, bytes, quarantined, parts })
}

/// About how many readings or buckets a piece has, by its beginning: a series
/// that is missing now and then counts as if it were not.
fn values(kept: Kept, body: &[u8]) -> u64 {
    let of = |header: &Header| (header.rows * header.entries.len()) as u64;
    match kept {
        Kept::Part => part::decode(body).map_or(0, |tables| tables.iter().map(|(header, _)| of(header)).sum()),
        _ => Header::read_counts(body).map_or(0, |(rows, entries)| (rows * entries) as u64),
    }
}

/// Compares checksums; what is damaged is set aside.
pub(super) fn check(store: &SqliteHistory, progress: &mut dyn FnMut(Progress)) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    let verdict = store.readers.read(|tx| {
        let verdict: String = tx.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok(verdict)
    });
    checked.file = match verdict {
        Ok(verdict) => Some(verdict).filter(|verdict| verdict != "ok"),
        Err(StoreError::Damaged { source, .. }) => Some(source.to_string()),
        Err(error) => return Err(error),
    };
    let mut pieces = Vec::new();
    for kept in Kept::ALL {
        pieces.extend(keys(store, kept)?.into_iter().map(|key| (kept, key)));
    }
    let total = pieces.len() as u64;
    for (done, (kept, key)) in (0..).zip(pieces) {
        progress(Progress { done, total });
        checked.pieces += 1;
        if let Some(what) = check_piece(store, kept, key)? {
            checked.damaged.push(what);
        }
    }
    progress(Progress { done: total, total });
    Ok(checked)
}

/// The first keys of all pieces of a table.
fn keys(store: &SqliteHistory, kept: Kept) -> Result<Vec<i64>, StoreError> {
    store.readers.read(|tx| {
        let first = if kept == Kept::Part { "id" } else { "DISTINCT id >> 20 << 20" };
        let mut statement = tx.prepare(&format!("SELECT {first} FROM {} ORDER BY 1", kept.table()))?;
        let keys = statement.query_map([], |row| row.get(0))?;
        Ok(keys.collect::<rusqlite::Result<_>>()?)
    })
}

fn check_piece(store: &SqliteHistory, kept: Kept, key: i64) -> Result<Option<String>, StoreError> {
    let (period, collector, _) = place::parts(key);
    let keys = if kept == Kept::Part { key..key + 1 } else { place::keys(period, collector) };
    let bytes = store.readers.read(|tx| place::slices(tx, kept, keys))?;
    let bad: Option<HashSet<u64>> = if kept == Kept::Part {
        part::decode(&bytes).map(|_| HashSet::new())
    } else {
        Header::read(&bytes).and_then(|header| {
            header.read_times(&bytes, &mut Vec::new())?;
            let bad = header.entries.iter().filter(|place| header.entry(&bytes, place.series).is_none());
            Some(bad.map(|place| place.series).collect())
        })
    };
    let day = Timestamp::from_millis(period.saturating_mul(kept.days()).saturating_mul(DAY));
    let what = match &bad {
        Some(bad) if bad.is_empty() => return Ok(None),
        Some(bad) => format!("{} series of collector {collector} from {day} in {}", bad.len(), kept.table()),
        None => format!("collector {collector} from {day} in {}", kept.table()),
    };
    let told = what.clone();
    let rest = bad.and_then(|bad| {
        let header = Header::read(&bytes)?;
        merge::without(&header, &bytes, |series| bad.contains(&series))
    });
    store.apply(Step::new(move |tx, _| {
        merge::set_aside(tx, kept, key, &told, &bytes)?;
        match (kept, rest) {
            (Kept::Part, _) => Ok(()),
            (_, Some(rest)) => place::put(tx, kept, period, collector, &rest),
            (_, None) => place::remove(tx, kept, period, collector).map(drop),
        }
    }))?;
    Ok(Some(what))
}

/// Deletes a host with all it has.
pub(super) fn remove_host(store: &SqliteHistory, host: HostId) -> Result<(), StoreError> {
    let id = host.to_bytes();
    let found = store.readers.read(|tx| {
        let number: Option<i64> =
            tx.query_row("SELECT number FROM host WHERE id = ?1", [id], |row| row.get(0)).optional()?;
        let Some(number) = number else { return Ok(None) };
        let mut statement = tx.prepare("SELECT number FROM collector WHERE host = ?1")?;
        let collectors = statement.query_map([number], |row| row.get(0))?;
        Ok(Some((number, collectors.collect::<rusqlite::Result<Vec<i64>>>()?)))
    })?;
    let Some((number, collectors)) = found else { return Ok(()) };
    // First who it is: from then on nothing of it is found, and a restart
    // knows nothing of what is left.
    let of = collectors.clone();
    store.apply(
        Step::new(move |tx, known| {
            known.dictionary.forget_host(host);
            known.recorder.forget_host(host);
            changes::remove_host(tx, host)?;
            for table in ["series", "collector"] {
                tx.execute(&format!("DELETE FROM {table} WHERE host = ?1"), [number])?;
            }
            tx.execute("DELETE FROM received WHERE outbox = ?1", [number])?;
            tx.execute("DELETE FROM host WHERE number = ?1", [number])?;
            Ok(())
        })
        .and_then(move |shared| {
            shared.received.write().unwrap_or_else(PoisonError::into_inner).remove(host);
            shared.names.write().unwrap_or_else(PoisonError::into_inner).remove_host(host);
            shared.head.write().unwrap_or_else(PoisonError::into_inner).remove(&of);
        }),
    )?;
    for kept in Kept::ALL {
        let wanted: HashSet<i64> = collectors.iter().copied().collect();
        let theirs = keys(store, kept)?.into_iter().filter(|key| wanted.contains(&place::parts(*key).1));
        let theirs: Vec<i64> = theirs.collect();
        for some in theirs.chunks(AT_ONCE / 8) {
            let some = some.to_vec();
            store.apply(Step::new(move |tx, _| {
                for key in some {
                    let (period, collector, _) = place::parts(key);
                    place::remove(tx, kept, period, collector)?;
                }
                Ok(())
            }))?;
        }
    }
    if store.shared.legacy.load(Ordering::Acquire) {
        for collector in collectors {
            loop {
                let left = store.readers.read(|tx| {
                    Ok(tx.prepare("SELECT 1 FROM reading WHERE collector = ?1 LIMIT 1")?.exists([collector])?)
                })?;
                if !left {
                    break;
                }
                store.apply(Step::new(move |tx, _| {
                    let sql = "DELETE FROM reading WHERE collector = ?1 AND (at, row) IN
                             (SELECT at, row FROM reading WHERE collector = ?1 LIMIT 2000)";
                    tx.execute(sql, [collector])?;
                    Ok(())
                }))?;
            }
        }
    }
    Ok(())
}
