//! All processes: how many in which state, and which take the most.
//!
//! One short file is read for each process, so this runs on an interval of its
//! own. What a process was started with is never read: arguments hold secrets.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use tomte_model::{Facet, Moment, Name, Scope, Table, Value};

use crate::Collector;
use crate::accounts::Accounts;
use crate::error::{Malformed, ReadError};
use crate::reader::{FileReader, read_number};
use crate::root::Root;
use crate::settings::Settings;

/// The collector `process`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Processes {
        proc: root.proc(""),
        loadavg: FileReader::new(root.proc("loadavg")),
        pid_max: root.proc("sys/kernel/pid_max"),
        accounts: Accounts::new(root),
        own: root.is_system().then(std::process::id),
        top: usize::from(settings.process.top.min(MOST)),
        last: None,
    })
}

/// The longest table.
const MOST: u8 = 100;

struct Processes {
    proc: PathBuf,
    loadavg: FileReader,
    pid_max: PathBuf,
    accounts: Accounts,
    own: Option<u32>,
    top: usize,
    last: Option<Last>,
}

/// The processor time of every process at the last reading.
struct Last {
    boot_millis: u64,
    /// By number.
    processes: Vec<Taken>,
}

/// The processor time that one process has taken.
#[derive(Clone, Copy)]
struct Taken {
    pid: u32,
    /// When it was started; tells it from an earlier one of the same number.
    start: u64,
    ticks: u64,
}

impl Collector for Processes {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        vec![match self.read(now) {
            Ok(facet) => Scope::complete("process", vec![facet]),
            Err(error) => {
                // A rate over a gap would be told as if it were of now.
                self.last = None;
                self.scope_of(&error)
            }
        }]
    }
}

impl Processes {
    fn read(&mut self, now: Moment) -> Result<Facet, ReadError> {
        let failed = |source: std::io::Error| ReadError::new(&self.proc, source);
        let proc: OwnedFd = File::open(&self.proc).map_err(failed)?.into();
        // Where /proc shows everybody only their own, a count would be a lie.
        if rustix::fs::accessat(&proc, c"1/stat", rustix::fs::Access::READ_OK, AtFlags::empty()).is_err() {
            return Err(failed(std::io::ErrorKind::PermissionDenied.into()));
        }
        let mut survey = Survey::new(self.top, self.last.take(), now);
        let mut room = Vec::with_capacity(LISTING);
        let mut listing = RawDir::new(&proc, room.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(|error| failed(error.into()))?;
            let Some(pid) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
            survey.look(&proc, pid, &self.proc)?;
        }
        Ok(self.facet(&proc, survey))
    }

    fn facet(&mut self, proc: &OwnedFd, survey: Survey) -> Facet {
        let Survey { counts, by_cpu, by_memory, mut seen, now, seconds, .. } = survey;
        // As the kernel lists them; a copied tree may not, and sorting is free
        // where nothing moves.
        seen.sort_unstable_by_key(|taken| taken.pid);
        let mut facet = Facet::owner("process", "processes", "main");
        facet.read("processes", counts.iter().map(|(_, count)| f64::from(*count)).sum::<f64>());
        for (field, count) in counts {
            // Those that are just being reaped are in no state worth a name.
            if !field.is_empty() {
                facet.read(field, f64::from(count));
            }
        }
        let threads = self.loadavg.parse(parse_threads).ok();
        facet.read("threads", threads);
        let most = read_number(&self.pid_max).ok().filter(|most| *most > 0);
        facet.read("pids_used_ratio", threads.zip(most).map(|(threads, most)| threads / most as f64));

        let tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as f64;
        let mut table = |name: &'static str, top: Top| Table {
            name: name.into(),
            columns: COLUMNS.map(Name::from).into(),
            rows: top.found.into_iter().map(|(_, process)| self.row(proc, process, seconds, tick, page)).collect(),
        };
        if seconds.is_some() {
            facet.tables.push(table("top_by_cpu", by_cpu));
        }
        facet.tables.push(table("top_by_memory", by_memory));
        self.last = Some(Last { boot_millis: now.boot_millis, processes: seen });
        facet
    }

    fn row(
        &mut self,
        proc: &OwnedFd,
        process: Listed,
        seconds: Option<f64>,
        tick: f64,
        page: f64,
    ) -> Vec<Option<Value>> {
        // Who owns a process owns its folder; asked only for those listed.
        let owner = rustix::fs::statat(proc, process.pid.to_string(), AtFlags::empty()).ok();
        let user = owner.map(|folder| Value::Text(self.accounts.name(folder.st_uid)));
        let cpu = process.ticks.zip(seconds).map(|(ticks, seconds)| round(ticks as f64 * tick / seconds));
        vec![
            Some(Value::Number(f64::from(process.pid))),
            Some(Value::Text(process.name)),
            user,
            cpu.map(Value::Number),
            Some(Value::Number(process.pages as f64 * page)),
            Some(Value::Bool(self.own == Some(process.pid))),
        ]
    }

    /// As any error, but with the cure for the usual reason.
    fn scope_of(&self, error: &ReadError) -> Scope {
        let mut scope = error.scope("process");
        if let tomte_model::Outcome::Denied { cure, .. } = &mut scope.outcome {
            "Add the agent's user to the group that /proc's mount option gid= names, or mount /proc without hidepid."
                .clone_into(cure);
        }
        scope
    }
}

