//! What the fuzz targets share: a conversation that is valid, and a way to
//! spoil it. Random bytes alone would hardly ever get past the first frame, so
//! the input says which messages of the valid conversation to send, which of
//! their bytes to change, and what to say in between.

use std::sync::Arc;

use tomte_link::{
    AgentLink, CloseCode, Gap, Heartbeat, Hello, HubLink, Lane, Limits, Live, Resend, SettingsPush, SettingsResult,
    Welcome,
};
use tomte_model::{
    BootId, Catalogue, Facet, HostId, Moment, Outcome, Position, RangeSet, Report, Scope, Timestamp,
};

/// The hello of the valid conversation.
pub fn hello() -> Hello {
    Hello {
        protocol_min: tomte_link::PROTOCOL_MIN,
        protocol_max: tomte_link::PROTOCOL_MAX,
        agent_version: "1.2.3".into(),
        host: HostId::from_bytes([7; 16]),
        name: "nas".into(),
        boot_id: BootId(1),
        outbox_epoch: 1,
        instance: 2,
        features: vec!["x".into()],
        publishes_mqtt: false,
    }
}

/// The welcome of the valid conversation.
pub fn welcome() -> Welcome {
    Welcome {
        protocol: tomte_link::PROTOCOL_MAX,
        generation: 1,
        server_time: Timestamp::from_millis(1_800_000_000_000),
        hub_version: "1.2.3".into(),
        host_name: "nas".into(),
        heartbeat_millis: 15_000,
        features: Vec::new(),
    }
}

/// A report that changes a little with its sequence: values, a resource that
/// comes and goes, a scope that fails, a kind that no hub ships.
pub fn report(sequence: u64) -> Report {
    let mut facets = Vec::new();
    for mount in 0..2 + sequence % 2 {
        let mut facet = Facet::owner("filesystem", format!("/mnt/{mount}"), "main");
        facet.read("size_bytes", 1e12);
        facet.read("used_bytes", 1e11 + sequence as f64 * 4096.0);
        facet.read("used_ratio", 0.1 + sequence as f64 * 0.001);
        facet.text("type", "ext4");
        facet.flag("network", mount == 1);
        facets.push(facet);
    }
    let mut fish = Facet::owner("aquarium", "living room", "main");
    fish.read("water_celsius", 24.5);
    facets.push(fish);
    let second = match sequence % 3 {
        0 => Scope::failed("filesystem:/mnt/nas", Outcome::Failed { error: "timed out".into() }),
        _ => Scope::complete("filesystem:/mnt/nas", Vec::new()),
    };
    Report {
        host: HostId::from_bytes([7; 16]),
        collector: "filesystem".into(),
        position: Position { epoch: 1, sequence },
        boot_id: BootId(1),
        moment: Moment { wall: Timestamp::from_millis(1_800_000_000_000), boot_millis: sequence * 60_000 },
        clock_synchronised: true,
        interval_millis: 60_000,
        scopes: vec![Scope::complete("filesystem", facets), second],
        events: Vec::new(),
    }
}

/// What a good agent says after its hello.
pub fn agent_says() -> Vec<Vec<u8>> {
    let mut agent = AgentLink::new(hello(), Arc::new(Catalogue::builtin()));
    let (hub, _) = HubLink::accept(&agent.hello(), Limits::default()).expect("the hello is ours");
    agent.handle(&hub.welcome(&welcome())).expect("the welcome is ours");
    let mut messages = Vec::new();
    for sequence in 1..=6 {
        let lane = if sequence % 3 == 0 { Lane::Backlog } else { Lane::Live };
        messages.extend(agent.report(&report(sequence), lane).expect("the report is small"));
    }
    messages.push(agent.heartbeat(&Heartbeat { backlog_reports: 3, ..Heartbeat::default() }));
    messages.push(agent.gap(&Gap { epoch: 1, first: 2, last: 9, count: 3 }));
    messages.push(agent.settings_result(&SettingsResult { revision: 1, refused: vec![("a".into(), "b".into())] }));
    messages.push(agent.close(CloseCode::Normal, "good night"));
    messages.into_iter().map(Vec::from).collect()
}

/// What a good hub says, from its welcome on.
pub fn hub_says() -> Vec<Vec<u8>> {
    let agent = AgentLink::new(hello(), Arc::new(Catalogue::builtin()));
    let (hub, _) = HubLink::accept(&agent.hello(), Limits::default()).expect("the hello is ours");
    let mut ranges = RangeSet::default();
    ranges.insert_range(1..=4);
    ranges.insert_range(9..=10);
    let resend = |stream| Resend {
        host: HostId::from_bytes([7; 16]),
        collector: "filesystem".into(),
        lane: Lane::Live,
        stream,
        position: Position { epoch: 1, sequence: 1 },
    };
    let settings = SettingsPush { revision: 1, values: vec![("intervals.fast".into(), "\"5s\"".into())] };
    [
        hub.welcome(&welcome()),
        hub.ack(1, &ranges),
        hub.resend(&resend(0)),
        hub.resend(&resend(1)),
        hub.settings(&settings),
        hub.live(&Live { interval_millis: 1_000, lease_millis: 30_000 }),
        hub.refresh(&["cpu".into()]),
        hub.heartbeat(1, Timestamp::from_millis(1_800_000_000_000)),
        HubLink::close(CloseCode::Normal, "good night"),
    ]
    .into_iter()
    .map(Vec::from)
    .collect()
}

/// Says what the input wants said, until `listen` has had enough.
///
/// Each step of the input is a byte: below 128 the next valid message as it is,
/// below 192 that message with bytes changed, else bytes of the input's own.
pub fn converse(valid: &[Vec<u8>], mut input: &[u8], mut listen: impl FnMut(&[u8]) -> bool) {
    let mut next = 0;
    while let Some((&step, rest)) = input.split_first() {
        input = rest;
        let message = if step < 192 {
            let mut message = valid[next % valid.len()].clone();
            next += 1;
            if step >= 128 {
                for _ in 0..=step % 4 {
                    let Some((&[high, low, value], rest)) = input.split_first_chunk() else { break };
                    input = rest;
                    let at = usize::from(u16::from_be_bytes([high, low])) % message.len();
                    message[at] = value;
                }
            }
            message
        } else {
            let length = input.len().min(usize::from(step - 192) * 8);
            let (own, rest) = input.split_at(length);
            input = rest;
            own.to_vec()
        };
        if !listen(&message) {
            return;
        }
    }
}
