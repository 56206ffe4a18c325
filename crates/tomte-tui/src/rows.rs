//! The rows of a panel: what is written in each cell, and in which tone. How
//! wide it gets and which colour a tone has is the renderer's.

use std::borrow::Cow;

use tomte_api::catalogue::Kind;
use tomte_api::resource::{Resource, Table};
use tomte_model::{Status, Unit, Value as Scalar};

use crate::app::App;
use crate::list::matches;
use crate::panels::{Body, Column, Panel, Show};
use crate::units;
use crate::world::{Detail, Key, of_kind};

/// How a cell is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tone {
    Plain,
    Dim,
    Status(Option<Status>),
    /// A bar filled so far, 0 to 1, and how what it shows stands.
    Meter(f64, Option<Status>),
    /// Little bars, 0 to 1 each.
    Heights(Vec<Option<f64>>),
}

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Cell {
    fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Plain)
    }

    fn dim(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Dim)
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
    /// The resource it is about, and the reading that matters most.
    pub(crate) about: Option<(Key, Option<String>)>,
    pub(crate) status: Option<Status>,
    pub(crate) stale: bool,
}

/// The head of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) title: String,
    /// In cells; 0: what is left.
    pub(crate) width: u16,
    /// Numbers end where their column ends.
    pub(crate) right: bool,
}

/// What a panel shows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid {
    pub(crate) heads: Vec<Head>,
    pub(crate) rows: Vec<Row>,
}

fn head(title: &str, width: u16, right: bool) -> Head {
    Head { title: title.to_owned(), width, right }
}

/// The unit of a reading.
pub(crate) fn unit(catalogue: &[Kind], kind: &str, field: &str) -> Unit {
    let known = catalogue.iter().find(|known| known.name == kind);
    let known = known.and_then(|known| known.fields.iter().find(|known| known.name == field));
    known.map_or(Unit::Number, |field| Unit::from_name(&field.unit))
}

/// Everything that a panel shows, filtered if it has the keyboard.
pub(crate) fn grid(app: &App, panel: &Panel, zoomed: bool) -> Grid {
    let empty = Grid { heads: Vec::new(), rows: Vec::new() };
    let Some(detail) = &app.shown().detail else { return empty };
    let mut grid = match panel.body {
        Body::Table | Body::Network if zoomed => with_lists(table(app, panel, detail, zoomed), detail),
        Body::Table | Body::Network => table(app, panel, detail, zoomed),
        Body::Problems => problems(app),
        Body::Cpu => cpu(app, detail, zoomed),
        Body::Memory => memory(detail),
        Body::Pools => pools(app, panel, detail, zoomed),
        Body::Updates => updates(app, detail),
        Body::Processes => processes(app, detail, zoomed),
        Body::Readings => readings(app, panel, detail),
        Body::System => system(app, detail),
    };
    for cell in grid.rows.iter_mut().flat_map(|row| &mut row.cells) {
        if let Cow::Owned(text) = app.told(&cell.text) {
            cell.text = text;
        }
    }
    if !app.host.filter.is_empty() && app.host.focus == panel.id {
        grid.rows.retain(|row| matches(&app.host.filter, row.cells.iter().map(|cell| cell.text.as_str())));
    }
    grid
}

fn about(resource: &Resource, field: Option<&str>) -> Option<(Key, Option<String>)> {
    Some(((resource.kind.clone(), resource.name.clone()), field.map(str::to_owned)))
}

fn row(resource: &Resource, field: Option<&str>, cells: Vec<Cell>) -> Row {
    Row { cells, about: about(resource, field), status: resource.status, stale: resource.stale }
}

