//! How things were: hosts, resources and changes at past moments.

use super::*;

fn disk(name: &str, health: &str) -> Facet {
    let mut facet = Facet::owner("disk", name, "io");
    facet.text("model", health);
    facet.read("utilisation_ratio", 0.5);
    facet
}

/// Lets time pass, with signs of life.
async fn pass(hub: &TestHub, host: HostId, seconds: i64, heard: bool) {
    hub.forward(seconds * 1000);
    if heard {
        hub.hub.heard(&hub.hub.fleet.get(host).unwrap());
    }
    hub.hub.sweep();
    hub.hub.note_hosts().unwrap();
}

/// A host that goes through a good deal: ten minutes of it.
async fn story() -> (TestHub, HostId) {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    pass(&hub, nas, 0, true).await;
    hub.report(nas, "disk", 1, vec![disk("sda", "a"), disk("sdb", "b")]);
    hub.report(nas, "cpu", 2, vec![cpu(0.25)]);
    pass(&hub, nas, 10, true).await;
    hub.report(nas, "cpu", 3, vec![cpu(0.75)]);
    pass(&hub, nas, 50, true).await;
    hub.report(nas, "disk", 4, vec![disk("sda", "a new one")]);
    let by = Admin::of_the_program("test");
    hub.hub.rename_host(&by, nas, "vault".parse().unwrap()).await.unwrap();
    pass(&hub, nas, 0, true).await;
    // Silence for nine minutes.
    pass(&hub, nas, 540, false).await;
    (hub, nas)
}

#[tokio::test]
async fn hosts_are_told_as_they_were() {
    let (hub, nas) = story().await;
    let host = async |at: i64| hub.get(&format!("/api/v1/hosts?at={}", START + at * 1000)).await;
    assert_eq!(host(-1).await["items"], json!([]), "before the hub knew of any");
    let then = host(10).await;
    assert_eq!((&then["at"], &then["next"]), (&json!("2026-01-01T00:00:10.000Z"), &Value::Null));
    let was = &then["items"][0];
    assert_eq!((&was["name"], &was["presence"], &was["resources"]), (&json!("nas"), &json!("online"), &json!(3)));
    let later = host(70).await;
    let was = &later["items"][0];
    assert_eq!((&was["name"], &was["aliases"]), (&json!("vault"), &json!(["nas", "nas.lan"])));
    assert_eq!(was["resources"], 2);
    let now = host(600).await;
    let was = &now["items"][0];
    assert_eq!((&was["presence"], &was["status"]), (&json!("offline"), &json!("unknown")));
    assert_eq!(was["last_seen_at"], "2026-01-01T00:01:00.000Z");
    assert!(was["reason"].as_str().unwrap().starts_with("not heard of for 9 min"), "{was}");
    // Now has no moment.
    assert_eq!(hub.get("/api/v1/hosts").await.get("at"), None);
    assert_eq!(hub.get(&format!("/api/v1/hosts/{nas}?at={}", START + 10_000)).await["name"], "nas");
    let early = hub.local(Method::GET, &format!("/api/v1/hosts/vault?at={}", START - 1), None).await;
    assert_eq!(
        (early.status, early.problem()["type"].clone()),
        (StatusCode::NOT_FOUND, json!("urn:tomte:problem:not-known-then"))
    );
}

/// An agent that watched alone for a while sends what it saw once it is let in.
#[tokio::test]
async fn what_an_agent_saw_before_the_hub_knew_of_it_is_told_too() {
    let hub = TestHub::new();
    hub.forward(60_000);
    let nas = hub.enrol("nas").await;
    hub.report(nas, "cpu", 1, vec![cpu(0.25)]);
    // What the hub knows of a host begins with this.
    pass(&hub, nas, 600, true).await;
    let at = |seconds: i64| format!("at={}", START + seconds * 1000);
    let then = hub.get(&format!("/api/v1/hosts?{}", at(65))).await["items"][0].clone();
    assert_eq!((&then["name"], &then["presence"], &then["resources"]), (&json!("nas"), &json!("never"), &json!(1)));
    assert_eq!(hub.get(&format!("/api/v1/hosts/nas?{}", at(65))).await["presence"], "never");
    let resources = hub.get(&format!("/api/v1/hosts/nas/resources?{}", at(65))).await;
    assert_eq!(resources["items"][0]["readings"], json!({"usage_ratio": 0.25}));
    assert_eq!(hub.get(&format!("/api/v1/hosts?{}", at(55))).await["items"], json!([]), "nothing was seen yet");
    assert_eq!(hub.get(&format!("/api/v1/hosts?{}", at(660))).await["items"][0]["presence"], "online");
}

