//! The kinds `node`, `cluster`, `storage` and `replication`: what Proxmox VE
//! says of itself. Its guests are in [`super::guest`], their backups in
//! [`super::backup`].

use super::prelude::*;

/// A machine that runs Proxmox VE.
pub(super) static NODE: KindDef = KindDef {
    name: Cow::Borrowed("node"),
    help: Cow::Borrowed(
        "A node of Proxmox VE: whether its cluster sees it, what it has, and which of its tasks failed.",
    ),
    key: Cow::Borrowed("The node's name in Proxmox VE."),
    facets: Cow::Borrowed(&[
        FacetDef { name: Cow::Borrowed("main"), owner: true },
        FacetDef { name: Cow::Borrowed("tasks"), owner: false },
    ]),
    fields: Cow::Borrowed(&NODE_FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "version", "The version of Proxmox VE, where the node could be asked."),
        AttributeDef::new("main", "kernel", "The kernel that runs."),
        AttributeDef::new("main", "address", "Its address in the cluster."),
        AttributeDef::new("main", "cluster", "The cluster it belongs to."),
        AttributeDef::new("main", "state", "online, offline or unknown, as the cluster sees it."),
        AttributeDef::new("tasks", "last_failed", "The latest of the tasks that failed, with what it said."),
    ]),
    tables: Cow::Borrowed(&[TableDef {
        name: Cow::Borrowed("failed"),
        facet: Cow::Borrowed("tasks"),
        help: Cow::Borrowed("The tasks of the last day that failed and did not go well since, newest first."),
        columns: Cow::Borrowed(&[
            (Cow::Borrowed("type"), Cow::Borrowed("What was done: vzdump, qmstart, aptupdate.")),
            (Cow::Borrowed("id"), Cow::Borrowed("For what: the guest's number, or nothing.")),
            (Cow::Borrowed("user"), Cow::Borrowed("On whose behalf.")),
            (Cow::Borrowed("started"), Cow::Borrowed("When it began.")),
            (Cow::Borrowed("ended"), Cow::Borrowed("When it ended.")),
            (Cow::Borrowed("error"), Cow::Borrowed("What it said.")),
        ]),
    }]),
};

const fn main(name: &'static str, unit: Unit, resolution: Resolution, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, unit, resolution, help)
}

static NODE_FIELDS: [FieldDef; 12] = [
    main("online", Unit::Number, Resolution::ONE, "1 while the cluster sees it, else 0.")
        .judged(critical_below(0.0, 0.5, 90), "the node {name} is {state}")
        .in_home_assistant(HomeAssistant::class("connectivity")),
    main("cpu_ratio", Unit::Ratio, Resolution::BASIS_POINT, "Processor time, of all its cores together.")
        .in_home_assistant(HomeAssistant::MAIN),
    main("cores", Unit::Number, Resolution::ONE, "Its processor cores, as the kernel counts them."),
    main("memory_used_bytes", Unit::Bytes, Resolution::ONE, "Memory in use."),
    main("memory_total_bytes", Unit::Bytes, Resolution::ONE, "Memory in all."),
    main("memory_used_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The used part of its memory.")
        .in_home_assistant(HomeAssistant::MAIN),
    main("uptime_seconds", Unit::Seconds, Resolution::ONE, "How long it has been up."),
    main("guests", Unit::Number, Resolution::ONE, "Guests on it, templates left out."),
    main("running_guests", Unit::Number, Resolution::ONE, "Guests on it that run."),
    // A run that went well since takes the failed one off the list.
    FieldDef::new(
        "tasks",
        "failed_tasks",
        Unit::Number,
        Resolution::ONE,
        "Tasks of the last day that failed; not counted are those that somebody stopped, and those that went well since.",
    )
    .judged(warning_above(1.0, 0.5, 0), "{name}: {value} tasks failed in the last day[; the latest: {last_failed}]")
    .in_home_assistant(HomeAssistant::MAIN),
    FieldDef::new("tasks", "warned_tasks", Unit::Number, Resolution::ONE, "Tasks of the last day that ended with warnings."),
    FieldDef::new("tasks", "running_tasks", Unit::Number, Resolution::ONE, "Tasks that run now."),
];

