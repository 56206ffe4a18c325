//! Off loopback the hub speaks TLS by its own key, which agents know from
//! their code; whoever has another key is not the hub.

use super::support::*;

/// The address by which a hub that listens everywhere is reached from here.
fn here(hub: &Hub) -> String {
    hub.url.replace("0.0.0.0", "127.0.0.1")
}

fn everywhere() -> Hub {
    Hub::with(&["--listen", "0.0.0.0:0"])
}

#[test]
fn an_agent_knows_its_hub_by_the_key_in_its_code() {
    let mut hub = everywhere();
    assert!(hub.url.starts_with("https://0.0.0.0:"), "{}", hub.url);
    let fingerprint = hub.process.wait_for("fingerprint", |line| line.strip_prefix("Fingerprint ").map(str::to_owned));
    let config = hub.enrol("reef", &here(&hub), "");
    let mut agent = run_agent(&config);
    agent.wait_for_text("connected to the hub");
    block_on(async { Watcher::all(&hub.client()).await.until("report", |body| reports(body).then_some(())).await });

    // People's commands know it by its fingerprint, and by nothing else.
    let token = hub.tomte(&["token", "add", "tui", "--role", "viewer"]);
    let file = hub.spare_folder().join("token");
    std::fs::write(&file, token).unwrap();
    let list = |fingerprint: Option<&str>| {
        let mut command = tomte();
        command.args(["host", "list", "--hub", &here(&hub), "--token-file"]).arg(&file);
        command.args(fingerprint.map(|fingerprint| format!("--fingerprint={fingerprint}")));
        command.output().unwrap()
    };
    let known = list(Some(&fingerprint));
    assert!(String::from_utf8_lossy(&known.stdout).contains("reef"), "{known:?}");
    let another = list(Some(&"ab".repeat(32)));
    assert!(!another.status.success() && said(&another).contains("TLS"), "{another:?}");
    let unknown = list(None);
    assert!(!unknown.status.success() && said(&unknown).contains("--fingerprint"), "{unknown:?}");
}

/// The hub was reinstalled, or somebody else answers at its address.
#[test]
fn another_hub_at_the_same_place_gets_neither_reports_nor_secrets() {
    let hub = everywhere();
    let other = everywhere();
    let config = hub.enrol("reef", &here(&hub), "");
    let enrolled = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, enrolled.replace(&here(&hub), &here(&other))).unwrap();
    let mut agent = run_agent(&config);
    let refused = agent.wait_for_text("is not the hub that this host trusts");
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    let output = try_enrol(&here(&other), &hub.code("pond"), &hub.spare_folder().join("pond.toml"));
    assert!(!output.status.success() && said(&output).contains("is not the hub that made this code"), "{output:?}");
    assert_eq!(block_on(counter(&other.client(), "tomte_hub_link_connections_total")), 0);
    assert_eq!(block_on(counter(&other.client(), "tomte_hub_link_tokens_refused_total")), 0, "not even the token");
}

#[test]
fn plain_http_is_spoken_off_loopback_only_when_asked_for() {
    let hub = everywhere();
    let plain = Http::connect(&here(&hub)).ask("GET", "/healthz", &[], "");
    assert!(plain.is_none_or(|answer| answer.status != 200), "it answered in the clear");
    let output = try_enrol(&here(&hub).replace("https", "http"), &hub.code("reef"), &hub.spare_folder().join("x.toml"));
    assert!(!output.status.success() && said(&output).contains("check port and scheme"), "{output:?}");

    let asked_for = Hub::with(&["--listen", "0.0.0.0:0", "--insecure-http"]);
    assert!(asked_for.url.starts_with("http://0.0.0.0:"), "{}", asked_for.url);
    // Whether it is ready yet or not.
    let status = Http::connect(&here(&asked_for)).ask("GET", "/healthz", &[], "").unwrap().status;
    assert!(matches!(status, 200 | 503), "{status}");
    let mut agent = run_agent(&asked_for.enrol("reef", &here(&asked_for), ""));
    agent.wait_for_text("connected to the hub");
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn reports(body: &tomte_api::live::Body) -> bool {
    match body {
        tomte_api::live::Body::Snapshot(snapshot) => !snapshot.resources.is_empty(),
        tomte_api::live::Body::Delta(delta) => !delta.resources.is_empty(),
        _ => false,
    }
}
