//! The status file that any job may leave: JSON, one file a job, described in
//! `docs/backups.md`. What is not in it is not known; keys that are not known
//! here are passed over, so that a job may write more for others.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tomte_model::Timestamp;

use super::known::{Check, Disk, Known, Part};
use crate::ReadError;
use crate::bounded::Bounded;
use crate::units::Span;

/// A longer file is refused.
const MOST: u64 = 256 * 1024;

/// A job as its file tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Told {
    /// What it is called, where that is not the file's own name.
    pub name: Option<String>,
    /// What makes it.
    pub kind: Option<String>,
    pub repository: Option<String>,
    pub expected: Option<Duration>,
    pub known: Known,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    name: Option<String>,
    r#type: Option<String>,
    repository: Option<String>,
    schedule: Option<String>,
    expected: Option<Length>,
    state: Option<State>,
    started_at: Option<Time>,
    ended_at: Option<Time>,
    last_success_at: Option<Time>,
    next_run_at: Option<Time>,
    oldest_at: Option<Time>,
    duration_seconds: Option<f64>,
    size_bytes: Option<f64>,
    added_bytes: Option<f64>,
    stored_bytes: Option<f64>,
    files: Option<f64>,
    backups: Option<f64>,
    error: Option<String>,
    check: Option<CheckText>,
    disks: Bounded<DiskText, 64>,
    repositories: Bounded<PartText, 256>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Running,
    Failed,
    Never,
}

#[derive(Debug, Deserialize)]
struct CheckText {
    at: Option<Time>,
    ok: bool,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct DiskText {
    serial: String,
    name: Option<String>,
    mount: Option<String>,
    used_bytes: Option<f64>,
    total_bytes: Option<f64>,
    temperature_celsius: Option<f64>,
    wear_used_ratio: Option<f64>,
    last_seen_at: Option<Time>,
}

#[derive(Debug, Deserialize)]
struct PartText {
    name: String,
    state: Option<State>,
    last_success_at: Option<Time>,
    backups: Option<f64>,
    size_bytes: Option<f64>,
}

/// A time: RFC 3339, or seconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Time(Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a time such as \"2026-01-31T12:00:00Z\", or seconds since 1970")]
        enum Written {
            Text(Timestamp),
            Seconds(f64),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Text(time) => time,
            // Saturates where it is out of all reason.
            Written::Seconds(seconds) => Timestamp::from_millis((seconds * 1000.0) as i64),
        }))
    }
}

/// A length of time: `"1d"`, or seconds.
#[derive(Debug, Clone, Copy)]
struct Length(Duration);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a length of time such as \"1d\" or \"12h\", or seconds")]
        enum Written {
            Text(Span),
            Seconds(u64),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Text(span) => span.0,
            Written::Seconds(seconds) => Duration::from_secs(seconds),
        }))
    }
}

/// Reads one file. What is no plain file, or too long, is refused.
pub(super) fn read(path: &Path) -> Result<Result<Told, String>, ReadError> {
    let failed = |source| ReadError::new(path, source);
    // A pipe that somebody put there must not hold us up.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is no plain file")));
    }
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST {
        return Err(failed(io::Error::other(format!("it is longer than {MOST} bytes"))));
    }
    Ok(parse(&bytes).map_err(|error| format!("{}:{}:{}: {error}", path.display(), error.line(), error.column())))
}

