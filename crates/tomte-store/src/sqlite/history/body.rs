//! A report's readings as bytes.
//!
//! A body says for itself which series its values belong to, so that a row is
//! all that is needed besides the series table:
//!
//! ```text
//! format           one byte, 1
//! interval         varint, milliseconds
//! wall - at        zigzag varint, milliseconds: the host's own time
//! runs             varint, then for each: gap to the end of the run before
//!                  it (varint), length (varint)
//! values           a varint for each series of each run, in order
//! ```
//!
//! Series are numbered in the order in which a report first brings them, so
//! a report mostly has one run. A value is its number of steps of the series'
//! resolution, zigzag; a value without a resolution is its bits as a double,
//! bytes reversed, since round numbers end in zeros. Varints are LEB128.

use std::collections::BTreeMap;

use tomte_model::Resolution;

use crate::codec::{AS_DOUBLE, put_varint, take_varint, unzigzag, zigzag};

/// The one format so far.
const FORMAT: u8 = 1;

/// The integer that a value is kept as. `None` when it is not finite or has
/// too many steps.
pub(super) fn to_integer(value: f64, exponent: i8) -> Option<u64> {
    if exponent == AS_DOUBLE {
        return value.is_finite().then(|| value.to_bits().swap_bytes());
    }
    Resolution::power_of_ten(exponent).to_steps(value).map(zigzag)
}

/// The value that an integer stands for.
pub(super) fn from_integer(integer: u64, exponent: i8) -> f64 {
    if exponent == AS_DOUBLE {
        return f64::from_bits(integer.swap_bytes());
    }
    Resolution::power_of_ten(exponent).from_steps(unzigzag(integer))
}

/// The number that a table keeps for an integer.
pub(super) fn to_number(integer: u64, exponent: i8) -> i64 {
    if exponent == AS_DOUBLE { integer.swap_bytes().cast_signed() } else { unzigzag(integer) }
}

/// How much the host's own time is ahead of the report's, and how often its
/// collector reports, both in milliseconds.
pub(super) fn skew_and_interval(body: &[u8]) -> Option<(i64, u32)> {
    let opened = Opened::new(body)?;
    Some((opened.skew_millis, opened.interval_millis))
}

/// Puts many bodies of one collector into columns.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// By series: which bodies have a value, and the integers.
    pub(super) columns: BTreeMap<u64, (Vec<u32>, Vec<u64>)>,
    /// Of the last body: its runs, and what is in them.
    runs: Vec<u8>,
    numbers: Vec<u64>,
}

impl Columns {
    /// Adds the body that stands in a row. `None` when it makes no sense.
    pub(super) fn add(&mut self, row: u32, body: &[u8]) -> Option<()> {
        let opened = Opened::new(body)?;
        if self.runs != opened.runs {
            self.numbers.clear();
            let numbers = &mut self.numbers;
            each_run(opened.runs, |first, length| {
                // A body cannot hold more values than it has bytes.
                (length <= (body.len() - numbers.len().min(body.len())) as u64)
                    .then(|| numbers.extend(first..first + length))
            })?;
            self.runs.clear();
            self.runs.extend_from_slice(opened.runs);
        }
        let mut values = opened.values;
        let mut columns = self.columns.iter_mut().peekable();
        // Mostly the series are those that are there, in the same order.
        let mut others = Vec::new();
        for number in &self.numbers {
            let integer = take_varint(&mut values)?;
            while columns.peek().is_some_and(|(series, _)| *series < number) {
                columns.next();
            }
            match columns.next_if(|(series, _)| *series == number) {
                Some((_, (rows, integers))) => {
                    rows.push(row);
                    integers.push(integer);
                }
                None => others.push((*number, integer)),
            }
        }
        for (number, integer) in others {
            let (rows, integers) = self.columns.entry(number).or_default();
            rows.push(row);
            integers.push(integer);
        }
        Some(())
    }
}

/// Writes a body. `values` are series numbers with their integers, by number,
/// each number once.
pub(super) fn encode(interval_millis: u32, skew_millis: i64, values: &[(u64, u64)]) -> Vec<u8> {
    let mut body = Vec::with_capacity(12 + values.len() * 3);
    body.push(FORMAT);
    put_varint(&mut body, u64::from(interval_millis));
    put_varint(&mut body, zigzag(skew_millis));
    let runs = || values.chunk_by(|a, b| a.0 + 1 == b.0);
    put_varint(&mut body, runs().count() as u64);
    let mut end = 0;
    for run in runs() {
        let length = run.len() as u64;
        put_varint(&mut body, run[0].0 - end);
        put_varint(&mut body, length);
        end = run[0].0 + length;
    }
    for (_, integer) in values {
        put_varint(&mut body, *integer);
    }
    body
}

/// Every series and integer of a body; `None` when it makes no sense.
pub(super) fn decode(body: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut opened = Opened::new(body)?;
    let mut numbers = Vec::new();
    each_run(opened.runs, |first, length| {
        // A body cannot hold more values than it has bytes.
        if length <= (body.len() - numbers.len()) as u64 {
            numbers.extend(first..first + length);
            Some(())
        } else {
            None
        }
    })?;
    numbers.into_iter().map(|number| Some((number, take_varint(&mut opened.values)?))).collect()
}

/// Reads some series out of many bodies of one collector.
#[derive(Debug)]
pub(super) struct Picker {
    /// The series, by number.
    wanted: Vec<u64>,
    /// The runs of the last body, as bytes: nearly always those of the next.
    runs: Vec<u8>,
    /// For these runs: which value (counted in the body) is which of `wanted`.
    places: Vec<(usize, usize)>,
}

