//! What services keep on disk: their state, cache and log directories, as
//! systemd knows them, and those that the configuration names as their data.
//!
//! The directories are walked, so this is slow, and gentle: see
//! [`crate::tree_size`]. A disk that turns and has not been touched since the
//! last walk may be asleep; it is left alone, and what was counted then stands.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tomte_model::{Facet, Moment, Outcome, Scope};

use crate::Collector;
use crate::privileged::{Answer, Refusal, Request};
use crate::reader::read_trimmed;
use crate::root::Root;
use crate::settings::{ServiceSettings, Settings};
use crate::systemd::{Detail, Manager, full, short};
use crate::tree_size::{SizeError, tree_size};

/// The collector's own scope, complete when the services were found; each
/// service has a further one.
pub(crate) const SCOPES: &[&str] = &["service_disk"];

/// systemd must have answered by then.
const ASKED_WITHIN: Duration = Duration::from_secs(20);
/// All walks of a run must be over by then; the collector's deadline is later.
const WALKED_WITHIN: Duration = Duration::from_secs(480);
/// The helper's walk for one service; who asks it waits a little longer.
const HELPED_WITHIN: Duration = Duration::from_secs(45);
/// More services are not walked.
const MOST: usize = 500;

/// The collector `service_disk`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(ServiceDisk { root: root.clone(), settings: settings.service.clone(), last: HashMap::new() })
}

struct ServiceDisk {
    root: Root,
    settings: ServiceSettings,
    last: HashMap<String, Last>,
}

/// What was counted last, and what the disks had done by then.
struct Last {
    facet: Facet,
    activity: Vec<String>,
}

/// The directories of a service, by the field they are counted in.
type Directories = BTreeMap<&'static str, Vec<PathBuf>>;

impl Collector for ServiceDisk {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        let services = match self.services() {
            Ok(services) => services,
            Err(outcome) => return vec![Scope::failed(SCOPES[0], outcome)],
        };
        let until = Instant::now() + WALKED_WITHIN;
        self.last.retain(|name, _| services.contains_key(name));
        let mut scopes = vec![Scope::complete(SCOPES[0], Vec::new())];
        for (name, directories) in services.into_iter().take(MOST) {
            let scope = format!("service_disk:{name}");
            scopes.push(match self.walk(&name, &directories, until) {
                Ok(facet) => Scope::complete(scope, vec![facet]),
                Err(outcome) => Scope::failed(scope, outcome),
            });
        }
        scopes
    }
}

