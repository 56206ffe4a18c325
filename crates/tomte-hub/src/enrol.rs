//! Letting agents in: codes that work once, and the tokens they are changed for.
//!
//! A code holds a secret and the hub's pin, so that one pasted line makes both
//! sides sure of each other. The hub keeps hashes only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tomte_model::{EventKind, HostId, HostName, Latest, Severity};
use tomte_store::StoreError;
use tomte_store::state::{EnrolmentCode, HostRecord, HostToken};

use crate::access::{Actor, Admin};
use crate::events::Occurrence;
use crate::fleet::Host;
use crate::hub::blocking;
use crate::secrets::{self, SecretKind};
use crate::skew::HostClock;
use crate::sources::link::Command;
use crate::view::{EnrolRequest, Enrolled, Invitation};
use crate::{Hub, HubError};

/// How long a code works.
const CODE_LIFE: Duration = Duration::from_secs(600);
/// The first byte of a code.
const CODE_VERSION: u8 = 1;
/// A flag of a code: check the hub by its name and the system's authorities,
/// as a browser would, instead of by the pin.
const PUBLIC_TLS: u8 = 1;
/// Bytes of a code's secret.
pub(crate) const CODE_SECRET: usize = 16;

impl Hub {
    /// Makes a code that enrols a new host under a name, once, within 10 minutes.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn add_host(
        self: &Arc<Self>,
        by: &Admin,
        name: HostName,
        roles: Vec<String>,
    ) -> Result<Invitation, HubError> {
        self.change(by.actor(), "host.add", move |hub, line| {
            line.target = name.to_string();
            let roles = crate::manage::valid_roles(roles)?;
            if hub.fleet.by_name(&name).is_some() {
                return Err(HubError::Conflict(format!(
                    "the name {name} is taken: take another one, or let that host in again with a new token"
                )));
            }
            hub.invite(name, roles, &line.actor)
        })
        .await
    }

    /// Makes a code that lets the agent of a known host in again, with a new token.
    ///
    /// # Errors
    /// When there is no such host.
    pub async fn invite_again(self: &Arc<Self>, by: &Admin, host: HostId) -> Result<Invitation, HubError> {
        self.change(by.actor(), "host.invite", move |hub, line| {
            let name = hub.known(host, line)?.lock().record.name.clone();
            hub.invite(name, Vec::new(), &line.actor)
        })
        .await
    }

    /// Lets an agent in that brings a code. Open to everybody: the code is the
    /// credential.
    ///
    /// # Errors
    /// [`HubError::Refused`] when the code is not valid.
    pub async fn enrol(self: &Arc<Self>, request: EnrolRequest, from: &Actor) -> Result<Enrolled, HubError> {
        let (hub, from) = (Arc::clone(self), from.clone());
        blocking(move || {
            let result = hub.enrol_now(&request);
            let (target, outcome) = match &result {
                Ok(enrolled) => (enrolled.name.to_string(), "ok".to_owned()),
                Err(error) => (request.hostname.chars().take(100).collect(), error.to_string()),
            };
            let details = [("host_id", request.host.to_string())];
            hub.audit_later(&from, "host.enrol", &target, &outcome, details);
            result
        })
        .await
    }

    /// A new token for a host, told this once. The old one ends when the new
    /// one is first used.
    ///
    /// # Errors
    /// When there is no such host.
    pub async fn rotate_token(self: &Arc<Self>, by: &Admin, host: HostId) -> Result<String, HubError> {
        self.change(by.actor(), "host.rotate", move |hub, line| {
            hub.known(host, line)?;
            let (text, token) = hub.new_token(host);
            hub.store.state.add_host_token(&token)?;
            line.details.insert("prefix".to_owned(), token.prefix.clone());
            hub.fleet.put_token(token);
            Ok(text)
        })
        .await
    }

    /// Ends all tokens of a host at once, and its connection.
    ///
    /// # Errors
    /// When there is no such host.
    pub async fn revoke_tokens(self: &Arc<Self>, by: &Admin, host: HostId) -> Result<(), HubError> {
        self.change(by.actor(), "host.revoke", move |hub, line| {
            hub.known(host, line)?;
            hub.store.state.revoke_host_tokens(host, hub.now())?;
            hub.fleet.drop_tokens(host);
            hub.links.send(host, Command::unauthorised("the token was revoked"));
            Ok(())
        })
        .await
    }

    fn invite(&self, name: HostName, roles: Vec<String>, by: &str) -> Result<Invitation, HubError> {
        let secret = secrets::random::<CODE_SECRET>();
        let now = self.now();
        let expires_at = now.plus(CODE_LIFE);
        let code = EnrolmentCode {
            hash: secrets::hash(&secret),
            name: name.clone(),
            roles,
            created_by: by.to_owned(),
            created_at: now,
            expires_at,
            used: None,
        };
        self.store.state.add_code(&code)?;
        let url = self.public_url();
        let mut bytes = vec![CODE_VERSION, if self.is_known_by_name() { PUBLIC_TLS } else { 0 }];
        bytes.extend(secret);
        bytes.extend(self.identity.pin());
        let code = URL_SAFE_NO_PAD.encode(bytes);
        let line = format!("tomte-agent enroll {url} --code {code}");
        Ok(Invitation { name, code, line, expires_at })
    }

    /// Whether agents should check the hub by its name: it has a certificate
    /// of the user's own, or a proxy before it does TLS.
    fn is_known_by_name(&self) -> bool {
        let config = self.config();
        let own_tls = config.listen.iter().any(|address| config.tls_on(address));
        config.own_certificate().is_some() || (config.public_url.starts_with("https://") && !own_tls)
    }

    fn new_token(&self, host: HostId) -> (String, HostToken) {
        let secret = secrets::new_secret(SecretKind::Host);
        let token = HostToken {
            hash: secret.hash,
            host,
            prefix: secret.prefix,
            created_at: self.now(),
            first_used_at: None,
            revoked_at: None,
        };
        (secret.text.to_string(), token)
    }

    fn enrol_now(&self, request: &EnrolRequest) -> Result<Enrolled, HubError> {
        const INVALID: HubError = HubError::Refused("the enrolment code is unknown, used or expired");
        let _order = self.changing();
        let now = self.now();
        let hash = secrets::hash(&request.secret);
        let code = self.store.state.code(&hash)?.ok_or(INVALID)?;
        if code.used.is_some() || code.expires_at <= now {
            return Err(INVALID);
        }
        if request.public_key.is_empty() || request.public_key.len() > 1024 || request.agent_version.len() > 200 {
            return Err(HubError::Invalid("the agent's key or version makes no sense".to_owned()));
        }
        let mut record = self.record_to_enrol(request, &code)?;
        record.public_key = Some(request.public_key.clone());
        record.agent_version = Some(request.agent_version.clone());
        let (text, token) = self.new_token(request.host);
        self.store.state.enrol(&hash, now, &record, &token).map_err(|error| match error {
            StoreError::BadCode => INVALID,
            other => named(other),
        })?;
        let name = record.name.clone();
        let again = self.fleet.get(request.host);
        match &again {
            Some(host) => {
                host.lock().record = record;
                self.fleet.put(host);
            }
            None => self.fleet.put(&Host::new(record, Latest::default(), HostClock::default())),
        }
        self.fleet.drop_tokens(request.host);
        self.fleet.put_token(token);
        if again.is_some() {
            self.links.send(request.host, Command::unauthorised("the host was enrolled again"));
        }
        let message = if again.is_some() { "the host was enrolled again" } else { "the host was enrolled" };
        let what = Occurrence::new(Some(request.host), EventKind::HOST_ENROLLED, Severity::Info, message);
        self.note(what.with("name", &name).with("agent_version", &request.agent_version));
        self.tell_host(request.host);
        Ok(Enrolled { host: request.host, name, token: text })
    }

    /// The record of the host that a code lets in: new, or the known one.
    fn record_to_enrol(&self, request: &EnrolRequest, code: &EnrolmentCode) -> Result<HostRecord, HubError> {
        let named = self.fleet.by_name(&code.name);
        let known = self.fleet.get(request.host);
        let mut record = match (&known, named) {
            // A code for somebody else's name.
            (_, Some(other)) if other != request.host => {
                return Err(HubError::Conflict(format!(
                    "{} is another host, with another identity: remove it, or give the new one another name",
                    code.name
                )));
            }
            (Some(host), _) => {
                let record = host.lock().record_to_write();
                // Whoever has a code for a new name must not take over the
                // identity of a known host by claiming its id.
                if named.is_none() && record.public_key.as_deref() != Some(request.public_key.as_slice()) {
                    return Err(HubError::Conflict("this host id belongs to another host".to_owned()));
                }
                record
            }
            (None, _) => {
                if self.fleet.len() >= self.config().limits.hosts {
                    return Err(HubError::Conflict("there are as many hosts as the hub may have".to_owned()));
                }
                HostRecord::new(request.host, code.name.clone(), self.now())
            }
        };
        if named.is_none() && record.name != code.name {
            let old = std::mem::replace(&mut record.name, code.name.clone());
            record.aliases.push(old);
        }
        for role in &code.roles {
            if !record.roles.contains(role) {
                record.roles.push(role.clone());
            }
        }
        let hostname: String = request.hostname.chars().filter(|c| !c.is_control()).take(253).collect();
        if let Some(own) = HostName::normalised(&hostname) {
            let free = self.fleet.by_name(&own).is_none() && own != record.name && !record.aliases.contains(&own);
            if own.as_str() != hostname {
                record.foreign_name = Some(hostname);
            }
            if free {
                record.aliases.push(own);
            }
        }
        Ok(record)
    }
}

