//! Accounts and API tokens.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tomte_api::Page;
use tomte_api::account::{AddToken, AddUser, NewToken, Role, SetPassword, SetRole, Token, User};
use tomte_store::state::{Account, ApiToken};

use super::App;
use super::auth::{Identity, api_role, store_role};
use super::extract::{Json as Body, Names, Params};
use super::problem::Failure;
use crate::access::Admin;
use crate::secrets::{self, SecretKind};

/// A name that can be an account's or a token's.
pub(crate) fn checked_name(name: &str) -> Result<String, Failure> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(fits) {
        Ok(name.to_owned())
    } else {
        Err(Failure::invalid(format!("{name:?} is not a name: 1 to 64 letters, digits or . _ @ - are allowed")))
    }
}

fn user(account: Account) -> User {
    User {
        role: api_role(account.role),
        created_at: account.created_at,
        last_login_at: account.last_login_at,
        name: account.name,
    }
}

/// A page of what was read by name.
fn page<T>(params: &Params, items: Vec<T>, name: impl Fn(&T) -> &str) -> Result<Json<Page<T>>, Failure> {
    params.only(&["limit", "cursor"])?;
    let (limit, cursor) = (params.limit()?, params.one("cursor")?);
    let mut left = items.into_iter().filter(|item| cursor.is_none_or(|cursor| name(item) > cursor));
    let items: Vec<T> = left.by_ref().take(limit).collect();
    let next = left.next().and_then(|_| items.last().map(|item| name(item).to_owned()));
    Ok(Json(Page::new(items, next)))
}

/// All accounts, by name.
#[utoipa::path(get, path = "/api/v1/users", tag = "accounts",
    params(
        ("limit" = Option<u32>, Query, description = "How many at most; 1,000 when absent"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses((status = 200, body = Page<User>)))]
pub(crate) async fn users(_: Admin, params: Params, State(app): State<App>) -> Result<Json<Page<User>>, Failure> {
    let accounts = app.hub.read(|store| store.state.accounts()).await?;
    page(&params, accounts.into_iter().map(user).collect(), |user| &user.name)
}

/// Makes an account.
#[utoipa::path(post, path = "/api/v1/users", tag = "accounts", request_body = AddUser,
    responses((status = 201, body = User)))]
pub(crate) async fn add_user(
    by: Admin,
    State(app): State<App>,
    Body(body): Body<AddUser>,
) -> Result<(StatusCode, Json<User>), Failure> {
    let name = checked_name(&body.name)?;
    let now = app.hub.now();
    let account = Account {
        name: name.clone(),
        password_hash: Some(app.auth.passwords.hash(body.password).await?),
        role: store_role(body.role),
        created_at: now,
        password_changed_at: Some(now),
        last_login_at: None,
        disabled: false,
    };
    let _changing = app.auth.changing.lock().await;
    let known = app.hub.read(|store| store.state.accounts()).await?;
    if known.iter().any(|account| account.name == name) {
        return Err(Failure::conflict(format!("there is a user {name:?} already")));
    }
    let details = BTreeMap::from([("role".to_owned(), body.role.to_string())]);
    app.hub.audit(by.actor(), "user.add", &name, "ok", details).await?;
    let added = account.clone();
    app.hub.read(move |store| store.state.add_account(&added)).await?;
    app.auth.forget();
    Ok((StatusCode::CREATED, Json(user(account))))
}

/// The account of that name, and whether it is the only admin.
async fn account(app: &App, name: &str) -> Result<(Account, bool), Failure> {
    let accounts = app.hub.read(|store| store.state.accounts()).await?;
    let account = accounts.iter().find(|account| account.name == name);
    let account = account.ok_or_else(|| Failure::not_found("user", name))?.clone();
    let admins = accounts.iter().filter(|a| api_role(a.role) == Role::Admin && !a.disabled);
    let only = admins.count() == 1 && api_role(account.role) == Role::Admin;
    Ok((account, only))
}

const LAST_ADMIN: &str = "this is the only admin: make another one first";

/// Deletes an account, and ends its sessions.
#[utoipa::path(delete, path = "/api/v1/users/{name}", tag = "accounts",
    params(("name" = String, Path, description = "The account's name")),
    responses((status = 204)))]
pub(crate) async fn remove_user(
    by: Admin,
    Names(name): Names<String>,
    State(app): State<App>,
) -> Result<StatusCode, Failure> {
    let _changing = app.auth.changing.lock().await;
    let (_, only_admin) = account(&app, &name).await?;
    if only_admin {
        return Err(Failure::conflict(LAST_ADMIN));
    }
    app.hub.audit(by.actor(), "user.remove", &name, "ok", BTreeMap::new()).await?;
    app.hub.read(move |store| store.state.remove_account(&name)).await?;
    app.auth.forget();
    Ok(StatusCode::NO_CONTENT)
}

/// Sets an account's password, and ends its sessions; the session that asks
/// goes on.
#[utoipa::path(put, path = "/api/v1/users/{name}/password", operation_id = "set_user_password", tag = "accounts", request_body = SetPassword,
    params(("name" = String, Path, description = "The account's name")),
    responses((status = 204)))]
