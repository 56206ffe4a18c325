//! Files and folders as they should not be: refused with a clear message,
//! left byte for byte as they were.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use common::*;
use tomte_store::history::Progress;
use tomte_store::state::{AuditEntry, HostRecord, Page};
use tomte_store::{OpenError, Options, Store, StoreError};

/// A folder with a little of everything in it, closed.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.state.put_host(&HostRecord::new(host(1), "nas".parse().unwrap(), at(0))).unwrap();
    for sequence in 1..=50 {
        append(&*store.history, arrival(report(host(1), "tank", sequence, "reef", &[("e0", 1.0)]))).unwrap();
    }
    store.history.release(store.history.last_row());
    store.history.maintain(at(1_000)).unwrap();
    folder
}

/// What opening says, after making sure that it changed nothing.
fn refusal(folder: &Path, file: &str) -> String {
    let before = fs::read(folder.join(file)).unwrap();
    let error = Store::open(folder, options()).err().expect("it is refused");
    assert!(fs::read(folder.join(file)).unwrap() == before, "{file} was changed");
    let again = Store::open(folder, options()).err().expect("it is still refused");
    assert_eq!(again.to_string(), error.to_string());
    error.to_string().replace(folder.to_str().unwrap(), "DIR")
}

#[test]
fn a_new_folder_is_private() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("a/b");
    let store = open(&folder);
    append(&*store.history, arrival(report(host(1), "tank", 1, "reef", &[("e0", 1.0)]))).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn the_files_are_as_they_were_designed() {
    let folder = filled();
    for (file, application_id) in [("state.db", 0x546F_6D53), ("history.db", 0x546F_6D48)] {
        let connection = rusqlite::Connection::open(folder.path().join(file)).unwrap();
        let pragma =
            |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(pragma("application_id"), application_id);
        assert_eq!(pragma("user_version"), if file == "history.db" { 4 } else { 2 });
        assert_eq!(pragma("page_size"), 8192);
        assert_eq!(pragma("auto_vacuum"), 2, "incremental");
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        let intact: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(intact, "ok");
    }
}

#[test]
fn two_hubs_cannot_share_a_folder() {
    let folder = filled();
    let first = open(folder.path());
    let error = Store::open(folder.path(), options()).err().expect("the first one has it");
    let OpenError::InUse { holder, .. } = &error else { panic!("{error}") };
    assert_eq!(*holder, Some(std::process::id()));
    assert!(error.to_string().contains("in use by another hub (process "));
    // A part of it that lives on holds the folder, too.
    let part = first.state.clone();
    drop(first);
    assert!(Store::open(folder.path(), options()).is_err());
    drop(part);
    open(folder.path());
}

#[test]
fn what_is_no_database_of_ours_is_refused_and_untouched() {
    let folder = filled();
    let file = |name: &str| folder.path().join(name);
    let good = fs::read(file("history.db")).unwrap();
    let said = |content: &[u8]| {
        fs::write(file("history.db"), content).unwrap();
        refusal(folder.path(), "history.db")
    };
    let foreign = |what: &str| {
        format!(
            "DIR/history.db is not a Tomte database ({what}): it was left untouched; move it away to start with an empty one"
        )
    };
    assert_eq!(said(b"hello"), foreign("it is too short to be one"));
    assert_eq!(said(&[b'x'; 9000]), foreign("it is no SQLite database"));
    assert_eq!(said(&fs::read(file("state.db")).unwrap()), foreign("it is a state.db under another name"));
    let mut other = good.clone();
    other[68..72].copy_from_slice(&[0; 4]);
    assert_eq!(said(&other), foreign("it is the SQLite database of another program"));
    let mut newer = good.clone();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    assert_eq!(
        said(&newer),
        "DIR/history.db was written by a newer version of Tomte (its schema is 99, this version knows up to 4): it was left untouched"
    );
    let mut older = good.clone();
    older[60..64].copy_from_slice(&0_u32.to_be_bytes());
    assert!(said(&older).contains("it has the impossible schema version 0"));
    fs::remove_file(file("history.db")).unwrap();
    fs::create_dir(file("history.db")).unwrap();
    let error = Store::open(folder.path(), options()).err().unwrap().to_string();
    assert!(error.contains("it is no regular file"), "{error}");
    fs::remove_dir(file("history.db")).unwrap();
    // Nothing at all is a beginning, and so is an empty file.
    fs::write(file("history.db"), b"").unwrap();
    open(folder.path());
}

