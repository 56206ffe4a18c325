//! `tomte-agent import`: a `systant.toml` becomes an `agent.toml`, its commands
//! a `commands.toml`, and what could not be taken over is said.
//!
//! Nothing is run and nothing guessed: a key that is not known here is named,
//! a command that needs a shell is left out. Reading is apart from writing, so
//! that the whole of it is text in, text out.

mod commands;
mod old;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use old::Old;

/// What systant called its parts, and which collectors do the same.
const MODULES: &[(&str, &[&str])] = &[
    ("cpu", &["cpu", "load"]),
    ("memory", &["memory"]),
    ("disk", &["filesystem"]),
    ("gpu", &["gpu"]),
    ("network", &["interface"]),
    ("temperature", &["sensor"]),
    ("processes", &["process"]),
];
/// The file for a password, beside the configuration.
const PASSWORD: &str = "mqtt-password";

/// Why a file could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no TOML; the text has line and column.
    #[error("{0}")]
    NoToml(String),
    /// It cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nothing is overwritten.
    #[error("{} is there already, and nothing is overwritten; move it away first", .0.display())]
    Exists(PathBuf),
}

/// What becomes of an old file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// `agent.toml`.
    pub agent: String,
    /// `commands.toml`, if there are commands.
    pub commands: Option<String>,
    /// The broker's password, which stands in no configuration.
    pub password: Option<String>,
    /// What to know, and what could not be taken over.
    pub notes: Vec<String>,
}

/// Makes the new files of an old one's text. `folder` is where they will be;
/// `find` tells where a program is.
///
/// # Errors
/// When the text is no TOML.
pub fn import(text: &str, folder: &Path, find: impl Fn(&str) -> Option<PathBuf>) -> Result<Imported, ImportError> {
    let mut old = Old::read(text).map_err(ImportError::NoToml)?;
    let mut agent = String::from("# Made of a systant.toml by `tomte-agent import`.\n");
    let password = mqtt(&mut old, folder, &mut agent);
    home_assistant(&mut old, &mut agent);
    systant(&mut old, &mut agent);
    filters(&mut old, &mut agent);
    modules(&mut old, &mut agent);
    if let Some(level) = old.text(&["general.log_level", "logging.level"]) {
        let _ = write!(agent, "\n[log]\nlevel = {}\n", quoted(crate::config::systant_log_level(&level)));
    }
    let commands = commands::commands(&mut old, folder, find);
    old.note_the_rest();
    Ok(Imported { agent, commands, password, notes: old.notes })
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn mqtt(old: &mut Old, folder: &Path, agent: &mut String) -> Option<String> {
    let host = old.text(&["mqtt.host", "mqtt.broker"]).unwrap_or_else(|| "mqtt.home".to_owned());
    let port = old.number(&["mqtt.port"]).unwrap_or(1883);
    let tls = old.flag(&["mqtt.tls", "mqtt.ssl"]).unwrap_or(false);
    let scheme = if tls { "mqtts" } else { "mqtt" };
    let mut url = format!("{scheme}://{host}:{port}");
    if let Err(error) = url.parse::<tomte_mqtt::client::Address>() {
        old.note(format!("mqtt.host: {error}; the default mqtt.home stands there instead"));
        "mqtt://mqtt.home:1883".clone_into(&mut url);
    }
    let _ = write!(agent, "\n[mqtt]\nurl = {}\n", quoted(&url));
    if let Some(user) = old.text(&["mqtt.username", "mqtt.user"]) {
        let _ = writeln!(agent, "username = {}", quoted(&user));
    }
    let password = old.text(&["mqtt.password"]).filter(|password| !password.is_empty());
    if password.is_some() {
        let path = folder.join(PASSWORD);
        let _ = writeln!(agent, "password_file = {}", quoted(&path.display().to_string()));
        old.note(format!(
            "the password stands in a file of its own now, {}; the agent's user must be able to read it: \
             chown root:tomte, chmod 0640",
            path.display()
        ));
    }
    if let Some(delay) = old.millis(&["general.startup_delay", "mqtt.startup_delay", "general.start_delay"]) {
        let _ = writeln!(agent, "start_delay = \"{delay}ms\"");
    }
    if old.text(&["mqtt.client_id_prefix", "mqtt.client_id"]).is_some() {
        old.note("mqtt.client_id_prefix is not needed: the client id is made of the host's id and never taken twice");
    }
    if let Some(qos) = old.number(&["mqtt.qos"]) {
        let kept = qos.clamp(0, 1);
        if kept != qos {
            old.note(format!("mqtt.qos = {qos} became 1"));
        }
        let _ = write!(agent, "\n[mqtt.qos]\nstate = {kept}\n");
    }
    password
}

fn home_assistant(old: &mut Old, agent: &mut String) {
    let enabled = old.flag(&["homeassistant.discovery_enabled", "home_assistant.discovery_enabled"]);
    let prefix = old.text(&["homeassistant.discovery_prefix", "home_assistant.discovery_prefix"]);
    if enabled.is_none() && prefix.is_none() {
        return;
    }
    let _ = write!(agent, "\n[mqtt.home_assistant]\n");
    if enabled == Some(false) {
        let _ = writeln!(agent, "discovery = \"off\"");
    }
    if let Some(prefix) = prefix {
        let _ = writeln!(agent, "prefix = {}", quoted(&prefix));
    }
}

fn systant(old: &mut Old, agent: &mut String) {
    let _ = write!(agent, "\n# The old topics, for those who still listen to them.\n[mqtt.systant]\nenabled = true\n");
    let names =
        ["general.collection_interval", "general.interval", "general.publish_interval", "mqtt.publish_interval"];
    if let Some(interval) = old.millis(&names) {
        let bounded = interval.clamp(1_000, 86_400_000);
        if bounded != interval {
            old.note(format!("the interval of {interval} ms became {bounded} ms"));
        }
        let _ = writeln!(agent, "interval = \"{bounded}ms\"");
    }
    for (topic, key) in
        [("stats", "mqtt.stats_topic"), ("commands", "mqtt.command_topic"), ("responses", "mqtt.response_topic")]
    {
        if let Some(own) = old.text(&[key]) {
            old.note(format!("{key} = {own:?}: the topic is systant/HOST/{topic}, always"));
        }
    }
}

fn filters(old: &mut Old, agent: &mut String) {
    let list = |values: Vec<String>| toml::Value::from(values).to_string();
    type Line<'a> = (&'a str, Option<Vec<String>>, Option<Vec<String>>);
    let mut filter = |section: &str, lines: &[Line<'_>]| {
        let mut written = String::new();
        for (name, include, exclude) in lines {
            if include.is_none() && exclude.is_none() {
                continue;
            }
            let part = |key: &str, values: &Option<Vec<String>>| {
                values.clone().map(|values| format!("{key} = {}", list(values)))
            };
            let parts: Vec<_> = [part("include", include), part("exclude", exclude)].into_iter().flatten().collect();
            let _ = writeln!(written, "{name} = {{ {} }}", parts.join(", "));
        }
        if !written.is_empty() {
            let _ = write!(agent, "\n[{section}]\n{written}");
        }
    };
    let mounts = (old.list(&["disk.include_mounts"]), old.list(&["disk.exclude_mounts"]));
    let types = (old.list(&["disk.include_types"]), old.list(&["disk.exclude_types", "disk.exclude_filesystems"]));
    filter("filesystem", &[("mounts", mounts.0, mounts.1), ("types", types.0, types.1)]);
    let names = (old.list(&["network.include_interfaces"]), old.list(&["network.exclude_interfaces"]));
    filter("interface", &[("names", names.0, names.1)]);
    if let Some(bytes) = old.number(&["network.min_bytes_threshold", "network.min_bytes"]) {
        if !agent.contains("\n[interface]\n") {
            agent.push_str("\n[interface]\n");
        }
        let _ = writeln!(agent, "minimum_bytes = {}", bytes.max(0));
    }
    if let Some(top) = old.number(&["processes.max_processes", "processes.limit", "processes.top"]) {
        let _ = write!(agent, "\n[process]\ntop = {}\n", top.clamp(0, 100));
    }
    if old.text(&["processes.sort_by"]).is_some() {
        old.note("processes.sort_by: both lists are told, by CPU and by memory");
    }
}

