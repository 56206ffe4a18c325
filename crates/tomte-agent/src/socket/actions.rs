//! Actions over the local socket: read by whoever may open it; decided on by
//! root alone, as the kernel says who that is.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request};
use tomte_api::action::{Action, Decision};
use tomte_api::{Page, Problem};
use tomte_model::{ActionId, ActionState};

use super::{Answer, LocalHost, Query, json, refused};
use crate::actions::DecideError;

/// A decision is short.
const MOST: usize = 4 * 1024;
/// How long it may take to arrive.
const WITHIN: Duration = Duration::from_secs(10);

/// Answers below `/api/v1/actions`; `None`: it is not about Actions.
pub(super) async fn answer(host: &LocalHost, uid: Option<u32>, request: Request<Incoming>) -> Option<Answer> {
    let path = request.uri().path().strip_prefix("/api/v1/actions")?.to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
    Some(match (parts.as_slice(), is_read) {
        ([""], true) => list(host, &Query::parse(request.uri().query().unwrap_or_default())).await,
        (["", id], true) => match found(host, id).await {
            Ok(action) => json(200, &action),
            Err(problem) => refused(&problem),
        },
        (["", id, verb @ ("approve" | "reject")], false) if request.method() == Method::POST => {
            let (id, yes) = ((*id).to_owned(), *verb == "approve");
            match decide(host, uid, &id, yes, request).await {
                Ok(action) => json(200, &action),
                Err(problem) => refused(&problem),
            }
        }
        (["" | "approve" | "reject", ..], _) => refused(&not_found()),
        _ => return None,
    })
}

fn not_found() -> Problem {
    Problem::new(404, "no-such-action", "No such action")
}

async fn list(host: &LocalHost, query: &Query) -> Answer {
    let mut states = Vec::new();
    for word in query.all("state") {
        match ActionState::of(word) {
            Some(state) => states.push(state),
            None => return refused(&Problem::new(400, "bad-parameter", "state is no state of an action").detail(word)),
        }
    }
    let Some(desk) = &host.desk else { return json(200, &Page::<Action>::whole(Vec::new())) };
    let limit = query.one("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let mut actions = desk.actions().await;
    actions.retain(|action| states.is_empty() || states.contains(&action.state));
    let actions = actions.iter().rev().take(limit).map(|action| Action::of(action, Some(host.name.clone())));
    json(200, &Page::whole(actions.collect()))
}

async fn found(host: &LocalHost, id: &str) -> Result<Action, Problem> {
    let id: ActionId = id.parse().map_err(|_| not_found())?;
    let desk = host.desk.as_ref().ok_or_else(not_found)?;
    let action = desk.action(id).await.ok_or_else(not_found)?;
    Ok(Action::of(&action, Some(host.name.clone())))
}

async fn decide(
    host: &LocalHost,
    uid: Option<u32>,
    id: &str,
    yes: bool,
    request: Request<Incoming>,
) -> Result<Action, Problem> {
    if uid != Some(0) {
        return Err(Problem::new(403, "forbidden", "Only root decides here")
            .detail("run it as root: sudo tomte-agent action …"));
    }
    let desk = host.desk.as_ref().ok_or_else(not_found)?;
    let id: ActionId = id.parse().map_err(|_| not_found())?;
    let bad = |why: String| Problem::new(400, "bad-request", "This is no decision").detail(why);
    let body = tokio::time::timeout(WITHIN, Limited::new(request.into_body(), MOST).collect());
    let body = body.await.map_err(|_| bad("it does not arrive".to_owned()))?;
    let body = body.map_err(|error| bad(error.to_string()))?.to_bytes();
    let decision: Decision = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    match desk.decide(id, yes, &decision.plan_hash, &decision.reason, "root").await {
        Ok(action) => Ok(Action::of(&action, Some(host.name.clone()))),
        Err(DecideError::NotFound) => Err(not_found()),
        Err(error @ DecideError::Refused(_)) => {
            Err(Problem::new(409, "conflict", "It cannot be decided like that").detail(error.to_string()))
        }
        Err(error @ DecideError::Disk(_)) => Err(Problem::new(500, "internal", "It failed").detail(error.to_string())),
    }
}
