//! The reading side: how hosts were at a moment, and what changed between two.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, params};
use tomte_model::latest::{FacetState, ResourceState};
use tomte_model::{Assessment, HostId, Name, ResourceKey, Timestamp, Value};

use super::state::{Noted, ScopeState};
use super::{HOST_COLLECTOR, HOST_SCOPE, rebuild};
use crate::changes::{Change, ChangeKind, ChangeList, ChangePlace, ChangeQuery, HostFacts, HostThen};
use crate::sqlite::Fault;

/// No more rows than this are looked at for one part of the list.
const MAX_ROWS: usize = 10_000;

/// How hosts were at a moment; all that were known then when none is named.
pub(in crate::sqlite::history) fn state_at(
    tx: &Connection,
    hosts: &[HostId],
    at: Timestamp,
) -> Result<Vec<HostThen>, Fault> {
    let hosts = if hosts.is_empty() { all_hosts(tx)? } else { hosts.to_vec() };
    let mut then = Vec::with_capacity(hosts.len());
    for host in hosts {
        let mut one = HostThen { id: host, facts: None, resources: BTreeMap::new() };
        let mut statement = tx.prepare_cached("SELECT number, collector, name FROM change_scope WHERE host = ?1")?;
        let mut rows = statement.query([host.to_bytes()])?;
        while let Some(row) = rows.next()? {
            let (number, collector, name): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if collector == HOST_COLLECTOR {
                one.facts = facts_at(tx, number, at.millis())?;
            } else {
                let rebuilt = rebuild(tx, number, at.millis())?;
                let Some(since) = rebuilt.row_at else { continue };
                let scope = (collector.into(), name.into());
                put_facets(&mut one.resources, &scope, rebuilt.state, Timestamp::from_millis(since));
            }
        }
        // A resource exists because of the facet that owns it.
        one.resources.retain(|_, resource| resource.facets.values().any(|facet| facet.owner));
        if one.facts.is_some() || !one.resources.is_empty() {
            then.push(one);
        }
    }
    Ok(then)
}

fn all_hosts(tx: &Connection) -> Result<Vec<HostId>, Fault> {
    let mut statement = tx.prepare_cached("SELECT DISTINCT host FROM change_scope")?;
    let hosts = statement.query_map([], |row| Ok(HostId::from_bytes(row.get(0)?)))?;
    Ok(hosts.collect::<rusqlite::Result<_>>()?)
}

fn facts_at(tx: &Connection, number: i64, at: i64) -> Result<Option<HostFacts>, Fault> {
    let body: Option<Vec<u8>> = tx
        .prepare_cached("SELECT body FROM change WHERE scope = ?1 AND at <= ?2 ORDER BY at DESC LIMIT 1")?
        .query_row((number, at), |row| row.get(0))
        .optional()?;
    Ok(body.and_then(|body| serde_json::from_slice(&body).ok()))
}

fn put_facets(
    resources: &mut BTreeMap<ResourceKey, ResourceState>,
    (collector, scope): &(Name, Name),
    state: ScopeState,
    since: Timestamp,
) {
    for ((resource, name), noted) in state.facets {
        let facet = FacetState {
            collector: collector.clone(),
            scope: scope.clone(),
            at: since,
            interval_millis: state.interval_millis,
            failure: state.failure.clone(),
            owner: noted.owner,
            attributes: noted.attributes,
            readings: Vec::new(),
            tables: Vec::new(),
            assessment: noted.assessment,
        };
        resources.entry(resource).or_default().facets.insert(name, Box::new(facet));
    }
}

/// A row's place, and whose it is.
struct Row {
    at: i64,
    scope: i64,
    host: HostId,
    of_host: bool,
    name: Name,
}

