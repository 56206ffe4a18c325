//! Hosts and their names.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use tomte_model::{HostId, HostName, Timestamp};

use super::{at, host_id, json, parsed, time, time_if_any};
use crate::StoreError;
use crate::sqlite::Fault;
use crate::state::HostRecord;

pub(super) fn all(tx: &Transaction<'_>) -> Result<Vec<HostRecord>, Fault> {
    let mut hosts = tx.prepare("SELECT * FROM host ORDER BY name")?;
    let mut aliases = tx.prepare("SELECT name FROM host_name WHERE host = ?1 AND place > 0 ORDER BY place")?;
    let mut records = Vec::new();
    let mut rows = hosts.query([])?;
    while let Some(row) = rows.next()? {
        let mut record = record(row)?;
        record.aliases = aliases
            .query_map([record.id.to_bytes()], |row| parsed::<HostName>(row, "name"))?
            .collect::<rusqlite::Result<_>>()?;
        records.push(record);
    }
    Ok(records)
}

fn record(row: &Row<'_>) -> rusqlite::Result<HostRecord> {
    Ok(HostRecord {
        id: host_id(row, "id")?,
        name: parsed(row, "name")?,
        aliases: Vec::new(),
        foreign_name: row.get("foreign_name")?,
        roles: json(row, "roles")?,
        external_ids: json(row, "external_ids")?,
        via: row.get::<_, Option<[u8; 16]>>("via")?.map(HostId::from_bytes),
        public_key: row.get("public_key")?,
        agent_version: row.get("agent_version")?,
        created_at: time(row, "created_at")?,
        first_seen_at: time_if_any(row, "first_seen_at")?,
        last_seen_at: time_if_any(row, "last_seen_at")?,
        announced_presence: row.get("announced_presence")?,
        settings: json(row, "settings")?,
        settings_revision: row.get::<_, i64>("settings_revision")?.cast_unsigned(),
    })
}

pub(super) fn put(tx: &Transaction<'_>, host: &HostRecord) -> Result<(), Fault> {
    let id = host.id.to_bytes();
    let mut holder = tx.prepare_cached("SELECT 1 FROM host_name WHERE name = ?1 AND host <> ?2")?;
    for name in std::iter::once(&host.name).chain(&host.aliases) {
        if holder.exists((name.as_str(), id))? {
            return Err(StoreError::NameTaken(name.to_string()).into());
        }
    }
    tx.prepare_cached(
        "INSERT INTO host VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, foreign_name = excluded.foreign_name,
             roles = excluded.roles, external_ids = excluded.external_ids, via = excluded.via,
             public_key = excluded.public_key, agent_version = excluded.agent_version,
             created_at = excluded.created_at, first_seen_at = excluded.first_seen_at,
             last_seen_at = excluded.last_seen_at, announced_presence = excluded.announced_presence,
             settings = excluded.settings, settings_revision = excluded.settings_revision",
    )?
    .execute(params![
        id,
        host.name.as_str(),
        host.foreign_name,
        serde_json::to_string(&host.roles)?,
        serde_json::to_string(&host.external_ids)?,
        host.via.map(HostId::to_bytes),
        host.public_key,
        host.agent_version,
        host.created_at.millis(),
        at(host.first_seen_at),
        at(host.last_seen_at),
        host.announced_presence,
        serde_json::to_string(&host.settings)?,
        host.settings_revision.cast_signed(),
    ])?;
    tx.prepare_cached("DELETE FROM host_name WHERE host = ?1")?.execute([id])?;
    // An alias that says the same as the name, or twice, is no mistake.
    let mut insert = tx.prepare_cached("INSERT OR IGNORE INTO host_name VALUES (?1, ?2, ?3)")?;
    for (place, name) in std::iter::once(&host.name).chain(&host.aliases).enumerate() {
        insert.execute((name.as_str(), id, i64::try_from(place).unwrap_or(i64::MAX)))?;
    }
    Ok(())
}

pub(super) fn touch(tx: &Transaction<'_>, seen: &[(HostId, Timestamp)]) -> Result<(), Fault> {
    let mut update = tx.prepare_cached(
        "UPDATE host SET last_seen_at = ?2, first_seen_at = coalesce(first_seen_at, ?2) WHERE id = ?1",
    )?;
    for (host, at) in seen {
        update.execute((host.to_bytes(), at.millis()))?;
    }
    Ok(())
}

pub(super) fn remove(tx: &Transaction<'_>, host: HostId) -> Result<bool, Fault> {
    let id = host.to_bytes();
    let there = tx.query_row("SELECT 1 FROM host WHERE id = ?1", [id], |_| Ok(())).optional()?.is_some();
    tx.execute("UPDATE host SET via = NULL WHERE via = ?1", [id])?;
    tx.execute("DELETE FROM event WHERE host = ?1", [id])?;
    // Names, tokens, grants and the snapshot go with it.
    tx.execute("DELETE FROM host WHERE id = ?1", [id])?;
    Ok(there)
}
