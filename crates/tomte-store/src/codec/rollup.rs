//! Buckets: what came of the readings of a series within a step.
//!
//! A table of rollups has a row per bucket, at its start. An entry is
//!
//! ```text
//! exponent         one byte
//! presence         as in a table of readings
//! form             one byte: 0 whole numbers, 1 doubles; 2 is added when every
//!                  count is the same, 4 when every last value is equally old
//! counts           one varint, or a column with its length (varint) before it
//! last times       the same: how long after the bucket's start, milliseconds
//! min, max, last, sum   columns, each but the last with its length before it;
//!                  whole numbers as what they are above the smallest
//! ```
//!
//! Within a bucket values are in steps of the series' resolution.

use super::table::{Header, Presence, Writer};
use super::{AS_DOUBLE, Effort, column, put_varint, take_bytes, take_length, take_varint, zigzag};
use crate::history::Bucket;

/// Whole numbers up to here are exact in doubles.
const EXACT: f64 = 9_007_199_254_740_992.0;

const DOUBLES: u8 = 1;
const SAME_COUNT: u8 = 2;
const SAME_AGE: u8 = 4;

/// A bucket, in steps of its series' resolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roll {
    /// When it begins.
    pub start: i64,
    /// How many values.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All together.
    pub sum: f64,
    /// The one that was read last.
    pub last: f64,
    /// How long after the start that was.
    pub last_after: i64,
}

impl Roll {
    /// A bucket of one value.
    #[must_use]
    pub fn of(start: i64, at: i64, value: f64) -> Self {
        Self { start, count: 1, min: value, max: value, sum: value, last: value, last_after: at - start }
    }

    /// Adds a value.
    pub fn add(&mut self, at: i64, value: f64) {
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value;
        if at - self.start >= self.last_after {
            (self.last, self.last_after) = (value, at - self.start);
        }
    }

    /// Adds what is in another bucket, which begins no earlier.
    pub fn join(&mut self, other: &Self) {
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        let after = other.start - self.start + other.last_after;
        if after >= self.last_after {
            (self.last, self.last_after) = (other.last, after);
        }
    }

    /// With values as they are, not in steps.
    #[must_use]
    pub fn scaled(&self, exponent: i8) -> Bucket {
        let scale = |steps: f64| scale(steps, exponent);
        Bucket {
            count: self.count,
            min: scale(self.min),
            max: scale(self.max),
            sum: scale(self.sum),
            last: scale(self.last),
        }
    }

    fn is_whole(&self) -> bool {
        [self.min, self.max, self.sum, self.last].iter().all(|value| value.abs() <= EXACT && value.fract() == 0.0)
    }
}

/// The value of so many steps; steps are whole, so that this is the value that
/// was read. As [`tomte_model::Resolution::from_steps`], for sums too.
#[must_use]
pub fn scale(steps: f64, exponent: i8) -> f64 {
    const POWERS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
    match exponent {
        AS_DOUBLE => steps,
        _ if exponent <= 0 => steps / POWERS[usize::from(exponent.unsigned_abs()).min(9)],
        _ => steps * POWERS[usize::from(exponent.unsigned_abs()).min(9)],
    }
}

/// A number of a column in steps, or as the double that its bits are.
#[must_use]
pub fn steps(number: i64, exponent: i8) -> f64 {
    if exponent == AS_DOUBLE { f64::from_bits(number.cast_unsigned()) } else { number as f64 }
}

/// Puts readings, which must be in order, into buckets.
pub fn gather(rolls: &mut Vec<Roll>, step: i64, at: i64, value: f64) {
    match rolls.last_mut() {
        Some(roll) if at < roll.start + step => roll.add(at, value),
        _ => rolls.push(Roll::of(at.div_euclid(step) * step, at, value)),
    }
}

/// Puts finer buckets, which must be in order, into coarser ones.
#[must_use]
pub fn coarsen(fine: &[Roll], step: i64) -> Vec<Roll> {
    let mut coarse: Vec<Roll> = Vec::with_capacity(fine.len());
    for roll in fine {
        match coarse.last_mut() {
            Some(last) if roll.start < last.start + step => last.join(roll),
            _ => {
                let start = roll.start.div_euclid(step) * step;
                coarse.push(Roll { start, last_after: roll.start - start + roll.last_after, ..*roll });
            }
        }
    }
    coarse
}

