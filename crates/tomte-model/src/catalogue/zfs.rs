//! The kinds of ZFS: `pool`, `dataset` and `arc`.

use super::prelude::*;

/// A pool of disks.
pub(super) static POOL: KindDef = KindDef {
    name: Cow::Borrowed("pool"),
    help: Cow::Borrowed("A ZFS pool: the disks that it is made of, how full it is, and its scrubs."),
    key: Cow::Borrowed("The pool's name."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&POOL_FIELDS),
    attributes: Cow::Borrowed(&POOL_ATTRIBUTES),
    tables: Cow::Borrowed(&POOL_TABLES),
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

const fn ratio(name: &'static str, help: &'static str) -> FieldDef {
    field(name, Unit::Ratio, Resolution::BASIS_POINT, help)
}

const fn seconds(name: &'static str, help: &'static str) -> FieldDef {
    field(name, Unit::Seconds, Resolution::ONE, help)
}

static POOL_FIELDS: [FieldDef; 18] = [
    number(
        "impairment",
        "0 while it is whole, 1 while it works with less redundancy than it was given, 2 when data cannot be reached.",
    )
    .judged(above(1.0, 2.0, 0.5, 0), "{name} is {state}[: {fault}]")
    .in_home_assistant(HomeAssistant::MAIN),
    bytes("size_bytes", "All the space of its disks; with raidz, parity included."),
    bytes("allocated_bytes", "The space that is taken."),
    bytes("free_bytes", "The space that is not taken."),
    ratio("used_ratio", "The part of the space that is taken; above 80 % a pool slows down.")
        .judged(above(0.80, 0.90, 0.02, 300), "{name} is {value} full")
        .in_home_assistant(HomeAssistant::MAIN),
    ratio("fragmentation_ratio", "How fragmented its free space is."),
    field(
        "deduplication_factor",
        Unit::Number,
        Resolution::HUNDREDTH,
        "How many times the data would be larger without deduplication.",
    ),
    number("data_errors", "Places where data is lost for good: files, or blocks of ZFS itself.")
        .judged(critical_above(1.0, 0.5, 0), "{name} has {value} lost places in its data; `zpool status -v` lists them")
        .in_home_assistant(HomeAssistant::MAIN),
    number("read_errors", "Failed reads of all its devices since they were last cleared."),
    number("write_errors", "Failed writes of all its devices since they were last cleared."),
    number("checksum_errors", "Wrong checksums of all its devices since they were last cleared."),
    number(
        "device_errors",
        "Read, write and checksum errors of all its devices together, since they were last cleared.",
    )
    .judged(warning_above(1.0, 0.5, 0), "{name} has counted {value} errors[: {fault}]"),
    number("devices", "The devices that it is made of, spares included."),
    number("faulty_devices", "Those of them that do not work."),
    ratio("scan_progress_ratio", "How far the scrub or resilver is that runs; missing when none does.")
        .in_home_assistant(HomeAssistant::MAIN.off()),
    seconds(
        "scan_remaining_seconds",
        "How long it will take yet at the pace so far; missing while that cannot be told.",
    ),
    number("scan_errors", "What the present or last scrub or resilver could not repair.")
        .judged(critical_above(1.0, 0.5, 0), "the last {scan} of {name} could not repair {value} errors"),
    seconds("scrub_age_seconds", "Since the last scrub was finished; missing when the pool does not tell of one.")
        .judged(warning_above(3_888_000.0, 86_400.0, 0), "{name} was not scrubbed for {value}"),
];

static POOL_ATTRIBUTES: [AttributeDef; 9] = [
    AttributeDef::new("main", "state", "ONLINE, DEGRADED, FAULTED, SUSPENDED, UNAVAIL or REMOVED, as ZFS says."),
    AttributeDef::new("main", "fault", "The device that is to blame, and what is wrong with it."),
    AttributeDef::new("main", "type", "How it is built: mirror, raidz1 to raidz3, draid, stripe, or mixed."),
    AttributeDef::new("main", "message", "What ZFS says is wrong."),
    AttributeDef::new("main", "advice", "What ZFS says should be done."),
    AttributeDef::new("main", "scan", "The present or last scan: scrub or resilver."),
    AttributeDef::new("main", "scan_state", "running, paused, finished or cancelled."),
    AttributeDef::new("main", "scan_started_at", "When it was started."),
    AttributeDef::new("main", "scan_ended_at", "When it was finished or cancelled."),
];

static POOL_TABLES: [TableDef; 1] = [TableDef {
    name: Cow::Borrowed("vdevs"),
    facet: Cow::Borrowed("main"),
    help: Cow::Borrowed("Everything the pool is made of, as a tree: a row stands below the last one of less depth."),
    columns: Cow::Borrowed(&[
        (Cow::Borrowed("depth"), Cow::Borrowed("How deep in the tree; 0 for what stands directly below the pool.")),
        (Cow::Borrowed("name"), Cow::Borrowed("The disk's name, or that of the group (mirror-0).")),
        (Cow::Borrowed("role"), Cow::Borrowed("data, log, cache, spare, special or dedup.")),
        (Cow::Borrowed("state"), Cow::Borrowed("ONLINE, DEGRADED, FAULTED, OFFLINE, UNAVAIL, REMOVED, AVAIL, INUSE.")),
        (Cow::Borrowed("read_errors"), Cow::Borrowed("Failed reads.")),
        (Cow::Borrowed("write_errors"), Cow::Borrowed("Failed writes.")),
        (Cow::Borrowed("checksum_errors"), Cow::Borrowed("Wrong checksums.")),
        (Cow::Borrowed("note"), Cow::Borrowed("What else ZFS says of it: where it was, that it resilvers.")),
    ]),
}];

/// A file system or volume in a pool.
pub(super) static DATASET: KindDef = KindDef {
    name: Cow::Borrowed("dataset"),
    help: Cow::Borrowed("A file system or volume of a ZFS pool, and its snapshots."),
    key: Cow::Borrowed("Its full name, tank/home."),
    facets: Cow::Borrowed(&[
        FacetDef { name: Cow::Borrowed("main"), owner: true },
        FacetDef { name: Cow::Borrowed("snapshots"), owner: false },
    ]),
    fields: Cow::Borrowed(&DATASET_FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "type", "filesystem or volume."),
        AttributeDef::new("main", "mountpoint", "Where it is to be mounted; legacy or none where it is not."),
    ]),
    tables: Cow::Borrowed(&[]),
};

