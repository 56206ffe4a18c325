//! Pieces taken apart and put together: pure, but for where they go.

use rusqlite::Transaction;

use super::place::{self, Kept};
use crate::codec::Effort;
use crate::codec::rollup::COMMON;
use crate::codec::table::{self, Header, Presence, Writer};
use crate::sqlite::Fault;

/// Adds a part to a day.
pub(super) fn add_part(tx: &Transaction<'_>, day: i64, collector: i64, body: &[u8]) -> Result<(), Fault> {
    let keys = place::keys(day, collector);
    // Unless its host was removed.
    tx.prepare_cached(
        "INSERT INTO part SELECT coalesce((SELECT max(id) + 1 FROM part WHERE id >= ?1 AND id < ?2), ?1), ?3
         WHERE EXISTS (SELECT 1 FROM collector WHERE number = ?4)",
    )?
    .execute((keys.start, keys.end, body, collector))?;
    Ok(())
}

/// Puts something damaged where it does no harm and is still there.
pub(super) fn set_aside(tx: &Transaction<'_>, kept: Kept, key: i64, what: &str, body: &[u8]) -> Result<(), Fault> {
    let (period, collector, number) = place::parts(key);
    let place = format!("{} {period}/{collector}/{number}", kept.table());
    tx.prepare_cached("INSERT INTO damaged (place, what, body) VALUES (?1, ?2, ?3)")?.execute((place, what, body))?;
    if kept == Kept::Part {
        tx.prepare_cached("DELETE FROM part WHERE id = ?1")?.execute([key])?;
    }
    Ok(())
}

/// A table without some of its entries; `None` when none are left. What
/// buckets have in common stays with them.
pub(super) fn without(header: &Header, bytes: &[u8], goes: impl Fn(u64) -> bool) -> Option<Vec<u8>> {
    let any = header.entries.iter().any(|place| place.series != COMMON && !goes(place.series));
    if !any || goes(COMMON) {
        return None;
    }
    let mut times = Vec::new();
    header.read_times(bytes, &mut times)?;
    let mut table = Writer::new(&times, header.interval_millis, Effort::Small);
    for place in header.entries.iter().filter(|place| !goes(place.series)) {
        table.add_encoded(place.series, bytes.get(place.bytes.clone())?);
    }
    Some(table.finish())
}

/// Puts tables of one collector together. Returns the table and the series in
/// it; `None` when there is nothing in them.
pub(super) fn merge_tables(tables: &mut [(Header, &[u8])]) -> Option<(Vec<u8>, Vec<u64>)> {
    tables.sort_by_key(|(header, _)| header.first);
    // Each table's times, and where its rows come in the whole.
    let mut all: Vec<(i64, u32, u32)> = Vec::new();
    let mut times = Vec::new();
    for (index, (header, bytes)) in tables.iter().enumerate() {
        if header.read_times(bytes, &mut times).is_some() {
            all.extend(times.iter().zip(0..).map(|(at, row)| (*at, index as u32, row)));
        }
    }
    let in_order = all.is_sorted_by_key(|(at, _, _)| *at);
    if !in_order {
        all.sort_by_key(|(at, index, row)| (*at, *index, *row));
    }
    let mut places: Vec<Vec<u32>> = tables.iter().map(|(header, _)| vec![0; header.rows]).collect();
    for (place, (_, index, row)) in all.iter().enumerate() {
        places[*index as usize][*row as usize] = place as u32;
    }
    let times: Vec<i64> = all.iter().map(|(at, _, _)| *at).collect();
    let interval = tables.iter().max_by_key(|(header, _)| header.last).map_or(0, |(header, _)| header.interval_millis);
    let mut series: Vec<u64> = tables.iter().flat_map(|(header, _)| header.entries.iter().map(|e| e.series)).collect();
    series.sort_unstable();
    series.dedup();
    if times.is_empty() || series.is_empty() {
        return None;
    }
    let mut merged = Writer::new(&times, interval, Effort::Small);
    let (mut found, mut values) = (Vec::<(u32, i64)>::new(), Vec::new());
    for number in &series {
        found.clear();
        let mut exponent = None;
        for ((header, bytes), places) in tables.iter().zip(&places) {
            let Some(entry) = header.entry(bytes, *number) else { continue };
            let Some((of, presence)) = table::read_entry(entry, header.rows, &mut values) else { continue };
            exponent = Some(of);
            let mut values = values.iter();
            presence.each(header.rows, |row| found.extend(values.next().map(|value| (places[row], *value))));
        }
        if !in_order {
            found.sort_by_key(|(place, _)| *place);
        }
        let Some(exponent) = exponent else { continue };
        let presence = Presence::of(found.iter().map(|(place, _)| *place), times.len());
        values.clear();
        values.extend(found.iter().map(|(_, value)| *value));
        merged.add(*number, exponent, &presence, &values);
    }
    Some((merged.finish(), series))
}
