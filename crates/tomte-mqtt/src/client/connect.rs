//! From an address to a wire: TCP, TLS, WebSocket. Whoever asks for TLS gets a
//! broker that proved its name, or no connection.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::address::{Address, Scheme};
use crate::session::MOST_BYTES;

/// How long each step may take.
const STEP: Duration = Duration::from_secs(15);
/// Enough for acknowledgements.
const READ: usize = 2 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address does not answer.
    #[error("cannot reach the broker at {authority}")]
    Unreachable {
        /// Where.
        authority: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It speaks no TLS there.
    #[error("the broker at {authority} speaks no TLS there; is that its port for TLS, mostly 8883?")]
    NoTls {
        /// Where.
        authority: String,
        /// What came instead.
        #[source]
        source: io::Error,
    },
    /// It did not prove to be the one.
    #[error("the broker at {authority} is not trusted; who vouches for its certificate stands in mqtt.ca_file")]
    Tls {
        /// Where.
        authority: String,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// It does not speak MQTT over a WebSocket there.
    #[error("{authority}{path} is no WebSocket of a broker")]
    WebSocket {
        /// Where.
        authority: String,
        /// The path that was asked for.
        path: String,
        /// Why.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// A file for TLS cannot be used.
    #[error("{setting}: cannot use {}: {problem}", path.display())]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// There is nothing to verify a broker with.
    #[error("this system has no root certificates; install the package ca-certificates, or set mqtt.ca_file")]
    NoRoots,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
    /// The host can stand in no certificate.
    #[error("{0:?} is no name that a certificate can be for")]
    Name(String),
}

/// The files that TLS needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who may vouch for the broker; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, where the broker asks for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How to reach one broker.
#[derive(Clone)]
pub struct Connector {
    address: Address,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({})", self.address)
    }
}

impl Connector {
    /// To that address.
    ///
    /// # Errors
    /// When TLS cannot be set up: a file is missing or holds something else.
    pub fn new(address: Address, files: &TlsFiles) -> Result<Self, ConnectError> {
        let tls = if address.scheme.is_tls() {
            let name = ServerName::try_from(address.host.clone());
            Some((tls(files)?, name.map_err(|_| ConnectError::Name(address.host.clone()))?))
        } else {
            None
        };
        Ok(Self { address, tls })
    }

    /// Where the broker is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A connection.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn connect(&self) -> Result<Wire, ConnectError> {
        let authority = self.address.authority();
        let unreachable = |source| ConnectError::Unreachable { authority: authority.clone(), source };
        let tcp = TcpStream::connect((self.address.host.as_str(), self.address.port));
        let tcp = in_time(tcp).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some((config, name)) => {
                match in_time(TlsConnector::from(config.clone()).connect(name.clone(), tcp)).await {
                    Ok(stream) => Box::new(stream),
                    Err(source) => {
                        let why = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                        return Err(match why {
                            // A broker without TLS takes a greeting for rubbish, and hangs up or complains.
                            None if source.kind() == io::ErrorKind::TimedOut => unreachable(source),
                            None | Some(rustls::Error::InvalidMessage(_)) => ConnectError::NoTls { authority, source },
                            Some(_) => ConnectError::Tls { authority, source },
                        });
                    }
                }
            }
        };
        if matches!(self.address.scheme, Scheme::Mqtt | Scheme::Mqtts) {
            return Ok(Wire(Kind::Stream(stream)));
        }
        let path = self.address.path.clone();
        let refused = |source| ConnectError::WebSocket { authority: authority.clone(), path: path.clone(), source };
        let url = format!("ws://{authority}{path}");
        let mut request = url.into_client_request().map_err(|error| refused(Box::new(error)))?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt"));
        let most = MOST_BYTES as usize * 2;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(READ)
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        match timeout(STEP, client_async_with_config(request, stream, Some(config))).await {
            Ok(Ok((web, _))) => Ok(Wire(Kind::Web(Box::new(web)))),
            Ok(Err(error)) => Err(refused(Box::new(error))),
            Err(_) => Err(unreachable(io::ErrorKind::TimedOut.into())),
        }
    }
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STEP, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn tls(files: &TlsFiles) -> Result<Arc<ClientConfig>, ConnectError> {
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(path) => {
            const CA: &str = "mqtt.ca_file";
            for certificate in certificates(CA, path)? {
                roots.add(certificate).map_err(|error| bad(CA, path, error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(ConnectError::NoRoots);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ConnectError::Setup)?
        .with_root_certificates(roots);
    let mut config = match &files.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            const KEY: &str = "mqtt.client_key";
            let chain = certificates("mqtt.client_certificate", certificate)?;
            let secret = PrivateKeyDer::from_pem_slice(&read(KEY, key)?).map_err(|error| bad(KEY, key, error))?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| bad(KEY, key, error))?
        }
    };
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn bad(setting: &'static str, path: &Path, problem: impl std::fmt::Display) -> ConnectError {
    ConnectError::File { setting, path: path.to_owned(), problem: problem.to_string() }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|error| bad(setting, path, error))
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let text = read(setting, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|error| bad(setting, path, error))?;
    if certificates.is_empty() {
        return Err(bad(setting, path, "there is no certificate in it (PEM, -----BEGIN CERTIFICATE-----)"));
    }
    Ok(certificates)
}

/// What bytes go over, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

enum Kind {
    Stream(Box<dyn Stream>),
    Web(Box<WebSocketStream<Box<dyn Stream>>>),
}

/// A connection that carries bytes both ways.
pub struct Wire(Kind);

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    /// Sends bytes, within a limited time.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        match &mut self.0 {
            Kind::Stream(stream) => {
                in_time(async {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                })
                .await
            }
            Kind::Web(web) => {
                let message = Message::Binary(Bytes::copy_from_slice(bytes));
                in_time(async { web.send(message).await.map_err(io::Error::other) }).await
            }
        }
    }

    /// The next bytes; `None` at the end. Nothing is lost when it is dropped.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn read(&mut self) -> io::Result<Option<Bytes>> {
        match &mut self.0 {
            Kind::Stream(stream) => {
                let mut buffer = [0; READ];
                let count = stream.read(&mut buffer).await?;
                Ok((count > 0).then(|| Bytes::copy_from_slice(&buffer[..count])))
            }
            Kind::Web(web) => loop {
                match web.next().await {
                    Some(Ok(Message::Binary(bytes))) => return Ok(Some(bytes)),
                    Some(Ok(Message::Close(_))) | None => return Ok(None),
                    // Pings are answered below; text is not MQTT.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(io::Error::other(error)),
                }
            },
        }
    }

    /// Ends the connection.
    ///
    /// # Errors
    /// When it is broken already.
    pub async fn close(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Stream(stream) => stream.shutdown().await,
            Kind::Web(web) => web.as_mut().close(None).await.map_err(io::Error::other),
        }
    }
}
