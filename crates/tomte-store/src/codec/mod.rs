//! How readings and buckets are put into bytes: pure functions, no database.
//!
//! A [`table`] is what one collector saw over some time: one column of times
//! and one column of values per series. Its columns ([`column`]) are packed
//! quickly ([`Effort::Fast`]) while they are young, and small
//! ([`Effort::Small`]) once they are many. A [`rollup`] is a table of buckets.
//! All carry checksums, and decoders take any bytes: what makes no sense is
//! `None`, never a panic and never more memory than the count that the caller
//! allows.

pub mod bits;
pub mod column;
pub mod rollup;
pub mod table;

pub use column::Effort;

/// The exponent that stands for "kept as a double": values are a double's bits.
pub const AS_DOUBLE: i8 = 127;

/// Appends a number as LEB128.
pub fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number as LEB128 from the front.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Takes a length from the front.
pub(crate) fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    take_varint(bytes)?.try_into().ok()
}

/// Takes so many bytes from the front.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// Small numbers of either sign become small numbers.
#[must_use]
pub fn zigzag(number: i64) -> u64 {
    (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned()
}

/// Undoes [`zigzag`].
#[must_use]
pub fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
