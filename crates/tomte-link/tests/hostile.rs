//! What no honest peer sends: an error and a reason, never a panic, never
//! memory without bound.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use support::arbitrary::series;
use support::raw::Raw;
use tomte_link::{AgentLink, CloseCode, FromAgent, Heartbeat, HubLink, Lane, Limits, LinkError, MAX_MESSAGE};
use tomte_model::{Catalogue, Facet, Scope};

#[allow(unreachable_pub)]
mod support;

proptest! {
    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = HubLink::accept(&bytes, Limits::default());
        let _ = tomte_link::decode_report(&bytes);
        let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
        let _ = agent.handle(&bytes);
        let _ = hub.handle(&bytes);
        let _ = AgentLink::new(support::hello(), Arc::default()).handle(&bytes);
        // The same behind a key that makes it a frame of each type.
        for frame_type in 1..=10 {
            let message = Raw::new().bytes(frame_type, &bytes).0;
            let _ = agent.handle(&message);
            let _ = hub.handle(&message);
            let _ = HubLink::accept(&message, Limits::default());
        }
        let mut stored = vec![1];
        stored.extend(bytes);
        let _ = tomte_link::decode_report(&stored);
    }

    #[test]
    fn damaged_conversations_are_safe(
        reports in series(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        batched in any::<bool>(),
    ) {
        let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
        let mut messages: Vec<Vec<u8>> = if batched {
            agent.reports(&reports, Lane::Live).0.iter().map(|message| message.to_vec()).collect()
        } else {
            reports.iter().flat_map(|report| agent.report(report, Lane::Live).unwrap()).map(|m| m.to_vec()).collect()
        };
        let total: usize = messages.iter().map(Vec::len).sum();
        for (index, byte) in damage {
            let mut at = index.index(total);
            for message in &mut messages {
                if at < message.len() {
                    message[at] ^= byte;
                    break;
                }
                at -= message.len();
            }
        }
        if let Some(cut) = cut {
            let last = messages.len() - 1;
            let length = cut.index(messages[last].len() + 1);
            messages[last].truncate(length);
        }
        for message in messages {
            if hub.handle(&message).is_err() {
                break;
            }
        }
    }

    #[test]
    fn damaged_stored_reports_are_safe(
        reports in series(),
        index in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut stored = tomte_link::encode_report(&reports[0]);
        let at = index.index(stored.len());
        let _ = tomte_link::decode_report(&stored[..at]);
        stored[at] ^= byte;
        let _ = tomte_link::decode_report(&stored);
    }
}

fn hub(limits: Limits) -> HubLink {
    support::connected(Catalogue::builtin(), limits).1
}

fn limit(result: Result<Vec<FromAgent>, LinkError>) -> &'static str {
    let error = result.unwrap_err();
    assert_eq!(error.close_code(), CloseCode::TooLarge);
    let LinkError::Limit { what, .. } = error else { panic!("{error}") };
    what
}

/// A part that opens stream 0 for collector `x`, to which more is added.
fn opening() -> Raw {
    Raw::new().message(4, Raw::new().bytes(1, "x"))
}

fn part(part: Raw) -> Vec<u8> {
    Raw::new().message(3, part).0
}

