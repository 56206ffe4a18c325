//! The whole way: this very machine's readings, from /proc to the API, the
//! command line, files and Prometheus, by the commands that users type.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tomte_api::client::Client;
use tomte_api::live::{Body, Subscribe};
use tomte_api::resource::Resource;

use super::support::*;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn of_kind<'a>(resources: &'a [Resource], kind: &str) -> Vec<&'a Resource> {
    resources.iter().filter(|resource| resource.kind == kind).collect()
}

/// A hub, this machine's agent, and a first reading of everything that is read
/// fast: a watcher speeds the agent up, so that rates are there in seconds.
fn hub_with_this_machine() -> (Hub, Process, Process, std::path::PathBuf) {
    let hub = Hub::start();
    let config = hub.enrol("reef", &hub.url, "[intervals]\nmedium = \"2s\"\nslow = \"5s\"\n");
    let agent = run_agent(&config);
    let hub_process = Process::start(tomte_watching(&hub));
    in_time("readings", async {
        let client = hub.client();
        let subscribe = Subscribe {
            id: "x".into(),
            hosts: vec!["reef".into()],
            every_s: Some(1),
            resources: true,
            ..Default::default()
        };
        let mut watcher = Watcher::new(&client, subscribe).await;
        let mut wanted: BTreeSet<(&str, &str)> = [
            ("cpu", "usage_ratio"),
            ("core", "usage_ratio"),
            ("load", "load1"),
            ("memory", "used_ratio"),
            ("filesystem", "used_ratio"),
            ("interface", "receive_bytes_per_second"),
            ("host", "uptime_seconds"),
            ("process", "processes"),
        ]
        .into();
        watcher
            .until("reading of everything", |body| {
                match body {
                    Body::Snapshot(snapshot) => snapshot.resources.iter().for_each(|resource| {
                        wanted
                            .retain(|(kind, field)| resource.kind != *kind || !resource.readings.contains_key(*field));
                    }),
                    Body::Delta(delta) => delta.resources.iter().for_each(|change| {
                        let kind_of = &change.resource.kind;
                        wanted.retain(|(kind, field)| kind_of != kind || !change.readings.contains_key(*field));
                    }),
                    _ => {}
                }
                wanted.is_empty().then_some(())
            })
            .await;
    });
    (hub, agent, hub_process, config)
}

fn tomte_watching(hub: &Hub) -> Command {
    let mut command = tomte();
    command.args(["watch", "reef", "--every", "1s", "--data"]).arg(&hub.folder);
    command
}

