//! The backups of guests, made by vzdump on a storage or kept by a Proxmox
//! Backup Server: the newest of each guest, its age against the job's schedule,
//! its verification, and how the last run went.

use std::collections::BTreeMap;
use std::time::Duration;

use tomte_model::{Facet, Timestamp};

use super::guests::{kind, vmid};
use super::wire::Row;
use crate::backup::{Check, Identity, Known, facets};

const DAY: u64 = 86_400;

/// One backup job of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job<'a> {
    row: &'a Row,
    every: Option<Duration>,
}

impl<'a> Job<'a> {
    /// The jobs that are switched on.
    pub(super) fn list(rows: &'a [Row]) -> Vec<Self> {
        let on = |row: &&Row| row.enabled.0.is_none_or(|enabled| enabled != 0.0);
        rows.iter().filter(on).map(|row| Self { row, every: every(row.schedule.as_str()) }).collect()
    }

    /// Whether it takes that guest.
    pub(super) fn takes(&self, guest: &Row) -> bool {
        let Some(vmid) = vmid(guest) else { return false };
        let names = |list: &str| list.split(',').any(|one| one.trim().parse() == Ok(vmid));
        let of_node = self.row.node.as_str().is_empty() || self.row.node.as_str() == guest.node.as_str();
        let taken = if self.row.all.flag() {
            !names(self.row.exclude.as_str())
        } else if !self.row.pool.as_str().is_empty() {
            self.row.pool.as_str() == guest.pool.as_str()
        } else {
            names(self.row.vmid.as_str())
        };
        of_node && taken
    }
}

/// The longest time between two runs of a schedule, as `PVE::CalendarEvent`
/// and systemd write it; `None` where we do not understand it.
pub(super) fn every(schedule: &str) -> Option<Duration> {
    let text = schedule.trim().to_lowercase();
    let seconds = match text.as_str() {
        "" => return None,
        "minutely" => 60,
        "hourly" => 3_600,
        "daily" => DAY,
        "weekly" => 7 * DAY,
        "monthly" => 31 * DAY,
        "quarterly" => 92 * DAY,
        "semiannually" => 184 * DAY,
        "yearly" | "annually" => 366 * DAY,
        _ => {
            let words: Vec<&str> = text.split_whitespace().collect();
            let days = words.first().and_then(|word| weekdays(word));
            let rest = &words[usize::from(days.is_some())..];
            if rest.iter().any(|word| word.contains('-')) {
                // A date: the first of each month, at the most seldom.
                let monthly = rest.iter().any(|word| word.starts_with("*-*-"));
                return Some(Duration::from_secs(if monthly { 31 * DAY } else { 366 * DAY }));
            }
            let between_days = days.map_or(DAY, |days| longest_gap(&days) * DAY);
            let within = rest.first().and_then(|time| repeats(time));
            if between_days == DAY { within.unwrap_or(DAY) } else { between_days }
        }
    };
    Some(Duration::from_secs(seconds))
}

/// `mon..fri`, `sat,sun`: which days of the week.
fn weekdays(word: &str) -> Option<[bool; 7]> {
    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let day = |name: &str| NAMES.iter().position(|known| name.starts_with(known));
    let mut days = [false; 7];
    for part in word.split(',') {
        match part.split_once("..") {
            Some((from, to)) => {
                let (from, to) = (day(from)?, day(to)?);
                for step in 0..=(to + 7 - from) % 7 {
                    days[(from + step) % 7] = true;
                }
            }
            None => days[day(part)?] = true,
        }
    }
    Some(days)
}

/// The longest time between two of those days, in days.
fn longest_gap(days: &[bool; 7]) -> u64 {
    let on: Vec<usize> = (0..7).filter(|day| days[*day]).collect();
    let gap = |index: usize| {
        let next = on[(index + 1) % on.len()];
        let gap = (next + 7 - on[index]) % 7;
        if gap == 0 { 7 } else { gap }
    };
    (0..on.len()).map(gap).max().map_or(7, |days| days as u64)
}

/// `*/2:00`, `*:0/30`: seconds between two runs of a day.
fn repeats(time: &str) -> Option<u64> {
    let step =
        |text: &str| text.split_once('/').and_then(|(_, step)| step.parse::<u64>().ok()).filter(|step| *step > 0);
    match time.split_once(':') {
        Some(("*", minute)) => Some(step(minute).map_or(3_600, |step| step.min(60) * 60)),
        Some((hour, _)) => step(hour).map(|step| step.min(24) * 3_600),
        None => step(time).map(|step| step.min(60) * 60),
    }
}

/// A backup on a storage of that type.
pub(super) struct Kept<'a> {
    pub row: &'a Row,
    pub storage: &'a str,
    pub pbs: bool,
}

