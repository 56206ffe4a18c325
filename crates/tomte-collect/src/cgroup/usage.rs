//! What a control group uses.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read};
use tomte_model::{Facet, Moment};

use super::Group;
use crate::counter::Counter;

/// What a group uses at a moment; what the host does not tell is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time since the group was made, in nanoseconds.
    pub(crate) cpu_nanos: Option<u64>,
    /// Memory, without the page cache that is not in use.
    pub(crate) memory: Option<u64>,
    /// What it may hold, where that is limited.
    pub(crate) memory_limit: Option<u64>,
    /// Processes and threads.
    pub(crate) tasks: Option<u64>,
    /// Bytes read from disks since the group was made.
    pub(crate) read: Option<u64>,
    /// Bytes written to disks since the group was made.
    pub(crate) written: Option<u64>,
    /// Processes killed because the group's memory ran out.
    pub(crate) oom_kills: Option<u64>,
}

/// Version 1 says so where there is no limit, or something near it.
const NO_LIMIT: u64 = 1 << 60;

/// The files are small; `memory.stat` of a late kernel has some 2 KiB.
const MOST: usize = 16 * 1024;

/// Reads the small files of one group after the other into one buffer.
#[derive(Debug, Default)]
pub(crate) struct GroupReader {
    buffer: Vec<u8>,
}

/// The folder of a group, opened once for all its files: to walk to it anew for
/// each takes longer than to read most of them.
struct Folder(OwnedFd);

impl Folder {
    fn open(path: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).ok().map(Self)
    }
}

