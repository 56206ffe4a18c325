//! The kinds `systemd`, `service` and `timer`.

use super::prelude::*;

/// The service manager as a whole.
pub(super) static SYSTEMD: KindDef = KindDef {
    name: Cow::Borrowed("systemd"),
    help: Cow::Borrowed("The service manager: how many units it knows, and which of them failed."),
    key: Cow::Borrowed("One for each host, named systemd."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&SYSTEMD_FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "version", "The version of systemd."),
        AttributeDef::new("main", "state", "How it sees the system: running, degraded, starting, maintenance."),
    ]),
    tables: Cow::Borrowed(&[TableDef {
        name: Cow::Borrowed("failed"),
        facet: Cow::Borrowed("main"),
        help: Cow::Borrowed("The units that failed, of every type."),
        columns: Cow::Borrowed(&[
            (Cow::Borrowed("unit"), Cow::Borrowed("The unit's whole name.")),
            (Cow::Borrowed("sub_state"), Cow::Borrowed("Its state in the words of its type.")),
            (Cow::Borrowed("description"), Cow::Borrowed("What it says it is.")),
        ]),
    }]),
};

static SYSTEMD_FIELDS: [FieldDef; 3] = [
    FieldDef::new("main", "units", Unit::Number, Resolution::ONE, "Units that are loaded."),
    // Each failed unit is a resource of its own and judged there.
    FieldDef::new("main", "failed_units", Unit::Number, Resolution::ONE, "Units that failed, of every type.")
        .in_home_assistant(HomeAssistant::MAIN),
    FieldDef::new("main", "jobs", Unit::Number, Resolution::ONE, "Starts and stops that wait or are under way."),
];

/// A unit of systemd.
pub(super) static SERVICE: KindDef = KindDef {
    name: Cow::Borrowed("service"),
    help: Cow::Borrowed(
        "A service of systemd. Other units (mounts, sockets, timers) are here while they have failed, or when asked for.",
    ),
    key: Cow::Borrowed("The unit's name; of services without .service."),
    facets: Cow::Borrowed(&[
        FacetDef { name: Cow::Borrowed("main"), owner: true },
        FacetDef { name: Cow::Borrowed("disk"), owner: false },
    ]),
    fields: Cow::Borrowed(&SERVICE_FIELDS),
    attributes: Cow::Borrowed(&SERVICE_ATTRIBUTES),
    tables: Cow::Borrowed(&[]),
};

const fn field(name: &'static str, unit: Unit, resolution: Resolution, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, unit, resolution, help)
}

const fn number(name: &'static str, help: &'static str) -> FieldDef {
    field(name, Unit::Number, Resolution::ONE, help)
}

const fn bytes(name: &'static str, help: &'static str) -> FieldDef {
    field(name, Unit::Bytes, Resolution::ONE, help)
}

const fn disk(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("disk", name, Unit::Bytes, Resolution::ONE, help)
}

/// A run that ends badly (a backup, a clean-up) is a warning; what ought to
/// run on and does not is critical.
static SERVICE_FIELDS: [FieldDef; 17] = [
    number("running", "1 while it is active, else 0.").in_home_assistant(HomeAssistant::class("running").off()),
    number(
        "failed",
        "0 unless it failed: then 2 if it ought to run on, and 1 if it runs once and ends, or is no service.",
    )
    .judged(above(1.0, 2.0, 0.5, 0), "{name} failed[: {result}]")
    .in_home_assistant(HomeAssistant::MAIN),
    number("missing", "1 when the configuration names it and systemd does not know it; else missing.")
        .judged(warning_above(1.0, 0.5, 0), "{name} is watched for, and systemd has no such unit"),
    number("restarts", "How often it was restarted by itself since it was last started by hand."),
    number("recent_restarts", "How often it was restarted by itself in the last 15 minutes, as far as it was watched.")
        .judged(above(3.0, 10.0, 1.0, 0), "{name} restarts again and again: {value} times in 15 minutes"),
    field("cpu_ratio", Unit::Ratio, Resolution::BASIS_POINT, "Processor time; 1 is one whole core.")
        .in_home_assistant(HomeAssistant::MAIN.off()),
    bytes("memory_bytes", "Memory it holds, without what the kernel can drop (inactive page cache).")
        .in_home_assistant(HomeAssistant::class("data_size").off()),
    bytes("memory_limit_bytes", "The memory it may hold, where that is limited."),
    field("memory_used_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The used part of the memory it may hold.")
        .judged(above(0.90, 0.97, 0.05, 300), "{name} uses {value} of the memory it may hold"),
    number("tasks", "Its processes and threads."),
    field("read_bytes_per_second", Unit::BytesPerSecond, Resolution::ONE, "Read from disks."),
    field("write_bytes_per_second", Unit::BytesPerSecond, Resolution::ONE, "Written to disks."),
    number("oom_kills", "Processes that the kernel killed because its memory ran out, since it was last started."),
    disk("state_bytes", "What its state directories hold (StateDirectory=, mostly in /var/lib)."),
    disk("cache_bytes", "What its cache directories hold (CacheDirectory=)."),
    disk("logs_bytes", "What its log directories hold (LogsDirectory=)."),
    disk("data_bytes", "What the directories hold that the configuration names as its data."),
];

static SERVICE_ATTRIBUTES: [AttributeDef; 9] = [
    AttributeDef::new("main", "description", "What it says it is."),
    AttributeDef::new("main", "state", "active, inactive, failed, activating, deactivating, or not-found."),
    AttributeDef::new("main", "sub_state", "The same in the words of its type: running, exited, dead, auto-restart."),
    AttributeDef::new("main", "since", "When it got into that state."),
    AttributeDef::new("main", "result", "How it failed: exit-code, signal, timeout, oom-kill, with the exit status."),
    AttributeDef::new("main", "type", "When systemd takes it as started: simple, notify, oneshot."),
    AttributeDef::new("main", "enabled", "Whether it is started at boot: enabled, disabled, static, masked."),
    AttributeDef::new(
        "main",
        "stopped_by_user",
        "Whether somebody stopped it, so that its standing still is no problem.",
    ),
    AttributeDef::new("disk", "directories", "The directories that were added up."),
];

/// A timer of systemd.
pub(super) static TIMER: KindDef = KindDef {
    name: Cow::Borrowed("timer"),
    help: Cow::Borrowed("A timer of systemd: what it starts, when it last did and when it will again."),
    key: Cow::Borrowed("The unit's name without .timer."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&TIMER_FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "unit", "The unit that it starts."),
        AttributeDef::new("main", "state", "active while it waits, inactive when it was stopped, or failed."),
        AttributeDef::new("main", "last_run", "When it last started its unit."),
        AttributeDef::new("main", "next_run", "When it starts its unit next."),
        AttributeDef::new("main", "last_result", "How it went: success, or as with a service's result."),
    ]),
    tables: Cow::Borrowed(&[]),
};

static TIMER_FIELDS: [FieldDef; 2] = [
    field("since_last_run_seconds", Unit::Seconds, Resolution::ONE, "How long ago it last started its unit."),
    field(
        "until_next_run_seconds",
        Unit::Seconds,
        Resolution::ONE,
        "How long until it starts its unit; 0 when it is due.",
    ),
];
