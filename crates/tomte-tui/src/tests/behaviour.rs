//! What the issue promises of keys, mouse, connection and settings, one
//! promise a test.

use tomte_api::live::{Delta, EventMessage, Refusal, ResourceDelta, ResourceRef, Subscribe};
use tomte_api::resource::Resource;
use tomte_model::{Severity, Status, Value};

use super::*;
use crate::app::{Link, View};
use crate::sample::{ago, event, fleet, host, host_id, name, troubled};

fn subscriptions(effects: &[Effect]) -> Vec<&Subscribe> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Subscribe(request) => Some(request),
            _ => None,
        })
        .collect()
}

fn change(id: tomte_model::HostId, kind: &str, name: &str, field: &str, value: f64) -> ResourceDelta {
    ResourceDelta {
        resource: ResourceRef { host_id: id, kind: kind.to_owned(), name: name.to_owned() },
        at: NOW,
        standing: None,
        facets: Default::default(),
        attributes: Default::default(),
        readings: [(field.to_owned(), Some(value))].into(),
        tables: Default::default(),
    }
}

fn delta() -> Delta {
    Delta { at: NOW, hosts: Vec::new(), removed_hosts: Vec::new(), resources: Vec::new(), removed: Vec::new() }
}

#[test]
fn only_what_is_shown_is_watched() {
    let mut rig = Rig::new((120, 40));
    rig.event(Event::Connected);
    let fleet_wide = subscriptions(&rig.effects)[0].clone();
    assert!(fleet_wide.resources && fleet_wide.events && fleet_wide.hosts.is_empty());
    assert!(fleet_wide.fields.contains(&"usage_ratio".to_owned()) && !fleet_wide.kinds.contains(&"core".to_owned()));
    rig.tell("fleet", Body::Snapshot(fleet(3)));
    rig.effects.clear();

    rig.keys("<enter>");
    let asked = subscriptions(&rig.effects);
    assert!(asked.iter().any(|request| !request.resources), "of the others only how they stand");
    let close = asked.iter().find(|request| !request.hosts.is_empty()).unwrap();
    assert_eq!((close.every_s, close.hosts.len(), close.kinds.len()), (Some(1), 1, 0));
    let gone = rig.effects.iter().any(|effect| *effect == Effect::Unsubscribe(fleet_wide.id.clone()));
    assert!(gone, "{:?}", rig.effects);
    rig.effects.clear();

    rig.keys("<esc>");
    let left = rig.effects.iter().any(|effect| matches!(effect, Effect::Unsubscribe(id) if id.starts_with("host-")));
    assert!(left && subscriptions(&rig.effects).iter().all(|request| request.hosts.is_empty()));
}

#[test]
fn columns_that_are_hidden_are_not_asked_for() {
    let config = Config { columns: vec!["host".to_owned(), "load".to_owned()], ..Config::default() };
    let mut rig = Rig::with(config, surroundings(Target::Hub), (80, 24));
    rig.event(Event::Connected);
    let asked = subscriptions(&rig.effects)[0];
    assert_eq!(
        (asked.kinds.as_slice(), asked.fields.as_slice()),
        (&["load".to_owned()][..], &["load1".to_owned()][..])
    );
}

#[test]
fn a_lost_hub_is_told_and_what_comes_after_starts_anew() {
    let mut rig = Rig::fleet((120, 40), fleet(3));
    rig.event(Event::Lost("connection refused".to_owned())).later(30);
    assert!(rig.line("disconnected").contains("30s old"), "{}", rig.screen());
    assert!(rig.screen().contains("nas-1"), "what is known stays");
    rig.event(Event::Lost("connection refused".to_owned())).later(30);
    assert!(rig.line("disconnected").contains("for 60s"), "since the first loss: {}", rig.screen());
    rig.effects.clear();
    rig.event(Event::Connected);
    assert_eq!(rig.app.link, Link::Up);
    assert_eq!(subscriptions(&rig.effects).len(), 1, "asked for again: {:?}", rig.effects);
    rig.tell("fleet", Body::Snapshot(fleet(2)));
    assert!(!rig.screen().contains("router-1"), "what is gone meanwhile is gone");
}

