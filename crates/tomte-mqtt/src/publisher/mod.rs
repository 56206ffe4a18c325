//! What has to be published now: a state machine between what is known of a
//! host and a broker.
//!
//! [`Publisher::look`] compares the two and returns what is due, a bounded
//! number at a time; whoever drives it comes back when that is sent. It has no
//! clock and no socket. It remembers every retained topic that it ever filled,
//! also over a restart, so that none is left behind.

mod devices;
mod options;
mod shown;
mod sub_devices;
mod told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::json;
use tomte_model::catalogue::KindDef;
use tomte_model::latest::{RETIRE_AFTER, ResourceState};
use tomte_model::{Catalogue, Event, EventKind, Latest, Moment, Name, ResourceKey, Value};

use crate::controls::{self, Control};
use crate::discovery::{Device, Frame, MIGRATE, Style};
use crate::entity::{Entity, NO_VALUE, of_attribute, of_field, of_host, of_problem, of_update};
use crate::names::hash;
use crate::protocol::Publish;
use crate::topics::Topics;
use shown::{Shown, attribute, judged, shown_of_facet, shown_values, status_text, update_text};
use told::Told;

pub use options::{Discovery, Kept, Options, Pace, Shows};

/// So many messages at most are made at a time.
const BATCH: usize = 32;
/// More resources than this are not published.
const MOST_RESOURCES: usize = 2_000;
/// More events than this do not wait for a broker; the oldest go first.
const MOST_EVENTS: usize = 100;
/// So many removals are remembered, to be told again.
const MOST_REMOVED: usize = 500;
/// The type of events that Home Assistant was not told of.
const OTHER_EVENT: &str = "other";
/// Whoever says something else of a host's availability is contradicted this
/// often at most, in milliseconds: two who are both sure do not shout all day.
const CONTRADICT_EVERY: u64 = 5_000;
/// Values are emptied so long after their entities were taken back, or were said
/// under another name: Home Assistant, while it listens, takes nothing for a
/// value and complains.
const AFTER_REMOVAL: u64 = 5_000;
const AFTER_RENAMING: u64 = 20_000;

/// Values are told again so long after their entities were announced. Home
/// Assistant may have known them already, also from another that spoke for the
/// host: one that it takes for changed has no value, where values expire, until
/// the next one comes.
const AFTER_ANNOUNCING: u64 = 3_000;

/// A value as it was last sent.
struct Sent {
    name: Name,
    /// `None`: sent as having no value.
    value: Option<u64>,
    told: Told,
    seen: bool,
    /// Whether it is published at all.
    shown: bool,
}

/// A text beside the values, as it was last sent.
#[derive(Default)]
struct Said {
    hash: Option<u64>,
    told: Told,
    /// Whether it is published at all; `None`: not asked yet.
    shown: Option<bool>,
}

/// A resource as it was last published.
#[derive(Default)]
struct Thing {
    values: Vec<Sent>,
    status: Said,
    update: Said,
    announced: bool,
    /// The device of its own that it was last announced as.
    device: Option<Device>,
    /// It is not announced before, in milliseconds of boot time: Home Assistant
    /// is letting go of its entities elsewhere.
    moves_at: Option<u64>,
    /// When all of it is told again, in milliseconds of boot time.
    again_at: Option<u64>,
    entities: Vec<(&'static str, String)>,
}

impl Thing {
    /// Nothing of it counts as sent.
    fn forget_sent(&mut self) {
        self.status.told.forget();
        self.update.told.forget();
        self.values.iter_mut().for_each(|sent| sent.told.forget());
    }
}

/// The state machine.
pub struct Publisher {
    options: Options,
    topics: Topics,
    frame: Frame,
    device: Device,
    things: BTreeMap<ResourceKey, Thing>,
    /// Topics that this run has filled itself.
    claimed: BTreeSet<String>,
    kept: Kept,
    kept_changed: bool,
    /// The components of devices' messages that this run has named itself.
    named: BTreeSet<(String, String)>,
    /// Components, by their devices, whose messages this run has let go of.
    let_go: BTreeSet<(String, String)>,
    status: Said,
    online: bool,
    /// What was last said of that on this connection, and when.
    greeted: Option<(bool, u64)>,
    /// The newest agent that is to be had, if somebody knows.
    newest: Option<String>,
    host_announced: bool,
    /// A device's message is to be made anew.
    stale_devices: bool,
    pending: VecDeque<Publish>,
    /// Topics to empty later, and when, once that is known.
    later: Vec<(Option<u64>, String)>,
    events: VecDeque<Publish>,
    contradicted: bool,
    /// Whether removals were told on this connection.
    told_removed: bool,
    republish_at: Option<u64>,
    /// When the first of what is held back is due.
    next_at: Option<u64>,
    started: Option<u64>,
    event_types: Vec<&'static str>,
    /// The commands that can be asked for.
    controls: Vec<Control>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("host", &self.options.host).finish_non_exhaustive()
    }
}