#[test]
fn this_machine_through_the_api_and_the_command_line() {
    let (hub, mut agent, mut watch, config) = hub_with_this_machine();

    // Live, in a terminal of its own.
    let line =
        watch.wait_for("a live line", |line| (line.starts_with("reef") && line.contains('%')).then(|| line.to_owned()));
    assert!(!line.contains('\u{1b}'), "a pipe gets plain text: {line}");

    // The API, as a program with a token sees it.
    let token = hub.tomte(&["token", "add", "program", "--role", "viewer"]);
    assert_eq!(token.lines().count(), 1, "the token alone: {token:?}");
    let token = token.trim();
    let bearer = format!("Bearer {token}");
    let mut http = Http::connect(&hub.url);
    let mut get = |path: &str| -> Value {
        let answer = http.ask("GET", path, &[("authorization", &bearer)], "").expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).expect("JSON")
    };
    let hosts = get("/api/v1/hosts");
    let host = &hosts["items"][0];
    assert_eq!((&host["name"], &host["presence"]), (&"reef".into(), &"online".into()), "{hosts}");
    assert!(host["last_seen_at"].is_string() && host["status"].is_string() && hosts["next"].is_null(), "{hosts}");
    assert!(host["aliases"].as_array().is_some_and(|a| a.len() == 1), "the machine's own name: {host}");

    let filesystems = get("/api/v1/hosts/reef/resources?kind=filesystem");
    let root = filesystems["items"].as_array().unwrap().iter().find(|item| item["name"] == "/").expect("a root");
    let used = root["readings"]["used_ratio"].as_f64().unwrap();
    let statvfs = rustix::fs::statvfs("/").unwrap();
    let here = 1.0 - statvfs.f_bavail as f64 / (statvfs.f_blocks - statvfs.f_bfree + statvfs.f_bavail) as f64;
    assert!((used - here).abs() < 0.05, "/ is {used} full, statvfs says {here}");
    assert!(root["facets"]["main"]["at"].is_string() && root["stale"] == false, "{root}");

    let memory = get("/api/v1/latest?kind=memory&field=total_bytes");
    let total = memory["items"][0]["readings"]["total_bytes"].as_f64().unwrap();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kilobytes: f64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(total, kilobytes * 1024.0);

    let history = get("/api/v1/history?series=reef/cpu:cpu/usage_ratio&series=reef/load:load/load1&from=-5m");
    for series in history["series"].as_array().unwrap() {
        let (t, mean) = (series["t"].as_array().unwrap(), series["mean"].as_array().unwrap());
        assert!(!t.is_empty() && t.len() == mean.len(), "{series}");
        assert!(mean.iter().all(|value| (0.0..1e3).contains(&value.as_f64().unwrap())), "{series}");
    }
    let stepped = get("/api/v1/history?host=re*&kind=cpu&field=usage_ratio&from=-1m&step=10s");
    assert_eq!(stepped["t"].as_array().unwrap().len(), stepped["series"][0]["max"].as_array().unwrap().len());

    // The same by people's commands.
    assert!(hub.tomte(&["host", "list"]).lines().any(|line| line.starts_with("reef  ") && line.contains("online")));
    let shown = hub.tomte(&["host", "show", "reef"]);
    assert!(["filesystem:/", "cpu:cpu", "os:os"].iter().all(|resource| shown.contains(resource)), "{shown}");
    let shown = hub.json(&["host", "show", "reef"]);
    let resources: Vec<Resource> = serde_json::from_value(shown["resources"].clone()).unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(of_kind(&resources, "core").len(), cores);
    assert!(!of_kind(&resources, "process")[0].tables["top_by_memory"].rows.is_empty());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(of_kind(&resources, "os")[0].attributes["kernel"].to_string(), kernel.trim());
    let now = hub.tomte(&["query", "cpu", "usage_ratio"]);
    assert!(now.lines().nth(1).is_some_and(|line| line.starts_with("reef") && line.contains('%')), "{now}");
    let past = hub.tomte(&["query", "cpu", "usage_ratio", "--from", "-5m", "--step", "raw", "--format", "csv"]);
    let mut lines = past.lines();
    assert_eq!(lines.next(), Some("time,series,value"));
    assert!(lines.next().is_some_and(|line| line.contains(",reef/cpu:cpu/usage_ratio,")), "{past}");
    let events = hub.tomte(&["event", "list"]);
    assert!(events.contains("host_enrolled") && events.contains("host_online"), "{events}");
    assert!(hub.tomte(&["event", "list", "--type", "host_online", "--host", "reef"]).lines().count() == 2);

    export(&hub);
    prometheus(&hub, token);
    local_socket(&config, &resources);
    assert!(agent.stop().success());
    assert!(watch.stop().code().is_none_or(|code| code == 0));
}