#[test]
fn why_there_is_nothing_is_said_whole() {
    let mut rig = Rig::new((60, 20));
    let why = "https://hub.lan:8420 refused access: the token in the file /home/ada/.config/tomte/token is not valid";
    rig.event(Event::Lost(why.to_owned()));
    let said = rig.screen().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    assert!(said.contains(why), "{}", rig.screen());
}

#[test]
fn what_was_under_way_when_the_hub_was_lost_is_asked_for_again() {
    let history = |effects: &[Effect]| {
        let chart = |question: &Question| matches!(question, Question::History(query) if !query.series.is_empty());
        effects.iter().filter(|effect| matches!(effect, Effect::Ask(_, question) if chart(question))).count()
    };
    let mut rig = Rig::host((120, 40));
    rig.app.host.focus = "cpu".to_owned();
    rig.keys("<enter>");
    rig.event(Event::Lost("no answer".to_owned())).effects.clear();
    rig.event(Event::Connected);
    assert_eq!(history(&rig.effects), 1, "what was missed is read up on: {:?}", rig.effects);
    // A moment that never arrived, and a search.
    rig.keys("<esc>T<ctrl-k>nas");
    rig.event(Event::Lost("no answer".to_owned()));
    assert!(rig.screen().contains("no answer"), "the search does not wait any longer:\n{}", rig.screen());
    rig.effects.clear();
    rig.event(Event::Connected);
    assert_eq!(asked_moment(&rig).0, NOW.millis() - 60_000);
}

#[test]
fn nothing_stands_before_the_hosts_in_the_queue() {
    let asked = |rig: &Rig| rig.effects.iter().filter(|effect| matches!(effect, Effect::Ask(..))).count();
    let mut rig = Rig::new((120, 40));
    for _ in 0..2 {
        rig.effects.clear();
        rig.event(Event::Connected);
        assert_eq!((subscriptions(&rig.effects).len(), asked(&rig)), (1, 0), "{:?}", rig.effects);
        rig.tell("fleet", Body::Snapshot(fleet(3)));
        assert_eq!(asked(&rig), 3, "the catalogue, events and the little charts: {:?}", rig.effects);
        rig.tell("fleet", Body::Delta(delta()));
        assert_eq!(asked(&rig), 3, "once for a connection");
    }
}

#[test]
fn enter_in_a_search_that_has_found_nothing_yet_opens_what_it_finds() {
    let searched = |question: &Question| matches!(question, Question::Search(_));
    let found = || Ok(Answer::Found(vec![sample::resource(host_id(1), "service", "nginx", &[])]));
    let mut rig = Rig::fleet((120, 40), fleet(3));
    rig.keys("<ctrl-k>nginx<enter>");
    assert!(rig.screen().contains("opens what is found"), "{}", rig.screen());
    rig.answer(searched, found());
    assert_eq!((rig.app.view, rig.app.host.id), (View::Host, Some(host_id(1))));
    // Who types on does not want that any more.
    let mut rig = Rig::fleet((120, 40), fleet(3));
    rig.keys("<ctrl-k>ngin<enter>x").answer(searched, found());
    assert!(rig.app.overlay.is_some() && rig.app.view == View::Fleet, "{}", rig.screen());
    // And nothing is nothing, also when something turns up later.
    let mut rig = Rig::fleet((120, 40), fleet(3));
    rig.keys("<ctrl-k>nginx<enter>").answer(searched, Ok(Answer::Found(Vec::new())));
    assert!(rig.screen().contains("nothing of that name"), "{}", rig.screen());
}

#[test]
fn a_late_message_of_a_former_subscription_counts_for_nothing() {
    let mut rig = Rig::fleet((120, 40), fleet(3));
    let stranger = Delta { removed_hosts: vec![host_id(0), host_id(1)], ..delta() };
    rig.event(Event::Told(Box::new(sample::message("fleet-0", Body::Delta(stranger)))));
    assert_eq!(rig.app.world.hosts.len(), 3);
}

