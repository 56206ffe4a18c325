//! A small client of D-Bus: calls a method over the system bus's socket and
//! reads the answer. It subscribes to nothing, serves nothing, passes no file
//! descriptors and starts no thread, which is what a library for all of D-Bus
//! would cost memory for. See the D-Bus specification, 0.43.

mod connection;
mod wire;

pub(crate) use connection::{BusError, Call, Connection};
#[cfg(test)]
pub(crate) use wire::Writer;
pub use wire::fuzz_message;
pub(crate) use wire::{BadMessage, Properties, Reader, Value};
