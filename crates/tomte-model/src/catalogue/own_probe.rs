//! The kinds `probe` and `textfile`: what a host's owner adds.

use super::prelude::*;

/// A command of the host's own.
pub(super) static PROBE: KindDef = KindDef {
    name: Cow::Borrowed("probe"),
    help: Cow::Borrowed(
        "A command that the host's own file declares, and what it says: a number, a text, or yes and no.",
    ),
    key: Cow::Borrowed("The name that the configuration gives it."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "text", "What it said, where that is no number."),
        AttributeDef::new("main", "unit", "What the value is measured in, where this list has no field for it."),
        AttributeDef::new("main", "error", "Why there is no value."),
    ]),
    tables: Cow::Borrowed(&[]),
};

const fn value(name: &'static str, unit: Unit, resolution: Resolution) -> FieldDef {
    FieldDef::new("main", name, unit, resolution, "What it said, in this unit.").in_home_assistant(HomeAssistant::MAIN)
}

/// The value is in the field of its unit, so that every surface shows it as
/// what it is.
static FIELDS: [FieldDef; 15] = [
    FieldDef::new("main", "on", Unit::Number, Resolution::ONE, "1 for yes and 0 for no, of a probe that says so.")
        .in_home_assistant(HomeAssistant::MAIN),
    FieldDef::new(
        "main",
        "problem",
        Unit::Number,
        Resolution::ONE,
        "1 when it says what the configuration calls a problem, else 0; missing where nothing is.",
    )
    .judged(critical_above(1.0, 0.5, 0), "{name}[ says {text}]"),
    FieldDef::new("main", "failed", Unit::Number, Resolution::ONE, "1 when the command brought no value, else 0.")
        .judged(warning_above(1.0, 0.5, 0), "{name} has no value[: {error}]"),
    FieldDef::new("main", "duration_seconds", Unit::Seconds, Resolution::MICRO, "How long the command took."),
    FieldDef::new(
        "main",
        "value",
        Unit::Number,
        Resolution::power_of_ten(-6),
        "What it said, a plain number, or in the unit that the attribute names.",
    )
    .in_home_assistant(HomeAssistant::MAIN),
    value("value_ratio", Unit::Ratio, Resolution::BASIS_POINT),
    value("value_bytes", Unit::Bytes, Resolution::ONE),
    value("value_bytes_per_second", Unit::BytesPerSecond, Resolution::ONE),
    value("value_per_second", Unit::PerSecond, Resolution::THOUSANDTH),
    value("value_seconds", Unit::Seconds, Resolution::MICRO),
    value("value_celsius", Unit::Celsius, Resolution::TENTH),
    value("value_hertz", Unit::Hertz, Resolution::ONE),
    value("value_watts", Unit::Watts, Resolution::TENTH),
    value("value_volts", Unit::Volts, Resolution::THOUSANDTH),
    value("value_amperes", Unit::Amperes, Resolution::THOUSANDTH),
];

/// A file of metrics that another program writes.
pub(super) static TEXTFILE: KindDef = KindDef {
    name: Cow::Borrowed("textfile"),
    help: Cow::Borrowed(
        "Metrics of another program, from a file in Prometheus's text format; each metric is a field by its own name.",
    ),
    key: Cow::Borrowed("The file's name without .prom, and the labels as they are written, backup{job=\"db\"}."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&TEXTFILE_FIELDS),
    attributes: Cow::Borrowed(&[]),
    tables: Cow::Borrowed(&[]),
};

static TEXTFILE_FIELDS: [FieldDef; 1] = [FieldDef::new(
    "main",
    "file_age_seconds",
    Unit::Seconds,
    Resolution::ONE,
    "How long ago the file was written; on the resource without labels.",
)];
