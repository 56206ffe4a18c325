//! What the kernel of the generated host says, in /proc and /sys.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result};

use super::{CONTAINERS, DISKS, GUESTS, PROCESSES, Tree, UNITS, container_id, container_pid, unit_name};

const CORES: usize = 32;
const MOUNTS: usize = 80;
const CHIPS: usize = 12;

pub(super) fn make(tree: &Tree<'_>) -> Result<()> {
    machine(*tree)?;
    disks(*tree)?;
    mounts(*tree)?;
    network(*tree)?;
    groups(*tree)?;
    processes(*tree)
}

fn machine(tree: Tree<'_>) -> Result<()> {
    let mut stat = "cpu  1000000 20 300000 90000000 4000 0 900 0 0 0\n".to_owned();
    for core in 0..CORES {
        let _ = writeln!(stat, "cpu{core} 31250 1 9375 2812500 125 0 28 0 0 0");
    }
    let _ = writeln!(stat, "intr 123456789{}\nctxt 1\nbtime 1799000000\nprocesses 9", " 0".repeat(1_200));
    tree.put("proc/stat", stat)?;
    tree.put("proc/loadavg", "3.10 2.90 2.70 5/4200 99999\n")?;
    tree.put("proc/uptime", "1000000.00 30000000.00\n")?;
    let mut meminfo = String::new();
    for (key, kib) in [
        ("MemTotal", 263_000_000_u64),
        ("MemFree", 20_000_000),
        ("MemAvailable", 90_000_000),
        ("Buffers", 1_000_000),
        ("Cached", 60_000_000),
        ("SwapCached", 0),
        ("SwapTotal", 8_000_000),
        ("SwapFree", 7_000_000),
        ("Dirty", 1_000),
        ("Writeback", 0),
        ("Shmem", 500_000),
        ("SReclaimable", 2_000_000),
    ] {
        let _ = writeln!(meminfo, "{key}: {kib} kB");
    }
    for more in 0..40 {
        let _ = writeln!(meminfo, "Other{more}: {more}000 kB");
    }
    tree.put("proc/meminfo", meminfo)?;
    let line = "avg10=0.10 avg60=0.20 avg300=0.30 total=123456";
    for what in ["cpu", "memory", "io"] {
        tree.put(format!("proc/pressure/{what}"), format!("some {line}\nfull {line}\n"))?;
    }
    let core = "processor\t: 0\nmodel name\t: Example 32-Core\ncpu MHz\t\t: 2400.000\nflags\t\t: ";
    tree.put("proc/cpuinfo", format!("{core}{}\n\n", "abc ".repeat(150)).repeat(CORES))?;
    for core in 0..CORES {
        tree.put(format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq"), "2400000\n")?;
    }
    tree.put("proc/sys/kernel/osrelease", "6.12.0-1-amd64\n")?;
    tree.put("proc/sys/kernel/pid_max", "4194304\n")?;
    tree.put("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13\"\nVERSION_ID=13\n")?;
    tree.put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
    for chip in 0..CHIPS {
        let folder = format!("sys/class/hwmon/hwmon{chip}");
        tree.put(format!("{folder}/name"), "coretemp\n")?;
        for input in 1..=16 {
            tree.put(format!("{folder}/temp{input}_input"), "41000\n")?;
            tree.put(format!("{folder}/temp{input}_label"), format!("Core {input}\n"))?;
            tree.put(format!("{folder}/temp{input}_crit"), "100000\n")?;
        }
    }
    let mut arc = "13 1 0x01 147 39984 1 2\nname type data\n".to_owned();
    for key in ["size", "c", "c_min", "c_max", "hits", "misses", "demand_data_hits", "l2_size"] {
        let _ = writeln!(arc, "{key} 4 123456789");
    }
    for more in 0..130 {
        let _ = writeln!(arc, "other_{more} 4 {more}");
    }
    tree.put("proc/spl/kstat/zfs/arcstats", arc)?;
    tree.put("sys/module/zfs/version", "2.3.2-1\n")?;
    let mut metrics = String::new();
    for metric in 0..400 {
        let _ = writeln!(metrics, "# TYPE example_{metric} gauge\nexample_{metric}{{queue=\"a\"}} {metric}.5");
    }
    for file in 0..5 {
        tree.put(
            format!("var/lib/prometheus/node-exporter/example-{file}.prom"),
            metrics.replace("example_", &format!("example_{file}_")),
        )?;
    }
    Ok(())
}

pub(super) fn disk_name(number: usize) -> String {
    let letter = |number: usize| char::from(b'a' + (number % 26) as u8);
    match number / 26 {
        0 => format!("sd{}", letter(number)),
        more => format!("sd{}{}", letter(more - 1), letter(number)),
    }
}

fn disks(tree: Tree<'_>) -> Result<()> {
    let mut stats = String::new();
    for number in 0..DISKS {
        let name = disk_name(number);
        for (minor, name) in [(0, name.clone()), (1, format!("{name}1")), (9, format!("{name}9"))] {
            let _ = writeln!(stats, "8 {minor} {name} 100 0 1000 500 200 0 2000 900 0 700 1400 0 0 0 0 5 6");
        }
        let block = format!("sys/block/{name}");
        for (file, text) in [
            ("size", "15628053168"),
            ("queue/rotational", "0"),
            ("removable", "0"),
            ("device/model", "EXAMPLE ST8000"),
            ("device/vendor", "ATA"),
            ("stat", "100 0 1000 500 200 0 2000 900 0 700 1400 0 0 0 0 5 6"),
        ] {
            tree.put(format!("{block}/{file}"), format!("{text}\n"))?;
        }
        tree.put(format!("{block}/device/wwid"), format!("naa.5000c500a1b2{number:04x}\n"))?;
    }
    // Volumes of guests and what else no disk is.
    for number in 0..100 {
        let _ = writeln!(stats, "230 {number} zd{number} 1 0 1 5 2 0 2 9 0 7 1 0 0 0 0 5 6");
        tree.put(format!("sys/block/zd{number}/size"), "67108864\n")?;
    }
    tree.put("proc/diskstats", stats)
}

fn mounts(tree: Tree<'_>) -> Result<()> {
    let (mut mounts, mut space) = (String::new(), String::new());
    for number in 0..MOUNTS {
        let _ = writeln!(
            mounts,
            "{} 1 8:{number} / /srv/{number} rw,relatime shared:{number} - ext4 /dev/disk{number} rw",
            number + 30
        );
        let _ = writeln!(space, "/srv/{number} 4096 100000000 50000000 40000000 1000000 900000");
    }
    for number in 0..CONTAINERS {
        let _ = writeln!(
            mounts,
            "{} 1 0:{} / /var/lib/docker/overlay2/{}/merged rw,relatime shared:1 - overlay overlay rw",
            number + 1_000,
            number + 100,
            container_id(number)
        );
    }
    tree.put("proc/1/mountinfo", mounts)?;
    tree.put("statvfs.txt", space)
}

fn network(tree: Tree<'_>) -> Result<()> {
    let mut table = "Inter-|   Receive  |  Transmit\n face |bytes packets |bytes packets\n".to_owned();
    let mut line = |name: &str| {
        let _ = writeln!(table, "{name}: 123456789 1234567 0 0 0 0 0 0 987654321 7654321 0 0 0 0 0 0");
    };
    line("lo");
    for number in 0..4 {
        let name = format!("eno{number}");
        line(&name);
        for (file, text) in [
            ("operstate", "up"),
            ("address", "02:00:00:00:00:01"),
            ("mtu", "1500"),
            ("speed", "10000"),
            ("flags", "0x1003"),
            ("device/vendor", "x"),
        ] {
            tree.put(format!("sys/class/net/{name}/{file}"), format!("{text}\n"))?;
        }
    }
    for number in 0..CONTAINERS + GUESTS {
        line(&format!("veth{number:06x}"));
    }
    // As seen by the first process, and by ours.
    for who in ["1", "self"] {
        tree.put(format!("proc/{who}/net/dev"), &table)?;
        tree.put(format!("proc/{who}/net/route"), "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\neno0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n")?;
    }
    tree.put("proc/net/dev", table)?;
    tree.put("sys/class/net/wg0/uevent", "DEVTYPE=wireguard\nINTERFACE=wg0\n")
}

/// Control groups of version 2, of units, containers and guests.
fn groups(tree: Tree<'_>) -> Result<()> {
    tree.put("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")?;
    tree.put("run/systemd/system/.keep", "")?;
    let units = (0..UNITS).map(|unit| format!("system.slice/{}", unit_name(unit)));
    let containers = (0..CONTAINERS).map(|number| format!("system.slice/docker-{}.scope", container_id(number)));
    let guests = (0..GUESTS).map(|guest| format!("machine.slice/machine-qemu\\x2d{guest}\\x2dguest{guest}.scope"));
    let stat: String =
        (0..45).fold("anon 1000000\nfile 2000000\ninactive_file 300000\n".to_owned(), |mut text, more| {
            let _ = writeln!(text, "other_{more} {more}12345");
            text
        });
    for group in units.chain(containers).chain(guests) {
        for (file, text) in [
            (
                "cpu.stat",
                "usage_usec 4042713\nuser_usec 3822592\nsystem_usec 220121\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
            ),
            ("memory.current", "50000000\n"),
            ("memory.max", "max\n"),
            ("memory.stat", &stat),
            ("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"),
            ("pids.current", "12\n"),
            ("io.stat", "8:0 rbytes=77824 wbytes=4096 rios=3 wios=1 dbytes=0 dios=0\n"),
        ] {
            tree.put(format!("sys/fs/cgroup/{group}/{file}"), text)?;
        }
    }
    Ok(())
}

fn processes(tree: Tree<'_>) -> Result<()> {
    for pid in 1..=PROCESSES {
        let stat = format!(
            "{pid} (worker-{pid}) S 1 {pid} {pid} 0 -1 4194560 100 0 0 0 {} 50 0 0 20 0 3 0 {pid} 123456789 {} 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n",
            pid % 977,
            pid % 7919
        );
        tree.put(format!("proc/{pid}/stat"), stat)?;
    }
    for number in 0..CONTAINERS {
        let pid = container_pid(number);
        tree.put(format!("proc/{pid}/cgroup"), format!("0::/system.slice/docker-{}.scope\n", container_id(number)))?;
        let table =
            "Inter-|\n face |\n    lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n  eth0: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n";
        tree.put(format!("proc/{pid}/net/dev"), table)?;
    }
    let link = tree.0.join("proc/self");
    fs::remove_dir_all(&link).ok();
    symlink("1", &link).with_context(|| format!("linking {}", link.display()))
}
