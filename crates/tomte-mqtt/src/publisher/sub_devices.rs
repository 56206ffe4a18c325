//! Devices below a host's, where they are asked for: its guests, pools and
//! disks.
//!
//! Entities have the same ids either way, so that switching keeps their names
//! and their history. Home Assistant takes no entity at two places: it is taken
//! back at one, and a moment later announced at the other.

use tomte_model::latest::ResourceState;
use tomte_model::{ResourceKey, Value};

use super::Publisher;
use crate::discovery::Device;
use crate::entity::Entity;
use crate::names::id;

/// Kinds that are devices of their own where that is asked for.
const KINDS: &[&str] = &["guest", "pool", "disk"];
/// So long Home Assistant has to let go of an entity, in milliseconds.
const AFTER_MOVING: u64 = 2_000;

impl Publisher {
    /// Whether a resource is a device of its own.
    pub(super) fn is_apart(&self, resource: &ResourceKey) -> bool {
        self.options.discovery.as_ref().is_some_and(|discovery| discovery.sub_devices)
            && KINDS.contains(&resource.kind.as_ref())
    }

    fn own_id(&self, resource: &ResourceKey) -> String {
        format!("{}-{}-{}", self.device.id, resource.kind, id(&resource.name))
    }

    /// The id of the device that a resource is shown at.
    pub(super) fn device_id(&self, resource: &ResourceKey) -> String {
        if self.is_apart(resource) { self.own_id(resource) } else { self.device.id.clone() }
    }

    /// The id of the device that it would be shown at, were it the other way.
    fn other_id(&self, resource: &ResourceKey) -> Option<String> {
        let may_move = KINDS.contains(&resource.kind.as_ref());
        may_move.then(|| if self.is_apart(resource) { self.device.id.clone() } else { self.own_id(resource) })
    }

    /// A resource's own device, where it is one. Guests are called what people
    /// call them, not by their numbers.
    pub(super) fn sub_device(&self, resource: &ResourceKey, state: &ResourceState) -> Option<Device> {
        if !self.is_apart(resource) {
            return None;
        }
        let text = |name: &str| match state.attributes().find(|(known, _)| *known == name)?.1 {
            Value::Text(text) if !text.is_empty() => Some(text.clone()),
            Value::Text(_) | Value::Bool(_) | Value::Number(_) => None,
        };
        let guest = if resource.kind == "guest" { text("name") } else { None };
        let name = guest.as_deref().unwrap_or(&resource.name);
        Some(Device {
            id: self.device_id(resource),
            name: format!("{} {} {name}", self.options.name, resource.kind),
            manufacturer: None,
            model: text(if resource.kind == "disk" { "model" } else { "type" }),
            software: None,
            via: Some(self.device.id.clone()),
        })
    }

    /// Whether the entities of a resource that is to be announced are, or were
    /// until just now, another device's; then they are taken back there.
    pub(super) fn is_moving(
        &mut self,
        resource: &ResourceKey,
        entities: &[Entity],
        moves_at: &mut Option<u64>,
        boot: u64,
    ) -> bool {
        let Some(other) = self.other_id(resource) else { return false };
        let taken_back = entities.iter().filter(|entity| self.take_back(&other, entity)).count();
        // What is taken back may have to wait for its turn.
        if taken_back > 0 || (moves_at.is_some() && !self.pending.is_empty()) {
            *moves_at = Some(boot.saturating_add(AFTER_MOVING));
        }
        match *moves_at {
            Some(at) if at > boot => {
                self.look_again(at);
                true
            }
            _ => {
                *moves_at = None;
                false
            }
        }
    }

    /// Takes back what tells of an entity at another device; whether there is,
    /// or just was, something to take back.
    fn take_back(&mut self, device: &str, entity: &Entity) -> bool {
        let alone = self.frame.entity_topic(device, entity.component, &entity.key);
        let mut found = self.let_go.remove(&(device.to_owned(), entity.key.clone()));
        found |= self.clear_moved(&alone);
        let together = self.frame.device_topic(device);
        if self.kept.components.get(&together).is_some_and(|components| components.contains_key(&entity.key)) {
            if device == self.device.id {
                // The host's own message goes on without it.
                self.named.insert((together, entity.key.clone()));
                self.stale_devices = true;
            } else {
                self.kept.components.remove(&together);
                self.clear_moved(&together);
            }
            found = true;
        }
        found
    }
}
