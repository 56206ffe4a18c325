//! Kinds on their way to a hub that may not know them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use prost::Message;
use tomte_model::assess::{Direction, Threshold};
use tomte_model::catalogue::{
    AttributeDef, FacetDef, FieldDef, HomeAssistant, KINDS, KindDef, Resolution, TableDef, Unit,
};

use crate::convert::checked;
use crate::encode::limited;
use crate::error::LinkError;
use crate::limits::Limits;
use crate::names::described;

/// No description of a kind is longer than this.
pub(crate) const KIND_BYTES: usize = 64 * 1024;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Kind {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(string, tag = "3")]
    key: String,
    #[prost(message, repeated, tag = "4")]
    facets: Vec<KindFacet>,
    #[prost(message, repeated, tag = "5")]
    fields: Vec<KindField>,
    #[prost(message, repeated, tag = "6")]
    attributes: Vec<KindAttribute>,
    #[prost(message, repeated, tag = "7")]
    tables: Vec<KindTable>,
}

#[derive(Clone, PartialEq, Message)]
struct KindFacet {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bool, tag = "2")]
    owner: bool,
}

#[derive(Clone, PartialEq, Message)]
struct KindField {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    facet: String,
    #[prost(string, tag = "3")]
    unit: String,
    /// The power of ten.
    #[prost(sint32, tag = "4")]
    resolution: i32,
    #[prost(string, tag = "5")]
    help: String,
    #[prost(message, optional, tag = "6")]
    threshold: Option<KindThreshold>,
    #[prost(string, tag = "7")]
    phrase: String,
    #[prost(string, tag = "8")]
    device_class: String,
    #[prost(string, tag = "9")]
    state_class: String,
    #[prost(bool, tag = "10")]
    diagnostic: bool,
    #[prost(bool, tag = "11")]
    enabled: bool,
    #[prost(string, repeated, tag = "12")]
    renamed_from: Vec<String>,
    #[prost(string, tag = "13")]
    icon: String,
}

#[derive(Clone, PartialEq, Message)]
struct KindThreshold {
    #[prost(bool, tag = "1")]
    below: bool,
    #[prost(double, optional, tag = "2")]
    warning: Option<f64>,
    #[prost(double, optional, tag = "3")]
    critical: Option<f64>,
    #[prost(double, tag = "4")]
    clear_gap: f64,
    #[prost(uint64, tag = "5")]
    hold_millis: u64,
}

#[derive(Clone, PartialEq, Message)]
struct KindAttribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    facet: String,
    #[prost(string, tag = "3")]
    help: String,
    #[prost(message, optional, tag = "4")]
    shown: Option<KindShown>,
}

/// How Home Assistant should show an attribute.
#[derive(Clone, PartialEq, Message)]
struct KindShown {
    #[prost(string, tag = "1")]
    device_class: String,
    #[prost(bool, tag = "2")]
    diagnostic: bool,
    #[prost(bool, tag = "3")]
    enabled: bool,
    #[prost(string, tag = "4")]
    icon: String,
}

#[derive(Clone, PartialEq, Message)]
struct KindTable {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    facet: String,
    #[prost(string, tag = "3")]
    help: String,
    #[prost(message, repeated, tag = "4")]
    columns: Vec<KindColumn>,
}

#[derive(Clone, PartialEq, Message)]
struct KindColumn {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
}

/// A kind as it travels.
pub(crate) fn to_wire(kind: &KindDef) -> Kind {
    let field = |field: &FieldDef| KindField {
        name: field.name.to_string(),
        facet: field.facet.to_string(),
        unit: field.unit.as_str().to_owned(),
        resolution: field.resolution.exponent().into(),
        help: field.help.to_string(),
        threshold: field.threshold.as_ref().map(|threshold| KindThreshold {
            below: threshold.direction == Direction::Below,
            warning: threshold.warning,
            critical: threshold.critical,
            clear_gap: threshold.clear_gap,
            hold_millis: u64::try_from(threshold.hold.as_millis()).unwrap_or(u64::MAX),
        }),
        phrase: field.phrase.to_string(),
        device_class: field.home_assistant.device_class.to_string(),
        state_class: field.home_assistant.state_class.to_string(),
        diagnostic: field.home_assistant.diagnostic,
        enabled: field.home_assistant.enabled,
        renamed_from: field.renamed_from.iter().map(ToString::to_string).collect(),
        icon: field.home_assistant.icon.to_string(),
    };
    let shown = |shown: &HomeAssistant| KindShown {
        device_class: shown.device_class.to_string(),
        diagnostic: shown.diagnostic,
        enabled: shown.enabled,
        icon: shown.icon.to_string(),
    };
    let attribute = |attribute: &AttributeDef| KindAttribute {
        name: attribute.name.to_string(),
        facet: attribute.facet.to_string(),
        help: attribute.help.to_string(),
        shown: attribute.home_assistant.as_ref().map(shown),
    };
    let table = |table: &TableDef| KindTable {
        name: table.name.to_string(),
        facet: table.facet.to_string(),
        help: table.help.to_string(),
        columns: table
            .columns
            .iter()
            .map(|(name, help)| KindColumn { name: name.to_string(), help: help.to_string() })
            .collect(),
    };
    Kind {
        name: kind.name.to_string(),
        help: kind.help.to_string(),
        key: kind.key.to_string(),
        facets: kind
            .facets
            .iter()
            .map(|facet| KindFacet { name: facet.name.to_string(), owner: facet.owner })
            .collect(),
        fields: kind.fields.iter().map(field).collect(),
        attributes: kind.attributes.iter().map(attribute).collect(),
        tables: kind.tables.iter().map(table).collect(),
    }
}

