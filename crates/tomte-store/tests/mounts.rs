//! A disk that cannot be written: one that is mounted read-only, and one that
//! is full, really. Each is a small file system in memory, mounted in a
//! namespace that nobody else sees; the test runs itself inside.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;
use tomte_store::state::HostRecord;
use tomte_store::{OpenError, Store, StoreError};

const FOLDER: &str = "TOMTE_STORE_MOUNTED_FOLDER";
const PHASE: &str = "TOMTE_STORE_MOUNTED_PHASE";

/// The folder and the phase, inside of the namespace.
fn inside() -> Option<(PathBuf, String)> {
    Some((std::env::var_os(FOLDER)?.into(), std::env::var(PHASE).ok()?))
}

/// Runs the phases of a test one after the other on a file system of its own,
/// with a command before each.
fn run(test: &str, size: &str, phases: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let mut script = format!("set -e; mount -t tmpfs -o size={size},mode=0700 tmpfs \"${FOLDER}\"; ");
    for (before, phase) in phases {
        script += &format!("{before}; {PHASE}={phase} \"$0\" --exact {test} --nocapture; ");
    }
    let unshare = |program: &str, arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "--propagation", "private", program]).args(arguments);
        command.env(FOLDER, folder.path());
        command
    };
    let target = folder.path().to_str().unwrap();
    let possible = unshare("mount", &["-t", "tmpfs", "tmpfs", target]).output();
    if !possible.as_ref().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: no file system can be mounted in a namespace here: {possible:?}");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let output = unshare("sh", &["-c", &script, this.to_str().unwrap()]).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    let passed = said.matches("test result: ok. 1 passed").count();
    assert_eq!(passed, phases.len(), "every phase ran: {said}");
}

fn tell(store: &Store, sequence: u64) -> Result<(), StoreError> {
    append(&*store.history, arrival(report(host(1), "tank", sequence, "reef", &[("e0", sequence as f64)]))).map(drop)
}

#[test]
fn a_read_only_folder_is_refused_with_a_clear_message_and_works_again_later() {
    let Some((folder, phase)) = inside() else {
        let name = "a_read_only_folder_is_refused_with_a_clear_message_and_works_again_later";
        let remount = |how: &str| format!("mount -o remount,{how} \"${FOLDER}\"");
        return run(name, "64m", &[(":", "fill"), (&remount("ro"), "refused"), (&remount("rw"), "again")]);
    };
    match phase.as_str() {
        "fill" => {
            let store = open(&folder);
            store.state.put_host(&HostRecord::new(host(1), "nas".parse().unwrap(), at(0))).unwrap();
            (1..=20).for_each(|sequence| tell(&store, sequence).unwrap());
        }
        "refused" => {
            let before = fs::read(folder.join("history.db")).unwrap();
            let error = Store::open(&folder, options()).err().expect("it is refused");
            assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
            let (error, cause) = (error.to_string(), std::error::Error::source(&error).unwrap().to_string());
            assert_eq!(error, format!("{} cannot be opened", folder.join("lock").display()));
            assert!(cause.contains("Read-only file system"), "{cause}");
            assert!(fs::read(folder.join("history.db")).unwrap() == before);
        }
        _ => {
            let store = open(&folder);
            assert_eq!(store.state.hosts().unwrap().len(), 1);
            assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")).len(), 20);
            tell(&store, 21).unwrap();
        }
    }
}

/// Fills what is left of the file system.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).unwrap();
    while file.write_all(&[7; 512]).is_ok() {}
}

#[test]
fn a_disk_that_is_full_refuses_reports_and_takes_them_again_when_there_is_room() {
    let Some((folder, _)) = inside() else {
        let name = "a_disk_that_is_full_refuses_reports_and_takes_them_again_when_there_is_room";
        return run(name, "8m", &[(":", "all")]);
    };
    let store = open(&folder);
    let ballast = folder.join("ballast");
    let mut sequence = 0;
    let mut acked = Vec::new();
    for round in 0..3 {
        for _ in 0..20 {
            sequence += 1;
            tell(&store, sequence).unwrap();
            acked.push((sequence as i64 * 10, sequence as f64));
        }
        fill(&ballast);
        // Some still fit where there was room before.
        let refused = loop {
            sequence += 1;
            match tell(&store, sequence) {
                Ok(()) => acked.push((sequence as i64 * 10, sequence as f64)),
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, StoreError::Full { .. }), "round {round}: {refused}");
        assert!(store.history.trouble().is_some());
        // Upkeep fails as well, and harms nothing.
        store.history.release(store.history.last_row());
        let upkeep = store.history.maintain(at(10_000 * (round + 1)));
        assert!(matches!(upkeep, Ok(_) | Err(StoreError::Full { .. })), "round {round}: {upkeep:?}");
        assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")), acked, "round {round}");
        fs::remove_file(&ballast).unwrap();
        tell(&store, sequence).unwrap();
        acked.push((sequence as i64 * 10, sequence as f64));
        assert!(store.history.trouble().is_none());
        store.history.maintain(at(10_000 * (round + 1))).unwrap();
    }
    drop(store);
    let store = open(&folder);
    assert_eq!(raw(&*store.history, key(host(1), "reef", "e0")), acked);
    assert!(store.history.check(&mut |_| {}).unwrap().is_sound());
}
