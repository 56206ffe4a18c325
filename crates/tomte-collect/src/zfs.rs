//! ZFS: pools, their devices and scrubs, by zpool(8); datasets and snapshots, by
//! zfs(8). Both answer any user.
//!
//! Pools are told as JSON since OpenZFS 2.3, and as text before. Datasets and
//! snapshots are always asked for as text for programs (`-H -p`): it is the same in
//! all versions, and of 5,000 snapshots a tenth of what the JSON is. A pool that has
//! hung makes the tools hang; they are run with a time limit, see [`crate::Tools`].

mod json;
mod pool;
mod text;

use std::time::Duration;

use tomte_model::{Facet, Moment, Outcome, Scope};

use self::pool::Pool;
use self::text::{Dataset, Snapshots};
use crate::Collector;
use crate::root::Root;
use crate::settings::{Settings, ZfsSettings};
use crate::tool::{Ran, ToolCall, ToolError};

/// What can fail by itself.
pub(crate) const SCOPES: &[&str] = &["pool", "dataset", "snapshot"];
/// More pools than this cannot be meant.
const MOST_POOLS: usize = 256;
/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Of 100,000 snapshots with long names.
const SNAPSHOTS_MOST: usize = 8 << 20;
/// What the JSON of a pool with hundreds of disks takes, and more.
const JSON_MOST: usize = 2 << 20;

/// The collector `zfs`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Zfs { root: root.clone(), settings: settings.zfs.clone(), as_text: false })
}

struct Zfs {
    root: Root,
    settings: ZfsSettings,
    /// Whether this OpenZFS has no JSON.
    as_text: bool,
}

impl Collector for Zfs {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        // Without the module, the tools would have it loaded, or wait for it.
        let absent = if !self.root.tools().has("zpool") {
            Some("zpool is not installed")
        } else if !self.root.sys("module/zfs").exists() {
            Some("the kernel's module zfs is not loaded")
        } else if self.root.is_system() && !self.root.path("dev/zfs").exists() {
            // In a container that was not given it.
            Some("/dev/zfs is not there")
        } else {
            None
        };
        if let Some(error) = absent {
            let absent = |scope: &&'static str| Scope::failed(*scope, Outcome::Unavailable { error: error.to_owned() });
            return SCOPES.iter().map(absent).collect();
        }
        let pools = match self.pools() {
            Ok(mut pools) => {
                pools.retain(|pool| self.settings.pools.matches(&pool.name));
                Scope::complete("pool", pools.iter().map(|pool| pool.facet(now)).collect())
            }
            Err(outcome) => Scope::failed("pool", outcome),
        };
        let (datasets, names) = match self.datasets() {
            Ok(datasets) => {
                let facets = datasets.iter().map(dataset_facet).collect();
                (Scope::complete("dataset", facets), datasets.into_iter().map(|dataset| dataset.name).collect())
            }
            Err(outcome) => (Scope::failed("dataset", outcome), Vec::new()),
        };
        let mut scopes = vec![pools, datasets];
        if self.settings.snapshots {
            scopes.push(self.snapshots(names, now));
        }
        scopes
    }
}

impl Zfs {
    /// The pools: their numbers by `zpool list`, the rest by `zpool status`. One of
    /// the two is enough to know which pools there are.
    fn pools(&mut self) -> Result<Vec<Pool>, Outcome> {
        let listed = self.listed();
        let status = self.status();
        match (listed, status) {
            (Ok(listed), Ok(status)) => Ok(merge(listed, status)),
            (Ok(pools), Err(_)) | (Err(_), Ok(pools)) if !pools.is_empty() => Ok(pools),
            (Err(outcome), _) | (_, Err(outcome)) => Err(outcome),
        }
    }

    fn listed(&mut self) -> Result<Vec<Pool>, Outcome> {
        if !self.as_text {
            let ran = self.run(ToolCall::new("zpool").args(["list", "-j", "--json-int"]).most(JSON_MOST))?;
            if !is_unknown_option(&ran) {
                return understood(&ran, json::list(&ran.stdout));
            }
            self.as_text = true;
        }
        let ran = self.run(ToolCall::new("zpool").args(["list", "-H", "-p", "-o", text::LIST]))?;
        understood(&ran, text::list(&ran.text()))
    }

    fn status(&self) -> Result<Vec<Pool>, Outcome> {
        if self.as_text {
            let ran = self.run(ToolCall::new("zpool").args(["status", "-p"]))?;
            understood(&ran, Ok(text::status(&ran.text())))
        } else {
            let ran = self.run(ToolCall::new("zpool").args(["status", "-j", "--json-int"]).most(JSON_MOST))?;
            understood(&ran, json::status(&ran.stdout))
        }
    }

    fn datasets(&self) -> Result<Vec<Dataset>, Outcome> {
        let call = ToolCall::new("zfs").args(["list", "-H", "-p", "-t", "filesystem,volume", "-o", text::DATASETS]);
        let ran = self.run(call)?;
        let mut datasets = understood(&ran, text::datasets(&ran.text()))?;
        datasets.retain(|dataset| self.is_wanted(&dataset.name));
        Ok(datasets)
    }

