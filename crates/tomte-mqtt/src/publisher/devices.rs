//! Discovery by device: one message for a whole device, and the ways from the
//! other style and back.

use std::collections::BTreeMap;

use tomte_model::{Catalogue, Latest};

use super::Publisher;
use crate::discovery::{Device, MIGRATE, Style};
use crate::entity::Entity;
use crate::protocol::Publish;

impl Publisher {
    /// A message for each device, where that is the style; and the end of a
    /// migration from it, where it was.
    ///
    /// What is no more has to be named once, or Home Assistant keeps it. What
    /// an earlier run named and this one has not seen may only not have been
    /// read yet: it is left as it is, until things are settled.
    pub(super) fn publish_devices(
        &mut self,
        latest: &Latest,
        catalogue: &Catalogue,
        settled: bool,
        out: &mut Vec<Publish>,
    ) {
        let Some(discovery) = &self.options.discovery else { return };
        if discovery.style == Style::Entity {
            // What is not let go of yet has entities that were not read yet.
            let own = format!("{}/device/{}", discovery.prefix, self.device.id);
            let is_former = |topic: &&String| {
                topic.starts_with(&own) && (settled || !self.kept.components.contains_key(topic.as_str()))
            };
            let former: Vec<_> = self.kept.topics.iter().filter(is_former).cloned().collect();
            former.iter().for_each(|topic| _ = self.clear_moved(topic));
            return;
        }
        let mut devices: BTreeMap<String, (Device, Vec<Entity>)> = BTreeMap::new();
        devices.insert(self.device.id.clone(), (self.device.clone(), self.host_entities()));
        for (resource, state) in latest.resources() {
            let Some(thing) = self.things.get(resource).filter(|thing| thing.announced) else { continue };
            let Some(kind) = catalogue.kind(&resource.kind) else { continue };
            let device = thing.device.as_ref().unwrap_or(&self.device).clone();
            let entities = self.entities(kind, resource, state);
            devices.entry(device.id.clone()).or_insert_with(|| (device, Vec::new())).1.extend(entities);
        }
        let qos = self.options.pace.discovery;
        let mut present = Vec::new();
        for (device, entities) in devices.into_values().filter(|(_, entities)| !entities.is_empty()) {
            let topic = self.frame.device_topic(&device.id);
            let alone: Vec<_> = entities
                .iter()
                .map(|entity| self.frame.entity_topic(&device.id, entity.component, &entity.key))
                .filter(|topic| self.kept.topics.contains(topic))
                .collect();
            out.extend(alone.iter().map(|topic| Publish::retained(topic.clone(), MIGRATE, qos)));
            let before = self.kept.components.remove(&topic).unwrap_or_default();
            let named = entities.iter().map(|entity| (entity.key.clone(), entity.component.to_owned()));
            let mut named: BTreeMap<_, _> = named.collect();
            self.named.extend(named.keys().map(|key| (topic.clone(), key.clone())));
            let others = before.iter().filter(|(key, _)| !named.contains_key(*key));
            let (gone, unseen): (Vec<_>, Vec<_>) =
                others.partition(|(key, _)| settled || self.named.contains(&(topic.clone(), (*key).clone())));
            let gone = gone.into_iter().map(|(key, component)| (key.as_str(), component.as_str()));
            let payload = self.frame.device(&device, &entities, gone);
            let unseen: Vec<_> = unseen.into_iter().map(|(key, component)| (key.clone(), component.clone())).collect();
            named.extend(unseen);
            self.kept_changed |= before != named;
            self.kept.components.insert(topic.clone(), named);
            self.keep(&topic);
            out.push(Publish::retained(topic.clone(), &payload, qos));
            alone.iter().for_each(|topic| _ = self.clear_moved(topic));
            present.push(topic);
        }
        let gone = self.kept.components.keys().filter(|topic| !present.contains(topic));
        let gone: Vec<_> = gone.filter(|topic| settled || self.claimed.contains(*topic)).cloned().collect();
        for topic in gone {
            self.kept.components.remove(&topic);
            self.clear(&topic);
        }
    }
}
