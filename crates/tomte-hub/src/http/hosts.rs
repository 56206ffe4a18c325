//! Hosts: seen, named, given roles and grants, told settings, removed.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tomte_api::Page;
use tomte_api::host::{
    AddAlias, Cluster, ClusterMember, ClusterOfHost, Grant, GrantVia, Host, HostSettings, Refresh, RenameHost,
    SetHostSettings, SetRoles,
};
use tomte_model::{HostId, HostName};

use super::App;
use super::extract::{Json as Body, Names, OfHost, Params};
use super::past;
use super::problem::Failure;
use crate::access::{Admin, Operator, Viewer};
use crate::view::{ClusterView, HostView};

/// The API's view of a host.
pub(crate) fn host(view: HostView) -> Host {
    let (status, reason, problems) =
        view.assessment.map_or((None, String::new(), Vec::new()), |a| (Some(a.status), a.reason, a.problems));
    Host {
        id: view.id,
        name: view.name.into(),
        aliases: view.aliases.into_iter().map(String::from).collect(),
        roles: view.roles.into_iter().collect(),
        external_ids: view.external_ids,
        via: view.via,
        presence: view.presence,
        status,
        reason,
        problems,
        last_seen_at: view.last_seen_at,
        created_at: view.created_at,
        agent_version: view.agent_version,
        skew_seconds: view.skew_millis.map(|millis| millis as f64 / 1_000.0),
        clock_synchronised: view.clock_synchronised,
        resources: view.resources as u64,
        backlog: view.backlog_reports,
        cluster: view.cluster.map(cluster),
        cluster_of: view.node_of.map(|of| ClusterOfHost { name: of.name, host_id: of.host, waits: of.waits }),
    }
}

fn cluster(view: ClusterView) -> Cluster {
    let member = |member: crate::view::ClusterMember| ClusterMember {
        host_id: member.host,
        name: member.called,
        node: member.node,
        state: member.state,
        quorate: member.quorate,
    };
    Cluster { name: view.name, id: view.id, since: view.since, members: view.members.into_iter().map(member).collect() }
}

/// The host as it is after a change.
fn changed(app: &App, id: HostId) -> Result<Json<Host>, Failure> {
    app.hub.host(id).map(|view| Json(host(view))).ok_or_else(|| Failure::no_such_host(&id.to_string()))
}

/// A name as the caller wrote it, checked.
pub(crate) fn host_name(text: String) -> Result<HostName, Failure> {
    HostName::try_from(text).map_err(|error| Failure::invalid(error.to_string()))
}

/// All hosts, by name; with `at`, those that were known at a past moment, as
/// they were.
#[utoipa::path(get, path = "/api/v1/hosts", operation_id = "hosts", tag = "hosts",
    params(
        ("at" = Option<String>, Query, description = "A past moment: RFC 3339, milliseconds since 1970, or -24h; now when absent"),
        ("limit" = Option<u32>, Query, description = "How many at most; 1,000 when absent"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses((status = 200, body = Page<Host>)))]
pub(crate) async fn list(_: Viewer, params: Params, State(app): State<App>) -> Result<Json<Page<Host>>, Failure> {
    params.only(&["at", "limit", "cursor"])?;
    let (limit, cursor) = (params.limit()?, params.one("cursor")?);
    let at = past::at(&params, app.hub.now())?;
    let behind = |name: &str| cursor.is_none_or(|cursor| name > cursor);
    let mut items: Vec<Host> = match at {
        Some(at) => past::hosts(&app, Vec::new(), at).await?.into_iter().filter(|host| behind(&host.name)).collect(),
        // One more than wanted tells that there are more.
        None => {
            app.hub.hosts().into_iter().filter(|view| behind(view.name.as_str())).take(limit + 1).map(host).collect()
        }
    };
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|host| host.name.clone());
    Ok(Json(Page { at, ..Page::new(items, next) }))
}

/// One host; with `at`, as it was known at a past moment.
#[utoipa::path(get, path = "/api/v1/hosts/{host}", operation_id = "host", tag = "hosts",
    params(
        ("host" = String, Path, description = "Name, alias or id"),
        ("at" = Option<String>, Query, description = "A past moment: RFC 3339, milliseconds since 1970, or -24h; now when absent"),
    ),
    responses((status = 200, body = Host)))]
pub(crate) async fn show(_: Viewer, of: OfHost, params: Params, State(app): State<App>) -> Result<Json<Host>, Failure> {
    params.only(&["at"])?;
    let Some(at) = past::at(&params, app.hub.now())? else { return changed(&app, of.id) };
    let then = past::hosts(&app, vec![of.id], at).await?.pop();
    then.map(Json).ok_or_else(|| Failure::not_known_then(at))
}

