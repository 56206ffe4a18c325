//! Main memory and swap.
//!
//! Used is what is neither free nor can be had by dropping caches: total less
//! `MemAvailable`, the kernel's own estimate. That estimate does not know the
//! cache of ZFS, which gives way down to its minimum all the same; without it
//! every ZFS host would look full. In a container whose /proc is made by lxcfs
//! the numbers are the container's, and the host's ZFS cache is none of them.

use std::os::unix::fs::MetadataExt;

use tomte_model::{Facet, Moment, Scope};

use crate::Collector;
use crate::error::{Malformed, ReadError};
use crate::reader::FileReader;
use crate::root::Root;
use crate::settings::Settings;

/// The collector `memory`.
pub(crate) fn make(root: &Root, _: &Settings) -> Box<dyn Collector> {
    Box::new(Memory {
        root: root.clone(),
        meminfo: FileReader::new(root.proc("meminfo")),
        arc: None,
        dirty_ratio: FileReader::new(root.proc("sys/vm/dirty_ratio")),
        swappiness: FileReader::new(root.proc("sys/vm/swappiness")),
    })
}

struct Memory {
    root: Root,
    meminfo: FileReader,
    /// Known after the first reading; `Some(None)` where ZFS is not ours.
    arc: Option<Option<FileReader>>,
    dirty_ratio: FileReader,
    swappiness: FileReader,
}

impl Collector for Memory {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        vec![match self.read() {
            Ok(facet) => Scope::complete("memory", vec![facet]),
            Err(error) => error.scope("memory"),
        }]
    }
}

impl Memory {
    fn read(&mut self) -> Result<Facet, ReadError> {
        let memory = self.meminfo.parse(parse)?;
        let arc = self.arc();
        let reclaimable = arc.map_or(0, |arc| arc.size.saturating_sub(arc.minimum));
        let available = memory.available().saturating_add(reclaimable).min(memory.total);
        let used = memory.total - available;

        let mut facet = Facet::owner("memory", "memory", "main");
        facet.readings.reserve_exact(14);
        let mut bytes = |field: &'static str, value: Option<u64>| facet.read(field, value.map(|value| value as f64));
        bytes("total_bytes", Some(memory.total));
        bytes("available_bytes", Some(available));
        bytes("used_bytes", Some(used));
        bytes("free_bytes", memory.free);
        bytes("buffers_bytes", memory.buffers);
        bytes("cached_bytes", memory.file_cache());
        bytes("shared_bytes", memory.shared);
        bytes("dirty_bytes", memory.dirty);
        bytes("writeback_bytes", memory.writeback);
        bytes("zfs_arc_bytes", arc.map(|arc| arc.size));
        bytes("swap_total_bytes", memory.swap_total);
        bytes("swap_used_bytes", memory.swap_used());
        facet.read("used_ratio", ratio(used, memory.total));
        // A host without swap has no such ratio, rather than an empty swap.
        facet.read(
            "swap_used_ratio",
            memory.swap_used().zip(memory.swap_total).and_then(|(used, total)| ratio(used, total)),
        );
        for (name, file) in [("dirty_ratio", &mut self.dirty_ratio), ("swappiness", &mut self.swappiness)] {
            // Some containers hide /proc/sys; memory is worth showing anyway.
            if let Ok(text) = file.parse(|text| Ok(text.trim().to_owned())) {
                facet.text(name, text);
            }
        }
        Ok(facet)
    }

