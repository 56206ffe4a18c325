//! The way back: points and buckets.
//!
//! A question without steps is answered from readings. One with steps may be
//! answered from buckets: from those of an hour or of five minutes where they
//! make up its steps exactly, and beyond the time for which finer ones are
//! kept. What is not sealed yet comes from memory, in every case.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use rusqlite::Transaction;
use tomte_model::Timestamp;

use super::SqliteHistory;
use super::body::{self, Picker};
use super::head::{Block, Blocks, Head};
use super::part::{self, FIVE_MINUTES};
use super::place::{self, DAY, Kept, Piece};
use crate::StoreError;
use crate::codec::rollup::{self, COMMON, Common, Roll};
use crate::codec::table::{self, Header, Presence};
use crate::history::{History, Points, Query, SeriesHistory, Tier};
use crate::sqlite::Fault;

const HOUR: i64 = 3_600_000;

/// A query, checked.
struct Plan<'a> {
    query: &'a Query,
    from: i64,
    to: i64,
    grid: Option<Grid>,
    /// By collector: what is wanted of it, by series.
    sources: BTreeMap<i64, Vec<Wanted>>,
}

/// The steps of a query.
#[derive(Clone, Copy)]
struct Grid {
    step: i64,
    first: i64,
    count: usize,
}

/// A series as it is kept.
struct Wanted {
    series: u64,
    exponent: i8,
    /// Its place in the query.
    place: usize,
    /// Where which tier answers.
    raw: Range<i64>,
    five: Range<i64>,
    hour: Range<i64>,
}

impl<'a> Plan<'a> {
    fn new(store: &SqliteHistory, query: &'a Query) -> Result<Self, StoreError> {
        let (mut from, mut to) = (query.from.millis(), query.to.millis());
        if from > to {
            return Err(StoreError::BadQuery("it ends before it begins"));
        }
        let grid = match query.step {
            None => None,
            Some(step) => {
                let step = i64::try_from(step.as_millis()).map_err(|_| StoreError::BadQuery("its step is too long"))?;
                if step == 0 {
                    return Err(StoreError::BadQuery("its step is shorter than a millisecond"));
                }
                let first = from.div_euclid(step);
                let end = to.div_euclid(step) + i64::from(to.rem_euclid(step) != 0);
                let count = usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX);
                if count.saturating_mul(query.series.len().max(1)) > query.budget.points {
                    return Err(StoreError::TooManyPoints { allowed: query.budget.points });
                }
                (from, to) = (first.saturating_mul(step), end.saturating_mul(step));
                Some(Grid { step, first, count })
            }
        };
        let mut plan = Self { query, from, to, grid, sources: BTreeMap::new() };
        plan.find(store);
        Ok(plan)
    }

    /// Where the query's series are.
    fn find(&mut self, store: &SqliteHistory) {
        let pruned_at = store.shared.pruned_at.load(Ordering::Acquire);
        let raw_floor = store.shared.raw_floor.load(Ordering::Acquire);
        let five_floor = store.shared.five_floor.load(Ordering::Acquire);
        let names = store.shared.names.read().unwrap_or_else(PoisonError::into_inner);
        let (from, to) = (self.from, self.to);
        let start = |floor: i64| floor.saturating_mul(DAY).clamp(from, to);
        for (place, key) in self.query.series.iter().enumerate() {
            let floors = store.rules.of(&key.resource.kind, &key.field).floors(pruned_at);
            let raw_from = start(floors.raw.max(raw_floor));
            let five_from = start(floors.five.max(five_floor)).min(raw_from);
            let (hour, five, raw) = match self.grid {
                None => (from..from, from..from, from..to),
                Some(grid) if grid.step % HOUR == 0 => (from..to, to..to, to..to),
                Some(grid) if grid.step % FIVE_MINUTES == 0 => (from..five_from, five_from..to, to..to),
                Some(_) => (from..five_from, five_from..raw_from, raw_from..to),
            };
            for named in names.of(key) {
                let (raw, five, hour) = (raw.clone(), five.clone(), hour.clone());
                let wanted = Wanted { series: named.number, exponent: named.exponent, place, raw, five, hour };
                self.sources.entry(named.collector).or_default().push(wanted);
            }
        }
        for wanted in self.sources.values_mut() {
            wanted.sort_by_key(|wanted| wanted.series);
        }
    }
}

