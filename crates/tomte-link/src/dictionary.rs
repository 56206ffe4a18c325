//! What both ends remember of a stream: its names, its shapes, its facets with
//! their last values, its scopes.
//!
//! The encoder and the decoder change it by the same methods in the same
//! order, so that it is the same at both ends, the count of its bytes
//! included: an encoder knows when it would ask too much of the hub.

use tomte_model::catalogue::Resolution;
use tomte_model::status::Assessment;
use tomte_model::{BootId, HostId, Name, Outcome, Table, Value};

use crate::bits::Slot;

/// How the values of a field travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scale {
    /// As whole steps of a power of ten.
    Steps(Resolution),
    /// As the bits of a double, for what no power of ten holds.
    Raw,
}

impl Scale {
    /// The byte that stands for it.
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Steps(resolution) => (resolution.exponent() + 64) as u8,
            Self::Raw => u8::MAX,
        }
    }

    /// The scale of that byte.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            u8::MAX => Some(Self::Raw),
            55..=73 => Some(Self::Steps(Resolution::power_of_ten(byte as i8 - 64))),
            _ => None,
        }
    }

    /// The value as an integer; `None` when the scale cannot hold it.
    pub(crate) fn to_integer(self, value: f64) -> Option<i64> {
        match self {
            Self::Steps(resolution) => resolution.to_steps(value),
            Self::Raw => Some(value.to_bits() as i64),
        }
    }

    /// The value of such an integer; `None` when it is no finite number.
    pub(crate) fn to_value(self, integer: i64) -> Option<f64> {
        let value = match self {
            Self::Steps(resolution) => resolution.from_steps(integer),
            Self::Raw => f64::from_bits(integer as u64),
        };
        value.is_finite().then_some(value)
    }
}

/// A field of a shape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: Name,
    pub(crate) scale: Scale,
    /// Nothing declares its resolution, so that every value must arrive as it
    /// is. Only the encoder cares.
    pub(crate) exact: bool,
}

/// What many facets have in common.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    pub(crate) kind: Name,
    pub(crate) facet: Name,
    pub(crate) owner: bool,
    pub(crate) fields: Vec<Field>,
}

impl Shape {
    /// The bytes of its names, which each facet in a report repeats.
    fn name_bytes(&self) -> usize {
        self.kind.len() + self.facet.len() + self.fields.iter().map(|field| field.name.len()).sum::<usize>()
    }
}

/// A facet of the stream, in the last report or in an earlier one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FacetEntry {
    pub(crate) shape: u32,
    pub(crate) resource: String,
    /// One for each field of the shape.
    pub(crate) slots: Vec<Slot>,
    pub(crate) attributes: Vec<(Name, Value)>,
    pub(crate) tables: Vec<Table>,
    pub(crate) assessment: Option<Assessment>,
    /// The bytes of its shape's names.
    name_bytes: usize,
    /// The bytes that a report with this facet takes, without the numbers.
    weight: usize,
}

/// A scope of the stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScopeEntry {
    pub(crate) name: Name,
    pub(crate) outcome: Outcome,
    pub(crate) members: Vec<u32>,
}

/// The report that the next one builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) sequence: u64,
    pub(crate) wall: i64,
    pub(crate) boot_millis: u64,
}

impl Base {
    /// What the clocks went on since `base`, less what was to be expected:
    /// wall clock, boot time.
    pub(crate) fn less(&self, base: &Self, interval_millis: u32) -> (i64, i64) {
        let wall = self.wall.wrapping_sub(base.wall);
        let boot = self.boot_millis.wrapping_sub(base.boot_millis) as i64;
        (wall.wrapping_sub(i64::from(interval_millis)), boot.wrapping_sub(wall))
    }

