//! The line above: the pages, how many hosts stand how, and the moment that is
//! shown where it is not the present.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tomte_api::host::Presence;
use tomte_model::Status;

use super::pen::put;
use crate::app::{App, Target};
use crate::layout;
use crate::text::width;
use crate::units;

pub(super) fn draw(app: &App, buffer: &mut Buffer, area: Rect) {
    if area.height == 0 {
        return;
    }
    let mut end = area.x;
    for (view, label, place) in layout::tabs(app) {
        let style = if view == app.view { app.theme.accent.patch(app.theme.selection) } else { app.theme.dim };
        put(buffer, place.x, place.y, place.width, &format!(" {label} "), style, &app.glyphs);
        end = place.right();
    }
    let mut parts = facts(app);
    // What matters least goes first.
    let room = usize::from(area.right().saturating_sub(end + 2));
    let needed =
        |parts: &[(String, ratatui::style::Style)]| parts.iter().map(|(text, _)| width(text) + 2).sum::<usize>();
    while !parts.is_empty() && needed(&parts) > room {
        parts.pop();
    }
    let mut x = area.right().saturating_sub(u16::try_from(needed(&parts)).unwrap_or(0) + 1);
    for (text, style) in parts {
        x += put(buffer, x + 2, area.y, area.width, &text, style, &app.glyphs) + 2;
    }
}

/// What matters most first.
fn facts(app: &App) -> Vec<(String, ratatui::style::Style)> {
    let mut parts = Vec::new();
    if let Some(travel) = &app.travel {
        let at = units::clock(travel.at, app.now, &app.surroundings.zone);
        let ago = units::age(travel.at, app.now);
        let what = match (travel.waiting, travel.playing) {
            (_, true) => "PLAYING",
            (Some(_), false) => "GOING TO",
            (None, false) => "PAST",
        };
        parts.push((format!("{what} {at}, {ago} ago"), app.theme.warning.patch(app.theme.selection)));
    } else if let Some(frozen) = &app.frozen {
        let at = units::clock(frozen.at, app.now, &app.surroundings.zone);
        parts.push((format!("FROZEN {at}"), app.theme.warning.patch(app.theme.selection)));
    }
    if app.surroundings.target == Target::Agent {
        return parts;
    }
    let hosts = &app.shown().hosts;
    let count = |status| hosts.values().filter(|known| known.host.status == Some(status)).count();
    for status in [Status::Critical, Status::Warning, Status::Unknown] {
        let number = count(status);
        if number > 0 {
            let text = format!("{} {number} {status}", app.glyphs.status(Some(status)));
            parts.push((text, app.theme.status(Some(status))));
        }
    }
    let away = hosts.values().filter(|known| known.host.presence == Presence::Offline).count();
    if away > 0 {
        let text = format!("{} {away} offline", app.glyphs.presence(Presence::Offline));
        parts.push((text, app.theme.dim));
    }
    if app.shown().told {
        let number = hosts.len();
        parts.push((format!("{number} {}", if number == 1 { "host" } else { "hosts" }), app.theme.dim));
    }
    parts
}
