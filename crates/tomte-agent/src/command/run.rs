//! Starting a command: as its user, with nothing of our own environment, in a
//! process group that is ended at the limit.

use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tomte_model::ActionResult;

use super::identity::Identity;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";
/// How long the end of one that was killed is waited for.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a program as that user.
///
/// # Errors
/// When it cannot be started; then nothing has happened.
pub fn run(argv: &[String], user: &str, limit: Duration, most: usize) -> anyhow::Result<ActionResult> {
    let Some((program, arguments)) = argv.split_first() else { bail!("there is nothing to run") };
    let identity = Identity::of(user)?;
    trusted(Path::new(program))?;
    let (mut output, output_end) = io::pipe().context("making a pipe")?;
    let error_end = output_end.try_clone().context("making a pipe")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .env("HOME", &identity.home)
        .env("USER", &identity.name)
        .env("LOGNAME", &identity.name)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output_end)
        .stderr(error_end)
        .process_group(0);
    become_user(&mut command, &identity);
    let began = Instant::now();
    let child = command.spawn().with_context(|| format!("starting {program}"))?;
    // The pipe's other ends are the child's alone from here on.
    drop(command);
    Ok(attend(child, &mut output, began, limit, most))
}

/// Whether only root can have written what is to be run.
fn trusted(program: &Path) -> anyhow::Result<()> {
    let real = fs::canonicalize(program).with_context(|| format!("looking for {}", program.display()))?;
    for path in real.ancestors() {
        let meta = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
        let is_sticky = meta.is_dir() && meta.mode() & 0o1000 != 0;
        if meta.uid() != 0 || (meta.mode() & 0o022 != 0 && !is_sticky) {
            bail!(
                "{0} can be changed by others than root, so it is not run; run: chown root {0}; chmod go-w {0}",
                path.display()
            );
        }
    }
    Ok(())
}

/// Has the child take on a user with all of its groups before it becomes the
/// program. Where this process is that user already, nothing is left to do.
#[expect(unsafe_code, reason = "the standard library can set no groups but by a hook between fork and exec")]
fn become_user(command: &mut Command, identity: &Identity) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let Identity { uid, gid, groups, .. } = identity.clone();
    let become_it = move || {
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    };
    // SAFETY: between fork and exec only what is async-signal-safe may be done.
    // These are three system calls on memory that was made before the fork.
    unsafe { command.pre_exec(become_it) };
}

fn attend(mut child: Child, output: &mut PipeReader, began: Instant, limit: Duration, most: usize) -> ActionResult {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let kill = || group.map(|group| kill_process_group(group, Signal::KILL));
    let mut kept = Kept { bytes: Vec::new(), most, truncated: false };
    let watched = watch(&mut child, group, output, began + limit, &mut kept);
    // In any case: what it left behind in its group ends with it.
    kill();
    let status = match watched {
        Ok(Some(status)) => Some(status),
        _ => wait(&mut child, Instant::now() + GRACE),
    };
    // What was written before the end and not read yet.
    let _ = drain(output, &mut kept);
    let error = match (&watched, status) {
        (Err(error), _) => format!("it could not be watched: {error}"),
        (Ok(None), _) => format!("it was ended after {} s, its limit", limit.as_secs()),
        (Ok(Some(status)), _) if status.success() => String::new(),
        (Ok(Some(status)), _) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("it ended with exit status {code}"),
            (None, signal) => format!("signal {} ended it", signal.unwrap_or(0)),
        },
    };
    ActionResult {
        exit_code: watched.ok().flatten().and_then(|status| status.code()),
        output: text(&kept.bytes),
        truncated: kept.truncated,
        duration_millis: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        error,
        outcome_unknown: false,
    }
}

struct Kept {
    bytes: Vec<u8>,
    most: usize,
    truncated: bool,
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        let room = self.most - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.truncated |= bytes.len() > room;
    }
}

