#![allow(clippy::unwrap_used)]

use serde_json::Value as Json;
use tomte_model::{BootId, EventId, Facet, HostId, Position, Report, Scope, Severity, Status, Timestamp};

use crate::protocol::Qos;

use super::*;

struct House {
    latest: Latest,
    catalogue: Catalogue,
    sequence: u64,
    seconds: u64,
}

impl House {
    fn new() -> Self {
        Self { latest: Latest::default(), catalogue: Catalogue::builtin(), sequence: 0, seconds: 0 }
    }

    fn now(&self) -> Moment {
        let millis = self.seconds * 1000;
        Moment { wall: Timestamp::from_millis(1_800_000_000_000 + millis as i64), boot_millis: millis }
    }

    fn sees(&mut self, collector: &'static str, facets: Vec<Facet>) {
        self.sequence += 1;
        let report = Report {
            host: HostId::from_parts(1, 2),
            collector: collector.into(),
            position: Position { epoch: 1, sequence: self.sequence },
            boot_id: BootId(1),
            moment: self.now(),
            clock_synchronised: true,
            interval_millis: 10_000,
            scopes: vec![Scope::complete(collector, facets)],
            events: Vec::new(),
        };
        self.latest.apply(&report, report.moment.wall);
    }

    fn load(&mut self, load1: f64) {
        let mut facet = Facet::owner("load", "load", "main");
        facet.read("load1", load1);
        self.sees("load", vec![facet]);
    }

    fn mounts(&mut self, names: &[&str]) {
        let facet = |name: &&str| {
            let mut facet = Facet::owner("filesystem", *name, "main");
            facet.read("used_ratio", 0.5);
            facet.assessment = Some(tomte_model::Assessment::ok());
            facet
        };
        self.sees("filesystem", names.iter().map(facet).collect());
    }

    /// Everything that is due, batch after batch.
    fn due(&self, publisher: &mut Publisher) -> Vec<Publish> {
        let mut all = Vec::new();
        loop {
            let some = publisher.look(&self.latest, &self.catalogue, self.now());
            assert!(some.len() < 200, "batches are bounded");
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }
}

fn publisher_of(name: &str, style: Style, kept: Kept) -> Publisher {
    let options = Options {
        host: HostId::from_parts(1, 2),
        name: name.into(),
        prefix: "tomte".into(),
        pace: Pace {
            interval: Duration::from_secs(10),
            keep_alive: Duration::from_secs(300),
            state: Qos::AtMostOnce,
            discovery: Qos::AtLeastOnce,
            event: Qos::AtLeastOnce,
        },
        discovery: Some(Discovery { style, prefix: "homeassistant".into(), sub_devices: false }),
        shows: Box::new(|what| !what.starts_with("core:")),
        values_at: 0,
        hub_availability: None,
        version: "1".into(),
    };
    let mut publisher = Publisher::new(options, kept);
    publisher.connected();
    publisher
}

fn publisher(style: Style) -> Publisher {
    publisher_of("nas", style, Kept::default())
}

fn topics(messages: &[Publish]) -> Vec<&str> {
    messages.iter().map(|message| message.topic.as_str()).collect()
}

fn of<'a>(messages: &'a [Publish], topic: &str) -> Vec<&'a str> {
    let of = messages.iter().filter(|message| message.topic == topic);
    of.map(|message| std::str::from_utf8(&message.payload).unwrap()).collect()
}

const LOAD: &str = "tomte/nas/load/load/load1";
const CONFIG: &str = "homeassistant/sensor/tomte_00000000010000000000000002/load-load-load1/config";

