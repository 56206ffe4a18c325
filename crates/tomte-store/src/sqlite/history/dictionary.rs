//! The writer's dictionary: the numbers that stand for hosts, collectors,
//! series and frames, and the series cap.
//!
//! It is a cache of the database. After a failed transaction it may name what
//! was never written, so [`Dictionary::forget`] empties it, and it fills again
//! from the tables.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use tomte_model::{Catalogue, HostId, Name, Report, ResourceKey};

use super::body;
use super::frame::{self, Frame};
use super::names::Named;
use super::retention::Rules;
use crate::codec::AS_DOUBLE;
use crate::history::Arrival;
use crate::sqlite::Fault;

/// How many collectors of a host have history. Those of one agent are a few
/// dozen; what is beyond counts as over the series limit.
const MAX_COLLECTORS: usize = 200;

/// How many of a collector's layouts and frames are remembered: enough for one
/// that comes and goes between a few forms.
const REMEMBERED: usize = 4;

/// How long a kind, a name or a field may be to have a series.
const MAX_NAME: usize = 1024;

/// A series that had no reading for so long does not count against the limit:
/// containers come and go. The time that is known of it may lag by a day.
const RETIRED_AFTER: i64 = 3 * 86_400_000;

/// Where a reading of a report goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Slot {
    /// Into a series.
    #[serde(rename = "s")]
    Series {
        /// Its number.
        #[serde(rename = "n")]
        number: u64,
        /// Its resolution's power of ten, or [`AS_DOUBLE`].
        #[serde(rename = "e")]
        exponent: i8,
    },
    /// Nowhere: no history of it is wanted.
    #[serde(rename = "n")]
    NotKept,
    /// Nowhere: the host has too many series.
    #[serde(rename = "o")]
    OverLimit,
    /// Nowhere: it is there twice, or its name is too long.
    #[serde(rename = "u")]
    Unfit,
}

/// A report, ready to be written.
#[derive(Debug)]
pub(super) struct Filing {
    pub(super) collector: i64,
    pub(super) frame: i64,
    pub(super) body: Vec<u8>,
    pub(super) unkept: Option<Vec<u8>>,
    pub(super) kept: usize,
    pub(super) over_limit: usize,
    pub(super) unfit: usize,
}

/// Numbers for names.
#[derive(Debug)]
pub(super) struct Dictionary {
    series_per_host: usize,
    rules: Rules,
    /// Series that were made since the last commit.
    pub(super) fresh: Vec<(HostId, Named)>,
    hosts: HashMap<HostId, HostEntry>,
    /// What the remembered layouts took the resolutions from.
    catalogue: Option<Arc<Catalogue>>,
    /// Counts layouts, so that a frame belongs to one of them.
    generation: u64,
    /// Every name of every report goes through it, so it is a quick one. It
    /// only tells an agent's own reports apart.
    hashing: RandomState,
}

#[derive(Debug)]
struct HostEntry {
    number: i64,
    series: usize,
    collectors: HashMap<Name, CollectorEntry>,
}

#[derive(Debug)]
struct CollectorEntry {
    number: i64,
    /// Beyond the host's share: nothing of it is kept.
    beyond: bool,
    layouts: Vec<Layout>,
    /// Hash and number.
    frames: Vec<(u64, i64)>,
}

/// Where each reading of a report of one shape goes.
#[derive(Debug)]
struct Layout {
    shape: u64,
    generation: u64,
    slots: Vec<Slot>,
    /// The readings that have a series, by the series' number.
    order: Vec<usize>,
}

impl Dictionary {
    pub(super) fn new(series_per_host: usize, rules: Rules) -> Self {
        Self {
            series_per_host,
            rules,
            fresh: Vec::new(),
            hosts: HashMap::new(),
            catalogue: None,
            generation: 0,
            hashing: RandomState::default(),
        }
    }

    /// Forgets everything; it is read again when it is needed.
    pub(super) fn forget(&mut self) {
        self.fresh.clear();
        self.hosts.clear();
    }

    /// Forgets a host.
    pub(super) fn forget_host(&mut self, host: HostId) {
        self.hosts.remove(&host);
    }

    /// Forgets the series of hosts by number: some were deleted.
    pub(super) fn forget_series(&mut self, hosts: &HashSet<i64>) {
        self.hosts.retain(|_, entry| !hosts.contains(&entry.number));
    }

    /// The number of a host, made if need be.
    pub(super) fn host(&mut self, tx: &Transaction<'_>, id: HostId, at: i64) -> Result<i64, Fault> {
        Ok(self.host_entry(tx, id, at)?.number)
    }

