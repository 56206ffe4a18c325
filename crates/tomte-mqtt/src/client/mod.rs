//! The loop around a session: connect, send what is due, listen, and begin
//! again after a while when the connection is lost.

mod address;
mod connect;

use std::time::Duration;

use rustls::AlertDescription;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use address::{Address, BadAddress, Scheme};
pub use connect::{ConnectError, Connector, TlsFiles, Wire};

use crate::protocol::{Publish, Version};
use crate::session::{ANSWER_WITHIN, Client, Happened, Session, SessionError};

/// The pause after the first failure; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// After something was heard, what is due is looked for at most this often.
const AFTER_HEARING: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A connection that lived this long was a good one: the next attempt comes soon.
const GOOD: Duration = Duration::from_secs(60);
/// How long a clean end may take.
const END_WITHIN: Duration = Duration::from_secs(3);

/// What a client publishes, and what it does with what it hears.
pub trait Driver: Send {
    /// What the broker says when the connection breaks.
    fn will(&self) -> Publish;
    /// There is a connection; nothing counts as sent on it.
    fn connected(&mut self);
    /// There is none any more, or none was to be had: nothing is due until the
    /// next one.
    fn lost(&mut self) {}
    /// What is due now, a bounded number; empty when nothing is.
    fn due(&mut self) -> Vec<Publish>;
    /// Somebody said something on a topic that is listened to.
    fn heard(&mut self, message: Publish);
    /// What to say before a clean end.
    fn goodbye(&mut self) -> Vec<Publish>;
    /// Returns when something may be due; called also while there is no
    /// connection. It is dropped and called again freely.
    fn wake(&mut self) -> impl Future<Output = ()> + Send;
}

/// How things stand with the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There never was a connection; why, as far as it was tried.
    Never(String),
    /// Connected.
    Connected,
    /// There was one; why there is none now.
    Lost(String),
}

/// How to speak to a broker.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach it.
    pub connector: Connector,
    /// Who we are.
    pub client: Client,
    /// The only version to speak; `None`: 5, or 3.1.1 with those who do not
    /// know it.
    pub version: Option<Version>,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the connection broke")]
    Broken(#[source] std::io::Error),
    #[error("the broker asks who we are; set mqtt.client_certificate and mqtt.client_key")]
    NoCertificate(#[source] std::io::Error),
    #[error("the broker closed the connection before it answered; is that its port for {0}://?")]
    ClosedEarly(Scheme),
    #[error("the broker closed the connection")]
    Closed,
    // Not every broker says so when it lets another one in.
    #[error(
        "the broker closed the connection soon after it let us in; is there another client with the client id {0}?"
    )]
    ClosedSoon(String),
}

impl End {
    fn broken(source: std::io::Error) -> Self {
        let why = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match why {
            Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => Self::NoCertificate(source),
            _ => Self::Broken(source),
        }
    }

    /// Whether the broker may know the other version.
    fn other_version_may_help(&self) -> bool {
        matches!(self, Self::ClosedEarly(_) | Self::Session(SessionError::Refused { version: false, .. }))
    }
}

