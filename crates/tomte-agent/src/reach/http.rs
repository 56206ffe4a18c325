//! A web page: its status, how long it took, what is in it, and until when
//! the server's certificate is good. Redirections are not followed.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::header::{HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tomte_collect::{CheckSettings, Place};

use super::{Found, connect, tls};

/// What is looked for must stand in the first so many bytes.
const MOST: usize = 1 << 20;

pub(super) async fn ask(check: &CheckSettings, place: &Place, trust: &tls::Trust) -> Found {
    let stream = match connect(place).await {
        Ok(stream) => stream,
        Err(error) => return Found::failed(error),
    };
    if !place.tls {
        return fetch(check, place, stream).await;
    }
    match trust.shake(check, place, stream).await {
        (Ok(stream), certificate_ends) => Found { certificate_ends, ..fetch(check, place, stream).await },
        (Err(error), certificate_ends) => Found { certificate_ends, ..Found::failed(error) },
    }
}

async fn fetch<S: AsyncRead + AsyncWrite + Unpin>(check: &CheckSettings, place: &Place, stream: S) -> Found {
    let exchange = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder()
            .uri(&place.path)
            .header(HOST, place.authority())
            .header(USER_AGENT, concat!("tomte-agent/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = match &check.expect {
                Some(_) => Limited::new(response.into_body(), MOST).collect().await?.to_bytes(),
                None => Bytes::new(),
            };
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, body))
        };
        // The connection has to be driven while the answer is waited for.
        let (mut connection, mut answer) = (std::pin::pin!(connection), std::pin::pin!(answer));
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    };
    let (status, body) = match exchange.await {
        Ok(answer) => answer,
        Err(error) => return Found::failed(error),
    };
    let good = check.status.map_or((200..400).contains(&status), |wanted| wanted == status);
    let holds = |text: &String| body.windows(text.len().max(1)).any(|part| part == text.as_bytes());
    let error = if !good {
        Some(format!("it answers with HTTP status {status}"))
    } else if check.expect.as_ref().is_some_and(|text| !text.is_empty() && !holds(text)) {
        Some("what is expected is not in its answer".to_owned())
    } else {
        None
    };
    Found { status: Some(status), error, ..Found::default() }
}
