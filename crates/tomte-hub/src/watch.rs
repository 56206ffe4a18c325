//! Who looks at which hosts right now: while somebody does, those hosts' agents
//! run their fast tier faster, under a lease that has to be renewed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tomte_link::Live;
use tomte_model::HostId;

use crate::Hub;
use crate::sources::link::Command;

/// How long an agent stays fast when nobody renews the lease.
const LEASE: Duration = Duration::from_secs(30);
/// How often leases are renewed.
pub(crate) const RENEW: Duration = Duration::from_secs(10);
/// Nobody may ask for more than this.
const FASTEST: Duration = Duration::from_secs(1);

/// Who looks, at what (nothing: at everything), and how closely.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    active: HashMap<u64, (Vec<HostId>, Duration)>,
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shortest interval that somebody wants of a host.
    fn interval(&self, host: HostId) -> Option<Duration> {
        let inner = self.lock();
        let wanting = inner.active.values().filter(|(hosts, _)| hosts.is_empty() || hosts.contains(&host));
        wanting.map(|(_, interval)| *interval).min()
    }
}

/// Holding this keeps hosts reporting faster; dropping it ends that.
#[derive(Debug)]
pub struct Watch {
    hub: Arc<Hub>,
    number: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The lease runs out by itself, so that going from one page to the next
        // does not make the agents stumble.
        self.hub.watches.lock().active.remove(&self.number);
    }
}

impl Hub {
    /// Asks the agents of these hosts (of all hosts, when none is named) to
    /// run their fast tier at this interval, for as long as the answer is held.
    #[must_use]
    pub fn watch(self: &Arc<Self>, hosts: &[HostId], interval: Duration) -> Watch {
        let number = {
            let mut inner = self.watches.lock();
            inner.next += 1;
            let number = inner.next;
            inner.active.insert(number, (hosts.to_vec(), interval.max(FASTEST)));
            number
        };
        self.renew_leases();
        Watch { hub: Arc::clone(self), number }
    }

    /// The lease that a host's agent should be given now, if any.
    pub(crate) fn lease(&self, agent: HostId) -> Option<Live> {
        let hosts = self.fleet.granted_to(agent).into_iter().chain([agent]);
        let interval = hosts.filter_map(|host| self.watches.interval(host)).min()?;
        Some(Live {
            interval_millis: u32::try_from(interval.as_millis()).unwrap_or(u32::MAX),
            lease_millis: LEASE.as_millis() as u32,
        })
    }

    /// Gives every connected agent that is looked at its lease anew.
    pub(crate) fn renew_leases(&self) {
        for agent in self.links.connected() {
            if let Some(live) = self.lease(agent) {
                self.links.send(agent, Command::Live(live));
            }
        }
    }
}
