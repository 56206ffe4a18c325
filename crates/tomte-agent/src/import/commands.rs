//! systant's `[[commands.available]]` as the host's own list of commands.
//!
//! systant ran what it allowed at once, as itself. Here each waits for an
//! approval until somebody says otherwise in the new file, and runs as nobody
//! until somebody names a user.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::old::Old;
use super::quoted;
use crate::command::Commands;
use crate::config::ConfigError;

/// What only a shell understands.
const SHELL: &[char] =
    &['|', '&', ';', '<', '>', '$', '`', '"', '\'', '*', '?', '~', '(', ')', '[', ']', '\\', '{', '}', '\n'];
/// What the new file calls the one parameter.
const PARAMETER: &str = "value";

/// The new file, if there were commands.
pub(super) fn commands(old: &mut Old, folder: &Path, find: impl Fn(&str) -> Option<PathBuf>) -> Option<String> {
    let enabled = old.flag(&["commands.enabled"]).unwrap_or(true);
    let limit = old.number(&["commands.timeout_seconds", "commands.max_execution_time", "commands.timeout"]);
    if old.flag(&["commands.log_all_commands", "commands.log_all"]) == Some(false) {
        old.note("commands.log_all_commands = false: every request is in the audit, always");
    }
    let (key, entries) = old.take(&["commands.available"])?;
    let Value::Array(entries) = entries else {
        old.note(format!("{key} was not taken over: it is no list of commands"));
        return None;
    };
    let file = folder.join("commands.toml");
    let mut text = String::from(
        "# Made of a systant.toml by `tomte-agent import`. What stands here may be asked for; this\n\
         # file must belong to root and nobody else may be able to write it.\n\n[commands]\n",
    );
    if !enabled {
        old.note("commands.enabled = false: the commands were left out; without a commands.toml nothing is allowed");
        return None;
    }
    let mut taken = 0;
    for (index, entry) in entries.into_iter().enumerate() {
        let line = old.line(&format!("{key}.{index}"));
        let Value::Table(entry) = entry else {
            old.note(format!("line {line}: a command that is no table was not taken over"));
            continue;
        };
        let said = old.notes.len();
        let written = command(old, line, entry, limit, &find).and_then(|written| understood(&file, &text, written));
        match written {
            Ok(written) => {
                taken += 1;
                text.push_str(&written.text);
                let at = text.matches('\n').count();
                old.note(format!(
                    "{}:{at}: {} waits for an approval (mqtt = \"ask\"); write \"run\" in this line to have it run at \
                     once, as systant did",
                    file.display(),
                    written.trigger
                ));
            }
            Err(why) => {
                old.notes.truncate(said);
                old.note(format!("line {line}: a command was not taken over: {why}"));
            }
        }
    }
    if taken == 0 {
        return None;
    }
    old.note("systant ran its commands as itself; here they run as nobody until `user = \"…\"` says otherwise");
    Some(text)
}

/// What the new file's own reader refuses behind what is there already, is not
/// taken over: two of one name, a limit of arguments, whatever it may be.
fn understood(file: &Path, before: &str, written: Written) -> Result<Written, String> {
    match Commands::parse(file, &format!("{before}{}", written.text)) {
        Ok(_) => Ok(written),
        Err(ConfigError::File { message, .. }) => Err(format!("{}: {message}", written.trigger)),
        Err(error) => Err(format!("{}: {error}", written.trigger)),
    }
}

struct Written {
    trigger: String,
    text: String,
}

fn command(
    old: &mut Old,
    line: usize,
    mut entry: Table,
    limit: Option<i64>,
    find: impl Fn(&str) -> Option<PathBuf>,
) -> Result<Written, String> {
    let mut take = |keys: &[&str]| keys.iter().find_map(|key| entry.remove(*key));
    let trigger = match take(&["trigger", "name"]) {
        Some(Value::String(trigger)) => trigger,
        _ => return Err("it has no trigger".to_owned()),
    };
    let proper = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if trigger.is_empty() || trigger.len() > 64 || !trigger.chars().all(proper) {
        return Err(format!("a trigger is of a-z 0-9 _ -, and {trigger:?} is not"));
    }
    if trigger == "list" {
        return Err("\"list\" is built in".to_owned());
    }
    let mut arguments = match take(&["command", "cmd"]) {
        Some(Value::String(line)) if line.contains(SHELL) => {
            return Err(format!("{trigger}: {line:?} needs a shell, and there is none; write a script and name it"));
        }
        Some(Value::String(line)) => line.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(parts)) => {
            let parts: Option<Vec<_>> = parts.into_iter().map(|part| part.as_str().map(str::to_owned)).collect();
            parts.ok_or_else(|| format!("{trigger}: its command is no list of texts"))?
        }
        _ => return Err(format!("{trigger} has no command")),
    };
    if let Some(Value::Array(more)) = take(&["args", "arguments"]) {
        arguments.extend(more.iter().filter_map(|part| part.as_str().map(str::to_owned)));
    }
    // Braces mean something in the new file.
    if arguments.iter().any(|part| part.contains(['{', '}'])) {
        return Err(format!("{trigger}: its command has braces in it"));
    }
    let Some(program) = arguments.first_mut() else { return Err(format!("{trigger} has no command")) };
    match find(program) {
        Some(path) => *program = path.display().to_string(),
        None => {
            old.note(format!("line {line}: {trigger}: there is no {program} on this machine; set its whole path"));
            *program = format!("/usr/bin/{program}");
        }
    }
    let mut parameter = String::new();
    match take(&["allowed_params", "params", "allowed_parameters"]) {
        Some(Value::Array(values)) if !values.is_empty() => {
            let text = |value: &Value| match value {
                Value::String(text) => Some(text.clone()),
                Value::Integer(number) => Some(number.to_string()),
                _ => None,
            };
            let texts: Option<Vec<String>> = values.iter().map(text).collect();
            let values = texts.ok_or_else(|| format!("{trigger}: its parameters are no list of texts"))?;
            arguments.push(format!("{{{PARAMETER}}}"));
            let values = Value::from(values);
            parameter = format!("params = [{{ name = \"{PARAMETER}\", one_of = {values}, optional = true }}]\n");
            old.note(format!("line {line}: {trigger} takes one parameter of those that were allowed, or none"));
        }
        Some(Value::Array(_)) | None => {}
        Some(other) => old.note(format!("line {line}: {trigger}: {other} is no list of parameters")),
    }
    let about = match take(&["description", "about"]) {
        Some(Value::String(about)) => format!("about = {}\n", quoted(&about)),
        _ => String::new(),
    };
    let own = take(&["timeout", "timeout_seconds"]).and_then(|value| value.as_integer());
    let limit = own.or(limit).map(|seconds| format!("limit = \"{}s\"\n", seconds.clamp(1, 3600))).unwrap_or_default();
    for (key, value) in &entry {
        old.note(format!("line {line}: {trigger}: {key} = {value} was not taken over"));
    }
    let mut text = String::new();
    let _ = write!(
        text,
        "\n[[commands.available]]\ntrigger = {}\n{about}command = {}\n{parameter}{limit}risk = \"guarded\"\nmqtt = \"ask\"\n",
        quoted(&trigger),
        Value::from(arguments),
    );
    Ok(Written { trigger, text })
}
