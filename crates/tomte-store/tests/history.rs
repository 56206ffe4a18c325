//! The story of a history, told to any engine: today there is one.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use common::*;
use proptest::prelude::*;
use tomte_model::{RangeSet, Resolution, Timestamp};
use tomte_store::history::{Bucket, Points, Receipt, Tier};
use tomte_store::{Arrival, HistoryStore, Options, Retention, RetentionRule, Store, StoreError};

fn gap(history: &dyn HistoryStore, epoch: u64, sequences: std::ops::RangeInclusive<u64>) {
    let (told, durable) = mpsc::channel();
    history.declare_gap(host(1), epoch, sequences, Box::new(move |result| told.send(result).unwrap()));
    durable.recv().unwrap().unwrap();
}

fn replayed(history: &dyn HistoryStore, after: u64) -> Vec<(u64, Arrival)> {
    let mut arrivals = Vec::new();
    let told = history.replay(after, &mut |row, arrival| arrivals.push((row, arrival))).unwrap();
    assert_eq!((told.reports, told.unreadable), (arrivals.len() as u64, 0));
    arrivals
}

#[test]
fn a_report_is_kept_once_read_back_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut first = report(host(1), "tank", 1, "reef", &[("depth_celsius", 25.3), ("e0", 7.0), ("unheard_of", 0.123)]);
    first.events = vec![event(1, at(10), "too warm")];
    let receipt = append(&*store.history, arrival(first.clone())).unwrap();
    assert_eq!(receipt, Receipt { row: Some(store.history.last_row()), kept: 3, over_limit: 0, unfit: 0 });
    assert_eq!(append(&*store.history, arrival(first.clone())).unwrap(), Receipt::default(), "told twice, kept once");
    let second = report(host(1), "tank", 2, "reef", &[("depth_celsius", 25.4), ("e0", 8.0)]);
    append(&*store.history, arrival(second.clone())).unwrap();
    gap(&*store.history, 7, 4..=9);

    let check = |store: &Store| {
        let history = &*store.history;
        assert_eq!(history.received(host(1), 7), RangeSet::from_iter([1..=2, 4..=9]));
        assert_eq!(history.received(host(2), 7), RangeSet::new());
        assert_eq!(raw(history, key(host(1), "reef", "depth_celsius")), [(10, 25.3), (20, 25.4)]);
        assert_eq!(raw(history, key(host(1), "reef", "unheard_of")), [(10, 0.123)]);
        assert_eq!(raw(history, key(host(1), "lagoon", "depth_celsius")), []);
        assert_eq!(raw(history, key(host(9), "reef", "depth_celsius")), []);
        let series = history.series(host(1)).unwrap();
        let found: Vec<_> = series.iter().map(|s| (s.key.field.as_ref(), s.resolution)).collect();
        let expected =
            [("depth_celsius", Some(Resolution::TENTH)), ("e0", Some(Resolution::ONE)), ("unheard_of", None)];
        assert_eq!(found, expected);
    };
    check(&store);
    let arrivals = replayed(&*store.history, 0);
    assert_eq!(arrivals.len(), 2);
    assert_eq!(*arrivals[0].1.report, first, "a report comes back whole");
    assert_eq!(*arrivals[1].1.report, second);
    assert_eq!(replayed(&*store.history, arrivals[0].0).len(), 1);
    let last_row = store.history.last_row();
    drop(store);

    let store = open(folder.path());
    check(&store);
    assert_eq!(store.history.last_row(), last_row);
    assert_eq!(replayed(&*store.history, 0).len(), 2, "nobody has said that the records cover them");
    store.history.release(last_row);
    assert_eq!(store.history.maintain(at(100)).unwrap().sealed, 2);
    check(&store);
    assert_eq!(replayed(&*store.history, 0).len(), 0);
    assert_eq!(store.history.stats().unwrap().waiting, 0);
    drop(store);

    let store = open(folder.path());
    check(&store);
    assert_eq!(append(&*store.history, arrival(first)).unwrap().row, None, "known for ever");
    let third = report(host(1), "tank", 3, "reef", &[("e0", 9.0)]);
    assert!(append(&*store.history, arrival(third)).unwrap().row > Some(last_row), "row numbers go on");
}

