//! Processor time, all together and for each core.
//!
//! Shares are parts of the time that the kernel itself accounted for since the
//! last reading, so they need no clock and sleep does not dilute them. The
//! frequency is a collector of its own: see `frequency.rs`.

use tomte_model::{Facet, Moment, Scope};

use crate::Collector;
use crate::error::Malformed;
use crate::reader::FileReader;
use crate::root::Root;
use crate::settings::Settings;

/// The collector `cpu`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Cpu {
        file: FileReader::new(root.proc("stat")),
        each: settings.cpu.cores,
        all: None,
        cores: Vec::new(),
        fresh: Vec::new(),
    })
}

struct Cpu {
    file: FileReader,
    each: bool,
    /// The last reading.
    all: Option<Times>,
    /// The last reading of each core, by number.
    cores: Vec<(u32, Times)>,
    /// Room for the present one.
    fresh: Vec<(u32, Times)>,
}

impl Collector for Cpu {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        let fresh = &mut self.fresh;
        let all = match self.file.parse(|text| parse(text, fresh)) {
            Ok(all) => all,
            Err(error) => return vec![error.scope("cpu"), error.scope("core")],
        };
        let mut facet = Facet::owner("cpu", "cpu", "main");
        facet.readings.reserve_exact(6);
        facet.read("cores", self.fresh.len() as f64);
        write(&mut facet, all.shares_since(self.all));
        self.all = Some(all);
        vec![Scope::complete("cpu", vec![facet]), Scope::complete("core", self.cores())]
    }
}

impl Cpu {
    /// The facets of the cores; none where nobody wants them.
    fn cores(&mut self) -> Vec<Facet> {
        if !self.each {
            return Vec::new();
        }
        let mut before = self.cores.iter().peekable();
        let facet = |(number, times): &(u32, Times)| {
            // Both lists are in order, so one pass finds each core's last
            // reading. A core that was offline meanwhile has none.
            while before.next_if(|(earlier, _)| earlier < number).is_some() {}
            let last = before.next_if(|(same, _)| same == number).map(|(_, times)| *times);
            let mut facet = Facet::owner("core", number.to_string(), "main");
            facet.readings.reserve_exact(5);
            write(&mut facet, times.shares_since(last));
            facet
        };
        let facets = self.fresh.iter().map(facet).collect();
        std::mem::swap(&mut self.cores, &mut self.fresh);
        facets
    }
}

/// What a processor has done since boot, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Times {
    /// In programs; guests are part of it, as the kernel counts.
    user: u64,
    /// In the kernel and in interrupts.
    system: u64,
    idle: u64,
    iowait: u64,
    steal: u64,
}

/// The parts of an interval.
#[derive(Debug, PartialEq)]
struct Shares {
    usage: f64,
    user: f64,
    system: f64,
    iowait: f64,
    steal: f64,
}

impl Times {
    /// The shares of the time since a last reading; `None` where there is none,
    /// where no tick has passed, and where the counters began anew.
    fn shares_since(&self, last: Option<Times>) -> Option<Shares> {
        let last = last?;
        let user = self.user.checked_sub(last.user)? as f64;
        let system = self.system.checked_sub(last.system)? as f64;
        // These three are known to step back a little: idle and iowait on
        // tickless kernels, steal under some hypervisors.
        let idle = self.idle.saturating_sub(last.idle) as f64;
        let iowait = self.iowait.saturating_sub(last.iowait) as f64;
        let steal = self.steal.saturating_sub(last.steal) as f64;
        let total = user + system + idle + iowait + steal;
        (total > 0.0).then(|| Shares {
            usage: (user + system + steal) / total,
            user: user / total,
            system: system / total,
            iowait: iowait / total,
            steal: steal / total,
        })
    }
}

fn write(facet: &mut Facet, shares: Option<Shares>) {
    let Some(Shares { usage, user, system, iowait, steal }) = shares else { return };
    facet.read("usage_ratio", usage);
    facet.read("user_ratio", user);
    facet.read("system_ratio", system);
    facet.read("iowait_ratio", iowait);
    facet.read("steal_ratio", steal);
}

