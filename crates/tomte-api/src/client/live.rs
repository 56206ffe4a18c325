//! The live stream, from the client's side.

use futures_util::{SinkExt, StreamExt};
use http::Request;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message as Frame};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::connection::{AnyStream, dial};
use super::{Client, ClientError};
use crate::live::{Message, Request as LiveRequest, Subscribe, Unsubscribe};

/// How large a message may be: a snapshot of a large fleet is one message.
const MESSAGE_LIMIT: usize = 64 * 1024 * 1024;

/// An open live stream. When it ends or breaks, open another one: each
/// subscription starts with a snapshot, so nothing needs to be caught up.
#[derive(Debug)]
pub struct LiveStream {
    socket: WebSocketStream<AnyStream>,
    endpoint: String,
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
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(LiveStream { socket, endpoint: self.endpoint.to_string() }),
            Err(SocketError::Http(response)) => {
                Err(self.refused(response.status(), response.body().as_deref().unwrap_or_default()))
            }
            Err(error) => Err(broken(&self.endpoint.to_string(), error)),
        }
    }
}

impl LiveStream {
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
    /// When the stream breaks, or a message makes no sense.
    pub async fn next(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            let frame = match self.socket.next().await {
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

    /// Ends the stream in good order.
    ///
    /// # Errors
    /// When the stream is broken already.
    pub async fn close(&mut self) -> Result<(), ClientError> {
        self.socket.close(None).await.map_err(|error| broken(&self.endpoint, error))
    }

    async fn send(&mut self, request: &LiveRequest) -> Result<(), ClientError> {
        let text = serde_json::to_string(request).map_err(ClientError::Question)?;
        self.socket.send(Frame::text(text)).await.map_err(|error| broken(&self.endpoint, error))
    }
}

fn broken(endpoint: &str, error: SocketError) -> ClientError {
    ClientError::Stream { endpoint: endpoint.to_owned(), source: Box::new(error) }
}
