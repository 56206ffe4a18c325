//! The agent's end of the link, as long as it runs: connect, send what the
//! outbox has, take in what the hub says, connect again.
//!
//! [`run`] is generic over how connections are made, so that the tests and the
//! demo run the same loop on in-process twins. Heartbeats, reports and what
//! the hub says do not wait for each other, nor for any collector.

mod pace;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tomte_collect::Seat;
use tomte_link::{CloseCode, LinkError, TransportError};
use tracing::{debug, info, warn};

use crate::connect::{ConnectError, Connector};
use crate::station::{Command, Station};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A connection that lived this long was a good one: the next attempt comes soon.
const GOOD: Duration = Duration::from_secs(30);

/// What an agent says of itself.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// What the machine calls itself.
    pub name: String,
    /// The agent's version.
    pub version: String,
    /// Random, made anew by every agent process.
    pub instance: u128,
    /// Whether the agent publishes to an MQTT broker of its own.
    pub publishes_mqtt: bool,
    /// Whether the host's clock is disciplined now.
    pub synchronised: fn() -> bool,
    /// Where it is decided who tells of the host's cluster.
    pub seat: Arc<Seat>,
    /// The pause after the first failure; it doubles from there, up to a minute.
    pub first_pause: Duration,
}

impl LinkOptions {
    /// For a machine of that name, with this build's version.
    #[must_use]
    pub fn new(name: impl Into<String>, instance: u128) -> Self {
        Self {
            name: name.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance,
            publishes_mqtt: false,
            synchronised: tomte_collect::clock_synchronised,
            seat: Arc::default(),
            first_pause: Duration::from_secs(1),
        }
    }
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkEnd {
    /// There never was one.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It broke, or the hub closed it.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The hub ended it and said why.
    #[error("the hub ended the connection ({}): {reason}", .code.code())]
    Closed {
        /// Why, for programs.
        code: CloseCode,
        /// Why, for people.
        reason: String,
    },
    /// The hub sent something that makes no sense.
    #[error(transparent)]
    Protocol(#[from] LinkError),
    /// The hub was silent for too long.
    #[error("the hub has been silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// The agent stops.
    #[error("the agent stops")]
    Stopping,
}

impl LinkEnd {
    fn code(&self) -> Option<CloseCode> {
        match self {
            Self::Connect(error) if error.is_unauthorised() => Some(CloseCode::Unauthorised),
            Self::Connect(ConnectError::Refused { status: 429, .. }) => Some(CloseCode::SlowDown),
            Self::Transport(TransportError::ClosedBecause { code, .. }) | Self::Closed { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// What somebody has to do before this can work again.
    fn cure(&self) -> Option<&'static str> {
        match self.code()? {
            CloseCode::Unauthorised | CloseCode::Forbidden => {
                Some("make a new code on the hub with `tomte host add NAME` and run `tomte-agent enroll` here")
            }
            CloseCode::NoCommonVersion => Some("update the older of agent and hub"),
            CloseCode::Displaced => {
                Some("if this host was cloned, remove the copy's state folder and enroll the copy by itself")
            }
            _ => None,
        }
    }

    /// Whether trying again soon is pointless.
    fn is_lasting(&self) -> bool {
        self.cure().is_some() && self.code() != Some(CloseCode::Displaced) || self.code() == Some(CloseCode::SlowDown)
    }
}

/// An error with all that caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The pause before the next attempt: doubling from one second, capped, and
/// jittered so that a fleet does not return all at once.
#[derive(Debug)]
struct Backoff {
    first: Duration,
    attempts: u32,
}

impl Backoff {
    fn pause(&mut self, end: &LinkEnd, lived: Duration, jitter: f64) -> Duration {
        self.attempts = if lived >= GOOD { 1 } else { self.attempts.saturating_add(1) };
        let doubled = self.first.saturating_mul(1 << self.attempts.saturating_sub(1).min(20));
        let longest = if end.is_lasting() { LONGEST_PAUSE } else { doubled.min(LONGEST_PAUSE) };
        longest.mul_f64(0.5 + 0.5 * jitter)
    }
}

/// Keeps the station connected until cancelled; then lets what waits go out
/// and says goodbye.
pub async fn run<C: Connector>(
    station: Arc<Station>,
    options: LinkOptions,
    mut connector: C,
    commands: mpsc::Sender<Command>,
    cancel: CancellationToken,
) {
    let mut backoff = Backoff { first: options.first_pause, attempts: 0 };
    // The same trouble is told once, however often it is tried.
    let mut told = None;
    loop {
        let began = Instant::now();
        let connected = tokio::select! {
            connected = connector.connect() => connected,
            () = cancel.cancelled() => return,
        };
        let end = match connected {
            Ok(transport) => {
                let welcomed = || {
                    if told.take().is_some() {
                        info!("connected to the hub again");
                    } else {
                        info!("connected to the hub");
                    }
                };
                session::run(&station, &options, transport, &commands, &cancel, welcomed).await
            }
            Err(error) => error.into(),
        };
        if matches!(end, LinkEnd::Stopping) {
            return;
        }
        let pause = backoff.pause(&end, began.elapsed(), fastrand::f64());
        let why = with_causes(&end);
        if told.as_ref() == Some(&why) {
            debug!(why, ?pause, "no connection to the hub");
        } else {
            match end.cure() {
                Some(cure) => warn!(cure, "{why}"),
                None => warn!("{why}"),
            }
            told = Some(why);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => return,
        }
    }
}
