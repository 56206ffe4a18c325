//! What a simulated host keeps for others: the guests of Proxmox VE, and
//! backups of every sort.

use tomte_collect::{Membership, Shared, Standing};
use tomte_model::report::Table;
use tomte_model::{Facet, Moment, Scope, Value};

use super::host::{Role, SimulatedHost, Story};
use super::services::{MIB, ago, later};

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const GIB: f64 = 1024.0 * MIB;

/// A guest: number, type, name, memory in GiB, tags, how it is.
struct Guest {
    id: &'static str,
    kind: &'static str,
    name: &'static str,
    gib: f64,
    tags: &'static str,
    is: Is,
}

#[derive(Clone, Copy, PartialEq)]
enum Is {
    Running,
    Stopped,
    /// Starts with its node and does not run.
    Down,
    Template,
    Archived,
}

const fn guest(
    id: &'static str,
    kind: &'static str,
    name: &'static str,
    gib: f64,
    tags: &'static str,
    is: Is,
) -> Guest {
    Guest { id, kind, name, gib, tags, is }
}

/// The node of every cluster that is not there.
const AWAY: &str = "pve-9";
/// The guest that moves, and how often, in milliseconds.
const WANDERER: &str = "102";
const MOVES_EVERY: i64 = 10 * 60_000;

const GUESTS: [Guest; 7] = [
    guest("101", "lxc", "dns", 0.5, "network", Is::Running),
    guest("102", "lxc", "grafana", 1.0, "monitoring, web", Is::Running),
    guest("110", "qemu", "homeassistant", 4.0, "home", Is::Running),
    guest("111", "qemu", "windows", 16.0, "desktop", Is::Stopped),
    guest("120", "lxc", "paperless", 2.0, "documents, web", Is::Down),
    guest("190", "qemu", "old-nas", 8.0, "archived", Is::Archived),
    guest("900", "qemu", "debian-13", 2.0, "template", Is::Template),
];

/// What is known of a backup that went well: its name, type, repository, its age
/// in seconds, in what time one is expected, and its size in bytes.
struct Good<'a> {
    name: &'a str,
    kind: &'a str,
    repository: &'a str,
    age: u64,
    expected: (u64, &'a str),
    size: f64,
}

fn good(now: Moment, backup: &Good<'_>) -> Facet {
    let (interval, expected) = backup.expected;
    let mut facet = Facet::owner("backup", backup.name, "main");
    let late = backup.age as f64 / interval as f64;
    facet.text("type", backup.kind);
    facet.text("state", if late > 1.25 { "old" } else { "ok" });
    facet.text("repository", backup.repository);
    facet.text("last_success", ago(now, backup.age));
    facet.text("expected", expected);
    facet.read("age_seconds", backup.age as f64);
    facet.read("age_ratio", late);
    facet.read("never", 0.0);
    facet.read("unreachable", 0.0);
    facet.read("running", 0.0);
    facet.read("size_bytes", backup.size);
    facet
}

fn table(name: &'static str, columns: &[&'static str], rows: Vec<Vec<Option<Value>>>) -> Table {
    Table { name: name.into(), columns: columns.iter().map(|column| (*column).into()).collect(), rows }
}

fn word(text: impl Into<String>) -> Option<Value> {
    Some(Value::Text(text.into()))
}

impl SimulatedHost {
    /// The first of its role carries small troubles, the second a great one.
    fn of_role(&self) -> u32 {
        self.number / 6
    }

    /// Which cluster of two nodes a hypervisor belongs to, beside one that is
    /// away: `homelab`, `homelab-2`.
    fn cluster_name(&self) -> String {
        match self.of_role() / 2 {
            0 => "homelab".to_owned(),
            number => format!("homelab-{}", number + 1),
        }
    }

    /// The names of its nodes that are there.
    fn nodes(&self) -> Vec<String> {
        let first = self.of_role() / 2 * 2;
        let there = [first, first + 1].into_iter().filter(|of_role| of_role * 6 + 1 < self.hosts);
        there.map(|of_role| format!("{}-{}", self.role.as_str(), of_role + 1)).collect()
    }

    /// What a hypervisor's agent says to the hub of its cluster.
    pub(super) fn membership(&self) -> Option<Membership> {
        let mut nodes = self.nodes();
        nodes.push(AWAY.to_owned());
        (self.role == Role::Hypervisor).then(|| Membership {
            id: format!("DE:{:02X}:70", self.of_role() / 2),
            name: self.cluster_name(),
            node: self.name(),
            nodes,
            quorate: true,
            readable: true,
        })
    }

