//! What the hub tells: the live stream, and answers to questions.

use tomte_api::event::Event as Happening;
use tomte_api::history::HistoryQuery;
use tomte_api::live::{Body, Delta, Message, Snapshot};
use tomte_api::page::Page;

use crate::app::{App, EVENTS_KEPT, Link, Overlay, Target, View};
use crate::columns::{COLUMNS, Source};
use crate::effect::{Answer, Effect, Question};
use crate::series::Points;
use crate::update::{actions, travel};
use crate::world::DRAWN;

/// How far back the fleet's little charts go.
const USAGE: &str = "-12m";

/// The stream is open: everything is asked for anew.
pub(super) fn connected(app: &mut App) {
    app.link = Link::Up;
    app.subscribed.clear();
    app.touch();
    // Asked once the hosts are there: what adds to the picture would only hold
    // up the picture.
    app.behind = true;
    // What was under way when the connection was lost was never answered.
    if app.host.chart.is_some() && app.surroundings.target == Target::Hub {
        actions::ask_chart(app);
    }
    if app.travel.as_ref().is_some_and(|travel| travel.waiting.is_some()) {
        travel::again(app);
    }
}

/// The stream is gone, and no question under way will be answered.
pub(super) fn lost(app: &mut App, why: String) {
    // The first of several tries tells since when.
    let since = match &app.link {
        Link::Down(since, _) => *since,
        Link::Connecting(_) | Link::Up => app.now,
    };
    if let Some(Overlay::Search(search)) = &mut app.overlay
        && search.waiting.take().is_some()
    {
        search.opening = false;
        search.trouble = Some(why.clone());
    }
    app.link = Link::Down(since, why);
    app.subscribed.clear();
    app.touch();
}

/// Asks how busy the processors of the fleet were.
pub(super) fn ask_usage(app: &mut App) {
    let graph = app.columns.iter().any(|place| COLUMNS[*place].source == Source::Graph);
    if app.surroundings.target == Target::Hub && graph && app.view == View::Fleet {
        app.ask(Question::History(Box::new(HistoryQuery {
            kind: vec!["cpu".to_owned()],
            field: vec!["usage_ratio".to_owned()],
            from: Some(USAGE.to_owned()),
            step: Some("30s".to_owned()),
            function: Some("mean".to_owned()),
            ..HistoryQuery::default()
        })));
    }
}

/// Asks for the newest events.
pub(super) fn ask_events(app: &mut App) {
    let number = app.ask(Question::Events(None));
    app.events.waiting = Some((number, false));
}

/// Asks how the readings were that panels of the host draw.
pub(super) fn ask_lines(app: &mut App) {
    let Some(id) = app.host.id.filter(|_| app.surroundings.target == Target::Hub) else { return };
    let kinds: std::collections::BTreeSet<&str> = DRAWN.iter().map(|(kind, _)| *kind).collect();
    let fields: std::collections::BTreeSet<&str> = DRAWN.iter().map(|(_, field)| *field).collect();
    app.ask(Question::History(Box::new(HistoryQuery {
        host: vec![id.to_string()],
        kind: kinds.into_iter().map(str::to_owned).collect(),
        field: fields.into_iter().map(str::to_owned).collect(),
        from: Some("-6m".to_owned()),
        ..HistoryQuery::default()
    })));
}

/// A message of the live stream. One that belongs to a subscription which is
/// no longer the newest of its name is late, and counts for nothing.
pub(super) fn message(app: &mut App, message: Message) {
    let slot = app.subscribed.iter().find(|(slot, (number, _))| message.id == format!("{slot}-{number}"));
    let slot = slot.map(|(slot, (_, request))| (*slot, request.resources));
    app.heard = Some(app.now);
    match (slot, message.body) {
        (Some((slot, resources)), Body::Snapshot(snapshot)) => {
            set_clock(app, &snapshot);
            take_snapshot(app, slot, resources, snapshot);
        }
        (Some((slot, _)), Body::Delta(delta)) => take_delta(app, slot, delta),
        (Some(_), Body::Event(told)) => happened(app, told.event),
        (_, Body::Error(refusal)) => {
            let problem = refusal.problem;
            if problem.kind.ends_with("events-missed") {
                ask_events(app);
            } else {
                let detail = problem.detail.unwrap_or_else(|| problem.title.clone());
                app.notify(detail);
            }
        }
        (None, _) => {}
    }
    if app.frozen.is_none() {
        app.touch();
    }
}

/// Ages count on the hub's clock, whatever ours says.
fn set_clock(app: &mut App, snapshot: &Snapshot) {
    let local = app.now.millis().saturating_sub(app.ahead);
    app.ahead = snapshot.at.millis().saturating_sub(local);
    app.now = snapshot.at;
    app.heard = Some(app.now);
}

