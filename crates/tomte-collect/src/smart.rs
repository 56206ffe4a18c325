//! What disks say of themselves: SMART of ATA and SCSI disks, the health log of
//! NVMe, by smartctl(8), which root has to run: see [`crate::privileged`].
//!
//! One disk is asked after the other. A sleeping one is not woken: smartctl looks
//! first (`-n standby`), and then what was known before is told without the
//! temperature. A disk that turns and had nothing to do since the last look may be
//! about to fall asleep, and being asked can keep it awake; so it is left alone
//! for an hour. Disks behind a RAID controller are found by `smartctl --scan`,
//! which is run only where there is such a controller.

mod report;

use std::collections::HashMap;
use std::time::Duration;

use tomte_model::{Facet, Moment, Outcome, Scope};

use self::report::{Report, Told};
use crate::Collector;
use crate::disk::{self, Disk};
use crate::list::names;
use crate::pace::Pace;
use crate::privileged::{Refusal, Request};
use crate::reader::read_trimmed;
use crate::root::Root;
use crate::settings::Settings;

/// More disks than this are not asked.
const MOST_DISKS: usize = 256;
/// How long an idle disk is left alone.
const ALONE_MILLIS: u64 = 3_600_000;
/// How often disks behind controllers are looked for.
const SCAN: Duration = Duration::from_secs(3600);
/// How often a disk that has gone is said to have gone.
const FAREWELLS: u8 = 3;
/// Drivers of controllers that hide the disks behind them, as the kernel calls
/// them in /sys/class/scsi_host.
const CONTROLLERS: [&str; 8] = ["megaraid_sas", "megaraid", "hpsa", "cciss", "aacraid", "arcmsr", "3w-sas", "3w-9xxx"];

/// The collector `smart`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Smart {
        root: root.clone().with_helper(&settings.helper.socket),
        settings: settings.clone(),
        known: HashMap::new(),
        behind: Vec::new(),
        scan: Pace::every(SCAN),
        told: HashMap::new(),
    })
}

struct Smart {
    root: Root,
    settings: Settings,
    known: HashMap<String, Known>,
    /// Behind controllers: device and type.
    behind: Vec<(String, String)>,
    scan: Pace,
    /// The scopes of disks, and how often they will yet be said to have gone.
    told: HashMap<String, u8>,
}

/// What is remembered of a disk, by its device and type.
#[derive(Default)]
struct Known {
    /// What it said last.
    report: Option<Report>,
    /// When it was asked last, in milliseconds since boot.
    asked: Option<u64>,
    /// What it had moved by then.
    moved: Option<u64>,
    /// Whether its bridge needs to be told that there is a SATA disk behind it.
    as_sat: bool,
}

/// A disk that is to be asked.
struct Target {
    /// Its name; `None` where only itself can tell.
    name: Option<String>,
    device: String,
    kind: Option<String>,
    rotational: bool,
    /// Sectors that it has moved, where the kernel counts them.
    moved: Option<u64>,
}

impl Collector for Smart {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        if !self.root.tools().has("smartctl") {
            let error = "smartctl is not installed (mostly in the package smartmontools)".to_owned();
            return vec![Scope::failed("smart", Outcome::Unavailable { error })];
        }
        let mut targets = self.targets();
        if self.has_controller() {
            match self.look_behind(now) {
                Ok(()) => targets.extend(self.behind.iter().map(|(device, kind)| Target {
                    name: None,
                    device: device.clone(),
                    kind: Some(kind.clone()),
                    rotational: false,
                    moved: None,
                })),
                Err(refusal) => return vec![refusal.scope("smart")],
            }
        }
        if targets.is_empty() {
            let error = "this host has no disk that could say how it is".to_owned();
            return vec![Scope::failed("smart", Outcome::Unavailable { error })];
        }
        let mut scopes = vec![Scope::complete("smart", Vec::new())];
        let mut named: Vec<String> = Vec::new();
        for target in &targets {
            match self.ask(target, now) {
                // Nobody may ask; the next disk would not be another matter.
                Err(refusal @ (Refusal::Denied { .. } | Refusal::Unavailable(_))) => {
                    return vec![refusal.scope("smart")];
                }
                Err(refusal) => {
                    let name = target.name.clone().unwrap_or_else(|| target.label());
                    scopes.push(refusal.scope(scope_name(&name)));
                    named.push(name);
                }
                Ok(None) => {}
                // A disk that is also seen directly is told of once.
                Ok(Some(facet)) if named.contains(&facet.resource.name) => {}
                Ok(Some(facet)) => {
                    named.push(facet.resource.name.clone());
                    scopes.push(Scope::complete(scope_name(&facet.resource.name), vec![facet]));
                }
            }
        }
        let labels: Vec<String> = targets.iter().map(Target::label).collect();
        self.known.retain(|label, _| labels.contains(label));
        self.say_farewell(&mut scopes);
        scopes
    }
}

impl Smart {
    /// The disks of the kernel that can be asked.
    fn targets(&self) -> Vec<Target> {
        let target = |disk: Disk| {
            let device = disk.paths.first()?;
            // Virtual disks and memory cards have nothing to ask; nor has one
            // whose device is not there, as in a container.
            let mute = ["vd", "xvd", "mmcblk", "nbd", "dm-", "md", "loop", "zram", "ram"]
                .iter()
                .any(|prefix| device.starts_with(prefix));
            let path = format!("/dev/{device}");
            let there = !self.root.is_system() || std::path::Path::new(&path).exists();
            if mute || !there || !self.settings.smart.devices.matches(device) {
                return None;
            }
            let moved =
                read_trimmed(&self.root.sys(&format!("block/{device}/stat"))).ok().and_then(|text| moved(&text));
            Some(Target { name: Some(disk.name), device: path, kind: None, rotational: disk.rotational, moved })
        };
        disk::all(&self.root, &self.settings.disk.devices).into_iter().take(MOST_DISKS).filter_map(target).collect()
    }

