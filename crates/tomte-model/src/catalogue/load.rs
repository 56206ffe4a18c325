//! The kind `load`.

use super::prelude::*;

/// Load averages: how many tasks ran or waited.
pub(super) static LOAD: KindDef = KindDef {
    name: Cow::Borrowed("load"),
    help: Cow::Borrowed("Load averages: how many tasks ran, waited to run, or waited for a disk."),
    key: Cow::Borrowed("One for each host, named load."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[]),
    tables: Cow::Borrowed(&[]),
};

const fn average(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, Unit::Number, Resolution::HUNDREDTH, help)
}

static FIELDS: [FieldDef; 4] = [
    average("load1", "Over the last minute.").in_home_assistant(HomeAssistant::MAIN.icon("mdi:gauge")),
    average("load5", "Over the last 5 minutes.").in_home_assistant(HomeAssistant::MAIN.icon("mdi:gauge")),
    average("load15", "Over the last 15 minutes.").in_home_assistant(HomeAssistant::MAIN.icon("mdi:gauge")),
    average("load5_per_core", "Over the last 5 minutes, divided by the number of online cores.")
        .judged(above(2.0, 4.0, 0.25, 600), "the load is {value} per core"),
];
