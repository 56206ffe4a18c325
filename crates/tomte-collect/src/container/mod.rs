//! Containers of Docker and Podman: what they are, from the engine; what they
//! use, from their control groups.
//!
//! Each run asks an engine once for its list. One container is asked after when
//! it is new, its state or health changed or its process ended, and otherwise
//! once in a while; its numbers are read from the kernel, which costs the
//! engine nothing. Each engine is a scope of its own.

mod ask;
mod disk;
mod engine;
mod http;
mod one;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tomte_model::{Facet, Moment, Outcome, Scope};

use crate::Collector;
use crate::cgroup::{GroupReader, Trees};
use crate::privileged::{Answer, Engine, Refusal, Request};
use crate::root::Root;
use crate::settings::{ContainerSettings, Settings};
pub use ask::{Ask, BadContainerId, ContainerId};
pub(crate) use disk::{SCOPES as DISK_SCOPES, make as make_disk};
pub use engine::fuzz_engine_answer;
use engine::{Listed, Version};
pub(crate) use http::AskError;
use one::Container;

/// The scopes of the engines that are looked for without being told.
pub(crate) const SCOPES: &[&str] = &["container:docker", "container:podman"];

/// Everything asked of one engine in a run must be over by then.
const WITHIN: Duration = Duration::from_secs(4);
/// The helper waits so long for an engine, which may count what is on disk.
const HELPER_WITHIN: Duration = Duration::from_secs(50);
/// So many containers are asked after in one run; the others wait.
const AT_ONCE: usize = 50;
/// So many of those because it is a while ago.
const AGAIN_AT_ONCE: usize = 5;
/// More containers of one engine are not reported.
const MOST: usize = 2_000;
/// The engine may have been replaced by another version.
const VERSION_AGAIN: u64 = 900_000;

/// The collector `container`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Containers {
        settings: settings.container.clone(),
        engines: sockets(root, &settings.container).into_iter().map(Watched::new).collect(),
        trees: Trees::find(root),
        reader: GroupReader::default(),
        root: root.clone(),
    })
}

/// Where an engine listens, and what it is called.
#[derive(Debug, Clone)]
pub(crate) struct Socket {
    /// `docker`, `podman`, or the path of a further socket.
    pub(crate) label: String,
    /// `docker` or `podman`.
    pub(crate) kind: &'static str,
    pub(crate) path: PathBuf,
    /// The path as the host calls it.
    pub(crate) shown: String,
    root: Root,
}

/// The sockets to ask: those of the settings, and that of the Podman which
/// this very user runs without root.
pub(crate) fn sockets(root: &Root, settings: &ContainerSettings) -> Vec<Socket> {
    let mut paths = settings.sockets.clone();
    let own = format!("/run/user/{}/podman/podman.sock", rustix::process::geteuid().as_raw());
    let own = PathBuf::from(own);
    if root.path(&own).exists() && !paths.contains(&own) {
        paths.push(own);
    }
    let mut sockets: Vec<Socket> = Vec::new();
    for path in paths {
        let shown = path.display().to_string();
        let kind = if shown.contains("podman") { "podman" } else { "docker" };
        let taken = sockets.iter().any(|socket| socket.label == kind);
        let label = if taken { shown.clone() } else { kind.to_owned() };
        sockets.push(Socket { label, kind, path: root.path(&path), shown, root: root.clone() });
    }
    sockets
}

/// The sockets of the engines that are looked at, to follow their events.
#[must_use]
pub fn engine_sockets(root: &Root, settings: &Settings) -> Vec<PathBuf> {
    sockets(root, &settings.container).into_iter().map(|socket| socket.path).collect()
}

impl Socket {
    /// Asks the engine; where the kernel does not let us, the helper does.
    pub(crate) fn ask(&self, what: &Ask, until: Instant) -> Result<Vec<u8>, AskError> {
        let within = until.saturating_duration_since(Instant::now());
        let answer = http::get(&self.path, &what.to_string(), within);
        let engine = [Engine::Docker, Engine::Podman].into_iter().find(|engine| engine.socket() == self.shown);
        match (answer, engine) {
            (Err(AskError::Denied(_)), Some(engine)) => {
                let answer = self.root.ask(&Request::Engine { engine, ask: what.clone() })?;
                match answer.status {
                    Some(0) => Ok(answer.body),
                    status => Err(AskError::Status {
                        status: status.and_then(|status| u16::try_from(status).ok()).unwrap_or(0),
                        message: answer.complaint,
                    }),
                }
            }
            (answer, _) => answer,
        }
    }
}

/// Asks an engine in the place of somebody who may not: the helper's part.
///
/// # Errors
/// When the engine does not answer; its refusal is an answer.
pub(crate) fn execute(root: &Root, engine: Engine, ask: &Ask) -> Result<Answer, Refusal> {
    let answer = http::get(&root.path(engine.socket()), &ask.to_string(), HELPER_WITHIN);
    let told = |error: &AskError| error.outcome().error().unwrap_or_default().to_owned();
    match answer {
        Ok(body) => Ok(Answer { status: Some(0), body, complaint: String::new() }),
        Err(AskError::Status { status, message }) => {
            Ok(Answer { status: Some(status.into()), body: Vec::new(), complaint: message })
        }
        Err(error @ AskError::Missing(_)) => Err(Refusal::Unavailable(told(&error))),
        Err(error) => Err(Refusal::Failed(told(&error))),
    }
}

