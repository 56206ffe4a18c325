//! What happens to the application, and what it wants done: the language
//! between the pure core and the shell around it.

use crossterm::event::{KeyEvent, MouseEvent};
use tomte_api::catalogue::Kind;
use tomte_api::event::Event as Happening;
use tomte_api::history::{History, HistoryQuery};
use tomte_api::host::Host;
use tomte_api::live::{Message, Subscribe};
use tomte_api::page::Page;
use tomte_api::resource::Resource;

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse was moved or clicked.
    Mouse(MouseEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has another size: columns, rows.
    Resize(u16, u16),
    /// Time passed.
    Tick,
    /// The live stream is open, with nothing subscribed to.
    Connected,
    /// The live stream is gone, and why.
    Lost(String),
    /// The live stream told something.
    Told(Box<Message>),
    /// The answer to a question.
    Answer(u64, Result<Box<Answer>, String>),
    /// Something else to tell whoever looks.
    Notice(String),
}

/// Something to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Watch this.
    Subscribe(Subscribe),
    /// Watch it no longer.
    Unsubscribe(String),
    /// Ask this; the number comes back with the answer.
    Ask(u64, Question),
    /// Have a host read anew.
    Refresh(String),
    /// Ring.
    Bell,
    /// Write settings into the configuration.
    Save(Vec<(&'static str, toml::Value)>),
    /// Listen to the mouse, or leave it to the terminal.
    Mouse(bool),
    /// Leave for the shell until it calls us back.
    Suspend,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// What kinds and fields mean.
    Catalogue,
    /// Events, newest first; those before this cursor.
    Events(Option<String>),
    /// How readings were.
    History(Box<HistoryQuery>),
    /// Resources that a text occurs in.
    Search(String),
    /// How everything was at a moment, in milliseconds since 1970.
    Moment {
        /// When.
        at: i64,
        /// The host whose resources are wanted.
        host: Option<String>,
        /// The readings that are wanted besides.
        query: Box<HistoryQuery>,
    },
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// What kinds and fields mean.
    Catalogue(Vec<Kind>),
    /// Events, newest first.
    Events(Page<Happening>),
    /// How readings were.
    History(History),
    /// Resources that a text occurs in.
    Found(Vec<Resource>),
    /// How everything was at a moment.
    Moment {
        /// The hosts.
        hosts: Vec<Host>,
        /// What the host on screen had.
        resources: Vec<Resource>,
        /// The readings up to then.
        history: History,
    },
}
