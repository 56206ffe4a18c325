#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tomte_model::{BootId, Facet, HostId, Scope};

use super::*;

const BOOT: BootId = BootId(77);

fn at(seconds: u64) -> Moment {
    Moment {
        wall: Timestamp::from_millis(1_800_000_000_000 + i64::try_from(seconds).unwrap() * 1000),
        boot_millis: seconds * 1000,
    }
}

fn limits(memory: u64, disk: u64) -> OutboxConfig {
    OutboxConfig { memory_limit: memory, disk_limit: disk, max_age: Duration::from_secs(7 * 86_400) }
}

/// An outbox with its spool, driven by hand.
struct Rig {
    outbox: Outbox,
    spool: Spool,
    now: u64,
}

impl Rig {
    fn new(disk: impl Disk + 'static, limits: OutboxConfig, epoch: u64) -> Self {
        let spool_limits = SpoolLimits { bytes: limits.disk_limit, max_age: limits.max_age };
        let mut spool = Spool::open(Box::new(disk), spool_limits, epoch, BOOT).unwrap();
        let mut outbox = Outbox::new(epoch, limits, at(0));
        outbox.attach(&mut spool);
        Self { outbox, spool, now: 0 }
    }

    fn report(&mut self, collector: &str) -> Position {
        let mut facet = Facet::owner("load", "load", "main");
        facet.read("load1", self.now as f64);
        facet.text("padding", "x".repeat(100));
        let position = self.outbox.next_position();
        let report = Report {
            host: HostId::from_parts(0, 1),
            collector: collector.to_owned().into(),
            position,
            boot_id: BOOT,
            moment: at(self.now),
            clock_synchronised: true,
            interval_millis: 10_000,
            scopes: vec![Scope::complete("load", vec![facet])],
            events: Vec::new(),
        };
        self.outbox.push(Arc::new(report));
        self.work();
        position
    }

    fn work(&mut self) {
        while let Some(work) = self.outbox.work(at(self.now)) {
            let done = work.perform(&mut self.spool);
            self.outbox.done(done, at(self.now));
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        self.work();
    }

    fn connect(&mut self) {
        self.outbox.connected();
        self.work();
    }

    /// Sends until the window is full or nothing is left.
    fn send(&mut self) -> Vec<(Lane, Arc<Report>)> {
        let mut sent = Vec::new();
        loop {
            while let Some(next) = self.outbox.send_next(None) {
                sent.push(next);
            }
            let before = sent.len();
            self.work();
            match self.outbox.send_next(None) {
                Some(next) => sent.push(next),
                None if sent.len() == before => return sent,
                None => {}
            }
        }
    }

    fn ack(&mut self, positions: impl IntoIterator<Item = Position>) {
        let mut by_epoch: BTreeMap<u64, RangeSet> = BTreeMap::new();
        for position in positions {
            by_epoch.entry(position.epoch).or_default().insert(position.sequence);
        }
        for (epoch, ranges) in by_epoch {
            self.outbox.ack(epoch, &ranges);
        }
        self.work();
    }

    /// Sends and acks until all is quiet; returns what the hub got, in order.
    fn drain(&mut self) -> Vec<(Lane, Position)> {
        let mut got = Vec::new();
        loop {
            let sent: Vec<_> = self.send().into_iter().map(|(lane, report)| (lane, report.position)).collect();
            if sent.is_empty() {
                return got;
            }
            self.ack(sent.iter().map(|(_, position)| *position));
            got.extend(sent);
        }
    }
}

fn files(folder: &tempfile::TempDir) -> Vec<String> {
    let mut names = Folder::new(folder.path()).list().unwrap();
    names.sort();
    names
}

#[test]
fn while_the_hub_is_there_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut it = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 1);
    it.connect();
    for second in 0..1000 {
        it.now = second * 10;
        it.report("load");
        it.drain();
    }
    assert!(files(&folder).is_empty());
    assert_eq!((it.outbox.waiting(), it.outbox.waiting_bytes()), (0, 0));
}

