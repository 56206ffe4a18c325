//! Clusters: hosts that are no machine, but what several machines see alike.
//!
//! A guest of Proxmox VE moves between the nodes of its cluster and takes its
//! history along, because it belongs to the cluster's own host. The hub makes
//! that host once and lets one node's agent at a time report for it. Who may
//! take part, and whose turn it is, is decided in [`table`]; here is what the
//! hub does about it: the host, the grant, events, the audit, and telling the
//! agents once it is durable.
//!
//! The grant of a cluster's holder is kept with the cluster and not with the
//! grants that people give.

mod table;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tomte_api::host::Presence;
use tomte_link::{ClusterClaim, ClusterGrant, ClusterProblem};
use tomte_model::{EventKind, HostId, HostName, Latest, Severity, Timestamp};
use tomte_store::StoreError;
use tomte_store::state::{Grant, HostRecord, StateStore};

use table::{Claimant, Moved, Table, Verdict};
pub(crate) use table::{ROLE, Share};

use crate::access::Actor;
use crate::events::Occurrence;
use crate::fleet::{Fleet, Host};
use crate::notices::Notice;
use crate::skew::HostClock;
use crate::sources::link::Command;
use crate::view::{ClusterMember, ClusterView, HostView, MemberState, NodeView};
use crate::{Hub, HubError, secrets};

/// Under this name the clusters are kept.
const KEY: &str = "hub.clusters";
/// The form in which they are.
const VERSION: u32 = 1;
/// What a cluster's host is called in [`HostRecord::external_ids`].
const EXTERNAL: &str = "pve_cluster";
/// No more of what stands is told to a new holder.
const PROBLEMS: usize = 512;

/// The clusters, and who is still to be told of a change.
#[derive(Debug, Default)]
pub(crate) struct Clusters(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    table: Table,
    unsaved: bool,
    /// Agents whose answer changed. They are told once it is written down.
    tell: BTreeSet<HostId>,
    /// Something is being decided: nobody is told half of it.
    deciding: bool,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    table: Table,
}

impl Clusters {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// When it cannot be read, or is of a later version: agents would get
    /// hosts made anew.
    pub(crate) fn load(store: &dyn StateStore) -> Result<Self, StoreError> {
        let Some(kept) = store.value(KEY)? else { return Ok(Self::default()) };
        let damaged = |why: String| StoreError::Damaged { database: "state.db", source: Arc::from(Box::from(why)) };
        let kept: Kept = serde_json::from_slice(&kept).map_err(|error| damaged(format!("{KEY}: {error}")))?;
        if kept.version != VERSION {
            return Err(damaged(format!("{KEY} has version {}; this hub knows {VERSION}", kept.version)));
        }
        Ok(Self(Mutex::new(Inner { table: kept.table, ..Inner::default() })))
    }

    /// Writes them down if they changed, and returns who is to be told now.
    /// Blocks.
    pub(crate) fn save(&self, store: &dyn StateStore) -> Result<Vec<HostId>, StoreError> {
        let (kept, tell) = {
            let mut inner = self.lock();
            let kept =
                std::mem::take(&mut inner.unsaved).then(|| Kept { version: VERSION, table: inner.table.clone() });
            let tell = if inner.deciding { BTreeSet::new() } else { std::mem::take(&mut inner.tell) };
            (kept, tell)
        };
        if let Some(kept) = kept {
            let bytes = serde_json::to_vec(&kept).expect("ids and names have a form in JSON");
            store.put_value(KEY, Some(&bytes)).inspect_err(|_| {
                let mut inner = self.lock();
                inner.unsaved = true;
                inner.tell.extend(&tell);
            })?;
        }
        Ok(tell.into_iter().collect())
    }

    /// Lets the holders report for their clusters' hosts.
    pub(crate) fn grant_all(&self, fleet: &Fleet) {
        for cluster in self.lock().table.clusters() {
            if let Some(agent) = cluster.holder() {
                fleet.put_grant(Grant { agent, via: cluster.host });
            }
        }
    }

    /// Whether a host is a cluster's.
    pub(crate) fn is_cluster(&self, host: HostId) -> bool {
        self.lock().table.cluster(host).is_some()
    }

    /// Whether a host that is no more was a cluster's.
    pub(crate) fn was_removed(&self, host: HostId) -> bool {
        let now = Timestamp::default();
        self.lock().table.share(host, host, now, now) == Share::OutOfTurn
    }