#[test]
fn what_came_from_whom_is_counted_by_outbox_not_by_subject() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let via = |outbox: u128, value: f64| Arrival {
        outbox: host(outbox),
        ..arrival(report(host(3), "guest", 1, "reef", &[("e0", value)]))
    };
    assert!(append(&*store.history, via(1, 1.0)).unwrap().row.is_some());
    assert!(append(&*store.history, via(2, 2.0)).unwrap().row.is_some(), "another outbox, so another report");
    assert_eq!(append(&*store.history, via(1, 3.0)).unwrap().row, None);
    assert_eq!(raw(&*store.history, key(host(3), "reef", "e0")), [(10, 1.0), (10, 2.0)]);
    let outboxes: Vec<_> = replayed(&*store.history, 0).into_iter().map(|(_, arrival)| arrival.outbox).collect();
    assert_eq!(outboxes, [host(1), host(2)]);
}

#[test]
fn steps_are_whole_and_gaps_stay_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    // Late: the last of the first minute arrives first. Nothing in the second.
    for (sequence, second, value) in [(1, 50, 1.0), (2, 10, 4.0), (3, 30, 1.5), (4, 125, 9.0)] {
        let report = report(host(1), "tank", sequence, "reef", &[("depth_celsius", value)]);
        append(&*store.history, Arrival { at: at(second), ..arrival(report) }).unwrap();
    }
    let minute = Duration::from_secs(60);
    let zero = at(0).millis();
    assert_eq!(zero % 60_000, 0, "the tests' start is the start of a minute");
    let ask = |from: i64, to: i64| {
        let (from, to) = (Timestamp::from_millis(zero + from), Timestamp::from_millis(zero + to));
        store.history.query(&query(vec![key(host(1), "reef", "depth_celsius")], from, to, Some(minute))).unwrap()
    };
    let answer = ask(1, 120_001);
    assert_eq!(answer.t.iter().map(|t| t.millis() - zero).collect::<Vec<_>>(), [0, 60_000, 120_000]);
    let first = Bucket { count: 3, min: 1.0, max: 4.0, sum: 6.5, last: 1.0 };
    assert_eq!(answer.series[0].points, Points::Stepped(vec![Some(first), None, Some(Bucket::of(9.0))]));
    assert_eq!(answer.series[0].interval_millis, 10_000);
    assert!((first.mean() - 6.5 / 3.0).abs() < 1e-12);
    assert_eq!(ask(0, 60_000).t.len(), 1);
    assert_eq!(ask(60_000, 60_000).t.len(), 0);
}

#[test]
fn a_query_has_a_budget_and_must_make_sense() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for sequence in 1..=20 {
        append(&*store.history, arrival(report(host(1), "tank", sequence, "reef", &[("e0", 1.0)]))).unwrap();
    }
    let mut asked = query(vec![key(host(1), "reef", "e0")], at(0), at(1_000), None);
    asked.budget.points = 20;
    assert!(store.history.query(&asked).is_ok());
    asked.budget.points = 19;
    assert!(matches!(store.history.query(&asked), Err(StoreError::TooManyPoints { allowed: 19 })));
    asked.step = Some(Duration::from_millis(1));
    assert!(matches!(store.history.query(&asked), Err(StoreError::TooManyPoints { .. })), "empty steps count too");
    (asked.from, asked.to) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
    assert!(matches!(store.history.query(&asked), Err(StoreError::TooManyPoints { .. })));
    asked.step = Some(Duration::from_secs(u64::MAX));
    assert!(matches!(store.history.query(&asked), Err(StoreError::BadQuery(_))));
    asked.step = Some(Duration::ZERO);
    assert!(matches!(store.history.query(&asked), Err(StoreError::BadQuery(_))));
    (asked.from, asked.to, asked.step) = (at(1), at(0), None);
    assert!(matches!(store.history.query(&asked), Err(StoreError::BadQuery(_))));
}

