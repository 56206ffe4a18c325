//! Where the host's files are: `/`, or a tree that stands for a host.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::api::{Api, NoApi};
use crate::cluster::Seat;
use crate::privileged::{self, Answer, HELPER_SOCKET, Refusal, Request};
use crate::tool::{RecordedTools, SystemTools, Tools};

/// The root directory that all readers start from: `/` for this machine, a
/// host's root mounted elsewhere (`/host` in a container), or a copied tree
/// for tests and demonstrations.
///
/// A copied tree cannot answer `statvfs` for the mounts of the host it was
/// copied from; it may hold the answers in a file `statvfs.txt` at its top,
/// one mount a line: mount point, block size, blocks, blocks free, blocks
/// available, inodes, inodes free. Spaces in the mount point are written
/// `\040`. With that file, only it is asked.
///
/// Nor can the tools of this machine speak of that host: a copied tree may hold
/// what they printed there, in a folder `tools`, see [`RecordedTools`].
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
    recorded: Option<Arc<HashMap<PathBuf, Space>>>,
    tools: Arc<dyn Tools>,
    api: Arc<dyn Api>,
    seat: Arc<Seat>,
    /// Where the helper listens; `None` where nobody is needed in between.
    helper: Option<Arc<Path>>,
}

/// How large a file system is and how full, as `statvfs` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Bytes in all.
    pub size: u64,
    /// Bytes that are free, also those kept for root.
    pub free: u64,
    /// Bytes that anybody may still fill.
    pub available: u64,
    /// Inodes in all; zero where the file system has no such limit.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
    /// Whether it is mounted read-only; false where that was not recorded.
    pub read_only: bool,
    /// The device number that was reached, major and minor; `None` where
    /// answers were recorded. Where it is not that of the mount that was
    /// meant, another one hides it, or it has just gone.
    pub device: Option<(u32, u32)>,
}

impl Root {
    /// This machine.
    #[must_use]
    pub fn system() -> Self {
        Self::new("/")
    }

