#![allow(clippy::unwrap_used, missing_docs)]
//! The real agent and the real mosquitto, with mosquitto's own clients.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

fn program(name: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&paths).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no {name}; run scripts/test-setup.sh"))
}

/// A process that ends with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ended {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap(), signal).unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn broker(folder: &Path) -> (Ended, u16) {
    let port = free_port();
    broker_with(folder, port, &format!("listener {port} 127.0.0.1\nallow_anonymous true\n"))
}

fn broker_with(folder: &Path, port: u16, listeners: &str) -> (Ended, u16) {
    let config = folder.join("mosquitto.conf");
    fs::write(&config, format!("{listeners}user root\npersistence false\n")).unwrap();
    let child = Command::new(program("mosquitto")).arg("-c").arg(&config).stderr(Stdio::null()).spawn().unwrap();
    let broker = Ended(child);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::yield_now();
    }
    (broker, port)
}

fn agent(folder: &Path, port: u16, more: &str, arguments: &[&str]) -> Ended {
    let text = format!("name = \"nas\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\n{more}");
    agent_with(folder, &text, arguments, &[])
}

fn agent_with(folder: &Path, text: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let config = folder.join("agent.toml");
    fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tomte-agent"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TOMTE_")) {
        command.env_remove(name);
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM").arg("run").arg("--config").arg(config);
    command.envs(environment.iter().copied());
    Ended(command.args(arguments).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap())
}

/// What the broker says on a topic, message by message, from now on.
struct Listener {
    _child: Ended,
    lines: BufReader<std::process::ChildStdout>,
}

fn listen(port: u16, topic: &str) -> Listener {
    let mut child = Command::new(program("mosquitto_sub"))
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-W", "120", "-F", "%t %p", "-t", topic])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    Listener { _child: Ended(child), lines }
}

impl Listener {
    /// The payload of the next message whose topic and payload fit.
    fn until(&mut self, fits: impl Fn(&str, &str) -> bool) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "it is never said");
            let (topic, payload) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
            if fits(topic, payload) {
                return payload.to_owned();
            }
        }
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_host_publishes_by_itself_and_says_goodbye() {
    let folder = folder();
    let (_broker, port) = broker(folder.path());
    let mut agent = agent(folder.path(), port, "start_delay = \"0s\"\n", &[]);
    let mut everything = listen(port, "#");
    let config =
        everything.until(|topic, _| topic.starts_with("homeassistant/sensor/tomte_") && topic.contains("load1/"));
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["state_topic"], "tomte/nas/load/load/load1");
    assert_eq!(config["device"]["name"], "nas");
    assert_eq!(config["default_entity_id"], "sensor.nas_load_load1");
    let load = everything.until(|topic, _| topic == "tomte/nas/load/load/load1");
    assert!(load.parse::<f64>().is_ok(), "{load}");

    // Home Assistant starts: everything is said again.
    let birth = ["-h", "127.0.0.1", "-p", &port.to_string(), "-t", "homeassistant/status", "-m", "online"];
    assert!(Command::new(program("mosquitto_pub")).args(birth).status().unwrap().success());
    everything.until(|topic, _| topic == "homeassistant/status");
    everything.until(|topic, _| topic.contains("load1/config"));

    agent.signal(Signal::TERM);
    let stopped = everything.until(|topic, _| topic == "tomte/nas/events");
    assert!(stopped.contains("agent_stopped"), "{stopped}");
    everything.until(|topic, payload| topic == "tomte/nas/availability" && payload == "offline");
    assert!(agent.0.wait().unwrap().success());
    let kept = fs::read_to_string(folder.path().join("agent.toml.d/mqtt-topics.json")).unwrap();
    assert!(kept.contains("tomte/nas/load/load/load1"), "{kept}");
}

#[test]
fn a_host_that_is_killed_is_offline_and_a_new_name_leaves_nothing_behind() {
    let folder = folder();
    let (_broker, port) = broker(folder.path());
    let mut first = agent(folder.path(), port, "start_delay = \"0s\"\n", &[]);
    let mut everything = listen(port, "tomte/#");
    everything.until(|topic, _| topic == "tomte/nas/load/load/load1");
    let state = folder.path().join("agent.toml.d/mqtt-topics.json");
    first.signal(Signal::TERM);
    everything.until(|topic, payload| topic == "tomte/nas/availability" && payload == "offline");
    assert!(first.0.wait().unwrap().success());
    assert!(state.exists());

    let second = agent(folder.path(), port, "start_delay = \"0s\"\n", &["--set", "name=attic"]);
    everything.until(|topic, payload| topic == "tomte/nas/load/load/load1" && payload.is_empty());
    everything.until(|topic, _| topic == "tomte/attic/load/load/load1");
    second.signal(Signal::KILL);
    everything.until(|topic, payload| topic == "tomte/attic/availability" && payload == "offline");
}