/// Reads what it prints until it ends; `None` when the limit comes first. A
/// program in the background that holds the pipe open is not waited for.
fn watch(
    child: &mut Child,
    pid: Option<Pid>,
    output: &mut PipeReader,
    until: Instant,
    kept: &mut Kept,
) -> io::Result<Option<ExitStatus>> {
    let pid = pid.ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut open = true;
    let mut buffer = [0; 8 * 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let mut waited = vec![PollFd::new(&process, PollFlags::IN)];
        if open {
            waited.push(PollFd::new(output, PollFlags::IN));
        }
        match poll(&mut waited, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = !waited[0].revents().is_empty();
        let readable = waited.get(1).is_some_and(|pipe| !pipe.revents().is_empty());
        if readable {
            let read = output.read(&mut buffer)?;
            open = read > 0;
            kept.take(&buffer[..read]);
        } else if ended {
            return child.wait().map(Some);
        }
    }
}

/// Takes what is in the pipe without waiting for more.
fn drain(output: &mut PipeReader, kept: &mut Kept) -> io::Result<()> {
    let mut buffer = [0; 8 * 1024];
    // A pipe holds 64 KiB; one that is still being filled must not hold us up.
    for _ in 0..16 {
        let mut waited = [PollFd::new(output, PollFlags::IN)];
        let ready = poll(&mut waited, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        if ready == 0 {
            break;
        }
        match output.read(&mut buffer)? {
            0 => break,
            read => kept.take(&buffer[..read]),
        }
    }
    Ok(())
}

fn wait(child: &mut Child, until: Instant) -> Option<ExitStatus> {
    while Instant::now() < until {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Output as text: valid UTF-8, without what steers a terminal.
fn text(bytes: &[u8]) -> String {
    let keep = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    String::from_utf8_lossy(bytes).chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LONG: Duration = Duration::from_secs(300);

    /// Whoever runs the tests can run as itself; root as anybody.
    fn user() -> String {
        let me = rustix::process::geteuid().as_raw().to_string();
        if me == "0" {
            return "nobody".to_owned();
        }
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let line = users.lines().find(|line| line.split(':').nth(2) == Some(&me)).unwrap();
        line.split(':').next().unwrap().to_owned()
    }

    fn sh(script: &str, limit: Duration, most: usize) -> ActionResult {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        run(&argv, &user(), limit, most).unwrap()
    }

    #[test]
    fn it_runs_as_its_user_with_an_empty_environment() {
        let result = sh("id -un; id -Gn; pwd; env | sort; cat; echo oops >&2; exit 3", LONG, 10_000);
        let text = &result.output;
        assert_eq!((result.exit_code, result.error.as_str()), (Some(3), "it ended with exit status 3"));
        assert!(text.starts_with(&format!("{}\n", user())), "{text}");
        assert!(text.contains("\n/\n") && text.ends_with("oops\n"), "{text}");
        assert!(!text.contains("CARGO"), "{text}");
        if rustix::process::geteuid().is_root() {
            assert_eq!(text.lines().nth(1), Some("nogroup"), "none of root's groups: {text}");
        }
        assert!(!result.truncated && !result.outcome_unknown);
    }

    #[test]
    fn output_is_bounded_and_text() {
        let result = sh("printf 'a\\377\\033[2Jb\\n'; head -c 100000 /dev/zero | tr '\\0' x", LONG, 1000);
        assert_eq!(result.exit_code, Some(0));
        assert!(result.truncated && result.output.starts_with("a\u{fffd}[2Jb\nxxx"), "{}", &result.output[..20]);
        assert!(result.output.len() <= 1010);
    }

    #[test]
    fn at_the_limit_the_whole_group_ends() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; echo begun; wait", file.display());
        let result = sh(&script, Duration::from_secs(1), 1000);
        assert_eq!((result.exit_code, result.output.as_str()), (None, "begun\n"));
        assert!(result.error.contains("after 1 s"), "{}", result.error);
        ended(&file);
    }

    #[test]
    fn what_stays_behind_is_neither_waited_for_nor_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let file = folder.path().join("pid");
        let result = sh(&format!("sleep 600 & echo $! > {}; echo done", file.display()), LONG, 1000);
        assert_eq!((result.exit_code, result.output.as_str()), (Some(0), "done\n"));
        ended(&file);
    }

    /// Waits until the process whose number a file holds is gone.
    fn ended(file: &Path) {
        let pid = fs::read_to_string(file).unwrap();
        let has_ended = || {
            fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
                .map_or(true, |stat| stat.contains(") Z") || stat.contains(") X"))
        };
        while !has_ended() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_cannot_or_must_not_be_started_is_told() {
        let run = |program: &Path| run(&[program.display().to_string()], &user(), LONG, 10).unwrap_err();
        assert!(run(Path::new("/nonexistent/x")).to_string().contains("looking for"));
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(run(&program).to_string().contains("by others than root"));
        let nobody = super::run(&["/bin/true".to_owned()], "tomte-has-no-such-user", LONG, 10).unwrap_err();
        assert!(nobody.to_string().contains("no user"), "{nobody}");
    }
}