#[test]
fn a_value_is_sent_when_it_changes_and_to_keep_it_alive() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Entity);
    house.load(0.5);
    let first = house.due(&mut publisher);
    assert_eq!(of(&first, "tomte/nas/availability"), ["online"]);
    assert_eq!(of(&first, LOAD), ["0.5"]);
    assert!(first.iter().all(|message| message.retain));
    let config: Json = serde_json::from_str(of(&first, CONFIG)[0]).unwrap();
    assert_eq!((&config["state_topic"], &config["expire_after"]), (&LOAD.into(), &900.into()));
    let place = |topic| topics(&first).iter().position(|known| *known == topic);
    assert!(place(CONFIG) < place(LOAD), "first what it is, then how much");
    house.seconds = 3;
    assert_eq!(of(&house.due(&mut publisher), LOAD), ["0.5"], "again after its announcement");

    house.seconds = 5;
    house.load(0.7);
    assert!(of(&house.due(&mut publisher), LOAD).is_empty(), "not more often than the interval");
    house.seconds = 10;
    house.load(0.7);
    assert_eq!(topics(&house.due(&mut publisher)), [LOAD]);
    house.seconds = 20;
    house.load(0.7);
    assert!(house.due(&mut publisher).is_empty(), "nothing changed");
    house.seconds = 310;
    house.load(0.7);
    assert_eq!(of(&house.due(&mut publisher), LOAD), ["0.7"]);
}

#[test]
fn what_is_stale_is_left_to_expire_and_what_is_missing_is_told() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Entity);
    house.load(0.5);
    house.due(&mut publisher);
    house.seconds = 400;
    assert!(of(&house.due(&mut publisher), LOAD).is_empty(), "not read for minutes");
    house.sees("load", vec![Facet::owner("load", "load", "main")]);
    assert_eq!(of(&house.due(&mut publisher), LOAD), ["None"]);
    house.seconds = 410;
    assert!(of(&house.due(&mut publisher), LOAD).is_empty());
}

#[test]
fn everything_is_told_again_on_every_connection_and_birth() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Entity);
    house.load(0.5);
    let first = house.due(&mut publisher);
    publisher.connected();
    assert_eq!(topics(&house.due(&mut publisher)), topics(&first));
    publisher.birth(3_000);
    assert!(house.due(&mut publisher).is_empty(), "not all hosts at once");
    house.seconds = 3;
    let again = house.due(&mut publisher);
    assert_eq!(of(&again, LOAD), ["0.5"]);
    assert_eq!(of(&again, CONFIG).len(), 1);
}

#[test]
fn what_is_gone_for_good_is_taken_back_and_that_is_repeated() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Entity);
    house.mounts(&["/", "/mnt/usb"]);
    let first = house.due(&mut publisher);
    let usb: Vec<_> = topics(&first).into_iter().filter(|topic| topic.contains("usb")).map(str::to_owned).collect();
    assert_eq!(usb.len(), 4, "two entities, two values: {usb:?}");
    house.mounts(&["/"]);
    let mut gone = house.due(&mut publisher);
    assert!(gone.iter().all(|message| !message.payload.is_empty() || message.topic.ends_with("/config")));
    house.seconds = 5;
    gone.extend(house.due(&mut publisher));
    let mut emptied: Vec<_> = gone.iter().filter(|message| message.payload.is_empty()).collect();
    emptied.retain(|message| message.retain);
    assert_eq!(emptied.len(), 4);
    assert!(emptied.iter().all(|message| usb.contains(&message.topic)));
    publisher.birth(0);
    let again = house.due(&mut publisher);
    assert_eq!(
        again.iter().filter(|message| message.payload.is_empty()).count(),
        2,
        "Home Assistant may have been away"
    );
    house.mounts(&["/", "/mnt/usb"]);
    house.due(&mut publisher);
    publisher.birth(0);
    assert!(house.due(&mut publisher).iter().all(|message| !message.payload.is_empty()), "it came back");
}

#[test]
fn a_new_name_empties_the_old_topics_and_keeps_the_ids() {
    let mut house = House::new();
    let mut before = publisher(Style::Entity);
    house.load(0.5);
    let old = house.due(&mut before);
    let kept = serde_json::to_string(&before.kept_if_changed().unwrap()).unwrap();
    let mut after = publisher_of("attic", Style::Entity, serde_json::from_str(&kept).unwrap());
    let mut new = house.due(&mut after);
    assert!(of(&new, LOAD).is_empty(), "Home Assistant may still listen there");
    house.seconds = 20;
    new.extend(house.due(&mut after));
    assert_eq!(of(&new, LOAD), [""]);
    assert_eq!(of(&new, "tomte/nas/availability"), [""]);
    assert_eq!(of(&new, "tomte/attic/load/load/load1"), ["0.5"; 2], "again, since Home Assistant knew the entity");
    let config = |messages: &[Publish]| serde_json::from_str::<Json>(of(messages, CONFIG)[0]).unwrap();
    assert_eq!(config(&old)["unique_id"], config(&new)["unique_id"]);
    assert_ne!(config(&old)["state_topic"], config(&new)["state_topic"]);
}

