//! What the tests share: a clock to turn, a hub in a folder of its own, and an
//! agent that says what it is told to.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tomte_link::{
    AgentLink, CloseCode, FromHub, Heartbeat, Hello, Lane, Receiver, Sender, Transport, TransportError, Twin,
};
use tomte_model::{
    Assessment, BootId, Clock, EventKind, Facet, HostId, Moment, Position, Report, Scope, Status, Timestamp,
};
use tomte_store::state::{AuditEntry, EventQuery, Page, StoredEvent};
use tomte_store::{HistoryStore, Options, Store};

use crate::access::{Actor, Admin};
use crate::config::{HubConfig, Resolved};
use crate::sources::link::serve;
use crate::view::{EnrolRequest, Enrolled};
use crate::{Hub, RunningHub};

/// 2027-01-15, when the tests begin.
pub(super) const EPOCH: i64 = 1_800_000_000_000;

/// A clock that stands still until it is turned.
#[derive(Debug)]
pub(super) struct HandClock {
    wall: AtomicI64,
    boot: AtomicI64,
}

impl HandClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { wall: AtomicI64::new(EPOCH), boot: AtomicI64::new(1_000_000) })
    }
    pub(super) fn advance(&self, by: Duration) {
        let millis = by.as_millis() as i64;
        self.wall.fetch_add(millis, Ordering::SeqCst);
        self.boot.fetch_add(millis, Ordering::SeqCst);
    }
    pub(super) fn seconds(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }
}

impl Clock for HandClock {
    fn now(&self) -> Moment {
        Moment {
            wall: Timestamp::from_millis(self.wall.load(Ordering::SeqCst)),
            boot_millis: self.boot.load(Ordering::SeqCst) as u64,
        }
    }
}

pub(super) fn options() -> Options {
    Options { commit_window: Duration::from_millis(1), ..Options::default() }
}

pub(super) fn config(folder: &Path) -> HubConfig {
    HubConfig { data: folder.to_owned(), listen: vec!["127.0.0.1:0".parse().unwrap()], ..HubConfig::default() }
}

