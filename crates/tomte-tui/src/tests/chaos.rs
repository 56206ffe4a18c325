//! Whatever is pressed, clicked, told, answered and resized, in whatever order:
//! it never panics, and every frame fits its screen.

use proptest::prelude::*;
use tomte_api::live::{Delta, ResourceRef};
use tomte_model::Severity;

use super::*;
use crate::sample::{event, fleet, host, host_id};

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    Key(KeyCode, bool),
    Mouse(u16, u16, u8),
    Paste(String),
    Resize(u16, u16),
    Wait(u16),
    Connected,
    Lost,
    Fleet(u32),
    Everything,
    Gone(u32),
    Reading(f64),
    Happened(u32),
    Answer(bool, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let code = prop_oneof![
        12 => prop::char::range(' ', '~').prop_map(KeyCode::Char),
        2 => any::<char>().prop_map(KeyCode::Char),
        10 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down,
            KeyCode::Left, KeyCode::Right, KeyCode::Home, KeyCode::End, KeyCode::PageUp, KeyCode::PageDown,
            KeyCode::Backspace, KeyCode::F(1), KeyCode::F(2),
        ]),
    ];
    prop_oneof![
        // Letters that lead somewhere, more often than the rest.
        20 => prop::sample::select("jkhlgGe/sobf?123rvaLH+-0[]nTTt(J ".chars().map(KeyCode::Char).collect::<Vec<_>>())
            .prop_map(|code| Step::Key(code, false)),
        12 => (code, prop::bool::weighted(0.2)).prop_map(|(code, control)| Step::Key(code, control)),
        5 => (0..260_u16, 0..80_u16, 0..4_u8).prop_map(|(x, y, what)| Step::Mouse(x, y, what)),
        1 => ".{0,40}".prop_map(Step::Paste),
        3 => (0..250_u16, 0..70_u16).prop_map(|(columns, lines)| Step::Resize(columns, lines)),
        2 => (0..9_000_u16).prop_map(Step::Wait),
        1 => Just(Step::Connected),
        1 => Just(Step::Lost),
        2 => (0..30_u32).prop_map(Step::Fleet),
        3 => Just(Step::Everything),
        1 => (0..30_u32).prop_map(Step::Gone),
        2 => prop_oneof![any::<f64>(), 0.0..1.0].prop_map(Step::Reading),
        2 => (0..500_u32).prop_map(Step::Happened),
        3 => (any::<bool>(), any::<u8>()).prop_map(|(ok, what)| Step::Answer(ok, what)),
    ]
}

