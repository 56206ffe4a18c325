//! From packets to bytes.

use super::{Publish, Subscription, Version};

/// What a connection begins with.
#[derive(Clone, Copy)]
pub struct Connect<'a> {
    /// The client's id.
    pub client_id: &'a str,
    /// Who it is, if asked.
    pub username: Option<&'a str>,
    /// How it proves that.
    pub password: Option<&'a [u8]>,
    /// The longest silence, in seconds.
    pub keep_alive: u16,
    /// What the broker says when the connection breaks.
    pub will: Option<&'a Publish>,
    /// The largest packet that is taken; told to a broker of MQTT 5.
    pub most_bytes: u32,
}

const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const PINGREQ: u8 = 0xC0;
const DISCONNECT: u8 = 0xE0;

/// Adds a CONNECT.
pub fn connect(out: &mut Vec<u8>, version: Version, connect: &Connect<'_>) {
    let mut body = Vec::with_capacity(128);
    // 3.1.1 has no password without a user.
    let password = connect.password.filter(|_| version == Version::V5 || connect.username.is_some());
    text(&mut body, b"MQTT");
    body.push(match version {
        Version::V311 => 4,
        Version::V5 => 5,
    });
    // A clean session: everything is published again on each connection.
    let mut flags = 0b0000_0010;
    if let Some(will) = connect.will {
        flags |= 0b0000_0100 | u8::from(will.qos) << 3 | u8::from(will.retain) << 5;
    }
    flags |= u8::from(connect.username.is_some()) << 7 | u8::from(password.is_some()) << 6;
    body.push(flags);
    body.extend_from_slice(&connect.keep_alive.to_be_bytes());
    if version == Version::V5 {
        let mut properties = vec![0x27];
        properties.extend_from_slice(&connect.most_bytes.to_be_bytes());
        length(&mut body, properties.len());
        body.extend_from_slice(&properties);
    }
    text(&mut body, connect.client_id.as_bytes());
    if let Some(will) = connect.will {
        if version == Version::V5 {
            body.push(0);
        }
        text(&mut body, will.topic.as_bytes());
        text(&mut body, &will.payload);
    }
    if let Some(username) = connect.username {
        text(&mut body, username.as_bytes());
    }
    if let Some(password) = password {
        text(&mut body, password);
    }
    packet(out, CONNECT, &body);
}

/// Adds a PUBLISH; `id` counts for those that are to be acknowledged.
pub fn publish(out: &mut Vec<u8>, version: Version, message: &Publish, id: u16) {
    let acknowledged = u8::from(message.qos) > 0;
    let properties = usize::from(version == Version::V5);
    let topic = &message.topic.as_bytes()[..message.topic.len().min(usize::from(u16::MAX))];
    out.push(PUBLISH | u8::from(message.qos) << 1 | u8::from(message.retain));
    length(out, 2 + topic.len() + 2 * usize::from(acknowledged) + properties + message.payload.len());
    text(out, topic);
    if acknowledged {
        out.extend_from_slice(&id.to_be_bytes());
    }
    if version == Version::V5 {
        out.push(0);
    }
    out.extend_from_slice(&message.payload);
}

/// Adds a PUBACK.
pub fn puback(out: &mut Vec<u8>, id: u16) {
    packet(out, PUBACK, &id.to_be_bytes());
}

/// Adds a SUBSCRIBE to those topics.
pub fn subscribe(out: &mut Vec<u8>, version: Version, id: u16, wanted: &[Subscription]) {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    for subscription in wanted {
        text(&mut body, subscription.filter.as_bytes());
        let as_published = subscription.retain_as_published && version == Version::V5;
        body.push(u8::from(subscription.qos) | u8::from(as_published) << 3);
    }
    packet(out, SUBSCRIBE, &body);
}

/// Adds a PINGREQ.
pub fn ping(out: &mut Vec<u8>) {
    packet(out, PINGREQ, &[]);
}

/// Adds a DISCONNECT: the end is meant, and no will is to be told.
pub fn disconnect(out: &mut Vec<u8>) {
    packet(out, DISCONNECT, &[]);
}

fn packet(out: &mut Vec<u8>, header: u8, body: &[u8]) {
    out.push(header);
    length(out, body.len());
    out.extend_from_slice(body);
}

/// A length in groups of seven bits.
fn length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let group = u8::try_from(length & 0x7F).unwrap_or(0x7F);
        length >>= 7;
        if length == 0 {
            return out.push(group);
        }
        out.push(group | 0x80);
    }
}

/// Bytes behind their length; what does not fit 16 bits is cut.
fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes[..usize::from(length)]);
}
