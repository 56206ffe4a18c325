//! Buckets: what came of the readings of a series within a step.
//!
//! A table of rollups has a row per bucket, at its start. What most of its
//! series have in common, since they come in the same reports, stands once, as
//! the entry of [`COMMON`]:
//!
//! ```text
//! exponent, presence   two zeros
//! counts               length (varint) and a column: how many readings
//! last times           a column: when the last one was, after the start
//! ```
//!
//! The entry of a series is
//!
//! ```text
//! exponent         one byte
//! presence         as in a table of readings
//! form             one byte: 0 whole numbers, 1 doubles; 2 is added when every
//!                  count is the same, 4 when every last value is equally old,
//!                  8 when counts are the common ones, 16 when the ages are;
//!                  32 when last values are told below the greatest; 64 when
//!                  sums are told above the greatest, 128 about the middle
//! counts           unless they are common: one varint, or a column with its
//!                  length (varint) before it
//! last times       the same
//! min, max, last, sum   columns, each but the last with its length before it;
//!                  whole numbers: the greatest and the last above the
//!                  smallest, the sum above so many times the smallest, or as
//!                  the form says
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
const COMMON_COUNTS: u8 = 8;
const COMMON_AGES: u8 = 16;
const LAST_BELOW: u8 = 32;
const SUM_ABOVE: u8 = 64;
const SUM_MIDDLE: u8 = 128;

/// The number of the entry that tells what the series have in common; series
/// count from one.
pub const COMMON: u64 = 0;

/// What most series of a table have in common, by row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Common {
    counts: Vec<i64>,
    ages: Vec<i64>,
}

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

impl Common {
    /// What series have in common, as far as that can be told by the first of
    /// them that has a bucket in a row. `starts` are the rows; every bucket's
    /// start is among them.
    #[must_use]
    pub fn of<'a>(starts: &[i64], all: impl Iterator<Item = &'a [Roll]>) -> Self {
        let mut common = Self { counts: vec![0; starts.len()], ages: vec![0; starts.len()] };
        let mut missing = starts.len();
        for rolls in all {
            if missing == 0 {
                break;
            }
            for (row, roll) in rows(starts, rolls).zip(rolls) {
                if let Some(count @ 0) = common.counts.get_mut(row as usize) {
                    *count = roll.count.cast_signed();
                    common.ages[row as usize] = roll.last_after;
                    missing -= 1;
                }
            }
        }
        common
    }

    /// Adds it to a table, before the series.
    pub fn add(&self, table: &mut Writer, effort: Effort) {
        table.add_with(COMMON, |bytes| {
            bytes.extend([0, 0]);
            with_length(encode(&self.counts, 0, effort), bytes);
            column::encode(&self.ages, 0, effort, bytes);
        });
    }

    /// Reads the entry of [`COMMON`] of a table of so many rows.
    #[must_use]
    pub fn read(entry: &[u8], rows: usize) -> Option<Self> {
        let mut rest = entry.strip_prefix(&[0, 0])?;
        let mut common = Self::default();
        column::decode(take_column(&mut rest)?, rows, &mut common.counts)?;
        column::decode(rest, rows, &mut common.ages)?;
        Some(common)
    }

    /// That of a table that is there whole; of one without, an empty one.
    #[must_use]
    pub fn of_table(header: &Header, bytes: &[u8]) -> Self {
        let entry = header.entry(bytes, COMMON);
        entry.and_then(|entry| Self::read(entry, header.rows)).unwrap_or_default()
    }
}

/// In which row each bucket is. Both are in order, and every bucket's start is
/// among the rows.
fn rows(starts: &[i64], rolls: &[Roll]) -> impl Iterator<Item = u32> {
    let mut row = 0_usize;
    rolls.iter().map(move |roll| {
        // Mostly the next one.
        if starts.get(row).is_none_or(|start| *start < roll.start) {
            row += starts.get(row..).unwrap_or_default().partition_point(|start| *start < roll.start);
        }
        row += 1;
        row as u32 - 1
    })
}

/// Adds a series' buckets to a table whose rows are at `starts`. Both are in
/// order, and every bucket's start is among the rows.
pub fn add(
    table: &mut Writer,
    starts: &[i64],
    common: &Common,
    (series, exponent): (u64, i8),
    rolls: &[Roll],
    effort: Effort,
) {
    let rows: Vec<u32> = rows(starts, rolls).collect();
    let of_common = |row: &u32| Some((*common.counts.get(*row as usize)?, *common.ages.get(*row as usize)?));
    let same = |same: &dyn Fn(&Roll, (i64, i64)) -> bool| {
        rows.iter().zip(rolls).all(|(row, roll)| of_common(row).is_some_and(|common| same(roll, common)))
    };
    let counts = same(&|roll, (count, _)| roll.count.cast_signed() == count);
    let ages = same(&|roll, (_, age)| roll.last_after == age);
    let form = if counts { COMMON_COUNTS } else { 0 } | if ages { COMMON_AGES } else { 0 };
    table.add_with(series, |bytes| {
        bytes.push(exponent.cast_unsigned());
        Presence::of(rows.iter().copied(), starts.len()).write(bytes);
        write(rolls, form, effort, bytes);
    });
}

