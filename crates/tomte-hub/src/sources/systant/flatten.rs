//! What is in a message, made resources: whatever it is called and however
//! deep it lies.
//!
//! Each section at the top becomes a kind of its own, `systant_memory`. Its
//! numbers are fields and its texts attributes, by their path; an object of
//! objects, or a list of objects, is several resources. Lists of processes
//! change with every message, so that they are tables. There is a limit to
//! everything; what is beyond it is left out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};
use tomte_model::catalogue::{AttributeDef, FacetDef, FieldDef, HomeAssistant, Resolution, TableDef};
use tomte_model::{Catalogue, Facet, KindDef, Name, ResourceKey, Table, Unit, Value};

/// What kinds that come of it begin with.
const KIND: &str = "systant";
/// The only facet of each.
const FACET: &str = "main";
/// So many sections are taken, of all hosts together.
const MOST_KINDS: usize = 64;
/// So many fields and attributes each of them may get.
const MOST_FIELDS: usize = 300;
/// So many resources a message may hold, and values in all.
const MOST_RESOURCES: usize = 500;
const MOST_VALUES: usize = 5_000;
/// So deep is looked.
const DEEPEST: usize = 6;
/// Longer names are cut.
const LONGEST_NAME: usize = 200;
const LONGEST_FIELD: usize = 64;
/// Longer texts are cut.
const LONGEST_TEXT: usize = 255;
/// How large a table may be.
const MOST_ROWS: usize = 50;
const MOST_COLUMNS: usize = 16;
/// What may tell the members of a list apart, best first.
const NAMES: &[&str] = &[
    "name",
    "mount",
    "mount_point",
    "mounted_on",
    "mountpoint",
    "filesystem",
    "device",
    "interface",
    "label",
    "sensor",
    "id",
];

/// What a message comes to.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) facets: Vec<Facet>,
    /// Kinds with what is new about them.
    pub(super) kinds: Vec<KindDef>,
}

/// Makes resources of a message.
pub(super) fn flatten(message: &Map<String, Json>, catalogue: &Catalogue) -> Seen {
    let mut work = Work { catalogue, facets: BTreeMap::new(), kinds: BTreeMap::new(), values: 0 };
    let mut rest = Map::new();
    for (section, value) in message {
        match (value, field_name(section)) {
            (Json::Object(members), Some(name)) => {
                let kind = format!("{KIND}_{name}");
                work.object(&kind, &short(section), members, &mut Vec::new());
            }
            (Json::Array(members), Some(name)) if members.iter().any(Json::is_object) => {
                work.list(&format!("{KIND}_{name}"), &short(section), members, &[]);
            }
            // It came when it came.
            _ if section == "timestamp" => {}
            _ => {
                rest.insert(section.clone(), value.clone());
            }
        }
    }
    work.object(KIND, KIND, &rest, &mut Vec::new());
    Seen { facets: work.facets.into_values().collect(), kinds: work.kinds.into_values().collect() }
}

struct Work<'a> {
    catalogue: &'a Catalogue,
    facets: BTreeMap<ResourceKey, Facet>,
    kinds: BTreeMap<String, KindDef>,
    values: usize,
}

