//! The columns of the fleet, as data: what each shows, from which readings,
//! and how much room it takes. What is subscribed to follows from it.

use std::collections::BTreeSet;

use tomte_api::resource::Resource;
use tomte_model::{Status, Unit};

use crate::units;
use crate::world::{Known, said};

/// How several resources of a kind become one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fold {
    /// The greatest.
    Most,
    /// All together.
    Sum,
}

/// Where a cell comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Source {
    /// The host's status, as a mark.
    Status,
    /// The host's name.
    Name,
    /// How long ago it was heard.
    Age,
    /// Readings of kinds: `(kind, field)`.
    Reading { of: &'static [(&'static str, &'static str)], fold: Fold, unit: &'static Unit },
    /// Received and sent, over all interfaces.
    Network,
    /// The processor's last minutes as little bars.
    Graph,
    /// How many resources of these kinds are in order, of how many; with a
    /// reading that each has.
    Healthy { of: &'static [(&'static str, &'static str)] },
    /// Its roles.
    Roles,
    /// What is wrong, else what happened last.
    News,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// In the configuration.
    pub(crate) id: &'static str,
    /// At the head of the column.
    pub(crate) title: &'static str,
    /// In the settings.
    pub(crate) help: &'static str,
    pub(crate) source: Source,
    /// In cells; of the name and the news, the least.
    pub(crate) width: u16,
    /// Those with the greatest number go first when there is no room.
    pub(crate) rank: u8,
    /// Whether it is shown unless somebody chose columns.
    pub(crate) usual: bool,
    /// Whether the first sort is falling.
    pub(crate) falling: bool,
}

const RATIO: &Unit = &Unit::Ratio;
const NUMBER: &Unit = &Unit::Number;
const CELSIUS: &Unit = &Unit::Celsius;
const SECONDS: &Unit = &Unit::Seconds;

const fn reading(
    id: &'static str,
    title: &'static str,
    help: &'static str,
    of: &'static [(&'static str, &'static str)],
    unit: &'static Unit,
    rank: u8,
) -> Column {
    let source = Source::Reading { of, fold: Fold::Most, unit };
    Column { id, title, help, source, width: 5, rank, usual: true, falling: true }
}

/// Every column, in the usual order.
pub(crate) const COLUMNS: &[Column] = &[
    Column {
        id: "status",
        title: "",
        help: "how it stands, as a mark",
        source: Source::Status,
        width: 1,
        rank: 0,
        usual: true,
        falling: true,
    },
    Column {
        id: "host",
        title: "HOST",
        help: "its name",
        source: Source::Name,
        width: 10,
        rank: 0,
        usual: true,
        falling: false,
    },
    Column {
        id: "age",
        title: "SEEN",
        help: "how long ago its newest reading was taken",
        source: Source::Age,
        width: 5,
        rank: 2,
        usual: true,
        falling: true,
    },
    reading("cpu", "CPU", "processor usage", &[("cpu", "usage_ratio")], RATIO, 1),
    Column {
        id: "graph",
        title: "LAST 10 MIN",
        help: "processor usage of the last ten minutes",
        source: Source::Graph,
        width: 11,
        rank: 8,
        usual: true,
        falling: true,
    },
    Column { usual: false, ..reading("load", "LOAD", "load over a minute", &[("load", "load1")], NUMBER, 9) },
    reading("memory", "MEM", "memory in use", &[("memory", "used_ratio")], RATIO, 1),
    reading("disk", "DISK", "the fullest file system", &[("filesystem", "used_ratio")], RATIO, 1),
    reading(
        "temperature",
        "TEMP",
        "the hottest sensor, disk or graphics processor",
        &[("sensor", "temperature_celsius"), ("disk", "temperature_celsius"), ("gpu", "temperature_celsius")],
        CELSIUS,
        4,
    ),
    Column {
        id: "network",
        title: "NETWORK",
        help: "received and sent a second",
        source: Source::Network,
        width: 11,
        rank: 5,
        usual: true,
        falling: true,
    },
    reading("wear", "WEAR", "the used endurance of the most worn disk", &[("disk", "wear_used_ratio")], RATIO, 7),
    Column {
        id: "services",
        title: "SERVICES",
        help: "services and containers that are in order, of all",
        source: Source::Healthy { of: &[("service", "running"), ("container", "running")] },
        width: 8,
        rank: 6,
        usual: true,
        falling: true,
    },
    reading("backup", "BACKUP", "the age of the oldest last backup", &[("backup", "age_seconds")], SECONDS, 6),
    reading("updates", "UPD", "updates that wait", &[("updates", "pending")], NUMBER, 7),
    Column {
        usual: false,
        ..reading("uptime", "UP", "since it was booted", &[("host", "uptime_seconds")], SECONDS, 9)
    },
    Column {
        id: "roles",
        title: "ROLES",
        help: "what it is for",
        source: Source::Roles,
        width: 10,
        rank: 9,
        usual: false,
        falling: false,
    },
    Column {
        id: "news",
        title: "PROBLEM OR LAST EVENT",
        help: "what is wrong, else what happened last",
        source: Source::News,
        width: 22,
        rank: 3,
        usual: true,
        falling: true,
    },
];