    /// What of a collector's scopes belongs to the cluster, and what is told of
    /// it where this host does that.
    pub(super) fn shared(&self, collector: &str, own: &[Scope], now: Moment, standing: Standing) -> Option<Shared> {
        if standing == Standing::Own || !matches!(collector, "proxmox" | "proxmox_backup") {
            return None;
        }
        let of_cluster = ["guest", "backup", "cluster", "replication"];
        let facets = own.iter().flat_map(|scope| &scope.facets).map(|facet| &facet.resource);
        let elsewhere = facets.filter(|key| of_cluster.contains(&&*key.kind)).cloned().collect();
        let Standing::Ours(host) = standing else { return Some(Shared { elsewhere, cluster: None }) };
        let told = match collector {
            "proxmox" => self.proxmox_of(now, true),
            _ => self.guest_backups_of(now, true),
        };
        Some(Shared { elsewhere, cluster: Some((host, told)) })
    }

    /// The guests on this node, or all of the cluster.
    fn guests_here(&self, now: Moment, all: bool) -> Vec<(usize, &'static Guest, String)> {
        let nodes = self.nodes();
        let on = |index: usize, guest: &Guest| {
            // One of them moves from one node to the other and back.
            let turn = if guest.id == WANDERER { now.wall.millis() / MOVES_EVERY } else { index as i64 };
            nodes[usize::try_from(turn).unwrap_or(0) % nodes.len()].clone()
        };
        let placed = GUESTS.iter().enumerate().map(|(index, guest)| (index, guest, on(index, guest)));
        placed.filter(|(_, _, node)| all || *node == self.name()).collect()
    }

    /// What Proxmox VE says of the host, its cluster and its guests.
    pub(super) fn proxmox(&self, now: Moment) -> Vec<Scope> {
        if self.role != Role::Hypervisor {
            return Vec::new();
        }
        self.proxmox_of(now, false)
    }

    fn proxmox_of(&self, now: Moment, all: bool) -> Vec<Scope> {
        let mut cluster = Facet::owner("cluster", self.cluster_name(), "main");
        cluster.text("offline", AWAY);
        cluster.read("quorate", 1.0);
        let there = self.nodes().len() as f64;
        cluster.read("nodes", there + 1.0);
        cluster.read("online_nodes", there);
        let mut nodes: Vec<Facet> = Vec::new();
        for name in self.nodes().into_iter().filter(|name| all || *name == self.name()) {
            nodes.push(self.node(now, &name));
        }
        let mut scopes = vec![
            Scope::complete("proxmox/cluster", vec![cluster]),
            Scope::complete("proxmox/replication", self.replications(now, all)),
            Scope::complete("guest/lxc", self.guests(now, "lxc", all)),
            Scope::complete("guest/qemu", self.guests(now, "qemu", all)),
            Scope::complete("guest/detail", self.guest_details(now, all)),
        ];
        if all {
            let mut away = Facet::owner("node", AWAY, "main");
            away.text("cluster", self.cluster_name());
            away.text("state", "offline");
            away.read("online", 0.0);
            nodes.push(away);
        } else {
            scopes.push(Scope::complete("proxmox/task", vec![self.tasks(now)]));
            scopes.push(Scope::complete("proxmox/storage", self.storages()));
        }
        scopes.push(Scope::complete("proxmox/node", nodes));
        scopes
    }

    fn node(&self, now: Moment, name: &str) -> Facet {
        let mut node = Facet::owner("node", name, "main");
        node.text("version", "9.1.1");
        node.text("kernel", "Linux 6.17.2-1-pve");
        node.text("cluster", self.cluster_name());
        node.text("state", "online");
        node.read("online", 1.0);
        node.read("cpu_ratio", self.busy(now));
        node.read("cores", 16.0);
        node.read("memory_total_bytes", 128.0 * GIB);
        let used = 0.35 + 0.3 * self.busy(now);
        node.read("memory_used_bytes", (used * 128.0 * GIB).round());
        node.read("memory_used_ratio", used);
        node.read("uptime_seconds", now.boot_millis as f64 / 1000.0);
        let guests: Vec<_> = self.guests_here(now, true).into_iter().filter(|(_, _, on)| on == name).collect();
        node.read("guests", guests.iter().filter(|(_, guest, _)| guest.is != Is::Template).count() as f64);
        node.read("running_guests", guests.iter().filter(|(_, guest, _)| guest.is == Is::Running).count() as f64);
        node
    }

