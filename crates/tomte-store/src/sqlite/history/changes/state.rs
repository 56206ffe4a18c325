//! How a scope was: its facets without readings and lists, and whether it
//! could be read. In memory, as bytes, and as a hash.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};
use tomte_model::report::Facet;
use tomte_model::{Assessment, Name, ResourceKey, Value};

/// What a body begins with: JSON as it is, or deflated.
const PLAIN: u8 = 0;
const DEFLATED: u8 = 1;
/// Shorter bodies are not worth deflating.
const DEFLATE_FROM: usize = 160;
/// No body is longer when inflated; a report that could make one is refused long before.
const MAX_BODY: u64 = 64 << 20;

/// How a facet was.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Noted {
    pub(super) owner: bool,
    pub(super) attributes: Vec<(Name, Value)>,
    pub(super) assessment: Option<Assessment>,
}

pub(super) type FacetKey = (ResourceKey, Name);

/// How a scope was.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ScopeState {
    /// How often it was read, as a hint.
    pub(super) interval_millis: u32,
    /// Why it could not be read, if so. What was known before then stands.
    pub(super) failure: Option<String>,
    pub(super) facets: BTreeMap<FacetKey, Noted>,
}

/// A row's body.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    #[serde(rename = "i")]
    interval_millis: u32,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    set: Vec<Entry>,
    #[serde(rename = "g", default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<FacetKey>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(rename = "r")]
    resource: ResourceKey,
    #[serde(rename = "n")]
    facet: Name,
    #[serde(rename = "o", default, skip_serializing_if = "std::ops::Not::not")]
    owner: bool,
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<(Name, Value)>,
    #[serde(rename = "j", default, skip_serializing_if = "Option::is_none")]
    assessment: Option<Assessment>,
}

fn entry((resource, facet): &FacetKey, noted: &Noted) -> Entry {
    let Noted { owner, attributes, assessment } = noted.clone();
    Entry { resource: resource.clone(), facet: facet.clone(), owner, attributes, assessment }
}

impl ScopeState {
    /// The facets of a complete reading.
    pub(super) fn of(facets: &[Facet]) -> BTreeMap<FacetKey, Noted> {
        let noted = |facet: &Facet| Noted {
            owner: facet.owner,
            attributes: facet.attributes.iter().filter(|(_, value)| is_text(value)).cloned().collect(),
            assessment: facet.assessment.clone(),
        };
        facets.iter().map(|facet| ((facet.resource.clone(), facet.name.clone()), noted(facet))).collect()
    }

    /// All of it.
    pub(super) fn whole(&self) -> Vec<u8> {
        let set = self.facets.iter().map(|(key, noted)| entry(key, noted)).collect();
        encode(&Body { interval_millis: self.interval_millis, failure: self.failure.clone(), set, gone: Vec::new() })
    }

    /// What is otherwise than before; `None` when that is most of it.
    pub(super) fn since(&self, before: &Self) -> Option<Vec<u8>> {
        let changed = self.facets.iter().filter(|(key, noted)| before.facets.get(key) != Some(noted));
        let set: Vec<Entry> = changed.map(|(key, noted)| entry(key, noted)).collect();
        if set.len() > 1 && set.len() * 2 > self.facets.len() {
            return None;
        }
        let gone = before.facets.keys().filter(|key| !self.facets.contains_key(key)).cloned().collect();
        Some(encode(&Body { interval_millis: self.interval_millis, failure: self.failure.clone(), set, gone }))
    }

    /// What a row makes of the state before it; `None` when it makes no sense.
    pub(super) fn apply(&mut self, whole: bool, body: &[u8]) -> Option<()> {
        let body = decode(body)?;
        if whole {
            self.facets.clear();
        }
        self.interval_millis = body.interval_millis;
        self.failure = body.failure;
        for key in body.gone {
            self.facets.remove(&key);
        }
        for entry in body.set {
            let Entry { resource, facet, owner, attributes, assessment } = entry;
            self.facets.insert((resource, facet), Noted { owner, attributes, assessment });
        }
        Some(())
    }

    /// The hash of the facets, see [`hash_facets`].
    pub(super) fn facets_hash(&self) -> u64 {
        let hash = |((resource, name), noted): (&FacetKey, &Noted)| {
            hash_facet(resource, name, noted.owner, &noted.attributes, noted.assessment.as_ref())
        };
        self.facets.iter().map(hash).fold(0, u64::wrapping_add)
    }

    /// The hash of the failure, see [`hash_failure`].
    pub(super) fn failure_hash(&self) -> u64 {
        self.failure.as_deref().map_or(0, hash_failure)
    }
}

/// Numbers are no attributes; a foreign agent may send some, even ones that
/// JSON has no word for.
fn is_text(value: &Value) -> bool {
    !matches!(value, Value::Number(number) if !number.is_finite())
}

fn encode(body: &Body) -> Vec<u8> {
    let json = serde_json::to_vec(body).expect("texts, flags and finite numbers");
    if json.len() >= DEFLATE_FROM {
        let mut encoder = DeflateEncoder::new(vec![DEFLATED], Compression::default());
        let written = encoder.write_all(&json).and_then(|()| encoder.finish());
        if let Ok(deflated) = written {
            return deflated;
        }
    }
    let mut plain = Vec::with_capacity(json.len() + 1);
    plain.push(PLAIN);
    plain.extend(json);
    plain
}