#[test]
fn changes_arrive_in_the_fleet_and_ring_when_somebody_wants_it() {
    for bell in [false, true] {
        let config = Config { bell, ..Config::default() };
        let mut rig = Rig::with(config, surroundings(Target::Hub), (120, 40));
        rig.event(Event::Connected).tell("fleet", Body::Snapshot(fleet(2)));
        let critical = troubled(host(0, "nas-1"), Status::Critical, "/ is 99 % full");
        let resources = vec![change(host_id(0), "cpu", "cpu", "usage_ratio", 0.87)];
        rig.tell("fleet", Body::Delta(Delta { hosts: vec![critical.clone()], resources, ..delta() }));
        assert!(rig.line("nas-1").contains("87%") && rig.line("nas-1").contains("99 % full"), "{}", rig.screen());
        assert_eq!(rig.effects.contains(&Effect::Bell), bell);
        rig.effects.clear();
        rig.tell("fleet", Body::Delta(Delta { hosts: vec![critical], ..delta() }));
        assert!(!rig.effects.contains(&Effect::Bell), "once is enough");
    }
}

#[test]
fn the_fleet_is_walked_filtered_sorted_and_grouped() {
    let mut rig = Rig::fleet((120, 20), fleet(40));
    let selected = |rig: &Rig| rig.app.shown().hosts[&rig.app.fleet.selected.unwrap()].host.name.clone();
    rig.keys("/nas<enter>");
    assert_eq!(rig.app.fleet.rows.len(), 8);
    rig.keys("G");
    let last = selected(&rig);
    rig.keys("gg");
    assert_ne!(selected(&rig), last);
    rig.keys("jk<down><up><ctrl-d><ctrl-u>");
    let first = selected(&rig);
    rig.keys("<esc>");
    assert_eq!((rig.app.fleet.rows.len(), selected(&rig)), (40, first), "the selection stays on its host");
    // By name, and the other way round.
    rig.keys("s");
    assert!(rig.screen().contains("Sort by"));
    rig.keys("j<enter>gg");
    assert_eq!(selected(&rig), "media-1");
    rig.keys("Rgg");
    assert_eq!(selected(&rig), "web-8");
    rig.keys("bgg");
    assert!(rig.screen().contains("── media  10"), "{}", rig.screen());
    rig.keys("/no such host");
    assert!(rig.screen().contains("no host matches"), "{}", rig.screen());
}

#[test]
fn escape_backs_out_step_by_step_and_q_closes_then_leaves() {
    let mut rig = Rig::host((120, 40));
    rig.app.host.focus = "cpu".to_owned();
    rig.keys("e<enter>?");
    assert!(rig.app.overlay.is_some() && rig.app.host.chart.is_some() && rig.app.host.zoomed);
    rig.keys("q");
    assert!(rig.app.overlay.is_none() && !rig.app.leaving());
    rig.keys("<esc>");
    assert!(rig.app.host.chart.is_none() && rig.app.host.zoomed);
    rig.keys("<esc>");
    assert!(!rig.app.host.zoomed && rig.app.view == View::Host);
    rig.keys("<esc>");
    assert_eq!(rig.app.view, View::Fleet);
    rig.keys("<esc>");
    assert!(!rig.app.leaving(), "there is nothing behind the fleet");
    rig.keys("q");
    assert!(rig.app.leaving());
}

#[test]
fn while_a_filter_is_typed_letters_are_letters_and_control_c_leaves() {
    let mut rig = Rig::fleet((80, 24), fleet(5));
    rig.keys("/qgj?");
    assert!(!rig.app.leaving() && rig.app.fleet.filter == "qgj?");
    rig.keys("<esc>");
    assert_eq!(rig.app.fleet.filter, "");
    rig.keys("/<ctrl-c>");
    assert!(rig.app.leaving());
}

#[test]
fn panels_are_gone_through_zoomed_and_filtered() {
    let mut rig = Rig::host((120, 40));
    assert_eq!(rig.app.host.focus, "problems");
    rig.keys("<tab>");
    assert_eq!(rig.app.host.focus, "cpu");
    rig.keys("<backtab>");
    assert_eq!(rig.app.host.focus, "problems");
    rig.app.host.focus = "services".to_owned();
    rig.keys("e");
    assert!(rig.line("nginx ").contains(" failed: exit"), "the name is said once: {}", rig.screen());
    rig.keys("/postgres<enter>");
    assert!(!rig.screen().contains("nginx") && rig.screen().contains("postgresql"), "{}", rig.screen());
    // A panel without data is not there.
    let id = rig.app.host.id.unwrap();
    let lone: Vec<Resource> = vec![sample::resource(id, "memory", "memory", &[("used_ratio", 0.5)])];
    rig.tell("host", Body::Snapshot(Snapshot { at: NOW, hosts: Vec::new(), resources: lone }));
    let panels: Vec<_> = rig.app.host.panels.iter().map(|panel| panel.id.as_ref()).collect();
    assert_eq!(panels, ["problems", "memory"]);
}

