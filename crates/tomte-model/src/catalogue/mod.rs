//! What every kind and field means: declared once, read by every surface.
//!
//! A kind is one module here with its fields as data, listed in [`KINDS`].
//! The catalogue is open: [`Catalogue::describe`] adds what a probe, a foreign
//! source or a newer agent brings, and everything above shows it generically.
//!
//! Names follow Prometheus: base units in the name (`_bytes _seconds _ratio
//! _celsius _bytes_per_second`), `_total` only for counters that are passed on
//! as they are. Rates are worked out by the agent and are gauges; so no gauge
//! ends in `_total`, `_count`, `_sum` or `_bucket`.

mod backup;
mod check;
mod collector;
mod container;
mod cpu;
mod disk;
mod filesystem;
mod gpu;
mod guest;
mod host;
mod interface;
mod load;
mod memory;
mod own_probe;
mod pressure;
mod process;
mod proxmox;
mod sensor;
mod service;
mod unit;
mod updates;
mod zfs;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use unit::{Resolution, Unit};

use crate::Name;
use crate::assess::Threshold;
use crate::report::Facet;

/// The kinds this version ships, in the order in which people read them.
pub const KINDS: &[&KindDef] = &[
    &host::HOST,
    &host::OS,
    &cpu::CPU,
    &cpu::CORE,
    &load::LOAD,
    &memory::MEMORY,
    &memory::ZRAM,
    &memory::TMPFS,
    &pressure::PRESSURE,
    &filesystem::FILESYSTEM,
    &disk::DISK,
    &zfs::POOL,
    &zfs::DATASET,
    &zfs::ARC,
    &interface::INTERFACE,
    &sensor::SENSOR,
    &gpu::GPU,
    &process::PROCESS,
    &updates::UPDATES,
    &service::SYSTEMD,
    &service::SERVICE,
    &service::TIMER,
    &container::CONTAINER,
    &container::CONTAINER_ENGINE,
    &guest::GUEST,
    &proxmox::NODE,
    &proxmox::CLUSTER,
    &proxmox::STORAGE,
    &proxmox::REPLICATION,
    &backup::BACKUP,
    &check::CHECK,
    &check::PEER,
    &own_probe::PROBE,
    &own_probe::TEXTFILE,
    &collector::COLLECTOR,
    &collector::AGENT,
];

/// A text that is nearly always known at compile time.
type Text = Cow<'static, str>;

/// What a kind of resource is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KindDef {
    /// Singular: `disk`.
    pub name: Name,
    /// What it is, one sentence.
    pub help: Text,
    /// How resources of this kind are named, one sentence.
    pub key: Text,
    /// Its facets; the first owns the resource unless another one says so.
    pub facets: Cow<'static, [FacetDef]>,
    /// Its numbers.
    pub fields: Cow<'static, [FieldDef]>,
    /// Its texts and flags.
    pub attributes: Cow<'static, [AttributeDef]>,
    /// Its latest-only lists.
    pub tables: Cow<'static, [TableDef]>,
}

impl KindDef {
    /// The field of that name, or that was once called so.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&FieldDef> {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .or_else(|| self.fields.iter().find(|field| field.renamed_from.iter().any(|old| old == name)))
    }
}

/// A part of a resource that one collector owns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FacetDef {
    /// `io`, `smart`; `main` where there is only one.
    pub name: Name,
    /// Whether the resource exists because this facet does.
    pub owner: bool,
}

/// What a number means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldDef {
    /// Prometheus style, without the kind: `usage_ratio`.
    pub name: Name,
    /// The facet it belongs to.
    pub facet: Name,
    /// What it is measured in.
    pub unit: Unit,
    /// The step it is rounded to before it is judged, sent or kept.
    pub resolution: Resolution,
    /// What it says, one sentence.
    pub help: Text,
    /// When it is a problem, unless configured otherwise.
    pub threshold: Option<Threshold>,
    /// The reason of a problem; `{name}`, `{value}` and the facet's attributes
    /// are filled in: `"{name} is {value} full"`. What stands in square
    /// brackets is left out where the attribute in it is missing:
    /// `"{name} failed[: {result}]"`. Of several words, `{label|name}`, the
    /// first that is known is said.
    pub phrase: Text,
    /// How Home Assistant should show it.
    pub home_assistant: HomeAssistant,
    /// What the field used to be called.
    pub renamed_from: Cow<'static, [Name]>,
}

