//! A timer of systemd and the service that it starts, as a backup: when it ran,
//! how that went, when it runs again.
//!
//! systemd remembers the last run of a service until the next one or until it
//! is itself started anew; so what was seen of an earlier good run is kept here.
//! That there never was one, only a timer that is `Persistent=` can tell, since
//! it alone knows of runs before the last start of the host.

use std::time::Duration;

use tomte_model::{Outcome, Timestamp};

use super::known::{Known, Trouble};
use super::settings::BackupJob;
use crate::dbus::{BusError, Properties};
use crate::root::Root;
use crate::systemd::Manager;

const OF_TIMER: &[&str] =
    &["LoadState", "Unit", "LastTriggerUSec", "NextElapseUSecRealtime", "Persistent", "TimersCalendar"];
const OF_SERVICE: &[&str] = &[
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "ExecMainStartTimestamp",
    "ExecMainExitTimestamp",
    "ExecMainStatus",
];

/// Asks systemd; the few answers come at once or not at all.
const WITHIN: Duration = Duration::from_secs(10);

/// Looks at a timer and its service. `before` is what was known of it.
pub(super) fn read(job: &BackupJob, root: &Root, before: Option<&Known>) -> Result<Known, Trouble> {
    let mut manager = Manager::open(root, WITHIN).map_err(trouble)?;
    let mut ask = |unit: &str, wanted: &[&'static str]| match manager.properties(unit, wanted) {
        Ok(properties) if properties.text("LoadState") == "not-found" => {
            Err(Trouble::Failed(format!("systemd has no unit {unit}")))
        }
        Ok(properties) => Ok(properties),
        Err(error) if error.is_answer() && !matches!(error, BusError::Denied { .. }) => {
            Err(Trouble::Failed(format!("systemd has no unit {unit}: {error}")))
        }
        Err(error) => Err(trouble(error.outcome())),
    };
    let timer = ask(&job.repository, OF_TIMER)?;
    let service = ask(timer.text("Unit"), OF_SERVICE)?;
    Ok(summarise(&timer, &service, before))
}

/// There is nothing to be restored from systemd, so that it is never "unreachable".
fn trouble(outcome: Outcome) -> Trouble {
    match outcome {
        Outcome::Denied { error, cure } => Trouble::Denied { error, cure },
        other => Trouble::Failed(other.error().unwrap_or_default().to_owned()),
    }
}