/// A row a resource: what is wrong first, then by what it is called in the row,
/// as people count: disks by their device, whatever their key is.
fn table(app: &App, panel: &Panel, detail: &Detail, zoomed: bool) -> Grid {
    let number = |show: &Show| matches!(show, Show::Value(_) | Show::AnyValue(_) | Show::Part(..));
    // Where there is room, what is wrong is told whole.
    let wide = |show: &Show| zoomed && matches!(show, Show::Standing(_));
    let width = |column: &Column| if wide(&column.show) { 0 } else { column.width };
    let heads = panel.columns.iter().map(|column| head(&column.title, width(column), number(&column.show))).collect();
    let cells = |resource| panel.columns.iter().map(|column| cell(app, resource, &column.show)).collect::<Vec<_>>();
    let known = panel.kinds.iter().flat_map(|kind| of_kind(&detail.resources, kind));
    let mut resources: Vec<(&Resource, Vec<Cell>)> = known.map(|resource| (resource, cells(resource))).collect();
    let trouble = |resource: &Resource| resource.status.filter(|status| *status > Status::Ok);
    let called = |cells: &[Cell]| cells.first().map(|cell| cell.text.clone()).unwrap_or_default();
    resources.sort_by(|(a, its), (b, others)| {
        let by_name = || natural(&called(its), &called(others)).then_with(|| natural(&a.name, &b.name));
        trouble(b).cmp(&trouble(a)).then_with(by_name).then_with(|| a.name.cmp(&b.name))
    });
    let first = panel.columns.iter().find_map(|column| match &column.show {
        Show::Value(field) | Show::Meter(field) | Show::Part(field, _) => Some(field.to_string()),
        _ => None,
    });
    let rows = resources.into_iter().map(|(resource, cells)| row(resource, first.as_deref(), cells)).collect();
    Grid { heads, rows }
}

fn cell(app: &App, resource: &Resource, show: &Show) -> Cell {
    let written = |value: &Scalar| match value {
        Scalar::Text(text) => text.clone(),
        Scalar::Bool(true) => "yes".to_owned(),
        Scalar::Bool(false) => "no".to_owned(),
        Scalar::Number(number) => units::number(*number),
    };
    let value = |field: &str| resource.readings.get(field).copied().filter(|value| value.is_finite());
    let short = |field: &str| value(field).map(|v| units::short(&unit(&app.catalogue, &resource.kind, field), v));
    let nothing = || Cell::dim(app.glyphs.nothing);
    match show {
        Show::Label(attributes) => {
            let label = attributes.iter().find_map(|name| resource.attributes.get(*name)).map(written);
            Cell::plain(label.filter(|label| !label.is_empty()).unwrap_or_else(|| resource.name.clone()))
        }
        Show::Attribute(name) => resource.attributes.get(name.as_ref()).map_or_else(nothing, |v| Cell::dim(written(v))),
        Show::AnyValue(fields) => fields.iter().find_map(|field| short(field)).map_or_else(nothing, Cell::plain),
        Show::Value(field) => {
            let judged = resource.problems.iter().find(|problem| problem.field == field.as_ref());
            let tone = judged.map_or(Tone::Plain, |problem| Tone::Status(Some(problem.status)));
            short(field).map_or_else(nothing, |text| Cell::new(text, tone))
        }
        Show::Meter(field) => {
            let judged = resource.problems.iter().find(|problem| problem.field == field.as_ref());
            value(field).map_or_else(nothing, |v| {
                Cell::new(units::percent(v), Tone::Meter(v, judged.map(|problem| problem.status)))
            })
        }
        Show::Part(part, whole) => match (short(part), short(whole)) {
            (Some(part), Some(whole)) => Cell::plain(format!("{part}/{whole}")),
            (Some(part), None) => Cell::plain(part),
            (None, _) => nothing(),
        },
        Show::Standing(attribute) => {
            if resource.reason.is_empty() {
                let text = resource.attributes.get(*attribute).map(written).unwrap_or_default();
                Cell::new(text, if resource.status.is_some() { Tone::Status(resource.status) } else { Tone::Dim })
            } else {
                Cell::new(without_name(resource), Tone::Status(resource.status))
            }
        }
    }
}

/// Why it stands as it does. Its name, with which many a reason begins, stands
/// in the row already, and would take the room of the rest.
fn without_name(resource: &Resource) -> String {
    let Resource { reason, kind, name, .. } = resource;
    let named = reason.strip_prefix("the ").and_then(|rest| rest.strip_prefix(kind.as_str())?.strip_prefix(' '));
    let rest = named.unwrap_or(reason).strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix(' '));
    rest.unwrap_or(reason).to_owned()
}

