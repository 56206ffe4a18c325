//! What one collector saw over some time: rows with a time each, and columns
//! of values, one entry per series.
//!
//! ```text
//! format           one byte: 1, or 2 without checksums
//! checksum         CRC-32 of the header, four bytes (format 1)
//! header length    varint
//! header:
//!   rows           varint
//!   interval       varint, milliseconds: how often reports came, at the end
//!   first, last    zigzag varint; varint, relative: the times' bounds
//!   times length   varint
//!   entries        varint, then for each: series (varint, less the one
//!                  before), length (varint), CRC-32 (four bytes, format 1)
//!   times          a column, in order
//! entries, one after the other:
//!   exponent       one byte
//!   presence       varint, zero when every row has a value; else the number of
//!                  runs, then for each: rows without (varint), rows with (varint)
//!   values         a column
//! ```

use std::ops::Range;

use super::{Effort, column, put_varint, take_bytes, take_length, take_varint, unzigzag, zigzag};

const CHECKED: u8 = 1;
const PLAIN: u8 = 2;

/// How many rows a table may have.
pub const MAX_ROWS: usize = 1 << 20;

/// How many bytes of a table tell how long its header is.
pub const PROLOGUE: usize = 15;

/// Which rows have a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Presence {
    /// All.
    #[default]
    All,
    /// Those in these ranges.
    Runs(Vec<Range<u32>>),
}

impl Presence {
    /// Of rows in order.
    #[must_use]
    pub fn of(rows: impl IntoIterator<Item = u32>, all: usize) -> Self {
        let mut runs: Vec<Range<u32>> = Vec::new();
        for row in rows {
            match runs.last_mut() {
                Some(run) if run.end == row => run.end += 1,
                _ => runs.push(row..row + 1),
            }
        }
        match runs.as_slice() {
            [run] if run.start == 0 && run.end as usize == all => Self::All,
            _ => Self::Runs(runs),
        }
    }

    /// How many rows have a value, of so many.
    #[must_use]
    pub fn count(&self, all: usize) -> usize {
        match self {
            Self::All => all,
            Self::Runs(runs) => runs.iter().map(ExactSizeIterator::len).sum(),
        }
    }

    /// Calls `each` with every row that has a value, of so many.
    pub fn each(&self, all: usize, mut each: impl FnMut(usize)) {
        match self {
            Self::All => (0..all).for_each(each),
            Self::Runs(runs) => runs.iter().for_each(|run| run.clone().for_each(|row| each(row as usize))),
        }
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let Self::Runs(runs) = self else { return bytes.push(0) };
        put_varint(bytes, runs.len() as u64 + 1);
        let mut end = 0;
        for run in runs {
            put_varint(bytes, u64::from(run.start - end));
            put_varint(bytes, u64::from(run.end - run.start));
            end = run.end;
        }
    }

    pub(super) fn read(bytes: &mut &[u8], all: usize) -> Option<Self> {
        let count = match take_length(bytes)? {
            0 => return Some(Self::All),
            more => more - 1,
        };
        if count > all {
            return None;
        }
        let mut runs = Vec::with_capacity(count.min(bytes.len()));
        let mut end = 0_u32;
        for _ in 0..count {
            let start = end.checked_add(u32::try_from(take_varint(bytes)?).ok()?)?;
            end = start.checked_add(u32::try_from(take_varint(bytes)?).ok()?)?;
            runs.push(start..end);
        }
        (end as usize <= all).then_some(Self::Runs(runs))
    }
}

/// Puts a table together, entry by entry.
#[derive(Debug)]
pub struct Writer {
    checked: bool,
    rows: usize,
    interval_millis: u32,
    first: i64,
    last: i64,
    times: Vec<u8>,
    effort: Effort,
    directory: Vec<u8>,
    entries: Vec<u8>,
    count: u64,
    before: u64,
}

impl Writer {
    /// A table of rows at these times, which must be in order, not empty and
    /// no more than [`MAX_ROWS`].
    #[must_use]
    pub fn new(times: &[i64], interval_millis: u32, effort: Effort) -> Self {
        let mut column = Vec::new();
        column::encode(times, 0, effort, &mut column);
        Self {
            checked: effort == Effort::Small,
            rows: times.len(),
            interval_millis,
            first: times.first().copied().unwrap_or(0),
            last: times.last().copied().unwrap_or(0),
            times: column,
            effort,
            directory: Vec::new(),
            entries: Vec::new(),
            count: 0,
            before: 0,
        }
    }

    /// Adds a series; they must come by number.
    pub fn add(&mut self, series: u64, exponent: i8, presence: &Presence, values: &[i64]) {
        let effort = self.effort;
        self.add_with(series, |bytes| {
            bytes.push(exponent.cast_unsigned());
            presence.write(bytes);
            column::encode(values, exponent, effort, bytes);
        });
    }

