//! Readings like those of a real host: 150 of them, in the mix that a Linux
//! machine with a few containers shows.

use std::borrow::Cow;

use tomte_model::catalogue::{FacetDef, FieldDef, KindDef, Resolution, Unit};
use tomte_model::{Catalogue, Facet, Report, Scope};

/// Pseudo-random numbers, the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// 0 to 1.
    pub fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
    /// Mean 0, deviation 1.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().max(1e-12).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
    /// Zero, or now and then a burst.
    fn burst(&mut self, probability: f64, scale: f64) -> f64 {
        if self.uniform() < probability { (self.normal() * 1.2).exp() * scale } else { 0.0 }
    }
}

/// How a reading behaves.
#[derive(Clone, Copy)]
enum Behaviour {
    /// Comes in bursts: how often, how large.
    Bursts(f64, f64),
    /// Flows steadily around a mean, with this relative noise.
    Flow(f64, f64),
    /// Wanders slowly, by steps of this size, in units of a grain.
    Walk { start: f64, step: f64, grain: f64 },
    /// Wanders around a mean.
    Around { mean: f64, noise: f64 },
    /// Never changes.
    Constant(f64),
}

/// 150 readings in one report.
pub struct Host {
    fields: Vec<(String, Unit, Resolution, Behaviour)>,
    state: Vec<f64>,
    random: Random,
}

impl Host {
    /// A host; `steady` makes every rate flow all the time, which is the worst
    /// case for a protocol that sends changes.
    pub fn new(seed: u64, steady: bool) -> Self {
        use Behaviour::*;
        let mut random = Random::new(seed);
        let mut fields: Vec<(String, Unit, Resolution, Behaviour)> = Vec::new();
        let mut add = |name: &str, unit: &Unit, resolution, behaviour| {
            fields.push((name.to_owned(), unit.clone(), resolution, behaviour));
        };
        let (bytes, rate, each) = (Unit::Bytes, Unit::BytesPerSecond, Unit::PerSecond);
        let rates = |random: &mut Random, often: f64, scale: f64| {
            if steady { Flow(scale * (0.5 + random.uniform()), 0.3) } else { Bursts(often, scale) }
        };
        for disk in 0..3 {
            let often = random.uniform();
            for (what, part) in [("read", 0.3), ("write", 1.0)] {
                let scale = 1e4 + 4e5 * random.uniform();
                let behaviour = rates(&mut random, often * part, scale);
                add(&format!("disk{disk}_{what}_bytes_per_second"), &rate, Resolution::ONE, behaviour);
                let behaviour = rates(&mut random, often * part, scale / 8192.0);
                add(&format!("disk{disk}_{what}s_per_second"), &each, Resolution::TENTH, behaviour);
            }
            let behaviour = rates(&mut random, often, 0.05);
            add(&format!("disk{disk}_utilisation_ratio"), &Unit::Ratio, Resolution::BASIS_POINT, behaviour);
            let behaviour = rates(&mut random, often, 0.0008);
            add(&format!("disk{disk}_await_seconds"), &Unit::Seconds, Resolution::MICRO, behaviour);
        }
        for (interface, scale) in [("eth0", 1.5e6), ("eth1", 150.0), ("lo", 4e5)] {
            let scale = scale * (0.2 + random.uniform());
            for way in ["receive", "transmit"] {
                let name = |what: &str| format!("{interface}_{way}_{what}_per_second");
                add(&name("bytes"), &rate, Resolution::ONE, Flow(scale, 0.3));
                add(&name("packets"), &each, Resolution::TENTH, Flow(scale / 700.0, 0.3));
                add(&name("errors"), &each, Resolution::TENTH, Constant(0.0));
                add(&name("drops"), &each, Resolution::TENTH, Constant(0.0));
            }
        }
        for container in 0..6 {
            for (what, often, scale) in
                [("receive", 0.7, 3e4), ("transmit", 0.7, 2e4), ("read", 0.05, 1e5), ("write", 0.3, 5e4)]
            {
                let behaviour = rates(&mut random, often, scale);
                add(&format!("app{container}_{what}_bytes_per_second"), &rate, Resolution::ONE, behaviour);
            }
            let usage = 0.001 + 0.1 * random.uniform();
            add(&format!("app{container}_usage_ratio"), &Unit::Ratio, Resolution::BASIS_POINT, Flow(usage, 0.25));
            let start = 2e7 + 2e9 * random.uniform();
            add(
                &format!("app{container}_memory_bytes"),
                &bytes,
                Resolution::ONE,
                Walk { start, step: 2e5, grain: 4096.0 },
            );
        }
        for what in ["context_switches", "interrupts", "forks"] {
            let mean = 500.0 + 1e4 * random.uniform();
            add(&format!("{what}_per_second"), &each, Resolution::TENTH, Flow(mean, 0.05));
        }
        for mode in ["user", "system", "iowait", "softirq", "usage"] {
            let mean = 0.02 + 0.2 * random.uniform();
            add(&format!("{mode}_ratio"), &Unit::Ratio, Resolution::BASIS_POINT, Flow(mean, 0.1));
        }
        for mode in ["steal", "nice"] {
            add(&format!("{mode}_ratio"), &Unit::Ratio, Resolution::BASIS_POINT, Constant(0.0));
        }
        for core in 0..8 {
            let mean = 0.05 + 0.3 * random.uniform();
            add(&format!("core{core}_ratio"), &Unit::Ratio, Resolution::THOUSANDTH, Flow(mean, 0.15));
        }
        for load in ["load1", "load5", "load15"] {
            add(load, &Unit::Number, Resolution::HUNDREDTH, Walk { start: 1.0, step: 0.05, grain: 0.01 });
        }
        for what in ["used", "free", "available", "cached", "slab", "buffers", "dirty"] {
            let start = 1e9 + 8e9 * random.uniform();
            add(&format!("{what}_bytes"), &bytes, Resolution::ONE, Walk { start, step: 1e6, grain: 4096.0 });
        }
        add("memory_used_ratio", &Unit::Ratio, Resolution::BASIS_POINT, Walk { start: 0.5, step: 2e-4, grain: 1e-4 });
        for what in ["total", "swap_total", "swap_used"] {
            add(&format!("{what}_bytes"), &bytes, Resolution::ONE, Constant(17_179_869_184.0));
        }
        for mount in 0..4 {
            let name = |what: &str| format!("mount{mount}_{what}");
            add(&name("size_bytes"), &bytes, Resolution::ONE, Constant(1e11));
            add(&name("used_bytes"), &bytes, Resolution::ONE, Walk { start: 5e10, step: 40_000.0, grain: 4096.0 });
            add(
                &name("used_ratio"),
                &Unit::Ratio,
                Resolution::BASIS_POINT,
                Walk { start: 0.5, step: 2e-5, grain: 1e-4 },
            );
            add(&name("inodes"), &Unit::Number, Resolution::ONE, Walk { start: 1e5, step: 1.0, grain: 1.0 });
        }
        for sensor in 0..6 {
            add(
                &format!("sensor{sensor}_celsius"),
                &Unit::Celsius,
                Resolution::TENTH,
                Around { mean: 45.0, noise: 0.8 },
            );
        }
        for (what, mean, noise) in [
            ("processes", 250.0, 3.0),
            ("running", 1.5, 1.2),
            ("threads", 600.0, 4.0),
            ("open_files", 3000.0, 20.0),
            ("tcp_established", 80.0, 9.0),
            ("tcp_time_wait", 40.0, 6.0),
            ("sockets_tcp", 120.0, 5.0),
            ("sockets_unix", 300.0, 8.0),
            ("sockets_udp", 9.0, 1.0),
            ("blocked", 0.0, 0.3),
            ("tcp_listen", 18.0, 0.0),
            ("tcp_syn_received", 0.1, 0.5),
            ("tcp_close_wait", 0.5, 1.0),
            ("tcp_fin_wait", 0.7, 1.0),
            ("sockets_time_wait", 40.0, 4.0),
            ("logged_in", 2.0, 0.0),
            ("zombies", 0.0, 0.0),
        ] {
            add(what, &Unit::Number, Resolution::ONE, Around { mean, noise });
        }
        add("uptime_seconds", &Unit::Seconds, Resolution::ONE, Walk { start: 5e5, step: 0.0, grain: 1.0 });
        assert_eq!(fields.len(), 150);
        Self { state: vec![f64::NAN; fields.len()], fields, random }
    }

