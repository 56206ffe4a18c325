//! Reading a restic repository, without a lock: its snapshots, its locks, and
//! how much the last backup holds. The commands and their JSON are described
//! in restic's manual ("Scripting"); what differs between the versions 0.14 and
//! 0.18 is marked.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tomte_model::{Moment, Timestamp};

use super::access::{check_secret, environment, not_opened, not_run};
use super::known::{Known, Part, Trouble};
use super::settings::BackupJob;
use crate::bounded::Bounded;
use crate::tool::{Ran, ToolCall, Tools};

/// A lock is renewed every five minutes, and old after half an hour: see
/// restic's `internal/restic/lock.go`.
const LOCK_IS_STALE: Duration = Duration::from_secs(30 * 60);
/// At most so many locks are looked at.
const LOCKS: usize = 16;
/// At most so many sets are told of.
const PARTS: usize = 64;

/// A snapshot, as `restic snapshots --json` lists it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Snapshot {
    time: Timestamp,
    id: Box<str>,
    #[serde(default)]
    hostname: Box<str>,
    #[serde(default)]
    paths: Bounded<Box<str>, 64>,
    /// From 0.17 on.
    summary: Option<Summary>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Summary {
    backup_start: Option<Timestamp>,
    backup_end: Option<Timestamp>,
    data_added_packed: Option<f64>,
    data_added: Option<f64>,
    total_files_processed: Option<f64>,
    total_bytes_processed: Option<f64>,
}

/// `restic stats --json`
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Stats {
    total_size: Option<f64>,
}

/// A list of snapshots.
pub(crate) fn parse_snapshots(bytes: &[u8]) -> Result<Vec<Snapshot>, serde_json::Error> {
    let snapshots: Option<Bounded<Snapshot, 50_000>> = serde_json::from_slice(bytes)?;
    Ok(snapshots.unwrap_or_default().0)
}

/// Sizes.
pub(crate) fn parse_stats(bytes: &[u8]) -> Result<Stats, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// When a lock was last renewed, from `restic cat lock ID`.
pub(crate) fn parse_lock(bytes: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Lock {
        time: Timestamp,
    }
    serde_json::from_slice::<Lock>(bytes).ok().map(|lock| lock.time)
}

/// The ids of `restic list locks`; other lines are left out.
pub(crate) fn parse_ids(text: &str) -> Vec<&str> {
    let is_id = |line: &&str| line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.lines().map(str::trim).filter(is_id).take(LOCKS).collect()
}

/// What restic said went wrong. From 0.17 on it may be an object of JSON.
pub(crate) fn complaint(ran: &Ran) -> String {
    #[derive(Deserialize)]
    struct ExitError {
        message: String,
    }
    let all = || ran.stderr.lines().map(str::trim);
    let words = all()
        .find_map(|line| serde_json::from_str::<ExitError>(line).ok().map(|error| error.message))
        .or_else(|| all().find(|line| line.starts_with("Fatal:")).map(str::to_owned));
    match words {
        Some(words) => words.trim_start_matches("Fatal: ").chars().filter(|c| !c.is_control()).take(200).collect(),
        None => ran.complaint(),
    }
}

