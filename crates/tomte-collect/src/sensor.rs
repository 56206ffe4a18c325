//! Thermometers and fans, from /sys/class/hwmon, or from /sys/class/thermal
//! where no chip has a thermometer.
//!
//! Drives are left out (`drivetemp`, `nvme`): to ask them may wake them, and
//! that is for the collector that knows whether they sleep. So is what sleeps
//! itself, such as a graphics card that is switched off.
//!
//! Which sensors there are, and by which names, is told in `chip.rs`; that is
//! looked at when the set of chips changes, and every five minutes.

mod chip;

use std::time::Duration;

use tomte_model::{Facet, Moment, Outcome, Scope};

use self::chip::{Senses, Sensor};
use crate::Collector;
use crate::error::ReadError;
use crate::list;
use crate::pace::Pace;
use crate::reader::{read_number, read_trimmed};
use crate::root::Root;
use crate::settings::Settings;

/// How long the list of sensors is believed while the chips are the same.
const BELIEVED: Duration = Duration::from_secs(300);

/// The collector `sensor`.
pub(crate) fn make(root: &Root, _: &Settings) -> Box<dyn Collector> {
    Box::new(Sensors { root: root.clone(), chips: Vec::new(), sensors: Vec::new(), pace: Pace::every(BELIEVED) })
}

struct Sensors {
    root: Root,
    /// The kernel's names of the chips that the sensors belong to.
    chips: Vec<String>,
    sensors: Vec<Sensor>,
    /// Of the looks at the list of sensors.
    pace: Pace,
}

impl Collector for Sensors {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        vec![match self.read(now) {
            Ok(facets) if facets.is_empty() => {
                let error = "the kernel shows no thermometer and no fan of this host".to_owned();
                Scope::failed("sensor", Outcome::Unavailable { error })
            }
            Ok(facets) => Scope::complete("sensor", facets),
            Err(error) => error.scope("sensor"),
        }]
    }
}

impl Sensors {
    fn read(&mut self, now: Moment) -> Result<Vec<Facet>, ReadError> {
        let chips = list::names(&self.root.sys("class/hwmon"))?;
        if self.pace.is_due(now) || chips != self.chips {
            self.sensors = chip::sensors(&self.root, &chips)?;
            self.chips = chips;
            self.pace.looked(now);
        }
        Ok(self.sensors.iter().map(facet).collect())
    }
}

/// A sensor that gives nothing at the moment is there all the same.
fn facet(sensor: &Sensor) -> Facet {
    let mut facet = Facet::owner("sensor", sensor.name.clone(), "main");
    facet.text("chip", sensor.chip.clone());
    facet.text("device", sensor.device.clone());
    match sensor.senses {
        Senses::Fan => {
            facet.read("fan_rpm", value(sensor).filter(|rpm| (0..1_000_000).contains(rpm)).map(|rpm| rpm as f64))
        }
        Senses::Temperature { maximum, critical, limit } => {
            let temperature = value(sensor).and_then(degrees);
            facet.read("temperature_celsius", temperature);
            facet.read("maximum_celsius", maximum);
            facet.read("critical_celsius", critical);
            facet.read("headroom_celsius", limit.zip(temperature).map(|(limit, temperature)| limit - temperature));
        }
    }
    facet
}

fn value(sensor: &Sensor) -> Option<i64> {
    let says = |file: &Option<std::path::PathBuf>, wanted: &str| {
        file.as_ref().and_then(|file| read_trimmed(file).ok()).is_some_and(|text| text == wanted)
    };
    if says(&sensor.sleep, "suspended") || says(&sensor.fault, "1") {
        return None;
    }
    read_number(&sensor.input).ok()
}

/// Thousandths of degrees into degrees. What no machine of ours can be, and
/// exactly zero, is what chips say when they do not know.
fn degrees(thousandths: i64) -> Option<f64> {
    (thousandths != 0 && (-50_000..200_000).contains(&thousandths)).then(|| thousandths as f64 / 1000.0)
}

#[cfg(test)]
mod tests;
