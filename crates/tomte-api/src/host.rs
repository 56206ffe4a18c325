//! Hosts: what is known of each, and how they are added and managed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tomte_model::{HostId, Problem, Status, Timestamp};

/// Whether a host's agent is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Presence {
    /// Connected, and heard of within the last 45 s.
    Online,
    /// Not heard of for 45 s.
    Late,
    /// Not heard of for 90 s.
    Offline,
    /// Known by name, but never heard of.
    Never,
}

impl Presence {
    /// The word for it, lower-case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Late => "late",
            Self::Offline => "offline",
            Self::Never => "never",
        }
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A host, as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Host {
    /// Its identity for all its life.
    pub id: HostId,
    /// Its name, for people; may change.
    pub name: String,
    /// Other names it answers to, former ones included.
    pub aliases: Vec<String>,
    /// What it is for: `storage`, `web`.
    pub roles: Vec<String>,
    /// What other systems call it, by system: `pve_node`.
    #[serde(default)]
    pub external_ids: BTreeMap<String, String>,
    /// The hosts whose agents may report for it; empty for most.
    #[serde(default)]
    pub via: Vec<HostId>,
    /// Whether its agent is heard.
    pub presence: Presence,
    /// The worst of its resources, and of itself; null when nothing judges it.
    pub status: Option<Status>,
    /// Why, in words; empty when all is well.
    pub reason: String,
    /// Everything that is wrong, worst first; `field` is `kind:name/field`.
    pub problems: Vec<Problem>,
    /// When its agent was last heard; null: never.
    pub last_seen_at: Option<Timestamp>,
    /// When the hub learnt of it.
    pub created_at: Timestamp,
    /// Its agent's version, as far as known.
    #[serde(default)]
    pub agent_version: Option<String>,
    /// How far its clock is ahead of the hub's, in seconds.
    #[serde(default)]
    pub skew_seconds: Option<f64>,
    /// Whether its clock is disciplined by NTP or the like.
    #[serde(default)]
    pub clock_synchronised: Option<bool>,
    /// How many resources are known of it.
    #[serde(default)]
    pub resources: u64,
    /// Reports that wait in its agent's outbox.
    #[serde(default)]
    pub backlog: u64,
    /// Of a cluster's own host: the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// Of a node: the cluster it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_of: Option<ClusterOfHost>,
}

/// Whether a host reports for its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum MemberState {
    /// It reports for it.
    Holder,
    /// It takes over when the holder is offline.
    StandBy,
    /// An administrator took it out.
    Barred,
}

impl MemberState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Holder => "holder",
            Self::StandBy => "stand-by",
            Self::Barred => "taken out",
        }
    }
}

/// A cluster of Proxmox VE, on the host that is its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cluster {
    /// What it is called.
    pub name: String,
    /// What its nodes know it by: the SHA-256 of its certificate authority.
    pub id: String,
    /// Since when the present holder reports for it; null: nobody does.
    pub since: Option<Timestamp>,
    /// The hosts whose agents may report for it, one at a time.
    pub members: Vec<ClusterMember>,
}

/// A host whose agent may report for a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterMember {
    /// The host.
    pub host_id: HostId,
    /// Its name.
    pub name: String,
    /// Which node it is; empty: none, it sees the cluster from elsewhere.
    pub node: String,
    /// Whether it reports.
    pub state: MemberState,
    /// Whether it has a quorum; null while its agent is away.
    pub quorate: Option<bool>,
}

/// The cluster that a host says it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterOfHost {
    /// What it is called.
    pub name: String,
    /// The cluster's own host; null while it has none, or the host is not
    /// believed.
    pub host_id: Option<HostId>,
    /// Why not, and what an administrator can do; else empty.
    pub waits: String,
}

/// Asks for an enrolment code for a new host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AddHost {
    /// What the host is to be called.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// A single-use code that lets one agent in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Enrolment {
    /// The name that the host will have.
    pub name: String,
    /// The code: a secret, and the hub's identity to check.
    pub code: String,
    /// The line to paste on the new host.
    pub line: String,
    /// When the code stops working.
    pub expires_at: Timestamp,
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment")
            .field("name", &self.name)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What an agent sends to be let in, once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrolRequest {
    /// The secret of the enrolment code, base64url without padding.
    pub secret: String,
    /// The identity that the agent made at its first start.
    pub host_id: HostId,
    /// What the machine calls itself; becomes an alias if it is free.
    pub hostname: String,
    /// The public half of the agent's key pair, base64url without padding.
    pub public_key: String,
    /// The agent's version.
    pub agent_version: String,
}

impl fmt::Debug for EnrolRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolRequest")
            .field("host_id", &self.host_id)
            .field("hostname", &self.hostname)
            .field("agent_version", &self.agent_version)
            .finish_non_exhaustive()
    }
}

/// The answer to an agent that was let in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Enrolled {
    /// The host's identity.
    pub host_id: HostId,
    /// The host's name.
    pub name: String,
    /// The bearer token for `/link`; shown this once.
    pub token: String,
}

impl fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolled").field("host_id", &self.host_id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A host's new name; the old one stays an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RenameHost {
    /// The name.
    pub name: String,
}

/// One more name for a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AddAlias {
    /// The alias.
    pub alias: String,
}

/// All roles of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetRoles {
    /// The roles; those that are not named are taken away.
    pub roles: Vec<String>,
}

/// Lets a host's agent report for another host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GrantVia {
    /// The host to report for: a name, an alias or an id. A name that is not
    /// known yet makes a new host.
    pub via: String,
}

/// A host for which another host's agent may report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Grant {
    /// The host that is reported for.
    pub host_id: HostId,
    /// Its name.
    pub name: String,
}

/// A host's new bearer token. The old one works until this one is first used.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostToken {
    /// The token; shown this once.
    pub token: String,
}

impl fmt::Debug for HostToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostToken").finish_non_exhaustive()
    }
}

/// Asks a host's agent to read now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refresh {
    /// Which collectors; empty: all of them.
    #[serde(default)]
    pub collectors: Vec<String>,
}

/// Settings that the hub pushes to a host. The host's own file wins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostSettings {
    /// Counts the changes.
    pub revision: u64,
    /// The revision that the agent last answered for, if any.
    #[serde(default)]
    pub applied_revision: Option<u64>,
    /// The values by dotted key: `{"intervals.fast": "5s"}`.
    pub values: BTreeMap<String, serde_json::Value>,
    /// What the host does not take, and why, by key.
    #[serde(default)]
    pub refused: BTreeMap<String, String>,
}

/// Replaces all settings that the hub pushes to a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetHostSettings {
    /// The values by dotted key.
    pub values: BTreeMap<String, serde_json::Value>,
}
