//! The newest readings, in memory: what is in the journal and not sealed yet.
//!
//! A collector's rows are kept as their bodies until there are [`BLOCK`] of
//! them, then as a table, which is half as long and quick to read. Nothing here
//! is written down: it is made from the journal when the database is opened.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::body::{self, Columns};
use super::names::Exponents;
use super::place;
use crate::codec::Effort;
use crate::codec::table::{Presence, Writer};

/// How many rows make a block.
const BLOCK: usize = 60;

/// The newest readings, by collector.
#[derive(Debug, Default)]
pub(super) struct Head {
    sources: HashMap<i64, Source>,
    /// The step that seals some now, and what.
    sealing: (i64, HashMap<i64, Vec<Arc<Block>>>),
}

/// Blocks by collector.
pub(super) type Blocks = Vec<(i64, Vec<Arc<Block>>)>;

/// The newest readings of a collector.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// As they came.
    pub(super) open: Open,
    /// In tables.
    closed: Vec<Arc<Block>>,
    rows: u64,
    first_row: i64,
}

/// Rows that are no table yet.
#[derive(Debug, Default)]
pub(super) struct Open {
    bodies: Vec<u8>,
    /// Number, time, and where the body ends.
    rows: Vec<(i64, i64, usize)>,
}

impl Open {
    /// Time and body of every row.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &[u8])> {
        let mut start = 0;
        self.rows.iter().map(move |(_, at, end)| {
            let body = &self.bodies[start..*end];
            start = *end;
            (*at, body)
        })
    }
}

/// Rows as a table; all of one day.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) day: i64,
    /// Of several days' blocks made at once, the rows may be mixed.
    pub(super) first_row: i64,
    pub(super) last_row: i64,
    pub(super) rows: u64,
    /// Of the first and the last row.
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) bytes: Vec<u8>,
}

impl Head {
    /// Adds a row. Rows must come in order.
    pub(super) fn add(&mut self, collector: i64, (row, at): (i64, i64), body: &[u8], exponents: &Exponents) {
        let source = self.sources.entry(collector).or_default();
        if source.rows == 0 {
            source.first_row = row;
        }
        source.rows += 1;
        source.open.bodies.extend_from_slice(body);
        source.open.rows.push((row, at, source.open.bodies.len()));
        if source.open.rows.len() >= BLOCK {
            source.close(collector, exponents);
        }
    }

    /// The newest readings of a collector.
    pub(super) fn source(&self, collector: i64) -> Option<&Source> {
        self.sources.get(&collector)
    }

