//! Readings from elsewhere: the history of another system, or an export.
//!
//! All of a request is looked at before any of it is written. What is there
//! already is passed over, so that the same file can be imported again after
//! an interruption. What is imported is history alone: it changes no latest
//! state and makes no change of state.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tomte_api::history::{Import, ImportSeries, Imported};
use tomte_model::{BootId, Facet, HostId, HostName, Moment, Position, Report, ResourceKey, Scope, Timestamp};
use tomte_store::history::{Points, Query, SeriesKey, import_outbox};
use tomte_store::{Arrival, Budget, StoreError};

use crate::access::Admin;
use crate::{Hub, HubError};

/// How many readings one request may hold.
const MAX_READINGS: usize = 100_000;
/// How far ahead of the hub's clock a reading may be.
const AHEAD: Duration = Duration::from_secs(300);
/// How long a name may be.
const MAX_NAME: usize = 1024;
/// So many reports are on their way to the disk at a time: a group of them is
/// committed at once.
const TOGETHER: usize = 256;
/// Who brought it, as the history has it.
const COLLECTOR: &str = "import";

/// One series with its readings, checked.
struct Checked {
    key: SeriesKey,
    readings: Vec<(i64, f64)>,
}

impl Hub {
    /// Takes readings in.
    ///
    /// # Errors
    /// When any of it makes no sense; then none of it is taken in.
    pub async fn import(self: &Arc<Self>, by: &Admin, import: Import) -> Result<Imported, HubError> {
        let count: usize = import.series.iter().map(|series| series.t.len()).sum();
        if count > MAX_READINGS {
            return Err(HubError::Invalid(format!("{count} readings at once; at most {MAX_READINGS} are taken")));
        }
        let now = self.now();
        for (index, series) in import.series.iter().enumerate() {
            check(series, now).map_err(|why| HubError::Invalid(format!("series {index}: {why}")))?;
        }
        let hosts = self.import_hosts(by, &import).await?;
        self.change(by.actor(), "history.import", move |hub, line| {
            line.details.insert("readings".to_owned(), count.to_string());
            let mut checked = Vec::with_capacity(import.series.len());
            for series in import.series {
                let Some(&host) = hosts.get(&series.host) else { continue };
                checked.push(unique(host, series));
            }
            let known = hub.pass_over_known(&mut checked, now)?;
            let mut imported = hub.write_imported(checked, now)?;
            imported.known = known;
            Ok(imported)
        })
        .await
    }

    /// The hosts by the names that are used for them. Those that are not known
    /// are made if that is wanted.
    async fn import_hosts(self: &Arc<Self>, by: &Admin, import: &Import) -> Result<BTreeMap<String, HostId>, HubError> {
        let mut hosts = BTreeMap::new();
        for series in &import.series {
            if hosts.contains_key(&series.host) {
                continue;
            }
            let id = match self.find_host(&series.host) {
                Some(id) => id,
                None if import.add_hosts => {
                    let name: HostName = series
                        .host
                        .parse()
                        .map_err(|error| HubError::Invalid(format!("{:?}: {error}", series.host)))?;
                    self.add_via_host(by, name).await?
                }
                None => return Err(HubError::NotFound { what: "host", name: series.host.clone() }),
            };
            hosts.insert(series.host.clone(), id);
        }
        Ok(hosts)
    }

    /// Drops the readings that are there already. Where single readings are
    /// kept no longer, those are of whose step something is known.
    fn pass_over_known(&self, checked: &mut [Checked], now: Timestamp) -> Result<u64, StoreError> {
        let config = self.config();
        let raw_from = now.minus(config.history.raw.0).millis();
        let minutes_from = now.minus(config.history.five_minutes.0).millis();
        let mut known = 0;
        for series in checked {
            let Some((first, last)) = series.readings.first().zip(series.readings.last()) else { continue };
            let (first, last) = (first.0, last.0);
            let there: HashSet<i64> = self.times(&series.key, first, last, None)?;
            let mut steps: Vec<(i64, i64, HashSet<i64>)> = Vec::new();
            for (step, from, to) in [(300_000, minutes_from, raw_from), (3_600_000, i64::MIN, minutes_from)] {
                let (from, to) = (first.max(from), last.min(to));
                if from <= to {
                    steps.push((step, to, self.times(&series.key, from, to, Some(step))?));
                }
            }
            let before = series.readings.len();
            series.readings.retain(|(t, _)| {
                let in_step = |(step, to, found): &(i64, i64, HashSet<i64>)| {
                    t <= to && found.contains(&(t.div_euclid(*step) * step))
                };
                // A step that is made of readings still there is not done yet.
                !(there.contains(t) || (there.is_empty() && steps.iter().any(in_step)))
            });
            known += (before - series.readings.len()) as u64;
        }
        Ok(known)
    }