/// The backups of one guest, as a resource; `None` where there are none and
/// none is expected.
pub(super) fn of_guest(
    guest: &Row,
    kept: &[Kept<'_>],
    jobs: &[Job<'_>],
    tasks: &[Row],
    archived: bool,
    now: Timestamp,
) -> Option<Vec<Facet>> {
    let number = vmid(guest)?;
    let jobs: Vec<_> = jobs.iter().filter(|job| job.takes(guest)).collect();
    // A guest number that was used again may have backups of the other type.
    let of_type = |row: &Row| {
        let text = [row.format.as_str(), row.volid.as_str()].join(" ");
        let (own, other) = match kind(guest) {
            Some(super::get::GuestKind::Lxc) => (["pbs-ct", "/ct/", "-lxc-"], ["pbs-vm", "/vm/", "-qemu-"]),
            _ => (["pbs-vm", "/vm/", "-qemu-"], ["pbs-ct", "/ct/", "-lxc-"]),
        };
        own.iter().any(|word| text.contains(word)) || !other.iter().any(|word| text.contains(word))
    };
    let mut kept: Vec<_> = kept.iter().filter(|kept| vmid(kept.row) == Some(number) && of_type(kept.row)).collect();
    kept.sort_by_key(|kept| kept.row.ctime.time());
    if (kept.is_empty() && jobs.is_empty()) || guest.template.flag() {
        return None;
    }
    let newest = kept.last();
    let own_task = |task: &&Row| task.r#type.as_str() == "vzdump" && task.id.as_str() == number.to_string();
    let last_task = tasks
        .iter()
        .filter(own_task)
        .max_by(|a, b| a.starttime.0.partial_cmp(&b.starttime.0).unwrap_or(std::cmp::Ordering::Equal));
    let running = last_task.is_some_and(|task| task.endtime.0.is_none()) || guest.lock.as_str() == "backup";
    let failed = last_task.is_some_and(super::tasks::failed);
    let next = jobs.iter().filter_map(|job| job.row.next_run.time()).min();
    // Of several jobs, the most frequent one says when the next is expected;
    // what nobody backs up any more is not late.
    let expected = jobs.iter().filter_map(|job| job.every).min().filter(|_| !archived);
    let storages: std::collections::BTreeSet<&str> = kept.iter().map(|kept| kept.storage).collect();
    let repository = storages.into_iter().collect::<Vec<_>>().join(", ");
    let mut known = Known {
        last_success: newest.and_then(|newest| newest.row.ctime.time()),
        never: Some(kept.is_empty() && !archived),
        last_run: last_task.and_then(|task| task.starttime.time()),
        next_run: next,
        oldest: kept.first().and_then(|oldest| oldest.row.ctime.time()),
        running: Some(running),
        failed: last_task.map(|_| failed && !running),
        error: last_task.filter(|_| failed).map(|task| task.status.as_str().to_owned()),
        schedule: Some(jobs.iter().map(|job| job.row.schedule.as_str()).collect::<Vec<_>>().join("; ")),
        duration: last_task
            .filter(|_| !failed)
            .and_then(|task| Some(task.endtime.0? - task.starttime.0?))
            .filter(|seconds| *seconds >= 0.0),
        backups: Some(kept.len() as f64),
        size: newest.and_then(|newest| newest.row.size.0),
        ..Known::default()
    };
    if let Some(newest) = newest.filter(|_| kept.iter().any(|kept| kept.pbs)) {
        let state = |row: &Row| row.verification.as_ref().map(|found| found.state.as_str() == "ok");
        let unverified = kept.iter().filter(|kept| kept.pbs && kept.row.verification.is_none()).count();
        let (verified, bad) = match state(newest.row) {
            Some(true) => ("ok", false),
            Some(false) => ("failed", true),
            None => ("none", false),
        };
        known.check = Some(Check {
            at: None,
            failed: bad,
            error: bad.then(|| format!("the verification of {} failed", newest.row.volid.as_str())),
            verified: Some(verified),
            unverified: Some(unverified as f64),
        });
    }
    let who = Identity {
        name: &format!("guest/{number}"),
        kind: if newest.is_some_and(|newest| newest.pbs) { "pbs" } else { "vzdump" },
        repository: &repository,
        expected,
    };
    let mut facets = facets(&who, &known, None, now);
    facets[0].text("guest", guest.name.as_str());
    Some(facets)
}

/// The storages that keep backups, by name: a shared one once, by its first
/// node; one that each node has for itself, of each node.
pub(super) fn storages<'a>(resources: &'a [Row], nodes: &[String]) -> BTreeMap<(&'a str, &'a str), &'a Row> {
    let mut found = BTreeMap::new();
    for row in resources.iter().filter(|row| row.r#type.as_str() == "storage") {
        let keeps = row.content.as_str().split(',').any(|content| content.trim() == "backup");
        let ours = nodes.iter().any(|node| *node == row.node.as_str());
        let there = row.status.as_str() == "available";
        if keeps && ours && there {
            let of = if row.shared.flag() { "" } else { row.node.as_str() };
            found.entry((row.storage.as_str(), of)).or_insert(row);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn how_often_a_schedule_runs() {
        for (schedule, hours) in [
            ("21:00", 24),
            ("daily", 24),
            ("*/6:00", 6),
            ("*:00", 1),
            ("sat 02:00", 168),
            ("mon..fri 22:30", 72),
            ("sun,wed 1:15", 96),
            ("mon..sun 03:00", 24),
            ("fri..mon 03:00", 96),
            ("*-*-01 04:00", 744),
            ("weekly", 168),
        ] {
            assert_eq!(every(schedule), Some(Duration::from_secs(hours * 3_600)), "{schedule}");
        }
        assert_eq!(every(" "), None);
        assert_eq!(every("*/15"), Some(Duration::from_secs(900)));
    }

    proptest! {
        #[test]
        fn any_schedule_is_safe(schedule: String, some in "[a-z0-9 .,:*/-]{0,30}") {
            prop_assert!(every(&schedule).is_none_or(|every| every > Duration::ZERO));
            prop_assert!(every(&some).is_none_or(|every| every > Duration::ZERO));
        }
    }
}
