//! The agent's configuration: `agent.toml`, over it the environment and the
//! command line, under it the defaults and what the hub has set.
//!
//! [`Layers::read`] finds and checks the sources, [`Layers::resolve`] makes one
//! plain [`Config`] of them, which is passed down. What may stand in the file
//! is in [`schema`]; what a hub may set is decided in [`crate::settings`].

mod layers;
mod locate;
pub mod mqtt;
pub mod schema;
mod thresholds;
pub use tomte_collect::units;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tomte_collect::{BackupSettings, CollectorDef};
use tomte_model::{Catalogue, HostName, ThresholdRule};

use layers::Layer;
pub use layers::{Origin, known_keys};
pub(crate) use layers::{complaint, is_secret, lines_of_keys, position};
pub use locate::{SYSTEM, candidates, candidates_here};
pub use mqtt::MqttConfig;
pub(crate) use mqtt::systant_log_level;
pub use schema::{BadHubUrl, HubUrl, Intervals, LogFormat, LogLevel};

/// The sample that `tomte-agent check --sample` prints.
pub const SAMPLE: &str = include_str!("sample.toml");

/// The key that is shown to nobody.
const PASSWORD: &str = "mqtt.password";

/// What environment variables of the agent's configuration begin with.
pub const ENVIRONMENT: &str = "TOMTE_AGENT_";

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else could have written the file.
    #[error("{} {problem}, so it cannot be trusted; run: {cure}", path.display())]
    Untrusted {
        /// The file or its folder.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
        /// The command that mends it.
        cure: String,
    },
    /// A line of the file makes no sense.
    #[error("{}:{line}:{column}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// A value from elsewhere makes no sense.
    #[error("{origin}: {message}")]
    Value {
        /// Where it was set.
        origin: String,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// Values that are right one by one do not fit together.
    #[error("{message}")]
    Together {
        /// What does not fit.
        message: String,
    },
}

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file that was named, if any.
    pub path: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// `KEY=VALUE` of the command line.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// This process's environment, with what the command line says.
    #[must_use]
    pub fn here(path: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with(ENVIRONMENT) || mqtt::systant_variable(name))
            .collect();
        Self { path, environment, flags }
    }
}

/// The sources as they were found, before the hub's settings.
#[derive(Debug, Clone)]
pub struct Layers {
    path: PathBuf,
    defaults: Layer,
    /// File, environment, flags: what the host itself says.
    own: Vec<Layer>,
}

/// What [`Layers::read`] found.
#[derive(Debug)]
pub enum Found {
    /// A configuration.
    Layers(Box<Layers>),
    /// None of these files is there.
    Nothing(Vec<PathBuf>),
}

/// One collector, as it is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectorConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// The time between two readings.
    pub interval: Duration,
    /// How long one run may take.
    pub deadline: Duration,
}

/// What is kept while the hub is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxConfig {
    /// Bytes in memory before reports go to disk.
    pub memory_limit: u64,
    /// Bytes on disk; zero: nothing is kept there.
    pub disk_limit: u64,
    /// How old a report may grow.
    pub max_age: Duration,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        let entry = schema::OutboxEntry::default();
        Self { memory_limit: entry.memory_limit.0, disk_limit: entry.disk_limit.0, max_age: entry.max_age.0 }
    }
}

/// The configuration in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// The hub; `None`: the agent lives alone.
    pub hub: Option<HubUrl>,
    /// The name to ask for.
    pub name: Option<HostName>,
    /// Where the agent keeps what it must remember.
    pub state_dir: PathBuf,
    /// The local socket.
    pub socket: PathBuf,
    /// What the host is for.
    pub roles: Vec<String>,
    /// The tiers.
    pub intervals: Intervals,
    /// Settings of the collectors.
    pub collect: tomte_collect::Settings,
    /// The rules that judge, over those of the catalogue; the last that
    /// matches counts.
    pub thresholds: Vec<ThresholdRule>,
    /// What is kept while the hub is away.
    pub outbox: OutboxConfig,
    /// Whether the hub may set anything.
    pub accept_hub_settings: bool,
    /// What others may ask this host to run.
    pub commands: schema::CommandsEntry,
    /// The host's own broker; `None`: nothing is published.
    pub mqtt: Option<MqttConfig>,
    /// The least that is logged.
    pub log_level: LogLevel,
    /// How a log line looks.
    pub log_format: LogFormat,
    collectors: BTreeMap<schema::CollectorName, schema::CollectorEntry>,
    /// Each value with its origin, by key.
    pub settings: Vec<(String, String, Origin)>,
    /// Each threshold rule that was set, with its origin.
    pub threshold_origins: Vec<(schema::ThresholdEntry, Origin)>,
}

