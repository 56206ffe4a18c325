//! Measures the real programs, as they are shipped, and prints each figure
//! beside its target and the peers' figures.
//!
//! It changes nothing but a folder of its own, talks to loopback only, and ends
//! everything it starts. Nothing here is a test: figures depend on the machine.
//! `docs/benchmarks.md` tells what each figure means and what was found. Start
//! at [`run`]; a module per figure: [`agent`], [`collectors`], [`latency`], [`ingest`], [`history`],
//! [`top`], [`mqtt`].
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

mod agent;
mod big_host;
mod collectors;
mod exporter;
mod fleet;
mod history;
mod http;
mod hub;
mod ingest;
mod latency;
mod machine;
mod mqtt;
mod peers;
mod process;
mod proxy;
mod table;
mod terminal;
mod top;
mod workload;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

use hub::Programs;
use table::{Figure, render};

/// Measure the programs of this repository, beside their peers
#[derive(Debug, Parser)]
struct Options {
    /// What to measure; everything when nothing is said
    what: Vec<What>,
    /// A few seconds of each, to see that it works; the figures mean little
    #[arg(long)]
    quick: bool,
    /// Only with so many agents, where fleets of several sizes are measured
    #[arg(long, value_name = "AGENTS", value_delimiter = ',')]
    fleets: Vec<u64>,
    /// Of the histories only these
    #[arg(long, value_name = "HISTORY", value_delimiter = ',')]
    cases: Vec<Which>,
    /// Where the costs of collectors are written as a page
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Only answer for the generated host in that folder
    #[arg(long, value_name = "FOLDER", hide = true)]
    serve_big_host: Option<PathBuf>,
    /// Where data is kept meanwhile; on a disk, or what is written is not counted
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    work: PathBuf,
    /// The hub
    #[arg(long, value_name = "PROGRAM", default_value = "target/dist/tomte")]
    hub: PathBuf,
    /// The agent
    #[arg(long, value_name = "PROGRAM", default_value = "target/dist-agent/tomte-agent")]
    agent: PathBuf,
    /// The agent as one static binary
    #[arg(long, value_name = "PROGRAM", default_value = "target/x86_64-unknown-linux-musl/dist-agent/tomte-agent")]
    static_agent: PathBuf,
    /// The peer of `tomte top`; figures of another day where it is not there
    #[arg(long, value_name = "PROGRAM", default_value = "btm")]
    bottom: PathBuf,
    /// The agent's peer
    #[arg(long, value_name = "PROGRAM", default_value = "prometheus-node-exporter")]
    node_exporter: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Memory, processor time and bytes of the agent
    Agent,
    /// What each collector costs by itself, here and on a generated host
    Collectors,
    /// From collecting to seeing
    Latency,
    /// What reports cost the hub
    Ingest,
    /// What years of readings cost, and what it takes to ask for them
    History,
    /// What `tomte top` costs
    Top,
    /// What MQTT adds to an agent, and puts on the wire
    Mqtt,
}

/// A history that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// 100 hosts, a day at 30 s, beside the peers
    Day,
    /// The same with rates as agents work them out, over times that jitter
    Jittered,
    /// 100 hosts, a day at 10 s
    TenSeconds,
    /// 10 hosts, a day at 30 s
    TenHosts,
    /// 1,000 hosts, six hours at 30 s
    ThousandHosts,
    /// One host, 30 days at 30 s
    Month,
    /// One host, a year at 30 s
    Year,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(folder) = &options.serve_big_host {
        return big_host::serve(folder);
    }
    // One thread, so that the other processors are left to what is measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> Result<()> {
    let wanted = |what| options.what.is_empty() || options.what.contains(&what);
    println!("{}", machine::describe());
    println!("load before: {}{}", machine::load(), if options.quick { "; QUICK, the figures mean little" } else { "" });
    // Pages of a program that was just built count as its own dirty memory
    // until they are on disk.
    rustix::fs::sync();
    let work = std::path::absolute(&options.work).context("the folder for data")?;
    if wanted(What::Collectors) {
        let size = collectors_size(options.quick);
        collectors::run(&work, size, options.page.as_deref()).await.context("measuring the collectors")?;
    }
    // The collectors are measured within this program; all else needs the others.
    if options.what == [What::Collectors] {
        return Ok(());
    }
    let programs = programs(&options)?;
    if wanted(What::Agent) {
        let size = agent_size(options.quick);
        print(&agent::run(&programs, &work, &size).await.context("measuring the agent")?);
    }
    if wanted(What::Latency) {
        let size = latency_size(options.quick);
        print(&latency::run(&programs, &work, &size).await.context("measuring latency")?);
    }
    if wanted(What::Ingest) {
        let mut size = ingest_size(options.quick);
        if !options.fleets.is_empty() {
            size.fleets.clone_from(&options.fleets);
        }
        print(&ingest::run(&programs, &work, &size).await.context("measuring ingest")?);
    }
    if wanted(What::History) {
        for (which, case) in histories(options.quick) {
            let wanted = options.cases.is_empty() || options.cases.contains(&which);
            if wanted && (options.fleets.is_empty() || options.fleets.contains(&case.hosts)) {
                print(&history::run(&programs, &work, &case).await.context("measuring the history")?);
            }
        }
    }
    if wanted(What::Top) {
        let size = top_size(options.quick);
        print(&top::run(&programs, &options.bottom, &work, &size).await.context("measuring tomte top")?);
    }
    if wanted(What::Mqtt) {
        let size = mqtt_size(options.quick);
        print(&mqtt::run(&programs, &work, &size).await.context("measuring MQTT")?);
    }
    println!("load after: {}", machine::load());
    println!(
        "MB are 1,000,000 bytes. \"recorded\": measured on another day, see docs/benchmarks.md; all else in this run."
    );
    Ok(())
}

