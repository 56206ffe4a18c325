//! What the agent remembers between runs, in its state folder: who it is, how
//! it is enrolled, which outbox this is, how things were judged.
//!
//! Every file is written whole (write, fsync, rename) and owner-only. A file
//! that cannot be read is set aside under another name, counted, and the agent
//! goes on without it; only the identity is never replaced in silence, because
//! everything the hub knows hangs on it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tomte_model::{HostId, Timestamp};

/// What went wrong with the state folder.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The identity file holds something else.
    #[error(
        "{} is not an identity of this agent; restore it from a backup, or remove it and enroll this host anew",
        path.display()
    )]
    BadIdentity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Another agent uses the folder.
    #[error("another tomte-agent already uses {}", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The system gave no random numbers, or refused a key.
    #[error("the system's random source failed")]
    Random,
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { action, path, source }
}

/// How this host is known to its hub.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The address it was enrolled at.
    pub url: String,
    /// The name the hub gave the host.
    pub name: String,
    /// The bearer token.
    pub token: String,
    /// SHA-256 of the hub's long-lived public key, in base64url; `None` when
    /// the hub is known by a public certificate for its name.
    pub pin: Option<String>,
}

// The token must not reach a log.
impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolment").field("url", &self.url).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Who this agent is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The host's id for all its life.
    pub host: HostId,
    /// The Ed25519 key pair, PKCS #8 in base64url.
    key: String,
    /// The hub it is enrolled at, if any.
    pub enrolment: Option<Enrolment>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("host", &self.host).field("enrolment", &self.enrolment).finish_non_exhaustive()
    }
}

impl Identity {
    /// A new identity with a new id and a new key pair.
    ///
    /// # Errors
    /// When the system's random source fails.
    pub fn generate(now: Timestamp) -> Result<Self, StateError> {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| StateError::Random)?;
        let host = HostId::from_parts(u64::try_from(now.millis()).unwrap_or(0), random_u128()?);
        Ok(Self { host, key: BASE64.encode(key.as_ref()), enrolment: None })
    }

    /// The public half of the key pair, 32 bytes.
    ///
    /// # Errors
    /// When the stored key pair is damaged.
    pub fn public_key(&self) -> Result<Vec<u8>, StateError> {
        let pkcs8 = BASE64.decode(&self.key).map_err(|_| StateError::Random)?;
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| StateError::Random)?;
        Ok(pair.public_key().as_ref().to_vec())
    }
}

/// 128 random bits.
///
/// # Errors
/// When the system's random source fails.
pub fn random_u128() -> Result<u128, StateError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StateError::Random)?;
    Ok(u128::from_le_bytes(bytes))
}

/// The state folder.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

/// Held while an agent runs on a state folder.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

const IDENTITY: &str = "identity.json";
const EPOCH: &str = "epoch";

