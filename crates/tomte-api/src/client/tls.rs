//! Whom to trust: the system's authorities, one's own, or one hub by its key.

use std::path::PathBuf;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::ClientError;

/// The name that a hub's own certificate always carries.
const HUB_NAME: &str = "tomte-hub";

/// How a hub proves who it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// By a certificate of an authority that the system trusts.
    #[default]
    System,
    /// By a certificate of an authority in this PEM file.
    File(PathBuf),
    /// By its long-lived identity key: SHA-256 of its SubjectPublicKeyInfo.
    Identity([u8; 32]),
}

/// The TLS configuration, and the name to check if it is not the address's.
pub(super) fn config(trust: &Trust) -> Result<(ClientConfig, Option<ServerName<'static>>), ClientError> {
    let provider = Arc::new(provider::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| ClientError::Trust { what: "this build's TLS".to_owned(), source: source.into() })?;
    if let Trust::Identity(pin) = trust {
        let verifier = Pinned { pin: *pin, provider };
        let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
        let name = ServerName::try_from(HUB_NAME).expect("the constant is a DNS name");
        return Ok((config, Some(name)));
    }
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::File(path) => {
            let unusable = |source| ClientError::Trust { what: format!("the file {}", path.display()), source };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unusable(e.into()))? {
                let certificate = certificate.map_err(|e| unusable(e.into()))?;
                roots.add(certificate).map_err(|e| unusable(e.into()))?;
            }
            if roots.is_empty() {
                return Err(unusable("there is no certificate in it".into()));
            }
        }
        Trust::System | Trust::Identity(_) => {
            // One that cannot be read does not spoil the others; with none at
            // all the handshake fails and says so.
            for certificate in rustls_native_certs::load_native_certs().certs {
                let _ = roots.add(certificate);
            }
        }
    }
    Ok((builder.with_root_certificates(roots).with_no_client_auth(), None))
}

/// Trusts the one hub whose identity key has the pinned hash: the key's
/// certificate comes along in the handshake and must have signed the leaf.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }

    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        ParsedCertificate::try_from(certificate)
            .is_ok_and(|parsed| digest(&SHA256, &parsed.subject_public_key_info()).as_ref() == self.pin)
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let identity = intermediates
            .iter()
            .find(|certificate| self.is_pinned(certificate))
            .ok_or(CertificateError::ApplicationVerificationFailure)?;
        let mut roots = RootCertStore::empty();
        roots.add(identity.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}
