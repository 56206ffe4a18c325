#![allow(clippy::unwrap_used)]
//! With injected time throughout; the tests that use real threads wait for
//! what the threads send, never for a time.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tomte_model::{Clock, Timestamp};

use super::*;
use crate::config::{Layers, Sources};
use crate::workers::Workers;

fn at(millis: u64) -> Moment {
    Moment { wall: Timestamp::from_millis(1_800_000_000_000 + i64::try_from(millis).unwrap()), boot_millis: millis }
}

fn config(text: &str) -> Config {
    Layers::of("/x".into(), text, &Sources::default()).unwrap().resolve(&[]).unwrap()
}

struct Plain(&'static str);
impl Collector for Plain {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        vec![Scope::complete(self.0, vec![])]
    }
}

struct Panics;
impl Collector for Panics {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        panic!("division by zero")
    }
}

/// Opens a FIFO below the root, which blocks until somebody writes to it.
struct Fifo(std::path::PathBuf);
impl Collector for Fifo {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        let mut text = String::new();
        std::fs::File::open(&self.0).unwrap().read_to_string(&mut text).unwrap();
        vec![Scope::complete("fifo", vec![])]
    }
}

const fn def(
    name: &'static str,
    tier: Tier,
    scopes: &'static [&'static str],
    make: fn(&Root, &Settings) -> Box<dyn Collector>,
) -> CollectorDef {
    CollectorDef { name, tier, interval: None, deadline: Duration::from_secs(5), help: "", scopes, make }
}

// `load` and `cpu` are real names, so that configuration can speak of them.
static TWO: &[CollectorDef] = &[
    def("load", Tier::Fast, &["load"], |_, _| Box::new(Plain("load"))),
    def("cpu", Tier::Medium, &["cpu", "core"], |_, _| Box::new(Plain("cpu"))),
];
static BAD: &[CollectorDef] = &[
    def("fifo", Tier::Fast, &["fifo"], |root, _| Box::new(Fifo(root.path("fifo")))),
    def("panics", Tier::Fast, &["a", "b"], |_, _| Box::new(Panics)),
    def("load", Tier::Fast, &["load"], |_, _| Box::new(Plain("load"))),
];

fn scheduler(defs: &'static [CollectorDef], text: &str) -> Scheduler {
    Scheduler::of(defs, Root::new("/nowhere"), &config(text), 0, at(0))
}

/// Lets a job run here and now.
fn finish(scheduler: &mut Scheduler, job: Job, now: Moment) -> Vec<Action> {
    let Job { slot, mut collector } = job;
    let scopes = Ok(collector.collect(now));
    scheduler.returned(
        Returned {
            slot,
            collector: Some(collector),
            scopes,
            shared: None,
            moment: now,
            duration: Duration::from_millis(1),
        },
        now,
    )
}

/// Runs everything to its end at one moment; returns who reported.
fn round(scheduler: &mut Scheduler, now: Moment) -> Vec<&'static str> {
    let mut names = Vec::new();
    let mut actions: VecDeque<Action> = scheduler.tick(now).into();
    while let Some(action) = actions.pop_front() {
        match action {
            Action::Start(job) => actions.extend(finish(scheduler, job, now)),
            Action::Report(finding) => names.push(finding.def.name),
            Action::Hire | Action::Dismiss => {}
        }
    }
    names
}

#[test]
fn ticks_are_aligned_and_share_a_phase() {
    let tick = |at, seconds| next_tick(at, Duration::from_secs(seconds), 123_456);
    assert_eq!(tick(0, 10), 3_456);
    assert_eq!(tick(3_456, 10), 13_456);
    assert_eq!(tick(5_000, 60), 3_456 + 60_000);
    assert_eq!(tick(5_000, 60) % 10_000, 3_456);
    assert_eq!(tick(0, 900), 123_456);
    assert_eq!(next_tick(7, Duration::ZERO, 5), 8);
}

#[test]
fn everything_runs_at_once_and_then_by_its_tier() {
    let mut scheduler = scheduler(TWO, "");
    assert_eq!(round(&mut scheduler, at(0)), ["load", "cpu"]);
    assert_eq!(scheduler.wake_at(), 10_000);
    assert!(round(&mut scheduler, at(9_999)).is_empty());
    assert_eq!(round(&mut scheduler, at(10_000)), ["load"]);
    // After a suspend, what was missed is not made up for.
    assert_eq!(round(&mut scheduler, at(3_600_000)), ["load", "cpu"]);
    assert!(round(&mut scheduler, at(3_600_001)).is_empty());
}

