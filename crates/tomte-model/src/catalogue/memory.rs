//! The kinds `memory`, `zram` and `tmpfs`.

use super::prelude::*;

/// The main memory and swap of a host.
pub(super) static MEMORY: KindDef = KindDef {
    name: Cow::Borrowed("memory"),
    help: Cow::Borrowed("The main memory and the swap space of a host."),
    key: Cow::Borrowed("One for each host, named memory."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&MEMORY_FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new(
            "main",
            "dirty_ratio",
            "vm.dirty_ratio: the per cent of available memory that may be dirty before writers must wait.",
        ),
        AttributeDef::new("main", "swappiness", "vm.swappiness: how readily programs' memory is swapped, 0 to 200."),
    ]),
    tables: Cow::Borrowed(&[]),
};

/// A compressed block device in memory.
pub(super) static ZRAM: KindDef = KindDef {
    name: Cow::Borrowed("zram"),
    help: Cow::Borrowed("A compressed block device in memory, mostly used for swap."),
    key: Cow::Borrowed("The device's name, zram0."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&ZRAM_FIELDS),
    attributes: Cow::Borrowed(&[AttributeDef::new("main", "algorithm", "How it compresses.")]),
    tables: Cow::Borrowed(&[]),
};

/// A file system in memory.
pub(super) static TMPFS: KindDef = KindDef {
    name: Cow::Borrowed("tmpfs"),
    help: Cow::Borrowed("A file system that lives in memory and swap."),
    key: Cow::Borrowed("The mount point."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&TMPFS_FIELDS),
    attributes: Cow::Borrowed(&[]),
    tables: Cow::Borrowed(&[]),
};

const fn bytes(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, Unit::Bytes, Resolution::ONE, help)
}

const fn share(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, Unit::Ratio, Resolution::BASIS_POINT, help)
}

const SHOWN: HomeAssistant = HomeAssistant::class("data_size");

static MEMORY_FIELDS: [FieldDef; 14] = [
    bytes("total_bytes", "All memory that the kernel manages."),
    bytes(
        "available_bytes",
        "What programs can still get without swapping: free memory, and caches that can be dropped (a ZFS ARC above its minimum included).",
    )
    .in_home_assistant(SHOWN),
    bytes("used_bytes", "All memory less what is available.").in_home_assistant(SHOWN),
    share("used_ratio", "The used part of all memory.")
        .judged(above(0.90, 0.96, 0.03, 300), "{name} is {value} used")
        .in_home_assistant(HomeAssistant::MAIN.icon("mdi:memory")),
    bytes("free_bytes", "Memory that holds nothing at all."),
    bytes("buffers_bytes", "Cached blocks of block devices."),
    bytes("cached_bytes", "Cached files and reclaimable kernel objects, without what tmpfs and shared memory hold."),
    bytes("shared_bytes", "Shared memory and tmpfs files."),
    bytes("dirty_bytes", "Written by programs, not yet by the disk."),
    bytes("writeback_bytes", "Being written to disk now."),
    bytes("zfs_arc_bytes", "The cache of ZFS."),
    bytes("swap_total_bytes", "All swap space."),
    bytes("swap_used_bytes", "Swap space in use, without what is in memory as well."),
    share("swap_used_ratio", "The used part of the swap space.")
        .judged(warning_above(0.90, 0.05, 900), "swap is {value} used"),
];

static ZRAM_FIELDS: [FieldDef; 6] = [
    bytes("size_bytes", "How much it can take, uncompressed."),
    bytes("original_bytes", "How much it holds, uncompressed."),
    bytes("compressed_bytes", "How much that is compressed."),
    bytes("memory_used_bytes", "How much memory it takes, fragmentation and its own records included."),
    share("used_ratio", "The part of its size that it holds."),
    FieldDef::new(
        "main",
        "compression_ratio",
        Unit::Number,
        Resolution::HUNDREDTH,
        "How many times smaller compression makes it: original over compressed.",
    ),
];

static TMPFS_FIELDS: [FieldDef; 5] = [
    bytes("size_bytes", "How much it may hold."),
    bytes("used_bytes", "How much it holds."),
    bytes("available_bytes", "How much it may still take."),
    share("used_ratio", "The used part of its size.").judged(above(0.90, 0.97, 0.03, 120), "{name} is {value} full"),
    share("inodes_used_ratio", "The used part of its inodes.")
        .judged(above(0.90, 0.97, 0.03, 120), "{name} has {value} of its inodes used"),
];
