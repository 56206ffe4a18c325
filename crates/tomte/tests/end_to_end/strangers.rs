//! People and programs that should not get in, or that say what makes no
//! sense. They are slowed down, told why, written down; everybody else goes on.

use std::net::TcpStream;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;
use tomte_api::account::Role;
use tomte_link::{CloseCode, Lane, MAX_MESSAGE};
use tomte_model::{BootId, Facet, HostId, Moment, Position, Report, Scope, Timestamp};

use super::support::*;

/// A hub that believes what proxies on this machine say of addresses.
fn behind_a_proxy() -> Hub {
    Hub::configured("trusted_proxies = [\"127.0.0.0/8\"]\n")
}

fn add_user(hub: &Hub, name: &str, password: &str) {
    let user = tomte_api::account::AddUser { name: name.into(), password: password.into(), role: Role::Viewer };
    block_on(hub.client().add_user(&user)).unwrap();
}

fn login(http: &mut Http, name: &str, password: &str, from: &str) -> u16 {
    let body = serde_json::json!({ "name": name, "password": password }).to_string();
    http.ask("POST", "/api/v1/login", &[("x-forwarded-for", from)], &body).expect("an answer").status
}

/// One place tries a thousand passwords, the owner signs in from another one.
#[test]
fn a_thousand_wrong_passwords_slow_down_only_who_guesses() {
    let hub = behind_a_proxy();
    add_user(&hub, "alice", "correct horse battery");
    add_user(&hub, "bob", "staple of the trade");
    let mut http = Http::connect(&hub.url);
    let mut answers = std::collections::BTreeMap::<u16, u32>::new();
    for guess in 0..1_000 {
        let status = login(&mut http, "alice", &format!("guess number {guess}"), "198.51.100.7");
        *answers.entry(status).or_default() += 1;
        // Meanwhile others come and go as they like.
        if guess % 200 == 100 {
            assert_eq!(login(&mut http, "alice", "correct horse battery", "203.0.113.5"), 200, "from home");
            assert_eq!(login(&mut http, "bob", "staple of the trade", "198.51.100.7"), 200, "somebody else there");
        }
    }
    assert_eq!(answers.values().sum::<u32>(), 1_000);
    assert!(answers.keys().all(|status| [401, 429].contains(status)), "{answers:?}");
    assert!(answers[&429] > 950, "slowed down: {answers:?}");
    // An invented address in front of what the proxy wrote helps nobody.
    let invented = "203.0.113.5, 198.51.100.7";
    assert_eq!(login(&mut http, "alice", "guess number 1001", invented), 429);
    assert_eq!(login(&mut http, "alice", "correct horse battery", "203.0.113.5"), 200, "and afterwards");
    // A request without credentials is nobody's guess.
    for _ in 0..50 {
        assert_eq!(http.ask("GET", "/api/v1/hosts", &[("x-forwarded-for", "203.0.113.9")], "").unwrap().status, 401);
    }
}

#[test]
fn a_thousand_wrong_tokens_keep_neither_program_nor_agent_out() {
    let hub = behind_a_proxy();
    let token = hub.tomte(&["token", "add", "program", "--role", "viewer"]);
    let good = format!("Bearer {}", token.trim());
    let agent = block_on(SimulatedAgent::new(&hub, "reef"));
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "tomte.v1"),
    ];
    let mut http = Http::connect(&hub.url);
    for (path, extra) in [("/api/v1/hosts", &[][..]), ("/link", &upgrade[..])] {
        let mut slowed = 0;
        for guess in 0..1_000 {
            // All from behind the proxy that the good ones are behind, too.
            let wrong = format!("Bearer tomte_h_guess{guess:030}");
            let mut headers = vec![("authorization", wrong.as_str()), ("x-forwarded-for", "198.51.100.7")];
            headers.extend_from_slice(extra);
            let status = http.ask("GET", path, &headers, "").expect("an answer").status;
            assert!([401, 429].contains(&status), "{path}: {status}");
            slowed += u32::from(status == 429);
            if guess % 200 == 100 {
                let headers = [("authorization", good.as_str()), ("x-forwarded-for", "198.51.100.7")];
                assert_eq!(http.ask("GET", "/api/v1/hosts", &headers, "").unwrap().status, 200);
                block_on(agent.flood(1));
            }
        }
        assert!(slowed > 500, "{path}: {slowed} were slowed down");
    }
    in_time("the good agent", async {
        agent.until_all_acked().await;
        assert_eq!(agent.acked().welcomes, 1, "its connection was left alone");
        // One that has to connect anew passes as well.
        let again = SimulatedAgent::start("reef", agent.host, agent.token.clone(), hub.address(), Default::default());
        again.flood(5).await;
        again.until_all_acked().await;
        let refused = counter(&hub.client(), "tomte_hub_link_tokens_refused_total").await;
        assert_eq!(refused, 1_000);
        // Written down, but not a thousand times.
        let audit = hub.client().audit(1_000, None).await.unwrap().items;
        let lines = audit.iter().filter(|line| line.action == "link.connect").count();
        assert!((1..100).contains(&lines), "{lines} lines of the audit");
        assert!(audit.iter().any(|line| line.address.as_deref() == Some("198.51.100.7")));
    });
}

