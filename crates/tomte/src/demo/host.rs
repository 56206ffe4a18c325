//! A simulated host: what its collectors would see at a moment.
//!
//! Everything follows from the host's number and the time, so that a demo looks
//! the same each time it is started and a test can ask for any moment. Only the
//! readings are made up; they go through the agent's own pipeline and link.

use fastrand::Rng;
use tomte_model::report::Table;
use tomte_model::{Facet, Moment, Scope, Value};

/// What kind of machine a host plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Nas,
    Hypervisor,
    Web,
    Pi,
    Media,
    Router,
}

impl Role {
    const ALL: [Self; 6] = [Self::Nas, Self::Hypervisor, Self::Web, Self::Pi, Self::Media, Self::Router];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Nas => "nas",
            Self::Hypervisor => "pve",
            Self::Web => "web",
            Self::Pi => "pi",
            Self::Media => "media",
            Self::Router => "router",
        }
    }
}

/// What is special about a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    /// Nothing.
    Calm,
    /// A filesystem runs full and a disk is slow.
    Failing,
    /// The connection comes and goes.
    Flapping,
    /// Reports for a moment, then is never heard of again.
    Offline,
}

/// The fixed features of a simulated host.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedHost {
    pub(crate) number: u32,
    /// How many there are.
    pub(super) hosts: u32,
    pub(crate) role: Role,
    pub(crate) story: Story,
    cores: u32,
    pub(super) memory_bytes: f64,
    /// Load that is there day and night, as a part of all cores.
    base_load: f64,
    pub(super) disks: Vec<(String, f64)>,
    mounts: Vec<(String, String, f64, f64)>,
}

impl SimulatedHost {
    /// Host `number` of `count`. The last ones carry the stories, so that small
    /// demos have them too (as far as there are hosts enough).
    pub(crate) fn new(number: u32, count: u32) -> Self {
        let mut rng = Rng::with_seed(0x70_6d_74_65 ^ u64::from(number));
        let role = Role::ALL[number as usize % Role::ALL.len()];
        let story = match count - number {
            1 if count > 1 => Story::Offline,
            2 if count > 2 => Story::Flapping,
            3 if count > 3 => Story::Failing,
            _ => Story::Calm,
        };
        let (cores, gib, disks) = match role {
            Role::Nas => (4, 16.0, 5),
            Role::Hypervisor => (16, 128.0, 3),
            Role::Web => (4, 8.0, 1),
            Role::Pi => (4, 4.0, 1),
            Role::Media => (8, 32.0, 2),
            Role::Router => (2, 2.0, 1),
        };
        let disks: Vec<(String, f64)> = (0..disks)
            .map(|disk| {
                let solid = disk == 0 || role != Role::Nas;
                let wwn = format!("0x5000c500{:08x}", rng.u32(..));
                (wwn, if solid { 1e12 } else { 16e12 })
            })
            .collect();
        let mut mounts = vec![("/".to_owned(), "/dev/sda2".to_owned(), 1e11, rng.f64() * 0.4 + 0.2)];
        if role == Role::Nas {
            mounts.push(("/srv/tank".into(), "tank".into(), 60e12, 0.71));
            mounts.push(("/srv/backup".into(), "/dev/md1".into(), 16e12, 0.55));
        }
        if role == Role::Media {
            mounts.push(("/srv/media".into(), "/dev/sdb1".into(), 8e12, 0.78));
        }
        Self {
            number,
            hosts: count,
            role,
            story,
            cores,
            memory_bytes: gib * 1024.0 * 1024.0 * 1024.0,
            base_load: rng.f64() * 0.2 + 0.03,
            disks,
            mounts,
        }
    }

    /// The roles that an administrator would give it.
    pub(crate) fn roles(&self) -> Vec<String> {
        let more = (self.role == Role::Hypervisor).then(|| "proxmox".to_owned());
        std::iter::once(self.role.as_str().to_owned()).chain(more).collect()
    }

