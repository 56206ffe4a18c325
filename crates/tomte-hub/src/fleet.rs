//! All hosts, in memory: who they are, what is known of each, and who may
//! speak for whom.
//!
//! Each host has a lock of its own, so that their reports never wait for each
//! other; the map of all hosts is only written when a host comes, goes or is
//! renamed. Lock order: the map first, then at most one host. Nothing here
//! writes to the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tomte_api::host::Presence;
use tomte_model::{Assessment, HostId, HostName, Latest, Moment, Problem, Status, Timestamp, Unit};
use tomte_store::state::{Grant, HostRecord, HostToken, SecretHash};

use crate::config::PresenceConfig;
use crate::presence::{Announced, Signs};
use crate::skew::HostClock;
use crate::view::HostView;

/// A host.
pub(crate) struct Host {
    pub(crate) id: HostId,
    state: Mutex<HostState>,
}

/// What is known of a host.
pub(crate) struct HostState {
    pub(crate) record: HostRecord,
    pub(crate) latest: Latest,
    pub(crate) signs: Signs,
    pub(crate) clock: HostClock,
    pub(crate) backlog_reports: u64,
    /// Whether its agent publishes by itself; `None`: not heard since the start.
    pub(crate) publishes_mqtt: Option<bool>,
    /// Whether `latest` changed since it was last saved.
    pub(crate) unsaved: bool,
    /// Whether `last_seen` moved since it was last written down.
    pub(crate) untouched: bool,
    /// What the agent last said of pushed settings: the revision, and what it refused.
    pub(crate) settings_answer: Option<(u64, BTreeMap<String, String>)>,
    /// The presence that the live bus was last told.
    pub(crate) told: Option<Presence>,
    /// Being removed: nothing is taken in any more.
    pub(crate) removed: bool,
}

impl Host {
    pub(crate) fn new(record: HostRecord, latest: Latest, clock: HostClock) -> Arc<Self> {
        let announced = record.announced_presence.as_deref().and_then(Announced::from_text);
        let state = HostState {
            signs: Signs::new(announced, record.last_seen_at),
            latest,
            clock,
            backlog_reports: 0,
            publishes_mqtt: None,
            unsaved: false,
            untouched: false,
            settings_answer: None,
            told: None,
            removed: false,
            record,
        };
        Arc::new(Self { id: state.record.id, state: Mutex::new(state) })
    }

    /// The state. Hold it shortly, and never two hosts' at once.
    pub(crate) fn lock(&self) -> MutexGuard<'_, HostState> {
        // A task that panicked here left numbers that are at worst old.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostState {
    /// The record as it should be written: with what was last heard and announced.
    pub(crate) fn record_to_write(&self) -> HostRecord {
        let mut record = self.record.clone();
        record.announced_presence = self.signs.announced().map(|announced| announced.as_str().to_owned());
        record.last_seen_at = self.signs.last_seen();
        record
    }

    /// The host as a whole: the worst of its resources, and its own silence.
    /// What has fallen silent cannot be ok, whatever was last known of it.
    pub(crate) fn assessment(&self, presence: Presence, now: Moment) -> Option<Assessment> {
        silenced(self.latest.assessment(now.wall), presence, self.signs.last_seen(), now.wall)
    }

    /// The host's view, but for what other hosts know of it.
    fn view(&self, via: Vec<HostId>, now: Moment, started: Moment, timing: &PresenceConfig) -> HostView {
        let presence = self.signs.presence(now, started, timing);
        let record = &self.record;
        HostView {
            id: record.id,
            name: record.name.clone(),
            aliases: record.aliases.iter().cloned().collect(),
            roles: record.roles.iter().cloned().collect(),
            external_ids: record.external_ids.clone(),
            via,
            presence,
            assessment: self.assessment(presence, now),
            last_seen_at: self.signs.last_seen(),
            created_at: record.created_at,
            agent_version: record.agent_version.clone(),
            boot_id: self.clock.boot(),
            skew_millis: self.clock.skew(),
            clock_synchronised: self.clock.synchronised(),
            publishes_mqtt: self.publishes_mqtt.unwrap_or(false),
            resources: self.latest.resources().count(),
            backlog_reports: self.backlog_reports,
            cluster: None,
            node_of: None,
        }
    }
}