#[test]
fn the_host_on_screen_follows_each_second_and_its_chart_with_it() {
    let mut rig = Rig::host((120, 40));
    let id = rig.app.host.id.unwrap();
    rig.app.host.focus = "cpu".to_owned();
    rig.keys("<enter>");
    rig.answer(
        |q| matches!(q, Question::History(query) if !query.series.is_empty()),
        Ok(Answer::History(Default::default())),
    );
    for (second, value) in [(1, 0.11), (2, 0.99)] {
        rig.later(1);
        let at = NOW.plus(std::time::Duration::from_secs(second));
        let told = ResourceDelta { at, ..change(id, "cpu", "cpu", "usage_ratio", value) };
        rig.tell("host", Body::Delta(Delta { resources: vec![told], ..delta() }));
    }
    assert!(rig.line("last").contains("last 99 %") && rig.line("last").contains("max 99 %"), "{}", rig.screen());
    rig.keys("<esc>");
    assert!(rig.line("all ").contains("99%"), "{}", rig.screen());
}

#[test]
fn charts_zoom_pan_and_change_their_reading() {
    let mut rig = Rig::host((120, 40));
    rig.app.host.focus = "cpu".to_owned();
    rig.keys("<enter>");
    let asked = |rig: &Rig| {
        let last = rig.effects.iter().rev().find_map(|effect| match effect {
            Effect::Ask(_, Question::History(query)) => Some(query.clone()),
            _ => None,
        });
        let query = last.unwrap();
        let time = |text: &Option<String>| text.as_deref().unwrap().parse::<i64>().unwrap();
        (query.series[0].clone(), time(&query.to) - time(&query.from), time(&query.to))
    };
    assert_eq!(asked(&rig).1, 900_000);
    rig.keys("-");
    assert_eq!(asked(&rig).1, 3_600_000);
    rig.keys("++");
    assert_eq!(asked(&rig).1, 300_000);
    rig.keys("H");
    assert_eq!(asked(&rig).2, NOW.millis() - 75_000);
    rig.keys("0j");
    let (series, _, to) = asked(&rig);
    assert!(series.ends_with("/cpu:cpu/user_ratio") && to == NOW.millis(), "{series}");
    rig.answer(
        |q| matches!(q, Question::History(query) if !query.series.is_empty()),
        Err("the history is closed".to_owned()),
    );
    assert!(rig.screen().contains("the history is closed"));
}

#[test]
fn the_search_finds_hosts_at_once_and_the_rest_at_the_hub() {
    let mut rig = Rig::fleet((120, 40), fleet(10));
    rig.keys("<ctrl-k>nas");
    assert!(rig.line("│›").contains("host"), "{}", rig.screen());
    let mut found = sample::resource(host_id(3), "container", "nas-sync", &[]);
    found.host = name(3);
    found.attributes.insert("image".to_owned(), Value::Text("nas/sync:1".to_owned()));
    rig.answer(|question| matches!(question, Question::Search(text) if text == "nas"), Ok(Answer::Found(vec![found])));
    assert!(rig.line("nas-sync").contains("container"), "{}", rig.screen());
    rig.keys("<down><down><enter>");
    assert_eq!((rig.app.view, rig.app.host.id), (View::Host, Some(host_id(3))));
    // Once the host is told, the keyboard is on what was looked for.
    let resources = sample::everything(host_id(3));
    let container = sample::resource(host_id(3), "container", "nas-sync", &[]);
    let resources = resources.into_iter().chain([container]).collect();
    rig.tell("host", Body::Snapshot(Snapshot { at: NOW, hosts: Vec::new(), resources }));
    assert_eq!(rig.app.host.focus, "containers");
    assert!(rig.line("›nas-sync").contains("nas-sync"));
}

