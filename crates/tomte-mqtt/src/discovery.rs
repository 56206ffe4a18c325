//! Discovery: what tells Home Assistant that there is a device with entities.
//!
//! A message per entity works with every version, and one that is refused
//! takes no other with it; that is the default. Since 2024.11 there is one
//! message for a whole device too. Ids come from the host's id, so that they
//! outlive every name, and are the same both ways, so that either can be
//! migrated to the other.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use tomte_model::HostId;

use crate::entity::Entity;
use crate::names::slug;

/// How entities are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A message for each.
    Entity,
    /// A message for each device.
    Device,
}

/// The payload that lets go of a topic's entities before another takes them.
pub const MIGRATE: &str = r#"{"migrate_discovery": true}"#;

/// A device of Home Assistant.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Of `a-z A-Z 0-9 _ -`.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Who made it, if known.
    pub manufacturer: Option<String>,
    /// What it is, if known.
    pub model: Option<String>,
    /// What runs on it, if known.
    pub software: Option<String>,
    /// The device it belongs to.
    pub via: Option<String>,
}

impl Device {
    /// The id of a host's device.
    #[must_use]
    pub fn id_of(host: HostId) -> String {
        format!("tomte_{}", host.to_string().to_lowercase())
    }

    /// What all versions take in `device`; one key more loses the entity.
    fn block(&self) -> Value {
        let mut block = Map::new();
        block.insert("identifiers".into(), json!([self.id]));
        block.insert("name".into(), json!(self.name));
        for (key, value) in [
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
            ("sw_version", &self.software),
            ("via_device", &self.via),
        ] {
            if let Some(value) = value {
                block.insert(key.into(), json!(value));
            }
        }
        Value::Object(block)
    }
}

/// What all entities of one publisher share.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The id of the host's own device: ids of entities hang on it, whichever
    /// device they are shown at.
    pub host_id: String,
    /// The host's name: what entities are called at first hangs on it.
    pub host_name: String,
    /// `homeassistant`, unless Home Assistant is told otherwise.
    pub prefix: String,
    /// Where the host's availability is told.
    pub availability: String,
    /// Where the hub's is, where the hub publishes for the host.
    pub hub_availability: Option<String>,
    /// The version of the program that publishes.
    pub version: String,
}

impl Frame {
    fn origin(&self) -> Value {
        json!({ "name": "Tomte", "sw_version": self.version })
    }

    /// Where an entity's availability is told: all of them have to agree. What
    /// tells whether the host is reached depends on the hub alone.
    fn availability(&self, entity: &Entity, config: &mut Map<String, Value>) {
        let host = (!entity.always).then_some(&self.availability);
        let topics: Vec<_> = self.hub_availability.iter().chain(host).map(|topic| json!({ "topic": topic })).collect();
        if !topics.is_empty() {
            config.insert("availability".into(), Value::Array(topics));
            config.insert("availability_mode".into(), json!("all"));
        }
    }

    /// The topic of an entity's own message. Node and object are the device
    /// and the component of [`Self::device_topic`], as a migration needs it.
    #[must_use]
    pub fn entity_topic(&self, device: &str, component: &str, key: &str) -> String {
        format!("{}/{component}/{device}/{key}/config", self.prefix)
    }

    /// The topic of a device's message.
    #[must_use]
    pub fn device_topic(&self, device: &str) -> String {
        format!("{}/device/{device}/config", self.prefix)
    }

    /// An entity's own message.
    #[must_use]
    pub fn entity(&self, device: &Device, entity: &Entity) -> String {
        let mut config = self.component(entity);
        config.insert("device".into(), device.block());
        config.insert("origin".into(), self.origin());
        self.availability(entity, &mut config);
        Value::Object(config).to_string()
    }

    fn component(&self, entity: &Entity) -> Map<String, Value> {
        let mut config = entity.config.clone();
        let wished = format!("{}_{}", slug(&self.host_name), entity.slug);
        config.insert("unique_id".into(), json!(format!("{}-{}", self.host_id, entity.key)));
        // The first is for 2025.10 and later, the second for those before.
        config.insert("default_entity_id".into(), json!(format!("{}.{wished}", entity.component)));
        config.insert("object_id".into(), json!(wished));
        config
    }

