//! Real processes for the end-to-end tests: the hub and agents as users start
//! them, in a folder of their own, on ports that the system chooses.
//!
//! Nothing here sleeps: a test waits for a line of output, for the end of a
//! process, or for a message of the live stream, with a generous limit after
//! which it fails.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::watch;
use tomte_api::client::Client;

use super::SmallDisk;

/// After this, something that should have happened will not.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// The `tomte` binary of this build.
pub(crate) fn tomte() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tomte"));
    without_surroundings(&mut command);
    command
}

/// The `tomte-agent` binary of this build. Cargo builds only the binaries of
/// the package under test, so it is asked for the other one, once.
pub(crate) fn agent() -> Command {
    static AGENT: OnceLock<PathBuf> = OnceLock::new();
    let binary = AGENT.get_or_init(|| {
        let tomte = Path::new(env!("CARGO_BIN_EXE_tomte"));
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "tomte-agent", "--bin", "tomte-agent"]);
        if tomte.parent().is_some_and(|folder| folder.ends_with("release")) {
            build.arg("--release");
        }
        let status = build.status().expect("cargo runs");
        assert!(status.success(), "tomte-agent does not build");
        tomte.with_file_name("tomte-agent")
    });
    let mut command = Command::new(binary);
    without_surroundings(&mut command);
    command
}

/// What the developer's own shell has set must not change a test.
fn without_surroundings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TOMTE") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG").env("NO_COLOR", "1");
}

/// A process that is killed when the test is done with it, and its output.
pub(crate) struct Process {
    pub(crate) child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    /// Starts it; standard output and error are read as one.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the process starts");
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let err = BufReader::new(child.stderr.take().expect("piped"));
        let to = sender.clone();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        std::thread::spawn(move || err.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new() }
    }

    /// The first line from now on in which `find` finds something.
    pub(crate) fn wait_for<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = find(&line);
                    self.seen.push(line);
                    if let Some(found) = found {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {what} in time; said so far:\n{}", self.seen.join("\n")),
                Err(RecvTimeoutError::Disconnected) => panic!("ended without {what}:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// The first line from now on that holds a text.
    pub(crate) fn wait_for_text(&mut self, text: &str) -> String {
        self.wait_for(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Everything it said, once it has ended by itself, and how it ended.
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let end = Instant::now() + LIMIT;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end; said so far:\n{}", self.seen.join("\n")),
            }
        }
        (self.child.wait().expect("it ends"), self.seen.join("\n"))
    }

    /// Everything it said so far.
    pub(crate) fn said(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it can be asked");
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- a process said:\n{}\n---", self.said());
        }
    }
}

/// A hub in a folder of its own.
pub(crate) struct Hub {
    pub(crate) process: Process,
    pub(crate) folder: PathBuf,
    pub(crate) url: String,
    arguments: Vec<String>,
    address: watch::Sender<String>,
    temporary: TempDir,
}

impl Hub {
    /// A hub on loopback.
    pub(crate) fn start() -> Self {
        Self::with(&["--listen", "127.0.0.1:0"])
    }

    /// A hub on loopback with these settings in its file.
    pub(crate) fn configured(settings: &str) -> Self {
        let temporary = TempDir::new().expect("a temporary folder");
        let config = temporary.path().join("hub.toml");
        std::fs::write(&config, settings).expect("a file");
        Self::on(temporary, &["--listen", "127.0.0.1:0", "--config", config.to_str().expect("text")])
    }

    /// A hub with these arguments.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self::on(TempDir::new().expect("a temporary folder"), arguments)
    }

    /// A hub on loopback that keeps its data on a small disk.
    pub(crate) fn on_disk(disk: &SmallDisk) -> Self {
        let temporary = TempDir::new().expect("a temporary folder");
        let inside = disk.path().join("hub");
        let arguments = ["--listen".to_owned(), "127.0.0.1:0".to_owned()];
        let (process, url) = run_hub(disk.on_it(&hub_command(&inside, &arguments)));
        let folder = disk.seen_from_outside(inside);
        Self { process, folder, address: watch::Sender::new(url.clone()), url, arguments: arguments.into(), temporary }
    }

    fn on(temporary: TempDir, arguments: &[&str]) -> Self {
        let folder = temporary.path().join("hub");
        let arguments: Vec<_> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let (process, url) = run_hub(hub_command(&folder, &arguments));
        Self { process, folder, address: watch::Sender::new(url.clone()), url, arguments, temporary }
    }

    /// Kills it, and starts it again on the same folder.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.kill();
        self.restart();
    }

    /// Starts it again on the same folder, and on another port: the old one
    /// may be taken by now.
    pub(crate) fn restart(&mut self) {
        (self.process, self.url) = run_hub(hub_command(&self.folder, &self.arguments));
        self.address.send_replace(self.url.clone());
    }

    /// Where it is, also after a restart.
    pub(crate) fn address(&self) -> watch::Receiver<String> {
        self.address.subscribe()
    }

    /// A folder that goes with it.
    pub(crate) fn spare_folder(&self) -> &Path {
        self.temporary.path()
    }

    /// An admin's client, through its folder.
    pub(crate) fn client(&self) -> Client {
        Client::unix(self.folder.join("hub.sock"))
    }

    /// Runs `tomte` against it through its folder; the output on success.
    pub(crate) fn tomte(&self, arguments: &[&str]) -> String {
        let output = self.try_tomte(arguments);
        assert!(
            output.status.success(),
            "tomte {arguments:?} failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs `tomte` against it through its folder.
    pub(crate) fn try_tomte(&self, arguments: &[&str]) -> Output {
        tomte().args(arguments).arg("--data").arg(&self.folder).output().expect("tomte runs")
    }

    /// As [`Self::tomte`], parsed.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        serde_json::from_str(&self.tomte(&arguments)).expect("JSON")
    }

    /// A code for a new host.
    pub(crate) fn code(&self, name: &str) -> String {
        self.tomte(&["host", "add", name, "--code-only"]).trim().to_owned()
    }

    /// Enrols an agent under a name, at its address or at a proxy's; its
    /// configuration file, with these settings.
    pub(crate) fn enrol(&self, name: &str, url: &str, settings: &str) -> PathBuf {
        let config = self.temporary.path().join(format!("{name}.toml"));
        std::fs::write(&config, settings).expect("a file");
        let output = try_enrol(url, &self.code(name), &config);
        assert!(output.status.success(), "enroll failed: {}", String::from_utf8_lossy(&output.stderr));
        config
    }
}

fn hub_command(folder: &Path, arguments: &[String]) -> Command {
    let mut command = tomte();
    command.arg("hub").arg("--data").arg(folder).args(arguments);
    command
}

/// Runs a hub until it says where it listens.
pub(crate) fn run_hub(command: Command) -> (Process, String) {
    let mut process = Process::start(command);
    let url = process.wait_for("address", |line| line.strip_prefix("Listening on ").map(str::to_owned));
    (process, url)
}

/// Enrols an agent with that file.
pub(crate) fn try_enrol(url: &str, code: &str, config: &Path) -> Output {
    agent().args(["enroll", url, "--code", code, "--config"]).arg(config).output().expect("tomte-agent runs")
}

/// The command of an agent with that file.
pub(crate) fn agent_command(config: &Path) -> Command {
    let mut command = agent();
    command.args(["run", "--config"]).arg(config);
    command
}

/// An agent that runs with that file.
pub(crate) fn run_agent(config: &Path) -> Process {
    Process::start(agent_command(config))
}
