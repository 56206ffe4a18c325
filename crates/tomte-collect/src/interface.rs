//! Network interfaces: what they carry, and whether their link stands.
//!
//! The counters come from /proc/net/dev, one read for all interfaces. What
//! changes seldom (addresses, routes, speed: see `link.rs` and `address.rs`) is
//! looked at when the set of interfaces changes, and once a minute; the state
//! of wired links each time.

mod address;
mod link;

use std::collections::HashMap;
use std::time::Duration;

use tomte_model::{Facet, Moment, Scope};

use self::address::{Addresses, Routes};
use self::link::{Kind, Link};
use crate::Collector;
use crate::counter::{Counter, Width};
use crate::error::Malformed;
use crate::pace::Pace;
use crate::reader::FileReader;
use crate::root::Root;
use crate::settings::{InterfaceSettings, Settings};

/// How long what changes seldom is believed.
const BELIEVED: Duration = Duration::from_secs(60);

/// The sum of those without hardware.
const VIRTUAL: &str = "virtual";

/// The collector `interface`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Interfaces {
        file: FileReader::new(address::net(root, "dev")),
        root: root.clone(),
        settings: settings.interface.clone(),
        portable: None,
        known: HashMap::new(),
        shown: Vec::new(),
        pace: Pace::every(BELIEVED),
        round: 0,
    })
}

struct Interfaces {
    root: Root,
    file: FileReader,
    settings: InterfaceSettings,
    /// Whether the machine is carried about; `None` until looked at.
    portable: Option<bool>,
    known: HashMap<String, Interface>,
    /// The names that are shown one by one, in order.
    shown: Vec<String>,
    /// Of the looks at what changes seldom.
    pace: Pace,
    /// Counts the readings, to find what has gone.
    round: u64,
}

struct Interface {
    counters: [Counter; 8],
    rates: [Option<f64>; 8],
    /// Bytes both ways since it appeared.
    bytes: u64,
    /// `None` for one that is merely summed.
    link: Option<Box<Link>>,
    /// Whether the filter lets it count.
    counts: bool,
    seen: u64,
}

/// What the kernel has counted: bytes, packets, errors, drops received; bytes,
/// packets, errors, drops sent.
type Totals = [u64; 8];

const FIELDS: [&str; 8] = [
    "receive_bytes_per_second",
    "receive_packets_per_second",
    "receive_errors_per_second",
    "receive_drops_per_second",
    "transmit_bytes_per_second",
    "transmit_packets_per_second",
    "transmit_errors_per_second",
    "transmit_drops_per_second",
];

/// Of the sum only these: the tap of a guest that is switched off drops all
/// there is, and nothing is wrong with that.
const SUMMED: [usize; 4] = [0, 1, 4, 5];

/// The counters are as wide as the kernel's long.
const LONG: Width = if cfg!(target_pointer_width = "32") { Width::Bits32 } else { Width::Bits64 };

impl Collector for Interfaces {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        self.round += 1;
        let (known, settings, round) = (&mut self.known, &self.settings, self.round);
        let mut changed = false;
        let read = self.file.parse_lossy(|text| {
            parse(text, |name, totals| {
                if !known.contains_key(name) {
                    changed = true;
                    known.insert(name.to_owned(), Interface::new(settings.names.matches(name)));
                }
                let interface = known.get_mut(name).expect("it is there or was just put there");
                interface.count(now, totals);
                interface.seen = round;
            })
        });
        if let Err(error) = read {
            return vec![error.scope("interface")];
        }
        let before = self.known.len();
        self.known.retain(|_, interface| interface.seen == round);
        changed |= self.known.len() != before;
        if changed || self.pace.is_due(now) {
            self.look();
            self.pace.looked(now);
        }
        vec![Scope::complete("interface", self.facets())]
    }
}

impl Interfaces {
    /// Looks at what changes seldom, and so finds out which ones are shown.
    fn look(&mut self) {
        let routes = Routes::read(&self.root);
        let addresses = Addresses::read(&self.root, &routes);
        let portable = *self.portable.get_or_insert_with(|| link::is_portable(&self.root));
        for (name, interface) in &mut self.known {
            let kind = link::kind(&self.root, name);
            let outside = routes.outside(name).is_some();
            let asked_for = self.settings.each_virtual || self.settings.names.includes(name) || outside;
            if !interface.counts || (kind == Kind::Virtual && !asked_for) {
                interface.link = None;
                continue;
            }
            let link = interface.link.get_or_insert_with(|| Box::new(Link::new(&self.root, name)));
            link.look(&self.root, name, kind, portable);
            link.addresses = addresses.of(name);
            link.gateway = routes.outside(name).map(str::to_owned);
        }
        self.shown = self.known.iter().filter(|(_, i)| i.link.is_some()).map(|(name, _)| name.clone()).collect();
        self.shown.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    }

    fn facets(&mut self) -> Vec<Facet> {
        let least = self.settings.minimum_bytes;
        let mut facets = Vec::with_capacity(self.shown.len() + 1);
        for name in &self.shown {
            let Some(interface) = self.known.get_mut(name) else { continue };
            let Some(link) = &mut interface.link else { continue };
            // The way to the outside is shown however little it carries.
            if interface.bytes < least && link.gateway.is_none() {
                continue;
            }
            let mut facet = Facet::owner("interface", name.clone(), "main");
            for (field, rate) in FIELDS.into_iter().zip(interface.rates) {
                facet.read(field, rate);
            }
            link.write(&mut facet);
            facets.push(facet);
        }
        let summed = || self.known.values().filter(|interface| interface.link.is_none() && interface.counts);
        let count = summed().count();
        // Its name is taken where somebody has called an interface so.
        if count > 0
            && summed().map(|i| i.bytes).fold(0, u64::saturating_add) >= least
            && !self.known.contains_key(VIRTUAL)
        {
            let mut facet = Facet::owner("interface", VIRTUAL, "main");
            for index in SUMMED {
                // One that has just appeared adds to the next sum.
                let rates = summed().filter_map(|interface| interface.rates[index]);
                facet.read(FIELDS[index], rates.reduce(|a, b| a + b));
            }
            facet.read("interfaces", count as f64);
            facet.text("type", Kind::Virtual.as_str());
            facets.push(facet);
        }
        facets
    }
}

impl Interface {
    fn new(counts: bool) -> Self {
        Self { counters: [Counter::new(LONG); 8], rates: [None; 8], bytes: 0, link: None, counts, seen: 0 }
    }

    fn count(&mut self, now: Moment, totals: Totals) {
        self.bytes = totals[0].saturating_add(totals[4]);
        if self.counts {
            for ((counter, rate), total) in self.counters.iter_mut().zip(&mut self.rates).zip(totals) {
                *rate = counter.rate(now, total);
            }
        }
    }
}

/// Two lines of headings, then lines such as `eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0
/// 0 0`: see proc_pid_net(5).
fn parse(text: &str, mut each: impl FnMut(&str, Totals)) -> Result<(), Malformed> {
    for (index, line) in text.lines().enumerate().skip(2) {
        let bad = || Malformed::new(index + 1, "an interface and 16 numbers", line);
        let (name, numbers) = line.split_once(':').ok_or_else(bad)?;
        let mut all = [0_u64; 16];
        let mut words = numbers.split_ascii_whitespace();
        for number in &mut all {
            *number = words.next().and_then(|word| word.parse().ok()).ok_or_else(bad)?;
        }
        each(name.trim(), [all[0], all[1], all[2], all[3], all[8], all[9], all[10], all[11]]);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
