//! Hosts that tell of themselves in `systant/HOST/stats`, one JSON object a
//! message: shown with whatever is inside.
//!
//! [`flatten`] makes resources of a message; here it is decided whose they are.
//! Anybody who may write to the broker can say something, so there are limits
//! to all of it: to hosts, kinds, fields and what waits. What makes no sense is
//! counted, told once, and changes nothing.

mod flatten;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use tomte_model::{BootId, HostName, Latest, Position, Report, Scope};
use tomte_mqtt::protocol::Publish;
use tomte_store::state::HostRecord;

use crate::access::Actor;
use crate::fleet::Host;
use crate::skew::HostClock;
use crate::{Hub, HubError, secrets};

/// What is listened to.
pub(crate) const TOPICS: &str = "systant/+/stats";
/// What these hosts are called by, among a host's foreign ids.
pub(crate) const SYSTEM: &str = "systant";
/// Who saw it.
const COLLECTOR: &str = "systant";
/// So many messages wait to be taken in; more are dropped.
const WAITING: usize = 64;
/// Until two messages tell how often they come, in milliseconds.
const INTERVAL: u64 = 30_000;
/// How often they can come: more seldom is taken for hourly.
const LONGEST: u64 = 3_600_000;
/// Who speaks more seldom than this is believed to be there in between.
const SELDOM: u64 = 40_000;
/// So many different names are remembered as told of.
const MOST_TOLD: usize = 100;

/// The name in a topic.
pub(crate) fn host_of(topic: &str) -> Option<&str> {
    let name = topic.strip_prefix("systant/")?.strip_suffix("/stats")?;
    (!name.contains('/')).then_some(name)
}

/// A host that was heard.
struct Known {
    host: Arc<Host>,
    sequence: u64,
    /// When it was heard last, in milliseconds of boot time, and how often
    /// it speaks.
    heard_at: u64,
    interval: u64,
}

/// What was heard, shared with the task that takes it in.
#[derive(Default)]
struct Shared {
    known: Mutex<BTreeMap<String, Known>>,
}

impl Shared {
    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The source.
pub(crate) struct Systant {
    hub: Arc<Hub>,
    shared: Arc<Shared>,
    queue: mpsc::Sender<(String, Bytes)>,
}

impl Systant {
    /// Makes no more than `most` hosts known.
    pub(crate) fn new(hub: &Arc<Hub>, most: usize) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let shared = Arc::new(Shared::default());
        let taking = Taking { hub: Arc::clone(hub), shared: Arc::clone(&shared), most, told: BTreeSet::new() };
        hub.sessions.spawn(taking.run(waiting));
        Self { hub: Arc::clone(hub), shared, queue }
    }

    /// A host said something.
    pub(crate) fn heard(&self, name: &str, message: &Publish) {
        // What was kept at the broker says nothing about now.
        if message.retain || self.queue.try_send((name.to_owned(), message.payload.clone())).is_err() {
            self.hub.counters.systant_refused.one();
        }
    }

    /// Believes those who speak seldom to be there, as long as they are not
    /// overdue.
    pub(crate) fn look(&self) {
        let now = self.hub.clock.now().boot_millis;
        let there = |known: &&Known| {
            known.interval > SELDOM && now.saturating_sub(known.heard_at) < known.interval.saturating_mul(2)
        };
        let hosts: Vec<_> = self.shared.known().values().filter(there).map(|known| Arc::clone(&known.host)).collect();
        hosts.iter().for_each(|host| self.hub.heard(host));
    }
}

/// Why a message was not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The topic names nobody.
    #[error("its name makes no host's name")]
    Nameless,
    /// It is no object.
    #[error("it is no JSON object: {0}")]
    NoObject(String),
    /// Somebody else tells of that host.
    #[error("this host is known by its own agent")]
    HasAgent,
    /// There are as many hosts as there may be.
    #[error("{0} hosts are known this way already; raise mqtt.systant.hosts for more")]
    TooMany(usize),
    /// It could not be made known.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Too much waits to be written.
    #[error("too much waits to be written")]
    Busy,
}

struct Taking {
    hub: Arc<Hub>,
    shared: Arc<Shared>,
    most: usize,
    told: BTreeSet<String>,
}

impl Taking {
    async fn run(mut self, mut waiting: mpsc::Receiver<(String, Bytes)>) {
        let stopping = self.hub.stopping();
        loop {
            let next = tokio::select! {
                () = stopping.cancelled() => return,
                next = waiting.recv() => next,
            };
            let Some((name, payload)) = next else { return };
            match self.take(&name, &payload).await {
                Ok(()) => self.hub.counters.systant_messages.one(),
                Err(why) => self.refuse(&name, &why),
            }
        }
    }

