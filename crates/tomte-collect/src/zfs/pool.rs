//! A pool as it was told of, whichever way: its numbers, its tree of devices, its
//! scrub; and the facet that is made of it.

use tomte_model::report::Table;
use tomte_model::{Facet, Moment, Timestamp, Value};

/// A pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pool {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) message: String,
    pub(super) advice: String,
    pub(super) size: Option<f64>,
    pub(super) allocated: Option<f64>,
    pub(super) free: Option<f64>,
    /// In per cent.
    pub(super) fragmentation: Option<f64>,
    pub(super) deduplication: Option<f64>,
    /// Places where data is lost.
    pub(super) data_errors: Option<f64>,
    pub(super) scan: Option<Scan>,
    /// The tree, each after what it is part of; the pool itself left out.
    pub(super) vdevs: Vec<Vdev>,
}

/// Something that a pool is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Vdev {
    /// 0 for what stands directly below the pool.
    pub(super) depth: usize,
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) state: String,
    pub(super) read_errors: f64,
    pub(super) write_errors: f64,
    pub(super) checksum_errors: f64,
    pub(super) note: String,
}

/// What a device does in its pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Role {
    #[default]
    Data,
    Log,
    Cache,
    Spare,
    Special,
    Dedup,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Log => "log",
            Self::Cache => "cache",
            Self::Spare => "spare",
            Self::Special => "special",
            Self::Dedup => "dedup",
        }
    }
}

/// A scrub or a resilver: the present one, or the last.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scan {
    /// `scrub` or `resilver`.
    pub(super) function: String,
    pub(super) state: ScanState,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
    /// 0 to 1, while it is under way.
    pub(super) progress: Option<f64>,
    /// In seconds, as ZFS itself tells.
    pub(super) remaining: Option<f64>,
    pub(super) errors: Option<f64>,
}

/// How far a scan has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ScanState {
    Running,
    Paused,
    #[default]
    Finished,
    Cancelled,
}

/// More devices of one pool than this are not told of.
pub(super) const MOST_VDEVS: usize = 1024;

impl Vdev {
    fn errors(&self) -> f64 {
        self.read_errors + self.write_errors + self.checksum_errors
    }
    fn works(&self) -> bool {
        ["ONLINE", "AVAIL", "INUSE"].contains(&self.state.as_str())
    }
    /// Whether it is a disk rather than a group of disks: nothing is below it.
    fn is_leaf(&self, next: Option<&Self>) -> bool {
        next.is_none_or(|next| next.depth <= self.depth)
    }
}

impl Pool {
    fn leaves(&self) -> impl Iterator<Item = (usize, &Vdev)> {
        let is_leaf = |at: usize| self.vdevs[at].is_leaf(self.vdevs.get(at + 1));
        self.vdevs.iter().enumerate().filter(move |(at, _)| is_leaf(*at))
    }