#[test]
fn values_are_told_again_where_home_assistant_may_have_taken_an_entity_for_changed() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Entity);
    house.load(0.5);
    // New to this run; but another may have spoken for the host before, and have
    // announced it otherwise.
    let said = house.due(&mut publisher);
    assert_eq!((of(&said, CONFIG).len(), of(&said, LOAD)), (1, vec!["0.5"]));
    house.seconds = 3;
    let again = house.due(&mut publisher);
    assert_eq!((of(&again, CONFIG).len(), of(&again, LOAD)), (0, vec!["0.5"]));
    house.seconds = 6;
    assert!(house.due(&mut publisher).is_empty(), "once");
    publisher.connected();
    let said = house.due(&mut publisher);
    assert_eq!((of(&said, CONFIG).len(), of(&said, LOAD)), (1, vec!["0.5"]));
    house.seconds = 9;
    assert_eq!(of(&house.due(&mut publisher), LOAD), ["0.5"]);
}

/// A slow collector comes later than the new name: as long as an entity is not
/// announced anew, Home Assistant listens at the old place.
#[test]
fn under_a_former_name_nothing_is_emptied_that_is_not_said_under_the_new_one() {
    const OLD: &str = "tomte/nas/filesystem/%2F/status";
    let mut house = House::new();
    let mut before = publisher(Style::Entity);
    house.load(0.5);
    house.mounts(&["/", "/mnt/usb"]);
    house.due(&mut before);
    house.mounts(&["/"]);
    house.due(&mut before);
    // It goes on as somebody else, who has not looked at file systems yet.
    let kept = serde_json::to_string(&before.kept_if_changed().unwrap()).unwrap();
    let mut after = publisher_of("attic", Style::Entity, serde_json::from_str(&kept).unwrap());
    (house.latest, house.sequence) = (Latest::default(), 0);
    house.load(0.5);
    let mut said = house.due(&mut after);
    house.seconds += 60;
    said.extend(house.due(&mut after));
    assert_eq!(of(&said, LOAD), [""]);
    assert_eq!(of(&said, "tomte/nas/filesystem/%2Fmnt%2Fusb/status"), [""], "it was gone before");
    assert!(of(&said, OLD).is_empty());
    house.mounts(&["/"]);
    let new = house.due(&mut after);
    assert_eq!(of(&new, "tomte/attic/filesystem/%2F/used_ratio"), ["0.5"]);
    assert!(of(&new, OLD).is_empty(), "Home Assistant turns there now");
    house.seconds += 20;
    assert_eq!(of(&house.due(&mut after), OLD), [""]);
    assert!(!serde_json::to_string(&after.kept_if_changed().unwrap()).unwrap().contains("tomte/nas/"));
}

#[test]
fn what_a_restart_no_longer_sees_is_emptied_after_a_day() {
    let mut house = House::new();
    let mut before = publisher(Style::Entity);
    house.mounts(&["/", "/mnt/usb"]);
    house.due(&mut before);
    let mut after = publisher_of("nas", Style::Entity, before.kept_if_changed().unwrap());
    house.latest = Latest::default();
    house.sequence = 0;
    house.mounts(&["/"]);
    assert!(house.due(&mut after).iter().all(|message| !message.payload.is_empty()), "it may only not be read yet");
    house.seconds = 86_400;
    house.mounts(&["/"]);
    let mut emptied = house.due(&mut after);
    house.seconds += 5;
    emptied.extend(house.due(&mut after));
    assert_eq!(emptied.iter().filter(|message| message.payload.is_empty()).count(), 4);
}