    fn host_entry(&mut self, tx: &Transaction<'_>, id: HostId, at: i64) -> Result<&mut HostEntry, Fault> {
        match self.hosts.entry(id) {
            std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let number = tx
                    .prepare_cached("SELECT number FROM host WHERE id = ?1")?
                    .query_row([id.to_bytes()], |row| row.get(0))
                    .optional()?;
                let number = match number {
                    Some(number) => number,
                    None => {
                        tx.execute("INSERT INTO host (id) VALUES (?1)", [id.to_bytes()])?;
                        tx.last_insert_rowid()
                    }
                };
                let series = active_series(tx, number, at)?;
                Ok(vacant.insert(HostEntry { number, series, collectors: HashMap::new() }))
            }
        }
    }

    /// Puts a report into numbers; new names are written.
    pub(super) fn file(
        &mut self,
        tx: &Transaction<'_>,
        arrival: &Arrival,
        catalogue: &Arc<Catalogue>,
    ) -> Result<Filing, Fault> {
        self.take_catalogue(catalogue);
        let report = &*arrival.report;
        let at = arrival.at.millis();
        let hashing = self.hashing.clone();
        let limit = self.series_per_host;
        let generation = &mut self.generation.clone();
        let rules = self.rules.clone();
        let mut fresh = Vec::new();
        let host = self.host_entry(tx, report.host, at)?;
        let host_number = host.number;
        if !host.collectors.contains_key(&report.collector) {
            let entry = collector(tx, host, &report.collector)?;
            host.collectors.insert(report.collector.clone(), entry);
        }
        let entry = host.collectors.get_mut(&report.collector).expect("it was just put there");

        let mut hasher = hashing.build_hasher();
        frame::hash_shape(report, &mut hasher);
        let shape = hasher.finish();
        match entry.layouts.iter().position(|layout| layout.shape == shape) {
            // The newest first.
            Some(place) => entry.layouts[..=place].rotate_right(1),
            None => {
                *generation += 1;
                let limit = if entry.beyond { 0 } else { limit };
                let mut maker = Maker {
                    tx,
                    host: host_number,
                    collector: entry.number,
                    at,
                    limit,
                    rules: &rules,
                    fresh: &mut fresh,
                };
                let slots = maker.slots(report, catalogue, &mut host.series)?;
                let mut order: Vec<usize> = (0..slots.len()).collect();
                order.retain(|index| matches!(slots[*index], Slot::Series { .. }));
                order.sort_by_key(|index| match slots[*index] {
                    Slot::Series { number, .. } => number,
                    _ => 0,
                });
                let layout = Layout { shape, generation: *generation, slots, order };
                entry.layouts.insert(0, layout);
                entry.layouts.truncate(REMEMBERED);
            }
        }
        let layout = &mut entry.layouts[0];

        hasher.write_u64(layout.generation);
        frame::hash_rest(report, &mut hasher);
        let hash = hasher.finish();
        let frame = match entry.frames.iter().position(|(known, _)| *known == hash) {
            Some(place) => {
                entry.frames[..=place].rotate_right(1);
                entry.frames[0].1
            }
            None => {
                let frame = serde_json::to_vec(&Frame::of(report, &layout.slots))?;
                tx.prepare_cached("INSERT INTO frame (body) VALUES (?1)")?.execute([frame])?;
                let number = tx.last_insert_rowid();
                entry.frames.insert(0, (hash, number));
                entry.frames.truncate(REMEMBERED);
                number
            }
        };
        let filing = values(arrival, layout, (entry.number, frame));
        self.generation = *generation;
        self.fresh.append(&mut fresh);
        Ok(filing)
    }

    /// Layouts hold resolutions: a changed catalogue makes them anew.
    fn take_catalogue(&mut self, catalogue: &Arc<Catalogue>) {
        match &self.catalogue {
            Some(known) if Arc::ptr_eq(known, catalogue) => return,
            Some(known) if known == catalogue => {}
            _ => {
                for collector in self.hosts.values_mut().flat_map(|host| host.collectors.values_mut()) {
                    collector.layouts.clear();
                }
            }
        }
        self.catalogue = Some(Arc::clone(catalogue));
    }

    /// The frames that the next reports may refer to.
    pub(super) fn frames(&self) -> HashSet<i64> {
        let collectors = self.hosts.values().flat_map(|host| host.collectors.values());
        collectors.flat_map(|collector| &collector.frames).map(|(_, number)| *number).collect()
    }
}

/// The number of a host's collector, made if need be.
fn collector(tx: &Transaction<'_>, host: &HostEntry, name: &str) -> Result<CollectorEntry, Fault> {
    let entry = |number, beyond| CollectorEntry { number, beyond, layouts: Vec::new(), frames: Vec::new() };
    let find = |name: &str| {
        tx.prepare_cached("SELECT number FROM collector WHERE host = ?1 AND name = ?2")?
            .query_row((host.number, name), |row| row.get::<_, i64>(0))
            .optional()
    };
    let insert = |name: &str| {
        tx.execute("INSERT INTO collector (host, name) VALUES (?1, ?2)", (host.number, name))?;
        Ok::<_, rusqlite::Error>(tx.last_insert_rowid())
    };
    if let Some(number) = find(name)? {
        return Ok(entry(number, false));
    }
    let known: i64 = tx.query_row("SELECT count(*) FROM collector WHERE host = ?1", [host.number], |row| row.get(0))?;
    if usize::try_from(known).is_ok_and(|known| known < MAX_COLLECTORS) && name.len() <= MAX_NAME {
        return Ok(entry(insert(name)?, false));
    }
    // The rest share one without a name.
    let number = match find("")? {
        Some(number) => number,
        None => insert("")?,
    };
    Ok(entry(number, true))
}

