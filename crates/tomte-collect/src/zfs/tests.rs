#![allow(clippy::unwrap_used)]
use std::fs::{create_dir_all, remove_file, write};

use proptest::prelude::*;
use tomte_model::{Timestamp, Value};

use super::*;
use crate::published::captured;

/// Shortly after the captures were made.
const NOW: i64 = 1_795_208_000_000;

fn now() -> Moment {
    Moment { wall: Timestamp::from_millis(NOW), boot_millis: 1000 }
}

fn text(name: &str) -> String {
    String::from_utf8(captured(&format!("zfs/{name}"))).unwrap()
}

struct Host {
    dir: tempfile::TempDir,
    collector: Box<dyn Collector>,
}

impl Host {
    fn new(settings: &Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        create_dir_all(dir.path().join("tools")).unwrap();
        create_dir_all(dir.path().join("sys/module/zfs")).unwrap();
        let collector = make(&Root::new(dir.path()), settings);
        Self { dir, collector }
    }
    fn tool(&self, call: &str, printed: impl AsRef<[u8]>) {
        write(self.dir.path().join("tools").join(call.replace('/', "!")), printed).unwrap();
    }
    fn unlearn(&self, call: &str) {
        remove_file(self.dir.path().join("tools").join(call)).unwrap();
    }
    fn datasets(&self, printed: &str) {
        self.tool(&format!("zfs list -H -p -t filesystem,volume -o {}", text::DATASETS), printed);
    }
    fn snapshots(&self, printed: &str) {
        self.tool(&format!("zfs list -H -p -t snapshot -o {}", text::SNAPSHOTS), printed);
    }
    /// As OpenZFS 2.3 answers in that state.
    fn new_tools(&self, state: &str) {
        self.tool("zpool list -j --json-int", text(&format!("{state}.zpool_list_json-int.json")));
        self.tool("zpool status -j --json-int", text(&format!("{state}.zpool_status_json-int.json")));
        self.datasets("");
        self.snapshots("");
    }
    /// As OpenZFS 2.1 answers in that state.
    fn old_tools(&self, state: &str) {
        self.tool("zpool list -j --json-int", "");
        self.tool("zpool list -j --json-int.status", "2");
        self.tool("zpool list -j --json-int.stderr", "invalid option 'j'\nusage:\n");
        self.tool(&format!("zpool list -H -p -o {}", text::LIST), text(&format!("{state}.zpool_list_Hp.txt")));
        self.tool("zpool status -p", text(&format!("{state}.zpool_status_p.txt")));
        self.datasets("");
        self.snapshots("");
    }
    fn scope(&mut self, name: &str) -> Scope {
        self.collector.collect(now()).into_iter().find(|scope| scope.name == name).unwrap()
    }
    fn pool(&mut self, name: &str) -> Facet {
        let scope = self.scope("pool");
        assert!(scope.outcome.is_complete(), "{scope:?}");
        scope.facets.into_iter().find(|facet| facet.resource.name == name).unwrap()
    }
}

fn word(facet: &Facet, name: &str) -> String {
    facet.attribute(name).map(ToString::to_string).unwrap_or_default()
}

#[test]
fn pools_as_json() {
    let mut host = Host::new(&Settings::default());
    host.new_tools("missing");
    insta::assert_debug_snapshot!(host.scope("pool").facets);
}

/// The same pools, told by both: what matters is the same.
#[test]
fn old_and_new_tools_tell_the_same() {
    for state in ["healthy", "scrubbed", "missing", "cksum"] {
        let (mut old, mut new) = (Host::new(&Settings::default()), Host::new(&Settings::default()));
        old.old_tools(state);
        new.new_tools(state);
        for pool in ["rz", "solo", "tank"] {
            let (old, new) = (old.pool(pool), new.pool(pool));
            for name in ["state", "fault", "type", "message", "advice", "scan", "scan_state", "scan_ended_at"] {
                assert_eq!(word(&old, name), word(&new, name), "{state} {pool} {name}");
            }
            // The numbers were captured at two moments.
            for name in
                ["impairment", "data_errors", "device_errors", "devices", "faulty_devices", "scan_errors", "size_bytes"]
            {
                assert_eq!(old.reading(name), new.reading(name), "{state} {pool} {name}");
            }
            assert_eq!(old.tables[0].rows.len(), new.tables[0].rows.len(), "{state} {pool}");
        }
    }
}

#[test]
fn the_device_to_blame_is_named() {
    let mut host = Host::new(&Settings::default());
    host.new_tools("missing");
    let tank = host.pool("tank");
    assert_eq!(word(&tank, "fault"), "/tmp/v/d2 of mirror-0 is UNAVAIL");
    assert_eq!((tank.reading("impairment"), tank.reading("faulty_devices")), (Some(1.0), Some(1.0)));
    assert!(word(&tank, "message").starts_with("One or more devices could not be opened. Sufficient"));
    host.new_tools("cksum");
    let rz = host.pool("rz");
    assert_eq!(word(&rz, "fault"), "/tmp/v/d3 of raidz1-0 has 188 checksum errors");
    assert_eq!((rz.reading("impairment"), rz.reading("device_errors")), (Some(0.0), Some(188.0)));
    assert_eq!((word(&rz, "type").as_str(), word(&host.pool("solo"), "type").as_str()), ("raidz1", "stripe"));
}

