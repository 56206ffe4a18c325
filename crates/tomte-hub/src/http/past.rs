//! How things were: hosts and resources at a past moment.
//!
//! What was described and judged comes from the changes of state, readings
//! from the history: each the last at or before the moment that was not stale
//! by then. A facet's time is that of its newest reading.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tomte_api::host::{Host, Presence};
use tomte_api::time::time;
use tomte_model::latest::{FacetState, ResourceState, assessment};
use tomte_model::{Catalogue, HostId, Name, ResourceKey, Timestamp};
use tomte_store::changes::{HostFacts, HostThen};
use tomte_store::history::{HistoryStore, Points, Query, SeriesKey};
use tomte_store::{Budget, Store, StoreError};

use super::App;
use super::extract::Params;
use super::problem::Failure;
use crate::fleet::silenced;
use crate::records;
use crate::view::HostView;

/// How many readings are looked at for one host.
const MAX_POINTS: usize = 2_000_000;
/// How far back a reading is looked for that comes at no fixed interval.
const NO_INTERVAL: Duration = Duration::from_secs(3600);

/// The past moment that a request names, if it does.
pub(super) fn at(params: &Params, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = params.one("at")? else { return Ok(None) };
    let at = time(text, now).map_err(|why| Failure::parameter("at", why))?;
    if at > now {
        return Err(Failure::parameter("at", format!("{at} has not come yet; it is {now}")));
    }
    Ok(Some(at))
}

/// How hosts were, by name; all that were known then when none is named.
pub(super) async fn hosts(app: &App, hosts: Vec<HostId>, at: Timestamp) -> Result<Vec<Host>, Failure> {
    let then = app.hub.read(move |store| store.history.state_at(&hosts, at)).await?;
    let of = |mut then: HostThen| {
        let view = app.hub.host(then.id);
        name(&mut then, view.as_ref());
        host(then, at)
    };
    let mut hosts: Vec<Host> = then.into_iter().filter_map(of).collect();
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(hosts)
}

/// What an agent saw before the hub knew of its host is told under the host's
/// present name; nobody heard it then.
fn name(then: &mut HostThen, view: Option<&HostView>) {
    let presence = Presence::Never.as_str().to_owned();
    let present = |view| HostFacts { presence, last_seen_at: None, ..records::facts(view) };
    then.facts = then.facts.take().or_else(|| view.map(present));
}

/// The resources of a host as they were, by key, and its name then.
pub(super) async fn resources(
    app: &App,
    id: HostId,
    at: Timestamp,
) -> Result<(Option<String>, BTreeMap<ResourceKey, ResourceState>), Failure> {
    let (catalogue, now) = (app.hub.catalogue(), app.hub.now());
    let raw = app.hub.resolved().config.history.raw.0;
    let is_raw = now.since(at) < raw;
    let view = app.hub.host(id);
    let found = app.hub.read(move |store| {
        let Some(mut then) = store.history.state_at(&[id], at)?.pop() else { return Ok((None, BTreeMap::new())) };
        name(&mut then, view.as_ref());
        let name = then.facts.as_ref().map(|facts| facts.name.to_string());
        settle(&mut then, at);
        read(store, &mut then, at, is_raw, &catalogue)?;
        Ok((name, then.resources))
    });
    Ok(found.await?)
}

fn presence(facts: &HostFacts) -> Presence {
    [Presence::Online, Presence::Late, Presence::Offline]
        .into_iter()
        .find(|presence| presence.as_str() == facts.presence)
        .unwrap_or(Presence::Never)
}

/// When the host was last heard of at a moment.
fn heard_at(facts: &HostFacts, at: Timestamp) -> Timestamp {
    match presence(facts) {
        // Of a host without an agent of its own, others report.
        Presence::Online | Presence::Never => at,
        Presence::Late | Presence::Offline => facts.last_seen_at.unwrap_or(at).min(at),
    }
}

/// Gives facets the time at which they were last known to be as they are.
fn settle(then: &mut HostThen, at: Timestamp) {
    let heard = then.facts.as_ref().map_or(at, |facts| heard_at(facts, at));
    for facet in then.resources.values_mut().flat_map(|resource| resource.facets.values_mut()) {
        facet.at = facet.at.max(heard);
    }
}