#[test]
fn an_answer_to_what_is_no_longer_asked_counts_for_nothing() {
    let mut rig = Rig::fleet((120, 40), fleet(10));
    rig.keys("<ctrl-k>ab");
    let late = Answer::Found(vec![sample::resource(host_id(3), "container", "abacus", &[])]);
    rig.keys("c");
    rig.answer(|question| matches!(question, Question::Search(text) if text == "ab"), Ok(late));
    assert!(!rig.screen().contains("abacus"), "{}", rig.screen());
}

#[test]
fn events_come_newest_first_and_older_ones_when_one_gets_there() {
    let mut rig = Rig::fleet((120, 20), fleet(8));
    let newest = |question: &Question| matches!(question, Question::Events(None));
    rig.answer(newest, Ok(Answer::Events(tomte_api::Page::new(sample::events(30), Some("b30".to_owned())))));
    rig.keys("3");
    assert!(!rig.effects.iter().any(|effect| matches!(effect, Effect::Ask(_, Question::Events(Some(_))))));
    rig.keys("G");
    let older = |question: &Question| matches!(question, Question::Events(Some(cursor)) if cursor == "b30");
    let page = (30..40).map(|number| event(number, Severity::Info, "long ago")).collect();
    rig.answer(older, Ok(Answer::Events(tomte_api::Page::new(page, None))));
    assert_eq!(rig.app.events.all.len(), 40);
    rig.keys("gg");
    let mut new = event(99, Severity::Critical, "it just happened");
    new.at = NOW;
    let told = || Body::Event(Box::new(EventMessage { event: new.clone() }));
    rig.tell("fleet", told()).tell("fleet", told());
    assert_eq!(rig.app.events.all.len(), 41, "told twice, it is one");
    assert!(rig.line("›").contains("it just happened"), "{}", rig.screen());
    rig.keys("a");
    assert!(rig.app.events.rows.len() < 41 && rig.screen().contains("warning and above"));
    rig.keys("<enter>");
    assert!(rig.screen().contains("severity"), "{}", rig.screen());
}

#[test]
fn a_hub_that_is_too_slow_with_events_is_asked_for_them() {
    let mut rig = Rig::fleet((80, 24), fleet(2));
    rig.effects.clear();
    let problem = tomte_api::Problem::new(503, "events-missed", "Events missed");
    rig.tell("fleet", Body::Error(Refusal { problem }));
    assert!(rig.effects.iter().any(|effect| matches!(effect, Effect::Ask(_, Question::Events(None)))));
}

#[test]
fn what_is_frozen_stands_still_and_goes_on_later() {
    let mut rig = Rig::fleet((120, 40), fleet(2));
    rig.keys("f");
    let before = rig.screen();
    assert!(before.contains("FROZEN 14:13:20"), "{before}");
    let resources = vec![change(host_id(0), "cpu", "cpu", "usage_ratio", 0.87)];
    rig.later(20).tell("fleet", Body::Delta(Delta { resources, ..delta() }));
    let part = |text: &str| text.lines().filter(|line| line.contains("nas-1")).collect::<String>();
    assert_eq!(part(&rig.screen()), part(&before));
    rig.keys("f");
    assert!(rig.line("nas-1").contains("87%"));
}

#[test]
fn the_mouse_selects_sorts_opens_and_scrolls() {
    let mut rig = Rig::fleet((120, 12), fleet(40));
    rig.click(4, 4);
    let row = |rig: &Rig| {
        rig.app
            .fleet
            .rows
            .iter()
            .position(|row| matches!(row, crate::app::FleetRow::Host(id) if Some(*id) == rig.app.fleet.selected))
    };
    assert_eq!(row(&rig), Some(2));
    rig.wheel(4, 4, true);
    assert_eq!(row(&rig), Some(5));
    let head = rig.screen().lines().nth(1).unwrap().find("HOST").unwrap();
    rig.click(u16::try_from(head).unwrap(), 1);
    assert!(rig.line("HOST").contains("HOST▲"), "{}", rig.screen());
    rig.click(4, 3).click(4, 3);
    assert_eq!(rig.app.view, View::Host, "two clicks open");
    rig.click(14 + u16::try_from(rig.line("Events").find("Events").unwrap()).unwrap() - 14, 0);
    assert_eq!(rig.app.view, View::Events);

    let mut rig = Rig::host((120, 40));
    let screen = rig.screen();
    let (line, text) =
        screen.lines().enumerate().find(|(_, line)| line.contains("/srv/tank") && line.contains('■')).unwrap();
    let x = text.chars().collect::<String>().find("/srv/tank").map(|bytes| text[..bytes].chars().count()).unwrap();
    rig.click(u16::try_from(x).unwrap(), u16::try_from(line).unwrap());
    assert_eq!(rig.app.host.focus, "filesystems");
    assert!(rig.line("›/srv/tank").contains("97%"), "{}", rig.screen());
}

