//! Reads that may hang for ever (a dead server's mount, a FIFO that nobody
//! writes to), each on a thread of its own.
//!
//! A hung read keeps its thread until the kernel lets it go. It is never
//! started a second time, and no more than a fixed number of threads are ever
//! stuck, so that a dead server costs a bounded amount and only its own scope.

use std::collections::{HashSet, VecDeque};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// Runs probes, by name, side by side.
#[derive(Debug)]
pub struct Prober {
    most: usize,
    running: Arc<Mutex<HashSet<String>>>,
}

/// A probe's work, sent to whichever thread is free.
type Job<T> = (String, Box<dyn FnOnce() -> T + Send>);

/// Enough for a system call and what is around it.
const STACK: usize = 64 * 1024;

impl Prober {
    /// At most `most` threads at once, stuck ones included.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, running: Arc::default() }
    }

    /// Runs all jobs and waits for them, at most for `deadline` in all. The
    /// answers come in the order of the jobs.
    pub fn probe<T: Send + 'static>(&self, jobs: Vec<Job<T>>, deadline: Duration) -> Vec<(String, Probed<T>)> {
        let until = Instant::now() + deadline;
        let mut answers = Vec::with_capacity(jobs.len());
        let mut queue = VecDeque::new();
        let stuck = {
            let running = lock(&self.running);
            for (index, (name, work)) in jobs.into_iter().enumerate() {
                let hung = running.contains(&name);
                answers.push((name.clone(), if hung { Probed::Hung } else { Probed::NotTried }));
                if !hung {
                    queue.push_back((index, (name, work)));
                }
            }
            running.len()
        };
        let threads = self.most.saturating_sub(stuck).min(queue.len());
        let queue = Arc::new(Mutex::new(queue));
        // Bounded by the number of jobs, each of which sends twice.
        let (sender, receiver) = mpsc::sync_channel(answers.len().saturating_mul(2));
        for _ in 0..threads {
            let (queue, running, sender) = (queue.clone(), self.running.clone(), sender.clone());
            // A thread that cannot be started leaves its jobs to the others.
            let _ = thread::Builder::new().name("probe".into()).stack_size(STACK).spawn(move || {
                while let Some((index, (name, work))) = { lock(&queue).pop_front() } {
                    lock(&running).insert(name.clone());
                    let running = Running { name, all: &running };
                    if sender.send((index, None)).is_ok() {
                        let answer = work();
                        drop(running);
                        let _ = sender.send((index, Some(answer)));
                    }
                }
            });
        }
        drop(sender);
        let mut begun = Vec::new();
        loop {
            match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                // Hung unless it answers.
                Ok((index, None)) => {
                    answers[index].1 = Probed::Hung;
                    begun.push(index);
                }
                Ok((index, Some(answer))) => answers[index].1 = Probed::Done(answer),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    // All threads have ended: who began and did not answer
                    // panicked.
                    for index in begun {
                        if matches!(answers[index].1, Probed::Hung) {
                            answers[index].1 = Probed::Broken;
                        }
                    }
                    break;
                }
            }
        }
        // A thread that comes free later must not start what is out of date.
        lock(&queue).clear();
        answers
    }

    /// How many threads are stuck now.
    #[must_use]
    pub fn stuck(&self) -> usize {
        lock(&self.running).len()
    }
}

/// Takes the name off the list when the probe ends, also by a panic.
struct Running<'a> {
    name: String,
    all: &'a Mutex<HashSet<String>>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(self.all).remove(&self.name);
    }
}

/// A set or queue is whole after a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc::channel;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn job<T>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Job<T> {
        (name.to_owned(), Box::new(work))
    }

    fn answers<T>(probed: Vec<(String, Probed<T>)>) -> Vec<Probed<T>> {
        probed.into_iter().map(|(_, answer)| answer).collect()
    }

    #[test]
    fn answers_come_in_order_with_few_threads() {
        let prober = Prober::new(3);
        let jobs = (0..100).map(|n| job(&n.to_string(), move || n)).collect();
        let expected: Vec<_> = (0..100).map(Probed::Done).collect();
        assert_eq!(answers(prober.probe(jobs, LONG)), expected);
    }

    #[test]
    fn a_hung_probe_is_not_started_twice_and_comes_back() {
        let prober = Prober::new(2);
        let (release, wait) = channel::<()>();
        let (done, is_done) = channel::<()>();
        let hang = job("nas", move || {
            let _ = wait.recv();
            // Dropped after the name is off the list.
            drop(done);
            1
        });
        // The deadline has passed at once, whatever the scheduler does; so
        // wait until the probe has begun.
        let mut first = answers(prober.probe(vec![hang], Duration::ZERO));
        while prober.stuck() == 0 && first == [Probed::NotTried] {
            // The thread was not yet running when the queue was cleared.
            let (again, wait) = channel::<()>();
            std::mem::forget(again);
            first = answers(
                prober.probe(vec![job("nas", move || wait.recv().map_or(0, |()| 0))], Duration::from_millis(50)),
            );
        }
        assert_eq!(prober.stuck(), 1);
        let again = vec![job("nas", || panic!("must not start")), job("root", || 2)];
        assert_eq!(answers(prober.probe(again, LONG)), [Probed::Hung, Probed::Done(2)]);
        drop(release);
        let _ = is_done.recv();
    }
}
