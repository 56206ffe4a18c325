//! The hub's own records on their way to the store: what changed is marked,
//! and written in the background until it succeeds. A disk that is full or
//! slow holds nobody up.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tomte_model::{HostId, Name};
use tomte_store::StoreError;
use tomte_store::changes::HostFacts;
use tomte_store::state::{AuditEntry, Snapshot};

use crate::Hub;
use crate::access::Actor;
use crate::view::HostView;

/// So many lines of the audit may wait; when the disk refuses more, they are
/// in the log only.
const AUDIT_CAPACITY: usize = 10_000;
/// So many snapshots are saved in one transaction.
const SNAPSHOTS: usize = 64;
/// So many hosts are noted at a time.
const NOTED: usize = 256;

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Records {
    hosts: Mutex<BTreeSet<HostId>>,
    kinds: Mutex<BTreeSet<Name>>,
    /// Hosts of which the history is to know who they are now.
    facts: Mutex<BTreeSet<HostId>>,
    audit: Mutex<VecDeque<AuditEntry>>,
    /// Held while writing, so that nothing is written twice.
    writing: Mutex<()>,
    pub(crate) arrived: Notify,
    pub(crate) facts_arrived: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Records {
    pub(crate) fn host_changed(&self, host: HostId) {
        lock(&self.hosts).insert(host);
        self.arrived.notify_one();
    }
    pub(crate) fn facts_changed(&self, host: HostId) {
        lock(&self.facts).insert(host);
        self.facts_arrived.notify_one();
    }
    pub(crate) fn kind_changed(&self, kind: Name) {
        lock(&self.kinds).insert(kind);
        self.arrived.notify_one();
    }
}

impl Hub {
    /// A line of the audit about something that the hub refused or saw by
    /// itself. What people ask for is audited before they get their answer.
    pub(crate) fn audit_later(
        &self,
        actor: &Actor,
        action: &str,
        target: &str,
        outcome: &str,
        details: impl IntoIterator<Item = (&'static str, String)>,
    ) {
        let entry = AuditEntry {
            at: self.now(),
            actor: actor.name.clone(),
            address: actor.address.clone(),
            action: action.to_owned(),
            target: Some(target.to_owned()).filter(|target| !target.is_empty()),
            outcome: outcome.to_owned(),
            details: details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        };
        // What was done is a change of state; what was refused may want a look.
        if outcome == "ok" {
            tracing::info!(actor = entry.actor, address = entry.address, action, target, outcome, "audit");
        } else {
            tracing::warn!(actor = entry.actor, address = entry.address, action, target, outcome, "audit");
        }
        let mut waiting = lock(&self.records.audit);
        if waiting.len() < AUDIT_CAPACITY {
            waiting.push_back(entry);
        }
        drop(waiting);
        self.records.arrived.notify_one();
    }

    /// Writes everything that waits, or as much as can be. Blocks.
    pub(crate) fn write_records(&self) -> Result<(), StoreError> {
        let result = self.try_write_records();
        if let Err(error) = &result {
            self.counters.record_failures.one();
            tracing::warn!(error = %error, "the hub's records cannot be written; they wait");
        }
        result
    }

    fn try_write_records(&self) -> Result<(), StoreError> {
        let _alone = lock(&self.records.writing);
        let state = &*self.store.state;
        // Hosts first: events and the audit speak of them.
        loop {
            let _order = self.changing();
            let Some(id) = lock(&self.records.hosts).pop_first() else { break };
            let Some(host) = self.fleet.get(id) else { continue };
            let record = host.lock().record_to_write();
            state.put_host(&record).inspect_err(|_| self.records.host_changed(id))?;
        }
        while let Some(kind) = { lock(&self.records.kinds).pop_first() } {
            if let Some(def) = self.catalogue().kind(&kind) {
                state.put_kind(def).inspect_err(|_| self.records.kind_changed(kind))?;
            }
        }
        loop {
            let Some(entry) = lock(&self.records.audit).front().cloned() else { break };
            state.audit(&entry)?;
            lock(&self.records.audit).pop_front();
        }
        self.notices.save(state)?;
        let told = self.clusters.save(state)?;
        self.tell_clusters(told);
        let written = self.events.write(state, &self.bus)?;
        self.counters.events.add(written);
        Ok(())
    }

    /// Has the history note who hosts are, those of which that may have
    /// changed. Blocks until it is durable; what fails is tried again.
    pub(crate) fn note_hosts(&self) -> Result<(), StoreError> {
        let hosts = std::mem::take(&mut *lock(&self.records.facts));
        let (told, answers) = std::sync::mpsc::channel();
        let at = self.now();
        let mut failed = None;
        // In parts, so that reports find room in the store's queue.
        let hosts: Vec<HostId> = hosts.into_iter().collect();
        for part in hosts.chunks(NOTED) {
            let views: Vec<HostView> = part.iter().filter_map(|host| self.host(*host)).collect();
            for view in &views {
                let (told, host) = (told.clone(), view.id);
                let noted = Box::new(move |result| drop(told.send((host, result))));
                self.store.history.note_host(host, at, facts(view), noted);
            }
            for (host, result) in answers.iter().take(views.len()) {
                if let Err(error) = result {
                    self.records.facts_changed(host);
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Writes down when hosts were last heard of. Blocks.
    pub(crate) fn touch_hosts(&self) -> Result<(), StoreError> {
        let mut seen = Vec::new();
        for host in self.fleet.all() {
            let mut state = host.lock();
            if std::mem::take(&mut state.untouched) {
                seen.extend(state.signs.last_seen().map(|at| (host.id, at)));
            }
        }
        if seen.is_empty() {
            return Ok(());
        }
        self.store.state.touch_hosts(&seen).inspect_err(|_| {
            for (id, _) in &seen {
                if let Some(host) = self.fleet.get(*id) {
                    host.lock().untouched = true;
                }
            }
        })
    }

    /// Saves the latest state of the hosts that changed, so that the reports
    /// behind it need not be kept whole any longer. Blocks.
    pub(crate) fn save_snapshots(&self) -> Result<(), StoreError> {
        let _order = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever is durable now has been applied before: reports are applied
        // first and written then. What comes in from here on has a later row.
        let row = self.store.history.last_row();
        self.write_records()?;
        let changed: Vec<_> = self.fleet.all().into_iter().filter(|host| host.lock().unsaved).collect();
        for hosts in changed.chunks(SNAPSHOTS) {
            let at = self.now();
            let snapshots: Vec<Snapshot> = hosts
                .iter()
                .map(|host| {
                    let mut state = host.lock();
                    state.unsaved = false;
                    Snapshot { host: host.id, row, at, latest: state.latest.snapshot() }
                })
                .collect();
            self.store.state.save_snapshots(&snapshots).inspect_err(|_| {
                for host in hosts {
                    host.lock().unsaved = true;
                }
            })?;
        }
        self.store.history.release(row);
        self.released.store(row, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

/// What the history knows of a host.
pub(crate) fn facts(view: &HostView) -> HostFacts {
    HostFacts {
        name: view.name.clone(),
        aliases: view.aliases.clone(),
        roles: view.roles.clone(),
        external_ids: view.external_ids.clone(),
        via: view.via.iter().copied().collect(),
        presence: view.presence.as_str().to_owned(),
        agent_version: view.agent_version.clone(),
        created_at: view.created_at,
        last_seen_at: view.last_seen_at,
    }
}