fn report(host: HostId) -> Report {
    let mut facet = Facet::owner("disk", "sda", "io");
    facet.read("read_bytes_per_second", 666.0);
    Report {
        host,
        collector: "disk".into(),
        position: Position { epoch: 1, sequence: 1 },
        boot_id: BootId(1),
        moment: Moment { wall: Timestamp::from_millis(1_790_000_000_000), boot_millis: 1_000 },
        clock_synchronised: true,
        interval_millis: 10_000,
        scopes: vec![Scope::complete("disk", vec![facet])],
        events: Vec::new(),
    }
}

/// A stolen token is good for one host: neither can its bearer say to be
/// another one, nor report for it.
#[test]
fn a_hosts_token_is_good_for_no_other_host() {
    let hub = Hub::start();
    in_time("the refusals", async {
        let client = hub.client();
        let (_, _) = enrol(&hub, "vault").await;
        let vault = client.host("vault").await.unwrap().id;
        let (host, token) = enrol(&hub, "reef").await;
        let mut pretender = Stranger::connect(&hub.url, &token, vault).await.unwrap();
        pretender.say(pretender.link.hello()).await;
        let Said::Closed(code, reason) = pretender.end().await else { panic!("without a word") };
        assert_eq!(code, CloseCode::Forbidden.code(), "{reason}");
        assert!(reason.contains("another host"), "{reason}");

        let mut reporter = Stranger::welcomed(&hub.url, &token, host).await;
        for message in reporter.link.report(&report(vault), Lane::Live).unwrap() {
            reporter.say(message).await;
        }
        let Said::Closed(code, reason) = reporter.end().await else { panic!("without a word") };
        assert_eq!(code, CloseCode::Forbidden.code(), "{reason}");
        assert!(reason.contains("does not cover"), "{reason}");

        let told = event_of(&client, "token_refused").await;
        assert_eq!((told.host.as_deref(), told.details["host"].as_str()), (Some("reef"), "vault"));
        let audit = client.audit(100, None).await.unwrap().items;
        let line = audit.iter().find(|line| line.action == "link.report").expect("a line of the audit");
        assert_eq!((line.actor.as_str(), line.target.as_deref()), ("host:reef", Some("vault")));
        assert!(line.address.is_some() && line.outcome.contains("refused"), "{line:?}");
        assert!(client.host_resources("vault", None).await.unwrap().is_empty(), "nothing of it was taken in");

        // What was granted, it may.
        client.add_grant("reef", "vault").await.unwrap();
        let mut reporter = Stranger::welcomed(&hub.url, &token, host).await;
        for message in reporter.link.report(&report(vault), Lane::Live).unwrap() {
            reporter.say(message).await;
        }
        reporter.until("ack", |said| matches!(said, tomte_link::FromHub::Ack { .. }).then_some(())).await;
        assert_eq!(client.host_resources("vault", None).await.unwrap().len(), 1);
    });
}

/// A frame of the link: its type and length, then anything.
fn frame(kind: u8, contents: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind << 3 | 2];
    let mut length = contents.len();
    while length >= 0x80 {
        frame.push(length as u8 | 0x80);
        length >>= 7;
    }
    frame.push(length as u8);
    frame.extend_from_slice(contents);
    frame
}

