//! Running a hub: everything that listens or recurs, from start to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tomte_model::Clock;

use crate::config::{ConfigError, Resolved};
use crate::serve::{self, Doors, SOCKET};
use crate::{Hub, HubError, StartError, http, hub, mqtt, sources, watch};

/// How often presence is judged.
const SWEEP: Duration = Duration::from_secs(1);
/// Changed records wait so long for others, to be written together.
const GATHER: Duration = Duration::from_millis(100);
/// After records could not be written, the next attempt.
const RETRY: Duration = Duration::from_secs(2);
/// How often it is seen whether snapshots are due, how long they are put off,
/// and after how many reports they are not.
const SNAPSHOT_LOOK: Duration = Duration::from_secs(10);
const SNAPSHOT_EVERY: Duration = Duration::from_secs(15 * 60);
const SNAPSHOT_ROWS: u64 = 1_000_000;
/// How often it is written down when hosts were last heard of.
const TOUCH: Duration = Duration::from_secs(5 * 60);
/// How often the store is looked after.
const MAINTAIN: Duration = Duration::from_secs(60);
/// After so many rounds of that, the hub's own records are as well.
const MAINTAIN_RECORDS: u32 = 60;
/// How long connections may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// A hub that runs.
#[derive(Debug)]
pub struct RunningHub {
    hub: Arc<Hub>,
    tasks: JoinSet<()>,
}

impl Hub {
    /// Opens the folder, listens, and starts everything that recurs. With port
    /// 0 the real address is in [`Hub::addresses`].
    ///
    /// # Errors
    /// When the databases or the identity cannot be used, or an address cannot
    /// be listened on.
    pub async fn start(resolved: Resolved, clock: Arc<dyn Clock>) -> Result<RunningHub, StartError> {
        raise_file_limit();
        let mut listeners = Vec::new();
        for &address in &resolved.config.listen {
            let listener = TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
            listeners.push(listener);
        }
        let opened = tokio::task::spawn_blocking(move || Self::open(resolved, clock)).await;
        let hub = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        hub.serve_on(listeners)
    }

    /// Serves on listeners that are bound already, and starts everything that
    /// recurs.
    ///
    /// # Errors
    /// When the certificate or the socket in the data folder cannot be made.
    pub fn serve_on(self: Arc<Self>, listeners: Vec<TcpListener>) -> Result<RunningHub, StartError> {
        let hub = self;
        let config = hub.config();
        let addresses: Vec<_> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        if addresses.iter().any(|address| config.tls_on(address)) {
            hub.renew_leaf()?;
        }
        hub.listening.write().unwrap_or_else(std::sync::PoisonError::into_inner).clone_from(&addresses);
        let socket = serve::bind_socket(&config.data)
            .map_err(|source| StartError::Socket { path: config.data.join(SOCKET), source })?;
        let router = http::router(Arc::clone(&hub)).merge(sources::link::router(Arc::clone(&hub)));
        let doors = Doors::new(config.limits.connections, config.limits.connections_per_address);
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(serve::tcp(Arc::clone(&hub), listener, router.clone(), Arc::clone(&doors)));
        }
        tasks.spawn(serve::local(Arc::clone(&hub), socket, router));
        tasks.spawn(sweep(Arc::clone(&hub)));
        tasks.spawn(write_records(Arc::clone(&hub)));
        tasks.spawn(note_hosts(Arc::clone(&hub)));
        tasks.spawn(save_snapshots(Arc::clone(&hub)));
        tasks.spawn(maintain(Arc::clone(&hub)));
        tasks.spawn(mqtt::run(Arc::clone(&hub)));
        tracing::info!(data = %config.data.display(), ?addresses, "the hub listens");
        Ok(RunningHub { hub, tasks })
    }
}

impl RunningHub {
    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Runs until `stop` ends. On SIGHUP the configuration is read again with
    /// `reread`; one that makes no sense changes nothing.
    ///
    /// # Errors
    /// When the signal cannot be waited for.
    pub async fn run_until(
        self,
        stop: CancellationToken,
        mut reread: impl FnMut() -> Result<Resolved, ConfigError>,
    ) -> std::io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.hub.stop.cancelled() => break,
                Some(()) = hangups.recv() => match reread() {
                    Ok(new) => self.reload(&new),
                    Err(error) => tracing::error!(%error, "the configuration was not read again; the old one holds"),
                },
            }
        }
        self.stop().await;
        Ok(())
    }

    /// Takes up a configuration that was read again, as far as a running hub can.
    pub fn reload(&self, new: &Resolved) {
        let later = self.hub.reload(new);
        if self.hub.leaf().is_some()
            && let Err(error) = self.hub.renew_leaf()
        {
            tracing::error!(%error, "the old certificate stays");
        }
        tracing::info!(after_restart = later.join(" "), "took up the configuration");
    }

    /// Stops: says goodbye to everybody, and writes down what is known.
    pub async fn stop(mut self) {
        self.hub.stop.cancel();
        self.hub.sessions.close();
        if tokio::time::timeout(STOP_WITHIN, self.hub.sessions.wait()).await.is_err() {
            tracing::warn!(connections = self.hub.sessions.len(), "some connections did not end in time");
        }
        while self.tasks.join_next().await.is_some() {}
        let hub = Arc::clone(&self.hub);
        let saved = hub::blocking(move || {
            hub.note_hosts()?;
            hub.store.history.flush()?;
            hub.save_snapshots()?;
            hub.touch_hosts().map_err(HubError::from)
        })
        .await;
        if let Err(error) = saved {
            tracing::error!(%error, "not everything could be written down; the next start reads it from the reports");
        }
        let _ = std::fs::remove_file(socket_path(&self.hub));
        tracing::info!("the hub stopped");
    }
}