    /// The inverse of [`Self::less`].
    pub(crate) fn plus(&self, sequence: u64, (wall, boot): (i64, i64), interval_millis: u32) -> Self {
        let wall = wall.wrapping_add(i64::from(interval_millis));
        Self {
            sequence,
            wall: self.wall.wrapping_add(wall),
            boot_millis: self.boot_millis.wrapping_add(boot.wrapping_add(wall) as u64),
        }
    }
}

/// What stays the same from report to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) epoch: u64,
    pub(crate) boot_id: BootId,
    pub(crate) interval_millis: u32,
    pub(crate) clock_synchronised: bool,
}

/// One collector of one host, in one lane.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stream {
    pub(crate) host: HostId,
    pub(crate) collector: Name,
    pub(crate) head: Head,
    pub(crate) base: Option<Base>,
    symbols: Vec<Name>,
    shapes: Vec<Shape>,
    facets: Vec<FacetEntry>,
    scopes: Vec<ScopeEntry>,
    /// The scopes of the last report.
    order: Vec<u32>,
    memory: usize,
}

/// Bytes that one value of a report takes in memory.
pub(crate) const READING_BYTES: usize = size_of::<(Name, f64)>();
/// Bytes that a stream takes before anything is in it.
const STREAM_BYTES: usize = 512;

impl Stream {
    pub(crate) fn new(host: HostId, collector: Name, head: Head) -> Self {
        let memory = STREAM_BYTES + collector.len();
        Self {
            host,
            collector,
            head,
            base: None,
            symbols: Vec::new(),
            shapes: Vec::new(),
            facets: Vec::new(),
            scopes: Vec::new(),
            order: Vec::new(),
            memory,
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    pub(crate) fn symbols(&self) -> &[Name] {
        &self.symbols
    }

    pub(crate) fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    pub(crate) fn facets(&self) -> &[FacetEntry] {
        &self.facets
    }

    pub(crate) fn scopes(&self) -> &[ScopeEntry] {
        &self.scopes
    }

    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }

    /// A facet with its shape's fields, its slots to be changed.
    pub(crate) fn facet_mut(&mut self, id: u32) -> (&mut FacetEntry, &Shape) {
        let facet = &mut self.facets[id as usize];
        let shape = &self.shapes[facet.shape as usize];
        (facet, shape)
    }

    pub(crate) fn add_symbol(&mut self, symbol: Name) -> u32 {
        self.memory += size_of::<Name>() + symbol.len();
        self.symbols.push(symbol);
        (self.symbols.len() - 1) as u32
    }

    pub(crate) fn add_shape(&mut self, shape: Shape) -> u32 {
        self.memory += size_of::<Shape>() + shape.fields.len() * size_of::<Field>();
        self.shapes.push(shape);
        (self.shapes.len() - 1) as u32
    }

    /// Defines a facet anew, with an id that is taken or the next one.
    pub(crate) fn define_facet(&mut self, id: u32, shape: u32, resource: String) {
        let definition = &self.shapes[shape as usize];
        let mut entry = FacetEntry {
            shape,
            resource,
            slots: vec![Slot::NEW; definition.fields.len()],
            attributes: Vec::new(),
            tables: Vec::new(),
            assessment: None,
            name_bytes: definition.name_bytes(),
            weight: 0,
        };
        entry.weigh();
        self.memory += entry.memory();
        match self.facets.get_mut(id as usize) {
            Some(old) => {
                std::mem::swap(old, &mut entry);
                self.memory -= entry.memory();
            }
            None => self.facets.push(entry),
        }
    }

    /// Changes a facet's texts by `change`, which says what it replaces.
    pub(crate) fn change_facet(&mut self, id: u32, change: impl FnOnce(&mut FacetEntry)) {
        let entry = &mut self.facets[id as usize];
        self.memory -= entry.memory();
        change(entry);
        entry.weigh();
        self.memory += entry.memory();
    }

    /// Defines a scope anew, with an id that is taken or the next one.
    pub(crate) fn define_scope(&mut self, id: u32, name: Name) {
        let mut entry = ScopeEntry { name, outcome: Outcome::Complete, members: Vec::new() };
        self.memory += entry.memory();
        match self.scopes.get_mut(id as usize) {
            Some(old) => {
                std::mem::swap(old, &mut entry);
                self.memory -= entry.memory();
            }
            None => self.scopes.push(entry),
        }
    }

    /// Changes a scope by `change`.
    pub(crate) fn change_scope(&mut self, id: u32, change: impl FnOnce(&mut ScopeEntry)) {
        let entry = &mut self.scopes[id as usize];
        self.memory -= entry.memory();
        change(entry);
        self.memory += entry.memory();
    }

    pub(crate) fn set_order(&mut self, order: Vec<u32>) {
        self.memory = self.memory - self.order.len() * size_of::<u32>() + order.len() * size_of::<u32>();
        self.order = order;
    }
}

impl FacetEntry {
    fn memory(&self) -> usize {
        size_of::<Self>() + self.weight + self.slots.len() * size_of::<Slot>()
    }

