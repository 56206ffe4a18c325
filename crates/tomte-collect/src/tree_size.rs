//! What the files below a directory take, counted gently: within one file
//! system, in small steps with pauses, and within a limited time.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// After so many entries there is a pause.
const STRIDE: u32 = 500;
/// How long it is: about as long as the work before it took, at least.
const PAUSE: Duration = Duration::from_millis(5);
/// More links to several names are not remembered: 8 bytes and some each.
const MOST_LINKS: usize = 200_000;
/// Deeper is nobody's data.
const DEEPEST: usize = 128;

/// Why a size is not known.
#[derive(Debug)]
pub(crate) enum SizeError {
    /// A directory in it may not be read.
    Denied(PathBuf),
    /// The time was not enough.
    TooLong,
    /// Something else.
    Io(PathBuf, io::Error),
}

/// The bytes on disk of all files below those directories; what is not there
/// takes none. Files that have several names are counted once.
pub(crate) fn tree_size(tops: &[PathBuf], until: Instant) -> Result<u64, SizeError> {
    let mut walk = Walk { until, steps: 0, links: HashSet::new(), bytes: 0 };
    for top in tops {
        // The top itself may be a link (DynamicUser= makes it one).
        match fs::metadata(top) {
            Ok(told) => {
                walk.bytes += told.blocks() * 512;
                if told.is_dir() {
                    walk.directory(top, told.dev(), 0)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SizeError::new(top, error)),
        }
    }
    Ok(walk.bytes)
}

impl SizeError {
    fn new(path: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied(path.to_owned()),
            _ => Self::Io(path.to_owned(), error),
        }
    }
}

struct Walk {
    until: Instant,
    steps: u32,
    links: HashSet<(u64, u64)>,
    bytes: u64,
}

impl Walk {
    fn directory(&mut self, path: &Path, device: u64, depth: usize) -> Result<(), SizeError> {
        if depth > DEEPEST {
            return Ok(());
        }
        let mut below = Vec::new();
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            // Removed while we came.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(SizeError::new(path, error)),
        };
        for entry in entries {
            self.step()?;
            let Ok(entry) = entry else { continue };
            // Does not follow links.
            let Ok(told) = entry.metadata() else { continue };
            // What is mounted there is somebody else's.
            if told.dev() != device {
                continue;
            }
            let counted = told.is_dir() || told.nlink() < 2 || self.first_name(told.dev(), told.ino());
            if counted {
                self.bytes += told.blocks() * 512;
            }
            if told.is_dir() {
                below.push(entry.file_name());
            }
        }
        // After the listing is closed, so that depth costs no open files.
        for name in below {
            self.directory(&path.join(name), device, depth + 1)?;
        }
        Ok(())
    }

    fn first_name(&mut self, device: u64, inode: u64) -> bool {
        self.links.len() >= MOST_LINKS || self.links.insert((device, inode))
    }

    fn step(&mut self) -> Result<(), SizeError> {
        self.steps += 1;
        if self.steps.is_multiple_of(STRIDE) {
            if Instant::now() >= self.until {
                return Err(SizeError::TooLong);
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_are_counted_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir_all(a.join("deep")).unwrap();
        fs::create_dir(&b).unwrap();
        fs::write(a.join("deep/file"), vec![1; 100_000]).unwrap();
        fs::hard_link(a.join("deep/file"), a.join("again")).unwrap();
        fs::write(b.join("other"), vec![1; 500_000]).unwrap();
        std::os::unix::fs::symlink(&b, a.join("link")).unwrap();
        let until = Instant::now() + Duration::from_secs(3600);
        let size = tree_size(&[a.clone(), dir.path().join("missing")], until).unwrap();
        assert!((100_000..200_000).contains(&size), "{size}");
        // A top that is a link is meant.
        let size = tree_size(&[a.join("link")], until).unwrap();
        assert!((500_000..600_000).contains(&size), "{size}");
    }

    #[test]
    fn it_ends_in_time() {
        let dir = tempfile::tempdir().unwrap();
        for name in 0..STRIDE {
            fs::write(dir.path().join(name.to_string()), "").unwrap();
        }
        assert!(matches!(tree_size(&[dir.path().to_owned()], Instant::now()), Err(SizeError::TooLong)));
    }
}
