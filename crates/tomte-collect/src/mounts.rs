//! The table of mounts.

use std::collections::HashSet;

use crate::error::{Malformed, ReadError};
use crate::reader::read_file;
use crate::root::Root;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The device number, `8:1`; the same for all mounts of one file system.
    pub(crate) device: String,
    /// What of the file system is mounted; not `/` for a bind mount.
    pub(crate) root: String,
    /// Where it is mounted.
    pub(crate) point: String,
    /// `ext4`, `nfs4`, `fuse.sshfs`.
    pub(crate) fs_type: String,
    /// The device's path, the server's address, or anything else.
    pub(crate) source: String,
    /// Whether all of the file system is mounted there (or all of a btrfs
    /// subvolume), rather than a directory of it.
    pub(crate) whole: bool,
    /// Whether nothing can be written through this mount.
    pub(crate) read_only: bool,
    /// Whether the file system itself takes no writes. Where it does not and
    /// the mount would, the kernel has found an error.
    pub(crate) frozen_by_error: bool,
}

/// The mounts of the host as its first process sees them, since a service may
/// be given a view of its own, in which all is read-only; else as we see them.
pub(crate) fn read(root: &Root) -> Result<Vec<Mount>, ReadError> {
    // Not kept: a host of 10,000 mounts has a table of two megabytes.
    let (init, own) = (root.proc("1/mountinfo"), root.proc("self/mountinfo"));
    let (path, table) = match read_file(&init) {
        Ok(table) => (init, table),
        Err(_) => {
            let table = read_file(&own)?;
            (own, table)
        }
    };
    parse(&String::from_utf8_lossy(&table)).map_err(|source| ReadError::malformed(&path, source))
}

/// Only those that can be seen: of several at one point, the last.
pub(crate) fn visible(all: Vec<Mount>) -> Vec<Mount> {
    let mut points = HashSet::with_capacity(all.len());
    let last: Vec<bool> = all.iter().rev().map(|mount| points.insert(mount.point.as_str())).collect();
    let last: Vec<bool> = last.into_iter().rev().collect();
    all.into_iter().zip(last).filter_map(|(mount, last)| last.then_some(mount)).collect()
}

/// Lines such as `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext4 /dev/root
/// rw,errors=continue`: see proc_pid_mountinfo(5). In the order in which they
/// were mounted, so that of two at the same point the later hides the former.
pub(crate) fn parse(text: &str) -> Result<Vec<Mount>, Malformed> {
    let mut mounts = Vec::new();
    for (index, line) in text.lines().enumerate() {
        mounts.push(parse_line(line).ok_or_else(|| Malformed::new(index + 1, "a mount", line))?);
    }
    Ok(mounts)
}

fn parse_line(line: &str) -> Option<Mount> {
    let mut words = line.split(' ');
    let device = words.nth(2)?.to_owned();
    let (root, point) = (unescape(words.next()?), unescape(words.next()?));
    let options = words.next()?;
    // Any number of tags, then a dash.
    words.by_ref().find(|word| *word == "-")?;
    let fs_type = unescape(words.next()?);
    // A source may be empty, and then nothing stands between two blanks.
    let source = unescape(words.next()?);
    let of_all = words.next().unwrap_or_default();
    let has = |options: &str, wanted: &str| options.split(',').any(|option| option == wanted);
    let subvolume = || of_all.split(',').find_map(|option| option.strip_prefix("subvol="));
    let whole = root == "/" || subvolume().is_some_and(|subvolume| unescape(subvolume) == root);
    let mount_read_only = has(options, "ro");
    let all_read_only = has(of_all, "ro");
    Some(Mount {
        device,
        root,
        point,
        fs_type,
        source,
        whole,
        read_only: mount_read_only || all_read_only,
        frozen_by_error: all_read_only && !mount_read_only,
    })
}

/// Blanks, line ends and backslashes are written as `\040` and the like.
fn unescape(word: &str) -> String {
    let mut text = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|code| u8::from_str_radix(code, 8).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => {
                text.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                text.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_with_any_number_of_tags() {
        let text = "36 35 98:0 /mnt1 /mnt\\0402\\134x rw,noatime - ext4 /dev/root rw,errors=continue\n\
            37 35 0:40 / /tmp ro master:1 shared:2 - tmpfs  rw\n";
        let mounts = parse(text).unwrap();
        assert_eq!((mounts[0].point.as_str(), mounts[0].root.as_str()), ("/mnt 2\\x", "/mnt1"));
        assert_eq!((mounts[0].device.as_str(), mounts[0].read_only), ("98:0", false));
        assert_eq!((mounts[1].fs_type.as_str(), mounts[1].source.as_str()), ("tmpfs", ""));
        assert!(mounts[1].read_only && !mounts[1].frozen_by_error);
        assert_eq!(parse("36 35 98:0 / /x rw ext4\n").unwrap_err().line, 1);
        assert_eq!(unescape("a\\9\\04"), "a\\9\\04");
    }

    #[test]
    fn a_part_is_told_from_the_whole_and_an_error_from_a_choice() {
        let text = "1 0 8:1 / / rw - ext4 /dev/sda1 ro,errors=remount-ro\n\
            2 1 8:1 /srv /srv rw - ext4 /dev/sda1 ro,errors=remount-ro\n\
            3 1 8:2 / /boot ro - ext4 /dev/sda2 ro\n\
            4 1 0:30 /@home /home rw - btrfs /dev/sdb rw,subvolid=257,subvol=/@home\n\
            5 1 0:30 /@home/a /a ro - btrfs /dev/sdb rw,subvolid=257,subvol=/@home\n";
        let mounts = parse(text).unwrap();
        let told: Vec<_> = mounts.iter().map(|m| (m.whole, m.read_only, m.frozen_by_error)).collect();
        let expected =
            [(true, true, true), (false, true, true), (true, true, false), (true, false, false), (false, true, false)];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_last_mount_at_a_point_hides_the_others() {
        let text = "1 0 0:1 / /a rw - autofs x rw\n2 0 8:1 / /b rw - ext4 x rw\n3 1 0:2 / /a rw - nfs x rw\n";
        let seen = visible(parse(text).unwrap());
        assert_eq!(seen.iter().map(|m| m.fs_type.as_str()).collect::<Vec<_>>(), ["ext4", "nfs"]);
    }

    #[test]
    fn the_first_process_sees_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        assert!(matches!(read(&root), Err(ReadError::Missing { .. })));
        std::fs::create_dir_all(root.proc("self")).unwrap();
        std::fs::write(root.proc("self/mountinfo"), "1 0 8:1 / / ro - ext4 /dev/sda1 rw\n").unwrap();
        assert!(read(&root).unwrap()[0].read_only);
        std::fs::create_dir_all(root.proc("1")).unwrap();
        std::fs::write(root.proc("1/mountinfo"), b"1 0 8:1 / /caf\xe9 rw - ext4 /dev/sda1 rw\n").unwrap();
        assert!(!read(&root).unwrap()[0].read_only);
        assert!(!read(&Root::system()).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String, word in "[a\\\\0-9é]{0,12}") {
            let _ = (parse(&text), unescape(&word));
        }
    }
}
