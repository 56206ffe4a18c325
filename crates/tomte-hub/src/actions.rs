//! Actions: what hosts were asked to do, as their agents tell it, and what is
//! decided on it here.
//!
//! The agent of the host has the last word. What is kept here is what it said;
//! a decision is sent to it, and counts when it says so.

use std::sync::Arc;

use tomte_model::{Action, ActionId, ActionState, HostId, Risk};

use crate::access::{Caller, Forbidden};
use crate::hub::blocking;
use crate::sources::link::{Command, Decision};
use crate::{Hub, HubError};

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The role does not allow it.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Something else.
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl Hub {
    /// Keeps an Action as the agent of its host tells it. Blocks.
    pub(crate) fn take_action(&self, agent: HostId, action: &Action) {
        if action.host != agent {
            tracing::warn!(host = %agent, "an agent told of another host's action; it was not taken");
            return;
        }
        if let Err(error) = self.store.state.put_action(action) {
            // It is told again with the agent's next connection.
            tracing::warn!(%error, host = %agent, action = %action.id, "an action could not be kept");
        }
    }

    /// Approves or rejects an Action, if the plan is the one that was seen:
    /// an operator; an admin, where it is dangerous. It is on its way to the
    /// agent then, which has the last word.
    ///
    /// # Errors
    /// When the role does not allow it, somebody was faster, or the agent is
    /// not connected.
    pub async fn decide_action(
        self: &Arc<Self>,
        by: &Caller,
        id: ActionId,
        yes: bool,
        plan_hash: String,
        reason: String,
    ) -> Result<Action, DecideError> {
        let missing = || HubError::NotFound { what: "action", name: id.to_string() };
        let right = by.operator()?;
        let action = self.read(move |store| store.state.action(id)).await?.ok_or_else(missing)?;
        let word = if yes { "action.approve" } else { "action.reject" };
        if action.risk == Risk::Dangerous
            && let Err(forbidden) = by.admin()
        {
            let details = [("action".to_owned(), id.to_string())].into();
            self.audit(right.actor(), word, &action.target, "refused: it is dangerous, so an admin decides", details)
                .await?;
            return Err(forbidden.into());
        }
        let name = right.actor().name.clone();
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
        let decided = action.clone();
        self.change(right.actor(), word, move |hub, line| {
            let known = hub.known(action.host, line)?;
            let host = known.lock().record.name.to_string();
            line.target = format!("{host}/{}", action.target);
            line.details.insert("action".to_owned(), id.to_string());
            line.details.insert("plan".to_owned(), plan_hash.clone());
            if action.state != ActionState::Pending {
                return Err(HubError::Conflict(format!("it is {} already, by {}", action.state, action.by())));
            }
            if action.plan.hash != plan_hash {
                return Err(HubError::Conflict("the plan is not the one that was shown; look at it again".to_owned()));
            }
            let decision = Decision { id, approve: yes, plan_hash, by: name, reason };
            if hub.links.send(action.host, Command::Decide(decision)) {
                Ok(())
            } else {
                Err(HubError::NotConnected(host))
            }
        })
        .await?;
        Ok(decided)
    }

    /// Keeps an Action off the async threads.
    pub(crate) async fn action_told(self: &Arc<Self>, agent: HostId, action: Action) {
        let hub = Arc::clone(self);
        let _ = blocking(move || {
            hub.take_action(agent, &action);
            Ok(())
        })
        .await;
    }
}
