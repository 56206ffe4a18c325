//! MQTT 5 and 3.1.1 as bytes: the packets that a client that publishes and
//! listens to a few topics sends and receives. QoS 2 is not among them.
//!
//! Sources: the OASIS standards MQTT Version 5.0 and MQTT Version 3.1.1.

mod decode;
mod encode;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use decode::{Decoder, Packet, ProtocolError};
pub use encode::{Connect, connect, disconnect, ping, puback, publish, subscribe};

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1
    V311,
    /// 5
    V5,
}

/// How surely a message arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Qos {
    /// At most once.
    #[default]
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
}

impl From<Qos> for u8 {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
        }
    }
}

impl TryFrom<u8> for Qos {
    type Error = String;
    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            other => Err(format!("{other} is no QoS of ours; write 0 or 1")),
        }
    }
}

/// What is listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The topics: one, or a pattern with `+` and `#`.
    pub filter: String,
    /// How surely.
    pub qos: Qos,
    /// Whether what was published to be kept says so also when it is new.
    /// MQTT 5 alone can; without it, `retain` tells what is old.
    pub retain_as_published: bool,
}

impl Subscription {
    /// To topics that may miss a message, and that tell old from new.
    #[must_use]
    pub fn to(filter: String) -> Self {
        Self { filter, qos: Qos::AtMostOnce, retain_as_published: false }
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// How surely.
    pub qos: Qos,
    /// Whether the broker keeps it for those who come later; of a received
    /// one, whether it was kept (or was sent to be, see
    /// [`Subscription::retain_as_published`]).
    pub retain: bool,
}

impl Publish {
    /// A message that the broker keeps.
    #[must_use]
    pub fn retained(topic: String, payload: &str, qos: Qos) -> Self {
        Self { topic, payload: Bytes::copy_from_slice(payload.as_bytes()), qos, retain: true }
    }

    /// The message that empties a topic.
    #[must_use]
    pub fn empty(topic: String) -> Self {
        Self { topic, payload: Bytes::new(), qos: Qos::AtLeastOnce, retain: true }
    }
}

#[cfg(test)]
mod tests;
