//! One host in the API's types, from the agent's own latest state.

use std::sync::Arc;

use tomte_api::catalogue::Kind;
use tomte_api::event::Event;
use tomte_api::host::{Host, Presence};
use tomte_api::resource::{LatestRow, Resource};
use tomte_model::{Report, Severity, Timestamp};

use super::{Query, Station};
use crate::actions::Desk;

/// The host that this agent watches, as its clients see it.
#[derive(Debug)]
pub struct LocalHost {
    /// Where its state is.
    pub station: Arc<Station>,
    /// What the hub calls it, or the file, or the machine itself.
    pub name: String,
    /// What the machine calls itself.
    pub hostname: String,
    /// What it is for.
    pub roles: Vec<String>,
    /// When the agent started.
    pub started: Timestamp,
    /// Whether the clock is disciplined now.
    pub synchronised: fn() -> bool,
    /// What the host was asked to do; `None`: nothing can be asked.
    pub desk: Option<Arc<Desk>>,
}

impl LocalHost {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn answers_to(&self, name: &str) -> bool {
        name == self.name || name == self.hostname || name == self.station.pipeline().host().to_string()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.station.clock().now().wall
    }

    /// The host as a whole.
    pub(super) fn host(&self) -> Host {
        let now = self.now();
        let pipeline = self.station.pipeline();
        let assessment = pipeline.latest().assessment(now);
        let (status, reason, problems) =
            assessment.map_or((None, String::new(), Vec::new()), |a| (Some(a.status), a.reason, a.problems));
        Host {
            id: pipeline.host(),
            name: self.name.clone(),
            aliases: if self.hostname == self.name { Vec::new() } else { vec![self.hostname.clone()] },
            roles: self.roles.clone(),
            external_ids: Default::default(),
            via: Vec::new(),
            presence: Presence::Online,
            status,
            reason,
            problems,
            last_seen_at: Some(now),
            created_at: self.started,
            agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            skew_seconds: None,
            clock_synchronised: Some((self.synchronised)()),
            resources: pipeline.latest().resources().count() as u64,
            backlog: pipeline.outbox().waiting(),
            cluster: None,
            cluster_of: None,
        }
    }

    /// Its resources, as far as a query asks for them.
    pub(super) fn resources(&self, query: &Query, tables: bool) -> Vec<Resource> {
        let (kinds, statuses, text) = (query.all("kind"), query.all("status"), query.one("q"));
        let text = text.map(str::to_lowercase);
        let status = |resource: &Resource| resource.status.map_or("none", |status| status.as_str());
        let matches = |resource: &Resource| {
            (statuses.is_empty() || statuses.contains(&status(resource)))
                && text.as_deref().is_none_or(|text| mentions(resource, text))
        };
        let mut found = self.resources_of(&kinds);
        found.retain(matches);
        if !tables {
            found.iter_mut().for_each(|resource| resource.tables.clear());
        }
        found
    }

    /// Its resources of these kinds; all, when there are none.
    pub(super) fn resources_of<S: AsRef<str>>(&self, kinds: &[S]) -> Vec<Resource> {
        let now = self.now();
        let pipeline = self.station.pipeline();
        let wanted = |kind: &str| kinds.is_empty() || kinds.iter().any(|wanted| wanted.as_ref() == kind);
        let resources = pipeline.latest().resources().filter(|(key, _)| wanted(&key.kind));
        resources.map(|(key, state)| Resource::of(&self.name, pipeline.host(), key, state, now)).collect()
    }

    /// The latest readings, one row a resource.
    pub(super) fn latest(&self, query: &Query) -> Vec<LatestRow> {
        let fields = query.all("field");
        let row = |resource: Resource| LatestRow {
            host: resource.host,
            host_id: resource.host_id,
            kind: resource.kind,
            name: resource.name,
            status: resource.status,
            stale: resource.stale,
            at: resource.at,
            readings: resource
                .readings
                .into_iter()
                .filter(|(field, _)| fields.is_empty() || fields.contains(&field.as_str()))
                .collect(),
        };
        let rows = self.resources_of(&query.all("kind")).into_iter().map(row);
        rows.filter(|row| !row.readings.is_empty()).collect()
    }

    /// What every kind and field means.
    pub(super) fn catalogue(&self) -> Vec<Kind> {
        self.station.pipeline().catalogue().kinds().map(Kind::from).collect()
    }

    /// What happened of late, as far as a query asks for it, newest first.
    pub(super) fn recent_events(&self, query: &Query) -> Vec<Event> {
        let (kinds, subject) = (query.all("type"), query.one("subject"));
        let limit = query.one("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let severity = query.one("severity");
        let severe = |event: &tomte_model::Event| {
            let known = [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical];
            let least = known.into_iter().find(|known| Some(known.as_str()) == severity);
            least.is_none_or(|least| event.severity >= least)
        };
        let host = (self.station.pipeline().host(), self.name.as_str());
        let wanted = self.station.recent_events().into_iter().filter(|event| {
            (kinds.is_empty() || kinds.contains(&event.kind.as_str()))
                && subject.is_none_or(|subject| event.subject.as_deref() == Some(subject))
                && severe(event)
        });
        wanted.take(limit).map(|event| Event::of(&event, 0, event.at, Some(host))).collect()
    }

    /// The events of a report.
    pub(super) fn events(&self, report: &Report) -> Vec<Event> {
        let now = self.now();
        report.events.iter().map(|event| Event::of(event, 0, now, Some((report.host, &self.name)))).collect()
    }
}

/// Whether a text occurs in what people would look for.
fn mentions(resource: &Resource, lower: &str) -> bool {
    let texts = [&resource.kind, &resource.name, &resource.reason];
    texts.into_iter().any(|text| text.to_lowercase().contains(lower))
        || resource.attributes.values().any(|value| value.to_string().to_lowercase().contains(lower))
}
