//! What goes in at the agent comes out at the hub.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::arbitrary::{expected, series};
use tomte_link::{AgentLink, FromAgent, FromHub, HubLink, Lane, Limits};
use tomte_model::catalogue::Resolution;
use tomte_model::report::Outcome;
use tomte_model::{Catalogue, Facet, HostId, Report, Scope};

#[allow(unreachable_pub)]
mod support;

/// The report with readings sorted, so that their order does not matter.
fn sorted(report: &Report) -> Report {
    let mut report = report.clone();
    for facet in report.scopes.iter_mut().flat_map(|scope| &mut scope.facets) {
        facet.readings.sort_by(|a, b| a.0.cmp(&b.0));
    }
    report
}

/// What must arrive of a report whose kinds are in the catalogue.
fn declared(report: &Report) -> Report {
    let catalogue = Catalogue::builtin();
    let mut report = expected(report);
    for facet in report.scopes.iter_mut().flat_map(|scope| &mut scope.facets) {
        for (name, value) in &mut facet.readings {
            let resolution = catalogue.field(&facet.resource.kind, name).map(|field| field.resolution);
            if let Some(rounded) = resolution.and_then(|resolution| resolution.round(*value)) {
                *value = rounded;
            }
        }
    }
    report
}

/// Equal, but for what a declared resolution may change.
fn close(arrived: &Report, sent: &Report) -> Result<(), TestCaseError> {
    let (mut arrived, mut sent) = (sorted(arrived), declared(sent));
    for report in [&mut arrived, &mut sent] {
        for facet in report.scopes.iter_mut().flat_map(|scope| &mut scope.facets) {
            for (_, value) in &mut facet.readings {
                // A value too large for its resolution travels as it is; then
                // it may happen that a smaller one, later, does too.
                *value = Resolution::BASIS_POINT.round(*value).unwrap_or(*value);
            }
        }
    }
    prop_assert_eq!(arrived, sent);
    Ok(())
}

proptest! {
    #[test]
    fn any_reports_arrive(reports in series(), lanes in prop::collection::vec(any::<bool>(), 20)) {
        let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
        for (report, live) in reports.iter().zip(lanes) {
            let lane = if live { Lane::Live } else { Lane::Backlog };
            let heard = support::through(&mut agent, &mut hub, report, lane);
            let (arrived, came_on) = support::only_report(heard);
            prop_assert_eq!(came_on, lane);
            close(&arrived, report)?;
        }
    }

    #[test]
    fn batches_arrive_in_order(reports in series()) {
        let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
        let (messages, refused) = agent.reports(&reports, Lane::Backlog);
        prop_assert!(refused.is_empty());
        let heard: Vec<_> = messages.iter().flat_map(|message| hub.handle(message).unwrap()).collect();
        let arrived: Vec<_> = heard
            .into_iter()
            .filter_map(|said| match said { FromAgent::Report { report, .. } => Some(report), _ => None })
            .collect();
        prop_assert_eq!(arrived.len(), reports.len());
        for (arrived, report) in arrived.iter().zip(&reports) {
            close(arrived, report)?;
        }
    }

    #[test]
    fn stored_reports_are_exact(reports in series()) {
        for report in reports {
            let stored = tomte_link::encode_report(&report);
            prop_assert_eq!(sorted(&tomte_link::decode_report(&stored).unwrap()), expected(&report));
        }
    }

    #[test]
    fn lost_messages_cost_a_resend_and_nothing_else(
        reports in series(),
        lost in prop::collection::vec(prop::bool::weighted(0.3), 200),
        both in any::<bool>(),
    ) {
        let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
        let mut lost = lost.into_iter();
        let mut arrived = BTreeMap::new();
        for (place, report) in reports.iter().enumerate() {
            let lane = if both && place % 2 == 1 { Lane::Backlog } else { Lane::Live };
            deliver(&mut agent, &mut hub, &reports, report, lane, &mut arrived, &mut || lost.next().unwrap_or(false));
        }
        // What was lost outright is sent again when no ack came.
        for report in &reports {
            if !arrived.contains_key(&report.position.sequence) {
                deliver(&mut agent, &mut hub, &reports, report, Lane::Live, &mut arrived, &mut || false);
            }
        }
        prop_assert_eq!(arrived.len(), reports.len());
        for report in &reports {
            close(&arrived[&report.position.sequence], report)?;
        }
    }
}

