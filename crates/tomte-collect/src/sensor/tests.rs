#![allow(clippy::unwrap_used)]
use std::fs::{create_dir_all, remove_dir_all, write};
use std::os::unix::fs::symlink;

use tomte_model::{Timestamp, Value};

use super::*;

struct Host {
    dir: tempfile::TempDir,
    collector: Box<dyn Collector>,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let collector = make(&Root::new(dir.path()), &Settings::default());
        Self { dir, collector }
    }
    /// A chip on a device, with files as `name=content`.
    fn chip(&self, number: &str, name: &str, device: &str, files: &[&str]) {
        let directory = self.dir.path().join("sys/class/hwmon").join(number);
        let target = self.dir.path().join("sys/devices").join(device);
        create_dir_all(&directory).unwrap();
        create_dir_all(&target).unwrap();
        symlink(target, directory.join("device")).unwrap();
        self.files(&format!("hwmon/{number}"), &[&[&format!("name={name}")[..]], files].concat());
    }
    fn files(&self, directory: &str, files: &[&str]) {
        for file in files {
            let (path, content) = file.split_once('=').unwrap();
            let path = self.dir.path().join("sys/class").join(directory).join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, format!("{content}\n")).unwrap();
        }
    }
    fn collect(&mut self, seconds: u64) -> Scope {
        self.collector.collect(Moment { wall: Timestamp::default(), boot_millis: seconds * 1000 }).remove(0)
    }
    fn names(&mut self, seconds: u64) -> Vec<String> {
        self.collect(seconds).facets.into_iter().map(|facet| facet.resource.name).collect()
    }
}

#[test]
fn a_processor_has_one_alarm_and_a_thermometer_for_each_core() {
    let mut host = Host::new();
    let files = [
        "temp1_label=Package id 0",
        "temp1_input=45000",
        "temp1_max=80000",
        "temp1_crit=100000",
        "temp2_label=Core 0",
        "temp2_input=43500",
        "temp2_max=80000",
        "temp2_crit=100000",
    ];
    host.chip("hwmon0", "coretemp", "coretemp.0", &files);
    let facets = host.collect(0).facets;
    assert_eq!(facets[0].resource.to_string(), "sensor:coretemp/Package id 0");
    let readings =
        |n: usize| facets[n].readings.iter().map(|(name, value)| (name.as_ref(), *value)).collect::<Vec<_>>();
    let package = [
        ("temperature_celsius", 45.0),
        ("maximum_celsius", 80.0),
        ("critical_celsius", 100.0),
        ("headroom_celsius", 55.0),
    ];
    assert_eq!(readings(0), package);
    assert_eq!(readings(1), [("temperature_celsius", 43.5), ("maximum_celsius", 80.0), ("critical_celsius", 100.0)]);
    assert_eq!(facets[0].attribute("device"), Some(&Value::Text("coretemp.0".into())));
}

#[test]
fn drives_are_left_alone() {
    let mut host = Host::new();
    // As captured from two emulated NVMe drives.
    let nvme =
        ["temp1_input=49850", "temp1_label=Composite", "temp1_max=69850", "temp1_crit=99850", "temp1_min=-273150"];
    host.chip("hwmon0", "nvme", "nvme1", &nvme);
    host.chip("hwmon1", "nvme", "nvme0", &nvme);
    host.chip("hwmon2", "drivetemp", "0:0:0:0", &["temp1_input=31000"]);
    assert!(matches!(host.collect(0).outcome, Outcome::Unavailable { .. }));
}

#[test]
fn nonsense_is_missing() {
    let mut host = Host::new();
    let files = [
        "temp1_input=65261850",
        "temp1_max=65261850",
        "temp1_crit=0",
        "temp2_input=-273150",
        "temp3_input=0",
        "temp4_input=55000",
        "temp4_fault=1",
        "temp5_input=warm",
        "temp6_input=-5500",
        "fan1_input=0",
        "fan2_input=-1",
        "fan3_input=1200",
        "fan3_label=CPU Fan",
    ];
    host.chip("hwmon0", "acme", "acme.1", &files);
    let facets = host.collect(0).facets;
    let readings: Vec<_> = facets.iter().map(|f| (f.resource.name.as_str(), f.readings.first().map(|r| r.1))).collect();
    let expected = [
        ("acme/temp1", None),
        ("acme/temp2", None),
        ("acme/temp3", None),
        ("acme/temp4", None),
        ("acme/temp5", None),
        ("acme/temp6", Some(-5.5)),
        ("acme/fan1", Some(0.0)),
        ("acme/fan2", None),
        ("acme/CPU Fan", Some(1200.0)),
    ];
    assert_eq!(readings, expected);
}

