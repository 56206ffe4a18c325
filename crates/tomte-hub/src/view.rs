//! What the hub tells about hosts, as plain values.

use std::collections::{BTreeMap, BTreeSet};

pub use tomte_api::host::MemberState;
use tomte_api::host::Presence;
use tomte_model::{Assessment, BootId, HostId, HostName, Timestamp};

/// A host as a whole, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HostView {
    /// Its identity for all its life.
    pub id: HostId,
    /// Its name, for people.
    pub name: HostName,
    /// Other names it answers to.
    pub aliases: BTreeSet<HostName>,
    /// What it is for.
    pub roles: BTreeSet<String>,
    /// What other systems call it, by system.
    pub external_ids: BTreeMap<String, String>,
    /// The hosts whose agents may report for it; empty for most.
    pub via: Vec<HostId>,
    /// Whether its agent is heard.
    pub presence: Presence,
    /// The worst of its resources and of its own silence; `None` when nothing judges it.
    pub assessment: Option<Assessment>,
    /// When its agent was last heard.
    pub last_seen_at: Option<Timestamp>,
    /// When the hub learnt of it.
    pub created_at: Timestamp,
    /// Its agent's version.
    pub agent_version: Option<String>,
    /// The boot it is in, as far as known.
    pub boot_id: Option<BootId>,
    /// How far its clock is ahead of the hub's, in milliseconds.
    pub skew_millis: Option<i64>,
    /// Whether its clock is disciplined by NTP or the like.
    pub clock_synchronised: Option<bool>,
    /// Whether it publishes to an MQTT broker of its own.
    pub publishes_mqtt: bool,
    /// How many resources are known of it.
    pub resources: usize,
    /// Reports that wait in its agent's outbox, as last told.
    pub backlog_reports: u64,
    /// Of a cluster's own host: the cluster.
    pub cluster: Option<ClusterView>,
    /// The cluster that the host belongs to.
    pub node_of: Option<NodeView>,
}

/// A cluster, as its own host tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    /// What it is called.
    pub name: String,
    /// What its nodes know it by.
    pub id: String,
    /// Since when the holder reports for it.
    pub since: Option<Timestamp>,
    /// Who may report for it.
    pub members: Vec<ClusterMember>,
}

/// A host whose agent may report for a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterMember {
    /// The host.
    pub host: HostId,
    /// Its name.
    pub called: String,
    /// Which node it is; empty: none, it sees the cluster from elsewhere.
    pub node: String,
    /// Whether it does.
    pub state: MemberState,
    /// Whether it has a quorum, as far as it is heard.
    pub quorate: Option<bool>,
}

/// A cluster that a host says it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// What it is called.
    pub name: String,
    /// The cluster's own host, if there is one.
    pub host: Option<HostId>,
    /// Why not, and what to do.
    pub waits: String,
}

/// A line to paste on a new host.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The name that the host will have.
    pub name: HostName,
    /// The code: a secret, and the hub's identity to check.
    pub code: String,
    /// The line to paste: `tomte-agent enroll URL --code CODE`.
    pub line: String,
    /// When the code stops working.
    pub expires_at: Timestamp,
}

/// What an agent brings to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolRequest {
    /// The secret of the code, 16 bytes.
    pub secret: Vec<u8>,
    /// The identity that the agent made at its first start.
    pub host: HostId,
    /// What the machine calls itself; becomes an alias if it is free.
    pub hostname: String,
    /// The public half of the agent's key pair.
    pub public_key: Vec<u8>,
    /// The agent's version.
    pub agent_version: String,
}

/// An agent that was let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The host's identity.
    pub host: HostId,
    /// The host's name.
    pub name: HostName,
    /// The bearer token for `/link`; told this once.
    pub token: String,
}

/// The settings that the hub pushes to a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// Counts the changes.
    pub revision: u64,
    /// TOML values by dotted key: `intervals.fast` = `"5s"` (with its quotes).
    pub values: BTreeMap<String, String>,
    /// The revision that the agent last answered for.
    pub answered_revision: Option<u64>,
    /// What the host does not take, and why.
    pub refused: BTreeMap<String, String>,
}
