//! The kind `guest`.

use super::prelude::*;

/// A machine within this one.
pub(super) static GUEST: KindDef = KindDef {
    name: Cow::Borrowed("guest"),
    help: Cow::Borrowed("A virtual machine or a system container: of Proxmox VE, LXC, libvirt or systemd-nspawn."),
    key: Cow::Borrowed("Its number (vmid) where it has one, else its name."),
    facets: Cow::Borrowed(&[
        FacetDef { name: Cow::Borrowed("runtime"), owner: true },
        FacetDef { name: Cow::Borrowed("detail"), owner: false },
    ]),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&ATTRIBUTES),
    tables: Cow::Borrowed(&[TableDef {
        name: Cow::Borrowed("interfaces"),
        facet: Cow::Borrowed("detail"),
        help: Cow::Borrowed("Its network interfaces, from the guest agent, the container or the configuration."),
        columns: Cow::Borrowed(&[
            (Cow::Borrowed("name"), Cow::Borrowed("The interface.")),
            (Cow::Borrowed("mac"), Cow::Borrowed("Its hardware address.")),
            (Cow::Borrowed("addresses"), Cow::Borrowed("Its addresses.")),
            (Cow::Borrowed("bridge"), Cow::Borrowed("The bridge of the node that it is on.")),
        ]),
    }]),
};

static ATTRIBUTES: [AttributeDef; 18] = [
    AttributeDef::new("runtime", "type", "lxc, qemu or nspawn."),
    AttributeDef::new("runtime", "name", "What it is called."),
    AttributeDef::new("runtime", "state", "running, stopped, paused, suspended; as its hypervisor says."),
    AttributeDef::new("runtime", "node", "The node of Proxmox VE that it is on."),
    AttributeDef::new("runtime", "template", "Whether it is a template; those never run."),
    AttributeDef::new("runtime", "lock", "What it is locked for: backup, migrate, snapshot."),
    AttributeDef::new("detail", "tags", "Its tags."),
    AttributeDef::new("detail", "addresses", "Its addresses, without those of itself alone."),
    AttributeDef::new("detail", "address_error", "Why its addresses are not known."),
    AttributeDef::new("detail", "os_type", "The operating system that it is set up for."),
    AttributeDef::new("detail", "description", "The first line of its notes."),
    AttributeDef::new("detail", "on_boot", "Whether it is started with its node."),
    AttributeDef::new("detail", "agent", "Whether a guest agent is expected in it."),
    AttributeDef::new(
        "detail",
        "archived",
        "Whether a tag says that it is kept for keeping's sake; then it raises no alarm.",
    ),
    AttributeDef::new("detail", "backup_job", "Whether a backup job of Proxmox VE takes it."),
    AttributeDef::new("detail", "ha_state", "What high availability is told to do with it."),
    AttributeDef::new("detail", "disks", "Its disks, with the storage and the size of each."),
    AttributeDef::new("detail", "pool", "The resource pool that it is in."),
];

const fn field(name: &'static str, unit: Unit, resolution: Resolution, help: &'static str) -> FieldDef {
    FieldDef::new("runtime", name, unit, resolution, help)
}

const fn detail(name: &'static str, unit: Unit, resolution: Resolution, help: &'static str) -> FieldDef {
    FieldDef::new("detail", name, unit, resolution, help)
}

static FIELDS: [FieldDef; 25] = [
    field("running", Unit::Number, Resolution::ONE, "1 while it runs, else 0.")
        .in_home_assistant(HomeAssistant::class("running")),
    field("cpu_ratio", Unit::Ratio, Resolution::BASIS_POINT, "Processor time; 1 is one whole core of the host.")
        .in_home_assistant(HomeAssistant::MAIN),
    field(
        "memory_bytes",
        Unit::Bytes,
        Resolution::ONE,
        "Memory it holds on the host, without what the kernel can drop (inactive page cache).",
    )
    .in_home_assistant(HomeAssistant::class("data_size")),
    field("memory_limit_bytes", Unit::Bytes, Resolution::ONE, "The memory it may hold, where that is limited."),
    field("memory_used_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The used part of the memory it may hold.")
        .judged(above(0.95, 0.99, 0.03, 300), "{name} uses {value} of its memory"),
    field("tasks", Unit::Number, Resolution::ONE, "Its processes and threads, as the host sees them."),
    field("read_bytes_per_second", Unit::BytesPerSecond, Resolution::ONE, "Read from the host's disks."),
    field("write_bytes_per_second", Unit::BytesPerSecond, Resolution::ONE, "Written to the host's disks."),
    field("cores", Unit::Number, Resolution::ONE, "The processor cores that it may use."),
    field("uptime_seconds", Unit::Seconds, Resolution::ONE, "How long it has been up."),
    field(
        "memory_host_bytes",
        Unit::Bytes,
        Resolution::ONE,
        "Memory that the host has given for it, from Proxmox VE 9 on.",
    ),
    field(
        "disk_used_bytes",
        Unit::Bytes,
        Resolution::ONE,
        "How much of its root disk is in use; known of containers only.",
    ),
    field("disk_total_bytes", Unit::Bytes, Resolution::ONE, "The size of its root disk."),
    field(
        "disk_used_ratio",
        Unit::Ratio,
        Resolution::BASIS_POINT,
        "The used part of its root disk; known of containers only.",
    )
    .judged(above(0.90, 0.97, 0.02, 0), "{name}: the root disk is {value} full"),
    field("receive_bytes_per_second", Unit::BytesPerSecond, Resolution::ONE, "Received from the network."),
    field("transmit_bytes_per_second", Unit::BytesPerSecond, Resolution::ONE, "Sent to the network."),
    field(
        "pressure_cpu_some_ratio",
        Unit::Ratio,
        Resolution::BASIS_POINT,
        "Part of the time in which something in it waited for a processor, from Proxmox VE 9 on.",
    ),
    field("pressure_cpu_full_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The same, for all of it at once."),
    field(
        "pressure_memory_some_ratio",
        Unit::Ratio,
        Resolution::BASIS_POINT,
        "Part of the time in which something in it waited for memory, from Proxmox VE 9 on.",
    ),
    field("pressure_memory_full_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The same, for all of it at once."),
    field(
        "pressure_io_some_ratio",
        Unit::Ratio,
        Resolution::BASIS_POINT,
        "Part of the time in which something in it waited for disks, from Proxmox VE 9 on.",
    ),
    field("pressure_io_full_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The same, for all of it at once."),
    detail(
        "down",
        Unit::Number,
        Resolution::ONE,
        "1 when it ought to run (it starts with its node, or high availability says so) and does not, else 0; \
         missing of templates and of what is archived.",
    )
    .judged(warning_above(1.0, 0.5, 300), "{name} does not run, and ought to"),
    detail("memory_minimum_bytes", Unit::Bytes, Resolution::ONE, "The memory that it keeps when the host runs short."),
    detail("swap_limit_bytes", Unit::Bytes, Resolution::ONE, "The swap that it may use, of containers."),
];
