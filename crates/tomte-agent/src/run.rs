//! `tomte-agent run`: everything together, from the configuration to a clean
//! stop.
//!
//! [`run`] waits for a configuration, starts the parts and then only listens:
//! to signals, to what the hub asks, to the clock. The parts run side by side
//! on one thread: collectors' results come from the workers, the spool has a
//! thread of its own while it works.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tomte_collect::{Root, Seat, Standing, SystemClock, boot_id, clock_synchronised, engine_sockets, hostname};
use tomte_model::{Catalogue, Clock, EventKind, Moment, Severity};
use tomte_mqtt::client::State as BrokerState;
use tomte_mqtt::protocol::{Qos, Subscription};
use tracing::{error, info, warn};

use crate::actions::Desk;
use crate::config::units::Span;
use crate::config::{Config, Found, Layers, Sources};
use crate::connect::{Endpoint, HubConnector};
use crate::engine_events;
use crate::link::{self, LinkOptions, with_causes};
use crate::mqtt::{self, Publishing};
use crate::outbox::{Folder, Outbox, Spool, SpoolLimits};
use crate::pipeline::{Judged, Pipeline, PipelineOptions, agent_event};
use crate::scheduler::Scheduler;
use crate::sd;
use crate::settings::{self, Pushed};
use crate::socket::{LocalHost, LocalSocket};
use crate::state::{Enrolment, Identity, StateDir, StateLock, random_u128};
use crate::station::{Command, Station, drive_spool};
use crate::tls::Pin;
use crate::workers::{Change, Collecting, Workers};

/// The file of what was judged.
const JUDGED: &str = "judged.json";
/// The file of what the hub has set.
pub(crate) const HUB_SETTINGS: &str = "hub-settings.json";
/// The file of who tells of the host's cluster.
const CLUSTER: &str = "cluster.json";
/// The collectors that look at a cluster.
const OF_CLUSTERS: [&str; 2] = ["proxmox", "proxmox_guest"];
/// How often what was judged is saved, where it changed.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// How often a missing configuration is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// How long a stop may take, each part.
const STOP_WITHIN: Duration = Duration::from_secs(6);
/// One more than the longest interval, so that hosts spread over all of it.
const PHASES: u64 = 900_000;

/// Changes what is logged while the agent runs.
pub type SetLogLevel = Box<dyn Fn(crate::config::LogLevel) + Send>;

struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