#[test]
fn a_flood_of_series_is_bounded_counted_and_still_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options { series_per_host: 3, ..options() }).unwrap();
    let flood = report(
        host(1),
        "tank",
        1,
        "reef",
        &[("e0", 1.0), ("e0", 2.0), ("e1", f64::NAN), ("e2", 3e300), ("x", 5.0), ("y", 6.0), ("z", f64::INFINITY)],
    );
    let receipt = append(&*store.history, arrival(flood)).unwrap();
    assert_eq!((receipt.kept, receipt.over_limit, receipt.unfit), (1, 2, 4));
    assert_eq!(store.history.series(host(1)).unwrap().len(), 3);
    let replayed = replayed(&*store.history, 0);
    let found = &replayed[0].1.report.scopes[0].facets[0].readings;
    let found: Vec<_> = found.iter().map(|(field, value)| (field.as_ref(), *value)).collect();
    assert_eq!(found, [("e0", 1.0), ("e0", 2.0), ("e2", 3e300), ("x", 5.0), ("y", 6.0)], "only numbers come back");
    // Others are not harmed, and neither are the series that were first.
    let other = report(host(2), "tank", 1, "reef", &[("x", 1.0)]);
    assert_eq!(append(&*store.history, arrival(other)).unwrap().kept, 1);
    let again = report(host(1), "tank", 2, "reef", &[("e0", 4.0), ("w", 1.0)]);
    let receipt = append(&*store.history, arrival(again)).unwrap();
    assert_eq!((receipt.kept, receipt.over_limit), (1, 1));
}

#[test]
fn a_flood_of_collectors_is_bounded_and_still_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut kept = 0;
    for sequence in 1..=250 {
        let mut report = report(host(1), "", sequence, "reef", &[("e0", 1.0)]);
        report.collector = format!("c{sequence}").into();
        kept += append(&*store.history, arrival(report)).unwrap().kept;
    }
    assert_eq!(kept, 200);
    assert_eq!(replayed(&*store.history, 0)[249].1.report.collector, "c250");
}

#[test]
fn an_outbox_in_too_many_pieces_is_refused_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for piece in 0..10_000 {
        let last = piece == 9_999;
        let (told, durable) = mpsc::channel();
        let on_durable = Box::new(move |result: Result<(), StoreError>| told.send(result).unwrap());
        store.history.declare_gap(host(1), 7, piece * 2..=piece * 2, on_durable);
        if last || piece % 500 == 0 {
            durable.recv().unwrap().unwrap();
        }
    }
    let refused = append(&*store.history, arrival(report(host(1), "tank", 50_000, "reef", &[("e0", 1.0)])));
    assert!(matches!(refused, Err(StoreError::TooManyPieces)));
    let fills_a_hole = append(&*store.history, arrival(report(host(1), "tank", 1, "reef", &[("e0", 1.0)])));
    assert!(fills_a_hole.unwrap().row.is_some());
    assert!(append(&*store.history, arrival(report(host(2), "tank", 50_000, "reef", &[("e0", 1.0)]))).is_ok());
}

#[test]
fn quarantined_readings_make_no_history_and_are_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let early = arrival(report(host(1), "tank", 1, "reef", &[("e0", 1.0)]));
    append(&*store.history, Arrival { quarantined: true, ..early.clone() }).unwrap();
    assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")), []);
    assert!(replayed(&*store.history, 0)[0].1.quarantined);
    assert_eq!(append(&*store.history, early).unwrap().row, None);
    store.history.release(store.history.last_row());
    store.history.maintain(at(100)).unwrap();
    drop(store);
    assert_eq!(raw(&*open(folder.path()).history, key(host(1), "reef", "e0")), []);
}

#[test]
fn a_field_whose_resolution_changes_stays_one_series() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let before = Arc::new(tomte_model::Catalogue::builtin());
    let (told, durable) = mpsc::channel();
    let unknown = arrival(report(host(1), "tank", 1, "reef", &[("depth_celsius", 25.123)]));
    store.history.append(unknown, before, Box::new(move |result| told.send(result).unwrap()));
    durable.recv().unwrap().unwrap();
    append(&*store.history, arrival(report(host(1), "tank", 2, "reef", &[("depth_celsius", 25.123)]))).unwrap();
    assert_eq!(raw(&*store.history, key(host(1), "reef", "depth_celsius")), [(10, 25.123), (20, 25.1)]);
    let series = store.history.series(host(1)).unwrap();
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].resolution, Some(Resolution::TENTH));
}

