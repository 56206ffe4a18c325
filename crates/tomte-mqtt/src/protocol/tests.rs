#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn message() -> Publish {
    Publish::retained("tomte/nas/cpu/cpu/usage_ratio".into(), "0.25", Qos::AtLeastOnce)
}

/// What the client writes, read by the decoder for what a broker sends.
fn read(version: Version, bytes: &[u8]) -> Result<Vec<Packet>, ProtocolError> {
    let mut decoder = Decoder::new(version, 1000);
    let mut packets = Vec::new();
    for byte in bytes {
        decoder.feed(&[*byte]);
        while let Some(packet) = decoder.packet()? {
            packets.push(packet);
        }
    }
    Ok(packets)
}

#[test]
fn a_connect_is_written_as_the_standard_says() {
    let will = Publish::retained("w".into(), "x", Qos::AtLeastOnce);
    let said = Connect {
        client_id: "a",
        username: Some("u"),
        password: Some(b"p"),
        keep_alive: 60,
        will: Some(&will),
        most_bytes: 0x1_0000,
    };
    let mut old = Vec::new();
    connect(&mut old, Version::V311, &said);
    let expected = b"\x10\x19\x00\x04MQTT\x04\xEE\x00\x3C\x00\x01a\x00\x01w\x00\x01x\x00\x01u\x00\x01p";
    assert_eq!(old, expected);
    let mut new = Vec::new();
    connect(&mut new, Version::V5, &said);
    let expected =
        b"\x10\x20\x00\x04MQTT\x05\xEE\x00\x3C\x05\x27\x00\x01\x00\x00\x00\x01a\x00\x00\x01w\x00\x01x\x00\x01u\x00\x01p";
    assert_eq!(new, expected);
}

#[test]
fn a_message_comes_back_as_it_was_written() {
    for version in [Version::V311, Version::V5] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
            let message = Publish { qos, ..message() };
            let mut bytes = Vec::new();
            publish(&mut bytes, version, &message, 7);
            let id = (qos == Qos::AtLeastOnce).then_some(7);
            assert_eq!(read(version, &bytes).unwrap(), [Packet::Publish(message, id)]);
        }
    }
}

#[test]
fn answers_of_a_broker() {
    let connected = |code, receive_maximum, keep_alive, reason: Option<&str>| Packet::Connected {
        code,
        receive_maximum,
        keep_alive,
        most_bytes: None,
        retains: true,
        reason: reason.map(str::to_owned),
    };
    // As mosquitto 2.0 answers: topic alias maximum 10, receive maximum 20.
    let mosquitto = b"\x20\x09\x00\x00\x06\x22\x00\x0a\x21\x00\x14";
    assert_eq!(read(Version::V5, mosquitto).unwrap(), [connected(0, 20, None, None)]);
    assert_eq!(read(Version::V311, b"\x20\x02\x00\x05").unwrap(), [connected(5, u16::MAX, None, None)]);
    assert_eq!(read(Version::V5, b"\x20\x02\x00\x01").unwrap(), [connected(1, u16::MAX, None, None)]);
    let packets = read(Version::V5, b"\x90\x05\x00\x01\x00\x00\x87\xD0\x00\xE0\x01\x8E\x40\x02\x00\x09").unwrap();
    let taken_over = Packet::Disconnected { code: 0x8E, reason: None };
    assert_eq!(
        packets,
        [Packet::Subscribed(vec![0, 0x87]), Packet::Pong, taken_over, Packet::Published { id: 9, code: 0 }]
    );
}

#[test]
fn what_is_too_large_is_skipped_and_what_follows_is_read() {
    let mut bytes = Vec::new();
    let large = Publish { payload: vec![b'x'; 1_000_000].into(), ..message() };
    publish(&mut bytes, Version::V311, &large, 1);
    publish(&mut bytes, Version::V311, &message(), 2);
    let mut decoder = Decoder::new(Version::V311, 1000);
    let mut packets = Vec::new();
    for piece in bytes.chunks(4096) {
        decoder.feed(piece);
        while let Some(packet) = decoder.packet().unwrap() {
            packets.push(packet);
        }
        assert!(decoder.held() < 16_384);
    }
    assert!(matches!(packets[0], Packet::TooLarge(size) if size > 1_000_000));
    assert_eq!(packets[1], Packet::Publish(message(), Some(2)));
    assert_eq!(packets.len(), 2);
}

proptest! {
    #[test]
    fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), five in any::<bool>()) {
        let _ = read(if five { Version::V5 } else { Version::V311 }, &bytes);
    }
}
