//! `[mqtt]`: the broker for hosts without one of their own, and for systant's.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tomte_mqtt::client::{Address, TlsFiles};
use tomte_mqtt::protocol::Qos;
use tomte_mqtt::settings::{DiscoveryStyle, ProtocolVersion, Secret, check_prefix};
use tomte_mqtt::{Discovery, Pace};

use super::Span;

/// The variable that holds the password; it is no setting, so that it is
/// shown nowhere.
pub(super) const PASSWORD: &str = "TOMTE_MQTT_PASSWORD";

/// What is said to a broker, and heard of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttConfig {
    /// Where the broker is; empty: there is none.
    pub url: String,
    /// The user; empty: none.
    pub username: String,
    /// The file that holds the password; empty: none.
    pub password_file: PathBuf,
    /// The password, from the environment alone.
    #[serde(skip)]
    pub password: Option<Secret>,
    /// The client id; empty: made of the hub's identity.
    pub client_id: String,
    /// Who may vouch for the broker, PEM; empty: whom the system trusts.
    pub ca_file: PathBuf,
    /// Our own certificate, PEM; empty: none.
    pub client_certificate: PathBuf,
    /// Its key, PEM.
    pub client_key: PathBuf,
    /// Which version of the protocol is spoken.
    pub version: ProtocolVersion,
    /// The longest silence on the connection before it is tried.
    pub ping: Span,
    /// Whether hosts are published that have no broker of their own.
    pub publish: bool,
    /// Of those, the ones whose names these globs match.
    pub hosts: Vec<String>,
    /// What own topics begin with.
    pub prefix: String,
    /// The least time between two values of one topic.
    pub interval: Span,
    /// A value that does not change is sent again after this time.
    pub keep_alive: Span,
    /// Globs of `KIND:NAME/FIELD` that are not published.
    pub exclude: Vec<String>,
    /// How surely messages arrive.
    pub qos: QosConfig,
    /// What Home Assistant is told.
    pub home_assistant: HomeAssistantConfig,
    /// What is heard of systant's hosts.
    pub systant: SystantConfig,
}

/// How surely messages arrive: 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QosConfig {
    /// Of values and status.
    pub state: Qos,
    /// Of discovery and availability.
    pub discovery: Qos,
    /// Of events.
    pub event: Qos,
}

/// What Home Assistant is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HomeAssistantConfig {
    /// Whether and how entities are announced.
    pub discovery: DiscoveryStyle,
    /// The prefix that Home Assistant listens to.
    pub prefix: String,
    /// Whether guests, pools and disks are devices of their own.
    pub sub_devices: bool,
}

/// What is heard of systant's hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SystantConfig {
    /// Whether `systant/+/stats` is listened to.
    pub listen: bool,
    /// How many hosts are made known that way.
    pub hosts: usize,
}

impl Default for MqttConfig {
    fn default() -> Self {
        let seconds = |seconds| Span(Duration::from_secs(seconds));
        Self {
            url: String::new(),
            username: String::new(),
            password_file: PathBuf::new(),
            password: None,
            client_id: String::new(),
            ca_file: PathBuf::new(),
            client_certificate: PathBuf::new(),
            client_key: PathBuf::new(),
            version: ProtocolVersion::Auto,
            ping: seconds(60),
            publish: true,
            hosts: vec!["*".to_owned()],
            prefix: "tomte".to_owned(),
            interval: seconds(10),
            keep_alive: seconds(300),
            exclude: vec!["core:*".to_owned(), "collector:*".to_owned()],
            qos: QosConfig::default(),
            home_assistant: HomeAssistantConfig::default(),
            systant: SystantConfig::default(),
        }
    }
}

impl Default for QosConfig {
    fn default() -> Self {
        Self { state: Qos::AtMostOnce, discovery: Qos::AtLeastOnce, event: Qos::AtLeastOnce }
    }
}

impl Default for HomeAssistantConfig {
    fn default() -> Self {
        Self { discovery: DiscoveryStyle::Entity, prefix: "homeassistant".to_owned(), sub_devices: false }
    }
}

