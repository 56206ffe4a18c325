//! How to read one Linux host: from /proc, /sys and `statvfs`, and from what its
//! own tools say. A tool is started in the medium and the slow tier only, and
//! only by [`Tools`]; the network is never touched.
//!
//! Every reader takes a [`Root`], so that a copied tree can stand for a host,
//! and every parser is a pure function beside its read. Nothing here is async
//! and no number is judged: a [`Collector`] turns one source into scopes, the
//! agent does the rest. Start at [`COLLECTORS`], the one list that drives the
//! agent's schedule, its configuration, `doctor` and the documentation; to add
//! a collector, write a module with a `make` function and add its line there.

mod accounts;
mod api;
mod arc;
mod backup;
mod bounded;
mod cgroup;
mod clock;
mod cluster;
mod container;
mod counter;
mod cpu;
mod dbus;
mod disk;
mod error;
mod filesystem;
mod frequency;
mod gpu;
mod guest;
mod host;
mod interface;
mod list;
mod load;
mod memory;
mod mounts;
mod os;
mod own_probe;
mod pace;
mod peer;
mod pressure;
mod privileged;
mod probe;
mod process;
mod proxmox;
#[cfg(test)]
mod published;
mod reader;
mod recent;
mod root;
mod sensor;
mod service_disk;
mod settings;
mod smart;
mod systemd;
mod textfile;
mod tmpfs;
mod tool;
mod tree_size;
pub mod units;
mod updates;
mod users;
mod virtualisation;
mod zfs;
mod zram;

use std::time::Duration;

use tomte_model::{Moment, Scope};

pub use api::{Api, ApiAnswer, ApiCall, ApiTrust};
pub use backup::parse_anything as parse_any_backup;
pub use backup::settings::{BackupJob, BackupSettings, BackupType, BadJob};
pub use clock::{SystemClock, boot_id, clock_synchronised, hostname};
pub use cluster::{Membership, Seat, Shared, Standing};
pub use container::{Ask, BadContainerId, ContainerId, engine_sockets, fuzz_engine_answer};
pub use counter::{Counter, Width};
pub use dbus::fuzz_message as fuzz_bus_message;
pub use error::{Malformed, ReadError};
pub use gpu::fuzz_nvidia;
pub use own_probe::fuzz_probe;
pub use peer::fuzz_peers;
pub use privileged::{
    Answer, Engine, Frame, FrameError, HELPER_SOCKET, Refusal, Request, ask as ask_helper, execute, read_request,
    write_answer, write_request,
};
pub use probe::{Probe, Probed, Prober};
pub use process::fuzz_process;
pub use proxmox::get::{GuestKind, ProxmoxGet};
pub use proxmox::parse_anything as parse_any_proxmox;
pub use proxmox::settings::{BadFingerprint, BadProxmoxUrl, Fingerprint, ProxmoxSettings, ProxmoxUrl};
pub use reader::{FileReader, read_file, read_number, read_trimmed};
pub use root::{Root, Space};
pub use settings::{
    BadGlob, CheckKind, CheckSettings, ContainerSettings, CpuSettings, DiskSettings, FilesystemSettings, Filter,
    HelperSettings, InterfaceSettings, PeerSettings, Place, ProbeSettings, ProbeValue, ProcessSettings,
    ServiceSettings, Settings, SmartSettings, TextfileSettings, TmpfsSettings, ZfsSettings, read_checks, read_probes,
};
pub use smart::fuzz_smart;
pub use textfile::fuzz_textfile;
pub use tool::{Ran, RecordedTools, SystemTools, ToolCall, ToolError, Tools};
pub use updates::fuzz_packages;
pub use zfs::fuzz_zfs;

/// Reads one source. It may keep what it needs between two readings (open
/// files, the counters of the last one) and may block; it runs on a thread of
/// the agent with a small stack.
pub trait Collector: Send {
    /// Reads now. Every scope of the collector is in the answer, also those
    /// that could not be read.
    fn collect(&mut self, now: Moment) -> Vec<Scope>;

    /// What the last reading found of something that is not this host's alone.
    /// Asked after every reading.
    fn shared(&mut self) -> Option<Shared> {
        None
    }
}

/// How often a collector runs unless configured otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Every 10 s; every second while somebody watches. No directory walk here.
    Fast,
    /// Every minute.
    Medium,
    /// Every 15 minutes.
    Slow,
}

impl Tier {
    /// The name that configuration uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Medium => "medium",
            Self::Slow => "slow",
        }
    }
    /// The interval unless configured otherwise.
    #[must_use]
    pub const fn interval(self) -> Duration {
        Duration::from_secs(match self {
            Self::Fast => 10,
            Self::Medium => 60,
            Self::Slow => 900,
        })
    }
}

