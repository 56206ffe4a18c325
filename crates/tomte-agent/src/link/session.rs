//! One connection, from hello to its end.
//!
//! Two loops run side by side: one sends, one receives. They share the link's
//! state, which neither holds over a wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tomte_collect::Standing;
use tomte_link::{
    ACTIONS, AgentLink, CLUSTERS, CloseCode, ClusterClaim, ClusterProblem, FromHub, Gap, Heartbeat, Hello, Lane, Live,
    PROTOCOL_MAX, PROTOCOL_MIN, Receiver, Resend, Sender, SettingsPush, SettingsResult, Transport, Welcome,
};
use tomte_model::Report;
use tracing::{debug, info, warn};

use super::pace::Pace;
use super::{LinkEnd, LinkOptions};
use crate::station::{Command, Station};

/// How long the hub may take to answer the hello.
const WELCOME_WITHIN: Duration = Duration::from_secs(15);
/// The heartbeat, unless the hub wants another one.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// This many heartbeats without a word from the hub end the connection.
const SILENT_BEATS: u32 = 3;
/// At most this many reports in one message.
const BATCH: usize = 32;
/// How long the rest of the agent may take over pushed settings.
const SETTINGS_WITHIN: Duration = Duration::from_secs(20);
/// How long a stopping agent waits for what it sent to be stored.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// What the two loops share.
struct Shared<'a> {
    station: &'a Station,
    options: &'a LinkOptions,
    link: Mutex<AgentLink>,
    /// Short messages that go before any report.
    control: Mutex<VecDeque<Bytes>>,
    /// Whether the hub knows clusters, and what it was last told of one.
    cluster: Mutex<(bool, Option<ClusterClaim>)>,
    /// Gaps that were told, and the boot time after which an echo confirms them.
    told_gaps: Mutex<(Vec<Gap>, u64)>,
    pace: Mutex<Pace>,
    /// Whether the hub takes Actions.
    tells_actions: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a connection to its end. `welcomed` is called when the hub has let the
/// agent in.
pub(super) async fn run<T: Transport>(
    station: &Arc<Station>,
    options: &LinkOptions,
    transport: T,
    commands: &mpsc::Sender<Command>,
    cancel: &CancellationToken,
    welcomed: impl FnOnce(),
) -> LinkEnd {
    let (mut sender, mut receiver) = transport.split();
    let (hello, catalogue) = {
        let pipeline = station.pipeline();
        let hello = Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            agent_version: options.version.clone(),
            host: pipeline.host(),
            name: options.name.clone(),
            boot_id: pipeline.boot_id(),
            outbox_epoch: pipeline.outbox().epoch(),
            instance: options.instance,
            features: vec![ACTIONS.to_owned()],
            publishes_mqtt: options.publishes_mqtt,
        };
        (hello, pipeline.catalogue().clone())
    };
    let mut link = AgentLink::new(hello, catalogue);
    let handshake = async {
        sender.send(link.hello()).await?;
        greet(&mut link, &mut receiver).await
    };
    let (welcome, more) = tokio::select! {
        greeted = timeout(WELCOME_WITHIN, handshake) => match greeted {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(end)) => return end,
            Err(_) => return LinkEnd::Silent(WELCOME_WITHIN),
        },
        () = cancel.cancelled() => return LinkEnd::Stopping,
    };
    let tells_actions = welcome.features.iter().any(|feature| feature == ACTIONS);
    if tells_actions {
        // What an earlier connection did not bring across is told again.
        let _ = commands.try_send(Command::TellActions);
    }
    welcomed();
    tell_skew(station, &welcome);
    let told = Command::Welcomed { name: welcome.host_name.clone(), hub_version: welcome.hub_version.clone() };
    if commands.try_send(told).is_err() {
        warn!("the agent is too busy to take note of its name");
    }
    let beat = match welcome.heartbeat_millis {
        0 => HEARTBEAT,
        millis => Duration::from_millis(millis.into()).clamp(Duration::from_secs(1), Duration::from_secs(60)),
    };
    let knows_clusters = welcome.features.iter().any(|feature| feature == CLUSTERS);
    let shared = Shared {
        station,
        options,
        link: Mutex::new(link),
        control: Mutex::default(),
        cluster: Mutex::new((knows_clusters, None)),
        told_gaps: Mutex::default(),
        pace: Mutex::new(Pace::new()),
        tells_actions,
    };
    if !knows_clusters {
        let (id, _) = options.seat.decided();
        shared.decide(&id, Standing::Own, Vec::new(), "the hub knows no clusters", commands);
    }
    let connected = Connected::new(station);
    let receive = async {
        for said in more {
            shared.heard(said, commands).await?;
        }
        receive(&shared, &mut receiver, commands, beat * SILENT_BEATS).await
    };
    let end = tokio::select! {
        end = async { receive.await.err().unwrap_or(LinkEnd::Stopping) } => end,
        end = send(&shared, &mut sender, beat) => end,
        () = quiet(station, cancel) => LinkEnd::Stopping,
    };
    drop(connected);
    let goodbye = match &end {
        LinkEnd::Stopping => Some((CloseCode::GoingAway, "the agent stops".to_owned())),
        LinkEnd::Protocol(error) => Some((error.close_code(), error.to_string())),
        LinkEnd::Silent(_) => Some((CloseCode::TimedOut, "silent for too long".to_owned())),
        _ => None,
    };
    if let Some((code, reason)) = goodbye {
        let message = lock(&shared.link).close(code, &reason);
        // It may be gone already; then there is nobody to say goodbye to.
        let _ = timeout(Duration::from_secs(1), async {
            sender.send(message).await?;
            sender.close(code, &reason).await
        })
        .await;
    }
    end
}