impl Config {
    /// How a collector is to run.
    #[must_use]
    pub fn collector(&self, def: &CollectorDef) -> CollectorConfig {
        let entry = self.collectors.get(def.name).cloned().unwrap_or_default();
        CollectorConfig {
            enabled: entry.enabled.unwrap_or(true),
            interval: entry
                .interval
                .map(|own| own.get())
                .or(def.interval)
                .unwrap_or_else(|| self.intervals.of(def.tier)),
            deadline: entry.deadline.map_or(def.deadline, |own| own.get()),
        }
    }

    /// How often the agent reports on itself; `None`: not at all.
    #[must_use]
    pub fn own_interval(&self) -> Option<Duration> {
        let entry = self.collectors.get(crate::own::COLLECTOR).cloned().unwrap_or_default();
        entry
            .enabled
            .unwrap_or(true)
            .then(|| entry.interval.map_or(self.intervals.of(tomte_collect::Tier::Medium), |own| own.get()))
    }

    /// The collectors that run, each with how.
    pub fn collectors(&self) -> impl Iterator<Item = (&'static CollectorDef, CollectorConfig)> + '_ {
        crate::collectors().iter().map(|def| (def, self.collector(def))).filter(|(_, config)| config.enabled)
    }
}

/// The default state folder and socket for a configuration file.
#[must_use]
pub fn places(path: &Path) -> (PathBuf, PathBuf) {
    if path == Path::new(SYSTEM) {
        (PathBuf::from("/var/lib/tomte-agent"), PathBuf::from("/run/tomte/agent.sock"))
    } else {
        let mut folder = path.as_os_str().to_owned();
        folder.push(".d");
        let folder = PathBuf::from(folder);
        (folder.clone(), folder.join("agent.sock"))
    }
}

impl Layers {
    /// Finds and reads the sources.
    ///
    /// # Errors
    /// When one of them cannot be read, cannot be trusted or makes no sense.
    pub fn read(sources: &Sources) -> Result<Found, ConfigError> {
        let candidates = match &sources.path {
            Some(path) => {
                vec![std::path::absolute(path).map_err(|source| ConfigError::Io { path: path.clone(), source })?]
            }
            None => locate::candidates_here(),
        };
        for path in &candidates {
            if let Some(text) = locate::read(path)? {
                return Self::of(path.clone(), &text, sources).map(Box::new).map(Found::Layers);
            }
        }
        Ok(Found::Nothing(candidates))
    }

