//! The panels of a host's page, as data: what each is about, and what its rows
//! show. A kind that has no panel of its own here (a newer agent's, a probe's)
//! gets one made from the catalogue. Only panels that have data are there.

use std::borrow::Cow;
use std::collections::BTreeSet;

use tomte_api::catalogue::Kind;

use crate::world::{Detail, of_kind};

type Text = Cow<'static, str>;

/// What a column of a panel shows of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Show {
    /// The first of these attributes that it has, else its name.
    Label(&'static [&'static str]),
    /// An attribute.
    Attribute(Text),
    /// A reading.
    Value(Text),
    /// A reading from 0 to 1, as a bar.
    Meter(Text),
    /// The first of these readings that it has.
    AnyValue(&'static [&'static str]),
    /// A reading, and the one that it is a part of.
    Part(Text, Text),
    /// How it stands: why, else this attribute.
    Standing(&'static str),
}

/// A column of a panel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) title: Text,
    pub(crate) show: Show,
    /// In cells; 0: what is left.
    pub(crate) width: u16,
}

/// What a panel's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// A row a resource.
    Table,
    /// What is wrong.
    Problems,
    /// The processors: a chart, all together, each core.
    Cpu,
    /// Main memory, swap, zram, tmpfs, pressure.
    Memory,
    /// Interfaces, and a chart of them.
    Network,
    /// Pools of ZFS, each with what it is made of.
    Pools,
    /// Updates that wait, package by package.
    Updates,
    /// The busiest processes.
    Processes,
    /// A row a reading: of resources that have few in common.
    Readings,
    /// What the machine is.
    System,
}

/// A panel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Panel {
    /// The same for the same panel, whatever is on the screen.
    pub(crate) id: Text,
    pub(crate) title: Text,
    pub(crate) kinds: Vec<Text>,
    pub(crate) body: Body,
    pub(crate) columns: Vec<Column>,
    /// How many rows it shows at most, unless zoomed.
    pub(crate) rows: u16,
}

/// A panel as the list below has it.
struct Def {
    id: &'static str,
    title: &'static str,
    kinds: &'static [&'static str],
    body: Body,
    columns: &'static [(&'static str, Part, u16)],
    rows: u16,
}

