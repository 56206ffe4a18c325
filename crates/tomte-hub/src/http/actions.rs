//! Actions: listed, shown, decided on.

use axum::Json;
use axum::extract::State;
use tomte_api::Page;
use tomte_api::action::{Action, Decision};
use tomte_model::{ActionId, ActionState, Timestamp};
use tomte_store::state::ActionQuery;

use super::App;
use super::auth::Identity;
use super::extract::{Json as Body, Names, Params};
use super::problem::Failure;
use crate::access::{Operator, Viewer};
use crate::actions::DecideError;

/// The API's view of an Action.
fn view(app: &App, action: &tomte_model::Action) -> Action {
    Action::of(action, app.hub.with_latest(action.host, |name, _| name.to_string()))
}

/// What is no id is not there either.
fn id_of(id: &str) -> Result<ActionId, Failure> {
    id.parse().map_err(|_| Failure::not_found("action", id))
}

/// What hosts were asked to do, newest first.
#[utoipa::path(get, path = "/api/v1/actions", operation_id = "actions", tag = "actions",
    params(
        ("host" = Option<Vec<String>>, Query, description = "Of these hosts: name, alias or id"),
        ("state" = Option<Vec<String>>, Query, description = "In these states: pending, approved, rejected, running, completed, failed, cancelled, expired"),
        ("limit" = Option<u32>, Query, description = "How many at most; 1,000 when absent"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses((status = 200, body = Page<Action>)))]
pub(crate) async fn list(_: Viewer, params: Params, State(app): State<App>) -> Result<Json<Page<Action>>, Failure> {
    params.only(&["host", "state", "limit", "cursor"])?;
    let limit = params.limit()?;
    let mut query = ActionQuery { limit: limit + 1, ..ActionQuery::default() };
    for name in params.all("host") {
        query.hosts.push(app.hub.find_host(name).ok_or_else(|| Failure::no_such_host(name))?);
    }
    for word in params.all("state") {
        let words = ActionState::ALL.map(ActionState::as_str).join(", ");
        query.states.push(ActionState::of(word).ok_or_else(|| Failure::parameter("state", words))?);
    }
    if let Some(cursor) = params.one("cursor")? {
        let bad = || Failure::parameter("cursor", "it is not what a page before gave as next");
        let (at, id) = cursor.split_once('-').ok_or_else(bad)?;
        let at = Timestamp::from_millis(at.parse().map_err(|_| bad())?);
        query.before = Some((at, id.parse().map_err(|_| bad())?));
    }
    let mut actions = app.hub.read(move |store| store.state.actions(&query)).await?;
    let more = actions.len() > limit;
    actions.truncate(limit);
    let next = actions.last().filter(|_| more).map(|last| format!("{}-{}", last.created_at.millis(), last.id));
    Ok(Json(Page::new(actions.iter().map(|action| view(&app, action)).collect(), next)))
}

/// One of them, with its plan and its history.
#[utoipa::path(get, path = "/api/v1/actions/{id}", operation_id = "action", tag = "actions",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = Action)))]
pub(crate) async fn show(_: Viewer, Names(id): Names<String>, State(app): State<App>) -> Result<Json<Action>, Failure> {
    let parsed = id_of(&id)?;
    let action = app.hub.read(move |store| store.state.action(parsed)).await?;
    let action = action.ok_or_else(|| Failure::not_found("action", &id))?;
    Ok(Json(view(&app, &action)))
}

/// Approves one, as its plan was seen. It is on its way to the host's agent
/// then, which has the last word; what is dangerous needs an admin.
#[utoipa::path(post, path = "/api/v1/actions/{id}/approve", operation_id = "approve_action", tag = "actions",
    params(("id" = String, Path, description = "Its id")),
    request_body = Decision,
    responses((status = 200, body = Action, description = "As it was when it was decided on")))]
pub(crate) async fn approve(
    _: Operator,
    who: Identity,
    Names(id): Names<String>,
    State(app): State<App>,
    Body(decision): Body<Decision>,
) -> Result<Json<Action>, Failure> {
    decide(&app, &who, &id, true, decision).await
}

/// Rejects one, as its plan was seen.
#[utoipa::path(post, path = "/api/v1/actions/{id}/reject", operation_id = "reject_action", tag = "actions",
    params(("id" = String, Path, description = "Its id")),
    request_body = Decision,
    responses((status = 200, body = Action, description = "As it was when it was decided on")))]
pub(crate) async fn reject(
    _: Operator,
    who: Identity,
    Names(id): Names<String>,
    State(app): State<App>,
    Body(decision): Body<Decision>,
) -> Result<Json<Action>, Failure> {
    decide(&app, &who, &id, false, decision).await
}

async fn decide(app: &App, who: &Identity, id: &str, yes: bool, decision: Decision) -> Result<Json<Action>, Failure> {
    let decided = app.hub.decide_action(&who.caller, id_of(id)?, yes, decision.plan_hash, decision.reason).await;
    match decided {
        Ok(action) => Ok(Json(view(app, &action))),
        Err(DecideError::Forbidden(error)) => Err(error.into()),
        Err(DecideError::Hub(error)) => Err(error.into()),
    }
}
