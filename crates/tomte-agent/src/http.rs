//! One HTTP request to the hub, for enrolment and `doctor`. The link itself is
//! a WebSocket; see [`crate::connect`].

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::header::{CONTENT_TYPE, DATE, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;

use crate::connect::{ConnectError, Endpoint};

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(20);
/// No answer that matters here is longer.
const MOST: usize = 64 * 1024;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection works, and what comes over it is no HTTP.
    #[error("{authority} does not answer as a web server does")]
    Protocol {
        /// Where.
        authority: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{authority} does not answer")]
    TimedOut {
        /// Where.
        authority: String,
    },
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The other side's clock, as it says.
    pub date: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Asks once. With a body it is a POST of JSON.
///
/// # Errors
/// When there is no answer; a refusal is an answer.
pub async fn ask(endpoint: &Endpoint, path: &str, json: Option<Vec<u8>>) -> Result<Answer, HttpError> {
    let authority = endpoint.url().authority();
    let exchange = async {
        let stream = endpoint.stream().await?;
        let protocol = |source: Box<dyn std::error::Error + Send + Sync>| HttpError::Protocol {
            authority: authority.clone(),
            source,
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| protocol(error.into()))?;
        let mut request = Request::builder()
            .uri(format!("{}{path}", endpoint.url().prefix))
            .header(HOST, &authority)
            .header(USER_AGENT, concat!("tomte-agent/", env!("CARGO_PKG_VERSION")));
        if json.is_some() {
            request = request.method("POST").header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(json.unwrap_or_default()));
        let request = request.body(body).map_err(|error| protocol(error.into()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| protocol(error.into()))?;
            let date = response.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MOST).collect().await.map_err(protocol)?.to_bytes();
            Ok(Answer { status, date, body })
        };
        // The connection has to be driven while the answer is waited for.
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            // It ended: the answer is complete, or never will be.
            _ = &mut connection => answer.await,
        }
    };
    tokio::time::timeout(WITHIN, exchange)
        .await
        .unwrap_or_else(|_| Err(HttpError::TimedOut { authority: authority.clone() }))
}
