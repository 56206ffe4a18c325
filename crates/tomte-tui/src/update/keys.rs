//! Keys: to the line that is being typed, if there is one, else by the table.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::app::{App, Overlay};
use crate::keys::{Action, Chord, Meaning};
use crate::list::{Input, Typed};
use crate::update::{actions, travel};

pub(super) fn key(app: &mut App, key: KeyEvent) {
    if key.kind == KeyEventKind::Release {
        return;
    }
    app.touch();
    // Whatever is being typed, this leaves.
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        app.leaving = true;
        return;
    }
    if typed(app, key) {
        return;
    }
    app.pending.push(Chord::from(key));
    let pending = app.pending.clone();
    match app.keymap.meaning(app.scope(), &pending) {
        Meaning::Begun => {}
        Meaning::Action(action) => {
            app.pending.clear();
            actions::act(app, action);
        }
        Meaning::Nothing if pending.len() > 1 => {
            // The key may mean something by itself.
            app.pending.clear();
            self::key(app, key);
        }
        Meaning::Nothing => app.pending.clear(),
    }
}

/// Whether the key went to a line that is being typed.
fn typed(app: &mut App, key: KeyEvent) -> bool {
    if let Some(Overlay::Search(search)) = &mut app.overlay {
        // Whatever else is pressed, the mind has changed.
        search.opening = false;
        match search.input.key(key) {
            Typed::Changed => actions::search_changed(app),
            Typed::Done => actions::open(app),
            Typed::Given => app.overlay = None,
            Typed::Other => {
                // Letters are typed here; of the table only what moves counts.
                let meaning = app.keymap.meaning(app.scope(), &[Chord::from(key)]);
                if let Meaning::Action(action) = meaning {
                    match action {
                        Action::Search => app.overlay = None,
                        Action::Next => actions::act(app, Action::Down),
                        Action::Previous => actions::act(app, Action::Up),
                        other => actions::act(app, other),
                    }
                }
            }
        }
        return true;
    }
    if let Some(input) = app.jumping.take() {
        travel::typed(app, input, key);
        return true;
    }
    let Some(mut input) = app.typing.take() else { return false };
    match input.key(key) {
        Typed::Changed => {
            app.set_filter(input.text.clone());
            app.typing = Some(input);
        }
        Typed::Done => {}
        Typed::Given => app.set_filter(String::new()),
        Typed::Other => {
            app.typing = Some(input);
            let meaning = app.keymap.meaning(app.scope(), &[Chord::from(key)]);
            if let Meaning::Action(
                action @ (Action::Up | Action::Down | Action::PageUp | Action::PageDown | Action::Search),
            ) = meaning
            {
                actions::act(app, action);
            }
        }
    }
    true
}

/// Pasted text goes into the line that is being typed, and nowhere else.
pub(super) fn paste(app: &mut App, text: &str) {
    app.touch();
    if let Some(Overlay::Search(search)) = &mut app.overlay {
        search.opening = false;
        search.input.push(text);
        actions::search_changed(app);
    } else if let Some(input) = &mut app.jumping {
        input.push(text);
    } else if let Some(Input { .. }) = &app.typing {
        let mut input = app.typing.take().unwrap_or_default();
        input.push(text);
        app.set_filter(input.text.clone());
        app.typing = Some(input);
    }
}
