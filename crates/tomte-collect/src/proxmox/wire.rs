//! What Proxmox VE answers, versions 8 and 9. Its sources are the reference:
//! `PVE/API2Tools.pm` and `PVE/Cluster.pm` for `/cluster/resources`,
//! `PVE/QemuServer.pm` and `PVE/LXC.pm` for guests. Numbers may come as text
//! (the pressure of containers does), flags as 0 and 1, and any key may be
//! missing.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tomte_model::Timestamp;

use crate::bounded::Bounded;

/// At most so many rows of a list.
pub(super) const ROWS: usize = 10_000;

/// A number, however it is written; what is none is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Num(pub(super) Option<f64>);

impl Num {
    pub(super) fn flag(self) -> bool {
        self.0.is_some_and(|number| number != 0.0)
    }
    pub(super) fn count(self) -> Option<u64> {
        // Saturates; what is below zero is no counter.
        self.0.filter(|number| *number >= 0.0).map(|number| number as u64)
    }
    /// Seconds since 1970; zero is never.
    pub(super) fn time(self) -> Option<Timestamp> {
        self.0.filter(|seconds| *seconds > 0.0).map(|seconds| Timestamp::from_millis((seconds * 1000.0) as i64))
    }
}

/// A text, also where it looks like a number.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Text(pub(super) Option<Box<str>>);

impl Text {
    pub(super) fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

macro_rules! lenient {
    ($name:ident, $number:expr, $text:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Any;
                impl<'de> Visitor<'de> for Any {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("anything")
                    }
                    fn visit_f64<E>(self, number: f64) -> Result<$name, E> {
                        Ok($number(number))
                    }
                    fn visit_i64<E>(self, number: i64) -> Result<$name, E> {
                        Ok($number(number as f64))
                    }
                    fn visit_u64<E>(self, number: u64) -> Result<$name, E> {
                        Ok($number(number as f64))
                    }
                    fn visit_bool<E>(self, flag: bool) -> Result<$name, E> {
                        Ok($number(f64::from(u8::from(flag))))
                    }
                    fn visit_str<E>(self, text: &str) -> Result<$name, E> {
                        Ok($text(text))
                    }
                    fn visit_unit<E>(self) -> Result<$name, E> {
                        Ok($name::default())
                    }
                    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<$name, A::Error> {
                        while list.next_element::<IgnoredAny>()?.is_some() {}
                        Ok($name::default())
                    }
                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        Ok($name::default())
                    }
                }
                deserializer.deserialize_any(Any)
            }
        }
    };
}

lenient!(Num, |number: f64| Num(Some(number).filter(|n| n.is_finite())), |text: &str| Num(text
    .trim()
    .parse()
    .ok()
    .filter(|n: &f64| n.is_finite())));
lenient!(Text, |number: f64| Text(Some(number.to_string().into())), |text: &str| Text(Some(
    text.chars().filter(|c| !c.is_control() || *c == '\n').take(2_000).collect::<String>().into()
)));

/// A row of `/cluster/resources`, and of `/nodes/N/qemu` and `lxc`, whose
/// names are the same where they mean the same.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    pub r#type: Text,
    pub node: Text,
    pub name: Text,
    pub status: Text,
    /// Of a backup job, a list of numbers.
    pub vmid: Text,
    pub template: Num,
    pub tags: Text,
    pub lock: Text,
    pub pool: Text,
    pub hastate: Text,
    pub cpu: Num,
    pub maxcpu: Num,
    pub cpus: Num,
    pub mem: Num,
    pub maxmem: Num,
    pub memhost: Num,
    pub disk: Num,
    pub maxdisk: Num,
    pub uptime: Num,
    pub netin: Num,
    pub netout: Num,
    pub diskread: Num,
    pub diskwrite: Num,
    pub pressurecpusome: Num,
    pub pressurecpufull: Num,
    pub pressurememorysome: Num,
    pub pressurememoryfull: Num,
    pub pressureiosome: Num,
    pub pressureiofull: Num,
    // Of storages.
    pub storage: Text,
    pub plugintype: Text,
    pub content: Text,
    pub shared: Num,
    // Of `/cluster/status`.
    pub online: Num,
    pub local: Num,
    pub quorate: Num,
    pub nodes: Num,
    pub ip: Text,
    // Of tasks.
    pub upid: Text,
    pub id: Text,
    pub user: Text,
    pub starttime: Num,
    pub endtime: Num,
    // Of replications.
    pub guest: Num,
    pub source: Text,
    pub target: Text,
    pub schedule: Text,
    pub last_sync: Num,
    pub next_sync: Num,
    pub fail_count: Num,
    pub duration: Num,
    pub error: Text,
    pub disable: Num,
    pub pid: Num,
    // Of backups.
    pub volid: Text,
    pub ctime: Num,
    pub size: Num,
    pub format: Text,
    pub verification: Option<Verification>,
    // Of backup jobs.
    pub enabled: Num,
    pub all: Num,
    pub exclude: Text,
    #[serde(rename = "next-run")]
    pub next_run: Num,
}

/// How a backup server found a backup.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Verification {
    pub state: Text,
    pub upid: Text,
}

/// A list of rows.
pub(super) type Rows = Bounded<Row, ROWS>;

/// `/nodes/N/status`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct NodeStatus {
    pub pveversion: Text,
    pub kversion: Text,
}

/// A row of `/nodes/N/certificates/info`, see `PVE::Certificate`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Certificate {
    pub filename: Text,
    /// SHA-256, pairs of digits with colons between.
    pub fingerprint: Text,
}

/// `/nodes/N/{qemu,lxc}/ID/config`: keys and values.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct GuestConfig(pub(super) BTreeMap<Box<str>, Text>);

impl GuestConfig {
    pub(super) fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", Text::as_str)
    }
    /// The values of `net0`, `net1` and so on, with their keys.
    pub(super) fn numbered<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let of = move |key: &str| {
            key.strip_prefix(prefix).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        };
        self.0.iter().filter(move |(key, _)| of(key)).map(|(key, value)| (key.as_ref(), value.as_str()))
    }
}

impl<'de> Deserialize<'de> for GuestConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = GuestConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a guest's configuration")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GuestConfig, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<Box<str>, Text>()? {
                    // No guest has so many settings.
                    if entries.len() < 2_000 {
                        entries.insert(key, value);
                    }
                }
                Ok(GuestConfig(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// An interface, as the guest agent or as a container tells of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Interface {
    pub name: Text,
    #[serde(rename = "hardware-address", alias = "hwaddr")]
    pub mac: Text,
    #[serde(rename = "ip-addresses")]
    pub addresses: Bounded<Address, 64>,
    pub inet: Text,
    pub inet6: Text,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Address {
    #[serde(rename = "ip-address")]
    pub address: Text,
}

/// The guest agent wraps its list once more.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Interfaces {
    Agent { result: Bounded<Interface, 256> },
    Container(Bounded<Interface, 256>),
}

impl Interfaces {
    pub(super) fn list(self) -> Vec<Interface> {
        match self {
            Self::Agent { result } => result.0,
            Self::Container(list) => list.0,
        }
    }
}

/// What the web API wraps around every answer, and `pvesh` does not.
#[derive(Debug, Deserialize)]
struct Wrapped<T> {
    data: T,
}

/// An answer, from the web API (`wrapped`) or from `pvesh`.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], wrapped: bool) -> Result<T, serde_json::Error> {
    if wrapped {
        serde_json::from_slice::<Wrapped<T>>(bytes).map(|wrapped| wrapped.data)
    } else {
        serde_json::from_slice(bytes)
    }
}
