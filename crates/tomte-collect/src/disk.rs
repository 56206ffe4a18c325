//! Disks as wholes: how much they move, how busy they are, how long they make
//! one wait. From /proc/diskstats, which the kernel keeps in memory; a device
//! is never opened, so a sleeping disk sleeps on.
//!
//! Which device counts, and by which name, is told in `identity.rs` from
//! /sys/block: that is looked at when a device appears, and once a minute.

mod identity;

use std::collections::HashMap;
use std::time::Duration;

use tomte_model::{Facet, Moment, Scope};

use self::identity::Identity;
use crate::Collector;
use crate::counter::{Counter, Width};
use crate::error::Malformed;
use crate::list;
use crate::pace::Pace;
use crate::reader::FileReader;
use crate::root::Root;
use crate::settings::{Filter, Settings};

/// How long what /sys tells of a device is believed.
const BELIEVED: Duration = Duration::from_secs(60);

/// The kernel counts in these units, whatever the device's own are.
const SECTOR: u64 = 512;

/// The collector `disk`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Disks {
        file: FileReader::new(root.proc("diskstats")),
        root: root.clone(),
        wanted: settings.disk.devices.clone(),
        devices: HashMap::new(),
        units: Vec::new(),
        pace: Pace::every(BELIEVED),
        round: 0,
    })
}

struct Disks {
    root: Root,
    file: FileReader,
    wanted: Filter,
    /// Every device of the kernel's list, also those that do not count.
    devices: HashMap<String, Device>,
    /// The disks by name, each with the devices that lead to it.
    units: Vec<(String, Vec<String>)>,
    /// Of the looks at /sys.
    pace: Pace,
    /// Counts the readings, to find what has gone.
    round: u64,
}

/// A disk of this host, for others who look at disks.
pub(crate) struct Disk {
    /// What it is called here and everywhere.
    pub(crate) name: String,
    /// The devices that lead to it: `sda`.
    pub(crate) paths: Vec<String>,
    pub(crate) rotational: bool,
}

/// All disks that are there now.
pub(crate) fn all(root: &Root, wanted: &Filter) -> Vec<Disk> {
    let devices = list::names(&root.sys("block")).unwrap_or_default();
    let known: Vec<(String, Identity)> = devices
        .into_iter()
        .map(|name| name.replace('!', "/"))
        .filter_map(|name| identity::of(root, wanted, &name).map(|identity| (name, identity)))
        .collect();
    let turns = |paths: &[String]| known.iter().any(|(name, identity)| paths.contains(name) && identity.rotational);
    identity::units(known.iter().map(|(name, identity)| (name.as_str(), identity)).collect())
        .into_iter()
        .map(|(name, paths)| Disk { rotational: turns(&paths), name, paths })
        .collect()
}

/// One line of the kernel's list.
#[derive(Default)]
struct Device {
    /// `None` when it does not count.
    identity: Option<Identity>,
    counters: Counters,
    moved: Moved,
    /// The round it was last seen in.
    seen: u64,
}

impl Collector for Disks {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        self.round += 1;
        let look_again = self.pace.is_due(now);
        let mut changed = look_again;
        let (root, wanted, devices, round) = (&self.root, &self.wanted, &mut self.devices, self.round);
        let read = self.file.parse(|text| {
            parse(text, |name, totals| {
                let known = devices.contains_key(name);
                if !known {
                    devices.insert(name.to_owned(), Device::default());
                }
                let device = devices.get_mut(name).expect("it is there or was just put there");
                if look_again || !known {
                    let identity = identity::of(root, wanted, name);
                    // Another disk under the same name counts from its own start.
                    if identity != device.identity {
                        *device = Device { identity, ..Device::default() };
                    }
                    changed = true;
                }
                device.seen = round;
                if device.identity.is_some() {
                    device.moved = device.counters.moved(now, totals);
                }
            })
        });
        if let Err(error) = read {
            return vec![error.scope("disk")];
        }
        if look_again {
            self.pace.looked(now);
        }
        let before = self.devices.len();
        self.devices.retain(|_, device| device.seen == round);
        if changed || self.devices.len() != before {
            let known =
                self.devices.iter().filter_map(|(name, device)| Some((name.as_str(), device.identity.as_ref()?)));
            self.units = identity::units(known.collect());
        }
        vec![Scope::complete("disk", self.units.iter().map(|(name, paths)| self.facet(name, paths)).collect())]
    }
}

