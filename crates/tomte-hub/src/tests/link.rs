//! Agents on the link: who gets in, what is acknowledged, who displaces whom.

use tomte_api::host::Presence;
use tomte_link::{CloseCode, FromHub, SettingsResult};
use tomte_model::{EventKind, ResourceKey};
use tomte_store::history::{Budget, Points, Query, SeriesKey};

use super::support::*;
use crate::view::Enrolled;

over_both! {
    reports_are_kept_shown_and_acknowledged;
    a_report_that_comes_twice_counts_once;
    the_late_end_of_a_displaced_connection_changes_nothing;
    a_cloned_host_is_told_of_once;
    a_token_reports_for_its_own_host_and_those_granted;
    another_hosts_hello_is_refused;
    settings_are_pushed_and_refusals_audited;
    who_is_watched_is_asked_to_be_quick;
    a_revoked_token_ends_the_connection;
    what_makes_no_sense_ends_the_connection_and_nothing_else;
    a_base_that_is_unknown_is_asked_for_again;
    gaps_are_told_once;
}

fn reads(bench: &Bench, host: &Enrolled, disk: &str) -> Option<f64> {
    let key = ResourceKey::new("disk", disk.to_owned());
    bench.hub.with_latest(host.host, |_, latest| latest.resource(&key)?.facets["io"].readings.first().map(|r| r.1))?
}

async fn reports_are_kept_shown_and_acknowledged<D: Dial>(bench: Bench, dial: D) {
    let nas = bench.enrol(1, "nas").await;
    assert_eq!(bench.hub.host(nas.host).unwrap().presence, Presence::Never);
    let mut bus = bench.hub.subscribe();
    let mut agent = Agent::connect(&dial, &bench, &nas, 1).await;
    let report = agent.report(vec![disk("sda", 7.0)]).await;
    let view = bench.hub.host(nas.host).unwrap();
    assert_eq!((view.presence, view.resources, view.name.as_str()), (Presence::Online, 1, "nas"));
    assert!(view.aliases.iter().any(|alias| alias.as_str() == "machine-1"), "the machine's own name leads to it too");
    assert_eq!(reads(&bench, &nas, "sda"), Some(7.0));
    let series =
        SeriesKey { host: nas.host, resource: ResourceKey::new("disk", "sda"), field: "read_bytes_per_second".into() };
    let (from, to) = (report.moment.wall, report.moment.wall.plus(std::time::Duration::from_secs(1)));
    let query = Query { series: vec![series], from, to, step: None, budget: Budget::points(10) };
    let history = bench.hub.read(move |store| store.history.query(&query)).await.unwrap();
    assert_eq!(history.series[0].points, Points::Raw(vec![(report.moment.wall, 7.0)]));
    let kinds: Vec<_> = bench.events().into_iter().map(|stored| stored.event.kind.as_str().to_owned()).collect();
    assert_eq!(kinds, ["host_enrolled", "host_online"]);
    let mut heard = Vec::new();
    while let Some(next) = bus.try_next() {
        heard.push(format!("{next:?}"));
    }
    assert!(heard.iter().any(|change| change.contains("Resources") && change.contains("sda")), "{heard:?}");
    bench.stop().await;
}

async fn a_report_that_comes_twice_counts_once<D: Dial>(bench: Bench, dial: D) {
    let nas = bench.enrol(1, "nas").await;
    let mut agent = Agent::connect(&dial, &bench, &nas, 1).await;
    let report = agent.report(vec![disk("sda", 7.0)]).await;
    // It was stored, and the ack was lost with the connection.
    let mut again = Agent::connect(&dial, &bench, &nas, 1).await;
    again.send(&report).await;
    again.acked(report.position).await;
    let counters = bench.hub.counters();
    assert_eq!((counters["reports"], counters["duplicate_reports"]), (1, 1));
    assert_eq!(bench.hub.store.history.stats().unwrap().waiting, 1);
    bench.stop().await;
}

