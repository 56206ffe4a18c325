//! The audit of what this host was asked to do: a line in the log, and one in
//! a file that is bounded.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tomte_model::{Action, Timestamp};
use tracing::{info, warn};

/// The file, in the state folder; the one before it has `.1` at its end.
pub const FILE: &str = "audit.log";
/// A file that has grown to this begins anew.
const MOST: u64 = 1 << 20;

/// A line of the audit. Nothing that a command printed, and nothing that was
/// refused, is repeated in it: either may hold a secret.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// The Action, if it came to one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// The state it came to, or `refused`, `listed`, `repeated`.
    pub outcome: String,
    /// Through what it was asked for.
    pub via: String,
    /// Who did it.
    pub by: String,
    /// The command.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// Its arguments, which the list allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The request's id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// The exit status, once it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How long it ran, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// Why, where there is something to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How many of the same this line stands for, when more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl Line {
    /// What has just happened to an Action.
    #[must_use]
    pub fn of(action: &Action) -> Self {
        let step = action.history.last();
        let result = action.result.as_ref().filter(|_| action.state.is_over());
        Self {
            at: action.updated_at(),
            action: action.id.to_string(),
            outcome: action.state.as_str().to_owned(),
            via: action.via.clone(),
            by: action.by().to_owned(),
            command: action.target.clone(),
            arguments: action.arguments.clone(),
            request_id: action.request_id.clone(),
            exit_code: result.and_then(|result| result.exit_code),
            duration_seconds: result.map(|result| result.duration_millis as f64 / 1_000.0),
            reason: step.map_or_else(String::new, |step| step.reason.clone()),
            count: None,
        }
    }
}

/// The audit.
#[derive(Debug, Clone)]
pub struct Audit {
    path: PathBuf,
    /// One writer at a time; whether the last one failed.
    turn: Arc<Mutex<bool>>,
}

impl Audit {
    /// In that folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join(FILE), turn: Arc::default() }
    }

    /// Writes lines. Blocks.
    pub fn write(&self, lines: &[Line]) {
        for line in lines {
            info!(
                target: "audit",
                outcome = line.outcome,
                action = line.action,
                via = line.via,
                by = line.by,
                command = line.command,
                arguments = ?line.arguments,
                request_id = line.request_id,
                exit_code = line.exit_code,
                duration_seconds = line.duration_seconds,
                reason = line.reason,
                count = line.count,
                "audit"
            );
        }
        let mut failed = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.append(lines) {
            Ok(()) => *failed = false,
            Err(error) => {
                // The log has them; that the file has not is told once.
                if !*failed {
                    warn!(%error, path = %self.path.display(), "the audit's file cannot be written; its lines are in the log only");
                }
                *failed = true;
            }
        }
    }

    fn append(&self, lines: &[Line]) -> io::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        if fs::metadata(&self.path).is_ok_and(|file| file.len() + text.len() as u64 > MOST) {
            let mut before = self.path.clone().into_os_string();
            before.push(".1");
            fs::rename(&self.path, before)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        // A line that was cut off by a crash must not swallow the next one.
        if !ends_whole(&self.path)? {
            text.insert(0, b'\n');
        }
        file.write_all(&text)?;
        file.sync_data()
    }
}

fn ends_whole(path: &Path) -> io::Result<bool> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = fs::File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_appended_and_the_file_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::new(folder.path());
        let line = Line { outcome: "refused".into(), reason: "x".repeat(1000), ..Line::default() };
        for _ in 0..30 {
            audit.write(&vec![line.clone(); 100]);
        }
        let size = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
        assert!(size(FILE) <= MOST && size("audit.log.1") <= MOST && size(FILE) > 1000);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_line_that_was_cut_off_costs_no_other() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{\"at\":").unwrap();
        Audit::new(folder.path()).write(&[Line { outcome: "listed".into(), ..Line::default() }]);
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        assert_eq!(last["outcome"], "listed");
    }
}