enum Woken {
    Reload,
    Stop,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("listening for signals");
        Ok(Self {
            reload: on(SignalKind::hangup())?,
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Woken {
        tokio::select! {
            _ = self.reload.recv() => Woken::Reload,
            _ = self.terminate.recv() => Woken::Stop,
            _ = self.interrupt.recv() => Woken::Stop,
        }
    }
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// When the configuration makes no sense at the start, the state folder cannot
/// be used, or a broker that is required is not there in time.
pub async fn run(sources: Sources, set_log_level: SetLogLevel, require_broker: bool) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let Some(layers) = configuration(&sources, &mut signals).await? else { return Ok(()) };
    let mut agent = Agent::start(layers, &set_log_level).await?;
    sd::ready(&agent.status());
    let missing = missing_broker(require_broker, &agent);
    let ended = tokio::select! {
        () = agent.listen(&sources, &set_log_level, &mut signals) => Ok(()),
        error = missing => Err(error),
    };
    sd::stopping();
    agent.stop().await;
    ended
}

/// Ends with an error when a broker is required and was never reached.
fn missing_broker(required: bool, agent: &Agent) -> impl Future<Output = anyhow::Error> + use<> {
    let within = agent.config.mqtt.as_ref().map(|mqtt| mqtt.require_within);
    let mut broker = agent.mqtt.as_ref().map(|(.., broker)| broker.clone());
    async move {
        if !required {
            return std::future::pending().await;
        }
        let (Some(within), Some(broker)) = (within, &mut broker) else {
            return anyhow::anyhow!(
                "--require-broker: there is no broker to publish to; set mqtt.url, and see the log"
            );
        };
        let reached = broker.wait_for(|state| *state == BrokerState::Connected);
        if tokio::time::timeout(within, reached).await.is_ok() {
            return std::future::pending().await;
        }
        let why = match &*broker.borrow() {
            BrokerState::Never(why) if !why.is_empty() => why.clone(),
            _ => "no answer".to_owned(),
        };
        anyhow::anyhow!("--require-broker: the broker was not reached within {}: {why}", Span(within))
    }
}

/// Waits until there is a configuration; `None` when told to stop before.
async fn configuration(sources: &Sources, signals: &mut Signals) -> anyhow::Result<Option<Layers>> {
    let mut told = false;
    loop {
        let missing = match Layers::read(sources)? {
            Found::Layers(layers) => return Ok(Some(*layers)),
            Found::Nothing(missing) => missing,
        };
        if !told {
            told = true;
            let paths: Vec<_> = missing.iter().map(|path| path.display().to_string()).collect();
            let paths = paths.join(" or ");
            warn!(
                "no configuration: there is no {paths}; waiting for one. `tomte-agent enroll` writes it, \
                 `tomte-agent check --sample` prints one to start from"
            );
            sd::ready(&format!("idle: there is no {paths}"));
        }
        let watchdog = sd::watchdog().unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
        tokio::select! {
            woken = signals.next() => if matches!(woken, Woken::Stop) { return Ok(None) },
            () = tokio::time::sleep(watchdog) => sd::alive(),
        }
    }
}

/// Who tells of the host's cluster, as the hub of that address decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Decided {
    hub: String,
    cluster: String,
    standing: Standing,
}

/// A running agent.
struct Agent {
    layers: Layers,
    config: Config,
    state: StateDir,
    _lock: StateLock,
    identity: Identity,
    hostname: String,
    instance: u128,
    pushed: Pushed,
    station: Arc<Station>,
    clock: Arc<dyn Clock>,
    changes: mpsc::Sender<Change>,
    commands: mpsc::Receiver<Command>,
    command_sender: mpsc::Sender<Command>,
    link: Option<(JoinHandle<()>, CancellationToken)>,
    /// Follows the events of container engines.
    engines: Option<(JoinHandle<()>, CancellationToken)>,
    collecting: (JoinHandle<()>, CancellationToken),
    spool: Option<(JoinHandle<()>, CancellationToken)>,
    socket: Option<(JoinHandle<()>, CancellationToken)>,
    mqtt: Option<(JoinHandle<()>, CancellationToken, watch::Receiver<BrokerState>)>,
    /// What others ask this host to do.
    desk: Arc<Desk>,
    desk_task: Option<(JoinHandle<()>, CancellationToken)>,
    /// Whether the broker's requests are listened to.
    takes_commands: bool,
    started: Moment,
    /// Small writes on their way to disk.
    saves: JoinSet<()>,
    saved: Judged,
    seat: Arc<Seat>,
    decided: Decided,
}

impl Agent {
    async fn start(layers: Layers, set_log_level: &SetLogLevel) -> anyhow::Result<Self> {
        let config = layers.resolve(&[])?;
        set_log_level(config.log_level);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let now = clock.now();
        let state = StateDir::open(&config.state_dir)?;
        let lock = state.lock()?;
        let identity = state.identity_or_new(now.wall)?;
        let pushed = loaded::<Pushed>(&state, HUB_SETTINGS);
        let config = if config.accept_hub_settings { layers.resolve(&pushed.values)? } else { config };
        let judged = loaded::<Judged>(&state, JUDGED);
        let decided = loaded::<Decided>(&state, CLUSTER);
        let seat = Arc::new(Seat::default());
        if identity.enrolment.as_ref().is_some_and(|enrolment| enrolment.url == decided.hub) {
            seat.decide(&decided.cluster, decided.standing);
        }
        let root = crate::api::root().with_seat(seat.clone());
        let (hostname, boot_id) = (hostname(&root), boot_id(&root));

        let limits = spool_limits(&config);
        let opened = Spool::open(Box::new(Folder::new(state.spool())), limits, 0, boot_id);
        let mut spool = opened.inspect_err(|error| warn!(%error, "the spool cannot be used")).ok();
        let after_spool = spool.as_ref().map_or(0, |spool| spool.last_epoch() + 1);
        let (epoch, trouble) = state.next_epoch(now.wall, after_spool);
        if let Some(trouble) = trouble {
            warn!("{}", with_causes(&trouble));
        }
        let mut outbox = Outbox::new(epoch, config.outbox, now);
        if let Some(spool) = &mut spool {
            spool.set_epoch(epoch);
            outbox.attach(spool);
        }
        let options = PipelineOptions {
            host: identity.host,
            boot_id,
            catalogue: Arc::new(Catalogue::builtin()),
            rules: config.thresholds.clone(),
            judged: judged.clone(),
        };
        let station = Station::new(Pipeline::new(options, outbox), clock.clone());

        let (changes, change_receiver) = mpsc::channel(8);
        let (command_sender, commands) = mpsc::channel(8);
        let phase = u64::from_le_bytes(std::array::from_fn(|byte| identity.host.to_bytes()[8 + byte])) % PHASES;
        let collecting = Collecting {
            station: station.clone(),
            workers: Workers::new(Scheduler::new(root, &config, phase, now), clock.clone()),
            own_interval: config.own_interval(),
            roles: config.roles.clone(),
            phase,
            synchronised: clock_synchronised,
        };
        let cancel = CancellationToken::new();
        let collecting = (tokio::spawn(collecting.run(change_receiver, cancel.clone())), cancel);
        let spool = spool.map(|spool| {
            let cancel = CancellationToken::new();
            (tokio::spawn(drive_spool(station.clone(), spool, cancel.clone())), cancel)
        });
        let started = format!("tomte-agent {} started", env!("CARGO_PKG_VERSION"));
        let details = [("version", env!("CARGO_PKG_VERSION")), ("boot_id", &boot_id.to_string())];
        let event = agent_event(now.wall, EventKind::AGENT_STARTED, Severity::Info, started, &details);
        station.pipeline().raise(event);
        let desk = Desk::new(station.clone(), state.clone(), config.commands.clone(), changes.clone());
        let cancel = CancellationToken::new();
        let desk_task = Some((tokio::spawn(desk.clone().run(cancel.clone())), cancel));
        let mut agent = Self {
            desk,
            desk_task,
            takes_commands: false,
            layers,
            config,
            state,
            _lock: lock,
            identity,
            hostname,
            instance: random_u128()?,
            pushed,
            station,
            clock,
            changes,
            commands,
            command_sender,
            link: None,
            engines: None,
            collecting,
            spool,
            socket: None,
            mqtt: None,
            started: now,
            saves: JoinSet::new(),
            saved: judged,
            seat,
            decided,
        };
        agent.open_socket();
        agent.open_link();
        agent.follow_engines();
        agent.open_mqtt();
        Ok(agent)
    }

