#![allow(clippy::unwrap_used)]
use std::fs::{create_dir_all, remove_dir_all, remove_file, write};
use std::path::PathBuf;

use serde_json::json;
use tomte_model::{Timestamp, Value};

use super::*;

const HOUR: u64 = 3_600_000;

struct Host {
    dir: tempfile::TempDir,
    collector: Box<dyn Collector>,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        create_dir_all(dir.path().join("tools")).unwrap();
        let collector = make(&Root::new(dir.path()), &Settings::default());
        Self { dir, collector }
    }
    fn plug(&self, device: &str, rotational: bool) {
        let block = self.dir.path().join("sys/block").join(device);
        create_dir_all(block.join("device")).unwrap();
        create_dir_all(block.join("queue")).unwrap();
        write(block.join("size"), "1000").unwrap();
        write(block.join("queue/rotational"), if rotational { "1" } else { "0" }).unwrap();
        self.moved(device, 0);
    }
    fn moved(&self, device: &str, sectors: u64) {
        let block = self.dir.path().join("sys/block").join(device);
        write(block.join("stat"), format!("1 0 {sectors} 0 0 0 7 0 0 0 0\n")).unwrap();
    }
    fn tool(&self, call: &str) -> PathBuf {
        self.dir.path().join("tools").join(format!("smartctl {call}").replace('/', "!"))
    }
    fn says(&self, device: &str, what: &serde_json::Value) {
        write(self.tool(&format!("--json -n standby -a /dev/{device}")), what.to_string()).unwrap();
    }
    fn collect(&mut self, millis: u64) -> Vec<Scope> {
        self.collector.collect(Moment { wall: Timestamp::default(), boot_millis: millis })
    }
}

fn disk(celsius: u32) -> serde_json::Value {
    json!({"smartctl": {"exit_status": 0}, "smart_status": {"passed": true}, "temperature": {"current": celsius},
        "rotation_rate": 7200, "serial_number": format!("S{celsius}"), "ata_smart_attributes": {"table": []}})
}

fn asleep() -> serde_json::Value {
    json!({"smartctl": {"exit_status": 2, "messages": [{"string": "Device is in STANDBY mode, exit(2)"}]}})
}

fn of<'a>(scopes: &'a [Scope], name: &str) -> &'a Scope {
    scopes.iter().find(|scope| scope.name == name).unwrap_or_else(|| panic!("{name} in {scopes:?}"))
}

fn power(scope: &Scope) -> &Value {
    scope.facets[0].attribute("power").unwrap()
}

#[test]
fn without_smartctl_or_disks_it_is_not_available() {
    let mut host = Host::new();
    assert!(matches!(&host.collect(0)[0].outcome, Outcome::Unavailable { error } if error.contains("smartmontools")));
    host.plug("vda", false);
    write(host.tool("--version"), "").unwrap();
    assert!(matches!(&host.collect(0)[0].outcome, Outcome::Unavailable { error } if error.contains("no disk")));
}

#[test]
fn a_disk_that_fails_to_answer_fails_alone_and_one_that_goes_is_told_of() {
    let mut host = Host::new();
    host.plug("sda", false);
    host.plug("sdb", false);
    host.says("sda", &disk(40));
    host.says("sdb", &disk(41));
    let scopes = host.collect(0);
    assert_eq!(of(&scopes, "smart:sda").facets[0].reading("temperature_celsius"), Some(40.0));
    assert!(!of(&scopes, "smart:sda").facets[0].owner);
    assert_eq!(of(&scopes, "smart:sda").facets[0].attribute("smart_device"), Some(&Value::Text("sda".into())));
    write(host.tool("--json -n standby -a /dev/sdb"), "no JSON").unwrap();
    let scopes = host.collect(1000);
    assert!(of(&scopes, "smart:sda").outcome.is_complete());
    assert!(matches!(of(&scopes, "smart:sdb").outcome, Outcome::Failed { .. }));
    remove_dir_all(host.dir.path().join("sys/block/sdb")).unwrap();
    let scopes = host.collect(2000);
    let gone = of(&scopes, "smart:sdb");
    assert!(gone.outcome.is_complete() && gone.facets.is_empty());
}

