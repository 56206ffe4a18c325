//! History: how readings were, in columns ready for a chart.

use serde::{Deserialize, Serialize};
use tomte_model::HostId;

/// The answer to a question about the past.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct History {
    /// The beginning of the range that was asked for, milliseconds since 1970.
    pub from: i64,
    /// The end of the range, milliseconds since 1970.
    pub to: i64,
    /// The step, in milliseconds; absent when every reading is returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_ms: Option<u64>,
    /// With a step: the beginning of each, for all series, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t: Option<Vec<i64>>,
    /// The series.
    pub series: Vec<Series>,
}

/// The history of one reading, or of several taken together. Each column is as
/// long as the `t` that goes with it; null is a gap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Series {
    /// `HOST/KIND:NAME/FIELD`, or `sum(KIND/FIELD)` for several together.
    pub key: String,
    /// The host by its present name; absent for several together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The host by id; absent for several together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<HostId>,
    /// The kind.
    pub kind: String,
    /// The resource's name; absent for several together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The field.
    pub field: String,
    /// What it is measured in, as the catalogue writes it.
    pub unit: String,
    /// The coarsest of what the points come from: `raw`, `5m` or `1h`.
    pub tier: String,
    /// How far apart the underlying readings are, in milliseconds; 0: unknown.
    pub interval_ms: u64,
    /// Without a step: when each reading was taken, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t: Option<Vec<i64>>,
    /// Means of the steps, or the readings themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<Option<f64>>>,
    /// Minima of the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Vec<Option<f64>>>,
    /// Maxima of the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Vec<Option<f64>>>,
    /// The last reading of each step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Vec<Option<f64>>>,
    /// By how much it grew in each step, per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Vec<Option<f64>>>,
}

/// Readings to take in: history of another system, or an export of this one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Import {
    /// Whether hosts that are not known are made, without agents of their own.
    #[serde(default)]
    pub add_hosts: bool,
    /// The readings, series by series.
    pub series: Vec<ImportSeries>,
}

/// Readings of one series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImportSeries {
    /// The host: a name, an alias or an id.
    pub host: String,
    /// The kind.
    pub kind: String,
    /// The resource's name.
    pub name: String,
    /// The field.
    pub field: String,
    /// When each reading was taken, milliseconds since 1970.
    pub t: Vec<i64>,
    /// The readings, as many as times.
    pub values: Vec<f64>,
}

/// What became of readings to take in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Imported {
    /// So many are kept now.
    pub taken: u64,
    /// So many were there already.
    pub known: u64,
    /// So many belong to series beyond a host's limit, or cannot be kept.
    pub refused: u64,
}

/// A question about the past, as the query string has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryQuery {
    /// `HOST/KIND:NAME/FIELD`, each.
    pub series: Vec<String>,
    /// Hosts by name, alias, id or glob.
    pub host: Vec<String>,
    /// Hosts by role.
    pub role: Vec<String>,
    /// Kinds, as globs.
    pub kind: Vec<String>,
    /// Resources' names, as globs.
    pub name: Vec<String>,
    /// Fields, as globs.
    pub field: Vec<String>,
    /// RFC 3339, milliseconds since 1970, `now`, or relative: `-24h`.
    pub from: Option<String>,
    /// The same; `now` when absent.
    pub to: Option<String>,
    /// `30s`, `5m`, or milliseconds; absent: every reading.
    pub step: Option<String>,
    /// `mean`, `min`, `max`, `last` or `rate` of each step; absent: mean, min
    /// and max.
    pub function: Option<String>,
    /// `sum`, `mean`, `min`, `max`, `quantile` or `topk` across hosts.
    pub aggregate: Option<String>,
    /// Which quantile, from 0 to 1.
    pub q: Option<String>,
    /// How many series `topk` keeps.
    pub k: Option<u32>,
}

impl HistoryQuery {
    /// The pairs of the query string, not yet encoded.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let lists: [(&'static str, &Vec<String>); 6] = [
            ("series", &self.series),
            ("host", &self.host),
            ("role", &self.role),
            ("kind", &self.kind),
            ("name", &self.name),
            ("field", &self.field),
        ];
        let mut pairs: Vec<_> =
            lists.into_iter().flat_map(|(key, values)| values.iter().map(move |v| (key, v.clone()))).collect();
        let single = [
            ("from", &self.from),
            ("to", &self.to),
            ("step", &self.step),
            ("fn", &self.function),
            ("agg", &self.aggregate),
            ("q", &self.q),
        ];
        pairs.extend(single.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))));
        pairs.extend(self.k.map(|k| ("k", k.to_string())));
        pairs
    }
}
