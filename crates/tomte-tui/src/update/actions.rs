//! What each action of the key table does.

use tomte_model::{HostId, Severity};

use crate::app::{App, FleetRow, Frozen, Link, Overlay, Target, View};
use crate::chart::Chart;
use crate::columns::COLUMNS;
use crate::config::Config;
use crate::effect::{Effect, Question};
use crate::glyphs::{ASCII, UNICODE};
use crate::keys::Action;
use crate::layout;
use crate::list::{Cursor, Input};
use crate::rows;
use crate::search::Hit;
use crate::settings::{Item, items};
use crate::theme::Theme;
use crate::update::{told, travel};
use crate::world::{Key, of_kind};

pub(super) fn act(app: &mut App, action: Action) {
    app.touch();
    match action {
        Action::Quit => {
            if app.overlay.take().is_none() {
                app.leaving = true;
            }
        }
        Action::Help => {
            app.overlay = match app.overlay {
                Some(Overlay::Help { .. }) => None,
                _ => Some(Overlay::Help { offset: 0 }),
            };
        }
        Action::Back => back(app),
        Action::Open => open(app),
        Action::Down => step(app, 1),
        Action::Up => step(app, -1),
        Action::HalfDown => step(app, half(app)),
        Action::HalfUp => step(app, -half(app)),
        Action::PageDown => step(app, half(app) * 2),
        Action::PageUp => step(app, -half(app) * 2),
        Action::Top => step(app, isize::MIN / 2),
        Action::Bottom => step(app, isize::MAX / 2),
        Action::Left => sideways(app, false),
        Action::Right => sideways(app, true),
        Action::Next => cycle(app, true),
        Action::Previous => cycle(app, false),
        Action::Filter => {
            if app.overlay.is_none() {
                app.typing = Some(Input { text: app.filter().to_owned() });
            }
        }
        Action::Search => app.overlay = Some(Overlay::Search(Box::default())),
        Action::Fleet => show(app, View::Fleet),
        Action::HostPage => show(app, View::Host),
        Action::Events => {
            app.events.least = None;
            show(app, View::Events);
        }
        Action::Alerts => {
            app.events.least = Some(Severity::Warning);
            show(app, View::Events);
        }
        Action::Settings => {
            app.overlay = match app.overlay {
                Some(Overlay::Settings(_)) => None,
                _ => Some(Overlay::Settings(Box::default())),
            };
        }
        Action::Refresh => refresh(app),
        Action::Freeze => {
            app.travel = None;
            app.frozen = match app.frozen.take() {
                Some(_) => None,
                None => Some(Frozen { at: app.now, world: Box::new(app.world.clone()) }),
            };
        }
        Action::StepBack => travel::step(app, true, travel::STEP),
        Action::StepForward => travel::step(app, false, travel::STEP),
        Action::LeapBack => travel::step(app, true, travel::LEAP),
        Action::LeapForward => travel::step(app, false, travel::LEAP),
        Action::Jump => jump(app),
        Action::Play => {
            if let Some(travel) = &mut app.travel {
                travel.playing = !travel.playing;
            }
        }
        Action::Present => travel::present(app),
        Action::Suspend => app.effects.push(Effect::Suspend),
        Action::Sort => {
            let at = app.columns.iter().position(|place| *place == app.fleet.sort).unwrap_or_default();
            app.overlay = Some(Overlay::Sort { cursor: Cursor { at, offset: 0 } });
        }
        Action::Reverse => app.fleet.falling = !app.fleet.falling,
        Action::Group => app.fleet.group = !app.fleet.group,
        Action::NextColumn => neighbour(app, true),
        Action::PreviousColumn => neighbour(app, false),
        Action::Zoom => app.host.zoomed = !app.host.zoomed,
        Action::NextHost => next_host(app, 1),
        Action::PreviousHost => next_host(app, -1),
        Action::ZoomIn => chart(app, |chart, now, _| chart.zoom(false, now)),
        Action::ZoomOut => chart(app, |chart, now, _| chart.zoom(true, now)),
        Action::PanLeft => chart(app, |chart, now, _| chart.pan(true, now)),
        Action::PanRight => chart(app, |chart, now, _| chart.pan(false, now)),
        Action::Newest => chart(app, |chart, _, _| (chart.end, chart.cursor) = (None, None)),
        Action::Severity => {
            app.events.least = match app.events.least {
                None | Some(Severity::Info) => Some(Severity::Warning),
                Some(Severity::Warning) => Some(Severity::Error),
                Some(Severity::Error) => Some(Severity::Critical),
                Some(Severity::Critical) => None,
            };
            app.events.cursor = Cursor::default();
        }
    }
}

