//! Prints what the store costs: CPU, memory and bytes written per reading
//! taken in, the size on disk of each part, and how long queries take. Run it
//! with `cargo run --release -p tomte-store --example measure -- [HOSTS] [INTERVAL] [HOURS]`
//! (10 hosts, every 30 s, for 24 h by default).
//!
//! The readings are those of the benchmark's workload, 150 of each host, by its
//! ten collectors, with times that jitter by some milliseconds.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tomte_model::{BootId, Catalogue, Facet, HostId, Moment, Position, Report, Scope, Timestamp};
use tomte_store::{Arrival, Budget, HistoryStore, Options, Query, Store, StoreError};

#[allow(dead_code, reason = "other benchmarks use more of it")]
#[path = "../../../bench/src/workload.rs"]
mod workload;

/// Some midnight.
const START: i64 = 1_790_035_200_000;
/// Reports in flight, as a hub would allow.
const WINDOW: usize = 512;
/// As a hub does: records are saved and reports released so often, and the
/// store is looked after so often.
const RELEASE: i64 = 900_000;
const MAINTAIN: i64 = 60_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<u64> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let argument = |place: usize, usual: u64| arguments.get(place).copied().unwrap_or(usual);
    let run = Run { hosts: argument(0, 10), interval: argument(1, 30) as i64 * 1000, hours: argument(2, 24) as i64 };
    let folder = std::env::temp_dir().join(format!("tomte-store-measure-{}", std::process::id()));
    let result = run.measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

struct Run {
    hosts: u64,
    interval: i64,
    hours: i64,
}

/// What making the reports costs is measured apart and taken off.
struct Fleet {
    hosts: Vec<(HostId, workload::Host)>,
    rng: Rng,
    tick: i64,
}

impl Fleet {
    fn new(hosts: u64) -> Self {
        let host = |number: u64| (HostId::from_parts(1, u128::from(number) + 1), workload::Host::new(number));
        Self { hosts: (0..hosts).map(host).collect(), rng: Rng::with_seed(42), tick: 0 }
    }

    /// All reports of one round.
    fn next(&mut self, interval: i64) -> Vec<Arrival> {
        self.tick += 1;
        let mut arrivals = Vec::new();
        for (number, (id, host)) in (0..).zip(&mut self.hosts) {
            for (place, (collector, facets)) in (0..).zip(host.next()) {
                let phase = number * 7919 % interval;
                let jitter = self.rng.i64(-3..=3) + self.rng.i64(-3..=3);
                let at = Timestamp::from_millis(START + self.tick * interval + phase + place * 2 + jitter);
                arrivals.push(arrival(*id, collector, facets, (self.tick as u64, place as u64), at, interval));
            }
        }
        arrivals
    }
}

fn arrival(
    host: HostId,
    collector: &'static str,
    facets: Vec<Facet>,
    (tick, place): (u64, u64),
    at: Timestamp,
    interval: i64,
) -> Arrival {
    let report = Report {
        host,
        collector: collector.into(),
        position: Position { epoch: 1_790_000_000_000, sequence: tick * 10 + place },
        boot_id: BootId(1),
        moment: Moment { wall: at, boot_millis: (at.millis() - START) as u64 },
        clock_synchronised: true,
        interval_millis: interval as u32,
        scopes: vec![Scope::complete(collector, facets)],
        events: Vec::new(),
    };
    Arrival { outbox: host, report: Arc::new(report), at, received_at: at, quarantined: false, turn: None }
}

impl Run {
    fn measure(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let rounds = self.hours * 3_600_000 / self.interval;
        let readings = self.hosts * rounds as u64 * workload::READINGS as u64;
        println!(
            "{} hosts x 150 readings, every {} s, {} h: {readings} readings",
            self.hosts,
            self.interval / 1000,
            self.hours
        );
        let making = {
            let (mut fleet, before) = (Fleet::new(self.hosts), cpu()?);
            let some = rounds.min(200);
            (0..some).for_each(|_| drop(fleet.next(self.interval)));
            (cpu()? - before).as_nanos() as f64 / (some as u64 * self.hosts * 150) as f64
        };
        let per = |total: f64| total / readings as f64;

        // As fast as it goes, in the time of the readings: a commit has what
        // comes within a second of that.
        let a_second = (self.hosts as i64 * 10_000 / self.interval).clamp(1, 256) as usize;
        let options = Options { commit_batch: a_second, ..Options::default() };
        let store = Store::open(folder, options)?;
        let history = &*store.history;
        let catalogue = Arc::new(workload::catalogue());
        let (wall, before, written_before) = (Instant::now(), cpu()?, written()?);
        self.feed(history, &catalogue, rounds)?;
        let end = Timestamp::from_millis(START + (rounds + 1) * self.interval);
        println!(
            "taken in: {:.0} ns of CPU per reading (making them, {making:.0} ns, taken off), {:.1} s in all; memory {:.1} MB",
            per((cpu()? - before).as_nanos() as f64) - making,
            wall.elapsed().as_secs_f64(),
            resident()?
        );
        print_written("written, a commit a second", written_before, readings)?;
        print_parts(history)?;
        println!("while the newest is in memory:");
        self.ask(history, end)?;

        let (before, start) = (cpu()?, Instant::now());
        let after = end.plus(Duration::from_secs(26 * 3600));
        history.release(history.last_row());
        history.maintain(after)?;
        history.compact(after, &mut |_| {})?;
        println!(
            "sealed and merged: {:.0} ns of CPU per reading more, {:.1} s",
            per((cpu()? - before).as_nanos() as f64),
            start.elapsed().as_secs_f64()
        );
        print_written("written in all", written_before, readings)?;
        print_parts(history)?;
        self.ask(history, end)?;
        println!("memory {:.1} MB", resident()?);
        // Two weeks on, buckets are in their final place; readings are gone.
        for day in 2..=14 {
            history.maintain(end.plus(Duration::from_secs(day * 24 * 3600)))?;
        }
        println!("two weeks later:");
        print_parts(history)?;
        drop(store);
        println!(
            "history.db closed: {:.3} bytes per reading",
            per(std::fs::metadata(folder.join("history.db"))?.len() as f64)
        );
        Ok(())
    }