/// One series' answer while it grows.
#[derive(Default)]
struct Growing {
    interval_millis: u32,
    newest: i64,
    tier: Tier,
    raw: Vec<(i64, f64)>,
    /// Buckets by the exponent of what is in them; mostly there is one.
    buckets: Vec<(i8, Vec<Roll>)>,
}

const EMPTY: Roll = Roll { start: 0, count: 0, min: 0.0, max: 0.0, sum: 0.0, last: 0.0, last_after: 0 };

impl Growing {
    fn buckets(&mut self, exponent: i8, grid: Grid) -> &mut Vec<Roll> {
        let found = self.buckets.iter().position(|(of, _)| *of == exponent);
        let index = found.unwrap_or_else(|| {
            self.buckets.push((exponent, vec![EMPTY; grid.count]));
            self.buckets.len() - 1
        });
        &mut self.buckets[index].1
    }
}

impl Grid {
    fn place(self, at: i64) -> Option<usize> {
        usize::try_from(at.div_euclid(self.step) - self.first).ok().filter(|place| *place < self.count)
    }
}

/// Answers a query.
pub(super) fn run(store: &SqliteHistory, query: &Query) -> Result<History, StoreError> {
    let plan = Plan::new(store, query)?;
    let mut reader = Reader::new(&plan);
    store.readers.read(|tx| {
        let blocks = {
            let head = store.shared.head.read().unwrap_or_else(PoisonError::into_inner);
            // With this the transaction has begun: what is sealed by later
            // steps is in the head, and stays there until it has been looked at.
            let step = place::step(tx)?;
            reader.look_at_head(&head, step)?
        };
        reader.read_all(tx, store, &blocks)
    })?;
    Ok(reader.answer())
}

struct Reader<'a> {
    plan: &'a Plan<'a>,
    growing: Vec<Growing>,
    points: usize,
    bytes: u64,
    deadline: Instant,
    told: bool,
    times: Vec<i64>,
    values: Vec<i64>,
    rolls: Vec<Roll>,
}

impl<'a> Reader<'a> {
    fn new(plan: &'a Plan<'a>) -> Self {
        let growing = plan.query.series.iter().map(|_| Growing { newest: i64::MIN, ..Growing::default() }).collect();
        let deadline = Instant::now() + plan.query.budget.time.min(std::time::Duration::from_secs(3600));
        let (times, values, rolls) = (Vec::new(), Vec::new(), Vec::new());
        Self { plan, growing, points: 0, bytes: 0, deadline, told: false, times, values, rolls }
    }

    /// Takes what is open in memory, and returns what is in tables there and
    /// not in the database up to that step of sealing.
    fn look_at_head(&mut self, head: &Head, step: i64) -> Result<Blocks, Fault> {
        let plan = self.plan;
        let mut blocks = Vec::new();
        for (collector, wanted) in &plan.sources {
            let Some(source) = head.source(*collector) else { continue };
            let overlaps = |block: &&Arc<Block>| block.last >= plan.from && block.first < plan.to;
            let found: Vec<_> = head.unsealed(*collector, step).filter(overlaps).cloned().collect();
            if !found.is_empty() {
                blocks.push((*collector, found));
            }
            let mut picker = Picker::new(wanted.iter().map(|wanted| wanted.series).collect());
            for (at, body) in source.open.iter() {
                if (plan.from..plan.to).contains(&at) {
                    self.take_row(&mut picker, wanted, at, body)?;
                }
            }
        }
        Ok(blocks)
    }

