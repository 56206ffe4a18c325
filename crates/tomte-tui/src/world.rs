//! What is known of the fleet, as the live stream tells it: the hosts with
//! what the fleet's columns need, and everything about the one host on screen.

use std::collections::BTreeMap;

use tomte_api::event::Event;
use tomte_api::history::History;
use tomte_api::host::Host;
use tomte_api::live::{Delta, ResourceDelta, ResourceRef, Snapshot};
use tomte_api::resource::Resource;
use tomte_model::{HostId, Timestamp};

use crate::columns::{self, Cell};
use crate::glyphs::Glyphs;
use crate::series::Points;

/// A resource's kind and name.
pub(crate) type Key = (String, String);

/// What is known of a host.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) host: Host,
    pub(crate) resources: BTreeMap<Key, Resource>,
    /// When its newest reading was taken, or it was heard.
    pub(crate) newest: Option<Timestamp>,
    /// What the fleet's columns show.
    pub(crate) cells: Vec<Cell>,
    /// Processor usage of late.
    pub(crate) usage: Points,
    pub(crate) last_event: Option<Event>,
}

impl Known {
    fn new(host: Host) -> Self {
        let newest = host.last_seen_at;
        Self {
            host,
            resources: BTreeMap::new(),
            newest,
            cells: Vec::new(),
            usage: Points::every(30_000),
            last_event: None,
        }
    }

    /// Its resources of a kind.
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        of_kind(&self.resources, kind)
    }

    fn refresh(&mut self, arrows: [&str; 2]) {
        let read = self.resources.values().map(|resource| resource.at).max();
        self.newest = self.newest.max(read).max(self.host.last_seen_at);
        let usage = self.of_kind("cpu").find_map(|cpu| Some((cpu.at, *cpu.readings.get("usage_ratio")?)));
        if let Some((at, usage)) = usage {
            self.usage.push(at, usage);
        }
        self.cells = columns::cells(self, arrows);
    }
}

/// The resources of a kind.
pub(crate) fn of_kind<'a>(resources: &'a BTreeMap<Key, Resource>, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
    let from = (kind.to_owned(), String::new());
    resources.range(from..).take_while(move |((k, _), _)| k == kind).map(|(_, resource)| resource)
}

/// Everything about one host.
#[derive(Debug, Clone)]
pub(crate) struct Detail {
    pub(crate) id: HostId,
    pub(crate) resources: BTreeMap<Key, Resource>,
    /// Whether anything was told of it yet.
    pub(crate) told: bool,
    /// Readings of late that panels draw, by kind, name and field.
    pub(crate) lines: BTreeMap<(String, String, String), Points>,
}

/// Which readings panels draw over time.
pub(crate) const DRAWN: [(&str, &str); 4] = [
    ("cpu", "usage_ratio"),
    ("memory", "used_ratio"),
    ("interface", "receive_bytes_per_second"),
    ("interface", "transmit_bytes_per_second"),
];

impl Detail {
    pub(crate) fn new(id: HostId) -> Self {
        Self { id, resources: BTreeMap::new(), told: false, lines: BTreeMap::new() }
    }

    fn note(&mut self, key: &Key) {
        let Some(resource) = self.resources.get(key) else { return };
        for (kind, field) in DRAWN {
            if kind != key.0 {
                continue;
            }
            if let Some(value) = resource.readings.get(field) {
                let name = (key.0.clone(), key.1.clone(), field.to_owned());
                self.lines.entry(name).or_insert_with(|| Points::every(10_000)).push(resource.at, *value);
            }
        }
    }

    /// Puts history before what was told live.
    pub(crate) fn recall(&mut self, history: &History) {
        for series in &history.series {
            let Some(name) = series.name.clone().filter(|_| series.host_id == Some(self.id)) else { continue };
            let past = Points::of(series, history.t.as_deref(), history.step_ms);
            let line = self.lines.entry((series.kind.clone(), name, series.field.clone()));
            line.or_insert_with(|| Points::every(10_000)).precede(past);
        }
    }

    /// What changed on it.
    pub(crate) fn apply(&mut self, delta: Delta, name: &str) {
        for reference in delta.removed {
            if reference.host_id == self.id {
                self.resources.remove(&(reference.kind, reference.name));
            }
        }
        for change in delta.resources {
            if change.resource.host_id == self.id {
                let key = (change.resource.kind.clone(), change.resource.name.clone());
                merge(&mut self.resources, &key, change, name);
                self.note(&key);
            }
        }
        self.told = true;
    }

    /// Everything on it.
    pub(crate) fn replace(&mut self, resources: Vec<Resource>) {
        let own = resources.into_iter().filter(|resource| resource.host_id == self.id);
        self.resources = own.map(|resource| ((resource.kind.clone(), resource.name.clone()), resource)).collect();
        let keys: Vec<Key> = self.resources.keys().cloned().collect();
        keys.iter().for_each(|key| self.note(key));
        self.told = true;
    }
}

