//! The files: the folder's lock, what is checked before a file is opened for
//! writing, how a new one is made, how an old one is brought up to date.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::log::Log;
use crate::OpenError;

/// How long to wait for another process (a backup) to let go of a file.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes per page.
pub(super) const PAGE_SIZE: u32 = 8192;

/// What makes a file one of ours.
#[derive(Debug)]
pub(super) struct Kind {
    /// The file's name.
    pub(super) file: &'static str,
    /// What the header's application id must be.
    pub(super) application_id: i32,
    /// The schema: one script per version, the first makes version 1.
    pub(super) migrations: &'static [&'static str],
    /// Whether the whole file is checked before it is used. Only for what is
    /// small and cannot be had again.
    pub(super) check_whole: bool,
}

/// Every kind of file, so that one put in another's place can be named.
const KINDS: [&Kind; 2] = [&super::state::KIND, &super::history::KIND];

/// The store's folder, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Holds the lock. The kernel lets go of it when the process ends.
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        Self::make(path).map_err(failed(path))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = lock.read_to_string(&mut text);
                return Err(OpenError::InUse { folder: path.to_owned(), holder: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(OpenError::Io { path: lock_path, source }),
        }
        // Who holds it is a help for people; a full disk must not stop the hub.
        let _ = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id()));
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Makes the folder if need be.
    pub(crate) fn make(path: &Path) -> io::Result<()> {
        if path.is_dir() { Ok(()) } else { DirBuilder::new().recursive(true).mode(0o700).create(path) }
    }

    /// Puts the databases of a backup in this folder, see
    /// [`Store::restore`](crate::Store::restore).
    pub(crate) fn restore(&self, backup: &Path) -> Result<Vec<PathBuf>, OpenError> {
        for kind in KINDS {
            let path = backup.join(kind.file);
            if !exists(&path)? {
                let source = io::Error::from(io::ErrorKind::NotFound);
                return Err(OpenError::Io { path, source });
            }
            inspect(&path, kind)?;
            check_contents(&path, true, |what| OpenError::Damaged { path: path.clone(), what })?;
        }
        // Both are whole beside their places before either is put in it.
        for kind in KINDS {
            let target = self.path.join(kind.file).with_extension("db.new");
            let failed = |source| OpenError::Io { path: target.clone(), source };
            let mut from = File::open(backup.join(kind.file)).map_err(failed)?;
            let mut to =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&target).map_err(failed)?;
            io::copy(&mut from, &mut to).and_then(|_| to.sync_all()).map_err(failed)?;
        }
        let mut moved = Vec::new();
        for kind in KINDS {
            let path = self.path.join(kind.file);
            if path.exists() {
                moved.push(self.set_aside(&path, "replaced")?);
            }
            fs::rename(path.with_extension("db.new"), &path)
                .and_then(|()| File::open(&self.path)?.sync_all())
                .map_err(|source| OpenError::Io { path: path.clone(), source })?;
        }
        Ok(moved)
    }

    /// Opens one of the databases for writing, after looking whether it is
    /// what it should be. A missing one is made. Whoever has read from it all
    /// that must be known says [`trust`].
    pub(super) fn connect(&self, kind: &Kind) -> Result<(PathBuf, Connection), OpenError> {
        let path = self.path.join(kind.file);
        if exists(&path)? {
            inspect(&path, kind)?;
        } else {
            self.create(&path, kind)?;
        }
        let connection = open_writer(&path, kind)?;
        Ok((path, connection))
    }

    /// Renames a database and its log, so that a new one can be begun. Returns
    /// the new name.
    pub(crate) fn set_aside(&self, path: &Path, why: &str) -> Result<PathBuf, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let new = (1..)
            .map(|number| path.with_extension(format!("db.{why}-{number}")))
            .find(|new| !new.exists())
            .unwrap_or_else(|| path.with_extension(format!("db.{why}")));
        let suffixed = |path: &Path, suffix: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        // The log first: beside a database that it does not belong to it does harm.
        for suffix in ["-wal", ""] {
            match fs::rename(suffixed(path, suffix), suffixed(&new, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        match fs::remove_file(suffixed(path, "-shm")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(new)
    }

    /// Makes a database under another name first, so that a crash leaves
    /// either none or a whole one.
    fn create(&self, path: &Path, kind: &Kind) -> Result<(), OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let new = path.with_extension("db.new");
        for leftover in [&new, &new.with_extension("new-journal")] {
            match fs::remove_file(leftover) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(failed)?;
        let make = || -> rusqlite::Result<()> {
            let connection = Connection::open_with_flags(&new, writer_flags())?;
            connection.pragma_update(None, "page_size", PAGE_SIZE)?;
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "application_id", kind.application_id)?;
            migrate(&connection, kind)?;
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
            connection.close().map_err(|(_, error)| error)
        };
        make().map_err(|error| engine(path, error))?;
        fs::rename(&new, path).map_err(failed)?;
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

/// Whether there is a database. An empty file without a log is none.
fn exists(path: &Path) -> Result<bool, OpenError> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(OpenError::Foreign { path: path.to_owned(), what: "it is no regular file".into() })
        }
        Ok(found) if found.len() == 0 && !log_in_use(path) => Ok(false),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(OpenError::Io { path: path.to_owned(), source }),
    }
}

