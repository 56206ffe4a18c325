//! What of a resource is published, and how it is written.

use serde_json::json;
use tomte_model::catalogue::{HomeAssistant, KindDef};
use tomte_model::latest::{FacetState, ResourceState};
use tomte_model::{Latest, Name, ResourceKey, Status, Timestamp, Value};

use crate::entity::NO_VALUE;
use crate::names::hash;

/// Longer texts are refused by Home Assistant.
const LONGEST_TEXT: usize = 255;
/// So many problems are listed at most.
const MOST_PROBLEMS: usize = 20;

pub(super) fn judged(state: &ResourceState) -> bool {
    state.facets.values().any(|facet| facet.assessment.is_some())
}

pub(super) fn attribute<'a>(kind: &'a KindDef, name: &str) -> Option<&'a HomeAssistant> {
    kind.attributes.iter().find(|attribute| attribute.name == name)?.home_assistant.as_ref()
}

/// A value on its way to a topic.
#[derive(Clone, Copy)]
pub(super) enum Shown<'a> {
    Number(f64),
    Flag(bool),
    Text(&'a str),
}

impl Shown<'_> {
    pub(super) fn text(self) -> String {
        match self {
            // Without an exponent, and the shortest that reads back the same.
            Self::Number(value) if value.is_finite() => format!("{}", value + 0.0),
            Self::Number(_) => NO_VALUE.to_owned(),
            Self::Flag(true) => "ON".to_owned(),
            Self::Flag(false) => "OFF".to_owned(),
            Self::Text(text) => {
                let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect();
                if text.is_empty() { NO_VALUE.to_owned() } else { text }
            }
        }
    }

    pub(super) fn hash(self) -> u64 {
        match self {
            Self::Number(value) => value.to_bits(),
            Self::Flag(value) => u64::from(value),
            Self::Text(text) => hash(text.as_bytes()),
        }
    }
}

pub(super) fn shown_of_facet<'a>(
    kind: &'a KindDef,
    facet: &'a FacetState,
) -> impl Iterator<Item = (&'a Name, Shown<'a>)> {
    // `status` is what the judgement says.
    let readings = facet.readings.iter().filter(|(name, _)| name != "status");
    let readings = readings.map(|(name, value)| (name, Shown::Number(*value)));
    let attributes = facet.attributes.iter().filter(|(name, _)| attribute(kind, name).is_some());
    let attributes = attributes.filter_map(|(name, value)| match value {
        Value::Bool(flag) => Some((name, Shown::Flag(*flag))),
        Value::Text(text) => Some((name, Shown::Text(text))),
        Value::Number(_) => None,
    });
    readings.chain(attributes)
}

pub(super) fn shown_values<'a>(
    kind: &'a KindDef,
    state: &'a ResourceState,
) -> impl Iterator<Item = (&'a Name, Shown<'a>)> {
    state.facets.values().flat_map(|facet| shown_of_facet(kind, facet))
}

pub(super) fn status_text(latest: &Latest, status: Status, reason: &str, now: Timestamp) -> String {
    let problems: Vec<_> = latest
        .resources()
        .filter_map(|(resource, state)| Some((resource, state.assessment(now)?)))
        .filter(|(_, assessment)| assessment.status != Status::Ok)
        .take(MOST_PROBLEMS)
        .map(|(resource, assessment)| {
            json!({ "subject": resource.to_string(), "status": assessment.status, "reason": assessment.reason })
        })
        .collect();
    json!({ "status": status, "reason": reason, "problems": problems }).to_string()
}

/// What there is to install, as an update of Home Assistant tells it: of
/// packages by their number, of the agent by its version.
pub(super) fn update_text(resource: &ResourceKey, state: &ResourceState, newest: Option<&str>) -> Option<String> {
    let text = |name: &str| match state.attributes().find(|(known, _)| *known == name)?.1 {
        Value::Text(text) => Some(text.as_str()),
        Value::Bool(_) | Value::Number(_) => None,
    };
    match resource.kind.as_ref() {
        "updates" => {
            let number = |name: &str| state.readings().find(|(known, _)| *known == name).map(|(_, value)| value);
            let pending = number("pending")?;
            let (installed, summary) = match (pending > 0.0, number("security").filter(|security| *security > 0.0)) {
                (false, _) => (ALL_INSTALLED.to_owned(), String::new()),
                (true, None) => (format!("{pending} pending"), String::new()),
                (true, Some(security)) => (format!("{pending} pending"), format!("{security} of them for security")),
            };
            let title =
                text("manager").map_or_else(|| "Packages".to_owned(), |manager| format!("Packages ({manager})"));
            let (installed, latest) = (installed.as_str(), ALL_INSTALLED);
            Some(update(installed, latest, &title, &summary))
        }
        "agent" => {
            let (installed, newest) = (text("version")?, newest?);
            let latest = if version(newest) > version(installed) { newest } else { installed };
            Some(update(installed, latest, "Tomte agent", ""))
        }
        _ => None,
    }
}

/// A version's numbers, to be compared.
fn version(text: &str) -> Vec<u64> {
    text.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

/// What both versions are when no package waits.
const ALL_INSTALLED: &str = "all installed";

/// One key more and Home Assistant refuses the message.
fn update(installed: &str, latest: &str, title: &str, summary: &str) -> String {
    json!({ "installed_version": installed, "latest_version": latest, "title": title, "release_summary": summary })
        .to_string()
}
