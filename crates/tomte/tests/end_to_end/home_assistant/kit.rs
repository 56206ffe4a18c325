//! A Home Assistant of the test's own with its broker, and questions to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{LIMIT, agent};

/// Between two looks at Home Assistant.
const PAUSE: Duration = Duration::from_millis(500);
/// A host has more entities than this in any case.
const FEWEST: usize = 25;

/// An entity as its users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entity {
    pub(crate) id: String,
    pub(crate) unique_id: String,
    pub(crate) state: String,
    disabled: bool,
}

impl Entity {
    /// Whether people see it. What was never enabled is not loaded, so Home
    /// Assistant does not hear that it is gone, and keeps its name for ever.
    pub(crate) fn is_shown(&self) -> bool {
        !self.disabled
    }

    /// Whether it says that nobody tells of it.
    pub(crate) fn is_away(&self) -> bool {
        self.disabled || self.state == "unavailable"
    }
}

/// A device as its users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) model: String,
    /// The name of the device that it is connected through; empty: none.
    pub(crate) via: String,
    pub(crate) entities: Vec<Entity>,
}

/// That entities are still the same to people and to Home Assistant. A machine
/// may have lost or won a mount meanwhile; that is no matter.
pub(crate) fn are_the_same(now: &[Entity], before: &[Entity]) {
    let before: BTreeMap<_, _> = before.iter().map(|entity| (&entity.unique_id, &entity.id)).collect();
    let kept = now.iter().filter(|entity| before.contains_key(&entity.unique_id)).count();
    assert!(kept * 10 >= before.len() * 9, "{kept} of {} are left: {before:#?}, {now:#?}", before.len());
    for entity in now {
        assert!(before.get(&entity.unique_id).is_none_or(|id| **id == entity.id), "{entity:?} had another id");
    }
}

/// A configuration whose hub is somewhere else now.
pub(crate) fn with_hub(text: &str, url: &str) -> String {
    let line = |line: &str| {
        if line.starts_with("hub = ") { format!("hub = \"{url}\"\n") } else { format!("{line}\n") }
    };
    text.lines().map(line).collect()
}

/// What waits at an agent for a decision, once there is so much of it.
pub(crate) fn filed(config: &Path, count: usize) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let mut list = agent();
        let output = list.args(["action", "list", "--json", "--config"]).arg(config).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let actions: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        if actions.len() >= count {
            return actions;
        }
        assert!(begin.elapsed() < LIMIT, "only these were filed: {actions:#?}");
        std::thread::sleep(PAUSE);
    }
}

pub(crate) struct Kit {
    flavour: &'static str,
    kit: PathBuf,
    root: PathBuf,
    folder: TempDir,
    port: String,
    url: String,
    token: String,
    /// How much of Home Assistant's log has been read.
    since: u64,
}

impl Drop for Kit {
    fn drop(&mut self) {
        let _ = self.script("ha-down.sh", &[]).output();
    }
}

