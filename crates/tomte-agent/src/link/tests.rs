#![allow(clippy::unwrap_used)]
//! Against a small hub made of [`tomte_link::HubLink`]. What does not depend
//! on time runs on twins and on sockets alike; what does, on twins with the
//! clock paused.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tomte_collect::{Membership, Seat, Shared, Standing};
use tomte_link::{
    CLUSTERS, ClusterClaim, ClusterGrant, ClusterProblem, FromAgent, Heartbeat, Hello, HubLink, Lane, Limits, Live,
    Receiver, Sender, SettingsPush, SettingsResult, Transport, Twin, Welcome, twin,
};
use tomte_model::{
    BootId, Catalogue, Clock, EventKind, Facet, HostId, Moment, Position, RangeSet, Report, ResourceKey, Scope,
    Severity, Status, Timestamp,
};

use super::*;
use crate::config::OutboxConfig;
use crate::connect::{Endpoint, HubConnector, WebSocket, websocket_config};
use crate::outbox::{Folder, Outbox, Spool, SpoolLimits};
use crate::pipeline::{Judged, Pipeline, PipelineOptions, Seen, agent_event};
use crate::station::drive_spool;

const BOOT: BootId = BootId(3);

/// A clock that stands where the test put it, in seconds.
#[derive(Clone, Default)]
struct Stopped(Arc<Mutex<u64>>);

impl Clock for Stopped {
    fn now(&self) -> Moment {
        let seconds = *self.0.lock().unwrap();
        Moment {
            wall: Timestamp::from_millis(1_800_000_000_000 + i64::try_from(seconds).unwrap() * 1000),
            boot_millis: seconds * 1000,
        }
    }
}

struct Agent {
    station: Arc<Station>,
    clock: Stopped,
    commands: mpsc::Receiver<Command>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

fn station(clock: &Stopped, epoch: u64) -> Arc<Station> {
    let options = PipelineOptions {
        host: HostId::from_parts(1, 2),
        boot_id: BOOT,
        catalogue: Arc::new(Catalogue::builtin()),
        rules: Vec::new(),
        judged: Judged::default(),
    };
    let outbox = Outbox::new(epoch, OutboxConfig::default(), clock.now());
    Station::new(Pipeline::new(options, outbox), Arc::new(clock.clone()))
}

fn options() -> LinkOptions {
    LinkOptions { first_pause: Duration::from_millis(1), synchronised: || true, ..LinkOptions::new("test", 9) }
}

fn start(connector: impl Connector + 'static) -> Agent {
    let clock = Stopped::default();
    let station = station(&clock, 1);
    start_on(station, clock, connector)
}

fn start_on(station: Arc<Station>, clock: Stopped, connector: impl Connector + 'static) -> Agent {
    let (sender, commands) = mpsc::channel(8);
    let cancel = CancellationToken::new();
    let running = run(station.clone(), options(), connector, sender, cancel.clone());
    Agent { station, clock, commands, cancel, task: tokio::spawn(running) }
}

impl Agent {
    fn submit(&self, collector: &'static str) {
        let mut facet = Facet::owner("load", "load", "main");
        facet.read("load1", *self.clock.0.lock().unwrap() as f64);
        self.station.submit(Seen {
            collector: collector.into(),
            interval: Duration::from_secs(10),
            moment: self.clock.now(),
            clock_synchronised: true,
            scopes: vec![Scope::complete("load", vec![facet])],
        });
    }