#[tokio::test]
async fn resources_are_told_as_they_were_with_the_readings_of_then() {
    let (hub, _) = story().await;
    let at = async |seconds: i64| {
        let page = hub.get(&format!("/api/v1/hosts/vault/resources?at={}", START + seconds * 1000)).await;
        assert!(page["at"].is_string());
        page["items"].as_array().unwrap().clone()
    };
    let then = at(9).await;
    let names: Vec<_> = then.iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cpu", "sda", "sdb"]);
    assert_eq!(
        (&then[0]["readings"], &then[0]["at"]),
        (&json!({"usage_ratio": 0.25}), &json!("2026-01-01T00:00:00.000Z"))
    );
    assert_eq!((&then[1]["attributes"], &then[0]["stale"]), (&json!({"model": "a"}), &json!(false)));
    assert_eq!(then[0]["host"], "nas", "as it was called then");
    assert_eq!(at(10).await[0]["readings"], json!({"usage_ratio": 0.75}));
    let then = at(60).await;
    assert_eq!(then.len(), 2);
    assert_eq!(then[1]["attributes"], json!({"model": "a new one"}));
    // What had not been read for a while by then has no reading.
    assert_eq!((&then[0]["readings"], &then[0]["stale"]), (&json!({}), &json!(false)));
    assert_eq!(at(600).await[1]["stale"], true, "the host was silent");
    let only = hub.get(&format!("/api/v1/hosts/vault/resources?at={}&kind=disk&limit=1", START + 9_000)).await;
    assert_eq!((&only["items"][0]["name"], &only["next"]), (&json!("sda"), &json!("nas/disk:sda")));
    let rest = format!("/api/v1/hosts/vault/resources?at={}&kind=disk&cursor=nas/disk:sda", START + 9_000);
    assert_eq!(hub.get(&rest).await["items"][0]["name"], "sdb");
}

#[tokio::test]
async fn changes_are_listed_between_two_moments() {
    let (hub, nas) = story().await;
    let words = async |query: &str| -> Vec<String> {
        let page = hub.get(&format!("/api/v1/changes?{query}")).await;
        let word = |change: &Value| {
            let of = change["name"].as_str().or(change["field"].as_str()).unwrap_or_default().to_owned();
            format!("{} {of}", change["what"].as_str().unwrap())
        };
        page["items"].as_array().unwrap().iter().map(word).collect()
    };
    let disks = words("kind=disk&from=-1h").await;
    assert_eq!(disks, ["appeared sda", "appeared sdb", "gone sdb", "attribute sda"]);
    assert_eq!(words("kind=disk&from=-1h&order=newest").await[0], "attribute sda");
    assert_eq!(words("what=host&what=presence&from=-1h").await, ["host name", "host aliases", "presence presence"]);
    assert_eq!(words(&format!("kind=disk&from={}", START + 1)).await, ["gone sdb", "attribute sda"]);
    let page = hub.get("/api/v1/changes?kind=disk&from=-1h&limit=3").await;
    let rest = words(&format!("kind=disk&from=-1h&cursor={}", page["next"].as_str().unwrap())).await;
    assert_eq!(rest, ["attribute sda"]);
    let attribute = hub.get("/api/v1/changes?what=attribute&from=-1h&host=vault").await["items"][0].clone();
    assert_eq!(
        attribute,
        json!({"at": "2026-01-01T00:01:00.000Z", "host": "vault", "host_id": nas, "kind": "disk", "name": "sda",
               "what": "attribute", "field": "model", "from": "a", "to": "a new one"})
    );
}

#[tokio::test]
async fn a_resource_forgotten_by_hand_is_gone_from_then_on() {
    let (hub, _) = story().await;
    let path = "/api/v1/hosts/vault/resources/disk/sda";
    assert_eq!(hub.local(Method::DELETE, path, None).await.status, StatusCode::NO_CONTENT);
    hub.hub.store().history.flush().unwrap();
    let then = hub.get(&format!("/api/v1/hosts/vault/resources?at={}", hub.hub.now().millis())).await;
    assert_eq!(then["items"].as_array().unwrap().len(), 1);
    let before = hub.get(&format!("/api/v1/hosts/vault/resources?at={}", START + 100_000)).await;
    assert_eq!(before["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn senseless_moments_are_refused() {
    let hub = TestHub::new();
    hub.enrol("nas").await;
    for path in [
        "/api/v1/hosts?at=tomorrow",
        "/api/v1/hosts?at=2099-01-01T00:00:00Z",
        "/api/v1/hosts/nas/resources?at=x",
        "/api/v1/changes?from=now&to=-1h",
        "/api/v1/changes?what=moods",
        "/api/v1/changes?order=random",
        "/api/v1/changes?cursor=x",
    ] {
        let answer = hub.local(Method::GET, path, None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        answer.problem();
    }
}
