//! The host's own list of commands: `/etc/tomte/commands.toml`.
//!
//! It belongs to root, and nobody else may be able to write it, nor any folder
//! above it: what stands in it is run. Agent and helper read it with this
//! code, each for itself, and again before each run.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use tomte_collect::units::{Size, Span};
use tomte_control::plan::CommandPlan;
use tomte_model::{HostId, Plan, Risk};

use super::LIST;
use super::parameter::{Parameter, Rule, anchored};
use crate::config::{ConfigError, complaint, position};

/// The sample that `tomte-agent check --sample-commands` prints.
pub const SAMPLE: &str = include_str!("sample.toml");

/// A longer file is no list of commands.
const LONGEST_FILE: u64 = 256 * 1024;
/// More commands, or buttons, or switches than this are refused.
const MOST: usize = 200;
/// No command has more parameters.
pub const MOST_PARAMETERS: usize = 16;
const LONGEST_LIMIT: Duration = Duration::from_secs(3600);
const MOST_OUTPUT: u64 = 64 * 1024;
/// A signature's key has at least so many bytes.
const LEAST_KEY: usize = 16;

/// What MQTT may do with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MqttRule {
    /// File a request, which somebody has to approve.
    #[default]
    Ask,
    /// Run it: this line is the approval.
    Run,
}

impl MqttRule {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Run => "run",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    #[serde(default)]
    commands: CommandsEntry,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CommandsEntry {
    per_minute: Option<u32>,
    key_file: Option<PathBuf>,
    available: Vec<Spanned<CommandEntry>>,
    button: Vec<Spanned<ButtonEntry>>,
    switch: Vec<Spanned<SwitchEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandEntry {
    trigger: String,
    #[serde(default)]
    about: String,
    command: Vec<String>,
    #[serde(default)]
    params: Vec<ParameterEntry>,
    limit: Option<Span>,
    user: Option<String>,
    risk: Option<Risk>,
    output: Option<Size>,
    #[serde(default)]
    mqtt: MqttRule,
    signed: Option<bool>,
    #[serde(default = "yes")]
    button: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParameterEntry {
    name: String,
    #[serde(default)]
    optional: bool,
    one_of: Option<Vec<String>>,
    regex: Option<String>,
    range: Option<[i64; 2]>,
    under: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ButtonEntry {
    name: String,
    title: Option<String>,
    run: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchEntry {
    name: String,
    title: Option<String>,
    on: Vec<String>,
    off: Vec<String>,
    probe: String,
}

/// A command with its arguments chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// The command's trigger.
    pub trigger: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// A button that Home Assistant shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// Its name, of `a-z 0-9 _ -`: what its identity hangs on.
    pub name: String,
    /// What people read.
    pub title: String,
    /// What it asks for.
    pub press: Preset,
}

/// A switch that Home Assistant shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Its name, of `a-z 0-9 _ -`: what its identity hangs on.
    pub name: String,
    /// What people read.
    pub title: String,
    /// What turns it on.
    pub on: Preset,
    /// What turns it off.
    pub off: Preset,
    /// The probe of `agent.toml` that tells whether it is on.
    pub probe: String,
}

/// One command.
#[derive(Debug, Clone)]
pub struct Command {
    /// What it is asked for by.
    pub trigger: String,
    /// What it is good for, in words.
    pub about: String,
    /// The program and its arguments; `{name}` stands for a parameter.
    argv: Vec<String>,
    /// What whoever asks may choose.
    pub parameters: Vec<Parameter>,
    /// How long it may take.
    pub limit: Duration,
    /// Whom it runs as.
    pub user: String,
    /// How much harm it can do.
    pub risk: Risk,
    /// How many bytes of its output are kept.
    pub output: usize,
    /// What MQTT may do with it.
    pub mqtt: MqttRule,
    /// Whether requests over MQTT must be signed.
    pub signed: bool,
}

/// A command with checked arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// What would be done.
    pub plan: Plan,
}

/// The whole list.
#[derive(Debug, Clone, Default)]
pub struct Commands {
    /// How many requests a minute are looked at.
    pub per_minute: u32,
    /// The file with the key that signs requests.
    pub key_file: Option<PathBuf>,
    /// The commands.
    pub available: Vec<Command>,
    /// The buttons, those of commands without parameters included.
    pub buttons: Vec<Button>,
    /// The switches.
    pub switches: Vec<Switch>,
}

/// Why a request does not fit the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// There is no such command.
    #[error("this host allows no such command; ask for \"list\"")]
    Unknown,
    /// The arguments do not fit.
    #[error("{0}")]
    Arguments(String),
}

impl Command {
    /// Holds arguments against the entry.
    ///
    /// # Errors
    /// When one is missing, or may not be that.
    pub fn with(&self, host: HostId, arguments: &[String]) -> Result<Allowed, NotAllowed> {
        let argv = self.filled(arguments).map_err(NotAllowed::Arguments)?;
        for (parameter, value) in self.parameters.iter().zip(arguments) {
            parameter.check(value).map_err(NotAllowed::Arguments)?;
        }
        let plan = CommandPlan {
            host,
            trigger: &self.trigger,
            argv: &argv,
            user: &self.user,
            limit_seconds: self.limit.as_secs(),
            output_bytes: self.output as u64,
            risk: self.risk,
        };
        Ok(Allowed { plan: plan.render(), argv })
    }

