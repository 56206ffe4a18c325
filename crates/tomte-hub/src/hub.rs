//! The hub itself: what it knows, and what can be asked of it.
//!
//! Reads of the present state come from memory and never wait. Writes wait for
//! the disk and are audited; they need the right to it as a value
//! ([`crate::access`]) and are in `enrol.rs` and `manage.rs`. History, events,
//! accounts and the audit are read from the store: [`Hub::read`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tomte_model::{Catalogue, Clock, EventKind, HostId, HostName, Latest, Moment, Severity, Timestamp};
use tomte_store::state::{AuditEntry, HostRecord};
use tomte_store::{Store, StoreError};

use crate::HubError;
use crate::access::Actor;
use crate::backoff::BackOff;
use crate::clusters::Clusters;
use crate::config::{HubConfig, Resolved};
use crate::counters::Counters;
use crate::events::{EventQueue, Occurrence};
use crate::fleet::{Fleet, Host};
use crate::identity::{Identity, Leaf};
use crate::live::{Bus, Change, Subscription};
use crate::notices::Notices;
use crate::presence::Announced;
use crate::records::Records;
use crate::sources::link::{Guesser, Links};
use crate::view::{HostSettings, HostView};
use crate::watch::Watches;

/// So many different guessers of tokens are remembered.
const GUESSERS: usize = 10_000;

/// The hub. Always shared: `Arc<Hub>`.
pub struct Hub {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: Moment,
    pub(crate) resolved: RwLock<Arc<Resolved>>,
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    pub(crate) fleet: Fleet,
    pub(crate) catalogue: RwLock<Arc<Catalogue>>,
    pub(crate) bus: Bus,
    pub(crate) counters: Counters,
    pub(crate) events: EventQueue,
    pub(crate) records: Records,
    pub(crate) notices: Notices,
    pub(crate) clusters: Clusters,
    pub(crate) links: Links,
    pub(crate) watches: Watches,
    /// Who brought wrong tokens to the link.
    pub(crate) link_guessers: Mutex<BackOff<Guesser>>,
    /// Reports on their way to the disk, over all sources.
    pub(crate) in_flight: Arc<Semaphore>,
    /// Where it really listens.
    pub(crate) listening: RwLock<Vec<SocketAddr>>,
    pub(crate) serving: AtomicBool,
    /// What TLS shows, if anything does TLS.
    pub(crate) leaf: RwLock<Option<Arc<Leaf>>>,
    /// The row up to which reports need not be kept whole.
    pub(crate) released: AtomicU64,
    /// The store's trouble that was last announced.
    trouble: Mutex<Option<String>>,
    /// Held while hosts are changed, so that two changes never cross.
    changes: Mutex<()>,
    pub(crate) saving: Mutex<()>,
    /// The last epoch of what was imported.
    pub(crate) imports: AtomicU64,
    /// Ends every connection and task.
    pub(crate) stop: CancellationToken,
    /// Connections that were upgraded.
    pub(crate) sessions: TaskTracker,
}

/// What [`Hub`] is made of, once it is all read.
pub(crate) struct Parts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) resolved: Resolved,
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    pub(crate) fleet: Fleet,
    pub(crate) catalogue: Catalogue,
    pub(crate) notices: Notices,
    pub(crate) clusters: Clusters,
    pub(crate) queue: usize,
}

