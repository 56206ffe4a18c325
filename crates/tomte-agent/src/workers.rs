//! The threads that collectors run on, and the loop around the schedule.
//!
//! A worker takes a job, runs it, and hands back the collector with what it
//! saw. A panic is caught and handed back too. Threads that hang are left to
//! hang; the process ends without waiting for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tomte_model::{Clock, Moment};
use tracing::warn;

use crate::config::Config;
use crate::own::{self, Runs, Usage};
use crate::pipeline::Seen;
use crate::scheduler::{Action, Finding, Job, MOST_WORKERS, Returned, Scheduler, next_tick};
use crate::station::Station;

/// Collectors parse into buffers on the heap; this is ample for their calls.
const STACK: usize = 128 * 1024;

enum Message {
    Run(Job),
    Quit,
}

/// The worker threads.
pub struct Workers {
    jobs: SyncSender<Message>,
    waiting: Arc<Mutex<Receiver<Message>>>,
    results: mpsc::Sender<Returned>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}

impl Workers {
    /// No thread yet, and where what they bring back will arrive.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> (Self, mpsc::Receiver<Returned>) {
        let (jobs, waiting) = sync_channel(2 * MOST_WORKERS);
        let (results, returned) = mpsc::channel(MOST_WORKERS);
        (Self { jobs, waiting: Arc::new(Mutex::new(waiting)), results, clock }, returned)
    }

    /// Starts one more thread.
    ///
    /// # Errors
    /// When the system refuses one.
    pub fn hire(&self) -> std::io::Result<()> {
        let (waiting, results, clock) = (self.waiting.clone(), self.results.clone(), self.clock.clone());
        let work = move || {
            loop {
                // The lock is released before the job begins.
                let message = { waiting.lock().unwrap_or_else(PoisonError::into_inner).recv() };
                let Ok(Message::Run(job)) = message else { return };
                if results.blocking_send(run(job, clock.as_ref())).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("collect".into()).stack_size(STACK).spawn(work).map(drop)
    }

    /// Hands a job to whichever thread is free. The schedule starts no more
    /// jobs than there are free threads, so this does not wait.
    pub fn start(&self, job: Job) {
        // An error means that all threads are gone, which none does by itself.
        let _ = self.jobs.try_send(Message::Run(job));
    }

    /// Lets one idle thread go.
    pub fn dismiss(&self) {
        let _ = self.jobs.try_send(Message::Quit);
    }
}

fn run(job: Job, clock: &dyn Clock) -> Returned {
    let Job { slot, mut collector } = job;
    let moment = clock.now();
    let began = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| collector.collect(moment)));
    let duration = began.elapsed();
    match result {
        Ok(scopes) => Returned { slot, collector: Some(collector), scopes: Ok(scopes), moment, duration },
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            // What panicked may be broken in ways that panic when dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(collector)));
            let scopes = Err(text.unwrap_or_else(|| "no message".to_owned()));
            Returned { slot, collector: None, scopes, moment, duration }
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
    /// When they run.
    pub scheduler: Scheduler,
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
    pub async fn run(mut self, mut changes: mpsc::Receiver<Change>, clock: Arc<dyn Clock>, cancel: CancellationToken) {
        let (workers, mut returned) = Workers::new(clock);
        let mut own = Own { runs: Runs::default(), usage: None, due: self.now().boot_millis + OWN_DELAY };
        loop {
            let actions = self.scheduler.tick(self.now());
            self.perform(actions, &workers, &mut own.runs);
            let now = self.now();
            let mut wake_at = self.scheduler.wake_at();
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
                Some(back) = returned.recv() => {
                    let actions = self.scheduler.returned(back, self.now());
                    self.perform(actions, &workers, &mut own.runs);
                }
                Some(change) = changes.recv() => self.change(change, &mut own.runs),
            }
        }
    }

    fn now(&self) -> Moment {
        self.station.clock().now()
    }

    fn perform(&self, actions: Vec<Action>, workers: &Workers, runs: &mut Runs) {
        for action in actions {
            match action {
                Action::Start(job) => workers.start(job),
                Action::Hire => {
                    if let Err(error) = workers.hire() {
                        warn!(%error, "cannot start a thread for collectors");
                    }
                }
                Action::Dismiss => workers.dismiss(),
                Action::Report(Finding { def, interval, moment, duration, scopes }) => {
                    if !interval.is_zero() {
                        runs.note(def.name, duration, &scopes, moment.wall);
                    }
                    let clock_synchronised = (self.synchronised)();
                    let collector = def.name.into();
                    self.station.submit(Seen { collector, interval, moment, clock_synchronised, scopes });
                }
            }
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
            Change::Live { interval_millis, lease_millis } => self.scheduler.live(interval_millis, lease_millis, now),
            Change::Refresh(names) => self.scheduler.refresh(&names, now),
            Change::Config(config) => {
                self.own_interval = config.own_interval();
                self.roles.clone_from(&config.roles);
                runs.keep(|name| config.collectors().any(|(def, _)| def.name == name));
                self.scheduler.reconfigure(&config, now);
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
