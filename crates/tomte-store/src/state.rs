//! The hub's own records: hosts, access, events, audit, and what was last known.
//!
//! Every write is one durable transaction, done when the call returns. Secrets
//! come in hashed; nothing here can be used to sign in. Passwords are the
//! caller's salted hashes, tokens and codes are SHA-256 of random bytes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tomte_model::latest::LatestSnapshot;
use tomte_model::{Action, ActionId, ActionState, Event, HostId, HostName, KindDef, Severity, Timestamp};

use crate::StoreError;
use crate::history::{Progress, Row};

/// SHA-256 of a secret.
pub type SecretHash = [u8; 32];

/// A host as the hub knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRecord {
    /// Its identity; all else hangs on it.
    pub id: HostId,
    /// Its name, for people. Unique over all names and aliases.
    pub name: HostName,
    /// Other names that lead to it. Unique like the name.
    pub aliases: Vec<HostName>,
    /// What it calls itself, when that is no valid name.
    pub foreign_name: Option<String>,
    /// Its roles.
    pub roles: Vec<String>,
    /// What other systems call it, by system.
    pub external_ids: BTreeMap<String, String>,
    /// The host through which it is seen, if it has no agent of its own.
    pub via: Option<HostId>,
    /// The public half of its agent's key pair.
    pub public_key: Option<Vec<u8>>,
    /// The agent's version, as last heard.
    pub agent_version: Option<String>,
    /// When it was made known to the hub.
    pub created_at: Timestamp,
    /// When it was first heard of.
    pub first_seen_at: Option<Timestamp>,
    /// When it was last heard of, as far as that was written down.
    pub last_seen_at: Option<Timestamp>,
    /// The presence that was last announced by an event.
    pub announced_presence: Option<String>,
    /// What the hub pushes to its agent: key to TOML value.
    pub settings: BTreeMap<String, String>,
    /// Counts the changes of `settings`.
    pub settings_revision: u64,
}

impl HostRecord {
    /// A host of which only identity, name and birth are known.
    #[must_use]
    pub fn new(id: HostId, name: HostName, created_at: Timestamp) -> Self {
        Self {
            id,
            name,
            aliases: Vec::new(),
            foreign_name: None,
            roles: Vec::new(),
            external_ids: BTreeMap::new(),
            via: None,
            public_key: None,
            agent_version: None,
            created_at,
            first_seen_at: None,
            last_seen_at: None,
            announced_presence: None,
            settings: BTreeMap::new(),
            settings_revision: 0,
        }
    }
}

/// A host's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostToken {
    /// The hash of the secret.
    pub hash: SecretHash,
    /// The host that it speaks for.
    pub host: HostId,
    /// The first characters of the secret, to tell tokens apart.
    pub prefix: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was first used. From then on, older tokens of the host are void.
    pub first_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A right to report for another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Whose token.
    pub agent: HostId,
    /// The host that it may report for.
    pub via: HostId,
}

/// A single-use code that enrols a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentCode {
    /// The hash of its secret.
    pub hash: SecretHash,
    /// The name that the host will have.
    pub name: HostName,
    /// Roles that the host will have.
    pub roles: Vec<String>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is void.
    pub expires_at: Timestamp,
    /// When it was used, and by which host.
    pub used: Option<(Timestamp, HostId)>,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Look and act.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them, weakest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The word for it, lower-case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role: viewer, operator or admin")]
pub struct BadRole(pub String);

impl std::str::FromStr for Role {
    type Err = BadRole;
    fn from_str(text: &str) -> Result<Self, BadRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| BadRole(text.to_owned()))
    }
}

/// A person who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name; unique.
    pub name: String,
    /// The salted hash of the password, with its parameters; `None` until one
    /// is set.
    pub password_hash: Option<String>,
    /// What they may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the password was last set.
    pub password_changed_at: Option<Timestamp>,
    /// When they last signed in.
    pub last_login_at: Option<Timestamp>,
    /// Whether signing in is refused.
    pub disabled: bool,
}

/// A person who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The hash of the cookie's secret.
    pub hash: SecretHash,
    /// Who.
    pub account: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used, as far as that was written down.
    pub last_used_at: Timestamp,
    /// From when on it is void.
    pub expires_at: Timestamp,
    /// From where.
    pub address: Option<String>,
    /// With which browser.
    pub user_agent: Option<String>,
}

/// A token for the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// The hash of the secret.
    pub hash: SecretHash,
    /// The first characters of the secret, to tell tokens apart.
    pub prefix: String,
    /// The name; unique.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is void.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, as far as that was written down.
    pub last_used_at: Option<Timestamp>,
}

