//! systemd: its services and timers, as it tells over the system bus, and what
//! they use, from their control groups.
//!
//! Each run asks once for the list of units. More is asked of a unit only when
//! it is new, its state changed or its control group began anew, and once in a
//! while; what it uses is read from the kernel, which costs systemd nothing.
//! One connection is kept.

mod manager;
mod timer;
mod unit;

use std::collections::HashMap;
use std::time::Duration;

use tomte_model::report::Table;
use tomte_model::{Facet, Moment, Outcome, Scope, Timestamp, Value};

use crate::Collector;
use crate::cgroup::{Group, GroupReader, Meter, Trees, Usage};
use crate::dbus::BusError;
use crate::recent::Recent;
use crate::root::Root;
use crate::settings::{ServiceSettings, Settings};
pub(crate) use manager::{Manager, Unit, fuzz_units};
use timer::Timers;
pub(crate) use unit::Detail;

/// The names of the scopes.
pub(crate) const SCOPES: &[&str] = &["systemd", "service", "timer"];

/// All of one run must be over by then; the collector's own deadline is later.
const WITHIN: Duration = Duration::from_secs(4);
/// Details that nothing points to are asked for again after this long.
const LOOK_AGAIN: u64 = 300_000;
/// So many of those in one run.
const AGAIN_AT_ONCE: usize = 5;
/// So many units are asked after in one run, whatever happens; the others wait.
const AT_ONCE: usize = 100;
/// More units are not reported; the count tells of them.
const MOST: usize = 2_000;
/// Failed units that the table lists.
const LISTED: usize = 50;

/// What every machine has and nobody watches; shown when it fails or is named.
const QUIET: &[&str] =
    &["systemd-", "user@", "user-runtime-dir@", "getty@", "serial-getty@", "container-getty@", "modprobe@"];

/// The collector `systemd`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Systemd {
        root: root.clone(),
        settings: settings.service.clone(),
        manager: None,
        trees: Trees::find(root),
        reader: GroupReader::default(),
        known: HashMap::new(),
        timers: Timers::default(),
    })
}

struct Systemd {
    root: Root,
    settings: ServiceSettings,
    manager: Option<Manager>,
    trees: Option<Trees>,
    reader: GroupReader,
    known: HashMap<String, Known>,
    timers: Timers,
}

/// What is kept of a unit from run to run.
#[derive(Default)]
struct Known {
    detail: Option<Detail>,
    /// The state in which it was last asked after.
    state: (String, String),
    looked: u64,
    group: Option<Group>,
    meter: Meter,
    restarts: Recent,
    /// Seen in this run.
    seen: bool,
}

impl Collector for Systemd {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        match self.look(now) {
            Ok(scopes) => scopes,
            Err(outcome) => SCOPES.iter().map(|name| Scope::failed(*name, outcome.clone())).collect(),
        }
    }
}

impl Systemd {
    fn look(&mut self, now: Moment) -> Result<Vec<Scope>, Outcome> {
        let mut manager = match self.manager.take() {
            Some(manager) => manager,
            None => Manager::open(&self.root, WITHIN)?,
        };
        manager.within(WITHIN);
        let scopes = self.ask(&mut manager, now);
        // An answer that refuses leaves the connection good; a broken one is
        // opened anew in the next run.
        if scopes.as_ref().is_ok_and(|_| true) || scopes.as_ref().is_err_and(BusError::is_answer) {
            self.manager = Some(manager);
        }
        scopes.map_err(|error| error.outcome())
    }

    fn ask(&mut self, manager: &mut Manager, now: Moment) -> Result<Vec<Scope>, BusError> {
        let mut units = manager.units()?;
        for name in self.settings.names.literals() {
            let name = full(name);
            if !units.iter().any(|unit| unit.name == name) {
                units.push(Unit { name, ..Unit::default() });
            }
        }
        let state = manager.state()?;
        let systemd = summary(manager.version(), &state, &units);
        let mut asked = (0, 0);
        let mut services = Vec::new();
        for unit in &units {
            if services.len() == MOST || !self.may_show(unit) {
                continue;
            }
            let mut usage = self.usage(unit);
            if self.is_to_be_asked(unit, &usage, now, &mut asked) {
                self.ask_after(manager, unit, now)?;
                // It may have another group now.
                usage = self.usage(unit);
            }
            services.extend(self.service(unit, &usage, now));
        }
        self.known.retain(|_, known| std::mem::take(&mut known.seen));
        let timers = self.timers.collect(manager, &units, &self.settings.timers, now)?;
        Ok(vec![
            Scope::complete("systemd", vec![systemd]),
            Scope::complete("service", services),
            Scope::complete("timer", timers),
        ])
    }

    /// Whether there may be something to show of it; what it is must be known
    /// before this can be said for good.
    fn may_show(&self, unit: &Unit) -> bool {
        let (names, short) = (&self.settings.names, short(&unit.name));
        if names.includes(short) || names.includes(&unit.name) {
            return true;
        }
        if !names.matches(short) || !names.matches(&unit.name) {
            return false;
        }
        if unit.active == "failed" {
            return true;
        }
        unit.name.ends_with(".service")
            && unit.load == "loaded"
            && unit.sub != "exited"
            && !QUIET.iter().any(|quiet| unit.name.starts_with(quiet))
    }

    /// What it uses; nothing where its group is not known.
    fn usage(&mut self, unit: &Unit) -> Usage {
        let group = self.known.get(&unit.name).and_then(|known| known.group.as_ref());
        group.map(|group| self.reader.read(group)).unwrap_or_default()
    }

