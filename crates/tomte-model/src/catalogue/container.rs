//! The kinds `container` and `container_engine`.

use super::prelude::*;

/// A container of Docker or Podman.
pub(super) static CONTAINER: KindDef = KindDef {
    name: Cow::Borrowed("container"),
    help: Cow::Borrowed("A container of Docker or Podman, also one that has ended."),
    key: Cow::Borrowed(
        "The compose project, service and number, shop/web/1; else the container's name. Of a further engine on the host, with the engine's name before it where the name is taken.",
    ),
    facets: Cow::Borrowed(MAIN),
    fields: Cow::Borrowed(&FIELDS),
    attributes: Cow::Borrowed(&ATTRIBUTES),
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

const fn rate(name: &'static str, help: &'static str) -> FieldDef {
    field(name, Unit::BytesPerSecond, Resolution::ONE, help)
}

static FIELDS: [FieldDef; 19] = [
    number("running", "1 while it runs, else 0.").in_home_assistant(HomeAssistant::class("running")),
    number("unhealthy", "1 when its health check fails, 0 when it passes or has only begun; missing without one.")
        .judged(critical_above(1.0, 0.5, 0), "{name} is unhealthy[: {health_output}]")
        .in_home_assistant(HomeAssistant::MAIN),
    number("failed", "1 when it ended with an error and nobody stopped it, else 0.")
        .judged(critical_above(1.0, 0.5, 0), "{name} failed[ with exit code {exit_status}][: {error}]"),
    number("restarting", "1 while the engine waits before it starts it again after it ended by itself, else 0."),
    number("restarts", "How often the engine restarted it by itself since it was made."),
    number("recent_restarts", "How often the engine restarted it in the last 15 minutes, as far as it was watched.")
        .judged(
            above(3.0, 10.0, 1.0, 0),
            "{name} restarts again and again: {value} times in 15 minutes[, exit code {exit_status}]",
        ),
    number("exit_code", "What it ended with; missing while it has never ended."),
    number("oom_killed", "1 when its memory ran out and the kernel killed it, the last time it ended, else 0.")
        .judged(warning_above(1.0, 0.5, 0), "{name} was killed because its memory ran out"),
    number("oom_kills", "Processes in it that the kernel killed because its memory ran out, since it was started."),
    field("uptime_seconds", Unit::Seconds, Resolution::ONE, "How long it has been running."),
    field("cpu_ratio", Unit::Ratio, Resolution::BASIS_POINT, "Processor time; 1 is one whole core.")
        .in_home_assistant(HomeAssistant::MAIN.off()),
    bytes("memory_bytes", "Memory it holds, without what the kernel can drop (inactive page cache).")
        .in_home_assistant(HomeAssistant::class("data_size").off()),
    bytes("memory_limit_bytes", "The memory it may hold, where that is limited."),
    field("memory_used_ratio", Unit::Ratio, Resolution::BASIS_POINT, "The used part of the memory it may hold.")
        .judged(above(0.90, 0.97, 0.05, 300), "{name} uses {value} of the memory it may hold"),
    number("tasks", "Its processes and threads."),
    rate("receive_bytes_per_second", "Received over its network; missing where it uses the host's."),
    rate("transmit_bytes_per_second", "Sent over its network; missing where it uses the host's."),
    rate("read_bytes_per_second", "Read from disks."),
    rate("write_bytes_per_second", "Written to disks."),
];

static ATTRIBUTES: [AttributeDef; 15] = [
    AttributeDef::new("main", "engine", "docker or podman."),
    AttributeDef::new("main", "image", "The image it was made from."),
    AttributeDef::new("main", "id", "The first 12 digits of its id."),
    AttributeDef::new("main", "state", "running, exited, restarting, paused, created or dead."),
    AttributeDef::new("main", "health", "healthy, unhealthy or starting; missing without a health check."),
    AttributeDef::new("main", "health_output", "What the failing health check last said, the beginning of it."),
    AttributeDef::new("main", "exit_status", "What it last ended with, when that was an error: the exit code."),
    AttributeDef::new("main", "error", "Why the engine could not start it."),
    AttributeDef::new("main", "project", "The compose project."),
    AttributeDef::new("main", "service", "The service within the compose project."),
    AttributeDef::new(
        "main",
        "restart_policy",
        "When the engine starts it again: no, on-failure, always, unless-stopped.",
    ),
    AttributeDef::new("main", "started_at", "When it was last started."),
    AttributeDef::new("main", "finished_at", "When it last ended."),
    AttributeDef::new("main", "ports", "The ports of the host that lead to it."),
    AttributeDef::new(
        "main",
        "stopped_by_user",
        "Whether somebody stopped it, so that its standing still is no problem.",
    ),
];

/// An engine that runs containers.
pub(super) static CONTAINER_ENGINE: KindDef = KindDef {
    name: Cow::Borrowed("container_engine"),
    help: Cow::Borrowed("Docker or Podman itself: how many containers it has, and what it keeps on disk."),
    key: Cow::Borrowed("docker or podman; of a further one, the path of its socket."),
    facets: Cow::Borrowed(&[
        FacetDef { name: Cow::Borrowed("main"), owner: true },
        FacetDef { name: Cow::Borrowed("disk"), owner: false },
    ]),
    fields: Cow::Borrowed(&ENGINE_FIELDS),
    attributes: Cow::Borrowed(&[
        AttributeDef::new("main", "version", "The engine's version."),
        AttributeDef::new("main", "api_version", "The version of the API it speaks."),
        AttributeDef::new("main", "socket", "The socket it was asked on."),
    ]),
    tables: Cow::Borrowed(&[]),
};

const fn disk(name: &'static str, unit: Unit, help: &'static str) -> FieldDef {
    FieldDef::new("disk", name, unit, Resolution::ONE, help)
}

static ENGINE_FIELDS: [FieldDef; 12] = [
    number("containers", "All its containers.").in_home_assistant(HomeAssistant::MAIN),
    number("running", "Containers that run.").in_home_assistant(HomeAssistant::MAIN),
    number("paused", "Containers that are paused."),
    number("stopped", "Containers that do not run."),
    disk("images_bytes", Unit::Bytes, "What images take, layers that they share counted once.")
        .in_home_assistant(HomeAssistant::class("data_size").off()),
    disk(
        "images_unused_bytes",
        Unit::Bytes,
        "What images take that no container was made from, as far as they share nothing.",
    ),
    disk("images", Unit::Number, "Images."),
    disk("containers_bytes", Unit::Bytes, "What containers have written into themselves."),
    disk("volumes_bytes", Unit::Bytes, "What volumes hold.").in_home_assistant(HomeAssistant::class("data_size").off()),
    disk("volumes_unused_bytes", Unit::Bytes, "What volumes hold that no container uses."),
    disk("volumes", Unit::Number, "Volumes."),
    disk("build_cache_bytes", Unit::Bytes, "What is kept from building images."),
];
