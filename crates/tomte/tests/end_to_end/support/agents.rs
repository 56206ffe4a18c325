//! Agents inside this process: the agent's own pipeline, outbox and link over
//! a real socket, with small reports as fast as the hub acknowledges them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tomte_agent::config::OutboxConfig;
use tomte_agent::connect::{ConnectError, Connector, Endpoint, HubConnector, Stream, WebSocket};
use tomte_agent::enrol::Code;
use tomte_agent::link::{self, LinkOptions};
use tomte_agent::outbox::Outbox;
use tomte_agent::pipeline::{Judged, Pipeline, PipelineOptions, Seen};
use tomte_agent::station::Station;
use tomte_api::client::{Client, Trust};
use tomte_api::host::{AddHost, EnrolRequest};
use tomte_collect::SystemClock;
use tomte_link::{
    AgentLink, CloseCode, FromHub, Hello, PROTOCOL_MAX, PROTOCOL_MIN, Receiver, Sender, Transport, TransportError,
};
use tomte_model::{BootId, Catalogue, Facet, HostId, RangeSet, Scope};

use super::{Hub, LIMIT};

/// How many numbers are in a set.
pub(crate) fn numbers(ranges: &RangeSet) -> u64 {
    ranges.iter().map(|range| range.end() - range.start() + 1).sum()
}

/// What came over the wire for one agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acked {
    /// What the hub acknowledged, by epoch.
    pub(crate) by_epoch: BTreeMap<u64, RangeSet>,
    /// How often the hub let the agent in.
    pub(crate) welcomes: u64,
}

impl Acked {
    /// How many reports were acknowledged.
    pub(crate) fn count(&self) -> u64 {
        self.by_epoch.values().map(numbers).sum()
    }

    /// Takes note of a message of the hub. `link` is as old as the connection.
    pub(crate) fn hear(told: &watch::Sender<Self>, link: &mut AgentLink, message: &[u8]) {
        for said in link.handle(message).expect("the hub speaks the protocol") {
            match said {
                FromHub::Ack { epoch, ranges } => told.send_modify(|acked| {
                    let known = acked.by_epoch.entry(epoch).or_default();
                    ranges.iter().for_each(|range| known.insert_range(range));
                }),
                FromHub::Welcome(_) => told.send_modify(|acked| acked.welcomes += 1),
                _ => {}
            }
        }
    }
}

/// A link that only understands what a hub says.
pub(crate) fn listener() -> AgentLink {
    let hello = Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        agent_version: String::new(),
        host: HostId::from_parts(0, 0),
        name: String::new(),
        boot_id: BootId(0),
        outbox_epoch: 0,
        instance: 0,
        features: Vec::new(),
        publishes_mqtt: false,
    };
    AgentLink::new(hello, Arc::new(Catalogue::builtin()))
}

/// Connects to wherever the hub is now, and writes down what it acknowledges.
#[derive(Clone)]
struct Recorder {
    url: watch::Receiver<String>,
    token: String,
    acked: watch::Sender<Acked>,
}

struct Recorded(WebSocket<Stream>, watch::Sender<Acked>);

struct RecordedReceiver {
    inner: <WebSocket<Stream> as Transport>::Receiver,
    link: AgentLink,
    acked: watch::Sender<Acked>,
}

impl Connector for Recorder {
    type Transport = Recorded;
    async fn connect(&mut self) -> Result<Recorded, ConnectError> {
        let url = self.url.borrow().parse().expect("a hub's address");
        let mut connector = HubConnector::new(Endpoint::new(url, None, || true)?, self.token.as_str());
        Ok(Recorded(connector.connect().await?, self.acked.clone()))
    }
}

impl Transport for Recorded {
    type Sender = RecordedSender;
    type Receiver = RecordedReceiver;
    fn split(self) -> (RecordedSender, RecordedReceiver) {
        let (sender, inner) = self.0.split();
        (RecordedSender(sender), RecordedReceiver { inner, link: listener(), acked: self.1 })
    }
}

struct RecordedSender(<WebSocket<Stream> as Transport>::Sender);

impl Sender for RecordedSender {
    async fn send(&mut self, message: Bytes) -> Result<(), TransportError> {
        self.0.send(message).await
    }
    async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), TransportError> {
        self.0.close(code, reason).await
    }
}

impl Receiver for RecordedReceiver {
    async fn recv(&mut self) -> Option<Result<Bytes, TransportError>> {
        let received = self.inner.recv().await;
        if let Some(Ok(message)) = &received {
            Acked::hear(&self.acked, &mut self.link, message);
        }
        received
    }
}