/// What is known of a collector before it runs.
#[derive(Debug, Clone, Copy)]
pub struct CollectorDef {
    /// Its name, in configuration and as the resource `collector:NAME`.
    pub name: &'static str,
    /// How often it runs.
    pub tier: Tier,
    /// An interval of its own in place of the tier's.
    pub interval: Option<Duration>,
    /// How long one run may take before its scopes count as failed.
    pub deadline: Duration,
    /// What it reads, one sentence.
    pub help: &'static str,
    /// What goes stale when it fails as a whole.
    pub scopes: &'static [&'static str],
    /// Makes one that has read nothing yet. Does not block.
    pub make: fn(&Root, &Settings) -> Box<dyn Collector>,
}

/// How long a run may take that reads only /proc and /sys.
const QUICK: Duration = Duration::from_secs(5);

/// Every collector of a host, in the order in which people read their results.
pub static COLLECTORS: &[CollectorDef] = &[
    CollectorDef {
        name: "host",
        tier: Tier::Medium,
        interval: None,
        deadline: QUICK,
        help: "How long the host has been up, from /proc/uptime, and who is logged in, from utmp or systemd-logind.",
        scopes: &["host", "users"],
        make: host::make,
    },
    CollectorDef {
        name: "os",
        tier: Tier::Slow,
        interval: None,
        deadline: QUICK,
        help: "The operating system, its kernel, its boot time and what it runs on, from os-release, /proc and the firmware's tables.",
        scopes: &["os"],
        make: os::make,
    },
    CollectorDef {
        name: "cpu",
        tier: Tier::Fast,
        interval: None,
        deadline: QUICK,
        help: "Processor time, all together and for each core, from /proc/stat.",
        scopes: &["cpu", "core"],
        make: cpu::make,
    },
    CollectorDef {
        name: "cpu_frequency",
        tier: Tier::Medium,
        interval: None,
        deadline: QUICK,
        help: "Clock frequencies and the processor's name, from cpufreq or /proc/cpuinfo.",
        scopes: &["cpu_frequency"],
        make: frequency::make,
    },
    CollectorDef {
        name: "load",
        tier: Tier::Fast,
        interval: None,
        deadline: QUICK,
        help: "Load averages, from /proc/loadavg.",
        scopes: &["load"],
        make: load::make,
    },
    CollectorDef {
        name: "memory",
        tier: Tier::Fast,
        interval: None,
        deadline: QUICK,
        help: "Memory and swap, from /proc/meminfo and the statistics of ZFS.",
        scopes: &["memory"],
        make: memory::make,
    },
    CollectorDef {
        name: "zram",
        tier: Tier::Medium,
        interval: None,
        deadline: QUICK,
        help: "Compressed block devices in memory, from /sys/block.",
        scopes: &["zram"],
        make: zram::make,
    },
    CollectorDef {
        name: "tmpfs",
        tier: Tier::Medium,
        interval: None,
        deadline: QUICK,
        help: "File systems in memory, from the table of mounts and statvfs.",
        scopes: &["tmpfs"],
        make: tmpfs::make,
    },
    CollectorDef {
        name: "pressure",
        tier: Tier::Fast,
        interval: None,
        deadline: QUICK,
        help: "Time lost waiting for processor, memory, disks and interrupts, from /proc/pressure.",
        scopes: pressure::SCOPES,
        make: pressure::make,
    },
    CollectorDef {
        name: "filesystem",
        tier: Tier::Medium,
        interval: None,
        deadline: Duration::from_secs(15),
        help: "How full file systems are, from the table of mounts and statvfs; each network mount on its own.",
        scopes: filesystem::SCOPES,
        make: filesystem::make,
    },
    CollectorDef {
        name: "disk",
        tier: Tier::Fast,
        interval: None,
        deadline: QUICK,
        help: "What disks move and how busy they are, from /proc/diskstats; their names from /sys/block.",
        scopes: &["disk"],
        make: disk::make,
    },
    CollectorDef {
        name: "smart",
        tier: Tier::Slow,
        interval: None,
        deadline: Duration::from_secs(300),
        help: "What disks say of their health, wear and temperature, by smartctl, one after the other; a sleeping disk is left asleep.",
        scopes: &["smart"],
        make: smart::make,
    },
    CollectorDef {
        name: "zfs",
        tier: Tier::Medium,
        interval: Some(Duration::from_secs(300)),
        deadline: Duration::from_secs(60),
        help: "ZFS pools, their devices and scrubs, datasets and snapshots, by zpool and zfs.",
        scopes: zfs::SCOPES,
        make: zfs::make,
    },
    CollectorDef {
        name: "arc",
        tier: Tier::Medium,
        interval: None,
        deadline: QUICK,
        help: "The cache of ZFS in memory, from /proc/spl/kstat/zfs/arcstats.",
        scopes: &["arc"],
        make: arc::make,
    },
    CollectorDef {
        name: "interface",
        tier: Tier::Fast,
        interval: None,
        deadline: QUICK,
        help: "What network interfaces carry, from /proc/net/dev; links, addresses and routes from /sys and /proc/net.",
        scopes: &["interface"],
        make: interface::make,
    },
    CollectorDef {
        name: "sensor",
        tier: Tier::Medium,
        interval: Some(Duration::from_secs(30)),
        deadline: QUICK,
        help: "Temperatures and fans, from /sys/class/hwmon or the thermal zones; those of drives are left to the drives.",
        scopes: &["sensor"],
        make: sensor::make,
    },
    CollectorDef {
        name: "gpu",
        tier: Tier::Medium,
        interval: None,
        deadline: Duration::from_secs(15),
        help: "Graphics processors: NVIDIA's by their driver's library or nvidia-smi, AMD's and Intel's from /sys; a sleeping one is left asleep.",
        scopes: gpu::SCOPES,
        make: gpu::make,
    },
    CollectorDef {
        name: "updates",
        tier: Tier::Slow,
        interval: None,
        deadline: Duration::from_secs(120),
        help: "Updates that wait, by apt, dnf, pacman or apk without refreshing them; NixOS's generation; whether a restart is required.",
        scopes: &["updates"],
        make: updates::make,
    },
    CollectorDef {
        name: "process",
        tier: Tier::Medium,
        interval: Some(Duration::from_secs(30)),
        deadline: Duration::from_secs(20),
        help: "Processes by state and the greediest of them, from /proc.",
        scopes: &["process"],
        make: process::make,
    },
    CollectorDef {
        name: "systemd",
        tier: Tier::Fast,
        interval: None,
        deadline: QUICK,
        help: "Services and timers, from systemd over the system bus; what services use, from their control groups.",
        scopes: systemd::SCOPES,
        make: systemd::make,
    },
    CollectorDef {
        name: "service_disk",
        tier: Tier::Slow,
        interval: None,
        deadline: Duration::from_secs(600),
        help: "What services keep on disk, by walking their directories, slowly and without waking a disk.",
        scopes: service_disk::SCOPES,
        make: service_disk::make,
    },
    CollectorDef {
        name: "container",
        tier: Tier::Fast,
        interval: None,
        deadline: Duration::from_secs(10),
        help: "Containers, from the sockets of Docker and Podman; what they use, from their control groups.",
        scopes: container::SCOPES,
        make: container::make,
    },
    CollectorDef {
        name: "container_disk",
        tier: Tier::Slow,
        interval: None,
        deadline: Duration::from_secs(300),
        help: "What images, volumes, containers and build caches take on disk, from Docker and Podman.",
        scopes: container::DISK_SCOPES,
        make: container::make_disk,
    },
    CollectorDef {
        name: "guest",
        tier: Tier::Fast,
        interval: None,
        deadline: QUICK,
        help: "Virtual machines and system containers of LXC, libvirt, systemd-nspawn and Proxmox, from their control groups.",
        scopes: &["guest"],
        make: guest::make,
    },
    CollectorDef {
        name: "proxmox",
        tier: Tier::Medium,
        interval: None,
        deadline: Duration::from_secs(50),
        help: "Proxmox VE: nodes, cluster and quorum, storages, and what guests do, from its web API or by pvesh.",
        scopes: proxmox::SCOPES,
        make: proxmox::make,
    },
    CollectorDef {
        name: "proxmox_guest",
        tier: Tier::Slow,
        interval: None,
        deadline: Duration::from_secs(10 * 60),
        help: "Proxmox VE: what guests are set up for, their addresses and backups, replications, and tasks that failed.",
        scopes: proxmox::SLOW_SCOPES,
        make: proxmox::make_slow,
    },
    CollectorDef {
        name: "backup",
        tier: Tier::Slow,
        interval: None,
        deadline: Duration::from_secs(10 * 60),
        help: "Backups: restic and borg repositories, ZFS snapshots, timers of systemd, and status files that jobs leave; each repository once an hour.",
        scopes: &["backup"],
        make: backup::make,
    },
    CollectorDef {
        name: "backup_check",
        tier: Tier::Slow,
        interval: None,
        deadline: Duration::from_secs(60 * 60),
        help: "Whether repositories are damaged, by restic check and borg check, where `check_every` asks for it.",
        scopes: &["backup_check"],
        make: backup::check::make,
    },
    CollectorDef {
        name: "peer",
        tier: Tier::Medium,
        interval: None,
        deadline: Duration::from_secs(60),
        help: "Peers in WireGuard and Tailscale networks, from wg, which the helper runs, and tailscale.",
        scopes: peer::SCOPES,
        make: peer::make,
    },
    CollectorDef {
        name: "probe",
        tier: Tier::Medium,
        interval: None,
        deadline: Duration::from_secs(300),
        help: "Commands that the host's own file declares, as sensors.",
        scopes: own_probe::SCOPES,
        make: own_probe::make,
    },
    CollectorDef {
        name: "textfile",
        tier: Tier::Medium,
        interval: None,
        deadline: QUICK,
        help: "Metrics of other programs, from files in Prometheus's text format.",
        scopes: textfile::SCOPES,
        make: textfile::make,
    },
];
