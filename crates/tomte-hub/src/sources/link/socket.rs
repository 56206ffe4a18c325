//! `/link` as a WebSocket: who may open one, and how messages travel on it.
//!
//! The token is checked before anything else is looked at, with the same work
//! whether it is known or not. A valid one always passes: failures from the
//! same address, or from others behind the same proxy, slow down only those
//! who fail.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tomte_link::{CloseCode, MAX_MESSAGE, PATH, Receiver, SUBPROTOCOL, Sender, Transport, TransportError};

use super::session;
use crate::access::{Actor, Peer};
use crate::fleet::Host;
use crate::http::source::Source;
use crate::{Hub, secrets};

/// A report is a few hundred bytes. The library fills all of its buffer with
/// zeros before each read, so the usual 128 KiB would be held, and written, for
/// each agent.
const READ_BUFFER: usize = 4 * 1024;
/// What may wait to be written to one socket.
const WRITE_BUFFER: usize = 4 * MAX_MESSAGE;

/// The route of the link.
pub(crate) fn router(hub: Arc<Hub>) -> Router {
    Router::new().route(PATH, get(open)).with_state(hub)
}

async fn open(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().copied();
    let from = {
        let resolved = hub.resolved();
        let trusted = |address| resolved.config.trusted_proxies.iter().any(|network| network.contains(address));
        Source::of(peer, &parts.headers, trusted)
    };
    let agent = match hub.admit(bearer(&parts.headers), from).await {
        Ok(agent) => agent,
        Err(refused) => return refused,
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade.protocols([SUBPROTOCOL]).max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE),
        Err(rejection) => return rejection.into_response(),
    };
    if upgrade.selected_protocol().is_none() {
        let text = format!("the WebSocket subprotocol {SUBPROTOCOL} is needed\n");
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let peer = from.address.map_or_else(|| "local".to_owned(), |address| address.to_string());
    let held = hub.sessions.token();
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .on_failed_upgrade(|error| tracing::debug!(%error, "a link was not upgraded"))
        .on_upgrade(async move |socket| {
            session::serve(hub, agent, peer, Socket(socket)).await;
            drop(held);
        })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What back-off counts by: where from, and how the token begins.
pub(crate) type Guesser = (Option<IpAddr>, String);

impl Hub {
    /// The host that a token speaks for, or the answer to whoever brought it.
    async fn admit(self: &Arc<Self>, token: Option<&str>, from: Source) -> Result<Arc<Host>, Response> {
        let Some(text) = token else {
            return Err(refused(StatusCode::UNAUTHORIZED, "an agent's token is needed\n"));
        };
        let hash = secrets::hash(text.as_bytes());
        let found = self.fleet.token(&hash);
        let host = found.as_ref().and_then(|token| self.fleet.get(token.host));
        let (Some(token), Some(host)) = (found, host) else {
            return Err(self.token_refused(text, from));
        };
        if token.first_used_at.is_none() {
            let now = self.now();
            // On disk before it counts: from here on the older tokens are void.
            let used = self.read(move |store| store.state.use_host_token(&hash, now)).await;
            match used {
                Ok(Some(_)) => self.fleet.token_used(&hash, now),
                Ok(None) => return Err(self.token_refused(text, from)),
                Err(error) => {
                    tracing::warn!(host = %host.id, %error, "the first use of a token cannot be noted");
                    return Err(refused(StatusCode::SERVICE_UNAVAILABLE, "the hub cannot write; come back later\n"));
                }
            }
        }
        Ok(host)
    }

    fn token_refused(&self, token: &str, from: Source) -> Response {
        self.counters.link_tokens_refused.one();
        let prefix = secrets::prefix(token);
        let place = from.place();
        let guesser: Guesser = (place, prefix.to_owned());
        let now = self.clock.now().boot_millis;
        let (wait, count) = {
            let mut guessers = self.link_guessers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let wait = guessers.wait(&guesser, now);
            guessers.fail(guesser, now);
            // The audit counts by place alone: guesses differ.
            (wait, guessers.fail((place, String::new()), now))
        };
        // The audit hears of the first failure, and then ever more seldom.
        if count.is_power_of_two() {
            let actor = Actor::new("unknown", from.address.map(|address| address.to_string()));
            let details = [("prefix", prefix.to_owned()), ("times", count.to_string())];
            self.audit_later(&actor, "link.connect", "", "refused: the token is not valid", details);
        }
        match wait {
            None => refused(StatusCode::UNAUTHORIZED, "the token is not valid (any more)\n"),
            Some(wait) => {
                let mut response = refused(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens: wait\n");
                let seconds = HeaderValue::from(wait.as_secs() + 1);
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
                response
            }
        }
    }
}

fn refused(status: StatusCode, text: &'static str) -> Response {
    let mut response = (status, text).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// A WebSocket that carries the link's messages.
struct Socket(WebSocket);

struct SocketSender(SplitSink<WebSocket, Message>);

struct SocketReceiver(SplitStream<WebSocket>);

impl Transport for Socket {
    type Sender = SocketSender;
    type Receiver = SocketReceiver;
    fn split(self) -> (SocketSender, SocketReceiver) {
        let (sender, receiver) = self.0.split();
        (SocketSender(sender), SocketReceiver(receiver))
    }
}

/// A connection that was cut off is nobody's fault; what makes no sense is.
fn broken(error: axum::Error) -> TransportError {
    use tokio_tungstenite::tungstenite::Error;
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match error.into_inner().downcast::<Error>().map(|error| *error) {
        Ok(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_)) => TransportError::Closed,
        Ok(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => TransportError::Closed,
        Ok(error) => TransportError::Broken(error.into()),
        Err(error) => TransportError::Broken(error),
    }
}

impl Sender for SocketSender {
    async fn send(&mut self, message: Bytes) -> Result<(), TransportError> {
        self.0.send(Message::Binary(message)).await.map_err(broken)
    }
    async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), TransportError> {
        // A close frame has room for 123 bytes of text.
        let mut end = reason.len().min(123);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = CloseFrame { code: code.code(), reason: reason[..end].into() };
        self.0.send(Message::Close(Some(frame))).await.map_err(broken)?;
        self.0.flush().await.map_err(broken)
    }
}

impl Receiver for SocketReceiver {
    async fn recv(&mut self) -> Option<Result<Bytes, TransportError>> {
        loop {
            return match self.0.next().await? {
                Ok(Message::Binary(message)) => Some(Ok(message)),
                Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                Ok(Message::Text(_)) => Some(Err(TransportError::Broken("a text message; the link is binary".into()))),
                Ok(Message::Close(None)) => None,
                Ok(Message::Close(Some(frame))) => match CloseCode::from_code(frame.code) {
                    CloseCode::Normal => None,
                    code => {
                        let reason = frame.reason.chars().take(200).collect();
                        Some(Err(TransportError::ClosedBecause { code, reason }))
                    }
                },
                Err(error) => Some(Err(broken(error))),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_in_its_header_and_nowhere_else() {
        let token = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(token("Bearer tomte_h_x").as_deref(), Some("tomte_h_x"));
        assert_eq!(token("bearer  x ").as_deref(), Some("x"));
        assert_eq!(token("Basic x"), None);
        assert_eq!(token("Bearer"), None);
    }
}
