#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]
//! The real agent, its helper that runs commands and the real mosquitto, with
//! mosquitto's own clients as those who ask. A list of commands has to be
//! root's, so without root there is nothing to test, and that is said.

mod support;
mod units;

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use support::{House, is_root, until};

#[test]
fn a_request_is_run_answered_once_and_noted() {
    let Some(house) = House::new() else { return };
    let mut responses = house.listen("tomte/nas/responses");
    let _agent = house.agent();
    house.ready();
    house.ask(r#"{"command":"whoami","request_id":"r1"}"#);
    let answer = responses.json(|answer| answer["request_id"] == "r1");
    assert_eq!((&answer["status"], &answer["exit_code"]), (&"completed".into(), &0.into()), "{answer}");
    assert_eq!(answer["output"], "nobody\n");
    assert!(answer["duration_seconds"].is_f64() && answer["hostname"] == "nas");
    // Delivered again: the same answer, and no second run.
    house.ask(r#"{"command":"whoami","request_id":"r1"}"#);
    let again = responses.json(|answer| answer["request_id"] == "r1");
    assert_eq!((&again["status"], &again["action"]), (&"completed".into(), &answer["action"]));
    // Pressed twice: two requests.
    house.press("tomte/nas/commands", r#"{"command":"whoami"}"#);
    house.press("tomte/nas/commands", r#"{"command":"whoami"}"#);
    let one = responses.json(|answer| answer["status"] == "completed");
    let two = responses.json(|answer| answer["status"] == "completed");
    assert_ne!(one["action"], two["action"]);
    house.ask(r#"{"command":"list","request_id":"l"}"#);
    let list = responses.json(|answer| answer["request_id"] == "l");
    assert!(list["output"].as_str().unwrap().contains("whoami (run, safe)"), "{list}");

    let runs = house.audit().into_iter().filter(|line| line["outcome"] == "running").count();
    assert_eq!(runs, 3);
}

#[test]
fn what_is_not_allowed_is_refused_and_the_agent_goes_on() {
    let Some(house) = House::new() else { return };
    let mut responses = house.listen("tomte/nas/responses");
    house.retained("tomte/nas/commands", r#"{"command":"whoami","request_id":"kept"}"#);
    let _agent = house.agent();
    house.ready();
    let kept = responses.json(|answer| answer["status"] == "refused");
    assert!(kept["error"].as_str().unwrap().contains("retained"), "{kept}");
    house.ask(r#"{"command":"sh","params":["-c","id"],"request_id":"no"}"#);
    let no = responses.json(|answer| answer["request_id"] == "no");
    assert_eq!(no["status"], "refused");
    house.ask(r#"{"command":"say","params":["; id"],"request_id":"bad"}"#);
    assert_eq!(responses.json(|answer| answer["request_id"] == "bad")["status"], "refused");
    for rubbish in [&b"{"[..], b"\xff\xfe\x00", b"[]", b"\"$SYS/#\""] {
        house.bytes("tomte/nas/commands", rubbish);
        assert_eq!(responses.json(|_| true)["status"], "refused");
    }
    // Larger than the connection takes: nobody answers, and it goes on.
    house.bytes("tomte/nas/commands", &vec![b'x'; 1 << 20]);
    house.flood("tomte/nas/commands", r#"{"command":"whoami"}"#, 10_000);
    // The limit is refilled with time: it takes requests again.
    let mut number = 0;
    loop {
        number += 1;
        house.ask(&format!(r#"{{"command":"say","params":["hello"],"request_id":"after-{number}"}}"#));
        let answer = responses.json_within(std::time::Duration::from_secs(3), |answer| {
            answer["request_id"].as_str().is_some_and(|id| id.starts_with("after"))
        });
        if let Some(answer) = answer {
            assert_eq!(answer["output"], "hello\n");
            break;
        }
    }
    let runs = house.audit().into_iter().filter(|line| line["outcome"] == "running").count();
    assert!(runs < 60, "a flood is not run: {runs}");
}

#[test]
fn one_that_asks_waits_for_root_and_a_killed_agent_never_runs_it_again() {
    let Some(house) = House::new() else { return };
    let mut responses = house.listen("tomte/nas/responses");
    let mut events = house.listen("tomte/nas/events");
    let agent = house.agent();
    house.ready();
    house.ask(r#"{"command":"touch","request_id":"t"}"#);
    let pending = responses.json(|answer| answer["request_id"] == "t");
    assert_eq!(pending["status"], "pending", "{pending}");
    let id = pending["action"].as_str().unwrap().to_owned();
    let listed = house.action(&["list"]);
    assert!(listed.contains(&id) && listed.contains("pending"), "{listed}");
    let shown = house.action(&["show", &id[..8]]);
    assert!(shown.contains("/usr/bin/touch") && shown.contains("as nobody"), "{shown}");
    let approved = house.action(&["approve", &id, "--yes"]);
    assert!(approved.contains("approved by root"), "{approved}");
    assert_eq!(responses.json(|answer| answer["request_id"] == "t")["status"], "completed");
    assert!(house.made().exists());
    let event: Value = events.json(|event| event["details"]["state"] == "completed");
    assert_eq!((&event["type"], &event["details"]["action"]), (&"action_changed".into(), &id.as_str().into()));

    house.ask(r#"{"command":"wait","request_id":"w"}"#);
    until("the command runs", || {
        house.audit().iter().any(|line| line["request_id"] == "w" && line["outcome"] == "running")
    });
    agent.signal(Signal::KILL);
    drop(agent);
    let _agent = house.agent();
    let failed = responses.json(|answer| answer["request_id"] == "w");
    assert_eq!(failed["status"], "failed");
    assert!(failed["error"].as_str().unwrap().contains("not run again"), "{failed}");
    house.ready();
    house.ask(r#"{"command":"wait","request_id":"w"}"#);
    assert_eq!(responses.json(|answer| answer["request_id"] == "w")["status"], "failed");
    let runs = house.audit().into_iter().filter(|line| line["request_id"] == "w" && line["outcome"] == "running");
    assert_eq!(runs.count(), 1);
}

#[test]
fn home_assistant_gets_a_button_as_long_as_the_list_has_the_command() {
    let Some(house) = House::new() else { return };
    let mut discovery = house.listen("homeassistant/+/+/+/config");
    let _agent = house.agent();
    let (_, config) = discovery.until(|topic, payload| topic.contains("/command-whoami/") && !payload.is_empty());
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["command_topic"], "tomte/nas/commands");
    let (topic, switch) = discovery.until(|topic, payload| topic.contains("/command-night/") && !payload.is_empty());
    assert!(topic.starts_with("homeassistant/switch/"), "{topic}");
    let switch: Value = serde_json::from_str(&switch).unwrap();
    assert_eq!(switch["state_topic"], "tomte/nas/probe/night/on");
    let mut responses = house.listen("tomte/nas/responses");
    house.ready();
    house.press("tomte/nas/commands", config["payload_press"].as_str().unwrap());
    assert_eq!(responses.json(|answer| answer["command"] == "whoami")["status"], "completed");
    fs::write(house.list(), "[[commands.available]]\ntrigger = \"other\"\ncommand = [\"/bin/true\"]\n").unwrap();
    discovery.until(|topic, payload| topic.contains("/command-whoami/") && payload.is_empty());
    fs::remove_file(house.list()).unwrap();
    discovery.until(|topic, payload| topic.contains("/command-other/") && payload.is_empty());
}

#[test]
fn a_signed_host_takes_signed_requests_alone() {
    let Some(house) = House::new() else { return };
    house.sign_with("0123456789abcdef0123");
    let mut responses = house.listen("tomte/nas/responses");
    let _agent = house.agent();
    house.ready();
    house.ask(r#"{"command":"whoami","request_id":"plain"}"#);
    let plain = responses.json(|answer| answer["request_id"] == "plain");
    assert!(plain["error"].as_str().unwrap().contains("not signed"), "{plain}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let text = format!("tomte-command-1\nnas\nwhoami\n\n{now}\nabcdefgh\n0\n");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"0123456789abcdef0123");
    let signature: String =
        ring::hmac::sign(&key, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = format!(r#"{{"command":"whoami","time":{now},"nonce":"abcdefgh","signature":"{signature}"}}"#);
    house.ask(&request);
    assert_eq!(responses.json(|answer| answer["request_id"] == "nonce-abcdefgh")["status"], "completed");
    // Overheard and said again: it is the same request, which has been run.
    house.ask(&request);
    responses.json(|answer| answer["request_id"] == "nonce-abcdefgh");
    let runs = house.audit().into_iter().filter(|line| line["outcome"] == "running").count();
    assert_eq!(runs, 1);
    let log = fs::read_to_string(house.path().join("state/audit.log")).unwrap();
    assert!(!log.contains("0123456789abcdef0123") && !log.contains(&signature));
}

/// Who spoke to systant goes on as before: on its topics, with its words.
#[test]
fn systants_topics_take_requests_where_they_are_switched_on_and_answer_there() {
    let Some(house) = House::new() else { return };
    let (mut old, mut own) = (house.listen("systant/nas/responses"), house.listen("tomte/nas/responses"));
    house.retained("systant/nas/commands", r#"{"command":"whoami","request_id":"kept"}"#);
    house.configure("[mqtt.systant]\nenabled = true\n");
    let agent = house.agent();
    house.ready();
    let kept = old.json(|answer| answer["status"] == "refused");
    assert!(kept["error"].as_str().unwrap().contains("retained"), "{kept}");
    house.press("systant/nas/commands", r#"{"command":"say","params":["hello"],"request_id":"s1"}"#);
    let answer = old.json(|answer| answer["request_id"] == "s1");
    assert_eq!((&answer["status"], &answer["output"]), (&"completed".into(), &"hello\n".into()), "{answer}");
    // What has to be approved has to be here, too.
    house.press("systant/nas/commands", r#"{"command":"touch","request_id":"s2"}"#);
    assert_eq!(old.json(|answer| answer["request_id"] == "s2")["status"], "pending");
    house.press("systant/nas/commands", r#"{"command":"rm","request_id":"s3"}"#);
    assert_eq!(old.json(|answer| answer["request_id"] == "s3")["status"], "refused");
    // The first answer on the own topic is to what is asked for there.
    house.ask(r#"{"command":"whoami","request_id":"o1"}"#);
    assert_eq!(own.json(|_| true)["request_id"], "o1");

    // Switched off, nobody listens there any more: that was asked for first, and
    // what was asked for on the own topic is answered.
    agent.stop();
    house.configure("");
    let _agent = house.agent();
    house.ready();
    house.press("systant/nas/commands", r#"{"command":"whoami","request_id":"s4"}"#);
    house.ask(r#"{"command":"whoami","request_id":"o2"}"#);
    own.json(|answer| answer["request_id"] == "o2");
    assert!(!house.audit().iter().any(|line| line["request_id"] == "s4"));
}

#[test]
fn only_root_decides() {
    let Some(house) = House::new() else { return };
    assert!(is_root());
    let mut responses = house.listen("tomte/nas/responses");
    let _agent = house.agent();
    house.ready();
    house.ask(r#"{"command":"touch","request_id":"t"}"#);
    let pending = responses.json(|answer| answer["request_id"] == "t");
    let id = pending["action"].as_str().unwrap();
    // Somebody else who may open the socket.
    let answer = house.decide_as(65_534, id);
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(house.action(&["list"]).contains("pending"));
}
