//! What lies on top of the page: help, search, sorting, settings, an event.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::pen::{frame, put, put_right, select};
use super::status_bar::caret;
use super::{events, help};
use crate::app::{App, Overlay, View};
use crate::columns::COLUMNS;
use crate::keys::Scope;
use crate::layout;
use crate::search::{Hit, Search};
use crate::settings::items;
use crate::text::fit_end;

/// How many lines there are to scroll through.
pub(crate) fn overlay_lines(app: &App) -> usize {
    match &app.overlay {
        Some(Overlay::Help { .. }) => help::lines(app, beneath(app)).len(),
        Some(Overlay::Event { event, .. }) => events::detail(app, event, inner_width(app)).len(),
        _ => 0,
    }
}

fn inner_width(app: &App) -> u16 {
    layout::overlay_list(app).width.saturating_sub(2)
}

/// The part of the screen that lies below.
fn beneath(app: &App) -> Scope {
    match app.view {
        View::Fleet => Scope::Fleet,
        View::Host if app.host.chart.is_some() => Scope::Chart,
        View::Host => Scope::Host,
        View::Events => Scope::Events,
    }
}

pub(super) fn draw(app: &App, buffer: &mut Buffer) {
    let Some(overlay) = &app.overlay else { return };
    let area = layout::overlay(app);
    if area.width < 4 || area.height < 3 {
        return;
    }
    let list = layout::overlay_list(app);
    match overlay {
        Overlay::Help { offset } => {
            let lines = help::lines(app, beneath(app));
            frame(app, buffer, area, "Keys", &scrolled(*offset, list, lines.len()), true);
            draw_help(app, buffer, list, lines, *offset);
        }
        Overlay::Event { event, offset } => {
            let lines = events::detail(app, event, inner_width(app));
            frame(app, buffer, area, "Event", &scrolled(*offset, list, lines.len()), true);
            for (line, (key, text)) in lines.iter().skip(*offset).take(usize::from(list.height)).enumerate() {
                let y = list.y + line as u16;
                put(buffer, list.x + 1, y, 14, key, app.theme.dim, &app.glyphs);
                let x = if key.is_empty() { 1 } else { 16 };
                let room = list.width.saturating_sub(x + 1);
                put(buffer, list.x + x, y, room, text, app.theme.base, &app.glyphs);
            }
        }
        Overlay::Sort { cursor } => {
            frame(app, buffer, area, "Sort by", "", true);
            for (line, place) in app.columns.iter().enumerate().skip(cursor.offset).take(usize::from(list.height)) {
                let y = list.y + (line - cursor.offset) as u16;
                let column = &COLUMNS[*place];
                let mark =
                    if *place == app.fleet.sort { app.glyphs.sorted[usize::from(!app.fleet.falling)] } else { " " };
                put(buffer, list.x + 1, y, 1, mark, app.theme.accent, &app.glyphs);
                put(buffer, list.x + 3, y, 12, column.id, app.theme.base, &app.glyphs);
                put(buffer, list.x + 16, y, list.width.saturating_sub(16), column.help, app.theme.dim, &app.glyphs);
                if line == cursor.at {
                    select(buffer, Rect { y, height: 1, ..list }, app.theme.selection);
                    put(
                        buffer,
                        list.x,
                        y,
                        1,
                        app.glyphs.cursor,
                        app.theme.accent.patch(app.theme.selection),
                        &app.glyphs,
                    );
                }
            }
        }
        Overlay::Settings(settings) => {
            frame(app, buffer, area, "Settings", "", true);
            let all = items();
            for (line, item) in all.iter().enumerate().skip(settings.cursor.offset).take(usize::from(list.height)) {
                let y = list.y + (line - settings.cursor.offset) as u16;
                put(buffer, list.x + 2, y, 14, item.title(), app.theme.base, &app.glyphs);
                let room = list.width.saturating_sub(30);
                put(buffer, list.x + 16, y, 12, &item.value(&app.config), app.theme.accent, &app.glyphs);
                put(buffer, list.x + 29, y, room, item.help(), app.theme.dim, &app.glyphs);
                if line == settings.cursor.at {
                    select(buffer, Rect { y, height: 1, ..list }, app.theme.selection);
                    put(
                        buffer,
                        list.x,
                        y,
                        1,
                        app.glyphs.cursor,
                        app.theme.accent.patch(app.theme.selection),
                        &app.glyphs,
                    );
                }
            }
            let note = "changes hold at once and are written to your configuration";
            put(buffer, list.x + 2, list.bottom() + 1, list.width.saturating_sub(2), note, app.theme.dim, &app.glyphs);
        }
        Overlay::Search(search) => draw_search(app, buffer, area, list, search),
    }
}

