//! The agent's side of the socket of the helper that runs commands.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tomte_collect::Refusal;
use tomte_model::ActionResult;

use super::wire::{Answer, MOST_ANSWER, Run, framed, length, understood};

/// The helper keeps to the command's limit; this much longer it is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotRun {
    /// Nothing has happened.
    Refused(Refusal),
    /// The helper broke off after it was asked: nobody knows what happened.
    Unknown(String),
}

/// Asks the helper that listens there to run something that takes at most that
/// long.
///
/// # Errors
/// When there is no result.
pub async fn run(socket: &Path, request: &Run, limit: Duration) -> Result<ActionResult, NotRun> {
    let place = socket.display();
    let mut stream = UnixStream::connect(socket).await.map_err(|error| {
        NotRun::Refused(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Refusal::Denied {
                error: format!("the helper that runs commands does not listen at {place}"),
                cure: "systemctl enable --now tomte-agent-commands.socket".to_owned(),
            },
            io::ErrorKind::PermissionDenied => Refusal::Denied {
                error: format!("{place} does not let this user in"),
                cure: "Run the agent as the user and group that tomte-agent-commands.socket names.".to_owned(),
            },
            _ => Refusal::Failed(format!("{place} cannot be reached: {error}")),
        })
    })?;
    let exchange = async {
        stream.write_all(&framed(request)).await?;
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let length = length(head, MOST_ANSWER).ok_or_else(|| io::Error::other("its answer is too long"))?;
        let mut text = vec![0; length];
        stream.read_exact(&mut text).await?;
        understood::<Answer>(&text).map_err(io::Error::from)
    };
    match tokio::time::timeout(limit + PATIENCE, exchange).await {
        Ok(Ok(Answer::Ran(result))) => Ok(result),
        Ok(Ok(Answer::Refused(refusal))) => Err(NotRun::Refused(refusal)),
        Ok(Err(error)) => Err(NotRun::Unknown(format!("the helper at {place} broke off: {error}"))),
        Err(_) => Err(NotRun::Unknown(format!("the helper at {place} does not answer"))),
    }
}
