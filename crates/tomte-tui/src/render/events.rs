//! The events: a line each, newest first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tomte_api::event::Event;

use super::pen::{line, put, select};
use crate::app::App;
use crate::layout;
use crate::text::wrap;
use crate::units;
use crate::world::said;

pub(super) fn draw(app: &App, buffer: &mut Buffer, area: Rect) {
    if area.height == 0 {
        return;
    }
    let page = &app.events;
    let least = page.least.map_or_else(|| "all".to_owned(), |least| format!("{least} and above"));
    let more = if page.older.is_some() { "+" } else { "" };
    let facts = format!("   {}{more} {}", page.rows.len(), if page.waiting.is_some() { "asking …" } else { "" });
    let filter = if page.filter.is_empty() { String::new() } else { format!("   /{}", page.filter) };
    let head = Rect { x: area.x + 1, width: area.width.saturating_sub(1), height: 1, ..area };
    let parts = [
        ("events: ", app.theme.dim),
        (least.as_str(), app.theme.accent),
        (facts.as_str(), app.theme.dim),
        (filter.as_str(), app.theme.accent),
    ];
    line(buffer, head, &parts, &app.glyphs);
    let list = layout::events_list(app);
    if page.rows.is_empty() {
        let text = if page.waiting.is_some() { "" } else { "nothing happened" };
        put(
            buffer,
            list.x + 2,
            list.y + list.height / 3,
            list.width.saturating_sub(2),
            text,
            app.theme.dim,
            &app.glyphs,
        );
        return;
    }
    for (line, place) in page.rows.iter().skip(page.cursor.offset).take(usize::from(list.height)).enumerate() {
        let Some(event) = page.all.get(*place) else { continue };
        let y = list.y + line as u16;
        row(app, buffer, Rect { y, height: 1, ..list }, event);
        if page.cursor.offset + line == page.cursor.at {
            select(buffer, Rect { y, height: 1, ..list }, app.theme.selection);
            put(buffer, list.x, y, 1, app.glyphs.cursor, app.theme.accent.patch(app.theme.selection), &app.glyphs);
        }
    }
}

fn row(app: &App, buffer: &mut Buffer, area: Rect, event: &Event) {
    let glyphs = &app.glyphs;
    let mut x = area.x + 1;
    let mut column = |width: u16, text: &str, style| {
        put(buffer, x, area.y, width.min(area.right().saturating_sub(x)), text, style, glyphs);
        x += width + 1;
    };
    let style = app.theme.severity(event.severity);
    column(1, glyphs.severity(event.severity), style);
    // On a narrow screen the age says enough.
    if area.width >= 100 {
        column(19, &units::clock(event.at, app.moment(), &app.surroundings.zone), app.theme.dim);
    }
    column(5, &units::age(event.at, app.moment()), app.theme.dim);
    let names = if area.width >= 60 { (area.width / 6).clamp(10, 24) } else { 9 };
    column(names, event.host.as_deref().unwrap_or("hub"), app.theme.base);
    if area.width >= 120 {
        column(20, &event.kind, app.theme.dim);
    }
    let plain = if event.severity > tomte_model::Severity::Info { style } else { app.theme.base };
    column(area.width, &app.told(said(event)), plain);
}

/// Everything about an event, line by line.
pub(super) fn detail(app: &App, event: &Event, width: u16) -> Vec<(String, String)> {
    let at = units::clock(event.at, app.moment(), &app.surroundings.zone);
    let mut lines: Vec<(String, String)> = vec![
        ("when".to_owned(), format!("{at}, {} ago", units::age(event.at, app.moment()))),
        ("host".to_owned(), event.host.clone().unwrap_or_else(|| "the hub itself".to_owned())),
        ("severity".to_owned(), event.severity.to_string()),
        ("type".to_owned(), event.kind.clone()),
        ("source".to_owned(), event.source.clone()),
    ];
    lines.extend(event.subject.clone().map(|subject| ("about".to_owned(), subject)));
    lines.extend(event.details.iter().map(|(key, value)| (key.clone(), app.told(value).into_owned())));
    let room = usize::from(width.saturating_sub(18)).max(10);
    let mut all: Vec<(String, String)> = Vec::new();
    for text in wrap(&app.told(said(event)), usize::from(width).max(10), 12, app.glyphs.ellipsis) {
        all.push((String::new(), text));
    }
    all.push((String::new(), String::new()));
    for (key, value) in lines {
        for (place, text) in wrap(&value, room, 12, app.glyphs.ellipsis).into_iter().enumerate() {
            all.push((if place == 0 { key.clone() } else { " ".to_owned() }, text));
        }
    }
    all
}