async fn the_late_end_of_a_displaced_connection_changes_nothing<D: Dial>(bench: Bench, dial: D) {
    let nas = bench.enrol(1, "nas").await;
    let mut old = Agent::connect(&dial, &bench, &nas, 1).await;
    old.report(vec![disk("sda", 1.0)]).await;
    let mut new = Agent::connect(&dial, &bench, &nas, 1).await;
    assert_eq!(old.end().await.0, CloseCode::Displaced);
    drop(old);
    new.sequence = 1;
    new.report(vec![disk("sda", 2.0)]).await;
    assert!(bench.hub.is_connected(nas.host));
    assert_eq!(bench.hub.host(nas.host).unwrap().presence, Presence::Online);
    bench.hub.sweep();
    assert!(bench.events_of(&EventKind::HOST_OFFLINE).is_empty());
    assert_eq!(bench.events_of(&EventKind::HOST_ONLINE).len(), 1);
    assert!(bench.events_of(&EventKind::IDENTITY_CLASH).is_empty(), "it displaced itself");
    bench.stop().await;
}

async fn a_cloned_host_is_told_of_once<D: Dial>(bench: Bench, dial: D) {
    let nas = bench.enrol(1, "nas").await;
    let mut connections = Vec::new();
    for instance in [1, 2, 1, 2, 1, 2] {
        bench.clock.seconds(5);
        connections.push(Agent::connect(&dial, &bench, &nas, instance).await);
    }
    assert_eq!(bench.events_of(&EventKind::IDENTITY_CLASH).len(), 1);
    assert!(bench.events_of(&EventKind::HOST_OFFLINE).is_empty());
    for displaced in &mut connections[..5] {
        assert_eq!(displaced.end().await.0, CloseCode::Displaced);
    }
    bench.stop().await;
}

async fn a_token_reports_for_its_own_host_and_those_granted<D: Dial>(bench: Bench, dial: D) {
    let pve = bench.enrol(1, "pve1").await;
    let other = bench.enrol(2, "nas").await;
    let cluster = bench.hub.add_via_host(&Bench::admin(), "cluster".parse().unwrap()).await.unwrap();
    let mut agent = Agent::connect(&dial, &bench, &pve, 1).await;
    let mut foreign = agent.make(vec![disk("sda", 1.0)]);
    foreign.host = other.host;
    agent.send(&foreign).await;
    let (code, reason) = agent.end().await;
    assert_eq!(code, CloseCode::Forbidden);
    assert!(reason.contains("does not cover"), "{reason}");
    assert_eq!(reads(&bench, &other, "sda"), None);
    let audit = bench.audit("link.report");
    assert_eq!((audit.len(), audit[0].actor.as_str(), audit[0].target.as_deref()), (1, "host:pve1", Some("nas")));
    let events = bench.events_of(&EventKind::TOKEN_REFUSED);
    assert_eq!((events.len(), events[0].host), (1, Some(pve.host)));
    // Granted, it may.
    bench.hub.grant(&Bench::admin(), pve.host, cluster).await.unwrap();
    let mut agent = Agent::connect(&dial, &bench, &pve, 1).await;
    agent.sequence = 1;
    let mut report = agent.make(vec![disk("sda", 5.0)]);
    report.host = cluster;
    agent.send(&report).await;
    agent.acked(report.position).await;
    let view = bench.hub.host(cluster).unwrap();
    assert_eq!((view.presence, view.resources, view.via.as_slice()), (Presence::Online, 1, [pve.host].as_slice()));
    // Taken back, it may not.
    bench.hub.ungrant(&Bench::admin(), pve.host, cluster).await.unwrap();
    report.position.sequence += 1;
    agent.send(&report).await;
    assert_eq!(agent.end().await.0, CloseCode::Forbidden);
    bench.stop().await;
}

