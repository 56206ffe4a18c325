//! Running the tools of others (smartctl, zpool, apt): the one door through
//! which a program is started.
//!
//! A [`ToolCall`] is a program with its arguments, never a line for a shell. It
//! runs in a process group of its own, with an empty environment but for a fixed
//! search path and the C locale, without standard input, for a limited time, and
//! of what it prints a limited part is taken. What overruns is killed with all
//! that it has started. What even then does not end (it hangs in the kernel, on
//! a dying disk) is left behind, and the same call is not made again before it
//! has ended; so a tool that hangs costs one process and its own scope.
//!
//! Collectors reach it through [`crate::Root::tools`], so that a test or a copied
//! tree puts [`RecordedTools`] in its place. Nothing in the fast tier does.

mod recorded;
mod system;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tomte_model::{Name, Outcome, Scope, Unit};

pub use recorded::RecordedTools;
pub use system::SystemTools;

/// Runs tools.
pub trait Tools: fmt::Debug + Send + Sync {
    /// Runs one to its end.
    ///
    /// # Errors
    /// When it could not be started or did not end by itself. One that ends with
    /// an exit status other than zero has run.
    fn run(&self, call: &ToolCall) -> Result<Ran, ToolError>;

    /// Whether the host has a program of that name.
    fn has(&self, program: &str) -> bool;
}

/// A program, its arguments, and what it may cost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ToolCall {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    limit: Duration,
    most: usize,
}

impl ToolCall {
    /// How long a tool may take, unless said otherwise.
    pub const LIMIT: Duration = Duration::from_secs(10);
    /// How many bytes of its output are taken, unless said otherwise.
    pub const MOST: usize = 4 << 20;

    /// A call of that program without arguments. A name without a slash is
    /// looked for where systems keep their tools, nowhere else.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            limit: Self::LIMIT,
            most: Self::MOST,
        }
    }
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }
    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }
    /// Adds a variable to the otherwise fixed environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }
    /// Sets how long it may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
    /// Sets how many bytes of its output are taken; more is an error.
    #[must_use]
    pub fn most(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }
    /// The program's name or path.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }
    /// How long it may take.
    #[must_use]
    pub fn time_limit(&self) -> Duration {
        self.limit
    }
}

/// As a person would type it, for messages.
impl fmt::Display for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
    }
}

/// What a tool that ended has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// How it ended: its exit status, or `None` when a signal ended it.
    pub status: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// The beginning of what it complained about.
    pub stderr: String,
}

impl Ran {
    /// Whether it says that all went well.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == Some(0)
    }
    /// What it printed, as text.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }
    /// How it went wrong, in words: its last words, else its exit status.
    #[must_use]
    pub fn complaint(&self) -> String {
        let line = |text: &str| text.lines().map(str::trim).find(|line| !line.is_empty()).map(short);
        line(&self.stderr).unwrap_or_else(|| match self.status {
            Some(status) => format!("it ended with exit status {status}"),
            None => "a signal ended it".to_owned(),
        })
    }
}

/// Of a line that others wrote, what fits into a message.
fn short(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Why a tool did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// This host has no such program.
    #[error("{program} is not installed")]
    Missing {
        /// Its name or path.
        program: String,
    },
    /// The host does not let us.
    #[error("{} may not be run", .path.display())]
    Denied {
        /// The program.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// It could not be started or read from.
    #[error("{call} cannot be run")]
    Failed {
        /// The call.
        call: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// It took too long and was killed.
    #[error("{call} has not ended within {}", Unit::Seconds.format(.limit.as_secs_f64()))]
    TimedOut {
        /// The call.
        call: String,
        /// What it was given.
        limit: Duration,
    },
    /// It printed too much and was killed.
    #[error("{call} printed more than {}", Unit::Bytes.format(*.most as f64))]
    TooMuch {
        /// The call.
        call: String,
        /// What it was given.
        most: usize,
    },
    /// An earlier run of the same call was killed and has still not ended.
    #[error("{call} hangs in the kernel since it was killed, and is not started again until it ends")]
    Hangs {
        /// The call.
        call: String,
    },
}

impl ToolError {
    /// What it means for the scope that needed the tool.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let error = match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        match self {
            Self::Missing { .. } => Outcome::Unavailable { error },
            Self::Denied { path, .. } => {
                let cure = format!("Let the agent's user run {}.", path.display());
                Outcome::Denied { error, cure }
            }
            _ => Outcome::Failed { error },
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
    fn each_error_has_its_outcome() {
        let missing = ToolError::Missing { program: "zpool".into() };
        assert_eq!(missing.outcome(), Outcome::Unavailable { error: "zpool is not installed".into() });
        let denied = ToolError::Denied { path: "/usr/sbin/x".into(), source: std::io::Error::other("EACCES") };
        assert!(matches!(denied.outcome(), Outcome::Denied { cure, .. } if cure.contains("/usr/sbin/x")));
        let late = ToolError::TimedOut { call: "zpool list".into(), limit: Duration::from_secs(10) };
        assert_eq!(late.outcome().error(), Some("zpool list has not ended within 10 s"));
    }

    #[test]
    fn a_tools_last_words_are_short_and_plain() {
        let ran = |status, stderr: &str| Ran { status, stdout: Vec::new(), stderr: stderr.into() };
        assert_eq!(
            ran(Some(1), "\n  cannot open 'x': no such pool\nmore").complaint(),
            "cannot open 'x': no such pool"
        );
        assert_eq!(ran(Some(4), " \n").complaint(), "it ended with exit status 4");
        assert_eq!(ran(None, "").complaint(), "a signal ended it");
        assert_eq!(ran(None, &"\u{1b}x".repeat(900)).complaint(), "x".repeat(200));
    }
}
