//! Reads that may hang for ever (a dead server's mount, a disk that is dying,
//! a FIFO that nobody writes to), on threads of their own.
//!
//! A hung read keeps its thread until the kernel lets it go. It is never
//! started a second time; another thread takes over what waits behind it, up
//! to a fixed number; and of one group (the mounts of one server) only so many
//! hang at once. So a dead server costs a bounded amount, and only its own
//! scopes. Where nothing hangs, one short-lived thread does all the work.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed<T> {
    /// It answered.
    Done(T),
    /// It has not answered within the deadline, now or when it was last tried.
    Hung,
    /// It was not tried, because too many others hang.
    NotTried,
    /// It panicked, which is a defect of the probe.
    Broken,
}

/// One read that may hang.
pub struct Probe<T> {
    /// What it is known by: of one name, one at most runs.
    name: String,
    /// What it shares its fate with.
    group: String,
    work: Box<dyn FnOnce() -> T + Send>,
}

impl<T> Probe<T> {
    /// A probe in a group of its own.
    pub fn new(name: impl Into<String>, work: impl FnOnce() -> T + Send + 'static) -> Self {
        let name = name.into();
        Self { group: name.clone(), name, work: Box::new(work) }
    }
    /// The same probe, sharing its fate with others: the mounts of a server.
    #[must_use]
    pub fn in_group(self, group: impl Into<String>) -> Self {
        Self { group: group.into(), ..self }
    }
}

/// Runs probes, and remembers those that hang.
#[derive(Debug)]
pub struct Prober {
    most: usize,
    most_per_group: usize,
    patience: Duration,
    running: Arc<Mutex<Running>>,
}

/// The groups of the probes that run now, by name.
type Running = HashMap<String, String>;

/// Enough for a system call and what is around it.
const STACK: usize = 64 * 1024;

/// How long nothing may be answered before another thread takes over.
const PATIENCE: Duration = Duration::from_millis(100);

impl Prober {
    /// At most `most` threads at once, stuck ones included, and of those at
    /// most `most_per_group` stuck in one group.
    #[must_use]
    pub fn new(most: usize, most_per_group: usize) -> Self {
        Self { most, most_per_group, patience: PATIENCE, running: Arc::default() }
    }

    /// Runs all probes and waits for them, at most for `deadline` in all. The
    /// answers come in the order of the probes; names are unique.
    pub fn probe<T: Send + 'static>(&self, probes: Vec<Probe<T>>, deadline: Duration) -> Vec<Probed<T>> {
        let until = Instant::now() + deadline;
        let batch = Arc::new(Batch {
            running: self.running.clone(),
            most_per_group: self.most_per_group,
            work: Mutex::new(self.work(probes)),
            worker_ended: Condvar::new(),
        });
        let mut work = lock(&batch.work);
        let mut stalled = true;
        // Something is begun in any case, however late the system lets us.
        while Instant::now() < until || work.taken == 0 {
            if (stalled || work.workers == 0) && self.stuck() < self.most && batch.next(&work).is_some() {
                work.workers += usize::from(Batch::start(&batch));
            }
            if work.workers == 0 {
                break;
            }
            let taken = work.taken;
            let wait = self.patience.min(until.saturating_duration_since(Instant::now()));
            work = batch.worker_ended.wait_timeout(work, wait).unwrap_or_else(PoisonError::into_inner).0;
            stalled = work.taken == taken;
        }
        // A thread that comes free later must not start what is out of date.
        work.queue.clear();
        std::mem::take(&mut work.answers)
    }

    /// How many probes run or are stuck now.
    #[must_use]
    pub fn stuck(&self) -> usize {
        lock(&self.running).len()
    }

    /// What there is to do: all but those that still hang.
    fn work<T>(&self, probes: Vec<Probe<T>>) -> Work<T> {
        let running = lock(&self.running);
        let hung = |probe: &Probe<T>| running.contains_key(&probe.name);
        let answers = probes.iter().map(|probe| if hung(probe) { Probed::Hung } else { Probed::NotTried }).collect();
        let queue = probes.into_iter().enumerate().filter(|(_, probe)| !hung(probe)).collect();
        Work { queue, answers, taken: 0, workers: 0 }
    }
}

/// The probes of one call.
struct Batch<T> {
    running: Arc<Mutex<Running>>,
    most_per_group: usize,
    /// Locked before `running` where both are.
    work: Mutex<Work<T>>,
    worker_ended: Condvar,
}

struct Work<T> {
    /// What waits, by its place among the answers.
    queue: VecDeque<(usize, Probe<T>)>,
    answers: Vec<Probed<T>>,
    /// How many probes were begun.
    taken: usize,
    /// How many threads are at it.
    workers: usize,
}

impl<T: Send + 'static> Batch<T> {
    /// The first in the queue whose group is not stuck.
    fn next(&self, work: &Work<T>) -> Option<usize> {
        let running = lock(&self.running);
        let stuck = |group: &str| running.values().filter(|other| *other == group).count();
        work.queue.iter().position(|(_, probe)| stuck(&probe.group) < self.most_per_group)
    }

    /// Starts a thread; false where the system refuses one.
    fn start(batch: &Arc<Self>) -> bool {
        let batch = batch.clone();
        thread::Builder::new().name("probe".into()).stack_size(STACK).spawn(move || batch.run()).is_ok()
    }

    fn run(&self) {
        // Announces the end of this thread, however it comes.
        let _ended = OnDrop(|| {
            lock(&self.work).workers -= 1;
            self.worker_ended.notify_one();
        });
        loop {
            let mut work = lock(&self.work);
            let Some((index, probe)) = self.next(&work).and_then(|at| work.queue.remove(at)) else { return };
            work.taken += 1;
            // Hung until it answers.
            set(&mut work.answers, index, Probed::Hung);
            lock(&self.running).insert(probe.name.clone(), probe.group);
            drop(work);
            let name = probe.name;
            let mut answer = Probed::Broken;
            {
                let answer = &mut answer;
                let _ran = OnDrop(|| {
                    let mut work = lock(&self.work);
                    lock(&self.running).remove(&name);
                    if thread::panicking() {
                        set(&mut work.answers, index, Probed::Broken);
                    }
                });
                *answer = Probed::Done((probe.work)());
            }
            set(&mut lock(&self.work).answers, index, answer);
        }
    }
}

