//! Changes of state: what is told of the past must be what the reports said,
//! in whatever order they came.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::mpsc;

use common::*;
use proptest::prelude::*;
use tomte_model::report::Outcome;
use tomte_model::{Assessment, Facet, Problem, Report, ResourceKey, Scope, Status, Timestamp, Value};
use tomte_store::changes::{Change, ChangeKind, ChangeQuery, HostFacts, HostThen};

use tomte_store::{Arrival, Options, Retention, Store};

const DAY: i64 = 86_400;

fn disk(name: &str, health: &str) -> Facet {
    let mut facet = Facet::owner("aquarium", name, "main");
    facet.text("water", health);
    facet.read("e0", 1.0);
    facet
}

/// What a collector saw at a second.
fn seen(sequence: u64, second: i64, scopes: Vec<Scope>) -> Arrival {
    let report = Report { scopes, ..report(host(1), "tank", sequence, "reef", &[]) };
    Arrival { at: at(second), ..arrival(report) }
}

fn tanks(sequence: u64, second: i64, facets: Vec<Facet>) -> Arrival {
    seen(sequence, second, vec![Scope::complete("tank", facets)])
}

fn then(store: &Store, second: i64) -> Option<HostThen> {
    store.history.state_at(&[host(1)], at(second)).unwrap().pop()
}

/// The text of each resource at a second: what there was, and how it was.
fn told(store: &Store, second: i64) -> BTreeMap<String, String> {
    let resources = then(store, second).map(|then| then.resources).unwrap_or_default();
    let text = |resource: &tomte_model::latest::ResourceState| {
        let mut text: Vec<String> = resource.attributes().map(|(name, value)| format!("{name}={value}")).collect();
        text.extend(resource.facets.values().filter_map(|facet| facet.failure.clone()));
        text.join(" ")
    };
    resources.iter().map(|(key, resource)| (key.name.clone(), text(resource))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn all() -> ChangeQuery {
    ChangeQuery {
        hosts: Vec::new(),
        kinds: Vec::new(),
        what: Vec::new(),
        from: Timestamp::from_millis(0),
        to: at(1_000 * DAY),
        newest_first: false,
        after: None,
        limit: 1_000,
    }
}

fn list(store: &Store, query: &ChangeQuery) -> Vec<Change> {
    store.history.changes(query).unwrap().changes
}

/// The changes in words.
fn words(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| {
            let seconds = (change.at.millis() - START) / 1000;
            let of = change.resource.as_ref().map(|key| format!(" {}", key.name)).unwrap_or_default();
            let name = change.name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
            let side = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), ToString::to_string);
            format!("{seconds}{of} {}{name}: {} -> {}", change.what.as_str(), side(&change.from), side(&change.to))
        })
        .collect()
}

#[test]
fn any_past_moment_is_told_and_what_changed_between_two() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut worn = disk("reef", "brackish");
    worn.assessment = Some(Assessment::of(vec![Problem {
        field: "depth_celsius".into(),
        status: Status::Warning,
        reason: "too warm".into(),
        since: at(30),
    }]));
    let broken = Scope::failed("tank", Outcome::Failed { error: "no such sensor".into() });
    for arrival in [
        tanks(1, 10, vec![disk("reef", "salt"), disk("pond", "fresh")]),
        tanks(2, 20, vec![disk("reef", "salt"), disk("pond", "fresh")]),
        tanks(3, 30, vec![worn.clone(), disk("pond", "fresh")]),
        tanks(4, 40, vec![worn.clone()]),
        seen(5, 50, vec![broken.clone()]),
        seen(6, 60, vec![broken]),
        tanks(7, 70, vec![worn]),
    ] {
        append(&*store.history, arrival).unwrap();
    }
    let check = |store: &Store| {
        assert_eq!(then(store, 9), None, "before anything was known");
        assert_eq!(told(store, 10), pairs(&[("pond", "water=fresh"), ("reef", "water=salt")]));
        assert_eq!(told(store, 29), told(store, 10));
        assert_eq!(told(store, 30), pairs(&[("pond", "water=fresh"), ("reef", "water=brackish")]));
        assert_eq!(told(store, 45), pairs(&[("reef", "water=brackish")]));
        assert_eq!(told(store, 60), pairs(&[("reef", "water=brackish no such sensor")]));
        assert_eq!(told(store, 5_000), pairs(&[("reef", "water=brackish")]));
        let reef = then(store, 45).unwrap().resources[&ResourceKey::new("aquarium", "reef")].clone();
        assert_eq!(reef.assessment(at(45)).unwrap().reason, "too warm");
        assert_eq!(reef.facets["main"].at, at(40), "when its scope last changed");
        assert_eq!(
            words(&list(store, &all())),
            [
                "10 pond appeared: - -> -",
                "10 reef appeared: - -> -",
                "30 reef status: - -> warning",
                "30 reef attribute water: salt -> brackish",
                "40 pond gone: - -> -",
                "50 unreadable tank: - -> -",
                "70 readable tank: - -> -",
            ]
        );
    };
    check(&store);
    drop(store);
    let store = open(folder.path());
    check(&store);
    // After a restart, the same again is still nothing new.
    let last = list(&store, &all()).len();
    append(&*store.history, tanks(8, 80, vec![disk("reef", "salt")])).unwrap();
    append(&*store.history, tanks(9, 90, vec![disk("reef", "salt")])).unwrap();
    assert_eq!(list(&store, &all()).len(), last + 2, "one status, one attribute");
    store.history.remove_host(host(1)).unwrap();
    assert_eq!((then(&store, 80), list(&store, &all())), (None, Vec::new()));
}

