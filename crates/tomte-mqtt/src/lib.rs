//! MQTT and Home Assistant: which topics a host fills, how Home Assistant is
//! told of it, and the way to a broker.
//!
//! [`command`] takes requests, [`controls`] shows them as buttons.
//! [`Publisher`] says what is due, [`entity`] and [`discovery`] write it,
//! [`protocol`] and [`session`] speak MQTT 5 and 3.1.1, all of them without
//! socket or clock; [`client`] is the loop around them. Nothing is stored
//! here: what has to outlive a restart ([`Kept`]) is handed to the owner.
//!
//! The protocol is written here rather than taken from a library: the part
//! that a publisher needs is small, one code serves both versions and every
//! transport, and an agent has half a megabyte for all of it.

pub mod client;
pub mod command;
pub mod controls;
pub mod discovery;
pub mod entity;
pub mod names;
pub mod protocol;
pub mod publisher;
pub mod session;
pub mod settings;
pub mod systant;
pub mod topics;

pub use publisher::{Discovery, Kept, Options, Pace, Publisher};
