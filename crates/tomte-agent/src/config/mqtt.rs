//! `[mqtt]`: the host's own broker, and what it is told.

mod systant;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tomte_collect::Filter;
use tomte_mqtt::client::{Address, TlsFiles};
use tomte_mqtt::protocol::{Qos, Version};
use tomte_mqtt::settings::{DiscoveryStyle, ProtocolVersion, Secret, check_prefix};
use tomte_mqtt::{Discovery, Pace};

pub(crate) use systant::log_level as systant_log_level;
pub(super) use systant::{of_systant, systant_variable};

use super::schema::Interval;
use super::units::Span;

/// Nobody waits longer for the first message.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// `[mqtt]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttEntry {
    /// Where the broker is; without it nothing is published.
    pub url: Option<Address>,
    /// The user, where the broker asks for one.
    pub username: Option<String>,
    /// The file that holds the password.
    pub password_file: Option<PathBuf>,
    /// The password, from the environment only.
    pub password: Option<Secret>,
    /// The client id; without one, made of the host's id.
    pub client_id: Option<String>,
    /// Who may vouch for the broker, PEM; without it, whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, PEM.
    pub client_certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub client_key: Option<PathBuf>,
    /// Which version of the protocol is spoken.
    pub version: ProtocolVersion,
    /// What own topics begin with.
    pub prefix: String,
    /// How long to wait after the start before the first values.
    pub start_delay: Span,
    /// The least time between two values of one topic.
    pub interval: Interval,
    /// A value that does not change is sent again after this time.
    pub keep_alive: Interval,
    /// The longest silence on the connection before it is tried.
    pub ping: Interval,
    /// How long `--require-broker` waits for the broker.
    pub require_within: Interval,
    /// Which `kind:name/field` are published.
    pub publish: Filter,
    /// How surely messages arrive.
    pub qos: QosEntry,
    /// What Home Assistant is told.
    pub home_assistant: HomeAssistantEntry,
    /// What systant's listeners are told.
    pub systant: SystantEntry,
}

impl Default for MqttEntry {
    fn default() -> Self {
        let seconds = |seconds| Interval::of(Duration::from_secs(seconds));
        Self {
            url: None,
            username: None,
            password_file: None,
            password: None,
            client_id: None,
            ca_file: None,
            client_certificate: None,
            client_key: None,
            version: ProtocolVersion::default(),
            prefix: "tomte".to_owned(),
            start_delay: Span(Duration::from_secs(5)),
            interval: seconds(10),
            keep_alive: seconds(300),
            ping: seconds(60),
            require_within: seconds(30),
            publish: Filter::new([], ["core:*", "collector:*"]).expect("they are globs"),
            qos: QosEntry::default(),
            home_assistant: HomeAssistantEntry::default(),
            systant: SystantEntry::default(),
        }
    }
}

/// `[mqtt.qos]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QosEntry {
    /// Of values and status.
    pub state: Qos,
    /// Of discovery and availability.
    pub discovery: Qos,
    /// Of events.
    pub event: Qos,
}

impl Default for QosEntry {
    fn default() -> Self {
        Self { state: Qos::AtMostOnce, discovery: Qos::AtLeastOnce, event: Qos::AtLeastOnce }
    }
}

/// `[mqtt.home_assistant]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HomeAssistantEntry {
    /// Whether and how entities are announced.
    pub discovery: DiscoveryStyle,
    /// The prefix that Home Assistant listens to.
    pub prefix: String,
    /// Whether guests, pools and disks are devices of their own.
    pub sub_devices: bool,
    /// How long after connecting entities are announced.
    pub delay: Span,
}

impl Default for HomeAssistantEntry {
    fn default() -> Self {
        Self {
            discovery: DiscoveryStyle::default(),
            prefix: "homeassistant".to_owned(),
            sub_devices: false,
            delay: Span(Duration::from_secs(1)),
        }
    }
}