    /// Its name: `nas-1`, `pi-3`.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.role.as_str(), self.number / Role::ALL.len() as u32 + 1)
    }

    /// Noise for this host, this purpose and this moment: the same when asked again.
    pub(super) fn noise(&self, purpose: u64, tick: i64) -> f64 {
        let seed = u64::from(self.number) << 40 ^ purpose << 32 ^ tick.cast_unsigned();
        // The first draw of neighbouring seeds is too much alike.
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        rng.u64(..);
        rng.f64() * 2.0 - 1.0
    }

    /// How busy the host is, 0 to 1: its base, the time of day, slow swings, noise.
    pub(super) fn busy(&self, now: Moment) -> f64 {
        let seconds = now.wall.millis() as f64 / 1000.0;
        let phase = f64::from(self.number) * 0.7;
        let day = (seconds / 86_400.0 * std::f64::consts::TAU + phase).sin() * 0.35 + 1.0;
        let swing = (seconds / 420.0 + phase).sin() * 0.2 + 1.0;
        let noise = 1.0 + 0.15 * self.noise(1, now.wall.millis() / 1000);
        let burst = if self.noise(2, now.wall.millis() / 45_000) > 0.85 { 0.45 } else { 0.0 };
        (self.base_load * day * swing * noise + burst).clamp(0.002, 0.98)
    }

    /// What the collectors see, each with its name.
    pub(crate) fn observe(&self, now: Moment) -> Vec<(&'static str, Vec<Scope>)> {
        let mut seen = vec![
            ("cpu", self.cpu(now)),
            ("load", vec![Scope::complete("load", vec![self.load(now)])]),
            ("memory", vec![Scope::complete("memory", vec![self.memory(now)])]),
            ("pressure", vec![Scope::complete("pressure", self.pressure(now))]),
            ("filesystem", vec![Scope::complete("filesystem", self.filesystems(now))]),
            ("disk", vec![Scope::complete("disk", self.disk_io(now))]),
            ("interface", vec![Scope::complete("interface", self.interfaces(now))]),
            ("sensor", vec![Scope::complete("sensor", self.sensors(now))]),
            ("process", vec![Scope::complete("process", vec![self.processes(now)])]),
            ("host", vec![Scope::complete("host", self.host(now))]),
            ("os", vec![Scope::complete("os", vec![self.os()])]),
            ("smart", self.smart(now)),
            ("zfs", self.zfs(now)),
            ("arc", self.arc(now)),
            ("gpu", self.gpus(now)),
            ("updates", self.updates(now)),
            ("systemd", self.systemd(now)),
            ("service_disk", self.service_disk()),
            ("container", self.containers(now)),
            ("container_disk", self.container_disk()),
            ("proxmox", self.proxmox(now)),
            ("proxmox_backup", self.guest_backups(now)),
            ("backup", self.backups(now)),
            ("check", self.checks(now)),
            ("probe", self.probes(now)),
            ("textfile", self.textfiles(now)),
        ];
        seen.retain(|(_, scopes)| !scopes.is_empty());
        seen
    }

    fn cpu(&self, now: Moment) -> Vec<Scope> {
        let busy = self.busy(now);
        let mut cpu = Facet::owner("cpu", "cpu", "main");
        cpu.read("usage_ratio", busy);
        cpu.read("user_ratio", busy * 0.7);
        cpu.read("system_ratio", busy * 0.2);
        cpu.read("iowait_ratio", if self.story == Story::Failing { 0.3 } else { busy * 0.03 });
        cpu.read("steal_ratio", 0.0);
        let mut frequency = Facet::extra("cpu", "cpu", "frequency");
        frequency.read("frequency_hertz", 1.2e9 + busy * 2.4e9);
        let cores = (0..self.cores)
            .map(|core| {
                let mut facet = Facet::owner("core", core.to_string(), "main");
                let share = 1.0 + 0.5 * self.noise(10 + u64::from(core), now.wall.millis() / 1000);
                facet.read("usage_ratio", (busy * share).clamp(0.0, 1.0));
                facet
            })
            .collect();
        vec![Scope::complete("cpu", vec![cpu, frequency]), Scope::complete("core", cores)]
    }

    fn load(&self, now: Moment) -> Facet {
        let cores = f64::from(self.cores);
        let mut load = Facet::owner("load", "load", "main");
        for (field, seconds) in [("load1", 60), ("load5", 300), ("load15", 900)] {
            let mean: f64 = (0..6_u8)
                .map(|step| {
                    let back = i64::from(step) * seconds * 1000 / 6;
                    let then = Moment { wall: tomte_model::Timestamp::from_millis(now.wall.millis() - back), ..now };
                    self.busy(then)
                })
                .sum::<f64>()
                / 6.0;
            load.read(field, mean * cores);
        }
        load
    }

    fn memory(&self, now: Moment) -> Facet {
        let used = self.memory_bytes * (0.35 + 0.3 * self.busy(now));
        let cached = self.memory_bytes * 0.22;
        let mut memory = Facet::owner("memory", "memory", "main");
        memory.read("total_bytes", self.memory_bytes);
        memory.read("used_bytes", used);
        memory.read("available_bytes", self.memory_bytes - used);
        memory.read("used_ratio", used / self.memory_bytes);
        memory.read("cached_bytes", cached);
        memory.read("buffers_bytes", self.memory_bytes * 0.01);
        memory.read("dirty_bytes", 4096.0 * (200.0 + 150.0 * self.noise(3, now.wall.millis() / 1000)).round());
        memory.read("swap_total_bytes", 2147483648.0);
        memory.read("swap_used_bytes", 2147483648.0 * 0.04);
        memory
    }

    fn pressure(&self, now: Moment) -> Vec<Facet> {
        let busy = self.busy(now);
        [("cpu", busy * 0.2), ("memory", 0.0), ("io", if self.story == Story::Failing { 0.35 } else { busy * 0.02 })]
            .into_iter()
            .map(|(name, some)| {
                let mut facet = Facet::owner("pressure", name, "main");
                facet.read("some_avg10_ratio", some);
                facet.read("some_avg60_ratio", some * 0.9);
                facet.read("some_avg300_ratio", some * 0.8);
                facet
            })
            .collect()
    }

    fn filesystems(&self, now: Moment) -> Vec<Facet> {
        self.mounts
            .iter()
            .map(|(mount, device, size, used)| {
                let ratio = if self.story == Story::Failing && mount == "/" {
                    0.97
                } else {
                    used + 0.004 * (now.wall.millis() as f64 / 3.6e6).sin()
                };
                let mut facet = Facet::owner("filesystem", mount.clone(), "main");
                facet.text("device", device.clone());
                facet.text("type", if mount == "/srv/tank" { "zfs" } else { "ext4" });
                facet.read("size_bytes", *size);
                facet.read("used_bytes", size * ratio);
                facet.read("available_bytes", size * (1.0 - ratio));
                facet.read("used_ratio", ratio);
                facet.read("inodes_used_ratio", ratio * 0.3);
                facet
            })
            .collect()
    }

    fn disk_io(&self, now: Moment) -> Vec<Facet> {
        let busy = self.busy(now);
        (0_u64..)
            .zip(&self.disks)
            .map(|(number, (wwn, size))| {
                let work = (busy * (1.0 + 0.6 * self.noise(40 + number, now.wall.millis() / 1000))).max(0.0);
                let slow = if self.story == Story::Failing && number == 0 { 40.0 } else { 1.0 };
                let mut facet = Facet::owner("disk", wwn.clone(), "io");
                facet.text("device", format!("sd{}", char::from(b'a' + u8::try_from(number).unwrap_or(25))));
                facet.text("model", if *size > 2e12 { "EXAMPLE HDD 16TB" } else { "EXAMPLE SSD 1TB" });
                facet.flag("rotational", *size > 2e12);
                facet.read("size_bytes", *size);
                facet.read("read_bytes_per_second", (work * 2.1e7).round());
                facet.read("write_bytes_per_second", (work * 1.4e7).round());
                facet.read("reads_per_second", work * 240.0);
                facet.read("writes_per_second", work * 180.0);
                facet.read("utilisation_ratio", (work * 0.4 * slow).min(1.0));
                facet.read("read_await_seconds", 0.0008 * slow);
                facet.read("write_await_seconds", 0.0012 * slow);
                facet
            })
            .collect()
    }

    fn interfaces(&self, now: Moment) -> Vec<Facet> {
        let traffic = self.busy(now) * if self.role == Role::Router { 4e7 } else { 6e6 };
        let mut facet = Facet::owner("interface", "eth0", "main");
        facet.text("state", "up");
        facet.flag("default_route", true);
        facet.text("addresses", format!("192.0.2.{}", self.number % 250 + 1));
        facet.read("speed_bytes_per_second", 1.25e8);
        facet.read("receive_bytes_per_second", traffic.round());
        facet.read("transmit_bytes_per_second", (traffic * 0.6).round());
        facet.read("receive_packets_per_second", (traffic / 900.0).round());
        facet.read("transmit_packets_per_second", (traffic / 1100.0).round());
        facet.read("receive_errors_per_second", 0.0);
        facet.read("transmit_errors_per_second", 0.0);
        facet.read("receive_drops_per_second", 0.0);
        facet.read("transmit_drops_per_second", 0.0);
        vec![facet]
    }

    fn sensors(&self, now: Moment) -> Vec<Facet> {
        let busy = self.busy(now);
        let mut cpu = Facet::owner("sensor", "coretemp/Package id 0", "main");
        cpu.read("temperature_celsius", 34.0 + busy * 38.0);
        let mut facets = vec![cpu];
        if matches!(self.role, Role::Nas | Role::Hypervisor) {
            let mut fan = Facet::owner("sensor", "nct6798/fan1", "main");
            fan.read("fan_rpm", (600.0 + busy * 900.0).round());
            facets.push(fan);
        }
        facets
    }

    fn processes(&self, now: Moment) -> Facet {
        let total = 110.0 + f64::from(self.cores) * 6.0 + (4.0 * self.noise(5, now.wall.millis() / 30_000)).round();
        let mut facet = Facet::owner("process", "processes", "main");
        facet.read("processes", total);
        facet.read("running", (self.busy(now) * f64::from(self.cores)).ceil());
        facet.read("sleeping", total - 2.0);
        facet.read("blocked", if self.story == Story::Failing { 6.0 } else { 0.0 });
        facet.read("zombies", 0.0);
        let names: &[&str] = match self.role {
            Role::Nas => &["smbd", "zfs", "node"],
            Role::Hypervisor => &["kvm", "pvestatd", "corosync"],
            Role::Web => &["nginx", "postgres", "redis-server"],
            Role::Pi => &["python3", "mosquitto", "zigbee2mqtt"],
            Role::Media => &["jellyfin", "ffmpeg", "dockerd"],
            Role::Router => &["unbound", "kresd", "wg-crypt"],
        };
        let rows = (1_u32..)
            .zip(names)
            .map(|(n, name)| {
                vec![
                    Some(Value::Number(f64::from(1000 + n))),
                    Some(Value::Text((*name).to_owned())),
                    Some(Value::Text("root".to_owned())),
                    Some(Value::Number((self.busy(now) / f64::from(n) * 1e4).round() / 1e4)),
                    Some(Value::Number((self.memory_bytes * 0.1 / f64::from(n)).round())),
                    Some(Value::Bool(false)),
                ]
            })
            .collect::<Vec<_>>();
        let columns = ["pid", "name", "user", "cpu_ratio", "resident_bytes", "own"].map(Into::into).to_vec();
        facet.tables.push(Table { name: "top_by_cpu".into(), columns: columns.clone(), rows: rows.clone() });
        facet.tables.push(Table { name: "top_by_memory".into(), columns, rows });
        facet
    }

    fn host(&self, now: Moment) -> Vec<Facet> {
        let mut facet = Facet::owner("host", "host", "main");
        facet.read("uptime_seconds", (now.boot_millis / 1000) as f64);
        let mut users = Facet::extra("host", "host", "users");
        users.read("users_logged_in", if self.number.is_multiple_of(3) { 1.0 } else { 0.0 });
        vec![facet, users]
    }

    fn os(&self) -> Facet {
        let mut facet = Facet::owner("os", "os", "main");
        let (name, version) = match self.role {
            Role::Hypervisor => ("Proxmox VE", "9.1"),
            Role::Router => ("Alpine Linux", "3.23"),
            _ => ("Debian GNU/Linux", "13"),
        };
        facet.text("name", name);
        facet.text("version", version);
        facet.text("kernel", "6.12.57");
        facet.text("architecture", if self.role == Role::Pi { "aarch64" } else { "x86_64" });
        facet
    }
}

