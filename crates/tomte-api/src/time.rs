//! Times and durations as people and scripts write them in a query.

use std::time::Duration;

use tomte_model::Timestamp;

/// Reads a time: RFC 3339, milliseconds since 1970, `now`, or `now` more or
/// less a duration (`-24h`, `now-7d`, `+5m`).
///
/// # Errors
/// With a sentence that says what can be written.
pub fn time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let bad = || {
        format!(
            "{text:?} is not a time: write 2026-01-31T12:00:00Z, milliseconds since 1970, now, or relative like -24h"
        )
    };
    let relative = text.strip_prefix("now").unwrap_or(text);
    if relative.is_empty() && !text.is_empty() {
        return Ok(now);
    }
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(Timestamp::from_millis(millis));
    }
    if let Some(back) = relative.strip_prefix('-') {
        return duration(back).map(|back| now.minus(back)).map_err(|_| bad());
    }
    // A plus that nobody encoded arrives as a blank.
    if let Some(ahead) = relative.strip_prefix(['+', ' ']) {
        return duration(ahead).map(|ahead| now.plus(ahead)).map_err(|_| bad());
    }
    // The same goes for the plus of a zone: 2026-01-31T12:00:00+01:00.
    text.replace(' ', "+").parse().map_err(|_| bad())
}

/// Reads a duration: `30s`, `5m`, `1h30m`, `7d`, `250ms`, or milliseconds.
///
/// # Errors
/// With a sentence that says what can be written.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration: write 30s, 5m, 1h30m, 7d, or milliseconds");
    if let Ok(millis) = text.parse::<u64>() {
        return Ok(Duration::from_millis(millis));
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(bad()),
        };
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(millis)).ok_or_else(bad)?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = after;
    }
    if text.is_empty() { Err(bad()) } else { Ok(Duration::from_millis(total)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let read = |text: &str| time(text, now).map(Timestamp::millis);
        assert_eq!(read("now"), Ok(now.millis()));
        assert_eq!(read("1700000000000"), Ok(1_700_000_000_000));
        assert_eq!(read("-24h"), Ok(now.millis() - 86_400_000));
        assert_eq!(read("now-1h30m"), Ok(now.millis() - 5_400_000));
        assert_eq!(read("+5m"), Ok(now.millis() + 300_000));
        assert_eq!(read("2026-01-01T00:00:00Z"), Ok(1_767_225_600_000));
        assert_eq!(read("2026-01-01T01:00:00 01:00"), Ok(1_767_225_600_000), "a plus that became a blank");
        for bad in ["", "yesterday", "-", "-5", "now5m", "-5x", "-99999999999999999999h"] {
            // "-5" is a number, and so milliseconds before 1970.
            assert_eq!(read(bad).is_err(), bad != "-5", "{bad:?}");
        }
    }

    #[test]
    fn durations_are_read_in_every_form() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1500"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1d12h"), Ok(Duration::from_secs(129_600)));
        for bad in ["", "s", "5", "5 m", "-5m", "5y"] {
            assert_eq!(duration(bad).is_err(), bad != "5", "{bad:?}");
        }
    }
}
