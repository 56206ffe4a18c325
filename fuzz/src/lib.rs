//! What the fuzz targets share: a conversation that is valid, and a way to
//! spoil it. Random bytes alone would hardly ever get past the first frame, so
//! the input says which messages of the valid conversation to send, which of
//! their bytes to change, and what to say in between.

use std::sync::Arc;

use tomte_link::{
    AgentLink, CloseCode, Gap, Heartbeat, Hello, HubLink, Lane, Limits, Live, Resend, SettingsPush, SettingsResult,
    Welcome,
};
use tomte_model::{
    BootId, Catalogue, Facet, HostId, Moment, Outcome, Position, RangeSet, Report, Scope, Timestamp,
};

/// The hello of the valid conversation.
pub fn hello() -> Hello {
    Hello {
        protocol_min: tomte_link::PROTOCOL_MIN,
        protocol_max: tomte_link::PROTOCOL_MAX,
        agent_version: "1.2.3".into(),
        host: HostId::from_bytes([7; 16]),
        name: "nas".into(),
        boot_id: BootId(1),
        outbox_epoch: 1,
        instance: 2,
        features: vec!["x".into()],
        publishes_mqtt: false,
    }
}

/// The welcome of the valid conversation.
pub fn welcome() -> Welcome {
    Welcome {
        protocol: tomte_link::PROTOCOL_MAX,
        generation: 1,
        server_time: Timestamp::from_millis(1_800_000_000_000),
        hub_version: "1.2.3".into(),
        host_name: "nas".into(),
        heartbeat_millis: 15_000,
        features: Vec::new(),
    }
}

/// A report that changes a little with its sequence: values, a resource that
/// comes and goes, a scope that fails, a kind that no hub ships.
pub fn report(sequence: u64) -> Report {
    let mut facets = Vec::new();
    for mount in 0..2 + sequence % 2 {
        let mut facet = Facet::owner("filesystem", format!("/mnt/{mount}"), "main");
        facet.read("size_bytes", 1e12);
        facet.read("used_bytes", 1e11 + sequence as f64 * 4096.0);
        facet.read("used_ratio", 0.1 + sequence as f64 * 0.001);
        facet.text("type", "ext4");
        facet.flag("network", mount == 1);
        facets.push(facet);
    }
    let mut fish = Facet::owner("aquarium", "living room", "main");
    fish.read("water_celsius", 24.5);
    facets.push(fish);
    let second = match sequence % 3 {
        0 => Scope::failed("filesystem:/mnt/nas", Outcome::Failed { error: "timed out".into() }),
        _ => Scope::complete("filesystem:/mnt/nas", Vec::new()),
    };
    Report {
        host: HostId::from_bytes([7; 16]),
        collector: "filesystem".into(),
        position: Position { epoch: 1, sequence },
        boot_id: BootId(1),
        moment: Moment { wall: Timestamp::from_millis(1_800_000_000_000), boot_millis: sequence * 60_000 },
        clock_synchronised: true,
        interval_millis: 60_000,
        scopes: vec![Scope::complete("filesystem", facets), second],
        events: Vec::new(),
    }
}

/// What a good agent says after its hello.
pub fn agent_says() -> Vec<Vec<u8>> {
    let mut agent = AgentLink::new(hello(), Arc::new(Catalogue::builtin()));
    let (hub, _) = HubLink::accept(&agent.hello(), Limits::default()).expect("the hello is ours");
    agent.handle(&hub.welcome(&welcome())).expect("the welcome is ours");
    let mut messages = Vec::new();
    for sequence in 1..=6 {
        let lane = if sequence % 3 == 0 { Lane::Backlog } else { Lane::Live };
        messages.extend(agent.report(&report(sequence), lane).expect("the report is small"));
    }
    messages.push(agent.heartbeat(&Heartbeat { backlog_reports: 3, ..Heartbeat::default() }));
    messages.push(agent.gap(&Gap { epoch: 1, first: 2, last: 9, count: 3 }));
    messages.push(agent.settings_result(&SettingsResult { revision: 1, refused: vec![("a".into(), "b".into())] }));
    messages.push(agent.close(CloseCode::Normal, "good night"));
    messages.into_iter().map(Vec::from).collect()
}

/// What a good hub says, from its welcome on.
pub fn hub_says() -> Vec<Vec<u8>> {
    let agent = AgentLink::new(hello(), Arc::new(Catalogue::builtin()));
    let (hub, _) = HubLink::accept(&agent.hello(), Limits::default()).expect("the hello is ours");
    let mut ranges = RangeSet::default();
    ranges.insert_range(1..=4);
    ranges.insert_range(9..=10);
    let resend = |stream| Resend {
        host: HostId::from_bytes([7; 16]),
        collector: "filesystem".into(),
        lane: Lane::Live,
        stream,
        position: Position { epoch: 1, sequence: 1 },
    };
    let settings = SettingsPush { revision: 1, values: vec![("intervals.fast".into(), "\"5s\"".into())] };
    [
        hub.welcome(&welcome()),
        hub.ack(1, &ranges),
        hub.resend(&resend(0)),
        hub.resend(&resend(1)),
        hub.settings(&settings),
        hub.live(&Live { interval_millis: 1_000, lease_millis: 30_000 }),
        hub.refresh(&["cpu".into()]),
        hub.heartbeat(1, Timestamp::from_millis(1_800_000_000_000)),
        HubLink::close(CloseCode::Normal, "good night"),
    ]
    .into_iter()
    .map(Vec::from)
    .collect()
}

