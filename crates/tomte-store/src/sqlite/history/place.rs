//! Where pieces of history are: keys, and long pieces cut into slices.
//!
//! A key is a period (a day, eight days or 96 days, counted from 1970), a
//! collector and a number in one integer. So what is written together lies
//! together, new pieces come at the end, and a period goes in one range.
//!
//! A long piece is cut into slices of such a size that four fill a page; a
//! database that kept a piece per row would leave a part of every page empty.

use std::ops::Range;

use rusqlite::{OptionalExtension, Transaction};

use crate::codec::table::{Header, PROLOGUE};
use crate::sqlite::Fault;

/// How many bytes a slice has: a quarter of a page, less what SQLite adds.
pub(super) const SLICE: usize = 2_029;

/// Milliseconds of a day.
pub(super) const DAY: i64 = 86_400_000;

const COLLECTOR_BITS: u32 = 26;
const NUMBER_BITS: u32 = 20;

/// The last day that has a key, in 2149.
const LAST_DAY: i64 = (1 << 16) - 1;

/// A table of pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kept {
    /// Readings of some hours.
    Part,
    /// Readings of a day.
    Chunk,
    /// Buckets of five minutes of a day.
    Recent,
    /// Buckets of five minutes.
    Five,
    /// Buckets of an hour.
    Hour,
}

impl Kept {
    pub(super) const ALL: [Self; 5] = [Self::Part, Self::Chunk, Self::Recent, Self::Five, Self::Hour];

    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Chunk => "chunk",
            Self::Recent => "recent",
            Self::Five => "five",
            Self::Hour => "hour",
        }
    }

    /// How many days its periods have.
    pub(super) fn days(self) -> i64 {
        match self {
            Self::Part | Self::Chunk | Self::Recent => 1,
            Self::Five => 8,
            Self::Hour => 96,
        }
    }

    /// The period that a day is in.
    pub(super) fn period(self, day: i64) -> i64 {
        day.div_euclid(self.days())
    }
}

/// The day of a moment; `None` for what has no key.
pub(super) fn day(at: i64) -> Option<i64> {
    let day = at.div_euclid(DAY);
    (0..=LAST_DAY).contains(&day).then_some(day)
}

/// All keys of a collector's period.
pub(super) fn keys(period: i64, collector: i64) -> Range<i64> {
    let first = first_of(period) + (collector << NUMBER_BITS);
    first..first + (1 << NUMBER_BITS)
}

/// The first key of a period.
pub(super) fn first_of(period: i64) -> i64 {
    period.clamp(0, LAST_DAY + 1) << (COLLECTOR_BITS + NUMBER_BITS)
}

/// Whether a collector's number fits into a key.
pub(super) fn fits(collector: i64) -> bool {
    (0..1 << COLLECTOR_BITS).contains(&collector)
}

/// Period, collector and number of a key.
pub(super) fn parts(key: i64) -> (i64, i64, i64) {
    let collector = (key >> NUMBER_BITS) & ((1 << COLLECTOR_BITS) - 1);
    (key >> (COLLECTOR_BITS + NUMBER_BITS), collector, key & ((1 << NUMBER_BITS) - 1))
}

/// Writes a piece in the place of the one that is there.
pub(super) fn put(tx: &Transaction<'_>, kept: Kept, period: i64, collector: i64, bytes: &[u8]) -> Result<(), Fault> {
    let table = kept.table();
    let keys = keys(period, collector);
    let slices = bytes.len().div_ceil(SLICE) as i64;
    tx.prepare_cached(&format!("DELETE FROM {table} WHERE id >= ?1 AND id < ?2"))?
        .execute((keys.start + slices, keys.end))?;
    let mut insert = tx.prepare_cached(&format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2)"))?;
    for (key, slice) in keys.zip(bytes.chunks(SLICE)) {
        insert.execute((key, slice))?;
    }
    Ok(())
}

/// Deletes a piece.
pub(super) fn remove(tx: &Transaction<'_>, kept: Kept, period: i64, collector: i64) -> Result<usize, Fault> {
    let keys = keys(period, collector);
    let sql = format!("DELETE FROM {} WHERE id >= ?1 AND id < ?2", kept.table());
    Ok(tx.prepare_cached(&sql)?.execute((keys.start, keys.end))?)
}