#[test]
fn a_day_without_the_hub_arrives_whole_and_live_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut it = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 1);
    let mut made = BTreeSet::new();
    for _ in 0..8_640 {
        it.now += 10;
        made.insert(it.report("load"));
        if it.now.is_multiple_of(60) {
            made.insert(it.report("disk"));
        }
    }
    assert!(it.outbox.memory_bytes < 100_000, "what waits long waits on disk: {}", it.outbox.memory_bytes);
    it.connect();
    let first = it.send();
    let lanes: Vec<_> = first.iter().take(3).map(|(lane, _)| *lane).collect();
    assert_eq!(lanes, [Lane::Live, Lane::Live, Lane::Backlog], "the last of each collector opens");
    // The backlog's window is full; what is read now still goes out at once.
    it.now += 10;
    let fresh = it.report("load");
    made.insert(fresh);
    let next = it.outbox.send_next(None).unwrap();
    assert_eq!((next.0, next.1.position), (Lane::Live, fresh));
    let mut got: BTreeSet<_> = first.iter().map(|(_, report)| report.position).collect();
    got.insert(fresh);
    it.ack(got.clone());
    for (_, position) in it.drain() {
        assert!(got.insert(position), "{position:?} came twice on one connection");
    }
    assert_eq!(got, made);
    assert_eq!(it.outbox.waiting(), 0);
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}

#[test]
fn what_was_sent_and_not_acked_is_sent_again_with_the_same_position() {
    let folder = tempfile::tempdir().unwrap();
    let mut it = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 1);
    it.connect();
    let positions = [it.report("load"), it.report("disk"), it.report("load")];
    assert_eq!(it.send().len(), 3);
    it.outbox.disconnected(at(it.now));
    it.connect();
    let again: BTreeSet<_> = it.drain().into_iter().map(|(_, position)| position).collect();
    assert_eq!(again, positions.into_iter().collect());
    // Also what is acked: the last of each collector opens every connection.
    it.outbox.disconnected(at(it.now));
    it.connect();
    let opening: Vec<_> = it.drain().into_iter().map(|(_, position)| position).collect();
    assert_eq!(opening, [positions[1], positions[2]]);
}

#[test]
fn a_killed_agent_loses_only_what_was_in_memory_and_numbers_are_never_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 5);
    let on_disk: BTreeSet<_> = (0..10).map(|_| before.report("load")).collect();
    before.pass(61);
    before.report("load");
    drop(before);
    let mut after = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 6);
    assert_eq!(after.spool.last_epoch(), 5);
    let fresh = after.report("load");
    assert_eq!(fresh, Position { epoch: 6, sequence: 1 });
    after.connect();
    let mut got: BTreeSet<_> = after.drain().into_iter().map(|(_, position)| position).collect();
    assert!(got.remove(&fresh));
    assert_eq!(got, on_disk);
}

#[test]
fn a_clean_stop_puts_everything_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut it = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 1);
    it.connect();
    let position = it.report("load");
    it.send();
    it.outbox.stop();
    it.work();
    let mut after = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 2);
    after.connect();
    assert_eq!(after.drain(), [(Lane::Backlog, position)]);
}

#[test]
fn what_is_too_much_goes_oldest_first_and_is_declared() {
    let folder = tempfile::tempdir().unwrap();
    let mut it = Rig::new(Folder::new(folder.path()), limits(4_000, 64_000), 1);
    let made: BTreeSet<_> = (0..2_000)
        .map(|_| {
            it.now += 10;
            it.report("load")
        })
        .collect();
    it.pass(61);
    assert!(it.outbox.depth.bytes <= 64_000 + 16_384);
    let gaps = it.outbox.gaps().to_vec();
    assert_eq!(gaps.len(), 1, "one hole, one gap: {gaps:?}");
    it.connect();
    let got: BTreeSet<_> = it.drain().into_iter().map(|(_, position)| position).collect();
    let oldest = got.first().unwrap().sequence;
    assert_eq!((gaps[0].first, gaps[0].last, gaps[0].count), (1, oldest - 1, oldest - 1));
    assert_eq!(got.len() as u64 + gaps[0].count, made.len() as u64, "nothing is lost in silence");
    assert_eq!(it.outbox.losses().0, gaps[0].count);
    // The hub has not confirmed it: it is still known after a restart.
    let mut after = Rig::new(Folder::new(folder.path()), limits(4_000, 64_000), 2);
    assert_eq!(after.outbox.gaps(), gaps);
    after.outbox.gaps_told(&gaps);
    after.work();
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}