    /// An agent connected anew.
    pub(crate) fn connected(&self, agent: HostId) {
        self.lock().table.connected(agent);
    }

    /// See [`Table::share`].
    pub(crate) fn share(&self, host: HostId, agent: HostId, at: Timestamp, now: Timestamp) -> Share {
        self.lock().table.share(host, agent, at, now)
    }

    /// Holders, each with its cluster's host.
    fn holders(&self) -> Vec<(HostId, HostId)> {
        let inner = self.lock();
        inner.table.clusters().iter().filter_map(|cluster| Some((cluster.host, cluster.holder()?))).collect()
    }
}

impl Inner {
    /// Something changed that is to be kept, and told to all of a cluster.
    fn changed(&mut self, cluster: HostId) {
        self.unsaved = true;
        if let Some(cluster) = self.table.cluster(cluster) {
            self.tell.extend(cluster.members.keys());
        }
    }
}

impl Hub {
    /// Decides something about clusters, and then whose turn it is. Only with
    /// [`Hub::changing`] held.
    fn decide<R>(&self, decision: impl FnOnce() -> R) -> R {
        self.clusters.lock().deciding = true;
        let decided = decision();
        self.step_clusters();
        self.clusters.lock().deciding = false;
        self.records.arrived.notify_one();
        decided
    }

    /// An agent says which cluster its host belongs to. Blocks.
    pub(crate) fn take_claim(self: &Arc<Self>, agent: &Arc<Host>, peer: &str, claim: ClusterClaim) {
        let _order = self.changing();
        self.decide(|| {
            if let Err(error) = self.judge_claim(agent, peer, claim) {
                tracing::warn!(%error, host = %agent.id, "a cluster could not be given a host");
            }
            // What one says may be what another one waits for.
            self.judge_again(Some(agent.id));
            self.clusters.lock().tell.insert(agent.id);
        });
    }

    /// A host was given other roles.
    pub(crate) fn roles_changed(self: &Arc<Self>) {
        self.decide(|| self.judge_again(None));
    }

    /// Looks again at the claims that are not believed.
    fn judge_again(self: &Arc<Self>, but: Option<HostId>) {
        let waiting: Vec<_> = {
            let inner = self.clusters.lock();
            let waiting = inner.table.waiting().into_iter().filter(|host| Some(*host) != but);
            waiting.filter_map(|host| Some((host, inner.table.claim_of(host)?.clone()))).collect()
        };
        for (host, claim) in waiting {
            let Some(agent) = self.fleet.get(host) else { continue };
            if let Err(error) = self.judge_claim(&agent, "", claim) {
                tracing::warn!(%error, host = %host, "a cluster could not be given a host");
            }
            self.clusters.lock().tell.insert(host);
        }
    }

    fn judge_claim(self: &Arc<Self>, agent: &Arc<Host>, peer: &str, claim: ClusterClaim) -> Result<(), HubError> {
        let now = self.now();
        let who = {
            let state = agent.lock();
            if state.removed {
                return Ok(());
            }
            let has_role = state.record.roles.iter().any(|role| role == ROLE);
            Claimant { host: agent.id, name: state.record.name.clone(), has_role }
        };
        let by = Actor::new(format!("host:{}", who.name), Some(peer.to_owned()).filter(|peer| !peer.is_empty()));
        let verdict = {
            let mut inner = self.clusters.lock();
            let before = inner.table.clone();
            let verdict = inner.table.claim(&who, claim.clone(), now);
            inner.unsaved |= before.clusters() != inner.table.clusters();
            if let Verdict::Member { cluster, new, .. } = &verdict
                && *new
            {
                inner.changed(*cluster);
            }
            verdict
        };
        match verdict {
            Verdict::Nothing => {
                self.notices.clear(agent.id, Notice::ClusterWaits);
            }
            Verdict::Member { cluster, new, renamed } => {
                self.notices.clear(agent.id, Notice::ClusterWaits);
                if new {
                    self.note_member(agent.id, &who.name, cluster, &by, &claim);
                }
                if let Some(before) = renamed {
                    self.note_renamed(cluster, &before, &claim.name);
                }
            }
            Verdict::Waits(why) => {
                if self.notices.raise(agent.id, Notice::ClusterWaits) {
                    self.audit_later(&by, "cluster.claim", &claim.name, &format!("waits: {why}"), []);
                    let message = format!("{} says that it belongs to the cluster {:?}: {why}", who.name, claim.name);
                    let what = Occurrence::new(Some(agent.id), EventKind::CLUSTER_WAITS, Severity::Warning, message);
                    self.note(what.with("cluster", &claim.name).with("node", &claim.node));
                }
            }
            Verdict::Make => {
                self.notices.clear(agent.id, Notice::ClusterWaits);
                let (cluster, called) = self.make_cluster_host(&claim)?;
                {
                    let mut inner = self.clusters.lock();
                    inner.table.made(cluster, agent.id, now);
                    inner.changed(cluster);
                }
                let details = [("cluster", claim.name.clone()), ("id", claim.id.clone())];
                self.audit_later(&by, "cluster.make", called.as_str(), "ok", details);
                let message = format!("the cluster {} has a host of its own: {called}", claim.name);
                let what = Occurrence::new(Some(cluster), EventKind::CLUSTER_MADE, Severity::Info, message);
                self.note(what.with("cluster", &claim.name).with("by", &who.name));
            }
        }
        Ok(())
    }

