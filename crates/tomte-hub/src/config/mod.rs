//! `hub.toml`: what can be set, and what is in force.
//!
//! Defaults, then the file, then the environment, then flags. [`resolve`] makes
//! one validated [`HubConfig`] of them and remembers where each value came
//! from. Nothing here is global, and nothing reads the clock or the network.

mod layers;
pub mod mqtt;
mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tomte_store::{Retention, RetentionRule};

pub use layers::{ConfigError, EffectiveSetting, Flag, Origin, Resolved, Surroundings, resolve};
pub use mqtt::MqttConfig;
pub use value::{BadNetwork, BadSize, BadSpan, Network, Size, Span};

/// The file with every setting at its default, and what each means.
pub const SAMPLE: &str = include_str!("../../hub.toml");

/// Every setting, in the order of the sample file.
pub const KEYS: &[&str] = &[
    "data",
    "listen",
    "public_url",
    "insecure_http",
    "trusted_proxies",
    "tls_cert",
    "tls_key",
    "history.raw",
    "history.five_minutes",
    "history.hourly",
    "history.keep",
    "history.max_size",
    "history.secure_delete",
    "history.events",
    "limits.hosts",
    "limits.series_per_host",
    "limits.connections",
    "limits.connections_per_address",
    "limits.body_bytes",
    "presence.heartbeat",
    "presence.late",
    "presence.offline",
    "presence.grace",
    "mqtt.url",
    "mqtt.username",
    "mqtt.password_file",
    "mqtt.client_id",
    "mqtt.ca_file",
    "mqtt.client_certificate",
    "mqtt.client_key",
    "mqtt.version",
    "mqtt.ping",
    "mqtt.publish",
    "mqtt.hosts",
    "mqtt.prefix",
    "mqtt.interval",
    "mqtt.keep_alive",
    "mqtt.exclude",
    "mqtt.qos.state",
    "mqtt.qos.discovery",
    "mqtt.qos.event",
    "mqtt.home_assistant.discovery",
    "mqtt.home_assistant.prefix",
    "mqtt.home_assistant.sub_devices",
    "mqtt.systant.listen",
    "mqtt.systant.hosts",
];

/// What a running hub takes up from a file that was read again; the rest needs
/// a restart.
pub const RELOADABLE: &[&str] = &[
    "public_url",
    "trusted_proxies",
    "tls_cert",
    "tls_key",
    "limits.hosts",
    "limits.body_bytes",
    "presence.heartbeat",
    "presence.late",
    "presence.offline",
    "presence.grace",
];

/// The hub's settings, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubConfig {
    /// The folder with the databases, the identity and the socket.
    pub data: PathBuf,
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Where agents and people reach the hub; empty: made from `listen`.
    pub public_url: String,
    /// Plain HTTP also where it is not loopback.
    pub insecure_http: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// A certificate chain of the user's own, PEM; empty: the hub's.
    pub tls_cert: PathBuf,
    /// The key of that certificate, PEM.
    pub tls_key: PathBuf,
    /// How long things are kept.
    pub history: HistoryConfig,
    /// How much there may be.
    pub limits: LimitsConfig,
    /// When a host counts as gone.
    pub presence: PresenceConfig,
    /// What is said to a broker, and heard of it.
    pub mqtt: MqttConfig,
}

/// How long things are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryConfig {
    /// Every reading.
    pub raw: Span,
    /// What five minutes came to.
    pub five_minutes: Span,
    /// What an hour came to, and changes of state.
    pub hourly: Span,
    /// What is kept longer or shorter; the first that fits counts.
    pub keep: Vec<KeepConfig>,
    /// How large the history may be; zero: as large as it gets.
    pub max_size: Size,
    /// Whether what is deleted is overwritten.
    pub secure_delete: bool,
    /// Events.
    pub events: Span,
}

/// How long some readings are kept. What is not said is as for the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepConfig {
    /// Which kinds; `*` stands for anything.
    #[serde(default = "anything")]
    pub kind: String,
    /// Which fields; `*` stands for anything.
    #[serde(default = "anything")]
    pub field: String,
    /// Every reading; zero: no history at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Span>,
    /// What five minutes came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub five_minutes: Option<Span>,
    /// What an hour came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly: Option<Span>,
}

fn anything() -> String {
    "*".to_owned()
}

/// How much there may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Hosts.
    pub hosts: usize,
    /// Series of one host.
    pub series_per_host: usize,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address.
    pub connections_per_address: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
}

