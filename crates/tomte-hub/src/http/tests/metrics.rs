//! Prometheus' own tool reads what we write.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

/// A hub that knows a resource of every kind with every field, with names that
/// need escaping.
async fn everything() -> TestHub {
    let hub = TestHub::new();
    let (a, b) = (hub.enrol("nas").await, hub.enrol("pi").await);
    let mut sequence = 0;
    for host in [a, b] {
        for kind in hub.hub.catalogue().kinds() {
            let mut facet = Facet::owner(kind.name.clone(), "odd \"name\" \\ \n/x", "main");
            for field in &*kind.fields {
                facet.read(field.name.clone(), 0.5);
            }
            sequence += 1;
            hub.report(host, &kind.name, sequence, vec![facet]);
        }
    }
    let mut foreign = Facet::owner("foreign-kind", "x", "main");
    for field in ["Weird Field", "things_count", "events_total"] {
        foreign.read(field, 1.0);
    }
    hub.report(a, "foreign", sequence + 1, vec![foreign]);
    hub
}

#[tokio::test]
async fn the_latest_readings_are_there_with_help_and_type() {
    let hub = everything().await;
    let answer = hub.local(Method::GET, "/metrics", None).await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text;
    assert!(text.contains("# TYPE tomte_cpu_usage_ratio gauge\n"), "{text}");
    assert!(text.contains("tomte_cpu_usage_ratio{host=\"nas\",name=\"odd \\\"name\\\" \\\\ \\n/x\"} 0.5\n"));
    assert!(text.contains("tomte_host_up{host=\"nas\"}"));
    assert!(text.contains("# TYPE tomte_foreign_kind_events_total counter\n"));
    assert!(text.contains("tomte_foreign_kind_things_count_value{host=\"nas\",name=\"x\"} 1\n"));
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let reserved = ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
        assert!(kind == "counter" || !reserved, "{line}");
    }
    // What is stale is not passed off as present.
    hub.forward(3_600_000);
    let later = hub.local(Method::GET, "/metrics", None).await.text;
    assert!(!later.contains("tomte_cpu_usage_ratio{"));
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
async fn promtool_finds_nothing_to_complain_about() {
    let hub = everything().await;
    let text = hub.local(Method::GET, "/metrics", None).await.text;
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = match tool {
        Ok(tool) => tool,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED: promtool is not installed (Debian: apt-get install prometheus)");
            return;
        }
        Err(error) => panic!("promtool: {error}"),
    };
    tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
