//! The host's own broker: what the pipeline knows, published straight from
//! here, without a hub.
//!
//! [`tomte_mqtt`] says what is due and carries it; this is the host's side of
//! it: the settings, the state file, and the reports that wake it.

pub mod commands;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tomte_model::{HostId, Report};
use tomte_mqtt::client::{self, ConnectError, Connector, Driver, Settings, State};
use tomte_mqtt::protocol::{Publish, Subscription};
use tomte_mqtt::session::Client;
use tomte_mqtt::settings::{birth_topic, read_password};
use tomte_mqtt::systant::Stats;
use tomte_mqtt::topics::Topics;
use tomte_mqtt::{Kept, Options, Publisher};
use tracing::warn;

use crate::actions::Desk;
use crate::config::MqttConfig;
use crate::link::with_causes;
use crate::state::StateDir;
use crate::station::Station;

use commands::Commands;

/// The file of the topics that were filled.
pub const TOPICS: &str = "mqtt-topics.json";
/// What is due by time alone is looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The topics are saved this often at most.
const SAVE_EVERY: u64 = 15_000;
/// Hosts answer a birth message within this time, not all at once.
const BIRTH_WITHIN: u64 = 3_000;

/// Why nothing is published.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The password cannot be read.
    #[error("mqtt.password_file: cannot read {}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How to speak to the broker of a host.
///
/// # Errors
/// When a file that this needs cannot be used.
pub fn settings(config: &MqttConfig, host: HostId, name: &str) -> Result<Settings, MqttError> {
    let password = match &config.password_file {
        Some(path) => Some(read_password(path).map_err(|source| MqttError::Password { path: path.clone(), source })?),
        None => config.password.as_ref().map(|secret| secret.reveal().to_owned()),
    };
    let birth = config.discovery.iter().map(|discovery| birth_topic(&discovery.prefix));
    // What others say of this host is put right.
    let own = Topics::new(&config.prefix, name).availability();
    Ok(Settings {
        connector: Connector::new(config.address.clone(), &config.tls)?,
        client: Client {
            id: config.client_id.clone().unwrap_or_else(|| format!("tomte-{}", host.to_string().to_lowercase())),
            username: config.username.clone(),
            password,
            keep_alive: config.ping,
            subscriptions: birth.chain([own]).map(Subscription::to).collect(),
        },
        version: config.version,
    })
}

/// The host's side of its connection to a broker.
pub struct Publishing {
    station: Arc<Station>,
    publisher: Publisher,
    reports: Receiver<Arc<Report>>,
    state: StateDir,
    stats: Option<Stats>,
    birth_topic: Option<String>,
    /// How long after connecting entities are announced, in milliseconds.
    delay: u64,
    /// Boot time from which on they are, on this connection.
    announce_at: u64,
    /// Where requests are taken, where there is a list of commands.
    commands: Option<Commands>,
    saved_at: u64,
    unsaved: Option<Kept>,
}

impl std::fmt::Debug for Publishing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publishing").field("publisher", &self.publisher).finish_non_exhaustive()
    }
}