    /// The cache of ZFS, where this host has one of its own.
    fn arc(&mut self) -> Option<Arc> {
        let root = &self.root;
        let reader = self.arc.get_or_insert_with(|| {
            // lxcfs mounts files of its own over single files of /proc.
            let device = |path| std::fs::metadata(path).map(|file| file.dev()).ok();
            let own = device(root.proc("meminfo")) == device(root.proc(""));
            let reader = FileReader::new(root.proc("spl/kstat/zfs/arcstats"));
            (own && reader.path().exists()).then_some(reader)
        });
        // ZFS may be unloaded, or speak otherwise one day; then it is left out.
        reader.as_mut()?.parse(|text| Ok(parse_arc(text))).ok()?
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// What /proc/meminfo says, in bytes.
#[derive(Debug, Default, PartialEq)]
struct MemInfo {
    total: u64,
    free: Option<u64>,
    available: Option<u64>,
    buffers: Option<u64>,
    cached: Option<u64>,
    reclaimable: Option<u64>,
    shared: Option<u64>,
    dirty: Option<u64>,
    writeback: Option<u64>,
    swap_total: Option<u64>,
    swap_free: Option<u64>,
    swap_cached: Option<u64>,
}

impl MemInfo {
    /// Cached files and reclaimable kernel objects. The kernel counts tmpfs
    /// and shared memory as cached although they cannot be dropped.
    fn file_cache(&self) -> Option<u64> {
        let cached = self.cached?.saturating_add(self.reclaimable.unwrap_or(0));
        Some(cached.saturating_sub(self.shared.unwrap_or(0)))
    }

    /// As the kernel estimates, or roughly so where it is older than 3.14.
    fn available(&self) -> u64 {
        self.available.unwrap_or_else(|| {
            let parts = [self.free, self.buffers, self.file_cache()];
            parts.into_iter().flatten().fold(0, u64::saturating_add)
        })
    }

    /// What is in swap and not in memory as well.
    fn swap_used(&self) -> Option<u64> {
        let used = self.swap_total?.saturating_sub(self.swap_free?);
        Some(used.saturating_sub(self.swap_cached.unwrap_or(0)))
    }
}

/// Lines `Key:  number kB`, see proc_meminfo(5). Keys that are not wanted may
/// say anything.
fn parse(text: &str) -> Result<MemInfo, Malformed> {
    let mut info = MemInfo::default();
    let mut total = None;
    for (index, line) in text.lines().enumerate() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let slot = match key {
            "MemTotal" => &mut total,
            "MemFree" => &mut info.free,
            "MemAvailable" => &mut info.available,
            "Buffers" => &mut info.buffers,
            "Cached" => &mut info.cached,
            "SReclaimable" => &mut info.reclaimable,
            "Shmem" => &mut info.shared,
            "Dirty" => &mut info.dirty,
            "Writeback" => &mut info.writeback,
            "SwapTotal" => &mut info.swap_total,
            "SwapFree" => &mut info.swap_free,
            "SwapCached" => &mut info.swap_cached,
            _ => continue,
        };
        let kilobytes = value.trim().strip_suffix("kB").map(str::trim_end).and_then(|value| value.parse::<u64>().ok());
        let kilobytes = kilobytes.ok_or_else(|| Malformed::new(index + 1, "a number of kB", line))?;
        *slot = Some(kilobytes.saturating_mul(1024));
    }
    info.total = total.ok_or_else(|| Malformed::new(1, "MemTotal somewhere", text))?;
    Ok(info)
}

/// The cache of ZFS, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Arc {
    size: u64,
    /// It does not shrink below this.
    minimum: u64,
}