    /// The enrolment that counts: that of the hub which the file names.
    fn enrolment(&self) -> Option<(&crate::config::HubUrl, &Enrolment)> {
        Some((self.config.hub.as_ref()?, self.identity.enrolment.as_ref()?))
    }

    fn name(&self) -> String {
        let enrolled = self.enrolment().map(|(_, enrolment)| enrolment.name.clone());
        let own = self.config.name.as_ref().map(ToString::to_string);
        let machine = || tomte_model::HostName::normalised(&self.hostname).map(String::from);
        enrolled.or(own).or_else(machine).unwrap_or_else(|| "localhost".to_owned())
    }

    fn status(&self) -> String {
        match self.enrolment() {
            Some((url, _)) => format!("watching {} for {url}", self.name()),
            None => format!("watching {} alone", self.name()),
        }
    }

    fn open_socket(&mut self) {
        let path = &self.config.socket;
        let socket = match LocalSocket::bind(path) {
            Ok(socket) => socket,
            Err(error) => {
                warn!(%error, path = %path.display(), "the local socket cannot be opened; everything else works");
                return;
            }
        };
        let host = LocalHost {
            station: self.station.clone(),
            name: self.name(),
            hostname: self.hostname.clone(),
            roles: self.config.roles.clone(),
            started: self.clock.now().wall,
            synchronised: clock_synchronised,
            desk: Some(self.desk.clone()),
        };
        let cancel = CancellationToken::new();
        let task = tokio::spawn(socket.serve(Arc::new(host), self.changes.clone(), cancel.clone()));
        self.socket = Some((task, cancel));
    }

