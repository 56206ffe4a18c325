//! One entity of Home Assistant, made from what the catalogue says of a field,
//! an attribute, a resource's status or the host itself.
//!
//! The rules that Home Assistant holds entities to are strict and differ by
//! version: a bad key in `device` or a unit that does not belong to the class
//! loses the entity. What stands here is taken by 2024.3 and all later ones.

use serde_json::{Map, Value, json};
use tomte_model::catalogue::{FieldDef, HomeAssistant, KindDef};
use tomte_model::{ResourceKey, Unit};

use crate::names::{id, slug};

/// What a state topic says when there is no value.
pub const NO_VALUE: &str = "None";

/// An entity without its device and availability, which all entities share.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// `sensor`, `binary_sensor`, `event`, `update`.
    pub component: &'static str,
    /// Its id within the host, stable for ever: of `a-z A-Z 0-9 _ -`.
    pub key: String,
    /// What it is called, of `a-z 0-9 _`, without the host.
    pub slug: String,
    /// All but ids, device, availability.
    pub config: Map<String, Value>,
    /// Whether it tells how the host is reached: then it must not become
    /// unavailable with it.
    pub always: bool,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The key of what belongs to a resource.
#[must_use]
pub fn key(resource: &ResourceKey, field: &str) -> String {
    // Names of the catalogue stay as they are.
    let part = |name: &str| if slug(name) == name { name.to_owned() } else { id(name) };
    format!("{}-{}-{}", part(&resource.kind), id(&resource.name), part(field))
}

/// How numbers of a unit are shown: Home Assistant's device class and unit,
/// what to multiply with, and the decimals.
#[derive(Debug, Clone, PartialEq)]
struct Shown<'a> {
    class: &'static str,
    unit: Option<&'a str>,
    /// An operation of a template, ` * 100`.
    scale: &'static str,
    decimals: u8,
}

/// Kinds whose bytes are many.
const LARGE: &[&str] =
    &["filesystem", "disk", "memory", "zram", "tmpfs", "pool", "dataset", "storage", "backup", "container_engine"];

fn shown<'a>(kind: &str, field: &'a FieldDef) -> Shown<'a> {
    let of = |class, unit, scale, decimals| Shown { class, unit, scale, decimals };
    let long = ["uptime_seconds", "age_seconds", "remaining_seconds", "run_seconds"];
    match &field.unit {
        Unit::Number => of("", None, "", if field.resolution.exponent() < 0 { 2 } else { 0 }),
        Unit::Ratio => of("", Some("%"), " * 100", 1),
        Unit::Bytes if LARGE.contains(&kind) => of("data_size", Some("GiB"), " / 1073741824", 2),
        Unit::Bytes => of("data_size", Some("MiB"), " / 1048576", 1),
        Unit::BytesPerSecond => of("data_rate", Some("MB/s"), " / 1000000", 2),
        Unit::PerSecond => of("", Some("/s"), "", 1),
        Unit::Seconds if long.iter().any(|end| field.name.ends_with(end)) => of("duration", Some("h"), " / 3600", 1),
        Unit::Seconds if field.resolution.exponent() < -2 => of("duration", Some("ms"), " * 1000", 2),
        Unit::Seconds => of("duration", Some("s"), "", 0),
        Unit::Celsius => of("temperature", Some("°C"), "", 1),
        Unit::Hertz => of("frequency", Some("MHz"), " / 1000000", 0),
        Unit::RevolutionsPerMinute => of("", Some("rpm"), "", 0),
        Unit::Watts => of("power", Some("W"), "", 1),
        Unit::Volts => of("voltage", Some("V"), "", 2),
        Unit::Amperes => of("current", Some("A"), "", 2),
        Unit::Other(name) => of("", Some(name.as_ref()).filter(|unit| unit.len() <= 32), "", 2),
    }
}

