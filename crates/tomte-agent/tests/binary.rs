#![allow(clippy::unwrap_used, missing_docs)]
//! The real binary: its commands, and its life beside a small hub.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tomte_agent::connect::{WebSocket, websocket_config};
use tomte_agent::state::{Enrolment, StateDir};
use tomte_link::{FromAgent, HubLink, Limits, Receiver, Sender, SettingsPush, Transport, Welcome};
use tomte_model::{Position, RangeSet, Report, Timestamp};

fn agent() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tomte-agent"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TOMTE_")) {
        command.env_remove(name);
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
    command
}

fn output(command: &mut Command) -> (Output, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

/// A running agent; killed when dropped.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    fn start(config: &Path) -> Self {
        let mut child =
            agent().args(["run", "--config"]).arg(config).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// Reads the log up to a line that says this.
    fn wait_for(&mut self, said: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "the agent ended without saying {said:?}");
            if line.contains(said) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it in good order.
    fn stop(mut self) {
        self.signal(Signal::TERM);
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_and_the_sample_are_printed_and_a_broken_pipe_is_no_error() {
    let (done, out, _) = output(agent().arg("--help"));
    assert!(done.status.success() && out.contains("enroll") && out.contains("Examples:"));
    let (done, out, _) = output(agent().args(["check", "--sample"]));
    assert!(done.status.success());
    assert_eq!(out, tomte_agent::config::SAMPLE);
    let mut child = agent().args(["check", "--sample"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_mistake_in_the_file_ends_in_its_place_and_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    fs::write(&config, "[intervals]\nfats = \"5s\"\n").unwrap();
    for command in ["check", "run"] {
        let (done, _, err) = output(agent().arg(command).arg("--config").arg(&config));
        assert_eq!(done.status.code(), Some(1));
        assert!(err.contains("agent.toml:2:1: ") && err.contains("did you mean `fast`?"), "{err}");
    }
    fs::write(&config, "[intervals]\nfast = \"5s\"\n").unwrap();
    let (done, out, _) = output(agent().arg("check").arg("--config").arg(&config).env("TOMTE_AGENT_LOG_LEVEL", "warn"));
    assert!(done.status.success());
    assert!(out.contains("agent.toml:2\n") && out.contains("# $TOMTE_AGENT_LOG_LEVEL"), "{out}");
    assert!(!folder.path().join("agent.toml.d").exists(), "a check makes nothing");
}

#[test]
fn once_prints_a_complete_set_of_reports() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    let (done, out, err) = output(agent().args(["once", "--json", "--config"]).arg(&config));
    assert!(done.status.success(), "{err}");
    let once: serde_json::Value = serde_json::from_str(&out).unwrap();
    let reports: Vec<Report> = serde_json::from_value(once["reports"].clone()).unwrap();
    let seen: BTreeSet<_> = reports.iter().map(|report| report.collector.as_ref()).collect();
    let all: BTreeSet<_> = tomte_agent::collectors().iter().map(|def| def.name).collect();
    assert_eq!(seen, all);
    let cpu = reports.iter().flat_map(|r| &r.scopes).flat_map(|s| &s.facets).find(|f| f.resource.kind == "cpu");
    assert!(cpu.unwrap().reading("usage_ratio").is_some(), "rates need two looks, and get them");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a look changes nothing");
    let (done, out, _) = output(agent().args(["once", "--root"]).arg(folder.path()).arg("--config").arg(&config));
    assert!(done.status.success());
    assert!(out.contains("unavailable"), "an empty tree is no host: {out}");
}

#[test]
fn without_a_configuration_the_agent_waits_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    let mut running = Running::start(&config);
    let line = running.wait_for("no configuration");
    assert!(line.contains("agent.toml") && line.contains("tomte-agent enroll"), "{line}");
    // Somebody writes one, and says so.
    fs::write(&config, "").unwrap();
    running.signal(Signal::HUP);
    running.wait_for("this host lives alone");
    // A second one on the same state is refused.
    let (done, _, err) = output(agent().args(["run", "--config"]).arg(&config));
    assert_eq!(done.status.code(), Some(1));
    assert!(err.contains("another tomte-agent"), "{err}");
    let text = ask(&config.with_extension("toml.d").join("agent.sock"));
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("\"presence\":\"online\""), "{text}");
    running.signal(Signal::HUP);
    running.wait_for("the configuration was read again");
    fs::write(&config, "[intervals]\nfast = 5\n").unwrap();
    running.signal(Signal::HUP);
    assert!(running.wait_for("was not taken up").contains("agent.toml:2:8"));
    running.stop();
}

#[test]
fn systemd_is_told_that_the_agent_is_ready_alive_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    fs::write(&config, "").unwrap();
    let path = folder.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut child = agent()
        .args(["run", "--config"])
        .arg(&config)
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let wait_for = |wanted: &str| {
        let mut buffer = [0; 1024];
        loop {
            let length = socket.recv(&mut buffer).unwrap();
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said.contains(wanted) {
                return said;
            }
        }
    };
    assert!(wait_for("READY=1").contains("STATUS=watching "));
    wait_for("WATCHDOG=1");
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    assert!(wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    wait_for("READY=1");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    wait_for("STOPPING=1");
    assert!(child.wait().unwrap().success());
}

fn ask(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /api/v1/hosts HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A hub that takes one agent at a time.
struct Hub {
    sender: <WebSocket<TcpStream> as Transport>::Sender,
    receiver: <WebSocket<TcpStream> as Transport>::Receiver,
    link: HubLink,
    waiting: Vec<FromAgent>,
}

impl Hub {
    async fn accept(listener: &TcpListener) -> Self {
        #[expect(clippy::result_large_err, reason = "the library's own signature")]
        let named = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            response.headers_mut().insert("sec-websocket-protocol", "tomte.v1".parse().unwrap());
            Ok(response)
        };
        let (stream, _) = listener.accept().await.unwrap();
        let socket =
            tokio_tungstenite::accept_hdr_async_with_config(stream, named, Some(websocket_config())).await.unwrap();
        let (mut sender, mut receiver) = WebSocket(socket).split();
        let message = receiver.recv().await.unwrap().unwrap();
        let (link, _) = HubLink::accept(&message, Limits::default()).unwrap();
        let welcome = Welcome {
            protocol: link.protocol(),
            generation: 1,
            server_time: Timestamp::from_millis(0),
            hub_version: "test".into(),
            host_name: "nas".into(),
            heartbeat_millis: 15_000,
            features: Vec::new(),
        };
        sender.send(link.welcome(&welcome)).await.unwrap();
        Self { sender, receiver, link, waiting: Vec::new() }
    }

    async fn hear(&mut self) -> Option<FromAgent> {
        while self.waiting.is_empty() {
            let message = self.receiver.recv().await?.ok()?;
            self.waiting = self.link.handle(&message).unwrap();
        }
        Some(self.waiting.remove(0))
    }

    async fn report(&mut self) -> Option<Report> {
        loop {
            if let FromAgent::Report { report, .. } = self.hear().await? {
                return Some(report);
            }
        }
    }

    async fn ack(&mut self, position: Position) {
        let mut ranges = RangeSet::new();
        ranges.insert(position.sequence);
        self.sender.send(self.link.ack(position.epoch, &ranges)).await.unwrap();
    }
}

/// A host that is enrolled at that hub.
fn enrolled(folder: &Path, listener: &TcpListener) -> PathBuf {
    let config = folder.join("agent.toml");
    let url = format!("http://{}", listener.local_addr().unwrap());
    fs::write(&config, format!("hub = \"{url}\"\n")).unwrap();
    let state = StateDir::open(config.with_extension("toml.d")).unwrap();
    let mut identity = state.identity_or_new(Timestamp::from_millis(1_800_000_000_000)).unwrap();
    identity.enrolment = Some(Enrolment { url, name: "nas".into(), token: "t".into(), pin: None });
    state.save_identity(&identity).unwrap();
    config
}

#[tokio::test]
async fn what_was_acked_is_not_lost_and_nothing_has_a_number_twice_over_kills_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = enrolled(folder.path(), &listener);
    let collectors = tomte_agent::collectors().len();

    // Killed in the middle: what the hub had taken it has.
    let mut running = Running::start(&config);
    let mut hub = Hub::accept(&listener).await;
    let mut taken = BTreeSet::new();
    for _ in 0..collectors {
        let report = hub.report().await.unwrap();
        hub.ack(report.position).await;
        assert!(taken.insert(report.position));
    }
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    drop(hub);

    // The next run has numbers of its own. It stops while nothing is acked:
    // all of it waits on disk.
    let running = Running::start(&config);
    let mut hub = Hub::accept(&listener).await;
    let mut sent = BTreeSet::new();
    for _ in 0..collectors {
        let report = hub.report().await.unwrap();
        assert!(!taken.contains(&report.position), "{:?} twice", report.position);
        sent.insert(report.position);
    }
    running.signal(Signal::TERM);
    while let Some(report) = hub.report().await {
        sent.insert(report.position);
    }
    drop(hub);
    running.stop();

    // And the run after that brings them.
    let running = Running::start(&config);
    let mut hub = Hub::accept(&listener).await;
    let mut missing = sent.clone();
    while !missing.is_empty() {
        let report = hub.report().await.unwrap();
        missing.remove(&report.position);
        assert!(!taken.contains(&report.position));
        hub.ack(report.position).await;
    }
    // A clean stop with all acked leaves nothing behind.
    running.signal(Signal::TERM);
    while let Some(report) = hub.report().await {
        hub.ack(report.position).await;
    }
    drop(hub);
    running.stop();
    assert_eq!(fs::read_dir(config.with_extension("toml.d").join("spool")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_the_hub_may_not_set_is_refused_and_audited_and_the_rest_kept_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = enrolled(folder.path(), &listener);
    let running = Running::start(&config);
    let mut hub = Hub::accept(&listener).await;
    let values = [("intervals.fast", "\"1s\""), ("hub", "\"https://evil.example\""), ("socket", "\"/tmp/x\"")];
    let values = values.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let push = SettingsPush { revision: 4, values };
    hub.sender.send(hub.link.settings(&push)).await.unwrap();
    let (mut answered, mut audited) = (None, Vec::new());
    while answered.is_none() || audited.len() < 2 {
        match hub.hear().await.unwrap() {
            FromAgent::SettingsResult(result) => answered = Some(result),
            FromAgent::Report { report, .. } => {
                let events = report.events.iter().filter(|event| event.kind.as_str() == "config_refused");
                audited.extend(events.map(|event| event.details["key"].clone()));
                hub.ack(report.position).await;
            }
            _ => {}
        }
    }
    let refused: Vec<_> = answered.unwrap().refused.into_iter().map(|(key, _)| key).collect();
    assert_eq!(
        (refused.as_slice(), audited.as_slice()),
        (["hub", "socket"].map(str::to_owned).as_slice(), refused.as_slice())
    );
    // In force at once: the fast tier says when it comes again.
    loop {
        let report = hub.report().await.unwrap();
        hub.ack(report.position).await;
        if report.collector == "load" && report.interval_millis == 1_000 {
            break;
        }
    }
    drop(hub);
    running.stop();
    let (_, out, _) = output(agent().args(["check", "--config"]).arg(&config));
    assert!(out.lines().any(|line| line.starts_with("intervals.fast = \"1s\"") && line.ends_with("# hub")), "{out}");
    assert!(!out.contains("evil"));
}
