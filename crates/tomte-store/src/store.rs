//! Both databases in one folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::history::Progress;
use crate::sqlite::{Folder, SqliteHistory, SqliteState};
use crate::{HistoryStore, OpenError, Options, StateStore, StoreError};

const STATE: &str = "state.db";
const HISTORY: &str = "history.db";

/// The hub's durable memory: one folder with both databases, locked against a
/// second hub until the last clone of it and of its parts is dropped.
#[derive(Clone)]
pub struct Store {
    /// The hub's own records.
    pub state: Arc<dyn StateStore>,
    /// The history of readings.
    pub history: Arc<dyn HistoryStore>,
    /// Where a damaged history was put when the store was opened, see
    /// [`Options::set_damaged_history_aside`].
    pub set_aside: Option<SetAside>,
}

/// A damaged history that was renamed; nothing of it was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Its new name.
    pub path: PathBuf,
    /// What was wrong with it.
    pub what: String,
}

impl Store {
    /// Opens the databases in a folder; makes the folder (0700) and the files
    /// (0600) when they are missing.
    ///
    /// # Errors
    /// When another hub uses the folder, or a file in it is foreign, damaged,
    /// newer than this version or not accessible. Such a file is left as it is,
    /// but for a damaged history when the options say so.
    pub fn open(folder: &Path, options: Options) -> Result<Self, OpenError> {
        let folder = Arc::new(Folder::open(folder)?);
        let state = SqliteState::open(&folder, options.readers)?;
        let mut set_aside = None;
        let history = match SqliteHistory::open(&folder, &options) {
            Err(OpenError::Damaged { path, what }) if options.set_damaged_history_aside => {
                let moved = folder.set_aside(&path, "damaged")?;
                tracing::error!(
                    moved_to = %moved.display(),
                    what,
                    "the history is damaged and was set aside; a new one is begun, accounts and records are not touched"
                );
                set_aside = Some(SetAside { path: moved, what });
                SqliteHistory::open(&folder, &options)?
            }
            other => other?,
        };
        Ok(Self { state: Arc::new(state), history: Arc::new(history), set_aside })
    }

    /// Copies both databases into a folder, each as it is at one moment, while
    /// they are in use; the records last, so that they cover every report that
    /// the history no longer holds whole. The folder is made (0700) if need be; it must hold
    /// neither file.
    ///
    /// # Errors
    /// When the folder or a file cannot be made, or a database not be read.
    pub fn backup(&self, folder: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
        Folder::make(folder).map_err(|source| StoreError::Target { path: folder.into(), source: Arc::new(source) })?;
        self.history.backup(&folder.join(HISTORY), progress)?;
        self.state.backup(&folder.join(STATE), progress)
    }

    /// Puts a backup in the place of a store that is not in use. Both of its
    /// databases are checked whole first; those that are there are renamed, not
    /// deleted. Returns their new names.
    ///
    /// # Errors
    /// When the backup is damaged, foreign or newer than this version, when a
    /// hub uses the folder, or a file cannot be read or written.
    pub fn restore(backup: &Path, folder: &Path) -> Result<Vec<PathBuf>, OpenError> {
        let folder = Folder::open(folder)?;
        folder.restore(backup)
    }
}