async fn another_hosts_hello_is_refused<D: Dial>(bench: Bench, dial: D) {
    let nas = bench.enrol(1, "nas").await;
    let other = bench.enrol(2, "other").await;
    let transport = dial.dial(&bench, &nas).await;
    let mut agent = Agent::hello(&bench, transport, hello(other.host, 1)).await;
    assert_eq!(agent.end().await.0, CloseCode::Forbidden);
    assert_eq!(bench.audit("link.report").len(), 1);
    assert_eq!(bench.events_of(&EventKind::TOKEN_REFUSED).len(), 1);
    assert_eq!(bench.hub.host(other.host).unwrap().presence, Presence::Never);
    bench.stop().await;
}

async fn settings_are_pushed_and_refusals_audited<D: Dial>(bench: Bench, dial: D) {
    let nas = bench.enrol(1, "nas").await;
    let mut agent = Agent::connect(&dial, &bench, &nas, 1).await;
    let values = |text: &str| [("intervals.fast".to_owned(), text.to_owned())].into();
    let bad = bench.hub.set_host_settings(&Bench::admin(), nas.host, values("5s")).await;
    assert!(bad.is_err(), "not TOML");
    let revision = bench.hub.set_host_settings(&Bench::admin(), nas.host, values("\"5s\"")).await.unwrap();
    let FromHub::Settings(push) = agent.next().await.unwrap() else { panic!("settings") };
    assert_eq!((push.revision, push.values.len()), (revision, 1));
    let refused = vec![("intervals.fast".to_owned(), "the host's own file wins".to_owned())];
    for _ in 0..2 {
        let answer = agent.link.settings_result(&SettingsResult { revision, refused: refused.clone() });
        tomte_link::Sender::send(&mut agent.sender, answer).await.unwrap();
    }
    agent.heartbeat().await;
    let audit = bench.audit("host.settings.refused");
    assert_eq!((audit.len(), audit[0].details["key"].as_str()), (1, "intervals.fast"), "told once");
    let settings = bench.hub.host_settings(nas.host).unwrap();
    assert_eq!((settings.answered_revision, settings.refused.len()), (Some(revision), 1));
    // A new connection is told again.
    let mut agent = Agent::connect(&dial, &bench, &nas, 1).await;
    assert!(matches!(agent.next().await.unwrap(), FromHub::Settings(push) if push.revision == revision));
    bench.stop().await;
}

async fn who_is_watched_is_asked_to_be_quick<D: Dial>(bench: Bench, dial: D) {
    let nas = bench.enrol(1, "nas").await;
    let other = bench.enrol(2, "other").await;
    let mut agent = Agent::connect(&dial, &bench, &nas, 1).await;
    let mut unwatched = Agent::connect(&dial, &bench, &other, 1).await;
    let slow = bench.hub.watch(&[nas.host], std::time::Duration::from_secs(5));
    let quick = bench.hub.watch(&[nas.host], std::time::Duration::from_millis(1));
    let mut intervals = Vec::new();
    while intervals.last() != Some(&1_000) {
        let FromHub::Live(live) = agent.next().await.unwrap() else { panic!("a lease") };
        assert_eq!(live.lease_millis, 30_000);
        intervals.push(live.interval_millis);
    }
    drop(quick);
    bench.hub.renew_leases();
    assert!(matches!(agent.next().await.unwrap(), FromHub::Live(live) if live.interval_millis == 5_000));
    drop(slow);
    bench.hub.renew_leases();
    let operator = crate::Caller { actor: crate::Actor::hub(), role: tomte_api::account::Role::Operator };
    bench.hub.refresh(&operator.operator().unwrap(), nas.host, vec!["disk".into()]).await.unwrap();
    assert!(matches!(agent.next().await.unwrap(), FromHub::Refresh { collectors } if collectors == ["disk"]));
    // The other one heard nothing of all this.
    unwatched.heartbeat().await;
    bench.stop().await;
}

