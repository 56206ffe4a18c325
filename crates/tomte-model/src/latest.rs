//! What is known now: the resources of one host, facet by facet, each with its
//! own age.
//!
//! [`Latest`] is fed reports and answers questions; it never reads a clock.
//! Missing is not ok: only a complete scope removes anything, a failed one
//! makes its facets stale, and a stale facet that was judged ok is unknown.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::report::{Facet, Outcome, Position, Report, ResourceKey, Table, Value};
use crate::status::{Assessment, Problem, Status};
use crate::time::Timestamp;

/// A scope that has been unavailable for this long is retired.
pub const RETIRE_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A facet as it was last seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FacetState {
    /// The collector it came from.
    pub collector: Name,
    /// The scope it came in.
    pub scope: Name,
    /// When it was read, in the keeper's time (the hub's at the hub).
    pub at: Timestamp,
    /// When the next reading is due; zero: never stale by age.
    pub interval_millis: u32,
    /// Why the scope can no longer be read, if so.
    pub failure: Option<String>,
    /// Whether the resource exists because of it.
    pub owner: bool,
    /// Texts and flags.
    pub attributes: Vec<(Name, Value)>,
    /// Numbers.
    pub readings: Vec<(Name, f64)>,
    /// Latest-only lists.
    pub tables: Vec<Table>,
    /// How it was judged when it was read.
    pub assessment: Option<Assessment>,
}

impl FacetState {
    /// A facet that was just seen.
    fn of((collector, scope): &(Name, Name), facet: &Facet, report: &Report, at: Timestamp) -> Self {
        Self {
            collector: collector.clone(),
            scope: scope.clone(),
            at,
            interval_millis: report.interval_millis,
            failure: None,
            owner: facet.owner,
            attributes: facet.attributes.clone(),
            readings: facet.readings.clone(),
            tables: facet.tables.clone(),
            assessment: facet.assessment.clone(),
        }
    }

    /// The same facet seen again: what did not change is not copied, since
    /// this happens for every facet of every report.
    fn renew(&mut self, (collector, scope): &(Name, Name), facet: &Facet, report: &Report, at: Timestamp) {
        renew(&mut self.collector, collector);
        renew(&mut self.scope, scope);
        self.at = at;
        self.interval_millis = report.interval_millis;
        self.failure = None;
        self.owner = facet.owner;
        renew(&mut self.attributes, &facet.attributes);
        let same = |((a, _), (b, _)): (&(Name, f64), &(Name, f64))| a == b;
        if self.readings.len() == facet.readings.len() && self.readings.iter().zip(&facet.readings).all(same) {
            self.readings.iter_mut().zip(&facet.readings).for_each(|((_, value), (_, new))| *value = *new);
        } else {
            self.readings.clone_from(&facet.readings);
        }
        renew(&mut self.tables, &facet.tables);
        renew(&mut self.assessment, &facet.assessment);
    }

    /// How old a facet may grow: three intervals and a little, since a report
    /// may be delayed without anything being wrong.
    fn tolerance(&self) -> Duration {
        Duration::from_millis(u64::from(self.interval_millis) * 3 + 5_000)
    }

    /// Whether it is stale.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.failure.is_some() || (self.interval_millis > 0 && now.since(self.at) > self.tolerance())
    }

    /// Whether it is stale, and why.
    #[must_use]
    pub fn staleness(&self, now: Timestamp) -> Option<String> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let age = now.since(self.at);
        (self.interval_millis > 0 && age > self.tolerance())
            .then(|| format!("not read for {}", crate::Unit::Seconds.format(age.as_secs_f64())))
    }

    /// Its status now: as judged, but never ok while stale.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Option<Status> {
        let judged = self.assessment.as_ref()?.status;
        Some(if self.is_stale(now) { judged.max(Status::Unknown) } else { judged })
    }
}

/// A resource: its facets by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceState {
    /// The facets; in boxes, since a map makes room for eleven at once, and
    /// most resources have one.
    pub facets: BTreeMap<Name, Box<FacetState>>,
}

