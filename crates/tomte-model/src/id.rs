//! Identities: hosts and events by ULID, hosts also by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// Why a text is not an id or a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 26 characters of Crockford's base 32.
    #[error("{0:?} is not a ULID")]
    NotUlid(String),
    /// A host name outside `a-z 0-9 . _ -`, 1 to 100 characters.
    #[error("{0:?} is not a host name: 1 to 100 of a-z 0-9 . _ - are allowed")]
    BadHostName(String),
}

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Ulid);

        impl $name {
            /// Makes an id from a time (milliseconds since 1970) and 80 random bits.
            #[must_use]
            pub fn from_parts(unix_millis: u64, random: u128) -> Self {
                Self(Ulid::from_parts(unix_millis, random))
            }
            /// The 16 bytes, most significant first.
            #[must_use]
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_bytes()
            }
            /// From the 16 bytes, most significant first.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Ulid::from_bytes(bytes))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Ulid::from_string(text)
                    .map(Self)
                    .map_err(|_| IdError::NotUlid(text.to_owned()))
            }
        }
    };
}

ulid_id! {
    /// The identity of a host for all its life: made by its agent at first
    /// start (or by the hub for a host seen through another one).
    HostId
}
ulid_id! {
    /// The identity of an event, made by whoever saw it first.
    EventId
}

ulid_id! {
    /// The identity of an Action. Whoever files it makes it from where the
    /// request came from and the request's own id, so that a request that
    /// arrives twice is one Action.
    ActionId
}

/// A host's name, for people: `a-z 0-9 . _ -`, 1 to 100 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes a valid name of a foreign one: lower-cased, everything outside the
    /// allowed set becomes `-`, cut at 100 characters. `None` when nothing is
    /// left to call it by.
    #[must_use]
    pub fn normalised(foreign: &str) -> Option<Self> {
        let name: String =
            foreign.trim().to_lowercase().chars().map(|c| if allowed(c) { c } else { '-' }).take(100).collect();
        let name = name.trim_matches('-');
        (!name.is_empty()).then(|| Self(name.to_owned()))
    }
}

fn allowed(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-')
}

impl FromStr for HostName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for HostName {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        if (1..=100).contains(&text.len()) && text.chars().all(allowed) {
            Ok(Self(text))
        } else {
            Err(IdError::BadHostName(text))
        }
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_foreign_ones_normalised() {
        assert!("nas-1.lan_2".parse::<HostName>().is_ok());
        for bad in ["", "NAS", "a b", "ä", &"x".repeat(101)] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?}");
        }
        assert_eq!(HostName::normalised(" My NAS (old) ").map(String::from), Some("my-nas--old".to_owned()));
        assert_eq!(HostName::normalised("///"), None);
    }

    #[test]
    fn ids_round_trip_as_text_and_bytes() {
        let id = HostId::from_parts(1_700_000_000_000, 42);
        assert_eq!(id.to_string().parse::<HostId>(), Ok(id));
        assert_eq!(HostId::from_bytes(id.to_bytes()), id);
        assert!("not a ulid".parse::<HostId>().is_err());
    }
}
