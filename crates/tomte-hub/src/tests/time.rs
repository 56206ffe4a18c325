//! Time: silence, restarts, clocks that are wrong.

use std::time::Duration;

use tomte_api::host::Presence;
use tomte_link::{CloseCode, Twin};
use tomte_model::{BootId, EventKind, Status};

use super::support::*;

#[tokio::test]
async fn silence_is_told_once_and_a_restart_tells_nothing() {
    let bench = Bench::open();
    let (nas, away) = (bench.enrol(1, "nas").await, bench.enrol(2, "away").await);
    let mut agent = Agent::connect(&ByTwin, &bench, &nas, 1).await;
    let mut gone = Agent::connect(&ByTwin, &bench, &away, 1).await;
    agent.report(vec![disk("sda", 1.0)]).await;
    gone.report(vec![disk("sda", 1.0)]).await;
    drop(gone);
    let presence = |bench: &Bench, host| bench.hub.host(host).unwrap().presence;
    bench.clock.seconds(46);
    agent.heartbeat().await;
    bench.hub.sweep();
    assert_eq!((presence(&bench, nas.host), presence(&bench, away.host)), (Presence::Online, Presence::Late));
    assert!(bench.events_of(&EventKind::HOST_OFFLINE).is_empty());
    for _ in 0..3 {
        bench.clock.seconds(46);
        agent.heartbeat().await;
        bench.hub.sweep();
    }
    let offline = bench.events_of(&EventKind::HOST_OFFLINE);
    assert_eq!((offline.len(), offline[0].host), (1, Some(away.host)));
    let view = bench.hub.host(away.host).unwrap();
    let assessment = view.assessment.unwrap();
    assert_eq!((view.presence, assessment.status), (Presence::Offline, Status::Unknown), "never ok");
    assert!(assessment.reason.starts_with("not heard of for 3 min"), "{}", assessment.reason);
    // Whatever else is changed of a host, what was announced stays announced.
    bench.hub.add_alias(&Bench::admin(), nas.host, "files".parse().unwrap()).await.unwrap();
    // Stopped and started: who was online has its grace, who was away is not told of again.
    let before = bench.events().len();
    let clock = bench.clock.clone();
    let bench = Bench::reopen(bench.stop().await, clock);
    bench.clock.seconds(1);
    bench.hub.sweep();
    assert_eq!((presence(&bench, nas.host), presence(&bench, away.host)), (Presence::Late, Presence::Offline));
    bench.clock.seconds(80);
    let mut agent = Agent::connect(&ByTwin, &bench, &nas, 1).await;
    agent.heartbeat().await;
    bench.hub.sweep();
    assert_eq!(presence(&bench, nas.host), Presence::Online);
    bench.clock.seconds(60);
    agent.heartbeat().await;
    bench.hub.sweep();
    assert_eq!(bench.events().len(), before, "a restart sends nothing");
    assert!(bench.hub.host(nas.host).unwrap().resources == 1, "and forgets nothing");
    bench.stop().await;
}

