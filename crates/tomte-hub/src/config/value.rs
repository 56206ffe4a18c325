//! Values that a configuration holds and TOML has no type for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A span of time, written `10s`, `5m`, `48h`, `90d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A text that is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no span of time such as 10s, 5m, 48h or 90d")]
pub struct BadSpan(pub String);

impl Span {
    /// So many hours.
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self(Duration::from_secs(hours * 3600))
    }
    /// In milliseconds.
    #[must_use]
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Span {
    type Err = BadSpan;
    fn from_str(text: &str) -> Result<Self, BadSpan> {
        let bad = || BadSpan(text.to_owned());
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, unit) = text.split_at(split);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        let number: u64 = number.parse().map_err(|_| bad())?;
        // A thousand years is more than anybody means, and never overflows.
        let millis = number.checked_mul(*millis).filter(|&m| m <= 1_000 * 366 * 86_400_000).ok_or_else(bad)?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl TryFrom<String> for Span {
    type Error = BadSpan;
    fn try_from(text: String) -> Result<Self, BadSpan> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.millis();
        let (name, unit) =
            UNITS.iter().find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit)).unwrap_or(&("s", 1_000));
        write!(f, "{}{name}", millis / unit)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// A number of bytes, written `500MB`, `20GiB`, or as a bare number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "SizeText", into = "String")]
pub struct Size(pub u64);

/// A size as people write it: with quotes or without.
#[derive(Deserialize)]
#[serde(untagged)]
enum SizeText {
    Number(u64),
    Text(String),
}

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size such as 500MB or 20GiB")]
pub struct BadSize(pub String);

impl FromStr for Size {
    type Err = BadSize;
    fn from_str(text: &str) -> Result<Self, BadSize> {
        let bad = || BadSize(text.to_owned());
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let unit = match unit.trim() {
            "" => 1,
            unit => SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?.1,
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        number.checked_mul(unit).filter(|bytes| i64::try_from(*bytes).is_ok()).map(Self).ok_or_else(bad)
    }
}

impl TryFrom<SizeText> for Size {
    type Error = BadSize;
    fn try_from(text: SizeText) -> Result<Self, BadSize> {
        match text {
            SizeText::Number(bytes) => bytes.to_string().parse(),
            SizeText::Text(text) => text.parse(),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZES.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        let (name, unit) = whole.unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

/// A range of addresses: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network such as 10.0.0.0/8 or fd00::/8")]
pub struct BadNetwork(pub String);

impl Network {
    /// Whether an address lies in it. An IPv4 address in IPv6 clothing is the
    /// IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(ours).checked_shr(shift) == u32::from(theirs).checked_shr(shift)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(ours).checked_shr(shift) == u128::from(theirs).checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = BadNetwork;
    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most {
            return Err(bad());
        }
        Ok(Self { address, bits })
    }
}

impl TryFrom<String> for Network {
    type Error = BadNetwork;
    fn try_from(text: String) -> Result<Self, BadNetwork> {
        text.parse()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_round_trip_in_their_largest_unit() {
        for text in ["250ms", "15s", "5m", "49h", "2d", "0s"] {
            assert_eq!(text.parse::<Span>().expect("a span").to_string(), text);
        }
        assert_eq!("48h".parse::<Span>().expect("a span").to_string(), "2d");
        for bad in ["", "5", "s", "-5s", "5 s", "5w", "99999999999999999999d", "18446744073709551615d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, again) in
            [("0", 0, "0B"), ("500MB", 500_000_000, "500MB"), ("20 GiB", 20 << 30, "20GiB"), ("1025", 1025, "1025B")]
        {
            let size: Size = text.parse().expect(text);
            assert_eq!((size, size.to_string().as_str()), (Size(bytes), again));
        }
        for bad in ["", "GiB", "1.5GiB", "-1", "1 Gib", "99999999999TiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad:?}");
        }
        let read = |text: &str| toml::from_str::<std::collections::BTreeMap<String, Size>>(text);
        assert_eq!(read("a = 7").expect("a number")["a"], Size(7));
        let error = read("a = 'much'").expect_err("no size").to_string();
        assert!(error.contains("line 1, column 5") && error.contains("is no size"), "{error}");
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let inside = |network: &str, address: &str| {
            network.parse::<Network>().expect("a network").contains(address.parse().expect("an address"))
        };
        assert!(inside("10.0.0.0/8", "10.255.0.1"));
        assert!(!inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(inside("0.0.0.0/0", "8.8.8.8"));
        assert!(!inside("0.0.0.0/0", "fd00::1"));
        assert!(inside("fd00::/8", "fd12::1") && !inside("fd00::/8", "fe80::1"));
        assert!(inside("192.168.1.7", "192.168.1.7") && !inside("192.168.1.7", "192.168.1.8"));
        for bad in ["", "10.0.0.0/33", "fd00::/129", "hub.lan", "10.0.0.0/x"] {
            assert!(bad.parse::<Network>().is_err(), "{bad:?}");
        }
    }
}
