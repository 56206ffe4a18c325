//! Judging readings: thresholds with hysteresis and hold time.
//!
//! [`Assessor`] is a state machine: it is given a report and the present time,
//! writes each facet's assessment, and returns the transitions as events. Its
//! state can be saved and loaded, so that a restart changes no status and
//! sends nothing. The same code runs at the agent and at the hub.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::catalogue::{Catalogue, FieldDef};
use crate::event::{Event, EventKind, Severity};
use crate::glob::{BadGlob, Glob};
use crate::id::EventId;
use crate::report::{Facet, Report, ResourceKey};
use crate::status::{Assessment, Problem, Status};
use crate::time::Timestamp;

/// Which side of a level is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// High is bad: usage, temperature.
    Above,
    /// Low is bad: free space, fan speed.
    Below,
}

/// When a reading is a problem.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Which side is bad.
    pub direction: Direction,
    /// At this level and beyond: warning. `None`: never.
    pub warning: Option<f64>,
    /// At this level and beyond: critical. `None`: never.
    pub critical: Option<f64>,
    /// How far back behind a level the reading must go before it clears.
    pub clear_gap: f64,
    /// How long a level must be exceeded before it counts.
    pub hold: Duration,
}

impl Threshold {
    /// The level that a value has reached, from a given present level: rising
    /// needs the level itself, falling needs the level less the gap.
    fn level(&self, value: f64, present: Status) -> Status {
        let reached = |level: Option<f64>, held: bool| {
            level.is_some_and(|level| {
                let gap = if held { self.clear_gap } else { 0.0 };
                match self.direction {
                    Direction::Above => value >= level || (held && value > level - gap),
                    Direction::Below => value <= level || (held && value < level + gap),
                }
            })
        };
        if reached(self.critical, present == Status::Critical) {
            Status::Critical
        } else if reached(self.warning, present >= Status::Warning) {
            Status::Warning
        } else {
            Status::Ok
        }
    }
}

/// A configured threshold: for which resources and which field it stands.
#[derive(Debug, Clone)]
pub struct ThresholdRule {
    /// The kind.
    pub kind: String,
    /// Which names, as a glob; `*` for all.
    pub name: Glob,
    /// The field.
    pub field: String,
    /// `None` switches the judging of this field off.
    pub threshold: Option<Threshold>,
}

impl ThresholdRule {
    /// A rule from its parts. The glob is that of shells; `*` also crosses `/`.
    ///
    /// # Errors
    /// When `name` is not a valid glob.
    pub fn new(
        kind: impl Into<String>,
        name: &str,
        field: impl Into<String>,
        threshold: Option<Threshold>,
    ) -> Result<Self, BadGlob> {
        let name = Glob::new(name)?;
        Ok(Self { kind: kind.into(), name, field: field.into(), threshold })
    }
}

/// What is remembered of one judged field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FieldState {
    /// The level that counts.
    status: Status,
    /// Since when it counts.
    since: Timestamp,
    /// A level that is seen but not held long enough yet, and since when.
    rising: Option<(Status, Timestamp)>,
}

/// What is remembered of one judged facet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct FacetMemory {
    /// The status that was last announced.
    announced: Option<Status>,
    fields: BTreeMap<Name, FieldState>,
}

/// The saved state of an [`Assessor`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AssessorState {
    /// By `facet kind:name` (neither kinds nor facets hold spaces).
    facets: BTreeMap<String, FacetMemory>,
}

/// Something that another judge found to be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// With what.
    pub resource: ResourceKey,
    /// Its facet.
    pub facet: Name,
    /// The field that says so.
    pub field: Name,
    /// How bad.
    pub status: Status,
    /// Since when.
    pub since: Timestamp,
}

/// Judges reports by the catalogue's thresholds and the configured ones.
#[derive(Debug)]
pub struct Assessor {
    rules: Vec<ThresholdRule>,
    facets: HashMap<(ResourceKey, Name), FacetMemory>,
}

impl Assessor {
    /// A judge with no memory. Of several rules that match, the last stands.
    #[must_use]
    pub fn new(rules: Vec<ThresholdRule>) -> Self {
        Self { rules, facets: HashMap::new() }
    }

