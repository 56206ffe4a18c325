//! The agent that watches one host
