//! Which types of file systems count, and which may keep one waiting.

use crate::mounts::Mount;
use crate::settings::FilesystemSettings;

/// How a file system is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// On a disk of this host; answers from memory.
    Local,
    /// On a server, or made by a program; may hang, and has its own scope.
    Apart {
        /// Whether it is on a server.
        network: bool,
    },
}

/// On servers, or shared by several machines.
const NETWORK: &[&str] = &[
    "9p",
    "acfs",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "fuse.beegfs",
    "fuse.ceph",
    "fuse.ceph-fuse",
    "fuse.cephfs",
    "fuse.curlftpfs",
    "fuse.davfs2",
    "fuse.gcsfuse",
    "fuse.geesefs",
    "fuse.glusterfs",
    "fuse.goofys",
    "fuse.juicefs",
    "fuse.mfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.seaweedfs",
    "fuse.smbnetfs",
    "fuse.sshfs",
    "fuse.vmhgfs-fuse",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "prl_fs",
    "smb3",
    "smbfs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
];

/// Made by programs out of several disks, and wanted as one.
const POOLS: &[&str] = &["fuse.mergerfs", "fuse.mhddfs", "fuse.unionfs", "fuse.unionfs-fuse", "fuse.zfs"];

/// On disks, though their device numbers do not say so.
const UNNUMBERED: &[&str] = &["bcachefs", "btrfs", "jffs2", "reiser4", "ubifs", "yaffs2", "zfs"];

/// Read-only images, which are always full: snaps, discs, firmware.
const IMAGES: &[&str] = &["cramfs", "erofs", "iso9660", "romfs", "squashfs"];

/// Views of what is counted already.
const VIEWS: &[&str] = &["aufs", "ecryptfs", "overlay", "shiftfs"];

/// How that mount is looked at; `None` when it does not count.
pub(super) fn of(mount: &Mount, settings: &FilesystemSettings) -> Option<Class> {
    let fs_type = mount.fs_type.as_str();
    // To look at it may mount what it stands for.
    if fs_type == "autofs" || !settings.types.matches(fs_type) {
        return None;
    }
    let asked_for = settings.types.includes(fs_type);
    let numbered = !mount.device.starts_with("0:");
    let by_program = fs_type == "fuse" || fs_type.starts_with("fuse.");
    if NETWORK.contains(&fs_type) || (!numbered && by_program && is_remote(&mount.source)) {
        return settings.network.then_some(Class::Apart { network: true });
    }
    if POOLS.contains(&fs_type) {
        return Some(Class::Apart { network: false });
    }
    let on_disk = numbered && !IMAGES.contains(&fs_type) && !VIEWS.contains(&fs_type);
    if on_disk || UNNUMBERED.contains(&fs_type) {
        return Some(Class::Local);
    }
    asked_for.then_some(if by_program { Class::Apart { network: false } } else { Class::Local })
}

/// Whether a source is a place on a server: `host:/path`, `user@host:path`,
/// `//host/share`, `https://host/path`.
fn is_remote(source: &str) -> bool {
    source.starts_with("//") || source.split_once(':').is_some_and(|(host, _)| !host.is_empty() && !host.contains('/'))
}

/// What a mount shows of a server, where its source says so.
pub(super) fn share(mount: &Mount) -> Option<&str> {
    (mount.device.starts_with("0:") && is_remote(&mount.source)).then_some(mount.source.as_str())
}

