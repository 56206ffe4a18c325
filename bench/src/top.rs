//! What `tomte top` costs: how soon it is there, its memory, its processor
//! time, and what it has the hub send. Beside bottom, which looks at one host
//! and needs no hub.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;
use tomte_api::account::{AddToken, Role};
use tomte_api::client::Client;

use crate::hub::{Programs, folder, free_port};
use crate::process::Running;
use crate::proxy::Proxy;
use crate::table::{Figure, Measure, Peer};
use crate::terminal::Terminal;

/// How large the terminal is: as in the records of bottom's figures.
const SIZE: (u16, u16) = (160, 50);
/// How long the simulated hosts may take to be there.
const PATIENCE: Duration = Duration::from_secs(180);
/// How far apart keys are pressed: a person holds one down.
const PRESSED: Duration = Duration::from_millis(30);

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Hosts of the usual fleet, and of the large one.
    pub(crate) hosts: u32,
    pub(crate) many: u32,
    /// How often it is started to see how long that takes.
    pub(crate) starts: u32,
    /// How long everything is left alone first.
    pub(crate) settle: Duration,
    /// How long it is looked at.
    pub(crate) watched_for: Duration,
    /// How many keys are pressed.
    pub(crate) keys: u32,
}

/// A hub with simulated hosts, and a way to it that counts bytes.
struct Fleet {
    _process: Running,
    proxy: Proxy,
    token: String,
    home: PathBuf,
    program: PathBuf,
    hosts: u32,
}

/// What a program did while it was looked at.
struct Looked {
    resident: f64,
    /// Processor time, as a part of one processor.
    share: f64,
    /// Bytes a second that it was sent.
    received: f64,
}

/// Measures, and prints as it goes.
pub(crate) async fn run(programs: &Programs, bottom: &Path, work: &Path, size: &Size) -> Result<Vec<Figure>> {
    let folder = folder(work, "top")?;
    eprintln!("bottom …");
    let peer = Bottom::measure(bottom, folder.path(), size).await?;
    let mut figures = {
        eprintln!("tomte top, {} hosts …", size.hosts);
        let fleet = Fleet::start(&programs.hub, &folder.path().join("usual"), size.hosts).await?;
        sleep(size.settle).await;
        usual(&fleet, &peer, size).await?
    };
    eprintln!("tomte top, {} hosts …", size.many);
    let fleet = Fleet::start(&programs.hub, &folder.path().join("many"), size.many).await?;
    sleep(size.settle).await;
    figures.extend(many(&fleet, &peer, size).await?);
    Ok(figures)
}

async fn usual(fleet: &Fleet, peer: &Bottom, size: &Size) -> Result<Vec<Figure>> {
    let hosts = fleet.hosts;
    let name = |what: &str| format!("tomte top, {hosts} hosts: {what}");
    let mut starts = Vec::new();
    for _ in 0..size.starts {
        starts.push(fleet.top(&[])?.shown().await?);
    }
    let first = median(starts).as_secs_f64();
    let fleet_view = look(&mut fleet.top(&[])?, Some(&fleet.proxy), size).await?;
    let often = look(&mut fleet.top(&["--config", &fleet.config("refresh = 1\n")?])?, Some(&fleet.proxy), size).await?;
    let host = look(&mut fleet.top(&["--host", "nas-1"])?, Some(&fleet.proxy), size).await?;
    Ok(vec![
        Figure::new(name("first whole frame, the hosts' readings in it"), Measure::Milliseconds, first)
            .target(0.1)
            .beside(peer.first.clone()),
        Figure::new(name("memory, RSS"), Measure::Megabytes, fleet_view.resident)
            .target(15e6)
            .beside(peer.resident.clone()),
        Figure::new(name("CPU, the fleet as it is set, every 5 s"), Measure::Share, fleet_view.share),
        Figure::new(name("CPU, the fleet once a second"), Measure::Share, often.share)
            .target(0.01)
            .beside(peer.share.clone()),
        Figure::new(name("CPU, one host once a second"), Measure::Share, host.share)
            .target(0.01)
            .beside(peer.share.clone()),
        Figure::new(
            name("bytes from the hub a second and host"),
            Measure::Bytes,
            fleet_view.received / f64::from(hosts),
        )
        .target(1_000.0),
        Figure::new(name("bytes a second and host, once a second"), Measure::Bytes, often.received / f64::from(hosts)),
        Figure::new(name("bytes a second for one host that is watched live"), Measure::Bytes, host.received)
            .target(8_000.0),
    ])
}

async fn many(fleet: &Fleet, peer: &Bottom, size: &Size) -> Result<Vec<Figure>> {
    let hosts = fleet.hosts;
    let name = |what: &str| format!("tomte top, {hosts} hosts: {what}");
    let mut starts = Vec::new();
    for _ in 0..size.starts {
        starts.push(fleet.top(&[])?.shown().await?);
    }
    let first = median(starts).as_secs_f64();
    let mut top = fleet.top(&[])?;
    top.shown().await?;
    let pressed = press(&mut top, size).await?;
    let resident = top.process.figures()?.resident as f64;
    Ok(vec![
        Figure::new(name("first whole frame"), Measure::Milliseconds, first).target(0.1),
        Figure::new(name("CPU for a key and the frame that follows"), Measure::Milliseconds, pressed.cpu)
            .target(0.004)
            .beside(peer.key.clone()),
        Figure::new(name("from a key to the end of its frame, median"), Measure::Milliseconds, pressed.drawn),
        Figure::new(name("memory, RSS"), Measure::Megabytes, resident),
    ])
}

