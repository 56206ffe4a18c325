//! The agent: it watches one host, judges what it sees, and tells its hub.
//!
//! It needs neither hub nor network to do so. Collectors run on a few threads
//! by a [`scheduler`]; what they see goes through the [`pipeline`], which
//! judges it and keeps the latest state, into the [`outbox`], which keeps it
//! until the hub has stored it; the [`link`] sends it; where the host has a broker,
//! [`mqtt`] publishes it there. A local [`socket`] shows
//! this one host. Each of these is a state machine or a loop that can be run
//! alone; [`run`] puts them together. Start there, or at [`cli`].
//!
//! What needs root is asked of another process, the [`helper`].
//!
//! Nothing here draws, stores history or speaks to other agents.

mod action_command;
pub mod actions;
pub mod api;
pub mod cli;
pub mod command;
pub mod config;
pub mod connect;
pub mod doctor;
pub mod engine_events;
pub mod enrol;
pub mod helper;
pub mod http;
pub mod import;
pub mod link;
pub mod look;
pub mod mqtt;
pub mod once;
pub mod outbox;
pub mod own;
pub mod pipeline;
pub mod reach;
pub mod run;
pub mod scheduler;
pub mod sd;
pub mod settings;
pub mod socket;
pub mod state;
pub mod station;
pub mod tls;
pub mod workers;

/// Every collector of an agent: those that read the host, and those that need
/// the network.
#[must_use]
pub fn collectors() -> &'static [tomte_collect::CollectorDef] {
    static ALL: std::sync::LazyLock<Vec<tomte_collect::CollectorDef>> =
        std::sync::LazyLock::new(|| tomte_collect::COLLECTORS.iter().chain(reach::COLLECTORS).copied().collect());
    &ALL
}
