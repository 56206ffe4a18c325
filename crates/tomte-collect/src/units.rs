//! Durations and sizes as people write them in a configuration file: `"10s"`,
//! `"15m"`, `"64MB"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a number with a unit of time.
    #[error("{0:?} is not a duration; write a number and a unit, for example \"10s\", \"5m\", \"2h\" or \"7d\"")]
    Duration(String),
    /// Not a number with a unit of size.
    #[error("{0:?} is not a size; write a number and a unit, for example \"64MB\", \"512KiB\" or \"1GB\"")]
    Size(String),
}

/// A duration, in the file a text such as `"10s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A size in bytes, in the file a text such as `"64MB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Units of time in milliseconds, the greatest first; the first name of each
/// length is the one that is written.
const TIME: [(&str, u64); 8] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("min", 60_000),
    ("s", 1_000),
    ("sec", 1_000),
    ("ms", 1),
    ("", u64::MAX),
];

/// Units of size in bytes. Powers of ten and of two are both accepted.
const SIZE: [(&str, u64); 10] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

fn scale(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit && !name.is_empty())?;
    number.checked_mul(*factor)
}

impl FromStr for Span {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        scale(text, &TIME)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| UnitError::Duration(text.to_owned()))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let fits = |(_, factor): &&(&str, u64)| millis.is_multiple_of(*factor);
        match TIME.iter().find(fits) {
            Some((name, factor)) if millis > 0 => write!(f, "{}{name}", millis / factor),
            _ => f.write_str("0s"),
        }
    }
}

impl FromStr for Size {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        scale(text, &SIZE).map(Self).ok_or_else(|| UnitError::Size(text.to_owned()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0.is_multiple_of(*factor);
        match SIZE.iter().find(fits) {
            Some((name, factor)) if self.0 > 0 => write!(f, "{}{name}", self.0 / factor),
            _ => f.write_str("0B"),
        }
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(Span, Size);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_written_back() {
        for (text, seconds) in [("10s", 10), ("5m", 300), ("15m", 900), ("2h", 7200), ("7d", 604_800)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))));
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), text);
        }
        assert_eq!("90 sec".parse(), Ok(Span(Duration::from_secs(90))));
        assert_eq!(Span(Duration::from_millis(250)).to_string(), "250ms");
        assert_eq!(Span(Duration::ZERO).to_string(), "0s");
        for (text, bytes) in [("64MB", 64_000_000), ("1KiB", 1024), ("3B", 3), ("2GiB", 2 << 30)] {
            assert_eq!(text.parse(), Ok(Size(bytes)));
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_quantity_says_how_to_write_one() {
        for bad in ["", "10", "s", "-1s", "1.5h", "ten s", "10 parsecs", "99999999999999999999d"] {
            let error = bad.parse::<Span>().expect_err(bad);
            assert!(error.to_string().contains("\"10s\""), "{error}");
        }
        for bad in ["", "10", "MB", "1 potato"] {
            let error = bad.parse::<Size>().expect_err(bad);
            assert!(error.to_string().contains("\"64MB\""), "{error}");
        }
    }
}
