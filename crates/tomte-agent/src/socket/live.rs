//! The live stream: a snapshot for each subscription, then what changed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tomte_api::Problem;
use tomte_api::host::Host;
use tomte_api::live::{
    Body, Delta, EventMessage, Message, Refusal, Request, ResourceDelta, ResourceRef, Snapshot, Subscribe,
};
use tomte_api::resource::Resource;
use tomte_model::Report;

use super::LocalHost;
use crate::workers::Change;

/// How many subscriptions a connection may hold.
const SUBSCRIPTIONS: usize = 16;
/// How long a message may be on its way.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// How often a quiet client is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// Under this, collectors are asked to read faster.
const CLOSE_LOOK: u32 = 10;
/// What a faster reading is asked for at once; renewed as long as somebody looks.
const LEASE: Duration = Duration::from_secs(30);
/// A client's messages are short.
const REQUEST_LIMIT: usize = 64 * 1024;

struct Subscription {
    request: Subscribe,
    every: Duration,
    due: Instant,
    host: Host,
    seen: BTreeMap<ResourceRef, Resource>,
}

struct Connection<'a> {
    host: &'a LocalHost,
    changes: &'a mpsc::Sender<Change>,
    socket: WebSocketStream<TokioIo<Upgraded>>,
    subscriptions: BTreeMap<String, Subscription>,
    lease_until: Instant,
}

/// The client is gone.
struct Gone;

/// Serves one client until it goes.
pub(super) async fn serve(stream: Upgraded, host: &LocalHost, changes: &mpsc::Sender<Change>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(REQUEST_LIMIT))
        .max_frame_size(Some(REQUEST_LIMIT));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, Some(config)).await;
    let lease_until = Instant::now();
    let mut connection = Connection { host, changes, socket, subscriptions: BTreeMap::new(), lease_until };
    // It ends in one way only.
    let Err(Gone) = connection.run().await;
}

