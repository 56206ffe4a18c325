//! What damage costs: its own readings, no others.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::common::*;
use crate::history::{Points, Progress};
use crate::{Options, Store, StoreError};

/// Twelve days of a report a quarter of an hour, in every kind of place.
fn fill(folder: &Path) -> Store {
    let store = Store::open(folder, options()).unwrap();
    for number in 1..=12 * 96_u64 {
        let second = number as i64 * 900;
        let readings = [("e0", number as f64), ("e-1", (number * number % 977) as f64)];
        let told = report(host(1), "tank", number, "reef", &readings);
        let arrival = crate::Arrival { at: at(second), received_at: at(second), ..arrival(told) };
        store.history.append(arrival, catalogue(), Box::new(|result| assert!(result.is_ok())));
        if number % 48 == 0 {
            store.history.flush().unwrap();
            store.history.release(store.history.last_row());
            store.history.maintain(at(second)).unwrap();
        }
    }
    store.history.flush().unwrap();
    store
}

fn count(store: &Store, field: &str, step: Option<u64>) -> u64 {
    let asked = query(vec![key(host(1), "reef", field)], at(0), at(13 * 86_400), step.map(Duration::from_secs));
    match &store.history.query(&asked).unwrap().series[0].points {
        Points::Raw(points) => points.len() as u64,
        Points::Stepped(buckets) => buckets.iter().flatten().map(|bucket| bucket.count).sum(),
    }
}

/// Flips a bit somewhere in a piece, in the closed database.
fn flip(folder: &Path, table: &str, byte: usize) -> bool {
    let connection = Connection::open(folder.join("history.db")).unwrap();
    let sql = format!("SELECT id, body FROM {table} ORDER BY id LIMIT 1");
    let (id, mut body): (i64, Vec<u8>) = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let Some(byte) = body.get_mut(byte) else { return false };
    *byte ^= 0x10;
    connection.execute(&format!("UPDATE {table} SET body = ?2 WHERE id = ?1"), (id, body)).unwrap();
    true
}

#[test]
fn flipped_bits_are_found_set_aside_and_cost_no_more_than_their_piece() {
    let folder = tempfile::tempdir().unwrap();
    drop(fill(folder.path()));
    let good = std::fs::read(folder.path().join("history.db")).unwrap();
    let whole = Store::open(folder.path(), options()).unwrap();
    let fields = ["e0", "e-1"];
    let all = fields.map(|field| [None, Some(300), Some(3_600)].map(|step| count(&whole, field, step)));
    assert!(whole.history.check(&mut |_| {}).unwrap().is_sound());
    drop(whole);
    for table in ["part", "chunk", "recent", "five", "hour"] {
        for byte in [0, 3, 9, 25, 60, 100, 160] {
            std::fs::write(folder.path().join("history.db"), &good).unwrap();
            if !flip(folder.path(), table, byte) {
                continue;
            }
            let store = Store::open(folder.path(), options()).unwrap();
            let mut last = Progress::default();
            let checked = store.history.check(&mut |progress| last = progress).unwrap();
            assert_eq!(checked.file, None);
            assert_eq!(checked.damaged.len(), 1, "{table}, byte {byte}: {checked:?}");
            assert!(last.total == checked.pieces && last.done == last.total);
            assert_eq!(store.history.stats().unwrap().quarantined, 1);
            assert!(store.history.check(&mut |_| {}).unwrap().is_sound(), "it is set aside");
            let mut lost = 0;
            for (field, all) in fields.iter().zip(&all) {
                for (step, all) in [None, Some(300), Some(3_600)].into_iter().zip(all) {
                    lost += all - count(&store, field, step);
                }
            }
            // A day of readings, or what eight days or a quarter have as buckets.
            assert!(lost > 0 && lost <= 4 * 12 * 96, "{table}, byte {byte}: {lost}");
            store.history.maintain(at(13 * 86_400)).unwrap();
            append(&*store.history, arrival(report(host(1), "tank", 99_999, "reef", &[("e0", 1.0)]))).unwrap();
        }
    }
}

#[test]
fn a_damaged_slot_of_the_journal_costs_its_reports_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for number in 1..=2_000_u64 {
        let told = report(host(1), "tank", number, "reef", &[("e0", number as f64)]);
        store.history.append(arrival(told), catalogue(), Box::new(|result| assert!(result.is_ok())));
        if number % 500 == 0 {
            store.history.flush().unwrap();
        }
    }
    store.history.flush().unwrap();
    let last_row = store.history.last_row();
    drop(store);
    let connection = Connection::open(folder.path().join("history.db")).unwrap();
    let slots: i64 = connection.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
    assert!(slots > 4, "{slots}");
    connection.execute("UPDATE journal SET body = zeroblob(length(body)) WHERE slot = 2", []).unwrap();
    drop(connection);
    let store = open(folder.path());
    let found = raw(&*store.history, key(host(1), "reef", "e0"));
    assert!(found.len() > 1_200 && found.len() < 2_000, "{}", found.len());
    assert!(store.history.last_row() > last_row, "numbers are not given twice");
    append(&*store.history, arrival(report(host(1), "tank", 3_000, "reef", &[("e0", 3_000.0)]))).unwrap();
    drop(store);
    let again = raw(&*open(folder.path()).history, key(host(1), "reef", "e0"));
    assert_eq!(again.len(), found.len() + 1);
}

