//! The hub as agents and people meet it: over the in-process twin and over real
//! sockets, with a clock that the tests turn by hand.
#![allow(clippy::unwrap_used)]

mod actions;
mod clusters;
mod faults;
mod link;
mod manage;
mod mqtt;
mod support;
mod time;
