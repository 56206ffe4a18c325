//! Resources: of one host, across hosts, and their latest readings.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tomte_api::Page;
use tomte_api::resource::{LatestRow, Resource};
use tomte_model::latest::ResourceState;
use tomte_model::{HostId, ResourceKey, Status, Timestamp, Value};

use super::App;
use super::extract::{Names, OfHost, Params};
use super::past;
use super::problem::Failure;
use crate::access::{Operator, Viewer};

/// Which resources are wanted.
struct Filter {
    kinds: Vec<String>,
    statuses: Vec<Status>,
    /// Lower-case.
    text: Option<String>,
}

impl Filter {
    fn from(params: &Params) -> Result<Self, Failure> {
        let statuses = params.all("status").map(|text| {
            Status::ALL
                .into_iter()
                .find(|status| status.as_str() == text)
                .ok_or_else(|| Failure::parameter("status", "ok, unknown, warning or critical"))
        });
        Ok(Self {
            kinds: params.all("kind").map(str::to_owned).collect(),
            statuses: statuses.collect::<Result<_, _>>()?,
            text: params.one("q")?.map(str::to_lowercase),
        })
    }

    /// The kind, if only one is wanted.
    fn only_kind(&self) -> Option<String> {
        match self.kinds.as_slice() {
            [kind] => Some(kind.clone()),
            _ => None,
        }
    }

    fn takes(&self, host: &str, key: &ResourceKey, state: &ResourceState, now: Timestamp) -> bool {
        if !self.kinds.is_empty() && !self.kinds.iter().any(|kind| *kind == key.kind) {
            return false;
        }
        if self.statuses.is_empty() && self.text.is_none() {
            return true;
        }
        let assessment = state.assessment(now);
        if !self.statuses.is_empty() && !assessment.as_ref().is_some_and(|a| self.statuses.contains(&a.status)) {
            return false;
        }
        let Some(text) = &self.text else { return true };
        let has = |in_text: &str| in_text.to_lowercase().contains(text);
        has(host)
            || has(&key.to_string())
            || assessment.is_some_and(|a| has(&a.reason))
            || state.attributes().any(|(_, value)| matches!(value, Value::Text(value) if has(value)))
    }
}

/// Where a page ended: the last host and resource on it.
struct Cursor {
    host: String,
    key: ResourceKey,
}

impl Cursor {
    fn from(params: &Params) -> Result<Option<Self>, Failure> {
        let Some(text) = params.one("cursor")? else { return Ok(None) };
        let parts = text.split_once('/').and_then(|(host, key)| Some((host.to_owned(), key.parse().ok()?)));
        let (host, key) =
            parts.ok_or_else(|| Failure::parameter("cursor", "it is not what a page before gave as next"))?;
        Ok(Some(Self { host, key }))
    }
}

/// Walks the wanted resources of hosts in order, from the cursor on, and makes
/// a page of what `make` makes of each.
fn page<T>(
    app: &App,
    hosts: &[(HostId, String)],
    params: &Params,
    make: impl Fn(&str, HostId, &ResourceKey, &ResourceState, Timestamp) -> Option<T>,
) -> Result<Page<T>, Failure> {
    let mut pager = Pager::new(params, app.hub.now())?;
    for (id, host) in hosts {
        app.hub.with_latest(*id, |_, latest| match pager.filter.only_kind() {
            Some(kind) => pager.take((*id, host), latest.of_kind(&kind), &make),
            None => pager.take((*id, host), latest.resources(), &make),
        });
        if pager.full {
            break;
        }
    }
    Ok(pager.page())
}

/// A page in the making.
struct Pager<T> {
    filter: Filter,
    cursor: Option<Cursor>,
    limit: usize,
    now: Timestamp,
    items: Vec<T>,
    /// The last on it: its host and key.
    last: Option<(String, ResourceKey)>,
    /// Whether there would be more.
    full: bool,
}

impl<T> Pager<T> {
    fn new(params: &Params, now: Timestamp) -> Result<Self, Failure> {
        let (filter, cursor, limit) = (Filter::from(params)?, Cursor::from(params)?, params.limit()?);
        Ok(Self { filter, cursor, limit, now, items: Vec::new(), last: None, full: false })
    }

