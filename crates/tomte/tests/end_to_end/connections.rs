//! Connections that break in every way: cut in the middle of a message, open
//! and dead, displaced, and two agents under one identity.

use tomte_api::client::Client;
use tomte_api::host::Presence;
use tomte_link::CloseCode;
use tomte_model::Catalogue;

use super::support::*;

async fn presence(client: &Client, host: &str) -> Presence {
    client.host(host).await.unwrap().presence
}

/// Cut somewhere else each time: in the HTTP upgrade, in a frame's header, in
/// its mask, in the middle of a report. Few cuts for each of many agents, since
/// who fails often waits longer and longer.
#[test]
fn a_connection_cut_in_the_middle_of_a_message_loses_and_doubles_nothing() {
    const CUTS: u64 = 7;
    let hub = Hub::start();
    block_on(async {
        let one = async |number: usize| {
            let proxy = Proxy::start(hub.address()).await;
            let (host, token) = enrol(&hub, &format!("host{number}")).await;
            let agent = SimulatedAgent::start("cut", host, token, proxy.address(), Catalogue::builtin());
            for cut in 1..=CUTS {
                agent.until("connection", |acked| acked.welcomes >= cut).await;
                proxy.cut_after(1 + number * 97 + cut as usize * 331);
                while agent.acked().welcomes == cut {
                    agent.flood(10).await;
                }
            }
            agent.until_all_acked().await;
            let points = numbers_in_history(&hub.client(), &format!("host{number}")).await;
            assert!(points.into_iter().eq(1..=agent.submitted()), "each report once");
        };
        futures_util::future::join_all((0..6).map(one)).await;
        let malformed = counter(&hub.client(), "tomte_hub_link_malformed_total").await;
        assert_eq!(malformed, 0, "a broken line is no malformed message");
    });
}

/// The cable is pulled: neither side hears of it. The agent comes back; the old
/// connection's end, when it comes at last, takes nothing away from the new one.
#[test]
fn a_dead_connection_that_ends_late_takes_nothing_from_its_successor() {
    let hub = Hub::start();
    block_on(async {
        let client = hub.client();
        let proxy = Proxy::start(hub.address()).await;
        let (host, token) = enrol(&hub, "reef").await;
        let before = SimulatedAgent::start("reef", host, token.clone(), proxy.address(), Catalogue::builtin());
        before.flood(10).await;
        before.until_all_acked().await;
        let dead = proxy.freeze();
        // The same host from the same place, as after a restart.
        let after = SimulatedAgent::start("reef", host, token, proxy.address(), Catalogue::builtin());
        after.flood(10).await;
        after.until_all_acked().await;
        // The old agent's goodbye gets stuck on the way.
        before.stop().await;
        assert_eq!(presence(&client, "reef").await, Presence::Online);
        dead.hang_up();
        after.flood(500).await;
        after.until_all_acked().await;
        assert_eq!(after.acked().welcomes, 1, "its connection was left alone");
        assert_eq!(presence(&client, "reef").await, Presence::Online);
        assert!(events(&client, "host_offline").await.is_empty(), "it was never away");
    });
}

/// The newer of two connections wins, and the older is told why.
#[test]
fn a_displaced_connection_is_told_and_its_late_close_changes_nothing() {
    let hub = Hub::start();
    block_on(async {
        let client = hub.client();
        let (host, token) = enrol(&hub, "reef").await;
        let mut old = Stranger::welcomed(&hub.url, &token, host).await;
        let mut new = Stranger::welcomed(&hub.url, &token, host).await;
        let Said::Closed(code, reason) = old.end().await else { panic!("without a word") };
        assert_eq!(code, CloseCode::Displaced.code(), "{reason}");
        assert!(reason.contains("newer connection"), "{reason}");
        drop(old);
        // Whatever the hub does about the old one comes before its answer here.
        let heartbeat = new.link.heartbeat(&tomte_link::Heartbeat::default());
        new.say(heartbeat).await;
        new.until("answer", |said| matches!(said, tomte_link::FromHub::Heartbeat { .. }).then_some(())).await;
        assert_eq!(presence(&client, "reef").await, Presence::Online);
    });
}

/// A machine was copied with its identity, and both copies run: said once,
/// however long they fight, and the hub lives.
#[test]
fn a_cloned_host_is_reported_once() {
    let hub = Hub::start();
    block_on(async {
        let client = hub.client();
        let (host, token) = enrol(&hub, "reef").await;
        let one = SimulatedAgent::start("reef", host, token.clone(), hub.address(), Catalogue::builtin());
        let two = SimulatedAgent::start("reef", host, token, hub.address(), Catalogue::builtin());
        let told = event_of(&client, "identity_clash").await;
        assert!(told.message.contains("clone") && told.message.contains("enrol"), "{}", told.message);
        let (a, b) = (one.acked().welcomes, two.acked().welcomes);
        one.until("more fighting", |acked| acked.welcomes >= a + 2).await;
        two.until("more fighting", |acked| acked.welcomes >= b + 2).await;
        one.stop().await;
        two.flood(10).await;
        two.until_all_acked().await;
        assert_eq!(events(&client, "identity_clash").await.len(), 1);
        let other = SimulatedAgent::new(&hub, "pond").await;
        other.flood(10).await;
        other.until_all_acked().await;
    });
}

/// The same with the real thing: configuration and state copied, both started.
#[test]
fn a_copied_state_folder_is_noticed() {
    let hub = Hub::start();
    let config = hub.enrol("reef", &hub.url, "");
    let copies = hub.spare_folder().join("clone");
    std::fs::create_dir(&copies).unwrap();
    let copy = copies.join("reef.toml");
    std::fs::copy(&config, &copy).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([config.with_extension("toml.d"), copy.with_extension("toml.d")])
        .status();
    assert!(copied.unwrap().success());
    let mut one = run_agent(&config);
    one.wait_for_text("connected to the hub");
    let mut two = run_agent(&copy);
    two.wait_for_text("connected to the hub");
    // The one that lost its place says what to look at.
    let cure = one.wait_for_text("cloned");
    assert!(cure.contains("enroll"), "{cure}");
    let told = block_on(event_of(&hub.client(), "identity_clash"));
    assert_eq!(told.host.as_deref(), Some("reef"));
    assert!(two.stop().success() && one.stop().success());
}

/// The numbers that reports of [`SimulatedAgent::submit_number`] left in history.
pub(crate) async fn numbers_in_history(client: &Client, host: &str) -> Vec<u64> {
    let query = tomte_api::history::HistoryQuery {
        series: vec![format!("{host}/disk:sda/read_bytes_per_second")],
        from: Some("-1h".into()),
        ..Default::default()
    };
    let mut history = client.history(&query).await.unwrap();
    let values = history.series.remove(0).mean.unwrap_or_default();
    let mut numbers: Vec<u64> = values.into_iter().map(|value| value.unwrap() as u64).collect();
    numbers.sort_unstable();
    numbers
}