#[test]
fn a_sleeping_disk_is_what_it_was_without_a_temperature() {
    let mut host = Host::new();
    host.plug("sda", true);
    host.says("sda", &asleep());
    let scopes = host.collect(0);
    assert_eq!(power(of(&scopes, "smart:sda")), &Value::Text("asleep".into()));
    assert!(of(&scopes, "smart:sda").facets[0].readings.is_empty(), "nothing is known of it yet");
    host.says("sda", &disk(40));
    host.collect(1000);
    host.moved("sda", 9);
    host.says("sda", &asleep());
    let scopes = host.collect(2000);
    let facet = &of(&scopes, "smart:sda").facets[0];
    assert_eq!((facet.reading("failing"), facet.reading("temperature_celsius")), (Some(0.0), None));
    // It is asked again as soon as it may be awake.
    host.says("sda", &disk(30));
    assert_eq!(of(&host.collect(3000), "smart:sda").facets[0].reading("temperature_celsius"), Some(30.0));
}

#[test]
fn an_idle_disk_that_turns_is_left_alone_for_an_hour() {
    let mut host = Host::new();
    host.plug("sda", true);
    host.plug("sdb", false);
    host.says("sda", &disk(40));
    host.says("sdb", &disk(50));
    host.collect(0);
    remove_file(host.tool("--json -n standby -a /dev/sda")).unwrap();
    host.says("sdb", &disk(51));
    let scopes = host.collect(HOUR / 4);
    assert_eq!(power(of(&scopes, "smart:sda")), &Value::Text("idle".into()), "it was not asked");
    assert_eq!(of(&scopes, "smart:sda").facets[0].reading("temperature_celsius"), None);
    assert_eq!(of(&scopes, "smart:sdb").facets[0].reading("temperature_celsius"), Some(51.0), "it does not turn");
    host.says("sda", &disk(42));
    host.moved("sda", 100);
    let scopes = host.collect(HOUR / 2);
    assert_eq!(of(&scopes, "smart:sda").facets[0].reading("temperature_celsius"), Some(42.0), "it had work");
    let scopes = host.collect(2 * HOUR);
    assert_eq!(power(of(&scopes, "smart:sda")), &Value::Text("active".into()), "an hour is over");
}

#[test]
fn a_bridge_that_is_not_known_is_spoken_to_as_nearly_all_are() {
    let mut host = Host::new();
    host.plug("sda", false);
    host.says(
        "sda",
        &json!({"smartctl": {"exit_status": 1, "messages": [{"string": "/dev/sda: Unknown USB bridge [0x1:0x2]"}]}}),
    );
    let silent = json!({"smartctl": {"exit_status": 2, "messages": [{"string": "Read Device Identity failed"}]}});
    write(host.tool("--json -n standby -d sat -a /dev/sda"), silent.to_string()).unwrap();
    assert_eq!(host.collect(0).len(), 1, "it is no SATA disk either");
    write(host.tool("--json -n standby -d sat -a /dev/sda"), disk(33).to_string()).unwrap();
    assert_eq!(of(&host.collect(1), "smart:sda").facets[0].reading("temperature_celsius"), Some(33.0));
    remove_file(host.tool("--json -n standby -a /dev/sda")).unwrap();
    assert_eq!(of(&host.collect(2), "smart:sda").facets.len(), 1, "it is remembered how");
}

#[test]
fn disks_behind_a_controller_are_found_and_named_by_themselves() {
    let mut host = Host::new();
    host.plug("sda", false);
    host.says("sda", &json!({"smartctl": {"exit_status": 0}}));
    let scsi = host.dir.path().join("sys/class/scsi_host/host0");
    create_dir_all(&scsi).unwrap();
    write(scsi.join("proc_name"), "megaraid_sas\n").unwrap();
    let scan = json!({"devices": [{"name": "/dev/sda", "type": "scsi"}, {"name": "/dev/bus/0", "type": "megaraid,4"}]});
    write(host.tool("--json --scan"), scan.to_string()).unwrap();
    write(host.tool("--json -n standby -d megaraid,4 -a /dev/bus/0"), disk(35).to_string()).unwrap();
    let scopes = host.collect(0);
    let facet = &of(&scopes, "smart:S35").facets[0];
    assert_eq!(facet.attribute("controller"), Some(&Value::Text("megaraid,4".into())));
    assert_eq!(facet.attribute("smart_device"), facet.attribute("controller"), "several share a device");
    assert_eq!(scopes.len(), 2, "the controller's own volume has nothing to say");
}

#[test]
fn without_the_helper_it_is_denied_with_a_cure() {
    let refusal =
        Refusal::Denied { error: "no".into(), cure: "systemctl enable --now tomte-agent-helper.socket".into() };
    assert!(matches!(refusal.scope("smart").outcome, Outcome::Denied { cure, .. } if cure.contains("helper.socket")));
}