    /// Takes the wanted resources of a host, up to the limit.
    fn take<'a>(
        &mut self,
        (id, host): (HostId, &str),
        resources: impl Iterator<Item = (&'a ResourceKey, &'a ResourceState)>,
        make: &impl Fn(&str, HostId, &ResourceKey, &ResourceState, Timestamp) -> Option<T>,
    ) {
        let after = match &self.cursor {
            Some(cursor) if *host < *cursor.host => return,
            Some(cursor) if *host == *cursor.host => Some(&cursor.key),
            _ => None,
        };
        let mut last = None;
        for (key, state) in resources {
            if after.is_some_and(|after| key <= after) || !self.filter.takes(host, key, state, self.now) {
                continue;
            }
            let Some(item) = make(host, id, key, state, self.now) else { continue };
            if self.items.len() == self.limit {
                self.full = true;
                break;
            }
            self.items.push(item);
            last = Some(key);
        }
        if let Some(key) = last {
            self.last = Some((host.to_owned(), key.clone()));
        }
    }

    fn page(self) -> Page<T> {
        let next = self.last.filter(|_| self.full).map(|(host, key)| format!("{host}/{key}"));
        Page::new(self.items, next)
    }
}

/// The hosts that the query names, or all; by name.
fn hosts(app: &App, params: &Params) -> Result<Vec<(HostId, String)>, Failure> {
    let mut hosts: Vec<_> = app.hub.host_names().into_iter().map(|(id, name)| (id, String::from(name))).collect();
    hosts.sort_by(|a, b| a.1.cmp(&b.1));
    let mut named = Vec::new();
    for name in params.all("host") {
        named.push(app.hub.find_host(name).ok_or_else(|| Failure::no_such_host(name))?);
    }
    if !named.is_empty() {
        hosts.retain(|(id, _)| named.contains(id));
    }
    Ok(hosts)
}

/// The resources of a host, with their lists; with `at`, as they were known at
/// a past moment, without lists.
#[utoipa::path(get, path = "/api/v1/hosts/{host}/resources", operation_id = "host_resources", tag = "resources",
    params(
        ("host" = String, Path, description = "Name, alias or id"),
        ("kind" = Option<Vec<String>>, Query, description = "Of these kinds"),
        ("status" = Option<Vec<String>>, Query, description = "That stand so: ok, unknown, warning, critical"),
        ("q" = Option<String>, Query, description = "With this text in name, reason or an attribute"),
        ("at" = Option<String>, Query, description = "A past moment: RFC 3339, milliseconds since 1970, or -24h; now when absent"),
        ("limit" = Option<u32>, Query, description = "How many at most; 1,000 when absent"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses((status = 200, body = Page<Resource>)))]
pub(crate) async fn of_host(
    _: Viewer,
    of: OfHost,
    params: Params,
    State(app): State<App>,
) -> Result<Json<Page<Resource>>, Failure> {
    params.only(&["kind", "status", "q", "at", "limit", "cursor"])?;
    let now = app.hub.now();
    if let Some(at) = past::at(&params, now)? {
        let (name, resources) = past::resources(&app, of.id, at).await?;
        let name = name.ok_or_else(|| Failure::not_known_then(at))?;
        let mut pager = Pager::new(&params, at)?;
        let make = |host: &str, id, key: &_, state: &_, at| Some(Resource::of(host, id, key, state, at));
        pager.take((of.id, &name), resources.iter(), &make);
        return Ok(Json(Page { at: Some(at), ..pager.page() }));
    }
    let name = app.hub.with_latest(of.id, |name, _| name.to_string()).unwrap_or_default();
    let make = |host: &str, id, key: &_, state: &_, now| Some(Resource::of(host, id, key, state, now));
    page(&app, &[(of.id, name)], &params, make).map(Json)
}

/// Resources across hosts, without their lists.
#[utoipa::path(get, path = "/api/v1/resources", operation_id = "resources", tag = "resources",
    params(
        ("host" = Option<Vec<String>>, Query, description = "Of these hosts: name, alias or id"),
        ("kind" = Option<Vec<String>>, Query, description = "Of these kinds"),
        ("status" = Option<Vec<String>>, Query, description = "That stand so: ok, unknown, warning, critical"),
        ("q" = Option<String>, Query, description = "With this text in the host's or their name, reason or an attribute"),
        ("limit" = Option<u32>, Query, description = "How many at most; 1,000 when absent"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses((status = 200, body = Page<Resource>)))]
