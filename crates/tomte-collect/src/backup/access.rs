//! How a repository is opened: password and environment files, and what a tool
//! that could not open it meant.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::known::Trouble;
use super::settings::BackupJob;
use crate::tool::{Ran, ToolError};

/// More than this is no file of a few variables.
const MOST: u64 = 64 * 1024;

/// Checks that the password file is there for us, and for nobody else.
pub(super) fn check_secret(path: &Path) -> Result<(), Trouble> {
    let shown = path.display();
    let metadata = fs::metadata(path).and_then(|metadata| File::open(path).map(|_| metadata));
    let metadata = metadata.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Trouble::Denied {
            error: format!("{shown} is not there"),
            cure: format!("Write the secret into {shown}, readable by the agent's user alone."),
        },
        _ => Trouble::Denied {
            error: format!("{shown} cannot be read: {error}"),
            cure: format!("chgrp tomte {shown} && chmod 640 {shown}; `namei -l {shown}` shows what else refuses it."),
        },
    })?;
    if metadata.mode() & 0o007 != 0 {
        return Err(Trouble::Denied {
            error: format!("{shown} holds a secret and is open to everybody"),
            cure: format!("chmod o= {shown}"),
        });
    }
    Ok(())
}

/// A secret of one line, read whole.
pub(super) fn secret(path: &Path) -> Result<String, Trouble> {
    check_secret(path)?;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text));
    read.map_err(|error| Trouble::Failed(format!("{}: {error}", path.display())))?;
    let line = text.trim();
    // It becomes part of a header.
    if line.is_empty() || line.contains(char::is_control) {
        return Err(Trouble::Failed(format!("{}: write the secret into it, in one line", path.display())));
    }
    Ok(line.to_owned())
}

/// The variables of an environment file: `NAME=VALUE` a line, as systemd and
/// shells write them without expansion.
pub(super) fn environment(path: &Path) -> Result<Vec<(String, String)>, Trouble> {
    check_secret(path)?;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST + 1).read_to_string(&mut text));
    read.map_err(|error| Trouble::Failed(format!("{}: {error}", path.display())))?;
    if text.len() as u64 > MOST {
        return Err(Trouble::Failed(format!("{} is longer than {MOST} bytes", path.display())));
    }
    parse_environment(&text)
        .map_err(|line| Trouble::Failed(format!("{}:{line}: write NAME=VALUE, a variable a line", path.display())))
}

/// The number of the first line that makes no sense, or the variables.
fn parse_environment(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut variables = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=').ok_or(number)?;
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(legal) || value.contains('\0') {
            return Err(number);
        }
        let quoted = |quote: char| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        variables.push((name.to_owned(), value.to_owned()));
    }
    Ok(variables)
}

/// A tool that did not run to its end.
pub(super) fn not_run(error: &ToolError, package: &str) -> Trouble {
    let words = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match error {
        ToolError::Missing { .. } => Trouble::Denied {
            error: words,
            cure: format!("Install the package {package}, or take the job out of the configuration."),
        },
        ToolError::Denied { path, .. } => {
            Trouble::Denied { error: words, cure: format!("Let the agent's user run {}.", path.display()) }
        }
        ToolError::TimedOut { .. } | ToolError::Hangs { .. } => Trouble::Unreachable(words),
        _ => Trouble::Failed(words),
    }
}

/// A tool that ran and could not open the repository. What restic and borg say
/// of it differs by version; their texts have stayed, so they are looked at.
pub(super) fn not_opened(ran: &Ran, complaint: String, job: &BackupJob) -> Trouble {
    let said = format!("{complaint}\n{}", ran.stderr).to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&["wrong password", "passphrase supplied", "no key found", "passphrase", "an empty password"]) {
        let cure = match &job.password_file {
            Some(path) => format!("Write the repository's password into {}.", path.display()),
            None => format!("Set password_file of the backup {} in the agent's configuration.", job.name),
        };
        return Trouble::Denied { error: complaint, cure };
    }
    if says(&["permission denied", "operation not permitted"]) {
        let cure = match job.repository.starts_with('/') {
            true => format!(
                "Let the agent's user read the repository: setfacl -R -m u:tomte:rX -m d:u:tomte:rX {0}; \
                 `namei -l {0}` shows what else refuses it.",
                job.repository
            ),
            false => "Let the agent's user in at the repository's server: its own key, for reading only.".to_owned(),
        };
        return Trouble::Denied { error: complaint, cure };
    }
    if says(&["host key verification failed"]) {
        let cure = "Connect once by ssh as the agent's user, so that the server's key is known.".to_owned();
        return Trouble::Denied { error: complaint, cure };
    }
    if says(&[
        "ciphertext verification failed",
        "invalid data returned",
        "integrity error",
        "does not match id",
        "id mismatch",
        "checksum mismatch",
        "invalid repository",
        "manifest",
    ]) {
        return Trouble::Damaged(complaint);
    }
    Trouble::Unreachable(complaint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_must_be_there_for_us_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pw");
        assert!(matches!(check_secret(&path), Err(Trouble::Denied { error, .. }) if error.contains("not there")));
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(check_secret(&path), Err(Trouble::Denied { cure, .. }) if cure.starts_with("chmod o= ")));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(check_secret(&path), Ok(()));
    }

    #[test]
    fn variables_are_read_as_they_are_written() {
        let text = "# keys\n\nAWS_ACCESS_KEY_ID=abc\nexport B2_KEY=\"a b=c\"\nX='$y'\n";
        let pairs = parse_environment(text).unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("AWS_ACCESS_KEY_ID", "abc"), ("B2_KEY", "a b=c"), ("X", "$y")]);
        assert_eq!(parse_environment("A=1\nno\n"), Err(2));
        assert_eq!(parse_environment("A B=1\n"), Err(1));
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            let _ = parse_environment(&text);
        }
    }
}
