//! What runs on a simulated host: services, containers, checks, probes.

use tomte_model::report::Table;
use tomte_model::{Facet, Moment, Scope, Timestamp, Value};

use super::host::{Role, SimulatedHost, Story};

/// A time some seconds before that moment, as collectors write it.
pub(super) fn ago(now: Moment, seconds: u64) -> String {
    let then = now.wall.minus(std::time::Duration::from_secs(seconds)).millis();
    let step = coarseness(seconds);
    Timestamp::from_millis(then.div_euclid(step) * step).to_string()
}

pub(super) fn later(now: Moment, seconds: i64) -> String {
    let then = now.wall.millis().div_euclid(1000) * 1000 + seconds * 1000;
    let step = coarseness(seconds.unsigned_abs());
    let then = if seconds > 0 { -(-then).div_euclid(step) * step } else { then.div_euclid(step) * step };
    Timestamp::from_millis(then).to_string()
}

/// Moments are whole tens of minutes, or hours when they are far: what happened
/// must not seem to have happened at another moment with every report.
fn coarseness(seconds: u64) -> i64 {
    if seconds >= 7_200 { 3_600_000 } else { 600_000 }
}

pub(super) const MIB: f64 = 1024.0 * 1024.0;

/// A service: its name, what it says it is, its memory in MiB.
type Service = (&'static str, &'static str, f64);