#[cfg(test)]
mod tests {
    use tomte_model::{Catalogue, Timestamp};

    use super::*;

    #[test]
    fn names_are_unique_and_the_stories_are_told() {
        let hosts: Vec<_> = (0..25).map(|n| SimulatedHost::new(n, 25)).collect();
        let mut names: Vec<_> = hosts.iter().map(SimulatedHost::name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 25);
        for story in [Story::Failing, Story::Flapping, Story::Offline] {
            assert_eq!(hosts.iter().filter(|h| h.story == story).count(), 1, "{story:?}");
        }
        assert_eq!(SimulatedHost::new(0, 1).story, Story::Calm);
    }

    #[test]
    fn every_reading_attribute_and_table_is_in_the_catalogue() {
        let catalogue = Catalogue::builtin();
        let now = Moment { wall: Timestamp::from_millis(1_790_000_000_000), boot_millis: 86_400_000 };
        let mut foreign = std::collections::BTreeSet::new();
        for host in (0..12).map(|n| SimulatedHost::new(n, 12)) {
            for facet in host.observe(now).into_iter().flat_map(|(_, scopes)| scopes).flat_map(|s| s.facets) {
                let Some(kind) = catalogue.kind(&facet.resource.kind) else {
                    foreign.insert(format!("kind {}", facet.resource.kind));
                    continue;
                };
                let known = kind.facets.iter().find(|f| f.name == facet.name);
                if known.is_none_or(|known| known.owner != facet.owner) {
                    foreign.insert(format!("facet {}/{}", kind.name, facet.name));
                }
                for (field, value) in &facet.readings {
                    if kind.field(field).is_none_or(|known| known.facet != facet.name) {
                        foreign.insert(format!("field {}/{field} in {}", kind.name, facet.name));
                    }
                    assert!(value.is_finite() && *value >= 0.0);
                }
                for (attribute, _) in &facet.attributes {
                    if !kind.attributes.iter().any(|a| a.name == *attribute && a.facet == facet.name) {
                        foreign.insert(format!("attribute {}/{attribute}", kind.name));
                    }
                }
                for table in &facet.tables {
                    let known = kind.tables.iter().find(|t| t.name == table.name).expect("a known table");
                    let columns: Vec<_> = known.columns.iter().map(|(name, _)| name.clone()).collect();
                    assert_eq!(columns, table.columns);
                }
            }
        }
        assert!(foreign.is_empty(), "not in the catalogue: {foreign:#?}");
    }
}
