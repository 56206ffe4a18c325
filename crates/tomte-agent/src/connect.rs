//! From a hub's address to a connection: TCP, TLS, WebSocket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderValue, SEC_WEBSOCKET_PROTOCOL, USER_AGENT};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WsCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tomte_link::{CloseCode, MAX_MESSAGE, Receiver, SUBPROTOCOL, Sender, Transport, TransportError};

use crate::config::HubUrl;
use crate::tls::{self, Pin as HubPin, TlsError};

/// How long reaching the hub may take, each step.
const STEP: Duration = Duration::from_secs(15);
/// Enough for what a hub says; more is allocated when a message needs it.
const READ_BUFFER: usize = 4 * 1024;
/// Reports leave as soon as they are made.
const WRITE_BUFFER: usize = 8 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address does not answer.
    #[error("cannot reach {authority}")]
    Unreachable {
        /// Where.
        authority: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It answers, and is not the hub that this host was enrolled at.
    #[error("{authority} is not the hub that this host trusts")]
    Tls {
        /// Where.
        authority: String,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be set up here.
    #[error(transparent)]
    Setup(#[from] TlsError),
    /// It answers, and does not let this host in.
    #[error("the hub refuses the connection with HTTP status {status}{}", said(.detail))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// It answers with something else than a WebSocket.
    #[error("{authority} does not speak the agents' protocol")]
    Protocol {
        /// Where.
        authority: String,
        /// What went wrong.
        #[source]
        source: Box<tungstenite::Error>,
    },
}

fn said(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

impl ConnectError {
    /// Whether the hub does not know this host's token.
    #[must_use]
    pub fn is_unauthorised(&self) -> bool {
        matches!(self, Self::Refused { status: 401 | 403, .. })
    }
}

/// A TCP stream, with or without TLS.
#[derive(Debug)]
pub enum Stream {
    /// Without.
    Plain(TcpStream),
    /// With.
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Self::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, bytes))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}

/// How to reach one hub.
#[derive(Debug, Clone)]
pub struct Endpoint {
    url: HubUrl,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Endpoint {
    /// The hub at that address, known by its pin or by the system's roots.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(url: HubUrl, pin: Option<HubPin>, clock_synchronised: fn() -> bool) -> Result<Self, TlsError> {
        let tls = if url.tls {
            let name = tls::server_name(pin, &url.host).ok_or(TlsError::NoRoots)?;
            Some((tls::config(pin, clock_synchronised)?, name))
        } else {
            None
        };
        Ok(Self { url, tls })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &HubUrl {
        &self.url
    }

    /// A stream to it.
    ///
    /// # Errors
    /// When it cannot be reached or is not the one.
    pub async fn stream(&self) -> Result<Stream, ConnectError> {
        let authority = self.url.authority();
        let unreachable = |source| ConnectError::Unreachable { authority: authority.clone(), source };
        let tcp = in_time(TcpStream::connect((self.url.host.as_str(), self.url.port))).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let Some((config, name)) = &self.tls else { return Ok(Stream::Plain(tcp)) };
        match in_time(TlsConnector::from(config.clone()).connect(name.clone(), tcp)).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            // A broken line is no reason for distrust.
            Err(source) if source.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                Err(ConnectError::Tls { authority, source })
            }
            Err(source) => Err(unreachable(source)),
        }
    }
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(STEP, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Makes connections for [`crate::link::run`].
pub trait Connector: Send {
    /// What carries the messages.
    type Transport: Transport;
    /// A new connection.
    fn connect(&mut self) -> impl Future<Output = Result<Self::Transport, ConnectError>> + Send;
}

/// The connector of a real agent.
#[derive(Clone)]
pub struct HubConnector {
    endpoint: Endpoint,
    token: String,
}

impl std::fmt::Debug for HubConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubConnector").field("url", &self.endpoint.url).finish_non_exhaustive()
    }
}

