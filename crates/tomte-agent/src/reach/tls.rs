//! TLS to whatever is checked, which keeps the server's certificate whether
//! it is good or not.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tomte_collect::{CheckSettings, Place};
use tomte_model::Timestamp;

use super::certificate;

/// The system's roots, read when they are first needed.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust {
    system: Arc<OnceLock<RootCertStore>>,
}

impl Trust {
    fn roots(&self, own: Option<&Path>) -> Result<RootCertStore, String> {
        let system = self.system.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        });
        let Some(path) = own else { return Ok(system.clone()) };
        let mut roots = system.clone();
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        Ok(roots)
    }

    /// Shakes hands. The end of the certificate is told also when it fails.
    pub(super) async fn shake(
        &self,
        check: &CheckSettings,
        place: &Place,
        stream: TcpStream,
    ) -> (Result<TlsStream<TcpStream>, String>, Option<Timestamp>) {
        let seen: Seen = Arc::default();
        let shaken = async {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let inner = if check.verify {
                let roots = Arc::new(self.roots(check.ca_file.as_deref())?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
                Some(verifier.map_err(|_| "this system has no root certificates; install ca-certificates".to_owned())?)
            } else {
                None
            };
            let verifier = Arc::new(Watching { inner, provider: provider.clone(), seen: seen.clone() });
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth();
            let name = ServerName::try_from(place.host.clone()).map_err(|error| error.to_string())?;
            TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())
        };
        let shaken = shaken.await;
        let ends = *seen.lock().unwrap_or_else(PoisonError::into_inner);
        (shaken, ends)
    }
}

/// When the certificate ends that was shown.
type Seen = Arc<Mutex<Option<Timestamp>>>;

/// Notes the certificate's end, then leaves the judgement to who is asked for
/// one. Where nobody is, any certificate will do: a check sends no secret but
/// to a broker, and that is said in the documentation.
#[derive(Debug)]
struct Watching {
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    seen: Seen,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = certificate::ends(end_entity);
        match &self.inner {
            Some(inner) => inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
