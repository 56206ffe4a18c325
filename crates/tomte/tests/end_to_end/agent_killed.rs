//! The agent killed as a power cut kills: no position is used twice, what was
//! acknowledged is with the hub, and what was spooled gets there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::mpsc;

use rustix::fs::inotify;
use tomte_agent::outbox::{Folder, Spool, SpoolLimits};
use tomte_model::{BootId, HostId, Position, Timestamp};
use tomte_store::history::{Budget, Points, Query, SeriesKey};
use tomte_store::{Options, Store};

use super::support::*;

/// Everything as often as an agent looks at all.
pub(crate) const FAST: &str = "[intervals]\nfast = \"1s\"\nmedium = \"1s\"\nslow = \"1s\"\n";

pub(crate) fn epoch(config: &Path) -> u64 {
    fs::read_to_string(config.with_extension("toml.d").join("epoch")).unwrap().trim().parse().unwrap()
}

/// When each reading of the uptime was taken; one that was kept twice is there
/// twice.
fn readings(store: &Store, host: HostId) -> Vec<Timestamp> {
    let key = SeriesKey { host, resource: "host:host".parse().unwrap(), field: "uptime_seconds".into() };
    let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX / 2));
    let query = Query { series: vec![key], from, to, step: None, budget: Budget::points(1_000_000) };
    let Points::Raw(points) = store.history.query(&query).unwrap().series.remove(0).points else { panic!("raw") };
    points.into_iter().map(|(at, _)| at).collect()
}

fn assert_none_twice(readings: &[Timestamp]) {
    let different: BTreeSet<_> = readings.iter().collect();
    assert_eq!(different.len(), readings.len(), "a reading was kept twice: {readings:?}");
}

#[test]
fn an_agent_killed_over_and_over_uses_no_position_twice_and_what_was_acked_is_there() {
    let mut hub = Hub::start();
    let proxy = block_on(Proxy::start(hub.address()));
    let config = hub.enrol("reef", &proxy.url, FAST);
    let mut epochs = Vec::new();
    for _ in 0..4 {
        let mut agent = run_agent(&config);
        agent.wait_for_text("connected to the hub");
        epochs.push(epoch(&config));
        let enough = fastrand::u64(20..40);
        let of = *epochs.last().unwrap();
        block_on(proxy.until("acks", |acked| acked.by_epoch.get(&of).is_some_and(|ranges| numbers(ranges) >= enough)));
        agent.kill();
    }
    assert!(epochs.is_sorted_by(|a, b| a < b), "an outbox is never made twice: {epochs:?}");
    let host = block_on(hub.client().host("reef")).unwrap().id;
    hub.process.kill();
    let store = Store::open(&hub.folder, Options::default()).unwrap();
    let acked = proxy.acked();
    for epoch in epochs {
        let received = store.history.received(host, epoch);
        for range in acked.by_epoch[&epoch].iter() {
            assert!(range.clone().all(|sequence| received.contains(sequence)), "{range:?} of {epoch}: {received:?}");
        }
        assert_eq!(received.iter().map(|range| *range.start()).collect::<Vec<_>>(), [1], "without holes, from 1");
    }
    let readings = readings(&store, host);
    assert!(readings.len() >= 4);
    assert_none_twice(&readings);
}

/// Tells of every write to a folder.
fn watch(folder: &Path) -> mpsc::Receiver<()> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, folder, inotify::WatchFlags::MODIFY).unwrap();
    let (writes, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(watch, &mut buffer);
        while reader.next().is_ok() && writes.send(()).is_ok() {}
    });
    told
}

/// What lies in a spool, read from a copy so that nothing is changed.
pub(crate) fn spooled(state: &Path) -> Vec<Position> {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(state.join("spool")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let limits = SpoolLimits { bytes: u64::MAX, max_age: std::time::Duration::from_secs(1 << 32) };
    let mut spool = Spool::open(Box::new(Folder::new(copy.path())), limits, 0, BootId(0)).unwrap();
    let mut positions = Vec::new();
    loop {
        let reports = spool.read(&mut Vec::new());
        if reports.is_empty() {
            return positions;
        }
        positions.extend(reports.iter().map(|report| report.position));
    }
}

#[test]
fn what_a_killed_agent_had_spooled_arrives_once() {
    let mut hub = Hub::start();
    let proxy = block_on(Proxy::start(hub.address()));
    // So little memory that every report goes to disk at once.
    let config = hub.enrol("reef", &proxy.url, &format!("{FAST}[outbox]\nmemory_limit = \"1kB\"\n"));
    let state = config.with_extension("toml.d");
    fs::create_dir(state.join("spool")).unwrap();
    let writes = watch(&state.join("spool"));
    let mut agent = run_agent(&config);
    agent.wait_for_text("connected to the hub");
    let first = epoch(&config);
    block_on(proxy.until("ack", |acked| acked.count() > 0));
    let host = block_on(hub.client().host("reef")).unwrap().id;
    hub.process.kill();
    // How many writes that takes depends on how many reports each one holds.
    while spooled(&state).len() < 5 {
        writes.recv_timeout(LIMIT).expect("the spool is written");
    }
    agent.kill();
    let spooled = spooled(&state);
    assert!(spooled.iter().all(|position| position.epoch == first));
    hub.restart();
    let mut agent = run_agent(&config);
    agent.wait_for_text("connected to the hub");
    assert!(epoch(&config) > first);
    let all = |ranges: &tomte_model::RangeSet| spooled.iter().all(|position| ranges.contains(position.sequence));
    block_on(proxy.until("the backlog", |acked| acked.by_epoch.get(&first).is_some_and(all)));
    assert!(agent.stop().success());
    hub.process.kill();
    let store = Store::open(&hub.folder, Options::default()).unwrap();
    assert!(all(&store.history.received(host, first)));
    assert_none_twice(&readings(&store, host));
}