/// What is remembered of the last look, so that sizes are asked for only when
/// there is something new.
#[derive(Debug, Default)]
pub(super) struct Restic {
    sized: Option<(Box<str>, Sizes)>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sizes {
    size: Option<f64>,
    stored: Option<f64>,
}

/// A call of restic that takes no lock and asks nothing.
fn call(job: &BackupJob, cache: Option<&Path>, variables: &[(String, String)]) -> ToolCall {
    // Not an argument: an address may hold a password, and arguments can be
    // seen by everybody on the host.
    let mut call = ToolCall::new("restic").env("RESTIC_REPOSITORY", &job.repository).limit(job.limit);
    if let Some(path) = &job.password_file {
        call = call.env("RESTIC_PASSWORD_FILE", path.display().to_string());
    }
    call = match cache {
        Some(cache) => call
            .env("RESTIC_CACHE_DIR", cache.join("restic").display().to_string())
            .env("HOME", cache.display().to_string()),
        None => call.env("RESTIC_CACHE_DIR", "/nonexistent"),
    };
    variables.iter().fold(call, |call, (name, value)| call.env(name, value)).args(["--no-lock", "--quiet"])
}

pub(super) fn opening(job: &BackupJob, cache: Option<&Path>) -> Result<ToolCall, Trouble> {
    if let Some(path) = &job.password_file {
        check_secret(path)?;
    }
    let variables = job.environment_file.as_deref().map_or(Ok(Vec::new()), environment)?;
    Ok(call(job, cache, &variables))
}

impl Restic {
    /// Looks at the repository.
    pub(super) fn read(
        &mut self,
        job: &BackupJob,
        tools: &dyn Tools,
        cache: Option<&Path>,
        now: Moment,
    ) -> Result<Known, Trouble> {
        let base = opening(job, cache)?;
        let run = |call: ToolCall| tools.run(&call).map_err(|error| not_run(&error, "restic"));
        let mut list = base.clone().args(["snapshots", "--json"]);
        for (option, value) in [("--host", &job.host), ("--tag", &job.only)] {
            if let Some(value) = value {
                list = list.args([option, value]);
            }
        }
        let listed = run(list)?;
        if !listed.success() {
            return Err(not_opened(&listed, complaint(&listed), job));
        }
        let snapshots = parse_snapshots(&listed.stdout)
            .map_err(|error| Trouble::Failed(format!("the list of snapshots is not understood: {error}")))?;
        let mut known = summarise(&snapshots);
        self.locks(&base, tools, &mut known, now);
        if let Some(last) = snapshots.iter().max_by_key(|snapshot| snapshot.time) {
            self.sizes(&base, tools, last, &mut known);
        }
        Ok(known)
    }

    /// What others do in the repository now. What cannot be told is left open.
    fn locks(&self, base: &ToolCall, tools: &dyn Tools, known: &mut Known, now: Moment) {
        let Some(listed) = tools.run(&base.clone().args(["list", "locks"])).ok().filter(Ran::success) else { return };
        let text = listed.text();
        let ages = parse_ids(&text).into_iter().filter_map(|id| {
            let lock = tools.run(&base.clone().args(["cat", "lock", id])).ok().filter(Ran::success)?;
            parse_lock(&lock.stdout).map(|time| now.wall.since(time))
        });
        let (stale, alive): (Vec<_>, Vec<_>) = ages.partition(|age| *age >= LOCK_IS_STALE);
        known.running = Some(!alive.is_empty());
        known.stale_locks = Some(stale.len() as f64);
    }

