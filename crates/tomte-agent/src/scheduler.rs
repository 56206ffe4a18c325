//! When each collector runs, and what happens when one does not come back.
//!
//! [`Scheduler`] is a state machine: it is told the time and what the workers
//! brought back, and answers with what to do. It starts no thread and reads no
//! clock; [`crate::workers`] is the shell around it.
//!
//! A collector that overruns its deadline keeps its thread and its scopes are
//! reported as failed; it is never started a second time. Whoever has to wait
//! for a thread gets a new one after a moment, up to a cap.

use std::collections::VecDeque;
use std::time::Duration;

use tomte_collect::{Collector, CollectorDef, Root, Settings, Shared, Tier};
use tomte_model::{Moment, Outcome, Scope, Unit};

use crate::config::{CollectorConfig, Config};

/// At most this many threads, hung ones included.
pub const MOST_WORKERS: usize = 8;
/// How long a collector waits for a thread before there is a new one.
const PATIENCE: u64 = 250;
/// The fastest a live lease may ask for.
const FASTEST: u64 = 1_000;
/// The longest a live lease may ask for at once.
const LONGEST_LEASE: u64 = 300_000;
/// How often it is said that a collector is switched off.
const SAY_OFF_EVERY: u64 = 3_600_000;

/// A collector on its way to a thread.
pub struct Job {
    /// Its place in the schedule.
    pub slot: usize,
    /// What to run.
    pub collector: Box<dyn Collector>,
}

/// A collector that came back from its thread.
pub struct Returned {
    /// Its place in the schedule.
    pub slot: usize,
    /// The collector; `None` when it panicked.
    pub collector: Option<Box<dyn Collector>>,
    /// What it saw, or how it panicked.
    pub scopes: Result<Vec<Scope>, String>,
    /// What it saw of something that is not this host's alone.
    pub shared: Option<Shared>,
    /// When it began.
    pub moment: Moment,
    /// How long it took.
    pub duration: Duration,
}

/// What to report of a collector.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which collector.
    pub def: &'static CollectorDef,
    /// When it looks again; zero: it does not.
    pub interval: Duration,
    /// When the reading began.
    pub moment: Moment,
    /// How long it took, so far.
    pub duration: Duration,
    /// What was read.
    pub scopes: Vec<Scope>,
    /// What was read of something that is not this host's alone.
    pub shared: Option<Shared>,
}

/// What the shell has to do.
pub enum Action {
    /// Hand this to a worker.
    Start(Job),
    /// Start one more worker.
    Hire,
    /// Let one worker go.
    Dismiss,
    /// Submit this.
    Report(Finding),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Waits for a thread since then.
    Queued(u64),
    /// Runs since then; the next complaint about it is due at the other.
    Running {
        since: u64,
        complain_at: u64,
    },
}

struct Slot {
    def: &'static CollectorDef,
    config: CollectorConfig,
    /// At home unless it runs.
    collector: Option<Box<dyn Collector>>,
    state: State,
    due: u64,
    /// Made with settings that are no longer in force.
    outdated: bool,
}

struct Lease {
    until: u64,
    interval: u64,
}

/// The schedule of all collectors.
pub struct Scheduler {
    root: Root,
    settings: Settings,
    slots: Vec<Slot>,
    queue: VecDeque<usize>,
    workers: usize,
    phase: u64,
    lease: Option<Lease>,
    say_off_at: u64,
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").field("queue", &self.queue).field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Scheduler {
    /// The schedule of this version's collectors. `phase` is where in an
    /// interval this host's readings lie, so that a fleet does not speak all
    /// at once.
    #[must_use]
    pub fn new(root: Root, config: &Config, phase: u64, now: Moment) -> Self {
        Self::of(crate::collectors(), root, config, phase, now)
    }

    /// The schedule of other collectors.
    #[must_use]
    pub fn of(collectors: &'static [CollectorDef], root: Root, config: &Config, phase: u64, now: Moment) -> Self {
        let settings = config.collect.clone();
        let slots = collectors
            .iter()
            .map(|def| Slot {
                def,
                config: config.collector(def),
                collector: None,
                state: State::Idle,
                // Everything is looked at once as soon as the agent starts.
                due: now.boot_millis,
                outdated: false,
            })
            .collect();
        let say_off_at = now.boot_millis;
        Self { root, settings, slots, queue: VecDeque::new(), workers: 0, phase, lease: None, say_off_at }
    }