/// The `cpu` lines of /proc/stat, see proc_stat(5): all together, and into
/// `cores` each that is online, by number.
fn parse(text: &str, cores: &mut Vec<(u32, Times)>) -> Result<Times, Malformed> {
    cores.clear();
    let mut all = None;
    for (index, line) in text.lines().enumerate() {
        // They come first, and what follows can be long.
        let Some(rest) = line.strip_prefix("cpu") else { break };
        let bad = || Malformed::new(index + 1, "a processor and its times", line);
        let (number, times) = rest.split_once(' ').ok_or_else(bad)?;
        let times = parse_times(times).ok_or_else(bad)?;
        if number.is_empty() {
            all = Some(times);
        } else {
            cores.push((number.parse().map_err(|_| bad())?, times));
        }
    }
    // As the kernel writes them; free when it holds.
    cores.sort_unstable_by_key(|(number, _)| *number);
    cores.dedup_by_key(|(number, _)| *number);
    all.ok_or_else(|| Malformed::new(1, "the times of all processors", text.lines().next().unwrap_or_default()))
}

/// `user nice system idle iowait irq softirq steal …`; the later ones came
/// with later kernels.
fn parse_times(text: &str) -> Option<Times> {
    let mut field = [0_u64; 8];
    let mut found = 0;
    for (slot, word) in field.iter_mut().zip(text.split_ascii_whitespace()) {
        *slot = word.parse().ok()?;
        found += 1;
    }
    let [user, nice, system, idle, iowait, irq, softirq, steal] = field;
    (found >= 4).then(|| Times {
        user: user.saturating_add(nice),
        system: system.saturating_add(irq).saturating_add(softirq),
        idle,
        iowait,
        steal,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fmt::Write as _;

    use proptest::prelude::*;
    use tomte_model::Outcome;

    use super::*;

    fn collector() -> (tempfile::TempDir, Box<dyn Collector>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let collector = make(&Root::new(dir.path()), &Settings::default());
        (dir, collector)
    }

    fn collect(dir: &tempfile::TempDir, collector: &mut dyn Collector, stat: &str) -> (Facet, Vec<Facet>) {
        std::fs::write(dir.path().join("proc/stat"), stat).unwrap();
        let mut scopes = collector.collect(Moment::default());
        assert!(scopes.iter().all(|scope| scope.outcome.is_complete()), "{scopes:?}");
        (scopes[0].facets.remove(0), std::mem::take(&mut scopes[1].facets))
    }

    #[test]
    fn shares_are_parts_of_the_time_since_the_last_reading() {
        let (dir, mut collector) = collector();
        let (cpu, cores) = collect(
            &dir,
            &mut *collector,
            "cpu  100 0 50 800 50 0 0 0 7 0\ncpu0 100 0 50 800 50 0 0 0 7 0\nintr 1 2 3\n",
        );
        assert_eq!(cpu.readings, [("cores".into(), 1.0)], "the first reading has no shares");
        assert!(cores[0].readings.is_empty());
        let (cpu, cores) = collect(
            &dir,
            &mut *collector,
            "cpu  110 10 60 840 70 5 5 0 9 0\ncpu0 110 10 60 840 70 5 5 0 9 0\nintr 1 2 3\n",
        );
        assert_eq!(cpu.reading("usage_ratio"), Some(0.4));
        assert_eq!(cpu.reading("user_ratio"), Some(0.2));
        assert_eq!(cpu.reading("system_ratio"), Some(0.2));
        assert_eq!(cpu.reading("iowait_ratio"), Some(0.2));
        assert_eq!(cpu.reading("steal_ratio"), Some(0.0));
        assert_eq!(cores[0].resource.name, "0");
        assert_eq!(cores[0].reading("usage_ratio"), Some(0.4));
    }

    #[test]
    fn a_core_that_vanishes_is_not_there_and_begins_anew() {
        let (dir, mut collector) = collector();
        let both = "cpu 2 0 0 2\ncpu0 1 0 0 1\ncpu1 1 0 0 1\n";
        let later = "cpu 4 0 0 4\ncpu0 2 0 0 2\ncpu1 2 0 0 2\n";
        collect(&dir, &mut *collector, both);
        let (cpu, cores) = collect(&dir, &mut *collector, "cpu 3 0 0 3\ncpu1 2 0 0 2\n");
        assert_eq!(cpu.reading("cores"), Some(1.0));
        assert_eq!(cores.len(), 1);
        assert_eq!((cores[0].resource.name.as_str(), cores[0].reading("usage_ratio")), ("1", Some(0.5)));
        let (_, cores) = collect(&dir, &mut *collector, later);
        assert_eq!(cores.len(), 2);
        assert_eq!(cores[0].reading("usage_ratio"), None, "it was away");
        assert_eq!(cores[1].reading("usage_ratio"), None, "no tick has passed");
    }

    #[test]
    fn counters_that_go_backwards() {
        let (dir, mut collector) = collector();
        collect(&dir, &mut *collector, "cpu 100 0 100 1000 100\n");
        let (cpu, _) = collect(&dir, &mut *collector, "cpu 110 0 100 1090 99\n");
        assert_eq!(cpu.reading("usage_ratio"), Some(0.1), "iowait steps back on tickless kernels");
        assert_eq!(cpu.reading("iowait_ratio"), Some(0.0));
        let (cpu, _) = collect(&dir, &mut *collector, "cpu 5 0 5 10 0\n");
        assert_eq!(cpu.reading("usage_ratio"), None, "begun anew");
        let (cpu, _) = collect(&dir, &mut *collector, "cpu 10 0 5 15 18446744073709551615\n");
        assert!(cpu.reading("usage_ratio").is_some_and(|usage| (0.0..=1.0).contains(&usage)));
    }

    #[test]
    fn a_host_of_512_cores() {
        let (dir, mut collector) = collector();
        let stat = |tick: u64| {
            let mut text = format!("cpu {0} 0 0 {0}\n", 512 * tick);
            for core in 0..512 {
                writeln!(text, "cpu{core} {tick} 0 0 {tick} 0 0 0 0 0 0").unwrap();
            }
            text
        };
        collect(&dir, &mut *collector, &stat(10));
        let (cpu, cores) = collect(&dir, &mut *collector, &stat(20));
        assert_eq!((cpu.reading("cores"), cpu.reading("usage_ratio")), (Some(512.0), Some(0.5)));
        assert_eq!(cores.len(), 512);
        assert!(cores.iter().all(|core| core.reading("usage_ratio") == Some(0.5)));
    }

    #[test]
    fn cores_can_be_left_out() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let mut settings = Settings::default();
        settings.cpu.cores = false;
        let mut collector = make(&Root::new(dir.path()), &settings);
        let (cpu, cores) = collect(&dir, &mut *collector, "cpu 2 0 0 2\ncpu0 1 0 0 1\ncpu1 1 0 0 1\n");
        assert_eq!((cpu.reading("cores"), cores.len()), (Some(2.0), 0));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let (dir, mut collector) = collector();
        for (text, error) in [
            ("", "line 1: the times of all processors"),
            ("cpu 1 2 3 4\ncpu0 1 2 x 4\n", "line 2: a processor and its times, found \"cpu0 1 2 x 4\""),
            ("cpu 1 2 3\n", "line 1: a processor and its times"),
            ("cpux 1 2 3 4\n", "line 1: a processor and its times"),
        ] {
            std::fs::write(dir.path().join("proc/stat"), text).unwrap();
            let scopes = collector.collect(Moment::default());
            assert_eq!(scopes.len(), 2);
            let Outcome::Failed { error: said } = &scopes[1].outcome else { panic!("{text:?}: {scopes:?}") };
            assert!(said.contains(error), "{said}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in "(cpu[0-9]{0,3} ([0-9]{1,21} ?){0,11}\n){0,6}.*") {
            let mut cores = Vec::new();
            if let Ok(all) = parse(&text, &mut cores) {
                for (_, times) in &cores {
                    if let Some(shares) = all.shares_since(Some(*times)) {
                        prop_assert!((0.0..=1.0).contains(&shares.usage));
                    }
                }
            }
        }

        #[test]
        fn any_bytes_are_safe(text: String) {
            let _ = parse(&text, &mut Vec::new());
        }
    }
}
