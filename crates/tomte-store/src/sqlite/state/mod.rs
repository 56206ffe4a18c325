//! `state.db`: the records, by area. Writes are rare, so each is a transaction
//! of its own on one connection behind a lock.

mod access;
mod actions;
mod events;
mod hosts;
mod known;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use tomte_model::{Action, ActionId, HostId, KindDef, Timestamp};

use super::file::{Folder, Kind};
use super::pool::Pool;
use super::{Fault, file};
use crate::history::Progress;
use crate::state::{
    Account, ActionQuery, ApiToken, AuditEntry, EnrolmentCode, EventQuery, Grant, HostRecord, HostToken, NewEvent,
    Page, SecretHash, Session, Snapshot, StateStore, StoredAuditEntry, StoredEvent,
};
use crate::{OpenError, StoreError};

pub(super) const KIND: Kind = Kind {
    file: "state.db",
    // "TomS" in ASCII.
    application_id: 0x546F_6D53,
    migrations: &[include_str!("schema.sql"), include_str!("schema-2.sql")],
    check_whole: true,
};

const DATABASE: &str = KIND.file;

/// So many free pages are given back while a write waits.
const PAGES_AT_ONCE: u64 = 64;

/// The records, in `state.db`.
#[derive(Debug)]
pub(crate) struct SqliteState {
    /// Before the writer: the last connection that closes tidies up the log,
    /// and must be able to write.
    readers: Pool,
    writer: Mutex<Connection>,
    path: PathBuf,
    /// Kept locked while the database is open.
    _folder: Arc<Folder>,
}

impl SqliteState {
    pub(crate) fn open(folder: &Arc<Folder>, readers: usize) -> Result<Self, OpenError> {
        let (path, writer) = folder.connect(&KIND)?;
        file::trust(&writer, true)
            .map_err(|error| OpenError::Engine { path: path.clone(), source: Arc::new(error) })?;
        Ok(Self {
            readers: Pool::new(path.clone(), DATABASE, readers),
            writer: Mutex::new(writer),
            path,
            _folder: Arc::clone(folder),
        })
    }

    /// One transaction that writes: all of `work`, durable, or nothing.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>) -> Result<T, StoreError> {
        // A panic in another call left no transaction behind.
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let run = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        run().map_err(|fault: Fault| fault.of(DATABASE))
    }

    fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.readers.read(work)
    }
}

