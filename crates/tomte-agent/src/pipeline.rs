//! From scopes to a judged report: numbered, judged, kept as the latest state,
//! put into the outbox.
//!
//! [`Pipeline`] has no thread, no task and no clock. A simulated host calls
//! [`Pipeline::submit`] as the real agent does.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tomte_collect::Shared;
use tomte_model::assess::{AssessorState, Standing};
use tomte_model::{
    Assessor, BootId, Catalogue, Event, EventId, EventKind, HostId, Latest, Moment, Name, Outcome, Report, ResourceKey,
    Scope, Severity, ThresholdRule, Timestamp,
};

use crate::outbox::Outbox;

/// The collector that events without a reading of their own travel under.
pub const EVENTS: &str = "events";

/// A scope must fail this often in a row before it is announced: a flapping
/// one announces nothing.
const FAILURES_TO_ANNOUNCE: u8 = 2;

/// What is remembered of a scope that does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Failing {
    times: u8,
    announced: bool,
}

/// How things were judged, to be kept over a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Judged {
    assessor: AssessorState,
    /// By `collector scope`; what works is not in it.
    failing: BTreeMap<String, Failing>,
    /// Of clusters that this host tells of, by their hosts.
    clusters: BTreeMap<HostId, AssessorState>,
}

/// What a pipeline is for.
#[derive(Debug)]
pub struct PipelineOptions {
    /// The host.
    pub host: HostId,
    /// The boot that boot times count from.
    pub boot_id: BootId,
    /// What fields mean.
    pub catalogue: Arc<Catalogue>,
    /// The rules over those of the catalogue.
    pub rules: Vec<ThresholdRule>,
    /// How things were judged before.
    pub judged: Judged,
}

/// What one collector saw, before it is judged.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Who looked.
    pub collector: Name,
    /// When it looks again; zero: at no regular time.
    pub interval: Duration,
    /// When the reading began.
    pub moment: Moment,
    /// Whether the host's clock was disciplined then.
    pub clock_synchronised: bool,
    /// What was read.
    pub scopes: Vec<Scope>,
}

/// A cluster that is told of: how it was judged, and what each scope had.
#[derive(Debug)]
struct Cluster {
    assessor: Assessor,
    members: BTreeMap<Name, HashSet<ResourceKey>>,
}

/// One host's way from scopes to reports.
#[derive(Debug)]
pub struct Pipeline {
    host: HostId,
    boot_id: BootId,
    catalogue: Arc<Catalogue>,
    assessor: Assessor,
    failing: BTreeMap<String, Failing>,
    latest: Latest,
    /// Clusters that this host tells of.
    clusters: BTreeMap<HostId, Cluster>,
    outbox: Outbox,
    /// Events that wait for a report to travel with.
    events: Vec<Event>,
}

/// A new event id.
#[must_use]
pub fn event_id(at: Timestamp) -> EventId {
    EventId::from_parts(u64::try_from(at.millis()).unwrap_or(0), fastrand::u128(..))
}

/// An event of the agent itself.
#[must_use]
pub fn agent_event(
    at: Timestamp,
    kind: EventKind,
    severity: Severity,
    message: impl Into<String>,
    details: &[(&str, &str)],
) -> Event {
    let details = details.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Event {
        id: event_id(at),
        at,
        source: "agent".into(),
        kind,
        severity,
        subject: None,
        correlation_id: None,
        message: message.into(),
        details,
    }
}

impl Cluster {
    fn new(rules: &[ThresholdRule]) -> Self {
        Self { assessor: Assessor::new(rules.to_vec()), members: BTreeMap::new() }
    }
}

/// A report without what is told of those resources.
fn without(report: &Report, resources: &HashSet<ResourceKey>) -> Report {
    let mut report = report.clone();
    for scope in &mut report.scopes {
        scope.facets.retain(|facet| !resources.contains(&facet.resource));
    }
    let names: HashSet<String> = resources.iter().map(ToString::to_string).collect();
    report.events.retain(|event| event.subject.as_ref().is_none_or(|subject| !names.contains(subject)));
    report
}