    fn pass(&self, seconds: u64) {
        *self.clock.0.lock().unwrap() += seconds;
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }
}

/// Where connections of the agent come out.
trait Accept {
    type Transport: Transport;
    async fn accept(&mut self) -> Self::Transport;
}

struct TwinConnector(mpsc::Sender<Twin>);
struct TwinAccept(mpsc::Receiver<Twin>);

fn twins() -> (TwinConnector, TwinAccept) {
    let (sender, receiver) = mpsc::channel(1);
    (TwinConnector(sender), TwinAccept(receiver))
}

impl Connector for TwinConnector {
    type Transport = Twin;
    async fn connect(&mut self) -> Result<Twin, ConnectError> {
        let (ours, theirs) = twin(16);
        self.0.send(theirs).await.map_err(|_| ConnectError::Refused { status: 503, detail: String::new() })?;
        Ok(ours)
    }
}

impl Accept for TwinAccept {
    type Transport = Twin;
    async fn accept(&mut self) -> Twin {
        self.0.recv().await.unwrap()
    }
}

struct SocketAccept(TcpListener);

async fn sockets() -> (HubConnector, SocketAccept) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    (HubConnector::new(Endpoint::new(url, None, || true).unwrap(), "the-token"), SocketAccept(listener))
}

#[expect(clippy::result_large_err, reason = "the library's own signature")]
fn checked(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    assert_eq!(request.uri().path(), "/link");
    assert_eq!(request.headers()["authorization"], "Bearer the-token");
    assert_eq!(request.headers()["sec-websocket-protocol"], "tomte.v1");
    response.headers_mut().insert("sec-websocket-protocol", "tomte.v1".parse().unwrap());
    Ok(response)
}

impl Accept for SocketAccept {
    type Transport = WebSocket<TcpStream>;
    async fn accept(&mut self) -> WebSocket<TcpStream> {
        let (stream, _) = self.0.accept().await.unwrap();
        WebSocket(accept_hdr_async_with_config(stream, checked, Some(websocket_config())).await.unwrap())
    }
}

struct Hub<T: Transport> {
    sender: T::Sender,
    receiver: T::Receiver,
    link: HubLink,
    hello: Hello,
    waiting: VecDeque<FromAgent>,
}

impl<T: Transport> Hub<T> {
    async fn greet(transport: T) -> Self {
        Self::greet_as(transport, &[]).await
    }

    /// A hub that has those features.
    async fn greet_as(transport: T, features: &[&str]) -> Self {
        let (mut sender, mut receiver) = transport.split();
        let message = receiver.recv().await.unwrap().unwrap();
        let (link, hello) = HubLink::accept(&message, Limits::default()).unwrap();
        let welcome = Welcome {
            protocol: link.protocol(),
            generation: 1,
            server_time: Timestamp::from_millis(1_800_000_000_000),
            hub_version: "test".into(),
            host_name: "test".into(),
            heartbeat_millis: 15_000,
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        };
        sender.send(link.welcome(&welcome)).await.unwrap();
        Self { sender, receiver, link, hello, waiting: VecDeque::new() }
    }

    async fn hear(&mut self) -> FromAgent {
        loop {
            if let Some(said) = self.waiting.pop_front() {
                return said;
            }
            let message = self.receiver.recv().await.unwrap().unwrap();
            self.waiting.extend(self.link.handle(&message).unwrap());
        }
    }

    async fn heartbeat(&mut self) -> Heartbeat {
        loop {
            if let FromAgent::Heartbeat(heartbeat) = self.hear().await {
                return heartbeat;
            }
        }
    }

    async fn report(&mut self) -> (Report, Lane) {
        loop {
            if let FromAgent::Report { report, lane } = self.hear().await {
                return (report, lane);
            }
        }
    }

    async fn claim(&mut self) -> ClusterClaim {
        loop {
            if let FromAgent::Cluster(claim) = self.hear().await {
                return claim;
            }
        }
    }

    async fn ack(&mut self, position: Position) {
        let mut ranges = RangeSet::new();
        ranges.insert(position.sequence);
        let message = self.link.ack(position.epoch, &ranges);
        self.sender.send(message).await.unwrap();
    }
}

macro_rules! on_both {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        mod $name {
            #[tokio::test(start_paused = true)]
            async fn on_twins() {
                let (connector, accept) = super::twins();
                super::stories::$name(connector, accept).await;
            }
            #[tokio::test]
            async fn on_sockets() {
                let (connector, accept) = super::sockets().await;
                super::stories::$name(connector, accept).await;
            }
        }
    )*};
}

