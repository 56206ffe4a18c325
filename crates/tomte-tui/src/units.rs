//! Numbers in few cells: `93%`, `1.2G`, `45°`, `3d`. Where there is room, the
//! units of the catalogue say it themselves ([`Unit::format`]).

use std::borrow::Cow;

use tomte_model::{Timestamp, Unit};

/// A value in at most six cells.
pub(crate) fn short(unit: &Unit, value: f64) -> String {
    match unit {
        Unit::Ratio => percent(value),
        Unit::Bytes | Unit::BytesPerSecond => scaled(value, 1024.0, &["B", "K", "M", "G", "T", "P", "E"]),
        Unit::Hertz => scaled(value, 1000.0, &["Hz", "k", "M", "G", "T"]),
        Unit::Celsius => format!("{value:.0}°"),
        Unit::Seconds => span(value),
        Unit::Watts => format!("{value:.0}W"),
        Unit::Volts => format!("{value:.2}V"),
        Unit::Amperes => format!("{value:.1}A"),
        Unit::RevolutionsPerMinute => format!("{value:.0}"),
        Unit::Number | Unit::PerSecond | Unit::Other(_) => number(value),
    }
}

/// A value with its unit, as the catalogue writes it; in plain ASCII where that
/// is asked for.
pub(crate) fn long(unit: &Unit, value: f64, ascii: bool) -> String {
    let text = unit.format(value);
    if ascii { text.replace('°', "").replace('µ', "u") } else { text }
}

/// A part of a whole.
pub(crate) fn percent(value: f64) -> String {
    let percent = value * 100.0;
    if percent > 0.0 && percent < 0.95 { format!("{percent:.1}%") } else { format!("{percent:.0}%") }
}

/// A plain number, scaled where it is large.
pub(crate) fn number(value: f64) -> String {
    if value.abs() >= 9_999.5 {
        return scaled(value, 1000.0, &["", "k", "M", "G", "T"]);
    }
    let decimals = if value.fract() == 0.0 || value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

fn scaled(value: f64, base: f64, prefixes: &[&str]) -> String {
    let mut scaled = value;
    let mut prefix = 0;
    // 999.5 would be written as 1000: step up a little before.
    while scaled.abs() >= 999.5 && prefix + 1 < prefixes.len() {
        scaled /= base;
        prefix += 1;
    }
    let decimals = usize::from(prefix > 0 && scaled.abs() < 9.95);
    format!("{scaled:.decimals$}{}", prefixes[prefix])
}

/// A duration in its largest unit: `45s`, `12m`, `5h`, `3d`, `2y`.
pub(crate) fn span(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "-" } else { "" };
    let s = seconds.abs();
    let whole = s.floor();
    if s == 0.0 {
        "0s".to_owned()
    } else if s < 0.000_999_5 {
        format!("{sign}{:.0}us", s * 1e6)
    } else if s < 0.999_5 {
        format!("{sign}{:.0}ms", s * 1e3)
    } else if s < 9.95 && whole != s {
        format!("{sign}{s:.1}s")
    } else if whole < 120.0 {
        format!("{sign}{whole:.0}s")
    } else if whole < 7_200.0 {
        format!("{sign}{:.0}m", (whole / 60.0).floor())
    } else if whole < 172_800.0 {
        format!("{sign}{:.0}h", (whole / 3_600.0).floor())
    } else if whole < 63_072_000.0 {
        format!("{sign}{:.0}d", (whole / 86_400.0).floor())
    } else {
        format!("{sign}{:.0}y", (whole / 31_536_000.0).floor())
    }
}

/// How old something is, in whole seconds and above.
pub(crate) fn age(at: Timestamp, now: Timestamp) -> String {
    span(now.since(at).as_secs() as f64)
}