struct Containers {
    root: Root,
    settings: ContainerSettings,
    engines: Vec<Watched>,
    trees: Option<Trees>,
    reader: GroupReader,
}

struct Watched {
    socket: Socket,
    version: Option<(Version, u64)>,
    known: HashMap<ContainerId, Container>,
}

impl Collector for Containers {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        let mut names = HashSet::new();
        let Self { root, settings, engines, trees, reader } = self;
        let mut kernel = Kernel { root, trees: trees.as_ref(), reader };
        engines
            .iter_mut()
            .map(|engine| {
                let scope = format!("container:{}", engine.socket.label);
                match engine.look(&mut kernel, settings, &mut names, now) {
                    Ok(facets) => Scope::complete(scope, facets),
                    Err(outcome) => Scope::failed(scope, outcome),
                }
            })
            .collect()
    }
}

/// Where the numbers come from.
struct Kernel<'a> {
    root: &'a Root,
    trees: Option<&'a Trees>,
    reader: &'a mut GroupReader,
}

impl Watched {
    fn new(socket: Socket) -> Self {
        Self { socket, version: None, known: HashMap::new() }
    }

    fn look(
        &mut self,
        kernel: &mut Kernel<'_>,
        settings: &ContainerSettings,
        names: &mut HashSet<String>,
        now: Moment,
    ) -> Result<Vec<Facet>, Outcome> {
        let until = Instant::now() + WITHIN;
        let outcome = |error: AskError| error.outcome();
        let listed = self.socket.ask(&Ask::Containers, until).map_err(outcome)?;
        let listed = engine::containers(&listed).map_err(outcome)?;
        if self.version.as_ref().is_none_or(|(_, at)| now.boot_millis.saturating_sub(*at) >= VERSION_AGAIN) {
            let version = self.socket.ask(&Ask::Version, until).map_err(outcome)?;
            self.version = Some((engine::version(&version).map_err(outcome)?, now.boot_millis));
        }
        let mut facets = vec![self.facet(&listed)];
        let mut asked = (0, 0);
        for listed in &listed {
            let Some(id) = &listed.id else { continue };
            let mut name = resource_name(listed);
            if facets.len() > MOST || !(settings.names.matches(&name) && settings.names.matches(&listed.name)) {
                continue;
            }
            let container = self.known.entry(id.clone()).or_default();
            container.seen = true;
            if let Some(changed) = container.is_to_be_asked(listed, kernel, now)
                && asked.0 < AT_ONCE
                && (changed || asked.1 < AGAIN_AT_ONCE)
            {
                asked = (asked.0 + 1, asked.1 + usize::from(!changed));
                match container.ask_after(&self.socket, id, listed, kernel, until, now) {
                    Ok(()) => {}
                    // It has gone since it was listed.
                    Err(error) if error.is_answer() => continue,
                    Err(error) => return Err(outcome(error)),
                }
            }
            if names.contains(&name) {
                name = format!("{}:{name}", self.socket.label);
            }
            facets.extend(container.facet(&name, self.socket.kind, listed, id, kernel, now));
            names.insert(name);
        }
        self.known.retain(|_, container| std::mem::take(&mut container.seen));
        Ok(facets)
    }

    fn facet(&self, listed: &[Listed]) -> Facet {
        let mut facet = Facet::owner("container_engine", &*self.socket.label, "main");
        if let Some((version, _)) = &self.version {
            facet.text("version", &version.version);
            facet.text("api_version", &version.api_version);
        }
        facet.text("socket", &self.socket.shown);
        let count = |state: &str| listed.iter().filter(|listed| listed.state == state).count();
        let (running, paused) = (count("running"), count("paused"));
        facet.read("containers", listed.len() as f64);
        facet.read("running", running as f64);
        facet.read("paused", paused as f64);
        facet.read("stopped", listed.len().saturating_sub(running + paused) as f64);
        facet
    }
}

/// A name that outlives the container: what compose calls it, else its own.
fn resource_name(listed: &Listed) -> String {
    let Listed { name, project, service, number, .. } = listed;
    if project.is_empty() {
        return name.clone();
    }
    let number = if number.is_empty() { "1" } else { number };
    format!("{project}/{service}/{number}")
}

/// What a container has sent and received: of all its interfaces but `lo`.
fn network(root: &Root, pid: u32) -> Option<(u64, u64)> {
    let text = crate::reader::read_file(&root.proc(&format!("{pid}/net/dev"))).ok()?;
    parse_network(&String::from_utf8_lossy(&text))
}

/// Lines such as `eth0: 1096 12 0 0 0 0 0 0 0 0 …`: see proc_pid_net(5).
fn parse_network(text: &str) -> Option<(u64, u64)> {
    let mut sums: Option<(u64, u64)> = None;
    for line in text.lines() {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let mut numbers = numbers.split_ascii_whitespace();
        let received = numbers.next()?.parse::<u64>().ok()?;
        let sent = numbers.nth(7)?.parse::<u64>().ok()?;
        let (all_received, all_sent) = sums.unwrap_or_default();
        sums = Some((all_received.saturating_add(received), all_sent.saturating_add(sent)));
    }
    sums
}

/// Whether there is such a process still.
fn is_alive(root: &Root, pid: u32) -> bool {
    Path::new(&root.proc(&pid.to_string())).exists()
}

#[cfg(test)]
mod tests;
