//! `tomte-agent once`: everything there is to see of this host, printed.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tomte_collect::{Root, SystemClock, boot_id, hostname};
use tomte_model::{Catalogue, Clock, Facet, HostId, Name, Report, Status, Timestamp};

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

/// A line for people.
struct Line {
    status: Option<Status>,
    word: &'static str,
    subject: String,
    text: String,
}

/// The same for people: one line a resource, the worst status first.
#[must_use]
pub fn table(once: &Once) -> String {
    let catalogue = Catalogue::builtin();
    let mut lines = Vec::new();
    for report in &once.reports {
        for scope in &report.scopes {
            if let Some(error) = scope.outcome.error() {
                let subject = format!("{}:{}", report.collector, scope.name);
                let word = crate::own::word(&scope.outcome);
                lines.push(Line { status: None, word, subject, text: error.to_owned() });
            }
            lines.extend(scope.facets.iter().map(|facet| line(facet, &catalogue)));
        }
    }
    lines.sort_by_key(|line| std::cmp::Reverse(line.status));
    let words = lines.iter().map(|line| line.word.len()).max().unwrap_or(0);
    let subjects = lines.iter().map(|line| line.subject.chars().count()).max().unwrap_or(0).min(40);
    let mut text = String::new();
    for Line { word, subject, text: rest, .. } in &lines {
        let _ = writeln!(text, "{word:words$}  {subject:subjects$}  {rest}");
    }
    text
}

fn line(facet: &Facet, catalogue: &Catalogue) -> Line {
    let status = facet.assessment.as_ref().map(|assessment| assessment.status);
    let reason = facet.assessment.as_ref().map(|assessment| assessment.reason.clone());
    let unit = |field: &str| catalogue.field(&facet.resource.kind, field).map(|field| field.unit.clone());
    let reading = |(field, value): &(Name, f64)| match unit(field) {
        Some(unit) => format!("{field} {}", unit.format(*value)),
        None => format!("{field} {value}"),
    };
    let mut facts: Vec<String> = facet.readings.iter().map(reading).collect();
    // What has no numbers is told by its texts.
    if facts.is_empty() {
        facts.extend(facet.attributes.iter().map(|(name, value)| format!("{name} {value}")));
    }
    let reason = reason.filter(|reason| !reason.is_empty()).map_or_else(String::new, |reason| format!("{reason}  "));
    Line {
        status,
        word: status.map_or("-", Status::as_str),
        subject: facet.resource.to_string(),
        text: format!("{reason}{}", facts.join(", ")),
    }
}
