//! The local socket: one host's latest state and its changes, read-only, in
//! the API's own types, so that clients of a hub work on a lone agent too.
//!
//! Whoever may open the socket may read: it is 0660 and belongs to the group
//! `tomte` where there is one. One thing can be changed: root may decide on what
//! this host was asked to do ([`actions`]).

mod actions;
mod live;
#[cfg(test)]
mod tests;
mod view;

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;
use tomte_api::{Page, Problem, problem};
use tracing::{debug, warn};

use crate::station::Station;
use crate::workers::Change;

pub use view::LocalHost;

/// More clients at once wait.
const CONNECTIONS: usize = 16;
/// How long a client may take over its request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// The socket, bound.
#[derive(Debug)]
pub struct LocalSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl LocalSocket {
    /// Binds it; a socket left behind by a process that is gone is replaced.
    ///
    /// # Errors
    /// When the folder is not there, or somebody else listens on it.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent()
            && !folder.exists()
        {
            fs::create_dir_all(folder)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        if let Some(group) = group_id("tomte") {
            // Only who is in the group (or root) can give the socket to it.
            if let Err(error) = std::os::unix::fs::chown(path, None, Some(group)) {
                debug!(%error, "the local socket stays with this user's group");
            }
        }
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until cancelled.
    pub async fn serve(self, host: Arc<LocalHost>, changes: mpsc::Sender<Change>, cancel: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut clients = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                place = places.clone().acquire_owned() => match place {
                    Ok(place) => tokio::select! {
                        accepted = self.listener.accept() => accepted.map(|(stream, _)| (stream, place)),
                        () = cancel.cancelled() => break,
                    },
                    Err(_) => break,
                },
                () = cancel.cancelled() => break,
            };
            // Those that are done are forgotten.
            while clients.try_join_next().is_some() {}
            match accepted {
                Ok((stream, place)) => {
                    let (host, changes) = (host.clone(), changes.clone());
                    clients.spawn(async move {
                        client(stream, &host, &changes).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "the local socket cannot take a client");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        clients.shutdown().await;
        let _ = fs::remove_file(&self.path);
    }
}

/// The id of a group of this machine, from the file; directories elsewhere are
/// not asked.
fn group_id(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

async fn client(stream: UnixStream, host: &LocalHost, changes: &mpsc::Sender<Change>) {
    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
    let upgraded = Arc::new(Mutex::new(None));
    let service = service_fn(|mut request: Request<Incoming>| {
        let upgraded = upgraded.clone();
        async move {
            if request.uri().path().starts_with("/api/v1/actions") {
                let answer = actions::answer(host, uid, request).await;
                return Ok(answer.unwrap_or_else(|| refused(&no_such_page())));
            }
            let on_upgrade = hyper::upgrade::on(&mut request);
            Ok::<_, Infallible>(answer(host, &request, on_upgrade, &upgraded))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        debug!(%error, "a local client ended unexpectedly");
    }
    let upgrade = upgraded.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(upgrade) = upgrade
        && let Ok(stream) = upgrade.await
    {
        live::serve(stream, host, changes).await;
    }
}

type Answer = Response<Full<Bytes>>;

fn answer(
    host: &LocalHost,
    request: &Request<Incoming>,
    upgrade: OnUpgrade,
    slot: &Mutex<Option<OnUpgrade>>,
) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return refused(&Problem::new(405, "method-not-allowed", "An agent's socket is read-only"));
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let path: Vec<String> = request.uri().path().trim_matches('/').split('/').map(decoded).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    if let ["api", "v1", "hosts", name, ..] = path.as_slice()
        && !host.answers_to(name)
    {
        let detail = format!("this is the agent of {}; ask a hub for {name}", host.name());
        return refused(&Problem::new(404, "no-such-host", "No such host").detail(detail));
    }
    match path.as_slice() {
        ["healthz" | "readyz"] => json(200, &tomte_api::hub::Health { status: "ok".to_owned() }),
        ["api", "v1", "hosts"] => json(200, &Page::whole(vec![host.host()])),
        ["api", "v1", "hosts", _] => json(200, &host.host()),
        ["api", "v1", "hosts", _, "resources"] => json(200, &Page::whole(host.resources(&query, true))),
        ["api", "v1", "resources"] => json(200, &Page::whole(host.resources(&query, false))),
        ["api", "v1", "latest"] => json(200, &Page::whole(host.latest(&query))),
        ["api", "v1", "catalogue"] => json(200, &Page::whole(host.catalogue())),
        ["api", "v1", "events"] => json(200, &Page::whole(host.recent_events(&query))),
        ["api", "v1", "live"] => switch(request, upgrade, slot),
        _ => refused(&no_such_page()),
    }
}

fn no_such_page() -> Problem {
    Problem::new(404, "not-found", "An agent's socket has no such page")
}

/// Agrees to become a WebSocket (RFC 6455, section 4.2.2).
fn switch(request: &Request<Incoming>, upgrade: OnUpgrade, slot: &Mutex<Option<OnUpgrade>>) -> Answer {
    let headers = request.headers();
    let wants = headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY).filter(|_| wants) else {
        return refused(&Problem::new(426, "not-a-websocket", "This is a WebSocket"));
    };
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.expect("base64 is a header's text"));
    response
}

fn json<T: Serialize>(status: u16, body: &T) -> Answer {
    typed(status, "application/json", body)
}

fn refused(problem: &Problem) -> Answer {
    typed(problem.status, problem::MEDIA_TYPE, problem)
}

fn typed<T: Serialize>(status: u16, media_type: &'static str, body: &T) -> Answer {
    let text = serde_json::to_vec(body).expect("the API's types are JSON");
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A query string, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(&value.replace('+', " ")))
        };
        Self(text.split('&').filter(|pair| !pair.is_empty()).map(pair).collect())
    }

    /// All values of a key; a list may also be written with commas.
    pub(crate) fn all(&self, key: &str) -> Vec<&str> {
        let values = self.0.iter().filter(|(name, _)| name == key);
        values.flat_map(|(_, value)| value.split(',')).filter(|value| !value.is_empty()).collect()
    }

    pub(crate) fn one(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Undoes percent-encoding; what is no UTF-8 then becomes a replacement mark.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match after.get(..2).filter(|_| first == b'%').and_then(hex) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