#[test]
fn messages_are_bounded() {
    assert_eq!(limit(hub(Limits::default()).handle(&vec![0; MAX_MESSAGE + 1])), "bytes of a message");
    let many = (0..5000).fold(Raw::new(), |message, _| message.message(5, Raw::new())).0;
    assert_eq!(limit(hub(Limits::default()).handle(&many)), "frames of a message");
    let long = Raw::new().message(1, Raw::new().bytes(3, vec![b'x'; 70_000])).0;
    assert!(matches!(HubLink::accept(&long, Limits::default()), Err(LinkError::Limit { .. })));
    let agent = AgentLink::new(support::hello(), Arc::default());
    for truncated in 1..agent.hello().len() {
        assert!(HubLink::accept(&agent.hello()[..truncated], Limits::default()).is_err());
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let symbols = (0..20_000).fold(opening(), |part, n| part.bytes(5, format!("{n:045}")));
    let mut hub = hub(Limits::default());
    let mut rounds = 0;
    // The same again and again, without a report that would use it.
    let mut next = symbols;
    let what = loop {
        match hub.handle(&part(next)) {
            Ok(heard) => assert!(heard.is_empty()),
            failed => break limit(failed),
        }
        rounds += 1;
        next = (0..20_000).fold(Raw::new().varint(2, rounds), |part, n| part.bytes(5, format!("{n:045}")));
    };
    assert_eq!(what, "bytes to remember");
    assert!((5..20).contains(&rounds), "{rounds}");
}

#[test]
fn events_that_wait_are_remembered_too() {
    let small = Limits { memory_bytes: 100_000, ..Limits::default() };
    let event = || Raw::new().bytes(1, [1; 16]).bytes(8, vec![b'x'; 10_000]);
    let events = (0..20).fold(opening(), |part, _| part.message(9, event()));
    assert_eq!(limit(hub(small).handle(&part(events))), "bytes to remember");
}

#[test]
fn streams_texts_scopes_and_fields_are_bounded() {
    let mut hub = hub(Limits::default());
    let far = Raw::new().varint(1, 512).message(4, Raw::new().bytes(1, "x"));
    assert_eq!(limit(hub.handle(&part(far))), "number of streams");
    assert_eq!(limit(hub.handle(&part(opening().bytes(5, vec![b'x'; 20_000])))), "bytes of a text");
    let shape = Raw::new().packed(4, &vec![0; 1025]).bytes(5, vec![64; 1025]);
    assert_eq!(limit(hub.handle(&part(opening().bytes(5, "x").message(6, shape)))), "fields of a facet");
    let members = Raw::new().bytes(2, "s").message(4, Raw::new().packed(1, &vec![0; 20_001]));
    assert_eq!(limit(hub.handle(&part(opening().message(8, members)))), "facets of a report");
    let order = Raw::new().varint(5, 1).message(10, Raw::new().packed(1, &vec![0; 16_385]));
    let message = Raw::new().message(3, opening()).message(4, order).0;
    assert_eq!(limit(hub.handle(&message)), "scopes of a report");
}

#[test]
fn kinds_are_bounded() {
    let long = Raw::new().message(2, Raw::new().bytes(2, vec![b'x'; 65_536])).0;
    assert_eq!(limit(hub(Limits::default()).handle(&long)), "bytes of a kind's description");
    let mut hub = hub(Limits::default());
    let kind = |n: u32| Raw::new().message(2, Raw::new().bytes(1, format!("kind{n}"))).0;
    for n in 0..1024 {
        hub.handle(&kind(n)).unwrap();
    }
    assert_eq!(limit(hub.handle(&kind(1024))), "kinds described");
}

/// A small message that stands for much: reports with large attributes, none
/// of which has changed, again and again.
#[test]
fn a_small_message_does_not_unfold_to_a_huge_one() {
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let report = |sequence| {
        let mut facet = Facet::owner("disk", "sda", "io");
        (0..40).for_each(|n| facet.text(format!("text{n}"), "x".repeat(16_000)));
        support::report("disk", sequence, vec![Scope::complete("io", vec![facet])])
    };
    let reports: Vec<_> = (1..=200).map(report).collect();
    // Our own encoder keeps to the bound by itself, in more messages.
    let (messages, refused) = agent.reports(&reports, Lane::Live);
    assert!(refused.is_empty() && messages.len() > 5, "{}", messages.len());
    let heard: usize = messages.iter().map(|message| hub.handle(message).unwrap().len()).sum();
    assert_eq!(heard, 200);
    let small: Vec<u8> = messages[1..].iter().flat_map(|message| message.to_vec()).collect();
    assert!(small.len() < 10_000);
    let (_, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    hub.handle(&messages[0]).unwrap();
    assert_eq!(limit(hub.handle(&small)), "bytes that a message unfolds to");
}

#[test]
fn a_facet_listed_many_times_is_paid_for_every_time() {
    let small = Limits { unfolded_bytes: 1 << 20, ..Limits::default() };
    let facet = Raw::new().varint(2, 0).bytes(3, vec![b'x'; 10_000]);
    let scope = Raw::new().bytes(2, "s").message(4, Raw::new().packed(1, &vec![0; 10_000]));
    let part = opening().bytes(5, "k").message(6, Raw::new()).message(7, facet).message(8, scope);
    let report = Raw::new().varint(2, 1).varint(5, 1).message(10, Raw::new().packed(1, &[0]));
    let what = limit(hub(small).handle(&Raw::new().message(3, part).message(4, report).0));
    assert_eq!(what, "bytes that a message unfolds to");
}

#[test]
fn what_refers_to_nothing_is_malformed() {
    let malformed = |message: Vec<u8>| {
        let error = hub(Limits::default()).handle(&message).unwrap_err();
        assert_eq!(error.close_code(), CloseCode::Malformed, "{error}");
        error.to_string()
    };
    let shape = || opening().bytes(5, "k").bytes(5, "f").message(6, Raw::new().packed(4, &[1]).bytes(5, [64]));
    let facet = || shape().message(7, Raw::new().varint(2, 0));
    let scope = || facet().message(8, Raw::new().bytes(2, "s").message(4, Raw::new().packed(1, &[0])));
    let report = |values: &[u8], toggled: &[u64], order: &[u64]| {
        let body = Raw::new().varint(2, 1).varint(5, 1).bytes(8, values).packed(9, toggled);
        Raw::new().message(3, scope()).message(4, body.message(10, Raw::new().packed(1, order))).0
    };
    assert!(hub(Limits::default()).handle(&report(&[0], &[], &[0])).is_ok());
    for (message, what) in [
        (part(opening().message(6, Raw::new())), "malformed part: a symbol that was never sent"),
        (
            part(opening().bytes(5, "k").message(6, Raw::new().packed(4, &[0]))),
            "malformed part: fields and scales differ in number",
        ),
        (
            part(opening().bytes(5, "k").message(6, Raw::new().packed(4, &[0]).bytes(5, [1]))),
            "malformed part: an unknown scale",
        ),
        (part(opening().message(7, Raw::new().varint(1, 4))), "malformed part: a facet that was never described"),
        (
            part(opening().message(7, Raw::new().varint(2, 4))),
            "malformed part: a facet without its shape, or out of turn",
        ),
        (part(opening().message(8, Raw::new().varint(1, 4))), "malformed part: a scope that was never described"),
        (part(opening().message(8, Raw::new().varint(1, 4).bytes(2, "s"))), "malformed part: a scope out of turn"),
        (part(opening().message(4, Raw::new().bytes(2, "short"))), "malformed part: an id that is not 16 bytes long"),
        (part(opening().message(9, Raw::new())), "malformed event: an id that is not 16 bytes long"),
        (report(&[], &[], &[0]), "malformed report: too few values"),
        (report(&[0, 0], &[], &[0]), "malformed report: more values than readings"),
        (report(&[2], &[], &[0]), "malformed report: more values than readings"),
        (report(&[0], &[1], &[0]), "malformed report: a missing reading that no facet has"),
        (report(&[0], &[], &[7]), "malformed report: a scope that was never described"),
        (Raw::new().varint(4, 1).0, "malformed report: not length-delimited"),
        (Raw::new().bytes(4, [0xff]).0, "malformed report: not valid protobuf"),
        (vec![0xff], "malformed message: not a sequence of frames"),
        (vec![0x0b], "malformed message: not a sequence of frames"),
        (
            Raw::new().message(6, Raw::new().varint(2, 5).varint(3, 4)).0,
            "malformed gap: not a range, or more than it holds",
        ),
        (
            Raw::new().message(6, Raw::new().varint(3, 4).varint(4, 6)).0,
            "malformed gap: not a range, or more than it holds",
        ),
    ] {
        assert_eq!(malformed(message), what);
    }
}

#[test]
fn a_raw_value_that_is_no_number_is_malformed() {
    let scope = Raw::new().bytes(2, "s").message(4, Raw::new().packed(1, &[0]));
    let part = opening()
        .bytes(5, "k")
        .message(6, Raw::new().packed(4, &[0]).bytes(5, [255]))
        .message(7, Raw::new().varint(2, 0))
        .message(8, scope);
    // A one, 24 ones for 64 plain bits, then infinity zigzagged.
    let infinity = f64::INFINITY.to_bits() << 1;
    let bits = ((1_u128 << 25) - 1) | (u128::from(infinity) << 25);
    let report = Raw::new().varint(2, 1).varint(5, 1).bytes(8, &bits.to_le_bytes()[..12]);
    let report = report.message(10, Raw::new().packed(1, &[0]));
    let error = hub(Limits::default()).handle(&Raw::new().message(3, part).message(4, report).0).unwrap_err();
    assert_eq!(error.to_string(), "malformed report: a value that is no number");
}

#[test]
fn the_agent_is_as_careful() {
    let (mut agent, _) = support::connected(Catalogue::builtin(), Limits::default());
    for (message, what) in [
        (Raw::new().message(2, Raw::new().packed(2, &[1])).0, "malformed ack: not ascending ranges"),
        (Raw::new().message(2, Raw::new().packed(2, &[u64::MAX, 1])).0, "malformed ack: not ascending ranges"),
        (
            Raw::new().message(2, Raw::new().packed(2, &vec![2; 40_000])).0,
            "ranges of an ack: 20000 is over the limit of 16384",
        ),
        (
            Raw::new().message(4, Raw::new().message(2, Raw::new().bytes(1, vec![b'x'; 20_000]))).0,
            "bytes of a text: 20000 is over the limit of 16384",
        ),
        (vec![0; MAX_MESSAGE + 1], "bytes of a message: 1048577 is over the limit of 1048576"),
    ] {
        assert_eq!(agent.handle(&message).unwrap_err().to_string(), what);
    }
}

#[test]
fn acks_of_many_ranges_keep_the_lowest() {
    let (mut agent, hub) = support::connected(Catalogue::builtin(), Limits::default());
    let ranges = (0..20_000_u64).map(|n| 3 * n + 1..=3 * n + 2).collect();
    let heard = agent.handle(&hub.ack(5, &ranges)).unwrap();
    let tomte_link::FromHub::Ack { epoch: 5, ranges: acked } = &heard[0] else { panic!() };
    assert_eq!(acked.range_count(), 16_384);
    assert!(acked.contains(1) && acked.contains(2) && !acked.contains(3));
    let all = [0..=0, u64::MAX..=u64::MAX].into_iter().collect();
    let heard = agent.handle(&hub.ack(5, &all)).unwrap();
    assert_eq!(heard, [tomte_link::FromHub::Ack { epoch: 5, ranges: all }]);
}

/// A part for a stream that is not open, or out of turn, is no crime: messages
/// may have been lost. The report then asks for more.
#[test]
fn a_report_without_its_base_is_asked_for_again() {
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let report = support::report("disk", 9, vec![Scope::complete("io", Vec::new())]);
    agent.report(&report, Lane::Backlog).unwrap();
    let report = support::report("disk", 10, vec![Scope::complete("other", Vec::new())]);
    let lost = support::through(&mut agent, &mut hub, &report, Lane::Backlog);
    let [FromAgent::BaseUnknown(resend)] = lost.as_slice() else { panic!("{lost:?}") };
    assert_eq!((resend.lane, resend.position), (Lane::Backlog, report.position));
    agent.handle(&hub.resend(resend)).unwrap();
    let heard = support::through(&mut agent, &mut hub, &report, Lane::Backlog);
    assert_eq!(support::only_report(heard).0, report);
    assert!(hub.handle(&agent.heartbeat(&Heartbeat::default())).is_ok());
}