/// A hub in a folder.
pub(super) struct Bench {
    pub(super) folder: tempfile::TempDir,
    pub(super) clock: Arc<HandClock>,
    pub(super) hub: Arc<Hub>,
    running: Option<RunningHub>,
    sessions: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Bench {
    /// Opened, nothing runs.
    pub(super) fn open() -> Self {
        Self::open_with(|_| {})
    }

    pub(super) fn open_with(change: impl FnOnce(&mut HubConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let clock = HandClock::new();
        let options = Options { series_per_host: config.limits.series_per_host, ..options() };
        let hub = Hub::open_with(Resolved::of(config), clock.clone(), options).unwrap();
        Self { folder, clock, hub, running: None, sessions: Mutex::default() }
    }

    /// Opened on a history of the test's own.
    pub(super) fn open_on(wrap: impl FnOnce(Arc<dyn HistoryStore>) -> Arc<dyn HistoryStore>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = HandClock::new();
        let store = Store::open(folder.path(), options()).unwrap();
        let store = Store { history: wrap(store.history.clone()), ..store };
        let hub = Hub::open_on(store, 100, Resolved::of(config(folder.path())), clock.clone()).unwrap();
        Self { folder, clock, hub, running: None, sessions: Mutex::default() }
    }

    /// Listening on a real port.
    pub(super) async fn listening() -> Self {
        Self::open().listen().await
    }

    pub(super) async fn listen(mut self) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.running = Some(Arc::clone(&self.hub).serve_on(vec![listener]).unwrap());
        self
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.hub.addresses()[0]
    }

    pub(super) async fn stop(self) -> tempfile::TempDir {
        let Self { folder, hub, running, sessions, .. } = self;
        match running {
            Some(running) => running.stop().await,
            None => {
                hub.stop.cancel();
                hub.save_snapshots().unwrap();
            }
        }
        for session in sessions.into_inner().unwrap() {
            session.await.unwrap();
        }
        folder
    }

    /// What a crash at this moment would leave: the files as they are. What
    /// is durable is in them; what is not, is not.
    pub(super) fn crash_image(&self) -> tempfile::TempDir {
        let image = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), image.path().join(entry.file_name())).unwrap();
            }
        }
        image
    }

    /// A hub on a folder that another one left.
    pub(super) fn reopen(folder: tempfile::TempDir, clock: Arc<HandClock>) -> Self {
        let hub = Hub::open_with(Resolved::of(config(folder.path())), clock.clone(), options()).unwrap();
        Self { folder, clock, hub, running: None, sessions: Mutex::default() }
    }

    pub(super) fn admin() -> Admin {
        Admin::of_the_program("test")
    }

    /// Enrols a host under a name.
    pub(super) async fn enrol(&self, number: u128, name: &str) -> Enrolled {
        let invitation = self.hub.add_host(&Self::admin(), name.parse().unwrap(), Vec::new()).await.unwrap();
        self.hub.enrol(request(&invitation.code, number), &Actor::new("agent", None)).await.unwrap()
    }

    /// Everything that happened, oldest first.
    pub(super) fn events(&self) -> Vec<StoredEvent> {
        self.hub.write_records().unwrap();
        let query = EventQuery { page: Page::OldestFirst(0), ..EventQuery::default() };
        self.hub.store.state.events(&query).unwrap()
    }

    pub(super) fn events_of(&self, kind: &EventKind) -> Vec<StoredEvent> {
        self.events().into_iter().filter(|stored| stored.event.kind == *kind).collect()
    }

    pub(super) fn audit(&self, action: &str) -> Vec<AuditEntry> {
        self.hub.write_records().unwrap();
        let lines = self.hub.store.state.audit_log(Page::OldestFirst(0), 10_000).unwrap();
        lines.into_iter().map(|line| line.entry).filter(|entry| entry.action == action).collect()
    }

    /// A twin's end whose other end the hub serves for a token.
    pub(super) fn twin(&self, host: HostId) -> Twin {
        let (ours, theirs) = tomte_link::twin(64);
        let agent = self.hub.fleet.get(host).unwrap();
        let session = tokio::spawn(serve(Arc::clone(&self.hub), agent, "twin".to_owned(), theirs));
        self.sessions.lock().unwrap().push(session);
        ours
    }

    /// A WebSocket to the hub, or the HTTP status that refused it.
    pub(super) async fn socket(&self, token: &str, forwarded: Option<&str>) -> Result<Socket, u16> {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let mut request = format!("ws://{}{}", self.address(), tomte_link::PATH).into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        headers.insert("sec-websocket-protocol", tomte_link::SUBPROTOCOL.parse().unwrap());
        if let Some(forwarded) = forwarded {
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(WsError::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }
}

pub(super) fn host_id(number: u128) -> HostId {
    HostId::from_parts(1_700_000_000_000, number)
}

pub(super) fn request(code: &str, number: u128) -> EnrolRequest {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(code).unwrap();
    assert_eq!((bytes[0], bytes.len()), (1, 50));
    EnrolRequest {
        secret: bytes[2..18].to_vec(),
        host: host_id(number),
        hostname: format!("machine-{number}"),
        public_key: number.to_be_bytes().to_vec(),
        agent_version: "0.1.0".to_owned(),
    }
}

/// A WebSocket of the client's side.
pub(super) struct Socket(pub(super) WebSocketStream<TcpStream>);
pub(super) struct SocketSender(SplitSink<WebSocketStream<TcpStream>, Message>);
pub(super) struct SocketReceiver(SplitStream<WebSocketStream<TcpStream>>);

impl Transport for Socket {
    type Sender = SocketSender;
    type Receiver = SocketReceiver;
    fn split(self) -> (SocketSender, SocketReceiver) {
        let (sender, receiver) = self.0.split();
        (SocketSender(sender), SocketReceiver(receiver))
    }
}

impl Sender for SocketSender {
    async fn send(&mut self, message: Bytes) -> Result<(), TransportError> {
        self.0.send(Message::Binary(message)).await.map_err(|_| TransportError::Closed)
    }
    async fn close(&mut self, _: CloseCode, _: &str) -> Result<(), TransportError> {
        self.0.close().await.map_err(|_| TransportError::Closed)
    }
}

impl Receiver for SocketReceiver {
    async fn recv(&mut self) -> Option<Result<Bytes, TransportError>> {
        loop {
            return match self.0.next().await? {
                Ok(Message::Binary(message)) => Some(Ok(message)),
                Ok(Message::Close(Some(frame))) => Some(Err(TransportError::ClosedBecause {
                    code: CloseCode::from_code(frame.code.into()),
                    reason: frame.reason.to_string(),
                })),
                Ok(_) => continue,
                Err(_) => Some(Err(TransportError::Closed)),
            };
        }
    }
}

/// How a test reaches the hub. The same test runs over each.
pub(super) trait Dial {
    type Way: Transport;
    fn dial(&self, bench: &Bench, host: &Enrolled) -> impl Future<Output = Self::Way>;
}

pub(super) struct ByTwin;
pub(super) struct BySocket;

impl Dial for ByTwin {
    type Way = Twin;
    async fn dial(&self, bench: &Bench, host: &Enrolled) -> Twin {
        bench.twin(host.host)
    }
}

impl Dial for BySocket {
    type Way = Socket;
    async fn dial(&self, bench: &Bench, host: &Enrolled) -> Socket {
        bench.socket(&host.token, None).await.unwrap_or_else(|status| panic!("refused with {status}"))
    }
}

/// Runs a test over the twin and over sockets.
macro_rules! over_both {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        mod $name {
            use crate::tests::support::{Bench, BySocket, ByTwin};
            #[tokio::test]
            async fn over_the_twin() {
                super::$name(Bench::open(), ByTwin).await;
            }
            #[tokio::test]
            async fn over_a_socket() {
                super::$name(Bench::listening().await, BySocket).await;
            }
        }
    )*};
}
pub(super) use over_both;

