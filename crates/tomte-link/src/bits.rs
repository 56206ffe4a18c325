//! Readings as bits: changes of scaled integers, each as long as the changes
//! of that reading usually are.
//!
//! A value that did not change costs one bit. Any other costs a one, and then
//! its change, zigzagged, less one, as an exponential Golomb code whose order
//! follows the size of the reading's last changes. Both ends keep that order
//! by the same rule, so that it is never sent. `docs/protocol.md` gives the
//! layout bit by bit.

/// The order for a reading's first value, of whose size nothing is known.
const FIRST_ORDER: u32 = 10;
/// The level that a reading starts with once it has a value: changes of 8 bits.
const FIRST_LEVEL: u16 = 8 * LEVEL_UNIT;
/// A level counts bits in 32nds.
const LEVEL_UNIT: u16 = 32;
/// So many ones in front announce 64 plain bits in place of a Golomb code.
const ESCAPE: u32 = 24;

/// What both ends remember of one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The last value, in steps (or a double's bits).
    pub(crate) last: i64,
    /// The usual size of a change, in 32nds of a bit; 0 before the first value.
    level: u16,
    /// Whether the last report had the reading.
    pub(crate) present: bool,
}

impl Slot {
    /// A reading that has not been seen yet.
    pub(crate) const NEW: Self = Self { last: 0, level: 0, present: true };

    fn order(self) -> u32 {
        if self.level == 0 { FIRST_ORDER } else { u32::from(self.level / LEVEL_UNIT) }
    }

    fn learn(&mut self, zigzag: u64) {
        if self.level == 0 {
            self.level = FIRST_LEVEL;
        } else if zigzag != 0 {
            let size = (64 - zigzag.leading_zeros()) as i32 * i32::from(LEVEL_UNIT);
            let level = i32::from(self.level);
            // Never below one 32nd: zero means that there was no value yet.
            self.level = (level + ((size - level) >> 3)).max(1) as u16;
        }
    }

    /// Writes the value and makes it the last one.
    pub(crate) fn write(&mut self, value: i64, bits: &mut BitWriter) {
        let change = value.wrapping_sub(self.last);
        let zigzag = ((change << 1) ^ (change >> 63)) as u64;
        if zigzag == 0 {
            bits.push(0, 1);
        } else {
            bits.push(1, 1);
            let order = self.order();
            let rest = ((zigzag - 1) >> order) + 1;
            let length = 63 - rest.leading_zeros();
            if length < ESCAPE {
                // `length` ones and a zero, then what lies below the top bit.
                bits.push((1 << length) - 1, length + 1);
                bits.push(rest & !(1 << length), length);
                bits.push((zigzag - 1) & ((1 << order) - 1), order);
            } else {
                bits.push((1 << ESCAPE) - 1, ESCAPE);
                bits.push(zigzag, 64);
            }
        }
        self.learn(zigzag);
        self.last = value;
    }

    /// Reads the next value and makes it the last one. `None` when the bits
    /// end early or make no sense.
    pub(crate) fn read(&mut self, bits: &mut BitReader<'_>) -> Option<i64> {
        let zigzag = if bits.take(1)? == 0 {
            0
        } else {
            let order = self.order();
            let length = bits.take_ones(ESCAPE)?;
            if length < ESCAPE {
                let rest = bits.take(length)? | 1 << length;
                // No encoder writes what does not fit; what is shifted out of
                // a hostile one's is its own loss.
                (((rest - 1) << order) | bits.take(order)?).wrapping_add(1)
            } else {
                bits.take(64)?
            }
        };
        let change = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        self.learn(zigzag);
        self.last = self.last.wrapping_add(change);
        Some(self.last)
    }
}

/// Writes bits, the lowest of a byte first.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte yet.
    held: u64,
    count: u32,
}

impl BitWriter {
    /// Appends the lowest `length` bits of `value`, which has no others; 64 at most.
    #[inline]
    fn push(&mut self, value: u64, length: u32) {
        if length > 32 {
            self.push(value & 0xffff_ffff, 32);
            return self.push(value >> 32, length - 32);
        }
        // At most 7 bits are held here, so that 39 are the most.
        self.held |= value << self.count;
        self.count += length;
        while self.count >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    /// The bytes; the last one is filled up with zeros.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.bytes.push(self.held as u8);
        }
        self.bytes
    }

    /// A writer with room.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), held: 0, count: 0 }
    }
}

/// Reads bits, the lowest of a byte first.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    rest: &'a [u8],
    held: u64,
    count: u32,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, held: 0, count: 0 }
    }

    /// Holds as many bits as there are, up to at least 56.
    #[inline]
    fn fill(&mut self) {
        while self.count <= 56 {
            let Some((&byte, rest)) = self.rest.split_first() else { return };
            self.held |= u64::from(byte) << self.count;
            self.count += 8;
            self.rest = rest;
        }
    }

    /// The next `length` bits, 64 at most.
    #[inline]
    fn take(&mut self, length: u32) -> Option<u64> {
        if length > 32 {
            let low = self.take(32)?;
            return Some(low | self.take(length - 32)? << 32);
        }
        if self.count < length {
            self.fill();
            if self.count < length {
                return None;
            }
        }
        let value = self.held & ((1 << length) - 1);
        self.held >>= length;
        self.count -= length;
        Some(value)
    }

    /// How many ones come next: up to and without a zero, which is taken too,
    /// or `most` of them.
    #[inline]
    fn take_ones(&mut self, most: u32) -> Option<u32> {
        if self.count <= most {
            self.fill();
        }
        let ones = self.held.trailing_ones().min(most);
        let taken = if ones < most { ones + 1 } else { most };
        (self.count >= taken).then(|| {
            self.held >>= taken;
            self.count -= taken;
            ones
        })
    }

    /// Whether nothing is left but the zeros that fill up the last byte.
    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_empty() && self.count < 8 && self.held == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = i64> {
        prop_oneof![
            Just(0_i64),
            -3_i64..4,
            -100_000_i64..100_000,
            any::<i64>(),
            Just(i64::MIN),
            Just(i64::MAX),
            any::<f64>().prop_map(|v| v.to_bits() as i64)
        ]
    }

    proptest! {
        #[test]
        fn any_values_round_trip(series in prop::collection::vec(prop::collection::vec(values(), 5), 1..40)) {
            let (mut ours, mut theirs) = ([Slot::NEW; 5], [Slot::NEW; 5]);
            for report in series {
                let mut bits = BitWriter::default();
                for (slot, value) in ours.iter_mut().zip(&report) {
                    slot.write(*value, &mut bits);
                }
                let bytes = bits.finish();
                let mut reader = BitReader::new(&bytes);
                for (slot, value) in theirs.iter_mut().zip(&report) {
                    prop_assert_eq!(slot.read(&mut reader), Some(*value));
                }
                prop_assert!(reader.is_done());
                prop_assert_eq!(ours, theirs);
            }
        }

        #[test]
        fn any_bits_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut slot = Slot::NEW;
            let mut reader = BitReader::new(&bytes);
            let mut read = 0;
            while slot.read(&mut reader).is_some() {
                read += 1;
            }
            prop_assert!(read <= bytes.len() * 8);
        }
    }

    #[test]
    fn what_does_not_change_costs_a_bit() {
        let mut slot = Slot::NEW;
        let mut bits = BitWriter::default();
        slot.write(123_456, &mut bits);
        let first = bits.finish().len();
        let mut bits = BitWriter::default();
        for _ in 0..80 {
            slot.write(123_456, &mut bits);
        }
        assert_eq!((first, bits.finish().len()), (4, 10));
    }
}
