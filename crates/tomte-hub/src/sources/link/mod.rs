//! The native link: agents that dial in to `/link`.
//!
//! [`registry`] knows which connection of a host is the present one,
//! [`session`] is one connection from hello to goodbye, over anything that
//! carries messages, [`socket`] is the WebSocket and its token check.

mod registry;
mod session;
mod socket;

pub(crate) use registry::{Command, Links};
#[cfg(test)]
pub(crate) use session::serve;
pub(crate) use socket::{Guesser, router};
pub(crate) use tomte_link::Decision;
