//! The kind `gpu`.

use super::prelude::*;

/// A graphics processor.
pub(super) static GPU: KindDef = KindDef {
    name: Cow::Borrowed("gpu"),
    help: Cow::Borrowed("A graphics processor of NVIDIA, AMD or Intel."),
    key: Cow::Borrowed("Its place on the PCI bus, 0000:01:00.0; of NVIDIA's parts of one card, with the part's UUID."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "vendor", "nvidia, amd or intel."),
        AttributeDef::new("main", "model", "What its driver calls it."),
        AttributeDef::new("main", "uuid", "The maker's own number for this very piece."),
        AttributeDef::new("main", "driver", "The driver and, where it tells, its version."),
        AttributeDef::new("main", "performance_state", "P0, the fastest, to P15."),
    ]),
    tables: Cow::Borrowed(&[TableDef {
        name: Cow::Borrowed("processes"),
        facet: Cow::Borrowed("main"),
        help: Cow::Borrowed("The processes that use it, the greediest first."),
        columns: Cow::Borrowed(&[
            (Cow::Borrowed("pid"), Cow::Borrowed("The process id.")),
            (Cow::Borrowed("name"), Cow::Borrowed("The program's name; never its arguments.")),
            (Cow::Borrowed("memory_bytes"), Cow::Borrowed("The GPU's memory that it holds.")),
        ]),
    }]),
};

const fn field(name: &'static str, unit: Unit, resolution: Resolution, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, unit, resolution, help)
}

/// As with other sensors, what is hot depends on the part: what is judged is
/// what is left to the limit that the part itself names.
static FIELDS: [FieldDef; 18] = [
    field("utilisation_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The part of the time in which it computed.")
        .in_home_assistant(HomeAssistant::MAIN),
    field("memory_busy_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The part of the time its memory was in use."),
    field("encoder_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The part of the time its video encoder worked."),
    field("decoder_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The part of the time its video decoder worked."),
    field("memory_size_bytes", Unit::Bytes, Resolution::ONE, "The memory it has."),
    field("memory_used_bytes", Unit::Bytes, Resolution::ONE, "The memory that is taken.")
        .in_home_assistant(HomeAssistant::class("data_size")),
    field("memory_used_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The part of its memory that is taken."),
    field("temperature_celsius", Unit::Celsius, Resolution::TENTH, "How warm it is.")
        .in_home_assistant(HomeAssistant::class("temperature")),
    field("hotspot_celsius", Unit::Celsius, Resolution::TENTH, "How warm it is at its warmest place."),
    field("memory_celsius", Unit::Celsius, Resolution::TENTH, "How warm its memory is."),
    field("limit_celsius", Unit::Celsius, Resolution::TENTH, "Where it slows itself down, or protects itself."),
    field("headroom_celsius", Unit::Celsius, Resolution::TENTH, "What is left to that temperature.")
        .judged(below(3.0, 0.0, 5.0, 120), "{name} is {value} below the temperature at which it protects itself"),
    field("power_watts", Unit::Watts, Resolution::TENTH, "The power it draws.")
        .in_home_assistant(HomeAssistant::class("power")),
    field("power_limit_watts", Unit::Watts, Resolution::TENTH, "The power it may draw."),
    field("clock_hertz", Unit::Hertz, Resolution::ONE, "Its clock frequency."),
    field("memory_clock_hertz", Unit::Hertz, Resolution::ONE, "The clock frequency of its memory."),
    field("fan_ratio", Unit::Ratio, Resolution::BASIS_POINT, "How fast its fan is asked to turn, of the fastest."),
    field("fan_rpm", Unit::RevolutionsPerMinute, Resolution::ONE, "How fast its fan turns."),
];
