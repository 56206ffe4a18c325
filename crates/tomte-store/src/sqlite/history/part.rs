//! Readings of some hours: the blocks that the memory had, one after the
//! other, under one checksum.
//!
//! ```text
//! format     one byte, 1
//! checksum   CRC-32 of what follows, four bytes
//! blocks     length (varint) and a table each
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use crate::codec::rollup::{self, Common, Roll};
use crate::codec::table::{self, Header};
use crate::codec::{put_varint, take_bytes, take_length};

const FORMAT: u8 = 1;

/// How long a bucket of the finer rollup is.
pub(super) const FIVE_MINUTES: i64 = 300_000;

/// Puts tables together.
pub(super) fn encode<'a>(tables: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = vec![FORMAT, 0, 0, 0, 0];
    for table in tables {
        put_varint(&mut bytes, table.len() as u64);
        bytes.extend_from_slice(table);
    }
    let checksum = crc32fast::hash(&bytes[5..]);
    bytes[1..5].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Where the tables of a part are; `None` when the part is damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<(Header, Range<usize>)>> {
    let checksum = u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?);
    let mut rest = bytes.get(5..)?;
    if bytes[0] != FORMAT || crc32fast::hash(rest) != checksum {
        return None;
    }
    let mut tables = Vec::new();
    while !rest.is_empty() {
        let length = take_length(&mut rest)?;
        let start = bytes.len() - rest.len();
        let table = take_bytes(&mut rest, length)?;
        tables.push((Header::read(table)?, start..start + length));
    }
    Some(tables)
}

/// Buckets by series, with the series' exponent, in order and each start once.
pub(super) type Buckets = BTreeMap<u64, (i8, Vec<Roll>)>;

/// Adds the buckets of five minutes of a table of readings.
pub(super) fn gather(header: &Header, bytes: &[u8], buckets: &mut Buckets) -> Option<()> {
    let (mut times, mut values, mut rolls) = (Vec::new(), Vec::new(), Vec::new());
    header.read_times(bytes, &mut times)?;
    for place in &header.entries {
        let Some(entry) = header.entry(bytes, place.series) else { continue };
        let Some((exponent, presence)) = table::read_entry(entry, header.rows, &mut values) else { continue };
        rolls.clear();
        let mut values = values.iter();
        presence.each(header.rows, |row| {
            if let Some(value) = values.next() {
                rollup::gather(&mut rolls, FIVE_MINUTES, times[row], rollup::steps(*value, exponent));
            }
        });
        join(buckets, place.series, exponent, &rolls);
    }
    Some(())
}

/// Adds buckets to others.
pub(super) fn join(buckets: &mut Buckets, series: u64, exponent: i8, rolls: &[Roll]) {
    let (_, there) = buckets.entry(series).or_insert_with(|| (exponent, Vec::new()));
    for roll in rolls {
        // Mostly they come at the end.
        let place = match there.last() {
            Some(last) if last.start >= roll.start => there.partition_point(|other| other.start < roll.start),
            _ => there.len(),
        };
        match there.get_mut(place) {
            Some(same) if same.start == roll.start => same.join(roll),
            _ => there.insert(place, *roll),
        }
    }
}

/// Adds the buckets of a table of buckets.
pub(super) fn join_table(buckets: &mut Buckets, header: &Header, bytes: &[u8]) -> Option<()> {
    for (series, exponent, rolls) in rollup::read_all(header, bytes)? {
        join(buckets, series, exponent, &rolls);
    }
    Some(())
}

/// Buckets as a table; `None` when there are none.
pub(super) fn table_of(buckets: &Buckets, effort: crate::codec::Effort) -> Option<Vec<u8>> {
    let mut starts: Vec<i64> = Vec::new();
    for (_, rolls) in buckets.values() {
        // Mostly the same for every series.
        if rolls.len() != starts.len() || rolls.iter().zip(&starts).any(|(roll, start)| roll.start != *start) {
            starts.extend(rolls.iter().map(|roll| roll.start));
            starts.sort_unstable();
            starts.dedup();
        }
    }
    if starts.is_empty() {
        return None;
    }
    let mut table = table::Writer::new(&starts, 0, crate::codec::Effort::Small);
    let common = Common::of(&starts, buckets.values().map(|(_, rolls)| rolls.as_slice()));
    common.add(&mut table, effort);
    for (series, (exponent, rolls)) in buckets {
        rollup::add(&mut table, &starts, &common, (*series, *exponent), rolls, effort);
    }
    Some(table.finish())
}
