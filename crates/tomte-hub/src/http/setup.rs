//! The first sign-in: a link that works once, for as long as there is no
//! account.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use tomte_api::account::{Me, Role, Setup};
use tomte_store::StoreError;
use tomte_store::state::{Account, SecretHash};

use super::App;
use super::accounts::checked_name;
use super::auth::store_role;
use super::extract::Json;
use super::problem::Failure;
use super::session;
use super::source::Source;
use crate::secrets::{self, SecretKind};
use crate::{Hub, HubError};

/// Where the store keeps the hash of the link's secret.
const KEY: &str = "setup.secret";

/// Makes a new sign-in link, in place of the one before. `None` when there is
/// an account already. The secret stands behind the `#`, which a browser keeps
/// to itself: it comes into no log of the hub or a proxy.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn sign_in_link(hub: &Hub) -> Result<Option<String>, HubError> {
    let secret = secrets::new_secret(SecretKind::Setup);
    let hash = secret.hash;
    let wanted = hub
        .read(move |store| {
            if store.state.accounts()?.is_empty() {
                store.state.put_value(KEY, Some(&hash))?;
                Ok(true)
            } else {
                Ok(false)
            }
        })
        .await?;
    Ok(wanted.then(|| format!("{}/setup#secret={}", hub.public_url(), *secret.text)))
}

/// Makes the first account, an admin, with the secret of the sign-in link.
///
/// The secret works once, and only while there is no account. The answer signs
/// in: it sets the cookie `tomte_session`.
#[utoipa::path(post, path = "/api/v1/setup", tag = "accounts", request_body = Setup,
    responses((status = 200, body = Me)))]
pub(crate) async fn setup(
    State(app): State<App>,
    source: Source,
    headers: HeaderMap,
    Json(setup): Json<Setup>,
) -> Result<Response, Failure> {
    const WHAT: &str = "setup";
    let presented = secrets::hash(setup.secret.as_bytes());
    let kept = app.hub.read(|store| store.state.value(KEY)).await?;
    if !kept.is_some_and(|kept| is(&kept, &presented)) {
        // The right secret passes however many wrong ones came before.
        if let Some(wait) = app.auth.wait(WHAT, &source) {
            return Err(Failure::back_off(wait));
        }
        app.auth.failed(WHAT, &source);
        return Err(Failure::forbidden("the sign-in link is not valid, or was used already"));
    }
    let name = checked_name(&setup.name)?;
    let account = Account {
        name: name.clone(),
        password_hash: Some(app.auth.passwords.hash(setup.password).await?),
        role: store_role(Role::Admin),
        created_at: app.hub.now(),
        password_changed_at: Some(app.hub.now()),
        last_login_at: None,
        disabled: false,
    };
    let _changing = app.auth.changing.lock().await;
    app.hub.audit(&source.actor("sign-in link"), "user.add", &name, "ok", BTreeMap::new()).await?;
    let added = account.clone();
    let used = app
        .hub
        .read(move |store| {
            let state = &store.state;
            // Looked at again: hashing took a while, and the link is for one.
            if !state.value(KEY)?.is_some_and(|kept| is(&kept, &presented)) || !state.accounts()?.is_empty() {
                return Err(StoreError::BadCode);
            }
            state.put_value(KEY, None)?;
            state.add_account(&added)
        })
        .await;
    match used {
        Err(HubError::Store(StoreError::BadCode)) => {
            return Err(Failure::forbidden("the sign-in link is not valid, or was used already"));
        }
        used => used?,
    }
    app.auth.forget();
    session::start(&app, &account, &source, &headers).await
}

fn is(kept: &[u8], presented: &SecretHash) -> bool {
    SecretHash::try_from(kept).is_ok_and(|kept| secrets::same(&kept, presented))
}
