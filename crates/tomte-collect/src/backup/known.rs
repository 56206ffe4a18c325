//! What is known of a backup, whatever made it, and how it is told.

use std::time::Duration;

use tomte_model::report::Table;
use tomte_model::{Facet, Name, Outcome, Timestamp, Unit, Value};

/// What was read of a backup. What is `None` is not known.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Known {
    /// When the last good one was made.
    pub last_success: Option<Timestamp>,
    /// Whether it is known that there is, or is not, any good one.
    pub never: Option<bool>,
    /// When it last ran, however that went.
    pub last_run: Option<Timestamp>,
    /// When it runs next.
    pub next_run: Option<Timestamp>,
    /// The oldest that is kept.
    pub oldest: Option<Timestamp>,
    pub running: Option<bool>,
    pub failed: Option<bool>,
    pub error: Option<String>,
    pub schedule: Option<String>,
    pub duration: Option<f64>,
    pub backups: Option<f64>,
    pub size: Option<f64>,
    pub added: Option<f64>,
    pub stored: Option<f64>,
    pub files: Option<f64>,
    pub stale_locks: Option<f64>,
    pub parts: Vec<Part>,
    pub disks: Vec<Disk>,
    pub check: Option<Check>,
}

/// A set within a repository, or one repository of several.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Part {
    pub name: String,
    pub state: Option<String>,
    pub last_success: Option<Timestamp>,
    pub backups: Option<f64>,
    pub size: Option<f64>,
}

/// A disk that a job writes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Disk {
    pub serial: String,
    pub name: Option<String>,
    pub mount: Option<String>,
    pub used: Option<f64>,
    pub total: Option<f64>,
    pub temperature: Option<f64>,
    pub wear: Option<f64>,
    pub last_seen: Option<Timestamp>,
}

/// How a check of the repository went.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Check {
    pub at: Option<Timestamp>,
    pub failed: bool,
    pub error: Option<String>,
    /// `ok`, `failed`, `none`: a verification by whoever keeps the backup.
    pub verified: Option<&'static str>,
    pub unverified: Option<f64>,
}

/// Why a backup could not be read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Trouble {
    /// The repository does not answer, or is not where it should be: nobody
    /// could restore from it now.
    Unreachable(String),
    /// The host or the repository does not let us.
    Denied { error: String, cure: String },
    /// It answers, and what it says is no backup any more.
    Damaged(String),
    /// It answers, and we do not understand it.
    Failed(String),
}

impl Trouble {
    /// For the troubles that make a scope fail.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Denied { error, cure } => Outcome::Denied { error, cure },
            Self::Unreachable(error) | Self::Damaged(error) | Self::Failed(error) => Outcome::Failed { error },
        }
    }
}

/// Who a backup is.
#[derive(Debug, Clone)]
pub(crate) struct Identity<'a> {
    pub name: &'a str,
    pub kind: &'a str,
    pub repository: &'a str,
    pub expected: Option<Duration>,
}

/// The backup as a resource. `trouble` is why it could not be read just now,
/// where something is known from before.
pub(crate) fn facets(who: &Identity<'_>, known: &Known, trouble: Option<&Trouble>, now: Timestamp) -> Vec<Facet> {
    let age = |then: Timestamp| now.since(then).as_secs_f64();
    let mut facet = Facet::owner("backup", who.name, "main");
    let late = known.last_success.zip(who.expected).map(|(then, every)| age(then) / every.as_secs_f64());
    let unreachable = matches!(trouble, Some(Trouble::Unreachable(_)));
    let damage = match trouble {
        Some(Trouble::Damaged(error)) => {
            Some(Check { failed: true, error: Some(error.clone()), at: Some(now), ..Check::default() })
        }
        _ => known.check.clone(),
    };
    // Never is what a repository says that could be read and holds nothing.
    let never = known.never.filter(|_| trouble.is_none());
    let state = if damage.as_ref().is_some_and(|check| check.failed) {
        "damaged"
    } else if unreachable {
        "unreachable"
    } else if known.running == Some(true) {
        "running"
    } else if never == Some(true) {
        "never"
    } else if known.failed == Some(true) {
        "failed"
    } else if late.is_some_and(|late| late >= LATE) {
        "old"
    } else if known.last_success.is_none() && known.failed != Some(false) {
        // Nobody says that it went well.
        "unknown"
    } else {
        "ok"
    };
    facet.text("type", who.kind);
    facet.text("state", state);
    facet.text("repository", without_secrets(who.repository));
    let mut time = |name: &'static str, then: Option<Timestamp>| {
        facet.text(name, then.map(|then| then.to_string()).unwrap_or_default());
    };
    time("last_success", known.last_success);
    time("last_run", known.last_run);
    time("next_run", known.next_run);
    if let Some(expected) = who.expected {
        facet.text("expected", format!("every {}", Unit::Seconds.format(expected.as_secs_f64())));
    }
    facet.text("schedule", known.schedule.clone().unwrap_or_default());
    let error = match trouble {
        Some(Trouble::Unreachable(error)) => Some(error.clone()),
        _ => known.error.clone(),
    };
    facet.text("error", error.unwrap_or_default());
    let flag = |value: Option<bool>| value.map(|value| f64::from(u8::from(value)));
    facet.read("age_seconds", known.last_success.map(age));
    facet.read("age_ratio", late);
    facet.read("never", flag(never));
    facet.read("failed", flag(known.failed));
    facet.read("unreachable", flag(Some(unreachable)));
    facet.read("running", flag(known.running));
    facet.read("stale_locks", known.stale_locks);
    facet.read("until_next_run_seconds", known.next_run.map(|next| next.since(now).as_secs_f64()));
    facet.read("duration_seconds", known.duration);
    facet.read("backups", known.backups);
    facet.read("oldest_age_seconds", known.oldest.map(age));
    facet.read("size_bytes", known.size);
    facet.read("added_bytes", known.added);
    facet.read("stored_bytes", known.stored);
    facet.read("files", known.files);
    // What others write may be below zero; no such thing is.
    facet.readings.retain(|(_, value)| *value >= 0.0);
    if !known.disks.is_empty() {
        facet.tables.push(disks(&known.disks));
    }
    if !known.parts.is_empty() {
        facet.tables.push(parts(&known.parts));
    }
    let mut facets = vec![facet];
    if let Some(check) = damage {
        facets.push(check_facet(who.name, &check, now));
    }
    facets
}

