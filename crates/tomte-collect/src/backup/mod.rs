//! Backups of every sort, told in one way: restic and borg repositories, ZFS
//! snapshots, what systemd's timers start, and jobs that leave a status file. Those of Proxmox's guests are
//! read with Proxmox.
//!
//! Repositories are read as the agent's own user, without a lock, with a
//! password that comes from a file and stands in no list of processes. They may
//! lie on a disk that sleeps, so that each is looked at once an hour unless told
//! otherwise; in between, what is known grows older and is told again. A
//! repository that cannot be reached is no failed reading: that nobody could
//! restore from it is what is to be known.

mod access;
mod borg;
pub(crate) mod check;
mod known;
mod restic;
pub(crate) mod settings;
mod snapshots;
mod status_file;
mod timer;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tomte_model::{Moment, Outcome, Scope, Timestamp};

use crate::{Collector, ReadError, Root, Settings};
use borg::Borg;
use known::Trouble;
pub(crate) use known::{Check, Identity, Known, facets};
use restic::Restic;
use settings::{BackupJob, BackupSettings, BackupType};

/// A secret of one line: a token of somebody's API.
pub(crate) fn secret(path: &std::path::Path) -> Result<String, Outcome> {
    access::secret(path).map_err(Trouble::outcome)
}

/// For the fuzz targets: every parser here takes those bytes.
pub fn parse_anything(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(snapshots) = restic::parse_snapshots(bytes) {
        let _ = restic::summarise(&snapshots);
    }
    let _ = (restic::parse_stats(bytes), restic::parse_lock(bytes), restic::parse_ids(&text));
    if let Ok(list) = borg::parse_list(bytes) {
        let _ = borg::summarise(&list);
    }
    let _ = (borg::parse_info(bytes), snapshots::summarise(&text, None), status_file::parse(bytes));
}

/// Repositories that are not yet looked at when this has passed wait for the
/// next run, so that slow ones do not cost the quick ones their report.
const PATIENCE: Duration = Duration::from_secs(6 * 60);

/// At most so many status files are read.
const FILES: usize = 256;

/// A collector that has read nothing yet.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Backups::new(root, &settings.backup))
}

/// What a status file is called, and what it says or why it could not be read.
type StatusFile = (String, Result<status_file::Told, Outcome>);

struct Backups {
    root: Root,
    settings: BackupSettings,
    jobs: Vec<Job>,
    /// The status files of the last reading, without their endings, each with
    /// the last good run that it told of.
    files: BTreeMap<String, Option<Timestamp>>,
}

struct Job {
    spec: BackupJob,
    reader: Reader,
    /// When it was last looked at, by boot time.
    looked: Option<u64>,
    known: Option<Known>,
    trouble: Option<Trouble>,
}

enum Reader {
    Restic(Restic),
    Borg(Borg),
    Zfs,
    Timer,
}

impl Job {
    fn new(spec: BackupJob) -> Self {
        let reader = match spec.kind {
            BackupType::Restic => Reader::Restic(Restic::default()),
            BackupType::Borg => Reader::Borg(Borg::default()),
            BackupType::Zfs => Reader::Zfs,
            BackupType::Timer => Reader::Timer,
        };
        Self { spec, reader, looked: None, known: None, trouble: None }
    }

    /// Whether it is to be looked at. What went wrong is tried again at once.
    fn is_due(&self, now: Moment) -> bool {
        // A run that comes a little early must not wait for a whole round more.
        let every = u64::try_from(self.spec.every.as_millis()).unwrap_or(u64::MAX).saturating_sub(30_000);
        self.trouble.is_some() || self.looked.is_none_or(|looked| now.boot_millis.saturating_sub(looked) >= every)
    }