/// Below each resource, what its lists say: a guest's interfaces, the tasks of
/// a node that failed. Only where a panel has the screen to itself.
fn with_lists(grid: Grid, detail: &Detail) -> Grid {
    let mut rows = Vec::new();
    for row in grid.rows {
        let about = row.about.clone();
        rows.push(row);
        let Some(resource) = about.as_ref().and_then(|(key, _)| detail.resources.get(key)) else { continue };
        for table in resource.tables.values() {
            rows.extend(table.rows.iter().map(|cells| {
                let told =
                    table.columns.iter().zip(cells).filter_map(|(column, cell)| in_words(column, cell.as_ref()?));
                let text = format!("    {}", told.collect::<Vec<_>>().join("  "));
                Row { cells: vec![Cell::dim(text)], about: about.clone(), status: None, stale: resource.stale }
            }));
        }
    }
    Grid { heads: grid.heads, rows }
}

/// A cell of a list; its column's name tells its unit, as a field's does.
fn in_words(column: &str, cell: &Scalar) -> Option<String> {
    let unit =
        [("_bytes", Unit::Bytes), ("_ratio", Unit::Ratio), ("_celsius", Unit::Celsius), ("_seconds", Unit::Seconds)];
    match cell {
        Scalar::Text(text) => (!text.is_empty()).then(|| text.clone()),
        Scalar::Bool(true) => Some(column.replace('_', " ")),
        Scalar::Bool(false) => None,
        Scalar::Number(number) => {
            let unit = unit.iter().find(|(suffix, _)| column.ends_with(suffix));
            Some(unit.map_or_else(|| units::number(*number), |(_, unit)| units::short(unit, *number)))
        }
    }
}

/// Each reading by itself, named as it is.
fn readings(app: &App, panel: &Panel, detail: &Detail) -> Grid {
    let numbers = panel.columns.len().saturating_sub(1);
    let heads = panel.columns.iter().enumerate();
    let heads = heads.map(|(place, column)| head(&column.title, column.width, place == numbers)).collect();
    let resources = panel.kinds.iter().flat_map(|kind| of_kind(&detail.resources, kind));
    let rows = resources.flat_map(|resource| {
        resource.readings.iter().map(|(field, value)| {
            let unit = unit(&app.catalogue, &resource.kind, field);
            let judged = resource.problems.iter().find(|problem| problem.field == *field);
            let tone = judged.map_or(Tone::Plain, |problem| Tone::Status(Some(problem.status)));
            let cells = vec![
                Cell::plain(resource.name.clone()),
                Cell::dim(field.clone()),
                Cell::new(units::short(&unit, *value), tone),
            ];
            Row { status: judged.map(|problem| problem.status), ..row(resource, Some(field), cells) }
        })
    });
    Grid { heads, rows: rows.collect() }
}

/// In the past, where a list would be: lists are of the present only.
fn not_kept(app: &App, resource: &Resource, list: &str) -> Option<Row> {
    app.travel.as_ref().filter(|_| app.frozen.is_some() && !resource.tables.contains_key(list))?;
    let cells = vec![Cell::dim("  this list is not kept: it is told of the present only")];
    Some(Row { cells, about: about(resource, None), status: None, stale: resource.stale })
}

/// Names in the order that people expect: `eth2` before `eth10`.
pub(crate) fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (da, db) = (digits(a), digits(b));
        if da > 0 && db > 0 {
            let (na, nb) = (a[..da].trim_start_matches('0'), b[..db].trim_start_matches('0'));
            let order = na.len().cmp(&nb.len()).then_with(|| na.cmp(nb));
            if order.is_ne() {
                return order;
            }
            (a, b) = (&a[da..], &b[db..]);
            continue;
        }
        let (mut ca, mut cb) = (a.chars(), b.chars());
        match (ca.next(), cb.next()) {
            (Some(x), Some(y)) if x == y => (a, b) = (ca.as_str(), cb.as_str()),
            (x, y) => return x.cmp(&y),
        }
    }
}

