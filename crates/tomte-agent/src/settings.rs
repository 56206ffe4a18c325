//! What a hub may set on this host, and what becomes of what it sends.
//!
//! The allow-list is explicit: a key that is not on it is refused, whatever
//! the file may set. The host's own file wins, and can refuse everything.

use serde::{Deserialize, Serialize};
use tomte_link::{SettingsPush, SettingsResult};
use tomte_model::{Event, EventKind, Severity, Timestamp};

use crate::config::Layers;
use crate::pipeline::agent_event;

/// Keys that a hub may set. A filter's `include` and `exclude` are meant with it.
pub const ALLOWED: &[&str] = &[
    "intervals.fast",
    "intervals.medium",
    "intervals.slow",
    "cpu.cores",
    "tmpfs.mounts",
    "filesystem.mounts",
    "filesystem.types",
    "filesystem.network",
    "disk.devices",
    "smart.devices",
    "zfs.pools",
    "zfs.datasets",
    "interface.names",
    "interface.each_virtual",
    "interface.quiet_below_bytes_per_second",
    "process.top",
    "service.names",
    "service.timers",
    "container.names",
    "thresholds",
    "roles",
];

/// What a hub may set of every collector.
pub const ALLOWED_OF_COLLECTORS: &[&str] = &["enabled", "interval"];

/// More keys at once are refused.
const MOST: usize = 512;

/// Whether a hub may set that key.
#[must_use]
pub fn allowed(key: &str) -> bool {
    if let Some(rest) = key.strip_prefix("collectors.") {
        return rest.split_once('.').is_some_and(|(_, key)| ALLOWED_OF_COLLECTORS.contains(&key));
    }
    let filter = key.strip_suffix(".include").or_else(|| key.strip_suffix(".exclude"));
    ALLOWED.contains(&key) || filter.is_some_and(|filter| FILTERS.contains(&filter))
}

/// The filters among what is allowed.
const FILTERS: &[&str] = &[
    "tmpfs.mounts",
    "filesystem.mounts",
    "filesystem.types",
    "disk.devices",
    "smart.devices",
    "zfs.pools",
    "zfs.datasets",
    "interface.names",
    "service.names",
    "service.timers",
    "container.names",
];

/// What the hub has set, as it is kept over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pushed {
    /// The hub's count of changes.
    pub revision: u64,
    /// What is in force, by key, as TOML values.
    pub values: Vec<(String, String)>,
    /// What was refused, with the reason.
    pub refused: Vec<(String, String)>,
}

/// What became of a push.
#[derive(Debug)]
pub struct Verdict {
    /// What is in force now.
    pub pushed: Pushed,
    /// The answer to the hub.
    pub result: SettingsResult,
    /// What there is to tell: what was refused for the first time, and that
    /// something new is in force.
    pub events: Vec<Event>,
}

