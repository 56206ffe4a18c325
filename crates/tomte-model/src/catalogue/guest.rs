//! The kind `guest`.

use super::prelude::*;

/// A machine within this one.
pub(super) static GUEST: KindDef = KindDef {
    name: Cow::Borrowed("guest"),
    help: Cow::Borrowed("A virtual machine or a system container: LXC, libvirt or systemd-nspawn."),
    key: Cow::Borrowed("Its number (vmid) where it has one, else its name."),
    facets: Cow::Borrowed(&[FacetDef { name: Cow::Borrowed("runtime"), owner: true }]),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("runtime", "type", "lxc, qemu or nspawn."),
        AttributeDef::new("runtime", "name", "What it is called."),
    ]),
    tables: Cow::Borrowed(&[]),
};

const fn field(name: &'static str, unit: Unit, resolution: Resolution, help: &'static str) -> FieldDef {
    FieldDef::new("runtime", name, unit, resolution, help)
}

static FIELDS: [FieldDef; 8] = [
    field("running", Unit::Number, Resolution::ONE, "1 while it runs, else 0.").in_home_assistant(HomeAssistant::MAIN),
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
];
