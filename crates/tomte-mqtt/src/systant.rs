//! The one message that systant hosts send: all of a host in one JSON object.
//!
//! [`Stats`] writes it for those who still listen to `systant/HOST/stats`. The
//! keys at the top are systant's; inside, fields are called as in the
//! catalogue. What is stale or missing is left out.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use tomte_model::latest::{FacetState, ResourceState};
use tomte_model::{Latest, Moment, Timestamp, Value};

use crate::names::level;
use crate::protocol::{Publish, Qos};

/// What its topics begin with.
pub const PREFIX: &str = "systant";
/// The broker, where none is named.
pub const BROKER: &str = "mqtt://mqtt.home";
/// The time between two messages.
pub const INTERVAL: Duration = Duration::from_secs(30);
/// A section has so many members at most.
const MOST_MEMBERS: usize = 64;

/// When the next message is due.
#[derive(Debug)]
pub struct Stats {
    host: String,
    interval: Duration,
    /// Boot time in milliseconds.
    next_at: u64,
}

impl Stats {
    /// Of that host, every `interval` from `begin_at` on, in milliseconds of
    /// boot time.
    #[must_use]
    pub fn new(host: &str, interval: Duration, begin_at: u64) -> Self {
        Self { host: host.to_owned(), interval, next_at: begin_at }
    }

    /// When the next one is due, in milliseconds of boot time.
    #[must_use]
    pub fn next_at(&self) -> u64 {
        self.next_at
    }

    /// The message, when it is due.
    pub fn due(&mut self, latest: &Latest, now: Moment) -> Option<Publish> {
        if now.boot_millis < self.next_at {
            return None;
        }
        let interval = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX).max(1);
        // In step with the first one, also when some were missed.
        let missed = (now.boot_millis - self.next_at) / interval;
        self.next_at = self.next_at.saturating_add((missed + 1).saturating_mul(interval));
        Some(Publish {
            topic: format!("{PREFIX}/{}/stats", level(&self.host)),
            payload: payload(&self.host, latest, now.wall).to_string().into_bytes().into(),
            qos: Qos::AtMostOnce,
            retain: false,
        })
    }
}

/// What is known of a host, in systant's form.
#[must_use]
pub fn payload(host: &str, latest: &Latest, now: Timestamp) -> Json {
    let mut cpu = one(latest, "cpu", now);
    cpu.extend(one(latest, "load", now));
    let mut processes = one(latest, "process", now);
    processes.extend(tables(latest, "process", now));
    let mut system = one(latest, "host", now);
    system.extend(one(latest, "os", now));
    system.extend(one(latest, "updates", now));
    if let Some(assessment) = latest.assessment(now) {
        system.insert("status".into(), json!(assessment.status));
        system.insert("reason".into(), json!(assessment.reason));
    }
    json!({
        "timestamp": now.to_string(),
        "hostname": host,
        "cpu": cpu,
        "memory": one(latest, "memory", now),
        "disk": many(latest, "filesystem", now),
        "gpu": many(latest, "gpu", now),
        "network": network(latest, now),
        "temperature": temperature(latest, now),
        "processes": processes,
        "system": system,
    })
}

fn live(state: &ResourceState, now: Timestamp) -> impl Iterator<Item = &FacetState> {
    state.facets.values().map(|facet| &**facet).filter(move |facet| !facet.is_stale(now))
}

fn members(state: &ResourceState, now: Timestamp) -> Map<String, Json> {
    let readings = live(state, now).flat_map(|facet| &facet.readings).map(|(name, value)| (name, json!(value)));
    let attributes = live(state, now).flat_map(|facet| &facet.attributes).map(|(name, value)| (name, value_of(value)));
    readings.chain(attributes).map(|(name, value)| (name.to_string(), value)).collect()
}

fn value_of(value: &Value) -> Json {
    match value {
        Value::Bool(flag) => json!(flag),
        Value::Number(number) => json!(number),
        Value::Text(text) => json!(text),
    }
}

/// A kind of which a host has but one.
fn one(latest: &Latest, kind: &'static str, now: Timestamp) -> Map<String, Json> {
    latest.of_kind(kind).next().map(|(_, state)| members(state, now)).unwrap_or_default()
}

/// A kind of which there may be several, by name.
fn many(latest: &Latest, kind: &'static str, now: Timestamp) -> Map<String, Json> {
    let all = latest.of_kind(kind).take(MOST_MEMBERS);
    let all = all.map(|(key, state)| (key.name.clone(), members(state, now)));
    all.filter(|(_, members)| !members.is_empty()).map(|(name, members)| (name, Json::Object(members))).collect()
}

/// The lists of a kind of which a host has but one: each a list of objects.
fn tables(latest: &Latest, kind: &'static str, now: Timestamp) -> Map<String, Json> {
    let Some((_, state)) = latest.of_kind(kind).next() else { return Map::new() };
    let row = |columns: &[tomte_model::Name], row: &Vec<Option<Value>>| -> Json {
        let cells = columns.iter().zip(row);
        let cells = cells.map(|(name, cell)| (name.to_string(), cell.as_ref().map_or(Json::Null, value_of)));
        Json::Object(cells.collect())
    };
    let lists = live(state, now).flat_map(|facet| &facet.tables);
    lists
        .map(|list| (list.name.to_string(), list.rows.iter().map(|cells| row(&list.columns, cells)).collect()))
        .collect()
}