fn problems(app: &App) -> Grid {
    let heads = vec![head("", 8, false), head("", 0, false), head("", 6, true)];
    let Some(known) = app.current() else { return Grid { heads, rows: Vec::new() } };
    let now = app.moment();
    let rows = known
        .host
        .problems
        .iter()
        .map(|problem| {
            let (thing, field) = problem.field.rsplit_once('/').unwrap_or((&problem.field, ""));
            let key = thing.split_once(':').map(|(kind, name)| (kind.to_owned(), name.to_owned()));
            Row {
                cells: vec![
                    Cell::new(problem.status.as_str(), Tone::Status(Some(problem.status))),
                    Cell::plain(problem.reason.clone()),
                    Cell::dim(units::age(problem.since, now)),
                ],
                about: key.map(|key| (key, Some(field.to_owned()))),
                status: Some(problem.status),
                stale: false,
            }
        })
        .collect();
    Grid { heads, rows }
}

fn ratio(resource: &Resource, field: &str) -> Option<f64> {
    resource.readings.get(field).copied().filter(|value| value.is_finite())
}

fn meter(resource: &Resource, field: &str) -> Cell {
    let judged = resource.problems.iter().find(|problem| problem.field == field).map(|problem| problem.status);
    ratio(resource, field)
        .map_or_else(|| Cell::dim(""), |value| Cell::new(units::percent(value), Tone::Meter(value, judged)))
}

fn cpu(app: &App, detail: &Detail, zoomed: bool) -> Grid {
    let heads = vec![head("", 6, false), head("", 0, false), head("", 28, false)];
    let mut rows = Vec::new();
    let hertz = |resource: &Resource| {
        ratio(resource, "frequency_hertz").map(|value| units::long(&Unit::Hertz, value, app.glyphs.ascii))
    };
    for cpu in of_kind(&detail.resources, "cpu") {
        let parts = [("usr", "user_ratio"), ("sys", "system_ratio"), ("io", "iowait_ratio"), ("st", "steal_ratio")];
        let told = parts.iter().filter_map(|(name, field)| {
            let value = ratio(cpu, field).filter(|value| *name != "st" || *value > 0.0)?;
            Some(format!("{name} {}", units::percent(value)))
        });
        let told: Vec<String> = told.collect();
        rows.push(row(
            cpu,
            Some("usage_ratio"),
            vec![Cell::plain("all"), meter(cpu, "usage_ratio"), Cell::dim(told.join(" "))],
        ));
    }
    let mut cores: Vec<&Resource> = of_kind(&detail.resources, "core").collect();
    cores.sort_by(|a, b| natural(&a.name, &b.name));
    if !zoomed && !cores.is_empty() {
        let heights = cores.iter().map(|core| ratio(core, "usage_ratio")).collect();
        let speed = of_kind(&detail.resources, "cpu").find_map(hertz);
        let count = format!("{} cores {}", cores.len(), speed.unwrap_or_default());
        let cells = vec![Cell::plain("cores"), Cell::new("", Tone::Heights(heights)), Cell::dim(count)];
        rows.push(Row { cells, about: about(cores[0], Some("usage_ratio")), status: None, stale: cores[0].stale });
    }
    for load in of_kind(&detail.resources, "load") {
        let means: Vec<String> = ["load1", "load5", "load15"]
            .iter()
            .filter_map(|field| ratio(load, field).map(|value| format!("{value:.2}")))
            .collect();
        let tone = Tone::Status(load.status.filter(|status| *status > Status::Ok));
        let text = if load.reason.is_empty() { "over 1, 5, 15 min".to_owned() } else { load.reason.clone() };
        let tone = if load.reason.is_empty() { Tone::Dim } else { tone };
        rows.push(row(
            load,
            Some("load1"),
            vec![Cell::plain("load"), Cell::plain(means.join("  ")), Cell::new(text, tone)],
        ));
    }
    if zoomed {
        rows.extend(cores.into_iter().map(|core| {
            let cells = vec![
                Cell::plain(core.name.clone()),
                meter(core, "usage_ratio"),
                Cell::dim(hertz(core).unwrap_or_default()),
            ];
            row(core, Some("usage_ratio"), cells)
        }));
    }
    Grid { heads, rows }
}

