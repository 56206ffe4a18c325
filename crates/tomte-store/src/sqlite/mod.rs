//! The engine: SQLite, one file per trait.
//!
//! Write-ahead log, `synchronous = FULL` (what was committed survives a power
//! cut), pages of 8192 bytes, incremental auto-vacuum. Every file carries its
//! application id and schema version; [`file`] looks at those before SQLite
//! opens a file for writing. Each database has one connection that writes and
//! a [`pool`] of connections that read.

mod file;
mod history;
mod log;
mod pool;
mod state;

use std::sync::Arc;

use rusqlite::ErrorCode;

pub(crate) use file::Folder;
pub(crate) use history::SqliteHistory;
pub(crate) use state::SqliteState;

use crate::StoreError;

/// A failure inside a transaction: the engine's, or ours.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite said no.
    Sql(rusqlite::Error),
    /// We said no.
    Store(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        // Our own columns, so this reads like any other damage of the file.
        Self::Sql(rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
    }
}

impl Fault {
    /// The failure as callers see it.
    pub(crate) fn of(self, database: &'static str) -> StoreError {
        let error = match self {
            Self::Store(error) => return error,
            Self::Sql(error) => error,
        };
        let code = error.sqlite_error_code();
        let conversion = matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        );
        let source = Arc::new(error);
        match code {
            Some(ErrorCode::DiskFull) => StoreError::Full { database },
            Some(ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
                StoreError::Io { database, source }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged { database, source },
            _ if conversion => StoreError::Damaged { database, source },
            _ => StoreError::Engine { database, source },
        }
    }
}