impl GroupReader {
    fn text(&mut self, folder: &Folder, name: &CStr) -> Option<&str> {
        self.buffer.resize(MOST, 0);
        let file = openat(&folder.0, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut length = 0;
        while length < MOST {
            match read(&file, &mut self.buffer[length..]) {
                Ok(0) => break,
                Ok(more) => {
                    length += more;
                    // The kernel gives a page at a time; less is the end.
                    if more < 4096 {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        str::from_utf8(&self.buffer[..length]).ok()
    }

    fn number(&mut self, folder: &Folder, name: &CStr) -> Option<u64> {
        self.text(folder, name)?.trim_end().parse().ok()
    }

    /// What the group uses now.
    pub(crate) fn read(&mut self, group: &Group) -> Usage {
        match group {
            Group::Two(path) => Folder::open(path).map(|folder| self.read_two(&folder)).unwrap_or_default(),
            Group::One(paths) => {
                let [cpu, memory, pids, blkio] = std::array::from_fn(|at| paths[at].as_deref().and_then(Folder::open));
                self.read_one([&cpu, &memory, &pids, &blkio])
            }
        }
    }

    fn read_two(&mut self, folder: &Folder) -> Usage {
        let mut usage = Usage {
            cpu_nanos: self
                .text(folder, c"cpu.stat")
                .and_then(|text| keyed(text, "usage_usec"))
                .map(|micros| micros.saturating_mul(1000)),
            memory: self.number(folder, c"memory.current"),
            tasks: self.number(folder, c"pids.current"),
            ..Usage::default()
        };
        if let Some(memory) = usage.memory {
            let cache = self.text(folder, c"memory.stat").and_then(|text| keyed(text, "inactive_file"));
            usage.memory = Some(memory.saturating_sub(cache.unwrap_or(0)));
            // "max" is no number, and so no limit.
            usage.memory_limit = self.number(folder, c"memory.max");
            usage.oom_kills = self.text(folder, c"memory.events").and_then(|text| keyed(text, "oom_kill"));
        }
        if let Some((read, written)) = self.text(folder, c"io.stat").map(io_stat) {
            (usage.read, usage.written) = (Some(read), Some(written));
        }
        usage
    }

    fn read_one(&mut self, [cpu, memory, pids, blkio]: [&Option<Folder>; 4]) -> Usage {
        let mut usage = Usage {
            cpu_nanos: cpu.as_ref().and_then(|folder| self.number(folder, c"cpuacct.usage")),
            tasks: pids.as_ref().and_then(|folder| self.number(folder, c"pids.current")),
            ..Usage::default()
        };
        if let Some(folder) = memory {
            usage.memory = self.number(folder, c"memory.usage_in_bytes");
            let stat = self.text(folder, c"memory.stat");
            let cache = stat.and_then(|text| keyed(text, "total_inactive_file")).unwrap_or(0);
            usage.memory = usage.memory.map(|memory| memory.saturating_sub(cache));
            usage.memory_limit = self.number(folder, c"memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT);
            usage.oom_kills = self.text(folder, c"memory.oom_control").and_then(|text| keyed(text, "oom_kill"));
        }
        if let Some(folder) = blkio {
            let moved = self.text(folder, c"blkio.throttle.io_service_bytes").map(blkio_bytes);
            if let Some((read, written)) = moved {
                (usage.read, usage.written) = (Some(read), Some(written));
            }
        }
        usage
    }
}

/// The number behind a key at the start of a line.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// `254:0 rbytes=77824 wbytes=0 rios=3 …`, a line a disk, added up.
fn io_stat(text: &str) -> (u64, u64) {
    let of = |key: &str| {
        let words = text.split_ascii_whitespace();
        words.filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).fold(0, u64::saturating_add)
    };
    (of("rbytes="), of("wbytes="))
}

/// `8:0 Read 77824`, added up over the disks.
fn blkio_bytes(text: &str) -> (u64, u64) {
    let of = |wanted: &str| {
        let lines = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (_, operation, value) = (words.next()?, words.next()?, words.next()?);
            (operation == wanted).then(|| value.parse::<u64>().ok()).flatten()
        });
        lines.fold(0, u64::saturating_add)
    };
    (of("Read"), of("Write"))
}

/// One group's counters, and the readings that follow from them.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    cpu: Counter,
    read: Counter,
    written: Counter,
    last_cpu: Option<u64>,
}

impl Meter {
    /// Whether the group was made anew since the last reading, as it is when
    /// a service was restarted.
    pub(crate) fn began_anew(&self, usage: &Usage) -> bool {
        self.last_cpu.zip(usage.cpu_nanos).is_some_and(|(before, now)| now < before)
    }

    /// Adds the readings that services, containers and guests share.
    pub(crate) fn fill(&mut self, facet: &mut Facet, now: Moment, usage: &Usage) {
        self.last_cpu = usage.cpu_nanos;
        facet.read("cpu_ratio", self.cpu.rate(now, usage.cpu_nanos).map(|nanos| nanos / 1e9));
        let number = |value: Option<u64>| value.map(|value| value as f64);
        facet.read("memory_bytes", number(usage.memory));
        facet.read("memory_limit_bytes", number(usage.memory_limit));
        let limit = usage.memory_limit.filter(|limit| *limit > 0);
        facet.read("memory_used_ratio", usage.memory.zip(limit).map(|(used, limit)| used as f64 / limit as f64));
        facet.read("tasks", number(usage.tasks));
        facet.read("read_bytes_per_second", self.read.rate(now, usage.read));
        facet.read("write_bytes_per_second", self.written.rate(now, usage.written));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn put(dir: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join(name), text).unwrap();
    }

    #[test]
    fn version_two_is_read() {
        let dir = tempfile::tempdir().unwrap();
        // As a unit of systemd 252 on kernel 6.1 had it, with a disk added.
        put(dir.path(), "cpu.stat", "usage_usec 4042713\nuser_usec 3822592\nsystem_usec 220121\n");
        put(dir.path(), "memory.current", "184320\n");
        put(dir.path(), "memory.max", "max\n");
        put(dir.path(), "memory.stat", "anon 110592\nfile 8192\ninactive_anon 106496\ninactive_file 4096\n");
        put(dir.path(), "memory.events", "low 0\nhigh 0\nmax 0\noom 2\noom_kill 1\noom_group_kill 0\n");
        put(dir.path(), "pids.current", "3\n");
        put(
            dir.path(),
            "io.stat",
            "254:0 rbytes=77824 wbytes=4096 rios=3 wios=1 dbytes=0 dios=0\n8:0 rbytes=1 wbytes=2\n",
        );
        let usage = GroupReader::default().read(&Group::Two(dir.path().to_owned()));
        let expected = Usage {
            cpu_nanos: Some(4_042_713_000),
            memory: Some(180_224),
            memory_limit: None,
            tasks: Some(3),
            read: Some(77_825),
            written: Some(4_098),
            oom_kills: Some(1),
        };
        assert_eq!(usage, expected);
        put(dir.path(), "memory.max", "67108864\n");
        assert_eq!(GroupReader::default().read(&Group::Two(dir.path().to_owned())).memory_limit, Some(67_108_864));
    }

    #[test]
    fn version_one_is_read_and_what_is_missing_stays_missing() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name: &str| dir.path().join(name);
        put(&of("cpu"), "cpuacct.usage", "56819442\n");
        put(&of("memory"), "memory.usage_in_bytes", "360448\n");
        put(&of("memory"), "memory.limit_in_bytes", "9223372036854771712\n");
        put(&of("memory"), "memory.stat", "inactive_file 1\ntotal_cache 8192\ntotal_inactive_file 448\n");
        put(&of("memory"), "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
        put(&of("blkio"), "blkio.throttle.io_service_bytes", "8:0 Read 10\n8:0 Write 20\n8:16 Read 1\nTotal 31\n");
        let group = Group::One([Some(of("cpu")), Some(of("memory")), None, Some(of("blkio"))]);
        let usage = GroupReader::default().read(&group);
        let expected = Usage {
            cpu_nanos: Some(56_819_442),
            memory: Some(360_000),
            memory_limit: None,
            tasks: None,
            read: Some(11),
            written: Some(20),
            oom_kills: Some(4),
        };
        assert_eq!(usage, expected);
        assert_eq!(GroupReader::default().read(&Group::Two(of("gone"))), Usage::default());
    }

    #[test]
    fn rates_follow_and_a_new_group_is_noticed() {
        let at = |boot_millis| Moment { boot_millis, ..Moment::default() };
        let mut meter = Meter::default();
        let usage = |cpu| Usage { cpu_nanos: Some(cpu), memory: Some(50), memory_limit: Some(100), ..Usage::default() };
        let mut facet = Facet::owner("service", "x", "main");
        meter.fill(&mut facet, at(0), &usage(1_000_000_000));
        assert_eq!((facet.reading("cpu_ratio"), facet.reading("memory_used_ratio")), (None, Some(0.5)));
        let mut facet = Facet::owner("service", "x", "main");
        meter.fill(&mut facet, at(10_000), &usage(6_000_000_000));
        assert_eq!(facet.reading("cpu_ratio"), Some(0.5));
        assert!(meter.began_anew(&usage(5)) && !meter.began_anew(&usage(7_000_000_000)));
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in "((oom_kill|usage_usec|8:0 Read|rbytes=)[ =]?[0-9]{0,22}[ \n]?){0,6}.*") {
            let _ = (keyed(&text, "usage_usec"), io_stat(&text), blkio_bytes(&text));
        }
    }
}