    fn is_wanted(&self, dataset: &str) -> bool {
        let pool = dataset.split('/').next().unwrap_or(dataset);
        self.settings.pools.matches(pool) && self.settings.datasets.matches(dataset)
    }

    /// The snapshots of these datasets and of what else has some.
    fn snapshots(&self, datasets: Vec<String>, now: Moment) -> Scope {
        let call = ToolCall::new("zfs").args(["list", "-H", "-p", "-t", "snapshot", "-o", text::SNAPSHOTS]);
        let ran = match self.run(call.most(SNAPSHOTS_MOST)) {
            Ok(ran) => ran,
            Err(outcome) => return Scope::failed("snapshot", outcome),
        };
        let printed = ran.text();
        match understood(&ran, text::snapshots(&printed)) {
            Ok(mut all) => {
                for dataset in &datasets {
                    all.entry(dataset).or_default();
                }
                let wanted = all.into_iter().filter(|(dataset, _)| self.is_wanted(dataset));
                Scope::complete("snapshot", wanted.map(|(dataset, told)| snapshot_facet(dataset, told, now)).collect())
            }
            Err(outcome) => Scope::failed("snapshot", outcome),
        }
    }

    fn run(&self, call: ToolCall) -> Result<Ran, Outcome> {
        let ran = self.root.tools().run(&call.limit(LIMIT)).map_err(|error: ToolError| error.outcome())?;
        if ran.stderr.contains("Permission denied") {
            let cure = "Let the agent's user read and write /dev/zfs; the udev rules of OpenZFS do (mode 0666).";
            return Err(Outcome::Denied { error: ran.complaint(), cure: cure.to_owned() });
        }
        Ok(ran)
    }
}

/// What an older zpool says of `-j`.
fn is_unknown_option(ran: &Ran) -> bool {
    !ran.success() && (ran.stderr.contains("invalid option") || ran.stderr.contains("unrecognized option"))
}

/// What was read, where the tool itself did not fail.
fn understood<T>(ran: &Ran, read: Result<T, String>) -> Result<T, Outcome> {
    if !ran.success() {
        return Err(Outcome::Failed { error: ran.complaint() });
    }
    read.map_err(|error| Outcome::Failed { error })
}

/// The numbers of the one with all that the other says.
fn merge(listed: Vec<Pool>, mut status: Vec<Pool>) -> Vec<Pool> {
    let merged = listed.into_iter().map(|listed| {
        let Some(at) = status.iter().position(|status| status.name == listed.name) else { return listed };
        let status = status.swap_remove(at);
        Pool {
            size: listed.size,
            allocated: listed.allocated,
            free: listed.free,
            fragmentation: listed.fragmentation,
            deduplication: listed.deduplication,
            // `zpool status` is the later look, and knows of SUSPENDED.
            state: if status.state.is_empty() { listed.state } else { status.state.clone() },
            ..status
        }
    });
    merged.collect()
}

fn dataset_facet(dataset: &Dataset) -> Facet {
    let mut facet = Facet::owner("dataset", dataset.name.clone(), "main");
    facet.text("type", dataset.kind.clone());
    facet.text("mountpoint", dataset.mountpoint.clone());
    facet.read("used_bytes", dataset.used);
    facet.read("available_bytes", dataset.available);
    facet.read("referenced_bytes", dataset.referenced);
    facet.read("snapshot_bytes", dataset.by_snapshots);
    facet.read("volume_size_bytes", dataset.volume_size);
    facet.read("quota_bytes", dataset.quota);
    facet.read("quota_used_ratio", dataset.against_quota.zip(dataset.quota).map(|(used, quota)| used / quota));
    facet.read("compression_factor", dataset.compression);
    facet
}

fn snapshot_facet(dataset: &str, told: Snapshots, now: Moment) -> Facet {
    let age = |then: Option<i64>| {
        then.map(|then| now.wall.millis() as f64 / 1000.0 - then as f64).filter(|age| *age >= 0.0).map(f64::floor)
    };
    let mut facet = Facet::extra("dataset", dataset, "snapshots");
    facet.read("snapshots", told.count as f64);
    facet.read("newest_snapshot_age_seconds", age(told.newest));
    facet.read("oldest_snapshot_age_seconds", age(told.oldest));
    facet
}

/// Reads what zpool and zfs print: what a fuzzer is let loose on.
pub fn fuzz_zfs(bytes: &[u8]) {
    let printed = String::from_utf8_lossy(bytes);
    let now = Moment::default();
    let told = |pools: Result<Vec<Pool>, String>| {
        for pool in pools.unwrap_or_default() {
            let _ = pool.facet(now);
        }
    };
    told(json::list(bytes));
    told(json::status(bytes));
    told(text::list(&printed));
    told(Ok(text::status(&printed)));
    for dataset in text::datasets(&printed).unwrap_or_default() {
        let _ = dataset_facet(&dataset);
    }
    for (dataset, told) in text::snapshots(&printed).unwrap_or_default() {
        let _ = snapshot_facet(dataset, told, now);
    }
}

#[cfg(test)]
mod tests;
