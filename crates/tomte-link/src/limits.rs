//! How much one side takes from the other.

use crate::MAX_MESSAGE;

/// How much a hub takes from one agent. The defaults fit a host with 512 cores
/// and 10,000 mounts; an agent's encoder keeps to them as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message.
    pub message_bytes: usize,
    /// Bytes of one text: a name, a reason, an attribute's value.
    pub text_bytes: usize,
    /// Streams (a host's collector) in one lane.
    pub streams: usize,
    /// Scopes of one collector.
    pub scopes: usize,
    /// Facets of one report.
    pub facets: usize,
    /// Readings of one report.
    pub readings: usize,
    /// Fields of one facet.
    pub fields: usize,
    /// Bytes that one lane of a connection may make the hub remember:
    /// dictionaries, bases, what waits for its report.
    pub memory_bytes: usize,
    /// Bytes of all reports that one message may unfold to. A delta is small
    /// and means a whole report, so that messages need a bound of their own.
    pub unfolded_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: MAX_MESSAGE,
            text_bytes: 16 * 1024,
            streams: 512,
            scopes: 16_384,
            facets: 20_000,
            readings: 65_536,
            fields: 1_024,
            memory_bytes: 16 << 20,
            unfolded_bytes: 16 << 20,
        }
    }
}
