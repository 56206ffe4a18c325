//! The history: what a reading costs on its way in and on disk, and how long
//! questions take, beside the stores that people run today, filled with the same
//! readings in the same run.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tomte_model::{Catalogue, Facet, Moment, Scope};

use crate::fleet::Agent;
use crate::http::{Connection, Timed};
use crate::hub::{Hub, Programs, Transport, folder};
use crate::peers::{self, Samples, Store};
use crate::process::Figures;
use crate::table::{Figure, Measure, Peer};
use crate::workload::{self, Host, READINGS};

const HOUR: Duration = Duration::from_secs(3_600);
/// Samples in one request of remote write: ten hosts at one moment.
const HOSTS_IN_A_REQUEST: u64 = 10;
/// Reports of all hosts on their way at once, and of each at least: what a
/// hub commits together is there at once, so that nothing waits for more.
const ON_THE_WAY: u64 = 2_000;
const OF_EACH: u64 = 200;
/// How often each question is asked.
const TIMES: usize = 40;
/// Between two questions while something else is done.
const BETWEEN: Duration = Duration::from_millis(5);
/// How long answers are watched while nothing is done.
const QUIET: Duration = Duration::from_secs(2);

/// One history, and whether the peers keep it too.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// How many hosts.
    pub(crate) hosts: u64,
    /// Between two reports.
    pub(crate) interval: Duration,
    /// How long in all, up to now.
    pub(crate) span: Duration,
    /// With rates as agents work them out.
    pub(crate) jittered: bool,
    /// Whether the peers are measured too.
    pub(crate) peers: bool,
}

impl Case {
    fn name(&self) -> String {
        let hours = self.span.as_secs() / HOUR.as_secs();
        let span = if hours > 48 { format!("{} days", hours / 24) } else { format!("{hours} h") };
        let rates = if self.jittered { ", jittered rates" } else { "" };
        format!("history, {} hosts, {span} at {} s{rates}", self.hosts, self.interval.as_secs())
    }

    fn steps(&self) -> u64 {
        self.span.as_secs() / self.interval.as_secs()
    }

    fn readings(&self) -> f64 {
        (self.hosts * self.steps()) as f64 * READINGS as f64
    }

    fn host(&self, number: u64) -> Host {
        if self.jittered { Host::jittered(number) } else { Host::new(number) }
    }

    /// When a host reports: at its own place in the interval, and a few
    /// milliseconds off, the same in every run.
    fn at(&self, begin: Moment, host: u64, step: u64) -> Moment {
        let interval = u64::try_from(self.interval.as_millis()).unwrap_or(30_000);
        let mut rng = fastrand::Rng::with_seed(host << 32 | step);
        let jitter = (0..6).map(|_| rng.u64(0..3)).sum::<u64>();
        let by = host * 7_919 % interval + step * interval + jitter;
        Moment { wall: begin.wall.plus(Duration::from_millis(by)), boot_millis: begin.boot_millis + by }
    }
}

/// What is asked, of us and of a peer.
struct Question {
    name: &'static str,
    ours: String,
    /// For Prometheus' API, which VictoriaMetrics speaks too.
    theirs: String,
    target: Option<f64>,
}

/// Measures a history, and prints as it goes.
pub(crate) async fn run(programs: &Programs, work: &Path, case: &Case) -> Result<Vec<Figure>> {
    eprintln!("{} …", case.name());
    // So that all of it lies in the past when it arrives.
    let begin = earlier(Agent::now(), case.span + case.interval * 2);
    one(programs, work, case, begin).await.with_context(|| case.name())
}

fn earlier(moment: Moment, by: Duration) -> Moment {
    let millis = u64::try_from(by.as_millis()).unwrap_or(0);
    Moment { wall: moment.wall.minus(by), boot_millis: moment.boot_millis.saturating_sub(millis) }
}

/// What a store made of the readings.
struct Outcome {
    name: &'static str,
    cpu: Duration,
    figures: Figures,
    /// Bytes per reading in its final place.
    sealed: f64,
    /// Bytes on disk in all.
    disk: u64,
    timed: Vec<Timed>,
    /// What is asked of the hub alone.
    ours: Option<Ours>,
}

/// Figures that peers have no word for.
struct Ours {
    /// Processor time until everything was acknowledged.
    taken_in: Duration,
    /// The slowest answer, and the slowest acknowledgement of a report, while
    /// nothing is done, and while all is sealed.
    quiet: [Duration; 2],
    meanwhile: [Duration; 2],
    /// Bytes of the buckets of five minutes and of an hour, per host.
    standing: [f64; 2],
}

