//! What it costs the hub to take reports in, with few and many agents: at full
//! speed for the processor time, at a steady pace for memory and disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tomte_model::{Catalogue, Moment, Scope};

use crate::fleet::Agent;
use crate::hub::{Hub, Programs, Transport, folder};
use crate::process::Figures;
use crate::table::{Figure, Measure, Peer};
use crate::workload::{self, Host, READINGS};

/// The time in the hosts' lives between two reports at full speed.
const STEP: Duration = Duration::from_secs(30);
/// Reports that bring a connection to its usual state: everything has been
/// described, what follows are deltas.
const WARM_UP: u64 = 3;
/// Reports on their way at once, all agents together.
const ON_THE_WAY: u64 = 2_000;
const DAY: f64 = 86_400.0;

/// How much is done.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    /// Numbers of agents.
    pub(crate) fleets: Vec<u64>,
    /// Reports of all agents together at full speed.
    pub(crate) reports: u64,
    /// How long the steady pace lasts.
    pub(crate) paced_for: Duration,
    /// The interval of the steady pace.
    pub(crate) pace: Duration,
}

/// How a host's readings are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// All 150 in one report.
    Whole,
    /// A report per collector, as agents send them.
    Split,
}

/// Measures every fleet, and prints as it goes.
pub(crate) async fn run(programs: &Programs, work: &Path, size: &Size) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for &agents in &size.fleets {
        figures.extend(full_speed(programs, work, agents, size, Shape::Whole).await?);
    }
    figures.extend(full_speed(programs, work, 100, size, Shape::Split).await?);
    for &agents in &size.fleets {
        figures.extend(paced(programs, work, agents, size).await?);
    }
    Ok(figures)
}

/// A simulated host and its agent.
struct Simulated {
    agent: Agent,
    host: Host,
    shape: Shape,
}

impl Simulated {
    /// Reports what the host's collectors see at that moment.
    async fn report(&mut self, moment: Moment, interval: Duration) -> Result<()> {
        match self.shape {
            Shape::Whole => {
                let scope = self.host.next_whole();
                self.agent.report("bench", moment, interval, scope).await?;
            }
            Shape::Split => {
                for (collector, facets) in self.host.next() {
                    let scope = Scope::complete(collector, facets);
                    self.agent.report(collector, moment, interval, scope).await?;
                }
            }
        }
        Ok(())
    }

    /// Sends reports as fast as they are stored.
    async fn pump(
        &mut self,
        reports: u64,
        window: u64,
        from: Moment,
        step: Duration,
        interval: Duration,
    ) -> Result<()> {
        for index in 0..reports {
            while self.agent.waiting() >= window {
                self.agent.flush().await?;
                self.agent.hear().await?;
            }
            self.report(later(from, step * u32::try_from(index).unwrap_or(u32::MAX)), interval).await?;
        }
        self.agent.flush().await?;
        self.agent.settle().await
    }
}

fn later(moment: Moment, by: Duration) -> Moment {
    let millis = u64::try_from(by.as_millis()).unwrap_or(0);
    // Nobody wakes up to the millisecond.
    let jitter = fastrand::u64(0..6);
    Moment {
        wall: moment.wall.plus(by + Duration::from_millis(jitter)),
        boot_millis: moment.boot_millis + millis + jitter,
    }
}

fn earlier(moment: Moment, by: Duration) -> Moment {
    let millis = u64::try_from(by.as_millis()).unwrap_or(0);
    Moment { wall: moment.wall.minus(by), boot_millis: moment.boot_millis.saturating_sub(millis) }
}

async fn fleet(hub: &Hub, agents: u64, shape: Shape) -> Result<Vec<Simulated>> {
    let catalogue: Arc<Catalogue> = Arc::new(workload::catalogue());
    let mut fleet = Vec::new();
    for number in 0..agents {
        let enrolled = hub.enrol(&format!("bench-{number}")).await?;
        let agent = Agent::connect(hub, &enrolled, Arc::clone(&catalogue)).await?;
        fleet.push(Simulated { agent, host: Host::new(number), shape });
    }
    Ok(fleet)
}

/// Runs the same work on every agent at once; returns the agents.
async fn all<F, W>(fleet: Vec<Simulated>, work: W) -> Result<Vec<Simulated>>
where
    W: Fn(usize, Simulated) -> F,
    F: Future<Output = Result<Simulated>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for (index, simulated) in fleet.into_iter().enumerate() {
        tasks.spawn(work(index, simulated));
    }
    let mut fleet = Vec::new();
    while let Some(done) = tasks.join_next().await {
        fleet.push(done.context("a simulated agent")??);
    }
    Ok(fleet)
}

