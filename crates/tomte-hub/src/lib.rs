//! The hub: what agents report, taken in, kept, judged for absence, and served.
//!
//! Data flows one way: a source ([`sources`]) hands reports to ingest, which
//! updates the latest state of the host, tells the live bus, and writes to the
//! store; HTTP reads from the hub. Nothing behind ingest knows where a report
//! came from. Nothing here draws on a terminal or parses a command line.
//!
//! Start at [`Hub`] for what it knows and does, at [`run`] for how it is run,
//! at [`config`] for `hub.toml`.

pub mod access;
pub mod backoff;
pub mod config;
mod error;
pub mod http;
mod hub;
pub mod identity;
pub mod live;
mod presence;
pub mod secrets;
mod skew;
pub mod view;

pub use access::{Actor, Admin, Caller, Operator, Peer, Viewer};
pub use error::{HubError, StartError};
pub use hub::Hub;
