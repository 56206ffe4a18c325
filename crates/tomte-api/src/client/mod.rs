//! A typed client for the API: of a hub over TCP or TLS, or of a hub or an
//! agent over its Unix socket.
//!
//! [`Client`] holds where and as whom to ask, keeps one connection open for the
//! next request, and has a method per route (in `calls`). It retries nothing
//! but a request that found its kept connection closed: when to try again is
//! the caller's to know. [`Client::live`] opens the live stream.

mod calls;
mod connection;
mod error;
mod filter;
mod live;
mod tls;
mod url;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

pub use error::ClientError;
pub use filter::{EventFilter, ResourceFilter};
pub use live::LiveStream;
pub use tls::Trust;
pub use url::{Endpoint, path_segment};

use crate::store::{Progress, Step};
use connection::Connection;

/// How long a request may take as a whole.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a hub at long work may say nothing.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// How large an answer may be. The hub bounds its answers well below this.
const ANSWER_LIMIT: usize = 256 * 1024 * 1024;

/// The proof of who asks, and where it was found, so that a refusal can say
/// which token to look at.
#[derive(Clone)]
pub struct Credentials {
    token: String,
    origin: String,
}

impl Credentials {
    /// A bearer token and its origin in words: `the environment variable TOMTE_TOKEN`.
    pub fn new(token: impl Into<String>, origin: impl Into<String>) -> Self {
        Self { token: token.into(), origin: origin.into() }
    }

    /// The token in a file; blanks and line ends around it do not count.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no token.
    pub fn from_file(path: &Path) -> Result<Self, ClientError> {
        let unreadable = |source| ClientError::TokenFile { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let token = text.trim();
        if token.is_empty() {
            return Err(unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, "the file is empty")));
        }
        Ok(Self::new(token, format!("the file {}", path.display())))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Asks one hub (or one agent) for things.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    credentials: Option<Credentials>,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// Under which name the server's certificate is checked, where that is not
    /// the name in the address.
    tls_name: Option<rustls::pki_types::ServerName<'static>>,
    /// A connection that is free for the next request.
    kept: Mutex<Option<Connection>>,
}

impl Client {
    /// A client of what answers at `endpoint`. Nothing is connected yet.
    ///
    /// # Errors
    /// When what is to be trusted cannot be read.
    pub fn new(endpoint: Endpoint, credentials: Option<Credentials>, trust: &Trust) -> Result<Self, ClientError> {
        let (tls, tls_name) = if endpoint.is_tls() {
            let (config, name) = tls::config(trust)?;
            (Some(Arc::new(config)), name)
        } else {
            (None, None)
        };
        Ok(Self { endpoint, credentials, tls, tls_name, kept: Mutex::new(None) })
    }

