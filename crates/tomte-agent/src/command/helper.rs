//! `tomte-agent helper --commands`: runs, as the user that it names, an entry
//! of the host's root-owned list, and nothing else.
//!
//! systemd starts it when the agent asks; it reads the list itself, holds the
//! arguments against it, and compares what it would run with what was
//! approved. It outlives the agent: what has begun is finished, also when
//! nobody waits for the answer any more.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tomte_collect::Refusal;
use tracing::{info, warn};

use super::file::Commands;
use super::run::run;
use super::wire::{Answer, MOST_REQUEST, Run, framed, length, understood};
use crate::helper::{Allowed, serve_each};
use crate::link::with_causes;

/// How long nobody must have asked before it ends.
pub(crate) const IDLE: Duration = Duration::from_secs(60);
/// How many run at once; more are turned away.
const AT_ONCE: usize = 8;

/// Serves a socket.
#[derive(Debug, Clone)]
pub struct CommandHelper {
    file: PathBuf,
    allowed: Allowed,
    busy: Arc<AtomicUsize>,
}

impl CommandHelper {
    /// One that runs what that list allows, for that user and root.
    #[must_use]
    pub fn new(file: PathBuf, allowed: Allowed) -> Self {
        Self { file, allowed, busy: Arc::default() }
    }

    /// Serves until nobody has asked for so long.
    ///
    /// # Errors
    /// When the socket breaks.
    pub fn serve(&self, listener: &UnixListener, idle: Option<Duration>) -> anyhow::Result<()> {
        let helper = self.clone();
        serve_each(listener, idle, &self.busy, move |stream| helper.answer(stream))
    }

    fn answer(&self, mut stream: &UnixStream) -> anyhow::Result<()> {
        if let Err(denied) = self.allowed.check(stream)? {
            let refused = anyhow!("{denied}");
            stream.write_all(&framed(&Answer::Refused(denied)))?;
            return Err(refused);
        }
        let request = match read(stream) {
            Ok(request) => request,
            Err(error) => {
                let refusal = Refusal::Invalid(format!("{error:#}"));
                // It is told so, where it still listens.
                let _ = stream.write_all(&framed(&Answer::Refused(refusal)));
                return Err(error).context("a request was not understood");
            }
        };
        let answer = if self.busy.load(Ordering::Acquire) > AT_ONCE {
            Answer::Refused(Refusal::Failed(format!("the helper runs {AT_ONCE} other commands")))
        } else {
            self.run(&request)
        };
        match &answer {
            Answer::Ran(result) => info!(
                trigger = request.trigger,
                exit_code = result.exit_code,
                millis = result.duration_millis,
                "a command was run"
            ),
            Answer::Refused(refusal) => warn!(trigger = request.trigger, %refusal, "a command was not run"),
        }
        stream.write_all(&framed(&answer)).context("nobody waits for the answer")
    }

    fn run(&self, request: &Run) -> Answer {
        match self.try_run(request) {
            Ok(answer) => answer,
            Err(error) => Answer::Refused(Refusal::Failed(format!("{error:#}"))),
        }
    }

    fn try_run(&self, request: &Run) -> anyhow::Result<Answer> {
        let place = self.file.display();
        let invalid = |why: String| Ok(Answer::Refused(Refusal::Invalid(why)));
        let commands = match Commands::load(&self.file) {
            Ok(Some(commands)) => commands,
            Ok(None) => return invalid(format!("there is no {place}, so this host allows no commands")),
            Err(error) => bail!("{}", with_causes(&error)),
        };
        let (command, allowed) = match commands.allowed(request.host, &request.trigger, &request.arguments) {
            Ok(allowed) => allowed,
            Err(error) => return invalid(error.to_string()),
        };
        if allowed.plan.hash != request.plan_hash {
            return invalid(format!("{place} says otherwise now than when this was approved"));
        }
        run(&allowed.argv, &command.user, command.limit, command.output).map(Answer::Ran)
    }
}

fn read(mut stream: &UnixStream) -> anyhow::Result<Run> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).context("the connection broke")?;
    let length = length(head, MOST_REQUEST).context("a request is too long")?;
    let mut text = vec![0; length];
    stream.read_exact(&mut text).context("the connection broke")?;
    understood(&text).context("a request is not understood")
}

/// Runs until nobody asks any more (started by systemd) or for ever (by hand).
///
/// # Errors
/// When there is nothing to listen on.
pub fn serve(file: &Path, listener: &UnixListener, idle: Option<Duration>, allowed: Allowed) -> anyhow::Result<()> {
    info!("commands of {} are run when they are asked for", file.display());
    CommandHelper::new(file.to_owned(), allowed).serve(listener, idle)
}

#[cfg(test)]
#[path = "helper_tests.rs"]
mod tests;