#[test]
fn tiers_answer_what_they_are_kept_for() {
    let folder = tempfile::tempdir().unwrap();
    let rules = vec![
        RetentionRule {
            kind: "aqua*".into(),
            field: "e1".into(),
            raw: Duration::from_secs(20 * 24 * 3600),
            ..RetentionRule::like(&Retention::default())
        },
        RetentionRule {
            kind: "*".into(),
            field: "e2".into(),
            raw: Duration::ZERO,
            ..RetentionRule::like(&Retention::default())
        },
    ];
    let options = Options { retention: Retention { rules, ..Retention::default() }, ..options() };
    let store = Store::open(folder.path(), options).unwrap();
    // Ten days, a report every ten minutes.
    let days = 10;
    let mut expected = Vec::new();
    for sequence in 1..=days * 144_u64 {
        let value = (sequence * 7 % 31) as f64;
        let report = report(host(1), "tank", sequence, "reef", &[("e0", value), ("e1", value * 10.0), ("e2", 100.0)]);
        let second = sequence as i64 * 600;
        let receipt = Arrival { at: at(second), received_at: at(second), ..arrival(report) };
        let kept = Box::new(|result: Result<Receipt, StoreError>| assert_eq!(result.unwrap().kept, 2));
        store.history.append(receipt, catalogue(), kept);
        expected.push((second, value));
        if sequence % 36 == 0 {
            store.history.release(store.history.last_row());
            store.history.maintain(at(second)).unwrap();
        }
    }
    let ask = |field: &str, step: u64| {
        let asked = query(
            vec![key(host(1), "reef", field)],
            at(0),
            at(days as i64 * 86_400 + 600),
            Some(Duration::from_secs(step)),
        );
        let mut answer = store.history.query(&asked).unwrap();
        let series = answer.series.remove(0);
        let Points::Stepped(buckets) = series.points else { panic!("steps were asked for") };
        (
            series.tier,
            answer.t.into_iter().zip(buckets).filter_map(|(t, bucket)| Some((t, bucket?))).collect::<Vec<_>>(),
        )
    };
    let model = |step: i64| {
        let mut buckets = std::collections::BTreeMap::<i64, Bucket>::new();
        for (second, value) in &expected {
            let start = at(*second).millis().div_euclid(step * 1000) * step * 1000;
            buckets.entry(start).and_modify(|bucket| bucket.add(*value)).or_insert(Bucket::of(*value));
        }
        buckets.into_iter().map(|(start, bucket)| (Timestamp::from_millis(start), bucket)).collect::<Vec<_>>()
    };
    assert_eq!(ask("e0", 3_600), (Tier::Hour, model(3_600)));
    assert_eq!(ask("e0", 1_800), (Tier::FiveMinutes, model(1_800)));
    // What is finer comes from what is left: readings, and before that buckets.
    let (tier, fine) = ask("e0", 60);
    assert_eq!(tier, Tier::FiveMinutes);
    assert_eq!(fine.iter().map(|(_, bucket)| bucket.count).sum::<u64>(), days * 144);
    let kept = raw(&*store.history, key(host(1), "reef", "e0"));
    assert!((288..=3 * 144 + 1).contains(&kept.len()), "two days and what is left of the third: {}", kept.len());
    assert_eq!(kept, expected[expected.len() - kept.len()..]);
    assert_eq!(raw(&*store.history, key(host(1), "reef", "e1")).len(), days as usize * 144, "kept longer");
    assert_eq!(ask("e1", 60).0, Tier::Raw);
    assert_eq!(raw(&*store.history, key(host(1), "reef", "e2")), [], "not kept");
    assert_eq!(
        replayed(&*store.history, store.history.last_row() - 1)[0].1.report.scopes[0].facets[0].readings.len(),
        3
    );

    // A week late: counted into the buckets, once.
    for (sequence, second) in [(90_001_u64, 150), (90_002, 100_050), (90_003, 100_040)] {
        let late = report(host(1), "tank", sequence, "reef", &[("e0", 500.0)]);
        append(&*store.history, Arrival { at: at(second), received_at: at(864_000), ..arrival(late) }).unwrap();
        expected.push((second, 500.0));
    }
    expected.sort_by_key(|(second, _)| *second);
    let check = |store: &Store| {
        let asked = query(vec![key(host(1), "reef", "e0")], at(0), at(864_600), Some(Duration::from_secs(3_600)));
        let answer = store.history.query(&asked).unwrap();
        let Points::Stepped(buckets) = &answer.series[0].points else { panic!("steps were asked for") };
        let found: Vec<_> = answer.t.iter().zip(buckets).filter_map(|(t, bucket)| Some((*t, (*bucket)?))).collect();
        let mut buckets = std::collections::BTreeMap::<i64, Bucket>::new();
        for (second, value) in &expected {
            let start = at(*second).millis().div_euclid(3_600_000) * 3_600_000;
            buckets.entry(start).and_modify(|bucket| bucket.add(*value)).or_insert(Bucket::of(*value));
        }
        let model: Vec<_> =
            buckets.into_iter().map(|(start, bucket)| (Timestamp::from_millis(start), bucket)).collect();
        assert_eq!(found, model);
    };
    check(&store);
    for day in [10, 11, 12, 13, 14, 20, 21, 22] {
        store.history.maintain(at(day * 86_400)).unwrap();
        check(&store);
    }
    let stats = store.history.stats().unwrap();
    assert!(stats.part("1h").unwrap().values > 200 && stats.part("5m").unwrap().bytes > 0, "{stats:?}");
}

