//! What the hub says to a broker and hears of it, without one.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tomte_model::EventKind;
use tomte_mqtt::protocol::{Publish, Qos};

use tomte_link::{FromHub, Twin};

use super::support::{Agent, Bench, disk, hello};
use crate::config::MqttConfig;
use crate::sinks::mqtt::{Hosts, KeptHosts};
use crate::sources::systant::Systant;
use crate::view::Enrolled;

fn hosts(bench: &Bench, kept: Option<&[u8]>) -> Hosts {
    let config = MqttConfig { url: "mqtt://broker.lan".into(), ..MqttConfig::default() };
    let mut hosts = Hosts::new(&bench.hub, &config, KeptHosts::read(kept));
    hosts.connected();
    hosts
}

/// An agent that is let in.
async fn greet(bench: &Bench, host: &Enrolled, has_broker: bool) -> Agent<Twin> {
    let mut said = hello(host.host, 1);
    said.publishes_mqtt = has_broker;
    let mut agent = Agent::hello(bench, bench.twin(host.host), said).await;
    assert!(matches!(agent.next().await, Ok(FromHub::Welcome(_))));
    agent
}

const READ: &str = "tomte/nas/disk/sda/read_bytes_per_second";

/// Everything that is due.
fn due(bench: &Bench, hosts: &mut Hosts) -> Vec<(String, String)> {
    hosts.look_at_all();
    let mut all = Vec::new();
    loop {
        let some = hosts.due(bench.hub.moment());
        if some.is_empty() {
            return all;
        }
        assert!(some.len() < 200, "batches are bounded");
        let text = |message: Publish| (message.topic, String::from_utf8(message.payload.to_vec()).unwrap());
        all.extend(some.into_iter().map(text));
    }
}

fn said(messages: &[(String, String)], topic: &str) -> Vec<String> {
    messages.iter().filter(|(known, _)| known == topic).map(|(_, payload)| payload.clone()).collect()
}

#[tokio::test]
async fn the_hub_speaks_for_hosts_without_a_broker_and_hands_over_both_ways() {
    let bench = Bench::open();
    let nas = bench.enrol(1, "nas").await;
    let mut hosts = hosts(&bench, None);
    assert!(due(&bench, &mut hosts).is_empty(), "nobody knows yet what its agent does");

    let mut agent = greet(&bench, &nas, false).await;
    agent.report(vec![disk("sda", 5.0)]).await;
    let messages = due(&bench, &mut hosts);
    assert_eq!(said(&messages, "tomte/nas/availability"), ["online"]);
    assert_eq!(said(&messages, READ), ["5"]);
    let id = nas.host.to_string().to_lowercase();
    let topic = format!("homeassistant/sensor/tomte_{id}/disk-sda-read_bytes_per_second/config");
    let config: Json = serde_json::from_str(&said(&messages, &topic)[0]).unwrap();
    let both = json!([{ "topic": "tomte/@hub/availability" }, { "topic": "tomte/nas/availability" }]);
    assert_eq!(config["availability"], both, "it hangs on both");
    drop(agent);

    let agent = greet(&bench, &nas, true).await;
    let messages = due(&bench, &mut hosts);
    assert_eq!(messages, [("tomte/nas/availability".to_owned(), "offline".to_owned())], "and nothing is emptied");
    let online =
        Publish { retain: false, ..Publish::retained("tomte/nas/availability".into(), "online", Qos::AtMostOnce) };
    hosts.heard(&online);
    bench.clock.advance(Duration::from_secs(2 * 24 * 3600));
    assert!(due(&bench, &mut hosts).is_empty(), "the agent is on this broker: its topics are its own");
    drop(agent);

    let mut agent = greet(&bench, &nas, false).await;
    agent.sequence = 1;
    agent.report(vec![disk("sda", 7.0)]).await;
    let messages = due(&bench, &mut hosts);
    assert_eq!(said(&messages, READ), ["7"]);
    let again: Json = serde_json::from_str(&said(&messages, &topic)[0]).unwrap();
    assert_eq!(again["unique_id"], config["unique_id"]);
}

#[tokio::test]
async fn a_host_whose_agent_uses_another_broker_is_tidied_away_after_a_day() {
    let bench = Bench::open();
    let nas = bench.enrol(1, "nas").await;
    let mut agent = greet(&bench, &nas, false).await;
    agent.report(vec![disk("sda", 5.0)]).await;
    let mut before = hosts(&bench, None);
    due(&bench, &mut before);
    drop(agent);
    let _agent = greet(&bench, &nas, true).await;
    due(&bench, &mut before);
    let kept = before.kept_if_changed().unwrap();
    let mut after = hosts(&bench, Some(&kept));
    assert!(due(&bench, &mut after).is_empty());
    bench.clock.advance(Duration::from_secs(24 * 3600));
    let mut messages = due(&bench, &mut after);
    bench.clock.seconds(5);
    messages.extend(due(&bench, &mut after));
    assert_eq!(said(&messages, READ), [""]);
}

#[tokio::test]
async fn after_a_restart_the_hub_goes_on_for_those_it_spoke_for() {
    let bench = Bench::open();
    let (nas, attic) = (bench.enrol(1, "nas").await, bench.enrol(2, "attic").await);
    let mut agent = greet(&bench, &nas, false).await;
    agent.report(vec![disk("sda", 5.0)]).await;
    let _other = greet(&bench, &attic, true).await;
    let mut before = hosts(&bench, None);
    assert!(due(&bench, &mut before).iter().all(|(topic, _)| !topic.contains("attic")));
    let kept = before.kept_if_changed().unwrap();
    drop(agent);
    for host in [nas.host, attic.host] {
        // As a restart leaves it.
        bench.hub.fleet.get(host).unwrap().lock().publishes_mqtt = None;
    }
    bench.clock.advance(Duration::from_secs(600));
    let mut after = hosts(&bench, Some(&kept));
    let messages = due(&bench, &mut after);
    assert_eq!(said(&messages, "tomte/nas/availability"), ["offline"], "it has not been heard for long");
    assert!(said(&messages, "tomte/attic/availability").is_empty());
}