fn print(figures: &[Figure]) {
    println!("\n{}\n", render(figures));
}

fn programs(options: &Options) -> Result<Programs> {
    let needed = match options.what.as_slice() {
        // `tomte top` is the hub's program, and shows simulated hosts.
        [What::Top] => vec![&options.hub],
        // Agents alone, without a hub.
        [What::Mqtt] => vec![&options.static_agent],
        _ => vec![&options.hub, &options.agent, &options.static_agent],
    };
    for program in needed {
        if !program.exists() {
            bail!("{} is missing: run `make bench`, which builds it", program.display());
        }
    }
    Ok(Programs {
        hub: std::path::absolute(&options.hub).context("the hub's path")?,
        agent: std::path::absolute(&options.agent).context("the agent's path")?,
        static_agent: std::path::absolute(&options.static_agent).context("the static agent's path")?,
        node_exporter: options.node_exporter.clone(),
    })
}

fn agent_size(quick: bool) -> agent::Size {
    let seconds = Duration::from_secs;
    if quick {
        let pace = Duration::from_millis(50);
        agent::Size { rounds: 100, pace, own_pace_for: seconds(10), rounds_of_each: 20 }
    } else {
        let pace = Duration::from_millis(50);
        agent::Size { rounds: 8_640, pace, own_pace_for: seconds(180), rounds_of_each: 300 }
    }
}

fn collectors_size(quick: bool) -> collectors::Size {
    let milliseconds = Duration::from_millis;
    if quick {
        collectors::Size { runs: 10, enough: milliseconds(50) }
    } else {
        collectors::Size { runs: 400, enough: milliseconds(1_500) }
    }
}

fn latency_size(quick: bool) -> latency::Size {
    let seconds = Duration::from_secs;
    if quick {
        latency::Size { watched: 4, rounds: 4, others: 10, real_for: seconds(10) }
    } else {
        latency::Size { watched: 40, rounds: 60, others: 100, real_for: seconds(180) }
    }
}

fn ingest_size(quick: bool) -> ingest::Size {
    let seconds = Duration::from_secs;
    if quick {
        let fleets = vec![10, 50];
        ingest::Size { fleets, reports: 2_000, paced_for: seconds(4), pace: seconds(2) }
    } else {
        let fleets = vec![10, 25, 100, 1_000];
        ingest::Size { fleets, reports: 60_000, paced_for: seconds(60), pace: seconds(10) }
    }
}

fn top_size(quick: bool) -> top::Size {
    let seconds = Duration::from_secs;
    if quick {
        top::Size { hosts: 5, many: 20, starts: 2, settle: seconds(3), watched_for: seconds(5), keys: 20 }
    } else {
        top::Size { hosts: 25, many: 200, starts: 9, settle: seconds(10), watched_for: seconds(30), keys: 200 }
    }
}

fn mqtt_size(quick: bool) -> mqtt::Size {
    let seconds = Duration::from_secs;
    if quick {
        mqtt::Size { idle: seconds(20), busy: seconds(20) }
    } else {
        // What never changes is said again once in five minutes: so that every
        // value is in it as often as it is in the long run.
        mqtt::Size { idle: seconds(300), busy: seconds(60) }
    }
}

fn histories(quick: bool) -> Vec<(Which, history::Case)> {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let seconds = Duration::from_secs;
    let base = history::Case { hosts: 100, interval: seconds(30), span: hours(24), jittered: false, peers: true };
    if quick {
        return vec![(Which::Day, history::Case { hosts: 10, span: hours(5), ..base })];
    }
    let alone = history::Case { peers: false, ..base.clone() };
    vec![
        (Which::Day, base),
        (Which::Jittered, history::Case { jittered: true, ..alone.clone() }),
        (Which::TenSeconds, history::Case { interval: seconds(10), ..alone.clone() }),
        (Which::TenHosts, history::Case { hosts: 10, ..alone.clone() }),
        (Which::ThousandHosts, history::Case { hosts: 1_000, span: hours(6), ..alone.clone() }),
        (Which::Month, history::Case { hosts: 1, span: hours(30 * 24), ..alone.clone() }),
        (Which::Year, history::Case { hosts: 1, span: hours(365 * 24), ..alone }),
    ]
}