impl SimulatedHost {
    fn units(&self) -> &'static [Service] {
        match self.role {
            Role::Nas => &[
                ("smbd", "Samba SMB Daemon", 84.0),
                ("nfs-server", "NFS server", 6.0),
                ("zfs-zed", "ZFS Event Daemon", 4.0),
            ],
            Role::Hypervisor => {
                &[("pveproxy", "PVE API Proxy Server", 180.0), ("pvestatd", "PVE Status Daemon", 110.0)]
            }
            Role::Web => &[
                ("nginx", "A high performance web server", 42.0),
                ("postgresql", "PostgreSQL", 410.0),
                ("redis-server", "Advanced key-value store", 21.0),
            ],
            Role::Pi => &[("mosquitto", "Mosquitto MQTT Broker", 6.0), ("zigbee2mqtt", "zigbee2mqtt", 95.0)],
            Role::Media => &[
                ("docker", "Docker Application Container Engine", 120.0),
                ("jellyfin", "Jellyfin Media Server", 540.0),
            ],
            Role::Router => {
                &[("unbound", "Unbound DNS server", 33.0), ("wg-quick@wg0", "WireGuard via wg-quick(8) for wg0", 1.0)]
            }
        }
    }

    /// systemd: what every machine has, what its role brings, and on the
    /// failing host one unit that failed.
    pub(super) fn systemd(&self, now: Moment) -> Vec<Scope> {
        let failing = self.story == Story::Failing;
        let common: &[Service] = &[
            ("ssh", "OpenBSD Secure Shell server", 7.0),
            ("cron", "Regular background program processing daemon", 2.0),
        ];
        let mut services: Vec<Facet> = (0_u64..)
            .zip(common.iter().chain(self.units()))
            .map(|(number, (name, description, mib))| {
                let mut facet = Facet::owner("service", *name, "main");
                facet.text("description", *description);
                facet.text("state", "active");
                facet.text("sub_state", "running");
                facet.text("since", ago(now, 260_000));
                facet.text("type", "notify");
                facet.text("enabled", "enabled");
                facet.read("running", 1.0);
                facet.read("failed", 0.0);
                facet.read("restarts", 0.0);
                facet.read("recent_restarts", 0.0);
                let busy = self.busy(now) * (1.0 + 0.5 * self.noise(60 + number, now.wall.millis() / 1000));
                facet.read("cpu_ratio", (busy * mib / 200.0).max(0.0));
                facet.read("memory_bytes", (mib * (1.0 + 0.1 * busy) * 256.0).round() * 4096.0);
                facet.read("tasks", (mib / 8.0).ceil());
                facet.read("read_bytes_per_second", 0.0);
                facet.read("write_bytes_per_second", (busy * mib * 900.0).round());
                facet
            })
            .collect();
        let mut failed = Vec::new();
        if failing {
            let mut facet = Facet::owner("service", "nightly-export", "main");
            facet.text("description", "Export of the night");
            facet.text("state", "failed");
            facet.text("sub_state", "failed");
            facet.text("since", ago(now, 15_000));
            facet.text("result", "exit-code 3");
            facet.text("type", "oneshot");
            facet.text("enabled", "static");
            facet.read("running", 0.0);
            facet.read("failed", 1.0);
            services.push(facet);
            failed.push(
                ["nightly-export.service", "failed", "Export of the night"]
                    .map(|text| Some(Value::Text(text.into())))
                    .to_vec(),
            );
        }
        // What somebody stopped stands still, and is no problem.
        if self.number.is_multiple_of(6) {
            let mut facet = Facet::owner("service", "minidlna", "main");
            facet.text("description", "MiniDLNA lightweight DLNA/UPnP-AV server");
            facet.text("state", "inactive");
            facet.text("sub_state", "dead");
            facet.text("since", ago(now, 90_000));
            facet.text("type", "simple");
            facet.text("enabled", "enabled");
            facet.flag("stopped_by_user", true);
            facet.read("running", 0.0);
            facet.read("failed", 0.0);
            services.push(facet);
        }
        let mut systemd = Facet::owner("systemd", "systemd", "main");
        systemd.text("version", "252.39-1~deb12u1");
        systemd.text("state", if failing { "degraded" } else { "running" });
        systemd.read("units", 170.0 + services.len() as f64);
        systemd.read("failed_units", failed.len() as f64);
        systemd.read("jobs", 0.0);
        let columns = ["unit", "sub_state", "description"].map(Into::into).to_vec();
        systemd.tables.push(Table { name: "failed".into(), columns, rows: failed });
        vec![
            Scope::complete("systemd", vec![systemd]),
            Scope::complete("service", services),
            Scope::complete("timer", self.timers(now)),
        ]
    }

    fn timers(&self, now: Moment) -> Vec<Facet> {
        let second = now.wall.millis().div_euclid(1000);
        [("logrotate", "logrotate.service", 86_400), ("fstrim", "fstrim.service", 604_800)]
            .into_iter()
            .map(|(name, unit, every)| {
                let since = second.rem_euclid(every);
                let mut facet = Facet::owner("timer", name, "main");
                facet.text("unit", unit);
                facet.text("state", "active");
                facet.text("last_run", later(now, -since));
                facet.text("next_run", later(now, every - since));
                facet.text("last_result", "success");
                facet.read("since_last_run_seconds", since as f64);
                facet.read("until_next_run_seconds", (every - since) as f64);
                facet
            })
            .collect()
    }

    /// What the slow tier adds to services.
    pub(super) fn service_disk(&self) -> Vec<Scope> {
        let (name, path, size) = match self.role {
            Role::Web => ("postgresql", "/var/lib/postgresql", 7.4e9),
            Role::Pi => ("mosquitto", "/var/lib/mosquitto", 1.2e6),
            Role::Media => ("jellyfin", "/var/lib/jellyfin", 3.1e9),
            _ => return vec![Scope::complete("service_disk", Vec::new())],
        };
        let mut facet = Facet::extra("service", name, "disk");
        facet.text("directories", path);
        facet.read("state_bytes", size);
        vec![Scope::complete("service_disk", vec![facet])]
    }

    /// Docker, where the role has it. A container of the failing host is
    /// unhealthy, and another one restarts again and again.
    pub(super) fn containers(&self, now: Moment) -> Vec<Scope> {
        let failing = self.story == Story::Failing;
        let plan: &[(&str, &str, &str, f64)] = match self.role {
            Role::Media => &[
                ("immich/server/1", "ghcr.io/immich-app/immich-server:v2", "healthy", 610.0),
                ("immich/database/1", "ghcr.io/immich-app/postgres:14", "healthy", 240.0),
                ("sonarr", "lscr.io/linuxserver/sonarr:latest", "", 190.0),
            ],
            Role::Web => &[("shop/web/1", "nginx:1.29", "healthy", 18.0), ("shop/queue/1", "valkey/valkey:9", "", 9.0)],
            Role::Nas | Role::Pi => &[
                ("homeassistant", "ghcr.io/home-assistant/home-assistant:stable", "healthy", 420.0),
                ("esphome", "ghcr.io/esphome/esphome:2025.11", "", 150.0),
            ],
            Role::Hypervisor | Role::Router if failing => &[
                ("vaultwarden", "vaultwarden/server:1.34", "healthy", 48.0),
                ("uptime", "louislam/uptime-kuma:2", "", 90.0),
            ],
            Role::Hypervisor | Role::Router => return Vec::new(),
        };
        let up = (now.boot_millis / 1000) as f64 - 40.0;
        let mut stopped = 0.0;
        let mut containers: Vec<Facet> = (0_u64..)
            .zip(plan)
            .map(|(number, (name, image, health, mib))| {
                let mut facet = Facet::owner("container", *name, "main");
                facet.text("engine", "docker");
                facet.text("image", *image);
                facet.text("id", format!("{:012x}", (u64::from(self.number) + 1) * 0x00f1_e2d3_c4b5 + number));
                facet.text("state", "running");
                let mut parts = name.split('/');
                if let (Some(project), Some(service)) = (parts.next(), parts.next()) {
                    facet.text("project", project);
                    facet.text("service", service);
                }
                facet.text("restart_policy", "unless-stopped");
                facet.text("started_at", ago(now, up as u64));
                let busy = self.busy(now) * (1.0 + 0.5 * self.noise(80 + number, now.wall.millis() / 1000));
                let ill = failing && number == 0;
                if !health.is_empty() {
                    facet.text("health", if ill { "unhealthy" } else { *health });
                    facet.read("unhealthy", f64::from(u8::from(ill)));
                }
                if ill {
                    facet.text("health_output", "wget: can't connect to remote host (127.0.0.1): Connection refused");
                }
                let loops = failing && number == 1;
                facet.read("running", 1.0);
                facet.read("failed", 0.0);
                facet.read("restarting", 0.0);
                facet.read("restarts", if loops { 48.0 } else { 0.0 });
                facet.read("recent_restarts", if loops { 12.0 } else { 0.0 });
                if loops {
                    facet.read("exit_code", 1.0);
                    facet.text("exit_status", "1");
                }
                facet.read("uptime_seconds", if loops { 21.0 } else { up });
                facet.read("cpu_ratio", (busy * mib / 300.0).max(0.0));
                facet.read("memory_bytes", (mib * (1.0 + 0.1 * busy) * 256.0).round() * 4096.0);
                facet.read("memory_limit_bytes", 1024.0 * MIB);
                facet.read("memory_used_ratio", mib * (1.0 + 0.1 * busy) / 1024.0);
                facet.read("tasks", (mib / 16.0).ceil());
                facet.read("receive_bytes_per_second", (busy * 4.0e5).max(0.0).round());
                facet.read("transmit_bytes_per_second", (busy * 2.5e5).max(0.0).round());
                facet.read("read_bytes_per_second", 0.0);
                facet.read("write_bytes_per_second", (busy * mib * 700.0).max(0.0).round());
                facet
            })
            .collect();
        if self.role == Role::Media {
            let mut facet = Facet::owner("container", "old-experiment", "main");
            facet.text("engine", "docker");
            facet.text("image", "debian:13");
            facet.text("id", format!("{:012x}", u64::from(self.number) + 0x00aa_0000_0000));
            facet.text("state", "exited");
            facet.text("restart_policy", "unless-stopped");
            facet.text("finished_at", ago(now, 500_000));
            facet.flag("stopped_by_user", true);
            facet.read("running", 0.0);
            facet.read("failed", 0.0);
            facet.read("exit_code", 0.0);
            containers.push(facet);
            stopped = 1.0;
        }
        let mut engine = Facet::owner("container_engine", "docker", "main");
        engine.text("version", "28.5.1");
        engine.text("api_version", "1.51");
        engine.text("socket", "/run/docker.sock");
        engine.read("containers", containers.len() as f64);
        engine.read("running", containers.len() as f64 - stopped);
        engine.read("paused", 0.0);
        engine.read("stopped", stopped);
        containers.push(engine);
        vec![Scope::complete("container:docker", containers)]
    }

    /// What the slow tier adds to Docker, where the role has it.
    pub(super) fn container_disk(&self) -> Vec<Scope> {
        if matches!(self.role, Role::Hypervisor | Role::Router) && self.story != Story::Failing {
            return Vec::new();
        }
        let mut disk = Facet::extra("container_engine", "docker", "disk");
        disk.read("images_bytes", 4.0 * 0.8e9);
        disk.read("images_unused_bytes", 2.3e9);
        disk.read("images", 4.0 + 4.0);
        disk.read("containers_bytes", 42.0 * MIB);
        disk.read("volumes_bytes", 5.1e9);
        disk.read("volumes_unused_bytes", 0.4e9);
        disk.read("volumes", 4.0);
        disk.read("build_cache_bytes", 1.1e9);
        vec![Scope::complete("container_disk:docker", vec![disk])]
    }

    /// What the host must be able to reach. The failing host does not reach
    /// its broker, and a certificate is about to end.
    pub(super) fn checks(&self, now: Moment) -> Vec<Scope> {
        let failing = self.story == Story::Failing;
        let check = |name: &str, kind: &str, target: &str, purpose: u64, latency: f64| {
            let mut facet = Facet::owner("check", name, "main");
            facet.text("type", kind);
            facet.text("target", target);
            facet.read("up", 1.0);
            facet.read("down", 0.0);
            facet.read("latency_seconds", latency * (1.0 + 0.3 * self.noise(purpose, now.wall.millis() / 60_000)));
            facet
        };
        let mut gateway = check("gateway", "ping", "192.0.2.254", 120, 0.000_8);
        gateway.read("packet_loss_ratio", 0.0);
        let mut site = check("site", "http", "https://www.example.org/", 121, 0.041);
        site.read("http_status", 200.0);
        let left: i64 = if failing { 2 * 86_400 } else { 61 * 86_400 };
        site.text("certificate_expires", later(now, left));
        site.read("certificate_remaining_seconds", left as f64);
        let name = check("name", "dns", "www.example.org", 122, 0.004);
        let mut broker = check("broker", "mqtt", "mqtt://broker.example:1883", 123, 0.003);
        if failing {
            broker = Facet::owner("check", "broker", "main");
            broker.text("type", "mqtt");
            broker.text("target", "mqtt://broker.example:1883");
            broker.text("error", "connection refused");
            broker.read("up", 0.0);
            broker.read("down", 1.0);
        }
        let mut scopes: Vec<_> = [gateway, site, name, broker]
            .into_iter()
            .map(|facet| Scope::complete(format!("check:{}", facet.resource.name), vec![facet]))
            .collect();
        if self.role == Role::Router {
            let peers = [("phone", false, 7_300.0), ("cabin", true, 61.0)].into_iter().map(|(name, online, age)| {
                let mut facet = Facet::owner("peer", format!("wg0/{name}"), "main");
                facet.text("type", "wireguard");
                facet.text("addresses", "10.8.0.2/32");
                facet.text("endpoint", "198.51.100.7:51820");
                facet.read("online", f64::from(u8::from(online)));
                facet.read("handshake_age_seconds", age);
                facet.read("receive_bytes_per_second", if online { (self.busy(now) * 9e4).round() } else { 0.0 });
                facet.read("transmit_bytes_per_second", if online { (self.busy(now) * 4e4).round() } else { 0.0 });
                facet
            });
            scopes.push(Scope::complete("peer:wireguard", peers.collect()));
        }
        scopes
    }

    /// What the host's owner added.
    pub(super) fn probes(&self, now: Moment) -> Vec<Scope> {
        let mut water = Facet::owner("probe", "water", "main");
        let wet = self.story == Story::Failing;
        water.text("text", if wet { "on" } else { "off" });
        water.read("on", f64::from(u8::from(wet)));
        water.read("problem", f64::from(u8::from(wet)));
        water.read("failed", 0.0);
        water.read("duration_seconds", 0.012);
        let mut rack = Facet::owner("probe", "rack", "main");
        rack.read("value_celsius", 24.0 + 6.0 * self.busy(now));
        rack.read("failed", 0.0);
        rack.read("duration_seconds", 0.031);
        vec![Scope::complete("probe:water", vec![water]), Scope::complete("probe:rack", vec![rack])]
    }

    /// Metrics that a program of the host's owner leaves in a file; where things
    /// go wrong, it has stopped to.
    pub(super) fn textfiles(&self, now: Moment) -> Vec<Scope> {
        let mut file = Facet::owner("textfile", "ups", "main");
        let since = if self.story == Story::Failing { 86_400.0 } else { 0.0 };
        file.read("file_age_seconds", since + (now.wall.millis() / 1000 % 60) as f64);
        vec![Scope::complete("textfile:ups", vec![file])]
    }
}
