//! The kinds `collector` and `agent`: what the agent reports on itself.

use super::prelude::*;

/// One of the agent's collectors.
pub(super) static COLLECTOR: KindDef = KindDef {
    name: Cow::Borrowed("collector"),
    help: Cow::Borrowed("A collector of the agent: how long its last run took, and how it went."),
    key: Cow::Borrowed("One for each collector that runs, by its name."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&COLLECTOR_FIELDS),
    attributes: Cow::Borrowed(&COLLECTOR_ATTRIBUTES),
    tables: Cow::Borrowed(&[]),
};

static COLLECTOR_FIELDS: [FieldDef; 1] = [FieldDef::new(
    "main",
    "duration_seconds",
    Unit::Seconds,
    Resolution::MICRO,
    "How long the last run took; while one hangs, how long it has been away.",
)];

static COLLECTOR_ATTRIBUTES: [AttributeDef; 4] = [
    AttributeDef::new("main", "outcome", "How the last run went: ok, unavailable, denied or failed."),
    AttributeDef::new("main", "scope", "The part of its work that did not go well."),
    AttributeDef::new("main", "error", "What went wrong there."),
    AttributeDef::new("main", "cure", "What to do about it."),
];

/// The agent itself.
pub(super) static AGENT: KindDef = KindDef {
    name: Cow::Borrowed("agent"),
    help: Cow::Borrowed("The agent: what it uses itself, and what waits to be sent."),
    key: Cow::Borrowed("One for each host, named agent."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&AGENT_FIELDS),
    attributes: Cow::Borrowed(&AGENT_ATTRIBUTES),
    tables: Cow::Borrowed(&[]),
};

static AGENT_FIELDS: [FieldDef; 6] = [
    FieldDef::new("main", "resident_bytes", Unit::Bytes, Resolution::ONE, "Its memory, as far as it is resident."),
    FieldDef::new("main", "cpu_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The part of one core that it uses."),
    FieldDef::new(
        "main",
        "outbox_reports",
        Unit::Number,
        Resolution::ONE,
        "Reports that the hub has not stored yet, in memory and on disk.",
    ),
    FieldDef::new("main", "outbox_bytes", Unit::Bytes, Resolution::ONE, "What those reports take, about."),
    FieldDef::new(
        "main",
        "dropped_reports",
        Unit::Number,
        Resolution::ONE,
        "Reports that had to be dropped unsent since the agent started.",
    ),
    FieldDef::new(
        "main",
        "damaged_records",
        Unit::Number,
        Resolution::ONE,
        "Files or records of the spool that were found damaged since the agent started.",
    ),
];

static AGENT_ATTRIBUTES: [AttributeDef; 3] = [
    AttributeDef::new("main", "version", "The agent's version."),
    AttributeDef::new("main", "roles", "What the host is for, as its own file says."),
    AttributeDef::new("main", "spool_writable", "Whether reports can be kept on disk while the hub is away."),
];