/// Nobody waits for the answers any more once they were taken.
fn set<T>(answers: &mut [Probed<T>], index: usize, answer: Probed<T>) {
    if let Some(place) = answers.get_mut(index) {
        *place = answer;
    }
}

/// Does something when it goes out of scope, also by a panic.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What these locks guard is whole after a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// One that does not wait before another thread takes over.
    fn impatient(most: usize, most_per_group: usize) -> Prober {
        Prober { patience: Duration::from_millis(1), ..Prober::new(most, most_per_group) }
    }

    /// Hangs until the sender is dropped; the receiver ends when it has ended.
    fn hanging(name: &str) -> (Probe<u32>, Sender<()>, Receiver<()>) {
        let (release, wait) = channel::<()>();
        let (ended, is_ended) = channel();
        let probe = Probe::new(name, move || {
            let _ = wait.recv();
            drop(ended);
            7
        });
        (probe, release, is_ended)
    }

    #[test]
    fn answers_come_in_order() {
        let prober = Prober::new(3, 1);
        let probes = (0..100).map(|n| Probe::new(n.to_string(), move || n)).collect();
        assert_eq!(prober.probe(probes, LONG), (0..100).map(Probed::Done).collect::<Vec<_>>());
        assert_eq!(prober.stuck(), 0);
        assert_eq!(prober.probe(Vec::<Probe<u32>>::new(), LONG), []);
    }

    #[test]
    fn a_hung_probe_is_not_started_twice_holds_up_nothing_and_comes_back() {
        let prober = impatient(2, 1);
        let (hang, release, ended) = hanging("nas");
        // Past the deadline at once; what was begun is begun.
        assert_eq!(prober.probe(vec![hang], Duration::ZERO), [Probed::Hung]);
        assert_eq!(prober.stuck(), 1);
        for _ in 0..2 {
            let again = vec![Probe::new("nas", || panic!("must not start")), Probe::new("root", || 2)];
            assert_eq!(prober.probe(again, LONG), [Probed::Hung, Probed::Done(2)]);
        }
        drop(release);
        assert!(ended.recv().is_err());
        // The name is taken off a moment later.
        while prober.stuck() > 0 {
            thread::yield_now();
        }
        assert_eq!(prober.probe(vec![Probe::new("nas", || 3)], LONG), [Probed::Done(3)]);
    }

    #[test]
    fn another_thread_takes_over_what_waits_behind() {
        let prober = impatient(2, 1);
        let (hang, release, _ended) = hanging("nas");
        let answers = prober.probe(
            vec![
                hang,
                Probe::new("root", move || {
                    drop(release);
                    2
                }),
            ],
            LONG,
        );
        assert_eq!(answers, [Probed::Done(7), Probed::Done(2)]);
    }

    #[test]
    fn one_dead_server_does_not_take_all_threads() {
        let prober = impatient(4, 2);
        let (hangs, releases): (Vec<_>, Vec<_>) = (0..6)
            .map(|n| {
                let (probe, release, _) = hanging(&format!("/mnt/{n}"));
                (probe.in_group("dead"), release)
            })
            .unzip();
        let mut probes = hangs;
        // Ends the hanging once it was reached, so that nothing waits for the deadline.
        probes.push(Probe::new("alive", move || {
            drop(releases);
            1
        }));
        let answers = prober.probe(probes, LONG);
        assert_eq!(answers.last(), Some(&Probed::Done(1)));
        assert!(answers.iter().all(|answer| matches!(answer, Probed::Done(_))), "{answers:?}");
    }

    #[test]
    fn what_is_stuck_counts_against_its_group_and_the_whole() {
        let prober = impatient(2, 1);
        let (hang, _release, _) = hanging("a1");
        assert_eq!(prober.probe(vec![hang.in_group("a")], Duration::ZERO), [Probed::Hung]);
        let second = || vec![Probe::new("a2", || 0).in_group("a"), Probe::new("b1", || 1).in_group("b")];
        assert_eq!(prober.probe(second(), LONG), [Probed::NotTried, Probed::Done(1)]);
        let (hang, _release_too, _) = hanging("b2");
        assert_eq!(prober.probe(vec![hang.in_group("b")], Duration::ZERO), [Probed::Hung]);
        assert_eq!(prober.probe(second(), LONG), [Probed::NotTried, Probed::NotTried]);
        assert_eq!(prober.probe(vec![Probe::new("c", || 0)], LONG), [Probed::NotTried]);
    }

    #[test]
    fn a_probe_that_panics_breaks_alone() {
        let prober = impatient(2, 2);
        let probes = vec![Probe::new("bad", || panic!("as the test wants")), Probe::new("good", || 1)];
        assert_eq!(prober.probe(probes, LONG), [Probed::Broken, Probed::Done(1)]);
        assert_eq!(prober.stuck(), 0);
    }
}
