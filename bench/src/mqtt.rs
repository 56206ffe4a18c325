//! What MQTT costs a host: bytes and messages on the wire, memory and processor
//! time beside an agent without it, and how soon a reading is with a listener.
//!
//! Three static agents watch this very machine, side by side: one without a
//! broker, one that announces entity by entity, one that announces devices.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::hub::{Programs, folder, free_port};
use crate::process::{Figures, Running};
use crate::proxy::Proxy;
use crate::table::{Figure, Measure};

const PATIENCE: Duration = Duration::from_secs(30);
/// Until discovery is over and every collector has been heard.
const SETTLE: Duration = Duration::from_secs(30);
/// A reading that is its own time, so that it tells how old it is. It is read
/// less often than a value is said, so that none waits for its turn.
const CLOCK: &str = "[collectors.probe]\ninterval = \"12s\"\n\
                     [[probe]]\nname = \"clock\"\ncommand = [\"/bin/date\", \"+%s.%N\"]\nvalue = \"number\"\n\
                     unit = \"seconds\"\n";

/// How much is done.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    /// How long the machine is left alone.
    pub(crate) idle: Duration,
    /// How long it is kept busy afterwards.
    pub(crate) busy: Duration,
}

/// A broker with somebody who listens to everything.
struct Broker {
    _process: Running,
    listener: Running,
    proxy: Proxy,
}

impl Broker {
    async fn start(work: &Path, name: &str) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let config = work.join(format!("{name}.conf"));
        let text =
            format!("user root\npersistence false\nlistener {} 127.0.0.1\nallow_anonymous true\n", address.port());
        std::fs::write(&config, text).context("the broker's configuration")?;
        let mut command = Command::new(mosquitto("mosquitto"));
        command.arg("-c").arg(&config);
        let mut process = Running::start(command, work.join(format!("{name}-broker.log")))?;
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            process.check()?;
            if begun.elapsed() > PATIENCE {
                bail!("mosquitto does not listen; it said:\n{}", process.said());
            }
            sleep(Duration::from_millis(50)).await;
        }
        let mut command = Command::new(mosquitto("mosquitto_sub"));
        let port = address.port().to_string();
        // When it came, how long it is, where, and what: one a line.
        command.args(["-h", "127.0.0.1", "-p", &port, "-t", "#", "-F", "%U %l %t %p"]);
        let listener = Running::start(command, work.join(format!("{name}-messages.log")))?;
        Ok(Self { _process: process, listener, proxy: Proxy::start(address).await? })
    }

    /// Messages so far, those of the bench's own clock apart.
    fn messages(&self) -> usize {
        self.listener.said().lines().filter(|line| !line.contains("/probe/clock/")).count()
    }

    /// How old the clock's readings were when they came, in seconds: those that
    /// came since then, in seconds since 1970.
    fn ages(&self, since: f64) -> Vec<f64> {
        let said = self.listener.said();
        let of_clock = said.lines().filter(|line| line.contains("/probe/clock/value"));
        let age = |line: &str| {
            let mut words = line.split(' ');
            let arrived: f64 = words.next()?.parse().ok()?;
            let read: f64 = words.nth(2)?.parse().ok()?;
            Some(arrived - read).filter(|_| arrived >= since)
        };
        let mut ages: Vec<f64> = of_clock.filter_map(age).collect();
        ages.sort_by(f64::total_cmp);
        ages
    }
}

fn mosquitto(name: &str) -> String {
    // Where Debian has it, which is in nobody's PATH but root's.
    let sbin = format!("/usr/sbin/{name}");
    if Path::new(&sbin).exists() { sbin } else { name.to_owned() }
}

/// An agent, and its broker if it has one.
struct Station {
    agent: Running,
    broker: Option<Broker>,
}

impl Station {
    async fn start(programs: &Programs, work: &Path, name: &str, style: Option<&str>) -> Result<Self> {
        let broker = match style {
            Some(_) => Some(Broker::start(work, name).await?),
            None => None,
        };
        let mut text = format!("name = \"{name}\"\n");
        if let (Some(style), Some(broker)) = (style, &broker) {
            let url = broker.proxy.address;
            text.push_str(&format!("[mqtt]\nurl = \"mqtt://{url}\"\n[mqtt.home_assistant]\ndiscovery = \"{style}\"\n"));
        }
        text.push_str(CLOCK);
        let config = work.join(format!("{name}.toml"));
        std::fs::write(&config, text).context("the agent's configuration")?;
        let mut command = Command::new(&programs.static_agent);
        command.arg("run").arg("--config").arg(&config);
        Ok(Self { agent: Running::start(command, work.join(format!("{name}.log")))?, broker })
    }