/// What is to be said of a host as a whole: the worst of its resources, and
/// its own silence.
pub(crate) fn silenced(
    judged: Option<Assessment>,
    presence: Presence,
    last_seen: Option<Timestamp>,
    now: Timestamp,
) -> Option<Assessment> {
    if presence != Presence::Offline {
        return judged;
    }
    let since = last_seen.unwrap_or_default();
    let silence = format!("not heard of for {}", Unit::Seconds.format(now.since(since).as_secs_f64()));
    let silent = Problem { field: "presence".into(), status: Status::Unknown, reason: silence.clone(), since };
    let mut problems = vec![silent];
    // That every single resource is stale says the same again.
    problems.extend(judged.into_iter().flat_map(|a| a.problems).filter(|p| p.status > Status::Unknown));
    let mut assessment = Assessment::of(problems);
    if assessment.status > Status::Unknown {
        assessment.reason = format!("{silence}; last known: {}", assessment.problems[0].reason);
    }
    Some(assessment)
}

/// All hosts.
#[derive(Default)]
pub(crate) struct Fleet(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    hosts: HashMap<HostId, Arc<Host>>,
    /// Names and aliases.
    names: BTreeMap<HostName, HostId>,
    tokens: HashMap<SecretHash, HostToken>,
    grants: BTreeSet<Grant>,
}

