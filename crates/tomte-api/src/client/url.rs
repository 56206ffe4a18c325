//! Where a hub is: its address taken apart, and paths and queries put together.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::ClientError;

/// Where a hub (or an agent) answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Over TCP, perhaps with TLS.
    Tcp {
        /// Whether with TLS.
        tls: bool,
        /// The name or address, without the brackets of IPv6.
        host: String,
        /// The port.
        port: u16,
        /// What stands before `/api` behind a proxy; empty, or `/tomte`.
        prefix: String,
    },
    /// Over a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Endpoint {
    type Err = ClientError;
    /// `https://hub.lan`, `http://[::1]:8650/tomte`, `unix:/run/tomte/hub.sock`.
    fn from_str(text: &str) -> Result<Self, ClientError> {
        let bad = |why| ClientError::BadUrl { text: text.to_owned(), why };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(bad("no path of a socket")) } else { Ok(Self::Unix(path.into())) };
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(bad("it must begin with https://, http:// or unix:")),
        };
        let uri: http::Uri = format!("http://{rest}").parse().map_err(|_| bad("it is not a URL"))?;
        let authority = uri.authority().ok_or_else(|| bad("no host name"))?;
        if authority.as_str().contains('@') {
            return Err(bad("names and passwords do not belong into it"));
        }
        if uri.query().is_some() {
            return Err(bad("a query does not belong into it"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(bad("no host name"));
        }
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse().map_err(|_| bad("the port is not a number"))?,
            _ if tls => 443,
            _ => 80,
        };
        Ok(Self::Tcp { tls, host: host.to_owned(), port, prefix: uri.path().trim_end_matches('/').to_owned() })
    }
}

impl Endpoint {
    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }

    /// The `Host` header.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port, tls, .. } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let usual = if *tls { 443 } else { 80 };
                if *port == usual { host } else { format!("{host}:{port}") }
            }
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The request target of a path.
    pub(super) fn path(&self, target: &str) -> String {
        match self {
            Self::Tcp { prefix, .. } => format!("{prefix}{target}"),
            Self::Unix(_) => target.to_owned(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { tls, prefix, .. } => {
                write!(f, "{}://{}{prefix}", if *tls { "https" } else { "http" }, self.authority())
            }
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A text as one segment of a path: everything but letters, digits and `-._~`
/// is percent-encoded.
#[must_use]
pub fn path_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    encode(text, &mut encoded);
    // A segment of dots alone would be resolved away on the way.
    if matches!(encoded.as_str(), "." | "..") { encoded.replace('.', "%2E") } else { encoded }
}

/// A path with a query.
pub(super) fn with_query(path: &str, pairs: &[(&str, String)]) -> String {
    let mut target = path.to_owned();
    for (i, (key, value)) in pairs.iter().enumerate() {
        target.push(if i == 0 { '?' } else { '&' });
        target.push_str(key);
        target.push('=');
        encode(value, &mut target);
    }
    target
}

fn encode(text: &str, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(HEX[usize::from(byte >> 4)]));
            into.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_and_put_together() {
        for (text, shown, authority) in [
            ("https://hub.lan", "https://hub.lan", "hub.lan"),
            ("https://hub.lan/", "https://hub.lan", "hub.lan"),
            ("http://127.0.0.1:8650", "http://127.0.0.1:8650", "127.0.0.1:8650"),
            ("http://[::1]:8650/tomte/", "http://[::1]:8650/tomte", "[::1]:8650"),
            ("http://[::1]", "http://[::1]", "[::1]"),
            ("unix:/run/tomte/hub.sock", "/run/tomte/hub.sock", "localhost"),
            ("unix:///run/tomte/hub.sock", "/run/tomte/hub.sock", "localhost"),
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.authority(), authority);
        }
        let proxied: Endpoint = "https://home.lan/tomte".parse().expect("a URL");
        assert_eq!(proxied.path("/api/v1/hosts"), "/tomte/api/v1/hosts");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "hub.lan", "ftp://hub", "https://", "http://a:b@hub", "http://hub:99999", "http://h/?x=1", "unix:"]
        {
            assert!(matches!(text.parse::<Endpoint>(), Err(ClientError::BadUrl { .. })), "{text:?}");
        }
    }

    #[test]
    fn names_with_slashes_and_colons_are_one_segment() {
        assert_eq!(path_segment("/mnt/a:b ü"), "%2Fmnt%2Fa%3Ab%20%C3%BC");
        assert_eq!(path_segment(".."), "%2E%2E");
        assert_eq!(with_query("/x", &[("a", "1&2".into()), ("b", "+".into())]), "/x?a=1%262&b=%2B");
    }
}
