//! Whole reports, brought back from the journal.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction};
use tomte_model::{HostId, Moment, Position, Timestamp};

use super::body;
use super::frame::{Frame, RowParts};
use super::journal::{self, Record};
use crate::history::{Arrival, Replayed, Row};
use crate::sqlite::Fault;

/// How many frames are kept decoded.
const FRAMES: usize = 2_000;

/// Calls `each` with every report after a row.
pub(super) fn replay(tx: &Transaction<'_>, after: Row, each: &mut dyn FnMut(Row, Arrival)) -> Result<Replayed, Fault> {
    let hosts: HashMap<i64, HostId> = tx
        .prepare("SELECT number, id FROM host")?
        .query_map([], |row| Ok((row.get(0)?, HostId::from_bytes(row.get(1)?))))?
        .collect::<rusqlite::Result<_>>()?;
    let collectors: HashMap<i64, i64> = tx
        .prepare("SELECT number, host FROM collector")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = tx.prepare("SELECT body FROM frame WHERE number = ?1")?;
    let mut frames: HashMap<i64, Option<Frame>> = HashMap::new();
    let mut replayed = Replayed::default();
    let mut failed = None;
    journal::each(tx, |record| {
        if record.row.cast_unsigned() <= after || failed.is_some() {
            return;
        }
        // A host that was removed has left its reports here.
        let Some(host) = collectors.get(&record.collector).and_then(|host| hosts.get(host)) else { return };
        if frames.len() >= FRAMES {
            frames.clear();
        }
        let frame = match frames.entry(record.frame) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let body = statement.query_row([record.frame], |row| row.get::<_, Vec<u8>>(0)).optional();
                match body {
                    Ok(body) => vacant.insert(body.and_then(|body| serde_json::from_slice(&body).ok())),
                    Err(error) => {
                        failed = Some(error);
                        return;
                    }
                }
            }
        };
        match frame.as_ref().and_then(|frame| arrival(*host, &hosts, &record, frame)) {
            Some(arrival) => {
                replayed.reports += 1;
                each(record.row.cast_unsigned(), arrival);
            }
            None => replayed.unreadable += 1,
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if replayed.unreadable > 0 {
        tracing::warn!(reports = replayed.unreadable, "reports could not be replayed");
    }
    Ok(replayed)
}

fn arrival(host: HostId, hosts: &HashMap<i64, HostId>, record: &Record, frame: &Frame) -> Option<Arrival> {
    let (skew, _) = body::skew_and_interval(&record.body)?;
    let parts = RowParts {
        host,
        position: Position { epoch: record.epoch, sequence: record.sequence },
        moment: Moment { wall: Timestamp::from_millis(record.at.wrapping_add(skew)), boot_millis: record.boot_millis },
        events: record.events.as_deref().map(std::str::from_utf8).transpose().ok()?,
        body: &record.body,
        unkept: record.unkept.as_deref(),
    };
    Some(Arrival {
        outbox: hosts.get(&record.outbox).copied().unwrap_or(host),
        report: frame.report(&parts)?.into(),
        at: Timestamp::from_millis(record.at),
        received_at: Timestamp::from_millis(record.received_at),
        quarantined: record.quarantined,
        turn: None,
    })
}