impl Publishing {
    /// For that host under that name. The first values come at `begin_at`, in
    /// milliseconds of boot time.
    #[must_use]
    pub fn new(station: Arc<Station>, config: &MqttConfig, name: String, state: StateDir, begin_at: u64) -> Self {
        let (kept, trouble) = state.load::<Kept>(TOPICS);
        if let Some(trouble) = trouble {
            warn!("{}; what an earlier run published may stay with the broker", with_causes(&trouble));
        }
        let filter = config.publish.clone();
        let host = station.pipeline().host();
        let options = Options {
            host,
            name,
            prefix: config.prefix.clone(),
            pace: config.pace,
            discovery: config.discovery.clone(),
            shows: Box::new(move |what| filter.matches(what)),
            values_at: begin_at,
            hub_availability: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Self {
            stats: config.systant.map(|interval| Stats::new(&options.name, interval, begin_at)),
            reports: station.watch(),
            station,
            publisher: Publisher::new(options, kept.unwrap_or_default()),
            state,
            birth_topic: config.discovery.as_ref().map(|discovery| birth_topic(&discovery.prefix)),
            delay: u64::try_from(config.discovery_delay.as_millis()).unwrap_or(0),
            announce_at: 0,
            commands: None,
            saved_at: 0,
            unsaved: None,
        }
    }

    /// Takes requests to run something, too.
    #[must_use]
    pub fn with_commands(mut self, desk: Arc<Desk>, name: String, topics: Vec<(String, String)>) -> Self {
        self.commands = Some(Commands::new(desk, self.station.clone(), name, topics));
        self
    }

    /// Takes back what an earlier run announced as commands.
    pub fn without_commands(&mut self) {
        self.publisher.set_controls(Vec::new());
    }

    /// Publishes until cancelled, then says goodbye.
    pub async fn run(mut self, settings: Settings, state: watch::Sender<State>, cancel: CancellationToken) {
        client::run(settings, &mut self, state, cancel).await;
        self.save(true);
    }

    /// Hands the events of reports that came meanwhile to the publisher.
    fn take_reports(&mut self) {
        loop {
            match self.reports.try_recv() {
                Ok(report) => report.events.iter().for_each(|event| self.publisher.event(event)),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn save(&mut self, at_once: bool) {
        if let Some(kept) = self.publisher.kept_if_changed() {
            self.unsaved = Some(kept);
        }
        let now = self.station.clock().now().boot_millis;
        if !at_once && now.saturating_sub(self.saved_at) < SAVE_EVERY {
            return;
        }
        let Some(kept) = self.unsaved.take() else { return };
        self.saved_at = now;
        let state = self.state.clone();
        let write = move || {
            if let Err(error) = state.save(TOPICS, &kept) {
                warn!("{}", with_causes(&error));
            }
        };
        if at_once {
            write();
        } else {
            // A slow disk holds nothing up.
            tokio::task::spawn_blocking(write);
        }
    }
}

impl Driver for Publishing {
    fn will(&self) -> Publish {
        self.publisher.will()
    }

    fn connected(&mut self) {
        self.publisher.connected();
        let now = self.station.clock().now().boot_millis;
        self.announce_at = now.saturating_add(self.delay);
    }

    fn lost(&mut self) {
        self.publisher.lost();
    }

    fn due(&mut self) -> Vec<Publish> {
        self.take_reports();
        let now = self.station.clock().now();
        let answers = self.commands.as_mut().map_or_else(Vec::new, |commands| commands.due(now.boot_millis));
        if !answers.is_empty() {
            return answers;
        }
        if now.boot_millis < self.announce_at {
            return self.publisher.greeting(now).into_iter().collect();
        }
        if let Some(controls) = self.commands.as_mut().and_then(Commands::controls) {
            self.publisher.set_controls(controls);
        }
        let due = {
            self.publisher.set_newest(self.station.hub_version());
            let pipeline = self.station.pipeline();
            let mut due = self.publisher.look(pipeline.latest(), pipeline.catalogue(), now);
            due.extend(self.stats.as_mut().and_then(|stats| stats.due(pipeline.latest(), now)));
            due
        };
        self.save(false);
        due
    }

    fn heard(&mut self, message: Publish) {
        let now = self.station.clock().now().boot_millis;
        if self.commands.as_mut().is_some_and(|commands| commands.heard(&message, now)) {
            return;
        }
        if Some(&message.topic) == self.birth_topic.as_ref() && message.payload == "online" && !message.retain {
            let now = self.station.clock().now().boot_millis;
            self.publisher.birth(now + fastrand::u64(0..BIRTH_WITHIN));
        }
        self.publisher.heard(&message);
    }

    fn goodbye(&mut self) -> Vec<Publish> {
        self.take_reports();
        self.publisher.goodbye()
    }

    async fn wake(&mut self) {
        let now = self.station.clock().now().boot_millis;
        let next = self.stats.as_ref().map(Stats::next_at).into_iter().chain([self.announce_at]);
        // What was held back may be due by now.
        let held = self.publisher.next_at().filter(|_| self.announce_at <= now);
        let next = next.filter(|at| *at > now).chain(held).min();
        let next = next.map(|at| Duration::from_millis(at.saturating_sub(now)));
        let pause = next.map_or(LOOK_EVERY, |next| next.min(LOOK_EVERY));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = woken(&mut self.commands) => {}
            report = self.reports.recv() => match report {
                Ok(report) => report.events.iter().for_each(|event| self.publisher.event(event)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

async fn woken(commands: &mut Option<Commands>) {
    match commands {
        Some(commands) => commands.wake().await,
        None => std::future::pending().await,
    }
}