on_both! {
    reports_arrive_and_an_ack_ends_their_wait;
    what_was_not_acked_comes_again_with_the_same_position;
    what_the_hub_wants_reaches_the_agent;
    nonsense_from_the_hub_ends_the_connection_and_the_agent_lives;
    a_stopping_agent_says_goodbye_when_all_is_stored;
    a_report_the_hub_cannot_take_in_is_sent_again;
}

mod stories {
    use super::*;

    pub(super) async fn reports_arrive_and_an_ack_ends_their_wait(
        connector: impl Connector + 'static,
        mut accept: impl Accept,
    ) {
        let agent = start(connector);
        agent.submit("load");
        let mut hub = Hub::greet(accept.accept().await).await;
        assert_eq!((hub.hello.name.as_str(), hub.hello.instance, hub.hello.outbox_epoch), ("test", 9, 1));
        let (first, _) = hub.report().await;
        assert_eq!((first.position.sequence, first.boot_id, first.moment), (1, BOOT, agent.clock.now()));
        hub.ack(first.position).await;
        agent.pass(10);
        agent.submit("load");
        let (second, lane) = hub.report().await;
        assert_eq!((second.position.sequence, lane), (2, Lane::Live));
        hub.ack(second.position).await;
        agent.stop().await;
    }

    pub(super) async fn what_was_not_acked_comes_again_with_the_same_position(
        connector: impl Connector + 'static,
        mut accept: impl Accept,
    ) {
        let agent = start(connector);
        agent.submit("load");
        agent.submit("disk");
        let mut hub = Hub::greet(accept.accept().await).await;
        let before: BTreeSet<_> = [hub.report().await.0.position, hub.report().await.0.position].into();
        // Committed, and the connection dies before the ack is out.
        drop(hub);
        let mut hub = Hub::greet(accept.accept().await).await;
        let again: BTreeSet<_> = [hub.report().await.0.position, hub.report().await.0.position].into();
        assert_eq!(again, before);
        for position in again {
            hub.ack(position).await;
        }
        drop(hub);
        // Acked or not, the last of each collector opens a connection, with
        // the time at which it was read.
        agent.pass(100);
        let mut hub = Hub::greet(accept.accept().await).await;
        let (opening, lane) = hub.report().await;
        assert_eq!((opening.moment.boot_millis, lane), (0, Lane::Live));
        drop(hub);
        agent.cancel.cancel();
        agent.task.await.unwrap();
    }

    pub(super) async fn what_the_hub_wants_reaches_the_agent(
        connector: impl Connector + 'static,
        mut accept: impl Accept,
    ) {
        let mut agent = start(connector);
        let mut hub = Hub::greet(accept.accept().await).await;
        assert!(matches!(agent.commands.recv().await, Some(Command::Welcomed { .. })));
        let live = hub.link.live(&Live { interval_millis: 1_000, lease_millis: 30_000 });
        hub.sender.send(live).await.unwrap();
        assert!(matches!(
            agent.commands.recv().await,
            Some(Command::Live { interval_millis: 1_000, lease_millis: 30_000 })
        ));
        let refresh = hub.link.refresh(&["load".to_owned()]);
        hub.sender.send(refresh).await.unwrap();
        assert!(matches!(agent.commands.recv().await, Some(Command::Refresh { collectors }) if collectors == ["load"]));
        let push = SettingsPush { revision: 7, values: vec![("hub".into(), "\"https://evil\"".into())] };
        hub.sender.send(hub.link.settings(&push)).await.unwrap();
        let Some(Command::Settings { push: arrived, answer }) = agent.commands.recv().await else { panic!("settings") };
        assert_eq!(arrived, push);
        let verdict = SettingsResult { revision: 7, refused: vec![("hub".into(), "never".into())] };
        answer.send(verdict.clone()).unwrap();
        let answered = loop {
            if let FromAgent::SettingsResult(result) = hub.hear().await {
                break result;
            }
        };
        assert_eq!(answered, verdict);
        // Nobody answers: nothing is taken.
        hub.sender.send(hub.link.settings(&push)).await.unwrap();
        drop(agent.commands.recv().await);
        let answered = loop {
            if let FromAgent::SettingsResult(result) = hub.hear().await {
                break result;
            }
        };
        assert_eq!(answered.refused.len(), 1);
        agent.stop().await;
    }

