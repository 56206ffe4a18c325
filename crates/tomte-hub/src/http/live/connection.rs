//! One live connection: what the client asks, what is due, and when to end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message as Frame, Utf8Bytes, WebSocket, close_code};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tomte_api::account::Credential;
use tomte_api::live::{Body, EventMessage, Message, Refusal, Request, Subscribe};
use tomte_store::state::StoredEvent;

use super::subscription::{self, Subscription};
use crate::http::App;
use crate::http::auth::Identity;
use crate::http::events::event;
use crate::http::problem::Failure;
use crate::http::source::Source;
use crate::live::{Change, Heard};

/// How many subscriptions a connection may hold.
const SUBSCRIPTIONS: usize = 32;
/// How often the other side is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// How long it may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a message may be on its way.
const SEND: Duration = Duration::from_secs(30);
/// How often things are looked at that change by age alone.
const AGEING: Duration = Duration::from_secs(15);
/// Under this, hosts that are named are asked to read faster.
const CLOSE_LOOK: Duration = Duration::from_secs(10);

/// Why a connection ends.
enum End {
    /// The client left, or is not reachable any more.
    Gone,
    /// The proof of who they are ended.
    Unauthorised,
    /// The hub stops.
    Stopping,
}

/// Serves one connection until it ends.
pub(super) async fn serve(app: &App, identity: Identity, socket: WebSocket) {
    let mut connection = Connection { app, identity, socket, subscriptions: BTreeMap::new(), heard: Instant::now() };
    let close = match connection.run().await {
        End::Gone => return,
        End::Unauthorised => CloseFrame { code: close_code::POLICY, reason: "the session or token has ended".into() },
        End::Stopping => CloseFrame { code: close_code::AWAY, reason: "the hub is stopping".into() },
    };
    // Whether the client still hears it makes no difference.
    let _ = timeout(SEND, connection.socket.send(Frame::Close(Some(close)))).await;
}

struct Connection<'a> {
    app: &'a App,
    identity: Identity,
    socket: WebSocket,
    subscriptions: BTreeMap<String, Subscription>,
    heard: Instant,
}