fn scrolled(offset: usize, list: Rect, lines: usize) -> String {
    let height = usize::from(list.height);
    if lines > height { format!("{}-{} of {lines}", offset + 1, (offset + height).min(lines)) } else { String::new() }
}

fn draw_help(app: &App, buffer: &mut Buffer, list: Rect, lines: Vec<help::Line>, offset: usize) {
    let keys_width = if list.width < 60 { 14 } else { 20 };
    for (line, text) in lines.into_iter().skip(offset).take(usize::from(list.height)).enumerate() {
        let y = list.y + line as u16;
        match text {
            help::Line::Title(title) => {
                put(buffer, list.x + 1, y, list.width, title, app.theme.accent, &app.glyphs);
            }
            help::Line::Key(keys, what) => {
                put(buffer, list.x + 2, y, keys_width, &keys, app.theme.base, &app.glyphs);
                let x = list.x + keys_width + 3;
                put(buffer, x, y, list.right().saturating_sub(x), what, app.theme.dim, &app.glyphs);
            }
            help::Line::Blank => {}
        }
    }
}

fn draw_search(app: &App, buffer: &mut Buffer, area: Rect, list: Rect, search: &Search) {
    let note = match search.hits.len() {
        _ if search.opening => "opens what is found …".to_owned(),
        _ if search.waiting.is_some() => "searching …".to_owned(),
        0 => String::new(),
        1 => "1 found".to_owned(),
        number => format!("{number} found"),
    };
    frame(app, buffer, area, "Search the fleet", &note, true);
    let line = layout::inside(area);
    let room = usize::from(line.width.saturating_sub(3));
    let typed = fit_end(&search.input.text, room, app.glyphs.ellipsis);
    let end = line.x + 1 + put(buffer, line.x + 1, line.y, line.width, &typed, app.theme.base, &app.glyphs);
    caret(app, buffer, end, line.y);
    if search.hits.is_empty() {
        let text = match (&search.trouble, search.input.text.trim()) {
            (Some(why), _) => why.as_str(),
            (None, "") => "a host, service, guest, container, address or tag",
            (None, _) if search.waiting.is_some() => "",
            (None, _) => "nothing of that name",
        };
        put(buffer, list.x + 1, list.y, list.width.saturating_sub(1), text, app.theme.dim, &app.glyphs);
    }
    for (line, hit) in search.hits.iter().enumerate().skip(search.cursor.offset).take(usize::from(list.height)) {
        let y = list.y + (line - search.cursor.offset) as u16;
        draw_hit(app, buffer, Rect { y, height: 1, ..list }, hit);
        if line == search.cursor.at {
            select(buffer, Rect { y, height: 1, ..list }, app.theme.selection);
            put(buffer, list.x, y, 1, app.glyphs.cursor, app.theme.accent.patch(app.theme.selection), &app.glyphs);
        }
    }
}

fn draw_hit(app: &App, buffer: &mut Buffer, area: Rect, hit: &Hit) {
    let (kind, name) = match &hit.key {
        Some((kind, name)) => (kind.as_str(), name.as_str()),
        None => ("host", hit.host_name.as_str()),
    };
    put(buffer, area.x + 1, area.y, 1, app.glyphs.status(hit.status), app.theme.status(hit.status), &app.glyphs);
    put(buffer, area.x + 3, area.y, 10, kind, app.theme.dim, &app.glyphs);
    let wide = area.width.saturating_sub(15);
    let names = if wide >= 50 { wide / 2 } else { wide };
    put(buffer, area.x + 14, area.y, names.saturating_sub(1), name, app.theme.base, &app.glyphs);
    if wide >= 50 {
        let host = if hit.key.is_some() { hit.host_name.as_str() } else { "" };
        let because = app.told(&hit.because);
        let text = if because.is_empty() { host.to_owned() } else { format!("{host}  {because}") };
        let rest = wide - names;
        if hit.key.is_some() {
            put(buffer, area.x + 14 + names, area.y, rest, &text, app.theme.dim, &app.glyphs);
        } else {
            put_right(buffer, area.x + 14 + names, area.y, rest, &because, app.theme.dim, &app.glyphs);
        }
    }
}