impl Pipeline {
    /// A pipeline that ends in that outbox.
    #[must_use]
    pub fn new(options: PipelineOptions, outbox: Outbox) -> Self {
        let mut assessor = Assessor::new(options.rules);
        assessor.restore(options.judged.assessor);
        let rules = assessor.rules().to_vec();
        let cluster = |(host, state)| {
            let mut assessor = Assessor::new(rules.clone());
            assessor.restore(state);
            (host, Cluster { assessor, members: BTreeMap::new() })
        };
        Self {
            clusters: options.judged.clusters.into_iter().map(cluster).collect(),
            host: options.host,
            boot_id: options.boot_id,
            catalogue: options.catalogue,
            assessor,
            failing: options.judged.failing,
            latest: Latest::default(),
            outbox,
            events: Vec::new(),
        }
    }

    /// Judges what a collector saw, numbers it and puts it into the outbox.
    pub fn submit(&mut self, seen: Seen) -> Arc<Report> {
        self.submit_shared(seen, None)
    }

    /// The same; some of it may belong to a cluster. That is shown here as
    /// ever, and told to the hub by whoever tells of the cluster.
    pub fn submit_shared(&mut self, seen: Seen, shared: Option<Shared>) -> Arc<Report> {
        let shared = shared.unwrap_or_default();
        let mut report = Report {
            host: self.host,
            collector: seen.collector,
            position: self.outbox.next_position(),
            boot_id: self.boot_id,
            moment: seen.moment,
            clock_synchronised: seen.clock_synchronised,
            interval_millis: u32::try_from(seen.interval.as_millis()).unwrap_or(u32::MAX),
            scopes: seen.scopes,
            events: std::mem::take(&mut self.events),
        };
        let now = report.moment.wall;
        self.assessor.judge(&mut report, &self.catalogue, now, || event_id(now));
        self.note_failures(&mut report);
        let changes = self.latest.apply(&report, now);
        if !changes.removed.is_empty() {
            self.assessor.forget(|resource| changes.removed.contains(resource));
        }
        let report = Arc::new(report);
        let told =
            if shared.elsewhere.is_empty() { report.clone() } else { Arc::new(without(&report, &shared.elsewhere)) };
        self.outbox.push(told);
        if let Some((cluster, scopes)) = shared.cluster {
            self.submit_for(cluster, &report, scopes);
        }
        report
    }

    /// Judges what was seen of a cluster with a report, and puts it into the
    /// outbox.
    fn submit_for(&mut self, host: HostId, with: &Report, scopes: Vec<Scope>) {
        let mut report = Report {
            host,
            collector: with.collector.clone(),
            position: self.outbox.next_position(),
            scopes,
            events: Vec::new(),
            ..*with
        };
        let now = report.moment.wall;
        let cluster = self.clusters.entry(host).or_insert_with(|| Cluster::new(self.assessor.rules()));
        cluster.assessor.judge(&mut report, &self.catalogue, now, || event_id(now));
        for scope in report.scopes.iter().filter(|scope| scope.outcome.is_complete()) {
            // Only what owns its resource tells that it is gone.
            let owners = scope.facets.iter().filter(|facet| facet.owner);
            let members: HashSet<ResourceKey> = owners.map(|facet| facet.resource.clone()).collect();
            let before = cluster.members.insert(scope.name.clone(), members).unwrap_or_default();
            let members = &cluster.members[&scope.name];
            cluster.assessor.forget(|resource| before.contains(resource) && !members.contains(resource));
        }
        self.outbox.push(Arc::new(report));
    }

    /// This host tells of a cluster from now on: what is known to be wrong
    /// with it is not told again.
    pub fn take_over(&mut self, host: HostId, problems: impl IntoIterator<Item = Standing>) {
        let mut cluster = Cluster::new(self.assessor.rules());
        cluster.assessor.adopt(problems);
        self.clusters.insert(host, cluster);
    }

