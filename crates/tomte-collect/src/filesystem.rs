//! File systems: how full they are, from the table of mounts and `statvfs`.
//!
//! A file system is counted once, by its device number, however often it is
//! mounted. What shows parts of others (overlays, images of snaps, encrypted
//! views) and what holds no data (/proc, /sys) is left out; so is `autofs`,
//! which is never touched at all. Which types count is told in [`Class`].
//!
//! Every look is a probe of its own, since also a disk may die in the midst of
//! an answer. The local file systems are one scope, in which a silent one is
//! shown as unknown; each file system on a server, or made by a program, is a
//! scope of its own and goes stale alone.

mod class;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tomte_model::{Assessment, Facet, Moment, Outcome, Problem, Scope, Status, Timestamp, Unit};

use self::class::Class;
use crate::Collector;
use crate::mounts::{self, Mount};
use crate::probe::{Probe, Probed, Prober};
use crate::root::{Root, Space};
use crate::settings::{FilesystemSettings, Settings};

/// The scope of all that is local.
pub(crate) const SCOPES: &[&str] = &["filesystem"];

/// Of one file system's mounts, the best few are kept: ten thousand binds of
/// one disk must not cost ten thousand tries.
const TRIED: usize = 4;

/// For how many readings it is told that a scope is gone, so that one report
/// that never arrives does not leave it standing for ever.
const FAREWELLS: u32 = 60;

/// Tells how full the file system at a mount point is.
type Measure = Arc<dyn Fn(&Path) -> io::Result<Space> + Send + Sync>;

/// The collector `filesystem`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    let measured = root.clone();
    Box::new(Filesystems::new(root, &settings.filesystem, Arc::new(move |point| measured.space(point))))
}

struct Filesystems {
    root: Root,
    settings: FilesystemSettings,
    measure: Measure,
    local: Prober,
    apart: Prober,
    /// The mount point that each device was last named by.
    named: HashMap<String, String>,
    /// The scopes beside the local one: how often it is still told that they
    /// are gone.
    beside: BTreeMap<String, u32>,
    /// Since when those that ought to answer do not.
    silent: HashMap<String, Timestamp>,
    deadlines: Deadlines,
}

/// How long all looks together may take.
#[derive(Debug, Clone, Copy)]
struct Deadlines {
    local: Duration,
    apart: Duration,
}

/// Disks answer from memory, within microseconds.
const DEADLINES: Deadlines = Deadlines { local: Duration::from_secs(2), apart: Duration::from_secs(4) };

/// One file system and the best of its mounts.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    class: Class,
    /// Best first; never empty.
    mounts: Vec<Mount>,
}

/// What a look at a file system brought.
enum Look {
    /// The numbers, and by which of its mounts they were reached.
    Seen(usize, Space),
    /// No longer mounted, or hidden below another mount.
    Gone,
    /// It cannot be told.
    Failed(Outcome),
}

impl Collector for Filesystems {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        let all = match mounts::read(&self.root) {
            Ok(all) => all,
            Err(error) => {
                let known = self.beside.iter().filter(|(_, left)| **left == FAREWELLS).map(|(name, _)| name.clone());
                let mut scopes = vec![error.scope("filesystem")];
                scopes.extend(known.map(|name| error.scope(name)));
                return scopes;
            }
        };
        let (local, apart): (Vec<_>, Vec<_>) =
            self.find(all).into_iter().partition(|found| matches!(found.class, Class::Local));
        let mut scopes = self.look_at_local(local, now);
        scopes.extend(self.look_apart(apart));
        self.say_farewell(&mut scopes);
        scopes
    }
}

impl Filesystems {
    fn new(root: &Root, settings: &FilesystemSettings, measure: Measure) -> Self {
        Self {
            root: root.clone(),
            settings: settings.clone(),
            measure,
            local: Prober::new(8, 1),
            apart: Prober::new(16, 4),
            named: HashMap::new(),
            beside: BTreeMap::new(),
            silent: HashMap::new(),
            deadlines: DEADLINES,
        }
    }