#[test]
fn a_device_is_one_message_and_migrates_both_ways() {
    let mut house = House::new();
    let mut alone = publisher(Style::Entity);
    house.mounts(&["/"]);
    house.load(1.0);
    house.due(&mut alone);
    let kept = alone.kept_if_changed().unwrap();
    let single: Vec<_> = kept.topics.iter().filter(|topic| topic.ends_with("/config")).cloned().collect();

    let mut together = publisher_of("nas", Style::Device, kept);
    let messages = house.due(&mut together);
    let device = "homeassistant/device/tomte_00000000010000000000000002/config";
    let place = messages.iter().position(|message| message.topic == device).unwrap();
    let payload: Json = serde_json::from_slice(&messages[place].payload).unwrap();
    assert_eq!(payload["components"].as_object().unwrap().len(), single.len(), "{payload}");
    for topic in &single {
        let order: Vec<_> = messages.iter().enumerate().filter(|(_, message)| message.topic == *topic).collect();
        assert!(order[0].0 < place && order[0].1.payload == MIGRATE, "{topic} is let go of first");
        assert!(order[1].0 > place && order[1].1.payload.is_empty(), "{topic} is emptied last");
        assert_eq!(order.len(), 2);
    }
    together.connected();
    let again = house.due(&mut together);
    assert!(again.iter().all(|message| !single.contains(&message.topic)), "Home Assistant would complain of each");
    house.seconds = 60;
    house.mounts(&[]);
    let messages = house.due(&mut together);
    let payload: Json = serde_json::from_str(of(&messages, device)[0]).unwrap();
    assert_eq!(payload["components"]["filesystem-_2f-used_ratio"], json!({ "platform": "sensor" }), "named once more");

    let mut back = publisher_of("nas", Style::Entity, together.kept_if_changed().unwrap());
    let messages = house.due(&mut back);
    let order = of(&messages, device);
    assert_eq!(order, [MIGRATE, ""]);
    let emptied = messages.iter().position(|message| message.topic == device && message.payload.is_empty());
    assert!(messages.iter().position(|message| message.topic == CONFIG) < emptied);
}

#[test]
fn the_hosts_status_lists_what_is_wrong() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Entity);
    let mut facet = Facet::owner("filesystem", "/", "main");
    facet.read("used_ratio", 0.97);
    facet.assessment = Some(tomte_model::Assessment::of(vec![tomte_model::Problem {
        field: "used_ratio".into(),
        status: Status::Critical,
        reason: "/ is 97 % full".into(),
        since: Timestamp::default(),
    }]));
    house.sees("filesystem", vec![facet]);
    let messages = house.due(&mut publisher);
    let status: Json = serde_json::from_str(of(&messages, "tomte/nas/status")[0]).unwrap();
    assert_eq!(status["status"], "critical");
    assert_eq!(status["problems"][0]["subject"], "filesystem:/");
    let own: Json = serde_json::from_str(of(&messages, "tomte/nas/filesystem/%2F/status")[0]).unwrap();
    assert_eq!(own, json!({ "status": "critical", "reason": "/ is 97 % full" }));
}

#[test]
fn events_are_not_retained_and_the_oldest_go_first() {
    let house = House::new();
    let mut publisher = publisher(Style::Entity);
    let event = |number: usize, kind: EventKind| Event {
        id: EventId::from_parts(1, number as u128),
        at: Timestamp::default(),
        source: "agent".into(),
        kind,
        severity: Severity::Info,
        subject: None,
        correlation_id: None,
        message: format!("number {number}"),
        details: BTreeMap::new(),
    };
    for number in 0..MOST_EVENTS + 5 {
        publisher.event(&event(number, EventKind::STATUS_CHANGED));
    }
    publisher.event(&event(1000, EventKind("reef_bleached".into())));
    let messages = house.due(&mut publisher);
    let events: Vec<_> = messages.iter().filter(|message| message.topic == "tomte/nas/events").collect();
    assert_eq!(events.len(), MOST_EVENTS);
    assert!(events.iter().all(|message| !message.retain && message.qos == Qos::AtLeastOnce));
    let first: Json = serde_json::from_slice(&events[0].payload).unwrap();
    assert_eq!((&first["event_type"], &first["message"]), (&"status_changed".into(), &"number 6".into()));
    let last: Json = serde_json::from_slice(&events[MOST_EVENTS - 1].payload).unwrap();
    assert_eq!((&last["event_type"], &last["type"]), (&"other".into(), &"reef_bleached".into()));
}

#[test]
fn what_is_not_to_be_shown_is_not() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Entity);
    let mut facet = Facet::owner("core", "0", "main");
    facet.read("usage_ratio", 0.5);
    house.sees("core", vec![facet]);
    assert!(topics(&house.due(&mut publisher)).iter().all(|topic| !topic.contains("core")));
}

