#![allow(clippy::unwrap_used)]
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use proptest::prelude::*;
use tomte_model::Value;

use super::*;
use crate::settings::Filter;

const GIB: u64 = 1 << 30;

fn space(device: (u32, u32)) -> Space {
    Space {
        size: 100 * GIB,
        free: 30 * GIB,
        available: 20 * GIB,
        inodes: 1000,
        inodes_free: 900,
        device: Some(device),
        ..Space::default()
    }
}

/// A host with that table of mounts.
struct Host {
    dir: tempfile::TempDir,
    collector: Filesystems,
}

impl Host {
    fn new(table: &str, settings: &FilesystemSettings, measure: Measure) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        std::fs::create_dir_all(root.proc("self")).unwrap();
        let collector = Filesystems::new(&root, settings, measure);
        let host = Self { dir, collector };
        host.mount(table);
        host
    }

    /// Where nobody knows the device numbers, and all is as full.
    fn recorded(table: &str, settings: &FilesystemSettings) -> Self {
        Self::new(table, settings, Arc::new(|_: &Path| Ok(Space { device: None, ..space((0, 0)) })))
    }

    fn mount(&self, table: &str) {
        std::fs::write(self.dir.path().join("proc/self/mountinfo"), table).unwrap();
    }

    fn collect(&mut self) -> Vec<Scope> {
        self.collector.collect(Moment::default())
    }

    fn names(&mut self) -> Vec<String> {
        names(&self.collect())
    }
}

fn names(scopes: &[Scope]) -> Vec<String> {
    scopes.iter().flat_map(|scope| scope.facets.iter().map(|facet| facet.resource.name.clone())).collect()
}

fn scope<'a>(scopes: &'a [Scope], name: &str) -> &'a Scope {
    scopes.iter().find(|scope| scope.name == name).unwrap()
}

/// A desktop with everything that ever was counted twice.
const BUSY: &str = "\
22 1 0:21 / /proc rw - proc proc rw
23 1 0:22 / /sys rw - sysfs sysfs rw
24 1 0:5 / /dev rw - devtmpfs udev rw
1 0 8:2 / / rw,noatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro
26 1 0:24 / /run rw - tmpfs tmpfs rw
27 1 8:1 / /boot/efi rw - vfat /dev/sda1 rw
28 1 8:2 /nix/store /nix/store ro - ext4 /dev/sda2 rw,errors=remount-ro
29 1 8:2 /var/lib/docker/btrfs /a rw - ext4 /dev/sda2 rw,errors=remount-ro
30 1 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro
31 1 0:50 / /var/lib/docker/overlay2/abc/merged rw - overlay overlay rw
32 1 0:51 / /net rw - autofs /etc/auto.net rw
33 1 0:52 /@home /home rw - btrfs /dev/sdb rw,subvolid=257,subvol=/@home
34 1 0:52 /@srv /srv rw - btrfs /dev/sdb rw,subvolid=258,subvol=/@srv
35 1 0:53 / /tank rw - zfs tank rw
36 1 0:54 / /tank/media rw - zfs tank/media rw
37 1 0:55 / /mnt/my\\040nas rw - nfs4 nas:/export rw
38 1 0:55 /sub /mnt/again rw - nfs4 nas:/export/sub rw
39 1 0:56 / /mnt/nosharecache rw - nfs4 nas:/export rw
40 1 8:33 / /data/deep/disk rw - xfs /dev/sdc1 rw
41 1 8:33 /part /part rw - xfs /dev/sdc1 rw
42 1 0:57 / /var/lib/docker/zfs/graph/x rw - zfs tank/docker/x rw
43 1 0:58 / /pool rw - fuse.mergerfs mergerfs rw
44 1 0:59 / /pool2 rw - fuse.mergerfs mergerfs rw
";

