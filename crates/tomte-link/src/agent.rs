//! The agent's end of a connection.

use std::sync::Arc;

use bytes::Bytes;
use tomte_model::{Catalogue, Report};

use crate::error::LinkError;
use crate::message::{CloseCode, FromHub, Gap, Heartbeat, Hello, Lane, SettingsResult};

/// The agent's end of one connection. A new connection needs a new one.
#[derive(Debug)]
pub struct AgentLink {
    _hello: Hello,
    _catalogue: Arc<Catalogue>,
}

impl AgentLink {
    /// For a connection that has just been opened. The catalogue gives the
    /// fields' resolutions, and the descriptions of kinds that the hub lacks.
    #[must_use]
    pub fn new(hello: Hello, catalogue: Arc<Catalogue>) -> Self {
        Self { _hello: hello, _catalogue: catalogue }
    }
    /// The first message to send.
    #[must_use]
    pub fn hello(&self) -> Bytes {
        todo!()
    }
    /// Replaces the catalogue, when a probe brought a kind of its own.
    pub fn set_catalogue(&mut self, _catalogue: Arc<Catalogue>) {
        todo!()
    }
    /// Whether the hub's welcome has arrived; nothing but the hello may be
    /// sent before.
    #[must_use]
    pub fn is_welcomed(&self) -> bool {
        todo!()
    }
    /// Takes in a message of the hub.
    ///
    /// # Errors
    /// When it makes no sense or is over a limit: close the connection with
    /// the error's code and text.
    pub fn handle(&mut self, _message: &[u8]) -> Result<Vec<FromHub>, LinkError> {
        todo!()
    }
    /// The messages that carry a report, nearly always one. All of them must
    /// be sent, in this order, before the next ones of the same lane.
    ///
    /// # Errors
    /// When the report is over the limits that hubs set; nothing was encoded.
    pub fn report(&mut self, _report: &Report, _lane: Lane) -> Result<Vec<Bytes>, LinkError> {
        todo!()
    }
    /// Like [`Self::report`] for many at once, packed into as few messages as
    /// the limits allow. A report that is over the limits by itself is left
    /// out, and its place in the list returned with the reason.
    pub fn reports<'a>(
        &mut self,
        _reports: impl IntoIterator<Item = &'a Report>,
        _lane: Lane,
    ) -> (Vec<Bytes>, Vec<(usize, LinkError)>) {
        todo!()
    }
    /// A sign of life.
    #[must_use]
    pub fn heartbeat(&self, _heartbeat: &Heartbeat) -> Bytes {
        todo!()
    }
    /// Declares reports that will never come.
    #[must_use]
    pub fn gap(&self, _gap: &Gap) -> Bytes {
        todo!()
    }
    /// Answers pushed settings.
    #[must_use]
    pub fn settings_result(&self, _result: &SettingsResult) -> Bytes {
        todo!()
    }
    /// Says goodbye; send it before closing.
    #[must_use]
    pub fn close(&self, _code: CloseCode, _reason: &str) -> Bytes {
        todo!()
    }
    /// How many frames of unknown types were ignored.
    #[must_use]
    pub fn unknown_frames(&self) -> u64 {
        todo!()
    }
}
