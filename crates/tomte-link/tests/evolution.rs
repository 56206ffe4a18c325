//! Versions that meet: newer agents at older hubs, older agents at newer hubs.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use support::raw::{Raw, frames, from_the_future};
use tomte_link::{
    AgentLink, CloseCode, ClusterClaim, ClusterGrant, ClusterProblem, Decision, FromAgent, FromHub, Gap, Heartbeat,
    Hello, HubLink, Lane, Limits, LinkError, Live, Resend, SettingsPush, SettingsResult, Welcome,
};
use tomte_model::catalogue::{Catalogue, Unit};
use tomte_model::report::Outcome;
use tomte_model::{Assessment, Facet, HostId, Position, Scope, Severity, Status, Timestamp};

#[allow(unreachable_pub)]
mod support;

fn range(min: u32, max: u32) -> Hello {
    Hello { protocol_min: min, protocol_max: max, ..support::hello() }
}

fn accept(hello: &Hello) -> Result<HubLink, LinkError> {
    let message = AgentLink::new(hello.clone(), Arc::default()).hello();
    HubLink::accept(&message, Limits::default()).map(|(link, accepted)| {
        assert_eq!(accepted, *hello);
        link
    })
}

fn claim() -> ClusterClaim {
    ClusterClaim {
        id: "AB:CD".into(),
        name: "homelab".into(),
        node: "pve1".into(),
        nodes: vec!["pve1".into(), "pve2".into()],
        quorate: true,
        readable: true,
    }
}

