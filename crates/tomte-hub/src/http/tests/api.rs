//! The shapes that scripts rely on.

use super::*;

#[tokio::test]
async fn hosts_and_resources_look_as_documented() {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    hub.enrol("attic").await;
    hub.report(nas, "filesystem", 1, vec![filesystem("/", 0.5), filesystem("/mnt/a:b", 0.1)]);
    hub.report(nas, "cpu", 2, vec![cpu(0.25)]);
    let hosts = hub.get("/api/v1/hosts").await;
    assert_eq!(hosts["next"], Value::Null);
    let names: Vec<_> = hosts["items"].as_array().unwrap().iter().map(|h| h["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["attic", "nas"]);
    let host = &hosts["items"][1];
    assert_eq!((&host["id"], &host["resources"]), (&json!(nas), &json!(3)));
    for key in ["presence", "status", "reason", "problems", "last_seen_at", "aliases", "roles"] {
        assert!(host.get(key).is_some(), "{key} in {host}");
    }
    let page = hub.get("/api/v1/hosts?limit=1").await;
    assert_eq!(page["next"], "attic");
    assert_eq!(hub.get("/api/v1/hosts?limit=1&cursor=attic").await["items"][0]["name"], "nas");
    let resources = hub.get("/api/v1/hosts/nas/resources?kind=filesystem").await;
    assert_eq!(resources["items"].as_array().unwrap().len(), 2);
    let root = &resources["items"][0];
    assert_eq!((&root["kind"], &root["name"], &root["stale"]), (&json!("filesystem"), &json!("/"), &json!(false)));
    assert_eq!(root["readings"], json!({"size_bytes": 1e12, "used_ratio": 0.5}));
    assert_eq!(root["attributes"], json!({"device": "/dev/sda1"}));
    assert_eq!(root["at"], "2026-01-01T00:00:00.000Z");
    let facet = &root["facets"]["main"];
    assert_eq!((&facet["at"], &facet["stale"], &facet["status"]), (&root["at"], &json!(false), &Value::Null));
    // By alias and by id as well.
    for name in ["nas.lan", &nas.to_string()] {
        assert_eq!(hub.get(&format!("/api/v1/hosts/{name}")).await["name"], "nas", "{name}");
    }
}

#[tokio::test]
async fn resources_across_hosts_are_filtered_and_paged() {
    let hub = TestHub::new();
    let (a, b) = (hub.enrol("a").await, hub.enrol("b").await);
    for host in [a, b] {
        hub.report(host, "filesystem", 1, vec![filesystem("/", 0.5), filesystem("/srv", 0.2)]);
        hub.report(host, "cpu", 2, vec![cpu(0.25)]);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = hub.get(&format!("/api/v1/resources?limit=4&cursor={cursor}")).await;
        for item in page["items"].as_array().unwrap() {
            seen.push(format!("{}/{}:{}", item["host"], item["kind"], item["name"]).replace('"', ""));
        }
        match page["next"].as_str() {
            Some(next) => cursor = form_urlencoded::byte_serialize(next.as_bytes()).collect(),
            None => break,
        }
    }
    let expected = ["cpu:cpu", "filesystem:/", "filesystem:/srv"];
    let expected: Vec<_> = ["a", "b"].iter().flat_map(|h| expected.iter().map(move |r| format!("{h}/{r}"))).collect();
    assert_eq!(seen, expected);
    let found = hub.get("/api/v1/resources?kind=filesystem&q=SRV&host=b").await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(hub.get("/api/v1/resources?status=critical").await["items"], json!([]));
    let latest = hub.get("/api/v1/latest?kind=filesystem&kind=cpu&field=used_ratio").await;
    let rows = latest["items"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0]["readings"], json!({"used_ratio": 0.5}));
    // What fails goes stale, and only that.
    hub.report_scopes(a, "filesystem", 3, vec![Scope::failed("filesystem", failed("hung"))]);
    let stale = hub.get("/api/v1/resources?host=a").await;
    let stale: Vec<_> = stale["items"].as_array().unwrap().iter().map(|r| r["stale"].as_bool().unwrap()).collect();
    assert_eq!(stale, [false, true, true]);
}

#[tokio::test]
async fn a_resource_is_forgotten_by_a_name_with_slashes() {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    hub.report(nas, "filesystem", 1, vec![filesystem("/mnt/a:b", 0.5)]);
    let path = "/api/v1/hosts/nas/resources/filesystem/%2Fmnt%2Fa%3Ab";
    assert_eq!(hub.local(Method::DELETE, path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(hub.get("/api/v1/hosts/nas/resources").await["items"], json!([]));
    let again = hub.local(Method::DELETE, path, None).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND, "{}", again.text);
    again.problem();
}

#[tokio::test]
async fn history_comes_in_columns() {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    for (sequence, usage) in [0.2, 0.4, 0.6].into_iter().enumerate() {
        hub.report(nas, "cpu", 2 * sequence as u64 + 1, vec![cpu(usage)]);
        hub.report(nas, "filesystem", 2 * sequence as u64 + 2, vec![filesystem("/mnt/a:b", usage)]);
        hub.forward(if sequence == 1 { 70_000 } else { 10_000 });
    }
    let raw = hub.get("/api/v1/history?series=nas/cpu:cpu/usage_ratio&from=-1h").await;
    let series = &raw["series"][0];
    assert_eq!(raw.get("t"), None, "without a step every series has its own");
    assert_eq!(series["t"], json!([START, START + 10_000, START + 80_000]));
    assert_eq!(series["mean"], json!([0.2, 0.4, 0.6]));
    assert_eq!((series.get("min"), series.get("max")), (None, None));
    assert_eq!((&series["key"], &series["unit"]), (&json!("nas/cpu:cpu/usage_ratio"), &json!("ratio")));
    assert_eq!((&series["tier"], &series["interval_ms"]), (&json!("raw"), &json!(10_000)));
    let from = format!("from={START}&to={}&step=30s", START + 120_000);
    let stepped = hub.get(&format!("/api/v1/history?series=nas/cpu:cpu/usage_ratio&{from}")).await;
    assert_eq!(stepped["t"], json!([START, START + 30_000, START + 60_000, START + 90_000]));
    let series = &stepped["series"][0];
    assert_eq!(series["min"], json!([0.2, null, 0.6, null]));
    assert_eq!(series["max"], json!([0.4, null, 0.6, null]));
    let mean = series["mean"][0].as_f64().unwrap();
    assert!((mean - 0.3).abs() < 1e-9, "{mean}");
    // By selectors, by an escaped name, and taken together.
    let selected = hub.get(&format!("/api/v1/history?kind=file*&field=used*&host=n*&{from}&fn=max")).await;
    assert_eq!(selected["series"][0]["key"], "nas/filesystem:/mnt/a:b/used_ratio");
    assert_eq!(selected["series"][0].get("mean"), None);
    for name in ["/mnt/a:b", "%2Fmnt%2Fa%3Ab", "%252Fmnt%252Fa%253Ab"] {
        let path = format!("/api/v1/history?series=nas/filesystem:{name}/used_ratio&from=-1h");
        assert_eq!(hub.get(&path).await["series"][0]["mean"], json!([0.2, 0.4, 0.6]), "{name}");
    }
    let sum = hub.get(&format!("/api/v1/history?field=*_ratio&{from}&agg=sum&fn=last")).await;
    assert_eq!(sum["series"].as_array().unwrap().len(), 2, "per kind and field");
    let unknown = hub.get("/api/v1/history?series=nas/cpu:none/usage_ratio&from=-1h").await;
    assert_eq!(unknown["series"][0]["mean"], json!([]), "no history is no error");
    for (query, code) in [
        ("series=none/cpu:cpu/x", "no-such-host"),
        ("kind=cpu&step=1m&agg=quantile", "bad-parameter"),
        ("kind=cpu&from=-48h&step=1", "too-many-points"),
        ("kind=cpu&from=tomorrow", "bad-parameter"),
    ] {
        let answer = hub.local(Method::GET, &format!("/api/v1/history?{query}"), None).await;
        assert_eq!(answer.problem()["type"], format!("urn:tomte:problem:{code}"), "{query}");
    }
}

#[tokio::test]
async fn events_are_followed_by_receipt_number() {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    for sequence in 1..=3 {
        hub.report(nas, "cpu", sequence, vec![cpu(0.1)]);
    }
    hub.write_events();
    let newest = hub.get("/api/v1/events?type=agent_started").await;
    let receipts = |page: &Value| -> Vec<u64> {
        page["items"].as_array().unwrap().iter().map(|e| e["receipt"].as_u64().unwrap()).collect()
    };
    let all = receipts(&newest);
    assert_eq!(all.len(), 3);
    assert!(all.is_sorted_by(|a, b| a > b), "newest first: {all:?}");
    let event = &newest["items"][0];
    assert_eq!(
        (&event["host"], &event["source"], &event["message"]),
        (&json!("nas"), &json!("agent"), &json!("report 3"))
    );
    let after = hub.get(&format!("/api/v1/events?type=agent_started&after={}&limit=1", all[2])).await;
    assert_eq!(receipts(&after), [all[1]]);
    let next = after["next"].as_str().unwrap();
    let rest = hub.get(&format!("/api/v1/events?type=agent_started&cursor={next}")).await;
    assert_eq!((receipts(&rest), &rest["next"]), (vec![all[0]], &Value::Null));
    let enrolled = hub.get("/api/v1/events?host=nas&type=host_enrolled").await;
    assert_eq!(enrolled["items"].as_array().unwrap().len(), 1);
    assert_eq!(hub.get("/api/v1/events?severity=critical").await["items"], json!([]));
}

#[tokio::test]
async fn hosts_are_managed() {
    let hub = TestHub::new();
    hub.enrol("nas").await;
    let put =
        async |path: &str, body: Value| hub.local(Method::PUT, &format!("/api/v1/hosts/nas{path}"), Some(body)).await;
    let renamed = put("/name", json!({"name": "vault"})).await;
    assert_eq!(renamed.json()["name"], "vault", "{}", renamed.text);
    assert!(renamed.json()["aliases"].as_array().unwrap().contains(&json!("nas")), "the old name stays an alias");
    let roles = put("/roles", json!({"roles": ["storage", "backup"]})).await;
    assert_eq!(roles.json()["roles"], json!(["backup", "storage"]));
    let bad = put("/name", json!({"name": "Not A Name"})).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    bad.problem();
    let alias = hub.local(Method::POST, "/api/v1/hosts/vault/aliases", Some(json!({"alias": "tank"}))).await;
    assert!(alias.json()["aliases"].as_array().unwrap().contains(&json!("tank")));
    assert_eq!(hub.local(Method::DELETE, "/api/v1/hosts/vault/aliases/tank", None).await.status, StatusCode::OK);
    let grant = hub.local(Method::POST, "/api/v1/hosts/vault/grants", Some(json!({"via": "cluster"}))).await;
    assert_eq!((grant.status, &grant.json()["name"]), (StatusCode::OK, &json!("cluster")), "{}", grant.text);
    assert_eq!(hub.get("/api/v1/hosts/vault/grants").await["items"][0]["name"], "cluster");
    assert_eq!(
        hub.local(Method::DELETE, "/api/v1/hosts/vault/grants/cluster", None).await.status,
        StatusCode::NO_CONTENT
    );
    let values = json!({"values": {"intervals.fast": "5s", "collectors.cpu.enabled": true}});
    let settings = put("/settings", values).await;
    assert_eq!(settings.status, StatusCode::OK, "{}", settings.text);
    assert_eq!(hub.get("/api/v1/hosts/vault/settings").await["values"]["intervals.fast"], "5s");
    let token = hub.local(Method::POST, "/api/v1/hosts/vault/token", None).await;
    assert!(token.json()["token"].as_str().unwrap().starts_with("tomte_h_"));
    let refresh = hub.local(Method::POST, "/api/v1/hosts/vault/refresh", Some(json!({}))).await;
    assert_eq!(refresh.problem()["type"], "urn:tomte:problem:not-connected");
    assert_eq!(hub.local(Method::DELETE, "/api/v1/hosts/vault", None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(hub.local(Method::GET, "/api/v1/hosts/vault", None).await.status, StatusCode::NOT_FOUND);
    let added = hub.local(Method::POST, "/api/v1/hosts", Some(json!({"name": "new"}))).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    let line = added.json()["line"].as_str().unwrap().to_owned();
    assert!(line.contains(added.json()["code"].as_str().unwrap()), "{line}");
}

#[tokio::test]
async fn an_agent_enrols_over_http_once() {
    use base64::Engine as _;
    let hub = TestHub::new();
    let added = hub.local(Method::POST, "/api/v1/hosts", Some(json!({"name": "nas"}))).await.json();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let code = engine.decode(added["code"].as_str().unwrap()).unwrap();
    let id = HostId::from_parts(START as u64, 5);
    let body = json!({
        "secret": engine.encode(&code[2..18]), "host_id": id, "hostname": "NAS Box",
        "public_key": engine.encode([7; 32]), "agent_version": "0.1.0",
    });
    let enroll = async || hub.send(stranger(), request(Method::POST, "/api/v1/enroll", &[], Some(body.clone()))).await;
    let first = enroll().await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    assert_eq!((&first.json()["name"], &first.json()["host_id"]), (&json!("nas"), &json!(id)));
    let again = enroll().await;
    assert_eq!(again.status, StatusCode::FORBIDDEN, "{}", again.text);
    again.problem();
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let hub = TestHub::with(HubConfig {
        limits: crate::config::LimitsConfig { body_bytes: 100, ..Default::default() },
        ..HubConfig::default()
    });
    let post = async |media: &str, body: String| {
        let mut request = request(Method::POST, "/api/v1/tokens", &[("content-type", media)], None);
        *request.body_mut() = Body::from(body);
        hub.send(Peer::Local { uid: 0 }, request).await
    };
    let bad = post("application/json", "{\n  \"name\": oops }".into()).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert_eq!((&bad.problem()["line"], &bad.problem()["column"]), (&json!(2), &json!(11)), "{}", bad.text);
    let wrong = post("application/json", "{\"name\": 5, \"role\": \"viewer\"}".into()).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(wrong.problem()["line"], 1);
    let unknown = post("application/json", "{\"name\": \"x\", \"role\": \"viewer\", \"rank\": 1}".into()).await;
    assert!(unknown.problem()["detail"].as_str().unwrap().contains("rank"), "{}", unknown.text);
    let media = post("text/plain", "x".into()).await;
    assert_eq!(media.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    media.problem();
    let large = post("application/json", format!("\"{}\"", "x".repeat(200))).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    large.problem();
    for (path, status) in [
        ("/api/v1/hosts?limit=0", 400),
        ("/api/v1/hosts?page=2", 400),
        ("/api/v1/hosts/none", 404),
        ("/api/v1/hosts/%FF", 400),
        ("/api/v1/live", 426),
        ("/api/v1/events?cursor=x", 400),
    ] {
        let answer = hub.local(Method::GET, path, None).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
        answer.problem();
    }
}

#[tokio::test]
async fn the_hub_tells_about_itself() {
    let hub = TestHub::new();
    assert_eq!(hub.local(Method::GET, "/healthz", None).await.status, StatusCode::SERVICE_UNAVAILABLE, "no socket yet");
    hub.forward(5_000);
    let info = hub.get("/api/v1/hub").await;
    assert_eq!((&info["uptime_seconds"], &info["version"]), (&json!(5.0), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(info["storage_bytes"]["history.db"].as_u64().unwrap() > 0);
    let catalogue = hub.get("/api/v1/catalogue").await;
    assert!(catalogue["items"].as_array().unwrap().iter().any(|kind| kind["name"] == "filesystem"));
    let config = hub.get("/api/v1/config").await;
    let listen = config["settings"].as_array().unwrap().iter().find(|s| s["key"] == "listen").unwrap();
    assert_eq!(listen["source"], "default");
    let me = hub.get("/api/v1/me").await;
    assert_eq!((&me["name"], &me["role"], &me["by"]), (&json!("local"), &json!("admin"), &json!("local")));
}

/// A kind whose field was once called otherwise.
fn kiln() -> tomte_model::KindDef {
    use tomte_model::catalogue::{FacetDef, FieldDef, Resolution, Unit};
    let mut field = FieldDef::new("main", "heat_celsius", Unit::Celsius, Resolution::TENTH, "How hot it is.");
    field.renamed_from = vec!["warmth".into()].into();
    tomte_model::KindDef {
        name: "kiln".into(),
        help: "It burns clay.".into(),
        key: "By name.".into(),
        facets: vec![FacetDef { name: "main".into(), owner: true }].into(),
        fields: vec![field].into(),
        attributes: Vec::new().into(),
        tables: Vec::new().into(),
    }
}

#[tokio::test]
async fn a_renamed_field_has_one_history() {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    for (sequence, field, value) in [(1, "warmth", 800.0), (2, "warmth", 900.0), (3, "heat_celsius", 1000.5)] {
        let mut facet = Facet::owner("kiln", "big", "main");
        facet.read(field, value);
        hub.report(nas, "kiln", sequence, vec![facet]);
        hub.forward(10_000);
    }
    hub.hub.describe(kiln());
    for query in
        ["series=nas/kiln:big/heat_celsius", "series=nas/kiln:big/warmth", "field=heat*", "field=warmth", "kind=kiln"]
    {
        let history = hub.get(&format!("/api/v1/history?{query}&from=-1h")).await;
        let series = history["series"].as_array().unwrap();
        assert_eq!(series.len(), 1, "{query}");
        assert_eq!(series[0]["mean"], json!([800, 900, 1000.5]), "{query}");
        assert_eq!((&series[0]["field"], &series[0]["unit"]), (&json!("heat_celsius"), &json!("celsius")));
    }
    let stepped = hub.get("/api/v1/history?kind=kiln&from=-1m&step=1m&fn=max").await;
    assert_eq!(stepped["series"][0]["max"], json!([null, 1000.5]));
}

#[tokio::test]
async fn rates_and_quantiles_are_worked_out() {
    let hub = TestHub::new();
    let hosts = [hub.enrol("a").await, hub.enrol("b").await, hub.enrol("c").await];
    for sequence in 1..=13_u64 {
        for (host, slope) in hosts.iter().zip([1.0, 2.0, 10.0]) {
            let mut facet = Facet::owner("interface", "eth0", "main");
            facet.read("drops_total", slope * 10.0 * sequence as f64);
            hub.report(*host, "interface", sequence, vec![facet]);
        }
        hub.forward(10_000);
    }
    let range = format!("kind=interface&from={}&to={}&step=30s", START + 60_000, START + 120_000);
    let ask = async |rest: &str| hub.get(&format!("/api/v1/history?{range}&{rest}")).await;
    let rates = ask("fn=rate").await;
    assert_eq!(rates["t"].as_array().unwrap().len(), 2);
    let all: Vec<_> = rates["series"].as_array().unwrap().iter().map(|series| &series["rate"]).collect();
    assert_eq!(all, [&json!([1.0, 1.0]), &json!([2.0, 2.0]), &json!([10.0, 10.0])]);
    assert_eq!(ask("fn=rate&agg=sum").await["series"][0]["rate"], json!([13.0, 13.0]));
    assert_eq!(ask("fn=rate&agg=quantile&q=0.5").await["series"][0]["rate"], json!([2.0, 2.0]));
    let top = ask("fn=rate&agg=topk&k=1").await;
    assert_eq!(top["series"][0]["host"], "c");
    let huge = hub.local(Method::GET, "/api/v1/history?kind=interface&from=-5000d&step=1s", None).await;
    assert_eq!(huge.status, StatusCode::UNPROCESSABLE_ENTITY);
    let problem = huge.problem();
    assert_eq!(problem["type"], "urn:tomte:problem:too-many-points");
    assert!(problem["detail"].as_str().unwrap().contains("500000"), "{problem}");
}

#[tokio::test]
async fn readings_from_elsewhere_are_taken_in_once() {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    hub.report(nas, "cpu", 1, vec![cpu(0.25)]);
    let series = |host: &str, field: &str, values: Value| {
        let t: Vec<i64> =
            (0..values.as_array().unwrap().len()).map(|i| START - 3_600_000 + i as i64 * 30_000).collect();
        json!({"host": host, "kind": "cpu", "name": "cpu", "field": field, "t": t, "values": values})
    };
    let ask = async |add_hosts: bool, series: Vec<Value>| {
        hub.local(Method::POST, "/api/v1/history", Some(json!({"add_hosts": add_hosts, "series": series}))).await
    };
    let first = ask(false, vec![series("nas", "usage_ratio", json!([0.1, 0.2, 0.3]))]).await;
    assert_eq!(first.json(), json!({"taken": 3, "known": 0, "refused": 0}), "{}", first.text);
    let again = ask(false, vec![series("nas", "usage_ratio", json!([0.1, 0.2, 0.3, 0.4]))]).await;
    assert_eq!(again.json(), json!({"taken": 1, "known": 3, "refused": 0}));
    let history = hub.get("/api/v1/history?series=nas/cpu:cpu/usage_ratio&from=-2h").await;
    assert_eq!(history["series"][0]["mean"], json!([0.1, 0.2, 0.3, 0.4]));
    // The present is what it was, and so are the changes of state.
    assert_eq!(hub.get("/api/v1/latest?kind=cpu").await["items"][0]["readings"]["usage_ratio"], 0.25);
    assert_eq!(hub.get("/api/v1/changes?kind=cpu&from=-3h").await["items"].as_array().unwrap().len(), 1);
    // Nothing of a request that makes no sense in any part is taken in.
    for (bad, code) in [
        (series("nas", "usage ratio", json!([1.0])), "invalid"),
        (json!({"host": "nas", "kind": "cpu", "name": "cpu", "field": "x", "t": [1, 2], "values": [1.0]}), "invalid"),
        (
            json!({"host": "nas", "kind": "cpu", "name": "cpu", "field": "x", "t": [START * 2], "values": [1.0]}),
            "invalid",
        ),
        (series("attic", "usage_ratio", json!([1.0])), "no-such-host"),
    ] {
        let answer = ask(false, vec![series("nas", "user_ratio", json!([0.5])), bad]).await;
        assert_eq!(answer.problem()["type"], format!("urn:tomte:problem:{code}"), "{}", answer.text);
    }
    assert_eq!(hub.get("/api/v1/history?field=user_ratio&from=-2h").await["series"], json!([]));
    let made = ask(true, vec![series("attic", "usage_ratio", json!([1.0]))]).await;
    assert_eq!(made.json()["taken"], 1, "{}", made.text);
    assert_eq!(hub.get("/api/v1/hosts/attic").await["presence"], "never");
}
