//! The hub itself: health, version, counters, configuration, catalogue.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tomte_api::Page;
use tomte_api::catalogue::Kind;
use tomte_api::hub::{Config, Health, HubInfo, Setting};

use super::App;
use super::extract::Params;
use super::problem::Failure;
use crate::access::{Admin, Viewer};

/// Whether the hub accepts requests, on its own socket too.
#[utoipa::path(get, path = "/healthz", tag = "hub",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(crate) async fn healthz(State(app): State<App>) -> Response {
    health(if app.hub.is_serving() { Ok("ok") } else { Err("starting") })
}

/// Whether the hub can do all its work: it accepts requests, and what arrives
/// can be stored.
#[utoipa::path(get, path = "/readyz", tag = "hub",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    health(match app.hub.store().history.trouble() {
        _ if !app.hub.is_serving() => Err("starting"),
        Some(_) => Err("nothing can be stored"),
        None => Ok("ok"),
    })
}

fn health(status: Result<&str, &str>) -> Response {
    let (code, status) = match status {
        Ok(status) => (StatusCode::OK, status),
        Err(status) => (StatusCode::SERVICE_UNAVAILABLE, status),
    };
    (code, Json(Health { status: status.to_owned() })).into_response()
}

/// The hub: version, uptime, counters, storage.
#[utoipa::path(get, path = "/api/v1/hub", tag = "hub", responses((status = 200, body = HubInfo)))]
pub(crate) async fn hub(_: Viewer, State(app): State<App>) -> Result<Json<HubInfo>, Failure> {
    let (hub, now) = (&app.hub, app.hub.now());
    let mut hosts: BTreeMap<String, u64> = BTreeMap::new();
    for host in hub.hosts() {
        *hosts.entry(host.presence.to_string()).or_default() += 1;
    }
    Ok(Json(HubInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: hub.started_at(),
        uptime_seconds: now.since(hub.started_at()).as_secs_f64(),
        public_url: hub.public_url(),
        hosts,
        counters: hub.counters().into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        storage_bytes: storage(&app).await?,
    }))
}

/// How many bytes the databases hold, their logs included.
pub(crate) async fn storage(app: &App) -> Result<BTreeMap<String, u64>, Failure> {
    let data = app.hub.data().to_owned();
    let sizes = tokio::task::spawn_blocking(move || {
        let of = |name: &str| {
            let files = [name.to_owned(), format!("{name}-wal")];
            files.iter().filter_map(|file| std::fs::metadata(data.join(file)).ok()).map(|meta| meta.len()).sum()
        };
        ["state.db", "history.db"].map(|name| (name.to_owned(), of(name))).into_iter().collect()
    });
    sizes.await.map_err(Failure::fault)
}

/// The configuration in force, and where each value came from.
#[utoipa::path(get, path = "/api/v1/config", tag = "hub", responses((status = 200, body = Config)))]
pub(crate) async fn config(_: Admin, State(app): State<App>) -> Json<Config> {
    let resolved = app.hub.resolved();
    let settings = resolved.settings.iter().map(|setting| Setting {
        key: setting.key.to_owned(),
        value: setting.value.clone(),
        source: setting.origin.to_string(),
    });
    Json(Config { settings: settings.collect() })
}

/// Every kind and field that is known, also those that agents described.
#[utoipa::path(get, path = "/api/v1/catalogue", tag = "hub",
    params(
        ("limit" = Option<u32>, Query, description = "How many at most"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses((status = 200, body = Page<Kind>)))]
pub(crate) async fn catalogue(_: Viewer, params: Params, State(app): State<App>) -> Result<Json<Page<Kind>>, Failure> {
    params.only(&["limit", "cursor"])?;
    let (limit, cursor) = (params.limit()?, params.one("cursor")?);
    let catalogue = app.hub.catalogue();
    let mut kinds = catalogue.kinds().filter(|kind| cursor.is_none_or(|cursor| *kind.name > *cursor));
    let items: Vec<Kind> = kinds.by_ref().take(limit).map(Kind::from).collect();
    let next = kinds.next().and_then(|_| items.last().map(|kind| kind.name.clone()));
    Ok(Json(Page::new(items, next)))
}
