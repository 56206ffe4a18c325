//! Reports and stores for the tests.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tomte_model::catalogue::{FacetDef, FieldDef, KindDef};
use tomte_model::event::EventKind;
use tomte_model::{
    BootId, Catalogue, Event, EventId, Facet, HostId, Moment, Position, Report, Resolution, ResourceKey, Scope,
    Severity, Timestamp, Unit,
};
use tomte_store::history::{Points, SeriesKey};
use tomte_store::{Arrival, Budget, HistoryStore, Options, Query, Receipt, Store, StoreError};

/// Some moment; tests count from here.
pub const START: i64 = 1_789_999_980_000;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(START + seconds * 1000)
}

pub fn host(number: u128) -> HostId {
    HostId::from_parts(1_790_000_000_000, number)
}

/// Commits at once, files at once.
pub fn options() -> Options {
    Options { commit_window: Duration::ZERO, seal_every: Duration::ZERO, ..Options::default() }
}

pub fn open(folder: &Path) -> Store {
    Store::open(folder, options()).unwrap()
}

/// A catalogue with one kind of every resolution that tests use.
pub fn catalogue() -> Arc<Catalogue> {
    let mut catalogue = Catalogue::builtin();
    let mut fields: Vec<FieldDef> = (-9..=9)
        .map(|exponent| {
            let mut field =
                FieldDef::new("main", "", Unit::Number, Resolution::power_of_ten(exponent), "A number of the tests.");
            field.name = format!("e{exponent}").into();
            field
        })
        .collect();
    fields.push(FieldDef::new("main", "depth_celsius", Unit::Celsius, Resolution::TENTH, "How warm it is."));
    catalogue.describe(KindDef {
        name: "aquarium".into(),
        help: "A tank with fish.".into(),
        key: "By label.".into(),
        facets: vec![FacetDef { name: "main".into(), owner: true }].into(),
        fields: fields.into(),
        attributes: Vec::new().into(),
        tables: Vec::new().into(),
    });
    Arc::new(catalogue)
}

/// A report of one resource of the kind `aquarium`.
pub fn report(host: HostId, collector: &'static str, sequence: u64, name: &str, readings: &[(&str, f64)]) -> Report {
    let mut facet = Facet::owner("aquarium", name, "main");
    facet.text("water", "salt");
    facet.flag("lit", true);
    facet.readings = readings.iter().map(|(field, value)| ((*field).to_owned().into(), *value)).collect();
    Report {
        host,
        collector: collector.into(),
        position: Position { epoch: 7, sequence },
        boot_id: BootId(0x1234_5678_9abc_def0_1122_3344_5566_7788),
        moment: Moment { wall: at(sequence as i64 * 10), boot_millis: sequence * 10_000 },
        clock_synchronised: true,
        interval_millis: 10_000,
        scopes: vec![Scope::complete("tank", vec![facet])],
        events: Vec::new(),
    }
}

pub fn event(number: u128, at: Timestamp, message: &str) -> Event {
    Event {
        id: EventId::from_parts(1, number),
        at,
        source: "agent".into(),
        kind: EventKind::STATUS_CHANGED,
        severity: Severity::Warning,
        subject: Some("aquarium:reef".into()),
        correlation_id: None,
        message: message.into(),
        details: [("from".to_owned(), "ok".to_owned())].into(),
    }
}

/// A report as it arrives from its own host, read when it says.
pub fn arrival(report: Report) -> Arrival {
    let at = report.moment.wall;
    Arrival { outbox: report.host, report: Arc::new(report), at, received_at: at, quarantined: false, turn: None }
}

/// Appends, and waits until it is durable.
pub fn append(history: &dyn HistoryStore, arrival: Arrival) -> Result<Receipt, StoreError> {
    let (told, durable) = mpsc::channel();
    history.append(arrival, catalogue(), Box::new(move |result| told.send(result).unwrap()));
    durable.recv().unwrap()
}

pub fn key(host: HostId, name: &str, field: &str) -> SeriesKey {
    SeriesKey { host, resource: ResourceKey::new("aquarium", name.to_owned()), field: field.to_owned().into() }
}

pub fn query(series: Vec<SeriesKey>, from: Timestamp, to: Timestamp, step: Option<Duration>) -> Query {
    Query { series, from, to, step, budget: Budget::points(1_000_000) }
}

/// The raw points of one series, over all time, as seconds and values.
pub fn raw(history: &dyn HistoryStore, series: SeriesKey) -> Vec<(i64, f64)> {
    let answer = history.query(&query(vec![series], at(-1_000_000), at(10_000_000), None)).unwrap();
    match &answer.series[0].points {
        Points::Raw(points) => points.iter().map(|(t, v)| ((t.millis() - START) / 1000, *v)).collect(),
        Points::Stepped(_) => panic!("raw points were asked for"),
    }
}
