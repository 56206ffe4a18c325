//! Charts: a reading over time, filled below its mean, with its extremes, a
//! cursor, and what it comes to.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use tomte_model::{Timestamp, Unit};

use super::pen::{line, put, put_right};
use crate::app::{App, Target};
use crate::chart::Chart;
use crate::layout;
use crate::rows;
use crate::series::{Point, Points};
use crate::units;

/// A cell of Braille has eight dots; these are those of its left and right
/// column, from below.
const DOTS: [[u8; 4]; 2] = [[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]];

/// The column of dots that a value fills, in Braille or in ASCII.
pub(super) fn area_chart(
    app: &App,
    buffer: &mut Buffer,
    area: Rect,
    points: &Points,
    (from, to): (i64, i64),
    most: f64,
    style: Style,
) {
    if area.width == 0 || area.height == 0 {
        return;
    }
    let slots = points.slots(from, to, usize::from(area.width) * 2);
    let tall = f64::from(area.height) * 4.0;
    let dots = |value: f64| ((value / most).clamp(0.0, 1.0) * tall).ceil() as u16;
    for column in 0..area.width {
        let pair = [slots[usize::from(column) * 2], slots[usize::from(column) * 2 + 1]];
        for row in 0..area.height {
            let below = (area.height - 1 - row) * 4;
            let mut pattern = 0_u8;
            let mut usual = false;
            for (slot, side) in pair.iter().zip(DOTS) {
                let Some(slot) = slot else { continue };
                // What is read as nothing is still a line, unlike what is not read.
                let (high, peak) = (dots(slot.mean).max(1), dots(slot.max).max(1));
                usual |= high > below;
                for (place, bit) in (1_u16..).zip(side) {
                    if below + place <= peak.max(high) {
                        pattern |= bit;
                    }
                }
            }
            // Above its mean there are only peaks.
            put_dots(app, buffer, area.x + column, area.y + row, pattern, if usual { style } else { app.theme.dim });
        }
    }
}

fn put_dots(app: &App, buffer: &mut Buffer, x: u16, y: u16, pattern: u8, style: Style) {
    if pattern == 0 {
        return;
    }
    let Some(cell) = buffer.cell_mut((x, y)) else { return };
    if app.glyphs.ascii {
        cell.set_symbol(match pattern.count_ones() {
            1..=2 => ".",
            3..=5 => ":",
            _ => "#",
        });
    } else if let Some(braille) = char::from_u32(0x2800 + u32::from(pattern)) {
        cell.set_char(braille);
    }
    cell.set_style(style);
}

pub(super) fn draw(app: &App, buffer: &mut Buffer, area: Rect) {
    let Some(chart) = &app.host.chart else { return };
    if area.height < 3 {
        return;
    }
    let unit = rows::unit(&app.catalogue, &chart.key.0, chart.field());
    let (from, to) = chart.range(app.moment());
    title(app, buffer, area, chart);
    facts(app, buffer, area, chart, &unit);
    let plot = layout::chart_plot(app);
    let seen = chart.points.summary(from, to);
    let (low, most) = scale(&unit, seen);
    axis(app, buffer, area, plot, &unit, low, most);
    times(app, buffer, area, plot, from, to);
    match (&chart.trouble, seen) {
        (Some(why), _) => message(app, buffer, plot, why),
        (None, None) if chart.waiting.is_some() => message(app, buffer, plot, "asking for its history …"),
        (None, None) if app.surroundings.target == Target::Agent => {
            message(app, buffer, plot, "an agent keeps no history: it grows here as readings come");
        }
        (None, None) => message(app, buffer, plot, "nothing was read in this time"),
        (None, Some(_)) => {
            let moved = chart.points.clone().lowered(low);
            area_chart(app, buffer, plot, &moved, (from, to), most - low, app.theme.graph);
        }
    }
    if let Some(cursor) = chart.cursor.filter(|cursor| (from..=to).contains(cursor)) {
        let x = plot.x + column(plot, cursor, from, to);
        for y in plot.y..plot.bottom() {
            put(buffer, x, y, 1, app.glyphs.rule, app.theme.accent, &app.glyphs);
        }
    }
}

fn column(plot: Rect, at: i64, from: i64, to: i64) -> u16 {
    let place = i128::from(at - from) * i128::from(plot.width) / i128::from((to - from).max(1));
    (place as u16).min(plot.width.saturating_sub(1))
}

fn title(app: &App, buffer: &mut Buffer, area: Rect, chart: &Chart) {
    let what = format!("{} {} ", chart.host_name, chart.key.0);
    let name = if chart.key.1 == chart.key.0 { String::new() } else { format!("{} ", chart.key.1) };
    let field = chart.field().replace('_', " ");
    let number = format!("  {} of {}", chart.field + 1, chart.fields.len());
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(1), height: 1, ..area };
    let parts = [
        (what.as_str(), app.theme.dim),
        (name.as_str(), app.theme.base),
        (field.as_str(), app.theme.accent),
        (number.as_str(), app.theme.dim),
    ];
    line(buffer, area, &parts, &app.glyphs);
}