/// Lines `name type number`, of which two are wanted.
fn parse_arc(text: &str) -> Option<Arc> {
    let (mut size, mut minimum) = (None, None);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let slot = match words.next() {
            Some("size") => &mut size,
            Some("c_min") => &mut minimum,
            _ => continue,
        };
        *slot = words.nth(1).and_then(|number| number.parse().ok());
    }
    Some(Arc { size: size?, minimum: minimum? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use tomte_model::Outcome;

    use super::*;

    const MEMINFO: &str = "MemTotal:       1000 kB\nMemFree:         200 kB\nMemAvailable:    600 kB\nBuffers:          10 kB\n\
        Cached:          400 kB\nSwapCached:        5 kB\nSwapTotal:       100 kB\nSwapFree:         75 kB\nDirty:    3 kB\n\
        Shmem:            50 kB\nSReclaimable:     30 kB\nHugePages_Total:       0\n";

    fn read(files: &[(&str, &str)]) -> Scope {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        std::fs::create_dir_all(root.proc("sys/vm")).unwrap();
        std::fs::create_dir_all(root.proc("spl/kstat/zfs")).unwrap();
        for (path, text) in files {
            std::fs::write(root.proc(path), text).unwrap();
        }
        make(&root, &Settings::default()).collect(Moment::default()).remove(0)
    }

    fn kilobytes(facet: &Facet, field: &str) -> f64 {
        facet.reading(field).unwrap() / 1024.0
    }

    #[test]
    fn used_is_what_is_not_available() {
        let scope = read(&[("meminfo", MEMINFO), ("sys/vm/swappiness", "60\n"), ("sys/vm/dirty_ratio", "20\n")]);
        let facet = &scope.facets[0];
        for (field, value) in [
            ("total_bytes", 1000.0),
            ("available_bytes", 600.0),
            ("used_bytes", 400.0),
            ("cached_bytes", 380.0),
            ("shared_bytes", 50.0),
            ("dirty_bytes", 3.0),
            ("swap_used_bytes", 20.0),
        ] {
            assert_eq!(kilobytes(facet, field), value, "{field}");
        }
        assert_eq!(facet.reading("used_ratio"), Some(0.4));
        assert_eq!(facet.reading("swap_used_ratio"), Some(0.2));
        assert_eq!(facet.reading("zfs_arc_bytes"), None);
        assert_eq!(facet.attribute("swappiness").unwrap().to_string(), "60");
        assert_eq!(facet.attribute("dirty_ratio").unwrap().to_string(), "20");
    }

    #[test]
    fn the_cache_of_zfs_gives_way() {
        let arc = "9 1 0x01 147 39984 1 2\nname type data\nhits 4 5\nc_min 4 102400\nsize 4 307200\n";
        let facet = &read(&[("meminfo", MEMINFO), ("spl/kstat/zfs/arcstats", arc)]).facets[0];
        assert_eq!(kilobytes(facet, "zfs_arc_bytes"), 300.0);
        assert_eq!(kilobytes(facet, "available_bytes"), 800.0);
        // However large it says it is, no more than all is available.
        let arc = "c_min 4 0\nsize 4 18446744073709551615\n";
        let facet = &read(&[("meminfo", MEMINFO), ("spl/kstat/zfs/arcstats", arc)]).facets[0];
        assert_eq!(kilobytes(facet, "used_bytes"), 0.0);
    }

    #[test]
    fn the_cache_of_zfs_is_not_a_containers() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        std::fs::create_dir_all(root.proc("spl/kstat/zfs")).unwrap();
        std::fs::write(root.proc("spl/kstat/zfs/arcstats"), "c_min 4 0\nsize 4 307200\n").unwrap();
        // As lxcfs does it: a file of another file system in this place.
        std::os::unix::fs::symlink("/proc/meminfo", root.proc("meminfo")).unwrap();
        let scope = make(&root, &Settings::default()).collect(Moment::default()).remove(0);
        assert_eq!(scope.facets[0].reading("zfs_arc_bytes"), None);
        assert!(scope.facets[0].reading("total_bytes").is_some());
    }

    #[test]
    fn an_old_kernel_and_a_host_without_swap() {
        let text =
            "MemTotal: 1000 kB\nMemFree: 200 kB\nBuffers: 10 kB\nCached: 400 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";
        let facet = &read(&[("meminfo", text)]).facets[0];
        assert_eq!(kilobytes(facet, "available_bytes"), 610.0);
        assert_eq!(facet.reading("swap_used_ratio"), None);
        assert_eq!(facet.reading("swap_total_bytes"), Some(0.0));
        assert_eq!(facet.reading("shared_bytes"), None);
        assert_eq!(facet.attribute("swappiness"), None);
    }

    #[test]
    fn strange_lines() {
        let odd = "What is this\n\nNew:   12 pages\nMemTotal:1 kB\nMemAvailable: 5 kB\n";
        let facet = &read(&[("meminfo", odd)]).facets[0];
        assert_eq!(facet.reading("used_bytes"), Some(0.0), "available is more than all in some containers");
        for (bad, error) in [
            ("", "MemTotal somewhere"),
            ("MemTotal: 1 kB\nMemFree: -1 kB\n", "line 2: a number of kB"),
            ("MemTotal: 1 MB\n", "line 1: a number of kB"),
            ("MemTotal:\n", "line 1: a number of kB"),
        ] {
            let scope = read(&[("meminfo", bad)]);
            assert!(matches!(&scope.outcome, Outcome::Failed { error: said } if said.contains(error)), "{scope:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in "((MemTotal|MemAvailable|Cached|Shmem|SwapTotal|x): *[0-9]{0,22} ?(kB)?\n){0,8}.*") {
            if let Ok(info) = parse(&text) {
                let _ = (info.available(), info.swap_used());
            }
            let _ = parse_arc(&text);
        }
    }
}
