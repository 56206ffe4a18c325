//! While readings move from memory to the database, a reader finds each of
//! them once: none twice, none nowhere.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::common::*;
use crate::history::HistoryStore;
use crate::sqlite::history::place;
use crate::sqlite::{Folder, SqliteHistory};
use crate::{Arrival, Options, Receipt, StoreError};

const COLLECTORS: [&str; 3] = ["tank", "pump", "lamp"];

fn open(folder: &std::path::Path) -> SqliteHistory {
    let options = Options { seal_every: std::time::Duration::ZERO, readers: 3, ..options() };
    SqliteHistory::open(&Arc::new(Folder::open(folder).unwrap()), &options).unwrap()
}

/// A report of every collector.
fn tell(history: &SqliteHistory, number: u64) {
    for (index, collector) in COLLECTORS.iter().enumerate() {
        let sequence = number * COLLECTORS.len() as u64 + index as u64;
        let told = report(host(1), collector, sequence, collector, &[("e0", number as f64)]);
        let taken = Box::new(|result: Result<Receipt, StoreError>| assert!(result.is_ok()));
        history.append(Arrival { at: at(number as i64 * 30), ..arrival(told) }, catalogue(), taken);
    }
    history.flush().unwrap();
}

/// How many readings a collector has, each of which must be there once.
fn count(history: &SqliteHistory, collector: &str) -> u64 {
    let points = raw(history, key(host(1), collector, "e0"));
    for (index, (_, value)) in points.iter().enumerate() {
        assert_eq!(*value, index as f64, "{collector}: each once and in order");
    }
    points.len() as u64
}

#[test]
fn between_a_commit_and_what_follows_it_a_reader_finds_each_reading_once() {
    let folder = tempfile::tempdir().unwrap();
    let history = Arc::new(open(folder.path()));
    let looked = Arc::new(AtomicU64::new(0));
    for number in 0..200 {
        tell(&history, number);
    }
    history.release(history.last_row());
    let (store, times) = (Arc::downgrade(&history), Arc::clone(&looked));
    history.shared.committed.set(move || {
        let Some(history) = store.upgrade() else { return };
        for collector in COLLECTORS {
            assert_eq!(count(&history, collector), 200);
        }
        times.fetch_add(1, Ordering::SeqCst);
    });
    history.maintain(at(9_000)).unwrap();
    history.shared.committed.set(|| ());
    assert!(looked.load(Ordering::SeqCst) > 0, "it was looked at");
    assert_eq!(history.stats().unwrap().waiting, 0, "all of it is sealed");
}

#[test]
fn a_reader_that_began_before_a_step_of_sealing_takes_from_memory_what_it_seals() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path());
    for number in 0..70 {
        tell(&history, number);
    }
    let names = history.shared.names.read().unwrap();
    let collectors = history.shared.head.read().unwrap().collectors();
    let of = collectors[0];
    let mut head = history.shared.head.write().unwrap();
    let blocks = head.closed(of, &names.exponents);
    assert_eq!(head.unsealed(of, 4).count(), 2);
    head.begin_sealing(5, vec![(of, blocks.clone())]);
    assert_eq!(head.unsealed(of, 4).count(), 2, "its transaction does not see the step");
    assert_eq!(head.unsealed(of, 5).count(), 0, "its transaction sees the step");
    assert_eq!(head.unsealed(collectors[1], 5).count(), 1, "not of that step");
    head.end_sealing(false);
    assert_eq!(head.unsealed(of, 5).count(), 2, "the step failed");
    head.begin_sealing(5, vec![(of, blocks)]);
    head.end_sealing(true);
    assert_eq!(head.unsealed(of, 4).count(), 0, "and nobody could begin meanwhile");
}

#[test]
fn readers_beside_reports_and_sealing_find_each_reading_once() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path());
    let (told, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for collector in COLLECTORS {
            let (history, told, over, failed) = (&history, &told, &over, &failed);
            scope.spawn(move || {
                let mut before = 0;
                while !over.load(Ordering::SeqCst) {
                    let at_least = told.load(Ordering::SeqCst);
                    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| count(history, collector))) {
                        Ok(found) if found >= at_least && found >= before => before = found,
                        Ok(found) => *failed.lock().unwrap() = Some(format!("{found} of {at_least} and {before}")),
                        Err(_) => *failed.lock().unwrap() = Some("a reading twice, or not at all".to_owned()),
                    }
                }
            });
        }
        for number in 0..150 {
            tell(&history, number);
            told.store(number + 1, Ordering::SeqCst);
            if number % 3 == 0 {
                history.release(history.last_row());
                history.maintain(at(number as i64 * 30)).unwrap();
            }
        }
        over.store(true, Ordering::SeqCst);
    });
    assert_eq!(failed.into_inner().unwrap_or_else(PoisonError::into_inner), None);
    let step = history.readers.read(|tx| Ok(place::step(tx)?)).unwrap();
    assert!(step >= 50, "{step} steps were taken");
}