async fn one(programs: &Programs, work: &Path, case: &Case, begin: Moment) -> Result<Vec<Figure>> {
    let questions = questions(case, begin);
    let ours = ours(programs, work, case, begin, &questions).await?;
    let mut theirs = Vec::new();
    if case.peers {
        for kind in peers::Kind::ALL {
            theirs.push(peer(kind, work, case, begin, &questions).await?);
        }
    }
    Ok(table(case, &questions, &ours, &theirs))
}

/// Fills a hub through the link, and asks it.
async fn ours(programs: &Programs, work: &Path, case: &Case, begin: Moment, questions: &[Question]) -> Result<Outcome> {
    let folder = folder(work, "history")?;
    let hub = Hub::start(&programs.hub, folder.path(), Transport::Plain).await?;
    let catalogue: Arc<Catalogue> = Arc::new(workload::catalogue());
    let mut agents = JoinSet::new();
    let before = hub.figures()?;
    let begun = Instant::now();
    for number in 0..case.hosts {
        let enrolled = hub.enrol(&host_name(number)).await?;
        let mut agent = Agent::connect(&hub, &enrolled, Arc::clone(&catalogue)).await?;
        let case = case.clone();
        agents.spawn(async move {
            let mut host = case.host(number);
            for step in 0..case.steps() {
                while agent.waiting() >= (ON_THE_WAY / case.hosts).max(OF_EACH) {
                    agent.flush().await?;
                    agent.hear().await?;
                }
                let at = case.at(begin, number, step);
                for (collector, facets) in host.next() {
                    agent.report(collector, at, case.interval, Scope::complete(collector, facets)).await?;
                }
            }
            agent.flush().await?;
            agent.settle().await?;
            anyhow::Ok(())
        });
    }
    while let Some(done) = agents.join_next().await {
        done.context("a simulated agent")??;
    }
    let took = begun.elapsed();
    eprintln!("  stored and acknowledged in {:.1} s; sealing …", took.as_secs_f64());
    let taken_in = hub.figures()?.cpu - before.cpu;
    // Somebody asks all the time, and somebody reports, before and meanwhile.
    let mut asking = Connection::open(hub.address(), Some(hub.viewer_token().await?)).await?;
    let mut telling = Agent::connect(&hub, &hub.enrol("beside").await?, catalogue).await?;
    let ((), quiet) = beside(&mut asking, &questions[1].ours, &mut telling, tokio::time::sleep(QUIET)).await?;
    let (info, meanwhile) = beside(&mut asking, &questions[1].ours, &mut telling, hub.seal()).await?;
    let info = info?;
    let each = |name: &str| {
        let parts = || info.parts.iter().filter(|part| part.name == name);
        let (bytes, values) =
            (parts().map(|part| part.bytes).sum::<u64>(), parts().map(|part| part.values).sum::<u64>());
        (bytes as f64 / (values as f64).max(1.0), values)
    };
    for part in &info.parts {
        eprintln!("  {}: {} values, {:.2} bytes each", part.name, part.values, each(&part.name).0);
    }
    let sealed = each("raw").0;
    let standing = ["5m", "1h"].map(|tier| {
        let bytes = info.parts.iter().filter(|part| part.name == tier).map(|part| part.bytes).sum::<u64>();
        bytes as f64 / case.hosts as f64
    });
    let after = hub.figures()?;
    let mut user = Connection::open(hub.address(), Some(hub.viewer_token().await?)).await?;
    let mut timed = Vec::new();
    for question in questions {
        timed.push(user.time(&question.ours, TIMES).await.with_context(|| question.name.to_owned())?);
    }
    let disk = peers::size(&folder.path().join("hub"), &|_| true);
    let cpu = after.cpu - before.cpu;
    let ours = Some(Ours { taken_in, quiet, meanwhile, standing });
    Ok(Outcome { name: "Tomte", cpu, figures: after, sealed, disk, timed, ours })
}

/// Does something while one asks the same question over and over, and another
/// reports. Returns what was done, and how long the slowest answer and the
/// slowest acknowledgement took.
async fn beside<T>(
    asking: &mut Connection,
    question: &str,
    telling: &mut Agent,
    work: impl Future<Output = T>,
) -> Result<(T, [Duration; 2])> {
    let ask = async || asking.get(question).await.map(drop);
    let tell = async || {
        let mut facet = Facet::owner("load", "load", "main");
        facet.read("load1", 0.5);
        telling.report("load", Agent::now(), BETWEEN, Scope::complete("load", vec![facet])).await?;
        telling.flush().await?;
        telling.settle().await
    };
    let ((done, told), asked) = {
        let (done, asked) = watched(ask, watched(tell, work)).await?;
        (done?, asked)
    };
    Ok((done, [asked, told]))
}