#[test]
fn a_list_is_filtered_and_read_in_parts_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for sequence in 1..=20_u64 {
        let facets = vec![disk("reef", &format!("{sequence}")), disk("pond", &format!("{}", sequence / 4))];
        append(&*store.history, tanks(sequence, sequence as i64 * 10, facets)).unwrap();
    }
    let whole = words(&list(&store, &all()));
    assert_eq!(whole.len(), 2 + 19 + 5);
    for newest_first in [false, true] {
        for limit in [1, 2, 3, 7, 100] {
            let mut parts = Vec::new();
            let mut query = ChangeQuery { newest_first, limit, ..all() };
            loop {
                let part = store.history.changes(&query).unwrap();
                assert!(part.changes.len() <= limit);
                parts.extend(words(&part.changes));
                match part.next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
            }
            if newest_first {
                parts.reverse();
            }
            assert_eq!(parts, whole, "in parts of {limit}, newest first: {newest_first}");
        }
    }
    let only = |query: ChangeQuery| list(&store, &query).len();
    assert_eq!(only(ChangeQuery { what: vec![ChangeKind::Appeared], ..all() }), 2);
    assert_eq!(only(ChangeQuery { kinds: vec!["disk".into()], ..all() }), 0);
    assert_eq!(only(ChangeQuery { hosts: vec![host(2)], ..all() }), 0);
    assert_eq!(only(ChangeQuery { hosts: vec![host(1)], from: at(20), to: at(30), ..all() }), 1);
}

#[test]
fn who_a_host_is_changes_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let facts = HostFacts {
        name: "nas".parse().unwrap(),
        aliases: Default::default(),
        roles: ["storage".to_owned()].into(),
        external_ids: Default::default(),
        via: Default::default(),
        presence: "online".into(),
        agent_version: None,
        created_at: at(0),
        last_seen_at: Some(at(10)),
    };
    let note = |second: i64, facts: &HostFacts| {
        let (told, durable) = mpsc::channel();
        store.history.note_host(host(1), at(second), facts.clone(), Box::new(move |r| told.send(r).unwrap()));
        durable.recv().unwrap().unwrap();
    };
    note(10, &facts);
    note(20, &HostFacts { last_seen_at: Some(at(20)), ..facts.clone() });
    let offline = HostFacts { presence: "offline".into(), ..facts.clone() };
    note(100, &offline);
    note(200, &HostFacts { name: "vault".parse().unwrap(), ..offline.clone() });
    // The hub's clock went back.
    note(150, &HostFacts { name: "safe".parse().unwrap(), ..offline.clone() });
    assert_eq!(then(&store, 9), None);
    assert_eq!(then(&store, 50).unwrap().facts, Some(facts));
    assert_eq!(then(&store, 150).unwrap().facts, Some(offline));
    assert_eq!(
        words(&list(&store, &all())),
        [
            "10 appeared host: - -> nas",
            "100 presence presence: online -> offline",
            "200 host name: nas -> vault",
            "200 host name: vault -> safe",
        ]
    );
}

#[test]
fn old_changes_go_and_what_they_led_to_stays() {
    let folder = tempfile::tempdir().unwrap();
    let hour = std::time::Duration::from_secs(10 * 86_400);
    let options = Options { retention: Retention { hour, ..Retention::default() }, ..options() };
    let store = Store::open(folder.path(), options).unwrap();
    for day in 0..30_i64 {
        let facets = vec![disk("reef", &format!("day {day}")), disk("pond", "fresh"), disk("lake", "fresh")];
        append(&*store.history, tanks(day as u64 + 1, day * DAY + 10, facets)).unwrap();
    }
    assert!(store.history.maintain(at(30 * DAY)).unwrap().pruned >= 18);
    assert_eq!(told(&store, 21 * DAY)["reef"], "water=day 20");
    assert_eq!(told(&store, 40 * DAY)["pond"], "water=fresh");
    assert_eq!(then(&store, 10 * DAY), None);
}