/// History to CSV and to JSON lines: the same points.
fn export(hub: &Hub) {
    let (csv, json) = (hub.spare_folder().join("all.csv"), hub.spare_folder().join("all.jsonl"));
    let range = ["--from", "-10m", "--to", &now()];
    for (file, format) in [(&csv, "csv"), (&json, "json")] {
        let mut arguments = vec!["export", "--format", format, "--output", file.to_str().unwrap()];
        arguments.extend(range);
        hub.tomte(&arguments);
    }
    let csv = std::fs::read_to_string(csv).unwrap();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("time,host,kind,name,field,value"));
    let json = std::fs::read_to_string(json).unwrap();
    let points: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    assert!(points.len() > 100 && points.len() == lines.count(), "{} points", points.len());
    let usage = points.iter().find(|point| point["kind"] == "cpu" && point["field"] == "usage_ratio").expect("a point");
    let line =
        format!("{},reef,cpu,cpu,usage_ratio,{}", usage["time"].as_str().unwrap(), usage["value"].as_f64().unwrap());
    assert!(csv.contains(&line), "{line}");
    assert!(!std::fs::exists(hub.spare_folder().join("all.csv.part")).unwrap());
}

fn now() -> String {
    tomte_model::Clock::now(&tomte_collect::SystemClock).wall.to_string()
}

/// What Prometheus would scrape is clean.
fn prometheus(hub: &Hub, token: &str) {
    let mut http = Http::connect(&hub.url);
    let bearer = format!("Bearer {token}");
    let page = http.ask("GET", "/metrics", &[("authorization", &bearer)], "").unwrap().body;
    let expected = "# TYPE tomte_filesystem_used_ratio gauge";
    assert!(page.contains(expected) && page.contains("tomte_cpu_usage_ratio{host=\"reef\""), "{page}");
    check_metrics(&page);
}

/// Lets Prometheus' own tool look at a page.
pub(crate) fn check_metrics(page: &str) {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = match tool {
        Ok(tool) => tool,
        Err(error) => return eprintln!("SKIPPED: /metrics was not checked: promtool does not run: {error}"),
    };
    tool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

/// The same host without the hub: the agent's own socket speaks the API.
fn local_socket(config: &Path, at_the_hub: &[Resource]) {
    let socket = config.with_extension("toml.d").join("agent.sock");
    in_time("the agent's own answer", async {
        let client = Client::unix(&socket);
        let hosts = client.hosts().await.unwrap();
        assert_eq!(hosts.len(), 1);
        let local = client.host_resources(&hosts[0].name, None).await.unwrap();
        let names = |resources: &[Resource]| -> BTreeSet<String> {
            let lasting = |kind: &str| ["filesystem", "core", "cpu", "os", "memory", "interface"].contains(&kind);
            let kept = resources.iter().filter(|resource| lasting(&resource.kind));
            kept.map(|resource| format!("{}:{}", resource.kind, resource.name)).collect()
        };
        assert_eq!(names(&local), names(at_the_hub));
        let subscribe = Subscribe { id: "x".into(), every_s: Some(1), resources: true, ..Default::default() };
        let mut watcher = Watcher::new(&client, subscribe).await;
        watcher.until("delta", |body| matches!(body, Body::Delta(_)).then_some(())).await;
    });
    let table =
        tomte().args(["query", "load", "load1", "--hub", &format!("unix:{}", socket.display())]).output().unwrap();
    assert!(table.status.success() && text(&table.stdout).contains("LOAD1"), "{}", text(&table.stderr));
}

/// What works without any hub.
#[test]
fn an_agent_that_lives_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    std::fs::write(
        &config,
        "[[thresholds]]\nkind = \"filesystem\"\nname = \"/\"\nfield = \"used_ratio\"\nwarning = 0.5\n",
    )
    .unwrap();
    let run = |arguments: &[&str]| agent().args(arguments).arg("--config").arg(&config).output().unwrap();

    let check = text(&run(&["check"]).stdout);
    assert!(check.contains("filesystem:/") && check.contains("50 %"), "{check}");
    let once = run(&["once", "--json"]);
    let seen: Value = serde_json::from_slice(&once.stdout).unwrap();
    let collectors: BTreeSet<&str> =
        seen["reports"].as_array().unwrap().iter().map(|r| r["collector"].as_str().unwrap()).collect();
    for def in tomte_collect::COLLECTORS {
        assert!(collectors.contains(def.name), "{} is missing in {collectors:?}", def.name);
    }
    let doctor = run(&["doctor"]);
    let said = text(&doctor.stdout);
    assert!(doctor.status.success(), "{said}");
    for def in tomte_collect::COLLECTORS {
        let line = said.lines().find(|line| line.split_whitespace().next() == Some(def.name));
        let verdict = line.and_then(|line| line.split_whitespace().nth(1));
        assert!(verdict.is_some_and(|v| ["ok", "unavailable", "denied"].contains(&v)), "{}: {said}", def.name);
    }
    assert!(said.contains("lives alone"), "{said}");
    assert!(!config.with_extension("toml.d").exists(), "looking changes nothing");

    let mut agent = run_agent(&config);
    agent.wait_for_text("lives alone");
    let socket = config.with_extension("toml.d").join("agent.sock");
    in_time("a status of its own", async {
        let client = Client::unix(&socket);
        let mut watcher = Watcher::all(&client).await;
        watcher
            .until("cpu", |body| match body {
                Body::Snapshot(snapshot) => (!of_kind(&snapshot.resources, "cpu").is_empty()).then_some(()),
                Body::Delta(delta) => delta.resources.iter().any(|r| r.resource.kind == "cpu").then_some(()),
                _ => None,
            })
            .await;
    });
    // A second one on the same state is refused.
    let second = Process::start(agent_command(&config)).ended();
    assert!(!second.0.success() && second.1.contains("another tomte-agent already uses"), "{}", second.1);
    assert!(agent.stop().success());
}

