//! What can go wrong, named by what failed.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a folder of databases cannot be opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be made, read or written.
    #[error("{} cannot be opened", path.display())]
    Io {
        /// What was tried.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Another process keeps its databases in the same folder.
    #[error("{} is in use by another hub{}", folder.display(), holder.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The other process, if it left its number.
        holder: Option<u32>,
    },
    /// The file is not one of ours.
    #[error("{} is not a Tomte database ({what}): it was left untouched; move it away to start with an empty one", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead, as far as can be told.
        what: String,
    },
    /// The file is one of ours, and is damaged.
    #[error("{} is damaged ({what}): it was left untouched; restore it from a backup, or move it away to start with an empty one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer version of Tomte wrote the file.
    #[error("{} was written by a newer version of Tomte (its schema is {found}, this version knows up to {known}): it was left untouched", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's schema.
        found: i64,
        /// The newest schema of this version.
        known: i64,
    },
    /// The database engine refused.
    #[error("{} cannot be opened", path.display())]
    Engine {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

/// Why a read or a write came to nothing. A write that failed left nothing
/// behind. It can be cloned, because everybody in a failed group is told.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space is left. Tried again by itself with the next write.
    #[error("the disk is full, nothing was written to {database}")]
    Full {
        /// Which database.
        database: &'static str,
    },
    /// The disk refused to read or write.
    #[error("the disk of {database} failed")]
    Io {
        /// Which database.
        database: &'static str,
        /// What the engine said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The database's contents make no sense.
    #[error("{database} is damaged")]
    Damaged {
        /// Which database.
        database: &'static str,
        /// What the engine said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The database engine failed in another way.
    #[error("{database} failed")]
    Engine {
        /// Which database.
        database: &'static str,
        /// What it said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// More waits to be written than may wait.
    #[error("too much waits to be written")]
    Busy,
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
    /// The agent's outbox has holes without number, or too many lives.
    #[error("the reports received of this outbox are in too many pieces to keep count of")]
    TooManyPieces,
    /// A query would bring more points than it may.
    #[error("the query asks for more than {allowed} points: take a shorter range, a longer step or fewer series")]
    TooManyPoints {
        /// How many it may bring.
        allowed: usize,
    },
    /// A query would read more than it may.
    #[error("the query reads more than {allowed} bytes: take a shorter range, a longer step or fewer series")]
    TooManyBytes {
        /// How many it may read.
        allowed: u64,
    },
    /// A query takes longer than it may.
    #[error("the query takes longer than {} s: take a shorter range, a longer step or fewer series", allowed.as_secs_f64())]
    TooSlow {
        /// How long it may take.
        allowed: std::time::Duration,
    },
    /// A copy cannot be made there.
    #[error("{} cannot be made", path.display())]
    Target {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A query's step is shorter than a millisecond, or its range is no range.
    #[error("the query makes no sense: {0}")]
    BadQuery(&'static str),
    /// The name belongs to something else already.
    #[error("the name {0:?} is taken")]
    NameTaken(String),
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(&'static str),
    /// The enrolment code is unknown, used or expired.
    #[error("the enrolment code is unknown, used or expired")]
    BadCode,
}
