//! Time travel: the whole screen as it was at a past moment, stepped through,
//! jumped in and played, until it is the present again.

use std::collections::BTreeMap;
use std::time::Duration;

use tomte_api::history::{History, HistoryQuery};
use tomte_api::host::Host;
use tomte_api::live::Snapshot;
use tomte_api::resource::Resource;
use tomte_model::Timestamp;

use crate::app::{App, Frozen, Target, Travel, View};
use crate::columns::needs;
use crate::effect::Question;
use crate::list::{Input, Typed};
use crate::series::Points;
use crate::world::{DRAWN, Detail, World};

/// How far a step goes.
pub(super) const STEP: Duration = Duration::from_secs(60);
/// How far a leap goes.
pub(super) const LEAP: Duration = Duration::from_secs(3_600);
/// How much of what was before a moment is asked for with it, in seconds.
const BEFORE: u64 = 720;

/// Shows another moment: the present, when it is not past.
pub(super) fn to(app: &mut App, at: Timestamp) {
    if app.surroundings.target == Target::Agent {
        return app.notify("an agent keeps no history to go back in");
    }
    if at >= app.now {
        return present(app);
    }
    let playing = app.travel.as_ref().is_some_and(|travel| travel.playing);
    let number = ask(app, at);
    app.travel = Some(Travel { at, waiting: Some(number), playing, moved: app.now });
    app.touch();
}

/// Steps from the moment on screen.
pub(super) fn step(app: &mut App, back: bool, by: Duration) {
    let at = app.travel.as_ref().map_or(app.now, |travel| travel.at);
    match (back, &app.travel) {
        (true, _) => to(app, at.minus(by)),
        (false, Some(_)) => to(app, at.plus(by)),
        // Nothing lies ahead of the present.
        (false, None) => {}
    }
}

/// The same moment for another page or host.
pub(super) fn again(app: &mut App) {
    if let Some(at) = app.travel.as_ref().map(|travel| travel.at) {
        to(app, at);
    }
}

/// Back to the present.
pub(super) fn present(app: &mut App) {
    if app.travel.take().is_some() {
        app.frozen = None;
    }
    app.touch();
}

/// While it plays, a step each second.
pub(super) fn tick(app: &mut App) {
    let due = app.travel.as_ref().is_some_and(|travel| {
        travel.playing && travel.waiting.is_none() && app.now.since(travel.moved) >= Duration::from_secs(1)
    });
    if due {
        step(app, false, STEP);
    }
}

/// A key for the line on which a moment is typed.
pub(super) fn typed(app: &mut App, mut input: Input, key: crossterm::event::KeyEvent) {
    match input.key(key) {
        Typed::Changed | Typed::Other => app.jumping = Some(input),
        Typed::Given => {}
        Typed::Done => match moment(&input.text, app.now, &app.surroundings.zone) {
            Ok(at) => to(app, at),
            Err(why) => app.notify(why),
        },
    }
}

/// `14:30` is the last time that it was so here; the rest is as in every query.
fn moment(text: &str, now: Timestamp, zone: &jiff::tz::TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    let of_day = || {
        let (hour, minute) = text.split_once(':')?;
        let time = jiff::civil::Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()?;
        let now = jiff::Timestamp::from_millisecond(now.millis()).ok()?.to_zoned(zone.clone());
        let today = now.date().to_datetime(time).to_zoned(zone.clone()).ok()?;
        let past = if today > now {
            today.yesterday().ok()?.date().to_datetime(time).to_zoned(zone.clone()).ok()?
        } else {
            today
        };
        Some(Timestamp::from_millis(past.timestamp().as_millisecond()))
    };
    of_day().map_or_else(|| tomte_api::time::time(text, now), Ok)
}

