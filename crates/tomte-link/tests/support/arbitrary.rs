//! Reports such as nobody would write.

use proptest::prelude::*;
use tomte_model::report::Outcome;
use tomte_model::status::{Assessment, Problem, Status};
use tomte_model::{
    BootId, Event, EventId, EventKind, Facet, HostId, Moment, Name, Position, Report, ResourceKey, Scope, Severity,
    Table, Timestamp, Value,
};

/// Names: few enough that reports have some in common, strange ones among them.
pub fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        4 => prop::sample::select(vec!["cpu", "disk", "main", "io", "usage_ratio", "a", "b", "ä/ö", ""]).prop_map(Name::from),
        1 => any::<String>().prop_map(Name::from),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just("/mnt/a:b".to_owned()), any::<String>()]
}

pub fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        any::<f64>(),
        (-1000_i32..1000).prop_map(f64::from),
        (0_u32..100_000).prop_map(|v| f64::from(v) / 10_000.0),
        any::<i64>().prop_map(|v| v as f64),
        prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, -0.0, 1e-7]),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![text().prop_map(Value::Text), any::<bool>().prop_map(Value::Bool), number().prop_map(Value::Number)]
}

fn table() -> impl Strategy<Value = Table> {
    let rows = prop::collection::vec(prop::collection::vec(prop::option::of(value()), 0..3), 0..3);
    (name(), prop::collection::vec(name(), 0..3), rows).prop_map(|(name, columns, rows)| Table { name, columns, rows })
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(Status::ALL.to_vec())
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![any::<i64>(), 0..10_000_000_i64].prop_map(Timestamp::from_millis)
}

fn assessment() -> impl Strategy<Value = Assessment> {
    let problem = (name(), status(), text(), timestamp()).prop_map(|(field, status, reason, since)| Problem {
        field,
        status,
        reason,
        since,
    });
    (status(), text(), prop::collection::vec(problem, 0..3)).prop_map(|(status, reason, problems)| Assessment {
        status,
        reason,
        problems,
    })
}

fn facet() -> impl Strategy<Value = Facet> {
    (
        (name(), text(), name(), any::<bool>()),
        prop::collection::vec((name(), value()), 0..3),
        prop::collection::vec((name(), number()), 0..8),
        prop::collection::vec(table(), 0..2),
        prop::option::of(assessment()),
    )
        .prop_map(|((kind, resource, name, owner), attributes, readings, tables, assessment)| Facet {
            resource: ResourceKey { kind, name: resource },
            name,
            owner,
            attributes,
            readings,
            tables,
            assessment,
        })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Complete),
        1 => text().prop_map(|error| Outcome::Failed { error }),
        1 => (text(), text()).prop_map(|(error, cure)| Outcome::Denied { error, cure }),
        1 => text().prop_map(|error| Outcome::Unavailable { error }),
    ]
}

fn scope() -> impl Strategy<Value = Scope> {
    (name(), outcome(), prop::collection::vec(facet(), 0..5)).prop_map(|(name, outcome, facets)| Scope {
        name,
        outcome,
        facets,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let severity = prop::sample::select(vec![Severity::Info, Severity::Warning, Severity::Error, Severity::Critical]);
    let id = any::<u128>().prop_map(|id| EventId::from_bytes(id.to_be_bytes()));
    let details = prop::collection::btree_map(text(), text(), 0..3);
    let kind = prop_oneof![Just(EventKind::STATUS_CHANGED), name().prop_map(EventKind)];
    (
        (id.clone(), timestamp(), name(), kind),
        (severity, prop::option::of(text()), prop::option::of(id), text(), details),
    )
        .prop_map(|((id, at, source, kind), (severity, subject, correlation_id, message, details))| Event {
            id,
            at,
            source,
            kind,
            severity,
            subject,
            correlation_id,
            message,
            details,
        })
}

/// A report, with its place in the outbox left to the caller.
pub fn report() -> impl Strategy<Value = Report> {
    let host = prop_oneof![3 => Just(super::hello().host), 1 => Just(HostId::from_parts(1, 1))];
    let boot = prop_oneof![3 => Just(BootId(7)), 1 => any::<u128>().prop_map(BootId)];
    (
        (host, prop::sample::select(vec!["cpu", "disk", "ünï"]), boot, timestamp(), any::<u64>()),
        (any::<bool>(), prop_oneof![Just(10_000_u32), any::<u32>()]),
        prop::collection::vec(scope(), 0..4),
        prop::collection::vec(event(), 0..3),
    )
        .prop_map(|((host, collector, boot_id, wall, boot_millis), (synchronised, interval), scopes, events)| {
            Report {
                host,
                collector: collector.into(),
                position: Position::default(),
                boot_id,
                moment: Moment { wall, boot_millis },
                clock_synchronised: synchronised,
                interval_millis: interval,
                scopes,
                events,
            }
        })
}

/// Reports that follow one another: each of them is new, or is the one before
/// with something changed.
pub fn series() -> impl Strategy<Value = Vec<Report>> {
    let step = (prop::option::weighted(0.3, report()), any::<u8>(), number(), any::<prop::sample::Index>());
    prop::collection::vec(step, 1..20).prop_map(|steps| {
        let mut reports: Vec<Report> = Vec::new();
        for (sequence, (fresh, change, number, index)) in steps.into_iter().enumerate() {
            let mut report = match (fresh, reports.last()) {
                (Some(fresh), _) => fresh,
                (None, Some(last)) => changed(last.clone(), change, number, index),
                (None, None) => super::report("cpu", 1, Vec::new()),
            };
            report.position = Position { epoch: super::hello().outbox_epoch, sequence: sequence as u64 + 1 };
            reports.push(report);
        }
        reports
    })
}

fn changed(mut report: Report, change: u8, number: f64, index: prop::sample::Index) -> Report {
    report.events.clear();
    report.moment.wall = report.moment.wall.plus(std::time::Duration::from_secs(10));
    let scopes = &mut report.scopes;
    if !scopes.is_empty() {
        let at = index.index(scopes.len());
        match change % 8 {
            0 => scopes.reverse(),
            1 => scopes[at].facets.reverse(),
            2 => drop(scopes.remove(at)),
            3 => drop(scopes[at].facets.pop()),
            4 => {
                let copy = scopes[at].clone();
                scopes.push(copy);
            }
            5 => scopes[at] = Scope::failed(scopes[at].name.clone(), Outcome::Failed { error: "EIO".into() }),
            _ => {
                for (place, (_, value)) in
                    scopes.iter_mut().flat_map(|s| &mut s.facets).flat_map(|f| &mut f.readings).enumerate()
                {
                    if place % 3 == usize::from(change) % 3 {
                        *value = number;
                    }
                }
            }
        }
    }
    report
}

/// What must arrive of a report: numbers that are none are missing, of two
/// readings of a field the first counts, and their order is nobody's concern.
pub fn expected(report: &Report) -> Report {
    let mut report = report.clone();
    let finite = |value: &Value| !matches!(value, Value::Number(number) if !number.is_finite());
    for facet in report.scopes.iter_mut().flat_map(|scope| &mut scope.facets) {
        let mut seen = std::collections::HashSet::new();
        facet.readings.retain(|(name, value)| value.is_finite() && seen.insert(name.clone()));
        facet.readings.sort_by(|a, b| a.0.cmp(&b.0));
        facet.attributes.retain(|(_, value)| finite(value));
        for cell in facet.tables.iter_mut().flat_map(|table| &mut table.rows).flatten() {
            if cell.as_ref().is_some_and(|value| !finite(value)) {
                *cell = None;
            }
        }
    }
    report
}
