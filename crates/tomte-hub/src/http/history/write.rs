//! An answer's JSON, written straight from what was found: a chart's columns
//! are most of it, and most of those are decimals with few digits.

use std::io::Write as _;

use tomte_store::history::Bucket;

use super::answer::{Answer, Told, Values, value};
use super::question::Function;

/// How many more decimals a mean has than what it is the mean of.
const MORE: u8 = 3;
/// Powers of ten that are exact, up to the most decimals a value has.
const POWERS: [f64; 13] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];
/// Whole numbers are exact up to here.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The body of an answer, as `tomte_api::history::History` reads it.
pub(super) fn body(answer: &Answer) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + answer.series.iter().map(size).sum::<usize>() + answer.t.len() * 14);
    out.extend_from_slice(b"{\"from\":");
    integer(&mut out, answer.from.millis());
    out.extend_from_slice(b",\"to\":");
    integer(&mut out, answer.to.millis());
    if let Some(step) = answer.step_ms {
        let _ = write!(out, ",\"step_ms\":{step},\"t\":");
        list(&mut out, &answer.t, |out, t| integer(out, t.millis()));
    }
    out.extend_from_slice(b",\"series\":");
    list(&mut out, &answer.series, series);
    out.push(b'}');
    out
}

/// About how long it will be; too little costs a copy, no more.
fn size(told: &Told) -> usize {
    let values = match &told.values {
        Values::Raw(points) => points.len() * 22,
        Values::Buckets(buckets, None) => buckets.len() * 24,
        Values::Buckets(buckets, Some(_)) => buckets.len() * 9,
        Values::Column(_, column) => column.len() * 9,
    };
    values + 320
}

fn list<T>(out: &mut Vec<u8>, items: &[T], mut one: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        one(out, item);
    }
    out.push(b']');
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    let _ = write!(out, ",\"{name}\":");
    // Writing to memory cannot fail, and text is always JSON.
    let _ = serde_json::to_writer(out, value);
}

fn series(out: &mut Vec<u8>, told: &Told) {
    out.extend_from_slice(b"{\"key\":");
    let _ = serde_json::to_writer(&mut *out, &told.key);
    if let Some((name, id)) = &told.host {
        text(out, "host", name);
        let _ = write!(out, ",\"host_id\":\"{id}\"");
    }
    text(out, "kind", &told.kind);
    if let Some(name) = &told.name {
        text(out, "name", name);
    }
    text(out, "field", &told.field);
    text(out, "unit", &told.unit);
    let _ = write!(out, ",\"tier\":\"{}\",\"interval_ms\":{}", told.tier.as_str(), told.interval_ms);
    let fine = told.decimals.map(|decimals| decimals + MORE);
    match &told.values {
        Values::Raw(points) => {
            out.extend_from_slice(b",\"t\":");
            list(out, points, |out, (t, _)| integer(out, t.millis()));
            out.extend_from_slice(b",\"mean\":");
            list(out, points, |out, (_, value)| exact(out, *value, told.decimals));
        }
        Values::Buckets(buckets, function) => {
            let all = [Function::Mean, Function::Min, Function::Max];
            for function in function.as_ref().map_or(&all[..], std::slice::from_ref) {
                column(out, *function);
                list(out, buckets, |out, found: &Option<Bucket>| {
                    match found.as_ref().and_then(|bucket| value(bucket, *function)) {
                        None => out.extend_from_slice(b"null"),
                        Some(mean) if *function == Function::Mean => rounded(out, mean, fine),
                        Some(read) => exact(out, read, told.decimals),
                    }
                });
            }
        }
        Values::Column(function, values) => {
            column(out, *function);
            list(out, values, |out, value| match value {
                None => out.extend_from_slice(b"null"),
                Some(value) => rounded(out, *value, fine),
            });
        }
    }
    out.push(b'}');
}

fn column(out: &mut Vec<u8>, function: Function) {
    let _ = write!(out, ",\"{}\":", function.as_str());
}