/// Sends a report, and again whatever the hub asks for, while messages get lost.
fn deliver(
    agent: &mut AgentLink,
    hub: &mut HubLink,
    all: &[Report],
    report: &Report,
    lane: Lane,
    arrived: &mut BTreeMap<u64, Report>,
    lost: &mut impl FnMut() -> bool,
) {
    let mut queue = vec![(report.clone(), lane)];
    while let Some((report, lane)) = queue.pop() {
        for message in agent.report(&report, lane).unwrap() {
            if lost() {
                continue;
            }
            for said in hub.handle(&message).unwrap() {
                match said {
                    FromAgent::Report { report, .. } => {
                        assert!(arrived.insert(report.position.sequence, report).is_none(), "twice");
                    }
                    FromAgent::BaseUnknown(resend) => {
                        for heard in agent.handle(&hub.resend(&resend)).unwrap() {
                            let FromHub::Resend(asked) = heard else { panic!("{heard:?}") };
                            assert_eq!((asked.lane, asked.position), (resend.lane, resend.position));
                            let again = all.iter().find(|report| report.position == asked.position).unwrap();
                            assert_eq!((asked.host, asked.collector.as_str()), (again.host, again.collector.as_ref()));
                            queue.push((again.clone(), asked.lane));
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

fn disk(name: &str, values: &[(&'static str, f64)]) -> Facet {
    let mut facet = Facet::owner("disk", name, "io");
    for (field, value) in values {
        facet.read(*field, *value);
    }
    facet
}

fn check(agent: &mut AgentLink, hub: &mut HubLink, report: &Report) -> usize {
    let messages = agent.report(report, Lane::Live).unwrap();
    let heard = messages.iter().flat_map(|message| hub.handle(message).unwrap()).collect();
    assert_eq!(sorted(&support::only_report(heard).0), sorted(report));
    messages.iter().map(|message| message.len()).sum()
}

#[test]
fn what_does_not_change_is_not_sent_again() {
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let report = |sequence, value| {
        let mut facet = disk("wwn-0x5000c500", &[("read_bytes_per_second", value), ("utilisation_ratio", 0.25)]);
        facet.text("model", "ST4000VN008-2DR166");
        facet.assessment = Some(tomte_model::Assessment::ok());
        let broken = Outcome::Denied { error: "permission denied".into(), cure: "add the agent to disk".into() };
        support::report("disk", sequence, vec![Scope::complete("io", vec![facet]), Scope::failed("smart", broken)])
    };
    let first = check(&mut agent, &mut hub, &report(1, 1000.0));
    let second = check(&mut agent, &mut hub, &report(2, 2000.0));
    let third = check(&mut agent, &mut hub, &report(3, 2000.0));
    assert!(first > 100 && second <= 15 && third <= 13, "{first} {second} {third}");
}

#[test]
fn readings_come_and_go() {
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let mut sequence = 0;
    let mut send = |facets: Vec<Facet>| {
        sequence += 1;
        check(&mut agent, &mut hub, &support::report("disk", sequence, vec![Scope::complete("io", facets)]))
    };
    let all = [("reads_per_second", 4.0), ("read_await_seconds", 0.000_25), ("queue_length", 0.5)];
    send(vec![disk("sda", &all), disk("sdb", &all)]);
    // Idle: no await. The field is missing, not zero.
    let missing = send(vec![disk("sda", &[all[0], all[2]]), disk("sdb", &all)]);
    let again = send(vec![disk("sda", &all), disk("sdb", &all)]);
    assert!(missing < 20 && again < 20, "{missing} {again}");
    send(vec![disk("sdb", &all)]);
    let back = send(vec![disk("sda", &all), disk("sdb", &all)]);
    assert!(back < 30, "what comes back is still known: {back}");
    send(vec![disk("sdb", &all), disk("sda", &all)]);
    send(vec![disk("sda", &[("size_bytes", 4e12)]), disk("sdb", &[])]);
    send(Vec::new());
    send(vec![disk("sda", &all)]);
}

#[test]
fn values_that_fit_no_step_travel_as_they_are() {
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    for (sequence, value) in [0.5, 1e300, -1e300, 0.25, f64::MIN_POSITIVE, 0.5].into_iter().enumerate() {
        let mut facet = Facet::owner("cpu", "cpu", "main");
        facet.read("usage_ratio", value);
        facet.read("undeclared_by_anybody", value * 1e-9);
        let report = support::report("cpu", sequence as u64 + 1, vec![Scope::complete("cpu", vec![facet])]);
        let (arrived, _) = support::only_report(support::through(&mut agent, &mut hub, &report, Lane::Live));
        let facet = &arrived.scopes[0].facets[0];
        assert!((facet.reading("usage_ratio").unwrap() - value).abs() <= 0.000_05, "{value}");
        assert_eq!(facet.reading("undeclared_by_anybody"), Some(value * 1e-9));
    }
}

#[test]
fn lanes_do_not_mind_each_other() {
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let report = |sequence, value| {
        let facet = disk("sda", &[("read_bytes_per_second", value)]);
        support::report("disk", sequence, vec![Scope::complete("io", vec![facet])])
    };
    // Encoded first, but held up: live overtakes the backlog on the wire.
    let (backlog, _) = agent.reports(&[report(1, 1.0), report(2, 2.0)], Lane::Backlog);
    let live = [report(50, 50.0), report(51, 51.0)].map(|report| agent.report(&report, Lane::Live).unwrap());
    let mut sequences = Vec::new();
    for message in live.iter().flatten().chain(&backlog) {
        for said in hub.handle(message).unwrap() {
            let FromAgent::Report { report, lane } = said else { panic!("{said:?}") };
            sequences.push((report.position.sequence, lane));
        }
    }
    assert_eq!(sequences, [(50, Lane::Live), (51, Lane::Live), (1, Lane::Backlog), (2, Lane::Backlog)]);
}

#[test]
fn more_hosts_and_collectors_than_streams_still_arrive() {
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let streams = Limits::default().streams as u64;
    for sequence in 1..=3 * streams {
        let mut report = support::report("disk", sequence, vec![Scope::complete("io", vec![disk("sda", &[])])]);
        report.host = HostId::from_parts(0, u128::from(sequence % (streams + 7)));
        check(&mut agent, &mut hub, &report);
    }
}

#[test]
fn names_that_keep_changing_do_not_pile_up() {
    let small = Limits { memory_bytes: 512 * 1024, ..Limits::default() };
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), small);
    for sequence in 1..=1_000 {
        let facets = (0..20).map(|n| disk(&format!("{sequence}-{n}"), &[("size_bytes", 1.0)])).collect();
        check(&mut agent, &mut hub, &support::report("disk", sequence, vec![Scope::complete("io", facets)]));
    }
}

#[test]
fn a_large_host_fits() {
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let report = |sequence, value: f64| {
        let scopes = (0..10_000)
            .map(|n| {
                let name = format!("/var/lib/containers/storage/overlay/{n:064x}/merged");
                let mut facet = Facet::owner("filesystem", &name, "main");
                for field in ["size_bytes", "used_bytes", "available_bytes", "used_ratio", "inodes", "inodes_used"] {
                    facet.read(field, value + f64::from(n));
                }
                facet.text("device", format!("/dev/mapper/vg-{n}"));
                facet.text("type", "ext4");
                Scope::complete(format!("filesystem:{name}"), vec![facet])
            })
            .collect();
        support::report("filesystem", sequence, scopes)
    };
    check(&mut agent, &mut hub, &report(1, 1e9));
    let delta = check(&mut agent, &mut hub, &report(2, 1e9 + 4096.0));
    assert!(delta < 250_000, "{delta}");
    check(&mut agent, &mut hub, &report(3, 1.5e9));
}

#[test]
fn a_report_over_the_limits_is_refused_and_the_next_one_is_not() {
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let facets = |count: usize| {
        let facets = (0..count).map(|n| disk(&n.to_string(), &[("size_bytes", 1.0)])).collect();
        vec![Scope::complete("io", facets)]
    };
    check(&mut agent, &mut hub, &support::report("disk", 1, facets(2)));
    let error = agent.report(&support::report("disk", 2, facets(30_000)), Lane::Live).unwrap_err();
    assert_eq!(error.to_string(), "facets of a report: 30000 is over the limit of 20000");
    check(&mut agent, &mut hub, &support::report("disk", 3, facets(2)));
    // Too much to remember in one lane: others are forgotten first.
    let heavy = |sequence, collector| {
        let mut facet = disk("sda", &[("size_bytes", 1.0)]);
        (0..700).for_each(|n| facet.text(format!("text{n}"), "x".repeat(16_000)));
        support::report(collector, sequence, vec![Scope::complete("io", vec![facet])])
    };
    let over = agent.report(&heavy(4, "a"), Lane::Live).unwrap_err();
    assert!(over.to_string().starts_with("bytes of a message"), "{over}");
    let heavy = |sequence, collector| {
        let mut facets = Vec::new();
        for n in 0..12 {
            let mut facet = disk(&n.to_string(), &[("size_bytes", 1.0)]);
            (0..50).for_each(|n| facet.text(format!("text{n}"), "x".repeat(16_000)));
            facets.push(facet);
        }
        support::report(collector, sequence, vec![Scope::complete("io", facets)])
    };
    for (sequence, collector) in (5..).zip(["a", "b", "a", "b", "c"]) {
        check(&mut agent, &mut hub, &heavy(sequence, collector));
    }
}

#[test]
fn texts_too_long_for_the_wire_are_cut() {
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), Limits::default());
    let mut facet = disk("sda", &[]);
    facet.text("model", "ä".repeat(20_000));
    let report = support::report("disk", 1, vec![Scope::complete("io", vec![facet])]);
    let (arrived, _) = support::only_report(support::through(&mut agent, &mut hub, &report, Lane::Live));
    let Some(tomte_model::Value::Text(text)) = arrived.scopes[0].facets[0].attribute("model") else { panic!() };
    assert!(text.len() <= Limits::default().text_bytes && text.ends_with('…'));
}

#[test]
fn a_lane_that_is_forgotten_takes_nothing_and_can_be_used_again() {
    let small = Limits { memory_bytes: 1_000_000, ..Limits::default() };
    let (mut agent, mut hub) = support::connected(Catalogue::builtin(), small);
    let heavy = |sequence, collector| {
        let mut facet = disk("sda", &[("size_bytes", 1.0)]);
        (0..40).for_each(|n| facet.text(format!("text{n}"), "x".repeat(16_000)));
        support::report(collector, sequence, vec![Scope::complete("io", vec![facet])])
    };
    for (sequence, collector) in (1..).zip(["a", "b", "c", "a", "a"]) {
        assert_eq!(hub.handle(&agent.forget(Lane::Live)).unwrap(), []);
        check(&mut agent, &mut hub, &heavy(sequence, collector));
    }
    assert!(agent.report(&heavy(9, "b"), Lane::Live).unwrap().iter().any(|message| hub.handle(message).is_err()));
}
