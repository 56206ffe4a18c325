//! How long it takes until a reading is seen by another client, on loopback.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tomte_api::client::{Client, LiveStream};
use tomte_api::live::{Body, Subscribe};
use tomte_model::Clock;

use crate::agent::Agent as RealAgent;
use crate::fleet::Agent;
use crate::hub::{Hub, Programs, Transport, folder};
use crate::table::{Figure, Measure, Peer};
use crate::workload::{self, Host};

/// How far reports of one host are apart: more than the second that a client
/// may ask deltas for at most.
const PACE: Duration = Duration::from_millis(1_300);
/// The interval of the real agent's fast tier, for the same reason.
const REAL_PACE: &str = "2s";
/// The fleet's interval where other hosts report meanwhile.
const BUSY_PACE: Duration = Duration::from_secs(10);

/// How much is done.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    /// Hosts that are watched.
    pub(crate) watched: u32,
    /// Reports of each.
    pub(crate) rounds: u32,
    /// Hosts that report as well, while nobody watches them.
    pub(crate) others: u32,
    /// How long the real agent is watched.
    pub(crate) real_for: Duration,
}

/// When readings began, by host and by the value that marks them.
type Begun = Arc<Mutex<HashMap<(u32, u64), Instant>>>;

/// Measures, and prints as it goes.
pub(crate) async fn run(programs: &Programs, work: &Path, size: &Size) -> Result<Vec<Figure>> {
    let mut figures = simulated(programs, work, size, 0).await?;
    figures.extend(simulated(programs, work, size, size.others).await?);
    figures.extend(real(programs, work, size).await?);
    Ok(figures)
}

async fn simulated(programs: &Programs, work: &Path, size: &Size, others: u32) -> Result<Vec<Figure>> {
    let beside = if others > 0 { format!(", beside {others} hosts at 10 s") } else { String::new() };
    let name = format!("collect to visible, 150 readings{beside}");
    eprintln!("{name} …");
    let folder = folder(work, "latency")?;
    let hub = Hub::start(&programs.hub, folder.path(), Transport::Plain).await?;
    let viewer = hub.viewer().await?;
    let catalogue = Arc::new(workload::catalogue());
    let begun = Begun::default();
    let (mut agents, mut watchers, mut noise) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    for index in 0..others {
        let enrolled = hub.enrol(&format!("other-{index}")).await?;
        let agent = Agent::connect(&hub, &enrolled, Arc::clone(&catalogue)).await?;
        noise.spawn(report_for_ever(agent, index, BUSY_PACE.mul_f64(f64::from(index) / f64::from(others))));
    }
    let start = Instant::now() + Duration::from_secs(2);
    for index in 0..size.watched {
        let host = format!("watched-{index}");
        let enrolled = hub.enrol(&host).await?;
        let agent = Agent::connect(&hub, &enrolled, Arc::clone(&catalogue)).await?;
        let stream = watch(&viewer, vec![host], &["load"], &["load15"]).await?;
        watchers.spawn(see(stream, index, size.rounds, Arc::clone(&begun)));
        let start = start + PACE.mul_f64(f64::from(index) / f64::from(size.watched));
        agents.spawn(report(agent, index, start, size.rounds, Arc::clone(&begun)));
    }
    while let Some(done) = agents.join_next().await {
        done.context("an agent")??;
    }
    let mut seen = Vec::new();
    while let Some(done) = watchers.join_next().await {
        seen.extend(done.context("a watcher")??);
    }
    noise.shutdown().await;
    drop(hub);
    Ok(percentiles(&name, seen))
}

/// Reports at a steady pace, each time with a mark that the watcher will see.
async fn report(mut agent: Agent, index: u32, start: Instant, rounds: u32, begun: Begun) -> Result<Agent> {
    let mut host = Host::new(index.into());
    for round in 1..=rounds {
        agent.idle_until(start + PACE * round).await?;
        let began = Instant::now();
        let mut scope = host.next_whole();
        let mark = scope.facets.iter_mut().find(|facet| facet.resource.kind == "load");
        let mark = mark.and_then(|load| load.readings.iter_mut().find(|(field, _)| field == "load15"));
        mark.context("the workload has a load")?.1 = f64::from(round) / 100.0;
        begun.lock().unwrap_or_else(PoisonError::into_inner).insert((index, round.into()), began);
        agent.report("bench", Agent::now(), PACE, scope).await?;
        agent.flush().await?;
    }
    agent.idle_until(Instant::now() + Duration::from_secs(1)).await?;
    Ok(agent)
}

