//! Reading a borg repository, without a lock: its archives, and how much the
//! last one holds. The JSON is described in borg's manual ("Frontends").
//!
//! borg writes times without a zone, in that of the process; tools run here in
//! UTC. It has a lock of its own on its cache, which is ours alone.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use tomte_model::{Moment, Timestamp};

use super::access::{check_secret, environment, not_opened, not_run};
use super::known::{Known, Trouble};
use super::settings::BackupJob;
use crate::Root;
use crate::bounded::Bounded;
use crate::clock::hostname;
use crate::tool::{Ran, ToolCall, Tools};

/// A time as borg writes it, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Eq, Ord)]
struct Zoneless(Timestamp);

impl<'de> Deserialize<'de> for Zoneless {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // borg 2 writes the zone.
        let time = text.parse().or_else(|_| format!("{text}Z").parse());
        time.map(Self).map_err(serde::de::Error::custom)
    }
}

/// `borg list --json`
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct List {
    archives: Bounded<Archive, 50_000>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Archive {
    id: Box<str>,
    start: Zoneless,
}

/// `borg info --json --last 1`
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Info {
    #[serde(default)]
    archives: Bounded<ArchiveInfo, 64>,
    cache: Option<Cache>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ArchiveInfo {
    id: Box<str>,
    end: Option<Zoneless>,
    duration: Option<f64>,
    stats: Option<ArchiveStats>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ArchiveStats {
    original_size: Option<f64>,
    deduplicated_size: Option<f64>,
    nfiles: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Cache {
    stats: Option<CacheStats>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct CacheStats {
    unique_csize: Option<f64>,
}

/// A list of archives.
pub(crate) fn parse_list(bytes: &[u8]) -> Result<List, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// What the last archive holds.
pub(crate) fn parse_info(bytes: &[u8]) -> Result<Info, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// What the list of archives alone tells.
pub(crate) fn summarise(list: &List) -> Known {
    let times = || list.archives.0.iter().map(|archive| archive.start.0);
    Known {
        backups: Some(list.archives.0.len() as f64),
        never: Some(list.archives.0.is_empty()),
        last_success: times().max(),
        oldest: times().min(),
        ..Known::default()
    }
}

/// What borg said went wrong: with --log-json an object, else the last line of
/// it (before it may stand a trace).
pub(crate) fn complaint(ran: &Ran) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: String,
        levelname: String,
    }
    let message = ran.stderr.lines().rev().find_map(|line| {
        let message: Message = serde_json::from_str(line).ok()?;
        matches!(message.levelname.as_str(), "ERROR" | "CRITICAL").then_some(message.message)
    });
    match message {
        Some(message) => message.lines().next().unwrap_or_default().chars().take(200).collect(),
        None => ran.complaint(),
    }
}

/// What is remembered of the last look.
#[derive(Debug, Default)]
pub(super) struct Borg {
    sized: Option<(Box<str>, Info)>,
}

/// A call of borg that takes no lock and asks nothing.
pub(super) fn opening(job: &BackupJob, cache: Option<&Path>) -> Result<ToolCall, Trouble> {
    let mut call = ToolCall::new("borg")
        .env("BORG_REPO", &job.repository)
        .env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes")
        .env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes")
        .env("BORG_EXIT_CODES", "modern")
        .env("BORG_RSH", "ssh -oBatchMode=yes")
        .limit(job.limit);
    if let Some(cache) = cache {
        let cache = cache.display().to_string();
        call = call.env("BORG_BASE_DIR", &cache).env("HOME", cache);
    }
    if let Some(path) = &job.password_file {
        check_secret(path)?;
        // borg takes it apart as a shell would, and starts no shell.
        let quoted = path.display().to_string().replace('\'', "'\\''");
        call = call.env("BORG_PASSCOMMAND", format!("cat '{quoted}'"));
    }
    let variables = job.environment_file.as_deref().map_or(Ok(Vec::new()), environment)?;
    Ok(variables.iter().fold(call, |call, (name, value)| call.env(name, value)).args(["--log-json", "--bypass-lock"]))
}

impl Borg {
    /// Looks at the repository.
    pub(super) fn read(
        &mut self,
        job: &BackupJob,
        root: &Root,
        cache: Option<&Path>,
        now: Moment,
    ) -> Result<Known, Trouble> {
        let tools = root.tools();
        let base = opening(job, cache)?;
        let mut call = base.clone().args(["list", "--json"]);
        if let Some(only) = &job.only {
            call = call.args(["--glob-archives", only]);
        }
        let listed = tools.run(&call).map_err(|error| not_run(&error, "borgbackup"))?;
        // A warning (1) leaves the list whole.
        if !matches!(listed.status, Some(0 | 1)) {
            return Err(not_opened(&listed, complaint(&listed), job));
        }
        let list = parse_list(&listed.stdout)
            .map_err(|error| Trouble::Failed(format!("the list of archives is not understood: {error}")))?;
        let mut known = summarise(&list);
        if let Some((running, stale)) = locks(root, &job.repository, now) {
            known.running = Some(running);
            known.stale_locks = Some(f64::from(u8::from(stale)));
        }
        if let Some(last) = list.archives.0.iter().max_by_key(|archive| archive.start) {
            self.sizes(job, tools, &base, last, &mut known);
        }
        Ok(known)
    }

    /// Asked for once for each new archive: the first time, borg reads what it
    /// knows of all archives into its cache.
    fn sizes(&mut self, job: &BackupJob, tools: &dyn Tools, base: &ToolCall, last: &Archive, known: &mut Known) {
        if self.sized.as_ref().is_none_or(|(id, _)| *id != last.id) {
            let mut call = base.clone().args(["info", "--json", "--last", "1"]);
            if let Some(only) = &job.only {
                call = call.args(["--glob-archives", only]);
            }
            let ran = tools.run(&call).ok().filter(Ran::success);
            self.sized = ran.and_then(|ran| parse_info(&ran.stdout).ok()).map(|info| (last.id.clone(), info));
        }
        if let Some((_, info)) = &self.sized {
            add(info, &last.id, known);
        }
    }
}

/// Adds what is known of the archive of that id.
fn add(info: &Info, id: &str, known: &mut Known) {
    let stats = info.cache.as_ref().and_then(|cache| cache.stats.as_ref());
    known.stored = stats.and_then(|stats| stats.unique_csize);
    let Some(archive) = info.archives.0.iter().find(|archive| *archive.id == *id) else { return };
    known.duration = archive.duration;
    known.last_success = archive.end.map(|end| end.0).or(known.last_success);
    if let Some(stats) = &archive.stats {
        known.size = stats.original_size;
        known.added = stats.deduplicated_size;
        known.files = stats.nfiles;
    }
}

/// Whether a repository on this host is worked on, and whether its lock is of a
/// process that has ended. `None` where that cannot be seen from here.
fn locks(root: &Root, repository: &str, now: Moment) -> Option<(bool, bool)> {
    let folder = root.path(Path::new(repository).is_absolute().then_some(repository)?);
    if !folder.join("config").exists() {
        return None;
    }
    let lock = folder.join("lock.exclusive");
    let Ok(holders) = fs::read_dir(&lock) else { return Some((false, false)) };
    let own = hostname(root);
    let (mut running, mut stale) = (false, false);
    for holder in holders.flatten().take(64) {
        let name = holder.file_name();
        let of_here = name.to_str().and_then(parse_holder).filter(|(host, _)| own == *host);
        let ended = match of_here {
            Some((_, pid)) => !root.proc(&pid.to_string()).exists(),
            // Of a host that we cannot ask: no backup takes two days.
            None => holder.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|modified| {
                let then = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                now.wall.since(Timestamp::from_millis(0).plus(then)).as_secs() > 2 * 86_400
            }),
        };
        stale |= ended;
        running |= !ended;
    }
    Some((running, stale))
}

/// Host and process of a lock: `host@id.pid-thread`; before borg 1.2, and where
/// the id is not known, `host.pid-thread`.
fn parse_holder(name: &str) -> Option<(&str, u32)> {
    let (before, process) = name.rsplit_once('.')?;
    let pid = process.split_once('-')?.0.parse().ok()?;
    Some((before.split_once('@').map_or(before, |(host, _)| host), pid))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn captured(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captured/borg/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    #[test]
    fn a_repository_of_two_archives() {
        let list = parse_list(&captured("list.json")).unwrap();
        let mut known = summarise(&list);
        assert_eq!(known.backups, Some(2.0));
        assert_eq!(known.last_success.unwrap().to_string(), "2026-11-20T20:55:32.000Z");
        add(&parse_info(&captured("info_last1.json")).unwrap(), &list.archives.0[1].id, &mut known);
        assert_eq!((known.size, known.added, known.files), (Some(5_242_886.0), Some(883.0), Some(2.0)));
        assert_eq!((known.stored, known.duration), (Some(5_244_774.0), Some(0.024_858)));
    }

    #[test]
    fn complaints_with_and_without_json() {
        let ran = |name| {
            let stderr = String::from_utf8(captured(name)).unwrap();
            Ran { status: Some(2), stdout: Vec::new(), stderr }
        };
        assert_eq!(complaint(&ran("norepo.err")), "Repository /nonexist does not exist.");
        assert!(complaint(&ran("badpw.err")).starts_with("passphrase supplied in BORG_PASSPHRASE"));
    }

    #[test]
    fn whose_lock_it_is() {
        assert_eq!(parse_holder("vm@3281355014145.24583-0"), Some(("vm", 24_583)));
        assert_eq!(parse_holder("nas.example.org.7-0"), Some(("nas.example.org", 7)));
        for strange in ["", "x", "x.y", "x.-1", "@.9-"] {
            assert!(parse_holder(strange).is_none_or(|(_, pid)| pid == 9), "{strange}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_list(&bytes);
            let _ = parse_info(&bytes);
            let _ = parse_holder(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn what_is_cut_short_is_an_error_and_no_panic(cut in 0_usize..1500) {
            let (list, info) = (captured("list.json"), captured("info_last1.json"));
            let _ = parse_list(&list[..cut.min(list.len())]);
            let _ = parse_info(&info[..cut.min(info.len())]);
        }
    }
}
