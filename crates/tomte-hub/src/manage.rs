//! Changes to hosts that people ask for: names, roles, grants, settings, and
//! letting go.

use std::collections::BTreeMap;
use std::sync::Arc;

use tomte_link::CloseCode;
use tomte_model::{EventKind, HostId, HostName, Latest, ResourceKey, Severity};
use tomte_store::state::{Grant, HostRecord};

use crate::access::{Admin, Operator};
use crate::enrol::named;
use crate::events::Occurrence;
use crate::fleet::Host;
use crate::live::Change;
use crate::secrets;
use crate::skew::HostClock;
use crate::sources::link::Command;
use crate::{Hub, HubError};

/// No host has more aliases or roles than this, and no more settings.
const MAX_NAMES: usize = 64;
const MAX_SETTINGS: usize = 1_000;

impl Hub {
    /// Makes a host that has no agent of its own, to be reported for by others.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn add_via_host(self: &Arc<Self>, by: &Admin, name: HostName) -> Result<HostId, HubError> {
        self.change(by.actor(), "host.add_via", move |hub, line| {
            line.target = name.to_string();
            hub.must_be_free(&name, None)?;
            if hub.fleet.len() >= hub.config().limits.hosts {
                return Err(HubError::Conflict("there are as many hosts as the hub may have".to_owned()));
            }
            let id = secrets::host_id(&*hub.clock);
            let record = HostRecord::new(id, name, hub.now());
            hub.store.state.put_host(&record).map_err(named)?;
            hub.fleet.put(&Host::new(record, Latest::default(), HostClock::default()));
            hub.tell_host(id);
            Ok(id)
        })
        .await
    }

    /// Gives a host another name; the old one stays an alias.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn rename_host(self: &Arc<Self>, by: &Admin, host: HostId, name: HostName) -> Result<(), HubError> {
        self.change(by.actor(), "host.rename", move |hub, line| {
            let held = hub.known(host, line)?;
            line.details.insert("to".to_owned(), name.to_string());
            hub.must_be_free(&name, Some(host))?;
            let old = held.lock().record.name.clone();
            if old == name {
                return Ok(());
            }
            hub.edit(&held, |record| {
                record.aliases.retain(|alias| *alias != name);
                record.aliases.push(std::mem::replace(&mut record.name, name.clone()));
            })?;
            // Its agent learns the name when it comes again.
            hub.links.send(host, Command::Close(CloseCode::GoingAway, format!("this host is now called {name}")));
            let message = format!("the host {old} is now called {name}");
            let what = Occurrence::new(Some(host), EventKind::HOST_RENAMED, Severity::Info, message);
            hub.note(what.with("from", &old).with("to", &name));
            Ok(())
        })
        .await
    }

    /// Gives a host one more name.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn add_alias(self: &Arc<Self>, by: &Admin, host: HostId, alias: HostName) -> Result<(), HubError> {
        self.change(by.actor(), "host.alias", move |hub, line| {
            let held = hub.known(host, line)?;
            line.details.insert("alias".to_owned(), alias.to_string());
            hub.must_be_free(&alias, Some(host))?;
            if hub.fleet.by_name(&alias) == Some(host) {
                return Ok(());
            }
            if held.lock().record.aliases.len() >= MAX_NAMES {
                return Err(HubError::Invalid(format!("a host has at most {MAX_NAMES} aliases")));
            }
            hub.edit(&held, |record| record.aliases.push(alias.clone()))
        })
        .await
    }

    /// Takes an alias away.
    ///
    /// # Errors
    /// When the host has no such alias.
    pub async fn remove_alias(self: &Arc<Self>, by: &Admin, host: HostId, alias: &HostName) -> Result<(), HubError> {
        let alias = alias.clone();
        self.change(by.actor(), "host.unalias", move |hub, line| {
            let held = hub.known(host, line)?;
            line.details.insert("alias".to_owned(), alias.to_string());
            if !held.lock().record.aliases.contains(&alias) {
                return Err(HubError::NotFound { what: "alias", name: alias.to_string() });
            }
            hub.edit(&held, |record| record.aliases.retain(|other| *other != alias))
        })
        .await
    }

    /// Replaces all roles of a host. A role is named like a host.
    ///
    /// # Errors
    /// When a role is no valid name.
    pub async fn set_roles(self: &Arc<Self>, by: &Admin, host: HostId, roles: Vec<String>) -> Result<(), HubError> {
        self.change(by.actor(), "host.roles", move |hub, line| {
            let held = hub.known(host, line)?;
            let roles = valid_roles(roles)?;
            line.details.insert("roles".to_owned(), roles.join(" "));
            hub.edit(&held, |record| record.roles.clone_from(&roles))?;
            hub.roles_changed();
            Ok(())
        })
        .await
    }

    /// Lets a host's agent report for another host.
    ///
    /// # Errors
    /// When there is no such host.
    pub async fn grant(self: &Arc<Self>, by: &Admin, host: HostId, via: HostId) -> Result<(), HubError> {
        self.change(by.actor(), "host.grant", move |hub, line| {
            let other = hub.known(via, line)?;
            let other_name = std::mem::take(&mut line.target);
            hub.known(host, line)?;
            line.details.insert("via".to_owned(), other_name);
            if host == via {
                return Err(HubError::Invalid("an agent reports for its own host anyway".to_owned()));
            }
            if hub.clusters.is_cluster(via) {
                return hub.admit_to_cluster(host, via);
            }
            let grant = Grant { agent: host, via };
            hub.store.state.add_grant(grant)?;
            hub.fleet.put_grant(grant);
            if other.lock().record.via.is_none() && other.lock().record.public_key.is_none() {
                hub.edit(&other, |record| record.via = Some(host))?;
            }
            hub.tell_host(via);
            Ok(())
        })
        .await
    }

    /// Takes such a right back.
    ///
    /// # Errors
    /// When it was not there.
    pub async fn ungrant(self: &Arc<Self>, by: &Admin, host: HostId, via: HostId) -> Result<(), HubError> {
        self.change(by.actor(), "host.ungrant", move |hub, line| {
            hub.known(host, line)?;
            let grant = Grant { agent: host, via };
            let via_name = hub.fleet.get(via).map(|v| v.lock().record.name.to_string()).unwrap_or_default();
            line.details.insert("via".to_owned(), via_name.clone());
            if hub.clusters.is_cluster(via) && hub.bar_from_cluster(host, via) {
                return Ok(());
            }
            if !hub.store.state.remove_grant(grant)? {
                return Err(HubError::NotFound { what: "grant", name: via_name });
            }
            hub.fleet.drop_grant(grant);
            if let Some(other) = hub.fleet.get(via).filter(|other| other.lock().record.via == Some(host)) {
                let next = hub.fleet.agents_for(via).first().copied();
                hub.edit(&other, |record| record.via = next)?;
            }
            hub.tell_host(via);
            Ok(())
        })
        .await
    }

    /// Removes a host with its history, events, tokens and grants.
    ///
    /// # Errors
    /// When there is no such host.
    pub async fn remove_host(self: &Arc<Self>, by: &Admin, host: HostId) -> Result<(), HubError> {
        self.change(by.actor(), "host.remove", move |hub, line| {
            let held = hub.known(host, line)?;
            let name = line.target.clone();
            // From here on nothing of it is taken in; what is on its way to the
            // disk arrives first, so that nothing is left behind.
            held.lock().removed = true;
            hub.links.send(host, Command::unauthorised("the host was removed"));
            let removed = (|| {
                hub.store.state.revoke_host_tokens(host, hub.now())?;
                hub.store.history.flush()?;
                hub.store.history.remove_host(host)?;
                hub.store.state.remove_host(host)
            })();
            if let Err(error) = removed {
                held.lock().removed = false;
                return Err(error.into());
            }
            hub.fleet.remove(host);
            hub.notices.forget(host);
            hub.forget_in_clusters(host);
            hub.bus.tell(Change::HostRemoved(host));
            let message = format!("the host {name} and all its history were removed");
            let what = Occurrence::new(None, EventKind::HOST_REMOVED, Severity::Info, message);
            hub.note(what.with("name", &name).with("host_id", host));
            Ok(())
        })
        .await
    }

    /// Replaces what is pushed to a host: TOML values by dotted key. Returns
    /// the new revision.
    ///
    /// # Errors
    /// When a value is not TOML.
    pub async fn set_host_settings(
        self: &Arc<Self>,
        by: &Admin,
        host: HostId,
        values: BTreeMap<String, String>,
    ) -> Result<u64, HubError> {
        self.change(by.actor(), "host.settings", move |hub, line| {
            let held = hub.known(host, line)?;
            line.details.clone_from(&values);
            if values.len() > MAX_SETTINGS {
                return Err(HubError::Invalid(format!("a host takes at most {MAX_SETTINGS} settings")));
            }
            for (key, value) in &values {
                let line = format!("value = {value}");
                let parsed: Result<toml::Table, _> = line.parse();
                if !parsed.is_ok_and(|table| table.len() == 1) {
                    return Err(HubError::Invalid(format!("{key}: {value} is not a TOML value")));
                }
            }
            hub.edit(&held, |record| {
                record.settings.clone_from(&values);
                record.settings_revision += 1;
            })?;
            let revision = held.lock().record.settings_revision;
            hub.links.send(host, Command::Settings);
            Ok(revision)
        })
        .await
    }

    /// Drops a resource; it comes back when it is seen again.
    ///
    /// # Errors
    /// When there is no such resource.
    pub async fn forget_resource(
        self: &Arc<Self>,
        by: &Operator,
        host: HostId,
        key: &ResourceKey,
    ) -> Result<(), HubError> {
        let key = key.clone();
        self.change(by.actor(), "resource.forget", move |hub, line| {
            let held = hub.known(host, line)?;
            line.target = format!("{}/{key}", line.target);
            {
                let mut state = held.lock();
                if !state.latest.forget(&key) {
                    return Err(HubError::NotFound { what: "resource", name: key.to_string() });
                }
                state.unsaved = true;
            }
            let noted = Box::new(|noted: Result<(), _>| {
                if let Err(error) = noted {
                    tracing::warn!(%error, "that a resource was removed by hand is not in the history");
                }
            });
            hub.store.history.note_forgotten(host, key.clone(), hub.now(), noted);
            hub.bus.tell(Change::Resources { host, updated: Vec::new(), removed: vec![key] });
            Ok(())
        })
        .await
    }

    /// Asks a host's agent to read now; all collectors when none is named.
    ///
    /// # Errors
    /// When the agent is not connected.
    pub async fn refresh(
        self: &Arc<Self>,
        by: &Operator,
        host: HostId,
        collectors: Vec<String>,
    ) -> Result<(), HubError> {
        self.change(by.actor(), "host.refresh", move |hub, line| {
            hub.known(host, line)?;
            line.details.insert("collectors".to_owned(), collectors.join(" "));
            let agents = hub.fleet.agents_for(host).into_iter().chain([host]);
            let asked = agents.filter(|agent| hub.links.send(*agent, Command::Refresh(collectors.clone()))).count();
            if asked == 0 { Err(HubError::NotConnected(line.target.clone())) } else { Ok(()) }
        })
        .await
    }

    /// Changes a host's record, on disk and then in memory.
    fn edit(&self, host: &Arc<Host>, edit: impl Fn(&mut HostRecord)) -> Result<(), HubError> {
        let mut record = host.lock().record_to_write();
        edit(&mut record);
        self.store.state.put_host(&record).map_err(named)?;
        // Edited again rather than replaced: in the meantime the agent may have
        // told its version.
        edit(&mut host.lock().record);
        self.fleet.put(host);
        self.tell_host(host.id);
        Ok(())
    }

    fn must_be_free(&self, name: &HostName, but: Option<HostId>) -> Result<(), HubError> {
        match self.fleet.by_name(name) {
            Some(other) if Some(other) != but => Err(HubError::Conflict(format!("the name {name} is taken"))),
            _ => Ok(()),
        }
    }
}

/// Roles in order and once each.
pub(crate) fn valid_roles(mut roles: Vec<String>) -> Result<Vec<String>, HubError> {
    roles.sort();
    roles.dedup();
    if roles.len() > MAX_NAMES {
        return Err(HubError::Invalid(format!("a host has at most {MAX_NAMES} roles")));
    }
    match roles.iter().find(|role| role.parse::<HostName>().is_err()) {
        Some(bad) => Err(HubError::Invalid(format!("{bad:?} is no role: 1 to 100 of a-z 0-9 . _ - are allowed"))),
        None => Ok(roles),
    }
}