static DATASET_FIELDS: [FieldDef; 11] = [
    bytes("used_bytes", "What it and all below it take.").in_home_assistant(HomeAssistant::class("data_size").off()),
    bytes("available_bytes", "What may yet be written to it."),
    bytes("referenced_bytes", "What its present content takes, also where snapshots share it."),
    bytes("snapshot_bytes", "What would be freed if all its snapshots were destroyed."),
    bytes("volume_size_bytes", "How large a volume claims to be."),
    bytes("quota_bytes", "The most that it may take, where that is limited."),
    ratio("quota_used_ratio", "The used part of its quota.")
        .judged(above(0.90, 0.97, 0.03, 300), "{name} has used {value} of its quota"),
    field(
        "compression_factor",
        Unit::Number,
        Resolution::HUNDREDTH,
        "How many times its content would be larger without compression.",
    ),
    FieldDef::new("snapshots", "snapshots", Unit::Number, Resolution::ONE, "How many snapshots it has."),
    FieldDef::new(
        "snapshots",
        "newest_snapshot_age_seconds",
        Unit::Seconds,
        Resolution::ONE,
        "Since its newest snapshot was made; missing when it has none.",
    ),
    FieldDef::new(
        "snapshots",
        "oldest_snapshot_age_seconds",
        Unit::Seconds,
        Resolution::ONE,
        "Since its oldest snapshot was made; missing when it has none.",
    ),
];

/// The cache of ZFS in memory.
pub(super) static ARC: KindDef = KindDef {
    name: Cow::Borrowed("arc"),
    help: Cow::Borrowed("The cache that ZFS keeps in memory (ARC), and its second level on disk (L2ARC)."),
    key: Cow::Borrowed("One for each host with ZFS, named arc."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&ARC_FIELDS),
    attributes: Cow::Borrowed(&[]),
    tables: Cow::Borrowed(&[]),
};

static ARC_FIELDS: [FieldDef; 10] = [
    bytes("size_bytes", "How large it is.").in_home_assistant(HomeAssistant::class("data_size").off()),
    bytes("target_bytes", "How large it wants to be at present."),
    bytes("minimum_bytes", "What it does not shrink below."),
    bytes("maximum_bytes", "What it does not grow beyond."),
    ratio(
        "hit_ratio",
        "The part of the requests since the last reading that it answered; missing when there was none.",
    )
    .in_home_assistant(HomeAssistant::MAIN.off()),
    field("hits_per_second", Unit::PerSecond, Resolution::TENTH, "Requests that it answered."),
    field("misses_per_second", Unit::PerSecond, Resolution::TENTH, "Requests that had to go to the disks."),
    bytes("l2_size_bytes", "How much the second level holds, before compression; missing without one."),
    ratio("l2_hit_ratio", "The part of the requests since the last reading that the second level answered."),
    number("throttles", "How often it could not grow because memory was short, since ZFS was loaded."),
];