    /// Takes up a new configuration. What runs now runs to its end.
    pub fn reconfigure(&mut self, config: &Config, now: Moment) {
        let settings_changed = self.settings != config.collect;
        self.settings = config.collect.clone();
        for slot in &mut self.slots {
            let new = config.collector(slot.def);
            if settings_changed || (new.enabled && !slot.config.enabled) {
                // Made anew, and looked at with the new eyes at once.
                slot.collector = None;
                slot.outdated = true;
                slot.due = now.boot_millis;
            } else if new.interval != slot.config.interval {
                slot.due = slot.due.min(next_tick(now.boot_millis, new.interval, self.phase));
            }
            slot.config = new;
        }
        self.say_off_at = now.boot_millis;
    }

    /// Somebody watches, or no longer does.
    pub fn live(&mut self, interval_millis: u32, lease_millis: u32, now: Moment) {
        let now = now.boot_millis;
        let lease = u64::from(lease_millis).min(LONGEST_LEASE);
        self.lease =
            (lease > 0).then(|| Lease { until: now + lease, interval: u64::from(interval_millis).max(FASTEST) });
        for index in 0..self.slots.len() {
            let due = self.next_due(index, now);
            let slot = &mut self.slots[index];
            slot.due = slot.due.min(due);
        }
    }

    /// Runs these collectors now; all, when there are none.
    pub fn refresh(&mut self, names: &[String], now: Moment) {
        for slot in &mut self.slots {
            if names.is_empty() || names.iter().any(|name| name == slot.def.name) {
                slot.due = slot.due.min(now.boot_millis);
            }
        }
    }

    /// What is to be done at this moment.
    pub fn tick(&mut self, now: Moment) -> Vec<Action> {
        let at = now.boot_millis;
        if self.lease.as_ref().is_some_and(|lease| lease.until <= at) {
            self.lease = None;
        }
        for index in 0..self.slots.len() {
            if self.slots[index].config.enabled && self.slots[index].due <= at {
                let due = self.next_due(index, at);
                let slot = &mut self.slots[index];
                slot.due = due;
                // Whoever still waits or runs has had its turn.
                if slot.state == State::Idle {
                    slot.state = State::Queued(at);
                    self.queue.push_back(index);
                }
            }
        }
        let mut actions = Vec::new();
        self.start(now, &mut actions);
        self.complain(now, &mut actions);
        self.say_what_is_off(now, &mut actions);
        actions
    }

    /// A collector came back.
    pub fn returned(&mut self, returned: Returned, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(slot) = self.slots.get_mut(returned.slot) {
            slot.state = State::Idle;
            slot.collector = returned.collector.filter(|_| !slot.outdated);
            let scopes = returned.scopes.unwrap_or_else(|panic| {
                failed(slot.def, &format!("{} panicked, which is a defect of Tomte: {panic}", slot.def.name))
            });
            if slot.config.enabled && !slot.outdated {
                actions.push(Action::Report(Finding {
                    def: slot.def,
                    interval: slot.config.interval,
                    moment: returned.moment,
                    duration: returned.duration,
                    scopes,
                    shared: returned.shared,
                }));
            }
        }
        self.start(now, &mut actions);
        // One thread is enough as long as nobody waits.
        if self.queue.is_empty() && self.idle() > 1 {
            self.workers -= 1;
            actions.push(Action::Dismiss);
        }
        actions
    }

    fn idle(&self) -> usize {
        let running = self.slots.iter().filter(|slot| matches!(slot.state, State::Running { .. })).count();
        self.workers.saturating_sub(running)
    }

    fn start(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let at = now.boot_millis;
        while let Some((place, since)) = self.next_in_queue() {
            let index = self.queue[place];
            if self.idle() == 0 {
                let may_hire =
                    self.workers == 0 || at.saturating_sub(since) >= PATIENCE || self.is_held_up_by_slow_ones(index);
                if !may_hire || self.workers >= MOST_WORKERS {
                    return;
                }
                self.workers += 1;
                actions.push(Action::Hire);
            }
            self.queue.remove(place);
            let slot = &mut self.slots[index];
            slot.outdated = false;
            let make = slot.def.make;
            let collector = slot.collector.take().unwrap_or_else(|| make(&self.root, &self.settings));
            let complain_at = at.saturating_add(millis(slot.config.deadline));
            slot.state = State::Running { since: at, complain_at };
            actions.push(Action::Start(Job { slot: index, collector }));
        }
    }

    /// The place in the queue of whoever is next, and since when it waits. The
    /// fast ones go before the others.
    fn next_in_queue(&mut self) -> Option<(usize, u64)> {
        let slots = &self.slots;
        self.queue.retain(|index| matches!(slots[*index].state, State::Queued(_)));
        let fast = self.queue.iter().position(|index| slots[*index].def.tier == Tier::Fast);
        let place = fast.or((!self.queue.is_empty()).then_some(0))?;
        match slots[self.queue[place]].state {
            State::Queued(since) => Some((place, since)),
            _ => None,
        }
    }

