//! The Actions that an agent keeps: those that wait, and the last ones that
//! are over. A bounded list that is saved as a whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tomte_model::{Action, ActionId, ActionState, HostId, Name, Plan, Risk, Step, Timestamp};

use crate::action::{Change, EXPIRY, Refused, apply};
use crate::action_id;

/// So many that are not over are kept; more are refused.
pub const MOST_OPEN: usize = 32;
/// So many are kept in all; the oldest that are over go first.
pub const MOST: usize = 96;
/// So much of what a command printed is kept with it.
pub const OUTPUT_KEPT: usize = 8 * 1024;
/// The format of what is saved.
const VERSION: u32 = 1;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// The host that is changed.
    pub host: HostId,
    /// What kind of change.
    pub kind: Name,
    /// What is changed, or done.
    pub target: String,
    /// The arguments.
    pub arguments: Vec<String>,
    /// What would be done.
    pub plan: Plan,
    /// How much harm it can do.
    pub risk: Risk,
    /// Through what it was asked for.
    pub via: String,
    /// The request's own id.
    pub request_id: String,
    /// Who asks.
    pub by: String,
}

/// Why nothing was filed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// That request was filed before.
    #[error("that request has been made before")]
    Known(ActionId),
    /// Too many wait.
    #[error("{MOST_OPEN} requests wait already")]
    Full,
}

/// The list, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    version: u32,
    actions: Vec<Action>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { version: VERSION, actions: Vec::new() }
    }
}

impl Ledger {
    /// Whether this version can read what was saved.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.version == VERSION
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: ActionId) -> Option<&Action> {
        self.actions.iter().find(|action| action.id == id)
    }

    /// Those that may run, oldest first.
    pub fn approved(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(|action| action.state == ActionState::Approved)
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.actions.iter().filter(|action| action.state == ActionState::Running).count()
    }

    /// Files what is asked for; it waits for a decision.
    ///
    /// # Errors
    /// When it is there already, or too many wait.
    pub fn file(&mut self, new: New, now: Timestamp) -> Result<ActionId, FileError> {
        let id = action_id(new.host, &new.via, &new.request_id);
        if self.get(id).is_some() {
            return Err(FileError::Known(id));
        }
        if self.actions.iter().filter(|action| !action.state.is_over()).count() >= MOST_OPEN {
            return Err(FileError::Full);
        }
        if self.actions.len() >= MOST
            && let Some(oldest) = self.actions.iter().position(|action| action.state.is_over())
        {
            self.actions.remove(oldest);
        }
        let filed = Step { at: now, to: ActionState::Pending, by: new.by, reason: String::new() };
        self.actions.push(Action {
            id,
            host: new.host,
            kind: new.kind,
            target: new.target,
            arguments: new.arguments,
            plan: new.plan,
            risk: new.risk,
            state: ActionState::Pending,
            via: new.via,
            request_id: new.request_id,
            created_at: now,
            expires_at: now.plus(EXPIRY),
            history: vec![filed],
            result: None,
        });
        Ok(id)
    }

    /// Changes one of them; `None`: there is no such Action.
    pub fn change(&mut self, id: ActionId, change: Change, by: &str, now: Timestamp) -> Option<Result<bool, Refused>> {
        let action = self.actions.iter_mut().find(|action| action.id == id)?;
        let changed = apply(action, change, by, now);
        if let Some(result) = &mut action.result {
            truncate(&mut result.output, &mut result.truncated);
        }
        Some(changed)
    }

    /// Lets all of them know that time has passed; returns those that changed.
    pub fn tick(&mut self, now: Timestamp) -> Vec<ActionId> {
        self.each(&Change::Tick, now)
    }

    /// After a restart: what ran then was interrupted. Returns what changed.
    pub fn recover(&mut self, now: Timestamp) -> Vec<ActionId> {
        let mut changed = self.each(&Change::Interrupted, now);
        changed.extend(self.tick(now));
        changed
    }

    fn each(&mut self, change: &Change, now: Timestamp) -> Vec<ActionId> {
        let changes = |action: &mut Action| apply(action, change.clone(), "agent", now) == Ok(true);
        self.actions.iter_mut().filter_map(|action| changes(action).then_some(action.id)).collect()
    }

    /// How long until the next one expires; `None`: none will.
    #[must_use]
    pub fn next_expiry(&self, now: Timestamp) -> Option<Duration> {
        let waits = |action: &&Action| matches!(action.state, ActionState::Pending | ActionState::Approved);
        self.actions.iter().filter(waits).map(|action| action.expires_at.since(now)).min()
    }
}

