//! From frames to reports: one lane at the hub.
//!
//! What comes in here is hostile until proven otherwise. Every number is
//! checked before it is used, everything that is remembered is counted, and
//! what a message unfolds to is counted before it is unfolded.

use std::collections::HashMap;

use tomte_model::{BootId, Event, Facet, HostId, Moment, Name, Position, Report, ResourceKey, Scope, Timestamp};

use crate::bits::BitReader;
use crate::convert::{self, FromSymbols, checked};
use crate::dictionary::{Base, Field, Head, READING_BYTES, Scale, Shape, Stream, event_bytes};
use crate::encode::{REPORT_BYTES, limited};
use crate::error::LinkError;
use crate::limits::Limits;
use crate::message::{Lane, Resend};
use crate::names::name;
use crate::wire;

/// What a report frame came to.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// The report.
    Report(Report),
    /// It builds on what is not known here.
    BaseUnknown(Resend),
}

/// One lane at the hub: its streams.
#[derive(Debug)]
pub(crate) struct LaneDecoder {
    lane: Lane,
    limits: Limits,
    host: HostId,
    head: Head,
    streams: HashMap<u32, StreamDecoder>,
    /// What all streams take, and what waits for its report.
    memory: usize,
}

#[derive(Debug)]
struct StreamDecoder {
    stream: Stream,
    /// Parts since the last report.
    parts: u32,
    /// Events that came in them.
    events: Vec<Event>,
    event_bytes: usize,
    /// Something is missing: nothing can be understood until it begins anew.
    broken: bool,
}

impl StreamDecoder {
    fn memory(&self) -> usize {
        self.stream.memory() + self.event_bytes
    }
}

impl LaneDecoder {
    pub(crate) fn new(lane: Lane, limits: Limits, host: HostId, head: Head) -> Self {
        Self { lane, limits, host, head, streams: HashMap::new(), memory: 0 }
    }

    /// What all streams take, and what waits for its report.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// Takes in a part.
    pub(crate) fn part(&mut self, mut part: wire::Part) -> Result<(), LinkError> {
        if let Some(open) = part.open.take() {
            self.open(part.stream, open)?;
        }
        let Some(decoder) = self.streams.get_mut(&part.stream) else { return Ok(()) };
        if part.number != decoder.parts || part.base != decoder.stream.base.map(|base| base.sequence) {
            decoder.broken = true;
        }
        if decoder.broken {
            return Ok(());
        }
        decoder.parts += 1;
        let before = decoder.memory();
        let outcome = decoder.apply(part, &self.limits);
        self.memory = self.memory - before + decoder.memory();
        outcome?;
        limited("bytes to remember", self.memory, self.limits.memory_bytes)
    }

    /// Forgets all streams.
    pub(crate) fn forget(&mut self) {
        self.streams.clear();
        self.memory = 0;
    }

    fn open(&mut self, id: u32, open: wire::Open) -> Result<(), LinkError> {
        limited("number of streams", id as usize, self.limits.streams.saturating_sub(1))?;
        let host = if open.host.is_empty() { self.host } else { convert::host_id(&open.host, "part")? };
        let collector = name(checked(open.collector, self.limits.text_bytes)?);
        let decoder = StreamDecoder {
            stream: Stream::new(host, collector, self.head),
            parts: 0,
            events: Vec::new(),
            event_bytes: 0,
            broken: false,
        };
        self.memory += decoder.memory();
        if let Some(old) = self.streams.insert(id, decoder) {
            self.memory -= old.memory();
        }
        Ok(())
    }

    /// Takes in a report. `budget` is what the message may still unfold to.
    pub(crate) fn report(&mut self, report: wire::Report, budget: &mut usize) -> Result<Decoded, LinkError> {
        let follows = self.streams.get_mut(&report.stream).and_then(|decoder| {
            let stream = &decoder.stream;
            let back = stream.base.map(|base| report.sequence.wrapping_sub(base.sequence) as i64);
            decoder.broken |= back != report.back || report.parts != decoder.parts;
            (!decoder.broken).then_some(())
        });
        let Some(decoder) = self.streams.get_mut(&report.stream).filter(|_| follows.is_some()) else {
            return Ok(Decoded::BaseUnknown(self.base_unknown(&report)));
        };
        let before = decoder.memory();
        let outcome = decoder.commit(report, &self.limits, budget);
        self.memory = self.memory - before + decoder.memory();
        let report = outcome?;
        limited("bytes to remember", self.memory, self.limits.memory_bytes)?;
        Ok(Decoded::Report(report))
    }

    fn base_unknown(&self, report: &wire::Report) -> Resend {
        let stream = self.streams.get(&report.stream).map(|decoder| &decoder.stream);
        Resend {
            lane: self.lane,
            stream: report.stream,
            host: stream.map_or(self.host, |stream| stream.host),
            collector: stream.map(|stream| stream.collector.clone().into_owned()).unwrap_or_default(),
            position: Position {
                epoch: report.epoch.unwrap_or(stream.map_or(self.head.epoch, |stream| stream.head.epoch)),
                sequence: report.sequence,
            },
        }
    }
}