fn memory(detail: &Detail) -> Grid {
    let heads = vec![head("", 10, false), head("", 0, false), head("", 18, false)];
    let bytes = |resource: &Resource, field: &str| ratio(resource, field).map(|v| units::short(&Unit::Bytes, v));
    let part = |resource: &Resource, used: &str, whole: &str| match (bytes(resource, used), bytes(resource, whole)) {
        (Some(used), Some(whole)) => format!("{used}/{whole}"),
        (used, _) => used.unwrap_or_default(),
    };
    let mut rows = Vec::new();
    for memory in of_kind(&detail.resources, "memory") {
        let cells = vec![
            Cell::plain("memory"),
            meter(memory, "used_ratio"),
            Cell::dim(part(memory, "used_bytes", "total_bytes")),
        ];
        rows.push(row(memory, Some("used_ratio"), cells));
        if ratio(memory, "swap_total_bytes").is_some_and(|total| total > 0.0) {
            let used = ratio(memory, "swap_used_ratio")
                .or_else(|| Some(ratio(memory, "swap_used_bytes")? / ratio(memory, "swap_total_bytes")?));
            let judged = memory.problems.iter().find(|problem| problem.field == "swap_used_ratio");
            let bar = used.map_or_else(
                || Cell::dim(""),
                |used| Cell::new(units::percent(used), Tone::Meter(used, judged.map(|problem| problem.status))),
            );
            let told = Cell::dim(part(memory, "swap_used_bytes", "swap_total_bytes"));
            let mut swap = row(memory, Some("swap_used_ratio"), vec![Cell::plain("swap"), bar, told]);
            swap.status = judged.map(|problem| problem.status);
            rows.push(swap);
        }
        let held = [("cache", "cached_bytes"), ("ARC", "zfs_arc_bytes"), ("dirty", "dirty_bytes")];
        let held: Vec<String> =
            held.iter().filter_map(|(name, field)| Some(format!("{name} {}", bytes(memory, field)?))).collect();
        if !held.is_empty() {
            let cells = vec![Cell::plain("holds"), Cell::plain(held.join("  ")), Cell::dim("")];
            let mut holds = row(memory, Some("cached_bytes"), cells);
            holds.status = None;
            rows.push(holds);
        }
    }
    for zram in of_kind(&detail.resources, "zram") {
        let times = ratio(zram, "compression_ratio").map(|times| format!(" 1:{times:.1}")).unwrap_or_default();
        let told = format!("{}{times}", part(zram, "original_bytes", "size_bytes"));
        let cells = vec![Cell::plain(zram.name.clone()), meter(zram, "used_ratio"), Cell::dim(told)];
        rows.push(row(zram, Some("used_ratio"), cells));
    }
    for tmpfs in of_kind(&detail.resources, "tmpfs") {
        let told = part(tmpfs, "used_bytes", "size_bytes");
        let cells = vec![Cell::plain(tmpfs.name.clone()), meter(tmpfs, "used_ratio"), Cell::dim(told)];
        rows.push(row(tmpfs, Some("used_ratio"), cells));
    }
    for pressure in of_kind(&detail.resources, "pressure").filter(|pressure| pressure.name == "memory") {
        if let Some(some) = ratio(pressure, "some_avg60_ratio") {
            let cells = vec![
                Cell::plain("pressure"),
                Cell::new(units::percent(some), Tone::Meter(some, pressure.status.filter(|s| *s > Status::Ok))),
                Cell::dim("waited, last min"),
            ];
            rows.push(row(pressure, Some("some_avg60_ratio"), cells));
        }
    }
    Grid { heads, rows }
}