impl FieldDef {
    /// A field with what every field must say; the rest by the methods below.
    #[must_use]
    pub const fn new(
        facet: &'static str,
        name: &'static str,
        unit: Unit,
        resolution: Resolution,
        help: &'static str,
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            facet: Cow::Borrowed(facet),
            unit,
            resolution,
            help: Cow::Borrowed(help),
            threshold: None,
            phrase: Cow::Borrowed(""),
            home_assistant: HomeAssistant::DIAGNOSTIC,
            renamed_from: Cow::Borrowed(&[]),
        }
    }
    /// Adds the default threshold and the words for crossing it.
    #[must_use]
    pub const fn judged(mut self, threshold: Threshold, phrase: &'static str) -> Self {
        self.threshold = Some(threshold);
        // Const code may not drop, so the empty text is forgotten instead.
        std::mem::forget(std::mem::replace(&mut self.phrase, Cow::Borrowed(phrase)));
        self
    }
    /// Adds how Home Assistant should show it.
    #[must_use]
    pub const fn in_home_assistant(mut self, shown: HomeAssistant) -> Self {
        std::mem::forget(std::mem::replace(&mut self.home_assistant, shown));
        self
    }
    /// The reason of a problem with this field of that facet, filled in.
    #[must_use]
    pub fn reason(&self, facet: &Facet, value: f64) -> String {
        let name = facet.resource.name.as_str();
        let value = self.unit.format(value);
        if self.phrase.is_empty() {
            return format!("{name}: {} is {value}", self.name);
        }
        // Of several words, the first that is known.
        let word = |keys: &str| {
            keys.split('|').find_map(|key| match key {
                "name" => Some(name.to_owned()),
                "value" => Some(value.clone()),
                attribute => facet.attribute(attribute).map(ToString::to_string),
            })
        };
        let mut reason = String::new();
        let mut rest = self.phrase.as_ref();
        while let Some(at) = rest.find(['[', '{']) {
            reason.push_str(&rest[..at]);
            let (open, close) = if rest[at..].starts_with('[') { ('[', ']') } else { ('{', '}') };
            let inner = &rest[at + open.len_utf8()..];
            // A phrase from outside may be broken; it is shown as it is.
            let Some(end) = inner.find(close) else {
                rest = &rest[at..];
                break;
            };
            let part = &inner[..end];
            rest = &inner[end + close.len_utf8()..];
            if open == '{' {
                reason.push_str(&word(part).unwrap_or_default());
            } else {
                reason.push_str(&optional(part, word).unwrap_or_default());
            }
        }
        reason.push_str(rest);
        reason
    }
}

/// A part of a phrase that is said only when everything in it is known.
fn optional(part: &str, word: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut said = String::new();
    let mut rest = part;
    while let Some((before, after)) = rest.split_once('{') {
        let (key, behind) = after.split_once('}')?;
        said.push_str(before);
        said.push_str(&word(key)?);
        rest = behind;
    }
    said.push_str(rest);
    Some(said)
}

/// How Home Assistant should show a reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeAssistant {
    /// Its device class (`temperature`, `data_size`, …), or empty.
    pub device_class: Text,
    /// Its state class (`measurement`, `total_increasing`), or empty.
    pub state_class: Text,
    /// Whether it is among the diagnostics rather than the main readings.
    pub diagnostic: bool,
    /// Whether the entity is enabled when it first appears.
    pub enabled: bool,
    /// Its icon (`mdi:gauge`), where the device class brings none, or empty.
    pub icon: Text,
}

impl HomeAssistant {
    /// The device classes that make a binary sensor of a number that is 0 or
    /// 1, or of a flag.
    pub const BINARY: &'static [&'static str] =
        &["connectivity", "problem", "running", "update", "heat", "power", "safety"];
    /// Whether it is shown as on or off.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        Self::BINARY.contains(&self.device_class.as_ref())
    }
    /// A main reading, enabled, without a device class.
    pub const MAIN: Self = Self::class("");
    /// A diagnostic reading, off until somebody wants it.
    pub const DIAGNOSTIC: Self = Self {
        device_class: Cow::Borrowed(""),
        state_class: Cow::Borrowed("measurement"),
        diagnostic: true,
        enabled: false,
        icon: Cow::Borrowed(""),
    };
    /// A main reading of a device class.
    #[must_use]
    pub const fn class(device_class: &'static str) -> Self {
        Self {
            device_class: Cow::Borrowed(device_class),
            state_class: Cow::Borrowed("measurement"),
            diagnostic: false,
            enabled: true,
            icon: Cow::Borrowed(""),
        }
    }
    /// A text among the diagnostics: it has no state class.
    pub const TEXT: Self = Self {
        device_class: Cow::Borrowed(""),
        state_class: Cow::Borrowed(""),
        diagnostic: true,
        enabled: true,
        icon: Cow::Borrowed(""),
    };
    /// A text or flag of a device class.
    #[must_use]
    pub const fn text(device_class: &'static str) -> Self {
        let mut shown = Self::class(device_class);
        std::mem::forget(std::mem::replace(&mut shown.state_class, Cow::Borrowed("")));
        shown.as_diagnostic()
    }
    /// The same with an icon.
    #[must_use]
    pub const fn icon(mut self, icon: &'static str) -> Self {
        std::mem::forget(std::mem::replace(&mut self.icon, Cow::Borrowed(icon)));
        self
    }
    /// The same, off until somebody wants it.
    #[must_use]
    pub const fn off(mut self) -> Self {
        self.enabled = false;
        self
    }
    /// The same, among the diagnostics.
    #[must_use]
    pub const fn as_diagnostic(mut self) -> Self {
        self.diagnostic = true;
        self
    }
}