    /// A client of what listens on a Unix socket: a hub's `hub.sock`, an agent's
    /// `agent.sock`.
    #[must_use]
    pub fn unix(socket: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: Endpoint::Unix(socket.into()),
            credentials: None,
            tls: None,
            tls_name: None,
            kept: Mutex::new(None),
        }
    }

    /// Where it asks.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Closes the connection that is kept for the next request: it may lead
    /// nowhere any more.
    pub async fn hang_up(&self) {
        self.kept.lock().await.take();
    }

    /// Asks with GET; the answer is JSON.
    async fn get<T: DeserializeOwned>(&self, path: &str, pairs: &[(&str, String)]) -> Result<T, ClientError> {
        self.call(Method::GET, &url::with_query(path, pairs), None::<&()>).await
    }

    /// Asks, with a JSON body if there is one; the answer is JSON.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let answer = self.send(method, target, body).await?;
        serde_json::from_slice(&answer)
            .map_err(|source| ClientError::Answer { endpoint: self.endpoint.to_string(), source })
    }

    /// Asks, and expects nothing in return but success.
    async fn command(&self, method: Method, target: &str, body: Option<&impl Serialize>) -> Result<(), ClientError> {
        self.send(method, target, body).await.map(drop)
    }

    /// Asks, and returns the body of a successful answer.
    async fn send(&self, method: Method, target: &str, body: Option<&impl Serialize>) -> Result<Bytes, ClientError> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map(Bytes::from).map_err(ClientError::Question)?,
            None => Bytes::new(),
        };
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, self.exchange(method, target, body)).await;
        let (status, body) = answer.map_err(|_| ClientError::Timeout { endpoint: self.endpoint.to_string() })??;
        if status.is_success() { Ok(body) } else { Err(self.refused(status, &body)) }
    }

    /// Has long work done: POST, and an answer of lines that say how far it
    /// has come. It may take as long as it takes, as long as lines come.
    async fn follow<T: DeserializeOwned>(
        &self,
        target: &str,
        body: Option<&impl Serialize>,
        mut progress: impl FnMut(Progress),
    ) -> Result<T, ClientError> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map(Bytes::from).map_err(ClientError::Question)?,
            None => Bytes::new(),
        };
        let late = |_| ClientError::Timeout { endpoint: self.endpoint.to_string() };
        let mut fresh = self.connect().await?;
        let request = self.request(&Method::POST, target, body)?;
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, fresh.send(request)).await.map_err(late)?;
        let response = answer.map_err(|error| self.broken(error))?;
        let status = response.status();
        if !status.is_success() {
            let (_, body) = self.finish(fresh, response).await?;
            return Err(self.refused(status, &body));
        }
        let mut body = response.into_body();
        let mut waiting: Vec<u8> = Vec::new();
        loop {
            let frame = tokio::time::timeout(SILENCE_TIMEOUT, body.frame()).await.map_err(late)?;
            let Some(frame) = frame else {
                return Err(ClientError::Unfinished { endpoint: self.endpoint.to_string() });
            };
            let frame = frame.map_err(|error| self.broken(error))?;
            waiting.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
            if waiting.len() > ANSWER_LIMIT {
                return Err(ClientError::TooLarge { limit: ANSWER_LIMIT });
            }
            while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = waiting.drain(..=end).collect();
                let step = serde_json::from_slice(&line)
                    .map_err(|source| ClientError::Answer { endpoint: self.endpoint.to_string(), source })?;
                match step {
                    Step::Progress(so_far) => progress(so_far),
                    Step::Done(done) => return Ok(done),
                    Step::Failed(problem) => return Err(ClientError::Refused(Box::new(problem))),
                }
            }
        }
    }

    async fn exchange(&self, method: Method, target: &str, body: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
        // A kept connection may have been closed by the other side meanwhile;
        // then, and only then, the request was not seen and is sent again.
        // Taken out in a statement of its own: a guard in the condition would
        // be held until the connection is to be put back.
        let kept = self.kept.lock().await.take();
        if let Some(mut kept) = kept
            && kept.is_open().await
        {
            match kept.send(self.request(&method, target, body.clone())?).await {
                Ok(response) => return self.finish(kept, response).await,
                Err(error) if error.is_canceled() || (method == Method::GET && !error.is_parse()) => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
        let mut fresh = self.connect().await?;
        let request = self.request(&method, target, body)?;
        let response = fresh.send(request).await.map_err(|error| self.broken(error))?;
        self.finish(fresh, response).await
    }

    async fn finish(
        &self,
        connection: Connection,
        response: http::Response<hyper::body::Incoming>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let status = response.status();
        let collected = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
        let body = collected.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => self.broken(*error),
            Err(error) if error.is::<LengthLimitError>() => ClientError::TooLarge { limit: ANSWER_LIMIT },
            Err(_) => ClientError::Timeout { endpoint: self.endpoint.to_string() },
        })?;
        *self.kept.lock().await = Some(connection);
        Ok((status, body.to_bytes()))
    }

    fn request(&self, method: &Method, target: &str, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.endpoint.path(target))
            .header(header::HOST, self.endpoint.authority())
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("tomte/", env!("CARGO_PKG_VERSION")));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(credentials) = &self.credentials {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", credentials.token));
        }
        request.body(Full::new(body)).map_err(|source| match &self.credentials {
            // The only part of a request that is not our own text is the token.
            Some(credentials) => ClientError::BadToken { origin: credentials.origin.clone() },
            None => ClientError::Request(source),
        })
    }

    async fn connect(&self) -> Result<Connection, ClientError> {
        Connection::open(connection::dial(&self.endpoint, self.tls.as_ref(), self.tls_name.as_ref()).await?)
            .await
            .map_err(|error| self.broken(error))
    }

    fn broken(&self, source: hyper::Error) -> ClientError {
        ClientError::Broken { endpoint: self.endpoint.to_string(), source }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let problem = serde_json::from_slice(body).unwrap_or_else(|_| {
            // A proxy in between, or something that is no hub at all.
            crate::Problem::new(status.as_u16(), "unexpected", status.canonical_reason().unwrap_or("unexpected answer"))
        });
        if status != StatusCode::UNAUTHORIZED {
            return ClientError::Refused(Box::new(problem));
        }
        let advice = match &self.credentials {
            Some(credentials) => format!("the token in {} is not (or no longer) valid", credentials.origin),
            None => "no token was given: set TOMTE_TOKEN or use --token-file".to_owned(),
        };
        ClientError::Unauthorised { endpoint: self.endpoint.to_string(), advice, problem: Box::new(problem) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn the_next_request_takes_the_connection_that_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("hub.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            for _ in 0..2 {
                assert!(stream.read(&mut buffer).await.unwrap() > 0, "closed instead of kept");
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let client = Client::unix(socket);
        for _ in 0..2 {
            client.health().await.unwrap();
        }
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_kept_connection_that_was_closed_meanwhile_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("hub.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (closed, was_closed) = tokio::sync::oneshot::channel();
        let server = tokio::spawn(async move {
            let mut closed = Some(closed);
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 4096];
                assert!(stream.read(&mut buffer).await.unwrap() > 0);
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";
                stream.write_all(answer.as_bytes()).await.unwrap();
                drop(stream);
                if let Some(closed) = closed.take() {
                    closed.send(()).unwrap();
                }
            }
        });
        let client = Client::unix(socket);
        client.health().await.unwrap();
        was_closed.await.unwrap();
        // The connection notices in a task of its own.
        while !client.kept.lock().await.as_ref().unwrap().is_closed() {
            tokio::task::yield_now().await;
        }
        // Not a GET: it is only sent again when it cannot have been seen.
        client.command(Method::POST, "/api/v1/logout", None::<&()>).await.unwrap();
        server.await.unwrap();
    }
}