    /// Replaces the rules; what is remembered stays.
    pub fn set_rules(&mut self, rules: Vec<ThresholdRule>) {
        self.rules = rules;
    }

    /// The rules over those of the catalogue.
    #[must_use]
    pub fn rules(&self) -> &[ThresholdRule] {
        &self.rules
    }

    /// Takes over from another judge what was known to be wrong.
    pub fn adopt(&mut self, problems: impl IntoIterator<Item = Standing>) {
        for Standing { resource, facet, field, status, since } in problems {
            let memory = self.facets.entry((resource, facet)).or_default();
            memory.announced = memory.announced.max(Some(status));
            memory.fields.insert(field, FieldState { status, since, rising: None });
        }
    }

    /// What to save, so that a restart changes nothing.
    #[must_use]
    pub fn state(&self) -> AssessorState {
        let key = |(resource, facet): &(ResourceKey, Name)| format!("{facet} {resource}");
        AssessorState { facets: self.facets.iter().map(|(k, memory)| (key(k), memory.clone())).collect() }
    }

    /// Takes up what was saved; entries that make no sense are left out.
    pub fn restore(&mut self, state: AssessorState) {
        self.facets = state
            .facets
            .into_iter()
            .filter_map(|(key, memory)| {
                let (facet, resource) = key.split_once(' ')?;
                Some(((resource.parse().ok()?, facet.to_owned().into()), memory))
            })
            .collect();
    }

    /// The threshold in force for a field of a resource.
    #[must_use]
    pub fn threshold(&self, field: &FieldDef, resource: &ResourceKey) -> Option<Threshold> {
        self.rules
            .iter()
            .rev()
            .find(|rule| rule.kind == resource.kind && rule.field == field.name && rule.name.matches(&resource.name))
            .map_or(field.threshold, |rule| rule.threshold)
    }

    /// Rounds the readings to their fields' resolutions, judges every facet of
    /// the report, and appends a `status_changed` event for each transition.
    /// `new_id` makes ids for those events.
    ///
    /// A facet that already carries an assessment (a collector's own verdict
    /// on states that are not numbers) keeps its problems; ours are added.
    pub fn judge(
        &mut self,
        report: &mut Report,
        catalogue: &Catalogue,
        now: Timestamp,
        mut new_id: impl FnMut() -> EventId,
    ) {
        for scope in &mut report.scopes {
            for facet in &mut scope.facets {
                let change = self.judge_facet(facet, catalogue, now);
                if let Some((from, to)) = change {
                    let reason = facet.assessment.as_ref().map_or("", |a| a.reason.as_str());
                    report.events.push(status_changed(new_id(), now, &facet.resource, from, to, reason));
                }
            }
        }
    }

    /// Forgets resources that are gone.
    pub fn forget(&mut self, gone: impl Fn(&ResourceKey) -> bool) {
        self.facets.retain(|(resource, _), _| !gone(resource));
    }

    fn judge_facet(
        &mut self,
        facet: &mut Facet,
        catalogue: &Catalogue,
        now: Timestamp,
    ) -> Option<(Option<Status>, Status)> {
        let kind = catalogue.kind(&facet.resource.kind);
        let own = facet.assessment.take();
        let mut judged = own.is_some();
        let mut problems = own.map(|a| a.problems).unwrap_or_default();
        let mut thresholds = Vec::new();
        facet.readings.retain_mut(|(name, value)| {
            let Some(field) = kind.and_then(|kind| kind.field(name)) else { return value.is_finite() };
            let Some(rounded) = field.resolution.round(*value) else { return false };
            *value = rounded;
            if let Some(threshold) = self.threshold(field, &facet.resource) {
                thresholds.push((field, threshold, rounded));
            }
            true
        });
        judged |= !thresholds.is_empty();
        if !judged {
            return None;
        }
        let memory = self.facets.entry((facet.resource.clone(), facet.name.clone())).or_default();
        memory.fields.retain(|name, _| thresholds.iter().any(|(field, ..)| field.name == *name));
        for (field, threshold, value) in thresholds {
            let state = memory.fields.entry(field.name.clone()).or_insert(FieldState {
                status: Status::Ok,
                since: now,
                rising: None,
            });
            step(state, &threshold, value, now);
            if state.status > Status::Ok {
                problems.push(Problem {
                    field: field.name.clone(),
                    status: state.status,
                    reason: field.reason(facet, value),
                    since: state.since,
                });
            }
        }
        let assessment = Assessment::of(problems);
        let before = memory.announced.replace(assessment.status);
        let after = assessment.status;
        facet.assessment = Some(assessment);
        // A first look that finds everything in order is no transition.
        (before.unwrap_or(Status::Ok) != after).then_some((before, after))
    }
}