#[tokio::test]
async fn a_renamed_host_moves_and_a_removed_one_leaves_nothing() {
    let bench = Bench::open();
    let nas = bench.enrol(1, "nas").await;
    let mut agent = greet(&bench, &nas, false).await;
    agent.report(vec![disk("sda", 5.0)]).await;
    let mut hosts = hosts(&bench, None);
    due(&bench, &mut hosts);
    bench.hub.rename_host(&Bench::admin(), nas.host, "storage".parse().unwrap()).await.unwrap();
    let mut messages = due(&bench, &mut hosts);
    bench.clock.seconds(20);
    messages.extend(due(&bench, &mut hosts));
    assert_eq!(said(&messages, READ), [""]);
    assert_eq!(
        said(&messages, "tomte/storage/disk/sda/read_bytes_per_second"),
        ["5"; 2],
        "again, since Home Assistant knew the entity"
    );
    bench.hub.remove_host(&Bench::admin(), nas.host).await.unwrap();
    let mut messages = due(&bench, &mut hosts);
    bench.clock.seconds(5);
    messages.extend(due(&bench, &mut hosts));
    assert_eq!(said(&messages, "tomte/storage/disk/sda/read_bytes_per_second"), [""]);
    assert!(messages.iter().all(|(_, payload)| payload.is_empty()));
    assert!(messages.iter().any(|(topic, _)| topic.ends_with("/config")));
}

fn stats(payload: &str) -> Publish {
    let payload = payload.as_bytes().to_vec().into();
    Publish { topic: String::new(), payload, qos: Qos::AtMostOnce, retain: false }
}

/// Until all that was said has been taken in or refused.
async fn settled(bench: &Bench, count: u64) {
    let counted = || {
        let counters = bench.hub.counters();
        counters["systant_messages"] + counters["systant_refused"]
    };
    while counted() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn systants_hosts_are_shown_and_come_and_go() {
    let bench = Bench::open();
    let systant = Systant::new(&bench.hub, 10);
    systant.heard("Old Box", &stats(r#"{"cpu":{"avg1":0.5},"disk":{"/":{"used":1},"/home":{"used":2}}}"#));
    settled(&bench, 1).await;
    let host = bench.hub.find_host("old-box").unwrap();
    let view = bench.hub.host(host).unwrap();
    assert_eq!(view.external_ids["systant"], "Old Box");
    assert_eq!(view.presence, tomte_api::host::Presence::Online);
    let keys = || {
        let keys = bench
            .hub
            .with_latest(host, |_, latest| latest.resources().map(|(key, _)| key.to_string()).collect::<Vec<_>>());
        keys.unwrap()
    };
    assert_eq!(keys(), ["systant_cpu:cpu", "systant_disk:/", "systant_disk:/home"]);
    assert!(bench.hub.catalogue().field("systant_cpu", "avg1").is_some());
    bench.clock.advance(Duration::from_secs(30));
    systant.heard("Old Box", &stats(r#"{"cpu":{"avg1":0.7},"disk":{"/":{"used":1}}}"#));
    settled(&bench, 2).await;
    assert_eq!(keys(), ["systant_cpu:cpu", "systant_disk:/"], "what is gone is gone");
    assert_eq!(bench.hub.hosts().len(), 1);
    bench.clock.advance(Duration::from_secs(600));
    bench.hub.sweep();
    assert_eq!(bench.events_of(&EventKind::HOST_OFFLINE).len(), 1);
    assert_eq!(bench.audit("host.add_via").len(), 1);

    let mut hosts = hosts(&bench, None);
    assert!(due(&bench, &mut hosts).is_empty(), "it tells Home Assistant of itself");
}

#[tokio::test]
async fn what_makes_no_sense_or_is_too_much_changes_nothing() {
    let bench = Bench::open();
    bench.enrol(1, "nas").await;
    let systant = Systant::new(&bench.hub, 2);
    let fine = r#"{"cpu":{"avg1":0.5}}"#;
    let refused = [
        ("a", "[]"),
        ("a", "null"),
        ("a", ""),
        ("a", "{\"x\":"),
        ("a", "{\"cpu\":{\"x\":1e999}}"),
        ("***", fine),
        ("nas", fine),
    ];
    let mut count = 0;
    for (name, payload) in refused {
        systant.heard(name, &stats(payload));
        count += 1;
        settled(&bench, count).await;
    }
    systant.heard("a", &Publish { retain: true, ..stats(fine) });
    systant.heard("a", &Publish { payload: vec![b'{', 0xFF, b'}'].into(), ..stats("") });
    settled(&bench, count + 2).await;
    assert_eq!(bench.hub.hosts().len(), 1, "nobody was made known");
    for name in ["a", "b", "c"] {
        systant.heard(name, &stats(fine));
    }
    settled(&bench, count + 5).await;
    assert_eq!(bench.hub.hosts().len(), 3, "no more than may be");
    for _ in 0..1_000 {
        systant.heard("a", &stats(fine));
    }
    settled(&bench, count + 5 + 1_000).await;
    assert!(bench.hub.counters()["systant_messages"] >= 2);
}