/// The last step of sealing that a transaction sees.
pub(super) fn step(tx: &Transaction<'_>) -> rusqlite::Result<i64> {
    let mut step = tx.prepare_cached("SELECT value FROM meta WHERE key = 'step'")?;
    Ok(step.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// That transaction is the step of that number.
pub(super) fn set_step(tx: &Transaction<'_>, step: i64) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO meta VALUES ('step', ?1)")?.execute([step]).map(drop)
}

/// Slices of a piece, one after the other.
pub(super) fn slices(tx: &Transaction<'_>, kept: Kept, keys: Range<i64>) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let sql = match kept {
        Kept::Part => "SELECT body FROM part WHERE id >= ?1 AND id < ?2 ORDER BY id",
        Kept::Chunk => "SELECT body FROM chunk WHERE id >= ?1 AND id < ?2 ORDER BY id",
        Kept::Recent => "SELECT body FROM recent WHERE id >= ?1 AND id < ?2 ORDER BY id",
        Kept::Five => "SELECT body FROM five WHERE id >= ?1 AND id < ?2 ORDER BY id",
        Kept::Hour => "SELECT body FROM hour WHERE id >= ?1 AND id < ?2 ORDER BY id",
    };
    let mut statement = tx.prepare_cached(sql)?;
    let mut rows = statement.query((keys.start, keys.end))?;
    while let Some(row) = rows.next()? {
        bytes.extend_from_slice(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
    }
    Ok(bytes)
}

/// A piece that is read as far as it is needed.
pub(super) struct Piece<'a> {
    tx: &'a Transaction<'a>,
    kept: Kept,
    keys: Range<i64>,
    /// From the start on.
    bytes: Vec<u8>,
    pub(super) header: Header,
    /// Bytes that were read.
    pub(super) read: u64,
}

impl<'a> Piece<'a> {
    /// A piece's header. `Ok(None)` when there is no such piece; the inner
    /// `None` when it makes no sense.
    pub(super) fn open(
        tx: &'a Transaction<'a>,
        kept: Kept,
        period: i64,
        collector: i64,
    ) -> Result<Option<Option<Self>>, Fault> {
        let keys = keys(period, collector);
        let mut bytes = slices(tx, kept, keys.start..keys.start + 1)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let Some(end) = Header::end(&bytes[..bytes.len().min(PROLOGUE)]) else { return Ok(Some(None)) };
        if end > bytes.len() && bytes.len() == SLICE {
            let more = end.div_ceil(SLICE).min(1 << NUMBER_BITS) as i64;
            bytes.extend(slices(tx, kept, keys.start + 1..keys.start + more)?);
        }
        let Some(header) = Header::read(&bytes) else { return Ok(Some(None)) };
        let read = bytes.len() as u64;
        Ok(Some(Some(Self { tx, kept, keys, bytes, header, read })))
    }

    /// The times of its rows.
    pub(super) fn times(&self, times: &mut Vec<i64>) -> Option<()> {
        self.header.read_times(&self.bytes, times)
    }

    /// An entry's bytes. `Ok(None)` when there is none; the inner `None` when
    /// it is damaged.
    pub(super) fn entry(&mut self, series: u64) -> Result<Option<Option<Vec<u8>>>, Fault> {
        let Some(place) = self.header.find(series) else { return Ok(None) };
        let Range { start, end } = place.bytes.clone();
        if end > self.header.length {
            return Ok(Some(None));
        }
        if end <= self.bytes.len() {
            let entry = &self.bytes[start..end];
            return Ok(Some(place.is_sound(entry).then(|| entry.to_vec())));
        }
        let (first, last) = (start / SLICE, end.div_ceil(SLICE));
        let keys = self.keys.start + first as i64..self.keys.start + last as i64;
        let bytes = slices(self.tx, self.kept, keys)?;
        self.read += bytes.len() as u64;
        let entry = bytes.get(start - first * SLICE..end - first * SLICE);
        Ok(Some(entry.filter(|entry| place.is_sound(entry)).map(<[u8]>::to_vec)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_order_of_period_then_collector() {
        let all = [keys(0, 0), keys(0, 1), keys(0, (1 << 26) - 1), keys(1, 0), keys(LAST_DAY, 5)];
        assert!(all.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert_eq!(parts(keys(LAST_DAY, 5).start + 7), (LAST_DAY, 5, 7));
        assert_eq!(day(-1), None);
        assert_eq!(day(i64::MAX), None);
        assert_eq!(day(DAY), Some(1));
    }
}