    fn is_to_be_asked(&mut self, unit: &Unit, usage: &Usage, now: Moment, asked: &mut (usize, usize)) -> bool {
        if !self.known.contains_key(&unit.name) {
            self.known.insert(unit.name.clone(), Known::default());
        }
        let Some(known) = self.known.get_mut(&unit.name) else { return false };
        known.seen = true;
        let changed = known.detail.is_none()
            || (known.state.0.as_str(), known.state.1.as_str()) != (&*unit.active, &*unit.sub)
            || known.meter.began_anew(usage);
        let old = now.boot_millis.saturating_sub(known.looked) >= LOOK_AGAIN || now.boot_millis < known.looked;
        // What stands still does not change by itself.
        let again = old && unit.active != "inactive" && asked.1 < AGAIN_AT_ONCE;
        if asked.0 >= AT_ONCE || !(changed || again) {
            return false;
        }
        asked.0 += 1;
        asked.1 += usize::from(!changed);
        true
    }

    fn ask_after(&mut self, manager: &mut Manager, unit: &Unit, now: Moment) -> Result<(), BusError> {
        let detail = match manager.detail(&unit.name) {
            Ok(detail) => Some(detail),
            // It has gone since it was listed.
            Err(error) if error.is_answer() => None,
            Err(error) => return Err(error),
        };
        let known = self.known.entry(unit.name.clone()).or_default();
        let path = detail.as_ref().map(|detail| detail.control_group.as_str()).filter(|path| !path.is_empty());
        known.group = path.zip(self.trees.as_ref()).and_then(|(path, trees)| trees.group(path));
        known.detail = detail;
        known.state = (unit.active.clone(), unit.sub.clone());
        known.looked = now.boot_millis;
        Ok(())
    }

    fn service(&mut self, unit: &Unit, usage: &Usage, now: Moment) -> Option<Facet> {
        let known = self.known.get_mut(&unit.name)?;
        let detail = known.detail.as_ref()?;
        let named = self.settings.names.includes(short(&unit.name)) || self.settings.names.includes(&unit.name);
        let (active, sub) = match unit.active.as_str() {
            // Not listed, and so not loaded: the details tell.
            "" => (detail.active.as_str(), detail.sub.as_str()),
            active => (active, unit.sub.as_str()),
        };
        let missing = detail.load == "not-found";
        if !named && (missing || (active == "inactive" && !detail.was_stopped(active))) {
            return None;
        }
        let mut facet = Facet::owner("service", short(&unit.name), "main");
        facet.text("description", if unit.description.is_empty() { &detail.description } else { &unit.description });
        facet.text("state", if missing { "not-found" } else { active });
        facet.text("sub_state", sub);
        facet.text("since", moment(detail.changed));
        facet.text("type", &detail.kind);
        facet.text("enabled", &detail.enabled);
        let failed = active == "failed";
        if failed {
            facet.text("result", detail.why());
        }
        if active == "inactive" && !missing {
            facet.flag("stopped_by_user", detail.was_stopped(active));
        }
        let running = matches!(active, "active" | "reloading" | "refreshing");
        facet.read("running", f64::from(u8::from(running)));
        let weight = if detail.should_run_on() { 2.0 } else { 1.0 };
        facet.read("failed", if failed { weight } else { 0.0 });
        if self.settings.names.literals().any(|name| full(name) == unit.name) {
            facet.read("missing", f64::from(u8::from(missing)));
        }
        if let Some(restarts) = detail.restarts {
            facet.read("restarts", restarts as f64);
            facet.read("recent_restarts", known.restarts.note(now, restarts) as f64);
        }
        if known.group.is_some() {
            known.meter.fill(&mut facet, now, usage);
            facet.read("oom_kills", usage.oom_kills.map(|kills| kills as f64));
        }
        Some(facet)
    }
}

fn summary(version: &str, state: &str, units: &[Unit]) -> Facet {
    let mut facet = Facet::owner("systemd", "systemd", "main");
    facet.text("version", version);
    facet.text("state", state);
    let failed: Vec<&Unit> = units.iter().filter(|unit| unit.active == "failed").collect();
    facet.read("units", units.iter().filter(|unit| !unit.load.is_empty()).count() as f64);
    facet.read("failed_units", failed.len() as f64);
    facet.read("jobs", units.iter().filter(|unit| unit.has_job).count() as f64);
    let cell = |text: &str| Some(Value::Text(text.to_owned()));
    let row = |unit: &&Unit| vec![cell(&unit.name), cell(&unit.sub), cell(&unit.description)];
    let columns = ["unit", "sub_state", "description"].map(Into::into).to_vec();
    facet.tables.push(Table { name: "failed".into(), columns, rows: failed.iter().take(LISTED).map(row).collect() });
    facet
}

/// The name as the resource has it.
pub(crate) fn short(unit: &str) -> &str {
    unit.strip_suffix(".service").unwrap_or(unit)
}

/// What systemd calls it: a name without a type is that of a service.
pub(crate) fn full(name: &str) -> String {
    const TYPES: &[&str] =
        &["service", "timer", "socket", "mount", "automount", "swap", "target", "path", "slice", "scope", "device"];
    match name.rsplit_once('.') {
        Some((_, kind)) if TYPES.contains(&kind) => name.to_owned(),
        _ => format!("{name}.service"),
    }
}

/// Microseconds since 1970, as people write them; empty where there are none.
fn moment(micros: Option<u64>) -> String {
    micros
        .and_then(|micros| i64::try_from(micros / 1000).ok())
        .map(Timestamp::from_millis)
        .map_or_else(String::new, |at| at.to_string())
}

#[cfg(test)]
mod tests;
