//! The live bus: what changed, at once, without waiting for the commit.
//!
//! The bus says *that* something changed; its state is read from the hub, so
//! that the latest wins. It is bounded: a subscriber that is too slow is told
//! to start over from a snapshot, and holds nobody up.

use std::sync::Arc;

use tokio::sync::broadcast;
use tomte_model::{HostId, ResourceKey};
use tomte_store::state::StoredEvent;

/// How many changes a subscriber may be behind.
const CAPACITY: usize = 1024;

/// Something that changed.
#[derive(Debug, Clone)]
pub enum Change {
    /// Resources of a host have new contents, or are gone.
    Resources {
        /// The host.
        host: HostId,
        /// New, or with new contents; a key may be named twice.
        updated: Vec<ResourceKey>,
        /// Gone.
        removed: Vec<ResourceKey>,
    },
    /// The host itself: its name, roles, presence, skew, or it is new.
    Host(HostId),
    /// The host and all that was known of it is gone.
    HostRemoved(HostId),
    /// Something happened. It is stored: it has its receipt number.
    Event(Box<StoredEvent>),
}

/// What a subscriber hears next.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A change.
    Change(Arc<Change>),
    /// Changes were missed: start over from the present state.
    Resync,
    /// The hub stops.
    End,
}

/// One listener's end of the bus.
#[derive(Debug)]
pub struct Subscription(broadcast::Receiver<Arc<Change>>);

impl Subscription {
    /// Waits for the next change. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Ok(change) => Heard::Change(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Heard::Resync,
            Err(broadcast::error::RecvError::Closed) => Heard::End,
        }
    }
    /// What is there already, without waiting.
    pub fn try_next(&mut self) -> Option<Heard> {
        match self.0.try_recv() {
            Ok(change) => Some(Heard::Change(change)),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(Heard::Resync),
            Err(broadcast::error::TryRecvError::Closed) => Some(Heard::End),
            Err(broadcast::error::TryRecvError::Empty) => None,
        }
    }
}

/// The bus.
#[derive(Debug)]
pub(crate) struct Bus(broadcast::Sender<Arc<Change>>);

impl Bus {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(CAPACITY).0)
    }
    /// Tells everybody who listens; costs nothing when nobody does.
    pub(crate) fn tell(&self, change: Change) {
        if self.0.receiver_count() > 0 {
            let _ = self.0.send(Arc::new(change));
        }
    }
    pub(crate) fn subscribe(&self) -> Subscription {
        Subscription(self.0.subscribe())
    }
}
