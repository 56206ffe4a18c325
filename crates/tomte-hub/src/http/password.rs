//! Passwords: hashed by argon2id, checked with the same work whether the
//! account exists or not, and never more than a few at a time.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::problem::Failure;
use crate::secrets;

/// The shortest password that is taken.
pub(crate) const SHORTEST: usize = 10;
/// The longest: more would be work for nothing.
pub(crate) const LONGEST: usize = 1_024;

/// How many may be hashed at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;
/// How long one may wait for its turn.
const TURN: Duration = Duration::from_secs(10);

/// What a password is checked against when there is no account of that name.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash(&secrets::random::<32>()).expect("argon2 takes any 32 bytes"));

/// Hashes and checks passwords off the async threads.
#[derive(Debug, Clone)]
pub(crate) struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Passwords {
    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Failure> {
        let password = Zeroizing::new(password);
        if password.chars().count() < SHORTEST {
            return Err(Failure::invalid(format!("a password has at least {SHORTEST} characters")));
        }
        if password.len() > LONGEST {
            return Err(Failure::invalid(format!("a password has at most {LONGEST} bytes")));
        }
        self.off_thread(move || hash(password.as_bytes())).await?.map_err(|error| Failure::fault(error.to_string()))
    }

    /// Whether a password is the one that was hashed. Without a hash it never
    /// is, and finding that out takes as long.
    pub(crate) async fn check(&self, password: String, hashed: Option<String>) -> Result<bool, Failure> {
        let password = Zeroizing::new(password);
        self.off_thread(move || {
            let known = hashed.is_some();
            let hashed = hashed.unwrap_or_else(|| NOBODY.clone());
            // Cut, so that a long one is no more work than the longest allowed.
            let tried = &password.as_bytes()[..password.len().min(LONGEST)];
            let right = PasswordHash::new(&hashed)
                .is_ok_and(|hashed| Argon2::default().verify_password(tried, &hashed).is_ok());
            right && known && password.len() <= LONGEST
        })
        .await
    }

    async fn off_thread<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> Result<R, Failure> {
        let busy = || Failure::unavailable("busy", "too many are signing in at once");
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.0).acquire_owned()).await.map_err(|_| busy())?;
        let turn = turn.map_err(|_| busy())?;
        tokio::task::spawn_blocking(move || {
            let result = work();
            // Kept until the work is done, also when nobody waits for it any more.
            drop(turn);
            result
        })
        .await
        .map_err(Failure::fault)
    }
}

fn hash(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    Argon2::default().hash_password(password).map(|hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passwords_are_argon2id_and_nobody_has_none() {
        let passwords = Passwords::default();
        let hashed = passwords.hash("correct horse".into()).await.expect("long enough");
        assert!(hashed.starts_with("$argon2id$"), "{hashed}");
        let check =
            async |text: &str, hashed: Option<String>| passwords.check(text.into(), hashed).await.expect("checked");
        assert!(check("correct horse", Some(hashed.clone())).await);
        assert!(!check("wrong horse", Some(hashed.clone())).await);
        assert!(!check("correct horse", None).await);
        assert!(!check(&"x".repeat(LONGEST + 1), Some(hashed)).await);
        assert!(passwords.hash("short".into()).await.is_err());
    }
}