/// Speaks to a broker until cancelled, through every loss of it.
pub async fn run<D: Driver>(
    settings: Settings,
    driver: &mut D,
    state: watch::Sender<State>,
    cancel: CancellationToken,
) {
    let mut version = settings.version.unwrap_or(Version::V5);
    let mut pause = FIRST_PAUSE;
    let mut told = String::new();
    loop {
        let began = Instant::now();
        let end = match one_connection(&settings, version, driver, &state, &cancel, &mut told).await {
            Ok(()) => return,
            Err(end) => end,
        };
        driver.lost();
        let text = with_causes(&end);
        if text != told {
            // The same trouble again is no news.
            warn!(broker = %settings.connector.address(), "{text}");
            told.clone_from(&text);
        }
        state.send_modify(|state| {
            *state = match state {
                State::Never(_) => State::Never(text),
                State::Connected | State::Lost(_) => State::Lost(text),
            }
        });
        if began.elapsed() >= GOOD {
            pause = FIRST_PAUSE;
        }
        if settings.version.is_none() && end.other_version_may_help() {
            version = match version {
                Version::V5 => Version::V311,
                Version::V311 => Version::V5,
            };
        }
        // Not all hosts at once when a broker is back.
        let jittered = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        let waited = async {
            loop {
                driver.wake().await;
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = sleep(jittered) => {}
            () = waited => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// An error with what led to it, for a log line.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

async fn one_connection<D: Driver>(
    settings: &Settings,
    version: Version,
    driver: &mut D,
    state: &watch::Sender<State>,
    cancel: &CancellationToken,
    told: &mut String,
) -> Result<(), End> {
    let mut wire = tokio::select! {
        () = cancel.cancelled() => return Ok(()),
        wire = settings.connector.connect() => wire?,
    };
    let began = Instant::now();
    let now = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut session = Session::new(version, settings.client.clone(), Some(&driver.will()), 0);
    // A flood of what others say must not be as many looks at what is due.
    let (mut heard, mut looked) = (false, began);
    loop {
        let out = session.take_out();
        if !out.is_empty() {
            wire.write(&out).await.map_err(End::broken)?;
        }
        let pause = looked + AFTER_HEARING;
        if session.is_connected() && session.is_idle() && (!heard || Instant::now() >= pause) {
            (heard, looked) = (false, Instant::now());
            let due = driver.due();
            if !due.is_empty() {
                due.into_iter().for_each(|message| session.publish(message));
                continue;
            }
        }
        let wake_at = began + Duration::from_millis(session.wake_at());
        let idle = session.is_connected() && session.is_idle();
        tokio::select! {
            () = cancel.cancelled() => break,
            read = wire.read() => {
                let read = read.map_err(End::broken)?;
                let Some(bytes) = read else {
                    return Err(match session.is_connected() {
                        false => End::ClosedEarly(settings.connector.address().scheme),
                        true if began.elapsed() < GOOD => End::ClosedSoon(settings.client.id.clone()),
                        true => End::Closed,
                    });
                };
                heard = true;
                for happened in session.receive(&bytes, now())? {
                    if happened == Happened::Connected {
                        heard = false;
                        info!(broker = %settings.connector.address(), "connected to the broker");
                        told.clear();
                        state.send_replace(State::Connected);
                        driver.connected();
                    }
                    note(happened, driver);
                }
            }
            () = sleep_until(wake_at) => session.tick(now())?,
            () = sleep_until(pause), if idle && heard => {}
            () = driver.wake(), if idle => heard = false,
        }
    }
    // A clean end fires no will, so it is said.
    let end = async {
        if session.is_connected() {
            driver.goodbye().into_iter().for_each(|message| session.publish(message));
            loop {
                let out = session.take_out();
                if !out.is_empty() {
                    wire.write(&out).await?;
                }
                if session.is_settled() {
                    break;
                }
                let Some(bytes) = wire.read().await? else { break };
                if session.receive(&bytes, now()).is_err() {
                    break;
                }
            }
            session.close();
        }
        wire.write(&session.take_out()).await?;
        wire.close().await
    };
    if let Ok(Err(error)) = timeout(END_WITHIN, end).await {
        warn!(%error, "the broker was gone before the end");
    }
    Ok(())
}

/// Why an attempt to connect failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// In words.
    pub why: String,
    /// Whether somebody answered at all.
    pub answered: bool,
}

/// Connects once and leaves again, to see whether that works.
///
/// # Errors
/// When it does not.
pub async fn try_once(settings: &Settings) -> Result<Version, Failed> {
    let mut version = settings.version.unwrap_or(Version::V5);
    let mut again = settings.version.is_none();
    loop {
        match timeout(ANSWER_WITHIN, greeted(settings, version)).await {
            Ok(Ok(())) => return Ok(version),
            Ok(Err(end)) if again && end.other_version_may_help() => (version, again) = (Version::V311, false),
            Ok(Err(end)) => {
                let answered = !matches!(end, End::Connect(ConnectError::Unreachable { .. }));
                return Err(Failed { why: with_causes(&end), answered });
            }
            Err(_) => return Err(Failed { why: SessionError::Silent.to_string(), answered: false }),
        }
    }
}

async fn greeted(settings: &Settings, version: Version) -> Result<(), End> {
    let mut wire = settings.connector.connect().await?;
    let client = Client { subscriptions: Vec::new(), ..settings.client.clone() };
    let mut session = Session::new(version, client, None, 0);
    wire.write(&session.take_out()).await.map_err(End::broken)?;
    while !session.is_connected() {
        let bytes =
            wire.read().await.map_err(End::broken)?.ok_or(End::ClosedEarly(settings.connector.address().scheme))?;
        session.receive(&bytes, 0)?;
    }
    session.close();
    wire.write(&session.take_out()).await.map_err(End::broken)
}

fn note<D: Driver>(happened: Happened, driver: &mut D) {
    match happened {
        Happened::Connected => {}
        Happened::Message(message) => driver.heard(message),
        Happened::TooLarge(bytes) => warn!(bytes, "a message that is too large was not taken"),
        Happened::NotSubscribed(topics) => {
            warn!("the broker does not let this user listen to {}; see its access list", topics.join(", "));
        }
        Happened::NotPublished(reason) => warn!("the broker refused a message: {reason}"),
    }
}
