//! What is on the screen and what is known: the state that [`crate::update`]
//! changes and [`crate::render`] draws. No I/O, and no clock: `now` is the time
//! of the last event.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use tomte_api::catalogue::Kind;
use tomte_api::event::Event;
use tomte_api::live::Subscribe;
use tomte_model::{HostId, Severity, Timestamp};

use crate::chart::Chart;
use crate::config::Config;
use crate::effect::{Effect, Question};
use crate::glyphs::{ASCII, Glyphs, UNICODE};
use crate::keys::{Chord, Keymap, Scope};
use crate::list::{Cursor, Input};
use crate::panels::Panel;
use crate::search::Search;
use crate::settings::Settings;
use crate::theme::{Depth, Theme};
use crate::units;
use crate::world::{Key, Known, World};

/// How many events are kept.
pub(crate) const EVENTS_KEPT: usize = 2_000;

/// Whom we talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A hub, with its fleet.
    Hub,
    /// One agent's local socket.
    Agent,
}

/// What the terminal is like, and whom we talk to: what does not change.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Whom.
    pub target: Target,
    /// Where that is, for the status bar.
    pub address: String,
    /// How many colours there are.
    pub depth: Depth,
    /// Whether the locale is one of Unicode.
    pub unicode: bool,
    /// Where we are, for times of day.
    pub zone: TimeZone,
    /// The host to show first.
    pub host: Option<String>,
}

/// A page of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Fleet,
    Host,
    Events,
}

impl View {
    pub(crate) const ALL: [Self; 3] = [Self::Fleet, Self::Host, Self::Events];
}

/// How the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// Since when.
    Connecting(Timestamp),
    Up,
    /// Since when, and why.
    Down(Timestamp, String),
}

/// A line of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FleetRow {
    /// A role, and how many hosts have it.
    Group(String, usize),
    Host(HostId),
}

/// The page of the fleet.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// The place of the column it is sorted by.
    pub(crate) sort: usize,
    pub(crate) falling: bool,
    pub(crate) group: bool,
    pub(crate) filter: String,
    pub(crate) selected: Option<HostId>,
    /// Whether somebody chose it; until then it is the first.
    pub(crate) chosen: bool,
    pub(crate) offset: usize,
    pub(crate) rows: Vec<FleetRow>,
}

/// The page of a host.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostPage {
    pub(crate) id: Option<HostId>,
    /// The host that was asked for by name and is not known yet.
    pub(crate) asked: Option<String>,
    pub(crate) focus: String,
    pub(crate) zoomed: bool,
    pub(crate) offset: u16,
    pub(crate) filter: String,
    pub(crate) cursors: BTreeMap<String, Cursor>,
    pub(crate) panels: Vec<Panel>,
    pub(crate) chart: Option<Chart>,
    /// The resource to go to once it is told.
    pub(crate) wanted: Option<Key>,
}

/// The page of events.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventsPage {
    /// Newest first.
    pub(crate) all: Vec<Event>,
    /// Those that are shown, by place.
    pub(crate) rows: Vec<usize>,
    pub(crate) cursor: Cursor,
    pub(crate) filter: String,
    pub(crate) least: Option<Severity>,
    /// Where older ones are; `None` when there are none.
    pub(crate) older: Option<String>,
    /// The question under way, and whether it is for older ones.
    pub(crate) waiting: Option<(u64, bool)>,
}

/// What lies on top of the page.
#[derive(Debug, Clone)]
pub(crate) enum Overlay {
    Help { offset: usize },
    Sort { cursor: Cursor },
    Settings(Box<Settings>),
    Search(Box<Search>),
    Event { event: Box<Event>, offset: usize },
}

/// What stands still.
#[derive(Debug, Clone)]
pub(crate) struct Frozen {
    pub(crate) at: Timestamp,
    pub(crate) world: Box<World>,
}

/// The past moment that is on screen, or on its way there.
#[derive(Debug, Clone)]
pub(crate) struct Travel {
    pub(crate) at: Timestamp,
    /// The question under way.
    pub(crate) waiting: Option<u64>,
    /// Whether it goes on by itself.
    pub(crate) playing: bool,
    /// When it last moved.
    pub(crate) moved: Timestamp,
}

/// The whole state.
#[derive(Debug)]
pub struct App {
    pub(crate) surroundings: Surroundings,
    pub(crate) config: Config,
    pub(crate) keymap: Keymap,
    pub(crate) theme: Theme,
    pub(crate) glyphs: Glyphs,
    pub(crate) size: (u16, u16),
    /// The hub's present time, or ours until it was heard.
    pub(crate) now: Timestamp,
    /// How far the hub's clock is ahead of ours, in milliseconds.
    pub(crate) ahead: i64,
    pub(crate) link: Link,
    /// When anything was last heard.
    pub(crate) heard: Option<Timestamp>,
    /// What belongs to the picture but is not told live is still to be asked.
    pub(crate) behind: bool,
    pub(crate) world: World,
    pub(crate) frozen: Option<Frozen>,
    pub(crate) travel: Option<Travel>,
    /// The moment that is being typed.
    pub(crate) jumping: Option<Input>,
    pub(crate) catalogue: Vec<Kind>,
    pub(crate) columns: Vec<usize>,
    pub(crate) view: View,
    pub(crate) fleet: Fleet,
    pub(crate) host: HostPage,
    pub(crate) events: EventsPage,
    pub(crate) overlay: Option<Overlay>,
    /// The filter that is being typed.
    pub(crate) typing: Option<Input>,
    pub(crate) pending: Vec<Chord>,
    pub(crate) notice: Option<(String, Timestamp)>,
    pub(crate) subscribed: BTreeMap<&'static str, (u64, Subscribe)>,
    pub(crate) sequence: u64,
    pub(crate) effects: Vec<Effect>,
    pub(crate) leaving: bool,
    /// The last place that was clicked, and when.
    pub(crate) clicked: Option<(u16, u16, Timestamp)>,
    dirty: bool,
}