/// Says what the input wants said, until `listen` has had enough.
///
/// Each step of the input is a byte: below 128 the next valid message as it is,
/// below 192 that message with bytes changed, else bytes of the input's own.
pub fn converse(valid: &[Vec<u8>], mut input: &[u8], mut listen: impl FnMut(&[u8]) -> bool) {
    let mut next = 0;
    while let Some((&step, rest)) = input.split_first() {
        input = rest;
        let message = if step < 192 {
            let mut message = valid[next % valid.len()].clone();
            next += 1;
            if step >= 128 {
                for _ in 0..=step % 4 {
                    let Some((&[high, low, value], rest)) = input.split_first_chunk() else { break };
                    input = rest;
                    let at = usize::from(u16::from_be_bytes([high, low])) % message.len();
                    message[at] = value;
                }
            }
            message
        } else {
            let length = input.len().min(usize::from(step - 192) * 8);
            let (own, rest) = input.split_at(length);
            input = rest;
            own.to_vec()
        };
        if !listen(&message) {
            return;
        }
    }
}

/// Files of a small host: what its kernel says, and where.
pub const FILES: &[(&str, &str)] = &[
    ("proc/stat", "cpu  100 2 30 4000 5 0 6 0 0 0\ncpu0 50 1 15 2000 2 0 3 0 0 0\ncpu1 50 1 15 2000 3 0 3 0 0 0\nbtime 1700000000\nprocesses 9\nprocs_running 1\nprocs_blocked 0\n"),
    ("proc/uptime", "1000.00 1900.00\n"),
    ("proc/loadavg", "0.10 0.20 0.30 1/200 999\n"),
    ("proc/meminfo", "MemTotal: 8000000 kB\nMemFree: 100000 kB\nMemAvailable: 5000000 kB\nBuffers: 1000 kB\nCached: 90000 kB\nSwapTotal: 1000 kB\nSwapFree: 900 kB\nShmem: 10 kB\nDirty: 4 kB\nSReclaimable: 5 kB\n"),
    ("proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU\ncpu MHz\t\t: 2000.000\nflags\t\t: fpu hypervisor\n"),
    ("proc/diskstats", " 8 0 sda 100 0 800 50 200 0 1600 70 0 100 120 0 0 0 0 0 0\n 8 1 sda1 1 0 8 5 2 0 16 7 0 10 12 0 0 0 0 0 0\n"),
    ("proc/net/dev", "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n  eth0: 1000 10 0 0 0 0 0 0 2000 20 0 0 0 0 0 0\n"),
    ("proc/net/route", "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\neth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"),
    ("proc/net/ipv6_route", "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n"),
    ("proc/net/if_inet6", "fe800000000000000000000000000001 02 40 20 80 eth0\n"),
    ("proc/self/mountinfo", "20 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n21 20 0:5 / /run rw,nosuid - tmpfs tmpfs rw,size=800000k\n"),
    ("proc/self/mounts", "/dev/sda1 / ext4 rw,relatime 0 0\n"),
    ("proc/pressure/cpu", "some avg10=0.10 avg60=0.20 avg300=0.30 total=1000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
    ("proc/pressure/memory", "some avg10=0.10 avg60=0.20 avg300=0.30 total=1000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
    ("proc/pressure/io", "some avg10=0.10 avg60=0.20 avg300=0.30 total=1000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
    ("proc/spl/kstat/zfs/arcstats", "9 1 0x01 147 39984 1 2\nname                            type data\nhits                            4    100\nmisses                          4    10\nsize                            4    4096\nc                               4    8192\nc_max                           4    16384\nc_min                           4    1024\n"),
    ("proc/1/environ", "container=lxc\0PATH=/bin\0"),
    ("proc/1/stat", "1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9 1000000 500 18446744073709551615\n"),
    ("proc/1/status", "Name:\tinit\nUid:\t0\t0\t0\t0\nThreads:\t1\nVmRSS:\t2000 kB\n"),
    ("proc/1/cgroup", "0::/init.scope\n"),
    ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
    ("proc/sys/kernel/pid_max", "4194304\n"),
    ("proc/sys/kernel/hostname", "nas\n"),
    ("proc/sys/vm/swappiness", "60\n"),
    ("proc/sys/vm/dirty_ratio", "20\n"),
    ("etc/os-release", "NAME=\"Some OS\"\nVERSION_ID=\"1\"\nID=some\nPRETTY_NAME=\"Some OS 1\"\n"),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n"),
    ("run/utmp", ""),
    ("run/systemd/sessions/1", "UID=1000\nUSER=me\nACTIVE=1\nSTATE=active\nREMOTE=0\nCLASS=user\nTTY=tty1\nREALTIME=1700000000000000\n"),
    ("run/systemd/container", "lxc\n"),
    ("sys/devices/system/cpu/online", "0-1\n"),
    ("sys/devices/system/cpu/cpufreq/policy0/affected_cpus", "0 1\n"),
    ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "2000000\n"),
    ("sys/block/sda/size", "1000000\n"),
    ("sys/block/sda/dev", "8:0\n"),
    ("sys/block/sda/queue/rotational", "1\n"),
    ("sys/block/sda/device/model", "Some Disk       \n"),
    ("sys/block/sda/device/vendor", "ATA     \n"),
    ("sys/block/sda/device/wwid", "naa.5000000000000001\n"),
    ("sys/block/sda/device/vpd_pg80", "\0\u{80}\0\u{8}SERIAL01"),
    ("sys/block/zram0/disksize", "1000000\n"),
    ("sys/block/zram0/mm_stat", "4096 74 12288 0 12288 0 0 0\n"),
    ("sys/class/net/eth0/address", "00:11:22:33:44:55\n"),
    ("sys/class/net/eth0/operstate", "up\n"),
    ("sys/class/net/eth0/speed", "1000\n"),
    ("sys/class/net/eth0/mtu", "1500\n"),
    ("sys/class/net/eth0/type", "1\n"),
    ("sys/class/net/eth0/carrier", "1\n"),
    ("sys/class/net/eth0/duplex", "full\n"),
    ("sys/class/net/eth0/uevent", "INTERFACE=eth0\nIFINDEX=2\n"),
    ("sys/class/hwmon/hwmon0/name", "coretemp\n"),
    ("sys/class/hwmon/hwmon0/temp1_input", "45000\n"),
    ("sys/class/hwmon/hwmon0/temp1_label", "Package id 0\n"),
    ("sys/class/hwmon/hwmon0/temp1_crit", "100000\n"),
    ("sys/class/hwmon/hwmon0/temp1_max", "80000\n"),
    ("sys/class/hwmon/hwmon0/fan1_input", "1200\n"),
    ("sys/class/hwmon/hwmon0/in0_input", "1100\n"),
    ("sys/class/hwmon/hwmon0/power1_average", "15000000\n"),
    ("sys/class/thermal/thermal_zone0/type", "acpitz\n"),
    ("sys/class/thermal/thermal_zone0/temp", "40000\n"),
    ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
    ("sys/class/dmi/id/product_name", "Standard PC\n"),
    ("sys/class/dmi/id/product_version", "1\n"),
    ("sys/class/dmi/id/bios_vendor", "SeaBIOS\n"),
    ("sys/class/drm/card0/device/vendor", "0x1002\n"),
    ("sys/class/drm/card0/device/uevent", "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0\n"),
    ("sys/class/drm/card0/device/gpu_busy_percent", "5\n"),
    ("sys/class/drm/card0/device/mem_info_vram_total", "8000000000\n"),
    ("sys/class/drm/card0/device/mem_info_vram_used", "1000000000\n"),
    ("sys/class/drm/card0/device/hwmon/hwmon1/temp1_input", "50000\n"),
    ("sys/class/drm/card0/device/hwmon/hwmon1/power1_average", "20000000\n"),
    ("sys/class/drm/card0/device/hwmon/hwmon1/power1_cap", "90000000\n"),
    ("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n"),
    ("sys/fs/cgroup/machine.slice/libvirt-qemu.scope/memory.current", "1000000\n"),
    ("sys/fs/cgroup/lxc/101/memory.current", "1000000\n"),
    ("sys/fs/cgroup/lxc/101/memory.max", "2000000\n"),
    ("sys/fs/cgroup/lxc/101/memory.stat", "anon 1000\nfile 2000\ninactive_file 500\n"),
    ("sys/fs/cgroup/lxc/101/cpu.stat", "usage_usec 1000\nuser_usec 600\nsystem_usec 400\n"),
    ("sys/fs/cgroup/lxc/101/io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"),
    ("sys/fs/cgroup/lxc/101/pids.current", "3\n"),
    ("sys/fs/cgroup/lxc/101/cgroup.procs", "1\n"),
    ("sys/fs/cgroup/lxc/101/memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
];

/// Writes [`FILES`] below a folder.
///
/// # Errors
/// When the folder cannot be written to.
pub fn lay_out(folder: &std::path::Path) -> std::io::Result<()> {
    for (path, contents) in FILES {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        std::fs::write(path, contents)?;
    }
    Ok(())
}
