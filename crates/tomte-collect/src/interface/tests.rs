#![allow(clippy::unwrap_used)]
use std::fs::{create_dir_all, remove_dir_all, write};

use proptest::prelude::*;
use tomte_model::{Outcome, Timestamp, Value};

use super::*;
use crate::settings::Filter;

fn at(seconds: u64) -> Moment {
    Moment { wall: Timestamp::default(), boot_millis: seconds * 1000 }
}

/// A line of which all counters but those for bytes and packets are `rest`.
fn line(name: &str, received: u64, sent: u64, rest: u64) -> String {
    let (r, s) = (received, sent);
    format!("{name:>6}: {r} {} {rest} {rest} 0 0 0 0 {s} {} {rest} {rest} 0 0 0 0\n", r / 100, s / 100)
}

struct Host {
    dir: tempfile::TempDir,
    collector: Box<dyn Collector>,
}

impl Host {
    fn new(settings: InterfaceSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        create_dir_all(dir.path().join("proc/net")).unwrap();
        let settings = Settings { interface: settings, ..Settings::default() };
        let collector = make(&Root::new(dir.path()), &settings);
        Self { dir, collector }
    }
    /// Files of /sys/class/net, or with a slash before them of the root.
    fn put(&self, path: &str, content: &str) {
        let path = match path.strip_prefix('/') {
            Some(path) => self.dir.path().join(path),
            None => self.dir.path().join("sys/class/net").join(path),
        };
        create_dir_all(path.parent().unwrap()).unwrap();
        write(path, content).unwrap();
    }
    fn wired(&self, name: &str) {
        for (file, content) in [
            ("device/vendor", ""),
            ("address", "02:00:00:00:00:01\n"),
            ("mtu", "1500\n"),
            ("speed", "1000\n"),
            ("duplex", "full\n"),
            ("flags", "0x1003\n"),
            ("operstate", "up\n"),
            ("carrier_up_count", "1\n"),
        ] {
            self.put(&format!("{name}/{file}"), content);
        }
    }
    fn collect(&mut self, seconds: u64, lines: &[String]) -> Vec<Facet> {
        self.put("/proc/net/dev", &format!("Inter-|\n face |\n{}", lines.concat()));
        let mut scopes = self.collector.collect(at(seconds));
        assert!(scopes.len() == 1 && scopes[0].outcome.is_complete(), "{scopes:?}");
        scopes.remove(0).facets
    }
}

fn names(facets: &[Facet]) -> Vec<&str> {
    facets.iter().map(|facet| facet.resource.name.as_str()).collect()
}

#[test]
fn what_an_interface_carries_and_what_it_is() {
    let mut host = Host::new(InterfaceSettings::default());
    host.wired("eth0");
    assert_eq!(host.collect(0, &[line("eth0", 1_000, 500, 0)])[0].reading("receive_bytes_per_second"), None);
    let facet = &host.collect(10, &[line("eth0", 101_000, 500, 20)])[0];
    for (field, value) in [
        ("receive_bytes_per_second", 10_000.0),
        ("transmit_bytes_per_second", 0.0),
        ("receive_packets_per_second", 100.0),
        ("receive_errors_per_second", 2.0),
        ("receive_drops_per_second", 2.0),
        ("transmit_errors_per_second", 2.0),
        ("transmit_drops_per_second", 2.0),
        ("speed_bytes_per_second", 125_000_000.0),
        ("mtu", 1_500.0),
        ("link_lost", 0.0),
    ] {
        assert_eq!(facet.reading(field), Some(value), "{field}");
    }
    for (attribute, value) in [("type", "wired"), ("state", "up"), ("mac", "02:00:00:00:00:01"), ("duplex", "full")] {
        assert_eq!(facet.attribute(attribute), Some(&Value::Text(value.into())), "{attribute}");
    }
    assert_eq!(facet.attribute("default_route"), Some(&Value::Bool(false)));
}