#[test]
fn what_is_too_old_goes_and_clocks_that_were_never_set_do_not_age() {
    let folder = tempfile::tempdir().unwrap();
    let week = 7 * 86_400;
    let mut it = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 1);
    it.report("load");
    it.pass(61);
    it.pass(week - 3_600);
    assert_eq!(it.outbox.depth.reports, 1);
    it.pass(2 * 3_600);
    assert_eq!((it.outbox.depth.reports, it.outbox.gaps().len()), (0, 1));
    // Written in 1970, found by the next boot in 2027: its age is unknown.
    let other = tempfile::tempdir().unwrap();
    let spool_limits = SpoolLimits { bytes: 1 << 20, max_age: Duration::from_secs(week) };
    let mut spool = Spool::open(Box::new(Folder::new(other.path())), spool_limits, 1, BOOT).unwrap();
    let moment = Moment { wall: Timestamp::from_millis(5), boot_millis: 5 };
    let mut gaps = Vec::new();
    spool.append(&[Packed { sequence: 1, moment, bytes: vec![1].into() }], &mut gaps);
    let mut later = Spool::open(Box::new(Folder::new(other.path())), spool_limits, 2, BootId(78)).unwrap();
    later.expire(at(0), &mut gaps);
    assert_eq!((later.depth().reports, gaps.len()), (1, 0));
}

/// A folder on a disk that can be full.
struct Fragile {
    folder: Folder,
    full: Arc<AtomicBool>,
}

impl Disk for Fragile {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.folder.list()
    }
    fn read(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.folder.read(name, offset, length)
    }
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            // As a real one would: half of it goes in before it is full.
            let _ = self.folder.write(name, offset, &bytes[..bytes.len() / 2]);
            let _ = if offset == 0 { self.folder.remove(name) } else { self.folder.truncate(name, offset) };
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.folder.write(name, offset, bytes)
    }
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.folder.truncate(name, length)
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }
}

#[test]
fn a_full_disk_bounds_memory_and_is_used_again_when_it_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let disk = Fragile { folder: Folder::new(folder.path()), full: full.clone() };
    let mut it = Rig::new(disk, limits(20_000, 1 << 20), 1);
    let mut made = BTreeSet::new();
    for _ in 0..60 {
        it.now += 10;
        made.insert(it.report("load"));
    }
    full.store(true, Ordering::Relaxed);
    for _ in 0..500 {
        it.now += 10;
        made.insert(it.report("load"));
    }
    assert!(it.outbox.in_trouble());
    assert!(it.outbox.memory_bytes <= 20_000, "{}", it.outbox.memory_bytes);
    full.store(false, Ordering::Relaxed);
    it.pass(120);
    assert!(!it.outbox.in_trouble());
    assert_eq!(it.outbox.memory.len(), 0, "what waited is on disk");
    it.connect();
    let got: BTreeSet<_> = it.drain().into_iter().map(|(_, position)| position).collect();
    let declared: u64 = it.outbox.gaps().iter().map(|gap| gap.count).sum();
    assert!(declared > 0);
    assert_eq!(got.len() as u64 + declared, made.len() as u64, "what is lost is declared");
    assert_eq!(got.last(), made.last());
}

#[test]
fn what_was_lost_on_a_full_disk_is_known_after_a_restart() {
    for stops in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let full = Arc::new(AtomicBool::new(true));
        let disk = Fragile { folder: Folder::new(folder.path()), full: full.clone() };
        let mut it = Rig::new(disk, limits(2_000, 1 << 20), 1);
        for _ in 0..100 {
            it.now += 10;
            it.report("load");
        }
        let gaps = it.outbox.gaps().to_vec();
        assert_eq!(gaps.len(), 1);
        it.connect();
        full.store(false, Ordering::Relaxed);
        if stops {
            it.outbox.stop();
            it.work();
        } else {
            it.pass(120);
        }
        drop(it);
        let after = Rig::new(Folder::new(folder.path()), limits(2_000, 1 << 20), 2);
        assert_eq!(after.outbox.gaps(), gaps, "{stops}");
    }
}

#[test]
fn without_a_disk_memory_alone_is_bounded_too() {
    let mut outbox = Outbox::new(1, limits(5_000, 0), at(0));
    let mut last = 0;
    for _ in 0..200 {
        let position = outbox.next_position();
        last = position.sequence;
        outbox.push(Arc::new(Report {
            host: HostId::from_parts(0, 1),
            collector: "load".into(),
            position,
            boot_id: BOOT,
            moment: at(0),
            clock_synchronised: true,
            interval_millis: 0,
            scopes: Vec::new(),
            events: Vec::new(),
        }));
    }
    assert!(outbox.memory_bytes <= 5_000);
    assert_eq!(outbox.gaps().len(), 1);
    assert_eq!(outbox.gaps()[0].count + outbox.waiting(), last);
    assert!(outbox.work(at(1_000)).is_none());
}

fn segment_files(folder: &tempfile::TempDir) -> Vec<std::path::PathBuf> {
    files(folder).iter().filter(|name| name.ends_with(".spool")).map(|name| folder.path().join(name)).collect()
}

