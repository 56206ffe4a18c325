//! Clock frequencies of the cores, and the processor's name.
//!
//! Apart from `cpu.rs` because of the cost: one file for each core (or for a
//! group of cores that share a clock), some of which make the kernel ask the
//! core itself. Once a minute that is nothing even with 512 cores; every ten
//! seconds it would be most of what the agent costs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tomte_model::{Facet, Moment, Scope};

use crate::error::{Malformed, ReadError};
use crate::reader::{read_file, read_number, read_trimmed};
use crate::root::Root;
use crate::settings::Settings;
use crate::{Collector, list};

/// The collector `cpu_frequency`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Frequency {
        policies: root.sys("devices/system/cpu/cpufreq"),
        cpuinfo: root.proc("cpuinfo"),
        model: None,
        each: settings.cpu.cores,
    })
}

struct Frequency {
    policies: PathBuf,
    cpuinfo: PathBuf,
    /// Read once; it cannot change before the next boot.
    model: Option<String>,
    each: bool,
}

impl Collector for Frequency {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        vec![match self.read() {
            Ok(cores) => Scope::complete("cpu_frequency", self.facets(&cores)),
            Err(error) => error.scope("cpu_frequency"),
        }]
    }
}

/// Hertz by core.
type Cores = BTreeMap<u32, f64>;

impl Frequency {
    fn read(&mut self) -> Result<Cores, ReadError> {
        let mut cores = self.read_policies()?;
        // The one file with the name is long, so it is read for that only once.
        if cores.is_empty() || self.model.is_none() {
            let info = match read_file(&self.cpuinfo) {
                Ok(bytes) => parse_cpuinfo(&String::from_utf8_lossy(&bytes))
                    .map_err(|source| ReadError::malformed(&self.cpuinfo, source))?,
                Err(ReadError::Missing { .. }) if !cores.is_empty() => CpuInfo::default(),
                Err(error) => return Err(error),
            };
            self.model = Some(info.model);
            if cores.is_empty() {
                cores = info.cores;
            }
        }
        Ok(cores)
    }

    /// From cpufreq; empty where the kernel has no driver for it, as in most
    /// virtual machines.
    fn read_policies(&self) -> Result<Cores, ReadError> {
        let mut cores = Cores::new();
        for name in list::names(&self.policies)? {
            if !name.starts_with("policy") {
                continue;
            }
            let policy = self.policies.join(name);
            let read = || {
                // `affected_cpus` are the online ones of the group.
                let members = read_trimmed(&policy.join("affected_cpus"))?;
                let kilohertz = read_number(&policy.join("scaling_cur_freq"))?;
                Ok((members, kilohertz))
            };
            match read() {
                Ok((members, kilohertz)) => {
                    let members = members.split_ascii_whitespace().filter_map(|core| core.parse().ok());
                    cores.extend(members.map(|core: u32| (core, kilohertz as f64 * 1000.0)));
                }
                // The group's last core went offline, or its driver cannot tell.
                Err(ReadError::Missing { .. } | ReadError::Malformed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(cores)
    }

    fn facets(&self, cores: &Cores) -> Vec<Facet> {
        let mut all = Facet::extra("cpu", "cpu", "frequency");
        all.text("model", self.model.clone().unwrap_or_default());
        all.read("frequency_hertz", cores.values().sum::<f64>() / cores.len() as f64);
        let mut facets = vec![all];
        if self.each {
            facets.extend(cores.iter().map(|(core, hertz)| {
                let mut facet = Facet::extra("core", core.to_string(), "frequency");
                facet.read("frequency_hertz", *hertz);
                facet
            }));
        }
        facets
    }
}

/// What /proc/cpuinfo says.
#[derive(Debug, Default, PartialEq)]
struct CpuInfo {
    /// Empty where no line says it, as on many ARM boards.
    model: String,
    /// Empty where no line says it, as everywhere but on x86.
    cores: Cores,
}

/// Lines `key : value`, one block for each core.
fn parse_cpuinfo(text: &str) -> Result<CpuInfo, Malformed> {
    let mut info = CpuInfo::default();
    let mut core = None;
    for (index, line) in text.lines().enumerate() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let (key, value) = (key.trim(), value.trim());
        match key {
            "processor" => core = value.parse().ok(),
            "model name" | "Model" | "cpu model" if info.model.is_empty() => value.clone_into(&mut info.model),
            "cpu MHz" => {
                let mhz = value.parse::<f64>().ok().filter(|mhz| mhz.is_finite() && *mhz >= 0.0);
                let mhz = mhz.ok_or_else(|| Malformed::new(index + 1, "a frequency in MHz", line))?;
                if let Some(core) = core {
                    info.cores.insert(core, mhz * 1e6);
                }
            }
            _ => {}
        }
    }
    Ok(info)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir_all, write};

    use proptest::prelude::*;

    use super::*;

    fn facets(root: &Root) -> Vec<(String, Option<f64>)> {
        let mut scopes = make(root, &Settings::default()).collect(Moment::default());
        assert!(scopes[0].outcome.is_complete(), "{scopes:?}");
        let facets = std::mem::take(&mut scopes[0].facets);
        facets.iter().map(|facet| (facet.resource.to_string(), facet.reading("frequency_hertz"))).collect()
    }

    #[test]
    fn a_policy_stands_for_all_its_online_cores() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for (policy, members, kilohertz) in
            [(0, "0 1\n", "1000000\n"), (2, "2\n", "4000000\n"), (3, "\n", "<unknown>\n")]
        {
            let policy = root.sys(&format!("devices/system/cpu/cpufreq/policy{policy}"));
            create_dir_all(&policy).unwrap();
            write(policy.join("affected_cpus"), members).unwrap();
            write(policy.join("scaling_cur_freq"), kilohertz).unwrap();
        }
        assert_eq!(
            facets(&root),
            [
                ("cpu:cpu".to_owned(), Some(2e9)),
                ("core:0".to_owned(), Some(1e9)),
                ("core:1".to_owned(), Some(1e9)),
                ("core:2".to_owned(), Some(4e9)),
            ]
        );
    }

    #[test]
    fn without_cpufreq_cpuinfo_tells() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        create_dir_all(root.proc("")).unwrap();
        let text = "processor\t: 0\nmodel name\t: EPYC\ncpu MHz\t\t: 2596.122\n\nprocessor\t: 3\nmodel name\t: EPYC\ncpu MHz\t\t: 2600.0\n";
        write(root.proc("cpuinfo"), text).unwrap();
        let told = facets(&root);
        assert_eq!(told[0], ("cpu:cpu".to_owned(), Some(2_598_061_000.0)));
        assert_eq!(told[2], ("core:3".to_owned(), Some(2.6e9)));
        // An ARM board tells neither: the name alone, and no number.
        write(root.proc("cpuinfo"), "processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 4\n").unwrap();
        let mut collector = make(&root, &Settings::default());
        let scopes = collector.collect(Moment::default());
        assert_eq!(scopes[0].facets.len(), 1);
        assert_eq!(scopes[0].facets[0].attribute("model").unwrap().to_string(), "Raspberry Pi 4");
        assert!(scopes[0].facets[0].readings.is_empty());
    }

    #[test]
    fn nothing_at_all_is_unavailable() {
        let dir = tempfile::tempdir().unwrap();
        let scopes = make(&Root::new(dir.path()), &Settings::default()).collect(Moment::default());
        assert!(matches!(scopes[0].outcome, tomte_model::Outcome::Unavailable { .. }));
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in "((processor|cpu MHz|model name)\t*:.*\n){0,8}.*") {
            let _ = parse_cpuinfo(&text);
        }
    }
}
