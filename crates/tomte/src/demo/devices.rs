//! What a simulated host is made of: its disks' own reports, ZFS, GPUs, updates.

use tomte_model::report::Table;
use tomte_model::{Facet, Moment, Scope, Value};

use super::host::{Role, SimulatedHost, Story};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
const DAY: f64 = 86_400.0;

/// A pool: its name, its type, its size, how full it is, its groups of disks.
struct Pool {
    name: &'static str,
    kind: &'static str,
    size: f64,
    used: f64,
    groups: &'static [(&'static str, &'static [&'static str])],
    /// The disk that is gone.
    missing: Option<&'static str>,
}

/// A package: its name, the version that is installed, the one that is offered,
/// whether for security.
type Offered = (&'static str, &'static str, &'static str, bool);

fn text(text: impl Into<String>) -> Option<Value> {
    Some(Value::Text(text.into()))
}

fn number(number: f64) -> Option<Value> {
    Some(Value::Number(number))
}

fn table(name: &'static str, columns: &[&'static str], rows: Vec<Vec<Option<Value>>>) -> Table {
    Table { name: name.into(), columns: columns.iter().map(|column| (*column).into()).collect(), rows }
}

/// A snapshot each midnight, kept for a month.
fn snapshots(dataset: &str, now: Moment) -> Facet {
    let mut facet = Facet::extra("dataset", dataset, "snapshots");
    let since_midnight = (now.wall.millis() as f64 / 1000.0).rem_euclid(DAY).round();
    facet.read("snapshots", 31.0);
    facet.read("newest_snapshot_age_seconds", since_midnight);
    facet.read("oldest_snapshot_age_seconds", since_midnight + 30.0 * DAY);
    facet
}

impl SimulatedHost {
    /// How the disks think they are: on hypervisors the first is nearly worn,
    /// on the failing host it fails.
    pub(super) fn smart(&self, now: Moment) -> Vec<Scope> {
        if matches!(self.role, Role::Pi | Role::Router) && self.story != Story::Failing {
            // A card in a slot has nothing to say.
            return vec![Scope::complete("smart", Vec::new())];
        }
        let days = 400.0 + f64::from(self.number % 7) * 210.0 + now.boot_millis as f64 / 8.64e7;
        let facets = (0_u32..).zip(&self.disks).map(|(number, (wwn, size))| {
            let turns = *size > 2e12;
            let bad = self.story == Story::Failing && number == 0;
            let worn = self.role == Role::Hypervisor && number == 0;
            let mut facet = Facet::extra("disk", wwn.clone(), "smart");
            facet.text("smart_device", format!("sd{}", char::from(b'a' + u8::try_from(number).unwrap_or(25))));
            facet.text("smart_model", if turns { "EXAMPLE HDD 16TB" } else { "EXAMPLE SSD 1TB" });
            facet.text("smart_serial", format!("EX{:03}{number}", self.number));
            facet.text("firmware", "1.04");
            facet.text("protocol", if turns { "ATA" } else { "NVMe" });
            facet.text("health", if bad { "failed" } else { "passed" });
            facet.text("power", "active");
            facet.text("self_test", if bad { "read failure" } else { "completed without error" });
            facet.text("trouble", if bad { "its spare blocks are used up" } else { "" });
            facet.read("failing", f64::from(u8::from(bad)));
            let warmth = if turns { 33.0 } else { 38.0 } + 9.0 * self.busy(now);
            let limit = if turns { 60.0 } else { 75.0 };
            facet.read("temperature_celsius", warmth);
            facet.read("limit_celsius", limit);
            facet.read("headroom_celsius", limit - warmth);
            facet.read("power_on_seconds", (days * DAY).round());
            facet.read("power_cycles", 14.0 + f64::from(number));
            facet.read("self_test_failed", f64::from(u8::from(bad)));
            facet.read("self_test_age_seconds", 5.0 * DAY);
            if turns {
                facet.read("reallocated_sectors", 0.0);
                facet.read("pending_sectors", 0.0);
                facet.read("uncorrectable_sectors", 0.0);
                facet.read("interface_errors", 0.0);
            } else {
                let wear = if bad {
                    1.04
                } else if worn {
                    0.87
                } else {
                    0.02 + days * 0.00004
                };
                facet.read("wear_used_ratio", wear);
                if wear < 1.0 {
                    facet.read("wear_remaining_seconds", (days * DAY * (1.0 - wear) / wear).round());
                }
                facet.read("spare_ratio", if bad { 0.04 } else { 1.0 });
                facet.read("media_errors", if bad { 217.0 } else { 0.0 });
                facet.read("unsafe_shutdowns", 3.0);
                facet.read("life_written_bytes", (days * 2.1e10).round());
                facet.read("life_read_bytes", (days * 3.4e10).round());
            }
            facet
        });
        vec![Scope::complete("smart", facets.collect())]
    }