/// Finds or makes the series of a report's readings.
struct Maker<'a> {
    tx: &'a Transaction<'a>,
    host: i64,
    collector: i64,
    at: i64,
    limit: usize,
    rules: &'a Rules,
    fresh: &'a mut Vec<(HostId, Named)>,
}

impl Maker<'_> {
    fn slots(&mut self, report: &Report, catalogue: &Catalogue, count: &mut usize) -> Result<Vec<Slot>, Fault> {
        let Self { tx, host, collector, at, limit, .. } = *self;
        if *count >= limit {
            *count = active_series(tx, host, at)?;
        }
        let mut find = tx.prepare_cached(
            "SELECT number FROM series
         WHERE host = ?1 AND collector = ?2 AND kind = ?3 AND name = ?4 AND field = ?5 AND exponent = ?6",
        )?;
        let mut insert = tx.prepare_cached(
            "INSERT INTO series (host, collector, kind, name, field, exponent, last_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        let mut seen: HashSet<(&ResourceKey, &str)> = HashSet::new();
        let mut slots = Vec::new();
        for facet in report.scopes.iter().flat_map(|scope| &scope.facets) {
            let ResourceKey { kind, name } = &facet.resource;
            let definition = catalogue.kind(kind);
            for (field, _) in &facet.readings {
                let lengths = [kind.len(), name.len(), field.len()];
                if !seen.insert((&facet.resource, field)) || lengths.iter().any(|length| *length > MAX_NAME) {
                    slots.push(Slot::Unfit);
                    continue;
                }
                if !self.rules.keeps(kind, field) {
                    slots.push(Slot::NotKept);
                    continue;
                }
                let exponent = definition
                    .and_then(|kind| kind.field(field))
                    .map_or(AS_DOUBLE, |field| field.resolution.exponent());
                let key = params![host, collector, kind, name, field, exponent];
                let known = find.query_row(key, |row| row.get::<_, i64>(0)).optional()?;
                let number = match known {
                    Some(number) => number,
                    None if *count >= limit => {
                        slots.push(Slot::OverLimit);
                        continue;
                    }
                    None => {
                        insert.execute(params![host, collector, kind, name, field, exponent, at])?;
                        *count += 1;
                        let number = tx.last_insert_rowid();
                        let (kind, name, field) = ((&**kind).into(), name.as_str().into(), (&**field).into());
                        let named = Named { kind, name, field, number: number.cast_unsigned(), collector, exponent };
                        self.fresh.push((report.host, named));
                        number
                    }
                };
                slots.push(Slot::Series { number: number.cast_unsigned(), exponent });
            }
        }
        Ok(slots)
    }
}

/// How many series of a host had a reading of late.
fn active_series(tx: &Transaction<'_>, host: i64, at: i64) -> Result<usize, Fault> {
    let count: i64 = tx
        .prepare_cached("SELECT count(*) FROM series WHERE host = ?1 AND last_at >= ?2")?
        .query_row((host, at.saturating_sub(RETIRED_AFTER)), |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Puts a report's values into bytes.
fn values(arrival: &Arrival, layout: &Layout, (collector, frame): (i64, i64)) -> Filing {
    let report = &*arrival.report;
    let readings: Vec<f64> = report
        .scopes
        .iter()
        .flat_map(|scope| &scope.facets)
        .flat_map(|facet| facet.readings.iter().map(|(_, value)| *value))
        .collect();
    let integer = |index: usize| match layout.slots[index] {
        Slot::Series { number, exponent } => Some((number, body::to_integer(readings[index], exponent)?)),
        Slot::NotKept | Slot::OverLimit | Slot::Unfit => None,
    };
    let integers: Vec<(u64, u64)> = layout.order.iter().filter_map(|index| integer(*index)).collect();
    let kept = integers.len();
    let (mut over_limit, mut not_kept) = (0, 0);
    let mut unkept = Vec::new();
    if kept < readings.len() {
        for (index, value) in readings.iter().enumerate() {
            if integer(index).is_some() || !value.is_finite() {
                continue;
            }
            over_limit += usize::from(layout.slots[index] == Slot::OverLimit);
            not_kept += usize::from(layout.slots[index] == Slot::NotKept);
            frame::put_unkept(&mut unkept, index, *value);
        }
    }
    let skew = report.moment.wall.millis().wrapping_sub(arrival.at.millis());
    Filing {
        collector,
        frame,
        body: body::encode(report.interval_millis, skew, &integers),
        unkept: (!unkept.is_empty()).then_some(unkept),
        kept,
        over_limit,
        unfit: readings.len() - kept - over_limit - not_kept,
    }
}