#[test]
fn the_classic_keys_are_those_of_cm_dashboard() {
    let config = Config { preset: "classic".to_owned(), ..Config::default() };
    let mut rig = Rig::with(config, surroundings(Target::Hub), (120, 40));
    rig.event(Event::Connected).tell("fleet", Body::Snapshot(fleet(5)));
    rig.keys("s");
    assert!(rig.screen().contains("Settings"));
    rig.keys("<esc>a");
    assert!(rig.screen().contains("warning and above"));
    rig.keys("h");
    assert_eq!(rig.app.view, View::Fleet);
    rig.keys("r");
    assert_eq!(rig.effects.iter().filter(|effect| matches!(effect, Effect::Refresh(_))).count(), 5);
    rig.keys("<enter>");
    let first = rig.app.host.id;
    rig.keys("<right>");
    assert_ne!(rig.app.host.id, first, "left and right are hosts");
    rig.keys("q");
    assert!(rig.app.leaving());
}

#[test]
fn settings_hold_at_once_and_are_written_down() {
    let mut rig = Rig::fleet((120, 40), fleet(5));
    rig.keys("o<right>");
    assert!(rig.effects.contains(&Effect::Save(vec![("refresh", toml::Value::from(10))])));
    let asked = subscriptions(&rig.effects);
    assert_eq!(asked.last().unwrap().every_s, Some(10), "watched so from now on");
    rig.keys("jj<right>");
    assert_eq!(rig.app.config.theme, "light");
    // A column that is hidden is gone, and no longer asked for.
    let place = crate::settings::items().iter().position(|item| item.title() == "cpu").unwrap();
    rig.keys(&"j".repeat(place - 2)).keys("<enter><esc>");
    assert!(!rig.line("HOST").contains("CPU"), "{}", rig.screen());
    rig.keys("f").event(Event::Notice("cannot write /etc/tomte/top.toml: read-only".to_owned()));
    assert!(rig.screen().contains("read-only"));
    rig.later(10);
    assert!(!rig.screen().contains("read-only"), "a notice goes by itself");
}

#[test]
fn the_help_names_the_keys_in_force() {
    let keys = [("freeze".to_owned(), vec!["f9".to_owned()])].into();
    let mut rig = Rig::with(Config { keys, ..Config::default() }, surroundings(Target::Hub), (120, 60));
    rig.event(Event::Connected).tell("fleet", Body::Snapshot(fleet(1)));
    assert!(rig.line("quit").contains("f9 freeze"), "{}", rig.screen());
    rig.keys("?");
    assert!(rig.line("Freeze the screen").contains("f9"), "{}", rig.screen());
}

#[test]
fn an_unknown_host_is_told_and_the_fleet_shown() {
    let mut rig = Rig::with(
        Config::default(),
        Surroundings { host: Some("nsa".to_owned()), ..surroundings(Target::Hub) },
        (80, 24),
    );
    rig.event(Event::Connected).tell("fleet", Body::Snapshot(fleet(3)));
    assert!(rig.screen().contains("there is no host nsa") && rig.app.view == View::Fleet, "{}", rig.screen());
    let mut rig = Rig::with(
        Config::default(),
        Surroundings { host: Some("WEB-1".to_owned()), ..surroundings(Target::Hub) },
        (80, 24),
    );
    rig.event(Event::Connected).tell("fleet", Body::Snapshot(fleet(3)));
    assert_eq!(rig.app.host.id, Some(host_id(1)));
}

