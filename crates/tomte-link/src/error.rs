//! What can be wrong with a message.

use crate::message::CloseCode;

/// A message that cannot be taken in. The connection has to be closed: what
/// follows on it would build on what was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not the encoding that the protocol says.
    #[error("malformed {frame}: {what}")]
    Malformed {
        /// The frame it was found in.
        frame: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More of something than the limits allow.
    #[error("{what}: {found} is over the limit of {limit}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much there was.
        found: u64,
        /// How much there may be.
        limit: u64,
    },
    /// A frame where it has no place: a report before the handshake, say.
    #[error("unexpected {frame}: {why}")]
    Unexpected {
        /// The frame.
        frame: &'static str,
        /// Why it has no place there.
        why: &'static str,
    },
    /// The two sides have no protocol version in common.
    #[error(
        "no protocol version in common: the agent speaks {agent_min} to {agent_max}, the hub {hub_min} to {hub_max}; \
         update the older of the two"
    )]
    NoCommonVersion {
        /// The oldest that the agent speaks.
        agent_min: u32,
        /// The newest that the agent speaks.
        agent_max: u32,
        /// The oldest that the hub speaks.
        hub_min: u32,
        /// The newest that the hub speaks.
        hub_max: u32,
    },
}

impl LinkError {
    /// The code to close the connection with; the reason is the error's text.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Malformed { .. } | Self::Unexpected { .. } => CloseCode::Malformed,
            Self::Limit { .. } => CloseCode::TooLarge,
            Self::NoCommonVersion { .. } => CloseCode::NoCommonVersion,
        }
    }
}

/// A stored report that cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredReportError {
    /// Nothing there.
    #[error("empty")]
    Empty,
    /// Written by a version that this one does not know.
    #[error("format {0} is not known to this version")]
    Format(u8),
    /// Damaged, or never a report.
    #[error("damaged")]
    Damaged(#[source] LinkError),
    /// Bytes that decode to something other than one report.
    #[error("does not hold exactly one report")]
    NotOne,
}