impl ResourceState {
    /// Its assessment now, over all facets; `None` when nothing judges it.
    #[must_use]
    pub fn assessment(&self, now: Timestamp) -> Option<Assessment> {
        let mut judged = false;
        let mut problems = Vec::new();
        for (name, facet) in &self.facets {
            let Some(assessment) = &facet.assessment else { continue };
            judged = true;
            if let Some(why) = facet.staleness(now) {
                problems.push(Problem { field: name.clone(), status: Status::Unknown, reason: why, since: facet.at });
            }
            problems.extend(assessment.problems.iter().cloned());
        }
        judged.then(|| Assessment::of(problems))
    }

    /// Its status now, as [`Self::assessment`] has it, without the words.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Option<Status> {
        self.facets.values().filter_map(|facet| facet.status(now)).max()
    }

    /// Whether any facet is stale.
    #[must_use]
    pub fn stale(&self, now: Timestamp) -> bool {
        self.facets.values().any(|facet| facet.is_stale(now))
    }

    /// When its newest facet was read.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.facets.values().map(|facet| facet.at).max().unwrap_or_default()
    }

    /// All readings of all facets.
    pub fn readings(&self) -> impl Iterator<Item = (&Name, f64)> {
        self.facets.values().flat_map(|facet| facet.readings.iter().map(|(name, value)| (name, *value)))
    }

    /// All attributes of all facets.
    pub fn attributes(&self) -> impl Iterator<Item = (&Name, &Value)> {
        self.facets.values().flat_map(|facet| facet.attributes.iter().map(|(name, value)| (name, value)))
    }
}

/// What a collector's scope last came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScopeState {
    /// How the last reading went.
    pub outcome: Outcome,
    /// When that was, in the keeper's time.
    pub at: Timestamp,
    /// When the present run of the same outcome began.
    pub since: Timestamp,
    /// The resources and facets that its last complete reading brought.
    members: Vec<(ResourceKey, Name)>,
}

fn renew<T: Clone + PartialEq>(known: &mut T, seen: &T) {
    if known != seen {
        known.clone_from(seen);
    }
}

/// What a report changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Resources that are new or have new contents.
    pub updated: Vec<ResourceKey>,
    /// Resources that are gone.
    pub removed: Vec<ResourceKey>,
    /// Whether the report was older than what was known, and so changed nothing.
    pub outdated: bool,
}

/// The resources of one host, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latest {
    resources: BTreeMap<ResourceKey, ResourceState>,
    /// By collector and scope.
    scopes: HashMap<(Name, Name), ScopeState>,
    /// The newest report taken in, by collector.
    positions: HashMap<Name, Position>,
}

impl Latest {
    /// Takes in a report. `at` is when it was read, in the keeper's time.
    /// Reports of one collector are ordered by their position in the outbox,
    /// never by a clock: an older one changes nothing.
    pub fn apply(&mut self, report: &Report, at: Timestamp) -> Changes {
        let mut changes = Changes::default();
        let newest = self.positions.entry(report.collector.clone()).or_default();
        if *newest >= report.position && *newest != Position::default() {
            changes.outdated = true;
            return changes;
        }
        *newest = report.position;
        for scope in &report.scopes {
            let key = (report.collector.clone(), scope.name.clone());
            let before = self.scopes.get(&key);
            let since = match before {
                Some(b) if std::mem::discriminant(&b.outcome) == std::mem::discriminant(&scope.outcome) => b.since,
                _ => at,
            };
            let members = match &scope.outcome {
                Outcome::Complete => self.replace(&key, scope.facets.as_slice(), report, at, &mut changes),
                Outcome::Unavailable { .. } if at.since(since) >= RETIRE_AFTER => {
                    self.retire(&key, &HashSet::new(), &mut changes);
                    Vec::new()
                }
                failed => {
                    let why = failed.error().unwrap_or_default().to_owned();
                    let members = before.map(|b| b.members.clone()).unwrap_or_default();
                    for (resource, facet) in &members {
                        let state = self.resources.get_mut(resource).and_then(|r| r.facets.get_mut(facet));
                        if let Some(state) = state {
                            state.failure = Some(why.clone());
                            changes.updated.push(resource.clone());
                        }
                    }
                    members
                }
            };
            self.scopes.insert(key, ScopeState { outcome: scope.outcome.clone(), at, since, members });
        }
        self.retire_unmentioned(&report.collector, at, &mut changes);
        changes
    }

