//! The cache of ZFS in memory, from /proc/spl/kstat/zfs/arcstats.

use tomte_model::{Facet, Moment, Scope};

use crate::Collector;
use crate::counter::Counter;
use crate::error::Malformed;
use crate::reader::FileReader;
use crate::root::Root;
use crate::settings::Settings;

/// The collector `arc`.
pub(crate) fn make(root: &Root, _: &Settings) -> Box<dyn Collector> {
    Box::new(Arc {
        file: FileReader::new(root.proc("spl/kstat/zfs/arcstats")),
        hits: Counter::default(),
        misses: Counter::default(),
        l2_hits: Counter::default(),
        l2_misses: Counter::default(),
    })
}

struct Arc {
    file: FileReader,
    hits: Counter,
    misses: Counter,
    l2_hits: Counter,
    l2_misses: Counter,
}

/// What is read of the statistics; what this ZFS does not count is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Stats {
    hits: Option<u64>,
    misses: Option<u64>,
    size: Option<u64>,
    target: Option<u64>,
    minimum: Option<u64>,
    maximum: Option<u64>,
    l2_hits: Option<u64>,
    l2_misses: Option<u64>,
    l2_size: Option<u64>,
    throttles: Option<u64>,
}

impl Collector for Arc {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        let stats = match self.file.parse(parse) {
            Ok(stats) => stats,
            Err(error) => return vec![error.scope("arc")],
        };
        let mut facet = Facet::owner("arc", "arc", "main");
        let bytes = |value: Option<u64>| value.map(|value| value as f64);
        facet.read("size_bytes", bytes(stats.size));
        facet.read("target_bytes", bytes(stats.target));
        facet.read("minimum_bytes", bytes(stats.minimum));
        facet.read("maximum_bytes", bytes(stats.maximum));
        let (hits, misses) = (self.hits.rate(now, stats.hits), self.misses.rate(now, stats.misses));
        facet.read("hits_per_second", hits);
        facet.read("misses_per_second", misses);
        facet.read("hit_ratio", ratio(hits, misses));
        // Without a second level its counters are there, and stay at zero.
        if stats.l2_size.is_some_and(|size| size > 0) {
            facet.read("l2_size_bytes", bytes(stats.l2_size));
            let (hits, misses) = (self.l2_hits.rate(now, stats.l2_hits), self.l2_misses.rate(now, stats.l2_misses));
            facet.read("l2_hit_ratio", ratio(hits, misses));
        }
        facet.read("throttles", bytes(stats.throttles));
        vec![Scope::complete("arc", vec![facet])]
    }
}

fn ratio(hits: Option<f64>, misses: Option<f64>) -> Option<f64> {
    hits.zip(misses).filter(|(hits, misses)| hits + misses > 0.0).map(|(hits, misses)| hits / (hits + misses))
}

/// Two lines of heading, then lines `name type value`: see kstat in the source of
/// OpenZFS. Type 4 is an unsigned number of 64 bits.
fn parse(text: &str) -> Result<Stats, Malformed> {
    let mut stats = Stats::default();
    for (index, line) in text.lines().enumerate().skip(2) {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(_), Some(value)) = (words.next(), words.next(), words.next()) else {
            return Err(Malformed::new(index + 1, "a name, a type and a value", line));
        };
        let place = match name {
            "hits" => &mut stats.hits,
            "misses" => &mut stats.misses,
            "size" => &mut stats.size,
            "c" => &mut stats.target,
            "c_min" => &mut stats.minimum,
            "c_max" => &mut stats.maximum,
            "l2_hits" => &mut stats.l2_hits,
            "l2_misses" => &mut stats.l2_misses,
            "l2_size" => &mut stats.l2_size,
            "memory_throttle_count" => &mut stats.throttles,
            _ => continue,
        };
        *place = Some(value.parse().map_err(|_| Malformed::new(index + 1, "a number", line))?);
    }
    Ok(stats)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use tomte_model::{Outcome, Timestamp};

    use super::*;
    use crate::published::captured;

    #[test]
    fn what_a_real_machine_counted() {
        let text = String::from_utf8(captured("zfs/arcstats_head.txt")).unwrap();
        let stats = parse(&text).unwrap();
        assert_eq!((stats.hits, stats.misses), (Some(25_614), Some(10_298)));
    }

    #[test]
    fn rates_and_ratios_are_of_the_time_between_two_readings() {
        let dir = tempfile::tempdir().unwrap();
        let mut collector = make(&Root::new(dir.path()), &Settings::default());
        let at = |seconds: u64| Moment { wall: Timestamp::default(), boot_millis: seconds * 1000 };
        assert!(matches!(collector.collect(at(0))[0].outcome, Outcome::Unavailable { .. }), "no ZFS here");
        let folder = dir.path().join("proc/spl/kstat/zfs");
        std::fs::create_dir_all(&folder).unwrap();
        let mut collect = |seconds, hits: u64, misses: u64| {
            let text = format!(
                "18 1\nname type data\nhits 4 {hits}\nmisses 4 {misses}\nsize 4 900\nc 4 1000\nl2_size 4 0\nl2_hits 4 0\n"
            );
            std::fs::write(folder.join("arcstats"), text).unwrap();
            collector.collect(at(seconds)).remove(0).facets.remove(0)
        };
        let first = collect(0, 100, 100);
        assert_eq!((first.reading("size_bytes"), first.reading("hit_ratio")), (Some(900.0), None));
        let second = collect(10, 190, 110);
        assert_eq!((second.reading("hit_ratio"), second.reading("hits_per_second")), (Some(0.9), Some(9.0)));
        assert_eq!(second.reading("l2_hit_ratio"), None, "there is no second level");
        assert_eq!(collect(20, 190, 110).reading("hit_ratio"), None, "there was no request");
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            let _ = parse(&text);
            let _ = parse(&format!("1\n2\n{text}"));
        }
    }
}
