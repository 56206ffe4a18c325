//! What a person may set about backups: `[backup]` and `[[backup.jobs]]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Span;

/// Settings of the collectors `backup` and `backup_check`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupSettings {
    /// The folder in which jobs leave their status files.
    pub status_dir: PathBuf,
    /// Where restic and borg keep what they need to read a repository quickly;
    /// left out: in the agent's own folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<PathBuf>,
    /// What is read besides.
    pub jobs: Vec<BackupJob>,
}

impl Default for BackupSettings {
    fn default() -> Self {
        Self { status_dir: "/var/lib/tomte-backup".into(), cache_dir: None, jobs: Vec::new() }
    }
}

/// What makes a backup, and so how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupType {
    /// A restic repository.
    Restic,
    /// A borg repository.
    Borg,
    /// Snapshots of a ZFS dataset.
    Zfs,
    /// Whatever a timer of systemd starts.
    Timer,
}

impl BackupType {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restic => "restic",
            Self::Borg => "borg",
            Self::Zfs => "zfs",
            Self::Timer => "timer",
        }
    }
}

/// `[[backup.jobs]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "JobText", into = "JobText")]
pub struct BackupJob {
    /// What it is called here.
    pub name: String,
    /// What makes it.
    pub kind: BackupType,
    /// The repository, as restic or borg writes it; the dataset of ZFS; the
    /// timer's unit.
    pub repository: String,
    /// The file that holds the repository's password.
    pub password_file: Option<PathBuf>,
    /// A file with more of the environment that the tool needs, a variable a
    /// line: the keys of a storage provider.
    pub environment_file: Option<PathBuf>,
    /// Only what this host has put there.
    pub host: Option<String>,
    /// Only what carries this tag (restic), or archives of names like this
    /// (borg); a glob.
    pub only: Option<String>,
    /// How often a new backup is expected; without it, no age is too old.
    pub expected: Option<Duration>,
    /// How often the repository is looked at.
    pub every: Duration,
    /// How often the repository is checked for damage; without it, never.
    pub check_every: Option<Duration>,
    /// How long one look may take.
    pub limit: Duration,
    /// How long a check may take.
    pub check_limit: Duration,
}

/// A job as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobText {
    name: String,
    r#type: BackupType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dataset: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    only: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check_every: Option<Span>,
    #[serde(default = "two_minutes")]
    limit: Span,
    #[serde(default = "half_an_hour")]
    check_limit: Span,
}

/// How often it is looked at unless said otherwise: what may lie on a disk that
/// sleeps, seldom; what systemd holds in memory, whenever the collector runs.
const fn usual(kind: BackupType) -> Duration {
    Duration::from_secs(match kind {
        BackupType::Timer => 60,
        BackupType::Restic | BackupType::Borg | BackupType::Zfs => 3_600,
    })
}

fn two_minutes() -> Span {
    Span(Duration::from_secs(120))
}

fn half_an_hour() -> Span {
    Span(Duration::from_secs(1_800))
}

/// Why a job cannot be as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadJob {
    /// The name is no name.
    #[error(
        "{0:?} is no name for a backup; write 1 to 100 letters, digits and . _ - /, beginning with a letter or digit"
    )]
    Name(String),
    /// What every job of that type needs is missing.
    #[error("a backup of type {kind} needs {needs}")]
    Needs {
        /// Its type.
        kind: &'static str,
        /// What is missing.
        needs: &'static str,
    },
    /// What no job of that type has is there.
    #[error("a backup of type {kind} has no {has}")]
    Has {
        /// Its type.
        kind: &'static str,
        /// What is too much.
        has: &'static str,
    },
    /// A text that would not reach the tool as it is written.
    #[error("{what} {text:?} {problem}")]
    Text {
        /// Which setting.
        what: &'static str,
        /// What it says.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No time at all.
    #[error("{what} is too short; write at least {least:?}")]
    Short {
        /// Which setting.
        what: &'static str,
        /// The least.
        least: &'static str,
    },
}

