//! The kind `disk`.

use super::prelude::*;
use crate::assess::Threshold;

/// A whole disk.
pub(super) static DISK: KindDef = KindDef {
    name: Cow::Borrowed("disk"),
    help: Cow::Borrowed(
        "A disk as a whole. Partitions, and what is built upon disks (RAID, LVM, encryption, loops), only when asked for.",
    ),
    key: Cow::Borrowed("Its WWN, else its serial number, else the device's name."),
    facets: Cow::Borrowed(&[
        FacetDef { name: Cow::Borrowed("io"), owner: true },
        FacetDef { name: Cow::Borrowed("smart"), owner: false },
    ]),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("io", "device", "The name the kernel gives it at present, sda; of several paths, all."),
        AttributeDef::new("io", "model", "Its maker and model."),
        AttributeDef::new("io", "serial", "Its serial number."),
        AttributeDef::new("io", "wwn", "Its world-wide name."),
        AttributeDef::new("io", "rotational", "Whether it turns."),
        AttributeDef::new("io", "removable", "Whether its medium can be taken out."),
        AttributeDef::new(
            "smart",
            "smart_device",
            "The name the kernel gave it, or its place on its controller, when it was asked: what people call it.",
        ),
        AttributeDef::new(
            "smart",
            "smart_model",
            "What the disk calls itself; behind a RAID controller or a bridge to USB, only this is its own.",
        ),
        AttributeDef::new("smart", "smart_serial", "The serial number that the disk itself tells."),
        AttributeDef::new("smart", "firmware", "The version of its firmware."),
        AttributeDef::new("smart", "protocol", "ATA, NVMe or SCSI."),
        AttributeDef::new("smart", "controller", "How it is reached, where not directly: megaraid,4; sat; sntjmicron."),
        AttributeDef::new(
            "smart",
            "health",
            "passed or failed, by the disk's own verdict; missing where it gives none.",
        ),
        AttributeDef::new(
            "smart",
            "power",
            "active, or asleep: then only what was known before is told, and no temperature.",
        ),
        AttributeDef::new("smart", "self_test", "How its last self-test went."),
        AttributeDef::new("smart", "trouble", "What the disk complains of, where it says more than failed."),
    ]),
    tables: Cow::Borrowed(&[]),
};

const fn field(name: &'static str, unit: Unit, resolution: Resolution, help: &'static str) -> FieldDef {
    FieldDef::new("io", name, unit, resolution, help)
}

const RATE: HomeAssistant = HomeAssistant::class("data_rate");

const fn smart(name: &'static str, unit: Unit, resolution: Resolution, help: &'static str) -> FieldDef {
    FieldDef::new("smart", name, unit, resolution, help)
}

const fn number(name: &'static str, help: &'static str) -> FieldDef {
    smart(name, Unit::Number, Resolution::ONE, help)
}

const fn seconds(name: &'static str, help: &'static str) -> FieldDef {
    smart(name, Unit::Seconds, Resolution::ONE, help)
}

const fn bytes(name: &'static str, help: &'static str) -> FieldDef {
    smart(name, Unit::Bytes, Resolution::ONE, help)
}

static FIELDS: [FieldDef; 29] = [
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
    number("failing", "1 when the disk itself says that it fails or will soon, 0 when it says that it does not.")
        .judged(critical_above(1.0, 0.5, 0), "{smart_device|name}[ ({smart_model})] says that it is failing[: {trouble}]")
        .in_home_assistant(HomeAssistant::MAIN),
    smart("temperature_celsius", Unit::Celsius, Resolution::TENTH, "How warm it is; missing while it sleeps.")
        .in_home_assistant(HomeAssistant::class("temperature")),
    smart(
        "limit_celsius",
        Unit::Celsius,
        Resolution::TENTH,
        "The warmest it may be: as the disk itself says, else 60 °C where it turns and 75 °C where it does not.",
    ),
    smart("headroom_celsius", Unit::Celsius, Resolution::TENTH, "What is left to the warmest it may be.")
        .judged(below(5.0, 0.0, 3.0, 0), "{smart_device|name}[ ({smart_model})] is {value} below the warmest it may be"),
    seconds("power_on_seconds", "How long it has been powered in its life."),
    number("power_cycles", "How often it was powered."),
    number("unsafe_shutdowns", "How often its power went away without notice."),
    smart(
        "wear_used_ratio",
        Unit::Ratio,
        Resolution::BASIS_POINT,
        "The used part of the endurance that its maker promises; may pass 100 %.",
    )
    .judged(above(0.80, 0.95, 0.0, 0), "{smart_device|name}[ ({smart_model})] has used {value} of its endurance")
    .in_home_assistant(HomeAssistant::MAIN),
    seconds(
        "wear_remaining_seconds",
        "How long its endurance will last at the pace of its life so far; missing while too little is known, and when it is used up.",
    )
    .judged(
        Threshold { critical: None, ..below(7_776_000.0, 0.0, 864_000.0, 86_400) },
        "the endurance of {smart_device|name}[ ({smart_model})] will be used up in {value}",
    ),
    smart("spare_ratio", Unit::Ratio, Resolution::BASIS_POINT, "What is left of its spare blocks.")
        .judged(below(0.20, 0.10, 0.02, 0), "{smart_device|name}[ ({smart_model})] has {value} of its spare blocks left"),
    number("media_errors", "Data that it could not read or write correctly, over its life.")
        .judged(warning_above(1.0, 0.5, 0), "{smart_device|name}[ ({smart_model})] has counted {value} media errors"),
    number("reallocated_sectors", "Bad sectors that it has replaced by spare ones.")
        .judged(above(1.0, 100.0, 0.5, 0), "{smart_device|name}[ ({smart_model})] has replaced {value} bad sectors"),
    number("pending_sectors", "Sectors that it cannot read at present and will replace when they are written.")
        .judged(above(1.0, 10.0, 0.5, 0), "{smart_device|name}[ ({smart_model})] has {value} sectors that it cannot read"),
    number("uncorrectable_sectors", "Sectors that it could not read when it looked at them by itself.")
        .judged(above(1.0, 10.0, 0.5, 0), "{smart_device|name}[ ({smart_model})] has found {value} sectors that cannot be corrected"),
    number("interface_errors", "Transfers that were damaged on their way, mostly by a bad cable."),
    number("logged_errors", "The errors in its log, over its life."),
    number("self_test_failed", "1 when its last self-test found something, else 0; missing when it never had one.")
        .judged(warning_above(1.0, 0.5, 0), "the last self-test of {smart_device|name}[ ({smart_model})] failed[: {self_test}]"),
    seconds("self_test_age_seconds", "How long it was powered since its last self-test."),
    bytes("life_written_bytes", "All that was ever written to it, where it counts that."),
    bytes("life_read_bytes", "All that was ever read from it, where it counts that."),
];