fn take(rig: &mut Rig, step: Step) {
    match step {
        Step::Key(code, control) => {
            let modifiers = if control { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
            rig.event(Event::Key(KeyEvent::new(code, modifiers)));
        }
        Step::Mouse(x, y, 0..=1) => drop(rig.click(x, y)),
        Step::Mouse(x, y, what) => drop(rig.wheel(x, y, what == 2)),
        Step::Paste(text) => drop(rig.event(Event::Paste(text))),
        Step::Resize(columns, lines) => drop(rig.event(Event::Resize(columns, lines))),
        Step::Wait(seconds) => drop(rig.later(seconds.into())),
        Step::Connected => drop(rig.event(Event::Connected)),
        Step::Lost => drop(rig.event(Event::Lost("gone".to_owned()))),
        Step::Fleet(count) => drop(rig.tell("fleet", Body::Snapshot(fleet(count)))),
        Step::Everything => {
            let id = rig.app.host.id.unwrap_or(host_id(0));
            let resources = sample::everything(id);
            rig.tell("host", Body::Snapshot(Snapshot { at: NOW, hosts: Vec::new(), resources }));
        }
        Step::Gone(number) => {
            let id = host_id(number);
            let gone = ResourceRef { host_id: id, kind: "filesystem".to_owned(), name: "/srv/tank".to_owned() };
            let delta = Delta {
                at: NOW,
                hosts: vec![host(99, "new")],
                removed_hosts: vec![id],
                resources: Vec::new(),
                removed: vec![gone],
            };
            rig.tell("fleet", Body::Delta(delta.clone())).tell("host", Body::Delta(delta));
        }
        Step::Reading(value) => {
            let id = rig.app.host.id.unwrap_or(host_id(0));
            let mut resource = sample::resource(id, "cpu", "cpu", &[("usage_ratio", value), ("odd", -value)]);
            resource.at = rig.now;
            let change = tomte_api::live::ResourceDelta::between(None, &resource).unwrap();
            let delta = Delta {
                at: NOW,
                hosts: Vec::new(),
                removed_hosts: Vec::new(),
                resources: vec![change],
                removed: Vec::new(),
            };
            rig.tell("fleet", Body::Delta(delta.clone())).tell("host", Body::Delta(delta));
        }
        Step::Happened(number) => {
            let event = event(number, Severity::Warning, "something 倉庫 🔥");
            rig.tell("fleet", Body::Event(Box::new(tomte_api::live::EventMessage { event })));
        }
        Step::Answer(ok, what) => {
            let asked = rig.effects.iter().rev().filter_map(|effect| match effect {
                Effect::Ask(number, question) => Some((*number, question.clone())),
                _ => None,
            });
            let Some((number, question)) = asked.take(3).nth(usize::from(what % 3)) else { return };
            let answer = match question {
                Question::Catalogue => Answer::Catalogue(Vec::new()),
                Question::Events(_) => {
                    let page = sample::events(u32::from(what));
                    Answer::Events(tomte_api::Page::new(page, (what % 2 == 0).then(|| "b1".to_owned())))
                }
                Question::History(_) => Answer::History(odd_history(rig.app.host.id.unwrap_or(host_id(0)), what)),
                Question::Moment { .. } => {
                    let Snapshot { hosts, .. } = fleet(u32::from(what % 12));
                    let id = rig.app.host.id.unwrap_or(host_id(0));
                    Answer::Moment { hosts, resources: sample::everything(id), history: odd_history(id, what) }
                }
                Question::Search(_) => Answer::Found(sample::everything(host_id(u32::from(what)))),
            };
            rig.event(Event::Answer(number, if ok { Ok(Box::new(answer)) } else { Err("refused".to_owned()) }));
        }
    }
}

/// What no hub should say, but one might.
fn odd_history(id: tomte_model::HostId, what: u8) -> tomte_api::history::History {
    let odd = [Some(0.0), None, Some(f64::MAX), Some(-1e300), Some(f64::INFINITY), Some(f64::NAN)];
    let values: Vec<Option<f64>> = odd.into_iter().cycle().take(what.into()).collect();
    let times = (0..i64::from(what)).map(|n| if n % 7 == 6 { i64::MAX - n } else { NOW.millis() - n * 977 }).collect();
    let series = tomte_api::history::Series {
        host_id: Some(id),
        kind: "cpu".to_owned(),
        name: Some("cpu".to_owned()),
        field: "usage_ratio".to_owned(),
        interval_ms: if what.is_multiple_of(5) { u64::MAX } else { 1_000 },
        t: Some(times),
        mean: Some(values),
        ..Default::default()
    };
    tomte_api::history::History {
        step_ms: what.is_multiple_of(3).then_some(u64::MAX),
        series: vec![series],
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_it_panic(steps in prop::collection::vec(step(), 1..90)) {
        let mut rig = Rig::fleet((80, 24), fleet(9));
        for step in steps {
            take(&mut rig, step);
            // Those of long ago are not answered any more.
            let surplus = rig.effects.len().saturating_sub(40);
            rig.effects.drain(..surplus);
            let buffer = rig.buffer();
            let wrong = buffer.content.iter().find(|cell| cell.symbol().chars().any(crate::text::forbidden));
            prop_assert!(wrong.is_none(), "{wrong:?}");
        }
    }
}
