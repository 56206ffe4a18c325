//! What systemd tells of one unit when asked.

use crate::dbus::Properties;

/// The properties of one unit, as far as they are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Detail {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) load: String,
    pub(crate) active: String,
    pub(crate) sub: String,
    pub(crate) enabled: String,
    /// When it got into its state, in microseconds since 1970.
    pub(crate) changed: Option<u64>,
    /// When it last left the active state; missing when it never was in it.
    pub(crate) was_active: Option<u64>,
    pub(crate) kind: String,
    pub(crate) restarts: Option<u64>,
    pub(crate) result: String,
    pub(super) status: Option<i64>,
    pub(crate) control_group: String,
    pub(crate) state_directories: Vec<String>,
    pub(crate) cache_directories: Vec<String>,
    pub(crate) logs_directories: Vec<String>,
    /// Of a timer: the unit that it starts.
    pub(crate) starts: String,
    pub(crate) last_trigger: Option<u64>,
    /// By the wall clock, and by the monotonic one.
    pub(crate) next_trigger: (Option<u64>, Option<u64>),
}

impl Detail {
    pub(super) const WANTED: &'static [&'static str] = &[
        "Description",
        "LoadState",
        "ActiveState",
        "SubState",
        "UnitFileState",
        "StateChangeTimestamp",
        "ActiveExitTimestamp",
        "Type",
        "NRestarts",
        "Result",
        "ExecMainStatus",
        "ControlGroup",
        "StateDirectory",
        "CacheDirectory",
        "LogsDirectory",
        "Unit",
        "LastTriggerUSec",
        "NextElapseUSecRealtime",
        "NextElapseUSecMonotonic",
    ];

    pub(super) fn new(name: &str, properties: &Properties) -> Self {
        let text = |name| properties.text(name).to_owned();
        // Zero is "never" for times.
        let time = |name| properties.number(name).filter(|micros| *micros > 0);
        Self {
            name: name.to_owned(),
            description: text("Description"),
            load: text("LoadState"),
            active: text("ActiveState"),
            sub: text("SubState"),
            enabled: text("UnitFileState"),
            changed: time("StateChangeTimestamp"),
            was_active: time("ActiveExitTimestamp"),
            kind: text("Type"),
            restarts: properties.number("NRestarts"),
            result: text("Result"),
            status: properties.signed("ExecMainStatus"),
            control_group: text("ControlGroup"),
            state_directories: properties.texts("StateDirectory").to_vec(),
            cache_directories: properties.texts("CacheDirectory").to_vec(),
            logs_directories: properties.texts("LogsDirectory").to_vec(),
            starts: text("Unit"),
            last_trigger: time("LastTriggerUSec"),
            next_trigger: (time("NextElapseUSecRealtime"), time("NextElapseUSecMonotonic")),
        }
    }

    /// Whether it is a service that does not end by itself when all is well.
    pub(crate) fn should_run_on(&self) -> bool {
        self.name.ends_with(".service") && self.kind != "oneshot"
    }

    /// Whether somebody stopped it: it is started at boot, it ran, it has
    /// ended without an error, and it is not one that ends by itself.
    pub(crate) fn was_stopped(&self, active: &str) -> bool {
        active == "inactive"
            && self.result == "success"
            && self.was_active.is_some()
            && matches!(self.enabled.as_str(), "enabled" | "enabled-runtime")
            && self.should_run_on()
    }

    /// How it failed: `exit-code 3`, `signal 9`, `oom-kill`.
    pub(crate) fn why(&self) -> String {
        match (self.result.as_str(), self.status) {
            (result @ ("exit-code" | "signal" | "core-dump"), Some(status)) => format!("{result} {status}"),
            (result, _) => result.to_owned(),
        }
    }
}
