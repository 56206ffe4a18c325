//! What each collector costs by itself, on this machine and on a generated one
//! that is larger than most: processor time, time, memory, programs started.
//!
//! Here the collectors run within this program, so that nothing else is
//! measured with them: what the agent adds (judging, sending) is [`crate::agent`]'s.
//! The generated host's tools are files that hold what they would print; their
//! own processor time is told for this machine, where they are real.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets};
use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};
use tomte_collect::{
    COLLECTORS, CollectorDef, Ran, RecordedTools, Root, Settings, SystemTools, Tier, ToolCall, ToolError, Tools,
};
use tomte_model::{Moment, Outcome, Scope, Timestamp};

use crate::big_host;
use crate::hub::folder;
use crate::machine;
use crate::process::{Running, children_cpu};

/// Counts what is reserved; the smallest part of what is measured.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The budget of the fast tier, for one collection.
const FAST: f64 = 0.3e-3;
/// And what each container, unit or guest that is watched may add to it.
const FAST_EACH: f64 = 30e-6;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Runs of a collector beside its first, at most.
    pub(crate) runs: u32,
    /// No further run begins after so long; but two there are.
    pub(crate) enough: Duration,
}

/// What runs of a collector took; of one run, in the mean.
struct Cost {
    def: &'static CollectorDef,
    resources: usize,
    first_cpu: f64,
    cpu: f64,
    wall: f64,
    /// Programs that a usual run starts, and those that the first one does.
    programs: (f64, u64),
    programs_cpu: f64,
    /// Bytes that a run needs while it lasts, and those that are kept after it.
    peak: usize,
    kept: usize,
    /// Why there is nothing to tell.
    absent: Option<String>,
}