fn truncate(output: &mut String, truncated: &mut bool) {
    if output.len() > OUTPUT_KEPT {
        let end = (0..=OUTPUT_KEPT).rev().find(|end| output.is_char_boundary(*end)).unwrap_or(0);
        output.truncate(end);
        *truncated = true;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tomte_model::ActionResult;

    use super::*;
    use crate::action::tests::NOW;

    fn new(request_id: &str) -> New {
        New {
            host: HostId::from_parts(1, 2),
            kind: "command".into(),
            target: "df".into(),
            arguments: Vec::new(),
            plan: Plan { text: "run df".into(), hash: "aa".into() },
            risk: Risk::Safe,
            via: "mqtt".into(),
            request_id: request_id.into(),
            by: "mqtt".into(),
        }
    }

    #[test]
    fn the_same_request_is_one_action_also_after_a_restart() {
        let mut ledger = Ledger::default();
        let id = ledger.file(new("r1"), NOW).unwrap();
        assert_eq!(ledger.file(new("r1"), NOW), Err(FileError::Known(id)));
        let saved = serde_json::to_string(&ledger).unwrap();
        let mut ledger: Ledger = serde_json::from_str(&saved).unwrap();
        assert!(ledger.is_readable());
        assert_eq!(ledger.file(new("r1"), NOW), Err(FileError::Known(id)));
        let other = New { via: "api".into(), ..new("r1") };
        assert_ne!(ledger.file(other, NOW).unwrap(), id);
    }

    #[test]
    fn it_is_bounded_and_what_waits_is_never_dropped() {
        let mut ledger = Ledger::default();
        let kept = ledger.file(new("kept"), NOW).unwrap();
        for number in 0..300 {
            let id = ledger.file(new(&number.to_string()), NOW).unwrap();
            ledger.change(id, Change::Cancel { reason: String::new() }, "x", NOW).unwrap().unwrap();
        }
        assert_eq!(ledger.actions().len(), MOST);
        assert!(ledger.get(kept).is_some());
        for number in 1..MOST_OPEN {
            ledger.file(new(&format!("open {number}")), NOW).unwrap();
        }
        assert_eq!(ledger.file(new("one more"), NOW), Err(FileError::Full));
        assert_eq!(ledger.next_expiry(NOW), Some(EXPIRY));
        assert_eq!(ledger.tick(NOW.plus(EXPIRY)).len(), MOST_OPEN);
        assert!(ledger.file(new("one more"), NOW).is_ok());
    }

    #[test]
    fn what_ran_at_a_restart_has_failed() {
        let mut ledger = Ledger::default();
        let id = ledger.file(new("r1"), NOW).unwrap();
        ledger.change(id, Change::Approve { plan_hash: "aa".into() }, "ada", NOW).unwrap().unwrap();
        assert_eq!(ledger.approved().count(), 1);
        ledger.change(id, Change::Begin, "agent", NOW).unwrap().unwrap();
        let mut ledger: Ledger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
        assert_eq!(ledger.recover(NOW), [id]);
        let action = ledger.get(id).unwrap();
        assert_eq!(action.state, ActionState::Failed);
        assert!(action.result.as_ref().unwrap().outcome_unknown);
        assert!(ledger.approved().next().is_none() && ledger.running() == 0);
    }

    #[test]
    fn long_output_is_kept_in_part() {
        let mut ledger = Ledger::default();
        let id = ledger.file(new("r1"), NOW).unwrap();
        ledger.change(id, Change::Approve { plan_hash: "aa".into() }, "ada", NOW).unwrap().unwrap();
        ledger.change(id, Change::Begin, "agent", NOW).unwrap().unwrap();
        let result = ActionResult { output: "ä".repeat(OUTPUT_KEPT), ..ActionResult::default() };
        ledger.change(id, Change::Finish(result), "agent", NOW).unwrap().unwrap();
        let result = ledger.get(id).unwrap().result.as_ref().unwrap();
        assert!(result.truncated && result.output.len() == OUTPUT_KEPT);
    }
}
