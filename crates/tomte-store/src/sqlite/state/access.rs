//! Who may do what: host tokens, grants, enrolment codes, accounts, sessions,
//! API tokens. Secrets are here as hashes only.

use std::time::Duration;

use rusqlite::{OptionalExtension, Row, Transaction, params};
use tomte_model::{HostId, Timestamp};

use super::{at, host_id, is_orphan, is_taken, json, parsed, time, time_if_any};
use crate::StoreError;
use crate::sqlite::Fault;
use crate::state::{Account, ApiToken, EnrolmentCode, Grant, HostToken, SecretHash, Session};

/// How long what is void stays visible.
const KEEP_VOID: Duration = Duration::from_secs(24 * 3600);

pub(super) fn add_host_token(tx: &Transaction<'_>, token: &HostToken) -> Result<(), Fault> {
    tx.execute(
        "INSERT INTO host_token VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            token.hash,
            token.host.to_bytes(),
            token.prefix,
            token.created_at.millis(),
            at(token.first_used_at),
            at(token.revoked_at)
        ],
    )
    .map_err(|error| orphan(error, "such host"))?;
    Ok(())
}

fn host_token(row: &Row<'_>) -> rusqlite::Result<HostToken> {
    Ok(HostToken {
        hash: row.get("hash")?,
        host: host_id(row, "host")?,
        prefix: row.get("prefix")?,
        created_at: time(row, "created_at")?,
        first_used_at: time_if_any(row, "first_used_at")?,
        revoked_at: time_if_any(row, "revoked_at")?,
    })
}

