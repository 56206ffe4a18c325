//! This machine's clocks, its boot and its name.

use rustix::time::{ClockId, clock_gettime};
use tomte_model::{BootId, Clock, Moment, Timestamp};

use crate::reader::read_trimmed;
use crate::root::Root;

/// CLOCK_REALTIME and CLOCK_BOOTTIME.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let millis = |clock| {
            let time = clock_gettime(clock);
            time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
        };
        Moment {
            wall: Timestamp::from_millis(millis(ClockId::Realtime)),
            boot_millis: u64::try_from(millis(ClockId::Boottime)).unwrap_or(0),
        }
    }
}

/// The kernel's id of this boot; zero where it does not tell.
#[must_use]
pub fn boot_id(root: &Root) -> BootId {
    let text = read_trimmed(&root.proc("sys/kernel/random/boot_id")).unwrap_or_default();
    BootId(u128::from_str_radix(&text.replace('-', ""), 16).unwrap_or(0))
}

/// The machine's own name; empty where it has none.
#[must_use]
pub fn hostname(root: &Root) -> String {
    read_trimmed(&root.proc("sys/kernel/hostname"))
        .or_else(|_| read_trimmed(&root.path("etc/hostname")))
        .ok()
        .filter(|name| name != "(none)")
        .unwrap_or_default()
}

/// Whether something (NTP, chrony, PTP, the hypervisor) keeps the wall clock
/// right, as the kernel sees it: see adjtimex(2).
#[must_use]
#[expect(unsafe_code, reason = "adjtimex has no safe wrapper in rustix or std")]
pub fn clock_synchronised() -> bool {
    // SAFETY: `timex` is plain numbers, for which zero is a valid value. With
    // `modes` zero the call changes nothing; it fills the struct that we own.
    let (state, status) = unsafe {
        let mut told: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut told), told.status)
    };
    (0..libc::TIME_ERROR).contains(&state) && status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_clocks_run() {
        let (a, b) = (SystemClock.now(), SystemClock.now());
        assert!(a.boot_millis > 0 && b.boot_millis >= a.boot_millis);
        assert!(a.wall > Timestamp::from_millis(0));
        // Either answer is right; the call must not fail or change anything.
        let _ = clock_synchronised();
    }

    #[test]
    fn boot_and_name_come_from_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        assert_eq!((boot_id(&root), hostname(&root)), (BootId(0), String::new()));
        std::fs::create_dir_all(root.proc("sys/kernel/random")).unwrap();
        std::fs::write(root.proc("sys/kernel/random/boot_id"), "00000000-0000-0000-0000-00000000002a\n").unwrap();
        std::fs::write(root.proc("sys/kernel/hostname"), "gate\n").unwrap();
        assert_eq!((boot_id(&root), hostname(&root).as_str()), (BootId(42), "gate"));
    }
}