fn take_snapshot(app: &mut App, slot: &'static str, resources: bool, snapshot: Snapshot) {
    match slot {
        "host" => {
            if let Some(detail) = &mut app.world.detail {
                detail.replace(snapshot.resources);
            }
        }
        _ => {
            app.world.snapshot(snapshot, resources, &app.glyphs);
            // What happened last is known already, of those that came late.
            let newest: Vec<Happening> = app.events.all.iter().rev().cloned().collect();
            newest.iter().for_each(|event| app.world.event(event, &app.glyphs));
            if std::mem::take(&mut app.behind) {
                app.ask(Question::Catalogue);
                ask_events(app);
                ask_usage(app);
            }
        }
    }
}

fn take_delta(app: &mut App, slot: &'static str, delta: Delta) {
    match slot {
        "host" => {
            let touched: Vec<_> = delta
                .resources
                .iter()
                .map(|change| (change.resource.kind.clone(), change.resource.name.clone()))
                .collect();
            let Some(detail) = &mut app.world.detail else { return };
            let name = app.world.hosts.get(&detail.id).map(|known| known.host.name.clone()).unwrap_or_default();
            detail.apply(delta, &name);
            if let Some(chart) = &mut app.host.chart
                && chart.end.is_none()
                && touched.contains(&chart.key)
                && let Some(resource) = detail.resources.get(&chart.key)
            {
                chart.told(resource);
            }
        }
        _ => {
            let critical = app.world.delta(delta, &app.glyphs);
            if !critical.is_empty() && app.config.bell {
                app.effects.push(Effect::Bell);
            }
        }
    }
}

/// Something happened. The same event may be told twice.
fn happened(app: &mut App, event: Happening) {
    if app.events.all.iter().take(200).any(|known| known.id == event.id) {
        return;
    }
    app.world.event(&event, &app.glyphs);
    let place = app.events.all.iter().take_while(|known| known.at > event.at).count();
    app.events.all.insert(place, event);
    app.events.all.truncate(EVENTS_KEPT);
    // Who reads further down is not pushed about.
    if app.events.cursor.at > 0 {
        app.events.cursor.at += 1;
        app.events.cursor.offset += 1;
    }
}

/// An answer to a question, or why there is none.
pub(super) fn answer(app: &mut App, number: u64, answer: Result<Box<Answer>, String>) {
    app.touch();
    match answer.map(|answer| *answer) {
        Ok(Answer::Catalogue(kinds)) => {
            if !kinds.is_empty() {
                app.catalogue = kinds;
            }
        }
        Ok(Answer::Events(page)) => take_events(app, number, page),
        Ok(Answer::History(history)) => {
            match &mut app.host.chart {
                Some(chart) if chart.waiting == Some(number) => {
                    chart.waiting = None;
                    if let Some(series) = history.series.first() {
                        chart.points.precede(Points::of(series, history.t.as_deref(), history.step_ms));
                    }
                    return;
                }
                _ => {}
            }
            app.world.recall_usage(&history);
            if let Some(detail) = &mut app.world.detail {
                detail.recall(&history);
            }
        }
        Ok(Answer::Moment { hosts, resources, history }) => travel::told(app, number, hosts, resources, &history),
        Ok(Answer::Found(resources)) => {
            if let Some(Overlay::Search(search)) = &mut app.overlay
                && search.waiting == Some(number)
            {
                search.found(resources);
                if std::mem::take(&mut search.opening) && !search.hits.is_empty() {
                    actions::open(app);
                }
            }
        }
        Err(why) => refused(app, number, why),
    }
}

fn refused(app: &mut App, number: u64, why: String) {
    if let Some(travel) = app.travel.as_mut().filter(|travel| travel.waiting == Some(number)) {
        (travel.waiting, travel.playing) = (None, false);
    }
    if app.events.waiting.is_some_and(|(waiting, _)| waiting == number) {
        app.events.waiting = None;
    }
    if let Some(chart) = &mut app.host.chart
        && chart.waiting == Some(number)
    {
        chart.waiting = None;
        chart.trouble = Some(why);
        return;
    }
    if let Some(Overlay::Search(search)) = &mut app.overlay
        && search.waiting == Some(number)
    {
        (search.waiting, search.opening) = (None, false);
        search.trouble = Some(why);
        return;
    }
    app.notify(why);
}

fn take_events(app: &mut App, number: u64, page: Page<Happening>) {
    let Some((waiting, older)) = app.events.waiting else { return };
    if waiting != number {
        return;
    }
    app.events.waiting = None;
    for event in page.items.iter().rev() {
        app.world.event(event, &app.glyphs);
    }
    if older {
        let room = EVENTS_KEPT.saturating_sub(app.events.all.len());
        app.events.all.extend(page.items.into_iter().take(room));
    } else {
        app.events.all = page.items;
        app.events.all.truncate(EVENTS_KEPT);
    }
    // What reached the hub late stands where it happened.
    app.events.all.sort_by_key(|event| std::cmp::Reverse(event.at));
    app.events.older = page.next.filter(|_| app.events.all.len() < EVENTS_KEPT);
}
