//! Which clusters there are, who belongs to them, and whose turn it is to
//! report: a state machine that is given the time, and who is there.
//!
//! A **claim** is what an agent says of itself and believed only as far as
//! somebody else vouches for it; see [`Table::claim`]. A **turn** is the time in
//! which one agent reports for a cluster's host. Turns are numbered, so that
//! what several agents bring can be ordered, and those that have ended are
//! remembered: what an agent read in its own turn is taken from it also later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tomte_api::host::Presence;
use tomte_link::ClusterClaim;
use tomte_model::{HostId, HostName, Timestamp};

/// The role that lets a host's agent make a host for its cluster.
pub(crate) const ROLE: &str = "proxmox";
/// So many turns of a cluster are remembered.
const TURNS: usize = 64;
/// So many clusters one host may make: more is no homelab but a mistake.
const MADE: usize = 4;
/// Agents' clocks may be off by this without being replaced by the hub's.
const SLACK: Duration = Duration::from_secs(60);

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// Its own host.
    pub(crate) host: HostId,
    /// What its nodes know it by: the newest last.
    pub(crate) ids: Vec<String>,
    /// What it is called.
    pub(crate) name: String,
    /// Whose claim it was made for.
    made_by: HostId,
    pub(crate) members: BTreeMap<HostId, Member>,
    /// The newest last; it goes on while it has no end.
    pub(crate) turns: Vec<Turn>,
}

/// A host that belongs to a cluster, or sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Which node it is; empty: none, it sees the cluster from elsewhere.
    pub(crate) node: String,
    /// The nodes that it named: it vouches for them.
    nodes: BTreeSet<String>,
    /// Taken out by an administrator.
    pub(crate) barred: bool,
}

/// Whose turn it was, from when to when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) number: u64,
    pub(crate) agent: HostId,
    pub(crate) since: Timestamp,
    pub(crate) until: Option<Timestamp>,
}

/// Who makes a claim, as an administrator named it.
#[derive(Debug, Clone)]
pub(crate) struct Claimant {
    pub(crate) host: HostId,
    pub(crate) name: HostName,
    pub(crate) has_role: bool,
}

/// What comes of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The host belongs to the cluster of that host.
    Member {
        /// The cluster's own host.
        cluster: HostId,
        /// Whether it was let in just now.
        new: bool,
        /// What the cluster was called before, if that has changed.
        renamed: Option<String>,
    },
    /// It is to be made a host of its own: see [`Table::made`].
    Make,
    /// It is not believed yet; why, and what to do.
    Waits(String),
    /// It belongs to none.
    Nothing,
}

/// How a report relates to the turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// The host is no cluster's.
    NoCluster,
    /// It was read in that turn of the agent.
    Turn(u64),
    /// Another one told of that time.
    OutOfTurn,
    /// The agent never had to do with the cluster.
    Stranger,
}

/// A turn began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) cluster: HostId,
    pub(crate) name: String,
    pub(crate) from: Option<HostId>,
    /// `None`: nobody is left.
    pub(crate) to: Option<HostId>,
    pub(crate) why: &'static str,
}

/// All clusters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    clusters: Vec<Cluster>,
    /// Hosts of clusters that were removed: agents may still bring something
    /// for them.
    #[serde(default)]
    removed: VecDeque<HostId>,
    /// What connected agents say.
    #[serde(skip)]
    claims: BTreeMap<HostId, ClusterClaim>,
    /// Claims that are not believed.
    #[serde(skip)]
    waiting: BTreeMap<HostId, String>,
    /// Holders that are connected and claim nothing, since when by the hub's
    /// boot clock.
    #[serde(skip)]
    silent: BTreeMap<HostId, u64>,
}

fn is_gone(presence: Presence) -> bool {
    matches!(presence, Presence::Offline | Presence::Never)
}

impl Cluster {
    /// Whose turn it is.
    pub(crate) fn holder(&self) -> Option<HostId> {
        self.turns.last().filter(|turn| turn.until.is_none()).map(|turn| turn.agent)
    }

    fn is_member(&self, host: HostId) -> bool {
        self.members.get(&host).is_some_and(|member| !member.barred)
    }

    fn vouches_for(&self, node: &str) -> bool {
        self.members.values().any(|member| !member.barred && member.nodes.contains(node))
    }

    fn end_turn(&mut self, now: Timestamp) {
        if let Some(turn) = self.turns.last_mut() {
            turn.until.get_or_insert(now);
        }
    }

