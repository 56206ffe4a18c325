//! Discovery by device: one message for a whole device, and the ways from the
//! other style and back.

use std::collections::BTreeMap;

use tomte_model::{Catalogue, Latest};

use super::Publisher;
use crate::discovery::{Components, Device, MIGRATE, Style};
use crate::entity::Entity;
use crate::protocol::Publish;

/// A device's message while it is put together.
struct Message {
    device: Device,
    components: Components,
    /// Its components by their keys, with their platforms.
    named: BTreeMap<String, String>,
    /// Topics at which some of them were announced by themselves.
    alone: Vec<String>,
}

impl Publisher {
    /// Adds entities to the message of their device, by its topic.
    fn put_together(&self, messages: &mut BTreeMap<String, Message>, device: &Device, entities: Vec<Entity>) {
        if entities.is_empty() {
            return;
        }
        let message = messages.entry(self.frame.device_topic(&device.id)).or_insert_with(|| Message {
            device: device.clone(),
            components: Components::default(),
            named: BTreeMap::new(),
            alone: Vec::new(),
        });
        for entity in entities {
            let alone = self.frame.entity_topic(&device.id, entity.component, &entity.key);
            message.alone.extend(Some(alone).filter(|topic| self.kept.topics.contains(topic)));
            self.frame.add(&mut message.components, &entity);
            message.named.insert(entity.key, entity.component.to_owned());
        }
    }

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
        let mut messages: BTreeMap<String, Message> = BTreeMap::new();
        self.put_together(&mut messages, &self.device, self.host_entities());
        for (resource, state) in latest.resources() {
            let Some(thing) = self.things.get(resource).filter(|thing| thing.announced) else { continue };
            let Some(kind) = catalogue.kind(&resource.kind) else { continue };
            let device = thing.device.as_ref().unwrap_or(&self.device);
            self.put_together(&mut messages, device, self.entities(kind, resource, state));
        }
        let qos = self.options.pace.discovery;
        let mut present = Vec::new();
        for (topic, message) in messages {
            let Message { device, mut components, mut named, alone } = message;
            out.extend(alone.iter().map(|topic| Publish::retained(topic.clone(), MIGRATE, qos)));
            let before = self.kept.components.remove(&topic).unwrap_or_default();
            self.named.extend(named.keys().map(|key| (topic.clone(), key.clone())));
            let others = before.iter().filter(|(key, _)| !named.contains_key(*key));
            let (gone, unseen): (Vec<_>, Vec<_>) =
                others.partition(|(key, _)| settled || self.named.contains(&(topic.clone(), (*key).clone())));
            gone.into_iter().for_each(|(key, component)| components.add_gone(key, component));
            let payload = self.frame.device(&device, &components);
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