impl StateDir {
    /// The folder at `path`, made (owner-only) if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        let path = path.into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(io_error("make the state folder", &path))?;
        Ok(Self { path })
    }

    /// The folder, if it is there.
    #[must_use]
    pub fn existing(path: &Path) -> Option<Self> {
        path.is_dir().then(|| Self { path: path.to_owned() })
    }

    /// Tries whether the folder can be written.
    ///
    /// # Errors
    /// When it cannot.
    pub fn probe_write(&self) -> Result<(), StateError> {
        let staged = self.stage("probe", b"tomte")?;
        fs::remove_file(&staged).map_err(io_error("remove", &staged))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder for spooled reports.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// Claims the folder for this process.
    ///
    /// # Errors
    /// When another agent holds it.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.path.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(StateError::Locked { path: self.path.clone() }),
            Err(fs::TryLockError::Error(source)) => Err(StateError::Io { action: "lock", path, source }),
        }
    }

    /// The identity, if there is one.
    ///
    /// # Errors
    /// When the file is there and cannot be read or is damaged.
    pub fn identity(&self) -> Result<Option<Identity>, StateError> {
        let path = self.path.join(IDENTITY);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Io { action: "read", path, source }),
        };
        serde_json::from_str(&text).map(Some).map_err(|source| StateError::BadIdentity { path, source })
    }

    /// The identity, made now if there is none. Two processes that make one at
    /// the same time end up with the same.
    ///
    /// # Errors
    /// When it can be neither read nor written.
    pub fn identity_or_new(&self, now: Timestamp) -> Result<Identity, StateError> {
        if let Some(identity) = self.identity()? {
            return Ok(identity);
        }
        let identity = Identity::generate(now)?;
        let path = self.path.join(IDENTITY);
        let staged = self.stage(IDENTITY, &json(&identity))?;
        // A hard link fails when the name is taken, a rename would not.
        let linked = fs::hard_link(&staged, &path);
        let _ = fs::remove_file(&staged);
        match linked {
            Ok(()) => Ok(identity),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.identity()?.ok_or(StateError::Io { action: "read", path, source: error })
            }
            // A file system without hard links.
            Err(_) => self.save_identity(&identity).map(|()| identity),
        }
    }

    /// Writes the identity.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_identity(&self, identity: &Identity) -> Result<(), StateError> {
        self.write(IDENTITY, &json(identity))
    }

    /// Opens a new outbox epoch: greater than every one before, and on disk
    /// before it is used, so that no position is ever used twice.
    ///
    /// When the disk refuses, the wall clock alone has to keep epochs apart;
    /// the error comes back beside the epoch.
    pub fn next_epoch(&self, now: Timestamp, at_least: u64) -> (u64, Option<StateError>) {
        let last = fs::read_to_string(self.path.join(EPOCH)).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let after_last = last.unwrap_or(0).saturating_add(1);
        let epoch = u64::try_from(now.millis()).unwrap_or(0).max(after_last).max(at_least);
        (epoch, self.write(EPOCH, format!("{epoch}\n").as_bytes()).err())
    }

    /// Reads a saved value. One that cannot be understood is set aside as
    /// `NAME.bad`, and reported as an error beside nothing.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> (Option<T>, Option<StateError>) {
        let path = self.path.join(name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (None, None),
            Err(source) => return (None, Some(StateError::Io { action: "read", path, source })),
        };
        match serde_json::from_slice(&text) {
            Ok(value) => (Some(value), None),
            Err(error) => {
                let _ = fs::rename(&path, self.path.join(format!("{name}.bad")));
                (None, Some(StateError::Io { action: "understand", path, source: error.into() }))
            }
        }
    }

    /// Reads a saved value and changes nothing, whatever is wrong with it.
    ///
    /// # Errors
    /// When it is not there or cannot be understood.
    pub fn peek<T: DeserializeOwned>(&self, name: &str) -> Result<T, StateError> {
        let path = self.path.join(name);
        let read = fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
        read.map_err(io_error("read", &path))
    }

    /// Writes a value that [`Self::load`] reads.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        self.write(name, &json(value))
    }

    /// Removes a saved value; one that is not there is no error.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StateError::Io { action: "remove", path, source: error })
            }
            _ => Ok(()),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.path.join(name);
        let staged = self.stage(name, bytes)?;
        fs::rename(&staged, &path).and_then(|()| File::open(&self.path)?.sync_all()).map_err(io_error("write", &path))
    }

    /// Writes and syncs a file beside the one it will become.
    fn stage(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, StateError> {
        let staged = self.path.join(format!(".{name}.{}", std::process::id()));
        let written = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&staged).and_then(
            |mut file| {
                file.write_all(bytes)?;
                // Root enrols, the service's user has to read it: a file
                // belongs to whom the folder belongs.
                let folder = fs::metadata(&self.path)?;
                if folder.uid() != file.metadata()?.uid() {
                    std::os::unix::fs::fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
                }
                file.sync_all()
            },
        );
        written.map_err(|source| {
            let _ = fs::remove_file(&staged);
            StateError::Io { action: "write", path: self.path.join(name), source }
        })?;
        Ok(staged)
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("state holds no maps with keys that JSON lacks")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn the_identity_is_made_once_and_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path().join("a/b")).unwrap();
        assert_eq!(state.identity().unwrap(), None);
        let first = state.identity_or_new(NOW).unwrap();
        assert_eq!(state.identity_or_new(NOW).unwrap(), first);
        assert_eq!(first.public_key().unwrap().len(), 32);
        let mode = fs::metadata(state.path().join(IDENTITY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::metadata(state.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_damaged_identity_is_never_replaced_in_silence() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        fs::write(state.path().join(IDENTITY), "{").unwrap();
        let error = state.identity_or_new(NOW).unwrap_err();
        assert!(error.to_string().contains("enroll this host anew"), "{error}");
        assert_eq!(fs::read_to_string(state.path().join(IDENTITY)).unwrap(), "{");
    }

    #[test]
    fn epochs_only_grow_also_when_the_clock_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let (first, error) = state.next_epoch(NOW, 0);
        assert!(error.is_none());
        let (second, _) = state.next_epoch(Timestamp::from_millis(5), 0);
        assert_eq!(second, first + 1);
        assert_eq!(state.next_epoch(Timestamp::from_millis(5), second + 10).0, second + 10);
    }

    #[test]
    fn what_cannot_be_understood_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        fs::write(state.path().join("x.json"), "not json").unwrap();
        let (value, error) = state.load::<Vec<u8>>("x.json");
        assert!(value.is_none() && error.is_some());
        assert!(state.path().join("x.json.bad").exists());
        assert!(state.load::<Vec<u8>>("x.json").1.is_none());
        state.save("x.json", &vec![1_u8, 2]).unwrap();
        assert_eq!(state.load::<Vec<u8>>("x.json").0, Some(vec![1, 2]));
    }

    #[test]
    fn two_agents_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let held = state.lock().unwrap();
        assert!(matches!(state.lock(), Err(StateError::Locked { .. })));
        drop(held);
        assert!(state.lock().is_ok());
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        let enrolment = Enrolment { url: "u".into(), name: "n".into(), token: "geheim".into(), pin: Some("p".into()) };
        assert!(!format!("{enrolment:?}").contains("geheim"));
    }
}