pub(super) fn host_tokens(tx: &Transaction<'_>) -> Result<Vec<HostToken>, Fault> {
    let mut statement = tx.prepare("SELECT * FROM host_token ORDER BY host, created_at")?;
    Ok(statement.query_map([], host_token)?.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn use_host_token(
    tx: &Transaction<'_>,
    hash: &SecretHash,
    now: Timestamp,
) -> Result<Option<HostToken>, Fault> {
    let token = tx
        .query_row("SELECT * FROM host_token WHERE hash = ?1 AND revoked_at IS NULL", [hash], host_token)
        .optional()?;
    let Some(mut token) = token else { return Ok(None) };
    if token.first_used_at.is_none() {
        token.first_used_at = Some(now);
        tx.execute("UPDATE host_token SET first_used_at = ?2 WHERE hash = ?1", (hash, now.millis()))?;
        tx.execute(
            "UPDATE host_token SET revoked_at = ?3 WHERE host = ?1 AND created_at < ?2 AND revoked_at IS NULL",
            (token.host.to_bytes(), token.created_at.millis(), now.millis()),
        )?;
    }
    Ok(Some(token))
}

pub(super) fn revoke_host_tokens(tx: &Transaction<'_>, host: HostId, now: Timestamp) -> Result<usize, Fault> {
    let sql = "UPDATE host_token SET revoked_at = ?2 WHERE host = ?1 AND revoked_at IS NULL";
    Ok(tx.execute(sql, (host.to_bytes(), now.millis()))?)
}

pub(super) fn grants(tx: &Transaction<'_>) -> Result<Vec<Grant>, Fault> {
    let mut statement = tx.prepare("SELECT agent, via FROM via_grant ORDER BY agent, via")?;
    let grant = |row: &Row<'_>| Ok(Grant { agent: host_id(row, "agent")?, via: host_id(row, "via")? });
    Ok(statement.query_map([], grant)?.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn add_grant(tx: &Transaction<'_>, grant: Grant) -> Result<bool, Fault> {
    let added = tx
        .execute("INSERT OR IGNORE INTO via_grant VALUES (?1, ?2)", (grant.agent.to_bytes(), grant.via.to_bytes()))
        .map_err(|error| orphan(error, "such host"))?;
    Ok(added > 0)
}

pub(super) fn remove_grant(tx: &Transaction<'_>, grant: Grant) -> Result<bool, Fault> {
    let sql = "DELETE FROM via_grant WHERE agent = ?1 AND via = ?2";
    Ok(tx.execute(sql, (grant.agent.to_bytes(), grant.via.to_bytes()))? > 0)
}

pub(super) fn add_code(tx: &Transaction<'_>, code: &EnrolmentCode) -> Result<(), Fault> {
    tx.execute(
        "INSERT INTO enrolment_code VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            code.hash,
            code.name.as_str(),
            serde_json::to_string(&code.roles)?,
            code.created_by,
            code.created_at.millis(),
            code.expires_at.millis(),
            code.used.map(|(at, _)| at.millis()),
            code.used.map(|(_, host)| host.to_bytes()),
        ],
    )?;
    Ok(())
}

pub(super) fn code(tx: &Transaction<'_>, hash: &SecretHash) -> Result<Option<EnrolmentCode>, Fault> {
    let code = tx
        .query_row("SELECT * FROM enrolment_code WHERE hash = ?1", [hash], |row| {
            let used_at = time_if_any(row, "used_at")?;
            let used_by = row.get::<_, Option<[u8; 16]>>("used_by")?.map(HostId::from_bytes);
            Ok(EnrolmentCode {
                hash: row.get("hash")?,
                name: parsed(row, "name")?,
                roles: json(row, "roles")?,
                created_by: row.get("created_by")?,
                created_at: time(row, "created_at")?,
                expires_at: time(row, "expires_at")?,
                used: used_at.zip(used_by),
            })
        })
        .optional()?;
    Ok(code)
}

pub(super) fn use_code(tx: &Transaction<'_>, hash: &SecretHash, now: Timestamp, host: HostId) -> Result<(), Fault> {
    let used = tx.execute(
        "UPDATE enrolment_code SET used_at = ?2, used_by = ?3
         WHERE hash = ?1 AND used_at IS NULL AND expires_at > ?2",
        (hash, now.millis(), host.to_bytes()),
    )?;
    if used == 1 { Ok(()) } else { Err(StoreError::BadCode.into()) }
}

fn account_of(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        name: row.get("name")?,
        password_hash: row.get("password_hash")?,
        role: parsed(row, "role")?,
        created_at: time(row, "created_at")?,
        password_changed_at: time_if_any(row, "password_changed_at")?,
        last_login_at: time_if_any(row, "last_login_at")?,
        disabled: row.get("disabled")?,
    })
}

pub(super) fn accounts(tx: &Transaction<'_>) -> Result<Vec<Account>, Fault> {
    let mut statement = tx.prepare("SELECT * FROM account ORDER BY name")?;
    Ok(statement.query_map([], account_of)?.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn account(tx: &Transaction<'_>, name: &str) -> Result<Option<Account>, Fault> {
    Ok(tx.query_row("SELECT * FROM account WHERE name = ?1", [name], account_of).optional()?)
}

pub(super) fn add_account(tx: &Transaction<'_>, account: &Account) -> Result<(), Fault> {
    write_account(tx, "INSERT INTO account VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", account)
        .map(|_| ())
        .map_err(|error| taken(error, &account.name))
}

pub(super) fn update_account(tx: &Transaction<'_>, account: &Account) -> Result<bool, Fault> {
    let sql = "UPDATE account SET password_hash = ?2, role = ?3, created_at = ?4, password_changed_at = ?5,
                   last_login_at = ?6, disabled = ?7 WHERE name = ?1";
    Ok(write_account(tx, sql, account)? > 0)
}

fn write_account(tx: &Transaction<'_>, sql: &str, account: &Account) -> rusqlite::Result<usize> {
    tx.execute(
        sql,
        params![
            account.name,
            account.password_hash,
            account.role.as_str(),
            account.created_at.millis(),
            at(account.password_changed_at),
            at(account.last_login_at),
            account.disabled,
        ],
    )
}

pub(super) fn add_session(tx: &Transaction<'_>, session: &Session) -> Result<(), Fault> {
    tx.execute(
        "INSERT INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            session.hash,
            session.account,
            session.created_at.millis(),
            session.last_used_at.millis(),
            session.expires_at.millis(),
            session.address,
            session.user_agent,
        ],
    )
    .map_err(|error| orphan(error, "such account"))?;
    Ok(())
}

pub(super) fn session(tx: &Transaction<'_>, hash: &SecretHash, now: Timestamp) -> Result<Option<Session>, Fault> {
    let sql = "SELECT * FROM session WHERE hash = ?1 AND expires_at > ?2";
    let session = tx
        .query_row(sql, (hash, now.millis()), |row| {
            Ok(Session {
                hash: row.get("hash")?,
                account: row.get("account")?,
                created_at: time(row, "created_at")?,
                last_used_at: time(row, "last_used_at")?,
                expires_at: time(row, "expires_at")?,
                address: row.get("address")?,
                user_agent: row.get("user_agent")?,
            })
        })
        .optional()?;
    Ok(session)
}

pub(super) fn touch_session(
    tx: &Transaction<'_>,
    hash: &SecretHash,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), Fault> {
    let sql = "UPDATE session SET last_used_at = ?2, expires_at = ?3 WHERE hash = ?1";
    tx.execute(sql, (hash, now.millis(), expires_at.millis()))?;
    Ok(())
}

fn api_token_of(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    Ok(ApiToken {
        hash: row.get("hash")?,
        prefix: row.get("prefix")?,
        name: row.get("name")?,
        role: parsed(row, "role")?,
        created_by: row.get("created_by")?,
        created_at: time(row, "created_at")?,
        expires_at: time_if_any(row, "expires_at")?,
        last_used_at: time_if_any(row, "last_used_at")?,
    })
}

pub(super) fn api_tokens(tx: &Transaction<'_>) -> Result<Vec<ApiToken>, Fault> {
    let mut statement = tx.prepare("SELECT * FROM api_token ORDER BY name")?;
    Ok(statement.query_map([], api_token_of)?.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn api_token(tx: &Transaction<'_>, hash: &SecretHash, now: Timestamp) -> Result<Option<ApiToken>, Fault> {
    let sql = "SELECT * FROM api_token WHERE hash = ?1 AND (expires_at IS NULL OR expires_at > ?2)";
    Ok(tx.query_row(sql, (hash, now.millis()), api_token_of).optional()?)
}

pub(super) fn add_api_token(tx: &Transaction<'_>, token: &ApiToken) -> Result<(), Fault> {
    tx.execute(
        "INSERT INTO api_token VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            token.hash,
            token.prefix,
            token.name,
            token.role.as_str(),
            token.created_by,
            token.created_at.millis(),
            at(token.expires_at),
            at(token.last_used_at),
        ],
    )
    .map_err(|error| taken(error, &token.name))?;
    Ok(())
}

pub(super) fn prune(tx: &Transaction<'_>, now: Timestamp) -> Result<(), Fault> {
    let day_ago = now.minus(KEEP_VOID).millis();
    tx.execute("DELETE FROM session WHERE expires_at <= ?1", [now.millis()])?;
    tx.execute("DELETE FROM api_token WHERE expires_at <= ?1", [day_ago])?;
    tx.execute("DELETE FROM enrolment_code WHERE expires_at <= ?1", [day_ago])?;
    tx.execute("DELETE FROM host_token WHERE revoked_at <= ?1", [day_ago])?;
    Ok(())
}

fn taken(error: rusqlite::Error, name: &str) -> Fault {
    if is_taken(&error) { StoreError::NameTaken(name.to_owned()).into() } else { error.into() }
}

fn orphan(error: rusqlite::Error, missing: &'static str) -> Fault {
    if is_orphan(&error) { StoreError::NotFound(missing).into() } else { error.into() }
}