#[test]
fn a_restart_takes_no_component_away_that_it_has_not_read_yet() {
    let mut house = House::new();
    let device = "homeassistant/device/tomte_00000000010000000000000002/config";
    let mut before = publisher(Style::Device);
    house.load(1.0);
    house.mounts(&["/"]);
    house.due(&mut before);
    let mut after = publisher_of("nas", Style::Device, before.kept_if_changed().unwrap());
    house.latest = Latest::default();
    house.sequence = 0;
    house.load(1.0);
    let first: Json = serde_json::from_str(of(&house.due(&mut after), device)[0]).unwrap();
    let components = first["components"].as_object().unwrap();
    assert!(components.keys().all(|key| !key.starts_with("filesystem")), "neither named nor taken back: {first}");
    house.seconds = 86_400;
    house.load(1.0);
    after.connected();
    let later: Json = serde_json::from_str(of(&house.due(&mut after), device)[0]).unwrap();
    assert_eq!(later["components"]["filesystem-_2f-used_ratio"], json!({ "platform": "sensor" }));
}

fn with_sub_devices(style: Style, kept: Kept) -> Publisher {
    let mut publisher = publisher_of("nas", style, kept);
    publisher.options.discovery.as_mut().unwrap().sub_devices = true;
    publisher
}

fn disk(name: &str) -> Facet {
    let mut facet = Facet::owner("disk", name, "io");
    facet.read("read_bytes_per_second", 1.0);
    facet
}

#[test]
fn sub_devices_belong_to_the_host_and_leave_nothing_behind_when_switched() {
    let mut house = House::new();
    house.sees("disk", vec![disk("sda")]);
    let mut flat = publisher(Style::Entity);
    let below: Vec<_> = topics(&house.due(&mut flat))
        .into_iter()
        .filter(|topic| topic.ends_with("/config"))
        .map(str::to_owned)
        .collect();
    let own = below.iter().find(|topic| topic.contains("disk-sda-read")).unwrap().clone();

    let mut apart = with_sub_devices(Style::Entity, flat.kept_if_changed().unwrap());
    let messages = house.due(&mut apart);
    assert_eq!(of(&messages, &own), [""], "it is another device's now");
    let moved = "homeassistant/sensor/tomte_00000000010000000000000002-disk-sda/disk-sda-read_bytes_per_second/config";
    assert!(of(&messages, moved).is_empty(), "Home Assistant lets go of it first");
    assert_eq!(apart.next_at(), Some(2_000));
    house.seconds = 2;
    let messages = house.due(&mut apart);
    let config: Json = serde_json::from_str(of(&messages, moved)[0]).unwrap();
    assert_eq!(config["device"]["via_device"], "tomte_00000000010000000000000002");
    assert_eq!(config["name"], "Read rate");
    assert_eq!(config["unique_id"], "tomte_00000000010000000000000002-disk-sda-read_bytes_per_second");
    assert_eq!(config["default_entity_id"], "sensor.nas_disk_sda_read_bytes_per_second");

    let mut back = publisher_of("nas", Style::Entity, apart.kept_if_changed().unwrap());
    let messages = house.due(&mut back);
    assert_eq!((of(&messages, moved), of(&messages, &own).len()), (vec![""], 0));
    house.seconds = 4;
    let again: Json = serde_json::from_str(of(&house.due(&mut back), &own)[0]).unwrap();
    assert_eq!(again["unique_id"], config["unique_id"], "its history goes on");
    assert_eq!(again["default_entity_id"], config["default_entity_id"]);
    assert!(back.kept.topics.iter().all(|topic| !topic.contains("-disk-sda/")), "{:?}", back.kept.topics);
}