/// `[mqtt.systant]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SystantEntry {
    /// Whether `systant/HOST/stats` is published as well.
    pub enabled: bool,
    /// How often.
    pub interval: Interval,
}

impl Default for SystantEntry {
    fn default() -> Self {
        Self { enabled: false, interval: Interval::of(tomte_mqtt::systant::INTERVAL) }
    }
}

/// `[mqtt]` in force.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttConfig {
    /// Where the broker is.
    pub address: Address,
    /// The user, if any.
    pub username: Option<String>,
    /// The password, if it comes from the environment.
    pub password: Option<Secret>,
    /// The file that holds the password, if any.
    pub password_file: Option<PathBuf>,
    /// The client id, if it is not to be made of the host's id.
    pub client_id: Option<String>,
    /// The files for TLS.
    pub tls: TlsFiles,
    /// The only version to speak, if there is but one.
    pub version: Option<Version>,
    /// What own topics begin with.
    pub prefix: String,
    /// How long to wait before the first values.
    pub start_delay: Duration,
    /// How often, how surely.
    pub pace: Pace,
    /// The longest silence.
    pub ping: Duration,
    /// How long a required broker is waited for.
    pub require_within: Duration,
    /// What is published.
    pub publish: Filter,
    /// What Home Assistant is told.
    pub discovery: Option<Discovery>,
    /// How long after connecting.
    pub discovery_delay: Duration,
    /// How often systant's listeners are told; `None`: not at all.
    pub systant: Option<Duration>,
}

impl MqttEntry {
    /// The settings in force; `None`: nothing is published.
    ///
    /// # Errors
    /// In words, when they do not fit together.
    pub(super) fn resolve(self) -> Result<Option<MqttConfig>, String> {
        let own = self.systant.enabled.then(|| tomte_mqtt::systant::BROKER.parse().expect("it is an address"));
        let Some(address) = self.url.or(own) else { return Ok(None) };
        let client = match (self.client_certificate, self.client_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("mqtt.client_certificate and mqtt.client_key are set together or not at all".to_owned()),
        };
        if !address.scheme.is_tls() && (client.is_some() || self.ca_file.is_some()) {
            return Err(format!(
                "{address} is not encrypted, so mqtt.ca_file and mqtt.client_certificate would be of no use; write mqtts:// or wss://"
            ));
        }
        if self.password.is_some() && self.password_file.is_some() {
            return Err("there are two passwords: mqtt.password and mqtt.password_file; leave one out".to_owned());
        }
        for (key, prefix) in
            [("mqtt.prefix", &self.prefix), ("mqtt.home_assistant.prefix", &self.home_assistant.prefix)]
        {
            check_prefix(prefix).map_err(|why| format!("{key} {why}"))?;
        }
        let style = self.home_assistant.discovery.style();
        let discovery_delay = self.home_assistant.delay.0;
        if discovery_delay > LONGEST_DELAY || self.start_delay.0 > LONGEST_DELAY {
            return Err(format!("mqtt.start_delay and mqtt.home_assistant.delay are {} at most", Span(LONGEST_DELAY)));
        }
        let (prefix, sub_devices) = (self.home_assistant.prefix, self.home_assistant.sub_devices);
        Ok(Some(MqttConfig {
            address,
            username: self.username,
            password: self.password,
            password_file: self.password_file,
            client_id: self.client_id,
            tls: TlsFiles { ca: self.ca_file, client },
            version: self.version.only(),
            prefix: self.prefix,
            start_delay: self.start_delay.0,
            pace: Pace {
                interval: self.interval.get(),
                keep_alive: self.keep_alive.get(),
                state: self.qos.state,
                discovery: self.qos.discovery,
                event: self.qos.event,
            },
            ping: self.ping.get(),
            require_within: self.require_within.get(),
            publish: self.publish,
            discovery: style.map(|style| Discovery { style, prefix, sub_devices }),
            discovery_delay,
            systant: self.systant.enabled.then_some(self.systant.interval.get()),
        }))
    }
}
