//! What stands in a write-ahead log, as far as it must be known before SQLite
//! may touch the files. The format is that of
//! <https://www.sqlite.org/fileformat2.html>, section 4.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// What the committed part of a log brings.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// How many pages the database has, by the last commit; zero without one.
    pub(super) pages: u32,
    /// The pages that the log holds.
    held: HashSet<u32>,
}

impl Log {
    /// Reads the log beside a database. A missing one is empty.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut log = Self::default();
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(log),
            Err(error) => return Err(error),
        };
        let mut file = BufReader::with_capacity(FRAME_HEADER, file);
        let mut header = [0; HEADER];
        if !filled(&mut file, &mut header)? {
            return Ok(log);
        }
        let page_size = i64::from(number(&header, 8));
        let mut waiting = Vec::new();
        let mut frame = [0; FRAME_HEADER];
        while filled(&mut file, &mut frame)? && frame[8..16] == header[16..24] {
            waiting.push(number(&frame, 0));
            let pages = number(&frame, 4);
            if pages > 0 {
                log.pages = pages;
                log.held.extend(waiting.drain(..));
            }
            file.seek(SeekFrom::Current(page_size))?;
        }
        Ok(log)
    }

    /// Whether there is a page that neither the log nor a file of so many
    /// pages holds.
    pub(super) fn lacks_pages(&self, in_file: u64) -> bool {
        let beyond = u32::try_from(in_file).unwrap_or(u32::MAX).saturating_add(1)..=self.pages;
        beyond.into_iter().any(|page| !self.held.contains(&page))
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Reads so much, or says that there is no more.
fn filled(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