/// Several nodes that decide together.
pub(super) static CLUSTER: KindDef = KindDef {
    name: Cow::Borrowed("cluster"),
    help: Cow::Borrowed("A cluster of Proxmox VE. Without a quorum, no guest can be started, changed or moved."),
    key: Cow::Borrowed("The cluster's name."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&CLUSTER_FIELDS),
    attributes: Cow::Borrowed(&[AttributeDef::new("main", "offline", "The nodes that are not seen.")]),
    tables: Cow::Borrowed(&[]),
};

static CLUSTER_FIELDS: [FieldDef; 3] = [
    main("quorate", Unit::Number, Resolution::ONE, "1 while enough nodes see each other to decide, else 0.")
        .judged(critical_below(0.0, 0.5, 60), "the cluster {name} has no quorum[: {offline} not seen]")
        .in_home_assistant(HomeAssistant::MAIN),
    main("nodes", Unit::Number, Resolution::ONE, "Nodes that belong to it."),
    main("online_nodes", Unit::Number, Resolution::ONE, "Nodes that are seen.").in_home_assistant(HomeAssistant::MAIN),
];

/// Where guests, images and backups are kept.
pub(super) static STORAGE: KindDef = KindDef {
    name: Cow::Borrowed("storage"),
    help: Cow::Borrowed("A storage of Proxmox VE: a folder, a pool, a share, a backup server."),
    key: Cow::Borrowed("Its name; in a cluster, one that each node has for itself is node/name."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&STORAGE_FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "type", "dir, zfspool, lvmthin, nfs, pbs, rbd and others."),
        AttributeDef::new("main", "content", "What may be kept there: images, rootdir, backup, iso."),
        AttributeDef::new("main", "node", "The node that was asked."),
        AttributeDef::new("main", "shared", "Whether all nodes see the same."),
        AttributeDef::new("main", "enabled", "Whether it is in use."),
    ]),
    tables: Cow::Borrowed(&[]),
};

static STORAGE_FIELDS: [FieldDef; 5] = [
    main(
        "active",
        Unit::Number,
        Resolution::ONE,
        "1 while it can be reached, else 0; missing when it is switched off.",
    )
    .judged(critical_below(0.0, 0.5, 120), "the storage {name} cannot be reached[ from {node}]"),
    main("total_bytes", Unit::Bytes, Resolution::ONE, "How much it holds in all."),
    main("used_bytes", Unit::Bytes, Resolution::ONE, "How much is in use."),
    main("available_bytes", Unit::Bytes, Resolution::ONE, "How much is free."),
    main("used_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The used part.")
        .judged(above(0.85, 0.95, 0.02, 0), "the storage {name} is {value} full")
        .in_home_assistant(HomeAssistant::MAIN),
];

/// A guest's disks that are copied to another node again and again.
pub(super) static REPLICATION: KindDef = KindDef {
    name: Cow::Borrowed("replication"),
    help: Cow::Borrowed("A job that copies a guest's disks to another node of the cluster."),
    key: Cow::Borrowed("The job's id: the guest's number and the job's, 101-0."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&REPLICATION_FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "state", "ok, failed, running, disabled, or never."),
        AttributeDef::new("main", "guest", "The guest's number."),
        AttributeDef::new("main", "source", "The node that it is copied from."),
        AttributeDef::new("main", "target", "The node that it is copied to."),
        AttributeDef::new("main", "schedule", "When it runs, as Proxmox VE writes it."),
        AttributeDef::new("main", "last_success", "When it last went well."),
        AttributeDef::new("main", "next_run", "When it runs next."),
        AttributeDef::new("main", "error", "What went wrong."),
    ]),
    tables: Cow::Borrowed(&[]),
};

static REPLICATION_FIELDS: [FieldDef; 4] = [
    main("age_seconds", Unit::Seconds, Resolution::ONE, "How long ago it last went well."),
    main("duration_seconds", Unit::Seconds, Resolution::THOUSANDTH, "How long the last run took."),
    main("failures", Unit::Number, Resolution::ONE, "How often it failed in a row.")
        .judged(above(1.0, 4.0, 0.5, 0), "the replication {name} failed {value} times in a row[: {error}]"),
    main("until_next_run_seconds", Unit::Seconds, Resolution::ONE, "How long until it runs again; 0 when it is due."),
];
