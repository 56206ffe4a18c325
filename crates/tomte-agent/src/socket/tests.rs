#![allow(clippy::unwrap_used)]

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message as Frame;
use tomte_collect::SystemClock;
use tomte_model::{BootId, Catalogue, Clock, Facet, HostId, Scope};

use super::*;
use crate::config::OutboxConfig;
use crate::outbox::Outbox;
use crate::pipeline::{Judged, Pipeline, PipelineOptions, Seen};

struct Rig {
    station: Arc<Station>,
    path: PathBuf,
    changes: mpsc::Receiver<Change>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/agent.sock");
    let options = PipelineOptions {
        host: HostId::from_parts(1, 2),
        boot_id: BootId(1),
        catalogue: Arc::new(Catalogue::builtin()),
        rules: Vec::new(),
        judged: Judged::default(),
    };
    let outbox = Outbox::new(1, OutboxConfig::default(), SystemClock.now());
    let station = Station::new(Pipeline::new(options, outbox), Arc::new(SystemClock));
    let host = LocalHost {
        station: station.clone(),
        name: "nas".to_owned(),
        hostname: "nas.local".to_owned(),
        roles: vec!["storage".to_owned()],
        started: SystemClock.now().wall,
        synchronised: || true,
        desk: None,
    };
    let (sender, changes) = mpsc::channel(4);
    let cancel = CancellationToken::new();
    let socket = LocalSocket::bind(&path).unwrap();
    let task = tokio::spawn(socket.serve(Arc::new(host), sender, cancel.clone()));
    Rig { station, path, changes, cancel, task, _folder: folder }
}

impl Rig {
    fn submit(&self, load: f64) {
        let mut facet = Facet::owner("load", "load", "main");
        facet.read("load1", load);
        facet.text("note", "Größe");
        let mut scopes = vec![Scope::complete("load", vec![facet])];
        let mut full = Facet::owner("filesystem", "/srv/a b", "main");
        full.read("size_bytes", 1e9);
        scopes.push(Scope::complete("filesystem", vec![full]));
        self.station.submit(Seen {
            collector: "load".into(),
            interval: Duration::from_secs(10),
            moment: SystemClock.now(),
            clock_synchronised: true,
            scopes,
        });
    }

