//! What may stand in `agent.toml`, key by key, with the defaults.
//!
//! These types say how the file looks; [`super::Config`] is what the agent
//! works with. A key that is not here is an error.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tomte_collect::{
    BackupSettings, CheckSettings, ContainerSettings, CpuSettings, DiskSettings, FilesystemSettings, HelperSettings,
    InterfaceSettings, PeerSettings, ProbeSettings, ProcessSettings, ProxmoxSettings, ServiceSettings, SmartSettings,
    TextfileSettings, Tier, TmpfsSettings, ZfsSettings, read_checks, read_probes,
};
use tomte_model::{Direction, HostName};

use super::mqtt::MqttEntry;
use super::units::{Size, Span};

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileConfig {
    /// The hub's address; without one the agent lives alone.
    pub hub: Option<HubUrl>,
    /// The name to ask for at enrolment; without one, the machine's own.
    pub name: Option<HostName>,
    /// Where the agent keeps what it must remember.
    pub state_dir: Option<PathBuf>,
    /// The local socket.
    pub socket: Option<PathBuf>,
    /// What the host is for, in words of the user's own.
    pub roles: Vec<String>,
    /// How often the tiers run.
    pub intervals: Intervals,
    /// Collectors that differ from their tier.
    pub collectors: BTreeMap<CollectorName, CollectorEntry>,
    /// Settings of the collector `cpu`.
    pub cpu: CpuSettings,
    /// Settings of the collector `tmpfs`.
    pub tmpfs: TmpfsSettings,
    /// Settings of the collector `filesystem`.
    pub filesystem: FilesystemSettings,
    /// Settings of the collector `disk`.
    pub disk: DiskSettings,
    /// Settings of the collector `interface`.
    pub interface: InterfaceSettings,
    /// Settings of the collector `process`.
    pub process: ProcessSettings,
    /// Settings of the collectors `systemd` and `service_disk`.
    pub service: ServiceSettings,
    /// Settings of the collectors `container` and `container_disk`.
    pub container: ContainerSettings,
    /// Settings of the collector `smart`.
    pub smart: SmartSettings,
    /// Settings of the collector `zfs`.
    pub zfs: ZfsSettings,
    /// Where the helper is asked for what only root may have.
    pub helper: HelperSettings,
    /// Settings of the collectors `proxmox` and `proxmox_guest`.
    pub proxmox: ProxmoxSettings,
    /// Settings of the collectors `backup` and `backup_check`.
    pub backup: BackupSettings,
    /// Settings of the collector `peer`.
    pub peer: PeerSettings,
    /// What this host must be able to reach.
    #[serde(deserialize_with = "read_checks", skip_serializing_if = "Vec::is_empty")]
    pub check: Vec<CheckSettings>,
    /// Commands that are run as sensors.
    #[serde(deserialize_with = "read_probes", skip_serializing_if = "Vec::is_empty")]
    pub probe: Vec<ProbeSettings>,
    /// Settings of the collector `textfile`.
    pub textfile: TextfileSettings,
    /// When readings are problems, where that differs from the catalogue.
    pub thresholds: Vec<ThresholdEntry>,
    /// What is kept while the hub is away.
    pub outbox: OutboxEntry,
    /// What the hub may set here.
    pub hub_settings: HubSettingsEntry,
    /// What others may ask this host to run.
    pub commands: CommandsEntry,
    /// The host's own broker.
    pub mqtt: MqttEntry,
    /// What is logged, and how.
    pub log: LogEntry,
}

/// `[commands]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CommandsEntry {
    /// The root-owned list of commands.
    pub file: PathBuf,
    /// Where the helper listens that runs them.
    pub socket: PathBuf,
}

impl Default for CommandsEntry {
    fn default() -> Self {
        Self { file: crate::command::FILE.into(), socket: crate::command::SOCKET.into() }
    }
}

/// `[intervals]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Intervals {
    /// What is cheap to read and changes fast.
    pub fast: Interval,
    /// What changes slowly.
    pub medium: Interval,
    /// What hardly changes or costs something to read.
    pub slow: Interval,
}

impl Default for Intervals {
    fn default() -> Self {
        let of = |tier: Tier| Interval(Span(tier.interval()));
        Self { fast: of(Tier::Fast), medium: of(Tier::Medium), slow: of(Tier::Slow) }
    }
}

impl Intervals {
    /// The interval of a tier.
    #[must_use]
    pub fn of(&self, tier: Tier) -> Duration {
        match tier {
            Tier::Fast => self.fast,
            Tier::Medium => self.medium,
            Tier::Slow => self.slow,
        }
        .get()
    }
}

/// A time between two readings: one second to one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Interval(Span);

impl Interval {
    /// An interval of that time, which must be between a second and a day.
    pub(super) const fn of(time: Duration) -> Self {
        Self(Span(time))
    }

    /// The duration.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0.0
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let span = Span::deserialize(deserializer)?;
        if (Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&span.0) {
            Ok(Self(span))
        } else {
            Err(D::Error::custom(format!("{span} is no interval; write a time from \"1s\" to \"1d\"")))
        }
    }
}

/// `[collectors.NAME]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorEntry {
    /// Whether it runs; it does unless this says no.
    pub enabled: Option<bool>,
    /// An interval of its own in place of its tier's.
    pub interval: Option<Interval>,
    /// How long one run may take before what it reads counts as failed.
    pub deadline: Option<Interval>,
}

