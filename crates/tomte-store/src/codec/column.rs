//! One column of numbers.
//!
//! ```text
//! form             one byte
//! 0 constant       the number, zigzag varint
//! 1 packed         smallest (zigzag), common divisor, width, bits
//! 2 differences    first (zigzag), smallest difference (zigzag), common
//!                  divisor, width, bits
//! 3 pco            of the numbers
//! 4 pco of doubles the numbers are the bits of doubles
//! 5 decimals       one byte k, then pco: doubles that are whole at 10^k
//! 6 plain          eight bytes each, little endian
//! ```
//!
//! How many numbers there are is known from elsewhere.

use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, PagingSpec};

use super::{AS_DOUBLE, bits, put_varint, take_varint, unzigzag, zigzag};

const CONSTANT: u8 = 0;
const PACKED: u8 = 1;
const DIFFERENCES: u8 = 2;
const PCO: u8 = 3;
const PCO_DOUBLES: u8 = 4;
const DECIMALS: u8 = 5;
const PLAIN: u8 = 6;

/// Fewer numbers than this are packed whatever the effort: `pco` says much
/// about a column before its first number.
const FEW: usize = 24;

/// `pco`'s levels go from 0 to 12; above 4 the gain is a hundredth and the
/// time nearly doubles.
const LEVEL: usize = 4;

/// Doubles that are whole at one of these powers are kept as whole numbers.
const DECIMAL_POWERS: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Two to ten nanoseconds a number.
    Fast,
    /// As small as is worth its time; pays from some hundred numbers on.
    Small,
}

/// Appends a column. With the exponent [`AS_DOUBLE`] the numbers are the bits
/// of doubles.
pub fn encode(numbers: &[i64], exponent: i8, effort: Effort, bytes: &mut Vec<u8>) {
    let Some(&first) = numbers.first() else { return };
    if numbers.iter().all(|number| *number == first) {
        bytes.push(CONSTANT);
        put_varint(bytes, zigzag(first));
        return;
    }
    let small = effort == Effort::Small && numbers.len() >= FEW;
    if exponent == AS_DOUBLE {
        return doubles(numbers, small, bytes);
    }
    let packed = Packed::best(numbers);
    if small
        && let Some(packed_by_pco) = by_pco(numbers)
        && packed_by_pco.len() < packed.size()
    {
        bytes.push(PCO);
        bytes.extend_from_slice(&packed_by_pco);
        return;
    }
    packed.write(numbers, bytes);
}

fn doubles(numbers: &[i64], small: bool, bytes: &mut Vec<u8>) {
    if small {
        let values: Vec<f64> = numbers.iter().map(|bits| f64::from_bits(bits.cast_unsigned())).collect();
        if let Some((power, whole)) = decimals(&values)
            && let Some(packed) = by_pco(&whole)
        {
            bytes.extend([DECIMALS, power]);
            bytes.extend_from_slice(&packed);
            return;
        }
        if let Some(packed) = by_pco(&values).filter(|packed| packed.len() < numbers.len() * 8) {
            bytes.push(PCO_DOUBLES);
            bytes.extend_from_slice(&packed);
            return;
        }
    }
    bytes.push(PLAIN);
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

/// The smallest power of ten at which all values are whole, and the whole
/// numbers; only where every value comes back bit for bit.
fn decimals(values: &[f64]) -> Option<(u8, Vec<i64>)> {
    let whole = |value: f64, power: f64| {
        let whole = (value * power).round();
        // Through the integer, which knows no negative zero.
        let back = whole as i64 as f64 / power;
        (whole.abs() < 9_007_199_254_740_992.0 && back.to_bits() == value.to_bits()).then_some(whole as i64)
    };
    (0_u8..).zip(DECIMAL_POWERS).find_map(|(index, power)| {
        let whole: Option<Vec<i64>> = values.iter().map(|value| whole(*value, power)).collect();
        Some((index, whole?))
    })
}

/// The numbers less the smallest, or their differences less the smallest, over
/// a common divisor, in as many bits as the greatest needs.
struct Packed {
    differences: bool,
    base: i64,
    divisor: u64,
    width: u32,
    count: usize,
}

impl Packed {
    fn best(numbers: &[i64]) -> Self {
        let plain = Self::of(numbers.iter().copied(), false);
        let differences = Self::of(numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])), true);
        if differences.size() < plain.size() { differences } else { plain }
    }

    fn of(numbers: impl Iterator<Item = i64> + Clone, differences: bool) -> Self {
        let base = numbers.clone().min().unwrap_or(0);
        let (mut divisor, mut greatest, mut count) = (0_u64, 0_u64, 0);
        for number in numbers {
            let rest = number.wrapping_sub(base).cast_unsigned();
            greatest = greatest.max(rest);
            count += 1;
            if divisor != 1 && rest != 0 {
                divisor = common_divisor(divisor, rest);
            }
        }
        let divisor = divisor.max(1);
        Self { differences, base, divisor, width: bits::width(greatest / divisor), count }
    }

    fn size(&self) -> usize {
        let first = if self.differences { 4 } else { 0 };
        8 + first + (self.count * self.width as usize).div_ceil(8)
    }

    fn write(&self, numbers: &[i64], bytes: &mut Vec<u8>) {
        bytes.push(if self.differences { DIFFERENCES } else { PACKED });
        if self.differences {
            put_varint(bytes, zigzag(numbers[0]));
        }
        put_varint(bytes, zigzag(self.base));
        put_varint(bytes, self.divisor);
        bytes.push(self.width as u8);
        let rest = |number: i64| number.wrapping_sub(self.base).cast_unsigned() / self.divisor;
        if self.differences {
            let differences = numbers.windows(2).map(|pair| rest(pair[1].wrapping_sub(pair[0])));
            bits::pack(differences, self.width, bytes);
        } else {
            bits::pack(numbers.iter().map(|number| rest(*number)), self.width, bytes);
        }
    }
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while a != 0 {
        (a, b) = (b % a, a);
    }
    b
}