impl Work<'_> {
    /// The members of an object, as those of a resource.
    fn object(&mut self, kind: &str, resource: &str, members: &Map<String, Json>, path: &mut Vec<String>) {
        if path.len() >= DEEPEST {
            return;
        }
        let all_objects = !members.is_empty() && members.values().all(Json::is_object);
        for (key, value) in members {
            match value {
                Json::Object(inner) if all_objects => self.member(kind, resource, key, inner, path),
                Json::Object(inner) => {
                    path.push(key.clone());
                    self.object(kind, resource, inner, path);
                    path.pop();
                }
                Json::Array(list) if list.iter().any(Json::is_object) => {
                    path.push(key.clone());
                    self.list(kind, resource, list, path);
                    path.pop();
                }
                _ => self.value(kind, resource, path, key, value),
            }
        }
    }

    /// One of several of a kind.
    fn member(&mut self, kind: &str, resource: &str, name: &str, inner: &Map<String, Json>, path: &[String]) {
        let name = short(name);
        let key = ResourceKey::new(kind.to_owned(), name.clone());
        // Another list of the section may have one of that name.
        let name = if name == resource || self.facets.contains_key(&key) {
            short(&format!("{}/{name}", path.last().map_or(resource, String::as_str)))
        } else {
            name
        };
        if self.facets.contains_key(&ResourceKey::new(kind.to_owned(), name.clone())) {
            return;
        }
        // Deep as it is, its fields are called by what is inside alone.
        let mut inside = Vec::new();
        let nested = inner.iter().filter(|(_, value)| !value.is_object() || path.len() + 1 < DEEPEST);
        let inner: Map<_, _> = nested.map(|(key, value)| (key.clone(), value.clone())).collect();
        self.flat(kind, &name, &inner, &mut inside);
    }

    /// All that is in an object, without making more resources of it.
    fn flat(&mut self, kind: &str, resource: &str, members: &Map<String, Json>, path: &mut Vec<String>) {
        if path.len() >= DEEPEST {
            return;
        }
        for (key, value) in members {
            match value {
                Json::Object(inner) => {
                    path.push(key.clone());
                    self.flat(kind, resource, inner, path);
                    path.pop();
                }
                Json::Array(list) if list.iter().any(Json::is_object) => {
                    path.push(key.clone());
                    self.table(kind, resource, list, path);
                    path.pop();
                }
                _ => self.value(kind, resource, path, key, value),
            }
        }
    }

    fn list(&mut self, kind: &str, resource: &str, list: &[Json], path: &[String]) {
        let objects = || list.iter().filter_map(Json::as_object);
        if kind.contains("process") || path.iter().any(|part| part.contains("process")) {
            return self.table(kind, resource, list, path);
        }
        for (index, object) in objects().enumerate() {
            let named = NAMES.iter().find_map(|name| match object.get(*name)? {
                Json::String(text) if !text.is_empty() => Some(text.clone()),
                Json::Number(number) => Some(number.to_string()),
                _ => None,
            });
            let name = named.unwrap_or_else(|| index.to_string());
            self.member(kind, resource, &name, object, path);
        }
    }

    fn table(&mut self, kind: &str, resource: &str, list: &[Json], path: &[String]) {
        let Some(name) = field_name(&if path.is_empty() { "list".to_owned() } else { path.join("_") }) else { return };
        let objects: Vec<_> = list.iter().filter_map(Json::as_object).take(MOST_ROWS).collect();
        let names: BTreeSet<&String> = objects.iter().flat_map(|object| object.keys()).collect();
        let names: Vec<_> =
            names.into_iter().filter_map(|key| Some((key, field_name(key)?))).take(MOST_COLUMNS).collect();
        let cell = |value: &Json| match value {
            Json::Bool(flag) => Some(Value::Bool(*flag)),
            Json::Number(number) => number.as_f64().filter(|number| number.is_finite()).map(Value::Number),
            Json::String(text) => Some(Value::Text(clean(text))),
            _ => None,
        };
        let row = |object: &&Map<String, Json>| names.iter().map(|(key, _)| object.get(*key).and_then(cell)).collect();
        let rows = objects.iter().map(row).collect();
        let columns: Vec<Name> = names.iter().map(|(_, name)| Name::from(name.clone())).collect();
        let help = "As it was sent.";
        let def = TableDef {
            name: name.clone().into(),
            facet: FACET.into(),
            help: help.into(),
            columns: columns.iter().map(|name| (name.clone(), Cow::Borrowed(help))).collect(),
        };
        if !self.declare(
            kind,
            |kind| kind.tables.iter().any(|table| table.name == name),
            |kind| kind.tables.to_mut().push(def),
        ) {
            return;
        }
        if let Some(facet) = self.facet(kind, resource) {
            facet.tables.push(Table { name: name.into(), columns, rows });
        }
    }

    fn value(&mut self, kind: &str, resource: &str, path: &[String], key: &str, value: &Json) {
        let whole = path.iter().map(String::as_str).chain([key]).collect::<Vec<_>>().join("_");
        let Some(name) = field_name(&whole) else { return };
        if self.values >= MOST_VALUES {
            return;
        }
        match value {
            Json::Number(number) => {
                let Some(number) = number.as_f64().filter(|number| number.is_finite()) else { return };
                let def = field(&name);
                if self.declare(kind, |kind| kind.field(&name).is_some(), |kind| kind.fields.to_mut().push(def))
                    && let Some(facet) = self.facet(kind, resource)
                    && facet.reading(&name).is_none()
                {
                    facet.read(name, number);
                }
            }
            Json::Bool(_) | Json::String(_) | Json::Array(_) => {
                let value = match value {
                    Json::Bool(flag) => Value::Bool(*flag),
                    Json::String(text) => Value::Text(clean(text)),
                    Json::Array(list) => Value::Text(clean(&list.iter().map(scalar).collect::<Vec<_>>().join(", "))),
                    _ => return,
                };
                let def = AttributeDef {
                    name: name.clone().into(),
                    facet: FACET.into(),
                    help: "As it was sent.".into(),
                    home_assistant: None,
                };
                let known = |kind: &KindDef| kind.attributes.iter().any(|attribute| attribute.name == name);
                if self.declare(kind, known, |kind| kind.attributes.to_mut().push(def))
                    && let Some(facet) = self.facet(kind, resource)
                    && facet.attribute(&name).is_none()
                {
                    facet.attributes.push((name.into(), value));
                }
            }
            Json::Null | Json::Object(_) => {}
        }
    }

    /// Makes sure that a kind has something, unless there is no room for it.
    fn declare(&mut self, kind: &str, has: impl Fn(&KindDef) -> bool, add: impl FnOnce(&mut KindDef)) -> bool {
        self.values += 1;
        let known = self.catalogue.kind(kind);
        if known.is_some_and(&has) || self.kinds.get(kind).is_some_and(&has) {
            return true;
        }
        let size = |kind: &KindDef| kind.fields.len() + kind.attributes.len() + kind.tables.len();
        let new = self.kinds.get(kind).map_or(0, size);
        if known.map_or(0, size) + new >= MOST_FIELDS {
            return false;
        }
        if known.is_none() && !self.kinds.contains_key(kind) {
            let ours = self.catalogue.kinds().filter(|kind| kind.name.starts_with(KIND)).count();
            let new = self.kinds.keys().filter(|name| self.catalogue.kind(name).is_none()).count();
            if ours + new >= MOST_KINDS {
                return false;
            }
        }
        add(self.kinds.entry(kind.to_owned()).or_insert_with(|| KindDef {
            name: kind.to_owned().into(),
            help: format!("What hosts tell in systant's messages, under {}.", kind.trim_start_matches("systant_"))
                .into(),
            key: "As they call it.".into(),
            facets: vec![FacetDef { name: FACET.into(), owner: true }].into(),
            fields: Cow::Owned(Vec::new()),
            attributes: Cow::Owned(Vec::new()),
            tables: Cow::Owned(Vec::new()),
        }));
        true
    }

    fn facet(&mut self, kind: &str, resource: &str) -> Option<&mut Facet> {
        let key = ResourceKey::new(kind.to_owned(), resource.to_owned());
        if !self.facets.contains_key(&key) && self.facets.len() >= MOST_RESOURCES {
            return None;
        }
        Some(self.facets.entry(key).or_insert_with(|| Facet::owner(kind.to_owned(), resource, FACET)))
    }
}