/// Whether the write-ahead log holds anything.
fn log_in_use(path: &Path) -> bool {
    fs::metadata(path.with_extension("db-wal")).is_ok_and(|log| log.len() > 0)
}

/// Looks at a file without changing it. The header's fields are those of
/// <https://www.sqlite.org/fileformat2.html>, section 1.3.
fn inspect(path: &Path, kind: &Kind) -> Result<(), OpenError> {
    let foreign = |what: &str| OpenError::Foreign { path: path.to_owned(), what: what.into() };
    let damaged = |what: String| OpenError::Damaged { path: path.to_owned(), what };
    let failed = |source| OpenError::Io { path: path.to_owned(), source };

    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut header = [0_u8; 100];
    match file.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(foreign("it is too short to be one")),
        Err(error) => return Err(failed(error)),
    }
    if &header[..16] != b"SQLite format 3\0" {
        return Err(foreign("it is no SQLite database"));
    }
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let application_id = number(68).cast_signed();
    if application_id != kind.application_id {
        let other = KINDS.iter().find(|other| other.application_id == application_id);
        return Err(match other {
            Some(other) => foreign(&format!("it is a {} under another name", other.file)),
            None => foreign("it is the SQLite database of another program"),
        });
    }
    let page_size = u32::from(u16::from_be_bytes([header[16], header[17]]));
    if page_size != PAGE_SIZE {
        return Err(damaged(format!("its pages have {page_size} bytes instead of {PAGE_SIZE}")));
    }
    let version = i64::from(number(60).cast_signed());
    let known = i64::try_from(kind.migrations.len()).expect("a short list");
    if version > known {
        return Err(OpenError::Newer { path: path.to_owned(), found: version, known });
    }
    if version < 1 {
        return Err(damaged(format!("it has the impossible schema version {version}")));
    }
    // While the log holds anything, it may hold pages that the file lacks.
    let pages = u64::from(number(28));
    let page_count_is_valid = number(24) == number(92);
    let there = length / u64::from(PAGE_SIZE);
    if !log_in_use(path) && page_count_is_valid && length < pages * u64::from(PAGE_SIZE) {
        return Err(damaged(format!("it is cut off after {there} of {pages} pages")));
    }
    drop(file);
    // Pages that are in neither may be free ones, or cut off: then it has to
    // be looked at whole.
    let log = Log::read(&path.with_extension("db-wal")).map_err(failed)?;
    check_contents(path, kind.check_whole || log.lacks_pages(there), damaged)
}