fn host(mut then: HostThen, at: Timestamp) -> Option<Host> {
    settle(&mut then, at);
    let facts = then.facts?;
    let presence = presence(&facts);
    let last_seen_at = match presence {
        Presence::Online => Some(at),
        _ => facts.last_seen_at,
    };
    let judged = silenced(assessment(&then.resources, at), presence, last_seen_at, at);
    let (status, reason, problems) =
        judged.map_or((None, String::new(), Vec::new()), |a| (Some(a.status), a.reason, a.problems));
    Some(Host {
        id: then.id,
        name: facts.name.into(),
        aliases: facts.aliases.into_iter().map(String::from).collect(),
        roles: facts.roles.into_iter().collect(),
        external_ids: facts.external_ids,
        via: facts.via.into_iter().collect(),
        presence,
        status,
        reason,
        problems,
        last_seen_at,
        created_at: facts.created_at,
        agent_version: facts.agent_version,
        skew_seconds: None,
        clock_synchronised: None,
        resources: then.resources.len() as u64,
        backlog: 0,
        cluster: None,
        cluster_of: None,
    })
}

/// Puts the readings in that stood at a moment.
fn read(
    store: &Store,
    then: &mut HostThen,
    at: Timestamp,
    is_raw: bool,
    catalogue: &Catalogue,
) -> Result<(), StoreError> {
    let mut windows: BTreeMap<Duration, Vec<SeriesKey>> = BTreeMap::new();
    for series in store.history.series(then.id)? {
        let Some(resource) = then.resources.get(&series.key.resource) else { continue };
        let Some(facet) = facet_of(catalogue, &series.key, resource).and_then(|name| resource.facets.get(&name)) else {
            continue;
        };
        windows.entry(window(facet, is_raw)).or_default().push(series.key);
    }
    for (window, keys) in windows {
        let mut newest: HashMap<(ResourceKey, Name), Timestamp> = HashMap::new();
        for (key, found_at, value) in last_readings(&*store.history, keys, at, window, is_raw)? {
            let Some(resource) = then.resources.get_mut(&key.resource) else { continue };
            let Some(name) = facet_of(catalogue, &key, resource) else { continue };
            let Some(facet) = resource.facets.get_mut(&name) else { continue };
            facet.readings.push((key.field, value));
            let seen = newest.entry((key.resource, name)).or_insert(found_at);
            *seen = found_at.max(*seen);
        }
        for ((resource, name), found_at) in newest {
            let facet = then.resources.get_mut(&resource).and_then(|resource| resource.facets.get_mut(&name));
            if let Some(facet) = facet {
                facet.at = found_at;
            }
        }
    }
    Ok(())
}

/// The facet that a field belongs to.
fn facet_of(catalogue: &Catalogue, key: &SeriesKey, resource: &ResourceState) -> Option<Name> {
    let known = catalogue.field(&key.resource.kind, &key.field).map(|field| field.facet.clone());
    known
        .filter(|name| resource.facets.contains_key(name))
        .or_else(|| resource.facets.iter().find(|(_, facet)| facet.owner).map(|(name, _)| name.clone()))
}

/// How old a facet's readings may be: as much as makes it stale, but never
/// less than the points of the tier are apart.
fn window(facet: &FacetState, is_raw: bool) -> Duration {
    let tolerance = match facet.interval_millis {
        0 => NO_INTERVAL,
        millis => Duration::from_millis(u64::from(millis) * 3 + 5_000),
    };
    if is_raw { tolerance } else { tolerance.max(NO_INTERVAL) }
}

/// The last value of each series within a window before a moment.
fn last_readings(
    history: &dyn HistoryStore,
    series: Vec<SeriesKey>,
    at: Timestamp,
    window: Duration,
    is_raw: bool,
) -> Result<Vec<(SeriesKey, Timestamp, f64)>, StoreError> {
    let query = Query {
        series,
        from: at.minus(window),
        to: at.plus(Duration::from_millis(1)),
        // Where single readings are gone, the steps are as fine as there is.
        step: (!is_raw).then_some(Duration::from_secs(300)),
        budget: Budget::points(MAX_POINTS),
    };
    let found = history.query(&query)?;
    let times = found.t;
    let last = |points: Points| match points {
        Points::Raw(points) => points.last().copied(),
        Points::Stepped(buckets) => {
            times.iter().zip(buckets).rev().find_map(|(t, bucket)| Some(((*t).min(at), bucket?.last)))
        }
    };
    Ok(found.series.into_iter().filter_map(|found| last(found.points).map(|(t, v)| (found.key, t, v))).collect())
}