    fn pools(&self) -> &'static [Pool] {
        match self.role {
            Role::Nas => &[
                Pool {
                    name: "tank",
                    kind: "raidz1",
                    size: 60e12,
                    used: 0.71,
                    groups: &[("raidz1-0", &["sdb", "sdc", "sdd", "sde"])],
                    missing: None,
                },
                Pool {
                    name: "archive",
                    kind: "mirror",
                    size: 8e12,
                    used: 0.55,
                    groups: &[("mirror-0", &["sdf", "sdg"])],
                    missing: Some("sdg"),
                },
            ],
            Role::Hypervisor => &[Pool {
                name: "rpool",
                kind: "mirror",
                size: 1e12,
                used: 0.42,
                groups: &[("mirror-0", &["nvme0n1p3", "nvme1n1p3"])],
                missing: None,
            }],
            _ => &[],
        }
    }

    /// The pools: a NAS scrubs one of them and misses a disk of the other.
    pub(super) fn zfs(&self, now: Moment) -> Vec<Scope> {
        let pools = self.pools();
        if pools.is_empty() {
            return Vec::new();
        }
        let datasets: Vec<Facet> = pools.iter().flat_map(|pool| self.datasets(pool)).collect();
        let snapshots = datasets.iter().map(|dataset| snapshots(&dataset.resource.name, now)).collect();
        vec![
            Scope::complete("pool", pools.iter().map(|pool| self.pool(pool, now)).collect()),
            Scope::complete("dataset", datasets),
            Scope::complete("snapshot", snapshots),
        ]
    }

    fn pool(&self, pool: &Pool, now: Moment) -> Facet {
        let used = pool.used + 0.002 * (now.wall.millis() as f64 / 3.6e6).sin();
        let mut facet = Facet::owner("pool", pool.name, "main");
        let degraded = pool.missing.is_some();
        facet.text("state", if degraded { "DEGRADED" } else { "ONLINE" });
        facet.text("type", pool.kind);
        let mut rows = Vec::new();
        for (group, disks) in pool.groups {
            let state = |bad: bool, word: &str| text(if bad { word } else { "ONLINE" });
            let row = |depth: f64, name: &str, state: Option<Value>, note: Option<Value>| {
                vec![number(depth), text(name), text("data"), state, number(0.0), number(0.0), number(0.0), note]
            };
            let bad = disks.iter().any(|disk| Some(*disk) == pool.missing);
            rows.push(row(0.0, group, state(bad, "DEGRADED"), None));
            for disk in *disks {
                let gone = Some(*disk) == pool.missing;
                rows.push(row(1.0, disk, state(gone, "UNAVAIL"), text("cannot be opened").filter(|_| gone)));
            }
            if let Some(missing) = pool.missing.filter(|_| bad) {
                facet.text("fault", format!("{missing} of {group} is UNAVAIL"));
                facet.text("message", "One or more devices could not be opened.");
                facet.text("advice", "Attach the missing device and online it using 'zpool online'.");
            }
        }
        facet.read("impairment", f64::from(u8::from(degraded)));
        facet.read("size_bytes", pool.size);
        facet.read("allocated_bytes", (pool.size * used).round());
        facet.read("free_bytes", (pool.size * (1.0 - used)).round());
        facet.read("used_ratio", used);
        facet.read("fragmentation_ratio", 0.12);
        facet.read("deduplication_factor", 1.0);
        for errors in ["data_errors", "read_errors", "write_errors", "checksum_errors", "device_errors"] {
            facet.read(errors, 0.0);
        }
        facet.read("devices", pool.groups.iter().map(|(_, disks)| disks.len()).sum::<usize>() as f64);
        facet.read("faulty_devices", f64::from(u8::from(degraded)));
        facet.text("scan", "scrub");
        // Six hours of scrubbing, then two of rest.
        let turn = (now.wall.millis() as f64 / 1000.0).rem_euclid(28_800.0);
        if pool.name == "tank" && turn < 21_600.0 {
            facet.text("scan_state", "running");
            facet.read("scan_progress_ratio", turn / 21_600.0);
            facet.read("scan_remaining_seconds", (21_600.0 - turn).round());
        } else {
            facet.text("scan_state", "finished");
            facet.read("scrub_age_seconds", if pool.name == "tank" { (turn - 21_600.0).round() } else { 9.0 * DAY });
        }
        facet.read("scan_errors", 0.0);
        let columns = ["depth", "name", "role", "state", "read_errors", "write_errors", "checksum_errors", "note"];
        facet.tables.push(table("vdevs", &columns, rows));
        facet
    }

    fn datasets(&self, pool: &Pool) -> Vec<Facet> {
        let parts: &[(&str, f64, f64)] = match pool.name {
            "tank" => &[("media", 0.6, 0.0), ("home", 0.3, 20e12), ("photos", 0.1, 0.0)],
            "archive" => &[("backup", 1.0, 0.0)],
            _ => &[("ROOT/pve-1", 0.1, 0.0), ("data/vm-100-disk-0", 0.7, 0.0), ("data/vm-101-disk-0", 0.2, 0.0)],
        };
        let dataset = |(name, share, quota): &(&str, f64, f64)| {
            let used = pool.size * pool.used * share;
            let mut facet = Facet::owner("dataset", format!("{}/{name}", pool.name), "main");
            let volume = name.contains("disk");
            facet.text("type", if volume { "volume" } else { "filesystem" });
            facet.text("mountpoint", if volume { String::new() } else { format!("/srv/{}/{name}", pool.name) });
            facet.read("used_bytes", used);
            facet.read("available_bytes", pool.size * (1.0 - pool.used));
            facet.read("referenced_bytes", used * 0.92);
            facet.read("snapshot_bytes", used * 0.08);
            facet.read("volume_size_bytes", volume.then_some(used * 1.4));
            if *quota > 0.0 {
                facet.read("quota_bytes", *quota);
                facet.read("quota_used_ratio", (used / quota).min(1.0));
            }
            facet.read("compression_factor", 1.31);
            facet
        };
        parts.iter().map(dataset).collect()
    }

    /// The cache of ZFS.
    pub(super) fn arc(&self, now: Moment) -> Vec<Scope> {
        if self.pools().is_empty() {
            return Vec::new();
        }
        let busy = self.busy(now);
        let mut facet = Facet::owner("arc", "arc", "main");
        facet.read("size_bytes", (self.memory_bytes * 0.24).round());
        facet.read("target_bytes", (self.memory_bytes * 0.25).round());
        facet.read("minimum_bytes", (self.memory_bytes * 0.03).round());
        facet.read("maximum_bytes", (self.memory_bytes * 0.5).round());
        facet.read("hit_ratio", 0.97 - busy * 0.1);
        facet.read("hits_per_second", busy * 9_000.0);
        facet.read("misses_per_second", busy * 300.0);
        facet.read("throttles", 0.0);
        vec![Scope::complete("arc", vec![facet])]
    }

    /// A media server has a card that transcodes.
    pub(super) fn gpus(&self, now: Moment) -> Vec<Scope> {
        if self.role != Role::Media {
            return Vec::new();
        }
        let busy = self.busy(now);
        let mut facet = Facet::owner("gpu", "0000:01:00.0", "main");
        facet.text("vendor", "nvidia");
        facet.text("model", "NVIDIA T400 4GB");
        facet.text("driver", "nvidia 580.95.05");
        facet.text("performance_state", if busy > 0.2 { "P0" } else { "P8" });
        facet.read("utilisation_ratio", busy);
        facet.read("encoder_ratio", busy * 0.6);
        facet.read("decoder_ratio", busy * 0.4);
        facet.read("memory_size_bytes", 4.0 * GIB);
        facet.read("memory_used_bytes", (GIB * (0.3 + busy)).round());
        facet.read("memory_used_ratio", (0.3 + busy) / 4.0);
        let warmth = 41.0 + busy * 44.0;
        facet.read("temperature_celsius", warmth);
        facet.read("limit_celsius", 95.0);
        facet.read("headroom_celsius", 95.0 - warmth);
        facet.read("power_watts", 8.0 + busy * 22.0);
        facet.read("power_limit_watts", 31.0);
        facet.read("clock_hertz", (3.0e8 + busy * 1.1e9).round());
        facet.read("memory_clock_hertz", 5.0e9);
        facet.read("fan_ratio", 0.3 + busy * 0.5);
        let rows = vec![vec![number(1002.0), text("ffmpeg"), number((GIB * (0.2 + busy)).round())]];
        facet.tables.push(table("processes", &["pid", "name", "memory_bytes"], rows));
        vec![Scope::complete("gpu", vec![facet])]
    }

    /// What waits to be installed: nothing, some packages, or, on web servers, a
    /// kernel that wants a restart.
    pub(super) fn updates(&self, now: Moment) -> Vec<Scope> {
        let restart = self.role == Role::Web;
        let mut facet = Facet::owner("updates", "updates", "main");
        let (manager, kernel, offered): (&str, &str, &[Offered]) = match self.role {
            Role::Router => ("apk", "6.12.57-0-lts", &[]),
            Role::Hypervisor => ("apt", "6.17.2-1-pve", &[("pve-manager", "9.1.1", "9.1.2", false)]),
            _ => (
                "apt",
                "6.12.57+deb13-amd64",
                &[("openssl", "3.5.1-1", "3.5.4-1~deb13u1", true), ("tzdata", "2025b-4", "2025b-5", false)],
            ),
        };
        facet.text("manager", manager);
        facet.text("running_kernel", kernel);
        facet.text("installed_kernel", if restart { "6.12.63+deb13-amd64" } else { kernel });
        facet.text("restart_reason", if restart { "a newer kernel is installed" } else { "" });
        if self.role == Role::Hypervisor {
            facet.text("proxmox_version", "9.1.1");
        }
        if !self.pools().is_empty() {
            facet.text("zfs_version", "2.3.4");
            facet.text("zfs_module_version", "2.3.4");
        }
        facet.read("pending", offered.len() as f64);
        facet.read("security", offered.iter().filter(|package| package.3).count() as f64);
        facet.read("restart_required", f64::from(u8::from(restart)));
        facet.read("lists_age_seconds", (now.wall.millis() as f64 / 1000.0).rem_euclid(DAY).round());
        let row = |(name, installed, new, security): &Offered| {
            vec![text(*name), text(*installed), text(*new), Some(Value::Bool(*security))]
        };
        let columns = ["name", "installed", "offered", "security"];
        facet.tables.push(table("packages", &columns, offered.iter().map(row).collect()));
        vec![Scope::complete("updates", vec![facet])]
    }
}