    fn replace(
        &mut self,
        key: &(Name, Name),
        facets: &[Facet],
        report: &Report,
        at: Timestamp,
        changes: &mut Changes,
    ) -> Vec<(ResourceKey, Name)> {
        for facet in facets {
            let known = self.resources.get_mut(&facet.resource).and_then(|r| r.facets.get_mut(&facet.name));
            if let Some(state) = known {
                state.renew(key, facet, report, at);
            } else {
                let state = FacetState::of(key, facet, report, at);
                self.resources
                    .entry(facet.resource.clone())
                    .or_default()
                    .facets
                    .insert(facet.name.clone(), Box::new(state));
            }
            changes.updated.push(facet.resource.clone());
        }
        // Mostly it is what it was: then nothing can have gone.
        if let Some(scope) = self.scopes.get_mut(key) {
            let same = |(facet, (resource, name)): (&Facet, &(ResourceKey, Name))| {
                facet.resource == *resource && facet.name == *name
            };
            if scope.members.len() == facets.len() && facets.iter().zip(&scope.members).all(same) {
                return std::mem::take(&mut scope.members);
            }
        }
        let members: Vec<_> = facets.iter().map(|facet| (facet.resource.clone(), facet.name.clone())).collect();
        let present: HashSet<&(ResourceKey, Name)> = members.iter().collect();
        self.retire(key, &present, changes);
        members
    }

    /// A scope that its collector no longer speaks of (a share that was
    /// unmounted while the agent was down) is retired like one that is
    /// unavailable.
    fn retire_unmentioned(&mut self, collector: &Name, at: Timestamp, changes: &mut Changes) {
        let forgotten: Vec<_> = self
            .scopes
            .iter()
            .filter(|((of, _), scope)| of == collector && at.since(scope.at) >= RETIRE_AFTER)
            .map(|(key, _)| key.clone())
            .collect();
        for key in forgotten {
            self.retire(&key, &HashSet::new(), changes);
            self.scopes.remove(&key);
        }
    }

    /// Removes what the scope brought before and does not bring now.
    fn retire(&mut self, key: &(Name, Name), present: &HashSet<&(ResourceKey, Name)>, changes: &mut Changes) {
        let Some(scope) = self.scopes.get_mut(key) else { return };
        for member in std::mem::take(&mut scope.members) {
            if present.contains(&member) {
                continue;
            }
            let (resource, facet) = member;
            let Some(state) = self.resources.get_mut(&resource) else { continue };
            // Another scope may have taken the facet over in the meantime.
            if state.facets.get(&facet).is_none_or(|f| f.collector != key.0 || f.scope != key.1) {
                continue;
            }
            let owner = state.facets.remove(&facet).is_some_and(|f| f.owner);
            if owner || state.facets.is_empty() {
                self.resources.remove(&resource);
                changes.removed.push(resource);
            } else {
                changes.updated.push(resource);
            }
        }
    }

    /// Removes a resource by hand; it comes back when a collector still sees it.
    pub fn forget(&mut self, resource: &ResourceKey) -> bool {
        self.resources.remove(resource).is_some()
    }

    /// All resources, by key.
    pub fn resources(&self) -> impl Iterator<Item = (&ResourceKey, &ResourceState)> {
        self.resources.iter()
    }