    /// Takes the wanted values of one report.
    fn take_row(&mut self, picker: &mut Picker, wanted: &[Wanted], at: i64, body: &[u8]) -> Result<(), Fault> {
        let Self { plan, growing, points, .. } = self;
        let interval = picker.pick(body, |index, integer| {
            let wanted = &wanted[index];
            let series = &mut growing[wanted.place];
            let value = rollup::steps(body::to_number(integer, wanted.exponent), wanted.exponent);
            match plan.grid {
                None => {
                    *points += 1;
                    series.raw.push((at, rollup::scale(value, wanted.exponent)));
                }
                Some(grid) => {
                    if let Some(place) = grid.place(at) {
                        let cell = &mut series.buckets(wanted.exponent, grid)[place];
                        add_value(cell, (grid.first + place as i64) * grid.step, at, value);
                    }
                }
            }
            if at >= series.newest {
                series.newest = at;
            }
        });
        match interval {
            Some(interval) => {
                for wanted in wanted {
                    let series = &mut growing[wanted.place];
                    if series.newest == at {
                        series.interval_millis = interval;
                    }
                }
            }
            None => self.damaged("a report"),
        }
        self.within_budget()
    }

    fn read_all(&mut self, tx: &Transaction<'_>, store: &SqliteHistory, blocks: &Blocks) -> Result<(), Fault> {
        let plan = self.plan;
        for (collector, blocks) in blocks {
            let wanted = &plan.sources[collector];
            for block in blocks {
                // From memory in any tier: it is in no other yet.
                if let Some(header) = Header::read(&block.bytes) {
                    self.take_table(&header, &block.bytes, wanted, |_| plan.from..plan.to)?;
                }
            }
        }
        let there = Kept::ALL.map(|kept| Self::periods(tx, kept));
        let [parts, chunks, recents, fives, hours] = there;
        let (parts, chunks, recents, fives, hours) = (parts?, chunks?, recents?, fives?, hours?);
        let legacy = store.shared.legacy.load(Ordering::Acquire);
        for (collector, wanted) in &plan.sources {
            let raw = span(wanted.iter().map(|wanted| &wanted.raw));
            for day in days(&raw, &chunks, Kept::Chunk) {
                self.take_chunk(tx, day, *collector, wanted)?;
            }
            for day in days(&raw, &parts, Kept::Part) {
                self.take_parts(tx, day, *collector, wanted)?;
            }
            if legacy {
                self.take_legacy(tx, *collector, wanted)?;
            }
            let five = span(wanted.iter().map(|wanted| &wanted.five));
            for period in days(&five, &fives, Kept::Five) {
                self.take_buckets(tx, Kept::Five, period, *collector, wanted)?;
            }
            let hour = span(wanted.iter().map(|wanted| &wanted.hour));
            for period in days(&hour, &hours, Kept::Hour) {
                self.take_buckets(tx, Kept::Hour, period, *collector, wanted)?;
            }
            let both = span([&five, &hour].into_iter());
            for day in days(&both, &recents, Kept::Recent) {
                self.take_buckets(tx, Kept::Recent, day, *collector, wanted)?;
            }
        }
        Ok(())
    }

    /// The first and the last period that a table has.
    fn periods(tx: &Transaction<'_>, kept: Kept) -> Result<Option<(i64, i64)>, Fault> {
        let sql = match kept {
            Kept::Part => "SELECT (SELECT min(id) FROM part), (SELECT max(id) FROM part)",
            Kept::Chunk => "SELECT (SELECT min(id) FROM chunk), (SELECT max(id) FROM chunk)",
            Kept::Recent => "SELECT (SELECT min(id) FROM recent), (SELECT max(id) FROM recent)",
            Kept::Five => "SELECT (SELECT min(id) FROM five), (SELECT max(id) FROM five)",
            Kept::Hour => "SELECT (SELECT min(id) FROM hour), (SELECT max(id) FROM hour)",
        };
        let (first, last): (Option<i64>, Option<i64>) =
            tx.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(first.zip(last).map(|(first, last)| (place::parts(first).0, place::parts(last).0)))
    }