/// A table makes no series, so the catalogue's rounding does not reach it.
fn round(ratio: f64) -> f64 {
    (ratio * 10_000.0).round() / 10_000.0
}

const COLUMNS: [&str; 6] = ["pid", "name", "user", "cpu_ratio", "resident_bytes", "own"];

/// Room for some 300 entries of the folder at a time.
const LISTING: usize = 8 * 1024;

/// What is gathered in one pass.
struct Survey {
    now: Moment,
    /// Since the last pass; `None` in the first.
    seconds: Option<f64>,
    /// By field of the catalogue.
    counts: [(&'static str, u32); 7],
    by_cpu: Top,
    by_memory: Top,
    last: Vec<Taken>,
    seen: Vec<Taken>,
}

impl Survey {
    fn new(top: usize, last: Option<Last>, now: Moment) -> Self {
        let millis = last.as_ref().and_then(|last| now.boot_millis.checked_sub(last.boot_millis)).filter(|&m| m > 0);
        let last = last.map(|last| last.processes).unwrap_or_default();
        Self {
            now,
            seconds: millis.map(|millis| millis as f64 / 1000.0),
            counts: ["running", "sleeping", "blocked", "idle", "stopped", "zombies", ""].map(|field| (field, 0)),
            by_cpu: Top::new(top),
            by_memory: Top::new(top),
            seen: Vec::with_capacity(last.len() + last.len() / 8),
            last,
        }
    }

    /// Reads one process; one that has ended since it was listed is passed by.
    fn look(&mut self, proc: &OwnedFd, pid: u32, path: &Path) -> Result<(), ReadError> {
        let mut room = [0_u8; 1024];
        let Some(length) = read_stat(proc, pid, &mut room) else { return Ok(()) };
        let stat = parse_stat(&room[..length])
            .map_err(|source| ReadError::malformed(&path.join(pid.to_string()).join("stat"), source))?;
        self.add(pid, &stat);
        Ok(())
    }

    fn add(&mut self, pid: u32, stat: &Stat<'_>) {
        let state = match stat.state {
            b'R' => 0,
            b'S' => 1,
            b'D' => 2,
            b'I' => 3,
            b'T' | b't' => 4,
            b'Z' => 5,
            _ => 6,
        };
        self.counts[state].1 += 1;
        self.seen.push(Taken { pid, start: stat.start, ticks: stat.ticks });
        // Whoever was not there at the last pass took all its time since.
        let ticks = self.seconds.map(|_| {
            let before = self.last.binary_search_by_key(&pid, |taken| taken.pid).ok().map(|at| self.last[at]);
            let before = before.filter(|taken| taken.start == stat.start).map_or(0, |taken| taken.ticks);
            stat.ticks.saturating_sub(before)
        });
        let listed = || Listed { pid, name: String::from_utf8_lossy(stat.name).into_owned(), ticks, pages: stat.pages };
        if let Some(ticks) = ticks {
            self.by_cpu.offer(ticks, pid, listed);
        }
        self.by_memory.offer(stat.pages, pid, listed);
    }
}

/// A process that may be shown.
struct Listed {
    pid: u32,
    name: String,
    /// Since the last pass.
    ticks: Option<u64>,
    pages: u64,
}

/// The few that take the most, the greatest first; of equals, the eldest.
struct Top {
    most: usize,
    found: Vec<(u64, Listed)>,
}

impl Top {
    fn new(most: usize) -> Self {
        Self { most, found: Vec::with_capacity(most) }
    }

    /// What takes nothing is never among them.
    fn offer(&mut self, amount: u64, pid: u32, listed: impl FnOnce() -> Listed) {
        if amount == 0 {
            return;
        }
        let before = |(other, process): &(u64, Listed)| *other > amount || (*other == amount && process.pid < pid);
        if self.found.len() >= self.most {
            if self.found.last().is_none_or(before) {
                return;
            }
            self.found.pop();
        }
        let at = self.found.partition_point(before);
        self.found.insert(at, (amount, listed()));
    }
}

/// Reads `PID/stat` into the room; `None` when the process is gone.
fn read_stat(proc: &OwnedFd, pid: u32, room: &mut [u8]) -> Option<usize> {
    // Ten digits, the rest, and the zero at the end.
    let mut name = [0_u8; 16];
    let digits = write_decimal(pid, &mut name);
    name[digits..digits + 5].copy_from_slice(b"/stat");
    let name = CStr::from_bytes_until_nul(&name).ok()?;
    let file = rustix::fs::openat(proc, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    // The kernel gives the whole line at once.
    rustix::io::read(&file, room).ok().filter(|&length| length > 0)
}

/// Writes a number without the cost of formatting; gives its length.
fn write_decimal(mut number: u32, into: &mut [u8; 16]) -> usize {
    let mut digits = [0_u8; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let length = digits.len() - at;
    into[..length].copy_from_slice(&digits[at..]);
    length
}

/// What /proc/PID/stat says.
#[derive(Debug, PartialEq)]
struct Stat<'a> {
    name: &'a [u8],
    state: u8,
    /// Processor time since its start, user and system.
    ticks: u64,
    /// When it was started, in ticks since boot.
    start: u64,
    /// Resident memory.
    pages: u64,
}

/// `PID (name) S ppid …`, see proc_pid_stat(5). The name may hold blanks and
/// brackets, so it ends at the last one.
fn parse_stat(line: &[u8]) -> Result<Stat<'_>, Malformed> {
    let bad = || Malformed::new(1, "a process's state and times", &String::from_utf8_lossy(line));
    let open = line.iter().position(|&byte| byte == b'(').ok_or_else(bad)?;
    let close = line.iter().rposition(|&byte| byte == b')').filter(|&close| close > open).ok_or_else(bad)?;
    let rest = str::from_utf8(&line[close + 1..]).map_err(|_| bad())?;
    // Counted as in the manual, where the state is the third field.
    let mut words = rest.split_ascii_whitespace();
    let mut number_at = |skip: usize| words.nth(skip).and_then(|word| word.parse::<u64>().ok());
    let state = rest.trim_start().bytes().next().ok_or_else(bad)?;
    let user = number_at(14 - 3).ok_or_else(bad)?;
    let system = number_at(0).ok_or_else(bad)?;
    let start = number_at(22 - 16).ok_or_else(bad)?;
    let pages = number_at(1).ok_or_else(bad)?;
    Ok(Stat { name: &line[open + 1..close], state, ticks: user.saturating_add(system), start, pages })
}

/// The `80` of `0.20 0.18 0.12 1/80 11206`: all that can be scheduled.
fn parse_threads(text: &str) -> Result<f64, Malformed> {
    let tasks = text.split_ascii_whitespace().nth(3).and_then(|word| word.split_once('/'));
    let threads = tasks.and_then(|(_, all)| all.parse::<u32>().ok());
    threads.map(f64::from).ok_or_else(|| Malformed::new(1, "running/all tasks", text))
}

/// Reads what the kernel says of processes, whose names anybody chooses: what a
/// fuzzer is let loose on.
pub fn fuzz_process(bytes: &[u8]) {
    let _ = parse_stat(bytes).map(|stat| String::from_utf8_lossy(stat.name).into_owned());
    let text = String::from_utf8_lossy(bytes);
    let _ = (crate::mounts::parse(&text).map(crate::mounts::visible), parse_threads(&text));
    crate::users::fuzz(bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, write};

    use proptest::prelude::*;
    use tomte_model::{Outcome, Timestamp};

    use super::*;

    fn at(boot_millis: u64) -> Moment {
        Moment { wall: Timestamp::default(), boot_millis }
    }

    fn process(root: &Root, pid: u32, name: &str, state: char, ticks: u64, start: u64, pages: u64) {
        create_dir_all(root.proc(&pid.to_string())).unwrap();
        let line = format!(
            "{pid} ({name}) {state} 1 1 1 0 -1 4194560 1 1 1 1 {ticks} 0 0 0 20 0 1 0 {start} 4096 {pages} 1\n"
        );
        write(root.proc(&format!("{pid}/stat")), line).unwrap();
    }

    fn cells(facet: &Facet, table: &str, column: &str) -> Vec<String> {
        let table = facet.tables.iter().find(|t| t.name == table).unwrap();
        let at = table.columns.iter().position(|c| c == column).unwrap();
        table.rows.iter().map(|row| row[at].as_ref().map_or("-".to_owned(), Value::to_string)).collect()
    }

    #[test]
    fn the_top_by_processor_time_and_by_memory() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        process(&root, 1, "init", 'S', 100, 1, 50);
        process(&root, 2, "kthreadd", 'S', 0, 1, 0);
        process(&root, 30, "a) b (c", 'R', 500, 9, 10);
        process(&root, 31, "dead", 'Z', 5, 9, 0);
        write(root.proc("loadavg"), "0.20 0.18 0.12 1/80 11206\n").unwrap();
        create_dir_all(root.proc("sys/kernel")).unwrap();
        write(root.proc("sys/kernel/pid_max"), "160\n").unwrap();
        write(root.proc("uptime"), "not a process").unwrap();
        let mut collector = make(&root, &Settings::default());
        let facet = collector.collect(at(1_000)).remove(0).facets.remove(0);
        for (field, value) in [
            ("processes", 4.0),
            ("sleeping", 2.0),
            ("running", 1.0),
            ("zombies", 1.0),
            ("threads", 80.0),
            ("pids_used_ratio", 0.5),
        ] {
            assert_eq!(facet.reading(field), Some(value), "{field}");
        }
        assert_eq!(cells(&facet, "top_by_memory", "name"), ["init", "a) b (c"]);
        assert_eq!(cells(&facet, "top_by_memory", "cpu_ratio"), ["-", "-"]);
        assert!(facet.tables.iter().all(|table| table.name != "top_by_cpu"), "there is no rate yet");

        // In two seconds: one took half a core, a new one a quarter, and one
        // number was given to another process.
        process(&root, 1, "init", 'S', 200, 1, 50);
        process(&root, 30, "other", 'S', 10, 900, 10);
        process(&root, 40, "new", 'S', 50, 901, 10);
        let facet = collector.collect(at(3_000)).remove(0).facets.remove(0);
        assert_eq!(cells(&facet, "top_by_cpu", "name"), ["init", "new", "other"]);
        assert_eq!(cells(&facet, "top_by_cpu", "cpu_ratio"), ["0.5", "0.25", "0.05"]);
    }

    #[test]
    fn processes_that_are_hidden_are_not_counted_as_gone() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        process(&root, 30, "mine", 'R', 500, 9, 10);
        let scope = make(&root, &Settings::default()).collect(at(1)).remove(0);
        assert!(matches!(scope.outcome, Outcome::Denied { cure, .. } if cure.contains("hidepid")));
    }

