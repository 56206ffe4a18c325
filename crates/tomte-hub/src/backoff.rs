//! Slowing down whoever guesses: after a few failures each further one makes
//! the wait longer. Keyed by whatever the caller takes for "the same guesser".
//!
//! It never decides whether a credential is right. Check the credential first:
//! one that is right passes however many wrong ones came from the same place.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// So many failures are free: people mistype.
const FREE: u32 = 5;
/// The wait after the first failure that is not free; it doubles from there.
const FIRST: Duration = Duration::from_secs(1);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(300);
/// A guesser who was quiet for this long is forgotten.
const FORGET: Duration = Duration::from_secs(900);

#[derive(Debug)]
struct Failures {
    count: u32,
    last_millis: u64,
    until_millis: u64,
}

/// Who failed, how often, and how long they have to wait. Times are
/// milliseconds of a clock that never jumps.
#[derive(Debug)]
pub struct BackOff<K> {
    failures: HashMap<K, Failures>,
    capacity: usize,
}

impl<K: Hash + Eq + Clone> BackOff<K> {
    /// Remembers at most `capacity` guessers.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { failures: HashMap::new(), capacity }
    }

    /// How long `who` still has to wait; `None` when they may try.
    #[must_use]
    pub fn wait<Q: Hash + Eq + ?Sized>(&self, who: &Q, now_millis: u64) -> Option<Duration>
    where
        K: std::borrow::Borrow<Q>,
    {
        let left = self.failures.get(who)?.until_millis.saturating_sub(now_millis);
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// Notes a failure. Returns how many there were of late, this one included.
    pub fn fail(&mut self, who: K, now_millis: u64) -> u32 {
        if self.failures.len() >= self.capacity && !self.failures.contains_key(&who) {
            self.make_room(now_millis);
        }
        let entry = self.failures.entry(who).or_insert(Failures { count: 0, last_millis: now_millis, until_millis: 0 });
        if now_millis.saturating_sub(entry.last_millis) > millis(FORGET) {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last_millis = now_millis;
        if entry.count > FREE {
            let wait = millis(FIRST) << (entry.count - FREE - 1).min(20);
            entry.until_millis = now_millis + wait.min(millis(LONGEST));
        }
        entry.count
    }

    /// Forgets the failures of somebody who got it right.
    pub fn succeed<Q: Hash + Eq + ?Sized>(&mut self, who: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        self.failures.remove(who);
    }

    /// Drops those who were quiet for long; if that is not enough, those whose
    /// last failure is oldest.
    fn make_room(&mut self, now_millis: u64) {
        self.failures.retain(|_, f| now_millis.saturating_sub(f.last_millis) <= millis(FORGET));
        if self.failures.len() >= self.capacity {
            let mut ages: Vec<(u64, K)> = self.failures.iter().map(|(k, f)| (f.last_millis, k.clone())).collect();
            ages.sort_by_key(|(last, _)| *last);
            for (_, who) in ages.into_iter().take(self.capacity / 4 + 1) {
                self.failures.remove(&who);
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_failures_are_free_and_then_the_wait_doubles_up_to_a_bound() {
        let mut backoff = BackOff::new(10);
        for _ in 0..FREE {
            backoff.fail("a", 0);
        }
        assert_eq!(backoff.wait("a", 0), None);
        backoff.fail("a", 0);
        assert_eq!(backoff.wait("a", 0), Some(FIRST));
        backoff.fail("a", 0);
        assert_eq!(backoff.wait("a", 0), Some(FIRST * 2));
        for _ in 0..1_000 {
            backoff.fail("a", 0);
        }
        assert_eq!(backoff.wait("a", 0), Some(LONGEST));
        assert_eq!(backoff.wait("b", 0), None, "others do not wait");
        assert_eq!(backoff.wait("a", millis(LONGEST)), None);
        backoff.fail("a", millis(FORGET) * 2);
        assert_eq!(backoff.wait("a", millis(FORGET) * 2), None, "after a long silence it starts anew");
    }

    #[test]
    fn memory_is_bounded() {
        let mut backoff = BackOff::new(100);
        for who in 0..10_000_u64 {
            backoff.fail(who, who);
        }
        assert!(backoff.failures.len() <= 100);
        assert!(backoff.failures.contains_key(&9_999));
    }
}