    fn tasks(&self, now: Moment) -> Facet {
        let mut tasks = Facet::extra("node", self.name(), "tasks");
        let failed = self.of_role() == 0;
        tasks.read("failed_tasks", f64::from(u8::from(failed)));
        tasks.read("warned_tasks", 0.0);
        tasks.read("running_tasks", 0.0);
        let mut rows = Vec::new();
        if failed {
            let error = "job errors";
            tasks.text("last_failed", format!("vzdump 102: {error}"));
            rows.push(vec![
                word("vzdump"),
                word("102"),
                word("root@pam"),
                word(ago(now, 5 * HOUR + 240)),
                word(ago(now, 5 * HOUR)),
                word(error),
            ]);
        }
        tasks.tables.push(table("failed", &["type", "id", "user", "started", "ended", "error"], rows));
        tasks
    }

    fn storages(&self) -> Vec<Facet> {
        let failing = self.story == Story::Failing;
        let storages = [
            ("local", "dir", "backup, iso, vztmpl", 1e11, 0.41, false),
            ("local-zfs", "zfspool", "images, rootdir", 1.9e12, 0.63, false),
            ("nas", "nfs", "backup, iso", 1.6e13, 0.55, true),
            ("pbs", "pbs", "backup", 8e12, if failing { 0.96 } else { 0.72 }, true),
        ];
        let storage = |(name, kind, content, total, used, shared): (&str, &str, &str, f64, f64, bool)| {
            let mut facet = Facet::owner("storage", name, "main");
            facet.text("type", kind);
            facet.text("content", content);
            facet.text("node", self.name());
            facet.flag("shared", shared);
            facet.flag("enabled", true);
            // The first of them does not reach the share.
            let active = !(name == "nas" && self.of_role() == 0);
            facet.read("active", f64::from(u8::from(active)));
            if active {
                facet.read("total_bytes", total);
                facet.read("used_bytes", (total * used).round());
                facet.read("available_bytes", (total * (1.0 - used)).round());
                facet.read("used_ratio", used);
            }
            facet
        };
        storages.into_iter().map(storage).collect()
    }

    fn replications(&self, now: Moment, all: bool) -> Vec<Facet> {
        let here = self.guests_here(now, all);
        ["101", "110"]
            .into_iter()
            .filter_map(|guest| Some((guest, here.iter().find(|(_, known, _)| known.id == guest)?.2.clone())))
            .map(|(guest, source)| {
                let fails = guest == "110" && self.of_role() / 2 == 0;
                let mut facet = Facet::owner("replication", format!("{guest}-0"), "main");
                facet.text("state", if fails { "failed" } else { "ok" });
                facet.text("guest", guest);
                facet.text("source", source);
                facet.text("target", AWAY);
                facet.text("schedule", "*/15");
                facet.text("last_success", ago(now, if fails { 4_100 } else { 500 }));
                facet.text("next_run", later(now, 400));
                if fails {
                    facet.text("error", "command 'ssh pve-9' failed: exit code 255");
                }
                facet.read("age_seconds", if fails { 4_100.0 } else { 500.0 });
                facet.read("duration_seconds", 4.213);
                facet.read("failures", if fails { 2.0 } else { 0.0 });
                facet.read("until_next_run_seconds", 400.0);
                facet
            })
            .collect()
    }

    fn guests(&self, now: Moment, kind: &str, all: bool) -> Vec<Facet> {
        let of_kind = self.guests_here(now, all).into_iter().filter(|(_, guest, _)| guest.kind == kind);
        of_kind
            .map(|(number, guest, node)| {
                let mut facet = Facet::owner("guest", guest.id, "runtime");
                let running = guest.is == Is::Running;
                facet.text("type", guest.kind);
                facet.text("name", guest.name);
                facet.text("state", if running { "running" } else { "stopped" });
                facet.text("node", node);
                facet.flag("template", guest.is == Is::Template);
                let limit = guest.gib * GIB;
                facet.read("running", f64::from(u8::from(running)));
                facet.read("memory_limit_bytes", limit);
                facet.read("cores", (guest.gib / 2.0).ceil());
                facet.read("disk_total_bytes", 32.0 * GIB);
                if !running {
                    return facet;
                }
                let busy = self.busy(now) * (1.0 + 0.5 * self.noise(100 + number as u64, now.wall.millis() / 1000));
                // The failing host has a guest whose memory runs out.
                let used: f64 = if self.story == Story::Failing && number == 1 { 0.996 } else { 0.45 + 0.2 * busy };
                let used = used.clamp(0.0, 1.0);
                facet.read("cpu_ratio", (busy * guest.gib * 0.4).max(0.0));
                facet.read("memory_bytes", (limit * used / 4096.0).round() * 4096.0);
                facet.read("memory_host_bytes", (limit * used / 4096.0).round() * 4096.0 + 9.0 * MIB);
                if guest.kind == "lxc" {
                    facet.read("memory_used_ratio", used);
                    facet.read("disk_used_bytes", (guest.gib * 5.0 * GIB).round());
                    facet.read("disk_used_ratio", guest.gib * 5.0 / 32.0);
                }
                facet.read("uptime_seconds", now.boot_millis as f64 / 1000.0 - 120.0);
                facet.read("read_bytes_per_second", 0.0);
                facet.read("write_bytes_per_second", (busy * 5e4).max(0.0).round());
                facet.read("receive_bytes_per_second", (busy * 3e5).max(0.0).round());
                facet.read("transmit_bytes_per_second", (busy * 2e5).max(0.0).round());
                for (field, part) in [
                    ("pressure_cpu_some_ratio", 0.1),
                    ("pressure_memory_some_ratio", 0.0),
                    ("pressure_io_some_ratio", 0.02),
                ] {
                    facet.read(field, (busy * part).max(0.0));
                }
                facet
            })
            .collect()
    }

