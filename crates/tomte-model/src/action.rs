//! Actions: changes that somebody asks for. Only what they are; how they come
//! from one state to the next is `tomte-control`'s.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::id::{ActionId, HostId};
use crate::time::Timestamp;

/// How much harm it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// It only looks.
    Safe,
    /// It changes something, in a way that is meant for every day.
    Guarded,
    /// It may cost data or take something down; an admin decides.
    Dangerous,
}

impl Risk {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Safe, Self::Guarded, Self::Dangerous];

    /// The word for it, lower-case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Guarded => "guarded",
            Self::Dangerous => "dangerous",
        }
    }

    /// The one with that word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|risk| risk.as_str() == word)
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where an Action is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionState {
    /// It waits for a decision.
    Pending,
    /// It may run, and waits for its turn.
    Approved,
    /// Somebody said no.
    Rejected,
    /// It runs.
    Running,
    /// It ran, and went well.
    Completed,
    /// It went wrong, or could not be run.
    Failed,
    /// There is no use for it any more.
    Cancelled,
    /// Nobody decided, or it did not get its turn, in time.
    Expired,
}

impl ActionState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Approved,
        Self::Rejected,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The word for it, lower-case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The one with that word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether nothing more happens to it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Pending | Self::Approved | Self::Running)
    }
}

impl fmt::Display for ActionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What would be done, as it is shown to who decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In words, a few lines.
    pub text: String,
    /// SHA-256 of all that the plan says, 64 hexadecimal digits. A decision
    /// names it, so that nobody decides on something else than was shown.
    pub hash: String,
}

/// One step of an Action's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// The state that it came to.
    pub to: ActionState,
    /// Who did it: `mqtt`, `root`, the name of an account, `agent`.
    pub by: String,
    /// Why, where there is something to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What came of running it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ActionResult {
    /// The exit status, `None` when a signal ended it or it did not start.
    pub exit_code: Option<i32>,
    /// What it printed, as far as it is kept.
    pub output: String,
    /// Whether it printed more than is kept.
    pub truncated: bool,
    /// How long it ran.
    pub duration_millis: u64,
    /// Why it failed, in words; empty when it did not.
    pub error: String,
    /// Whether nobody knows what it did: it was interrupted while it ran. It is
    /// not run again.
    pub outcome_unknown: bool,
}

/// A requested change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Its identity.
    pub id: ActionId,
    /// The host that is changed.
    pub host: HostId,
    /// What kind of change: `command`.
    pub kind: Name,
    /// What is changed, or done: a command's trigger.
    pub target: String,
    /// The arguments of whoever asked.
    pub arguments: Vec<String>,
    /// What would be done.
    pub plan: Plan,
    /// How much harm it can do.
    pub risk: Risk,
    /// Where it is on its way.
    pub state: ActionState,
    /// Through what it was asked for: `mqtt`, the own broker of its host.
    pub via: String,
    /// The id that the request brought, or that was made up for it.
    pub request_id: String,
    /// When it was filed.
    pub created_at: Timestamp,
    /// When it is too late to decide, or to begin.
    pub expires_at: Timestamp,
    /// How it came to where it is, oldest first.
    pub history: Vec<Step>,
    /// What came of it, once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ActionResult>,
}

impl Action {
    /// When something last happened to it.
    #[must_use]
    pub fn updated_at(&self) -> Timestamp {
        self.history.last().map_or(self.created_at, |step| step.at)
    }

    /// Who brought it to the state that it is in.
    #[must_use]
    pub fn by(&self) -> &str {
        self.history.last().map_or("", |step| &step.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back() {
        for state in ActionState::ALL {
            assert_eq!(ActionState::of(state.as_str()), Some(state));
        }
        for risk in Risk::ALL {
            assert_eq!(Risk::of(risk.as_str()), Some(risk));
        }
        assert_eq!(ActionState::of("done"), None);
        assert!(Risk::Safe < Risk::Dangerous);
        assert!(ActionState::Failed.is_over() && !ActionState::Running.is_over());
    }
}
