//! What the agent reports on itself: one resource a collector (kind
//! `collector`: how long it took, how it went), and the agent's own (kind
//! `agent`: memory, CPU, outbox).

use std::collections::BTreeMap;
use std::time::Duration;

use tomte_collect::Root;
use tomte_model::{Assessment, Facet, Moment, Name, Outcome, Problem, Scope, Status, Timestamp};

use crate::outbox::Outbox;

/// The agent's own collector, by which it can be configured.
pub const COLLECTOR: &str = "agent";
/// The kind of its resources that stand for collectors.
pub const COLLECTOR_KIND: &str = "collector";
/// The kind of the resource that stands for the agent itself.
pub const AGENT_KIND: &str = "agent";

/// How a collector's last run went.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// How long it took; while it hangs, how long it has been away.
    pub duration: Duration,
    /// The worst outcome of its scopes, with the scope it belongs to.
    pub worst: Option<(Name, Outcome)>,
    /// Since when the outcome is what it is.
    pub since: Timestamp,
}

/// How bad an outcome is for its collector.
fn badness(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Complete => 0,
        Outcome::Unavailable { .. } => 1,
        Outcome::Denied { .. } => 2,
        Outcome::Failed { .. } => 3,
    }
}

/// The word for an outcome.
#[must_use]
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Complete => "ok",
        Outcome::Unavailable { .. } => "unavailable",
        Outcome::Denied { .. } => "denied",
        Outcome::Failed { .. } => "failed",
    }
}

/// The worst outcome among scopes. A collector of which some part works is
/// not unavailable.
#[must_use]
pub fn worst(scopes: &[Scope]) -> Option<(Name, Outcome)> {
    let works = scopes.iter().any(|scope| scope.outcome.is_complete());
    let worst = scopes.iter().max_by_key(|scope| badness(&scope.outcome))?;
    let bad = badness(&worst.outcome) > u8::from(works);
    bad.then(|| (worst.name.clone(), worst.outcome.clone()))
}

/// How the agent's collectors have been doing.
#[derive(Debug, Default)]
pub struct Runs {
    runs: BTreeMap<&'static str, Run>,
}

impl Runs {
    /// Takes note of a run.
    pub fn note(&mut self, collector: &'static str, duration: Duration, scopes: &[Scope], now: Timestamp) {
        let worst = worst(scopes);
        let before = self.runs.get(collector);
        let same = |run: &&Run| run.worst.as_ref().map(|w| word(&w.1)) == worst.as_ref().map(|w| word(&w.1));
        let since = before.filter(same).map_or(now, |run| run.since);
        self.runs.insert(collector, Run { duration, worst, since });
    }

    /// Forgets a collector that no longer runs.
    pub fn keep(&mut self, running: impl Fn(&str) -> bool) {
        self.runs.retain(|collector, _| running(collector));
    }

    /// One resource a collector.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::complete(COLLECTOR_KIND, self.runs.iter().map(|(name, run)| facet(name, run)).collect())
    }
}

fn facet(name: &str, run: &Run) -> Facet {
    let mut facet = Facet::owner(COLLECTOR_KIND, name, "main");
    facet.read("duration_seconds", run.duration.as_secs_f64());
    facet.text("outcome", run.worst.as_ref().map_or("ok", |(_, outcome)| word(outcome)));
    let mut problems = Vec::new();
    if let Some((scope, outcome)) = &run.worst {
        let error = outcome.error().unwrap_or_default();
        facet.text("error", error);
        facet.text("scope", scope.as_ref());
        if let Outcome::Denied { cure, .. } = outcome {
            facet.text("cure", cure.as_str());
        }
        let status = match outcome {
            Outcome::Failed { .. } => Some(Status::Warning),
            // It ought to be judged and cannot be.
            Outcome::Denied { .. } => Some(Status::Unknown),
            Outcome::Complete | Outcome::Unavailable { .. } => None,
        };
        problems.extend(status.map(|status| Problem {
            field: "outcome".into(),
            status,
            reason: format!("{scope}: {error}"),
            since: run.since,
        }));
    }
    facet.assessment = Some(Assessment::of(problems));
    facet
}