/// Deletes a host with all its history.
#[utoipa::path(delete, path = "/api/v1/hosts/{host}", operation_id = "remove_host", tag = "hosts",
    params(("host" = String, Path, description = "Name, alias or id")),
    responses((status = 204)))]
pub(crate) async fn remove(by: Admin, of: OfHost, State(app): State<App>) -> Result<StatusCode, Failure> {
    app.hub.remove_host(&by, of.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Renames a host. The old name stays an alias.
#[utoipa::path(put, path = "/api/v1/hosts/{host}/name", operation_id = "rename_host", tag = "hosts", request_body = RenameHost,
    params(("host" = String, Path, description = "Name, alias or id")),
    responses((status = 200, body = Host)))]
pub(crate) async fn rename(
    by: Admin,
    of: OfHost,
    State(app): State<App>,
    Body(body): Body<RenameHost>,
) -> Result<Json<Host>, Failure> {
    app.hub.rename_host(&by, of.id, host_name(body.name)?).await?;
    changed(&app, of.id)
}

/// Gives a host one more name.
#[utoipa::path(post, path = "/api/v1/hosts/{host}/aliases", operation_id = "add_host_alias", tag = "hosts", request_body = AddAlias,
    params(("host" = String, Path, description = "Name, alias or id")),
    responses((status = 200, body = Host)))]
pub(crate) async fn add_alias(
    by: Admin,
    of: OfHost,
    State(app): State<App>,
    Body(body): Body<AddAlias>,
) -> Result<Json<Host>, Failure> {
    app.hub.add_alias(&by, of.id, host_name(body.alias)?).await?;
    changed(&app, of.id)
}

/// Takes an alias from a host.
#[utoipa::path(delete, path = "/api/v1/hosts/{host}/aliases/{alias}", operation_id = "remove_host_alias", tag = "hosts",
    params(
        ("host" = String, Path, description = "Name, alias or id"),
        ("alias" = String, Path, description = "The alias to take away"),
    ),
    responses((status = 200, body = Host)))]
pub(crate) async fn remove_alias(
    by: Admin,
    of: OfHost,
    Names((_, alias)): Names<(String, String)>,
    State(app): State<App>,
) -> Result<Json<Host>, Failure> {
    app.hub.remove_alias(&by, of.id, &host_name(alias)?).await?;
    changed(&app, of.id)
}

/// Sets all roles of a host.
#[utoipa::path(put, path = "/api/v1/hosts/{host}/roles", operation_id = "set_host_roles", tag = "hosts", request_body = SetRoles,
    params(("host" = String, Path, description = "Name, alias or id")),
    responses((status = 200, body = Host)))]
pub(crate) async fn set_roles(
    by: Admin,
    of: OfHost,
    State(app): State<App>,
    Body(body): Body<SetRoles>,
) -> Result<Json<Host>, Failure> {
    app.hub.set_roles(&by, of.id, body.roles).await?;
    changed(&app, of.id)
}

fn grant(app: &App, id: HostId) -> Option<Grant> {
    app.hub.with_latest(id, |name, _| Grant { host_id: id, name: name.to_string() })
}

/// The hosts for which a host's agent may report, beside its own.
#[utoipa::path(get, path = "/api/v1/hosts/{host}/grants", operation_id = "host_grants", tag = "hosts",
    params(
        ("host" = String, Path, description = "Name, alias or id"),
        ("limit" = Option<u32>, Query, description = "How many at most; 1,000 when absent"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses((status = 200, body = Page<Grant>)))]
pub(crate) async fn grants(
    _: Viewer,
    of: OfHost,
    params: Params,
    State(app): State<App>,
) -> Result<Json<Page<Grant>>, Failure> {
    params.only(&["limit", "cursor"])?;
    let (limit, cursor) = (params.limit()?, params.one("cursor")?);
    let mut grants: Vec<Grant> = app.hub.grants(of.id).into_iter().filter_map(|id| grant(&app, id)).collect();
    grants.sort_by(|a, b| a.name.cmp(&b.name));
    grants.retain(|grant| cursor.is_none_or(|cursor| grant.name.as_str() > cursor));
    let more = grants.len() > limit;
    grants.truncate(limit);
    let next = grants.last().filter(|_| more).map(|grant| grant.name.clone());
    Ok(Json(Page::new(grants, next)))
}

/// Lets a host's agent report for another host. A name that is not known yet
/// makes a host without an agent of its own.
#[utoipa::path(post, path = "/api/v1/hosts/{host}/grants", operation_id = "add_host_grant", tag = "hosts", request_body = GrantVia,
    params(("host" = String, Path, description = "Name, alias or id")),
    responses((status = 200, body = Grant)))]
