//! After every event: what follows from it. Which rows and panels there are,
//! what is selected, and what is to be watched from now on.

use tomte_api::live::Subscribe;
use tomte_model::{HostId, Status};

use crate::app::{App, FleetRow, Overlay, Target, View};
use crate::columns::{COLUMNS, Source, needs};
use crate::effect::{Effect, Question};
use crate::layout;
use crate::list::{matches, scrolled};
use crate::panels;
use crate::rows;
use crate::settings::items;
use crate::update::{actions, told};
use crate::world::{Detail, Known};

/// The host on screen is told each second.
const CLOSE: u32 = 1;

pub(super) fn settle(app: &mut App) {
    find_host(app);
    fleet_rows(app);
    host_panels(app);
    event_rows(app);
    overlay(app);
    watch(app);
}

/// The host that was asked for by name, once it is known; for an agent, its own.
fn find_host(app: &mut App) {
    if app.host.id.is_none() && app.view == View::Host && app.world.told {
        let found = match &app.host.asked {
            Some(name) => app.world.find(name).map(|known| known.host.id),
            None if app.surroundings.target == Target::Agent => app.world.hosts.keys().next().copied(),
            None => None,
        };
        match (found, app.host.asked.take()) {
            (Some(id), _) => actions::visit(app, id, None),
            (None, Some(name)) => {
                app.notify(format!("there is no host {name}"));
                app.view = View::Fleet;
            }
            (None, None) => {}
        }
    }
    let watched = app.world.detail.as_ref().map(|detail| detail.id);
    if app.host.id.is_some() && watched != app.host.id {
        app.world.detail = app.host.id.map(Detail::new);
        told::ask_lines(app);
    }
}

fn fleet_rows(app: &mut App) {
    let world = app.shown();
    let filter = &app.fleet.filter;
    let mut hosts: Vec<&Known> = world.hosts.values().filter(|known| wanted_host(known, filter)).collect();
    let (sort, falling) = (app.fleet.sort, app.fleet.falling);
    hosts.sort_by(|a, b| {
        let name = || rows::natural(&a.host.name, &b.host.name).then_with(|| a.host.id.cmp(&b.host.id));
        let order = match COLUMNS[sort].source {
            Source::Name => name(),
            Source::Roles => a.host.roles.cmp(&b.host.roles),
            _ => {
                let value = |known: &Known| known.cells.get(sort).and_then(|cell| cell.value);
                match (value(a), value(b)) {
                    (Some(a), Some(b)) => a.total_cmp(&b),
                    // What has no value comes last, whichever way it goes.
                    (a, b) => return b.is_some().cmp(&a.is_some()).then_with(name),
                }
            }
        };
        // Equals are by name, whichever way it goes.
        (if falling { order.reverse() } else { order }).then_with(name)
    });
    let role = |known: &Known| known.host.roles.first().cloned().unwrap_or_default();
    let mut listed: Vec<FleetRow> = Vec::with_capacity(hosts.len());
    if app.fleet.group {
        let mut groups: std::collections::BTreeMap<String, Vec<HostId>> = std::collections::BTreeMap::new();
        for known in hosts {
            groups.entry(role(known)).or_default().push(known.host.id);
        }
        for (role, ids) in groups {
            listed.push(FleetRow::Group(role, ids.len()));
            listed.extend(ids.into_iter().map(FleetRow::Host));
        }
    } else {
        listed.extend(hosts.into_iter().map(|known| FleetRow::Host(known.host.id)));
    }
    app.fleet.rows = listed;
    if layout::fleet_at(app).is_none() || !app.fleet.chosen {
        app.fleet.selected = app.fleet.rows.iter().find_map(|row| match row {
            FleetRow::Host(id) => Some(*id),
            FleetRow::Group(..) => None,
        });
    }
    let height = usize::from(layout::fleet_list(app).height);
    let at = layout::fleet_at(app).unwrap_or_default();
    // The head of a group comes into sight with its first host.
    let above = usize::from(at == 1 && matches!(app.fleet.rows.first(), Some(FleetRow::Group(..))));
    let offset = scrolled(app.fleet.offset, at, app.fleet.rows.len(), height);
    app.fleet.offset = if above == 1 && offset == 1 && height > 1 { 0 } else { offset };
}

fn wanted_host(known: &Known, filter: &str) -> bool {
    if filter.is_empty() {
        return true;
    }
    let host = &known.host;
    let status = host.status.map_or("none", Status::as_str);
    let texts = [host.name.as_str(), status, host.presence.as_str(), host.reason.as_str()];
    matches(filter, texts.into_iter().chain(host.aliases.iter().chain(&host.roles).map(String::as_str)))
}

