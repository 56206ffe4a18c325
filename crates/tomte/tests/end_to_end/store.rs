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

/// Some history as CSV: three series of the last hours.
fn history() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let mut text = "time,host,kind,name,field,value\n".to_owned();
    for index in 0..200_i64 {
        let time = now - 4 * 3_600_000 + index * 30_000;
        for (kind, name, field, value) in [
            ("filesystem", "/mnt/a, \"\"b\"\"", "used_ratio", index as f64 / 1_000.0),
            ("cpu", "cpu", "usage_ratio", 0.25),
            ("disk", "sda", "read_bytes_per_second", index as f64 * 4_096.0),
        ] {
            text.push_str(&format!("{time},attic,{kind},\"{name}\",{field},{value}\n"));
        }
    }
    text
}

/// What one hub exports, another one takes in, in every format; and once.
#[test]
fn history_goes_from_hub_to_hub() {
    let (from, to) = (Hub::start(), Hub::start());
    let file = |name: &str| from.spare_folder().join(name).to_str().unwrap().to_owned();
    fs::write(file("first.csv"), history()).unwrap();
    let refused = from.try_tomte(&["import", &file("first.csv")]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("line 2: there is no host") && said.contains("nothing was taken in"), "{said}");
    from.tomte(&["import", &file("first.csv"), "--add-hosts"]);
    let sorted = |hub: &Hub| {
        let text = hub.tomte(&["export", "--from", "-1d", "--as", "csv"]);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let whole = sorted(&from);
    assert_eq!(whole.len(), 601);
    for name in ["all.csv", "all.jsonl", "all.om"] {
        from.tomte(&["export", "--from", "-1d", "--output", &file(name)]);
        let said = to.tomte(&["import", &file(name), "--add-hosts"]);
        let (taken, known) = if name == "all.csv" { (600, 0) } else { (0, 600) };
        assert_eq!(said.trim(), format!("{taken} readings taken in, {known} were there already"), "{name}");
    }
    assert_eq!(sorted(&to), whole);
    // A bad line in the middle costs the whole file nothing and names itself.
    let mut bad: Vec<String> = history().lines().map(str::to_owned).collect();
    bad[400] = "yesterday-ish,attic,cpu,cpu,usage_ratio,0.5".to_owned();
    fs::write(file("bad.csv"), bad.join("\n")).unwrap();
    let refused = to.try_tomte(&["import", &file("bad.csv"), "--add-hosts"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("line 401"), "{said}");
    assert_eq!(sorted(&to), whole);
}
