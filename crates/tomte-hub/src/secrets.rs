//! Secrets: how they are made, told apart, and kept.
//!
//! A token is `tomte_`, a letter for what it opens, `_`, and 32 random bytes in
//! base64url: people and scanners recognise it. The hub keeps only SHA-256 of
//! it, which is enough for something that random. Passwords are not kept here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tomte_model::{Clock, EventId, HostId};
use tomte_store::state::SecretHash;
use zeroize::Zeroizing;

/// How many characters of a token are kept in the clear, to tell tokens apart.
const PREFIX: usize = 12;

/// What a secret opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// `/link`, for one host's agent.
    Host,
    /// The API, for a program.
    Api,
    /// The API, for a browser that is signed in.
    Session,
    /// The first sign-in.
    Setup,
}

impl SecretKind {
    fn letter(self) -> char {
        match self {
            Self::Host => 'h',
            Self::Api => 'a',
            Self::Session => 's',
            Self::Setup => 'i',
        }
    }
}

/// A secret that was just made. It is told once and never kept.
pub struct NewSecret {
    /// The secret itself.
    pub text: Zeroizing<String>,
    /// What to keep of it.
    pub hash: SecretHash,
    /// Its first characters, to tell it from others.
    pub prefix: String,
}

/// Fills an array with random bytes of the operating system.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    bytes
}

/// Makes a secret.
#[must_use]
pub fn new_secret(kind: SecretKind) -> NewSecret {
    let bytes = Zeroizing::new(random::<32>());
    let text = Zeroizing::new(format!("tomte_{}_{}", kind.letter(), URL_SAFE_NO_PAD.encode(bytes.as_slice())));
    NewSecret { hash: hash(text.as_bytes()), prefix: prefix(&text).to_owned(), text }
}

/// The beginning of a token, for people: it is no secret.
#[must_use]
pub fn prefix(token: &str) -> &str {
    token.get(..PREFIX).unwrap_or_default()
}

/// What is kept of a secret.
#[must_use]
pub fn hash(secret: &[u8]) -> SecretHash {
    Sha256::digest(secret).into()
}

/// Whether two hashes are the same, in a time that does not tell where they differ.
#[must_use]
pub fn same(a: &SecretHash, b: &SecretHash) -> bool {
    a.ct_eq(b).into()
}

/// A fresh id for an event.
pub(crate) fn event_id(clock: &dyn Clock) -> EventId {
    EventId::from_parts(millis(clock), u128::from_le_bytes(random()))
}

/// A fresh id for a host that has no agent of its own.
pub(crate) fn host_id(clock: &dyn Clock) -> HostId {
    HostId::from_parts(millis(clock), u128::from_le_bytes(random()))
}

fn millis(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.now().wall.millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_can_be_recognised_and_are_never_the_same() {
        let (one, two) = (new_secret(SecretKind::Host), new_secret(SecretKind::Host));
        assert!(one.text.starts_with("tomte_h_"));
        assert_eq!(one.text.len(), 8 + 43);
        assert_ne!(*one.text, *two.text);
        assert!(same(&hash(one.text.as_bytes()), &one.hash));
        assert!(!same(&one.hash, &two.hash));
        assert_eq!(prefix(&one.text), one.prefix);
        assert_eq!(prefix("short"), "");
    }
}