#[test]
fn a_clock_that_runs_a_year_ahead_and_comes_back_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let year = 365 * 86_400;
    let mut sequence = 0;
    let mut tell = |second: i64| {
        sequence += 1;
        let told = report(host(1), "tank", sequence, "reef", &[("e0", sequence as f64)]);
        append(&*store.history, Arrival { at: at(second), received_at: at(second), ..arrival(told) }).unwrap();
        store.history.release(store.history.last_row());
        store.history.maintain(at(second + 1)).unwrap()
    };
    tell(0);
    tell(10);
    for second in (0..7_200).step_by(600) {
        assert_eq!(tell(year + second).pruned, 0);
    }
    for second in (20..7_200).step_by(600) {
        assert_eq!(tell(second).pruned, 0);
    }
    assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")).len(), 14);
    let all = query(vec![key(host(1), "reef", "e0")], at(0), at(year + 7_200), None);
    let answer = store.history.query(&all).unwrap();
    let Points::Raw(points) = &answer.series[0].points else { panic!("points were asked for") };
    assert_eq!(points.len(), 26);
    assert_eq!(store.history.stats().unwrap().waiting, 0, "what claims to be from the future is sealed too");
}

#[test]
fn a_host_goes_with_everything_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for number in [1, 2] {
        for sequence in 1..=5 {
            append(&*store.history, arrival(report(host(number), "tank", sequence, "reef", &[("e0", 1.0)]))).unwrap();
            if sequence == 3 {
                store.history.release(store.history.last_row());
                store.history.maintain(at(1_000)).unwrap();
            }
        }
    }
    store.history.remove_host(host(1)).unwrap();
    store.history.remove_host(host(77)).unwrap();
    let check = |store: &Store| {
        assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")), []);
        assert_eq!(store.history.series(host(1)).unwrap(), []);
        assert!(store.history.received(host(1), 7).is_empty());
        assert_eq!(raw(&*store.history, key(host(2), "reef", "e0")).len(), 5);
        assert!(replayed(&*store.history, 0).iter().all(|(_, arrival)| arrival.report.host == host(2)));
    };
    check(&store);
    drop(store);
    let store = open(folder.path());
    check(&store);
    // The same machine enrols again.
    append(&*store.history, arrival(report(host(1), "tank", 1, "reef", &[("e0", 3.0)]))).unwrap();
    assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")), [(10, 3.0)]);
}

#[test]
fn a_full_disk_fails_the_batch_whole_and_writing_goes_on_when_space_returns() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    append(&*store.history, arrival(report(host(1), "tank", 1, "reef", &[("e0", 1.0)]))).unwrap();
    store.history.limit_size(Some(1)).unwrap();
    let mut sequence = 1;
    let refused = loop {
        sequence += 1;
        let name = format!("{sequence}{}", "x".repeat(900));
        match append(&*store.history, arrival(report(host(1), "tank", sequence, &name, &[("e0", 1.0)]))) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert!(matches!(store.history.trouble(), Some(StoreError::Full { .. })));
    assert!(!store.history.received(host(1), 7).contains(sequence), "what failed is not received");
    assert_eq!(replayed(&*store.history, 0).len() as u64, sequence - 1);
    store.history.limit_size(None).unwrap();
    let again = report(host(1), "tank", sequence, "reef", &[("e0", 2.0)]);
    assert!(append(&*store.history, arrival(again)).unwrap().row.is_some());
    assert!(store.history.trouble().is_none());
    assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")), [(10, 1.0), (sequence as i64 * 10, 2.0)]);
    drop(store);
    assert_eq!(replayed(&*open(folder.path()).history, 0).len() as u64, sequence);
}

