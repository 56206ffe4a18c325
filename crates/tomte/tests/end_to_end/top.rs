//! `tomte top` in a real terminal, against the demo's hub and a real agent's
//! socket: keys are pressed, the screen is read.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::Signal;
use tomte_api::client::Client;
use tomte_api::live::{Body, ResourceRef};

use super::support::*;

/// A demo, and the folder of its hub.
fn demo() -> (Process, String) {
    let mut command = tomte();
    command.args(["demo", "--hosts", "6", "--listen", "127.0.0.1:0", "--interval", "1s"]);
    let mut demo = Process::start(command);
    let folder = demo.wait_for("folder", |line| line.split_once(", data in ").map(|(_, folder)| folder.to_owned()));
    demo.wait_for_text("works once");
    (demo, folder)
}

/// `tomte top` as a shell calls it.
fn top(arguments: &str) -> String {
    let binary = quoted(Path::new(env!("CARGO_BIN_EXE_tomte")));
    format!("LC_ALL=C.UTF-8 HOME=/nonexistent {binary} top {arguments}; echo left with $?")
}

#[test]
fn the_fleet_is_walked_by_keyboard_and_the_terminal_given_back() {
    let (mut demo, folder) = demo();
    let folder = Path::new(&folder);
    let terminal = Terminal::open(120, 40, &top(&format!("--data {}", quoted(folder))));
    terminal.until("all hosts with their readings", |screen| {
        let ready = |name: &str| screen.lines().any(|line| line.contains(name) && line.contains('%'));
        ["nas-1", "pve-1", "web-1", "pi-1", "media-1", "router-1"].into_iter().all(ready).then_some(())
    });
    terminal.press(&["/"]);
    terminal.press(&["-l", "nas"]);
    terminal.until("only what matches", |screen| (screen.contains("nas-1") && !screen.contains("web-1")).then_some(()));
    terminal.press(&["Enter"]);
    terminal.shows("/nas");
    terminal.press(&["Enter"]);
    terminal.shows("Memory");
    terminal.shows("File systems");
    assert!(terminal.shows("all ").contains('%'), "{}", terminal.screen());
    terminal.resize(44, 18);
    terminal.until("a narrow screen", |screen| {
        let fits = screen.lines().all(|line| line.chars().count() <= 44);
        (fits && screen.contains("nas-1") && screen.lines().last().is_some_and(|line| line.contains("quit")))
            .then_some(())
    });
    terminal.resize(120, 40);
    terminal.press(&["?"]);
    terminal.shows("Show the keys");
    terminal.press(&["q"]);
    terminal.press(&["C-k"]);
    terminal.press(&["-l", "router-1"]);
    terminal.until("a host that was found", |screen| screen.contains("host       router-1").then_some(()));
    terminal.press(&["Enter"]);
    terminal
        .until("its page", |screen| screen.lines().nth(1).is_some_and(|line| line.contains("router-1")).then_some(()));
    terminal.press(&["3"]);
    terminal.shows("events: all");
    terminal.press(&["1"]);
    terminal.press(&["q"]);
    terminal.shows("left with 0");
    assert!(terminal.is_as_before(), "{}", terminal.screen());
    demo.stop();
}

#[test]
fn a_hub_that_goes_leaves_what_is_known_and_one_that_comes_back_is_found() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("hub");
    let start = || {
        let mut command = tomte();
        command.args(["demo", "--hosts", "3", "--listen", "127.0.0.1:0", "--interval", "1s", "--data"]).arg(&data);
        let mut demo = Process::start(command);
        demo.wait_for_text("works once");
        demo
    };
    let mut demo = start();
    let terminal = Terminal::open(100, 30, &top(&format!("--data {}", quoted(&data))));
    terminal.until("the hosts", |screen| (screen.contains("nas-1") && screen.contains("3 hosts")).then_some(()));
    demo.kill();
    terminal.shows("disconnected");
    assert!(terminal.screen().contains("nas-1"), "{}", terminal.screen());
    let mut demo = start();
    terminal.until("the connection", |screen| (!screen.contains("disconnected")).then_some(()));
    terminal.press(&["q"]);
    terminal.shows("left with 0");
    demo.stop();
}

#[test]
fn a_watched_picture_does_not_pass_for_new_while_the_hub_is_away() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("hub");
    let start = || {
        let mut command = tomte();
        command.args(["demo", "--hosts", "2", "--listen", "127.0.0.1:0", "--interval", "1s", "--data"]).arg(&data);
        let mut demo = Process::start(command);
        demo.wait_for_text("works once");
        demo
    };
    let mut demo = start();
    let binary = quoted(Path::new(env!("CARGO_BIN_EXE_tomte")));
    let script = format!("LC_ALL=C.UTF-8 {binary} watch --every 1s --data {}", quoted(&data));
    let terminal = Terminal::open(120, 20, &script);
    let shows_host = |screen: &str| screen.lines().any(|line| line.starts_with("nas-1") && line.contains('%'));
    terminal.until("a host", |screen| shows_host(screen).then_some(()));
    demo.kill();
    // It goes on counting, and what is known stays.
    for age in ["hub for 1 s", "hub for 2 s"] {
        terminal.shows(age);
    }
    assert!(shows_host(&terminal.screen()), "{}", terminal.screen());
    let mut demo = start();
    terminal.until("new readings", |screen| (!screen.contains("no connection") && shows_host(screen)).then_some(()));
    demo.stop();
}

