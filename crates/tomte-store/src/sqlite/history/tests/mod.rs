//! Tests that look inside: what a crash leaves at every step, what damage
//! costs, what version 1 left.
#![allow(clippy::unwrap_used)]

#[path = "../../../../tests/common/mod.rs"]
mod common;
mod crash;
mod damage;
mod readers;
mod steps;

use std::cell::RefCell;
use std::sync::Mutex;

thread_local! {
    /// About how many bytes each step of upkeep on this thread wrote.
    static STEPS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Told by upkeep.
pub(super) fn step_taken(bytes: usize) {
    STEPS.with_borrow_mut(|steps| steps.push(bytes));
}

/// Told after every commit, before anybody learns of it.
#[derive(Default)]
pub(super) struct Committed(Mutex<Option<Box<dyn FnMut() + Send>>>);

impl Committed {
    pub(super) fn tell(&self) {
        if let Some(tell) = self.0.lock().unwrap().as_mut() {
            tell();
        }
    }

    fn set(&self, tell: impl FnMut() + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(tell));
    }
}

impl std::fmt::Debug for Committed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Committed")
    }
}