/// What it comes to: under the cursor, else now; and the extremes.
fn facts(app: &App, buffer: &mut Buffer, area: Rect, chart: &Chart, unit: &Unit) {
    let (from, to) = chart.range(app.moment());
    let written = |value: f64| units::long(unit, value, app.glyphs.ascii);
    let mut parts: Vec<(String, Style)> = Vec::new();
    let shown = match chart.cursor {
        Some(cursor) => {
            let plot = layout::chart_plot(app);
            let width = ((to - from) / i64::from(plot.width.max(1))).max(1);
            let under = chart.points.slots(cursor - width / 2, cursor + width / 2 + 1, 1).into_iter().next().flatten();
            let when = units::clock(Timestamp::from_millis(cursor), app.moment(), &app.surroundings.zone);
            let value = under.map_or_else(|| "nothing read".to_owned(), |point| written(point.mean));
            format!("{when}  {value}")
        }
        None => {
            chart.points.iter().next_back().map(|point| format!("last {}", written(point.mean))).unwrap_or_default()
        }
    };
    parts.push((shown, app.theme.accent));
    if let Some(all) = chart.points.summary(from, to) {
        for (name, value) in [("min", all.min), ("mean", all.mean), ("max", all.max)] {
            parts.push((format!("   {name} "), app.theme.dim));
            parts.push((written(value), app.theme.base));
        }
    }
    let span = units::span(chart.span() as f64 / 1_000.0);
    let live = if chart.end.is_none() { "live" } else { "past" };
    parts.push((format!("   {span} {live}"), app.theme.dim));
    let parts: Vec<(&str, Style)> = parts.iter().map(|(text, style)| (text.as_str(), *style)).collect();
    let area = Rect { x: area.x + 1, y: area.y + 1, width: area.width.saturating_sub(1), height: 1 };
    line(buffer, area, &parts, &app.glyphs);
}

/// From where to where the axis goes: parts of a whole from nothing to all,
/// temperatures around what was seen, the rest from nothing.
fn scale(unit: &Unit, seen: Option<Point>) -> (f64, f64) {
    let Some(seen) = seen else { return (0.0, 1.0) };
    match unit {
        Unit::Ratio if seen.min >= 0.0 && seen.max <= 1.0 => (0.0, 1.0),
        Unit::Celsius | Unit::Volts | Unit::Hertz => {
            let room = ((seen.max - seen.min) * 0.1).max(1e-9_f64.max(seen.max.abs() * 0.02));
            (seen.min - room, seen.max + room)
        }
        _ => {
            let low = seen.min.min(0.0);
            let high = if seen.max > low { seen.max } else { low + 1.0 };
            (low, high + (high - low) * 0.05)
        }
    }
}

fn axis(app: &App, buffer: &mut Buffer, area: Rect, plot: Rect, unit: &Unit, low: f64, most: f64) {
    if plot.height == 0 {
        return;
    }
    let room = plot.x.saturating_sub(area.x + 1);
    let steps = (plot.height / 4).clamp(1, 4);
    for y in plot.y..plot.bottom() {
        put(buffer, plot.x.saturating_sub(1), y, 1, app.glyphs.down, app.theme.border, &app.glyphs);
    }
    for step in 0..=steps {
        let y = plot.y + (plot.height - 1) * step / steps;
        let value = most - (most - low) * f64::from(step) / f64::from(steps);
        let text = units::short(unit, value);
        let text = if app.glyphs.ascii { text.replace('°', "") } else { text };
        put_right(buffer, area.x, y, room, &text, app.theme.dim, &app.glyphs);
    }
}

fn times(app: &App, buffer: &mut Buffer, area: Rect, plot: Rect, from: i64, to: i64) {
    let y = plot.bottom();
    if y >= area.bottom() {
        return;
    }
    let count = (plot.width / 22).max(1);
    let clock = |at: i64| units::clock(Timestamp::from_millis(at), app.moment(), &app.surroundings.zone);
    for place in 0..count {
        let at = from + (to - from) * i64::from(place) / i64::from(count);
        put(buffer, plot.x + plot.width * place / count, y, 20, &clock(at), app.theme.dim, &app.glyphs);
    }
    if count > 1 || plot.width > 30 {
        let text = clock(to);
        let room = text.len() as u16;
        put_right(buffer, plot.right().saturating_sub(room), y, room, &text, app.theme.dim, &app.glyphs);
    }
}

fn message(app: &App, buffer: &mut Buffer, plot: Rect, text: &str) {
    let y = plot.y + plot.height / 2;
    put(buffer, plot.x + 2, y, plot.width.saturating_sub(2), text, app.theme.dim, &app.glyphs);
}