    /// A catalogue with the kind that the host's readings belong to.
    pub fn catalogue(&self) -> Catalogue {
        let field = |(name, unit, resolution, _): &(String, Unit, Resolution, Behaviour)| FieldDef {
            name: name.clone().into(),
            ..FieldDef::new("main", "", unit.clone(), *resolution, "Generated.")
        };
        let mut catalogue = Catalogue::builtin();
        catalogue.describe(KindDef {
            name: "generated".into(),
            help: "Generated.".into(),
            key: "By name.".into(),
            facets: vec![FacetDef { name: "main".into(), owner: true }].into(),
            fields: self.fields.iter().map(field).collect::<Vec<_>>().into(),
            attributes: Cow::Borrowed(&[]),
            tables: Cow::Borrowed(&[]),
        });
        catalogue
    }

    /// The next report: 150 readings of ten resources, rounded as an agent does.
    pub fn next(&mut self, sequence: u64) -> Report {
        let mut facets: Vec<Facet> = Vec::new();
        for (place, (name, _, resolution, behaviour)) in self.fields.iter().enumerate() {
            if place % 15 == 0 {
                facets.push(Facet::owner("generated", format!("part{}", place / 15), "main"));
            }
            let random = &mut self.random;
            let last = self.state[place];
            let value = match *behaviour {
                Behaviour::Bursts(often, scale) => random.burst(often, scale),
                Behaviour::Flow(mean, noise) => mean * (random.normal() * noise).exp(),
                Behaviour::Walk { start, step, grain } => {
                    let last = if last.is_nan() { start } else { last };
                    let next = if step == 0.0 { last + 10.0 } else { last + random.normal() * step };
                    self.state[place] = next;
                    (next / grain).floor() * grain
                }
                Behaviour::Around { mean, noise } => {
                    let last = if last.is_nan() { mean } else { last };
                    self.state[place] = mean + 0.9 * (last - mean) + 0.4 * random.normal() * noise;
                    self.state[place].max(0.0)
                }
                Behaviour::Constant(value) => value,
            };
            facets.last_mut().unwrap().read(name.clone(), resolution.round(value));
        }
        let mut report = super::report("generated", sequence, vec![Scope::complete("generated", facets)]);
        // Nobody wakes up to the millisecond.
        let late = (self.random.uniform() * 5.0) as i64;
        report.moment.wall = report.moment.wall.plus(std::time::Duration::from_millis(late as u64));
        report.moment.boot_millis += late as u64;
        report
    }
}
