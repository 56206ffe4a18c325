//! Sessions: signing in and out, and the cookie in between.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::time::Duration;
use tomte_api::account::{Credential, Login, Me};
use tomte_store::state::{Account, Session};

use super::App;
use super::auth::{Identity, api_role};
use super::extract::Json;
use super::problem::Failure;
use super::source::Source;
use crate::access::Viewer;
use crate::secrets::{self, SecretKind};

/// The cookie's name.
pub(crate) const COOKIE: &str = "tomte_session";

/// How long a session lasts.
const LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// The session's secret, if the request carries one.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, secret)| secret)
}

fn set_cookie(secret: &str, lifetime: Duration, source: &Source) -> HeaderValue {
    let secure = if source.encrypted { "; Secure" } else { "" };
    let text = format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}", lifetime.as_secs());
    HeaderValue::from_str(&text).expect("a secret is base64url")
}

/// Starts a session for somebody who proved to own an account.
pub(crate) async fn start(
    app: &App,
    account: &Account,
    source: &Source,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let now = app.hub.now();
    let secret = secrets::new_secret(SecretKind::Session);
    let expires_at = now.plus(LIFETIME);
    let session = Session {
        hash: secret.hash,
        account: account.name.clone(),
        created_at: now,
        last_used_at: now,
        expires_at,
        address: source.address.map(|address| address.to_string()),
        user_agent: headers
            .get(header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok())
            .map(|agent| agent.chars().take(200).collect()),
    };
    let account = Account { last_login_at: Some(now), ..account.clone() };
    let actor = source.actor(format!("account:{}", account.name));
    app.hub.audit(&actor, "session.start", &account.name, "ok", std::collections::BTreeMap::new()).await?;
    let me = Me {
        name: account.name.clone(),
        role: api_role(account.role),
        by: Credential::Session,
        expires_at: Some(expires_at),
    };
    app.hub
        .read(move |store| {
            store.state.add_session(&session)?;
            store.state.update_account(&account)
        })
        .await?;
    let cookie = set_cookie(&secret.text, LIFETIME, source);
    Ok(([(header::SET_COOKIE, cookie)], axum::Json(me)).into_response())
}

/// Signs in with name and password.
///
/// The answer sets the cookie `tomte_session`. After a few wrong passwords for
/// an account from one address, further ones have to wait.
#[utoipa::path(post, path = "/api/v1/login", tag = "accounts", request_body = Login,
    responses((status = 200, body = Me)))]
pub(crate) async fn login(
    State(app): State<App>,
    source: Source,
    headers: HeaderMap,
    Json(login): Json<Login>,
) -> Result<Response, Failure> {
    let what = format!("password {}", login.name);
    if let Some(wait) = app.auth.wait(&what, &source) {
        return Err(Failure::back_off(wait));
    }
    let name = login.name.clone();
    let account = app.hub.read(move |store| store.state.account(&name)).await?.filter(|account| !account.disabled);
    let hashed = account.as_ref().and_then(|account| account.password_hash.clone());
    let right = app.auth.passwords.check(login.password, hashed).await?;
    match account.filter(|_| right) {
        Some(account) => {
            app.auth.succeeded(&what, &source);
            start(&app, &account, &source, &headers).await
        }
        None => {
            app.auth.failed(&what, &source);
            Err(Failure::unauthorised("the name or the password is wrong"))
        }
    }
}

/// Ends the session, if there is one; a token stays valid.
#[utoipa::path(post, path = "/api/v1/logout", tag = "accounts", responses((status = 204)))]
pub(crate) async fn logout(
    _: Viewer,
    identity: Identity,
    State(app): State<App>,
    source: Source,
) -> Result<Response, Failure> {
    if let (Credential::Session, Some(hash)) = (identity.by, identity.hash) {
        let actor = &identity.caller.actor;
        app.hub.audit(actor, "session.end", &identity.name, "ok", std::collections::BTreeMap::new()).await?;
        app.hub.read(move |store| store.state.remove_session(&hash)).await?;
        app.auth.forget();
    }
    let cookie = set_cookie("", Duration::ZERO, &source);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Who is asking.
#[utoipa::path(get, path = "/api/v1/me", tag = "accounts", responses((status = 200, body = Me)))]
pub(crate) async fn me(_: Viewer, identity: Identity) -> axum::Json<Me> {
    axum::Json(Me { role: identity.caller.role, by: identity.by, expires_at: identity.expires_at, name: identity.name })
}