/// In one message for a device, too, an entity is taken back at one before it
/// is announced at the other; and so it is where both are switched at once.
#[test]
fn components_are_never_at_two_devices_at_once() {
    const HOST: &str = "homeassistant/device/tomte_00000000010000000000000002/config";
    const SDA: &str = "homeassistant/device/tomte_00000000010000000000000002-disk-sda/config";
    const KEY: &str = "disk-sda-read_bytes_per_second";
    let mut house = House::new();
    house.load(1.0);
    house.sees("disk", vec![disk("sda")]);
    let told = |messages: &[Publish], topic: &str| {
        let last = of(messages, topic).last().map(|text| serde_json::from_str::<Json>(text).unwrap_or_default());
        last.map(|message| message["components"].get(KEY).cloned().unwrap_or_default())
    };
    let gone = Some(json!({ "platform": "sensor" }));
    let mut flat = publisher(Style::Device);
    assert!(told(&house.due(&mut flat), HOST).unwrap()["unique_id"].is_string());

    let mut apart = with_sub_devices(Style::Device, flat.kept_if_changed().unwrap());
    let messages = house.due(&mut apart);
    assert_eq!((told(&messages, HOST), told(&messages, SDA)), (gone, None), "named once, to be let go of");
    house.seconds += 2;
    let messages = house.due(&mut apart);
    assert_eq!(told(&messages, HOST), Some(Json::Null), "and no more");
    assert!(told(&messages, SDA).unwrap()["unique_id"].is_string());

    let mut back = publisher_of("nas", Style::Device, apart.kept_if_changed().unwrap());
    let messages = house.due(&mut back);
    assert_eq!((of(&messages, SDA), told(&messages, HOST)), (vec![""], Some(Json::Null)));
    house.seconds += 2;
    assert!(told(&house.due(&mut back), HOST).unwrap()["unique_id"].is_string());

    let mut other = with_sub_devices(Style::Entity, back.kept_if_changed().unwrap());
    let moved = "homeassistant/sensor/tomte_00000000010000000000000002-disk-sda/disk-sda-read_bytes_per_second/config";
    let messages = house.due(&mut other);
    assert_eq!((of(&messages, HOST), of(&messages, moved).len()), (vec![MIGRATE, ""], 0));
    house.seconds += 2;
    assert_eq!(of(&house.due(&mut other), moved).len(), 1);
}

/// What an earlier run announced in a device's message and this one has not
/// read yet is not taken away by a change of the style.
#[test]
fn a_sub_device_that_is_not_read_yet_is_let_go_of_only_when_it_is() {
    const SDA: &str = "homeassistant/device/tomte_00000000010000000000000002-disk-sda/config";
    let mut house = House::new();
    house.load(1.0);
    house.sees("disk", vec![disk("sda")]);
    let mut together = with_sub_devices(Style::Device, Kept::default());
    house.due(&mut together);
    let mut alone = with_sub_devices(Style::Entity, together.kept_if_changed().unwrap());
    (house.latest, house.sequence) = (Latest::default(), 0);
    house.load(1.0);
    assert!(of(&house.due(&mut alone), SDA).is_empty());
    house.sees("disk", vec![disk("sda")]);
    assert_eq!(of(&house.due(&mut alone), SDA), [MIGRATE, ""]);
}

#[test]
fn a_guests_device_is_called_what_people_call_it() {
    let mut house = House::new();
    let mut publisher = with_sub_devices(Style::Entity, Kept::default());
    let mut guest = |name: &str| {
        let mut facet = Facet::owner("guest", "101", "runtime");
        facet.read("cpu_ratio", 0.5);
        facet.text("type", "lxc");
        if !name.is_empty() {
            facet.text("name", name);
        }
        house.sees("guest", vec![facet]);
        let config = "homeassistant/sensor/tomte_00000000010000000000000002-guest-101/guest-101-cpu_ratio/config";
        let messages = house.due(&mut publisher);
        of(&messages, config).first().map(|text| serde_json::from_str::<Json>(text).unwrap())
    };
    let nameless = guest("").unwrap();
    assert_eq!(nameless["device"]["name"], "nas guest 101");
    let dns = guest("dns").expect("its device is called otherwise now");
    assert_eq!((&dns["device"]["name"], &dns["device"]["model"]), (&"nas guest dns".into(), &"lxc".into()));
    assert_eq!(
        (&dns["unique_id"], &dns["default_entity_id"]),
        (&nameless["unique_id"], &nameless["default_entity_id"])
    );
    assert!(guest("dns").is_none());
}

