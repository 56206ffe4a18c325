//! Actions, as the agents of their hosts tell them.

use rusqlite::{OptionalExtension, ToSql, Transaction, params};
use tomte_model::{Action, ActionId, Timestamp};

use crate::sqlite::Fault;
use crate::state::ActionQuery;

/// Keeps an Action; `false`: it was known as well or better.
pub(super) fn put(tx: &Transaction<'_>, action: &Action) -> Result<bool, Fault> {
    let steps = i64::try_from(action.history.len()).unwrap_or(i64::MAX);
    let changed = tx.execute(
        "INSERT INTO action (id, host, state, created_at, updated_at, steps, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at, steps = excluded.steps,
             body = excluded.body
         WHERE action.host = excluded.host AND excluded.steps > action.steps",
        params![
            action.id.to_bytes(),
            action.host.to_bytes(),
            action.state.as_str(),
            action.created_at.millis(),
            action.updated_at().millis(),
            steps,
            serde_json::to_string(action)?,
        ],
    )?;
    Ok(changed > 0)
}

pub(super) fn one(tx: &Transaction<'_>, id: ActionId) -> Result<Option<Action>, Fault> {
    let body: Option<String> =
        tx.query_row("SELECT body FROM action WHERE id = ?1", [id.to_bytes()], |row| row.get(0)).optional()?;
    Ok(body.map(|body| serde_json::from_str(&body)).transpose()?)
}

/// Newest first.
pub(super) fn list(tx: &Transaction<'_>, query: &ActionQuery) -> Result<Vec<Action>, Fault> {
    let mut conditions: Vec<String> = Vec::new();
    let mut arguments: Vec<Box<dyn ToSql>> = Vec::new();
    let mut any = |column: &str, values: Vec<Box<dyn ToSql>>| {
        if !values.is_empty() {
            conditions.push(format!("{column} IN ({})", vec!["?"; values.len()].join(", ")));
            arguments.extend(values);
        }
    };
    any("host", query.hosts.iter().map(|host| Box::new(host.to_bytes()) as Box<dyn ToSql>).collect());
    any("state", query.states.iter().map(|state| Box::new(state.as_str()) as Box<dyn ToSql>).collect());
    if let Some((at, id)) = query.before {
        conditions.push("(created_at, id) < (?, ?)".to_owned());
        arguments.push(Box::new(at.millis()));
        arguments.push(Box::new(id.to_bytes()));
    }
    let conditions = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    arguments.push(Box::new(i64::try_from(query.limit).unwrap_or(i64::MAX)));
    let sql = format!("SELECT body FROM action {conditions} ORDER BY created_at DESC, id DESC LIMIT ?");
    let mut statement = tx.prepare(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(arguments.iter()))?;
    let mut actions = Vec::new();
    while let Some(row) = rows.next()? {
        actions.push(serde_json::from_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(actions)
}

/// Forgets what last changed before a moment.
pub(super) fn prune(tx: &Transaction<'_>, before: Timestamp) -> Result<(), Fault> {
    tx.execute("DELETE FROM action WHERE updated_at < ?1", [before.millis()])?;
    Ok(())
}
