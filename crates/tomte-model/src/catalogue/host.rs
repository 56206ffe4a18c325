//! The kinds `host` and `os`: the machine as a whole.

use super::prelude::*;

/// The machine itself.
pub(super) static HOST: KindDef = KindDef {
    name: Cow::Borrowed("host"),
    help: Cow::Borrowed("The machine itself: how long it has been up and who is logged in."),
    key: Cow::Borrowed("One for each host, named host."),
    facets: Cow::Borrowed(&[
        FacetDef { name: Cow::Borrowed("main"), owner: true },
        FacetDef { name: Cow::Borrowed("users"), owner: false },
    ]),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&[]),
    tables: Cow::Borrowed(&TABLES),
};

static FIELDS: [FieldDef; 2] = [
    FieldDef::new(
        "main",
        "uptime_seconds",
        Unit::Seconds,
        Resolution::ONE,
        "Time since it was booted, sleep included.",
    )
    .in_home_assistant(HomeAssistant::class("duration").as_diagnostic()),
    FieldDef::new("users", "users_logged_in", Unit::Number, Resolution::ONE, "How many different users are logged in.")
        .in_home_assistant(HomeAssistant::MAIN),
];

static TABLES: [TableDef; 1] = [TableDef {
    name: Cow::Borrowed("users"),
    facet: Cow::Borrowed("users"),
    help: Cow::Borrowed("The sessions of logged-in users."),
    columns: Cow::Borrowed(&[
        (Cow::Borrowed("user"), Cow::Borrowed("The user's name.")),
        (Cow::Borrowed("terminal"), Cow::Borrowed("The terminal, pts/0, or the seat.")),
        (Cow::Borrowed("from"), Cow::Borrowed("The remote host or address.")),
        (Cow::Borrowed("since"), Cow::Borrowed("When the session began, RFC 3339.")),
    ]),
}];

/// The operating system and what it runs on.
pub(super) static OS: KindDef = KindDef {
    name: Cow::Borrowed("os"),
    help: Cow::Borrowed("The operating system, its kernel, and what they run on."),
    key: Cow::Borrowed("One for each host, named os."),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&[]),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "name", "The name for people, Debian GNU/Linux 13 (trixie).")
            .in_home_assistant(HomeAssistant::TEXT.icon("mdi:linux")),
        AttributeDef::new("main", "id", "The distribution's short name, debian."),
        AttributeDef::new("main", "version", "The distribution's version, 13; a rolling one has none."),
        AttributeDef::new("main", "kernel", "The kernel's release, 6.12.48+deb13-amd64.")
            .in_home_assistant(HomeAssistant::TEXT.icon("mdi:penguin")),
        AttributeDef::new("main", "architecture", "The kernel's architecture, x86_64."),
        AttributeDef::new(
            "main",
            "virtualisation",
            "The hypervisor or container this host runs in (kvm, vmware, lxc, docker …), or none.",
        ),
        AttributeDef::new("main", "vendor", "Who made the machine, as its firmware says."),
        AttributeDef::new("main", "product", "The machine's model, as its firmware says."),
        AttributeDef::new("main", "boot_time", "When it was booted, RFC 3339 in whole seconds.")
            .in_home_assistant(HomeAssistant::text("timestamp")),
        AttributeDef::new("main", "reboot_required", "Whether an upgrade waits for a reboot; Debian and its kin only.")
            .in_home_assistant(HomeAssistant::text("update")),
    ]),
    tables: Cow::Borrowed(&[]),
};
