//! The hub's connection to a broker: one for all that is said there
//! ([`sinks::mqtt`](crate::sinks::mqtt)) and heard ([`sources::systant`](crate::sources::systant)).
//!
//! It says what is due as fast as the broker takes it, and holds nobody up:
//! what changed is read from the hub when its turn comes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tomte_mqtt::client::{self, Address, ConnectError, Connector, Driver, Settings, State};
use tomte_mqtt::protocol::{self, Publish};
use tomte_mqtt::session::Client;
use tomte_mqtt::settings::{birth_topic, read_password};

use crate::config::MqttConfig;
use crate::live::{Heard, Subscription};
use crate::sinks::mqtt::{Hosts, KEY, KeptHosts};
use crate::sources::systant::{self, Systant};
use crate::{Hub, hub};

/// What is due by time alone is looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What has to be remembered is written this often at most, in milliseconds.
const SAVE_EVERY: u64 = 15_000;
/// Hosts answer a birth message within this time, not all at once.
const BIRTH_WITHIN: u64 = 3_000;
/// Changes wait so long for others.
const GATHER: Duration = Duration::from_millis(50);

/// Why there is no connection to a broker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MqttError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The password cannot be read.
    #[error("mqtt.password_file: cannot read {}", path.display())]
    Password {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Speaks to the broker until the hub stops, if there is one.
pub(crate) async fn run(hub: Arc<Hub>) {
    let config = hub.config().mqtt.clone();
    let Some(address) = config.address() else { return };
    let settings = match settings(&config, address, &hub.pin()) {
        Ok(settings) => settings,
        Err(error) => {
            return tracing::error!("MQTT is off: {}; mend that and restart the hub", client::with_causes(&error));
        }
    };
    if !settings.connector.address().scheme.is_tls()
        && settings.client.password.is_some()
        && !settings.connector.address().is_loopback()
    {
        let broker = settings.connector.address();
        tracing::warn!(%broker, "the connection is not encrypted: whoever listens can read the password");
    }
    let kept = match hub.read(|store| store.state.value(KEY)).await {
        Ok(kept) => KeptHosts::read(kept.as_deref()),
        Err(error) => {
            tracing::error!(%error, "MQTT is off: what was published before cannot be read");
            return;
        }
    };
    let mut talking = Talking {
        hosts: Hosts::new(&hub, &config, kept),
        systant: config.systant.listen.then(|| Systant::new(&hub, config.systant.hosts)),
        birth: birth_topic(&config.home_assistant.prefix),
        changes: hub.subscribe(),
        greeting: None,
        looked_at: 0,
        saved_at: 0,
        config,
        hub: Arc::clone(&hub),
    };
    let (state, _watched) = watch::channel(State::Never(String::new()));
    client::run(settings, &mut talking, state, hub.stopping()).await;
    if let Some(kept) = talking.hosts.kept_if_changed() {
        let saved = hub.read(move |store| store.state.put_value(KEY, Some(&kept))).await;
        if let Err(error) = saved {
            tracing::warn!(%error, "what was published could not be written down");
        }
    }
}

/// How to speak to the broker.
fn settings(config: &MqttConfig, address: Address, pin: &[u8; 32]) -> Result<Settings, MqttError> {
    let path = &config.password_file;
    let password = if path.as_os_str().is_empty() {
        config.password.as_ref().map(|secret| secret.reveal().to_owned())
    } else {
        Some(read_password(path).map_err(|source| MqttError::Password { path: path.clone(), source })?)
    };
    let mut subscriptions = Vec::new();
    if config.publish {
        subscriptions.push(protocol::Subscription::to(format!("{}/+/availability", config.prefix)));
        if config.discovery().is_some() {
            subscriptions.push(protocol::Subscription::to(birth_topic(&config.home_assistant.prefix)));
        }
    }
    if config.systant.listen {
        subscriptions.push(protocol::Subscription::to(systant::TOPICS.to_owned()));
    }
    let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let own: String = pin[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Settings {
        connector: Connector::new(address, &config.tls())?,
        client: Client {
            id: named(&config.client_id).unwrap_or_else(|| format!("tomte-hub-{own}")),
            username: named(&config.username),
            password,
            keep_alive: config.ping.0,
            subscriptions,
        },
        version: config.version.only(),
    })
}

struct Talking {
    hub: Arc<Hub>,
    config: MqttConfig,
    hosts: Hosts,
    systant: Option<Systant>,
    birth: String,
    changes: Subscription,
    /// That the hub is there, until it was said.
    greeting: Option<Publish>,
    looked_at: u64,
    saved_at: u64,
}

impl Talking {
    fn availability(&self, text: &str) -> Publish {
        Publish::retained(Hosts::availability(&self.config.prefix), text, self.config.qos.discovery)
    }

    fn boot_millis(&self) -> u64 {
        self.hub.clock.now().boot_millis
    }

    fn take(&mut self, heard: Option<Heard>) {
        match heard {
            Some(Heard::Change(change)) => self.hosts.changed(&change),
            Some(Heard::Resync) => self.hosts.look_at_all(),
            Some(Heard::End) | None => {}
        }
    }

    /// Takes up what changed since.
    fn catch_up(&mut self) {
        while let Some(heard) = self.changes.try_next() {
            let end = matches!(heard, Heard::End);
            self.take(Some(heard));
            if end {
                return;
            }
        }
        let now = self.boot_millis();
        if now.saturating_sub(self.looked_at) >= millis(LOOK_EVERY) {
            self.looked_at = now;
            self.hosts.look_at_all();
            if let Some(systant) = &mut self.systant {
                systant.look();
            }
        }
    }

    fn save(&mut self) {
        let now = self.boot_millis();
        if now.saturating_sub(self.saved_at) < SAVE_EVERY {
            return;
        }
        self.saved_at = now;
        let Some(kept) = self.hosts.kept_if_changed() else { return };
        let store = self.hub.store().clone();
        self.hub.sessions.spawn(async move {
            let put = move || store.state.put_value(KEY, Some(&kept)).map_err(crate::HubError::from);
            if let Err(error) = hub::blocking(put).await {
                tracing::warn!(%error, "what was published could not be written down");
            }
        });
    }
}

impl Driver for Talking {
    fn will(&self) -> Publish {
        self.availability("offline")
    }

    fn connected(&mut self) {
        self.greeting = Some(self.availability("online"));
        self.hosts.connected();
    }

    fn lost(&mut self) {
        self.hosts.lost();
    }

    fn due(&mut self) -> Vec<Publish> {
        self.catch_up();
        self.save();
        if let Some(greeting) = self.greeting.take().filter(|_| self.config.publish) {
            return vec![greeting];
        }
        self.hosts.due(self.hub.clock.now())
    }

    fn heard(&mut self, message: Publish) {
        if message.topic == self.birth {
            if message.payload == "online" && !message.retain {
                let now = self.boot_millis();
                self.hosts.birth(now, BIRTH_WITHIN);
            }
        } else if let Some(host) = systant::host_of(&message.topic) {
            if let Some(systant) = &mut self.systant {
                systant.heard(host, &message);
            }
        } else if message.topic == Hosts::availability(&self.config.prefix) {
            if message.payload == "offline" && !message.retain {
                // The will of a connection that we had before.
                self.greeting = Some(self.availability("online"));
            }
        } else {
            self.hosts.heard(&message);
        }
    }

    fn goodbye(&mut self) -> Vec<Publish> {
        let mut last = self.hosts.last_words();
        if self.config.publish {
            last.push(self.will());
        }
        last
    }

    async fn wake(&mut self) {
        let held = self.hosts.next_at().map(|at| Duration::from_millis(at.saturating_sub(self.boot_millis())));
        tokio::select! {
            () = tokio::time::sleep(held.map_or(LOOK_EVERY, |held| held.min(LOOK_EVERY))) => {}
            heard = self.changes.next() => {
                if matches!(heard, Heard::End) {
                    return std::future::pending().await;
                }
                self.take(Some(heard));
                tokio::time::sleep(GATHER).await;
            }
        }
        self.catch_up();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