async fn full_speed(programs: &Programs, work: &Path, agents: u64, size: &Size, shape: Shape) -> Result<Vec<Figure>> {
    let name = match shape {
        Shape::Whole => format!("ingest, {agents} agents, full speed"),
        Shape::Split => format!("ingest, {agents} agents, full speed, a report per collector"),
    };
    eprintln!("{name} …");
    let folder = folder(work, "ingest")?;
    let hub = Hub::start(&programs.hub, folder.path(), Transport::Plain).await?;
    let fleet = fleet(&hub, agents, shape).await?;
    let each = (size.reports / agents).max(2);
    let window = (ON_THE_WAY / agents).clamp(2, 200) * if shape == Shape::Split { 10 } else { 1 };
    let begin = earlier(Agent::now(), STEP * u32::try_from(each + WARM_UP + 1)?);
    let fleet = all(fleet, move |_, mut simulated| async move {
        simulated.pump(WARM_UP, window, begin, STEP, STEP).await?;
        Ok(simulated)
    })
    .await?;

    let sent = |fleet: &[Simulated]| fleet.iter().map(|s| s.agent.sent_bytes).sum::<u64>();
    let (sent_before, before, begun) = (sent(&fleet), hub.figures()?, Instant::now());
    let from = later(begin, STEP * u32::try_from(WARM_UP)?);
    let fleet = all(fleet, move |_, mut simulated| async move {
        simulated.pump(each, window, from, STEP, STEP).await?;
        Ok(simulated)
    })
    .await?;
    let (took, after) = (begun.elapsed(), hub.figures()?);
    let readings = (agents * each) as f64 * READINGS as f64;
    let reports = (agents * each) as f64;
    eprintln!(
        "  {readings:.0} readings stored and acknowledged in {:.1} s: {:.0} a second; {} threads; disk {:.2} bytes a reading before sealing",
        took.as_secs_f64(),
        readings / took.as_secs_f64(),
        after.threads,
        folder_size(&folder.path().join("hub")) as f64 / readings,
    );
    let cpu = (after.cpu - before.cpu).as_secs_f64() / readings;
    let mut figures = vec![
        Figure::new(format!("{name}: CPU of the hub per reading"), Measure::Nanoseconds, cpu)
            .target(300e-9)
            .beside(Peer::recorded("VictoriaMetrics", 628e-9))
            .beside(Peer::recorded("Prometheus", 2_072e-9)),
        Figure::new(
            format!("{name}: written to disk per reading"),
            Measure::Bytes,
            (after.written - before.written) as f64 / readings,
        ),
    ];
    figures.extend(memory(&name, &after, None));
    if shape == Shape::Whole {
        let bytes = (sent(&fleet) - sent_before) as f64 / reports;
        figures.push(
            Figure::new(format!("{name}: bytes of a report on the wire"), Measure::Bytes, bytes)
                .target(250.0)
                .beside(Peer::recorded("zabbix_agent2, 47 items", 800.0))
                .beside(Peer::recorded("collectd", 5_060.0)),
        );
    }
    drop((fleet, hub));
    Ok(figures)
}

async fn paced(programs: &Programs, work: &Path, agents: u64, size: &Size) -> Result<Vec<Figure>> {
    let name = format!("ingest, {agents} agents, every {} s", size.pace.as_secs());
    eprintln!("{name}, for {} s …", size.paced_for.as_secs());
    let pace = size.pace;
    let folder = folder(work, "paced")?;
    let hub = Hub::start(&programs.hub, folder.path(), Transport::Plain).await?;
    let fleet = fleet(&hub, agents, Shape::Split).await?;
    let begin = Agent::now();
    let fleet = all(fleet, move |_, mut simulated| async move {
        simulated.pump(WARM_UP, 100, begin, Duration::from_millis(10), pace).await?;
        Ok(simulated)
    })
    .await?;

    let live = |fleet, rounds: u32| {
        let begun = Instant::now();
        all(fleet, move |index, mut simulated: Simulated| async move {
            // Each at its own place in the interval, as real ones.
            let phase = pace.mul_f64(index as f64 / agents as f64);
            for round in 0..rounds {
                simulated.agent.idle_until(begun + phase + pace * round).await?;
                simulated.report(Agent::now(), pace).await?;
                simulated.agent.flush().await?;
            }
            simulated.agent.idle_until(begun + pace * rounds).await?;
            Ok(simulated)
        })
    };
    // What the beginning cost is written meanwhile.
    let fleet = live(fleet, 2).await?;
    let rounds = u32::try_from((size.paced_for.as_millis() / pace.as_millis()).max(1))?;
    let before = hub.figures()?;
    let begun = Instant::now();
    let fleet = live(fleet, rounds).await?;
    let (took, after) = (begun.elapsed().as_secs_f64(), hub.figures()?);
    let busy = (after.cpu - before.cpu).as_secs_f64();
    let per_day = (after.written - before.written) as f64 / took * DAY;
    let target = (agents == 100).then_some(60e6);
    let mut figures = memory(&name, &after, target);
    figures.push(Figure::new(format!("{name}: CPU of the hub"), Measure::Share, busy / took));
    figures.push(Figure::new(format!("{name}: written to disk a day"), Measure::Megabytes, per_day));
    drop((fleet, hub));
    Ok(figures)
}

fn memory(name: &str, figures: &Figures, target: Option<f64>) -> Vec<Figure> {
    let resident = Figure::new(format!("{name}: hub memory, RSS"), Measure::Megabytes, figures.resident as f64);
    let resident = match target {
        Some(target) => resident
            .target(target)
            .beside(Peer::recorded("VictoriaMetrics", 106e6))
            .beside(Peer::recorded("Prometheus", 150e6)),
        None => resident,
    };
    let dirty = Figure::new(format!("{name}: private dirty"), Measure::Megabytes, figures.private_dirty as f64);
    let dirty = match target {
        Some(_) => dirty.beside(Peer::recorded("VictoriaMetrics", 93e6)).beside(Peer::recorded("Prometheus", 108e6)),
        None => dirty,
    };
    vec![resident, dirty, Figure::new(format!("{name}: peak RSS"), Measure::Megabytes, figures.peak as f64)]
}

fn folder_size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
}
