//! A method per route. Hosts are named by name, alias or id.

use http::Method;
use serde::de::DeserializeOwned;

use super::url::path_segment;
use super::{Client, ClientError, EventFilter, ResourceFilter};
use crate::account::{
    AddToken, AddUser, AuditEntry, Login, Me, NewToken, Role, SetPassword, SetRole, Setup, Token, User,
};
use crate::action::{Action, Decision};
use crate::catalogue::Kind;
use crate::change::{Change, ChangeFilter};
use crate::event::Event;
use crate::history::{History, HistoryQuery, Import, Imported};
use crate::host::{
    AddAlias, AddHost, EnrolRequest, Enrolled, Enrolment, Grant, GrantVia, Host, HostSettings, HostToken, Refresh,
    RenameHost, SetHostSettings, SetRoles,
};
use crate::hub::{Config, Health, HubInfo};
use crate::page::{DEFAULT_LIMIT, Page};
use crate::resource::{LatestRow, Resource};
use crate::store::{BackUp, BackedUp, Checked, Compacted, Progress, StoreInfo};

type Answer<T> = Result<T, ClientError>;

fn host_path(host: &str, rest: &str) -> String {
    format!("/api/v1/hosts/{}{rest}", path_segment(host))
}

impl Client {
    /// Follows a list from page to page, up to `limit` items.
    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        pairs: Vec<(&'static str, String)>,
        limit: Option<usize>,
    ) -> Answer<Vec<T>> {
        let mut items = Vec::new();
        let mut cursor = None;
        loop {
            let left = limit.map_or(DEFAULT_LIMIT, |limit| limit.saturating_sub(items.len()).min(DEFAULT_LIMIT));
            let mut page_pairs = pairs.clone();
            page_pairs.push(("limit", left.to_string()));
            page_pairs.extend(cursor.map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.get(path, &page_pairs).await?;
            items.extend(page.items);
            let enough = limit.is_some_and(|limit| items.len() >= limit);
            match page.next {
                Some(next) if !enough => cursor = Some(next),
                _ => return Ok(items),
            }
        }
    }

    /// Whether the hub is up.
    ///
    /// # Errors
    /// As of every method here: see [`ClientError`].
    pub async fn health(&self) -> Answer<Health> {
        self.get("/healthz", &[]).await
    }

    /// Who is asking.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn me(&self) -> Answer<Me> {
        self.get("/api/v1/me", &[]).await
    }

