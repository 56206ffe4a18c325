//! From reports to frames: one lane of an agent.
//!
//! Encoding a report has two passes. The first compares it with what the hub
//! knows of the stream and describes what is new (parts). The second packs the
//! values against the last ones. Should anything go wrong in between, the
//! stream begins anew with the next report.

use std::collections::HashMap;

use prost::Message;
use tomte_model::catalogue::Resolution;
use tomte_model::{Catalogue, Facet, HostId, Name, Report, Scope};

use crate::bits::BitWriter;
use crate::convert;
use crate::dictionary::{Base, FacetEntry, Field, Head, READING_BYTES, Scale, Shape, Stream, event_bytes};
use crate::error::LinkError;
use crate::limits::Limits;
use crate::message::Lane;
use crate::wire::{self, to_hub};

/// A part is closed when it has grown beyond this.
const PART_BYTES: usize = 256 * 1024;
/// What the frames' own fields and a message's framing may take.
pub(crate) const FRAME_SLACK: usize = 64;
/// So many of the newest shapes are tried before a new one is made.
const SHAPES_TRIED: usize = 8;
/// What a report takes in memory besides its scopes and events.
pub(crate) const REPORT_BYTES: usize = size_of::<Report>();
const MEMORY: &str = "bytes to remember";

/// A report as frames.
pub(crate) struct Encoded {
    /// Type and contents, in order.
    pub(crate) frames: Vec<(u32, Vec<u8>)>,
    /// The bytes that the report takes when it is unfolded again.
    pub(crate) unfolded: usize,
    /// The kinds that were used for the first time on the stream.
    pub(crate) kinds: Vec<Name>,
}

/// One lane of an agent: its streams.
#[derive(Debug)]
pub(crate) struct LaneEncoder {
    lane: Lane,
    limits: Limits,
    host: HostId,
    head: Head,
    streams: Vec<StreamEncoder>,
    ids: HashMap<(HostId, Name), u32>,
    /// What all streams take.
    memory: usize,
    /// Counts reports, to tell which stream was used last.
    clock: u64,
}

#[derive(Debug)]
struct StreamEncoder {
    stream: Stream,
    index: Index,
    /// The hub no longer follows: begin anew.
    broken: bool,
    used: u64,
}

/// Finds what is in a stream's dictionary.
#[derive(Debug, Default)]
struct Index {
    symbols: HashMap<Name, u32>,
    /// By kind and facet.
    shapes: HashMap<(Name, Name), Vec<u32>>,
    /// By the resource's name.
    facets: HashMap<String, Vec<u32>>,
    scopes: HashMap<Name, u32>,
    /// For each facet: its scope, and the last report that had it.
    facet_uses: Vec<(u32, u64)>,
    /// For each scope: the last report that had it.
    scope_uses: Vec<u64>,
}

impl LaneEncoder {
    pub(crate) fn new(lane: Lane, limits: Limits, host: HostId, head: Head) -> Self {
        Self { lane, limits, host, head, streams: Vec::new(), ids: HashMap::new(), memory: 0, clock: 0 }
    }