impl Picker {
    /// A picker for series; `wanted` must be in order.
    pub(super) fn new(wanted: Vec<u64>) -> Self {
        Self { wanted, runs: Vec::new(), places: Vec::new() }
    }

    /// Calls `each` with the place in `wanted` and the integer of everything
    /// the body has. Returns the collector's interval, `None` when the body
    /// makes no sense.
    pub(super) fn pick(&mut self, body: &[u8], mut each: impl FnMut(usize, u64)) -> Option<u32> {
        let opened = Opened::new(body)?;
        if self.runs != opened.runs {
            self.locate(opened.runs)?;
        }
        let mut values = opened.values;
        let mut place = 0;
        for &(value, wanted) in &self.places {
            values = skip_varints(values, value - place)?;
            each(wanted, take_varint(&mut values)?);
            place = value + 1;
        }
        Some(opened.interval_millis)
    }

    fn locate(&mut self, runs: &[u8]) -> Option<()> {
        self.runs.clear();
        self.places.clear();
        let (mut next, mut before) = (0, 0_usize);
        let (wanted, places) = (&self.wanted, &mut self.places);
        each_run(runs, |first, length| {
            while wanted.get(next).is_some_and(|number| *number < first + length) {
                if wanted[next] >= first {
                    places.push((before + usize::try_from(wanted[next] - first).ok()?, next));
                }
                next += 1;
            }
            before = before.checked_add(usize::try_from(length).ok()?)?;
            Some(())
        })?;
        self.runs.extend_from_slice(runs);
        Some(())
    }
}

/// A body's parts.
struct Opened<'a> {
    interval_millis: u32,
    skew_millis: i64,
    /// From the number of runs to the last one.
    runs: &'a [u8],
    values: &'a [u8],
}

impl<'a> Opened<'a> {
    fn new(body: &'a [u8]) -> Option<Self> {
        let (&FORMAT, mut rest) = body.split_first()? else { return None };
        let interval_millis = u32::try_from(take_varint(&mut rest)?).ok()?;
        let skew_millis = unzigzag(take_varint(&mut rest)?);
        let start = rest;
        let count = take_varint(&mut rest)?;
        let values = skip_varints(rest, usize::try_from(count.checked_mul(2)?).ok()?)?;
        Some(Self { interval_millis, skew_millis, runs: &start[..start.len() - values.len()], values })
    }
}

/// Calls `each` with the first number and the length of every run.
fn each_run(mut runs: &[u8], mut each: impl FnMut(u64, u64) -> Option<()>) -> Option<()> {
    let count = take_varint(&mut runs)?;
    let mut end = 0_u64;
    for _ in 0..count {
        let first = end.checked_add(take_varint(&mut runs)?)?;
        let length = take_varint(&mut runs)?;
        end = first.checked_add(length)?;
        each(first, length)?;
    }
    Some(())
}

fn skip_varints(bytes: &[u8], count: usize) -> Option<&[u8]> {
    if count == 0 {
        return Some(bytes);
    }
    let mut left = count;
    let last = bytes.iter().position(|byte| {
        left -= usize::from(*byte < 0x80);
        left == 0
    })?;
    Some(&bytes[last + 1..])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_by_the_byte() {
        let body = encode(10_000, -1, &[(5, zigzag(0)), (6, zigzag(-1)), (9, zigzag(150))]);
        #[rustfmt::skip]
        assert_eq!(body, [
            1,              // format
            0x90, 0x4E,     // 10,000 ms
            1,              // the host's clock is 1 ms behind
            2,  5, 2,  2, 1, // two runs: 5 and 6, then 9
            0, 1, 0xAC, 2,  // 0, -1, 150
        ]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            values in prop::collection::btree_map(0_u64..400, any::<u64>(), 0..80),
            wanted in prop::collection::btree_set(0_u64..400, 0..20),
            interval: u32,
            skew: i64,
        ) {
            let listed: Vec<_> = values.iter().map(|(n, v)| (*n, *v)).collect();
            let body = encode(interval, skew, &listed);
            prop_assert_eq!(decode(&body), Some(listed));
            let wanted: Vec<u64> = wanted.into_iter().collect();
            let mut picker = Picker::new(wanted.clone());
            // Twice: the second time from what was remembered.
            for _ in 0..2 {
                let mut picked = Vec::new();
                prop_assert_eq!(picker.pick(&body, |place, integer| picked.push((wanted[place], integer))), Some(interval));
                let expected: Vec<_> = wanted.iter().filter_map(|n| Some((*n, *values.get(n)?))).collect();
                prop_assert_eq!(picked, expected);
            }
        }

        #[test]
        fn values_come_back_at_their_resolution(value: f64, exponent in -9_i8..=9) {
            let rounded = Resolution::power_of_ten(exponent).round(value);
            prop_assert_eq!(to_integer(value, exponent).map(|i| from_integer(i, exponent)), rounded);
            let kept = to_integer(value, AS_DOUBLE).map(|i| from_integer(i, AS_DOUBLE).to_bits());
            prop_assert_eq!(kept, value.is_finite().then(|| value.to_bits()));
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), wanted: u64) {
            let _ = decode(&bytes);
            let _ = Picker::new(vec![wanted]).pick(&bytes, |_, _| {});
        }
    }
}
