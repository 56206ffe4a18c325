//! When a report was really read: the host's clocks against the hub's.
//!
//! A host's wall clock may be wrong, jump, or start in 1970; its boot clock
//! only runs. From heartbeats, which are sent the moment they are made, the hub
//! learns where the host's boot clock stands against its own, and from then on
//! it can tell when a report of that boot was read whatever the host's wall
//! clock said. It does so (restamps) while that clock is not synchronised or is
//! more than a minute off; otherwise the host's own time stands.

use tomte_model::{BootId, Moment, Timestamp};

/// A clock that is further off than this is not believed.
const TOLERANCE: i64 = 60_000;
/// A clock that was wrong is right again once it is nearer than this.
const RIGHT_AGAIN: i64 = 30_000;
/// What claims to be further ahead than this is set aside.
const AHEAD: i64 = 5 * 60_000;
/// Nothing was read by Tomte before 2020: such a time cannot be right.
const PLAUSIBLE: i64 = 1_577_836_800_000;
/// The distance of the boot clocks is the least seen within one to two of
/// these: long enough to meet a heartbeat that was not delayed, short enough
/// to follow crystals that drift.
const WINDOW: u64 = 10 * 60_000;

/// What is known of a host's clocks.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostClock {
    boot: Option<BootId>,
    /// Hub's boot clock less host's boot clock, the least of this and of the
    /// last window, and when this window began.
    now_least: Option<i64>,
    last_least: Option<i64>,
    window_began: u64,
    skew: Option<i64>,
    synchronised: Option<bool>,
    wrong: bool,
}

/// When a report was read, by the hub's reckoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) at: Timestamp,
    /// Its time cannot be right: set it aside.
    pub(crate) quarantined: bool,
}

impl HostClock {
    /// Takes up whether the clock was last said to be wrong.
    pub(crate) fn new(wrong: bool) -> Self {
        Self { wrong, ..Self::default() }
    }

    /// A connection begins; boot times on it count from `boot`.
    pub(crate) fn begin(&mut self, boot: BootId) {
        if self.boot != Some(boot) {
            *self =
                Self { boot: Some(boot), skew: self.skew, synchronised: self.synchronised, ..Self::new(self.wrong) };
        }
    }

    pub(crate) fn boot(&self) -> Option<BootId> {
        self.boot
    }

    /// How far the host's wall clock is ahead of the hub's, in milliseconds.
    pub(crate) fn skew(&self) -> Option<i64> {
        self.skew
    }

    pub(crate) fn synchronised(&self) -> Option<bool> {
        self.synchronised
    }

    /// A heartbeat that was made at `host` arrived at `hub`. Returns whether
    /// the clock went wrong (`true`) or came right (`false`), if it did.
    pub(crate) fn heartbeat(&mut self, host: Moment, synchronised: bool, hub: Moment) -> Option<bool> {
        if hub.boot_millis.saturating_sub(self.window_began) > WINDOW {
            self.last_least = self.now_least.take();
            self.window_began = hub.boot_millis;
        }
        let distance = signed(hub.boot_millis).saturating_sub(signed(host.boot_millis));
        self.now_least = Some(self.now_least.map_or(distance, |least| least.min(distance)));
        let skew = host.wall.millis().saturating_sub(hub.wall.millis());
        self.skew = Some(skew);
        self.synchronised = Some(synchronised);
        let wrong = skew.saturating_abs() > if self.wrong { RIGHT_AGAIN } else { TOLERANCE };
        (wrong != self.wrong).then(|| {
            self.wrong = wrong;
            wrong
        })
    }

    /// When a report that was read at `host` (of that boot), and arrived at
    /// `hub`, was really read.
    pub(crate) fn place(&self, boot: BootId, host: Moment, synchronised: bool, hub: Moment) -> Placed {
        let wall = host.wall.millis();
        let plausible = wall >= PLAUSIBLE;
        let least = [self.now_least, self.last_least].into_iter().flatten().min();
        let bound = signed(hub.boot_millis).saturating_sub(signed(host.boot_millis));
        let known = self.boot == Some(boot) && boot != BootId(0);
        let at = match least {
            Some(distance) if known => {
                let really = hub.wall.millis().saturating_sub(bound.saturating_sub(distance));
                let off = wall.saturating_sub(really).saturating_abs();
                if synchronised && off <= TOLERANCE { wall } else { really }
            }
            // No heartbeat yet: all that is certain is that it was read before
            // it arrived.
            _ if known => {
                let latest = hub.wall.millis();
                let ahead = wall.saturating_sub(latest) > TOLERANCE;
                if synchronised && plausible && !ahead { wall } else { latest }
            }
            // Another boot: its wall clock is all there is.
            _ => wall,
        };
        let quarantined = at > hub.wall.millis().saturating_add(AHEAD) || at < PLAUSIBLE.min(hub.wall.millis());
        Placed { at: Timestamp::from_millis(at), quarantined }
    }
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: BootId = BootId(7);
    /// The hub's wall clock when its boot clock is at zero.
    const EPOCH: i64 = 1_800_000_000_000;
    const YEAR: i64 = 365 * 86_400_000;

    /// The hub, so many seconds after its boot.
    fn hub(second: i64) -> Moment {
        Moment { wall: Timestamp::from_millis(EPOCH + second * 1000), boot_millis: second as u64 * 1000 }
    }