    fn take_chunk(&mut self, tx: &Transaction<'_>, day: i64, collector: i64, wanted: &[Wanted]) -> Result<(), Fault> {
        let Some(piece) = Piece::open(tx, Kept::Chunk, day, collector)? else { return Ok(()) };
        let Some(mut piece) = piece else {
            self.damaged("the readings of a day");
            return Ok(());
        };
        let mut times = std::mem::take(&mut self.times);
        if piece.header.last >= self.plan.from && piece.header.first < self.plan.to {
            if piece.times(&mut times).is_none() {
                self.damaged("the times of a day");
            } else {
                for wanted in wanted {
                    match piece.entry(wanted.series)? {
                        None => {}
                        Some(None) => self.damaged("the readings of a series"),
                        Some(Some(entry)) => {
                            self.take_entry(&entry, &times, wanted, &wanted.raw, &piece.header);
                        }
                    }
                }
            }
        }
        self.times = times;
        self.bytes += piece.read;
        self.within_budget()
    }

    fn take_parts(&mut self, tx: &Transaction<'_>, day: i64, collector: i64, wanted: &[Wanted]) -> Result<(), Fault> {
        let keys = place::keys(day, collector);
        let mut statement = tx.prepare_cached("SELECT body FROM part WHERE id >= ?1 AND id < ?2 ORDER BY id")?;
        let mut rows = statement.query((keys.start, keys.end))?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            self.bytes += body.len() as u64;
            match part::decode(body) {
                Some(tables) => {
                    for (header, bytes) in tables {
                        self.take_table(&header, &body[bytes], wanted, |wanted| wanted.raw.clone())?;
                    }
                }
                None => self.damaged("the readings of some hours"),
            }
        }
        Ok(())
    }

    fn take_table(
        &mut self,
        header: &Header,
        bytes: &[u8],
        wanted: &[Wanted],
        range: impl Fn(&Wanted) -> Range<i64>,
    ) -> Result<(), Fault> {
        if header.last < self.plan.from || header.first >= self.plan.to {
            return Ok(());
        }
        let mut times = std::mem::take(&mut self.times);
        if header.read_times(bytes, &mut times).is_none() {
            self.damaged("some times");
        } else {
            for wanted in wanted {
                if let Some(entry) = header.entry(bytes, wanted.series) {
                    self.take_entry(entry, &times, wanted, &range(wanted), header);
                }
            }
        }
        self.times = times;
        self.within_budget()
    }

    /// Takes the readings of a series that are in a range.
    fn take_entry(&mut self, entry: &[u8], times: &[i64], wanted: &Wanted, range: &Range<i64>, header: &Header) {
        let Some((exponent, presence)) = table::read_entry(entry, times.len(), &mut self.values) else {
            return self.damaged("the readings of a series");
        };
        let first = times.partition_point(|at| *at < range.start);
        let end = times.partition_point(|at| *at < range.end);
        if first >= end {
            return;
        }
        let series = &mut self.growing[wanted.place];
        if header.last.min(range.end) >= series.newest {
            series.newest = header.last.min(range.end);
            series.interval_millis = header.interval_millis;
        }
        let values = &self.values;
        match self.plan.grid {
            None => {
                let mut add = |at: i64, value: i64| {
                    self.points += 1;
                    // What is over the budget is not kept; the error follows.
                    if self.points <= self.plan.query.budget.points {
                        series.raw.push((at, rollup::scale(rollup::steps(value, exponent), exponent)));
                    }
                };
                each_value(&presence, first..end, times, values, &mut add);
            }
            Some(grid) => {
                let cells = series.buckets(exponent, grid);
                let (mut start, mut place) = (i64::MAX, 0);
                let mut add = |at: i64, value: i64| {
                    if at < start || at - start >= grid.step {
                        let Some(found) = grid.place(at) else { return };
                        (place, start) = (found, (grid.first + found as i64) * grid.step);
                    }
                    add_value(&mut cells[place], start, at, rollup::steps(value, exponent));
                };
                each_value(&presence, first..end, times, values, &mut add);
            }
        }
    }

    fn take_buckets(
        &mut self,
        tx: &Transaction<'_>,
        kept: Kept,
        period: i64,
        collector: i64,
        wanted: &[Wanted],
    ) -> Result<(), Fault> {
        let Some(grid) = self.plan.grid else { return Ok(()) };
        let Some(piece) = Piece::open(tx, kept, period, collector)? else { return Ok(()) };
        let Some(mut piece) = piece else {
            self.damaged("buckets");
            return Ok(());
        };
        let mut times = std::mem::take(&mut self.times);
        let mut rolls = std::mem::take(&mut self.rolls);
        let common = match piece.entry(COMMON)? {
            None => Some(Common::default()),
            Some(entry) => entry.and_then(|entry| Common::read(&entry, piece.header.rows)),
        };
        if piece.times(&mut times).is_none() || common.is_none() {
            self.damaged("the times of buckets");
        } else {
            let common = common.unwrap_or_default();
            for wanted in wanted {
                let range = match kept {
                    Kept::Hour => wanted.hour.clone(),
                    Kept::Five => wanted.five.clone(),
                    _ => recent_range(wanted),
                };
                if range.is_empty() {
                    continue;
                }
                match piece.entry(wanted.series)? {
                    None => {}
                    Some(None) => self.damaged("the buckets of a series"),
                    Some(Some(entry)) => match rollup::read(&entry, &times, &common, &mut rolls) {
                        None => self.damaged("the buckets of a series"),
                        Some(exponent) => {
                            let tier = if kept == Kept::Hour || wanted.five.is_empty() {
                                Tier::Hour
                            } else {
                                Tier::FiveMinutes
                            };
                            let series = &mut self.growing[wanted.place];
                            let first = rolls.partition_point(|roll| roll.start < range.start);
                            let end = rolls.partition_point(|roll| roll.start < range.end);
                            if first < end {
                                series.tier = series.tier.max(tier);
                            }
                            let cells = series.buckets(exponent, grid);
                            for roll in &rolls[first..end] {
                                if let Some(place) = grid.place(roll.start) {
                                    add_roll(&mut cells[place], (grid.first + place as i64) * grid.step, roll);
                                }
                            }
                        }
                    },
                }
            }
        }
        (self.times, self.rolls) = (times, rolls);
        self.bytes += piece.read;
        self.within_budget()
    }

    /// Rows as version 1 kept them.
    fn take_legacy(&mut self, tx: &Transaction<'_>, collector: i64, wanted: &[Wanted]) -> Result<(), Fault> {
        let mut statement =
            tx.prepare_cached("SELECT at, body FROM reading WHERE collector = ?1 AND at >= ?2 AND at < ?3")?;
        let mut rows = statement.query((collector, self.plan.from, self.plan.to))?;
        let mut picker = Picker::new(wanted.iter().map(|wanted| wanted.series).collect());
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            self.bytes += body.len() as u64;
            self.take_row(&mut picker, wanted, row.get(0)?, body)?;
        }
        Ok(())
    }

    /// What is damaged costs its own values, no others.
    fn damaged(&mut self, what: &str) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(what, "a piece of the history is damaged: `tomte store check` sets it aside");
        }
    }

    fn within_budget(&self) -> Result<(), Fault> {
        let budget = self.plan.query.budget;
        if self.plan.grid.is_none() && self.points > budget.points {
            return Err(StoreError::TooManyPoints { allowed: budget.points }.into());
        }
        if self.bytes > budget.bytes {
            return Err(StoreError::TooManyBytes { allowed: budget.bytes }.into());
        }
        if Instant::now() > self.deadline {
            return Err(StoreError::TooSlow { allowed: budget.time }.into());
        }
        Ok(())
    }

    fn answer(self) -> History {
        let plan = self.plan;
        let t = plan.grid.map_or(Vec::new(), |grid| {
            (0..grid.count as i64)
                .map(|i| Timestamp::from_millis(grid.first.saturating_add(i).saturating_mul(grid.step)))
                .collect()
        });
        let finish = |(key, mut growing): (&crate::history::SeriesKey, Growing)| {
            let points = match plan.grid {
                Some(grid) => Points::Stepped(buckets(&growing.buckets, grid.count)),
                None => {
                    if !growing.raw.is_sorted_by_key(|(at, _)| *at) {
                        growing.raw.sort_by_key(|(at, _)| *at);
                    }
                    Points::Raw(
                        growing.raw.into_iter().map(|(at, value)| (Timestamp::from_millis(at), value)).collect(),
                    )
                }
            };
            let Growing { interval_millis, tier, .. } = growing;
            SeriesHistory { key: key.clone(), interval_millis, tier, points }
        };
        History { t, series: plan.query.series.iter().zip(self.growing).map(finish).collect() }
    }
}