#[test]
fn an_agent_alone_asks_for_no_history_and_has_no_fleet_behind_it() {
    let mut rig = Rig::with(Config::default(), surroundings(Target::Agent), (120, 40));
    rig.event(Event::Connected);
    rig.tell("fleet", Body::Snapshot(Snapshot { at: NOW, hosts: vec![host(1, "laptop")], resources: Vec::new() }));
    rig.tell(
        "host",
        Body::Snapshot(Snapshot { at: NOW, hosts: Vec::new(), resources: sample::everything(host_id(1)) }),
    );
    rig.keys("<enter>");
    assert!(!rig.effects.iter().any(|effect| matches!(effect, Effect::Ask(_, Question::History(_)))));
    rig.keys("<esc><esc><esc>");
    assert_eq!(rig.app.view, View::Host);
    rig.keys("r");
    assert!(
        rig.screen().contains("read-only") && !rig.effects.iter().any(|effect| matches!(effect, Effect::Refresh(_)))
    );
}

#[test]
fn ages_count_on_the_hubs_clock() {
    let mut rig = Rig::new((80, 24));
    // Ours is an hour behind.
    rig.now = ago(3_600);
    rig.event(Event::Connected);
    let mut told = fleet(1);
    told.hosts[0].last_seen_at = Some(ago(4));
    rig.tell("fleet", Body::Snapshot(told)).later(3);
    assert!(rig.line("nas-1").contains(" 5s"), "{}", rig.screen());
}

#[test]
fn nothing_is_drawn_when_nothing_changed() {
    let mut rig = Rig::fleet((80, 24), fleet(2));
    rig.app.take_dirty();
    rig.event(Event::Tick);
    assert!(!rig.app.take_dirty(), "no second has passed");
    rig.later(1);
    assert!(rig.app.take_dirty(), "everything is a second older");
    rig.keys("f");
    rig.app.take_dirty();
    rig.later(1).tell("fleet", Body::Delta(delta()));
    assert!(!rig.app.take_dirty(), "what is frozen does not age");
}

#[test]
fn text_of_others_cannot_steer_the_terminal() {
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}evil\r\n\u{0}";
    let mut hostile = troubled(host(0, evil), Status::Critical, evil);
    hostile.roles = vec![evil.to_owned()];
    hostile.aliases = vec![evil.to_owned()];
    let mut resources = sample::everything(host_id(0));
    for resource in &mut resources {
        resource.name = format!("{}{evil}", resource.name);
        resource.reason = evil.to_owned();
        resource.attributes.values_mut().for_each(|value| *value = Value::Text(evil.to_owned()));
        for table in resource.tables.values_mut() {
            table.rows.iter_mut().flatten().for_each(|cell| *cell = Some(Value::Text(evil.to_owned())));
        }
    }
    resources.push(sample::resource(host_id(0), evil, evil, &[(evil, 1.0)]));
    let mut rig = Rig::fleet((120, 200), Snapshot { at: NOW, hosts: vec![hostile], resources: Vec::new() });
    let mut happened = event(0, Severity::Critical, evil);
    happened.details.insert(evil.to_owned(), evil.to_owned());
    rig.tell("fleet", Body::Event(Box::new(EventMessage { event: happened })));
    rig.event(Event::Notice(evil.to_owned()));
    for keys in ["", "b", "<enter>", "e", "<enter>", "<esc><esc>3", "<enter>", "<esc><ctrl-k>evil", "<esc>/e"] {
        rig.keys(keys);
        if rig.app.world.detail.as_ref().is_some_and(|detail| !detail.told) {
            rig.tell("host", Body::Snapshot(Snapshot { at: NOW, hosts: Vec::new(), resources: resources.clone() }));
        }
        let buffer = rig.buffer();
        let wrong = buffer.content.iter().find(|cell| cell.symbol().chars().any(crate::text::forbidden));
        assert!(wrong.is_none(), "after {keys:?}: {wrong:?}");
    }
    rig.event(Event::Lost(evil.to_owned()));
    assert!(!rig.screen().contains('\u{1b}'));
}

