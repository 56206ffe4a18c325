//! What must be known before anything is written, read from the database.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tomte_model::HostId;

use super::Shared;
use super::journal::{self, Journal, Record};
use super::names::Names;
use super::ranges;
use crate::sqlite::Fault;

/// The writer's part: the journal, and of which outboxes only it tells what
/// arrived.
pub(super) type Written = (Journal, HashSet<(HostId, u64)>);

/// Rows of version 1 that are moved in one transaction.
const AT_ONCE: usize = 5_000;

/// Reads it all.
pub(super) fn load(connection: &mut Connection) -> Result<(Shared, Written), Fault> {
    let meta = |connection: &Connection, key: &str| -> rusqlite::Result<i64> {
        connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
    };
    let sealed = meta(connection, "sealed")?;
    let mut journal = Journal::open(connection, sealed)?;
    move_arrivals(connection, &mut journal, sealed)?;

    let shared = Shared::default();
    let hosts: HashMap<i64, HostId> = connection
        .prepare("SELECT number, id FROM host")?
        .query_map([], |row| Ok((row.get(0)?, HostId::from_bytes(row.get(1)?))))?
        .collect::<rusqlite::Result<_>>()?;
    let collectors: HashMap<i64, i64> = connection
        .prepare("SELECT number, sealed FROM collector")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let names = Names::load(connection)?;
    let mut received = shared.received.write().unwrap_or_else(PoisonError::into_inner);
    {
        let mut statement = connection.prepare("SELECT outbox, epoch, ranges FROM received")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Some(host) = hosts.get(&row.get::<_, i64>(0)?) else { continue };
            let bytes: Vec<u8> = row.get(2)?;
            let ranges = ranges::decode(&bytes).ok_or(rusqlite::Error::InvalidColumnType(
                2,
                "ranges".into(),
                rusqlite::types::Type::Blob,
            ))?;
            received.set(*host, row.get::<_, i64>(1)?.cast_unsigned(), ranges);
        }
    }
    let mut unsaved = HashSet::new();
    let mut last_row = meta(connection, "last_row")?.max(journal.last_row());
    let mut head = shared.head.write().unwrap_or_else(PoisonError::into_inner);
    let mut frames = shared.frames.lock().unwrap_or_else(PoisonError::into_inner);
    let mut marks = shared.marks.lock().unwrap_or_else(PoisonError::into_inner);
    let damaged = journal::each(connection, |record| {
        last_row = last_row.max(record.row);
        if record.row <= sealed {
            return;
        }
        // A host that was removed has left its reports here.
        let (Some(outbox), Some(collector_sealed)) = (hosts.get(&record.outbox), collectors.get(&record.collector))
        else {
            return;
        };
        let mut known = received.get(*outbox, record.epoch).cloned().unwrap_or_default();
        if known.insert(record.sequence) {
            received.set(*outbox, record.epoch, known);
            unsaved.insert((*outbox, record.epoch));
        }
        frames.insert(record.frame, record.row);
        if marks.back().is_none_or(|(_, received_at)| record.received_at.abs_diff(*received_at) > 1_000) {
            marks.push_back((record.row, record.received_at));
        } else if let Some(mark) = marks.back_mut() {
            mark.0 = record.row;
        }
        if !record.quarantined && record.row > *collector_sealed {
            head.add(record.collector, (record.row, record.at), &record.body, &names.exponents);
        }
    })?;
    if damaged > 0 {
        // What was in them cannot be told, nor how it was numbered.
        tracing::error!(slots = damaged, "some of the newest reports are damaged, and lost");
        last_row += 1_000_000;
    }
    {
        let mut statement = connection.prepare("SELECT number FROM frame")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            frames.entry(row.get(0)?).or_insert(sealed);
        }
    }
    drop((received, head, frames, marks));
    *shared.names.write().unwrap_or_else(PoisonError::into_inner) = names;
    shared.last_row.store(last_row.cast_unsigned(), Ordering::Release);
    shared.sealed.store(sealed, Ordering::Release);
    shared.slots.store(journal.in_use() as u64, Ordering::Release);
    shared.pruned_at.store(meta(connection, "pruned_at")?, Ordering::Release);
    shared.raw_floor.store(meta(connection, "raw_floor")?, Ordering::Release);
    shared.five_floor.store(meta(connection, "five_floor")?, Ordering::Release);
    let legacy = connection.prepare("SELECT 1 FROM reading LIMIT 1")?.exists([])?;
    shared.legacy.store(legacy, Ordering::Release);
    Ok((shared, (journal, unsaved)))
}

/// Puts the reports of version 1 into the journal.
fn move_arrivals(connection: &mut Connection, journal: &mut Journal, sealed: i64) -> Result<(), Fault> {
    if !connection.prepare("SELECT 1 FROM arrival LIMIT 1")?.exists([])? {
        return Ok(());
    }
    loop {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last = move_some(&tx, journal, sealed)?;
        let Some(last) = last else { return Ok(()) };
        journal.write(&tx)?;
        tx.execute("DELETE FROM arrival WHERE row <= ?1", [last])?;
        tx.execute("UPDATE meta SET value = max(value, ?1) WHERE key = 'last_row'", [last])?;
        tx.commit()?;
    }
}

fn move_some(tx: &Transaction<'_>, journal: &mut Journal, sealed: i64) -> Result<Option<i64>, Fault> {
    let mut statement = tx.prepare("SELECT * FROM arrival ORDER BY row LIMIT ?1")?;
    let mut rows = statement.query([AT_ONCE as i64])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let number = |column: &str| row.get::<_, i64>(column);
        let record = Record {
            row: number("row")?,
            at: number("at")?,
            received_at: number("received_at")?,
            collector: number("collector")?,
            frame: number("frame")?,
            outbox: number("outbox")?,
            epoch: number("epoch")?.cast_unsigned(),
            sequence: number("sequence")?.cast_unsigned(),
            boot_millis: number("boot_millis")?.cast_unsigned(),
            quarantined: row.get("quarantined")?,
            events: row.get::<_, Option<String>>("events")?.map(String::into_bytes),
            unkept: row.get("unkept")?,
            body: row.get("body")?,
        };
        last = Some(record.row);
        if record.row > sealed {
            journal.append(tx, &record)?;
        }
    }
    Ok(last)
}
