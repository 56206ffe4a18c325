//! An old file, taken apart key by key; what nobody asked for is named.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::config::{complaint, is_secret, lines_of_keys};

pub(super) struct Old {
    table: Table,
    /// Lines of keys, for the notes.
    lines: BTreeMap<String, usize>,
    pub(super) notes: Vec<String>,
}

impl Old {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let wrong = |error: toml::de::Error| {
            let (line, column, message) = complaint(text, &error);
            format!("line {line}, column {column}: {message}")
        };
        let table = toml::from_str(text).map_err(wrong)?;
        let lines = lines_of_keys(text).map_err(wrong)?;
        Ok(Self { table, lines, notes: Vec::new() })
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Takes the first of these keys that is there.
    pub(super) fn take(&mut self, keys: &[&str]) -> Option<(String, Value)> {
        keys.iter().find_map(|key| Some(((*key).to_owned(), remove(&mut self.table, key)?)))
    }

    fn taken<T>(&mut self, keys: &[&str], wanted: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let (key, value) = self.take(keys)?;
        let read = read(&value);
        if read.is_none() {
            let line = self.line(&key);
            self.note(format!("line {line}: {key} = {value} was not taken over: it is no {wanted}"));
        }
        read
    }

    pub(super) fn text(&mut self, keys: &[&str]) -> Option<String> {
        self.taken(keys, "text", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn number(&mut self, keys: &[&str]) -> Option<i64> {
        self.taken(keys, "whole number", Value::as_integer)
    }

    pub(super) fn millis(&mut self, keys: &[&str]) -> Option<u64> {
        self.taken(keys, "number of milliseconds", |value| u64::try_from(value.as_integer()?).ok())
    }

    pub(super) fn flag(&mut self, keys: &[&str]) -> Option<bool> {
        self.taken(keys, "true or false", Value::as_bool)
    }

    pub(super) fn list(&mut self, keys: &[&str]) -> Option<Vec<String>> {
        let texts = |value: &Value| {
            let values = value.as_array()?.iter();
            values.map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        // An empty list said nothing.
        self.taken(keys, "list of texts", texts).filter(|list| !list.is_empty())
    }

    pub(super) fn line(&self, key: &str) -> usize {
        self.lines.get(key).copied().unwrap_or(0)
    }

    /// Names what is left.
    pub(super) fn note_the_rest(&mut self) {
        let mut rest = Vec::new();
        flatten("", &Value::Table(std::mem::take(&mut self.table)), &mut rest);
        rest.sort_by_key(|(key, _)| self.line(key));
        for (key, value) in rest {
            let line = self.line(&key);
            self.note(format!("line {line}: {key} = {value} was not taken over: there is nothing like it"));
        }
    }
}

fn remove(table: &mut Table, key: &str) -> Option<Value> {
    match key.split_once('.') {
        None => table.remove(key),
        Some((first, rest)) => remove(table.get_mut(first)?.as_table_mut()?, rest),
    }
}

fn flatten(prefix: &str, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&path, value, out);
            }
        }
        // A secret does not go into a note.
        _ if is_secret(prefix) => out.push((prefix.to_owned(), "***".to_owned())),
        value => out.push((prefix.to_owned(), value.to_string())),
    }
}
