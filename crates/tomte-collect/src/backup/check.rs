//! Checking repositories for damage, where that is asked for: slow, seldom, one
//! at a time, and without a lock.

use std::path::PathBuf;

use tomte_model::{Moment, Outcome, Scope};

use super::known::{Check, Trouble, check_facet};
use super::settings::{BackupJob, BackupSettings, BackupType};
use super::{borg, restic};
use crate::tool::Ran;
use crate::{Collector, Root, Settings};

/// A collector that has checked nothing yet.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Checks::new(root, &settings.backup))
}

struct Checks {
    root: Root,
    cache: Option<PathBuf>,
    jobs: Vec<Job>,
}

struct Job {
    spec: BackupJob,
    /// When it was last checked, by boot time.
    checked: Option<u64>,
    found: Option<Result<Check, Trouble>>,
}

impl Checks {
    fn new(root: &Root, settings: &BackupSettings) -> Self {
        let jobs = settings.jobs.iter().filter(|job| job.check_every.is_some());
        let jobs = jobs.map(|spec| Job { spec: spec.clone(), checked: None, found: None }).collect();
        Self { root: root.clone(), cache: settings.cache_dir.clone(), jobs }
    }

    fn check(&self, job: &BackupJob, now: Moment) -> Result<Check, Trouble> {
        let cache = self.cache.as_deref();
        let call = match job.kind {
            BackupType::Restic => restic::opening(job, cache)?.arg("check"),
            // The whole of it, but for what only a restore would tell.
            BackupType::Borg => borg::opening(job, cache)?.arg("check"),
            BackupType::Zfs => return Err(Trouble::Failed("a scrub checks it, with its pool".to_owned())),
            BackupType::Timer => return Err(Trouble::Failed("a timer keeps nothing to check".to_owned())),
        };
        let ran = self.root.tools().run(&call.limit(job.check_limit));
        let ran = ran.map_err(|error| super::access::not_run(&error, job.kind.as_str()))?;
        let complaint = match job.kind {
            BackupType::Borg => borg::complaint(&ran),
            _ => restic::complaint(&ran),
        };
        verdict(job, &ran, complaint, now)
    }
}

/// What a check that ran has found.
fn verdict(job: &BackupJob, ran: &Ran, complaint: String, now: Moment) -> Result<Check, Trouble> {
    let check = Check { at: Some(now.wall), ..Check::default() };
    if ran.success() {
        return Ok(check);
    }
    let said = format!("{}\n{}", ran.text(), ran.stderr).to_lowercase();
    let found = ["contains errors", "errors found", "error(s)", "integrity error", "is damaged", "does not exist, ids"];
    if found.iter().any(|words| said.contains(words)) {
        return Ok(Check { failed: true, error: Some(complaint), ..check });
    }
    match super::access::not_opened(ran, complaint, job) {
        Trouble::Damaged(error) => Ok(Check { failed: true, error: Some(error), ..check }),
        trouble => Err(trouble),
    }
}

impl Collector for Checks {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        if self.jobs.is_empty() {
            let error = "no backup is to be checked (check_every)".to_owned();
            return vec![Scope::failed("backup_check", Outcome::Unavailable { error })];
        }
        // One a run, the one that waits longest.
        let due = |job: &Job| {
            let every = job.spec.check_every.map_or(u128::MAX, |every| every.as_millis());
            job.checked.is_none_or(|checked| u128::from(now.boot_millis.saturating_sub(checked)) >= every)
        };
        let waits = (0..self.jobs.len()).filter(|index| due(&self.jobs[*index]));
        if let Some(index) = waits.min_by_key(|index| self.jobs[*index].checked) {
            let found = self.check(&self.jobs[index].spec, now);
            let job = &mut self.jobs[index];
            job.checked = Some(now.boot_millis);
            job.found = Some(found);
        }
        let mut scopes = vec![Scope::complete("backup_check", Vec::new())];
        for job in &self.jobs {
            let name = format!("backup_check:{}", job.spec.name);
            match &job.found {
                Some(Ok(check)) => {
                    scopes.push(Scope::complete(name, vec![check_facet(&job.spec.name, check, now.wall)]));
                }
                Some(Err(trouble)) => scopes.push(Scope::failed(name, trouble.clone().outcome())),
                None => {}
            }
        }
        scopes
    }
}
