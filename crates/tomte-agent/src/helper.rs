//! `tomte-agent helper`: runs, as root, the few typed requests that need it.
//!
//! With `--commands` it is another one: it has the network, and runs the host's
//! own list of commands ([`crate::command::helper`]).
//!
//! systemd starts it when the agent asks, with the listening socket as its
//! standard input; it ends by itself when nobody has asked for a while. By hand
//! it listens where it is told. It has no configuration and needs no network. Who
//! asks is checked by the kernel's word: root, or the agent's own user. What can
//! be asked, and the checks of each argument, are [`tomte_collect::execute`]'s.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{socket_acceptconn, socket_peercred};
use tomte_collect::{Answer, Refusal, Request, Root, execute, read_request, read_trimmed, write_answer};
use tracing::{info, warn};

use crate::command;

/// How long nobody must have asked before it ends; the medium tier asks oftener.
const IDLE: Duration = Duration::from_secs(150);
/// How long a peer may take to say what it wants, or to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many are served at once; more are turned away.
const AT_ONCE: usize = 8;
/// Sockets and a tool's output; nothing recursive.
const STACK: usize = 256 * 1024;

/// Who may ask besides root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed(pub u32);

impl Allowed {
    /// The user of that name, or number.
    ///
    /// # Errors
    /// When this host has no such user.
    pub fn user(root: &Root, name: &str) -> anyhow::Result<Self> {
        if let Ok(number) = name.parse() {
            return Ok(Self(number));
        }
        let path = root.path("etc/passwd");
        let text = read_trimmed(&path).with_context(|| format!("looking up the user {name}"))?;
        let mut users = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let uid = users.find(|user| user.first() == Some(&name)).and_then(|user| user.get(2)?.parse().ok());
        uid.map(Self).with_context(|| format!("{} has no user {name}; name the agent's with --user", path.display()))
    }

    fn admits(self, uid: u32) -> bool {
        uid == 0 || uid == self.0
    }

    /// Sets how long a peer is waited for, and asks the kernel who it is: an
    /// inner error is what somebody is told who may not ask.
    ///
    /// # Errors
    /// When the connection broke.
    pub(crate) fn check(self, stream: &UnixStream) -> anyhow::Result<Result<(), Refusal>> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let uid = socket_peercred(stream).context("asking the kernel who asks")?.uid.as_raw();
        if self.admits(uid) {
            return Ok(Ok(()));
        }
        Ok(Err(Refusal::Denied {
            error: format!("the helper answers only the agent's user, not user number {uid}"),
            cure: "Run the agent as the user that the helper was started for (--user).".to_owned(),
        }))
    }
}

/// Runs until nobody asks any more (started by systemd) or for ever (by hand).
///
/// # Errors
/// When there is nothing to listen on.
pub fn run(socket: Option<&Path>, user: &str, commands: Option<&Path>) -> anyhow::Result<()> {
    let root = Root::system();
    let allowed = Allowed::user(&root, user)?;
    if !rustix::process::geteuid().is_root() {
        bail!("the helper does what only root may do: start it as root, or by its socket of systemd");
    }
    let (listener, idle) = match socket {
        Some(path) => (bind(path, allowed)?, None),
        None => (inherited()?, Some(IDLE)),
    };
    info!("the helper listens for user {user}");
    if let Some(file) = commands {
        return command::helper::serve(file, &listener, idle.map(|_| command::helper::IDLE), allowed);
    }
    Helper::new(root, allowed).serve(&listener, idle)
}

/// The socket that systemd gave as standard input.
fn inherited() -> anyhow::Result<UnixListener> {
    let input = io::stdin();
    if !socket_acceptconn(input.as_fd()).unwrap_or(false) {
        bail!("the standard input is no listening socket: systemd starts the helper, or name one with --socket");
    }
    Ok(UnixListener::from(input.as_fd().try_clone_to_owned()?))
}

/// A socket of its own, which only root and that user can open.
fn bind(path: &Path, allowed: Allowed) -> anyhow::Result<UnixListener> {
    // Left behind by one that was killed; anything else is not ours to remove.
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        if UnixStream::connect(path).is_ok() {
            bail!("somebody listens at {} already", path.display());
        }
        fs::remove_file(path).with_context(|| format!("removing the old {}", path.display()))?;
    }
    let listener = UnixListener::bind(path).with_context(|| format!("listening at {}", path.display()))?;
    std::os::unix::fs::chown(path, Some(allowed.0), None)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves a socket.
