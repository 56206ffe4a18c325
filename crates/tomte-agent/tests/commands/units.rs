//! The units that are shipped, in a systemd that booted, with a mosquitto of its
//! own: a socket that is there only beside a list of commands, the agent as its
//! own user, and the service that runs what it asks for.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::support::{Ended, program, until};

/// Nothing here takes that long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(180);
const SOCKET: &str = "tomte-agent-commands.socket";
const SERVICE: &str = "tomte-agent-commands.service";
const AGENT: &str = "tomte-agent.service";
const LIST: &str = "[[commands.available]]\ntrigger = \"who\"\ncommand = [\"/usr/bin/id\", \"-un\"]\n\
                    mqtt = \"run\"\n";
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
        etc("mosquitto.conf", "user root\npersistence false\nlistener 1883 127.0.0.1\nallow_anonymous true\n");
        etc("tomte/agent.toml", "name = \"nas\"\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\nstart_delay = \"0s\"\n");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
        for name in [SOCKET, SERVICE, AGENT] {
            fs::copy(shipped.join(name), units.join(name)).unwrap();
        }
        symlink(Path::new("..").join(SOCKET), units.join("sockets.target.wants").join(SOCKET)).unwrap();
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
        // The first child prepares the machine, and is not its first process.
        let begin = Instant::now();
        while !machine.systemctl(&["is-active", "basic.target"]).status.success() {
            assert!(begin.elapsed() < PATIENCE, "the machine does not boot");
            std::thread::sleep(Duration::from_millis(50));
            let known = fs::read_to_string(&children).unwrap_or_default();
            machine.leader = known.split_whitespace().next().unwrap_or("0").to_owned();
        }
        machine
    }

    /// A program of the machine.
    fn run(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.leader, "--mount", "--pid", "--net"]).arg(program).args(arguments);
        command
    }

    fn systemctl(&self, arguments: &[&str]) -> Output {
        self.run(Path::new("/usr/bin/systemctl"), arguments).output().expect("nsenter runs")
    }

    fn start(&self, unit: &str) {
        let started = self.systemctl(&["start", unit]);
        let journal = self.run(Path::new("/usr/bin/journalctl"), &["--no-pager", "--lines=20"]).output().unwrap();
        assert!(started.status.success(), "{unit}: {}", String::from_utf8_lossy(&journal.stdout));
    }

    fn is(&self, unit: &str) -> String {
        String::from_utf8_lossy(&self.systemctl(&["is-active", unit]).stdout).trim().to_owned()
    }

    fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }

    /// Asks until there is an answer: who listens may be a moment late. The same
    /// request runs once.
    fn ask(&self, request: &str) -> Value {
        let begin = Instant::now();
        loop {
            let listen = ["-h", "127.0.0.1", "-t", "tomte/nas/responses", "-C", "1", "-W", "3"];
            let mut listener = self.run(&program("mosquitto_sub"), &listen);
            let listener = listener.stdout(Stdio::piped()).spawn().unwrap();
            let _ = self
                .run(&program("mosquitto_pub"), &["-h", "127.0.0.1", "-t", "tomte/nas/commands", "-m", request])
                .output();
            let answer = listener.wait_with_output().unwrap();
            if let Ok(answer) = serde_json::from_slice(&answer.stdout) {
                return answer;
            }
            assert!(begin.elapsed() < PATIENCE, "nobody answers");
        }
    }
}

#[test]
fn the_units_run_the_lists_commands_and_nothing_without_a_list() {
    let found = |program: &str| ["/usr/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !super::is_root() || !found("systemd-nspawn") || !found("nsenter") {
        eprintln!("SKIPPED: booting a systemd needs root, systemd-nspawn and nsenter; see scripts/test-setup.sh");
        return;
    }
    let machine = Machine::boot();
    assert_eq!(machine.is(SOCKET), "inactive", "there is no list");
    assert!(!machine.inside("/run/tomte-commands.sock").exists());

    fs::write(machine.folder.path().join("root/etc/tomte/commands.toml"), LIST).unwrap();
    machine.start(SOCKET);
    let meta = fs::metadata(machine.inside("/run/tomte-commands.sock")).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.uid(), meta.gid()), (0o660, 0, TOMTE));

    let mut mosquitto = machine.run(&program("mosquitto"), &["-c", "/etc/mosquitto.conf"]);
    let _broker = Ended::of(mosquitto.stderr(Stdio::null()).spawn().unwrap());
    machine.start(AGENT);
    assert_eq!(machine.is(SERVICE), "inactive", "nobody has asked");
    let answer = machine.ask(r#"{"command":"who","request_id":"r1"}"#);
    assert_eq!((&answer["status"], &answer["output"]), (&"completed".into(), &"nobody\n".into()), "{answer}");
    assert_eq!((machine.is(SERVICE), machine.is(AGENT)), ("active".to_owned(), "active".to_owned()));
    until("the journal has the audit", || {
        let journal = machine.run(Path::new("/usr/bin/journalctl"), &["--no-pager", "--unit", AGENT]).output().unwrap();
        let journal = String::from_utf8_lossy(&journal.stdout);
        let audit = |outcome: &str| {
            let outcome = format!("outcome={outcome:?}");
            journal.lines().any(|line| line.contains("audit") && line.contains(&outcome) && line.contains("r1"))
        };
        audit("running") && audit("completed")
    });
}