/// A reading every twelve seconds is never late, whatever else is said of it
/// meanwhile: announced anew, told again after that, kept alive.
#[test]
fn what_is_told_again_holds_no_change_up() {
    for style in [Style::Entity, Style::Device] {
        let mut house = House::new();
        let mut publisher = publisher(style);
        house.load(0.0);
        house.due(&mut publisher);
        let mut told_again = 0;
        for second in 1..=600 {
            house.seconds = second;
            match second {
                // A slow collector is the first to tell what this runs on.
                40 => {
                    let mut os = Facet::owner("os", "os", "main");
                    os.text("name", "Debian");
                    house.sees("os", vec![os]);
                }
                // Home Assistant starts.
                150 => publisher.birth(150_000),
                // Something comes that was not there before.
                271 => house.mounts(&["/"]),
                _ => {}
            }
            let reading = second % 12 == 0 && !(300..=540).contains(&second);
            if reading {
                house.load(second as f64);
            }
            let messages = house.due(&mut publisher);
            let said = of(&messages, LOAD);
            if reading {
                assert_eq!(said, [second.to_string()], "{style:?}: late");
            } else {
                told_again += said.len();
            }
        }
        // After the first announcement anew, at the birth, and after that.
        assert!(told_again >= 3, "{told_again}");
    }
}

/// The first values wait for the start's delay; what comes after them does not
/// wait for that again, reading after reading.
#[test]
fn what_was_held_up_at_the_start_holds_nothing_else_up() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Device);
    publisher.options.values_at = 5_000;
    let mut late = Vec::new();
    let mut read = 0;
    for second in 0..90 {
        house.seconds = second;
        // At the start, and then in step with a clock that hosts do not share.
        if second == 0 || second % 12 == 7 {
            read = second;
            house.load(second as f64);
        }
        for said in of(&house.due(&mut publisher), LOAD) {
            assert_eq!(said, read.to_string());
            late.push(second - read);
        }
    }
    assert_eq!(late, [5, 3, 0, 0, 0, 0, 0, 0], "the second one came ten seconds after the first was read");
}

/// What changed too soon after the last change is due when its time has come,
/// not with whatever wakes the publisher next.
#[test]
fn what_was_held_back_has_its_time() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Entity);
    house.load(0.5);
    house.due(&mut publisher);
    assert_eq!(publisher.next_at(), Some(3_000), "again after its announcement");
    house.seconds = 3;
    house.due(&mut publisher);
    assert_eq!(publisher.next_at(), None);
    house.seconds = 4;
    house.load(0.7);
    house.due(&mut publisher);
    assert_eq!(publisher.next_at(), Some(10_000));
    house.seconds = 10;
    assert_eq!(of(&house.due(&mut publisher), LOAD), ["0.7"]);
    assert_eq!(publisher.next_at(), None);
    house.seconds = 11;
    house.load(0.8);
    house.due(&mut publisher);
    publisher.lost();
    assert_eq!(publisher.next_at(), None, "nothing is due while there is no connection");
}

#[test]
fn what_waits_to_be_emptied_again_does_not_empty_what_is_filled_again() {
    let mut house = House::new();
    let mut before = publisher(Style::Entity);
    let names: Vec<String> = (0..100).map(|number| format!("/mnt/{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    house.mounts(&names);
    house.due(&mut before);
    house.mounts(&[]);
    house.due(&mut before);
    house.mounts(&names);
    // All of them wait to be taken back once more, and are there again.
    let mut after = publisher_of("nas", Style::Entity, before.kept_if_changed().unwrap());
    let messages = house.due(&mut after);
    let mut last = BTreeMap::new();
    for message in messages.iter().filter(|message| message.topic.ends_with("used_ratio/config")) {
        last.insert(&message.topic, !message.payload.is_empty());
    }
    assert_eq!(last.len(), 100);
    assert!(last.values().all(|filled| *filled), "{last:?}");
}

#[test]
fn a_sub_device_goes_with_what_it_is_made_of() {
    let mut house = House::new();
    house.sees("disk", vec![disk("sda"), disk("sdb")]);
    let mut publisher = with_sub_devices(Style::Device, Kept::default());
    let sdb = "homeassistant/device/tomte_00000000010000000000000002-disk-sdb/config";
    assert_eq!(of(&house.due(&mut publisher), sdb).len(), 1);
    house.sees("disk", vec![disk("sda")]);
    assert_eq!(of(&house.due(&mut publisher), sdb), [""]);
}

#[test]
fn who_says_otherwise_of_the_host_is_put_right() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Entity);
    house.load(1.0);
    house.due(&mut publisher);
    let said = |text: &str, retain| Publish {
        retain,
        ..Publish::retained("tomte/nas/availability".into(), text, Qos::AtMostOnce)
    };
    for message in [said("online", false), said("offline", true)] {
        publisher.heard(&message);
        house.seconds += 10;
        assert!(of(&house.due(&mut publisher), "tomte/nas/availability").is_empty(), "own words, or old ones");
    }
    publisher.heard(&said("offline", false));
    assert_eq!(of(&house.due(&mut publisher), "tomte/nas/availability"), ["online"]);
    publisher.heard(&said("offline", false));
    assert!(of(&house.due(&mut publisher), "tomte/nas/availability").is_empty(), "not as fast as it is said");
    house.seconds += 10;
    assert_eq!(of(&house.due(&mut publisher), "tomte/nas/availability"), ["online"]);
}