    /// The argument vector with the arguments in their places. What belongs to
    /// one that was left out is left out.
    fn filled(&self, arguments: &[String]) -> Result<Vec<String>, String> {
        let needed = self.parameters.iter().filter(|parameter| !parameter.optional).count();
        if !(needed..=self.parameters.len()).contains(&arguments.len()) {
            let names: Vec<_> = self.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
            return Err(match names.len() {
                0 => format!("{} takes no parameters", self.trigger),
                _ => format!("{} takes {needed} to {} parameters: {}", self.trigger, names.len(), names.join(", ")),
            });
        }
        let fill = |template: &String| {
            let mut filled = String::new();
            let mut rest = template.as_str();
            while let Some((place, index, name)) = next_place(rest, &self.parameters) {
                filled.push_str(&rest[..place]);
                filled.push_str(arguments.get(index)?);
                rest = &rest[place + name.len() + 2..];
            }
            filled.push_str(rest);
            Some(filled)
        };
        Ok(self.argv.iter().filter_map(fill).collect())
    }
}

/// The first `{name}` of a parameter: where, which.
fn next_place<'a>(text: &str, parameters: &'a [Parameter]) -> Option<(usize, usize, &'a str)> {
    let place = |(index, parameter): (usize, &'a Parameter)| {
        Some((text.find(&format!("{{{}}}", parameter.name))?, index, parameter.name.as_str()))
    };
    parameters.iter().enumerate().filter_map(place).min_by_key(|(place, ..)| *place)
}

impl Commands {
    /// Reads the list; `None`: there is none, and nothing is allowed.
    ///
    /// # Errors
    /// When it cannot be read, could have been written by others than root, or
    /// makes no sense.
    pub fn load(path: &Path) -> Result<Option<Self>, ConfigError> {
        match read(path, 0)? {
            Some(text) => Self::parse(path, &text).map(Some),
            None => Ok(None),
        }
    }