    fn has_controller(&self) -> bool {
        let hosts = self.root.sys("class/scsi_host");
        let driver = |host: String| read_trimmed(&hosts.join(host).join("proc_name")).unwrap_or_default();
        names(&hosts).unwrap_or_default().into_iter().map(driver).any(|name| CONTROLLERS.contains(&name.as_str()))
    }

    fn look_behind(&mut self, now: Moment) -> Result<(), Refusal> {
        if !self.scan.is_due(now) {
            return Ok(());
        }
        let answer = self.root.ask(&Request::SmartScan)?;
        self.behind = report::parse_scan(&answer.body).map_err(Refusal::Failed)?;
        self.scan.looked(now);
        Ok(())
    }

    /// Asks one disk; `None` where it has nothing to say.
    fn ask(&mut self, target: &Target, now: Moment) -> Result<Option<Facet>, Refusal> {
        let known = self.known.entry(target.label()).or_default();
        if target.is_left_alone(known, now) {
            return Ok(known.report.as_ref().map(|report| facet(target, report, "idle")));
        }
        let mut told = told(&self.root, target, known.as_sat)?;
        if matches!(told, Told::UnknownBridge(_)) && target.kind.is_none() && !known.as_sat {
            // Nearly all bridges speak so.
            let again = self::told(&self.root, target, true)?;
            if matches!(again, Told::Report(_) | Told::Asleep) {
                known.as_sat = true;
                told = again;
            }
        }
        match told {
            Told::Report(report) => {
                known.asked = Some(now.boot_millis);
                known.moved = target.moved;
                let facet = facet(target, &report, "active");
                known.report = Some(*report);
                Ok(Some(facet))
            }
            // What it was before it fell asleep, it still is.
            Told::Asleep => {
                known.asked = None;
                let report = known.report.clone().unwrap_or_default();
                Ok((target.name.is_some() || known.report.is_some()).then(|| facet(target, &report, "asleep")))
            }
            Told::Silent(_) | Told::UnknownBridge(_) => Ok(None),
            Told::Failed(error) => Err(Refusal::Failed(format!("{}: {error}", target.label()))),
        }
    }

    /// Tells of the disks that were there before and are no more.
    fn say_farewell(&mut self, scopes: &mut Vec<Scope>) {
        self.told.retain(|_, left| {
            *left -= 1;
            *left > 0
        });
        for scope in scopes.iter().skip(1) {
            self.told.insert(scope.name.clone().into_owned(), FAREWELLS);
        }
        let gone = self.told.iter().filter(|(_, left)| **left < FAREWELLS);
        scopes.extend(gone.map(|(name, _)| Scope::complete(name.clone(), Vec::new())));
    }
}

fn told(root: &Root, target: &Target, as_sat: bool) -> Result<Told, Refusal> {
    let kind = target.kind.clone().or_else(|| as_sat.then(|| "sat".to_owned()));
    let answer = root.ask(&Request::Smart { device: target.device.clone(), kind })?;
    report::parse(&answer.body).map_err(Refusal::Failed)
}

fn scope_name(disk: &str) -> String {
    format!("smart:{disk}")
}

fn facet(target: &Target, report: &Report, power: &str) -> Facet {
    let own = || {
        let serial = Some(report.serial.clone()).filter(|serial| !serial.is_empty());
        report.wwn.clone().or(serial).unwrap_or_else(|| target.label())
    };
    let mut facet = Facet::extra("disk", target.name.clone().unwrap_or_else(own), "smart");
    facet.text("power", power);
    facet.text("smart_device", target.called());
    facet.text("controller", target.kind.clone().unwrap_or_default());
    report.write(&mut facet, power != "active");
    facet
}

impl Target {
    /// What it is remembered by.
    fn label(&self) -> String {
        match &self.kind {
            Some(kind) => format!("{} {kind}", self.device),
            None => self.device.clone(),
        }
    }

    /// What people call it. Behind a controller several disks share a device.
    fn called(&self) -> &str {
        match &self.kind {
            Some(kind) if kind.contains(',') => kind,
            _ => self.device.strip_prefix("/dev/").unwrap_or(&self.device),
        }
    }

    /// Whether asking it now could keep it from falling asleep.
    fn is_left_alone(&self, known: &Known, now: Moment) -> bool {
        let idle = self.moved.is_some() && self.moved == known.moved;
        let lately =
            known.asked.and_then(|asked| now.boot_millis.checked_sub(asked)).is_some_and(|age| age < ALONE_MILLIS);
        self.rotational && idle && lately && known.report.is_some()
    }
}

/// The sectors read and written, of /sys/block/NAME/stat: its third and seventh
/// number, see the kernel's Documentation/block/stat.rst.
fn moved(stat: &str) -> Option<u64> {
    let mut numbers = stat.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    let read = numbers.nth(2)??;
    Some(read.wrapping_add(numbers.nth(3)??))
}

/// Reads what smartctl prints: what a fuzzer is let loose on.
pub fn fuzz_smart(bytes: &[u8]) {
    if let Ok(Told::Report(report)) = report::parse(bytes) {
        let mut facet = Facet::extra("disk", "x", "smart");
        report.write(&mut facet, false);
        report.write(&mut facet, true);
    }
    let _ = report::parse_scan(bytes);
}

#[cfg(test)]
mod tests;
