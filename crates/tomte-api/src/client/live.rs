//! The live stream, from the client's side.
//!
//! A hub that is gone without a word (its network is cut, it is stopped) is
//! noticed: who has been quiet is asked by a ping, and has to answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message as Frame};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::connection::{AnyStream, dial};
use super::{Client, ClientError};
use crate::live::{Message, Request as LiveRequest, Subscribe, Unsubscribe};

/// How large a message may be: a snapshot of a large fleet is one message.
const MESSAGE_LIMIT: usize = 64 * 1024 * 1024;
/// After so long without a byte the other side is asked whether it is there.
const QUIET: Duration = Duration::from_secs(2);
/// So long it may take to answer, or to take what is sent.
const ANSWER: Duration = Duration::from_secs(3);

/// An open live stream. When it ends or breaks, open another one: each
/// subscription starts with a snapshot, so nothing needs to be caught up.
#[derive(Debug)]
pub struct LiveStream {
    socket: WebSocketStream<Counted>,
    endpoint: String,
    /// How much had been read when it was last looked at, and when that was more
    /// than before.
    read: u64,
    heard: Instant,
    /// When the other side was asked whether it is there, since it was heard.
    asked: Option<Instant>,
}

/// A stream that counts what is read from it: a large message takes its time,
/// but bytes keep coming.
#[derive(Debug)]
struct Counted {
    inner: AnyStream,
    read: u64,
}

impl Client {
    /// Opens the live stream. Nothing is told until something is subscribed to.
    ///
    /// # Errors
    /// When the hub is not reachable or refuses.
    pub async fn live(&self) -> Result<LiveStream, ClientError> {
        let stream = dial(&self.endpoint, self.tls.as_ref(), self.tls_name.as_ref()).await?;
        let mut request = Request::get(format!(
            "{}://{}{}",
            if self.endpoint.is_tls() { "wss" } else { "ws" },
            self.endpoint.authority(),
            self.endpoint.path("/api/v1/live")
        ))
        .header("host", self.endpoint.authority())
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key());
        if let Some(credentials) = &self.credentials {
            request = request.header("authorization", format!("Bearer {}", credentials.token));
        }
        let request = request.body(()).map_err(ClientError::Request)?;
        let config =
            WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT)).max_frame_size(Some(MESSAGE_LIMIT));
        let stream = Counted { inner: stream, read: 0 };
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(LiveStream::new(socket, self.endpoint.to_string())),
            Err(SocketError::Http(response)) => {
                Err(self.refused(response.status(), response.body().as_deref().unwrap_or_default()))
            }
            Err(error) => Err(broken(&self.endpoint.to_string(), error)),
        }
    }
}

impl LiveStream {
    fn new(socket: WebSocketStream<Counted>, endpoint: String) -> Self {
        let read = socket.get_ref().read;
        Self { socket, endpoint, read, heard: Instant::now(), asked: None }
    }

    /// Watches something; replaces a subscription of the same id.
    ///
    /// # Errors
    /// When the stream is broken.
    pub async fn subscribe(&mut self, subscription: Subscribe) -> Result<(), ClientError> {
        self.send(&LiveRequest::Sub(subscription)).await
    }

    /// Watches something no longer.
    ///
    /// # Errors
    /// When the stream is broken.
    pub async fn unsubscribe(&mut self, id: impl Into<String>) -> Result<(), ClientError> {
        self.send(&LiveRequest::Unsub(Unsubscribe { id: id.into() })).await
    }

