//! A hub is killed with SIGKILL while it takes reports in at full speed: every
//! report that was acked is there afterwards, once, in the history and in the
//! records, whatever was lost in between.
//!
//! The test runs itself as the hub: a child process takes the folder from the
//! environment, and prints a line for each ack. It is killed after some number
//! of lines, which falls on another moment of its work every time.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use common::*;
use tomte_model::{Latest, Report};
use tomte_store::state::{EventQuery, HostRecord, NewEvent, Page, Snapshot};
use tomte_store::{Arrival, Options, Store};

const FOLDER: &str = "TOMTE_STORE_KILLED_FOLDER";
const HOSTS: u128 = 3;

/// The report of that number, the same whenever it is told. Each brings an
/// event, as a state change would.
fn told(number: u64) -> Arrival {
    let of = u128::from(number) % HOSTS + 1;
    let mut report: Report = report(host(of), "tank", number, "reef", &[("e0", number as f64)]);
    report.events = vec![event(u128::from(number), at(number as i64), "something")];
    report.scopes[0].facets[0].text("phase", phase(number));
    arrival(report)
}

/// What changes of the host's state every now and then.
fn phase(number: u64) -> String {
    format!("phase {}", number / 9)
}

/// The hub's part: what it holds of the hosts, and how it brings it up to date.
#[derive(Default)]
struct Hub {
    latest: BTreeMap<u128, Latest>,
}

impl Hub {
    /// Starts from what was saved, and from the reports that came after.
    fn start(store: &Store) -> Self {
        let mut hub = Self::default();
        let mut covered = u64::MAX;
        for number in 1..=HOSTS {
            let record = HostRecord::new(host(number), format!("h{number}").parse().unwrap(), at(0));
            store.state.put_host(&record).unwrap();
        }
        let snapshots = store.state.snapshots().unwrap();
        if snapshots.len() < HOSTS as usize {
            covered = 0;
        }
        for snapshot in snapshots {
            covered = covered.min(snapshot.row);
            let number = (1..=HOSTS).find(|number| host(*number) == snapshot.host).unwrap();
            hub.latest.insert(number, snapshot.latest.into());
        }
        let mut events = Vec::new();
        let replayed = store.history.replay(covered, &mut |_, arrival| events.extend(hub.take(&arrival))).unwrap();
        assert_eq!(replayed.unreadable, 0);
        store.state.add_events(&events).unwrap();
        hub
    }

    fn take(&mut self, arrival: &Arrival) -> Vec<NewEvent> {
        let of = (1..=HOSTS).find(|number| host(*number) == arrival.report.host).unwrap();
        self.latest.entry(of).or_default().apply(&arrival.report, arrival.at);
        let new = |event: &tomte_model::Event| NewEvent {
            host: Some(arrival.report.host),
            received_at: arrival.received_at,
            event: event.clone(),
        };
        arrival.report.events.iter().map(new).collect()
    }

    /// What a hub does every now and then: events, then snapshots, then release.
    fn save(&self, store: &Store, row: u64, events: &mut Vec<NewEvent>) {
        store.state.add_events(&std::mem::take(events)).unwrap();
        let snapshots: Vec<Snapshot> = self
            .latest
            .iter()
            .map(|(number, latest)| Snapshot { host: host(*number), row, at: at(0), latest: latest.snapshot() })
            .collect();
        store.state.save_snapshots(&snapshots).unwrap();
        store.history.release(row);
    }
}

/// Small numbers, so that every kind of work is under way all the time.
fn busy() -> Options {
    Options { commit_window: Duration::from_millis(1), commit_batch: 16, seal_batch: 50, ..options() }
}