/// Buckets of a day that are not in a tier yet answer wherever one does.
fn recent_range(wanted: &Wanted) -> Range<i64> {
    match (wanted.hour.is_empty(), wanted.five.is_empty()) {
        (true, _) => wanted.five.clone(),
        (_, true) => wanted.hour.clone(),
        // The hours come right before the five minutes.
        (false, false) => wanted.hour.start..wanted.five.end,
    }
}

/// Buckets of several exponents as one row of them, in values.
fn buckets(all: &[(i8, Vec<Roll>)], count: usize) -> Vec<Option<crate::history::Bucket>> {
    let scaled = |roll: &Roll, exponent: i8| (roll.count > 0).then(|| (roll.last_after, roll.scaled(exponent)));
    (0..count)
        .map(|place| {
            let mut found = all.iter().filter_map(|(exponent, rolls)| scaled(&rolls[place], *exponent));
            let (mut after, mut bucket) = found.next()?;
            for (other_after, other) in found {
                bucket.count += other.count;
                bucket.min = bucket.min.min(other.min);
                bucket.max = bucket.max.max(other.max);
                bucket.sum += other.sum;
                if other_after >= after {
                    (after, bucket.last) = (other_after, other.last);
                }
            }
            Some(bucket)
        })
        .collect()
}