    /// Adds an entry as it stands in another table of the same rows.
    pub fn add_encoded(&mut self, series: u64, entry: &[u8]) {
        self.add_with(series, |bytes| bytes.extend_from_slice(entry));
    }

    pub(super) fn add_with(&mut self, series: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.entries.len();
        write(&mut self.entries);
        put_varint(&mut self.directory, series.wrapping_sub(self.before));
        put_varint(&mut self.directory, (self.entries.len() - start) as u64);
        if self.checked {
            self.directory.extend(crc32fast::hash(&self.entries[start..]).to_le_bytes());
        }
        self.before = series;
        self.count += 1;
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The table.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut header = Vec::with_capacity(32 + self.directory.len() + self.times.len());
        put_varint(&mut header, self.rows as u64);
        put_varint(&mut header, u64::from(self.interval_millis));
        put_varint(&mut header, zigzag(self.first));
        put_varint(&mut header, self.last.wrapping_sub(self.first).cast_unsigned());
        put_varint(&mut header, self.times.len() as u64);
        put_varint(&mut header, self.count);
        header.extend_from_slice(&self.directory);
        header.extend_from_slice(&self.times);
        let mut bytes = Vec::with_capacity(PROLOGUE + header.len() + self.entries.len());
        bytes.push(if self.checked { CHECKED } else { PLAIN });
        if self.checked {
            bytes.extend(crc32fast::hash(&header).to_le_bytes());
        }
        put_varint(&mut bytes, header.len() as u64);
        bytes.extend(header);
        bytes.extend(self.entries);
        bytes
    }
}

/// Where a table's parts are.
#[derive(Debug, Clone, Default)]
pub struct Header {
    /// How many rows.
    pub rows: usize,
    /// How often reports came, at the end.
    pub interval_millis: u32,
    /// The times' bounds.
    pub first: i64,
    /// See [`Self::first`].
    pub last: i64,
    /// Where the column of times is.
    pub times: Range<usize>,
    /// By series.
    pub entries: Vec<Place>,
    /// How long the table is.
    pub length: usize,
}

/// Where an entry is.
#[derive(Debug, Clone)]
pub struct Place {
    /// The series' number.
    pub series: u64,
    /// Its bytes.
    pub bytes: Range<usize>,
    checksum: Option<u32>,
}

impl Place {
    /// Whether the entry's bytes are those that were written.
    #[must_use]
    pub fn is_sound(&self, entry: &[u8]) -> bool {
        self.checksum.is_none_or(|checksum| checksum == crc32fast::hash(entry))
    }
}

impl Header {
    /// Where the header ends, by the first [`PROLOGUE`] bytes of a table (or
    /// all, if it has fewer).
    #[must_use]
    pub fn end(prologue: &[u8]) -> Option<usize> {
        let (&format, mut rest) = prologue.split_first()?;
        match format {
            CHECKED => rest = rest.get(4..)?,
            PLAIN => {}
            _ => return None,
        }
        let length = take_length(&mut rest)?;
        (prologue.len() - rest.len()).checked_add(length)
    }

    /// Reads the header of a table; `bytes` must reach to [`Self::end`].
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let end = Self::end(&bytes[..bytes.len().min(PROLOGUE)])?;
        let checked = *bytes.first()? == CHECKED;
        let mut prologue = bytes.get(if checked { 5 } else { 1 }..)?;
        let length = take_length(&mut prologue)?;
        let mut header = prologue.get(..length)?;
        if checked && bytes.get(1..5)? != crc32fast::hash(header).to_le_bytes() {
            return None;
        }
        let rows = take_length(&mut header)?;
        let interval_millis = u32::try_from(take_varint(&mut header)?).ok()?;
        let first = unzigzag(take_varint(&mut header)?);
        let last = first.checked_add_unsigned(take_varint(&mut header)?)?;
        let times_length = take_length(&mut header)?;
        let count = take_length(&mut header)?;
        // An entry takes two bytes of the directory at least.
        if rows == 0 || rows > MAX_ROWS || count > header.len() / 2 {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        let (mut series, mut at) = (0_u64, end);
        for _ in 0..count {
            series = series.wrapping_add(take_varint(&mut header)?);
            let next = at.checked_add(take_length(&mut header)?)?;
            let checksum = match checked {
                true => Some(u32::from_le_bytes(*take_bytes(&mut header, 4)?.first_chunk()?)),
                false => None,
            };
            entries.push(Place { series, bytes: at..next, checksum });
            at = next;
        }
        if header.len() != times_length {
            return None;
        }
        let times = end - times_length..end;
        Some(Self { rows, interval_millis, first, last, times, entries, length: at })
    }

