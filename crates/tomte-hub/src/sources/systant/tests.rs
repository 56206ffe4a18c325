#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use tomte_model::{Catalogue, Facet, Unit, Value};

use super::flatten::{Seen, flatten};
use super::host_of;

fn seen(message: Json) -> Seen {
    flatten(message.as_object().unwrap(), &Catalogue::builtin())
}

fn facet<'a>(seen: &'a Seen, key: &str) -> &'a Facet {
    let found = seen.facets.iter().find(|facet| facet.resource.to_string() == key);
    found.unwrap_or_else(|| {
        panic!("{key}: {:?}", seen.facets.iter().map(|f| f.resource.to_string()).collect::<Vec<_>>())
    })
}

#[test]
fn a_message_of_the_old_kind_is_shown_whatever_is_inside() {
    let seen = seen(json!({
        "timestamp": "2026-01-01T00:00:00Z",
        "hostname": "nas",
        "cpu": { "avg1": 0.5, "avg5": 1, "avg15": null },
        "memory": { "used_percent": 41.5, "total_kb": 16_000_000, "swap": { "total": 0 } },
        "disk": { "disks": [
            { "mounted_on": "/", "use_percent": 40, "filesystem": "/dev/sda1" },
            { "mounted_on": "/home", "use_percent": 70 },
        ] },
        "gpu": { "nvidia": [], "amd": [{ "name": "RX", "temperature_celsius": 50 }] },
        "temperature": { "cpu": 48.0, "sensors": { "nct": { "fan1": 900.0 }, "acpi": { "temp1": 27.8 } } },
        "network": [{ "interface": "eth0", "rx_bytes": 12, "up": true }],
        "processes": [{ "pid": 1, "command": "init", "cpu": 0.5 }, { "pid": 2, "command": "x" }],
        "system": { "uptime_seconds": 100, "kernel_version": "6.1", "users": ["a", "b"] },
    }));
    assert_eq!(facet(&seen, "systant_cpu:cpu").reading("avg1"), Some(0.5));
    assert_eq!(facet(&seen, "systant_memory:memory").reading("swap_total_value"), Some(0.0), "it may be no counter");
    assert_eq!(facet(&seen, "systant_disk:/home").reading("use_percent"), Some(70.0));
    assert_eq!(facet(&seen, "systant_gpu:RX").reading("temperature_celsius"), Some(50.0));
    assert_eq!(facet(&seen, "systant_temperature:temperature").reading("cpu"), Some(48.0));
    assert_eq!(facet(&seen, "systant_temperature:nct").reading("fan1"), Some(900.0));
    assert_eq!(facet(&seen, "systant_network:eth0").attribute("up"), Some(&Value::Bool(true)));
    let system = facet(&seen, "systant_system:system");
    assert_eq!(system.attribute("kernel_version"), Some(&Value::Text("6.1".into())));
    assert_eq!(system.attribute("users"), Some(&Value::Text("a, b".into())));
    let table = &facet(&seen, "systant_processes:processes").tables[0];
    assert_eq!((table.rows.len(), table.columns.len()), (2, 3), "what changes all the time makes no series");
    assert_eq!(facet(&seen, "systant:systant").attribute("hostname"), Some(&Value::Text("nas".into())));
    let kind = |name: &str| seen.kinds.iter().find(|kind| kind.name == name).unwrap();
    assert_eq!(kind("systant_system").field("uptime_seconds").unwrap().unit, Unit::Seconds);
    assert_eq!(kind("systant_disk").field("use_percent").unwrap().unit, Unit::Other("%".into()));
}

#[test]
fn our_own_message_comes_back_with_its_names() {
    let seen = seen(json!({
        "disk": { "/": { "used_ratio": 0.5 }, "/home": { "used_ratio": 0.7 } },
        "network": { "interface": "eth0", "receive_bytes_per_second": 5.0,
            "interfaces": { "eth0": { "mtu": 1500 }, "network": { "mtu": 9000 } } },
    }));
    assert_eq!(facet(&seen, "systant_disk:/home").reading("used_ratio"), Some(0.7));
    assert_eq!(facet(&seen, "systant_network:eth0").reading("mtu"), Some(1500.0));
    assert_eq!(
        facet(&seen, "systant_network:interfaces/network").reading("mtu"),
        Some(9000.0),
        "apart from the section"
    );
    assert_eq!(facet(&seen, "systant_network:network").reading("receive_bytes_per_second"), Some(5.0));
}

#[test]
fn there_is_a_limit_to_everything() {
    let fields: Map<String, Json> = (0..100_000).map(|n| (format!("f{n}"), json!(n))).collect();
    let sections: Map<String, Json> = (0..1_000).map(|n| (format!("s{n}"), json!({ "a": 1 }))).collect();
    let members: Map<String, Json> = (0..10_000).map(|n| (format!("m{n}"), json!({ "a": 1 }))).collect();
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!({ "d": deep, "x": 1 });
    }
    for (message, what) in [
        (json!({ "cpu": fields }), "fields"),
        (Json::Object(sections), "sections"),
        (json!({ "disk": members }), "members"),
        (json!({ "cpu": deep }), "depth"),
    ] {
        let seen = seen(message);
        let fields: usize = seen.kinds.iter().map(|kind| kind.fields.len()).sum();
        assert!(seen.kinds.len() <= 64 && fields <= 300 && seen.facets.len() <= 500, "{what}");
        assert!(!seen.facets.is_empty(), "{what}: what has room is shown");
    }
}

#[test]
fn names_that_mean_something_elsewhere_are_made_harmless() {
    let seen = seen(json!({
        "CPU Load!": { "5 min": 1.0, "": 2.0, "\u{1b}[31m": 3.0 },
        "disk": { "\u{1b}[2J/": { "used": 1.0 }, "": { "used": 2.0 } },
        "system": { "os": "\u{1b}]0;x\u{7}Debian" },
    }));
    assert_eq!(facet(&seen, "systant_cpu_load:CPU Load!").reading("n5_min"), Some(1.0));
    assert_eq!(facet(&seen, "systant_disk:[2J/").reading("used"), Some(1.0));
    assert_eq!(facet(&seen, "systant_disk:-").reading("used"), Some(2.0));
    assert_eq!(facet(&seen, "systant_system:system").attribute("os"), Some(&Value::Text("]0;xDebian".into())));
}

#[test]
fn a_topic_names_one_host() {
    assert_eq!(host_of("systant/nas/stats"), Some("nas"));
    for other in ["systant/nas/x/stats", "systant/nas/commands", "systant//stat", "x/nas/stats"] {
        assert_eq!(host_of(other), None, "{other}");
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<f64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(Json::String),
    ];
    leaf.prop_recursive(8, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::Array),
            prop::collection::vec((any::<String>(), inner), 0..8)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_sent_comes_to_sound_facets(members in prop::collection::vec((any::<String>(), any_json()), 0..8)) {
        let message: Map<String, Json> = members.into_iter().collect();
        let seen = flatten(&message, &Catalogue::builtin());
        let mut keys = std::collections::BTreeSet::new();
        for facet in &seen.facets {
            prop_assert!(keys.insert(facet.resource.clone()), "no resource twice");
            prop_assert!(!facet.resource.name.is_empty() && !facet.resource.name.contains(char::is_control));
            let kind = seen.kinds.iter().find(|kind| kind.name == facet.resource.kind).unwrap();
            prop_assert!(facet.readings.iter().all(|(name, value)| kind.field(name).is_some() && value.is_finite()));
            for table in &facet.tables {
                prop_assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
            }
        }
    }
}
