//! The kind `sensor`.

use super::prelude::*;

/// A thermometer or a fan.
pub(super) static SENSOR: KindDef = KindDef {
    name: Cow::Borrowed("sensor"),
    help: Cow::Borrowed("A thermometer or a fan of the machine. Those of drives belong to the drives."),
    key: Cow::Borrowed(
        "The chip and the sensor's label, coretemp/Core 0; with the chip's device where chips share a name.",
    ),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "chip", "The chip's name."),
        AttributeDef::new("main", "device", "The device that the chip belongs to, by its place on the bus."),
    ]),
    tables: Cow::Borrowed(&[]),
};

const fn celsius(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, Unit::Celsius, Resolution::TENTH, help)
}

/// What is hot depends on the part: 95 °C is the plan of one processor and the
/// end of another. So not the temperature is judged but what is left to the
/// limit that the chip itself names. A fan that stands still is no alarm: many
/// do so while it is cool, and empty sockets read 0 for ever.
static FIELDS: [FieldDef; 5] = [
    celsius("temperature_celsius", "How warm it is.").in_home_assistant(HomeAssistant::class("temperature")),
    celsius("maximum_celsius", "What the chip itself calls too warm."),
    celsius("critical_celsius", "Where the chip or the machine protects itself."),
    celsius("headroom_celsius", "What is left to the critical temperature.")
        .judged(below(3.0, 0.0, 5.0, 120), "{name} is {value} below its critical temperature"),
    FieldDef::new("main", "fan_rpm", Unit::RevolutionsPerMinute, Resolution::ONE, "How fast the fan turns.")
        .in_home_assistant(HomeAssistant::MAIN),
];
