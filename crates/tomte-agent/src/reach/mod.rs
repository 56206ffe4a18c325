//! What this host must be able to reach: `[[check]]` in its own file.
//!
//! All checks of a run are made side by side, on a thread and a small runtime
//! of their own that end with the run. What does not answer is a reading, not
//! a failure of the collector. A module a protocol; [`tls`] remembers the
//! certificate whether it is good or not.

mod certificate;
mod http;
mod mqtt;
mod ping;
mod tls;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tomte_collect::{CheckKind, CheckSettings, Collector, CollectorDef, Place, Root, Settings, Tier};
use tomte_model::{Facet, Moment, Outcome, Scope, Timestamp};

pub use certificate::fuzz_certificate;

/// The collectors of this module.
pub const COLLECTORS: &[CollectorDef] = &[CollectorDef {
    name: "check",
    tier: Tier::Medium,
    interval: None,
    deadline: Duration::from_secs(90),
    help: "What this host must be able to reach: ports, web pages, names, machines, brokers.",
    scopes: &["check", "check:ping"],
    make,
}];

/// So many are asked at once.
const AT_ONCE: usize = 32;
/// TLS in a build without optimisation takes more than collectors are given.
const STACK: usize = 1 << 20;

fn make(_: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Checks { checks: settings.check.clone().into(), trust: tls::Trust::default() })
}

struct Checks {
    checks: Arc<[CheckSettings]>,
    trust: tls::Trust,
}

/// What came of asking.
#[derive(Debug, Default)]
struct Found {
    latency: Option<Duration>,
    status: Option<u16>,
    certificate_ends: Option<Timestamp>,
    addresses: Vec<String>,
    loss: Option<f64>,
    error: Option<String>,
    /// The kernel does not let us ask: what to do about it.
    cure: Option<String>,
}

impl Found {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self { error: Some(error.to_string()), ..Self::default() }
    }
}

impl Collector for Checks {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        if self.checks.is_empty() {
            return vec![Scope::complete("check", Vec::new()), Scope::complete("check:ping", Vec::new())];
        }
        let (checks, trust) = (self.checks.clone(), self.trust.clone());
        let asking =
            thread::Builder::new().name("check".into()).stack_size(STACK).spawn(move || ask_all(&checks, &trust));
        let found = match asking.map(thread::JoinHandle::join) {
            Ok(Ok(Ok(found))) => found,
            Ok(Ok(Err(error))) | Err(error) => return both(&format!("checks cannot be made: {error}")),
            Ok(Err(_)) => return both("a check panicked, which is a defect of Tomte"),
        };
        let (mut facets, mut pings, mut denied) = (Vec::new(), Vec::new(), None);
        for (check, found) in self.checks.iter().zip(found) {
            let ping = check.kind == CheckKind::Ping;
            if let (Some(cure), Some(error)) = (&found.cure, &found.error) {
                denied = Some(Outcome::Denied { error: error.clone(), cure: cure.clone() });
                continue;
            }
            let facet = facet(check, found, now);
            if ping { pings.push(facet) } else { facets.push(facet) }
        }
        let pings = match denied {
            Some(outcome) => Scope::failed("check:ping", outcome),
            None => Scope::complete("check:ping", pings),
        };
        vec![Scope::complete("check", facets), pings]
    }
}

fn both(error: &str) -> Vec<Scope> {
    let failed = |name: &'static str| Scope::failed(name, Outcome::Failed { error: error.to_owned() });
    vec![failed("check"), failed("check:ping")]
}

fn facet(check: &CheckSettings, found: Found, now: Moment) -> Facet {
    let mut facet = Facet::owner("check", &*check.name, "main");
    facet.text("type", check.kind.as_str());
    facet.text("target", &*check.target);
    facet.text("addresses", found.addresses.join(" "));
    let up = found.error.is_none();
    facet.read("up", f64::from(u8::from(up)));
    facet.read("down", f64::from(u8::from(!up)));
    facet.text("error", found.error.unwrap_or_default());
    facet.read("latency_seconds", found.latency.map(|latency| latency.as_secs_f64()));
    facet.read("http_status", found.status.map(f64::from));
    facet.read("packet_loss_ratio", found.loss);
    if let Some(ends) = found.certificate_ends {
        facet.text("certificate_expires", ends.to_string());
        let left = (ends.millis() - now.wall.millis()) as f64 / 1e3;
        facet.read("certificate_remaining_seconds", left.max(0.0));
    }
    facet
}

/// The answers, in the order of the checks.
fn ask_all(checks: &Arc<[CheckSettings]>, trust: &tls::Trust) -> std::io::Result<Vec<Found>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    let answers = runtime.block_on(async {
        let mut answers: Vec<Found> = checks.iter().map(|_| Found::failed("it was not asked")).collect();
        let mut asking = JoinSet::new();
        for at in 0..checks.len() {
            if asking.len() == AT_ONCE {
                take(&mut answers, asking.join_next().await);
            }
            let (checks, trust) = (checks.clone(), trust.clone());
            asking.spawn(async move { (at, ask(&checks[at], &trust).await) });
        }
        while !asking.is_empty() {
            take(&mut answers, asking.join_next().await);
        }
        answers
    });
    // A name server that does not answer is not waited for.
    runtime.shutdown_background();
    Ok(answers)
}

fn take(answers: &mut [Found], done: Option<Result<(usize, Found), tokio::task::JoinError>>) {
    if let Some(Ok((at, found))) = done
        && let Some(place) = answers.get_mut(at)
    {
        *place = found;
    }
}

async fn ask(check: &CheckSettings, trust: &tls::Trust) -> Found {
    let within = Duration::from_secs(check.timeout.into());
    let place = match check.place() {
        Ok(place) => place,
        Err(error) => return Found::failed(error),
    };
    let began = Instant::now();
    let asked = async {
        match check.kind {
            CheckKind::Tcp => match connect(&place).await {
                Ok(_) => Found::default(),
                Err(error) => Found::failed(error),
            },
            CheckKind::Http => http::ask(check, &place, trust).await,
            CheckKind::Dns => look_up(check, &place).await,
            CheckKind::Ping => ping::ask(&place, within).await,
            CheckKind::Mqtt => mqtt::ask(check, &place, trust).await,
        }
    };
    match tokio::time::timeout(within, asked).await {
        Ok(mut found) => {
            let latency = found.latency.unwrap_or_else(|| began.elapsed());
            found.latency = found.error.is_none().then_some(latency);
            found
        }
        Err(_) => Found::failed(format!("no answer within {} s", check.timeout)),
    }
}

async fn connect(place: &Place) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn look_up(check: &CheckSettings, place: &Place) -> Found {
    let mut found = match tokio::net::lookup_host((place.host.as_str(), 0)).await {
        Ok(addresses) => Found {
            addresses: addresses.map(|address| address.ip().to_string()).take(16).collect(),
            ..Found::default()
        },
        Err(error) => return Found::failed(error),
    };
    found.addresses.sort();
    found.addresses.dedup();
    if let Some(expect) = check.expect.as_ref().filter(|expect| !found.addresses.contains(expect)) {
        found.error = Some(format!("{expect} is not among its addresses"));
    }
    found
}

#[cfg(test)]
mod tests;