#[derive(Debug, Clone)]
pub struct Helper {
    root: Root,
    allowed: Allowed,
    /// One disk at a time.
    disks: Arc<Mutex<()>>,
    busy: Arc<AtomicUsize>,
}

impl Helper {
    /// One for that host, which answers that user and root.
    #[must_use]
    pub fn new(root: Root, allowed: Allowed) -> Self {
        Self { root, allowed, disks: Arc::default(), busy: Arc::default() }
    }

    /// Serves until nobody has asked for so long.
    ///
    /// # Errors
    /// When the socket breaks.
    pub fn serve(&self, listener: &UnixListener, idle: Option<Duration>) -> anyhow::Result<()> {
        let helper = self.clone();
        serve_each(listener, idle, &self.busy, move |stream| helper.answer(stream))
    }

    /// Answers one connection's request.
    ///
    /// # Errors
    /// When the peer is not permitted, speaks nonsense or goes away.
    pub fn answer(&self, stream: &UnixStream) -> anyhow::Result<()> {
        if let Err(denied) = self.allowed.check(stream)? {
            let refused = anyhow!("{denied}");
            write_answer(stream, &Err(denied))?;
            return Err(refused);
        }
        let answer = match read_request(stream) {
            Ok(_) if self.busy.load(Ordering::Acquire) > AT_ONCE => {
                Err(Refusal::Failed(format!("the helper is busy with {AT_ONCE} other requests")))
            }
            Ok(request) => self.execute(&request),
            Err(error) => {
                // It is told so, where it still listens.
                let _ = write_answer(stream, &Err(Refusal::Invalid(error.to_string())));
                return Err(error).context("a request was not understood");
            }
        };
        if let Err(refusal) = &answer {
            warn!(%refusal, "a request was not run");
        }
        Ok(write_answer(stream, &answer)?)
    }

    fn execute(&self, request: &Request) -> Result<Answer, Refusal> {
        match request {
            Request::Smart { .. } | Request::SmartScan => {
                let _turn = self.disks.lock().unwrap_or_else(PoisonError::into_inner);
                execute(&self.root, request)
            }
            Request::Engine { .. } | Request::UnitDirectories { .. } | Request::WireguardPeers => {
                execute(&self.root, request)
            }
            Request::Proxmox(_) => execute(&self.root, request),
        }
    }
}

/// Serves a socket, on a thread of its own each, until nobody has asked for so
/// long.
///
/// # Errors
/// When the socket breaks.
pub(crate) fn serve_each(
    listener: &UnixListener,
    idle: Option<Duration>,
    busy: &Arc<AtomicUsize>,
    answer: impl Fn(&UnixStream) -> anyhow::Result<()> + Clone + Send + 'static,
) -> anyhow::Result<()> {
    while let Some(stream) = next_client(listener, idle, busy)? {
        let (busy, answer) = (Busy::enter(busy), answer.clone());
        let serve = move || {
            let _busy = busy;
            if let Err(error) = answer(&stream) {
                warn!("{error:#}");
            }
        };
        // Where no thread is to be had, the stream is closed with its closure.
        if let Err(error) = thread::Builder::new().name("request".into()).stack_size(STACK).spawn(serve) {
            warn!(%error, "cannot start a thread");
        }
    }
    Ok(())
}

/// The next one who asks; `None` when nobody did for so long and nobody is
/// being served.
fn next_client(
    listener: &UnixListener,
    idle: Option<Duration>,
    busy: &AtomicUsize,
) -> anyhow::Result<Option<UnixStream>> {
    loop {
        let mut waited = [PollFd::new(listener, PollFlags::IN)];
        let timeout = idle.and_then(|idle| Timespec::try_from(idle).ok());
        match poll(&mut waited, timeout.as_ref()) {
            Ok(0) if busy.load(Ordering::Acquire) == 0 => return Ok(None),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(Some(listener.accept().context("accepting the agent")?.0)),
            Err(error) => return Err(error).context("waiting for the agent"),
        }
    }
}

