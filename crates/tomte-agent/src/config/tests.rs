#![allow(clippy::unwrap_used)]

use super::*;

fn layers(text: &str) -> Result<Layers, ConfigError> {
    Layers::of("/x/agent.toml".into(), text, &Sources::default())
}

fn config(text: &str) -> Config {
    layers(text).unwrap().resolve(&[]).unwrap()
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// The sample with its defaults switched on.
fn sample_in_force() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_alphabetic()) => rest.to_owned(),
        _ => line.to_owned(),
    };
    SAMPLE.lines().map(on).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_says_the_defaults_and_all_of_them() {
    let as_it_is: schema::FileConfig = toml::from_str(SAMPLE).unwrap();
    assert!(as_it_is == schema::FileConfig::default(), "the sample sets something");
    let said = Layer::file("/x".into(), &sample_in_force()).unwrap().values;
    let defaults = Layer::defaults().values;
    for (key, (value, _)) in &defaults {
        assert_eq!(said.get(key).map(|(value, _)| value), Some(value), "what the sample says of {key}");
    }
    assert_eq!(said.len(), defaults.len());
}

#[test]
fn what_the_sample_shows_as_examples_is_valid() {
    let examples: String = SAMPLE
        .lines()
        .filter_map(|line| line.strip_prefix("# ").or_else(|| line.starts_with('[').then_some(line)))
        .filter(|line| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
        .map(|line| format!("{line}\n"))
        .collect();
    // Plain keys come before the first section, whatever order they are shown in.
    assert!(examples.contains("hub = ") && examples.contains("[[thresholds]]"), "{examples}");
    let file: schema::FileConfig = toml::from_str(&examples).unwrap();
    assert!(file.hub.is_some() && file.thresholds.len() == 1 && file.collectors.len() == 1);
    assert!(file.mqtt.url.is_some() && file.mqtt.client_key.is_some());
}

#[test]
fn mistakes_are_shown_with_their_place_and_what_to_write() {
    for (text, place, said) in [
        ("hub = \"hub\"\n", "1:7", "https://hub.example:8443"),
        ("\n[intervalls]\n", "2:2", "did you mean `intervals`?"),
        ("[intervals]\nfast = 10\n", "2:8", "expected a string"),
        ("[intervals]\nfast = \"10\"\n", "2:8", "for example \"10s\""),
        ("[intervals]\nfast = \"0s\"\n", "2:8", "from \"1s\" to \"1d\""),
        ("[collectors.laod]\nenabled = false\n", "1:13", "did you mean `load`?"),
        ("name = \"My NAS\"\n", "1:8", "a-z 0-9"),
        ("x = [\n", "1:6", "unclosed array"),
        ("[[thresholds]]\nkind = \"filesystem\"\nfield = \"x\"\nwarning = \"high\"\n", "4:11", "or \"off\""),
    ] {
        let error = layers(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("/x/agent.toml:{place}")), "{text:?}: {error}");
        assert!(error.contains(said), "{text:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_threshold_without_levels_is_shown_with_its_line() {
    let text = "\n[[thresholds]]\nkind = \"reef\"\nfield = \"x\"\n";
    let error = layers(text).unwrap().resolve(&[]).unwrap_err().to_string();
    assert!(error.starts_with("/x/agent.toml:2:1: ") && error.contains("enabled = false"), "{error}");
}

#[test]
fn later_sources_win_and_every_value_knows_where_it_came_from() {
    let sources = Sources {
        path: None,
        environment: vec![pair("TOMTE_AGENT_INTERVALS_MEDIUM", "2m"), pair("TOMTE_AGENT_PROCESS_TOP", "3")],
        flags: vec![pair("process.top", "4")],
    };
    let text = "\n[intervals]\nfast = \"5s\"\nmedium = \"3m\"\n";
    let layers = Layers::of("/x/agent.toml".into(), text, &sources).unwrap();
    let pushed = [pair("intervals.fast", "\"7s\""), pair("intervals.slow", "\"30m\"")];
    let config = layers.resolve(&pushed).unwrap();
    let seconds = |tier| config.intervals.of(tier).as_secs();
    use tomte_collect::Tier::{Fast, Medium, Slow};
    assert_eq!((seconds(Fast), seconds(Medium), seconds(Slow)), (5, 120, 1800));
    assert_eq!(config.collect.process.top, 4);
    let origin = |key: &str| config.settings.iter().find(|(k, ..)| k == key).map(|(.., origin)| origin.to_string());
    assert_eq!(origin("intervals.fast").as_deref(), Some("/x/agent.toml:3"));
    assert_eq!(origin("intervals.medium").as_deref(), Some("$TOMTE_AGENT_INTERVALS_MEDIUM"));
    assert_eq!(origin("intervals.slow").as_deref(), Some("hub"));
    assert_eq!(origin("process.top").as_deref(), Some("--set"));
    assert_eq!(origin("cpu.cores").as_deref(), Some("default"));
}

#[test]
fn what_is_set_from_outside_the_file_is_checked_too() {
    let with = |environment: Vec<(String, String)>, flags| {
        Layers::of("/x/agent.toml".into(), "", &Sources { path: None, environment, flags }).map(drop)
    };
    let error = with(vec![pair("TOMTE_AGENT_INTERVALS_FATS", "1s")], vec![]).unwrap_err().to_string();
    assert!(error.contains("did you mean $TOMTE_AGENT_INTERVALS_FAST?"), "{error}");
    let error = with(vec![], vec![pair("intervals.fast", "soon")]).unwrap_err().to_string();
    assert!(error.starts_with("--set intervals.fast: ") && error.contains("\"10s\""), "{error}");
    assert!(with(vec![pair("TOMTE_AGENT_CONFIG", "/x"), pair("PATH", "/bin")], vec![]).is_ok());
}

#[test]
fn thresholds_of_hub_and_file_add_up_and_the_files_come_last() {
    let text = "[[thresholds]]\nkind = \"reef\"\nfield = \"x\"\nwarning = 1\n";
    let pushed = [pair("thresholds", "[{ kind = \"reef\", field = \"x\", warning = 2 }]")];
    let config = layers(text).unwrap().resolve(&pushed).unwrap();
    let warnings: Vec<_> = config.thresholds.iter().map(|rule| rule.threshold.and_then(|t| t.warning)).collect();
    assert_eq!(warnings, [Some(2.0), Some(1.0)]);
    assert_eq!(config.threshold_origins[0].1, Origin::Hub);
}

#[test]
fn the_hub_does_not_win_over_the_host() {
    let layers = layers("[intervals]\nfast = \"5s\"\n").unwrap();
    assert!(layers.check_pushed("intervals.medium", "\"5m\"").is_ok());
    assert!(layers.own_says("intervals.medium").is_ok());
    assert!(layers.own_says("intervals").is_err());
    let error = layers.own_says("intervals.fast").unwrap_err();
    assert!(error.contains("/x/agent.toml:2"), "{error}");
    assert!(layers.check_pushed("intervals.medium", "\"0s\"").is_err());
    assert!(layers.check_pushed("intervals.medium", "5").is_err());
    assert!(layers.check_pushed("filesystem.mounts.exclude", "[\"/snap/*\"]").is_ok());
}

#[test]
fn collectors_follow_their_tier_unless_told_otherwise() {
    let load = crate::collectors().iter().find(|def| def.name == "load").unwrap();
    let config_of = |text: &str| config(text).collector(load);
    assert_eq!(config_of("").interval, Duration::from_secs(10));
    assert_eq!(config_of("[intervals]\nfast = \"3s\"").interval, Duration::from_secs(3));
    let own = config_of("[collectors.load]\ninterval = \"1m\"\ndeadline = \"2s\"\nenabled = false");
    let expected =
        CollectorConfig { enabled: false, interval: Duration::from_secs(60), deadline: Duration::from_secs(2) };
    assert_eq!(own, expected);
}

#[test]
fn state_and_socket_lie_beside_a_file_of_ones_own() {
    let of = |path: &str| places(Path::new(path));
    assert_eq!(of(SYSTEM), ("/var/lib/tomte-agent".into(), "/run/tomte/agent.sock".into()));
    assert_eq!(of("/h/a.toml"), ("/h/a.toml.d".into(), "/h/a.toml.d/agent.sock".into()));
}