#[test]
fn each_is_counted_once() {
    let mut host = Host::recorded(BUSY, &FilesystemSettings::default());
    let scopes = host.collect();
    assert!(scopes.iter().all(|scope| scope.outcome.is_complete()), "{scopes:?}");
    let local = names(&scopes[..1]);
    assert_eq!(local, ["/", "/boot/efi", "/data/deep/disk", "/srv", "/tank", "/tank/media"]);
    let apart: Vec<_> = scopes[1..].iter().map(|scope| scope.name.as_ref()).collect();
    assert_eq!(apart, ["filesystem:/mnt/my nas", "filesystem:/pool", "filesystem:/pool2"]);
    let nas = &scopes[1].facets[0];
    assert_eq!(nas.attribute("network"), Some(&Value::Bool(true)));
    assert_eq!(nas.attribute("device"), Some(&Value::Text("nas:/export".into())));
    assert_eq!(scopes[2].facets[0].attribute("network"), Some(&Value::Bool(false)));
}

#[test]
fn the_arithmetic_is_that_of_df() {
    let mut host = Host::recorded("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n", &FilesystemSettings::default());
    let facet = host.collect().remove(0).facets.remove(0);
    let gib = |n: u64| Some((n * GIB) as f64);
    assert_eq!(facet.reading("size_bytes"), gib(100));
    assert_eq!(facet.reading("used_bytes"), gib(70));
    assert_eq!(facet.reading("available_bytes"), gib(20));
    assert_eq!(facet.reading("used_ratio"), Some(70.0 / 90.0));
    assert_eq!(facet.reading("inodes_used"), Some(100.0));
    assert_eq!(facet.reading("inodes_used_ratio"), Some(0.1));
    assert_eq!(facet.reading("read_only_by_error"), Some(0.0));
}

#[test]
fn strange_numbers_are_left_out() {
    let mount = mounts::parse("1 0 8:1 / /x ro - vfat /dev/sda1 ro\n").unwrap().remove(0);
    let read = |space| facet(&mount, Class::Local, Some(space));
    let free = Space { size: 100, free: 100, available: u64::MAX, inodes: 5, inodes_free: 9, ..Space::default() };
    let facet = read(free);
    assert_eq!((facet.reading("available_bytes"), facet.reading("used_ratio")), (Some(100.0), Some(0.0)));
    assert_eq!(facet.reading("inodes"), None);
    assert_eq!(facet.attribute("read_only"), Some(&Value::Bool(true)));
    let full = read(Space { size: 10, free: 0, available: 0, ..Space::default() });
    assert_eq!(full.reading("used_ratio"), Some(1.0));
    let larger = read(Space { size: 10, free: 20, available: 0, ..Space::default() });
    assert_eq!(larger.reading("used_ratio"), None);
}

#[test]
fn a_kernel_that_stopped_writing_is_told_from_a_person_who_did() {
    let table = "1 0 8:1 / / rw - ext4 /dev/sda1 ro\n2 1 8:2 / /usr ro - ext4 /dev/sda2 ro\n";
    let scopes = Host::recorded(table, &FilesystemSettings::default()).collect();
    let told: Vec<_> = scopes[0].facets.iter().map(|facet| facet.reading("read_only_by_error")).collect();
    assert_eq!(told, [Some(1.0), Some(0.0)]);
}

#[test]
fn what_is_hidden_is_reached_another_way_or_not_counted() {
    let table = "\
        1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
        2 1 8:2 / /mnt/a rw - ext4 /dev/sdb1 rw\n\
        3 1 8:2 / /srv/other/b rw - ext4 /dev/sdb1 rw\n\
        4 1 8:3 / /mnt/c rw - ext4 /dev/sdc1 rw\n\
        5 1 0:9 / /mnt/nas rw - nfs nas:/a rw\n\
        6 1 8:4 / /mnt rw - ext4 /dev/sdd1 rw\n";
    let measure = |point: &Path| match point.to_str().unwrap() {
        "/" => Ok(space((8, 1))),
        "/srv/other/b" => Ok(space((8, 2))),
        "/mnt/c" => Err(io::ErrorKind::NotFound.into()),
        _ => Ok(space((8, 4))),
    };
    let mut host = Host::new(table, &FilesystemSettings::default(), Arc::new(measure));
    assert_eq!(host.names(), ["/", "/mnt", "/srv/other/b"]);
}