impl Disks {
    fn facet(&self, name: &str, paths: &[String]) -> Facet {
        let mut facet = Facet::owner("disk", name, "io");
        let devices = || paths.iter().filter_map(|path| self.devices.get(path));
        if let Some(identity) = devices().find_map(|device| device.identity.as_ref()) {
            facet.text("device", paths.join(", "));
            facet.text("model", identity.model.clone());
            facet.text("serial", identity.serial.clone().unwrap_or_default());
            facet.text("wwn", identity.wwn.clone().unwrap_or_default());
            facet.flag("rotational", identity.rotational);
            facet.flag("removable", identity.removable);
            facet.read("size_bytes", (identity.size > 0).then_some(identity.size as f64));
        }
        devices().map(|device| device.moved).fold(Moved::default(), Moved::plus).write(&mut facet);
        facet
    }
}

/// What the kernel has counted of one device since it appeared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    reads: u64,
    read_sectors: u64,
    read_millis: u64,
    writes: u64,
    write_sectors: u64,
    write_millis: u64,
    busy_millis: u64,
    /// Milliseconds times the requests that were under way.
    queued_millis: u64,
}

/// Lines such as `8 0 sda 1 2 3 4 5 6 7 8 0 10 11`, newer ones with more: see
/// the kernel's Documentation/admin-guide/iostats.rst. Partitions of old
/// kernels have shorter lines, and are passed over.
fn parse(text: &str, mut each: impl FnMut(&str, Totals)) -> Result<(), Malformed> {
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.nth(2) else { return Err(Malformed::new(index + 1, "a device", line)) };
        let mut numbers = [0_u64; 11];
        let mut told = 0;
        for (number, word) in numbers.iter_mut().zip(words) {
            *number = word.parse().map_err(|_| Malformed::new(index + 1, "a number", word))?;
            told += 1;
        }
        if told < numbers.len() {
            continue;
        }
        let [
            reads,
            _,
            read_sectors,
            read_millis,
            writes,
            _,
            write_sectors,
            write_millis,
            _,
            busy_millis,
            queued_millis,
        ] = numbers;
        let totals = Totals {
            reads,
            read_sectors,
            read_millis,
            writes,
            write_sectors,
            write_millis,
            busy_millis,
            queued_millis,
        };
        each(name, totals);
    }
    Ok(())
}

/// The counters are as wide as the kernel's long; the milliseconds are not.
const LONG: Width = if cfg!(target_pointer_width = "32") { Width::Bits32 } else { Width::Bits64 };

struct Counters {
    reads: Counter,
    read_sectors: Counter,
    read_millis: Counter,
    writes: Counter,
    write_sectors: Counter,
    write_millis: Counter,
    busy_millis: Counter,
    queued_millis: Counter,
}

impl Default for Counters {
    fn default() -> Self {
        let (long, millis) = (Counter::new(LONG), Counter::new(Width::Bits32));
        Self {
            reads: long,
            read_sectors: long,
            read_millis: millis,
            writes: long,
            write_sectors: long,
            write_millis: millis,
            busy_millis: millis,
            queued_millis: millis,
        }
    }
}

