//! Both databases in one folder.

use std::path::Path;
use std::sync::Arc;

use crate::sqlite::{Folder, SqliteHistory, SqliteState};
use crate::{HistoryStore, OpenError, Options, StateStore};

/// The hub's durable memory: one folder with both databases, locked against a
/// second hub until the last clone of it and of its parts is dropped.
#[derive(Clone)]
pub struct Store {
    /// The hub's own records.
    pub state: Arc<dyn StateStore>,
    /// The history of readings.
    pub history: Arc<dyn HistoryStore>,
}

impl Store {
    /// Opens the databases in a folder; makes the folder (0700) and the files
    /// (0600) when they are missing.
    ///
    /// # Errors
    /// When another hub uses the folder, or a file in it is foreign, damaged,
    /// newer than this version or not accessible. Such a file is left as it is.
    pub fn open(folder: &Path, options: Options) -> Result<Self, OpenError> {
        let folder = Arc::new(Folder::open(folder)?);
        let state = SqliteState::open(&folder, options.readers)?;
        let history = SqliteHistory::open(&folder, &options)?;
        Ok(Self { state: Arc::new(state), history: Arc::new(history) })
    }
}
