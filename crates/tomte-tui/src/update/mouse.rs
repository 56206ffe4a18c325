//! The mouse: click to go to a page, select, open and sort; the wheel scrolls
//! what is under it.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use crate::app::{App, FleetRow, Overlay, View};
use crate::keys::Action;
use crate::layout;
use crate::update::actions::{self, act};

/// Two clicks on one place within this open it, in milliseconds.
const DOUBLE: i64 = 400;

/// How far the wheel goes.
const WHEEL: usize = 3;

pub(super) fn mouse(app: &mut App, event: MouseEvent) {
    let at = Position::new(event.column, event.row);
    match event.kind {
        MouseEventKind::Down(MouseButton::Left) => {
            let double = app.clicked.is_some_and(|(x, y, when)| {
                (x, y) == (at.x, at.y) && app.now.millis().saturating_sub(when.millis()) < DOUBLE
            });
            app.clicked = if double { None } else { Some((at.x, at.y, app.now)) };
            app.touch();
            click(app, at, double);
        }
        MouseEventKind::ScrollDown => wheel(app, at, true),
        MouseEventKind::ScrollUp => wheel(app, at, false),
        _ => {}
    }
}

fn wheel(app: &mut App, at: Position, down: bool) {
    if app.overlay.is_none() && app.view == View::Host {
        if app.host.chart.is_some() {
            return act(app, if down { Action::ZoomOut } else { Action::ZoomIn });
        }
        // The page scrolls; the keyboard goes to what is under the mouse.
        if let Some(panel) = panel_at(app, at) {
            app.host.focus = app.host.panels[panel.panel].id.to_string();
        }
    }
    for _ in 0..WHEEL {
        act(app, if down { Action::Down } else { Action::Up });
    }
}

fn click(app: &mut App, at: Position, double: bool) {
    if app.overlay.is_some() {
        return click_overlay(app, at, double);
    }
    if let Some((view, ..)) = layout::tabs(app).into_iter().find(|(.., area)| area.contains(at)) {
        return actions::show(app, view);
    }
    match app.view {
        View::Fleet => click_fleet(app, at, double),
        View::Host => click_host(app, at, double),
        View::Events => {
            if let Some(line) = line_in(layout::events_list(app), at) {
                let place = app.events.cursor.offset + line;
                if place < app.events.rows.len() {
                    app.events.cursor.at = place;
                    if double {
                        actions::open(app);
                    }
                }
            }
        }
    }
}

/// The line of a list that is there.
fn line_in(list: Rect, at: Position) -> Option<usize> {
    list.contains(at).then(|| usize::from(at.y - list.y))
}

fn click_overlay(app: &mut App, at: Position, double: bool) {
    if !layout::overlay(app).contains(at) {
        app.overlay = None;
        return;
    }
    let Some(line) = line_in(layout::overlay_list(app), at) else { return };
    let columns = app.columns.len();
    match &mut app.overlay {
        Some(Overlay::Sort { cursor }) => {
            if cursor.offset + line < columns {
                cursor.at = cursor.offset + line;
                actions::open(app);
            }
        }
        Some(Overlay::Settings(settings)) => {
            let place = settings.cursor.offset + line;
            if place < crate::settings::items().len() {
                let again = settings.cursor.at == place;
                settings.cursor.at = place;
                if again {
                    actions::change_setting(app, place, true);
                }
            }
        }
        Some(Overlay::Search(search)) => {
            let place = search.cursor.offset + line;
            if place < search.hits.len() {
                let again = search.cursor.at == place;
                search.cursor.at = place;
                if again || double {
                    actions::open(app);
                }
            }
        }
        Some(Overlay::Help { .. } | Overlay::Event { .. }) | None => {}
    }
}

fn click_fleet(app: &mut App, at: Position, double: bool) {
    let body = layout::screen(app).body;
    if body.height > 0 && at.y == body.y {
        let columns = layout::fleet_columns(app, body.width);
        let column = columns.iter().rev().find(|column| at.x >= column.x);
        if let Some(column) = column.copied() {
            actions::sort_by(app, column.place);
        }
        return;
    }
    let Some(line) = line_in(layout::fleet_list(app), at) else { return };
    if let Some(FleetRow::Host(id)) = app.fleet.rows.get(app.fleet.offset + line) {
        app.fleet.selected = Some(*id);
        app.fleet.chosen = true;
        if double {
            actions::open(app);
        }
    }
}

/// The panel that is there on the screen.
fn panel_at(app: &App, at: Position) -> Option<layout::Placed> {
    let body = layout::host_body(app);
    if !body.contains(at) {
        return None;
    }
    let y = at.y - body.y + app.host.offset;
    let within = |placed: &layout::Placed| {
        (placed.x..placed.x + placed.width).contains(&at.x) && (placed.y..placed.y + placed.height).contains(&y)
    };
    layout::host_panels(app).into_iter().find(within)
}

fn click_host(app: &mut App, at: Position, double: bool) {
    if app.host.chart.is_some() {
        let plot = layout::chart_plot(app);
        let now = app.moment();
        if let Some(chart) = &mut app.host.chart
            && plot.contains(at)
        {
            let (from, to) = chart.range(now);
            let column = i64::from(at.x - plot.x);
            chart.cursor = Some(from + (to - from) * column / i64::from(plot.width.max(1)));
        }
        return;
    }
    if let Some((panel, _)) = layout::panel_names(app).into_iter().find(|(_, area)| area.contains(at)) {
        app.host.focus = app.host.panels[panel].id.to_string();
        if double {
            app.host.zoomed = !app.host.zoomed;
        }
        return;
    }
    let Some(placed) = panel_at(app, at) else { return };
    let panel = &app.host.panels[placed.panel];
    let id = panel.id.to_string();
    let heads = layout::panel_extra(panel) - 1;
    app.host.focus.clone_from(&id);
    let line = at.y - layout::host_body(app).y + app.host.offset - placed.y;
    if line < heads || line + 1 >= placed.height {
        // On its frame, a second click lets it fill the screen.
        if double {
            app.host.zoomed = !app.host.zoomed;
        }
        return;
    }
    let cursor = app.host.cursors.entry(id).or_default();
    cursor.at = cursor.offset + usize::from(line - heads);
    if double {
        actions::open(app);
    }
}
