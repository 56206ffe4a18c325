//! How things stand: status, and the words for it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::time::Timestamp;

/// How a thing stands. The worst of several is the greatest. What nothing
/// judges has no status at all: use `Option<Status>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Judged, and in order.
    Ok,
    /// It ought to be judged and cannot be.
    Unknown,
    /// Somebody should look.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Status {
    /// All of them, best first.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Unknown, Self::Warning, Self::Critical];

    /// The word for it, lower-case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The field or attribute that says so.
    pub field: Name,
    /// How bad.
    pub status: Status,
    /// In words: "/ is 93 % full".
    pub reason: String,
    /// Since when, by the judge's clock.
    pub since: Timestamp,
}

/// How a facet, a resource or a host was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// The worst of the problems, or ok.
    pub status: Status,
    /// In words; empty when ok.
    pub reason: String,
    /// What is wrong, worst first.
    pub problems: Vec<Problem>,
}

impl Assessment {
    /// Nothing is wrong.
    #[must_use]
    pub fn ok() -> Self {
        Self { status: Status::Ok, reason: String::new(), problems: Vec::new() }
    }

    /// The judgement that follows from problems: the worst decides, and its
    /// reason is named first.
    #[must_use]
    pub fn of(mut problems: Vec<Problem>) -> Self {
        // Stable, so that equals keep the order in which they were found.
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.status));
        let status = problems.first().map_or(Status::Ok, |worst| worst.status);
        let reason = match problems.as_slice() {
            [] => String::new(),
            [only] => only.reason.clone(),
            [worst, rest @ ..] => format!("{} (+{} more)", worst.reason, rest.len()),
        };
        Self { status, reason, problems }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: Status, reason: &str) -> Problem {
        Problem { field: "x".into(), status, reason: reason.into(), since: Timestamp::default() }
    }

    #[test]
    fn the_worst_wins_and_is_named_first() {
        let judged = Assessment::of(vec![
            problem(Status::Warning, "a"),
            problem(Status::Critical, "b"),
            problem(Status::Unknown, "c"),
        ]);
        assert_eq!(judged.status, Status::Critical);
        assert_eq!(judged.reason, "b (+2 more)");
        assert_eq!(judged.problems[1].reason, "a");
        assert_eq!(Assessment::of(Vec::new()), Assessment::ok());
    }
}
