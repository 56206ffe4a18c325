//! What every request passes: who is asking and from where, whether the list
//! of routes lets them, and the headers that every answer carries.
//!
//! Whoever may not pass is told so before anything else of the request is
//! looked at: path parameters, query, body, upgrade.

use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tomte_api::account::{Credential, Role};

use super::auth::{Auth, Identity, hash};
use super::problem::Failure;
use super::source::Source;
use super::{Access, App, session, ui};
use crate::access::{Forbidden, Peer};
use crate::secrets;

/// How long a request may take, its body included.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The gate, as a layer around all routes and the fallbacks.
pub(crate) async fn pass(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let programs = ui::is_for_programs(parts.uri.path());
    let mut response = match check(&app, &mut parts).await {
        Ok(()) => match tokio::time::timeout(TIMEOUT, next.run(Request::from_parts(parts, body))).await {
            Ok(response) => response,
            Err(_) => Failure::unavailable("timeout", "it took too long").into_response(),
        },
        Err(failure) => failure.into_response(),
    };
    put_headers(response.headers_mut(), programs);
    response
}

async fn check(app: &App, request: &mut Parts) -> Result<(), Failure> {
    let peer = request.extensions.get::<Peer>().copied();
    let resolved = app.hub.resolved();
    let trusted = |address| resolved.config.trusted_proxies.iter().any(|network| network.contains(address));
    let source = Source::of(peer, &request.headers, trusted);
    request.extensions.insert(source);
    let Access::Needs(needed) = access(app, request) else { return Ok(()) };
    let identity = identify(app, peer, request, &source).await?;
    if identity.caller.role < needed {
        return Err(Forbidden { needed }.into());
    }
    request.extensions.insert(identity);
    Ok(())
}

/// What the list of routes asks for. Paths that are not in it are for those
/// who may look, unless they belong to the browser interface.
fn access(app: &App, request: &Parts) -> Access {
    let Some(path) = request.extensions.get::<MatchedPath>() else {
        let programs = ui::is_for_programs(request.uri.path());
        return if programs { Access::Needs(Role::Viewer) } else { Access::Open };
    };
    // HEAD is GET without the body.
    let method = if request.method == Method::HEAD { &Method::GET } else { &request.method };
    app.access.of(method, path.as_str())
}

async fn identify(app: &App, peer: Option<Peer>, request: &Parts, source: &Source) -> Result<Identity, Failure> {
    if let Some(Peer::Local { .. }) = peer {
        return Ok(Auth::local(source));
    }
    if let Some(value) = request.headers.get(header::AUTHORIZATION) {
        let token = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| Failure::unauthorised("send the token as Authorization: Bearer TOKEN"))?;
        return known(app, Credential::Token, token, source).await;
    }
    let Some(cookie) = session::cookie(&request.headers) else {
        return Err(Failure::unauthorised("no credentials were given"));
    };
    // A cookie comes along whether its owner meant it or not: what changes
    // something, and what can be listened to, must come from our own pages.
    let safe = [Method::GET, Method::HEAD].contains(&request.method);
    let upgrade = request.headers.contains_key(header::UPGRADE);
    if (!safe || upgrade) && !is_own_page(&request.headers, &app.hub.public_url()) {
        return Err(Failure::new(
            axum::http::StatusCode::FORBIDDEN,
            "foreign-origin",
            "The request comes from a page of another site",
        ));
    }
    known(app, Credential::Session, cookie, source).await
}

/// Looks a secret up. Right ones pass however many wrong ones came from the
/// same place; wrong ones are slowed down.
async fn known(app: &App, by: Credential, secret: &str, source: &Source) -> Result<Identity, Failure> {
    if let Some(identity) = app.auth.identify(&app.hub, by, hash(secret), source).await? {
        return Ok(identity);
    }
    // A session that has ended is nobody's guess at a password.
    if by == Credential::Session {
        return Err(Failure::unauthorised("the session has ended: sign in again"));
    }
    let what = format!("token {}", secrets::prefix(secret));
    if let Some(wait) = app.auth.wait(&what, source) {
        return Err(Failure::back_off(wait));
    }
    app.auth.failed(&what, source);
    Err(Failure::unauthorised("the token is not valid"))
}

/// Whether the page that a browser's request comes from is one of ours.
fn is_own_page(headers: &HeaderMap, public_url: &str) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
    };
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|text| text.split_once("://")) else { return false };
    let asked = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let public = public_url.split_once("://").and_then(|(_, rest)| rest.split('/').next());
    ["http", "https"].contains(&scheme)
        && [asked, public].into_iter().flatten().any(|own| own.eq_ignore_ascii_case(authority))
}

const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

fn put_headers(headers: &mut HeaderMap, programs: bool) {
    let mut put = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::X_FRAME_OPTIONS, "DENY");
    put(header::REFERRER_POLICY, "no-referrer");
    put(header::CONTENT_SECURITY_POLICY, POLICY);
    put(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    put(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    if programs {
        put(header::CACHE_CONTROL, "no-store");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_may_use_a_cookie_to_change_something() {
        let own = |pairs: &[(&'static str, &'static str)]| {
            let headers =
                pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect();
            is_own_page(&headers, "https://hub.example/tomte")
        };
        assert!(own(&[("origin", "http://10.0.0.1:8420"), ("host", "10.0.0.1:8420")]));
        assert!(own(&[("origin", "https://hub.example"), ("host", "127.0.0.1:8420")]), "behind a proxy");
        assert!(own(&[("sec-fetch-site", "same-origin")]));
        assert!(!own(&[("origin", "https://evil.example"), ("host", "hub.example")]));
        assert!(!own(&[("origin", "null"), ("host", "hub.example")]));
        assert!(!own(&[("sec-fetch-site", "same-site")]));
        assert!(!own(&[("host", "hub.example")]), "a browser tells; who does not tell is not believed");
    }
}
