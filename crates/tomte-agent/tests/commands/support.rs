//! A host with a broker, a list of commands and a helper that runs them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A topic with something retained.
const BEGIN: &str = "test/begin";
/// Nothing here takes that long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits for another process, which tells nobody when it has come so far.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn program(name: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&paths).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no {name}; run scripts/test-setup.sh"))
}

/// A process that ends with its test.
pub(crate) struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ended {
    pub(crate) fn of(child: Child) -> Self {
        Self(child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap(), signal).unwrap();
    }

    /// A clean end.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert!(self.0.wait().unwrap().success());
    }
}

fn tomte_agent() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tomte-agent"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TOMTE_")) {
        command.env_remove(name);
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM").stdin(Stdio::null());
    command
}

/// A host.
pub(crate) struct House {
    folder: TempDir,
    port: u16,
    _broker: Ended,
    _helper: Ended,
}

impl House {
    pub(crate) fn new() -> Option<Self> {
        if !is_root() {
            eprintln!("SKIPPED: only root can own a list of commands");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        let list = format!(
            r#"
[[commands.available]]
trigger = "whoami"
command = ["/usr/bin/id", "-un"]
risk = "safe"
mqtt = "run"
[[commands.available]]
trigger = "say"
command = ["/bin/echo", "{{what}}"]
params = [{{ name = "what", regex = "[a-z]+" }}]
risk = "safe"
mqtt = "run"
[[commands.available]]
trigger = "touch"
command = ["/usr/bin/touch", "{}"]
[[commands.available]]
trigger = "wait"
command = ["/bin/sleep", "600"]
mqtt = "run"
[[commands.switch]]
name = "night"
on = ["say", "night"]
off = ["say", "day"]
probe = "night"
"#,
            open.join("made").display()
        );
        fs::write(folder.path().join("commands.toml"), list).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = folder.path().join("mosquitto.conf");
        // More may wait for a slow listener than its default lets.
        let text = format!(
            "user root\npersistence false\nmax_queued_messages 0\nlistener {port} 127.0.0.1\nallow_anonymous true\n"
        );
        fs::write(&config, text).unwrap();
        let broker = Command::new(program("mosquitto")).arg("-c").arg(&config).stderr(Stdio::null()).spawn().unwrap();
        let broker = Ended(broker);
        until("the broker listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let helper = tomte_agent()
            .args(["helper", "--user", "root", "--socket"])
            .arg(folder.path().join("commands.sock"))
            .arg("--commands")
            .arg(folder.path().join("commands.toml"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let helper = Ended(helper);
        until("the helper listens", || UnixStream::connect(folder.path().join("commands.sock")).is_ok());
        let house = Self { folder, port, _broker: broker, _helper: helper };
        house.configure("");
        house.retained(BEGIN, "x");
        Some(house)
    }

    /// Writes the agent's configuration, with more at its end.
    pub(crate) fn configure(&self, more: &str) {
        let (path, port) = (self.path().display(), self.port);
        let config = format!(
            "name = \"nas\"\nstate_dir = \"{path}/state\"\nsocket = \"{path}/agent.sock\"\n\
             [commands]\nfile = \"{path}/commands.toml\"\nsocket = \"{path}/commands.sock\"\n\
             [mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\nstart_delay = \"0s\"\n{more}"
        );
        fs::write(self.path().join("agent.toml"), config).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn list(&self) -> PathBuf {
        self.path().join("commands.toml")
    }

    /// What the command `touch` makes.
    pub(crate) fn made(&self) -> PathBuf {
        self.path().join("open/made")
    }

    pub(crate) fn sign_with(&self, key: &str) {
        let path = self.path().join("key");
        fs::write(&path, key).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let list = fs::read_to_string(self.list()).unwrap();
        let list = format!("[commands]\nkey_file = \"{}\"\n{list}", path.display());
        fs::write(self.list(), list).unwrap();
    }

    pub(crate) fn agent(&self) -> Ended {
        let log = fs::File::create(self.path().join("agent.log")).unwrap();
        let mut command = tomte_agent();
        command.args(["run", "--config"]).arg(self.path().join("agent.toml")).stderr(log);
        Ended(command.spawn().unwrap())
    }

    /// Waits until the agent has filled its topics, and so listens.
    pub(crate) fn ready(&self) {
        let mut values = self.listen("tomte/nas/availability");
        values.until(|_, payload| payload == "online");
        // Subscriptions are sent first; a value behind them says that they stand.
        self.listen("tomte/nas/load/load/load1").until(|_, payload| !payload.is_empty());
    }

    fn publisher(&self, topic: &str, more: &[&str]) -> Command {
        let mut command = Command::new(program("mosquitto_pub"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-t", topic]).args(more);
        command
    }

    pub(crate) fn ask(&self, request: &str) {
        let mut publisher = self.publisher("tomte/nas/commands", &["-q", "1", "-m", request]);
        assert!(publisher.status().unwrap().success());
    }

    /// As Home Assistant presses a button.
    pub(crate) fn press(&self, topic: &str, payload: &str) {
        assert!(self.publisher(topic, &["-q", "0", "-m", payload]).status().unwrap().success());
    }

    pub(crate) fn retained(&self, topic: &str, payload: &str) {
        assert!(self.publisher(topic, &["-q", "1", "-r", "-m", payload]).status().unwrap().success());
    }

    pub(crate) fn bytes(&self, topic: &str, payload: &[u8]) {
        let mut child = self.publisher(topic, &["-q", "1", "-s"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(payload).unwrap();
        assert!(child.wait().unwrap().success());
    }

    pub(crate) fn flood(&self, topic: &str, payload: &str, times: usize) {
        let mut child = self.publisher(topic, &["-q", "0", "-l"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{payload}\n").repeat(times).as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    pub(crate) fn listen(&self, topic: &str) -> Listener {
        let mut child = Command::new(program("mosquitto_sub"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-q", "1", "-F", "%t %p", "-t", topic, "-t", BEGIN])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, heard) = mpsc::channel();
        // What the broker keeps comes once it listens to all of them.
        loop {
            let line = lines.next().unwrap().unwrap();
            if line.starts_with(BEGIN) {
                break;
            }
            sender.send(line).unwrap();
        }
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Listener { _child: Ended(child), heard }
    }

    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path().join("state/audit.log")).unwrap_or_default();
        // The last line may be half written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// `tomte-agent action …`
    pub(crate) fn action(&self, arguments: &[&str]) -> String {
        let mut command = tomte_agent();
        command.arg("action").args(arguments).arg("--config").arg(self.path().join("agent.toml"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Tries to approve an Action as another user of this machine.
    pub(crate) fn decide_as(&self, user: u32, id: &str) -> String {
        let path = self.path().join("agent.sock");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let request = format!(
            "POST /api/v1/actions/{id}/approve HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        // What the kernel tells of a peer is the user of the thread that connects.
        let stranger = std::thread::spawn(move || {
            rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(user)).unwrap();
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        stranger.join().unwrap()
    }
}

/// What the broker says on a topic, message by message, from now on.
pub(crate) struct Listener {
    _child: Ended,
    heard: mpsc::Receiver<String>,
}

impl Listener {
    /// Topic and payload of the next message that fits.
    pub(crate) fn until(&mut self, fits: impl Fn(&str, &str) -> bool) -> (String, String) {
        loop {
            let line = self.heard.recv_timeout(PATIENCE).expect("it is said some time");
            let (topic, payload) = line.split_once(' ').unwrap_or((&line, ""));
            if fits(topic, payload) {
                return (topic.to_owned(), payload.to_owned());
            }
        }
    }

    /// The next message that fits, as JSON.
    pub(crate) fn json(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        self.json_within(PATIENCE, fits).expect("it is said some time")
    }

    pub(crate) fn json_within(&mut self, patience: Duration, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.heard.recv_timeout(left).ok()?;
            let (_, payload) = line.split_once(' ').unwrap_or((&line, ""));
            if let Ok(value) = serde_json::from_str::<Value>(payload)
                && fits(&value)
            {
                return Some(value);
            }
        }
    }
}