/// A kind from the wire.
pub(crate) fn from_wire(kind: Kind, limits: &Limits) -> Result<KindDef, LinkError> {
    let limit = limits.text_bytes;
    let text = |text: String| -> Result<Cow<'static, str>, LinkError> { Ok(checked(text, limit)?.into()) };
    let short = |text: String| -> Result<Cow<'static, str>, LinkError> { Ok(described(checked(text, limit)?)) };
    limited("fields of a kind", kind.fields.len(), limits.fields)?;
    let facet = |facet: KindFacet| Ok(FacetDef { name: short(facet.name)?, owner: facet.owner });
    let field = |field: KindField| {
        let renamed: Vec<_> = field.renamed_from.into_iter().map(text).collect::<Result<_, LinkError>>()?;
        Ok(FieldDef {
            name: short(field.name)?,
            facet: short(field.facet)?,
            unit: Unit::from_name(&checked(field.unit, limit)?),
            resolution: Resolution::power_of_ten(field.resolution.clamp(-9, 9) as i8),
            help: text(field.help)?,
            threshold: field.threshold.and_then(threshold),
            phrase: text(field.phrase)?,
            home_assistant: HomeAssistant {
                device_class: text(field.device_class)?,
                state_class: text(field.state_class)?,
                diagnostic: field.diagnostic,
                enabled: field.enabled,
                icon: text(field.icon)?,
            },
            renamed_from: renamed.into(),
        })
    };
    let attribute = |attribute: KindAttribute| {
        let shown = |shown: KindShown| -> Result<HomeAssistant, LinkError> {
            Ok(HomeAssistant {
                device_class: text(shown.device_class)?,
                state_class: Cow::Borrowed(""),
                diagnostic: shown.diagnostic,
                enabled: shown.enabled,
                icon: text(shown.icon)?,
            })
        };
        Ok(AttributeDef {
            name: short(attribute.name)?,
            facet: short(attribute.facet)?,
            help: text(attribute.help)?,
            home_assistant: attribute.shown.map(shown).transpose()?,
        })
    };
    let column = |column: KindColumn| Ok((short(column.name)?, text(column.help)?));
    let table = |table: KindTable| {
        let columns: Vec<_> = table.columns.into_iter().map(column).collect::<Result<_, LinkError>>()?;
        Ok(TableDef {
            name: short(table.name)?,
            facet: short(table.facet)?,
            help: text(table.help)?,
            columns: columns.into(),
        })
    };
    Ok(KindDef {
        name: short(kind.name)?,
        help: text(kind.help)?,
        key: text(kind.key)?,
        facets: kind.facets.into_iter().map(facet).collect::<Result<Vec<_>, LinkError>>()?.into(),
        fields: kind.fields.into_iter().map(field).collect::<Result<Vec<_>, LinkError>>()?.into(),
        attributes: kind.attributes.into_iter().map(attribute).collect::<Result<Vec<_>, LinkError>>()?.into(),
        tables: kind.tables.into_iter().map(table).collect::<Result<Vec<_>, LinkError>>()?.into(),
    })
}

/// A threshold from the wire; one whose numbers are none judges nothing.
fn threshold(wire: KindThreshold) -> Option<Threshold> {
    let levels = [wire.warning, wire.critical, Some(wire.clear_gap)];
    levels.into_iter().flatten().all(f64::is_finite).then_some(Threshold {
        direction: if wire.below { Direction::Below } else { Direction::Above },
        warning: wire.warning,
        critical: wire.critical,
        clear_gap: wire.clear_gap,
        hold: Duration::from_millis(wire.hold_millis),
    })
}

/// A number that tells one description of a kind from another: FNV-1a, 64
/// bits, over the description as it travels.
pub(crate) fn fingerprint(encoded: &[u8]) -> u64 {
    encoded.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The fingerprints of the kinds that this version ships.
pub(crate) static SHIPPED: LazyLock<HashSet<u64>> =
    LazyLock::new(|| KINDS.iter().map(|kind| fingerprint(&to_wire(kind).encode_to_vec())).collect());
