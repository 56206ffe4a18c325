//! Follows what Docker and Podman tell of their containers as it happens, so
//! that a crash shows within a second.
//!
//! Only that something happened is taken from an event; the collector then
//! looks for itself. An engine whose socket this user may not use is not
//! followed: its containers are looked at in the usual interval.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::workers::Change;

/// The collector that looks.
const COLLECTOR: &str = "container";
/// What comes at once is looked at once.
const GATHER: Duration = Duration::from_millis(200);
/// Between two looks there is at least this, however much happens.
const REST: Duration = Duration::from_millis(800);
/// An engine that is away is tried again after this long.
const AGAIN: Duration = Duration::from_secs(30);

/// What makes a container another one; not the many events of health checks
/// that pass.
const REQUEST: &str = "GET /events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B\
    %22create%22%2C%22start%22%2C%22die%22%2C%22died%22%2C%22oom%22%2C%22kill%22%2C%22stop%22%2C%22restart%22%2C\
    %22pause%22%2C%22unpause%22%2C%22rename%22%2C%22destroy%22%2C%22remove%22%2C%22health_status%22\
    %5D%7D HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Follows the engines at those sockets until cancelled.
pub async fn follow(sockets: Vec<PathBuf>, changes: mpsc::Sender<Change>, cancel: CancellationToken) {
    let mut following = JoinSet::new();
    for socket in sockets {
        following.spawn(follow_one(socket, changes.clone()));
    }
    cancel.cancelled().await;
}

async fn follow_one(socket: PathBuf, changes: mpsc::Sender<Change>) {
    loop {
        if let Err(error) = listen(&socket, &changes).await {
            debug!(%error, socket = %socket.display(), "an engine's events are not followed");
        }
        if changes.is_closed() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Listens until the engine goes away.
async fn listen(socket: &Path, changes: &mpsc::Sender<Change>) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(REQUEST.as_bytes()).await?;
    let mut buffer = [0; 4096];
    // The head of the answer comes when the engine listens; that it refuses is
    // found out by its closing the connection, or by silence.
    let first = stream.read(&mut buffer).await?;
    if !buffer[..first].starts_with(b"HTTP/1.1 200") {
        return Err(std::io::Error::other("the engine does not tell its events"));
    }
    let mut news = holds_event(&buffer[..first]);
    loop {
        if news {
            tokio::time::sleep(GATHER).await;
            if changes.send(Change::Refresh(vec![COLLECTOR.to_owned()])).await.is_err() {
                return Ok(());
            }
            tokio::time::sleep(REST).await;
        }
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            // Whatever comes now is an event, or a part of one.
            _ => news = true,
        }
    }
}

/// Whether something follows the head.
fn holds_event(answer: &[u8]) -> bool {
    answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").is_some_and(|at| answer.len() > at + 4)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn an_event_makes_the_collector_look_and_an_engine_that_comes_back_is_followed_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (changes, mut changed) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        tokio::time::pause();
        let following = tokio::spawn(follow(vec![path, folder.path().join("podman.sock")], changes, cancel.clone()));
        for _ in 0..2 {
            let (mut engine, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let length = engine.read(&mut asked).await.unwrap();
            let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
            assert!(asked.starts_with("GET /events?") && asked.contains("health_status"), "{asked}");
            engine.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
            engine.write_all(b"2\r\n{}\r\n").await.unwrap();
            assert!(matches!(changed.recv().await, Some(Change::Refresh(names)) if names == ["container"]));
            // It goes away, and is tried again after a while.
        }
        cancel.cancel();
        following.await.unwrap();
    }
}
