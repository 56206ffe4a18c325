//! A set of numbers kept as ranges: which reports arrived.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A set of `u64`, cheap as long as it is mostly contiguous.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// First to last of each range; disjoint and not adjacent.
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one number. Returns whether it was new.
    pub fn insert(&mut self, number: u64) -> bool {
        if self.contains(number) {
            return false;
        }
        self.insert_range(number..=number);
        true
    }

    /// Adds a range. An empty one adds nothing.
    pub fn insert_range(&mut self, range: RangeInclusive<u64>) {
        let (mut first, mut last) = range.into_inner();
        if first > last {
            return;
        }
        // Merge every range that overlaps or touches the new one. Walking back
        // from its end finds them all, since kept ranges are disjoint.
        while let Some((&f, &l)) = self.ranges.range(..=last.saturating_add(1)).next_back() {
            if l.saturating_add(1) < first {
                break;
            }
            self.ranges.remove(&f);
            first = first.min(f);
            last = last.max(l);
        }
        self.ranges.insert(first, last);
    }

    /// Whether the number is in the set.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, &last)| number <= last)
    }

    /// The greatest number, if any.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.ranges.last_key_value().map(|(_, &last)| last)
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        self.ranges.iter().map(|(&first, &last)| first..=last)
    }

    /// How many ranges there are (not how many numbers).
    #[must_use]
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl FromIterator<RangeInclusive<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert_range(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_plain_set(ops in prop::collection::vec((0u64..60, 0u64..8), 0..60)) {
            let mut ours = RangeSet::new();
            let mut plain = BTreeSet::new();
            for (first, length) in ops {
                if length == 0 {
                    prop_assert_eq!(ours.insert(first), plain.insert(first));
                } else {
                    ours.insert_range(first..=first + length);
                    plain.extend(first..=first + length);
                }
            }
            let listed: BTreeSet<u64> = ours.iter().flatten().collect();
            prop_assert_eq!(&listed, &plain);
            prop_assert_eq!(ours.last(), plain.last().copied());
            let ranges: Vec<_> = ours.iter().collect();
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].end() + 1 < *pair[1].start());
            }
        }
    }

    #[test]
    fn the_ends_of_the_number_line_are_safe() {
        let mut set = RangeSet::new();
        set.insert_range(u64::MAX - 1..=u64::MAX);
        assert!(set.insert(0));
        assert!(!set.insert(u64::MAX));
        set.insert_range(0..=u64::MAX);
        assert_eq!(set.range_count(), 1);
    }
}
