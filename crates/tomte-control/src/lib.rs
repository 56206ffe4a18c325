//! Actions as state machines: how a change that somebody asks for is planned,
//! decided on, run once and remembered.
//!
//! [`action`] is one Action's way from state to state, [`Ledger`] the bounded
//! list that an agent keeps, [`plan`] what is shown to who decides and the hash
//! that binds the decision to it. All of it takes the time as an argument and
//! does no I/O; running a command, keeping the file and asking people are for
//! the agent and the hub.

pub mod action;
pub mod ledger;
pub mod plan;

pub use action::{Change, Refused};
pub use ledger::{FileError, Ledger, New};

use ring::digest::{SHA256, digest};
use tomte_model::{ActionId, HostId};

/// The identity of what was asked for in that way under that id: the same
/// request twice is the same Action.
#[must_use]
pub fn action_id(host: HostId, via: &str, request_id: &str) -> ActionId {
    let text = plan::joined(["tomte-action-1", &host.to_string(), via, request_id]);
    let digest = digest(&SHA256, text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    ActionId::from_bytes(bytes)
}