impl Connection<'_> {
    async fn run(&mut self) -> End {
        match self.serve().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        let mut bus = self.app.hub.subscribe();
        let stopping = self.app.hub.stopping();
        let mut access = self.app.auth.changes();
        let mut ping = interval(PING);
        let mut ageing = interval(AGEING);
        for ticks in [&mut ping, &mut ageing] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.reset();
        }
        loop {
            let due = self.subscriptions.values().filter_map(Subscription::due).min();
            tokio::select! {
                frame = self.socket.recv() => {
                    let Some(Ok(frame)) = frame else { return Err(End::Gone) };
                    self.heard = Instant::now();
                    match frame {
                        Frame::Text(text) => self.take(&text).await?,
                        Frame::Binary(_) => self.refuse("", Failure::invalid("messages are JSON text")).await?,
                        Frame::Close(_) => return Err(End::Gone),
                        Frame::Ping(_) | Frame::Pong(_) => {}
                    }
                }
                heard = bus.next() => match heard {
                    Heard::Change(change) => self.note(&change).await?,
                    Heard::Resync => self.catch_up().await?,
                    Heard::End => return Err(End::Stopping),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.tell().await?,
                _ = ageing.tick() => {
                    for subscription in self.subscriptions.values_mut() {
                        subscription.note_all(&self.app.hub);
                    }
                }
                _ = ping.tick() => {
                    if self.heard.elapsed() > SILENCE {
                        return Err(End::Gone);
                    }
                    self.check_identity().await?;
                    self.send_frame(Frame::Ping(axum::body::Bytes::new())).await?;
                }
                () = stopping.cancelled() => return Err(End::Stopping),
                _ = access.changed() => self.check_identity().await?,
            }
        }
    }

    /// Whether whoever opened the connection may still look.
    async fn check_identity(&mut self) -> Result<(), End> {
        let (Some(hash), by) = (self.identity.hash, self.identity.by) else { return Ok(()) };
        if by == Credential::Local {
            return Ok(());
        }
        // Where from was checked when the connection was opened.
        let source = Source { address: None, encrypted: true };
        match self.app.auth.identify(&self.app.hub, by, hash, &source).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(End::Unauthorised),
            // What cannot be read now is looked at again with the next ping.
            Err(_) => Ok(()),
        }
    }

    /// Follows a request.
    async fn take(&mut self, text: &Utf8Bytes) -> Result<(), End> {
        match serde_json::from_str(text) {
            Ok(Request::Sub(request)) => self.subscribe(request).await,
            Ok(Request::Unsub(request)) => {
                self.subscriptions.remove(&request.id);
                Ok(())
            }
            Err(error) => {
                let failure = Failure::invalid(error.to_string()).at(error.line(), error.column());
                self.refuse("", failure).await
            }
        }
    }

    async fn subscribe(&mut self, request: Subscribe) -> Result<(), End> {
        let id = request.id.clone();
        if id.is_empty() || id.len() > 100 {
            return self.refuse("", Failure::invalid("a subscription's id has 1 to 100 characters")).await;
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS && !self.subscriptions.contains_key(&id) {
            let why = format!("a connection holds at most {SUBSCRIPTIONS} subscriptions");
            return self.refuse(&id, Failure::invalid(why)).await;
        }
        let hub = &self.app.hub;
        let mut hosts = BTreeSet::new();
        for name in &request.hosts {
            match hub.find_host(name) {
                Some(host) => drop(hosts.insert(host)),
                None => return self.refuse(&id, Failure::no_such_host(name)).await,
            }
        }
        let every = subscription::interval(&request);
        let named: Vec<_> = hosts.iter().copied().collect();
        let watch = (every < CLOSE_LOOK && !named.is_empty()).then(|| hub.watch(&named, every));
        let hosts = (!named.is_empty()).then_some(hosts);
        let mut subscription = Subscription::new(request, hosts, watch);
        let snapshot = subscription.snapshot(hub);
        self.subscriptions.insert(id.clone(), subscription);
        self.send(Message { id, body: Body::Snapshot(snapshot) }).await
    }

    /// Notes a change for every subscription that it concerns; events are told
    /// at once.
    async fn note(&mut self, change: &Change) -> Result<(), End> {
        if let Change::Event(event) = change {
            return self.tell_event(event).await;
        }
        for subscription in self.subscriptions.values_mut() {
            subscription.note(change);
        }
        Ok(())
    }

    async fn tell_event(&mut self, stored: &StoredEvent) -> Result<(), End> {
        let concerned = self.subscriptions.values().filter(|s| s.events && s.covers(stored.host));
        let ids: Vec<String> = concerned.map(|s| s.id().to_owned()).collect();
        for id in ids {
            let body = Body::Event(Box::new(EventMessage { event: event(self.app, stored) }));
            self.send(Message { id, body }).await?;
        }
        Ok(())
    }

    /// The client was too slow to hear every change: what it sees is brought
    /// up to date with the next delta, events it has to read up on.
    async fn catch_up(&mut self) -> Result<(), End> {
        for subscription in self.subscriptions.values_mut() {
            subscription.note_all(&self.app.hub);
        }
        let listening = self.subscriptions.values().filter(|s| s.events);
        let ids: Vec<String> = listening.map(|s| s.id().to_owned()).collect();
        for id in ids {
            let failure = Failure::unavailable("events-missed", "too slow to hear every event: read /api/v1/events");
            self.refuse(&id, failure).await?;
        }
        Ok(())
    }

    /// Sends the deltas that are due.
    async fn tell(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let mut messages = Vec::new();
        for subscription in self.subscriptions.values_mut() {
            if subscription.due().is_some_and(|due| due <= now)
                && let Some(delta) = subscription.delta(&self.app.hub)
            {
                messages.push(Message { id: subscription.id().to_owned(), body: Body::Delta(delta) });
            }
        }
        for message in messages {
            self.send(message).await?;
        }
        Ok(())
    }

    async fn refuse(&mut self, id: &str, failure: Failure) -> Result<(), End> {
        let body = Body::Error(Refusal { problem: failure.into_problem() });
        self.send(Message { id: id.to_owned(), body }).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        let text = serde_json::to_string(&message).map_err(|error| {
            tracing::error!(%error, "a live message cannot be written");
            End::Gone
        })?;
        self.send_frame(Frame::text(text)).await
    }

    async fn send_frame(&mut self, frame: Frame) -> Result<(), End> {
        match timeout(SEND, self.socket.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            // Too slow to take one message in half a minute is as good as gone.
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}
