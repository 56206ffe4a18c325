//! Load averages.

use tomte_model::{Facet, Moment, Scope};

use crate::Collector;
use crate::error::Malformed;
use crate::reader::FileReader;
use crate::root::Root;
use crate::settings::Settings;

/// The collector `load`.
pub(crate) fn make(root: &Root, _: &Settings) -> Box<dyn Collector> {
    Box::new(Load {
        file: FileReader::new(root.proc("loadavg")),
        online: FileReader::new(root.sys("devices/system/cpu/online")),
    })
}

struct Load {
    file: FileReader,
    online: FileReader,
}

impl Collector for Load {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        let [load1, load5, load15] = match self.file.parse(parse) {
            Ok(averages) => averages,
            Err(error) => return vec![error.scope("load")],
        };
        let mut facet = Facet::owner("load", "load", "main");
        facet.read("load1", load1);
        facet.read("load5", load5);
        facet.read("load15", load15);
        // Where the number of cores is not told, the load stands without it.
        let cores = self.online.parse(parse_online).ok().filter(|&cores| cores > 0);
        facet.read("load5_per_core", cores.map(|cores| load5 / f64::from(cores)));
        vec![Scope::complete("load", vec![facet])]
    }
}

/// `0.20 0.18 0.12 1/80 11206`, over 1, 5 and 15 minutes: see proc_loadavg(5).
fn parse(text: &str) -> Result<[f64; 3], Malformed> {
    let bad = || Malformed::new(1, "three averages", text);
    let mut words = text.split_ascii_whitespace();
    let mut number = || words.next()?.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    Ok([number().ok_or_else(bad)?, number().ok_or_else(bad)?, number().ok_or_else(bad)?])
}

/// How many cores a list such as `0-3,6` holds.
fn parse_online(text: &str) -> Result<u32, Malformed> {
    let bad = || Malformed::new(1, "a list of cores", text);
    let mut cores = 0_u32;
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
        cores = last
            .checked_sub(first)
            .and_then(|n| n.checked_add(1))
            .and_then(|n| cores.checked_add(n))
            .ok_or_else(bad)?;
    }
    Ok(cores)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_averages() {
        assert_eq!(parse("0.20 1.18 10.12 1/80 11206\n"), Ok([0.2, 1.18, 10.12]));
        for bad in ["", "0.2", "0.2 x 0.1", "0.2 -1 0.1", "nan 1 1"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn cores_are_counted() {
        assert_eq!(parse_online("0\n"), Ok(1));
        assert_eq!(parse_online("0-3,6,8-511\n"), Ok(509));
        for bad in ["", "3-1", "0-4294967295", "a", "0,,1"] {
            assert!(parse_online(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_load_per_core_needs_the_cores() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        std::fs::create_dir_all(root.proc("")).unwrap();
        std::fs::write(root.proc("loadavg"), "1.00 6.00 2.00 1/80 11206\n").unwrap();
        let mut collector = make(&root, &Settings::default());
        assert_eq!(collector.collect(Moment::default())[0].facets[0].readings.len(), 3);
        std::fs::create_dir_all(root.sys("devices/system/cpu")).unwrap();
        std::fs::write(root.sys("devices/system/cpu/online"), "0-3\n").unwrap();
        assert_eq!(collector.collect(Moment::default())[0].facets[0].reading("load5_per_core"), Some(1.5));
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            let _ = (parse(&text), parse_online(&text));
        }

        #[test]
        fn any_list_is_safe(text in "[0-9,-]{0,40}") {
            let _ = parse_online(&text);
        }
    }
}