impl Counters {
    fn moved(&mut self, now: Moment, totals: Totals) -> Moved {
        Moved {
            reads: self.reads.rate(now, totals.reads),
            read_sectors: self.read_sectors.rate(now, totals.read_sectors),
            read_millis: self.read_millis.rate(now, totals.read_millis),
            writes: self.writes.rate(now, totals.writes),
            write_sectors: self.write_sectors.rate(now, totals.write_sectors),
            write_millis: self.write_millis.rate(now, totals.write_millis),
            busy_millis: self.busy_millis.rate(now, totals.busy_millis),
            queued_millis: self.queued_millis.rate(now, totals.queued_millis),
        }
    }
}

/// What a disk did each second since the last reading.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Moved {
    reads: Option<f64>,
    read_sectors: Option<f64>,
    read_millis: Option<f64>,
    writes: Option<f64>,
    write_sectors: Option<f64>,
    write_millis: Option<f64>,
    busy_millis: Option<f64>,
    queued_millis: Option<f64>,
}

impl Moved {
    /// What two paths to one disk did together; it is as busy as the busier.
    fn plus(self, other: Self) -> Self {
        let with = |a: Option<f64>, b: Option<f64>, both: fn(f64, f64) -> f64| match (a, b) {
            (Some(a), Some(b)) => Some(both(a, b)),
            (one, none) => one.or(none),
        };
        let sum = |a, b| with(a, b, |a, b| a + b);
        Self {
            reads: sum(self.reads, other.reads),
            read_sectors: sum(self.read_sectors, other.read_sectors),
            read_millis: sum(self.read_millis, other.read_millis),
            writes: sum(self.writes, other.writes),
            write_sectors: sum(self.write_sectors, other.write_sectors),
            write_millis: sum(self.write_millis, other.write_millis),
            busy_millis: with(self.busy_millis, other.busy_millis, f64::max),
            queued_millis: sum(self.queued_millis, other.queued_millis),
        }
    }

    fn write(self, facet: &mut Facet) {
        let bytes = |sectors: Option<f64>| sectors.map(|sectors| sectors * SECTOR as f64);
        // Without a request there is no time that one took.
        let each = |millis: Option<f64>, requests: Option<f64>| match (millis, requests) {
            (Some(millis), Some(requests)) if requests > 0.0 => Some(millis / requests / 1000.0),
            _ => None,
        };
        facet.read("read_bytes_per_second", bytes(self.read_sectors));
        facet.read("write_bytes_per_second", bytes(self.write_sectors));
        facet.read("reads_per_second", self.reads);
        facet.read("writes_per_second", self.writes);
        // The kernel's clock and ours differ by a little.
        facet.read("utilisation_ratio", self.busy_millis.map(|millis| (millis / 1000.0).min(1.0)));
        facet.read("read_await_seconds", each(self.read_millis, self.reads));
        facet.read("write_await_seconds", each(self.write_millis, self.writes));
        facet.read("queue_length", self.queued_millis.map(|millis| millis / 1000.0));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, write};

