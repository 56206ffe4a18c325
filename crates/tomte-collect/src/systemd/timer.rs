//! The timers of systemd.

use std::collections::HashMap;

use rustix::time::{ClockId, clock_gettime};
use tomte_model::{Facet, Moment};

use super::manager::{Manager, Unit};
use super::moment;
use super::unit::Detail;
use crate::dbus::BusError;
use crate::settings::Filter;

/// A timer is asked after once in so many milliseconds, and when it is due.
const LOOK_AGAIN: u64 = 300_000;
/// So many of them in one run; the others wait for the next.
const AT_ONCE: usize = 30;
/// Ages are told in whole minutes, so that they are not news in every report.
const STEP: f64 = 60.0;

/// What is kept of timers from run to run.
#[derive(Default)]
pub(super) struct Timers {
    known: HashMap<String, Known>,
}

struct Known {
    detail: Detail,
    /// How its unit fared; empty where there is nothing to tell.
    result: String,
    state: (String, String),
    looked: u64,
    seen: bool,
}

impl Timers {
    pub(super) fn collect(
        &mut self,
        manager: &mut Manager,
        units: &[Unit],
        filter: &Filter,
        now: Moment,
    ) -> Result<Vec<Facet>, BusError> {
        let monotonic = clock_gettime(ClockId::Monotonic);
        let monotonic = monotonic.tv_sec.unsigned_abs() * 1_000_000 + monotonic.tv_nsec.unsigned_abs() / 1000;
        let mut facets = Vec::new();
        let mut asked = 0;
        for unit in units {
            let Some(name) = unit.name.strip_suffix(".timer").filter(|_| unit.load == "loaded") else { continue };
            if !filter.matches(name) {
                continue;
            }
            let due = self.known.get(&unit.name).is_none_or(|known| {
                (known.state.0.as_str(), known.state.1.as_str()) != (&*unit.active, &*unit.sub)
                    || now.boot_millis.saturating_sub(known.looked) >= LOOK_AGAIN
                    || now.boot_millis < known.looked
                    || known.detail.until_next(now, monotonic) == Some(0.0)
            });
            if due && asked < AT_ONCE {
                asked += 1;
                let Some(known) = ask(manager, unit, now)? else { continue };
                self.known.insert(unit.name.clone(), known);
            }
            if let Some(known) = self.known.get_mut(&unit.name) {
                known.seen = true;
                facets.push(facet(name, unit, known, now, monotonic));
            }
        }
        self.known.retain(|_, known| std::mem::take(&mut known.seen));
        Ok(facets)
    }
}

/// `None` when it has gone since it was listed.
fn ask(manager: &mut Manager, unit: &Unit, now: Moment) -> Result<Option<Known>, BusError> {
    let or_gone = |answer: Result<Detail, BusError>| match answer {
        Ok(detail) => Ok(Some(detail)),
        Err(error) if error.is_answer() => Ok(None),
        Err(error) => Err(error),
    };
    let Some(detail) = or_gone(manager.detail(&unit.name))? else { return Ok(None) };
    let started = or_gone(manager.detail(&detail.starts))?;
    // Before its first run there is nothing to tell.
    let result = started.filter(|_| detail.last_trigger.is_some()).map_or_else(String::new, |unit| unit.why());
    let state = (unit.active.clone(), unit.sub.clone());
    Ok(Some(Known { detail, result, state, looked: now.boot_millis, seen: true }))
}

fn facet(name: &str, unit: &Unit, known: &Known, now: Moment, monotonic: u64) -> Facet {
    let detail = &known.detail;
    let mut facet = Facet::owner("timer", name, "main");
    facet.text("unit", &detail.starts);
    facet.text("state", &unit.active);
    facet.text("last_run", moment(detail.last_trigger));
    let until = detail.until_next(now, monotonic).filter(|_| unit.active == "active");
    let next = until.map(|until| (now.wall.millis().max(0).unsigned_abs() + (until * 1000.0) as u64) * 1000);
    // By the monotonic clock the time would waver by what passes meanwhile.
    facet.text("next_run", moment(detail.next_trigger.0.filter(|_| until.is_some()).or(next.map(whole_seconds))));
    facet.text("last_result", &known.result);
    let step = |seconds: f64| (seconds / STEP).floor() * STEP;
    let ago = detail.last_trigger.map(|then| now.wall.millis() as f64 / 1e3 - then as f64 / 1e6);
    facet.read("since_last_run_seconds", ago.map(|ago| step(ago.max(0.0))));
    facet.read("until_next_run_seconds", until.map(step));
    facet
}

fn whole_seconds(micros: u64) -> u64 {
    micros / 1_000_000 * 1_000_000
}

impl Detail {
    /// How many seconds until it starts its unit, by whichever clock is first.
    fn until_next(&self, now: Moment, monotonic: u64) -> Option<f64> {
        let wall = now.wall.millis().max(0).unsigned_abs() * 1000;
        let left = |next: Option<u64>, now: u64| next.map(|next| next.saturating_sub(now));
        let (by_wall, by_monotonic) = (left(self.next_trigger.0, wall), left(self.next_trigger.1, monotonic));
        [by_wall, by_monotonic].into_iter().flatten().min().map(|micros| micros as f64 / 1e6)
    }
}