#[test]
fn a_hub_speaks_for_hosts_that_come_and_go() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Entity);
    publisher.frame.hub_availability = Some("tomte/@hub/availability".into());
    house.load(1.0);
    let messages = house.due(&mut publisher);
    let config: Json = serde_json::from_str(of(&messages, CONFIG)[0]).unwrap();
    let both = json!([{ "topic": "tomte/@hub/availability" }, { "topic": "tomte/nas/availability" }]);
    assert_eq!((&config["availability"], &config["availability_mode"]), (&both, &"all".into()));
    let connected = "homeassistant/binary_sensor/tomte_00000000010000000000000002/connected/config";
    let config: Json = serde_json::from_str(of(&messages, connected)[0]).unwrap();
    assert_eq!(config["availability"], json!([{ "topic": "tomte/@hub/availability" }]), "it tells of the host");
    publisher.set_online(false);
    assert_eq!(of(&house.due(&mut publisher), "tomte/nas/availability"), ["offline"]);
    publisher.set_online(true);
    assert_eq!(of(&house.due(&mut publisher), "tomte/nas/availability"), ["online"]);
}

#[test]
fn discovery_comes_before_the_first_values_are_due() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Entity);
    publisher.options.values_at = 5_000;
    house.load(1.0);
    let first = house.due(&mut publisher);
    assert_eq!((of(&first, CONFIG).len(), of(&first, LOAD).len()), (1, 0));
    house.seconds = 5;
    let then = house.due(&mut publisher);
    assert_eq!((of(&then, CONFIG).len(), of(&then, LOAD).len()), (0, 1));
}

#[test]
fn packages_and_the_agent_are_updates_where_somebody_knows() {
    let mut house = House::new();
    let mut publisher = publisher(Style::Entity);
    let mut agent = Facet::owner("agent", "agent", "main");
    agent.text("version", "0.1.0");
    let mut updates = Facet::owner("updates", "updates", "main");
    updates.read("pending", 12.0);
    updates.read("security", 3.0);
    updates.text("manager", "apt");
    house.sees("own", vec![agent, updates]);
    let messages = house.due(&mut publisher);
    let packages: Json = serde_json::from_str(of(&messages, "tomte/nas/updates/updates/update")[0]).unwrap();
    assert_eq!(
        packages,
        json!({
            "installed_version": "12 pending", "latest_version": "all installed", "title": "Packages (apt)",
            "release_summary": "3 of them for security",
        })
    );
    assert_eq!(
        messages.iter().filter(|message| message.topic.contains("/update/")).count(),
        1,
        "of the agent nobody knows"
    );
    publisher.set_newest(Some("0.2.0".into()));
    let messages = house.due(&mut publisher);
    let agent: Json = serde_json::from_str(of(&messages, "tomte/nas/agent/agent/update")[0]).unwrap();
    assert_eq!((&agent["installed_version"], &agent["latest_version"]), (&"0.1.0".into(), &"0.2.0".into()));
    let config: Json = serde_json::from_str(
        of(&messages, "homeassistant/update/tomte_00000000010000000000000002/agent-agent-update/config")[0],
    )
    .unwrap();
    assert_eq!((&config["name"], config.get("expire_after")), (&"Agent".into(), None), "an update does not expire");
}
