//! An engine that answers what a real one has answered, over a real socket.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::thread;

use tomte_model::Timestamp;

use super::*;

/// What was asked, and what is answered by the beginning of the target.
type Answers = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Serves a socket below that root; answers can be replaced while it runs.
fn engine(root: &Root) -> (Answers, Arc<Mutex<Vec<String>>>) {
    let socket = root.path("run/docker.sock");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    let answers: Answers = Arc::default();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (its_answers, its_asked) = (answers.clone(), asked.clone());
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let target = line.split(' ').nth(1).unwrap().to_owned();
            its_asked.lock().unwrap().push(target.clone());
            let answers = its_answers.lock().unwrap();
            let body = answers.iter().rev().find(|(start, _)| target.starts_with(start.as_str()));
            let (status, body) = body.map_or(("404 Not Found", &b"{}"[..]), |(_, body)| ("200 OK", body.as_slice()));
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body).unwrap();
        }
    });
    (answers, asked)
}

fn put(root: &Root, path: &str, text: &str) {
    let path = root.path(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

const WEB: &str = "27b7140b1d93a67acd77bb10ba2df33e0c661af38f0f400bc7bea58294433eff";

#[test]
fn containers_are_told_with_their_own_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path());
    let (answers, asked) = engine(&root);
    let listed = include_bytes!("../../tests/captured/docker/containers_json_all.json").to_vec();
    {
        let mut answers = answers.lock().unwrap();
        answers.push(("/version".into(), include_bytes!("../../tests/captured/docker/version.json").to_vec()));
        answers.push(("/containers/json".into(), listed));
        let inspected = include_bytes!("../../tests/captured/docker/inspect_crashloop.json").to_vec();
        answers.push(("/containers/".into(), inspected));
        // The longest start is asked last, and so found first.
        let web = include_bytes!("../../tests/captured/docker/inspect_web_compose_v2.json").to_vec();
        answers.push((format!("/containers/{WEB}"), web));
        let all = answers.remove(1);
        answers.push(all);
    }
    let group = format!("sys/fs/cgroup/docker/{WEB}");
    put(&root, "sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
    put(&root, "proc/22680/cgroup", &format!("0::/docker/{WEB}/init.scope\n"));
    put(&root, &format!("{group}/cpu.stat"), "usage_usec 1000000\n");
    put(&root, &format!("{group}/memory.current"), "1000\n");
    put(&root, &format!("{group}/memory.max"), "4000\n");
    put(&root, "proc/22680/net/dev", "h\nh\n lo: 9 0 0 0 0 0 0 0 9 0\neth0: 1000 12 0 0 0 0 0 0 50 1 0 0\n");

    let mut collector = make(&root, &Settings::default());
    let wall: Timestamp = "2026-11-20T20:37:43Z".parse().unwrap();
    let at =
        |seconds: u64| Moment { wall: wall.plus(Duration::from_secs(seconds)), boot_millis: 100_000 + seconds * 1000 };
    let scopes = collector.collect(at(0));
    assert_eq!(scopes[0].outcome, Outcome::Complete, "{:?}", scopes[0]);
    assert!(matches!(scopes[1].outcome, Outcome::Unavailable { .. }), "no podman here");
    let find = |scopes: &[Scope], name: &str| -> Facet {
        scopes[0].facets.iter().find(|facet| facet.resource.to_string() == name).cloned().unwrap()
    };
    let engine = find(&scopes, "container_engine:docker");
    assert_eq!((engine.reading("containers"), engine.reading("running")), (Some(6.0), Some(3.0)));
    let web = find(&scopes, "container:proj/web/1");
    assert_eq!((web.reading("uptime_seconds"), web.reading("unhealthy")), (Some(9.0), Some(0.0)));
    assert_eq!((web.reading("memory_bytes"), web.reading("memory_used_ratio")), (Some(1000.0), Some(0.25)));
    assert_eq!(web.attribute("ports").unwrap().to_string(), "18081->80/tcp");
    let crash = find(&scopes, "container:crash");
    assert_eq!((crash.reading("restarting"), crash.reading("failed")), (Some(1.0), Some(0.0)));
    assert_eq!((crash.reading("restarts"), crash.reading("exit_code")), (Some(14.0), Some(3.0)));

    put(&root, &format!("{group}/cpu.stat"), "usage_usec 6000000\n");
    put(&root, "proc/22680/net/dev", "h\nh\n lo: 9 0 0 0 0 0 0 0 9 0\neth0: 2000 12 0 0 0 0 0 0 150 1 0 0\n");
    asked.lock().unwrap().clear();
    let scopes = collector.collect(at(10));
    let web = find(&scopes, "container:proj/web/1");
    assert_eq!(web.reading("cpu_ratio"), Some(0.5));
    assert_eq!(
        (web.reading("receive_bytes_per_second"), web.reading("transmit_bytes_per_second")),
        (Some(100.0), Some(10.0))
    );
    let asked = asked.lock().unwrap();
    assert!(!asked.iter().any(|target| target.contains(WEB)), "nothing changed: {asked:?}");
}

#[test]
fn a_container_that_is_away_from_a_whole_list_is_gone_and_a_failed_list_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path());
    let (answers, _) = engine(&root);
    let set = |list: &[u8]| {
        *answers.lock().unwrap() =
            vec![("/version".into(), b"{}".to_vec()), ("/containers/json".into(), list.to_vec())];
    };
    let mut collector = make(&root, &Settings::default());
    set(b"[]");
    let scopes = collector.collect(Moment::default());
    assert_eq!((&scopes[0].outcome, scopes[0].facets.len()), (&Outcome::Complete, 1));
    set(b"[{]");
    assert!(matches!(collector.collect(Moment::default())[0].outcome, Outcome::Failed { .. }));
}

#[test]
fn networks_are_added_up_without_the_loopback() {
    let text = "Inter-|   Receive\n face |bytes\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  eth0: 1096 12 0 0 0 0 0 0 7 1 0 0\n  eth1: 4 1 0 0 0 0 0 0 3 1 0 0\n";
    assert_eq!(parse_network(text), Some((1_100, 10)));
    assert_eq!(parse_network("    lo: 5 1 0 0 0 0 0 0 5 1\n"), None);
}
