//! Live updates over one WebSocket: what a client asks, what it is told.
//!
//! A client sends [`Request`]s and gets [`Message`]s. Each subscription starts
//! with a snapshot; deltas carry what changed since, and what is gone. A client
//! that reads slowly gets fewer, larger deltas: the latest value wins, nothing
//! queues up. Events are told one by one, as they happen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tomte_model::{HostId, Problem, Status, Timestamp, Value as Scalar};

use crate::event::Event;
use crate::host::Host;
use crate::resource::{Facet, Resource, Table};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = LiveRequest))]
pub enum Request {
    /// Watch something. An id that is in use is replaced.
    Sub(Subscribe),
    /// Watch it no longer.
    Unsub(Unsubscribe),
}

/// Watch hosts and resources.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Subscribe {
    /// The client's name for the subscription; comes back in every message.
    pub id: String,
    /// Hosts by name, alias or id; empty: all.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Kinds of resources; empty: all. Hosts are told in any case.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Fields; empty: all. When some are named, texts and lists are left out.
    #[serde(default)]
    pub fields: Vec<String>,
    /// At most one delta in so many seconds, 1 to 3,600; 10 when absent. Under
    /// 10, the agents of the hosts named in `hosts` are asked to read faster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_s: Option<u32>,
    /// Whether to tell events as well.
    #[serde(default = "yes")]
    pub events: bool,
    /// Whether resources are told, or only how each host stands.
    #[serde(default = "yes")]
    pub resources: bool,
}

fn yes() -> bool {
    true
}

/// Watch it no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unsubscribe {
    /// The subscription's id.
    pub id: String,
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = LiveMessage))]
pub struct Message {
    /// The subscription it belongs to; empty for the connection as a whole.
    pub id: String,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = LiveBody))]
pub enum Body {
    /// Everything that is watched, as it is now.
    Snapshot(Snapshot),
    /// What changed since the last message of this subscription.
    Delta(Delta),
    /// Something happened.
    Event(Box<EventMessage>),
    /// A request could not be followed.
    Error(Refusal),
}

/// Everything that is watched, as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = LiveSnapshot))]
pub struct Snapshot {
    /// The moment it stands for.
    pub at: Timestamp,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Their resources.
    pub resources: Vec<Resource>,
}

/// What changed. What is not in it stands as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = LiveDelta))]
pub struct Delta {
    /// The moment it leads up to.
    pub at: Timestamp,
    /// Hosts that are new or stand differently, whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Host>,
    /// Hosts that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_hosts: Vec<HostId>,
    /// Resources that are new or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceDelta>,
    /// Resources that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<ResourceRef>,
}

/// Names a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceRef {
    /// The host it is on.
    pub host_id: HostId,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What changed in a resource. Absent: unchanged. In the maps, null: gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceDelta {
    /// Which resource.
    #[serde(flatten)]
    pub resource: ResourceRef,
    /// When its newest part was read.
    pub at: Timestamp,
    /// How it stands now, if that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// Its parts that changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(schema_with = nullable::<Facet>))]
    pub facets: BTreeMap<String, Option<Facet>>,
    /// Texts and flags that changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(schema_with = nullable::<Scalar>))]
    pub attributes: BTreeMap<String, Option<Scalar>>,
    /// Numbers that changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(schema_with = nullable_number))]
    pub readings: BTreeMap<String, Option<f64>>,
    /// Lists that changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(schema_with = nullable::<Table>))]
    pub tables: BTreeMap<String, Option<Table>>,
}

/// A map whose values may be null, which the derive cannot describe.
#[cfg(feature = "openapi")]
fn nullable<T: utoipa::ToSchema>() -> utoipa::openapi::schema::Object {
    nullable_of(utoipa::openapi::Ref::from_schema_name(T::name()).into())
}

#[cfg(feature = "openapi")]
fn nullable_number() -> utoipa::openapi::schema::Object {
    nullable_of(<f64 as utoipa::PartialSchema>::schema())
}

#[cfg(feature = "openapi")]
fn nullable_of(value: utoipa::openapi::RefOr<utoipa::openapi::Schema>) -> utoipa::openapi::schema::Object {
    use utoipa::openapi::schema::{Object, OneOfBuilder, Schema, Type};
    let null = Object::with_type(Type::Null);
    let either = OneOfBuilder::new().item(null).item(value).build();
    utoipa::openapi::ObjectBuilder::new().additional_properties(Some(Schema::OneOf(either))).build()
}

/// How a resource stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Standing {
    /// How it stands; null when nothing judges it.
    pub status: Option<Status>,
    /// Why, in words.
    pub reason: String,
    /// Everything that is wrong, worst first.
    pub problems: Vec<Problem>,
    /// Whether a part of it could not be read of late.
    pub stale: bool,
}

impl Standing {
    /// How a resource stands.
    #[must_use]
    pub fn of(resource: &Resource) -> Self {
        Self {
            status: resource.status,
            reason: resource.reason.clone(),
            problems: resource.problems.clone(),
            stale: resource.stale,
        }
    }
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = LiveEvent))]
pub struct EventMessage {
    /// What.
    pub event: Event,
}

/// A request could not be followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = LiveError))]
pub struct Refusal {
    /// Why, as the HTTP API would say it.
    pub problem: crate::Problem,
}

