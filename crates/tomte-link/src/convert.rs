//! Between the wire's types and the vocabulary's: what travels as text.

use std::collections::BTreeMap;

use tomte_model::report::Outcome;
use tomte_model::status::{Assessment, Problem, Status};
use tomte_model::{Event, EventId, EventKind, HostId, Name, Severity, Table, Timestamp, Value};

use crate::error::LinkError;
use crate::names::name;
use crate::wire;

/// Numbers names on their way out.
pub(crate) trait ToSymbol {
    fn symbol(&mut self, name: &Name) -> Result<u32, LinkError>;
}

/// Knows the names of numbers, and how long a text may be.
pub(crate) struct FromSymbols<'a> {
    pub(crate) symbols: &'a [Name],
    pub(crate) text_bytes: usize,
}

impl FromSymbols<'_> {
    pub(crate) fn name(&self, symbol: u32) -> Result<Name, LinkError> {
        self.symbols
            .get(symbol as usize)
            .cloned()
            .ok_or(LinkError::Malformed { frame: "part", what: "a symbol that was never sent" })
    }

    fn text(&self, text: String) -> Result<String, LinkError> {
        checked(text, self.text_bytes)
    }
}

/// The text, unless it is too long.
pub(crate) fn checked(text: String, limit: usize) -> Result<String, LinkError> {
    if text.len() > limit {
        return Err(LinkError::Limit { what: "bytes of a text", found: text.len() as u64, limit: limit as u64 });
    }
    Ok(text)
}

/// The text, cut to what a text may be long.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    const MORE: &str = "…";
    let mut end = limit.saturating_sub(MORE.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if limit < MORE.len() { text[..end].to_owned() } else { format!("{}{MORE}", &text[..end]) }
}

// ---- Values, attributes, tables ----

fn cut_value(value: &Value, limit: usize) -> Option<Value> {
    match value {
        Value::Text(text) => Some(Value::Text(cut(text, limit))),
        Value::Number(number) => number.is_finite().then_some(Value::Number(*number)),
        Value::Bool(flag) => Some(Value::Bool(*flag)),
    }
}

/// Attributes as they can travel: texts cut, numbers that are not finite left out.
pub(crate) fn cut_attributes(attributes: &[(Name, Value)], limit: usize) -> Vec<(Name, Value)> {
    attributes.iter().filter_map(|(name, value)| Some((name.clone(), cut_value(value, limit)?))).collect()
}

/// Tables as they can travel.
pub(crate) fn cut_tables(tables: &[Table], limit: usize) -> Vec<Table> {
    let cell = |cell: &Option<Value>| cell.as_ref().and_then(|value| cut_value(value, limit));
    let table = |table: &Table| Table {
        name: table.name.clone(),
        columns: table.columns.clone(),
        rows: table.rows.iter().map(|row| row.iter().map(cell).collect()).collect(),
    };
    tables.iter().map(table).collect()
}

fn value_to_wire(name: u32, value: Option<&Value>) -> wire::Value {
    let mut wire = wire::Value { name, text: None, flag: None, number: None };
    match value {
        Some(Value::Text(text)) => wire.text = Some(text.clone()),
        Some(Value::Bool(flag)) => wire.flag = Some(*flag),
        Some(Value::Number(number)) => wire.number = Some(*number),
        None => {}
    }
    wire
}

fn value_from_wire(wire: wire::Value, names: &FromSymbols<'_>) -> Result<Option<Value>, LinkError> {
    Ok(match wire {
        wire::Value { text: Some(text), .. } => Some(Value::Text(names.text(text)?)),
        wire::Value { flag: Some(flag), .. } => Some(Value::Bool(flag)),
        wire::Value { number: Some(number), .. } => number.is_finite().then_some(Value::Number(number)),
        // Missing, or of a type that a newer version sends.
        _ => None,
    })
}

pub(crate) fn attributes_to_wire(
    attributes: &[(Name, Value)],
    symbols: &mut impl ToSymbol,
) -> Result<wire::Attributes, LinkError> {
    let list = attributes.iter().map(|(name, value)| Ok(value_to_wire(symbols.symbol(name)?, Some(value))));
    Ok(wire::Attributes { list: list.collect::<Result<_, LinkError>>()? })
}

pub(crate) fn attributes_from_wire(
    wire: wire::Attributes,
    names: &FromSymbols<'_>,
) -> Result<Vec<(Name, Value)>, LinkError> {
    let mut attributes = Vec::with_capacity(wire.list.len());
    for attribute in wire.list {
        let name = names.name(attribute.name)?;
        if let Some(value) = value_from_wire(attribute, names)? {
            attributes.push((name, value));
        }
    }
    Ok(attributes)
}