    /// The times at which a series has readings, or steps that have some.
    fn times(&self, key: &SeriesKey, first: i64, last: i64, step: Option<i64>) -> Result<HashSet<i64>, StoreError> {
        let query = Query {
            series: vec![key.clone()],
            from: Timestamp::from_millis(first),
            to: Timestamp::from_millis(last.saturating_add(1)),
            step: step.map(|step| Duration::from_millis(step.unsigned_abs())),
            budget: Budget::points(10_000_000),
        };
        let found = self.store.history.query(&query)?;
        let steps = found.t;
        let mut times = HashSet::new();
        for series in found.series {
            match series.points {
                Points::Raw(points) => times.extend(points.iter().map(|(t, _)| t.millis())),
                Points::Stepped(buckets) => {
                    times.extend(steps.iter().zip(&buckets).filter(|(_, b)| b.is_some()).map(|(t, _)| t.millis()));
                }
            }
        }
        Ok(times)
    }

    /// Writes the readings, a report per host and moment, and waits until they
    /// are durable.
    fn write_imported(&self, checked: Vec<Checked>, now: Timestamp) -> Result<Imported, StoreError> {
        let mut moments: BTreeMap<(i64, HostId), BTreeMap<ResourceKey, Facet>> = BTreeMap::new();
        for series in checked {
            let SeriesKey { host, resource, field } = series.key;
            for (t, value) in series.readings {
                let facets = moments.entry((t, host)).or_default();
                let facet = facets
                    .entry(resource.clone())
                    .or_insert_with(|| Facet::owner(resource.kind.clone(), resource.name.clone(), COLLECTOR));
                facet.read(field.clone(), value);
            }
        }
        // Every request is a life of its own of the outbox, later than the last.
        let epoch = self.imports.fetch_max(now.millis().unsigned_abs(), std::sync::atomic::Ordering::SeqCst);
        let epoch = epoch.max(now.millis().unsigned_abs()) + 1;
        self.imports.fetch_max(epoch, std::sync::atomic::Ordering::SeqCst);
        let catalogue = self.catalogue();
        let mut imported = Imported::default();
        let (told, answers) = mpsc::channel();
        let mut waiting = 0;
        let mut moments = (1..).zip(moments).peekable();
        while let Some((sequence, ((t, host), facets))) = moments.next() {
            let at = Timestamp::from_millis(t);
            let report = Report {
                host,
                collector: COLLECTOR.into(),
                position: Position { epoch, sequence },
                boot_id: BootId(0),
                moment: Moment { wall: at, boot_millis: 0 },
                clock_synchronised: true,
                interval_millis: 0,
                scopes: vec![Scope::complete(COLLECTOR, facets.into_values().collect())],
                events: Vec::new(),
            };
            let arrival = Arrival {
                outbox: import_outbox(),
                report: Arc::new(report),
                at,
                received_at: now,
                quarantined: false,
                turn: None,
            };
            let told = told.clone();
            self.store.history.append(arrival, Arc::clone(&catalogue), Box::new(move |result| drop(told.send(result))));
            waiting += 1;
            if waiting == TOGETHER || moments.peek().is_none() {
                for result in answers.iter().take(std::mem::take(&mut waiting)) {
                    let receipt = result?;
                    imported.taken += receipt.kept as u64;
                    imported.refused += (receipt.over_limit + receipt.unfit) as u64;
                }
            }
        }
        Ok(imported)
    }
}

/// Whether a series' readings can be history.
fn check(series: &ImportSeries, now: Timestamp) -> Result<(), String> {
    let word = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && text.starts_with(|first: char| first.is_ascii_lowercase())
    };
    for (what, text) in [("kind", &series.kind), ("field", &series.field)] {
        if !word(text) || text.len() > MAX_NAME {
            return Err(format!("{text:?} is no {what}: a-z, 0-9 and _, beginning with a letter"));
        }
    }
    if series.name.is_empty() || series.name.len() > MAX_NAME || series.name.chars().any(char::is_control) {
        return Err(format!("{:?} is no name of a resource", series.name));
    }
    if series.t.len() != series.values.len() {
        return Err(format!("{} times and {} values", series.t.len(), series.values.len()));
    }
    let latest = now.plus(AHEAD).millis();
    for (t, value) in series.t.iter().zip(&series.values) {
        if *t <= 0 || *t > latest {
            return Err(format!("{} is no time of a reading: it is {now}", Timestamp::from_millis(*t)));
        }
        if !value.is_finite() {
            return Err(format!("{value} is no reading"));
        }
    }
    Ok(())
}

/// The readings by time, each time once: of two, the last counts.
fn unique(host: HostId, series: ImportSeries) -> Checked {
    let resource = ResourceKey::new(series.kind, series.name);
    let readings: BTreeMap<i64, f64> = series.t.into_iter().zip(series.values).collect();
    Checked { key: SeriesKey { host, resource, field: series.field.into() }, readings: readings.into_iter().collect() }
}