/// To the selected event's moment, or to one that is typed.
fn jump(app: &mut App) {
    let selected = match &app.overlay {
        Some(Overlay::Event { event, .. }) => Some(event.at),
        None if app.view == View::Events => {
            let place = app.events.rows.get(app.events.cursor.at);
            place.and_then(|place| app.events.all.get(*place)).map(|event| event.at)
        }
        _ => None,
    };
    app.overlay = None;
    match selected {
        // On the fleet it can be seen what happened around it.
        Some(at) => {
            app.view = View::Fleet;
            travel::to(app, at);
        }
        None => app.jumping = Some(Input::default()),
    }
}

/// Half a screen of whatever is being moved in.
fn half(app: &App) -> isize {
    let height = match (&app.overlay, app.view) {
        (Some(_), _) => layout::overlay_list(app).height,
        (None, View::Fleet) => layout::fleet_list(app).height,
        (None, View::Events) => layout::events_list(app).height,
        (None, View::Host) => layout::host_body(app).height,
    };
    isize::try_from(height / 2).unwrap_or(1).max(1)
}

fn back(app: &mut App) {
    if app.overlay.take().is_some() || app.typing.take().is_some() {
        return;
    }
    if !app.filter().is_empty() {
        return app.set_filter(String::new());
    }
    let before = app.view;
    match app.view {
        View::Fleet => {}
        View::Host if app.host.chart.is_some() => app.host.chart = None,
        View::Host if app.host.zoomed => app.host.zoomed = false,
        // There is no fleet behind a lone agent.
        View::Host if app.surroundings.target == Target::Agent => {}
        View::Host => show(app, View::Fleet),
        View::Events if app.surroundings.target == Target::Agent => show(app, View::Host),
        View::Events => show(app, View::Fleet),
    }
    if before == View::Fleet && app.view == View::Fleet {
        (app.frozen, app.travel) = (None, None);
    }
}

/// Goes to a page.
pub(super) fn show(app: &mut App, view: View) {
    app.overlay = None;
    app.typing = None;
    if view == View::Host && app.host.id.is_none() {
        let first = app.fleet.selected.or_else(|| app.shown().hosts.keys().next().copied());
        match first {
            Some(id) => return visit(app, id, None),
            None if app.host.asked.is_none() => return app.notify("no host is known yet"),
            None => {}
        }
    }
    let before = std::mem::replace(&mut app.view, view);
    if view == View::Fleet && before != view && app.link == Link::Up {
        told::ask_usage(app);
    }
    if before != view {
        travel::again(app);
    }
}

/// Goes to a host's page, and to a resource on it.
pub(super) fn visit(app: &mut App, id: HostId, key: Option<&Key>) {
    app.overlay = None;
    app.typing = None;
    app.view = View::Host;
    app.fleet.selected = Some(id);
    app.fleet.chosen = true;
    if app.host.id != Some(id) {
        // Where things stood still, nothing is known of another host.
        if app.travel.is_none() {
            app.frozen = None;
        }
        app.host.id = Some(id);
        app.host.asked = None;
        app.host.offset = 0;
        app.host.zoomed = false;
        app.host.cursors.clear();
        app.host.filter.clear();
        app.host.panels.clear();
    }
    app.host.chart = None;
    app.host.wanted = key.cloned();
    travel::again(app);
}