/// Does something, and something else over and over meanwhile. Returns what
/// was done, and how long the slowest of the others took.
async fn watched<T>(
    mut other: impl AsyncFnMut() -> Result<()>,
    work: impl Future<Output = T>,
) -> Result<(T, Duration)> {
    let mut longest = Duration::ZERO;
    tokio::pin!(work);
    loop {
        let one = async {
            let begun = Instant::now();
            other().await?;
            let took = begun.elapsed();
            tokio::time::sleep(BETWEEN).await;
            anyhow::Ok(took)
        };
        tokio::pin!(one);
        let done = tokio::select! {
            took = &mut one => {
                longest = longest.max(took?);
                continue;
            }
            done = &mut work => done,
        };
        // The one under way counts as well.
        longest = longest.max(one.await?);
        return Ok((done, longest));
    }
}

/// Fills a peer by remote write, and asks it.
async fn peer(kind: peers::Kind, work: &Path, case: &Case, begin: Moment, questions: &[Question]) -> Result<Outcome> {
    eprintln!("  the same with {} …", kind.name());
    let folder = folder(work, "peer")?;
    let mut store = Store::start(kind, folder.path()).await?;
    let before = store.figures()?;
    let mut hosts: Vec<_> = (0..case.hosts).map(|number| (host_name(number), case.host(number))).collect();
    let mut samples = Samples::default();
    for step in 0..case.steps() {
        for (number, (name, host)) in (0..).zip(&mut hosts) {
            let at = case.at(begin, number, step).wall.millis();
            for facet in host.next().iter().flat_map(|(_, facets)| facets) {
                for (field, value) in &facet.readings {
                    samples.add(&metric(facet, field), name, &facet.resource.name, at, *value);
                }
            }
            if (number + 1) % HOSTS_IN_A_REQUEST == 0 {
                store.write(&samples).await?;
                samples.clear();
            }
        }
        if samples.count > 0 {
            store.write(&samples).await?;
            samples.clear();
        }
    }
    let (sealed, disk) = store.settle().await?;
    let readings = store.sealed(case.readings() as u64).await?;
    let after = store.figures()?;
    let mut user = store.user().await?;
    let mut timed = Vec::new();
    for question in questions {
        timed.push(user.time(&question.theirs, TIMES).await.with_context(|| question.name.to_owned())?);
    }
    let sealed = sealed as f64 / (readings as f64).max(1.0);
    let cpu = after.cpu - before.cpu;
    Ok(Outcome { name: kind.name(), cpu, figures: after, sealed, disk, timed, ours: None })
}

fn host_name(number: u64) -> String {
    format!("bench-{number}")
}

fn metric(facet: &Facet, field: &str) -> String {
    format!("{}_{field}", facet.resource.kind)
}

fn questions(case: &Case, begin: Moment) -> Vec<Question> {
    let day = case.span.min(24 * HOUR);
    let end = begin.wall.plus(case.span + case.interval);
    let (from, to) = (end.minus(day), end);
    let hour = end.minus(case.span.min(HOUR));
    // Prometheus' instant queries count backwards from their time.
    let seconds = |at: tomte_model::Timestamp| format!("{:.3}", at.millis() as f64 / 1e3);
    let fields = [
        "total_bytes",
        "used_bytes",
        "free_bytes",
        "available_bytes",
        "buffers_bytes",
        "cached_bytes",
        "shared_bytes",
        "dirty_bytes",
        "swap_used_bytes",
        "used_ratio",
    ];
    let latest = fields.map(|field| format!("&field={field}")).concat();
    let metrics = fields.map(|field| format!("memory_{field}")).join("|");
    vec![
        Question {
            name: "one series, 24 h, every reading",
            ours: format!(
                "/api/v1/history?series=bench-0/cpu:cpu/usage_ratio&from={}&to={}",
                from.millis(),
                to.millis()
            ),
            theirs: format!(
                "/api/v1/query?query=cpu_usage_ratio%7Bhost=%22bench-0%22%7D%5B{}s%5D&time={}",
                day.as_secs(),
                seconds(to)
            ),
            target: Some(0.5e-3),
        },
        Question {
            name: "one host, 24 series of its interfaces, the last hour, every reading",
            ours: format!("/api/v1/history?host=bench-0&kind=interface&from={}&to={}", hour.millis(), to.millis()),
            theirs: format!(
                "/api/v1/query?query=%7Bhost=%22bench-0%22,__name__=~%22interface_.*%22%7D%5B3600s%5D&time={}",
                seconds(to)
            ),
            target: None,
        },
        Question {
            name: "all hosts, the mean of one field, 24 h by 5 min",
            ours: format!(
                "/api/v1/history?kind=cpu&field=usage_ratio&agg=mean&step=5m&from={}&to={}",
                from.millis(),
                to.millis()
            ),
            // Cheaper for them than a mean over time: one reading a step.
            theirs: format!(
                "/api/v1/query_range?query=avg(cpu_usage_ratio)&step=300&start={}&end={}",
                seconds(from),
                seconds(to)
            ),
            target: Some(1.5e-3),
        },
        Question {
            name: "the latest 10 readings of all hosts",
            ours: format!("/api/v1/latest?kind=memory{latest}"),
            theirs: format!("/api/v1/query?query=%7B__name__=~%22{metrics}%22%7D&time={}", seconds(to)),
            target: Some(0.5e-3),
        },
    ]
}