/// Tells the outbox of the connection, and of its end, also when whoever runs
/// it drops it in the middle.
struct Connected<'a>(&'a Station);

impl<'a> Connected<'a> {
    fn new(station: &'a Station) -> Self {
        station.pipeline().outbox_mut().connected();
        station.to_store.notify_one();
        Self(station)
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.pipeline().outbox_mut().disconnected(self.0.clock().now());
        self.0.to_store.notify_one();
    }
}

/// Waits for the welcome; what came in the same message is returned too.
async fn greet<R: Receiver>(link: &mut AgentLink, receiver: &mut R) -> Result<(Welcome, Vec<FromHub>), LinkEnd> {
    loop {
        let message = receiver.recv().await.ok_or(tomte_link::TransportError::Closed)??;
        let mut said = link.handle(&message)?.into_iter();
        while let Some(first) = said.next() {
            match first {
                FromHub::Welcome(welcome) => return Ok((welcome, said.collect())),
                FromHub::Close { code, reason } => return Err(LinkEnd::Closed { code, reason }),
                _ => {}
            }
        }
    }
}

/// Ends when the agent stops and what was sent is stored, or after a while.
async fn quiet(station: &Station, cancel: &CancellationToken) {
    cancel.cancelled().await;
    let stored = async {
        while station.pipeline().outbox().waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let _ = timeout(STOP_WITHIN, stored).await;
}

fn tell_skew(station: &Station, welcome: &Welcome) {
    let ours = station.clock().now().wall.millis();
    let ahead = ours.saturating_sub(welcome.server_time.millis()) / 1000;
    if ahead.abs() > 60 {
        warn!(seconds_ahead = ahead, "this host's clock and the hub's disagree");
    }
}

async fn receive<R: Receiver>(
    shared: &Shared<'_>,
    receiver: &mut R,
    commands: &mpsc::Sender<Command>,
    silence: Duration,
) -> Result<(), LinkEnd> {
    loop {
        let Ok(received) = timeout(silence, receiver.recv()).await else { return Err(LinkEnd::Silent(silence)) };
        let message = received.ok_or(tomte_link::TransportError::Closed)??;
        let said = lock(&shared.link).handle(&message)?;
        for said in said {
            shared.heard(said, commands).await?;
        }
    }
}

impl Shared<'_> {
    async fn heard(&self, said: FromHub, commands: &mpsc::Sender<Command>) -> Result<(), LinkEnd> {
        match said {
            FromHub::Ack { epoch, ranges } => {
                lock(&self.pace).acked(epoch, &ranges, Instant::now());
                let mut pipeline = self.station.pipeline();
                pipeline.outbox_mut().ack(epoch, &ranges);
                // Mostly all is on its way, and there is room for more.
                if pipeline.outbox().has_unsent() {
                    self.station.to_send.notify_one();
                }
                drop(pipeline);
                self.station.to_store.notify_one();
            }
            FromHub::Resend(Resend { position, .. }) => {
                self.station.pipeline().outbox_mut().resend(position);
                self.station.to_send.notify_one();
                self.station.to_store.notify_one();
            }
            FromHub::Settings(push) => {
                let result = settings(push, commands).await;
                let message = lock(&self.link).settings_result(&result);
                self.say(message);
            }
            FromHub::Live(Live { interval_millis, lease_millis }) => {
                self.command(commands, Command::Live { interval_millis, lease_millis });
            }
            FromHub::Refresh { collectors } => self.command(commands, Command::Refresh { collectors }),
            FromHub::Decide(decision) => self.command(commands, Command::Decide(decision)),
            FromHub::Heartbeat { echo, .. } => {
                let told = {
                    let mut told = lock(&self.told_gaps);
                    if echo > told.1 { std::mem::take(&mut told.0) } else { Vec::new() }
                };
                if !told.is_empty() {
                    self.station.pipeline().outbox_mut().gaps_told(&told);
                    self.station.to_store.notify_one();
                }
            }
            FromHub::Cluster(grant) => {
                let standing = match (grant.host, grant.holder) {
                    (Some(host), true) => Standing::Ours(host),
                    (Some(_), false) => Standing::Elsewhere,
                    (None, _) => Standing::Own,
                };
                self.decide(&grant.id, standing, grant.problems, &grant.reason, commands);
            }
            FromHub::Close { code, reason } => return Err(LinkEnd::Closed { code, reason }),
            FromHub::Welcome(_) | FromHub::Unknown(_) => {}
        }
        Ok(())
    }

    /// It was decided who tells of the cluster.
    fn decide(
        &self,
        id: &str,
        standing: Standing,
        problems: Vec<ClusterProblem>,
        reason: &str,
        commands: &mpsc::Sender<Command>,
    ) {
        let before = self.options.seat.decide(id, standing);
        if before == standing {
            return;
        }
        info!(reason, ?standing, "who tells of the cluster has changed");
        {
            let mut pipeline = self.station.pipeline();
            if let Standing::Ours(host) = before {
                pipeline.hand_over(host);
            }
            if let Standing::Ours(host) = standing {
                pipeline.take_over(host, problems.into_iter().filter_map(standing_problem));
            }
        }
        self.command(commands, Command::Cluster);
    }

    /// What the hub has not been told of the host's cluster.
    fn claim(&self) -> Option<Bytes> {
        let membership = self.options.seat.membership()?;
        let claim = ClusterClaim {
            id: membership.id,
            name: membership.name,
            node: membership.node,
            nodes: membership.nodes,
            quorate: membership.quorate,
            readable: membership.readable,
        };
        let mut told = lock(&self.cluster);
        // A host without a cluster has nothing to say, unless it had one.
        let news = match &told.1 {
            None => !claim.id.is_empty() || self.options.seat.decided().1 != Standing::Own,
            Some(before) => *before != claim,
        };
        if !told.0 || !news {
            return None;
        }
        let message = lock(&self.link).cluster(&claim);
        told.1 = Some(claim);
        Some(message)
    }

    /// A wish that cannot be fulfilled at once is forgotten: the next one will
    /// come.
    fn command(&self, commands: &mpsc::Sender<Command>, command: Command) {
        if let Err(error) = commands.try_send(command) {
            debug!(%error, "a wish of the hub was dropped");
        }
    }

    fn say(&self, message: Bytes) {
        lock(&self.control).push_back(message);
        self.station.to_send.notify_one();
    }

    /// Messages that declare gaps which this connection has not told yet.
    fn gaps(&self) -> Vec<Bytes> {
        let pipeline = self.station.pipeline();
        let gaps = pipeline.outbox().gaps();
        if gaps.is_empty() {
            return Vec::new();
        }
        let mut told = lock(&self.told_gaps);
        let new: Vec<Gap> = gaps.iter().filter(|gap| !told.0.contains(gap)).copied().collect();
        if !new.is_empty() {
            told.1 = self.station.clock().now().boot_millis;
            told.0.extend_from_slice(&new);
        }
        let link = lock(&self.link);
        new.iter().map(|gap| link.gap(gap)).collect()
    }

    fn heartbeat(&self) -> Bytes {
        let heartbeat = {
            let pipeline = self.station.pipeline();
            let outbox = pipeline.outbox();
            Heartbeat {
                moment: self.station.clock().now(),
                clock_synchronised: (self.options.synchronised)(),
                backlog_reports: outbox.waiting(),
                backlog_bytes: outbox.waiting_bytes(),
                oldest: outbox.oldest(),
            }
        };
        lock(&self.link).heartbeat(&heartbeat)
    }

    /// The next reports, all of one lane, as messages.
    fn reports(&self) -> Vec<Bytes> {
        let mut batch: Vec<Arc<Report>> = Vec::new();
        let mut lane = Lane::Live;
        let mut pipeline = self.station.pipeline();
        let outbox = pipeline.outbox_mut();
        let mut pace = lock(&self.pace);
        outbox.limit_backlog(pace.window());
        while batch.len() < BATCH
            && let Some((of, report)) = outbox.send_next((!batch.is_empty()).then_some(lane))
        {
            lane = of;
            batch.push(report);
        }
        if let Some(last) = batch.last()
            && lane == Lane::Backlog
            && outbox.backlog_on_its_way() >= pace.window()
        {
            pace.filled(last.position, Instant::now());
        }
        drop(pace);
        if batch.is_empty() {
            return Vec::new();
        }
        let (messages, refused) = lock(&self.link).reports(batch.iter().map(AsRef::as_ref), lane);
        for (place, error) in refused {
            let report = &batch[place];
            warn!(%error, collector = %report.collector, "a report is more than hubs take, and was dropped");
            outbox.refuse(report.position);
        }
        messages
    }
}