    fn note_member(&self, agent: HostId, name: &HostName, cluster: HostId, by: &Actor, claim: &ClusterClaim) {
        let details = [("node", claim.node.clone()), ("cluster", claim.name.clone())];
        self.audit_later(by, "cluster.join", name.as_str(), "ok", details);
        tracing::info!(host = %agent, cluster = %cluster, node = claim.node, "a node of a cluster is known");
        self.tell_host(cluster);
        self.tell_host(agent);
    }

    fn note_renamed(&self, cluster: HostId, before: &str, after: &str) {
        let Some(host) = self.fleet.get(cluster) else { return };
        let name = {
            let mut state = host.lock();
            state.record.external_ids.insert(EXTERNAL.to_owned(), after.to_owned());
            state.record.name.clone()
        };
        self.records.host_changed(cluster);
        self.tell_host(cluster);
        let message = format!("the cluster {before} is now called {after}; its host keeps the name {name}");
        let what = Occurrence::new(Some(cluster), EventKind::CLUSTER_RENAMED, Severity::Info, message);
        self.note(what.with("from", before).with("to", after));
    }

    /// Makes the host, under the cluster's name or one like it.
    fn make_cluster_host(&self, claim: &ClusterClaim) -> Result<(HostId, HostName), HubError> {
        if self.fleet.len() >= self.config().limits.hosts {
            return Err(HubError::Conflict("there are as many hosts as the hub may have".to_owned()));
        }
        let wanted = HostName::normalised(&claim.name).map_or_else(|| "cluster".to_owned(), String::from);
        let name = (1..=10_000)
            .map(|number| if number == 1 { wanted.clone() } else { format!("{wanted:.90}-{number}") })
            .filter_map(|name| name.parse::<HostName>().ok())
            .find(|name| self.fleet.by_name(name).is_none());
        let name = name.ok_or_else(|| HubError::Invalid(format!("{:?} makes no name", claim.name)))?;
        let id = secrets::host_id(&*self.clock);
        let mut record = HostRecord::new(id, name.clone(), self.now());
        record.external_ids.insert(EXTERNAL.to_owned(), claim.name.clone());
        self.store.state.put_host(&record).map_err(crate::enrol::named)?;
        self.fleet.put(&Host::new(record, Latest::default(), HostClock::default()));
        self.tell_host(id);
        Ok((id, name))
    }