/// [`Show`] without owned text, for constants.
enum Part {
    Label(&'static [&'static str]),
    Attribute(&'static str),
    Value(&'static str),
    AnyOf(&'static [&'static str]),
    Meter(&'static str),
    Of(&'static str, &'static str),
    Standing(&'static str),
}

impl Part {
    fn show(&self) -> Show {
        match *self {
            Self::Label(attributes) => Show::Label(attributes),
            Self::Attribute(name) => Show::Attribute(name.into()),
            Self::Value(field) => Show::Value(field.into()),
            Self::AnyOf(fields) => Show::AnyValue(fields),
            Self::Meter(field) => Show::Meter(field.into()),
            Self::Of(part, whole) => Show::Part(part.into(), whole.into()),
            Self::Standing(attribute) => Show::Standing(attribute),
        }
    }
}

use Part::{AnyOf, Attribute, Label, Meter, Of, Standing, Value};

/// Where a probe's value is: in the field of its unit.
const PROBED: &[&str] = &[
    "value",
    "value_ratio",
    "value_bytes",
    "value_bytes_per_second",
    "value_per_second",
    "value_seconds",
    "value_celsius",
    "value_hertz",
    "value_watts",
    "value_volts",
    "value_amperes",
    "on",
];

/// Every panel with a face of its own, in the order of the page.
const PANELS: &[Def] = &[
    Def { id: "problems", title: "Problems", kinds: &[], body: Body::Problems, columns: &[], rows: 8 },
    Def { id: "cpu", title: "CPU", kinds: &["cpu", "core", "load"], body: Body::Cpu, columns: &[], rows: 6 },
    Def {
        id: "memory",
        title: "Memory",
        kinds: &["memory", "zram", "tmpfs"],
        body: Body::Memory,
        columns: &[],
        rows: 9,
    },
    Def {
        id: "filesystems",
        title: "File systems",
        kinds: &["filesystem"],
        body: Body::Table,
        columns: &[
            ("MOUNT", Label(&[]), 0),
            ("USED", Meter("used_ratio"), 15),
            ("", Of("used_bytes", "size_bytes"), 11),
            ("TYPE", Attribute("type"), 6),
        ],
        rows: 8,
    },
    Def {
        id: "disks",
        title: "Disks",
        kinds: &["disk"],
        body: Body::Table,
        columns: &[
            ("DISK", Label(&["device"]), 8),
            ("MODEL", Attribute("model"), 0),
            ("TEMP", Value("temperature_celsius"), 4),
            ("WEAR", Meter("wear_used_ratio"), 9),
            ("ON", Value("power_on_seconds"), 5),
            ("BUSY", Value("utilisation_ratio"), 4),
            ("READ", Value("read_bytes_per_second"), 5),
            ("WRITE", Value("write_bytes_per_second"), 5),
            ("SIZE", Value("size_bytes"), 5),
        ],
        rows: 8,
    },
    Def {
        id: "pools",
        title: "ZFS pools",
        kinds: &["pool"],
        body: Body::Pools,
        columns: &[
            ("POOL", Label(&[]), 0),
            ("STATE", Attribute("state"), 9),
            ("USED", Meter("used_ratio"), 12),
            ("", Of("allocated_bytes", "size_bytes"), 11),
            ("SCRUB", Value("scrub_age_seconds"), 8),
        ],
        rows: 12,
    },
    Def {
        id: "network",
        title: "Network",
        kinds: &["interface"],
        body: Body::Network,
        columns: &[
            ("NAME", Label(&[]), 9),
            ("STATE", Attribute("state"), 5),
            ("ADDRESSES", Attribute("addresses"), 0),
            ("IN", Value("receive_bytes_per_second"), 5),
            ("OUT", Value("transmit_bytes_per_second"), 5),
        ],
        rows: 5,
    },
    Def {
        id: "services",
        title: "Services",
        kinds: &["service"],
        body: Body::Table,
        columns: &[
            ("SERVICE", Label(&[]), 0),
            ("STATE", Standing("state"), 14),
            ("CPU", Value("cpu_ratio"), 5),
            ("MEMORY", Of("memory_bytes", "memory_limit_bytes"), 11),
            ("DISK", Value("state_bytes"), 5),
        ],
        rows: 10,
    },
    Def {
        id: "containers",
        title: "Containers",
        kinds: &["container"],
        body: Body::Table,
        columns: &[
            ("CONTAINER", Label(&[]), 0),
            ("STATE", Standing("state"), 14),
            ("CPU", Value("cpu_ratio"), 5),
            ("MEMORY", Of("memory_bytes", "memory_limit_bytes"), 11),
            ("UP", Value("uptime_seconds"), 4),
        ],
        rows: 10,
    },
    Def {
        id: "engines",
        title: "Container engine",
        kinds: &["container_engine"],
        body: Body::Table,
        columns: &[
            ("ENGINE", Label(&[]), 0),
            ("VERSION", Attribute("version"), 9),
            ("RUNNING", Of("running", "containers"), 7),
            ("IMAGES", Value("images_bytes"), 6),
            ("VOLUMES", Value("volumes_bytes"), 7),
            ("CACHE", Value("build_cache_bytes"), 5),
        ],
        rows: 3,
    },
    Def {
        id: "guests",
        title: "Guests",
        kinds: &["guest"],
        body: Body::Table,
        columns: &[
            ("ID", Label(&[]), 6),
            ("NAME", Attribute("name"), 0),
            ("STATE", Standing("state"), 12),
            ("CPU", Value("cpu_ratio"), 5),
            ("MEMORY", Of("memory_bytes", "memory_limit_bytes"), 11),
        ],
        rows: 10,
    },
    Def {
        id: "clusters",
        title: "Proxmox cluster",
        kinds: &["cluster"],
        body: Body::Table,
        columns: &[
            ("CLUSTER", Label(&[]), 0),
            ("", Standing("offline"), 20),
            ("NODES", Of("online_nodes", "nodes"), 7),
            ("QUORUM", Value("quorate"), 6),
        ],
        rows: 3,
    },
    Def {
        id: "nodes",
        title: "Proxmox nodes",
        kinds: &["node"],
        body: Body::Table,
        columns: &[
            ("NODE", Label(&[]), 0),
            ("STATE", Standing("state"), 14),
            ("CPU", Value("cpu_ratio"), 5),
            ("MEMORY", Of("memory_used_bytes", "memory_total_bytes"), 11),
            ("GUESTS", Of("running_guests", "guests"), 6),
            ("FAILED TASKS", Value("failed_tasks"), 12),
        ],
        rows: 8,
    },
    Def {
        id: "storages",
        title: "Proxmox storages",
        kinds: &["storage"],
        body: Body::Table,
        columns: &[
            ("STORAGE", Label(&[]), 0),
            ("TYPE", Attribute("type"), 8),
            ("USED", Meter("used_ratio"), 15),
            ("", Of("used_bytes", "total_bytes"), 11),
        ],
        rows: 8,
    },
    Def {
        id: "replications",
        title: "Proxmox replication",
        kinds: &["replication"],
        body: Body::Table,
        columns: &[
            ("JOB", Label(&[]), 7),
            ("TO", Attribute("target"), 0),
            ("STATE", Standing("state"), 14),
            ("LAST", Value("age_seconds"), 5),
            ("TOOK", Value("duration_seconds"), 5),
            ("NEXT", Value("until_next_run_seconds"), 5),
        ],
        rows: 6,
    },
    Def {
        id: "backups",
        title: "Backups",
        kinds: &["backup"],
        body: Body::Table,
        columns: &[
            ("BACKUP", Label(&[]), 0),
            ("STATE", Standing("state"), 14),
            ("LAST", Value("age_seconds"), 5),
            ("TOOK", Value("duration_seconds"), 5),
            ("SIZE", Value("size_bytes"), 5),
            ("NEXT", Value("until_next_run_seconds"), 5),
        ],
        rows: 8,
    },
    Def { id: "updates", title: "Updates", kinds: &["updates"], body: Body::Updates, columns: &[], rows: 8 },
    Def {
        id: "gpus",
        title: "GPU",
        kinds: &["gpu"],
        body: Body::Table,
        columns: &[
            ("GPU", Label(&["model"]), 0),
            ("USE", Meter("utilisation_ratio"), 12),
            ("MEMORY", Of("memory_used_bytes", "memory_size_bytes"), 11),
            ("TEMP", Value("temperature_celsius"), 4),
            ("POWER", Value("power_watts"), 5),
        ],
        rows: 4,
    },
    Def {
        id: "checks",
        title: "Checks",
        kinds: &["check"],
        body: Body::Table,
        columns: &[("CHECK", Label(&[]), 0), ("", Standing("target"), 20), ("TOOK", Value("latency_seconds"), 5)],
        rows: 8,
    },
    Def {
        id: "peers",
        title: "Peers",
        kinds: &["peer"],
        body: Body::Table,
        columns: &[
            ("PEER", Label(&[]), 0),
            ("ENDPOINT", Attribute("endpoint"), 21),
            ("SEEN", Value("handshake_age_seconds"), 5),
            ("IN", Value("receive_bytes_per_second"), 5),
            ("OUT", Value("transmit_bytes_per_second"), 5),
        ],
        rows: 6,
    },
    Def {
        id: "probes",
        title: "Own probes",
        kinds: &["probe"],
        body: Body::Table,
        columns: &[("PROBE", Label(&[]), 0), ("SAYS", Standing("text"), 20), ("VALUE", AnyOf(PROBED), 7)],
        rows: 6,
    },
    Def {
        id: "textfiles",
        title: "Text files",
        kinds: &["textfile"],
        body: Body::Readings,
        columns: &[("FILE", Label(&[]), 0), ("READING", Label(&[]), 0), ("VALUE", Label(&[]), 8)],
        rows: 6,
    },
    Def {
        id: "sensors",
        title: "Sensors",
        kinds: &["sensor"],
        body: Body::Table,
        columns: &[
            ("SENSOR", Label(&[]), 0),
            ("NOW", Value("temperature_celsius"), 5),
            ("TOO WARM", Value("critical_celsius"), 8),
            ("FAN", Value("fan_rpm"), 5),
        ],
        rows: 8,
    },
    Def { id: "processes", title: "Processes", kinds: &["process"], body: Body::Processes, columns: &[], rows: 8 },
    Def {
        id: "timers",
        title: "Timers",
        kinds: &["timer"],
        body: Body::Table,
        columns: &[
            ("TIMER", Label(&[]), 0),
            ("LAST", Value("since_last_run_seconds"), 5),
            ("NEXT", Value("until_next_run_seconds"), 5),
            ("RESULT", Attribute("last_result"), 12),
        ],
        rows: 5,
    },
    Def {
        id: "datasets",
        title: "ZFS datasets",
        kinds: &["dataset"],
        body: Body::Table,
        columns: &[
            ("DATASET", Label(&[]), 0),
            ("USED", Value("used_bytes"), 5),
            ("FREE", Value("available_bytes"), 5),
            ("SNAPSHOTS", Value("snapshots"), 9),
            ("QUOTA", Value("quota_used_ratio"), 5),
        ],
        rows: 6,
    },
    Def {
        id: "arc",
        title: "ZFS cache",
        kinds: &["arc"],
        body: Body::Table,
        columns: &[
            ("CACHE", Label(&[]), 0),
            ("SIZE", Of("size_bytes", "maximum_bytes"), 11),
            ("HITS", Value("hit_ratio"), 5),
            ("MISSES/S", Value("misses_per_second"), 8),
            ("L2", Value("l2_size_bytes"), 5),
            ("L2 HITS", Value("l2_hit_ratio"), 7),
        ],
        rows: 2,
    },
    Def {
        id: "pressure",
        title: "Pressure",
        kinds: &["pressure"],
        body: Body::Table,
        columns: &[
            ("WAITING FOR", Label(&[]), 0),
            ("10 S", Value("some_avg10_ratio"), 5),
            ("1 MIN", Value("some_avg60_ratio"), 5),
            ("5 MIN", Value("some_avg300_ratio"), 5),
            ("ALL", Value("full_avg300_ratio"), 5),
        ],
        rows: 4,
    },
    Def {
        id: "system",
        title: "System",
        kinds: &["host", "os", "agent", "systemd"],
        body: Body::System,
        columns: &[],
        rows: 12,
    },
    Def {
        id: "collectors",
        title: "Collectors",
        kinds: &["collector"],
        body: Body::Table,
        columns: &[
            ("COLLECTOR", Label(&[]), 12),
            ("TOOK", Value("duration_seconds"), 6),
            ("OUTCOME", Attribute("outcome"), 11),
            ("", Attribute("error"), 0),
        ],
        rows: 5,
    },
];

/// The panels that have data, in the order of the page: those of the list, then
/// those of kinds that it does not know.
pub(crate) fn of(detail: &Detail, problems: bool, catalogue: &[Kind]) -> Vec<Panel> {
    let there: BTreeSet<&str> = detail.resources.keys().map(|(kind, _)| kind.as_str()).collect();
    let mut panels: Vec<Panel> = PANELS
        .iter()
        .filter(|def| match def.body {
            Body::Problems => problems,
            _ => def.kinds.iter().any(|kind| there.contains(kind)),
        })
        .map(Def::panel)
        .collect();
    let known: BTreeSet<&str> = PANELS.iter().flat_map(|def| def.kinds).copied().collect();
    panels.extend(there.difference(&known).map(|kind| generic(kind, detail, catalogue)));
    panels
}

impl Def {
    fn panel(&self) -> Panel {
        let column = |(title, part, width): &(&'static str, Part, u16)| Column {
            title: (*title).into(),
            show: part.show(),
            width: *width,
        };
        Panel {
            id: self.id.into(),
            title: self.title.into(),
            kinds: self.kinds.iter().map(|kind| (*kind).into()).collect(),
            body: self.body,
            columns: self.columns.iter().map(column).collect(),
            rows: self.rows,
        }
    }
}

/// The panel of a kind that has none of its own: its name, what it says in
/// words, and the readings that any of them has.
fn generic(kind: &str, detail: &Detail, catalogue: &[Kind]) -> Panel {
    let owned = |text: &str| Text::Owned(text.to_owned());
    let described = catalogue.iter().find(|known| known.name == kind);
    let fields: Vec<String> = match described {
        Some(described) => described.fields.iter().map(|field| field.name.clone()).collect(),
        None => {
            let all: BTreeSet<&String> =
                of_kind(&detail.resources, kind).flat_map(|resource| resource.readings.keys()).collect();
            all.into_iter().cloned().collect()
        }
    };
    let mut columns = vec![Column { title: "NAME".into(), show: Show::Label(&[]), width: 0 }];
    let attributes: BTreeSet<&String> =
        of_kind(&detail.resources, kind).flat_map(|resource| resource.attributes.keys()).collect();
    let telling = ["state", "type", "text", "version", "error"];
    let telling = telling.into_iter().filter(|name| attributes.iter().any(|known| known.as_str() == *name)).take(2);
    columns.extend(telling.map(|name| Column {
        title: name.to_uppercase().into(),
        show: Show::Attribute(name.into()),
        width: 10,
    }));
    let read = fields
        .iter()
        .filter(|field| of_kind(&detail.resources, kind).any(|resource| resource.readings.contains_key(*field)));
    columns.extend(read.take(4).map(|field| Column {
        title: heading(field).into(),
        show: Show::Value(owned(field)),
        width: 8,
    }));
    let title = kind.replace('_', " ");
    let mut letters = title.chars();
    let title = letters.next().map(|first| format!("{}{}", first.to_uppercase(), letters.as_str())).unwrap_or_default();
    Panel { id: owned(kind), title: title.into(), kinds: vec![owned(kind)], body: Body::Table, columns, rows: 6 }
}

/// A field's name without its unit, at the head of a column.
fn heading(field: &str) -> String {
    const UNITS: [&str; 6] = ["_bytes_per_second", "_per_second", "_bytes", "_ratio", "_seconds", "_celsius"];
    let stem = UNITS.iter().find_map(|unit| field.strip_suffix(unit)).unwrap_or(field);
    stem.replace('_', " ").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_show_what_the_catalogue_knows() {
        let catalogue = tomte_model::Catalogue::builtin();
        for def in PANELS {
            for (_, part, _) in def.columns {
                let kind = def.kinds.first().and_then(|kind| catalogue.kind(kind));
                let kind = kind.unwrap_or_else(|| panic!("{} is about a kind", def.id));
                let attribute = |name: &str| kind.attributes.iter().any(|attribute| attribute.name == name);
                let field = |name: &str| kind.field(name).is_some();
                let there = match part {
                    Label(names) => names.iter().all(|name| attribute(name)),
                    Attribute(name) => attribute(name),
                    Standing(name) => name.is_empty() || attribute(name),
                    Value(name) | Meter(name) => field(name),
                    AnyOf(names) => names.iter().all(|name| field(name)),
                    Of(part, whole) => field(part) && field(whole),
                };
                assert!(there, "{}", def.id);
            }
            for kind in def.kinds {
                assert!(catalogue.kind(kind).is_some(), "{}: {kind}", def.id);
            }
        }
        let ids: BTreeSet<_> = PANELS.iter().map(|def| def.id).collect();
        assert_eq!(ids.len(), PANELS.len());
    }

    #[test]
    fn headings_leave_the_unit_out() {
        assert_eq!(heading("receive_bytes_per_second"), "RECEIVE");
        assert_eq!(heading("queue_length"), "QUEUE LENGTH");
    }
}
