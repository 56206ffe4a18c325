//! The live stream over real sockets, through the typed client.

use tomte_api::client::{Client, Credentials, Endpoint, LiveStream, Trust};
use tomte_api::live::{Body as Told, Delta, Message, Snapshot, Subscribe};
use tomte_api::resource::Resource;
use tomte_model::ResourceKey;

use super::*;
use crate::live::Change;

/// Serves the hub on a port of its own, to somebody on the network.
async fn serve(hub: &TestHub) -> Endpoint {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = hub.router.clone().layer(axum::Extension(stranger()));
    let stop = hub.hub.stopping();
    tokio::spawn(async move {
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await.unwrap();
    });
    format!("http://{address}").parse().unwrap()
}

async fn client(hub: &TestHub, token: &str) -> Client {
    let credentials = Credentials::new(token, "the test");
    Client::new(serve(hub).await, Some(credentials), &Trust::System).unwrap()
}

fn watch(id: &str) -> Subscribe {
    Subscribe { id: id.into(), every_s: Some(1), events: false, resources: true, ..Subscribe::default() }
}

async fn next(stream: &mut LiveStream) -> Message {
    stream.next().await.unwrap().expect("the stream goes on")
}

async fn snapshot(stream: &mut LiveStream) -> Snapshot {
    match next(stream).await.body {
        Told::Snapshot(snapshot) => snapshot,
        other => panic!("not a snapshot: {other:?}"),
    }
}

async fn delta(stream: &mut LiveStream) -> Delta {
    match next(stream).await.body {
        Told::Delta(delta) => delta,
        other => panic!("not a delta: {other:?}"),
    }
}

#[tokio::test]
async fn a_snapshot_and_then_only_what_changed() {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    hub.report(nas, "filesystem", 1, vec![filesystem("/", 0.5), filesystem("/srv", 0.2)]);
    hub.report(nas, "cpu", 2, vec![cpu(0.25)]);
    let client = client(&hub, &hub.token("t", Role::Viewer).await).await;
    let mut stream = client.live().await.unwrap();
    stream.subscribe(Subscribe { kinds: vec!["filesystem".into()], ..watch("fs") }).await.unwrap();
    let snapshot = snapshot(&mut stream).await;
    assert_eq!(snapshot.hosts.len(), 1);
    let names: Vec<_> = snapshot.resources.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["/", "/srv"]);
    let mut root: Resource = snapshot.resources[0].clone();
    hub.forward(10_000);
    hub.report(nas, "cpu", 3, vec![cpu(0.5)]);
    hub.report(nas, "filesystem", 4, vec![filesystem("/", 0.6)]);
    let delta = delta(&mut stream).await;
    assert_eq!(delta.resources.len(), 1, "{delta:?}");
    let change = delta.resources[0].clone();
    assert_eq!(change.readings.keys().collect::<Vec<_>>(), ["used_ratio"], "only what changed");
    assert!(change.attributes.is_empty() && change.standing.is_none());
    change.apply(&mut root);
    assert_eq!(root.readings["used_ratio"], 0.6);
    assert_eq!(delta.removed.len(), 1);
    assert_eq!((delta.removed[0].kind.as_str(), delta.removed[0].name.as_str()), ("filesystem", "/srv"));
}

#[tokio::test]
async fn many_changes_become_one_delta_with_the_latest_values() {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    hub.report(nas, "cpu", 1, vec![cpu(0.1)]);
    let client = client(&hub, &hub.token("t", Role::Viewer).await).await;
    let mut stream = client.live().await.unwrap();
    stream.subscribe(watch("all")).await.unwrap();
    snapshot(&mut stream).await;
    for sequence in 2..6 {
        hub.report(nas, "cpu", sequence, vec![cpu(sequence as f64 / 10.0)]);
    }
    // More than the bus holds: the subscriber misses some, and starts over.
    for _ in 0..2_000 {
        let updated = vec![ResourceKey::new("cpu", "cpu")];
        hub.hub.bus.tell(Change::Resources { host: nas, updated, removed: Vec::new() });
    }
    let delta = delta(&mut stream).await;
    assert_eq!(delta.resources.len(), 1);
    assert_eq!(delta.resources[0].readings["usage_ratio"], Some(0.5));
}

#[tokio::test]
async fn events_are_told_and_bad_requests_refused() {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    let client = client(&hub, &hub.token("t", Role::Viewer).await).await;
    let mut stream = client.live().await.unwrap();
    stream.subscribe(Subscribe { hosts: vec!["none".into()], ..watch("x") }).await.unwrap();
    let Message { id, body: Told::Error(refusal) } = next(&mut stream).await else { panic!("not refused") };
    assert_eq!((id.as_str(), refusal.problem.code()), ("x", "no-such-host"));
    stream
        .subscribe(Subscribe { hosts: vec!["nas".into()], events: true, resources: false, ..watch("e") })
        .await
        .unwrap();
    snapshot(&mut stream).await;
    hub.report(nas, "cpu", 1, vec![cpu(0.1)]);
    hub.write_events();
    let event = loop {
        if let Told::Event(told) = next(&mut stream).await.body
            && told.event.kind == "agent_started"
        {
            break told.event;
        }
    };
    assert_eq!((event.host.as_deref(), event.message.as_str()), (Some("nas"), "report 1"));
    assert!(event.receipt > 0);
    for i in 0..40 {
        stream.subscribe(watch(&format!("more {i}"))).await.unwrap();
    }
    let mut refused = 0;
    for _ in 0..40 {
        refused += usize::from(matches!(next(&mut stream).await.body, Told::Error(_)));
    }
    assert!(refused > 0, "subscriptions are limited");
}