    /// The file systems that count, each once, in the order of their names.
    fn find(&mut self, all: Vec<Mount>) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for mount in mounts::visible(all) {
            let Some(class) = class::of(&mount, &self.settings) else { continue };
            // A share that is mounted twice with different options has two
            // device numbers, and one source.
            let share = class::share(&mount).map(str::to_owned);
            let known = share.as_ref().and_then(|share| places.get(share)).or_else(|| places.get(&mount.device));
            let place = known.copied().unwrap_or(found.len());
            places.insert(mount.device.clone(), place);
            places.extend(share.map(|share| (share, place)));
            match found.get_mut(place) {
                Some(known) => self.add(&mut known.mounts, mount),
                None => found.push(Found { class, mounts: vec![mount] }),
            }
        }
        found.retain(|found| self.settings.mounts.matches(&found.mounts[0].point));
        found.sort_by(|a, b| a.mounts[0].point.cmp(&b.mounts[0].point));
        self.named = found.iter().map(|f| (f.mounts[0].device.clone(), f.mounts[0].point.clone())).collect();
        found
    }

    /// Adds a mount to those of its file system, best first: one that was asked
    /// for; the one that named it before, so that names stay; one of the whole;
    /// the shortest.
    fn add(&self, mounts: &mut Vec<Mount>, mount: Mount) {
        let rank = |mount: &Mount| {
            let depth = mount.point.split('/').filter(|part| !part.is_empty()).count();
            let before = self.named.get(&mount.device).is_some_and(|point| *point == mount.point);
            let asked = self.settings.mounts.includes(&mount.point);
            (Reverse(asked), Reverse(before), Reverse(mount.whole), depth, mount.point.len())
        };
        let place = mounts.partition_point(|known| rank(known) <= rank(&mount));
        if place < TRIED {
            mounts.truncate(TRIED - 1);
            mounts.insert(place, mount);
        }
    }

    fn look_at_local(&mut self, found: Vec<Found>, now: Moment) -> Vec<Scope> {
        let looks = look(&self.local, &self.measure, &found, self.deadlines.local);
        let mut silent = HashMap::new();
        let mut denied = Vec::new();
        let mut facets = Vec::with_capacity(found.len());
        for (found, look) in found.iter().zip(looks) {
            let name = &found.mounts[0].point;
            match look {
                Look::Seen(_, space) if space.size == 0 => {}
                Look::Seen(by, space) => facets.push(facet(&found.mounts[by], found.class, Some(space))),
                Look::Gone => {}
                Look::Failed(outcome) => {
                    let mut facet = facet(&found.mounts[0], found.class, None);
                    let since = *self.silent.get(name).unwrap_or(&now.wall);
                    silent.insert(name.clone(), since);
                    facet.assessment = Some(unknown(&outcome, since));
                    facets.push(facet);
                    // For the cure; what is known of it is in the local scope.
                    if matches!(outcome, Outcome::Denied { .. }) {
                        denied.push(Scope::failed(scope_name(name), outcome));
                    }
                }
            }
        }
        self.silent = silent;
        let mut scopes = vec![Scope::complete("filesystem", facets)];
        scopes.append(&mut denied);
        scopes
    }

    fn look_apart(&self, found: Vec<Found>) -> Vec<Scope> {
        let looks = look(&self.apart, &self.measure, &found, self.deadlines.apart);
        let scope = |(found, look): (&Found, Look)| {
            let name = scope_name(&found.mounts[0].point);
            match look {
                Look::Seen(by, space) if space.size > 0 => {
                    Scope::complete(name, vec![facet(&found.mounts[by], found.class, Some(space))])
                }
                // Some programs' file systems have no size.
                Look::Seen(..) | Look::Gone => Scope::complete(name, Vec::new()),
                Look::Failed(outcome) => Scope::failed(name, outcome),
            }
        };
        found.iter().zip(looks).map(scope).collect()
    }

    /// Tells of the scopes that were there before and are no more: the table of
    /// mounts was read, so they are gone.
    fn say_farewell(&mut self, scopes: &mut Vec<Scope>) {
        self.beside.retain(|_, left| {
            *left -= 1;
            *left > 0
        });
        for scope in scopes.iter().skip(SCOPES.len()) {
            self.beside.insert(scope.name.clone().into_owned(), FAREWELLS);
        }
        let gone = self.beside.iter().filter(|(_, left)| **left < FAREWELLS);
        scopes.extend(gone.map(|(name, _)| Scope::complete(name.clone(), Vec::new())));
    }
}

fn scope_name(point: &str) -> String {
    format!("filesystem:{point}")
}

