//! Actions: changes that somebody asks for, and what is decided on them.

use serde::{Deserialize, Serialize};
use tomte_model::{ActionId, ActionState, HostId, Risk, Timestamp};

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = ActionPlan))]
pub struct Plan {
    /// In words, a few lines.
    pub text: String,
    /// SHA-256 of all that it says, in hexadecimal digits; a decision names it.
    pub hash: String,
}

/// One step of an Action's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = ActionStep))]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// The state that it came to.
    pub to: ActionState,
    /// Who did it.
    pub by: String,
    /// Why, where there is something to say.
    pub reason: String,
}

/// What came of running it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = ActionResult))]
pub struct Outcome {
    /// The exit status; null when a signal ended it or it did not start.
    pub exit_code: Option<i32>,
    /// What it printed, as far as it is kept.
    pub output: String,
    /// Whether it printed more than is kept.
    pub truncated: bool,
    /// How long it ran, in seconds.
    pub duration_seconds: f64,
    /// Why it failed, in words; empty when it did not.
    pub error: String,
    /// Whether nobody knows what it did: it was interrupted while it ran.
    pub outcome_unknown: bool,
}

/// A requested change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Action {
    /// Its identity.
    pub id: ActionId,
    /// The host that is changed, by name; null when it is gone.
    pub host: Option<String>,
    /// The host that is changed.
    pub host_id: HostId,
    /// What kind of change: `command`.
    pub kind: String,
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
    /// When something last happened to it.
    pub updated_at: Timestamp,
    /// When it is too late to decide, or to begin.
    pub expires_at: Timestamp,
    /// How it came to where it is, oldest first.
    pub history: Vec<Step>,
    /// What came of it, once it is over.
    pub result: Option<Outcome>,
}

impl Action {
    /// The API's view of an Action.
    #[must_use]
    pub fn of(action: &tomte_model::Action, host: Option<String>) -> Self {
        let step = |step: &tomte_model::Step| Step {
            at: step.at,
            to: step.to,
            by: step.by.clone(),
            reason: step.reason.clone(),
        };
        let outcome = |result: &tomte_model::ActionResult| Outcome {
            exit_code: result.exit_code,
            output: result.output.clone(),
            truncated: result.truncated,
            duration_seconds: result.duration_millis as f64 / 1_000.0,
            error: result.error.clone(),
            outcome_unknown: result.outcome_unknown,
        };
        Self {
            id: action.id,
            host,
            host_id: action.host,
            kind: action.kind.clone().into_owned(),
            target: action.target.clone(),
            arguments: action.arguments.clone(),
            plan: Plan { text: action.plan.text.clone(), hash: action.plan.hash.clone() },
            risk: action.risk,
            state: action.state,
            via: action.via.clone(),
            request_id: action.request_id.clone(),
            created_at: action.created_at,
            updated_at: action.updated_at(),
            expires_at: action.expires_at,
            history: action.history.iter().map(step).collect(),
            result: action.result.as_ref().map(outcome),
        }
    }
}

/// All that there is to know of one, for people at a terminal: a line each,
/// without anything that steers it.
#[must_use]
pub fn lines(action: &Action) -> Vec<String> {
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let mut lines = Vec::new();
    let mut line = |key: &str, value: &str| lines.push(format!("{key:9} {}", plain(value)));
    line("action", &action.id.to_string());
    line("host", action.host.as_deref().unwrap_or("-"));
    line("state", action.state.as_str());
    for (place, words) in action.plan.text.lines().enumerate() {
        line(if place == 0 { "plan" } else { "" }, words);
    }
    line("asked by", &format!("{} ({})", action.via, action.request_id));
    line("expires", &action.expires_at.to_string());
    for step in &action.history {
        let reason = if step.reason.is_empty() { String::new() } else { format!(": {}", step.reason) };
        line("", &format!("{} {} by {}{reason}", step.at, step.to, step.by));
    }
    if let Some(result) = &action.result {
        let code = result.exit_code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        line("exit code", &format!("{code}, after {:.3} s", result.duration_seconds));
        for (place, words) in result.output.lines().enumerate() {
            line(if place == 0 { "output" } else { "" }, words);
        }
        if result.truncated {
            line("", "(there was more)");
        }
    }
    lines
}

/// The one whose id begins like that, in either case.
///
/// # Errors
/// In words, when there is none or more than one.
pub fn find(mut actions: Vec<Action>, beginning: &str) -> Result<Action, String> {
    let wanted = beginning.to_uppercase();
    actions.retain(|action| action.id.to_string().starts_with(&wanted));
    match actions.len() {
        1 => Ok(actions.remove(0)),
        0 => Err(format!("there is no action {beginning}; `action list --all` shows them all")),
        more => Err(format!("{more} actions begin with {beginning}; write more of the id")),
    }
}

/// A yes or a no to a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The hash of the plan that was seen.
    pub plan_hash: String,
    /// Why, if there is something to say; for a no.
    #[serde(default)]
    pub reason: String,
}
