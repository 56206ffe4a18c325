//! Accepting connections: TCP with or without TLS, and `hub.sock`.
//!
//! What is asked on them is the router's business. Here is who is at the other
//! end ([`Peer`], an extension of every request), how long they may take, and
//! how many there may be.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use tower_http::timeout::TimeoutBody;

use crate::Hub;
use crate::access::Peer;
use crate::identity::{self, IdentityError, Leaf};

/// The socket for commands on the hub's own machine.
pub const SOCKET: &str = "hub.sock";

/// How long a TLS handshake, and a request's head, may take. Also how long a
/// connection may wait between requests.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long a request's body may pause.
const BODY_WITHIN: Duration = Duration::from_secs(20);
/// How long what was sent may stay unanswered by the other side's kernel.
const UNANSWERED: Duration = Duration::from_secs(60);
/// How long requests may go on after the hub was told to stop.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// What one connection may make the hub remember of a request's head.
const HEAD_BYTES: usize = 64 * 1024;
/// After accepting failed (no file descriptors, mostly).
const PAUSE: Duration = Duration::from_millis(200);

/// How many connections there are, in all and by address.
pub(crate) struct Doors {
    all: Arc<Semaphore>,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    most_per_address: usize,
}

/// One connection's place; it is given back on drop.
struct Entry {
    doors: Arc<Doors>,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Doors {
    pub(crate) fn new(all: usize, most_per_address: usize) -> Arc<Self> {
        Arc::new(Self { all: Arc::new(Semaphore::new(all)), by_address: Mutex::default(), most_per_address })
    }

    fn enter(self: &Arc<Self>, address: IpAddr, exempt: bool) -> Option<Entry> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let here = by_address.entry(address).or_default();
        if *here >= self.most_per_address && !exempt {
            return None;
        }
        *here += 1;
        Some(Entry { doors: Arc::clone(self), address, _permit: permit })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut by_address = self.doors.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// Accepts on a TCP listener until the hub stops.
pub(crate) async fn tcp(hub: Arc<Hub>, listener: TcpListener, router: Router, doors: Arc<Doors>) {
    let tls = listener.local_addr().is_ok_and(|address| hub.config().tls_on(&address));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = hub.stop.cancelled() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let resolved = hub.resolved();
        let near = address.ip().is_loopback();
        let exempt = near || resolved.config.trusted_proxies.iter().any(|network| network.contains(address.ip()));
        let Some(entry) = doors.enter(address.ip(), exempt) else {
            hub.counters.connections_refused.one();
            continue;
        };
        hub.counters.connections.one();
        let (serving, router) = (Arc::clone(&hub), router.clone());
        hub.sessions.spawn(async move {
            tcp_connection(&serving, stream, address, tls, router).await;
            drop(entry);
        });
    }
}

async fn tcp_connection(hub: &Hub, stream: TcpStream, address: SocketAddr, tls: bool, router: Router) {
    // Frames are small and wanted at once; who vanished is found out by the
    // kernel. A socket that refuses either is no worse than before.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNANSWERED.as_millis() as u32);
    let peer = Peer::Remote { address, tls };
    if !tls {
        return http(hub, stream, peer, router).await;
    }
    let Some(leaf) = hub.leaf() else { return };
    let handshake = TlsAcceptor::from(Arc::clone(&leaf.tls)).accept(stream);
    match tokio::time::timeout(HANDSHAKE_WITHIN, handshake).await {
        Ok(Ok(stream)) => http(hub, stream, peer, router).await,
        Ok(Err(error)) => tracing::debug!(%address, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%address, "a TLS handshake took too long"),
    }
}

/// Makes the socket for commands on the hub's own machine. What lies there is
/// from a hub that is gone: the folder's lock is ours.
pub(crate) fn bind_socket(folder: &Path) -> std::io::Result<UnixListener> {
    let (path, temporary) = (folder.join(SOCKET), folder.join("hub.sock.new"));
    let _ = std::fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary)?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&temporary, &path)?;
    Ok(listener)
}

/// Accepts on the hub's own socket until the hub stops.
pub(crate) async fn local(hub: Arc<Hub>, listener: UnixListener, router: Router) {
    let own = rustix::process::geteuid().as_raw();
    hub.serving.store(true, Ordering::Release);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = hub.stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => match local_user(&stream, own) {
                Some(uid) => {
                    let (serving, router) = (Arc::clone(&hub), router.clone());
                    hub.sessions.spawn(async move { http(&serving, stream, Peer::Local { uid }, router).await });
                }
                None => hub.counters.connections_refused.one(),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection to {SOCKET} could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    hub.serving.store(false, Ordering::Release);
}

/// The user at the other end, if it is root or the hub's own.
fn local_user(stream: &UnixStream, own: u32) -> Option<u32> {
    let uid = stream.peer_cred().ok()?.uid();
    (uid == 0 || uid == own).then_some(uid)
}

async fn http<S>(hub: &Hub, stream: S, peer: Peer, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(|body| Body::new(TimeoutBody::new(BODY_WITHIN, body))))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = hub.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(FINISH_WITHIN, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection broke");
    }
}

impl Hub {
    pub(crate) fn leaf(&self) -> Option<Arc<Leaf>> {
        self.leaf.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the certificate that TLS shows, or reads the user's own.
    pub(crate) fn renew_leaf(&self) -> Result<(), IdentityError> {
        let config = self.config();
        let now = self.now();
        let leaf = match config.own_certificate() {
            Some((cert, key)) => identity::own_certificate(cert, key, now)?,
            None => {
                let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
                let public = config.public_url.parse::<http::Uri>().ok().and_then(|url| url.host().map(str::to_owned));
                let public = public.map(|name| name.trim_matches(['[', ']']).to_owned());
                let mut names = vec![host, "localhost".to_owned()];
                let mut addresses: Vec<IpAddr> = config.listen.iter().map(SocketAddr::ip).collect();
                addresses.retain(|address| !address.is_unspecified());
                match public.map(|name| (name.parse::<IpAddr>(), name)) {
                    Some((Ok(address), _)) => addresses.push(address),
                    Some((Err(_), name)) => names.push(name),
                    None => {}
                }
                self.identity.leaf(&names, &addresses, now)?
            }
        };
        *self.leaf.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(leaf));
        Ok(())
    }

    /// Renews the certificate if it is time.
    pub(crate) fn look_after_leaf(&self) {
        if self.leaf().is_some_and(|leaf| leaf.is_due(self.now())) {
            match self.renew_leaf() {
                Ok(()) => tracing::info!("renewed the certificate"),
                Err(error) => tracing::error!(%error, "the certificate cannot be renewed"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_in_all_and_by_address() {
        let doors = Doors::new(3, 2);
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let one = doors.enter(address("1.1.1.1"), false);
        let two = doors.enter(address("1.1.1.1"), false);
        assert!(one.is_some() && two.is_some());
        assert!(doors.enter(address("1.1.1.1"), false).is_none());
        let proxy = doors.enter(address("1.1.1.1"), true);
        assert!(proxy.is_some(), "a proxy stands for many");
        assert!(doors.enter(address("2.2.2.2"), false).is_none(), "the house is full");
        drop((one, two, proxy));
        assert!(doors.by_address.lock().expect("a lock").is_empty());
        assert!(doors.enter(address("2.2.2.2"), false).is_some());
    }
}
