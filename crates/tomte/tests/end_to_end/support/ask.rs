//! Asking a hub, and waiting for what it tells.

use tokio::time::timeout;
use tomte_api::client::{Client, EventFilter, LiveStream};
use tomte_api::event::Event;
use tomte_api::live::{Body, Subscribe};

use super::LIMIT;

/// A live stream, read until something is told.
pub(crate) struct Watcher(LiveStream);

impl Watcher {
    /// Watches what is asked for.
    pub(crate) async fn new(client: &Client, subscribe: Subscribe) -> Self {
        let mut live = client.live().await.expect("a live stream");
        live.subscribe(subscribe).await.expect("a subscription");
        Self(live)
    }

    /// Watches everything that the hub tells at the most once a second.
    pub(crate) async fn all(client: &Client) -> Self {
        let subscribe =
            Subscribe { id: "all".into(), every_s: Some(1), events: true, resources: true, ..Subscribe::default() };
        Self::new(client, subscribe).await
    }

    /// What `find` finds, in the first message in which it finds something.
    pub(crate) async fn until<T>(&mut self, what: &str, mut find: impl FnMut(&Body) -> Option<T>) -> T {
        let found = timeout(LIMIT, async {
            loop {
                let message = self.0.next().await.expect("a live stream").expect("no end of the live stream");
                if let Some(found) = find(&message.body) {
                    return found;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("no {what} in time"))
    }

    /// The next event of a type.
    pub(crate) async fn event(&mut self, kind: &str) -> Event {
        let of = |body: &Body| match body {
            Body::Event(told) if told.event.kind == kind => Some(told.event.clone()),
            _ => None,
        };
        self.until(kind, of).await
    }
}

/// All events of a type that the hub has written down, newest first.
pub(crate) async fn events(client: &Client, kind: &str) -> Vec<Event> {
    let filter = EventFilter { kinds: vec![kind.to_owned()], ..EventFilter::default() };
    client.events(&filter).await.expect("events").items
}

/// The event of a type, whether it happened already or is still to come.
pub(crate) async fn event_of(client: &Client, kind: &str) -> Event {
    event_where(client, kind, |_| true).await
}

/// The same, of such a one.
pub(crate) async fn event_where(client: &Client, kind: &str, so: impl Fn(&Event) -> bool) -> Event {
    let mut watcher = Watcher::all(client).await;
    if let Some(event) = events(client, kind).await.into_iter().find(&so) {
        return event;
    }
    loop {
        let event = watcher.event(kind).await;
        if so(&event) {
            return event;
        }
    }
}

/// A counter of the hub, by its name in `/metrics`.
pub(crate) async fn counter(client: &Client, name: &str) -> u64 {
    let metrics = client.metrics().await.expect("metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in /metrics")).parse().expect("a whole number")
}
