//! Whole frames, and what leads from one to the next: keys, the mouse, what
//! the hub tells and fails to tell.

#![allow(clippy::unwrap_used)]

mod behaviour;
mod chaos;
mod frames;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use tomte_api::live::{Body, Snapshot};
use tomte_model::Timestamp;

use crate::app::{App, Surroundings, Target};
use crate::config::Config;
use crate::effect::{Answer, Effect, Event, Question};
use crate::sample::{self, NOW};
use crate::theme::Depth;
use crate::{render, update};

/// The application with a hub that answers as the test says.
struct Rig {
    app: App,
    now: Timestamp,
    effects: Vec<Effect>,
}

fn surroundings(target: Target) -> Surroundings {
    Surroundings {
        target,
        address: "hub.lan:8420".to_owned(),
        depth: Depth::True,
        unicode: true,
        zone: TimeZone::UTC,
        host: None,
    }
}

impl Rig {
    fn new(size: (u16, u16)) -> Self {
        Self::with(Config::default(), surroundings(Target::Hub), size)
    }

    fn with(config: Config, surroundings: Surroundings, size: (u16, u16)) -> Self {
        Self { app: App::new(config, surroundings, size, NOW).unwrap(), now: NOW, effects: Vec::new() }
    }

    fn event(&mut self, event: Event) -> &mut Self {
        let now = self.now;
        self.effects.extend(update(&mut self.app, event, now));
        self
    }

    /// Connected, and told of a fleet.
    fn fleet(size: (u16, u16), snapshot: Snapshot) -> Self {
        let mut rig = Self::new(size);
        rig.event(Event::Connected);
        rig.tell("fleet", Body::Snapshot(snapshot));
        rig
    }

    /// On the page of a host that has everything.
    fn host(size: (u16, u16)) -> Self {
        let mut rig = Self::fleet(size, sample::fleet(8));
        let id = sample::host_id(7);
        // The one with a critical file system is the worst, and so the first.
        rig.keys("<enter>");
        assert_eq!(rig.app.host.id, Some(id));
        rig.tell("host", Body::Snapshot(Snapshot { at: NOW, hosts: Vec::new(), resources: sample::everything(id) }));
        rig
    }

    /// What the hub tells in a subscription.
    fn tell(&mut self, slot: &str, body: Body) -> &mut Self {
        let number = self.app.subscribed.get(slot).map_or(0, |(number, _)| *number);
        self.event(Event::Told(Box::new(sample::message(&format!("{slot}-{number}"), body))))
    }

    /// Answers the newest question of a sort.
    fn answer(&mut self, wanted: impl Fn(&Question) -> bool, answer: Result<Answer, String>) -> &mut Self {
        let number = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Ask(number, question) if wanted(question) => Some(*number),
            _ => None,
        });
        self.event(Event::Answer(number.unwrap(), answer.map(Box::new)))
    }

    /// Types: letters as they are, others in angle brackets: `/nas<enter>`.
    fn keys(&mut self, keys: &str) -> &mut Self {
        let mut rest = keys;
        while let Some(first) = rest.chars().next() {
            let (name, after) = match rest.strip_prefix('<').and_then(|named| named.split_once('>')) {
                Some((name, after)) => (name.to_owned(), after),
                None => (first.to_string(), &rest[first.len_utf8()..]),
            };
            rest = after;
            self.event(Event::Key(key(&name)));
        }
        self
    }

    fn click(&mut self, x: u16, y: u16) -> &mut Self {
        let kind = MouseEventKind::Down(MouseButton::Left);
        self.event(Event::Mouse(MouseEvent { kind, column: x, row: y, modifiers: KeyModifiers::NONE }))
    }

    fn wheel(&mut self, x: u16, y: u16, down: bool) -> &mut Self {
        let kind = if down { MouseEventKind::ScrollDown } else { MouseEventKind::ScrollUp };
        self.event(Event::Mouse(MouseEvent { kind, column: x, row: y, modifiers: KeyModifiers::NONE }))
    }

    fn later(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now.plus(std::time::Duration::from_secs(seconds));
        self.event(Event::Tick)
    }

    fn buffer(&self) -> Buffer {
        let (columns, lines) = self.app.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
        terminal.draw(|frame| render(&self.app, frame)).unwrap();
        terminal.backend().buffer().clone()
    }

    /// The screen as text, a line a line, blanks at the ends left out.
    fn screen(&self) -> String {
        let buffer = self.buffer();
        let mut text = String::new();
        for y in 0..buffer.area.height {
            let mut line = String::new();
            let mut skip = 0;
            for x in 0..buffer.area.width {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                let symbol = buffer[(x, y)].symbol();
                skip = crate::text::width(symbol).saturating_sub(1);
                line.push_str(symbol);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The lines of the screen that a text is in.
    fn line(&self, with: &str) -> String {
        let screen = self.screen();
        screen.lines().find(|line| line.contains(with)).unwrap_or_else(|| panic!("no {with:?} in\n{screen}")).to_owned()
    }
}

fn key(name: &str) -> KeyEvent {
    let (name, modifiers) = match name.strip_prefix("ctrl-") {
        Some(name) => (name, KeyModifiers::CONTROL),
        None => (name, KeyModifiers::NONE),
    };
    let code = match name {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "tab" => KeyCode::Tab,
        "backtab" => KeyCode::BackTab,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "end" => KeyCode::End,
        "pagedown" => KeyCode::PageDown,
        "backspace" => KeyCode::Backspace,
        _ => KeyCode::Char(name.chars().next().unwrap()),
    };
    KeyEvent::new(code, modifiers)
}
