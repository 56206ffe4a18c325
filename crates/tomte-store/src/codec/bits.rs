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

/// Calls `each` with every number. `None` when there are too few bytes.
pub fn unpack(bytes: &[u8], count: usize, width: u32, mut each: impl FnMut(u64)) -> Option<()> {
    if width == 0 {
        (0..count).for_each(|_| each(0));
        return Some(());
    }
    if width > 64 || bytes.len() < size(count, width)? {
        return None;
    }
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    let mut bit = 0_usize;
    let mut done = 0;
    // A number that begins within a byte lies in the eight bytes from there.
    if width <= 56 {
        while done < count {
            let Some(window) = bytes.get(bit / 8..bit / 8 + 8) else { break };
            let mut eight = [0; 8];
            eight.copy_from_slice(window);
            each((u64::from_le_bytes(eight) >> (bit % 8)) & mask);
            bit += width as usize;
            done += 1;
        }
    }
    for _ in done..count {
        let mut sixteen = [0; 16];
        let end = (bit / 8 + 9).min(bytes.len());
        let window = &bytes[bit / 8..end];
        sixteen[..window.len()].copy_from_slice(window);
        each((u128::from_le_bytes(sixteen) >> (bit % 8)) as u64 & mask);
        bit += width as usize;
    }
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
            prop_assert_eq!(unpack(&bytes, numbers.len(), width, |number| unpacked.push(number)), Some(()));
            prop_assert_eq!(unpacked, numbers);
        }
    }
}
