//! The real hub and the real mosquitto: hosts without a broker of their own,
//! and systant's hosts.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Hub, LIMIT, agent, run_agent};

fn program(name: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&paths).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no {name}; run scripts/test-setup.sh"))
}

/// A mosquitto that ends with its test.
struct Broker {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Broker {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = folder.path().join("mosquitto.conf");
        let text = format!("user root\npersistence false\nlistener {port} 127.0.0.1\nallow_anonymous true\n");
        std::fs::write(&config, text).unwrap();
        let child = Command::new(program("mosquitto")).arg("-c").arg(&config).stderr(Stdio::null()).spawn().unwrap();
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < LIMIT, "mosquitto does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port, _folder: folder }
    }

    fn settings(&self, more: &str) -> String {
        format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\ninterval = \"1s\"\n{more}", self.port)
    }

    fn listen(&self, topic: &str) -> Listener {
        let mut child = Command::new(program("mosquitto_sub"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-W", "170", "-F", "%t %p", "-t", topic])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Listener { child, lines }
    }

    fn say(&self, topic: &str, payload: &str) {
        self.publish(&["-t", topic, "-m", payload]);
    }

    fn keep(&self, topic: &str, payload: &str) {
        self.publish(&["-r", "-t", topic, "-m", payload]);
    }

    fn publish(&self, message: &[&str]) {
        let port = self.port.to_string();
        let arguments = ["-h", "127.0.0.1", "-p", &port].into_iter().chain(message.iter().copied());
        assert!(Command::new(program("mosquitto_pub")).args(arguments).status().unwrap().success());
    }
}

/// What is said on a topic from now on, and what was kept there.
struct Listener {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Listener {
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

#[test]
fn a_host_without_a_broker_is_published_by_its_hub_until_it_has_one() {
    // Built before anybody listens, since that ends after a while.
    let _ = agent();
    let broker = Broker::start();
    let hub = Hub::configured(&broker.settings(""));
    let mut everything = broker.listen("#");
    everything.until(|topic, payload| topic == "tomte/@hub/availability" && payload == "online");
    let config = hub.enrol("nas", &hub.url, "[intervals]\nfast = \"1s\"\n");
    let mut agent = run_agent(&config);
    let entity = everything.until(|topic, _| topic.starts_with("homeassistant/sensor/") && topic.contains("load1/"));
    let entity: Value = serde_json::from_str(&entity).unwrap();
    assert_eq!(entity["availability"][0]["topic"], "tomte/@hub/availability");
    everything.until(|topic, payload| topic == "tomte/nas/load/load/load1" && payload.parse::<f64>().is_ok());

    // A new name, given at the hub: ids stay, and old topics are emptied once
    // Home Assistant has had the time to turn to the new ones.
    hub.tomte(&["host", "rename", "nas", "attic"]);
    let renamed = everything.until(|topic, payload| {
        topic.starts_with("homeassistant/sensor/") && topic.contains("load1/") && payload.contains("tomte/attic/")
    });
    let renamed: Value = serde_json::from_str(&renamed).unwrap();
    assert_eq!(renamed["unique_id"], entity["unique_id"]);
    assert_eq!(renamed["state_topic"], "tomte/attic/load/load/load1");
    everything.until(|topic, payload| topic == "tomte/nas/load/load/load1" && payload.is_empty());

    // The agent gets a broker: the hub keeps still, and the agent goes on with
    // the name that it learnt.
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n{}start_delay = \"0s\"\n", broker.settings(""))).unwrap();
    agent.signal(rustix::process::Signal::HUP);
    let own = everything.until(|topic, payload| {
        topic.starts_with("homeassistant/sensor/") && topic.contains("load1/") && !payload.contains("@hub")
    });
    let own: Value = serde_json::from_str(&own).unwrap();
    assert_eq!(own["unique_id"], entity["unique_id"]);
    assert_eq!(own["state_topic"], "tomte/attic/load/load/load1");
    let mut now = broker.listen("tomte/attic/availability");
    now.until(|_, payload| payload == "online");

    // And loses it again.
    std::fs::write(&config, text).unwrap();
    agent.signal(rustix::process::Signal::HUP);
    everything.until(|topic, payload| {
        topic.starts_with("homeassistant/sensor/") && topic.contains("load1/") && payload.contains("@hub")
    });
    now.until(|_, payload| payload == "offline");
    now.until(|_, payload| payload == "online");
    assert!(agent.stop().success());
}

#[test]
fn systants_hosts_are_shown_and_rubbish_is_not() {
    let broker = Broker::start();
    let hub = Hub::configured(&broker.settings("publish = false\n[mqtt.systant]\nlisten = true\n"));
    let begin = Instant::now();
    loop {
        broker.say("systant/evil/stats", "[1, 2");
        broker.say("systant/Old Box/stats", r#"{"cpu":{"avg1":0.5},"disk":{"/":{"used":1}},"hostname":"Old Box"}"#);
        let hosts = hub.json(&["host", "list"]);
        let text = hosts.to_string();
        assert!(!text.contains("evil"), "{text}");
        if text.contains("old-box") {
            break;
        }
        assert!(begin.elapsed() < LIMIT, "{text}");
    }
    let shown = hub.tomte(&["host", "show", "old-box"]);
    assert!(shown.contains("systant_cpu") || shown.contains("online"), "{shown}");
    broker.keep("tomte/test", "end");
    let mut kept = broker.listen("tomte/#");
    assert_eq!(kept.until(|_, _| true), "end", "nothing of it is published");
}