/// An event to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The host it happened on; `None` for the hub itself.
    pub host: Option<HostId>,
    /// When the hub heard of it.
    pub received_at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// An event that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its receipt number: counts up in the order of arrival, for cursors.
    pub receipt: u64,
    /// The host it happened on; `None` for the hub itself.
    pub host: Option<HostId>,
    /// When the hub heard of it.
    pub received_at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// In which order to list, and after which receipt number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Newest first, below this number (`None`: from the newest on).
    NewestFirst(Option<u64>),
    /// Oldest first, above this number; zero for all.
    OldestFirst(u64),
}

/// Which Actions to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActionQuery {
    /// Of these hosts; of all, when empty.
    pub hosts: Vec<HostId>,
    /// In these states; in any, when empty.
    pub states: Vec<ActionState>,
    /// Older than this one: when it was filed, and its id.
    pub before: Option<(Timestamp, ActionId)>,
    /// How many at most.
    pub limit: usize,
}

/// Which events to list.
#[derive(Debug, Clone, PartialEq)]
pub struct EventQuery {
    /// On any of these hosts; empty: on any, and of the hub itself.
    pub hosts: Vec<HostId>,
    /// Of any of these types; empty: of any.
    pub kinds: Vec<String>,
    /// At least as severe.
    pub severity: Option<Severity>,
    /// About this subject.
    pub subject: Option<String>,
    /// From this moment on, by the event's own time.
    pub from: Option<Timestamp>,
    /// Up to and without this moment.
    pub to: Option<Timestamp>,
    /// Order and cursor.
    pub page: Page,
    /// How many at most.
    pub limit: usize,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            kinds: Vec::new(),
            severity: None,
            subject: None,
            from: None,
            to: None,
            page: Page::NewestFirst(None),
            limit: 1000,
        }
    }
}

/// A line of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who: `account:ada`, `token:ci`, `host:nas`, `hub.sock`.
    pub actor: String,
    /// From which address, if any.
    pub address: Option<String>,
    /// What was done or tried: `host.rename`.
    pub action: String,
    /// To what.
    pub target: Option<String>,
    /// What came of it: `ok`, `refused`, an error.
    pub outcome: String,
    /// More, by key. Never a secret.
    pub details: BTreeMap<String, String>,
}

/// A line of the audit that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAuditEntry {
    /// Its number, for cursors.
    pub number: u64,
    /// The line.
    pub entry: AuditEntry,
}

/// What was last known of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The host.
    pub host: HostId,
    /// Every report up to this row is in it.
    pub row: Row,
    /// When it was taken.
    pub at: Timestamp,
    /// What was known.
    pub latest: LatestSnapshot,
}

/// The hub's own records.
pub trait StateStore: Send + Sync {
    /// All hosts, by name.
    ///
    /// # Errors
    /// When the database cannot be read; the same holds for every method that
    /// only reads.
    fn hosts(&self) -> Result<Vec<HostRecord>, StoreError>;
    /// Writes a host, new or changed, whole.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`] when its name or an alias leads to another
    /// host; else when the database cannot be written, and the same holds for
    /// every method that writes.
    fn put_host(&self, host: &HostRecord) -> Result<(), StoreError>;
    /// Notes when hosts were last heard of.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn touch_hosts(&self, seen: &[(HostId, Timestamp)]) -> Result<(), StoreError>;
    /// Deletes a host with its tokens, grants, snapshot and events. Returns
    /// whether it was there.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn remove_host(&self, host: HostId) -> Result<bool, StoreError>;

    /// Adds a token. Older ones of the host stay valid until it is first used.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn add_host_token(&self, token: &HostToken) -> Result<(), StoreError>;
    /// The tokens of all hosts, revoked ones included.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn host_tokens(&self) -> Result<Vec<HostToken>, StoreError>;
    /// Notes the first use of a token, and revokes the host's older tokens.
    /// Returns the token as it is now, `None` when it is unknown or revoked.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn use_host_token(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<HostToken>, StoreError>;
    /// Revokes all tokens of a host; returns how many that were.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn revoke_host_tokens(&self, host: HostId, now: Timestamp) -> Result<usize, StoreError>;

    /// All grants.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn grants(&self) -> Result<Vec<Grant>, StoreError>;
    /// Adds a grant; returns whether it is new.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn add_grant(&self, grant: Grant) -> Result<bool, StoreError>;
    /// Takes a grant back; returns whether it was there.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn remove_grant(&self, grant: Grant) -> Result<bool, StoreError>;