pub(crate) fn tables_to_wire(tables: &[Table], symbols: &mut impl ToSymbol) -> Result<wire::Tables, LinkError> {
    let mut list = Vec::with_capacity(tables.len());
    for table in tables {
        let row = |row: &Vec<Option<Value>>| wire::Row {
            cells: row.iter().map(|cell| value_to_wire(0, cell.as_ref())).collect(),
        };
        list.push(wire::Table {
            name: symbols.symbol(&table.name)?,
            columns: table.columns.iter().map(|column| symbols.symbol(column)).collect::<Result<_, _>>()?,
            rows: table.rows.iter().map(row).collect(),
        });
    }
    Ok(wire::Tables { list })
}

pub(crate) fn tables_from_wire(wire: wire::Tables, names: &FromSymbols<'_>) -> Result<Vec<Table>, LinkError> {
    let table = |table: wire::Table| {
        let row = |row: wire::Row| row.cells.into_iter().map(|cell| value_from_wire(cell, names)).collect();
        Ok(Table {
            name: names.name(table.name)?,
            columns: table.columns.into_iter().map(|column| names.name(column)).collect::<Result<_, _>>()?,
            rows: table.rows.into_iter().map(row).collect::<Result<_, LinkError>>()?,
        })
    };
    wire.list.into_iter().map(table).collect()
}

// ---- Judgements ----

pub(crate) fn status_to_wire(status: Status) -> u32 {
    match status {
        Status::Ok => 1,
        Status::Unknown => 2,
        Status::Warning => 3,
        Status::Critical => 4,
    }
}

pub(crate) fn status_from_wire(status: u32) -> Status {
    match status {
        1 => Status::Ok,
        3 => Status::Warning,
        4 => Status::Critical,
        // What a newer version calls something else cannot be judged here.
        _ => Status::Unknown,
    }
}

/// A judgement as it can travel.
pub(crate) fn cut_assessment(assessment: &Assessment, limit: usize) -> Assessment {
    let problem = |problem: &Problem| Problem {
        field: if problem.field.len() <= limit { problem.field.clone() } else { cut(&problem.field, limit).into() },
        reason: cut(&problem.reason, limit),
        ..*problem
    };
    Assessment {
        status: assessment.status,
        reason: cut(&assessment.reason, limit),
        problems: assessment.problems.iter().map(problem).collect(),
    }
}

pub(crate) fn judgement_to_wire(assessment: Option<&Assessment>) -> wire::Judgement {
    let Some(assessment) = assessment else { return wire::Judgement::default() };
    let problem = |problem: &Problem| wire::Problem {
        field: problem.field.clone().into_owned(),
        status: status_to_wire(problem.status),
        reason: problem.reason.clone(),
        since: problem.since.millis(),
    };
    wire::Judgement {
        status: status_to_wire(assessment.status),
        reason: assessment.reason.clone(),
        problems: assessment.problems.iter().map(problem).collect(),
    }
}

pub(crate) fn judgement_from_wire(
    wire: wire::Judgement,
    names: &FromSymbols<'_>,
) -> Result<Option<Assessment>, LinkError> {
    if wire.status == 0 {
        return Ok(None);
    }
    let problem = |problem: wire::Problem| {
        Ok(Problem {
            field: name(names.text(problem.field)?),
            status: status_from_wire(problem.status),
            reason: names.text(problem.reason)?,
            since: Timestamp::from_millis(problem.since),
        })
    };
    Ok(Some(Assessment {
        status: status_from_wire(wire.status),
        reason: names.text(wire.reason)?,
        problems: wire.problems.into_iter().map(problem).collect::<Result<_, LinkError>>()?,
    }))
}

// ---- Outcomes ----

/// An outcome as it can travel.
pub(crate) fn cut_outcome(outcome: &Outcome, limit: usize) -> Outcome {
    match outcome {
        Outcome::Complete => Outcome::Complete,
        Outcome::Failed { error } => Outcome::Failed { error: cut(error, limit) },
        Outcome::Denied { error, cure } => Outcome::Denied { error: cut(error, limit), cure: cut(cure, limit) },
        Outcome::Unavailable { error } => Outcome::Unavailable { error: cut(error, limit) },
    }
}