    fn refuse(&mut self, name: &str, why: &Refused) {
        self.hub.counters.systant_refused.one();
        let known = matches!(why, Refused::HasAgent);
        let said = format!("{name}: {why}");
        if self.told.contains(&said) || self.told.len() >= MOST_TOLD {
            return;
        }
        self.told.insert(said);
        if known {
            tracing::info!(host = name, "not taken from systant: {why}");
        } else {
            tracing::warn!(host = name, "not taken from systant: {why}");
        }
    }

    async fn take(&mut self, name: &str, payload: &[u8]) -> Result<(), Refused> {
        let message = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(payload)
            .map_err(|error| Refused::NoObject(error.to_string()))?;
        let host = self.host(name).await?;
        let seen = flatten::flatten(&message, &self.hub.catalogue());
        seen.kinds.into_iter().for_each(|kind| self.hub.describe(kind));
        let now = self.hub.clock.now();
        let epoch = u64::try_from(self.hub.started.wall.millis()).unwrap_or(0);
        let (sequence, interval) = {
            let mut known = self.shared.known();
            let known = known.entry(name.to_owned()).or_insert_with(|| Known {
                host: Arc::clone(&host),
                sequence: 0,
                heard_at: 0,
                interval: INTERVAL,
            });
            let since = now.boot_millis.saturating_sub(known.heard_at);
            if known.heard_at > 0 && since > 0 {
                known.interval = since.clamp(1_000, LONGEST);
            }
            known.host = Arc::clone(&host);
            known.heard_at = now.boot_millis;
            known.sequence += 1;
            (known.sequence, known.interval)
        };
        let report = Report {
            host: host.id,
            collector: COLLECTOR.into(),
            position: Position { epoch, sequence },
            boot_id: BootId(epoch.into()),
            moment: now,
            clock_synchronised: true,
            interval_millis: u32::try_from(interval).unwrap_or(u32::MAX),
            scopes: vec![Scope::complete("stats", seen.facets)],
            events: Vec::new(),
        };
        let Ok(permit) = Arc::clone(&self.hub.in_flight).try_acquire_owned() else { return Err(Refused::Busy) };
        let done = Box::new(move |_| drop(permit));
        self.hub.take_in(&host, report, done).map_err(|_| Refused::Busy)?;
        self.hub.heard(&host);
        Ok(())
    }

    /// The host of that name, made known if it is new.
    async fn host(&self, name: &str) -> Result<Arc<Host>, Refused> {
        if let Some(host) = self.shared.known().get(name).map(|known| Arc::clone(&known.host))
            && self.hub.fleet.get(host.id).is_some()
        {
            return Ok(host);
        }
        let wanted = HostName::normalised(name).ok_or(Refused::Nameless)?;
        let foreign = |host: &Arc<Host>| host.lock().record.external_ids.get(SYSTEM).cloned();
        let all = self.hub.fleet.all();
        if let Some(host) = all.iter().find(|host| foreign(host).is_some_and(|id| id == name)) {
            return Ok(Arc::clone(host));
        }
        if self.hub.fleet.by_name(&wanted).is_some() {
            return Err(Refused::HasAgent);
        }
        let known = all.iter().filter(|host| foreign(host).is_some()).count();
        if known >= self.most {
            return Err(Refused::TooMany(known));
        }
        let foreign_name = name.to_owned();
        let actor = Actor::new(SYSTEM, None);
        let made = self.hub.change(&actor, "host.add_via", move |hub, line| {
            line.target = wanted.to_string();
            if hub.fleet.by_name(&wanted).is_some() {
                return Err(HubError::Conflict(format!("the name {wanted} is taken")));
            }
            if hub.fleet.len() >= hub.config().limits.hosts {
                return Err(HubError::Conflict("there are as many hosts as the hub may have".to_owned()));
            }
            let mut record = HostRecord::new(secrets::host_id(&*hub.clock), wanted, hub.now());
            record.external_ids.insert(SYSTEM.to_owned(), foreign_name);
            hub.store.state.put_host(&record).map_err(crate::enrol::named)?;
            let host = Host::new(record, Latest::default(), HostClock::default());
            hub.fleet.put(&host);
            hub.tell_host(host.id);
            Ok(host)
        });
        Ok(made.await?)
    }
}