    fn look(&mut self, root: &Root, cache: Option<&std::path::Path>, now: Moment) {
        let read = match &mut self.reader {
            Reader::Restic(restic) => restic.read(&self.spec, root.tools(), cache, now),
            Reader::Borg(borg) => borg.read(&self.spec, root, cache, now),
            Reader::Zfs => snapshots::read(&self.spec, root.tools()),
            Reader::Timer => timer::read(&self.spec, root, self.known.as_ref()),
        };
        self.looked = Some(now.boot_millis);
        match read {
            Ok(known) => (self.known, self.trouble) = (Some(known), None),
            // What was known stays: only a reading that succeeds replaces it.
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    fn scope(&self, told: Option<&status_file::Told>, now: Moment) -> Scope {
        let name = format!("backup:{}", self.spec.name);
        if let Some(trouble @ (Trouble::Denied { .. } | Trouble::Failed(_))) = &self.trouble {
            return Scope::failed(name, trouble.clone().outcome());
        }
        let who = Identity {
            name: &self.spec.name,
            kind: self.spec.kind.as_str(),
            // What a timer starts may write anywhere.
            repository: if self.spec.kind == BackupType::Timer { "" } else { &self.spec.repository },
            expected: self.spec.expected.or_else(|| told?.expected),
        };
        let known = self.known.clone().unwrap_or_default();
        let known = told.map_or(known.clone(), |told| known.completed(&told.known));
        Scope::complete(name, facets(&who, &known, self.trouble.as_ref(), now.wall))
    }
}

impl Known {
    /// A repository tells of good backups only; what the job itself says of its
    /// runs is added.
    fn completed(self, told: &Self) -> Self {
        Self {
            last_run: told.last_run.or(self.last_run),
            next_run: self.next_run.or(told.next_run),
            running: told.running.filter(|running| *running).or(self.running),
            failed: told.failed.or(self.failed),
            error: self.error.or_else(|| told.error.clone()),
            schedule: self.schedule.or_else(|| told.schedule.clone()),
            duration: self.duration.or(told.duration),
            disks: if self.disks.is_empty() { told.disks.clone() } else { self.disks },
            check: self.check.or_else(|| told.check.clone()),
            ..self
        }
    }
}

impl Backups {
    fn new(root: &Root, settings: &BackupSettings) -> Self {
        let jobs = settings.jobs.iter().cloned().map(Job::new).collect();
        Self { root: root.clone(), settings: settings.clone(), jobs, files: BTreeMap::new() }
    }

    /// The status files by what they are called, and a scope for each that
    /// could not be read.
    fn status_files(&self) -> Result<Vec<StatusFile>, ReadError> {
        let folder = self.root.path(&self.settings.status_dir);
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|source| ReadError::new(&folder, source))?.flatten() {
            let path = entry.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| settings::is_name(stem));
            let Some(stem) = stem.filter(|_| path.extension().is_some_and(|ending| ending == "json")) else { continue };
            found.push((stem.to_owned(), path.clone()));
        }
        // The same ones, whatever order the folder has them in.
        found.sort();
        found.truncate(FILES);
        let read = |(stem, path): (String, PathBuf)| {
            let told = match status_file::read(&path) {
                Ok(Ok(told)) => match told.name.as_deref().filter(|name| !settings::is_name(name)) {
                    None => Ok(told),
                    Some(name) => {
                        Err(Outcome::Failed { error: format!("{}: {name:?} is no name for a backup", path.display()) })
                    }
                },
                Ok(Err(error)) => Err(Outcome::Failed { error }),
                Err(error) => Err(error.outcome()),
            };
            (stem, told)
        };
        Ok(found.into_iter().map(read).collect())
    }
}

impl Collector for Backups {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        let began = Instant::now();
        let files = self.status_files();
        let mut scopes = vec![match &files {
            Ok(_) => Scope::complete("backup", Vec::new()),
            Err(ReadError::Missing { .. }) if !self.jobs.is_empty() => Scope::complete("backup", Vec::new()),
            Err(ReadError::Missing { path, .. }) => {
                let error = format!("no backup is configured, and none has left a status file in {}", path.display());
                Scope::failed("backup", Outcome::Unavailable { error })
            }
            Err(error) => error.scope("backup"),
        }];
        let folder_was_read = matches!(files, Ok(_) | Err(ReadError::Missing { .. }));
        let files = files.unwrap_or_default();
        for job in &mut self.jobs {
            if job.is_due(now) && (job.looked.is_none() || began.elapsed() < PATIENCE) {
                job.look(&self.root, self.settings.cache_dir.as_deref(), now);
            }
            let told = files.iter().find(|(stem, _)| *stem == job.spec.name).and_then(|(_, told)| told.as_ref().ok());
            scopes.push(job.scope(told, now));
        }
        let mut seen = BTreeMap::new();
        for (stem, told) in files {
            if self.jobs.iter().any(|job| job.spec.name == stem) {
                continue;
            }
            let scope = format!("backup:{stem}");
            let last = seen.entry(stem.clone()).or_insert_with(|| self.files.get(&stem).copied().flatten());
            scopes.push(match told {
                Ok(mut told) => {
                    // A script that tells of a failed run alone has not undone
                    // the good ones before.
                    if told.known.never != Some(true) {
                        told.known.last_success = told.known.last_success.or(*last);
                        *last = told.known.last_success;
                    }
                    let who = Identity {
                        name: told.name.as_deref().unwrap_or(&stem),
                        kind: told.kind.as_deref().unwrap_or("file"),
                        repository: told.repository.as_deref().unwrap_or_default(),
                        expected: told.expected,
                    };
                    Scope::complete(scope, facets(&who, &told.known, None, now.wall))
                }
                Err(outcome) => Scope::failed(scope, outcome),
            });
        }
        if folder_was_read {
            // A file that somebody took away is a job that is no more.
            let gone = self.files.keys().filter(|stem| !seen.contains_key(*stem));
            scopes.extend(gone.map(|stem| Scope::complete(format!("backup:{stem}"), Vec::new())));
            self.files = seen;
        }
        scopes
    }
}

#[cfg(test)]
mod tests;
