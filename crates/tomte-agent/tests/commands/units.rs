//! The units that are shipped, in a systemd that booted: a socket that is there
//! only beside a list of commands, and a service that it starts.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tomte_agent::command::client::{self, NotRun};
use tomte_agent::command::{Commands, Run};
use tomte_model::HostId;

/// Nothing here takes that long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(180);
const UNITS: [&str; 2] = ["tomte-agent-commands.socket", "tomte-agent-commands.service"];
const LIST: &str = "[[commands.available]]\ntrigger = \"who\"\ncommand = [\"/usr/bin/id\", \"-un\"]\n";
/// The group of the agent, in this machine.
const TOMTE: u32 = 989;

/// A machine on this one's /usr, that is off again when this goes.
struct Machine {
    leader: String,
    nspawn: Child,
    folder: TempDir,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SIGRTMIN+4 is "power off" to systemd.
        let _ = Command::new("kill").args(["-s", "RTMIN+4", &self.leader]).status();
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until && self.nspawn.try_wait().is_ok_and(|status| status.is_none()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
    }
}

impl Machine {
    fn boot() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let top = folder.path().join("root");
        let units = top.join("etc/systemd/system");
        fs::create_dir_all(units.join("sockets.target.wants")).unwrap();
        for place in ["etc/tomte", "usr", "var", "run", "tmp", "proc", "sys", "dev", "root"] {
            fs::create_dir(top.join(place)).unwrap();
        }
        for link in ["bin", "sbin", "lib", "lib32", "lib64"] {
            symlink(Path::new("usr").join(link), top.join(link)).unwrap();
        }
        let etc = |name: &str, text: &str| fs::write(top.join("etc").join(name), text).unwrap();
        etc("os-release", "ID=test\n");
        etc("machine-id", "");
        let nobody = "nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin";
        etc("passwd", &format!("root:x:0:0::/root:/bin/sh\ntomte:x:{TOMTE}:{TOMTE}::/:/bin/false\n{nobody}\n"));
        etc("group", &format!("root:x:0:\ntomte:x:{TOMTE}:\nnogroup:x:65534:\n"));
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
        for name in UNITS {
            fs::copy(shipped.join(name), units.join(name)).unwrap();
        }
        symlink(Path::new("..").join(UNITS[0]), units.join("sockets.target.wants").join(UNITS[0])).unwrap();
        // The program is where the units look for it, over this machine's /usr.
        let own = folder.path().join("own");
        fs::create_dir_all(own.join("bin")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_tomte-agent"), own.join("bin/tomte-agent")).unwrap();
        let mut command = Command::new("systemd-nspawn");
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1").arg("-q").arg("-D").arg(&top);
        command.arg(format!("--overlay-ro=/usr:{}:/usr", own.display()));
        command.args(["--register=no", "--keep-unit", "--private-network", "--console=passive"]);
        command.args(["-M", &format!("tomte-commands-{}", std::process::id())]);
        command.args(["-b", "systemd.unit=basic.target"]).stdin(Stdio::null()).stdout(Stdio::null());
        let nspawn = command.spawn().unwrap();
        let mut machine = Self { leader: String::new(), nspawn, folder };
        let children = format!("/proc/{0}/task/{0}/children", machine.nspawn.id());
        machine.leader = machine.until("its first process", |_| {
            fs::read_to_string(&children).ok()?.split_whitespace().next().map(str::to_owned)
        });
        machine.until("the end of booting", |machine| {
            let state = machine.systemctl(&["is-active", "basic.target"]);
            state.status.success().then_some(())
        });
        machine
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(begin.elapsed() < PATIENCE, "the machine never came to {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn systemctl(&self, arguments: &[&str]) -> Output {
        let inside = ["--target", &self.leader, "--mount", "--pid", "systemctl"];
        Command::new("nsenter").args(inside).args(arguments).output().expect("nsenter runs")
    }

    fn is(&self, unit: &str) -> String {
        String::from_utf8_lossy(&self.systemctl(&["is-active", unit]).stdout).trim().to_owned()
    }

    fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }
}

fn run(machine: &Machine, text: &str) -> Result<String, NotRun> {
    let host = HostId::from_parts(1, 2);
    let list = Commands::parse(Path::new("commands.toml"), text).unwrap();
    let (command, allowed) = list.allowed(host, "who", &[]).unwrap();
    let request = Run { host, trigger: "who".to_owned(), arguments: Vec::new(), plan_hash: allowed.plan.hash };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let socket = machine.inside("/run/tomte-commands.sock");
    let answer = client::run(&socket, &request, command.limit);
    runtime.block_on(answer).map(|result| format!("{:?} {}{}", result.exit_code, result.output, result.error))
}

#[test]
fn the_units_run_the_lists_commands_and_nothing_without_a_list() {
    let found = |program: &str| ["/usr/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !super::is_root() || !found("systemd-nspawn") || !found("nsenter") {
        eprintln!("SKIPPED: booting a systemd needs root, systemd-nspawn and nsenter; see scripts/test-setup.sh");
        return;
    }
    let machine = Machine::boot();
    let [socket, service] = UNITS;
    assert_eq!(machine.is(socket), "inactive", "there is no list");
    assert!(!machine.inside("/run/tomte-commands.sock").exists());

    fs::write(machine.folder.path().join("root/etc/tomte/commands.toml"), LIST).unwrap();
    let started = machine.systemctl(&["start", socket]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let meta = fs::metadata(machine.inside("/run/tomte-commands.sock")).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.uid(), meta.gid()), (0o660, 0, TOMTE));
    assert_eq!(machine.is(service), "inactive", "nobody has asked");

    assert_eq!(run(&machine, LIST).unwrap(), "Some(0) nobody\n");
    assert_eq!(machine.is(service), "active");
    let other = LIST.replace("-un", "-u");
    let refused = run(&machine, &other).unwrap_err();
    assert!(format!("{refused:?}").contains("says otherwise now"), "{refused:?}");
    let wrong = machine.systemctl(&["show", "--property=LoadError,Result", socket, service]);
    let wrong = String::from_utf8_lossy(&wrong.stdout).into_owned();
    assert!(!wrong.contains("LoadError=org") && wrong.matches("Result=success").count() == 2, "{wrong}");
}
