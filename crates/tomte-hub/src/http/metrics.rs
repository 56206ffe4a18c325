//! The latest readings in Prometheus' text format, with the catalogue's words
//! as HELP.
//!
//! What is stale is left out: Prometheus takes what it scrapes for present.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tomte_api::host::Presence;
use tomte_model::{Catalogue, HostId, HostName, Status, Timestamp};

use super::problem::Failure;
use super::{App, system};
use crate::access::Viewer;

/// Latest readings of all hosts, their status, and the hub's own counters.
///
/// Readings are `tomte_KIND_FIELD{host=,name=}`. A status is a number: 0 ok,
/// 1 unknown, 2 warning, 3 critical.
#[utoipa::path(get, path = "/metrics", tag = "resources",
    responses((status = 200, description = "Prometheus text format", body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(_: Viewer, State(app): State<App>) -> Result<Response, Failure> {
    let mut page = Page::default();
    own(&mut page, &app).await?;
    hosts(&mut page, &app);
    readings(&mut page, &app);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.text).into_response())
}

/// What a family of samples is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Gauge,
    Counter,
}

/// The text, family by family.
#[derive(Debug, Default)]
struct Page {
    text: String,
    used: HashSet<String>,
}

impl Page {
    /// Begins a family, and returns the name that its samples bear: `name` made
    /// valid, and told apart from those that are there already.
    fn family(&mut self, name: &str, kind: Type, help: &str) -> String {
        let mut name = valid(name);
        // These ends have a meaning that a gauge does not have.
        let reserved = ["_count", "_sum", "_bucket", "_total", "_info"];
        if kind == Type::Gauge && reserved.iter().any(|end| name.ends_with(end)) {
            name.push_str("_value");
        }
        while !self.used.insert(name.clone()) {
            name.push_str("_other");
        }
        let word = if kind == Type::Counter { "counter" } else { "gauge" };
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        // Writing to a text cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {word}");
        name
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        write_labels(&mut self.text, labels);
        let _ = writeln!(self.text, " {value}");
    }
}

fn write_labels(text: &mut String, labels: &[(&str, &str)]) {
    for (i, (label, value)) in labels.iter().enumerate() {
        text.push(if i == 0 { '{' } else { ',' });
        text.push_str(label);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str(r"\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str(r"\n"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    if !labels.is_empty() {
        text.push('}');
    }
}

/// A name with what Prometheus does not allow replaced by underscores.
fn valid(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '_' }).collect()
}

