//! The agent on this very machine: memory, processor time and bytes after a
//! day's worth of collections, beside node_exporter at the same pace.
//!
//! The day is compressed: the hub asks the agent for each round, and for the
//! rarer collectors as often as they would run beside so many fast rounds.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tomte_api::history::HistoryQuery;
use tomte_api::host::Presence;
use tomte_collect::{COLLECTORS, CollectorDef, Tier};

use crate::exporter::Exporter;
use crate::hub::{Hub, Programs, Transport, folder};
use crate::process::{Figures, Running};
use crate::proxy::Proxy;
use crate::table::{Figure, Measure, Peer};

const PATIENCE: Duration = Duration::from_secs(30);
/// What the last round needs to arrive.
const SETTLE: Duration = Duration::from_secs(3);
/// The pace at which single collectors are looked at.
const CLOSE_LOOK: Duration = Duration::from_millis(20);

/// How much is done.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    /// Fast rounds; 8,640 are a day.
    pub(crate) rounds: u32,
    /// How far they are apart.
    pub(crate) pace: Duration,
    /// How long the agents are then left to their own pace.
    pub(crate) own_pace_for: Duration,
    /// Rounds of each collector alone.
    pub(crate) rounds_of_each: u32,
}

/// A real agent, enrolled at a hub by way of a counting proxy.
pub(crate) struct Agent {
    process: Running,
    proxy: Proxy,
    /// Its host's name.
    pub(crate) name: String,
}

