//! The API against a real hub on a folder of its own: requests go through the
//! whole router, reports come in by the front door.

#![allow(clippy::unwrap_used)]

mod access;
mod api;
mod live;
mod metrics;
mod openapi;
mod past;
mod sign_in;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tomte_api::account::Role;
use tomte_model::{
    BootId, Clock, EventId, EventKind, Facet, HostId, Moment, Outcome, Position, Report, Scope, Severity, Timestamp,
};
use tower::ServiceExt as _;

use super::router;
use crate::Hub;
use crate::access::{Actor, Admin, Peer};
use crate::config::{HubConfig, Resolved};
use crate::view::EnrolRequest;

/// When the tests begin: 2026-01-01.
const START: i64 = 1_767_225_600_000;

/// A clock that moves when it is told to.
#[derive(Debug)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Moment {
        let millis = self.0.load(Ordering::SeqCst);
        Moment { wall: Timestamp::from_millis(millis), boot_millis: (millis - START) as u64 + 3_600_000 }
    }
}

/// A hub with its router.
struct TestHub {
    hub: Arc<Hub>,
    router: Router,
    clock: Arc<TestClock>,
    _folder: TempDir,
}

/// An answer, read whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

    /// The problem, which must be one in every respect.
    fn problem(&self) -> Value {
        let problem = self.json();
        assert_eq!(self.headers["content-type"], "application/problem+json", "{problem}");
        assert_eq!(problem["status"], self.status.as_u16());
        assert!(problem["type"].as_str().is_some_and(|kind| kind.starts_with("urn:tomte:problem:")), "{problem}");
        assert!(problem["title"].is_string());
        problem
    }
}

fn stranger() -> Peer {
    Peer::Remote { address: SocketAddr::from(([192, 0, 2, 7], 4711)), tls: false }
}

impl TestHub {
    fn new() -> Self {
        Self::with(HubConfig::default())
    }

    fn with(config: HubConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = HubConfig { data: folder.path().join("data"), ..config };
        let clock = Arc::new(TestClock(AtomicI64::new(START)));
        let options = tomte_store::Options { commit_window: Duration::ZERO, ..crate::open::store_options(&config) };
        let shared = Arc::clone(&clock) as Arc<dyn Clock>;
        let hub = Hub::open_with(Resolved::of(config), shared, options).unwrap();
        Self { router: router(Arc::clone(&hub)), hub, clock, _folder: folder }
    }

    fn forward(&self, millis: i64) {
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }

    async fn send(&self, peer: Peer, request: Request<Body>) -> Answer {
        let mut request = request;
        request.extensions_mut().insert(peer);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// Asks as admin, on the hub's own socket.
    async fn local(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.send(Peer::Local { uid: 0 }, request(method, path, &[], body)).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.local(Method::GET, path, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        answer.json()
    }

    /// Asks from the network, with a token.
    async fn with_token(&self, method: Method, path: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.send(stranger(), request(method, path, &[("authorization", &bearer)], None)).await
    }

    async fn token(&self, name: &str, role: Role) -> String {
        let body = json!({"name": name, "role": role});
        let answer = self.local(Method::POST, "/api/v1/tokens", Some(body)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// Enrols a host, the way agents do but for HTTP.
    async fn enrol(&self, name: &str) -> HostId {
        use base64::Engine as _;
        let by = Admin::of_the_program("test");
        let invitation = self.hub.add_host(&by, name.parse().unwrap(), Vec::new()).await.unwrap();
        let code = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(invitation.code).unwrap();
        let host = HostId::from_parts(START as u64, u128::from_le_bytes(crate::secrets::random()));
        let request = EnrolRequest {
            secret: code[2..18].to_vec(),
            host,
            hostname: format!("{name}.lan"),
            public_key: vec![1; 32],
            agent_version: "1.2.3".into(),
        };
        self.hub.enrol(request, &Actor::hub()).await.unwrap().host
    }

    /// A host's agent reports, and the report is durable.
    fn report(&self, host: HostId, collector: &str, sequence: u64, facets: Vec<Facet>) {
        self.report_scopes(host, collector, sequence, vec![Scope::complete(collector.to_owned(), facets)]);
        self.hub.store().history.flush().unwrap();
    }

    /// Writes the events that wait; a running hub does so twice a second.
    fn write_events(&self) {
        self.hub.events.write(&*self.hub.store().state, &self.hub.bus).unwrap();
    }

    fn report_scopes(&self, host: HostId, collector: &str, sequence: u64, scopes: Vec<Scope>) {
        let report = Report {
            host,
            collector: collector.to_owned().into(),
            position: Position { epoch: 1, sequence },
            boot_id: BootId(1),
            moment: self.clock.now(),
            clock_synchronised: true,
            interval_millis: 10_000,
            scopes,
            events: vec![tomte_model::Event {
                id: EventId::from_parts(START as u64, u128::from_le_bytes(crate::secrets::random())),
                at: self.clock.now().wall,
                source: "agent".into(),
                kind: EventKind::AGENT_STARTED,
                severity: Severity::Info,
                subject: None,
                correlation_id: None,
                message: format!("report {sequence}"),
                details: Default::default(),
            }],
        };
        let agent = self.hub.fleet.get(host).unwrap();
        self.hub.take_in(&agent, report, Box::new(|durable| assert!(durable.is_ok()))).unwrap();
    }
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    match body {
        Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap(),
        None => request.body(Body::empty()).unwrap(),
    }
}

fn filesystem(mount: &str, used: f64) -> Facet {
    let mut facet = Facet::owner("filesystem", mount, "main");
    facet.read("used_ratio", used);
    facet.read("size_bytes", 1e12);
    facet.text("device", "/dev/sda1");
    facet
}

fn cpu(usage: f64) -> Facet {
    let mut facet = Facet::owner("cpu", "cpu", "main");
    facet.read("usage_ratio", usage);
    facet
}

fn failed(error: &str) -> Outcome {
    Outcome::Failed { error: error.to_owned() }
}