/// Measures, prints, and writes the page where one is wanted.
pub(crate) async fn run(work: &Path, size: Size, page: Option<&Path>) -> Result<()> {
    let here = host(
        &Root::system(),
        Arc::new(SystemTools::default()),
        size,
        tomte_model::Clock::now(&tomte_collect::SystemClock).wall,
    );
    println!("\n{}\n", table(&here));
    let folder = folder(work, "big-host")?;
    big_host::make(folder.path())?;
    let mut serve = Command::new(std::env::current_exe().context("this very program")?);
    serve.arg("--serve-big-host").arg(folder.path());
    let mut server = Running::start(serve, work.join("big-host.log"))?;
    while !big_host::is_served(folder.path()) {
        server.check()?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let tools = Arc::new(RecordedTools::new(folder.path().join("tools")));
    // Written a moment ago, and not to be written back meanwhile.
    rustix::fs::sync();
    let big = host(&Root::new(folder.path()), tools, size, Timestamp::from_millis(big_host::NOW * 1000));
    drop(server);
    println!("\n{}\n", table(&big));
    if let Some(page) = page {
        fs::write(page, self::page(&here, &big)).with_context(|| format!("writing {}", page.display()))?;
        println!("{} was written", page.display());
    }
    // What could not be read there was not measured either.
    let is_missed = |cost: &&Cost| cost.absent.is_some() && !NOT_GENERATED.contains(&cost.def.name);
    let absent: Vec<_> = big.iter().filter(is_missed).map(|cost| cost.def.name).collect();
    if !absent.is_empty() {
        bail!("the generated host did not answer these collectors: {}", absent.join(", "));
    }
    Ok(())
}

/// What it takes a configuration to have.
const NOT_GENERATED: [&str; 2] = ["backup", "backup_check"];

fn host(root: &Root, tools: Arc<dyn Tools>, size: Size, wall: Timestamp) -> Vec<Cost> {
    let tools = Arc::new(Counted { tools, runs: AtomicU64::new(0) });
    let root = root.clone().with_tools(tools.clone());
    // The agent has them once, for all collectors.
    let settings = Settings::default();
    COLLECTORS.iter().map(|def| cost(def, (&root, &settings), &tools, size, wall)).collect()
}

fn cost(
    def: &'static CollectorDef,
    (root, settings): (&Root, &Settings),
    tools: &Counted,
    size: Size,
    wall: Timestamp,
) -> Cost {
    eprintln!("  {} …", def.name);
    let interval = def.interval.unwrap_or_else(|| def.tier.interval());
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let mut collector = (def.make)(root, settings);
    // Its own pace, as far as it can tell, so that what it does seldom is spread.
    let mut boot_millis = 1_000_000;
    let mut round = |collector: &mut dyn tomte_collect::Collector| {
        boot_millis += interval.as_millis() as u64;
        collector.collect(Moment { wall, boot_millis })
    };
    let began = cpu_time();
    let scopes = round(collector.as_mut());
    let first_cpu = (cpu_time() - began).as_secs_f64();
    let first_programs = tools.runs.swap(0, Ordering::Relaxed);
    let absent = why_absent(&scopes);
    let count = |scopes: &[Scope]| scopes.iter().map(|scope| scope.facets.len()).sum();
    let mut resources: usize = count(&scopes);
    drop(scopes);
    let first_peak = MEMORY.peak_usage();
    let began_programs = children_cpu();
    MEMORY.reset_peak_usage();
    let (began, began_wall) = (cpu_time(), Instant::now());
    let mut runs = 0;
    while runs < size.runs && (runs < 2 || began_wall.elapsed() < size.enough) {
        // Some learn of a large host in several runs.
        resources = resources.max(count(&round(collector.as_mut())));
        runs += 1;
    }
    let (cpu, wall, peak) = (cpu_time() - began, began_wall.elapsed(), MEMORY.peak_usage().max(first_peak));
    let kept = MEMORY.current_usage().saturating_sub(before);
    let each = |all: f64| all / f64::from(runs);
    Cost {
        def,
        resources,
        first_cpu,
        cpu: each(cpu.as_secs_f64()),
        wall: each(wall.as_secs_f64()),
        programs: (each(tools.runs.swap(0, Ordering::Relaxed) as f64), first_programs),
        programs_cpu: each(children_cpu().saturating_sub(began_programs).as_secs_f64()),
        peak: peak.saturating_sub(before),
        kept,
        absent,
    }
}

/// Of all threads of this program.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Where not one scope could be read: why.
fn why_absent(scopes: &[Scope]) -> Option<String> {
    if scopes.iter().any(|scope| scope.outcome.is_complete()) {
        return None;
    }
    let word = scopes.iter().find_map(|scope| match &scope.outcome {
        Outcome::Unavailable { error } => Some(error.clone()),
        Outcome::Denied { error, .. } => Some(format!("denied: {error}")),
        Outcome::Failed { error } => Some(format!("failed: {error}")),
        _ => None,
    });
    Some(word.unwrap_or_default())
}

/// Tools whose calls are counted.
#[derive(Debug)]
struct Counted {
    tools: Arc<dyn Tools>,
    runs: AtomicU64,
}

impl Tools for Counted {
    fn run(&self, call: &ToolCall) -> Result<Ran, ToolError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.tools.run(call)
    }
    fn has(&self, program: &str) -> bool {
        self.tools.has(program)
    }
}

