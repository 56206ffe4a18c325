//! What was published for which host, remembered over a restart, so that
//! nothing is left behind at the broker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tomte_model::{HostId, Timestamp};
use tomte_mqtt::Kept;

/// Under this name it is kept.
pub(crate) const KEY: &str = "hub.mqtt";
/// The form in which it is written.
const FORMAT: u32 = 1;

/// By host.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptHosts {
    format: u32,
    pub(super) hosts: BTreeMap<HostId, Left>,
    #[serde(skip)]
    pub(super) changed: bool,
}

/// What was published for one.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Left {
    /// Its name then.
    pub(super) name: String,
    /// The topics.
    pub(super) kept: Kept,
    /// Since when its own agent publishes.
    pub(super) released_at: Option<Timestamp>,
    /// Whether that was heard on this broker.
    pub(super) answered: bool,
}

impl KeptHosts {
    /// What was written. What cannot be understood is as if it never was: then
    /// some topics may stay with the broker.
    pub(crate) fn read(bytes: Option<&[u8]>) -> Self {
        let Some(bytes) = bytes else { return Self::default() };
        match serde_json::from_slice::<Self>(bytes) {
            Ok(kept) if kept.format == FORMAT => kept,
            Ok(kept) => {
                tracing::warn!(
                    format = kept.format,
                    "what was published before is written in a form of another version"
                );
                Self::default()
            }
            Err(error) => {
                tracing::warn!(%error, "what was published before cannot be read; some of it may stay with the broker");
                Self::default()
            }
        }
    }

    pub(super) fn written_if_changed(&mut self) -> Option<Vec<u8>> {
        self.format = FORMAT;
        std::mem::take(&mut self.changed).then(|| serde_json::to_vec(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_rubbish_is_nothing() {
        let mut kept = KeptHosts { changed: true, ..KeptHosts::default() };
        let left = Left { name: "nas".into(), released_at: Some(Timestamp::from_millis(5)), ..Left::default() };
        kept.hosts.insert(HostId::from_parts(1, 2), left);
        let written = kept.written_if_changed().unwrap();
        assert_eq!(kept.written_if_changed(), None);
        assert_eq!(KeptHosts::read(Some(&written)), kept);
        assert_eq!(KeptHosts::read(Some(b"{\"format\":9,\"hosts\":{}}")), KeptHosts::default());
        assert_eq!(KeptHosts::read(Some(b"x")), KeptHosts::default());
    }
}
