//! `tomte watch`: live readings, a line a host, from the live stream.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tomte_api::client::{Client, ClientError, LiveStream};
use tomte_api::host::Host;
use tomte_api::live::{Body, Message, ResourceRef, Subscribe};
use tomte_api::resource::Resource;
use tomte_model::{Catalogue, HostId, Unit};

use super::{ago, now, span};
use crate::cli::WatchArgs;
use crate::output::{Format, Output, Text};

/// What a line shows: title, kind, field, and how several resources of the
/// kind become one number.
const COLUMNS: &[(&str, &str, &str, Fold)] = &[
    ("cpu", "cpu", "usage_ratio", Fold::Most),
    ("load", "load", "load1", Fold::Most),
    ("memory", "memory", "used_ratio", Fold::Most),
    ("fullest", "filesystem", "used_ratio", Fold::Most),
    ("read", "disk", "read_bytes_per_second", Fold::Sum),
    ("write", "disk", "write_bytes_per_second", Fold::Sum),
    ("receive", "interface", "receive_bytes_per_second", Fold::Sum),
    ("transmit", "interface", "transmit_bytes_per_second", Fold::Sum),
    ("hottest", "sensor", "temperature_celsius", Fold::Most),
];

#[derive(Debug, Clone, Copy)]
enum Fold {
    Most,
    Sum,
}

/// What is known of the hosts that are watched.
#[derive(Debug, Default)]
struct Picture {
    hosts: BTreeMap<HostId, Host>,
    resources: BTreeMap<ResourceRef, Resource>,
}

impl Picture {
    fn take(&mut self, body: Body) {
        match body {
            Body::Snapshot(snapshot) => {
                self.hosts = snapshot.hosts.into_iter().map(|host| (host.id, host)).collect();
                self.resources = snapshot.resources.into_iter().map(|r| (reference(&r), r)).collect();
            }
            Body::Delta(delta) => {
                self.hosts.extend(delta.hosts.into_iter().map(|host| (host.id, host)));
                for host in delta.removed_hosts {
                    self.hosts.remove(&host);
                    self.resources.retain(|key, _| key.host_id != host);
                }
                for resource in delta.removed {
                    self.resources.remove(&resource);
                }
                for change in delta.resources {
                    let key = change.resource.clone();
                    // A host that reports is seen, though it does not stand differently.
                    let host = self.hosts.get_mut(&key.host_id).map(|host| {
                        host.last_seen_at = host.last_seen_at.max(Some(change.at));
                        host.name.clone()
                    });
                    let host = host.unwrap_or_default();
                    let known = self.resources.entry(key).or_insert_with_key(|key| blank(key, host));
                    change.apply(known);
                }
            }
            Body::Event(_) | Body::Error(_) => {}
        }
    }

    fn reading(&self, host: HostId, kind: &str, field: &str, fold: Fold) -> Option<f64> {
        let from = ResourceRef { host_id: host, kind: kind.to_owned(), name: String::new() };
        let of_kind = self.resources.range(from..).take_while(|(key, _)| key.host_id == host && key.kind == kind);
        let values = of_kind.filter_map(|(_, resource)| resource.readings.get(field).copied());
        match fold {
            Fold::Most => values.reduce(f64::max),
            Fold::Sum => values.reduce(|a, b| a + b),
        }
    }

    fn rows(&self, catalogue: &Catalogue) -> Vec<Vec<Text>> {
        let mut hosts: Vec<_> = self.hosts.values().collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        hosts
            .into_iter()
            .map(|host| {
                let mut row =
                    vec![Text::new(host.name.clone()), Text::status(host.status), ago(host.last_seen_at, now())];
                row.extend(COLUMNS.iter().map(|&(_, kind, field, fold)| {
                    let unit = catalogue.field(kind, field).map_or(Unit::Number, |field| field.unit.clone());
                    self.reading(host.id, kind, field, fold)
                        .map_or_else(Text::none, |value| Text::reading(&unit, value))
                }));
                row
            })
            .collect()
    }
}

fn reference(resource: &Resource) -> ResourceRef {
    ResourceRef { host_id: resource.host_id, kind: resource.kind.clone(), name: resource.name.clone() }
}

fn blank(key: &ResourceRef, host: String) -> Resource {
    Resource {
        host,
        host_id: key.host_id,
        kind: key.kind.clone(),
        name: key.name.clone(),
        status: None,
        reason: String::new(),
        problems: Vec::new(),
        stale: false,
        at: tomte_model::Timestamp::default(),
        facets: BTreeMap::new(),
        attributes: BTreeMap::new(),
        readings: BTreeMap::new(),
        tables: BTreeMap::new(),
    }
}