impl Publisher {
    /// A publisher that has what another one left behind.
    #[must_use]
    pub fn new(options: Options, kept: Kept) -> Self {
        let topics = Topics::new(&options.prefix, &options.name);
        let device = Device {
            id: Device::id_of(options.host),
            name: options.name.clone(),
            manufacturer: None,
            model: None,
            software: None,
            via: None,
        };
        let frame = Frame {
            host_id: device.id.clone(),
            host_name: device.name.clone(),
            prefix: options.discovery.as_ref().map_or_else(String::new, |discovery| discovery.prefix.clone()),
            availability: topics.availability(),
            hub_availability: options.hub_availability.clone(),
            version: options.version.clone(),
        };
        let known: Vec<&'static str> = EventKind::KNOWN.iter().filter_map(|kind| static_text(&kind.0)).collect();
        let event_types = known.into_iter().chain([OTHER_EVENT]).collect();
        let mut publisher = Self {
            options,
            topics,
            frame,
            device,
            things: BTreeMap::new(),
            claimed: BTreeSet::new(),
            kept,
            kept_changed: false,
            named: BTreeSet::new(),
            let_go: BTreeSet::new(),
            status: Said::default(),
            online: true,
            greeted: None,
            newest: None,
            host_announced: false,
            stale_devices: true,
            pending: VecDeque::new(),
            later: Vec::new(),
            events: VecDeque::new(),
            contradicted: false,
            told_removed: false,
            republish_at: None,
            next_at: None,
            started: None,
            event_types,
            controls: Vec::new(),
        };
        publisher.later = publisher.kept.gone.iter().map(|topic| (None, topic.clone())).collect();
        publisher.leave_former_places();
        publisher
    }

    /// What a broker says of the host when the connection breaks.
    #[must_use]
    pub fn will(&self) -> Publish {
        self.availability(false)
    }

    fn availability(&self, online: bool) -> Publish {
        let text = if online { "online" } else { "offline" };
        Publish::retained(self.topics.availability(), text, self.options.pace.discovery)
    }

    /// Whether the host is there, where somebody else than the host publishes.
    pub fn set_online(&mut self, online: bool) {
        self.online = online;
    }

    /// The newest version of the agent that is to be had, as somebody knows.
    pub fn set_newest(&mut self, version: Option<String>) {
        if self.newest != version {
            // The first brings an entity, the next ones another text.
            self.newest = version;
            self.things.values_mut().for_each(|thing| thing.announced = false);
        }
    }

    /// Somebody said something on a topic. An old connection's will may come
    /// after the new connection's first words, and others may be wrong:
    /// what they say of this host's availability is put right.
    pub fn heard(&mut self, message: &Publish) {
        if let Some((said, _)) = self.greeted
            && !message.retain
            && message.topic == self.topics.availability()
            && message.payload != self.availability(said).payload
        {
            self.contradicted = true;
        }
    }

    /// What to say before a clean end, which the broker's will does not tell.
    pub fn goodbye(&mut self) -> Vec<Publish> {
        let mut last: Vec<_> = self.events.drain(..).collect();
        last.push(self.will());
        last
    }

    /// There is a connection: nothing counts as sent on it yet.
    pub fn connected(&mut self) {
        self.greeted = None;
        self.told_removed = false;
        self.contradicted = false;
        self.republish_at = None;
        self.forget_sent();
    }