/// Opens what is selected.
pub(super) fn open(app: &mut App) {
    match app.overlay.take() {
        None => {}
        Some(Overlay::Help { .. } | Overlay::Event { .. }) => return,
        Some(Overlay::Sort { cursor }) => {
            if let Some(place) = app.columns.get(cursor.at).copied() {
                sort_by(app, place);
            }
            return;
        }
        Some(Overlay::Settings(settings)) => {
            let at = settings.cursor.at;
            app.overlay = Some(Overlay::Settings(settings));
            return change_setting(app, at, true);
        }
        Some(Overlay::Search(mut search)) => {
            if let Some(Hit { host, key, .. }) = search.hits.get(search.cursor.at).cloned() {
                visit(app, host, key.as_ref());
            } else {
                // The hub is slower than the fingers.
                search.opening = search.waiting.is_some();
                app.overlay = Some(Overlay::Search(search));
            }
            return;
        }
    }
    match app.view {
        View::Fleet => {
            if let Some(id) = app.fleet.selected {
                visit(app, id, None);
            }
        }
        View::Events => {
            let event = app.events.rows.get(app.events.cursor.at).and_then(|place| app.events.all.get(*place));
            if let Some(event) = event.cloned() {
                app.overlay = Some(Overlay::Event { event: Box::new(event), offset: 0 });
            }
        }
        View::Host if app.host.chart.is_none() => open_chart(app),
        View::Host => {}
    }
}

fn open_chart(app: &mut App) {
    let Some(panel) = app.host.panels.iter().find(|panel| panel.id == app.host.focus) else { return };
    let grid = rows::grid(app, panel, app.host.zoomed);
    let at = app.host.cursors.get(app.host.focus.as_str()).map_or(0, |cursor| cursor.at);
    let Some((key, field)) = grid.rows.get(at).and_then(|row| row.about.clone()) else {
        return app.notify("there are no readings to draw here");
    };
    let resource = app.shown().detail.as_ref().and_then(|detail| detail.resources.get(&key));
    match resource.and_then(|resource| Chart::of(resource, field.as_deref())) {
        Some(chart) => {
            app.host.chart = Some(chart);
            ask_chart(app);
        }
        None => app.notify("there are no readings to draw here"),
    }
}

/// Asks for what the chart shows now.
pub(super) fn ask_chart(app: &mut App) {
    let Some(chart) = &mut app.host.chart else { return };
    chart.forget();
    // An agent's socket keeps no history: what comes live is all there is.
    if app.surroundings.target == Target::Hub {
        let query = chart.query(app.now);
        let number = app.ask(Question::History(Box::new(query)));
        if let Some(chart) = &mut app.host.chart {
            chart.waiting = Some(number);
        }
    }
}

/// Does something with the chart, and asks anew if it shows something else.
fn chart(app: &mut App, change: impl FnOnce(&mut Chart, tomte_model::Timestamp, u16)) {
    let (now, columns) = (app.moment(), layout::chart_plot(app).width);
    let Some(chart) = &mut app.host.chart else { return };
    let before = (chart.span(), chart.end, chart.field);
    change(chart, now, columns);
    if before != (chart.span(), chart.end, chart.field) {
        ask_chart(app);
    }
}

fn step(app: &mut App, by: isize) {
    let overlay_height = usize::from(layout::overlay_list(app).height);
    let columns = app.columns.len();
    match &mut app.overlay {
        Some(Overlay::Help { offset } | Overlay::Event { offset, .. }) => {
            *offset = offset.saturating_add_signed(by).min(10_000);
            return;
        }
        Some(Overlay::Sort { cursor }) => return cursor.step(by, columns),
        Some(Overlay::Settings(settings)) => return settings.cursor.step(by, items().len()),
        Some(Overlay::Search(search)) => {
            search.cursor.step(by, search.hits.len());
            return search.cursor.keep(search.hits.len(), overlay_height);
        }
        None => {}
    }
    match app.view {
        View::Fleet => step_fleet(app, by),
        View::Events => app.events.cursor.step(by, app.events.rows.len()),
        View::Host if app.host.chart.is_some() => chart(app, |chart, _, _| {
            chart.field = chart.field.saturating_add_signed(by).min(chart.fields.len().saturating_sub(1));
        }),
        View::Host => {
            let Some(panel) = app.host.panels.iter().find(|panel| panel.id == app.host.focus) else { return };
            let len = rows::grid(app, panel, app.host.zoomed).rows.len();
            let cursor = app.host.cursors.entry(app.host.focus.clone()).or_default();
            let before = cursor.at;
            cursor.step(by, len);
            // At its end, a single step goes on in the next panel.
            if cursor.at == before && by.abs() == 1 && !app.host.zoomed && app.host.filter.is_empty() {
                leave_panel(app, by > 0);
            }
        }
    }
}