fn encode(numbers: &[i64], exponent: i8, effort: Effort) -> Vec<u8> {
    let mut column = Vec::new();
    column::encode(numbers, exponent, effort, &mut column);
    column
}

fn with_length(column: Vec<u8>, bytes: &mut Vec<u8>) {
    put_varint(bytes, column.len() as u64);
    bytes.extend(column);
}

fn write(rolls: &[Roll], mut form: u8, effort: Effort, bytes: &mut Vec<u8>) {
    let Some(first) = rolls.first() else { return };
    if !rolls.iter().all(Roll::is_whole) {
        form |= DOUBLES;
    }
    if form & COMMON_COUNTS == 0 && rolls.iter().all(|roll| roll.count == first.count) {
        form |= SAME_COUNT;
    }
    if form & COMMON_AGES == 0 && rolls.iter().all(|roll| roll.last_after == first.last_after) {
        form |= SAME_AGE;
    }
    let (mut lasts, mut sums) = (Vec::new(), Vec::new());
    if form & DOUBLES == 0 {
        // Whatever seems to say the same with the smallest numbers.
        let told = |forms: &[u8], tell: fn(&Roll, u8) -> i64| {
            let all = forms.iter().map(|form| (*form, rolls.iter().map(|roll| tell(roll, *form)).collect::<Vec<_>>()));
            all.min_by_key(|(_, numbers)| weight(numbers)).unwrap_or_default()
        };
        let (last_form, sum_form);
        (last_form, lasts) = told(&[0, LAST_BELOW], tell_last);
        (sum_form, sums) = told(&[0, SUM_ABOVE, SUM_MIDDLE], tell_sum);
        form |= last_form | sum_form;
    }
    bytes.push(form);
    if form & SAME_COUNT != 0 {
        put_varint(bytes, first.count);
    } else if form & COMMON_COUNTS == 0 {
        let counts: Vec<i64> = rolls.iter().map(|roll| roll.count.cast_signed()).collect();
        with_length(encode(&counts, 0, effort), bytes);
    }
    if form & SAME_AGE != 0 {
        put_varint(bytes, zigzag(first.last_after));
    } else if form & COMMON_AGES == 0 {
        let ages: Vec<i64> = rolls.iter().map(|roll| roll.last_after).collect();
        with_length(encode(&ages, 0, effort), bytes);
    }
    let column = |exponent: i8, value: &dyn Fn(&Roll) -> i64| {
        encode(&rolls.iter().map(value).collect::<Vec<_>>(), exponent, effort)
    };
    if form & DOUBLES == 0 {
        with_length(column(0, &|roll| roll.min as i64), bytes);
        with_length(column(0, &|roll| roll.max as i64 - roll.min as i64), bytes);
        with_length(encode(&lasts, 0, effort), bytes);
        bytes.extend(encode(&sums, 0, effort));
    } else {
        let bits = |value: f64| value.to_bits().cast_signed();
        with_length(column(AS_DOUBLE, &|roll| bits(roll.min)), bytes);
        with_length(column(AS_DOUBLE, &|roll| bits(roll.max)), bytes);
        with_length(column(AS_DOUBLE, &|roll| bits(roll.last)), bytes);
        bytes.extend(column(AS_DOUBLE, &|roll| bits(roll.sum)));
    }
}

/// About how many bits numbers need, less what is the same for all.
fn weight(numbers: &[i64]) -> u64 {
    let bits = |number: &i64| u64::from(super::bits::width(zigzag(*number)));
    numbers.iter().map(bits).sum()
}

fn tell_last(roll: &Roll, form: u8) -> i64 {
    if form & LAST_BELOW == 0 { roll.last as i64 - roll.min as i64 } else { roll.max as i64 - roll.last as i64 }
}

fn tell_sum(roll: &Roll, form: u8) -> i64 {
    (roll.sum as i64).wrapping_sub(expected_sum(roll.min as i64, roll.max as i64, roll.count.cast_signed(), form))
}

/// What a sum is told as the difference to. Wraps around, and comes back the
/// same way.
fn expected_sum(min: i64, max: i64, count: i64, form: u8) -> i64 {
    if form & SUM_ABOVE != 0 {
        // All but one were the smallest.
        min.wrapping_mul(count.wrapping_sub(1)).wrapping_add(max)
    } else if form & SUM_MIDDLE != 0 {
        min.wrapping_add(max).wrapping_mul(count).div_euclid(2)
    } else {
        min.wrapping_mul(count)
    }
}