impl Hub {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let started = parts.clock.now();
        Arc::new(Self {
            started,
            links: Links::new(u64::try_from(started.wall.millis()).unwrap_or(0)),
            clock: parts.clock,
            resolved: RwLock::new(Arc::new(parts.resolved)),
            store: parts.store,
            identity: parts.identity,
            fleet: parts.fleet,
            catalogue: RwLock::new(Arc::new(parts.catalogue)),
            bus: Bus::new(),
            counters: Counters::default(),
            events: EventQueue::default(),
            records: Records::default(),
            notices: parts.notices,
            clusters: parts.clusters,
            watches: Watches::default(),
            link_guessers: Mutex::new(BackOff::new(GUESSERS)),
            in_flight: Arc::new(Semaphore::new(parts.queue)),
            listening: RwLock::default(),
            serving: AtomicBool::new(false),
            leaf: RwLock::default(),
            released: AtomicU64::new(0),
            trouble: Mutex::default(),
            changes: Mutex::default(),
            saving: Mutex::default(),
            imports: AtomicU64::new(0),
            stop: CancellationToken::new(),
            sessions: TaskTracker::new(),
        })
    }

    // The present, from memory.

    /// The hub's clock, now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now().wall
    }
    /// Both of the hub's clocks, now: the boot clock never jumps.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.clock.now()
    }
    /// When this hub started.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.started.wall
    }
    /// The folder with the databases, the identity and `hub.sock`.
    #[must_use]
    pub fn data(&self) -> std::path::PathBuf {
        self.config().data.clone()
    }
    /// Whether `hub.sock` accepts connections: what `/healthz` tells.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }
    /// Ends when the hub stops; long-lived connections should end with it.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }
    /// The configuration in force. It changes when it is loaded anew.
    #[must_use]
    pub fn config(&self) -> Arc<HubConfig> {
        Arc::new(self.resolved().config.clone())
    }
    /// The configuration in force, with the origin of each value.
    #[must_use]
    pub fn resolved(&self) -> Arc<Resolved> {
        Arc::clone(&self.resolved.read().unwrap_or_else(PoisonError::into_inner))
    }
    /// Takes up of a configuration what a running hub can. Returns the keys
    /// that differ and need a restart.
    pub fn reload(&self, new: &Resolved) -> Vec<&'static str> {
        let mut held = self.resolved.write().unwrap_or_else(PoisonError::into_inner);
        let config = held.config.reloaded(&new.config);
        let mut settings = held.settings.clone();
        let mut later = Vec::new();
        for (old, new) in settings.iter_mut().zip(&new.settings) {
            if crate::config::RELOADABLE.contains(&old.key) {
                *old = new.clone();
            } else if old.value != new.value {
                later.push(old.key);
            }
        }
        *held = Arc::new(Resolved { config, file: new.file.clone(), settings });
        later
    }
    /// Where the hub listens; with port 0 in the configuration, this has the
    /// real one.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listening.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Where agents and people reach the hub: without a slash at the end.
    #[must_use]
    pub fn public_url(&self) -> String {
        let config = self.config();
        if !config.public_url.is_empty() {
            return config.public_url.trim_end_matches('/').to_owned();
        }
        let address = self.addresses().first().or(config.listen.first()).copied();
        let Some(address) = address else { return String::new() };
        let scheme = if config.tls_on(&address) { "https" } else { "http" };
        let host = if address.ip().is_unspecified() {
            rustix::system::uname().nodename().to_string_lossy().into_owned()
        } else if address.is_ipv6() {
            format!("[{}]", address.ip())
        } else {
            address.ip().to_string()
        };
        format!("{scheme}://{host}:{}", address.port())
    }
    /// What has been counted since the start, by name.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        self.counters.all()
    }
    /// Every kind that is known, also those that agents described.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.read().unwrap_or_else(PoisonError::into_inner))
    }
    /// All hosts, by name.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostView> {
        let views = self.fleet.views(self.clock.now(), self.started, &self.resolved().config.presence);
        views.into_iter().map(|view| self.with_cluster(view)).collect()
    }
    /// One host.
    #[must_use]
    pub fn host(&self, host: HostId) -> Option<HostView> {
        let view = self.fleet.view(host, self.clock.now(), self.started, &self.resolved().config.presence)?;
        Some(self.with_cluster(view))
    }
    /// The host of that name, alias or id.
    #[must_use]
    pub fn find_host(&self, name: &str) -> Option<HostId> {
        self.fleet.find(name)
    }
    /// All hosts, id and name, by name: cheaper than [`Self::hosts`].
    #[must_use]
    pub fn host_names(&self) -> Vec<(HostId, HostName)> {
        self.fleet.names()
    }
    /// The hosts whose records are wanted, id and name, in no order: cheaper
    /// than [`Self::hosts`].
    pub(crate) fn hosts_where(&self, wanted: impl Fn(&HostRecord) -> bool) -> Vec<(HostId, String)> {
        let taken = |host: Arc<Host>| {
            let state = host.lock();
            wanted(&state.record).then(|| (host.id, state.record.name.to_string()))
        };
        self.fleet.all().into_iter().filter_map(taken).collect()
    }
    /// Looks at the latest state of a host. The look should be short: the
    /// host's reports wait for it.
    pub fn with_latest<R>(&self, host: HostId, look: impl FnOnce(&HostName, &Latest) -> R) -> Option<R> {
        let host = self.fleet.get(host)?;
        let state = host.lock();
        Some(look(&state.record.name, &state.latest))
    }
    /// The settings pushed to a host.
    #[must_use]
    pub fn host_settings(&self, host: HostId) -> Option<HostSettings> {
        let host = self.fleet.get(host)?;
        let state = host.lock();
        let (answered_revision, refused) = match &state.settings_answer {
            Some((revision, refused)) => (Some(*revision), refused.clone()),
            None => (None, BTreeMap::new()),
        };
        Some(HostSettings {
            revision: state.record.settings_revision,
            values: state.record.settings.clone(),
            answered_revision,
            refused,
        })
    }
    /// The hosts that a host's agent may report for, beside its own.
    #[must_use]
    pub fn grants(&self, host: HostId) -> Vec<HostId> {
        self.fleet.granted_to(host)
    }
    /// Whether a host's agent is connected.
    #[must_use]
    pub fn is_connected(&self, host: HostId) -> bool {
        self.links.is_connected(host)
    }
    /// Listens to the live bus from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.bus.subscribe()
    }
    /// SHA-256 of the hub's public key, as agents know it.
    #[must_use]
    pub fn pin(&self) -> [u8; 32] {
        self.identity.pin()
    }

    // The store.

    /// The store, for writes of accounts, sessions and API tokens. Its calls
    /// block; use [`Self::read`] from async code.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }
    /// Runs a blocking call of the store, read or write, off the async threads.
    ///
    /// # Errors
    /// As the call itself.
    pub async fn read<R: Send + 'static>(
        &self,
        call: impl FnOnce(&Store) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, HubError> {
        let store = self.store.clone();
        blocking(move || call(&store).map_err(HubError::from)).await
    }
    /// Writes a line of the audit. Changes of this type do it themselves.
    ///
    /// # Errors
    /// When it cannot be written; then what was to be done must not be done.
    pub async fn audit(
        &self,
        actor: &Actor,
        action: &str,
        target: &str,
        outcome: &str,
        details: BTreeMap<String, String>,
    ) -> Result<(), HubError> {
        let entry = self.audit_entry(actor, action, target, outcome, details);
        self.read(move |store| store.state.audit(&entry)).await.map(|_| ())
    }

    pub(crate) fn audit_entry(
        &self,
        actor: &Actor,
        action: &str,
        target: &str,
        outcome: &str,
        details: BTreeMap<String, String>,
    ) -> AuditEntry {
        AuditEntry {
            at: self.now(),
            actor: actor.name.clone(),
            address: actor.address.clone(),
            action: action.to_owned(),
            target: Some(target.to_owned()).filter(|target| !target.is_empty()),
            outcome: outcome.to_owned(),
            details,
        }
    }

    pub(crate) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the live bus that the host itself changed, and has it noted for
    /// those who ask how it was.
    pub(crate) fn tell_host(&self, host: HostId) {
        self.records.facts_changed(host);
        self.bus.tell(Change::Host(host));
    }

    // Presence.

    /// A host gave a sign of life.
    pub(crate) fn heard(&self, host: &Arc<Host>) {
        let now = self.clock.now();
        {
            let mut state = host.lock();
            state.signs.heard(now);
            state.record.first_seen_at.get_or_insert(now.wall);
            state.untouched = true;
        }
        self.judge_presence(host, now);
    }

    /// Looks after all that only time brings: hosts that fell silent, a store
    /// that is in trouble. Called every second.
    pub(crate) fn sweep(&self) {
        // Before anybody is found to be gone: who takes over is there.
        self.step_clusters();
        let now = self.clock.now();
        for host in self.fleet.all() {
            self.judge_presence(&host, now);
        }
        self.watch_store();
    }

    fn judge_presence(&self, host: &Arc<Host>, now: Moment) {
        let resolved = self.resolved();
        let timing = &resolved.config.presence;
        let (announced, changed, last_seen) = {
            let mut state = host.lock();
            if state.removed {
                return;
            }
            let announced = state.signs.step(now, self.started, timing);
            let presence = state.signs.presence(now, self.started, timing);
            let changed = state.told.replace(presence) != Some(presence);
            (announced, changed, state.signs.last_seen())
        };
        if let Some(announced) = announced {
            let seen = last_seen.map(|at| at.to_string()).unwrap_or_default();
            let (kind, severity, message) = match announced {
                Announced::Online => (EventKind::HOST_ONLINE, Severity::Info, "the host is online".to_owned()),
                Announced::Offline => {
                    (EventKind::HOST_OFFLINE, Severity::Error, format!("the host has not been heard of since {seen}"))
                }
            };
            self.note(Occurrence::new(Some(host.id), kind, severity, message).with("last_seen_at", seen));
            self.records.host_changed(host.id);
        }
        if changed {
            self.tell_host(host.id);
        }
    }

    fn watch_store(&self) {
        let trouble = self.store.history.trouble().map(|error| error.to_string());
        let mut announced = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*announced, &trouble) {
            (None, Some(error)) => {
                tracing::error!(error, "the store is in trouble");
                let what = Occurrence::new(None, EventKind::STORE_TROUBLE, Severity::Critical, error.clone());
                self.note(what.with("error", error));
            }
            (Some(_), None) => {
                let what = Occurrence::new(None, EventKind::STORE_TROUBLE, Severity::Info, "the store writes again");
                self.note(what);
            }
            _ => return,
        }
        *announced = trouble;
    }
}

/// Runs something that blocks off the async threads. It runs to its end even
/// when nobody waits for it any more.
pub(crate) async fn blocking<R: Send + 'static>(
    call: impl FnOnce() -> Result<R, HubError> + Send + 'static,
) -> Result<R, HubError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(HubError::Stopping),
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("data", &self.data()).field("hosts", &self.fleet.len()).finish_non_exhaustive()
    }
}