/// What a text or flag means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeDef {
    /// Its name.
    pub name: Name,
    /// The facet it belongs to.
    pub facet: Name,
    /// What it says, one sentence.
    pub help: Text,
    /// How Home Assistant should show it; mostly not at all.
    pub home_assistant: Option<HomeAssistant>,
}

impl AttributeDef {
    /// An attribute, whole.
    #[must_use]
    pub const fn new(facet: &'static str, name: &'static str, help: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), facet: Cow::Borrowed(facet), help: Cow::Borrowed(help), home_assistant: None }
    }
    /// Adds how Home Assistant should show it.
    #[must_use]
    pub const fn in_home_assistant(mut self, shown: HomeAssistant) -> Self {
        std::mem::forget(self.home_assistant.replace(shown));
        self
    }
}

/// What a latest-only list holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDef {
    /// Its name.
    pub name: Name,
    /// The facet it belongs to.
    pub facet: Name,
    /// What it lists, one sentence.
    pub help: Text,
    /// Its columns, each with its meaning.
    pub columns: Cow<'static, [(Name, Text)]>,
}

/// Every kind that is known: those of this version, and those described since.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    kinds: BTreeMap<Name, Cow<'static, KindDef>>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Catalogue {
    /// The kinds this version ships.
    #[must_use]
    pub fn builtin() -> Self {
        Self { kinds: KINDS.iter().map(|kind| (kind.name.clone(), Cow::Borrowed(*kind))).collect() }
    }

    /// All kinds, by name.
    pub fn kinds(&self) -> impl Iterator<Item = &KindDef> {
        self.kinds.values().map(AsRef::as_ref)
    }

    /// The kind of that name.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&KindDef> {
        self.kinds.get(name).map(AsRef::as_ref)
    }

    /// The field of that kind, by its present or a former name.
    #[must_use]
    pub fn field(&self, kind: &str, field: &str) -> Option<&FieldDef> {
        self.kind(kind)?.field(field)
    }

    /// Takes in a description from outside. What this version declares itself
    /// stands; new kinds, and new facets, fields, attributes and tables of
    /// known kinds, are added. Returns whether anything was new.
    pub fn describe(&mut self, described: KindDef) -> bool {
        let Some(known) = self.kinds.get_mut(&described.name) else {
            self.kinds.insert(described.name.clone(), Cow::Owned(described));
            return true;
        };
        let fields = missing(&described.fields, &known.fields, |f| &f.name);
        let facets = missing(&described.facets, &known.facets, |f| &f.name);
        let attributes = missing(&described.attributes, &known.attributes, |a| &a.name);
        let tables = missing(&described.tables, &known.tables, |t| &t.name);
        if fields.is_empty() && facets.is_empty() && attributes.is_empty() && tables.is_empty() {
            return false;
        }
        let known = known.to_mut();
        known.fields.to_mut().extend(fields);
        known.facets.to_mut().extend(facets);
        known.attributes.to_mut().extend(attributes);
        known.tables.to_mut().extend(tables);
        true
    }
}

fn missing<T: Clone>(offered: &[T], known: &[T], name: impl Fn(&T) -> &Name) -> Vec<T> {
    offered.iter().filter(|o| !known.iter().any(|k| name(k) == name(o))).cloned().collect()
}

/// Shorthand for thresholds in the kinds' modules: above is bad.
pub(crate) const fn above(warning: f64, critical: f64, clear_gap: f64, hold_seconds: u64) -> Threshold {
    Threshold {
        direction: crate::assess::Direction::Above,
        warning: Some(warning),
        critical: Some(critical),
        clear_gap,
        hold: Duration::from_secs(hold_seconds),
    }
}

