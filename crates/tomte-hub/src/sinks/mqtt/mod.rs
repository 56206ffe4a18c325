//! Hosts without a broker of their own, published by the hub.
//!
//! One publisher per host: an agent that has a broker says so in its hello,
//! and then the hub keeps still about its host; the other way round it takes
//! over. Both use the same ids and topics, so that Home Assistant keeps its
//! entities. [`Hosts`] decides for whom the hub speaks and has what is due;
//! [`crate::mqtt`] is the connection.

mod kept;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use tomte_api::host::Presence;
use tomte_model::{Glob, HostId, Moment};
use tomte_mqtt::names::level;
use tomte_mqtt::protocol::Publish;
use tomte_mqtt::{Options, Publisher};

use crate::Hub;
use crate::config::MqttConfig;
use crate::live::Change;
use crate::sources::systant;

pub(crate) use kept::{KEY, KeptHosts};

/// A broker that the host's own agent does not use is tidied up after a day.
const TIDY_AFTER: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
/// How long after its entities a host's values are emptied, in milliseconds.
const VALUES_AFTER: u64 = 5_000;
/// So many messages are handed out at a time.
const BATCH: usize = 32;

/// The hosts that the hub speaks for.
pub(crate) struct Hosts {
    hub: Arc<Hub>,
    config: MqttConfig,
    names: Vec<Glob>,
    exclude: Vec<Glob>,
    publishers: BTreeMap<HostId, Speaking>,
    kept: KeptHosts,
    /// Hosts of which something may be due, in turn, each once.
    dirty: VecDeque<HostId>,
    queued: HashSet<HostId>,
    /// Hosts of which something was held back, and until when, by the boot clock.
    held: BTreeSet<(u64, HostId)>,
    /// Topics to empty, of hosts that are gone.
    pending: VecDeque<Publish>,
    /// Those of their values, which come later: until its entities are gone,
    /// Home Assistant takes nothing for a value. When, by the boot clock.
    later: VecDeque<(u64, Publish)>,
}

struct Speaking {
    name: String,
    publisher: Publisher,
    /// Its place among what is held back.
    held_until: Option<u64>,
}

/// What the hub has to know of a host to decide.
struct Standing {
    name: String,
    /// Whether its agent has a broker, as far as it was heard; `None`: it has
    /// not been heard since the hub started.
    has_broker: Option<bool>,
    has_agent: bool,
    foreign: bool,
    presence: Presence,
}

impl Hosts {
    pub(crate) fn new(hub: &Arc<Hub>, config: &MqttConfig, kept: KeptHosts) -> Self {
        Self {
            hub: Arc::clone(hub),
            names: globs(&config.hosts),
            exclude: globs(&config.exclude),
            config: config.clone(),
            publishers: BTreeMap::new(),
            kept,
            dirty: VecDeque::new(),
            queued: HashSet::new(),
            held: BTreeSet::new(),
            pending: VecDeque::new(),
            later: VecDeque::new(),
        }
    }

    /// Where the hub tells whether it is there itself. No host's name has an @.
    pub(crate) fn availability(prefix: &str) -> String {
        format!("{prefix}/@hub/availability")
    }

    /// There is a connection: nothing counts as sent.
    pub(crate) fn connected(&mut self) {
        self.publishers.values_mut().for_each(|speaking| speaking.publisher.connected());
        self.look_at_all();
    }

    /// There is no connection any more: nothing is due.
    pub(crate) fn lost(&mut self) {
        self.held.clear();
        for speaking in self.publishers.values_mut() {
            speaking.publisher.lost();
            speaking.held_until = None;
        }
    }