impl StateStore for SqliteState {
    fn hosts(&self) -> Result<Vec<HostRecord>, StoreError> {
        self.read(hosts::all)
    }
    fn put_host(&self, host: &HostRecord) -> Result<(), StoreError> {
        self.write(|tx| hosts::put(tx, host))
    }
    fn touch_hosts(&self, seen: &[(HostId, Timestamp)]) -> Result<(), StoreError> {
        self.write(|tx| hosts::touch(tx, seen))
    }
    fn remove_host(&self, host: HostId) -> Result<bool, StoreError> {
        self.write(|tx| hosts::remove(tx, host))
    }
    fn add_host_token(&self, token: &HostToken) -> Result<(), StoreError> {
        self.write(|tx| access::add_host_token(tx, token))
    }
    fn host_tokens(&self) -> Result<Vec<HostToken>, StoreError> {
        self.read(access::host_tokens)
    }
    fn use_host_token(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<HostToken>, StoreError> {
        self.write(|tx| access::use_host_token(tx, hash, now))
    }
    fn revoke_host_tokens(&self, host: HostId, now: Timestamp) -> Result<usize, StoreError> {
        self.write(|tx| access::revoke_host_tokens(tx, host, now))
    }
    fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        self.read(access::grants)
    }
    fn add_grant(&self, grant: Grant) -> Result<bool, StoreError> {
        self.write(|tx| access::add_grant(tx, grant))
    }
    fn remove_grant(&self, grant: Grant) -> Result<bool, StoreError> {
        self.write(|tx| access::remove_grant(tx, grant))
    }
    fn add_code(&self, code: &EnrolmentCode) -> Result<(), StoreError> {
        self.write(|tx| access::add_code(tx, code))
    }
    fn code(&self, hash: &SecretHash) -> Result<Option<EnrolmentCode>, StoreError> {
        self.read(|tx| access::code(tx, hash))
    }
    fn enrol(&self, code: &SecretHash, now: Timestamp, host: &HostRecord, token: &HostToken) -> Result<(), StoreError> {
        self.write(|tx| {
            access::use_code(tx, code, now, host.id)?;
            hosts::put(tx, host)?;
            access::revoke_host_tokens(tx, host.id, now)?;
            access::add_host_token(tx, token)
        })
    }
    fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.read(access::accounts)
    }
    fn account(&self, name: &str) -> Result<Option<Account>, StoreError> {
        self.read(|tx| access::account(tx, name))
    }
    fn add_account(&self, account: &Account) -> Result<(), StoreError> {
        self.write(|tx| access::add_account(tx, account))
    }
    fn update_account(&self, account: &Account) -> Result<bool, StoreError> {
        self.write(|tx| access::update_account(tx, account))
    }
    fn remove_account(&self, name: &str) -> Result<bool, StoreError> {
        self.write(|tx| Ok(tx.execute("DELETE FROM account WHERE name = ?1", [name])? > 0))
    }
    fn add_session(&self, session: &Session) -> Result<(), StoreError> {
        self.write(|tx| access::add_session(tx, session))
    }
    fn session(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<Session>, StoreError> {
        self.read(|tx| access::session(tx, hash, now))
    }
    fn touch_session(&self, hash: &SecretHash, now: Timestamp, expires_at: Timestamp) -> Result<(), StoreError> {
        self.write(|tx| access::touch_session(tx, hash, now, expires_at))
    }
    fn remove_session(&self, hash: &SecretHash) -> Result<bool, StoreError> {
        self.write(|tx| Ok(tx.execute("DELETE FROM session WHERE hash = ?1", [hash])? > 0))
    }
    fn remove_sessions(&self, account: &str, keep: Option<&SecretHash>) -> Result<usize, StoreError> {
        self.write(|tx| Ok(tx.execute("DELETE FROM session WHERE account = ?1 AND hash IS NOT ?2", (account, keep))?))
    }
    fn api_tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        self.read(access::api_tokens)
    }
    fn api_token(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<ApiToken>, StoreError> {
        self.read(|tx| access::api_token(tx, hash, now))
    }
    fn add_api_token(&self, token: &ApiToken) -> Result<(), StoreError> {
        self.write(|tx| access::add_api_token(tx, token))
    }
    fn touch_api_token(&self, hash: &SecretHash, now: Timestamp) -> Result<(), StoreError> {
        self.write(|tx| {
            tx.execute("UPDATE api_token SET last_used_at = ?2 WHERE hash = ?1", (hash, now.millis()))?;
            Ok(())
        })
    }
    fn remove_api_token(&self, name: &str) -> Result<bool, StoreError> {
        self.write(|tx| Ok(tx.execute("DELETE FROM api_token WHERE name = ?1", [name])? > 0))
    }
    fn add_events(&self, events: &[NewEvent]) -> Result<Vec<Option<u64>>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        self.write(|tx| events::add(tx, events))
    }
    fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(|tx| events::list(tx, query))
    }
    fn last_receipt(&self) -> Result<u64, StoreError> {
        self.read(|tx| {
            let newest = tx
                .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'event'", [], |row| row.get::<_, i64>(0))
                .optional()?;
            Ok(newest.unwrap_or(0).cast_unsigned())
        })
    }
    fn put_action(&self, action: &Action) -> Result<bool, StoreError> {
        self.write(|tx| actions::put(tx, action))
    }
    fn action(&self, id: ActionId) -> Result<Option<Action>, StoreError> {
        self.read(|tx| actions::one(tx, id))
    }
    fn actions(&self, query: &ActionQuery) -> Result<Vec<Action>, StoreError> {
        self.read(|tx| actions::list(tx, query))
    }
    fn audit(&self, entry: &AuditEntry) -> Result<u64, StoreError> {
        self.write(|tx| events::audit(tx, entry))
    }
    fn audit_log(&self, page: Page, limit: usize) -> Result<Vec<StoredAuditEntry>, StoreError> {
        self.read(|tx| events::audit_log(tx, page, limit))
    }
    fn kinds(&self) -> Result<Vec<KindDef>, StoreError> {
        self.read(known::kinds)
    }
    fn put_kind(&self, kind: &KindDef) -> Result<(), StoreError> {
        self.write(|tx| known::put_kind(tx, kind))
    }
    fn save_snapshots(&self, snapshots: &[Snapshot]) -> Result<(), StoreError> {
        if snapshots.is_empty() {
            return Ok(());
        }
        self.write(|tx| known::save_snapshots(tx, snapshots))
    }
    fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        self.read(known::snapshots)
    }
    fn value(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|tx| {
            Ok(tx.query_row("SELECT value FROM value WHERE key = ?1", [key], |row| row.get(0)).optional()?)
        })
    }
    fn put_value(&self, key: &str, value: Option<&[u8]>) -> Result<(), StoreError> {
        self.write(|tx| known::put_value(tx, key, value))
    }
    fn maintain(&self, now: Timestamp, events_before: Timestamp) -> Result<(), StoreError> {
        // Events go in steps, so that a write never waits long for them.
        while self.write(|tx| events::prune(tx, events_before))? {}
        self.write(|tx| access::prune(tx, now))?;
        self.write(|tx| actions::prune(tx, events_before))?;
        // So does what they leave.
        loop {
            let connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let given = file::give_space_back(&connection, PAGES_AT_ONCE, false);
            if given.map_err(|error| Fault::from(error).of(DATABASE))? == 0 {
                return Ok(());
            }
        }
    }

    fn backup(&self, target: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
        file::back_up(&self.path, target, progress).map_err(|fault| fault.of(DATABASE))
    }
}

/// A time as it is kept.
fn at(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::millis)
}

/// A kept time.
fn time(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

/// A kept time that may be missing.
fn time_if_any(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

/// A kept text that must parse, or the file is damaged.
fn parsed<T: std::str::FromStr>(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error: T::Err| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// A kept list or map.
fn json<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
}

/// A kept host id.
fn host_id(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<HostId> {
    row.get(column).map(HostId::from_bytes)
}

/// Whether a write was refused because its key is there already.
fn is_taken(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error(),
        Some(e) if matches!(
            e.extended_code,
            rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY | rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
        )
    )
}

/// Whether a write was refused because what it belongs to is not there.
fn is_orphan(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error(),
        Some(e) if e.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY
    )
}