    /// Adds an enrolment code.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn add_code(&self, code: &EnrolmentCode) -> Result<(), StoreError>;
    /// The code of that hash, in whatever state it is.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn code(&self, hash: &SecretHash) -> Result<Option<EnrolmentCode>, StoreError>;
    /// Uses a code: marks it used, writes the host and its first token, all or
    /// nothing. Older tokens of that host are revoked.
    ///
    /// # Errors
    /// [`StoreError::BadCode`] when the code is unknown, used or expired;
    /// [`StoreError::NameTaken`] as for [`Self::put_host`].
    fn enrol(&self, code: &SecretHash, now: Timestamp, host: &HostRecord, token: &HostToken) -> Result<(), StoreError>;

    /// All accounts, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn accounts(&self) -> Result<Vec<Account>, StoreError>;
    /// The account of that name.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn account(&self, name: &str) -> Result<Option<Account>, StoreError>;
    /// Adds an account.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`] when there is one of that name.
    fn add_account(&self, account: &Account) -> Result<(), StoreError>;
    /// Changes an account, whole; returns whether it is there.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn update_account(&self, account: &Account) -> Result<bool, StoreError>;
    /// Deletes an account and its sessions; returns whether it was there.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn remove_account(&self, name: &str) -> Result<bool, StoreError>;

    /// Adds a session.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn add_session(&self, session: &Session) -> Result<(), StoreError>;
    /// The session of that hash, unless it has expired.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn session(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<Session>, StoreError>;
    /// Notes that a session was used, and until when it holds now.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn touch_session(&self, hash: &SecretHash, now: Timestamp, expires_at: Timestamp) -> Result<(), StoreError>;
    /// Ends a session; returns whether there was one.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn remove_session(&self, hash: &SecretHash) -> Result<bool, StoreError>;
    /// Ends all sessions of an account but one; returns how many that were.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn remove_sessions(&self, account: &str, keep: Option<&SecretHash>) -> Result<usize, StoreError>;

    /// All API tokens, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn api_tokens(&self) -> Result<Vec<ApiToken>, StoreError>;
    /// The API token of that hash, unless it has expired.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn api_token(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<ApiToken>, StoreError>;
    /// Adds an API token.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`] when there is one of that name.
    fn add_api_token(&self, token: &ApiToken) -> Result<(), StoreError>;
    /// Notes when an API token was last used.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn touch_api_token(&self, hash: &SecretHash, now: Timestamp) -> Result<(), StoreError>;
    /// Deletes an API token; returns whether it was there.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn remove_api_token(&self, name: &str) -> Result<bool, StoreError>;

    /// Keeps events, all or none. For each, its receipt number; `None` when an
    /// event of that id is kept already.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn add_events(&self, events: &[NewEvent]) -> Result<Vec<Option<u64>>, StoreError>;
    /// Lists events.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError>;
    /// The greatest receipt number so far; zero when there was none.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn last_receipt(&self) -> Result<u64, StoreError>;

    /// Keeps an Action as its agent tells it; `false`: it was known as well, or
    /// better, or as another host's.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn put_action(&self, action: &Action) -> Result<bool, StoreError>;
    /// One Action.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn action(&self, id: ActionId) -> Result<Option<Action>, StoreError>;
    /// Lists Actions, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn actions(&self, query: &ActionQuery) -> Result<Vec<Action>, StoreError>;

    /// Writes a line of the audit. Lines are never changed or deleted.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn audit(&self, entry: &AuditEntry) -> Result<u64, StoreError>;
    /// Reads the audit.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn audit_log(&self, page: Page, limit: usize) -> Result<Vec<StoredAuditEntry>, StoreError>;

    /// The kinds that others described.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn kinds(&self) -> Result<Vec<KindDef>, StoreError>;
    /// Keeps what is known of a kind, in place of what was known before.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn put_kind(&self, kind: &KindDef) -> Result<(), StoreError>;

    /// Saves what was last known of hosts, in place of what was saved before.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn save_snapshots(&self, snapshots: &[Snapshot]) -> Result<(), StoreError>;
    /// What was last known of all hosts. One that cannot be read is left out:
    /// the next reports bring it back.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError>;

    /// A small thing kept by name: a setting, a saved state.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn value(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Keeps a small thing by name; `None` deletes it.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn put_value(&self, key: &str, value: Option<&[u8]>) -> Result<(), StoreError>;

    /// Forgets what has had its time: events that happened before
    /// `events_before`, expired sessions and API tokens, codes and revoked
    /// tokens a day after. Gives the space back.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn maintain(&self, now: Timestamp, events_before: Timestamp) -> Result<(), StoreError>;

    /// Copies the database into a file that must not exist yet, as it is at
    /// one moment, while it is in use.
    ///
    /// # Errors
    /// When the database cannot be read or the file not be made; what there is
    /// of it is deleted then.
    fn backup(&self, target: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError>;
}