    /// There is no connection any more: nothing is due.
    pub fn lost(&mut self) {
        (self.next_at, self.republish_at) = (None, None);
    }

    /// Replaces the commands that can be asked for; those that are gone are
    /// taken back.
    pub fn set_controls(&mut self, controls: Vec<Control>) {
        let topics = |publisher: &Self| -> BTreeSet<String> {
            let entities = publisher.controls.iter().map(|control| controls::entity(control, &publisher.topics));
            entities.map(|it| publisher.frame.entity_topic(&publisher.device.id, it.component, &it.key)).collect()
        };
        self.controls = controls;
        let present = topics(self);
        // Also those of an earlier run.
        let ours = [("button", "/command-"), ("switch", "/command-")]
            .map(|(component, key)| format!("{}/{component}/{}{key}", self.frame.prefix, self.device.id));
        let is_ours = |topic: &&String| ours.iter().any(|ours| topic.starts_with(ours.as_str()));
        let gone: Vec<_> =
            self.kept.topics.iter().filter(is_ours).filter(|topic| !present.contains(*topic)).cloned().collect();
        gone.iter().for_each(|topic| self.clear(topic));
        self.host_announced = false;
        self.stale_devices = true;
    }

    /// Home Assistant has started: everything is told again at `at`, in
    /// milliseconds of boot time, so that not all hosts speak at once.
    pub fn birth(&mut self, at: u64) {
        self.republish_at.get_or_insert(at);
    }

    /// What has to be remembered, when it changed since it was asked for last.
    pub fn kept_if_changed(&mut self) -> Option<Kept> {
        std::mem::take(&mut self.kept_changed).then(|| self.kept.clone())
    }

