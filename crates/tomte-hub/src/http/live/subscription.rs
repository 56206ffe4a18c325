//! What one subscription's client has seen, and what may differ by now.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use tomte_api::host::{Host, Presence};
use tomte_api::live::{Delta, ResourceDelta, ResourceRef, Snapshot, Subscribe};
use tomte_api::resource::Resource;
use tomte_model::latest::{Latest, ResourceState};
use tomte_model::{HostId, ResourceKey, Timestamp};

use crate::Hub;
use crate::http::hosts;
use crate::live::Change;
use crate::watch::Watch;

/// How often at most a delta is sent when the client does not say.
const USUAL: u32 = 10;
/// A host's collectors report one after the other, within moments. The first
/// one waits for the others: what missed a delta would wait for the next.
const GATHER: Duration = Duration::from_millis(8);
/// The rarest that makes sense.
const RAREST: u32 = 3_600;

/// One subscription.
pub(super) struct Subscription {
    id: String,
    /// `None`: all.
    hosts: Option<BTreeSet<HostId>>,
    kinds: HashSet<String>,
    fields: HashSet<String>,
    resources: bool,
    pub(super) events: bool,
    every: Duration,
    due: Instant,
    seen_hosts: BTreeMap<HostId, Host>,
    seen: HashMap<HostId, BTreeMap<ResourceKey, Resource>>,
    changed: HashMap<HostId, Changed>,
    /// Keeps the hosts reporting faster while somebody looks closely.
    _watch: Option<Watch>,
}

/// What may have changed on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Changed {
    /// These resources, and how the host stands.
    Some(BTreeSet<ResourceKey>),
    /// Anything.
    All,
}

impl Subscription {
    /// A subscription to hosts that are known to be there; `watch` is what
    /// makes them report faster, if they should.
    pub(super) fn new(request: Subscribe, hosts: Option<BTreeSet<HostId>>, watch: Option<Watch>) -> Self {
        let every = interval(&request);
        Self {
            id: request.id,
            hosts,
            kinds: request.kinds.into_iter().collect(),
            fields: request.fields.into_iter().collect(),
            resources: request.resources,
            events: request.events,
            every,
            due: Instant::now(),
            seen_hosts: BTreeMap::new(),
            seen: HashMap::new(),
            changed: HashMap::new(),
            _watch: watch,
        }
    }