/// Pools, and below each what it is made of.
fn pools(app: &App, panel: &Panel, detail: &Detail, zoomed: bool) -> Grid {
    let whole = table(app, panel, detail, zoomed);
    let mut rows = Vec::new();
    for pool_row in whole.rows {
        let key = pool_row.about.as_ref().map(|(key, _)| key.clone());
        rows.push(pool_row);
        let pool = key.as_ref().and_then(|key| detail.resources.get(key));
        rows.extend(pool.and_then(|pool| not_kept(app, pool, "vdevs")));
        let Some((pool, vdevs)) = pool.and_then(|pool| Some((pool, pool.tables.get("vdevs")?))) else { continue };
        for cells in &vdevs.rows {
            let words = |name: &str| words(vdevs, cells, name);
            let depth = number(vdevs, cells, "depth").unwrap_or(0.0).clamp(0.0, 8.0) as usize;
            let state = words("state");
            let well = matches!(state.as_str(), "ONLINE" | "AVAIL" | "INUSE");
            let errors: f64 = ["read_errors", "write_errors", "checksum_errors"]
                .iter()
                .filter_map(|name| number(vdevs, cells, name))
                .sum();
            let role = words("role");
            let told = match (errors > 0.0, words("note")) {
                (true, note) => format!("{} errors {note}", units::number(errors)),
                (false, note) => note,
            };
            let bad = |bad: bool, tone| if bad { Tone::Status(Some(Status::Warning)) } else { tone };
            let name = format!("{}{}", "  ".repeat(depth + 1), words("name"));
            rows.push(Row {
                cells: vec![
                    Cell::new(name, bad(!well || errors > 0.0, Tone::Plain)),
                    Cell::new(state, bad(!well, Tone::Dim)),
                    Cell::new(told.trim_end().to_owned(), bad(errors > 0.0, Tone::Dim)),
                    Cell::dim(if role == "data" { String::new() } else { role }),
                    Cell::dim(""),
                ],
                about: about(pool, Some("used_ratio")),
                status: None,
                stale: pool.stale,
            });
        }
        let scan = pool.attributes.get("scan_state").is_some_and(|state| state.to_string() == "running");
        if scan {
            let what = pool.attributes.get("scan").map(ToString::to_string).unwrap_or_default();
            let done = ratio(pool, "scan_progress_ratio");
            let left = ratio(pool, "scan_remaining_seconds").map(|left| format!("{} left", units::span(left)));
            rows.push(Row {
                cells: vec![
                    Cell::plain(format!("  {what}")),
                    Cell::dim("running"),
                    done.map_or_else(|| Cell::dim(""), |done| Cell::new(units::percent(done), Tone::Meter(done, None))),
                    Cell::dim(left.unwrap_or_default()),
                    Cell::dim(""),
                ],
                about: about(pool, Some("scan_progress_ratio")),
                status: None,
                stale: pool.stale,
            });
        }
    }
    Grid { heads: whole.heads, rows }
}

/// How many updates wait and whether a restart is due, then the packages, those
/// for security first.
fn updates(app: &App, detail: &Detail) -> Grid {
    let heads = vec![head("PACKAGE", 0, false), head("INSTALLED", 16, false), head("OFFERED", 16, false)];
    let mut rows = Vec::new();
    for updates in of_kind(&detail.resources, "updates") {
        let count = |field: &str| ratio(updates, field).unwrap_or(0.0);
        let manager = updates.attributes.get("manager").map(ToString::to_string).unwrap_or_default();
        let security =
            if count("security") > 0.0 { format!(", {:.0} for security", count("security")) } else { String::new() };
        let lists = ratio(updates, "lists_age_seconds").map(|age| format!("lists {} old", units::span(age)));
        let tone = updates.status.filter(|status| *status > Status::Ok).map_or(Tone::Plain, |s| Tone::Status(Some(s)));
        let waiting = format!("{:.0} wait{security}", count("pending"));
        rows.push(row(
            updates,
            Some("pending"),
            vec![Cell::new(waiting, tone), Cell::dim(manager), Cell::dim(lists.unwrap_or_default())],
        ));
        if count("restart_required") > 0.0 {
            let reason = updates.attributes.get("restart_reason").map(ToString::to_string).unwrap_or_default();
            let cells = vec![
                Cell::new("a restart is due", Tone::Status(Some(Status::Warning))),
                Cell::dim(reason),
                Cell::dim(""),
            ];
            rows.push(Row {
                cells,
                about: about(updates, Some("restart_required")),
                status: None,
                stale: updates.stale,
            });
        }
        rows.extend(not_kept(app, updates, "packages").filter(|_| count("pending") > 0.0));
        let Some(packages) = updates.tables.get("packages") else { continue };
        for cells in &packages.rows {
            let security = matches!(column(packages, cells, "security"), Some(Scalar::Bool(true)));
            let tone = if security { Tone::Status(Some(Status::Warning)) } else { Tone::Plain };
            rows.push(Row {
                cells: vec![
                    Cell::new(words(packages, cells, "name"), tone),
                    Cell::dim(words(packages, cells, "installed")),
                    Cell::plain(words(packages, cells, "offered")),
                ],
                about: about(updates, Some("pending")),
                status: None,
                stale: updates.stale,
            });
        }
    }
    Grid { heads, rows }
}