impl StreamDecoder {
    fn apply(&mut self, part: wire::Part, limits: &Limits) -> Result<(), LinkError> {
        let stream = &mut self.stream;
        for symbol in part.symbols {
            stream.add_symbol(name(checked(symbol, limits.text_bytes)?));
        }
        for shape in part.shapes {
            let shape = shape_from_wire(shape, stream.symbols(), limits)?;
            stream.add_shape(shape);
        }
        for facet in part.facets {
            apply_facet(stream, facet, limits)?;
        }
        for scope in part.scopes {
            apply_scope(stream, scope, limits)?;
        }
        for event in part.events {
            let event = convert::event_from_wire(event, limits.text_bytes)?;
            self.event_bytes += event_bytes(&event);
            self.events.push(event);
        }
        Ok(())
    }

    fn commit(&mut self, wire: wire::Report, limits: &Limits, budget: &mut usize) -> Result<Report, LinkError> {
        let stream = &mut self.stream;
        if let Some(order) = wire.order {
            limited("scopes of a report", order.ids.len(), limits.scopes)?;
            if order.ids.iter().any(|&id| id as usize >= stream.scopes().len()) {
                return Err(malformed("a scope that was never described"));
            }
            stream.set_order(order.ids);
        }
        let before = stream.head;
        stream.head = Head {
            epoch: wire.epoch.unwrap_or(before.epoch),
            boot_id: match &wire.boot_id {
                Some(bytes) => BootId(convert::number_128(bytes, "report")?),
                None => before.boot_id,
            },
            interval_millis: wire.interval_millis.unwrap_or(before.interval_millis),
            clock_synchronised: wire.clock_synchronised.unwrap_or(before.clock_synchronised),
        };
        let deltas = (wire.wall, wire.boot);
        let base = match stream.base {
            Some(base) => base.plus(wire.sequence, deltas, stream.head.interval_millis),
            None => Base { sequence: wire.sequence, wall: wire.wall, boot_millis: wire.boot as u64 },
        };
        stream.base = Some(base);
        let mut unfold = Unfold {
            bits: BitReader::new(&wire.values),
            toggles: Toggles::new(&wire.toggled),
            facets: 0,
            limits,
            budget,
        };
        unfold.charge(REPORT_BYTES + self.event_bytes)?;
        let mut scopes = Vec::with_capacity(stream.order().len());
        for at in 0..stream.order().len() {
            let id = stream.order()[at];
            scopes.push(unfold.scope(stream, id)?);
        }
        unfold.finish()?;
        self.parts = 0;
        self.event_bytes = 0;
        Ok(Report {
            host: stream.host,
            collector: stream.collector.clone(),
            position: Position { epoch: stream.head.epoch, sequence: wire.sequence },
            boot_id: stream.head.boot_id,
            moment: Moment { wall: Timestamp::from_millis(base.wall), boot_millis: base.boot_millis },
            clock_synchronised: stream.head.clock_synchronised,
            interval_millis: stream.head.interval_millis,
            scopes,
            events: std::mem::take(&mut self.events),
        })
    }
}

fn malformed(what: &'static str) -> LinkError {
    LinkError::Malformed { frame: "report", what }
}

fn shape_from_wire(wire: wire::Shape, symbols: &[Name], limits: &Limits) -> Result<Shape, LinkError> {
    let names = FromSymbols { symbols, text_bytes: limits.text_bytes };
    limited("fields of a facet", wire.fields.len(), limits.fields)?;
    if wire.fields.len() != wire.scales.len() {
        return Err(LinkError::Malformed { frame: "part", what: "fields and scales differ in number" });
    }
    let field = |(name, scale): (u32, u8)| {
        let scale = Scale::from_byte(scale).ok_or(LinkError::Malformed { frame: "part", what: "an unknown scale" })?;
        Ok(Field { name: names.name(name)?, scale, exact: false })
    };
    Ok(Shape {
        kind: names.name(wire.kind)?,
        facet: names.name(wire.facet)?,
        owner: !wire.extra,
        fields: wire.fields.into_iter().zip(wire.scales).map(field).collect::<Result<_, LinkError>>()?,
    })
}

fn apply_facet(stream: &mut Stream, wire: wire::Facet, limits: &Limits) -> Result<(), LinkError> {
    let known = stream.facets().len();
    if let Some(shape) = wire.shape {
        if wire.id as usize > known || shape as usize >= stream.shapes().len() {
            return Err(LinkError::Malformed { frame: "part", what: "a facet without its shape, or out of turn" });
        }
        stream.define_facet(wire.id, shape, checked(wire.name, limits.text_bytes)?);
    } else if wire.id as usize >= known {
        return Err(LinkError::Malformed { frame: "part", what: "a facet that was never described" });
    }
    let names = FromSymbols { symbols: stream.symbols(), text_bytes: limits.text_bytes };
    let attributes = wire.attributes.map(|list| convert::attributes_from_wire(list, &names)).transpose()?;
    let tables = wire.tables.map(|list| convert::tables_from_wire(list, &names)).transpose()?;
    let judgement = wire.judgement.map(|judgement| convert::judgement_from_wire(judgement, &names)).transpose()?;
    if attributes.is_some() || tables.is_some() || judgement.is_some() {
        stream.change_facet(wire.id, |entry| {
            entry.attributes = attributes.unwrap_or_else(|| std::mem::take(&mut entry.attributes));
            entry.tables = tables.unwrap_or_else(|| std::mem::take(&mut entry.tables));
            entry.assessment = judgement.unwrap_or_else(|| entry.assessment.take());
        });
    }
    Ok(())
}