    /// Looks whose turn it should be, and keeps clusters' hosts as present as
    /// their holders are.
    pub(crate) fn step_clusters(&self) {
        let now = self.clock.now();
        let resolved = self.resolved();
        let timing = &resolved.config.presence;
        let presence = |host: HostId| {
            self.fleet.get(host).map_or(Presence::Never, |host| host.lock().signs.presence(now, self.started, timing))
        };
        let moved = {
            let mut inner = self.clusters.lock();
            let patience = std::time::Duration::from_millis(timing.offline.millis());
            let moved =
                inner.table.step(now.wall, now.boot_millis, patience, presence, |host| self.links.is_connected(host));
            for Moved { cluster, from, to, .. } in &moved {
                inner.changed(*cluster);
                inner.tell.extend(from);
                // Under the lock, so that two moves cannot cross.
                if let Some(agent) = *from {
                    self.fleet.drop_grant(Grant { agent, via: *cluster });
                }
                if let Some(agent) = *to {
                    self.fleet.put_grant(Grant { agent, via: *cluster });
                }
            }
            moved
        };
        for moved in &moved {
            self.note_moved(moved);
        }
        for (cluster, holder) in self.clusters.holders() {
            let (Some(cluster), Some(holder)) = (self.fleet.get(cluster), self.fleet.get(holder)) else { continue };
            let signs = holder.lock().signs.clone();
            let mut state = cluster.lock();
            if state.signs.heard_like(&signs) {
                state.record.first_seen_at.get_or_insert(now.wall);
                state.untouched = true;
            }
        }
        if !moved.is_empty() {
            self.records.arrived.notify_one();
        }
    }

    fn note_moved(&self, moved: &Moved) {
        let Moved { cluster, name, from, to, why } = moved;
        let called = |host: &Option<HostId>| {
            let host = (*host).and_then(|host| self.fleet.get(host));
            host.map_or_else(|| "nobody".to_owned(), |host| host.lock().record.name.to_string())
        };
        let (before, after) = (called(from), called(to));
        let details = [("agent", after.clone()), ("before", before.clone()), ("reason", (*why).to_owned())];
        self.audit_later(&Actor::hub(), "cluster.grant", &called(&Some(*cluster)), "ok", details);
        let (severity, message) = match (from, to) {
            (None, _) => (Severity::Info, format!("{after} reports for the cluster {name}")),
            (Some(_), Some(_)) => {
                (Severity::Warning, format!("{after} reports for the cluster {name} instead of {before}: {why}"))
            }
            (Some(_), None) => (Severity::Error, format!("nobody reports for the cluster {name}: {why}")),
        };
        let kind = if from.is_none() { EventKind::CLUSTER_GRANTED } else { EventKind::CLUSTER_MOVED };
        let what = Occurrence::new(Some(*cluster), kind, severity, message);
        self.note(what.with("agent", after).with("before", before).with("reason", why));
        self.tell_host(*cluster);
    }

    /// An administrator lets a host report for a cluster.
    pub(crate) fn admit_to_cluster(self: &Arc<Self>, agent: HostId, cluster: HostId) -> Result<(), HubError> {
        self.decide(|| {
            {
                let mut inner = self.clusters.lock();
                inner.table.admit(agent, cluster, self.now()).map_err(HubError::Conflict)?;
                inner.changed(cluster);
            }
            self.notices.clear(agent, Notice::ClusterWaits);
            self.judge_again(None);
            self.tell_host(agent);
            Ok(())
        })
    }

    /// An administrator takes a host out of a cluster. Whether it was in it.
    pub(crate) fn bar_from_cluster(self: &Arc<Self>, agent: HostId, cluster: HostId) -> bool {
        self.decide(|| {
            let mut inner = self.clusters.lock();
            let was = inner.table.bar(agent, cluster);
            inner.changed(cluster);
            drop(inner);
            self.tell_host(agent);
            was
        })
    }

    /// A host was removed.
    pub(crate) fn forget_in_clusters(self: &Arc<Self>, host: HostId) {
        self.decide(|| {
            let claims: Vec<_> = {
                let mut inner = self.clusters.lock();
                inner.unsaved = true;
                let cluster = inner.table.cluster(host);
                let members: Vec<_> =
                    cluster.map(|cluster| cluster.members.keys().copied().collect()).unwrap_or_default();
                inner.table.forget(host, self.now());
                inner.tell.extend(&members);
                members.into_iter().filter_map(|member| Some((member, inner.table.claim_of(member)?.clone()))).collect()
            };
            // The nodes are still there, and so is their cluster.
            for (member, claim) in claims {
                let Some(agent) = self.fleet.get(member) else { continue };
                if let Err(error) = self.judge_claim(&agent, "", claim) {
                    tracing::warn!(%error, host = %member, "a cluster could not be given a host");
                }
            }
            self.judge_again(None);
        });
    }

