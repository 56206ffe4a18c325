//! Who the hub is: a key for all its life, and certificates made from it.
//!
//! The key is made at the first start and kept in the data folder. Agents know
//! the hub by the hash of its public half (the pin), not by a name, an address
//! or a date. What TLS shows is a chain of two: a leaf that is renewed freely,
//! and the authority that signs it, which is the key itself. Nothing here
//! listens or accepts.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use tomte_model::Timestamp;

/// The key's file in the data folder.
pub const KEY_FILE: &str = "identity.key";

/// The authority's certificate in the data folder, for browsers and programs
/// that are to trust the hub. It is no secret.
pub const AUTHORITY_FILE: &str = "identity.crt";

/// The name that is always in the leaf: agents ask for it, whatever address
/// they dialled.
pub const LEAF_NAME: &str = "tomte-hub";

/// How long a leaf is good for, and how long before its end it is renewed.
const LEAF_LIFE: Duration = Duration::from_secs(90 * 86_400);
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// Why the identity cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Others can read the key.
    #[error("{} can be read by others: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no key. It was left untouched.
    #[error("{} holds no key: restore it from a backup (without it, every agent must be enrolled again)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The user's own certificate or key cannot be used.
    #[error("the certificate {} cannot be used: {what}", path.display())]
    Own {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// TLS refuses key or certificate.
    #[error("TLS cannot use the certificate")]
    Tls(#[from] rustls::Error),
}

/// The hub's key, and what is made of it.
pub struct Identity {
    issuer: Issuer<'static, KeyPair>,
    authority: CertificateDer<'static>,
    authority_pem: String,
    pin: [u8; 32],
    fresh: bool,
}

/// A TLS configuration, and until when it should be used.
pub struct Leaf {
    /// What a listener needs.
    pub tls: Arc<ServerConfig>,
    made_at: Timestamp,
    renew_at: Timestamp,
}

impl Leaf {
    /// Whether it is time for a new one. A clock that was set back since makes
    /// it time as well: the end was reckoned from it.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.renew_at || now < self.made_at
    }
}

impl Identity {
    /// Reads the key in a folder, or makes one if there is none.
    ///
    /// # Errors
    /// When the key cannot be read, made or believed.
    pub fn open(folder: &Path) -> Result<Self, IdentityError> {
        let identity = Self::read_or_make(folder)?;
        let path = folder.join(AUTHORITY_FILE);
        // Any certificate of the key is as good as another; the first is kept,
        // so that nobody has to import it again.
        if identity.fresh || !path.exists() {
            write_new(&path, identity.authority_pem.as_bytes(), 0o644)
                .map_err(|source| IdentityError::Io { path, source })?;
        }
        Ok(identity)
    }

    fn read_or_make(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join(KEY_FILE);
        let io = |source| IdentityError::Io { path: path.clone(), source };
        match std::fs::read_to_string(&path) {
            Ok(pem) => {
                if std::fs::metadata(&path).map_err(io)?.mode() & 0o077 != 0 {
                    return Err(IdentityError::Exposed { path });
                }
                let key = KeyPair::from_pem(&pem).map_err(|source| IdentityError::NoKey { path, source })?;
                Self::of(key, false)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
                write_new(&path, key.serialize_pem().as_bytes(), 0o600).map_err(io)?;
                Self::of(key, true)
            }
            Err(error) => Err(io(error)),
        }
    }