    pub(super) async fn nonsense_from_the_hub_ends_the_connection_and_the_agent_lives(
        connector: impl Connector + 'static,
        mut accept: impl Accept,
    ) {
        let agent = start(connector);
        let mut hub = Hub::greet(accept.accept().await).await;
        hub.sender.send(bytes::Bytes::from_static(b"\xff\xff\xff\xff nonsense")).await.unwrap();
        let ended = loop {
            match hub.receiver.recv().await {
                Some(Ok(message)) => {
                    let said = hub.link.handle(&message).unwrap();
                    let close = said.into_iter().find_map(|said| match said {
                        FromAgent::Close { code, .. } => Some(code),
                        _ => None,
                    });
                    if let Some(code) = close {
                        break code;
                    }
                }
                other => panic!("closed without a reason: {other:?}"),
            }
        };
        assert_eq!(ended, CloseCode::Malformed);
        drop(hub);
        let mut hub = Hub::greet(accept.accept().await).await;
        hub.heartbeat().await;
        agent.stop().await;
    }

    pub(super) async fn a_stopping_agent_says_goodbye_when_all_is_stored(
        connector: impl Connector + 'static,
        mut accept: impl Accept,
    ) {
        let agent = start(connector);
        let mut hub = Hub::greet(accept.accept().await).await;
        hub.heartbeat().await;
        let at = agent.clock.now().wall;
        let event = agent_event(at, EventKind::AGENT_STOPPED, Severity::Info, "the agent stopped", &[]);
        agent.station.raise(event, true);
        agent.cancel.cancel();
        let (report, _) = hub.report().await;
        assert_eq!(report.events[0].kind, EventKind::AGENT_STOPPED);
        hub.ack(report.position).await;
        loop {
            if let FromAgent::Close { code, .. } = hub.hear().await {
                assert_eq!(code, CloseCode::GoingAway);
                break;
            }
        }
        agent.task.await.unwrap();
        assert_eq!(agent.station.pipeline().outbox().waiting(), 0);
    }

