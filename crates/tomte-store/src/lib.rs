//! Durable memory: the history of every reading, and the hub's own records
//! (hosts, access, events, audit, what was last known).
//!
//! Two traits say what a hub may ask: [`HistoryStore`] and [`StateStore`].
//! [`Store::open`] gives both, kept by SQLite in one folder: `history.db` and
//! `state.db`. They are apart so that a ruined or replaced history never costs
//! an account, a token or a line of the audit.
//!
//! This crate knows nothing of HTTP, rules or presence, starts no async
//! runtime and never reads the wall clock to decide anything: time is passed
//! in. Calls block (a write waits for the disk) unless they take a callback.
//!
//! Start at [`history`], [`changes`] and [`state`] for the vocabulary, at
//! `sqlite/mod.rs` for the engine.

pub mod changes;
pub mod codec;
// Tests inside and outside share their helpers.
#[cfg(test)]
extern crate self as tomte_store;

mod error;
pub mod history;
mod options;
mod sqlite;
pub mod state;
mod store;

pub use error::{OpenError, StoreError};
pub use history::{Arrival, Budget, HistoryStore, Query, Receipt};
pub use options::{Options, Retention, RetentionRule};
pub use state::StateStore;
pub use store::{SetAside, Store};
