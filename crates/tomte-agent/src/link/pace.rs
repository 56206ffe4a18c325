//! How much of the backlog may be on its way at once.
//!
//! What is live goes first, but not past what was sent before it. So a hub
//! that takes long to store things must not be sent much at a time: after it
//! was away, with all its agents having much to tell, live data would wait
//! behind the backlog of all of them. How long it takes is known from how long
//! one report of the backlog waits for its ack.

use std::time::Duration;

use tokio::time::Instant;
use tomte_model::{Position, RangeSet};

/// What a connection begins with: little, since other agents may have come
/// back at the same moment.
const FIRST: usize = 64;
/// A hub that is this slow gets a message at a time.
const LEAST: usize = 16;
/// Enough for two commits of the hub, so that it never waits for the agent.
const MOST: usize = 512;
/// The hub commits within a second, so an ack within this has hardly waited
/// behind others: with twice as much on its way it would still not be late.
const SOON: Duration = Duration::from_millis(1_500);
/// Live data must not wait longer than this.
const LATE: Duration = Duration::from_secs(3);
/// An ack that has not come by then never will: its report was given up, or
/// the hub asked for it again.
const LOST: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Pace {
    window: usize,
    /// The report whose ack is waited for, and since when.
    asked: Option<(Position, Instant)>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { window: FIRST, asked: None }
    }

    /// How many reports of the backlog may wait for an ack.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// This report of the backlog goes out as the last that may: its ack tells
    /// how long that much takes.
    pub(super) fn filled(&mut self, position: Position, now: Instant) {
        if self.asked.is_none_or(|(_, at)| now.duration_since(at) > LOST) {
            self.asked = Some((position, now));
        }
    }

    /// These are stored.
    pub(super) fn acked(&mut self, epoch: u64, ranges: &RangeSet, now: Instant) {
        let Some((position, at)) = self.asked else { return };
        if position.epoch != epoch || !ranges.contains(position.sequence) {
            return;
        }
        self.asked = None;
        let took = now.duration_since(at);
        if took <= SOON {
            self.window = (self.window * 2).min(MOST);
        } else if took > LATE {
            self.window = (self.window / 2).max(LEAST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(sequence: u64) -> RangeSet {
        let mut ranges = RangeSet::default();
        ranges.insert(sequence);
        ranges
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_hub_is_given_more_and_a_slow_one_less() {
        let mut pace = Pace::new();
        let mut round = async |sequence: u64, millis: u64| {
            pace.filled(Position { epoch: 7, sequence }, Instant::now());
            // Those behind it are not asked about.
            pace.filled(Position { epoch: 7, sequence: sequence + 1000 }, Instant::now());
            tokio::time::advance(Duration::from_millis(millis)).await;
            pace.acked(8, &ranges(sequence), Instant::now());
            pace.acked(7, &ranges(sequence + 1000), Instant::now());
            pace.acked(7, &ranges(sequence), Instant::now());
            pace.window()
        };
        assert_eq!([round(1, 1000).await, round(2, 1100).await, round(3, 5).await], [128, 256, 512]);
        assert_eq!(round(4, 5).await, MOST);
        assert_eq!([round(5, 2_500).await, round(6, 3_500).await, round(7, 60_000).await], [512, 256, 128]);
        for sequence in 8..20 {
            round(sequence, 4_000).await;
        }
        assert_eq!(round(20, 4_000).await, LEAST);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ack_that_never_comes_is_not_waited_for() {
        let mut pace = Pace::new();
        pace.filled(Position { epoch: 1, sequence: 1 }, Instant::now());
        tokio::time::advance(LOST * 2).await;
        pace.filled(Position { epoch: 1, sequence: 2 }, Instant::now());
        pace.acked(1, &ranges(2), Instant::now());
        assert_eq!(pace.window(), FIRST * 2);
    }
}
