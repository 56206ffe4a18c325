//! When something was told, and when it is its turn again.

use super::{Pace, millis};

/// When something was told last, in milliseconds of boot time.
///
/// The interval counts from one change to the next, as they were read: what is
/// only told again, to keep it alive or after an announcement, holds no change
/// up, and what was held up itself, as the first values are, not the next one.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Told {
    /// `None`: not on this connection.
    at: Option<u64>,
    /// When what was news then was read.
    new_at: Option<u64>,
}

impl Told {
    /// When it is its turn: at once on a new connection, after the interval
    /// when it changed, else to keep it alive.
    pub(super) fn due_at(self, same: bool, pace: &Pace) -> u64 {
        let Some(at) = self.at else { return 0 };
        let (since, wait) = if same { (at, pace.keep_alive) } else { (self.new_at.unwrap_or(at), pace.interval) };
        since.saturating_add(millis(wait))
    }

    /// It is told now, and was read then.
    pub(super) fn note(&mut self, same: bool, boot: u64, read_at: u64) {
        self.at = Some(boot);
        if !same {
            self.new_at = Some(read_at);
        }
    }

    /// It does not count as told any more.
    pub(super) fn forget(&mut self) {
        self.at = None;
    }
}