/// An agent that says what it is told to.
pub(super) struct Agent<T: Transport> {
    pub(super) host: HostId,
    pub(super) link: AgentLink,
    pub(super) sender: T::Sender,
    pub(super) receiver: T::Receiver,
    pub(super) sequence: u64,
    pub(super) clock: Arc<HandClock>,
    /// How far its wall clock is ahead, in milliseconds.
    pub(super) off: i64,
    pub(super) boot: BootId,
    heard: std::collections::VecDeque<FromHub>,
}

pub(super) const BOOT: BootId = BootId(77);

pub(super) fn hello(host: HostId, instance: u128) -> Hello {
    Hello {
        protocol_min: tomte_link::PROTOCOL_MIN,
        protocol_max: tomte_link::PROTOCOL_MAX,
        agent_version: "0.1.0".to_owned(),
        host,
        name: "machine".to_owned(),
        boot_id: BOOT,
        outbox_epoch: 1,
        instance,
        features: Vec::new(),
        publishes_mqtt: false,
    }
}

impl<T: Transport> Agent<T> {
    /// Says hello, and waits for nothing.
    pub(super) async fn hello(bench: &Bench, transport: T, hello: Hello) -> Self {
        let (mut sender, receiver) = transport.split();
        let host = hello.host;
        let link = AgentLink::new(hello, bench.hub.catalogue());
        sender.send(link.hello()).await.unwrap();
        let clock = bench.clock.clone();
        let heard = std::collections::VecDeque::new();
        Self { host, link, sender, receiver, sequence: 0, clock, off: 0, boot: BOOT, heard }
    }

    /// Connects, and waits for the welcome.
    pub(super) async fn connect<D: Dial<Way = T>>(dial: &D, bench: &Bench, host: &Enrolled, instance: u128) -> Self {
        let transport = dial.dial(bench, host).await;
        let mut agent = Self::hello(bench, transport, hello(host.host, instance)).await;
        assert!(matches!(agent.next().await, Ok(FromHub::Welcome(_))));
        agent
    }

    /// What the hub says next, or why it ended the connection.
    pub(super) async fn next(&mut self) -> Result<FromHub, (CloseCode, String)> {
        loop {
            if let Some(said) = self.heard.pop_front() {
                return match said {
                    FromHub::Close { code, reason } => Err((code, reason)),
                    said => Ok(said),
                };
            }
            match self.receiver.recv().await {
                Some(Ok(message)) => self.heard.extend(self.link.handle(&message).unwrap()),
                Some(Err(TransportError::ClosedBecause { code, reason })) => return Err((code, reason)),
                other => return Err((CloseCode::Other(0), format!("{other:?}"))),
            }
        }
    }

    /// Why the hub ends the connection, whatever it says before.
    pub(super) async fn end(&mut self) -> (CloseCode, String) {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }

    /// Waits until a report is acknowledged.
    pub(super) async fn acked(&mut self, position: Position) {
        loop {
            match self.next().await.unwrap() {
                FromHub::Ack { epoch, ranges } if epoch == position.epoch && ranges.contains(position.sequence) => {
                    return;
                }
                _ => {}
            }
        }
    }

    pub(super) fn moment(&self) -> Moment {
        let now = self.clock.now();
        Moment { wall: Timestamp::from_millis(now.wall.millis() + self.off), boot_millis: now.boot_millis / 2 }
    }

    pub(super) async fn heartbeat(&mut self) {
        let heartbeat = Heartbeat { moment: self.moment(), clock_synchronised: true, ..Heartbeat::default() };
        let message = self.link.heartbeat(&heartbeat);
        self.sender.send(message).await.unwrap();
        while !matches!(self.next().await.unwrap(), FromHub::Heartbeat { .. }) {}
    }

    /// A report of the next sequence.
    pub(super) fn make(&mut self, facets: Vec<Facet>) -> Report {
        self.sequence += 1;
        Report {
            host: self.host,
            collector: "disk".into(),
            position: Position { epoch: 1, sequence: self.sequence },
            boot_id: self.boot,
            moment: self.moment(),
            clock_synchronised: true,
            interval_millis: 10_000,
            scopes: vec![Scope::complete("io", facets)],
            events: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, report: &Report) {
        for message in self.link.report(report, Lane::Live).unwrap() {
            self.sender.send(message).await.unwrap();
        }
    }

    /// Sends a report and waits for its ack.
    pub(super) async fn report(&mut self, facets: Vec<Facet>) -> Report {
        let report = self.make(facets);
        self.send(&report).await;
        self.acked(report.position).await;
        report
    }
}

/// A disk with one reading.
pub(super) fn disk(name: &str, reads: f64) -> Facet {
    let mut facet = Facet::owner("disk", name, "io");
    facet.read("read_bytes_per_second", reads);
    facet.assessment = Some(Assessment { status: Status::Ok, reason: String::new(), problems: Vec::new() });
    facet
}

/// Waits until something is so, which takes only as long as other tasks need.
pub(super) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let patience = std::time::Instant::now();
    while !so() {
        assert!(patience.elapsed() < Duration::from_secs(120), "never: {what}");
        tokio::task::yield_now().await;
    }
}