/// The name of a collector that exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct CollectorName(String);

impl Borrow<str> for CollectorName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for CollectorName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known: Vec<_> = crate::collectors().iter().map(|def| def.name).chain([crate::own::COLLECTOR]).collect();
        if known.contains(&name.as_str()) {
            Ok(Self(name))
        } else {
            let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            Err(D::Error::custom(format!("unknown collector `{name}`, expected one of {}", known.join(", "))))
        }
    }
}

/// `[[thresholds]]`: what is left out stands as in the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdEntry {
    /// The kind of resource.
    pub kind: String,
    /// Which of them, as a glob.
    #[serde(default = "any_name")]
    pub name: String,
    /// The field.
    pub field: String,
    /// At this level and beyond: warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<Level>,
    /// At this level and beyond: critical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<Level>,
    /// How far back behind a level the reading must go before it clears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_gap: Option<f64>,
    /// How long a level must be exceeded before it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// Which side is bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Whether the field is judged at all.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn any_name() -> String {
    "*".to_owned()
}

fn yes() -> bool {
    true
}

/// A level of a threshold: a number, or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level(pub Option<f64>);

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(level) => serializer.serialize_f64(level),
            None => serializer.serialize_str("off"),
        }
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LevelVisitor;
        impl Visitor<'_> for LevelVisitor {
            type Value = Level;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number such as 0.9, or \"off\"")
            }
            fn visit_f64<E: serde::de::Error>(self, level: f64) -> Result<Level, E> {
                Ok(Level(Some(level)))
            }
            fn visit_i64<E: serde::de::Error>(self, level: i64) -> Result<Level, E> {
                Ok(Level(Some(level as f64)))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Level, E> {
                if text == "off" {
                    Ok(Level(None))
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }
        }
        deserializer.deserialize_any(LevelVisitor)
    }
}

/// `[outbox]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboxEntry {
    /// How much unsent waits in memory before it goes to disk.
    pub memory_limit: Size,
    /// How much waits on disk; the oldest goes first. Zero keeps nothing there.
    pub disk_limit: Size,
    /// How old a report may grow before it is dropped.
    pub max_age: Span,
}

impl Default for OutboxEntry {
    fn default() -> Self {
        Self {
            memory_limit: Size(512_000),
            disk_limit: Size(64_000_000),
            max_age: Span(Duration::from_secs(7 * 86_400)),
        }
    }
}

/// `[hub_settings]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubSettingsEntry {
    /// Whether the hub may set anything here at all.
    pub accept: bool,
}

impl Default for HubSettingsEntry {
    fn default() -> Self {
        Self { accept: true }
    }
}

/// `[log]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogEntry {
    /// The least that is logged.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// The least severe message that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it all")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the hub is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubUrl {
    /// Whether the connection is TLS.
    pub tls: bool,
    /// The host's name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What comes before the hub's own paths, without a slash at its end.
    pub prefix: String,
}

/// A text that is not the address of a hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the address of a hub; write for example \"https://hub.example:8443\"")]
pub struct BadHubUrl(String);

impl HubUrl {
    /// What stands in a `Host` header and where to connect: `[::1]:8443`.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HubUrl {
    type Err = BadHubUrl;
    fn from_str(text: &str) -> Result<Self, BadHubUrl> {
        let parse = || {
            let (scheme, rest) = text.trim().split_once("://")?;
            let tls = match scheme {
                "https" | "wss" => true,
                "http" | "ws" => false,
                _ => return None,
            };
            let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (host, port) = match authority.strip_prefix('[') {
                Some(v6) => v6.split_once(']').map(|(host, port)| (host, port.strip_prefix(':')))?,
                None => match authority.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (authority, None),
                },
            };
            let port = match port {
                Some(port) => port.parse().ok().filter(|port| *port != 0)?,
                None if tls => 443,
                None => 80,
            };
            let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
            let clean_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '~' | '%');
            let valid = !host.is_empty() && host.chars().all(clean) && prefix.chars().all(clean_path);
            let prefix = prefix.trim_end_matches('/').to_owned();
            valid.then(|| Self { tls, host: host.to_owned(), port, prefix })
        };
        parse().ok_or_else(|| BadHubUrl(text.to_owned()))
    }
}

impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

impl Serialize for HubUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HubUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_of_hubs() {
        for (text, written) in [
            ("https://hub", "https://hub:443"),
            ("https://hub.example:8443/", "https://hub.example:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://[::1]:9/tomte/", "https://[::1]:9/tomte"),
            ("wss://hub/x", "https://hub:443/x"),
        ] {
            let url: HubUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), written);
            assert_eq!(written.parse(), Ok(url));
        }
        for bad in ["", "hub", "ftp://hub", "https://", "https://hub:0", "https://hub:x", "https://a b", "https://h?q"]
        {
            assert!(bad.parse::<HubUrl>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn levels_are_numbers_or_off() {
        #[derive(Deserialize)]
        struct Line {
            level: Level,
        }
        for (text, level) in [("0.5", Some(0.5)), ("3", Some(3.0)), ("\"off\"", None)] {
            assert_eq!(toml::from_str::<Line>(&format!("level = {text}")).unwrap().level, Level(level));
        }
        let error = toml::from_str::<Line>("level = \"high\"").err().unwrap();
        assert!(error.message().contains("a number such as 0.9, or \"off\""), "{error}");
    }
}
