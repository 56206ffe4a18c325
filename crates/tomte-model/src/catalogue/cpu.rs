//! The kinds `cpu` and `core`: the same fields, of all cores and of each.

use super::prelude::*;

/// All processors of a host together.
pub(super) static CPU: KindDef = KindDef {
    name: Cow::Borrowed("cpu"),
    help: Cow::Borrowed("All processors of a host together."),
    key: Cow::Borrowed("One for each host, named cpu."),
    facets: Cow::Borrowed(&FACETS),
    fields: Cow::Borrowed(&CPU_FIELDS),
    attributes: Cow::Borrowed(&[AttributeDef::new("frequency", "model", "The processor's name.")]),
    tables: Cow::Borrowed(&[]),
};

/// One core (hardware thread).
pub(super) static CORE: KindDef = KindDef {
    name: Cow::Borrowed("core"),
    help: Cow::Borrowed("One core (hardware thread) of a host's processors."),
    key: Cow::Borrowed("The kernel's number of the core, from 0; only online cores exist."),
    facets: Cow::Borrowed(&FACETS),
    fields: Cow::Borrowed(&CORE_FIELDS),
    attributes: Cow::Borrowed(&[]),
    tables: Cow::Borrowed(&[]),
};

static FACETS: [FacetDef; 2] = [
    FacetDef { name: Cow::Borrowed("main"), owner: true },
    FacetDef { name: Cow::Borrowed("frequency"), owner: false },
];

const fn share(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, Unit::Ratio, Resolution::BASIS_POINT, help)
}

const USAGE: FieldDef = share(
    "usage_ratio",
    "Time in which it was not idle; waiting for a disk counts as idle, time that the hypervisor withheld as busy.",
);
const USER: FieldDef = share("user_ratio", "Time spent in programs, niced ones and guests included.");
const SYSTEM: FieldDef = share("system_ratio", "Time spent in the kernel, interrupts included.");
const IOWAIT: FieldDef = share("iowait_ratio", "Time with nothing to run while a disk was waited for.");
const STEAL: FieldDef = share("steal_ratio", "Time that the hypervisor gave to others although we wanted to run.");
const FREQUENCY: FieldDef = FieldDef::new(
    "frequency",
    "frequency_hertz",
    Unit::Hertz,
    Resolution::MILLION,
    "The present clock frequency, for all cores the mean.",
);

static CPU_FIELDS: [FieldDef; 7] = [
    USAGE
        .judged(warning_above(0.95, 0.05, 1800), "the processors are {value} busy")
        .in_home_assistant(HomeAssistant::MAIN.icon("mdi:cpu-64-bit")),
    USER,
    SYSTEM,
    IOWAIT,
    STEAL.judged(warning_above(0.25, 0.05, 900), "the hypervisor withholds {value} of the processor time"),
    FREQUENCY.in_home_assistant(HomeAssistant::class("frequency").off()),
    FieldDef::new("main", "cores", Unit::Number, Resolution::ONE, "How many cores are online."),
];

static CORE_FIELDS: [FieldDef; 6] = [USAGE, USER, SYSTEM, IOWAIT, STEAL, FREQUENCY];
