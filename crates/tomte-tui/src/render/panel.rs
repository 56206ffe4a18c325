//! A panel: its frame, its chart if it has one, the heads of its columns, its
//! rows.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tomte_model::{Status, Unit};

use super::chart::area_chart;
use super::pen::{bar, frame, height, put, put_right, select};
use crate::app::App;
use crate::layout;
use crate::panels::{Body, Panel};
use crate::rows::{self, Grid, Head, Row, Tone};
use crate::series::Points;
use crate::units;

/// The charts in panels go back so far, in milliseconds.
const BACK: i64 = 300_000;

pub(super) fn draw(app: &App, buffer: &mut Buffer, area: Rect, panel: &Panel) {
    let focused = app.host.focus == panel.id;
    let zoomed = app.host.zoomed && focused;
    let grid = rows::grid(app, panel, zoomed);
    let cursor = app.host.cursors.get(panel.id.as_ref()).copied().unwrap_or_default();
    let inner = layout::inside(area);
    let extra = layout::panel_extra(panel);
    let shown = usize::from(area.height.saturating_sub(extra));
    let many = grid.rows.len() > shown;
    let filtered = focused && !app.host.filter.is_empty();
    let note = match (filtered, many) {
        (true, _) => format!("/{}  {}", app.host.filter, grid.rows.len()),
        (false, true) => {
            format!("{}-{} of {}", cursor.offset + 1, (cursor.offset + shown).min(grid.rows.len()), grid.rows.len())
        }
        (false, false) => String::new(),
    };
    frame(app, buffer, area, &panel.title, &note, focused);
    let mut y = inner.y;
    let graph = layout::panel_graph(panel);
    if graph > 0 && inner.height > graph {
        draw_graph(app, buffer, Rect { height: graph, ..inner }, panel);
        y += graph;
    }
    let widths = widths(&grid, inner.width.saturating_sub(2));
    if extra > 2 + graph && y < inner.bottom() {
        for (head, (x, width)) in grid.heads.iter().zip(&widths) {
            let x = inner.x + 1 + x;
            if head.right {
                put_right(buffer, x, y, *width, &head.title, app.theme.dim, &app.glyphs);
            } else {
                put(buffer, x, y, *width, &head.title, app.theme.dim, &app.glyphs);
            }
        }
        y += 1;
    }
    if grid.rows.is_empty() && y < inner.bottom() {
        let text = if filtered { "nothing matches" } else { "nothing yet" };
        put(buffer, inner.x + 1, y, inner.width.saturating_sub(1), text, app.theme.dim, &app.glyphs);
    }
    for (place, row) in grid.rows.iter().enumerate().skip(cursor.offset) {
        if y >= inner.bottom() {
            break;
        }
        draw_row(app, buffer, Rect { y, height: 1, ..inner }, row, &grid.heads, &widths);
        if focused && place == cursor.at {
            select(buffer, Rect { y, height: 1, ..inner }, app.theme.selection);
            put(buffer, inner.x, y, 1, app.glyphs.cursor, app.theme.accent.patch(app.theme.selection), &app.glyphs);
        }
        y += 1;
    }
}

/// Where each column begins, and how wide it is. Those of no width share what
/// is left; where that is too little, the last columns go.
fn widths(grid: &Grid, room: u16) -> Vec<(u16, u16)> {
    let least = |head: &Head| if head.width == 0 { 8 } else { head.width };
    let mut shown = grid.heads.len();
    while shown > 1 && grid.heads[..shown].iter().map(|head| least(head) + 1).sum::<u16>() > room + 1 {
        shown -= 1;
    }
    let heads = &grid.heads[..shown];
    let fixed: u16 = heads.iter().map(|head| head.width + 1).sum();
    let flexible = heads.iter().filter(|head| head.width == 0).count() as u16;
    let share = room.saturating_sub(fixed.saturating_sub(1)) / flexible.max(1);
    let mut x = 0;
    let mut widths: Vec<(u16, u16)> = heads
        .iter()
        .map(|head| {
            let width = if head.width == 0 { share } else { head.width };
            let place = (x, width.min(room.saturating_sub(x)));
            x += width + 1;
            place
        })
        .collect();
    widths.resize(grid.heads.len(), (0, 0));
    widths
}

fn draw_row(app: &App, buffer: &mut Buffer, area: Rect, row: &Row, heads: &[Head], widths: &[(u16, u16)]) {
    let trouble = row.status.filter(|status| *status > Status::Ok);
    // A row of one cell is a sentence.
    if let ([cell], 2..) = (row.cells.as_slice(), heads.len()) {
        let style = if row.stale || cell.tone == Tone::Dim { app.theme.dim } else { app.theme.base };
        put(buffer, area.x + 1, area.y, area.width.saturating_sub(2), &cell.text, style, &app.glyphs);
        return;
    }
    for ((cell, head), (x, width)) in row.cells.iter().zip(heads).zip(widths) {
        if *width == 0 {
            continue;
        }
        let x = area.x + 1 + x;
        let style = match &cell.tone {
            _ if row.stale => app.theme.dim,
            // The first cell of what is in trouble says so too.
            Tone::Plain if *x_of(widths) == x - area.x - 1 && trouble.is_some() => app.theme.status(trouble),
            Tone::Plain => app.theme.base,
            Tone::Dim => app.theme.dim,
            Tone::Status(status) => app.theme.status(*status),
            Tone::Meter(_, status) => app.theme.status(*status),
            Tone::Heights(_) => app.theme.graph,
        };
        let text = if app.glyphs.ascii { cell.text.replace('°', "") } else { cell.text.clone() };
        match &cell.tone {
            Tone::Meter(value, status) => meter(app, buffer, (x, area.y, *width), *value, *status, row.stale, &text),
            Tone::Heights(values) => heights(app, buffer, (x, area.y, *width), values),
            _ if head.right => put_right(buffer, x, area.y, *width, &text, style, &app.glyphs),
            _ => {
                put(buffer, x, area.y, *width, &text, style, &app.glyphs);
            }
        }
    }
}

