//! What the hub counts about itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        /// Counts since the start; each only grows.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Count,)*
        }
        impl Counters {
            pub(crate) fn all(&self) -> BTreeMap<&'static str, u64> {
                BTreeMap::from([$((stringify!($name), self.$name.get())),*])
            }
        }
    };
}

counters! {
    /// Reports that became durable.
    reports;
    /// Reports that had been received before.
    duplicate_reports;
    /// Readings that were kept.
    readings;
    /// Readings of series beyond a host's limit.
    readings_over_limit;
    /// Readings that make no sense.
    readings_unfit;
    /// Reports that were set aside because their time cannot be right.
    reports_quarantined;
    /// Reports about a cluster that were not kept, since another agent told of that time.
    reports_out_of_turn;
    /// Reports that could not be written.
    reports_failed;
    /// Reports that agents had to drop.
    reports_lost_at_agents;
    /// Connections of agents that were let in.
    link_connections;
    /// Connections that a newer one of the same host took the place of.
    link_displaced;
    /// Messages that made no sense or were over a limit.
    link_malformed;
    /// Frames of unknown types.
    link_unknown_frames;
    /// Attempts with a wrong token.
    link_tokens_refused;
    /// Reports for hosts that the token does not cover.
    link_hosts_refused;
    /// Events that were stored.
    events;
    /// Descriptions of kinds that were not taken, because there are too many.
    kinds_refused;
    /// Times that a write of the hub's own records failed.
    record_failures;
    /// Messages of systant's hosts that were taken in.
    systant_messages;
    /// Messages of systant's hosts that were not: no sense, no room, or a host with an agent.
    systant_refused;
    /// Network connections that were let in.
    connections;
    /// Network connections that were turned away because there were too many.
    connections_refused;
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one(&self) {
        self.add(1);
    }
    pub(crate) fn add(&self, number: usize) {
        self.0.fetch_add(number as u64, Ordering::Relaxed);
    }
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