#[test]
fn a_live_lease_speeds_up_the_fast_tier_until_it_ends() {
    let mut scheduler = scheduler(TWO, "");
    round(&mut scheduler, at(0));
    scheduler.live(1_000, 30_000, at(500));
    for second in 1..=30 {
        assert_eq!(round(&mut scheduler, at(second * 1_000)), ["load"], "second {second}");
    }
    assert!(round(&mut scheduler, at(31_000)).is_empty(), "the lease is over");
    assert_eq!(round(&mut scheduler, at(40_000)), ["load"]);
    scheduler.live(1, 4_000_000_000, at(40_000));
    assert_eq!(scheduler.wake_at(), 41_000, "no faster than once a second");
    scheduler.live(1_000, 0, at(40_500));
    round(&mut scheduler, at(41_000));
    assert!(round(&mut scheduler, at(42_000)).is_empty());
}

#[test]
fn a_refresh_runs_what_is_asked_for() {
    let mut scheduler = scheduler(TWO, "");
    round(&mut scheduler, at(0));
    scheduler.refresh(&["cpu".to_owned(), "nonsense".to_owned()], at(1));
    assert_eq!(round(&mut scheduler, at(1)), ["cpu"]);
    scheduler.refresh(&[], at(2));
    assert_eq!(round(&mut scheduler, at(2)), ["load", "cpu"]);
}

#[test]
fn what_is_switched_off_is_unavailable_and_comes_back_when_switched_on() {
    let mut scheduler = scheduler(TWO, "[collectors.cpu]\nenabled = false");
    let mut off = Vec::new();
    for action in scheduler.tick(at(0)) {
        match action {
            Action::Report(finding) => off.extend(finding.scopes.into_iter().map(|scope| (scope.name, scope.outcome))),
            Action::Start(job) => drop(finish(&mut scheduler, job, at(0))),
            _ => {}
        }
    }
    assert_eq!(off.len(), 2);
    assert!(matches!(&off[0].1, Outcome::Unavailable { error } if error.contains("configuration")));
    scheduler.reconfigure(&config(""), at(20));
    assert!(round(&mut scheduler, at(20)).contains(&"cpu"));
}

#[test]
fn a_collector_that_does_not_return_is_complained_about_and_not_started_again() {
    let mut scheduler = scheduler(TWO, "[collectors.load]\ndeadline = \"5s\"");
    let mut held = Vec::new();
    let mut hired = 0;
    let mut complaints = Vec::new();
    for second in 0..=20 {
        let mut actions: VecDeque<Action> = scheduler.tick(at(second * 1_000)).into();
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Start(job) if job.slot == 0 => held.push(job),
                Action::Start(job) => actions.extend(finish(&mut scheduler, job, at(second * 1_000))),
                Action::Hire => hired += 1,
                Action::Report(finding) if finding.def.name == "load" => complaints.push(finding.scopes),
                _ => {}
            }
        }
    }
    assert_eq!(held.len(), 1, "never started twice");
    assert_eq!(hired, 2, "the other collector got a thread of its own");
    assert_eq!(complaints.len(), 2);
    assert_eq!(complaints[0][0].outcome.error(), Some("load has not returned for 5.0 s"));
    assert_eq!(complaints[1][0].outcome.error(), Some("load has not returned for 15 s"));
    assert_eq!(scheduler.threads(at(20_000)), (2, 1));
    let job = held.pop().unwrap();
    let actions = finish(&mut scheduler, job, at(21_000));
    assert!(actions.iter().any(|action| matches!(action, Action::Dismiss)), "one thread is enough again");
    assert_eq!(scheduler.threads(at(21_000)), (1, 0));
}

#[test]
fn threads_are_capped_and_whoever_finds_none_says_so() {
    static MANY: &[CollectorDef] = &[
        def("a", Tier::Fast, &["a"], |_, _| Box::new(Plain("a"))),
        def("b", Tier::Fast, &["b"], |_, _| Box::new(Plain("b"))),
        def("c", Tier::Fast, &["c"], |_, _| Box::new(Plain("c"))),
        def("d", Tier::Fast, &["d"], |_, _| Box::new(Plain("d"))),
        def("e", Tier::Fast, &["e"], |_, _| Box::new(Plain("e"))),
        def("f", Tier::Fast, &["f"], |_, _| Box::new(Plain("f"))),
        def("g", Tier::Fast, &["g"], |_, _| Box::new(Plain("g"))),
        def("h", Tier::Fast, &["h"], |_, _| Box::new(Plain("h"))),
        def("i", Tier::Fast, &["i"], |_, _| Box::new(Plain("i"))),
    ];
    let mut scheduler = scheduler(MANY, "");
    let mut hired = 0;
    let mut said = Vec::new();
    for step in 0..=40 {
        for action in scheduler.tick(at(step * 250)) {
            match action {
                Action::Hire => hired += 1,
                Action::Report(finding) if finding.def.name == "i" => {
                    said.push(finding.scopes[0].outcome.error().unwrap_or_default().to_owned());
                }
                _ => {}
            }
        }
    }
    assert_eq!(hired, MOST_WORKERS);
    assert!(said[0].starts_with("i finds no free thread"), "{said:?}");
}