/// Moves one field's state on by one value.
fn step(state: &mut FieldState, threshold: &Threshold, value: f64, now: Timestamp) {
    let seen = threshold.level(value, state.status);
    if seen <= state.status {
        // Falling counts at once: the gap has already damped it.
        if seen < state.status {
            state.status = seen;
            state.since = now;
        }
        state.rising = None;
        return;
    }
    // Rising must hold. A clock that jumped back starts the wait anew rather
    // than making it endless.
    let since = match state.rising {
        Some((_, since)) if since <= now => since,
        _ => now,
    };
    if now.since(since) >= threshold.hold {
        state.status = seen;
        state.since = now;
        state.rising = None;
    } else {
        state.rising = Some((seen, since));
    }
}

/// The event for a transition.
fn status_changed(
    id: EventId,
    at: Timestamp,
    resource: &ResourceKey,
    from: Option<Status>,
    to: Status,
    reason: &str,
) -> Event {
    let severity = match to {
        Status::Ok => Severity::Info,
        Status::Unknown | Status::Warning => Severity::Warning,
        Status::Critical => Severity::Critical,
    };
    let message = if reason.is_empty() { format!("{resource} is {to} again") } else { format!("{resource}: {reason}") };
    let from = from.map_or("none", Status::as_str);
    let details = [("from", from), ("to", to.as_str()), ("reason", reason)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    Event {
        id,
        at,
        source: "agent".into(),
        kind: EventKind::STATUS_CHANGED,
        severity,
        subject: Some(resource.to_string()),
        correlation_id: None,
        message,
        details,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOVE: Threshold = Threshold {
        direction: Direction::Above,
        warning: Some(0.8),
        critical: Some(0.9),
        clear_gap: 0.05,
        hold: Duration::from_secs(30),
    };

    fn run(threshold: Threshold, samples: &[(i64, f64)]) -> Vec<Status> {
        let mut state = FieldState { status: Status::Ok, since: Timestamp::default(), rising: None };
        samples
            .iter()
            .map(|&(second, value)| {
                step(&mut state, &threshold, value, Timestamp::from_millis(second * 1000));
                state.status
            })
            .collect()
    }

    #[test]
    fn rising_must_hold_and_falling_must_clear_the_gap() {
        use Status::{Critical, Ok, Warning};
        assert_eq!(
            run(ABOVE, &[(0, 0.85), (20, 0.85), (30, 0.85), (40, 0.77), (50, 0.75), (60, 0.85)]),
            [Ok, Ok, Warning, Warning, Ok, Ok]
        );
        // A dip below the level ends the wait.
        assert_eq!(run(ABOVE, &[(0, 0.85), (20, 0.5), (40, 0.85), (60, 0.85), (70, 0.85)]), [Ok, Ok, Ok, Ok, Warning]);
        // Straight to critical, then down one step: inside the critical gap it stays.
        assert_eq!(run(ABOVE, &[(0, 0.95), (30, 0.95), (40, 0.86), (50, 0.85)]), [Ok, Critical, Critical, Warning]);
    }

    #[test]
    fn a_clock_that_jumps_back_delays_but_never_wedges() {
        let status = run(ABOVE, &[(1000, 0.95), (10, 0.95), (30, 0.95), (40, 0.95)]);
        assert_eq!(status.last(), Some(&Status::Critical));
    }

    #[test]
    fn low_can_be_bad_too() {
        let below = Threshold {
            direction: Direction::Below,
            warning: Some(500.0),
            critical: None,
            clear_gap: 100.0,
            hold: Duration::ZERO,
        };
        use Status::{Ok, Warning};
        assert_eq!(run(below, &[(0, 600.0), (1, 500.0), (2, 599.0), (3, 600.0)]), [Ok, Warning, Warning, Ok]);
    }
}