impl Connection<'_> {
    async fn run(&mut self) -> Result<std::convert::Infallible, Gone> {
        let mut reports = self.host.station.watch();
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.subscriptions.values().map(|subscription| subscription.due).min();
            tokio::select! {
                frame = self.socket.next() => match frame {
                    Some(Ok(Frame::Text(text))) => self.asked(text.as_str()).await?,
                    Some(Ok(Frame::Close(_)) | Err(_)) | None => return Err(Gone),
                    Some(Ok(_)) => {}
                },
                report = reports.recv() => match report {
                    Ok(report) => self.events(&report).await?,
                    // Too slow for every event; the state catches up by itself.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Err(Gone),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.deltas().await?,
                _ = ping.tick() => self.send_frame(Frame::Ping(Default::default())).await?,
            }
        }
    }

    async fn asked(&mut self, text: &str) -> Result<(), Gone> {
        match serde_json::from_str(text) {
            Ok(Request::Sub(request)) => self.subscribe(request).await,
            Ok(Request::Unsub(request)) => {
                self.subscriptions.remove(&request.id);
                Ok(())
            }
            Err(error) => self.refuse("", Problem::new(400, "invalid", "Invalid").detail(error.to_string())).await,
        }
    }

    async fn subscribe(&mut self, request: Subscribe) -> Result<(), Gone> {
        let id = request.id.clone();
        if id.is_empty() || (self.subscriptions.len() >= SUBSCRIPTIONS && !self.subscriptions.contains_key(&id)) {
            let detail = format!("a subscription needs an id, and a connection holds at most {SUBSCRIPTIONS}");
            return self.refuse(&id, Problem::new(400, "invalid", "Invalid").detail(detail)).await;
        }
        if let Some(stranger) = request.hosts.iter().find(|name| !self.host.answers_to(name)) {
            let detail = format!("this is the agent of {}; ask a hub for {stranger}", self.host.name());
            return self.refuse(&id, Problem::new(404, "no-such-host", "No such host").detail(detail)).await;
        }
        let every = Duration::from_secs(request.every_s.unwrap_or(CLOSE_LOOK).clamp(1, 3_600).into());
        let (host, resources) = (self.host.host(), look(self.host, &request));
        let snapshot = Snapshot {
            at: self.host.now(),
            hosts: vec![host.clone()],
            resources: resources.values().cloned().collect(),
        };
        let subscription = Subscription { request, every, due: Instant::now() + every, host, seen: resources };
        self.subscriptions.insert(id.clone(), subscription);
        self.look_closely();
        self.send(Message { id, body: Body::Snapshot(snapshot) }).await
    }

    /// Asks for faster readings as long as somebody wants them.
    fn look_closely(&mut self) {
        let now = Instant::now();
        let fastest = self.subscriptions.values().map(|subscription| subscription.every).min();
        let Some(fastest) = fastest.filter(|every| every.as_secs() < CLOSE_LOOK.into()) else { return };
        if now < self.lease_until {
            return;
        }
        self.lease_until = now + LEASE / 2;
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let change = Change::Live { interval_millis: millis(fastest), lease_millis: millis(LEASE) };
        // A schedule that is this busy will be asked again.
        let _ = self.changes.try_send(change);
    }

    async fn deltas(&mut self) -> Result<(), Gone> {
        let now = Instant::now();
        let mut messages = Vec::new();
        for (id, subscription) in &mut self.subscriptions {
            if subscription.due > now {
                continue;
            }
            subscription.due = now + subscription.every;
            if let Some(delta) = subscription.delta(self.host) {
                messages.push(Message { id: id.clone(), body: Body::Delta(delta) });
            }
        }
        self.look_closely();
        for message in messages {
            self.send(message).await?;
        }
        Ok(())
    }

    async fn events(&mut self, report: &Report) -> Result<(), Gone> {
        if report.events.is_empty() {
            return Ok(());
        }
        let events = self.host.events(report);
        let listening = self.subscriptions.iter().filter(|(_, subscription)| subscription.request.events);
        let ids: Vec<String> = listening.map(|(id, _)| id.clone()).collect();
        for id in ids {
            for event in &events {
                let body = Body::Event(Box::new(EventMessage { event: event.clone() }));
                self.send(Message { id: id.clone(), body }).await?;
            }
        }
        Ok(())
    }

    async fn refuse(&mut self, id: &str, problem: Problem) -> Result<(), Gone> {
        self.send(Message { id: id.to_owned(), body: Body::Error(Refusal { problem }) }).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        let text = serde_json::to_string(&message).expect("the API's types are JSON");
        self.send_frame(Frame::text(text)).await
    }

    async fn send_frame(&mut self, frame: Frame) -> Result<(), Gone> {
        match timeout(SEND_WITHIN, self.socket.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

/// What a subscription sees now.
fn look(host: &LocalHost, request: &Subscribe) -> BTreeMap<ResourceRef, Resource> {
    if !request.resources {
        return BTreeMap::new();
    }
    let narrowed = |mut resource: Resource| {
        if !request.fields.is_empty() {
            resource.attributes.clear();
            resource.tables.clear();
            resource.readings.retain(|field, _| request.fields.contains(field));
        }
        let (host_id, kind, name) = (resource.host_id, resource.kind.clone(), resource.name.clone());
        (ResourceRef { host_id, kind, name }, resource)
    };
    host.resources_of(&request.kinds).into_iter().map(narrowed).collect()
}

impl Subscription {
    fn delta(&mut self, local: &LocalHost) -> Option<Delta> {
        let now = look(local, &self.request);
        let host = local.host();
        let resources: Vec<_> = now
            .iter()
            .filter_map(|(reference, resource)| ResourceDelta::between(self.seen.get(reference), resource))
            .collect();
        let removed: Vec<_> = self.seen.keys().filter(|reference| !now.contains_key(*reference)).cloned().collect();
        // That it was just seen is no news.
        let same = |a: &Host, b: &Host| {
            (a.status, &a.problems, a.resources, a.backlog) == (b.status, &b.problems, b.resources, b.backlog)
        };
        let hosts = if same(&self.host, &host) { Vec::new() } else { vec![host.clone()] };
        self.seen = now;
        self.host = host;
        let something = !(resources.is_empty() && removed.is_empty() && hosts.is_empty());
        something.then(|| Delta { at: local.now(), hosts, removed_hosts: Vec::new(), resources, removed })
    }
}
