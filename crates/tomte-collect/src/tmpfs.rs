//! File systems in memory. Asking one how full it is never hangs, unlike the
//! file systems in `filesystem.rs`.

use std::collections::HashSet;
use std::path::Path;

use tomte_model::{Facet, Moment, Scope};

use crate::Collector;
use crate::error::ReadError;
use crate::mounts::{self, Mount};
use crate::reader::FileReader;
use crate::root::{Root, Space};
use crate::settings::{Filter, Settings};

/// The collector `tmpfs`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Tmpfs {
        file: FileReader::new(root.proc("self/mountinfo")),
        root: root.clone(),
        mounts: settings.tmpfs.mounts.clone(),
    })
}

struct Tmpfs {
    root: Root,
    file: FileReader,
    mounts: Filter,
}

impl Collector for Tmpfs {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        let all = match self.file.parse_lossy(mounts::parse) {
            Ok(all) => all,
            Err(error) => return vec![error.scope("tmpfs")],
        };
        let mut facets = Vec::new();
        let mut refused = Vec::new();
        for point in points(all, &self.mounts) {
            let path = Path::new(&point);
            match self.root.space(path).map_err(|source| ReadError::new(path, source)) {
                // A size of zero means no limit, as in ramfs.
                Ok(space) if space.size == 0 => {}
                Ok(space) => facets.push(facet(&point, space)),
                // Unmounted since, or hidden below another mount.
                Err(ReadError::Missing { .. }) => {}
                // Below a folder that is not for us: its own scope, so that it
                // does not hide the others.
                Err(error) => refused.push(error.scope(format!("tmpfs:{point}"))),
            }
        }
        let mut scopes = vec![Scope::complete("tmpfs", facets)];
        scopes.append(&mut refused);
        scopes
    }
}

/// Where the wanted ones are mounted, each once although it may be mounted in
/// many places.
fn points(all: Vec<Mount>, wanted: &Filter) -> Vec<String> {
    let mut seen = HashSet::new();
    let tmpfs =
        mounts::visible(all).into_iter().filter(|mount| mount.fs_type == "tmpfs" && wanted.matches(&mount.point));
    // A part of one, mounted elsewhere, is not a file system of its own.
    tmpfs.filter(|mount| mount.root == "/" && seen.insert(mount.device.clone())).map(|mount| mount.point).collect()
}

fn facet(point: &str, space: Space) -> Facet {
    let ratio = |free: u64, all: u64| (all > 0).then(|| all.saturating_sub(free) as f64 / all as f64);
    let mut facet = Facet::owner("tmpfs", point, "main");
    facet.read("size_bytes", space.size as f64);
    facet.read("used_bytes", space.size.saturating_sub(space.free) as f64);
    facet.read("available_bytes", space.available as f64);
    facet.read("used_ratio", ratio(space.free, space.size));
    facet.read("inodes_used_ratio", ratio(space.inodes_free, space.inodes));
    facet
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, write};

    use super::*;

    #[test]
    fn each_is_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        create_dir_all(dir.path().join("proc/self")).unwrap();
        let mountinfo = "\
            1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 0:20 / /run rw - tmpfs tmpfs rw\n\
            3 1 0:21 / /tmp rw - tmpfs tmpfs rw\n\
            4 1 0:20 /lock /mnt/lock rw - tmpfs tmpfs rw\n\
            5 1 0:20 / /srv/run rw - tmpfs tmpfs rw\n\
            6 1 0:22 / /run/credentials/x ro - tmpfs tmpfs ro\n\
            7 1 0:23 / /hidden rw - tmpfs tmpfs rw\n\
            8 1 8:2 / /hidden rw - ext4 /dev/sda2 rw\n\
            9 1 0:24 / /unlimited rw - tmpfs tmpfs rw\n\
            10 1 0:25 / /gone rw - tmpfs tmpfs rw\n";
        write(dir.path().join("proc/self/mountinfo"), mountinfo).unwrap();
        let space =
            "/run 4096 100 25 25 10 9\n/tmp 4096 100 100 100 0 0\n/unlimited 4096 0 0 0 0 0\n/hidden 1 1 1 1 1 1\n";
        write(dir.path().join("statvfs.txt"), space).unwrap();
        let scope = make(&Root::new(dir.path()), &Settings::default()).collect(Moment::default()).remove(0);
        assert!(scope.outcome.is_complete(), "{scope:?}");
        let names: Vec<_> = scope.facets.iter().map(|facet| facet.resource.name.as_str()).collect();
        assert_eq!(names, ["/run", "/tmp"]);
        assert_eq!(scope.facets[0].reading("used_ratio"), Some(0.75));
        assert_eq!(scope.facets[0].reading("inodes_used_ratio"), Some(0.1));
        assert_eq!(scope.facets[1].reading("inodes_used_ratio"), None, "without a limit there is no ratio");
    }

    #[test]
    fn this_machine_answers() {
        let scope = make(&Root::system(), &Settings::default()).collect(Moment::default()).remove(0);
        assert!(scope.outcome.is_complete(), "{scope:?}");
    }
}