fn by_pco<T: pco::data_types::Number>(numbers: &[T]) -> Option<Vec<u8>> {
    let config =
        ChunkConfig::default().with_compression_level(LEVEL).with_paging_spec(PagingSpec::Exact(vec![numbers.len()]));
    let compressor = FileCompressor::default();
    let mut bytes = compressor.write_header(Vec::new()).ok()?;
    let mut chunk = compressor.chunk_compressor(numbers, &config).ok()?;
    bytes = chunk.write_meta(bytes).ok()?;
    chunk.write_page(0, bytes).ok()
}

/// The mode of pco that begins with a dictionary. It is chosen only where it is
/// asked for, which it never was; and room is made for as long a one as the
/// bytes say before there is a look at how many there are.
const DICTIONARY: u8 = 4;

fn from_pco<T: pco::data_types::Number + Default>(bytes: &[u8], count: usize) -> Option<Vec<T>> {
    let (file, rest) = FileDecompressor::new(bytes).ok()?;
    if rest.first()? & 0x0F == DICTIONARY {
        return None;
    }
    let (mut chunk, rest) = file.chunk_decompressor::<T, _>(rest).ok()?;
    let mut page = chunk.page_decompressor(rest, count).ok()?;
    let mut numbers = vec![T::default(); count];
    let progress = page.read(&mut numbers).ok()?;
    (progress.n_processed == count).then_some(numbers)
}

/// Reads a column of so many numbers into `numbers`, which is emptied first.
/// `None` when the bytes make no sense.
pub fn decode(bytes: &[u8], count: usize, numbers: &mut Vec<i64>) -> Option<()> {
    numbers.clear();
    if count == 0 {
        return Some(());
    }
    let (&form, mut rest) = bytes.split_first()?;
    match form {
        CONSTANT => numbers.resize(count, unzigzag(take_varint(&mut rest)?)),
        PACKED => {
            let base = unzigzag(take_varint(&mut rest)?);
            let (divisor, width) = divisor_and_width(&mut rest)?;
            bits::unpack(rest, count, width, numbers, |number| {
                base.wrapping_add(number.wrapping_mul(divisor).cast_signed())
            })?;
        }
        DIFFERENCES => {
            let mut last = unzigzag(take_varint(&mut rest)?);
            let base = unzigzag(take_varint(&mut rest)?);
            let (divisor, width) = divisor_and_width(&mut rest)?;
            numbers.reserve(count);
            numbers.push(last);
            bits::unpack(rest, count - 1, width, numbers, |number| {
                last = last.wrapping_add(base).wrapping_add(number.wrapping_mul(divisor).cast_signed());
                last
            })?;
        }
        PCO => *numbers = from_pco(rest, count)?,
        PCO_DOUBLES => numbers.extend(from_pco::<f64>(rest, count)?.iter().map(|value| value.to_bits().cast_signed())),
        DECIMALS => {
            let (&power, rest) = rest.split_first()?;
            let power = *DECIMAL_POWERS.get(usize::from(power))?;
            let whole = from_pco::<i64>(rest, count)?;
            numbers.extend(whole.iter().map(|whole| (*whole as f64 / power).to_bits().cast_signed()));
        }
        PLAIN => {
            let plain = rest.get(..count.checked_mul(8)?)?;
            numbers.extend(plain.as_chunks::<8>().0.iter().map(|eight| i64::from_le_bytes(*eight)));
        }
        _ => return None,
    }
    Some(())
}