    async fn get(&self, target: &str) -> (u16, serde_json::Value) {
        let text = self.raw(&format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let body = text.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    async fn raw(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(&self.path).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
}

#[tokio::test]
async fn the_host_and_its_resources_are_told_as_a_hub_would() {
    let rig = rig();
    rig.submit(1.5);
    let (status, hosts) = rig.get("/api/v1/hosts").await;
    assert_eq!(status, 200);
    assert_eq!((&hosts["items"][0]["name"], &hosts["items"][0]["presence"]), (&"nas".into(), &"online".into()));
    assert_eq!((&hosts["next"], &hosts["items"][0]["resources"]), (&serde_json::Value::Null, &2.into()));
    let id = HostId::from_parts(1, 2).to_string();
    for name in ["nas", "nas.local", &id] {
        let (status, page) = rig.get(&format!("/api/v1/hosts/{name}/resources?kind=load")).await;
        assert_eq!((status, page["items"].as_array().unwrap().len()), (200, 1));
        assert_eq!(page["items"][0]["readings"]["load1"], 1.5);
    }
    let (status, problem) = rig.get("/api/v1/hosts/other/resources").await;
    assert_eq!((status, &problem["type"]), (404, &"urn:tomte:problem:no-such-host".into()));
    let (_, found) = rig.get("/api/v1/resources?q=gr%C3%B6SSe&kind=load,filesystem").await;
    assert_eq!(found["items"].as_array().unwrap().len(), 0);
    let (_, found) = rig.get("/api/v1/resources?q=a+b").await;
    assert_eq!(found["items"][0]["name"], "/srv/a b");
    let (_, found) = rig.get("/api/v1/resources?status=critical").await;
    assert!(found["items"].as_array().unwrap().is_empty());
    let (_, latest) = rig.get("/api/v1/latest?kind=load&field=load1").await;
    assert_eq!(latest["items"][0]["readings"], serde_json::json!({"load1": 1.5}));
    assert_eq!(rig.get("/healthz").await.1["status"], "ok");
    assert_eq!(rig.get("/api/v1/nonsense").await.0, 404);
    let (head, _) = (rig.raw("POST /api/v1/hosts HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await, ());
    assert!(head.starts_with("HTTP/1.1 405"), "{head}");
    assert!(rig.raw("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert_eq!(fs::metadata(&rig.path).unwrap().permissions().mode() & 0o777, 0o660);
    rig.cancel.cancel();
    rig.task.await.unwrap();
    assert!(!rig.path.exists());
}

// Paused, so that the second between two deltas costs nothing.
#[tokio::test(start_paused = true)]
async fn the_live_stream_tells_a_snapshot_and_then_what_changed() {
    let mut rig = rig();
    rig.submit(1.5);
    let stream = UnixStream::connect(&rig.path).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("ws://local/api/v1/live", stream).await.unwrap();
    let mut say = async |text: &str| socket.send(Frame::text(text)).await.unwrap();
    say(r#"{"op":"sub","id":"a","hosts":["nas"],"kinds":["load"],"fields":[],"every_s":1}"#).await;
    say(r#"{"op":"sub","id":"b","hosts":["other"]}"#).await;
    say("nonsense").await;
    let mut told = Vec::new();
    while told.len() < 3 {
        if let Frame::Text(text) = socket.next().await.unwrap().unwrap() {
            told.push(serde_json::from_str::<serde_json::Value>(text.as_str()).unwrap());
        }
    }
    assert_eq!((&told[0]["id"], &told[0]["type"]), (&"a".into(), &"snapshot".into()));
    assert_eq!(told[0]["resources"][0]["readings"]["load1"], 1.5);
    assert_eq!((&told[1]["type"], &told[1]["problem"]["status"]), (&"error".into(), &404.into()));
    assert_eq!(told[2]["type"], "error");
    // Somebody looks closely: the fast tier is asked to hurry.
    assert!(matches!(rig.changes.recv().await, Some(Change::Live { interval_millis: 1_000, lease_millis: 30_000 })));
    rig.submit(2.5);
    let delta = loop {
        if let Frame::Text(text) = socket.next().await.unwrap().unwrap() {
            let message: serde_json::Value = serde_json::from_str(text.as_str()).unwrap();
            if message["type"] == "delta" {
                break message;
            }
        }
    };
    assert_eq!(delta["resources"][0]["readings"], serde_json::json!({"load1": 2.5}));
    assert!(delta["resources"][0].get("attributes").is_none(), "what did not change is not told: {delta}");
    rig.cancel.cancel();
    rig.task.await.unwrap();
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let held = LocalSocket::bind(&path).unwrap();
    let error = LocalSocket::bind(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    drop(held);
}

#[test]
fn queries_are_taken_apart() {
    let query = Query::parse("kind=a,b&kind=c&q=x%20y+z&empty=&%zz=1");
    assert_eq!(query.all("kind"), ["a", "b", "c"]);
    assert_eq!((query.one("q"), query.one("empty"), query.one("%zz")), (Some("x y z"), None, Some("1")));
    assert_eq!(decoded("%ff%2"), "\u{fffd}%2");
}

#[tokio::test]
async fn the_catalogue_and_what_happened_of_late_can_be_read() {
    let rig = rig();
    let (status, kinds) = rig.get("/api/v1/catalogue").await;
    let kinds = kinds["items"].as_array().unwrap().clone();
    assert_eq!(status, 200);
    assert!(kinds.iter().any(|kind| kind["name"] == "filesystem" && kind["fields"][0]["unit"] == "bytes"));

    let raise = |number: u32, severity| {
        let message = format!("event {number}");
        let at = tomte_model::Timestamp::from_millis(i64::from(number));
        let kind = tomte_model::EventKind::AGENT_STARTED;
        rig.station.raise(crate::pipeline::agent_event(at, kind, severity, message, &[]), true);
    };
    (0..250).for_each(|number| raise(number, tomte_model::Severity::Info));
    raise(250, tomte_model::Severity::Warning);
    let messages = async |target: &str| -> Vec<String> {
        let (_, page) = rig.get(target).await;
        let text = |event: &serde_json::Value| event["message"].as_str().unwrap().to_owned();
        page["items"].as_array().unwrap().iter().map(text).collect()
    };
    let all = messages("/api/v1/events").await;
    assert_eq!((all.len(), all[0].as_str(), all[199].as_str()), (200, "event 250", "event 51"));
    assert_eq!(messages("/api/v1/events?severity=warning").await, ["event 250"]);
    assert_eq!(messages("/api/v1/events?limit=2").await, ["event 250", "event 249"]);
    assert!(messages("/api/v1/events?type=nonsense").await.is_empty());
    rig.cancel.cancel();
    rig.task.await.unwrap();
}
