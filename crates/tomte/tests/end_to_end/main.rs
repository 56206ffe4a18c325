//! The real programs, end to end: hub, agents and command line as processes,
//! over real sockets, and what happens when they are killed, cut off, lied to
//! or left without space.
//!
//! One target for all of it, because linking it is what takes long. Each file
//! is a theme; what they share is in `support`. Nothing here sleeps.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout, missing_docs)]

mod actions;
mod agent_killed;
mod cluster;
mod command_line;
mod connections;
mod databases;
mod demo;
mod disk_full;
mod flood;
mod home_assistant;
mod killed;
mod mqtt;
mod newer;
mod store;
mod strangers;
mod support;
mod tls;
mod top;
mod whole_way;
