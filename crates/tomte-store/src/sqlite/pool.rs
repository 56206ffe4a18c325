//! Connections that read, made when needed and kept for the next reader.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::Fault;
use crate::StoreError;

/// A bounded set of read-only connections to one file.
#[derive(Debug)]
pub(super) struct Pool {
    path: PathBuf,
    database: &'static str,
    state: Mutex<Idle>,
    returned: Condvar,
}

#[derive(Debug)]
struct Idle {
    connections: Vec<Connection>,
    /// How many more may be made.
    unmade: usize,
}

impl Pool {
    pub(super) fn new(path: PathBuf, database: &'static str, size: usize) -> Self {
        let state = Mutex::new(Idle { connections: Vec::new(), unmade: size.max(1) });
        Self { path, database, state, returned: Condvar::new() }
    }

    /// Runs `work` in a read transaction: all it reads is of one moment. Waits
    /// while every connection is in use.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>) -> Result<T, StoreError> {
        let mut connection = self.take().map_err(|error| Fault::from(error).of(self.database))?;
        let result = (|| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            work(&transaction)
        })();
        self.give_back(connection);
        result.map_err(|fault: Fault| fault.of(self.database))
    }

    /// Closes the connections that nobody uses.
    pub(super) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).connections.clear();
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let mut idle = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(connection) = idle.connections.pop() {
                return Ok(connection);
            }
            if idle.unmade > 0 {
                idle.unmade -= 1;
                drop(idle);
                return self.connect().inspect_err(|_| {
                    self.state.lock().unwrap_or_else(PoisonError::into_inner).unmade += 1;
                    self.returned.notify_one();
                });
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, connection: Connection) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).connections.push(connection);
        self.returned.notify_one();
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(super::file::BUSY_TIMEOUT)?;
        // In kibibytes: what a long query walks over is not worth keeping.
        connection.pragma_update(None, "cache_size", -1024)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }
}
