//! Why something could not be read, and what that means for its scope.

use std::io;
use std::path::{Path, PathBuf};

use tomte_model::{Name, Outcome, Scope};

/// A text that is not what the kernel's documentation promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {expected}, found {found:?}")]
pub struct Malformed {
    /// Counted from 1.
    pub line: usize,
    /// What should stand there.
    pub expected: &'static str,
    /// The beginning of what stands there.
    pub found: String,
}

impl Malformed {
    /// At most this much of a strange line is repeated in the message.
    const SHOWN: usize = 60;

    /// `line` counts from 1; of `found`, only the beginning is kept.
    #[must_use]
    pub fn new(line: usize, expected: &'static str, found: &str) -> Self {
        Self { line, expected, found: found.chars().take(Self::SHOWN).collect() }
    }
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The host has no such thing, or the kernel does not offer it.
    #[error("{} is not there", .path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The host does not let us.
    #[error("{} may not be read", .path.display())]
    Denied {
        /// What was asked for.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Reading went wrong.
    #[error("{} cannot be read", .path.display())]
    Failed {
        /// What was being read.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Reading worked, and what it brought makes no sense.
    #[error("{} is not understood", .path.display())]
    Malformed {
        /// What was read.
        path: PathBuf,
        /// Where it went wrong.
        #[source]
        source: Malformed,
    },
}

impl ReadError {
    /// Sorts an error of the kernel.
    #[must_use]
    pub fn new(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        // A file that is there and whose subject is not: a device that was
        // unplugged, a process that ended, PSI switched off at boot.
        let gone = [libc::ENODEV, libc::ENXIO, libc::ESRCH, libc::EOPNOTSUPP, libc::ENOTDIR];
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { path, source },
            io::ErrorKind::NotFound => Self::Missing { path, source },
            _ if source.raw_os_error().is_some_and(|code| gone.contains(&code)) => Self::Missing { path, source },
            _ => Self::Failed { path, source },
        }
    }

    /// A parser's complaint about that file.
    #[must_use]
    pub fn malformed(path: &Path, source: Malformed) -> Self {
        Self::Malformed { path: path.to_owned(), source }
    }

    /// What it means for the scope that needed the file.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let error = match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        match self {
            Self::Missing { .. } => Outcome::Unavailable { error },
            Self::Denied { path, .. } => Outcome::Denied {
                error,
                cure: format!(
                    "Let the agent's user read {0}; `namei -l {0}` shows which part of the path refuses it.",
                    path.display()
                ),
            },
            Self::Failed { .. } | Self::Malformed { .. } => Outcome::Failed { error },
        }
    }

    /// The scope that failed by this.
    #[must_use]
    pub fn scope(&self, name: impl Into<Name>) -> Scope {
        Scope::failed(name, self.outcome())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_the_kernel_has_its_outcome() {
        let outcome = |code| ReadError::new(Path::new("/proc/x"), io::Error::from_raw_os_error(code)).outcome();
        for gone in [libc::ENOENT, libc::ENODEV, libc::ENXIO, libc::EOPNOTSUPP, libc::ENOTDIR, libc::ESRCH] {
            assert!(matches!(outcome(gone), Outcome::Unavailable { .. }), "{gone}");
        }
        for denied in [libc::EACCES, libc::EPERM] {
            assert!(matches!(outcome(denied), Outcome::Denied { cure, .. } if cure.contains("/proc/x")), "{denied}");
        }
        assert!(
            matches!(outcome(libc::EIO), Outcome::Failed { error } if error.starts_with("/proc/x cannot be read: "))
        );
    }

    #[test]
    fn a_malformed_file_is_named_with_its_line() {
        let error = ReadError::malformed(Path::new("/proc/stat"), Malformed::new(3, "a number", &"x".repeat(1000)));
        let Outcome::Failed { error } = error.outcome() else { panic!("malformed is a failure") };
        assert!(error.starts_with("/proc/stat is not understood: line 3: a number, found \"xxx"), "{error}");
        assert!(error.len() < 200);
    }
}
