//! Proxmox VE, versions 8 and 9: the node and its cluster, storages, guests,
//! their backups, replications and tasks.
//!
//! It is read through its web API with a token, where one is configured: of
//! this host, or of one without an agent. Else, on a node, the helper asks
//! `pvesh`, which starts a Perl of a second for every question; so that little
//! is asked each minute, and pressure only of the API.
//!
//! On a node, the agent tells of that node and its guests alone, since each node
//! of a cluster has its own agent. What is read from elsewhere is told whole.
//!
//! Where a hub knows the cluster, its guests are not the node's: one of the nodes
//! tells of all of them, for the cluster's own host; see [`crate::cluster`].
//! Which cluster it is, the certificate authority says that its nodes share: it
//! is made once with the cluster, and stays when that is renamed.

mod backups;
pub(crate) mod get;
mod guests;
pub(crate) mod settings;
mod tasks;
mod wire;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tomte_model::{Facet, Moment, Outcome, ResourceKey, Scope};

use crate::api::{ApiCall, ApiTrust};
use crate::bounded::Bounded;
use crate::cluster::{Membership, Shared, Standing};
use crate::privileged::Request;
use crate::{Collector, Root, Settings};
use get::{GuestKind, ProxmoxGet};
use guests::{Meters, Network};
use settings::ProxmoxSettings;
use wire::{Certificate, GuestConfig, Interfaces, NodeStatus, Row, Rows};

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Guests whose configuration is read in one run; the others' turn comes, and
/// until then stands what was read before.
const DETAILS: usize = 400;
/// After so many looks, which cluster it is is asked again.
const LOOKS: u32 = 60;
/// The certificate that a cluster's nodes share.
const AUTHORITY: &str = "pve-root-ca.pem";

pub(crate) const SCOPES: &[&str] = &["proxmox/cluster", "proxmox/node", "proxmox/storage", "guest/qemu", "guest/lxc"];
pub(crate) const SLOW_SCOPES: &[&str] = &["guest/detail", "backup/guest", "proxmox/replication", "proxmox/task"];

/// The collector `proxmox`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Proxmox {
        source: Source::new(root, &settings.proxmox),
        meters: Meters::default(),
        identity: None,
        shared: None,
    })
}

/// The collector `proxmox_guest`.
pub(crate) fn make_slow(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Slow {
        source: Source::new(root, &settings.proxmox),
        settings: settings.proxmox.clone(),
        shared: None,
        read: HashMap::new(),
        turn: 0,
    })
}

/// For the fuzz target: every parser here takes those bytes.
pub fn parse_anything(bytes: &[u8]) {
    for wrapped in [false, true] {
        let _ = wire::parse::<NodeStatus>(bytes, wrapped);
        let _ = wire::parse::<Interfaces>(bytes, wrapped).map(Interfaces::list);
        let now = tomte_model::Timestamp::from_millis(1_800_000_000_000);
        let config = wire::parse::<GuestConfig>(bytes, wrapped);
        let Ok(rows) = wire::parse::<Rows>(bytes, wrapped) else { continue };
        let jobs = backups::Job::list(&rows.0);
        for row in &rows.0 {
            let _ = Meters::default().runtime(row, Some(row), Moment { wall: now, boot_millis: 0 });
            let _ = tasks::replication(row, "pve", now);
            let kept = [backups::Kept { row, storage: "x", pbs: true }];
            let _ = backups::of_guest(row, &kept, &jobs, &rows.0, false, now);
            if let Ok(config) = &config {
                let _ = guests::detail(row, config, Network::NotAsked, &[], None);
            }
        }
        let _ = tasks::facet("pve", &rows.0);
    }
}

/// Where answers come from.
struct Source {
    root: Root,
    settings: ProxmoxSettings,
}

/// What a look at everything gave.
#[derive(Clone)]
struct Sight {
    resources: Rc<[Row]>,
    cluster: Rc<[Row]>,
    /// The nodes whose guests are told of.
    nodes: Vec<String>,
    /// Whether these are all nodes, so that names must tell them apart.
    whole: bool,
}

impl Source {
    fn new(root: &Root, settings: &ProxmoxSettings) -> Self {
        Self { root: root.clone(), settings: settings.clone() }
    }

    fn is_node(&self) -> bool {
        self.root.path("etc/pve/nodes").is_dir()
    }

    fn is_api(&self) -> bool {
        self.settings.url.is_some()
    }