#[test]
fn a_damaged_file_is_refused_and_untouched() {
    for file in ["state.db", "history.db"] {
        let folder = filled();
        let path = folder.path().join(file);
        let good = fs::read(&path).unwrap();
        // Cut off in the middle, and in the middle of a page.
        for length in [8192, good.len() / 2 + 100, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            let error = refusal(folder.path(), file);
            assert!(error.contains("is damaged (it is cut off after "), "{error}");
            assert!(error.ends_with("restore it from a backup, or move it away to start with an empty one"), "{error}");
        }
        // Garbage where the schema is.
        let mut torn = good.clone();
        torn[100..4000].fill(0xA5);
        fs::write(&path, &torn).unwrap();
        assert!(refusal(folder.path(), file).contains("is damaged ("));
        fs::write(&path, &good).unwrap();
        open(folder.path());
    }
}

#[test]
fn a_torn_page_of_the_records_is_found_before_anything_is_written() {
    let folder = filled();
    let path = folder.path().join("state.db");
    let pages = fs::metadata(&path).unwrap().len() / 8192;
    let good = fs::read(&path).unwrap();
    let mut found = 0;
    for page in 1..pages {
        let mut torn = good.clone();
        torn[page as usize * 8192..(page as usize + 1) * 8192].fill(0xA5);
        fs::write(&path, &torn).unwrap();
        assert!(refusal(folder.path(), "state.db").contains("is damaged ("), "page {page}");
        found += 1;
    }
    assert!(found > 10);
}

#[test]
fn a_torn_page_of_the_history_costs_no_more_than_itself_and_never_a_panic() {
    let folder = filled();
    let path = folder.path().join("history.db");
    let good = fs::read(&path).unwrap();
    for page in 1..good.len() / 8192 {
        fs::write(&path, &good).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xA5; 8192], page as u64 * 8192).unwrap();
        match Store::open(folder.path(), options()) {
            Err(OpenError::Damaged { .. }) => {}
            Err(other) => panic!("page {page}: {other}"),
            Ok(store) => {
                // The records do not depend on it.
                assert_eq!(store.state.hosts().unwrap().len(), 1);
                let asked = query(vec![key(host(1), "reef", "e0")], at(0), at(1_000), None);
                for result in [store.history.query(&asked).map(|_| ()), store.history.series(host(1)).map(|_| ())] {
                    assert!(matches!(result, Ok(()) | Err(StoreError::Damaged { .. })), "page {page}: {result:?}");
                }
                let late = report(host(1), "tank", 100, "reef", &[("e0", 1.0)]);
                let written = append(&*store.history, arrival(late));
                assert!(matches!(written, Ok(_) | Err(StoreError::Damaged { .. })), "page {page}: {written:?}");
            }
        }
        for log in ["history.db-wal", "history.db-shm"] {
            let _ = fs::remove_file(folder.path().join(log));
        }
    }
}

#[test]
fn a_ruined_history_costs_no_account_and_no_audit() {
    let folder = filled();
    let store = open(folder.path());
    let entry = AuditEntry {
        at: at(1),
        actor: "account:ada".into(),
        address: None,
        action: "host.rename".into(),
        target: None,
        outcome: "ok".into(),
        details: Default::default(),
    };
    store.state.audit(&entry).unwrap();
    let last_row = store.history.last_row();
    drop(store);
    fs::write(folder.path().join("history.db"), b"ruined").unwrap();
    refusal(folder.path(), "history.db");
    // The message says what to do; this does it.
    fs::rename(folder.path().join("history.db"), folder.path().join("history.db.ruined")).unwrap();
    let store = open(folder.path());
    assert_eq!(store.state.hosts().unwrap().len(), 1);
    assert_eq!(store.state.audit_log(Page::NewestFirst(None), 10).unwrap().len(), 1);
    append(&*store.history, arrival(report(host(1), "tank", 1, "reef", &[("e0", 1.0)]))).unwrap();
    assert!(store.history.last_row() >= last_row, "rows that snapshots name are not given again");
}

#[test]
fn a_crash_while_a_database_was_made_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state.db.new"), b"half of a databa").unwrap();
    fs::write(folder.path().join("state.db.new-journal"), b"x").unwrap();
    open(folder.path());
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
        .collect();
    names.sort();
    assert_eq!(names, ["history.db", "lock", "state.db"]);
}