impl ResourceDelta {
    /// What leads from one sight of a resource to the next; `None` when
    /// nothing changed but its age.
    #[must_use]
    pub fn between(before: Option<&Resource>, after: &Resource) -> Option<Self> {
        let standing = Standing::of(after);
        let delta = Self {
            resource: ResourceRef { host_id: after.host_id, kind: after.kind.clone(), name: after.name.clone() },
            at: after.at,
            standing: before.is_none_or(|b| Standing::of(b) != standing).then_some(standing),
            facets: changed(before.map(|b| &b.facets), &after.facets, same_standing),
            attributes: changed(before.map(|b| &b.attributes), &after.attributes, PartialEq::eq),
            readings: changed(before.map(|b| &b.readings), &after.readings, PartialEq::eq),
            tables: changed(before.map(|b| &b.tables), &after.tables, PartialEq::eq),
        };
        let moved = delta.standing.is_some()
            || before.is_none_or(|b| b.at != after.at)
            || !(delta.facets.is_empty()
                && delta.attributes.is_empty()
                && delta.readings.is_empty()
                && delta.tables.is_empty());
        moved.then_some(delta)
    }

    /// Brings an earlier sight of the resource up to date.
    pub fn apply(self, resource: &mut Resource) {
        resource.at = self.at;
        if let Some(standing) = self.standing {
            resource.status = standing.status;
            resource.reason = standing.reason;
            resource.problems = standing.problems;
            resource.stale = standing.stale;
        }
        take(&mut resource.facets, self.facets);
        take(&mut resource.attributes, self.attributes);
        take(&mut resource.readings, self.readings);
        take(&mut resource.tables, self.tables);
    }
}

/// A facet's age alone is no news: the resource's own `at` tells it.
fn same_standing(a: &Facet, b: &Facet) -> bool {
    (a.stale, a.status, &a.failure, a.interval_ms) == (b.stale, b.status, &b.failure, b.interval_ms)
}

fn changed<V: Clone>(
    before: Option<&BTreeMap<String, V>>,
    after: &BTreeMap<String, V>,
    same: impl Fn(&V, &V) -> bool,
) -> BTreeMap<String, Option<V>> {
    let old = |name: &String| before.and_then(|b| b.get(name));
    let mut changes: BTreeMap<_, _> = after
        .iter()
        .filter(|(name, value)| !old(name).is_some_and(|o| same(o, value)))
        .map(|(name, value)| (name.clone(), Some(value.clone())))
        .collect();
    let gone = before.into_iter().flat_map(BTreeMap::keys).filter(|name| !after.contains_key(*name));
    changes.extend(gone.map(|name| (name.clone(), None)));
    changes
}

fn take<V>(map: &mut BTreeMap<String, V>, changes: BTreeMap<String, Option<V>>) {
    for (name, value) in changes {
        match value {
            Some(value) => drop(map.insert(name, value)),
            None => drop(map.remove(&name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(readings: &[(&str, f64)]) -> Resource {
        Resource {
            host: "nas".into(),
            host_id: HostId::from_parts(1, 1),
            kind: "disk".into(),
            name: "sda".into(),
            status: None,
            reason: String::new(),
            problems: Vec::new(),
            stale: false,
            at: Timestamp::from_millis(1_000),
            facets: BTreeMap::new(),
            attributes: BTreeMap::new(),
            readings: readings.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            tables: BTreeMap::new(),
        }
    }

    #[test]
    fn a_delta_carries_what_changed_and_what_is_gone() {
        let before = resource(&[("a", 1.0), ("b", 2.0), ("c", 3.0)]);
        let mut after = resource(&[("a", 1.0), ("b", 2.5), ("d", 4.0)]);
        after.at = Timestamp::from_millis(2_000);
        let delta = ResourceDelta::between(Some(&before), &after).expect("something changed");
        let json = serde_json::to_value(&delta).expect("JSON");
        assert_eq!(json["readings"], serde_json::json!({"b": 2.5, "c": null, "d": 4.0}));
        assert!(json.get("standing").is_none(), "{json}");
        let mut seen = before;
        delta.apply(&mut seen);
        assert_eq!(seen, after);
        assert_eq!(ResourceDelta::between(Some(&seen), &after), None);
    }

    #[test]
    fn messages_look_as_documented() {
        let request: Request =
            serde_json::from_str(r#"{"op":"sub","id":"x","hosts":["nas"],"kinds":[],"fields":[],"every_s":1}"#)
                .expect("the documented request");
        let Request::Sub(sub) = request else { panic!("not a subscription") };
        assert_eq!((sub.every_s, sub.events, sub.resources), (Some(1), true, true));
        let message = Message {
            id: "x".into(),
            body: Body::Delta(Delta {
                at: Timestamp::from_millis(0),
                hosts: Vec::new(),
                removed_hosts: Vec::new(),
                resources: Vec::new(),
                removed: Vec::new(),
            }),
        };
        let text = serde_json::to_string(&message).expect("JSON");
        assert_eq!(text, r#"{"id":"x","type":"delta","at":"1970-01-01T00:00:00.000Z"}"#);
        assert_eq!(serde_json::from_str::<Message>(&text).expect("and back"), message);
    }
}
