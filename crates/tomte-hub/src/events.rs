//! Events on their way to the store: queued, written in groups, told to the
//! live bus once they have their receipt number.
//!
//! The queue is bounded by refusing reports, never by forgetting events: a
//! report that brings events is only taken in while there is room, and stays
//! with its agent otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tomte_model::{Event, EventKind, HostId, Severity};
use tomte_store::StoreError;
use tomte_store::state::{NewEvent, StateStore, StoredEvent};

use crate::Hub;
use crate::live::{Bus, Change};
use crate::secrets;

/// So many events may wait.
const CAPACITY: usize = 20_000;
/// So many are written at once.
const GROUP: usize = 500;

/// Events that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    waiting: Mutex<VecDeque<NewEvent>>,
    /// Held while writing, so that the order stays.
    writing: Mutex<()>,
    pub(crate) arrived: Notify,
}

impl EventQueue {
    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<NewEvent>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for a report's events.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting().len() < CAPACITY
    }

    pub(crate) fn push(&self, events: impl IntoIterator<Item = NewEvent>) {
        let mut waiting = self.waiting();
        let before = waiting.len();
        waiting.extend(events);
        if waiting.len() > before {
            self.arrived.notify_one();
        }
    }

    /// Writes everything that waits. Blocks.
    pub(crate) fn write(&self, store: &dyn StateStore, bus: &Bus) -> Result<usize, StoreError> {
        let _order = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = 0;
        loop {
            let group: Vec<NewEvent> = self.waiting().iter().take(GROUP).cloned().collect();
            if group.is_empty() {
                return Ok(written);
            }
            let receipts = store.add_events(&group)?;
            self.waiting().drain(..group.len());
            for (new, receipt) in group.into_iter().zip(receipts) {
                // One without a receipt was kept before.
                if let Some(receipt) = receipt {
                    written += 1;
                    let NewEvent { host, received_at, event } = new;
                    bus.tell(Change::Event(Box::new(StoredEvent { receipt, host, received_at, event })));
                }
            }
        }
    }
}

/// An event of the hub's own making.
pub(crate) struct Occurrence {
    pub(crate) host: Option<HostId>,
    pub(crate) kind: EventKind,
    pub(crate) severity: Severity,
    pub(crate) message: String,
    pub(crate) details: BTreeMap<String, String>,
}

impl Occurrence {
    pub(crate) fn new(host: Option<HostId>, kind: EventKind, severity: Severity, message: impl Into<String>) -> Self {
        Self { host, kind, severity, message: message.into(), details: BTreeMap::new() }
    }
    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.details.insert(key.to_owned(), value.to_string());
        self
    }
}

impl Hub {
    /// Something happened that the hub itself saw.
    pub(crate) fn note(&self, what: Occurrence) {
        let now = self.now();
        tracing::info!(kind = %what.kind, host = what.host.map(tracing::field::display), "{}", what.message);
        let event = Event {
            id: secrets::event_id(&*self.clock),
            at: now,
            source: "hub".into(),
            kind: what.kind,
            severity: what.severity,
            subject: None,
            correlation_id: None,
            message: what.message,
            details: what.details,
        };
        self.events.push([NewEvent { host: what.host, received_at: now, event }]);
    }
}
