//! Tools of this machine, as processes.

use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Ran, ToolCall, ToolError, Tools};

/// Where systems keep their tools; the last two are NixOS's.
const FOLDERS: [&str; 8] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/run/wrappers/bin",
    "/run/current-system/sw/bin",
];

/// How much of a tool's complaints is kept.
const COMPLAINTS: usize = 4 * 1024;
/// How long one that was killed is waited for.
const GRACE: Duration = Duration::from_secs(1);
/// The longest pause between two looks at a process that has closed its output.
const PAUSE: Duration = Duration::from_millis(20);

/// Starts processes on this machine.
#[derive(Debug, Default)]
pub struct SystemTools {
    /// What was killed and has not ended, by its call.
    hanging: Mutex<Vec<(String, Child)>>,
}

impl Tools for SystemTools {
    fn run(&self, call: &ToolCall) -> Result<Ran, ToolError> {
        let failed = |source| ToolError::Failed { call: call.to_string(), source };
        if self.hangs(&call.to_string()) {
            return Err(ToolError::Hangs { call: call.to_string() });
        }
        let path = find(call)?;
        let (mut stdout, stdout_end) = io::pipe().map_err(failed)?;
        let (mut stderr, stderr_end) = io::pipe().map_err(failed)?;
        let spawned = Command::new(&path)
            .args(&call.arguments)
            .env_clear()
            .env("PATH", FOLDERS.join(":"))
            .env("LC_ALL", "C")
            .env("LANG", "C")
            .env("HOME", "/nonexistent")
            .env("TZ", "UTC")
            .envs(call.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(stdout_end)
            .stderr(stderr_end)
            .process_group(0)
            .spawn();
        let mut child = spawned.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ToolError::Missing { program: call.program.clone() },
            io::ErrorKind::PermissionDenied => ToolError::Denied { path: path.clone(), source },
            _ => failed(source),
        })?;
        let until = Instant::now() + call.limit;
        match attend(&mut child, &mut stdout, &mut stderr, call, until) {
            Ok(ran) => Ok(ran),
            Err(end) => {
                self.end(child, call);
                Err(match end {
                    End::Late => ToolError::TimedOut { call: call.to_string(), limit: call.limit },
                    End::TooMuch => ToolError::TooMuch { call: call.to_string(), most: call.most },
                    End::Failed(source) => failed(source),
                })
            }
        }
    }

    fn has(&self, program: &str) -> bool {
        find(&ToolCall::new(program)).is_ok()
    }
}

impl SystemTools {
    /// Whether an earlier run of that call has still not ended; those that have
    /// are laid to rest.
    fn hangs(&self, call: &str) -> bool {
        let mut hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        hanging.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
        hanging.iter().any(|(name, _)| name == call)
    }

    /// How many processes were killed and have not ended.
    #[must_use]
    pub fn hanging(&self) -> usize {
        let mut hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        hanging.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
        hanging.len()
    }

    /// Kills it with all that it has started.
    fn end(&self, mut child: Child, call: &ToolCall) {
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // It fails where all of them have ended meanwhile.
            let _ = kill_process_group(group, Signal::KILL);
        }
        if !matches!(wait(&mut child, Instant::now() + GRACE), Ok(Some(_))) {
            self.hanging.lock().unwrap_or_else(PoisonError::into_inner).push((call.to_string(), child));
        }
    }
}

/// The file behind a program's name.
fn find(call: &ToolCall) -> Result<PathBuf, ToolError> {
    let name = &call.program;
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let mut places = FOLDERS.iter().map(|folder| PathBuf::from(folder).join(name));
    places.find(|path| path.is_file()).ok_or_else(|| ToolError::Missing { program: name.clone() })
}

/// Why a tool is ended.
enum End {
    Late,
    TooMuch,
    Failed(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Takes what it prints until it ends.
fn attend(
    child: &mut Child,
    stdout: &mut PipeReader,
    stderr: &mut PipeReader,
    call: &ToolCall,
    until: Instant,
) -> Result<Ran, End> {
    let (mut printed, mut complaints) = (Vec::new(), Vec::new());
    let (mut stdout_open, mut stderr_open) = (true, true);
    let mut buffer = vec![0; 16 * 1024];
    while stdout_open || stderr_open {
        let (ready_out, ready_err) = ready(stdout_open.then_some(&*stdout), stderr_open.then_some(&*stderr), until)?;
        if ready_out {
            let read = stdout.read(&mut buffer)?;
            stdout_open = read > 0;
            if printed.len() + read > call.most {
                return Err(End::TooMuch);
            }
            printed.extend_from_slice(&buffer[..read]);
        }
        if ready_err {
            let read = stderr.read(&mut buffer)?;
            stderr_open = read > 0;
            // The rest is read, so that it does not wait, and forgotten.
            let room = COMPLAINTS - complaints.len();
            complaints.extend_from_slice(&buffer[..read.min(room)]);
        }
    }
    let status = wait(child, until)?.ok_or(End::Late)?;
    Ok(Ran { status: status.code(), stdout: printed, stderr: String::from_utf8_lossy(&complaints).into_owned() })
}

/// Waits until one of them can be read (or has ended); says which.
fn ready(stdout: Option<&PipeReader>, stderr: Option<&PipeReader>, until: Instant) -> Result<(bool, bool), End> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(End::Late);
        }
        let mut waited: Vec<PollFd<'_>> =
            stdout.into_iter().chain(stderr).map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut waited, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(End::Failed(error.into())),
        }
        let mut is_ready = waited.iter().map(|pipe| !pipe.revents().is_empty());
        let out = stdout.is_some() && is_ready.next() == Some(true);
        let err = stderr.is_some() && is_ready.next() == Some(true);
        if out || err {
            return Ok((out, err));
        }
    }
}

