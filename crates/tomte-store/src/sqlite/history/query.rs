//! The way back: series, points and buckets, and whole reports.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::{OptionalExtension, Row, Transaction};
use tomte_model::{HostId, Moment, Position, Resolution, ResourceKey, Timestamp};

use super::Unfiled;
use super::body::{AS_DOUBLE, Picker, from_integer};
use super::frame::{Frame, RowParts};
use crate::StoreError;
use crate::history::{
    Arrival, Bucket, History, Points, Query, Replayed, Row as RowNumber, Series, SeriesHistory, SeriesKey, Tier,
};
use crate::sqlite::Fault;

/// How many frames a replay keeps decoded.
const FRAMES: usize = 2_000;

pub(super) fn series(tx: &Transaction<'_>, host: HostId) -> Result<Vec<Series>, Fault> {
    let mut statement = tx.prepare_cached(
        "SELECT kind, name, field, exponent FROM series
         WHERE host = (SELECT number FROM host WHERE id = ?1)
         ORDER BY kind, name, field, last_at",
    )?;
    let mut rows = statement.query([host.to_bytes()])?;
    let mut series: Vec<Series> = Vec::new();
    while let Some(row) = rows.next()? {
        let resource = ResourceKey::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?);
        let key = SeriesKey { host, resource, field: row.get::<_, String>(2)?.into() };
        let exponent: i8 = row.get(3)?;
        let resolution = (exponent != AS_DOUBLE).then(|| Resolution::power_of_ten(exponent));
        // Of one that was kept in several ways, the latest says how it is now.
        match series.last_mut() {
            Some(last) if last.key == key => last.resolution = resolution,
            _ => series.push(Series { key, resolution }),
        }
    }
    Ok(series)
}

/// A query, checked.
pub(super) struct Plan<'a> {
    query: &'a Query,
    from: i64,
    to: i64,
    grid: Option<Grid>,
}

/// The steps of a query.
struct Grid {
    step: i64,
    first: i64,
    count: usize,
}

/// The rows of one collector, and what is wanted of them.
pub(super) struct Source {
    collector: i64,
    /// By series number: its exponent, and its place in the query.
    series: BTreeMap<u64, (i8, usize)>,
}

