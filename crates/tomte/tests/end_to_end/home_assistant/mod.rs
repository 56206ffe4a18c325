//! The real Home Assistant, the oldest that is supported and the newest, and
//! what people see of a host in it. `make test-ha` runs this; it takes a kit
//! that starts Home Assistant on loopback, and says so where there is none.

mod kit;
mod sub_devices;

use kit::Kit;
use serde_json::Value;

use crate::support::{Hub, run_agent};

#[test]
#[ignore = "needs Home Assistant; make test-ha runs it"]
fn the_oldest() {
    let Some(mut kit) = Kit::start("old") else { return };
    a_host_by_itself(&mut kit);
    a_host_by_its_hub(&mut kit);
}

#[test]
#[ignore = "needs Home Assistant; make test-ha runs it"]
fn the_oldest_with_devices_below_a_host() {
    let Some(mut kit) = Kit::start("old") else { return };
    sub_devices::switched_on_and_off(&mut kit, &["entity"]);
}

#[test]
#[ignore = "needs Home Assistant; make test-ha runs it"]
fn the_newest() {
    let Some(mut kit) = Kit::start("new") else { return };
    a_host_by_itself(&mut kit);
    by_device_and_back(&mut kit);
    a_host_by_its_hub(&mut kit);
}

#[test]
#[ignore = "needs Home Assistant; make test-ha runs it"]
fn the_newest_with_devices_below_a_host() {
    let Some(mut kit) = Kit::start("new") else { return };
    sub_devices::switched_on_and_off(&mut kit, &["entity", "device", "entity"]);
}

const PROBE: &str = "[[probe]]\nname = \"rack\"\ncommand = [\"/bin/echo\", \"21.5\"]\nvalue = \"number\"\n\
                     unit = \"celsius\"\ninterval = 1\n";
const ANOTHER: &str =
    "[[probe]]\nname = \"shelf\"\ncommand = [\"/bin/echo\", \"on\"]\nvalue = \"binary\"\ninterval = 1\n";
/// A button, and a switch that reads its state from the probe above.
const COMMANDS: &str = "[[commands.available]]\ntrigger = \"blink\"\nabout = \"Blink\"\ncommand = [\"/bin/true\"]\n\
                        [[commands.available]]\ntrigger = \"light\"\ncommand = [\"/bin/echo\", \"{state}\"]\n\
                        params = [{ name = \"state\", one_of = [\"on\", \"off\"] }]\n\
                        [[commands.switch]]\nname = \"shelf\"\ntitle = \"Shelf light\"\n\
                        on = [\"light\", \"on\"]\noff = [\"light\", \"off\"]\nprobe = \"shelf\"\n";

