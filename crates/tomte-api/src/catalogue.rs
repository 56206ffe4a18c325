//! The catalogue: what every kind and field means.

use serde::{Deserialize, Serialize};
use tomte_model::catalogue::{FieldDef, KindDef};
use tomte_model::{Direction, Threshold as ModelThreshold};

/// A kind of resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Kind {
    /// Singular: `disk`.
    pub name: String,
    /// What it is.
    pub help: String,
    /// How resources of this kind are named.
    pub key: String,
    /// Its parts.
    pub facets: Vec<FacetInfo>,
    /// Its numbers.
    pub fields: Vec<Field>,
    /// Its texts and flags.
    pub attributes: Vec<Attribute>,
    /// Its latest-only lists.
    pub tables: Vec<TableInfo>,
}

/// A part of a resource that one collector owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FacetInfo {
    /// `io`; `main` where there is only one.
    pub name: String,
    /// Whether the resource exists because of it.
    pub owner: bool,
}

/// What a number means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Field {
    /// Prometheus style: `usage_ratio`.
    pub name: String,
    /// The facet it belongs to.
    pub facet: String,
    /// What it is measured in.
    pub unit: String,
    /// The step it is rounded to.
    pub resolution: f64,
    /// What it says.
    pub help: String,
    /// When it is a problem by default; null: never.
    pub threshold: Option<Threshold>,
    /// What the field used to be called.
    pub renamed_from: Vec<String>,
    /// How Home Assistant should show it.
    pub home_assistant: HomeAssistant,
}

/// When a reading is a problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Threshold {
    /// Which side is bad.
    pub direction: Side,
    /// At this level and beyond: warning; null: never.
    pub warning: Option<f64>,
    /// At this level and beyond: critical; null: never.
    pub critical: Option<f64>,
    /// How far back behind a level the reading must go before it clears.
    pub clear_gap: f64,
    /// How long a level must be exceeded before it counts, in seconds.
    pub hold_seconds: f64,
}

/// Which side of a level is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Side {
    /// High is bad.
    Above,
    /// Low is bad.
    Below,
}

/// How Home Assistant should show a reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HomeAssistant {
    /// Its device class, or empty.
    pub device_class: String,
    /// Its state class, or empty.
    pub state_class: String,
    /// Whether it is among the diagnostics.
    pub diagnostic: bool,
    /// Whether the entity is enabled when it first appears.
    pub enabled: bool,
}

/// What a text or flag means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// The facet it belongs to.
    pub facet: String,
    /// What it says.
    pub help: String,
}

/// What a latest-only list holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// The facet it belongs to.
    pub facet: String,
    /// What it lists.
    pub help: String,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// A column of a latest-only list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it says.
    pub help: String,
}

impl From<&KindDef> for Kind {
    fn from(kind: &KindDef) -> Self {
        Self {
            name: kind.name.to_string(),
            help: kind.help.to_string(),
            key: kind.key.to_string(),
            facets: kind.facets.iter().map(|f| FacetInfo { name: f.name.to_string(), owner: f.owner }).collect(),
            fields: kind.fields.iter().map(Field::from).collect(),
            attributes: kind
                .attributes
                .iter()
                .map(|a| Attribute { name: a.name.to_string(), facet: a.facet.to_string(), help: a.help.to_string() })
                .collect(),
            tables: kind
                .tables
                .iter()
                .map(|t| TableInfo {
                    name: t.name.to_string(),
                    facet: t.facet.to_string(),
                    help: t.help.to_string(),
                    columns: t
                        .columns
                        .iter()
                        .map(|(name, help)| Column { name: name.to_string(), help: help.to_string() })
                        .collect(),
                })
                .collect(),
        }
    }
}

impl From<&FieldDef> for Field {
    fn from(field: &FieldDef) -> Self {
        Self {
            name: field.name.to_string(),
            facet: field.facet.to_string(),
            unit: field.unit.as_str().to_owned(),
            resolution: field.resolution.from_steps(1),
            help: field.help.to_string(),
            threshold: field.threshold.as_ref().map(Threshold::from),
            renamed_from: field.renamed_from.iter().map(ToString::to_string).collect(),
            home_assistant: HomeAssistant {
                device_class: field.home_assistant.device_class.to_string(),
                state_class: field.home_assistant.state_class.to_string(),
                diagnostic: field.home_assistant.diagnostic,
                enabled: field.home_assistant.enabled,
            },
        }
    }
}

impl From<&ModelThreshold> for Threshold {
    fn from(threshold: &ModelThreshold) -> Self {
        Self {
            direction: match threshold.direction {
                Direction::Above => Side::Above,
                Direction::Below => Side::Below,
            },
            warning: threshold.warning,
            critical: threshold.critical,
            clear_gap: threshold.clear_gap,
            hold_seconds: threshold.hold.as_secs_f64(),
        }
    }
}
