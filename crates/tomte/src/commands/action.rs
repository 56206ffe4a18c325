//! `tomte action`: what hosts were asked to do, shown and decided on.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::bail;
use comfy_table::Color;
use tomte_api::action::{self, Action, Decision};
use tomte_api::client::Client;
use tomte_model::{ActionState, Risk};

use super::{ago, now};
use crate::cli::ActionCommand;
use crate::output::{Format, Output, Text};

/// A host that is connected answers within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

pub(crate) async fn run(command: ActionCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        ActionCommand::List { host, all } => {
            let open = ["pending", "approved", "running"];
            let actions = client.actions(host.as_deref(), if all { &[] } else { &open }).await?;
            let rows = actions.iter().map(row).collect();
            output.list(&actions, &["id", "host", "state", "risk", "filed", "command"], rows)
        }
        ActionCommand::Show { id } => show(&find(&id, client).await?, output),
        ActionCommand::Approve { id, yes } => {
            let action = find(&id, client).await?;
            if !yes {
                confirm(&action, output)?;
            }
            decide(&action, true, String::new(), client, output).await
        }
        ActionCommand::Reject { id, reason } => {
            let action = find(&id, client).await?;
            decide(&action, false, reason, client, output).await
        }
    }
}

/// The one whose id begins like that.
async fn find(beginning: &str, client: &Client) -> anyhow::Result<Action> {
    let wanted = beginning.to_uppercase();
    if wanted.len() == 26 {
        return Ok(client.action(&wanted).await?);
    }
    action::find(client.actions(None, &[]).await?, beginning).map_err(anyhow::Error::msg)
}

fn confirm(action: &Action, output: Output) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked whether this is meant; add --yes");
    }
    for line in action::lines(action) {
        output.line(line)?;
    }
    anstream::eprint!("Approve? [y/N] ");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { bail!("nothing was approved") }
}

/// Decides, and waits for what the host says to it.
async fn decide(action: &Action, yes: bool, reason: String, client: &Client, output: Output) -> anyhow::Result<()> {
    let id = action.id.to_string();
    let decision = Decision { plan_hash: action.plan.hash.clone(), reason };
    let mut known = client.decide(&id, yes, &decision).await?;
    let answered = tokio::time::timeout(ANSWER_WITHIN, async {
        while known.state == ActionState::Pending {
            tokio::time::sleep(Duration::from_millis(100)).await;
            known = client.action(&id).await?;
        }
        anyhow::Ok(())
    });
    if let Ok(answered) = answered.await {
        answered?;
    }
    show(&known, output)?;
    if known.state == ActionState::Pending {
        bail!("the host has not answered yet; `tomte action show {id}` tells when it has");
    }
    Ok(())
}

fn row(action: &Action) -> Vec<Text> {
    let risk = Text::new(action.risk.as_str());
    let state = Text::new(action.state.as_str());
    vec![
        Text::new(action.id.to_string()),
        Text::new(action.host.clone().unwrap_or_else(|| "-".into())),
        match action.state {
            ActionState::Failed => state.coloured(Color::Red),
            ActionState::Pending => state.coloured(Color::Yellow),
            _ => state,
        },
        if action.risk == Risk::Dangerous { risk.coloured(Color::Red) } else { risk },
        ago(Some(action.created_at), now()),
        Text::new(format!("{} {}", action.target, action.arguments.join(" "))),
    ]
}

fn show(action: &Action, output: Output) -> anyhow::Result<()> {
    if output.format == Format::Json {
        return output.json(action);
    }
    action::lines(action).into_iter().try_for_each(|line| output.line(line))
}
