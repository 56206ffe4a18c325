//! `tomte-agent once`: everything there is to see of this host, printed.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tomte_collect::{Root, SystemClock, boot_id, hostname};
use tomte_model::{Catalogue, Clock, HostId, Report, Status, Timestamp};

use crate::config::Config;
use crate::look::{judged, look, newest, nobody};
use crate::state::StateDir;

/// Rates are worked out over this long; a tree that stands for a host does not
/// change, so that it is looked at once only and has none.
const PAUSE: Duration = Duration::from_secs(1);

/// All that was seen.
#[derive(Debug, Serialize)]
pub struct Once {
    /// The agent's version.
    pub agent_version: &'static str,
    /// The host's id; zero where no agent has run yet.
    pub host: HostId,
    /// What the machine calls itself.
    pub hostname: String,
    /// When it was looked at.
    pub at: Timestamp,
    /// One report a collector, judged by the thresholds in force.
    pub reports: Vec<Report>,
}

/// Looks at the host whose files begin at that root.
#[must_use]
pub fn once(config: &Config, root: &Root) -> Once {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sights = look(config, root, root.is_system().then_some(PAUSE), &clock);
    // Only looked up: a look at a host changes nothing on it.
    let host = StateDir::existing(&config.state_dir).and_then(|state| state.identity().ok().flatten());
    let host = host.filter(|_| root.is_system()).map_or_else(nobody, |identity| identity.host);
    let reports = judged(config, host, boot_id(root), sights);
    let at = newest(&reports);
    Once { agent_version: env!("CARGO_PKG_VERSION"), host, hostname: hostname(root), at, reports }
}

/// The same for people: one line a resource, the worst status first.
#[must_use]
pub fn table(once: &Once) -> String {
    let catalogue = Catalogue::builtin();
    let mut lines = Vec::new();
    for report in &once.reports {
        for scope in &report.scopes {
            if let Some(error) = scope.outcome.error() {
                let word = crate::own::word(&scope.outcome);
                lines.push((None, word.to_owned(), format!("{}:{}", report.collector, scope.name), error.to_owned()));
            }
            for facet in &scope.facets {
                let status = facet.assessment.as_ref().map(|assessment| assessment.status);
                let reason = facet.assessment.as_ref().map_or("", |assessment| assessment.reason.as_str());
                let unit = |field: &str| catalogue.field(&facet.resource.kind, field).map(|field| field.unit.clone());
                let readings = facet.readings.iter().map(|(field, value)| match unit(field) {
                    Some(unit) => format!("{field} {}", unit.format(*value)),
                    None => format!("{field} {value}"),
                });
                let readings: Vec<_> = readings.collect();
                let reason = if reason.is_empty() { String::new() } else { format!("{reason}  ") };
                let text = format!("{reason}{}", readings.join(", "));
                lines.push((status, status.map_or("-", Status::as_str).to_owned(), facet.resource.to_string(), text));
            }
        }
    }
    lines.sort_by_key(|(status, ..)| std::cmp::Reverse(*status));
    let width = |column: fn(&(Option<Status>, String, String, String)) -> &str| {
        lines.iter().map(|line| column(line).chars().count()).max().unwrap_or(0)
    };
    let (words, names) = (width(|line| &line.1), width(|line| &line.2).min(40));
    let mut text = String::new();
    for (_, word, name, rest) in &lines {
        let _ = writeln!(text, "{word:words$}  {name:names$}  {rest}");
    }
    text
}
