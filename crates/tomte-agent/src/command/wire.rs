//! How the agent and the helper that runs commands speak: one request and one
//! answer a connection, each JSON behind its length (four bytes, the highest
//! first).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tomte_collect::Refusal;
use tomte_model::{ActionResult, HostId};

/// The longest request.
pub(super) const MOST_REQUEST: usize = 64 * 1024;
/// The longest answer: 64 KiB of output, each byte of it escaped.
pub(super) const MOST_ANSWER: usize = 1 << 20;

/// A request: run that entry of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The host, as the plan names it.
    pub host: HostId,
    /// The entry.
    pub trigger: String,
    /// The arguments.
    pub arguments: Vec<String>,
    /// The hash of the plan that was approved: what the helper would run now
    /// has to have the same.
    pub plan_hash: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was run.
    Ran(ActionResult),
    /// It was not.
    Refused(Refusal),
}

/// A message as bytes.
pub(super) fn framed(message: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_vec(message).expect("requests and answers are JSON");
    let length = u32::try_from(text.len()).expect("messages are bounded");
    [&length.to_be_bytes()[..], &text].concat()
}

/// The length that a message announces, if it may be that long.
pub(super) fn length(head: [u8; 4], most: usize) -> Option<usize> {
    Some(u32::from_be_bytes(head) as usize).filter(|length| *length <= most)
}

/// Understands a message.
pub(super) fn understood<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(text)
}
