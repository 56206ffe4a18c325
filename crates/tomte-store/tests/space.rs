//! What is old goes, what is too much goes, and the space of both is given
//! back.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::*;
use tomte_store::history::{Maintained, Points, Receipt};
use tomte_store::{Arrival, HistoryStore, Options, Retention, Store, StoreError};

fn reports_kept_whole(history: &dyn HistoryStore) -> usize {
    let mut count = 0;
    history.replay(0, &mut |_, _| count += 1).unwrap();
    count
}

#[test]
fn what_is_old_goes_and_its_space_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let names: Vec<String> = (0..100).map(|n| format!("tank-{n}")).collect();
    for sequence in 1..=400_u64 {
        let mut big = report(host(1), "tank", sequence, "reef", &[]);
        big.scopes[0].facets = names
            .iter()
            .map(|name| report(host(1), "tank", 0, name, &[("e-9", sequence as f64 / 7.0)]).scopes[0].facets[0].clone())
            .collect();
        let on_durable = Box::new(|result: Result<Receipt, StoreError>| assert!(result.is_ok()));
        store.history.append(arrival(big), catalogue(), on_durable);
    }
    let late = report(host(1), "other", 401, "late", &[("e0", 1.0)]);
    append(&*store.history, Arrival { at: at(170_000), ..arrival(late) }).unwrap();
    store.history.release(store.history.last_row());
    let first = store.history.maintain(at(4_010)).unwrap();
    assert_eq!((first.sealed, first.pruned), (401, 0));
    let full = store.history.stats().unwrap();
    assert_eq!(full.series, 101);
    let reading = key(host(1), "tank-5", "e-9");
    assert_eq!(raw(&*store.history, reading.clone()).len(), 400);
    let hourly = |store: &Store| {
        let hour = Some(Duration::from_secs(3600));
        let asked = query(vec![key(host(1), "tank-5", "e-9")], at(0), at(4_100), hour);
        let mut answer = store.history.query(&asked).unwrap();
        let Points::Stepped(buckets) = answer.series.remove(0).points else { panic!("steps were asked for") };
        buckets.into_iter().flatten().collect::<Vec<_>>()
    };
    let before = hourly(&store);
    assert_eq!(before.iter().map(|bucket| bucket.count).sum::<u64>(), 400);

    // Days go whole. A clock that has moved on is not believed at once.
    let days = |count: i64| at(count * 24 * 3600);
    assert_eq!(store.history.maintain(days(4)).unwrap().pruned, 0);
    let gone = store.history.maintain(days(6)).unwrap();
    assert!(gone.pruned > 0, "{gone:?}");
    assert_eq!(raw(&*store.history, reading).len(), 0);
    assert_eq!(hourly(&store), before, "buckets are kept longer");
    // Then the buckets of five minutes, then those of an hour, then the name.
    for day in [110, 112] {
        store.history.maintain(days(day)).unwrap();
    }
    assert_eq!(hourly(&store), before);
    let mut last = Maintained::default();
    for day in [7 * 365, 7 * 365 + 2] {
        last = store.history.maintain(days(day)).unwrap();
    }
    assert_eq!(last.series_pruned, 101);
    assert_eq!(hourly(&store), []);
    assert_eq!(store.history.stats().unwrap().series, 0);
    drop(store);

    // A series that comes back after its end is there again.
    let store = open(folder.path());
    append(&*store.history, arrival(report(host(1), "tank", 500, "tank-5", &[("e-9", 1.0)]))).unwrap();
    assert_eq!(raw(&*store.history, key(host(1), "tank-5", "e-9")), [(5_000, 1.0)]);
}

#[test]
fn reports_that_nobody_releases_fill_no_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for sequence in 1..=10 {
        append(&*store.history, arrival(report(host(1), "tank", sequence, "reef", &[("e0", 1.0)]))).unwrap();
    }
    store.history.maintain(at(1_000)).unwrap();
    assert_eq!(reports_kept_whole(&*store.history), 10, "they may be asked for again");
    store.history.maintain(at(48 * 3600 + 55)).unwrap();
    assert_eq!(reports_kept_whole(&*store.history), 5);
}

