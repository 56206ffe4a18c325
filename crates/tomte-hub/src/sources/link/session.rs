//! One connection, from hello to goodbye.
//!
//! It is generic over what carries the messages, so that the in-process twin
//! runs the same code as the socket. One task reads and decides, one sends.
//! What is to be sent is kept as "what is true now" and not as a queue: acks
//! add up, leases and settings are the newest ones; so a slow agent costs
//! nothing. Reports are acknowledged when they are durable, never before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tomte_link::{
    ACTIONS, CLUSTERS, CloseCode, ClusterClaim, Decision, FromAgent, Gap, Heartbeat, Hello, HubLink, Limits, Live,
    Receiver, Resend, Sender, SettingsPush, SettingsResult, Transport, TransportError, Welcome,
};
use tomte_model::{Event, EventId, EventKind, HostId, HostName, Position, RangeSet, Report, Severity};
use tomte_store::state::NewEvent;
use tomte_store::{Receipt, StoreError};

use super::registry::{Command, Place};
use crate::Hub;
use crate::access::Actor;
use crate::events::Occurrence;
use crate::fleet::Host;
use crate::ingest::Refusal;
use crate::notices::Notice;

/// How long an agent may take to say hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// A connection that is silent for so long is dead, whatever TCP thinks.
const SILENCE: Duration = Duration::from_secs(90);
/// How long a message may take to be sent.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// How long a goodbye may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// So many messages may wait to be sent.
const OUTGOING: usize = 16;
/// So many reports of one connection may be on their way to the disk. More are
/// left in the connection, where they slow the agent down.
const IN_FLIGHT: usize = 256;
/// So many messages are taken at once before anything else is looked at.
const ALONG: usize = 64;
/// While the hub itself is slow, a connected host counts as heard this often.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a report could not be written, the connection goes on for so long:
/// what is live is still shown. Then it is closed, so that the agent sends
/// again what was not acknowledged.
const FAILING: Duration = Duration::from_secs(15);
/// So many requests for whole reports may wait to be sent.
const RESENDS: usize = 512;

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    code: CloseCode,
    reason: String,
    /// Whether there is anybody left to tell.
    tell: bool,
}

impl End {
    fn because(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), tell: true }
    }
    fn gone(reason: impl Into<String>) -> Self {
        Self { code: CloseCode::Normal, reason: reason.into(), tell: false }
    }
}

/// Serves a connection whose token speaks for `agent`. Returns when it has ended.
pub(crate) async fn serve<T: Transport>(hub: Arc<Hub>, agent: Arc<Host>, peer: String, transport: T) {
    let (sender, mut receiver) = transport.split();
    let (outgoing, queue) = mpsc::channel(OUTGOING);
    let broken = CancellationToken::new();
    let writer = tokio::spawn(write(sender, queue, broken.clone()));
    let end = greet_and_run(&hub, &agent, &peer, &mut receiver, &outgoing, &broken).await;
    tracing::info!(host = %agent.id, peer, code = end.code.code(), reason = end.reason, "a link ended");
    if end.tell {
        let goodbye = Outgoing::Close(end.code, end.reason);
        let _ = tokio::time::timeout(CLOSE_WITHIN, outgoing.send(goodbye)).await;
    }
    drop(outgoing);
    if tokio::time::timeout(CLOSE_WITHIN * 2, broken.cancelled()).await.is_err() {
        writer.abort();
    }
    let _ = writer.await;
}

#[derive(Debug)]
enum Outgoing {
    Message(Bytes),
    Close(CloseCode, String),
}