    /// Whether a fast collector waits for others alone: these may start
    /// programs and take seconds, and slow never blocks live.
    fn is_held_up_by_slow_ones(&self, index: usize) -> bool {
        let running = |slot: &Slot| matches!(slot.state, State::Running { .. });
        self.slots[index].def.tier == Tier::Fast
            && !self.slots.iter().any(|slot| running(slot) && slot.def.tier == Tier::Fast)
    }

    /// Reports what does not come back, and what finds no thread.
    fn complain(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let at = now.boot_millis;
        let hung = self.slots.iter().filter(|slot| overdue(slot, at)).count();
        for slot in &mut self.slots {
            let interval = millis(slot.config.interval).max(FASTEST);
            let (since, why) = match &mut slot.state {
                State::Running { since, complain_at } if *complain_at <= at => {
                    *complain_at = at + interval;
                    let away = Unit::Seconds.format(at.saturating_sub(*since) as f64 / 1000.0);
                    (*since, format!("{} has not returned for {away}", slot.def.name))
                }
                State::Queued(since) if at.saturating_sub(*since) >= millis(slot.config.deadline) => {
                    // Its turn comes when a thread is free; the next complaint
                    // in a while.
                    let waits = *since;
                    *since = at;
                    (waits, format!("{} finds no free thread: {hung} collectors hang", slot.def.name))
                }
                _ => continue,
            };
            actions.push(Action::Report(Finding {
                def: slot.def,
                interval: slot.config.interval,
                moment: now,
                duration: Duration::from_millis(at.saturating_sub(since)),
                scopes: failed(slot.def, &why),
                shared: None,
            }));
        }
    }

    /// What nobody looks at is not gone: it is unavailable, and retired after
    /// a day of that.
    fn say_what_is_off(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if now.boot_millis < self.say_off_at {
            return;
        }
        self.say_off_at = now.boot_millis + SAY_OFF_EVERY;
        for slot in self.slots.iter().filter(|slot| !slot.config.enabled) {
            let error = "switched off in this host's configuration".to_owned();
            let off = |scope: &&'static str| Scope::failed(*scope, Outcome::Unavailable { error: error.clone() });
            actions.push(Action::Report(Finding {
                def: slot.def,
                interval: Duration::ZERO,
                moment: now,
                duration: Duration::ZERO,
                scopes: slot.def.scopes.iter().map(off).collect(),
                shared: None,
            }));
        }
    }

    /// The boot time of the next thing to do, in milliseconds.
    #[must_use]
    pub fn wake_at(&self) -> u64 {
        let stuck = self.idle() == 0;
        let slots = self.slots.iter().flat_map(|slot| {
            let state = match slot.state {
                State::Idle => None,
                State::Running { complain_at, .. } => Some(complain_at),
                State::Queued(since) if stuck && self.workers < MOST_WORKERS => Some(since + PATIENCE),
                State::Queued(since) => Some(since + millis(slot.config.deadline)),
            };
            [state, slot.config.enabled.then_some(slot.due)].into_iter().flatten()
        });
        slots.chain([self.say_off_at]).min().unwrap_or(u64::MAX)
    }

    fn next_due(&self, index: usize, at: u64) -> u64 {
        let slot = &self.slots[index];
        let usual = next_tick(at, slot.config.interval, self.phase);
        match &self.lease {
            Some(lease) if slot.def.tier == Tier::Fast => {
                let soon = next_tick(at, Duration::from_millis(lease.interval), self.phase);
                if soon < lease.until { usual.min(soon) } else { usual }
            }
            _ => usual,
        }
    }

    /// How many threads there are, and how many collectors are overdue.
    #[must_use]
    pub fn threads(&self, now: Moment) -> (usize, usize) {
        (self.workers, self.slots.iter().filter(|slot| overdue(slot, now.boot_millis)).count())
    }
}

fn overdue(slot: &Slot, at: u64) -> bool {
    matches!(slot.state, State::Running { since, .. }
        if at.saturating_sub(since) >= millis(slot.config.deadline))
}

fn failed(def: &CollectorDef, why: &str) -> Vec<Scope> {
    def.scopes.iter().map(|scope| Scope::failed(*scope, Outcome::Failed { error: why.to_owned() })).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The first moment after `at` that lies `phase` after a multiple of the
/// interval. All intervals share the phase, so that a slow tier's reading
/// falls together with a fast one's.
pub(crate) fn next_tick(at: u64, interval: Duration, phase: u64) -> u64 {
    let interval = millis(interval).max(1);
    let phase = phase % interval;
    let since = (at + interval - phase) % interval;
    at + interval - since
}

#[cfg(test)]
mod tests;