pub(crate) async fn add_grant(
    by: Admin,
    of: OfHost,
    State(app): State<App>,
    Body(body): Body<GrantVia>,
) -> Result<Json<Grant>, Failure> {
    let via = match app.hub.find_host(&body.via) {
        Some(via) => via,
        None => app.hub.add_via_host(&by, host_name(body.via)?).await?,
    };
    app.hub.grant(&by, of.id, via).await?;
    grant(&app, via).map(Json).ok_or_else(|| Failure::no_such_host(&via.to_string()))
}

/// Takes such a right back.
#[utoipa::path(delete, path = "/api/v1/hosts/{host}/grants/{via}", operation_id = "remove_host_grant", tag = "hosts",
    params(
        ("host" = String, Path, description = "Name, alias or id"),
        ("via" = String, Path, description = "The host that is reported for: name, alias or id"),
    ),
    responses((status = 204)))]
pub(crate) async fn remove_grant(
    by: Admin,
    of: OfHost,
    Names((_, via)): Names<(String, String)>,
    State(app): State<App>,
) -> Result<StatusCode, Failure> {
    let via = app.hub.find_host(&via).ok_or_else(|| Failure::no_such_host(&via))?;
    app.hub.ungrant(&by, of.id, via).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks a host's agent to read now.
#[utoipa::path(post, path = "/api/v1/hosts/{host}/refresh", operation_id = "refresh_host", tag = "hosts", request_body = Refresh,
    params(("host" = String, Path, description = "Name, alias or id")),
    responses((status = 202)))]
pub(crate) async fn refresh(
    by: Operator,
    of: OfHost,
    State(app): State<App>,
    Body(body): Body<Refresh>,
) -> Result<StatusCode, Failure> {
    app.hub.refresh(&by, of.id, body.collectors).await?;
    Ok(StatusCode::ACCEPTED)
}

/// What the hub pushes to a host, and what of it the host refused.
#[utoipa::path(get, path = "/api/v1/hosts/{host}/settings", operation_id = "host_settings", tag = "hosts",
    params(("host" = String, Path, description = "Name, alias or id")),
    responses((status = 200, body = HostSettings)))]
pub(crate) async fn settings(_: Viewer, of: OfHost, State(app): State<App>) -> Result<Json<HostSettings>, Failure> {
    let settings = app.hub.host_settings(of.id).ok_or_else(|| Failure::no_such_host(&of.id.to_string()))?;
    let mut values = BTreeMap::new();
    for (key, value) in settings.values {
        values.insert(key, to_json(&value)?);
    }
    Ok(Json(HostSettings {
        revision: settings.revision,
        applied_revision: settings.answered_revision,
        values,
        refused: settings.refused,
    }))
}

/// Replaces what the hub pushes to a host. The host's own file wins, and what
/// it does not take comes back as refused.
#[utoipa::path(put, path = "/api/v1/hosts/{host}/settings", operation_id = "set_host_settings", tag = "hosts", request_body = SetHostSettings,
    params(("host" = String, Path, description = "Name, alias or id")),
    responses((status = 200, body = HostSettings)))]
pub(crate) async fn set_settings(
    by: Admin,
    of: OfHost,
    State(app): State<App>,
    Body(body): Body<SetHostSettings>,
) -> Result<Json<HostSettings>, Failure> {
    let mut values = BTreeMap::new();
    for (key, value) in &body.values {
        values.insert(key.clone(), to_toml(key, value)?);
    }
    let id = of.id;
    app.hub.set_host_settings(&by, id, values).await?;
    let viewer = crate::Caller { actor: by.actor().clone(), role: tomte_api::account::Role::Admin }.viewer()?;
    settings(viewer, OfHost { id }, State(app)).await
}

/// A JSON value as TOML writes it.
fn to_toml(key: &str, value: &serde_json::Value) -> Result<String, Failure> {
    let value = toml::Value::try_from(value).map_err(|_| Failure::invalid(format!("{key}: null is no setting")))?;
    Ok(value.to_string())
}

/// A TOML value in JSON.
fn to_json(value: &str) -> Result<serde_json::Value, Failure> {
    let table: toml::Table = toml::from_str(&format!("value = {value}")).map_err(Failure::fault)?;
    let value = table.get("value").map(serde_json::to_value).transpose().map_err(Failure::fault)?;
    Ok(value.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_keep_their_types_on_the_way_to_toml_and_back() {
        for value in [
            serde_json::json!("5s"),
            serde_json::json!("a \"quoted\" \\ one"),
            serde_json::json!(true),
            serde_json::json!(7),
            serde_json::json!(0.5),
            serde_json::json!(["/mnt/*", "/srv"]),
            serde_json::json!([{"kind": "filesystem", "warning": 0.8}]),
        ] {
            let text = to_toml("key", &value).expect("TOML");
            assert_eq!(to_json(&text).expect("JSON"), value, "{text}");
        }
        assert!(to_toml("key", &serde_json::Value::Null).is_err());
    }
}
