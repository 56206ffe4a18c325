//! Numbers of a fixed width, packed without gaps, the lowest bit first.

/// How many bits the number needs.
#[must_use]
pub fn width(number: u64) -> u32 {
    64 - number.leading_zeros()
}

/// How many bytes so many numbers of a width take.
#[must_use]
pub fn size(count: usize, width: u32) -> Option<usize> {
    count.checked_mul(width as usize)?.checked_add(7).map(|bits| bits / 8)
}

/// Appends numbers; none may need more bits than `width`.
pub fn pack(numbers: impl Iterator<Item = u64>, width: u32, bytes: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let (mut waiting, mut filled) = (0_u128, 0_u32);
    for number in numbers {
        waiting |= u128::from(number) << filled;
        filled += width;
        if filled >= 64 {
            bytes.extend_from_slice(&(waiting as u64).to_le_bytes());
            waiting >>= 64;
            filled -= 64;
        }
    }
    let left = filled.div_ceil(8) as usize;
    bytes.extend_from_slice(&(waiting as u64).to_le_bytes()[..left]);
}

/// Adds what `of` makes of every number to a list. `None` when there are too
/// few bytes.
pub fn unpack(
    bytes: &[u8],
    count: usize,
    width: u32,
    numbers: &mut Vec<i64>,
    mut of: impl FnMut(u64) -> i64,
) -> Option<()> {
    if width == 0 {
        numbers.extend((0..count).map(|_| of(0)));
        return Some(());
    }
    if width > 64 || bytes.len() < size(count, width)? {
        return None;
    }
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    let bit = |index: usize| index * width as usize;
    // A number that begins within a byte lies in the eight bytes from there,
    // of which the last numbers have fewer.
    let whole = match bytes.len().checked_sub(8) {
        Some(last) if width <= 56 => ((last * 8 + 7) / width as usize + 1).min(count),
        _ => 0,
    };
    numbers.extend((0..whole).map(|index| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[bit(index) / 8..bit(index) / 8 + 8]);
        of((u64::from_le_bytes(eight) >> (bit(index) % 8)) & mask)
    }));
    numbers.extend((whole..count).map(|index| {
        let mut sixteen = [0; 16];
        let end = (bit(index) / 8 + 9).min(bytes.len());
        let window = &bytes[bit(index) / 8..end];
        sixteen[..window.len()].copy_from_slice(window);
        of((u128::from_le_bytes(sixteen) >> (bit(index) % 8)) as u64 & mask)
    }));
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(numbers in prop::collection::vec(any::<u64>(), 0..100), shift in 0_u32..64) {
            let numbers: Vec<u64> = numbers.into_iter().map(|number| number >> shift).collect();
            let width = numbers.iter().map(|number| width(*number)).max().unwrap_or(0);
            let mut bytes = Vec::new();
            pack(numbers.iter().copied(), width, &mut bytes);
            prop_assert_eq!(Some(bytes.len()), size(numbers.len(), width));
            let mut unpacked = Vec::new();
            prop_assert_eq!(unpack(&bytes, numbers.len(), width, &mut unpacked, u64::cast_signed), Some(()));
            prop_assert_eq!(unpacked, numbers.iter().map(|number| number.cast_signed()).collect::<Vec<_>>());
            if let Some((_, short)) = bytes.split_last() {
                prop_assert_eq!(unpack(short, numbers.len(), width, &mut Vec::new(), u64::cast_signed), None);
            }
        }
    }
}
