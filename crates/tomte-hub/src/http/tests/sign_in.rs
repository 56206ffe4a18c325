//! The first sign-in, passwords, sessions and their cookies.

use super::*;
use crate::http::sign_in_link;

async fn post(hub: &TestHub, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
    hub.send(stranger(), request(Method::POST, path, headers, Some(body))).await
}

async fn login(hub: &TestHub, name: &str, password: &str) -> Answer {
    post(hub, "/api/v1/login", &[], json!({"name": name, "password": password})).await
}

async fn user(hub: &TestHub, name: &str, role: Role) {
    let body = json!({"name": name, "password": "correct horse", "role": role});
    let answer = hub.local(Method::POST, "/api/v1/users", Some(body)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
}

fn cookie(answer: &Answer) -> String {
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

const OWN: (&str, &str) = ("origin", "http://hub.lan");
const HOST: (&str, &str) = ("host", "hub.lan");

#[tokio::test]
async fn the_sign_in_link_makes_the_first_admin_and_works_once() {
    let hub = TestHub::new();
    let old = sign_in_link(&hub.hub).await.unwrap().unwrap();
    let link = sign_in_link(&hub.hub).await.unwrap().unwrap();
    let secret = |link: &str| link.split_once("/setup#secret=").unwrap().1.to_owned();
    let setup = |secret: String, password: &str| json!({"secret": secret, "name": "ada", "password": password});
    let refused = post(&hub, "/api/v1/setup", &[], setup(secret(&old), "correct horse")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "a newer link replaces the older one");
    let short = post(&hub, "/api/v1/setup", &[], setup(secret(&link), "short")).await;
    assert_eq!(short.status, StatusCode::UNPROCESSABLE_ENTITY, "and does not use the link up");
    let done = post(&hub, "/api/v1/setup", &[], setup(secret(&link), "correct horse")).await;
    assert_eq!((done.status, &done.json()["role"]), (StatusCode::OK, &json!("admin")), "{}", done.text);
    let me = hub.send(stranger(), request(Method::GET, "/api/v1/me", &[("cookie", &cookie(&done))], None)).await;
    assert_eq!(me.json()["name"], "ada");
    let again = post(&hub, "/api/v1/setup", &[], setup(secret(&link), "correct horse")).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
    assert_eq!(sign_in_link(&hub.hub).await.unwrap(), None);
}

#[tokio::test]
async fn a_session_lives_from_login_to_logout() {
    let hub = TestHub::new();
    user(&hub, "ada", Role::Admin).await;
    let answer = login(&hub, "ada", "correct horse").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let cookie = cookie(&answer);
    let own = [("cookie", cookie.as_str()), OWN, HOST];
    let me = hub.send(stranger(), request(Method::GET, "/api/v1/me", &own, None)).await;
    assert_eq!(me.json()["by"], "session");
    let out = hub.send(stranger(), request(Method::POST, "/api/v1/logout", &own, None)).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    let me = hub.send(stranger(), request(Method::GET, "/api/v1/me", &own, None)).await;
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_cookie_changes_something_only_from_our_own_pages_and_opens_no_foreign_socket() {
    let hub = TestHub::new();
    user(&hub, "ada", Role::Admin).await;
    let cookie = cookie(&login(&hub, "ada", "correct horse").await);
    let rename = async |headers: &[(&str, &str)]| {
        let headers = [headers, &[("cookie", cookie.as_str()), HOST]].concat();
        hub.send(stranger(), request(Method::DELETE, "/api/v1/hosts/none", &headers, None)).await.status
    };
    assert_eq!(rename(&[OWN]).await, StatusCode::NOT_FOUND, "allowed in");
    assert_eq!(rename(&[("origin", "http://evil.example")]).await, StatusCode::FORBIDDEN);
    assert_eq!(rename(&[]).await, StatusCode::FORBIDDEN);
    let socket = [
        ("cookie", cookie.as_str()),
        HOST,
        ("origin", "http://evil.example"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = hub.send(stranger(), request(Method::GET, "/api/v1/live", &socket, None)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.problem()["type"], "urn:tomte:problem:foreign-origin");
}

#[tokio::test]
async fn guessing_a_password_is_slowed_down_per_account_and_place() {
    let hub = TestHub::new();
    user(&hub, "ada", Role::Admin).await;
    user(&hub, "bob", Role::Viewer).await;
    let mut slowed = None;
    for attempt in 0..10 {
        if login(&hub, "ada", "wrong").await.status == StatusCode::TOO_MANY_REQUESTS {
            slowed = Some(attempt);
            break;
        }
    }
    assert!(slowed.is_some_and(|attempt| attempt >= 3), "a few are free: {slowed:?}");
    assert_eq!(
        login(&hub, "ada", "correct horse").await.status,
        StatusCode::TOO_MANY_REQUESTS,
        "not even the right one"
    );
    assert_eq!(login(&hub, "bob", "correct horse").await.status, StatusCode::OK, "another account is not concerned");
    let elsewhere = Peer::Remote { address: SocketAddr::from(([198, 51, 100, 1], 1)), tls: true };
    let body = json!({"name": "ada", "password": "correct horse"});
    let answer = hub.send(elsewhere, request(Method::POST, "/api/v1/login", &[], Some(body))).await;
    assert_eq!(answer.status, StatusCode::OK, "nor is another place");
    assert!(
        answer.headers["set-cookie"].to_str().unwrap().ends_with("; Secure"),
        "over TLS the cookie is for TLS only"
    );
    let unknown = login(&hub, "nobody", "whatever").await;
    let wrong = login(&hub, "bob", "whatever").await;
    assert_eq!((unknown.status, unknown.text), (wrong.status, wrong.text), "an answer does not tell who exists");
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_clients_address_counts() {
    let proxies = vec!["192.0.2.0/24".parse().unwrap()];
    let hub = TestHub::with(HubConfig { trusted_proxies: proxies, ..HubConfig::default() });
    user(&hub, "ada", Role::Admin).await;
    let from = async |client: &str, password: &str| {
        let body = json!({"name": "ada", "password": password});
        post(&hub, "/api/v1/login", &[("x-forwarded-for", client)], body).await.status
    };
    for _ in 0..8 {
        from("203.0.113.5", "wrong").await;
    }
    assert_eq!(from("203.0.113.5", "correct horse").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(from("203.0.113.6", "correct horse").await, StatusCode::OK);
}

#[tokio::test]
async fn the_last_admin_stays_and_a_new_password_ends_sessions() {
    let hub = TestHub::new();
    user(&hub, "ada", Role::Admin).await;
    user(&hub, "bob", Role::Viewer).await;
    let answer = hub.local(Method::DELETE, "/api/v1/users/ada", None).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    let answer = hub.local(Method::PUT, "/api/v1/users/ada/role", Some(json!({"role": "viewer"}))).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    let cookie = cookie(&login(&hub, "bob", "correct horse").await);
    let body = json!({"password": "another horse"});
    let answer = hub.local(Method::PUT, "/api/v1/users/bob/password", Some(body)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let me = hub.send(stranger(), request(Method::GET, "/api/v1/me", &[("cookie", &cookie)], None)).await;
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);
    assert_eq!(login(&hub, "bob", "another horse").await.status, StatusCode::OK);
    let audit = hub.get("/api/v1/audit?limit=3").await;
    assert_eq!(audit["items"][0]["action"], "session.start");
    assert_eq!(audit["items"][0]["address"], "192.0.2.7");
    assert_eq!(audit["items"][1]["action"], "user.password");
    assert_eq!(audit["items"][1]["actor"], "local");
    assert!(audit["next"].is_string());
    assert!(!audit.to_string().contains("horse"), "never a secret");
}
