//! Made-up hosts for the tests: a fleet of any size with something of
//! everything, always the same.

use std::collections::BTreeMap;

use tomte_api::event::Event;
use tomte_api::host::{Host, Presence};
use tomte_api::live::{Body, Message, Snapshot};
use tomte_api::resource::{Facet, Resource, Table};
use tomte_model::{EventId, HostId, Problem, Severity, Status, Timestamp, Value};

/// The present of the tests: 2026-09-21 14:13:20 UTC.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

pub(crate) fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.millis() - seconds * 1_000)
}

pub(crate) fn host_id(number: u32) -> HostId {
    HostId::from_parts(1_700_000_000_000, u128::from(number))
}

pub(crate) fn host(number: u32, name: &str) -> Host {
    Host {
        id: host_id(number),
        name: name.to_owned(),
        aliases: Vec::new(),
        roles: vec![["storage", "web", "router", "media"][number as usize % 4].to_owned()],
        external_ids: BTreeMap::new(),
        via: Vec::new(),
        presence: Presence::Online,
        status: Some(Status::Ok),
        reason: String::new(),
        problems: Vec::new(),
        last_seen_at: Some(ago(i64::from(number % 9))),
        created_at: ago(86_400),
        agent_version: Some("0.1.0".to_owned()),
        skew_seconds: None,
        clock_synchronised: Some(true),
        resources: 40,
        backlog: 0,
        cluster: None,
        cluster_of: None,
    }
}

/// The host in trouble.
pub(crate) fn troubled(mut host: Host, status: Status, reason: &str) -> Host {
    host.status = Some(status);
    host.reason = reason.to_owned();
    let since = ago(3_700);
    host.problems =
        vec![Problem { field: "filesystem:/srv/tank/used_ratio".into(), status, reason: reason.to_owned(), since }];
    host
}

pub(crate) fn resource(id: HostId, kind: &str, name: &str, readings: &[(&str, f64)]) -> Resource {
    let facet = Facet {
        at: ago(2),
        stale: false,
        status: Some(Status::Ok),
        failure: None,
        collector: kind.to_owned(),
        interval_ms: 10_000,
    };
    Resource {
        host: "nas".to_owned(),
        host_id: id,
        kind: kind.to_owned(),
        name: name.to_owned(),
        status: Some(Status::Ok),
        reason: String::new(),
        problems: Vec::new(),
        stale: false,
        at: ago(2),
        facets: BTreeMap::from([("main".to_owned(), facet)]),
        attributes: BTreeMap::new(),
        readings: readings.iter().map(|(field, value)| ((*field).to_owned(), *value)).collect(),
        tables: BTreeMap::new(),
    }
}

fn with(mut resource: Resource, attributes: &[(&str, &str)]) -> Resource {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), Value::Text((*value).to_owned()));
    resource.attributes.extend(attributes.iter().map(text));
    resource
}

fn judged(mut resource: Resource, field: &'static str, status: Status, reason: &str) -> Resource {
    resource.status = Some(status);
    resource.reason = reason.to_owned();
    let problem = Problem { field: field.into(), status, reason: reason.to_owned(), since: ago(600) };
    resource.problems = vec![problem];
    resource
}

fn tabled(mut resource: Resource, name: &str, columns: &[&str], rows: &[&[Option<Value>]]) -> Resource {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    let rows = rows.iter().map(|row| row.to_vec()).collect();
    resource.tables.insert(name.to_owned(), Table { columns, rows });
    resource
}

fn words(text: &str) -> Option<Value> {
    Some(Value::Text(text.to_owned()))
}

fn number(value: f64) -> Option<Value> {
    Some(Value::Number(value))
}

/// What the fleet's columns read of a host.
pub(crate) fn narrow(id: HostId, number: u32) -> Vec<Resource> {
    let part = |step: u32| f64::from(number * step % 97) / 100.0;
    vec![
        resource(id, "cpu", "cpu", &[("usage_ratio", part(7))]),
        resource(id, "memory", "memory", &[("used_ratio", part(13))]),
        resource(id, "filesystem", "/", &[("used_ratio", part(29))]),
        resource(id, "sensor", "coretemp/Package", &[("temperature_celsius", 30.0 + part(11) * 40.0)]),
        resource(
            id,
            "interface",
            "eth0",
            &[("receive_bytes_per_second", part(17) * 1e7), ("transmit_bytes_per_second", part(19) * 1e6)],
        ),
        resource(id, "disk", "sda", &[("wear_used_ratio", part(5)), ("temperature_celsius", 38.0)]),
        resource(id, "service", "sshd", &[("running", 1.0)]),
        judged(resource(id, "service", "nginx", &[("running", 0.0)]), "failed", Status::Warning, "nginx failed"),
        resource(id, "backup", "photos", &[("age_seconds", 50_000.0)]),
        resource(id, "updates", "updates", &[("pending", f64::from(number % 30))]),
    ]
}