/// Looks at each of them, side by side where one does not answer.
fn look(prober: &Prober, measure: &Measure, found: &[Found], deadline: Duration) -> Vec<Look> {
    let probe = |found: &Found| {
        let (measure, mounts) = (measure.clone(), found.mounts.clone());
        // What was asked for by its name alone is not tried by another.
        let tries = if matches!(found.class, Class::Local) { TRIED } else { 1 };
        let first = &found.mounts[0];
        let probe =
            Probe::new(first.point.clone(), move || measure_first(&measure, &mounts[..tries.min(mounts.len())]));
        if matches!(found.class, Class::Local) { probe } else { probe.in_group(class::server(&first.source)) }
    };
    let answers = prober.probe(found.iter().map(probe).collect(), deadline);
    found.iter().zip(answers).map(|(found, answer)| judge(&found.mounts[0], answer, deadline)).collect()
}

/// By the first of these mounts that leads to their file system. `None` where
/// none does.
fn measure_first(measure: &Measure, mounts: &[Mount]) -> io::Result<Option<(usize, Space)>> {
    let mut failure = None;
    for (index, mount) in mounts.iter().enumerate() {
        match measure(Path::new(&mount.point)) {
            Ok(space) if leads_to(mount, &space) => return Ok(Some((index, space))),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(None), Err)
}

/// Whether that is the file system which the mount is of, rather than one that
/// hides it.
fn leads_to(mount: &Mount, space: &Space) -> bool {
    // The subvolumes of btrfs have device numbers of their own.
    let own_numbers = ["btrfs", "bcachefs", "overlay"].contains(&mount.fs_type.as_str());
    space.device.is_none_or(|(major, minor)| own_numbers || mount.device == format!("{major}:{minor}"))
}

fn judge(mount: &Mount, answer: Probed<io::Result<Option<(usize, Space)>>>, deadline: Duration) -> Look {
    let point = &mount.point;
    let failed = |error| Look::Failed(Outcome::Failed { error });
    match answer {
        Probed::Done(Ok(Some((by, space)))) => Look::Seen(by, space),
        Probed::Done(Ok(None)) => Look::Gone,
        Probed::Done(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Look::Failed(Outcome::Denied {
            error: format!("{point} may not be looked at: {error}"),
            cure: format!(
                "Let the agent's user pass through the directories above {point}, or leave it out: [filesystem] mounts = {{ exclude = [{point:?}] }}."
            ),
        }),
        Probed::Done(Err(error)) => failed(format!("{point} cannot be looked at: {error}")),
        Probed::Hung => {
            failed(format!("{point} has not answered within {}", Unit::Seconds.format(deadline.as_secs_f64())))
        }
        Probed::NotTried => failed(format!("{point} was not asked, because too many others do not answer")),
        Probed::Broken => failed(format!("asking {point} broke off, which is a defect of the agent")),
    }
}

/// Ought to be judged and cannot be.
fn unknown(outcome: &Outcome, since: Timestamp) -> Assessment {
    let reason = outcome.error().unwrap_or_default().to_owned();
    Assessment::of(vec![Problem { field: "used_ratio".into(), status: Status::Unknown, reason, since }])
}

fn facet(mount: &Mount, class: Class, space: Option<Space>) -> Facet {
    let mut facet = Facet::owner("filesystem", mount.point.clone(), "main");
    facet.text("device", mount.source.clone());
    facet.text("type", mount.fs_type.clone());
    facet.flag("network", matches!(class, Class::Apart { network: true }));
    facet.flag("read_only", mount.read_only);
    let Some(space) = space else { return facet };
    // The arithmetic of df(1): what is kept for root is neither used nor free.
    let used = space.size.saturating_sub(space.free);
    // Some file systems claim more to be available than is free.
    let available = space.available.min(space.free);
    facet.read("size_bytes", space.size as f64);
    facet.read("used_bytes", used as f64);
    facet.read("available_bytes", available as f64);
    facet.read("used_ratio", ratio(used, used.saturating_add(available)));
    // Zero where inodes are made as needed; nonsense on some servers.
    if let Some(inodes_used) = space.inodes.checked_sub(space.inodes_free).filter(|_| space.inodes > 0) {
        facet.read("inodes", space.inodes as f64);
        facet.read("inodes_used", inodes_used as f64);
        facet.read("inodes_used_ratio", ratio(inodes_used, space.inodes));
    }
    if matches!(class, Class::Local) {
        facet.read("read_only_by_error", f64::from(u8::from(mount.frozen_by_error)));
    }
    facet
}

fn ratio(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

#[cfg(test)]
mod tests;