/// Whether a text may name a backup: as part of a resource's name, and so that
/// it is not taken for an option.
pub(super) fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    (1..=100).contains(&name.chars().count()) && name.chars().all(legal) && name.starts_with(char::is_alphanumeric)
}

impl TryFrom<JobText> for BackupJob {
    type Error = BadJob;
    fn try_from(text: JobText) -> Result<Self, BadJob> {
        let kind = text.r#type.as_str();
        if !is_name(&text.name) {
            return Err(BadJob::Name(text.name));
        }
        let (zfs, timer) = (text.r#type == BackupType::Zfs, text.r#type == BackupType::Timer);
        let has_repository = !zfs && !timer;
        let (repository, needs) = match text.r#type {
            BackupType::Zfs => (text.dataset.clone(), "`dataset`, for example \"tank/home\""),
            BackupType::Timer => (text.timer.clone(), "`timer`, for example \"backup.timer\""),
            BackupType::Restic | BackupType::Borg => {
                (text.repository.clone(), "`repository`, as the tool itself writes it")
            }
        };
        let mut repository = repository.ok_or(BadJob::Needs { kind, needs })?;
        let foreign = [
            (!has_repository && text.repository.is_some(), "`repository`"),
            (!zfs && text.dataset.is_some(), "`dataset`"),
            (!timer && text.timer.is_some(), "`timer`"),
            (!has_repository && text.password_file.is_some(), "`password_file`"),
            (!has_repository && text.environment_file.is_some(), "`environment_file`"),
            (zfs && text.check_every.is_some(), "`check_every`; scrubs are told with the pool"),
            (timer && text.check_every.is_some(), "`check_every`"),
            (timer && text.only.is_some(), "`only`"),
            (text.r#type != BackupType::Restic && text.host.is_some(), "`host`"),
        ];
        if let Some((_, has)) = foreign.into_iter().find(|(there, _)| *there) {
            return Err(BadJob::Has { kind, has });
        }
        let what = match text.r#type {
            BackupType::Zfs => "dataset",
            BackupType::Timer => "timer",
            BackupType::Restic | BackupType::Borg => "repository",
        };
        plain(what, &repository)?;
        if timer {
            if !is_unit(&repository) {
                return Err(BadJob::Text { what, text: repository, problem: "is no name of a unit" });
            }
            if !repository.ends_with(".timer") {
                repository.push_str(".timer");
            }
        }
        for (what, value) in [("host", &text.host), ("only", &text.only)] {
            value.as_deref().map_or(Ok(()), |value| plain(what, value))?;
        }
        for (what, path) in [("password_file", &text.password_file), ("environment_file", &text.environment_file)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
                let text = path.display().to_string();
                return Err(BadJob::Text { what, text, problem: "is no whole path; begin with /" });
            }
        }
        let times = [
            ("every", text.every, 60, "1m"),
            ("expected", text.expected, 60, "1m"),
            ("check_every", text.check_every, 3_600, "1h"),
            ("limit", Some(text.limit), 1, "1s"),
            ("check_limit", Some(text.check_limit), 1, "1s"),
        ];
        for (what, span, seconds, least) in times {
            if span.is_some_and(|span| span.0 < Duration::from_secs(seconds)) {
                return Err(BadJob::Short { what, least });
            }
        }
        Ok(Self {
            name: text.name,
            kind: text.r#type,
            repository,
            password_file: text.password_file,
            environment_file: text.environment_file,
            host: text.host,
            only: text.only,
            expected: text.expected.map(|span| span.0),
            every: text.every.map_or_else(|| usual(text.r#type), |span| span.0),
            check_every: text.check_every.map(|span| span.0),
            limit: text.limit.0,
            check_limit: text.check_limit.0,
        })
    }
}

/// See systemd.unit(5): what names of units are made of.
fn is_unit(name: &str) -> bool {
    name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
}

/// What becomes an argument or a variable must not be empty, nor be taken for
/// an option.
fn plain(what: &'static str, text: &str) -> Result<(), BadJob> {
    let wrong = |problem| Err(BadJob::Text { what, text: text.to_owned(), problem });
    if text.is_empty() {
        return wrong("is empty");
    }
    if text.starts_with('-') {
        return wrong("would be taken for an option");
    }
    if text.chars().any(char::is_control) {
        return wrong("holds what cannot be written");
    }
    Ok(())
}

impl From<BackupJob> for JobText {
    fn from(job: BackupJob) -> Self {
        let (mut repository, mut dataset, mut timer) = (None, None, None);
        match job.kind {
            BackupType::Zfs => dataset = Some(job.repository),
            BackupType::Timer => timer = Some(job.repository),
            BackupType::Restic | BackupType::Borg => repository = Some(job.repository),
        }
        Self {
            name: job.name,
            r#type: job.kind,
            repository,
            dataset,
            timer,
            password_file: job.password_file,
            environment_file: job.environment_file,
            host: job.host,
            only: job.only,
            expected: job.expected.map(Span),
            every: (job.every != usual(job.kind)).then_some(Span(job.every)),
            check_every: job.check_every.map(Span),
            limit: Span(job.limit),
            check_limit: Span(job.check_limit),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn job(text: &str) -> Result<BackupJob, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_job_is_read_and_written_back() {
        let text = "name = \"system\"\ntype = \"restic\"\nrepository = \"/srv/r\"\nexpected = \"1d\"\n";
        let read = job(text).unwrap();
        assert_eq!((read.every, read.limit), (Duration::from_secs(3_600), Duration::from_secs(120)));
        assert_eq!(job(&toml::to_string(&read).unwrap()).unwrap(), read);
        let zfs = job("name = \"home\"\ntype = \"zfs\"\ndataset = \"tank/home\"\n").unwrap();
        assert_eq!(zfs.repository, "tank/home");
        assert_eq!(job(&toml::to_string(&zfs).unwrap()).unwrap(), zfs);
        let timer = job("name = \"home\"\ntype = \"timer\"\ntimer = \"home-backup\"\n").unwrap();
        assert_eq!((timer.repository.as_str(), timer.every), ("home-backup.timer", Duration::from_secs(60)));
        assert_eq!(job(&toml::to_string(&timer).unwrap()).unwrap(), timer);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (text, said) in [
            ("name = \"a\"\ntype = \"restic\"\n", "needs `repository`"),
            ("name = \"a\"\ntype = \"zfs\"\n", "needs `dataset`"),
            ("name = \"a\"\ntype = \"zfs\"\ndataset = \"t\"\npassword_file = \"/x\"\n", "has no `password_file`"),
            ("name = \"a\"\ntype = \"borg\"\nrepository = \"/r\"\nhost = \"x\"\n", "has no `host`"),
            ("name = \"-a\"\ntype = \"borg\"\nrepository = \"/r\"\n", "no name for a backup"),
            ("name = \"a\"\ntype = \"borg\"\nrepository = \"--rsh=x\"\n", "taken for an option"),
            ("name = \"a\"\ntype = \"borg\"\nrepository = \"/r\"\npassword_file = \"pw\"\n", "no whole path"),
            ("name = \"a\"\ntype = \"borg\"\nrepository = \"/r\"\nevery = \"1s\"\n", "every is too short"),
            ("name = \"a\"\ntype = \"timer\"\n", "needs `timer`"),
            ("name = \"a\"\ntype = \"timer\"\ntimer = \"a b\"\n", "no name of a unit"),
            ("name = \"a\"\ntype = \"timer\"\ntimer = \"a\"\nonly = \"x\"\n", "has no `only`"),
            ("name = \"a\"\ntype = \"restic\"\nrepository = \"/r\"\ntimer = \"a\"\n", "has no `timer`"),
            ("name = \"a\"\ntype = \"tar\"\n", "unknown variant"),
            ("name = \"a\"\ntype = \"borg\"\nrepository = \"/r\"\nevry = \"1h\"\n", "unknown field `evry`"),
        ] {
            let error = job(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