#[test]
fn a_query_says_when_it_is_over_its_budget() {
    let folder = tempfile::tempdir().unwrap();
    let store = fill(folder.path());
    let mut asked = query(vec![key(host(1), "reef", "e0")], at(0), at(13 * 86_400), Some(Duration::from_secs(300)));
    asked.budget.bytes = 1_000;
    assert!(matches!(store.history.query(&asked), Err(StoreError::TooManyBytes { allowed: 1_000 })));
    asked.budget.bytes = 1 << 30;
    asked.budget.time = Duration::ZERO;
    assert!(matches!(store.history.query(&asked), Err(StoreError::TooSlow { .. })));
}

/// A database as version 1 left it: its readings and reports are all there,
/// before and after they are put into the new tables.
#[test]
fn what_version_1_kept_is_read_and_moved() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for number in 1..=50_u64 {
        let told = report(host(1), "tank", number, "reef", &[("e0", number as f64), ("unheard_of", 0.5)]);
        append(&*store.history, arrival(told)).unwrap();
    }
    let mut reports = Vec::new();
    store.history.replay(0, &mut |row, arrival| reports.push((row, arrival))).unwrap();
    drop(store);
    // Back to version 1: half of it filed, half of it waiting.
    let connection = Connection::open(folder.path().join("history.db")).unwrap();
    let mut records = Vec::new();
    super::super::journal::each(&connection, |record| records.push(record)).unwrap();
    for record in &records {
        if record.sequence <= 25 {
            connection
                .execute(
                    "INSERT INTO reading VALUES (?1, ?2, ?3, ?4)",
                    (record.collector, record.at, record.row, &record.body),
                )
                .unwrap();
            continue;
        }
        let host: i64 = connection.query_row("SELECT number FROM host", [], |row| row.get(0)).unwrap();
        connection
            .execute(
                "INSERT INTO arrival VALUES (?1, ?2, ?3, ?4, ?2, ?5, ?6, ?7, ?8, ?7, ?9, 0, NULL, ?10, NULL)",
                rusqlite::params![
                    record.row,
                    host,
                    record.collector,
                    record.frame,
                    record.epoch.cast_signed(),
                    record.sequence.cast_signed(),
                    record.at,
                    record.received_at,
                    record.boot_millis.cast_signed(),
                    record.body,
                ],
            )
            .unwrap();
    }
    let ranges = crate::sqlite::history::ranges::encode(&[1..=50].into_iter().collect());
    connection.execute("INSERT INTO received VALUES (1, 7, ?1)", [ranges]).unwrap();
    connection
        .execute_batch(
            "DROP TABLE journal; DROP TABLE part; DROP TABLE chunk; DROP TABLE recent; DROP TABLE five;
             DROP TABLE hour; DROP TABLE damaged; ALTER TABLE collector DROP COLUMN sealed;
             DELETE FROM meta WHERE key <> 'last_row'; DROP TABLE change; DROP TABLE change_scope; PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(connection);

    let expected: Vec<(i64, f64)> = (1..=50).map(|number| (number * 10, number as f64)).collect();
    let store = Store::open(folder.path(), Options { seal_every: Duration::from_secs(7_200), ..options() }).unwrap();
    assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")), expected);
    let mut again = Vec::new();
    store.history.replay(0, &mut |row, arrival| again.push((row, arrival))).unwrap();
    assert_eq!(again.len(), 25);
    assert_eq!(again[0].0, reports[25].0);
    assert_eq!(*again[0].1.report, *reports[25].1.report);
    assert_eq!(
        append(&*store.history, arrival(report(host(1), "tank", 30, "reef", &[("e0", 1.0)]))).unwrap().row,
        None
    );
    store.history.maintain(at(100)).unwrap();
    assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")), expected);
    store.history.maintain(at(86_400)).unwrap();
    drop(store);
    let store = open(folder.path());
    assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")), expected);
    assert_eq!(raw(&*store.history, key(host(1), "reef", "unheard_of")).len(), 50);
    let stats = store.history.stats().unwrap();
    assert_eq!(stats.part("raw").unwrap().pieces, 1, "{stats:?}");
}
