//! The hub: what agents report, taken in, kept, judged for absence, and served.
//!
//! Data flows one way: a source ([`sources`]) hands reports to ingest, which
//! updates the latest state of the host, tells the live bus, and writes to the
//! store; HTTP reads from the hub. Nothing behind ingest knows where a report
//! came from. Nothing here draws on a terminal or parses a command line.
//!
//! Start at [`Hub`] for what it knows and does, at [`RunningHub`] for how it is run,
//! at [`config`] for `hub.toml`.

pub mod access;
mod actions;
pub mod backoff;
mod clusters;
pub mod config;
mod counters;
mod enrol;
mod error;
mod events;
mod fleet;
pub mod http;
mod hub;
pub mod identity;
mod import;
mod ingest;
pub mod live;
mod manage;
mod mqtt;
mod notices;
mod open;
mod presence;
mod records;
mod run;
pub mod secrets;
mod serve;
mod sinks;
mod skew;
pub mod sources;
#[cfg(test)]
mod tests;
pub mod view;
mod watch;

pub use access::{Actor, Admin, Caller, Operator, Peer, Viewer};
pub use error::{HubError, StartError};
pub use hub::Hub;
pub use open::restore;
pub use run::RunningHub;
pub use serve::SOCKET;
pub use watch::Watch;
