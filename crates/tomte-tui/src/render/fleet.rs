//! The fleet: a line a host.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use tomte_api::host::Presence;
use tomte_model::Status;

use super::pen::{height, put, put_right, select};
use crate::app::{App, FleetRow, Link, Target};
use crate::columns::{COLUMNS, Source};
use crate::layout::{self, FleetColumn};
use crate::text::wrap;
use crate::units;
use crate::world::Known;

/// The little charts go back so far, in milliseconds.
const GRAPH: i64 = 600_000;

pub(super) fn draw(app: &App, buffer: &mut Buffer, area: Rect) {
    if area.height == 0 {
        return;
    }
    let columns = layout::fleet_columns(app, area.width);
    if app.fleet.rows.is_empty() {
        return nothing(app, buffer, area);
    }
    heads(app, buffer, area, &columns);
    let list = layout::fleet_list(app);
    for (line, row) in app.fleet.rows.iter().skip(app.fleet.offset).take(usize::from(list.height)).enumerate() {
        let y = list.y + line as u16;
        match row {
            FleetRow::Group(role, count) => {
                let name = if role.is_empty() { "no role" } else { role };
                let text = format!("{} {name}  {count}", app.glyphs.across.repeat(2));
                put(buffer, list.x + 1, y, list.width.saturating_sub(1), &text, app.theme.accent, &app.glyphs);
            }
            FleetRow::Host(id) => {
                let Some(known) = app.shown().hosts.get(id) else { continue };
                host(app, buffer, y, known, &columns);
                if app.fleet.selected == Some(*id) {
                    select(buffer, Rect::new(list.x, y, list.width, 1), app.theme.selection);
                    // Without colour the selected line has a mark of its own.
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
    }
}

/// Why the list is empty, and what to do about it.
fn nothing(app: &App, buffer: &mut Buffer, area: Rect) {
    let agent = app.surroundings.target == Target::Agent;
    let lines: Vec<String> = match &app.link {
        _ if !app.fleet.filter.is_empty() && app.shown().told => {
            vec![format!("no host matches {:?}", app.fleet.filter), "esc shows all of them".to_owned()]
        }
        Link::Connecting(_) => vec![format!("connecting to {} …", app.surroundings.address)],
        Link::Down(_, why) => {
            vec![why.clone(), "trying again every few seconds; q leaves".to_owned()]
        }
        Link::Up if app.shown().told && !agent => vec![
            if app.travel.is_some() { "no host was known then" } else { "no hosts yet" }.to_owned(),
            "`tomte host add NAME` on the hub prints the line to paste on it".to_owned(),
        ],
        Link::Up => vec!["waiting for the first readings …".to_owned()],
    };
    // There is room to say all of it.
    let room = usize::from(area.width.saturating_sub(4)).max(10);
    let lines: Vec<(bool, String)> = lines
        .iter()
        .zip([true, false])
        .flat_map(|(text, first)| wrap(text, room, 4, app.glyphs.ellipsis).into_iter().map(move |line| (first, line)))
        .collect();
    let top = area.y + area.height.saturating_sub(lines.len() as u16) / 2;
    for (line, (first, text)) in (0_u16..).zip(&lines) {
        let text = crate::text::fit(text, usize::from(area.width.saturating_sub(2)), app.glyphs.ellipsis);
        let wide = crate::text::width(&text) as u16;
        let style = if *first { app.theme.base } else { app.theme.dim };
        if top + line < area.bottom() {
            put(
                buffer,
                area.x + (area.width.saturating_sub(wide)) / 2,
                top + line,
                area.width,
                &text,
                style,
                &app.glyphs,
            );
        }
    }
}

fn right(source: &Source) -> bool {
    matches!(source, Source::Age | Source::Reading { .. } | Source::Healthy { .. })
}

fn heads(app: &App, buffer: &mut Buffer, area: Rect, columns: &[FleetColumn]) {
    for column in columns {
        let known = &COLUMNS[column.place];
        let sorted = app.fleet.sort == column.place;
        let mark = app.glyphs.sorted[usize::from(!app.fleet.falling)];
        let title = match (sorted, known.title) {
            (true, "") => mark.to_owned(),
            (true, title) if title.len() < usize::from(column.width) => format!("{title}{mark}"),
            // In a narrow column the mark takes the place of the last letter.
            (true, title) => {
                format!("{}{mark}", title.get(..usize::from(column.width.saturating_sub(1))).unwrap_or(title))
            }
            (false, title) => title.to_owned(),
        };
        let style = if sorted { app.theme.accent } else { app.theme.dim };
        if right(&known.source) {
            put_right(buffer, column.x, area.y, column.width, &title, style, &app.glyphs);
        } else {
            put(buffer, column.x, area.y, column.width, &title, style, &app.glyphs);
        }
    }
}

/// Whether what is known of a host has become old.
pub(super) fn outdated(app: &App, known: &Known) -> bool {
    known.host.presence != Presence::Online
        || matches!(&app.link, Link::Down(since, _) if app.now.since(*since).as_secs() >= 15)
}

fn host(app: &App, buffer: &mut Buffer, y: u16, known: &Known, columns: &[FleetColumn]) {
    let old = outdated(app, known);
    let glyphs = &app.glyphs;
    for column in columns {
        let FleetColumn { x, width, place } = *column;
        let source = &COLUMNS[place].source;
        let Some(cell) = known.cells.get(place) else { continue };
        let judged = |status: Option<Status>| match status {
            Some(status) if status > Status::Ok => app.theme.status(Some(status)),
            _ => app.theme.base,
        };
        let style: Style = if old || cell.stale { app.theme.dim } else { judged(cell.status) };
        match source {
            Source::Status => {
                let mark =
                    if known.host.presence == Presence::Online { glyphs.status(cell.status) } else { away(app, known) };
                put(buffer, x, y, width, mark, app.theme.status(cell.status), glyphs);
            }
            Source::Name => {
                put(buffer, x, y, width, &known.host.name, if old { app.theme.dim } else { app.theme.base }, glyphs);
            }
            Source::Age => {
                let age = known.newest.map_or_else(|| "never".to_owned(), |at| units::age(at, app.moment()));
                put_right(buffer, x, y, width, &age, app.theme.dim, glyphs);
            }
            Source::Graph => graph(app, buffer, column, y, known, old),
            Source::News => {
                let style =
                    if known.host.reason.is_empty() { app.theme.dim } else { app.theme.status(known.host.status) };
                put(buffer, x, y, width, &app.told(&cell.text), style, glyphs);
            }
            Source::Reading { .. } | Source::Healthy { .. } => {
                let text = if cell.text.is_empty() { glyphs.nothing } else { &cell.text };
                let text = if glyphs.ascii { text.replace('°', "") } else { text.to_owned() };
                let style = if cell.text.is_empty() { app.theme.dim } else { style };
                put_right(buffer, x, y, width, &text, style, glyphs);
            }
            Source::Network | Source::Roles => {
                put(buffer, x, y, width, &cell.text, style, glyphs);
            }
        }
    }
}

/// The mark of a host that is not heard: critical ones stay recognisable.
fn away(app: &App, known: &Known) -> &'static str {
    match known.host.status {
        Some(Status::Critical) => app.glyphs.status(known.host.status),
        _ => app.glyphs.presence(known.host.presence),
    }
}

fn graph(app: &App, buffer: &mut Buffer, column: &FleetColumn, y: u16, known: &Known, old: bool) {
    let now = app.moment().millis();
    let slots = known.usage.slots(now - GRAPH, now, usize::from(column.width));
    for (i, slot) in slots.into_iter().enumerate() {
        let Some(slot) = slot else { continue };
        if let Some(cell) = buffer.cell_mut((column.x + i as u16, y)) {
            cell.set_symbol(height(slot.mean, &app.glyphs));
            cell.set_style(if old { app.theme.dim } else { app.theme.graph });
        }
    }
}
