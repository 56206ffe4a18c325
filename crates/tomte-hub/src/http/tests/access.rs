//! Who gets in: every route of the list, and what does not count as guessing.

use super::*;
use crate::http::routes::{Access, access_table};

/// What the documentation says is open; the list must agree.
const OPEN: &[(&str, &str)] = &[
    ("POST", "/api/v1/enroll"),
    ("POST", "/api/v1/login"),
    ("GET", "/api/v1/openapi.json"),
    ("POST", "/api/v1/setup"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
];

/// A path with parameters that make no sense: who may not pass must not learn
/// even that.
fn senseless(path: &str) -> String {
    let mut filled = String::new();
    let mut parts = path.split('{');
    filled.push_str(parts.next().unwrap());
    for part in parts {
        filled.push_str("%FF");
        filled.push_str(part.split_once('}').unwrap().1);
    }
    filled + "?limit=none&no_such=1"
}

const UPGRADE: &[(&str, &str)] = &[
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test]
async fn every_route_that_is_not_open_refuses_before_it_looks_at_anything_else() {
    let hub = TestHub::new();
    let (viewer, operator) = (hub.token("v", Role::Viewer).await, hub.token("o", Role::Operator).await);
    let routes = access_table().all();
    assert!(routes.len() > 40, "the list is there");
    let open: Vec<_> = routes.iter().filter(|(.., access)| *access == Access::Open).collect();
    let open: Vec<_> = open.iter().map(|(method, path, _)| (method.as_str(), path.as_str())).collect();
    assert_eq!(open, OPEN);
    for (method, path, access) in &routes {
        let Access::Needs(role) = access else { continue };
        let target = senseless(path);
        let ask = async |headers: &[(&str, &str)]| {
            let headers = [headers, UPGRADE].concat();
            let mut request = request(method.clone(), &target, &headers, None);
            *request.body_mut() = Body::from("{ not json");
            hub.send(stranger(), request).await
        };
        let nobody = ask(&[]).await;
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(nobody.headers["www-authenticate"], "Bearer realm=\"tomte\"");
        nobody.problem();
        for wrong in
            [("authorization", "Bearer tomte_a_wrong"), ("authorization", "Basic eDp5"), ("cookie", "tomte_session=x")]
        {
            let own = ("sec-fetch-site", "same-origin");
            let status = ask(&[wrong, own]).await.status;
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&status);
            assert!(refused, "{method} {path} with {wrong:?}: {status}");
        }
        for (token, has) in [(&viewer, Role::Viewer), (&operator, Role::Operator)] {
            let answer = ask(&[("authorization", &format!("Bearer {token}"))]).await;
            let may = has >= *role;
            assert_eq!(answer.status == StatusCode::FORBIDDEN, !may, "{method} {path} as {has}: {}", answer.text);
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} as {has}");
        }
    }
}

#[tokio::test]
async fn what_is_not_in_the_list_tells_strangers_nothing() {
    let hub = TestHub::new();
    for path in ["/api/v1/no-such-thing", "/api", "/metrics/x", "/api/v1/hosts/a/b/c/d/e"] {
        let answer = hub.send(stranger(), request(Method::GET, path, &[], None)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        let answer = hub.local(Method::GET, path, None).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        answer.problem();
    }
    let answer = hub.send(stranger(), request(Method::DELETE, "/api/v1/login", &[], None)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let answer = hub.local(Method::DELETE, "/api/v1/login", None).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    answer.problem();
}

#[tokio::test]
async fn requests_without_credentials_never_count_as_guesses_and_a_right_token_always_passes() {
    let hub = TestHub::new();
    let token = hub.token("t", Role::Viewer).await;
    for _ in 0..200 {
        let answer = hub.send(stranger(), request(Method::GET, "/api/v1/hosts", &[], None)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    let mut slowed = 0;
    for _ in 0..1_000 {
        let status = hub.with_token(Method::GET, "/api/v1/hosts", "tomte_a_wrong").await.status;
        slowed += usize::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(slowed > 900, "guessing is slowed down: {slowed}");
    let answer = hub.with_token(Method::GET, "/api/v1/hosts", "tomte_a_wrong").await;
    assert!(answer.problem()["retry_after_seconds"].as_u64().unwrap() > 0);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(hub.with_token(Method::GET, "/api/v1/hosts", &token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_ends_with_its_revocation_and_its_time() {
    let hub = TestHub::new();
    let token = hub.token("ci", Role::Viewer).await;
    assert_eq!(hub.with_token(Method::GET, "/api/v1/me", &token).await.json()["name"], "ci");
    let answer = hub.local(Method::DELETE, "/api/v1/tokens/ci", None).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(hub.with_token(Method::GET, "/api/v1/me", &token).await.status, StatusCode::UNAUTHORIZED);
    let soon = Timestamp::from_millis(START + 60_000);
    let body = json!({"name": "short", "role": "viewer", "expires_at": soon});
    let short = hub.local(Method::POST, "/api/v1/tokens", Some(body)).await.json()["token"].clone();
    let short = short.as_str().unwrap();
    assert_eq!(hub.with_token(Method::GET, "/api/v1/me", short).await.status, StatusCode::OK);
    hub.forward(60_000);
    assert_eq!(hub.with_token(Method::GET, "/api/v1/me", short).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_browsers_need() {
    let hub = TestHub::new();
    for path in ["/api/v1/hosts", "/healthz", "/", "/setup", "/some/page"] {
        let answer = hub.send(stranger(), request(Method::GET, path, &[], None)).await;
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer.headers["referrer-policy"], "no-referrer", "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
    }
    let page = hub.send(stranger(), request(Method::GET, "/setup", &[], None)).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("<title>Tomte</title>"), "{}", page.text);
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
    assert_eq!(
        hub.send(stranger(), request(Method::POST, "/", &[], None)).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_can_read_that() {
    let hub = TestHub::new();
    let request = request(Method::GET, "/api/v1/catalogue", &[("accept-encoding", "gzip")], None);
    let answer = hub.send(Peer::Local { uid: 0 }, request).await;
    assert_eq!(answer.headers["content-encoding"], "gzip");
}