#[test]
fn virtual_ones_are_summed_and_may_come_and_go() {
    let mut host = Host::new(InterfaceSettings::default());
    host.wired("eth0");
    let eth0 = || line("eth0", 0, 0, 0);
    host.collect(0, &[eth0(), line("lo", 0, 0, 0), line("veth1", 10_000, 0, 0)]);
    let facets = host.collect(10, &[eth0(), line("lo", 1_000, 1_000, 9), line("veth2", 5_000_000, 0, 0)]);
    assert_eq!(names(&facets), ["eth0", "virtual"]);
    let sum = &facets[1];
    assert_eq!(sum.reading("receive_bytes_per_second"), Some(100.0), "what has gone takes nothing away");
    assert_eq!(sum.reading("receive_errors_per_second"), None);
    assert_eq!(sum.reading("interfaces"), Some(2.0));
    let facets = host.collect(20, &[eth0(), line("lo", 1_000, 1_000, 9), line("veth2", 5_001_000, 0, 0)]);
    assert_eq!(facets[1].reading("receive_bytes_per_second"), Some(100.0));
    assert_eq!(names(&host.collect(30, &[eth0()])), ["eth0"]);
    // Replaced by one of the same name, which counts from its own start.
    host.collect(40, &[eth0(), line("veth1", 900, 0, 0)]);
    let anew = host.collect(50, &[eth0(), line("veth1", 100, 0, 0)]);
    assert_eq!(anew[1].reading("receive_bytes_per_second"), None);
}

#[test]
fn the_way_out_and_what_is_asked_for_are_shown() {
    let default =
        "Iface Destination Gateway Flags RefCnt Use Metric Mask\nvmbr0 00000000 00000000 0001 0 0 0 00000000 0 0 0\n";
    let lines = [line("vmbr0", 0, 0, 0), line("tap1", 0, 0, 0), line("wg0", 0, 0, 0)];
    let mut host = Host::new(InterfaceSettings::default());
    host.put("/proc/net/route", default);
    let facets = host.collect(0, &lines);
    assert_eq!(names(&facets), ["vmbr0", "virtual"]);
    assert_eq!(facets[0].attribute("default_route"), Some(&Value::Bool(true)));
    assert_eq!(facets[0].attribute("type"), Some(&Value::Text("virtual".into())));
    let each = InterfaceSettings { each_virtual: true, ..InterfaceSettings::default() };
    assert_eq!(names(&Host::new(each).collect(0, &lines)), ["wg0", "tap1", "vmbr0"]);
    let some = InterfaceSettings { names: Filter::new(["wg*"], []).unwrap(), ..InterfaceSettings::default() };
    assert_eq!(names(&Host::new(some).collect(0, &lines)), ["wg0"]);
    let no_taps = InterfaceSettings { names: Filter::new([], ["tap*"]).unwrap(), ..InterfaceSettings::default() };
    assert_eq!(Host::new(no_taps).collect(0, &lines)[0].reading("interfaces"), Some(2.0));
}

#[test]
fn who_carries_little_can_be_left_out() {
    let settings = InterfaceSettings { minimum_bytes: 1_000, ..InterfaceSettings::default() };
    let mut host = Host::new(settings);
    for name in ["eth0", "eth1", "eth2"] {
        host.wired(name);
    }
    host.put("/proc/net/route", "Iface\neth2 00000000 00000000 0001 0 0 0 00000000 0 0 0\n");
    let lines =
        |eth1| [line("eth0", 600, 600, 0), line("eth1", eth1, 0, 0), line("eth2", 0, 0, 0), line("lo", 9, 9, 0)];
    assert_eq!(names(&host.collect(0, &lines(0))), ["eth0", "eth2"], "the way out is always shown");
    assert_eq!(names(&host.collect(10, &lines(1_000))), ["eth0", "eth1", "eth2"]);
}

