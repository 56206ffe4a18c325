//! Control groups: where they are, and what one of them uses.
//!
//! Both versions are read: the one tree of version 2, and version 1 with a
//! tree for each controller (also beside an empty version 2, as "hybrid" hosts
//! have it). Services, containers and guests are all read by this, so that
//! their numbers mean the same. See the kernel's admin-guide/cgroup-v2.rst and
//! admin-guide/cgroup-v1/.

mod usage;

use std::path::{Path, PathBuf};

pub(crate) use usage::{GroupReader, Meter, Usage};

use crate::error::ReadError;
use crate::reader::read_file;
use crate::root::Root;

/// The trees of control groups of a host.
#[derive(Debug, Clone)]
pub(crate) enum Trees {
    /// Version 2: all controllers in one tree.
    Two(PathBuf),
    /// Version 1: a tree for each controller; which, [`CONTROLLERS`] says.
    One([Option<PathBuf>; 4]),
}

/// The controllers that are read of version 1, each with the folders it may be
/// mounted as: distributions mount some together, and link them or not.
const CONTROLLERS: [&[&str]; 4] = [&["cpuacct", "cpu,cpuacct", "cpuacct,cpu"], &["memory"], &["pids"], &["blkio"]];

/// Where a group's files are.
#[derive(Debug, Clone)]
pub(crate) enum Group {
    /// Version 2.
    Two(PathBuf),
    /// Version 1, in the order of [`CONTROLLERS`].
    One([Option<PathBuf>; 4]),
}

impl Trees {
    /// The trees of that host; `None` where it has none.
    pub(crate) fn find(root: &Root) -> Option<Self> {
        let top = root.sys("fs/cgroup");
        if top.join("cgroup.controllers").exists() {
            return Some(Self::Two(top));
        }
        let folder = |names: &[&str]| names.iter().map(|name| top.join(name)).find(|path| path.is_dir());
        let trees = CONTROLLERS.map(folder);
        trees.iter().any(Option::is_some).then_some(Self::One(trees))
    }

    /// The group of that path, the same in all trees. A path that leads out of
    /// the tree leads nowhere.
    pub(crate) fn group(&self, path: &str) -> Option<Group> {
        let below = safe(path)?;
        Some(match self {
            Self::Two(top) => Group::Two(top.join(below)),
            Self::One(trees) => Group::One(trees.clone().map(|tree| tree.map(|tree| tree.join(below)))),
        })
    }

    /// The group that a process is in; of the groups above it, the one whose
    /// name holds `named`, where one does: a container may make groups of its
    /// own within the one that it was given.
    ///
    /// # Errors
    /// When the process is gone or hidden.
    pub(crate) fn of_process(&self, root: &Root, pid: u32, named: Option<&str>) -> Result<Option<Group>, ReadError> {
        let text = read_file(&root.proc(&format!("{pid}/cgroup")))?;
        Ok(self.of_memberships(&String::from_utf8_lossy(&text), named))
    }

    /// Reads lines such as `4:memory:/docker/0a…` and `0::/system.slice/…`.
    fn of_memberships(&self, text: &str, named: Option<&str>) -> Option<Group> {
        let path_of = |wanted: &str| {
            text.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                let found = if wanted.is_empty() {
                    controllers.is_empty()
                } else {
                    controllers.split(',').any(|controller| controller == wanted)
                };
                found.then(|| safe(path)).flatten().map(|path| up_to(path, named))
            })
        };
        match self {
            // The top of the tree is the whole machine, never one container.
            Self::Two(top) => {
                path_of("").filter(|path| !path.as_os_str().is_empty()).map(|path| Group::Two(top.join(path)))
            }
            Self::One(trees) => {
                let names = ["cpuacct", "memory", "pids", "blkio"];
                let mut groups = [const { None }; 4];
                for (at, tree) in trees.iter().enumerate() {
                    let path = path_of(names[at]).filter(|path| !path.as_os_str().is_empty());
                    groups[at] = tree.as_ref().zip(path).map(|(tree, path)| tree.join(path));
                }
                groups.iter().any(Option::is_some).then_some(Group::One(groups))
            }
        }
    }

    /// The folder whose subfolders are groups: the tree itself in version 2,
    /// that of memory, else of processor time, in version 1.
    pub(crate) fn listing(&self) -> Option<&Path> {
        match self {
            Self::Two(top) => Some(top),
            Self::One([cpu, memory, ..]) => memory.as_deref().or(cpu.as_deref()),
        }
    }
}

/// The path up to the part that holds that name, all of it where none does.
fn up_to(path: &Path, named: Option<&str>) -> PathBuf {
    let holds = |part: &std::ffi::OsStr| named.is_some_and(|named| part.to_string_lossy().contains(named));
    match path.iter().position(holds) {
        Some(at) => path.iter().take(at + 1).collect(),
        None => path.to_owned(),
    }
}

/// A path below the top, without its leading slash; `None` where it climbs.
fn safe(path: &str) -> Option<&Path> {
    let path = Path::new(path.trim_start_matches('/'));
    path.components().all(|part| matches!(part, std::path::Component::Normal(_))).then_some(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_versions_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        assert!(Trees::find(&root).is_none());
        std::fs::create_dir_all(root.sys("fs/cgroup/cpu,cpuacct")).unwrap();
        std::fs::create_dir_all(root.sys("fs/cgroup/memory")).unwrap();
        let Some(Trees::One([cpu, memory, None, None])) = Trees::find(&root) else { panic!("version 1") };
        assert!(cpu.unwrap().ends_with("cpu,cpuacct") && memory.unwrap().ends_with("memory"));
        std::fs::write(root.sys("fs/cgroup/cgroup.controllers"), "cpu memory\n").unwrap();
        assert!(matches!(Trees::find(&root), Some(Trees::Two(_))));
    }

    #[test]
    fn a_process_is_found_in_its_group() {
        let two = Trees::Two("/c".into());
        let Some(Group::Two(path)) = two.of_memberships("0::/system.slice/docker-0a.scope/init.scope\n", Some("0a"))
        else {
            panic!("two")
        };
        assert_eq!(path, Path::new("/c/system.slice/docker-0a.scope"));
        let one = Trees::One([Some("/c/cpu".into()), Some("/c/memory".into()), None, Some("/c/blkio".into())]);
        let text = "12:pids:/docker/0a\n4:memory:/docker/0a\n3:cpu,cpuacct:/docker/0a\n2:blkio:/\n0::/x\n";
        let Some(Group::One([cpu, memory, None, None])) = one.of_memberships(text, Some("0a")) else { panic!("one") };
        assert_eq!((cpu.unwrap(), memory.unwrap()), ("/c/cpu/docker/0a".into(), "/c/memory/docker/0a".into()));
    }

    #[test]
    fn nobody_climbs_out_of_the_tree() {
        let two = Trees::Two("/c".into());
        for bad in ["0::/../etc\n", "0::/a/../../b\n", "0::/\n", "", "0:\n", "garbage"] {
            assert!(two.of_memberships(bad, None).is_none(), "{bad:?}");
        }
        assert!(two.group("/../x").is_none());
    }
}
