//! The few things the spool asks of a file system, so that tests can stand in
//! a full or broken one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::PathBuf;

/// A flat folder of files.
pub trait Disk: Send {
    /// The names of all files.
    ///
    /// # Errors
    /// What the file system says.
    fn list(&mut self) -> io::Result<Vec<String>>;
    /// Up to `length` bytes from `offset`; less only at the end of the file.
    ///
    /// # Errors
    /// What the file system says.
    fn read(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// Writes at `offset` and makes it durable. A file that is not there is
    /// made. After an error the file ends at `offset` again, as far as the
    /// file system allows.
    ///
    /// # Errors
    /// What the file system says.
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file off.
    ///
    /// # Errors
    /// What the file system says.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;
    /// Gives the file another name.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes the file.
    ///
    /// # Errors
    /// What the file system says.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// A folder of the real file system, made when the first file is written.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at that path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl Disk for Folder {
    fn list(&mut self) -> io::Result<Vec<String>> {
        match fs::read_dir(&self.path) {
            Ok(entries) => entries
                .map(|entry| Ok(entry?.file_name()))
                .filter_map(|n| n.map(|n| n.into_string().ok()).transpose())
                .collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.path.join(name))?;
        let there = file.metadata()?.len().saturating_sub(offset);
        let mut bytes = vec![0; length.min(usize::try_from(there).unwrap_or(usize::MAX))];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let path = self.path.join(name);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        let written = file.write_all_at(bytes, offset).and_then(|()| file.set_len(offset + bytes.len() as u64));
        // A new file's name has to be durable as well as its contents.
        let synced = written.and_then(|()| (&file).flush()).and_then(|()| file.sync_data());
        let synced = if offset == 0 { synced.and_then(|()| File::open(&self.path)?.sync_all()) } else { synced };
        if synced.is_err() {
            let _ = if offset == 0 { fs::remove_file(&path) } else { file.set_len(offset) };
        }
        synced
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path.join(name))?.set_len(length)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }
}
