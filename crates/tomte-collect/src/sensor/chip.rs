//! Which sensors there are, and names for them that outlive a restart: the
//! kernel numbers its chips anew each time, so a chip goes by its name, and
//! where several share one, by its place on the bus as well.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::degrees;
use crate::error::ReadError;
use crate::list;
use crate::reader::{read_number, read_trimmed};
use crate::root::Root;

/// One thermometer or fan.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sensor {
    /// `coretemp/Core 0`.
    pub(super) name: String,
    pub(super) chip: String,
    /// The chip's place on the bus, `0000:00:18.3`.
    pub(super) device: String,
    pub(super) input: PathBuf,
    /// Holds 1 while the sensor is broken or not connected.
    pub(super) fault: Option<PathBuf>,
    /// Holds `suspended` while the device sleeps.
    pub(super) sleep: Option<PathBuf>,
    pub(super) senses: Senses,
}

/// What a sensor senses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Senses {
    /// Revolutions per minute.
    Fan,
    /// Degrees.
    Temperature {
        /// What the chip calls too warm.
        maximum: Option<f64>,
        /// Where the chip protects itself.
        critical: Option<f64>,
        /// What it is judged by, if anything.
        limit: Option<f64>,
    },
}

/// Their temperatures belong to the drives.
const DRIVES: &[&str] = &["drivetemp", "nvme"];

/// Chips of mainboards, whose inputs may lead nowhere and then show anything,
/// and whose limits are often those of the factory.
const MAINBOARD: &[&str] = &["asus", "dme1737", "f71", "f81", "it8", "nct", "sch5", "smsc", "w83"];

/// Processors that name no limit. Those of AMD are made to work at up to 95 °C.
const NAMELESS_LIMITS: &[(&str, f64)] = &[("k10temp", 100.0), ("zenpower", 100.0)];

/// All sensors: of these chips of /sys/class/hwmon; and of the thermal zones,
/// where no chip has a thermometer.
pub(super) fn sensors(root: &Root, chips: &[String]) -> Result<Vec<Sensor>, ReadError> {
    let mut all = Vec::new();
    for number in chips {
        let directory = root.sys("class/hwmon").join(number);
        // Nameless ones are of drivers that are just being removed.
        let Ok(chip) = read_trimmed(&directory.join("name")) else { continue };
        if !DRIVES.contains(&chip.as_str()) {
            all.push(Chip::read(directory, chip)?);
        }
    }
    let any_temperature = all.iter().any(|chip| chip.inputs.iter().any(|input| input.kind == Kind::Temperature));
    let mut sensors: Vec<Sensor> = named(&all).into_iter().flat_map(|(prefix, chip)| chip.sensors(&prefix)).collect();
    if !any_temperature {
        sensors.extend(zones(root)?);
    }
    tell_apart(&mut sensors);
    Ok(sensors)
}

struct Chip {
    directory: PathBuf,
    name: String,
    device: String,
    inputs: Vec<Input>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Temperature,
    Fan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Input {
    kind: Kind,
    number: u32,
}

impl Chip {
    fn read(directory: PathBuf, name: String) -> Result<Self, ReadError> {
        let mut inputs: Vec<Input> = list::names(&directory)?.iter().filter_map(|file| Input::of(file)).collect();
        inputs.sort_unstable();
        let link = directory.join("device").read_link().ok();
        let device = link.and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned())).unwrap_or_default();
        Ok(Self { directory, name, device, inputs })
    }

    fn sensors(&self, prefix: &str) -> Vec<Sensor> {
        let sleep = Some(self.directory.join("device/power/runtime_status")).filter(|path| path.exists());
        let sensor = |input: &Input| {
            let file = |aspect: &str| self.directory.join(format!("{}_{aspect}", input.word()));
            let label = self.label(*input);
            Sensor {
                name: format!("{prefix}/{label}"),
                chip: self.name.clone(),
                device: self.device.clone(),
                input: file("input"),
                fault: Some(file("fault")).filter(|path| path.exists()),
                sleep: sleep.clone(),
                senses: match input.kind {
                    Kind::Fan => Senses::Fan,
                    Kind::Temperature => {
                        let maximum = limit(&file("max"));
                        let critical = limit(&file("crit")).or_else(|| critical_trip(&self.directory.join("device")));
                        Senses::Temperature { maximum, critical, limit: self.judged_by(&label, critical) }
                    }
                },
            }
        };
        self.inputs.iter().map(sensor).collect()
    }

    fn label(&self, input: Input) -> String {
        let label = read_trimmed(&self.directory.join(format!("{}_label", input.word()))).unwrap_or_default();
        if label.is_empty() { input.word() } else { label }
    }

    /// What a thermometer is judged by, if anything.
    fn judged_by(&self, label: &str, critical: Option<f64>) -> Option<f64> {
        if MAINBOARD.iter().any(|prefix| self.name.starts_with(prefix)) {
            return None;
        }
        // One alarm for a processor, not one for each core of it.
        if self.name == "coretemp" && label.starts_with("Core ") {
            let package = |input: &Input| self.label(*input).starts_with("Package");
            return critical.filter(|_| !self.inputs.iter().any(package));
        }
        critical.or_else(|| NAMELESS_LIMITS.iter().find(|(name, _)| *name == self.name).map(|(_, limit)| *limit))
    }
}