    /// The bytes that a report with this facet takes, without the numbers.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    fn weigh(&mut self) {
        self.weight = size_of::<tomte_model::Facet>()
            + self.name_bytes
            + self.resource.len()
            + self
                .attributes
                .iter()
                .map(|(name, value)| size_of::<(Name, Value)>() + name.len() + value_bytes(value))
                .sum::<usize>()
            + self.tables.iter().map(table_bytes).sum::<usize>()
            + self.assessment.as_ref().map_or(0, assessment_bytes);
    }
}

impl ScopeEntry {
    fn memory(&self) -> usize {
        size_of::<Self>() + self.weight() + self.members.len() * size_of::<u32>()
    }

    /// The bytes that a report with this scope takes, without its facets.
    pub(crate) fn weight(&self) -> usize {
        let texts = match &self.outcome {
            Outcome::Complete => 0,
            Outcome::Failed { error } | Outcome::Unavailable { error } => error.len(),
            Outcome::Denied { error, cure } => error.len() + cure.len(),
        };
        size_of::<tomte_model::Scope>() + self.name.len() + texts
    }
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bool(_) | Value::Number(_) => 0,
    }
}

fn table_bytes(table: &Table) -> usize {
    let columns: usize = table.columns.iter().map(|column| size_of::<Name>() + column.len()).sum();
    let cell = |cell: &Option<Value>| size_of::<Option<Value>>() + cell.as_ref().map_or(0, value_bytes);
    let rows: usize = table.rows.iter().map(|row| size_of::<Vec<Value>>() + row.iter().map(cell).sum::<usize>()).sum();
    size_of::<Table>() + table.name.len() + columns + rows
}

fn assessment_bytes(assessment: &Assessment) -> usize {
    let problem =
        |problem: &tomte_model::Problem| size_of::<tomte_model::Problem>() + problem.field.len() + problem.reason.len();
    assessment.reason.len() + assessment.problems.iter().map(problem).sum::<usize>()
}

/// The bytes that an event takes.
pub(crate) fn event_bytes(event: &tomte_model::Event) -> usize {
    let details: usize =
        event.details.iter().map(|(key, value)| 2 * size_of::<String>() + key.len() + value.len()).sum();
    size_of::<tomte_model::Event>()
        + event.source.len()
        + event.kind.as_str().len()
        + event.subject.as_ref().map_or(0, String::len)
        + event.message.len()
        + details
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scale_has_a_byte_of_its_own() {
        for exponent in -9..=9 {
            let scale = Scale::Steps(Resolution::power_of_ten(exponent));
            assert_eq!(Scale::from_byte(scale.to_byte()), Some(scale));
        }
        assert_eq!(Scale::from_byte(Scale::Raw.to_byte()), Some(Scale::Raw));
        assert_eq!([0, 54, 74, 254].map(Scale::from_byte), [None; 4]);
    }
}
