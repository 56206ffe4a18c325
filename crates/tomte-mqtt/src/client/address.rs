//! Where a broker is: `mqtt://`, `mqtts://`, `ws://` or `wss://`, host, port.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What carries the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// TCP.
    Mqtt,
    /// TLS.
    Mqtts,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Scheme {
    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, scheme, _)| *scheme == self).map_or("mqtt", |(name, ..)| name)
    }

    const ALL: [(&'static str, Self, u16); 4] =
        [("mqtt", Self::Mqtt, 1883), ("mqtts", Self::Mqtts, 8883), ("ws", Self::Ws, 80), ("wss", Self::Wss, 443)];
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The address of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// What carries the protocol.
    pub scheme: Scheme,
    /// The host's name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path of a WebSocket, `/mqtt`; else empty.
    pub path: String,
}

/// A text that is not the address of a broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Anything.
    #[error(
        "{0:?} is not the address of a broker; write for example \"mqtt://broker.lan\", \"mqtts://broker.lan:8883\" \
         or \"wss://broker.lan/mqtt\""
    )]
    Other(String),
    /// It has a user in it, which would be shown wherever the address is.
    #[error("the broker's address has a user in it; set username and password_file instead")]
    User,
}

impl Address {
    /// Whether it is this machine's own.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Host and port, as they stand in a header or a message.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = BadAddress;
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if text.contains('@') {
            return Err(BadAddress::User);
        }
        let parse = || {
            let (scheme, rest) = text.trim().split_once("://")?;
            let (_, scheme, default_port) = Scheme::ALL.into_iter().find(|(name, ..)| *name == scheme)?;
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (host, port) = match authority.strip_prefix('[') {
                Some(v6) => v6.split_once(']').map(|(host, port)| (host, port.strip_prefix(':')))?,
                None => match authority.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (authority, None),
                },
            };
            let port = match port {
                Some(port) => port.parse().ok().filter(|port| *port != 0)?,
                None => default_port,
            };
            let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
            let clean_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '~' | '%');
            let web = matches!(scheme, Scheme::Ws | Scheme::Wss);
            let valid = !host.is_empty() && host.chars().all(clean) && path.chars().all(clean_path);
            let path = match path.trim_end_matches('/') {
                "" if web => "/mqtt".to_owned(),
                path => path.to_owned(),
            };
            (valid && (web || path.is_empty())).then(|| Self { scheme, host: host.to_owned(), port, path })
        };
        parse().ok_or_else(|| BadAddress::Other(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority(), self.path)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_brokers() {
        for (text, written) in [
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://broker.lan/", "mqtts://broker.lan:8883"),
            ("ws://[::1]:9001", "ws://[::1]:9001/mqtt"),
            ("wss://x/a/b", "wss://x:443/a/b"),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse(), Ok(address));
        }
        for bad in ["", "broker", "http://x", "mqtt://", "mqtt://x:0", "mqtt://x/y", "mqtt://a b", "mqtt://[::1"] {
            assert!(matches!(bad.parse::<Address>(), Err(BadAddress::Other(_))), "{bad:?}");
        }
        assert_eq!("mqtt://me:secret@x".parse::<Address>(), Err(BadAddress::User));
    }
}
