//! Which topic carries what.

use tomte_model::ResourceKey;

use crate::names::level;

/// The topics of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// `tomte/nas`, without a slash at its end.
    root: String,
}

impl Topics {
    /// Of that host, below `prefix`.
    #[must_use]
    pub fn new(prefix: &str, host: &str) -> Self {
        Self { root: format!("{prefix}/{}", level(host)) }
    }

    /// What all of them begin with, the slash included.
    #[must_use]
    pub fn root(&self) -> String {
        format!("{}/", self.root)
    }

    /// `online` or `offline`.
    #[must_use]
    pub fn availability(&self) -> String {
        format!("{}/availability", self.root)
    }

    /// How the host stands, as JSON.
    #[must_use]
    pub fn status(&self) -> String {
        format!("{}/status", self.root)
    }

    /// What happens, each as JSON; not retained.
    #[must_use]
    pub fn events(&self) -> String {
        format!("{}/events", self.root)
    }

    /// Where requests to run something come in.
    #[must_use]
    pub fn commands(&self) -> String {
        format!("{}/commands", self.root)
    }

    /// What came of them; not retained.
    #[must_use]
    pub fn responses(&self) -> String {
        format!("{}/responses", self.root)
    }

    /// A resource's own part, without a slash at its end.
    #[must_use]
    pub fn resource(&self, resource: &ResourceKey) -> String {
        format!("{}/{}/{}", self.root, level(&resource.kind), level(&resource.name))
    }

    /// One value of a resource: a field, an attribute, or `status`.
    #[must_use]
    pub fn value(&self, resource: &ResourceKey, field: &str) -> String {
        format!("{}/{}", self.resource(resource), level(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_resources_make_no_levels_of_their_own() {
        let topics = Topics::new("tomte", "nas");
        let root = ResourceKey::new("filesystem", "/mnt/#");
        assert_eq!(topics.value(&root, "used_ratio"), "tomte/nas/filesystem/%2Fmnt%2F%23/used_ratio");
        assert_eq!(topics.availability(), "tomte/nas/availability");
    }
}