fn decode(bytes: &[u8]) -> Option<Body> {
    let (format, rest) = bytes.split_first()?;
    match *format {
        PLAIN => serde_json::from_slice(rest).ok(),
        DEFLATED => {
            let mut json = Vec::new();
            DeflateDecoder::new(rest).take(MAX_BODY).read_to_end(&mut json).ok()?;
            serde_json::from_slice(&json).ok()
        }
        _ => None,
    }
}

/// The hash of a report's facets. Their order does not count: a collector that
/// lists the same things in another order has seen no change.
pub(super) fn hash_facets(facets: &[Facet]) -> u64 {
    let hash = |facet: &Facet| {
        hash_facet(&facet.resource, &facet.name, facet.owner, &facet.attributes, facet.assessment.as_ref())
    };
    facets.iter().map(hash).fold(0, u64::wrapping_add)
}

/// The hash of why a scope could not be read; never that of one that could.
pub(super) fn hash_failure(error: &str) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    text(&mut hasher, error);
    hasher.finish() | 1
}

fn hash_facet(
    resource: &ResourceKey,
    name: &str,
    owner: bool,
    attributes: &[(Name, Value)],
    assessment: Option<&Assessment>,
) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    text(&mut hasher, &resource.kind);
    text(&mut hasher, &resource.name);
    text(&mut hasher, name);
    hasher.write_u8(u8::from(owner));
    for (name, value) in attributes.iter().filter(|(_, value)| is_text(value)) {
        text(&mut hasher, name);
        match value {
            Value::Bool(flag) => hasher.write_u8(u8::from(*flag)),
            Value::Number(number) => hasher.write_u64(number.to_bits()),
            Value::Text(content) => text(&mut hasher, content),
        }
    }
    match assessment {
        None => hasher.write_u8(0),
        Some(assessment) => {
            hasher.write_u8(1 + assessment.status as u8);
            text(&mut hasher, &assessment.reason);
            for problem in &assessment.problems {
                text(&mut hasher, &problem.field);
                hasher.write_u8(problem.status as u8);
                text(&mut hasher, &problem.reason);
                hasher.write_i64(problem.since.millis());
            }
        }
    }
    hasher.finish()
}

/// The length first, so that neighbours cannot run together.
fn text(hasher: &mut impl Hasher, text: &str) {
    hasher.write_usize(text.len());
    hasher.write(text.as_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tomte_model::{Problem, Status, Timestamp};

    fn disk(name: &str, health: &str) -> Facet {
        let mut facet = Facet::owner("disk", name, "io");
        facet.text("health", health);
        facet.flag("rotational", name == "sda");
        facet
    }

    fn state(facets: &[Facet]) -> ScopeState {
        ScopeState { interval_millis: 10_000, failure: None, facets: ScopeState::of(facets) }
    }

    #[test]
    fn a_state_is_read_back_from_whole_rows_and_from_what_changed() {
        let many: Vec<Facet> = (0..20).map(|n| disk(&format!("sd{n}"), "passed")).collect();
        let first = state(&many);
        let mut after = many.clone();
        after.pop();
        after[3] = disk("sd3", "failing");
        after[4].assessment = Some(Assessment::of(vec![Problem {
            field: "wear_ratio".into(),
            status: Status::Warning,
            reason: "worn".into(),
            since: Timestamp::from_millis(5),
        }]));
        let second = ScopeState { failure: Some("EIO".into()), ..state(&after) };
        let mut read = ScopeState::default();
        read.apply(true, &first.whole()).unwrap();
        assert_eq!(read, first);
        let delta = second.since(&first).unwrap();
        assert!(delta.len() < second.whole().len());
        read.apply(false, &delta).unwrap();
        assert_eq!(read, second);
        assert_eq!(second.since(&ScopeState::default()), None, "most of it is new: better whole");
        for damaged in [&b""[..], b"\x00{", b"\x01zzz", b"\x07{}"] {
            assert_eq!(read.apply(true, damaged), None);
        }
    }

    #[test]
    fn the_hash_of_a_report_is_that_of_what_is_kept_of_it() {
        let facets = [disk("sda", "passed"), disk("sdb", "passed")];
        assert_eq!(hash_facets(&facets), state(&facets).facets_hash());
        let turned = [disk("sdb", "passed"), disk("sda", "passed")];
        assert_eq!(hash_facets(&facets), hash_facets(&turned), "their order is no change");
        assert_ne!(hash_facets(&facets), hash_facets(&[disk("sda", "passed"), disk("sdb", "failing")]));
        assert_ne!(hash_facets(&facets), hash_facets(&facets[..1]));
        let mut judged = facets.clone();
        judged[0].assessment = Some(Assessment::ok());
        assert_ne!(hash_facets(&facets), hash_facets(&judged));
        judged[0].assessment = None;
        judged[0].read("temperature_celsius", 40.0);
        assert_eq!(hash_facets(&facets), hash_facets(&judged), "readings are no state");
        assert_ne!(hash_failure(""), 0);
    }
}
