//! The threads that collectors run on, and the loop around the schedule.
//!
//! A worker takes a job, runs it, tells the schedule and goes on with the next
//! at once, if there is one; whoever submits what was found is woken when no
//! more comes. To be handed each collector anew would take more processor time
//! than most of them do. A panic is caught and told too. Threads that hang are
//! left to hang; the process ends without waiting for them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tomte_model::{Clock, Moment};
use tracing::warn;

use crate::config::Config;
use crate::own::{self, Runs, Usage};
use crate::pipeline::Seen;
use crate::scheduler::{Action, Finding, Job, Returned, Scheduler, next_tick};
use crate::station::Station;

/// Collectors parse into buffers on the heap; a handshake of TLS on top of a
/// collector's own calls is what goes deepest. Only what is touched costs memory.
const STACK: usize = 512 * 1024;

enum Message {
    Run(Job),
    Quit,
}

/// The schedule, and the threads that do what it says.
#[derive(Clone)]
pub struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    scheduler: Mutex<Scheduler>,
    /// No more than there are collectors.
    jobs: Mutex<VecDeque<Message>>,
    given: Condvar,
    /// What is to be submitted; as much as was found since somebody last looked.
    found: Mutex<Vec<Finding>>,
    news: Notify,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workers {
    /// No thread yet.
    #[must_use]
    pub fn new(scheduler: Scheduler, clock: Arc<dyn Clock>) -> Self {
        let shared = Shared {
            scheduler: Mutex::new(scheduler),
            jobs: Mutex::default(),
            given: Condvar::new(),
            found: Mutex::default(),
            news: Notify::new(),
            clock,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The schedule, to be asked or changed; not for long, since workers wait for it.
    pub fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        locked(&self.shared.scheduler)
    }

    /// Does what is to be done now.
    pub fn tick(&self) {
        let actions = self.scheduler().tick(self.shared.clock.now());
        for action in actions {
            self.perform(action);
        }
    }

    /// Waits until workers have found something and have no more at hand.
    pub async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// What was found since this was last asked.
    #[must_use]
    pub fn found(&self) -> Vec<Finding> {
        std::mem::take(&mut *locked(&self.shared.found))
    }

    fn perform(&self, action: Action) {
        match action {
            Action::Start(job) => self.give(Message::Run(job)),
            Action::Dismiss => self.give(Message::Quit),
            Action::Report(finding) => locked(&self.shared.found).push(finding),
            Action::Hire => {
                if let Err(error) = self.hire() {
                    warn!(%error, "cannot start a thread for collectors");
                }
            }
        }
    }

    /// To whichever thread is free; the schedule gives no more than there are.
    fn give(&self, message: Message) {
        locked(&self.shared.jobs).push_back(message);
        self.shared.given.notify_one();
    }

    fn hire(&self) -> std::io::Result<()> {
        let workers = self.clone();
        let work = move || {
            while let Message::Run(job) = workers.next() {
                workers.work(job);
            }
        };
        thread::Builder::new().name("collect".into()).stack_size(STACK).spawn(work).map(drop)
    }

    /// Waits for something to do.
    fn next(&self) -> Message {
        let mut jobs = locked(&self.shared.jobs);
        loop {
            match jobs.pop_front() {
                Some(message) => return message,
                None => jobs = self.shared.given.wait(jobs).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Runs a job, and those that the schedule has next for this thread.
    fn work(&self, job: Job) {
        let mut job = Some(job);
        while let Some(this) = job.take() {
            let back = run(this, self.shared.clock.as_ref());
            let actions = self.scheduler().returned(back, self.shared.clock.now());
            for action in actions {
                match action {
                    Action::Start(next) if job.is_none() => job = Some(next),
                    other => self.perform(other),
                }
            }
        }
        self.shared.news.notify_one();
    }
}

fn run(job: Job, clock: &dyn Clock) -> Returned {
    let Job { slot, mut collector } = job;
    let moment = clock.now();
    let began = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (collector.collect(moment), collector.shared())));
    let duration = began.elapsed();
    match result {
        Ok((scopes, shared)) => {
            Returned { slot, collector: Some(collector), scopes: Ok(scopes), shared, moment, duration }
        }
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            // What panicked may be broken in ways that panic when dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(collector)));
            let scopes = Err(text.unwrap_or_else(|| "no message".to_owned()));
            Returned { slot, collector: None, scopes, shared: None, moment, duration }
        }
    }
}

/// What can change the schedule while it runs.
#[derive(Debug)]
pub enum Change {
    /// A new configuration.
    Config(Box<Config>),
    /// Somebody watches; see [`Scheduler::live`].
    Live {
        /// The interval.
        interval_millis: u32,
        /// How long.
        lease_millis: u32,
    },
    /// Run these collectors now; all, when there are none.
    Refresh(Vec<String>),
}

/// The collectors of a running agent.
#[derive(Debug)]
pub struct Collecting {
    /// Where what they see goes.
    pub station: Arc<Station>,
    /// When they run, and on what.
    pub workers: Workers,
    /// How often the agent reports on itself; `None`: never.
    pub own_interval: Option<Duration>,
    /// What the host is for, as its file says.
    pub roles: Vec<String>,
    /// See [`Scheduler::new`].
    pub phase: u64,
    /// Whether the host's clock is disciplined now.
    pub synchronised: fn() -> bool,
}

/// The first look at itself comes when the collectors have had theirs.
const OWN_DELAY: u64 = 2_000;

impl Collecting {
    /// Runs the collectors until cancelled.
    pub async fn run(mut self, mut changes: mpsc::Receiver<Change>, cancel: CancellationToken) {
        let mut own = Own { runs: Runs::default(), usage: None, due: self.now().boot_millis + OWN_DELAY };
        loop {
            self.workers.tick();
            self.submit(&mut own.runs);
            let now = self.now();
            let mut wake_at = self.workers.scheduler().wake_at();
            if let Some(interval) = self.own_interval {
                if own.due <= now.boot_millis {
                    own.due = next_tick(now.boot_millis, interval, self.phase);
                    self.report_itself(&mut own, interval, now);
                }
                wake_at = wake_at.min(own.due);
            }
            let pause = Duration::from_millis(wake_at.saturating_sub(now.boot_millis).min(3_600_000));
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.workers.news() => {}
                Some(change) = changes.recv() => self.change(change, &mut own.runs),
            }
        }
    }

    fn now(&self) -> Moment {
        self.station.clock().now()
    }

    /// Submits what was found.
    fn submit(&self, runs: &mut Runs) {
        let found = self.workers.found();
        if found.is_empty() {
            return;
        }
        let clock_synchronised = (self.synchronised)();
        for Finding { def, interval, moment, duration, scopes, shared } in found {
            if !interval.is_zero() {
                runs.note(def.name, duration, &scopes, moment.wall);
            }
            let collector = def.name.into();
            let seen = Seen { collector, interval, moment, clock_synchronised, scopes };
            self.station.submit_shared(seen, shared);
        }
    }

    fn report_itself(&self, own: &mut Own, interval: Duration, moment: Moment) {
        let usage = own::usage();
        let before = own.usage.replace((moment, usage));
        let agent = own::agent_scope(self.station.pipeline().outbox(), &self.roles, before, moment, usage);
        let (collector, clock_synchronised) = (own::COLLECTOR.into(), (self.synchronised)());
        let scopes = vec![agent, own.runs.scope()];
        self.station.submit(Seen { collector, interval, moment, clock_synchronised, scopes });
    }

    fn change(&mut self, change: Change, runs: &mut Runs) {
        let now = self.now();
        match change {
            Change::Live { interval_millis, lease_millis } => {
                self.workers.scheduler().live(interval_millis, lease_millis, now);
            }
            Change::Refresh(names) => self.workers.scheduler().refresh(&names, now),
            Change::Config(config) => {
                self.own_interval = config.own_interval();
                self.roles.clone_from(&config.roles);
                runs.keep(|name| config.collectors().any(|(def, _)| def.name == name));
                self.workers.scheduler().reconfigure(&config, now);
            }
        }
    }
}

/// What the agent keeps to report on itself.
struct Own {
    runs: Runs,
    usage: Option<(Moment, Usage)>,
    due: u64,
}
