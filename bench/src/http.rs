//! One kept connection over which the same question is asked again and again.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A connection to a server.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    token: Option<String>,
}

impl Connection {
    /// Connects, as the bearer of a token or of none.
    pub(crate) async fn open(address: SocketAddr, token: Option<String>) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true).context("a socket's option")?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.context("speaking HTTP")?;
        tokio::spawn(connection);
        Ok(Self { sender, token })
    }

    /// Asks, and reads the whole answer.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// Sends something, and reads the whole answer.
    pub(crate) async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Bytes> {
        self.send(Method::POST, path, headers, body).await
    }

    async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Bytes> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).context("a request")?;
        let response = self.sender.send_request(request).await.with_context(|| format!("asking {path}"))?;
        let status = response.status();
        let body = response.into_body().collect().await.context("reading an answer")?.to_bytes();
        if !status.is_success() {
            bail!("{path} is answered {status}: {}", String::from_utf8_lossy(&body[..body.len().min(500)]));
        }
        Ok(body)
    }

    /// How long an answer takes: the shortest and the median of so many, after
    /// one that is not counted.
    pub(crate) async fn time(&mut self, path: &str, times: usize) -> Result<Timed> {
        let bytes = self.get(path).await?.len();
        let mut took = Vec::with_capacity(times);
        for _ in 0..times {
            let begun = Instant::now();
            self.get(path).await?;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        Ok(Timed { shortest: took[0], median: took[times / 2], bytes })
    }
}

/// How long a question takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timed {
    pub(crate) shortest: Duration,
    pub(crate) median: Duration,
    /// The length of the answer.
    pub(crate) bytes: usize,
}
