//! Where everything is on the screen. Drawing and the mouse both ask here, so
//! that a click is always on what is seen.

use ratatui::layout::Rect;

use crate::app::{App, FleetRow, Overlay, View};
use crate::columns::{COLUMNS, Source};
use crate::panels::{Body, Panel};
use crate::rows;
use crate::text::width;

/// Panels beside each other are at least so wide.
const PANEL_WIDTH: u16 = 58;

/// The parts of every screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    pub(crate) header: Rect,
    pub(crate) body: Rect,
    pub(crate) status: Rect,
}

/// A line above, a line below, the page between.
pub(crate) fn screen(app: &App) -> Screen {
    let (columns, lines) = app.size;
    let header = lines.min(1);
    let status = lines.saturating_sub(1).min(1);
    let body = lines - header - status;
    Screen {
        header: Rect::new(0, 0, columns, header),
        body: Rect::new(0, header, columns, body),
        status: Rect::new(0, header + body, columns, status),
    }
}

/// Where the pages' names are in the header: the page, its name, its place.
pub(crate) fn tabs(app: &App) -> Vec<(View, String, Rect)> {
    let header = screen(app).header;
    let mut x = 1;
    let mut tabs = Vec::new();
    for (view, number) in View::ALL.into_iter().zip(1..) {
        let name = match view {
            View::Fleet => "Fleet".to_owned(),
            View::Host => {
                let name = app.current().map(|known| known.host.name.clone()).or_else(|| app.host.asked.clone());
                let most = usize::from(header.width / 4).max(6);
                name.map_or_else(
                    || "Host".to_owned(),
                    |name| crate::text::fit(&name, most, app.glyphs.ellipsis).into_owned(),
                )
            }
            View::Events => "Events".to_owned(),
        };
        let label = if header.width < 60 { name } else { format!("{number} {name}") };
        let wide = u16::try_from(width(&label)).unwrap_or(u16::MAX).saturating_add(2);
        if x + wide > header.width {
            break;
        }
        tabs.push((view, label, Rect::new(x, header.y, wide, header.height)));
        x += wide + 1;
    }
    tabs
}

/// A column of the fleet on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FleetColumn {
    /// Its place in the list of columns.
    pub(crate) place: usize,
    pub(crate) x: u16,
    pub(crate) width: u16,
}

/// The columns that fit. What nobody has data for takes no room; what matters
/// least goes first.
pub(crate) fn fleet_columns(app: &App, total: u16) -> Vec<FleetColumn> {
    let world = app.shown();
    let longest = world.hosts.values().map(|known| width(&crate::text::clean(&known.host.name))).max().unwrap_or(4);
    let name = u16::try_from(longest).unwrap_or(u16::MAX).clamp(6, (total / 4).clamp(10, 40));
    let has_data = |place: usize| {
        let always = matches!(COLUMNS[place].source, Source::Status | Source::Name | Source::Age | Source::News);
        always
            || world.hosts.values().any(|known| known.cells.get(place).is_some_and(|cell| cell.value.is_some()))
            || (COLUMNS[place].id == "roles" && world.hosts.values().any(|known| !known.host.roles.is_empty()))
    };
    let mut chosen: Vec<usize> = app.columns.iter().copied().filter(|place| has_data(*place)).collect();
    if !chosen.iter().any(|place| COLUMNS[*place].source == Source::Name) {
        chosen.insert(0, crate::columns::place("host").unwrap_or_default());
    }
    let wide = |place: usize| match COLUMNS[place].source {
        Source::Name => name,
        Source::Graph if total >= 160 => 21,
        // Where little else is left, a short word is better than none.
        Source::News if total < 70 => 14,
        Source::News if total < 100 => 24,
        _ => COLUMNS[place]
            .width
            .max(COLUMNS[place].title.len() as u16 * u16::from(!matches!(COLUMNS[place].source, Source::News))),
    };
    // A blank before the first, and one between two.
    let needed = |chosen: &[usize]| chosen.iter().map(|place| wide(*place) + 1).sum::<u16>() + 1;
    while chosen.len() > 1 && needed(&chosen) > total {
        let last = (0..chosen.len()).max_by_key(|i| (COLUMNS[chosen[*i]].rank, *i)).unwrap_or_default();
        chosen.remove(last);
    }
    let spare = total.saturating_sub(needed(&chosen));
    let stretch = chosen
        .iter()
        .position(|place| COLUMNS[*place].source == Source::News)
        .or_else(|| chosen.iter().position(|place| COLUMNS[*place].source == Source::Name));
    let mut x = 1;
    let mut columns = Vec::new();
    for (i, place) in chosen.into_iter().enumerate() {
        let mut width = wide(place);
        if Some(i) == stretch {
            // The news takes what is left; a name alone only what it needs.
            width += if COLUMNS[place].source == Source::News { spare } else { spare.min(12) };
        }
        columns.push(FleetColumn { place, x, width: width.min(total.saturating_sub(x)) });
        x += width + 1;
    }
    columns
}

