//! Whom the agent takes for its hub.
//!
//! A hub of one's own is known by its long-lived key: the enrolment code holds
//! the SHA-256 of the key's SubjectPublicKeyInfo. The hub shows a leaf and the
//! certificate of that key; the leaf must be signed by it, for the fixed name
//! `tomte-hub`, whatever address the hub was reached at. A hub behind a public
//! certificate or a proxy is known by the system's roots and its name.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// The name that a hub's own leaf always carries.
pub const HUB_NAME: &str = "tomte-hub";

/// Why TLS cannot even begin.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The stored hash of the hub's key is none.
    #[error("the stored identity of the hub is damaged; enroll this host anew")]
    BadPin,
    /// There are no roots to verify a public certificate with.
    #[error("this system has no root certificates; install the package ca-certificates")]
    NoRoots,
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// The SHA-256 of a hub's public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl Pin {
    /// As it is stored and shown.
    #[must_use]
    pub fn to_text(self) -> String {
        BASE64.encode(self.0)
    }

    /// From the text that [`Self::to_text`] gives.
    ///
    /// # Errors
    /// When it is no such text.
    pub fn from_text(text: &str) -> Result<Self, TlsError> {
        let bytes = BASE64.decode(text).map_err(|_| TlsError::BadPin)?;
        bytes.try_into().map(Self).map_err(|_| TlsError::BadPin)
    }
}

/// How TLS to a hub is set up: by the pin, or by the system's roots.
///
/// # Errors
/// When there is nothing to verify with.
pub fn config(pin: Option<Pin>, clock_synchronised: fn() -> bool) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let mut config = match pin {
        Some(pin) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { pin, provider, clock_synchronised }))
            .with_no_client_auth(),
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::NoRoots);
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    // A connection lasts for days; remembering sessions would cost memory only.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name to ask for, and to be shown.
#[must_use]
pub fn server_name(pin: Option<Pin>, host: &str) -> Option<ServerName<'static>> {
    let name = if pin.is_some() { HUB_NAME } else { host };
    ServerName::try_from(name.to_owned()).ok()
}

/// Trusts exactly one key.
#[derive(Debug)]
struct Pinned {
    pin: Pin,
    provider: Arc<CryptoProvider>,
    clock_synchronised: fn() -> bool,
}

impl Pinned {
    /// The pinned key's certificate among those that the hub showed.
    fn anchor(&self, shown: &[CertificateDer<'_>]) -> Option<RootCertStore> {
        shown.iter().find_map(|certificate| {
            let mut roots = RootCertStore::empty();
            roots.add(certificate.clone().into_owned()).ok()?;
            let key = sequence(roots.roots.first()?.subject_public_key_info.as_ref());
            (digest(&SHA256, &key).as_ref() == self.pin.0).then_some(roots)
        })
    }
}

/// The DER of a sequence with that content; webpki keeps a key without the
/// wrapping that its hash is defined over.
fn sequence(content: &[u8]) -> Vec<u8> {
    let mut der = vec![0x30];
    let length = content.len();
    if length < 0x80 {
        der.push(u8::try_from(length).expect("below 128"));
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(0)..];
        der.push(0x80 | u8::try_from(bytes.len()).expect("a usize has at most 8 bytes"));
        der.extend_from_slice(bytes);
    }
    der.extend_from_slice(content);
    der
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(roots) = self.anchor(intermediates) else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let verify = |now| verifier.verify_server_cert(leaf, intermediates, server_name, ocsp, now);
        match verify(now) {
            // A machine without a battery boots in 1970 and needs the hub to
            // know better. The key is pinned, so that only the hub itself can
            // have made a leaf that is not valid yet.
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
                verify(not_before)
            }
            // Likewise a clock that nobody disciplines and that ran ahead.
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }))
                if !(self.clock_synchronised)() =>
            {
                let last_valid = not_after.as_secs().saturating_sub(1);
                verify(UnixTime::since_unix_epoch(Duration::from_secs(last_valid)))
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData};

    use super::*;

    /// A hub's key and a leaf signed by it.
    pub(crate) struct Shown {
        pub pin: Pin,
        pub leaf: CertificateDer<'static>,
        pub identity: CertificateDer<'static>,
        pub leaf_key: Vec<u8>,
    }

    pub(crate) fn shown(name: &str, from_year: i32, to_year: i32) -> Shown {
        let key = KeyPair::generate().unwrap();
        let pin = Pin(digest(&SHA256, &key.subject_public_key_info()).as_ref().try_into().unwrap());
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(ca, key).unwrap();
        let leaf_key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        leaf.not_before = rcgen::date_time_ymd(from_year, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(to_year, 1, 1);
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
        Shown { pin, leaf: leaf.der().clone(), identity: issuer.der().clone(), leaf_key: leaf_key.serialize_der() }
    }

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn verify(shown: &Shown, pin: Pin, chain: &[CertificateDer<'static>], now: Duration, synchronised: bool) -> bool {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clock_synchronised = if synchronised { || true } else { || false };
        let verifier = Pinned { pin, provider, clock_synchronised };
        let name = server_name(Some(pin), "192.0.2.1").unwrap();
        verifier.verify_server_cert(&shown.leaf, chain, &name, &[], UnixTime::since_unix_epoch(now)).is_ok()
    }

    #[test]
    fn only_the_pinned_key_is_the_hub() {
        let hub = shown(HUB_NAME, 2020, 2040);
        let other = shown(HUB_NAME, 2020, 2040);
        let chain = [hub.identity.clone()];
        assert!(verify(&hub, hub.pin, &chain, NOW, true));
        assert!(verify(&hub, hub.pin, &[other.identity.clone(), hub.identity.clone()], NOW, true));
        assert!(!verify(&hub, other.pin, &chain, NOW, true), "another hub");
        assert!(!verify(&other, hub.pin, &chain, NOW, true), "a leaf that the pinned key did not sign");
        assert!(!verify(&hub, hub.pin, &[], NOW, true), "no certificate of the pinned key");
        let misnamed = shown("example.org", 2020, 2040);
        assert!(!verify(&misnamed, misnamed.pin, std::slice::from_ref(&misnamed.identity), NOW, true));
    }

    #[test]
    fn a_clock_that_is_wrong_does_not_lock_the_host_out() {
        let hub = shown(HUB_NAME, 2020, 2030);
        let chain = [hub.identity.clone()];
        let far = Duration::from_secs(4_000_000_000);
        assert!(verify(&hub, hub.pin, &chain, Duration::from_secs(5), false), "booted in 1970");
        assert!(verify(&hub, hub.pin, &chain, far, false), "a clock that nobody disciplines");
        assert!(!verify(&hub, hub.pin, &chain, far, true), "really expired");
    }

    #[test]
    fn a_pin_is_kept_as_text() {
        let pin = Pin([7; 32]);
        assert_eq!(Pin::from_text(&pin.to_text()).unwrap(), pin);
        assert!(Pin::from_text("abc").is_err());
        assert_eq!(sequence(&[1; 200])[..3], [0x30, 0x81, 200]);
        assert_eq!(sequence(&[1; 300])[..4], [0x30, 0x82, 1, 44]);
    }
}