async fn a_revoked_token_ends_the_connection<D: Dial>(bench: Bench, dial: D) {
    let nas = bench.enrol(1, "nas").await;
    let mut agent = Agent::connect(&dial, &bench, &nas, 1).await;
    bench.hub.revoke_tokens(&Bench::admin(), nas.host).await.unwrap();
    assert_eq!(agent.end().await.0, CloseCode::Unauthorised);
    assert!(bench.hub.fleet.token(&crate::secrets::hash(nas.token.as_bytes())).is_none());
    bench.stop().await;
}

async fn what_makes_no_sense_ends_the_connection_and_nothing_else<D: Dial>(bench: Bench, dial: D) {
    let nas = bench.enrol(1, "nas").await;
    let other = bench.enrol(2, "other").await;
    let mut good = Agent::connect(&dial, &bench, &other, 1).await;
    let hostile: [Vec<u8>; 4] =
        [vec![0xff; 40], vec![0], b"GET / HTTP/1.1\r\n".to_vec(), vec![0x80; tomte_link::MAX_MESSAGE]];
    for message in hostile {
        let mut agent = Agent::connect(&dial, &bench, &nas, 1).await;
        tomte_link::Sender::send(&mut agent.sender, message.into()).await.unwrap();
        let (code, reason) = agent.end().await;
        assert!(matches!(code, CloseCode::Malformed | CloseCode::TooLarge), "{code:?}: {reason}");
        assert!(!reason.is_empty());
    }
    // Instead of a hello, too; and over the limit.
    let mut truncated = hello_bytes(&nas);
    truncated.truncate(truncated.len() / 2);
    for message in [truncated, vec![0; tomte_link::MAX_MESSAGE + 1]] {
        let (mut sender, mut receiver) = tomte_link::Transport::split(dial.dial(&bench, &nas).await);
        // The hub may end it before all of it was sent.
        let _ = tomte_link::Sender::send(&mut sender, message.into()).await;
        while matches!(tomte_link::Receiver::recv(&mut receiver).await, Some(Ok(_))) {}
    }
    good.report(vec![disk("sda", 3.0)]).await;
    assert!(bench.hub.counters()["link_malformed"] >= 5, "{:?}", bench.hub.counters());
    bench.stop().await;
}

fn hello_bytes(host: &Enrolled) -> Vec<u8> {
    let link = tomte_link::AgentLink::new(hello(host.host, 1), std::sync::Arc::default());
    link.hello().to_vec()
}

async fn a_base_that_is_unknown_is_asked_for_again<D: Dial>(bench: Bench, dial: D) {
    let nas = bench.enrol(1, "nas").await;
    let mut agent = Agent::connect(&dial, &bench, &nas, 1).await;
    agent.report(vec![disk("sda", 1.0)]).await;
    // This one is lost on the way; what comes after builds on it.
    let lost = agent.make(vec![disk("sda", 2.0)]);
    let _ = agent.link.report(&lost, tomte_link::Lane::Live).unwrap();
    let next = agent.make(vec![disk("sda", 3.0)]);
    agent.send(&next).await;
    let FromHub::Resend(resend) = agent.next().await.unwrap() else { panic!("a resend") };
    assert_eq!(resend.position, next.position);
    agent.send(&next).await;
    agent.acked(next.position).await;
    assert_eq!(reads(&bench, &nas, "sda"), Some(3.0));
    bench.stop().await;
}

async fn gaps_are_told_once<D: Dial>(bench: Bench, dial: D) {
    let nas = bench.enrol(1, "nas").await;
    for _ in 0..2 {
        let mut agent = Agent::connect(&dial, &bench, &nas, 1).await;
        let gap = agent.link.gap(&tomte_link::Gap { epoch: 1, first: 1, last: 5, count: 5 });
        tomte_link::Sender::send(&mut agent.sender, gap).await.unwrap();
        agent.heartbeat().await;
    }
    let events = bench.events_of(&EventKind::GAP);
    assert_eq!((events.len(), events[0].event.details["count"].as_str()), (1, "5"));
    bench.hub.store.history.flush().unwrap();
    assert!(bench.hub.store.history.received(nas.host, 1).contains(5));
    bench.stop().await;
}
