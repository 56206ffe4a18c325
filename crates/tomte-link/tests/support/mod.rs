//! What the tests and the example share: two ends that are connected, and
//! reports to send.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

pub mod arbitrary;
pub mod generated;
pub mod raw;

use std::sync::Arc;

use tomte_link::{AgentLink, FromAgent, Hello, HubLink, Lane, Limits, Welcome};
use tomte_model::{BootId, Catalogue, HostId, Moment, Position, Report, Scope, Timestamp};

pub fn hello() -> Hello {
    Hello {
        protocol_min: tomte_link::PROTOCOL_MIN,
        protocol_max: tomte_link::PROTOCOL_MAX,
        agent_version: "0.1.0".into(),
        host: HostId::from_parts(1_767_225_600_000, 7),
        name: "nas".into(),
        boot_id: BootId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
        outbox_epoch: 1_767_225_600_000,
        instance: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
        features: Vec::new(),
        publishes_mqtt: false,
    }
}

pub fn welcome(protocol: u32) -> Welcome {
    Welcome {
        protocol,
        generation: 3,
        server_time: Timestamp::from_millis(1_767_225_601_000),
        hub_version: "0.1.0".into(),
        host_name: "nas".into(),
        heartbeat_millis: 15_000,
        features: Vec::new(),
    }
}

/// Both ends after the handshake.
pub fn connected(catalogue: Catalogue, limits: Limits) -> (AgentLink, HubLink) {
    let mut agent = AgentLink::new(hello(), Arc::new(catalogue));
    let (hub, _) = HubLink::accept(&agent.hello(), limits).unwrap();
    agent.handle(&hub.welcome(&welcome(hub.protocol()))).unwrap();
    assert!(agent.is_welcomed());
    (agent, hub)
}

/// A report with the common fields filled in, the clocks going with the sequence.
pub fn report(collector: &'static str, sequence: u64, scopes: Vec<Scope>) -> Report {
    let millis = sequence as i64 * 10_000;
    Report {
        host: hello().host,
        collector: collector.into(),
        position: Position { epoch: hello().outbox_epoch, sequence },
        boot_id: hello().boot_id,
        moment: Moment {
            wall: Timestamp::from_millis(1_767_225_600_000 + millis),
            boot_millis: 5_000_000 + millis as u64,
        },
        clock_synchronised: true,
        interval_millis: 10_000,
        scopes,
        events: Vec::new(),
    }
}

/// What the hub hears of one report on a lane.
pub fn through(agent: &mut AgentLink, hub: &mut HubLink, report: &Report, lane: Lane) -> Vec<FromAgent> {
    let messages = agent.report(report, lane).unwrap();
    messages.iter().flat_map(|message| hub.handle(message).unwrap()).collect()
}

/// The only report among what the hub heard.
pub fn only_report(heard: Vec<FromAgent>) -> (Report, Lane) {
    let mut reports = heard.into_iter().filter_map(|said| match said {
        FromAgent::Report { report, lane } => Some((report, lane)),
        FromAgent::Described(_) => None,
        other => panic!("not a report: {other:?}"),
    });
    let only = reports.next().unwrap();
    assert!(reports.next().is_none());
    only
}