    fn get<T: DeserializeOwned>(&self, get: &ProxmoxGet) -> Result<T, Outcome> {
        let (bytes, wrapped) = if self.is_api() { (self.ask_api(get)?, true) } else { (self.ask_helper(get)?, false) };
        wire::parse(&bytes, wrapped).map_err(|error| Outcome::Failed {
            error: format!("{} of Proxmox VE is not understood: {error}", get.path().0),
        })
    }

    fn ask_helper(&self, get: &ProxmoxGet) -> Result<Vec<u8>, Outcome> {
        if !self.is_node() {
            let error = "this host is no node of Proxmox VE, and no other is configured".to_owned();
            return Err(Outcome::Unavailable { error });
        }
        let answer = self.root.ask(&Request::Proxmox(get.clone())).map_err(|refusal| refusal.outcome())?;
        match answer.status {
            Some(0) => Ok(answer.body),
            _ => {
                let words = answer.complaint.lines().map(str::trim).find(|line| !line.is_empty());
                let words: String =
                    words.unwrap_or("it failed").chars().filter(|c| !c.is_control()).take(200).collect();
                Err(Outcome::Failed { error: format!("pvesh get {}: {words}", get.path().0) })
            }
        }
    }

    fn ask_api(&self, get: &ProxmoxGet) -> Result<Vec<u8>, Outcome> {
        let url = self.settings.url.as_ref().map_or("", |url| url.as_str());
        let Some(file) = &self.settings.token_file else {
            let error = "no token for the API of Proxmox VE is configured".to_owned();
            let cure = "Make a token: pveum user token add tomte@pve agent; write tomte@pve!agent=SECRET into a file \
                        and name it as token_file in [proxmox]."
                .to_owned();
            return Err(Outcome::Denied { error, cure });
        };
        let token = crate::backup::secret(file)?;
        if !get.is_plain() {
            return Err(Outcome::Failed { error: format!("{get:?} names nothing that Proxmox VE could have") });
        }
        let (path, parameters) = get.path();
        let query: Vec<_> = parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut path = format!("/api2/json{path}");
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        let trust = match (&self.settings.fingerprint, &self.settings.ca_file) {
            (Some(fingerprint), _) => ApiTrust::Fingerprint(fingerprint.0),
            (None, Some(file)) => ApiTrust::Authority(file.clone()),
            (None, None) => ApiTrust::System,
        };
        let call = ApiCall {
            base: url.to_owned(),
            path,
            authorization: format!("PVEAPIToken={}", token.trim()),
            trust,
            limit: LIMIT,
            most: get.most(),
        };
        let answer = self.root.api().get(&call).map_err(|refusal| refusal.outcome())?;
        let what = get.path().0;
        match answer.status {
            200 => Ok(answer.body),
            401 => Err(Outcome::Denied {
                error: format!("{url} does not know the token"),
                cure: format!("Write a token that is still good into {}, as USER@REALM!NAME=SECRET.", file.display()),
            }),
            403 => Err(Outcome::Denied {
                error: format!("{url} does not let the token read {what}"),
                cure:
                    "pveum acl modify / --roles PVEAuditor --users USER@REALM --tokens 'USER@REALM!NAME'; on version \
                       9, give it VM.GuestAgent.Audit besides."
                        .to_owned(),
            }),
            // A node that is away: its proxy says so with a status of its own.
            status => Err(Outcome::Failed { error: format!("{url}{what} answers with HTTP status {status}") }),
        }
    }

