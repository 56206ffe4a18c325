//! Web APIs of this network (Proxmox VE), asked in the collectors' place: one
//! GET over TLS, from a collector's own thread.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tomte_collect::{Api, ApiAnswer, ApiCall, ApiTrust, Refusal, Root};

use crate::link::with_causes;

/// This machine, whose collectors may ask web APIs.
#[must_use]
pub fn root() -> Root {
    Root::system().with_api(Arc::new(HttpsApi))
}

/// Asks over TLS.
#[derive(Debug)]
pub struct HttpsApi;

impl Api for HttpsApi {
    fn get(&self, call: &ApiCall) -> Result<ApiAnswer, Refusal> {
        let failed = |error: String| Refusal::Failed(format!("{}: {error}", call.base));
        let config = config(&call.trust)?;
        // A runtime for one answer: collectors know no other, and it is cheap.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        runtime.block_on(async {
            tokio::time::timeout(call.limit, exchange(call, config))
                .await
                .unwrap_or_else(|_| Err(failed(format!("no answer within {} s", call.limit.as_secs()))))
        })
    }
}

async fn exchange(call: &ApiCall, config: ClientConfig) -> Result<ApiAnswer, Refusal> {
    let failed = |error: &dyn std::error::Error| Refusal::Failed(format!("{}: {}", call.base, with_causes(error)));
    let authority = call.base.strip_prefix("https://").unwrap_or(&call.base);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
    let stream = TcpStream::connect(authority).await.map_err(|error| failed(&error))?;
    let stream =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| distrust(call, &error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let mut secret = HeaderValue::from_str(&call.authorization).map_err(|error| failed(&error))?;
    secret.set_sensitive(true);
    let request = Request::builder()
        .uri(&call.path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("tomte-agent/", env!("CARGO_PKG_VERSION")))
        .header(AUTHORIZATION, secret)
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), call.most).collect().await.map_err(|error| failed(&*error))?;
        Ok(ApiAnswer { status, body: body.to_bytes().to_vec() })
    };
    // The connection has to be driven while the answer is waited for.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

/// A server that shows another certificate than the one that is trusted can be
/// mended by a person only.
fn distrust(call: &ApiCall, error: &std::io::Error) -> Refusal {
    let words = format!("{}: {}", call.base, with_causes(error));
    let certificate = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match certificate {
        Some(rustls::Error::InvalidCertificate(_)) => Refusal::Denied {
            error: words,
            cure: "Compare `pvenode cert info` on the server with fingerprint in [proxmox], or name its authority \
                   there as ca_file."
                .to_owned(),
        },
        _ => Refusal::Failed(words),
    }
}

fn config(trust: &ApiTrust) -> Result<ClientConfig, Refusal> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Refusal::Failed(format!("TLS cannot be set up: {error}")))?;
    let roots = match trust {
        ApiTrust::Fingerprint(hash) => {
            let verifier = Shown { hash: *hash, provider };
            return Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth());
        }
        ApiTrust::System => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
        ApiTrust::Authority(file) => {
            let shown = file.display();
            let denied = |error: String| Refusal::Denied {
                error,
                cure: format!(
                    "Put the authority's certificate (PEM; /etc/pve/pve-root-ca.pem) into {shown}, readable by the agent's user."
                ),
            };
            let mut roots = RootCertStore::empty();
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| denied(format!("{shown}: {error}")))?;
            roots.add_parsable_certificates(certificates.take(64).filter_map(Result::ok));
            if roots.is_empty() {
                return Err(denied(format!("{shown} holds no certificate")));
            }
            roots
        }
    };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Trusts exactly one certificate, whatever name it is for: those that Proxmox
/// VE makes itself seldom carry the address that people use.
#[derive(Debug)]
struct Shown {
    hash: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if digest(&SHA256, leaf).as_ref() == self.hash {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
