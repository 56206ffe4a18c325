//! Readings like those of a small server with six containers: 150 of them, in
//! a mix and with a noise that are believable, the same in every run.
//!
//! Per host: 51 rates in bursts, 27 shares, 22 counts, 14 that are always
//! zero, 13 sizes that wander, 11 temperatures and core shares, 6 that never
//! change, 4 that drift, 1 that rises, 1 that hardly ever changes. One step is
//! 30 s of the host's life, whatever pace it is sent at. Readings are rounded
//! to what the catalogue says, as an agent does.

use std::borrow::Cow;
use std::collections::HashMap;
use std::f64::consts::TAU;

use fastrand::Rng;
use tomte_model::catalogue::{FacetDef, FieldDef, KindDef, Resolution, Unit};
use tomte_model::{Catalogue, Facet, Name, Scope};

/// How many readings a host has.
pub(crate) const READINGS: usize = 150;
/// A page of memory.
const PAGE: f64 = 4096.0;
const GIB: f64 = 1_073_741_824.0;

/// Draws that `fastrand` does not have.
trait Draw {
    fn between(&mut self, low: f64, high: f64) -> f64;
    fn normal(&mut self) -> f64;
    fn burst(&mut self, probability: f64, scale: f64) -> f64;
    fn poisson(&mut self, mean: f64) -> f64;
}

impl Draw for Rng {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.f64()
    }
    /// Mean 0, deviation 1.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.f64().max(1e-12).ln()).sqrt() * (TAU * self.f64()).cos()
    }
    /// Zero, or now and then a burst of log-normal size.
    fn burst(&mut self, probability: f64, scale: f64) -> f64 {
        if self.f64() < probability { (self.normal() * 1.2).exp() * scale } else { 0.0 }
    }
    fn poisson(&mut self, mean: f64) -> f64 {
        let (limit, mut product, mut count) = ((-mean).exp(), self.f64(), 0.0);
        while product > limit {
            product *= self.f64();
            count += 1.0;
        }
        count
    }
}

/// Noise that returns to its mean.
#[derive(Debug, Clone, Copy)]
struct Wander {
    keep: f64,
    size: f64,
    at: f64,
}

impl Wander {
    fn new(pull: f64, size: f64) -> Self {
        Self { keep: 1.0 - pull, size, at: 0.0 }
    }
    fn next(&mut self, rng: &mut Rng) -> f64 {
        self.at = self.keep * self.at + rng.normal() * self.size;
        self.at
    }
}

struct Disk {
    name: String,
    active: f64,
    write: f64,
    read: f64,
}

struct Mount {
    name: &'static str,
    size: f64,
    used: f64,
    inodes: f64,
}

struct Interface {
    name: &'static str,
    base: f64,
}

struct Container {
    name: String,
    cpu: f64,
    memory: f64,
    walk: f64,
}

