//! The page that says how to build the browser interface, served until one is
//! built into the hub.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const STYLE: &str = "body{font:16px/1.6 system-ui,sans-serif;max-width:42em;margin:10vh auto;padding:0 1em;\
color:#222;background:#fbfaf8}code{background:#eceae6;padding:.1em .4em;border-radius:4px}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181715}code{background:#2b2926}}";

static PAGE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Tomte</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<h1>Tomte keeps watch</h1>\n\
         <p>This hub is running, but it was built without the browser interface.</p>\n\
         <p>To have it, install Node.js, run <code>make web</code> in the source tree and build the hub again.</p>\n\
         <p>Meanwhile the command line shows everything: <code>tomte host list</code>, \
         <code>tomte query --help</code>. The API is described at \
         <a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a>.</p>\n</body>\n</html>\n"
    )
});

/// Nothing but the one inline style, known by its hash.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("base64 and plain words make a header")
});

/// The page.
pub(super) fn page() -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    (StatusCode::OK, headers, PAGE.as_str()).into_response()
}