    /// The resources of one kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a ResourceKey, &'a ResourceState)> {
        let from = ResourceKey { kind: Cow::Owned(kind.to_owned()), name: String::new() };
        self.resources.range(from..).take_while(move |(key, _)| key.kind == kind)
    }

    /// One resource.
    #[must_use]
    pub fn resource(&self, key: &ResourceKey) -> Option<&ResourceState> {
        self.resources.get(key)
    }

    /// The scopes and what they last came to, by collector and scope.
    pub fn scopes(&self) -> impl Iterator<Item = (&(Name, Name), &ScopeState)> {
        self.scopes.iter()
    }

    /// The host as a whole: the worst of its resources. Each problem's reason
    /// stands as it is; `None` when nothing is judged.
    #[must_use]
    pub fn assessment(&self, now: Timestamp) -> Option<Assessment> {
        assessment(&self.resources, now)
    }

    /// What to save, so that a restart knows what was known.
    #[must_use]
    pub fn snapshot(&self) -> LatestSnapshot {
        LatestSnapshot {
            resources: self.resources.clone().into_iter().collect(),
            scopes: self.scopes.iter().map(|((c, s), state)| (c.clone(), s.clone(), state.clone())).collect(),
            positions: self.positions.clone().into_iter().collect(),
        }
    }
}

/// Resources as a whole at a moment: the worst of them, each problem's reason
/// as it is; `None` when nothing is judged.
#[must_use]
pub fn assessment(resources: &BTreeMap<ResourceKey, ResourceState>, now: Timestamp) -> Option<Assessment> {
    let mut judged = false;
    let mut problems = Vec::new();
    for (key, state) in resources {
        if let Some(assessment) = state.assessment(now) {
            judged = true;
            problems.extend(assessment.problems.into_iter().map(|mut problem| {
                problem.field = format!("{key}/{}", problem.field).into();
                problem
            }));
        }
    }
    judged.then(|| Assessment::of(problems))
}

/// The saved form of a [`Latest`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatestSnapshot {
    resources: Vec<(ResourceKey, ResourceState)>,
    scopes: Vec<(Name, Name, ScopeState)>,
    positions: Vec<(Name, Position)>,
}

