//! What happens to the application when something happens. Pure: the time
//! comes with the event, and what is to be done is returned.

mod actions;
mod keys;
mod mouse;
mod settle;
mod told;
mod travel;

use tomte_model::Timestamp;

use crate::app::App;
use crate::effect::{Effect, Event};

/// Takes an event in, and returns what is to be done because of it.
pub fn update(app: &mut App, event: Event, now: Timestamp) -> Vec<Effect> {
    let before = app.now;
    // Clocks may step back; what the screen shows does not.
    app.now = Timestamp::from_millis(now.millis().saturating_add(app.ahead));
    match event {
        Event::Key(key) => keys::key(app, key),
        Event::Mouse(mouse) => mouse::mouse(app, mouse),
        Event::Paste(text) => keys::paste(app, &text),
        Event::Resize(columns, lines) => {
            app.size = (columns, lines);
            app.touch();
        }
        Event::Tick => tick(app, before),
        Event::Connected => told::connected(app),
        Event::Lost(why) => told::lost(app, why),
        Event::Told(message) => told::message(app, *message),
        Event::Answer(number, answer) => told::answer(app, number, answer),
        Event::Notice(text) => app.notify(text),
    }
    settle::settle(app);
    std::mem::take(&mut app.effects)
}

/// Time alone changes ages, and takes a notice away.
fn tick(app: &mut App, before: Timestamp) {
    if app.notice.as_ref().is_some_and(|(_, until)| *until <= app.now) {
        app.notice = None;
        app.touch();
    }
    travel::tick(app);
    let second = |at: Timestamp| at.millis().div_euclid(1_000);
    // What stands still has no age that grows.
    if second(before) != second(app.now) && app.frozen.is_none() {
        app.touch();
    }
}