/// A value as it was read: its decimals, unless it turns out to have more.
fn exact(out: &mut Vec<u8>, value: f64, decimals: Option<u8>) {
    if let Some((power, digits)) = decimals.and_then(|digits| Some((POWERS.get(usize::from(digits))?, digits))) {
        let units = nearest(value * power);
        // Division by an exact power rounds once: so it is the same double, or
        // the value had more decimals.
        if let Some(units) = units.filter(|units| *units as f64 / power == value) {
            return decimal(out, units, digits);
        }
    }
    number(out, value);
}

/// A value that was worked out, to so many decimals.
fn rounded(out: &mut Vec<u8>, value: f64, decimals: Option<u8>) {
    if let Some((power, digits)) = decimals.and_then(|digits| Some((POWERS.get(usize::from(digits))?, digits)))
        && let Some(units) = nearest(value * power)
    {
        return decimal(out, units, digits);
    }
    number(out, value);
}

/// Any value; what is not finite is missing.
fn number(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        let _ = serde_json::to_writer(out, &value);
    } else {
        out.extend_from_slice(b"null");
    }
}

fn integer(out: &mut Vec<u8>, value: i64) {
    decimal(out, value, 0);
}

/// The whole number next to a value, where that is exact; without the call that
/// `round` is on many machines.
fn nearest(value: f64) -> Option<i64> {
    (value.abs() < EXACT).then(|| (value + 0.5_f64.copysign(value)) as i64)
}

/// Two digits each, from 00 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// So many units of the last decimal; without zeros at the end.
fn decimal(out: &mut Vec<u8>, units: i64, mut decimals: u8) {
    let mut rest = units.unsigned_abs();
    while decimals > 0 && rest.is_multiple_of(10) {
        rest /= 10;
        decimals -= 1;
    }
    // Filled from the end, two at a time.
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while rest >= 100 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if rest >= 10 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(&PAIRS[rest as usize]);
    } else {
        start -= 1;
        digits[start] = b'0' + rest as u8;
    }
    if units < 0 {
        out.push(b'-');
    }
    let decimals = usize::from(decimals);
    if decimals == 0 {
        return out.extend_from_slice(&digits[start..]);
    }
    // What is in front of the digits is zeros, as many as are needed.
    let point = digits.len() - decimals;
    out.extend_from_slice(&digits[start.min(point - 1)..point]);
    out.push(b'.');
    out.extend_from_slice(&digits[point..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("JSON is text")
    }

    #[test]
    fn decimals_are_written_short_and_read_back_as_they_were() {
        for (value, decimals, expected) in [
            (0.0, 0, "0"),
            (-0.0, 4, "0"),
            (0.25, 4, "0.25"),
            (-0.0001, 4, "-0.0001"),
            (1234.5, 1, "1234.5"),
            (1e12, 0, "1000000000000"),
            (1_767_225_600_000.0, 0, "1767225600000"),
            (40.0, 1, "40"),
        ] {
            assert_eq!(told(|out| exact(out, value, Some(decimals))), expected);
        }
        // More decimals than the field has, or than can be told: as it is.
        assert_eq!(told(|out| exact(out, 0.123_456, Some(2))), "0.123456");
        assert_eq!(told(|out| exact(out, 1e300, Some(2))), "1e+300");
        assert_eq!(told(|out| exact(out, 0.1, None)), "0.1");
        assert_eq!(told(|out| rounded(out, 2.0 / 3.0, Some(4))), "0.6667");
        assert_eq!(told(|out| rounded(out, f64::NAN, Some(4))), "null");
    }

    proptest::proptest! {
        #[test]
        fn every_reading_is_read_back_as_it_was(steps in -1_000_000_000_000_i64..1_000_000_000_000, exponent in -9_i8..=0) {
            let resolution = tomte_model::Resolution::power_of_ten(exponent);
            let value = resolution.from_steps(steps);
            let text = told(|out| exact(out, value, Some(-exponent as u8)));
            proptest::prop_assert_eq!(text.parse::<f64>().expect("a number"), value);
        }
    }
}