/// Reads the file with SQLite, without the right to change it.
fn check_contents(path: &Path, whole: bool, damaged: impl Fn(String) -> OpenError) -> Result<(), OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = || -> rusqlite::Result<String> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        if whole {
            return connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        }
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok("ok".into())
    };
    match read() {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(verdict) => Err(damaged(verdict.lines().last().unwrap_or_default().to_owned())),
        Err(error) if is_damage(&error) => Err(damaged(error.to_string())),
        Err(error) => Err(engine(path, error)),
    }
}

fn open_writer(path: &Path, kind: &Kind) -> Result<Connection, OpenError> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, writer_flags())?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        trust(&connection, false)?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "cache_size", -4096)?;
        // A log that a burst made long is cut back to this.
        connection.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))?;
        connection.set_prepared_statement_cache_capacity(64);
        migrate(&connection, kind)?;
        Ok(connection)
    };
    open().map_err(|error| {
        if is_damage(&error) {
            OpenError::Damaged { path: path.to_owned(), what: error.to_string() }
        } else {
            engine(path, error)
        }
    })
}

/// Until a file is known to be good, closing it must not write into it what
/// stands in the log.
pub(super) fn trust(connection: &Connection, trusted: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !trusted).map(drop)
}

/// Brings the schema up to date, one version per transaction. The header in
/// the file itself is then made to say so, since that is what is looked at
/// first.
fn migrate(connection: &Connection, kind: &Kind) -> rusqlite::Result<()> {
    let mut version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let before = version;
    for script in kind.migrations.iter().skip(usize::try_from(version).unwrap_or(0)) {
        version += 1;
        let transaction = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    if version != before && before > 0 {
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok(())
}

fn writer_flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

fn engine(path: &Path, error: rusqlite::Error) -> OpenError {
    OpenError::Engine { path: path.to_owned(), source: Arc::new(error) }
}

/// Gives free pages back to the file system, at most `limit` of them, but for
/// a reserve that the next writes will need, if that is to stay. Returns how
/// many went.
pub(super) fn give_space_back(connection: &Connection, limit: u64, all: bool) -> rusqlite::Result<u64> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
    let pages = number("PRAGMA page_count")?;
    let free = number("PRAGMA freelist_count")?;
    let reserve = if all { 0 } else { (pages / 10).min(4096) };
    let surplus = free.saturating_sub(reserve).min(limit);
    if surplus > 0 {
        // One page goes per step of the statement.
        let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({surplus})"))?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
    }
    Ok(surplus)
}

/// Copies a database into a new file, as it is at one moment, in steps that
/// hold nobody up.
pub(super) fn back_up(
    source: &Path,
    target: &Path,
    progress: &mut dyn FnMut(crate::history::Progress),
) -> Result<(), super::Fault> {
    /// So many pages are copied at once.
    const STEP: i32 = 256;
    let mut run = || -> Result<(), super::Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let source = Connection::open_with_flags(source, flags)?;
        source.busy_timeout(BUSY_TIMEOUT)?;
        // A read transaction: what is written meanwhile does not start the
        // copy anew.
        let moment = source.unchecked_transaction()?;
        moment.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let mut copy = Connection::open(target)?;
        copy.pragma_update(None, "synchronous", "FULL")?;
        let backup = rusqlite::backup::Backup::new(&source, &mut copy)?;
        loop {
            let step = backup.step(STEP)?;
            let state = backup.progress();
            let (total, left) = (state.pagecount.cast_unsigned(), state.remaining.cast_unsigned());
            progress(crate::history::Progress { done: u64::from(total - left), total: u64::from(total) });
            if step == rusqlite::backup::StepResult::Done {
                return Ok(());
            }
        }
    };
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target)
        .map_err(|source| crate::StoreError::Target { path: target.to_owned(), source: Arc::new(source) })?;
    run().inspect_err(|_| {
        let _ = fs::remove_file(target);
    })
}