#[test]
fn a_lost_link_is_told_from_one_that_never_was() {
    let mut host = Host::new(InterfaceSettings::default());
    for name in ["eth0", "eth1", "eth2", "wlan0"] {
        host.wired(name);
    }
    host.put("eth1/carrier_up_count", "0\n");
    host.put("eth2/flags", "0x1002\n");
    host.put("wlan0/wireless/x", "");
    let lines = ["eth0", "eth1", "eth2", "wlan0"].map(|name| line(name, 0, 0, 0));
    host.collect(0, &lines);
    for name in ["eth0", "eth1", "eth2", "wlan0"] {
        host.put(&format!("{name}/operstate"), "down\n");
    }
    let lost: Vec<_> = host.collect(10, &lines).iter().map(|facet| facet.reading("link_lost")).collect();
    assert_eq!(lost, [Some(1.0), Some(0.0), Some(0.0), None], "seen at once, without a look at the rest");
    host.put("eth0/operstate", "up\n");
    assert_eq!(host.collect(20, &lines)[0].reading("link_lost"), Some(0.0));
    let mut laptop = Host::new(InterfaceSettings::default());
    laptop.put("/sys/class/dmi/id/chassis_type", "10\n");
    laptop.wired("eth0");
    laptop.put("eth0/operstate", "down\n");
    assert_eq!(laptop.collect(0, &lines[..1])[0].reading("link_lost"), Some(0.0));
}

#[test]
fn what_changes_seldom_is_looked_at_once_a_minute() {
    let mut host = Host::new(InterfaceSettings::default());
    host.wired("eth0");
    let lines = [line("eth0", 0, 0, 0)];
    host.collect(0, &lines);
    host.put("eth0/speed", "2500\n");
    let speed = |facets: Vec<Facet>| facets[0].reading("speed_bytes_per_second");
    assert_eq!(speed(host.collect(50, &lines)), Some(125_000_000.0));
    assert_eq!(speed(host.collect(60, &lines)), Some(312_500_000.0));
    host.put("eth0/speed", "-1\n");
    assert_eq!(speed(host.collect(120, &lines)), None);
    // A new interface is looked at when it appears.
    host.wired("eth1");
    assert_eq!(names(&host.collect(130, &[lines[0].clone(), line("eth1", 0, 0, 0)])), ["eth0", "eth1"]);
    // And one whose files have gone is still shown while it is counted.
    remove_dir_all(host.dir.path().join("sys/class/net/eth0")).unwrap();
    let bare = host.collect(140, &lines);
    assert_eq!(names(&bare), ["virtual"]);
}

#[test]
fn a_hundred_thousand_interfaces_with_strange_names_are_a_sum() {
    let mut host = Host::new(InterfaceSettings::default());
    let lines: Vec<String> = (0..100_000)
        .map(|n| line(&format!("v{n}"), 1, 1, 1))
        .chain([line("..", 0, 0, 0), line("virtual.1", 0, 0, 0)])
        .collect();
    host.collect(0, &lines);
    assert_eq!(host.collect(10, &lines)[0].reading("interfaces"), Some(100_002.0));
}

#[test]
fn strange_lists_are_refused() {
    let mut host = Host::new(InterfaceSettings::default());
    assert!(matches!(host.collector.collect(at(0))[0].outcome, Outcome::Unavailable { .. }));
    for bad in ["\n\neth0 1 2 3\n", "\n\neth0: 1 2 3\n", "\n\neth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 x\n"] {
        assert_eq!(parse(bad, |_, _| {}).unwrap_err().line, 3);
    }
    let mut seen = Vec::new();
    parse("\n\neth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", |name, totals| seen.push((name.to_owned(), totals)))
        .unwrap();
    assert_eq!(seen, [("eth0".to_owned(), [1, 2, 3, 4, 9, 10, 11, 12])]);
}

proptest! {
    #[test]
    fn any_text_is_safe(text: String, lines in "(\n|[a-z]{1,3}:|[0-9]{1,22}| ){0,60}") {
        let _ = (parse(&text, |_, _| {}), parse(&lines, |_, _| {}));
    }
}
