//! Rates out of counters: per second of CLOCK_BOOTTIME, which never jumps and
//! runs on while the machine sleeps.
//!
//! What cannot be known is missing, never zero and never negative: the first
//! reading, one at the same moment as the last, and one after a counter that
//! began anew (a driver was reloaded, a device was plugged again).

use tomte_model::Moment;

/// How wide the kernel keeps a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Width {
    /// 64 bits: going backwards means that it began anew.
    #[default]
    Bits64,
    /// 32 bits: going backwards from the upper half may be a wrap. So are the
    /// milliseconds in /proc/diskstats, which wrap after 49.7 days.
    Bits32,
}

/// One counter and its last reading.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counter {
    last: Option<(u64, u64)>,
    width: Width,
}

impl Counter {
    /// A counter of that width, not yet read.
    #[must_use]
    pub const fn new(width: Width) -> Self {
        Self { last: None, width }
    }

    /// How much was counted since the last reading, and in how many seconds
    /// (more than zero). A missing value forgets the last one.
    pub fn difference(&mut self, now: Moment, value: impl Into<Option<u64>>) -> Option<(u64, f64)> {
        let Some(value) = value.into() else {
            self.last = None;
            return None;
        };
        let Some((last, at)) = self.last else {
            self.last = Some((value, now.boot_millis));
            return None;
        };
        if now.boot_millis == at && value >= last {
            // Nothing to divide by yet; what was counted belongs to the next.
            return None;
        }
        self.last = Some((value, now.boot_millis));
        let millis = now.boot_millis.checked_sub(at).filter(|&millis| millis > 0)?;
        let counted = match (value.checked_sub(last), self.width) {
            (Some(counted), _) => counted,
            (None, Width::Bits64) => return None,
            (None, Width::Bits32) => {
                // A wrap leaves less than half a round behind; anything else
                // began anew.
                let wrapped = (value + (1 << 32)).checked_sub(last)?;
                (wrapped < 1 << 31).then_some(wrapped)?
            }
        };
        Some((counted, millis as f64 / 1000.0))
    }

    /// How much was counted per second since the last reading.
    pub fn rate(&mut self, now: Moment, value: impl Into<Option<u64>>) -> Option<f64> {
        self.difference(now, value).map(|(counted, seconds)| counted as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tomte_model::Timestamp;

    use super::*;

    fn at(boot_millis: u64) -> Moment {
        Moment { wall: Timestamp::default(), boot_millis }
    }

    fn rates(width: Width, samples: &[(u64, u64)]) -> Vec<Option<f64>> {
        let mut counter = Counter::new(width);
        samples.iter().map(|&(millis, value)| counter.rate(at(millis), value)).collect()
    }

    #[test]
    fn the_first_reading_has_no_rate() {
        assert_eq!(rates(Width::Bits64, &[(1_000, 50), (11_000, 150), (21_000, 150)]), [None, Some(10.0), Some(0.0)]);
    }

    #[test]
    fn a_counter_that_began_anew_is_missing_once() {
        assert_eq!(rates(Width::Bits64, &[(0, 1_000), (1_000, 10), (2_000, 30)]), [None, None, Some(20.0)]);
        // The wide counter of a 32-bit size: no wrap is guessed.
        assert_eq!(rates(Width::Bits64, &[(0, u64::from(u32::MAX)), (1_000, 10)]), [None, None]);
    }

    #[test]
    fn a_narrow_counter_wraps() {
        let high = u64::from(u32::MAX) - 9;
        assert_eq!(rates(Width::Bits32, &[(0, high), (1_000, 10)]), [None, Some(20.0)]);
        // From the lower half it can only have begun anew.
        assert_eq!(rates(Width::Bits32, &[(0, 1_000), (1_000, 10)]), [None, None]);
        // A kernel that has widened it since.
        assert_eq!(rates(Width::Bits32, &[(0, 1 << 40), (1_000, 10)]), [None, None]);
    }

    #[test]
    fn no_time_no_rate_and_nothing_is_lost() {
        assert_eq!(rates(Width::Bits64, &[(5, 0), (5, 10), (1_005, 20)]), [None, None, Some(20.0)]);
        // A clock that ran backwards cannot be, and does no harm.
        assert_eq!(rates(Width::Bits64, &[(5_000, 0), (1_000, 10), (2_000, 20)]), [None, None, Some(10.0)]);
    }

    #[test]
    fn sleep_counts_as_time() {
        assert_eq!(rates(Width::Bits64, &[(0, 0), (3_600_000, 3_600)]), [None, Some(1.0)]);
    }

    #[test]
    fn a_gap_starts_anew() {
        let mut counter = Counter::default();
        assert_eq!(counter.rate(at(0), 10), None);
        assert_eq!(counter.rate(at(1_000), None), None);
        assert_eq!(counter.rate(at(2_000), 30), None);
        assert_eq!(counter.rate(at(3_000), 40), Some(10.0));
    }

    proptest! {
        #[test]
        fn never_negative_never_a_panic(samples: Vec<(u64, Option<u64>)>, narrow: bool) {
            let mut counter = Counter::new(if narrow { Width::Bits32 } else { Width::Bits64 });
            for (millis, value) in samples {
                if let Some(rate) = counter.rate(at(millis), value) {
                    prop_assert!(rate >= 0.0 && rate.is_finite());
                }
            }
        }
    }
}
