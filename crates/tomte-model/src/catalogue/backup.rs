//! The kind `backup`: whatever keeps copies, seen in one way.

use super::prelude::*;

/// A backup job, or what it left behind.
pub(super) static BACKUP: KindDef = KindDef {
    name: Cow::Borrowed("backup"),
    help: Cow::Borrowed(
        "A backup: a restic or borg repository, the backups of a Proxmox guest, ZFS snapshots, a timer, or a job that \
         writes a status file.",
    ),
    key: Cow::Borrowed(
        "The name that the configuration or the status file gives it; guest/101 for the backups of a Proxmox guest.",
    ),
    facets: Cow::Borrowed(&[
        FacetDef { name: Cow::Borrowed("main"), owner: true },
        FacetDef { name: Cow::Borrowed("check"), owner: false },
    ]),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&ATTRIBUTES),
    tables: Cow::Borrowed(&[
        TableDef {
            name: Cow::Borrowed("disks"),
            facet: Cow::Borrowed("main"),
            help: Cow::Borrowed("The disks that the job writes to, as its status file tells."),
            columns: Cow::Borrowed(&[
                (Cow::Borrowed("serial"), Cow::Borrowed("The disk's serial number.")),
                (Cow::Borrowed("name"), Cow::Borrowed("What people call it.")),
                (Cow::Borrowed("mount"), Cow::Borrowed("Where it is mounted.")),
                (Cow::Borrowed("used_bytes"), Cow::Borrowed("How much is on it.")),
                (Cow::Borrowed("total_bytes"), Cow::Borrowed("How much it holds in all.")),
                (Cow::Borrowed("temperature_celsius"), Cow::Borrowed("How warm it was.")),
                (Cow::Borrowed("wear_used_ratio"), Cow::Borrowed("The part of its life that is used up.")),
                (Cow::Borrowed("last_seen"), Cow::Borrowed("When it was last there.")),
            ]),
        },
        TableDef {
            name: Cow::Borrowed("parts"),
            facet: Cow::Borrowed("main"),
            help: Cow::Borrowed("What the job consists of: its repositories, or the sets that are in one repository."),
            columns: Cow::Borrowed(&[
                (Cow::Borrowed("name"), Cow::Borrowed("Which: host and paths, or the repository's name.")),
                (Cow::Borrowed("state"), Cow::Borrowed("ok, failed, running or never, where it is known.")),
                (Cow::Borrowed("last_success"), Cow::Borrowed("When it last went well.")),
                (Cow::Borrowed("backups"), Cow::Borrowed("How many backups are kept of it.")),
                (Cow::Borrowed("size_bytes"), Cow::Borrowed("How much the last one holds.")),
            ]),
        },
    ]),
};

const fn field(name: &'static str, unit: Unit, resolution: Resolution, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, unit, resolution, help)
}

const fn check(name: &'static str, unit: Unit, help: &'static str) -> FieldDef {
    FieldDef::new("check", name, unit, Resolution::ONE, help)
}

const fn number(name: &'static str, help: &'static str) -> FieldDef {
    field(name, Unit::Number, Resolution::ONE, help)
}

const fn seconds(name: &'static str, help: &'static str) -> FieldDef {
    field(name, Unit::Seconds, Resolution::ONE, help)
}

const fn bytes(name: &'static str, help: &'static str) -> FieldDef {
    field(name, Unit::Bytes, Resolution::ONE, help)
}

/// What is wrong is told apart: never ran, failed, old, not reached, damaged.
static FIELDS: [FieldDef; 18] = [
    seconds("age_seconds", "How old the last good backup is.").in_home_assistant(HomeAssistant::class("duration")),
    field(
        "age_ratio",
        Unit::Ratio,
        Resolution::BASIS_POINT,
        "The same as a part of the time in which a new one is expected; more than 1 is late.",
    )
    .judged(
        above(1.25, 2.5, 0.05, 0),
        "the backup {name} is old: the last good one is of {last_success}[, expected {expected}]",
    ),
    number("never", "1 when there is no good backup at all, else 0.")
        .judged(critical_above(1.0, 0.5, 0), "the backup {name} has never gone well"),
    number("failed", "1 when the last run failed, else 0; missing where only good runs leave a trace.")
        .judged(warning_above(1.0, 0.5, 0), "the backup {name} failed[: {error}]")
        .in_home_assistant(HomeAssistant::class("problem")),
    // What it holds is still known from before, so this is not a reading that
    // failed: it is one that says that nobody could restore now.
    number("unreachable", "1 when the repository cannot be reached, else 0.")
        .judged(above(1.0, 2.0, 0.5, 1800), "the repository of {name} cannot be reached[: {error}]"),
    number("running", "1 while a run is under way, else 0."),
    number("stale_locks", "Locks in the repository of runs that have ended; they keep others from running.")
        .judged(warning_above(1.0, 0.5, 0), "the repository of {name} is locked by {value} runs that have ended"),
    check(
        "check_failed",
        Unit::Number,
        "1 when the last check of the repository, or the verification of the last backup, found damage; else 0.",
    )
    .judged(critical_above(1.0, 0.5, 0), "the backup {name} is damaged[: {check_error}]"),
    check("check_age_seconds", Unit::Seconds, "How long ago the repository was checked, or the last backup verified."),
    seconds("until_next_run_seconds", "How long until it runs again, where that is known; 0 when it is due."),
    field("duration_seconds", Unit::Seconds, Resolution::THOUSANDTH, "How long the last run took."),
    number("backups", "How many backups are kept."),
    seconds("oldest_age_seconds", "How old the oldest backup is that is kept."),
    bytes("size_bytes", "How much the last backup holds, as it would be restored.")
        .in_home_assistant(HomeAssistant::class("data_size")),
    bytes("added_bytes", "How much the last run added."),
    bytes("stored_bytes", "How much the repository takes, without what is there twice."),
    number("files", "Files in the last backup."),
    check("unverified", Unit::Number, "Backups that were never verified, where there is such a thing."),
];

static ATTRIBUTES: [AttributeDef; 12] = [
    AttributeDef::new("main", "type", "restic, borg, vzdump, pbs, zfs, timer, or what the status file says."),
    AttributeDef::new(
        "main",
        "state",
        "ok, never, running, failed, old, unreachable, damaged, or unknown: nothing tells how it went.",
    ),
    AttributeDef::new("main", "repository", "Where it is kept, without what is secret in it."),
    AttributeDef::new("main", "last_success", "When the last good backup was made."),
    AttributeDef::new("main", "last_run", "When it last ran, however that went."),
    AttributeDef::new("main", "next_run", "When it runs next."),
    AttributeDef::new("main", "expected", "How often a new one is expected: every 1 d."),
    AttributeDef::new("main", "schedule", "When it runs, in the words of whoever runs it."),
    AttributeDef::new("main", "error", "What went wrong."),
    AttributeDef::new("check", "check_error", "What the check found."),
    AttributeDef::new("check", "verified", "ok, failed or none: whether the last backup was verified."),
    AttributeDef::new("main", "guest", "The guest's name, for the backups of a guest."),
];