/// After a crash the log holds what the file lacks. A file that lacks more than
/// that is refused as well, and nothing of the log is written into it.
#[test]
fn a_file_cut_off_beside_its_log_is_refused_and_untouched() {
    let folder = filled();
    let store = open(folder.path());
    for sequence in 51..=400 {
        append(&*store.history, arrival(report(host(1), "tank", sequence, "reef", &[("e0", 1.0)]))).unwrap();
        let entry = AuditEntry {
            at: at(1),
            actor: "somebody".into(),
            address: None,
            action: "feed".into(),
            target: None,
            outcome: "ok".repeat(50),
            details: Default::default(),
        };
        store.state.audit(&entry).unwrap();
    }
    // What a power cut leaves behind.
    let crashed = tempfile::tempdir().unwrap();
    for file in ["state.db", "state.db-wal", "history.db", "history.db-wal"] {
        fs::copy(folder.path().join(file), crashed.path().join(file)).unwrap();
    }
    drop(store);
    for file in ["state.db", "history.db"] {
        let path = crashed.path().join(file);
        let log = path.with_extension("db-wal");
        let (good, good_log) = (fs::read(&path).unwrap(), fs::read(&log).unwrap());
        assert!(!good_log.is_empty());
        for pages in [2, 3] {
            fs::write(&path, &good[..pages * 8192]).unwrap();
            let error = refusal(crashed.path(), file);
            assert!(error.contains("is damaged") && error.contains("left untouched"), "{error}");
            assert!(fs::read(&log).unwrap() == good_log, "the log of {file} was changed");
        }
        fs::write(&path, &good).unwrap();
    }
    let store = open(crashed.path());
    let received = store.history.received(host(1), 7);
    assert!(received.contains(400), "{received:?}");
}

#[test]
fn a_closed_database_needs_no_log() {
    let folder = filled();
    let store = open(folder.path());
    store.state.hosts().unwrap();
    store.history.series(host(1)).unwrap();
    append(&*store.history, arrival(report(host(1), "tank", 99, "reef", &[("e0", 1.0)]))).unwrap();
    drop(store);
    for file in ["state.db-wal", "history.db-wal"] {
        assert!(!folder.path().join(file).exists(), "{file} was left behind");
    }
}

#[test]
fn a_damaged_history_is_set_aside_when_told_and_nothing_is_deleted() {
    let folder = filled();
    let path = folder.path().join("history.db");
    let good = fs::read(&path).unwrap();
    let cut = &good[..good.len() / 2 / 8192 * 8192];
    fs::write(&path, cut).unwrap();
    let told = Options { set_damaged_history_aside: true, ..options() };
    for round in 1..=2 {
        let store = Store::open(folder.path(), told.clone()).unwrap();
        assert_eq!(store.state.hosts().unwrap().len(), 1, "the records do not depend on it");
        let aside = store.set_aside.clone().unwrap();
        assert_eq!(aside.path, folder.path().join(format!("history.db.damaged-{round}")));
        assert!(aside.what.contains("cut off"), "{}", aside.what);
        assert_eq!(fs::read(&aside.path).unwrap(), cut);
        append(&*store.history, arrival(report(host(1), "tank", 1, "reef", &[("e0", 1.0)]))).unwrap();
        drop(store);
        fs::write(&path, cut).unwrap();
    }
    // A file that is not ours is never moved.
    fs::write(&path, b"something else").unwrap();
    assert!(matches!(Store::open(folder.path(), told), Err(OpenError::Foreign { .. })));
}

#[test]
fn a_backup_made_while_running_is_put_in_place_of_what_was_lost() {
    let folder = filled();
    let store = open(folder.path());
    let copies = tempfile::tempdir().unwrap();
    let backup = copies.path().join("monday");
    let mut last = Progress::default();
    store.backup(&backup, &mut |progress| last = progress).unwrap();
    assert!(last.total > 0 && last.done == last.total, "{last:?}");
    assert!(matches!(store.backup(&backup, &mut |_| {}), Err(StoreError::Target { .. })), "nothing is overwritten");
    append(&*store.history, arrival(report(host(1), "tank", 99, "reef", &[("e0", 1.0)]))).unwrap();
    assert!(matches!(Store::restore(&backup, folder.path()), Err(OpenError::InUse { .. })));
    drop(store);
    let moved = Store::restore(&backup, folder.path()).unwrap();
    assert_eq!(moved.len(), 2);
    let store = open(folder.path());
    assert_eq!(store.state.hosts().unwrap().len(), 1);
    let received = store.history.received(host(1), 7);
    assert!(received.contains(50) && !received.contains(99), "{received:?}");
    drop(store);
    // One that is damaged is refused before anything is touched.
    let bytes = fs::read(backup.join("history.db")).unwrap();
    fs::write(backup.join("history.db"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(Store::restore(&backup, folder.path()), Err(OpenError::Damaged { .. })));
    assert!(open(folder.path()).history.received(host(1), 7).contains(50));
}
