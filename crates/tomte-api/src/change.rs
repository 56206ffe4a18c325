//! Changes of state: what came, went, was judged or described otherwise.

use serde::{Deserialize, Serialize};
use tomte_model::{HostId, Timestamp, Value as Scalar};

/// Something that changed. Readings are not among it: see [`crate::history`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// When it was seen.
    pub at: Timestamp,
    /// The host by its present name.
    pub host: String,
    /// The host by id.
    pub host_id: HostId,
    /// The resource's kind; null for the host itself.
    #[serde(default)]
    pub kind: Option<String>,
    /// The resource's name; null for the host itself.
    #[serde(default)]
    pub name: Option<String>,
    /// What sort: `appeared`, `gone`, `status`, `reason`, `attribute`,
    /// `unreadable`, `readable`, `presence`, `host`.
    pub what: String,
    /// Which attribute, which part could not be read, or what of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Scalar>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Scalar>,
    /// Why, in words; empty where there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Which changes, and from where on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Of these hosts, by name, alias or id; empty: of all.
    pub hosts: Vec<String>,
    /// Of resources of these kinds; empty: of all, and of hosts.
    pub kinds: Vec<String>,
    /// Of these sorts; empty: all.
    pub what: Vec<String>,
    /// From this time on: RFC 3339, milliseconds since 1970, or `-24h`.
    pub from: Option<String>,
    /// Until this time.
    pub to: Option<String>,
    /// The newest first, instead of the oldest.
    pub newest_first: bool,
    /// How many at most.
    pub limit: Option<usize>,
    /// Where the page before ended: its `next`.
    pub cursor: Option<String>,
}

impl ChangeFilter {
    /// The pairs of the query string, not yet encoded.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        pairs.extend(self.hosts.iter().map(|host| ("host", host.clone())));
        pairs.extend(self.kinds.iter().map(|kind| ("kind", kind.clone())));
        pairs.extend(self.what.iter().map(|what| ("what", what.clone())));
        pairs.extend(self.from.iter().map(|from| ("from", from.clone())));
        pairs.extend(self.to.iter().map(|to| ("to", to.clone())));
        pairs.extend(self.newest_first.then(|| ("order", "newest".to_owned())));
        pairs.extend(self.limit.iter().map(|limit| ("limit", limit.to_string())));
        pairs.extend(self.cursor.iter().map(|cursor| ("cursor", cursor.clone())));
        pairs
    }
}
