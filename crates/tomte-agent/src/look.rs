//! One look at this host by every collector, for `once` and `doctor`: no
//! agent, no state, no hub.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use tomte_collect::{CollectorDef, Root};
use tomte_model::{BootId, Catalogue, Clock, HostId, Moment, Outcome, Report, Scope, Timestamp, Unit};

use crate::config::{Config, OutboxConfig};
use crate::outbox::Outbox;
use crate::pipeline::{Judged, Pipeline, PipelineOptions, Seen};

/// What one collector saw.
#[derive(Debug)]
pub struct Sight {
    /// Which one.
    pub def: &'static CollectorDef,
    /// When it looks again, in a running agent.
    pub interval: Duration,
    /// When it looked.
    pub moment: Moment,
    /// How long it took.
    pub duration: Duration,
    /// What it saw.
    pub scopes: Vec<Scope>,
}

/// Looks once, or twice with a pause between, which rates need. Each collector
/// has a thread of its own, so that one which hangs fails alone.
#[must_use]
pub fn look(config: &Config, root: &Root, pause: Option<Duration>, clock: &Arc<dyn Clock>) -> Vec<Sight> {
    let running: Vec<_> = config
        .collectors()
        .map(|(def, how)| {
            let mut collector = (def.make)(root, &config.collect);
            let (sender, receiver) = channel();
            let clock = clock.clone();
            let began = clock.now();
            let started = thread::Builder::new().name(def.name.to_owned()).spawn(move || {
                if let Some(pause) = pause {
                    collector.collect(clock.now());
                    thread::sleep(pause);
                }
                let moment = clock.now();
                let began = Instant::now();
                let scopes = collector.collect(moment);
                // Nobody may be waiting any more.
                let _ = sender.send((moment, began.elapsed(), scopes));
            });
            (def, how, began, started.is_ok().then_some(receiver))
        })
        .collect();
    let until = |how: Duration| Instant::now() + how + pause.unwrap_or_default();
    let deadlines: Vec<_> = running.iter().map(|(_, how, ..)| until(how.deadline)).collect();
    running
        .into_iter()
        .zip(deadlines)
        .map(|((def, how, began, receiver), deadline)| {
            let wait = deadline.saturating_duration_since(Instant::now());
            let answer =
                receiver.ok_or(RecvTimeoutError::Disconnected).and_then(|receiver| receiver.recv_timeout(wait));
            let (moment, duration, scopes) = answer.unwrap_or_else(|error| {
                let deadline = Unit::Seconds.format(how.deadline.as_secs_f64());
                let error = match error {
                    RecvTimeoutError::Timeout => format!("{} has not returned for {deadline}", def.name),
                    RecvTimeoutError::Disconnected => format!("{} panicked, which is a defect of Tomte", def.name),
                };
                let failed = |scope: &&'static str| Scope::failed(*scope, Outcome::Failed { error: error.clone() });
                (began, how.deadline, def.scopes.iter().map(failed).collect())
            });
            Sight { def, interval: how.interval, moment, duration, scopes }
        })
        .collect()
}

/// Judges what was seen, as the agent would.
#[must_use]
pub fn judged(config: &Config, host: HostId, boot_id: BootId, sights: Vec<Sight>) -> Vec<Report> {
    let options = PipelineOptions {
        host,
        boot_id,
        catalogue: Arc::new(Catalogue::builtin()),
        rules: config.thresholds.clone(),
        judged: Judged::default(),
    };
    let mut pipeline = Pipeline::new(options, Outbox::new(0, OutboxConfig::default(), Moment::default()));
    pipeline.outbox_mut().set_enabled(false);
    let clock_synchronised = tomte_collect::clock_synchronised();
    sights
        .into_iter()
        .map(|sight| {
            let Sight { def, interval, moment, scopes, .. } = sight;
            let seen = Seen { collector: def.name.into(), interval, moment, clock_synchronised, scopes };
            Arc::unwrap_or_clone(pipeline.submit(seen))
        })
        .collect()
}

/// A host that has no identity yet.
#[must_use]
pub fn nobody() -> HostId {
    HostId::from_parts(0, 0)
}

/// The moment of the newest report.
#[must_use]
pub fn newest(reports: &[Report]) -> Timestamp {
    reports.iter().map(|report| report.moment.wall).max().unwrap_or_default()
}
