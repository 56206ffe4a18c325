//! Events: what happened.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tomte_model::{EventId, HostId, Severity, Timestamp};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// The hub's receipt number; grows by the order of arrival. Follow the
    /// events with `after` and the greatest number seen. 0 at an agent's socket.
    pub receipt: u64,
    /// Made by the source, so that the same event told twice is one.
    pub id: EventId,
    /// When it happened.
    pub at: Timestamp,
    /// When the hub learnt of it.
    pub received_at: Timestamp,
    /// The host it happened on, by name; null for the hub itself.
    pub host: Option<String>,
    /// The host it happened on, by id.
    pub host_id: Option<HostId>,
    /// Who says so: `agent`, `hub`.
    pub source: String,
    /// What happened: `status_changed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about, usually `kind:name`.
    pub subject: Option<String>,
    /// Shared by events that belong together.
    pub correlation_id: Option<EventId>,
    /// One sentence for people.
    pub message: String,
    /// More, by key.
    pub details: BTreeMap<String, String>,
}

impl Event {
    /// The API's view of an event that a source made.
    #[must_use]
    pub fn of(event: &tomte_model::Event, receipt: u64, received_at: Timestamp, host: Option<(HostId, &str)>) -> Self {
        Self {
            receipt,
            id: event.id,
            at: event.at,
            received_at,
            host: host.map(|(_, name)| name.to_owned()),
            host_id: host.map(|(id, _)| id),
            source: event.source.clone().into_owned(),
            kind: event.kind.as_str().to_owned(),
            severity: event.severity,
            subject: event.subject.clone(),
            correlation_id: event.correlation_id,
            message: event.message.clone(),
            details: event.details.clone(),
        }
    }
}