/// One series' answer while it grows.
struct Growing {
    interval_millis: u32,
    newest: i64,
    raw: Vec<(i64, f64)>,
    /// With the time of the last value.
    buckets: Vec<Option<(i64, Bucket)>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(query: &'a Query) -> Result<Self, StoreError> {
        let (mut from, mut to) = (query.from.millis(), query.to.millis());
        if from > to {
            return Err(StoreError::BadQuery("it ends before it begins"));
        }
        let too_many = StoreError::TooManyPoints { allowed: query.budget.points };
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
                    return Err(too_many);
                }
                (from, to) = (first.saturating_mul(step), end.saturating_mul(step));
                Some(Grid { step, first, count })
            }
        };
        Ok(Self { query, from, to, grid })
    }

    /// Where the query's series are.
    pub(super) fn sources(&self, tx: &Transaction<'_>) -> Result<Vec<Source>, Fault> {
        let mut host = tx.prepare_cached("SELECT number FROM host WHERE id = ?1")?;
        let mut find = tx.prepare_cached(
            "SELECT number, collector, exponent FROM series WHERE host = ?1 AND kind = ?2 AND name = ?3 AND field = ?4",
        )?;
        let mut hosts: HashMap<HostId, Option<i64>> = HashMap::new();
        let mut sources: BTreeMap<i64, Source> = BTreeMap::new();
        for (place, key) in self.query.series.iter().enumerate() {
            let number = match hosts.get(&key.host) {
                Some(number) => *number,
                None => {
                    let number = host.query_row([key.host.to_bytes()], |row| row.get(0)).optional()?;
                    hosts.insert(key.host, number);
                    number
                }
            };
            let Some(number) = number else { continue };
            let mut rows = find.query((number, &key.resource.kind, &key.resource.name, &key.field))?;
            while let Some(row) = rows.next()? {
                let collector: i64 = row.get(1)?;
                let source = sources.entry(collector).or_insert_with(|| Source { collector, series: BTreeMap::new() });
                source.series.insert(row.get::<_, i64>(0)?.cast_unsigned(), (row.get(2)?, place));
            }
        }
        Ok(sources.into_values().collect())
    }

    /// The rows of the range that are not in their final place, by source.
    pub(super) fn unfiled(&self, sources: &[Source], unfiled: &Unfiled) -> Vec<BTreeSet<i64>> {
        let of = |source: &Source| {
            let rows = unfiled.rows.get(&source.collector).map_or(&[][..], Vec::as_slice);
            rows.iter().filter(|(at, _)| (self.from..self.to).contains(at)).map(|(_, row)| *row).collect()
        };
        sources.iter().map(of).collect()
    }

    pub(super) fn run(
        &self,
        tx: &Transaction<'_>,
        sources: &[Source],
        unfiled: &[BTreeSet<i64>],
    ) -> Result<History, Fault> {
        let count = self.grid.as_ref().map_or(0, |grid| grid.count);
        let new = || Growing { interval_millis: 0, newest: i64::MIN, raw: Vec::new(), buckets: vec![None; count] };
        let mut growing: Vec<Growing> = self.query.series.iter().map(|_| new()).collect();
        let mut points = 0;
        let mut filed = tx.prepare_cached(
            "SELECT at, row, body FROM reading WHERE collector = ?1 AND at >= ?2 AND at < ?3 ORDER BY at, row",
        )?;
        let mut waiting = tx.prepare_cached("SELECT at, row, body FROM arrival WHERE row = ?1")?;
        for (source, unfiled) in sources.iter().zip(unfiled) {
            let mut reader = Reader::new(self, source, &mut growing, &mut points);
            let mut rows = filed.query((source.collector, self.from, self.to))?;
            let mut both = BTreeSet::new();
            while let Some(row) = rows.next()? {
                let number = row.get(1)?;
                if unfiled.contains(&number) {
                    both.insert(number);
                }
                reader.read(row)?;
            }
            for number in unfiled.difference(&both) {
                let mut rows = waiting.query([number])?;
                if let Some(row) = rows.next()? {
                    reader.read(row)?;
                }
            }
        }
        Ok(self.answer(growing))
    }

    fn answer(&self, growing: Vec<Growing>) -> History {
        let t = self.grid.as_ref().map_or(Vec::new(), |grid| {
            (0..grid.count as i64)
                .map(|i| Timestamp::from_millis(grid.first.saturating_add(i).saturating_mul(grid.step)))
                .collect()
        });
        let finish = |(key, mut growing): (&SeriesKey, Growing)| {
            let points = if self.grid.is_some() {
                Points::Stepped(growing.buckets.into_iter().map(|b| b.map(|(_, bucket)| bucket)).collect())
            } else {
                growing.raw.sort_by_key(|(at, _)| *at);
                Points::Raw(growing.raw.into_iter().map(|(at, value)| (Timestamp::from_millis(at), value)).collect())
            };
            SeriesHistory { key: key.clone(), interval_millis: growing.interval_millis, tier: Tier::Raw, points }
        };
        History { t, series: self.query.series.iter().zip(growing).map(finish).collect() }
    }
}

/// Takes the wanted values out of one collector's rows.
struct Reader<'a> {
    plan: &'a Plan<'a>,
    picker: Picker,
    /// In the picker's order: exponent and place in the query.
    wanted: Vec<(i8, usize)>,
    growing: &'a mut [Growing],
    points: &'a mut usize,
    broken: usize,
}

impl<'a> Reader<'a> {
    fn new(plan: &'a Plan<'a>, source: &Source, growing: &'a mut [Growing], points: &'a mut usize) -> Self {
        let picker = Picker::new(source.series.keys().copied().collect());
        Self { plan, picker, wanted: source.series.values().copied().collect(), growing, points, broken: 0 }
    }