/// The place of a column by its name.
pub(crate) fn place(id: &str) -> Option<usize> {
    COLUMNS.iter().position(|column| column.id == id)
}

/// The usual columns.
pub(crate) fn usual() -> Vec<usize> {
    (0..COLUMNS.len()).filter(|place| COLUMNS[*place].usual).collect()
}

/// Which kinds and fields these columns read.
pub(crate) fn needs(columns: &[usize]) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    let (mut kinds, mut fields) = (BTreeSet::new(), BTreeSet::new());
    let mut need = |pair: &(&'static str, &'static str)| {
        kinds.insert(pair.0);
        fields.insert(pair.1);
    };
    for column in columns {
        match COLUMNS[*column].source {
            Source::Reading { of, .. } => of.iter().for_each(&mut need),
            Source::Network => [("interface", "receive_bytes_per_second"), ("interface", "transmit_bytes_per_second")]
                .iter()
                .for_each(&mut need),
            Source::Graph => need(&("cpu", "usage_ratio")),
            Source::Healthy { of } => of.iter().for_each(&mut need),
            Source::Status | Source::Name | Source::Age | Source::Roles | Source::News => {}
        }
    }
    (kinds, fields)
}

/// What a column shows of a host, apart from what changes by itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Cell {
    /// What is written; empty when nothing is known.
    pub(crate) text: String,
    /// What it is sorted by.
    pub(crate) value: Option<f64>,
    /// How what it shows stands.
    pub(crate) status: Option<Status>,
    /// Whether it could not be read of late.
    pub(crate) stale: bool,
}

/// The cells of a host, by column.
pub(crate) fn cells(known: &Known, arrows: [&str; 2]) -> Vec<Cell> {
    COLUMNS.iter().map(|column| cell(&column.source, known, arrows)).collect()
}