    /// A host that booted when the hub was 1,000 s up, and whose wall clock is
    /// `off` milliseconds ahead of the truth.
    fn host(second: i64, off: i64) -> Moment {
        Moment { wall: Timestamp::from_millis(EPOCH + second * 1000 + off), boot_millis: (second - 1000) as u64 * 1000 }
    }

    fn met(off: i64, synchronised: bool) -> HostClock {
        let mut clock = HostClock::default();
        clock.begin(BOOT);
        clock.heartbeat(host(2000, off), synchronised, hub(2000));
        clock
    }

    fn placed(clock: &HostClock, read: Moment, synchronised: bool, arrived: i64) -> (i64, bool) {
        let placed = clock.place(BOOT, read, synchronised, hub(arrived));
        ((placed.at.millis() - EPOCH) / 1000, placed.quarantined)
    }

    #[test]
    fn a_good_clock_stands_also_for_old_reports() {
        let clock = met(0, true);
        assert_eq!(placed(&clock, host(2100, 3_000), true, 2100), (2103, false));
        assert_eq!(placed(&clock, host(1500, 0), true, 2100), (1500, false));
        assert_eq!(clock.skew(), Some(0));
    }

    #[test]
    fn a_wrong_or_free_running_clock_is_replaced_by_the_boot_clock() {
        for off in [-EPOCH, -YEAR, 61_000, YEAR, 10 * YEAR] {
            let clock = met(off, true);
            assert_eq!(clock.skew(), Some(off));
            assert_eq!(placed(&clock, host(2100, off), true, 2100), (2100, false), "{off}");
            assert_eq!(placed(&clock, host(1200, off), true, 2100), (1200, false), "backlog, {off}");
        }
        assert_eq!(placed(&met(5_000, false), host(2100, 5_000), false, 2100), (2100, false));
    }

    #[test]
    fn a_clock_that_jumped_in_between_is_seen_report_by_report() {
        let clock = met(0, true);
        assert_eq!(placed(&clock, host(1500, -EPOCH), true, 2100), (1500, false), "read before NTP set the clock");
        assert_eq!(placed(&clock, host(1600, YEAR), true, 2100), (1600, false));
    }

    #[test]
    fn delayed_heartbeats_do_not_move_the_reckoning() {
        let mut clock = met(0, false);
        clock.heartbeat(host(2010, 0), false, hub(2040));
        assert_eq!(placed(&clock, host(2041, 0), false, 2041), (2041, false));
    }

    #[test]
    fn before_the_first_heartbeat_a_good_clock_stands_and_a_bad_one_is_bounded() {
        let mut clock = HostClock::default();
        clock.begin(BOOT);
        assert_eq!(placed(&clock, host(1200, 0), true, 2100), (1200, false));
        assert_eq!(placed(&clock, host(1200, YEAR), true, 2100), (2100, false));
        assert_eq!(placed(&clock, host(1200, -EPOCH), false, 2100), (2100, false));
    }

    #[test]
    fn what_is_ahead_by_every_clock_and_what_cannot_be_is_set_aside() {
        let clock = met(0, true);
        let ahead = Moment { boot_millis: host(9_000, 0).boot_millis, ..host(9_000, 0) };
        assert!(clock.place(BOOT, ahead, true, hub(2100)).quarantined);
        let other = |wall: i64| {
            let read = Moment { wall: Timestamp::from_millis(wall), boot_millis: 5 };
            clock.place(BootId(99), read, true, hub(2100))
        };
        assert!(other(EPOCH + YEAR).quarantined, "next year, of a boot we know nothing of");
        assert!(other(3_600_000).quarantined, "1970");
        assert!(!other(EPOCH - 86_400_000).quarantined, "yesterday's backlog");
        for hostile in [Moment { wall: Timestamp::from_millis(i64::MIN), boot_millis: u64::MAX }, Moment::default()] {
            clock.place(BOOT, hostile, true, hub(2100));
            clock.place(BootId(0), hostile, false, hub(2100));
        }
    }

    #[test]
    fn going_wrong_and_coming_right_are_told_once_with_a_gap_between() {
        let mut clock = met(0, true);
        assert_eq!(clock.heartbeat(host(2010, 61_000), true, hub(2010)), Some(true));
        assert_eq!(clock.heartbeat(host(2020, 59_000), true, hub(2020)), None);
        assert_eq!(clock.heartbeat(host(2030, 29_000), true, hub(2030)), Some(false));
        assert_eq!(clock.heartbeat(host(2040, 31_000), true, hub(2040)), None);
        let mut restarted = HostClock::new(true);
        restarted.begin(BOOT);
        assert_eq!(restarted.heartbeat(host(2050, 61_000), true, hub(2050)), None, "a restart repeats nothing");
    }

    #[test]
    fn the_reckoning_follows_a_drifting_crystal() {
        let mut clock = met(0, false);
        // The host's boot clock loses a second a minute.
        for minute in 0..60 {
            let second = 2000 + minute * 60;
            let slow = Moment { boot_millis: (second - 1000 - minute) as u64 * 1000, ..host(second, 0) };
            clock.heartbeat(slow, false, hub(second));
        }
        let last = Moment { boot_millis: (2000 + 59 * 60 - 1000 - 59) as u64 * 1000, ..host(5540, 0) };
        let (at, _) = placed(&clock, last, false, 5540);
        assert!((5540 - at).abs() <= 20, "{at}");
    }
}