fn table(case: &Case, questions: &[Question], ours: &Outcome, theirs: &[Outcome]) -> Vec<Figure> {
    let name = case.name();
    let readings = case.readings();
    let asked = case.hosts == 100;
    let figure = |what: &str, measure: Measure, target: Option<f64>, value: &dyn Fn(&Outcome) -> f64| {
        let mut figure = Figure::new(format!("{name}: {what}"), measure, value(ours));
        if let Some(target) = target {
            figure = figure.target(target);
        }
        for peer in theirs {
            figure = figure.beside(Peer::measured(peer.name, value(peer)));
        }
        figure
    };
    let memory = match (case.hosts, case.interval.as_secs()) {
        (100, 30) => Some(40e6),
        (100, 10) => Some(60e6),
        _ => None,
    };
    let mut figures = vec![
        figure("bytes on disk per reading, sealed", Measure::Bytes, Some(0.9), &|r| r.sealed),
        figure("on disk in all", Measure::Megabytes, None, &|r| r.disk as f64),
        figure("CPU per reading, on its way in and sealed", Measure::Nanoseconds, Some(300e-9), &|r| {
            r.cpu.as_secs_f64() / readings
        }),
        figure("memory afterwards, RSS", Measure::Megabytes, memory, &|r| r.figures.resident as f64),
        figure("memory, peak RSS", Measure::Megabytes, None, &|r| r.figures.peak as f64),
        figure("written to disk", Measure::Megabytes, None, &|r| r.figures.written as f64),
    ];
    if let Some(own) = &ours.ours {
        let row = |what: &str, measure, value| Figure::new(format!("{name}: {what}"), measure, value);
        let taken_in = own.taken_in.as_secs_f64() / readings;
        figures.push(row("CPU per reading, on its way in", Measure::Nanoseconds, taken_in));
        let both = [("nothing else done", own.quiet), ("while all is sealed", own.meanwhile)];
        for (when, [answer, acknowledgement]) in both {
            figures.push(row(&format!("slowest answer, {when}"), Measure::Milliseconds, answer.as_secs_f64()));
            let name = format!("slowest acknowledgement, {when}");
            figures.push(row(&name, Measure::Milliseconds, acknowledgement.as_secs_f64()));
        }
        let days = case.span.as_secs() / 86_400;
        if days >= 90 {
            let [five, hour] = own.standing;
            figures.push(row("buckets of 5 min of 90 days, a host", Measure::Megabytes, five).target(12e6));
            let year = hour * 365.0 / days as f64;
            figures.push(row("buckets of an hour of a year, a host", Measure::Megabytes, year).target(4e6));
        }
    }
    for (index, question) in questions.iter().enumerate() {
        let target = question.target.filter(|_| asked);
        figures.push(figure(&format!("{}, shortest", question.name), Measure::Milliseconds, target, &|r| {
            r.timed[index].shortest.as_secs_f64()
        }));
        figures.push(figure(&format!("{}, median", question.name), Measure::Milliseconds, None, &|r| {
            r.timed[index].median.as_secs_f64()
        }));
        eprintln!("  {}: an answer of {} bytes", question.name, ours.timed[index].bytes);
    }
    figures
}