impl Default for SystantConfig {
    fn default() -> Self {
        Self { listen: false, hosts: 100 }
    }
}

impl MqttConfig {
    /// Where the broker is, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        // It was looked at by `check`.
        self.url.parse().ok()
    }

    /// The files for TLS.
    #[must_use]
    pub fn tls(&self) -> TlsFiles {
        let named = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        TlsFiles { ca: named(&self.ca_file), client: named(&self.client_certificate).zip(named(&self.client_key)) }
    }

    /// How often, and how surely.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace {
            interval: self.interval.0,
            keep_alive: self.keep_alive.0,
            state: self.qos.state,
            discovery: self.qos.discovery,
            event: self.qos.event,
        }
    }

    /// What Home Assistant is told, if anything.
    #[must_use]
    pub fn discovery(&self) -> Option<Discovery> {
        let HomeAssistantConfig { discovery, prefix, sub_devices } = &self.home_assistant;
        let (prefix, sub_devices) = (prefix.clone(), *sub_devices);
        discovery.style().map(|style| Discovery { style, prefix, sub_devices })
    }

    /// Checks what the types cannot: the first key that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.url.is_empty() {
            return Ok(());
        }
        let address: Address = self.url.parse().map_err(|error| ("mqtt.url", format!("{error}")))?;
        let empty = |path: &PathBuf| path.as_os_str().is_empty();
        if empty(&self.client_certificate) != empty(&self.client_key) {
            let why = "client_certificate and client_key go together: set both or none";
            return Err(("mqtt.client_key", why.to_owned()));
        }
        let files = !empty(&self.ca_file) || !empty(&self.client_certificate);
        if files && !address.scheme.is_tls() {
            let why = format!("{address} is not encrypted, so this would be of no use; write mqtts:// or wss://");
            return Err(("mqtt.ca_file", why));
        }
        if self.password.is_some() && !empty(&self.password_file) {
            return Err(("mqtt.password_file", format!("there is a password in ${PASSWORD} too; leave one out")));
        }
        check_prefix(&self.prefix).map_err(|why| ("mqtt.prefix", why))?;
        check_prefix(&self.home_assistant.prefix).map_err(|why| ("mqtt.home_assistant.prefix", why))?;
        for (key, span) in
            [("mqtt.interval", self.interval), ("mqtt.keep_alive", self.keep_alive), ("mqtt.ping", self.ping)]
        {
            if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&span.0) {
                return Err((key, format!("{span} is no interval; write a time from \"1s\" to \"1d\"")));
            }
        }
        for (key, globs) in [("mqtt.hosts", &self.hosts), ("mqtt.exclude", &self.exclude)] {
            for glob in globs {
                tomte_model::Glob::new(glob).map_err(|error| (key, error.to_string()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_does_not_fit_together_is_refused_by_key() {
        let refused = |text: &str| {
            let config: MqttConfig = toml::from_str(text).unwrap();
            config.check().err().map(|(key, _)| key)
        };
        assert_eq!(refused(""), None);
        assert_eq!(refused("url = 'mqtt://broker.lan'"), None);
        assert_eq!(refused("url = 'broker.lan'"), Some("mqtt.url"));
        assert_eq!(refused("url = 'mqtt://me:secret@broker.lan'"), Some("mqtt.url"));
        assert_eq!(refused("url = 'mqtt://a'\nca_file = '/x'"), Some("mqtt.ca_file"));
        assert_eq!(refused("url = 'mqtts://a'\nclient_key = '/x'"), Some("mqtt.client_key"));
        assert_eq!(refused("url = 'mqtt://a'\nprefix = 'a/+'"), Some("mqtt.prefix"));
        assert_eq!(refused("url = 'mqtt://a'\ninterval = '0s'"), Some("mqtt.interval"));
        assert_eq!(refused("url = 'mqtt://a'\nexclude = ['[']"), Some("mqtt.exclude"));
    }
}