    /// Begins every stream anew with its next report.
    pub(crate) fn restart(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.broken = true);
    }

    /// Begins one stream anew. Returns whose it is; `None` when there is none.
    pub(crate) fn restart_stream(&mut self, id: u32) -> Option<(HostId, &Name)> {
        let encoder = self.streams.get_mut(id as usize)?;
        encoder.broken = true;
        Some((encoder.stream.host, &encoder.stream.collector))
    }

    /// The frames of a report. Fields that the catalogue does not declare keep
    /// their values exactly.
    pub(crate) fn encode(&mut self, report: &Report, catalogue: Option<&Catalogue>) -> Result<Encoded, LinkError> {
        self.clock += 1;
        let id = self.stream_for(report);
        match self.attempt(id, report, catalogue) {
            Err(LinkError::Limit { what: MEMORY, .. }) => {
                let forget = self.forget();
                let id = self.stream_for(report);
                let mut encoded = self.attempt(id, report, catalogue)?;
                encoded.frames.insert(0, (to_hub::FORGET, forget.encode_to_vec()));
                Ok(encoded)
            }
            result => result,
        }
    }

    /// Ends all streams, here and at the hub: the frame that says so.
    pub(crate) fn forget(&mut self) -> wire::Forget {
        self.streams.clear();
        self.ids.clear();
        self.memory = 0;
        wire::Forget { backlog: self.lane == Lane::Backlog }
    }

    /// The stream of the report's host and collector: a new one, or that of
    /// somebody else who has not used it for longest, if need be.
    fn stream_for(&mut self, report: &Report) -> u32 {
        let key = (report.host, report.collector.clone());
        if let Some(&id) = self.ids.get(&key) {
            return id;
        }
        let id = if self.streams.len() < self.limits.streams.max(1) {
            let stream = Stream::new(report.host, report.collector.clone(), self.head);
            self.memory += stream.memory();
            self.streams.push(StreamEncoder { stream, index: Index::default(), broken: true, used: 0 });
            self.streams.len() - 1
        } else {
            let oldest = self.streams.iter().enumerate().min_by_key(|(_, encoder)| encoder.used);
            let (id, encoder) = oldest.expect("a lane has room for at least one stream");
            self.ids.remove(&(encoder.stream.host, encoder.stream.collector.clone()));
            self.streams[id].broken = true;
            id
        };
        self.ids.insert(key, id as u32);
        id as u32
    }

    fn attempt(&mut self, id: u32, report: &Report, catalogue: Option<&Catalogue>) -> Result<Encoded, LinkError> {
        let encoder = &mut self.streams[id as usize];
        encoder.used = self.clock;
        let others = self.memory - encoder.stream.memory();
        let mut parts = Parts::new(id, self.lane);
        if encoder.broken || encoder.must_begin_anew(report) {
            encoder.stream = Stream::new(report.host, report.collector.clone(), self.head);
            encoder.index = Index::default();
            checked_name(&report.collector, &self.limits)?;
            let host = if report.host == self.host { Vec::new() } else { report.host.to_bytes().to_vec() };
            parts.part.open = Some(wire::Open { collector: report.collector.clone().into_owned(), host });
            parts.size += FRAME_SLACK + report.collector.len();
        }
        parts.part.base = encoder.stream.base.map(|base| base.sequence);
        // Until all is well, the hub and we may differ.
        encoder.broken = true;
        let mut pass = Pass {
            encoder,
            parts,
            catalogue,
            limits: &self.limits,
            clock: self.clock,
            members: Vec::new(),
            targets: Vec::new(),
            weight: REPORT_BYTES,
            memory_peak: 0,
            kinds: Vec::new(),
        };
        let encoded = pass.describe(report).map(|order| pass.pack(report, order));
        let memory_peak = pass.memory_peak;
        let encoder = &mut self.streams[id as usize];
        self.memory = others + encoder.stream.memory();
        limited(MEMORY, others + memory_peak, self.limits.memory_bytes)?;
        let encoded = encoded?;
        limited("bytes of a report", encoded.unfolded, self.limits.unfolded_bytes)?;
        for (_, frame) in &encoded.frames {
            limited("bytes of a message", frame.len() + FRAME_SLACK, self.limits.message_bytes)?;
        }
        encoder.broken = false;
        Ok(encoded)
    }
}

impl StreamEncoder {
    fn must_begin_anew(&self, report: &Report) -> bool {
        let stream = &self.stream;
        let live: usize = stream.order().iter().map(|&scope| stream.scopes()[scope as usize].members.len()).sum();
        stream.host != report.host
            || stream.collector != report.collector
            || stream.head.epoch != report.position.epoch
            || stream.base.is_none_or(|base| base.sequence == report.position.sequence)
            // What came and went must not pile up.
            || stream.facets().len() > 2 * live + 256
            || stream.scopes().len() > 2 * stream.order().len() + 64
            || stream.shapes().len() > 2_048
            || stream.symbols().len() > 16_384
    }
}

/// The parts of a report while they are made.
struct Parts {
    part: wire::Part,
    size: usize,
    frames: Vec<(u32, Vec<u8>)>,
}

impl Parts {
    fn new(stream: u32, lane: Lane) -> Self {
        let part = wire::Part { stream, backlog: lane == Lane::Backlog, ..wire::Part::default() };
        Self { part, size: 0, frames: Vec::new() }
    }

    /// Makes room for so many bytes more; what is in the part already goes out
    /// if need be.
    fn room(&mut self, bytes: usize) -> &mut wire::Part {
        if self.size > 0 && self.size + bytes > PART_BYTES {
            self.flush();
        }
        self.size += bytes + 8;
        &mut self.part
    }