/// Sends what is queued; ends with the queue or the connection, and says so.
async fn write<S: Sender>(mut sender: S, mut queue: mpsc::Receiver<Outgoing>, broken: CancellationToken) {
    while let Some(next) = queue.recv().await {
        let sent = match next {
            Outgoing::Message(message) => tokio::time::timeout(SEND_WITHIN, sender.send(message)).await,
            Outgoing::Close(code, reason) => {
                // In the protocol's own words first: not every proxy passes
                // the WebSocket's close frame on as it is.
                let last = async {
                    sender.send(HubLink::close(code, &reason)).await?;
                    sender.close(code, &reason).await
                };
                let _ = tokio::time::timeout(CLOSE_WITHIN, last).await;
                break;
            }
        };
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    broken.cancel();
}

async fn greet_and_run<R: Receiver>(
    hub: &Arc<Hub>,
    agent: &Arc<Host>,
    peer: &str,
    receiver: &mut R,
    outgoing: &mpsc::Sender<Outgoing>,
    broken: &CancellationToken,
) -> End {
    let first = tokio::select! {
        first = tokio::time::timeout(HELLO_WITHIN, receiver.recv()) => first,
        () = hub.stop.cancelled() => return stopping(),
    };
    let first = match first {
        Ok(Some(Ok(first))) => first,
        Ok(Some(Err(error))) => return transport_end(hub, &error),
        Ok(None) => return End::gone("closed before the hello"),
        Err(_) => return End::because(CloseCode::TimedOut, "no hello in time"),
    };
    let (link, hello) = match HubLink::accept(&first, Limits::default()) {
        Ok(accepted) => accepted,
        Err(error) => {
            hub.counters.link_malformed.one();
            return End::because(error.close_code(), error.to_string());
        }
    };
    if hello.host != agent.id {
        hub.refuse_host(agent, hello.host, peer);
        return End::because(CloseCode::Forbidden, "the token speaks for another host");
    }
    let place = hub.links.enter(agent.id, hello.instance, hub.clock.now().boot_millis);
    let generation = place.generation;
    let (done, durable) = mpsc::unbounded_channel();
    let session = Session {
        hub: Arc::clone(hub),
        agent: Arc::clone(agent),
        peer: peer.to_owned(),
        link,
        place,
        done,
        in_flight: 0,
        gaps_in_flight: 0,
        pending: Pending::default(),
        via: Vec::new(),
        failing: None,
        unknown_frames: 0,
        claim: None,
        claiming: false,
    };
    let end = session.run(&hello, receiver, durable, outgoing, broken).await;
    hub.links.leave(agent.id, generation);
    end
}

fn stopping() -> End {
    End::because(CloseCode::GoingAway, "the hub is stopping")
}

fn transport_end(hub: &Hub, error: &TransportError) -> End {
    match error {
        TransportError::Closed | TransportError::ClosedBecause { .. } => End::gone(error.to_string()),
        TransportError::Broken(source) => {
            hub.counters.link_malformed.one();
            End::because(CloseCode::Malformed, source.to_string())
        }
    }
}

/// Something that is durable, or could not be made so.
enum Done {
    /// A report.
    Report(Position, Result<Receipt, StoreError>),
    /// A part of what is kept of a gap.
    Gap(Result<(), StoreError>),
    /// What the agent said of its cluster.
    Claim,
}

/// What is to be said as soon as there is room, each at most once.
#[derive(Debug, Default)]
struct Pending {
    welcome: Option<Welcome>,
    acks: BTreeMap<u64, RangeSet>,
    echo: Option<u64>,
    resends: Vec<Resend>,
    live: Option<Live>,
    refresh: Option<Vec<String>>,
    settings: bool,
    cluster: bool,
    decisions: VecDeque<Decision>,
}

impl Pending {
    fn is_empty(&self, echo_may_go: bool) -> bool {
        self.welcome.is_none()
            && self.acks.is_empty()
            && (self.echo.is_none() || !echo_may_go)
            && self.resends.is_empty()
            && self.live.is_none()
            && self.refresh.is_none()
            && !self.settings
            && !self.cluster
            && self.decisions.is_empty()
    }
}

struct Session {
    hub: Arc<Hub>,
    agent: Arc<Host>,
    peer: String,
    link: HubLink,
    place: Place,
    done: mpsc::UnboundedSender<Done>,
    in_flight: usize,
    /// Parts of gaps on their way to the disk. Until they are there no
    /// heartbeat is answered: the answer tells the agent that what it said
    /// before is kept.
    gaps_in_flight: usize,
    pending: Pending,
    /// Hosts without an agent of their own that this connection reported for.
    via: Vec<Arc<Host>>,
    /// When to close, since a report could not be written, and why.
    failing: Option<(Instant, String)>,
    unknown_frames: u64,
    /// What the agent said of its cluster and is to be judged next, and
    /// whether something is being judged.
    claim: Option<ClusterClaim>,
    claiming: bool,
}

impl Session {
    async fn run<R: Receiver>(
        mut self,
        hello: &Hello,
        receiver: &mut R,
        mut durable: mpsc::UnboundedReceiver<Done>,
        outgoing: &mpsc::Sender<Outgoing>,
        broken: &CancellationToken,
    ) -> End {
        self.begin(hello);
        let silence = tokio::time::sleep(SILENCE);
        tokio::pin!(silence);
        let mut patience = tokio::time::interval(PATIENCE);
        patience.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let failing = self.failing.as_ref().map(|(at, _)| *at);
            let full = self.in_flight >= IN_FLIGHT;
            tokio::select! {
                biased;
                () = self.hub.stop.cancelled() => return stopping(),
                () = self.place.displaced.cancelled() => {
                    return End::because(CloseCode::Displaced, "a newer connection of this host took over");
                }
                () = broken.cancelled() => return End::gone("the connection broke, or the agent is too slow to read"),
                Some(command) = self.place.commands.recv() => {
                    if let Some(end) = self.command(command) {
                        return end;
                    }
                }
                Some(done) = durable.recv() => {
                    self.done(done);
                    while let Ok(done) = durable.try_recv() {
                        self.done(done);
                    }
                }
                Ok(room) = outgoing.reserve(), if !self.pending.is_empty(self.gaps_in_flight == 0) => {
                    if let Some(message) = self.next_message() {
                        room.send(Outgoing::Message(message));
                    }
                }
                () = sleep_until(failing), if failing.is_some() => {
                    let why = self.failing.take().map(|(_, why)| why).unwrap_or_default();
                    return End::because(CloseCode::Internal, why);
                }
                _ = patience.tick(), if full => {
                    // It is the hub that is slow; the host is there.
                    self.heard();
                    silence.as_mut().reset(Instant::now() + SILENCE);
                }
                message = receiver.recv(), if !full => {
                    silence.as_mut().reset(Instant::now() + SILENCE);
                    if let Err(end) = self.received(message).await {
                        return end;
                    }
                    // What has come already is taken along: to look at all of
                    // the above costs as much as a report.
                    for _ in 0..ALONG {
                        if self.in_flight >= IN_FLIGHT {
                            break;
                        }
                        let Some(message) = receiver.recv().now_or_never() else { break };
                        if let Err(end) = self.received(message).await {
                            return end;
                        }
                    }
                }
                () = &mut silence, if !full => {
                    return End::because(CloseCode::TimedOut, "not heard of for 90 s");
                }
            }
        }
    }

    fn begin(&mut self, hello: &Hello) {
        let hub = &self.hub;
        hub.counters.link_connections.one();
        hub.clusters.connected(self.agent.id);
        let (name, has_settings, new_version, hand_over) = {
            let mut state = self.agent.lock();
            state.clock.begin(hello.boot_id);
            let hand_over = state.publishes_mqtt.replace(hello.publishes_mqtt) != Some(hello.publishes_mqtt);
            let version = Some(hello.agent_version.clone());
            let new = state.record.agent_version != version;
            state.record.agent_version = version;
            (state.record.name.clone(), state.record.settings_revision > 0, new, hand_over)
        };
        if hand_over {
            hub.tell_host(self.agent.id);
        }
        tracing::info!(
            host = %name, peer = self.peer, generation = self.place.generation, version = hello.agent_version,
            "a link began"
        );
        if new_version {
            hub.records.host_changed(self.agent.id);
        }
        if self.place.displaced_another {
            hub.counters.link_displaced.one();
        }
        self.judge_clash(&name);
        self.pending.welcome = Some(self.welcome(&name));
        self.pending.settings = has_settings;
        self.pending.live = hub.lease(self.agent.id);
        self.heard();
    }

    fn welcome(&self, name: &HostName) -> Welcome {
        Welcome {
            protocol: self.link.protocol(),
            generation: self.place.generation,
            server_time: self.hub.now(),
            hub_version: env!("CARGO_PKG_VERSION").to_owned(),
            host_name: name.to_string(),
            heartbeat_millis: u32::try_from(self.hub.resolved().config.presence.heartbeat.millis()).unwrap_or(u32::MAX),
            features: vec![CLUSTERS.to_owned(), ACTIONS.to_owned()],
        }
    }

    fn judge_clash(&self, name: &HostName) {
        let hub = &self.hub;
        if !self.place.clash {
            if self.place.calm {
                hub.notices.clear(self.agent.id, Notice::IdentityClash);
            }
            return;
        }
        if hub.notices.raise(self.agent.id, Notice::IdentityClash) {
            let message = format!(
                "two agents use the identity of {name} and keep displacing each other: is one a clone? Remove its \
                 state folder and enrol it as a host of its own"
            );
            let what = Occurrence::new(Some(self.agent.id), EventKind::IDENTITY_CLASH, Severity::Error, message);
            hub.note(what.with("peer", &self.peer));
        }
    }

    /// The agent gave a sign of life, unless it is not the present one.
    fn heard(&self) {
        if self.hub.links.is_present(self.agent.id, self.place.generation) {
            self.hub.heard(&self.agent);
        }
    }

    fn command(&mut self, command: Command) -> Option<End> {
        match command {
            Command::Live(live) => self.pending.live = Some(live),
            Command::Settings => self.pending.settings = true,
            Command::Cluster => self.pending.cluster = true,
            Command::Decide(decision) => self.pending.decisions.push_back(decision),
            Command::Refresh(collectors) => match &mut self.pending.refresh {
                // None named means all of them, whatever else was asked for.
                Some(waiting) if waiting.is_empty() || collectors.is_empty() => waiting.clear(),
                Some(waiting) => waiting.extend(collectors),
                None => self.pending.refresh = Some(collectors),
            },
            Command::Close(code, reason) => return Some(End::because(code, reason)),
        }
        None
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Report(position, result) => {
                self.in_flight -= 1;
                match result {
                    Ok(_) => {
                        self.pending.acks.entry(position.epoch).or_default().insert(position.sequence);
                    }
                    Err(error) => self.fail(error.to_string()),
                }
            }
            Done::Claim => {
                self.claiming = false;
                self.take_claim();
            }
            Done::Gap(Ok(())) => self.gaps_in_flight -= 1,
            // Stays unanswered: on its next connection the agent tells again.
            Done::Gap(Err(error)) => self.fail(error.to_string()),
        }
    }

    fn fail(&mut self, why: String) {
        if self.failing.is_none() {
            tracing::warn!(host = %self.agent.id, error = why, "a report could not be written");
            self.failing = Some((Instant::now() + FAILING, why));
        }
    }

    /// The next thing to say, what matters most first.
    fn next_message(&mut self) -> Option<Bytes> {
        let pending = &mut self.pending;
        if let Some(welcome) = pending.welcome.take() {
            return Some(self.link.welcome(&welcome));
        }
        if self.gaps_in_flight == 0
            && let Some(echo) = pending.echo.take()
        {
            return Some(self.link.heartbeat(echo, self.hub.now()));
        }
        if let Some((epoch, ranges)) = pending.acks.pop_first() {
            return Some(self.link.ack(epoch, &ranges));
        }
        if let Some(resend) = pending.resends.pop() {
            return Some(self.link.resend(&resend));
        }
        if let Some(decision) = pending.decisions.pop_front() {
            return Some(self.link.decide(&decision));
        }
        if let Some(live) = pending.live.take() {
            return Some(self.link.live(&live));
        }
        if let Some(collectors) = pending.refresh.take() {
            return Some(self.link.refresh(&collectors));
        }
        if std::mem::take(&mut pending.settings) {
            let push = {
                let state = self.agent.lock();
                let values = state.record.settings.clone().into_iter().collect();
                SettingsPush { revision: state.record.settings_revision, values }
            };
            return Some(self.link.settings(&push));
        }
        if std::mem::take(&mut pending.cluster)
            && let Some(grant) = self.hub.cluster_grant(self.agent.id)
        {
            return Some(self.link.cluster(&grant));
        }
        None
    }

    async fn received(&mut self, message: Option<Result<Bytes, TransportError>>) -> Result<(), End> {
        match message {
            Some(Ok(message)) => self.message(&message).await,
            Some(Err(error)) => Err(transport_end(&self.hub, &error)),
            None => Err(End::gone("closed by the agent")),
        }
    }

    async fn message(&mut self, message: &[u8]) -> Result<(), End> {
        let heard = self.link.handle(message).map_err(|error| {
            self.hub.counters.link_malformed.one();
            End::because(error.close_code(), error.to_string())
        })?;
        let unknown = self.link.unknown_frames();
        self.hub.counters.link_unknown_frames.add((unknown - self.unknown_frames) as usize);
        self.unknown_frames = unknown;
        self.heard();
        for said in heard {
            match said {
                FromAgent::Report { report, .. } => self.report(report).await?,
                FromAgent::BaseUnknown(resend) => {
                    if self.pending.resends.len() >= RESENDS {
                        return Err(End::because(CloseCode::Malformed, "too many reports without their base"));
                    }
                    self.pending.resends.push(resend);
                }
                FromAgent::Described(kind) => self.hub.describe(kind),
                FromAgent::Heartbeat(heartbeat) => self.heartbeat(&heartbeat),
                FromAgent::Gap(_) if !self.hub.events.has_room() => self.fail(Refusal::Busy.to_string()),
                FromAgent::Gap(gap) => self.gap(&gap),
                FromAgent::SettingsResult(result) => self.settings_result(result),
                FromAgent::Cluster(claim) => {
                    self.claim = Some(claim);
                    self.take_claim();
                }
                FromAgent::Action(action) => self.hub.action_told(self.agent.id, *action).await,
                FromAgent::Close { code, reason } => {
                    return Err(End::gone(format!("the agent ended it ({}): {reason}", code.code())));
                }
                FromAgent::Unknown(_) => {}
            }
        }
        Ok(())
    }

    async fn report(&mut self, report: Report) -> Result<(), End> {
        let (host, position) = (report.host, report.position);
        let permit = self.permit().await?;
        let done = self.done.clone();
        if host != self.agent.id && self.hub.fleet.get(host).is_none() && !self.hub.clusters.was_removed(host) {
            // Perhaps it was removed while the agent was away: that must not
            // keep the agent from telling of its own host.
            self.hub.refuse_host(&self.agent, host, &self.peer);
        }
        let taken = self.hub.take_in(
            &self.agent,
            report,
            Box::new(move |result| {
                drop(permit);
                // Nobody listens any more when the connection has ended; the
                // agent will send again and be told then.
                let _ = done.send(Done::Report(position, result));
            }),
        );
        match taken {
            Ok(()) => {
                self.in_flight += 1;
                if host != self.agent.id {
                    self.seen_via(host);
                }
            }
            Err(Refusal::NotCovered) => {
                self.hub.refuse_host(&self.agent, host, &self.peer);
                return Err(End::because(CloseCode::Forbidden, format!("the token does not cover the host {host}")));
            }
            Err(Refusal::NoSuchHost) => {
                return Err(End::because(CloseCode::Forbidden, Refusal::NoSuchHost.to_string()));
            }
            Err(Refusal::Busy) => self.fail(Refusal::Busy.to_string()),
        }
        Ok(())
    }

    /// Room for one more report on its way to the disk.
    async fn permit(&mut self) -> Result<OwnedSemaphorePermit, End> {
        let waiting = Arc::clone(&self.hub.in_flight).acquire_owned();
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                biased;
                permit = &mut waiting => return permit.map_err(|_| stopping()),
                () = self.hub.stop.cancelled() => return Err(stopping()),
                () = self.place.displaced.cancelled() => {
                    return Err(End::because(CloseCode::Displaced, "a newer connection of this host took over"));
                }
                // It is the hub that is slow; the host is there.
                () = tokio::time::sleep(PATIENCE) => self.heard(),
            }
        }
    }

    /// A host that has no agent of its own is heard when its agent is.
    fn seen_via(&mut self, host: HostId) {
        if self.via.iter().all(|via| via.id != host) {
            self.via.extend(self.hub.fleet.get(host));
        }
        if let Some(via) = self.via.iter().find(|via| via.id == host)
            && self.hub.fleet.may_report(self.agent.id, host)
        {
            self.hub.heard(via);
        }
    }

    fn heartbeat(&mut self, heartbeat: &Heartbeat) {
        self.pending.echo = Some(heartbeat.moment.boot_millis);
        for via in &self.via {
            if self.hub.fleet.may_report(self.agent.id, via.id) {
                self.hub.heard(via);
            }
        }
        let now = self.hub.clock.now();
        let (turned, skew) = {
            let mut state = self.agent.lock();
            state.backlog_reports = heartbeat.backlog_reports;
            let turned = state.clock.heartbeat(heartbeat.moment, heartbeat.clock_synchronised, now);
            (turned, state.clock.skew().unwrap_or(0))
        };
        let Some(wrong) = turned else { return };
        let seconds = skew as f64 / 1000.0;
        let (severity, message) = if wrong {
            self.hub.notices.raise(self.agent.id, Notice::ClockWrong);
            (Severity::Warning, format!("the host's clock is {seconds:+.0} s off: its times are replaced by the hub's"))
        } else {
            self.hub.notices.clear(self.agent.id, Notice::ClockWrong);
            (Severity::Info, "the host's clock is right again".to_owned())
        };
        let what = Occurrence::new(Some(self.agent.id), EventKind::CLOCK_SKEW, severity, message);
        self.hub.note(what.with("skew_seconds", format!("{seconds:.3}")));
    }

    fn gap(&mut self, gap: &Gap) {
        let hub = &self.hub;
        let whole = gap.last - gap.first;
        if whole == gap.count.wrapping_sub(1) {
            // Every one of them is lost. Otherwise some may still come, and
            // must not be taken for received.
            let done = self.done.clone();
            let noted = move |result| drop(done.send(Done::Gap(result)));
            self.gaps_in_flight += 1;
            hub.store.history.declare_gap(self.agent.id, gap.epoch, gap.first..=gap.last, Box::new(noted));
        }
        let details = [("epoch", gap.epoch), ("first", gap.first), ("last", gap.last), ("count", gap.count)];
        let now = hub.now();
        // Told again after a reconnect, it is the same event.
        let mut digest = Sha256::new_with_prefix(self.agent.id.to_bytes());
        for (_, number) in details {
            digest.update(number.to_be_bytes());
        }
        let mut id = [0; 16];
        id.copy_from_slice(&digest.finalize()[..16]);
        let count = gap.count;
        let event = Event {
            id: EventId::from_bytes(id),
            at: now,
            source: "hub".into(),
            kind: EventKind::GAP,
            severity: Severity::Warning,
            subject: None,
            correlation_id: None,
            message: format!("{count} reports were dropped before they could be sent: the agent's outbox was full"),
            details: details.map(|(key, number)| (key.to_owned(), number.to_string())).into(),
        };
        hub.counters.reports_lost_at_agents.add(usize::try_from(count).unwrap_or(usize::MAX));
        hub.events.push([NewEvent { host: Some(self.agent.id), received_at: now, event }]);
        let (writing, done) = (Arc::clone(hub), self.done.clone());
        self.gaps_in_flight += 1;
        hub.sessions.spawn_blocking(move || drop(done.send(Done::Gap(writing.write_records()))));
    }

    /// Has what the agent last said of its cluster judged: one at a time, and
    /// only the newest.
    fn take_claim(&mut self) {
        if self.claiming {
            return;
        }
        let Some(claim) = self.claim.take() else { return };
        self.claiming = true;
        let (hub, agent, peer, done) =
            (Arc::clone(&self.hub), Arc::clone(&self.agent), self.peer.clone(), self.done.clone());
        self.hub.sessions.spawn_blocking(move || {
            hub.take_claim(&agent, &peer, claim);
            // Nobody listens when the connection has ended.
            let _ = done.send(Done::Claim);
        });
    }

    fn settings_result(&self, result: SettingsResult) {
        let SettingsResult { revision, refused } = result;
        let (name, news) = {
            let mut state = self.agent.lock();
            let refused: BTreeMap<String, String> = refused.into_iter().collect();
            let answer = (revision, refused);
            let news = state.settings_answer.as_ref() != Some(&answer);
            state.settings_answer = Some(answer.clone());
            (state.record.name.clone(), news.then_some(answer.1))
        };
        for (key, reason) in news.into_iter().flatten() {
            let actor = Actor::new(format!("host:{name}"), Some(self.peer.clone()));
            let details = [("key", key), ("reason", reason), ("revision", revision.to_string())];
            self.hub.audit_later(&actor, "host.settings.refused", name.as_str(), "refused by the host", details);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

impl Hub {
    /// A token was used for a host that it does not cover.
    fn refuse_host(&self, agent: &Arc<Host>, host: HostId, peer: &str) {
        self.counters.link_hosts_refused.one();
        let name = agent.lock().record.name.clone();
        let actor = Actor::new(format!("host:{name}"), Some(peer.to_owned()));
        let known = self.fleet.get(host).map(|h| h.lock().record.name.to_string());
        let target = known.unwrap_or_else(|| host.to_string());
        // An agent that keeps trying fills neither the audit nor the events.
        if !self.links.refused_before(agent.id, host, self.clock.now().boot_millis) {
            self.audit_later(&actor, "link.report", &target, "refused: the token does not cover this host", []);
            let message = format!("the agent of {name} reported for {target}, which its token does not cover");
            let what = Occurrence::new(Some(agent.id), EventKind::TOKEN_REFUSED, Severity::Error, message);
            self.note(what.with("host", &target).with("peer", peer));
        }
    }
}
