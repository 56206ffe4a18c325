//! x

/// The agent's own collector.
pub const COLLECTOR: &str = "agent";