pub(crate) async fn across(_: Viewer, params: Params, State(app): State<App>) -> Result<Json<Page<Resource>>, Failure> {
    params.only(&["host", "kind", "status", "q", "limit", "cursor"])?;
    let make = |host: &str, id, key: &_, state: &_, now| {
        Some(Resource { tables: BTreeMap::new(), ..Resource::of(host, id, key, state, now) })
    };
    page(&app, &hosts(&app, &params)?, &params, make).map(Json)
}

/// The latest readings, one row per resource, across hosts.
#[utoipa::path(get, path = "/api/v1/latest", tag = "resources",
    params(
        ("host" = Option<Vec<String>>, Query, description = "Of these hosts: name, alias or id"),
        ("kind" = Option<Vec<String>>, Query, description = "Of these kinds"),
        ("field" = Option<Vec<String>>, Query, description = "These fields; rows without any of them are left out"),
        ("status" = Option<Vec<String>>, Query, description = "That stand so: ok, unknown, warning, critical"),
        ("q" = Option<String>, Query, description = "With this text in the host's or their name, reason or an attribute"),
        ("limit" = Option<u32>, Query, description = "How many at most; 1,000 when absent"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses((status = 200, body = Page<LatestRow>)))]
pub(crate) async fn latest(_: Viewer, params: Params, State(app): State<App>) -> Result<Response, Failure> {
    params.only(&["host", "kind", "field", "status", "q", "limit", "cursor"])?;
    let fields: Vec<&str> = params.all("field").collect();
    // The rows are written straight: they are the same few words over and over.
    let rows = RefCell::new(Vec::with_capacity(16 << 10));
    let make = |host: &str, host_id, key: &ResourceKey, state: &ResourceState, now| {
        let wanted = |name: &str| fields.is_empty() || fields.contains(&name);
        if !fields.is_empty() && !state.readings().any(|(name, _)| wanted(name)) {
            return None;
        }
        write_row(&mut rows.borrow_mut(), (host, host_id), key, state, now, wanted);
        Some(())
    };
    let page = page(&app, &hosts(&app, &params)?, &params, make)?;
    let mut body = b"{\"items\":[".to_vec();
    body.append(&mut rows.into_inner());
    body.extend_from_slice(b"],\"next\":");
    serde_json::to_writer(&mut body, &page.next).map_err(Failure::fault)?;
    body.push(b'}');
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

/// One row, as [`LatestRow`] reads it.
fn write_row(
    out: &mut Vec<u8>,
    (host, host_id): (&str, HostId),
    key: &ResourceKey,
    state: &ResourceState,
    now: Timestamp,
    wanted: impl Fn(&str) -> bool,
) {
    // Writing to memory cannot fail, and text and numbers are always JSON.
    let put = |out: &mut Vec<u8>, text: &str| drop(serde_json::to_writer(out, text));
    if !out.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(b"{\"host\":");
    put(out, host);
    let _ = write!(out, ",\"host_id\":\"{host_id}\",\"kind\":");
    put(out, &key.kind);
    out.extend_from_slice(b",\"name\":");
    put(out, &key.name);
    match state.status(now) {
        Some(status) => drop(write!(out, ",\"status\":\"{status}\"")),
        None => out.extend_from_slice(b",\"status\":null"),
    }
    let _ = write!(out, ",\"stale\":{},\"at\":\"{}\",\"readings\":{{", state.stale(now), state.at());
    let mut written: Vec<&str> = Vec::new();
    for (name, value) in state.readings().filter(|(name, _)| wanted(name)) {
        // Two facets may bring the same field; the first one is told.
        if state.facets.len() > 1 && written.contains(&&**name) {
            continue;
        }
        if !written.is_empty() {
            out.push(b',');
        }
        written.push(name);
        put(out, name);
        out.push(b':');
        let _ = serde_json::to_writer(&mut *out, &value);
    }
    out.extend_from_slice(b"}}");
}

/// Removes a resource by hand. It comes back if a collector still sees it.
#[utoipa::path(delete, path = "/api/v1/hosts/{host}/resources/{kind}/{name}", operation_id = "forget_resource", tag = "resources",
    params(
        ("host" = String, Path, description = "Name, alias or id"),
        ("kind" = String, Path, description = "The kind"),
        ("name" = String, Path, description = "The name; its slashes percent-encoded"),
    ),
    responses((status = 204)))]
pub(crate) async fn forget(
    by: Operator,
    of: OfHost,
    Names((_, kind, name)): Names<(String, String, String)>,
    State(app): State<App>,
) -> Result<StatusCode, Failure> {
    app.hub.forget_resource(&by, of.id, &ResourceKey::new(kind, name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
