//! What changes seldom is looked at seldom: cached facts and when to renew them.

use std::time::Duration;

use tomte_model::Moment;

/// How often something is looked at again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    every_millis: u64,
    /// Milliseconds since boot.
    last: Option<u64>,
}

impl Pace {
    /// Due at once, and then each time so much has passed.
    pub(crate) const fn every(time: Duration) -> Self {
        Self { every_millis: time.as_secs() * 1000, last: None }
    }

    /// Whether it is time to look; also when the clock ran backwards, as it
    /// does when a saved machine is restored.
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        self.last.and_then(|last| now.boot_millis.checked_sub(last)).is_none_or(|age| age >= self.every_millis)
    }

    /// It was looked at just now.
    pub(crate) fn looked(&mut self, now: Moment) {
        self.last = Some(now.boot_millis);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_at_once_then_after_the_time_then_whenever_time_went_back() {
        let at = |boot_millis| Moment { boot_millis, ..Moment::default() };
        let mut pace = Pace::every(Duration::from_secs(60));
        assert!(pace.is_due(at(100_000)));
        pace.looked(at(100_000));
        assert!(!pace.is_due(at(159_999)) && pace.is_due(at(160_000)) && pace.is_due(at(99_999)));
    }
}