/// Reads an entry of a table whose rows are at `starts`; returns its exponent.
/// `common` is that of the table, or an empty one.
pub fn read(mut entry: &[u8], starts: &[i64], common: &Common, rolls: &mut Vec<Roll>) -> Option<i8> {
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
    if form & (COMMON_COUNTS | COMMON_AGES) != 0 && common.counts.len().min(common.ages.len()) < starts.len() {
        return None;
    }
    rolls.reserve(count);
    presence.each(starts.len(), |row| {
        let of = |column: &[i64]| column.get(row).copied().unwrap_or(0);
        let (count, last_after) = (of(&common.counts).cast_unsigned(), of(&common.ages));
        rolls.push(Roll { start: starts[row], count, min: 0.0, max: 0.0, sum: 0.0, last: 0.0, last_after });
    });
    let mut numbers = Vec::new();
    if form & SAME_COUNT != 0 {
        let same = take_varint(&mut entry)?;
        rolls.iter_mut().for_each(|roll| roll.count = same);
    } else if form & COMMON_COUNTS == 0 {
        column::decode(take_column(&mut entry)?, count, &mut numbers)?;
        rolls.iter_mut().zip(&numbers).for_each(|(roll, count)| roll.count = count.cast_unsigned());
    }
    if form & SAME_AGE != 0 {
        let same = super::unzigzag(take_varint(&mut entry)?);
        rolls.iter_mut().for_each(|roll| roll.last_after = same);
    } else if form & COMMON_AGES == 0 {
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
            let max = min.wrapping_add(*max);
            let last = if form & LAST_BELOW == 0 { min.wrapping_add(*last) } else { max.wrapping_sub(*last) };
            let expected = expected_sum(*min, max, roll.count.cast_signed(), form);
            (roll.min, roll.max, roll.last) = (*min as f64, max as f64, last as f64);
            roll.sum = sum.wrapping_add(expected) as f64;
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
    let common = Common::of_table(header, bytes);
    let entries = header.entries.iter().filter(|place| place.series != COMMON).filter_map(|place| {
        let mut rolls = Vec::new();
        let exponent = read(header.entry(bytes, place.series)?, &starts, &common, &mut rolls)?;
        Some((place.series, exponent, rolls))
    });
    Some(entries.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// Among others that have the same counts and ages, and alone.
    fn there_and_back(rolls: &[Roll], exponent: i8) -> usize {
        let mut starts: Vec<i64> = rolls.iter().map(|roll| roll.start).collect();
        // A row that this series has nothing in.
        starts.insert(0, starts.first().map_or(0, |start| start - 300_000));
        let first = Roll::of(starts[0], starts[0] + 7, 1.0);
        let others: Vec<Roll> = std::iter::once(first).chain(rolls.iter().copied()).collect();
        let mut smallest = usize::MAX;
        for (effort, all) in [
            (Effort::Small, vec![(9, rolls)]),
            (Effort::Small, vec![(8, others.as_slice()), (9, rolls)]),
            (Effort::Fast, vec![(9, rolls)]),
        ] {
            let mut table = Writer::new(&starts, 0, Effort::Small);
            let common = Common::of(&starts, all.iter().map(|(_, rolls)| *rolls));
            common.add(&mut table, effort);
            for (series, rolls) in &all {
                add(&mut table, &starts, &common, (*series, exponent), rolls, effort);
            }
            let bytes = table.finish();
            let header = Header::read(&bytes).unwrap();
            let expected: Vec<_> = all.iter().map(|(series, rolls)| (*series, exponent, rolls.to_vec())).collect();
            assert_eq!(read_all(&header, &bytes).unwrap(), expected);
            assert_eq!(Header::read_counts(&bytes), Some((starts.len(), all.len())));
            smallest = smallest.min(bytes.len());
        }
        smallest
    }

    /// As they were written before there was anything in common.
    #[test]
    fn what_was_written_without_anything_in_common_is_read() {
        let starts = [0, 300_000, 600_000];
        let roll =
            |start, count, min, max, sum, last, last_after| Roll { start, count, min, max, sum, last, last_after };
        let rolls = [
            roll(0, 10, 1.0, 9.0, 50.0, 2.0, 270_003),
            roll(300_000, 10, -3.0, 4.0, 7.0, 4.0, 270_001),
            roll(600_000, 9, 0.0, 0.0, 0.0, 0.0, 240_005),
        ];
        let columns = [vec![10, 10, 9], vec![270_003, 270_001, 240_005], vec![1, -3, 0], vec![8, 7, 0], vec![1, 7, 0]];
        let mut entry = vec![(-1_i8).cast_unsigned(), 0, 0];
        for column in &columns {
            with_length(encode(column, 0, Effort::Small), &mut entry);
        }
        entry.extend(encode(&[40, 37, 0], 0, Effort::Small));
        let mut found = Vec::new();
        assert_eq!(read(&entry, &starts, &Common::default(), &mut found), Some(-1));
        assert_eq!(found, rolls);
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
            let starts = [0, 300_000, 600_000];
            let common = Common::read(&bytes, 3).unwrap_or_default();
            let _ = read(&bytes, &starts, &common, &mut Vec::new());
        }
    }

    #[test]
    fn numbers_beyond_what_is_exact_are_kept_as_doubles() {
        let huge = Roll { start: 0, count: 3, min: -9e18, max: 9e18, sum: 2.7e19, last: 1.0, last_after: 5 };
        there_and_back(&[huge], 0);
    }
}
