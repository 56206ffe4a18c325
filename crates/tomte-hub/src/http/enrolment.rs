//! How agents get in: codes, the exchange of a code for a token, new tokens.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tomte_api::host::{AddHost, EnrolRequest, Enrolled, Enrolment, HostToken};

use super::App;
use super::extract::{Json as Body, OfHost};
use super::hosts::host_name;
use super::problem::Failure;
use super::source::Source;
use crate::access::Admin;
use crate::view::{self, Invitation};

fn enrolment(invitation: Invitation) -> Enrolment {
    Enrolment {
        name: invitation.name.into(),
        code: invitation.code,
        line: invitation.line,
        expires_at: invitation.expires_at,
    }
}

/// Makes an enrolment code for a new host: single use, ten minutes.
#[utoipa::path(post, path = "/api/v1/hosts", tag = "hosts", request_body = AddHost,
    responses((status = 201, body = Enrolment)))]
pub(crate) async fn add_host(
    by: Admin,
    State(app): State<App>,
    Body(body): Body<AddHost>,
) -> Result<(StatusCode, Json<Enrolment>), Failure> {
    let invitation = app.hub.add_host(&by, host_name(body.name)?, body.roles).await?;
    Ok((StatusCode::CREATED, Json(enrolment(invitation))))
}

/// Makes an enrolment code that lets the agent of a known host in again.
#[utoipa::path(post, path = "/api/v1/hosts/{host}/enrolment", operation_id = "invite_host_again", tag = "hosts",
    params(("host" = String, Path, description = "Name, alias or id")),
    responses((status = 201, body = Enrolment)))]
pub(crate) async fn invite_again(
    by: Admin,
    of: OfHost,
    State(app): State<App>,
) -> Result<(StatusCode, Json<Enrolment>), Failure> {
    let invitation = app.hub.invite_again(&by, of.id).await?;
    Ok((StatusCode::CREATED, Json(enrolment(invitation))))
}

/// Lets an agent in that brings the secret of an enrolment code.
#[utoipa::path(post, path = "/api/v1/enroll", tag = "hosts", request_body = EnrolRequest,
    responses((status = 200, body = Enrolled)))]
pub(crate) async fn enroll(
    State(app): State<App>,
    source: Source,
    Body(body): Body<EnrolRequest>,
) -> Result<Json<Enrolled>, Failure> {
    const WHAT: &str = "enrolment code";
    let decode = |what: &str, text: &str| {
        URL_SAFE_NO_PAD.decode(text).map_err(|_| Failure::invalid(format!("{what} is not base64url without padding")))
    };
    let request = view::EnrolRequest {
        secret: decode("secret", &body.secret)?,
        host: body.host_id,
        hostname: body.hostname.chars().take(255).collect(),
        public_key: decode("public_key", &body.public_key)?,
        agent_version: body.agent_version.chars().take(100).collect(),
    };
    let actor = source.actor(format!("host:{}", body.host_id));
    match app.hub.enrol(request, &actor).await {
        Ok(enrolled) => {
            app.auth.succeeded(WHAT, &source);
            Ok(Json(Enrolled { host_id: enrolled.host, name: enrolled.name.into(), token: enrolled.token }))
        }
        Err(error @ crate::HubError::Refused(_)) => {
            // A code that is right passes however many wrong ones came before.
            if let Some(wait) = app.auth.wait(WHAT, &source) {
                return Err(Failure::back_off(wait));
            }
            app.auth.failed(WHAT, &source);
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes a new token for a host's agent. The old one works until the new one
/// is first used.
#[utoipa::path(post, path = "/api/v1/hosts/{host}/token", operation_id = "rotate_host_token", tag = "hosts",
    params(("host" = String, Path, description = "Name, alias or id")),
    responses((status = 201, body = HostToken)))]
pub(crate) async fn rotate_token(
    by: Admin,
    of: OfHost,
    State(app): State<App>,
) -> Result<(StatusCode, Json<HostToken>), Failure> {
    let token = app.hub.rotate_token(&by, of.id).await?;
    Ok((StatusCode::CREATED, Json(HostToken { token })))
}

/// Ends all tokens of a host's agent at once, and its connection.
#[utoipa::path(delete, path = "/api/v1/hosts/{host}/token", operation_id = "revoke_host_tokens", tag = "hosts",
    params(("host" = String, Path, description = "Name, alias or id")),
    responses((status = 204)))]
pub(crate) async fn revoke_tokens(by: Admin, of: OfHost, State(app): State<App>) -> Result<StatusCode, Failure> {
    app.hub.revoke_tokens(&by, of.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
