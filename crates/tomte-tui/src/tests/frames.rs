//! Whole frames at the sizes that matter, as text. `cargo insta review` shows
//! what changed.

use tomte_api::host::{Host, Presence};
use tomte_api::live::{Body, Snapshot};
use tomte_api::page::Page;
use tomte_model::Status;

use super::*;
use crate::sample::{ago, host, host_id, narrow, troubled};

const SIZES: [(u16, u16); 4] = [(80, 24), (120, 40), (40, 15), (200, 60)];

/// The same situation in every size.
fn in_every_size(name: &str, rig: impl Fn((u16, u16)) -> Rig) {
    for size in SIZES {
        let rig = rig(size);
        insta::assert_snapshot!(format!("{name}_{}x{}", size.0, size.1), rig.screen());
    }
}

#[test]
fn fleets_of_every_size() {
    in_every_size("connecting", Rig::new);
    for count in [0, 1, 25, 200] {
        in_every_size(&format!("fleet_{count}"), |size| Rig::fleet(size, sample::fleet(count)));
    }
}

/// Every status, every presence, and what is old.
fn every_status() -> Snapshot {
    let judged = |number, name: &str, status| troubled(host(number, name), status, "/ is 91 % full");
    let never = Host { presence: Presence::Never, last_seen_at: None, status: None, ..host(5, "never") };
    let hosts = vec![
        host(0, "fine"),
        judged(1, "unknown", Status::Unknown),
        judged(2, "warning", Status::Warning),
        judged(3, "critical", Status::Critical),
        Host { status: None, ..host(4, "unjudged") },
        never,
        Host { presence: Presence::Late, last_seen_at: Some(ago(61)), ..host(6, "late") },
        Host { presence: Presence::Offline, last_seen_at: Some(ago(7_300)), ..judged(7, "offline", Status::Unknown) },
    ];
    let mut resources: Vec<_> = hosts
        .iter()
        .zip(0..)
        .filter(|(host, _)| host.name != "never")
        .flat_map(|(host, n)| narrow(host.id, n))
        .collect();
    for resource in resources.iter_mut().filter(|resource| resource.host_id == host_id(4)) {
        resource.stale = true;
    }
    for resource in resources.iter_mut().filter(|resource| resource.host_id == host_id(7)) {
        resource.at = ago(7_300);
    }
    Snapshot { at: NOW, hosts, resources }
}

#[test]
fn every_status_is_told_without_colour() {
    in_every_size("every_status", |size| Rig::fleet(size, every_status()));
    in_every_size("every_status_ascii", |size| {
        let config = Config { characters: "ascii".to_owned(), ..Config::default() };
        let mut rig = Rig::with(config, surroundings(Target::Hub), size);
        rig.event(Event::Connected).tell("fleet", Body::Snapshot(every_status()));
        assert!(rig.screen().is_ascii(), "{}", rig.screen());
        rig
    });
}

#[test]
fn a_hub_that_is_gone_leaves_what_is_known_ageing() {
    in_every_size("offline_hub", |size| {
        let mut rig = Rig::fleet(size, sample::fleet(8));
        rig.event(Event::Lost("hub not reachable at hub.lan:8420: connection refused".to_owned())).later(42);
        rig
    });
}

#[test]
fn long_and_wide_names_stay_in_their_columns() {
    in_every_size("wide_names", |size| {
        let names = [
            "倉庫サーバー一号機",
            "🚀-launch-pad-🚀",
            "a-name-that-goes-on-and-on-and-on-until-nobody-reads-it-any-more",
            "e\u{301}te\u{301}",
            "plain",
        ];
        let hosts: Vec<Host> = names
            .iter()
            .zip(0..)
            .map(|(name, number)| troubled(host(number, name), Status::Warning, "磁盤已滿 /srv/数据 🔥 is 91 % full"))
            .collect();
        let resources = hosts.iter().zip(1..).flat_map(|(host, number)| narrow(host.id, number)).collect();
        Rig::fleet(size, Snapshot { at: NOW, hosts, resources })
    });
}