#[test]
fn a_cap_on_the_size_deletes_the_oldest_and_says_nothing_false() {
    let folder = tempfile::tempdir().unwrap();
    let retention =
        Retention { raw: Duration::from_secs(365 * 86_400), max_bytes: Some(600_000), ..Retention::default() };
    let store = Store::open(folder.path(), Options { retention, ..options() }).unwrap();
    let mut seed = 1_u64;
    for day in 0..12_i64 {
        for tick in 0..200_i64 {
            let names: Vec<(String, f64)> = (0..10)
                .map(|field| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (format!("e-{}", field % 9 + 1), (seed >> 24) as f64)
                })
                .collect();
            let readings: Vec<(&str, f64)> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            let told = report(host(1), "tank", (day * 200 + tick) as u64 + 1, "reef", &readings);
            let second = day * 86_400 + tick * 400;
            let arrival = Arrival { at: at(second), received_at: at(second), ..arrival(told) };
            store.history.append(arrival, catalogue(), Box::new(|result| assert!(result.is_ok())));
        }
        store.history.flush().unwrap();
        store.history.release(store.history.last_row());
        store.history.maintain(at((day + 1) * 86_400 + 7_200)).unwrap();
    }
    let bytes = std::fs::metadata(folder.path().join("history.db")).unwrap().len();
    assert!(bytes < 1_000_000, "{bytes}");
    let kept = raw(&*store.history, key(host(1), "reef", "e-1"));
    assert!(kept.len() > 100 && kept.len() < 1_500, "{}", kept.len());
    assert_eq!(kept.last().unwrap().0, 11 * 86_400 + 199 * 400, "the newest stays");
    // Where readings went, buckets answer.
    let asked = query(vec![key(host(1), "reef", "e-1")], at(0), at(12 * 86_400), Some(Duration::from_secs(3600)));
    let answer = store.history.query(&asked).unwrap();
    let Points::Stepped(buckets) = &answer.series[0].points else { panic!("steps were asked for") };
    assert_eq!(buckets.iter().flatten().map(|bucket| bucket.count).sum::<u64>(), 2_400);
}

#[test]
fn the_space_of_a_burst_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut sequence = 0;
    let mut tell = |reports: u64, second: i64| {
        for _ in 0..reports {
            sequence += 1;
            let readings: Vec<(String, f64)> =
                (-9..=9).map(|field| (format!("e{field}"), 1e7 / (sequence + 11) as f64)).collect();
            let readings: Vec<(&str, f64)> = readings.iter().map(|(field, value)| (field.as_str(), *value)).collect();
            let told = report(host(1), "tank", sequence, "reef", &readings);
            let told = Arrival { at: at(second), received_at: at(second), ..arrival(told) };
            store.history.append(told, catalogue(), Box::new(|result| assert!(result.is_ok())));
            if sequence % 500 == 0 {
                store.history.flush().unwrap();
            }
        }
        store.history.flush().unwrap();
        store.history.release(store.history.last_row());
    };
    let journal = || store.history.stats().unwrap().part("waiting").unwrap().bytes;
    let hours = |hours: i64| hours * 3_600;
    tell(20_000, 0);
    let burst = journal();
    store.history.maintain(at(10)).unwrap();
    assert!(burst > 1_000_000, "{burst}");
    assert_eq!(journal(), burst, "as much may come again soon");
    for hour in 1..=8 {
        tell(200, hours(hour));
        store.history.maintain(at(hours(hour) + 10)).unwrap();
    }
    let usual = journal();
    assert!(usual < burst / 2, "{burst} became {usual}");
    for hour in 9..=20 {
        tell(200, hours(hour));
        store.history.maintain(at(hours(hour) + 10)).unwrap();
        assert_eq!(journal(), usual, "what is needed every two hours is not given back and taken again");
    }
    let file = || std::fs::metadata(folder.path().join("history.db")).unwrap().len();
    let before = file();
    assert!(store.history.compact(at(hours(20)), &mut |_| {}).unwrap() > 0);
    assert!(journal() < usual, "{usual} became {}", journal());
    let stats = store.history.stats().unwrap();
    let kept: u64 = stats.parts.iter().map(|part| part.bytes).sum();
    assert!(file() < before && file() < kept + 400_000, "{} of {kept} bytes", file());
    assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")).len() as u64, 20_000 + 20 * 200);
}

#[test]
fn what_is_to_be_deleted_for_good_is_overwritten_in_the_journal_too() {
    let folder = tempfile::tempdir().unwrap();
    let careful = || Store::open(folder.path(), Options { secure_delete: true, ..options() }).unwrap();
    let store = careful();
    let secret = "a-name-that-nobody-else-has";
    let told = |sequence| {
        let mut told = report(host(1), "tank", sequence, "reef", &[("e0", 1.0)]);
        told.events = vec![event(u128::from(sequence), at(0), secret)];
        arrival(told)
    };
    for sequence in 1..=300 {
        append(&*store.history, told(sequence)).unwrap();
    }
    let found = |file: &str| {
        let bytes = std::fs::read(folder.path().join(file)).unwrap_or_default();
        bytes.windows(secret.len()).filter(|window| *window == secret.as_bytes()).count()
    };
    store.history.release(store.history.last_row());
    store.history.maintain(at(4_000)).unwrap();
    let (last_row, readings) = (store.history.last_row(), raw(&*store.history, key(host(1), "reef", "e0")));
    drop(store);
    // What is not full yet is overwritten when it is used again.
    let left = found("history.db");
    assert!(left < 100, "{left} of 300");
    let store = careful();
    assert_eq!(store.history.last_row(), last_row, "an overwritten slot is no damaged one");
    assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")), readings);
    append(&*store.history, told(301)).unwrap();
    store.history.release(store.history.last_row());
    store.history.maintain(at(8_000)).unwrap();
    drop(store);
    assert!(found("history.db") <= 1, "what the last life left is overwritten as well");
    assert_eq!(raw(&*careful().history, key(host(1), "reef", "e0")).len(), 301);
}
