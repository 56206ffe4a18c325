//! Where a request comes from: the address that counts for the audit and for
//! back-off, also behind proxies that are trusted to tell it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use super::App;
use super::problem::Failure;
use crate::access::{Actor, Peer};

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    /// The address; `None` on the hub's own socket.
    pub(crate) address: Option<IpAddr>,
    /// Whether the way to the browser is encrypted, as far as the hub can know.
    pub(crate) encrypted: bool,
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

impl Source {
    /// Finds the source. `trusted` says which addresses are proxies of ours:
    /// of the addresses in `X-Forwarded-For`, the right-most that is none of
    /// them counts, since everything left of it was written by a stranger.
    pub(crate) fn of(peer: Option<Peer>, headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Self {
        let (address, tls) = match peer {
            Some(Peer::Local { .. }) => return Self { address: None, encrypted: true },
            Some(Peer::Remote { address, tls }) => (plain(address.ip()), tls),
            // Nobody said where it comes from: then from nowhere that is trusted.
            None => return Self { address: Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), encrypted: false },
        };
        if !trusted(address) {
            return Self { address: Some(address), encrypted: tls };
        }
        let forwarded: Vec<&str> = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect();
        let mut client = address;
        for text in forwarded.into_iter().rev() {
            // What is no address was not written by a proxy of ours.
            let Some(address) = parse(text) else { break };
            client = address;
            if !trusted(address) {
                break;
            }
        }
        let encrypted = tls || headers.get(FORWARDED_PROTO).is_some_and(|proto| proto == "https");
        Self { address: Some(client), encrypted }
    }

    /// What back-off counts by: a whole /64 of IPv6 is one place, because one
    /// machine may use any address of it.
    pub(crate) fn place(&self) -> Option<IpAddr> {
        self.address.map(|address| match address {
            IpAddr::V6(v6) => {
                let kept = u128::from(v6) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(kept))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }

    /// Somebody by name, seen from here, as the audit names them.
    pub(crate) fn actor(&self, name: impl Into<String>) -> Actor {
        Actor::new(name, self.address.map(|address| address.to_string()))
    }
}

impl FromRequestParts<App> for Source {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        parts.extensions.get().copied().ok_or_else(|| Failure::fault("a request passed by the gate"))
    }
}

/// An address, perhaps with a port, as proxies write it.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<std::net::SocketAddr>().map(|a| a.ip()));
    address.ok().map(plain)
}

/// IPv4 in IPv6's clothes is IPv4.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().expect("a header"));
        }
        let peer = Peer::Remote { address: format!("{peer}:1").parse().expect("an address"), tls: false };
        let proxy = |a: IpAddr| a.to_string().starts_with("10.");
        Source::of(Some(peer), &headers, proxy).address.map(|a| a.to_string()).unwrap_or_default()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_as_far_as_they_reach() {
        assert_eq!(source("9.9.9.9", &["1.1.1.1"]), "9.9.9.9", "a stranger may claim nothing");
        assert_eq!(source("10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(source("10.0.0.1", &["6.6.6.6, 1.1.1.1"]), "1.1.1.1", "the left part is the client's own word");
        assert_eq!(
            source("10.0.0.1", &["6.6.6.6", "1.1.1.1, 10.0.0.2"]),
            "1.1.1.1",
            "several proxies, several headers"
        );
        assert_eq!(source("10.0.0.1", &["rubbish, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(source("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(source("10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(source("[::ffff:10.0.0.1]", &["1.1.1.1"]), "1.1.1.1");
    }

    #[test]
    fn a_whole_network_of_ipv6_is_one_place() {
        let at = |text: &str| Source { address: Some(text.parse().expect("an address")), encrypted: false }.place();
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_ne!(at("1.1.1.1"), at("1.1.1.2"));
    }
}
