//! Writing on the grid of cells: text, bars, frames. Everything is cut to the
//! room it has.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::app::App;
use crate::glyphs::Glyphs;
use crate::text::{fit, width};

/// Writes a text into at most `most` cells; returns how many it took.
pub(super) fn put(buffer: &mut Buffer, x: u16, y: u16, most: u16, text: &str, style: Style, glyphs: &Glyphs) -> u16 {
    let area = buffer.area;
    if most == 0 || y < area.y || y >= area.bottom() || x >= area.right() {
        return 0;
    }
    let most = most.min(area.right() - x);
    let fitted = fit(text, usize::from(most), glyphs.ellipsis);
    let (end, _) = buffer.set_stringn(x, y, &fitted, usize::from(most), style);
    end.saturating_sub(x)
}

/// The same, ending where the room ends.
pub(super) fn put_right(buffer: &mut Buffer, x: u16, y: u16, room: u16, text: &str, style: Style, glyphs: &Glyphs) {
    let fitted = fit(text, usize::from(room), glyphs.ellipsis);
    let wide = u16::try_from(width(&fitted)).unwrap_or(room);
    put(buffer, x + room.saturating_sub(wide), y, room, &fitted, style, glyphs);
}

/// Parts of a line one after the other; returns where the last one ends.
pub(super) fn line(buffer: &mut Buffer, area: Rect, parts: &[(&str, Style)], glyphs: &Glyphs) -> u16 {
    let mut x = area.x;
    for (text, style) in parts {
        let room = area.right().saturating_sub(x);
        x += put(buffer, x, area.y, room, text, *style, glyphs);
    }
    x
}

/// A bar that is filled so far, 0 to 1.
pub(super) fn bar(buffer: &mut Buffer, x: u16, y: u16, room: u16, filled: f64, styles: [Style; 2], glyphs: &Glyphs) {
    let full = (filled.clamp(0.0, 1.0) * f64::from(room)).round() as u16;
    // Anything at all is a cell.
    let full = if filled > 0.0 { full.max(1) } else { full }.min(room);
    for column in 0..room {
        let (mark, style) = if column < full { (glyphs.full, styles[0]) } else { (glyphs.empty, styles[1]) };
        if let Some(cell) = buffer.cell_mut((x + column, y)) {
            cell.set_symbol(mark).set_style(style);
        }
    }
}

/// The mark for a height from 0 to 1.
pub(super) fn height(value: f64, glyphs: &Glyphs) -> &'static str {
    glyphs.heights[((value.clamp(0.0, 1.0) * 7.0).round() as usize).min(7)]
}

/// A frame with a title, empty inside.
pub(super) fn frame(app: &App, buffer: &mut Buffer, area: Rect, title: &str, note: &str, focused: bool) {
    let (style, glyphs) = (if focused { app.theme.focus } else { app.theme.border }, &app.glyphs);
    if area.width < 2 || area.height < 2 {
        return;
    }
    let blank = app.theme.base;
    for y in area.y..area.bottom() {
        for x in area.x..area.right() {
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.reset();
                cell.set_style(blank);
            }
        }
    }
    let (right, bottom) = (area.right() - 1, area.bottom() - 1);
    let mut mark = |x: u16, y: u16, symbol: &str| {
        if let Some(cell) = buffer.cell_mut((x, y)) {
            cell.set_symbol(symbol).set_style(style);
        }
    };
    for x in area.x + 1..right {
        mark(x, area.y, glyphs.across);
        mark(x, bottom, glyphs.across);
    }
    for y in area.y + 1..bottom {
        mark(area.x, y, glyphs.down);
        mark(right, y, glyphs.down);
    }
    for ((x, y), corner) in
        [(area.x, area.y), (right, area.y), (area.x, bottom), (right, bottom)].into_iter().zip(glyphs.corners)
    {
        mark(x, y, corner);
    }
    let room = area.width.saturating_sub(4);
    let title_style = if focused { app.theme.focus } else { app.theme.base };
    let taken = put(buffer, area.x + 2, area.y, room, &format!(" {title} "), title_style, glyphs);
    let note_room = room.saturating_sub(taken + 1);
    if !note.is_empty() && note_room > 3 {
        put_right(buffer, area.x + 2 + taken + 1, area.y, note_room, &format!(" {note} "), app.theme.dim, glyphs);
    }
}

/// Puts a style over a line, keeping what is written on it.
pub(super) fn select(buffer: &mut Buffer, area: Rect, style: Style) {
    let area = area.intersection(buffer.area);
    for y in area.y..area.bottom() {
        for x in area.x..area.right() {
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.set_style(style);
            }
        }
    }
}
