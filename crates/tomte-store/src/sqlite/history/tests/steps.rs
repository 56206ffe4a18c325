//! Upkeep goes in small steps, however much there is to be done: between two
//! of them reports are written. How long a step takes is up to the disk; how
//! much is in it is not.

use std::sync::Arc;

use super::STEPS;
use super::common::*;
use crate::history::HistoryStore;
use crate::sqlite::history::upkeep::{SEAL_STEP, STEP};
use crate::sqlite::{Folder, SqliteHistory};
use crate::{Arrival, Options};

const HOSTS: u128 = 60;

/// One piece more than a step has, since pieces are not divided: the buckets of
/// eight days and of their hours are the greatest here.
const PIECE: usize = 64 * 1024;

/// What a host with thirty numbers tells.
fn told(of: u128, number: u64, second: i64) -> Arrival {
    let mut seed = number.wrapping_mul(of as u64 + 1);
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f64
    };
    let mut told = report(host(of), "tank", number, "reef", &[]);
    for tank in 0..3 {
        let readings: Vec<(String, f64)> = (-9..=0).map(|field| (format!("e{field}"), random())).collect();
        let readings: Vec<(&str, f64)> = readings.iter().map(|(field, value)| (field.as_str(), *value)).collect();
        let name = format!("tank-{tank}");
        told.scopes[0].facets.extend(report(host(of), "tank", 0, &name, &readings).scopes.remove(0).facets);
    }
    Arrival { at: at(second), received_at: at(second), ..arrival(told) }
}

#[test]
fn whatever_there_is_to_do_each_step_is_small() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { seal_every: std::time::Duration::from_secs(7_200), ..options() };
    let history = SqliteHistory::open(&Arc::new(Folder::open(folder.path()).unwrap()), &options).unwrap();
    let mut number = 0;
    for day in 0..12_i64 {
        for part in 0..6 {
            for minute in 0..4 {
                number += 1;
                let second = day * 86_400 + part * 14_400 + minute * 600;
                for of in 1..=HOSTS {
                    let taken = Box::new(|result: Result<crate::Receipt, crate::StoreError>| assert!(result.is_ok()));
                    history.append(told(of, number, second), catalogue(), taken);
                }
                history.flush().unwrap();
            }
            history.release(history.last_row());
            history.maintain(at(day * 86_400 + part * 14_400 + 10_000)).unwrap();
        }
    }
    for day in 13..=20 {
        history.maintain(at(day * 86_400)).unwrap();
    }
    let steps = STEPS.with_borrow_mut(std::mem::take);
    let (all, largest) = (steps.iter().sum::<usize>(), steps.iter().copied().max().unwrap());
    assert!(largest <= STEP + PIECE, "{largest} bytes in one step");
    assert!(all > 12 * STEP, "only {all} bytes in {} steps", steps.len());
}

#[test]
fn what_one_collector_brings_after_long_is_sealed_in_small_steps() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { seal_every: std::time::Duration::from_secs(7_200), commit_batch: 5_000, ..options() };
    let history = SqliteHistory::open(&Arc::new(Folder::open(folder.path()).unwrap()), &options).unwrap();
    let count = 20_000_u64;
    for number in 1..=count {
        let taken = Box::new(|result: Result<crate::Receipt, crate::StoreError>| assert!(result.is_ok()));
        // Rows of two days mixed: some are a day late.
        let second = number as i64 * 30 + if number.is_multiple_of(7) { 0 } else { 86_400 };
        history.append(Arrival { received_at: at(0), ..told(1, number, second) }, catalogue(), taken);
        if number.is_multiple_of(500) {
            history.flush().unwrap();
        }
    }
    history.release(history.last_row());
    // None of its days is over yet by the clock.
    history.maintain(at(7_300)).unwrap();
    let steps = STEPS.with_borrow_mut(std::mem::take);
    let (all, largest) = (steps.iter().sum::<usize>(), steps.iter().copied().max().unwrap());
    // And the buckets of two days, which these numbers make as large as can be.
    assert!(largest <= SEAL_STEP + 2 * 170 * 1024, "{largest} bytes in one step");
    assert!(all > 30 * SEAL_STEP, "only {all} bytes in {} steps", steps.len());
    assert_eq!(history.stats().unwrap().waiting, 0, "all of it is sealed");
    let points = raw(&history, key(host(1), "tank-0", "e0"));
    assert_eq!(points.len(), count as usize, "each once");
}
