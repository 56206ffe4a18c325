//! The browser interface: its files, as `build.rs` embedded them, and the page
//! that every path of its own gets. Without them, a page that says how to build
//! it ([`unbuilt`]).
//!
//! The interface finds everything relative to the page's `<base>`, which is
//! told here, as a way up from the path that was asked for. So it works under
//! whatever path a proxy puts it at, as long as the proxy takes that path away.

mod unbuilt;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::problem::Failure;

/// A file of the interface.
#[derive(Debug, Clone, Copy)]
struct File {
    /// From the interface's root, without a leading slash.
    path: &'static str,
    /// Says which content it is.
    tag: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// What was built, in the order of the paths; nothing when nothing was.
const BUILT: &[File] = include!(concat!(env!("OUT_DIR"), "/web.rs"));

const INDEX: &str = "index.html";

/// Where the page says what it is relative to, as it was built.
const BASE: &str = "<base href=\"/\" />";

/// Our own scripts, styles and connections; nothing inline, nothing from
/// elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      manifest-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

/// Names of such files change with their content.
const FOREVER: &str = "public, max-age=31536000, immutable";
/// Asked for again each time, and mostly answered with "as you have it".
const ASK: &str = "no-cache";

/// Whether a path belongs to programs rather than to the browser interface.
pub(crate) fn is_for_programs(path: &str) -> bool {
    ["/api", "/metrics", "/link", "/healthz", "/readyz"]
        .iter()
        .any(|own| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Answers paths that are not in the list of routes: what is for programs with
/// a problem, the rest with the interface, since it has paths of its own.
pub(crate) async fn fallback(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if is_for_programs(uri.path()) {
        return Failure::no_such_path().into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return super::problem::method_not_allowed().await.into_response();
    }
    serve(BUILT, uri.path(), &headers)
}

fn serve(files: &[File], path: &str, asked: &HeaderMap) -> Response {
    let find = |path: &str| files.iter().find(|file| file.path == path);
    let Some(index) = find(INDEX) else { return unbuilt::page() };
    let wanted = path.trim_start_matches('/');
    if let Some(file) = find(wanted).filter(|file| file.path != INDEX) {
        return answer(file, asked);
    }
    // A part of an older interface that a browser still shows: not the page.
    if wanted.starts_with("assets/") || wanted.starts_with("icons/") {
        return (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, ASK)]).into_response();
    }
    page(index, path, asked)
}

/// A file, in the shortest form that the browser takes.
fn answer(file: &File, asked: &HeaderMap) -> Response {
    let mut headers = HeaderMap::new();
    let mut put = |name, value: &str| {
        headers.insert(name, HeaderValue::from_str(value).expect("plain words make a header"));
    };
    let (body, encoding) = [("br", file.brotli), ("gzip", file.gzip)]
        .into_iter()
        .find_map(|(name, packed)| Some((packed.filter(|_| takes(asked, name))?, Some(name))))
        .unwrap_or((file.plain, None));
    // The forms of a file are different answers, so each has its own tag.
    let tag = format!("\"{}{}\"", file.tag, encoding.map(|name| format!("-{name}")).unwrap_or_default());
    put(header::ETAG, &tag);
    put(header::VARY, "accept-encoding");
    put(header::CACHE_CONTROL, if file.path.starts_with("assets/") { FOREVER } else { ASK });
    // An image of ours may be opened by itself. And a browser takes the headers
    // of "as you have it" for those of what it has.
    put(header::CONTENT_SECURITY_POLICY, POLICY);
    if has(asked, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let mut put = |name, value: &str| {
        headers.insert(name, HeaderValue::from_str(value).expect("plain words make a header"));
    };
    put(header::CONTENT_TYPE, media_type(file.path));
    if let Some(encoding) = encoding {
        put(header::CONTENT_ENCODING, encoding);
    }
    (StatusCode::OK, headers, body).into_response()
}

/// The page, told what it is relative to.
fn page(index: &File, path: &str, asked: &HeaderMap) -> Response {
    let up = path.trim_start_matches('/').matches('/').count();
    let base = if up == 0 { "./".to_owned() } else { "../".repeat(up) };
    let tag = format!("\"{}-{up}\"", index.tag);
    let mut headers = HeaderMap::new();
    let mut put = |name, value: &str| {
        headers.insert(name, HeaderValue::from_str(value).expect("plain words make a header"));
    };
    put(header::CACHE_CONTROL, ASK);
    put(header::ETAG, &tag);
    put(header::CONTENT_SECURITY_POLICY, POLICY);
    if has(asked, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let mut put = |name, value: &str| {
        headers.insert(name, HeaderValue::from_str(value).expect("plain words make a header"));
    };
    put(header::CONTENT_TYPE, "text/html; charset=utf-8");
    let text = String::from_utf8_lossy(index.plain).replacen(BASE, &format!("<base href=\"{base}\" />"), 1);
    (StatusCode::OK, headers, text).into_response()
}

/// Whether the browser takes an encoding.
fn takes(asked: &HeaderMap, encoding: &str) -> bool {
    asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|text| {
        text.split(',').any(|one| {
            let (name, rest) = one.split_once(';').unwrap_or((one, ""));
            let weight = rest.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok()).unwrap_or(1.0);
            name.trim().eq_ignore_ascii_case(encoding) && weight > 0.0
        })
    })
}

/// Whether the browser has this content already.
fn has(asked: &HeaderMap, tag: &str) -> bool {
    asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|text| text.split(',').any(|one| one.trim().trim_start_matches("W/") == tag))
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    const FILES: &[File] = &[
        File { path: "assets/app-1.js", tag: "a", plain: b"plain", brotli: Some(b"brotli"), gzip: Some(b"gzip") },
        File { path: "icons/tomte.png", tag: "b", plain: b"png", brotli: None, gzip: None },
        File { path: INDEX, tag: "c", plain: b"<head><base href=\"/\" /></head>", brotli: None, gzip: None },
    ];

