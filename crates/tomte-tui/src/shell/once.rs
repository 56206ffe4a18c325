//! One frame, printed: `tomte top --once`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tomte_api::client::Client;

use super::link::Link;
use super::{Once, Options, TopError, now};
use crate::app::App;
use crate::effect::{Effect, Event};
use crate::layout;
use crate::render::render;
use crate::update::update;

/// Nothing to print after so long is an error.
const PATIENCE: Duration = Duration::from_secs(10);
/// What makes the picture prettier may take so long once there is one.
const POLISH: Duration = Duration::from_millis(700);
/// No frame is higher.
const HIGHEST: u16 = 2_000;

pub(super) async fn print(client: Arc<Client>, options: Options, how: Once) -> Result<(), TopError> {
    // Tall enough that nothing is left out for want of room.
    let size = (how.columns.max(20), how.lines.unwrap_or(HIGHEST));
    let wanted = options.surroundings.host.clone();
    let mut app = App::new(options.loaded.config, options.surroundings, size, now()).map_err(TopError::Config)?;
    let (sender, mut events) = mpsc::channel(64);
    let mut link = Link::start(client, sender);
    let mut asked = std::collections::BTreeSet::new();
    let mut deadline = Instant::now() + PATIENCE;
    let mut polishing = false;
    while let Ok(Some(event)) = timeout_at(deadline, events.recv()).await {
        if let Event::Answer(number, _) = &event {
            asked.remove(number);
        }
        for effect in update(&mut app, event, now()) {
            if let Effect::Ask(number, _) = &effect {
                asked.insert(*number);
            }
            link.perform(effect);
        }
        if let Some(why) = app.trouble() {
            return Err(TopError::Nothing(why.to_owned()));
        }
        if app.complete() {
            if asked.is_empty() {
                break;
            }
            if !polishing {
                polishing = true;
                deadline = deadline.min(Instant::now() + POLISH);
            }
        }
    }
    if !app.complete() {
        return Err(TopError::Nothing("no answer in time".to_owned()));
    }
    if let Some(name) = wanted.filter(|_| app.host.id.is_none()) {
        return Err(TopError::Nothing(format!("there is no host {name}")));
    }
    let lines = how.lines.unwrap_or_else(|| layout::needed(&app)).max(3);
    update(&mut app, Event::Resize(size.0, lines), now());
    let mut terminal = Terminal::new(TestBackend::new(size.0, lines)).map_err(infallible)?;
    terminal.draw(|frame| render(&app, frame)).map_err(infallible)?;
    let text = written(terminal.backend().buffer(), how.colour);
    match io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that goes away has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(TopError::Terminal(error)),
        _ => Ok(()),
    }
}

fn infallible(error: std::convert::Infallible) -> TopError {
    match error {}
}

/// The picture as text: without the line of keys, which nobody can press now.
fn written(buffer: &Buffer, colour: bool) -> String {
    let mut text = String::new();
    let area = buffer.area;
    for y in area.y..area.bottom().saturating_sub(1) {
        let mut line = String::new();
        let mut sgr = String::new();
        let mut skip = 0;
        let cells: Vec<&Cell> = (area.x..area.right()).filter_map(|x| buffer.cell((x, y))).collect();
        let end = cells.iter().rposition(|cell| cell.symbol() != " ").map_or(0, |last| last + 1);
        for cell in &cells[..end] {
            // The cell behind a wide character is part of it.
            if skip > 0 {
                skip -= 1;
                continue;
            }
            skip = crate::text::width(cell.symbol()).saturating_sub(1);
            let codes = if colour { codes(cell) } else { String::new() };
            if codes != sgr {
                let _ = write!(line, "\x1b[0{codes}m");
                sgr = codes;
            }
            line.push_str(cell.symbol());
        }
        if !sgr.is_empty() {
            line.push_str("\x1b[0m");
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The cell's style as the numbers of an SGR sequence.
fn codes(cell: &Cell) -> String {
    let mut codes = String::new();
    for (modifier, code) in [(Modifier::BOLD, 1), (Modifier::DIM, 2), (Modifier::REVERSED, 7)] {
        if cell.modifier.contains(modifier) {
            let _ = write!(codes, ";{code}");
        }
    }
    for (colour, base) in [(cell.fg, 30), (cell.bg, 40)] {
        let _ = match colour {
            Color::Indexed(index) => write!(codes, ";{};5;{index}", base + 8),
            Color::Rgb(r, g, b) => write!(codes, ";{};2;{r};{g};{b}", base + 8),
            Color::Black => write!(codes, ";{base}"),
            Color::Red => write!(codes, ";{}", base + 1),
            Color::Green => write!(codes, ";{}", base + 2),
            Color::Yellow => write!(codes, ";{}", base + 3),
            Color::Blue => write!(codes, ";{}", base + 4),
            Color::Magenta => write!(codes, ";{}", base + 5),
            Color::Cyan => write!(codes, ";{}", base + 6),
            Color::Gray => write!(codes, ";{}", base + 7),
            Color::DarkGray => write!(codes, ";{}", base + 60),
            Color::White => write!(codes, ";{}", base + 67),
            _ => Ok(()),
        };
    }
    codes
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn a_picture_becomes_text_with_and_without_colour() {
        let mut buffer = Buffer::empty(ratatui::layout::Rect::new(0, 0, 12, 3));
        buffer.set_string(0, 0, "倉庫 ok", Style::new());
        buffer.set_string(2, 1, "bad", Style::new().fg(Color::Rgb(1, 2, 3)).add_modifier(Modifier::BOLD));
        buffer.set_string(0, 2, "q quit", Style::new());
        assert_eq!(written(&buffer, false), "倉庫 ok\n  bad\n");
        assert_eq!(written(&buffer, true), "倉庫 ok\n  \x1b[0;1;38;2;1;2;3mbad\x1b[0m\n");
    }
}
