//! Graphics processors: NVIDIA's by the library of their driver, or by nvidia-smi(1)
//! where that cannot be loaded; AMD's and Intel's from /sys.
//!
//! One that the kernel has put to sleep is not woken: then only what it is is told,
//! not how it does.

mod drm;
mod nvidia;
#[cfg_attr(not(target_env = "gnu"), path = "gpu/no_nvml.rs")]
mod nvml;

use std::ffi::OsString;

use tomte_model::{Facet, Moment, Outcome, Scope};

use crate::Collector;
use crate::counter::Counter;
use crate::list::names;
use crate::reader::read_trimmed;
use crate::root::Root;
use crate::settings::Settings;
use crate::tool::ToolCall;
use nvml::NotTold;

/// What can fail by itself.
pub(crate) const SCOPES: &[&str] = &["gpu:nvidia", "gpu:sysfs"];
/// What NVIDIA calls itself on the PCI bus.
const NVIDIA: &str = "0x10de";
/// Sixteen cards with all their clocks, and more.
const MOST: usize = 2 << 20;
/// More cards than this are not told of.
const MOST_GPUS: usize = 64;

/// The collector `gpu`.
pub(crate) fn make(root: &Root, _: &Settings) -> Box<dyn Collector> {
    // A copied tree has no driver to ask.
    let libraries = if root.is_system() { nvml::places() } else { Vec::new() };
    Box::new(Gpus { root: root.clone(), libraries, nvidia: Vec::new(), energy: Vec::new() })
}

struct Gpus {
    root: Root,
    /// Where NVIDIA's library may be.
    libraries: Vec<OsString>,
    /// What was last told of NVIDIA's, to be told while they sleep.
    nvidia: Vec<Facet>,
    /// What cards without a power reading have used, by their place.
    energy: Vec<(String, Counter)>,
}

impl Collector for Gpus {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        let nvidia = match self.nvidia() {
            Ok(facets) => Scope::complete("gpu:nvidia", facets),
            Err(outcome) => Scope::failed("gpu:nvidia", outcome),
        };
        let cards = drm::cards(&self.root);
        self.energy.retain(|(place, _)| cards.iter().any(|card| card.place == *place));
        let others = cards.iter().map(|card| card.facet(now, &mut self.energy)).collect();
        vec![nvidia, Scope::complete("gpu:sysfs", others)]
    }
}

impl Gpus {
    fn nvidia(&mut self) -> Result<Vec<Facet>, Outcome> {
        let cards = nvidia_cards(&self.root);
        if cards.is_empty() {
            return Err(Outcome::Unavailable { error: "this host has no GPU of NVIDIA".to_owned() });
        }
        let awake: Vec<&str> = cards.iter().filter(|(_, awake)| *awake).map(|(place, _)| place.as_str()).collect();
        let asleep = |name: &str| cards.iter().any(|(place, awake)| place == name && !awake);
        let mut facets = Vec::new();
        if !awake.is_empty() {
            let told = self.by_library(&awake, awake.len() == cards.len())?;
            facets.extend(told.iter().filter(|gpu| !asleep(gpu.name())).map(nvidia::Gpu::facet));
        }
        for known in self.nvidia.iter().filter(|known| asleep(&known.resource.name)) {
            let mut known = known.clone();
            known.readings.clear();
            known.tables.clear();
            facets.push(known);
        }
        self.nvidia.clone_from(&facets);
        Ok(facets)
    }

    /// By the library; where that cannot be had or does not answer, by
    /// nvidia-smi, which may know another way to it.
    fn by_library(&self, awake: &[&str], all: bool) -> Result<Vec<nvidia::Gpu>, Outcome> {
        let not_told = match nvml::read(&self.libraries, awake) {
            Ok(gpus) => return Ok(gpus),
            Err(not_told) => not_told,
        };
        if self.root.tools().has("nvidia-smi") {
            return self.by_tool(awake, all);
        }
        Err(match not_told {
            NotTold::Absent(_) => Outcome::Unavailable {
                error: "neither NVIDIA's library nor nvidia-smi can be used (they come with NVIDIA's driver)"
                    .to_owned(),
            },
            NotTold::Denied(error) => Outcome::Denied {
                error,
                cure:
                    "Let the agent's user open /dev/nvidiactl and /dev/nvidia0 and so on: the driver's default, unless \
                       NVreg_DeviceFileMode says otherwise."
                        .to_owned(),
            },
            NotTold::Failed(error) => Outcome::Failed { error },
        })
    }

    fn by_tool(&self, awake: &[&str], all: bool) -> Result<Vec<nvidia::Gpu>, Outcome> {
        let mut call = ToolCall::new("nvidia-smi").args(["-q", "-x"]).most(MOST);
        if !all {
            // To ask one that sleeps would wake it.
            call = call.arg("-i").arg(awake.join(","));
        }
        let ran = self.root.tools().run(&call).map_err(|error| error.outcome())?;
        if !ran.success() {
            let said = ran.text().lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
            return Err(Outcome::Failed {
                error: said.filter(|_| ran.stderr.is_empty()).unwrap_or_else(|| ran.complaint()),
            });
        }
        nvidia::parse(&ran.text()).map_err(|error| Outcome::Failed { error })
    }
}

/// NVIDIA's display controllers on the PCI bus, and whether each is awake.
fn nvidia_cards(root: &Root) -> Vec<(String, bool)> {
    let bus = root.sys("bus/pci/devices");
    let read = |device: &str, file: &str| read_trimmed(&bus.join(device).join(file)).unwrap_or_default();
    names(&bus)
        .unwrap_or_default()
        .into_iter()
        .filter(|device| read(device, "class").starts_with("0x03") && read(device, "vendor") == NVIDIA)
        .map(|device| {
            let awake = read(&device, "power/runtime_status") != "suspended";
            (device, awake)
        })
        .take(MOST_GPUS)
        .collect()
}

/// For the fuzz target: what nvidia-smi prints.
pub fn fuzz_nvidia(bytes: &[u8]) {
    let _ = nvidia::parse(&String::from_utf8_lossy(bytes)).map(|gpus| gpus.iter().map(nvidia::Gpu::facet).count());
}

#[cfg(test)]
mod tests;
