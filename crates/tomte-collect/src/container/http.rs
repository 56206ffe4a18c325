//! One GET over a Unix socket: as much of HTTP/1.1 (RFC 9112) as the engines
//! speak. Only paths that [`super::Ask`] makes are ever asked for.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tomte_model::Outcome;

use crate::privileged::Refusal;

/// More than this no answer has that matters: 2,000 containers are some 4 MiB.
const MOST: usize = 16 << 20;
/// A head is shorter, unless somebody means harm.
const MOST_HEAD: usize = 32 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// There is no such socket: the engine is not installed, or stopped.
    #[error("{} is not there", .0.display())]
    Missing(PathBuf),
    /// Nobody listens on it.
    #[error("nobody listens on {}", .0.display())]
    Refused(PathBuf),
    /// The kernel does not let us.
    #[error("{} may not be used", .0.display())]
    Denied(PathBuf),
    /// The connection broke, or nothing came in time.
    #[error("the engine does not answer")]
    Io(#[from] io::Error),
    /// What came is not what was asked for.
    #[error("the engine's answer is not understood: {0}")]
    Bad(String),
    /// The engine says no.
    #[error("the engine answers with HTTP status {status}: {message}")]
    Status { status: u16, message: String },
    /// It was asked through the helper, and that says no.
    #[error(transparent)]
    Helper(#[from] Refusal),
}

impl AskError {
    /// What it means for a scope.
    pub(crate) fn outcome(&self) -> Outcome {
        let error = match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        };
        match self {
            Self::Missing(_) => Outcome::Unavailable { error },
            Self::Denied(path) => Outcome::Denied {
                error,
                cure: format!(
                    "Let the agent's user use it: setfacl -m u:tomte:rw {}; whoever may, can do to this engine's \
                     containers what they like. The sockets of Docker and of root's Podman are asked by the helper.",
                    path.display()
                ),
            },
            Self::Helper(refusal) => refusal.outcome(),
            Self::Refused(_) | Self::Io(_) | Self::Bad(_) | Self::Status { .. } => Outcome::Failed { error },
        }
    }

    /// Whether the engine answered and only this was refused.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Status { .. })
    }
}

/// Asks once; all of it must be over within that time.
pub(crate) fn get(socket: &Path, target: &str, within: Duration) -> Result<Vec<u8>, AskError> {
    let until = Instant::now() + within;
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => AskError::Missing(socket.to_owned()),
        io::ErrorKind::ConnectionRefused => AskError::Refused(socket.to_owned()),
        io::ErrorKind::PermissionDenied => AskError::Denied(socket.to_owned()),
        _ => error.into(),
    })?;
    stream.set_write_timeout(Some(within.max(Duration::from_millis(1))))?;
    // Closing tells where the answer ends, also to servers that do not say.
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(more) => answer.extend_from_slice(&chunk[..more]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if answer.len() > MOST {
            return Err(AskError::Bad("it is longer than 16 MiB".to_owned()));
        }
        // Some keep the connection open all the same.
        if is_complete(&answer) {
            break;
        }
    }
    body(&answer)
}

/// The head's length with its empty line, once it is all there.
fn head_length(answer: &[u8]) -> Option<usize> {
    let window = &answer[..answer.len().min(MOST_HEAD)];
    window.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn is_complete(answer: &[u8]) -> bool {
    let Some(length) = head_length(answer) else { return false };
    let Ok(head) = str::from_utf8(&answer[..length]) else { return true };
    if let Some(bytes) = header(head, "content-length").and_then(|text| text.parse::<usize>().ok()) {
        return answer.len() - length >= bytes;
    }
    header(head, "transfer-encoding").is_some() && answer.ends_with(b"0\r\n\r\n")
}

/// The body of a whole answer.
pub(crate) fn body(answer: &[u8]) -> Result<Vec<u8>, AskError> {
    let bad = |what: &str| AskError::Bad(what.to_owned());
    let length = head_length(answer).ok_or_else(|| bad("its head has no end"))?;
    let head = str::from_utf8(&answer[..length]).map_err(|_| bad("its head is not text"))?;
    let mut first = head.lines().next().unwrap_or_default().split(' ');
    let protocol = first.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let status = first.next().and_then(|word| word.parse::<u16>().ok());
    let Some(status) = status.filter(|_| protocol) else { return Err(bad("it is no HTTP")) };
    let rest = &answer[length..];
    let body = if header(head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        unchunk(rest).ok_or_else(|| bad("its chunks do not fit together"))?
    } else if let Some(bytes) = header(head, "content-length") {
        let bytes: usize = bytes.parse().map_err(|_| bad("its length is no number"))?;
        rest.get(..bytes).ok_or_else(|| bad("it ends too early"))?.to_vec()
    } else {
        rest.to_vec()
    };
    if status != 200 {
        #[derive(serde::Deserialize)]
        struct Refusal {
            message: String,
        }
        let told = serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.message).unwrap_or_default();
        return Err(AskError::Status { status, message: told.chars().take(200).collect() });
    }
    Ok(body)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.iter().take(64).position(|byte| *byte == b'\n')?;
        let line = str::from_utf8(&rest[..end]).ok()?.trim();
        let length = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[end + 1..];
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_ways_to_send_a_body_are_understood() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]more";
        assert_eq!(body(plain).unwrap(), b"[]");
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[1,2\r\n3;x=y\r\n,3]\r\n0\r\n\r\n";
        assert_eq!(body(chunked).unwrap(), b"[1,2,3]");
        assert!(is_complete(plain) && is_complete(chunked) && !is_complete(&plain[..plain.len() - 5]));
        assert_eq!(body(b"HTTP/1.0 200 OK\r\n\r\n{}").unwrap(), b"{}");
    }

    #[test]
    fn a_refusal_is_told_in_the_engine_s_words() {
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 35\r\n\r\n{\"message\":\"No such container: a\"} ";
        let error = body(answer).unwrap_err();
        assert!(error.to_string().ends_with("404: No such container: a") && error.is_answer(), "{error}");
        assert!(body(b"SSH-2.0-x\r\n\r\n\r\n").is_err());
        assert!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[]").is_err());
    }

    #[test]
    fn what_is_not_there_is_unavailable_and_what_is_closed_is_denied() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let ask = || get(&socket, "/version", Duration::from_secs(60)).unwrap_err();
        assert!(matches!(ask().outcome(), Outcome::Unavailable { .. }));
        // A socket file whose server has gone.
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(matches!(ask(), AskError::Refused(_)));
        let denied = AskError::Denied(socket).outcome();
        assert!(matches!(denied, Outcome::Denied { cure, .. } if cure.contains("docker.sock")));
    }

    #[test]
    fn an_engine_that_hangs_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = get(&socket, "/version", Duration::ZERO).unwrap_err();
        assert!(matches!(error.outcome(), Outcome::Failed { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(head in "HTTP/1.1 [0-9]{0,3}\r\n((Content-Length|Transfer-Encoding): (chunked|[0-9]{0,20})\r\n)?\r\n", data: Vec<u8>) {
            let _ = body(&[head.as_bytes(), &data].concat());
            let _ = body(&data);
            let _ = unchunk(&data);
        }
    }
}
