//! Changes of state in `history.db`: see [`crate::changes`] for what they are.
//!
//! A host is made of *scopes*: what one collector reads as a whole, and the
//! host itself. Each scope has rows over time; a row says how the scope was
//! from then on, whole or as the difference to the row before. After a day of
//! changes a row is whole again, so any moment is a few rows away, and old rows
//! can go up to a whole one. A scope that never changes has one row for ever.
//!
//! [`recorder`] writes, [`read`] answers, [`state`] is what a row holds.

mod read;
mod recorder;
mod state;

use rusqlite::{Connection, Transaction};
use tomte_model::HostId;

pub(super) use read::{list, state_at};
pub(super) use recorder::Recorder;

use self::state::ScopeState;
use crate::sqlite::Fault;

/// The tables, as a step of the schema.
pub(super) const SCHEMA: &str = include_str!("schema.sql");

/// The scope that is the host itself.
const HOST_COLLECTOR: &str = "";
const HOST_SCOPE: &str = "host";

/// A scope as it was at a moment.
#[derive(Debug, Default)]
struct Rebuilt {
    state: ScopeState,
    /// The time of the row that made it so.
    row_at: Option<i64>,
    /// The time of the whole row under it.
    whole_at: Option<i64>,
}

/// How a scope was at a moment, from the last whole row on. A row that makes
/// no sense is passed over: the next whole one mends it.
fn rebuild(tx: &Connection, number: i64, at: i64) -> Result<Rebuilt, Fault> {
    let mut statement =
        tx.prepare_cached("SELECT at, whole, body FROM change WHERE scope = ?1 AND at <= ?2 ORDER BY at DESC")?;
    let mut rows = statement.query((number, at))?;
    let mut found: Vec<(i64, bool, Vec<u8>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let whole = row.get(1)?;
        found.push((row.get(0)?, whole, row.get(2)?));
        if whole {
            break;
        }
    }
    let mut rebuilt = Rebuilt { row_at: found.first().map(|row| row.0), ..Rebuilt::default() };
    for (at, whole, body) in found.iter().rev() {
        if *whole {
            rebuilt.whole_at = Some(*at);
        }
        if rebuilt.state.apply(*whole, body).is_none() {
            tracing::warn!(scope = number, at, "a change of state makes no sense and is passed over");
        }
    }
    Ok(rebuilt)
}

/// The scopes there are, for [`prune`].
pub(super) fn scopes(connection: &Connection) -> Result<Vec<i64>, Fault> {
    let mut statement = connection.prepare_cached("SELECT number FROM change_scope")?;
    let numbers = statement.query_map([], |row| row.get(0))?;
    Ok(numbers.collect::<rusqlite::Result<_>>()?)
}

/// Deletes rows that only tell of times before a moment, scope by scope; those
/// that are finished are taken from the list. Stops after about `limit` rows.
pub(super) fn prune(tx: &Transaction<'_>, scopes: &mut Vec<i64>, before: i64, limit: usize) -> Result<usize, Fault> {
    let mut delete = tx.prepare_cached(
        "DELETE FROM change WHERE scope = ?1 AND at <
         (SELECT max(at) FROM change WHERE scope = ?1 AND whole AND at <= ?2)",
    )?;
    let (mut pruned, mut looked) = (0, 0);
    while let Some(scope) = scopes.pop() {
        pruned += delete.execute((scope, before))?;
        looked += 1;
        if pruned >= limit || looked >= limit {
            break;
        }
    }
    Ok(pruned)
}

/// Deletes all rows of a host.
pub(super) fn remove_host(tx: &Transaction<'_>, host: HostId) -> Result<(), Fault> {
    let id = host.to_bytes();
    tx.execute("DELETE FROM change WHERE scope IN (SELECT number FROM change_scope WHERE host = ?1)", [id])?;
    tx.execute("DELETE FROM change_scope WHERE host = ?1", [id])?;
    Ok(())
}