/// What goes through the interface of the default route, and all of them.
fn network(latest: &Latest, now: Timestamp) -> Map<String, Json> {
    let outside = |state: &ResourceState| {
        state.attributes().any(|(name, value)| name == "default_route" && *value == Value::Bool(true))
    };
    let mut network = Map::new();
    if let Some((key, state)) = latest.of_kind("interface").find(|(_, state)| outside(state)) {
        network.insert("interface".into(), json!(key.name));
        let wanted = ["receive_bytes_per_second", "transmit_bytes_per_second"];
        network.extend(members(state, now).into_iter().filter(|(name, _)| wanted.contains(&name.as_str())));
    }
    network.insert("interfaces".into(), Json::Object(many(latest, "interface", now)));
    network
}

/// Degrees by sensor, and the CPU's warmest.
fn temperature(latest: &Latest, now: Timestamp) -> Map<String, Json> {
    const FIELD: &str = "temperature_celsius";
    let sensors = latest.of_kind("sensor").take(MOST_MEMBERS);
    let degrees = |state: &ResourceState| live(state, now).find_map(|facet| reading(facet, FIELD));
    let all: Vec<_> = sensors.filter_map(|(key, state)| Some((key.name.clone(), degrees(state)?, state))).collect();
    let mut temperature = Map::new();
    let of_cpu = |state: &ResourceState| {
        let chips = ["coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal"];
        state
            .attributes()
            .any(|(name, value)| name == "chip" && matches!(value, Value::Text(chip) if chips.contains(&chip.as_str())))
    };
    let warmest = all.iter().filter(|(.., state)| of_cpu(state)).map(|(_, value, _)| *value).max_by(f64::total_cmp);
    if let Some(warmest) = warmest {
        temperature.insert("cpu".into(), json!(warmest));
    }
    let sensors: Map<_, _> = all.into_iter().map(|(name, value, _)| (name, json!(value))).collect();
    temperature.insert("sensors".into(), Json::Object(sensors));
    temperature
}

fn reading(facet: &FacetState, field: &str) -> Option<f64> {
    facet.readings.iter().find(|(name, _)| name == field).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tomte_model::{BootId, Catalogue, Facet, HostId, Position, Report, Scope};

    use super::*;

    fn latest() -> Latest {
        let mut cpu = Facet::owner("cpu", "cpu", "main");
        cpu.read("usage_ratio", 0.25);
        let mut load = Facet::owner("load", "load", "main");
        load.read("load1", 1.5);
        let mut outside = Facet::owner("interface", "eth1", "main");
        outside.read("receive_bytes_per_second", 1000.0);
        outside.read("mtu", 1500.0);
        outside.flag("default_route", true);
        let mut inside = Facet::owner("interface", "eth0", "main");
        inside.read("receive_bytes_per_second", 5.0);
        let mut mount = Facet::owner("filesystem", "/mnt/\"x\"", "main");
        mount.read("used_ratio", 0.5);
        let mut sensor = Facet::owner("sensor", "coretemp/Package id 0", "main");
        sensor.text("chip", "coretemp");
        sensor.read("temperature_celsius", 61.5);
        let mut latest = Latest::default();
        let facets = vec![cpu, load, outside, inside, mount, sensor];
        let report = Report {
            host: HostId::from_parts(1, 2),
            collector: "all".into(),
            position: Position { epoch: 1, sequence: 1 },
            boot_id: BootId(1),
            moment: Moment::default(),
            clock_synchronised: true,
            interval_millis: 10_000,
            scopes: vec![Scope::complete("all", facets)],
            events: Vec::new(),
        };
        latest.apply(&report, Timestamp::default());
        latest
    }

    #[test]
    fn the_keys_at_the_top_are_systants_and_those_inside_the_catalogues() {
        let known = payload("nas", &latest(), Timestamp::from_millis(1_000));
        let mut top: Vec<_> = known.as_object().unwrap().keys().map(String::as_str).collect();
        top.sort_unstable();
        let mut wanted =
            ["timestamp", "hostname", "cpu", "memory", "disk", "gpu", "network", "temperature", "processes", "system"];
        wanted.sort_unstable();
        assert_eq!(top, wanted);
        assert_eq!(known["timestamp"], "1970-01-01T00:00:01.000Z");
        assert_eq!((&known["cpu"]["usage_ratio"], &known["cpu"]["load1"]), (&json!(0.25), &json!(1.5)));
        assert_eq!(known["network"]["interface"], "eth1");
        assert_eq!(known["network"]["receive_bytes_per_second"], 1000.0);
        assert_eq!(known["network"]["interfaces"]["eth0"]["receive_bytes_per_second"], 5.0);
        assert_eq!(known["disk"]["/mnt/\"x\""]["used_ratio"], 0.5);
        assert_eq!(known["temperature"]["cpu"], 61.5);
        let stale = payload("nas", &latest(), Timestamp::from_millis(3_600_000));
        assert_eq!(stale["cpu"], json!({}), "what is old is not told as new");
        for kind in ["cpu", "load", "process", "host", "os", "updates", "memory", "filesystem", "gpu", "interface"] {
            assert!(Catalogue::builtin().kind(kind).is_some(), "{kind}");
        }
    }

    #[test]
    fn messages_come_in_step() {
        let mut stats = Stats::new("na/s", INTERVAL, 5_000);
        let latest = latest();
        let at = |boot_millis| Moment { wall: Timestamp::default(), boot_millis };
        assert!(stats.due(&latest, at(4_999)).is_none());
        let message = stats.due(&latest, at(5_200)).unwrap();
        assert_eq!((message.topic.as_str(), message.retain), ("systant/na%2Fs/stats", false));
        assert!(stats.due(&latest, at(34_999)).is_none());
        assert!(stats.due(&latest, at(35_000)).is_some());
        assert!(stats.due(&latest, at(200_000)).is_some());
        assert_eq!(stats.next_at(), 215_000, "those that were missed are not made up for");
    }
}
