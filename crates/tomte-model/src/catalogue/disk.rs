//! The kind `disk`.

use super::prelude::*;

/// A whole disk.
pub(super) static DISK: KindDef = KindDef {
    name: Cow::Borrowed("disk"),
    help: Cow::Borrowed(
        "A disk as a whole. Partitions, and what is built upon disks (RAID, LVM, encryption, loops), only when asked for.",
    ),
    key: Cow::Borrowed("Its WWN, else its serial number, else the device's name."),
    facets: Cow::Borrowed(&[FacetDef { name: Cow::Borrowed("io"), owner: true }]),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("io", "device", "The name the kernel gives it at present, sda; of several paths, all."),
        AttributeDef::new("io", "model", "Its maker and model."),
        AttributeDef::new("io", "serial", "Its serial number."),
        AttributeDef::new("io", "wwn", "Its world-wide name."),
        AttributeDef::new("io", "rotational", "Whether it turns."),
        AttributeDef::new("io", "removable", "Whether its medium can be taken out."),
    ]),
    tables: Cow::Borrowed(&[]),
};

const fn field(name: &'static str, unit: Unit, resolution: Resolution, help: &'static str) -> FieldDef {
    FieldDef::new("io", name, unit, resolution, help)
}

const RATE: HomeAssistant = HomeAssistant::class("data_rate");

static FIELDS: [FieldDef; 9] = [
    field("read_bytes_per_second", Unit::BytesPerSecond, Resolution::ONE, "Read from it.").in_home_assistant(RATE),
    field("write_bytes_per_second", Unit::BytesPerSecond, Resolution::ONE, "Written to it.").in_home_assistant(RATE),
    field("reads_per_second", Unit::PerSecond, Resolution::TENTH, "Finished reads."),
    field("writes_per_second", Unit::PerSecond, Resolution::TENTH, "Finished writes."),
    field(
        "utilisation_ratio",
        Unit::Ratio,
        Resolution::BASIS_POINT,
        "The part of the time in which it had anything to do; a disk that works on many requests at once can do more at 100 %.",
    )
    .in_home_assistant(HomeAssistant::MAIN),
    field(
        "read_await_seconds",
        Unit::Seconds,
        Resolution::MICRO,
        "How long a read took on average, waiting included; missing when there was none.",
    ),
    field(
        "write_await_seconds",
        Unit::Seconds,
        Resolution::MICRO,
        "How long a write took on average, waiting included; missing when there was none.",
    ),
    field("queue_length", Unit::Number, Resolution::HUNDREDTH, "How many requests were under way on average."),
    field("size_bytes", Unit::Bytes, Resolution::ONE, "How much it holds."),
];