    /// The tree at that path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let recorded = (path != Path::new("/"))
            .then(|| std::fs::read_to_string(path.join("statvfs.txt")).ok())
            .flatten()
            .map(|text| Arc::new(parse_recorded(&text)));
        let tools: Arc<dyn Tools> = if path == Path::new("/") {
            Arc::new(SystemTools::default())
        } else {
            Arc::new(RecordedTools::new(path.join("tools")))
        };
        let helper =
            (path == Path::new("/") && !rustix::process::geteuid().is_root()).then(|| Path::new(HELPER_SOCKET).into());
        Self { path, recorded, tools, api: Arc::new(NoApi), seat: Arc::default(), helper }
    }

    /// The same host, whose helper listens there. Root itself needs none, nor
    /// does a copied tree.
    #[must_use]
    pub fn with_helper(mut self, socket: &Path) -> Self {
        if let Some(helper) = &mut self.helper {
            *helper = socket.into();
        }
        self
    }

    /// Asks for what only root may have.
    ///
    /// # Errors
    /// When the helper does not listen, or the request cannot be run.
    pub fn ask(&self, request: &Request) -> Result<Answer, Refusal> {
        match &self.helper {
            Some(socket) => privileged::ask(socket, request),
            None => privileged::execute(self, request),
        }
    }

    /// The same host, whose tools are these.
    #[must_use]
    pub fn with_tools(self, tools: Arc<dyn Tools>) -> Self {
        Self { tools, ..self }
    }

    /// The same host; web APIs are asked by that one.
    #[must_use]
    pub fn with_api(self, api: Arc<dyn Api>) -> Self {
        Self { api, ..self }
    }

    /// The same host; who tells of its cluster is decided there.
    #[must_use]
    pub fn with_seat(self, seat: Arc<Seat>) -> Self {
        Self { seat, ..self }
    }

    /// Where it is decided who tells of the host's cluster.
    #[must_use]
    pub fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// Asks web APIs.
    #[must_use]
    pub fn api(&self) -> &dyn Api {
        self.api.as_ref()
    }

    /// Runs the host's tools.
    #[must_use]
    pub fn tools(&self) -> &dyn Tools {
        self.tools.as_ref()
    }

    /// Whether this is the running machine itself, so that system calls speak
    /// of it too.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.path == Path::new("/")
    }

    /// A path of the host, `etc/os-release` or `/etc/os-release`.
    #[must_use]
    pub fn path(&self, host_path: impl AsRef<Path>) -> PathBuf {
        let host_path = host_path.as_ref();
        self.path.join(host_path.strip_prefix("/").unwrap_or(host_path))
    }

    /// The path as the host itself calls it: what [`Self::path`] was given.
    #[must_use]
    pub fn host_path<'a>(&self, path: &'a Path) -> std::borrow::Cow<'a, Path> {
        match path.strip_prefix(&self.path) {
            Ok(below) => Path::new("/").join(below).into(),
            Err(_) => path.into(),
        }
    }

    /// A path below /proc.
    #[must_use]
    pub fn proc(&self, below: &str) -> PathBuf {
        self.path("proc").join(below)
    }

    /// A path below /sys.
    #[must_use]
    pub fn sys(&self, below: &str) -> PathBuf {
        self.path("sys").join(below)
    }

    /// How full the file system at that mount point of the host is. This may
    /// hang for as long as a dead server does: see [`crate::Prober`]. It never
    /// makes `autofs` mount anything: the place is only looked up.
    ///
    /// # Errors
    /// What `statvfs` says, or not found where answers were recorded.
    pub fn space(&self, mount_point: &Path) -> io::Result<Space> {
        if let Some(recorded) = &self.recorded {
            return recorded.get(mount_point).copied().ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        // A place that is opened as a mere path triggers no automount, which
        // statvfs(2) of a path would: see open(2), O_PATH.
        let place = rustix::fs::open(self.path(mount_point), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let told = rustix::fs::fstatvfs(&place)?;
        let device = rustix::fs::fstat(&place)?.st_dev;
        let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
        Ok(Space {
            size: bytes(told.f_blocks),
            free: bytes(told.f_bfree),
            available: bytes(told.f_bavail),
            inodes: told.f_files,
            inodes_free: told.f_ffree,
            read_only: told.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
            device: Some((rustix::fs::major(device), rustix::fs::minor(device))),
        })
    }
}

/// Lines that make no sense are left out.
fn parse_recorded(text: &str) -> HashMap<PathBuf, Space> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let mount_point = words.next()?.replace("\\040", " ");
        let mut number = || words.next()?.parse::<u64>().ok();
        let block = number()?;
        let mut bytes = || Some(number()?.saturating_mul(block));
        let (size, free, available) = (bytes()?, bytes()?, bytes()?);
        let (inodes, inodes_free) = (number()?, number()?);
        Some((mount_point.into(), Space { size, free, available, inodes, inodes_free, ..Space::default() }))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        let root = Root::new("/host");
        assert_eq!(root.path("/etc/os-release"), Path::new("/host/etc/os-release"));
        assert_eq!(root.path("etc/os-release"), Path::new("/host/etc/os-release"));
        assert_eq!(root.path("/"), Path::new("/host/"));
        assert_eq!(root.proc("stat"), Path::new("/host/proc/stat"));
        assert_eq!(Root::system().sys("class/net"), Path::new("/sys/class/net"));
        assert!(Root::system().is_system() && !root.is_system());
    }

    #[test]
    fn a_copied_tree_answers_for_its_mounts() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("statvfs.txt"), "# a comment\n/mnt/a\\040b 4096 10 5 4 100 90\n/bad 1 2\n")
            .unwrap();
        let root = Root::new(dir.path());
        let space = root.space(Path::new("/mnt/a b")).unwrap();
        assert_eq!((space.size, space.free, space.available), (40_960, 20_480, 16_384));
        assert_eq!((space.inodes, space.inodes_free), (100, 90));
        assert_eq!(root.space(Path::new("/bad")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(Root::system().space(Path::new("/")).unwrap().size > 0);
    }
}