    fn flush(&mut self) {
        if self.size == 0 {
            return;
        }
        let next = wire::Part {
            stream: self.part.stream,
            number: self.part.number + 1,
            backlog: self.part.backlog,
            base: self.part.base,
            ..wire::Part::default()
        };
        let done = std::mem::replace(&mut self.part, next);
        self.frames.push((to_hub::PART, done.encode_to_vec()));
        self.size = 0;
    }
}

/// The encoding of one report.
struct Pass<'a> {
    encoder: &'a mut StreamEncoder,
    parts: Parts,
    catalogue: Option<&'a Catalogue>,
    limits: &'a Limits,
    clock: u64,
    /// The facets of the report, in order.
    members: Vec<u32>,
    /// Their values, slot by slot.
    targets: Vec<Option<i64>>,
    weight: usize,
    memory_peak: usize,
    kinds: Vec<Name>,
}

impl Pass<'_> {
    // ---- First pass: what is new ----

    /// Describes what the hub does not know. Returns the report's scopes.
    fn describe(&mut self, report: &Report) -> Result<Vec<u32>, LinkError> {
        limited("scopes of a report", report.scopes.len(), self.limits.scopes)?;
        let mut order = Vec::with_capacity(report.scopes.len());
        for (position, scope) in report.scopes.iter().enumerate() {
            order.push(self.scope(position, scope)?);
        }
        let mut pending = 0;
        for event in &report.events {
            let event = convert::cut_event(event, self.limits.text_bytes);
            pending += event_bytes(&event);
            let wire = convert::event_to_wire(event);
            self.parts.room(wire.encoded_len()).events.push(wire);
        }
        self.weight += pending;
        self.note_memory();
        self.memory_peak = self.memory_peak.max(self.encoder.stream.memory() + pending);
        Ok(order)
    }

    fn note_memory(&mut self) {
        self.memory_peak = self.memory_peak.max(self.encoder.stream.memory());
    }

    fn scope(&mut self, position: usize, scope: &Scope) -> Result<u32, LinkError> {
        let mut wire = wire::Scope::default();
        let id = self.find_scope(position, scope)?.unwrap_or_else(|| {
            let id = self.encoder.stream.scopes().len() as u32;
            wire.name = Some(scope.name.clone().into_owned());
            self.encoder.stream.define_scope(id, scope.name.clone());
            self.encoder.index.scopes.entry(scope.name.clone()).or_insert(id);
            self.encoder.index.scope_uses.push(0);
            id
        });
        wire.id = id;
        self.encoder.index.scope_uses[id as usize] = self.clock;
        if self.encoder.stream.scopes()[id as usize].outcome != scope.outcome {
            let outcome = convert::cut_outcome(&scope.outcome, self.limits.text_bytes);
            wire.outcome = Some(convert::outcome_to_wire(&outcome));
            self.encoder.stream.change_scope(id, |entry| entry.outcome = outcome);
        }
        let first = self.members.len();
        for (position, facet) in scope.facets.iter().enumerate() {
            let facet = self.facet(id, position, facet)?;
            self.members.push(facet);
        }
        limited("facets of a report", self.members.len(), self.limits.facets)?;
        let members = &self.members[first..];
        if self.encoder.stream.scopes()[id as usize].members != members {
            wire.members = Some(wire::Members { ids: members.to_vec() });
            self.encoder.stream.change_scope(id, |entry| entry.members = members.to_vec());
        }
        self.weight += self.encoder.stream.scopes()[id as usize].weight();
        if wire.name.is_some() || wire.outcome.is_some() || wire.members.is_some() {
            self.parts.room(wire.encoded_len()).scopes.push(wire);
            self.note_memory();
        }
        Ok(id)
    }

    /// A scope of that name which this report has not had yet: the one at the
    /// same place in the last report, most likely.
    fn find_scope(&self, position: usize, scope: &Scope) -> Result<Option<u32>, LinkError> {
        let StreamEncoder { stream, index, .. } = &*self.encoder;
        let free = |&id: &u32| index.scope_uses[id as usize] != self.clock;
        let expected = stream.order().get(position).copied().filter(free);
        if let Some(id) = expected.filter(|&id| stream.scopes()[id as usize].name == scope.name) {
            return Ok(Some(id));
        }
        checked_name(&scope.name, self.limits)?;
        Ok(index.scopes.get(&scope.name).copied().filter(free))
    }

    fn facet(&mut self, scope: u32, position: usize, facet: &Facet) -> Result<u32, LinkError> {
        let mut wire = wire::Facet::default();
        let found = self.find_facet(scope, position, facet);
        let id = match found {
            Some(id) if self.fill(self.encoder.stream.facets()[id as usize].shape, facet) => id,
            _ => {
                checked_name(&facet.resource.name, self.limits)?;
                let id = found.unwrap_or(self.encoder.stream.facets().len() as u32);
                let shape = self.shape_for(found, facet)?;
                wire.shape = Some(shape);
                wire.name.clone_from(&facet.resource.name);
                self.encoder.stream.define_facet(id, shape, facet.resource.name.clone());
                if found.is_none() {
                    self.encoder.index.facets.entry(facet.resource.name.clone()).or_default().push(id);
                    self.encoder.index.facet_uses.push((scope, 0));
                }
                id
            }
        };
        wire.id = id;
        limited("readings of a report", self.targets.len(), self.limits.readings)?;
        self.encoder.index.facet_uses[id as usize].1 = self.clock;
        self.texts(id, facet, &mut wire)?;
        if wire.shape.is_some() || wire.attributes.is_some() || wire.tables.is_some() || wire.judgement.is_some() {
            self.parts.room(wire.encoded_len()).facets.push(wire);
            self.note_memory();
        }
        self.weight += self.encoder.stream.facets()[id as usize].weight();
        Ok(id)
    }

    /// The facet of that identity in that scope which this report has not had
    /// yet: the one at the same place in the last report, most likely.
    fn find_facet(&self, scope: u32, position: usize, facet: &Facet) -> Option<u32> {
        let StreamEncoder { stream, index, .. } = &*self.encoder;
        let fits = |&id: &u32| {
            let entry: &FacetEntry = &stream.facets()[id as usize];
            let shape = &stream.shapes()[entry.shape as usize];
            index.facet_uses[id as usize].1 != self.clock
                && entry.resource == facet.resource.name
                && shape.kind == facet.resource.kind
                && shape.facet == facet.name
                && shape.owner == facet.owner
        };
        let expected = stream.scopes()[scope as usize].members.get(position).copied();
        expected.filter(fits).or_else(|| {
            let mut candidates = index.facets.get(&facet.resource.name)?.iter().copied();
            candidates.find(|id| index.facet_uses[*id as usize].0 == scope && fits(id))
        })
    }

    /// Sets out the facet's values in the order of a shape's fields. Whether
    /// the shape has room for all of them.
    fn fill(&mut self, shape: u32, facet: &Facet) -> bool {
        let fields = &self.encoder.stream.shapes()[shape as usize].fields;
        let start = self.targets.len();
        self.targets.resize(start + fields.len(), None);
        let mut expected = 0;
        for (name, value) in &facet.readings {
            if !value.is_finite() {
                continue;
            }
            let at = match fields.get(expected) {
                Some(field) if field.name == *name => Some(expected),
                _ => fields.iter().position(|field| field.name == *name),
            };
            let Some((at, target)) = at.and_then(|at| Some((at, self.targets.get_mut(start + at)?))) else {
                self.targets.truncate(start);
                return false;
            };
            expected = at + 1;
            // Of two readings of one field, the first stands, as it does in
            // `Facet::reading`.
            if target.is_none() {
                *target = integer(&fields[at], *value);
                if target.is_none() {
                    self.targets.truncate(start);
                    return false;
                }
            }
        }
        true
    }

    /// A shape that has room for the facet's readings, which are set out in
    /// its order.
    fn shape_for(&mut self, found: Option<u32>, facet: &Facet) -> Result<u32, LinkError> {
        let key = (facet.resource.kind.clone(), facet.name.clone());
        let room = 2 * facet.readings.len() + 8;
        let known = self.encoder.index.shapes.get(&key).cloned().unwrap_or_default();
        let mut base = found.map(|id| self.encoder.stream.facets()[id as usize].shape);
        for &id in known.iter().rev().take(SHAPES_TRIED) {
            let shape = &self.encoder.stream.shapes()[id as usize];
            if shape.owner == facet.owner && shape.fields.len() <= room {
                base = base.or(Some(id));
                if self.fill(id, facet) {
                    return Ok(id);
                }
            }
        }
        let base = base.map(|id| self.encoder.stream.shapes()[id as usize].fields.clone());
        let base = base.filter(|fields| fields.len() <= room).unwrap_or_default();
        let mut fields = self.fields(base, facet);
        if fields.len() > self.limits.fields {
            // Without those that are missing now.
            fields = self.fields(Vec::new(), facet);
        }
        limited("fields of a facet", fields.len(), self.limits.fields)?;
        let shape = Shape { kind: key.0.clone(), facet: key.1.clone(), owner: facet.owner, fields };
        let wire = wire::Shape {
            kind: self.symbol_of(&shape.kind)?,
            facet: self.symbol_of(&shape.facet)?,
            extra: !shape.owner,
            fields: shape.fields.iter().map(|field| self.symbol_of(&field.name)).collect::<Result<_, _>>()?,
            scales: shape.fields.iter().map(|field| field.scale.to_byte()).collect(),
        };
        self.parts.room(wire.encoded_len()).shapes.push(wire);
        let id = self.encoder.stream.add_shape(shape);
        self.note_memory();
        if !self.kinds.contains(&key.0) {
            self.kinds.push(key.0.clone());
        }
        self.encoder.index.shapes.entry(key).or_default().push(id);
        let filled = self.fill(id, facet);
        debug_assert!(filled, "a shape made for a facet has room for its readings");
        Ok(id)
    }

    /// The fields that a facet needs, beginning with some that it had.
    fn fields(&self, mut fields: Vec<Field>, facet: &Facet) -> Vec<Field> {
        let mut seen = vec![false; fields.len()];
        for (name, value) in facet.readings.iter().filter(|(_, value)| value.is_finite()) {
            match fields.iter().position(|field| field.name == *name) {
                Some(at) if seen[at] => {}
                Some(at) => {
                    let field = &mut fields[at];
                    if integer(field, *value).is_none() {
                        field.scale = wider(field, *value);
                    }
                    seen[at] = true;
                }
                None => {
                    let declared = self
                        .catalogue
                        .and_then(|known| known.field(&facet.resource.kind, name))
                        .map(|field| field.resolution);
                    let scale = Scale::Steps(declared.unwrap_or(Resolution::ONE));
                    let mut field = Field { name: name.clone(), scale, exact: declared.is_none() };
                    if integer(&field, *value).is_none() {
                        field.scale = wider(&field, *value);
                    }
                    fields.push(field);
                    seen.push(true);
                }
            }
        }
        fields
    }

    /// Describes what has changed of the facet besides its readings.
    fn texts(&mut self, id: u32, facet: &Facet, wire: &mut wire::Facet) -> Result<(), LinkError> {
        let limit = self.limits.text_bytes;
        let entry = &self.encoder.stream.facets()[id as usize];
        let attributes = (entry.attributes != facet.attributes)
            .then(|| convert::cut_attributes(&facet.attributes, limit))
            .filter(|attributes| *attributes != entry.attributes);
        let tables = (entry.tables != facet.tables)
            .then(|| convert::cut_tables(&facet.tables, limit))
            .filter(|tables| *tables != entry.tables);
        let assessment = (entry.assessment != facet.assessment)
            .then(|| facet.assessment.as_ref().map(|assessment| convert::cut_assessment(assessment, limit)))
            .filter(|assessment| *assessment != entry.assessment);
        if let Some(attributes) = attributes {
            wire.attributes = Some(convert::attributes_to_wire(&attributes, self)?);
            self.encoder.stream.change_facet(id, |entry| entry.attributes = attributes);
        }
        if let Some(tables) = tables {
            wire.tables = Some(convert::tables_to_wire(&tables, self)?);
            self.encoder.stream.change_facet(id, |entry| entry.tables = tables);
        }
        if let Some(assessment) = assessment {
            wire.judgement = Some(convert::judgement_to_wire(assessment.as_ref()));
            self.encoder.stream.change_facet(id, |entry| entry.assessment = assessment);
        }
        Ok(())
    }

    fn symbol_of(&mut self, name: &Name) -> Result<u32, LinkError> {
        if let Some(&id) = self.encoder.index.symbols.get(name) {
            return Ok(id);
        }
        checked_name(name, self.limits)?;
        self.parts.room(name.len()).symbols.push(name.clone().into_owned());
        let id = self.encoder.stream.add_symbol(name.clone());
        self.encoder.index.symbols.insert(name.clone(), id);
        self.note_memory();
        Ok(id)
    }

    // ---- Second pass: the values ----

    /// Packs the values and finishes the report.
    fn pack(&mut self, report: &Report, order: Vec<u32>) -> Encoded {
        let stream = &mut self.encoder.stream;
        let mut bits = BitWriter::with_capacity(self.targets.len() * 2);
        let mut toggled = Vec::new();
        let mut last_toggled = 0;
        let mut targets = self.targets.iter().enumerate();
        for &member in &self.members {
            let (entry, _) = stream.facet_mut(member);
            for (slot, (index, target)) in entry.slots.iter_mut().zip(&mut targets) {
                if slot.present != target.is_some() {
                    slot.present = target.is_some();
                    toggled.push((index - last_toggled) as u32);
                    last_toggled = index;
                }
                if let Some(value) = target {
                    slot.write(*value, &mut bits);
                }
            }
        }
        let unfolded = self.weight + self.targets.len() * READING_BYTES;
        let mut wire = wire::Report {
            stream: self.parts.part.stream,
            sequence: report.position.sequence,
            back: stream.base.map(|base| report.position.sequence.wrapping_sub(base.sequence) as i64),
            backlog: self.parts.part.backlog,
            values: bits.finish(),
            toggled,
            ..wire::Report::default()
        };
        let head = Head {
            epoch: report.position.epoch,
            boot_id: report.boot_id,
            interval_millis: report.interval_millis,
            clock_synchronised: report.clock_synchronised,
        };
        let before = std::mem::replace(&mut stream.head, head);
        wire.epoch = (head.epoch != before.epoch).then_some(head.epoch);
        wire.boot_id = (head.boot_id != before.boot_id).then(|| convert::bytes_128(head.boot_id.0));
        wire.interval_millis = (head.interval_millis != before.interval_millis).then_some(head.interval_millis);
        wire.clock_synchronised =
            (head.clock_synchronised != before.clock_synchronised).then_some(head.clock_synchronised);
        let next = Base {
            sequence: report.position.sequence,
            wall: report.moment.wall.millis(),
            boot_millis: report.moment.boot_millis,
        };
        (wire.wall, wire.boot) = match stream.base.replace(next) {
            None => (next.wall, next.boot_millis as i64),
            Some(base) => next.less(&base, head.interval_millis),
        };
        if order != stream.order() {
            wire.order = Some(wire::Members { ids: order.clone() });
            stream.set_order(order);
            self.note_memory();
        }
        self.parts.flush();
        wire.parts = self.parts.part.number;
        let mut frames = std::mem::take(&mut self.parts.frames);
        frames.push((to_hub::REPORT, wire.encode_to_vec()));
        Encoded { frames, unfolded, kinds: std::mem::take(&mut self.kinds) }
    }
}

