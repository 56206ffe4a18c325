//! Graphics processors: NVIDIA's by nvidia-smi(1), AMD's and Intel's from /sys.
//!
//! One that the kernel has put to sleep is not woken: then only what it is is told,
//! not how it does.

mod drm;
mod nvidia;

use tomte_model::{Facet, Moment, Outcome, Scope};

use crate::Collector;
use crate::counter::Counter;
use crate::list::names;
use crate::reader::read_trimmed;
use crate::root::Root;
use crate::settings::Settings;
use crate::tool::ToolCall;

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
    Box::new(Gpus { root: root.clone(), nvidia: Vec::new(), energy: Vec::new() })
}

struct Gpus {
    root: Root,
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
        let awake: Vec<bool> = nvidia_devices(&self.root);
        let absent = |error: &str| Outcome::Unavailable { error: error.to_owned() };
        if awake.is_empty() {
            return Err(absent("this host has no GPU of NVIDIA"));
        }
        if !self.root.tools().has("nvidia-smi") {
            return Err(absent("nvidia-smi is not installed (it comes with NVIDIA's driver)"));
        }
        if !awake.contains(&true) {
            for facet in &mut self.nvidia {
                facet.readings.clear();
                facet.tables.clear();
            }
            return Ok(self.nvidia.clone());
        }
        let call = ToolCall::new("nvidia-smi").args(["-q", "-x"]).most(MOST);
        let ran = self.root.tools().run(&call).map_err(|error| error.outcome())?;
        if !ran.success() {
            let said = ran.text().lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
            return Err(Outcome::Failed {
                error: said.filter(|_| ran.stderr.is_empty()).unwrap_or_else(|| ran.complaint()),
            });
        }
        let gpus = nvidia::parse(&ran.text()).map_err(|error| Outcome::Failed { error })?;
        self.nvidia = gpus.iter().map(nvidia::Gpu::facet).collect();
        Ok(self.nvidia.clone())
    }
}

/// Of each of NVIDIA's display controllers on the PCI bus, whether it is awake.
fn nvidia_devices(root: &Root) -> Vec<bool> {
    let bus = root.sys("bus/pci/devices");
    let read = |device: &str, file: &str| read_trimmed(&bus.join(device).join(file)).unwrap_or_default();
    names(&bus)
        .unwrap_or_default()
        .into_iter()
        .filter(|device| read(device, "class").starts_with("0x03") && read(device, "vendor") == NVIDIA)
        .map(|device| read(&device, "power/runtime_status") != "suspended")
        .collect()
}

#[cfg(test)]
mod tests;