    /// Understands the list's text.
    ///
    /// # Errors
    /// With line and column, when it makes no sense.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let wrong = |offset: usize, message: String| {
            let (line, column) = position(text, offset);
            ConfigError::File { path: path.to_owned(), line, column, message }
        };
        let file: FileEntry = toml::from_str(text).map_err(|error| {
            let (line, column, message) = complaint(text, &error);
            ConfigError::File { path: path.to_owned(), line, column, message }
        })?;
        let entry = file.commands;
        let mut commands =
            Self { per_minute: entry.per_minute.unwrap_or(30), key_file: entry.key_file, ..Self::default() };
        if !(1..=6000).contains(&commands.per_minute) {
            return Err(wrong(0, "commands.per_minute is from 1 to 6000".to_owned()));
        }
        let mut names = HashSet::from([LIST.to_owned()]);
        let mut unique = |name: &str| {
            is_name(name)?;
            if names.insert(name.to_owned()) { Ok(()) } else { Err(format!("{name:?} is there already, or built in")) }
        };
        for entry in entry.available {
            let at = entry.span().start;
            let entry = entry.into_inner();
            unique(&entry.trigger).map_err(|message| wrong(at, message))?;
            let signed = commands.key_file.is_some();
            let shows = entry.button;
            let command = command(entry, signed).map_err(|message| wrong(at, message))?;
            if shows && command.parameters.is_empty() {
                let title = if command.about.is_empty() { &command.trigger } else { &command.about };
                let press = Preset { trigger: command.trigger.clone(), arguments: Vec::new() };
                commands.buttons.push(Button { name: command.trigger.clone(), title: title.clone(), press });
            }
            commands.available.push(command);
        }
        for entry in entry.button {
            let at = entry.span().start;
            let ButtonEntry { name, title, run } = entry.into_inner();
            let preset = unique(&name).and_then(|()| commands.preset(&run)).map_err(|message| wrong(at, message))?;
            commands.buttons.push(Button { title: title.unwrap_or_else(|| name.clone()), name, press: preset });
        }
        for entry in entry.switch {
            let at = entry.span().start;
            let SwitchEntry { name, title, on, off, probe } = entry.into_inner();
            let preset = |run: &[String]| commands.preset(run).map_err(|message| wrong(at, message));
            unique(&name).map_err(|message| wrong(at, message))?;
            let (on, off) = (preset(&on)?, preset(&off)?);
            commands.switches.push(Switch { title: title.unwrap_or_else(|| name.clone()), name, on, off, probe });
        }
        if commands.available.len().max(commands.buttons.len()).max(commands.switches.len()) > MOST {
            return Err(wrong(0, format!("more than {MOST} are too many")));
        }
        Ok(commands)
    }

    fn preset(&self, run: &[String]) -> Result<Preset, String> {
        let (trigger, arguments) =
            run.split_first().ok_or("write the trigger and its parameters: [\"restart\", \"nginx\"]")?;
        let command = self.command(trigger).ok_or_else(|| format!("there is no command {trigger:?} above"))?;
        // What a path leads to is looked at when it is run.
        command.filled(arguments)?;
        Ok(Preset { trigger: trigger.clone(), arguments: arguments.to_vec() })
    }

    /// The command of that trigger.
    #[must_use]
    pub fn command(&self, trigger: &str) -> Option<&Command> {
        self.available.iter().find(|command| command.trigger == trigger)
    }

    /// What that trigger with these arguments would run.
    ///
    /// # Errors
    /// When the list does not allow it.
    pub fn allowed(
        &self,
        host: HostId,
        trigger: &str,
        arguments: &[String],
    ) -> Result<(&Command, Allowed), NotAllowed> {
        let command = self.command(trigger).ok_or(NotAllowed::Unknown)?;
        Ok((command, command.with(host, arguments)?))
    }

    /// Reads the key that signs requests; `None`: there is none.
    ///
    /// # Errors
    /// When it cannot be read, others can read it, or it is too short.
    pub fn key(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        let Some(path) = &self.key_file else { return Ok(None) };
        let io = |source| ConfigError::Io { path: path.clone(), source };
        let file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if meta.mode() & 0o007 != 0 {
            let (problem, cure) = ("can be read by everybody", format!("chmod o= {}", path.display()));
            return Err(ConfigError::Untrusted { path: path.clone(), problem, cure });
        }
        let mut key = Vec::new();
        file.take(4096).read_to_end(&mut key).map_err(io)?;
        while key.last().is_some_and(u8::is_ascii_whitespace) {
            key.pop();
        }
        if key.len() < LEAST_KEY {
            let message = format!("{} holds a key of less than {LEAST_KEY} bytes", path.display());
            return Err(ConfigError::Together { message });
        }
        Ok(Some(key))
    }
}

fn is_name(name: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    if fits { Ok(()) } else { Err(format!("{name:?} is no name: 1 to 64 of a-z 0-9 _ - are allowed")) }
}