    fn moment(&self) -> Result<Moment> {
        Ok(Moment {
            figures: self.agent.figures()?,
            messages: self.broker.as_ref().map_or(0, Broker::messages),
            bytes: self.broker.as_ref().map_or(0, |broker| broker.proxy.bytes().0),
        })
    }
}

#[derive(Clone, Copy)]
struct Moment {
    figures: Figures,
    messages: usize,
    bytes: u64,
}

/// Measures, and prints as it goes.
pub(crate) async fn run(programs: &Programs, work: &Path, size: &Size) -> Result<Vec<Figure>> {
    let (settle, idle, busy) = (SETTLE.as_secs(), size.idle.as_secs(), size.busy.as_secs());
    eprintln!("agents with and without MQTT: {settle} s to settle, {idle} s idle, {busy} s busy …");
    let folder = folder(work, "mqtt")?;
    let start = |name, style| Station::start(programs, folder.path(), name, style);
    let stations =
        [start("without", None).await?, start("entity", Some("entity")).await?, start("device", Some("device")).await?];
    let look = || stations.iter().map(Station::moment).collect::<Result<Vec<_>>>();
    sleep(SETTLE).await;
    let settled = look()?;
    // What is said first waits for the agent's start delay.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock")?.as_secs_f64();
    sleep(size.idle).await;
    let idle = look()?;
    keep_busy(size.busy, folder.path()).await?;
    let busied = look()?;

    let mut figures = Vec::new();
    for (index, name) in [(1, "entity by entity"), (2, "by device")] {
        let announced = settled[index];
        figures.push(Figure::new(
            format!("{name}: bytes in the first {} s, all announced", SETTLE.as_secs()),
            Measure::Bytes,
            announced.bytes as f64,
        ));
        for (what, from, to, time) in [("idle", &settled, &idle, size.idle), ("busy", &idle, &busied, size.busy)] {
            let minutes = time.as_secs_f64() / 60.0;
            let messages = (to[index].messages - from[index].messages) as f64;
            let bytes = (to[index].bytes - from[index].bytes) as f64;
            let cpu = |station: usize| (to[station].figures.cpu - from[station].figures.cpu).as_secs_f64();
            figures.extend([
                Figure::new(format!("{name}, {what}: messages a minute"), Measure::Count, messages / minutes),
                Figure::new(format!("{name}, {what}: bytes a minute"), Measure::Bytes, bytes / minutes),
                Figure::new(
                    format!("{name}, {what}: CPU more than without MQTT, per message"),
                    Measure::Milliseconds,
                    (cpu(index) - cpu(0)).max(0.0) / messages.max(1.0),
                ),
            ]);
        }
        let more = |value: &dyn Fn(&Figures) -> u64| {
            (value(&busied[index].figures) as f64 - value(&busied[0].figures) as f64).max(0.0)
        };
        figures.extend([
            Figure::new(
                format!("{name}: private memory more than without MQTT"),
                Measure::Megabytes,
                more(&|f| f.private_dirty),
            )
            .target(0.5e6),
            Figure::new(
                format!("{name}: resident memory more than without MQTT"),
                Measure::Megabytes,
                more(&|f| f.resident),
            ),
        ]);
        let ages = stations[index].broker.as_ref().map(|broker| broker.ages(since)).unwrap_or_default();
        if let (Some(middle), Some(worst)) = (ages.get(ages.len() / 2), ages.last()) {
            eprintln!("  {name}: {} readings of the clock", ages.len());
            figures.extend([
                Figure::new(format!("{name}: from reading to listener, median"), Measure::Milliseconds, *middle),
                Figure::new(format!("{name}: from reading to listener, worst"), Measure::Milliseconds, *worst),
            ]);
        }
    }
    Ok(figures)
}

/// Keeps a processor, the page cache and a disk at work.
async fn keep_busy(time: Duration, folder: &Path) -> Result<()> {
    let path = folder.join("busy");
    let work = move || -> Result<()> {
        let begun = std::time::Instant::now();
        let block = vec![0x5A_u8; 1 << 20];
        while begun.elapsed() < time {
            for _ in 0..64 {
                std::fs::write(&path, &block).context("writing")?;
                std::hint::black_box(std::fs::read(&path).context("reading")?);
            }
        }
        Ok(())
    };
    tokio::task::spawn_blocking(work).await.context("the busy thread")?
}