    fn open_link(&mut self) {
        let enrolment = self.enrolment().map(|(url, enrolment)| (url.clone(), enrolment.clone()));
        self.station.pipeline().outbox_mut().set_enabled(enrolment.is_some());
        let hub = enrolment.as_ref().map_or("", |(_, enrolment)| enrolment.url.as_str());
        if hub != self.decided.hub {
            // Another hub, or none: what the one before decided is void.
            self.seat.decide(&self.decided.cluster, Standing::Own);
        }
        let Some((url, enrolment)) = enrolment else {
            match &self.config.hub {
                None => info!("no hub is configured: this host lives alone"),
                Some(url) => warn!(
                    "this host is not enrolled at {url}: run `tomte host add NAME` on the hub and `tomte-agent enroll` \
                     here, then `systemctl reload tomte-agent`"
                ),
            }
            return;
        };
        if !url.tls && !is_loopback(&url.host) {
            warn!("the connection to {url} is not encrypted: whoever listens can read it and take the token");
        }
        let pin = enrolment.pin.as_deref().map(Pin::from_text).transpose();
        let endpoint = pin.and_then(|pin| Endpoint::new(url, pin, clock_synchronised));
        let endpoint = match endpoint {
            Ok(endpoint) => endpoint,
            Err(error) => {
                error!("{}", with_causes(&error));
                return;
            }
        };
        let connector = HubConnector::new(endpoint, enrolment.token);
        let own = self.config.name.as_ref().map_or_else(|| self.hostname.clone(), ToString::to_string);
        let publishes_mqtt = self.config.mqtt.is_some();
        let seat = self.seat.clone();
        let options = LinkOptions { publishes_mqtt, seat, ..LinkOptions::new(own, self.instance) };
        let cancel = CancellationToken::new();
        let running = link::run(self.station.clone(), options, connector, self.command_sender.clone(), cancel.clone());
        self.link = Some((tokio::spawn(running), cancel));
    }

    fn follow_engines(&mut self) {
        let looks = self.config.collectors().any(|(def, _)| def.name == "container");
        let sockets = if looks { engine_sockets(&Root::system(), &self.config.collect) } else { Vec::new() };
        let cancel = CancellationToken::new();
        let following = engine_events::follow(sockets, self.changes.clone(), cancel.clone());
        self.engines = Some((tokio::spawn(following), cancel));
    }

    fn open_mqtt(&mut self) {
        let Some(config) = &self.config.mqtt else { return };
        let mut settings = match mqtt::settings(config, self.identity.host, &self.name()) {
            Ok(settings) => settings,
            Err(error) => {
                return error!(
                    "nothing is published: {}; mend that, then run `systemctl reload tomte-agent`",
                    with_causes(&error)
                );
            }
        };
        if !config.address.scheme.is_tls() && settings.client.password.is_some() && !config.address.is_loopback() {
            warn!("the connection to {} is not encrypted: whoever listens can read the password", config.address);
        }
        let begin = self.started.boot_millis + u64::try_from(config.start_delay.as_millis()).unwrap_or(0);
        let mut publishing = Publishing::new(self.station.clone(), config, self.name(), self.state.clone(), begin);
        // Where nothing is allowed, nothing is listened to.
        self.takes_commands = self.desk.commands().borrow().is_some();
        if self.takes_commands {
            let topics = mqtt::commands::topics(&config.prefix, &self.name(), config.systant.is_some());
            settings.client.subscriptions.extend(topics.iter().map(|(topic, _)| Subscription {
                filter: topic.clone(),
                qos: Qos::AtLeastOnce,
                // A request that was retained is refused, also when it is new.
                retain_as_published: true,
            }));
            publishing = publishing.with_commands(self.desk.clone(), self.name(), topics);
        } else {
            publishing.without_commands();
        }
        let (state, watched) = watch::channel(BrokerState::Never(String::new()));
        let cancel = CancellationToken::new();
        let task = tokio::spawn(publishing.run(settings, state, cancel.clone()));
        self.mqtt = Some((task, cancel, watched));
    }

    async fn close_mqtt(&mut self) {
        let open = self.mqtt.take();
        stop(open.map(|(task, cancel, _)| (task, cancel))).await;
    }

