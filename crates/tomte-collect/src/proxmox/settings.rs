//! What a person may set about Proxmox VE: `[proxmox]`.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Settings of the collectors `proxmox` and `proxmox_guest`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxmoxSettings {
    /// The web API: of this host, or of one that has no agent. Without it, the
    /// helper asks `pvesh` on a node of Proxmox VE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<ProxmoxUrl>,
    /// The file that holds the token: `USER@REALM!NAME=SECRET`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The SHA-256 of the server's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// The authorities that vouch for the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Guests with one of these tags raise no alarm.
    pub archived_tags: Vec<String>,
}

impl Default for ProxmoxSettings {
    fn default() -> Self {
        Self {
            url: None,
            token_file: None,
            fingerprint: None,
            ca_file: None,
            archived_tags: ["archived", "archive"].map(str::to_owned).to_vec(),
        }
    }
}

/// The address of a web API: `https://` and a host, with or without a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProxmoxUrl(String);

/// A text that is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the address of a Proxmox VE; write for example \"https://127.0.0.1:8006\"")]
pub struct BadProxmoxUrl(String);

impl ProxmoxUrl {
    /// With its port, without a path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProxmoxUrl {
    type Err = BadProxmoxUrl;
    fn from_str(text: &str) -> Result<Self, BadProxmoxUrl> {
        let bad = || BadProxmoxUrl(text.to_owned());
        let rest = text.trim().strip_prefix("https://").ok_or_else(bad)?.trim_end_matches('/');
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        if rest.is_empty() || !rest.chars().all(legal) {
            return Err(bad());
        }
        let has_port = rest.rsplit_once(':').is_some_and(|(host, port)| {
            (!host.contains(':') || host.ends_with(']')) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        match has_port {
            true => Ok(Self(format!("https://{rest}"))),
            false if rest.contains(':') && !rest.ends_with(']') => Err(bad()),
            false => Ok(Self(format!("https://{rest}:8006"))),
        }
    }
}

impl TryFrom<String> for ProxmoxUrl {
    type Error = BadProxmoxUrl;
    fn try_from(text: String) -> Result<Self, BadProxmoxUrl> {
        text.parse()
    }
}

impl From<ProxmoxUrl> for String {
    fn from(url: ProxmoxUrl) -> Self {
        url.0
    }
}

/// A SHA-256 as Proxmox VE shows it: 32 pairs of digits with colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the SHA-256 of a certificate; `pvenode cert info` shows it: 32 pairs of digits with colons between"
)]
pub struct BadFingerprint(String);

impl TryFrom<String> for Fingerprint {
    type Error = BadFingerprint;
    fn try_from(text: String) -> Result<Self, BadFingerprint> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let mut bytes = [0; 32];
        let good = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        for (index, byte) in bytes.iter_mut().enumerate().filter(|_| good) {
            *byte = u8::from_str_radix(&digits[index * 2..index * 2 + 2], 16).unwrap_or(0);
        }
        if good { Ok(Self(bytes)) } else { Err(BadFingerprint(text)) }
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0.map(|byte| format!("{byte:02X}")).join(":")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_get_their_port() {
        for (text, written) in [
            ("https://pve", "https://pve:8006"),
            ("https://pve.example:443/", "https://pve.example:443"),
            ("https://[::1]", "https://[::1]:8006"),
            ("https://[::1]:9", "https://[::1]:9"),
        ] {
            assert_eq!(text.parse::<ProxmoxUrl>().unwrap().as_str(), written);
        }
        for bad in ["", "pve", "http://pve", "https://", "https://a/b", "https://a:b", "https://::1", "https://a:0"] {
            assert!(bad.parse::<ProxmoxUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn fingerprints_with_and_without_colons() {
        let text = ["AB"; 32].join(":");
        let fingerprint = Fingerprint::try_from(text.clone()).unwrap();
        assert_eq!((fingerprint.0, String::from(fingerprint)), ([0xab; 32], text.clone()));
        assert_eq!(Fingerprint::try_from("ab".repeat(32)).unwrap(), fingerprint);
        assert!(Fingerprint::try_from(text[1..].to_owned()).is_err());
    }
}
