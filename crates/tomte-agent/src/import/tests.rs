#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::command::{Commands, MqttRule};
use crate::config::{Layers, Sources};

const OLD: &str = r#"
[general]
enabled_modules = ["cpu", "memory", "disk", "network", "system"]
collection_interval = 15000
startup_delay = 2000

[mqtt]
host = "broker.lan"
port = 1884
client_id_prefix = "systant"
username = "nas"
password = "pass word"
qos = 2

[commands]
enabled = true
timeout_seconds = 20

[[commands.available]]
trigger = "restart"
command = "systemctl restart"
allowed_params = ["nginx", "postgresql"]
timeout = 30
description = "Restart a service"

[[commands.available]]
trigger = "disk"
command = "df -h | sort"

[[commands.available]]
trigger = "up"
command = "nowhere-to-be-found"
colour = "green"

[disk]
exclude_mounts = ["/snap/*"]
exclude_types = ["tmpfs"]
min_usage_percent = 5

[network]
exclude_interfaces = ["lo"]
min_bytes_threshold = 1024

[processes]
max_processes = 5
sort_by = "cpu"

[homeassistant]
discovery_enabled = false
"#;

fn find(name: &str) -> Option<PathBuf> {
    (name == "systemctl").then(|| PathBuf::from("/usr/bin/systemctl"))
}

#[test]
fn an_old_file_becomes_one_that_is_understood_and_says_the_same() {
    let imported = import(OLD, Path::new("/etc/tomte"), find).unwrap();
    let layers = Layers::of("/etc/tomte/agent.toml".into(), &imported.agent, &Sources::default()).unwrap();
    let config = layers.resolve(&[]).unwrap();
    let mqtt = config.mqtt.as_ref().unwrap();
    assert_eq!(mqtt.address.to_string(), "mqtt://broker.lan:1884");
    assert_eq!(mqtt.username.as_deref(), Some("nas"));
    assert_eq!(mqtt.password_file.as_deref(), Some(Path::new("/etc/tomte/mqtt-password")));
    assert_eq!((mqtt.start_delay.as_millis(), mqtt.systant.unwrap().as_secs()), (2000, 15));
    assert!(mqtt.discovery.is_none());
    let runs = |name: &str| config.collectors().any(|(def, _)| def.name == name);
    assert!(runs("cpu") && runs("filesystem") && !runs("gpu") && !runs("sensor") && !runs("process"));
    assert!(!config.collect.filesystem.mounts.matches("/snap/core"));
    assert!(!imported.agent.contains("pass word"), "a password stands in no configuration");
    assert_eq!(imported.password.as_deref(), Some("pass word"));
}

#[test]
fn commands_wait_for_an_approval_and_what_needs_a_shell_is_left_out() {
    let imported = import(OLD, Path::new("/etc/tomte"), find).unwrap();
    let text = imported.commands.unwrap();
    let file: toml::Table = text.parse().unwrap();
    let available = file["commands"]["available"].as_array().unwrap();
    assert_eq!(available.len(), 2, "{text}");
    let restart = &available[0];
    assert_eq!(restart["command"].to_string(), r#"["/usr/bin/systemctl", "restart", "{value}"]"#);
    assert_eq!((restart["mqtt"].as_str(), restart["limit"].as_str()), (Some("ask"), Some("30s")));
    assert_eq!(available[1]["limit"].as_str(), Some("20s"), "the limit of all");
    let note = imported.notes.iter().find(|note| note.contains("restart waits for an approval")).unwrap();
    let line: usize = note.split(':').nth(1).unwrap().parse().unwrap();
    assert_eq!(text.lines().nth(line - 1).unwrap(), "mqtt = \"ask\"", "the note names the line to change");
}

/// What is written here is read by agent and helper: one of both that changes
/// alone fails here.
#[test]
fn the_list_of_commands_is_understood_by_who_reads_it() {
    let imported = import(OLD, Path::new("/etc/tomte"), find).unwrap();
    let path = Path::new("/etc/tomte/commands.toml");
    let list = Commands::parse(path, imported.commands.as_deref().unwrap()).unwrap();
    let triggers: Vec<_> = list.available.iter().map(|command| command.trigger.as_str()).collect();
    assert_eq!(triggers, ["restart", "up"]);
    let restart = list.command("restart").unwrap();
    assert_eq!((restart.mqtt, restart.user.as_str(), restart.limit.as_secs()), (MqttRule::Ask, "nobody", 30));
    assert_eq!(restart.about, "Restart a service");
    let host = tomte_model::HostId::from_parts(1, 2);
    let with = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        restart.with(host, &arguments).map(|allowed| allowed.argv)
    };
    assert_eq!(with(&["nginx"]).unwrap(), ["/usr/bin/systemctl", "restart", "nginx"]);
    assert_eq!(with(&[]).unwrap(), ["/usr/bin/systemctl", "restart"], "systant let it be left out");
    assert!(with(&["sshd"]).is_err() && with(&["nginx", "postgresql"]).is_err());
}

