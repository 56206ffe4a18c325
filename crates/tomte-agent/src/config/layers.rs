//! Where each value comes from: layers of keys, the later ones over the
//! earlier ones, key by key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::ConfigError;
use super::schema::{FileConfig, ThresholdEntry};

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The hub pushed it.
    Hub,
    /// A line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1; zero where it is not known.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Hub => f.write_str("hub"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// Values with their origins, by dotted key.
pub(super) type Values = BTreeMap<String, (Value, Origin)>;

/// Values from one source.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    /// By dotted key; tables are taken apart, lists are values.
    pub values: Values,
    /// Threshold rules add up over the layers instead of replacing each other.
    pub thresholds: Vec<(ThresholdEntry, Origin)>,
}

const THRESHOLDS: &str = "thresholds";

impl Layer {
    /// What stands where nobody says anything.
    pub(super) fn defaults() -> Self {
        let table = Table::try_from(FileConfig::default()).expect("the defaults are TOML");
        let mut layer = Self::default();
        flatten("", Value::Table(table), &mut |key, value| {
            layer.values.insert(key, (value, Origin::Default));
        });
        layer.values.remove(THRESHOLDS);
        layer
    }

    /// What the file says.
    pub(super) fn file(path: PathBuf, text: &str) -> Result<Self, ConfigError> {
        let wrong = |error: toml::de::Error| {
            let (line, column, message) = complaint(text, &error);
            ConfigError::File { path: path.clone(), line, column, message }
        };
        let config: FileConfig = toml::from_str(text).map_err(wrong)?;
        let lines = lines_of_keys(text).map_err(wrong)?;
        let origin = |key: &str| Origin::File { path: path.clone(), line: lines.get(key).copied().unwrap_or(0) };
        let mut layer = Self::default();
        flatten("", Value::Table(toml::from_str(text).map_err(wrong)?), &mut |key, value| {
            let origin = origin(&key);
            layer.values.insert(key, (value, origin));
        });
        layer.values.remove(THRESHOLDS);
        layer.thresholds = (0..)
            .zip(config.thresholds)
            .map(|(index, entry)| (entry, origin(&format!("{THRESHOLDS}.{index}"))))
            .collect();
        Ok(layer)
    }

    /// What the hub set, already checked by [`Self::set`].
    pub(super) fn add(&mut self, other: Self) {
        self.values.extend(other.values);
        self.thresholds.extend(other.thresholds);
    }

    /// One key from outside a file. The text is a TOML value, or a plain
    /// string where that is meant.
    ///
    /// # Errors
    /// In words, when the key is unknown or the value does not fit it.
    pub(super) fn set(key: &str, text: &str, origin: &Origin, quotes_needed: bool) -> Result<Self, String> {
        let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok().and_then(|mut t| t.remove("value"));
        let plain = (!quotes_needed).then(|| Value::String(text.to_owned()));
        let mut problem = format!("{text} is not a TOML value");
        for value in [parsed, plain].into_iter().flatten() {
            let mut table = Table::new();
            insert(&mut table, key, value.clone());
            match typed(&table) {
                Ok(config) => {
                    let mut layer = Self::default();
                    flatten(key, value, &mut |key, value| {
                        layer.values.insert(key, (value, origin.clone()));
                    });
                    layer.values.remove(THRESHOLDS);
                    layer.thresholds = config.thresholds.into_iter().map(|entry| (entry, origin.clone())).collect();
                    return Ok(layer);
                }
                Err(error) => problem = advice(error.message()),
            }
        }
        Err(problem)
    }
}

/// All layers as one configuration.
pub(super) fn merge(layers: &[&Layer]) -> Result<(FileConfig, Values), ConfigError> {
    let mut values = BTreeMap::new();
    for layer in layers {
        values.extend(layer.values.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    let mut table = Table::new();
    for (key, (value, _)) in &values {
        insert(&mut table, key, value.clone());
    }
    let config = typed(&table).map_err(|error| ConfigError::Together { message: advice(error.message()) })?;
    Ok((config, values))
}

/// A table as what it means. It goes through text because a second way from
/// TOML to all those types would be a tenth of the whole program.
fn typed(table: &Table) -> Result<FileConfig, toml::de::Error> {
    let text = toml::to_string(table).map_err(<toml::de::Error as serde::de::Error>::custom)?;
    toml::from_str(&text)
}

/// Every key that a variable or a flag may set.
#[must_use]
pub fn known_keys() -> Vec<String> {
    let mut keys: Vec<String> = Layer::defaults().values.into_keys().collect();
    keys.extend(["hub", "name", "state_dir", "socket", THRESHOLDS].map(str::to_owned));
    let of_mqtt =
        ["url", "username", "password", "password_file", "client_id", "ca_file", "client_certificate", "client_key"];
    keys.extend(of_mqtt.map(|key| format!("mqtt.{key}")));
    for name in crate::collectors().iter().map(|def| def.name).chain([crate::own::COLLECTOR]) {
        keys.extend(["enabled", "interval", "deadline"].map(|key| format!("collectors.{name}.{key}")));
    }
    keys
}

/// Line and column of a byte, both from 1; the column counts characters.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// What is wrong with a file, and where: line, column, and a message that names
/// the key whose value is not what it should be.
pub(crate) fn complaint(text: &str, error: &toml::de::Error) -> (usize, usize, String) {
    let (line, column) = error.span().map_or((0, 0), |span| position(text, span.start));
    let mut message = advice(error.message());
    let key = text.lines().nth(line.wrapping_sub(1)).and_then(|line| match line.trim().strip_prefix('[') {
        Some(table) => table.trim_start_matches('[').split_once(']').map(|(name, _)| name),
        None => line.split_once('=').map(|(key, _)| key),
    });
    if let Some(key) = key.map(str::trim).filter(|key| message.starts_with("invalid ") && !key.is_empty()) {
        // The parser repeats the value, which must not reach a log.
        if let Some((_, expected)) = message.split_once("expected").filter(|_| is_secret(key)) {
            message = format!("invalid value, expected{expected}");
        }
        message = format!("{key}: {message}");
    }
    (line, column, message)
}

/// Whether a key's value is a secret, by its name.
pub(crate) fn is_secret(key: &str) -> bool {
    ["password", "token", "secret"].iter().any(|word| key.contains(word))
}

/// Adds "did you mean" to a complaint that lists what it expected.
pub(crate) fn advice(message: &str) -> String {
    let message = message.trim();
    let Some((complaint, expected)) = message.split_once("expected one of").or_else(|| message.split_once("expected"))
    else {
        return message.to_owned();
    };
    let quoted = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let wrong = quoted(complaint).pop().unwrap_or_default();
    let nearest = nearest(&wrong, quoted(expected).iter().map(String::as_str)).map(str::to_owned);
    match nearest {
        Some(nearest) => format!("{message}; did you mean `{nearest}`?"),
        None => message.to_owned(),
    }
}

/// The name that a mistyped one stands for, if one is near enough.
pub(super) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, name) = names.map(|name| (edits(wrong, name), name)).min()?;
    (!wrong.is_empty() && distance <= wrong.len().div_ceil(3)).then_some(name)
}