/// The busiest processes: by processor time; zoomed, those by memory below.
fn processes(app: &App, detail: &Detail, zoomed: bool) -> Grid {
    let heads = vec![
        head("PID", 7, true),
        head("PROCESS", 0, false),
        head("USER", 9, false),
        head("CPU", 5, true),
        head("MEM", 5, true),
    ];
    let mut rows = Vec::new();
    for process in of_kind(&detail.resources, "process") {
        rows.extend(not_kept(app, process, "top_by_cpu"));
        let lists: &[&str] = if zoomed { &["top_by_cpu", "top_by_memory"] } else { &["top_by_cpu"] };
        for list in lists {
            let Some(table) = process.tables.get(*list) else { continue };
            if *list == "top_by_memory" && !rows.is_empty() {
                let blank = || Cell::dim("");
                let title = Cell::dim("by memory");
                let cells = vec![blank(), title, blank(), blank(), blank()];
                rows.push(Row { cells, about: None, status: None, stale: false });
            }
            rows.extend(table.rows.iter().map(|cells| {
                let number = |name: &str| number(table, cells, name);
                let words = |name: &str| words(table, cells, name);
                let cells = vec![
                    Cell::dim(number("pid").map(|pid| format!("{pid:.0}")).unwrap_or_default()),
                    Cell::plain(words("name")),
                    Cell::dim(words("user")),
                    Cell::plain(number("cpu_ratio").map(units::percent).unwrap_or_default()),
                    Cell::plain(number("resident_bytes").map(|v| units::short(&Unit::Bytes, v)).unwrap_or_default()),
                ];
                let about = about(process, Some("processes"));
                Row { cells, about, status: None, stale: process.stale }
            }));
        }
    }
    Grid { heads, rows }
}

fn number(table: &Table, row: &[Option<Scalar>], name: &str) -> Option<f64> {
    match column(table, row, name) {
        Some(Scalar::Number(number)) => Some(*number).filter(|number| number.is_finite()),
        _ => None,
    }
}

fn words(table: &Table, row: &[Option<Scalar>], name: &str) -> String {
    match column(table, row, name) {
        Some(Scalar::Text(text)) => text.clone(),
        _ => String::new(),
    }
}

fn column<'a>(table: &Table, row: &'a [Option<Scalar>], name: &str) -> Option<&'a Scalar> {
    let place = table.columns.iter().position(|column| column == name)?;
    row.get(place)?.as_ref()
}

