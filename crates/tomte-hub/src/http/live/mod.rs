//! Live updates over a WebSocket: one task per connection.
//!
//! The bus says what changed; a [`Subscription`] remembers what its client has
//! seen and what may differ by now, and makes the difference when it is due.
//! So a slow client costs nothing but its own delay: while a message is on its
//! way changes pile up as names, not as values, and the latest value wins.

mod connection;
mod subscription;

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::Semaphore;

use super::App;
use super::auth::Identity;
use super::problem::Failure;
use crate::access::Viewer;

/// How many live connections there may be.
const CONNECTIONS: usize = 512;
/// How large a client's message may be.
const REQUEST_LIMIT: usize = 64 * 1024;
/// Requests are short; the library would hold 128 KiB for each client.
const READ_BUFFER: usize = 4 * 1024;

/// What live connections share.
#[derive(Debug)]
pub(crate) struct Limits(Arc<Semaphore>);

impl Default for Limits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CONNECTIONS)))
    }
}

/// Live updates (a WebSocket). The client sends `LiveRequest`, the hub sends
/// `LiveMessage`, as JSON text.
///
/// Each subscription starts with a snapshot; deltas carry only what changed,
/// and what is gone. The connection ends when the session or token does.
#[utoipa::path(get, path = "/api/v1/live", tag = "live",
    responses((status = 101, description = "The WebSocket is open")))]
pub(crate) async fn live(
    _: Viewer,
    identity: Identity,
    State(app): State<App>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let upgrade = upgrade.map_err(|rejection| {
        Failure::new(StatusCode::UPGRADE_REQUIRED, "not-a-websocket", "This is a WebSocket")
            .detail(rejection.body_text())
    })?;
    let place = Arc::clone(&app.live.0)
        .try_acquire_owned()
        .map_err(|_| Failure::unavailable("too-many-connections", "too many live connections are open"))?;
    let upgrade = upgrade.read_buffer_size(READ_BUFFER).max_message_size(REQUEST_LIMIT).max_frame_size(REQUEST_LIMIT);
    Ok(upgrade.on_upgrade(move |socket| async move {
        // Tracked, so that a hub that stops waits for the goodbye.
        let sessions = app.hub.sessions.clone();
        sessions.track_future(connection::serve(&app, identity, socket)).await;
        drop(place);
    }))
}