/// A file's content.
pub(crate) fn parse(bytes: &[u8]) -> Result<Told, serde_json::Error> {
    // A list would be taken for the fields in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(serde::de::Error::custom("expected an object, in braces"));
    }
    let file: File = serde_json::from_slice(bytes)?;
    let time = |time: Option<Time>| time.map(|time| time.0);
    let state = |state: Option<State>| {
        let word = |state| match state {
            State::Ok => "ok",
            State::Running => "running",
            State::Failed => "failed",
            State::Never => "never",
        };
        state.map(|state| word(state).to_owned())
    };
    let (started, ended) = (time(file.started_at), time(file.ended_at));
    // Whoever only says that it went well has said when.
    let last_success = time(file.last_success_at).or(match file.state {
        Some(State::Ok) => ended.or(started),
        _ => None,
    });
    let failed_part = file.repositories.0.iter().find(|part| part.state == Some(State::Failed));
    let error = file.error.or_else(|| failed_part.map(|part| format!("{} failed", part.name)));
    let failed = match (file.state, failed_part) {
        (_, Some(_)) | (Some(State::Failed), _) => Some(true),
        (Some(_), None) => Some(false),
        (None, None) => None,
    };
    let last_success = last_success.filter(|_| file.state != Some(State::Never));
    let known = Known {
        last_success,
        // A run that failed says nothing of those before it.
        never: match file.state {
            Some(State::Never) => Some(true),
            _ => last_success.map(|_| false),
        },
        last_run: ended.or(started),
        next_run: time(file.next_run_at),
        oldest: time(file.oldest_at),
        running: file.state.map(|state| state == State::Running),
        failed,
        error,
        schedule: file.schedule,
        duration: file.duration_seconds.or_else(|| {
            let (started, ended) = started.zip(ended).filter(|(started, ended)| started <= ended)?;
            Some(ended.since(started).as_secs_f64())
        }),
        backups: file.backups,
        size: file.size_bytes,
        added: file.added_bytes,
        stored: file.stored_bytes,
        files: file.files,
        stale_locks: None,
        parts: file
            .repositories
            .into_iter()
            .map(|part| Part {
                name: part.name,
                state: state(part.state),
                last_success: time(part.last_success_at),
                backups: part.backups,
                size: part.size_bytes,
            })
            .collect(),
        disks: file
            .disks
            .into_iter()
            .map(|disk| Disk {
                serial: disk.serial,
                name: disk.name,
                mount: disk.mount,
                used: disk.used_bytes,
                total: disk.total_bytes,
                temperature: disk.temperature_celsius,
                wear: disk.wear_used_ratio,
                last_seen: time(disk.last_seen_at),
            })
            .collect(),
        check: file.check.map(|check| Check {
            at: time(check.at),
            failed: !check.ok,
            error: check.error.filter(|_| !check.ok),
            verified: None,
            unverified: None,
        }),
    };
    Ok(Told {
        name: file.name,
        kind: file.r#type,
        repository: file.repository,
        expected: file.expected.map(|length| length.0).filter(|length| !length.is_zero()),
        known,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_job_with_two_disks() {
        let told = parse(
            br#"{"type": "rsync", "state": "ok", "expected": "7d", "started_at": 1795208000,
                "ended_at": "2026-11-20T21:00:00Z", "size_bytes": 5e12, "new key": {},
                "check": {"at": "2026-11-01T00:00:00Z", "ok": false, "error": "2 files differ"},
                "disks": [{"serial": "A1", "name": "blue", "used_bytes": 1, "last_seen_at": 1795208000}, {"serial": "B2"}],
                "repositories": [{"name": "home", "state": "ok"}, {"name": "mail", "state": "failed"}]}"#,
        )
        .unwrap();
        assert_eq!(told.expected, Some(Duration::from_secs(7 * 86_400)));
        let known = &told.known;
        assert_eq!(known.last_success.unwrap().to_string(), "2026-11-20T21:00:00.000Z");
        assert_eq!((known.failed, known.running), (Some(true), Some(false)));
        assert_eq!(known.error.as_deref(), Some("mail failed"));
        assert_eq!(known.duration, Some(400.0));
        assert_eq!((known.disks.len(), known.parts.len()), (2, 2));
        assert!(known.check.as_ref().unwrap().failed);
    }

    #[test]
    fn what_makes_no_sense_is_said_with_its_place() {
        for (text, said) in [
            ("", "EOF"),
            ("[]", "expected"),
            ("{\"state\": \"fine\"}", "unknown variant `fine`"),
            ("{\"ended_at\": \"yesterday\"}", "a time such as"),
            ("{\"expected\": \"1 parsec\"}", "a length of time such as"),
            ("{\"disks\": [{}]}", "missing field `serial`"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn only_plain_files_of_a_reasonable_length_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        std::fs::write(&path, " ".repeat(300_000)).unwrap();
        assert!(matches!(read(&path), Err(ReadError::Failed { source, .. }) if source.to_string().contains("longer")));
        assert!(matches!(read(folder.path()), Err(ReadError::Failed { .. })));
        std::fs::write(&path, "{\n\"state\": 7}").unwrap();
        assert!(read(&path).unwrap().unwrap_err().contains("x.json:2:"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_time_is_safe(seconds: f64, state in "ok|running|failed|never") {
            if let Ok(text) = serde_json::to_string(&serde_json::json!({"ended_at": seconds, "state": state})) {
                let _ = parse(text.as_bytes());
            }
        }
    }
}
