//! One connection to a hub: dialled, perhaps with TLS, and spoken HTTP on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{ClientError, Endpoint};

/// How long connecting may take, TLS and all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Anything that bytes go through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Send + std::fmt::Debug> Stream for T {}

/// A stream of whatever sort.
pub(super) type AnyStream = Pin<Box<dyn Stream>>;

/// Connects.
pub(super) async fn dial(
    endpoint: &Endpoint,
    tls: Option<&Arc<rustls::ClientConfig>>,
    tls_name: Option<&ServerName<'static>>,
) -> Result<AnyStream, ClientError> {
    let unreachable = |why| ClientError::Unreachable { endpoint: endpoint.to_string(), why };
    let late = || unreachable(io::ErrorKind::TimedOut.into());
    let (host, port) = match endpoint {
        Endpoint::Unix(path) => {
            let stream = timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await.map_err(|_| late())?;
            return Ok(Box::pin(stream.map_err(unreachable)?));
        }
        Endpoint::Tcp { host, port, .. } => (host, *port),
    };
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect((host.as_str(), port))).await.map_err(|_| late())?;
    let stream = stream.map_err(unreachable)?;
    // Small requests should leave at once; where that cannot be had, they still leave.
    let _ = stream.set_nodelay(true);
    let Some(config) = tls else { return Ok(Box::pin(stream)) };
    let name = match tls_name {
        Some(name) => name.clone(),
        None => ServerName::try_from(host.clone()).map_err(|_| ClientError::BadUrl {
            text: endpoint.to_string(),
            why: "its host is neither a name nor an address",
        })?,
    };
    let handshake = timeout(CONNECT_TIMEOUT, TlsConnector::from(Arc::clone(config)).connect(name, stream));
    let stream = handshake.await.map_err(|_| late())?;
    Ok(Box::pin(stream.map_err(|why| ClientError::Tls { endpoint: endpoint.to_string(), why })?))
}

/// A connection on which requests go one after the other.
#[derive(Debug)]
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Starts to speak HTTP.
    pub(super) async fn open(stream: AnyStream) -> Result<Self, hyper::Error> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // What breaks the connection is told to the request that it breaks.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, driver })
    }

    /// Whether a request can still be sent; what was closed cannot.
    pub(super) async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    #[cfg(test)]
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, hyper::Error> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
