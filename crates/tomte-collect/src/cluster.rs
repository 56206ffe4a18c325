//! What several hosts see alike (a cluster and its guests), and which of them
//! tells of it.
//!
//! A collector says what it found; whoever speaks with the hub says what came
//! of that. Between them is the [`Seat`]. As long as nobody says otherwise, a
//! host tells of what is on itself.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tomte_model::{HostId, ResourceKey, Scope};

/// So often in a row must a cluster be unreadable before that is told.
const FAILURES: u8 = 2;

/// A cluster as one of its nodes knows it, or somebody who looks from
/// elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// What stays when it is renamed, and no other cluster has; empty: there
    /// is no cluster.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Which of its nodes this host is; empty: none.
    pub node: String,
    /// Its nodes, in order.
    pub nodes: Vec<String>,
    /// Whether enough nodes see each other, this one among them.
    pub quorate: bool,
    /// Whether it could be read of late.
    pub readable: bool,
}

/// Who tells of what belongs to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Each host tells of what is on it, as its own.
    #[default]
    Own,
    /// Another one does.
    Elsewhere,
    /// This one does, for that host.
    Ours(HostId),
}

/// What a reading found of a cluster, beside what it found of the host.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    /// What of the host's own scopes belongs to the cluster: it is shown on
    /// the host itself, and told to the hub by whoever tells of the cluster.
    pub elsewhere: HashSet<ResourceKey>,
    /// What is told of the cluster, if this host does, and for which host.
    pub cluster: Option<(HostId, Vec<Scope>)>,
}

/// Where a collector and the link meet.
#[derive(Debug, Default)]
pub struct Seat(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// `None` until it is known.
    membership: Option<Membership>,
    failures: u8,
    /// Of the cluster with that id.
    standing: (String, Standing),
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A collector found which cluster there is.
    pub fn see(&self, membership: Membership) {
        let mut inner = self.lock();
        inner.failures = 0;
        inner.membership = Some(membership);
    }

    /// A collector could not read the cluster.
    pub fn cannot_see(&self) {
        let mut inner = self.lock();
        inner.failures = inner.failures.saturating_add(1);
        if inner.failures >= FAILURES
            && let Some(membership) = &mut inner.membership
        {
            membership.readable = false;
        }
    }

    /// Which cluster there is, once that is known.
    #[must_use]
    pub fn membership(&self) -> Option<Membership> {
        self.lock().membership.clone()
    }

    /// It was decided who tells of the cluster with that id. Returns what was
    /// so before.
    pub fn decide(&self, id: &str, standing: Standing) -> Standing {
        let mut inner = self.lock();
        let before = std::mem::replace(&mut inner.standing, (id.to_owned(), standing));
        if before.0 == id { before.1 } else { Standing::Own }
    }

    /// Who tells of the cluster that there is. Before it is known which that
    /// is, it is the one of before.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let inner = self.lock();
        match &inner.membership {
            Some(membership) if membership.id != inner.standing.0 => Standing::Own,
            _ => inner.standing.1,
        }
    }

    /// What to keep over a restart: the cluster's id, and who tells of it.
    #[must_use]
    pub fn decided(&self) -> (String, Standing) {
        self.lock().standing.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Membership {
        Membership { id: "AB".into(), name: "home".into(), readable: true, ..Membership::default() }
    }

    #[test]
    fn a_decision_holds_for_its_cluster_alone() {
        let ours = Standing::Ours(HostId::from_parts(1, 1));
        let seat = Seat::default();
        assert_eq!(seat.standing(), Standing::Own);
        assert_eq!(seat.decide("AB", ours), Standing::Own);
        assert_eq!(seat.standing(), ours, "after a restart, before the first look");
        seat.see(home());
        assert_eq!(seat.standing(), ours);
        seat.see(Membership { id: "CD".into(), ..home() });
        assert_eq!(seat.standing(), Standing::Own, "another cluster");
        assert_eq!(seat.decide("CD", Standing::Elsewhere), Standing::Own);
        seat.see(Membership::default());
        assert_eq!(seat.standing(), Standing::Own, "it left the cluster");
    }

    #[test]
    fn one_failure_is_none() {
        let seat = Seat::default();
        seat.cannot_see();
        assert_eq!(seat.membership(), None);
        seat.see(home());
        seat.cannot_see();
        assert!(seat.membership().is_some_and(|membership| membership.readable));
        seat.cannot_see();
        assert!(seat.membership().is_some_and(|membership| !membership.readable));
        seat.see(home());
        assert!(seat.membership().is_some_and(|membership| membership.readable));
    }
}