async fn report_for_ever(mut agent: Agent, index: u32, phase: Duration) -> Result<()> {
    let mut host = Host::new(u64::from(index) + 1_000);
    let mut next = Instant::now() + phase;
    loop {
        agent.idle_until(next).await?;
        next += BUSY_PACE;
        for (collector, facets) in host.next() {
            let scope = tomte_model::Scope::complete(collector, facets);
            agent.report(collector, Agent::now(), BUSY_PACE, scope).await?;
        }
        agent.flush().await?;
    }
}

/// Opens a live stream that gets a delta a second at most, the fastest there is.
async fn watch(viewer: &Client, hosts: Vec<String>, kinds: &[&str], fields: &[&str]) -> Result<LiveStream> {
    let mut stream = viewer.live().await.context("opening the live stream")?;
    let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let subscription = Subscribe {
        id: "bench".to_owned(),
        hosts,
        kinds: own(kinds),
        fields: own(fields),
        every_s: Some(1),
        events: false,
        resources: true,
    };
    stream.subscribe(subscription).await.context("subscribing")?;
    loop {
        match stream.next().await?.context("the live stream ended")?.body {
            Body::Snapshot(_) => return Ok(stream),
            Body::Error(refusal) => bail!("the hub refuses to be watched: {:?}", refusal.problem),
            _ => {}
        }
    }
}

/// Waits for every mark; returns how long each took.
async fn see(mut stream: LiveStream, index: u32, rounds: u32, begun: Begun) -> Result<Vec<Duration>> {
    let mut seen = Vec::new();
    loop {
        let message = stream.next().await?.context("the live stream ended")?;
        let arrived = Instant::now();
        let Body::Delta(delta) = message.body else { continue };
        let marks = delta.resources.iter().filter_map(|resource| *resource.readings.get("load15")?);
        for mark in marks.map(|load| (load * 100.0).round() as u64) {
            let began = begun.lock().unwrap_or_else(PoisonError::into_inner).remove(&(index, mark));
            seen.extend(began.map(|began| arrived.duration_since(began)));
            if mark >= u64::from(rounds) {
                return Ok(seen);
            }
        }
    }
}

/// A real agent on this machine: from the time that its reports say the
/// reading began, in whole milliseconds, so up to 1 ms too much.
async fn real(programs: &Programs, work: &Path, size: &Size) -> Result<Vec<Figure>> {
    let name = "collect to visible, real agent";
    eprintln!("{name}, for {} s …", size.real_for.as_secs());
    let folder = folder(work, "real")?;
    let hub = Hub::start(&programs.hub, folder.path(), Transport::Plain).await?;
    let viewer = hub.viewer().await?;
    let config = format!("[intervals]\nfast = \"{REAL_PACE}\"\n");
    let agent = RealAgent::start(&programs.agent, &hub, folder.path(), "real", &config).await?;
    // Of all hosts, so that the agent is not asked to read faster.
    let mut stream = watch(&viewer, Vec::new(), &[], &[]).await?;
    let end = Instant::now() + size.real_for;
    let mut by_kind: HashMap<String, Vec<Duration>> = HashMap::new();
    while let Ok(message) = tokio::time::timeout_at(end, stream.next()).await {
        let Body::Delta(delta) = message?.context("the live stream ended")?.body else { continue };
        let now = tomte_collect::SystemClock.now().wall;
        for resource in delta.resources.iter().filter(|resource| !resource.readings.is_empty()) {
            by_kind.entry(resource.resource.kind.clone()).or_default().push(now.since(resource.at));
        }
    }
    drop((agent, hub));
    let mut kinds: Vec<_> = by_kind.iter().collect();
    kinds.sort();
    for (kind, seen) in kinds {
        let (p50, p99) = (percentile(seen, 0.5), percentile(seen, 0.99));
        eprintln!("  {kind:<12} {:>5} seen, p50 {p50:?}, p99 {p99:?}", seen.len());
    }
    Ok(percentiles(name, by_kind.into_values().flatten().collect()))
}

fn percentile(seen: &[Duration], part: f64) -> Duration {
    let mut sorted = seen.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or_default()
}

fn percentiles(name: &str, seen: Vec<Duration>) -> Vec<Figure> {
    let at = |part| percentile(&seen, part).as_secs_f64();
    let goal = || Peer::recorded("cm-dashboard's goal", 100e-3);
    vec![
        Figure::new(format!("{name}: p50 of {}", seen.len()), Measure::Milliseconds, at(0.5)),
        Figure::new(format!("{name}: p99"), Measure::Milliseconds, at(0.99)).target(20e-3).beside(goal()),
        Figure::new(format!("{name}: longest"), Measure::Milliseconds, at(1.0)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let seen: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&seen, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&seen, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&seen, 1.0), Duration::from_millis(100));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
