//! What only root may ask of a host, as typed requests, and the way to the
//! helper that runs them.
//!
//! The agent is an ordinary user. `tomte-agent helper`, which systemd starts as
//! root when it is asked for, answers a [`Request`] and nothing else: no request
//! holds a command, and each argument is checked against what the host really
//! has before anything runs ([`execute`]). [`Frame`] is how both speak over a Unix
//! socket. Where the agent itself is root, and for a copied tree, there is nobody
//! in between.

mod client;
mod execute;
mod frame;

use serde::{Deserialize, Serialize};
use tomte_model::{Name, Outcome, Scope};

use crate::container::Ask;
use crate::proxmox::get::ProxmoxGet;

pub use client::ask;
pub use execute::execute;
pub use frame::{Frame, FrameError, read_request, write_answer, write_request};

/// Where the helper listens unless configured otherwise.
pub const HELPER_SOCKET: &str = "/run/tomte-helper.sock";

/// What the helper can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What a disk says of itself: `smartctl --json -n standby [-d TYPE] -a DEVICE`.
    Smart {
        /// A device file of this host: `/dev/sda`, `/dev/bus/0`.
        device: String,
        /// How smartctl should speak to it, where it cannot tell: `megaraid,4`.
        #[serde(rename = "type")]
        kind: Option<String>,
    },
    /// Which disks stand behind RAID controllers: `smartctl --json --scan`.
    SmartScan,
    /// One of a few GETs on an engine's socket. The answer's status is 0, or
    /// the HTTP status of the engine's refusal.
    Engine {
        /// Which engine.
        engine: Engine,
        /// What it is asked.
        ask: Ask,
    },
    /// What a service's own directories hold, as a JSON object of bytes by
    /// field. Which directories those are systemd says, not the request.
    UnitDirectories {
        /// The service, with `.service`.
        unit: String,
    },
    /// The peers of WireGuard's interfaces, without keys that are secret.
    WireguardPeers,
    /// Something of Proxmox VE: `pvesh get PATH --output-format json`.
    Proxmox(ProxmoxGet),
}

/// An engine that runs containers, where it listens unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Docker, at /run/docker.sock.
    Docker,
    /// Podman as root, at /run/podman/podman.sock.
    Podman,
}

impl Engine {
    /// Where it listens.
    #[must_use]
    pub const fn socket(self) -> &'static str {
        match self {
            Self::Docker => "/run/docker.sock",
            Self::Podman => "/run/podman/podman.sock",
        }
    }
}

/// What came of a request that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The exit status of the tool, `None` when a signal ended it.
    pub status: Option<i32>,
    /// What it said.
    pub body: Vec<u8>,
    /// The beginning of its complaints.
    pub complaint: String,
}

/// Why a request was not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The helper does not listen, or does not listen to us.
    #[error("{error}")]
    Denied {
        /// What is not possible.
        error: String,
        /// What to do about it.
        cure: String,
    },
    /// The host lacks what it takes.
    #[error("{0}")]
    Unavailable(String),
    /// The request names something that this host does not have, or the helper
    /// does not know it.
    #[error("{0}")]
    Invalid(String),
    /// It went wrong.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    /// What it means for the scope that needed the answer.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let error = self.to_string();
        match self {
            Self::Denied { cure, .. } => Outcome::Denied { error, cure: cure.clone() },
            Self::Unavailable(_) => Outcome::Unavailable { error },
            Self::Invalid(_) | Self::Failed(_) => Outcome::Failed { error },
        }
    }

    /// The scope that failed by this.
    #[must_use]
    pub fn scope(&self, name: impl Into<Name>) -> Scope {
        Scope::failed(name, self.outcome())
    }
}
