//! Pressure stall information: what tasks lost time waiting for.

use tomte_model::{Facet, Moment, Scope};

use crate::Collector;
use crate::counter::Counter;
use crate::error::Malformed;
use crate::reader::FileReader;
use crate::root::Root;
use crate::settings::Settings;

/// What can be waited for, and the scope of each. Not every kernel counts
/// interrupts, and those are only ever waited for by all (`full`).
const SOURCES: [(&str, &str); 4] =
    [("cpu", "pressure:cpu"), ("memory", "pressure:memory"), ("io", "pressure:io"), ("irq", "pressure:irq")];

/// The names of the scopes.
pub(crate) const SCOPES: &[&str] = &[SOURCES[0].1, SOURCES[1].1, SOURCES[2].1, SOURCES[3].1];

/// The collector `pressure`.
pub(crate) fn make(root: &Root, _: &Settings) -> Box<dyn Collector> {
    let source = |(name, scope): &(&'static str, &'static str)| Source {
        name,
        scope,
        file: FileReader::new(root.proc(&format!("pressure/{name}"))),
        some: Counter::default(),
        full: Counter::default(),
    };
    Box::new(Pressure { sources: SOURCES.iter().map(source).collect() })
}

struct Pressure {
    sources: Vec<Source>,
}

struct Source {
    name: &'static str,
    scope: &'static str,
    file: FileReader,
    some: Counter,
    full: Counter,
}

impl Collector for Pressure {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        self.sources.iter_mut().map(|source| source.collect(now)).collect()
    }
}

impl Source {
    fn collect(&mut self, now: Moment) -> Scope {
        let Stalls { some, full } = match self.file.parse(parse) {
            Ok(stalls) => stalls,
            Err(error) => return error.scope(self.scope),
        };
        let mut facet = Facet::owner("pressure", self.name, "main");
        facet.readings.reserve_exact(8);
        // A part of the time; the two clocks may differ by a hair.
        let ratio = |counter: &mut Counter, stall: Option<Stall>| {
            counter.rate(now, stall.map(|stall| stall.micros)).map(|rate| (rate / 1e6).min(1.0))
        };
        facet.read("some_ratio", ratio(&mut self.some, some));
        if let Some(some) = some {
            facet.read("some_avg10_ratio", some.averages[0]);
            facet.read("some_avg60_ratio", some.averages[1]);
            facet.read("some_avg300_ratio", some.averages[2]);
        }
        facet.read("full_ratio", ratio(&mut self.full, full));
        if let Some(full) = full {
            facet.read("full_avg10_ratio", full.averages[0]);
            facet.read("full_avg60_ratio", full.averages[1]);
            facet.read("full_avg300_ratio", full.averages[2]);
        }
        Scope::complete(self.scope, vec![facet])
    }
}

/// One file of /proc/pressure.
#[derive(Debug, Default, PartialEq)]
struct Stalls {
    /// At least one task waited.
    some: Option<Stall>,
    /// All tasks waited at once.
    full: Option<Stall>,
}

/// Time lost.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stall {
    /// Parts of the last 10, 60 and 300 s.
    averages: [f64; 3],
    /// Since boot, in microseconds.
    micros: u64,
}

/// `some avg10=0.00 avg60=0.49 avg300=0.32 total=13319929`, and the same for
/// `full`: see the kernel's Documentation/accounting/psi.rst.
fn parse(text: &str) -> Result<Stalls, Malformed> {
    let mut stalls = Stalls::default();
    for (index, line) in text.lines().enumerate() {
        let slot = match line.split_once(' ') {
            Some(("some", _)) => &mut stalls.some,
            Some(("full", _)) => &mut stalls.full,
            // A later kernel may tell more.
            _ => continue,
        };
        *slot = Some(parse_stall(line).ok_or_else(|| Malformed::new(index + 1, "averages and a total", line))?);
    }
    if stalls == Stalls::default() {
        return Err(Malformed::new(1, "a line of some or full", text));
    }
    Ok(stalls)
}

fn parse_stall(line: &str) -> Option<Stall> {
    let value = |key: &str| line.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let average = |key| {
        let percent = value(key)?.parse::<f64>().ok()?;
        (0.0..=1000.0).contains(&percent).then_some((percent / 100.0).min(1.0))
    };
    Some(Stall {
        averages: [average("avg10")?, average("avg60")?, average("avg300")?],
        micros: value("total")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use tomte_model::{Outcome, Timestamp};

    use super::*;

    #[test]
    fn each_source_stands_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        std::fs::create_dir_all(root.proc("pressure")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.proc("pressure").join(name), text).unwrap();
        write(
            "cpu",
            "some avg10=1.50 avg60=0.49 avg300=0.32 total=1000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        );
        write("io", "gibberish\n");
        write("irq", "full avg10=2.00 avg60=0.00 avg300=0.00 total=7\n");
        let mut collector = make(&root, &Settings::default());
        let at = |boot_millis| Moment { wall: Timestamp::default(), boot_millis };
        let scopes = collector.collect(at(1_000));
        assert_eq!(scopes.iter().map(|scope| scope.name.as_ref()).collect::<Vec<_>>(), SCOPES);
        let cpu = &scopes[0].facets[0];
        assert_eq!((cpu.reading("some_avg10_ratio"), cpu.reading("some_ratio")), (Some(0.015), None));
        assert!(matches!(scopes[1].outcome, Outcome::Unavailable { .. }));
        assert!(matches!(scopes[2].outcome, Outcome::Failed { .. }));
        let irq = &scopes[3].facets[0];
        assert_eq!((irq.reading("full_avg10_ratio"), irq.reading("some_avg10_ratio")), (Some(0.02), None));

        write(
            "cpu",
            "some avg10=1.50 avg60=0.49 avg300=0.32 total=3500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        );
        let cpu = &collector.collect(at(11_000))[0].facets[0];
        assert_eq!((cpu.reading("some_ratio"), cpu.reading("full_ratio")), (Some(0.25), Some(0.0)));
    }

    #[test]
    fn averages_must_be_per_cent() {
        assert!(parse("some avg10=-1 avg60=0 avg300=0 total=0\n").is_err());
        assert!(parse("some avg10=nan avg60=0 avg300=0 total=0\n").is_err());
        assert!(parse("some avg10=1 avg60=0 avg300=0\n").is_err());
        assert!(parse("").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in "((some|full|x)( (avg10|avg60|avg300|total)=[0-9.]{0,21}){0,5}\n){0,4}.*") {
            let _ = parse(&text);
        }
    }
}