    /// The next message; `None` when the hub ended the stream. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    /// When the stream breaks, a message makes no sense, or the hub does not
    /// answer any more.
    pub async fn next(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            let due = self.asked.map_or(self.heard + QUIET, |asked| asked + ANSWER);
            let frame = tokio::select! {
                // What has come already counts, however late we are.
                biased;
                frame = self.socket.next() => frame,
                () = sleep_until(due) => {
                    self.doubt().await?;
                    continue;
                }
            };
            self.note();
            let frame = match frame {
                None | Some(Ok(Frame::Close(_)) | Err(SocketError::ConnectionClosed)) => return Ok(None),
                Some(frame) => frame.map_err(|error| broken(&self.endpoint, error))?,
            };
            // Pings are answered by the library.
            if let Frame::Text(text) = frame {
                let message = serde_json::from_str(&text);
                return message
                    .map(Some)
                    .map_err(|source| ClientError::Answer { endpoint: self.endpoint.clone(), source });
            }
        }
    }

    /// Whether anything came since this was asked last.
    fn note(&mut self) -> bool {
        let read = self.socket.get_ref().read;
        let more = read > self.read;
        if more {
            (self.read, self.heard, self.asked) = (read, Instant::now(), None);
        }
        more
    }

    /// Nothing came for a while: asks whether anybody is there, or gives up on an
    /// answer.
    async fn doubt(&mut self) -> Result<(), ClientError> {
        if self.note() {
            return Ok(());
        }
        if self.asked.is_some() {
            return Err(self.silent());
        }
        self.asked = Some(Instant::now());
        self.send_frame(Frame::Ping(bytes::Bytes::new())).await
    }

    fn silent(&self) -> ClientError {
        ClientError::Silent { endpoint: self.endpoint.clone() }
    }

    /// Ends the stream in good order.
    ///
    /// # Errors
    /// When the stream is broken already.
    pub async fn close(&mut self) -> Result<(), ClientError> {
        self.socket.close(None).await.map_err(|error| broken(&self.endpoint, error))
    }

    async fn send(&mut self, request: &LiveRequest) -> Result<(), ClientError> {
        self.send_frame(Frame::text(serde_json::to_string(request).map_err(ClientError::Question)?)).await
    }

    async fn send_frame(&mut self, frame: Frame) -> Result<(), ClientError> {
        match timeout(ANSWER, self.socket.send(frame)).await {
            Ok(sent) => sent.map_err(|error| broken(&self.endpoint, error)),
            Err(_) => Err(self.silent()),
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = self.inner.as_mut().poll_read(cx, buffer);
        self.read += (buffer.filled().len() - before) as u64;
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_shutdown(cx)
    }
}

fn broken(endpoint: &str, error: SocketError) -> ClientError {
    ClientError::Stream { endpoint: endpoint.to_owned(), source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{DuplexStream, duplex};
    use tokio::time::sleep;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;
    use crate::live::{Body, Delta};

    /// A stream, and the hub's end of it.
    async fn pair() -> (LiveStream, WebSocketStream<DuplexStream>) {
        let (near, far) = duplex(64 * 1024);
        let near = Counted { inner: Box::pin(near), read: 0 };
        let socket = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let hub = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        (LiveStream::new(socket, "the hub".to_owned()), hub)
    }

    fn told() -> Frame {
        let at = tomte_model::Timestamp::default();
        let delta = Delta { at, hosts: vec![], removed_hosts: vec![], resources: vec![], removed: vec![] };
        Frame::text(serde_json::to_string(&Message { id: "a".to_owned(), body: Body::Delta(delta) }).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_answers_may_be_quiet_for_as_long_as_it_likes() {
        let (mut stream, mut hub) = pair().await;
        let hub = tokio::spawn(async move {
            // Reading answers pings.
            let quiet = async { while hub.next().await.is_some() {} };
            drop(timeout(Duration::from_secs(3_600), quiet).await);
            hub.send(told()).await.unwrap();
            hub
        });
        assert_eq!(stream.next().await.unwrap().unwrap().id, "a");
        drop(hub.await.unwrap());
        assert!(stream.next().await.is_err_and(|error| !matches!(error, ClientError::Silent { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_is_gone_without_a_word_is_noticed_within_seconds() {
        let (mut stream, mut hub) = pair().await;
        hub.send(told()).await.unwrap();
        let begun = Instant::now();
        assert!(stream.next().await.unwrap().is_some());
        let error = stream.next().await.unwrap_err();
        assert!(matches!(error, ClientError::Silent { .. }), "{error}");
        assert_eq!(begun.elapsed(), QUIET + ANSWER);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_still_come_are_a_sign_of_life() {
        let (mut stream, hub) = pair().await;
        let mut hub = hub.into_inner();
        let Frame::Text(text) = told() else { panic!("a text") };
        let hub = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            // One frame of text, byte by byte, and no answer to any ping.
            let length = u8::try_from(text.len()).unwrap();
            for byte in [0x81, length].into_iter().chain(text.bytes()) {
                sleep(QUIET + Duration::from_secs(1)).await;
                hub.write_all(&[byte]).await.unwrap();
            }
            hub
        });
        assert_eq!(stream.next().await.unwrap().unwrap().id, "a");
        drop(hub.await.unwrap());
    }
}
