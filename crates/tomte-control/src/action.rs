//! One Action's way from state to state.
//!
//! ```text
//! pending -> approved -> running -> completed
//!    |          |           '-----> failed
//!    |          |-> failed (the check before it runs says no), cancelled, expired
//!    '-> rejected, cancelled, expired
//! ```
//!
//! The first decision counts; whoever comes later is told who was first. What
//! is over stays as it is, whatever arrives late.

use std::time::Duration;

use tomte_model::{Action, ActionResult, ActionState, Step, Timestamp};

/// How long there is time for a decision, and for the beginning after it.
pub const EXPIRY: Duration = Duration::from_secs(300);

/// What happens to an Action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Somebody says yes to that plan.
    Approve {
        /// The hash of the plan that was seen.
        plan_hash: String,
    },
    /// Somebody says no to that plan.
    Reject {
        /// The hash of the plan that was seen.
        plan_hash: String,
        /// Why, if said.
        reason: String,
    },
    /// It is about to run.
    Begin,
    /// It ran, well or not.
    Finish(ActionResult),
    /// It cannot be run.
    Fail(ActionResult),
    /// There is no use for it any more.
    Cancel {
        /// Why.
        reason: String,
    },
    /// Whoever ran it is back after an interruption and knows nothing of its end.
    Interrupted,
    /// Time has passed.
    Tick,
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It was decided before.
    #[error("it is {state} already, by {by}")]
    Decided {
        /// The state it is in.
        state: ActionState,
        /// Who brought it there.
        by: String,
    },
    /// The plan is another one.
    #[error("the plan is not the one that was shown; look at it again")]
    OtherPlan,
    /// Too late.
    #[error("it expired at {0}")]
    Expired(Timestamp),
    /// It makes no sense in that state.
    #[error("it is {0}")]
    State(ActionState),
}

/// Makes a change, by that name. Returns whether anything changed.
///
/// # Errors
/// When the state does not allow it. An Action whose time is over expires
/// then, so that the caller has a change to tell besides the error.
pub fn apply(action: &mut Action, change: Change, by: &str, now: Timestamp) -> Result<bool, Refused> {
    use ActionState::{Approved, Cancelled, Completed, Expired, Failed, Pending, Rejected, Running};
    let waits = matches!(action.state, Pending | Approved);
    let late = waits && now >= action.expires_at;
    match change {
        Change::Tick => {
            if late {
                let reason =
                    if action.state == Pending { "nobody decided in time" } else { "it was not its turn in time" };
                step(action, Expired, "agent", reason, now);
            }
            return Ok(late);
        }
        Change::Approve { .. } | Change::Reject { .. } | Change::Begin if late => {
            let expired_at = action.expires_at;
            step(action, Expired, "agent", "it was too late", now);
            return Err(Refused::Expired(expired_at));
        }
        Change::Approve { plan_hash } => {
            decidable(action, &plan_hash)?;
            step(action, Approved, by, "", now);
            // The decision starts the clock anew: it has to begin soon after.
            action.expires_at = now.plus(EXPIRY);
        }
        Change::Reject { plan_hash, reason } => {
            decidable(action, &plan_hash)?;
            step(action, Rejected, by, &reason, now);
        }
        Change::Begin if action.state == Approved => step(action, Running, by, "", now),
        Change::Finish(result) if action.state == Running => {
            let to = if result.error.is_empty() { Completed } else { Failed };
            step(action, to, by, &result.error, now);
            action.result = Some(result);
        }
        Change::Fail(result) if !action.state.is_over() => {
            step(action, Failed, by, &result.error, now);
            action.result = Some(result);
        }
        Change::Cancel { reason } if waits => step(action, Cancelled, by, &reason, now),
        Change::Interrupted if action.state == Running => {
            let error = "it was interrupted; what it did is not known, and it is not run again".to_owned();
            step(action, Failed, by, &error, now);
            action.result = Some(ActionResult { error, outcome_unknown: true, ..ActionResult::default() });
        }
        Change::Interrupted => return Ok(false),
        Change::Begin | Change::Finish(_) | Change::Fail(_) | Change::Cancel { .. } => {
            return Err(Refused::State(action.state));
        }
    }
    Ok(true)
}

fn decidable(action: &Action, plan_hash: &str) -> Result<(), Refused> {
    if action.state != ActionState::Pending {
        // A decision made by a clock is still worth the name of who was late.
        return Err(Refused::Decided { state: action.state, by: action.by().to_owned() });
    }
    if action.plan.hash != plan_hash {
        return Err(Refused::OtherPlan);
    }
    Ok(())
}