/// The lines of the fleet below the heads of the columns.
pub(crate) fn fleet_list(app: &App) -> Rect {
    let body = screen(app).body;
    Rect { y: body.y + body.height.min(1), height: body.height.saturating_sub(1), ..body }
}

/// The place of the selected host among the rows.
pub(crate) fn fleet_at(app: &App) -> Option<usize> {
    let selected = app.fleet.selected?;
    app.fleet.rows.iter().position(|row| *row == FleetRow::Host(selected))
}

/// A panel on the page: where it would be if the screen were high enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Its place among the panels.
    pub(crate) panel: usize,
    pub(crate) x: u16,
    /// From the top of the page, not of the screen.
    pub(crate) y: u16,
    pub(crate) width: u16,
    pub(crate) height: u16,
}

/// The line that says which host it is, and the line of the panels' names.
pub(crate) const HOST_HEAD: u16 = 2;

/// The part of the host's page that panels are on.
pub(crate) fn host_body(app: &App) -> Rect {
    let body = screen(app).body;
    let head = HOST_HEAD.min(body.height);
    Rect { y: body.y + head, height: body.height - head, ..body }
}

/// How many lines of a panel are not rows: its frame, its chart, its heads.
pub(crate) fn panel_extra(panel: &Panel) -> u16 {
    let heads = u16::from(!panel.columns.is_empty() || matches!(panel.body, Body::Processes | Body::Updates));
    2 + heads + panel_graph(panel)
}

/// How many lines of a panel are a chart.
pub(crate) fn panel_graph(panel: &Panel) -> u16 {
    match panel.body {
        Body::Cpu => 4,
        Body::Network => 3,
        _ => 0,
    }
}

/// Where the panels are. They fill columns, each panel in the shortest so far.
pub(crate) fn host_panels(app: &App) -> Vec<Placed> {
    let body = host_body(app);
    let panels = &app.host.panels;
    if app.host.zoomed {
        let focused = panels.iter().position(|panel| panel.id == app.host.focus);
        let whole = focused.map(|panel| Placed { panel, x: body.x, y: 0, width: body.width, height: body.height });
        return whole.into_iter().collect();
    }
    let columns = (body.width / PANEL_WIDTH).clamp(1, 4);
    let column_width = body.width / columns;
    let mut heights = vec![0_u16; usize::from(columns)];
    let mut placed = Vec::new();
    for (i, panel) in panels.iter().enumerate() {
        let rows = rows::grid(app, panel, false).rows.len();
        // A filter that finds nothing does not make the page jump.
        let rows = u16::try_from(rows).unwrap_or(u16::MAX).clamp(1, panel.rows);
        let height = rows + panel_extra(panel);
        let shortest = (0..heights.len()).min_by_key(|column| heights[*column]).unwrap_or_default();
        let x = body.x + column_width * shortest as u16;
        // The last column takes what the division left.
        let wide =
            if shortest + 1 == heights.len() { body.width - column_width * shortest as u16 } else { column_width };
        placed.push(Placed { panel: i, x, y: heights[shortest], width: wide, height });
        heights[shortest] = heights[shortest].saturating_add(height);
    }
    placed
}

/// How many rows of a panel are on the screen at once.
pub(crate) fn panel_rows(app: &App, placed: &Placed) -> usize {
    app.host.panels.get(placed.panel).map_or(0, |panel| usize::from(placed.height.saturating_sub(panel_extra(panel))))
}