fn command(entry: CommandEntry, signed: bool) -> Result<Command, String> {
    let trigger = entry.trigger;
    let program = entry.command.first().ok_or_else(|| format!("{trigger} has no command"))?;
    if !program.starts_with('/') {
        return Err(format!("{program:?} is no absolute path; write for example \"/usr/bin/df\""));
    }
    if entry.command.len() > 128 || entry.command.iter().any(|argument| argument.contains('\0')) {
        return Err(format!("{trigger}: these are no arguments"));
    }
    if entry.params.len() > MOST_PARAMETERS {
        return Err(format!("{trigger} has more than {MOST_PARAMETERS} parameters"));
    }
    let mut parameters: Vec<Parameter> = Vec::new();
    for entry in entry.params {
        is_name(&entry.name)?;
        let name = entry.name.clone();
        if parameters.iter().any(|known| known.name == name) {
            return Err(format!("the parameter {name} is there twice"));
        }
        if !entry.optional && parameters.last().is_some_and(|last| last.optional) {
            return Err(format!("{name} comes after one that is optional, so it is optional too"));
        }
        parameters.push(parameter(entry)?);
    }
    for parameter in &parameters {
        let place = format!("{{{}}}", parameter.name);
        if !entry.command.iter().skip(1).any(|argument| argument.contains(&place)) {
            return Err(format!("{place} stands nowhere in the arguments of {trigger}"));
        }
    }
    if parameters.iter().any(|parameter| program.contains(&format!("{{{}}}", parameter.name))) {
        return Err(format!("the program of {trigger} is chosen by this file alone"));
    }
    let limit = entry.limit.map_or(Duration::from_secs(30), |limit| limit.0);
    if !(Duration::from_secs(1)..=LONGEST_LIMIT).contains(&limit) || limit.subsec_nanos() != 0 {
        return Err(format!("the limit of {trigger} is in whole seconds, from \"1s\" to \"1h\""));
    }
    let output = entry.output.map_or(16 * 1024, |output| output.0);
    if output > MOST_OUTPUT {
        return Err(format!("no more than 64KiB of the output of {trigger} can be kept"));
    }
    let risk = entry.risk.unwrap_or(Risk::Guarded);
    if risk == Risk::Dangerous && entry.mqtt == MqttRule::Run {
        return Err(format!("{trigger} is dangerous, so somebody has to approve it; write mqtt = \"ask\""));
    }
    if entry.signed == Some(true) && !signed {
        return Err(format!("{trigger} is to be signed; set commands.key_file"));
    }
    let user = entry.user.unwrap_or_else(|| "nobody".to_owned());
    if user.is_empty() || user.contains([':', '\0', '/']) {
        return Err(format!("{user:?} is no user"));
    }
    Ok(Command {
        trigger,
        about: entry.about.chars().filter(|c| !c.is_control()).take(200).collect(),
        argv: entry.command,
        parameters,
        limit,
        user,
        risk,
        output: usize::try_from(output).unwrap_or(0),
        mqtt: entry.mqtt,
        signed: entry.signed.unwrap_or(signed),
    })
}

fn parameter(entry: ParameterEntry) -> Result<Parameter, String> {
    let name = entry.name;
    let rule = match (entry.one_of, entry.regex, entry.range, entry.under) {
        (Some(values), None, None, None) if !values.is_empty() => Rule::OneOf(values),
        (None, Some(regex), None, None) => Rule::Matches(anchored(&regex).map_err(|why| format!("{name}: {why}"))?),
        (None, None, Some([least, most]), None) if least <= most => Rule::Within(least..=most),
        (None, None, None, Some(folder)) if folder.is_absolute() => Rule::Under(folder),
        _ => {
            return Err(format!(
                "{name} needs exactly one of one_of = [\"a\", \"b\"], regex = \"[a-z]+\", range = [1, 10] and \
                 under = \"/an/absolute/folder\""
            ));
        }
    };
    Ok(Parameter { name, optional: entry.optional, rule })
}

/// Reads a file that belongs to that user, in folders that belong to it or to
/// root, none of which anybody else can write.
fn read(path: &Path, owner: u32) -> Result<Option<String>, ConfigError> {
    let io = |source| ConfigError::Io { path: path.to_owned(), source };
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    // What is open is what is looked at, whatever the name leads to meanwhile.
    let file = File::open(&real).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(io(io::Error::other("it is no file")));
    }
    distrust(&real, &meta, owner)?;
    for folder in real.ancestors().skip(1) {
        distrust(folder, &fs::symlink_metadata(folder).map_err(io)?, owner)?;
    }
    if meta.len() > LONGEST_FILE {
        return Err(io(io::Error::other("it is too long")));
    }
    let mut text = String::new();
    file.take(LONGEST_FILE).read_to_string(&mut text).map_err(io)?;
    Ok(Some(text))
}

fn distrust(path: &Path, meta: &Metadata, owner: u32) -> Result<(), ConfigError> {
    let untrusted = |problem, cure: String| ConfigError::Untrusted { path: path.to_owned(), problem, cure };
    if meta.uid() != owner && (meta.uid() != 0 || !meta.is_dir()) {
        return Err(untrusted("does not belong to root", format!("chown root {}", path.display())));
    }
    // In a sticky folder others can add files but not replace this one.
    let is_sticky = meta.is_dir() && meta.mode() & 0o1000 != 0;
    if meta.mode() & 0o022 != 0 && !is_sticky {
        return Err(untrusted("can be written by others than root", format!("chmod go-w {}", path.display())));
    }
    Ok(())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