/// When a host counts as gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PresenceConfig {
    /// How often an agent gives a sign of life.
    pub heartbeat: Span,
    /// Silence after which a host is late.
    pub late: Span,
    /// Silence after which a host is offline.
    pub offline: Span,
    /// How long hosts may take to be heard again after the hub started.
    pub grace: Span,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::from("/var/lib/tomte"),
            listen: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8420)],
            public_url: String::new(),
            insecure_http: false,
            trusted_proxies: Vec::new(),
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            history: HistoryConfig::default(),
            limits: LimitsConfig::default(),
            presence: PresenceConfig::default(),
            mqtt: MqttConfig::default(),
        }
    }
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            raw: Span::hours(48),
            five_minutes: Span::hours(90 * 24),
            hourly: Span::hours(5 * 365 * 24),
            keep: Vec::new(),
            max_size: Size(0),
            secure_delete: false,
            events: Span::hours(365 * 24),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            hosts: 10_000,
            series_per_host: 5_000,
            connections: 16_384,
            connections_per_address: 12_000,
            body_bytes: 1 << 20,
        }
    }
}

impl Default for PresenceConfig {
    fn default() -> Self {
        let seconds = |s| Span(Duration::from_secs(s));
        Self { heartbeat: seconds(15), late: seconds(45), offline: seconds(90), grace: seconds(90) }
    }
}

impl HubConfig {
    /// The certificate and key of the user's own, if both are set.
    #[must_use]
    pub fn own_certificate(&self) -> Option<(&PathBuf, &PathBuf)> {
        (!self.tls_cert.as_os_str().is_empty()).then_some((&self.tls_cert, &self.tls_key))
    }

    /// Whether the hub itself does TLS on that address.
    #[must_use]
    pub fn tls_on(&self, address: &SocketAddr) -> bool {
        self.own_certificate().is_some() || !(address.ip().is_loopback() || self.insecure_http)
    }

    /// Checks what the types cannot: the first key that is wrong, and why.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.listen.is_empty() {
            return Err(("listen", "at least one address is needed".to_owned()));
        }
        if self.tls_cert.as_os_str().is_empty() != self.tls_key.as_os_str().is_empty() {
            return Err(("tls_key", "tls_cert and tls_key go together: set both or none".to_owned()));
        }
        check_url(&self.public_url).map_err(|why| ("public_url", why))?;
        let presence = &self.presence;
        if !(presence.heartbeat < presence.late && presence.late < presence.offline) {
            return Err(("presence.late", "heartbeat, late and offline must grow in this order".to_owned()));
        }
        self.history.check()?;
        self.mqtt.check()?;
        for (key, number) in [
            ("limits.hosts", self.limits.hosts),
            ("limits.series_per_host", self.limits.series_per_host),
            ("limits.connections", self.limits.connections),
            ("limits.connections_per_address", self.limits.connections_per_address),
            ("limits.body_bytes", self.limits.body_bytes),
        ] {
            if number == 0 {
                return Err((key, "must be more than nothing".to_owned()));
            }
        }
        Ok(())
    }

    /// This configuration with what a running hub can take up from another one.
    #[must_use]
    pub(crate) fn reloaded(&self, new: &Self) -> Self {
        Self {
            public_url: new.public_url.clone(),
            trusted_proxies: new.trusted_proxies.clone(),
            tls_cert: new.tls_cert.clone(),
            tls_key: new.tls_key.clone(),
            limits: LimitsConfig { hosts: new.limits.hosts, body_bytes: new.limits.body_bytes, ..self.limits.clone() },
            presence: new.presence.clone(),
            ..self.clone()
        }
    }
}

impl HistoryConfig {
    fn check(&self) -> Result<(), (&'static str, String)> {
        for (key, span) in [("history.raw", self.raw), ("history.events", self.events)] {
            if span < Span::hours(1) {
                return Err((key, "less than an hour is no history".to_owned()));
            }
        }
        let grow = "raw, five_minutes and hourly must not shrink in this order: what is coarser is kept longer";
        if self.five_minutes < self.raw || self.hourly < self.five_minutes {
            return Err(("history.five_minutes", grow.to_owned()));
        }
        if self.max_size.0 > 0 && self.max_size < LEAST_HISTORY {
            return Err(("history.max_size", format!("less than {LEAST_HISTORY} holds no history")));
        }
        for rule in &self.keep {
            let wrong =
                |why: &str| Err(("history.keep", format!("kind = {:?}, field = {:?}: {why}", rule.kind, rule.field)));
            if rule.kind.is_empty() || rule.field.is_empty() {
                return wrong("a pattern is empty; * stands for anything");
            }
            if rule.raw.is_none() && rule.five_minutes.is_none() && rule.hourly.is_none() {
                return wrong("it says nothing: set raw, five_minutes or hourly");
            }
        }
        Ok(())
    }

    /// What the store is told to keep.
    pub(crate) fn retention(&self) -> Retention {
        let rule = |rule: &KeepConfig| RetentionRule {
            kind: rule.kind.clone(),
            field: rule.field.clone(),
            raw: rule.raw.unwrap_or(self.raw).0,
            five_minutes: rule.five_minutes.unwrap_or(self.five_minutes).0,
            hour: rule.hourly.unwrap_or(self.hourly).0,
        };
        Retention {
            raw: self.raw.0,
            five_minutes: self.five_minutes.0,
            hour: self.hourly.0,
            rules: self.keep.iter().map(rule).collect(),
            max_bytes: (self.max_size.0 > 0).then_some(self.max_size.0),
        }
    }
}