    fn guest_details(&self, now: Moment, all: bool) -> Vec<Facet> {
        self.guests_here(now, all)
            .into_iter()
            .map(|(index, guest, _)| {
                let number = index + 1;
                let mut facet = Facet::extra("guest", guest.id, "detail");
                let starts = matches!(guest.is, Is::Running | Is::Down);
                facet.text("tags", guest.tags);
                facet.text("os_type", if guest.name == "windows" { "win11" } else { "l26" });
                facet.flag("on_boot", starts);
                facet.flag("archived", guest.is == Is::Archived);
                facet.flag("backup_job", starts);
                let mut interface =
                    vec![word("eth0"), word(format!("02:00:5e:00:53:{number:02x}")), None, word("vmbr0")];
                if guest.is == Is::Running {
                    let address = format!("192.0.2.{}", 100 + number);
                    interface[2] = word(address.clone());
                    facet.text("addresses", address);
                }
                facet.text("disks", format!("local-zfs:vm-{}-disk-0 (32 GiB)", guest.id));
                if !matches!(guest.is, Is::Template | Is::Archived) {
                    // On the failing host, a guest that ought to run does not.
                    let down = guest.is == Is::Down && self.story == Story::Failing;
                    facet.read("down", f64::from(u8::from(down)));
                }
                facet.tables.push(table("interfaces", &["name", "mac", "addresses", "bridge"], vec![interface]));
                facet
            })
            .collect()
    }

    /// The backups of each guest that ought to have some.
    pub(super) fn guest_backups(&self, now: Moment) -> Vec<Scope> {
        if self.role != Role::Hypervisor {
            return Vec::new();
        }
        self.guest_backups_of(now, false)
    }

    fn guest_backups_of(&self, now: Moment, all: bool) -> Vec<Scope> {
        let guests = self.guests_here(now, all).into_iter().map(|(_, guest, _)| guest);
        let guests = guests.filter(|guest| matches!(guest.is, Is::Running | Is::Stopped | Is::Down));
        let backups = guests.flat_map(|guest| {
            // The backup of grafana failed and is old; the one of home assistant
            // was found damaged.
            let first = self.of_role() / 2 == 0;
            let fails = guest.id == "102" && first;
            let damaged = guest.id == "110" && first;
            let mut facet = good(
                now,
                &Good {
                    name: &format!("guest/{}", guest.id),
                    kind: if guest.kind == "lxc" { "pbs" } else { "vzdump" },
                    repository: if guest.kind == "lxc" { "pbs" } else { "nas" },
                    age: if fails { 4 * DAY + 5 * HOUR } else { 5 * HOUR },
                    expected: (DAY, "every 1 d"),
                    size: guest.gib * 6.0 * GIB,
                },
            );
            facet.text("guest", guest.name);
            facet.text("schedule", "02:30");
            facet.read("backups", 14.0);
            facet.read("oldest_age_seconds", (92 * DAY) as f64);
            facet.read("failed", f64::from(u8::from(fails)));
            if fails {
                facet.text("error", "job errors");
            }
            let checked = (guest.kind == "lxc" || damaged).then(|| {
                let mut check = Facet::extra("backup", facet.resource.name.clone(), "check");
                check.text("verified", if damaged { "failed" } else { "ok" });
                check.read("check_failed", f64::from(u8::from(damaged)));
                check.read("unverified", 0.0);
                check
            });
            [Some(facet), checked].into_iter().flatten()
        });
        vec![Scope::complete("backup/guest", backups.collect())]
    }