    /// The layers of a file's text and the other sources.
    ///
    /// # Errors
    /// When one of them makes no sense.
    pub fn of(path: PathBuf, text: &str, sources: &Sources) -> Result<Self, ConfigError> {
        let file = Layer::file(path.clone(), text)?;
        if let Some((_, Origin::File { line, .. })) = file.values.get(PASSWORD) {
            let message = "a password does not stand in this file, which others may read; set mqtt.password_file, or \
                           $TOMTE_AGENT_MQTT_PASSWORD";
            return Err(ConfigError::File { path, line: *line, column: 1, message: message.to_owned() });
        }
        let mut environment = Layer::default();
        let known = known_keys();
        let variable = |key: &str| format!("{ENVIRONMENT}{}", key.replace('.', "_").to_uppercase());
        for (name, value) in &sources.environment {
            // The file itself is named by a variable too.
            if !name.starts_with(ENVIRONMENT) || name == "TOMTE_AGENT_CONFIG" {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            let wrong = |message| ConfigError::Value { origin: origin.to_string(), message };
            let Some(key) = known.iter().find(|key| variable(key) == *name) else {
                let names: Vec<_> = known.iter().map(|key| variable(key)).collect();
                let near = layers::nearest(name, names.iter().map(String::as_str));
                return Err(wrong(match near {
                    Some(near) => format!("no such setting; did you mean ${near}?"),
                    None => "no such setting; `tomte-agent check` lists them all".to_owned(),
                }));
            };
            environment.add(Layer::set(key, value, &origin, false).map_err(wrong)?);
        }
        let mut flags = Layer::default();
        for (key, value) in &sources.flags {
            let wrong = |message| ConfigError::Value { origin: format!("--set {key}"), message };
            flags.add(Layer::set(key, value, &Origin::Flag, false).map_err(wrong)?);
        }
        let systant = mqtt::of_systant(&sources.environment, &[&file, &environment, &flags])?;
        Ok(Self { path, defaults: Layer::defaults(), own: vec![file, systant, environment, flags] })
    }

    /// Checks that a value of the hub fits its key.
    ///
    /// # Errors
    /// In words, for the hub's user.
    pub fn check_pushed(&self, key: &str, value: &str) -> Result<(), String> {
        let layer = Layer::set(key, value, &Origin::Hub, true)?;
        for (entry, _) in &layer.thresholds {
            thresholds::rule(entry, &Catalogue::builtin())?;
        }
        Ok(())
    }

    /// Whether this host leaves that key to others. Thresholds add up, so that
    /// they never stand in each other's way.
    ///
    /// # Errors
    /// With the place where the host sets it, or a part of it, itself.
    pub fn own_says(&self, key: &str) -> Result<(), String> {
        let part = format!("{key}.");
        let own = self.own.iter().flat_map(|layer| &layer.values);
        match own.filter(|(own, _)| *own == key || own.starts_with(&part)).map(|(_, (_, origin))| origin).next() {
            Some(origin) => Err(format!("this host sets it itself ({origin})")),
            None => Ok(()),
        }
    }

    /// The configuration in force, with what the hub has set and
    /// [`Self::check_pushed`] has let pass.
    ///
    /// # Errors
    /// When the values do not fit together.
    pub fn resolve(&self, pushed: &[(String, String)]) -> Result<Config, ConfigError> {
        let mut hub = Layer::default();
        for (key, value) in pushed {
            // What fitted an older version and no longer does is left out.
            if let Ok(layer) = Layer::set(key, value, &Origin::Hub, true) {
                hub.add(layer);
            }
        }
        let all: Vec<&Layer> = [&self.defaults, &hub].into_iter().chain(&self.own).collect();
        let (file, values) = layers::merge(&all)?;
        let mut rules = Vec::new();
        let mut threshold_origins = Vec::new();
        let catalogue = Catalogue::builtin();
        for (entry, origin) in [&hub].into_iter().chain(&self.own).flat_map(|layer| &layer.thresholds) {
            match thresholds::rule(entry, &catalogue) {
                Ok(rule) => rules.push(rule),
                // Checked when it was pushed; a newer catalogue may differ.
                Err(_) if *origin == Origin::Hub => continue,
                Err(message) => {
                    let message = layers::advice(&message);
                    return Err(match origin {
                        Origin::File { path, line } => {
                            ConfigError::File { path: path.clone(), line: *line, column: 1, message }
                        }
                        other => ConfigError::Value { origin: other.to_string(), message },
                    });
                }
            }
            threshold_origins.push((entry.clone(), origin.clone()));
        }
        let (state_dir, socket) = places(&self.path);
        let state_dir = file.state_dir.unwrap_or(state_dir);
        let socket = file.socket.unwrap_or(socket);
        let shown = |key: &str, value: &toml::Value| {
            if key == PASSWORD { "\"***\"".to_owned() } else { value.to_string() }
        };
        let mut settings: Vec<_> =
            values.iter().map(|(key, (value, origin))| (key.clone(), shown(key, value), origin.clone())).collect();
        for (key, value) in [("state_dir", &state_dir), ("socket", &socket)] {
            if !settings.iter().any(|(known, ..)| known == key) {
                settings.push((key.to_owned(), format!("{:?}", value.display().to_string()), Origin::Default));
            }
        }
        Ok(Config {
            path: self.path.clone(),
            hub: file.hub,
            name: file.name,
            roles: file.roles,
            intervals: file.intervals,
            collect: tomte_collect::Settings {
                cpu: file.cpu,
                tmpfs: file.tmpfs,
                filesystem: file.filesystem,
                disk: file.disk,
                interface: file.interface,
                process: file.process,
                service: file.service,
                container: file.container,
                smart: file.smart,
                zfs: file.zfs,
                helper: file.helper,
                proxmox: file.proxmox,
                backup: BackupSettings {
                    cache_dir: file.backup.cache_dir.or_else(|| Some(state_dir.join("backup"))),
                    ..file.backup
                },
                peer: file.peer,
                check: file.check,
                probe: file.probe,
                textfile: file.textfile,
            },
            thresholds: rules,
            outbox: OutboxConfig {
                memory_limit: file.outbox.memory_limit.0,
                disk_limit: file.outbox.disk_limit.0,
                max_age: file.outbox.max_age.0,
            },
            accept_hub_settings: file.hub_settings.accept,
            commands: file.commands,
            mqtt: file.mqtt.resolve().map_err(|message| ConfigError::Together { message })?,
            log_level: file.log.level,
            log_format: file.log.format,
            collectors: file.collectors,
            settings,
            threshold_origins,
            state_dir,
            socket,
        })
    }
}

#[cfg(test)]
mod tests;
