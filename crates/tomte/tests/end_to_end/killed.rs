//! Killed as a power cut kills, in the middle of work: what was acknowledged
//! is there afterwards, and nothing is there twice.

use std::path::Path;

use tomte_model::{Catalogue, HostId, Timestamp};
use tomte_store::history::{Budget, Points, Query, SeriesKey};
use tomte_store::{Options, Store};

use super::support::*;

/// Every value that a series has, sorted; the same number twice when it is
/// there twice.
fn values(store: &Store, host: HostId, resource: &str, field: &'static str) -> Vec<u64> {
    let key = SeriesKey { host, resource: resource.parse().unwrap(), field: field.into() };
    let now = Timestamp::from_millis(i64::MAX / 2);
    let query = Query {
        series: vec![key],
        from: Timestamp::from_millis(0),
        to: now,
        step: None,
        budget: Budget::points(10_000_000),
    };
    let Points::Raw(points) = store.history.query(&query).unwrap().series.remove(0).points else { panic!("raw") };
    let mut values: Vec<_> = points.into_iter().map(|(_, value)| value as u64).collect();
    values.sort_unstable();
    values
}

/// What numbered reports left behind in a hub's folder: all of them, once.
pub(crate) fn assert_whole(folder: &Path, agents: &[&SimulatedAgent]) {
    let store = Store::open(folder, Options::default()).unwrap();
    for agent in agents {
        let all = agent.submitted();
        let received = store.history.received(agent.host, agent.epoch);
        assert_eq!(received.iter().collect::<Vec<_>>(), [1..=all], "{}: positions received", agent.name);
        let values = values(&store, agent.host, "disk:sda", "read_bytes_per_second");
        assert_eq!(values.len() as u64, all, "{}: reports in history", agent.name);
        assert!(values.into_iter().eq(1..=all), "{}: each report once", agent.name);
    }
}

/// Six agents, five kills, at moments that fall differently every time: in the
/// middle of a commit, between commit and ack, while reports are on the wire.
#[test]
fn a_hub_killed_at_full_speed_keeps_all_that_it_acked_and_nothing_twice() {
    const REPORTS: u64 = 2_000;
    let mut hub = Hub::start();
    let agents = block_on(async {
        let mut agents = Vec::new();
        for number in 0..6 {
            agents.push(std::sync::Arc::new(SimulatedAgent::new(&hub, &format!("host{number}")).await));
        }
        agents
    });
    let floods: Vec<_> = agents.iter().cloned().map(|agent| spawn(async move { agent.flood(REPORTS).await })).collect();
    for kill in 1..=5 {
        let share = REPORTS * kill / 7 + fastrand::u64(..60);
        block_on(agents[kill as usize].until("progress", |acked| acked.count() >= share));
        hub.kill_and_restart();
    }
    assert!(agents.iter().any(|agent| agent.submitted() < REPORTS), "the last kill came too late to prove anything");
    in_time("the rest", async {
        for flood in floods {
            flood.await.unwrap();
        }
        for agent in &agents {
            agent.until_all_acked().await;
            assert!(agent.acked().welcomes > 1);
        }
    });
    // And once more, so that a clean stop has no part in it.
    hub.process.kill();
    assert_whole(&hub.folder, &agents.iter().map(AsRef::as_ref).collect::<Vec<_>>());
}

/// The reports are on the hub's disk, and the agent never heard of it: it sends
/// them again, to a hub that lived on and to one that was killed as well.
#[test]
fn what_was_committed_and_never_acked_is_kept_once() {
    for killed in [false, true] {
        let mut hub = Hub::start();
        let (agent, proxy) = block_on(async {
            let proxy = Proxy::start(hub.address()).await;
            let (host, token) = enrol(&hub, "reef").await;
            let agent = SimulatedAgent::start("reef", host, token, proxy.address(), Catalogue::builtin());
            agent.flood(50).await;
            agent.until_all_acked().await;
            proxy.swallow();
            (0..100).for_each(|_| agent.submit_number());
            proxy.until("commit", |acked| acked.count() >= 150).await;
            (agent, proxy)
        });
        assert_eq!(agent.acked().count(), 50, "the agent cannot know");
        if killed {
            hub.kill_and_restart();
        }
        proxy.cut();
        let duplicates = in_time("the second round", async {
            agent.until_all_acked().await;
            counter(&hub.client(), "tomte_hub_duplicate_reports_total").await
        });
        // The first of them, the collector's last report, is sent twice anyway.
        assert!(duplicates >= 100, "{duplicates} came a second time");
        hub.process.kill();
        assert_whole(&hub.folder, &[&agent]);
    }
}