    /// This host does not tell of a cluster any more.
    pub fn hand_over(&mut self, host: HostId) {
        self.clusters.remove(&host);
        self.outbox.forget_host(host);
    }

    /// Lets an event travel with the next report.
    pub fn raise(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Sends the events that wait, if any, without waiting for a collector.
    pub fn submit_events(&mut self, moment: Moment, clock_synchronised: bool) -> Option<Arc<Report>> {
        let interval = Duration::ZERO;
        let seen = Seen { collector: EVENTS.into(), interval, moment, clock_synchronised, scopes: Vec::new() };
        (!self.events.is_empty()).then(|| self.submit(seen))
    }

    /// Announces scopes that stopped working, or work again.
    fn note_failures(&mut self, report: &mut Report) {
        for scope in &report.scopes {
            let key = format!("{} {}", report.collector, scope.name);
            // A host that has no such thing is in order.
            let fails = match &scope.outcome {
                Outcome::Complete | Outcome::Unavailable { .. } => None,
                Outcome::Denied { error, .. } => Some((error, true)),
                Outcome::Failed { error } => Some((error, false)),
            };
            let subject = format!("{}:{}", crate::own::COLLECTOR_KIND, report.collector);
            let mut announce = |severity, message: String, outcome: &str| {
                let details = [("scope", scope.name.as_ref()), ("outcome", outcome)];
                let at = report.moment.wall;
                let event = agent_event(at, EventKind::COLLECTOR_CHANGED, severity, message, &details);
                report.events.push(Event { subject: Some(subject.clone()), ..event });
            };
            match fails {
                None => {
                    if self.failing.remove(&key).is_some_and(|failing| failing.announced) {
                        announce(Severity::Info, format!("{} can be read again", scope.name), "complete");
                    }
                }
                Some((error, at_once)) => {
                    let failing = self.failing.entry(key).or_insert(Failing { times: 0, announced: false });
                    failing.times = failing.times.saturating_add(1);
                    if !failing.announced && (at_once || failing.times >= FAILURES_TO_ANNOUNCE) {
                        failing.announced = true;
                        let outcome = if at_once { "denied" } else { "failed" };
                        announce(Severity::Warning, format!("{}: {error}", scope.name), outcome);
                    }
                }
            }
        }
    }

    /// What to save, so that a restart changes no status and sends nothing.
    #[must_use]
    pub fn judged(&self) -> Judged {
        let clusters = self.clusters.iter().map(|(host, cluster)| (*host, cluster.assessor.state())).collect();
        Judged { assessor: self.assessor.state(), failing: self.failing.clone(), clusters }
    }

    /// Replaces the rules; what is remembered stays.
    pub fn set_rules(&mut self, rules: Vec<ThresholdRule>) {
        self.clusters.values_mut().for_each(|cluster| cluster.assessor.set_rules(rules.clone()));
        self.assessor.set_rules(rules);
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> HostId {
        self.host
    }

    /// The boot that boot times count from.
    #[must_use]
    pub fn boot_id(&self) -> BootId {
        self.boot_id
    }

    /// What fields mean.
    #[must_use]
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// What is known now.
    #[must_use]
    pub fn latest(&self) -> &Latest {
        &self.latest
    }

    /// What is not yet stored at the hub.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// What is not yet stored at the hub, to be worked on.
    pub fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }
}

#[cfg(test)]
mod tests {
    use tomte_model::{Facet, Status};

    use super::*;
    use crate::config::OutboxConfig;

    fn moment(seconds: i64) -> Moment {
        Moment {
            wall: Timestamp::from_millis(1_800_000_000_000 + seconds * 1000),
            boot_millis: u64::try_from(seconds).unwrap_or(0) * 1000,
        }
    }