/// What the process itself uses.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Resident memory in bytes, if the system tells.
    pub resident: Option<f64>,
    /// CPU seconds since the process started.
    pub cpu_seconds: f64,
}

/// What this process uses now.
#[must_use]
pub fn usage() -> Usage {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let statm = tomte_collect::read_trimmed(&Root::system().proc("self/statm")).unwrap_or_default();
    let pages: Option<f64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    Usage {
        resident: pages.map(|pages| pages * rustix::param::page_size() as f64),
        cpu_seconds: time.tv_sec as f64 + time.tv_nsec as f64 / 1e9,
    }
}

/// The agent itself, given what it used the last time.
#[must_use]
pub fn agent_scope(
    outbox: &Outbox,
    roles: &[String],
    before: Option<(Moment, Usage)>,
    now: Moment,
    usage: Usage,
) -> Scope {
    let mut facet = Facet::owner(AGENT_KIND, "agent", "main");
    facet.text("version", env!("CARGO_PKG_VERSION"));
    facet.text("roles", roles.join(", "));
    facet.read("resident_bytes", usage.resident);
    let share = before.and_then(|(then, used)| {
        let seconds = now.boot_millis.checked_sub(then.boot_millis).filter(|millis| *millis > 0)? as f64 / 1000.0;
        Some((usage.cpu_seconds - used.cpu_seconds).max(0.0) / seconds)
    });
    facet.read("cpu_ratio", share);
    let (dropped, damaged) = outbox.losses();
    facet.read("outbox_reports", outbox.waiting() as f64);
    facet.read("outbox_bytes", outbox.waiting_bytes() as f64);
    facet.read("dropped_reports", dropped as f64);
    facet.read("damaged_records", damaged as f64);
    facet.flag("spool_writable", !outbox.in_trouble());
    Scope::complete(AGENT_KIND, vec![facet])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: &str) -> Outcome {
        Outcome::Failed { error: error.into() }
    }

    #[test]
    fn the_worst_scope_speaks_for_its_collector() {
        let unavailable = || Scope::failed("zram", Outcome::Unavailable { error: "no zram".into() });
        assert_eq!(worst(&[Scope::complete("memory", vec![]), unavailable()]), None);
        assert_eq!(worst(&[unavailable()]).map(|w| word(&w.1)), Some("unavailable"));
        let scopes = [Scope::complete("a", vec![]), Scope::failed("b", failed("x")), unavailable()];
        assert_eq!(worst(&scopes), Some(("b".into(), failed("x"))));
        assert_eq!(worst(&[]), None);
    }

    #[test]
    fn a_failing_collector_is_a_problem_since_it_began() {
        let mut runs = Runs::default();
        let at = Timestamp::from_millis;
        runs.note("disk", Duration::from_millis(5), &[Scope::failed("disk", failed("EIO"))], at(1));
        runs.note("disk", Duration::from_millis(5), &[Scope::failed("disk", failed("EIO"))], at(2));
        let scope = runs.scope();
        let assessment = scope.facets[0].assessment.as_ref().expect("collectors are judged");
        assert_eq!((assessment.status, assessment.reason.as_str()), (Status::Warning, "disk: EIO"));
        assert_eq!(assessment.problems[0].since, at(1));
        runs.note("disk", Duration::from_millis(5), &[Scope::complete("disk", vec![])], at(3));
        assert_eq!(runs.scope().facets[0].assessment, Some(Assessment::ok()));
        runs.keep(|_| false);
        assert!(runs.scope().facets.is_empty());
    }

    #[test]
    fn this_process_uses_something() {
        let usage = usage();
        assert!(usage.resident.is_some_and(|bytes| bytes > 1e5) && usage.cpu_seconds > 0.0);
    }
}