/// Appears whole and silently, goes, comes back, loses a part, is renamed.
fn a_host_by_itself(kit: &mut Kit) {
    let another = format!("{ANOTHER}{}", kit.commands(COMMANDS));
    let config = kit.agent("nas", "", &format!("{PROBE}{another}"));
    let mut agent = run_agent(&config);
    // What asks other programs, packages for one, comes later than the rest.
    kit.until("nas", "entities of every kind", |entities| {
        let kinds = ["sensor.", "binary_sensor.", "event.", "update.", "button.", "switch."];
        kinds.iter().all(|kind| entities.iter().any(|entity| entity.id.starts_with(kind)))
    });
    kit.is_sound("nas");
    let first = kit.entities("nas");
    assert!(first.iter().any(|entity| entity.id == "sensor.nas_probe_rack_value_celsius"), "{first:?}");
    kit.step("a button files a request, and files another when it is pressed again; so does a switch");
    let of = |kind: &str| first.iter().find(|entity| entity.id.starts_with(kind)).unwrap();
    assert_eq!(of("switch.").state, "on", "as its probe says");
    let button = of("button.").id.clone();
    kit.call("button/press", &button);
    kit.call("button/press", &button);
    kit.call("switch/turn_off", &of("switch.").id);
    let filed = kit::filed(&config, 3);
    let asked = |action: &Value| format!("{} {} by {}", action["target"], action["arguments"], action["via"]);
    let mut asked: Vec<_> = filed.iter().map(asked).collect();
    asked.sort();
    assert_eq!(asked, [r#""blink" [] by "mqtt""#, r#""blink" [] by "mqtt""#, r#""light" ["off"] by "mqtt""#]);
    assert!(filed.iter().all(|action| action["state"] == "pending"), "nothing runs unasked: {filed:?}");
    kit.until("nas", "the host's events tell of it", |entities| {
        entities.iter().any(|entity| entity.id.starts_with("event.") && entity.state != "unknown")
    });
    kit.is_sound("nas");

    kit.step("SIGKILL: everything is unavailable, but for what tells that it is");
    agent.kill();
    kit.until("nas", "everything is unavailable", |entities| {
        entities.iter().all(|entity| match entity.id.as_str() {
            "binary_sensor.nas_connected" => entity.state == "off",
            _ => entity.is_away(),
        })
    });

    kit.step("the agent starts again");
    let mut agent = run_agent(&config);
    kit.is_sound("nas");
    kit::are_the_same(&kit.entities("nas"), &first);

    kit.step("Home Assistant starts again");
    kit.restart();
    kit.is_sound("nas");
    kit::are_the_same(&kit.entities("nas"), &first);

    kit.step("a probe is no more");
    kit.agent("nas", "", &another);
    agent.signal(rustix::process::Signal::HUP);
    kit.until("nas", "the probe is gone", |entities| {
        entities.iter().filter(|entity| entity.is_shown()).all(|entity| !entity.id.contains("rack"))
    });
    assert!(!kit.retained("homeassistant/#").contains("probe-rack"), "nothing of it is left at the broker");

    kit.step("a clean stop");
    assert!(agent.stop().success());
    kit.until("nas", "everything is unavailable", |entities| {
        entities.iter().filter(|entity| entity.id != "binary_sensor.nas_connected").all(kit::Entity::is_away)
    });

    kit.step("another name");
    let before = kit.entities("nas");
    let config = kit.agent_renamed("nas", "attic", &another);
    let mut agent = run_agent(&config);
    kit.is_sound("attic");
    kit::are_the_same(&kit.entities("attic"), &before);
    kit.is_empty("tomte/nas/#");
    kit.is_sound("attic");
    assert!(agent.stop().success());
    kit.forget(&config);
}

/// One message for a device, and back, with the same entities.
fn by_device_and_back(kit: &mut Kit) {
    let config = kit.agent("shelf", "", "");
    let mut agent = run_agent(&config);
    kit.is_sound("shelf");
    let before = kit.entities("shelf");
    for style in ["device", "entity"] {
        kit.step(&format!("discovery = {style}"));
        assert!(agent.stop().success());
        let config = kit.agent("shelf", &format!("discovery = \"{style}\"\n"), "");
        agent = run_agent(&config);
        // Until the change is made, the entities are what they were.
        kit.until("shelf", "it is announced so, and not otherwise", |_| {
            let kept = kit.retained("homeassistant/#");
            let whole = kept.lines().filter(|line| line.starts_with("homeassistant/device/")).count();
            let alone = kept.lines().count() - whole;
            if style == "device" { (whole, alone) == (1, 0) } else { whole == 0 && alone > 0 }
        });
        // One complaint for each entity belongs to the documented way, in other
        // words for those that are not enabled.
        kit.is_sound_but("shelf", "onflicting MQTT discovery message|empty MQTT discovery payload for disabled");
        kit::are_the_same(&kit.entities("shelf"), &before);
    }
    assert!(agent.stop().success());
    kit.forget(&config);
}

/// By the hub, then by the agent itself, then by the hub again.
fn a_host_by_its_hub(kit: &mut Kit) {
    kit.step("the hub speaks for a host without a broker");
    let mut hub = Hub::configured(&format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\ninterval = \"1s\"\n", kit.port()));
    let config = hub.enrol("cellar", &hub.url, "[intervals]\nfast = \"1s\"\nmedium = \"2s\"\n");
    let mut agent = run_agent(&config);
    kit.is_sound("cellar");
    let first = kit.entities("cellar");

    kit.step("the hub is killed");
    hub.process.kill();
    kit.until("cellar", "everything is unavailable", |entities| entities.iter().all(kit::Entity::is_away));
    assert!(agent.stop().success());
    hub.restart();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, kit::with_hub(&text, &hub.url)).unwrap();
    let mut agent = run_agent(&config);
    kit.is_sound("cellar");

    kit.step("the agent gets a broker");
    assert!(agent.stop().success());
    let alone = std::fs::read_to_string(&config).unwrap();
    let mqtt = format!("\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\ninterval = \"1s\"\n", kit.port());
    std::fs::write(&config, format!("{alone}{mqtt}")).unwrap();
    let mut agent = run_agent(&config);
    kit.until("cellar", "the hub is not in it", |_| {
        let entity = kit.retained("homeassistant/sensor/+/status/config");
        entity.contains("tomte/cellar/availability") && !entity.contains("@hub")
    });
    kit.is_sound("cellar");
    kit::are_the_same(&kit.entities("cellar"), &first);

    kit.step("the agent has none any more");
    std::fs::write(&config, alone).unwrap();
    agent.signal(rustix::process::Signal::HUP);
    kit.is_sound("cellar");
    kit::are_the_same(&kit.entities("cellar"), &first);
    assert!(agent.stop().success());
    let answer = hub.try_tomte(&["host", "remove", "cellar", "--yes"]);
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    kit.until("cellar", "a removed host is gone", |entities| !entities.iter().any(kit::Entity::is_shown));
    assert!(!kit.retained("homeassistant/#").contains("cellar"), "nothing of it is left at the broker");
    assert!(hub.process.stop().success());
}