    /// Looks at everything at once.
    fn sight(&self) -> Result<Sight, Outcome> {
        let cluster: Rows = self.get(&ProxmoxGet::ClusterStatus)?;
        let resources: Rows = self.get(&ProxmoxGet::ClusterResources)?;
        let nodes = || cluster.0.iter().filter(|row| row.r#type.as_str() == "node");
        let local = nodes().find(|row| row.local.flag());
        let whole = !self.is_node();
        let nodes: Vec<String> = match local.filter(|_| !whole) {
            Some(local) => vec![local.name.as_str().to_owned()],
            None => nodes().map(|row| row.name.as_str().to_owned()).collect(),
        };
        let nodes = nodes.into_iter().filter(|node| get::is_node(node)).collect();
        Ok(Sight { resources: resources.0.into(), cluster: cluster.0.into(), nodes, whole })
    }

    /// What its nodes know the cluster by.
    fn identity(&self, sight: &Sight) -> Option<String> {
        let node = sight.local().or_else(|| sight.nodes.iter().find(|node| sight.is_online(node)).cloned())?;
        if !get::is_node(&node) {
            return None;
        }
        let certificates: Bounded<Certificate, 64> = self.get(&ProxmoxGet::Certificates { node }).ok()?;
        let authority = certificates.0.iter().find(|certificate| certificate.filename.as_str() == AUTHORITY)?;
        let fingerprint = authority.fingerprint.as_str();
        let digits = fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        ((32..=200).contains(&fingerprint.len()) && digits).then(|| fingerprint.to_ascii_uppercase())
    }
}

impl ProxmoxGet {
    /// How many bytes the answer may have.
    pub(crate) fn most(&self) -> usize {
        match self {
            Self::Interfaces { .. } | Self::Config { .. } | Self::NodeStatus { .. } => 512 << 10,
            _ => 4 << 20,
        }
    }
}

impl Sight {
    /// The same, of all nodes.
    fn of_all(&self) -> Self {
        let nodes = self.cluster.iter().filter(|row| row.r#type.as_str() == "node").map(|row| row.name.as_str());
        let nodes = nodes.filter(|node| get::is_node(node)).map(str::to_owned).collect();
        Self { nodes, whole: true, ..self.clone() }
    }

    /// The node that answered.
    fn local(&self) -> Option<String> {
        let mut nodes = self.cluster.iter().filter(|row| row.r#type.as_str() == "node");
        nodes.find(|row| row.local.flag()).map(|row| row.name.as_str().to_owned())
    }

    /// Whether the nodes see enough of each other; a node alone does.
    fn is_quorate(&self) -> bool {
        self.cluster().is_none_or(|cluster| cluster.quorate.0.is_none_or(|quorate| quorate != 0.0))
    }

    /// What is told to the hub of the cluster. A node alone is no cluster,
    /// unless it is seen from elsewhere.
    fn membership(&self, id: &str) -> Membership {
        let mut nodes = self.of_all().nodes;
        nodes.sort();
        let cluster = self.cluster().map(|row| row.name.as_str()).filter(|name| !name.is_empty());
        let name = cluster.or(nodes.first().map(String::as_str).filter(|_| self.whole)).unwrap_or_default();
        if name.is_empty() || id.is_empty() {
            return Membership::default();
        }
        Membership {
            id: id.to_owned(),
            name: name.to_owned(),
            node: self.local().filter(|_| !self.whole).unwrap_or_default(),
            quorate: self.is_quorate(),
            nodes,
            readable: true,
        }
    }

    fn ours(&self, node: &str) -> bool {
        self.nodes.iter().any(|ours| ours == node)
    }

    fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Row> {
        let rows = self.resources.iter();
        rows.filter(move |row| row.r#type.as_str() == kind && self.ours(row.node.as_str()))
    }

    fn guests(&self) -> impl Iterator<Item = &Row> {
        self.of_type("qemu").chain(self.of_type("lxc"))
    }

    fn cluster(&self) -> Option<&Row> {
        self.cluster.iter().find(|row| row.r#type.as_str() == "cluster")
    }

    fn is_online(&self, node: &str) -> bool {
        let mut rows = self.cluster.iter().filter(|row| row.r#type.as_str() == "node");
        rows.any(|row| row.name.as_str() == node && row.online.flag())
    }

    /// The cluster; a node that stands alone belongs to none.
    fn cluster_facets(&self) -> Vec<Facet> {
        let Some(row) = self.cluster().filter(|row| !row.name.as_str().is_empty()) else { return Vec::new() };
        let nodes = || self.cluster.iter().filter(|row| row.r#type.as_str() == "node");
        let offline: Vec<_> = nodes().filter(|row| !row.online.flag()).map(|row| row.name.as_str()).collect();
        let mut facet = Facet::owner("cluster", row.name.as_str(), "main");
        facet.text("offline", offline.join(", "));
        facet.read("quorate", row.quorate.0.map(|quorate| f64::from(u8::from(quorate != 0.0))));
        facet.read("nodes", row.nodes.0.or(Some(nodes().count() as f64)));
        facet.read("online_nodes", nodes().filter(|row| row.online.flag()).count() as f64);
        vec![facet]
    }

    fn node_facets(&self, versions: &HashMap<String, NodeStatus>) -> Vec<Facet> {
        let rows = self.cluster.iter().filter(|row| row.r#type.as_str() == "node" && self.ours(row.name.as_str()));
        let facet = |row: &Row| {
            let name = row.name.as_str();
            let seen = self.of_type("node").find(|seen| seen.node.as_str() == name);
            let mut facet = Facet::owner("node", name, "main");
            if let Some(status) = versions.get(name) {
                // pve-manager/9.1.1/42db4a6cf33dac83
                facet.text("version", status.pveversion.as_str().split('/').nth(1).unwrap_or_default());
                facet.text("kernel", status.kversion.as_str().split(" #").next().unwrap_or_default());
            }
            facet.text("address", row.ip.as_str());
            facet.text("cluster", self.cluster().map_or("", |cluster| cluster.name.as_str()));
            facet.text("state", if row.online.flag() { "online" } else { "offline" });
            facet.read("online", f64::from(u8::from(row.online.flag())));
            if let Some(seen) = seen.filter(|_| row.online.flag()) {
                facet.read("cpu_ratio", seen.cpu.0);
                facet.read("cores", seen.maxcpu.0);
                facet.read("memory_used_bytes", seen.mem.0);
                facet.read("memory_total_bytes", seen.maxmem.0);
                let ratio = seen.mem.0.zip(seen.maxmem.0.filter(|all| *all > 0.0)).map(|(used, all)| used / all);
                facet.read("memory_used_ratio", ratio);
                facet.read("uptime_seconds", seen.uptime.0);
            }
            let guests = || self.guests().filter(|guest| guest.node.as_str() == name && !guest.template.flag());
            facet.read("guests", guests().count() as f64);
            facet.read("running_guests", guests().filter(|guest| guest.status.as_str() == "running").count() as f64);
            facet
        };
        rows.map(facet).collect()
    }

    fn storage_facets(&self) -> Vec<Facet> {
        let mut names = std::collections::BTreeSet::new();
        let mut facets = Vec::new();
        for row in self.of_type("storage") {
            let (storage, node) = (row.storage.as_str(), row.node.as_str());
            let shared = row.shared.flag();
            let name = if self.whole && self.nodes.len() > 1 && !shared {
                format!("{node}/{storage}")
            } else {
                storage.to_owned()
            };
            // A shared one is told of once, by the first node that sees it.
            let there = row.status.as_str() == "available";
            // Of those that see it, one that reaches it.
            let reached = |other: &Row| {
                other.storage.as_str() == storage
                    && other.status.as_str() == "available"
                    && self.is_online(other.node.as_str())
            };
            let better = shared && !there && self.of_type("storage").any(reached);
            if storage.is_empty() || better || !self.is_online(node) || !names.insert(name.clone()) {
                continue;
            }
            let mut facet = Facet::owner("storage", name, "main");
            facet.text("type", row.plugintype.as_str());
            facet.text("content", row.content.as_str().replace(',', ", "));
            facet.text("node", node);
            facet.flag("shared", shared);
            facet.flag("enabled", true);
            facet.read("active", f64::from(u8::from(there)));
            if let Some((used, total)) = row.disk.0.zip(row.maxdisk.0).filter(|(_, total)| there && *total > 0.0) {
                facet.read("total_bytes", total);
                facet.read("used_bytes", used);
                facet.read("available_bytes", (total - used).max(0.0));
                facet.read("used_ratio", used / total);
            }
            facets.push(facet);
        }
        facets
    }
}

struct Proxmox {
    source: Source,
    meters: Meters,
    /// What the cluster is known by, and for how many looks it was asked.
    identity: Option<(String, u32)>,
    shared: Option<Shared>,
}

impl Proxmox {
    /// Tells which cluster it is, where that can be read.
    fn tell_membership(&mut self, sight: &Sight) {
        self.identity = match self.identity.take() {
            Some((id, looks)) if looks < LOOKS => Some((id, looks + 1)),
            // What cannot be read now is what it was before.
            before => self.source.identity(sight).map(|id| (id, 0)).or(before),
        };
        if let Some((id, _)) = &self.identity {
            self.source.root.seat().see(sight.membership(id));
        }
    }

    /// What belongs to the cluster, and what is told of it.
    fn share(&self, standing: Standing, own: &[Scope], all: Option<Vec<Scope>>, sight: &Sight) -> Option<Shared> {
        if standing == Standing::Own {
            return None;
        }
        let belongs = |facet: &&Facet| {
            sight.whole
                || match &*facet.resource.kind {
                    "guest" => true,
                    // What ails this node alone is its own.
                    "cluster" => sight.is_quorate(),
                    "storage" => is_shared(facet) && facet.reading("active") == Some(1.0),
                    _ => false,
                }
        };
        let facets = own.iter().flat_map(|scope| &scope.facets);
        let elsewhere = facets.filter(belongs).map(|facet| facet.resource.clone()).collect();
        let Standing::Ours(host) = standing else { return Some(Shared { elsewhere, cluster: None }) };
        Some(Shared { elsewhere, cluster: all.map(|scopes| (host, scopes)) })
    }
}

fn is_shared(facet: &Facet) -> bool {
    facet.attribute("shared").is_some_and(|shared| *shared == tomte_model::Value::Bool(true))
}

/// Nothing could be read: what is told of the cluster is not known either.
fn share_failure(standing: Standing, scopes: &[Scope]) -> Option<Shared> {
    match standing {
        Standing::Ours(host) => Some(Shared { elsewhere: HashSet::new(), cluster: Some((host, scopes.to_vec())) }),
        Standing::Own | Standing::Elsewhere => None,
    }
}

impl Collector for Proxmox {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        let sight = match self.source.sight() {
            Ok(sight) => sight,
            Err(outcome) => {
                self.source.root.seat().cannot_see();
                let scopes: Vec<_> = SCOPES.iter().map(|scope| Scope::failed(*scope, outcome.clone())).collect();
                self.shared = share_failure(self.source.root.seat().standing(), &scopes);
                return scopes;
            }
        };
        self.tell_membership(&sight);
        let standing = self.source.root.seat().standing();
        let all = if matches!(standing, Standing::Ours(_)) { sight.of_all() } else { sight.clone() };
        let mut versions = HashMap::new();
        // Cheap over the API; through pvesh, a second of a processor each.
        let mut own: HashMap<u32, Row> = HashMap::new();
        if self.source.is_api() {
            for node in all.nodes.iter().filter(|node| all.is_online(node)) {
                if let Ok(status) = self.source.get(&ProxmoxGet::NodeStatus { node: node.clone() }) {
                    versions.insert(node.clone(), status);
                }
                for kind in [GuestKind::Qemu, GuestKind::Lxc] {
                    let rows: Result<Rows, _> = self.source.get(&ProxmoxGet::Guests { node: node.clone(), kind });
                    own.extend(rows.unwrap_or_default().into_iter().filter_map(|row| Some((guests::vmid(&row)?, row))));
                }
            }
        }
        let mut runtime = |kind: &str| -> Vec<(bool, Facet)> {
            let rows: Vec<&Row> = all.of_type(kind).collect();
            let facet = |row: &Row| {
                let own = guests::vmid(row).and_then(|vmid| own.get(&vmid));
                Some((sight.ours(row.node.as_str()), self.meters.runtime(row, own, now)?))
            };
            rows.into_iter().filter_map(facet).collect()
        };
        let (qemu, lxc) = (runtime("qemu"), runtime("lxc"));
        self.meters.keep(|vmid| all.guests().any(|guest| guests::vmid(guest) == Some(vmid)));
        let scopes = |of: &Sight, storages: Vec<Facet>, is_told: fn(bool) -> bool| {
            let told = |guests: &[(bool, Facet)]| {
                guests.iter().filter(|(ours, _)| is_told(*ours)).map(|(_, facet)| facet.clone()).collect()
            };
            vec![
                Scope::complete("proxmox/cluster", of.cluster_facets()),
                Scope::complete("proxmox/node", of.node_facets(&versions)),
                Scope::complete("proxmox/storage", storages),
                Scope::complete("guest/qemu", told(&qemu)),
                Scope::complete("guest/lxc", told(&lxc)),
            ]
        };
        let seen = scopes(&sight, sight.storage_facets(), |ours| ours);
        let told = matches!(standing, Standing::Ours(_)).then(|| {
            let mut storages = all.storage_facets();
            // What each node has for itself, its own agent tells.
            storages.retain(|storage| sight.whole || is_shared(storage));
            scopes(&all, storages, |_| true)
        });
        self.shared = self.share(standing, &seen, told, &sight);
        seen
    }

    fn shared(&mut self) -> Option<Shared> {
        self.shared.take()
    }
}

struct Slow {
    source: Source,
    settings: ProxmoxSettings,
    shared: Option<Shared>,
    /// Details by guest, where not all of them are read in one run.
    read: HashMap<String, Facet>,
    /// The guest whose turn is next.
    turn: usize,
}

impl Slow {
    fn network(&self, guest: &Row, config: &GuestConfig) -> Network {
        let (Some(vmid), Some(kind)) = (guests::vmid(guest), guests::kind(guest)) else { return Network::NotAsked };
        let asked = guest.status.as_str() == "running" && (kind == GuestKind::Lxc || guests::expects_agent(config));
        if !asked {
            return Network::NotAsked;
        }
        let node = guest.node.as_str().to_owned();
        match self.source.get::<Interfaces>(&ProxmoxGet::Interfaces { node, kind, vmid }) {
            Ok(told) => Network::Told(told.list()),
            Err(outcome) => Network::Failed(outcome.error().unwrap_or_default().to_owned()),
        }
    }

    fn is_archived(&self, guest: &Row) -> bool {
        guests::tags(guest.tags.as_str()).any(|tag| self.settings.archived_tags.iter().any(|archived| archived == tag))
    }

    /// The details of each guest. One that moves or goes while it is looked at
    /// costs its own details alone.
    fn details(&mut self, sight: &Sight, jobs: Option<&[backups::Job<'_>]>) -> Scope {
        let guests: Vec<&Row> = sight.guests().filter(|guest| sight.is_online(guest.node.as_str())).collect();
        let count = guests.len().min(DETAILS);
        let first = if count < guests.len() { self.turn % guests.len() } else { 0 };
        self.turn = first + count;
        let numbers: HashSet<&str> = guests.iter().map(|guest| guest.vmid.as_str()).collect();
        self.read.retain(|number, _| numbers.contains(number.as_str()));
        let mut failed = None;
        for guest in guests.iter().cycle().skip(first).take(count) {
            let (Some(vmid), Some(kind)) = (guests::vmid(guest), guests::kind(guest)) else { continue };
            let node = guest.node.as_str().to_owned();
            self.read.remove(guest.vmid.as_str());
            match self.source.get::<GuestConfig>(&ProxmoxGet::Config { node, kind, vmid }) {
                Ok(config) => {
                    let taken = jobs.map(|jobs| jobs.iter().any(|job| job.takes(guest)));
                    let network = self.network(guest, &config);
                    if let Some(facet) = guests::detail(guest, &config, network, &self.settings.archived_tags, taken) {
                        self.read.insert(guest.vmid.as_str().to_owned(), facet);
                    }
                }
                Err(outcome) => failed = Some(outcome),
            }
        }
        let read = if count < guests.len() { self.read.clone() } else { std::mem::take(&mut self.read) };
        let mut facets: Vec<Facet> = read.into_values().collect();
        facets.sort_unstable_by(|a, b| a.resource.cmp(&b.resource));
        match failed {
            Some(outcome) if facets.is_empty() => Scope::failed("guest/detail", outcome),
            _ => Scope::complete("guest/detail", facets),
        }
    }

    /// The backups of every guest. A storage that cannot be listed makes all of
    /// them unknown: the newest could be there.
    fn backups(&self, sight: &Sight, jobs: &[backups::Job<'_>], tasks: &[Row], now: Moment) -> Scope {
        let mut lists: Vec<(&str, bool, Rows)> = Vec::new();
        for ((storage, _), row) in backups::storages(&sight.resources, &sight.nodes) {
            let (node, name) = (row.node.as_str().to_owned(), storage.to_owned());
            match self.source.get::<Rows>(&ProxmoxGet::Backups { node, storage: name }) {
                Ok(rows) => lists.push((storage, row.plugintype.as_str() == "pbs", rows)),
                Err(outcome) => return Scope::failed("backup/guest", outcome),
            }
        }
        let kept: Vec<_> = lists
            .iter()
            .flat_map(|(storage, pbs, rows)| rows.0.iter().map(|row| backups::Kept { row, storage, pbs: *pbs }))
            .collect();
        let of_guest = |guest: &Row| {
            // Looked for by number: a guest has few, a storage may have many.
            let number = guest.vmid.as_str();
            let own: Vec<_> = kept
                .iter()
                .filter(|kept| kept.row.vmid.as_str() == number)
                .map(|kept| backups::Kept { row: kept.row, storage: kept.storage, pbs: kept.pbs })
                .collect();
            backups::of_guest(guest, &own, jobs, tasks, self.is_archived(guest), now.wall)
        };
        Scope::complete("backup/guest", sight.guests().filter_map(of_guest).flatten().collect())
    }
}

/// The part of a scope that is of a host's own guests.
fn of_guests(scope: &Scope, is_own: impl Fn(&ResourceKey) -> bool) -> Scope {
    let mut scope = scope.clone();
    scope.facets.retain(|facet| is_own(&facet.resource));
    scope
}

impl Collector for Slow {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        let standing = self.source.root.seat().standing();
        let sight = match self.source.sight() {
            Ok(sight) => sight,
            Err(outcome) => {
                let scopes: Vec<_> = SLOW_SCOPES.iter().map(|scope| Scope::failed(*scope, outcome.clone())).collect();
                self.shared = share_failure(standing, &scopes);
                return scopes;
            }
        };
        let all = if matches!(standing, Standing::Ours(_)) { sight.of_all() } else { sight.clone() };
        let since = u64::try_from(now.wall.millis() / 1000).unwrap_or(0).saturating_sub(86_400);
        let mut tasks = Ok(Vec::new());
        // Those of this node (or, from elsewhere, of all), and those of all.
        let (mut of_node, mut of_all) = (Ok(Vec::new()), Ok(Vec::new()));
        let mut all_tasks: Vec<Row> = Vec::new();
        for node in all.nodes.iter().filter(|node| all.is_online(node)) {
            let ours = sight.ours(node);
            match self.source.get::<Rows>(&ProxmoxGet::Tasks { node: node.clone(), since }) {
                Ok(rows) => {
                    if let Ok(facets) = &mut tasks
                        && ours
                    {
                        facets.push(tasks::facet(node, &rows.0));
                    }
                    all_tasks.extend(rows.0);
                }
                Err(outcome) if ours => tasks = Err(outcome),
                Err(_) => {}
            }
            match self.source.get::<Rows>(&ProxmoxGet::Replication { node: node.clone() }) {
                Ok(rows) => {
                    let read: Vec<_> =
                        rows.0.iter().filter_map(|row| tasks::replication(row, node, now.wall)).collect();
                    if let Ok(facets) = &mut of_node
                        && ours
                    {
                        facets.extend(read.iter().cloned());
                    }
                    if let Ok(facets) = &mut of_all {
                        facets.extend(read);
                    }
                }
                Err(outcome) => {
                    if ours {
                        of_node = Err(outcome.clone());
                    }
                    of_all = Err(outcome);
                }
            }
        }
        let jobs: Result<Rows, Outcome> = self.source.get(&ProxmoxGet::BackupJobs);
        let known = jobs.as_ref().ok().map(|rows| backups::Job::list(&rows.0));
        let backups = match &jobs {
            Ok(rows) => self.backups(&all, &backups::Job::list(&rows.0), &all_tasks, now),
            Err(outcome) => Scope::failed("backup/guest", outcome.clone()),
        };
        let details = self.details(&all, known.as_deref());
        let scope = |name: &'static str, read: Result<Vec<Facet>, Outcome>| match read {
            Ok(facets) => Scope::complete(name, facets),
            Err(outcome) => Scope::failed(name, outcome),
        };
        let numbers: HashSet<&str> = sight.guests().map(|guest| guest.vmid.as_str()).collect();
        let is_own = |key: &ResourceKey| numbers.contains(key.name.trim_start_matches("guest/"));
        let seen = vec![
            of_guests(&details, is_own),
            of_guests(&backups, is_own),
            scope("proxmox/replication", of_node),
            scope("proxmox/task", tasks),
        ];
        let belongs = |facet: &&Facet| sight.whole || facet.resource.kind != "node";
        let facets = seen.iter().flat_map(|scope| &scope.facets).filter(belongs);
        let elsewhere = facets.map(|facet| facet.resource.clone()).collect();
        self.shared = match standing {
            Standing::Own => None,
            Standing::Elsewhere => Some(Shared { elsewhere, cluster: None }),
            Standing::Ours(host) => {
                let mut told = vec![details, backups, scope("proxmox/replication", of_all)];
                // Each node's own agent tells of its tasks.
                told.extend(sight.whole.then(|| seen[3].clone()));
                Some(Shared { elsewhere, cluster: Some((host, told)) })
            }
        };
        seen
    }

    fn shared(&mut self) -> Option<Shared> {
        self.shared.take()
    }
}

#[cfg(test)]
mod tests;
