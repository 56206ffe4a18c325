//! Which positions of which outbox have arrived.
//!
//! One blob per outbox and epoch: for each range the gap to the end of the one
//! before it and its length less one, as varints.

use std::collections::{BTreeMap, HashMap};

use tomte_model::{HostId, RangeSet};

use crate::codec::{put_varint, take_varint};

/// Into how many pieces the positions of one outbox may fall. A sound agent
/// has one or two; one that does not count properly must not fill the memory.
const MAX_PIECES: usize = 10_000;

/// How many epochs are remembered per outbox. What comes from an older one
/// counts as received.
const MAX_EPOCHS: usize = 64;

/// By outbox, then by epoch.
#[derive(Debug, Clone, Default)]
pub(super) struct Received(HashMap<HostId, BTreeMap<u64, RangeSet>>);

impl Received {
    pub(super) fn get(&self, outbox: HostId, epoch: u64) -> Option<&RangeSet> {
        self.0.get(&outbox)?.get(&epoch)
    }

    pub(super) fn set(&mut self, outbox: HostId, epoch: u64, ranges: RangeSet) {
        self.0.entry(outbox).or_default().insert(epoch, ranges);
    }

    pub(super) fn remove(&mut self, outbox: HostId) {
        self.0.remove(&outbox);
    }

    /// Whether the epoch is older than all that are remembered.
    pub(super) fn is_forgotten(&self, outbox: HostId, epoch: u64) -> bool {
        let Some(epochs) = self.0.get(&outbox) else { return false };
        epochs.len() >= MAX_EPOCHS && epochs.keys().next().is_some_and(|oldest| epoch < *oldest)
    }

    /// Forgets the oldest epoch when there are too many; returns which.
    pub(super) fn forget_oldest(&mut self, outbox: HostId) -> Option<u64> {
        let epochs = self.0.get_mut(&outbox).filter(|epochs| epochs.len() > MAX_EPOCHS)?;
        epochs.pop_first().map(|(epoch, _)| epoch)
    }
}

/// Whether the set may have no more pieces.
pub(super) fn is_full(ranges: &RangeSet) -> bool {
    ranges.range_count() >= MAX_PIECES
}

pub(super) fn encode(ranges: &RangeSet) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut end = 0;
    for range in ranges.iter() {
        let (first, last) = range.into_inner();
        put_varint(&mut bytes, first - end);
        put_varint(&mut bytes, last - first);
        end = last;
    }
    bytes
}

pub(super) fn decode(mut bytes: &[u8]) -> Option<RangeSet> {
    let mut ranges = RangeSet::new();
    let mut end = 0_u64;
    while !bytes.is_empty() {
        let first = end.checked_add(take_varint(&mut bytes)?)?;
        end = first.checked_add(take_varint(&mut bytes)?)?;
        ranges.insert_range(first..=end);
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_round_trip(pieces in prop::collection::vec((any::<u64>(), 0_u64..100), 0..40)) {
            let ranges: RangeSet = pieces.iter().map(|(first, more)| *first..=first.saturating_add(*more)).collect();
            prop_assert_eq!(decode(&encode(&ranges)), Some(ranges));
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn old_epochs_count_as_received() {
        let host = HostId::from_parts(1, 1);
        let mut received = Received::default();
        for epoch in 0..=MAX_EPOCHS as u64 {
            assert!(!received.is_forgotten(host, epoch));
            received.set(host, epoch, RangeSet::new());
        }
        assert_eq!(received.forget_oldest(host), Some(0));
        assert_eq!(received.forget_oldest(host), None);
        assert!(received.is_forgotten(host, 0));
        assert!(!received.is_forgotten(host, 1));
    }
}
