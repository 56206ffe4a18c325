//! The host's own broker: what the pipeline knows, published straight from
//! here, without a hub.
//!
//! [`tomte_mqtt`] says what is due and carries it; this is the host's side of
//! it: the settings, the state file, and the reports that wake it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tomte_model::{HostId, Report};
use tomte_mqtt::client::{self, ConnectError, Connector, Driver, Settings, State};
use tomte_mqtt::protocol::{Publish, Qos};
use tomte_mqtt::session::Client;
use tomte_mqtt::{Kept, Options, Publisher};
use tracing::warn;

use crate::config::MqttConfig;
use crate::link::with_causes;
use crate::state::StateDir;
use crate::station::Station;

/// The file of the topics that were filled.
pub const TOPICS: &str = "mqtt-topics.json";
/// What is due by time alone is looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The topics are saved this often at most.
const SAVE_EVERY: u64 = 15_000;
/// Hosts answer a birth message within this time, not all at once.
const BIRTH_WITHIN: u64 = 3_000;
/// A longer file holds no password.
const LONGEST_PASSWORD: u64 = 4096;

/// Why nothing is published.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The password cannot be read.
    #[error("cannot read the password in {}", path.display())]
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
pub fn settings(config: &MqttConfig, host: HostId) -> Result<Settings, MqttError> {
    let password = match &config.password_file {
        Some(path) => Some(password(path).map_err(|source| MqttError::Password { path: path.clone(), source })?),
        None => config.password.as_ref().map(|secret| secret.reveal().to_owned()),
    };
    let subscriptions = config.discovery.iter().map(|discovery| (birth_topic(&discovery.prefix), Qos::AtMostOnce));
    Ok(Settings {
        connector: Connector::new(config.address.clone(), &config.tls)?,
        client: Client {
            id: config.client_id.clone().unwrap_or_else(|| format!("tomte-{}", host.to_string().to_lowercase())),
            username: config.username.clone(),
            password,
            keep_alive: config.ping,
            subscriptions: subscriptions.collect(),
        },
        version: config.version,
    })
}

fn birth_topic(prefix: &str) -> String {
    format!("{prefix}/status")
}

fn password(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if metadata.len() > LONGEST_PASSWORD {
        return Err(io::Error::other("it is too long for a password"));
    }
    if metadata.permissions().mode() & 0o004 != 0 {
        warn!("everybody can read {}; run: chmod o-r {0}", path.display());
    }
    let text = fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// The host's side of its connection to a broker.
pub struct Publishing {
    station: Arc<Station>,
    publisher: Publisher,
    reports: Receiver<Arc<Report>>,
    state: StateDir,
    birth_topic: Option<String>,
    /// Boot time before which no values are sent.
    begin_at: u64,
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
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Self {
            reports: station.watch(),
            station,
            publisher: Publisher::new(options, kept.unwrap_or_default()),
            state,
            birth_topic: config.discovery.as_ref().map(|discovery| birth_topic(&discovery.prefix)),
            begin_at,
            saved_at: 0,
            unsaved: None,
        }
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
    }

    fn due(&mut self) -> Vec<Publish> {
        self.take_reports();
        let now = self.station.clock().now();
        if now.boot_millis < self.begin_at {
            return Vec::new();
        }
        let due = {
            let pipeline = self.station.pipeline();
            self.publisher.look(pipeline.latest(), pipeline.catalogue(), now)
        };
        self.save(false);
        due
    }

    fn heard(&mut self, message: Publish) {
        if Some(&message.topic) == self.birth_topic.as_ref() && message.payload == "online" && !message.retain {
            let now = self.station.clock().now().boot_millis;
            self.publisher.birth(now + fastrand::u64(0..BIRTH_WITHIN));
        }
    }

    fn goodbye(&mut self) -> Vec<Publish> {
        self.take_reports();
        self.publisher.goodbye()
    }

    async fn wake(&mut self) {
        let now = self.station.clock().now().boot_millis;
        let begin = Duration::from_millis(self.begin_at.saturating_sub(now));
        let pause = if begin.is_zero() { LOOK_EVERY } else { begin };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            report = self.reports.recv() => match report {
                Ok(report) => report.events.iter().for_each(|event| self.publisher.event(event)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_comes_from_its_file_without_the_newline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "se cret\n").unwrap();
        assert_eq!(password(&path).unwrap(), "se cret");
        fs::write(&path, "x".repeat(5000)).unwrap();
        assert!(password(&path).unwrap_err().to_string().contains("too long"));
        assert!(password(&folder.path().join("none")).is_err());
    }
}