impl Input {
    /// `temp1_input`.
    fn of(file: &str) -> Option<Self> {
        let word = file.strip_suffix("_input")?;
        let (kind, number) = match (word.strip_prefix("temp"), word.strip_prefix("fan")) {
            (Some(number), _) => (Kind::Temperature, number),
            (_, Some(number)) => (Kind::Fan, number),
            _ => return None,
        };
        let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        Some(Self { kind, number: number.parse().ok().filter(|_| plain)? })
    }

    fn word(self) -> String {
        match self.kind {
            Kind::Temperature => format!("temp{}", self.number),
            Kind::Fan => format!("fan{}", self.number),
        }
    }
}

/// The chips, each with what its sensors' names begin with.
fn named(chips: &[Chip]) -> Vec<(String, &Chip)> {
    let alike = |chip: &Chip| chips.iter().filter(|other| other.name == chip.name).count();
    let prefix = |chip: &Chip| {
        if alike(chip) == 1 || chip.device.is_empty() {
            chip.name.clone()
        } else if chip.device.starts_with(&chip.name) {
            // coretemp.0
            chip.device.clone()
        } else {
            format!("{}-{}", chip.name, chip.device)
        }
    };
    chips.iter().map(|chip| (prefix(chip), chip)).collect()
}

/// The thermal zones; single-board computers often have nothing else.
fn zones(root: &Root) -> Result<Vec<Sensor>, ReadError> {
    let parent = root.sys("class/thermal");
    let mut zones = Vec::new();
    for name in list::names(&parent)?.into_iter().filter(|name| name.starts_with("thermal_zone")) {
        let directory = parent.join(&name);
        let Ok(kind) = read_trimmed(&directory.join("type")) else { continue };
        let critical = critical_trip(&directory);
        zones.push(Sensor {
            name: format!("thermal/{kind}"),
            chip: "thermal".to_owned(),
            device: name,
            input: directory.join("temp"),
            fault: None,
            sleep: None,
            senses: Senses::Temperature { maximum: None, critical, limit: critical },
        });
    }
    Ok(zones)
}

/// Where a thermal zone switches the machine off.
fn critical_trip(zone: &Path) -> Option<f64> {
    // The kernel allows twelve.
    (0..12)
        .map_while(|number| {
            let kind = read_trimmed(&zone.join(format!("trip_point_{number}_type"))).ok()?;
            Some((kind == "critical").then(|| limit(&zone.join(format!("trip_point_{number}_temp")))).flatten())
        })
        .find_map(|limit| limit)
}

/// A limit in thousandths of degrees; nonsense (65261.85, 0, -273.15) is none.
fn limit(file: &Path) -> Option<f64> {
    read_number(file).ok().and_then(degrees).filter(|limit| (30.0..=150.0).contains(limit))
}

/// Of sensors that share a name, each is called by its input as well.
fn tell_apart(sensors: &mut [Sensor]) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for sensor in sensors.iter() {
        *counts.entry(sensor.name.clone()).or_default() += 1;
    }
    let mut taken = HashMap::new();
    for sensor in sensors {
        if counts.get(&sensor.name).is_some_and(|&count| count > 1) {
            let file = sensor.input.file_name().unwrap_or_default().to_string_lossy();
            let input = file.strip_suffix("_input").unwrap_or(&sensor.device);
            sensor.name = format!("{} ({input})", sensor.name);
        }
        // Two of the same everything: in the order the kernel has them.
        let again: &mut u32 = taken.entry(sensor.name.clone()).or_default();
        *again += 1;
        if *again > 1 {
            sensor.name = format!("{} #{again}", sensor.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn inputs_are_told_by_their_file_names() {
        let input = |kind, number| Some(Input { kind, number });
        assert_eq!(Input::of("temp1_input"), input(Kind::Temperature, 1));
        assert_eq!(Input::of("fan12_input"), input(Kind::Fan, 12));
        for other in ["temp1_max", "in0_input", "temp_input", "temp+1_input", "tempx_input", "temp99999999999_input"] {
            assert_eq!(Input::of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_file_name_and_number_is_safe(name: String, number: i64) {
            let _ = (Input::of(&name), degrees(number));
        }
    }
}
