//! Programs that are measured: started, looked at through /proc, ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a program may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A program that runs until this is dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

/// What /proc says of a process at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// All its memory that is resident, in bytes.
    pub(crate) resident: u64,
    /// The same, with shared pages divided among those who share them.
    pub(crate) proportional: u64,
    /// What it alone holds and has written to.
    pub(crate) private_dirty: u64,
    /// The most that was ever resident.
    pub(crate) peak: u64,
    /// How many threads it has.
    pub(crate) threads: u64,
    /// Processor time, in user and kernel, of all its threads.
    pub(crate) cpu: Duration,
    /// Bytes it caused to be written to a disk.
    pub(crate) written: u64,
}

impl Running {
    /// Starts a program; what it says goes to a file.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("the log once more")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        Ok(Self { child, log })
    }

    /// Starts a program that has a terminal already: what it says is there.
    pub(crate) fn on_terminal(mut command: Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("starting {}", command.get_program().display()))?;
        Ok(Self { child, log: PathBuf::new() })
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails when it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().context("asking for a child")? {
            None => Ok(()),
            Some(status) => bail!("a program under measurement ended ({status}); it said:\n{}", self.said()),
        }
    }

    /// Processor time of its present threads, to the nanosecond. What ended
    /// threads took is missing, so it serves for short comparisons only.
    pub(crate) fn precise_cpu(&self) -> Result<Duration> {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.child.id()));
        let entries = fs::read_dir(&tasks).with_context(|| format!("reading {}", tasks.display()))?;
        let mut nanos = 0;
        for entry in entries {
            let path = entry.context("a thread")?.path().join("schedstat");
            // A thread may end at any time.
            let text = fs::read_to_string(path).unwrap_or_default();
            nanos += text.split_ascii_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// What /proc says of it now.
    pub(crate) fn figures(&self) -> Result<Figures> {
        Figures::of(&PathBuf::from(format!("/proc/{}", self.child.id())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Figures {
    /// From a folder such as `/proc/1234`.
    fn of(proc: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = proc.join(name);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let (rollup, status, io) = (read("smaps_rollup")?, read("status")?, read("io")?);
        Ok(Self {
            resident: number_after(&rollup, "Rss:")? * 1024,
            proportional: number_after(&rollup, "Pss:")? * 1024,
            private_dirty: number_after(&rollup, "Private_Dirty:")? * 1024,
            peak: number_after(&status, "VmHWM:")? * 1024,
            threads: number_after(&status, "Threads:")?,
            cpu: cpu_time(&read("stat")?)?,
            written: number_after(&io, "write_bytes:")?,
        })
    }
}

/// Processor time of the programs that this one has started and that have
/// ended: `cutime` and `cstime` of proc_pid_stat(5), the 16th and 17th.
pub(crate) fn children_cpu() -> Duration {
    fs::read_to_string("/proc/self/stat").ok().and_then(|stat| ticks_at(&stat, 13).ok()).unwrap_or_default()
}

/// The first number of the line that begins with a word.
fn number_after(text: &str, word: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    let number = line.and_then(|rest| rest.split_ascii_whitespace().next()).and_then(|n| n.parse().ok());
    number.with_context(|| format!("no number after {word}"))
}

/// `utime` and `stime` of proc_pid_stat(5), the 14th and 15th. The kernel
/// scales them to the time that the scheduler has measured, so their sum is
/// exact to a tick, and holds the threads that have ended.
fn cpu_time(stat: &str) -> Result<Duration> {
    ticks_at(stat, 11)
}

/// Two times of `stat`, added up, after so many fields behind the name.
fn ticks_at(stat: &str, skip: usize) -> Result<Duration> {
    // The second is the command's name in brackets, which may hold anything.
    let (_, rest) = stat.rsplit_once(')').context("no command in stat")?;
    let ticks: u64 = rest
        .split_ascii_whitespace()
        .skip(skip)
        .take(2)
        .map(|field| field.parse::<u64>().context("a time in stat"))
        .sum::<Result<u64>>()?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_times_are_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 3 0 99 0 0";
        let tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(cpu_time(stat).unwrap(), Duration::from_secs_f64(200.0 * tick));
        assert!(cpu_time("no command").is_err());
    }

    #[test]
    fn this_very_process_can_be_looked_at() {
        let figures = Figures::of(Path::new("/proc/self")).unwrap();
        assert!(figures.resident > 0 && figures.threads > 0);
        assert!(figures.private_dirty <= figures.resident && figures.resident <= figures.peak + 1024 * 1024);
    }
}