/// Where the first column begins.
fn x_of(widths: &[(u16, u16)]) -> &u16 {
    widths.first().map_or(&0, |(x, _)| x)
}

/// A bar, and the number behind it.
fn meter(
    app: &App,
    buffer: &mut Buffer,
    (x, y, width): (u16, u16, u16),
    value: f64,
    status: Option<Status>,
    stale: bool,
    text: &str,
) {
    let style = if stale {
        app.theme.dim
    } else if status.is_some() {
        app.theme.status(status)
    } else {
        app.theme.graph
    };
    let number = 5.min(width);
    let room = width.saturating_sub(number + 1);
    if room >= 3 {
        bar(buffer, x, y, room, value, [style, app.theme.border], &app.glyphs);
    }
    let plain = if stale {
        app.theme.dim
    } else if status.is_some() {
        style
    } else {
        app.theme.base
    };
    put_right(buffer, x + width - number, y, number, text, plain, &app.glyphs);
}

/// A little bar for each value; where there are more than cells, several share
/// one.
fn heights(app: &App, buffer: &mut Buffer, (x, y, width): (u16, u16, u16), values: &[Option<f64>]) {
    let cells = usize::from(width).min(values.len());
    for place in 0..cells {
        let share = &values[place * values.len() / cells..(place + 1) * values.len() / cells];
        let Some(most) = share.iter().flatten().copied().reduce(f64::max) else { continue };
        put(buffer, x + place as u16, y, 1, height(most, &app.glyphs), app.theme.graph, &app.glyphs);
    }
}

fn draw_graph(app: &App, buffer: &mut Buffer, area: Rect, panel: &Panel) {
    let Some(detail) = &app.shown().detail else { return };
    let now = app.moment().millis();
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let line = |kind: &str, field: &str| {
        let found = detail.lines.iter().filter(|((k, name, f), _)| k == kind && f == field && name != "virtual");
        found.map(|(_, points)| points).max_by(|a, b| loudest(a, now).total_cmp(&loudest(b, now)))
    };
    match panel.body {
        Body::Cpu => {
            if let Some(usage) = line("cpu", "usage_ratio") {
                area_chart(app, buffer, area, usage, (now - BACK, now), 1.0, app.theme.graph);
            }
        }
        Body::Network => {
            let received = line("interface", "receive_bytes_per_second");
            let sent = line("interface", "transmit_bytes_per_second");
            let most = [received, sent].into_iter().flatten().map(|points| loudest(points, now)).fold(1024.0, f64::max);
            let half = area.width / 2;
            let sides = [
                (received, area.x, half.saturating_sub(1), app.theme.graph),
                (sent, area.x + half, area.width - half, app.theme.second),
            ];
            for ((points, x, width, style), arrow) in sides.into_iter().zip(app.glyphs.arrows) {
                if let Some(points) = points {
                    area_chart(app, buffer, Rect { x, width, ..area }, points, (now - BACK, now), most, style);
                    let peak = units::short(&Unit::BytesPerSecond, loudest(points, now));
                    put(buffer, x, area.y, width, &format!("{arrow} peak {peak}"), app.theme.dim, &app.glyphs);
                }
            }
        }
        _ => {}
    }
}

/// The greatest of late.
fn loudest(points: &Points, now: i64) -> f64 {
    points.summary(now - BACK, now).map_or(0.0, |all| all.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(widths: &[u16]) -> Grid {
        let heads = widths.iter().map(|width| Head { title: String::new(), width: *width, right: false }).collect();
        Grid {
            heads,
            rows: vec![Row {
                cells: vec![rows::Cell { text: String::new(), tone: Tone::Plain }],
                about: None,
                status: None,
                stale: false,
            }],
        }
    }

    #[test]
    fn columns_share_what_is_left_and_the_last_go_when_there_is_no_room() {
        assert_eq!(widths(&grid(&[0, 5, 4]), 30), [(0, 19), (20, 5), (26, 4)]);
        assert_eq!(widths(&grid(&[0, 5, 4]), 14), [(0, 8), (9, 5), (0, 0)]);
        assert_eq!(widths(&grid(&[0, 0]), 21), [(0, 10), (11, 10)]);
        assert_eq!(widths(&grid(&[10]), 4), [(0, 4)]);
    }
}