#[test]
fn names_stay_while_what_they_name_is_mounted() {
    let deep = "1 0 8:1 / /srv/data rw - ext4 /dev/sda1 rw\n";
    let mut host = Host::recorded(deep, &FilesystemSettings::default());
    assert_eq!(host.names(), ["/srv/data"]);
    host.mount(&format!("{deep}2 0 8:1 / /mnt rw - ext4 /dev/sda1 rw\n"));
    assert_eq!(host.names(), ["/srv/data"], "a short mount for a moment renames nothing");
    host.mount("2 0 8:1 / /mnt rw - ext4 /dev/sda1 rw\n");
    assert_eq!(host.names(), ["/mnt"]);
}

#[test]
fn filters_choose_by_name_and_type() {
    let with = |mounts: Filter, types: Filter| {
        Host::recorded(BUSY, &FilesystemSettings { mounts, types, network: true }).names()
    };
    let all = Filter::default;
    let not_tank = Filter::new(["/*"], ["/tank*", "/mnt/*", "/pool*"]).unwrap();
    // All points are asked for alike, so the whole and the shortest still name.
    assert_eq!(with(not_tank, all()), ["/", "/boot/efi", "/data/deep/disk", "/srv", "/var/lib/docker/zfs/graph/x"]);
    assert_eq!(with(Filter::new(["/nix/store"], []).unwrap(), all()), ["/nix/store"], "asked for by name");
    assert_eq!(with(all(), Filter::new(["zfs"], []).unwrap()).len(), 3);
    let tmpfs = with(all(), Filter::new(["tmpfs"], []).unwrap());
    assert_eq!(tmpfs, ["/run"], "asked for by type");
}