/// As [`above`], with nothing that is critical.
pub(crate) const fn warning_above(warning: f64, clear_gap: f64, hold_seconds: u64) -> Threshold {
    let mut threshold = above(warning, 0.0, clear_gap, hold_seconds);
    threshold.critical = None;
    threshold
}

/// As [`above`], with nothing that is a mere warning.
pub(crate) const fn critical_above(critical: f64, clear_gap: f64, hold_seconds: u64) -> Threshold {
    let mut threshold = above(0.0, critical, clear_gap, hold_seconds);
    threshold.warning = None;
    threshold
}

/// Shorthand for thresholds in the kinds' modules: below is bad.
pub(crate) const fn below(warning: f64, critical: f64, clear_gap: f64, hold_seconds: u64) -> Threshold {
    let mut threshold = above(warning, critical, clear_gap, hold_seconds);
    threshold.direction = crate::assess::Direction::Below;
    threshold
}

/// As [`below`], with nothing that is a mere warning.
pub(crate) const fn critical_below(critical: f64, clear_gap: f64, hold_seconds: u64) -> Threshold {
    let mut threshold = below(0.0, critical, clear_gap, hold_seconds);
    threshold.warning = None;
    threshold
}

/// The facet of most kinds: there is only one.
pub(crate) const MAIN: &[FacetDef] = &[FacetDef { name: Cow::Borrowed("main"), owner: true }];

/// What a kind's module needs.
mod prelude {
    pub(super) use std::borrow::Cow;

