//! Durable memory: history, latest state, accounts, audit
