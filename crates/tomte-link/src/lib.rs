//! The protocol between agent and hub: handshake, reports as deltas, acks, two
//! lanes, settings.
//!
//! This crate opens no socket, starts no task and reads no clock. It turns
//! values into messages and messages into values: [`AgentLink`] is the agent's
//! end, [`HubLink`] the hub's, [`message`] what they say to each other.
//! [`transport`] is what carries the messages, with an in-process twin for
//! tests. `docs/protocol.md` describes every byte.

pub mod error;
pub mod limits;
pub mod message;
pub mod transport;

mod agent;
mod bits;
mod convert;
mod decode;
mod describe;
mod dictionary;
mod encode;
mod hub;
mod names;
mod output;
mod stored;
mod wire;

pub use agent::AgentLink;
pub use error::{LinkError, StoredReportError};
pub use hub::HubLink;
pub use limits::Limits;
pub use message::{
    ACTIONS, CLUSTERS, CloseCode, ClusterClaim, ClusterGrant, ClusterProblem, Decision, FromAgent, FromHub, Gap,
    Heartbeat, Hello, Lane, Live, Resend, SettingsPush, SettingsResult, Welcome,
};
pub use stored::{decode_report, encode_report};
pub use transport::{Receiver, Sender, Transport, TransportError, Twin, twin};

/// The WebSocket subprotocol both sides name.
pub const SUBPROTOCOL: &str = "tomte.v1";

/// The path at the hub that agents connect to.
pub const PATH: &str = "/link";

/// The oldest protocol version this build speaks.
pub const PROTOCOL_MIN: u32 = 1;

/// The newest protocol version this build speaks.
pub const PROTOCOL_MAX: u32 = 1;

/// No message is longer than this, in either direction. Set it as the
/// WebSocket's limit as well, so that more is never read.
pub const MAX_MESSAGE: usize = 1 << 20;
