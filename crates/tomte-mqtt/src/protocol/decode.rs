//! From bytes to packets, whatever the pieces they come in.

use bytes::{Buf, Bytes, BytesMut};

use super::{Publish, Qos, Version};

/// What a broker sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// The answer to a CONNECT.
    Connected {
        /// Zero: welcome. Else why not, by the version's own list.
        code: u8,
        /// How many messages may wait for their acknowledgement.
        receive_maximum: u16,
        /// The longest silence that the broker allows, where it says so.
        keep_alive: Option<u16>,
        /// The largest packet that it takes, where it says so.
        most_bytes: Option<u32>,
        /// Whether it keeps messages.
        retains: bool,
        /// Why, in words.
        reason: Option<String>,
    },
    /// A message, with its id where it is to be acknowledged.
    Publish(Publish, Option<u16>),
    /// A message arrived; from 128 on: it was refused.
    Published {
        /// Which.
        id: u16,
        /// How it went.
        code: u8,
    },
    /// The answer to a SUBSCRIBE: a code for each topic, from 128 on a refusal.
    Subscribed(Vec<u8>),
    /// The answer to a ping.
    Pong,
    /// The broker ends the connection.
    Disconnected {
        /// Why, by the list of MQTT 5.
        code: u8,
        /// Why, in words.
        reason: Option<String>,
    },
    /// A packet of more bytes than are taken was skipped.
    TooLarge(usize),
}

/// What comes is not MQTT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A length is longer than lengths are.
    #[error("the broker sends a packet without a valid length")]
    Length,
    /// A packet ends too early, or has something that it may not have.
    #[error("the broker sends a malformed packet of type {0}")]
    Malformed(u8),
    /// A packet that no broker sends to such a client.
    #[error("the broker sends a packet of type {0}, which is not expected")]
    Unexpected(u8),
}

/// Takes bytes, gives packets.
#[derive(Debug)]
pub struct Decoder {
    version: Version,
    buffer: BytesMut,
    most_bytes: usize,
    /// So many bytes belong to a packet that is not taken.
    skip: usize,
}

impl Decoder {
    /// For a version; larger packets than `most_bytes` are skipped.
    #[must_use]
    pub fn new(version: Version, most_bytes: usize) -> Self {
        Self { version, buffer: BytesMut::new(), most_bytes, skip: 0 }
    }

    /// How many bytes wait for the rest of their packet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Takes what was read.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        bytes = &bytes[skipped..];
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole packet, if there is one.
    ///
    /// # Errors
    /// When it is none; the connection is of no more use then.
    pub fn packet(&mut self) -> Result<Option<Packet>, ProtocolError> {
        let Some((&header, rest)) = self.buffer.split_first() else { return Ok(None) };
        let mut length = 0usize;
        let mut taken = 1;
        loop {
            if taken > 4 {
                return Err(ProtocolError::Length);
            }
            let Some(&group) = rest.get(taken - 1) else { return Ok(None) };
            length |= usize::from(group & 0x7F) << (7 * (taken - 1));
            taken += 1;
            if group & 0x80 == 0 {
                break;
            }
        }
        if length > self.most_bytes {
            let here = (self.buffer.len() - taken).min(length);
            self.buffer.advance(taken + here);
            self.skip = length - here;
            return Ok(Some(Packet::TooLarge(length)));
        }
        if self.buffer.len() < taken + length {
            return Ok(None);
        }
        self.buffer.advance(taken);
        let body = self.buffer.split_to(length).freeze();
        packet(self.version, header, body).map(Some)
    }
}