/// The way to the hub: open, or being opened again.
enum Link<'a> {
    Up(Box<LiveStream>),
    Lost { since: Instant, why: String, again: BoxFuture<'a, Box<LiveStream>> },
}

/// What the link has to tell.
enum Heard {
    Told(Message),
    Lost(String),
    Back(Box<LiveStream>),
}

impl Link<'_> {
    /// May be dropped at any time, and asked again.
    async fn next(&mut self) -> Heard {
        match self {
            Self::Up(live) => match live.next().await {
                Ok(Some(message)) => Heard::Told(message),
                Ok(None) => Heard::Lost("the hub closed it".to_owned()),
                Err(error) => Heard::Lost(error.to_string()),
            },
            Self::Lost { again, .. } => Heard::Back(again.await),
        }
    }

    /// What has to be said beneath the picture: that it is old, while it is.
    fn note(&self) -> Option<String> {
        let Self::Lost { since, why, .. } = self else { return None };
        let age = span(since.elapsed());
        Some(format!("no connection to the hub for {age}, and nothing newer than that: {why}"))
    }
}

/// Watches until interrupted, or for `count` pictures. A connection that is
/// lost is made again; meanwhile people see the last picture grow old, and
/// programs are told nothing.
pub(crate) async fn run(args: WatchArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let catalogue = Catalogue::builtin();
    let every = u32::try_from(args.every.as_secs().max(1)).unwrap_or(u32::MAX);
    let subscribe = Subscribe {
        id: "watch".into(),
        hosts: args.hosts,
        kinds: COLUMNS.iter().map(|(_, kind, ..)| (*kind).to_owned()).collect(),
        fields: COLUMNS.iter().map(|(_, _, field, _)| (*field).to_owned()).collect(),
        every_s: Some(every),
        events: false,
        resources: true,
    };
    let mut left = args.count;
    let mut picture = Picture::default();
    let mut link = Link::Up(connect(client, &subscribe).await?);
    let mut tick = tokio::time::interval(args.every);
    let mut seen = false;
    let mut drawn = 0;
    loop {
        tokio::select! {
            heard = link.next() => match heard {
                Heard::Told(message) => {
                    if let Body::Error(refusal) = message.body {
                        return Err(refusal.problem.into());
                    }
                    picture.take(message.body);
                    if !seen {
                        seen = true;
                        tick.reset_immediately();
                    }
                }
                Heard::Lost(why) => {
                    // On a terminal it stands beneath the picture.
                    if !on_screen(&output) {
                        output.aside(&format!("the connection to the hub is lost: {why}"));
                    }
                    let again = Box::pin(reconnect(client, &subscribe));
                    link = Link::Lost { since: Instant::now(), why, again };
                    tick.reset_immediately();
                }
                Heard::Back(live) => {
                    if !on_screen(&output) {
                        output.aside("the connection to the hub is back");
                    }
                    link = Link::Up(live);
                }
            },
            _ = tick.tick(), if seen => {
                let note = link.note();
                if note.is_some() && !on_screen(&output) {
                    continue;
                }
                draw(&picture, &catalogue, &output, &mut drawn, note.as_deref())?;
                if note.is_some() {
                    continue;
                }
                if let Some(left) = &mut left {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Whether a person sees one picture in place of the other.
fn on_screen(output: &Output) -> bool {
    output.format == Format::Table && output.terminal()
}

async fn connect(client: &Client, subscribe: &Subscribe) -> Result<Box<LiveStream>, ClientError> {
    let mut live = client.live().await?;
    live.subscribe(subscribe.clone()).await?;
    Ok(Box::new(live))
}

async fn reconnect(client: &Client, subscribe: &Subscribe) -> Box<LiveStream> {
    let mut wait = Duration::from_millis(500);
    loop {
        tokio::time::sleep(wait).await;
        if let Ok(live) = connect(client, subscribe).await {
            return live;
        }
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}

fn draw(
    picture: &Picture,
    catalogue: &Catalogue,
    output: &Output,
    drawn: &mut usize,
    note: Option<&str>,
) -> anyhow::Result<()> {
    let header: Vec<&str> = ["host", "status", "seen"].into_iter().chain(COLUMNS.iter().map(|c| c.0)).collect();
    let rows = picture.rows(catalogue);
    if output.format == Format::Table {
        return output.redraw(drawn, &header, rows, note);
    }
    let hosts: Vec<_> = picture.hosts.values().collect();
    output.list(&hosts, &header, rows)
}
