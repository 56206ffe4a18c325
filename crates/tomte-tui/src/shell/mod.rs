//! The shell around the pure core: the terminal, the connection, the clock.

mod link;
mod once;
mod terminal;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{Event as TerminalEvent, EventStream};
use futures_util::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tomte_api::client::Client;
use tomte_model::Timestamp;

use crate::app::{App, Surroundings};
use crate::config::{Loaded, save};
use crate::effect::{Effect, Event};
use crate::update::update;
use link::Link;
use terminal::Screen;

/// What comes from the hub is drawn at most so often; a key is drawn at once.
const FRAME: Duration = Duration::from_millis(33);

/// How often ages are looked at.
const TICK: Duration = Duration::from_millis(250);

/// What to run with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The settings, and where they go when they change.
    pub loaded: Loaded,
    /// The terminal, and whom we talk to.
    pub surroundings: Surroundings,
    /// Print one frame and leave.
    pub once: Option<Once>,
}

/// How the one frame is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Once {
    /// How wide.
    pub columns: u16,
    /// How high; as high as it needs when absent.
    pub lines: Option<u16>,
    /// Whether with colour.
    pub colour: bool,
}

/// Why it ended otherwise than by its user's wish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopError {
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
    /// There is no terminal to draw on.
    #[error("this needs a terminal; `tomte top --once` prints a frame anywhere")]
    NoTerminal,
    /// The terminal does not do as told.
    #[error("the terminal cannot be used")]
    Terminal(#[source] io::Error),
    /// Nobody told anything to show.
    #[error("{0}")]
    Nothing(String),
    /// A signal cannot be waited for.
    #[error("signals cannot be waited for")]
    Signals(#[source] io::Error),
}

/// The present time: this is the edge, it may read a clock.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Runs until its user leaves, a signal ends it, or the terminal is gone.
///
/// # Errors
/// When there is no terminal, or the configuration contradicts itself. A hub
/// that is not there is no error: it is tried again.
pub async fn run(client: Client, options: Options) -> Result<(), TopError> {
    let client = Arc::new(client);
    if let Some(how) = options.once {
        return once::print(client, options, how).await;
    }
    let size = terminal::size()?;
    let app = App::new(options.loaded.config.clone(), options.surroundings, size, now()).map_err(TopError::Config)?;
    let (sender, events) = mpsc::channel(256);
    let link = Link::start(client, sender);
    let screen = Screen::enter(app.config.mouse)?;
    Shell { app, screen, link, events, file: options.loaded.file }.run().await
}

struct Shell {
    app: App,
    screen: Screen,
    link: Link,
    events: mpsc::Receiver<Event>,
    file: PathBuf,
}

impl Shell {
    async fn run(mut self) -> Result<(), TopError> {
        let mut keys = EventStream::new();
        let mut ends = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()]
            .into_iter()
            .map(signal)
            .collect::<Result<Vec<_>, _>>()
            .map_err(TopError::Signals)?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut drawn = Instant::now() - FRAME;
        let mut waiting = true;
        let mut whole = false;
        self.draw()?;
        loop {
            let [terminated, hung_up, interrupted] = ends.as_mut_slice() else { return Ok(()) };
            let mut urgent = false;
            tokio::select! {
                key = keys.next() => match key {
                    Some(Ok(event)) => {
                        urgent = true;
                        self.terminal_event(event)?;
                    }
                    // Nobody can be at the other end any more.
                    Some(Err(_)) | None => return Ok(()),
                },
                event = self.events.recv() => match event {
                    Some(event) => self.take(event)?,
                    None => return Ok(()),
                },
                _ = tick.tick() => self.take(Event::Tick)?,
                () = sleep_until(drawn + FRAME), if waiting => {}
                _ = terminated.recv() => return Ok(()),
                _ = hung_up.recv() => return Ok(()),
                _ = interrupted.recv() => return Ok(()),
            }
            // What has come meanwhile is one picture.
            while let Ok(event) = self.events.try_recv() {
                self.take(event)?;
            }
            if self.app.leaving() {
                return Ok(());
            }
            waiting |= self.app.take_dirty();
            // What was started for is shown as soon as it is there.
            if !whole && self.app.complete() {
                (whole, urgent) = (true, true);
            }
            if waiting && (urgent || drawn.elapsed() >= FRAME) {
                self.draw()?;
                drawn = Instant::now();
                waiting = false;
            }
        }
    }

    fn draw(&mut self) -> Result<(), TopError> {
        // A size that is not known yet is taken in first: no frame is drawn
        // for a screen that is no more.
        let size = terminal::size()?;
        if size != self.app.size {
            self.take(Event::Resize(size.0, size.1))?;
            self.app.take_dirty();
        }
        self.screen.draw(&self.app)
    }

    fn terminal_event(&mut self, event: TerminalEvent) -> Result<(), TopError> {
        match event {
            TerminalEvent::Key(key) => self.take(Event::Key(key)),
            TerminalEvent::Mouse(mouse) => self.take(Event::Mouse(mouse)),
            TerminalEvent::Paste(text) => self.take(Event::Paste(text)),
            TerminalEvent::Resize(columns, lines) => self.take(Event::Resize(columns, lines)),
            TerminalEvent::FocusGained | TerminalEvent::FocusLost => Ok(()),
        }
    }

    fn take(&mut self, event: Event) -> Result<(), TopError> {
        if matches!(event, Event::Lost(_)) {
            self.link.lost();
        }
        for effect in update(&mut self.app, event, now()) {
            match effect {
                Effect::Bell => self.screen.ring()?,
                Effect::Mouse(listen) => self.screen.listen(listen)?,
                Effect::Suspend => self.screen.suspend(self.app.config.mouse)?,
                Effect::Save(settings) => {
                    if let Err(error) = save(&self.file, &settings) {
                        let why = link::in_words(&error);
                        tracing::warn!(why, "settings were not written");
                        update(&mut self.app, Event::Notice(why), now());
                    }
                }
                effect => self.link.perform(effect),
            }
        }
        Ok(())
    }
}
