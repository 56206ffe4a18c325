//! The API's types: what goes over `/api/v1`, and over an agent's local socket.
//!
//! Requests and responses by area, each with its schema when the feature
//! `openapi` is on, and (feature `client`) a typed client for all of it. Nothing
//! here stores, judges or routes: `tomte-hub` serves these types, the command
//! line and the terminal read them. Start at [`host`] and [`resource`] for what
//! there is, at [`history`] for how readings were, at [`change`] for how the rest was, at [`live`] for how it changes, at
//! [`problem`] for what an error looks like.
//!
//! Times are RFC 3339 text with milliseconds, except in the columns of
//! [`history`], which hold milliseconds since 1970. Names end in their unit.

pub mod account;
pub mod action;
pub mod catalogue;
pub mod change;
#[cfg(feature = "client")]
pub mod client;
pub mod event;
pub mod history;
pub mod host;
pub mod hub;
pub mod live;
pub mod page;
pub mod problem;
pub mod resource;
pub mod store;
pub mod time;

#[cfg(feature = "client")]
pub use client::{Client, ClientError};
pub use page::Page;
pub use problem::Problem;
