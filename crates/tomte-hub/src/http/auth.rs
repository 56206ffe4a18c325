//! Who is asking: API tokens, session cookies, and the hub's own socket.
//!
//! A token or cookie is looked up by its SHA-256 and, once found, remembered
//! for a minute. Every change of accounts, sessions and tokens goes through
//! [`Auth::forget`], which drops what is remembered and makes live connections
//! prove themselves anew.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tomte_api::account::{Credential, Role};
use tomte_model::Timestamp;
use tomte_store::state::SecretHash;

use super::password::Passwords;
use super::problem::Failure;
use super::source::Source;
use crate::Hub;
use crate::access::{Actor, Caller};
use crate::backoff::BackOff;
use crate::secrets;

/// How long somebody is remembered without looking again; also how exactly
/// "last used" is kept.
const REMEMBER: Duration = Duration::from_secs(60);
/// How many are remembered.
const REMEMBERED: usize = 1_024;
/// How many guessers are remembered.
const GUESSERS: usize = 4_096;

/// Somebody who proved who they are, and how.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Who, and what they may do.
    pub(crate) caller: Caller,
    /// How they proved it.
    pub(crate) by: Credential,
    /// Of the cookie or token; `None` on the hub's own socket.
    pub(crate) hash: Option<SecretHash>,
    /// The account or token's name.
    pub(crate) name: String,
    /// When the proof ends.
    pub(crate) expires_at: Option<Timestamp>,
}

/// What a credential was found to be.
#[derive(Debug, Clone)]
struct Known {
    by: Credential,
    name: String,
    role: Role,
    expires_at: Option<Timestamp>,
    found: Instant,
}

/// Who guesses: what they try, and from where.
type Guesser = (String, Option<IpAddr>);

/// Checks credentials.
pub(crate) struct Auth {
    /// Passwords.
    pub(crate) passwords: Passwords,
    remembered: Mutex<HashMap<SecretHash, Known>>,
    guessers: Mutex<BackOff<Guesser>>,
    /// Held while accounts are changed by what was read of them before.
    pub(crate) changing: tokio::sync::Mutex<()>,
    started: Instant,
    changes: watch::Sender<u64>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            passwords: Passwords::default(),
            remembered: Mutex::default(),
            guessers: Mutex::new(BackOff::new(GUESSERS)),
            changing: tokio::sync::Mutex::default(),
            started: Instant::now(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Auth {
    /// Who is at the hub's own socket.
    pub(crate) fn local(source: &Source) -> Identity {
        Identity {
            caller: Caller { actor: source.actor("local"), role: Role::Admin },
            by: Credential::Local,
            hash: None,
            name: "local".to_owned(),
            expires_at: None,
        }
    }

    /// Who has this secret; `None` when nobody has (any more).
    pub(crate) async fn identify(
        &self,
        hub: &Hub,
        by: Credential,
        hash: SecretHash,
        source: &Source,
    ) -> Result<Option<Identity>, Failure> {
        let now = hub.now();
        let remembered = self.remembered.lock().expect("nobody panics with it").get(&hash).cloned();
        let known = match remembered {
            Some(known) if known.by == by && known.found.elapsed() < REMEMBER => Some(known),
            _ => {
                // Read before looking, so that a change in between is not missed.
                let revision = *self.changes.borrow();
                let known = look_up(hub, by, hash, now).await?;
                if let Some(known) = &known {
                    self.remember(hash, known.clone(), revision);
                }
                known
            }
        };
        let known = known.filter(|known| known.expires_at.is_none_or(|end| now < end));
        Ok(known.map(|known| {
            let prefix = match by {
                Credential::Session => "account",
                Credential::Token | Credential::Local => "token",
            };
            let actor: Actor = source.actor(format!("{prefix}:{}", known.name));
            Identity {
                caller: Caller { actor, role: known.role },
                by,
                hash: Some(hash),
                name: known.name,
                expires_at: known.expires_at,
            }
        }))
    }

    fn remember(&self, hash: SecretHash, known: Known, revision: u64) {
        let mut remembered = self.remembered.lock().expect("nobody panics with it");
        if *self.changes.borrow() != revision {
            return;
        }
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, known| known.found.elapsed() < REMEMBER);
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
        }
        remembered.insert(hash, known);
    }