impl ServiceDisk {
    /// The services that have directories.
    fn services(&self) -> Result<BTreeMap<String, Directories>, Outcome> {
        let mut services: BTreeMap<String, Directories> = BTreeMap::new();
        for (name, paths) in &self.settings.data {
            let paths = paths.iter().map(|path| self.root.path(path)).collect();
            services.entry(short(&full(name)).to_owned()).or_default().insert("data_bytes", paths);
        }
        let mut manager = match Manager::open(&self.root, ASKED_WITHIN) {
            Ok(manager) => manager,
            Err(outcome) if services.is_empty() => return Err(outcome),
            // What is named is counted without systemd.
            Err(_) => return Ok(services),
        };
        let failed = |error: crate::dbus::BusError| error.outcome();
        for unit in manager.units().map_err(failed)? {
            let name = short(&unit.name);
            let wanted = unit.name.ends_with(".service") && unit.load == "loaded" && unit.active != "inactive";
            if !wanted || !self.settings.names.matches(name) {
                continue;
            }
            match manager.detail(&unit.name) {
                Ok(detail) => self.add(&mut services, name, &detail),
                Err(error) if error.is_answer() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        services.retain(|_, directories| !directories.is_empty());
        Ok(services)
    }

    fn add(&self, services: &mut BTreeMap<String, Directories>, name: &str, detail: &Detail) {
        let own = own_directories(&self.root, detail);
        if !own.is_empty() {
            services.entry(name.to_owned()).or_default().extend(own);
        }
    }

    fn walk(&mut self, name: &str, directories: &Directories, until: Instant) -> Result<Facet, Outcome> {
        let paths = || directories.values().flatten();
        let mut asleep = false;
        let mut activity = Vec::new();
        for path in paths() {
            if let Some(turning) = turning_disk(&self.root, path) {
                // The same numbers as last time: nobody has touched it since.
                asleep |= self.last.get(name).is_some_and(|last| last.activity.contains(&turning));
                activity.push(turning);
            }
        }
        if let Some(last) = self.last.get(name).filter(|_| asleep) {
            return Ok(last.facet.clone());
        }
        let mut facet = Facet::extra("service", name, "disk");
        let shown: Vec<_> = paths().map(|path| self.root.host_path(path).display().to_string()).collect();
        facet.text("directories", shown.join(" "));
        // One look at all of them by the helper, where we may not look ourselves.
        let mut helped = None;
        for (field, paths) in directories {
            let bytes = match tree_size(paths, until) {
                Err(SizeError::Denied(path)) if *field != "data_bytes" => {
                    let sizes = match &helped {
                        Some(sizes) => sizes,
                        None => {
                            helped.insert(self.by_helper(name).map_err(|refusal| denied(&self.root, &path, &refusal))?)
                        }
                    };
                    sizes.get(*field).copied().unwrap_or(0)
                }
                size => size.map_err(|error| self.outcome(error))?,
            };
            facet.read(*field, bytes as f64);
        }
        // What our own walk has read does not count as somebody's.
        let activity = paths().filter_map(|path| turning_disk(&self.root, path)).collect();
        self.last.insert(name.to_owned(), Last { facet: facet.clone(), activity });
        Ok(facet)
    }

    fn by_helper(&self, name: &str) -> Result<BTreeMap<String, u64>, Refusal> {
        let answer = self.root.ask(&Request::UnitDirectories { unit: full(name) })?;
        serde_json::from_slice(&answer.body).map_err(|error| Refusal::Failed(format!("the helper's answer: {error}")))
    }

    fn outcome(&self, error: SizeError) -> Outcome {
        let shown = |path: &Path| self.root.host_path(path).display().to_string();
        match error {
            SizeError::Denied(path) => Outcome::Denied {
                error: format!("{} may not be read", shown(&path)),
                cure: format!(
                    "Let the agent's user look into it: setfacl -R -m u:tomte:rX -m d:u:tomte:rX {}; or leave the \
                     service out with service.names.",
                    shown(&path)
                ),
            },
            SizeError::TooLong => {
                Outcome::Failed { error: "it holds too many files to count them in 8 minutes".to_owned() }
            }
            SizeError::Io(path, error) => {
                Outcome::Failed { error: format!("{} cannot be read: {error}", shown(&path)) }
            }
        }
    }
}

/// The directories that are a unit's own, by the field they are counted in.
fn own_directories(root: &Root, detail: &Detail) -> Directories {
    let kinds = [
        ("state_bytes", "var/lib", &detail.state_directories),
        ("cache_bytes", "var/cache", &detail.cache_directories),
        ("logs_bytes", "var/log", &detail.logs_directories),
    ];
    let mut own = Directories::new();
    for (field, top, names) in kinds {
        // As systemd.exec(5) promises, none of them climbs.
        let plain = names.iter().filter(|name| !name.split('/').any(|part| part == ".."));
        let paths: Vec<_> = plain.map(|name| root.path(top).join(name)).collect();
        if !paths.is_empty() {
            own.insert(field, paths);
        }
    }
    own
}

/// What the helper may not tell either, and what to do about it.
fn denied(root: &Root, path: &Path, refusal: &Refusal) -> Outcome {
    match refusal.outcome() {
        Outcome::Denied { cure, .. } => {
            Outcome::Denied { error: format!("{} may not be read", root.host_path(path).display()), cure }
        }
        outcome => outcome,
    }
}

/// Counts a service's own directories: the helper's part. Which those are is
/// asked of systemd, so that no request can name a path.
///
/// # Errors
/// When there is no such service, or it cannot be counted.
pub(crate) fn execute(root: &Root, unit: &str) -> Result<Answer, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    if !unit.ends_with(".service") || unit.len() > 255 || !unit.bytes().all(plain) {
        return Err(Refusal::Invalid(format!("{unit:?} is no service")));
    }
    let refused = |outcome: Outcome| Refusal::Failed(outcome.error().unwrap_or_default().to_owned());
    let mut manager = Manager::open(root, ASKED_WITHIN).map_err(refused)?;
    let detail = manager.detail(unit).map_err(|error| refused(error.outcome()))?;
    if detail.load != "loaded" {
        return Err(Refusal::Invalid(format!("systemd has no {unit}")));
    }
    let until = Instant::now() + HELPED_WITHIN;
    let mut sizes = BTreeMap::new();
    for (field, paths) in own_directories(root, &detail) {
        let size = tree_size(&paths, until);
        sizes.insert(field, size.map_err(|error| Refusal::Failed(format!("{unit}: {error:?}")))?);
    }
    let body = serde_json::to_vec(&sizes).map_err(|error| Refusal::Failed(error.to_string()))?;
    Ok(Answer { status: Some(0), body, complaint: String::new() })
}

/// What the kernel has counted for the disk below a path, if that turns.
/// File systems that span disks of their own accord (ZFS, btrfs) do not tell.
fn turning_disk(root: &Root, path: &Path) -> Option<String> {
    let device = fs::metadata(path).ok()?.dev();
    let name = format!("dev/block/{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let place = fs::canonicalize(root.sys(&name)).ok()?;
    // A partition's queue is that of its disk.
    let queue = [place.join("queue"), place.parent()?.join("queue")].into_iter().find(|path| path.is_dir())?;
    let turns = read_trimmed(&queue.join("rotational")).ok()? == "1";
    turns.then(|| read_trimmed(&place.join("stat")).ok()).flatten().map(|stat| format!("{name} {stat}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_the_configuration_names_is_counted_also_without_systemd() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("srv/www")).unwrap();
        fs::write(dir.path().join("srv/www/index.html"), vec![1; 50_000]).unwrap();
        let mut settings = Settings::default();
        settings.service.data.insert("nginx.service".to_owned(), vec!["/srv/www".into()]);
        let scopes = make(&Root::new(dir.path()), &settings).collect(Moment::default());
        assert_eq!(scopes.len(), 2, "{scopes:?}");
        let facet = &scopes[1].facets[0];
        assert_eq!((facet.resource.to_string().as_str(), facet.owner), ("service:nginx", false));
        assert!(facet.reading("data_bytes").is_some_and(|bytes| (50_000.0..70_000.0).contains(&bytes)), "{facet:?}");
        assert_eq!(facet.attribute("directories").unwrap().to_string(), "/srv/www");
    }

    #[test]
    fn without_either_there_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let scopes = make(&Root::new(dir.path()), &Settings::default()).collect(Moment::default());
        assert!(matches!(scopes[0].outcome, Outcome::Unavailable { .. }) && scopes.len() == 1);
    }
}