/// Everything that a hostile agent may send ends its own connection, with a
/// code and a reason, and nobody else's.
#[test]
fn hostile_messages_are_answered_and_the_hub_lives() {
    let hub = Hub::start();
    let good = block_on(SimulatedAgent::new(&hub, "good"));
    in_time("the answers", async {
        let (host, token) = enrol(&hub, "bad").await;
        let random: Vec<u8> = (0..5_000).map(|_| fastrand::u8(..)).collect();
        let hello = Stranger::connect(&hub.url, &token, host).await.unwrap().link.hello();
        let report = {
            let mut stranger = Stranger::welcomed(&hub.url, &token, host).await;
            stranger.link.report(&report(host), Lane::Live).unwrap().remove(0)
        };
        let cut: Bytes = report.slice(..report.len() - 3);

        // Before the handshake.
        let early: [(&str, Message); 5] = [
            ("a report before the hello", Message::Binary(report.clone())),
            ("an empty message", Message::Binary(Bytes::new())),
            ("a hello cut off", Message::Binary(hello.slice(..hello.len() / 2))),
            ("a hello of a megabyte", Message::Binary(frame(1, &vec![0x7a; 1 << 20]).into())),
            ("text", Message::text("let me in")),
        ];
        for (what, message) in early {
            let mut stranger = Stranger::connect(&hub.url, &token, host).await.unwrap();
            let _ = stranger.socket.send(message).await;
            assert_told(what, stranger.end().await);
        }

        // After it.
        let mut endless = frame(2, &[0x0a; 64]);
        endless[1] = 0xff;
        let late: [(&str, Message); 7] = [
            ("a second hello", Message::Binary(hello)),
            ("a report cut off", Message::Binary(cut)),
            ("noise", Message::Binary(random.into())),
            ("a length beyond the end", Message::Binary(endless.into())),
            ("a varint that never ends", Message::Binary(vec![0xff; 64].into())),
            ("text", Message::text("\u{1f41f}".repeat(100))),
            ("more than a message may be", Message::Binary(vec![0; MAX_MESSAGE + 1].into())),
        ];
        for (what, message) in late {
            let mut stranger = Stranger::welcomed(&hub.url, &token, host).await;
            let _ = stranger.socket.send(message).await;
            assert_told(what, stranger.end().await);
        }

        // Two hundred connections that say half a request and stay.
        let address = hub.url.trim_start_matches("http://").to_owned();
        let half: Vec<TcpStream> = (0..200)
            .map(|_| {
                let mut stream = TcpStream::connect(&address).unwrap();
                std::io::Write::write_all(&mut stream, b"GET /link HTTP/1.1\r\nauthoriz").unwrap();
                stream
            })
            .collect();
        good.flood(300).await;
        good.until_all_acked().await;
        assert_eq!(good.acked().welcomes, 1, "its connection was left alone");
        drop(half);
        let malformed = counter(&hub.client(), "tomte_hub_link_malformed_total").await;
        assert!(malformed >= 10, "{malformed} were counted");
    });
    assert_eq!(Http::connect(&hub.url).ask("GET", "/healthz", &[], "").unwrap().status, 200);
}

fn assert_told(what: &str, said: Said) {
    match said {
        Said::Closed(code, reason) => {
            let codes = [CloseCode::Malformed, CloseCode::TooLarge, CloseCode::NoCommonVersion].map(CloseCode::code);
            assert!(codes.contains(&code) && !reason.is_empty(), "{what}: {code} {reason:?}");
        }
        Said::HungUp => panic!("{what}: the hub hung up without a word"),
    }
}

/// The API is no softer: each of these gets a problem, and the connection or
/// the next one goes on.
#[test]
fn hostile_requests_are_answered_and_the_hub_lives() {
    let hub = Hub::start();
    let token = hub.tomte(&["token", "add", "program", "--role", "admin"]);
    let bearer = format!("Bearer {}", token.trim());
    let ask = |method: &str, path: &str, body: &str| {
        let mut http = Http::connect(&hub.url);
        http.ask(method, path, &[("authorization", &bearer)], body).expect("an answer")
    };
    let deep = "[".repeat(20_000);
    let cases = [
        ("POST", "/api/v1/hosts", "{", 400),
        ("POST", "/api/v1/hosts", deep.as_str(), 422),
        ("POST", "/api/v1/hosts", "{\"name\":\"x\",\"fish\":1}", 422),
        ("POST", "/api/v1/hosts", "{\"name\":\"../../etc\"}", 422),
        ("GET", "/api/v1/hosts/%2e%2e%2f%2e%2e/resources", "", 404),
        ("GET", "/api/v1/hosts/%ff%fe", "", 400),
        ("GET", "/api/v1/history?series=nonsense&from=-1h", "", 400),
        ("GET", "/api/v1/history?kind=cpu&field=usage_ratio&from=-1h&step=0s", "", 400),
        ("GET", "/api/v1/history?kind=[&from=-1h", "", 400),
        ("GET", "/api/v1/events?limit=-1", "", 400),
        ("DELETE", "/api/v1/hosts", "", 405),
    ];
    for (method, path, body, expected) in cases {
        let answer = ask(method, path, body);
        let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let shown = format!("{method} {path}: {} {}", answer.status, answer.body);
        assert!(answer.status == expected && problem["status"] == expected, "{shown}");
        assert!(answer.header("content-type") == Some("application/problem+json"), "{shown}");
    }
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(3 << 20));
    let status = Http::connect(&hub.url).ask("POST", "/api/v1/hosts", &[("authorization", &bearer)], &huge);
    // It may hang up on who sends more than it was told.
    assert!(status.is_none_or(|answer| answer.status == 413));
    let mut http = Http::connect(&hub.url);
    http.send(&[0x16, 0x03, 0x01, 0, 200, 0xff, 0xfe]).unwrap();
    http.send(&[0; 70_000]).ok();
    assert!(http.answer().is_none_or(|answer| answer.status == 400));
    assert_eq!(ask("GET", "/api/v1/hosts", "").status, 200);
}
