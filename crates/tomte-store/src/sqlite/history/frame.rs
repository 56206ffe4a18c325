//! What is left of a report without its numbers: who, which resources, their
//! attributes, tables and assessments. It seldom changes from one report of a
//! collector to the next, so it is written once and referred to.
//!
//! Frames only serve [`HistoryStore::replay`](crate::HistoryStore::replay);
//! they go with the last report that needs them.

use std::collections::HashMap;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use tomte_model::report::{Outcome, Scope, Value};
use tomte_model::{BootId, HostId, Moment, Name, Position, Report};

use super::body;
use super::dictionary::Slot;
use crate::codec::{put_varint, take_varint};

/// A frame as it is kept, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Frame {
    collector: Name,
    boot_id: String,
    clock_synchronised: bool,
    interval_millis: u32,
    /// The readings' values are zero here; a report's body has them.
    scopes: Vec<Scope>,
    /// For each reading, in order: the series' number and exponent.
    series: Vec<Slot>,
}

/// What a row adds to its frame.
#[derive(Debug)]
pub(super) struct RowParts<'a> {
    pub(super) host: HostId,
    pub(super) position: Position,
    pub(super) moment: Moment,
    pub(super) events: Option<&'a str>,
    pub(super) body: &'a [u8],
    pub(super) unkept: Option<&'a [u8]>,
}

impl Frame {
    /// The frame of a report.
    pub(super) fn of(report: &Report, series: &[Slot]) -> Self {
        let mut scopes = report.scopes.clone();
        for facet in scopes.iter_mut().flat_map(|scope| &mut scope.facets) {
            // JSON has no word for what is not finite.
            facet.attributes.retain(|(_, value)| !matches!(value, Value::Number(n) if !n.is_finite()));
            facet.readings.iter_mut().for_each(|(_, value)| *value = 0.0);
        }
        Self {
            collector: report.collector.clone(),
            boot_id: format!("{:032x}", report.boot_id.0),
            clock_synchronised: report.clock_synchronised,
            interval_millis: report.interval_millis,
            scopes,
            series: series.to_vec(),
        }
    }

    /// The report again; `None` when the parts make no sense. Readings that
    /// could not be kept as numbers are missing.
    pub(super) fn report(&self, parts: &RowParts<'_>) -> Option<Report> {
        let integers: HashMap<u64, u64> = body::decode(parts.body)?.into_iter().collect();
        let mut unkept = HashMap::new();
        let mut rest = parts.unkept.unwrap_or_default();
        while !rest.is_empty() {
            let index = usize::try_from(take_varint(&mut rest)?).ok()?;
            unkept.insert(index, f64::from_bits(take_varint(&mut rest)?.swap_bytes()));
        }
        let mut scopes = self.scopes.clone();
        let mut index = 0;
        for facet in scopes.iter_mut().flat_map(|scope| &mut scope.facets) {
            facet.readings.retain_mut(|(_, value)| {
                let slot = self.series.get(index);
                let kept = match slot {
                    Some(Slot::Series { number, exponent }) => {
                        integers.get(number).map(|integer| body::from_integer(*integer, *exponent))
                    }
                    _ => None,
                };
                let found = kept.or_else(|| unkept.get(&index).copied());
                index += 1;
                found.inspect(|found| *value = *found).is_some()
            });
        }
        Some(Report {
            host: parts.host,
            collector: self.collector.clone(),
            position: parts.position,
            boot_id: BootId(u128::from_str_radix(&self.boot_id, 16).ok()?),
            moment: parts.moment,
            clock_synchronised: self.clock_synchronised,
            interval_millis: self.interval_millis,
            scopes,
            events: parts.events.map_or(Some(Vec::new()), |events| serde_json::from_str(events).ok())?,
        })
    }
}

/// Adds a reading that has no series, so that a replay still has it.
pub(super) fn put_unkept(bytes: &mut Vec<u8>, index: usize, value: f64) {
    put_varint(bytes, index as u64);
    put_varint(bytes, value.to_bits().swap_bytes());
}

/// Feeds everything that decides about a report's series: its resources and
/// the fields of their readings, in order.
pub(super) fn hash_shape(report: &Report, hasher: &mut impl Hasher) {
    for facet in report.scopes.iter().flat_map(|scope| &scope.facets) {
        text(hasher, &facet.resource.kind);
        text(hasher, &facet.resource.name);
        hasher.write_usize(facet.readings.len());
        for (field, _) in &facet.readings {
            text(hasher, field);
        }
    }
}

/// Feeds everything that is in a report's frame, but for the shape.
pub(super) fn hash_rest(report: &Report, hasher: &mut impl Hasher) {
    text(hasher, &report.collector);
    hasher.write_u128(report.boot_id.0);
    hasher.write_u8(u8::from(report.clock_synchronised));
    hasher.write_u32(report.interval_millis);
    for scope in &report.scopes {
        text(hasher, &scope.name);
        match &scope.outcome {
            Outcome::Complete => hasher.write_u8(0),
            Outcome::Failed { error } => {
                hasher.write_u8(1);
                text(hasher, error);
            }
            Outcome::Denied { error, cure } => {
                hasher.write_u8(2);
                text(hasher, error);
                text(hasher, cure);
            }
            Outcome::Unavailable { error } => {
                hasher.write_u8(3);
                text(hasher, error);
            }
        }
        hasher.write_usize(scope.facets.len());
        for facet in &scope.facets {
            text(hasher, &facet.name);
            hasher.write_u8(u8::from(facet.owner));
            hasher.write_usize(facet.attributes.len());
            for (name, value) in &facet.attributes {
                text(hasher, name);
                hash_value(hasher, value);
            }
            hasher.write_usize(facet.tables.len());
            for table in &facet.tables {
                text(hasher, &table.name);
                hasher.write_usize(table.columns.len());
                table.columns.iter().for_each(|column| text(hasher, column));
                hasher.write_usize(table.rows.len());
                for row in &table.rows {
                    hasher.write_usize(row.len());
                    for cell in row {
                        match cell {
                            Some(value) => hash_value(hasher, value),
                            None => hasher.write_u8(9),
                        }
                    }
                }
            }
            match &facet.assessment {
                None => hasher.write_u8(0),
                Some(assessment) => {
                    hasher.write_u8(1 + assessment.status as u8);
                    text(hasher, &assessment.reason);
                    hasher.write_usize(assessment.problems.len());
                    for problem in &assessment.problems {
                        text(hasher, &problem.field);
                        hasher.write_u8(problem.status as u8);
                        text(hasher, &problem.reason);
                        hasher.write_i64(problem.since.millis());
                    }
                }
            }
        }
    }
}

fn hash_value(hasher: &mut impl Hasher, value: &Value) {
    match value {
        Value::Bool(flag) => hasher.write_u8(u8::from(*flag)),
        Value::Number(number) => {
            hasher.write_u8(2);
            hasher.write_u64(number.to_bits());
        }
        Value::Text(content) => {
            hasher.write_u8(3);
            text(hasher, content);
        }
    }
}

/// The length first, so that neighbours cannot run together.
fn text(hasher: &mut impl Hasher, text: &str) {
    hasher.write_usize(text.len());
    hasher.write(text.as_bytes());
}
