//! Whether a host is heard: a state machine over the hub's own never-jumping
//! clock.
//!
//! Presence follows from the time of the last sign of life and from nothing
//! else: a connection that opens or closes changes nothing by itself, so that
//! the late end of an old connection cannot make a living host look dead.
//! Events come only on transitions, and what was last announced is remembered
//! over a restart, so that a restart announces nothing.

use tomte_api::host::Presence;
use tomte_model::{Moment, Timestamp};

use crate::config::PresenceConfig;

/// What was last announced of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    Online,
    Offline,
}

impl Announced {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        [Self::Online, Self::Offline].into_iter().find(|announced| announced.as_str() == text)
    }
}

/// One host's signs of life.
#[derive(Debug, Clone)]
pub(crate) struct Signs {
    announced: Option<Announced>,
    /// By the hub's wall clock; survives a restart.
    last_seen: Option<Timestamp>,
    /// By the hub's boot clock; only of this run.
    heard_millis: Option<u64>,
}

impl Signs {
    pub(crate) fn new(announced: Option<Announced>, last_seen: Option<Timestamp>) -> Self {
        Self { announced, last_seen, heard_millis: None }
    }

    pub(crate) fn last_seen(&self) -> Option<Timestamp> {
        self.last_seen
    }

    pub(crate) fn announced(&self) -> Option<Announced> {
        self.announced
    }

    /// The host gave a sign of life.
    pub(crate) fn heard(&mut self, now: Moment) {
        self.heard_millis = Some(now.boot_millis);
        self.last_seen = Some(now.wall);
    }

    /// It is heard when the other one is. Whether that is news.
    pub(crate) fn heard_like(&mut self, other: &Self) -> bool {
        let news = other.heard_millis > self.heard_millis;
        if news {
            self.heard_millis = other.heard_millis;
            self.last_seen = self.last_seen.max(other.last_seen);
        }
        news
    }

    /// It was heard in an earlier run, as stored reports tell.
    pub(crate) fn heard_before(&mut self, at: Timestamp) {
        self.last_seen = self.last_seen.max(Some(at));
    }

    /// How long it has been silent, in milliseconds; `None` when it was not
    /// heard in this run.
    pub(crate) fn silence(&self, now: Moment) -> Option<u64> {
        self.heard_millis.map(|heard| now.boot_millis.saturating_sub(heard))
    }

    pub(crate) fn presence(&self, now: Moment, started: Moment, timing: &PresenceConfig) -> Presence {
        if self.last_seen.is_none() {
            return Presence::Never;
        }
        match self.silence(now) {
            Some(silence) if silence < timing.late.millis() => Presence::Online,
            Some(silence) if silence < timing.offline.millis() => Presence::Late,
            Some(_) => Presence::Offline,
            // Not heard since the hub started. It may be on its way back.
            None => {
                let grace = now.boot_millis.saturating_sub(started.boot_millis) < timing.grace.millis();
                if grace && self.announced != Some(Announced::Offline) { Presence::Late } else { Presence::Offline }
            }
        }
    }

    /// What has to be announced now, if anything.
    pub(crate) fn step(&mut self, now: Moment, started: Moment, timing: &PresenceConfig) -> Option<Announced> {
        let due = match self.presence(now, started, timing) {
            Presence::Online => Announced::Online,
            Presence::Offline => Announced::Offline,
            Presence::Late | Presence::Never => return None,
        };
        // What was never announced online does not go offline.
        if self.announced == Some(due) || (self.announced.is_none() && due == Announced::Offline) {
            return None;
        }
        self.announced = Some(due);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Moment {
        Moment { wall: Timestamp::from_millis(1_000_000 + second as i64 * 1000), boot_millis: second * 1000 }
    }

    fn timing() -> PresenceConfig {
        PresenceConfig::default()
    }

    #[test]
    fn silence_makes_late_and_then_offline_and_each_transition_is_told_once() {
        let mut signs = Signs::new(None, None);
        let start = at(0);
        assert_eq!(signs.presence(at(1000), start, &timing()), Presence::Never);
        assert_eq!(signs.step(at(1000), start, &timing()), None);
        signs.heard(at(1000));
        assert_eq!(signs.step(at(1000), start, &timing()), Some(Announced::Online));
        assert_eq!(signs.step(at(1044), start, &timing()), None);
        assert_eq!(signs.presence(at(1044), start, &timing()), Presence::Online);
        assert_eq!(signs.presence(at(1045), start, &timing()), Presence::Late);
        assert_eq!(signs.step(at(1089), start, &timing()), None);
        assert_eq!(signs.step(at(1090), start, &timing()), Some(Announced::Offline));
        assert_eq!(signs.step(at(5000), start, &timing()), None);
        signs.heard(at(5001));
        assert_eq!(signs.step(at(5001), start, &timing()), Some(Announced::Online));
    }

    #[test]
    fn a_restart_announces_nothing_unless_a_host_stays_away() {
        let (start, seen) = (at(0), Some(at(0).wall));
        let mut back = Signs::new(Some(Announced::Online), seen);
        assert_eq!(back.presence(at(10), start, &timing()), Presence::Late);
        assert_eq!(back.step(at(89), start, &timing()), None);
        back.heard(at(89));
        assert_eq!(back.step(at(89), start, &timing()), None, "it was online all the time");
        let mut away = Signs::new(Some(Announced::Online), seen);
        assert_eq!(away.step(at(89), start, &timing()), None);
        assert_eq!(away.step(at(90), start, &timing()), Some(Announced::Offline));
        let mut still_away = Signs::new(Some(Announced::Offline), seen);
        assert_eq!(still_away.presence(at(1), start, &timing()), Presence::Offline);
        assert_eq!(still_away.step(at(500), start, &timing()), None);
    }

    #[test]
    fn a_wall_clock_that_jumps_changes_no_presence() {
        let mut signs = Signs::new(None, None);
        signs.heard(at(100));
        let jumped = Moment { wall: Timestamp::from_millis(0), boot_millis: 110_000 };
        assert_eq!(signs.presence(jumped, at(0), &timing()), Presence::Online);
        let ahead = Moment { wall: Timestamp::from_millis(i64::MAX), boot_millis: 110_000 };
        assert_eq!(signs.presence(ahead, at(0), &timing()), Presence::Online);
    }
}