/// Takes in what the hub sets: all of it at once, so that what is not listed
/// is no longer set.
#[must_use]
pub fn take(push: SettingsPush, before: &Pushed, layers: &Layers, accept: bool, now: Timestamp) -> Verdict {
    let mut values = Vec::new();
    let mut refused = Vec::new();
    let mut told = Vec::new();
    for (place, (key, value)) in push.values.into_iter().enumerate() {
        let reason = if !accept {
            Some(("this host takes no settings from a hub (hub_settings.accept = false)".to_owned(), true))
        } else if place >= MOST {
            Some(("too many settings at once".to_owned(), true))
        } else if !allowed(&key) {
            Some(("a hub may never set this".to_owned(), true))
        } else if let Err(own) = layers.own_says(&key) {
            // No offence: the host knows better.
            Some((own, false))
        } else {
            layers.check_pushed(&key, &value).err().map(|reason| (reason, true))
        };
        match reason {
            None => values.push((key, value)),
            Some((reason, audit)) => {
                let entry = (key, reason);
                if audit && !before.refused.contains(&entry) {
                    told.push(entry.clone());
                }
                refused.push(entry);
            }
        }
    }
    let mut events: Vec<Event> = told
        .iter()
        .map(|(key, reason)| {
            let message = format!("the hub tried to set {key}, which this host refuses: {reason}");
            let details = [("key", key.as_str()), ("reason", reason.as_str())];
            agent_event(now, EventKind::CONFIG_REFUSED, Severity::Warning, message, &details)
        })
        .collect();
    if values != before.values {
        let revision = push.revision.to_string();
        let message = format!("{} settings of the hub are in force", values.len());
        let details = [("revision", revision.as_str())];
        events.push(agent_event(now, EventKind::CONFIG_APPLIED, Severity::Info, message, &details));
    }
    let result = SettingsResult { revision: push.revision, refused: refused.clone() };
    Verdict { pushed: Pushed { revision: push.revision, values, refused }, result, events }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{Sources, known_keys};

    fn layers(text: &str) -> Layers {
        Layers::of("/x/agent.toml".into(), text, &Sources::default()).unwrap()
    }

    fn push(values: &[(&str, &str)]) -> SettingsPush {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        SettingsPush { revision: 3, values }
    }

    fn taken(values: &[(&str, &str)], text: &str) -> Verdict {
        take(push(values), &Pushed::default(), &layers(text), true, Timestamp::default())
    }

    #[test]
    fn every_forbidden_key_is_refused_and_audited() {
        // What the design lets a hub set, spelt out: a new key of the file is
        // forbidden until somebody adds it here as well.
        let mut permitted: BTreeSet<String> = [
            "intervals.fast",
            "intervals.medium",
            "intervals.slow",
            "cpu.cores",
            "disk.devices.exclude",
            "disk.devices.include",
            "filesystem.mounts.exclude",
            "filesystem.mounts.include",
            "filesystem.network",
            "filesystem.types.exclude",
            "filesystem.types.include",
            "interface.each_virtual",
            "interface.names.exclude",
            "interface.names.include",
            "interface.quiet_below_bytes_per_second",
            "process.top",
            "smart.devices.exclude",
            "smart.devices.include",
            "zfs.datasets.exclude",
            "zfs.datasets.include",
            "zfs.pools.exclude",
            "zfs.pools.include",
            "service.names.exclude",
            "service.names.include",
            "service.timers.exclude",
            "service.timers.include",
            "container.names.exclude",
            "container.names.include",
            "roles",
            "thresholds",
            "tmpfs.mounts.exclude",
            "tmpfs.mounts.include",
        ]
        .map(str::to_owned)
        .into();
        for name in crate::collectors().iter().map(|def| def.name).chain([crate::own::COLLECTOR]) {
            permitted.extend(ALLOWED_OF_COLLECTORS.iter().map(|key| format!("collectors.{name}.{key}")));
        }
        let foreign = [
            "",
            "probes",
            "probe.x.command",
            "commands",
            "commands.restart",
            "users",
            "mqtt.broker",
            "mqtt.host",
            "tls",
            "tls.pin",
            "token",
            "hub.url",
            "state_dir.x",
            "intervals",
            "intervals.fast.x",
            "collectors",
            "collectors.load",
            "collectors..enabled.x",
            "filesystem",
            "filesystem.path",
            "filesystem.mounts.command",
            "thresholds.0",
            "roles.0",
            "helper.socket",
            "log",
            "outbox",
            "hub_settings",
        ];
        let keys: Vec<String> = known_keys().into_iter().chain(foreign.map(str::to_owned)).collect();
        let mut forbidden = 0;
        for key in keys.iter().filter(|key| !permitted.contains(*key)) {
            // A value that the file itself would take.
            for value in ["true", "\"x\"", "[\"x\"]", "\"https://evil.example\"", "\"5s\""] {
                let verdict = taken(&[(key, value)], "");
                assert!(verdict.pushed.values.is_empty(), "{key} = {value} was taken");
                assert_eq!(verdict.result.refused[0].0, *key);
                assert_eq!(verdict.events[0].kind, EventKind::CONFIG_REFUSED);
                assert_eq!(verdict.events[0].details["key"], *key);
            }
            forbidden += 1;
        }
        assert!(forbidden > 30, "{forbidden}");
        for key in &permitted {
            assert!(allowed(key), "{key}");
        }
    }

    #[test]
    fn what_is_allowed_is_taken_and_told_once() {
        let values = [
            ("intervals.fast", "\"5s\""),
            ("collectors.load.enabled", "false"),
            ("filesystem.mounts", "{ exclude = [\"/snap/*\"] }"),
            ("thresholds", "[{ kind = \"load\", field = \"load1\", warning = 9 }]"),
            ("roles", "[\"nas\"]"),
        ];
        let verdict = taken(&values, "");
        assert_eq!(verdict.result, SettingsResult { revision: 3, refused: Vec::new() });
        assert_eq!(verdict.pushed.values.len(), 5);
        assert_eq!(verdict.events[0].kind, EventKind::CONFIG_APPLIED);
        let again = take(push(&values), &verdict.pushed, &layers(""), true, Timestamp::default());
        assert!(again.events.is_empty(), "every connection brings the same again");
        let config = layers("").resolve(&verdict.pushed.values).unwrap();
        assert_eq!(config.intervals.of(tomte_collect::Tier::Fast).as_secs(), 5);
        assert_eq!(config.roles, ["nas"]);
    }

    #[test]
    fn values_that_make_no_sense_are_refused_one_by_one() {
        let values = [("intervals.fast", "\"0s\""), ("intervals.slow", "\"20m\""), ("process.top", "\"many\"")];
        let verdict = taken(&values, "");
        assert_eq!(verdict.pushed.values, [("intervals.slow".to_owned(), "\"20m\"".to_owned())]);
        assert_eq!(verdict.result.refused.len(), 2);
        let again = take(push(&values), &verdict.pushed, &layers(""), true, Timestamp::default());
        assert!(again.events.is_empty(), "told once");
    }

    #[test]
    fn the_hosts_own_file_wins_and_can_refuse_it_all() {
        let verdict = taken(&[("intervals.fast", "\"5s\"")], "[intervals]\nfast = \"3s\"");
        assert!(verdict.pushed.values.is_empty() && verdict.events.is_empty());
        assert!(verdict.result.refused[0].1.contains("/x/agent.toml:2"));
        let verdict = take(push(&[("roles", "[]")]), &Pushed::default(), &layers(""), false, Timestamp::default());
        assert!(verdict.pushed.values.is_empty());
        assert!(verdict.result.refused[0].1.contains("hub_settings.accept"));
    }
}