    use proptest::prelude::*;
    use tomte_model::{Outcome, Timestamp, Value};

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment { wall: Timestamp::default(), boot_millis: seconds * 1000 }
    }

    /// A host with disks whose files of /sys are given as `path=content`.
    struct Host {
        dir: tempfile::TempDir,
        collector: Box<dyn Collector>,
    }

    impl Host {
        fn new(settings: &Settings) -> Self {
            let dir = tempfile::tempdir().unwrap();
            create_dir_all(dir.path().join("proc")).unwrap();
            let collector = make(&Root::new(dir.path()), settings);
            Self { dir, collector }
        }
        fn plug(&self, files: &[&str]) {
            for file in files {
                let (path, content) = file.split_once('=').unwrap();
                let path = self.dir.path().join("sys/block").join(path);
                create_dir_all(path.parent().unwrap()).unwrap();
                write(path, content).unwrap();
            }
        }
        fn collect(&mut self, seconds: u64, stats: &str) -> Vec<Facet> {
            write(self.dir.path().join("proc/diskstats"), stats).unwrap();
            let mut scopes = self.collector.collect(at(seconds));
            assert!(scopes.len() == 1 && scopes[0].outcome.is_complete(), "{scopes:?}");
            scopes.remove(0).facets
        }
    }

    fn names(facets: &[Facet]) -> Vec<&str> {
        facets.iter().map(|facet| facet.resource.name.as_str()).collect()
    }

    const SDA: &[&str] = &["sda/size=2048", "sda/queue/rotational=1", "sda/removable=0", "sda/device/model=WDC WD40"];

    #[test]
    fn what_a_disk_did_since_the_last_reading() {
        let mut host = Host::new(&Settings::default());
        host.plug(SDA);
        let first = host.collect(
            0,
            "8 0 sda 100 0 1000 500 200 0 2000 900 0 700 1400 0 0 0 0 0 0\n8 1 sda1 1 1 1 1 1 1 1 1 1 1 1\n",
        );
        assert_eq!(names(&first), ["sda"]);
        assert_eq!(first[0].readings, [("size_bytes".into(), 1_048_576.0)]);
        assert_eq!(first[0].attribute("rotational"), Some(&Value::Bool(true)));
        let second = &host.collect(10, "8 0 sda 150 0 2000 600 200 0 2000 900 1 5700 21400 0 0 0 0 0 0\n")[0];
        let read = |field| second.reading(field);
        assert_eq!(read("read_bytes_per_second"), Some(51_200.0));
        assert_eq!(read("write_bytes_per_second"), Some(0.0));
        assert_eq!(read("reads_per_second"), Some(5.0));
        assert_eq!(read("read_await_seconds"), Some(0.002));
        assert_eq!(read("write_await_seconds"), None, "there was no write");
        assert_eq!(read("utilisation_ratio"), Some(0.5));
        assert_eq!(read("queue_length"), Some(2.0));
    }

    #[test]
    fn milliseconds_wrap_and_what_begins_anew_has_no_rate() {
        let mut host = Host::new(&Settings::default());
        host.plug(SDA);
        host.collect(0, "8 0 sda 100 0 1000 500 200 0 2000 900 0 4294967000 4294967000\n");
        let wrapped = &host.collect(10, "8 0 sda 110 0 1000 500 200 0 2000 900 0 704 1704\n")[0];
        assert_eq!(wrapped.reading("utilisation_ratio"), Some(0.1));
        let anew = &host.collect(20, "8 0 sda 1 0 8 1 0 0 0 0 0 1 1\n")[0];
        assert_eq!((anew.reading("reads_per_second"), anew.reading("read_bytes_per_second")), (None, None));
        // More than all of the time cannot be.
        let busy = &host.collect(30, "8 0 sda 2 0 8 1 0 0 0 0 0 10900 1\n")[0];
        assert_eq!(busy.reading("utilisation_ratio"), Some(1.0));
    }

    #[test]
    fn disks_come_and_go() {
        let mut host = Host::new(&Settings::default());
        host.plug(SDA);
        let sda = "8 0 sda 100 0 0 0 0 0 0 0 0 0 0\n";
        host.collect(0, sda);
        host.plug(&["sdb/size=10", "sdb/device/wwid=naa.5000c500A1B2C3D4"]);
        let both = host.collect(10, &format!("{sda}8 16 sdb 900 0 0 0 0 0 0 0 0 0 0\n"));
        assert_eq!(names(&both), ["0x5000c500a1b2c3d4", "sda"]);
        assert_eq!(both[0].reading("reads_per_second"), None);
        assert_eq!(names(&host.collect(20, sda)), ["sda"]);
        // Another one is plugged in at the same place, and has counted more.
        host.plug(&["sdb/device/wwid=naa.5000c500ffffffff"]);
        let other = host.collect(30, &format!("{sda}8 16 sdb 1900 0 0 0 0 0 0 0 0 0 0\n"));
        assert_eq!(names(&other), ["0x5000c500ffffffff", "sda"]);
        assert_eq!(other[0].reading("reads_per_second"), None);
        // Within one interval: found at the next look into /sys.
        host.plug(&["sdb/device/wwid=naa.5000c50000000001"]);
        let swapped = host.collect(90, &format!("{sda}8 16 sdb 2900 0 0 0 0 0 0 0 0 0 0\n"));
        assert_eq!(names(&swapped), ["0x5000c50000000001", "sda"]);
        assert_eq!(swapped[0].reading("reads_per_second"), None);
    }

    #[test]
    fn two_paths_to_one_disk_are_one() {
        let mut host = Host::new(&Settings::default());
        for path in ["sda", "sdb"] {
            host.plug(&[&format!("{path}/size=10"), &format!("{path}/device/wwid=naa.6000c500a1b2c3d4")]);
        }
        host.collect(0, "8 0 sda 0 0 0 0 0 0 0 0 0 0 0\n8 16 sdb 0 0 0 0 0 0 0 0 0 0 0\n");
        let lines = "8 0 sda 100 0 0 1000 0 0 0 0 0 5000 0\n8 16 sdb 300 0 0 3000 0 0 0 0 0 8000 0\n";
        let facets = host.collect(10, lines);
        assert_eq!(names(&facets), ["0x6000c500a1b2c3d4"]);
        assert_eq!(facets[0].attribute("device"), Some(&Value::Text("sda, sdb".into())));
        assert_eq!(facets[0].reading("reads_per_second"), Some(40.0));
        assert_eq!(facets[0].reading("read_await_seconds"), Some(0.01));
        assert_eq!(facets[0].reading("utilisation_ratio"), Some(0.8));
    }

    #[test]
    fn what_is_built_upon_disks_only_when_asked_for() {
        let files =
            ["sda/size=10", "sda/device/x=", "dm-0/size=10", "dm-0/dm/name=vg-root", "md0/size=10", "loop0/size=10"];
        let line = |name: &str| format!("8 0 {name} 1 1 1 1 1 1 1 1 1 1 1\n");
        let stats: String = ["sda", "dm-0", "md0", "loop0"].map(line).concat();
        let mut host = Host::new(&Settings::default());
        host.plug(&files);
        assert_eq!(names(&host.collect(0, &stats)), ["sda"]);
        let mut settings = Settings::default();
        settings.disk.devices = Filter::new(["dm-*", "md*"], ["md9"]).unwrap();
        let mut host = Host::new(&settings);
        host.plug(&files);
        assert_eq!(names(&host.collect(0, &stats)), ["md0", "vg-root"]);
    }

    #[test]
    fn strange_lists_are_refused_or_passed_over() {
        let mut host = Host::new(&Settings::default());
        assert!(matches!(host.collector.collect(at(0))[0].outcome, Outcome::Unavailable { .. }));
        host.plug(SDA);
        assert!(host.collect(0, "").is_empty());
        assert!(host.collect(0, "8 0 sda 1 2 3 4\n").is_empty());
        for bad in ["8 0\n", "8 0 sda 1 x\n", "8 0 sda -1 0 0 0 0 0 0 0 0 0 0\n"] {
            assert!(parse(bad, |_, _| {}).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            let _ = parse(&text, |_, _| {});
        }

        #[test]
        fn no_rate_is_negative(rounds in prop::collection::vec((0_u64..100, prop::array::uniform11(prop_oneof![0_u64..50, 4_294_967_200..4_294_967_296_u64, any::<u64>()])), 1..8)) {
            let mut host = Host::new(&Settings::default());
            host.plug(SDA);
            for (seconds, numbers) in rounds {
                let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                for (field, value) in &host.collect(seconds, &format!("8 0 sda {}\n", numbers.join(" ")))[0].readings {
                    prop_assert!(*value >= 0.0, "{} is {}", field, value);
                }
            }
        }
    }
}
