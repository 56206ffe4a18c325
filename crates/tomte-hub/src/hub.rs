//! The hub itself: what it knows, and what can be asked of it.
//!
//! Reads of the present state come from memory and never wait. Writes wait for
//! the disk and are audited; they need the right to it as a value
//! ([`crate::access`]). History, events, accounts and the audit are read from
//! the store: [`Hub::read`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tomte_model::{Catalogue, HostId, HostName, Latest, ResourceKey, Timestamp};
use tomte_store::{Store, StoreError};

use crate::HubError;
use crate::access::{Actor, Admin, Operator};
use crate::live::Subscription;
use crate::view::{EnrolRequest, Enrolled, HostSettings, HostView, Invitation};

/// The hub. Always shared: `Arc<Hub>`.
pub struct Hub {}

/// Holding this keeps hosts reporting faster; dropping it ends that.
#[derive(Debug)]
pub struct Watch(());

impl Hub {
    // The present, from memory.

    /// The hub's clock, now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        todo!()
    }
    /// When this hub started.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        todo!()
    }
    /// The folder with the databases, the identity and `hub.sock`.
    #[must_use]
    pub fn data(&self) -> &Path {
        todo!()
    }
    /// Whether `hub.sock` accepts connections: what `/healthz` tells.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        todo!()
    }
    /// The configuration in force. It changes when it is loaded anew.
    #[must_use]
    pub fn config(&self) -> Arc<crate::config::HubConfig> {
        todo!()
    }
    /// Where agents and people reach the hub: without a slash at the end.
    #[must_use]
    pub fn public_url(&self) -> String {
        todo!()
    }
    /// What has been counted since the start, by name.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        todo!()
    }
    /// Every kind that is known, also those that agents described.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        todo!()
    }
    /// All hosts, by name.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostView> {
        todo!()
    }
    /// One host.
    #[must_use]
    pub fn host(&self, _host: HostId) -> Option<HostView> {
        todo!()
    }
    /// The host of that name, alias or id.
    #[must_use]
    pub fn find_host(&self, _name: &str) -> Option<HostId> {
        todo!()
    }
    /// All hosts, id and name, by name: cheaper than [`Self::hosts`].
    #[must_use]
    pub fn host_names(&self) -> Vec<(HostId, HostName)> {
        todo!()
    }
    /// Looks at the latest state of a host. The look should be short: the
    /// host's reports wait for it.
    pub fn with_latest<R>(&self, _host: HostId, _look: impl FnOnce(&HostName, &Latest) -> R) -> Option<R> {
        todo!()
    }
    /// The settings pushed to a host.
    #[must_use]
    pub fn host_settings(&self, _host: HostId) -> Option<HostSettings> {
        todo!()
    }
    /// The hosts that a host's agent may report for, beside its own.
    #[must_use]
    pub fn grants(&self, _host: HostId) -> Vec<HostId> {
        todo!()
    }
    /// Listens to the live bus from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        todo!()
    }
    /// Asks the agents of these hosts (of all hosts, when none is named) to
    /// run their fast tier at this interval, for as long as the answer is held.
    #[must_use]
    pub fn watch(self: &Arc<Self>, _hosts: &[HostId], _interval: Duration) -> Watch {
        todo!()
    }

    // The store.

    /// The store, for writes of accounts, sessions and API tokens. Its calls
    /// block; use [`Self::read`] from async code.
    #[must_use]
    pub fn store(&self) -> &Store {
        todo!()
    }
    /// Runs a blocking call of the store, read or write, off the async threads.
    ///
    /// # Errors
    /// As the call itself.
    pub async fn read<R: Send + 'static>(
        &self,
        _call: impl FnOnce(&Store) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, HubError> {
        todo!()
    }
    /// Writes a line of the audit. Writes of this type do it themselves.
    ///
    /// # Errors
    /// When it cannot be written; then what was to be done must not be done.
    pub async fn audit(
        &self,
        _actor: &Actor,
        _action: &str,
        _target: &str,
        _outcome: &str,
        _details: BTreeMap<String, String>,
    ) -> Result<(), HubError> {
        todo!()
    }

    // Changes. Each is audited.

    /// Makes a code that enrols a new host under a name, once, within 10 minutes.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn add_host(&self, _by: &Admin, _name: HostName, _roles: Vec<String>) -> Result<Invitation, HubError> {
        todo!()
    }
    /// Makes a code that lets the agent of a known host in again, with a new token.
    ///
    /// # Errors
    /// When there is no such host.
    pub async fn invite_again(&self, _by: &Admin, _host: HostId) -> Result<Invitation, HubError> {
        todo!()
    }
    /// Lets an agent in that brings a code. Open to everybody: the code is the
    /// credential.
    ///
    /// # Errors
    /// [`HubError::Refused`] when the code is not valid.
    pub async fn enrol(&self, _request: EnrolRequest, _from: &Actor) -> Result<Enrolled, HubError> {
        todo!()
    }
    /// Makes a host that has no agent of its own, to be reported for by others.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn add_via_host(&self, _by: &Admin, _name: HostName) -> Result<HostId, HubError> {
        todo!()
    }
    /// A new token for a host, told this once. The old one ends when the new
    /// one is first used.
    ///
    /// # Errors
    /// When there is no such host.
    pub async fn rotate_token(&self, _by: &Admin, _host: HostId) -> Result<String, HubError> {
        todo!()
    }
    /// Ends all tokens of a host at once, and its connection.
    ///
    /// # Errors
    /// When there is no such host.
    pub async fn revoke_tokens(&self, _by: &Admin, _host: HostId) -> Result<(), HubError> {
        todo!()
    }
    /// Gives a host another name; the old one stays an alias.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn rename_host(&self, _by: &Admin, _host: HostId, _name: HostName) -> Result<(), HubError> {
        todo!()
    }
    /// Gives a host one more name.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn add_alias(&self, _by: &Admin, _host: HostId, _alias: HostName) -> Result<(), HubError> {
        todo!()
    }
    /// Takes an alias away.
    ///
    /// # Errors
    /// When the host has no such alias.
    pub async fn remove_alias(&self, _by: &Admin, _host: HostId, _alias: &HostName) -> Result<(), HubError> {
        todo!()
    }
    /// Replaces all roles of a host. A role is named like a host.
    ///
    /// # Errors
    /// When a role is no valid name.
    pub async fn set_roles(&self, _by: &Admin, _host: HostId, _roles: Vec<String>) -> Result<(), HubError> {
        todo!()
    }
    /// Lets a host's agent report for another host.
    ///
    /// # Errors
    /// When there is no such host.
    pub async fn grant(&self, _by: &Admin, _host: HostId, _via: HostId) -> Result<(), HubError> {
        todo!()
    }
    /// Takes such a right back.
    ///
    /// # Errors
    /// When it was not there.
    pub async fn ungrant(&self, _by: &Admin, _host: HostId, _via: HostId) -> Result<(), HubError> {
        todo!()
    }
    /// Removes a host with its history, events, tokens and grants.
    ///
    /// # Errors
    /// When there is no such host.
    pub async fn remove_host(&self, _by: &Admin, _host: HostId) -> Result<(), HubError> {
        todo!()
    }
    /// Replaces what is pushed to a host: TOML values by dotted key. Returns
    /// the new revision.
    ///
    /// # Errors
    /// When a value is not TOML.
    pub async fn set_host_settings(
        &self,
        _by: &Admin,
        _host: HostId,
        _values: BTreeMap<String, String>,
    ) -> Result<u64, HubError> {
        todo!()
    }
    /// Drops a resource; it comes back when it is seen again.
    ///
    /// # Errors
    /// When there is no such resource.
    pub async fn forget_resource(&self, _by: &Operator, _host: HostId, _key: &ResourceKey) -> Result<(), HubError> {
        todo!()
    }
    /// Asks a host's agent to read now; all collectors when none is named.
    ///
    /// # Errors
    /// When the agent is not connected.
    pub async fn refresh(&self, _by: &Operator, _host: HostId, _collectors: Vec<String>) -> Result<(), HubError> {
        todo!()
    }
}