#[test]
fn a_damaged_segment_is_set_aside_and_what_is_good_of_it_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut it = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 1);
    let made: Vec<_> = (0..10).map(|_| it.report("load")).collect();
    it.pass(61);
    let path = segment_files(&folder).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&path, &bytes).unwrap();
    // A second one is no segment at all, a third one lacks its end.
    std::fs::write(folder.path().join("00000000000000000001-00000000000000000900.spool"), b"nonsense").unwrap();
    let mut after = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 2);
    assert_eq!(after.outbox.losses().1, 2);
    assert_eq!(files(&folder).iter().filter(|name| name.ends_with(".bad")).count(), 2);
    after.connect();
    let got: Vec<_> = after.drain().into_iter().map(|(_, position)| position).collect();
    // All but the one record that was hit, and the file that was none.
    assert_eq!(got.len(), made.len() - 1);
    assert!(got.iter().all(|position| made.contains(position)));
    let lost = made.iter().find(|position| !got.contains(position)).unwrap();
    let gaps = after.outbox.gaps();
    assert!(gaps.iter().any(|gap| gap.epoch == lost.epoch
        && (gap.first, gap.last, gap.count) == (lost.sequence, lost.sequence, 1)));
    assert!(gaps.iter().any(|gap| gap.epoch == 1 && (gap.first, gap.count) == (900, 1)));
    // Told once: the next start finds nothing new.
    assert!(Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 3).outbox.losses().1 == 0);
}

#[test]
fn a_torn_end_is_cut_off_and_the_segment_lives() {
    let folder = tempfile::tempdir().unwrap();
    let mut it = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 1);
    let made: Vec<_> = (0..10).map(|_| it.report("load")).collect();
    it.pass(61);
    let path = segment_files(&folder).remove(0);
    let length = std::fs::metadata(&path).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 7).unwrap();
    let mut after = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 2);
    after.connect();
    let got: Vec<_> = after.drain().into_iter().map(|(_, position)| position).collect();
    assert_eq!(got, made[..9]);
    assert!(files(&folder).iter().all(|name| !name.ends_with(".bad")));
}

#[test]
fn damage_that_comes_while_the_agent_runs_is_declared_as_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut it = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 1);
    let made: Vec<_> = (0..10).map(|_| it.report("load")).collect();
    it.pass(61);
    let path = segment_files(&folder).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&path, &bytes).unwrap();
    it.connect();
    let got: BTreeSet<_> = it.drain().into_iter().map(|(_, position)| position).collect();
    let declared: u64 = it.outbox.gaps().iter().map(|gap| gap.count).sum();
    // The last one opened the connection from memory.
    assert!(got.contains(&made[9]) && declared > 0);
    assert!(got.len() as u64 + declared >= made.len() as u64);
    assert_eq!(it.outbox.waiting(), 0);
}

#[test]
fn a_resend_is_answered_from_wherever_the_report_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut it = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 1);
    let on_disk = it.report("load");
    it.pass(61);
    let in_memory = it.report("load");
    let last = it.report("load");
    it.connect();
    let sent: BTreeSet<_> = it.send().into_iter().map(|(_, report)| report.position).collect();
    assert_eq!(sent, [on_disk, in_memory, last].into());
    for position in [last, in_memory, on_disk] {
        it.outbox.resend(position);
        it.work();
        let again: Vec<_> = it.send().into_iter().map(|(_, report)| report.position).collect();
        assert_eq!(again, [position]);
    }
    it.ack([on_disk, in_memory, last]);
    assert_eq!(it.outbox.waiting(), 0);
}

#[test]
fn a_report_that_no_hub_takes_is_declared_and_does_not_block_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let mut it = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 1);
    it.connect();
    let (too_large, fine) = (it.report("load"), it.report("disk"));
    it.send();
    it.outbox.refuse(too_large);
    it.ack([fine]);
    assert_eq!(it.outbox.waiting(), 0);
    assert_eq!(it.outbox.gaps(), [Gap { epoch: 1, first: 1, last: 1, count: 1 }]);
    // The hub counts the hole among what it has.
    it.ack([too_large]);
    assert!(it.outbox.gaps().is_empty());
}

#[test]
fn an_agent_without_a_hub_keeps_nothing_to_send() {
    let folder = tempfile::tempdir().unwrap();
    let mut it = Rig::new(Folder::new(folder.path()), OutboxConfig::default(), 1);
    it.outbox.set_enabled(false);
    for _ in 0..100 {
        it.report("load");
        it.pass(60);
    }
    assert_eq!(it.outbox.waiting(), 0);
    assert!(files(&folder).is_empty());
}