fn merge(resources: &mut BTreeMap<Key, Resource>, key: &Key, change: ResourceDelta, host: &str) {
    let reference = change.resource.clone();
    change.apply(resources.entry(key.clone()).or_insert_with(|| blank(reference, host)));
}

pub(crate) fn blank(reference: ResourceRef, host: &str) -> Resource {
    Resource {
        host: host.to_owned(),
        host_id: reference.host_id,
        kind: reference.kind,
        name: reference.name,
        status: None,
        reason: String::new(),
        problems: Vec::new(),
        stale: false,
        at: Timestamp::default(),
        facets: BTreeMap::new(),
        attributes: BTreeMap::new(),
        readings: BTreeMap::new(),
        tables: BTreeMap::new(),
    }
}

/// What an event says. Of which thing it says it stands beside it, and need not
/// be said twice.
pub(crate) fn said(event: &Event) -> &str {
    let subject = event.subject.as_deref().unwrap_or_default();
    let rest = event.message.strip_prefix(subject).and_then(|rest| rest.strip_prefix(": "));
    rest.filter(|_| !subject.is_empty()).unwrap_or(&event.message)
}

/// All that is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) hosts: BTreeMap<HostId, Known>,
    /// The host on screen.
    pub(crate) detail: Option<Detail>,
    /// Whether the fleet was told at all.
    pub(crate) told: bool,
}

impl World {
    /// The fleet as a whole. `resources`: whether its readings were asked for,
    /// or only how each host stands.
    pub(crate) fn snapshot(&mut self, snapshot: Snapshot, resources: bool, glyphs: &Glyphs) {
        let mut before = std::mem::take(&mut self.hosts);
        for host in snapshot.hosts {
            let id = host.id;
            let mut known = before.remove(&id).unwrap_or_else(|| Known::new(host.clone()));
            known.host = host;
            if resources {
                known.resources.clear();
            }
            self.hosts.insert(id, known);
        }
        for resource in snapshot.resources {
            if let Some(known) = self.hosts.get_mut(&resource.host_id) {
                known.resources.insert((resource.kind.clone(), resource.name.clone()), resource);
            }
        }
        self.hosts.values_mut().for_each(|known| known.refresh(glyphs.arrows));
        self.told = true;
    }

    /// What changed in the fleet. Returns the hosts that became critical.
    pub(crate) fn delta(&mut self, delta: Delta, glyphs: &Glyphs) -> Vec<HostId> {
        let mut touched: std::collections::BTreeSet<HostId> = std::collections::BTreeSet::new();
        let mut critical = Vec::new();
        for host in delta.hosts {
            let id = host.id;
            let now_critical = host.status == Some(tomte_model::Status::Critical);
            let known = self.hosts.entry(id).or_insert_with(|| Known::new(host.clone()));
            if now_critical && known.host.status != host.status {
                critical.push(id);
            }
            known.host = host;
            touched.insert(id);
        }
        for host in delta.removed_hosts {
            self.hosts.remove(&host);
        }
        for reference in delta.removed {
            if let Some(known) = self.hosts.get_mut(&reference.host_id) {
                known.resources.remove(&(reference.kind, reference.name));
                touched.insert(reference.host_id);
            }
        }
        for change in delta.resources {
            // A host that is not known was removed meanwhile.
            if let Some(known) = self.hosts.get_mut(&change.resource.host_id) {
                touched.insert(change.resource.host_id);
                let key = (change.resource.kind.clone(), change.resource.name.clone());
                merge(&mut known.resources, &key, change, &known.host.name);
            }
        }
        for id in touched {
            if let Some(known) = self.hosts.get_mut(&id) {
                known.refresh(glyphs.arrows);
            }
        }
        critical
    }

    /// What happened last on its host.
    pub(crate) fn event(&mut self, event: &Event, glyphs: &Glyphs) {
        let Some(known) = event.host_id.and_then(|id| self.hosts.get_mut(&id)) else { return };
        if known.last_event.as_ref().is_none_or(|last| last.at <= event.at) {
            known.last_event = Some(event.clone());
            known.cells = columns::cells(known, glyphs.arrows);
        }
    }

    /// Puts the processors' history before what is known.
    pub(crate) fn recall_usage(&mut self, history: &History) {
        for series in history.series.iter().filter(|series| series.kind == "cpu" && series.field == "usage_ratio") {
            if let Some(known) = series.host_id.and_then(|id| self.hosts.get_mut(&id)) {
                known.usage.precede(Points::of(series, history.t.as_deref(), history.step_ms));
            }
        }
    }

    /// A host by any of its names.
    pub(crate) fn find(&self, name: &str) -> Option<&Known> {
        let lower = name.to_lowercase();
        self.hosts.values().find(|known| {
            known.host.name == lower || known.host.aliases.contains(&lower) || known.host.id.to_string() == name
        })
    }
}