    fn begin_turn(&mut self, agent: HostId, now: Timestamp) {
        self.end_turn(now);
        let number = self.turns.last().map_or(1, |turn| turn.number + 1);
        self.turns.push(Turn { number, agent, since: now, until: None });
        if self.turns.len() > TURNS {
            self.turns.remove(0);
        }
    }
}

impl Member {
    fn of(claim: &ClusterClaim) -> Self {
        Self { node: claim.node.clone(), nodes: claim.nodes.iter().cloned().collect(), barred: false }
    }
}

impl Claimant {
    /// Whether an administrator called the host like the node: `pve1`, or
    /// `pve1.home`.
    fn is_called(&self, node: &str) -> bool {
        let name = self.name.as_str();
        HostName::normalised(node)
            .is_some_and(|node| name == node.as_str() || name.split('.').next() == Some(node.as_str()))
    }
}

impl Table {
    pub(crate) fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// The cluster that has that host of its own.
    pub(crate) fn cluster(&self, host: HostId) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.host == host)
    }

    fn cluster_mut(&mut self, host: HostId) -> Option<&mut Cluster> {
        self.clusters.iter_mut().find(|cluster| cluster.host == host)
    }

    /// The cluster that a host belongs to.
    pub(crate) fn cluster_of(&self, member: HostId) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.is_member(member))
    }

    pub(crate) fn claim_of(&self, host: HostId) -> Option<&ClusterClaim> {
        self.claims.get(&host)
    }

    /// Why a host's claim is not believed.
    pub(crate) fn waits(&self, host: HostId) -> Option<&str> {
        self.waiting.get(&host).map(String::as_str)
    }

    /// Whose claims are not believed.
    pub(crate) fn waiting(&self) -> Vec<HostId> {
        self.waiting.keys().copied().collect()
    }

    /// An agent connected; what it said on an earlier connection is void.
    pub(crate) fn connected(&mut self, host: HostId) {
        self.claims.remove(&host);
        self.waiting.remove(&host);
    }

    /// An agent says which cluster its host belongs to. Whoever holds a token
    /// can say so; what it may do with it is decided by what others say:
    ///
    /// - A host for a cluster that is not known yet is made for hosts with the
    ///   role `proxmox` alone, which only an administrator can give.
    /// - Who claims to be a node of a known cluster is believed when a member
    ///   of the cluster names that node, no other host is that node, and an
    ///   administrator called the host like it or gave it the role.
    /// - Everybody else waits for an administrator to grant it.
    pub(crate) fn claim(&mut self, who: &Claimant, claim: ClusterClaim, now: Timestamp) -> Verdict {
        let host = who.host;
        self.waiting.remove(&host);
        if claim.id.is_empty() {
            self.claims.remove(&host);
            self.leave(host, None, now);
            return Verdict::Nothing;
        }
        self.claims.insert(host, claim.clone());
        let verdict = self.judge(who, &claim);
        match &verdict {
            Verdict::Member { cluster, .. } => {
                let cluster = *cluster;
                self.leave(host, Some(cluster), now);
                if let Some(cluster) = self.cluster_mut(cluster) {
                    cluster.members.insert(host, Member::of(&claim));
                    cluster.name.clone_from(&claim.name);
                }
            }
            Verdict::Waits(why) => {
                self.waiting.insert(host, why.clone());
            }
            Verdict::Make | Verdict::Nothing => {}
        }
        verdict
    }

    fn judge(&self, who: &Claimant, claim: &ClusterClaim) -> Verdict {
        let (host, name, node) = (who.host, &who.name, &claim.node);
        let Some(known) = self.clusters.iter().find(|cluster| cluster.ids.contains(&claim.id)) else {
            return self.judge_unknown(who, claim);
        };
        let cluster = known.host;
        let grant = format!("tomte host grant {name} {cluster}");
        if let Some(member) = known.members.get(&host) {
            if member.barred {
                return Verdict::Waits(format!(
                    "it was taken out of the cluster {}; to let it in: {grant}",
                    known.name
                ));
            }
            let renamed = (known.name != claim.name).then(|| known.name.clone());
            // A member may not become another node of its own accord.
            let same = member.node == *node || member.node.is_empty();
            return match same {
                true => Verdict::Member { cluster, new: false, renamed },
                false => {
                    Verdict::Waits(format!("it was the node {} and says now that it is {node:?}: {grant}", member.node))
                }
            };
        }
        if node.is_empty() {
            let what = "it sees the cluster from elsewhere, and nobody vouches for that";
            return Verdict::Waits(format!("{what}; to let it report: {grant}"));
        }
        if known.members.values().any(|member| member.node == *node) {
            return Verdict::Waits(format!("another host is the node {node} already; if it is this one: {grant}"));
        }
        if !known.vouches_for(node) {
            return Verdict::Waits(format!(
                "no node of the cluster {} knows a node {node}; if it is one: {grant}",
                known.name
            ));
        }
        if !who.is_called(node) && !who.has_role {
            return Verdict::Waits(format!(
                "it says that it is the node {node}, but is called {name}; if it is that: {grant}"
            ));
        }
        Verdict::Member { cluster, new: true, renamed: None }
    }

    fn judge_unknown(&self, who: &Claimant, claim: &ClusterClaim) -> Verdict {
        let Claimant { host, name, has_role } = who;
        if let Some(known) = self.cluster_of(*host).filter(|known| known.name == claim.name) {
            return Verdict::Waits(format!(
                "its cluster {} has another certificate authority than before; if it is the same cluster: tomte host \
                 grant {name} {}",
                known.name, known.host
            ));
        }
        if !has_role {
            return Verdict::Waits(format!(
                "to give the cluster {:?} a host of its own, which keeps the history of guests that move: tomte host \
                 role {name} {ROLE}",
                claim.name
            ));
        }
        if self.clusters.iter().filter(|cluster| cluster.made_by == *host).count() >= MADE {
            return Verdict::Waits(format!("{MADE} clusters were made for it already; remove those that are gone"));
        }
        Verdict::Make
    }

    /// The host for a cluster was made, for the claim of that agent.
    pub(crate) fn made(&mut self, cluster: HostId, by: HostId, now: Timestamp) {
        let Some(claim) = self.claims.get(&by).cloned() else { return };
        self.leave(by, None, now);
        self.clusters.push(Cluster {
            host: cluster,
            ids: vec![claim.id.clone()],
            name: claim.name.clone(),
            made_by: by,
            members: BTreeMap::from([(by, Member::of(&claim))]),
            turns: Vec::new(),
        });
    }

    /// An administrator lets a host report for a cluster, whatever speaks
    /// against it. What it calls the cluster by counts from now on.
    ///
    /// # Errors
    /// In words, when it claims to belong to another cluster.
    pub(crate) fn admit(&mut self, host: HostId, cluster: HostId, now: Timestamp) -> Result<(), String> {
        let claim = self.claims.get(&host).cloned().unwrap_or_default();
        let other = self.clusters.iter().find(|other| other.host != cluster && other.ids.contains(&claim.id));
        if let Some(other) = other {
            return Err(format!("it belongs to the cluster {}", other.name));
        }
        self.leave(host, Some(cluster), now);
        self.waiting.remove(&host);
        let Some(known) = self.cluster_mut(cluster) else { return Ok(()) };
        known.members.insert(host, Member::of(&claim));
        if !claim.id.is_empty() && !known.ids.contains(&claim.id) {
            known.ids.push(claim.id);
        }
        Ok(())
    }

    /// An administrator takes a host out of a cluster. Whether it was in it.
    pub(crate) fn bar(&mut self, host: HostId, cluster: HostId) -> bool {
        let Some(member) = self.cluster_mut(cluster).and_then(|known| known.members.get_mut(&host)) else {
            return false;
        };
        !std::mem::replace(&mut member.barred, true)
    }

    /// A host is gone: it is in no cluster, and has none.
    pub(crate) fn forget(&mut self, host: HostId, now: Timestamp) {
        self.claims.remove(&host);
        self.waiting.remove(&host);
        if self.cluster(host).is_some() {
            self.clusters.retain(|cluster| cluster.host != host);
            self.removed.push_back(host);
            if self.removed.len() > TURNS {
                self.removed.pop_front();
            }
        }
        for cluster in &mut self.clusters {
            cluster.members.remove(&host);
            if cluster.holder() == Some(host) {
                cluster.end_turn(now);
            }
        }
    }

    /// Takes a host out of all clusters but one.
    fn leave(&mut self, host: HostId, but: Option<HostId>, now: Timestamp) {
        for cluster in self.clusters.iter_mut().filter(|cluster| Some(cluster.host) != but) {
            // Whom an administrator took out stays out.
            if cluster.is_member(host) {
                cluster.members.remove(&host);
                if cluster.holder() == Some(host) {
                    cluster.end_turn(now);
                }
            }
        }
    }

    /// Looks whose turn it should be.
    ///
    /// A holder keeps its turn for as long as it is not offline, also while
    /// it is away for a moment, and also when a better one comes; it loses it
    /// to one that can read the cluster or has a quorum where it has not. Who
    /// has lost it gets it back in the same way alone.
    pub(crate) fn step(
        &mut self,
        now: Timestamp,
        boot_millis: u64,
        patience: Duration,
        presence: impl Fn(HostId) -> Presence,
        is_connected: impl Fn(HostId) -> bool,
    ) -> Vec<Moved> {
        let mut moved = Vec::new();
        let (claims, silent) = (&self.claims, &mut self.silent);
        for cluster in &mut self.clusters {
            let fitness = |host: HostId| {
                let claim = claims.get(&host).filter(|claim| cluster.ids.contains(&claim.id))?;
                // A connection may outlive its agent by a while.
                let is_there = is_connected(host) && !is_gone(presence(host));
                is_there.then_some((claim.readable, claim.quorate))
            };
            let holder = cluster.holder();
            let best = cluster
                .members
                .iter()
                .filter(|(_, member)| !member.barred)
                .filter_map(|(host, member)| {
                    let fit = fitness(*host)?;
                    Some(((fit, holder == Some(*host), !member.node.is_empty(), std::cmp::Reverse(*host)), *host, fit))
                })
                .max()
                .map(|(_, host, fit)| (host, fit));
            let next = best.map(|(host, _)| host).filter(|host| holder != Some(*host));
            let (why, ends) = match holder {
                None => ("it has no other", false),
                Some(holder) if !cluster.is_member(holder) => ("the one before does not belong to it any more", true),
                Some(holder) if is_gone(presence(holder)) => ("the one before is offline", false),
                Some(holder) => match fitness(holder) {
                    Some((readable, quorate)) => {
                        silent.remove(&cluster.host);
                        match best {
                            Some((_, (other, _))) if other && !readable => ("the one before cannot read it", false),
                            Some((_, fit)) if fit > (readable, quorate) => ("the one before has no quorum", false),
                            _ => continue,
                        }
                    }
                    // Away for a moment, or an agent that does not know clusters.
                    None if is_connected(holder) => {
                        let since = *silent.entry(cluster.host).or_insert(boot_millis);
                        if u128::from(boot_millis.saturating_sub(since)) < patience.as_millis() {
                            continue;
                        }
                        ("the one before says nothing of it", false)
                    }
                    None => continue,
                },
            };
            match next {
                Some(next) => {
                    silent.remove(&cluster.host);
                    cluster.begin_turn(next, now);
                }
                // With nobody to take over, the turn goes on when the holder
                // comes back.
                None if !ends => continue,
                None => cluster.end_turn(now),
            }
            moved.push(Moved { cluster: cluster.host, name: cluster.name.clone(), from: holder, to: next, why });
        }
        moved
    }

    /// Whether what an agent read at a time counts.
    pub(crate) fn share(&self, host: HostId, agent: HostId, at: Timestamp, now: Timestamp) -> Share {
        let Some(cluster) = self.cluster(host) else {
            return if self.removed.contains(&host) { Share::OutOfTurn } else { Share::NoCluster };
        };
        let covers = |turn: &Turn| at >= turn.since.minus(SLACK) && turn.until.is_none_or(|until| at < until);
        let own = cluster.turns.iter().rev().filter(|turn| turn.agent == agent);
        if let Some(turn) = own.clone().find(|turn| covers(turn)) {
            return Share::Turn(turn.number);
        }
        if let Some(present) = cluster.turns.last().filter(|turn| turn.agent == agent && turn.until.is_none()) {
            // Should the hub's clock have gone back, what is read now still counts.
            let is_live = at.plus(SLACK) >= now;
            let others_tell = cluster.turns.iter().any(|turn| turn.agent != agent && covers(turn));
            if is_live || !others_tell {
                return Share::Turn(present.number);
            }
        }
        let known = cluster.members.contains_key(&agent) || own.count() > 0;
        if known { Share::OutOfTurn } else { Share::Stranger }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