#[test]
fn more_than_may_wait_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options { queue: 2, commit_batch: 1, ..options() }).unwrap();
    let (told, results) = mpsc::channel();
    let submit = |sequence: u64, before: Box<dyn FnOnce() + Send>| {
        let told = told.clone();
        let on_durable = Box::new(move |result| {
            before();
            told.send((sequence, result)).unwrap();
        });
        let arrival = arrival(report(host(1), "tank", sequence, "reef", &[("e0", 1.0)]));
        store.history.append(arrival, catalogue(), on_durable);
    };
    // The first callback holds the writer until the queue has overflowed.
    let (started, has_started) = mpsc::channel();
    let (go, wait) = mpsc::channel();
    submit(
        1,
        Box::new(move || {
            started.send(()).unwrap();
            wait.recv().unwrap();
        }),
    );
    has_started.recv().unwrap();
    (2..=6).for_each(|sequence| submit(sequence, Box::new(|| {})));
    go.send(()).unwrap();
    store.history.flush().unwrap();
    let mut results: Vec<_> = results.try_iter().map(|(s, r)| (s, matches!(r, Err(StoreError::Busy)))).collect();
    results.sort_unstable();
    assert_eq!(results, [(1, false), (2, false), (3, false), (4, true), (5, true), (6, true)]);
}

#[test]
fn a_window_gathers_reports_and_a_callback_that_panics_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let window = Options { commit_window: Duration::from_secs(3600), commit_batch: 3, ..options() };
    let store = Store::open(folder.path(), window).unwrap();
    let (told, results) = mpsc::channel();
    for sequence in 1..=3 {
        let told = told.clone();
        store.history.append(
            arrival(report(host(1), "tank", sequence, "reef", &[("e0", 1.0)])),
            catalogue(),
            Box::new(move |result| {
                assert_ne!(sequence, 2, "this one panics on purpose");
                told.send(result.unwrap().row).unwrap();
            }),
        );
    }
    // The third ends the hour's wait.
    let rows: Vec<_> = results.iter().take(2).collect();
    assert_eq!(rows[1], rows[0].map(|row| row + 2));
    // So does a shutdown.
    let told = told.clone();
    let last = arrival(report(host(1), "tank", 4, "reef", &[("e0", 1.0)]));
    store.history.append(last, catalogue(), Box::new(move |result| told.send(result.unwrap().row).unwrap()));
    drop(store);
    assert!(results.recv().unwrap().is_some());
}

/// What was told of each field, by time: what a store must tell again.
type Told = std::collections::BTreeMap<String, Vec<(i64, f64)>>;

/// Compares all that was told, bit for bit, and what it comes to in steps.
fn compare(store: &Store, told: &Told, step: Duration) -> Result<(), TestCaseError> {
    for (field, points) in told {
        let series = key(host(1), "reef", field);
        let found = raw(&*store.history, series.clone());
        prop_assert!(found.is_sorted_by_key(|(second, _)| *second));
        let ordered = |points: &[(i64, f64)]| {
            let mut bits: Vec<_> = points.iter().map(|(second, value)| (*second, value.to_bits())).collect();
            bits.sort_unstable();
            bits
        };
        prop_assert_eq!(ordered(&found), ordered(points), "{}", field);
        let answer = store.history.query(&query(vec![series], at(0), at(SPAN), Some(step))).unwrap();
        let Points::Stepped(buckets) = &answer.series[0].points else { panic!("steps were asked for") };
        let mut rest = found.as_slice();
        for (t, bucket) in answer.t.iter().zip(buckets) {
            let inside = rest.partition_point(|(second, _)| at(*second) < t.plus(step));
            let (inside, later) = rest.split_at(inside);
            rest = later;
            prop_assert_eq!(bucket.map_or(0, |bucket| bucket.count), inside.len() as u64);
            let values = || inside.iter().map(|(_, value)| *value);
            if let Some(bucket) = bucket {
                prop_assert_eq!(bucket.min, values().fold(f64::INFINITY, f64::min));
                prop_assert_eq!(bucket.max, values().fold(f64::NEG_INFINITY, f64::max));
            }
        }
        prop_assert!(rest.is_empty());
    }
    Ok(())
}