    /// What the host backs up by itself.
    pub(super) fn backups(&self, now: Moment) -> Vec<Scope> {
        let failing = self.story == Story::Failing;
        let first = self.of_role() == 0;
        let mut backups = Vec::new();
        let mut system = good(
            now,
            &Good {
                name: "system",
                kind: "restic",
                repository: "rest:https://backup.example/",
                age: if failing { 4 * DAY } else { 7 * HOUR },
                expected: (DAY, "every 1 d"),
                size: 11.4 * GIB,
            },
        );
        system.read("backups", 31.0);
        system.read("stored_bytes", 9.2 * GIB);
        system.read("added_bytes", 84.0 * MIB);
        system.read("files", 128_431.0);
        system.read("duration_seconds", 73.41);
        system.read("stale_locks", 0.0);
        let mut check = Facet::extra("backup", "system", "check");
        check.read("check_failed", 0.0);
        check.read("check_age_seconds", (9 * DAY) as f64);
        if failing {
            // What was known stays: it is the server that is away.
            system.readings.retain(|(name, _)| name != "unreachable");
            system.attributes.retain(|(name, _)| name != "state");
            system.text("state", "unreachable");
            system.text("error", "dial tcp 192.0.2.20:443: connect: connection refused");
            system.read("unreachable", 1.0);
        }
        backups.push(system);
        match self.role {
            Role::Nas => {
                let mut photos = good(
                    now,
                    &Good {
                        name: "photos",
                        kind: "borg",
                        repository: "ssh://borg@vault.example/./photos",
                        age: if first { 3 * DAY } else { 9 * HOUR },
                        expected: (DAY, "every 1 d"),
                        size: 812.0 * GIB,
                    },
                );
                photos.read("backups", 24.0);
                photos.read("stored_bytes", 640.0 * GIB);
                photos.read("files", 301_112.0);
                photos.read("duration_seconds", 640.2);
                photos.read("stale_locks", f64::from(u8::from(first)));
                backups.push(photos);
                let (name, kind, repository) = ("tank/home", "zfs", "tank/home");
                let expected = (HOUR, "every 1 h");
                let mut home = good(now, &Good { name, kind, repository, age: 1_500, expected, size: 1.2e12 });
                home.read("backups", 212.0);
                home.read("oldest_age_seconds", (180 * DAY) as f64);
                backups.push(home);
                backups.push(offsite(now));
            }
            Role::Media => {
                let mut facet = Facet::owner("backup", "recordings", "main");
                facet.text("type", "timer");
                facet.text("state", if first { "never" } else { "running" });
                facet.text("next_run", later(now, 3_000));
                facet.read("never", f64::from(u8::from(first)));
                facet.read("running", f64::from(u8::from(!first)));
                facet.read("failed", 0.0);
                facet.read("until_next_run_seconds", 3_000.0);
                backups.push(facet);
            }
            _ => {}
        }
        let scope = |facet: Facet| Scope::complete(format!("backup:{}", facet.resource.name), vec![facet]);
        backups.into_iter().map(scope).collect()
    }
}

/// A job that tells of itself: two disks that take turns off site.
fn offsite(now: Moment) -> Facet {
    let mut facet = good(
        now,
        &Good {
            name: "offsite",
            kind: "rsync",
            repository: "/mnt/offsite",
            age: 30 * HOUR,
            expected: (7 * DAY, "every 7 d"),
            size: 5.1e12,
        },
    );
    facet.text("next_run", later(now, 400_000));
    facet.read("failed", 0.0);
    facet.read("until_next_run_seconds", 400_000.0);
    facet.read("files", 2_411_003.0);
    facet.read("duration_seconds", 5_431.0);
    let disk = |serial: &str, name: &str, here: bool| {
        let number = |value: f64| here.then_some(Value::Number(value));
        vec![
            word(serial),
            word(name),
            here.then(|| Value::Text("/mnt/offsite".to_owned())),
            number(5.1e12),
            number(8e12),
            number(34.0),
            number(0.03),
            word(ago(now, if here { 60 } else { 20 * DAY })),
        ]
    };
    let columns =
        ["serial", "name", "mount", "used_bytes", "total_bytes", "temperature_celsius", "wear_used_ratio", "last_seen"];
    let rows = vec![disk("EXAMPLE-0001", "blue", true), disk("EXAMPLE-0002", "red", false)];
    facet.tables.push(table("disks", &columns, rows));
    facet
}