/// Says something as another client, line by line.
fn say(port: u16, topic: &str, options: &[&str], lines: &str) {
    let mut command = Command::new(program("mosquitto_pub"));
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", topic, "-l"]).args(options);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn rubbish_on_its_topics_and_a_flood_do_not_confuse_it() {
    let folder = folder();
    let (_broker, port) = broker(folder.path());
    for topic in ["tomte/nas/availability", "tomte/nas/load/load/load1", "tomte/nas/status", "homeassistant/status"] {
        say(port, topic, &["-r"], "rubbish\n");
    }
    let _agent = agent(folder.path(), port, "start_delay = \"0s\"\ninterval = \"1s\"\n", &[]);
    let mut everything = listen(port, "#");
    everything.until(|topic, payload| topic == "tomte/nas/availability" && payload == "online");
    everything.until(|topic, payload| topic == "tomte/nas/load/load/load1" && payload.parse::<f64>().is_ok());
    everything.until(|topic, payload| topic == "tomte/nas/status" && serde_json::from_str::<Value>(payload).is_ok());

    say(port, "homeassistant/status", &[], &"x\n".repeat(10_000));
    say(port, "homeassistant/status", &[], &format!("{}\n", "y".repeat(1_000_000)));
    say(port, "homeassistant/status", &[], "online\n");
    everything.until(|topic, payload| topic == "homeassistant/status" && payload == "online");
    everything.until(|topic, _| topic.contains("load1/config"));

    // An old connection's will, or somebody who is wrong.
    say(port, "tomte/nas/availability", &["-r"], "offline\n");
    everything.until(|topic, payload| topic == "tomte/nas/availability" && payload == "offline");
    everything.until(|topic, payload| topic == "tomte/nas/availability" && payload == "online");
}

#[test]
fn systants_listeners_are_told_with_systants_variables() {
    let folder = folder();
    let (_broker, port) = broker(folder.path());
    let mut stats = listen(port, "systant/+/stats");
    let environment = [("MQTT_HOST", "127.0.0.1"), ("MQTT_PORT", &port.to_string()), ("SYSTANT_INTERVAL", "1000")];
    let text = "name = \"nas\"\n[mqtt]\nstart_delay = \"0s\"\n[mqtt.systant]\nenabled = true\n";
    let _agent = agent_with(folder.path(), text, &[], &environment);
    for _ in 0..2 {
        let payload = stats.until(|topic, payload| topic == "systant/nas/stats" && payload.contains("load1"));
        let message: Value = serde_json::from_str(&payload).unwrap();
        let mut keys: Vec<_> = message.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        let wanted =
            ["cpu", "disk", "gpu", "hostname", "memory", "network", "processes", "system", "temperature", "timestamp"];
        assert_eq!(keys, wanted);
        assert_eq!(message["hostname"], "nas");
        assert!(message["memory"]["total_bytes"].as_f64().is_some_and(|bytes| bytes > 0.0));
    }
}

#[test]
fn a_required_broker_that_is_not_there_ends_it_cleanly() {
    let folder = folder();
    let mut agent = agent(folder.path(), free_port(), "require_within = \"1s\"\n", &["--require-broker"]);
    assert_eq!(agent.0.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    agent.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("the broker was not reached within 1s: cannot reach the broker at 127.0.0.1"), "{said}");
    assert!(said.contains("stopped"), "a clean stop: {said}");
}

#[test]
fn its_password_comes_from_a_file_or_from_the_environment() {
    let folder = folder();
    let secret = folder.path().join("secret");
    fs::write(&secret, "open sesame\n").unwrap();
    let users = folder.path().join("users");
    let mut make = Command::new(program("mosquitto_passwd"));
    assert!(make.args(["-b", "-c"]).arg(&users).args(["nas", "open sesame"]).status().unwrap().success());
    // One way in for the agent, another one for who listens.
    let (known, open) = (free_port(), free_port());
    let (_broker, _) = broker_with(
        folder.path(),
        open,
        &format!(
            "per_listener_settings true\nlistener {open} 127.0.0.1\nallow_anonymous true\n\
             listener {known} 127.0.0.1\nallow_anonymous false\npassword_file {}\n",
            users.display()
        ),
    );
    let mqtt = format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{known}\"\nstart_delay = \"0s\"\nusername = \"nas\"\n");
    let file = format!("name = \"nas\"\n{mqtt}password_file = \"{}\"\n", secret.display());
    let mut said = listen(open, "tomte/+/availability");
    let first = agent_with(folder.path(), &file, &[], &[]);
    said.until(|topic, payload| topic == "tomte/nas/availability" && payload == "online");
    drop(first);
    said.until(|topic, payload| topic == "tomte/nas/availability" && payload == "offline");
    let environment = [("TOMTE_AGENT_MQTT_PASSWORD", "open sesame")];
    let _second = agent_with(folder.path(), &format!("name = \"nas\"\n{mqtt}"), &[], &environment);
    said.until(|topic, payload| topic == "tomte/nas/availability" && payload == "online");
}