/// The same as the catalogue's threshold: later than this is old.
const LATE: f64 = 1.25;

/// How a check went, as a facet of the backup.
pub(crate) fn check_facet(name: &str, check: &Check, now: Timestamp) -> Facet {
    let mut facet = Facet::extra("backup", name, "check");
    facet.text("verified", check.verified.unwrap_or_default());
    facet.text("check_error", check.error.clone().unwrap_or_default());
    facet.read("check_failed", f64::from(u8::from(check.failed)));
    facet.read("check_age_seconds", check.at.map(|at| now.since(at).as_secs_f64()));
    facet.read("unverified", check.unverified);
    facet
}

fn text(text: Option<String>) -> Option<Value> {
    text.filter(|text| !text.is_empty()).map(Value::Text)
}

fn time(time: Option<Timestamp>) -> Option<Value> {
    time.map(|time| Value::Text(time.to_string()))
}

fn number(number: Option<f64>) -> Option<Value> {
    number.filter(|number| number.is_finite()).map(Value::Number)
}

fn table(name: &'static str, columns: &'static [&'static str], rows: Vec<Vec<Option<Value>>>) -> Table {
    Table { name: name.into(), columns: columns.iter().map(|column| Name::from(*column)).collect(), rows }
}

fn disks(disks: &[Disk]) -> Table {
    const COLUMNS: [&str; 8] =
        ["serial", "name", "mount", "used_bytes", "total_bytes", "temperature_celsius", "wear_used_ratio", "last_seen"];
    let row = |disk: &Disk| {
        vec![
            text(Some(disk.serial.clone())),
            text(disk.name.clone()),
            text(disk.mount.clone()),
            number(disk.used),
            number(disk.total),
            number(disk.temperature),
            number(disk.wear),
            time(disk.last_seen),
        ]
    };
    table("disks", &COLUMNS, disks.iter().map(row).collect())
}

fn parts(parts: &[Part]) -> Table {
    const COLUMNS: [&str; 5] = ["name", "state", "last_success", "backups", "size_bytes"];
    let row = |part: &Part| {
        vec![
            text(Some(part.name.clone())),
            text(part.state.clone()),
            time(part.last_success),
            number(part.backups),
            number(part.size),
        ]
    };
    table("parts", &COLUMNS, parts.iter().map(row).collect())
}

/// A repository's address without the user and password that it may hold.
pub(crate) fn without_secrets(repository: &str) -> String {
    let Some((scheme, rest)) = repository.split_once("://") else { return repository.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => format!("{scheme}://{host}{path}"),
        _ => repository.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn state(known: &Known, trouble: Option<&Trouble>) -> String {
        let expected = Some(Duration::from_secs(86_400));
        let who = Identity { name: "x", kind: "restic", repository: "/r", expected };
        facets(&who, known, trouble, NOW)[0].attribute("state").unwrap().to_string()
    }

    #[test]
    fn never_running_failed_old_unreachable_and_damaged_are_different() {
        let good = |hours: u64| Known {
            last_success: Some(NOW.minus(Duration::from_secs(hours * 3_600))),
            ..Known::default()
        };
        assert_eq!(state(&Known { never: Some(true), ..Known::default() }, None), "never");
        assert_eq!(state(&good(20), None), "ok");
        assert_eq!(state(&Known::default(), None), "unknown");
        assert_eq!(state(&good(31), None), "old");
        assert_eq!(state(&Known { running: Some(true), ..good(31) }, None), "running");
        assert_eq!(state(&Known { failed: Some(true), ..good(2) }, None), "failed");
        let away = Trouble::Unreachable("no route".into());
        assert_eq!(state(&good(2), Some(&away)), "unreachable");
        assert_eq!(state(&Known::default(), Some(&away)), "unreachable");
        assert_eq!(state(&good(2), Some(&Trouble::Damaged("bad pack".into()))), "damaged");
        let check = Some(Check { failed: true, ..Check::default() });
        assert_eq!(state(&Known { check, ..good(2) }, None), "damaged");
    }

    #[test]
    fn secrets_are_not_shown() {
        for (repository, shown) in [
            ("rest:https://me:pw@host:8000/x", "rest:https://host:8000/x"),
            ("rest:https://host/x", "rest:https://host/x"),
            ("ssh://borg@host/./x", "ssh://borg@host/./x"),
            ("sftp:me@host:/x", "sftp:me@host:/x"),
            ("/srv/r", "/srv/r"),
        ] {
            assert_eq!(without_secrets(repository), shown);
        }
    }
}