    /// Adds an entity to those of a device's message.
    pub fn add(&self, components: &mut Components, entity: &Entity) {
        let mut config = self.component(entity);
        config.insert("platform".into(), json!(entity.component));
        self.availability(entity, &mut config);
        components.push(&entity.key, &Value::Object(config));
    }

    /// A device's message.
    #[must_use]
    pub fn device(&self, device: &Device, components: &Components) -> String {
        let (block, origin) = (device.block(), self.origin());
        format!(r#"{{"device":{block},"origin":{origin},"components":{{{}}}}}"#, components.0)
    }
}

/// What a device's message says of its entities. Each is written down at once:
/// all of a host's as values take many times the room of the text, and not every
/// allocator gives that back.
#[derive(Debug, Default)]
pub struct Components(String);

impl Components {
    /// Names one that was in the message before and is no more, which has to be
    /// done once.
    pub fn add_gone(&mut self, key: &str, component: &str) {
        self.push(key, &json!({ "platform": component }));
    }

    fn push(&mut self, key: &str, config: &Value) {
        let comma = if self.0.is_empty() { "" } else { "," };
        // Writing to a text does not fail.
        let _ = write!(self.0, "{comma}{}:{config}", Value::from(key));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::entity::of_host;
    use crate::topics::Topics;

    fn frame() -> Frame {
        Frame {
            host_id: device().id,
            host_name: device().name,
            prefix: "homeassistant".into(),
            availability: "tomte/nas/availability".into(),
            hub_availability: None,
            version: "1".into(),
        }
    }

    fn device() -> Device {
        Device {
            id: Device::id_of(HostId::from_parts(1, 2)),
            name: "nas".into(),
            manufacturer: None,
            model: Some("Virtual \"box\"".into()),
            software: None,
            via: None,
        }
    }

    #[test]
    fn an_entity_says_what_all_versions_take_and_no_more() {
        let (frame, device) = (frame(), device());
        for entity in of_host(&Topics::new("tomte", "nas"), 900, &["gap"]) {
            let config: Value = serde_json::from_str(&frame.entity(&device, &entity)).unwrap();
            let block = config["device"].as_object().unwrap();
            let safe = ["identifiers", "name", "manufacturer", "model", "sw_version", "via_device"];
            assert!(block.keys().all(|key| safe.contains(&key.as_str())), "{block:?}");
            let origin = config["origin"].as_object().unwrap();
            assert!(origin.keys().all(|key| ["name", "sw_version"].contains(&key.as_str())));
            let id = config["default_entity_id"].as_str().unwrap();
            assert_eq!(id, format!("{}.{}", entity.component, config["object_id"].as_str().unwrap()));
            assert!(id.starts_with(&format!("{}.nas_", entity.component)));
            assert!(config.get("availability_topic").is_none());
            assert_eq!(config.get("availability").is_none(), entity.always);
            let topic = frame.entity_topic(&device.id, entity.component, &entity.key);
            assert!(topic.split('/').all(|part| part.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c))));
            assert_eq!(config["unique_id"], format!("{}-{}", device.id, entity.key));
        }
    }

    #[test]
    fn a_device_holds_the_same_entities_and_names_what_is_gone() {
        let (frame, device) = (frame(), device());
        let entities = of_host(&Topics::new("tomte", "nas"), 900, &["gap"]);
        let mut components = Components::default();
        entities.iter().for_each(|entity| frame.add(&mut components, entity));
        components.add_gone("old", "sensor");
        let text = frame.device(&device, &components);
        let config: Value = serde_json::from_str(&text).unwrap();
        let mut root: Vec<_> = config.as_object().unwrap().keys().map(String::as_str).collect();
        root.sort_unstable();
        assert_eq!(root, ["components", "device", "origin"], "another key at the root loses the device");
        let components = config["components"].as_object().unwrap();
        assert_eq!(components["old"], json!({ "platform": "sensor" }));
        for entity in &entities {
            let alone: Value = serde_json::from_str(&frame.entity(&device, entity)).unwrap();
            let together = &components[&entity.key];
            assert_eq!(together["platform"], entity.component);
            assert_eq!(together["unique_id"], alone["unique_id"]);
            assert_eq!(together["state_topic"], alone["state_topic"]);
        }
    }
}