    /// The client's name for it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// When the next delta may be sent; `None` when there is nothing to tell.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.changed.is_empty()).then_some(self.due)
    }

    /// Whether it is about a host.
    pub(super) fn covers(&self, host: Option<HostId>) -> bool {
        match (&self.hosts, host) {
            (None, _) => true,
            (Some(hosts), Some(host)) => hosts.contains(&host),
            (Some(_), None) => false,
        }
    }

    /// Notes that something changed.
    pub(super) fn note(&mut self, change: &Change) {
        if self.changed.is_empty() {
            self.due = self.due.max(Instant::now() + GATHER);
        }
        match change {
            Change::Resources { host, updated, removed } => {
                if self.covers(Some(*host)) {
                    self.note_resources(*host, updated.iter().chain(removed));
                }
            }
            Change::Host(host) | Change::HostRemoved(host) => {
                if self.covers(Some(*host)) {
                    self.changed.entry(*host).or_insert_with(|| Changed::Some(BTreeSet::new()));
                }
            }
            Change::Event(_) => {}
        }
    }

    fn note_resources<'a>(&mut self, host: HostId, keys: impl Iterator<Item = &'a ResourceKey>) {
        let (resources, kinds) = (self.resources, &self.kinds);
        // How the host stands may have changed as well.
        if let Changed::Some(known) = self.changed.entry(host).or_insert_with(|| Changed::Some(BTreeSet::new())) {
            let wanted = |key: &&ResourceKey| resources && (kinds.is_empty() || kinds.contains(&*key.kind));
            known.extend(keys.filter(wanted).cloned());
        }
    }

    /// Notes that anything may have changed: time has passed, or changes were
    /// missed.
    pub(super) fn note_all(&mut self, hub: &Hub) {
        let present = hub.host_names().into_iter().map(|(id, _)| id);
        let hosts: Vec<HostId> =
            present.chain(self.seen_hosts.keys().copied()).filter(|id| self.covers(Some(*id))).collect();
        self.changed = hosts.into_iter().map(|id| (id, Changed::All)).collect();
    }

    /// Everything as it is now.
    pub(super) fn snapshot(&mut self, hub: &Hub) -> Snapshot {
        self.seen.clear();
        self.seen_hosts.clear();
        self.note_all(hub);
        let delta = self.difference(hub);
        // The first change after it is told at once.
        self.due = Instant::now();
        let resources = self.seen.values().flat_map(BTreeMap::values).cloned().collect();
        Snapshot { at: delta.at, hosts: delta.hosts, resources }
    }

    /// What changed since the last message; `None` when nothing did.
    pub(super) fn delta(&mut self, hub: &Hub) -> Option<Delta> {
        let due = self.due;
        let delta = self.difference(hub);
        let empty = delta.hosts.is_empty()
            && delta.removed_hosts.is_empty()
            && delta.resources.is_empty()
            && delta.removed.is_empty();
        if empty {
            // Nothing is told, so what comes next need not wait.
            self.due = due;
            return None;
        }
        Some(delta)
    }

    fn difference(&mut self, hub: &Hub) -> Delta {
        let now = hub.now();
        self.due = Instant::now() + self.every;
        let mut delta =
            Delta { at: now, hosts: Vec::new(), removed_hosts: Vec::new(), resources: Vec::new(), removed: Vec::new() };
        for (id, changed) in std::mem::take(&mut self.changed) {
            let Some(view) = hub.host(id) else {
                self.seen.remove(&id);
                if self.seen_hosts.remove(&id).is_some() {
                    delta.removed_hosts.push(id);
                }
                continue;
            };
            let host = hosts::host(view);
            if self.seen_hosts.get(&id).is_none_or(|seen| !stands_alike(seen, &host)) {
                self.seen_hosts.insert(id, host.clone());
                delta.hosts.push(host);
            }
            if self.resources {
                hub.with_latest(id, |name, latest| {
                    self.compare(id, name.as_str(), latest, &changed, now, &mut delta);
                });
            }
        }
        delta
    }

    /// Compares a host's resources with what the client has seen of them.
    fn compare(
        &mut self,
        id: HostId,
        name: &str,
        latest: &Latest,
        changed: &Changed,
        now: Timestamp,
        delta: &mut Delta,
    ) {
        let mut seen = self.seen.remove(&id).unwrap_or_default();
        let known: Vec<ResourceKey> = match changed {
            Changed::Some(_) => Vec::new(),
            Changed::All => seen.keys().cloned().collect(),
        };
        let mut update = |key: &ResourceKey, state: Option<&ResourceState>| {
            let Some(state) = state else {
                if seen.remove(key).is_some() {
                    let (kind, name) = (key.kind.to_string(), key.name.clone());
                    delta.removed.push(ResourceRef { host_id: id, kind, name });
                }
                return;
            };
            let resource = self.narrowed(Resource::of(name, id, key, state, now));
            // That it grew older in words ("not read for 2 min") is no news.
            let aged = |before: &Resource| {
                before.stale && resource.stale && (before.at, before.status) == (resource.at, resource.status)
            };
            if seen.get(key).is_some_and(aged) {
                return;
            }
            if let Some(difference) = ResourceDelta::between(seen.get(key), &resource) {
                delta.resources.push(difference);
                seen.insert(key.clone(), resource);
            }
        };
        match changed {
            Changed::Some(keys) => {
                for key in keys {
                    update(key, latest.resource(key));
                }
            }
            Changed::All => {
                let wanted = |key: &ResourceKey| self.kinds.is_empty() || self.kinds.contains(&*key.kind);
                for key in known.iter().filter(|key| latest.resource(key).is_none()) {
                    update(key, None);
                }
                for (key, state) in latest.resources().filter(|(key, _)| wanted(key)) {
                    update(key, Some(state));
                }
            }
        }
        self.seen.insert(id, seen);
    }

    /// The resource with only what the client asked for.
    fn narrowed(&self, mut resource: Resource) -> Resource {
        if !self.fields.is_empty() {
            resource.readings.retain(|field, _| self.fields.contains(field));
            resource.attributes.clear();
            resource.tables.clear();
        }
        resource
    }
}

/// How often a client wants to hear.
pub(super) fn interval(request: &Subscribe) -> Duration {
    Duration::from_secs(request.every_s.unwrap_or(USUAL).clamp(1, RAREST).into())
}

/// When it was last heard alone is no news: its presence tells. Nor is for how
/// long it has been silent, or what was last known of it meanwhile.
fn stands_alike(a: &Host, b: &Host) -> bool {
    let mut a = a.clone();
    (a.last_seen_at, a.backlog, a.skew_seconds) = (b.last_seen_at, b.backlog, b.skew_seconds);
    if a.presence == b.presence && a.presence == Presence::Offline && a.status == b.status {
        (a.reason, a.problems) = (b.reason.clone(), b.problems.clone());
    }
    a == *b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_round_waits_for_the_others_but_not_for_the_next_delta() {
        let host = HostId::from_parts(1, 1);
        let seen = |kind: &'static str| Change::Resources {
            host,
            updated: vec![ResourceKey::new(kind, "x")],
            removed: Vec::new(),
        };
        let mut subscription = Subscription::new(Subscribe { resources: true, ..Subscribe::default() }, None, None);
        assert_eq!(subscription.due(), None);
        let before = Instant::now();
        subscription.note(&seen("cpu"));
        let due = subscription.due();
        assert!(due.is_some_and(|due| due >= before + GATHER && due < before + Duration::from_secs(USUAL.into())));
        subscription.note(&seen("memory"));
        assert_eq!(subscription.due(), due, "a steady flow of changes puts nothing off");
    }
}