    /// How it is built, by the groups that hold its data.
    fn kind(&self) -> String {
        let mut kinds: Vec<String> = self
            .vdevs
            .iter()
            .enumerate()
            .filter(|(_, vdev)| vdev.depth == 0 && vdev.role == Role::Data)
            .map(|(at, vdev)| match vdev.name.split_once('-') {
                Some((group, _)) if !vdev.is_leaf(self.vdevs.get(at + 1)) => {
                    group.split(':').next().unwrap_or(group).to_owned()
                }
                _ => "stripe".to_owned(),
            })
            // A spare or a new disk stands in for a while; the group is as it was.
            .filter(|kind| !["spare", "replacing"].contains(&kind.as_str()))
            .collect();
        kinds.sort();
        kinds.dedup();
        match kinds.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            _ => "mixed".to_owned(),
        }
    }

    /// The device that is to blame: one that does not work, else one that counts
    /// errors.
    fn fault(&self) -> String {
        let group = |at: usize, leaf: &Vdev| {
            let above = self.vdevs[..at].iter().rev().find(|vdev| vdev.depth < leaf.depth);
            above.map_or_else(String::new, |above| format!(" of {}", above.name))
        };
        let mut faults: Vec<String> = self
            .leaves()
            .filter(|(_, leaf)| !leaf.works())
            .map(|(at, leaf)| format!("{}{} is {}", leaf.shown(), group(at, leaf), leaf.state))
            .collect();
        if faults.is_empty() {
            faults = self
                .leaves()
                .filter(|(_, leaf)| leaf.errors() > 0.0)
                .map(|(at, leaf)| {
                    let kinds =
                        [(leaf.read_errors, "read"), (leaf.write_errors, "write"), (leaf.checksum_errors, "checksum")];
                    let counted: Vec<String> = kinds
                        .iter()
                        .filter(|(count, _)| *count > 0.0)
                        .map(|(count, kind)| format!("{count} {kind} errors"))
                        .collect();
                    format!("{}{} has {}", leaf.shown(), group(at, leaf), counted.join(" and "))
                })
                .collect();
        }
        match faults.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} (+{} more)", rest.len()),
        }
    }

    /// 0 whole, 1 with less redundancy, 2 out of reach; `None` for a word that is
    /// not known.
    fn impairment(&self) -> Option<f64> {
        match self.state.as_str() {
            "ONLINE" => Some(0.0),
            "DEGRADED" => Some(1.0),
            "FAULTED" | "SUSPENDED" | "UNAVAIL" | "REMOVED" | "OFFLINE" => Some(2.0),
            _ => None,
        }
    }

    /// What the agent reports of it.
    pub(super) fn facet(&self, now: Moment) -> Facet {
        let mut facet = Facet::owner("pool", self.name.clone(), "main");
        facet.text("state", self.state.clone());
        facet.text("fault", self.fault());
        facet.text("type", self.kind());
        facet.text("message", self.message.clone());
        facet.text("advice", self.advice.clone());
        facet.read("impairment", self.impairment());
        facet.read("size_bytes", self.size);
        facet.read("allocated_bytes", self.allocated);
        facet.read("free_bytes", self.free);
        let used = self.allocated.zip(self.size.filter(|size| *size > 0.0)).map(|(allocated, size)| allocated / size);
        facet.read("used_ratio", used);
        facet.read("fragmentation_ratio", self.fragmentation.map(|percent| percent / 100.0));
        facet.read("deduplication_factor", self.deduplication);
        facet.read("data_errors", self.data_errors);
        if !self.vdevs.is_empty() {
            let sum = |of: fn(&Vdev) -> f64| self.leaves().map(|(_, leaf)| of(leaf)).sum::<f64>();
            facet.read("read_errors", sum(|leaf| leaf.read_errors));
            facet.read("write_errors", sum(|leaf| leaf.write_errors));
            facet.read("checksum_errors", sum(|leaf| leaf.checksum_errors));
            facet.read("device_errors", sum(Vdev::errors));
            facet.read("devices", self.leaves().count() as f64);
            facet.read("faulty_devices", self.leaves().filter(|(_, leaf)| !leaf.works()).count() as f64);
        }
        if let Some(scan) = &self.scan {
            scan.write(&mut facet, now);
        }
        facet.tables.push(self.table());
        facet
    }

    fn table(&self) -> Table {
        let text = |text: &str| (!text.is_empty()).then(|| Value::Text(text.to_owned()));
        let number = |number: f64| Some(Value::Number(number));
        let row = |vdev: &Vdev| {
            vec![
                number(vdev.depth as f64),
                text(&vdev.name),
                text(vdev.role.as_str()),
                text(&vdev.state),
                number(vdev.read_errors),
                number(vdev.write_errors),
                number(vdev.checksum_errors),
                text(&vdev.note),
            ]
        };
        let columns = ["depth", "name", "role", "state", "read_errors", "write_errors", "checksum_errors", "note"];
        Table {
            name: "vdevs".into(),
            columns: columns.map(Into::into).to_vec(),
            rows: self.vdevs.iter().map(row).collect(),
        }
    }
}

impl Vdev {
    /// Its name; of one that is missing, whose name is a mere number, where it was.
    fn shown(&self) -> &str {
        self.note.strip_prefix("was ").unwrap_or(&self.name)
    }
}

impl Scan {
    fn write(&self, facet: &mut Facet, now: Moment) {
        let state = match self.state {
            ScanState::Running => "running",
            ScanState::Paused => "paused",
            ScanState::Finished => "finished",
            ScanState::Cancelled => "cancelled",
        };
        let under_way = matches!(self.state, ScanState::Running | ScanState::Paused);
        let since = |then: Timestamp| (now.wall.millis() - then.millis()) as f64 / 1000.0;
        facet.text("scan", self.function.clone());
        facet.text("scan_state", state);
        facet.text("scan_started_at", self.started.map(|at| at.to_string()).unwrap_or_default());
        facet.text("scan_ended_at", self.ended.map(|at| at.to_string()).unwrap_or_default());
        facet.read("scan_errors", self.errors);
        if under_way {
            facet.read("scan_progress_ratio", self.progress);
        }
        if self.state == ScanState::Running {
            let pace = self
                .progress
                .filter(|done| *done > 0.001)
                .zip(self.started.map(since))
                .map(|(done, took)| took * (1.0 - done) / done);
            facet.read("scan_remaining_seconds", self.remaining.or(pace).filter(|seconds| *seconds >= 0.0));
        }
        if self.function == "scrub" && self.state == ScanState::Finished {
            facet.read("scrub_age_seconds", self.ended.map(since).filter(|age| *age >= 0.0));
        }
    }
}