#[test]
fn what_a_thermometer_is_judged_by() {
    let mut host = Host::new();
    let hot = ["temp1_input=90000", "temp1_crit=95000"];
    host.chip("hwmon0", "amdgpu", "0000:03:00.0", &hot);
    host.chip("hwmon1", "nct6798", "nct6775.656", &hot);
    host.chip("hwmon2", "k10temp", "0000:00:18.3", &["temp1_input=70000", "temp1_label=Tctl"]);
    let headroom: Vec<_> = host.collect(0).facets.iter().map(|facet| facet.reading("headroom_celsius")).collect();
    assert_eq!(headroom, [Some(5.0), None, Some(30.0)]);
}

#[test]
fn names_do_not_depend_on_the_kernels_numbers() {
    let one = ["temp1_input=40000", "temp1_label=Package id 0"];
    let two = ["temp1_input=40000", "temp1_label=Package id 1"];
    let expected = ["coretemp.0/Package id 0", "coretemp.1/Package id 1"];
    for (first, second) in [("hwmon0", "hwmon1"), ("hwmon1", "hwmon0")] {
        let mut host = Host::new();
        host.chip(first, "coretemp", "coretemp.0", &one);
        host.chip(second, "coretemp", "coretemp.1", &two);
        let mut names = host.names(0);
        names.sort();
        assert_eq!(names, expected);
    }
    let mut host = Host::new();
    host.chip("hwmon0", "spd5118", "1-0050", &["temp1_input=30000"]);
    host.chip("hwmon1", "spd5118", "1-0051", &["temp1_input=30000"]);
    host.chip("hwmon2", "twin", "t", &["temp1_input=1", "temp1_label=x", "temp2_input=1", "temp2_label=x"]);
    assert_eq!(host.names(0), ["spd5118-1-0050/temp1", "spd5118-1-0051/temp1", "twin/x (temp1)", "twin/x (temp2)"]);
}

#[test]
fn what_sleeps_is_not_woken() {
    let mut host = Host::new();
    host.chip("hwmon0", "amdgpu", "0000:03:00.0", &["temp1_input=40000"]);
    let status = host.dir.path().join("sys/devices/0000:03:00.0/power/runtime_status");
    create_dir_all(status.parent().unwrap()).unwrap();
    write(&status, "suspended\n").unwrap();
    assert!(host.collect(0).facets[0].readings.is_empty());
    write(&status, "active\n").unwrap();
    assert_eq!(host.collect(30).facets[0].reading("temperature_celsius"), Some(40.0));
}

#[test]
fn thermal_zones_stand_in_where_no_chip_has_a_thermometer() {
    let mut host = Host::new();
    let zone = ["type=cpu-thermal", "temp=48312", "trip_point_0_type=hot", "trip_point_0_temp=80000"];
    host.files("thermal/thermal_zone0", &zone);
    host.files("thermal/thermal_zone0", &["trip_point_1_type=critical", "trip_point_1_temp=110000"]);
    host.files("thermal/thermal_zone1", &["type=cpu-thermal", "temp=49000"]);
    host.files("thermal/cooling_device0", &["type=Processor"]);
    host.chip("hwmon0", "pwmfan", "fan", &["fan1_input=3000"]);
    let facets = host.collect(0).facets;
    assert_eq!(facets[1].resource.name, "thermal/cpu-thermal (thermal_zone0)");
    assert_eq!(facets[1].reading("temperature_celsius"), Some(48.312));
    assert_eq!(facets[1].reading("headroom_celsius"), Some(110.0 - 48.312));
    assert_eq!((facets.len(), facets[2].reading("headroom_celsius")), (3, None));
    host.chip("hwmon1", "cpu_thermal", "thermal_zone0", &["temp1_input=48312"]);
    assert_eq!(host.names(30), ["pwmfan/fan1", "cpu_thermal/temp1"], "a chip that appears is seen at once");
}

#[test]
fn chips_may_vanish_and_labels_change() {
    let mut host = Host::new();
    host.chip("hwmon0", "a", "a.0", &["temp1_input=40000"]);
    host.chip("hwmon1", "b", "b.0", &["temp1_input=40000"]);
    assert_eq!(host.names(0), ["a/temp1", "b/temp1"]);
    remove_dir_all(host.dir.path().join("sys/class/hwmon/hwmon0")).unwrap();
    assert_eq!(host.names(30), ["b/temp1"]);
    host.files("hwmon/hwmon1", &["temp1_label=Board"]);
    assert_eq!(host.names(60), ["b/temp1"]);
    assert_eq!(host.names(400), ["b/Board"]);
}