/// An enrolled agent; it is connected from the start.
pub(crate) struct SimulatedAgent {
    pub(crate) name: String,
    pub(crate) host: HostId,
    pub(crate) token: String,
    pub(crate) epoch: u64,
    pub(crate) station: Arc<Station>,
    acked: watch::Receiver<Acked>,
    submitted: AtomicU64,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// The id and token of a new host of that name.
pub(crate) async fn enrol(hub: &Hub, name: &str) -> (HostId, String) {
    let local = hub.client();
    let invitation = local.add_host(&AddHost { name: name.to_owned(), roles: Vec::new() }).await.expect("a code");
    let code: Code = invitation.code.parse().expect("a code");
    let host = HostId::from_parts(1_790_000_000_000, fastrand::u128(..));
    let request = EnrolRequest {
        secret: code.secret(),
        host_id: host,
        hostname: format!("{name}.test"),
        public_key: "A".repeat(43),
        agent_version: "0.0.0-test".to_owned(),
    };
    let open = Client::new(hub.url.parse().expect("an address"), None, &Trust::System).expect("a client");
    (host, open.enroll(&request).await.expect("an enrolment").token)
}

impl SimulatedAgent {
    /// Enrols a new host, and connects it directly.
    pub(crate) async fn new(hub: &Hub, name: &str) -> Self {
        let (host, token) = enrol(hub, name).await;
        Self::start(name, host, token, hub.address(), Catalogue::builtin())
    }

    /// An agent of an enrolled host, which finds the hub at `url`.
    pub(crate) fn start(
        name: &str,
        host: HostId,
        token: String,
        url: watch::Receiver<String>,
        catalogue: Catalogue,
    ) -> Self {
        let clock = Arc::new(SystemClock);
        let now = tomte_model::Clock::now(&*clock);
        let epoch = u64::try_from(now.wall.millis()).expect("after 1970");
        let options = PipelineOptions {
            host,
            boot_id: BootId(fastrand::u128(1..)),
            catalogue: Arc::new(catalogue),
            rules: Vec::new(),
            judged: Judged::default(),
        };
        let pipeline = Pipeline::new(options, Outbox::new(epoch, OutboxConfig::default(), now));
        let station = Station::new(pipeline, clock);
        let (told, acked) = watch::channel(Acked::default());
        let recorder = Recorder { url, token: token.clone(), acked: told };
        let options = LinkOptions {
            synchronised: || true,
            first_pause: Duration::from_millis(2),
            ..LinkOptions::new(format!("{name}.test"), fastrand::u128(..))
        };
        let cancel = CancellationToken::new();
        let (commands, _) = mpsc::channel(1);
        let task = tokio::spawn(link::run(station.clone(), options, recorder, commands, cancel.clone()));
        Self { name: name.to_owned(), host, token, epoch, station, acked, submitted: AtomicU64::new(0), cancel, task }
    }

    /// What the hub acknowledged so far.
    pub(crate) fn acked(&self) -> Acked {
        self.acked.borrow().clone()
    }

    /// How many reports were made so far.
    pub(crate) fn submitted(&self) -> u64 {
        self.submitted.load(Ordering::Relaxed)
    }

    /// Waits until what the hub acknowledged is as it should be.
    pub(crate) async fn until(&self, what: &str, enough: impl FnMut(&Acked) -> bool) {
        let mut acked = self.acked.clone();
        let waited = tokio::time::timeout(LIMIT, acked.wait_for(enough)).await;
        let so_far = || format!("{}: {} of {} acked", self.name, self.acked().count(), self.submitted());
        waited.unwrap_or_else(|_| panic!("no {what} in time; {}", so_far())).expect("the agent runs");
    }

    /// Waits until everything is acknowledged.
    pub(crate) async fn until_all_acked(&self) {
        let all = self.submitted();
        self.until("ack of everything", |acked| acked.count() >= all).await;
    }

    /// Makes a report.
    pub(crate) fn submit(&self, collector: &'static str, scopes: Vec<Scope>) {
        let moment = self.station.clock().now();
        let interval = Duration::from_secs(10);
        self.submitted.fetch_add(1, Ordering::Relaxed);
        self.station.submit(Seen { collector: collector.into(), interval, moment, clock_synchronised: true, scopes });
    }

    /// Makes a small report; its one reading is the report's number.
    pub(crate) fn submit_number(&self) {
        let mut facet = Facet::owner("disk", "sda", "io");
        facet.read("read_bytes_per_second", (self.submitted() + 1) as f64);
        self.submit("disk", vec![Scope::complete("disk", vec![facet])]);
    }

    /// Makes so many small reports, as fast as acknowledgements allow.
    pub(crate) async fn flood(&self, reports: u64) {
        const AHEAD: u64 = 200;
        for _ in 0..reports {
            let made = self.submitted();
            self.until("ack", |acked| acked.count() + AHEAD > made).await;
            self.submit_number();
        }
    }

    /// Ends it in good order.
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        self.task.await.expect("the agent ends");
    }
}