/// Adds a series' buckets to a table whose rows are at `starts`. Both are in
/// order, and every bucket's start is among the rows.
pub fn add(table: &mut Writer, starts: &[i64], series: u64, exponent: i8, rolls: &[Roll], effort: Effort) {
    let mut row = 0_usize;
    let rows = rolls.iter().map(|roll| {
        row += starts.get(row..).unwrap_or_default().partition_point(|start| *start < roll.start);
        row as u32
    });
    let presence = Presence::of(rows, starts.len());
    table.add_with(series, |bytes| {
        bytes.push(exponent.cast_unsigned());
        presence.write(bytes);
        write(rolls, effort, bytes);
    });
}

fn write(rolls: &[Roll], effort: Effort, bytes: &mut Vec<u8>) {
    let Some(first) = rolls.first() else { return };
    let whole = rolls.iter().all(Roll::is_whole);
    let same_count = rolls.iter().all(|roll| roll.count == first.count);
    let same_age = rolls.iter().all(|roll| roll.last_after == first.last_after);
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    bytes.push(flag(!whole, DOUBLES) | flag(same_count, SAME_COUNT) | flag(same_age, SAME_AGE));
    let column = |numbers: Vec<i64>, exponent: i8| {
        let mut column = Vec::new();
        column::encode(&numbers, exponent, effort, &mut column);
        column
    };
    let with_length = |column: Vec<u8>, bytes: &mut Vec<u8>| {
        put_varint(bytes, column.len() as u64);
        bytes.extend(column);
    };
    if same_count {
        put_varint(bytes, first.count);
    } else {
        with_length(column(rolls.iter().map(|roll| roll.count.cast_signed()).collect(), 0), bytes);
    }
    if same_age {
        put_varint(bytes, zigzag(first.last_after));
    } else {
        with_length(column(rolls.iter().map(|roll| roll.last_after).collect(), 0), bytes);
    }
    if whole {
        let above = |value: fn(&Roll) -> f64| rolls.iter().map(|roll| value(roll) as i64 - roll.min as i64).collect();
        with_length(column(rolls.iter().map(|roll| roll.min as i64).collect(), 0), bytes);
        with_length(column(above(|roll| roll.max), 0), bytes);
        with_length(column(above(|roll| roll.last), 0), bytes);
        let sums = rolls.iter().map(|roll| above_smallest(roll.sum as i64, roll.min as i64, roll.count)).collect();
        bytes.extend(column(sums, 0));
    } else {
        let bits = |value: fn(&Roll) -> f64| rolls.iter().map(|roll| value(roll).to_bits().cast_signed()).collect();
        with_length(column(bits(|roll| roll.min), AS_DOUBLE), bytes);
        with_length(column(bits(|roll| roll.max), AS_DOUBLE), bytes);
        with_length(column(bits(|roll| roll.last), AS_DOUBLE), bytes);
        bytes.extend(column(bits(|roll| roll.sum), AS_DOUBLE));
    }
}

/// What a sum has above so many times the smallest. Wraps around, and comes
/// back the same way.
fn above_smallest(sum: i64, min: i64, count: u64) -> i64 {
    sum.wrapping_sub(min.wrapping_mul(count.cast_signed()))
}

/// Reads an entry of a table whose rows are at `starts`; returns its exponent.
pub fn read(mut entry: &[u8], starts: &[i64], rolls: &mut Vec<Roll>) -> Option<i8> {
    rolls.clear();
    let (&exponent, rest) = entry.split_first()?;
    entry = rest;
    let presence = Presence::read(&mut entry, starts.len())?;
    let count = presence.count(starts.len());
    if count == 0 {
        return Some(exponent.cast_signed());
    }
    let (&form, rest) = entry.split_first()?;
    entry = rest;
    if form > DOUBLES | SAME_COUNT | SAME_AGE {
        return None;
    }
    let empty = Roll { start: 0, count: 0, min: 0.0, max: 0.0, sum: 0.0, last: 0.0, last_after: 0 };
    rolls.resize(count, empty);
    let mut rest = rolls.iter_mut();
    presence.each(starts.len(), |row| {
        if let Some(roll) = rest.next() {
            roll.start = starts[row];
        }
    });
    let mut numbers = Vec::new();
    if form & SAME_COUNT != 0 {
        let same = take_varint(&mut entry)?;
        rolls.iter_mut().for_each(|roll| roll.count = same);
    } else {
        column::decode(take_column(&mut entry)?, count, &mut numbers)?;
        rolls.iter_mut().zip(&numbers).for_each(|(roll, count)| roll.count = count.cast_unsigned());
    }
    if form & SAME_AGE != 0 {
        let same = super::unzigzag(take_varint(&mut entry)?);
        rolls.iter_mut().for_each(|roll| roll.last_after = same);
    } else {
        column::decode(take_column(&mut entry)?, count, &mut numbers)?;
        rolls.iter_mut().zip(&numbers).for_each(|(roll, after)| roll.last_after = *after);
    }
    let mut next = |entry: &mut &[u8], last: bool| {
        let column = if last { std::mem::take(entry) } else { take_column(entry)? };
        column::decode(column, count, &mut numbers)?;
        Some(std::mem::take(&mut numbers))
    };
    let (mins, maxs) = (next(&mut entry, false)?, next(&mut entry, false)?);
    let (lasts, sums) = (next(&mut entry, false)?, next(&mut entry, true)?);
    let columns = mins.iter().zip(&maxs).zip(lasts.iter().zip(&sums));
    for (roll, ((min, max), (last, sum))) in rolls.iter_mut().zip(columns) {
        if form & DOUBLES == 0 {
            roll.min = *min as f64;
            roll.max = min.wrapping_add(*max) as f64;
            roll.last = min.wrapping_add(*last) as f64;
            roll.sum = sum.wrapping_add(min.wrapping_mul(roll.count.cast_signed())) as f64;
        } else {
            let [min, max, last, sum] = [min, max, last, sum].map(|bits| f64::from_bits(bits.cast_unsigned()));
            (roll.min, roll.max, roll.last, roll.sum) = (min, max, last, sum);
        }
    }
    Some(exponent.cast_signed())
}

