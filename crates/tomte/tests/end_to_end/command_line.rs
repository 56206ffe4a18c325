//! The command lines as people and scripts meet them: help, exit codes, pipes,
//! colour, completions and manual pages.
//!
//! The help is compared with the files in `snapshots`; after a change that was
//! meant, `cargo insta review` (or `INSTA_UPDATE=always cargo test`) takes it over.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use super::support::*;

fn help(mut command: Command, arguments: &[&str]) -> String {
    let output = command.args(arguments).env("COLUMNS", "80").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\u{1b}'), "colour in a pipe");
    let too_long = text.lines().find(|line| line.chars().count() > 100);
    assert_eq!(too_long, None, "a line that no terminal shows whole");
    text
}

#[test]
fn the_help_is_as_it_was_reviewed() {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("tomte", help(tomte(), &["--help"]));
        insta::assert_snapshot!("tomte_host", help(tomte(), &["host", "--help"]));
        insta::assert_snapshot!("tomte_query", help(tomte(), &["query", "--help"]));
        insta::assert_snapshot!("tomte_hub", help(tomte(), &["hub", "--help"]));
        insta::assert_snapshot!("tomte_agent", help(agent(), &["--help"]));
        insta::assert_snapshot!("tomte_agent_enroll", help(agent(), &["enroll", "--help"]));
    });
}

/// Every command that has something to explain shows an example.
#[test]
fn commands_that_people_type_show_examples() {
    for command in ["hub", "demo", "watch", "query", "catalogue", "export", "check", "completions", "man"] {
        let text = help(tomte(), &[command, "--help"]);
        assert!(text.contains("Example"), "{command}: {text}");
    }
    let version = help(tomte(), &["--version"]);
    assert_eq!(version, format!("tomte {}\n", env!("CARGO_PKG_VERSION")));
}

fn code(mut command: Command, arguments: &[&str]) -> Option<i32> {
    command.args(arguments).stdin(Stdio::null()).output().unwrap().status.code()
}

/// 0: done. 1: it could not be done. 2: it makes no sense as it was typed.
#[test]
fn exit_codes_tell_success_failure_and_misuse_apart() {
    assert_eq!(code(tomte(), &["catalogue"]), Some(0));
    assert_eq!(code(tomte(), &["host", "list", "--data", "/nowhere"]), Some(1));
    assert_eq!(code(tomte(), &["no-such-command"]), Some(2));
    assert_eq!(code(tomte(), &["query", "cpu"]), Some(2));
    assert_eq!(code(tomte(), &["query", "cpu", "usage_ratio", "--step", "5m"]), Some(2), "--step needs --from");
    assert_eq!(code(tomte(), &["demo", "--hosts", "0"]), Some(2));
    assert_eq!(code(tomte(), &[]), Some(2));
    assert_eq!(code(agent(), &["check", "--sample"]), Some(0));
    assert_eq!(code(agent(), &["check", "--config", "/nowhere/agent.toml"]), Some(1));
    assert_eq!(code(agent(), &["run", "--set", "no-equals-sign"]), Some(2));
    assert_eq!(code(agent(), &["fly"]), Some(2));
}

/// `tomte … | head -1`: who has read enough goes away, and that is no error.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let hub = Hub::start();
    block_on(async {
        let agent = SimulatedAgent::new(&hub, "reef").await;
        agent.flood(2_000).await;
        agent.until_all_acked().await;
    });
    let data = hub.folder.to_str().unwrap();
    let cases: [(Command, &[&str]); 7] = [
        (tomte(), &["catalogue", "--json"]),
        (tomte(), &["completions", "bash"]),
        (tomte(), &["man"]),
        (tomte(), &["check", "--sample"]),
        (tomte(), &["export", "--data", data]),
        (tomte(), &["query", "disk", "*", "--from", "-1h", "--step", "raw", "--format", "csv", "--data", data]),
        (agent(), &["once", "--json"]),
    ];
    for (mut command, arguments) in cases {
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut first = [0; 1];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        // The pipe is closed now.
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&stderr);
        assert!(status.success() && said.is_empty(), "{arguments:?}: {status} {said}");
    }
}

/// Colour where it is wanted, and nowhere else.
#[test]
fn colour_follows_what_is_asked_for() {
    let hub = Hub::start();
    block_on(async { SimulatedAgent::new(&hub, "reef").await.flood(1).await });
    let colourful = |arguments: &[&str], no_color: bool| {
        let mut command = tomte();
        command.args(["host", "list", "--data"]).arg(&hub.folder).args(arguments);
        if !no_color {
            command.env_remove("NO_COLOR");
        }
        let output = command.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().contains('\u{1b}')
    };
    assert!(!colourful(&[], false), "a pipe");
    assert!(colourful(&["--color", "always"], false));
    assert!(!colourful(&["--color", "never"], false));
    assert!(!colourful(&[], true), "NO_COLOR");
    assert!(colourful(&["--colour", "always"], true), "said on the command line goes before the environment");
    assert!(!colourful(&["--color", "always", "--json"], false), "programs never get any");
}

/// From the same definitions as the help.
#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = help_of_any_width(tomte(), &["completions", shell]);
        assert!(script.contains("catalogue") && script.contains("token-file"), "{shell}");
    }
    let bash = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bash.path(), help_of_any_width(tomte(), &["completions", "bash"])).unwrap();
    let checked = Command::new("bash").arg("-n").arg(bash.path()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    let page = help_of_any_width(tomte(), &["man"]);
    assert!(page.starts_with(".ie") && page.contains(".TH"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    help_of_any_width(tomte(), &["man", "--out", out.to_str().unwrap()]);
    let pages: Vec<_> =
        std::fs::read_dir(&out).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    for expected in ["tomte.1", "tomte-hub.1", "tomte-host-add.1", "tomte-query.1"] {
        assert!(pages.iter().any(|page| page == expected), "{expected} is not in {pages:?}");
    }
}

fn help_of_any_width(mut command: Command, arguments: &[&str]) -> String {
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
