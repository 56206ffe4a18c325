//! Commands that may be asked for from outside: which ones, with which
//! arguments, and how they are run.
//!
//! [`file`] is the host's root-owned list, and all that this host will ever
//! run for others; [`parameter`] holds each argument against it. [`helper`] is
//! the root process that runs an entry by its trigger, reading the file
//! itself; [`run`] starts the process; [`client`] is the agent's way to ask.
//! Who may ask, and what is decided, is [`crate::actions`]'s.

pub mod client;
pub mod file;
pub mod helper;
mod identity;
pub mod parameter;
pub mod run;
mod wire;

pub use file::{Allowed, Command, Commands, MqttRule, SAMPLE};
pub use wire::{Answer, Run};

/// The list, unless configured otherwise.
pub const FILE: &str = "/etc/tomte/commands.toml";
/// Where the helper that runs commands listens, unless configured otherwise.
pub const SOCKET: &str = "/run/tomte-commands.sock";
/// The command that is built in: which ones there are.
pub const LIST: &str = "list";