/// A time on this machine's clock: the date too where it is another day's.
pub(crate) fn clock(at: Timestamp, now: Timestamp, zone: &jiff::tz::TimeZone) -> String {
    let zoned = |at: Timestamp| jiff::Timestamp::from_millisecond(at.millis()).ok().map(|t| t.to_zoned(zone.clone()));
    match (zoned(at), zoned(now)) {
        (Some(at), Some(now)) if at.date() == now.date() => at.strftime("%H:%M:%S").to_string(),
        (Some(at), _) => at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        _ => at.to_string(),
    }
}

/// A text of the fleet with the moments in it, which are written for machines
/// there (`2026-01-31T12:00:00.000Z`), on this machine's clock.
pub(crate) fn told<'a>(text: &'a str, now: Timestamp, zone: &jiff::tz::TimeZone) -> Cow<'a, str> {
    let mut said = Cow::Borrowed(text);
    let mut from = 0;
    // Where one may begin: at the `T` between its day and its time.
    while let Some(at) = said[from..].find('T').map(|at| from + at) {
        from = at + 1;
        let Some(start) = at.checked_sub("2026-01-31".len()).filter(|start| said.is_char_boundary(*start)) else {
            continue;
        };
        let part_of_one = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.' | 'Z' | '+' | '-');
        let rest = &said[at + 1..];
        let end = at + 1 + rest.find(|c| !part_of_one(c)).unwrap_or(rest.len());
        // A full stop ends the sentence.
        let end = if said[..end].ends_with('.') { end - 1 } else { end };
        let Ok(moment) = said[start..end].parse() else { continue };
        let clock = clock(moment, now, zone);
        from = start + clock.len();
        said.to_mut().replace_range(start..end, &clock);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_texts_are_on_the_clock_of_who_reads() {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
        let now = Timestamp::from_millis(1_790_000_000_000);
        for (text, said) in [
            ("", ""),
            ("nothing of the kind: T, 12T3, TTT", "nothing of the kind: T, 12T3, TTT"),
            ("ended 2026-09-21T10:00:00.000Z with errors", "ended 12:00:00 with errors"),
            ("ended 2026-09-20T10:00:00Z.", "ended 2026-09-20 12:00:00."),
            ("2026-09-21T10:00:00+02:00–2026-09-21T11:30:01.5Z", "10:00:00–13:30:01"),
            ("2026-99-21T10:00:00Z", "2026-99-21T10:00:00Z"),
            ("größer als T10:00:00Z", "größer als T10:00:00Z"),
        ] {
            assert_eq!(told(text, now, &zone), said);
        }
    }

    #[test]
    fn values_are_short() {
        for (unit, value, text) in [
            (Unit::Ratio, 0.0, "0%"),
            (Unit::Ratio, 0.004, "0.4%"),
            (Unit::Ratio, 0.934, "93%"),
            (Unit::Bytes, 0.0, "0B"),
            (Unit::Bytes, 999.6, "1.0K"),
            (Unit::Bytes, 1_288_490_189.0, "1.2G"),
            (Unit::BytesPerSecond, 5e8, "477M"),
            (Unit::Celsius, 45.25, "45°"),
            (Unit::Seconds, 0.0, "0s"),
            (Unit::Seconds, 0.000_8, "800us"),
            (Unit::Seconds, 0.012, "12ms"),
            (Unit::Seconds, 2.5, "2.5s"),
            (Unit::Seconds, 119.0, "119s"),
            (Unit::Seconds, 7_199.0, "119m"),
            (Unit::Seconds, 273_600.0, "3d"),
            (Unit::Number, 3.0, "3"),
            (Unit::Number, 2.613, "2.61"),
            (Unit::Number, 123_456.0, "123k"),
            (Unit::Hertz, 3.4e9, "3.4G"),
        ] {
            assert_eq!(short(&unit, value), text, "{unit:?} {value}");
        }
    }

    #[test]
    fn another_day_has_its_date() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let utc = jiff::tz::TimeZone::UTC;
        assert_eq!(clock(now, now, &utc), "14:13:20");
        assert_eq!(clock(Timestamp::from_millis(1_789_900_000_000), now, &utc), "2026-09-20 10:26:40");
        assert_eq!(age(Timestamp::from_millis(1_789_999_940_000), now), "60s");
    }
}