    pub(super) async fn a_report_the_hub_cannot_take_in_is_sent_again(
        connector: impl Connector + 'static,
        mut accept: impl Accept,
    ) {
        let agent = start(connector);
        let mut hub = Hub::greet(accept.accept().await).await;
        agent.submit("load");
        let (first, _) = hub.report().await;
        hub.ack(first.position).await;
        // The hub loses a message, and with it the base of the next one.
        agent.pass(10);
        agent.submit("load");
        hub.receiver.recv().await.unwrap().unwrap();
        agent.pass(10);
        agent.submit("load");
        let resend = loop {
            match hub.hear().await {
                FromAgent::BaseUnknown(resend) => break resend,
                FromAgent::Report { .. } => panic!("a report on an unknown base"),
                _ => {}
            }
        };
        assert_eq!(resend.position.sequence, 3);
        let message = hub.link.resend(&resend);
        hub.sender.send(message).await.unwrap();
        let (again, _) = hub.report().await;
        assert_eq!(again.position.sequence, 3);
        agent.cancel.cancel();
        drop(hub);
        agent.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_a_frame_is_made_again() {
    let (connector, mut accept) = sockets().await;
    let agent = start(connector);
    agent.submit("load");
    let mut socket = accept.accept().await;
    // A frame that promises 4 KB and brings nine bytes.
    socket.0.get_mut().write_all(&[0x82, 126, 0x10, 0x00, 1, 2, 3, 4, 5]).await.unwrap();
    drop(socket);
    let mut hub = Hub::greet(accept.accept().await).await;
    assert_eq!(hub.report().await.0.position.sequence, 1);
    agent.cancel.cancel();
    drop(hub);
    agent.task.await.unwrap();
}

#[tokio::test]
async fn a_refused_token_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let mut connector = HubConnector::new(Endpoint::new(url, None, || true).unwrap(), "the-token");
    let refuse = async {
        let (stream, _) = listener.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "the library's own signature")]
        let refuse = |_: &Request, _: Response| {
            let body = r#"{"type":"urn:tomte:problem:unauthorised","title":"who are you","status":401}"#;
            let mut response = ErrorResponse::new(Some(body.to_owned()));
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            Err(response)
        };
        accept_hdr_async_with_config(stream, refuse, None).await
    };
    let (connected, _) = tokio::join!(connector.connect(), refuse);
    let error = connected.unwrap_err();
    assert!(error.is_unauthorised());
    assert!(error.to_string().contains("401: who are you"), "{error}");
    let end = LinkEnd::from(error);
    assert!(end.is_lasting() && end.cure().is_some_and(|cure| cure.contains("tomte-agent enroll")));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_go_on_while_nothing_is_acked_and_a_silent_hub_is_left() {
    let (connector, mut accept) = twins();
    let agent = start(connector);
    let mut hub = Hub::greet(accept.accept().await).await;
    let began = Instant::now();
    for _ in 0..400 {
        agent.submit("load");
    }
    let mut beats = Vec::new();
    while beats.len() < 3 {
        beats.push(hub.heartbeat().await.backlog_reports);
    }
    assert_eq!(began.elapsed(), Duration::from_secs(30), "one at once, then every 15 s");
    assert!(beats[1..].iter().all(|waiting| *waiting == 400), "{beats:?}");
    // The hub has not said a word for 45 s: the line is taken for dead.
    let mut next = Hub::greet(accept.accept().await).await;
    assert_eq!(began.elapsed().as_secs(), 45);
    assert_eq!(next.heartbeat().await.backlog_reports, 400);
    agent.cancel.cancel();
    drop((hub, next));
    agent.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_day_of_backlog_arrives_and_live_data_does_not_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Stopped::default();
    let station = station(&clock, 1);
    let limits = SpoolLimits { bytes: 64_000_000, max_age: Duration::from_secs(7 * 86_400) };
    let mut spool = Spool::open(Box::new(Folder::new(folder.path())), limits, 1, BOOT).unwrap();
    station.pipeline().outbox_mut().attach(&mut spool);
    let disk = CancellationToken::new();
    let driver = tokio::spawn(drive_spool(station.clone(), spool, disk.clone()));

    // The hub is away for a day.
    let (connector, mut accept) = twins();
    let (sender, commands) = mpsc::channel(8);
    let cancel = CancellationToken::new();
    let agent =
        Agent { station: station.clone(), clock, commands, cancel: cancel.clone(), task: tokio::spawn(async {}) };
    for _ in 0..8_640 {
        agent.pass(10);
        agent.submit("load");
        if agent.clock.0.lock().unwrap().is_multiple_of(600) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    let link = tokio::spawn(run(station.clone(), options(), connector, sender, cancel.clone()));
    let mut hub = Hub::greet(accept.accept().await).await;
    let (newest, lane) = hub.report().await;
    assert_eq!((newest.position.sequence, lane), (8_640, Lane::Live), "what is newest opens");
    let mut got = BTreeSet::from([newest.position.sequence]);
    hub.ack(newest.position).await;
    let mut overtaken = 0;
    let mut fresh = None;
    while got.len() < 8_641 {
        if got.len() == 1_000 && fresh.is_none() {
            agent.pass(10);
            agent.submit("load");
            fresh = Some(8_641);
        }
        let (report, lane) = hub.report().await;
        assert!(got.insert(report.position.sequence), "{} came twice", report.position.sequence);
        if lane == Lane::Live {
            assert_eq!(fresh, Some(report.position.sequence));
            overtaken = got.len() - 1_000;
        }
        hub.ack(report.position).await;
    }
    assert!((1..=600).contains(&overtaken), "live waited for {overtaken} of the backlog");
    while station.pipeline().outbox().waiting() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cancel.cancel();
    disk.cancel();
    drop(hub);
    link.await.unwrap();
    driver.await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A hub to which many agents come back at once has much to write; what is
/// live must not wait behind all that could be on its way.
#[tokio::test(start_paused = true)]
async fn a_slow_hub_is_sent_less_at_once_so_that_live_data_comes_through() {
    let (connector, mut accept) = twins();
    let clock = Stopped::default();
    let station = station(&clock, 1);
    let (sender, commands) = mpsc::channel(8);
    let cancel = CancellationToken::new();
    let agent =
        Agent { station: station.clone(), clock, commands, cancel: cancel.clone(), task: tokio::spawn(async {}) };
    for _ in 0..2_500 {
        agent.pass(10);
        agent.submit("load");
    }
    assert_eq!(station.pipeline().outbox().waiting(), 2_500, "nothing had to be dropped");
    let link = tokio::spawn(run(station, options(), connector, sender, cancel.clone()));
    let mut hub = Hub::greet(accept.accept().await).await;
    let mut waits = Vec::new();
    let mut submitted = None;
    for count in 1..2_400 {
        if count % 500 == 0 {
            agent.pass(10);
            agent.submit("load");
            submitted = Some(tokio::time::Instant::now());
        }
        let (report, lane) = hub.report().await;
        if lane == Lane::Live
            && let Some(at) = submitted.take()
        {
            waits.push(at.elapsed().as_millis());
        }
        // Fifty reports a second.
        tokio::time::sleep(Duration::from_millis(20)).await;
        hub.ack(report.position).await;
    }
    assert_eq!(waits.len(), 4);
    assert!(waits.iter().all(|wait| *wait < 4_000), "live data waited for {waits:?} ms");
    cancel.cancel();
    drop(hub);
    link.await.unwrap();
}

fn home(quorate: bool) -> Membership {
    let nodes = vec!["pve1".to_owned(), "pve2".to_owned()];
    let (id, name, node) = ("AB".into(), "home".into(), "pve1".into());
    Membership { id, name, node, nodes, quorate, readable: true }
}

fn guests(of: &Report) -> Vec<String> {
    of.scopes.iter().flat_map(|scope| &scope.facets).map(|facet| facet.resource.to_string()).collect()
}

/// A node of a cluster with a guest on it, told as the standing wants it.
fn look(agent: &Agent, seat: &Seat) {
    let guest = |number: &str| {
        let mut facet = Facet::owner("guest", number.to_owned(), "runtime");
        facet.read("memory_used_ratio", 0.999);
        facet
    };
    let own = vec![Scope::complete("guest/lxc", vec![guest("101"), Facet::owner("node", "pve1", "main")])];
    let elsewhere = [ResourceKey::new("guest", "101")].into();
    let shared = match seat.standing() {
        Standing::Own => None,
        Standing::Elsewhere => Some(Shared { elsewhere, cluster: None }),
        Standing::Ours(host) => {
            let all = vec![Scope::complete("guest/lxc", vec![guest("101"), guest("102")])];
            Some(Shared { elsewhere, cluster: Some((host, all)) })
        }
    };
    let seen = Seen {
        collector: "proxmox".into(),
        interval: Duration::from_secs(60),
        moment: agent.clock.now(),
        clock_synchronised: true,
        scopes: own,
    };
    agent.station.submit_shared(seen, shared);
}

/// What else the hub has the agent do passes by.
async fn until_cluster(commands: &mut mpsc::Receiver<Command>) {
    while !matches!(commands.recv().await.expect("the link runs"), Command::Cluster) {}
}

#[tokio::test(start_paused = true)]
async fn a_cluster_is_told_of_by_whom_the_hub_lets() {
    let (connector, mut accept) = twins();
    let clock = Stopped::default();
    let (sender, mut commands) = mpsc::channel(8);
    let cancel = CancellationToken::new();
    let seat = Arc::new(Seat::default());
    let station = station(&clock, 1);
    let with_seat = LinkOptions { seat: seat.clone(), ..options() };
    let running = run(station.clone(), with_seat, connector, sender, cancel.clone());
    let task = tokio::spawn(running);
    let (_, no_commands) = mpsc::channel(1);
    let agent = Agent { station, clock, commands: no_commands, cancel, task };
    let mut hub = Hub::greet_as(accept.accept().await, &[CLUSTERS]).await;

    // As long as nothing is decided, the guests are the node's.
    seat.see(home(true));
    look(&agent, &seat);
    assert_eq!(hub.claim().await.name, "home");
    assert_eq!(guests(&hub.report().await.0), ["guest:101", "node:pve1"]);

    // It is let: those of all nodes are the cluster's.
    let cluster = HostId::from_parts(7, 7);
    let grant =
        ClusterGrant { id: "AB".into(), host: Some(cluster), holder: true, reason: String::new(), problems: vec![] };
    hub.sender.send(hub.link.cluster(&grant)).await.unwrap();
    until_cluster(&mut commands).await;
    assert_eq!(seat.standing(), Standing::Ours(cluster));
    agent.pass(400);
    look(&agent, &seat);
    let (own, of_cluster) = (hub.report().await.0, hub.report().await.0);
    assert_eq!((own.host, guests(&own)), (hub.hello.host, vec!["node:pve1".to_owned()]));
    assert_eq!((of_cluster.host, guests(&of_cluster)), (cluster, vec!["guest:101".to_owned(), "guest:102".to_owned()]));
    // On the node itself, its own are still shown.
    assert!(agent.station.pipeline().latest().resource(&ResourceKey::new("guest", "101")).is_some());
    assert!(agent.station.pipeline().latest().resource(&ResourceKey::new("guest", "102")).is_none());

    // What changed is told, and nothing else.
    seat.see(home(true));
    seat.see(home(false));
    look(&agent, &seat);
    assert!(!hub.claim().await.quorate);

    // Another one does: nothing of the cluster comes from here, also not what was last read.
    let lost = ClusterGrant { holder: false, ..grant.clone() };
    hub.sender.send(hub.link.cluster(&lost)).await.unwrap();
    until_cluster(&mut commands).await;
    drop(hub);
    let mut hub = Hub::greet_as(accept.accept().await, &[CLUSTERS]).await;
    agent.pass(60);
    look(&agent, &seat);
    let moment = agent.clock.now();
    loop {
        let (report, _) = hub.report().await;
        if report.host == hub.hello.host && report.moment == moment {
            assert_eq!(guests(&report), ["node:pve1"]);
            break;
        }
    }

    // A new holder goes on from what is known to be wrong, and says it not again.
    let problem = ClusterProblem {
        resource: "guest:102".into(),
        facet: "runtime".into(),
        field: "memory_used_ratio".into(),
        status: Status::Critical,
        since: Timestamp::from_millis(5),
    };
    hub.sender.send(hub.link.cluster(&ClusterGrant { problems: vec![problem], ..grant })).await.unwrap();
    until_cluster(&mut commands).await;
    look(&agent, &seat);
    let of_cluster = loop {
        let (report, lane) = hub.report().await;
        if report.host == cluster && lane == Lane::Live && report.moment == moment {
            break report;
        }
    };
    let judged = of_cluster.scopes[0].facets[1].assessment.clone().unwrap();
    assert_eq!((judged.status, judged.problems[0].since.millis()), (Status::Critical, 5));
    assert!(of_cluster.events.is_empty(), "{:?}", of_cluster.events);

    // A hub that knows no clusters: everything is the node's again.
    drop(hub);
    let mut hub = Hub::greet(accept.accept().await).await;
    until_cluster(&mut commands).await;
    assert_eq!(seat.standing(), Standing::Own);
    agent.pass(60);
    look(&agent, &seat);
    let moment = agent.clock.now();
    loop {
        let (report, _) = hub.report().await;
        if report.host == hub.hello.host && report.moment == moment {
            assert_eq!(guests(&report), ["guest:101", "node:pve1"]);
            break;
        }
    }
    agent.cancel.cancel();
    drop(hub);
    agent.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_declared_until_the_hub_has_heard_it() {
    let clock = Stopped::default();
    let small = OutboxConfig { memory_limit: 3_000, disk_limit: 0, ..OutboxConfig::default() };
    let station = station(&clock, 1);
    station.pipeline().outbox_mut().set_limits(small);
    let (connector, mut accept) = twins();
    let agent = start_on(station, clock, connector);
    for _ in 0..200 {
        agent.submit("load");
    }
    let gap = |said: FromAgent| match said {
        FromAgent::Gap(gap) => Some(gap),
        _ => None,
    };
    let mut hub = Hub::greet(accept.accept().await).await;
    let told = loop {
        if let Some(gap) = gap(hub.hear().await) {
            break gap;
        }
    };
    assert_eq!((told.epoch, told.first, told.count), (1, 1, told.last));
    drop(hub);
    // It died before it could answer: told again.
    let mut hub = Hub::greet(accept.accept().await).await;
    let again = loop {
        if let Some(gap) = gap(hub.hear().await) {
            break gap;
        }
    };
    assert_eq!(again, told);
    agent.pass(15);
    let beat = hub.heartbeat().await;
    let echo = if beat.moment.boot_millis > 0 { beat } else { hub.heartbeat().await };
    let answer = hub.link.heartbeat(echo.moment.boot_millis, agent.clock.now().wall);
    hub.sender.send(answer).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(agent.station.pipeline().outbox().gaps().is_empty());
    agent.cancel.cancel();
    drop(hub);
    agent.task.await.unwrap();
}

/// Counts attempts, each refused in the same way.
struct Refuses(Arc<Mutex<Vec<Instant>>>, u16);
impl Connector for Refuses {
    type Transport = Twin;
    async fn connect(&mut self) -> Result<Twin, ConnectError> {
        self.0.lock().unwrap().push(Instant::now());
        Err(ConnectError::Refused { status: self.1, detail: String::new() })
    }
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_to_a_minute_and_a_refused_token_is_tried_slowly() {
    for (status, most_in_first_minute) in [(503_u16, 20), (401, 3)] {
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let agent = start(Refuses(attempts.clone(), status));
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        agent.stop().await;
        let attempts = attempts.lock().unwrap();
        let first = attempts.iter().filter(|at| attempts[0] + Duration::from_secs(60) > **at).count();
        assert!(first <= most_in_first_minute, "{status}: {first}");
        assert!((60..=140).contains(&attempts.len()), "{status}: {} in an hour", attempts.len());
        let longest = attempts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= Duration::from_secs(61), "{longest:?}");
    }
}

#[test]
fn displacing_each_other_grows_slower_and_a_good_connection_forgives() {
    let mut backoff = Backoff { first: Duration::from_secs(1), attempts: 0 };
    let displaced = LinkEnd::Closed { code: CloseCode::Displaced, reason: String::new() };
    assert!(displaced.cure().is_some_and(|cure| cure.contains("cloned")));
    let pauses: Vec<_> = (0..9).map(|_| backoff.pause(&displaced, Duration::from_secs(2), 1.0).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!(backoff.pause(&displaced, Duration::from_secs(300), 0.0), Duration::from_millis(500));
}
