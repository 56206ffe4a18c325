//! What is asked of Proxmox VE: a closed list of paths to read, each with its
//! arguments checked, for `pvesh get` and for the web API alike.

use serde::{Deserialize, Serialize};

use crate::Root;

/// Something to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProxmoxGet {
    /// The cluster, its quorum and its nodes.
    ClusterStatus,
    /// Nodes, guests and storages at a glance.
    ClusterResources,
    /// The jobs that back guests up.
    BackupJobs,
    /// A node's version, kernel and memory.
    NodeStatus {
        /// The node.
        node: String,
    },
    /// A node's certificates, and that of the authority of its cluster.
    Certificates {
        /// The node.
        node: String,
    },
    /// Replications that start at a node.
    Replication {
        /// The node.
        node: String,
    },
    /// Tasks of a node since that second.
    Tasks {
        /// The node.
        node: String,
        /// Seconds since 1970.
        since: u64,
    },
    /// The guests of a type on a node.
    Guests {
        /// The node.
        node: String,
        /// Their type.
        kind: GuestKind,
    },
    /// How a guest is set up.
    Config {
        /// The node it is on.
        node: String,
        /// Its type.
        kind: GuestKind,
        /// Its number.
        vmid: u32,
    },
    /// The network interfaces within a guest.
    Interfaces {
        /// The node it is on.
        node: String,
        /// Its type.
        kind: GuestKind,
        /// Its number.
        vmid: u32,
    },
    /// The backups on a storage.
    Backups {
        /// The node that is to look.
        node: String,
        /// The storage.
        storage: String,
    },
}

/// The two types of guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestKind {
    /// A virtual machine.
    Qemu,
    /// A container.
    Lxc,
}

impl GuestKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Lxc => "lxc",
        }
    }
}

impl ProxmoxGet {
    /// The path, and its parameters.
    #[must_use]
    pub fn path(&self) -> (String, Vec<(&'static str, String)>) {
        let plain = |path: String| (path, Vec::new());
        match self {
            Self::ClusterStatus => plain("/cluster/status".to_owned()),
            Self::ClusterResources => plain("/cluster/resources".to_owned()),
            Self::BackupJobs => plain("/cluster/backup".to_owned()),
            Self::NodeStatus { node } => plain(format!("/nodes/{node}/status")),
            Self::Certificates { node } => plain(format!("/nodes/{node}/certificates/info")),
            Self::Replication { node } => plain(format!("/nodes/{node}/replication")),
            Self::Tasks { node, since } => (
                format!("/nodes/{node}/tasks"),
                vec![("limit", "500".to_owned()), ("since", since.to_string()), ("source", "all".to_owned())],
            ),
            Self::Guests { node, kind } => plain(format!("/nodes/{node}/{}", kind.as_str())),
            Self::Config { node, kind, vmid } => plain(format!("/nodes/{node}/{}/{vmid}/config", kind.as_str())),
            Self::Interfaces { node, kind: GuestKind::Qemu, vmid } => {
                plain(format!("/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces"))
            }
            Self::Interfaces { node, kind: GuestKind::Lxc, vmid } => {
                plain(format!("/nodes/{node}/lxc/{vmid}/interfaces"))
            }
            Self::Backups { node, storage } => {
                (format!("/nodes/{node}/storage/{storage}/content"), vec![("content", "backup".to_owned())])
            }
        }
    }

    fn node(&self) -> Option<&str> {
        match self {
            Self::ClusterStatus | Self::ClusterResources | Self::BackupJobs => None,
            Self::NodeStatus { node }
            | Self::Certificates { node }
            | Self::Replication { node }
            | Self::Tasks { node, .. }
            | Self::Guests { node, .. }
            | Self::Config { node, .. }
            | Self::Interfaces { node, .. }
            | Self::Backups { node, .. } => Some(node),
        }
    }

    /// Whether its arguments are names as Proxmox VE gives them, so that they
    /// may stand in a path.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let storage = match self {
            Self::Backups { storage, .. } => is_storage(storage),
            _ => true,
        };
        self.node().is_none_or(is_node) && storage
    }

    /// Whether that host has what it names: its own cluster's node and guest.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self, root: &Root) -> Result<(), String> {
        if !self.is_plain() {
            return Err(format!("{self:?} names nothing that Proxmox VE could have"));
        }
        let nodes = root.path("etc/pve/nodes");
        if let Some(node) = self.node()
            && !nodes.join(node).is_dir()
        {
            return Err(format!("{node} is no node of this host's Proxmox VE"));
        }
        match self {
            Self::Config { node, kind, vmid } | Self::Interfaces { node, kind, vmid } => {
                let folder = if *kind == GuestKind::Qemu { "qemu-server" } else { "lxc" };
                let there = nodes.join(node).join(folder).join(format!("{vmid}.conf")).is_file();
                if there { Ok(()) } else { Err(format!("{node} has no guest {vmid} of type {}", kind.as_str())) }
            }
            _ => Ok(()),
        }
    }
}

/// A node's name is that of a host.
pub(super) fn is_node(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
}

/// See `PVE::JSONSchema`, format `pve-storage-id`.
pub(super) fn is_storage(name: &str) -> bool {
    (2..=100).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_the_host_has_is_asked_for() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        std::fs::create_dir_all(root.path("etc/pve/nodes/pve1/lxc")).unwrap();
        std::fs::write(root.path("etc/pve/nodes/pve1/lxc/101.conf"), "").unwrap();
        let config = |node: &str, kind, vmid| ProxmoxGet::Config { node: node.into(), kind, vmid }.check(&root);
        assert_eq!(config("pve1", GuestKind::Lxc, 101), Ok(()));
        assert!(config("pve1", GuestKind::Qemu, 101).is_err());
        assert!(config("pve2", GuestKind::Lxc, 101).is_err());
        assert!(config("../nodes/pve1", GuestKind::Lxc, 101).is_err());
        let backups = |storage: &str| ProxmoxGet::Backups { node: "pve1".into(), storage: storage.into() }.check(&root);
        assert_eq!(backups("local-zfs"), Ok(()));
        for bad in ["", "-x", "a/b", "a b", "a?b", "a..b"] {
            assert!(backups(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_has_no_other_path(node: String, storage: String) {
            let get = ProxmoxGet::Backups { node, storage };
            if get.is_plain() {
                let (path, _) = get.path();
                prop_assert_eq!(path.split('/').count(), 6);
                prop_assert!(!path.contains(['?', '%', '#', ' ']) && !path.contains(".."));
            }
        }
    }
}