#[test]
fn groups_have_heads() {
    in_every_size("grouped", |size| {
        let mut rig = Rig::fleet(size, sample::fleet(12));
        rig.keys("b");
        rig
    });
}

#[test]
fn a_host_with_everything() {
    in_every_size("host", Rig::host);
}

#[test]
fn each_panel_zoomed() {
    let ids: Vec<String> = Rig::host((120, 40)).app.host.panels.iter().map(|panel| panel.id.to_string()).collect();
    assert_eq!(ids.len(), 31, "{ids:?}");
    for id in ids {
        in_every_size(&format!("panel_{id}"), |size| {
            let mut rig = Rig::host(size);
            rig.app.host.focus.clone_from(&id);
            rig.keys("e");
            rig
        });
    }
}

/// With readings over the last quarter of an hour.
fn chart(size: (u16, u16)) -> Rig {
    let mut rig = Rig::host(size);
    rig.app.host.focus = "cpu".to_owned();
    rig.keys("<enter>");
    let times: Vec<i64> = (0..90).map(|step| ago(900 - step * 10).millis()).collect();
    let wave = |step: usize| 0.4 + 0.3 * (step as f64 / 7.0).sin();
    let series = tomte_api::history::Series {
        host_id: Some(host_id(7)),
        kind: "cpu".to_owned(),
        name: Some("cpu".to_owned()),
        field: "usage_ratio".to_owned(),
        interval_ms: 10_000,
        t: Some(times),
        mean: Some((0..90).map(|step| (!(40..50).contains(&step)).then(|| wave(step))).collect()),
        ..Default::default()
    };
    let history = tomte_api::history::History { series: vec![series], ..Default::default() };
    let about = |question: &Question| matches!(question, Question::History(query) if !query.series.is_empty());
    rig.answer(about, Ok(Answer::History(history)));
    rig
}

#[test]
fn charts_with_a_gap_and_a_cursor() {
    in_every_size("chart", chart);
    in_every_size("chart_cursor", |size| {
        let mut rig = chart(size);
        rig.keys("hhhhhhhhhh");
        rig
    });
}

#[test]
fn events_and_their_detail() {
    let rig = |size| {
        let mut rig = Rig::fleet(size, sample::fleet(8));
        let page = Page::new(sample::events(60), Some("b3".to_owned()));
        rig.answer(|question| matches!(question, Question::Events(None)), Ok(Answer::Events(page)));
        rig.keys("3");
        rig
    };
    in_every_size("events", rig);
    in_every_size("event_detail", |size| {
        let mut rig = rig(size);
        rig.keys("jj<enter>");
        rig
    });
}

#[test]
fn what_lies_on_top() {
    for (name, keys) in [("help", "?"), ("sort", "s"), ("settings", "o"), ("search", "<ctrl-k>nas")] {
        in_every_size(name, |size| {
            let mut rig = Rig::fleet(size, sample::fleet(25));
            rig.keys(keys);
            rig
        });
    }
}

#[test]
fn one_agent_alone() {
    in_every_size("agent", |size| {
        let mut rig = Rig::with(Config::default(), surroundings(Target::Agent), size);
        rig.event(Event::Connected);
        rig.tell("fleet", Body::Snapshot(Snapshot { at: NOW, hosts: vec![host(1, "laptop")], resources: Vec::new() }));
        let resources = sample::everything(host_id(1));
        rig.tell("host", Body::Snapshot(Snapshot { at: NOW, hosts: Vec::new(), resources }));
        rig
    });
}

#[test]
fn a_screen_too_small_for_anything_is_still_drawn() {
    for size in [(1, 1), (2, 2), (5, 3), (20, 5), (0, 0)] {
        for keys in ["", "?", "s", "o", "<ctrl-k>x", "<enter>", "3", "<enter>e", "<enter><enter>"] {
            let mut rig = Rig::fleet(size, sample::fleet(25));
            rig.keys(keys);
            if size.0 > 0 {
                rig.buffer();
            }
        }
    }
}