/// Where the names of the panels are, with their places.
pub(crate) fn panel_names(app: &App) -> Vec<(usize, Rect)> {
    let body = screen(app).body;
    if body.height < HOST_HEAD {
        return Vec::new();
    }
    let wide = |panel: &Panel| u16::try_from(width(&panel.title)).unwrap_or(u16::MAX).saturating_add(2);
    let focused = app.host.panels.iter().position(|panel| panel.id == app.host.focus).unwrap_or_default();
    // As many before the focused one as there is room for.
    let mut first = 0;
    let room = |first: usize| app.host.panels[first..=focused].iter().map(wide).map(u32::from).sum::<u32>();
    while first < focused && room(first) > u32::from(body.width.saturating_sub(4)) {
        first += 1;
    }
    let mut x = body.x;
    let mut names = Vec::new();
    for (i, panel) in app.host.panels.iter().enumerate().skip(first) {
        let wide = wide(panel);
        if x + wide > body.width {
            break;
        }
        names.push((i, Rect::new(x, body.y + 1, wide, 1)));
        x += wide;
    }
    names
}

/// The inside of the chart, where points are drawn.
pub(crate) fn chart_plot(app: &App) -> Rect {
    let body = screen(app).body;
    let margin = 9.min(body.width / 4);
    // Title and facts above, times below.
    let (above, below) = (2.min(body.height), u16::from(body.height > 4));
    Rect {
        x: body.x + margin,
        y: body.y + above,
        width: body.width.saturating_sub(margin + 1),
        height: body.height.saturating_sub(above + below),
    }
}

/// The lines of the events, without the detail of the selected one.
pub(crate) fn events_list(app: &App) -> Rect {
    let body = screen(app).body;
    Rect { y: body.y + body.height.min(1), height: body.height.saturating_sub(1), ..body }
}

/// Where what lies on top of the page is.
pub(crate) fn overlay(app: &App) -> Rect {
    let (columns, lines) = app.size;
    let (wide, high) = match &app.overlay {
        Some(Overlay::Help { .. }) => (100, lines),
        Some(Overlay::Sort { .. }) => (44, u16::try_from(COLUMNS.len()).unwrap_or(20) + 2),
        Some(Overlay::Settings(_)) => (76, u16::try_from(crate::settings::items().len()).unwrap_or(30) + 4),
        Some(Overlay::Search(_)) => (90, 24),
        Some(Overlay::Event { .. }) => (90, 20),
        None => (0, 0),
    };
    let (wide, high) = (wide.min(columns), high.min(lines));
    Rect::new((columns - wide) / 2, (lines - high) / 2, wide, high)
}

/// The inside of a frame.
pub(crate) fn inside(area: Rect) -> Rect {
    Rect {
        x: area.x + area.width.min(1),
        y: area.y + area.height.min(1),
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(2),
    }
}

/// The list within what lies on top.
pub(crate) fn overlay_list(app: &App) -> Rect {
    let inner = inside(overlay(app));
    match &app.overlay {
        // The line that is typed, and a line of space.
        Some(Overlay::Search(_)) => {
            Rect { y: inner.y + inner.height.min(2), height: inner.height.saturating_sub(2), ..inner }
        }
        // What the selected one does.
        Some(Overlay::Settings(_)) => Rect { height: inner.height.saturating_sub(2), ..inner },
        _ => inner,
    }
}

/// How many lines the page needs to show everything.
pub(crate) fn needed(app: &App) -> u16 {
    // The header and the line of keys.
    let rest = match app.view {
        View::Fleet => u16::try_from(app.fleet.rows.len()).unwrap_or(u16::MAX).saturating_add(1),
        View::Events => u16::try_from(app.events.rows.len()).unwrap_or(u16::MAX).saturating_add(1),
        View::Host => {
            let placed = host_panels(app);
            placed
                .iter()
                .map(|placed| placed.y.saturating_add(placed.height))
                .max()
                .unwrap_or(1)
                .saturating_add(HOST_HEAD)
        }
    };
    rest.saturating_add(2).min(2_000)
}
