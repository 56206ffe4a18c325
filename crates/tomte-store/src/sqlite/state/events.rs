//! What happened, and who did what.

use rusqlite::{Row, ToSql, Transaction, params};
use tomte_model::event::EventKind;
use tomte_model::{Event, EventId, HostId, Severity, Timestamp};

use super::{json, time};
use crate::sqlite::Fault;
use crate::state::{AuditEntry, EventQuery, NewEvent, Page, StoredAuditEntry, StoredEvent};

/// How many events one step of pruning deletes.
const PRUNE_STEP: usize = 2_000;

const SEVERITIES: [Severity; 4] = [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical];

/// Severities are kept as numbers, so that they can be compared.
fn rank(severity: Severity) -> i64 {
    match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Error => 2,
        Severity::Critical => 3,
    }
}

pub(super) fn add(tx: &Transaction<'_>, events: &[NewEvent]) -> Result<Vec<Option<u64>>, Fault> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO event (id, host, received_at, at, source, kind, severity, subject, correlation_id, message, details)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    // Asked first: a refused insert would use a receipt number up.
    let mut known = tx.prepare_cached("SELECT 1 FROM event WHERE id = ?1")?;
    let mut receipts = Vec::with_capacity(events.len());
    for NewEvent { host, received_at, event } in events {
        if known.exists([event.id.to_bytes()])? {
            receipts.push(None);
            continue;
        }
        insert.execute(params![
            event.id.to_bytes(),
            host.map(HostId::to_bytes),
            received_at.millis(),
            event.at.millis(),
            event.source,
            event.kind.as_str(),
            rank(event.severity),
            event.subject,
            event.correlation_id.map(EventId::to_bytes),
            event.message,
            serde_json::to_string(&event.details)?,
        ])?;
        receipts.push(Some(tx.last_insert_rowid().cast_unsigned()));
    }
    Ok(receipts)
}

/// Conditions and their arguments, gathered for one statement.
#[derive(Default)]
struct Conditions<'a> {
    sql: Vec<String>,
    arguments: Vec<Box<dyn ToSql + 'a>>,
}

impl<'a> Conditions<'a> {
    fn add(&mut self, left: &str, argument: impl ToSql + 'a) {
        self.sql.push(format!("{left} ?"));
        self.arguments.push(Box::new(argument));
    }
    fn add_any<T: ToSql + 'a>(&mut self, column: &str, values: impl ExactSizeIterator<Item = T>) {
        if values.len() > 0 {
            let marks = vec!["?"; values.len()].join(", ");
            self.sql.push(format!("{column} IN ({marks})"));
            self.arguments.extend(values.map(|value| Box::new(value) as Box<dyn ToSql>));
        }
    }
    /// Adds the cursor, and returns the order that belongs to it.
    fn add_page(&mut self, number: &str, page: Page) -> String {
        match page {
            Page::NewestFirst(None) => format!("{number} DESC"),
            Page::NewestFirst(Some(below)) => {
                self.add(&format!("{number} <"), i64::try_from(below).unwrap_or(i64::MAX));
                format!("{number} DESC")
            }
            Page::OldestFirst(above) => {
                self.add(&format!("{number} >"), i64::try_from(above).unwrap_or(i64::MAX));
                number.to_owned()
            }
        }
    }
    fn list<T>(
        mut self,
        tx: &Transaction<'_>,
        table: &str,
        order: &str,
        limit: usize,
        each: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Fault> {
        let conditions = if self.sql.is_empty() { String::new() } else { format!("WHERE {}", self.sql.join(" AND ")) };
        self.arguments.push(Box::new(i64::try_from(limit).unwrap_or(i64::MAX)));
        let mut statement = tx.prepare(&format!("SELECT * FROM {table} {conditions} ORDER BY {order} LIMIT ?"))?;
        let arguments = rusqlite::params_from_iter(self.arguments.iter());
        Ok(statement.query_map(arguments, each)?.collect::<rusqlite::Result<_>>()?)
    }
}

pub(super) fn list(tx: &Transaction<'_>, query: &EventQuery) -> Result<Vec<StoredEvent>, Fault> {
    let mut conditions = Conditions::default();
    conditions.add_any("host", query.hosts.iter().map(|host| host.to_bytes()));
    conditions.add_any("kind", query.kinds.iter());
    if let Some(severity) = query.severity {
        conditions.add("severity >=", rank(severity));
    }
    if let Some(subject) = &query.subject {
        conditions.add("subject =", subject);
    }
    if let Some(from) = query.from {
        conditions.add("at >=", from.millis());
    }
    if let Some(to) = query.to {
        conditions.add("at <", to.millis());
    }
    let order = conditions.add_page("receipt", query.page);
    conditions.list(tx, "event", &order, query.limit, |row| {
        let severity = row.get::<_, i64>("severity")?;
        Ok(StoredEvent {
            receipt: row.get::<_, i64>("receipt")?.cast_unsigned(),
            host: row.get::<_, Option<[u8; 16]>>("host")?.map(HostId::from_bytes),
            received_at: time(row, "received_at")?,
            event: Event {
                id: row.get("id").map(EventId::from_bytes)?,
                at: time(row, "at")?,
                source: row.get::<_, String>("source")?.into(),
                kind: EventKind(row.get::<_, String>("kind")?.into()),
                severity: SEVERITIES
                    .into_iter()
                    .find(|s| rank(*s) == severity)
                    .ok_or(rusqlite::Error::IntegralValueOutOfRange(0, severity))?,
                subject: row.get("subject")?,
                correlation_id: row.get::<_, Option<[u8; 16]>>("correlation_id")?.map(EventId::from_bytes),
                message: row.get("message")?,
                details: json(row, "details")?,
            },
        })
    })
}

/// Deletes some of the events before a moment; returns whether there are more.
pub(super) fn prune(tx: &Transaction<'_>, before: Timestamp) -> Result<bool, Fault> {
    let sql = format!(
        "DELETE FROM event WHERE receipt IN (SELECT receipt FROM event WHERE at < ?1 ORDER BY at LIMIT {PRUNE_STEP})"
    );
    Ok(tx.execute(&sql, [before.millis()])? == PRUNE_STEP)
}

pub(super) fn audit(tx: &Transaction<'_>, entry: &AuditEntry) -> Result<u64, Fault> {
    tx.execute(
        "INSERT INTO audit (at, actor, address, action, target, outcome, details) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            entry.at.millis(),
            entry.actor,
            entry.address,
            entry.action,
            entry.target,
            entry.outcome,
            serde_json::to_string(&entry.details)?,
        ],
    )?;
    Ok(tx.last_insert_rowid().cast_unsigned())
}

pub(super) fn audit_log(tx: &Transaction<'_>, page: Page, limit: usize) -> Result<Vec<StoredAuditEntry>, Fault> {
    let mut conditions = Conditions::default();
    let order = conditions.add_page("number", page);
    conditions.list(tx, "audit", &order, limit, |row| {
        Ok(StoredAuditEntry {
            number: row.get::<_, i64>("number")?.cast_unsigned(),
            entry: AuditEntry {
                at: time(row, "at")?,
                actor: row.get("actor")?,
                address: row.get("address")?,
                action: row.get("action")?,
                target: row.get("target")?,
                outcome: row.get("outcome")?,
                details: json(row, "details")?,
            },
        })
    })
}