fn add_value(cell: &mut Roll, start: i64, at: i64, value: f64) {
    if cell.count == 0 {
        *cell = Roll::of(start, at, value);
    } else {
        cell.add(at, value);
    }
}

fn add_roll(cell: &mut Roll, start: i64, roll: &Roll) {
    let moved = Roll { start, last_after: roll.start - start + roll.last_after, ..*roll };
    if cell.count == 0 {
        *cell = moved;
    } else {
        cell.join(&moved);
    }
}

/// Calls `each` with the time and value of the rows in a range.
fn each_value(presence: &Presence, rows: Range<usize>, times: &[i64], values: &[i64], each: &mut impl FnMut(i64, i64)) {
    match presence {
        Presence::All => {
            let (times, values) = (times.get(rows.clone()), values.get(rows));
            for (at, value) in times.into_iter().flatten().zip(values.into_iter().flatten()) {
                each(*at, *value);
            }
        }
        Presence::Runs(_) => {
            let mut values = values.iter();
            presence.each(times.len(), |row| {
                if let Some(value) = values.next()
                    && rows.contains(&row)
                {
                    each(times[row], *value);
                }
            });
        }
    }
}

/// From the first start to the last end of what is not empty.
fn span<'a>(ranges: impl Iterator<Item = &'a Range<i64>>) -> Range<i64> {
    ranges
        .filter(|range| !range.is_empty())
        .cloned()
        .reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
        .unwrap_or(0..0)
}

/// The periods of a table that a range touches.
fn days(range: &Range<i64>, there: &Option<(i64, i64)>, kept: Kept) -> std::ops::RangeInclusive<i64> {
    let Some((first, last)) = there.filter(|_| !range.is_empty()) else { return std::ops::RangeInclusive::new(1, 0) };
    let day = |at: i64| kept.period(at.div_euclid(DAY));
    day(range.start).max(first)..=day(range.end - 1).min(last)
}