#[tokio::test]
async fn who_stays_away_after_a_restart_is_told_of_when_the_grace_is_over() {
    let bench = Bench::open();
    let nas = bench.enrol(1, "nas").await;
    Agent::connect(&ByTwin, &bench, &nas, 1).await.report(vec![disk("sda", 1.0)]).await;
    let clock = bench.clock.clone();
    let bench = Bench::reopen(bench.stop().await, clock);
    bench.clock.seconds(89);
    bench.hub.sweep();
    assert!(bench.events_of(&EventKind::HOST_OFFLINE).is_empty());
    bench.clock.seconds(1);
    bench.hub.sweep();
    assert_eq!(bench.events_of(&EventKind::HOST_OFFLINE).len(), 1);
    let clock = bench.clock.clone();
    let bench = Bench::reopen(bench.stop().await, clock);
    bench.clock.seconds(500);
    bench.hub.sweep();
    assert_eq!(bench.events_of(&EventKind::HOST_OFFLINE).len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn the_time_of_a_host_whose_clock_is_wrong_is_the_hubs() {
    for off in [-EPOCH, 366 * 86_400_000] {
        let bench = Bench::open();
        let nas = bench.enrol(1, "nas").await;
        let mut agent = Agent::connect(&ByTwin, &bench, &nas, 1).await;
        agent.off = off;
        // Its boot clock runs at half the hub's here: only the newest
        // heartbeat's distance counts for what was read since.
        agent.heartbeat().await;
        agent.report(vec![disk("sda", 1.0)]).await;
        let at = bench.hub.with_latest(nas.host, |_, latest| latest.resources().next().unwrap().1.at()).unwrap();
        assert_eq!(at.millis(), EPOCH, "restamped, {off}");
        let view = bench.hub.host(nas.host).unwrap();
        assert_eq!(view.skew_millis, Some(off));
        let view_is_ok = view.assessment.unwrap().status;
        assert_eq!(view_is_ok, Status::Ok, "not stale");
        agent.heartbeat().await;
        assert_eq!(bench.events_of(&EventKind::CLOCK_SKEW).len(), 1);
        // A restart of the hub does not tell again; coming right is told.
        let clock = bench.clock.clone();
        let bench = Bench::reopen(bench.stop().await, clock);
        let mut agent = Agent::connect(&ByTwin, &bench, &nas, 1).await;
        agent.off = off;
        agent.heartbeat().await;
        assert_eq!(bench.events_of(&EventKind::CLOCK_SKEW).len(), 1);
        agent.off = 0;
        agent.heartbeat().await;
        assert_eq!(bench.events_of(&EventKind::CLOCK_SKEW).len(), 2);
        bench.stop().await;
    }
}

#[tokio::test]
async fn what_claims_to_be_from_next_year_is_set_aside_and_told_once() {
    let bench = Bench::open();
    let nas = bench.enrol(1, "nas").await;
    let mut agent = Agent::connect(&ByTwin, &bench, &nas, 1).await;
    agent.heartbeat().await;
    agent.report(vec![disk("sda", 1.0)]).await;
    agent.off = 366 * 86_400_000;
    agent.boot = BootId(1234);
    for reads in [2.0, 3.0] {
        agent.report(vec![disk("sda", reads)]).await;
    }
    let shown =
        bench.hub.with_latest(nas.host, |_, latest| latest.resources().next().unwrap().1.readings().next().unwrap().1);
    assert_eq!(shown, Some(1.0));
    assert_eq!(bench.hub.counters()["reports_quarantined"], 2);
    assert_eq!(bench.events_of(&EventKind::QUARANTINED).len(), 1);
    assert_eq!(bench.hub.counters()["readings"], 1, "no history of it");
    let folder = bench.crash_image();
    let again = Bench::reopen(folder, bench.clock.clone());
    let shown =
        again.hub.with_latest(nas.host, |_, latest| latest.resources().next().unwrap().1.readings().next().unwrap().1);
    assert_eq!(shown, Some(1.0), "nor after a replay");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_falls_silent_is_closed() {
    let bench = Bench::open();
    let nas = bench.enrol(1, "nas").await;
    let mut agent = Agent::<Twin>::connect(&ByTwin, &bench, &nas, 1).await;
    let start = tokio::time::Instant::now();
    assert_eq!(agent.end().await.0, CloseCode::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 90);
    until("the connection is gone", || !bench.hub.is_connected(nas.host)).await;
    // One that never says hello is closed sooner.
    let twin = bench.twin(nas.host);
    let start = tokio::time::Instant::now();
    let (_sender, mut receiver) = tomte_link::Transport::split(twin);
    while matches!(tomte_link::Receiver::recv(&mut receiver).await, Some(Ok(_))) {}
    assert_eq!(start.elapsed().as_secs(), 10);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_read_is_let_go() {
    let bench = Bench::open();
    let nas = bench.enrol(1, "nas").await;
    let mut agent = Agent::<Twin>::connect(&ByTwin, &bench, &nas, 1).await;
    // Every one is answered; nobody reads the answers.
    let deaf = async {
        loop {
            let beat = agent.link.heartbeat(&tomte_link::Heartbeat::default());
            if tomte_link::Sender::send(&mut agent.sender, beat).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), deaf).await.expect("the hub ends it");
    bench.stop().await;
}