    /// Checks a name and a password. The session's cookie is not kept: this
    /// client proves itself by its token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn login(&self, login: &Login) -> Answer<Me> {
        self.call(Method::POST, "/api/v1/login", Some(login)).await
    }

    /// Makes the first admin account.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn setup(&self, setup: &Setup) -> Answer<Me> {
        self.call(Method::POST, "/api/v1/setup", Some(setup)).await
    }

    /// Lets an agent in, with the secret of an enrolment code.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn enroll(&self, request: &EnrolRequest) -> Answer<Enrolled> {
        self.call(Method::POST, "/api/v1/enroll", Some(request)).await
    }

    /// The hub itself.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn hub(&self) -> Answer<HubInfo> {
        self.get("/api/v1/hub", &[]).await
    }

    /// How much the hub's databases hold.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn store(&self) -> Answer<StoreInfo> {
        self.get("/api/v1/store", &[]).await
    }

    /// Checks the history: reads all of it, and sets aside what is damaged.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn check_store(&self, progress: impl FnMut(Progress)) -> Answer<Checked> {
        self.follow("/api/v1/store/check", None::<&()>, progress).await
    }

    /// Puts everything in its final place and gives free space back.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn compact_store(&self, progress: impl FnMut(Progress)) -> Answer<Compacted> {
        self.follow("/api/v1/store/compact", None::<&()>, progress).await
    }

    /// Copies both databases into a folder on the hub's machine.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn back_up_store(&self, folder: &str, progress: impl FnMut(Progress)) -> Answer<BackedUp> {
        let body = BackUp { folder: folder.to_owned() };
        self.follow("/api/v1/store/backup", Some(&body), progress).await
    }

    /// The hub's configuration in force.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn config(&self) -> Answer<Config> {
        self.get("/api/v1/config", &[]).await
    }

    /// The latest readings in Prometheus' text format.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn metrics(&self) -> Answer<String> {
        let body = self.send(Method::GET, "/metrics", None::<&()>).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The catalogue.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn catalogue(&self) -> Answer<Vec<Kind>> {
        self.list("/api/v1/catalogue", Vec::new(), None).await
    }

    /// All hosts, by name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn hosts(&self) -> Answer<Vec<Host>> {
        self.list("/api/v1/hosts", Vec::new(), None).await
    }

    /// The hosts as they were known at a past moment: RFC 3339, milliseconds
    /// since 1970, or `-24h`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn hosts_at(&self, at: &str) -> Answer<Vec<Host>> {
        self.list("/api/v1/hosts", vec![("at", at.to_owned())], None).await
    }

    /// One host.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn host(&self, host: &str) -> Answer<Host> {
        self.get(&host_path(host, ""), &[]).await
    }

    /// One host as it was known at a past moment.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn host_at(&self, host: &str, at: &str) -> Answer<Host> {
        self.get(&host_path(host, ""), &[("at", at.to_owned())]).await
    }

    /// Makes an enrolment code for a new host.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn add_host(&self, host: &AddHost) -> Answer<Enrolment> {
        self.call(Method::POST, "/api/v1/hosts", Some(host)).await
    }

    /// Makes an enrolment code that lets the agent of a known host in again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn invite_again(&self, host: &str) -> Answer<Enrolment> {
        self.call(Method::POST, &host_path(host, "/enrolment"), None::<&()>).await
    }

    /// Renames a host; the old name stays an alias.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rename_host(&self, host: &str, name: &str) -> Answer<Host> {
        let body = RenameHost { name: name.to_owned() };
        self.call(Method::PUT, &host_path(host, "/name"), Some(&body)).await
    }

    /// Gives a host one more name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn add_alias(&self, host: &str, alias: &str) -> Answer<Host> {
        let body = AddAlias { alias: alias.to_owned() };
        self.call(Method::POST, &host_path(host, "/aliases"), Some(&body)).await
    }

    /// Takes an alias from a host.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_alias(&self, host: &str, alias: &str) -> Answer<Host> {
        let path = host_path(host, &format!("/aliases/{}", path_segment(alias)));
        self.call(Method::DELETE, &path, None::<&()>).await
    }

    /// Sets all roles of a host.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_roles(&self, host: &str, roles: Vec<String>) -> Answer<Host> {
        self.call(Method::PUT, &host_path(host, "/roles"), Some(&SetRoles { roles })).await
    }

    /// Deletes a host with all its history.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_host(&self, host: &str) -> Answer<()> {
        self.command(Method::DELETE, &host_path(host, ""), None::<&()>).await
    }

    /// The hosts for which a host's agent may report.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn grants(&self, host: &str) -> Answer<Vec<Grant>> {
        self.list(&host_path(host, "/grants"), Vec::new(), None).await
    }

    /// Lets a host's agent report for another host.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn add_grant(&self, host: &str, via: &str) -> Answer<Grant> {
        let body = GrantVia { via: via.to_owned() };
        self.call(Method::POST, &host_path(host, "/grants"), Some(&body)).await
    }

    /// Takes that back.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_grant(&self, host: &str, via: &str) -> Answer<()> {
        let path = host_path(host, &format!("/grants/{}", path_segment(via)));
        self.command(Method::DELETE, &path, None::<&()>).await
    }

    /// Makes a new token for a host's agent; the old one works until the new
    /// one is first used.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rotate_token(&self, host: &str) -> Answer<HostToken> {
        self.call(Method::POST, &host_path(host, "/token"), None::<&()>).await
    }

    /// Revokes every token of a host's agent.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke_token(&self, host: &str) -> Answer<()> {
        self.command(Method::DELETE, &host_path(host, "/token"), None::<&()>).await
    }

    /// Asks a host's agent to read now; all collectors when none is named.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn refresh(&self, host: &str, collectors: Vec<String>) -> Answer<()> {
        self.command(Method::POST, &host_path(host, "/refresh"), Some(&Refresh { collectors })).await
    }

    /// What the hub pushes to a host.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn settings(&self, host: &str) -> Answer<HostSettings> {
        self.get(&host_path(host, "/settings"), &[]).await
    }

    /// Replaces what the hub pushes to a host.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_settings(&self, host: &str, settings: &SetHostSettings) -> Answer<HostSettings> {
        self.call(Method::PUT, &host_path(host, "/settings"), Some(settings)).await
    }

    /// The resources of one host with their tables, perhaps of one kind only.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn host_resources(&self, host: &str, kind: Option<&str>) -> Answer<Vec<Resource>> {
        let pairs = kind.map(|kind| ("kind", kind.to_owned())).into_iter().collect();
        self.list(&host_path(host, "/resources"), pairs, None).await
    }

    /// The resources of one host as they were known at a past moment, without
    /// tables.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn host_resources_at(&self, host: &str, kind: Option<&str>, at: &str) -> Answer<Vec<Resource>> {
        let mut pairs = vec![("at", at.to_owned())];
        pairs.extend(kind.map(|kind| ("kind", kind.to_owned())));
        self.list(&host_path(host, "/resources"), pairs, None).await
    }

    /// One page of what changed.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn changes(&self, filter: &ChangeFilter) -> Answer<Page<Change>> {
        self.get("/api/v1/changes", &filter.pairs()).await
    }

    /// Resources across hosts, without their tables.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resources(&self, filter: &ResourceFilter) -> Answer<Vec<Resource>> {
        self.list("/api/v1/resources", filter.pairs(), filter.limit).await
    }

    /// Removes a resource by hand; it comes back if a collector still sees it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn forget_resource(&self, host: &str, kind: &str, name: &str) -> Answer<()> {
        let path = host_path(host, &format!("/resources/{}/{}", path_segment(kind), path_segment(name)));
        self.command(Method::DELETE, &path, None::<&()>).await
    }

    /// The latest readings of a kind across hosts; all fields when none is named.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn latest(&self, filter: &ResourceFilter, fields: &[String]) -> Answer<Vec<LatestRow>> {
        let mut pairs = filter.pairs();
        pairs.extend(fields.iter().map(|field| ("field", field.clone())));
        self.list("/api/v1/latest", pairs, filter.limit).await
    }

    /// How readings were.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn history(&self, query: &HistoryQuery) -> Answer<History> {
        self.get("/api/v1/history", &query.pairs()).await
    }

    /// Takes readings in; those that are there already are passed over.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn import(&self, readings: &Import) -> Answer<Imported> {
        self.call(Method::POST, "/api/v1/history", Some(readings)).await
    }

    /// One page of events.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn events(&self, filter: &EventFilter) -> Answer<Page<Event>> {
        self.get("/api/v1/events", &filter.pairs()).await
    }

    /// What hosts were asked to do, newest first; in these states, or in any.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn actions(&self, host: Option<&str>, states: &[&str]) -> Answer<Vec<Action>> {
        let mut pairs: Vec<_> = states.iter().map(|state| ("state", (*state).to_owned())).collect();
        pairs.extend(host.map(|host| ("host", host.to_owned())));
        self.list("/api/v1/actions", pairs, None).await
    }

    /// One of them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn action(&self, id: &str) -> Answer<Action> {
        self.get(&format!("/api/v1/actions/{}", path_segment(id)), &[]).await
    }

    /// Approves or rejects one, as its plan was seen.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn decide(&self, id: &str, yes: bool, decision: &Decision) -> Answer<Action> {
        let verb = if yes { "approve" } else { "reject" };
        self.call(Method::POST, &format!("/api/v1/actions/{}/{verb}", path_segment(id)), Some(decision)).await
    }

    /// One page of the audit, newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn audit(&self, limit: usize, cursor: Option<&str>) -> Answer<Page<AuditEntry>> {
        let mut pairs = vec![("limit", limit.to_string())];
        pairs.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        self.get("/api/v1/audit", &pairs).await
    }

    /// All accounts.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn users(&self) -> Answer<Vec<User>> {
        self.list("/api/v1/users", Vec::new(), None).await
    }

    /// Makes an account.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn add_user(&self, user: &AddUser) -> Answer<User> {
        self.call(Method::POST, "/api/v1/users", Some(user)).await
    }

    /// Sets an account's password, and ends its sessions.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_password(&self, name: &str, password: &str) -> Answer<()> {
        let path = format!("/api/v1/users/{}/password", path_segment(name));
        self.command(Method::PUT, &path, Some(&SetPassword { password: password.to_owned() })).await
    }

    /// Sets what an account may do.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_user_role(&self, name: &str, role: Role) -> Answer<User> {
        let path = format!("/api/v1/users/{}/role", path_segment(name));
        self.call(Method::PUT, &path, Some(&SetRole { role })).await
    }

    /// Deletes an account.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_user(&self, name: &str) -> Answer<()> {
        let path = format!("/api/v1/users/{}", path_segment(name));
        self.command(Method::DELETE, &path, None::<&()>).await
    }

    /// All API tokens, without their secrets.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn tokens(&self) -> Answer<Vec<Token>> {
        self.list("/api/v1/tokens", Vec::new(), None).await
    }

    /// Makes an API token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn add_token(&self, token: &AddToken) -> Answer<NewToken> {
        self.call(Method::POST, "/api/v1/tokens", Some(token)).await
    }

    /// Revokes an API token.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_token(&self, name: &str) -> Answer<()> {
        let path = format!("/api/v1/tokens/{}", path_segment(name));
        self.command(Method::DELETE, &path, None::<&()>).await
    }
}