/// The Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

fn flatten(prefix: &str, value: Value, leaf: &mut impl FnMut(String, Value)) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                flatten(&path, value, leaf);
            }
        }
        value => leaf(prefix.to_owned(), value),
    }
}

/// Sets a dotted key; what stands in the way is replaced, and refused later by
/// the types.
fn insert(table: &mut Table, key: &str, value: Value) {
    let Some((first, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return;
    };
    let below = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
    if !below.is_table() {
        *below = Value::Table(Table::new());
    }
    if let Value::Table(below) = below {
        insert(below, rest, value);
    }
}

/// The line that each key stands in, by dotted path.
pub(crate) fn lines_of_keys(text: &str) -> Result<BTreeMap<String, usize>, toml::de::Error> {
    let mut lines = BTreeMap::new();
    let tree = DeTable::parse(text)?;
    note_lines("", &DeValue::Table(tree.into_inner()), text, &mut lines);
    Ok(lines)
}

fn note_lines(prefix: &str, value: &DeValue<'_>, text: &str, lines: &mut BTreeMap<String, usize>) {
    let path = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                let path = path(key.get_ref());
                lines.insert(path.clone(), position(text, key.span().start).0);
                note_lines(&path, value.get_ref(), text, lines);
            }
        }
        DeValue::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                let path = path(&index.to_string());
                lines.insert(path.clone(), position(text, value.span().start).0);
                note_lines(&path, value.get_ref(), text, lines);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn positions_count_from_one() {
        assert_eq!(position("ab\ncd", 0), (1, 1));
        assert_eq!(position("ab\nöd", 5), (2, 2));
        assert_eq!(position("", 99), (1, 1));
    }

    #[test]
    fn a_complaint_names_the_key_and_tells_no_secret() {
        let of = |text: &str| match Layer::file("a.toml".into(), text) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("taken: {text}"),
        };
        assert_eq!(of("\n[hub]\nurl = \"x\""), "a.toml:2:1: hub: invalid type: map, expected a string");
        assert_eq!(of("roles = true"), "a.toml:1:9: roles: invalid type: boolean `true`, expected a sequence");
        let secret = of("[mqtt]\npassword = 12345");
        assert!(secret.contains("password: invalid value, expected") && !secret.contains("12345"), "{secret}");
    }

    #[test]
    fn a_mistyped_name_is_recognised() {
        assert_eq!(nearest("intervall", ["intervals", "hub"].into_iter()), Some("intervals"));
        assert_eq!(nearest("zzz", ["intervals", "hub"].into_iter()), None);
        let said = advice("unknown field `nam`, expected one of `hub`, `name`");
        assert!(said.ends_with("did you mean `name`?"), "{said}");
        assert_eq!(advice("something else"), "something else");
    }

    #[test]
    fn keys_from_outside_are_typed_by_what_they_set() {
        let set = |key, text| Layer::set(key, text, &Origin::Flag, false);
        assert!(set("hub", "https://hub:1").is_ok());
        assert!(set("name", "123").is_ok(), "a name may look like a number");
        assert!(set("roles", "[\"nas\"]").is_ok());
        assert!(set("process.top", "5").is_ok());
        assert!(set("process.top", "many").unwrap_err().contains("invalid type"));
        assert!(set("intervals.fats", "5s").unwrap_err().contains("did you mean `fast`?"));
        assert!(Layer::set("intervals.fast", "5s", &Origin::Hub, true).is_err(), "the hub sends TOML");
        assert!(Layer::set("intervals.fast", "\"5s\"", &Origin::Hub, true).is_ok());
    }
}