fn ask(app: &mut App, at: Timestamp) -> u64 {
    let host = app.host.id.filter(|_| app.view == View::Host).map(|id| id.to_string());
    let list = |names: std::collections::BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
    let (kinds, fields) = match &host {
        Some(_) => (DRAWN.iter().map(|(kind, _)| *kind).collect(), DRAWN.iter().map(|(_, field)| *field).collect()),
        None => needs(&app.columns),
    };
    let query = HistoryQuery {
        host: host.clone().into_iter().collect(),
        kind: list(kinds),
        field: list(fields),
        from: Some(at.minus(Duration::from_secs(BEFORE)).millis().to_string()),
        to: Some(at.millis().to_string()),
        step: Some(if host.is_some() { "10s" } else { "60s" }.to_owned()),
        function: Some("last".to_owned()),
        ..HistoryQuery::default()
    };
    app.ask(Question::Moment { at: at.millis(), host, query: Box::new(query) })
}

/// What the hub knows of a moment.
pub(super) fn told(app: &mut App, number: u64, hosts: Vec<Host>, resources: Vec<Resource>, history: &History) {
    let Some(travel) = app.travel.as_mut().filter(|travel| travel.waiting == Some(number)) else { return };
    travel.waiting = None;
    travel.moved = app.now;
    let at = travel.at;
    let mut world = World::default();
    let close = app.host.id.filter(|_| app.view == View::Host);
    let narrow = if close.is_some() { Vec::new() } else { of_history(history, &hosts) };
    world.snapshot(Snapshot { at, hosts, resources: narrow }, true, &app.glyphs);
    match close {
        None => world.recall_usage(history),
        Some(id) => {
            let mut detail = Detail::new(id);
            detail.replace(resources);
            detail.recall(history);
            world.detail = Some(detail);
        }
    }
    app.frozen = Some(Frozen { at, world: Box::new(world) });
}

/// What the fleet's columns read, from the newest of each series.
fn of_history(history: &History, hosts: &[Host]) -> Vec<Resource> {
    let mut resources: BTreeMap<_, Resource> = BTreeMap::new();
    for series in &history.series {
        let (Some(id), Some(name)) = (series.host_id, series.name.clone()) else { continue };
        let Some(host) = hosts.iter().find(|host| host.id == id) else { continue };
        let points = Points::of(series, history.t.as_deref(), history.step_ms);
        let Some(last) = points.iter().next_back().copied() else { continue };
        let subject = format!("{}:{name}/", series.kind);
        let resource = resources.entry((id, series.kind.clone(), name.clone())).or_insert_with(|| {
            let reference = tomte_api::live::ResourceRef { host_id: id, kind: series.kind.clone(), name };
            let mut resource = crate::world::blank(reference, &host.name);
            // How the host stood tells how its parts did.
            resource.problems = host
                .problems
                .iter()
                .filter_map(|problem| {
                    let field = problem.field.strip_prefix(&subject)?.to_owned();
                    Some(tomte_model::Problem { field: field.into(), ..problem.clone() })
                })
                .collect();
            let worst = resource.problems.iter().map(|problem| problem.status).max();
            resource.status = worst.or(host.status.map(|_| tomte_model::Status::Ok));
            resource
        });
        resource.readings.insert(series.field.clone(), last.mean);
        resource.at = resource.at.max(Timestamp::from_millis(last.at));
    }
    resources.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_the_last_one() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let utc = jiff::tz::TimeZone::UTC;
        let at = |text: &str| moment(text, now, &utc).map(|at| at.to_string());
        assert_eq!(at("14:00").as_deref(), Ok("2026-09-21T14:00:00.000Z"));
        assert_eq!(at(" 23:30 ").as_deref(), Ok("2026-09-20T23:30:00.000Z"));
        assert_eq!(at("-1h").as_deref(), Ok("2026-09-21T13:13:20.000Z"));
        assert_eq!(at("2026-01-01T00:00:00Z").as_deref(), Ok("2026-01-01T00:00:00.000Z"));
        assert!(at("25:00").is_err() && at("noon").is_err());
    }
}