impl Agent {
    /// Enrols and starts one; `config` is what its file says beside the hub.
    pub(crate) async fn start(program: &Path, hub: &Hub, work: &Path, name: &str, config: &str) -> Result<Self> {
        let proxy = Proxy::start(hub.address()).await?;
        let file = work.join(format!("{name}.toml"));
        std::fs::write(&file, config).with_context(|| format!("writing {}", file.display()))?;
        let mut enroll = Command::new(program);
        enroll.arg("enroll").arg(hub.url(proxy.address)).arg("--code").arg(hub.code(name).await?);
        enroll.arg("--config").arg(&file);
        // Not on this thread, which serves the proxy.
        let output = tokio::task::spawn_blocking(move || enroll.output()).await.context("the thread")?;
        let output = output.with_context(|| format!("starting {}", program.display()))?;
        if !output.status.success() {
            bail!("{name} cannot enrol: {}", String::from_utf8_lossy(&output.stderr));
        }
        let mut run = Command::new(program);
        run.arg("run").arg("--config").arg(&file);
        let mut process = Running::start(run, work.join(format!("{name}.log")))?;
        let begun = Instant::now();
        while hub.admin.host(name).await.map_or(Presence::Never, |host| host.presence) != Presence::Online
            || hub.admin.host_resources(name, Some("load")).await.is_ok_and(|resources| resources.is_empty())
        {
            process.check()?;
            if begun.elapsed() > PATIENCE {
                bail!("{name} does not report; it said:\n{}", process.said());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(Self { process, proxy, name: name.to_owned() })
    }
}

/// The programs side by side.
struct Bench {
    hub: Hub,
    /// The build that distributions use, and the static one.
    agents: [Agent; 2],
    exporter: Exporter,
}

/// One moment of all of them.
struct Moment {
    agents: [(Figures, Duration, u64); 2],
    exporter: (Figures, u64),
}

impl Bench {
    /// Asks both agents for collectors, and waits until they were asked.
    async fn ask(&self, collectors: &[&str]) -> Result<()> {
        let names = || collectors.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for agent in &self.agents {
            self.hub.admin.refresh(&agent.name, names()).await.context("asking an agent to read")?;
        }
        Ok(())
    }

    fn moment(&self) -> Result<Moment> {
        let [a, b] = &self.agents;
        let look = |agent: &Agent| -> Result<_> {
            Ok((agent.process.figures()?, agent.process.precise_cpu()?, agent.proxy.bytes().0))
        };
        Ok(Moment { agents: [look(a)?, look(b)?], exporter: (self.exporter.figures()?, self.exporter.bytes().1) })
    }

    /// How often each agent looked at the load since a time.
    async fn collections(&self, since: i64) -> Result<[f64; 2]> {
        let mut counts = [0.0; 2];
        for (count, agent) in counts.iter_mut().zip(&self.agents) {
            let series = vec![format!("{}/load:load/load1", agent.name)];
            let query = HistoryQuery { series, from: Some(since.to_string()), ..HistoryQuery::default() };
            let history = self.hub.admin.history(&query).await.context("counting collections")?;
            *count = history.series.iter().filter_map(|s| s.t.as_ref()).map(Vec::len).sum::<usize>() as f64;
        }
        Ok(counts)
    }

    /// Readings of the fast tier, and all of them.
    async fn readings(&self) -> Result<(usize, usize)> {
        let resources = self.hub.admin.host_resources(&self.agents[0].name, None).await.context("the readings")?;
        let fast = |kind: &str| COLLECTORS.iter().any(|def| def.tier == Tier::Fast && def.scopes.contains(&kind));
        let count = |only_fast: bool| {
            resources.iter().filter(|r| !only_fast || fast(&r.kind)).map(|r| r.readings.len()).sum::<usize>()
        };
        Ok((count(true), count(false)))
    }
}

/// How many fast rounds apart a collector runs.
fn every(def: &CollectorDef) -> u32 {
    let interval = def.interval.unwrap_or_else(|| def.tier.interval());
    (interval.as_secs_f64() / Tier::Fast.interval().as_secs_f64()).round().max(1.0) as u32
}

/// Measures, and prints as it goes.
pub(crate) async fn run(programs: &Programs, work: &Path, size: &Size) -> Result<Vec<Figure>> {
    eprintln!(
        "agents and node_exporter: {} fast rounds, {} ms apart, about {:.0} s …",
        size.rounds,
        size.pace.as_millis(),
        (size.pace * size.rounds).as_secs_f64()
    );
    let folder = folder(work, "agent")?;
    let hub = Hub::start(&programs.hub, folder.path(), Transport::Tls).await?;
    let glibc = Agent::start(&programs.agent, &hub, folder.path(), "glibc", "").await?;
    let musl = Agent::start(&programs.static_agent, &hub, folder.path(), "musl", "").await?;
    let exporter = Exporter::start(&programs.node_exporter, folder.path()).await?;
    let mut bench = Bench { hub, agents: [glibc, musl], exporter };
    let samples = bench.exporter.samples().await?;
    let (fast, all) = bench.readings().await?;
    eprintln!("  a fast round has about {fast} readings ({all} with all collectors), a scrape {samples} samples");

    let mut figures = day(&mut bench, size).await?;
    figures.extend(own_pace(&mut bench, size).await?);
    figures.extend(one_by_one(&bench, size).await?);
    eprintln!("  optional parts that add to this: none in this version");
    Ok(figures)
}

const NAMES: [&str; 2] = ["glibc", "static musl"];

async fn day(bench: &mut Bench, size: &Size) -> Result<Vec<Figure>> {
    sleep(SETTLE).await;
    let since = now();
    let before = bench.moment()?;
    let mut ticks = interval(size.pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0..size.rounds {
        ticks.tick().await;
        let due: Vec<&str> =
            COLLECTORS.iter().filter(|def| round.is_multiple_of(every(def))).map(|def| def.name).collect();
        bench.ask(&due).await?;
        bench.exporter.scrape().await?;
    }
    sleep(SETTLE).await;
    let after = bench.moment()?;
    let collections = bench.collections(since).await?;
    eprintln!("  collections that arrived: glibc {}, musl {}", collections[0], collections[1]);

    let mut figures = Vec::new();
    let peer = |value: u64| Peer::measured("node_exporter", value as f64);
    let exporter = &after.exporter.0;
    let targets = [(4e6, "glibc"), (3e6, "static musl")];
    let after_a_day = format!("after {} collections", size.rounds);
    for ((target, name), (now, ..)) in targets.into_iter().zip(&after.agents) {
        figures.extend([
            Figure::new(format!("agent, {name}: RSS {after_a_day}"), Measure::Megabytes, now.resident as f64)
                .target(target)
                .beside(peer(exporter.resident))
                .beside(Peer::recorded("collectd", 3.9e6)),
            Figure::new(format!("agent, {name}: PSS"), Measure::Megabytes, now.proportional as f64)
                .beside(peer(exporter.proportional))
                .beside(Peer::recorded("collectd", 1.5e6)),
            Figure::new(format!("agent, {name}: private dirty"), Measure::Megabytes, now.private_dirty as f64)
                .target(0.5e6)
                .beside(peer(exporter.private_dirty))
                .beside(Peer::recorded("collectd", 1.3e6)),
            Figure::new(format!("agent, {name}: peak RSS"), Measure::Megabytes, now.peak as f64)
                .beside(peer(exporter.peak)),
            Figure::new(format!("agent, {name}: threads"), Measure::Count, now.threads as f64)
                .beside(peer(exporter.threads)),
        ]);
    }
    let scrapes = f64::from(size.rounds);
    let exporter_cpu = (after.exporter.0.cpu - before.exporter.0.cpu).as_secs_f64() / scrapes;
    for index in 0..2 {
        let cpu = (after.agents[index].0.cpu - before.agents[index].0.cpu).as_secs_f64() / collections[index].max(1.0);
        let what = format!("agent, {}: CPU per fast collection, the rarer collectors included", NAMES[index]);
        figures.push(
            Figure::new(what, Measure::Milliseconds, cpu)
                .target(0.3e-3)
                .beside(Peer::measured("node_exporter", exporter_cpu))
                .beside(Peer::recorded("bottom", 5.6e-3)),
        );
    }
    Ok(figures)
}

async fn own_pace(bench: &mut Bench, size: &Size) -> Result<Vec<Figure>> {
    eprintln!("agents at their own pace of 10 s, for {} s …", size.own_pace_for.as_secs());
    let pace = Tier::Fast.interval();
    let rounds = (size.own_pace_for.as_secs_f64() / pace.as_secs_f64()).round().max(1.0);
    let before = bench.moment()?;
    let mut ticks = interval(pace);
    for _ in 0..rounds as u32 {
        ticks.tick().await;
        bench.exporter.scrape().await?;
    }
    sleep(pace).await;
    let after = bench.moment()?;
    let scraped = (after.exporter.1 - before.exporter.1) as f64 / rounds;
    let exporter = (after.exporter.0.cpu - before.exporter.0.cpu).as_secs_f64() / rounds;
    let mut figures = Vec::new();
    for ((name, before), after) in NAMES.iter().zip(&before.agents).zip(&after.agents) {
        figures.push(
            Figure::new(
                format!("agent, {}: CPU per 10 s at its own pace, heartbeats and all included", name),
                Measure::Milliseconds,
                after.1.saturating_sub(before.1).as_secs_f64() / rounds,
            )
            .beside(Peer::measured("node_exporter", exporter)),
        );
        figures.push(
            Figure::new(
                format!("agent, {}: bytes sent per 10 s, TLS and heartbeats and all included", name),
                Measure::Bytes,
                (after.2 - before.2) as f64 / rounds,
            )
            .beside(Peer::measured("node_exporter, gzip", scraped))
            .beside(Peer::recorded("collectd", 5_060.0))
            .beside(Peer::recorded("zabbix_agent2, 47 items", 800.0)),
        );
    }
    Ok(figures)
}

/// Prints where the time goes: each collector alone.
async fn one_by_one(bench: &Bench, size: &Size) -> Result<Vec<Figure>> {
    eprintln!("what each collector takes by itself ({} rounds each), in ms: glibc, musl", size.rounds_of_each);
    let fast: Vec<&str> = COLLECTORS.iter().filter(|def| def.tier == Tier::Fast).map(|def| def.name).collect();
    // A name that no collector has costs what being asked costs.
    let asked = alone(bench, size, &["none"]).await?;
    eprintln!(
        "  {:<16} {:>7.3} {:>7.3}   (of the hub, which is no part of a usual day)",
        "being asked", asked[0], asked[1]
    );
    let net = |taken: [f64; 2]| [taken[0] - asked[0], taken[1] - asked[1]];
    let all = net(alone(bench, size, &fast).await?);
    eprintln!("  {:<16} {:>7.3} {:>7.3}   (together, without being asked)", "the fast tier", all[0], all[1]);
    for def in COLLECTORS {
        let taken = net(alone(bench, size, &[def.name]).await?);
        let interval = def.interval.unwrap_or_else(|| def.tier.interval());
        eprintln!("  {:<16} {:>7.3} {:>7.3}   (every {} s)", def.name, taken[0], taken[1], interval.as_secs());
    }
    let figure = |(name, taken): (&str, f64)| {
        let what = format!("agent, {name}: CPU of the fast tier by itself");
        Figure::new(what, Measure::Milliseconds, taken / 1e3).target(0.3e-3)
    };
    Ok(NAMES.into_iter().zip(all).map(figure).collect())
}

/// Milliseconds that each agent takes for a round of these collectors.
async fn alone(bench: &Bench, size: &Size, collectors: &[&str]) -> Result<[f64; 2]> {
    let before = bench.moment()?;
    let mut ticks = interval(CLOSE_LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..size.rounds_of_each {
        ticks.tick().await;
        bench.ask(collectors).await?;
    }
    sleep(Duration::from_millis(200)).await;
    let after = bench.moment()?;
    let taken = |index: usize| {
        let cpu = after.agents[index].1.saturating_sub(before.agents[index].1);
        cpu.as_secs_f64() * 1e3 / f64::from(size.rounds_of_each)
    };
    Ok([taken(0), taken(1)])
}

fn now() -> i64 {
    tomte_model::Clock::now(&tomte_collect::SystemClock).wall.millis()
}