fn divisor_and_width(bytes: &mut &[u8]) -> Option<(u64, u32)> {
    let divisor = take_varint(bytes)?;
    let (&width, rest) = bytes.split_first()?;
    *bytes = rest;
    Some((divisor, u32::from(width)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dictionary_as_long_as_seven_bytes_claim_costs_nothing() {
        let claimed = [PCO_DOUBLES, 4, 129, 4, 59, 129, 11];
        let (_, rest) = FileDecompressor::new(&claimed[1..]).unwrap();
        assert_eq!(rest[0] & 0x0F, DICTIONARY);
        assert_eq!(decode(&claimed, 56, &mut Vec::new()), None);
    }

    fn there_and_back(numbers: &[i64], exponent: i8) -> usize {
        let mut smallest = usize::MAX;
        for effort in [Effort::Fast, Effort::Small] {
            let mut bytes = Vec::new();
            encode(numbers, exponent, effort, &mut bytes);
            let mut decoded = vec![7];
            decode(&bytes, numbers.len(), &mut decoded).unwrap();
            assert_eq!(decoded, numbers, "{effort:?}");
            smallest = smallest.min(bytes.len());
        }
        smallest
    }

    fn bits(values: &[f64]) -> Vec<i64> {
        values.iter().map(|value| value.to_bits().cast_signed()).collect()
    }

    #[test]
    fn what_does_not_change_or_changes_evenly_costs_nothing() {
        assert_eq!(there_and_back(&[0; 2_880], 0), 2);
        assert!(there_and_back(&[8 << 30; 2_880], 0) <= 7);
        let ramp: Vec<i64> = (0..2_880).map(|i| 1_000_000 + 30 * i).collect();
        assert!(there_and_back(&ramp, 0) < 12);
        let pages: Vec<i64> = (0..60).map(|i| (1 << 30) + 4096 * (i * i % 16)).collect();
        assert!(there_and_back(&pages, 0) < 45, "four bits each: the page size is taken out");
    }

    #[test]
    fn doubles_come_back_bit_for_bit() {
        let odd = [0.1, -0.0, 0.0, f64::MIN_POSITIVE, 1e300, -3.25, 5e-324];
        there_and_back(&bits(&odd), AS_DOUBLE);
        let many: Vec<f64> = (0..300).map(|i| f64::from(i) / 8.0 + if i == 7 { 1e-9 } else { 0.0 }).collect();
        there_and_back(&bits(&many), AS_DOUBLE);
        let tidy: Vec<f64> = (0..2_880).map(|i| f64::from(i * 7 % 100) / 10.0).collect();
        assert!(there_and_back(&bits(&tidy), AS_DOUBLE) < 3_000);
    }

    proptest! {
        #[test]
        fn every_number_comes_back(numbers in prop::collection::vec(any::<i64>(), 0..80), shift in 0_u32..64) {
            let numbers: Vec<i64> = numbers.into_iter().map(|number| number >> shift).collect();
            there_and_back(&numbers, 0);
            there_and_back(&numbers, AS_DOUBLE);
        }

        #[test]
        fn garbage_is_refused_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200), form in 0_u8..7, count in 0_usize..1_000,
        ) {
            let mut garbage = vec![form];
            garbage.extend(bytes);
            let _ = decode(&garbage, count, &mut Vec::new());
        }
    }
}