/// Every agent is a connection, and every connection a file to the kernel; the
/// usual soft limit of 1,024 is far from the hard one.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        tracing::warn!(limit = current, "the limit of open files cannot be raised");
    }
}

fn socket_path(hub: &Hub) -> PathBuf {
    hub.data().join(SOCKET)
}

/// Waits for the next turn; `false` when the hub stops instead.
async fn turn(hub: &Hub, ticks: &mut tokio::time::Interval) -> bool {
    tokio::select! {
        _ = ticks.tick() => true,
        () = hub.stop.cancelled() => false,
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Presence, leases, the certificate: what takes no disk.
async fn sweep(hub: Arc<Hub>) {
    let mut ticks = every(SWEEP);
    let per_lease = watch::RENEW.as_secs() / SWEEP.as_secs();
    let mut count = 0_u64;
    while turn(&hub, &mut ticks).await {
        count += 1;
        hub.sweep();
        if count.is_multiple_of(per_lease) {
            hub.renew_leases();
        }
        if count.is_multiple_of(60) {
            hub.look_after_leaf();
        }
    }
}

/// Events, the audit, changed records: soon, and until it succeeds.
async fn write_records(hub: Arc<Hub>) {
    loop {
        tokio::select! {
            () = hub.records.arrived.notified() => {}
            () = hub.events.arrived.notified() => {}
            () = hub.stop.cancelled() => return,
        }
        let mut wait = GATHER;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = hub.stop.cancelled() => return,
            }
            let writing = Arc::clone(&hub);
            match hub::blocking(move || writing.write_records().map_err(HubError::from)).await {
                Ok(()) => break,
                Err(_) => wait = RETRY,
            }
        }
    }
}

/// Who hosts are, for those who ask how it was.
async fn note_hosts(hub: Arc<Hub>) {
    loop {
        tokio::select! {
            () = hub.records.facts_arrived.notified() => {}
            () = hub.stop.cancelled() => return,
        }
        let noting = Arc::clone(&hub);
        let noted = hub::blocking(move || noting.note_hosts().map_err(HubError::from)).await;
        let wait = if noted.is_ok() { GATHER } else { RETRY };
        report("who hosts are", noted);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = hub.stop.cancelled() => return,
        }
    }
}

async fn save_snapshots(hub: Arc<Hub>) {
    let mut ticks = every(SNAPSHOT_LOOK);
    let mut touched = Instant::now();
    let mut saved = Instant::now();
    while turn(&hub, &mut ticks).await {
        if touched.elapsed() >= TOUCH {
            touched = Instant::now();
            let writing = Arc::clone(&hub);
            report("when hosts were heard of", hub::blocking(move || Ok(writing.touch_hosts()?)).await);
        }
        let released = hub.released.load(std::sync::atomic::Ordering::Relaxed);
        let rows = hub.store.history.last_row().saturating_sub(released);
        if rows > 0 && (saved.elapsed() >= SNAPSHOT_EVERY || rows >= SNAPSHOT_ROWS) {
            saved = Instant::now();
            let writing = Arc::clone(&hub);
            report("the latest state", hub::blocking(move || Ok(writing.save_snapshots()?)).await);
        }
    }
}

async fn maintain(hub: Arc<Hub>) {
    let mut ticks = every(MAINTAIN);
    let mut round = 0_u32;
    while turn(&hub, &mut ticks).await {
        let caring = Arc::clone(&hub);
        let records = round.is_multiple_of(MAINTAIN_RECORDS);
        round = round.wrapping_add(1);
        let cared = hub::blocking(move || {
            let now = caring.now();
            caring.store.history.maintain(now)?;
            if records {
                let events_before = now.minus(caring.config().history.events.0);
                caring.store.state.maintain(now, events_before)?;
            }
            Ok(())
        })
        .await;
        report("the upkeep of the store", cared);
    }
}

fn report(what: &str, result: Result<(), HubError>) {
    if let Err(error) = result {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(%error, cause, "{what} could not be written");
    }
}