/// What was seen at each moment: the whole truth, to compare with.
fn truth(history: &[(i64, Vec<Facet>)], second: i64) -> BTreeMap<String, String> {
    let seen = history.iter().rev().find(|(at, _)| *at <= second);
    let text = |facet: &Facet| (facet.resource.name.clone(), format!("water={}", facet.attribute("water").unwrap()));
    seen.map(|(_, facets)| facets.iter().map(text).collect()).unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    // An agent is away now and then. When it is back, it sends what is new
    // first and what waited behind it, mixed; some reports come twice; the hub
    // is started anew in between. In the end each moment is as it was.
    #[test]
    fn whatever_order_reports_come_in_each_moment_is_told_as_it_was(
        states in prop::collection::vec((0_u8..3, 0_u8..3), 30),
        away in prop::collection::vec((1_usize..28, 1_usize..8), 0..4),
        restarts in prop::collection::vec(0_usize..40, 0..3),
        take_live in prop::collection::vec(any::<bool>(), 60),
    ) {
        let history: Vec<(i64, Vec<Facet>)> = states.iter().enumerate().map(|(index, (reef, pond))| {
            let mut facets = vec![disk("reef", &format!("w{reef}"))];
            if *pond > 0 {
                facets.push(disk("pond", &format!("w{pond}")));
            }
            (index as i64 * 10 + 10, facets)
        }).collect();
        // The order of arrival: live as it happens, the backlog after it.
        let mut order: Vec<usize> = Vec::new();
        let mut backlog: std::collections::VecDeque<usize> = Default::default();
        let mut choices = take_live.into_iter().cycle();
        for index in 0..history.len() {
            if away.iter().any(|(from, length)| (*from..from + length).contains(&index)) {
                backlog.push_back(index);
                continue;
            }
            order.push(index);
            while !backlog.is_empty() && !choices.next().unwrap() {
                order.extend(backlog.pop_front());
            }
        }
        order.extend(backlog);
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        for (count, index) in order.into_iter().enumerate() {
            if restarts.contains(&count) {
                drop(store);
                store = open(folder.path());
            }
            let (second, facets) = &history[index];
            for _ in 0..=(count % 2) {
                append(&*store.history, tanks(index as u64 + 1, *second, facets.clone())).unwrap();
            }
        }
        for second in (0..=330).step_by(5) {
            prop_assert_eq!(told(&store, second), truth(&history, second), "at {}", second);
        }
    }
}

#[test]
fn what_says_the_same_again_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for sequence in 1..=200_u64 {
        let mut facet = disk("reef", "salt");
        facet.read("depth_celsius", sequence as f64);
        append(&*store.history, tanks(sequence, sequence as i64 * 3_600, vec![facet])).unwrap();
    }
    let database = rusqlite::Connection::open(folder.path().join("history.db")).unwrap();
    let rows: i64 = database.query_row("SELECT count(*) FROM change", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

/// The nodes of a cluster tell of its host in turn: what the later one does not
/// see is gone, and nothing that the earlier one brings late is seen again.
#[test]
fn who_tells_of_a_host_in_turn_is_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let of = |outbox: u128, turn: u64, told: Arrival| Arrival { outbox: host(outbox), turn: Some(turn), ..told };
    // The later one's outbox is the older one.
    append(&*store.history, of(5, 1, tanks(900, 0, vec![disk("101", "node1"), disk("102", "node1")]))).unwrap();
    append(&*store.history, of(6, 2, tanks(3, 100, vec![disk("101", "node2")]))).unwrap();
    assert_eq!(told(&store, 50), pairs(&[("101", "water=node1"), ("102", "water=node1")]));
    assert_eq!(told(&store, 100), pairs(&[("101", "water=node2")]));
    append(&*store.history, of(5, 1, tanks(901, 40, vec![disk("101", "moving"), disk("102", "node1")]))).unwrap();
    assert_eq!(told(&store, 45), pairs(&[("101", "water=moving"), ("102", "water=node1")]));
    assert_eq!(told(&store, 200), pairs(&[("101", "water=node2")]));
    append(&*store.history, of(6, 2, tanks(4, 300, vec![]))).unwrap();
    assert_eq!(told(&store, 300), pairs(&[]));
}
