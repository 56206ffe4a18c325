//! Buttons and switches: the commands that a host allows, as entities of Home
//! Assistant. What they send is a request like any other; the host decides.

use serde_json::{Value, json};
use tomte_model::ResourceKey;

use crate::command::payload;
use crate::entity::Entity;
use crate::names::{id, slug};
use crate::topics::Topics;

/// A command with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Press {
    /// The trigger.
    pub command: String,
    /// The parameters.
    pub params: Vec<String>,
}

/// Something to press or to switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Its name, stable for ever.
    pub name: String,
    /// What people read.
    pub title: String,
    /// What it does.
    pub what: What,
}

/// What a control does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// One thing.
    Button(Press),
    /// One of two things; a probe tells which of them is so.
    Switch {
        /// What turns it on.
        on: Press,
        /// What turns it off.
        off: Press,
        /// The probe that tells.
        probe: String,
    },
}

/// The entity of a control.
#[must_use]
pub fn entity(control: &Control, topics: &Topics) -> Entity {
    let text = |press: &Press| payload(&press.command, &press.params);
    let title: String = control.title.chars().filter(|c| !c.is_control()).take(150).collect();
    let common = |mut config: Value| {
        config["name"] = json!(title);
        config["command_topic"] = json!(topics.commands());
        // Never kept by the broker, and never delivered twice.
        (config["qos"], config["retain"]) = (json!(0), json!(false));
        config
    };
    let (component, config) = match &control.what {
        What::Button(press) => {
            ("button", common(json!({ "payload_press": text(press), "icon": "mdi:gesture-tap-button" })))
        }
        What::Switch { on, off, probe } => (
            "switch",
            common(json!({
                "payload_on": text(on), "payload_off": text(off), "optimistic": false,
                "state_topic": topics.value(&ResourceKey::new("probe", probe.clone()), "on"),
                "state_on": "1", "state_off": "0",
            })),
        ),
    };
    let config = match config {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    // Apart from what else a host has of that name.
    let key = format!("command-{}", id(&control.name));
    Entity { component, key, slug: slug(&control.name), config, always: false }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_button_sends_a_request_without_an_id_and_a_switch_knows_its_state() {
        let topics = Topics::new("tomte", "nas");
        let press = |what: &str| Press { command: "mode".into(), params: vec![what.into()] };
        let button = Control { name: "restart-nginx".into(), title: "Restart".into(), what: What::Button(press("x")) };
        let button = entity(&button, &topics);
        assert_eq!((button.component, button.key.as_str()), ("button", "command-restart_2dnginx"));
        assert_eq!(button.config["command_topic"], "tomte/nas/commands");
        assert_eq!((&button.config["qos"], &button.config["retain"]), (&json!(0), &json!(false)));
        let sent: Value = serde_json::from_str(button.config["payload_press"].as_str().unwrap()).unwrap();
        assert_eq!(sent, json!({ "command": "mode", "params": ["x"] }));
        let what = What::Switch { on: press("night"), off: press("day"), probe: "night mode".into() };
        let switch = entity(&Control { name: "night".into(), title: "Night".into(), what }, &topics);
        assert_eq!(switch.component, "switch");
        assert_eq!(switch.config["state_topic"], "tomte/nas/probe/night mode/on");
    }
}