/// What changed between two moments.
pub(in crate::sqlite::history) fn list(tx: &Connection, query: &ChangeQuery) -> Result<ChangeList, Fault> {
    let rows = rows(tx, query)?;
    let exhausted = rows.len() < MAX_ROWS;
    let mut list = ChangeList::default();
    let mut seen: HashMap<i64, ScopeState> = HashMap::new();
    let mut last = query.after;
    for row in rows {
        let mut found =
            if row.of_host { host_changes(tx, &row)? } else { scope_changes(tx, &row, &mut seen, query.newest_first)? };
        found.retain(|change| wanted(query, change));
        let mut found: Vec<_> = (0_u32..).zip(found).collect();
        if query.newest_first {
            found.reverse();
        }
        for (index, change) in found {
            let place = ChangePlace { at: change.at, scope: row.scope, index };
            let passed =
                query.after.is_some_and(|after| if query.newest_first { place >= after } else { place <= after });
            if passed {
                continue;
            }
            if list.changes.len() == query.limit {
                list.next = last;
                return Ok(list);
            }
            list.changes.push(change);
            last = Some(place);
        }
        // A row without anything wanted is passed as well.
        let index = if query.newest_first { 0 } else { u32::MAX };
        last = Some(ChangePlace { at: Timestamp::from_millis(row.at), scope: row.scope, index });
    }
    list.next = last.filter(|_| !exhausted);
    Ok(list)
}

fn wanted(query: &ChangeQuery, change: &Change) -> bool {
    (query.what.is_empty() || query.what.contains(&change.what))
        && (query.kinds.is_empty()
            || change.resource.as_ref().is_some_and(|key| query.kinds.iter().any(|kind| *kind == key.kind)))
}