    async fn get(path: &str, asked: &[(header::HeaderName, &'static str)]) -> (StatusCode, HeaderMap, String) {
        let asked = asked.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        let response = serve(FILES, path, &asked);
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a whole body");
        (parts.status, parts.headers, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn a_file_comes_in_the_shortest_form_that_is_taken() {
        for (accepted, body, encoding) in [
            ("gzip, deflate, br", "brotli", Some("br")),
            ("gzip", "gzip", Some("gzip")),
            ("br;q=0, gzip;q=0.5", "gzip", Some("gzip")),
            ("identity", "plain", None),
        ] {
            let (status, headers, got) = get("/assets/app-1.js", &[(header::ACCEPT_ENCODING, accepted)]).await;
            assert_eq!((status, got.as_str()), (StatusCode::OK, body), "{accepted}");
            assert_eq!(headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().expect("text")), encoding);
            assert_eq!(headers[header::CACHE_CONTROL], FOREVER);
            assert_eq!(headers[header::VARY], "accept-encoding");
        }
    }

    #[tokio::test]
    async fn what_the_browser_has_is_not_sent_again() {
        let (_, headers, _) = get("/icons/tomte.png", &[]).await;
        assert_eq!(headers[header::CACHE_CONTROL], ASK);
        assert_eq!(headers[header::ETAG], "\"b\"");
        for (path, tag) in [("/icons/tomte.png", "\"x\", W/\"b\""), ("/hosts/nas", "\"c-1\"")] {
            let (status, headers, body) = get(path, &[(header::IF_NONE_MATCH, tag)]).await;
            assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path}");
            // What the browser has would else be under the policy for programs.
            assert_eq!(headers[header::CONTENT_SECURITY_POLICY], POLICY, "{path}");
        }
        // Another form is another answer.
        let asked = [(header::IF_NONE_MATCH, "\"a\""), (header::ACCEPT_ENCODING, "br")];
        assert_eq!(get("/assets/app-1.js", &asked).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn the_page_finds_its_root_from_any_path() {
        for (path, base) in [("/", "./"), ("/events", "./"), ("/hosts/nas", "../"), ("/hosts/a%2Fb/charts", "../../")] {
            let (status, headers, body) = get(path, &[]).await;
            assert_eq!((status, body), (StatusCode::OK, format!("<head><base href=\"{base}\" /></head>")), "{path}");
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
            assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
        }
        assert_eq!(get("/assets/app-0.js", &[]).await.0, StatusCode::NOT_FOUND, "of an older build");
    }

    #[tokio::test]
    async fn without_an_interface_a_page_says_how_to_build_it() {
        let response = serve(&[], "/hosts/nas", &HeaderMap::new());
        let body = to_bytes(response.into_body(), 1 << 20).await.expect("a whole body");
        assert!(String::from_utf8_lossy(&body).contains("make web"));
    }

    #[test]
    fn what_was_built_has_its_page_and_says_where_its_base_is() {
        let Some(index) = BUILT.iter().find(|file| file.path == INDEX) else {
            assert!(BUILT.is_empty(), "files without a page");
            return;
        };
        assert!(String::from_utf8_lossy(index.plain).contains(BASE));
    }
}