fn packet(version: Version, header: u8, body: Bytes) -> Result<Packet, ProtocolError> {
    let kind = header >> 4;
    let mut body = Body { bytes: body, kind };
    let five = version == Version::V5;
    Ok(match kind {
        2 => {
            body.byte()?;
            let code = body.byte()?;
            // A broker of 3.1.1 that refuses version 5 answers in its own way.
            let properties = if five && !body.bytes.is_empty() { body.properties()? } else { Properties::default() };
            Packet::Connected {
                code,
                receive_maximum: properties.receive_maximum.unwrap_or(u16::MAX),
                keep_alive: properties.keep_alive,
                most_bytes: properties.most_bytes,
                retains: properties.retains.unwrap_or(true),
                reason: properties.reason,
            }
        }
        3 => {
            let topic = body.text()?;
            let (qos, id) = match header >> 1 & 3 {
                0 => (Qos::AtMostOnce, None),
                1 => (Qos::AtLeastOnce, Some(body.number()?)),
                // Subscribed to with less; nothing else may come.
                _ => return Err(ProtocolError::Malformed(kind)),
            };
            if five {
                body.properties()?;
            }
            Packet::Publish(Publish { topic, payload: body.bytes, qos, retain: header & 1 == 1 }, id)
        }
        4 => {
            let id = body.number()?;
            Packet::Published { id, code: if body.bytes.is_empty() { 0 } else { body.byte()? } }
        }
        9 => {
            body.number()?;
            if five {
                body.properties()?;
            }
            Packet::Subscribed(body.bytes.to_vec())
        }
        13 => Packet::Pong,
        14 => {
            let code = if body.bytes.is_empty() { 0 } else { body.byte()? };
            let reason = if body.bytes.is_empty() { None } else { body.properties()?.reason };
            Packet::Disconnected { code, reason }
        }
        other => return Err(ProtocolError::Unexpected(other)),
    })
}

#[derive(Default)]
struct Properties {
    receive_maximum: Option<u16>,
    keep_alive: Option<u16>,
    most_bytes: Option<u32>,
    retains: Option<bool>,
    reason: Option<String>,
}

struct Body {
    bytes: Bytes,
    kind: u8,
}

impl Body {
    fn take(&mut self, count: usize) -> Result<Bytes, ProtocolError> {
        if self.bytes.len() < count {
            return Err(ProtocolError::Malformed(self.kind));
        }
        Ok(self.bytes.split_to(count))
    }

    fn byte(&mut self) -> Result<u8, ProtocolError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u16, ProtocolError> {
        Ok(self.take(2)?.get_u16())
    }

    fn long(&mut self) -> Result<u32, ProtocolError> {
        Ok(self.take(4)?.get_u32())
    }

    fn binary(&mut self) -> Result<Bytes, ProtocolError> {
        let length = self.number()?;
        self.take(length.into())
    }

    /// Topics must be UTF-8; a broker that lets others through is not ours to
    /// mend, and one message of theirs must not end the connection.
    fn text(&mut self) -> Result<String, ProtocolError> {
        Ok(String::from_utf8_lossy(&self.binary()?).into_owned())
    }

    fn variable(&mut self) -> Result<usize, ProtocolError> {
        let mut value = 0;
        for place in 0..4 {
            let group = self.byte()?;
            value |= usize::from(group & 0x7F) << (7 * place);
            if group & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtocolError::Malformed(self.kind))
    }

    /// Section 2.2.2 of MQTT 5; what is of no use here is skipped by its type.
    fn properties(&mut self) -> Result<Properties, ProtocolError> {
        let length = self.variable()?;
        let mut body = Self { bytes: self.take(length)?, kind: self.kind };
        let mut properties = Properties::default();
        while !body.bytes.is_empty() {
            match body.byte()? {
                0x13 => properties.keep_alive = Some(body.number()?),
                0x1F => properties.reason = Some(body.text()?),
                0x21 => properties.receive_maximum = Some(body.number()?),
                0x25 => properties.retains = Some(body.byte()? != 0),
                0x27 => properties.most_bytes = Some(body.long()?),
                0x01 | 0x17 | 0x19 | 0x24 | 0x28 | 0x29 | 0x2A => drop(body.byte()?),
                0x22 | 0x23 => drop(body.number()?),
                0x02 | 0x11 | 0x18 => drop(body.long()?),
                0x0B => drop(body.variable()?),
                0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C => drop(body.binary()?),
                0x26 => {
                    body.binary()?;
                    body.binary()?;
                }
                _ => return Err(ProtocolError::Malformed(self.kind)),
            }
        }
        Ok(properties)
    }
}
