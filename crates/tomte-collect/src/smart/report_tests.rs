#![allow(clippy::unwrap_used)]
use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::published::{captured, published};

fn told(value: &Value) -> Told {
    parse(value.to_string().as_bytes()).unwrap()
}

fn report_of(value: &Value) -> Report {
    match told(value) {
        Told::Report(report) => *report,
        other => panic!("{other:?}"),
    }
}

fn facet(report: &Report) -> Facet {
    let mut facet = Facet::extra("disk", "x", "smart");
    report.write(&mut facet, false);
    facet
}

/// A facet, a line for each thing it tells.
fn lines(told: Told) -> String {
    let Told::Report(report) = told else { return format!("{told:?}\n") };
    let facet = facet(&report);
    let mut text = String::new();
    for (name, value) in &facet.attributes {
        let _ = writeln!(text, "{name}: {value}");
    }
    for (name, value) in &facet.readings {
        let _ = writeln!(text, "{name} {value}");
    }
    text
}

#[test]
fn what_real_disks_said() {
    let mut text = String::new();
    for name in ["nvme0.a", "nvme0n1.a", "sda.a", "sda.sat", "sda.test-short", "sdb.a", "sdc.a", "vda.a", "nonexist"] {
        let told = parse(&captured(&format!("smartctl/{name}.json"))).unwrap();
        let _ = writeln!(text, "-- {name}\n{}", lines(told));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn disks_of_others() {
    let read = |name: &str| {
        published(&format!("smartctl/{name}.json")).map(|text| match parse(&text).unwrap() {
            Told::Report(report) => facet(&report),
            other => panic!("{name}: {other:?}"),
        })
    };
    if let Some(nvme) = read("telegraf_device_nvme") {
        assert_eq!(nvme.reading("failing"), Some(0.0));
        assert_eq!(nvme.reading("temperature_celsius"), Some(48.0));
        assert_eq!(nvme.reading("power_on_seconds"), Some(8733.0 * 3600.0));
        assert!(nvme.reading("spare_ratio").is_some() && nvme.reading("life_written_bytes").is_some());
    }
    if let Some(ata) = read("scrutiny_smart-ata-full") {
        assert_eq!(ata.reading("self_test_age_seconds"), Some((14_551.0 - 14_417.0) * 3600.0));
        assert_eq!(ata.reading("limit_celsius"), Some(70.0));
        assert_eq!(ata.reading("reallocated_sectors"), Some(0.0));
        assert!(ata.reading("wear_used_ratio").is_some());
    }
    if let Some(scsi) = read("telegraf_device_scsi") {
        assert_eq!((scsi.reading("media_errors"), scsi.reading("reallocated_sectors")), (Some(0.0), Some(0.0)));
        assert_eq!((scsi.reading("limit_celsius"), scsi.reading("headroom_celsius")), (Some(60.0), Some(36.0)));
    }
    if let Some(raid) = read("scrutiny_smart-megaraid0") {
        assert_eq!((raid.reading("failing"), raid.reading("limit_celsius")), (Some(0.0), Some(60.0)));
    }
    if let Some(usb) = read("telegraf_device_usb") {
        assert_eq!((usb.reading("failing"), usb.reading("temperature_celsius")), (Some(0.0), None));
    }
    if let Some(failed) = read("scrutiny_smart-ata-failed-scrutiny") {
        assert_eq!(failed.reading("power_on_seconds"), Some(19_497.0 * 3600.0));
    }
    for (name, disks) in [("telegraf_scan_megaraid", 7), ("scrutiny_scan_megaraid", 2), ("scrutiny_scan_simple", 0)] {
        if let Some(text) = published(&format!("smartctl/{name}.json")) {
            assert_eq!(parse_scan(&text).unwrap().len(), disks, "{name}");
        }
    }
}

#[test]
fn asleep_gone_and_behind_an_unknown_bridge() {
    let with = |status: i64, message: &str| {
        told(&json!({"smartctl": {"exit_status": status, "messages": [{"string": message, "severity": "error"}]}}))
    };
    // smartctl 7.3 and 7.4 say it in words, 7.5 also as a power mode.
    for words in [
        "Device is in STANDBY mode, exit(2)",
        "Device is in STANDBY BY COMMAND mode, exit(2)",
        "Device is in SLEEP mode, exit(2)",
    ] {
        assert_eq!(with(2, words), Told::Asleep, "{words}");
    }
    let mode = json!({"smartctl": {"exit_status": 2}, "power_mode": {"ata_value": 0, "name": "STANDBY"}});
    assert_eq!(told(&mode), Told::Asleep);
    assert!(
        matches!(with(2, "Smartctl open device: /dev/sdx failed: No such device"), Told::Failed(e) if e.contains("No such device"))
    );
    assert!(matches!(with(1, "/dev/sdb: Unknown USB bridge [0x0bda:0x9210 (0x2001)]"), Told::UnknownBridge(_)));
    assert!(matches!(with(1, "/dev/vda: Unable to detect device type"), Told::Silent(_)));
}

#[test]
fn the_exit_status_is_a_mask() {
    let disk = |exit: i64, passed: Option<bool>| {
        let mut value = json!({"smartctl": {"exit_status": exit}, "ata_smart_attributes": {"table": [
            {"id": 5, "name": "Reallocated_Sector_Ct", "value": 1, "when_failed": "now", "flags": {"prefailure": true}, "raw": {"value": 900, "string": "900 (7 0)"}},
            {"id": 190, "name": "Airflow_Temperature_Cel", "value": 45, "when_failed": "past", "flags": {"prefailure": false}, "raw": {"value": 522_125_343, "string": "31 (Min/Max 31/31)"}},
        ]}});
        if let Some(passed) = passed {
            value["smart_status"] = json!({ "passed": passed });
        }
        report_of(&value)
    };
    // A command that failed, an old error in a log: nothing that counts.
    for exit in [0, 4, 32, 64, 128, 4 | 64 | 128] {
        assert_eq!(disk(exit, Some(true)).failing, Some(false), "{exit}");
        assert_eq!(disk(exit, None).failing, None, "{exit}");
    }
    for exit in [8, 16, 24, 0xff & !3] {
        assert_eq!(disk(exit, Some(true)).failing, Some(true), "{exit}");
    }
    let failing = disk(0, Some(false));
    assert_eq!((failing.failing, failing.trouble.as_str()), (Some(true), "Reallocated_Sector_Ct is at its limit"));
    assert_eq!(failing.reallocated, Some(900.0), "of several packed numbers, the first");
}

#[test]
fn nvme_says_why() {
    let report = report_of(&json!({
        "smartctl": {"exit_status": 8}, "smart_status": {"passed": false}, "temperature": {"current": 84},
        "nvme_composite_temperature_threshold": {"warning": 82, "critical": 85}, "power_on_time": {"hours": 1000},
        "nvme_smart_health_information_log": {
            "critical_warning": 5, "available_spare": 4, "available_spare_threshold": 10, "percentage_used": 104,
            "media_errors": 12, "unsafe_shutdowns": 3, "data_units_written": 1000},
        "nvme_self_test_log": {"table": [
            {"self_test_code": {"value": 1}, "self_test_result": {"value": 7, "string": "Completed: failed segments"}, "power_on_hours": 990}]},
    }));
    let facet = facet(&report);
    assert_eq!(report.trouble, "its spare blocks are used up, it is unreliable after media errors");
    let read = |field| facet.reading(field);
    assert_eq!((read("wear_used_ratio"), read("wear_remaining_seconds")), (Some(1.04), None), "used up");
    assert_eq!((read("spare_ratio"), read("media_errors")), (Some(0.04), Some(12.0)));
    assert_eq!((read("limit_celsius"), read("headroom_celsius")), (Some(82.0), Some(-2.0)));
    assert_eq!((read("self_test_failed"), read("self_test_age_seconds")), (Some(1.0), Some(36_000.0)));
    assert_eq!(read("life_written_bytes"), Some(512_000_000.0));
}

#[test]
fn endurance_lasts_as_long_as_its_pace_says() {
    const DAY: f64 = 86_400.0;
    let days = |used: f64, days: f64| wear_remaining(used, days * DAY).map(|seconds| (seconds / DAY).round());
    assert_eq!(days(0.5, 365.0), Some(365.0));
    assert_eq!(days(0.1, 100.0), Some(900.0));
    assert_eq!((days(0.01, 900.0), days(0.5, 20.0), days(1.0, 900.0)), (None, None, None));
}

#[test]
fn each_maker_of_ssds_has_its_own_attribute() {
    let wear = |name: &str, value: f64, rotation: f64| {
        let row = json!({"id": 1, "name": name, "value": value, "raw": {"value": 7, "string": "7"}});
        wear(&json!({"rotation_rate": rotation, "ata_smart_attributes": {"table": [row]}}))
    };
    for name in ["Wear_Leveling_Count", "Media_Wearout_Indicator", "SSD_Life_Left", "Percent_Lifetime_Remain"] {
        assert!(wear(name, 97.0, 0.0).is_some_and(|used| (used - 0.03).abs() < 1e-9), "{name}");
        assert_eq!(wear(name, 97.0, 7200.0), None, "it turns");
        assert_eq!(wear(name, 200.0, 0.0), None, "it counts otherwise");
    }
    let scsi = json!({"scsi_percentage_used_endurance_indicator": 12});
    assert_eq!(super::wear(&scsi), Some(0.12));
}

#[test]
fn names_are_written_as_the_kernel_does() {
    let of = |naa: u64, oui: u64, id: u64| wwn(&json!({"wwn": {"naa": naa, "oui": oui, "id": id}}));
    assert_eq!(of(5, 0x000c50, 0x0a1b2c3d4).as_deref(), Some("0x5000c500a1b2c3d4"));
    assert_eq!(of(5, 0, 0), None);
    assert_eq!(of(99, 1, 1), None);
}

proptest! {
    #[test]
    fn any_text_is_safe(text: Vec<u8>) {
        let _ = parse(&text);
        let _ = parse_scan(&text);
    }

    /// A real report in which something else stands in one place.
    #[test]
    fn any_value_in_any_place_is_safe(place in 0_usize..400, kind in 0_u8..6, number: i64) {
        fn replace(value: &mut Value, left: &mut usize, with: &Value) -> bool {
            if *left == 0 {
                *value = with.clone();
                return true;
            }
            *left -= 1;
            match value {
                Value::Array(items) => items.iter_mut().any(|item| replace(item, left, with)),
                Value::Object(items) => items.values_mut().any(|item| replace(item, left, with)),
                _ => false,
            }
        }
        let with = [json!(null), json!(number), json!("x"), json!([number]), json!({"x": number}), json!(true)];
        for name in ["nvme0.a", "sdb.a"] {
            let mut value: Value = serde_json::from_slice(&captured(&format!("smartctl/{name}.json"))).unwrap();
            replace(&mut value, &mut place.clone(), &with[usize::from(kind)]);
            if let Ok(Told::Report(report)) = parse(value.to_string().as_bytes()) {
                let facet = facet(&report);
                prop_assert!(facet.readings.iter().all(|(_, value)| value.is_finite()));
            }
        }
    }
}