pub(crate) fn outcome_to_wire(outcome: &Outcome) -> wire::Outcome {
    let (is, error, cure) = match outcome {
        Outcome::Complete => (0, "", ""),
        Outcome::Failed { error } => (1, error.as_str(), ""),
        Outcome::Denied { error, cure } => (2, error.as_str(), cure.as_str()),
        Outcome::Unavailable { error } => (3, error.as_str(), ""),
    };
    wire::Outcome { is, error: error.to_owned(), cure: cure.to_owned() }
}

pub(crate) fn outcome_from_wire(wire: wire::Outcome, limit: usize) -> Result<Outcome, LinkError> {
    let error = checked(wire.error, limit)?;
    Ok(match wire.is {
        0 => Outcome::Complete,
        2 => Outcome::Denied { error, cure: checked(wire.cure, limit)? },
        3 => Outcome::Unavailable { error },
        // Whatever a newer version calls it, it was not read.
        _ => Outcome::Failed { error },
    })
}

// ---- Events ----

/// An event as it can travel.
pub(crate) fn cut_event(event: &Event, limit: usize) -> Event {
    Event {
        source: cut(&event.source, limit).into(),
        kind: EventKind(cut(event.kind.as_str(), limit).into()),
        subject: event.subject.as_deref().map(|subject| cut(subject, limit)),
        message: cut(&event.message, limit),
        details: event.details.iter().map(|(key, value)| (cut(key, limit), cut(value, limit))).collect(),
        ..*event
    }
}

pub(crate) fn event_to_wire(event: Event) -> wire::Event {
    wire::Event {
        id: event.id.to_bytes().to_vec(),
        at: event.at.millis(),
        source: event.source.into_owned(),
        kind: event.kind.0.into_owned(),
        severity: match event.severity {
            Severity::Info => 1,
            Severity::Warning => 2,
            Severity::Error => 3,
            Severity::Critical => 4,
        },
        subject: event.subject,
        correlation_id: event.correlation_id.map(|id| id.to_bytes().to_vec()),
        message: event.message,
        details: event.details.into_iter().map(|(key, value)| wire::Pair { key, value }).collect(),
    }
}

pub(crate) fn event_from_wire(wire: wire::Event, limit: usize) -> Result<Event, LinkError> {
    let id = |bytes: &[u8]| -> Result<EventId, LinkError> { Ok(EventId::from_bytes(sixteen(bytes, "event")?)) };
    let kind = checked(wire.kind, limit)?;
    let known = EventKind::KNOWN.iter().find(|known| known.as_str() == kind);
    let mut details = BTreeMap::new();
    for wire::Pair { key, value } in wire.details {
        details.insert(checked(key, limit)?, checked(value, limit)?);
    }
    Ok(Event {
        id: id(&wire.id)?,
        at: Timestamp::from_millis(wire.at),
        source: name(checked(wire.source, limit)?),
        kind: known.cloned().unwrap_or_else(|| EventKind(kind.into())),
        severity: match wire.severity {
            0 | 1 => Severity::Info,
            3 => Severity::Error,
            4 => Severity::Critical,
            // A newer version's own: somebody should look.
            _ => Severity::Warning,
        },
        subject: wire.subject.map(|subject| checked(subject, limit)).transpose()?,
        correlation_id: wire.correlation_id.as_deref().map(id).transpose()?,
        message: checked(wire.message, limit)?,
        details,
    })
}

// ---- Ids ----

/// Sixteen bytes: an id.
pub(crate) fn sixteen(bytes: &[u8], frame: &'static str) -> Result<[u8; 16], LinkError> {
    bytes.try_into().map_err(|_| LinkError::Malformed { frame, what: "an id that is not 16 bytes long" })
}

/// A host id of 16 bytes.
pub(crate) fn host_id(bytes: &[u8], frame: &'static str) -> Result<HostId, LinkError> {
    Ok(HostId::from_bytes(sixteen(bytes, frame)?))
}

/// A number of 128 bits, of 16 bytes or none for zero.
pub(crate) fn number_128(bytes: &[u8], frame: &'static str) -> Result<u128, LinkError> {
    if bytes.is_empty() { Ok(0) } else { Ok(u128::from_be_bytes(sixteen(bytes, frame)?)) }
}

/// The 16 bytes of a number, or none for zero.
pub(crate) fn bytes_128(number: u128) -> Vec<u8> {
    if number == 0 { Vec::new() } else { number.to_be_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("short", 16), "short");
        assert_eq!(cut("0123456789", 8), "01234…");
        assert_eq!(cut("ääääää", 8), "ää…");
        assert_eq!(cut("ää", 3), "…");
        assert_eq!(cut("ää", 1), "");
    }
}