impl Fleet {
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.read().hosts.len()
    }

    pub(crate) fn get(&self, host: HostId) -> Option<Arc<Host>> {
        self.read().hosts.get(&host).cloned()
    }

    /// All hosts, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Host>> {
        self.read().hosts.values().cloned().collect()
    }

    /// The host of that name, alias or id.
    pub(crate) fn find(&self, text: &str) -> Option<HostId> {
        let inner = self.read();
        if let Some(id) = text.parse::<HostName>().ok().and_then(|name| inner.names.get(&name)) {
            return Some(*id);
        }
        text.parse::<HostId>().ok().filter(|id| inner.hosts.contains_key(id))
    }

    /// The host that a name or an alias leads to.
    pub(crate) fn by_name(&self, name: &HostName) -> Option<HostId> {
        self.read().names.get(name).copied()
    }

    /// Takes up a host, new or changed: its record in the state must be the
    /// one that is written down.
    pub(crate) fn put(&self, host: &Arc<Host>) {
        let (name, aliases) = {
            let state = host.lock();
            (state.record.name.clone(), state.record.aliases.clone())
        };
        let mut inner = self.write();
        inner.names.retain(|_, id| *id != host.id);
        inner.hosts.insert(host.id, Arc::clone(host));
        for name in aliases.into_iter().chain([name]) {
            inner.names.insert(name, host.id);
        }
    }

    /// Forgets a host with its tokens and grants.
    pub(crate) fn remove(&self, host: HostId) -> Option<Arc<Host>> {
        let mut inner = self.write();
        let removed = inner.hosts.remove(&host)?;
        inner.names.retain(|_, id| *id != host);
        inner.tokens.retain(|_, token| token.host != host);
        inner.grants.retain(|grant| grant.agent != host && grant.via != host);
        Some(removed)
    }

    pub(crate) fn names(&self) -> Vec<(HostId, HostName)> {
        let hosts = self.all();
        let mut names: Vec<_> = hosts.iter().map(|host| (host.id, host.lock().record.name.clone())).collect();
        names.sort_by(|a, b| a.1.cmp(&b.1));
        names
    }

    pub(crate) fn view(&self, host: HostId, now: Moment, started: Moment, timing: &PresenceConfig) -> Option<HostView> {
        let host = self.get(host)?;
        let via = self.agents_for(host.id);
        Some(host.lock().view(via, now, started, timing))
    }

    pub(crate) fn views(&self, now: Moment, started: Moment, timing: &PresenceConfig) -> Vec<HostView> {
        let mut via: HashMap<HostId, Vec<HostId>> = HashMap::new();
        let hosts = {
            let inner = self.read();
            for grant in &inner.grants {
                via.entry(grant.via).or_default().push(grant.agent);
            }
            inner.hosts.values().cloned().collect::<Vec<_>>()
        };
        let view = |host: Arc<Host>| {
            let via = via.get(&host.id).cloned().unwrap_or_default();
            host.lock().view(via, now, started, timing)
        };
        let mut views: Vec<HostView> = hosts.into_iter().map(view).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    // Who may speak for whom.

    /// The token of that hash, if it is valid. The work is the same whether
    /// there is such a token or not.
    pub(crate) fn token(&self, hash: &SecretHash) -> Option<HostToken> {
        const NOBODYS: SecretHash = [0; 32];
        let inner = self.read();
        let found = inner.tokens.get(hash);
        let same = crate::secrets::same(found.map_or(&NOBODYS, |token| &token.hash), hash);
        found.filter(|token| same && token.revoked_at.is_none()).cloned()
    }

    pub(crate) fn put_token(&self, token: HostToken) {
        self.write().tokens.insert(token.hash, token);
    }

    /// Notes the first use of a token: from now on the older ones of its host are void.
    pub(crate) fn token_used(&self, hash: &SecretHash, now: Timestamp) {
        let mut inner = self.write();
        let Some(token) = inner.tokens.get_mut(hash) else { return };
        token.first_used_at.get_or_insert(now);
        let (host, created_at) = (token.host, token.created_at);
        inner.tokens.retain(|_, token| token.host != host || token.created_at >= created_at);
    }

    /// Forgets all tokens of a host.
    pub(crate) fn drop_tokens(&self, host: HostId) {
        self.write().tokens.retain(|_, token| token.host != host);
    }

    pub(crate) fn put_grant(&self, grant: Grant) {
        self.write().grants.insert(grant);
    }

    pub(crate) fn drop_grant(&self, grant: Grant) -> bool {
        self.write().grants.remove(&grant)
    }

    /// Whether an agent may report for a host.
    pub(crate) fn may_report(&self, agent: HostId, host: HostId) -> bool {
        agent == host || self.read().grants.contains(&Grant { agent, via: host })
    }

    /// The hosts that an agent may report for, beside its own.
    pub(crate) fn granted_to(&self, agent: HostId) -> Vec<HostId> {
        self.read().grants.iter().filter(|grant| grant.agent == agent).map(|grant| grant.via).collect()
    }

    /// The agents that may report for a host, beside its own.
    pub(crate) fn agents_for(&self, host: HostId) -> Vec<HostId> {
        self.read().grants.iter().filter(|grant| grant.via == host).map(|grant| grant.agent).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn host(number: u128, name: &str) -> Arc<Host> {
        let record = HostRecord::new(HostId::from_parts(1, number), name.parse().unwrap(), Timestamp::default());
        Host::new(record, Latest::default(), HostClock::default())
    }

    fn token(host: HostId, number: u8) -> HostToken {
        let created_at = Timestamp::from_millis(number.into());
        HostToken { hash: [number; 32], host, prefix: String::new(), created_at, first_used_at: None, revoked_at: None }
    }

    #[test]
    fn names_aliases_and_ids_lead_to_a_host_until_it_goes() {
        let fleet = Fleet::default();
        let nas = host(1, "nas");
        nas.lock().record.aliases.push("old-nas".parse().unwrap());
        fleet.put(&nas);
        for text in ["nas", "old-nas", &nas.id.to_string()] {
            assert_eq!(fleet.find(text), Some(nas.id), "{text}");
        }
        nas.lock().record.name = "storage".parse().unwrap();
        nas.lock().record.aliases = vec!["nas".parse().unwrap()];
        fleet.put(&nas);
        assert_eq!(
            (fleet.find("storage"), fleet.find("nas"), fleet.find("old-nas")),
            (Some(nas.id), Some(nas.id), None)
        );
        fleet.put_token(token(nas.id, 1));
        fleet.put_grant(Grant { agent: nas.id, via: HostId::from_parts(1, 9) });
        fleet.remove(nas.id);
        assert_eq!(fleet.find(&nas.id.to_string()), None);
        assert_eq!(fleet.token(&[1; 32]), None);
        assert!(fleet.granted_to(nas.id).is_empty());
    }

    #[test]
    fn a_new_token_ends_the_old_one_when_it_is_first_used() {
        let fleet = Fleet::default();
        let nas = host(1, "nas");
        fleet.put(&nas);
        fleet.put_token(token(nas.id, 1));
        fleet.put_token(token(nas.id, 2));
        fleet.put_token(token(HostId::from_parts(1, 2), 3));
        assert!(fleet.token(&[1; 32]).is_some() && fleet.token(&[2; 32]).is_some());
        fleet.token_used(&[2; 32], Timestamp::default());
        assert!(fleet.token(&[1; 32]).is_none() && fleet.token(&[2; 32]).is_some() && fleet.token(&[3; 32]).is_some());
        assert!(fleet.token(&[0; 32]).is_none());
    }

    #[test]
    fn a_silent_host_is_unknown_and_says_since_when() {
        let nas = host(1, "nas");
        let now = Moment { wall: Timestamp::from_millis(400_000), boot_millis: 400_000 };
        let mut state = nas.lock();
        assert_eq!(state.assessment(Presence::Online, now), None);
        state.signs.heard(Moment { wall: Timestamp::from_millis(100_000), boot_millis: 100_000 });
        let assessment = state.assessment(Presence::Offline, now).unwrap();
        assert_eq!(assessment.status, Status::Unknown);
        assert!(assessment.reason.starts_with("not heard of for 5 min"), "{}", assessment.reason);
    }
}