/// Takes reports in for ever.
fn be_the_hub(folder: &Path) -> ! {
    let store = Store::open(folder, busy()).unwrap();
    let mut hub = Hub::start(&store);
    let (acked, acks) = mpsc::channel();
    let mut events = Vec::new();
    let (mut sent, mut back) = (0_u64, 0_u64);
    // From the start each time: the agent does not know what arrived.
    for number in 1_u64.. {
        let arrival = told(number);
        events.extend(hub.take(&arrival));
        let acked = acked.clone();
        store.history.append(arrival, catalogue(), Box::new(move |result| acked.send((number, result)).unwrap()));
        sent += 1;
        while sent - back > 64 || (number % 40 == 0 && back < sent) {
            let (number, result) = acks.recv().unwrap();
            result.unwrap();
            back += 1;
            // One write, so that no ack is torn by the kill.
            std::io::stdout().write_all(format!("acked {number}\n").as_bytes()).unwrap();
        }
        if number % 40 == 0 {
            hub.save(&store, store.history.last_row(), &mut events);
        }
        if number % 120 == 0 {
            store.history.maintain(at(100_000)).unwrap();
        }
    }
    unreachable!("numbers do not end")
}

/// Runs the hub until it has acked so many, then kills it. Returns the acked.
fn run_and_kill(folder: &Path, after: usize) -> Vec<u64> {
    let mut hub = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "every_acked_report_is_there_once_after_sigkill", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(hub.stdout.take().unwrap()).lines();
    let acked = |line: std::io::Result<String>| line.unwrap().strip_prefix("acked ")?.parse::<u64>().ok();
    let mut all: Vec<u64> = lines.by_ref().filter_map(acked).take(after).collect();
    assert_eq!(all.len(), after, "the hub ended by itself");
    hub.kill().unwrap();
    hub.wait().unwrap();
    // What it could still say before the kill counts as well.
    all.extend(lines.filter_map(acked));
    all
}

#[test]
fn every_acked_report_is_there_once_after_sigkill() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        be_the_hub(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut newest = 0;
    // Each round goes a little further than the last, from its ruins.
    for after in [1, 37, 120, 121, 199, 333, 480, 481, 600] {
        let acked = run_and_kill(folder.path(), after);
        newest = newest.max(acked.into_iter().max().unwrap());
        check(folder.path(), newest);
    }
}

fn check(folder: &Path, newest: u64) {
    let store = Store::open(folder, busy()).unwrap();
    let hub = Hub::start(&store);
    // In the history: each once, with its value and at its time.
    let mut found = BTreeMap::new();
    for number in 1..=HOSTS {
        for (second, value) in raw(&*store.history, key(host(number), "reef", "e0")) {
            assert_eq!(second, value as i64 * 10);
            *found.entry(value as u64).or_insert(0) += 1;
        }
    }
    let missing: Vec<u64> = (1..=newest).filter(|number| !found.contains_key(number)).collect();
    assert!(missing.is_empty(), "acked and gone: {missing:?} of {newest}");
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count != 1).collect();
    assert!(doubled.is_empty(), "there more than once: {doubled:?}");
    // In the records: each event once, and the latest state is the latest.
    let query = EventQuery { page: Page::OldestFirst(0), limit: usize::MAX, ..EventQuery::default() };
    let events = store.state.events(&query).unwrap();
    let mut numbers: Vec<i64> = events.iter().map(|stored| (stored.event.at.millis() - START) / 1000).collect();
    numbers.sort_unstable();
    let stored: Vec<i64> = found.keys().map(|number| *number as i64).collect();
    assert_eq!(numbers, stored, "events and readings tell the same story");
    for (number, latest) in hub.latest {
        let last = found.keys().rev().find(|found| u128::from(**found) % HOSTS + 1 == number).unwrap();
        let value = latest.resources().next().unwrap().1.readings().next().unwrap().1;
        assert_eq!(value as u64, *last);
    }
    // The changes of state tell of every moment what the report of then said.
    for (number, report) in found.keys().map(|number| (number, told(*number))) {
        let then = store.history.state_at(&[report.report.host], report.at).unwrap().pop().unwrap();
        let resource = then.resources.into_values().next().unwrap();
        let told = resource.attributes().find(|(name, _)| *name == "phase").map(|(_, value)| value.to_string());
        assert_eq!(told, Some(phase(*number)), "at {number}");
    }
    // What was acked is known: told again, it is not taken again.
    for number in [1, newest / 2 + 1, newest] {
        assert_eq!(append(&*store.history, told(number)).unwrap().row, None);
    }
}