fn rows(tx: &Connection, query: &ChangeQuery) -> Result<Vec<Row>, Fault> {
    let (mut from, mut to) = (query.from.millis(), query.to.millis().saturating_sub(1));
    let mut behind = String::new();
    if let Some(after) = query.after {
        let (at, scope) = (after.at.millis(), after.scope);
        if query.newest_first {
            to = to.min(at);
            behind = format!(" AND (c.at < {at} OR c.scope <= {scope})");
        } else {
            from = from.max(at);
            behind = format!(" AND (c.at > {at} OR c.scope >= {scope})");
        }
    }
    let only = if query.hosts.is_empty() {
        String::new()
    } else {
        let mut numbers = Vec::new();
        for host in &query.hosts {
            let mut statement = tx.prepare_cached("SELECT number FROM change_scope WHERE host = ?1")?;
            let found = statement.query_map([host.to_bytes()], |row| row.get::<_, i64>(0))?;
            for number in found {
                numbers.push(number?.to_string());
            }
        }
        format!(" AND c.scope IN ({})", numbers.join(","))
    };
    let order = if query.newest_first { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT c.at, c.scope, s.host, s.collector, s.name FROM change c JOIN change_scope s ON s.number = c.scope
         WHERE c.at BETWEEN ?1 AND ?2{behind}{only} ORDER BY c.at {order}, c.scope {order} LIMIT ?3"
    );
    let mut statement = tx.prepare(&sql)?;
    let found = statement.query_map(params![from, to, MAX_ROWS as i64], |row| {
        let collector: String = row.get(3)?;
        Ok(Row {
            at: row.get(0)?,
            scope: row.get(1)?,
            host: HostId::from_bytes(row.get(2)?),
            of_host: collector == HOST_COLLECTOR,
            name: row.get::<_, String>(4)?.into(),
        })
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

impl Row {
    fn change(&self, what: ChangeKind, resource: Option<&ResourceKey>) -> Change {
        Change {
            at: Timestamp::from_millis(self.at),
            host: self.host,
            resource: resource.cloned(),
            what,
            name: None,
            from: None,
            to: None,
            reason: String::new(),
        }
    }
}

fn text(value: impl Into<String>) -> Option<Value> {
    let value = value.into();
    (!value.is_empty()).then_some(Value::Text(value))
}

fn host_changes(tx: &Connection, row: &Row) -> Result<Vec<Change>, Fault> {
    let Some(now) = facts_at(tx, row.scope, row.at)? else { return Ok(Vec::new()) };
    let Some(before) = facts_at(tx, row.scope, row.at - 1)? else {
        let to = text(now.name.as_str());
        return Ok(vec![Change { name: Some(HOST_SCOPE.into()), to, ..row.change(ChangeKind::Appeared, None) }]);
    };
    let words = |facts: &HostFacts| {
        let joined = |words: BTreeSet<String>| words.into_iter().collect::<Vec<_>>().join(", ");
        [
            ("name", facts.name.to_string()),
            ("aliases", joined(facts.aliases.iter().map(ToString::to_string).collect())),
            ("roles", joined(facts.roles.clone())),
            ("external_ids", joined(facts.external_ids.iter().map(|(system, id)| format!("{system}={id}")).collect())),
            ("via", joined(facts.via.iter().map(ToString::to_string).collect())),
            ("agent_version", facts.agent_version.clone().unwrap_or_default()),
            ("presence", facts.presence.clone()),
        ]
    };
    let pairs = words(&before).into_iter().zip(words(&now));
    Ok(pairs
        .filter(|((_, before), (_, now))| before != now)
        .map(|((name, before), (_, now))| {
            let what = if name == "presence" { ChangeKind::Presence } else { ChangeKind::Host };
            Change { name: Some(name.into()), from: text(before), to: text(now), ..row.change(what, None) }
        })
        .collect())
}

fn scope_changes(
    tx: &Connection,
    row: &Row,
    seen: &mut HashMap<i64, ScopeState>,
    newest_first: bool,
) -> Result<Vec<Change>, Fault> {
    // What was rebuilt for one row is one side of the next row as well.
    let seen_now = seen.remove(&row.scope);
    let (before, now) = match (seen_now, newest_first) {
        (Some(now), true) => (rebuild(tx, row.scope, row.at - 1)?.state, now),
        (Some(before), false) => (before, rebuild(tx, row.scope, row.at)?.state),
        (None, _) => (rebuild(tx, row.scope, row.at - 1)?.state, rebuild(tx, row.scope, row.at)?.state),
    };
    let mut changes = Vec::new();
    if now.failure != before.failure {
        let what = if now.failure.is_some() { ChangeKind::Unreadable } else { ChangeKind::Readable };
        let reason = now.failure.clone().unwrap_or_default();
        changes.push(Change { name: Some(row.name.clone()), reason, ..row.change(what, None) });
    }
    let gone = before.facets.iter().filter(|(key, facet)| facet.owner && !now.facets.contains_key(*key));
    changes.extend(gone.map(|((resource, _), _)| row.change(ChangeKind::Gone, Some(resource))));
    let nothing = Noted { owner: false, attributes: Vec::new(), assessment: None };
    for (key, facet) in &now.facets {
        let resource = &key.0;
        let was = before.facets.get(key);
        if was.is_none() && facet.owner {
            let status = facet.assessment.as_ref();
            changes.push(Change {
                to: status.and_then(|judged| text(judged.status.as_str())),
                reason: status.map(|judged| judged.reason.clone()).unwrap_or_default(),
                ..row.change(ChangeKind::Appeared, Some(resource))
            });
            continue;
        }
        let was = was.unwrap_or(&nothing);
        changes.extend(judged(row, resource, was.assessment.as_ref(), facet.assessment.as_ref()));
        changes.extend(attributes(row, resource, &was.attributes, &facet.attributes));
    }
    seen.insert(row.scope, if newest_first { before } else { now });
    Ok(changes)
}

fn judged(row: &Row, resource: &ResourceKey, from: Option<&Assessment>, to: Option<&Assessment>) -> Option<Change> {
    let status = |judged: Option<&Assessment>| judged.map(|judged| judged.status);
    let reason = |judged: Option<&Assessment>| judged.map(|judged| judged.reason.clone()).unwrap_or_default();
    let why = reason(to);
    let word = |judged: Option<&Assessment>| judged.and_then(|judged| text(judged.status.as_str()));
    let what = if status(from) != status(to) {
        ChangeKind::Status
    } else if reason(from) != reason(to) {
        ChangeKind::Reason
    } else {
        return None;
    };
    let (from, to) = match what {
        ChangeKind::Status => (word(from), word(to)),
        _ => (text(reason(from)), text(reason(to))),
    };
    Some(Change { from, to, reason: why, ..row.change(what, Some(resource)) })
}

fn attributes(row: &Row, resource: &ResourceKey, from: &[(Name, Value)], to: &[(Name, Value)]) -> Vec<Change> {
    let find = |list: &[(Name, Value)], name: &Name| list.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let names: BTreeSet<&Name> = from.iter().chain(to).map(|(name, _)| name).collect();
    names
        .into_iter()
        .map(|name| (name, find(from, name), find(to, name)))
        .filter(|(_, from, to)| from != to)
        .map(|(name, from, to)| Change {
            name: Some(name.clone()),
            from,
            to,
            ..row.change(ChangeKind::Attribute, Some(resource))
        })
        .collect()
}