/// The server of a source, or the source itself; what is on one server tends to
/// hang together.
pub(super) fn server(source: &str) -> &str {
    let place = source.split_once("://").map_or(source, |(_, place)| place);
    if let Some(share) = place.strip_prefix("//") {
        return share.split('/').next().unwrap_or(share);
    }
    let host = match place.strip_prefix('[') {
        Some(address) => address.split(']').next(),
        None if is_remote(place) => place.split(':').next(),
        None if place != source => place.split('/').next(),
        None => None,
    };
    host.map_or(source, |host| host.rsplit('@').next().unwrap_or(host))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Filter;

    fn class(device: &str, fs_type: &str, source: &str, settings: &FilesystemSettings) -> Option<Class> {
        let line = format!("1 0 {device} / /x rw - {fs_type} {source} rw\n");
        of(&crate::mounts::parse(&line).unwrap()[0], settings)
    }

    #[test]
    fn types_that_count() {
        let settings = FilesystemSettings::default();
        const NETWORK: Option<Class> = Some(Class::Apart { network: true });
        for (device, fs_type, source, expected) in [
            ("8:1", "ext4", "/dev/sda1", Some(Class::Local)),
            ("259:1", "vfat", "/dev/nvme0n1p1", Some(Class::Local)),
            ("8:17", "fuseblk", "/dev/sdb1", Some(Class::Local)),
            ("7:9", "ext4", "/dev/loop9", Some(Class::Local)),
            ("0:30", "btrfs", "/dev/sda2", Some(Class::Local)),
            ("0:40", "zfs", "tank/data", Some(Class::Local)),
            ("0:50", "nfs4", "nas:/export", NETWORK),
            ("0:51", "cifs", "//nas/media", NETWORK),
            ("0:52", "ceph", "10.0.0.1,10.0.0.2:/", NETWORK),
            ("0:53", "9p", "share", NETWORK),
            ("0:54", "fuse.sshfs", "me@box:/srv", NETWORK),
            ("0:55", "fuse", "https://cloud/dav", NETWORK),
            ("0:56", "fuse.something", "host:9421", NETWORK),
            ("0:57", "fuse.mergerfs", "/mnt/a:/mnt/b", Some(Class::Apart { network: false })),
            ("0:58", "fuse", "/dev/fuse", None),
            ("0:59", "fuse.portal", "portal", None),
            ("0:60", "fuse.gocryptfs", "/home/me/.crypt", None),
            ("0:61", "overlay", "overlay", None),
            ("0:62", "tmpfs", "tmpfs", None),
            ("0:5", "proc", "proc", None),
            ("0:63", "whatever", "none", None),
            ("0:64", "autofs", "nas:/export", None),
            ("7:1", "squashfs", "/dev/loop1", None),
            ("11:0", "iso9660", "/dev/sr0", None),
        ] {
            assert_eq!(class(device, fs_type, source, &settings), expected, "{fs_type} {source}");
        }
    }

    #[test]
    fn what_is_asked_for_counts_but_never_autofs() {
        let types = Filter::new(["overlay", "squashfs", "autofs", "fuse.*"], []).unwrap();
        let settings = FilesystemSettings { types, ..FilesystemSettings::default() };
        assert_eq!(class("0:1", "overlay", "overlay", &settings), Some(Class::Local));
        assert_eq!(class("7:1", "squashfs", "/dev/loop1", &settings), Some(Class::Local));
        assert_eq!(class("0:2", "fuse.portal", "portal", &settings), Some(Class::Apart { network: false }));
        assert_eq!(class("0:3", "autofs", "x", &settings), None);
        assert_eq!(class("8:1", "ext4", "/dev/sda1", &settings), None, "an include leaves out all others");
    }

    #[test]
    fn servers_can_be_left_out() {
        let settings = FilesystemSettings { network: false, ..FilesystemSettings::default() };
        assert_eq!(class("0:50", "nfs4", "nas:/export", &settings), None);
        assert_eq!(class("8:1", "ext4", "/dev/sda1", &settings), Some(Class::Local));
    }

    #[test]
    fn a_source_names_its_server() {
        for (source, expected) in [
            ("nas:/export/a", "nas"),
            ("[fd00::1]:/export", "fd00::1"),
            ("//nas/media/tv", "nas"),
            ("me@box:/srv", "box"),
            ("https://me@cloud/dav", "cloud"),
            ("mon1,mon2:/", "mon1,mon2"),
            ("share", "share"),
            ("/mnt/a:/mnt/b", "/mnt/a:/mnt/b"),
            ("", ""),
        ] {
            assert_eq!(server(source), expected, "{source}");
        }
    }

    proptest! {
        #[test]
        fn any_source_is_safe(source in "[a-z:/@\\[\\]é]{0,12}") {
            let _ = server(&source);
        }
    }
}