impl convert::ToSymbol for Pass<'_> {
    fn symbol(&mut self, name: &Name) -> Result<u32, LinkError> {
        self.symbol_of(name)
    }
}

/// The value as an integer of the field's scale, unless that would lose it.
fn integer(field: &Field, value: f64) -> Option<i64> {
    let integer = field.scale.to_integer(value)?;
    (!field.exact || field.scale.to_value(integer) == Some(value)).then_some(integer)
}

/// The next scale that holds the value, for a field whose scale does not.
fn wider(field: &Field, value: f64) -> Scale {
    let Scale::Steps(resolution) = field.scale else { return Scale::Raw };
    if !field.exact {
        return Scale::Raw;
    }
    // Not every power, so that a field does not change its scale ten times.
    let finer = [-1, -2, -3, -6, -9].into_iter().filter(|&exponent| exponent < resolution.exponent());
    let mut scales = finer.map(|exponent| Scale::Steps(Resolution::power_of_ten(exponent)));
    scales.find(|scale| integer(&Field { scale: *scale, ..field.clone() }, value).is_some()).unwrap_or(Scale::Raw)
}

fn checked_name(name: &str, limits: &Limits) -> Result<(), LinkError> {
    limited("bytes of a name", name.len(), limits.text_bytes)
}

/// An error when there is more than there may be.
pub(crate) fn limited(what: &'static str, found: usize, limit: usize) -> Result<(), LinkError> {
    if found > limit {
        return Err(LinkError::Limit { what, found: found as u64, limit: limit as u64 });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