/// The token is printed alone, before the hub ever ran, while it runs and after.
#[test]
fn tokens_are_made_whether_the_hub_runs_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("hub");
    let add = |name: &str| {
        let output = tomte().args(["token", "add", name, "--role", "viewer", "--data"]).arg(&data).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let token = text(&output.stdout);
        assert!(token.ends_with('\n') && token.split_whitespace().count() == 1, "{token:?}");
        token.trim().to_owned()
    };
    let before = add("before");
    let mut command = tomte();
    command.args(["hub", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    let (mut hub, url) = run_hub(command);
    let during = add("during");
    let works = |url: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        Http::connect(url).ask("GET", "/api/v1/hosts", &[("authorization", &bearer)], "").unwrap().status
    };
    assert_eq!((works(&url, &before), works(&url, &during)), (200, 200));
    assert!(hub.stop().success());
    let after = add("after");
    let mut command = tomte();
    command.args(["hub", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
    let (_hub, url) = run_hub(command);
    assert_eq!([&before, &during, &after].map(|token| works(&url, token)), [200; 3]);
    assert_eq!(works(&url, "tomte_a_wrong"), 401);
}

/// Every mistake is answered with what to do instead.
#[test]
fn mistakes_are_told_with_their_cure() {
    let hub = Hub::start();
    let fails = |output: Output, expected: &[&str]| {
        let said = text(&output.stderr);
        assert!(!output.status.success(), "it should fail: {}", text(&output.stdout));
        assert!(expected.iter().all(|words| said.contains(words)), "{expected:?} in {said}");
        assert!(!said.contains("panicked"), "{said}");
    };
    fails(hub.try_tomte(&["host", "show", "nobody"]), &["no such host", "\"nobody\""]);
    fails(hub.try_tomte(&["query", "cpuu", "usage_ratio"]), &["cpuu", "tomte catalogue"]);
    fails(hub.try_tomte(&["query", "cpu", "usage"]), &["usage", "tomte catalogue cpu"]);
    fails(hub.try_tomte(&["query", "cpu", "usage_ratio", "--from", "yesterdayish"]), &["from", "yesterdayish"]);
    fails(hub.try_tomte(&["query", "cpu", "usage_ratio", "--from", "-1h", "--agg", "quantile"]), &["quantile"]);
    fails(hub.try_tomte(&["host", "add", "No Name!"]), &["is not a host name", "a-z 0-9"]);
    fails(hub.try_tomte(&["token", "add", "x", "--role", "king"]), &["king", "viewer"]);
    fails(hub.try_tomte(&["host", "rm", "nobody", "--yes"]), &["nobody"]);
    fails(hub.try_tomte(&["catalogue", "fish"]), &["fish", "filesystem"]);

    let tomte_with = |arguments: &[&str], token: Option<&str>| {
        let mut command = tomte();
        command.args(arguments);
        if let Some(token) = token {
            command.env("TOMTE_TOKEN", token);
        }
        command.output().unwrap()
    };
    fails(tomte_with(&["host", "list"], None), &["--hub", "--data"]);
    fails(tomte_with(&["host", "list", "--hub", "hub.lan"], None), &["hub.lan", "https://"]);
    fails(tomte_with(&["host", "list", "--hub", "http://127.0.0.1:1"], None), &["127.0.0.1:1", "does the hub run"]);
    fails(tomte_with(&["host", "list", "--hub", &hub.url], None), &["no token was given", "--token-file"]);
    fails(tomte_with(&["host", "list", "--hub", &hub.url], Some("tomte_a_x")), &["TOMTE_TOKEN", "no longer"]);
    fails(tomte_with(&["host", "list", "--hub", &hub.url.replace("http", "https")], None), &["http://"]);
    fails(tomte_with(&["host", "list", "--data", "/nowhere/at/all"], None), &["/nowhere/at/all", "tomte hub"]);
    let token = hub.tomte(&["token", "add", "looker", "--role", "viewer"]);
    fails(tomte_with(&["host", "add", "x", "--hub", &hub.url], Some(token.trim())), &["admin"]);

    // The hub's own file: line and column.
    let file = hub.spare_folder().join("bad.toml");
    std::fs::write(&file, "data = \"/tmp\"\nlisten_on = \"x\"\n").unwrap();
    fails(tomte_with(&["check", "--config", file.to_str().unwrap()], None), &["bad.toml", "2", "listen_on"]);

    // The agent's mistakes.
    let config = hub.spare_folder().join("reef.toml");
    fails(try_enrol(&hub.url, "nonsense!", &config), &["not an enrolment code", "tomte host add"]);
    fails(try_enrol("hub.lan", &hub.code("reef"), &config), &["hub.lan"]);
    fails(try_enrol("http://127.0.0.1:1", &hub.code("reef"), &config), &["127.0.0.1:1"]);
    let code = hub.code("pond");
    assert!(try_enrol(&hub.url, &code, &config).status.success());
    let again = hub.spare_folder().join("again.toml");
    fails(try_enrol(&hub.url, &code, &again), &["used", "tomte host add"]);
    assert!(!again.exists(), "nothing was written for a host that was not enrolled");
    // A token that was ended: the agent says what to do about it.
    hub.tomte(&["host", "rotate", "pond", "--revoke"]);
    let mut agent = run_agent(&config);
    let said = agent.wait_for_text("401");
    assert!(said.contains("tomte host add"), "{said}");
}

/// `tomte check` tells each value and where it comes from.
#[test]
fn the_configuration_in_force_names_its_sources() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    std::fs::write(&file, "public_url = \"https://hub.example\"\n[history]\nraw = \"24h\"\n").unwrap();
    let output = tomte().args(["check", "--config"]).arg(&file).env("TOMTE_LIMITS_HOSTS", "12").output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let line =
        |key: &str| said.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("no {key}: {said}"));
    assert!(line("public_url").contains("hub.example") && line("public_url").contains("hub.toml"), "{said}");
    assert!(line("limits.hosts").contains("12") && line("limits.hosts").contains("TOMTE_LIMITS_HOSTS"), "{said}");
    assert!(line("history.raw").contains("1d") && line("limits.body_bytes").contains("default"), "{said}");
}