fn step(action: &mut Action, to: ActionState, by: &str, reason: &str, now: Timestamp) {
    action.state = to;
    action.history.push(Step { at: now, to, by: by.to_owned(), reason: reason.to_owned() });
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use tomte_model::{ActionState, HostId, Plan, Risk};

    use super::*;

    pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    pub(crate) fn action() -> Action {
        let host = HostId::from_parts(1, 2);
        Action {
            id: crate::action_id(host, "mqtt", "r1"),
            host,
            kind: "command".into(),
            target: "df".into(),
            arguments: vec!["/home".into()],
            plan: Plan { text: "run df".into(), hash: "aa".into() },
            risk: Risk::Safe,
            state: ActionState::Pending,
            via: "mqtt".into(),
            request_id: "r1".into(),
            created_at: NOW,
            expires_at: NOW.plus(EXPIRY),
            history: Vec::new(),
            result: None,
        }
    }

    fn approve() -> Change {
        Change::Approve { plan_hash: "aa".into() }
    }

    fn reject() -> Change {
        Change::Reject { plan_hash: "aa".into(), reason: "not now".into() }
    }

    #[test]
    fn it_goes_its_way() {
        let mut action = action();
        assert!(apply(&mut action, approve(), "ada", NOW).unwrap());
        assert!(apply(&mut action, Change::Begin, "agent", NOW).unwrap());
        let result = ActionResult { exit_code: Some(0), ..ActionResult::default() };
        assert!(apply(&mut action, Change::Finish(result), "agent", NOW).unwrap());
        let states: Vec<_> = action.history.iter().map(|step| step.to).collect();
        assert_eq!(states, [ActionState::Approved, ActionState::Running, ActionState::Completed]);
        assert_eq!(action.history[0].by, "ada");
    }

    #[test]
    fn the_first_decision_counts() {
        let mut first = action();
        apply(&mut first, reject(), "ada", NOW).unwrap();
        let late = apply(&mut first, approve(), "bob", NOW).unwrap_err();
        assert_eq!(late, Refused::Decided { state: ActionState::Rejected, by: "ada".into() });
        assert_eq!(first.state, ActionState::Rejected);
        assert_eq!(first.history.len(), 1);
        assert!(apply(&mut first, Change::Begin, "agent", NOW).is_err());
    }

    #[test]
    fn a_decision_is_bound_to_the_plan() {
        let mut action = action();
        let other = Change::Approve { plan_hash: "bb".into() };
        assert_eq!(apply(&mut action, other, "ada", NOW), Err(Refused::OtherPlan));
        assert_eq!(action.state, ActionState::Pending);
    }

    #[test]
    fn it_expires_by_the_clock_or_when_somebody_is_late() {
        let mut by_clock = action();
        assert!(!apply(&mut by_clock, Change::Tick, "", NOW.plus(EXPIRY - Duration::from_millis(1))).unwrap());
        assert!(apply(&mut by_clock, Change::Tick, "", NOW.plus(EXPIRY)).unwrap());
        assert_eq!(by_clock.state, ActionState::Expired);
        let mut late = action();
        assert!(matches!(apply(&mut late, approve(), "ada", NOW.plus(EXPIRY)), Err(Refused::Expired(_))));
        assert_eq!(late.state, ActionState::Expired);
        // Approved, and never begun.
        let mut waits = action();
        apply(&mut waits, approve(), "ada", NOW).unwrap();
        assert!(apply(&mut waits, Change::Begin, "agent", NOW.plus(EXPIRY)).is_err());
        assert_eq!(waits.state, ActionState::Expired);
    }

    #[test]
    fn one_that_was_interrupted_is_never_run_again() {
        let mut action = action();
        assert!(!apply(&mut action, Change::Interrupted, "agent", NOW).unwrap(), "it did not run");
        apply(&mut action, approve(), "ada", NOW).unwrap();
        apply(&mut action, Change::Begin, "agent", NOW).unwrap();
        assert!(!apply(&mut action, Change::Tick, "", NOW.plus(EXPIRY * 9)).unwrap(), "what runs does not expire");
        apply(&mut action, Change::Interrupted, "agent", NOW).unwrap();
        assert_eq!(action.state, ActionState::Failed);
        assert!(action.result.as_ref().unwrap().outcome_unknown);
        assert_eq!(apply(&mut action, Change::Begin, "agent", NOW), Err(Refused::State(ActionState::Failed)));
    }

    fn change() -> impl Strategy<Value = Change> {
        let result = || {
            any::<bool>().prop_map(|fails| ActionResult {
                error: if fails { "no".into() } else { String::new() },
                ..ActionResult::default()
            })
        };
        prop_oneof![
            "[ab]{2}".prop_map(|plan_hash| Change::Approve { plan_hash }),
            "[ab]{2}".prop_map(|plan_hash| Change::Reject { plan_hash, reason: String::new() }),
            Just(Change::Begin),
            result().prop_map(Change::Finish),
            result().prop_map(Change::Fail),
            Just(Change::Cancel { reason: String::new() }),
            Just(Change::Interrupted),
            Just(Change::Tick),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_it_runs_once_after_an_approval_and_what_is_over_stays(
            changes in prop::collection::vec((change(), 0_u64..200_000), 0..40)
        ) {
            let (mut action, mut now) = (action(), NOW);
            for (change, millis) in changes {
                now = now.plus(Duration::from_millis(millis));
                let before = action.clone();
                let changed = apply(&mut action, change, "x", now);
                if before.state.is_over() {
                    prop_assert_eq!(&action, &before);
                }
                if action != before {
                    prop_assert_eq!(action.history.len(), before.history.len() + 1);
                    prop_assert_eq!(action.state, action.history.last().unwrap().to);
                } else {
                    prop_assert_ne!(changed, Ok(true));
                }
            }
            let runs = action.history.iter().filter(|step| step.to == ActionState::Running).count();
            prop_assert!(runs <= 1);
            if runs == 1 {
                prop_assert_eq!(action.history[0].to, ActionState::Approved);
            }
        }
    }
}
