//! The kind `pressure`.

use super::prelude::*;

/// Pressure stall information of one thing that tasks wait for.
pub(super) static PRESSURE: KindDef = KindDef {
    name: Cow::Borrowed("pressure"),
    help: Cow::Borrowed(
        "Pressure: the time that tasks lost waiting for processor, memory, disks or interrupts (the kernel's PSI).",
    ),
    key: Cow::Borrowed("What was waited for: cpu, memory, io or irq."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[]),
    tables: Cow::Borrowed(&[]),
};

const fn share(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, Unit::Ratio, Resolution::BASIS_POINT, help)
}

static FIELDS: [FieldDef; 8] = [
    share("some_ratio", "Time since the last reading in which at least one task waited.")
        .in_home_assistant(HomeAssistant::MAIN.off()),
    share("some_avg10_ratio", "Time in which at least one task waited, over 10 s."),
    share("some_avg60_ratio", "Time in which at least one task waited, over 60 s."),
    share("some_avg300_ratio", "Time in which at least one task waited, over 5 min."),
    share("full_ratio", "Time since the last reading in which all tasks waited at once."),
    share("full_avg10_ratio", "Time in which all tasks waited at once, over 10 s."),
    share("full_avg60_ratio", "Time in which all tasks waited at once, over 60 s."),
    share("full_avg300_ratio", "Time in which all tasks waited at once, over 5 min.")
        .judged(above(0.40, 0.70, 0.10, 300), "everything waits for {name} {value} of the time"),
];