impl HubConnector {
    /// To that hub, with that token.
    #[must_use]
    pub fn new(endpoint: Endpoint, token: impl Into<String>) -> Self {
        Self { endpoint, token: token.into() }
    }
}

impl Connector for HubConnector {
    type Transport = WebSocket<Stream>;

    async fn connect(&mut self) -> Result<WebSocket<Stream>, ConnectError> {
        let url = self.endpoint.url();
        let authority = url.authority();
        let protocol = |source| ConnectError::Protocol { authority: authority.clone(), source: Box::new(source) };
        let scheme = if url.tls { "wss" } else { "ws" };
        let address = format!("{scheme}://{authority}{}{}", url.prefix, tomte_link::PATH);
        let mut request = address.into_client_request().map_err(protocol)?;
        let headers = request.headers_mut();
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token));
        let mut bearer = bearer.unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tomte-agent/", env!("CARGO_PKG_VERSION"))));
        let stream = self.endpoint.stream().await?;
        let handshake = client_async_with_config(request, stream, Some(websocket_config()));
        match tokio::time::timeout(STEP, handshake).await {
            Ok(Ok((socket, _))) => Ok(WebSocket(socket)),
            Ok(Err(tungstenite::Error::Http(response))) => {
                let body = response.body().as_deref().unwrap_or_default();
                let problem = serde_json::from_slice::<tomte_api::Problem>(body).ok();
                let detail = problem.map(|problem| problem.to_string()).unwrap_or_default();
                Err(ConnectError::Refused { status: response.status().as_u16(), detail })
            }
            Ok(Err(source)) => Err(protocol(source)),
            Err(_) => Err(ConnectError::Unreachable { authority, source: io::ErrorKind::TimedOut.into() }),
        }
    }
}

/// Small buffers, and no message longer than the protocol allows.
#[must_use]
pub fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(2 * MAX_MESSAGE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

/// The protocol's messages over a WebSocket.
#[derive(Debug)]
pub struct WebSocket<S>(pub WebSocketStream<S>);

/// The half of a [`WebSocket`] that sends.
#[derive(Debug)]
pub struct WebSocketSender<S>(SplitSink<WebSocketStream<S>, Message>);

/// The half of a [`WebSocket`] that receives.
#[derive(Debug)]
pub struct WebSocketReceiver<S>(SplitStream<WebSocketStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for WebSocket<S> {
    type Sender = WebSocketSender<S>;
    type Receiver = WebSocketReceiver<S>;
    fn split(self) -> (Self::Sender, Self::Receiver) {
        let (sender, receiver) = self.0.split();
        (WebSocketSender(sender), WebSocketReceiver(receiver))
    }
}

fn broken(error: tungstenite::Error) -> TransportError {
    match error {
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => TransportError::Closed,
        other => TransportError::Broken(Box::new(other)),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Sender for WebSocketSender<S> {
    async fn send(&mut self, message: Bytes) -> Result<(), TransportError> {
        self.0.send(Message::Binary(message)).await.map_err(broken)
    }
    async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), TransportError> {
        // A close frame holds at most 123 bytes of text.
        let reason: String = reason.chars().take(30).collect();
        let frame = CloseFrame { code: WsCode::from(code.code()), reason: reason.into() };
        self.0.send(Message::Close(Some(frame))).await.map_err(broken)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Receiver for WebSocketReceiver<S> {
    async fn recv(&mut self) -> Option<Result<Bytes, TransportError>> {
        loop {
            return match self.0.next().await? {
                Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
                Ok(Message::Close(frame)) => match frame {
                    Some(frame) if frame.code != WsCode::Normal => {
                        let code = CloseCode::from_code(frame.code.into());
                        Some(Err(TransportError::ClosedBecause { code, reason: frame.reason.as_str().to_owned() }))
                    }
                    _ => None,
                },
                // Pings are answered by the library; text has no meaning here.
                Ok(_) => continue,
                Err(error) => Some(Err(broken(error))),
            };
        }
    }
}
