//! A command from a host's own broker to a decision at the hub and back: real
//! mosquitto, agent, helper, hub and command line.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::support::*;

fn program(name: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&paths).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no {name}; run scripts/test-setup.sh"))
}

/// The audit of the hub, by action.
fn audited(hub: &Hub, action: &str) -> Vec<Value> {
    let lines = in_time("the audit", async { hub.client().audit(100, None).await.unwrap() });
    lines
        .items
        .into_iter()
        .filter(|line| line.action == action)
        .map(|line| serde_json::to_value(line).unwrap())
        .collect()
}

/// The one Action that the hub knows, once it is in that state.
fn until(hub: &Hub, state: &str) -> Value {
    loop {
        let all = hub.json(&["action", "list", "--all"]);
        if let Some(found) = all.as_array().unwrap().iter().find(|action| action["state"] == state) {
            return found.clone();
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_request_over_mqtt_is_approved_at_the_hub_run_by_the_host_and_told_everywhere() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can own a list of commands");
        return;
    }
    let hub = Hub::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    fs::write(
        folder.path().join("mosquitto.conf"),
        format!("user root\npersistence false\nlistener {port} 127.0.0.1\nallow_anonymous true\n"),
    )
    .unwrap();
    let mut mosquitto = Command::new(program("mosquitto"));
    mosquitto.arg("-c").arg(folder.path().join("mosquitto.conf"));
    let _broker = Process::start(mosquitto);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::yield_now();
    }
    fs::write(
        folder.path().join("commands.toml"),
        "[[commands.available]]\ntrigger = \"who\"\ncommand = [\"/usr/bin/id\", \"-un\"]\n",
    )
    .unwrap();
    let mut helper = agent();
    helper.args(["helper", "--user", "root", "--socket"]).arg(folder.path().join("sock"));
    helper.arg("--commands").arg(folder.path().join("commands.toml"));
    let mut helper = Process::start(helper);
    helper.wait_for_text("are run when they are asked for");
    let settings = format!(
        "[commands]\nfile = \"{path}/commands.toml\"\nsocket = \"{path}/sock\"\n\
         [mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\nstart_delay = \"0s\"\n"
    );
    let config = hub.enrol("reef", &hub.url, &settings);
    let mut agent = run_agent(&config);
    agent.wait_for_text("connected to the broker");

    // Retried until it is there: the subscription may be a moment behind.
    let port = port.to_string();
    let ask = ["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", "tomte/reef/commands"];
    let request = r#"{"command":"who","request_id":"r1"}"#;
    let pending = loop {
        assert!(Command::new(program("mosquitto_pub")).args(ask).args(["-m", request]).status().unwrap().success());
        let all = hub.json(&["action", "list"]);
        if let Some(found) = all.as_array().unwrap().first() {
            break found.clone();
        }
    };
    assert_eq!((&pending["state"], &pending["host"]), (&"pending".into(), &"reef".into()));
    let id = pending["id"].as_str().unwrap();
    let refused = hub.try_tomte(&["action", "approve", id]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("add --yes"), "nobody can be asked in a test");
    let responses = Command::new(program("mosquitto_sub"))
        .args(["-h", "127.0.0.1", "-p", &port, "-t", "tomte/reef/responses", "-C", "1", "-W", "120", "-q", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let shown = hub.tomte(&["action", "approve", &id[..10], "--yes"]);
    assert!(shown.contains("run /usr/bin/id -un as nobody"), "{shown}");
    let done = until(&hub, "completed");
    assert_eq!((&done["result"]["output"], &done["result"]["exit_code"]), (&"nobody\n".into(), &0.into()));
    assert!(done["history"][1]["by"].as_str().unwrap().ends_with("at the hub"), "{done}");
    // The listener may have come too late for the answer; then it is asked for again.
    assert!(Command::new(program("mosquitto_pub")).args(ask).args(["-m", request]).status().unwrap().success());
    let response = responses.wait_with_output().unwrap();
    let response: Value = serde_json::from_slice(&response.stdout).unwrap();
    assert_eq!(response["request_id"], "r1");

    let late = hub.try_tomte(&["action", "reject", id]);
    assert!(String::from_utf8_lossy(&late.stderr).contains("completed already"), "{late:?}");
    let approvals = audited(&hub, "action.approve");
    assert!(approvals.iter().any(|line| line["outcome"] == "ok" && line["target"] == "reef/who"), "{approvals:?}");
    assert_eq!(audited(&hub, "action.reject").len(), 1, "also what came too late");
    let events = in_time("events", async { events(&hub.client(), "action_changed").await });
    assert!(events.iter().any(|event| event.details.get("state").is_some_and(|state| state == "completed")));

    // A hub that was away is told again.
    agent.stop();
    let mut agent = run_agent(&config);
    agent.wait_for_text("connected to the broker");
    assert_eq!(until(&hub, "completed")["id"], id);
}