#[test]
fn scrubs_run_pause_end_and_are_cancelled() {
    let scan = |name: &str| {
        let pools = json::status(&captured(&format!("zfs/{name}"))).unwrap();
        pools.into_iter().find_map(|pool| pool.scan).unwrap()
    };
    use super::pool::ScanState;
    let running = scan("scrub_running.zpool_status.json");
    assert_eq!((running.state, running.progress, running.ended), (ScanState::Running, Some(0.0), None));
    assert_eq!(scan("scrub_canceled.zpool_status.json").state, ScanState::Cancelled);
    // As captured, but for the moment at which it was paused.
    let paused = text("scrub_running.zpool_status.json").replace("\"scrub_pause\":0", "\"scrub_pause\":1795207886");
    assert_eq!(json::status(paused.as_bytes()).unwrap()[0].scan.as_ref().unwrap().state, ScanState::Paused);
}

#[test]
fn scrubs_in_words() {
    let config = "config:\n\n\tNAME STATE READ WRITE CKSUM\n\ttank ONLINE 0 0 0\n";
    let of = |scan: &str| {
        let pools = text::status(&format!(
            "  pool: tank\n state: ONLINE\n  scan: {scan}\n{config}\nerrors: 3 data errors, use '-v' for a list\n"
        ));
        assert_eq!(pools[0].data_errors, Some(3.0));
        pools
            .into_iter()
            .next()
            .unwrap()
            .facet(Moment { wall: "2026-11-20T22:00:00Z".parse().unwrap(), boot_millis: 0 })
    };
    let running = of(
        "scrub in progress since Fri Nov 20 20:00:00 2026\n\t1.18T scanned at 1.2G/s, 900G issued at 900M/s, 2.28T total\n\t0B repaired, 39.47% done, 1 days 02:10:20 to go",
    );
    assert_eq!(running.reading("scan_progress_ratio"), Some(0.3947));
    assert_eq!(running.reading("scan_remaining_seconds"), Some(86_400.0 + 7_820.0));
    assert_eq!(word(&running, "scan_state"), "running");
    let paused = of(
        "scrub paused since Fri Nov 20 20:10:00 2026\n\tscrub started on Fri Nov 20 20:00:00 2026\n\t900G / 2T scanned, 12.5% done",
    );
    assert_eq!((word(&paused, "scan_state").as_str(), paused.reading("scan_progress_ratio")), ("paused", Some(0.125)));
    let cancelled = of("scrub canceled on Fri Nov 20 20:10:00 2026");
    assert_eq!((word(&cancelled, "scan_state").as_str(), cancelled.reading("scrub_age_seconds")), ("cancelled", None));
    let resilver = of(
        "resilver in progress since Fri Nov 20 20:00:00 2026\n\t0B resilvered, 0.00% done, no estimated completion time",
    );
    assert_eq!((word(&resilver, "scan").as_str(), resilver.reading("scan_remaining_seconds")), ("resilver", None));
    let done = of("scrub repaired 0B in 00:00:01 with 0 errors on Fri Nov 20 21:00:00 2026");
    assert_eq!(done.reading("scrub_age_seconds"), Some(3600.0));
    assert_eq!(of("none requested").attribute("scan"), None);
}

#[test]
fn spares_logs_and_caches_have_their_roles() {
    let pools = json::status(&captured("zfs/scrub_running.zpool_status.json")).unwrap();
    let facet = pools[0].facet(now());
    let roles: Vec<String> = facet.tables[0].rows.iter().map(|row| row[2].as_ref().unwrap().to_string()).collect();
    for role in ["data", "special", "log", "spare"] {
        assert!(roles.iter().any(|known| known == role), "{role} in {roles:?}");
    }
    assert_eq!(word(&facet, "type"), "raidz1");
}

#[test]
fn no_pools_are_no_error_and_no_zfs_is_not_available() {
    let mut host = Host::new(&Settings::default());
    assert!(matches!(host.scope("pool").outcome, Outcome::Unavailable { .. }), "no tools");
    host.tool("zpool list -j --json-int", text("nopools.zpool_list.json"));
    host.tool("zpool status -j --json-int", text("nopools.zpool_status.json"));
    host.datasets("");
    host.snapshots("");
    for scope in host.collector.collect(now()) {
        assert!(scope.outcome.is_complete() && scope.facets.is_empty(), "{scope:?}");
    }
    std::fs::remove_dir_all(host.dir.path().join("sys/module/zfs")).unwrap();
    assert!(matches!(host.scope("dataset").outcome, Outcome::Unavailable { .. }), "no module");
}

