//! The audit: who changed what, and who tried to.

use axum::Json;
use axum::extract::State;
use tomte_api::Page;
use tomte_api::account::AuditEntry;
use tomte_store::state::{Page as StorePage, StoredAuditEntry};

use super::App;
use super::extract::Params;
use super::problem::Failure;
use crate::access::Admin;

/// The audit, newest first.
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "audit", tag = "accounts",
    params(
        ("limit" = Option<u32>, Query, description = "How many at most; 1,000 when absent"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses((status = 200, body = Page<AuditEntry>)))]
pub(crate) async fn list(_: Admin, params: Params, State(app): State<App>) -> Result<Json<Page<AuditEntry>>, Failure> {
    params.only(&["limit", "cursor"])?;
    let (limit, below) = (params.limit()?, params.read::<u64>("cursor")?);
    let mut lines = app.hub.read(move |store| store.state.audit_log(StorePage::NewestFirst(below), limit + 1)).await?;
    let more = lines.len() > limit;
    lines.truncate(limit);
    let next = lines.last().filter(|_| more).map(|line| line.number.to_string());
    Ok(Json(Page::new(lines.into_iter().map(line).collect(), next)))
}

fn line(StoredAuditEntry { number, entry }: StoredAuditEntry) -> AuditEntry {
    AuditEntry {
        number,
        at: entry.at,
        actor: entry.actor,
        address: entry.address,
        action: entry.action,
        target: entry.target,
        outcome: entry.outcome,
        details: entry.details,
    }
}
