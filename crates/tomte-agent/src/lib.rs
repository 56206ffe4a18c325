//! The agent.
pub mod config;
pub mod own;
pub mod state;