    /// Something happened on the host.
    pub fn event(&mut self, event: &Event) {
        let kind = self.event_types.iter().find(|kind| **kind == event.kind.as_str()).copied();
        let payload = json!({
            "event_type": kind.unwrap_or(OTHER_EVENT),
            "type": event.kind.as_str(),
            "id": event.id.to_string(),
            "at": event.at.to_string(),
            "severity": event.severity.as_str(),
            "subject": event.subject,
            "message": event.message,
            "details": event.details,
        });
        if self.events.len() >= MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Publish {
            topic: self.topics.events(),
            payload: payload.to_string().into_bytes().into(),
            qos: self.options.pace.event,
            retain: false,
        });
    }

    /// That the host is there, as far as it was not said on this connection.
    pub fn greeting(&mut self, now: Moment) -> Option<Publish> {
        let mut out = Vec::new();
        if self.greeted.is_none() {
            self.greet(now.boot_millis, &mut out);
        }
        out.pop()
    }

    /// When to look again, in milliseconds of boot time, for what the last look
    /// held back: that is not left to wait for the next reading.
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        self.next_at.into_iter().chain(self.republish_at).min()
    }

    /// It is to be looked at again then.
    fn look_again(&mut self, at: u64) {
        self.next_at = Some(self.next_at.map_or(at, |known| known.min(at)));
    }

    /// What is due now, at most a batch. Empty: nothing is, for now.
    pub fn look(&mut self, latest: &Latest, catalogue: &Catalogue, now: Moment) -> Vec<Publish> {
        let boot = now.boot_millis;
        let started = *self.started.get_or_insert(boot);
        self.next_at = None;
        if self.republish_at.is_some_and(|at| at <= boot) {
            self.republish_at = None;
            self.forget_sent();
            self.pending.extend(self.kept.removed.iter().map(|topic| Publish::empty(topic.clone())));
        }
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.told_removed, true) {
            self.pending.extend(self.kept.removed.iter().map(|topic| Publish::empty(topic.clone())));
        }
        self.greet(boot, &mut out);
        self.describe_device(latest);
        self.drop_gone(latest);
        let settled = boot.saturating_sub(started) >= millis(RETIRE_AFTER);
        self.empty_what_is_due(boot, settled);
        let room = BATCH.saturating_sub(out.len()).min(self.pending.len());
        out.extend(self.pending.drain(..room));
        self.announce_host(&mut out);
        for (resource, state) in latest.resources() {
            if out.len() >= BATCH {
                return out;
            }
            self.publish_resource(resource, state, catalogue, now, &mut out);
        }
        self.publish_status(latest, now, &mut out);
        if self.stale_devices {
            self.stale_devices = false;
            self.publish_devices(latest, catalogue, settled, &mut out);
        }
        out.extend(self.events.drain(..));
        if settled {
            self.drop_unclaimed();
        }
        out
    }

    fn greet(&mut self, boot: u64, out: &mut Vec<Publish>) {
        let due = match self.greeted {
            None => true,
            Some((said, at)) => {
                said != self.online || (self.contradicted && boot.saturating_sub(at) >= CONTRADICT_EVERY)
            }
        };
        if due {
            self.contradicted = false;
            self.greeted = Some((self.online, boot));
            let message = self.availability(self.online);
            self.keep(&message.topic);
            out.push(message);
        }
    }

    fn forget_sent(&mut self) {
        for thing in self.things.values_mut() {
            thing.announced = false;
            thing.forget_sent();
        }
        self.status.told.forget();
        self.host_announced = false;
        self.stale_devices = true;
    }

    fn keep(&mut self, topic: &str) {
        if !self.kept.topics.contains(topic) {
            self.kept.topics.insert(topic.to_owned());
            self.kept_changed = true;
        }
        if !self.claimed.contains(topic) {
            self.claimed.insert(topic.to_owned());
            self.kept_changed |= self.kept.gone.remove(topic);
        }
        if self.kept.removed.iter().any(|removed| removed == topic) {
            self.kept.removed.retain(|removed| removed != topic);
        }
        // What is filled again must not be emptied by what waited.
        self.pending.retain(|message| message.topic != topic);
    }

    /// Empties a topic, if it was ever filled.
    fn clear(&mut self, topic: &str) {
        self.claimed.remove(topic);
        if !topic.ends_with("/config") {
            // It is remembered until then, also over a restart.
            if self.kept.topics.contains(topic) {
                self.kept_changed |= self.kept.gone.insert(topic.to_owned());
                self.empty_later(topic);
            }
        } else if self.clear_moved(topic) {
            self.kept.removed.push_back(topic.to_owned());
            if self.kept.removed.len() > MOST_REMOVED {
                self.kept.removed.pop_front();
            }
        }
    }

    /// Empties a topic of discovery whose entities are announced elsewhere; if
    /// it was ever filled. That is never told again: with every time Home
    /// Assistant would complain of each that it has from elsewhere.
    fn clear_moved(&mut self, topic: &str) -> bool {
        self.claimed.remove(topic);
        let was_filled = self.kept.topics.remove(topic);
        if was_filled {
            self.kept_changed = true;
            self.pending.push_back(Publish::empty(topic.to_owned()));
        }
        was_filled
    }

    fn empty_later(&mut self, topic: &str) {
        if self.later.iter().all(|(_, known)| known != topic) {
            self.later.push((None, topic.to_owned()));
        }
    }

    /// What is under a former name waits until it was said under the new one:
    /// until then Home Assistant listens there. What never comes again goes
    /// with all that nobody has spoken of for a day.
    fn empty_what_is_due(&mut self, boot: u64, settled: bool) {
        if self.later.is_empty() {
            return;
        }
        let (root, prefix) = (self.topics.root(), format!("{}/", self.options.prefix));
        for (at, topic) in self.later.iter_mut().filter(|(at, _)| at.is_none()) {
            let is_own = topic.starts_with(&root);
            let at_former_name = topic.strip_prefix(&prefix).and_then(|rest| rest.split_once('/'));
            if let Some((_, place)) = at_former_name
                && !(is_own || settled || self.kept.gone.contains(topic))
                && !self.claimed.contains(&format!("{root}{place}"))
            {
                continue;
            }
            *at = Some(boot.saturating_add(if is_own { AFTER_REMOVAL } else { AFTER_RENAMING }));
        }
        let is_due = |(at, _): &(Option<u64>, String)| at.is_some_and(|at| at <= boot);
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(is_due);
        self.later = later;
        if let Some(at) = self.later.iter().filter_map(|(at, _)| *at).min() {
            self.look_again(at);
        }
        let due: Vec<(Option<u64>, String)> = due;
        for (_, topic) in due {
            // It may have been filled again meanwhile.
            if !self.claimed.contains(&topic) && self.kept.topics.remove(&topic) {
                self.kept_changed = true;
                self.kept.gone.remove(&topic);
                self.pending.push_back(Publish::empty(topic));
            }
        }
    }

    /// Empties what was filled under another name, prefix or host.
    fn leave_former_places(&mut self) {
        let root = self.topics.root();
        let ours = format!("/{}", self.device.id);
        let discovery = self.options.discovery.as_ref().map(|discovery| format!("{}/", discovery.prefix));
        let elsewhere = |topic: &&String| {
            let discovered = discovery.as_ref().is_some_and(|prefix| topic.starts_with(prefix.as_str()));
            !(topic.starts_with(&root) || discovered && topic.contains(&ours))
        };
        let former: Vec<_> = self.kept.topics.iter().filter(elsewhere).cloned().collect();
        for topic in former {
            if topic.ends_with("/config") { self.clear(&topic) } else { self.empty_later(&topic) }
        }
    }

    /// What nobody has spoken of for a day is no more.
    fn drop_unclaimed(&mut self) {
        let unclaimed: Vec<_> = self.kept.topics.difference(&self.claimed).cloned().collect();
        unclaimed.iter().for_each(|topic| self.clear(topic));
    }

    fn describe_device(&mut self, latest: &Latest) {
        let os = ResourceKey::new("os", "os");
        let Some(os) = latest.resource(&os) else { return };
        let text = |name: &str| match os.attributes().find(|(known, _)| *known == name)?.1 {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        let before = (&self.device.manufacturer, &self.device.model, &self.device.software);
        let found = (text("vendor"), text("product").or_else(|| text("architecture")), text("name"));
        if before != (&found.0, &found.1, &found.2) {
            (self.device.manufacturer, self.device.model, self.device.software) = found;
            // The device is in every entity's message.
            self.host_announced = false;
            self.stale_devices = true;
            self.things.values_mut().for_each(|thing| thing.announced = false);
        }
    }

    fn expire_after(&self) -> u64 {
        (self.options.pace.keep_alive * 3).as_secs().max(1)
    }

    /// The style in which entities are announced one by one.
    fn one_by_one(&self) -> bool {
        self.options.discovery.as_ref().is_some_and(|discovery| discovery.style == Style::Entity)
    }

    fn announce(&mut self, device: &Device, entity: &Entity, out: &mut Vec<Publish>) {
        let topic = self.frame.entity_topic(&device.id, entity.component, &entity.key);
        let before = self.frame.device_topic(&device.id);
        if let Some(components) = self.kept.components.remove(&before) {
            self.let_go.extend(components.into_keys().map(|key| (device.id.clone(), key)));
            // Let go of first, emptied when everything has been announced.
            out.push(Publish::retained(before, MIGRATE, self.options.pace.discovery));
            self.stale_devices = true;
        }
        self.keep(&topic);
        out.push(Publish::retained(topic, &self.frame.entity(device, entity), self.options.pace.discovery));
    }

    fn host_entities(&self) -> Vec<Entity> {
        let mut entities = of_host(&self.topics, self.expire_after(), &self.event_types);
        entities.extend(self.controls.iter().map(|control| controls::entity(control, &self.topics)));
        entities
    }

    fn announce_host(&mut self, out: &mut Vec<Publish>) {
        if std::mem::replace(&mut self.host_announced, true) || !self.one_by_one() {
            return;
        }
        let device = self.device.clone();
        for entity in self.host_entities() {
            self.announce(&device, &entity, out);
        }
    }

    fn entities(&self, kind: &KindDef, resource: &ResourceKey, state: &ResourceState) -> Vec<Entity> {
        let own_device = self.is_apart(resource);
        let expire = self.expire_after();
        let mut entities = Vec::new();
        for (name, value) in shown_values(kind, state) {
            if !(self.options.shows)(&format!("{resource}/{name}")) {
                continue;
            }
            let topic = self.topics.value(resource, name);
            entities.extend(match value {
                Shown::Number(_) => {
                    kind.field(name).map(|field| of_field(kind, field, resource, &topic, expire, own_device))
                }
                Shown::Flag(_) | Shown::Text(_) => attribute(kind, name).map(|home| {
                    of_attribute(name, home, matches!(value, Shown::Flag(_)), resource, &topic, own_device)
                }),
            });
        }
        if judged(state) && (self.options.shows)(&format!("{resource}/status")) {
            entities.push(of_problem(resource, &self.topics.value(resource, "status"), expire, own_device));
        }
        if update_text(resource, state, self.newest.as_deref()).is_some()
            && (self.options.shows)(&format!("{resource}/update"))
        {
            entities.push(of_update(resource, &self.topics.value(resource, "update")));
        }
        entities
    }

    fn publish_resource(
        &mut self,
        resource: &ResourceKey,
        state: &ResourceState,
        catalogue: &Catalogue,
        now: Moment,
        out: &mut Vec<Publish>,
    ) {
        let Some(kind) = catalogue.kind(&resource.kind) else { return };
        if self.things.len() >= MOST_RESOURCES && !self.things.contains_key(resource) {
            return;
        }
        let mut thing = self.things.remove(resource).unwrap_or_default();
        let known = |name: &Name| thing.values.iter().any(|sent| sent.name == *name);
        let new: Vec<Name> =
            shown_values(kind, state).map(|(name, _)| name).filter(|name| !known(name)).cloned().collect();
        for name in new {
            thing.announced = false;
            let shown = (self.options.shows)(&format!("{resource}/{name}"));
            thing.values.push(Sent { name, value: None, told: Told::default(), seen: true, shown });
        }
        self.announce_resource(resource, state, kind, &mut thing, now.boot_millis, out);
        if let Some(at) = thing.again_at {
            if at <= now.boot_millis {
                thing.again_at = None;
                thing.forget_sent();
            } else {
                self.look_again(at);
            }
        }
        if now.boot_millis >= self.options.values_at {
            self.publish_values(resource, state, kind, &mut thing, now, out);
        } else {
            self.look_again(self.options.values_at);
        }
        self.things.insert(resource.clone(), thing);
    }

    /// Announces a resource's entities, unless they are announced as they are,
    /// or were another device's until just now.
    fn announce_resource(
        &mut self,
        resource: &ResourceKey,
        state: &ResourceState,
        kind: &KindDef,
        thing: &mut Thing,
        boot: u64,
        out: &mut Vec<Publish>,
    ) {
        let own = self.sub_device(resource, state);
        if thing.announced && thing.device == own || self.options.discovery.is_none() {
            return;
        }
        let entities = self.entities(kind, resource, state);
        let device = own.as_ref().unwrap_or(&self.device).clone();
        if self.is_moving(resource, &entities, &mut thing.moves_at, boot) {
            thing.announced = false;
            return;
        }
        thing.again_at = Some(boot.saturating_add(AFTER_ANNOUNCING));
        if self.one_by_one() {
            for entity in &entities {
                self.announce(&device, entity, out);
            }
        } else {
            self.stale_devices = true;
        }
        (thing.announced, thing.device) = (true, own);
        thing.entities = entities.into_iter().map(|entity| (entity.component, entity.key)).collect();
    }

    fn publish_values(
        &mut self,
        resource: &ResourceKey,
        state: &ResourceState,
        kind: &KindDef,
        thing: &mut Thing,
        now: Moment,
        out: &mut Vec<Publish>,
    ) {
        thing.values.iter_mut().for_each(|sent| sent.seen = false);
        for facet in state.facets.values() {
            let stale = facet.staleness(now.wall).is_some();
            for (name, value) in shown_of_facet(kind, facet) {
                let Some(sent) = thing.values.iter_mut().find(|sent| sent.name == *name) else { continue };
                sent.seen = true;
                // What could not be read is left to expire: it is no longer live.
                if stale || !sent.shown {
                    continue;
                }
                let hash = Some(value.hash());
                let age = now.wall.since(facet.at);
                if !self.is_due(&mut sent.told, sent.value == hash, age, now.boot_millis) {
                    continue;
                }
                sent.value = hash;
                let topic = self.topics.value(resource, name);
                self.keep(&topic);
                out.push(Publish::retained(topic, &value.text(), self.options.pace.state));
            }
        }
        for sent in thing.values.iter_mut().filter(|sent| !sent.seen && sent.value.is_some()) {
            sent.value = None;
            sent.told.note(false, now.boot_millis, now.boot_millis);
            out.push(Publish::retained(self.topics.value(resource, &sent.name), NO_VALUE, self.options.pace.state));
        }
        if let Some(assessment) = state.assessment(now.wall) {
            let text = json!({ "status": assessment.status, "reason": assessment.reason }).to_string();
            self.say(resource, "status", &text, &mut thing.status, now, out);
        }
        let stale = state.stale(now.wall);
        if let Some(text) = update_text(resource, state, self.newest.as_deref()).filter(|_| !stale) {
            self.say(resource, "update", &text, &mut thing.update, now, out);
        }
    }

    /// Says a text of a resource, when it is due.
    fn say(
        &mut self,
        resource: &ResourceKey,
        what: &str,
        text: &str,
        said: &mut Said,
        now: Moment,
        out: &mut Vec<Publish>,
    ) {
        let shows = &self.options.shows;
        if !*said.shown.get_or_insert_with(|| shows(&format!("{resource}/{what}"))) {
            return;
        }
        let topic = |topics: &Topics| topics.value(resource, what);
        if let Some(message) = self.retained_text(topic, text, said, now) {
            self.keep(&message.topic);
            out.push(message);
        }
    }

    fn retained_text(
        &mut self,
        topic: impl FnOnce(&Topics) -> String,
        text: &str,
        said: &mut Said,
        now: Moment,
    ) -> Option<Publish> {
        let hash = Some(hash(text.as_bytes()));
        self.is_due(&mut said.told, said.hash == hash, Duration::ZERO, now.boot_millis).then(|| {
            said.hash = hash;
            Publish::retained(topic(&self.topics), text, self.options.pace.state)
        })
    }

    /// Whether something of that age is to be sent, which is then noted. What
    /// changed and has to wait for its turn is looked at again when that comes.
    fn is_due(&mut self, told: &mut Told, same: bool, age: Duration, boot: u64) -> bool {
        let pace = &self.options.pace;
        let due_at = told.due_at(same, pace);
        if due_at <= boot {
            // Half, so that a clock that is wrong does not do away with the interval.
            let age = age.min(pace.interval / 2);
            told.note(same, boot, boot.saturating_sub(millis(age)));
            return true;
        }
        if !same {
            self.look_again(due_at);
        }
        false
    }

    fn publish_status(&mut self, latest: &Latest, now: Moment, out: &mut Vec<Publish>) {
        if now.boot_millis < self.options.values_at {
            return;
        }
        let Some(assessment) = latest.assessment(now.wall) else { return };
        let text = status_text(latest, assessment.status, &assessment.reason, now.wall);
        let mut said = std::mem::take(&mut self.status);
        if let Some(message) = self.retained_text(Topics::status, &text, &mut said, now) {
            self.keep(&message.topic);
            out.push(message);
        }
        self.status = said;
    }

    /// Takes back what was said of resources that are gone for good.
    fn drop_gone(&mut self, latest: &Latest) {
        let gone: Vec<_> = self.things.keys().filter(|key| latest.resource(key).is_none()).cloned().collect();
        for resource in gone {
            let Some(thing) = self.things.remove(&resource) else { continue };
            let device = self.device_id(&resource);
            for (component, key) in thing.entities {
                self.clear(&self.frame.entity_topic(&device, component, &key));
            }
            for sent in thing.values {
                self.clear(&self.topics.value(&resource, &sent.name));
            }
            self.clear(&self.topics.value(&resource, "status"));
            self.clear(&self.topics.value(&resource, "update"));
            self.stale_devices = true;
        }
    }
}

/// The text of a constant; event types that this version knows are such.
fn static_text(name: &Name) -> Option<&'static str> {
    match name {
        std::borrow::Cow::Borrowed(text) => Some(text),
        std::borrow::Cow::Owned(_) => None,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