    fn feed(&self, history: &dyn HistoryStore, catalogue: &Arc<Catalogue>, rounds: i64) -> Result<(), Box<dyn Error>> {
        let failed = Arc::new(AtomicU64::new(0));
        let mut fleet = Fleet::new(self.hosts);
        let mut flying = 0;
        let (mut released, mut cared, mut longest) = (START, START, Duration::ZERO);
        for round in 1..=rounds {
            for arrival in fleet.next(self.interval) {
                let failed = Arc::clone(&failed);
                let on_durable = Box::new(move |result: Result<_, _>| {
                    if result.is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                });
                history.append(arrival, Arc::clone(catalogue), on_durable);
                flying += 1;
                if flying == WINDOW {
                    flying = 0;
                    history.flush()?;
                }
            }
            let now = START + (round + 1) * self.interval;
            if now - released >= RELEASE {
                released = now;
                history.release(history.last_row());
            }
            if now - cared >= MAINTAIN {
                cared = now;
                let start = Instant::now();
                history.maintain(Timestamp::from_millis(now))?;
                longest = longest.max(start.elapsed());
            }
        }
        history.flush()?;
        if failed.load(Ordering::Relaxed) > 0 {
            return Err("some reports could not be written".into());
        }
        println!("longest upkeep: {longest:.1?} (beside the writer)");
        Ok(())
    }

    fn ask(&self, history: &dyn HistoryStore, to: Timestamp) -> Result<(), Box<dyn Error>> {
        let hosts: Vec<HostId> = (0..self.hosts).map(|number| HostId::from_parts(1, u128::from(number) + 1)).collect();
        let from = to.minus(Duration::from_secs(24 * 3600));
        let one = history.find(&hosts[..1], &|kind, _, field| (kind, field) == ("cpu", "usage_ratio"))?;
        let start = Instant::now();
        let all = history.find(&hosts, &|kind, _, field| (kind, field) == ("cpu", "usage_ratio"))?;
        println!("  finding one field of all hosts: {:.1?}", start.elapsed());
        let query = |series: &Vec<_>, step| Query {
            series: series.clone(),
            from,
            to,
            step,
            budget: Budget::points(10_000_000),
        };
        let five_minutes = Some(Duration::from_secs(300));
        for (what, query) in [
            ("one series, 24 h, raw", query(&one, None)),
            ("one series, 24 h by 5 minutes", query(&one, five_minutes)),
            ("one series, 24 h by 1 minute", query(&one, Some(Duration::from_secs(60)))),
            ("one field of all hosts, 24 h by 5 minutes", query(&all, five_minutes)),
        ] {
            let mut times = Vec::new();
            for _ in 0..15 {
                let start = Instant::now();
                history.query(&query)?;
                times.push(start.elapsed());
            }
            times.sort();
            println!("  {what}: minimum {:.1?}, median {:.1?}", times[0], times[times.len() / 2]);
        }
        Ok(())
    }
}

fn print_parts(history: &dyn HistoryStore) -> Result<(), StoreError> {
    let stats = history.stats()?;
    for part in &stats.parts {
        let each = part.bytes as f64 / part.values.max(1) as f64;
        println!(
            "  {:8} {:6} pieces {:>11} values {:>11} bytes, {each:.3} each",
            part.name, part.pieces, part.values, part.bytes
        );
    }
    Ok(())
}

fn print_written(what: &str, (disk, calls): (u64, u64), readings: u64) -> Result<(), Box<dyn Error>> {
    let (disk_now, calls_now) = written()?;
    let per = |bytes: u64| bytes as f64 / readings as f64;
    println!("{what}: {:.2} bytes per reading ({:.2} to the disk)", per(calls_now - calls), per(disk_now - disk));
    Ok(())
}

/// CPU time of this process, from proc(5): user and system time, in ticks of
/// a hundredth of a second.
fn cpu() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no command in /proc/self/stat")?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Bytes this process has written, from proc(5): to the disk, and in calls.
fn written() -> Result<(u64, u64), Box<dyn Error>> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let number = |name: &str| -> Result<u64, Box<dyn Error>> {
        let line = io.lines().find_map(|line| line.strip_prefix(name)).ok_or("a line is missing in /proc/self/io")?;
        Ok(line.trim().parse()?)
    };
    Ok((number("write_bytes:")?, number("wchar:")?))
}

/// Resident memory, in megabytes.
fn resident() -> Result<f64, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split_whitespace().nth(1).ok_or("no second field in /proc/self/statm")?.parse()?;
    Ok(pages * 4096.0 / 1e6)
}