    /// Collectors that have rows, by number.
    pub(super) fn collectors(&self) -> Vec<i64> {
        let mut collectors: Vec<i64> = self.sources.keys().copied().collect();
        collectors.sort_unstable();
        collectors
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u64 {
        self.sources.values().map(|source| source.rows).sum()
    }

    /// How many bytes they take.
    pub(super) fn bytes(&self) -> u64 {
        let of = |source: &Source| {
            source.open.bodies.len() + source.closed.iter().map(|block| block.bytes.len()).sum::<usize>()
        };
        self.sources.values().map(|source| of(source) as u64).sum()
    }

    /// The number of the first row.
    pub(super) fn first_row(&self) -> Option<i64> {
        self.sources.values().map(|source| source.first_row).min()
    }

    /// All that a collector has, in tables: to be sealed.
    pub(super) fn closed(&mut self, collector: i64, exponents: &Exponents) -> Vec<Arc<Block>> {
        let Some(source) = self.sources.get_mut(&collector) else { return Vec::new() };
        source.close(collector, exponents);
        source.closed.clone()
    }

    /// Some of the blocks that [`Self::closed`] gave are about to be sealed.
    pub(super) fn begin_sealing(&mut self, step: i64, blocks: Blocks) {
        let mut sealing: HashMap<i64, Vec<Arc<Block>>> = HashMap::new();
        for (collector, blocks) in blocks {
            sealing.entry(collector).or_default().extend(blocks);
        }
        self.sealing = (step, sealing);
    }

    /// They are, and are forgotten; or they are not, and stay.
    pub(super) fn end_sealing(&mut self, sealed: bool) {
        let (_, blocks) = std::mem::take(&mut self.sealing);
        for (collector, blocks) in blocks.iter().filter(|_| sealed) {
            self.forget(*collector, blocks);
        }
    }

    fn forget(&mut self, collector: i64, blocks: &[Arc<Block>]) {
        let Some(source) = self.sources.get_mut(&collector) else { return };
        source.closed.retain(|block| !is_among(block, blocks));
        let last_row = blocks.iter().map(|block| block.last_row).max().unwrap_or(i64::MIN);
        source.rows -= blocks.iter().map(|block| block.rows).sum::<u64>().min(source.rows);
        source.first_row = source.first_row.max(last_row.saturating_add(1));
        if source.open.rows.is_empty() && source.closed.is_empty() {
            self.sources.remove(&collector);
        }
    }

    /// A collector's blocks that are not in the database up to that step.
    pub(super) fn unsealed(&self, collector: i64, step: i64) -> impl Iterator<Item = &Arc<Block>> {
        let (sealing, blocks) = &self.sealing;
        let sealed = blocks.get(&collector).filter(|_| step >= *sealing).map_or(&[][..], Vec::as_slice);
        let closed = self.sources.get(&collector).map_or(&[][..], |source| source.closed.as_slice());
        closed.iter().filter(|block| !is_among(block, sealed))
    }

    /// Forgets collectors.
    pub(super) fn remove(&mut self, collectors: &[i64]) {
        for collector in collectors {
            self.sources.remove(collector);
        }
    }
}

fn is_among(block: &Arc<Block>, blocks: &[Arc<Block>]) -> bool {
    blocks.iter().any(|other| Arc::ptr_eq(block, other))
}

impl Source {
    fn close(&mut self, collector: i64, exponents: &Exponents) {
        let open = std::mem::take(&mut self.open);
        let rows: Vec<Row<'_>> =
            open.rows.iter().zip(open.iter()).map(|((row, at, _), (_, body))| (*row, *at, body)).collect();
        self.closed.extend(blocks(collector, rows, exponents).into_iter().map(Arc::new));
    }
}

/// Number, time and body of a report.
pub(super) type Row<'a> = (i64, i64, &'a [u8]);

/// Puts rows into tables, one per day. What makes no
/// sense or has no day is left out.
pub(super) fn blocks(collector: i64, rows: Vec<Row<'_>>, exponents: &Exponents) -> Vec<Block> {
    let mut days: BTreeMap<i64, Vec<Row<'_>>> = BTreeMap::new();
    for row in rows {
        if let Some(day) = place::day(row.1) {
            days.entry(day).or_default().push(row);
        }
    }
    days.into_iter().filter_map(|(day, rows)| block(collector, day, rows, exponents)).collect()
}

fn block(collector: i64, day: i64, mut rows: Vec<Row<'_>>, exponents: &Exponents) -> Option<Block> {
    rows.sort_by_key(|(row, at, _)| (*at, *row));
    rows.retain(|(_, _, body)| body::skew_and_interval(body).is_some());
    let (_, _, newest) = rows.last()?;
    let interval = body::skew_and_interval(newest).map_or(0, |(_, interval)| interval);
    let times: Vec<i64> = rows.iter().map(|(_, at, _)| *at).collect();
    let mut columns = Columns::default();
    for (index, (_, _, body)) in rows.iter().enumerate() {
        // A body that breaks off has given what it could.
        let _ = columns.add(index as u32, body);
    }
    let mut table = Writer::new(&times, interval, Effort::Fast);
    let mut values = Vec::new();
    for (series, (present, integers)) in columns.columns {
        let Some(exponent) = exponents.of(collector, series) else { continue };
        values.clear();
        values.extend(integers.iter().map(|integer| body::to_number(*integer, exponent)));
        table.add(series, exponent, &Presence::of(present, times.len()), &values);
    }
    let first_row = rows.iter().map(|(row, _, _)| *row).min()?;
    let last_row = rows.iter().map(|(row, _, _)| *row).max()?;
    let (first, last) = (*times.first()?, *times.last()?);
    Some(Block { day, first_row, last_row, rows: rows.len() as u64, first, last, bytes: table.finish() })
}
