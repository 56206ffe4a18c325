//! The frames as they travel: prost's messages, and how several of them follow
//! one another in a message.
//!
//! A message is itself a protobuf message whose fields are the frames, read in
//! the order in which they stand. Only what belongs to the encoding is here;
//! what the frames mean is in the modules that make and read them.
//! `docs/protocol.md` holds the same definitions for other languages.

use bytes::Bytes;
use prost::Message;

use crate::error::LinkError;

/// No message holds more frames than this.
pub(crate) const MAX_FRAMES: usize = 4096;

/// The types of the frames that an agent sends.
pub(crate) mod to_hub {
    pub(crate) const HELLO: u32 = 1;
    pub(crate) const DESCRIBE: u32 = 2;
    pub(crate) const PART: u32 = 3;
    pub(crate) const REPORT: u32 = 4;
    pub(crate) const HEARTBEAT: u32 = 5;
    pub(crate) const GAP: u32 = 6;
    pub(crate) const SETTINGS_RESULT: u32 = 7;
    pub(crate) const CLOSE: u32 = 8;
    pub(crate) const FORGET: u32 = 9;
    pub(crate) const CLUSTER: u32 = 10;
    pub(crate) const ACTION: u32 = 11;
}

/// The types of the frames that a hub sends.
pub(crate) mod to_agent {
    pub(crate) const WELCOME: u32 = 1;
    pub(crate) const ACK: u32 = 2;
    pub(crate) const RESEND: u32 = 3;
    pub(crate) const SETTINGS: u32 = 4;
    pub(crate) const LIVE: u32 = 5;
    pub(crate) const REFRESH: u32 = 6;
    pub(crate) const HEARTBEAT: u32 = 7;
    pub(crate) const CLOSE: u32 = 8;
    pub(crate) const CLUSTER: u32 = 9;
    pub(crate) const DECIDE: u32 = 10;
}

/// Appends a frame to a message.
pub(crate) fn put(message: &mut Vec<u8>, frame_type: u32, body: &impl Message) {
    put_varint(message, u64::from(frame_type << 3 | 2));
    put_varint(message, body.encoded_len() as u64);
    // A Vec grows as needed, so that this cannot fail.
    body.encode_raw(message);
}

/// Appends a frame whose contents are encoded already.
pub(crate) fn put_bytes(message: &mut Vec<u8>, frame_type: u32, body: &[u8]) {
    put_varint(message, u64::from(frame_type << 3 | 2));
    put_varint(message, body.len() as u64);
    message.extend_from_slice(body);
}

/// A message of a single frame.
pub(crate) fn single(frame_type: u32, body: &impl Message) -> Bytes {
    let mut message = Vec::with_capacity(body.encoded_len() + 8);
    put(&mut message, frame_type, body);
    message.into()
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// One frame of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Its type: the protobuf field number.
    pub(crate) frame_type: u32,
    /// Its contents; `None` when it is not length-delimited, and so can only
    /// be of a type that this version does not know.
    pub(crate) body: Option<&'a [u8]>,
}

/// The frames of a message, in order.
pub(crate) fn frames(message: &[u8], limit: usize) -> Result<Frames<'_>, LinkError> {
    if message.len() > limit {
        return Err(LinkError::Limit { what: "bytes of a message", found: message.len() as u64, limit: limit as u64 });
    }
    Ok(Frames { rest: message, seen: 0 })
}

/// See [`frames`].
pub(crate) struct Frames<'a> {
    rest: &'a [u8],
    seen: usize,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, LinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        self.seen += 1;
        let frame = if self.seen > MAX_FRAMES {
            Err(LinkError::Limit { what: "frames of a message", found: self.seen as u64, limit: MAX_FRAMES as u64 })
        } else {
            self.take().ok_or(LinkError::Malformed { frame: "message", what: "not a sequence of frames" })
        };
        if frame.is_err() {
            self.rest = &[];
        }
        Some(frame)
    }
}

