//! What the kernel and the system say in files. The input replaces the contents
//! of some of them; then every collector that reads only such files looks
//! twice, as rates need it.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tomte_collect::{COLLECTORS, Collector, Root, Settings};
use tomte_fuzz::{FILES, lay_out};
use tomte_model::{Moment, Timestamp};

const READ_ONLY_FILES: [&str; 17] = [
    "host",
    "os",
    "cpu",
    "cpu_frequency",
    "load",
    "memory",
    "zram",
    "tmpfs",
    "pressure",
    "filesystem",
    "disk",
    "arc",
    "interface",
    "sensor",
    "gpu",
    "process",
    "guest",
];

/// A root of its own for each process: several run at the same time.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = parent.join(format!("tomte-kernel-files-{}", std::process::id()));
    lay_out(&folder).expect("a folder to lay files out in");
    folder
});

fuzz_target!(|data: &[u8]| {
    let folder = &*FOLDER;
    // Which file, and what is in it instead, as long as there is input.
    let mut changed = Vec::new();
    let mut rest = data;
    while let [which, long, short, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*long, *short])).min(tail.len());
        let (path, _) = FILES[usize::from(*which) % FILES.len()];
        std::fs::write(folder.join(path), &tail[..length]).expect("a file to write");
        changed.push(usize::from(*which) % FILES.len());
        rest = &tail[length..];
    }
    let (root, settings) = (Root::new(folder), Settings::default());
    let mut collectors: Vec<Box<dyn Collector>> = COLLECTORS
        .iter()
        .filter(|collector| READ_ONLY_FILES.contains(&collector.name))
        .map(|collector| (collector.make)(&root, &settings))
        .collect();
    assert_eq!(collectors.len(), READ_ONLY_FILES.len(), "collectors are called otherwise");
    let begin = Moment { wall: Timestamp::from_millis(1_800_000_000_000), boot_millis: 1_000_000 };
    for later in [0, 10_000] {
        let now = Moment {
            wall: Timestamp::from_millis(begin.wall.millis() + later),
            boot_millis: begin.boot_millis + later.unsigned_abs(),
        };
        for collector in &mut collectors {
            collector.collect(now);
        }
    }
    for index in changed {
        let (path, contents) = FILES[index];
        std::fs::write(folder.join(path), contents).expect("a file to write");
    }
});
