//! Changes of state: what came, went, was judged or described otherwise.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use tomte_api::Page;
use tomte_api::change::Change;
use tomte_api::time::time;
use tomte_model::{HostId, Name, Timestamp};
use tomte_store::changes::{Change as Stored, ChangeKind, ChangePlace, ChangeQuery};

use super::App;
use super::extract::Params;
use super::problem::Failure;
use crate::access::Viewer;

/// What changed between two moments: what came and went, was judged or
/// described otherwise, could not be read. Oldest first unless told otherwise.
#[utoipa::path(get, path = "/api/v1/changes", operation_id = "changes", tag = "history",
    params(
        ("host" = Option<Vec<String>>, Query, description = "Of these hosts: name, alias or id"),
        ("kind" = Option<Vec<String>>, Query, description = "Of resources of these kinds"),
        ("what" = Option<Vec<String>>, Query, description = "Of these sorts: appeared, gone, status, reason, attribute, unreadable, readable, presence, host"),
        ("from" = Option<String>, Query, description = "Since: RFC 3339, milliseconds since 1970, or -24h; a day back when absent"),
        ("to" = Option<String>, Query, description = "Until, likewise; now when absent"),
        ("order" = Option<String>, Query, description = "oldest or newest first; oldest when absent"),
        ("limit" = Option<u32>, Query, description = "How many at most; 1,000 when absent"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses((status = 200, body = Page<Change>)))]
pub(crate) async fn list(_: Viewer, params: Params, State(app): State<App>) -> Result<Json<Page<Change>>, Failure> {
    params.only(&["host", "kind", "what", "from", "to", "order", "limit", "cursor"])?;
    let now = app.hub.now();
    let moment = |name: &str, usual: Timestamp| match params.one(name)? {
        Some(text) => time(text, now).map_err(|why| Failure::parameter(name, why)),
        None => Ok(usual),
    };
    // Now is part of it.
    let to = moment("to", now.plus(Duration::from_millis(1)))?;
    let from = moment("from", to.minus(Duration::from_secs(24 * 3600)))?;
    if from >= to {
        return Err(Failure::parameter("from", "the range ends before it begins"));
    }
    let newest_first = match params.one("order")? {
        None | Some("oldest") => false,
        Some("newest") => true,
        Some(_) => return Err(Failure::parameter("order", "oldest or newest")),
    };
    let mut hosts = Vec::new();
    for name in params.all("host") {
        hosts.push(app.hub.find_host(name).ok_or_else(|| Failure::no_such_host(name))?);
    }
    let query = ChangeQuery {
        hosts,
        kinds: params.all("kind").map(str::to_owned).collect(),
        what: params.all("what").map(sort).collect::<Result<_, _>>()?,
        from,
        to,
        newest_first,
        after: params.one("cursor")?.map(place).transpose()?,
        limit: params.limit()?,
    };
    let found = app.hub.read(move |store| store.history.changes(&query)).await?;
    let names: HashMap<HostId, String> =
        app.hub.host_names().into_iter().map(|(id, name)| (id, name.to_string())).collect();
    let items = found.changes.into_iter().map(|stored| change(stored, &names)).collect();
    Ok(Json(Page::new(items, found.next.map(cursor))))
}

fn change(stored: Stored, names: &HashMap<HostId, String>) -> Change {
    let (kind, name) = match stored.resource {
        Some(key) => (Some(key.kind.into_owned()), Some(key.name)),
        None => (None, None),
    };
    Change {
        at: stored.at,
        host: names.get(&stored.host).cloned().unwrap_or_else(|| stored.host.to_string()),
        host_id: stored.host,
        kind,
        name,
        what: stored.what.as_str().to_owned(),
        field: stored.name.map(Name::into_owned),
        from: stored.from,
        to: stored.to,
        reason: stored.reason,
    }
}

fn sort(text: &str) -> Result<ChangeKind, Failure> {
    ChangeKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let all: Vec<&str> = ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect();
        Failure::parameter("what", all.join(", "))
    })
}

fn cursor(place: ChangePlace) -> String {
    format!("{}.{}.{}", place.at.millis(), place.scope, place.index)
}

fn place(text: &str) -> Result<ChangePlace, Failure> {
    let parts = || {
        let mut parts = text.splitn(3, '.');
        let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
        Some(ChangePlace { at, scope: parts.next()?.parse().ok()?, index: parts.next()?.parse().ok()? })
    };
    parts().ok_or_else(|| Failure::parameter("cursor", "it is not what a page before gave as next"))
}
