//! Load averages.

use tomte_model::{Facet, Moment, Scope};

use crate::error::Malformed;
use crate::reader::FileReader;
use crate::root::Root;
use crate::settings::Settings;
use crate::{Collector, ReadError};

/// The collector `load`.
pub(crate) fn make(root: &Root, _: &Settings) -> Box<dyn Collector> {
    Box::new(Load { file: FileReader::new(root.proc("loadavg")) })
}

struct Load {
    file: FileReader,
}

impl Collector for Load {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        let facet = |load: LoadAverage| {
            let mut facet = Facet::owner("load", "load", "main");
            facet.read("load1", load.averages[0]);
            facet.read("load5", load.averages[1]);
            facet.read("load15", load.averages[2]);
            facet
        };
        vec![match self.file.parse(parse) {
            Ok(load) => Scope::complete("load", vec![facet(load)]),
            Err(error) => ReadError::scope(&error, "load"),
        }]
    }
}

/// What /proc/loadavg says.
#[derive(Debug, PartialEq)]
struct LoadAverage {
    /// Over 1, 5 and 15 minutes.
    averages: [f64; 3],
}

/// `0.20 0.18 0.12 1/80 11206`: see proc_loadavg(5).
fn parse(text: &str) -> Result<LoadAverage, Malformed> {
    let bad = || Malformed::new(1, "three averages", text);
    let mut words = text.split_ascii_whitespace();
    let mut number = || words.next()?.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let averages = [number().ok_or_else(bad)?, number().ok_or_else(bad)?, number().ok_or_else(bad)?];
    Ok(LoadAverage { averages })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_averages() {
        assert_eq!(parse("0.20 1.18 10.12 1/80 11206\n"), Ok(LoadAverage { averages: [0.2, 1.18, 10.12] }));
        for bad in ["", "0.2", "0.2 x 0.1", "0.2 -1 0.1", "nan 1 1"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            let _ = parse(&text);
        }
    }
}