#[test]
fn new_settings_make_collectors_anew() {
    let mut scheduler = scheduler(TWO, "");
    round(&mut scheduler, at(0));
    scheduler.reconfigure(&config("[process]\ntop = 3"), at(100));
    assert_eq!(round(&mut scheduler, at(100)), ["load", "cpu"]);
    scheduler.reconfigure(&config("[process]\ntop = 3\n[intervals]\nfast = \"2s\""), at(200));
    assert_eq!(round(&mut scheduler, at(2_000)), ["load"]);
}

/// A clock that stands where the test put it.
#[derive(Clone, Default)]
struct Stopped(Arc<Mutex<u64>>);
impl Clock for Stopped {
    fn now(&self) -> Moment {
        at(*self.0.lock().unwrap())
    }
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
}

/// Lets real threads work until that many reports have come back.
fn work(workers: &Workers, clock: &Stopped, reports: usize) -> Vec<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut findings = Vec::new();
    loop {
        workers.tick();
        findings.extend(workers.found());
        if findings.len() >= reports {
            return findings;
        }
        runtime.block_on(workers.news());
        *clock.0.lock().unwrap() += PATIENCE;
    }
}

#[test]
fn a_fast_collector_does_not_wait_for_a_slow_one() {
    let mut scheduler = scheduler(TWO, "");
    let names = |actions: Vec<Action>, jobs: &mut Vec<Job>| {
        let mut names = Vec::new();
        for action in actions {
            match action {
                Action::Start(job) => {
                    names.push(TWO[job.slot].name);
                    jobs.push(job);
                }
                Action::Hire => names.push("hire"),
                _ => {}
            }
        }
        names
    };
    let mut jobs = Vec::new();
    // Both are due; there is one thread, and the fast one gets it.
    assert_eq!(names(scheduler.tick(at(0)), &mut jobs), ["hire", "load"]);
    let job = jobs.remove(0);
    // The other one begins, and takes its time.
    assert_eq!(names(finish(&mut scheduler, job, at(1)), &mut jobs), ["cpu"]);
    // The fast one is due again: it has a thread of its own at once.
    assert_eq!(names(scheduler.tick(at(10_000)), &mut jobs), ["hire", "load"]);
    // When both are back there is one thread again.
    let (slow, fast) = (jobs.remove(0), jobs.remove(0));
    let mut actions = finish(&mut scheduler, fast, at(10_001));
    actions.extend(finish(&mut scheduler, slow, at(10_002)));
    assert_eq!(actions.iter().filter(|action| matches!(action, Action::Dismiss)).count(), 1);
}

#[test]
fn a_hung_and_a_panicking_collector_harm_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    fifo(&path);
    let clock = Stopped::default();
    let scheduler = Scheduler::of(BAD, Root::new(folder.path()), &config(""), 0, at(0));
    let workers = Workers::new(scheduler, Arc::new(clock.clone()));

    // The FIFO takes the only thread; the others get one after a moment.
    workers.tick();
    assert!(workers.found().is_empty());
    *clock.0.lock().unwrap() = PATIENCE;
    let findings = work(&workers, &clock, 2);
    let by = |name: &str| findings.iter().find(|finding| finding.def.name == name).unwrap();
    assert!(by("load").scopes[0].outcome.is_complete());
    assert_eq!(by("panics").scopes.len(), 2);
    assert!(by("panics").scopes[0].outcome.error().unwrap().contains("division by zero"));

    // Past the deadline only the FIFO's scope fails; the rest goes on.
    *clock.0.lock().unwrap() = 10_000;
    let findings = work(&workers, &clock, 3);
    let hung = findings.iter().find(|finding| finding.def.name == "fifo").unwrap();
    assert_eq!(hung.scopes[0].outcome.error(), Some("fifo has not returned for 10 s"));
    assert!(findings.iter().any(|f| f.def.name == "load" && f.scopes[0].outcome.is_complete()));

    // Somebody writes at last, and it works again.
    let writer = std::thread::spawn(move || std::fs::write(path, "x").unwrap());
    let findings = work(&workers, &clock, 1);
    writer.join().unwrap();
    assert!(findings.iter().any(|f| f.def.name == "fifo" && f.scopes[0].outcome.is_complete()));
}
