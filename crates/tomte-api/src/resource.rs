//! Resources: the things on a host, as they were last seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tomte_model::latest::{FacetState, ResourceState};
use tomte_model::{HostId, Problem, ResourceKey, Status, Table as ModelTable, Timestamp, Value as Scalar};

/// A resource, as it was last seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resource {
    /// The host it is on, by name.
    pub host: String,
    /// The host it is on, by id.
    pub host_id: HostId,
    /// A kind of the catalogue: `disk`.
    pub kind: String,
    /// Its name within host and kind.
    pub name: String,
    /// How it stands; null when nothing judges it.
    pub status: Option<Status>,
    /// Why, in words; empty when all is well.
    pub reason: String,
    /// Everything that is wrong, worst first.
    pub problems: Vec<Problem>,
    /// Whether a part of it could not be read of late.
    pub stale: bool,
    /// When its newest part was read.
    pub at: Timestamp,
    /// Its parts, each with its own age.
    pub facets: BTreeMap<String, Facet>,
    /// Texts and flags of all parts.
    pub attributes: BTreeMap<String, Scalar>,
    /// Numbers of all parts, by field.
    pub readings: BTreeMap<String, f64>,
    /// Latest-only lists, by name. Left out of lists across hosts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, Table>,
}

impl Resource {
    /// The API's view of a resource at a moment, its tables included.
    #[must_use]
    pub fn of(host: &str, host_id: HostId, key: &ResourceKey, state: &ResourceState, now: Timestamp) -> Self {
        let assessment = state.assessment(now);
        let (status, reason, problems) =
            assessment.map_or((None, String::new(), Vec::new()), |a| (Some(a.status), a.reason, a.problems));
        let tables = state.facets.values().flat_map(|facet| &facet.tables);
        Self {
            host: host.to_owned(),
            host_id,
            kind: key.kind.clone().into_owned(),
            name: key.name.clone(),
            status,
            reason,
            problems,
            stale: state.stale(now),
            at: state.at(),
            facets: state.facets.iter().map(|(name, f)| (name.clone().into_owned(), Facet::of(f, now))).collect(),
            attributes: state.attributes().map(|(name, v)| (name.clone().into_owned(), v.clone())).collect(),
            readings: state.readings().map(|(name, v)| (name.clone().into_owned(), v)).collect(),
            tables: tables.map(|table| (table.name.clone().into_owned(), Table::of(table))).collect(),
        }
    }
}

/// The part of a resource that one collector reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Facet {
    /// When it was read.
    pub at: Timestamp,
    /// Whether it is too old, or could not be read.
    pub stale: bool,
    /// How it stands; null when nothing judges it.
    pub status: Option<Status>,
    /// Why it is stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The collector that reads it.
    pub collector: String,
    /// How often it is read, in milliseconds; 0: at no fixed interval.
    pub interval_ms: u32,
}

impl Facet {
    /// The API's view of a facet at a moment.
    #[must_use]
    pub fn of(facet: &FacetState, now: Timestamp) -> Self {
        let failure = facet.staleness(now);
        Self {
            at: facet.at,
            stale: failure.is_some(),
            status: facet.status(now),
            failure,
            collector: facet.collector.clone().into_owned(),
            interval_ms: facet.interval_millis,
        }
    }
}

/// A latest-only list, such as the busiest processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Table {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows, each as long as `columns`; null is missing.
    pub rows: Vec<Vec<Option<Scalar>>>,
}

impl Table {
    /// The API's view of a table.
    #[must_use]
    pub fn of(table: &ModelTable) -> Self {
        Self { columns: table.columns.iter().map(|c| c.clone().into_owned()).collect(), rows: table.rows.clone() }
    }
}

/// The latest readings of a resource, and little else: cheap across hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LatestRow {
    /// The host it is on, by name.
    pub host: String,
    /// The host it is on, by id.
    pub host_id: HostId,
    /// A kind of the catalogue.
    pub kind: String,
    /// Its name within host and kind.
    pub name: String,
    /// How it stands; null when nothing judges it.
    pub status: Option<Status>,
    /// Whether a part of it could not be read of late.
    pub stale: bool,
    /// When its newest part was read.
    pub at: Timestamp,
    /// The readings asked for, by field.
    pub readings: BTreeMap<String, f64>,
}