fn take_column<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_length(bytes)?;
    take_bytes(bytes, length)
}

/// All buckets of a table, by series: its number, exponent and buckets.
/// Entries that make no sense are left out.
#[must_use]
pub fn read_all(header: &Header, bytes: &[u8]) -> Option<Vec<(u64, i8, Vec<Roll>)>> {
    let mut starts = Vec::new();
    header.read_times(bytes, &mut starts)?;
    let entries = header.entries.iter().filter_map(|place| {
        let mut rolls = Vec::new();
        let exponent = read(header.entry(bytes, place.series)?, &starts, &mut rolls)?;
        Some((place.series, exponent, rolls))
    });
    Some(entries.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn there_and_back(rolls: &[Roll], exponent: i8) -> usize {
        let mut starts: Vec<i64> = rolls.iter().map(|roll| roll.start).collect();
        // A row that this series has nothing in.
        starts.insert(0, starts.first().map_or(0, |start| start - 300_000));
        let mut table = Writer::new(&starts, 0, Effort::Small);
        add(&mut table, &starts, 9, exponent, rolls, Effort::Small);
        let bytes = table.finish();
        let header = Header::read(&bytes).unwrap();
        assert_eq!(read_all(&header, &bytes).unwrap(), [(9, exponent, rolls.to_vec())]);
        bytes.len()
    }

    proptest! {
        #[test]
        fn buckets_come_back_and_equal_the_model(
            readings in prop::collection::vec((1_i64..400_000, any::<i32>()), 1..200),
            doubles: bool,
        ) {
            let mut at = 1_790_000_000_000;
            let (mut rolls, mut model) = (Vec::new(), std::collections::BTreeMap::<i64, Vec<f64>>::new());
            for (step, value) in &readings {
                at += step;
                let value = f64::from(*value) / if doubles { 7.0 } else { 1.0 };
                gather(&mut rolls, 300_000, at, value);
                model.entry(at.div_euclid(300_000) * 300_000).or_default().push(value);
            }
            there_and_back(&rolls, if doubles { AS_DOUBLE } else { -1 });
            let equals = |rolls: &[Roll], model: &std::collections::BTreeMap<i64, Vec<f64>>| {
                rolls.len() == model.len() && rolls.iter().zip(model).all(|(roll, (start, values))| {
                    let sum: f64 = values.iter().sum();
                    (roll.start, roll.count) == (*start, values.len() as u64)
                        && roll.min == values.iter().copied().fold(f64::INFINITY, f64::min)
                        && roll.max == values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
                        && (roll.sum - sum).abs() <= sum.abs() * 1e-12
                        && Some(&roll.last) == values.last()
                })
            };
            prop_assert!(equals(&rolls, &model));
            let mut hours = std::collections::BTreeMap::<i64, Vec<f64>>::new();
            for (start, values) in model {
                hours.entry(start.div_euclid(3_600_000) * 3_600_000).or_default().extend(values);
            }
            prop_assert!(equals(&coarsen(&rolls, 3_600_000), &hours));
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, &[0, 300_000, 600_000], &mut Vec::new());
        }
    }

    #[test]
    fn numbers_beyond_what_is_exact_are_kept_as_doubles() {
        let huge = Roll { start: 0, count: 3, min: -9e18, max: 9e18, sum: 2.7e19, last: 1.0, last_after: 5 };
        there_and_back(&[huge], 0);
    }
}