/// From the end of a panel into the one below, from its beginning into the one
/// above, as they are on the screen.
fn leave_panel(app: &mut App, down: bool) {
    let placed = layout::host_panels(app);
    let Some(here) = placed.iter().find(|placed| app.host.panels[placed.panel].id == app.host.focus).copied() else {
        return;
    };
    let next = placed
        .iter()
        .filter(|other| other.x == here.x && if down { other.y > here.y } else { other.y < here.y })
        .min_by_key(|other| other.y.abs_diff(here.y));
    if let Some(next) = next {
        let id = app.host.panels[next.panel].id.to_string();
        let at = if down { 0 } else { usize::MAX };
        app.host.cursors.insert(id.clone(), Cursor { at, offset: 0 });
        app.host.focus = id;
    }
}

fn step_fleet(app: &mut App, by: isize) {
    let hosts: Vec<HostId> = app
        .fleet
        .rows
        .iter()
        .filter_map(|row| match row {
            FleetRow::Host(id) => Some(*id),
            FleetRow::Group(..) => None,
        })
        .collect();
    let at = app.fleet.selected.and_then(|id| hosts.iter().position(|known| *known == id));
    let at = match at {
        Some(at) => at.saturating_add_signed(by).min(hosts.len().saturating_sub(1)),
        None => 0,
    };
    app.fleet.selected = hosts.get(at).copied().or(app.fleet.selected);
    app.fleet.chosen = true;
}

fn sideways(app: &mut App, right: bool) {
    if let Some(Overlay::Settings(settings)) = &app.overlay {
        let at = settings.cursor.at;
        return change_setting(app, at, right);
    }
    if app.overlay.is_some() {
        return;
    }
    match app.view {
        View::Fleet => neighbour(app, right),
        View::Host if app.host.chart.is_some() => {
            chart(app, |chart, now, columns| chart.step(if right { 1 } else { -1 }, columns, now));
        }
        View::Host => beside(app, right),
        View::Events => {}
    }
}

/// To the panel beside this one, or to the next host where there is none.
fn beside(app: &mut App, right: bool) {
    let placed = layout::host_panels(app);
    let Some(here) = placed.iter().find(|placed| app.host.panels[placed.panel].id == app.host.focus).copied() else {
        return;
    };
    let beside = placed
        .iter()
        .filter(|other| if right { other.x > here.x } else { other.x < here.x })
        .min_by_key(|other| (other.x.abs_diff(here.x), other.y.abs_diff(here.y)));
    if let Some(beside) = beside {
        app.host.focus = app.host.panels[beside.panel].id.to_string();
    } else if app.keymap.all(Action::Left) == ["left"] {
        // As cm-dashboard's users know it: left and right are hosts.
        next_host(app, if right { 1 } else { -1 });
    }
}

fn cycle(app: &mut App, forward: bool) {
    if app.overlay.is_some() {
        return step(app, if forward { 1 } else { -1 });
    }
    match app.view {
        View::Host if app.host.chart.is_some() => step(app, if forward { 1 } else { -1 }),
        View::Host if !app.host.panels.is_empty() => {
            let len = app.host.panels.len();
            let at = app.host.panels.iter().position(|panel| panel.id == app.host.focus).unwrap_or_default();
            let next = (at + if forward { 1 } else { len - 1 }) % len;
            app.host.focus = app.host.panels[next].id.to_string();
        }
        View::Host => {}
        view => {
            let at = View::ALL.iter().position(|known| *known == view).unwrap_or_default();
            let len = View::ALL.len();
            show(app, View::ALL[(at + if forward { 1 } else { len - 1 }) % len]);
        }
    }
}