    fn read(&mut self, row: &Row<'_>) -> Result<(), Fault> {
        let at: i64 = row.get(0)?;
        let body = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        let Self { plan, picker, wanted, growing, points, .. } = self;
        let interval = picker.pick(body, |place, integer| {
            let (exponent, place) = wanted[place];
            let value = from_integer(integer, exponent);
            let series = &mut growing[place];
            match &plan.grid {
                None => {
                    **points += 1;
                    // What is over the budget is not kept; the error follows.
                    if **points <= plan.query.budget.points {
                        series.raw.push((at, value));
                    }
                }
                Some(grid) => series.add(grid, at, value),
            }
            if at >= series.newest {
                series.newest = at;
            }
        });
        match interval {
            Some(interval) => {
                for (_, place) in &self.wanted {
                    let series = &mut self.growing[*place];
                    if series.newest == at {
                        series.interval_millis = interval;
                    }
                }
            }
            // One damaged row costs its own values, no others.
            None => {
                if self.broken == 0 {
                    tracing::warn!(row = row.get::<_, i64>(1)?, "a row of the history cannot be read");
                }
                self.broken += 1;
            }
        }
        if self.plan.grid.is_none() && *self.points > self.plan.query.budget.points {
            return Err(StoreError::TooManyPoints { allowed: self.plan.query.budget.points }.into());
        }
        Ok(())
    }
}

impl Growing {
    fn add(&mut self, grid: &Grid, at: i64, value: f64) {
        let place = usize::try_from(at.div_euclid(grid.step) - grid.first).ok();
        let Some(bucket) = place.and_then(|place| self.buckets.get_mut(place)) else { return };
        match bucket {
            None => *bucket = Some((at, Bucket::of(value))),
            Some((last_at, bucket)) => {
                let last = bucket.last;
                bucket.add(value);
                // Rows that arrived late are read after the others.
                if at < *last_at {
                    bucket.last = last;
                } else {
                    *last_at = at;
                }
            }
        }
    }
}

pub(super) fn replay(
    tx: &Transaction<'_>,
    after: RowNumber,
    each: &mut dyn FnMut(RowNumber, Arrival),
) -> Result<Replayed, Fault> {
    let mut statement = tx.prepare(
        "SELECT arrival.*, host.id AS host_id, outbox.id AS outbox_id FROM arrival
         JOIN host ON host.number = arrival.host
         LEFT JOIN host AS outbox ON outbox.number = arrival.outbox
         WHERE row > ?1 ORDER BY row",
    )?;
    let mut frame = tx.prepare("SELECT body FROM frame WHERE number = ?1")?;
    let mut frames: HashMap<i64, Option<Frame>> = HashMap::new();
    let mut replayed = Replayed::default();
    let mut rows = statement.query([i64::try_from(after).unwrap_or(i64::MAX)])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get("frame")?;
        if frames.len() >= FRAMES {
            frames.clear();
        }
        let frame = match frames.entry(number) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let body: Option<Vec<u8>> = frame.query_row([number], |row| row.get(0)).optional()?;
                vacant.insert(body.and_then(|body| serde_json::from_slice(&body).ok()))
            }
        };
        match frame.as_ref().map_or(Ok(None), |frame| arrival(row, frame))? {
            Some(arrival) => {
                replayed.reports += 1;
                each(row.get::<_, i64>("row")?.cast_unsigned(), arrival);
            }
            None => replayed.unreadable += 1,
        }
    }
    if replayed.unreadable > 0 {
        tracing::warn!(reports = replayed.unreadable, "reports could not be replayed");
    }
    Ok(replayed)
}

fn arrival(row: &Row<'_>, frame: &Frame) -> rusqlite::Result<Option<Arrival>> {
    let host = HostId::from_bytes(row.get("host_id")?);
    let number = |column: &str| row.get::<_, i64>(column);
    let time = |column: &str| number(column).map(Timestamp::from_millis);
    let parts = RowParts {
        host,
        position: Position { epoch: number("epoch")?.cast_unsigned(), sequence: number("sequence")?.cast_unsigned() },
        moment: Moment { wall: time("wall")?, boot_millis: number("boot_millis")?.cast_unsigned() },
        events: row.get_ref("events")?.as_str_or_null()?,
        body: row.get_ref("body")?.as_blob()?,
        unkept: row.get_ref("unkept")?.as_blob_or_null()?,
    };
    let Some(report) = frame.report(&parts) else { return Ok(None) };
    Ok(Some(Arrival {
        outbox: row.get::<_, Option<[u8; 16]>>("outbox_id")?.map_or(host, HostId::from_bytes),
        report: report.into(),
        at: time("at")?,
        received_at: time("received_at")?,
        quarantined: row.get("quarantined")?,
    }))
}
