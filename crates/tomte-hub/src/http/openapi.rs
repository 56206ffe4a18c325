//! The OpenAPI document, written from the list of routes.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use tomte_api::account::Role;
use tomte_api::{Problem, live};
use utoipa::OpenApi;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;

use super::routes::{self, Access};
use super::{App, session};

/// What is the same for all routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tomte",
        description = "The API of a Tomte hub. Errors are problems by RFC 9457. Lists come in pages: pass `next` as \
                       `cursor`. `GET /api/v1/live` is a WebSocket: the client sends LiveRequest, the hub sends \
                       LiveMessage, both as JSON text."
    ),
    components(schemas(Problem, live::Request, live::Message)),
    tags(
        (name = "hosts", description = "Machines, how they are added and managed"),
        (name = "resources", description = "The things on hosts, as they were last seen"),
        (name = "history", description = "How readings were"),
        (name = "events", description = "What happened"),
        (name = "live", description = "Changes as they happen"),
        (name = "accounts", description = "People, tokens, and signing in"),
        (name = "hub", description = "The hub itself"),
    )
)]
struct Common;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut document = Common::openapi();
    if let Some(components) = &mut document.components {
        let bearer = SecurityScheme::Http(
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API token.")).build(),
        );
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(session::COOKIE)));
        components.security_schemes.insert("token".to_owned(), bearer.into());
        components.security_schemes.insert("session".to_owned(), cookie.into());
    }
    let mut router = OpenApiRouter::<App>::with_openapi(document);
    for (access, (schemas, mut paths, methods)) in routes::list() {
        for item in paths.paths.values_mut() {
            let slots = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            for operation in slots.into_iter().flatten() {
                describe(operation, access);
            }
        }
        router = router.routes((schemas, paths, methods));
    }
    let mut json = router.into_openapi().to_pretty_json().expect("the document is plain data");
    json.push('\n');
    json
});

/// Adds what the list knows: who may, and what an error looks like.
fn describe(operation: &mut utoipa::openapi::path::Operation, access: Access) {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response =
        ResponseBuilder::new().description("A problem").content(tomte_api::problem::MEDIA_TYPE, problem).build();
    operation.responses.responses.insert("default".to_owned(), response.into());
    let role = match access {
        Access::Open => {
            operation.security = Some(vec![SecurityRequirement::default()]);
            return;
        }
        Access::Needs(role) => role,
    };
    let scopes: [&str; 0] = [];
    operation.security =
        Some(vec![SecurityRequirement::new("token", scopes), SecurityRequirement::new("session", scopes)]);
    let needs = match role {
        Role::Viewer => return,
        Role::Operator | Role::Admin => format!("Needs the role {role}."),
    };
    let text = operation.description.take().filter(|text| !text.is_empty());
    operation.description = Some(text.map_or(needs.clone(), |text| format!("{text}\n\n{needs}")));
}

/// The OpenAPI document: JSON, indented, with a line end. It is committed as
/// `docs/reference/openapi.json`.
#[must_use]
pub fn openapi() -> String {
    DOCUMENT.clone()
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "openapi", tag = "hub",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub(crate) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}