#[test]
fn one_call_that_fails_keeps_what_the_other_said() {
    let mut host = Host::new(&Settings::default());
    host.new_tools("missing");
    host.unlearn("zpool status -j --json-int");
    let tank = host.pool("tank");
    assert_eq!((tank.reading("impairment"), tank.reading("size_bytes").is_some()), (Some(1.0), true));
    assert_eq!(tank.reading("devices"), None);
    host.new_tools("missing");
    host.tool("zpool list -j --json-int", "{");
    let tank = host.pool("tank");
    assert_eq!((tank.reading("impairment"), tank.reading("size_bytes")), (Some(1.0), None));
    host.tool("zpool status -j --json-int", "[]");
    assert!(matches!(host.scope("pool").outcome, Outcome::Failed { .. }));
    assert!(host.scope("dataset").outcome.is_complete());
}

#[test]
fn datasets_volumes_quotas_and_snapshots() {
    let mut settings = Settings::default();
    settings.zfs.datasets = crate::Filter::new([], ["tank/tmp"]).unwrap();
    let mut host = Host::new(&settings);
    host.new_tools("healthy");
    host.datasets(
        "tank\tfilesystem\t71676416\t54152704\t24576\t0\t1.00\t0\t0\t-\t/tank\n\
         tank/home\tfilesystem\t900\t100\t800\t100\t1.50\t1000\t0\t-\tlegacy\n\
         tank/vm\tvolume\t5000\t100\t800\t100\t2.00x\t-\t-\t10000\t-\n\
         tank/tmp\tfilesystem\t1\t1\t1\t0\t1.00\t0\t0\t-\tnone\n",
    );
    // As captured: the names and times of a real list.
    let real = text("cksum.zfs_list_Hp.txt");
    let real: Vec<&str> = real.lines().filter(|line| line.contains("\tsnapshot\t")).collect();
    let (name, creation) = (real[0].split('\t').next().unwrap(), real[0].split('\t').next_back().unwrap());
    host.snapshots(&format!("{name}\t{creation}\ntank@later\t1795207900\ntank/tmp@x\t1\n"));
    let scope = host.scope("dataset");
    assert_eq!(scope.facets.len(), 3);
    let (home, vm) = (&scope.facets[1], &scope.facets[2]);
    assert_eq!((home.reading("quota_used_ratio"), home.reading("compression_factor")), (Some(0.9), Some(1.5)));
    assert_eq!(word(home, "mountpoint"), "legacy");
    assert_eq!((vm.reading("volume_size_bytes"), vm.reading("quota_bytes")), (Some(10_000.0), None));
    assert_eq!(vm.attribute("type"), Some(&Value::Text("volume".into())));
    let snapshots = host.scope("snapshot").facets;
    let of = |name: &str| snapshots.iter().find(|facet| facet.resource.name == name).unwrap();
    assert_eq!(of("tank").reading("snapshots"), Some(2.0));
    assert_eq!(of("tank").reading("newest_snapshot_age_seconds"), Some(100.0));
    assert_eq!(of("tank").reading("oldest_snapshot_age_seconds"), Some((NOW / 1000 - 1_795_207_519) as f64));
    assert_eq!(of("tank/home").reading("snapshots"), Some(0.0), "none is a number too");
    assert!(snapshots.iter().all(|facet| facet.resource.name != "tank/tmp"));
}

#[test]
fn who_may_not_open_dev_zfs_gets_a_cure() {
    let mut host = Host::new(&Settings::default());
    host.new_tools("healthy");
    for call in ["zpool list -j --json-int", "zpool status -j --json-int"] {
        host.tool(&format!("{call}.status"), "1");
        host.tool(&format!("{call}.stderr"), "Permission denied the ZFS utilities must be run as root.\n");
    }
    assert!(matches!(host.scope("pool").outcome, Outcome::Denied { cure, .. } if cure.contains("/dev/zfs")));
}

proptest! {
    #[test]
    fn any_text_is_safe(bytes: Vec<u8>, words: String) {
        let _ = (json::list(&bytes), json::status(&bytes));
        let _ = (text::list(&words), text::datasets(&words), text::snapshots(&words));
        for pool in text::status(&words) {
            let _ = pool.facet(now());
        }
    }

    #[test]
    fn a_real_status_with_a_line_spoiled_is_safe(line in 0_usize..60, with in "[\t a-zA-Z0-9:.%-]{0,40}") {
        for name in ["missing.zpool_status_p.txt", "cksum.zpool_status_p.txt"] {
            let printed = text(name);
            let mut lines: Vec<&str> = printed.lines().collect();
            if let Some(place) = lines.get_mut(line) {
                *place = &with;
            }
            for pool in text::status(&lines.join("\n")) {
                let facet = pool.facet(now());
                prop_assert!(facet.readings.iter().all(|(_, value)| value.is_finite()));
            }
        }
    }
}