/// What a hub that does not know the frame does with it, and an agent.
#[test]
fn clusters_cost_those_who_do_not_know_them_nothing() {
    let (agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let known = agent.cluster(&claim()).to_vec();
    // The same frame under a number that this version does not know.
    let unknown = Raw::new().bytes(70, frames(&known).swap_remove(0).1).0;
    assert_eq!(hub.handle(&unknown).unwrap(), [FromAgent::Unknown(70)]);
    assert_eq!(hub.handle(&known).unwrap(), [FromAgent::Cluster(claim())]);
    // A claim of an older or a lazier agent: what is missing is empty.
    assert_eq!(
        hub.handle(&Raw::new().message(10, Raw::new()).0).unwrap(),
        [FromAgent::Cluster(ClusterClaim::default())]
    );
}

#[test]
fn a_claim_is_of_a_size_that_clusters_have() {
    let (agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let crowd = ClusterClaim { nodes: vec!["pve".into(); 257], ..claim() };
    assert_eq!(hub.handle(&agent.cluster(&crowd)).unwrap_err().close_code(), CloseCode::TooLarge);
    let long = ClusterClaim { node: "p".repeat(257), ..claim() };
    assert!(hub.handle(&agent.cluster(&long)).is_err());
}

#[test]
fn the_newest_common_version_is_taken() {
    assert_eq!(accept(&range(1, 1)).unwrap().protocol(), 1);
    assert_eq!(accept(&range(1, 9)).unwrap().protocol(), 1);
    assert_eq!(accept(&range(0, 4)).unwrap().protocol(), 1);
}

#[test]
fn without_a_common_version_both_are_named() {
    for (min, max) in [(2, 3), (0, 0), (5, 1)] {
        let error = accept(&range(min, max)).unwrap_err();
        assert_eq!(error.close_code(), CloseCode::NoCommonVersion);
        let text = error.to_string();
        assert!(text.contains(&format!("the agent speaks {min} to {max}, the hub 1 to 1")), "{text}");
    }
    let mut agent = AgentLink::new(support::hello(), Arc::default());
    let error = agent.handle(&Raw::new().message(1, Raw::new().varint(1, 2)).0).unwrap_err();
    assert_eq!(error.close_code(), CloseCode::NoCommonVersion);
    assert!(!agent.is_welcomed());
}

/// Actions came later: who does not know them skips them, and both say so.
#[test]
fn an_action_and_a_decision_travel_and_what_is_not_understood_is_skipped() {
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let action = tomte_model::Action {
        id: tomte_model::ActionId::from_bytes([7; 16]),
        host: support::hello().host,
        kind: "command".into(),
        target: "df".into(),
        arguments: vec!["/".into()],
        plan: tomte_model::Plan { text: "run df".into(), hash: "aa".into() },
        risk: tomte_model::Risk::Safe,
        state: tomte_model::ActionState::Pending,
        via: "mqtt".into(),
        request_id: "r".into(),
        created_at: Timestamp::from_millis(5),
        expires_at: Timestamp::from_millis(9),
        history: Vec::new(),
        result: None,
    };
    let heard = hub.handle(&agent.action(&action)).unwrap();
    assert_eq!(heard, [FromAgent::Action(Box::new(action.clone()))]);
    let decision = Decision {
        id: action.id,
        approve: true,
        plan_hash: "aa".into(),
        by: "account:ada".into(),
        reason: String::new(),
    };
    assert_eq!(agent.handle(&hub.decide(&decision)).unwrap(), [FromHub::Decide(decision)]);
    // A state of a later version, and an id that is none.
    let later = Raw::new().message(11, Raw::new().bytes(1, r#"{"state":"postponed"}"#));
    assert_eq!(hub.handle(&later.0).unwrap(), [FromAgent::Unknown(11)]);
    assert!(agent.handle(&Raw::new().message(10, Raw::new().bytes(1, "short")).0).is_err());
}

#[test]
fn a_newer_agent_is_understood() {
    let agent = AgentLink::new(range(1, 2), Arc::default());
    let (mut hub, hello) = HubLink::accept(&from_the_future(&agent.hello()), Limits::default()).unwrap();
    assert_eq!(hello, range(1, 2));
    let mut facet = Facet::owner("cpu", "cpu", "main");
    facet.read("usage_ratio", 0.25);
    facet.text("model", "x");
    facet.assessment = Some(Assessment::ok());
    let report = support::report("cpu", 1, vec![Scope::complete("cpu", vec![facet])]);
    let (mut agent, _) = support::connected(Catalogue::builtin(), Limits::default());
    let heartbeat =
        Heartbeat { moment: report.moment, oldest: Some(Timestamp::from_millis(-5)), ..Heartbeat::default() };
    let gap = Gap { epoch: 1, first: 3, last: 9, count: 4 };
    let result = SettingsResult { revision: 4, refused: vec![("probes".into(), "not accepted".into())] };
    let mut messages = agent.report(&report, Lane::Live).unwrap();
    let claim = claim();
    messages.extend([agent.heartbeat(&heartbeat), agent.gap(&gap), agent.settings_result(&result)]);
    messages.push(agent.cluster(&claim));
    messages.push(agent.close(CloseCode::GoingAway, "stopping"));
    let mut heard = Vec::new();
    for message in messages {
        heard.extend(hub.handle(&from_the_future(&message)).unwrap());
    }
    let unknown = heard.iter().filter(|said| matches!(said, FromAgent::Unknown(77..=79))).count() as u64;
    assert_eq!((unknown, hub.unknown_frames()), (3 * 7, 3 * 7));
    heard.retain(|said| !matches!(said, FromAgent::Unknown(_)));
    assert_eq!(
        heard,
        [
            FromAgent::Report { report, lane: Lane::Live },
            FromAgent::Heartbeat(heartbeat),
            FromAgent::Gap(gap),
            FromAgent::SettingsResult(result),
            FromAgent::Cluster(claim),
            FromAgent::Close { code: CloseCode::GoingAway, reason: "stopping".into() },
        ]
    );
}

#[test]
fn a_newer_hub_is_understood() {
    let mut agent = AgentLink::new(range(1, 1), Arc::default());
    let (hub, _) = HubLink::accept(&agent.hello(), Limits::default()).unwrap();
    let welcome = Welcome { features: vec!["telepathy".into()], ..support::welcome(1) };
    let settings = SettingsPush { revision: 4, values: vec![("intervals.fast".into(), "\"5s\"".into())] };
    let ranges = [1..=5, 9..=9].into_iter().collect();
    let live = Live { interval_millis: 1000, lease_millis: 30_000 };
    let grants = [Some(HostId::from_parts(5, 6)), None].map(|host| ClusterGrant {
        id: "AB:CD".into(),
        host,
        holder: host.is_some(),
        reason: "one of its nodes".into(),
        problems: vec![ClusterProblem {
            resource: "guest:101".into(),
            facet: "runtime".into(),
            field: "memory_used_ratio".into(),
            status: Status::Critical,
            since: Timestamp::from_millis(9),
        }],
    });
    let messages = [
        hub.welcome(&welcome),
        hub.ack(8, &ranges),
        hub.settings(&settings),
        hub.live(&live),
        hub.refresh(&["cpu".into()]),
        hub.heartbeat(17, Timestamp::from_millis(18)),
        hub.cluster(&grants[0]),
        hub.cluster(&grants[1]),
        HubLink::close(CloseCode::Other(4999), "a reason of version 2"),
    ];
    let mut heard = Vec::new();
    for message in messages {
        heard.extend(agent.handle(&from_the_future(&message)).unwrap());
    }
    assert_eq!(agent.unknown_frames(), 3 * 9);
    heard.retain(|said| !matches!(said, FromHub::Unknown(_)));
    assert_eq!(
        heard,
        [
            FromHub::Welcome(welcome),
            FromHub::Ack { epoch: 8, ranges },
            FromHub::Settings(settings),
            FromHub::Live(live),
            FromHub::Refresh { collectors: vec!["cpu".into()] },
            FromHub::Heartbeat { echo: 17, server_time: Timestamp::from_millis(18) },
            FromHub::Cluster(grants[0].clone()),
            FromHub::Cluster(grants[1].clone()),
            FromHub::Close { code: CloseCode::Other(4999), reason: "a reason of version 2".into() },
        ]
    );
}

#[test]
fn many_unknown_frames_are_counted_and_few_are_told() {
    let (_, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let message = (0..4000).fold(Raw::new(), |message, _| message.varint(99, 1)).0;
    assert_eq!(hub.handle(&message).unwrap(), vec![FromAgent::Unknown(99); 16]);
    assert_eq!(hub.unknown_frames(), 4000);
}

#[test]
fn an_older_agent_lacks_what_came_later() {
    let host = support::hello().host;
    let message = Raw::new().message(1, Raw::new().varint(1, 1).varint(2, 1).bytes(4, host.to_bytes())).0;
    let (mut hub, hello) = HubLink::accept(&message, Limits::default()).unwrap();
    assert_eq!((hello.host, hello.outbox_epoch, hello.instance, hello.name.as_str()), (host, 0, 0, ""));
    assert_eq!(hub.handle(&Raw::new().message(5, Raw::new()).0).unwrap(), [FromAgent::Heartbeat(Heartbeat::default())]);
}

#[test]
fn an_older_hub_lacks_what_came_later() {
    let mut agent = AgentLink::new(support::hello(), Arc::default());
    let heard = agent.handle(&Raw::new().message(1, Raw::new().varint(1, 1)).0).unwrap();
    let FromHub::Welcome(welcome) = &heard[0] else { panic!("{heard:?}") };
    assert_eq!((welcome.protocol, welcome.generation, welcome.heartbeat_millis), (1, 0, 0));
    // It named no kinds, so that every kind is described when it is first used.
    let facet = Facet::owner("cpu", "cpu", "main");
    let report = support::report("cpu", 1, vec![Scope::complete("cpu", vec![facet])]);
    let types = |messages: Vec<bytes::Bytes>| -> Vec<u32> {
        messages.iter().flat_map(|message| frames(message)).map(|(frame_type, _)| frame_type).collect()
    };
    assert_eq!(types(agent.report(&report, Lane::Live).unwrap()), [2, 3, 4]);
    let (mut agent, _) = support::connected(Catalogue::builtin(), Limits::default());
    assert_eq!(types(agent.report(&report, Lane::Live).unwrap()), [3, 4], "a hub of this version knows the kind");
}

#[test]
fn a_kind_that_the_hub_does_not_know_is_described_once() {
    let host = support::generated::Host::new(1, false);
    let catalogue = host.catalogue();
    let described = catalogue.kind("generated").unwrap().clone();
    let (mut agent, mut hub) = support::connected(catalogue.clone(), Limits::default());
    let mut host = host;
    let heard = support::through(&mut agent, &mut hub, &host.next(1), Lane::Backlog);
    assert_eq!(heard[0], FromAgent::Described(described));
    let heard = support::through(&mut agent, &mut hub, &host.next(1), Lane::Live);
    assert!(heard.iter().all(|said| matches!(said, FromAgent::Report { .. })));
    // The agent learns more about it: the hub is told.
    let mut more = catalogue;
    let mut kind = more.kind("generated").unwrap().clone();
    kind.fields.to_mut().truncate(1);
    kind.fields.to_mut()[0].name = "brightness_lux".into();
    kind.fields.to_mut()[0].unit = Unit::from_name("lux");
    assert!(more.describe(kind));
    let expected = more.kind("generated").unwrap().clone();
    agent.set_catalogue(Arc::new(more));
    let heard = support::through(&mut agent, &mut hub, &host.next(2), Lane::Live);
    assert_eq!(heard[0], FromAgent::Described(expected));
    let mut ours = Catalogue::builtin();
    for said in heard {
        if let FromAgent::Described(kind) = said {
            ours.describe(kind);
        }
    }
    assert_eq!(ours.field("generated", "brightness_lux").unwrap().unit.as_str(), "lux");
}

/// A part and a report of a stream, by hand, with words of a later version.
#[test]
fn words_of_a_later_version_are_taken_carefully() {
    let (_, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let judgement = Raw::new().varint(1, 9).bytes(2, "beyond");
    let attribute = |value: Raw| Raw::new().message(1, value);
    let attributes = [
        attribute(Raw::new().varint(1, 2).bytes(2, "text")),
        attribute(Raw::new().varint(1, 2).bytes(9, "a value of a new type")),
    ];
    let attributes = Raw(attributes.into_iter().flat_map(|attribute| attribute.0).collect());
    let event = Raw::new().bytes(1, [1; 16]).bytes(3, "agent").bytes(4, "teleported").varint(5, 7);
    let part = Raw::new()
        .message(4, Raw::new().bytes(1, "cpu").bytes(9, "?"))
        .bytes(5, "cpu")
        .bytes(5, "main")
        .bytes(5, "usage_ratio")
        .message(6, Raw::new().varint(1, 0).varint(2, 1).packed(4, &[2]).bytes(5, [60]))
        .message(7, Raw::new().varint(2, 0).bytes(3, "cpu").message(4, attributes).message(6, judgement))
        .message(8, Raw::new().bytes(2, "cpu").message(3, Raw::new().varint(1, 8).bytes(2, "haunted")))
        .message(8, Raw::new().varint(40, 7).message(4, Raw::new().packed(1, &[0])))
        .message(9, event);
    // One value, the first of its reading: a one, then Golomb code of order 10.
    // 2500 zigzagged is 5000; less one, 4999 = 4 * 1024 + 903; 4 + 1 = 5 = 0b101:
    // two ones and a zero, then 01, then ten bits of 903.
    let bits: u32 = 0b1 | 0b011 << 1 | 0b01 << 4 | 903 << 6;
    let report = Raw::new()
        .varint(2, 41)
        .varint(5, 1)
        .signed(6, 1000)
        .signed(7, 500)
        .bytes(8, &bits.to_le_bytes()[..2])
        .message(10, Raw::new().packed(1, &[0]))
        .varint(11, 10_000);
    let heard = hub.handle(&Raw::new().message(3, part).message(4, report).0).unwrap();
    let FromAgent::Report { report, lane: Lane::Live } = &heard[0] else { panic!("{heard:?}") };
    assert_eq!((report.host, report.collector.as_ref()), (support::hello().host, "cpu"));
    assert_eq!(report.position, Position { epoch: support::hello().outbox_epoch, sequence: 41 });
    assert_eq!((report.moment.wall.millis(), report.moment.boot_millis, report.interval_millis), (1000, 500, 10_000));
    let scope = &report.scopes[0];
    assert_eq!(scope.outcome, Outcome::Failed { error: "haunted".into() });
    let facet = &scope.facets[0];
    assert_eq!(facet.reading("usage_ratio"), Some(0.25));
    assert_eq!(facet.attributes.len(), 1);
    assert_eq!(facet.assessment.as_ref().unwrap().status, Status::Unknown);
    assert_eq!((report.events[0].kind.as_str(), report.events[0].severity), ("teleported", Severity::Warning));
}

#[test]
fn the_handshake_comes_first_and_once() {
    let (agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let error = hub.handle(&agent.hello()).unwrap_err();
    assert_eq!(error.to_string(), "unexpected hello: the handshake is done");
    let error = HubLink::accept(&agent.heartbeat(&Heartbeat::default()), Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "unexpected message: the first one must be a hello");
    assert!(HubLink::accept(b"", Limits::default()).is_err());
    let mut agent = AgentLink::new(support::hello(), Arc::default());
    let resend = Resend {
        host: HostId::from_parts(0, 0),
        collector: String::new(),
        lane: Lane::Live,
        stream: 0,
        position: Position::default(),
    };
    for early in [hub.ack(1, &[1..=1].into_iter().collect()), hub.resend(&resend), hub.refresh(&[])] {
        assert!(matches!(agent.handle(&early), Err(LinkError::Unexpected { .. })));
    }
    // A refusal may come before the welcome.
    let refusal = agent.handle(&HubLink::close(CloseCode::Unauthorised, "revoked")).unwrap();
    assert_eq!(refusal, [FromHub::Close { code: CloseCode::Unauthorised, reason: "revoked".into() }]);
    agent.handle(&hub.welcome(&support::welcome(1))).unwrap();
    assert!(agent.handle(&hub.welcome(&support::welcome(1))).is_err());
    // A stream that is not open any more: the position tells what is meant.
    assert_eq!(
        agent.handle(&hub.resend(&resend)).unwrap(),
        [FromHub::Resend(Resend { host: support::hello().host, ..resend })]
    );
}