fn standing_problem(problem: ClusterProblem) -> Option<tomte_model::assess::Standing> {
    let ClusterProblem { resource, facet, field, status, since } = problem;
    let resource = resource.parse().ok()?;
    Some(tomte_model::assess::Standing { resource, facet: facet.into(), field: field.into(), status, since })
}

async fn settings(push: SettingsPush, commands: &mpsc::Sender<Command>) -> SettingsResult {
    let revision = push.revision;
    let keys: Vec<String> = push.values.iter().map(|(key, _)| key.clone()).collect();
    let (answer, answered) = oneshot::channel();
    let asked = async {
        commands.send(Command::Settings { push, answer }).await.ok()?;
        answered.await.ok()
    };
    // Whoever does not answer takes nothing.
    timeout(SETTINGS_WITHIN, asked).await.ok().flatten().unwrap_or_else(|| SettingsResult {
        revision,
        refused: keys.into_iter().map(|key| (key, "this host takes no settings".to_owned())).collect(),
    })
}

fn station_actions(shared: &Shared<'_>) -> Vec<Bytes> {
    let actions = shared.station.take_actions();
    let link = lock(&shared.link);
    actions.iter().map(|action| link.action(action)).collect()
}

async fn send<S: Sender>(shared: &Shared<'_>, sender: &mut S, beat: Duration) -> LinkEnd {
    // The first one at once: it tells the hub the state of the clock.
    let mut next_beat = Instant::now();
    loop {
        loop {
            let message = { lock(&shared.control).pop_front() };
            let Some(message) = message else { break };
            if let Err(error) = sender.send(message).await {
                return error.into();
            }
        }
        let mut messages = shared.gaps();
        messages.extend(shared.claim());
        if shared.tells_actions {
            let actions = station_actions(shared);
            messages.extend(actions);
        }
        if Instant::now() >= next_beat {
            next_beat = Instant::now() + beat;
            messages.push(shared.heartbeat());
        }
        let reports = shared.reports();
        let more = !reports.is_empty();
        messages.extend(reports);
        shared.station.to_store.notify_one();
        for message in messages {
            if let Err(error) = sender.send(message).await {
                return error.into();
            }
        }
        if more {
            continue;
        }
        tokio::select! {
            () = shared.station.to_send.notified() => {
                // A round is submitted in one go, and is one message and not ten. Each
                // of its reports has rung: that is one reason to look, not two.
                tokio::task::yield_now().await;
                let _ = shared.station.to_send.notified().now_or_never();
            }
            () = tokio::time::sleep_until(next_beat) => {}
        }
    }
}