/// What is switched off stays so.
fn modules(old: &mut Old, agent: &mut String) {
    let listed = old.list(&["general.enabled_modules"]);
    let mut off: Vec<&str> = Vec::new();
    for (module, collectors) in MODULES {
        let named = listed.as_ref().is_none_or(|listed| listed.iter().any(|name| name == module));
        let enabled = old.flag(&[&format!("{module}.enabled")]).unwrap_or(true);
        if !(named && enabled) {
            off.extend(*collectors);
        }
    }
    if old.flag(&["temperature.cpu_temp_enabled"]) == Some(false)
        && old.flag(&["temperature.sensors_enabled"]) == Some(false)
        && !off.contains(&"sensor")
    {
        off.push("sensor");
    }
    if listed.is_some_and(|listed| !listed.iter().any(|name| name == "system")) {
        old.note("general.enabled_modules leaves out system, which is always read: it costs next to nothing");
    }
    for collector in off {
        let _ = write!(agent, "\n[collectors.{collector}]\nenabled = false\n");
    }
}

/// Where a program is, among the folders of the system.
#[must_use]
pub fn on_this_system(name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Some(PathBuf::from(name));
    }
    let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin", "/sbin", "/run/current-system/sw/bin"];
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// Writes the new files into a folder, which is made where there is none;
/// nothing that is there is overwritten.
///
/// # Errors
/// When one of them is there already or cannot be written; then none is left
/// half-written.
pub fn write(imported: &Imported, folder: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let mut files = vec![("agent.toml", imported.agent.as_str(), 0o644)];
    files.extend(imported.commands.as_deref().map(|text| ("commands.toml", text, 0o644)));
    files.extend(imported.password.as_deref().map(|text| (PASSWORD, text, 0o600)));
    let paths: Vec<_> = files.iter().map(|(name, ..)| folder.join(name)).collect();
    if let Some(there) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(ImportError::Exists(there.clone()));
    }
    std::fs::create_dir_all(folder).map_err(|source| ImportError::Io { path: folder.to_owned(), source })?;
    for ((_, text, mode), path) in files.into_iter().zip(&paths) {
        let io = |source| ImportError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(io)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.inspect_err(|_| drop(std::fs::remove_file(path))).map_err(io)?;
    }
    Ok(paths)
}