async fn own(page: &mut Page, app: &App) -> Result<(), Failure> {
    let name = page.family("tomte_hub_version", Type::Gauge, "The hub's version; always 1.");
    page.sample(&name, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let name = page.family("tomte_hub_uptime_seconds", Type::Gauge, "How long the hub has been running.");
    page.sample(&name, &[], app.hub.now().since(app.hub.started_at()).as_secs_f64());
    let name = page.family("tomte_hub_storage_bytes", Type::Gauge, "How much the hub's databases hold.");
    for (file, bytes) in system::storage(app).await? {
        page.sample(&name, &[("file", &file)], bytes as f64);
    }
    for (counter, count) in app.hub.counters() {
        let total = if counter.ends_with("_total") { "" } else { "_total" };
        let help = format!("Counted by the hub since its start: {}.", counter.replace('_', " "));
        let name = page.family(&format!("tomte_hub_{counter}{total}"), Type::Counter, &help);
        page.sample(&name, &[], count as f64);
    }
    Ok(())
}

fn hosts(page: &mut Page, app: &App) {
    let hosts = app.hub.hosts();
    let name = page.family("tomte_host_up", Type::Gauge, "Whether the host's agent is heard: 1 online or late, 0 not.");
    for host in &hosts {
        let up = matches!(host.presence, Presence::Online | Presence::Late);
        page.sample(&name, &[("host", host.name.as_str())], f64::from(u8::from(up)));
    }
    let help = "How the host stands: 0 ok, 1 unknown, 2 warning, 3 critical.";
    let name = page.family("tomte_host_status", Type::Gauge, help);
    for host in &hosts {
        if let Some(assessment) = &host.assessment {
            page.sample(&name, &[("host", host.name.as_str())], number(assessment.status));
        }
    }
    let help = "When the host's agent was last heard, in seconds since 1970.";
    let name = page.family("tomte_host_last_seen_timestamp_seconds", Type::Gauge, help);
    for host in &hosts {
        if let Some(seen) = host.last_seen_at {
            page.sample(&name, &[("host", host.name.as_str())], seen.millis() as f64 / 1_000.0);
        }
    }
    let help = "How far the host's clock is ahead of the hub's.";
    let name = page.family("tomte_host_clock_skew_seconds", Type::Gauge, help);
    for host in &hosts {
        if let Some(skew) = host.skew_millis {
            page.sample(&name, &[("host", host.name.as_str())], skew as f64 / 1_000.0);
        }
    }
}

fn number(status: Status) -> f64 {
    match status {
        Status::Ok => 0.0,
        Status::Unknown => 1.0,
        Status::Warning => 2.0,
        Status::Critical => 3.0,
    }
}

/// The samples of each field: finished lines but for the family's name, which
/// is not known to be free until the family begins.
type Fields = BTreeMap<(String, String), Vec<(String, f64)>>;

fn readings(page: &mut Page, app: &App) {
    let now = app.hub.now();
    let mut fields = Fields::new();
    let mut statuses = Vec::new();
    for (id, host) in app.hub.host_names() {
        gather(app, id, &host, now, &mut fields, &mut statuses);
    }
    let help = "How the resource stands: 0 ok, 1 unknown, 2 warning, 3 critical.";
    let name = page.family("tomte_resource_status", Type::Gauge, help);
    for (labels, value) in statuses {
        let _ = writeln!(page.text, "{name}{labels} {value}");
    }
    write_fields(page, &app.hub.catalogue(), fields);
}

fn gather(
    app: &App,
    id: HostId,
    host: &HostName,
    now: Timestamp,
    fields: &mut Fields,
    statuses: &mut Vec<(String, f64)>,
) {
    app.hub.with_latest(id, |_, latest| {
        for (key, state) in latest.resources() {
            if let Some(assessment) = state.assessment(now) {
                let mut labels = String::new();
                write_labels(&mut labels, &[("host", host.as_str()), ("kind", &key.kind), ("name", &key.name)]);
                statuses.push((labels, number(assessment.status)));
            }
            let mut labels = String::new();
            write_labels(&mut labels, &[("host", host.as_str()), ("name", &key.name)]);
            let mut seen = HashSet::new();
            for facet in state.facets.values().filter(|facet| facet.staleness(now).is_none()) {
                for (field, value) in &facet.readings {
                    // Two facets may bring one field; a sample may be there once.
                    if seen.insert(field) {
                        let family = (key.kind.to_string(), field.to_string());
                        fields.entry(family).or_default().push((labels.clone(), *value));
                    }
                }
            }
        }
    });
}

fn write_fields(page: &mut Page, catalogue: &Catalogue, fields: Fields) {
    for ((kind, field), samples) in fields {
        let help = catalogue.field(&kind, &field).map(|field| field.help.as_ref()).filter(|help| !help.is_empty());
        let described = format!("{field} of {kind}.");
        let counter = if field.ends_with("_total") { Type::Counter } else { Type::Gauge };
        let name = page.family(&format!("tomte_{kind}_{field}"), counter, help.unwrap_or(&described));
        for (labels, value) in samples {
            let _ = writeln!(page.text, "{name}{labels} {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_never_taken_twice() {
        let mut page = Page::default();
        assert_eq!(page.family("tomte_ünï-kind_Field", Type::Gauge, "x"), "tomte__n__kind_field");
        assert_eq!(page.family("tomte_a_count", Type::Gauge, "x"), "tomte_a_count_value");
        assert_eq!(page.family("tomte_a_total", Type::Counter, "x"), "tomte_a_total");
        assert_eq!(page.family("tomte_a_b", Type::Gauge, "x"), "tomte_a_b");
        assert_eq!(page.family("tomte_a_b", Type::Gauge, "x"), "tomte_a_b_other");
    }

    #[test]
    fn labels_and_help_are_escaped() {
        let mut page = Page::default();
        let name = page.family("a", Type::Gauge, "back\\slash\nline");
        page.sample(&name, &[("name", "a\"b\\c\nd")], 0.5);
        assert_eq!(page.text, "# HELP a back\\\\slash\\nline\n# TYPE a gauge\na{name=\"a\\\"b\\\\c\\nd\"} 0.5\n");
    }
}
