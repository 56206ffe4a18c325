//! Against what systemd 252 answered, captured by busctl as JSON and written
//! here as the bus would have sent it.

#![allow(clippy::unwrap_used)]

use serde_json::Value as Json;

use super::manager::units;
use super::*;
use crate::dbus::{Reader, Writer};

/// Writes what busctl printed, by its signature.
fn write(writer: &mut Writer, signature: &str, json: &Json) {
    let (first, rest) = signature.split_at(1);
    match first {
        "s" | "o" => writer.text(json.as_str().unwrap()),
        "b" => writer.u32(json.as_bool().unwrap().into()),
        "u" => writer.u32(u32::try_from(json.as_u64().unwrap()).unwrap()),
        "i" => writer.u32(i32::try_from(json.as_i64().unwrap()).unwrap().cast_unsigned()),
        "t" => writer.u64(json.as_u64().unwrap()),
        "q" => writer.u16(u16::try_from(json.as_u64().unwrap()).unwrap()),
        "x" => writer.u64(json.as_i64().unwrap().cast_unsigned()),
        "d" => writer.u64(json.as_f64().unwrap().to_bits()),
        "y" => writer.u8(u8::try_from(json.as_u64().unwrap()).unwrap()),
        "(" => {
            writer.align(8);
            let inner = &rest[..rest.len() - 1];
            let mut at = 0;
            for value in json.as_array().unwrap() {
                let end = at + item(&inner[at..]);
                write(writer, &inner[at..end], value);
                at = end;
            }
        }
        "a" if rest == "{sv}" => {
            let at = writer.begin_array(8);
            for (name, value) in json.as_object().unwrap() {
                writer.align(8);
                writer.text(name);
                writer.signature(value["type"].as_str().unwrap());
                write(writer, value["type"].as_str().unwrap(), &value["data"]);
            }
            writer.end_array(at);
        }
        "a" => {
            let at = writer.begin_array(match &rest[..1] {
                "(" | "t" | "{" => 8,
                "y" => 1,
                _ => 4,
            });
            for value in json.as_array().unwrap() {
                write(writer, rest, value);
            }
            writer.end_array(at);
        }
        other => panic!("{other} is not written here"),
    }
}

/// The length of the first complete type.
fn item(signature: &str) -> usize {
    match &signature[..1] {
        "a" => 1 + item(&signature[1..]),
        "(" => {
            let mut at = 1;
            while &signature[at..=at] != ")" {
                at += item(&signature[at..]);
            }
            at + 1
        }
        _ => 1,
    }
}

fn captured(text: &str) -> Vec<u8> {
    let answer: Json = serde_json::from_str(text).unwrap();
    let mut writer = Writer::default();
    write(&mut writer, answer["type"].as_str().unwrap(), &answer["data"][0]);
    writer.into_bytes()
}

fn detail(name: &str, text: &str) -> Detail {
    let bytes = captured(text);
    Detail::new(name, &Reader::new(&bytes, true).properties(Detail::WANTED).unwrap())
}

#[test]
fn the_list_of_units_is_read() {
    let bytes = captured(include_str!("../../tests/captured/systemd/ListUnits.json"));
    let units = units(Reader::new(&bytes, true)).unwrap();
    assert!(units.len() > 100 && units.iter().all(|unit| !unit.name.ends_with(".device")), "{}", units.len());
    let failing = units.iter().find(|unit| unit.name == "failing.service").unwrap();
    assert_eq!((failing.load.as_str(), failing.active.as_str(), failing.sub.as_str()), ("loaded", "failed", "failed"));
    let facet = summary("252", "degraded", &units);
    assert_eq!(facet.reading("failed_units"), Some(2.0));
    assert_eq!(facet.tables[0].rows.len(), 2);
    for end in 0..bytes.len().min(4096) {
        assert!(super::manager::units(Reader::new(&bytes[..end], true)).is_err(), "cut at {end}");
    }
}

#[test]
fn a_service_that_failed_says_how() {
    let failing = detail("failing.service", include_str!("../../tests/captured/systemd/failing.GetAll.json"));
    assert_eq!((failing.why().as_str(), failing.kind.as_str(), failing.restarts), ("exit-code 1", "simple", Some(0)));
    assert!(failing.should_run_on() && failing.control_group.is_empty());
}

#[test]
fn a_service_that_runs_has_its_control_group() {
    let busy = detail("cpuhog.service", include_str!("../../tests/captured/systemd/cpuhog_GetAll_Service.json"));
    assert_eq!((busy.result.as_str(), busy.control_group.as_str()), ("success", "/system.slice/cpuhog.service"));
    let bus = detail("dbus.service", include_str!("../../tests/captured/systemd/dbus.GetAll.json"));
    assert_eq!(bus.kind, "notify");
}

#[test]
fn what_was_stopped_by_hand_is_told_from_what_ended_or_never_ran() {
    let detail = |enabled: &str, kind: &str, result: &str, was_active| Detail {
        name: "x.service".to_owned(),
        enabled: enabled.to_owned(),
        kind: kind.to_owned(),
        result: result.to_owned(),
        was_active,
        ..Detail::default()
    };
    assert!(detail("enabled", "simple", "success", Some(1)).was_stopped("inactive"));
    assert!(!detail("enabled", "simple", "success", None).was_stopped("inactive"), "it never ran");
    assert!(!detail("enabled", "oneshot", "success", Some(1)).was_stopped("inactive"), "it ends by itself");
    assert!(!detail("static", "simple", "success", Some(1)).was_stopped("inactive"), "something else starts it");
    assert!(!detail("enabled", "simple", "exit-code", Some(1)).was_stopped("failed"));
}

#[test]
fn names_are_what_people_write() {
    assert_eq!(full("nginx"), "nginx.service");
    assert_eq!(full("mnt-nas.mount"), "mnt-nas.mount");
    assert_eq!(full("my.app"), "my.app.service");
    assert_eq!((short("nginx.service"), short("mnt-nas.mount")), ("nginx", "mnt-nas.mount"));
}

#[test]
fn a_host_without_systemd_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let scopes = make(&Root::new(dir.path()), &Settings::default()).collect(Moment::default());
    assert_eq!(scopes.iter().map(|scope| scope.name.as_ref()).collect::<Vec<_>>(), SCOPES);
    assert!(scopes.iter().all(|scope| matches!(scope.outcome, Outcome::Unavailable { .. })));
}