fn summarise(timer: &Properties, service: &Properties, before: Option<&Known>) -> Known {
    let time = |properties: &Properties, name: &str| {
        let micros = properties.number(name).filter(|micros| *micros > 0)?;
        i64::try_from(micros / 1000).ok().map(Timestamp::from_millis)
    };
    let (started, ended) = (time(service, "ExecMainStartTimestamp"), time(service, "ExecMainExitTimestamp"));
    let triggered = time(timer, "LastTriggerUSec");
    let active = service.text("ActiveState");
    let running = matches!(active, "activating" | "reloading" | "deactivating")
        || (active == "active" && service.text("SubState") != "exited");
    let result = service.text("Result");
    // While it runs, systemd has no result yet, and says "success".
    let done = ended.filter(|ended| !running && started.is_none_or(|started| started <= *ended));
    let failed = match (running, result) {
        (true, _) => None,
        (false, "success") => done.map(|_| false),
        (false, _) => Some(true),
    };
    let earlier = before.and_then(|before| before.last_success);
    let last_success = done.filter(|_| failed == Some(false)).or(earlier);
    let never_ran = triggered.is_none() && started.is_none() && timer.flag("Persistent");
    let calendar = timer.texts("TimersCalendar");
    Known {
        last_success,
        never: match (last_success, never_ran) {
            (Some(_), _) => Some(false),
            (None, true) => Some(true),
            (None, false) => None,
        },
        last_run: started.or(triggered),
        next_run: time(timer, "NextElapseUSecRealtime"),
        running: Some(running),
        failed,
        error: (failed == Some(true)).then(|| match service.signed("ExecMainStatus") {
            Some(status) if matches!(result, "exit-code" | "signal" | "core-dump") => format!("{result} {status}"),
            _ => result.to_owned(),
        }),
        schedule: (!calendar.is_empty()).then(|| calendar.join(", ")),
        duration: done.zip(started).map(|(ended, started)| ended.since(started).as_secs_f64()),
        ..Known::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dbus::Value;

    const MINUTE: u64 = 60_000_000;

    fn number(value: u64) -> Value {
        Value::Unsigned(value)
    }

    fn text(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    fn timer(last: u64, persistent: bool) -> Properties {
        let calendar = Value::Texts(vec!["*-*-* 02:30:00".to_owned()]);
        Properties::of([
            ("LastTriggerUSec", number(last)),
            ("NextElapseUSecRealtime", number(100 * MINUTE)),
            ("Persistent", Value::Bool(persistent)),
            ("TimersCalendar", calendar),
        ])
    }

    fn service(active: &str, result: &str, started: u64, ended: u64, status: i64) -> Properties {
        Properties::of([
            ("ActiveState", text(active)),
            ("SubState", text(if active == "active" { "running" } else { "dead" })),
            ("Result", text(result)),
            ("ExecMainStartTimestamp", number(started)),
            ("ExecMainExitTimestamp", number(ended)),
            ("ExecMainStatus", Value::Signed(status)),
        ])
    }

    fn minutes(minutes: i64) -> Option<Timestamp> {
        Some(Timestamp::from_millis(minutes * 60_000))
    }

    #[test]
    fn a_good_run_is_the_last_success_and_stays_it_over_a_bad_one() {
        let good =
            summarise(&timer(9 * MINUTE, true), &service("inactive", "success", 10 * MINUTE, 12 * MINUTE, 0), None);
        assert_eq!((good.last_success, good.failed, good.never), (minutes(12), Some(false), Some(false)));
        assert_eq!((good.duration, good.last_run, good.next_run), (Some(120.0), minutes(10), minutes(100)));
        assert_eq!(good.schedule.as_deref(), Some("*-*-* 02:30:00"));
        let running = service("activating", "success", 20 * MINUTE, 0, 0);
        let running = summarise(&timer(20 * MINUTE, true), &running, Some(&good));
        assert_eq!((running.running, running.failed, running.last_success), (Some(true), None, minutes(12)));
        let bad = service("failed", "exit-code", 20 * MINUTE, 21 * MINUTE, 3);
        let bad = summarise(&timer(20 * MINUTE, true), &bad, Some(&running));
        assert_eq!(
            (bad.failed, bad.error.as_deref(), bad.last_success),
            (Some(true), Some("exit-code 3"), minutes(12))
        );
    }

    #[test]
    fn never_is_said_only_by_a_timer_that_would_know() {
        let none = service("inactive", "success", 0, 0, 0);
        assert_eq!(summarise(&timer(0, true), &none, None).never, Some(true));
        let forgetful = summarise(&timer(0, false), &none, None);
        assert_eq!((forgetful.never, forgetful.failed, forgetful.last_success), (None, None, None));
        // Before the host was started; how it went, nobody knows any more.
        let before = summarise(&timer(5 * MINUTE, true), &none, None);
        assert_eq!((before.never, before.last_run, before.last_success), (None, minutes(5), None));
    }

    #[test]
    fn a_host_without_systemd_has_failed_to_tell() {
        let dir = tempfile::tempdir().unwrap();
        let job: BackupJob = toml::from_str("name = \"x\"\ntype = \"timer\"\ntimer = \"backup\"\n").unwrap();
        assert_eq!(job.repository, "backup.timer");
        let answer = read(&job, &Root::new(dir.path()), None);
        assert!(matches!(&answer, Err(Trouble::Failed(error)) if error.contains("systemd")), "{answer:?}");
    }
}
