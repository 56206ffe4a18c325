//! The hub's end of a connection.

use bytes::Bytes;
use tomte_model::{RangeSet, Timestamp};

use crate::error::LinkError;
use crate::limits::Limits;
use crate::message::{CloseCode, FromAgent, Hello, Live, Resend, SettingsPush, Welcome};

/// The hub's end of one connection.
#[derive(Debug)]
pub struct HubLink {}

impl HubLink {
    /// Takes in an agent's first message and agrees on a version.
    ///
    /// # Errors
    /// When it is no hello, or there is no version in common: close the
    /// connection with the error's code and text.
    pub fn accept(_message: &[u8], _limits: Limits) -> Result<(Self, Hello), LinkError> {
        todo!()
    }
    /// The version agreed on.
    #[must_use]
    pub fn protocol(&self) -> u32 {
        todo!()
    }
    /// The answer to the hello; the first message to send.
    #[must_use]
    pub fn welcome(&self, _welcome: &Welcome) -> Bytes {
        todo!()
    }
    /// Takes in a message of the agent.
    ///
    /// # Errors
    /// When it makes no sense or is over a limit: close the connection with
    /// the error's code and text. What the message held before the error is
    /// lost with it; it was not acked and will come again.
    pub fn handle(&mut self, _message: &[u8]) -> Result<Vec<FromAgent>, LinkError> {
        todo!()
    }
    /// Tells that these sequences are stored for good. At most 16,384 ranges
    /// go out, the lowest; what is not acked comes again and can be acked then.
    #[must_use]
    pub fn ack(&self, _epoch: u64, _ranges: &RangeSet) -> Bytes {
        todo!()
    }
    /// Asks for a report whole.
    #[must_use]
    pub fn resend(&self, _resend: &Resend) -> Bytes {
        todo!()
    }
    /// Answers a heartbeat.
    #[must_use]
    pub fn heartbeat(&self, _echo: u64, _server_time: Timestamp) -> Bytes {
        todo!()
    }
    /// Pushes settings.
    #[must_use]
    pub fn settings(&self, _settings: &SettingsPush) -> Bytes {
        todo!()
    }
    /// Asks for a faster fast tier.
    #[must_use]
    pub fn live(&self, _live: &Live) -> Bytes {
        todo!()
    }
    /// Asks collectors to run now; all of them when the list is empty.
    #[must_use]
    pub fn refresh(&self, _collectors: &[String]) -> Bytes {
        todo!()
    }
    /// Says why the connection ends; works before the handshake too. Send it
    /// before closing.
    #[must_use]
    pub fn close(_code: CloseCode, _reason: &str) -> Bytes {
        todo!()
    }
    /// How many frames of unknown types were ignored.
    #[must_use]
    pub fn unknown_frames(&self) -> u64 {
        todo!()
    }
}
