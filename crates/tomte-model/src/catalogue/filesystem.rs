//! The kind `filesystem`.

use super::prelude::*;

/// A file system on a disk, or on a server.
pub(super) static FILESYSTEM: KindDef = KindDef {
    name: Cow::Borrowed("filesystem"),
    help: Cow::Borrowed("A file system on a disk or on a server, counted once however often it is mounted."),
    key: Cow::Borrowed("The mount point; of several, one of the whole file system, and the shortest."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "device", "The block device, the dataset, or the server and what it shares."),
        AttributeDef::new("main", "type", "The type of file system, ext4 or nfs4."),
        AttributeDef::new("main", "network", "Whether it is on a server, so that looking at it may fail or take long."),
        AttributeDef::new("main", "read_only", "Whether it is mounted for reading only."),
    ]),
    tables: Cow::Borrowed(&[]),
};

const fn bytes(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, Unit::Bytes, Resolution::ONE, help)
}

const fn count(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, Unit::Number, Resolution::ONE, help)
}

const fn share(name: &'static str, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, Unit::Ratio, Resolution::BASIS_POINT, help)
}

/// The levels are shares, also for huge disks, where a tenth is still a lot:
/// ZFS, btrfs and XFS grow slow and fragmented by share, not by what is free,
/// and to make room takes the longer the larger the disk. Who would rather
/// judge a huge disk by what is free sets a threshold below for
/// `available_bytes` and switches the one for `used_ratio` off for its name.
/// Two readings must agree, since builds and backups fill and clear a disk
/// within a minute.
static FIELDS: [FieldDef; 8] = [
    bytes("size_bytes", "All of it."),
    bytes("used_bytes", "What is in use."),
    bytes("available_bytes", "What may still be written, without what is kept for root.")
        .in_home_assistant(HomeAssistant::class("data_size")),
    share("used_ratio", "The used part of what is used and available, as df shows it.")
        .judged(above(0.90, 0.95, 0.02, 60), "{name} is {value} full")
        .in_home_assistant(HomeAssistant::MAIN.icon("mdi:harddisk")),
    count("inodes", "How many files and directories there may be, where that is limited."),
    count("inodes_used", "How many files and directories there are."),
    share("inodes_used_ratio", "The used part of the inodes.")
        .judged(above(0.90, 0.95, 0.02, 60), "{name} has {value} of its inodes used"),
    count(
        "read_only_by_error",
        "1 when the kernel allows no more writes to a file system that is mounted for writing, else 0.",
    )
    .judged(critical_above(1.0, 0.5, 0), "{name} takes no more writes, probably because of an error on its disk"),
];
