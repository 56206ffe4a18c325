//! Reading the kernel's small text files, cheaply and within bounds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Malformed, ReadError};

/// More than this is not read: `/proc/self/mountinfo` of 10,000 mounts and
/// `/proc/cpuinfo` of 512 cores are below 2 MiB.
const MOST: usize = 16 << 20;

/// Where a buffer starts; /proc gives at most a page at a time.
const FIRST: usize = 1024;

/// A file that is read again and again: opened once, read from its start each
/// time into one buffer. The kernel renders /proc and /sys files anew whenever
/// they are read at offset 0.
#[derive(Debug)]
pub struct FileReader {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl FileReader {
    /// A reader of that file; it is opened when first read.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, buffer: Vec::new() }
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's present content.
    ///
    /// # Errors
    /// As the kernel says; the file is opened anew at the next reading.
    pub fn read(&mut self) -> Result<&[u8], ReadError> {
        // A file may be open that belongs to something that was unplugged and
        // has come back; so a failure of a kept file is tried once afresh.
        let kept = self.file.is_some();
        let mut result = self.fill();
        if result.is_err() && kept {
            self.file = None;
            result = self.fill();
        }
        match result {
            Ok(()) => Ok(&self.buffer),
            Err(source) => {
                self.file = None;
                Err(ReadError::new(&self.path, source))
            }
        }
    }

    /// The file's present content, through a parser.
    ///
    /// # Errors
    /// As [`Self::read`]; and what the parser, or the check for UTF-8, says.
    pub fn parse<T>(&mut self, parser: impl FnOnce(&str) -> Result<T, Malformed>) -> Result<T, ReadError> {
        self.read()?;
        let text = str::from_utf8(&self.buffer).map_err(|error| {
            let good = &self.buffer[..error.valid_up_to()];
            let line = good.iter().filter(|&&byte| byte == b'\n').count() + 1;
            Malformed::new(line, "text in UTF-8", "other bytes")
        });
        text.and_then(parser).map_err(|source| ReadError::malformed(&self.path, source))
    }

    /// As [`Self::parse`], for files that repeat names which people or programs
    /// chose (mount points, commands): what is not UTF-8 is replaced, so that
    /// one strange name does not hide the others.
    ///
    /// # Errors
    /// As [`Self::read`]; and what the parser says.
    pub fn parse_lossy<T>(&mut self, parser: impl FnOnce(&str) -> Result<T, Malformed>) -> Result<T, ReadError> {
        self.read()?;
        parser(&String::from_utf8_lossy(&self.buffer)).map_err(|source| ReadError::malformed(&self.path, source))
    }

    fn fill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        fill(file, &mut self.buffer)
    }
}

/// Fills the buffer with the whole file.
fn fill(file: &File, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut length = 0;
    buffer.resize(buffer.capacity().max(FIRST), 0);
    loop {
        if length == buffer.len() {
            if length >= MOST {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
            }
            buffer.resize(length * 2, 0);
        }
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(length);
    Ok(())
}

/// A file that is read once.
///
/// # Errors
/// As the kernel says.
pub fn read_file(path: &Path) -> Result<Vec<u8>, ReadError> {
    let mut buffer = Vec::new();
    File::open(path)
        .and_then(|file| fill(&file, &mut buffer))
        .map(|()| buffer)
        .map_err(|source| ReadError::new(path, source))
}

/// A file of one short text, without the blanks around it; what is not UTF-8
/// is replaced.
///
/// # Errors
/// As the kernel says.
pub fn read_trimmed(path: &Path) -> Result<String, ReadError> {
    let bytes = read_file(path)?;
    // sysfs texts of firmware may be padded with zero bytes.
    Ok(String::from_utf8_lossy(&bytes).trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
}

/// A file of one whole number, which may be negative.
///
/// # Errors
/// As the kernel says, or when it is no number.
pub fn read_number(path: &Path) -> Result<i64, ReadError> {
    let text = read_trimmed(path)?;
    text.parse().map_err(|_| ReadError::malformed(path, Malformed::new(1, "a whole number", &text)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tomte_model::Outcome;

    use super::*;

    #[test]
    fn a_file_is_read_anew_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "a".repeat(5000)).unwrap();
        let mut reader = FileReader::new(path.clone());
        assert_eq!(reader.read().unwrap().len(), 5000);
        std::fs::write(&path, "bc").unwrap();
        assert_eq!(reader.read().unwrap(), b"bc");
        std::fs::write(&path, "").unwrap();
        assert_eq!(reader.read().unwrap(), b"");
    }

    #[test]
    fn what_comes_back_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut reader = FileReader::new(path.clone());
        assert!(matches!(reader.read(), Err(ReadError::Missing { .. })));
        std::fs::write(&path, "here").unwrap();
        assert_eq!(reader.read().unwrap(), b"here");
    }

    #[test]
    fn the_kernel_renders_anew_at_offset_zero() {
        let mut reader = FileReader::new("/proc/self/stat".into());
        let first = reader.read().unwrap().to_vec();
        assert!(!first.is_empty() && !reader.read().unwrap().is_empty());
    }

    #[test]
    fn the_parser_is_told_where_text_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"one\ntw\xff\n").unwrap();
        let error = FileReader::new(path).parse(|_| Ok(())).unwrap_err();
        assert!(matches!(error.outcome(), Outcome::Failed { error } if error.contains("line 2: text in UTF-8")));
    }

    #[test]
    fn short_files_are_trimmed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "  -42\n\0").unwrap();
        assert_eq!(read_trimmed(&path).unwrap(), "-42");
        assert_eq!(read_number(&path).unwrap(), -42);
        std::fs::write(&path, "warm").unwrap();
        assert!(matches!(read_number(&path).unwrap_err().outcome(), Outcome::Failed { .. }));
        assert!(matches!(read_file(dir.path()).unwrap_err(), ReadError::Failed { .. }));
    }
}