fn apply_scope(stream: &mut Stream, wire: wire::Scope, limits: &Limits) -> Result<(), LinkError> {
    let known = stream.scopes().len();
    if let Some(text) = wire.name {
        if wire.id as usize > known {
            return Err(LinkError::Malformed { frame: "part", what: "a scope out of turn" });
        }
        stream.define_scope(wire.id, name(checked(text, limits.text_bytes)?));
    } else if wire.id as usize >= known {
        return Err(LinkError::Malformed { frame: "part", what: "a scope that was never described" });
    }
    if let Some(outcome) = wire.outcome {
        let outcome = convert::outcome_from_wire(outcome, limits.text_bytes)?;
        stream.change_scope(wire.id, |entry| entry.outcome = outcome);
    }
    if let Some(members) = wire.members {
        limited("facets of a report", members.ids.len(), limits.facets)?;
        if members.ids.iter().any(|&id| id as usize >= stream.facets().len()) {
            return Err(LinkError::Malformed { frame: "part", what: "a facet that was never described" });
        }
        stream.change_scope(wire.id, |entry| entry.members = members.ids);
    }
    Ok(())
}

/// The readings whose presence changes, as places counted over the report.
struct Toggles<'a> {
    rest: std::slice::Iter<'a, u32>,
    next: Option<u64>,
    place: u64,
}

impl<'a> Toggles<'a> {
    fn new(distances: &'a [u32]) -> Self {
        let mut rest = distances.iter();
        let next = rest.next().map(|&distance| u64::from(distance));
        Self { rest, next, place: 0 }
    }

    /// Whether the next reading changes its presence.
    fn step(&mut self) -> bool {
        let toggled = self.next == Some(self.place);
        if toggled {
            self.next = self.rest.next().map(|&distance| self.place + u64::from(distance));
        }
        self.place += 1;
        toggled
    }
}

/// The unfolding of one report.
struct Unfold<'a> {
    bits: BitReader<'a>,
    toggles: Toggles<'a>,
    facets: usize,
    limits: &'a Limits,
    budget: &'a mut usize,
}

impl Unfold<'_> {
    fn charge(&mut self, bytes: usize) -> Result<(), LinkError> {
        *self.budget = self.budget.checked_sub(bytes).ok_or(LinkError::Limit {
            what: "bytes that a message unfolds to",
            found: (self.limits.unfolded_bytes + 1) as u64,
            limit: self.limits.unfolded_bytes as u64,
        })?;
        Ok(())
    }

    fn scope(&mut self, stream: &mut Stream, id: u32) -> Result<Scope, LinkError> {
        let entry = &stream.scopes()[id as usize];
        self.charge(entry.weight())?;
        let (name, outcome, count) = (entry.name.clone(), entry.outcome.clone(), entry.members.len());
        self.facets += count;
        limited("facets of a report", self.facets, self.limits.facets)?;
        let mut facets = Vec::with_capacity(count);
        for at in 0..count {
            let member = stream.scopes()[id as usize].members[at];
            facets.push(self.facet(stream, member)?);
        }
        Ok(Scope { name, outcome, facets })
    }

    fn facet(&mut self, stream: &mut Stream, id: u32) -> Result<Facet, LinkError> {
        let (entry, shape) = stream.facet_mut(id);
        limited("readings of a report", self.toggles.place as usize + entry.slots.len(), self.limits.readings)?;
        self.charge(entry.weight() + entry.slots.len() * READING_BYTES)?;
        let mut readings = Vec::with_capacity(entry.slots.len());
        for (slot, field) in entry.slots.iter_mut().zip(&shape.fields) {
            slot.present ^= self.toggles.step();
            if slot.present {
                let integer = slot.read(&mut self.bits).ok_or_else(|| malformed("too few values"))?;
                let value = field.scale.to_value(integer).ok_or_else(|| malformed("a value that is no number"))?;
                readings.push((field.name.clone(), value));
            }
        }
        Ok(Facet {
            resource: ResourceKey { kind: shape.kind.clone(), name: entry.resource.clone() },
            name: shape.facet.clone(),
            owner: shape.owner,
            attributes: entry.attributes.clone(),
            readings,
            tables: entry.tables.clone(),
            assessment: entry.assessment.clone(),
        })
    }

    fn finish(self) -> Result<(), LinkError> {
        if !self.bits.is_done() {
            return Err(malformed("more values than readings"));
        }
        if self.toggles.next.is_some() {
            return Err(malformed("a missing reading that no facet has"));
        }
        Ok(())
    }
}
