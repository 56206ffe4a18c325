//! Events: what happened.

use axum::Json;
use axum::extract::State;
use tomte_api::Page;
use tomte_api::event::Event;
use tomte_api::time::time;
use tomte_model::Severity;
use tomte_store::state::{EventQuery, Page as StorePage, StoredEvent};

use super::App;
use super::extract::Params;
use super::problem::Failure;
use crate::access::Viewer;

/// The API's view of a stored event. A host that is gone has no name any more.
pub(crate) fn event(app: &App, stored: &StoredEvent) -> Event {
    let name = stored.host.and_then(|id| app.hub.with_latest(id, |name, _| name.to_string()));
    let mut event = Event::of(&stored.event, stored.receipt, stored.received_at, None);
    (event.host, event.host_id) = (name, stored.host);
    event
}

/// What happened: newest first, or with `after` oldest first from a receipt
/// number on, to follow along.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "events", tag = "events",
    params(
        ("host" = Option<Vec<String>>, Query, description = "Of these hosts: name, alias or id"),
        ("type" = Option<Vec<String>>, Query, description = "Of these types: status_changed, host_offline …"),
        ("severity" = Option<String>, Query, description = "At least this severe: info, warning, error, critical"),
        ("subject" = Option<String>, Query, description = "About this, usually kind:name"),
        ("from" = Option<String>, Query, description = "Since: RFC 3339, milliseconds since 1970, or -24h"),
        ("to" = Option<String>, Query, description = "Until, likewise"),
        ("after" = Option<u64>, Query, description = "Oldest first, those after this receipt number"),
        ("limit" = Option<u32>, Query, description = "How many at most; 1,000 when absent"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses((status = 200, body = Page<Event>)))]
pub(crate) async fn list(_: Viewer, params: Params, State(app): State<App>) -> Result<Json<Page<Event>>, Failure> {
    params.only(&["host", "type", "severity", "subject", "from", "to", "after", "limit", "cursor"])?;
    let now = app.hub.now();
    let moment = |name: &str| {
        params.one(name)?.map(|text| time(text, now).map_err(|why| Failure::parameter(name, why))).transpose()
    };
    let limit = params.limit()?;
    let page = page(&params)?;
    let mut hosts = Vec::new();
    for name in params.all("host") {
        hosts.push(app.hub.find_host(name).ok_or_else(|| Failure::no_such_host(name))?);
    }
    let query = EventQuery {
        hosts,
        kinds: params.all("type").map(str::to_owned).collect(),
        severity: params.one("severity")?.map(severity).transpose()?,
        subject: params.one("subject")?.map(str::to_owned),
        from: moment("from")?,
        to: moment("to")?,
        page,
        limit: limit + 1,
    };
    let mut events = app.hub.read(move |store| store.state.events(&query)).await?;
    let more = events.len() > limit;
    events.truncate(limit);
    let letter = if matches!(page, StorePage::OldestFirst(_)) { 'a' } else { 'b' };
    let next = events.last().filter(|_| more).map(|event| format!("{letter}{}", event.receipt));
    Ok(Json(Page::new(events.iter().map(|stored| event(&app, stored)).collect(), next)))
}

/// Where to begin, and in which order. A cursor keeps the order of its list.
fn page(params: &Params) -> Result<StorePage, Failure> {
    if let Some(cursor) = params.one("cursor")? {
        let bad = || Failure::parameter("cursor", "it is not what a page before gave as next");
        let number = |text: &str| text.parse().map_err(|_| bad());
        return match (cursor.strip_prefix('a'), cursor.strip_prefix('b')) {
            (Some(after), _) => Ok(StorePage::OldestFirst(number(after)?)),
            (_, Some(below)) => Ok(StorePage::NewestFirst(Some(number(below)?))),
            _ => Err(bad()),
        };
    }
    Ok(params.read("after")?.map_or(StorePage::NewestFirst(None), StorePage::OldestFirst))
}

fn severity(text: &str) -> Result<Severity, Failure> {
    [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical]
        .into_iter()
        .find(|severity| severity.as_str() == text)
        .ok_or_else(|| Failure::parameter("severity", "info, warning, error or critical"))
}
