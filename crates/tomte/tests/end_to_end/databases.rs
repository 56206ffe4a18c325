//! Databases that are damaged, cut off, somebody else's, newer or in use: the
//! hub does not start, says why, and leaves every byte as it is.

use std::fs;
use std::path::Path;

use super::support::*;

/// A folder as a hub left it that was stopped or killed, with something in both
/// databases.
fn used_folder(killed: bool) -> Hub {
    let mut hub = Hub::start();
    block_on(async {
        let agent = SimulatedAgent::new(&hub, "reef").await;
        agent.flood(300).await;
        agent.until_all_acked().await;
        agent.stop().await;
    });
    if killed {
        hub.process.kill();
    } else {
        assert!(hub.process.stop().success());
    }
    hub
}

/// A database and its log, if that holds anything. Not its `-shm` file, which holds nothing of its own:
/// SQLite makes it anew from the log.
fn contents(folder: &Path, name: &str) -> [Option<Vec<u8>>; 2] {
    [name.to_owned(), format!("{name}-wal")]
        .map(|name| fs::read(folder.join(name)).ok().filter(|bytes| !bytes.is_empty()))
}

#[test]
fn after_a_stop_what_is_no_whole_database_of_ours_is_refused_and_left_as_it_is() {
    ruin_and_start(&used_folder(false), false);
}

/// The log still holds what the file does not have yet.
#[test]
fn after_a_kill_what_is_no_whole_database_of_ours_is_refused_and_left_as_it_is() {
    ruin_and_start(&used_folder(true), true);
}

fn ruin_and_start(hub: &Hub, logs: bool) {
    let other = |name: &str| if name == "state.db" { "history.db" } else { "state.db" };
    type Damage = (&'static str, fn(&mut Vec<u8>), &'static str);
    let damages: [Damage; 6] = [
        ("no database", |bytes| *bytes = b"Dear diary, today I watched the fish. ".repeat(400), "no SQLite database"),
        ("a stump", |bytes| bytes.truncate(50), "too short"),
        ("cut off", |bytes| bytes.truncate(8192 * 2), "is damaged"),
        ("another program's", |bytes| bytes[68..72].copy_from_slice(b"fish"), "another program"),
        ("from the future", |bytes| bytes[60..64].copy_from_slice(&999_i32.to_be_bytes()), "newer version"),
        ("rotten", |bytes| bytes[100..8192].fill(0xa5), "is damaged"),
    ];
    for name in ["state.db", "history.db"] {
        let whole = fs::read(hub.folder.join(name)).unwrap();
        assert_eq!(contents(&hub.folder, name)[1].is_some(), logs, "{name}: whether there is a log");
        let mut cases: Vec<_> = damages
            .iter()
            // The log holds the first page, whole.
            .filter(|(what, ..)| !(logs && *what == "rotten"))
            .map(|(what, damage, said)| {
                let mut bytes = whole.clone();
                damage(&mut bytes);
                (*what, bytes, (*said).to_owned())
            })
            .collect();
        let swapped = fs::read(hub.folder.join(other(name))).unwrap();
        cases.push(("the other one", swapped, format!("it is a {} under another name", other(name))));
        for (what, bytes, expected) in cases {
            // A history is worth less than a hub that runs: see below.
            if name == "history.db" && expected == "is damaged" {
                continue;
            }
            fs::write(hub.folder.join(name), bytes).unwrap();
            let before = contents(&hub.folder, name);
            let output = hub.try_tomte(&["hub", "--listen", "127.0.0.1:0"]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{name}, {what}: it started");
            assert!(said.contains(name) && said.contains(&expected), "{name}, {what}: {said}");
            assert!(said.contains("left untouched"), "{name}, {what}: {said}");
            assert!(contents(&hub.folder, name) == before, "{name}, {what}: something was changed");
            // Neither does a command that would start a hub for the moment.
            let output = hub.try_tomte(&["host", "list"]);
            assert!(!output.status.success(), "{name}, {what}: host list");
            assert!(contents(&hub.folder, name) == before, "{name}, {what}: host list changed something");
        }
        fs::write(hub.folder.join(name), whole).unwrap();
    }
    // Put back, all is well.
    assert!(hub.tomte(&["host", "list"]).contains("reef"));
}

/// What is ruined costs what was in it: the hub starts, and says so.
#[test]
fn a_damaged_history_is_set_aside_and_costs_no_account_and_no_token() {
    let hub = used_folder(false);
    hub.tomte(&["token", "add", "kept", "--role", "viewer"]);
    let path = hub.folder.join("history.db");
    let mut ruined = fs::read(&path).unwrap();
    ruined[100..8192].fill(0xa5);
    fs::write(&path, &ruined).unwrap();
    let tokens = hub.tomte(&["token", "list"]);
    assert!(tokens.contains("kept"), "{tokens}");
    assert!(hub.tomte(&["host", "list"]).contains("reef"));
    let events = hub.tomte(&["event", "list", "--severity", "critical"]);
    assert!(events.contains("the history was damaged"), "{events}");
    let files = fs::read_dir(&hub.folder).unwrap().map(|file| file.unwrap().path());
    let aside: Vec<_> = files.filter(|file| file.to_string_lossy().contains("history.db.damaged")).collect();
    assert!(aside.iter().any(|file| fs::read(file).unwrap() == ruined), "kept as it was: {aside:?}");
}

#[test]
fn a_second_hub_on_one_folder_is_refused_and_the_first_goes_on() {
    let hub = Hub::start();
    let output = hub.try_tomte(&["hub", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    let holder = format!("process {}", hub.process.child.id());
    assert!(said.contains("in use by another hub") && said.contains(&holder), "{said}");
    hub.tomte(&["host", "list"]);
    assert_eq!(Http::connect(&hub.url).ask("GET", "/healthz", &[], "").unwrap().status, 200);
}

/// A port that is taken is no reason to have touched the folder.
#[test]
fn a_port_that_is_taken_is_named() {
    let hub = Hub::start();
    let folder = hub.spare_folder().join("second");
    let address = hub.url.trim_start_matches("http://");
    let output = tomte().args(["hub", "--listen", address, "--data"]).arg(&folder).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains(address) && said.contains("in use"), "{said}");
}
