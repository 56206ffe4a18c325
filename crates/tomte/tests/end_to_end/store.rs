//! The care of the databases from the command line: counted, checked, copied
//! while the hub runs, and put back.

use std::fs;

use super::support::*;

/// A hub that took some reports in, and still runs.
fn used() -> Hub {
    let hub = Hub::start();
    block_on(async {
        let agent = SimulatedAgent::new(&hub, "reef").await;
        agent.flood(300).await;
        agent.until_all_acked().await;
        agent.stop().await;
    });
    hub
}

#[test]
fn a_backup_of_a_running_hub_brings_everything_back() {
    let mut hub = used();
    let said = hub.tomte(&["store", "stats"]);
    assert!(said.contains("series") && said.contains("five minutes 90 d"), "{said}");
    assert_eq!(hub.json(&["store", "stats"])["quarantined"], 0);
    let said = hub.tomte(&["store", "check"]);
    assert!(said.contains("all sound"), "{said}");
    hub.tomte(&["store", "compact"]);
    hub.tomte(&["token", "add", "kept", "--role", "viewer"]);
    let copy = hub.spare_folder().join("copy");
    let copy = copy.to_str().unwrap();
    let said = hub.tomte(&["store", "backup", copy]);
    assert!(said.contains(copy), "{said}");
    let again = hub.try_tomte(&["store", "backup", copy]);
    assert!(!again.status.success(), "a backup is never overwritten");
    // What came after it is not in it.
    hub.tomte(&["token", "add", "later", "--role", "viewer"]);
    let busy = hub.try_tomte(&["store", "restore", copy, "--replace"]);
    let said = String::from_utf8(busy.stderr).unwrap();
    assert!(!busy.status.success() && said.contains("in use by another hub"), "{said}");
    assert!(hub.process.stop().success());
    // Stopped, the same questions are answered all the same.
    assert!(hub.tomte(&["store", "check"]).contains("all sound"));
    let refused = hub.try_tomte(&["store", "restore", copy]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("--replace"), "{said}");
    let said = hub.tomte(&["store", "restore", copy, "--replace"]);
    assert!(said.contains("what was there is now"), "{said}");
    let tokens = hub.tomte(&["token", "list"]);
    assert!(tokens.contains("kept") && !tokens.contains("later"), "{tokens}");
    let export = hub.tomte(&["export", "--from", "-365d"]);
    assert!(export.lines().count() > 300, "{} lines", export.lines().count());
}

#[test]
fn a_damaged_backup_is_refused_and_nothing_touched() {
    let mut hub = used();
    let copy = hub.spare_folder().join("copy");
    hub.tomte(&["store", "backup", copy.to_str().unwrap()]);
    assert!(hub.process.stop().success());
    let mut bytes = fs::read(copy.join("history.db")).unwrap();
    bytes.truncate(8192);
    fs::write(copy.join("history.db"), bytes).unwrap();
    let before = fs::read(hub.folder.join("history.db")).unwrap();
    let refused = hub.try_tomte(&["store", "restore", copy.to_str().unwrap(), "--replace"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("history.db"), "{said}");
    assert!(fs::read(hub.folder.join("history.db")).unwrap() == before, "nothing was touched");
    assert!(hub.tomte(&["host", "list"]).contains("reef"));
}
