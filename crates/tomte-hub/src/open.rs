//! Opening the hub's folder: databases, identity, and what was known when the
//! hub last ran.
//!
//! Latest state comes from the saved snapshots and from the reports that came
//! after them, which the history kept whole. Applying a report twice changes
//! nothing, so it does not matter where exactly the two meet.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tomte_model::{Catalogue, Clock, EventKind, Latest, Severity};
use tomte_store::state::NewEvent;
use tomte_store::{Arrival, Options, SetAside, Store, StoreError};

use crate::clusters::{Clusters, Share};
use crate::config::{HubConfig, Resolved};
use crate::events::Occurrence;
use crate::fleet::{Fleet, Host};
use crate::hub::Parts;
use crate::identity::Identity;
use crate::ingest;
use crate::notices::{Notice, Notices};
use crate::skew::HostClock;
use crate::{Hub, StartError};

/// Events of replayed reports are written in groups of this size.
const EVENTS: usize = 1_000;

impl Hub {
    /// Opens the hub's folder and brings back what was known. Nothing listens
    /// and nothing runs yet: see [`Hub::start`](crate::Hub::start). Blocks.
    ///
    /// # Errors
    /// When the databases or the identity cannot be used; they are left as
    /// they are.
    pub fn open(resolved: Resolved, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StartError> {
        let options = store_options(&resolved.config);
        Self::open_with(resolved, clock, options)
    }

    /// As [`Self::open`], with options of the store's own.
    pub(crate) fn open_with(
        resolved: Resolved,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Arc<Self>, StartError> {
        // Fewer reports than the store's queue holds are ever on their way, so
        // that it never refuses one.
        let queue = options.queue * 3 / 4;
        let store = Store::open(&resolved.config.data, options)?;
        Self::open_on(store, queue, resolved, clock)
    }

    /// As [`Self::open`], on a store that is open already.
    pub(crate) fn open_on(
        store: Store,
        queue: usize,
        resolved: Resolved,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StartError> {
        let identity = Identity::open(&resolved.config.data)?;
        if identity.is_fresh() {
            tracing::info!("made the hub's identity; agents that knew another one must be enrolled again");
        }
        let notices = Notices::load(&*store.state)?;
        let mut catalogue = Catalogue::builtin();
        for kind in store.state.kinds()? {
            catalogue.describe(kind);
        }
        let clusters = Clusters::load(&*store.state)?;
        let fleet = read_fleet(&store, &notices)?;
        clusters.grant_all(&fleet);
        let replayed = replay(&store, &fleet, &clusters)?;
        if replayed > 0 {
            tracing::info!(reports = replayed, "brought back what came after the last snapshots");
        }
        let set_aside = store.set_aside.clone();
        let hub = Self::new(Parts { clock, resolved, store, identity, fleet, catalogue, notices, clusters, queue });
        for host in hub.fleet.all() {
            hub.records.facts_changed(host.id);
        }
        if let Some(SetAside { path, what }) = set_aside {
            let message = format!(
                "the history was damaged ({what}): it is kept as {}, and a new one has begun; restore a backup to have it back",
                path.display()
            );
            hub.note(Occurrence::new(None, EventKind::STORE_TROUBLE, Severity::Critical, message));
        }
        Ok(hub)
    }
}

/// Puts a backup in the place of a hub's databases, while no hub uses them: it
/// is checked whole first, and what is there is renamed. Returns the new names.
///
/// # Errors
/// When the backup is damaged, foreign or too new, or the folder is in use.
pub fn restore(backup: &Path, data: &Path) -> Result<Vec<PathBuf>, StartError> {
    Ok(Store::restore(backup, data)?)
}

pub(crate) fn store_options(config: &HubConfig) -> Options {
    Options {
        series_per_host: config.limits.series_per_host,
        retention: config.history.retention(),
        secure_delete: config.history.secure_delete,
        set_damaged_history_aside: true,
        ..Options::default()
    }
}

fn read_fleet(store: &Store, notices: &Notices) -> Result<Fleet, StoreError> {
    let fleet = Fleet::default();
    let mut known: HashMap<_, Latest> = HashMap::new();
    for snapshot in store.state.snapshots()? {
        known.insert(snapshot.host, Latest::from(snapshot.latest));
    }
    for record in store.state.hosts()? {
        let latest = known.remove(&record.id).unwrap_or_default();
        let clock = HostClock::new(notices.stands(record.id, Notice::ClockWrong));
        fleet.put(&Host::new(record, latest, clock));
    }
    for token in store.state.host_tokens()? {
        if token.revoked_at.is_none() {
            fleet.put_token(token);
        }
    }
    for grant in store.state.grants()? {
        fleet.put_grant(grant);
    }
    Ok(fleet)
}

fn replay(store: &Store, fleet: &Fleet, clusters: &Clusters) -> Result<u64, StoreError> {
    let mut events: Vec<NewEvent> = Vec::new();
    let mut failed = None;
    let replayed = store.history.replay(0, &mut |_, arrival| {
        // A host that was removed since, or whose agent was, is left out.
        let (Some(agent), Some(host)) = (fleet.get(arrival.outbox), fleet.get(arrival.report.host)) else { return };
        {
            let mut state = host.lock();
            if !arrival.quarantined {
                let turn = match clusters.share(host.id, agent.id, arrival.at, arrival.at) {
                    Share::Turn(turn) => Some(turn),
                    Share::NoCluster => None,
                    // Of a turn that is no longer remembered: older than all.
                    Share::OutOfTurn | Share::Stranger => Some(0),
                };
                let arrival = Arrival { turn, ..arrival.clone() };
                let changes = ingest::apply(&mut state.latest, &arrival);
                state.unsaved |= !changes.outdated;
            }
            state.signs.heard_before(arrival.received_at);
        }
        events.extend(arrival.report.events.iter().map(|event| NewEvent {
            host: Some(host.id),
            received_at: arrival.received_at,
            event: event.clone(),
        }));
        if events.len() >= EVENTS && failed.is_none() {
            failed = store.state.add_events(&std::mem::take(&mut events)).err();
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    store.state.add_events(&events)?;
    if replayed.unreadable > 0 {
        tracing::warn!(reports = replayed.unreadable, "some reports could not be read back and were left out");
    }
    Ok(replayed.reports)
}