/// Abbreviations among the names of kinds and fields, as people write them.
const WORDS: &[(&str, &str)] = &[
    ("cpu", "CPU"),
    ("arc", "ARC"),
    ("gpu", "GPU"),
    ("http", "HTTP"),
    ("io", "I/O"),
    ("mtu", "MTU"),
    ("oom", "OOM"),
    ("os", "OS"),
    ("pids", "PIDs"),
    ("zfs", "ZFS"),
];

fn words(name: &str) -> String {
    let word = |word: &str| {
        WORDS.iter().find(|(plain, _)| *plain == word).map_or_else(|| word.to_owned(), |(_, said)| (*said).to_owned())
    };
    name.split('_').map(word).collect::<Vec<_>>().join(" ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What a field is called beside its kind: `usage`, `used`, `read rate`. Where
/// two would be called the same, their whole names tell them apart.
fn function(kind: &KindDef, field: &FieldDef) -> String {
    let short = short(kind, field);
    let taken = |other: &FieldDef| other.name != field.name && self::short(kind, other) == short;
    if kind.fields.iter().any(taken) { words(&field.name) } else { short }
}

fn short(kind: &KindDef, field: &FieldDef) -> String {
    let name = field.name.as_ref();
    // Shares are told from amounts of the same thing.
    if field.unit == Unit::Ratio {
        let stem = name.strip_suffix("_ratio").unwrap_or(name);
        return words(&match stem.strip_suffix("used") {
            Some("") => "usage".to_owned(),
            Some(what) => format!("{what}usage"),
            None if stem == "usage" => stem.to_owned(),
            None => format!("{stem}_share"),
        });
    }
    let stem = field.unit.suffix().and_then(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    match field.unit {
        Unit::BytesPerSecond | Unit::PerSecond => words(&format!("{stem}_rate")),
        // The images' size, beside their number.
        Unit::Bytes if kind.fields.iter().any(|other| other.name == stem) => words(&format!("{stem}_size")),
        _ => words(stem),
    }
}

/// What the kind's only resource, or one of many, is called: `CPU`,
/// `Filesystem /home`. Empty on a device of its own.
fn thing(resource: &ResourceKey, own_device: bool) -> String {
    if own_device {
        return String::new();
    }
    let kind = capital(&words(&resource.kind));
    if resource.name == resource.kind { kind } else { format!("{kind} {}", resource.name) }
}

fn named(resource: &ResourceKey, function: &str, own_device: bool) -> String {
    let name = format!("{} {function}", thing(resource, own_device));
    let name = name.trim();
    // Load 1 rather than Load load1.
    let name = name.strip_prefix("Load load").map_or_else(|| name.to_owned(), |rest| format!("Load {rest}"));
    let name: String = name.chars().filter(|c| !c.is_control()).take(150).collect();
    if own_device { capital(&name) } else { name }
}

fn entity(
    component: &'static str,
    resource: &ResourceKey,
    field: &str,
    shown: &HomeAssistant,
    config: Value,
) -> Entity {
    let mut config = object(config);
    if shown.diagnostic {
        config.insert("entity_category".into(), json!("diagnostic"));
    }
    if !shown.enabled {
        config.insert("enabled_by_default".into(), json!(false));
    }
    if shown.icon.starts_with("mdi:") {
        config.insert("icon".into(), json!(shown.icon));
    }
    let name = if resource.name == resource.kind { String::new() } else { resource.name.clone() };
    let slug = slug(&format!("{} {name} {field}", resource.kind));
    Entity { component, key: key(resource, field), slug, config, always: false }
}

/// The entity of a number.
#[must_use]
pub fn of_field(
    kind: &KindDef,
    field: &FieldDef,
    resource: &ResourceKey,
    topic: &str,
    expire_after: u64,
    own_device: bool,
) -> Entity {
    let home = &field.home_assistant;
    let name = named(resource, &function(kind, field), own_device);
    if home.is_binary() {
        let config = json!({
            "name": named(resource, &words(&field.name), own_device),
            "device_class": home.device_class,
            "state_topic": topic,
            "value_template": "{{ 'ON' if value == '1' else 'OFF' if value == '0' else None }}",
            "expire_after": expire_after,
        });
        return entity("binary_sensor", resource, &field.name, home, config);
    }
    let shown = shown(&kind.name, field);
    let mut config = object(json!({
        "name": name,
        "state_topic": topic,
        "state_class": "measurement",
        "suggested_display_precision": shown.decimals,
        "expire_after": expire_after,
    }));
    if home.state_class == "total_increasing" || home.state_class == "total" {
        config.insert("state_class".into(), json!(home.state_class));
    }
    if !shown.class.is_empty() {
        config.insert("device_class".into(), json!(shown.class));
    }
    if let Some(unit) = shown.unit {
        config.insert("unit_of_measurement".into(), json!(unit));
    }
    if !shown.scale.is_empty() {
        let template = format!("{{{{ (value | float{}) | round(4) if value != 'None' else None }}}}", shown.scale);
        config.insert("value_template".into(), json!(template));
    }
    entity("sensor", resource, &field.name, home, Value::Object(config))
}

/// The entity of a text or a flag. Texts do not expire: a host that is away
/// has not changed its kernel; that it is away is told by its availability.
#[must_use]
pub fn of_attribute(
    name: &str,
    home: &HomeAssistant,
    flag: bool,
    resource: &ResourceKey,
    topic: &str,
    own_device: bool,
) -> Entity {
    let mut config = object(json!({ "name": named(resource, &words(name), own_device), "state_topic": topic }));
    if !home.device_class.is_empty() {
        config.insert("device_class".into(), json!(home.device_class));
    }
    entity(if flag { "binary_sensor" } else { "sensor" }, resource, name, home, Value::Object(config))
}

const PROBLEM: &str = "{{ {'ok': 'OFF', 'warning': 'ON', 'critical': 'ON'}.get(value_json.status) }}";
const STATUS: &str = "{{ value_json.status }}";

/// Whether a judged resource is in trouble.
#[must_use]
pub fn of_problem(resource: &ResourceKey, topic: &str, expire_after: u64, own_device: bool) -> Entity {
    let config = json!({
        "name": named(resource, "problem", own_device),
        "device_class": "problem",
        "state_topic": topic,
        "value_template": PROBLEM,
        "json_attributes_topic": topic,
        "expire_after": expire_after,
    });
    entity("binary_sensor", resource, "problem", &HomeAssistant::class("problem").as_diagnostic(), config)
}

/// What there is to install.
#[must_use]
pub fn of_update(resource: &ResourceKey, topic: &str) -> Entity {
    let name = if resource.kind == "agent" { "Agent" } else { "Packages" };
    let config = json!({ "name": name, "state_topic": topic });
    entity("update", resource, "update", &HomeAssistant::TEXT, config)
}

/// What every host has: its status, whether that is a problem, whether it is
/// reached, and what happens on it.
#[must_use]
pub fn of_host(topics: &crate::topics::Topics, expire_after: u64, event_types: &[&str]) -> Vec<Entity> {
    let status = topics.status();
    let whole = |component, key: &str, config| Entity {
        component,
        key: key.to_owned(),
        slug: slug(key),
        config: object(config),
        always: false,
    };
    let mut connected = whole(
        "binary_sensor",
        "connected",
        json!({
            "name": "Connected", "device_class": "connectivity", "entity_category": "diagnostic",
            "state_topic": topics.availability(), "payload_on": "online", "payload_off": "offline",
        }),
    );
    connected.always = true;
    vec![
        whole(
            "sensor",
            "status",
            json!({
                "name": "Status", "device_class": "enum", "options": ["ok", "unknown", "warning", "critical"],
                "icon": "mdi:clipboard-pulse-outline", "state_topic": status, "value_template": STATUS,
                "json_attributes_topic": status, "expire_after": expire_after,
            }),
        ),
        whole(
            "binary_sensor",
            "problem",
            json!({
                "name": "Problem", "device_class": "problem", "state_topic": status, "value_template": PROBLEM,
                "json_attributes_topic": status, "expire_after": expire_after,
            }),
        ),
        connected,
        whole(
            "event",
            "events",
            json!({
                "name": "Events", "icon": "mdi:bell-outline", "entity_category": "diagnostic",
                "state_topic": topics.events(), "event_types": event_types,
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use tomte_model::catalogue::KINDS;

    use super::*;

    /// The units that go with a device class: `reference` in Home Assistant's
    /// documentation of sensors, the part that all versions since 2024.3 take.
    const UNITS: &[(&str, &[&str])] = &[
        ("data_size", &["B", "kB", "MB", "GB", "MiB", "GiB"]),
        ("data_rate", &["B/s", "kB/s", "MB/s", "MiB/s"]),
        ("duration", &["d", "h", "min", "s", "ms"]),
        ("temperature", &["°C"]),
        ("frequency", &["Hz", "kHz", "MHz", "GHz"]),
        ("power", &["W", "kW"]),
        ("voltage", &["V", "mV"]),
        ("current", &["A", "mA"]),
    ];

    #[test]
    fn every_field_of_the_catalogue_makes_an_entity_that_home_assistant_takes() {
        for kind in KINDS {
            let resource = ResourceKey::new(kind.name.clone(), "one");
            let mut names = BTreeSet::new();
            for field in kind.fields.iter() {
                let entity = of_field(kind, field, &resource, "t", 900, false);
                let config = &entity.config;
                let at = format!("{}/{}: {config:?}", kind.name, field.name);
                assert!(names.insert(config["name"].to_string()), "{at}: two entities of one name");
                let class = config.get("device_class").and_then(Value::as_str);
                let unit = config.get("unit_of_measurement").and_then(Value::as_str);
                if entity.component == "binary_sensor" {
                    assert!(HomeAssistant::BINARY.contains(&class.unwrap()) && unit.is_none(), "{at}");
                    continue;
                }
                assert_eq!(config["state_class"], "measurement", "{at}");
                if let Some(class) = class {
                    let (_, units) = UNITS.iter().find(|(known, _)| *known == class).expect(&at);
                    assert!(units.contains(&unit.unwrap()), "{at}");
                }
                // The catalogue and the unit agree on the class.
                let said = field.home_assistant.device_class.as_ref();
                assert!(said.is_empty() || Some(said) == class, "{at}");
                assert!(entity.key.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-'), "{at}");
            }
        }
    }

    #[test]
    fn names_are_of_the_function_only() {
        let name = |kind: &str, name: &str, field: &str| {
            let kind = KINDS.iter().find(|def| def.name == kind).unwrap();
            let field = kind.field(field).unwrap();
            of_field(kind, field, &ResourceKey::new(kind.name.clone(), name), "t", 1, false).config["name"].clone()
        };
        assert_eq!(name("cpu", "cpu", "usage_ratio"), "CPU usage");
        assert_eq!(name("memory", "memory", "used_ratio"), "Memory usage");
        assert_eq!(name("memory", "memory", "used_bytes"), "Memory used");
        assert_eq!(name("filesystem", "/home", "used_ratio"), "Filesystem /home usage");
        assert_eq!(name("interface", "eth0", "receive_bytes_per_second"), "Interface eth0 receive rate");
        assert_eq!(name("load", "load", "load5"), "Load 5");
        assert_eq!(name("container", "shop/web/1", "running"), "Container shop/web/1 running");
        assert_eq!(name("host", "host", "uptime_seconds"), "Host uptime");
    }

    #[test]
    fn keys_of_different_things_differ() {
        let kinds = [("a", "b_c", "d"), ("a_b", "c", "d"), ("a", "b", "c_d"), ("a", "b-c", "d"), ("a", "b", "c-d")];
        let keys: BTreeSet<_> =
            kinds.iter().map(|(kind, name, field)| key(&ResourceKey::new(*kind, *name), field)).collect();
        assert_eq!(keys.len(), kinds.len(), "{keys:?}");
    }
}