    /// Asked for once for each new snapshot: they cost a walk through the
    /// repository's index.
    fn sizes(&mut self, base: &ToolCall, tools: &dyn Tools, last: &Snapshot, known: &mut Known) {
        if self.sized.as_ref().is_none_or(|(id, _)| *id != last.id) {
            let stats = |call: ToolCall| {
                let ran = tools.run(&call).ok().filter(Ran::success)?;
                parse_stats(&ran.stdout).ok()
            };
            let mut sizes = Sizes::default();
            if known.size.is_none() {
                let last = stats(base.clone().args(["stats", "--json", &last.id]));
                sizes.size = last.and_then(|stats| stats.total_size);
            }
            let raw = stats(base.clone().args(["stats", "--json", "--mode", "raw-data"]));
            sizes.stored = raw.and_then(|stats| stats.total_size);
            self.sized = Some((last.id.clone(), sizes));
        }
        if let Some((_, sizes)) = &self.sized {
            known.size = known.size.or(sizes.size);
            known.stored = sizes.stored;
        }
    }
}

/// What the list of snapshots alone tells.
pub(crate) fn summarise(snapshots: &[Snapshot]) -> Known {
    let mut known =
        Known { backups: Some(snapshots.len() as f64), never: Some(snapshots.is_empty()), ..Known::default() };
    let Some(last) = snapshots.iter().max_by_key(|snapshot| snapshot.time) else { return known };
    known.last_success = Some(last.time);
    known.oldest = snapshots.iter().map(|snapshot| snapshot.time).min();
    if let Some(summary) = &last.summary {
        known.size = summary.total_bytes_processed;
        known.files = summary.total_files_processed;
        known.added = summary.data_added_packed.or(summary.data_added);
        if let (Some(start), Some(end)) = (summary.backup_start, summary.backup_end) {
            known.duration = Some(end.since(start).as_secs_f64());
        }
    }
    // A set is what one host backs up from the same places.
    let mut sets: BTreeMap<(&str, &[Box<str>]), Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        sets.entry((&snapshot.hostname, &snapshot.paths.0)).or_default().push(snapshot);
    }
    if sets.len() > 1 {
        let part = |((host, paths), snapshots): ((&str, &[Box<str>]), Vec<&Snapshot>)| {
            let last = snapshots.iter().max_by_key(|snapshot| snapshot.time)?;
            Some(Part {
                name: format!("{host}: {}", paths.join(", ")).chars().take(200).collect(),
                state: None,
                last_success: Some(last.time),
                backups: Some(snapshots.len() as f64),
                size: last.summary.as_ref().and_then(|summary| summary.total_bytes_processed),
            })
        };
        known.parts = sets.into_iter().filter_map(part).take(PARTS).collect();
    }
    known
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn captured(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captured/restic/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    #[test]
    fn a_repository_of_two_hosts() {
        let known = summarise(&parse_snapshots(&captured("snapshots.json")).unwrap());
        assert_eq!(known.backups, Some(2.0));
        assert_eq!(known.last_success.unwrap().to_string(), "2026-11-20T20:55:25.174Z");
        assert_eq!(known.oldest.unwrap().to_string(), "2026-11-20T20:55:24.520Z");
        let names: Vec<_> = known.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["otherhost: /srv/bk/src", "vm: /srv/bk/src"]);
        assert_eq!(parse_stats(&captured("stats_raw.json")).unwrap().total_size, Some(5_244_615.0));
        assert_eq!(summarise(&parse_snapshots(b"null").unwrap()).last_success, None, "an empty repository of 0.14");
    }

    #[test]
    fn a_snapshot_of_newer_versions_tells_of_its_run() {
        let text = r#"[{"time":"2026-01-01T03:00:00+01:00","id":"a","paths":null,"summary":{"backup_start":
            "2026-01-01T03:00:00.5+01:00","backup_end":"2026-01-01T03:01:01.75+01:00","data_added":10,
            "data_added_packed":7,"total_files_processed":3,"total_bytes_processed":99}}]"#;
        let known = summarise(&parse_snapshots(text.as_bytes()).unwrap());
        assert_eq!((known.size, known.files, known.added), (Some(99.0), Some(3.0), Some(7.0)));
        assert_eq!(known.duration, Some(61.25));
        assert_eq!(known.last_success.unwrap().to_string(), "2026-01-01T02:00:00.000Z");
    }

    #[test]
    fn complaints_of_both_generations() {
        let ran = |stderr: &str| Ran { status: Some(1), stdout: Vec::new(), stderr: stderr.into() };
        let old = String::from_utf8(captured("wrong_password.err")).unwrap();
        assert_eq!(complaint(&ran(&old)), "wrong password or no key found");
        let new = "{\"message_type\":\"exit_error\",\"code\":12,\"message\":\"Fatal: wrong password or no key found\"}";
        assert_eq!(complaint(&ran(new)), "wrong password or no key found");
        assert_eq!(complaint(&ran("")), "it ended with exit status 1");
    }

    #[test]
    fn only_ids_are_asked_for() {
        let id = "ab".repeat(32);
        let text = format!("{id}\n../../etc\n--x\n{id}0\n");
        assert_eq!(parse_ids(&text), [id.as_str()]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_snapshots(&bytes);
            let _ = parse_stats(&bytes);
            let _ = parse_lock(&bytes);
            let _ = parse_ids(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn a_list_cut_short_is_an_error_and_no_panic(cut in 0_usize..700) {
            let whole = captured("snapshots.json");
            let cut = cut.min(whole.len());
            if let Ok(snapshots) = parse_snapshots(&whole[..cut]) {
                let _ = summarise(&snapshots);
            }
        }
    }
}
