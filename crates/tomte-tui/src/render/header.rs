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
    let needed = |parts: &[Fact]| parts.iter().map(|fact| width(&fact.text) + 2).sum::<usize>();
    if needed(&parts) > room {
        parts.retain(|fact| fact.short.is_some());
    }
    if needed(&parts) > room {
        for fact in &mut parts {
            fact.text = fact.short.take().unwrap_or_default();
        }
    }
    while !parts.is_empty() && needed(&parts) > room {
        parts.pop();
    }
    let mut x = area.right().saturating_sub(u16::try_from(needed(&parts)).unwrap_or(0) + 1);
    for fact in parts {
        x += put(buffer, x + 2, area.y, area.width, &fact.text, fact.style, &app.glyphs) + 2;
    }
}

struct Fact {
    text: String,
    /// Where there is little room; without it, it is left out there.
    short: Option<String>,
    style: ratatui::style::Style,
}

/// What matters most first.
fn facts(app: &App) -> Vec<Fact> {
    let mut parts = Vec::new();
    let stands_still = app.theme.warning.patch(app.theme.selection);
    if let Some(travel) = &app.travel {
        let at = units::clock(travel.at, app.now, &app.surroundings.zone);
        let ago = units::age(travel.at, app.now);
        let what = match (travel.waiting, travel.playing) {
            (_, true) => "PLAYING",
            (Some(_), false) => "GOING TO",
            (None, false) => "PAST",
        };
        let short = Some(format!("{what} {ago} ago"));
        parts.push(Fact { text: format!("{what} {at}, {ago} ago"), short, style: stands_still });
    } else if let Some(frozen) = &app.frozen {
        let at = units::clock(frozen.at, app.now, &app.surroundings.zone);
        parts.push(Fact { text: format!("FROZEN {at}"), short: Some("FROZEN".to_owned()), style: stands_still });
    }
    if app.surroundings.target == Target::Agent {
        return parts;
    }
    let hosts = &app.shown().hosts;
    let count = |status| hosts.values().filter(|known| known.host.status == Some(status)).count();
    for status in [Status::Critical, Status::Warning, Status::Unknown] {
        let number = count(status);
        if number > 0 {
            let short = format!("{} {number}", app.glyphs.status(Some(status)));
            let text = format!("{short} {status}");
            parts.push(Fact { text, short: Some(short), style: app.theme.status(Some(status)) });
        }
    }
    let away = hosts.values().filter(|known| known.host.presence == Presence::Offline).count();
    if away > 0 {
        let short = format!("{} {away}", app.glyphs.presence(Presence::Offline));
        parts.push(Fact { text: format!("{short} offline"), short: Some(short), style: app.theme.dim });
    }
    if app.shown().told {
        let number = hosts.len();
        let text = format!("{number} {}", if number == 1 { "host" } else { "hosts" });
        parts.push(Fact { text, short: None, style: app.theme.dim });
    }
    parts
}
