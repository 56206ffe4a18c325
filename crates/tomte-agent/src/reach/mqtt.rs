//! A broker: connects, subscribes, publishes and receives what it published,
//! as MQTT 3.1.1 has it. Nothing is retained.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tomte_collect::{CheckSettings, Place};

use super::{Found, connect, tls};

/// No packet that matters here is longer.
const MOST: usize = 64 * 1024;
/// Where the message goes unless configured otherwise; a random part follows.
const TOPIC: &str = "tomte/check";

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const DISCONNECT: u8 = 0xe0;

pub(super) async fn ask(check: &CheckSettings, place: &Place, trust: &tls::Trust) -> Found {
    let stream = match connect(place).await {
        Ok(stream) => stream,
        Err(error) => return Found::failed(error),
    };
    let told = |result: Result<(), String>| result.map_or_else(Found::failed, |()| Found::default());
    if !place.tls {
        return told(converse(check, stream).await);
    }
    match trust.shake(check, place, stream).await {
        (Ok(stream), certificate_ends) => Found { certificate_ends, ..told(converse(check, stream).await) },
        (Err(error), certificate_ends) => Found { certificate_ends, ..Found::failed(error) },
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(check: &CheckSettings, mut stream: S) -> Result<(), String> {
    let password = match &check.password_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        None => None,
    };
    let number = fastrand::u64(..);
    let broke = |error: io::Error| format!("the broker breaks off: {error}");
    let hello = hello(&format!("tomte-{number:016x}"), check.username.as_deref(), password.as_deref());
    stream.write_all(&hello).await.map_err(broke)?;
    let answer = expect(&mut stream, CONNACK).await.map_err(broke)?;
    match answer.get(1) {
        Some(0) => {}
        Some(4 | 5) => return Err("the broker refuses this user".to_owned()),
        code => return Err(format!("the broker refuses the connection: {code:?}")),
    }
    let topic = check.topic.clone().unwrap_or_else(|| format!("{TOPIC}/{number:016x}"));
    let mut body = 1_u16.to_be_bytes().to_vec();
    text(&mut body, &topic);
    body.push(0);
    stream.write_all(&packet(SUBSCRIBE, &body)).await.map_err(broke)?;
    let answer = expect(&mut stream, SUBACK).await.map_err(broke)?;
    if answer.get(2).is_none_or(|code| *code > 2) {
        return Err(format!("the broker does not let this user subscribe to {topic}"));
    }
    let payload = format!("{number:016x}");
    let mut body = Vec::new();
    text(&mut body, &topic);
    body.extend_from_slice(payload.as_bytes());
    stream.write_all(&packet(PUBLISH, &body)).await.map_err(broke)?;
    // Others may publish there too.
    while !expect(&mut stream, PUBLISH).await.map_err(broke)?.ends_with(payload.as_bytes()) {}
    let _ = stream.write_all(&packet(DISCONNECT, &[])).await;
    Ok(())
}

fn hello(client: &str, user: Option<&str>, password: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    // Version 3.1.1, a clean session; then what else there is.
    let flags =
        0x02 | if user.is_some() { 0x80 } else { 0 } | if user.is_some() && password.is_some() { 0x40 } else { 0 };
    body.extend_from_slice(&[4, flags, 0, 60]);
    text(&mut body, client);
    if let Some(user) = user {
        text(&mut body, user);
        if let Some(password) = password {
            text(&mut body, password);
        }
    }
    packet(CONNECT, &body)
}

fn text(body: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    body.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    body.extend_from_slice(bytes);
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut left = body.len();
    loop {
        let byte = (left % 128) as u8;
        left /= 128;
        packet.push(if left > 0 { byte | 0x80 } else { byte });
        if left == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// The body of the next packet of that kind; others are passed over.
async fn expect<S: AsyncRead + Unpin>(stream: &mut S, kind: u8) -> io::Result<Vec<u8>> {
    loop {
        let first = stream.read_u8().await?;
        let mut length = 0_usize;
        for shift in [0, 7, 14, 21] {
            let byte = stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if length > MOST {
            return Err(io::Error::other("it sends a packet that is too long"));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        if first & 0xf0 == kind & 0xf0 {
            return Ok(body);
        }
    }
}