    /// How many rows and series a table has, by its first bytes; an entry of
    /// the number zero is none. Not checked.
    #[must_use]
    pub fn read_counts(bytes: &[u8]) -> Option<(usize, usize)> {
        let mut header = bytes.get(if *bytes.first()? == CHECKED { 5 } else { 1 }..)?;
        take_length(&mut header)?;
        let rows = take_length(&mut header)?;
        for _ in 0..4 {
            take_varint(&mut header)?;
        }
        let entries = take_length(&mut header)?.min(MAX_ROWS);
        let first = take_varint(&mut header);
        Some((rows.min(MAX_ROWS), entries - usize::from(entries > 0 && first == Some(0))))
    }

    /// Reads the times.
    pub fn read_times(&self, bytes: &[u8], times: &mut Vec<i64>) -> Option<()> {
        column::decode(bytes.get(self.times.clone())?, self.rows, times)
    }

    /// Where the entry of a series is.
    #[must_use]
    pub fn find(&self, series: u64) -> Option<&Place> {
        let index = self.entries.binary_search_by_key(&series, |place| place.series).ok()?;
        self.entries.get(index)
    }

    /// An entry of a table that is there whole.
    #[must_use]
    pub fn entry<'a>(&self, bytes: &'a [u8], series: u64) -> Option<&'a [u8]> {
        let place = self.find(series)?;
        let entry = bytes.get(place.bytes.clone())?;
        place.is_sound(entry).then_some(entry)
    }
}

/// Reads an entry of a table of so many rows; returns its exponent.
pub fn read_entry(mut entry: &[u8], rows: usize, values: &mut Vec<i64>) -> Option<(i8, Presence)> {
    let (&exponent, rest) = entry.split_first()?;
    entry = rest;
    let presence = Presence::read(&mut entry, rows)?;
    column::decode(entry, presence.count(rows), values)?;
    Some((exponent.cast_signed(), presence))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tables_come_back(
            steps in prop::collection::vec(0_i64..40_000, 1..60),
            columns in prop::collection::btree_map(any::<u64>(), prop::collection::vec(prop::option::of(-500_i64..500), 60), 0..6),
            small: bool,
        ) {
            let times: Vec<i64> = steps.iter().scan(1_790_000_000_000, |at, step| { *at += step; Some(*at) }).collect();
            let effort = if small { Effort::Small } else { Effort::Fast };
            let mut writer = Writer::new(&times, 30_000, effort);
            for (series, column) in &columns {
                let here = || column.iter().take(times.len()).enumerate().filter_map(|(row, value)| Some((row, (*value)?)));
                let values: Vec<i64> = here().map(|(_, value)| value).collect();
                writer.add(*series, -2, &Presence::of(here().map(|(row, _)| row as u32), times.len()), &values);
            }
            let bytes = writer.finish();
            let header = Header::read(&bytes).unwrap();
            prop_assert_eq!((header.rows, header.first, header.last), (times.len(), times[0], *times.last().unwrap()));
            prop_assert_eq!(header.length, bytes.len());
            let mut read = Vec::new();
            header.read_times(&bytes, &mut read).unwrap();
            prop_assert_eq!(&read, &times);
            for (series, column) in &columns {
                let entry = header.entry(&bytes, *series).unwrap();
                let (exponent, presence) = read_entry(entry, header.rows, &mut read).unwrap();
                prop_assert_eq!(exponent, -2);
                let mut found = vec![None; times.len()];
                let mut values = read.iter();
                presence.each(header.rows, |row| found[row] = values.next().copied());
                prop_assert_eq!(&found[..], &column[..times.len()]);
            }
            // Any one bit that flips is noticed where checksums are.
            if small {
                let mut flipped = bytes.clone();
                let bit = steps.iter().sum::<i64>() as usize % (bytes.len() * 8);
                flipped[bit / 8] ^= 1 << (bit % 8);
                let sound = Header::read(&flipped).is_some_and(|header| {
                    header.length == flipped.len() && columns.keys().all(|series| header.entry(&flipped, *series).is_some())
                });
                prop_assert!(!sound, "bit {}", bit);
            }
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), format in 1_u8..=2) {
            let mut garbage = vec![format];
            garbage.extend(bytes);
            if let Some(header) = Header::read(&garbage) {
                let _ = header.read_times(&garbage, &mut Vec::new());
                for place in &header.entries {
                    if let Some(entry) = header.entry(&garbage, place.series) {
                        let _ = read_entry(entry, header.rows.min(1_000), &mut Vec::new());
                    }
                }
            }
        }
    }
}