fn system(app: &App, detail: &Detail) -> Grid {
    let heads = vec![head("", 10, false), head("", 0, false)];
    let mut rows = Vec::new();
    let mut tell = |name: &str, text: String, resource: Option<(&Resource, &str)>| {
        if text.is_empty() {
            return;
        }
        rows.push(Row {
            cells: vec![Cell::dim(name), Cell::plain(text)],
            about: resource.and_then(|(resource, field)| about(resource, Some(field))),
            status: None,
            stale: resource.is_some_and(|(resource, _)| resource.stale),
        });
    };
    let text = |resource: &Resource, name: &str| match resource.attributes.get(name) {
        Some(Scalar::Text(text)) => text.clone(),
        Some(Scalar::Bool(true)) => "yes".to_owned(),
        _ => String::new(),
    };
    let ascii = app.glyphs.ascii;
    for host in of_kind(&detail.resources, "host") {
        if let Some(up) = ratio(host, "uptime_seconds") {
            tell("up", units::long(&Unit::Seconds, up, ascii), Some((host, "uptime_seconds")));
        }
        if let Some(users) = ratio(host, "users_logged_in") {
            let names: Vec<String> = host.tables.get("users").map_or_else(Vec::new, |table| {
                let name = |row: &Vec<Option<Scalar>>| match column(table, row, "user") {
                    Some(Scalar::Text(user)) => Some(user.clone()),
                    _ => None,
                };
                let names: std::collections::BTreeSet<String> = table.rows.iter().filter_map(name).collect();
                names.into_iter().collect()
            });
            let told = format!("{users:.0} logged in {}", names.join(" "));
            tell("users", told.trim_end().to_owned(), Some((host, "users_logged_in")));
        }
    }
    for os in of_kind(&detail.resources, "os") {
        tell("system", text(os, "name"), None);
        tell("kernel", format!("{} {}", text(os, "kernel"), text(os, "architecture")).trim().to_owned(), None);
        tell("machine", format!("{} {}", text(os, "vendor"), text(os, "product")).trim().to_owned(), None);
        let runs_on = text(os, "virtualisation");
        tell("runs on", if runs_on == "none" { String::new() } else { runs_on }, None);
        let reboot = text(os, "reboot_required");
        tell("reboot", if reboot == "yes" { "an upgrade waits for it".to_owned() } else { String::new() }, None);
    }
    for cpu in of_kind(&detail.resources, "cpu") {
        tell("processor", text(cpu, "model"), None);
    }
    for systemd in of_kind(&detail.resources, "systemd") {
        let units = ratio(systemd, "units").map(|units| format!("{units:.0} units")).unwrap_or_default();
        let failed = ratio(systemd, "failed_units").filter(|failed| *failed > 0.0);
        let failed = failed.map(|failed| format!(", {failed:.0} failed")).unwrap_or_default();
        let told = format!("{} {units}{failed}", text(systemd, "state"));
        tell("systemd", told.trim().to_owned(), Some((systemd, "failed_units")));
    }
    if let Some(known) = app.current() {
        tell("roles", known.host.roles.join(", "), None);
        tell("also", known.host.aliases.join(", "), None);
        if let Some(skew) = known.host.skew_seconds.filter(|skew| skew.abs() >= 1.0) {
            tell("clock", format!("{} off", units::long(&Unit::Seconds, skew, ascii)), None);
        } else if known.host.clock_synchronised == Some(false) {
            tell("clock", "not synchronised".to_owned(), None);
        }
    }
    for agent in of_kind(&detail.resources, "agent") {
        let memory = ratio(agent, "resident_bytes").map(|v| units::long(&Unit::Bytes, v, ascii)).unwrap_or_default();
        let waiting = ratio(agent, "outbox_reports").filter(|waiting| *waiting > 0.0);
        let waiting = waiting.map(|waiting| format!(", {waiting:.0} reports wait")).unwrap_or_default();
        let told = format!("{} {memory}{waiting}", text(agent, "version"));
        tell("agent", told.trim().to_owned(), Some((agent, "resident_bytes")));
    }
    Grid { heads, rows }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    #[test]
    fn names_are_ordered_as_people_count() {
        let mut names = ["eth10", "eth2", "eth02", "eth", "a", "core 9", "core 11"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a", "core 9", "core 11", "eth", "eth2", "eth02", "eth10"]);
        assert_eq!(natural("", ""), Ordering::Equal);
        assert_eq!(natural("倉1", "倉2"), Ordering::Less);
    }
}
