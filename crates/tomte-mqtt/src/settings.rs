//! What the configurations of agent and hub have in common: the words that
//! stand in their files, and what they mean.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::discovery::Style;
use crate::protocol::Version;

/// A longer file holds no password.
const LONGEST_PASSWORD: u64 = 4096;
/// A longer prefix is nobody's.
const LONGEST_PREFIX: usize = 200;

/// Whether and how entities are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiscoveryStyle {
    /// A message for each entity.
    #[default]
    Entity,
    /// A message for each device; Home Assistant 2024.11 and later.
    Device,
    /// Not at all.
    Off,
}

impl DiscoveryStyle {
    /// How they are announced, if they are.
    #[must_use]
    pub fn style(self) -> Option<Style> {
        match self {
            Self::Off => None,
            Self::Entity => Some(Style::Entity),
            Self::Device => Some(Style::Device),
        }
    }
}

/// Which version of the protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ProtocolVersion {
    /// 5, or 3.1.1 with a broker that does not know it.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// 5 alone.
    #[serde(rename = "5")]
    Five,
    /// 3.1.1 alone.
    #[serde(rename = "3.1.1")]
    ThreeOneOne,
}

impl ProtocolVersion {
    /// The only version to speak, if there is but one.
    #[must_use]
    pub fn only(self) -> Option<Version> {
        match self {
            Self::Auto => None,
            Self::Five => Some(Version::V5),
            Self::ThreeOneOne => Some(Version::V311),
        }
    }
}

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Of that text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Whether topics may begin like that.
///
/// # Errors
/// In words, to stand behind the setting's name.
pub fn check_prefix(prefix: &str) -> Result<(), String> {
    let usable = |part: &str| !part.is_empty() && !part.contains(['+', '#', '$']) && !part.contains(char::is_control);
    if prefix.len() <= LONGEST_PREFIX && prefix.split('/').all(usable) {
        Ok(())
    } else {
        Err(format!("= {prefix:?} cannot begin a topic; write for example \"tomte\""))
    }
}

/// Where Home Assistant says that it has started.
#[must_use]
pub fn birth_topic(prefix: &str) -> String {
    format!("{prefix}/status")
}

/// The password in a file, without the newline at its end.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn read_password(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if metadata.len() > LONGEST_PASSWORD {
        return Err(io::Error::other("it is too long for a password"));
    }
    if metadata.permissions().mode() & 0o004 != 0 {
        warn!("everybody can read {}; run: chmod o-r {0}", path.display());
    }
    let text = fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_comes_from_its_file_without_the_newline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "se cret\n").unwrap();
        assert_eq!(read_password(&path).unwrap(), "se cret");
        fs::write(&path, "x".repeat(5000)).unwrap();
        assert!(read_password(&path).unwrap_err().to_string().contains("too long"));
        assert!(read_password(&folder.path().join("none")).is_err());
        assert!(!format!("{:?}", Secret::new("se cret")).contains("cret"));
    }

    #[test]
    fn a_prefix_is_whole_levels_without_wildcards() {
        for good in ["tomte", "home/tomte", "Küche"] {
            assert!(check_prefix(good).is_ok(), "{good}");
        }
        for bad in ["", "/tomte", "tomte/", "a//b", "a/+", "#", "$SYS", "a\nb"] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
    }
}
