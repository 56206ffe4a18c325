//! How often something happened lately, from a count that only grows.

use std::collections::VecDeque;

use tomte_model::Moment;

/// How far back "lately" goes.
const WINDOW: u64 = 15 * 60_000;
/// More moments are not remembered; who restarts more often is told anyway.
const MOST: usize = 64;

/// The growth of a count over the last 15 minutes, as far as it was watched.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    last: Option<u64>,
    grown: VecDeque<(u64, u64)>,
}

impl Recent {
    /// Takes in the count as it stands; returns by how much it grew lately. A
    /// count that fell began anew.
    pub(crate) fn note(&mut self, now: Moment, total: u64) -> u64 {
        let at = now.boot_millis;
        match self.last.replace(total) {
            Some(before) if total < before => self.grown.clear(),
            Some(before) if total > before => {
                if self.grown.len() == MOST {
                    let (_, oldest) = self.grown.pop_front().unwrap_or_default();
                    if let Some((_, next)) = self.grown.front_mut() {
                        *next = next.saturating_add(oldest);
                    }
                }
                self.grown.push_back((at, total - before));
            }
            _ => {}
        }
        while self.grown.front().is_some_and(|(then, _)| at.saturating_sub(*then) > WINDOW) {
            self.grown.pop_front();
        }
        self.grown.iter().fold(0, |sum, (_, grown)| sum.saturating_add(*grown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_watched_and_only_lately() {
        let mut recent = Recent::default();
        let mut note =
            |minute: u64, total| recent.note(Moment { boot_millis: minute * 60_000, ..Moment::default() }, total);
        assert_eq!(note(0, 14), 0, "what was before is not recent");
        assert_eq!((note(1, 16), note(2, 17), note(10, 17)), (2, 3, 3));
        assert_eq!((note(16, 17), note(17, 17), note(18, 17)), (3, 1, 0));
        assert_eq!((note(19, 20), note(20, 0), note(21, 1)), (3, 0, 1), "a count that fell began anew");
    }

    #[test]
    fn it_remembers_no_more_than_it_should() {
        let mut recent = Recent::default();
        for step in 0..10_000_u64 {
            assert!(recent.note(Moment { boot_millis: step, ..Moment::default() }, step) <= step);
        }
        assert_eq!((recent.grown.len(), recent.note(Moment::default(), 9_999)), (MOST, 9_999));
    }
}
