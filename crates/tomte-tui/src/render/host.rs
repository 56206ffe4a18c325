//! The page of a host: who it is, the names of its panels, and the panels.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::pen::{line, put};
use super::{fleet, panel};
use crate::app::App;
use crate::layout;
use crate::units;

pub(super) fn draw(app: &App, buffer: &mut Buffer, area: Rect) {
    if area.height == 0 {
        return;
    }
    head(app, buffer, area);
    names(app, buffer, area);
    let body = layout::host_body(app);
    let told = app.shown().detail.as_ref().is_some_and(|detail| detail.told);
    if app.host.panels.is_empty() {
        let text = if told { "nothing has been read on this host yet" } else { "waiting for what it has …" };
        put(
            buffer,
            body.x + 2,
            body.y + body.height.min(1),
            body.width.saturating_sub(2),
            text,
            app.theme.dim,
            &app.glyphs,
        );
        return;
    }
    let offset = app.host.offset;
    for placed in layout::host_panels(app) {
        let Some(spec) = app.host.panels.get(placed.panel) else { continue };
        let (top, bottom) = (placed.y, placed.y + placed.height);
        if bottom <= offset || top >= offset + body.height {
            continue;
        }
        let whole = top >= offset && bottom <= offset + body.height;
        if whole {
            let area = Rect::new(placed.x, body.y + top - offset, placed.width, placed.height);
            panel::draw(app, buffer, area, spec);
            continue;
        }
        // What is only partly on the screen is drawn whole elsewhere, and the
        // part that can be seen put in place.
        let whole = Rect::new(placed.x, 0, placed.width, placed.height);
        let mut aside = Buffer::empty(whole);
        panel::draw(app, &mut aside, whole, spec);
        for y in top.max(offset)..bottom.min(offset + body.height) {
            for x in placed.x..placed.x + placed.width {
                if let (Some(to), Some(from)) = (buffer.cell_mut((x, body.y + y - offset)), aside.cell((x, y - top))) {
                    *to = from.clone();
                }
            }
        }
    }
}

fn head(app: &App, buffer: &mut Buffer, area: Rect) {
    let Some(known) = app.current() else {
        let text = app.host.asked.as_deref().map_or_else(String::new, |name| format!("looking for {name} …"));
        put(buffer, area.x + 1, area.y, area.width.saturating_sub(1), &text, app.theme.dim, &app.glyphs);
        return;
    };
    let host = &known.host;
    let theme = &app.theme;
    let old = fleet::outdated(app, known);
    let status = host.status.map_or("not judged", |status| status.as_str());
    let mark = format!("{} {status}", app.glyphs.status(host.status));
    let presence = format!("  {}", host.presence);
    let newest = app.shown().detail.as_ref().and_then(|detail| detail.resources.values().map(|r| r.at).max());
    let age = newest.max(known.newest).map(|at| format!("  {} ago", units::age(at, app.moment()))).unwrap_or_default();
    let reason = if host.reason.is_empty() { String::new() } else { format!("  {}", app.told(&host.reason)) };
    let name = format!("{}  ", host.name);
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(1), height: 1, ..area };
    let parts = [
        (name.as_str(), if old { theme.dim } else { theme.accent }),
        (mark.as_str(), theme.status(host.status)),
        (presence.as_str(), if old { theme.warning } else { theme.dim }),
        (age.as_str(), theme.dim),
        (reason.as_str(), theme.status(host.status)),
    ];
    line(buffer, area, &parts, &app.glyphs);
}

fn names(app: &App, buffer: &mut Buffer, area: Rect) {
    if area.height < layout::HOST_HEAD {
        return;
    }
    let shown = layout::panel_names(app);
    if shown.first().is_some_and(|(first, _)| *first > 0) {
        put(buffer, area.x, area.y + 1, 1, if app.glyphs.ascii { "<" } else { "‹" }, app.theme.dim, &app.glyphs);
    }
    if shown.last().is_some_and(|(last, _)| last + 1 < app.host.panels.len()) {
        let more = if app.glyphs.ascii { ">" } else { "›" };
        put(buffer, area.right().saturating_sub(1), area.y + 1, 1, more, app.theme.dim, &app.glyphs);
    }
    for (place, at) in shown {
        let Some(panel) = app.host.panels.get(place) else { continue };
        let style = if panel.id == app.host.focus { app.theme.accent } else { app.theme.dim };
        put(buffer, at.x + 1, at.y, at.width.saturating_sub(1), &panel.title, style, &app.glyphs);
    }
}