/// A history that is smaller holds the recent hours at most.
const LEAST_HISTORY: Size = Size(16 << 20);

/// A hub's address is `http(s)://name[:port]`, optionally with a path.
fn check_url(url: &str) -> Result<(), String> {
    if url.is_empty() {
        return Ok(());
    }
    let parsed: http::Uri = url.parse().map_err(|_| format!("{url:?} is not a URL such as https://hub.lan:8420"))?;
    if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.host().is_none_or(str::is_empty) {
        return Err(format!("{url:?} is not a URL such as https://hub.lan:8420"));
    }
    if parsed.query().is_some() || parsed.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err(format!("{url:?} must have neither a query nor a user"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_the_defaults_and_names_every_setting() {
        let sample: HubConfig = toml::from_str(SAMPLE).expect("the sample is valid");
        assert_eq!(sample, HubConfig::default());
        let table: toml::Table = SAMPLE.parse().expect("the sample is TOML");
        let mut named: Vec<String> = layers::flatten(&table).into_iter().map(|(key, _)| key).collect();
        let mut keys: Vec<String> = KEYS.iter().map(|&key| key.to_owned()).collect();
        let whole = toml::Table::try_from(HubConfig::default()).expect("the defaults are TOML");
        let mut fields: Vec<String> = layers::flatten(&whole).into_iter().map(|(key, _)| key).collect();
        for list in [&mut named, &mut keys, &mut fields] {
            list.sort();
        }
        assert_eq!(named, keys);
        assert_eq!(fields, keys);
        assert!(RELOADABLE.iter().all(|key| KEYS.contains(key)));
    }

    #[test]
    fn a_reload_takes_up_what_it_says_and_nothing_else() {
        let old = HubConfig::default();
        let mut new = HubConfig {
            data: "/elsewhere".into(),
            listen: vec!["0.0.0.0:1".parse().expect("an address")],
            public_url: "https://a".into(),
            insecure_http: true,
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
            tls_cert: "/c".into(),
            tls_key: "/k".into(),
            ..HubConfig::default()
        };
        new.history.raw = Span::hours(5);
        new.limits.hosts = 1;
        new.limits.connections = 1;
        new.presence.grace = Span::hours(1);
        let table = |config: &HubConfig| layers::flatten(&toml::Table::try_from(config).expect("TOML"));
        let (before, wanted, after) = (table(&old), table(&new), table(&old.reloaded(&new)));
        for (key, value) in after {
            let from = if RELOADABLE.contains(&key.as_str()) { &wanted } else { &before };
            assert!(from.contains(&(key.clone(), value)), "{key}");
        }
    }

    #[test]
    fn tls_is_on_wherever_others_could_listen() {
        let mut config = HubConfig::default();
        let (near, far) = ("127.0.0.1:1".parse().expect("an address"), "0.0.0.0:1".parse().expect("an address"));
        assert!(!config.tls_on(&near) && config.tls_on(&far));
        config.insecure_http = true;
        assert!(!config.tls_on(&far));
        config.tls_cert = "/c".into();
        config.tls_key = "/k".into();
        assert!(config.tls_on(&near) && config.tls_on(&far));
    }

    #[test]
    fn senseless_values_are_refused_by_key() {
        let refused = |text: &str| {
            let config: HubConfig = toml::from_str(text).expect("well-formed");
            config.check().err().map(|(key, _)| key)
        };
        assert_eq!(refused(""), None);
        assert_eq!(refused("listen = []"), Some("listen"));
        assert_eq!(refused("tls_cert = '/x'"), Some("tls_key"));
        assert_eq!(refused("public_url = 'hub.lan'"), Some("public_url"));
        assert_eq!(refused("public_url = 'https://me@hub.lan'"), Some("public_url"));
        assert_eq!(refused("public_url = 'https://hub.lan:8420/tomte'"), None);
        assert_eq!(refused("presence.late = '10s'"), Some("presence.late"));
        assert_eq!(refused("history.raw = '1m'"), Some("history.raw"));
        assert_eq!(refused("history.five_minutes = '1h'"), Some("history.five_minutes"));
        assert_eq!(refused("history.max_size = '1MiB'"), Some("history.max_size"));
        assert_eq!(refused("[[history.keep]]\nkind = 'disk'"), Some("history.keep"));
        assert_eq!(refused("[[history.keep]]\nkind = ''\nraw = '0s'"), Some("history.keep"));
        assert_eq!(refused("[[history.keep]]\nkind = 'disk'\nraw = '30d'"), None);
        assert_eq!(refused("limits.hosts = 0"), Some("limits.hosts"));
    }
}