#[test]
fn a_hub_that_says_nothing_any_more_is_noticed_and_found_again() {
    let (mut demo, folder) = demo();
    let terminal = Terminal::open(100, 30, &top(&format!("--data {}", quoted(Path::new(&folder)))));
    terminal.until("the hosts", |screen| (screen.contains("nas-1") && screen.contains("7 hosts")).then_some(()));
    // Its connections stay open, and nothing comes.
    demo.signal(Signal::STOP);
    terminal.shows("disconnected");
    assert!(terminal.screen().contains("nas-1"), "{}", terminal.screen());
    demo.signal(Signal::CONT);
    terminal.until("the connection", |screen| (!screen.contains("disconnected")).then_some(()));
    terminal.press(&["q"]);
    terminal.shows("left with 0");
    demo.stop();
}

#[test]
fn an_agent_alone_is_shown_and_found_again_after_it_was_killed() {
    let place = tempfile::tempdir().unwrap();
    let [config, socket] = ["agent.toml", "agent.sock"].map(|name| place.path().join(name));
    let settings = format!("state_dir = {:?}\nsocket = {socket:?}\n", place.path().join("state"));
    std::fs::write(&config, settings).unwrap();
    let mut agent = run_agent(&config);
    agent.wait_for_text("lives alone");
    let terminal = Terminal::open(120, 40, &top(&format!("--agent {}", quoted(&socket))));
    terminal.shows("Memory");
    assert!(terminal.shows("all ").contains('%'), "{}", terminal.screen());
    agent.kill();
    terminal.shows("disconnected");
    assert!(terminal.screen().contains("Memory"), "what is known stays:\n{}", terminal.screen());
    let mut agent = run_agent(&config);
    terminal.until("the connection", |screen| (!screen.contains("disconnected")).then_some(()));
    terminal.press(&["q"]);
    terminal.shows("left with 0");
    agent.stop();
}

#[test]
fn a_kill_gives_the_terminal_back() {
    let (mut demo, folder) = demo();
    for signal in ["TERM", "HUP", "INT"] {
        let binary = quoted(Path::new(env!("CARGO_BIN_EXE_tomte")));
        let data = quoted(Path::new(&folder));
        let script =
            format!("LC_ALL=C.UTF-8 sh -c 'echo $$ > pid; exec {binary} top --data {data}'; echo left with $?");
        let place = tempfile::tempdir().unwrap();
        let terminal = Terminal::open(80, 24, &format!("cd {}; {script}", quoted(place.path())));
        terminal.shows("7 hosts");
        let pid = std::fs::read_to_string(place.path().join("pid")).unwrap();
        let killed = std::process::Command::new("kill").args(["-s", signal, pid.trim()]).status().unwrap();
        assert!(killed.success());
        terminal.shows("left with 0");
        assert!(terminal.is_as_before(), "after {signal}:\n{}", terminal.screen());
    }
    demo.signal(Signal::TERM);
    demo.ended();
}

#[test]
fn one_frame_is_plain_text_in_a_pipe() {
    let (mut demo, folder) = demo();
    in_time("readings of all hosts", async {
        let client = Client::unix(Path::new(&folder).join("hub.sock"));
        let mut hosts = BTreeSet::new();
        let mut take = |resource: &ResourceRef| (resource.kind == "filesystem").then(|| hosts.insert(resource.host_id));
        let mut seen = 0;
        Watcher::all(&client)
            .await
            .until("six hosts with file systems", |body| {
                match body {
                    Body::Snapshot(snapshot) => snapshot.resources.iter().for_each(|resource| {
                        let (host_id, kind, name) = (resource.host_id, resource.kind.clone(), resource.name.clone());
                        seen += usize::from(take(&ResourceRef { host_id, kind, name }) == Some(true));
                    }),
                    Body::Delta(delta) => delta.resources.iter().for_each(|change| {
                        seen += usize::from(take(&change.resource) == Some(true));
                    }),
                    _ => {}
                }
                (seen == 6).then_some(())
            })
            .await;
    });
    let once = |arguments: &[&str]| {
        let output = tomte().args(["top", "--once", "--data", &folder]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let fleet = once(&[]);
    assert!(fleet.contains("7 hosts") && fleet.contains("nas-1") && !fleet.contains('\u{1b}'), "{fleet}");
    let coloured = once(&["--color", "always"]);
    assert!(coloured.contains("\u{1b}[0"), "{coloured}");
    let host = once(&["--host", "nas-1"]);
    assert!(host.contains("Memory") && host.contains("/srv/tank") && !host.contains('\u{1b}'), "{host}");
    let output = tomte().args(["top", "--once", "--host", "nobody", "--data", &folder]).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no host nobody"));
    demo.stop();
}

#[test]
fn what_cannot_work_is_refused_with_a_sentence() {
    let output = |arguments: &[&str]| {
        let output = tomte().args(arguments).env("HOME", "/nonexistent").output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let nowhere = output(&["top", "--hub", "http://127.0.0.1:1"]);
    assert!(nowhere.contains("needs a terminal") && nowhere.contains("--once"), "{nowhere}");
    let refused = output(&["top", "--once", "--hub", "http://127.0.0.1:1"]);
    assert!(refused.contains("connection refused"), "{refused}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("top.toml");
    std::fs::write(&file, "refresh = 600\n").unwrap();
    let wrong = output(&["top", "--once", "--hub", "http://127.0.0.1:1", "--config", file.to_str().unwrap()]);
    assert!(wrong.contains("top.toml") && wrong.contains("1 to 60"), "{wrong}");
}