/// Sorts by a column; the other way round when it is the one already.
pub(super) fn sort_by(app: &mut App, place: usize) {
    if app.fleet.sort == place {
        app.fleet.falling = !app.fleet.falling;
    } else {
        app.fleet.sort = place;
        app.fleet.falling = COLUMNS[place].falling;
    }
}

fn neighbour(app: &mut App, right: bool) {
    let shown: Vec<usize> = layout::fleet_columns(app, app.size.0).into_iter().map(|column| column.place).collect();
    let Some(at) = shown.iter().position(|place| *place == app.fleet.sort) else {
        return shown.first().copied().map_or((), |place| sort_by(app, place));
    };
    let next = if right { at + 1 } else { at.wrapping_sub(1) };
    if let Some(place) = shown.get(next) {
        sort_by(app, *place);
    }
}

/// The next host in the fleet's order.
fn next_host(app: &mut App, by: isize) {
    app.fleet.selected = app.host.id.or(app.fleet.selected);
    let before = app.fleet.selected;
    step_fleet(app, by);
    match app.fleet.selected {
        Some(id) if app.fleet.selected != before => visit(app, id, None),
        _ => {}
    }
}

fn refresh(app: &mut App) {
    if app.surroundings.target == Target::Agent {
        return app.notify("an agent's socket is read-only: it reads when it is due");
    }
    let hosts: Vec<String> = match (app.view, app.host.id) {
        (View::Host, Some(id)) => vec![id.to_string()],
        _ => app.world.hosts.keys().map(ToString::to_string).collect(),
    };
    app.notify(if hosts.len() == 1 { "reading anew".to_owned() } else { format!("{} hosts read anew", hosts.len()) });
    app.effects.extend(hosts.into_iter().map(Effect::Refresh));
}

/// Changes a setting, puts it to use, and has it written down.
pub(super) fn change_setting(app: &mut App, at: usize, forward: bool) {
    let Some(item) = items().get(at).copied() else { return };
    let (key, value) = item.change(&mut app.config, forward);
    app.effects.push(Effect::Save(vec![(key, value)]));
    apply_settings(app);
    match item {
        Item::Mouse => app.effects.push(Effect::Mouse(app.config.mouse)),
        Item::Group => app.fleet.group = app.config.group,
        _ => {}
    }
}

fn apply_settings(app: &mut App) {
    let Config { theme, themes, characters, .. } = &app.config;
    // Only what exists can be chosen on the page.
    if let Ok(theme) = Theme::of(theme, themes, app.surroundings.depth) {
        app.theme = theme;
    }
    if let Ok(keymap) = app.config.keymap() {
        app.keymap = keymap;
    }
    app.glyphs = match characters.as_str() {
        "unicode" => UNICODE,
        "ascii" => ASCII,
        _ if app.surroundings.unicode => UNICODE,
        _ => ASCII,
    };
    app.columns = app.config.columns();
}

/// The searched text is another one.
pub(super) fn search_changed(app: &mut App) {
    let Some(Overlay::Search(mut search)) = app.overlay.take() else { return };
    search.begin(app.shown());
    let text = search.input.text.trim().to_owned();
    // One letter is in everything.
    search.waiting = (text.chars().count() > 1).then(|| app.ask(Question::Search(text)));
    app.overlay = Some(Overlay::Search(search));
}

/// Puts the keyboard where a resource is on the host's page, if it is there.
pub(super) fn focus_on(app: &mut App, key: &Key) -> bool {
    let Some(panel) = app.host.panels.iter().find(|panel| panel.kinds.iter().any(|kind| *kind == key.0)) else {
        return false;
    };
    let known = app.shown().detail.as_ref();
    if !known.is_some_and(|detail| of_kind(&detail.resources, &key.0).any(|resource| resource.name == key.1)) {
        return false;
    }
    let grid = rows::grid(app, panel, app.host.zoomed);
    let at = grid.rows.iter().position(|row| row.about.as_ref().is_some_and(|(about, _)| about == key));
    let id = panel.id.to_string();
    app.host.cursors.insert(id.clone(), Cursor { at: at.unwrap_or_default(), offset: 0 });
    app.host.focus = id;
    true
}