/// Waits for its end; `None` when it does not come in time.
fn wait(child: &mut Child, until: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_micros(200);
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= until {
            return Ok(status);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sh(script: &str) -> ToolCall {
        ToolCall::new("/bin/sh").args(["-c", script])
    }

    #[test]
    fn a_tool_runs_in_a_bare_environment() {
        let ran = SystemTools::default().run(&sh("env; pwd; cat; echo oops >&2; exit 3").env("EXTRA", "1")).unwrap();
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(3), "oops\n"));
        let text = ran.text();
        assert!(text.contains("LC_ALL=C\n") && text.contains("EXTRA=1\n") && text.ends_with("\n/\n"), "{text}");
        assert!(!text.contains("CARGO") && !text.contains("USER="), "{text}");
        assert!(!ran.success());
    }

    #[test]
    fn arguments_are_no_shells_business() {
        let ran = SystemTools::default().run(&ToolCall::new("echo").args(["$HOME; id", "*"])).unwrap();
        assert_eq!(ran.text(), "$HOME; id *\n");
    }

    #[test]
    fn what_is_not_there_is_missing_and_what_may_not_run_is_denied() {
        let tools = SystemTools::default();
        for program in ["tomte-has-no-such-tool", "/nonexistent/tool"] {
            assert!(matches!(tools.run(&ToolCall::new(program)), Err(ToolError::Missing { .. })), "{program}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tool");
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(tools.run(&ToolCall::new(file.to_str().unwrap())), Err(ToolError::Denied { .. })));
    }

    #[test]
    fn one_that_overruns_is_killed_with_its_children() {
        let tools = SystemTools::default();
        let late = tools.run(&ToolCall::new("sleep").arg("600").limit(Duration::ZERO)).unwrap_err();
        assert!(matches!(late, ToolError::TimedOut { .. }), "{late}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; while :; do echo spam; done", file.display());
        assert!(matches!(tools.run(&sh(&script).most(100)), Err(ToolError::TooMuch { .. })));
        let pid = std::fs::read_to_string(&file).unwrap();
        // Gone, or a zombie that its new parent has not noticed.
        let has_ended = || {
            std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
                .map_or(true, |stat| stat.contains(") Z") || stat.contains(") X"))
        };
        while !has_ended() {
            thread::yield_now();
        }
        assert_eq!(tools.hanging(), 0);
    }

    #[test]
    fn one_that_prints_too_much_is_killed() {
        let tools = SystemTools::default();
        let error = tools.run(&sh("while :; do echo spam; done").most(100_000)).unwrap_err();
        assert!(matches!(error, ToolError::TooMuch { most: 100_000, .. }), "{error}");
        // Complaints without end are no reason to wait or to remember them.
        let ran = tools.run(&sh("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo done")).unwrap();
        assert_eq!((ran.text().as_ref(), ran.stderr.len()), ("done\n", COMPLAINTS));
    }

    #[test]
    fn a_call_that_hangs_is_not_made_again() {
        let tools = SystemTools::default();
        let call = sh("echo x");
        // Stands for one that was killed and does not end.
        let mut hung = Command::new("sleep").arg("600").spawn().unwrap();
        let again = Command::new("true").spawn().unwrap();
        tools.hanging.lock().unwrap().push((call.to_string(), again));
        let pid = Pid::from_raw(i32::try_from(hung.id()).unwrap()).unwrap();
        assert!(hung.try_wait().unwrap().is_none());
        tools.hanging.lock().unwrap().push((call.to_string(), hung));
        assert!(matches!(tools.run(&call), Err(ToolError::Hangs { .. })));
        assert!(tools.run(&sh("echo y")).is_ok(), "others are");
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        while tools.hanging() > 0 {
            thread::yield_now();
        }
        assert!(tools.run(&call).unwrap().success());
    }
}