pub(crate) async fn set_password(
    by: Admin,
    identity: Identity,
    Names(name): Names<String>,
    State(app): State<App>,
    Body(body): Body<SetPassword>,
) -> Result<StatusCode, Failure> {
    let hash = app.auth.passwords.hash(body.password).await?;
    let _changing = app.auth.changing.lock().await;
    let (account, _) = account(&app, &name).await?;
    app.hub.audit(by.actor(), "user.password", &name, "ok", BTreeMap::new()).await?;
    let changed = Account { password_hash: Some(hash), password_changed_at: Some(app.hub.now()), ..account };
    app.hub
        .read(move |store| {
            store.state.update_account(&changed)?;
            store.state.remove_sessions(&changed.name, identity.hash.as_ref())
        })
        .await?;
    app.auth.forget();
    Ok(StatusCode::NO_CONTENT)
}

/// Sets what an account may do.
#[utoipa::path(put, path = "/api/v1/users/{name}/role", operation_id = "set_user_role", tag = "accounts", request_body = SetRole,
    params(("name" = String, Path, description = "The account's name")),
    responses((status = 200, body = User)))]
pub(crate) async fn set_role(
    by: Admin,
    Names(name): Names<String>,
    State(app): State<App>,
    Body(body): Body<SetRole>,
) -> Result<Json<User>, Failure> {
    let _changing = app.auth.changing.lock().await;
    let (account, only_admin) = account(&app, &name).await?;
    if only_admin && body.role != Role::Admin {
        return Err(Failure::conflict(LAST_ADMIN));
    }
    let details = BTreeMap::from([("role".to_owned(), body.role.to_string())]);
    app.hub.audit(by.actor(), "user.role", &name, "ok", details).await?;
    let changed = Account { role: store_role(body.role), ..account };
    let written = changed.clone();
    app.hub.read(move |store| store.state.update_account(&written)).await?;
    app.auth.forget();
    Ok(Json(user(changed)))
}

/// All API tokens, by name, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "accounts",
    params(
        ("limit" = Option<u32>, Query, description = "How many at most; 1,000 when absent"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses((status = 200, body = Page<Token>)))]
pub(crate) async fn tokens(_: Admin, params: Params, State(app): State<App>) -> Result<Json<Page<Token>>, Failure> {
    let tokens = app.hub.read(|store| store.state.api_tokens()).await?;
    let tokens = tokens.into_iter().map(|token| Token {
        name: token.name,
        prefix: token.prefix,
        role: api_role(token.role),
        created_at: token.created_at,
        last_used_at: token.last_used_at,
        expires_at: token.expires_at,
    });
    page(&params, tokens.collect(), |token| &token.name)
}

/// Makes an API token. The token itself is told this once.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "accounts", request_body = AddToken,
    responses((status = 201, body = NewToken)))]
pub(crate) async fn add_token(
    by: Admin,
    State(app): State<App>,
    Body(body): Body<AddToken>,
) -> Result<(StatusCode, Json<NewToken>), Failure> {
    let name = checked_name(&body.name)?;
    let now = app.hub.now();
    if body.expires_at.is_some_and(|end| end <= now) {
        return Err(Failure::invalid("expires_at lies in the past"));
    }
    let secret = secrets::new_secret(SecretKind::Api);
    let token = ApiToken {
        hash: secret.hash,
        prefix: secret.prefix.clone(),
        name: name.clone(),
        role: store_role(body.role),
        created_by: by.actor().name.clone(),
        created_at: now,
        expires_at: body.expires_at,
        last_used_at: None,
    };
    let _changing = app.auth.changing.lock().await;
    let known = app.hub.read(|store| store.state.api_tokens()).await?;
    if known.iter().any(|token| token.name == name) {
        return Err(Failure::conflict(format!("there is a token {name:?} already")));
    }
    let details = BTreeMap::from([("role".to_owned(), body.role.to_string())]);
    app.hub.audit(by.actor(), "token.add", &name, "ok", details).await?;
    app.hub.read(move |store| store.state.add_api_token(&token)).await?;
    app.auth.forget();
    Ok((StatusCode::CREATED, Json(NewToken { name, role: body.role, token: (*secret.text).clone() })))
}

/// Revokes an API token; connections that were opened with it end.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", tag = "accounts",
    params(("name" = String, Path, description = "The token's name")),
    responses((status = 204)))]
pub(crate) async fn remove_token(
    by: Admin,
    Names(name): Names<String>,
    State(app): State<App>,
) -> Result<StatusCode, Failure> {
    let known = app.hub.read(|store| store.state.api_tokens()).await?;
    if !known.iter().any(|token| token.name == name) {
        return Err(Failure::not_found("token", &name));
    }
    app.hub.audit(by.actor(), "token.remove", &name, "ok", BTreeMap::new()).await?;
    app.hub.read(move |store| store.state.remove_api_token(&name)).await?;
    app.auth.forget();
    Ok(StatusCode::NO_CONTENT)
}
