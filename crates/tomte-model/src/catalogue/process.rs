//! The kind `process`.

use super::prelude::*;

/// All processes of a host together.
pub(super) static PROCESS: KindDef = KindDef {
    name: Cow::Borrowed("process"),
    help: Cow::Borrowed("All processes of a host: how many in which state, and which take the most."),
    key: Cow::Borrowed("One for each host, named processes."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[]),
    tables: Cow::Borrowed(&TABLES),
};

const fn number(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, Unit::Number, Resolution::ONE, help)
}

static FIELDS: [FieldDef; 9] = [
    number("processes", "All processes, kernel threads included.").in_home_assistant(HomeAssistant::MAIN),
    number("threads", "All threads of all processes."),
    number("running", "Processes that run or could."),
    number("sleeping", "Processes that wait and can be woken by a signal."),
    number("blocked", "Processes that wait and cannot be woken by a signal, mostly for a disk."),
    number("idle", "Kernel threads with nothing to do."),
    number("stopped", "Processes stopped by a signal or a debugger."),
    number("zombies", "Processes that have ended and whose parents have not noticed.")
        .judged(warning_above(100.0, 20.0, 900), "{value} zombie processes"),
    FieldDef::new(
        "main",
        "pids_used_ratio",
        Unit::Ratio,
        Resolution::BASIS_POINT,
        "The part of all process ids (kernel.pid_max) that processes and threads use.",
    )
    .judged(above(0.80, 0.90, 0.05, 60), "{value} of the process ids are used"),
];

const COLUMNS: &[(Name, Text)] = &[
    (Cow::Borrowed("pid"), Cow::Borrowed("The process id.")),
    (
        Cow::Borrowed("name"),
        Cow::Borrowed("The command's name, at most 15 characters; never its arguments, which may hold secrets."),
    ),
    (Cow::Borrowed("user"), Cow::Borrowed("The user it runs as, by name or else by number.")),
    (Cow::Borrowed("cpu_ratio"), Cow::Borrowed("Processor time since the last reading; 1 is one whole core.")),
    (Cow::Borrowed("resident_bytes"), Cow::Borrowed("The memory it holds, shared parts included.")),
    (Cow::Borrowed("own"), Cow::Borrowed("Whether it is this very agent.")),
];

static TABLES: [TableDef; 2] = [
    TableDef {
        name: Cow::Borrowed("top_by_cpu"),
        facet: Cow::Borrowed("main"),
        help: Cow::Borrowed("The processes that took the most processor time since the last reading."),
        columns: Cow::Borrowed(COLUMNS),
    },
    TableDef {
        name: Cow::Borrowed("top_by_memory"),
        facet: Cow::Borrowed("main"),
        help: Cow::Borrowed("The processes that hold the most memory."),
        columns: Cow::Borrowed(COLUMNS),
    },
];
