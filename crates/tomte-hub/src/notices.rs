//! What has been said already: troubles of hosts that last, each announced when
//! it begins and not again, also not after a restart.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tomte_model::HostId;
use tomte_store::StoreError;
use tomte_store::state::StateStore;

/// Under this name the notices are kept.
const KEY: &str = "hub.notices";

/// A trouble that lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Notice {
    /// The host's clock is wrong.
    ClockWrong,
    /// The host offers more series than it may have.
    SeriesLimit,
    /// Samples of the host were set aside.
    Quarantined,
    /// Two agents use the host's identity.
    IdentityClash,
    /// The cluster that the host says it belongs to is not granted.
    ClusterWaits,
}

/// The notices in force.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    standing: BTreeSet<(HostId, Notice)>,
    unsaved: bool,
}

impl Notices {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was kept. What cannot be understood is as if it never was:
    /// at worst something is said twice.
    pub(crate) fn load(store: &dyn StateStore) -> Result<Self, StoreError> {
        let kept = store.value(KEY)?.unwrap_or_default();
        let listed: Vec<(HostId, Notice)> = serde_json::from_slice(&kept).unwrap_or_default();
        Ok(Self(Mutex::new(Inner { standing: listed.into_iter().collect(), unsaved: false })))
    }

    /// Writes them down if they changed. Blocks.
    pub(crate) fn save(&self, store: &dyn StateStore) -> Result<(), StoreError> {
        let listed: Vec<(HostId, Notice)> = {
            let mut inner = self.lock();
            if !std::mem::take(&mut inner.unsaved) {
                return Ok(());
            }
            inner.standing.iter().copied().collect()
        };
        let bytes = serde_json::to_vec(&listed).expect("ids and names have a form in JSON");
        store.put_value(KEY, Some(&bytes)).inspect_err(|_| self.lock().unsaved = true)
    }

    /// Begins a notice; whether it was not standing yet.
    pub(crate) fn raise(&self, host: HostId, notice: Notice) -> bool {
        let mut inner = self.lock();
        let new = inner.standing.insert((host, notice));
        inner.unsaved |= new;
        new
    }

    /// Ends a notice; whether it was standing.
    pub(crate) fn clear(&self, host: HostId, notice: Notice) -> bool {
        let mut inner = self.lock();
        let was = inner.standing.remove(&(host, notice));
        inner.unsaved |= was;
        was
    }

    pub(crate) fn stands(&self, host: HostId, notice: Notice) -> bool {
        self.lock().standing.contains(&(host, notice))
    }

    /// Ends all notices of a host.
    pub(crate) fn forget(&self, host: HostId) {
        let mut inner = self.lock();
        let before = inner.standing.len();
        inner.standing.retain(|(of, _)| *of != host);
        inner.unsaved |= inner.standing.len() != before;
    }
}
