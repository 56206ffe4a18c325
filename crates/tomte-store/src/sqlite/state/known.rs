//! What is known: described kinds, the latest state of hosts, small values.

use rusqlite::{Transaction, params};
use tomte_model::KindDef;

use super::{host_id, time};
use crate::sqlite::Fault;
use crate::state::Snapshot;

pub(super) fn kinds(tx: &Transaction<'_>) -> Result<Vec<KindDef>, Fault> {
    let mut statement = tx.prepare("SELECT name, definition FROM kind ORDER BY name")?;
    let mut rows = statement.query([])?;
    let mut kinds = Vec::new();
    while let Some(row) = rows.next()? {
        match serde_json::from_str(row.get_ref("definition")?.as_str().map_err(rusqlite::Error::from)?) {
            Ok(kind) => kinds.push(kind),
            // Its agent describes it again with the next connection.
            Err(error) => tracing::warn!(%error, kind = row.get::<_, String>("name")?, "a kept kind cannot be read"),
        }
    }
    Ok(kinds)
}

pub(super) fn put_kind(tx: &Transaction<'_>, kind: &KindDef) -> Result<(), Fault> {
    let definition = serde_json::to_string(kind)?;
    tx.execute("INSERT OR REPLACE INTO kind VALUES (?1, ?2)", (&kind.name, definition))?;
    Ok(())
}

pub(super) fn save_snapshots(tx: &Transaction<'_>, snapshots: &[Snapshot]) -> Result<(), Fault> {
    // A host may have been removed since its snapshot was taken.
    let mut insert = tx.prepare_cached(
        "INSERT OR REPLACE INTO snapshot SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM host WHERE id = ?1)",
    )?;
    for snapshot in snapshots {
        let latest = serde_json::to_string(&snapshot.latest)?;
        insert.execute(params![snapshot.host.to_bytes(), snapshot.row.cast_signed(), snapshot.at.millis(), latest])?;
    }
    Ok(())
}

pub(super) fn snapshots(tx: &Transaction<'_>) -> Result<Vec<Snapshot>, Fault> {
    let mut statement = tx.prepare("SELECT * FROM snapshot")?;
    let mut rows = statement.query([])?;
    let mut snapshots = Vec::new();
    while let Some(row) = rows.next()? {
        let host = host_id(row, "host")?;
        match serde_json::from_str(row.get_ref("latest")?.as_str().map_err(rusqlite::Error::from)?) {
            Ok(latest) => snapshots.push(Snapshot {
                host,
                row: row.get::<_, i64>("row")?.cast_unsigned(),
                at: time(row, "at")?,
                latest,
            }),
            Err(error) => tracing::warn!(%error, %host, "a kept snapshot cannot be read"),
        }
    }
    Ok(snapshots)
}

pub(super) fn put_value(tx: &Transaction<'_>, key: &str, value: Option<&[u8]>) -> Result<(), Fault> {
    match value {
        Some(value) => tx.execute("INSERT OR REPLACE INTO value VALUES (?1, ?2)", (key, value))?,
        None => tx.execute("DELETE FROM value WHERE key = ?1", [key])?,
    };
    Ok(())
}
