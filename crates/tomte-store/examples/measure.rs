//! Prints what the store costs: CPU and bytes per reading taken in, the size
//! on disk, and how long queries take. Run it with
//! `cargo run --release -p tomte-store --example measure -- [HOSTS] [TICKS]`;
//! a tick is ten seconds of a host's life.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tomte_model::catalogue::{FacetDef, FieldDef, KindDef};
use tomte_model::{
    BootId, Catalogue, Facet, HostId, Moment, Position, Report, Resolution, ResourceKey, Scope, Timestamp, Unit,
};
use tomte_store::history::SeriesKey;
use tomte_store::{Arrival, Budget, Options, Query, Store};

const COLLECTORS: usize = 10;
const FIELDS: usize = 15;
const START: i64 = 1_790_000_000_000;
const TICK: i64 = 10_000;
/// Reports in flight, as a hub would allow.
const WINDOW: usize = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let hosts = arguments.next().transpose()?.unwrap_or(10);
    let ticks = arguments.next().transpose()?.unwrap_or(8_640);
    let folder = std::env::temp_dir().join(format!("tomte-store-measure-{}", std::process::id()));
    let result = measure(&folder, hosts, ticks);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn measure(folder: &std::path::Path, hosts: u64, ticks: u64) -> Result<(), Box<dyn Error>> {
    let store = Store::open(folder, Options::default())?;
    let catalogue = catalogue();
    let readings = hosts * ticks * (COLLECTORS * FIELDS) as u64;
    println!("{hosts} hosts x {COLLECTORS} collectors x {FIELDS} readings x {ticks} ticks = {readings} readings");

    let (wall, cpu, written) = (Instant::now(), cpu()?, written()?);
    let (durable, told) = mpsc::channel();
    let mut flying = 0;
    for tick in 1..=ticks {
        for host in 0..hosts {
            for collector in 0..COLLECTORS {
                let durable = durable.clone();
                let arrival = arrival(host, collector, tick);
                let on_durable = Box::new(move |result: Result<_, _>| drop(durable.send(result.map(|_| ()))));
                store.history.append(arrival, Arc::clone(&catalogue), on_durable);
                flying += 1;
                while flying >= WINDOW {
                    told.recv()??;
                    flying -= 1;
                }
            }
        }
        // As a hub does: say what is covered, have it filed, now and then.
        if tick % 90 == 0 {
            store.history.release(store.history.last_row());
            store.history.maintain(at(tick))?;
        }
    }
    while flying > 0 {
        told.recv()??;
        flying -= 1;
    }
    store.history.release(store.history.last_row());
    store.history.maintain(at(ticks).plus(Duration::from_secs(900)))?;
    let per = |total: f64| total / readings as f64;
    let stats = store.history.stats()?;
    println!(
        "taken in: {:.0} ns of CPU per reading (making the reports included), {:.1} s in all",
        per((self::cpu()? - cpu).as_nanos() as f64),
        wall.elapsed().as_secs_f64()
    );
    println!("on disk: {:.2} bytes per reading, {} waiting", per(stats.bytes as f64), stats.waiting);
    println!("written: {:.2} bytes per reading", per((self::written()? - written) as f64));

    let one =
        |host: u64| SeriesKey { host: host_id(host), resource: ResourceKey::new("measured", "c3"), field: "f3".into() };
    let all: Vec<SeriesKey> = (0..hosts).map(one).collect();
    let (from, to) = (at(0), at(ticks + 1));
    let query = |series: &[SeriesKey], step| Query {
        series: series.to_vec(),
        from,
        to,
        step,
        budget: Budget::points(10_000_000),
    };
    let five_minutes = Some(Duration::from_secs(300));
    for (what, query) in [
        ("one series, raw", query(&all[..1], None)),
        ("one series, by 5 minutes", query(&all[..1], five_minutes)),
        ("one field of all hosts, by 5 minutes", query(&all, five_minutes)),
    ] {
        let mut times = Vec::new();
        for _ in 0..9 {
            let start = Instant::now();
            store.history.query(&query)?;
            times.push(start.elapsed());
        }
        times.sort();
        println!("{what}: minimum {:.2?}, median {:.2?}", times[0], times[times.len() / 2]);
    }
    Ok(())
}

fn at(tick: u64) -> Timestamp {
    Timestamp::from_millis(START + tick as i64 * TICK)
}

fn host_id(host: u64) -> HostId {
    HostId::from_parts(1, u128::from(host) + 1)
}

/// Values that wander: rates, ratios, temperatures.
fn arrival(host: u64, collector: usize, tick: u64) -> Arrival {
    let mut facet = Facet::owner("measured", format!("c{collector}"), "main");
    for field in 0..FIELDS {
        let noise = (tick.wrapping_mul(0x9E37_79B9) ^ (host << 7) ^ (collector * FIELDS + field) as u64)
            .wrapping_mul(0x2545_F491_4F6C_DD1D)
            >> 40;
        let value = 0.3 + (tick as f64 / 400.0).sin() * 0.2 + noise as f64 / f64::from(1 << 24) * 0.02;
        facet.read(format!("f{field}"), Resolution::BASIS_POINT.round(value));
    }
    let report = Report {
        host: host_id(host),
        collector: format!("collector-{collector}").into(),
        position: Position { epoch: 1, sequence: tick * COLLECTORS as u64 + collector as u64 },
        boot_id: BootId(1),
        moment: Moment { wall: at(tick), boot_millis: tick * TICK as u64 },
        clock_synchronised: true,
        interval_millis: TICK as u32,
        scopes: vec![Scope::complete("all", vec![facet])],
        events: Vec::new(),
    };
    Arrival { outbox: report.host, report: Arc::new(report), at: at(tick), received_at: at(tick), quarantined: false }
}

fn catalogue() -> Arc<Catalogue> {
    let field = |field: usize| {
        let mut def = FieldDef::new("main", "", Unit::Ratio, Resolution::BASIS_POINT, "A number to measure with.");
        def.name = format!("f{field}").into();
        def
    };
    let mut catalogue = Catalogue::builtin();
    catalogue.describe(KindDef {
        name: "measured".into(),
        help: "Something to measure with.".into(),
        key: "By number.".into(),
        facets: vec![FacetDef { name: "main".into(), owner: true }].into(),
        fields: (0..FIELDS).map(field).collect::<Vec<_>>().into(),
        attributes: Vec::new().into(),
        tables: Vec::new().into(),
    });
    Arc::new(catalogue)
}

/// CPU time of this process, from proc(5): user and system time, in ticks of
/// a hundredth of a second.
fn cpu() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no command in /proc/self/stat")?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Bytes this process has written, from proc(5).
fn written() -> Result<u64, Box<dyn Error>> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).ok_or("no wchar in /proc/self/io")?;
    Ok(line.trim().parse()?)
}
