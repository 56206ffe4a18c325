//! What is on the disk after every commit of a life with everything in it is
//! copied, as a crash at that moment would leave it; the log also torn, as a
//! crash within the next commit would. From every copy all that was acked
//! comes back, once, and the buckets are those of the readings.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::common::*;
use crate::history::{Bucket, HistoryStore, Points};
use crate::sqlite::{Folder, SqliteHistory};
use crate::{Arrival, Options};

/// The report of that number: two collectors, every tenth report a day late.
fn told(number: u64) -> Arrival {
    let late = if number.is_multiple_of(10) { 86_400 } else { 0 };
    let second = number as i64 * 400 - late;
    let collector = if number.is_multiple_of(2) { "tank" } else { "pump" };
    let name = if number.is_multiple_of(2) { "reef" } else { "lagoon" };
    let report = report(host(1), collector, number, name, &[("e0", number as f64), ("e-1", second as f64 / 10.0)]);
    Arrival { at: at(second), received_at: at(number as i64 * 400), ..arrival(report) }
}

fn open(folder: &Path) -> SqliteHistory {
    // Long enough that nothing of this story has had its time.
    let mut options = Options { seal_every: Duration::from_secs(7_200), ..options() };
    options.retention.raw = Duration::from_secs(365 * 86_400);
    SqliteHistory::open(&Arc::new(Folder::open(folder).unwrap()), &options).unwrap()
}

/// All readings, by value; every one must be there once.
fn readings(history: &dyn HistoryStore) -> Vec<u64> {
    let mut found = Vec::new();
    for name in ["reef", "lagoon"] {
        let points = raw(history, key(host(1), name, "e0"));
        for (second, value) in &points {
            assert_eq!(told(*value as u64).at, at(*second), "at its time");
        }
        found.extend(points.iter().map(|(_, value)| *value as u64));
    }
    found.sort_unstable();
    found
}

/// The buckets are what comes of the readings.
fn compare_buckets(history: &dyn HistoryStore, whence: &str) {
    for name in ["reef", "lagoon"] {
        let series = key(host(1), name, "e-1");
        let points = raw(history, series.clone());
        for step in [300, 3_600] {
            let asked = query(vec![series.clone()], at(-200_000), at(400_000), Some(Duration::from_secs(step)));
            let answer = history.query(&asked).unwrap();
            let Points::Stepped(buckets) = &answer.series[0].points else { panic!("steps were asked for") };
            let found: Vec<_> = answer.t.iter().zip(buckets).filter_map(|(t, bucket)| Some((*t, (*bucket)?))).collect();
            let mut model = std::collections::BTreeMap::<_, Bucket>::new();
            for (second, value) in &points {
                let step = step as i64 * 1000;
                let start = at(*second).millis().div_euclid(step) * step;
                model.entry(start).and_modify(|bucket| bucket.add(*value)).or_insert(Bucket::of(*value));
            }
            assert_eq!(found.len(), model.len(), "{whence}: steps of {step} s");
            for ((t, found), (start, model)) in found.iter().zip(&model) {
                assert_eq!(t.millis(), *start, "{whence}");
                let parts = |bucket: &Bucket| (bucket.count, bucket.min, bucket.max, bucket.last);
                assert_eq!(parts(found), parts(model), "{whence}: at {t}");
                assert!((found.sum - model.sum).abs() < 1e-6, "{whence}: at {t}");
            }
        }
    }
}

#[test]
fn whatever_step_a_crash_falls_on_nothing_acked_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let history = open(folder.path());
    let acked = Arc::new(AtomicU64::new(0));
    let taken: Arc<Mutex<Vec<(PathBuf, u64)>>> = Arc::default();
    {
        let (from, to) = (folder.path().to_owned(), copies.path().to_owned());
        let (acked, taken) = (Arc::clone(&acked), Arc::clone(&taken));
        let mut count = 0;
        history.shared.committed.set(move || {
            count += 1;
            let acked = acked.load(Ordering::SeqCst);
            // Reports alone are the same again and again.
            let known = taken.lock().unwrap().last().map_or(u64::MAX, |(_, acked)| *acked);
            if acked != known && !acked.is_multiple_of(60) && acked > 3 {
                return;
            }
            for torn in if count % 3 == 0 { &[false, true][..] } else { &[false] } {
                let copy = to.join(format!("{count}-{torn}"));
                fs::create_dir(&copy).unwrap();
                fs::copy(from.join("history.db"), copy.join("history.db")).unwrap();
                let mut log = fs::read(from.join("history.db-wal")).unwrap();
                if *torn {
                    // The next commit had begun to be written.
                    log.extend((0..5_000).map(|i| i as u8));
                }
                fs::write(copy.join("history.db-wal"), log).unwrap();
                taken.lock().unwrap().push((copy, acked));
            }
        });
    }
    let last = 420;
    for number in 1..=last {
        append(&history, told(number)).unwrap();
        acked.store(number, Ordering::SeqCst);
        if number % 20 == 0 {
            history.release(history.last_row());
        }
        if number % 3 == 0 {
            history.maintain(at(number as i64 * 400)).unwrap();
        }
    }
    // Two weeks on: buckets are put together.
    for day in 3..=14 {
        history.maintain(at(day * 86_400)).unwrap();
    }
    compare_buckets(&history, "without a crash");
    drop(history);
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    assert!(taken.len() > 60, "only {} steps", taken.len());
    for (copy, acked) in taken {
        let whence = copy.display().to_string();
        for round in 0..2 {
            let history = open(&copy);
            let found = readings(&history);
            // What was committed and not acked yet may be there as well.
            let expected: Vec<u64> = (1..=acked).collect();
            assert_eq!(&found[..acked as usize], expected, "{whence}, round {round}");
            assert!(found.len() as u64 <= acked + 1, "{whence}: {found:?}");
            assert!(append(&history, told(acked.max(1))).unwrap().row.is_none() || acked == 0, "{whence}: it is known");
            compare_buckets(&history, &whence);
            // Upkeep goes on from there.
            history.release(history.last_row());
            history.maintain(at(14 * 86_400)).unwrap();
            compare_buckets(&history, &whence);
        }
        fs::remove_dir_all(&copy).unwrap();
    }
}
