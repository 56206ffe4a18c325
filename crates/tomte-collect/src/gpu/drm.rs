//! Cards whose drivers are the kernel's own: AMD's (amdgpu) and Intel's (i915, xe),
//! from /sys/class/drm. See the kernel's Documentation/gpu/amdgpu/thermal.rst and
//! Documentation/ABI/testing/sysfs-driver-intel-i915-hwmon.

use std::path::{Path, PathBuf};

use tomte_model::{Facet, Moment};

use super::MOST_GPUS;
use crate::counter::Counter;
use crate::list::names;
use crate::reader::{read_number, read_trimmed};
use crate::root::Root;

/// A card.
pub(super) struct Card {
    /// On the PCI bus.
    pub(super) place: String,
    vendor: &'static str,
    driver: String,
    /// Where its own files are: `card0`.
    card: PathBuf,
    device: PathBuf,
    asleep: bool,
}

/// The cards of AMD and Intel.
pub(super) fn cards(root: &Root) -> Vec<Card> {
    let class = root.sys("class/drm");
    let card = |name: String| {
        // Not the outputs of a card: card0-HDMI-A-1.
        let number = name.strip_prefix("card")?;
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let card = class.join(name);
        let device = card.join("device");
        let vendor = match read_trimmed(&device.join("vendor")).ok()?.as_str() {
            "0x1002" => "amd",
            "0x8086" => "intel",
            _ => return None,
        };
        let uevent = read_trimmed(&device.join("uevent")).ok()?;
        let told =
            |key: &str| uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned);
        let asleep = read_trimmed(&device.join("power/runtime_status")).is_ok_and(|status| status == "suspended");
        Some(Card {
            place: told("PCI_SLOT_NAME")?,
            vendor,
            driver: told("DRIVER").unwrap_or_default(),
            card,
            device,
            asleep,
        })
    };
    names(&class).unwrap_or_default().into_iter().filter_map(card).take(MOST_GPUS).collect()
}

impl Card {
    /// What the agent reports of it.
    pub(super) fn facet(&self, now: Moment, energy: &mut Vec<(String, Counter)>) -> Facet {
        let mut facet = Facet::owner("gpu", self.place.clone(), "main");
        facet.text("vendor", self.vendor);
        facet.text("driver", self.driver.clone());
        if self.asleep {
            // To read of it would wake it.
            return facet;
        }
        facet.text("model", read_trimmed(&self.device.join("product_name")).unwrap_or_default());
        let of_device = |file: &str| number(&self.device.join(file));
        facet.read("utilisation_ratio", of_device("gpu_busy_percent").map(|percent| percent / 100.0));
        facet.read("memory_busy_ratio", of_device("mem_busy_percent").map(|percent| percent / 100.0));
        let (size, used) = (of_device("mem_info_vram_total"), of_device("mem_info_vram_used"));
        facet.read("memory_size_bytes", size);
        facet.read("memory_used_bytes", used);
        facet.read("memory_used_ratio", used.zip(size.filter(|size| *size > 0.0)).map(|(used, size)| used / size));
        let chip = self.chip();
        let of_chip = |file: &str| chip.as_ref().and_then(|chip| number(&chip.join(file)));
        self.temperatures(chip.as_deref(), &mut facet);
        let watts = of_chip("power1_average").or_else(|| of_chip("power1_input")).map(|microwatts| microwatts / 1e6);
        facet.read("power_watts", watts.or_else(|| self.watts_by_energy(of_chip("energy1_input"), now, energy)));
        let limit = of_chip("power1_cap").or_else(|| of_chip("power1_max")).filter(|limit| *limit > 0.0);
        facet.read("power_limit_watts", limit.map(|microwatts| microwatts / 1e6));
        facet.read("clock_hertz", of_chip("freq1_input").or_else(|| self.intel_clock()));
        facet.read("memory_clock_hertz", of_chip("freq2_input"));
        let fan = of_chip("fan1_input");
        facet.read("fan_rpm", fan);
        let duty = of_chip("pwm1").zip(of_chip("pwm1_max").or(Some(255.0)).filter(|most| *most > 0.0));
        facet.read("fan_ratio", duty.map(|(now, most)| (now / most).min(1.0)));
        facet
    }

    /// The directory of its sensors.
    fn chip(&self) -> Option<PathBuf> {
        let hwmon = self.device.join("hwmon");
        names(&hwmon).ok()?.into_iter().next().map(|name| hwmon.join(name))
    }

    fn temperatures(&self, chip: Option<&Path>, facet: &mut Facet) {
        let Some(chip) = chip else { return };
        for number in 1..=4 {
            let celsius =
                |what: &str| self::number(&chip.join(format!("temp{number}_{what}"))).map(|milli| milli / 1000.0);
            let label = read_trimmed(&chip.join(format!("temp{number}_label"))).unwrap_or_default();
            let Some(temperature) = celsius("input") else { continue };
            match label.as_str() {
                "junction" => facet.read("hotspot_celsius", temperature),
                "mem" | "vram" => facet.read("memory_celsius", temperature),
                // The first that is left: the edge of AMD's, the package of Intel's.
                _ if facet.reading("temperature_celsius").is_none() => {
                    facet.read("temperature_celsius", temperature);
                    let limit = celsius("crit").filter(|limit| (1.0..=150.0).contains(limit));
                    facet.read("limit_celsius", limit);
                    facet.read("headroom_celsius", limit.map(|limit| limit - temperature));
                }
                _ => {}
            }
        }
    }

    fn watts_by_energy(
        &self,
        microjoules: Option<f64>,
        now: Moment,
        energy: &mut Vec<(String, Counter)>,
    ) -> Option<f64> {
        let microjoules = microjoules?;
        let at = energy.iter().position(|(place, _)| *place == self.place).unwrap_or_else(|| {
            energy.push((self.place.clone(), Counter::default()));
            energy.len() - 1
        });
        energy[at].1.rate(now, microjoules as u64).map(|microwatts| microwatts / 1e6)
    }

    /// Intel's frequency is with the card (i915) or with its first tile (xe).
    fn intel_clock(&self) -> Option<f64> {
        ["gt_act_freq_mhz", "device/tile0/gt0/freq0/act_freq", "gt_cur_freq_mhz"]
            .iter()
            .find_map(|file| number(&self.card.join(file)))
            .map(|mega| mega * 1e6)
    }
}

fn number(path: &Path) -> Option<f64> {
    read_number(path).ok().filter(|number| *number >= 0).map(|number| number as f64)
}