    fn of(key: KeyPair, fresh: bool) -> Result<Self, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Tomte hub identity");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // The pin decides, not a date: a host that boots in 1970 must get in,
        // and the authority never ends.
        params.not_before = rcgen::date_time_ymd(1970, 1, 1);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        let certificate = params.self_signed(&key)?;
        let (authority, authority_pem) = (certificate.der().clone(), certificate.pem());
        let pin = Sha256::digest(key.subject_public_key_info()).into();
        Ok(Self { issuer: Issuer::new(params, key), authority, authority_pem, pin, fresh })
    }

    /// SHA-256 of the public key's SubjectPublicKeyInfo: what agents know.
    #[must_use]
    pub fn pin(&self) -> [u8; 32] {
        self.pin
    }

    /// Whether the key was just made.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// A leaf with a key of its own, for these names and addresses beside
    /// [`LEAF_NAME`].
    ///
    /// # Errors
    /// When a certificate cannot be made.
    pub fn leaf(&self, names: &[String], addresses: &[IpAddr], now: Timestamp) -> Result<Leaf, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, LEAF_NAME);
        let mut wanted: Vec<&str> = vec![LEAF_NAME];
        wanted.extend(names.iter().map(String::as_str));
        wanted.dedup();
        for name in wanted {
            // A host name that is not ASCII has no place in a certificate.
            if let Ok(name) = name.try_into() {
                params.subject_alt_names.push(SanType::DnsName(name));
            }
        }
        params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = rcgen::date_time_ymd(1970, 1, 1);
        let seconds = u64::try_from(now.millis() / 1000).unwrap_or(0);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds) + LEAF_LIFE;
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let chain = vec![leaf.der().clone(), self.authority.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let renew_at = now.plus(LEAF_LIFE - RENEW_BEFORE);
        Ok(Leaf { tls: server_config(chain, key)?, made_at: now, renew_at })
    }
}

/// The user's own certificate instead of the hub's. It is read again when the
/// configuration is, not by date.
///
/// # Errors
/// When a file cannot be read or used.
pub fn own_certificate(cert: &Path, key: &Path, now: Timestamp) -> Result<Leaf, IdentityError> {
    let wrong = |path: &Path, what: String| IdentityError::Own { path: path.to_owned(), what };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(cert, "there is no certificate in it".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let tls = server_config(chain, secret).map_err(|error| wrong(cert, error.to_string()))?;
    Ok(Leaf { tls, made_at: now, renew_at: Timestamp::from_millis(i64::MAX) })
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Writes a file, whole or not at all.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    // What a crash left behind is nobody's: the name is only ever used here.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_kept_private_and_gives_the_same_pin() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::open(folder.path()).unwrap();
        assert!(first.is_fresh());
        let path = folder.path().join(KEY_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let certificate = folder.path().join(AUTHORITY_FILE);
        let exported = std::fs::read(&certificate).unwrap();
        CertificateDer::from_pem_slice(&exported).unwrap();
        let second = Identity::open(folder.path()).unwrap();
        assert!(!second.is_fresh());
        assert_eq!(first.pin(), second.pin());
        assert_eq!(std::fs::read(&certificate).unwrap(), exported, "nobody has to import it again");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Identity::open(folder.path()), Err(IdentityError::Exposed { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "ruined").unwrap();
        assert!(matches!(Identity::open(folder.path()), Err(IdentityError::NoKey { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "ruined", "left untouched");
    }

    #[test]
    fn leaves_are_renewed_before_their_end_and_when_the_clock_was_set() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::open(folder.path()).unwrap();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let leaf = identity.leaf(&["hub.lan".to_owned()], &["10.0.0.1".parse().unwrap()], now).unwrap();
        let days = |n: u64| Duration::from_secs(n * 86_400);
        assert!(!leaf.is_due(now) && !leaf.is_due(now.plus(days(59))));
        assert!(leaf.is_due(now.plus(days(60))));
        assert!(leaf.is_due(now.minus(days(1))), "made by a clock that was ahead");
        assert_eq!(leaf.tls.alpn_protocols, [b"http/1.1".to_vec()]);
        identity.leaf(&["höst".to_owned()], &[], Timestamp::default()).unwrap();
    }

    #[test]
    fn a_certificate_of_the_users_own_is_taken_or_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["hub.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (cert_file, key_file) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        std::fs::write(&cert_file, cert.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let now = Timestamp::from_millis(1_800_000_000_000);
        assert!(!own_certificate(&cert_file, &key_file, now).unwrap().is_due(now));
        std::fs::write(&key_file, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(own_certificate(&cert_file, &key_file, now).is_err(), "the key of another certificate");
        let error = own_certificate(&key_file, &key_file, now).err().unwrap().to_string();
        assert!(error.contains("k.pem"), "{error}");
    }
}
