//! The line below: the connection and how old what is known is, or what is to
//! be told; and the keys of the part that has the keyboard.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::pen::put;
use crate::app::{App, Link, Overlay, View};
use crate::keys::{Action, Scope};
use crate::text::{fit_end, width};
use crate::units;

pub(super) fn draw(app: &App, buffer: &mut Buffer, area: Rect) {
    if area.height == 0 {
        return;
    }
    if let Some(input) = &app.typing {
        let room = usize::from(area.width.saturating_sub(4));
        let text = fit_end(&input.text, room, app.glyphs.ellipsis);
        let x = area.x + 1 + put(buffer, area.x + 1, area.y, area.width, "/", app.theme.accent, &app.glyphs);
        let end = x + put(buffer, x, area.y, area.right().saturating_sub(x), &text, app.theme.base, &app.glyphs);
        caret(app, buffer, end, area.y);
        return;
    }
    if let Some(input) = &app.jumping {
        let ask = "jump to (-3h, 14:30, 2026-01-31T12:00:00Z, now): ";
        let x = area.x + 1 + put(buffer, area.x + 1, area.y, area.width, ask, app.theme.dim, &app.glyphs);
        let text = fit_end(&input.text, usize::from(area.right().saturating_sub(x + 2)), app.glyphs.ellipsis);
        let end = x + put(buffer, x, area.y, area.right().saturating_sub(x), &text, app.theme.base, &app.glyphs);
        caret(app, buffer, end, area.y);
        return;
    }
    let (left, style) = left(app);
    let end = area.x + 1 + put(buffer, area.x + 1, area.y, area.width.saturating_sub(1), &left, style, &app.glyphs);
    let mut hints: Vec<(String, &str)> =
        hints(app).into_iter().map(|(action, text)| (app.keymap.first(action), text)).collect();
    hints.retain(|(key, _)| !key.is_empty());
    let needed = |hints: &[(String, &str)]| hints.iter().map(|(key, text)| width(key) + width(text) + 3).sum::<usize>();
    let room = usize::from(area.right().saturating_sub(end + 1));
    while !hints.is_empty() && needed(&hints) > room {
        // The help goes last: it has all the others.
        hints.remove(hints.len().saturating_sub(3));
    }
    let mut x = area.right().saturating_sub(u16::try_from(needed(&hints)).unwrap_or(0));
    for (key, text) in hints {
        x += put(buffer, x, area.y, area.width, &key, app.theme.accent, &app.glyphs) + 1;
        x += put(buffer, x, area.y, area.width, text, app.theme.dim, &app.glyphs) + 2;
    }
}

/// Where the next letter goes.
pub(super) fn caret(app: &App, buffer: &mut Buffer, x: u16, y: u16) {
    let reversed = Style::new().add_modifier(ratatui::style::Modifier::REVERSED);
    put(buffer, x, y, 1, " ", app.theme.base.patch(reversed), &app.glyphs);
}

fn left(app: &App) -> (String, Style) {
    if let Some((notice, _)) = &app.notice {
        return (notice.clone(), app.theme.accent);
    }
    let address = &app.surroundings.address;
    let heard = app.heard.map(|heard| units::age(heard, app.now));
    let (mark, text, style) = match &app.link {
        Link::Connecting(_) => ("~", format!("connecting to {address}"), app.theme.dim),
        Link::Up => {
            let mark = if app.glyphs.ascii { "*" } else { "●" };
            let filter = app.filter();
            let text = if filter.is_empty() { address.clone() } else { format!("{address}  /{filter}") };
            (mark, text, app.theme.dim)
        }
        Link::Down(since, why) => {
            let known = heard.map(|heard| format!("what you see is {heard} old, ")).unwrap_or_default();
            let lost = units::age(*since, app.now);
            ("!", format!("disconnected for {lost}: {known}{why}"), app.theme.critical)
        }
    };
    (format!("{mark} {text}"), style)
}

/// The keys that matter where the keyboard is. The last two always stay.
fn hints(app: &App) -> Vec<(Action, &'static str)> {
    let mut hints = match (&app.overlay, app.scope()) {
        (Some(Overlay::Help { .. } | Overlay::Event { .. }), _) => {
            vec![(Action::Down, "scroll"), (Action::Back, "close")]
        }
        (Some(Overlay::Settings(_)), _) => vec![(Action::Right, "change"), (Action::Back, "close")],
        (Some(_), _) => vec![(Action::Open, "choose"), (Action::Back, "close")],
        (None, Scope::Fleet) => vec![
            (Action::Open, "open"),
            (Action::Filter, "filter"),
            (Action::Sort, "sort"),
            (Action::Group, "group"),
            (Action::Search, "search"),
            (Action::Freeze, "freeze"),
        ],
        (None, Scope::Host) => vec![
            (Action::Open, "chart"),
            (Action::Next, "panel"),
            (Action::Zoom, "zoom"),
            (Action::Filter, "filter"),
            (Action::NextHost, "next host"),
            (Action::Freeze, "freeze"),
        ],
        (None, Scope::Chart) => vec![
            (Action::Left, "cursor"),
            (Action::ZoomIn, "closer"),
            (Action::ZoomOut, "wider"),
            (Action::PanLeft, "earlier"),
            (Action::Down, "reading"),
            (Action::Back, "back"),
        ],
        (None, Scope::Events) => vec![
            (Action::Open, "detail"),
            (Action::Filter, "filter"),
            (Action::Severity, "severity"),
            (Action::Search, "search"),
        ],
        (None, Scope::Everywhere) => Vec::new(),
    };
    if app.shown().hosts.len() < 2 {
        hints.retain(|(action, _)| *action != Action::NextHost);
    }
    if app.overlay.is_none() && app.view != View::Fleet && hints.len() < 6 {
        hints.push((Action::Back, "back"));
    }
    hints.push((Action::Help, "help"));
    hints.push((Action::Quit, if app.overlay.is_some() { "close" } else { "quit" }));
    hints
}