fn table(costs: &[Cost]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "collector",
        "every",
        "resources",
        "CPU, first",
        "CPU",
        "wall",
        "programs",
        "their CPU",
        "memory, peak",
        "kept",
    ]);
    for cost in costs {
        let interval = cost.def.interval.unwrap_or_else(|| cost.def.tier.interval());
        let mut row = vec![cost.def.name.to_owned(), format!("{} s", interval.as_secs())];
        row.extend(match &cost.absent {
            Some(_) => vec!["-".to_owned(), String::new(), millis(cost.cpu)],
            None => vec![
                cost.resources.to_string(),
                millis(cost.first_cpu),
                millis(cost.cpu),
                millis(cost.wall),
                programs(cost),
                if cost.programs_cpu > 0.0 { millis(cost.programs_cpu) } else { String::new() },
                kilobytes(cost.peak),
                kilobytes(cost.kept),
            ],
        });
        row.resize(10, String::new());
        table.add_row(row);
    }
    let fast = costs.iter().filter(|cost| cost.def.tier == Tier::Fast);
    let sum: f64 = fast.clone().map(|cost| cost.cpu).sum();
    let (budget, watched) = budget(costs);
    let verdict = if sum <= budget { "within" } else { "OVER" };
    let each_day: f64 = costs
        .iter()
        .map(|cost| {
            let interval = cost.def.interval.unwrap_or_else(|| cost.def.tier.interval());
            (cost.cpu + cost.programs_cpu) * 86_400.0 / interval.as_secs_f64()
        })
        .sum();
    let mut text = table.to_string();
    let _ = write!(
        text,
        "\n\nThe fast tier together: {} each time, {verdict} the budget of {} (0.3 ms and 30 µs each with {watched} containers, units and guests \
         watched). All collectors and their programs, for a day: {each_day:.1} s of processor time, {:.3} % of one core.",
        millis(sum),
        millis(budget),
        each_day / 864.0,
    );
    text
}

/// What the fast tier may cost there, and how many it watches.
fn budget(costs: &[Cost]) -> (f64, usize) {
    let watched = costs.iter().filter(|cost| ["systemd", "container", "guest"].contains(&cost.def.name));
    let watched: usize = watched.map(|cost| cost.resources).sum();
    (FAST + FAST_EACH * watched as f64, watched)
}

fn programs(cost: &Cost) -> String {
    match cost.programs {
        (usual, first) if (usual - first as f64).abs() < 0.05 => {
            if first == 0 {
                String::new()
            } else {
                first.to_string()
            }
        }
        (usual, first) => format!("{usual:.1} (first {first})"),
    }
}

fn millis(seconds: f64) -> String {
    let millis = seconds * 1e3;
    match millis {
        m if m >= 100.0 => format!("{m:.0} ms"),
        m if m >= 1.0 => format!("{m:.1} ms"),
        m => format!("{m:.3} ms"),
    }
}

fn kilobytes(bytes: usize) -> String {
    format!("{:.0} kB", bytes as f64 / 1e3)
}

fn page(here: &[Cost], big: &[Cost]) -> String {
    let absent: String = here
        .iter()
        .filter_map(|cost| Some(format!("- `{}`: {}\n", cost.def.name, cost.absent.as_ref()?.replace('\n', " "))))
        .collect();
    format!(
        "# What collectors cost\n\n\
        <!-- Written by `make costs`. Figures depend on the machine. -->\n\n\
        `make costs` measures every collector by itself and writes this page: first on the machine it runs on, as root, then on a \
        generated host that is larger than most: {} disks, {} services, {} containers, {} guests, {} ZFS snapshots, {} processes.\n\n\
        - *CPU, first*: of the first run, which learns what there is. *CPU*, *wall*: of a run after that, in the mean, what is done seldom \
        (once a minute, once an hour) in its share. User and kernel together.\n\
        - *programs*: programs of others that a run starts, and *their CPU*. The generated host has none to run: what they would print is in \
        files, so that only reading them is measured there.\n\
        - *memory*: on the heap, while a run lasts, and afterwards. MB and kB are of 1,000.\n\
        - A dash: not on this host, and then *CPU* is what it takes to see that.\n\n\
        ## This machine\n\n{}.\n\n{}\n\nNot on it:\n\n{absent}\n\
        ## The generated host\n\n{}\n",
        big_host::DISKS,
        big_host::UNITS,
        big_host::CONTAINERS,
        big_host::GUESTS,
        big_host::SNAPSHOTS,
        big_host::PROCESSES,
        machine::describe(),
        table(here),
        table(big),
    )
}