#[tokio::test]
async fn a_close_look_makes_the_named_hosts_report_faster_while_it_lasts() {
    let hub = TestHub::new();
    let (nas, pi) = (hub.enrol("nas").await, hub.enrol("pi").await);
    let client = client(&hub, &hub.token("t", Role::Viewer).await).await;
    let mut stream = client.live().await.unwrap();
    stream.subscribe(watch("fleet")).await.unwrap();
    snapshot(&mut stream).await;
    assert_eq!(hub.hub.lease(nas), None, "the whole fleet is never hurried");
    stream.subscribe(Subscribe { hosts: vec!["nas".into()], ..watch("close") }).await.unwrap();
    snapshot(&mut stream).await;
    assert_eq!(hub.hub.lease(nas).map(|lease| lease.interval_millis), Some(1_000));
    assert_eq!(hub.hub.lease(pi), None);
    stream.unsubscribe("close").await.unwrap();
    // Answered in order: when this one is there, the other is gone.
    stream.subscribe(watch("after")).await.unwrap();
    snapshot(&mut stream).await;
    assert_eq!(hub.hub.lease(nas), None);
}

#[tokio::test]
async fn a_revoked_token_ends_the_stream() {
    let hub = TestHub::new();
    let client = client(&hub, &hub.token("t", Role::Viewer).await).await;
    let mut stream = client.live().await.unwrap();
    stream.subscribe(watch("all")).await.unwrap();
    snapshot(&mut stream).await;
    hub.local(Method::DELETE, "/api/v1/tokens/t", None).await;
    assert!(stream.next().await.unwrap().is_none());
    let error = client.live().await.expect_err("the token is gone");
    assert!(error.to_string().contains("the token in the test is not (or no longer) valid"), "{error}");
}

#[tokio::test]
async fn a_hub_that_stops_says_goodbye() {
    let hub = TestHub::new();
    let client = client(&hub, &hub.token("t", Role::Viewer).await).await;
    let mut stream = client.live().await.unwrap();
    stream.subscribe(watch("all")).await.unwrap();
    snapshot(&mut stream).await;
    hub.hub.stopping().cancel();
    assert!(stream.next().await.unwrap().is_none());
}

#[tokio::test]
async fn the_client_reads_what_the_hub_writes() {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    hub.report(nas, "filesystem", 1, vec![filesystem("/mnt/a:b", 0.5)]);
    hub.write_events();
    let client = client(&hub, &hub.token("t", Role::Admin).await).await;
    assert_eq!(client.hosts().await.unwrap()[0].name, "nas");
    assert_eq!(client.host_resources("nas", Some("filesystem")).await.unwrap().len(), 1);
    assert_eq!(client.latest(&Default::default(), &["used_ratio".into()]).await.unwrap().len(), 1);
    let query = tomte_api::history::HistoryQuery {
        series: vec!["nas/filesystem:/mnt/a:b/used_ratio".into()],
        from: Some("-1h".into()),
        to: Some("+1s".into()),
        ..Default::default()
    };
    assert_eq!(client.history(&query).await.unwrap().series[0].mean, Some(vec![Some(0.5)]));
    assert!(!client.events(&Default::default()).await.unwrap().items.is_empty());
    assert!(!client.catalogue().await.unwrap().is_empty());
    assert!(!client.audit(10, None).await.unwrap().items.is_empty());
    assert!(client.metrics().await.unwrap().contains("tomte_host_up"));
    assert_eq!(client.hub().await.unwrap().version, env!("CARGO_PKG_VERSION"));
    assert!(!client.config().await.unwrap().settings.is_empty());
    client.rename_host("nas", "vault").await.unwrap();
    client.forget_resource("vault", "filesystem", "/mnt/a:b").await.unwrap();
    let missing = client.host("gone").await.expect_err("there is none");
    assert_eq!(missing.problem().map(|p| p.status), Some(404));
    assert_eq!(missing.to_string(), "There is no such host: none is called \"gone\"");
}

#[tokio::test]
async fn the_client_says_what_is_wrong() {
    let hub = TestHub::new();
    let wrong = client(&hub, "tomte_a_wrong").await;
    let error = wrong.hosts().await.expect_err("refused").to_string();
    assert!(error.contains("the token in the test is not (or no longer) valid"), "{error}");
    let none = Client::new(wrong.endpoint().clone(), None, &Trust::System).unwrap();
    let error = none.hosts().await.expect_err("refused").to_string();
    assert!(error.contains("set TOMTE_TOKEN or use --token-file"), "{error}");
    // A port that was just given back has nobody behind it.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let nobody = Client::new(format!("http://{address}").parse().unwrap(), None, &Trust::System).unwrap();
    let error = nobody.hosts().await.expect_err("nobody there").to_string();
    assert!(error.starts_with(&format!("hub not reachable at http://{address}: connection refused")), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let error = Client::unix(folder.path().join("hub.sock")).hosts().await.expect_err("nobody there").to_string();
    assert!(error.ends_with("hub.sock: no such socket"), "{error}");
}