/// Whatever an old file holds, what is made of it can be read.
#[test]
fn odd_commands_become_a_list_that_is_understood_or_none() {
    let one = "trigger = 'a'\ncommand = '/bin/echo'";
    for entry in [
        r#"trigger = 'a'
command = ['/bin/echo', 'ünï "q" \ # x', '$HOME', '']"#,
        "trigger = 'a'\ncommand = '/bin/echo \"'",
        "trigger = 'a'\ncommand = ['echo']\nargs = ['{value}']",
        "trigger = 'a'\ncommand = '{x}'",
        "trigger = 'a'\ncommand = ['']",
        "trigger = 'A b'\ncommand = '/bin/echo'",
        &format!("{one}\nallowed_params = ['', '{{value}}', '; id', \"x'y\"]"),
        &format!("{one}\nallowed_params = [1, 2]"),
        &format!("{one}\ntimeout = 0\ndescription = \"two\\nlines ''' \\\"\""),
        &format!("{one}\ntimeout = 999999"),
        &format!("{one}\n[[commands.available]]\n{one}"),
    ] {
        let old = format!("[commands]\n[[commands.available]]\n{entry}\n");
        let imported = import(&old, Path::new("/etc/tomte"), on_this_system).unwrap();
        if let Some(text) = imported.commands {
            let read = Commands::parse(Path::new("commands.toml"), &text);
            assert!(read.is_ok(), "{old}\nbecame\n{text}\n{read:?}");
        } else {
            assert!(imported.notes.iter().any(|note| note.contains("was not taken over")), "{:?}", imported.notes);
        }
    }
}

#[test]
fn what_could_not_be_taken_over_is_said() {
    let notes = import(OLD, Path::new("/etc/tomte"), find).unwrap().notes.join("\n");
    for said in [
        "disk.min_usage_percent = 5 was not taken over",
        "needs a shell",
        "there is no nowhere-to-be-found",
        "colour = \"green\" was not taken over",
        "client_id_prefix is not needed",
        "mqtt.qos = 2 became 1",
        "sort_by",
    ] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
    assert!(!notes.contains("pass word"), "{notes}");
}

#[test]
fn nothing_at_all_has_systants_defaults() {
    let imported = import("", Path::new("/etc/tomte"), find).unwrap();
    let layers = Layers::of("/x".into(), &imported.agent, &Sources::default()).unwrap();
    let mqtt = layers.resolve(&[]).unwrap().mqtt.unwrap();
    assert_eq!(mqtt.address.to_string(), "mqtt://mqtt.home:1883");
    assert_eq!(mqtt.systant.unwrap().as_secs(), 30);
    assert_eq!((imported.commands, imported.notes), (None, Vec::new()));
    let error = import("[mqtt\n", Path::new("/"), find).unwrap_err().to_string();
    assert!(error.starts_with("line 1, column 6"), "{error}");
    let odd = import("[mqtt]\nhost = 7\nport = 'x'\n", Path::new("/"), find).unwrap();
    assert_eq!(odd.notes.len(), 2, "{:?}", odd.notes);
}

#[test]
fn files_are_written_once_and_the_password_is_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("etc/tomte");
    let imported = import(OLD, &there, find).unwrap();
    let paths = write(&imported, &there).unwrap();
    assert_eq!(paths.len(), 3);
    let password = there.join("mqtt-password");
    assert_eq!(std::fs::metadata(&password).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(write(&imported, &there), Err(ImportError::Exists(_))));
    std::fs::remove_file(there.join("agent.toml")).unwrap();
    assert!(matches!(write(&imported, &there), Err(ImportError::Exists(_))));
    assert!(!there.join("agent.toml").exists(), "none of them, when one is in the way");
}