/// The last question about a moment: when, and of which host.
fn asked_moment(rig: &Rig) -> (i64, Option<String>) {
    let last = rig.effects.iter().rev().find_map(|effect| match effect {
        Effect::Ask(_, Question::Moment { at, host, .. }) => Some((*at, host.clone())),
        _ => None,
    });
    last.unwrap()
}

#[test]
fn one_steps_back_in_time_and_returns_to_the_present() {
    let mut rig = Rig::fleet((120, 40), fleet(3));
    rig.keys("TT");
    assert_eq!(asked_moment(&rig), (NOW.millis() - 120_000, None));
    let moment = |question: &Question| matches!(question, Question::Moment { .. });
    let then = vec![troubled(host(0, "nas-1"), Status::Critical, "/ was 99 % full")];
    let series = tomte_api::history::Series {
        host_id: Some(host_id(0)),
        kind: "cpu".to_owned(),
        name: Some("cpu".to_owned()),
        field: "usage_ratio".to_owned(),
        t: Some(vec![NOW.millis() - 180_000, NOW.millis() - 120_000]),
        last: Some(vec![Some(0.1), Some(0.66)]),
        ..Default::default()
    };
    let history = tomte_api::history::History { series: vec![series], ..Default::default() };
    rig.answer(moment, Ok(Answer::Moment { hosts: then.clone(), resources: Vec::new(), history: history.clone() }));
    let screen = rig.screen();
    assert!(screen.contains("PAST 14:11:20, 2m ago") || screen.contains("PAST 14:11:20, 120"), "{screen}");
    assert!(rig.line("nas-1").contains("66%") && rig.line("nas-1").contains("was 99 % full"), "{screen}");
    assert!(!screen.contains("web-1"), "what was not there then is not shown: {screen}");
    // The host's page at that moment.
    rig.keys("<enter>");
    assert_eq!(asked_moment(&rig), (NOW.millis() - 120_000, Some(host_id(0).to_string())));
    let resources = vec![sample::resource(host_id(0), "memory", "memory", &[("used_ratio", 0.77)])];
    rig.answer(moment, Ok(Answer::Moment { hosts: then, resources, history }));
    assert!(rig.line("memory ").contains("77%"), "{}", rig.screen());
    assert!(!rig.app.subscribed.contains_key("host"), "nothing live is asked for in the past");
    let processes = sample::resource(host_id(0), "process", "processes", &[("processes", 210.0)]);
    rig.keys("T").answer(
        moment,
        Ok(Answer::Moment { hosts: vec![host(0, "nas-1")], resources: vec![processes], history: Default::default() }),
    );
    assert!(rig.screen().contains("this list is not kept"), "lists are of the present: {}", rig.screen());
    rig.keys("n");
    assert!(rig.app.frozen.is_none() && rig.app.subscribed.contains_key("host"));
}

#[test]
fn one_jumps_to_an_event_and_to_what_one_types_and_plays_on() {
    let mut rig = Rig::fleet((120, 40), fleet(3));
    let newest = |question: &Question| matches!(question, Question::Events(None));
    rig.answer(newest, Ok(Answer::Events(tomte_api::Page::new(sample::events(5), None))));
    rig.keys("3jjJ");
    assert_eq!((rig.app.view, asked_moment(&rig).0), (View::Fleet, ago(2 * 97).millis()));
    rig.keys("J-3h<enter>");
    assert_eq!(asked_moment(&rig).0, ago(3 * 3_600).millis());
    rig.keys(")");
    assert_eq!(asked_moment(&rig).0, ago(2 * 3_600).millis());
    let moment = |question: &Question| matches!(question, Question::Moment { .. });
    let empty = || Answer::Moment { hosts: Vec::new(), resources: Vec::new(), history: Default::default() };
    rig.keys(" ").answer(moment, Ok(empty())).later(1);
    assert_eq!(asked_moment(&rig).0, ago(2 * 3_600 - 60).millis());
    rig.answer(moment, Err("the history is closed".to_owned()));
    assert!(rig.screen().contains("the history is closed") && !rig.app.travel.as_ref().unwrap().playing);
    rig.keys("Jnonsense<enter>");
    assert!(rig.screen().contains("is not a time"), "{}", rig.screen());
    rig.keys("Jnow<enter>");
    assert!(rig.app.travel.is_none());
}