    /// Tells agents what was decided. It is durable.
    pub(crate) fn tell_clusters(&self, agents: Vec<HostId>) {
        for agent in agents {
            if !self.links.send(agent, Command::Cluster) && self.links.is_connected(agent) {
                // It has much to hear just now; with the next records, then.
                self.clusters.lock().tell.insert(agent);
            }
        }
    }

    /// The answer to an agent's claim.
    pub(crate) fn cluster_grant(&self, agent: HostId) -> Option<ClusterGrant> {
        let (id, name, host, holder, waits) = {
            let inner = self.clusters.lock();
            let id = inner.table.claim_of(agent)?.id.clone();
            let cluster = inner.table.cluster_of(agent).filter(|cluster| cluster.ids.contains(&id));
            let name = cluster.map(|cluster| cluster.name.clone()).unwrap_or_default();
            let holder = cluster.and_then(table::Cluster::holder);
            let waits = inner.table.waits(agent).unwrap_or_default().to_owned();
            (id, name, cluster.map(|cluster| cluster.host), holder, waits)
        };
        let is_holder = holder == Some(agent);
        let reason = match (host, holder) {
            (None, _) => waits,
            (Some(_), _) if is_holder => format!("it reports for the cluster {name}"),
            (Some(_), Some(other)) => {
                let other = self.fleet.get(other).map(|other| other.lock().record.name.to_string()).unwrap_or_default();
                format!("{other} reports for the cluster {name}")
            }
            (Some(_), None) => format!("nobody reports for the cluster {name}"),
        };
        let problems = host.filter(|_| is_holder).map(|host| self.standing_problems(host)).unwrap_or_default();
        Some(ClusterGrant { id, host, holder: is_holder, reason, problems })
    }

    /// What is wrong with a cluster, so that a new holder goes on from there
    /// and says nothing twice.
    fn standing_problems(&self, host: HostId) -> Vec<ClusterProblem> {
        let of_all = |_: &HostName, latest: &Latest| {
            let facets = latest.resources().flat_map(|(key, state)| state.facets.iter().map(move |facet| (key, facet)));
            let problems = facets.flat_map(|(key, (facet, state))| {
                let problems = state.assessment.iter().flat_map(|assessment| &assessment.problems);
                problems.map(move |problem| ClusterProblem {
                    resource: key.to_string(),
                    facet: facet.clone().into_owned(),
                    field: problem.field.clone().into_owned(),
                    status: problem.status,
                    since: problem.since,
                })
            });
            problems.take(PROBLEMS).collect()
        };
        self.with_latest(host, of_all).unwrap_or_default()
    }

    /// What is told of a cluster, on its own host.
    fn cluster_view(&self, host: HostId) -> Option<ClusterView> {
        let inner = self.clusters.lock();
        let cluster = inner.table.cluster(host)?;
        let holder = cluster.holder();
        let member = |(host, member): (&HostId, &table::Member)| {
            let claim = inner.table.claim_of(*host).filter(|claim| cluster.ids.contains(&claim.id));
            let state = match () {
                () if member.barred => MemberState::Barred,
                () if holder == Some(*host) => MemberState::Holder,
                () => MemberState::StandBy,
            };
            let called = self.fleet.get(*host).map(|host| host.lock().record.name.to_string()).unwrap_or_default();
            let quorate = claim.map(|claim| claim.quorate);
            ClusterMember { host: *host, called, node: member.node.clone(), state, quorate }
        };
        let turn = cluster.turns.last().filter(|turn| turn.until.is_none());
        Some(ClusterView {
            name: cluster.name.clone(),
            id: cluster.ids.last().cloned().unwrap_or_default(),
            since: turn.map(|turn| turn.since),
            members: cluster.members.iter().map(member).collect(),
        })
    }

    fn node_view(&self, host: HostId) -> Option<NodeView> {
        let inner = self.clusters.lock();
        let waits = inner.table.waits(host).unwrap_or_default().to_owned();
        if let Some(cluster) = inner.table.cluster_of(host) {
            return Some(NodeView { name: cluster.name.clone(), host: Some(cluster.host), waits });
        }
        let claim = inner.table.claim_of(host)?;
        Some(NodeView { name: claim.name.clone(), host: None, waits })
    }

    /// A host's view with what it has to do with clusters.
    pub(crate) fn with_cluster(&self, mut view: HostView) -> HostView {
        view.cluster = self.cluster_view(view.id);
        view.node_of = self.node_view(view.id);
        view
    }
}