/// Counts who is being served.
struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read, Write};

    use tomte_collect::ask_helper;

    use super::*;

    /// A host with one disk, and a helper at a real socket for that user.
    struct Host {
        dir: tempfile::TempDir,
        served: Option<thread::JoinHandle<()>>,
    }

    impl Host {
        fn with_user(allowed: Allowed) -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("sys/block/sda/device")).unwrap();
            fs::create_dir_all(dir.path().join("tools")).unwrap();
            fs::write(dir.path().join("tools/smartctl --json -n standby -a !dev!sda"), "{\"a\":1}").unwrap();
            let helper = Helper::new(Root::new(dir.path()), allowed);
            let listener = UnixListener::bind(dir.path().join("helper.sock")).unwrap();
            // It ends once it has nobody to serve.
            let served = thread::spawn(move || helper.serve(&listener, Some(Duration::from_millis(200))).unwrap());
            Self { dir, served: Some(served) }
        }
        fn ask(&self, device: &str) -> Result<Answer, Refusal> {
            let request = Request::Smart { device: device.into(), kind: None };
            ask_helper(&self.dir.path().join("helper.sock"), &request)
        }
        /// Says these bytes and returns what comes back.
        fn say(&self, bytes: &[u8]) -> Vec<u8> {
            let mut stream = UnixStream::connect(self.dir.path().join("helper.sock")).unwrap();
            // It may have hung up already.
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said);
            said
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            let ended = self.served.take().map(thread::JoinHandle::join);
            assert!(thread::panicking() || matches!(ended, Some(Ok(()))));
        }
    }

    fn me() -> Allowed {
        Allowed(rustix::process::geteuid().as_raw())
    }

    #[test]
    fn the_agents_user_is_answered_and_an_idle_helper_ends() {
        let host = Host::with_user(me());
        assert_eq!(host.ask("/dev/sda").unwrap().body, b"{\"a\":1}");
        assert!(matches!(host.ask("/dev/sdz"), Err(Refusal::Invalid(error)) if error.contains("/dev/sdz")));
        assert!(matches!(host.ask("/etc/shadow"), Err(Refusal::Invalid(_))));
    }

    #[test]
    fn others_are_not() {
        assert!(Allowed(5).admits(0) && Allowed(5).admits(5) && !Allowed(5).admits(6));
        if rustix::process::geteuid().is_root() {
            // Root may always ask: so somebody else has to.
            let dir = tempfile::tempdir_in("/tmp").unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let path = dir.path().join("helper.sock");
            let listener = UnixListener::bind(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
            let helper = Helper::new(Root::new(dir.path()), Allowed(4_000_000));
            // What the kernel tells of a peer is the user of the thread that connects.
            let stranger = thread::spawn(move || {
                rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65_534)).unwrap();
                let mut said = Vec::new();
                UnixStream::connect(path).unwrap().read_to_end(&mut said).unwrap();
                String::from_utf8_lossy(&said).into_owned()
            });
            let (stream, _) = listener.accept().unwrap();
            let error = helper.answer(&stream).unwrap_err();
            assert!(error.to_string().contains("user number 65534"), "{error}");
            drop(stream);
            let said = stranger.join().unwrap();
            assert!(said.contains("answers only the agent's user"), "{said}");
        } else {
            let host = Host::with_user(Allowed(me().0 + 1));
            let answer = host.ask("/dev/sda");
            assert!(matches!(&answer, Err(Refusal::Denied { cure, .. }) if cure.contains("--user")), "{answer:?}");
        }
    }

    #[test]
    fn hostile_frames_are_refused_and_do_no_harm() {
        let host = Host::with_user(me());
        let said = host.say(&[0xff; 64]);
        assert!(String::from_utf8_lossy(&said).contains("too long"), "{said:?}");
        for bytes in [&b""[..], b"\0\0\0\x02{}", b"\0\0\0\x10\"smart_sc", b"GET / HTTP/1.1\r\n\r\n", &[0; 4096]] {
            let said = host.say(bytes);
            assert!(!String::from_utf8_lossy(&said).contains("\"answer\""), "{said:?}");
        }
        let text = br#"{"shell":{"command":"id"}}"#;
        let said = host.say(&[&[0, 0, 0, text.len() as u8][..], text].concat());
        assert!(String::from_utf8_lossy(&said).contains("not understood"), "{said:?}");
        assert!(host.ask("/dev/sda").is_ok(), "it still serves");
    }

    #[test]
    fn users_are_looked_up_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\ntomte:x:989:988::/:/bin/false\n").unwrap();
        let root = Root::new(dir.path());
        assert_eq!(Allowed::user(&root, "tomte").unwrap(), Allowed(989));
        assert_eq!(Allowed::user(&root, "1000").unwrap(), Allowed(1000));
        assert!(Allowed::user(&root, "tomt").unwrap_err().to_string().contains("--user"));
    }

    #[test]
    fn its_own_socket_is_closed_to_others_and_replaces_only_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("helper.sock");
        let first = bind(&path, me()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(bind(&path, me()).unwrap_err().to_string().contains("already"));
        drop(first);
        drop(bind(&path, me()).unwrap());
        let file = dir.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(bind(&file, me()).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}
