//! One simulated host's agent: the real pipeline and link around made-up
//! readings.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tomte_agent::config::{HubUrl, OutboxConfig};
use tomte_agent::connect::{Endpoint, HubConnector};
use tomte_agent::link::{self, LinkOptions};
use tomte_agent::outbox::Outbox;
use tomte_agent::pipeline::{Judged, Pipeline, PipelineOptions, Seen};
use tomte_agent::station::{Command, Station};
use tomte_collect::Seat;
use tomte_link::SettingsResult;
use tomte_model::{BootId, Catalogue, Clock, Moment};

use super::host::{SimulatedHost, Story};

/// How long a hub may take to say who tells of a cluster.
const DECIDED_WITHIN: Duration = Duration::from_secs(10);
/// A flapping host is connected for so long, then gone for so long.
const FLAPPING_ON: Duration = Duration::from_secs(150);
const FLAPPING_OFF: Duration = Duration::from_secs(120);
/// An offline host is heard of for so long.
const OFFLINE_AFTER: Duration = Duration::from_secs(20);

/// A simulated host was booted three days before this machine, so that it has
/// a past also where this one was booted just now.
struct BootedBefore(Arc<dyn Clock>);

impl Clock for BootedBefore {
    fn now(&self) -> Moment {
        let now = self.0.now();
        Moment { boot_millis: now.boot_millis + 3 * 86_400_000, ..now }
    }
}

/// There is no spool behind a simulated host; this holds its past.
const MEMORY: u64 = 64 << 20;

/// Reports until cancelled, beginning with so much of the past, as an agent
/// does whose hub was away.
pub(super) async fn run(
    host: SimulatedHost,
    hub: HubUrl,
    token: String,
    interval: Duration,
    past: Duration,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let clock = Arc::new(BootedBefore(clock));
    let now = clock.now();
    let epoch = u64::try_from(now.wall.millis()).unwrap_or(1);
    let pipeline = Pipeline::new(
        PipelineOptions {
            host: super::host_id(&host),
            boot_id: BootId(u128::from(host.number) + 1),
            catalogue: Arc::new(Catalogue::builtin()),
            rules: Vec::new(),
            judged: Judged::default(),
        },
        Outbox::new(epoch, OutboxConfig { memory_limit: MEMORY, ..OutboxConfig::default() }, now),
    );
    let station = Station::new(pipeline, clock);
    let seat = Arc::new(Seat::default());
    match host.membership() {
        Some(membership) => seat.see(membership),
        None => recall(&host, &station, &seat, past),
    }
    let connector = HubConnector::new(Endpoint::new(hub, None, || true)?, token);
    let options =
        LinkOptions { synchronised: || true, ..LinkOptions::new(format!("{}.demo", host.name()), fastrand::u128(..)) };
    let options = LinkOptions { seat: seat.clone(), ..options };
    let (commands, mut asked) = mpsc::channel(8);
    let connected = connect(host.story, station.clone(), options, connector, commands, cancel.clone());
    let observed = async {
        // A node's past is told once it is known whose its guests are.
        if host.membership().is_some() {
            decided(&mut asked).await;
            recall(&host, &station, &seat, past);
        }
        observe(&host, &station, &seat, interval, asked, cancel.clone()).await;
    };
    tokio::join!(connected, observed);
    Ok(())
}

/// Waits until the hub has said who tells of the cluster, or for a while.
async fn decided(asked: &mut mpsc::Receiver<Command>) {
    let heard = async { while !matches!(asked.recv().await, None | Some(Command::Cluster)) {} };
    let _ = tokio::time::timeout(DECIDED_WITHIN, heard).await;
}

