//! The vocabulary of Tomte: hosts, resources, readings, the catalogue of what
//! they mean, and how they are judged.
//!
//! This crate does no I/O, starts no thread and never reads a clock: time is an
//! argument. Everything above it speaks in these types; nothing here knows of
//! the wire, the disk or the screen. Start at [`report`] for what an agent
//! sees, at [`catalogue`] for what it means, at [`assess`] for how it is
//! judged, at [`latest`] for what is known now.

pub mod action;
pub mod assess;
pub mod catalogue;
pub mod event;
pub mod glob;
pub mod id;
pub mod latest;
#[cfg(feature = "openapi")]
mod openapi;
pub mod ranges;
pub mod report;
pub mod status;
pub mod time;

use std::borrow::Cow;

/// A short name that is nearly always known at compile time: a kind, a field,
/// a facet, a collector.
pub type Name = Cow<'static, str>;

pub use action::{Action, ActionResult, ActionState, Plan, Risk, Step};
pub use assess::{Assessor, Direction, Threshold, ThresholdRule};
pub use catalogue::{Catalogue, FieldDef, KindDef, Resolution, Unit};
pub use event::{Event, EventKind, Severity};
pub use glob::{BadGlob, Glob};
pub use id::{ActionId, EventId, HostId, HostName};
pub use latest::Latest;
pub use ranges::RangeSet;
pub use report::{Facet, Outcome, Position, Report, ResourceKey, Scope, Table, Value};
pub use status::{Assessment, Problem, Status};
pub use time::{BootId, Clock, Moment, Timestamp};