    /// When the first of what was held back is due, by the boot clock.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.held.first().map(|(at, _)| *at)
    }

    /// Home Assistant has started: each host answers at its own time.
    pub(crate) fn birth(&mut self, now: u64, within: u64) {
        for speaking in self.publishers.values_mut() {
            speaking.publisher.birth(now + fastrand::u64(0..within));
        }
    }

    /// Something changed.
    pub(crate) fn changed(&mut self, change: &Change) {
        match change {
            Change::Resources { host, .. } => self.mark(*host),
            Change::Host(host) => {
                self.decide(*host);
                self.mark(*host);
            }
            Change::HostRemoved(host) => self.forget(*host),
            Change::Event(stored) => {
                let Some(speaking) = stored.host.and_then(|host| self.publishers.get_mut(&host)) else { return };
                speaking.publisher.event(&stored.event);
                stored.host.into_iter().for_each(|host| self.mark(host));
            }
        }
    }

    /// Looks at every host again: after changes that were missed, and now and
    /// then for what only time brings.
    pub(crate) fn look_at_all(&mut self) {
        let hosts: Vec<_> = self.hub.fleet.all().into_iter().map(|host| host.id).collect();
        let gone: Vec<_> = self.kept.hosts.keys().filter(|host| !hosts.contains(host)).copied().collect();
        gone.into_iter().for_each(|host| self.forget(host));
        for host in hosts {
            self.decide(host);
            self.mark(host);
        }
    }

    fn mark(&mut self, host: HostId) {
        if self.publishers.contains_key(&host) && self.queued.insert(host) {
            self.dirty.push_back(host);
        }
    }

    fn standing(&self, host: HostId) -> Option<Standing> {
        let held = self.hub.fleet.get(host)?;
        let (now, timing) = (self.hub.clock.now(), self.hub.resolved().config.presence.clone());
        let state = held.lock();
        (!state.removed).then(|| Standing {
            name: state.record.name.to_string(),
            has_broker: state.publishes_mqtt,
            has_agent: state.record.public_key.is_some(),
            foreign: state.record.external_ids.contains_key(systant::SYSTEM),
            presence: state.signs.presence(now, self.hub.started, &timing),
        })
    }

    /// Whether the hub speaks for a host: not for one whose agent does so, and
    /// not before it is known what its agent does.
    fn speaks_for(&self, host: HostId, standing: &Standing) -> bool {
        if !self.config.publish || standing.foreign || !any(&self.names, &standing.name) {
            return false;
        }
        match standing.has_broker {
            Some(has_broker) => !has_broker,
            None => !standing.has_agent || self.kept.hosts.get(&host).is_some_and(|left| left.released_at.is_none()),
        }
    }

    fn decide(&mut self, host: HostId) {
        let Some(standing) = self.standing(host) else { return self.forget(host) };
        if !self.speaks_for(host, &standing) {
            return self.release(host, &standing);
        }
        if self.publishers.get(&host).is_some_and(|speaking| speaking.name != standing.name) {
            self.save_one(host);
            self.publishers.remove(&host);
        }
        let speaking = self.publishers.entry(host).or_insert_with(|| {
            let left = self.kept.hosts.entry(host).or_default();
            left.released_at = None;
            left.name.clone_from(&standing.name);
            self.kept.changed = true;
            let exclude = self.exclude.clone();
            let options = Options {
                host,
                name: standing.name.clone(),
                prefix: self.config.prefix.clone(),
                pace: self.config.pace(),
                discovery: self.config.discovery(),
                shows: Box::new(move |what| !any(&exclude, what)),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                values_at: 0,
                hub_availability: Some(Self::availability(&self.config.prefix)),
            };
            let mut publisher = Publisher::new(options, left.kept.clone());
            publisher.connected();
            Speaking { name: standing.name.clone(), publisher, held_until: None }
        });
        speaking.publisher.set_online(matches!(standing.presence, Presence::Online | Presence::Late));
        speaking.publisher.set_newest(Some(env!("CARGO_PKG_VERSION").to_owned()));
    }

    /// Keeps still about a host from now on. Its agent fills the same topics,
    /// if on the same broker; the last word is that it is away, which the
    /// agent puts right.
    fn release(&mut self, host: HostId, standing: &Standing) {
        self.save_one(host);
        let now = self.hub.now();
        if let Some(speaking) = self.publishers.remove(&host) {
            tracing::info!(host = standing.name, "no longer publishes for this host");
            self.pending.push_back(speaking.publisher.will());
            let left = self.kept.hosts.entry(host).or_default();
            (left.released_at, left.answered) = (Some(now), false);
            self.kept.changed = true;
        }
        let Some(left) = self.kept.hosts.get(&host) else { return };
        let agents_elsewhere = left.released_at.is_some_and(|at| now.since(at) >= TIDY_AFTER)
            && !left.answered
            && !left.kept.topics.is_empty();
        if agents_elsewhere || left.released_at.is_none() {
            self.forget(host);
        }
    }

    /// Empties all topics of a host.
    fn forget(&mut self, host: HostId) {
        self.save_one(host);
        self.publishers.remove(&host);
        if let Some(left) = self.kept.hosts.remove(&host) {
            self.kept.changed = true;
            let at = self.hub.clock.now().boot_millis + VALUES_AFTER;
            for topic in left.kept.topics {
                if topic.ends_with("/config") {
                    self.pending.push_back(Publish::empty(topic));
                } else {
                    self.later.push_back((at, Publish::empty(topic)));
                }
            }
        }
    }

    /// What is due, at most a batch. Empty: nothing is, for now.
    pub(crate) fn due(&mut self, now: Moment) -> Vec<Publish> {
        while self.later.front().is_some_and(|(at, _)| *at <= now.boot_millis) {
            self.pending.extend(self.later.pop_front().map(|(_, message)| message));
        }
        while self.held.first().is_some_and(|(at, _)| *at <= now.boot_millis) {
            let Some((_, host)) = self.held.pop_first() else { break };
            if let Some(speaking) = self.publishers.get_mut(&host) {
                speaking.held_until = None;
            }
            self.mark(host);
        }
        if !self.pending.is_empty() {
            let room = BATCH.min(self.pending.len());
            return self.pending.drain(..room).collect();
        }
        while let Some(host) = self.dirty.front().copied() {
            let due = self.of_host(host, now);
            if due.is_empty() {
                self.dirty.pop_front();
                self.queued.remove(&host);
            } else {
                return due;
            }
        }
        Vec::new()
    }

    fn of_host(&mut self, host: HostId, now: Moment) -> Vec<Publish> {
        let Some(held) = self.hub.fleet.get(host) else { return Vec::new() };
        let Some(speaking) = self.publishers.get_mut(&host) else { return Vec::new() };
        let catalogue = self.hub.catalogue();
        let due = {
            let state = held.lock();
            speaking.publisher.look(&state.latest, &catalogue, now)
        };
        let next = speaking.publisher.next_at();
        if next != speaking.held_until {
            let before = std::mem::replace(&mut speaking.held_until, next);
            before.into_iter().for_each(|at| _ = self.held.remove(&(at, host)));
            self.held.extend(next.map(|at| (at, host)));
        }
        due
    }

    /// Somebody said something of a host.
    pub(crate) fn heard(&mut self, message: &Publish) {
        let Some(name) = self.host_of(&message.topic) else { return };
        let meant = self.publishers.iter_mut().find(|(_, speaking)| level(&speaking.name) == name);
        if let Some((host, speaking)) = meant {
            speaking.publisher.heard(message);
            let host = *host;
            self.mark(host);
        }
        let online = message.payload == "online" && !message.retain;
        for (host, left) in &mut self.kept.hosts {
            let released = left.released_at.is_some() && !self.publishers.contains_key(host);
            if online && released && !left.answered && level(&left.name) == name {
                left.answered = true;
                self.kept.changed = true;
            }
        }
    }

    fn host_of<'a>(&self, topic: &'a str) -> Option<&'a str> {
        topic.strip_prefix(self.config.prefix.as_str())?.strip_prefix('/')?.strip_suffix("/availability")
    }

    /// What is said before a clean end: the hub's own absence is enough, since
    /// every entity hangs on it.
    pub(crate) fn last_words(&mut self) -> Vec<Publish> {
        let later = self.later.drain(..).map(|(_, message)| message);
        self.pending.drain(..).chain(later).collect()
    }

    fn save_one(&mut self, host: HostId) {
        if let Some(kept) = self.publishers.get_mut(&host).and_then(|speaking| speaking.publisher.kept_if_changed()) {
            self.kept.hosts.entry(host).or_default().kept = kept;
            self.kept.changed = true;
        }
    }

    /// What has to be remembered, when it changed since it was asked for last.
    pub(crate) fn kept_if_changed(&mut self) -> Option<Vec<u8>> {
        let hosts: Vec<_> = self.publishers.keys().copied().collect();
        hosts.into_iter().for_each(|host| self.save_one(host));
        self.kept.written_if_changed()
    }
}

/// What is no pattern was refused when the configuration was read.
fn globs(patterns: &[String]) -> Vec<Glob> {
    patterns.iter().filter_map(|pattern| Glob::new(pattern).ok()).collect()
}

fn any(globs: &[Glob], name: &str) -> bool {
    globs.iter().any(|glob| glob.matches(name))
}