/// Keeps the link up, as the host's story has it.
async fn connect(
    story: Story,
    station: Arc<Station>,
    options: LinkOptions,
    connector: HubConnector,
    commands: mpsc::Sender<Command>,
    cancel: CancellationToken,
) {
    loop {
        let link = cancel.child_token();
        let run = link::run(station.clone(), options.clone(), connector.clone(), commands.clone(), link.clone());
        let up = match story {
            Story::Calm | Story::Failing => None,
            Story::Flapping => Some(FLAPPING_ON),
            Story::Offline => Some(OFFLINE_AFTER),
        };
        let Some(up) = up else { return run.await };
        // Dropping the connection mid-air is what a pulled cable looks like.
        let _ = tokio::time::timeout(up, run).await;
        if story == Story::Offline {
            return cancel.cancelled().await;
        }
        tokio::select! {
            () = tokio::time::sleep(FLAPPING_OFF) => {}
            () = cancel.cancelled() => return,
        }
    }
}

/// Looks every interval, faster while somebody watches, at once when asked.
async fn observe(
    host: &SimulatedHost,
    station: &Station,
    seat: &Seat,
    interval: Duration,
    mut asked: mpsc::Receiver<Command>,
    cancel: CancellationToken,
) {
    let mut pace = interval;
    let mut lease = Instant::now();
    // Hosts do not look all at the same moment.
    let mut next = Instant::now() + interval.mul_f64(fastrand::f64().min(0.3));
    let mut slow_due = 0_u64;
    let mut tick = tokio::time::interval_at(next, pace);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = tick.tick() => {
                let now = station.clock().now();
                let all = now.boot_millis >= slow_due;
                if all {
                    slow_due = now.boot_millis + 60_000;
                }
                look(host, station, seat, pace, all);
                if pace != interval && Instant::now() >= lease {
                    pace = interval;
                    tick = tokio::time::interval(pace);
                    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    tick.reset();
                }
            }
            command = asked.recv() => match command {
                None => return cancel.cancelled().await,
                Some(Command::Live { interval_millis, lease_millis }) => {
                    lease = Instant::now() + Duration::from_millis(lease_millis.into());
                    let wanted = Duration::from_millis(u64::from(interval_millis).max(500)).min(interval);
                    if wanted != pace {
                        pace = wanted;
                        next = Instant::now() + pace;
                        tick = tokio::time::interval_at(next, pace);
                        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    }
                }
                Some(Command::Refresh { .. } | Command::Cluster) => look(host, station, seat, pace, true),
                // It has no name of its own to keep.
                Some(Command::Welcomed { .. }) => {}
                // Nobody asks a simulated host to run anything.
                Some(Command::Decide(_) | Command::TellActions) => {}
                Some(Command::Settings { push, answer }) => {
                    let refused = push
                        .values
                        .into_iter()
                        .map(|(key, _)| (key, "a simulated host has no settings".to_owned()))
                        .collect();
                    // The link may have gone meanwhile; then nobody wants to know.
                    let _ = answer.send(SettingsResult { revision: push.revision, refused });
                }
            }
        }
    }
}

/// Looks back: once for each minute of the past.
fn recall(host: &SimulatedHost, station: &Station, seat: &Seat, past: Duration) {
    let now = station.clock().now();
    for minute in (1..=past.as_secs() / 60).rev() {
        let ago = Duration::from_secs(minute * 60);
        let boot_millis = now.boot_millis.saturating_sub(minute * 60_000);
        submit(host, station, seat, Moment { wall: now.wall.minus(ago), boot_millis }, Duration::from_secs(60), true);
    }
}

/// What is looked at each time; the rest once a minute.
const FAST: &[&str] =
    &["cpu", "load", "memory", "pressure", "disk", "interface", "sensor", "systemd", "container", "proxmox"];

fn look(host: &SimulatedHost, station: &Station, seat: &Seat, pace: Duration, all: bool) {
    submit(host, station, seat, station.clock().now(), pace, all);
}

fn submit(host: &SimulatedHost, station: &Station, seat: &Seat, moment: Moment, pace: Duration, all: bool) {
    for (collector, scopes) in host.observe(moment) {
        let fast = FAST.contains(&collector);
        if !fast && !all {
            continue;
        }
        let interval = if fast { pace } else { Duration::from_secs(60) };
        let shared = host.shared(collector, &scopes, moment, seat.standing());
        let seen = Seen { collector: collector.into(), interval, moment, clock_synchronised: true, scopes };
        station.submit_shared(seen, shared);
    }
}
