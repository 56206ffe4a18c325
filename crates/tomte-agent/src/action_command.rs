//! `tomte-agent action`: what this host was asked to do, shown and decided on
//! where there is no hub. It speaks to the running agent over its local
//! socket; a decision is taken from root alone.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tomte_api::action::{self, Action, Decision};
use tomte_api::{Page, Problem};

/// No answer is longer.
const MOST: usize = 4 << 20;

/// The agent's socket, asked.
#[derive(Debug)]
pub(crate) struct LocalAgent<'a>(pub(crate) &'a Path);

impl LocalAgent<'_> {
    async fn ask<T: DeserializeOwned>(&self, path: &str, body: Option<Vec<u8>>) -> anyhow::Result<T> {
        let place = self.0.display();
        let stream = UnixStream::connect(self.0)
            .await
            .with_context(|| format!("no agent answers at {place}; does it run, and may this user open its socket?"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let method = if body.is_some() { "POST" } else { "GET" };
        let request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())))?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
            if status.is_success() {
                return Ok(serde_json::from_slice(&body)?);
            }
            match serde_json::from_slice::<Problem>(&body) {
                Ok(problem) => bail!("{problem}"),
                Err(_) => bail!("the agent at {place} answers with HTTP status {status}"),
            }
        };
        tokio::select! {
            answer = answer => answer,
            ended = connection => {
                ended.with_context(|| format!("speaking to {place}"))?;
                bail!("the agent at {place} hung up")
            }
        }
    }

    /// All Actions, newest first.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub(crate) async fn actions(&self, all: bool) -> anyhow::Result<Vec<Action>> {
        let query = if all { "" } else { "?state=pending,approved,running" };
        Ok(self.ask::<Page<Action>>(&format!("/api/v1/actions{query}"), None).await?.items)
    }

    /// The one whose id begins like that.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub(crate) async fn action(&self, beginning: &str) -> anyhow::Result<Action> {
        action::find(self.actions(true).await?, beginning).map_err(anyhow::Error::msg)
    }

    /// Approves or rejects what was shown.
    ///
    /// # Errors
    /// When the agent does not take it.
    pub(crate) async fn decide(&self, action: &Action, yes: bool, reason: String) -> anyhow::Result<Action> {
        let decision = Decision { plan_hash: action.plan.hash.clone(), reason };
        let verb = if yes { "approve" } else { "reject" };
        self.ask(&format!("/api/v1/actions/{}/{verb}", action.id), Some(serde_json::to_vec(&decision)?)).await
    }
}

/// Asks on the terminal whether the plan that is shown is meant.
///
/// # Errors
/// When nobody can be asked, or the answer is no.
pub(crate) fn confirm(action: &Action, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        bail!("nobody can be asked whether this is meant; add --yes");
    }
    let mut out = io::stderr().lock();
    write!(out, "{}Approve? [y/N] ", shown(action))?;
    out.flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { bail!("nothing was approved") }
}

/// One line each.
#[must_use]
pub(crate) fn table(actions: &[Action]) -> String {
    if actions.is_empty() {
        return "Nothing waits or runs.\n".to_owned();
    }
    let rows: Vec<[String; 5]> = actions
        .iter()
        .map(|action| {
            [
                action.id.to_string(),
                action.state.to_string(),
                action.risk.to_string(),
                plain(&action.created_at.to_string()),
                plain(&format!("{} {}", action.target, action.arguments.join(" "))),
            ]
        })
        .collect();
    let mut text = format!("{:26}  {:9}  {:9}  {:24}  COMMAND\n", "ID", "STATE", "RISK", "FILED");
    for [id, state, risk, at, what] in rows {
        let _ = writeln!(text, "{id}  {state:9}  {risk:9}  {at:24}  {}", what.trim_end());
    }
    text
}

/// All that there is to know of one.
#[must_use]
pub(crate) fn shown(action: &Action) -> String {
    action::lines(action).join("\n") + "\n"
}

/// Without what steers a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect()
}