impl From<LatestSnapshot> for Latest {
    fn from(saved: LatestSnapshot) -> Self {
        Self {
            resources: saved.resources.into_iter().collect(),
            scopes: saved.scopes.into_iter().map(|(c, s, state)| ((c, s), state)).collect(),
            positions: saved.positions.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::HostId;
    use crate::report::Scope;
    use crate::time::{BootId, Moment};

    fn report(collector: &'static str, sequence: u64, scopes: Vec<Scope>) -> Report {
        Report {
            host: HostId::from_parts(0, 1),
            collector: collector.into(),
            position: Position { epoch: 1, sequence },
            boot_id: BootId(7),
            moment: Moment::default(),
            clock_synchronised: true,
            interval_millis: 10_000,
            scopes,
            events: Vec::new(),
        }
    }

    fn disk(name: &str, facet: &'static str, owner: bool) -> Facet {
        let mut facet = Facet { owner, ..Facet::owner("disk", name, facet) };
        facet.assessment = Some(Assessment::ok());
        facet
    }

    fn seconds(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    fn names(latest: &Latest) -> Vec<String> {
        latest.resources().map(|(key, _)| key.name.clone()).collect()
    }

    #[test]
    fn only_a_complete_scope_removes() {
        let mut latest = Latest::default();
        let both = vec![disk("sda", "io", true), disk("sdb", "io", true)];
        latest.apply(&report("disk", 1, vec![Scope::complete("io", both)]), seconds(0));
        let failed = Scope::failed("io", Outcome::Failed { error: "EIO".into() });
        latest.apply(&report("disk", 2, vec![failed]), seconds(10));
        assert_eq!(names(&latest), ["sda", "sdb"]);
        let assessment = latest.assessment(seconds(10)).expect("judged");
        assert_eq!(assessment.status, Status::Unknown, "missing is not ok");
        let one = vec![disk("sdb", "io", true)];
        let changes = latest.apply(&report("disk", 3, vec![Scope::complete("io", one)]), seconds(20));
        assert_eq!(names(&latest), ["sdb"]);
        assert_eq!(changes.removed, [ResourceKey::new("disk", "sda")]);
        assert_eq!(latest.assessment(seconds(20)).map(|a| a.status), Some(Status::Ok));
        latest.apply(&report("disk", 4, vec![Scope::complete("io", Vec::new())]), seconds(30));
        assert!(names(&latest).is_empty(), "empty is a finding when the scope is complete");
        assert_eq!(latest.assessment(seconds(30)), None);
    }

    #[test]
    fn the_owning_facet_takes_the_resource_with_it_and_others_do_not() {
        let mut latest = Latest::default();
        latest.apply(&report("disk", 1, vec![Scope::complete("io", vec![disk("sda", "io", true)])]), seconds(0));
        latest.apply(&report("smart", 2, vec![Scope::complete("sda", vec![disk("sda", "smart", false)])]), seconds(0));
        latest.apply(&report("smart", 3, vec![Scope::complete("sda", Vec::new())]), seconds(1));
        assert_eq!(names(&latest), ["sda"]);
        latest.apply(&report("smart", 4, vec![Scope::complete("sda", vec![disk("sda", "smart", false)])]), seconds(2));
        latest.apply(&report("disk", 5, vec![Scope::complete("io", Vec::new())]), seconds(3));
        assert!(names(&latest).is_empty());
    }

    #[test]
    fn age_makes_stale_and_stale_is_never_ok() {
        let mut latest = Latest::default();
        latest.apply(&report("disk", 1, vec![Scope::complete("io", vec![disk("sda", "io", true)])]), seconds(0));
        assert_eq!(latest.assessment(seconds(35)).map(|a| a.status), Some(Status::Ok));
        assert_eq!(latest.assessment(seconds(36)).map(|a| a.status), Some(Status::Unknown));
    }

    #[test]
    fn older_reports_of_a_collector_change_nothing() {
        let mut latest = Latest::default();
        latest.apply(&report("disk", 5, vec![Scope::complete("io", vec![disk("sda", "io", true)])]), seconds(0));
        let changes = latest.apply(&report("disk", 4, vec![Scope::complete("io", Vec::new())]), seconds(9));
        assert!(changes.outdated);
        assert_eq!(names(&latest), ["sda"]);
    }

    #[test]
    fn what_is_unavailable_for_a_day_is_retired() {
        let mut latest = Latest::default();
        latest.apply(&report("disk", 1, vec![Scope::complete("io", vec![disk("sda", "io", true)])]), seconds(0));
        let gone = || vec![Scope::failed("io", Outcome::Unavailable { error: "no /proc/diskstats".into() })];
        latest.apply(&report("disk", 2, gone()), seconds(10));
        latest.apply(&report("disk", 3, gone()), seconds(86_400));
        assert_eq!(names(&latest), ["sda"]);
        let changes = latest.apply(&report("disk", 4, gone()), seconds(86_411));
        assert_eq!(changes.removed.len(), 1);
        assert!(names(&latest).is_empty());
    }

    #[test]
    fn a_scope_that_is_no_longer_spoken_of_is_retired() {
        let mut latest = Latest::default();
        let share = vec![Scope::complete("filesystem:/mnt/nas", vec![disk("nas", "main", true)])];
        latest.apply(&report("filesystem", 1, share), seconds(0));
        let others = || vec![Scope::complete("filesystem", vec![disk("/", "main", true)])];
        latest.apply(&report("filesystem", 2, others()), seconds(86_399));
        assert_eq!(names(&latest), ["/", "nas"]);
        let changes = latest.apply(&report("filesystem", 3, others()), seconds(86_400));
        assert_eq!(names(&latest), ["/"]);
        assert_eq!(changes.removed, [ResourceKey::new("disk", "nas")]);
    }

    #[test]
    fn a_snapshot_restores_everything() {
        let mut latest = Latest::default();
        latest.apply(&report("disk", 1, vec![Scope::complete("io", vec![disk("sda", "io", true)])]), seconds(0));
        assert_eq!(Latest::from(latest.snapshot()), latest);
    }
}