    /// Accounts, sessions or tokens changed: nobody is known any more.
    pub(crate) fn forget(&self) {
        let mut remembered = self.remembered.lock().expect("nobody panics with it");
        remembered.clear();
        self.changes.send_modify(|revision| *revision += 1);
    }

    /// Tells when [`Self::forget`] was called.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How long somebody still has to wait before the next guess.
    pub(crate) fn wait(&self, what: &str, source: &Source) -> Option<Duration> {
        let who = guesser(what, source);
        self.guessers.lock().expect("nobody panics with it").wait(&who, self.millis())
    }

    /// Notes a wrong guess, and says in the log when guessing becomes a habit.
    pub(crate) fn failed(&self, what: &str, source: &Source) {
        let who = guesser(what, source);
        let count = self.guessers.lock().expect("nobody panics with it").fail(who, self.millis());
        if count == 10 {
            tracing::warn!(address = ?source.address, what, "many wrong credentials, slowing down");
        }
    }

    /// Notes that somebody got it right.
    pub(crate) fn succeeded(&self, what: &str, source: &Source) {
        let who = guesser(what, source);
        self.guessers.lock().expect("nobody panics with it").succeed(&who);
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Long names are cut: nobody's memory grows by what a stranger types.
fn guesser(what: &str, source: &Source) -> Guesser {
    (what.chars().take(64).collect(), source.place())
}

/// Looks a secret up in the store, and notes there that it was used.
async fn look_up(hub: &Hub, by: Credential, hash: SecretHash, now: Timestamp) -> Result<Option<Known>, Failure> {
    let found = Instant::now();
    let known = hub
        .read(move |store| {
            let state = &store.state;
            match by {
                Credential::Token => Ok(state.api_token(&hash, now)?.map(|token| Known {
                    by,
                    name: token.name,
                    role: api_role(token.role),
                    expires_at: token.expires_at,
                    found,
                })),
                Credential::Session => {
                    let Some(session) = state.session(&hash, now)? else { return Ok(None) };
                    let account = state.account(&session.account)?.filter(|account| !account.disabled);
                    Ok(account.map(|account| Known {
                        by,
                        name: account.name,
                        role: api_role(account.role),
                        expires_at: Some(session.expires_at),
                        found,
                    }))
                }
                Credential::Local => Ok(None),
            }
        })
        .await?;
    if let Some(known) = &known {
        let expires_at = known.expires_at.unwrap_or(now);
        let touched = hub
            .read(move |store| match by {
                Credential::Session => store.state.touch_session(&hash, now, expires_at),
                Credential::Token | Credential::Local => store.state.touch_api_token(&hash, now),
            })
            .await;
        // A full disk must not lock anybody out.
        if let Err(error) = touched {
            tracing::debug!(%error, "cannot note when a credential was used");
        }
    }
    Ok(known)
}

/// The store's roles in the API's words.
pub(crate) fn api_role(role: tomte_store::state::Role) -> Role {
    match role {
        tomte_store::state::Role::Viewer => Role::Viewer,
        tomte_store::state::Role::Operator => Role::Operator,
        tomte_store::state::Role::Admin => Role::Admin,
    }
}

/// The API's roles in the store's words.
pub(crate) fn store_role(role: Role) -> tomte_store::state::Role {
    match role {
        Role::Viewer => tomte_store::state::Role::Viewer,
        Role::Operator => tomte_store::state::Role::Operator,
        Role::Admin => tomte_store::state::Role::Admin,
    }
}

/// The hash of a secret as it was presented.
pub(crate) fn hash(secret: &str) -> SecretHash {
    secrets::hash(secret.as_bytes())
}