/// The names of a fleet.
pub(crate) fn name(number: u32) -> String {
    const NAMES: [&str; 5] = ["nas", "web", "router", "media", "pve"];
    format!("{}-{}", NAMES[number as usize % 5], number / 5 + 1)
}

/// A fleet of so many hosts; some are in trouble.
pub(crate) fn fleet(count: u32) -> Snapshot {
    let hosts: Vec<Host> = (0..count)
        .map(|number| {
            let host = host(number, &name(number));
            match number % 11 {
                3 => troubled(host, Status::Warning, "/ is 91 % full"),
                7 => troubled(host, Status::Critical, "/srv/tank is 97 % full"),
                9 => Host {
                    presence: Presence::Offline,
                    last_seen_at: Some(ago(7_300)),
                    ..troubled(host, Status::Unknown, "not heard of for 2 h")
                },
                _ => host,
            }
        })
        .collect();
    let resources = hosts.iter().zip(0..).flat_map(|(host, number)| narrow(host.id, number)).collect();
    Snapshot { at: NOW, hosts, resources }
}

/// One host with something of every panel.
#[expect(clippy::too_many_lines, reason = "it is a list")]
pub(crate) fn everything(id: HostId) -> Vec<Resource> {
    let all = |kind: &str, name: &str, readings: &[(&str, f64)]| resource(id, kind, name, readings);
    let smart = [
        ("temperature_celsius", 41.0),
        ("wear_used_ratio", 0.34),
        ("power_on_seconds", 4.1e7),
        ("utilisation_ratio", 0.12),
        ("read_bytes_per_second", 3.2e6),
        ("write_bytes_per_second", 9.1e5),
        ("size_bytes", 1e12),
    ];
    let processes: Vec<Vec<Option<Value>>> = [("postgres", 0.42, 1.2e9), ("smbd", 0.07, 9e7), ("倉庫", 0.01, 3e6)]
        .into_iter()
        .zip(1..)
        .map(|((name, cpu, memory), pid)| {
            let pid = number(1_000.0 + f64::from(pid));
            vec![pid, words(name), words("root"), number(cpu), number(memory), Some(Value::Bool(false))]
        })
        .collect();
    let processes: Vec<&[Option<Value>]> = processes.iter().map(Vec::as_slice).collect();
    let columns = ["pid", "name", "user", "cpu_ratio", "resident_bytes", "own"];
    let process = all("process", "processes", &[("processes", 214.0)]);
    let process = tabled(process, "top_by_cpu", &columns, &processes);
    let process = tabled(process, "top_by_memory", &columns, &processes);
    let vdev = |depth: f64, name: &str, state: &str, errors: f64| {
        vec![number(depth), words(name), words("data"), words(state), number(errors), number(0.0), number(0.0), None]
    };
    let vdevs =
        [vdev(0.0, "mirror-0", "DEGRADED", 0.0), vdev(1.0, "sda", "ONLINE", 0.0), vdev(1.0, "sdb", "FAULTED", 17.0)];
    let vdevs: Vec<&[Option<Value>]> = vdevs.iter().map(Vec::as_slice).collect();
    let vdev_columns = ["depth", "name", "role", "state", "read_errors", "write_errors", "checksum_errors", "note"];
    let pool = all(
        "pool",
        "tank",
        &[
            ("used_ratio", 0.71),
            ("allocated_bytes", 3.9e13),
            ("size_bytes", 5.5e13),
            ("scrub_age_seconds", 1.2e6),
            ("scan_progress_ratio", 0.42),
            ("scan_remaining_seconds", 5_400.0),
        ],
    );
    let pool = with(pool, &[("state", "DEGRADED"), ("scan", "scrub"), ("scan_state", "running")]);
    let pool = judged(pool, "impairment", Status::Warning, "tank is DEGRADED: sdb of mirror-0 is FAULTED");
    let packages: Vec<Vec<Option<Value>>> = [("openssl", true), ("vim", false)]
        .into_iter()
        .map(|(name, security)| vec![words(name), words("1.0-1"), words("1.0-2"), Some(Value::Bool(security))])
        .collect();
    let packages: Vec<&[Option<Value>]> = packages.iter().map(Vec::as_slice).collect();
    let updates = all("updates", "updates", &[("pending", 2.0), ("security", 1.0), ("restart_required", 1.0)]);
    let updates = with(updates, &[("manager", "apt"), ("restart_reason", "linux-image")]);
    let mut stale = all("sensor", "nct6798/fan1", &[("fan_rpm", 812.0)]);
    stale.stale = true;
    let mut listed = vec![
        all("host", "host", &[("uptime_seconds", 1.2e6), ("users_logged_in", 1.0)]),
        with(
            all("os", "os", &[]),
            &[("name", "Debian GNU/Linux 13 (trixie)"), ("kernel", "6.12.48+deb13-amd64"), ("architecture", "x86_64")],
        ),
        all(
            "cpu",
            "cpu",
            &[
                ("usage_ratio", 0.37),
                ("user_ratio", 0.25),
                ("system_ratio", 0.1),
                ("iowait_ratio", 0.02),
                ("frequency_hertz", 3.4e9),
            ],
        ),
        all("load", "load", &[("load1", 1.5), ("load5", 1.25), ("load15", 0.97)]),
        all(
            "memory",
            "memory",
            &[
                ("used_ratio", 0.61),
                ("used_bytes", 9.8e9),
                ("total_bytes", 1.6e10),
                ("cached_bytes", 3.1e9),
                ("zfs_arc_bytes", 2.2e9),
                ("swap_total_bytes", 2.1e9),
                ("swap_used_bytes", 8e8),
                ("swap_used_ratio", 0.38),
            ],
        ),
        all(
            "zram",
            "zram0",
            &[("used_ratio", 0.2), ("original_bytes", 8e8), ("size_bytes", 4e9), ("compression_ratio", 3.1)],
        ),
        all("tmpfs", "/tmp", &[("used_ratio", 0.01), ("used_bytes", 8e7), ("size_bytes", 8e9)]),
        all("pressure", "cpu", &[("some_avg10_ratio", 0.03), ("some_avg60_ratio", 0.02), ("some_avg300_ratio", 0.01)]),
        all("pressure", "memory", &[("some_avg10_ratio", 0.0), ("some_avg60_ratio", 0.0), ("some_avg300_ratio", 0.0)]),
        with(
            all("filesystem", "/", &[("used_ratio", 0.57), ("used_bytes", 5.3e10), ("size_bytes", 9.3e10)]),
            &[("type", "ext4")],
        ),
        with(
            judged(
                all("filesystem", "/srv/tank", &[("used_ratio", 0.97), ("used_bytes", 5.3e13), ("size_bytes", 5.5e13)]),
                "used_ratio",
                Status::Critical,
                "/srv/tank is 97 % full",
            ),
            &[("type", "zfs")],
        ),
        with(all("disk", "wwn-0x5000", &smart), &[("device", "nvme0n1"), ("model", "EXAMPLE SSD 1TB")]),
        tabled(pool, "vdevs", &vdev_columns, &vdevs),
        all("dataset", "tank/home", &[("used_bytes", 1.2e12), ("available_bytes", 1.6e13), ("snapshots", 31.0)]),
        with(
            all("interface", "eth0", &[("receive_bytes_per_second", 1.3e6), ("transmit_bytes_per_second", 7.8e5)]),
            &[("state", "up"), ("addresses", "192.0.2.10, 2001:db8::10")],
        ),
        with(
            judged(
                all("service", "nginx", &[("running", 0.0)]),
                "failed",
                Status::Critical,
                "nginx failed: exit-code 1",
            ),
            &[("state", "failed")],
        ),
        with(
            all("service", "postgresql", &[("cpu_ratio", 0.42), ("memory_bytes", 1.2e9), ("memory_limit_bytes", 4e9)]),
            &[("state", "active")],
        ),
        all("timer", "fstrim", &[("since_last_run_seconds", 86_400.0), ("until_next_run_seconds", 500_000.0)]),
        with(
            all(
                "container",
                "home/assistant",
                &[("cpu_ratio", 0.31), ("memory_bytes", 4.3e8), ("uptime_seconds", 3e5)],
            ),
            &[("state", "running")],
        ),
        with(
            all("guest", "101", &[("cpu_ratio", 0.8), ("memory_bytes", 2e9), ("memory_limit_bytes", 4e9)]),
            &[("name", "datenbank"), ("state", "running")],
        ),
        with(
            all(
                "container_engine",
                "docker",
                &[("running", 11.0), ("containers", 14.0), ("images_bytes", 8.1e9), ("volumes_bytes", 3.2e10)],
            ),
            &[("version", "28.5.1")],
        ),
        with(
            all("cluster", "home", &[("quorate", 1.0), ("nodes", 3.0), ("online_nodes", 2.0)]),
            &[("offline", "pve-3")],
        ),
        with(
            tabled(
                all(
                    "node",
                    "pve",
                    &[("cpu_ratio", 0.2), ("running_guests", 3.0), ("guests", 5.0), ("failed_tasks", 1.0)],
                ),
                "failed",
                &["type", "id", "user", "started", "ended", "error"],
                &[&[words("vzdump"), words("101"), words("root@pam"), None, None, words("exit code 255")]],
            ),
            &[("state", "online")],
        ),
        with(
            all(
                "replication",
                "101-0",
                &[("age_seconds", 620.0), ("duration_seconds", 3.2), ("until_next_run_seconds", 280.0)],
            ),
            &[("state", "ok"), ("target", "pve-2")],
        ),
        with(
            all(
                "peer",
                "wg0/phone",
                &[
                    ("handshake_age_seconds", 71.0),
                    ("receive_bytes_per_second", 1.4e4),
                    ("transmit_bytes_per_second", 2.9e5),
                ],
            ),
            &[("endpoint", "198.51.100.7:51820")],
        ),
        with(all("probe", "ups", &[("value_ratio", 0.98), ("duration_seconds", 0.02)]), &[("text", "on line")]),
        all("textfile", "backup{job=\"db\"}", &[("backup_last_success", 1.0), ("file_age_seconds", 410.0)]),
        all(
            "arc",
            "arc",
            &[("size_bytes", 7.2e9), ("maximum_bytes", 1.6e10), ("hit_ratio", 0.987), ("misses_per_second", 12.0)],
        ),
        with(
            all("storage", "local-zfs", &[("used_ratio", 0.4), ("used_bytes", 4e11), ("total_bytes", 1e12)]),
            &[("type", "zfspool")],
        ),
        with(
            all("backup", "photos", &[("age_seconds", 50_000.0), ("duration_seconds", 640.0), ("size_bytes", 3.1e11)]),
            &[("state", "ok")],
        ),
        tabled(updates, "packages", &["name", "installed", "offered", "security"], &packages),
        with(
            all(
                "gpu",
                "0000:01:00.0",
                &[
                    ("utilisation_ratio", 0.55),
                    ("memory_used_bytes", 4e9),
                    ("memory_size_bytes", 8e9),
                    ("power_watts", 121.0),
                ],
            ),
            &[("model", "EXAMPLE RTX")],
        ),
        with(all("check", "site", &[("latency_seconds", 0.052)]), &[("target", "https://www.example.org")]),
        all("sensor", "coretemp/Package id 0", &[("temperature_celsius", 47.0), ("critical_celsius", 100.0)]),
        stale,
        process,
        with(all("collector", "cpu", &[("duration_seconds", 0.0004)]), &[("outcome", "ok")]),
        with(all("agent", "agent", &[("resident_bytes", 3.4e6)]), &[("version", "0.1.0")]),
        with(all("moon_phase", "moon", &[("lit_ratio", 0.83)]), &[("state", "waxing")]),
    ];
    listed.extend((0..8).map(|core| all("core", &core.to_string(), &[("usage_ratio", f64::from(core) / 8.0)])));
    listed
}

pub(crate) fn event(number: u32, severity: Severity, message: &str) -> Event {
    Event {
        receipt: u64::from(number),
        id: EventId::from_parts(1, u128::from(number)),
        at: ago(i64::from(number) * 97),
        received_at: ago(i64::from(number) * 97),
        host: Some(name(number)),
        host_id: Some(host_id(number)),
        source: "agent".to_owned(),
        kind: "status_changed".to_owned(),
        severity,
        subject: Some("filesystem:/".to_owned()),
        correlation_id: None,
        message: message.to_owned(),
        details: BTreeMap::from([("from".to_owned(), "ok".to_owned()), ("to".to_owned(), severity.to_string())]),
    }
}

/// Some of everything that happens.
pub(crate) fn events(count: u32) -> Vec<Event> {
    let one = |number| match number % 4 {
        0 => event(number, Severity::Critical, "/srv/tank is 97 % full"),
        1 => event(number, Severity::Info, "the host is online"),
        2 => event(number, Severity::Warning, "nginx failed: exit-code 1"),
        _ => event(number, Severity::Error, "the collector smart failed: no such device"),
    };
    (0..count).map(one).collect()
}

pub(crate) fn message(id: &str, body: Body) -> Message {
    Message { id: id.to_owned(), body }
}