/// The store's answer about names, in the hub's words.
pub(crate) fn named(error: StoreError) -> HubError {
    match error {
        StoreError::NameTaken(name) => HubError::Conflict(format!("the name {name} is taken")),
        StoreError::NotFound(what) => HubError::NotFound { what, name: String::new() },
        other => HubError::Store(other),
    }
}

/// A line of the audit that is being made.
pub(crate) struct Line {
    pub(crate) actor: String,
    pub(crate) target: String,
    pub(crate) details: BTreeMap<String, String>,
}

impl Hub {
    /// Makes a change that somebody asked for, off the async threads, one after
    /// the other, and writes the line of the audit, whatever came of it.
    pub(crate) async fn change<R: Send + 'static>(
        self: &Arc<Self>,
        by: &Actor,
        action: &'static str,
        change: impl FnOnce(&Arc<Self>, &mut Line) -> Result<R, HubError> + Send + 'static,
    ) -> Result<R, HubError> {
        let (hub, by) = (Arc::clone(self), by.clone());
        blocking(move || {
            let mut line = Line { actor: by.name.clone(), target: String::new(), details: BTreeMap::new() };
            let result = {
                let _order = hub.changing();
                change(&hub, &mut line)
            };
            let outcome = result.as_ref().err().map_or_else(|| "ok".to_owned(), ToString::to_string);
            let entry = hub.audit_entry(&by, action, &line.target, &outcome, line.details);
            hub.store.state.audit(&entry)?;
            result
        })
        .await
    }

    /// The host of that id; its name becomes the target of the audit line.
    pub(crate) fn known(&self, host: HostId, line: &mut Line) -> Result<Arc<Host>, HubError> {
        line.target = host.to_string();
        let found = self.fleet.get(host).ok_or_else(|| HubError::NotFound { what: "host", name: host.to_string() })?;
        line.target = found.lock().record.name.to_string();
        Ok(found)
    }
}