    #[test]
    fn this_machine_answers() {
        let mut settings = Settings::default();
        settings.process.top = 100;
        let mut collector = make(&Root::system(), &settings);
        let facet = collector.collect(at(1_000)).remove(0).facets.remove(0);
        assert!(facet.reading("processes").unwrap() >= 1.0);
        assert!(facet.tables[0].rows.len() <= 100 && !facet.tables[0].rows.is_empty());
        let again = collector.collect(at(2_000)).remove(0).facets.remove(0);
        assert_eq!(again.tables.len(), 2);
    }

    #[test]
    fn numbers_are_written_as_usual() {
        for number in [0, 7, 10, 4_194_304, u32::MAX] {
            let mut room = [0; 16];
            let length = write_decimal(number, &mut room);
            assert_eq!(room[..length], *number.to_string().as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>, text in "[0-9]{0,6} ?\\(?.{0,16}\\)?( [A-Z]| -?[0-9]{0,21}){0,30}") {
            let _ = (parse_stat(&bytes), parse_stat(text.as_bytes()), parse_threads(&text));
        }

        #[test]
        fn the_top_is_the_top(amounts in proptest::collection::vec(0_u64..50, 0..60), most in 0_usize..12) {
            let mut top = Top::new(most);
            for (pid, amount) in (0_u32..).zip(&amounts) {
                top.offer(*amount, pid, || Listed { pid, name: String::new(), ticks: None, pages: 0 });
            }
            let mut expected: Vec<_> = amounts.into_iter().filter(|amount| *amount > 0).collect();
            expected.sort_unstable_by_key(|amount| std::cmp::Reverse(*amount));
            expected.truncate(most);
            prop_assert_eq!(top.found.iter().map(|(amount, _)| *amount).collect::<Vec<_>>(), expected);
        }
    }
}
