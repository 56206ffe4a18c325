//! The agent's side of the helper's socket.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::frame::{FrameError, read_answer, write_request};
use super::{Answer, Refusal, Request};

/// Longer than the helper takes for any request, waiting for its turn included.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the helper that listens there.
///
/// # Errors
/// When it does not listen, refuses, or breaks off.
pub fn ask(socket: &Path, request: &Request) -> Result<Answer, Refusal> {
    let place = socket.display();
    let stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Refusal::Denied {
            error: format!("only root may ask for this, and the helper does not listen at {place}"),
            cure: "systemctl enable --now tomte-agent-helper.socket".to_owned(),
        },
        io::ErrorKind::PermissionDenied => Refusal::Denied {
            error: format!("{place} does not let this user in: {error}"),
            cure: "Run the agent as the user and group that tomte-agent-helper.socket names.".to_owned(),
        },
        _ => Refusal::Failed(format!("{place} cannot be reached: {error}")),
    })?;
    let broke = |error: FrameError| {
        let source = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
        Refusal::Failed(format!("the helper at {place}: {error}{source}"))
    };
    let patience = Some(PATIENCE);
    stream
        .set_read_timeout(patience)
        .and_then(|()| stream.set_write_timeout(patience))
        .map_err(|error| broke(error.into()))?;
    write_request(&stream, request).map_err(broke)?;
    read_answer(&stream).map_err(broke)?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn without_a_helper_there_is_a_cure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("helper.sock");
        let denied = |answer| matches!(answer, Err(Refusal::Denied { cure, .. }) if cure.contains("helper.socket"));
        assert!(denied(ask(&path, &Request::SmartScan)));
        drop(UnixListener::bind(&path).unwrap());
        assert!(denied(ask(&path, &Request::SmartScan)), "left behind by one that has ended");
    }

    #[test]
    fn one_that_breaks_off_has_failed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("helper.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let helper = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let answer = ask(&path, &Request::SmartScan);
        assert!(matches!(&answer, Err(Refusal::Failed(error)) if error.contains("broke")), "{answer:?}");
        helper.join().unwrap();
    }
}
