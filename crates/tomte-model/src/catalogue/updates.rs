//! The kind `updates`.

use super::prelude::*;

/// What the package manager would install.
pub(super) static UPDATES: KindDef = KindDef {
    name: Cow::Borrowed("updates"),
    help: Cow::Borrowed(
        "Updates that wait to be installed, by what the package manager knew when it last refreshed its lists, and whether the host must be restarted.",
    ),
    key: Cow::Borrowed("One for each host, named updates."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&ATTRIBUTES),
    tables: Cow::Borrowed(&[TableDef {
        name: Cow::Borrowed("packages"),
        facet: Cow::Borrowed("main"),
        help: Cow::Borrowed("The packages that would be updated, those for security first; at most 100."),
        columns: Cow::Borrowed(&[
            (Cow::Borrowed("name"), Cow::Borrowed("The package.")),
            (Cow::Borrowed("installed"), Cow::Borrowed("The version that is installed.")),
            (Cow::Borrowed("offered"), Cow::Borrowed("The version that would be installed.")),
            (Cow::Borrowed("security"), Cow::Borrowed("Whether it comes from where security updates come from.")),
        ]),
    }]),
};

const fn field(name: &'static str, unit: Unit, help: &'static str) -> FieldDef {
    FieldDef::new("main", name, unit, Resolution::ONE, help)
}

/// A day, in seconds.
const DAY: u64 = 86_400;

static FIELDS: [FieldDef; 4] = [
    field("pending", Unit::Number, "Packages for which there is a newer version.")
        .in_home_assistant(HomeAssistant::MAIN),
    field(
        "security",
        Unit::Number,
        "Those of them that close security holes; missing where the package manager does not tell.",
    )
    .judged(warning_above(1.0, 0.5, 3 * DAY), "{value} security updates have waited for three days or more")
    .in_home_assistant(HomeAssistant::MAIN),
    field("restart_required", Unit::Number, "1 when something that was installed counts only after a restart, else 0.")
        .judged(warning_above(1.0, 0.5, DAY), "a restart is required[: {restart_reason}]")
        .in_home_assistant(HomeAssistant::MAIN),
    field("lists_age_seconds", Unit::Seconds, "Since the package manager last refreshed its lists.")
        .judged(warning_above(30.0 * DAY as f64, DAY as f64, 0), "the lists of packages are {value} old"),
];

static ATTRIBUTES: [AttributeDef; 8] = [
    AttributeDef::new("main", "manager", "apt, dnf, pacman, apk or nix."),
    AttributeDef::new("main", "restart_reason", "What asks for the restart."),
    AttributeDef::new("main", "running_kernel", "The kernel that runs."),
    AttributeDef::new("main", "installed_kernel", "The newest kernel that is installed, where that can be told."),
    AttributeDef::new("main", "generation", "The generation of the system that NixOS started or would start."),
    AttributeDef::new("main", "proxmox_version", "The version of Proxmox VE."),
    AttributeDef::new("main", "zfs_version", "The version of the ZFS tools."),
    AttributeDef::new("main", "zfs_module_version", "The version of the ZFS module that is loaded."),
];
