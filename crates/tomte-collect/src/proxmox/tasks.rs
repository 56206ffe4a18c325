//! Tasks that failed, and replications.

use std::collections::BTreeMap;

use tomte_model::report::Table;
use tomte_model::{Facet, Name, Timestamp, Value};

use super::wire::Row;

/// At most so many failed tasks are listed.
const LISTED: usize = 50;

/// Whether a task has ended badly. What somebody stopped has not failed; what
/// ended with warnings has done its work.
pub(super) fn failed(task: &Row) -> bool {
    let status = task.status.as_str();
    task.endtime.0.is_some()
        && !status.is_empty()
        && status != "OK"
        && !warned(task)
        && !["interrupted by signal", "unexpected status", "stopped", "received interrupt"].contains(&status)
}

fn warned(task: &Row) -> bool {
    task.status.as_str().starts_with("WARNINGS")
}

/// What a node's tasks of the last day tell.
pub(super) fn facet(node: &str, tasks: &[Row]) -> Facet {
    // The latest of each sort decides: what went well since is mended.
    let mut latest: BTreeMap<(&str, &str), &Row> = BTreeMap::new();
    let mut newest_first: Vec<&Row> = tasks.iter().collect();
    newest_first.sort_by(|a, b| b.starttime.0.partial_cmp(&a.starttime.0).unwrap_or(std::cmp::Ordering::Equal));
    for task in newest_first.iter().filter(|task| task.endtime.0.is_some()) {
        latest.entry((task.r#type.as_str(), task.id.as_str())).or_insert(task);
    }
    let mut bad: Vec<&Row> = latest.values().copied().filter(|task| failed(task)).collect();
    bad.sort_by(|a, b| b.starttime.0.partial_cmp(&a.starttime.0).unwrap_or(std::cmp::Ordering::Equal));
    let mut facet = Facet::extra("node", node, "tasks");
    let count = |number: usize| number as f64;
    facet.read("failed_tasks", count(bad.len()));
    facet.read("warned_tasks", count(latest.values().filter(|task| warned(task)).count()));
    facet.read("running_tasks", count(tasks.iter().filter(|task| task.endtime.0.is_none()).count()));
    if let Some(last) = bad.first() {
        let id = last.id.as_str();
        let what =
            if id.is_empty() { last.r#type.as_str().to_owned() } else { format!("{} {id}", last.r#type.as_str()) };
        facet.text("last_failed", format!("{what}: {}", short(last.status.as_str())));
    }
    let text = |text: &str| (!text.is_empty()).then(|| Value::Text(short(text)));
    let time = |time: Option<Timestamp>| time.map(|time| Value::Text(time.to_string()));
    let row = |task: &&Row| {
        vec![
            text(task.r#type.as_str()),
            text(task.id.as_str()),
            text(task.user.as_str()),
            time(task.starttime.time()),
            time(task.endtime.time()),
            text(task.status.as_str()),
        ]
    };
    facet.tables.push(Table {
        name: "failed".into(),
        columns: ["type", "id", "user", "started", "ended", "error"].map(Name::from).to_vec(),
        rows: bad.iter().take(LISTED).map(row).collect(),
    });
    facet
}

fn short(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// A replication.
pub(super) fn replication(row: &Row, node: &str, now: Timestamp) -> Option<Facet> {
    let id = row.id.as_str();
    let plain = |text: &str| text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if id.is_empty() || !plain(id) {
        return None;
    }
    let mut facet = Facet::owner("replication", id, "main");
    let last = row.last_sync.time();
    let disabled = row.disable.flag();
    let failures = row.fail_count.0.unwrap_or(0.0);
    facet.text(
        "state",
        match () {
            () if disabled => "disabled",
            () if row.pid.0.is_some() => "running",
            () if failures > 0.0 => "failed",
            () if last.is_none() => "never",
            () => "ok",
        },
    );
    facet.text("guest", row.guest.0.map(|guest| guest.to_string()).unwrap_or_default());
    let source = row.source.as_str();
    facet.text("source", if source.is_empty() { node } else { source });
    facet.text("target", row.target.as_str());
    facet.text("schedule", row.schedule.as_str());
    facet.text("last_success", last.map(|last| last.to_string()).unwrap_or_default());
    let next = row.next_sync.time().filter(|_| !disabled);
    facet.text("next_run", next.map(|next| next.to_string()).unwrap_or_default());
    facet.text("error", short(row.error.as_str()));
    facet.read("age_seconds", last.map(|last| now.since(last).as_secs_f64()));
    facet.read("duration_seconds", row.duration.0.filter(|seconds| *seconds >= 0.0));
    // What is switched off raises no alarm.
    facet.read("failures", if disabled { None } else { Some(failures.max(0.0)) });
    facet.read("until_next_run_seconds", next.map(|next| next.since(now).as_secs_f64()));
    Some(facet)
}