impl Fleet {
    async fn start(program: &Path, folder: &Path, hosts: u32) -> Result<Self> {
        std::fs::create_dir_all(folder).context("a folder for the fleet")?;
        let (data, home) = (folder.join("data"), folder.join("home"));
        std::fs::create_dir_all(&home).context("a home for settings")?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = Command::new(program);
        command.args(["demo", "--hosts", &hosts.to_string(), "--listen", &address.to_string(), "--data"]).arg(&data);
        let mut process = Running::start(command, folder.join("demo.log"))?;
        let admin = Client::unix(data.join("hub.sock"));
        let begun = Instant::now();
        let filter =
            || tomte_api::client::ResourceFilter { kinds: vec!["filesystem".to_owned()], ..Default::default() };
        // All are there, and have read what the fleet's columns show.
        while admin.resources(&filter()).await.map_or(0, |known| {
            known.iter().map(|resource| resource.host_id).collect::<std::collections::BTreeSet<_>>().len()
        }) < hosts as usize
        {
            process.check()?;
            if begun.elapsed() > PATIENCE {
                bail!("the simulated hosts are not there; the demo said:\n{}", process.said());
            }
            sleep(Duration::from_millis(200)).await;
        }
        let asked = AddToken { name: "bench".to_owned(), role: Role::Viewer, expires_at: None };
        let token = admin.add_token(&asked).await.context("a viewer's token")?.token;
        let proxy = Proxy::start(address).await?;
        Ok(Self { _process: process, proxy, token, home, program: program.to_owned(), hosts })
    }

    fn config(&self, text: &str) -> Result<String> {
        let path = self.home.join("top.toml");
        std::fs::write(&path, text).context("settings")?;
        Ok(path.display().to_string())
    }

    /// Starts it. There is a frame to look at once many cells have a reading:
    /// all hosts that the screen has room for, or all of a host's panels.
    fn top(&self, arguments: &[&str]) -> Result<Terminal> {
        let mut command = Command::new(&self.program);
        command.args(["top", "--hub", &format!("http://{}", self.proxy.address)]).args(arguments);
        command.env("TOMTE_TOKEN", &self.token).env("HOME", &self.home).env_remove("XDG_CONFIG_HOME");
        let rows = self.hosts.min(u32::from(SIZE.1) - 3) as usize;
        let wanted = if arguments.contains(&"--host") { 8 } else { rows };
        Terminal::start(command, SIZE, move |screen| screen.matches('%').count() >= wanted)
    }
}

/// What it costs to be looked at, without anything being pressed.
async fn look(terminal: &mut Terminal, proxy: Option<&Proxy>, size: &Size) -> Result<Looked> {
    terminal.shown().await?;
    // What is asked for at the start is not what a day costs.
    sleep(size.settle.min(Duration::from_secs(5))).await;
    let received = || proxy.map_or(0, |proxy| proxy.bytes().1);
    let (bytes, before, begun) = (received(), terminal.process.precise_cpu()?, Instant::now());
    sleep(size.watched_for).await;
    let (cpu, seconds) = (terminal.process.precise_cpu()?, begun.elapsed().as_secs_f64());
    Ok(Looked {
        resident: terminal.process.figures()?.resident as f64,
        share: cpu.saturating_sub(before).as_secs_f64() / seconds,
        received: (received() - bytes) as f64 / seconds,
    })
}

/// What a key costs.
struct Pressed {
    cpu: f64,
    drawn: f64,
}

async fn press(terminal: &mut Terminal, size: &Size) -> Result<Pressed> {
    let before = terminal.process.precise_cpu()?;
    let mut drawn = Vec::new();
    for number in 0..size.keys {
        // Down through what the screen has room for, and up again.
        let key = if number / 30 % 2 == 0 { "j" } else { "k" };
        drawn.push(terminal.press_until_drawn(key).await?);
        sleep(PRESSED).await;
    }
    let cpu = terminal.process.precise_cpu()?.saturating_sub(before).as_secs_f64() / f64::from(size.keys);
    Ok(Pressed { cpu, drawn: median(drawn).as_secs_f64() })
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// The peer's figures: of this run, or of another day where it is not there.
struct Bottom {
    first: Option<Peer>,
    resident: Option<Peer>,
    share: Option<Peer>,
    key: Option<Peer>,
}

impl Bottom {
    async fn measure(program: &Path, folder: &Path, size: &Size) -> Result<Self> {
        let version = Command::new(program).arg("--version").stderr(Stdio::null()).output();
        if version.is_err() {
            eprintln!("{} is not there: its figures are those of another day", program.display());
            let recorded = |value| Some(Peer::recorded("bottom", value));
            return Ok(Self { first: None, resident: recorded(7.6e6), share: recorded(0.0060), key: None });
        }
        let home = folder.join("bottom");
        std::fs::create_dir_all(&home).context("a home for bottom")?;
        let start = || {
            let mut command = Command::new(program);
            command.env("HOME", &home).env_remove("XDG_CONFIG_HOME");
            // Its processes are listed, each with its share.
            Terminal::start(command, SIZE, |screen| screen.matches('%').count() >= 8)
        };
        let mut starts = Vec::new();
        for _ in 0..size.starts {
            starts.push(start()?.shown().await?);
        }
        let mut terminal = start()?;
        let looked = look(&mut terminal, None, size).await?;
        let before = terminal.process.precise_cpu()?;
        for number in 0..size.keys {
            terminal.press(if number / 5 % 2 == 0 { "j" } else { "k" })?;
            sleep(PRESSED).await;
        }
        let cpu = terminal.process.precise_cpu()?.saturating_sub(before).as_secs_f64() / f64::from(size.keys);
        let measured = |value| Some(Peer::measured("bottom", value));
        Ok(Self {
            first: measured(median(starts).as_secs_f64()),
            resident: measured(looked.resident),
            share: measured(looked.share),
            key: measured(cpu),
        })
    }
}