/// Six days, in seconds.
const SPAN: i64 = 6 * 86_400;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever arrives, in any order, some of it sealed or merged and some
    /// not, some of it after a restart: what is read is what was written, at
    /// its field's resolution. What is no number is refused, and counted.
    #[test]
    fn what_is_read_is_what_was_written(
        reports in prop::collection::vec((0..SPAN, prop::collection::vec((-9_i8..=10, prop::num::f64::ANY), 0..6)), 1..60),
        cuts in prop::collection::vec(0_usize..60, 0..6),
        step in prop::sample::select(vec![77_u64, 300, 1_800, 3_600]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let retention = Retention { raw: Duration::from_secs(365 * 86_400), ..Retention::default() };
        let open = || Store::open(folder.path(), Options { retention: retention.clone(), ..options() }).unwrap();
        let mut store = open();
        let mut expected = Told::new();
        let step = Duration::from_secs(step);
        for (sequence, (second, readings)) in reports.iter().enumerate() {
            let mut fields = std::collections::HashSet::new();
            // The eleventh has no resolution: nobody has described it.
            let named: Vec<(String, f64)> = readings
                .iter()
                .filter(|(exponent, _)| fields.insert(*exponent))
                .map(|(exponent, value)| (if *exponent == 10 { "odd".into() } else { format!("e{exponent}") }, *value))
                .collect();
            let readings: Vec<(&str, f64)> = named.iter().map(|(field, value)| (field.as_str(), *value)).collect();
            let report = report(host(1), "tank", sequence as u64 + 1, "reef", &readings);
            let receipt = append(&*store.history, Arrival { at: at(*second), ..arrival(report) }).unwrap();
            let mut kept = 0;
            for (field, value) in &named {
                let rounded = match field.strip_prefix('e') {
                    Some(exponent) => Resolution::power_of_ten(exponent.parse().unwrap()).round(*value),
                    None => Some(*value).filter(|value| value.is_finite()),
                };
                if let Some(value) = rounded {
                    kept += 1;
                    expected.entry(field.clone()).or_default().push((*second, value));
                }
            }
            prop_assert_eq!((receipt.kept, receipt.unfit, receipt.over_limit), (kept, named.len() - kept, 0));
            if cuts.contains(&sequence) {
                store.history.release(store.history.last_row());
                store.history.maintain(at((sequence as i64 + 1) * SPAN / 60)).unwrap();
                if sequence % 2 == 0 {
                    drop(store);
                    store = open();
                }
            }
        }
        compare(&store, &expected, step)?;
        // Everything in its final place.
        store.history.release(store.history.last_row());
        for day in [7, 9, 16] {
            store.history.maintain(at(day * 86_400)).unwrap();
            compare(&store, &expected, step)?;
        }
        let stats = store.history.stats().unwrap();
        prop_assert_eq!((stats.part("recent").unwrap().pieces, stats.waiting, stats.quarantined), (0, 0, 0));
    }
}

#[test]
fn series_that_were_first_go_on_behind_a_flood_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options { series_per_host: 50, ..options() }).unwrap();
    for round in 0..20 {
        let mut report = report(host(1), "tank", round + 1, "0", &[]);
        let facets = (0..30).map(|n| {
            let mut facet = tomte_model::Facet::owner("aquarium", format!("{round}-{n}"), "main");
            facet.read("e0", 1.0);
            facet
        });
        report.scopes = vec![tomte_model::Scope::complete("tank", facets.collect())];
        append(&*store.history, arrival(report)).unwrap();
    }
    append(&*store.history, arrival(report(host(1), "tank", 21, "0-0", &[("e0", 2.0)]))).unwrap();
    assert_eq!(raw(&*store.history, key(host(1), "0-0", "e0")), [(10, 1.0), (210, 2.0)]);
    assert_eq!(store.history.series(host(1)).unwrap().len(), 50);
}
