//! What to leave out of lists.

use tomte_model::{Severity, Status};

/// Which resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceFilter {
    /// Of these hosts, by name, alias or id; empty: of all.
    pub hosts: Vec<String>,
    /// Of these kinds; empty: of all.
    pub kinds: Vec<String>,
    /// Of these statuses; empty: of all.
    pub statuses: Vec<Status>,
    /// With this text in the host's or their name, an attribute or the reason.
    pub text: Option<String>,
    /// How many at most; all of them when absent.
    pub limit: Option<usize>,
}

impl ResourceFilter {
    /// The pairs of the query string, not yet encoded.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        pairs.extend(self.hosts.iter().map(|host| ("host", host.clone())));
        pairs.extend(self.kinds.iter().map(|kind| ("kind", kind.clone())));
        pairs.extend(self.statuses.iter().map(|status| ("status", status.to_string())));
        pairs.extend(self.text.iter().map(|text| ("q", text.clone())));
        pairs
    }
}

/// Which events, and from where on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of these hosts, by name, alias or id; empty: of all, and of the hub.
    pub hosts: Vec<String>,
    /// Of these types; empty: of all.
    pub kinds: Vec<String>,
    /// At least this severe.
    pub severity: Option<Severity>,
    /// About this, usually `kind:name`.
    pub subject: Option<String>,
    /// From this time on: RFC 3339, milliseconds since 1970, or `-24h`.
    pub from: Option<String>,
    /// Until this time.
    pub to: Option<String>,
    /// Oldest first, those after this receipt number; newest first when absent.
    pub after: Option<u64>,
    /// How many at most.
    pub limit: Option<usize>,
    /// Where the page before ended: its `next`.
    pub cursor: Option<String>,
}

impl EventFilter {
    /// The pairs of the query string, not yet encoded.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        pairs.extend(self.hosts.iter().map(|host| ("host", host.clone())));
        pairs.extend(self.kinds.iter().map(|kind| ("type", kind.clone())));
        pairs.extend(self.severity.iter().map(|severity| ("severity", severity.to_string())));
        pairs.extend(self.subject.iter().map(|subject| ("subject", subject.clone())));
        pairs.extend(self.from.iter().map(|from| ("from", from.clone())));
        pairs.extend(self.to.iter().map(|to| ("to", to.clone())));
        pairs.extend(self.after.iter().map(|after| ("after", after.to_string())));
        pairs.extend(self.limit.iter().map(|limit| ("limit", limit.to_string())));
        pairs.extend(self.cursor.iter().map(|cursor| ("cursor", cursor.clone())));
        pairs
    }
}