fn cell(source: &Source, known: &Known, arrows: [&str; 2]) -> Cell {
    match source {
        Source::Reading { of, fold, unit } => {
            let mut cell = Cell::default();
            for (kind, field) in *of {
                fold_into(&mut cell, known.of_kind(kind), field, *fold);
            }
            cell.text = cell.value.map(|value| units::short(unit, value)).unwrap_or_default();
            cell
        }
        Source::Network => {
            let mut both = [Cell::default(), Cell::default()];
            for (cell, field) in both.iter_mut().zip(["receive_bytes_per_second", "transmit_bytes_per_second"]) {
                // The sum of those without hardware counts what a real one
                // has counted already.
                let real = known.of_kind("interface").filter(|interface| interface.name != "virtual");
                fold_into(cell, real, field, Fold::Sum);
            }
            let [received, sent] = both;
            let part = |cell: &Cell, arrow: &str| {
                let text = cell.value.map(|value| units::short(&Unit::BytesPerSecond, value)).unwrap_or_default();
                format!("{arrow}{text:<4}")
            };
            if received.value.is_none() && sent.value.is_none() {
                return Cell::default();
            }
            Cell {
                text: format!("{} {}", part(&received, arrows[0]), part(&sent, arrows[1])),
                value: Some(received.value.unwrap_or(0.0) + sent.value.unwrap_or(0.0)),
                status: received.status,
                stale: received.stale,
            }
        }
        Source::Graph => {
            let mut cell = Cell::default();
            fold_into(&mut cell, known.of_kind("cpu"), "usage_ratio", Fold::Most);
            cell
        }
        Source::Healthy { of } => {
            let all = || of.iter().flat_map(|(kind, _)| known.of_kind(kind));
            let judged: Vec<_> = all().filter_map(|resource| resource.status).collect();
            if judged.is_empty() {
                return Cell::default();
            }
            let well = judged.iter().filter(|status| **status == Status::Ok).count();
            Cell {
                text: format!("{well}/{}", judged.len()),
                value: Some((judged.len() - well) as f64),
                status: judged.iter().copied().max(),
                stale: all().any(|resource| resource.stale),
            }
        }
        Source::Status => Cell {
            value: Some(known.host.status.map_or(-1.0, |status| f64::from(status as u8))),
            status: known.host.status,
            ..Cell::default()
        },
        Source::Roles => Cell { text: known.host.roles.join(" "), ..Cell::default() },
        Source::Name => Cell { text: known.host.name.clone(), ..Cell::default() },
        Source::Age => Cell { value: known.newest.map(|at| -(at.millis() as f64)), ..Cell::default() },
        Source::News => match (known.host.reason.as_str(), &known.last_event) {
            ("", None) => Cell::default(),
            ("", Some(event)) => {
                Cell { text: said(event).to_owned(), value: Some(event.at.millis() as f64), ..Cell::default() }
            }
            (reason, _) => {
                Cell { text: reason.to_owned(), value: Some(f64::MAX), status: known.host.status, ..Cell::default() }
            }
        },
    }
}

/// How a resource stands as far as a reading tells: a worn disk is not hot.
fn judged(resource: &Resource, field: &str) -> Option<Status> {
    let concerns = |problem: &str| match field {
        "temperature_celsius" => matches!(problem, "temperature_celsius" | "headroom_celsius"),
        "wear_used_ratio" => problem.starts_with("wear_") || problem == "spare_ratio",
        _ => true,
    };
    let worst = resource.problems.iter().filter(|problem| concerns(&problem.field)).map(|problem| problem.status).max();
    worst.or(resource.status.map(|_| Status::Ok))
}

fn fold_into<'a>(cell: &mut Cell, resources: impl Iterator<Item = &'a Resource>, field: &str, fold: Fold) {
    for resource in resources {
        let Some(value) = resource.readings.get(field).copied().filter(|value| value.is_finite()) else { continue };
        cell.value = Some(match (cell.value, fold) {
            (None, _) => value,
            (Some(known), Fold::Most) => known.max(value),
            (Some(known), Fold::Sum) => known + value,
        });
        cell.status = cell.status.max(judged(resource, field));
        cell.stale |= resource.stale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worn_disk_is_not_hot() {
        let readings = [("temperature_celsius", 40.0), ("wear_used_ratio", 0.97)];
        let mut disk = crate::sample::resource(crate::sample::host_id(1), "disk", "sda", &readings);
        disk.status = Some(Status::Critical);
        disk.problems = vec![tomte_model::Problem {
            field: "wear_used_ratio".into(),
            status: Status::Critical,
            reason: "sda is worn".to_owned(),
            since: crate::sample::NOW,
        }];
        assert_eq!(judged(&disk, "temperature_celsius"), Some(Status::Ok));
        assert_eq!(judged(&disk, "wear_used_ratio"), Some(Status::Critical));
    }

    #[test]
    fn columns_have_names_of_their_own() {
        let ids: BTreeSet<_> = COLUMNS.iter().map(|column| column.id).collect();
        assert_eq!(ids.len(), COLUMNS.len());
        assert_eq!(place("cpu"), Some(3));
    }

    #[test]
    fn what_columns_read_is_in_the_catalogue() {
        let catalogue = tomte_model::Catalogue::builtin();
        for column in COLUMNS {
            let Source::Reading { of, unit, .. } = column.source else { continue };
            for (kind, field) in of {
                let declared = catalogue.field(kind, field).map(|field| field.unit.clone());
                assert_eq!(declared.as_ref(), Some(unit), "{kind}/{field}");
            }
        }
    }
}
