//! Drawing: what the state says, onto a frame. No state of its own, no I/O.
//! A file for each part of the screen; how things are written is in [`pen`].

mod chart;
mod events;
mod fleet;
mod header;
mod help;
mod host;
mod overlay;
mod panel;
mod pen;
mod status_bar;

use ratatui::Frame;
use ratatui::buffer::Buffer;

use crate::app::{App, View};
use crate::layout;
use crate::text::forbidden;

pub(crate) use overlay::overlay_lines;

/// Draws the whole screen.
pub fn render(app: &App, frame: &mut Frame<'_>) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    buffer.set_style(area, app.theme.base);
    // Between two events the terminal may have another size than we know of.
    if area.width < app.size.0 || area.height < app.size.1 {
        return;
    }
    let screen = layout::screen(app);
    header::draw(app, buffer, screen.header);
    match app.view {
        View::Fleet => fleet::draw(app, buffer, screen.body),
        View::Host if app.host.chart.is_some() => chart::draw(app, buffer, screen.body),
        View::Host => host::draw(app, buffer, screen.body),
        View::Events => events::draw(app, buffer, screen.body),
    }
    status_bar::draw(app, buffer, screen.status);
    overlay::draw(app, buffer);
    disarm(buffer);
}

/// The last gate: whatever path a text took, nothing that steers a terminal is
/// in a cell.
fn disarm(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if cell.symbol().len() > 1 || cell.symbol().bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
            let wrong = cell.symbol().chars().any(forbidden);
            if wrong {
                cell.set_symbol("\u{fffd}");
            }
        }
    }
}