impl<'a> Frames<'a> {
    fn take(&mut self) -> Option<Frame<'a>> {
        let key = take_varint(&mut self.rest)?;
        let frame_type = u32::try_from(key >> 3).ok().filter(|&number| number > 0)?;
        let body = match key & 7 {
            0 => {
                take_varint(&mut self.rest)?;
                None
            }
            1 => self.skip(8).map(|_| None)?,
            2 => {
                let length = take_varint(&mut self.rest)?;
                Some(self.skip(usize::try_from(length).ok()?)?)
            }
            5 => self.skip(4).map(|_| None)?,
            _ => return None,
        };
        Some(Frame { frame_type, body })
    }

    fn skip(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

impl<'a> Frame<'a> {
    /// Reads the contents of a frame whose type is known.
    pub(crate) fn read<T: Message + Default>(&self, name: &'static str) -> Result<T, LinkError> {
        let body = self.body.ok_or(LinkError::Malformed { frame: name, what: "not length-delimited" })?;
        T::decode(body).map_err(|_| LinkError::Malformed { frame: name, what: "not valid protobuf" })
    }
}

// ---- Handshake and small frames ----

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(crate) protocol_min: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) protocol_max: u32,
    #[prost(string, tag = "3")]
    pub(crate) agent_version: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) host: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) boot_id: Vec<u8>,
    #[prost(uint64, tag = "7")]
    pub(crate) outbox_epoch: u64,
    #[prost(bytes = "vec", tag = "8")]
    pub(crate) instance: Vec<u8>,
    #[prost(string, repeated, tag = "9")]
    pub(crate) features: Vec<String>,
    #[prost(bool, tag = "10")]
    pub(crate) publishes_mqtt: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Welcome {
    #[prost(uint32, tag = "1")]
    pub(crate) protocol: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) generation: u64,
    #[prost(sint64, tag = "3")]
    pub(crate) server_time: i64,
    #[prost(string, tag = "4")]
    pub(crate) hub_version: String,
    #[prost(string, tag = "5")]
    pub(crate) host_name: String,
    #[prost(uint32, tag = "6")]
    pub(crate) heartbeat_millis: u32,
    #[prost(string, repeated, tag = "7")]
    pub(crate) features: Vec<String>,
    /// Fingerprints of the kinds that the hub knows.
    #[prost(fixed64, repeated, tag = "8")]
    pub(crate) kinds: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Heartbeat {
    #[prost(sint64, tag = "1")]
    pub(crate) wall: i64,
    #[prost(uint64, tag = "2")]
    pub(crate) boot_millis: u64,
    #[prost(bool, tag = "3")]
    pub(crate) clock_synchronised: bool,
    #[prost(uint64, tag = "4")]
    pub(crate) backlog_reports: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) backlog_bytes: u64,
    #[prost(sint64, optional, tag = "6")]
    pub(crate) oldest: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HeartbeatAnswer {
    #[prost(uint64, tag = "1")]
    pub(crate) echo: u64,
    #[prost(sint64, tag = "2")]
    pub(crate) server_time: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Gap {
    #[prost(uint64, tag = "1")]
    pub(crate) epoch: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) first: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) last: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) count: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Pair {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// An Action, as JSON: it is rare, and has the shape that it is kept in.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Action {
    #[prost(string, tag = "1")]
    pub(crate) json: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Decide {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    #[prost(bool, tag = "2")]
    pub(crate) approve: bool,
    #[prost(string, tag = "3")]
    pub(crate) plan_hash: String,
    #[prost(string, tag = "4")]
    pub(crate) by: String,
    #[prost(string, tag = "5")]
    pub(crate) reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SettingsResult {
    #[prost(uint64, tag = "1")]
    pub(crate) revision: u64,
    #[prost(message, repeated, tag = "2")]
    pub(crate) refused: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Settings {
    #[prost(uint64, tag = "1")]
    pub(crate) revision: u64,
    #[prost(message, repeated, tag = "2")]
    pub(crate) values: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ack {
    #[prost(uint64, tag = "1")]
    pub(crate) epoch: u64,
    /// Pairs: how far the range begins behind the last one's end, and how many
    /// more than one it holds.
    #[prost(uint64, repeated, tag = "2")]
    pub(crate) ranges: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resend {
    #[prost(bool, tag = "1")]
    pub(crate) backlog: bool,
    #[prost(uint32, tag = "2")]
    pub(crate) stream: u32,
    #[prost(uint64, tag = "3")]
    pub(crate) epoch: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) sequence: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Live {
    #[prost(uint32, tag = "1")]
    pub(crate) interval_millis: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) lease_millis: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Refresh {
    #[prost(string, repeated, tag = "1")]
    pub(crate) collectors: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClusterClaim {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) node: String,
    #[prost(string, repeated, tag = "4")]
    pub(crate) nodes: Vec<String>,
    #[prost(bool, tag = "5")]
    pub(crate) quorate: bool,
    #[prost(bool, tag = "6")]
    pub(crate) readable: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClusterGrant {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) host: Vec<u8>,
    #[prost(bool, tag = "3")]
    pub(crate) holder: bool,
    #[prost(string, tag = "4")]
    pub(crate) reason: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) problems: Vec<ClusterProblem>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClusterProblem {
    #[prost(string, tag = "1")]
    pub(crate) resource: String,
    #[prost(string, tag = "2")]
    pub(crate) facet: String,
    #[prost(string, tag = "3")]
    pub(crate) field: String,
    #[prost(uint32, tag = "4")]
    pub(crate) status: u32,
    #[prost(sint64, tag = "5")]
    pub(crate) since: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Close {
    #[prost(uint32, tag = "1")]
    pub(crate) code: u32,
    #[prost(string, tag = "2")]
    pub(crate) reason: String,
}

// ---- Reports ----

/// What a report builds on: descriptions and texts. Only what is new or has
/// changed since the last report of the stream.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Part {
    #[prost(uint32, tag = "1")]
    pub(crate) stream: u32,
    /// Counts the parts since the last report of the stream, from 0.
    #[prost(uint32, tag = "2")]
    pub(crate) number: u32,
    #[prost(bool, tag = "3")]
    pub(crate) backlog: bool,
    /// Begins the stream anew: what was known of it is forgotten.
    #[prost(message, optional, tag = "4")]
    pub(crate) open: Option<Open>,
    /// Names, numbered from 0 in the order of their coming.
    #[prost(string, repeated, tag = "5")]
    pub(crate) symbols: Vec<String>,
    /// Shapes, numbered from 0 in the order of their coming.
    #[prost(message, repeated, tag = "6")]
    pub(crate) shapes: Vec<Shape>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) facets: Vec<Facet>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) scopes: Vec<Scope>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) events: Vec<Event>,
    /// The sequence of the stream's last report; absent when the stream has
    /// just been opened.
    #[prost(uint64, optional, tag = "10")]
    pub(crate) base: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Open {
    #[prost(string, tag = "1")]
    pub(crate) collector: String,
    /// Empty: the host of the hello.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) host: Vec<u8>,
}

/// Ends all streams of a lane, to free what they take.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Forget {
    #[prost(bool, tag = "1")]
    pub(crate) backlog: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) facet: u32,
    /// It does not own its resource.
    #[prost(bool, tag = "3")]
    pub(crate) extra: bool,
    #[prost(uint32, repeated, tag = "4")]
    pub(crate) fields: Vec<u32>,
    /// One byte for each field: the power of ten plus 64, or 255 for raw doubles.
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) scales: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Facet {
    #[prost(uint32, tag = "1")]
    pub(crate) id: u32,
    /// Present: the facet is defined (again), and all about it is forgotten.
    #[prost(uint32, optional, tag = "2")]
    pub(crate) shape: Option<u32>,
    /// The resource's name, with `shape` only.
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) attributes: Option<Attributes>,
    #[prost(message, optional, tag = "5")]
    pub(crate) tables: Option<Tables>,
    #[prost(message, optional, tag = "6")]
    pub(crate) judgement: Option<Judgement>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attributes {
    #[prost(message, repeated, tag = "1")]
    pub(crate) list: Vec<Value>,
}

/// An attribute with its name, or a cell without. One of the three values, or
/// none of them where it is missing.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(uint32, tag = "1")]
    pub(crate) name: u32,
    #[prost(string, optional, tag = "2")]
    pub(crate) text: Option<String>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) flag: Option<bool>,
    #[prost(double, optional, tag = "4")]
    pub(crate) number: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tables {
    #[prost(message, repeated, tag = "1")]
    pub(crate) list: Vec<Table>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Table {
    #[prost(uint32, tag = "1")]
    pub(crate) name: u32,
    #[prost(uint32, repeated, tag = "2")]
    pub(crate) columns: Vec<u32>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) rows: Vec<Row>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Row {
    #[prost(message, repeated, tag = "1")]
    pub(crate) cells: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Judgement {
    /// 0 not judged, 1 ok, 2 unknown, 3 warning, 4 critical.
    #[prost(uint32, tag = "1")]
    pub(crate) status: u32,
    #[prost(string, tag = "2")]
    pub(crate) reason: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) problems: Vec<Problem>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Problem {
    #[prost(string, tag = "1")]
    pub(crate) field: String,
    #[prost(uint32, tag = "2")]
    pub(crate) status: u32,
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
    #[prost(sint64, tag = "4")]
    pub(crate) since: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Scope {
    #[prost(uint32, tag = "1")]
    pub(crate) id: u32,
    /// Present: the scope is defined (again): complete and without members.
    #[prost(string, optional, tag = "2")]
    pub(crate) name: Option<String>,
    #[prost(message, optional, tag = "3")]
    pub(crate) outcome: Option<Outcome>,
    #[prost(message, optional, tag = "4")]
    pub(crate) members: Option<Members>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Outcome {
    /// 0 complete, 1 failed, 2 denied, 3 unavailable.
    #[prost(uint32, tag = "1")]
    pub(crate) is: u32,
    #[prost(string, tag = "2")]
    pub(crate) error: String,
    #[prost(string, tag = "3")]
    pub(crate) cure: String,
}

/// A list of ids, which may be empty.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Members {
    #[prost(uint32, repeated, tag = "1")]
    pub(crate) ids: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Event {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) id: Vec<u8>,
    #[prost(sint64, tag = "2")]
    pub(crate) at: i64,
    #[prost(string, tag = "3")]
    pub(crate) source: String,
    #[prost(string, tag = "4")]
    pub(crate) kind: String,
    /// 1 info, 2 warning, 3 error, 4 critical.
    #[prost(uint32, tag = "5")]
    pub(crate) severity: u32,
    #[prost(string, optional, tag = "6")]
    pub(crate) subject: Option<String>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(crate) correlation_id: Option<Vec<u8>>,
    #[prost(string, tag = "8")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "9")]
    pub(crate) details: Vec<Pair>,
}

/// A report: its place and time, and the packed values.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Report {
    #[prost(uint32, tag = "1")]
    pub(crate) stream: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) sequence: u64,
    /// `sequence` less the base's; absent when the stream has just been opened.
    #[prost(sint64, optional, tag = "3")]
    pub(crate) back: Option<i64>,
    #[prost(bool, tag = "4")]
    pub(crate) backlog: bool,
    /// How many parts belong to it.
    #[prost(uint32, tag = "5")]
    pub(crate) parts: u32,
    /// Wall clock, less the base's and the interval.
    #[prost(sint64, tag = "6")]
    pub(crate) wall: i64,
    /// Boot time, less the base's and what the wall clock went on.
    #[prost(sint64, tag = "7")]
    pub(crate) boot: i64,
    #[prost(bytes = "vec", tag = "8")]
    pub(crate) values: Vec<u8>,
    /// Readings that are missing now and were not before, or the other way
    /// round: each the distance from the one before.
    #[prost(uint32, repeated, tag = "9")]
    pub(crate) toggled: Vec<u32>,
    /// The scopes of the report, when they are not those of the base.
    #[prost(message, optional, tag = "10")]
    pub(crate) order: Option<Members>,
    /// These four stay as they are until they are sent again.
    #[prost(uint32, optional, tag = "11")]
    pub(crate) interval_millis: Option<u32>,
    #[prost(bool, optional, tag = "12")]
    pub(crate) clock_synchronised: Option<bool>,
    #[prost(bytes = "vec", optional, tag = "13")]
    pub(crate) boot_id: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "14")]
    pub(crate) epoch: Option<u64>,
}