    /// Listens to signals, to the hub and to the clock, until told to stop.
    async fn listen(&mut self, sources: &Sources, set_log_level: &SetLogLevel, signals: &mut Signals) {
        let mut save = interval(SAVE_EVERY);
        let mut alive = interval(sd::watchdog().unwrap_or(Duration::from_secs(3600)));
        for ticks in [&mut save, &mut alive] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut list = self.desk.commands();
        loop {
            tokio::select! {
                Ok(()) = list.changed() => {
                    // A list that comes, or goes, changes what is listened to.
                    let takes = list.borrow_and_update().is_some();
                    if self.mqtt.is_some() && takes != self.takes_commands {
                        self.close_mqtt().await;
                        self.open_mqtt();
                    }
                }
                woken = signals.next() => match woken {
                    Woken::Stop => return,
                    Woken::Reload => {
                        sd::reloading();
                        self.reload(sources, set_log_level).await;
                        sd::ready(&self.status());
                    }
                },
                Some(command) = self.commands.recv() => self.command(command).await,
                _ = save.tick() => {
                    self.save_judged();
                    self.save_decided();
                }
                _ = alive.tick() => sd::alive(),
                Some(_) = self.saves.join_next() => {}
            }
        }
    }

    async fn command(&mut self, command: Command) {
        let change = match command {
            Command::Live { interval_millis, lease_millis } => Change::Live { interval_millis, lease_millis },
            Command::Refresh { collectors } => Change::Refresh(collectors),
            Command::Welcomed { name, hub_version } => return self.welcomed(&name, hub_version).await,
            Command::Cluster => {
                self.save_decided();
                Change::Refresh(OF_CLUSTERS.map(str::to_owned).to_vec())
            }
            Command::Decide(decision) => return self.desk.decide_for_hub(decision),
            Command::TellActions => return self.desk.tell_hub(),
            Command::Settings { push, answer } => {
                let now = self.clock.now().wall;
                let accept = self.config.accept_hub_settings;
                let verdict = settings::take(push, &self.pushed, &self.layers, accept, now);
                for event in verdict.events {
                    info!("{}", event.message);
                    self.station.raise(event, clock_synchronised());
                }
                let changed = verdict.pushed.values != self.pushed.values;
                if verdict.pushed != self.pushed {
                    self.pushed = verdict.pushed;
                    self.save(HUB_SETTINGS, self.pushed.clone());
                }
                if changed {
                    match self.layers.resolve(&self.pushed.values) {
                        Ok(config) => self.apply(config).await,
                        Err(error) => warn!("{}", with_causes(&error)),
                    }
                }
                // The link may be gone by now; it will be told again.
                let _ = answer.send(verdict.result);
                return;
            }
        };
        let _ = self.changes.send(change).await;
    }

    /// The hub let us in, and said what this host is called there.
    async fn welcomed(&mut self, name: &str, hub_version: String) {
        self.station.set_hub_version(hub_version);
        let Ok(name) = name.parse::<tomte_model::HostName>() else { return };
        let Some(enrolment) = self.identity.enrolment.as_mut().filter(|enrolment| enrolment.name != name.as_str())
        else {
            return;
        };
        info!("this host is now called {name}");
        enrolment.name = name.to_string();
        if let Err(error) = self.state.save_identity(&self.identity) {
            warn!("{}", with_causes(&error));
        }
        stop(self.socket.take()).await;
        self.open_socket();
        self.close_mqtt().await;
        self.open_mqtt();
    }

    /// Reads the sources again; what makes no sense changes nothing.
    async fn reload(&mut self, sources: &Sources, set_log_level: &SetLogLevel) {
        let read = Layers::read(sources).and_then(|found| match found {
            Found::Layers(layers) => {
                let alone = layers.resolve(&[])?;
                let config = if alone.accept_hub_settings { layers.resolve(&self.pushed.values)? } else { alone };
                Ok(Some((layers, config)))
            }
            Found::Nothing(_) => Ok(None),
        });
        let (layers, config) = match read {
            Ok(Some(found)) => found,
            Ok(None) => return warn!("the configuration is gone; what was read before stays in force"),
            Err(error) => {
                return error!(
                    "the configuration was not taken up: {}; what was read before stays",
                    with_causes(&error)
                );
            }
        };
        let places = |config: &Config| {
            let commands = &config.commands;
            [&config.state_dir, &config.socket, &commands.file, &commands.socket].map(Clone::clone)
        };
        let names = ["state_dir", "socket", "commands.file", "commands.socket"];
        for ((what, before), after) in names.iter().zip(places(&self.config)).zip(places(&config)) {
            if before != after {
                warn!("{what} changed; restart the agent to use {}", after.display());
            }
        }
        set_log_level(config.log_level);
        let identity = match self.state.identity() {
            Ok(Some(identity)) => identity,
            Ok(None) => self.identity.clone(),
            Err(error) => {
                warn!("{}", with_causes(&error));
                self.identity.clone()
            }
        };
        if identity.host != self.identity.host {
            return warn!("this host has another identity now; restart the agent to use it");
        }
        let publishes = (self.config.mqtt.is_some(), config.mqtt.is_some());
        let relink = config.hub != self.config.hub
            || identity.enrolment != self.identity.enrolment
            || publishes.0 != publishes.1;
        let before = (self.config.mqtt.clone(), self.name());
        self.layers = *layers;
        self.identity = identity;
        let ends = publishes == (true, false);
        if ends {
            // Before the hub hears of it and speaks for this host.
            self.close_mqtt().await;
        }
        self.apply(config).await;
        if relink {
            stop(self.link.take()).await;
            self.open_link();
        }
        if !ends && before != (self.config.mqtt.clone(), self.name()) {
            self.close_mqtt().await;
            self.open_mqtt();
        }
        info!("the configuration was read again");
    }