impl Kit {
    /// `None`, aloud, where there is no kit.
    pub(crate) fn start(flavour: &'static str) -> Option<Self> {
        let Some(kit) = std::env::var_os("HA_KIT").map(PathBuf::from).filter(|kit| kit.join("ha-up.sh").is_file())
        else {
            println!("SKIPPED: $HA_KIT names no kit that starts Home Assistant");
            return None;
        };
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        let root = std::env::var_os("HA_ROOT").map_or_else(|| cache.join("tomte/ha-kit"), PathBuf::from);
        std::fs::create_dir_all(&root).unwrap();
        let folder = TempDir::new().unwrap();
        let mut kit = Self {
            flavour,
            kit,
            root,
            folder,
            port: String::new(),
            url: String::new(),
            token: String::new(),
            since: 0,
        };
        kit.up(&["--quiet-log"]);
        Some(kit)
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.kit.join(name));
        command.arg(self.flavour).args(arguments).env("HA_ROOT", &self.root);
        command
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("python3");
        command.arg(self.kit.join(name)).arg(self.flavour).args(arguments).env("HA_ROOT", &self.root);
        command.output().expect("python3 runs")
    }

    fn up(&mut self, arguments: &[&str]) {
        // It leaves Home Assistant running, which would keep a pipe open.
        let log = self.root.join(format!("up-{}.log", self.flavour));
        let file = std::fs::File::create(&log).unwrap();
        let mut command = self.script("ha-up.sh", arguments);
        let status = command.stdout(file.try_clone().unwrap()).stderr(file).status().expect("it runs");
        assert!(status.success(), "{}", std::fs::read_to_string(&log).unwrap());
        let env = std::fs::read_to_string(self.root.join("run").join(self.flavour).join("env")).unwrap();
        let value = |key: &str| {
            env.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default().to_owned()
        };
        (self.port, self.url, self.token) = (value("MQTT_PORT"), value("HA_URL"), value("HA_TOKEN"));
        println!("Home Assistant {} runs", value("HA_VERSION"));
    }

    /// Home Assistant alone stops and starts; the broker goes on.
    pub(crate) fn restart(&mut self) {
        assert!(self.script("ha-down.sh", &["--ha-only"]).output().unwrap().status.success());
        self.up(&["--keep", "--quiet-log"]);
        self.since = 0;
    }

    pub(crate) fn step(&self, what: &str) {
        println!("{}: {what}", self.flavour);
    }

    pub(crate) fn port(&self) -> &str {
        &self.port
    }

    /// A configuration of an agent of that name.
    pub(crate) fn agent(&self, name: &str, home_assistant: &str, more: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.toml"));
        self.write(&path, name, home_assistant, more);
        path
    }

    /// The same agent under another name.
    pub(crate) fn agent_renamed(&self, file: &str, name: &str, more: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{file}.toml"));
        self.write(&path, name, "", more);
        path
    }

    fn write(&self, path: &Path, name: &str, home_assistant: &str, more: &str) {
        let text = format!(
            "name = \"{name}\"\n[intervals]\nfast = \"1s\"\nmedium = \"2s\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n\
             start_delay = \"1s\"\ninterval = \"1s\"\n[mqtt.home_assistant]\n{home_assistant}{more}",
            self.port
        );
        std::fs::write(path, text).unwrap();
    }

    /// An agent that is gone for good takes its state with it; its topics are
    /// emptied for it, so that the next one is alone.
    pub(crate) fn forget(&self, config: &Path) {
        let state = PathBuf::from(format!("{}.d", config.display())).join("mqtt-topics.json");
        let kept: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
        for topic in kept["topics"].as_array().unwrap() {
            self.empty(topic.as_str().unwrap());
        }
    }

    fn empty(&self, topic: &str) {
        let arguments = ["-h", "127.0.0.1", "-p", &self.port, "-r", "-n", "-q", "1", "-t", topic];
        assert!(Command::new("mosquitto_pub").args(arguments).status().unwrap().success());
    }

    /// A list of commands, as what a configuration says of it.
    pub(crate) fn commands(&self, list: &str) -> String {
        let path = self.folder.path().join("commands.toml");
        std::fs::write(&path, list).unwrap();
        format!("[commands]\nfile = \"{}\"\n", path.display())
    }

    /// Calls a service of Home Assistant, as a press on its page does.
    pub(crate) fn call(&self, service: &str, entity: &str) {
        let (url, token) = (format!("{}/api/services/{service}", self.url), &self.token);
        let output = Command::new("curl")
            .args(["--fail", "--silent", "--show-error", "--header", "Content-Type: application/json"])
            .args(["--header", &format!("Authorization: Bearer {token}")])
            .args(["--data", &format!(r#"{{"entity_id":"{entity}"}}"#), &url])
            .output()
            .expect("curl runs");
        assert!(output.status.success(), "{service} {entity}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What the broker keeps on topics.
    pub(crate) fn retained(&self, filter: &str) -> String {
        let arguments = ["-h", "127.0.0.1", "-p", &self.port, "--retained-only", "-W", "2", "-v", "-t", filter];
        let output = Command::new("mosquitto_sub").args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until the broker keeps nothing there.
    pub(crate) fn is_empty(&self, filter: &str) {
        let begin = Instant::now();
        while !self.retained(filter).is_empty() {
            assert!(begin.elapsed() < LIMIT, "something is left at {filter}: {}", self.retained(filter));
        }
    }

    /// The entities of a device.
    pub(crate) fn entities(&self, device: &str) -> Vec<Entity> {
        self.devices_with(&["--device", &format!("\"{device}\"")]).into_iter().flat_map(|it| it.entities).collect()
    }

    /// The devices whose names begin like that, in the order of their names.
    pub(crate) fn devices(&self, begin: &str) -> Vec<Device> {
        let mut devices = self.devices_with(&[]);
        devices.retain(|device| device.name.starts_with(begin));
        devices.sort_by(|one, two| one.name.cmp(&two.name));
        devices
    }

    fn devices_with(&self, arguments: &[&str]) -> Vec<Device> {
        let output = self.run("ha_states.py", arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let known: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entity = |entity: &Value| Entity {
            id: text(&entity["entity_id"]),
            unique_id: text(&entity["unique_id"]),
            state: text(&entity["state"]),
            disabled: !entity["disabled_by"].is_null(),
        };
        let devices = known["devices"].as_array().unwrap();
        let name_of = |id: &Value| devices.iter().find(|device| !id.is_null() && device["id"] == *id);
        let device = |device: &Value| Device {
            name: text(&device["name"]),
            model: text(&device["model"]),
            via: name_of(&device["via_device_id"]).map_or_else(String::new, |via| text(&via["name"])),
            entities: device["entities"].as_array().unwrap().iter().map(entity).collect(),
        };
        devices.iter().map(device).collect()
    }

    /// Waits until the devices whose names begin like that are so.
    pub(crate) fn until_devices(&self, begin: &str, what: &str, so: impl Fn(&[Device]) -> bool) -> Vec<Device> {
        let patience = Instant::now();
        loop {
            let devices = self.devices(begin);
            if so(&devices) {
                return devices;
            }
            assert!(patience.elapsed() < LIMIT, "never: {what}: {devices:#?}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until the entities of a device are so.
    pub(crate) fn until(&self, device: &str, what: &str, so: impl Fn(&[Entity]) -> bool) {
        let begin = Instant::now();
        loop {
            let entities = self.entities(device);
            if so(&entities) {
                return;
            }
            assert!(begin.elapsed() < LIMIT, "never: {what}: {entities:#?}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until every entity of a device has a value; Home Assistant must
    /// not have complained meanwhile.
    pub(crate) fn is_sound(&mut self, device: &str) {
        self.is_sound_but(device, "^$");
    }

    /// The same, but for complaints that fit.
    pub(crate) fn is_sound_but(&mut self, device: &str, allowed: &str) {
        self.is_sound_of(device, FEWEST, allowed);
    }

    /// The same of a device with at least so many entities.
    pub(crate) fn is_sound_of(&mut self, device: &str, fewest: usize, allowed: &str) {
        let begin = Instant::now();
        let (fewest, since) = (fewest.to_string(), self.since.to_string());
        let device = format!("\"{device}\"");
        let arguments = [
            "--device",
            &device,
            "--min-entities",
            &fewest,
            "--since",
            &since,
            "--allow",
            allowed,
            "--allow",
            "http.ban",
            "--wait",
            "60",
        ];
        loop {
            let output = self.run("ha_judge.py", &arguments);
            let said: Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
            let problems: Vec<_> = said["problems"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            if output.status.success() {
                self.since = said["log_bytes"].as_u64().unwrap();
                println!(
                    "{}: {} entities of {}, all with a value, no complaint",
                    self.flavour, said["entities"], device
                );
                return;
            }
            let complaints = problems.iter().any(|problem| problem.starts_with("log "));
            assert!(!complaints && begin.elapsed() < LIMIT, "{problems:#?}");
            std::thread::sleep(PAUSE);
        }
    }
}
