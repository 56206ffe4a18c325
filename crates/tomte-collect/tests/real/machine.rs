//! A systemd that booted: in a container of its own, on this machine's /usr.

use std::fs;
use std::path::Path;
use std::process::Command;

use tomte_collect::{Root, Settings};

use crate::{Running, collector, find, missing, run, skipped, text, until};

const UNITS: &[(&str, &str)] = &[
    ("failing.service", "[Service]\nType=exec\nExecStart=/bin/sh -c 'exit 3'\n"),
    ("nightly.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n"),
    ("busy.service", "[Service]\nExecStart=/bin/sh -c 'while :; do :; done'\n"),
    ("quiet.service", "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"),
    (
        "looping.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=200ms\n",
    ),
    (
        "keeper.service",
        "[Service]\nStateDirectory=keeper\nExecStart=/bin/sh -c 'head -c 300000 /dev/zero >/var/lib/keeper/data; exec sleep infinity'\n",
    ),
    ("tick.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
    ("tick.timer", "[Timer]\nOnActiveSec=0\nOnCalendar=yearly\n"),
    ("copy.timer", "[Timer]\nOnActiveSec=0\nOnCalendar=daily\nUnit=nightly.service\n"),
    ("later.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
    ("later.timer", "[Timer]\nOnCalendar=yearly\nPersistent=true\n"),
];
const WANTED: &[&str] = &[
    "failing.service",
    "nightly.service",
    "busy.service",
    "quiet.service",
    "looping.service",
    "keeper.service",
    "tick.timer",
    "copy.timer",
    "later.timer",
];

/// A machine that is off again when this goes.
struct Machine {
    leader: i32,
    _nspawn: Running,
    _folder: tempfile::TempDir,
}

impl Machine {
    /// Boots it, as far as it gets until systemd's first process is there.
    fn boot() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        let units = top.join("etc/systemd/system");
        fs::create_dir_all(units.join("multi-user.target.wants")).unwrap();
        for place in ["usr", "var", "run", "tmp", "proc", "sys", "dev", "root"] {
            fs::create_dir(top.join(place)).unwrap();
        }
        for link in ["bin", "sbin", "lib", "lib32", "lib64"] {
            std::os::unix::fs::symlink(Path::new("usr").join(link), top.join(link)).unwrap();
        }
        let etc = |name: &str, text: &str| fs::write(top.join("etc").join(name), text).unwrap();
        etc("os-release", "ID=test\n");
        etc("machine-id", "");
        etc("passwd", "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:100:100::/nonexistent:/usr/sbin/nologin\n");
        etc("group", "root:x:0:\nmessagebus:x:100:\n");
        for (name, text) in UNITS {
            fs::write(units.join(name), text).unwrap();
        }
        for name in WANTED {
            std::os::unix::fs::symlink(Path::new("..").join(name), units.join("multi-user.target.wants").join(name))
                .unwrap();
        }
        let mut command = Command::new("systemd-nspawn");
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1").arg("-q").arg("-D").arg(top);
        command.args(["--bind-ro=/usr", "--register=no", "--keep-unit", "--private-network", "--console=passive"]);
        command.args(["-M", &format!("tomte-test-{}", std::process::id())]);
        command.args(["-b", "systemd.unit=multi-user.target"]).stdout(std::process::Stdio::null());
        let nspawn = Running::start(&mut command);
        let end = std::time::Instant::now() + crate::PATIENCE;
        let leader = loop {
            let children = format!("/proc/{0}/task/{0}/children", nspawn.0.id());
            let children = fs::read_to_string(children).unwrap_or_default();
            let leader = children.split_whitespace().find_map(|pid| pid.parse::<i32>().ok());
            let bus = leader.map(|pid| format!("/proc/{pid}/root/run/dbus/system_bus_socket"));
            if let (Some(leader), true) = (leader, bus.is_some_and(|bus| Path::new(&bus).exists())) {
                break leader;
            }
            assert!(std::time::Instant::now() < end, "the machine did not boot");
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        Self { leader, _nspawn: nspawn, _folder: folder }
    }

    fn root(&self) -> Root {
        Root::new(format!("/proc/{}/root", self.leader))
    }

    fn call(&self, member: &str, arguments: &[&str]) {
        let bus = format!("--address=unix:path=/proc/{}/root/run/dbus/system_bus_socket", self.leader);
        let mut command = Command::new("busctl");
        command.args([&bus, "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"]);
        command.args(["org.freedesktop.systemd1.Manager", member]).args(arguments);
        run(&mut command);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SIGRTMIN+4 is "power off" to systemd.
        let _ = Command::new("kill").args(["-s", "RTMIN+4", &self.leader.to_string()]).status();
    }
}

#[test]
fn a_systemd_that_booted() {
    if let Some(why) = missing(&["systemd-nspawn", "systemd", "busctl", "dbus-daemon"]) {
        return skipped("a_systemd_that_booted", &why);
    }
    let machine = Machine::boot();
    let root = machine.root();
    let mut settings = Settings::default();
    settings.service.names = tomte_collect::Filter::new(["absent", "tick", "*"], []).unwrap();
    let mut systemd = collector("systemd", &root, &settings);
    let systemd = systemd.as_mut();

    let failing = until("unit that failed", systemd, |scopes| {
        find(scopes, "service:failing").filter(|facet| facet.reading("failed") == Some(2.0))
    });
    assert_eq!((text(&failing, "state").as_str(), text(&failing, "result").as_str()), ("failed", "exit-code 3"));
    let nightly = until("run that failed", systemd, |scopes| {
        find(scopes, "service:nightly").filter(|facet| facet.reading("failed").is_some_and(|failed| failed > 0.0))
    });
    assert_eq!(nightly.reading("failed"), Some(1.0), "it runs once and ends: a warning");
    let summary = until("summary", systemd, |scopes| {
        find(scopes, "systemd:systemd")
            .filter(|facet| facet.reading("failed_units").is_some_and(|failed| failed >= 2.0))
    });
    assert!(!text(&summary, "version").is_empty() && !summary.tables[0].rows.is_empty());

    let busy = until("service that works", systemd, |scopes| {
        find(scopes, "service:busy").filter(|facet| facet.reading("cpu_ratio").is_some_and(|cpu| cpu > 0.05))
    });
    assert_eq!((busy.reading("running"), busy.reading("failed")), (Some(1.0), Some(0.0)));
    // This machine may not count memory there; then it is missing, not huge.
    assert!(busy.reading("memory_bytes").is_none_or(|bytes| bytes < 1e12), "{busy:?}");
    let looping = until("service that restarts", systemd, |scopes| {
        find(scopes, "service:looping").filter(|facet| facet.reading("recent_restarts").is_some_and(|n| n >= 2.0))
    });
    assert!(looping.reading("restarts").is_some_and(|restarts| restarts >= 2.0), "{looping:?}");

    let absent = until("unit that is not there", systemd, |scopes| find(scopes, "service:absent"));
    assert_eq!((text(&absent, "state").as_str(), absent.reading("missing")), ("not-found", Some(1.0)));
    let timer = until("timer that ran", systemd, |scopes| {
        find(scopes, "timer:tick").filter(|facet| facet.reading("since_last_run_seconds").is_some())
    });
    assert_eq!((text(&timer, "unit").as_str(), text(&timer, "last_result").as_str()), ("tick.service", "success"));
    assert!(timer.reading("until_next_run_seconds").is_some_and(|until| until < 367.0 * 86_400.0), "{timer:?}");

    let quiet = until("service that runs", systemd, |scopes| {
        find(scopes, "service:quiet").filter(|facet| facet.reading("running") == Some(1.0))
    });
    assert!(quiet.attribute("stopped_by_user").is_none());
    machine.call("StopUnit", &["ss", "quiet.service", "replace"]);
    let quiet = until("service that was stopped", systemd, |scopes| {
        find(scopes, "service:quiet").filter(|facet| text(facet, "state") == "inactive")
    });
    assert_eq!((text(&quiet, "stopped_by_user").as_str(), quiet.reading("failed")), ("yes", Some(0.0)), "{quiet:?}");

    // Also to an agent that has only just started, and is told of no names.
    let mut newcomer = collector("systemd", &root, &Settings::default());
    let quiet = until("service that was stopped", newcomer.as_mut(), |scopes| find(scopes, "service:quiet"));
    assert_eq!(text(&quiet, "stopped_by_user"), "yes");

    timers_as_backups(&root);

    let mut disk = collector("service_disk", &root, &Settings::default());
    let keeper = until("state on disk", disk.as_mut(), |scopes| {
        find(scopes, "service:keeper")
            .filter(|facet| facet.reading("state_bytes").is_some_and(|bytes| bytes > 290_000.0))
    });
    assert_eq!(text(&keeper, "directories"), "/var/lib/keeper");
}

fn timers_as_backups(root: &Root) {
    let mut settings = Settings::default();
    for timer in ["tick", "copy", "later", "nobody"] {
        let job = format!("name = \"{timer}\"\ntype = \"timer\"\ntimer = \"{timer}\"\nexpected = \"1d\"\n");
        settings.backup.jobs.push(toml::from_str(&job).unwrap());
    }
    let mut backup = collector("backup", root, &settings);
    let mut in_state = |name: &str, state: &str| {
        until(&format!("{name} that is {state}"), backup.as_mut(), |scopes| {
            let scope = scopes.iter().find(|scope| scope.name == format!("backup:{name}")).unwrap();
            scope.facets.first().filter(|facet| text(facet, "state") == state).cloned()
        })
    };
    let good = in_state("tick", "ok");
    assert!(good.reading("age_ratio").is_some_and(|ratio| ratio < 1.0), "{good:?}");
    assert!(good.reading("duration_seconds").is_some() && good.reading("failed") == Some(0.0), "{good:?}");
    assert_eq!((text(&good, "type").as_str(), text(&good, "schedule").as_str()), ("timer", "*-01-01 00:00:00"));
    assert!(
        text(&good, "next_run").ends_with("-01-01T00:00:00.000Z") && text(&good, "repository").is_empty(),
        "{good:?}"
    );
    let failed = in_state("copy", "failed");
    assert_eq!((text(&failed, "error").as_str(), failed.reading("failed")), ("exit-code 1", Some(1.0)));
    assert_eq!(failed.reading("age_seconds"), None, "it has never gone well");
    assert_eq!(in_state("later", "never").reading("never"), Some(1.0));
    let scopes = backup.collect(tomte_model::Clock::now(&tomte_collect::SystemClock));
    let nobody = scopes.iter().find(|scope| scope.name == "backup:nobody").unwrap();
    assert!(nobody.outcome.error().is_some_and(|error| error.contains("nobody.timer")), "{nobody:?}");
}