    pub(super) use super::{
        AttributeDef, FacetDef, FieldDef, HomeAssistant, KindDef, MAIN, Resolution, TableDef, Text, Unit, above, below,
        critical_above, critical_below, warning_above,
    };
    pub(super) use crate::Name;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_kinds_are_consistent() {
        for kind in KINDS {
            for field in kind.fields.iter() {
                let at = format!("{}/{}", kind.name, field.name);
                assert!(kind.facets.iter().any(|f| f.name == field.facet), "{at}: facet {}", field.facet);
                assert!(field.help.ends_with('.'), "{at}: help is a sentence");
                assert!(field.threshold.is_none() || !field.phrase.is_empty(), "{at}: a threshold needs its words");
                for suffix in ["_total", "_count", "_sum", "_bucket"] {
                    assert!(!field.name.ends_with(suffix), "{at}: a gauge must not end in {suffix}");
                }
                if let Some(suffix) = field.unit.suffix() {
                    assert!(field.name.ends_with(suffix), "{at}: {:?} needs the suffix {suffix}", field.unit);
                }
            }
            assert!(kind.facets.iter().filter(|f| f.owner).count() == 1, "{}: one owner", kind.name);
            let mut names: Vec<_> = kind.fields.iter().map(|f| &f.name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), kind.fields.len(), "{}: field names are unique", kind.name);
        }
    }

    /// History, rules and dashboards hang on these names. A field may be added
    /// (add its line) or renamed (keep the old name in `renamed_from`), but it
    /// must not go away unnoticed.
    #[test]
    fn no_field_was_lost() {
        let golden = include_str!("fields.txt");
        let catalogue = Catalogue::builtin();
        for line in golden.lines() {
            let (kind, field) = line.split_once('/').expect("kind/field");
            assert!(
                catalogue.field(kind, field).is_some(),
                "{line} is gone: keep its name in the new field's `renamed_from`, or remove its line from \
                 catalogue/fields.txt if nobody can depend on it"
            );
        }
        let known: std::collections::BTreeSet<_> = golden.lines().collect();
        for kind in KINDS {
            for field in kind.fields.iter() {
                let line = format!("{}/{}", kind.name, field.name);
                assert!(known.contains(line.as_str()), "add the line {line} to catalogue/fields.txt");
            }
        }
    }

    /// What Home Assistant refuses or warns of; its documentation of sensors
    /// and binary sensors has the lists.
    #[test]
    fn home_assistant_takes_what_is_said_of_every_field() {
        for kind in KINDS {
            for field in kind.fields.iter() {
                let at = format!("{}/{}", kind.name, field.name);
                let shown = &field.home_assistant;
                let fits = match shown.device_class.as_ref() {
                    "" => true,
                    "data_size" => field.unit == Unit::Bytes,
                    "data_rate" => field.unit == Unit::BytesPerSecond,
                    "duration" => field.unit == Unit::Seconds,
                    "temperature" => field.unit == Unit::Celsius,
                    "frequency" => field.unit == Unit::Hertz,
                    "power" => field.unit == Unit::Watts,
                    "voltage" => field.unit == Unit::Volts,
                    "current" => field.unit == Unit::Amperes,
                    class => field.unit == Unit::Number && HomeAssistant::BINARY.contains(&class),
                };
                assert!(fits, "{at}: {} is no device class for {:?}", shown.device_class, field.unit);
                assert!(shown.icon.is_empty() || shown.icon.starts_with("mdi:"), "{at}: {}", shown.icon);
            }
            for attribute in kind.attributes.iter() {
                let at = format!("{}/{}", kind.name, attribute.name);
                let Some(shown) = &attribute.home_assistant else { continue };
                let class = shown.device_class.as_ref();
                assert!(["", "timestamp"].contains(&class) || HomeAssistant::BINARY.contains(&class), "{at}: {class}");
                assert!(shown.state_class.is_empty(), "{at}: a text has no state class");
                assert!(kind.field(&attribute.name).is_none(), "{at}: a field has the same name");
            }
            let reserved = |name: &Name| name == "status";
            let names = kind.fields.iter().map(|f| &f.name).chain(kind.attributes.iter().map(|a| &a.name));
            assert_eq!(names.filter(|name| reserved(name)).count(), 0, "{}: status is the judgement's", kind.name);
        }
    }

    #[test]
    fn a_reason_is_told_with_what_is_known() {
        let mut facet = Facet::owner("service", "nginx", "main");
        let says = |phrase, facet: &Facet| {
            FieldDef::new("main", "failed", Unit::Number, Resolution::ONE, "x.")
                .judged(warning_above(1.0, 0.5, 0), phrase)
                .reason(facet, 2.0)
        };
        let phrase = "{name} failed {value} times[: {result}][ ({exit}, {result})]";
        assert_eq!(says(phrase, &facet), "nginx failed 2 times");
        facet.text("result", "exit-code [1] {name}");
        assert_eq!(says(phrase, &facet), "nginx failed 2 times: exit-code [1] {name}");
        assert_eq!(says("{exit|signal|name} failed", &facet), "nginx failed");
        facet.text("signal", "9");
        assert_eq!(says("{exit|signal|name} failed", &facet), "9 failed");
        // What somebody else describes may be anything.
        for strange in ["{", "[", "a[{", "[{x]", "}{", "ä[ö", "{{}}", "[]"] {
            let _ = says(strange, &facet);
        }
        assert_eq!(says("100 % [of {x", &facet), "100 % [of {x");
    }

    #[test]
    fn a_disk_is_called_what_people_call_it() {
        let catalogue = Catalogue::builtin();
        let wear = catalogue.field("disk", "wear_used_ratio").expect("disks wear");
        let mut facet = Facet::extra("disk", "0x5000c500a1b2c3d4", "smart");
        assert_eq!(wear.reason(&facet, 0.87), "0x5000c500a1b2c3d4 has used 87 % of its endurance");
        facet.text("smart_device", "sda");
        facet.text("smart_model", "EXAMPLE SSD 1TB");
        assert_eq!(wear.reason(&facet, 0.87), "sda (EXAMPLE SSD 1TB) has used 87 % of its endurance");
        // Whatever is judged of a disk.
        for field in
            catalogue.kind("disk").expect("there are disks").fields.iter().filter(|field| !field.phrase.is_empty())
        {
            assert!(!field.reason(&facet, 1.0).contains("0x5000"), "{}", field.phrase);
        }
    }

    #[test]
    fn what_others_describe_is_added_and_ours_stands() {
        let mut catalogue = Catalogue { kinds: BTreeMap::new() };
        let kind = |help: &'static str, fields: Vec<FieldDef>| KindDef {
            name: "aquarium".into(),
            help: help.into(),
            key: "by label".into(),
            facets: vec![FacetDef { name: "main".into(), owner: true }].into(),
            fields: fields.into(),
            attributes: Cow::Borrowed(&[]),
            tables: Cow::Borrowed(&[]),
        };
        let field = |name| FieldDef::new("main", name, Unit::Celsius, Resolution::TENTH, "Water.");
        assert!(catalogue.describe(kind("ours", vec![field("a_celsius")])));
        assert!(!catalogue.describe(kind("theirs", vec![field("a_celsius")])));
        assert!(catalogue.describe(kind("theirs", vec![field("b_celsius")])));
        assert_eq!(catalogue.kind("aquarium").map(|k| k.help.as_ref()), Some("ours"));
        assert!(catalogue.field("aquarium", "b_celsius").is_some());
    }
}