/// A simulated host.
pub(crate) struct Host {
    rng: Rng,
    step: u64,
    phase: f64,
    base: f64,
    user: Wander,
    loads: [f64; 3],
    memory: f64,
    memory_part: f64,
    memory_walk: f64,
    cached_walk: f64,
    slab_walk: f64,
    buffers: f64,
    swap: f64,
    disks: Vec<Disk>,
    mounts: Vec<Mount>,
    interfaces: Vec<Interface>,
    sensors: Vec<(f64, Wander)>,
    processes: (f64, Wander),
    files: Wander,
    uptime: f64,
    switches: (f64, f64),
    tcp: Vec<(&'static str, f64, Wander)>,
    sockets: Vec<(&'static str, f64, Wander)>,
    containers: Vec<Container>,
    resolutions: HashMap<(Name, Name), Resolution>,
    jittered: bool,
}

/// How much two moments of an agent are further apart than they should be, as
/// a deviation in seconds.
const JITTER: f64 = 0.0042;

impl Host {
    /// The same host with rates as real agents work them out: what was counted,
    /// divided by an interval that is never exactly 30 s.
    pub(crate) fn jittered(number: u64) -> Self {
        Self { jittered: true, ..Self::new(number) }
    }

    /// Host `number`; the same number makes the same host.
    pub(crate) fn new(number: u64) -> Self {
        // Neighbouring seeds would begin alike.
        let mut rng = Rng::with_seed((number + 42).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let rng = &mut rng;
        let idles = rng.f64() < 0.35;
        let base = if idles { rng.between(2.0, 8.0) } else { rng.between(10.0, 55.0) };
        let names = ["0x5000c500a1b2c3d4", "0x5000c500a1b2c3d5", "eui.0025385b71b00a01"];
        let disks = names.map(|name| Disk {
            name: format!("{name}{number:04x}"),
            active: rng.between(0.1, 0.95),
            write: rng.between(1e4, 5e5),
            read: rng.between(5e3, 3e5),
        });
        let mounts = ["/", "/boot", "/var", "/data"].map(|name| {
            let size = [1.0, 20.0, 100.0, 500.0][rng.usize(..4)] * GIB;
            Mount { name, size, used: size * rng.between(0.1, 0.8), inodes: 1e5 }
        });
        let interfaces = ["eth0", "eth1", "lo"].map(|name| {
            let base = if name == "eth1" { rng.between(0.0, 200.0) } else { rng.between(500.0, 3e6) };
            Interface { name, base }
        });
        let tcp = [
            ("established", 80.0),
            ("time_wait", 40.0),
            ("listen", 0.0),
            ("syn_received", 0.05),
            ("close_wait", 0.3),
            ("fin_wait", 0.5),
        ];
        let sockets = [("tcp", 120.0), ("udp", 9.0), ("unix", 300.0), ("time_wait", 40.0)];
        let containers = (0..6).map(|index| Container {
            name: format!("app{index}"),
            cpu: rng.between(0.05, 12.0),
            memory: rng.between(2e7, 2e9),
            walk: 0.0,
        });
        let containers = containers.collect();
        let wandering = |list: &[(&'static str, f64)], part: f64| {
            list.iter().map(|(name, mean)| (*name, *mean, Wander::new(0.1, mean.sqrt() * part))).collect()
        };
        let resolutions = catalogue()
            .kinds()
            .flat_map(|kind| kind.fields.iter().map(|f| ((kind.name.clone(), f.name.clone()), f.resolution)))
            .collect();
        Self {
            step: 0,
            phase: rng.between(0.0, 6.0),
            base,
            user: Wander::new(0.1, base * 0.06),
            loads: [base / 100.0 * 10.0; 3],
            memory: [4.0, 8.0, 16.0, 32.0, 64.0][rng.usize(..5)] * GIB,
            memory_part: rng.between(0.2, 0.7),
            memory_walk: 0.0,
            cached_walk: 0.0,
            slab_walk: 0.0,
            buffers: 0.0,
            swap: 0.0,
            disks: disks.into(),
            mounts: mounts.into(),
            interfaces: interfaces.into(),
            sensors: (0..6).map(|_| (rng.between(30.0, 50.0), Wander::new(0.1, 0.3))).collect(),
            processes: (rng.between(120.0, 400.0), Wander::new(0.05, 2.0)),
            files: Wander::new(0.02, 20.0),
            uptime: (1e6 * rng.f64()).floor(),
            switches: (rng.between(500.0, 2e4), rng.between(300.0, 1e4)),
            tcp: wandering(&tcp, 1.0),
            sockets: wandering(&sockets, 0.5),
            containers,
            resolutions,
            jittered: false,
            rng: rng.clone(),
        }
    }

    /// What its collectors see next, by collector: 150 readings in all.
    pub(crate) fn next(&mut self) -> Vec<(&'static str, Vec<Facet>)> {
        let day = (self.step as f64 * 30.0 / 86_400.0 * TAU + self.phase).sin();
        self.step += 1;
        let (busy, cpu) = self.cpu(day);
        let mut seen = vec![
            ("cpu", cpu),
            ("load", vec![self.load(busy)]),
            ("memory", vec![self.memory(day)]),
            ("disk", self.disks()),
            ("filesystem", self.filesystems()),
            ("interface", self.interfaces(day)),
            ("sensor", self.sensors(busy)),
            ("process", self.processes()),
            ("socket", self.sockets(day)),
            ("container", self.containers(day)),
        ];
        let stretch = if self.jittered { 30.0 / (30.0 + JITTER * self.rng.normal()) } else { 1.0 };
        for facet in seen.iter_mut().flat_map(|(_, facets)| facets) {
            let kind = facet.resource.kind.clone();
            for (field, value) in &mut facet.readings {
                if field.ends_with("_per_second") {
                    *value *= stretch;
                }
                if let Some(resolution) = self.resolutions.get(&(kind.clone(), field.clone())) {
                    *value = resolution.round(*value).unwrap_or(*value);
                }
            }
        }
        seen
    }

    /// The same in one scope, as if one collector saw it all.
    pub(crate) fn next_whole(&mut self) -> Scope {
        Scope::complete("bench", self.next().into_iter().flat_map(|(_, facets)| facets).collect())
    }

    /// Also returns how busy user and system are together, in per cent.
    fn cpu(&mut self, day: f64) -> (f64, Vec<Facet>) {
        let rng = &mut self.rng;
        let noise = self.user.next(rng) + rng.normal() * self.base * 0.08;
        let user = (self.base * (1.0 + 0.4 * day) + noise).clamp(0.1, 96.0);
        let system = (user * 0.25 + rng.normal() * 0.3).clamp(0.0, 100.0);
        let iowait = rng.burst(0.2, 0.5).clamp(0.0, 30.0);
        let softirq = (0.2 + rng.normal() * 0.05).clamp(0.0, 5.0);
        let fit = (99.9 / (user + system + iowait + softirq)).min(1.0) / 100.0;
        let mut cpu = Facet::owner("cpu", "cpu", "main");
        cpu.read("usage_ratio", (user + system + softirq) * fit);
        cpu.read("user_ratio", user * fit);
        cpu.read("system_ratio", system * fit);
        cpu.read("iowait_ratio", iowait * fit);
        cpu.read("steal_ratio", 0.0);
        let mut kernel = Facet::owner("bench_kernel", "kernel", "main");
        kernel.read("softirq_ratio", softirq * fit);
        kernel.read("nice_ratio", 0.0);
        kernel.read("context_switches_per_second", self.switches.0 * (1.0 + user / 50.0) * (0.05 * rng.normal()).exp());
        kernel.read("interrupts_per_second", self.switches.1 * (1.0 + user / 50.0) * (0.05 * rng.normal()).exp());
        kernel.read("forks_per_second", rng.poisson(60.0) / 30.0);
        let busy = (user + system).min(100.0);
        let mut facets = vec![cpu, kernel];
        for core in 0..8 {
            let mut facet = Facet::owner("core", core.to_string(), "main");
            // To a tenth of a per cent.
            let usage = (busy * (1.0 + 0.15 * rng.normal())).clamp(0.0, 100.0);
            facet.read("usage_ratio", (usage * 10.0).round() / 1000.0);
            facets.push(facet);
        }
        (busy, facets)
    }

    fn load(&mut self, busy: f64) -> Facet {
        let now = (busy / 100.0 * 8.0 * (1.0 + 0.1 * self.rng.normal())).max(0.0);
        let mut facet = Facet::owner("load", "load", "main");
        for ((load, pull), field) in self.loads.iter_mut().zip([0.4, 0.095, 0.033]).zip(["load1", "load5", "load15"]) {
            *load += pull * (now - *load);
            facet.read(field, *load);
        }
        facet
    }

    fn memory(&mut self, day: f64) -> Facet {
        let (rng, total) = (&mut self.rng, self.memory);
        let pages = |bytes: f64| (bytes / PAGE).floor() * PAGE;
        self.memory_walk += rng.normal() * 0.7 * 1_048_576.0;
        self.cached_walk += rng.normal() * 2.0 * 1_048_576.0;
        self.slab_walk += rng.normal() * 3e4;
        self.buffers += rng.burst(0.05, 4096.0);
        self.swap += rng.burst(0.003, 2e5);
        let used = (total * (self.memory_part + 0.05 * day) + self.memory_walk).clamp(total * 0.05, total * 0.97);
        let cached = (total * 0.2 + self.cached_walk).clamp(67_108_864.0, total * 0.28);
        let mut facet = Facet::owner("memory", "memory", "main");
        for (field, bytes) in [
            ("total_bytes", total),
            ("used_bytes", used),
            ("free_bytes", (total - used - cached).max(16_777_216.0)),
            ("available_bytes", total - used),
            ("buffers_bytes", total * 0.01 + self.buffers),
            ("cached_bytes", cached),
            ("shared_bytes", total * 0.02 + self.slab_walk),
            ("dirty_bytes", rng.burst(0.8, 2e5)),
            ("swap_total_bytes", 2.0 * GIB),
            ("swap_used_bytes", self.swap),
            ("writeback_bytes", 0.0),
            ("zfs_arc_bytes", 0.0),
        ] {
            facet.read(field, pages(bytes));
        }
        facet.read("used_ratio", used / total);
        facet
    }

    fn disks(&mut self) -> Vec<Facet> {
        let rng = &mut self.rng;
        let look = |disk: &Disk| {
            // Whole sectors, in 30 s.
            let sectors = |rate: f64| (rate * 30.0 / 512.0).floor() * 512.0 / 30.0;
            let write = sectors(rng.burst(disk.active, disk.write));
            let read = sectors(rng.burst(disk.active * 0.3, disk.read));
            let mut facet = Facet::owner("disk", disk.name.clone(), "io");
            facet.read("read_bytes_per_second", read);
            facet.read("write_bytes_per_second", write);
            facet.read("reads_per_second", (read / 16_384.0 * 30.0).ceil() / 30.0);
            facet.read("writes_per_second", (write / 8_192.0 * 30.0).ceil() / 30.0);
            facet.read("utilisation_ratio", (write / 2e6 * 0.1).clamp(0.0, 1.0));
            let waited = if write > 0.0 { 0.4 + rng.normal().abs() * 0.6 } else { 0.0 };
            facet.read("write_await_seconds", (waited * 100.0).round() / 1e5);
            facet
        };
        self.disks.iter().map(look).collect()
    }

    fn filesystems(&mut self) -> Vec<Facet> {
        let rng = &mut self.rng;
        let look = |mount: &mut Mount| {
            if mount.name != "/boot" {
                let blocks = rng.burst(0.5, 40.0).floor() * if mount.name == "/data" { 5.0 } else { 1.0 };
                mount.used = (mount.used + blocks * PAGE).min(mount.size);
                if rng.f64() < 0.3 {
                    mount.inodes += f64::from(rng.i32(-2..4));
                }
            }
            let mut facet = Facet::owner("filesystem", mount.name, "main");
            facet.read("size_bytes", mount.size);
            facet.read("used_bytes", (mount.used / PAGE).floor() * PAGE);
            facet.read("used_ratio", mount.used / mount.size);
            facet.read("inodes_used", mount.inodes);
            facet
        };
        self.mounts.iter_mut().map(look).collect()
    }

    fn interfaces(&mut self, day: f64) -> Vec<Facet> {
        let rng = &mut self.rng;
        let look = |interface: &Interface| {
            let whole = |rate: f64| (rate * 30.0).floor() / 30.0;
            let receive = (interface.base * (1.0 + 0.5 * day) * (rng.normal() * 0.3).exp()).max(0.0);
            let transmit = whole(receive * rng.between(0.1, 1.2) * (rng.normal() * 0.1).exp());
            let receive = whole(receive);
            let mut facet = Facet::owner("interface", interface.name, "main");
            facet.read("receive_bytes_per_second", receive);
            facet.read("transmit_bytes_per_second", transmit);
            facet.read("receive_packets_per_second", (receive * 30.0 / 700.0).floor() / 30.0);
            facet.read("transmit_packets_per_second", (transmit * 30.0 / 600.0).floor() / 30.0);
            for field in ["receive_errors_per_second", "transmit_errors_per_second", "transmit_drops_per_second"] {
                facet.read(field, 0.0);
            }
            facet.read("receive_drops_per_second", if rng.f64() < 0.002 { 1.0 / 30.0 } else { 0.0 });
            facet
        };
        self.interfaces.iter().map(look).collect()
    }

    fn sensors(&mut self, busy: f64) -> Vec<Facet> {
        let rng = &mut self.rng;
        let look = |(index, (base, noise)): (usize, &mut (f64, Wander))| {
            let warm = *base + if index < 4 { busy * 0.25 } else { 0.0 } + noise.next(rng);
            let mut facet = Facet::owner("sensor", format!("coretemp/Core {index}"), "main");
            // Some chips tell whole degrees only.
            facet.read("temperature_celsius", if index % 2 == 0 { warm.floor() } else { warm });
            facet
        };
        self.sensors.iter_mut().enumerate().map(look).collect()
    }

    fn processes(&mut self) -> Vec<Facet> {
        let rng = &mut self.rng;
        let processes = (self.processes.0 + self.processes.1.next(rng)).floor();
        let mut process = Facet::owner("process", "processes", "main");
        process.read("processes", processes);
        process.read("running", rng.poisson(1.5));
        process.read("blocked", if rng.f64() < 0.02 { 1.0 } else { 0.0 });
        process.read("threads", (processes * 2.3 + rng.normal() * 3.0).floor());
        let mut host = Facet::owner("host", "host", "main");
        host.read("uptime_seconds", self.uptime + 30.0 * self.step as f64);
        let mut files = Facet::owner("bench_files", "files", "main");
        files.read("open_files", (3000.0 + self.files.next(rng)).floor());
        vec![process, host, files]
    }

    fn sockets(&mut self, day: f64) -> Vec<Facet> {
        let rng = &mut self.rng;
        let mut tcp = Facet::owner("bench_tcp", "tcp", "main");
        for (state, mean, noise) in &mut self.tcp {
            let count = match *mean {
                0.0 => 18.0,
                mean if mean > 1.0 => (mean * (1.0 + 0.4 * day) + noise.next(rng)).abs().floor(),
                mean => rng.poisson(mean),
            };
            tcp.read(*state, count);
        }
        let mut sockets = Facet::owner("bench_sockets", "sockets", "main");
        for (kind, mean, noise) in &mut self.sockets {
            sockets.read(*kind, (*mean + noise.next(rng)).floor());
        }
        vec![tcp, sockets]
    }

    fn containers(&mut self, day: f64) -> Vec<Facet> {
        let rng = &mut self.rng;
        let look = |container: &mut Container| {
            let cpu = container.cpu * (1.0 + 0.3 * day) * (0.25 * rng.normal()).exp();
            container.walk += rng.normal() * 2e5;
            let memory = (container.memory * (1.0 + 0.1 * day) + container.walk).max(0.0);
            let mut facet = Facet::owner("bench_container", container.name.clone(), "main");
            facet.read("usage_ratio", cpu.max(0.0) / 100.0);
            facet.read("memory_bytes", (memory / PAGE).floor() * PAGE);
            for (field, often, size) in [
                ("receive_bytes_per_second", 0.7, 3e4),
                ("transmit_bytes_per_second", 0.7, 2e4),
                ("read_bytes_per_second", 0.05, 1e5),
                ("write_bytes_per_second", 0.3, 5e4),
            ] {
                facet.read(field, (rng.burst(often, size) * 30.0).floor() / 30.0);
            }
            facet
        };
        self.containers.iter_mut().map(look).collect()
    }
}

/// The built-in kinds, and those that this version does not watch yet; the
/// link describes them to the hub, as it would a probe's.
pub(crate) fn catalogue() -> Catalogue {
    let rate = (Unit::BytesPerSecond, Resolution::ONE);
    let each = (Unit::PerSecond, Resolution::TENTH);
    let ratio = (Unit::Ratio, Resolution::BASIS_POINT);
    let count = (Unit::Number, Resolution::ONE);
    let mut catalogue = Catalogue::builtin();
    let mut add = |name: &'static str, fields: &[(&'static str, &(Unit, Resolution))]| {
        let field = |(name, (unit, resolution)): &(&'static str, &(Unit, Resolution))| {
            FieldDef::new("main", name, unit.clone(), *resolution, "Simulated.")
        };
        catalogue.describe(KindDef {
            name: name.into(),
            help: "Simulated, for a benchmark.".into(),
            key: "By name.".into(),
            facets: vec![FacetDef { name: "main".into(), owner: true }].into(),
            fields: fields.iter().map(field).collect::<Vec<_>>().into(),
            attributes: Cow::Borrowed(&[]),
            tables: Cow::Borrowed(&[]),
        });
    };
    add(
        "bench_kernel",
        &[
            ("softirq_ratio", &ratio),
            ("nice_ratio", &ratio),
            ("context_switches_per_second", &each),
            ("interrupts_per_second", &each),
            ("forks_per_second", &each),
        ],
    );
    add("bench_files", &[("open_files", &count)]);
    let states = ["established", "time_wait", "listen", "syn_received", "close_wait", "fin_wait"];
    add("bench_tcp", &states.map(|state| (state, &count)));
    add("bench_sockets", &["tcp", "udp", "unix", "time_wait"].map(|kind| (kind, &count)));
    add(
        "bench_container",
        &[
            ("usage_ratio", &ratio),
            ("memory_bytes", &(Unit::Bytes, Resolution::ONE)),
            ("receive_bytes_per_second", &rate),
            ("transmit_bytes_per_second", &rate),
            ("read_bytes_per_second", &rate),
            ("write_bytes_per_second", &rate),
        ],
    );
    catalogue
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_host_has_150_readings_that_the_catalogue_knows_and_the_same_ones_each_time() {
        let catalogue = catalogue();
        let (mut host, mut again) = (Host::new(7), Host::new(7));
        for _ in 0..50 {
            let seen = host.next();
            let facets: Vec<_> = seen.iter().flat_map(|(_, facets)| facets).collect();
            assert_eq!(facets.iter().map(|facet| facet.readings.len()).sum::<usize>(), READINGS);
            for facet in &facets {
                for (field, value) in &facet.readings {
                    let known = catalogue.field(&facet.resource.kind, field);
                    let known = known.unwrap_or_else(|| panic!("{}/{field}", facet.resource.kind));
                    assert_eq!(known.resolution.round(*value), Some(*value), "{}/{field}", facet.resource);
                }
            }
            assert_eq!(seen, again.next());
        }
        assert_ne!(Host::new(8).next(), Host::new(7).next());
    }
}