    fn pipeline(judged: Judged) -> Pipeline {
        let options = PipelineOptions {
            host: HostId::from_parts(0, 1),
            boot_id: BootId(1),
            catalogue: Arc::new(Catalogue::builtin()),
            rules: Vec::new(),
            judged,
        };
        Pipeline::new(options, Outbox::new(1, OutboxConfig::default(), moment(0)))
    }

    fn seen(second: i64, scopes: Vec<Scope>) -> Seen {
        let interval = Duration::from_secs(10);
        Seen { collector: "x".into(), interval, moment: moment(second), clock_synchronised: true, scopes }
    }

    fn failed() -> Vec<Scope> {
        vec![Scope::failed("x", Outcome::Failed { error: "EIO".into() })]
    }

    fn kinds(report: &Report) -> Vec<&str> {
        report.events.iter().map(|event| event.kind.as_str()).collect()
    }

    /// A filesystem that is 99 % full, by the catalogue's own rules.
    fn full() -> Vec<Scope> {
        let mut facet = Facet::owner("filesystem", "/", "main");
        facet.read("used_ratio", 0.99);
        vec![Scope::complete("x", vec![facet])]
    }

    #[test]
    fn a_scope_is_announced_once_when_it_keeps_failing_and_once_when_it_recovers() {
        let mut pipeline = pipeline(Judged::default());
        assert!(kinds(&pipeline.submit(seen(0, failed()))).is_empty(), "once is no pattern");
        assert_eq!(kinds(&pipeline.submit(seen(10, failed()))), ["collector_changed"]);
        assert!(kinds(&pipeline.submit(seen(20, failed()))).is_empty());
        assert_eq!(kinds(&pipeline.submit(seen(30, vec![Scope::complete("x", vec![])]))), ["collector_changed"]);
        assert!(kinds(&pipeline.submit(seen(40, failed()))).is_empty());
        assert!(kinds(&pipeline.submit(seen(50, vec![Scope::complete("x", vec![])]))).is_empty());
    }

    #[test]
    fn a_restart_announces_nothing_again() {
        let mut before = pipeline(Judged::default());
        let mut scopes = full();
        scopes.push(Scope::failed("y", Outcome::Denied { error: "EACCES".into(), cure: "chmod".into() }));
        let mut announced = Vec::new();
        for second in (0..1200).step_by(10) {
            let report = before.submit(seen(second, scopes.clone()));
            announced.extend(kinds(&report).into_iter().map(str::to_owned));
        }
        announced.sort();
        announced.dedup();
        assert!(announced.contains(&"collector_changed".to_owned()), "{announced:?}");
        let saved = serde_json::to_vec(&before.judged()).expect("saved");
        let mut after = pipeline(serde_json::from_slice(&saved).expect("loaded"));
        let report = after.submit(seen(1200, scopes));
        assert!(report.events.is_empty(), "{:?}", report.events);
    }

    #[test]
    fn reports_are_numbered_without_a_hole_and_events_travel_along() {
        let mut pipeline = pipeline(Judged::default());
        assert!(pipeline.submit_events(moment(0), true).is_none());
        pipeline.raise(agent_event(moment(0).wall, EventKind::AGENT_STARTED, Severity::Info, "started", &[]));
        let first = pipeline.submit(seen(0, full()));
        let second = pipeline.submit(seen(10, full()));
        assert_eq!((first.position.sequence, second.position.sequence), (1, 2));
        assert_eq!(kinds(&first)[0], "agent_started");
        assert!(!kinds(&second).contains(&"agent_started"));
        pipeline.raise(agent_event(moment(20).wall, EventKind::AGENT_STOPPED, Severity::Info, "stopped", &[]));
        let last = pipeline.submit_events(moment(20), true).expect("an event waits");
        assert_eq!((last.collector.as_ref(), kinds(&last)), (EVENTS, vec!["agent_stopped"]));
        assert_ne!(pipeline.latest().assessment(moment(20).wall).map(|a| a.status), Some(Status::Unknown));
    }
}