fn scalar(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn field(name: &str) -> FieldDef {
    let units = [
        Unit::Ratio,
        Unit::Bytes,
        Unit::BytesPerSecond,
        Unit::PerSecond,
        Unit::Seconds,
        Unit::Celsius,
        Unit::Hertz,
        Unit::Watts,
        Unit::Volts,
        Unit::Amperes,
    ];
    // The longest ending counts: _bytes_per_second is no _per_second.
    let fits = |unit: &Unit| unit.suffix().is_some_and(|suffix| name.ends_with(suffix));
    let longest = |unit: &Unit| unit.suffix().map_or(0, str::len);
    let unit = units.into_iter().filter(fits).max_by_key(longest);
    let unit = unit.unwrap_or(if name.ends_with("percent") { Unit::Other("%".into()) } else { Unit::Number });
    let exponent = match unit {
        Unit::Bytes | Unit::BytesPerSecond => 0,
        Unit::Ratio => -4,
        _ => -3,
    };
    FieldDef {
        name: name.to_owned().into(),
        facet: FACET.into(),
        unit,
        resolution: Resolution::power_of_ten(exponent),
        help: "As it was sent.".into(),
        threshold: None,
        phrase: "".into(),
        home_assistant: HomeAssistant::DIAGNOSTIC,
        renamed_from: Cow::Owned(Vec::new()),
    }
}

/// A name as fields have it: of `a-z 0-9 _`, and no counter's ending, since
/// nobody knows whether it is one.
fn field_name(text: &str) -> Option<String> {
    let mut name = tomte_mqtt::names::slug(text);
    name.truncate(LONGEST_FIELD);
    let name = name.trim_matches('_');
    if name.is_empty() {
        return None;
    }
    let counter = ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
    let digit = name.starts_with(|c: char| c.is_ascii_digit());
    Some(format!("{}{name}{}", if digit { "n" } else { "" }, if counter { "_value" } else { "" }))
}

/// A resource's name: without what steers a terminal, and not too long.
fn short(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect()
}