    /// Puts a configuration in force.
    async fn apply(&mut self, config: Config) {
        {
            let mut pipeline = self.station.pipeline();
            pipeline.set_rules(config.thresholds.clone());
            pipeline.outbox_mut().set_limits(config.outbox);
        }
        let engines = |config: &Config| {
            (config.collect.container.sockets.clone(), config.collectors().any(|(def, _)| def.name == "container"))
        };
        let other_engines = engines(&self.config) != engines(&config);
        self.config = config;
        if other_engines {
            stop(self.engines.take()).await;
            self.follow_engines();
        }
        let _ = self.changes.send(Change::Config(Box::new(self.config.clone()))).await;
    }

    fn save_decided(&mut self) {
        let decided = self.decided_now();
        if decided != self.decided {
            self.decided = decided.clone();
            self.save(CLUSTER, decided);
        }
    }

    fn decided_now(&self) -> Decided {
        let (cluster, standing) = self.seat.decided();
        let hub = self.enrolment().map(|(_, enrolment)| enrolment.url.clone()).unwrap_or_default();
        Decided { hub, cluster, standing }
    }

    fn save_judged(&mut self) {
        let judged = self.station.pipeline().judged();
        if judged != self.saved {
            self.saved = judged.clone();
            self.save(JUDGED, judged);
        }
    }

    /// Writes a small file on a thread, so that a slow disk holds nothing up.
    fn save<T: serde::Serialize + Send + 'static>(&mut self, name: &'static str, value: T) {
        let state = self.state.clone();
        self.saves.spawn_blocking(move || {
            if let Err(error) = state.save(name, &value) {
                warn!("{}", with_causes(&error));
            }
        });
    }

    async fn stop(mut self) {
        self.save_decided();
        let now = self.clock.now().wall;
        let event = agent_event(now, EventKind::AGENT_STOPPED, Severity::Info, "tomte-agent stopped", &[]);
        // Hung collectors are left behind; nobody waits for them.
        stop(self.engines.take()).await;
        stop(Some(self.collecting)).await;
        self.station.raise(event, clock_synchronised());
        stop(self.mqtt.take().map(|(task, cancel, _)| (task, cancel))).await;
        stop(self.link.take()).await;
        stop(self.desk_task.take()).await;
        stop(self.spool.take()).await;
        stop(self.socket.take()).await;
        let judged = self.station.pipeline().judged();
        if judged != self.saved
            && let Err(error) = self.state.save(JUDGED, &judged)
        {
            warn!("{}", with_causes(&error));
        }
        let saved = async { while self.saves.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_WITHIN, saved).await;
        info!("stopped");
    }
}

async fn stop(part: Option<(JoinHandle<()>, CancellationToken)>) {
    if let Some((task, cancel)) = part {
        cancel.cancel();
        let _ = tokio::time::timeout(STOP_WITHIN, task).await;
    }
}

fn loaded<T: serde::de::DeserializeOwned + Default>(state: &StateDir, name: &str) -> T {
    let (value, trouble) = state.load(name);
    if let Some(trouble) = trouble {
        warn!("{}; it was set aside", with_causes(&trouble));
    }
    value.unwrap_or_default()
}

fn spool_limits(config: &Config) -> SpoolLimits {
    SpoolLimits { bytes: config.outbox.disk_limit, max_age: config.outbox.max_age }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