#[test]
fn a_stuck_server_is_asked_once_and_holds_up_nothing_else() {
    let (release, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let measure = move |point: &Path| {
        if point == Path::new("/mnt/dead") {
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = wait.lock().unwrap().recv();
        }
        Ok(Space { device: None, ..space((0, 0)) })
    };
    let dead = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 0 0:9 / /mnt/dead rw - nfs dead:/a rw\n";
    let mut host = Host::new(dead, &FilesystemSettings::default(), Arc::new(measure));
    let patient = Deadlines { local: Duration::from_secs(600), apart: Duration::from_secs(600) };
    // Past the deadline at once, so that the test does not wait for it.
    host.collector.deadlines = Deadlines { apart: Duration::ZERO, ..patient };
    let scopes = host.collect();
    assert_eq!(names(&scopes), ["/"]);
    let Outcome::Failed { error } = &scope(&scopes, "filesystem:/mnt/dead").outcome else { panic!("{scopes:?}") };
    assert!(error.starts_with("/mnt/dead has not answered within"), "{error}");
    host.collector.deadlines = patient;
    host.mount(&format!("{dead}3 0 0:10 / /mnt/well rw - nfs well:/a rw\n"));
    for _ in 0..3 {
        let scopes = host.collect();
        assert_eq!(names(&scopes), ["/", "/mnt/well"]);
        assert!(!scope(&scopes, "filesystem:/mnt/dead").outcome.is_complete());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    drop(release);
}

#[test]
fn a_dying_disk_is_unknown_and_the_others_are_read() {
    let asked = Arc::new(Mutex::new(libc::EIO));
    let told = asked.clone();
    let measure = move |point: &Path| match point.to_str().unwrap() {
        "/" => Ok(space((8, 1))),
        _ => Err(io::Error::from_raw_os_error(*told.lock().unwrap())),
    };
    let table = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 0 8:2 / /data rw - xfs /dev/sdb1 rw\n";
    let mut host = Host::new(table, &FilesystemSettings::default(), Arc::new(measure));
    let moment = |wall| Moment { wall: Timestamp::from_millis(wall), ..Moment::default() };
    for now in [1_000, 2_000] {
        let scopes = host.collector.collect(moment(now));
        assert_eq!(scopes.len(), 1);
        let data = &scopes[0].facets[1];
        assert!(data.readings.is_empty());
        let assessment = data.assessment.as_ref().unwrap();
        assert_eq!(assessment.status, Status::Unknown);
        assert!(assessment.reason.starts_with("/data cannot be looked at: "), "{}", assessment.reason);
        assert_eq!(assessment.problems[0].since, Timestamp::from_millis(1_000));
    }
    *asked.lock().unwrap() = libc::EACCES;
    let scopes = host.collector.collect(moment(3_000));
    assert_eq!(names(&scopes), ["/", "/data"], "what may not be looked at is still there");
    let Outcome::Denied { cure, .. } = &scope(&scopes, "filesystem:/data").outcome else { panic!("{scopes:?}") };
    assert!(cure.contains("exclude = [\"/data\"]"), "{cure}");
}

#[test]
fn it_is_told_that_a_share_is_gone() {
    let root = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n";
    let mut host =
        Host::recorded(&format!("{root}2 0 0:9 / /mnt/nas rw - nfs nas:/a rw\n"), &FilesystemSettings::default());
    assert_eq!(host.names(), ["/", "/mnt/nas"]);
    host.mount(root);
    for _ in 1..FAREWELLS {
        let scopes = host.collect();
        let nas = scope(&scopes, "filesystem:/mnt/nas");
        assert!(nas.outcome.is_complete() && nas.facets.is_empty());
    }
    assert_eq!(host.collect().len(), 1, "and not for ever");
}

#[test]
fn without_the_table_nothing_is_gone() {
    let table = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 0 0:9 / /mnt/nas rw - nfs nas:/a rw\n";
    let mut host = Host::recorded(table, &FilesystemSettings::default());
    host.collect();
    host.mount("nonsense\n");
    let scopes = host.collect();
    assert_eq!(scopes.iter().map(|s| s.name.as_ref()).collect::<Vec<_>>(), ["filesystem", "filesystem:/mnt/nas"]);
    assert!(scopes.iter().all(|scope| matches!(scope.outcome, Outcome::Failed { .. })), "{scopes:?}");
    host.mount(table);
    assert_eq!(host.names(), ["/", "/mnt/nas"]);
}

#[test]
fn ten_thousand_mounts_of_few_disks_cost_few_looks() {
    let mut table = String::from("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n");
    for n in 0..5_000 {
        table += &format!("{n} 1 8:1 /bind/{n} /pods/{n}/volume rw - ext4 /dev/sda1 rw\n");
        table += &format!("{n} 1 0:{} / /containers/{n} rw - overlay overlay rw\n", 100 + n);
    }
    let looks = Arc::new(AtomicUsize::new(0));
    let counter = looks.clone();
    let measure = move |_: &Path| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(space((8, 1)))
    };
    let mut host = Host::new(&table, &FilesystemSettings::default(), Arc::new(measure));
    assert_eq!(host.names(), ["/"]);
    assert_eq!(looks.load(Ordering::SeqCst), 1);
}

#[test]
fn ten_thousand_datasets_are_ten_thousand() {
    let line = |n: u32| format!("{n} 1 0:{n} / /tank/{n} rw - zfs tank/{n} rw\n");
    let table: String = (1..=10_000).map(line).collect();
    assert_eq!(Host::recorded(&table, &FilesystemSettings::default()).names().len(), 10_000);
}

#[test]
fn this_machine_answers() {
    let scopes = make(&Root::system(), &Settings::default()).collect(Moment::default());
    assert!(scopes[0].outcome.is_complete(), "{scopes:?}");
}

proptest! {
    #[test]
    fn any_table_of_mounts_is_safe_and_names_are_unique(
        lines in prop::collection::vec(("[0-9]:[0-3]", "/[a-b]{0,1}", "(/[a-c]){1,3}", "ext4|nfs|zfs|autofs|fuse.x", "[a:/@]{0,4}", "rw|ro"), 0..20)
    ) {
        let table: String = lines
            .iter()
            .map(|(device, root, point, fs_type, source, options)| {
                format!("1 0 {device} {root} {point} {options} - {fs_type} {source} rw\n")
            })
            .collect();
        let names = Host::recorded(&table, &FilesystemSettings::default()).names();
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), names.len());
    }
}