fn host_panels(app: &mut App) {
    let problems = app.current().is_some_and(|known| !known.host.problems.is_empty());
    app.host.panels = match &app.shown().detail {
        Some(detail) if app.host.id == Some(detail.id) => panels::of(detail, problems, &app.catalogue),
        _ => Vec::new(),
    };
    if let Some(key) = app.host.wanted.take()
        && !actions::focus_on(app, &key)
        && app.world.detail.as_ref().is_none_or(|detail| !detail.told)
    {
        // It is not told yet.
        app.host.wanted = Some(key);
    }
    if !app.host.panels.iter().any(|panel| panel.id == app.host.focus) && app.host.wanted.is_none() {
        app.host.focus = app.host.panels.first().map(|panel| panel.id.to_string()).unwrap_or_default();
        app.host.zoomed = false;
    }
    if app.view != View::Host {
        return;
    }
    let placed = layout::host_panels(app);
    let height = layout::host_body(app).height;
    let bottom = placed.iter().map(|placed| placed.y + placed.height).max().unwrap_or_default();
    for placed in &placed {
        let Some(panel) = app.host.panels.get(placed.panel) else { continue };
        let len = rows::grid(app, panel, app.host.zoomed).rows.len();
        let shown = layout::panel_rows(app, placed);
        let focused = panel.id == app.host.focus;
        let id = panel.id.to_string();
        if focused {
            // As much of the panel with the keyboard as there is room for.
            let (top, end) = (placed.y, placed.y + placed.height);
            let least = end.saturating_sub(height).min(top);
            app.host.offset = app.host.offset.clamp(least, top);
        }
        app.host.cursors.entry(id).or_default().keep(len, shown);
    }
    app.host.offset = app.host.offset.min(bottom.saturating_sub(height));
}

fn event_rows(app: &mut App) {
    let (filter, least) = (&app.events.filter, app.events.least);
    let wanted = app.events.all.iter().enumerate().filter(|(_, event)| {
        let texts = [event.message.as_str(), event.kind.as_str(), event.severity.as_str(), event.source.as_str()];
        let more = [event.host.as_deref(), event.subject.as_deref()].into_iter().flatten();
        least.is_none_or(|least| event.severity >= least) && matches(filter, texts.into_iter().chain(more))
    });
    app.events.rows = wanted.map(|(place, _)| place).collect();
    let height = usize::from(layout::events_list(app).height);
    app.events.cursor.keep(app.events.rows.len(), height);
    // Near the end of what is known, more is asked for.
    let near = app.events.cursor.offset + height + 5 >= app.events.rows.len();
    if app.view == View::Events
        && near
        && app.events.waiting.is_none()
        && let Some(older) = app.events.older.take()
    {
        let number = app.ask(Question::Events(Some(older)));
        app.events.waiting = Some((number, true));
    }
}

fn overlay(app: &mut App) {
    let height = usize::from(layout::overlay_list(app).height);
    let columns = app.columns.len();
    let lines = crate::render::overlay_lines(app);
    match &mut app.overlay {
        Some(Overlay::Sort { cursor }) => cursor.keep(columns, height),
        Some(Overlay::Settings(settings)) => settings.cursor.keep(items().len(), height),
        Some(Overlay::Search(search)) => search.cursor.keep(search.hits.len(), height),
        Some(Overlay::Help { offset } | Overlay::Event { offset, .. }) => {
            *offset = (*offset).min(lines.saturating_sub(height));
        }
        None => {}
    }
}

/// What should be watched: what is on the screen, and how the hosts stand.
fn wanted(app: &App) -> Vec<(&'static str, Subscribe)> {
    let (kinds, fields) = needs(&app.columns);
    let list = |names: std::collections::BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
    let readings = app.view == View::Fleet && app.frozen.is_none() && app.travel.is_none() && !kinds.is_empty();
    let fleet = Subscribe {
        kinds: if readings { list(kinds) } else { Vec::new() },
        fields: if readings { list(fields) } else { Vec::new() },
        every_s: Some(app.config.refresh),
        events: true,
        resources: readings,
        ..Subscribe::default()
    };
    let mut all = vec![("fleet", fleet)];
    if let Some(id) = app.host.id.filter(|_| app.view == View::Host && app.travel.is_none()) {
        let host = Subscribe {
            hosts: vec![id.to_string()],
            every_s: Some(CLOSE),
            events: false,
            resources: true,
            ..Subscribe::default()
        };
        all.push(("host", host));
    }
    all
}

/// Tells the hub what is watched from now on, where that changed.
fn watch(app: &mut App) {
    if app.link != crate::app::Link::Up {
        return;
    }
    let wanted = wanted(app);
    let gone: Vec<&'static str> =
        app.subscribed.keys().copied().filter(|slot| !wanted.iter().any(|(known, _)| known == slot)).collect();
    for slot in gone {
        if let Some((number, _)) = app.subscribed.remove(slot) {
            app.effects.push(Effect::Unsubscribe(format!("{slot}-{number}")));
        }
    }
    for (slot, request) in wanted {
        let before = app.subscribed.get(slot);
        if before.is_some_and(|(_, known)| *known == request) {
            continue;
        }
        if let Some((number, _)) = before {
            app.effects.push(Effect::Unsubscribe(format!("{slot}-{number}")));
        }
        app.sequence += 1;
        let number = app.sequence;
        let named = Subscribe { id: format!("{slot}-{number}"), ..request.clone() };
        app.subscribed.insert(slot, (number, request));
        app.effects.push(Effect::Subscribe(named));
    }
}