impl App {
    /// The state at the start.
    ///
    /// # Errors
    /// With a sentence, when the configuration contradicts itself.
    pub fn new(config: Config, surroundings: Surroundings, size: (u16, u16), now: Timestamp) -> Result<Self, String> {
        let unicode = match config.characters.as_str() {
            "unicode" => true,
            "ascii" => false,
            _ => surroundings.unicode,
        };
        let sort = crate::columns::place(&config.sort).unwrap_or_default();
        let lone = surroundings.target == Target::Agent || surroundings.host.is_some();
        Ok(Self {
            keymap: config.keymap()?,
            theme: Theme::of(&config.theme, &config.themes, surroundings.depth)?,
            glyphs: if unicode { UNICODE } else { ASCII },
            columns: config.columns(),
            fleet: Fleet {
                sort,
                falling: crate::columns::COLUMNS[sort].falling,
                group: config.group,
                filter: String::new(),
                selected: None,
                chosen: false,
                offset: 0,
                rows: Vec::new(),
            },
            view: if lone { View::Host } else { View::Fleet },
            host: HostPage { asked: surroundings.host.clone(), ..HostPage::default() },
            surroundings,
            config,
            size,
            now,
            ahead: 0,
            link: Link::Connecting(now),
            heard: None,
            behind: false,
            world: World::default(),
            frozen: None,
            travel: None,
            jumping: None,
            catalogue: tomte_model::Catalogue::builtin().kinds().map(Kind::from).collect(),
            events: EventsPage::default(),
            overlay: None,
            typing: None,
            pending: Vec::new(),
            notice: None,
            subscribed: BTreeMap::new(),
            sequence: 0,
            effects: Vec::new(),
            leaving: false,
            clicked: None,
            dirty: true,
        })
    }

    /// Whether what the screen should show has changed since this was asked last.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// Whether it is over.
    #[must_use]
    pub fn leaving(&self) -> bool {
        self.leaving
    }

    /// Whether everything that a first look needs has been told.
    #[must_use]
    pub fn complete(&self) -> bool {
        match self.view {
            View::Host => self.world.detail.as_ref().is_some_and(|detail| detail.told),
            View::Fleet | View::Events => self.world.told,
        }
    }

    /// Why there is no connection, if there is none.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        match &self.link {
            Link::Down(_, why) => Some(why),
            Link::Connecting(_) | Link::Up => None,
        }
    }

    pub(crate) fn touch(&mut self) {
        self.dirty = true;
    }

    /// What the screen shows: what is, or what stands still.
    pub(crate) fn shown(&self) -> &World {
        self.frozen.as_ref().map_or(&self.world, |frozen| &frozen.world)
    }

    /// The moment that the screen shows.
    pub(crate) fn moment(&self) -> Timestamp {
        self.frozen.as_ref().map_or(self.now, |frozen| frozen.at)
    }

    /// A text of the fleet as people here read it; see [`units::told`].
    pub(crate) fn told<'a>(&self, text: &'a str) -> Cow<'a, str> {
        units::told(text, self.moment(), &self.surroundings.zone)
    }

    /// Which part of the screen has the keyboard.
    pub(crate) fn scope(&self) -> Scope {
        match self.view {
            _ if self.overlay.is_some() => Scope::Everywhere,
            View::Fleet => Scope::Fleet,
            View::Host if self.host.chart.is_some() => Scope::Chart,
            View::Host => Scope::Host,
            View::Events => Scope::Events,
        }
    }

    /// The host on the host's page.
    pub(crate) fn current(&self) -> Option<&Known> {
        self.host.id.and_then(|id| self.shown().hosts.get(&id))
    }

    /// Asks something of the hub; the answer comes back with the number.
    pub(crate) fn ask(&mut self, question: Question) -> u64 {
        self.sequence += 1;
        self.effects.push(Effect::Ask(self.sequence, question));
        self.sequence
    }

    /// Tells something in the status bar for a while.
    pub(crate) fn notify(&mut self, text: impl Into<String>) {
        self.notice = Some((text.into(), self.now.plus(std::time::Duration::from_secs(6))));
        self.touch();
    }

    /// What is being filtered on this page.
    pub(crate) fn filter(&self) -> &str {
        match self.view {
            View::Fleet => &self.fleet.filter,
            View::Host => &self.host.filter,
            View::Events => &self.events.filter,
        }
    }

    pub(crate) fn set_filter(&mut self, text: String) {
        match self.view {
            View::Fleet => self.fleet.filter = text,
            View::Host => self.host.filter = text,
            View::Events => {
                self.events.filter = text;
                self.events.cursor = Cursor::default();
            }
        }
    }
}
