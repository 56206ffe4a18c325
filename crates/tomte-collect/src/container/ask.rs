//! What may be asked of an engine: a few GETs, spelt out here.

use std::fmt;

/// One read-only request. There is no other.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Ask {
    /// The engine's version.
    Version,
    /// All containers, running or not.
    Containers,
    /// Everything about one container.
    Inspect(ContainerId),
    /// Whether the engine saw a container's memory run out, between two times
    /// in seconds since 1970.
    OutOfMemory {
        /// Which container.
        id: ContainerId,
        /// From when.
        since: u64,
        /// Until when, so that the answer ends.
        until: u64,
    },
    /// What images, containers, volumes and the build cache take on disk.
    DiskUsage,
}

/// An id that an engine gave: 12 to 64 hexadecimal digits and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// A text that is not the id of a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not the id of a container")]
pub struct BadContainerId;

impl TryFrom<String> for ContainerId {
    type Error = BadContainerId;
    fn try_from(text: String) -> Result<Self, BadContainerId> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if (12..=64).contains(&text.len()) && text.bytes().all(hex) { Ok(Self(text)) } else { Err(BadContainerId) }
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl ContainerId {
    /// The first 12 digits, which people use.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// The request's target. Without a version before it: every engine speaks what
/// it speaks best, and what is read here has been there since API 1.24.
impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("/version"),
            Self::Containers => f.write_str("/containers/json?all=1"),
            Self::Inspect(ContainerId(id)) => write!(f, "/containers/{id}/json"),
            Self::OutOfMemory { id: ContainerId(id), since, until } => write!(
                f,
                "/events?since={since}&until={until}&filters=%7B%22event%22%3A%5B%22oom%22%5D%2C%22container%22%3A%5B%22{id}%22%5D%7D"
            ),
            Self::DiskUsage => f.write_str("/system/df"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_are_ids_and_nothing_else_gets_into_a_request() {
        let id: ContainerId = "27b7140b1d93".to_owned().try_into().unwrap();
        assert_eq!(Ask::Inspect(id).to_string(), "/containers/27b7140b1d93/json");
        for bad in ["", "27b7140b1d9", "../../../etc", "27B7140B1D93", "27b7140b1d93/../x", &"a".repeat(65)] {
            assert!(ContainerId::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Ask>(r#"{"Inspect":"x/../../info"}"#).is_err());
    }
}
