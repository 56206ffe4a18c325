//! Guests, pools and disks as devices of their own below their host's: switched
//! on and off, in both ways of announcing, and with both at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tomte_model::{Facet, Scope};

use super::kit::{Device, Entity, Kit};
use crate::support::{Hub, SimulatedAgent, block_on, spawn};

/// Complaints that belong to the documented way from one style to the other.
const OF_MIGRATION: &str = "onflicting MQTT discovery message|empty MQTT discovery payload for disabled";
/// What Home Assistant says of entities that are not enabled when they are taken
/// back: it has not noticed that they came from elsewhere last.
const AFTER_MIGRATION: &str = "was removed from Home Assistant, it will be added again";
/// A disk's name is its WWN, as on most hosts.
const DISK: &str = "0x5000c50011223344";
/// The names of the devices below the host's, with what they are.
const BELOW: [(&str, &str); 3] =
    [("barn disk 0x5000c50011223344", "Seagate ST16000"), ("barn guest dns", "lxc"), ("barn pool tank", "mirror")];

fn settings(port: &str, style: &str, sub_devices: bool) -> String {
    format!(
        "[mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\ninterval = \"1s\"\n[mqtt.home_assistant]\ndiscovery = \"{style}\"\n\
         sub_devices = {sub_devices}\n"
    )
}

/// What a host with a guest, a pool and a disk would report.
fn report(agent: &SimulatedAgent) {
    let mut load = Facet::owner("load", "load", "main");
    load.read("load1", 0.5);
    let mut disk = Facet::owner("disk", DISK, "io");
    disk.text("model", "Seagate ST16000");
    disk.read("read_bytes_per_second", 1e6);
    disk.read("write_bytes_per_second", 2e6);
    disk.read("utilisation_ratio", 0.25);
    let mut pool = Facet::owner("pool", "tank", "main");
    pool.text("type", "mirror");
    pool.text("state", "ONLINE");
    pool.read("impairment", 0.0);
    pool.read("used_ratio", 0.5);
    pool.read("size_bytes", 16e12);
    let mut guest = Facet::owner("guest", "101", "runtime");
    guest.text("name", "dns");
    guest.text("type", "lxc");
    guest.read("running", 1.0);
    guest.read("cpu_ratio", 0.125);
    guest.read("memory_bytes", 256e6);
    guest.read("memory_used_ratio", 0.5);
    for (collector, facet) in [("load", load), ("disk", disk), ("zfs", pool), ("guest", guest)] {
        agent.submit(collector, vec![Scope::complete(collector, vec![facet])]);
    }
}

pub(super) fn switched_on_and_off(kit: &mut Kit, styles: &[&str]) {
    let mut hub = Hub::configured(&settings(kit.port(), "entity", false));
    let config = hub.spare_folder().join("hub.toml");
    let agent = Arc::new(block_on(SimulatedAgent::new(&hub, "barn")));
    let reporting = spawn({
        let agent = agent.clone();
        async move {
            loop {
                report(&agent);
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    });
    kit.is_sound_of("barn", 15, "^$");
    let flat = kit.devices("barn");
    assert_eq!(flat.len(), 1, "{flat:#?}");
    assert!(flat[0].entities.iter().any(|entity| entity.id == "sensor.barn_guest_101_cpu_ratio"), "{flat:#?}");

    let (mut before, mut allowed) = ("entity", "^$");
    for style in styles {
        // The way of announcing changes together with the devices.
        for (sub_devices, style) in [(true, *style), (false, *style)] {
            kit.step(&format!("discovery = {style}, sub_devices = {sub_devices}"));
            if style != before {
                allowed = OF_MIGRATION;
            } else if allowed == OF_MIGRATION {
                allowed = AFTER_MIGRATION;
            }
            before = style;
            restart(&mut hub, &config, &settings(kit.port(), style, sub_devices));
            let wanted = if sub_devices { 1 + BELOW.len() } else { 1 };
            let all = flat[0].entities.len();
            kit.until_devices("barn", "all of them, with all entities", |devices| {
                devices.len() == wanted && devices.iter().map(|device| device.entities.len()).sum::<usize>() == all
            });
            kit.is_sound_of("barn", 5, allowed);
            let devices = kit.devices("barn");
            for (device, (name, model)) in devices[1..].iter().zip(BELOW) {
                assert_eq!((device.name.as_str(), device.model.as_str(), device.via.as_str()), (name, model, "barn"));
                kit.is_sound_of(name, 3, allowed);
            }
            have_the_same_entities(&devices, &flat);
        }
    }
    reporting.abort();
    let answer = hub.try_tomte(&["host", "remove", "barn", "--yes"]);
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    kit.until_devices("barn", "none is left", |devices| {
        !devices.iter().flat_map(|device| &device.entities).any(Entity::is_shown)
    });
    assert!(!kit.retained("homeassistant/#").contains("barn"), "nothing of it is left at the broker");
    assert!(hub.process.stop().success());
}

fn restart(hub: &mut Hub, config: &Path, settings: &str) {
    assert!(hub.process.stop().success());
    std::fs::write(config, settings).unwrap();
    hub.restart();
}

/// None more, none less, each with the ids that its history hangs on.
fn have_the_same_entities(now: &[Device], before: &[Device]) {
    let ids = |devices: &[Device]| -> BTreeMap<String, String> {
        let entities = devices.iter().flat_map(|device| &device.entities);
        entities.map(|entity| (entity.unique_id.clone(), entity.id.clone())).collect()
    };
    assert_eq!(ids(now), ids(before));
}
