//! Commands of the host's own: `[[probe]]` in its file.
//!
//! Each is run by [`crate::Tools`], as the agent's user and without a shell; a
//! hub can neither add one nor change it. What it says is found in its output
//! by a path or a regular expression where it is not the whole of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use regex_lite::Regex;
use tomte_model::{Facet, Moment, Scope, Unit};

use crate::Collector;
use crate::root::Root;
use crate::settings::{ProbeSettings, ProbeValue, Settings};
use crate::tool::ToolCall;

/// The collector's own scope, complete always; each probe has a further one.
pub(crate) const SCOPES: &[&str] = &["probe"];

/// More output no probe has that says one thing.
const MOST: usize = 256 * 1024;
/// More of a text is not kept.
const TEXT: usize = 255;

/// The collector `probe`.
pub(crate) fn make(root: &Root, settings: &Settings) -> Box<dyn Collector> {
    Box::new(Probes { root: root.clone(), probes: settings.probe.clone(), last: HashMap::new() })
}

struct Probes {
    root: Root,
    probes: Vec<ProbeSettings>,
    /// When each was last run, and what came of it.
    last: HashMap<String, (u64, Facet)>,
}

impl Collector for Probes {
    fn collect(&mut self, now: Moment) -> Vec<Scope> {
        let mut facets = Vec::new();
        for probe in &self.probes {
            let every = u64::from(probe.interval.unwrap_or(0)) * 1000;
            let at = now.boot_millis;
            if let Some((ran, facet)) = self.last.get(&probe.name)
                // A little early is on time: readings do not fall on the millisecond.
                && at.saturating_sub(*ran) + 500 < every
                && at >= *ran
            {
                facets.push(facet.clone());
                continue;
            }
            let facet = look(&self.root, probe);
            self.last.insert(probe.name.clone(), (at, facet.clone()));
            facets.push(facet);
        }
        vec![Scope::complete(SCOPES[0], facets)]
    }
}

fn look(root: &Root, probe: &ProbeSettings) -> Facet {
    let mut facet = Facet::owner("probe", &*probe.name, "main");
    let began = Instant::now();
    let said = run(root, probe).and_then(|output| understand(probe, &output));
    facet.read("duration_seconds", began.elapsed().as_secs_f64());
    facet.read("failed", f64::from(u8::from(said.is_err())));
    match said {
        Ok(said) => said.tell(probe, &mut facet),
        Err(error) => facet.text("error", error),
    }
    facet
}

/// What a command left.
struct Output {
    text: String,
    success: bool,
}

fn run(root: &Root, probe: &ProbeSettings) -> Result<Output, String> {
    let (program, arguments) = probe.command.split_first().ok_or("there is no command")?;
    let limit = Duration::from_secs(probe.timeout.into());
    let call = ToolCall::new(program).args(arguments.iter().map(String::as_str)).limit(limit).most(MOST);
    let ran = root.tools().run(&call).map_err(|error| error.outcome().error().unwrap_or_default().to_owned())?;
    let success = ran.success();
    if !success && probe.value != ProbeValue::Binary {
        return Err(ran.complaint());
    }
    Ok(Output { text: ran.text().into_owned(), success })
}

/// What a probe has said.
#[derive(Debug, Clone, PartialEq)]
enum Said {
    Number(f64),
    Text(String),
    Binary(bool),
}

impl Said {
    fn tell(self, probe: &ProbeSettings, facet: &mut Facet) {
        let text = match self {
            Self::Number(value) => {
                facet.read(field(probe.unit.as_ref()), value);
                if let Some(Unit::Other(name)) = &probe.unit {
                    facet.text("unit", name.as_ref());
                }
                None
            }
            Self::Text(text) => Some(text),
            Self::Binary(on) => {
                facet.read("on", f64::from(u8::from(on)));
                Some(if on { "on" } else { "off" }.to_owned())
            }
        };
        if let (Some(problem), Some(text)) = (&probe.problem, &text) {
            facet.read("problem", f64::from(u8::from(problem == text)));
        }
        facet.text("text", text.unwrap_or_default());
    }
}

/// The field that a value of that unit is in.
fn field(unit: Option<&Unit>) -> &'static str {
    match unit {
        Some(Unit::Ratio) => "value_ratio",
        Some(Unit::Bytes) => "value_bytes",
        Some(Unit::BytesPerSecond) => "value_bytes_per_second",
        Some(Unit::PerSecond) => "value_per_second",
        Some(Unit::Seconds) => "value_seconds",
        Some(Unit::Celsius) => "value_celsius",
        Some(Unit::Hertz) => "value_hertz",
        Some(Unit::Watts) => "value_watts",
        Some(Unit::Volts) => "value_volts",
        Some(Unit::Amperes) => "value_amperes",
        _ => "value",
    }
}

fn understand(probe: &ProbeSettings, output: &Output) -> Result<Said, String> {
    let shown = |text: &str| text.chars().filter(|c| !c.is_control()).take(60).collect::<String>();
    let found = match (&probe.json, &probe.regex) {
        (Some(path), _) => in_json(&output.text, path)?,
        (None, Some(regex)) => {
            let regex = Regex::new(regex).map_err(|error| error.to_string())?;
            let groups = regex.captures(&output.text).ok_or("the regex matches nothing in its output")?;
            groups.get(1).or(groups.get(0)).map_or("", |group| group.as_str()).to_owned()
        }
        (None, None) => output.text.clone(),
    };
    let found = found.trim();
    match probe.value {
        ProbeValue::Number => {
            let value = found.parse::<f64>().ok().map(|value| value * probe.factor).filter(|value| value.is_finite());
            value.map(Said::Number).ok_or_else(|| format!("it says {:?}, which is no number", shown(found)))
        }
        ProbeValue::Text => Ok(Said::Text(found.chars().filter(|c| !c.is_control()).take(TEXT).collect())),
        ProbeValue::Binary => match found.to_ascii_lowercase().as_str() {
            "" => Ok(Said::Binary(output.success)),
            "on" | "yes" | "true" | "1" => Ok(Said::Binary(true)),
            "off" | "no" | "false" | "0" => Ok(Said::Binary(false)),
            _ => Err(format!("it says {:?}, which is neither on nor off", shown(found))),
        },
    }
}

/// The value at a path such as `sensors.0.temperature`.
fn in_json(text: &str, path: &str) -> Result<String, String> {
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("its output is no JSON: {error}"))?;
    let mut at = &json;
    for part in path.trim_start_matches("$.").split('.').filter(|part| !part.is_empty()) {
        let next = match at {
            serde_json::Value::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
            other => other.get(part),
        };
        at = next.ok_or_else(|| format!("its output has no {path}"))?;
    }
    Ok(match at {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => return Err(format!("{path} is null")),
        other => other.to_string(),
    })
}

/// Takes a value out of a command's output: what a fuzzer is let loose on.
pub fn fuzz_probe(bytes: &[u8]) {
    let output = Output { text: String::from_utf8_lossy(bytes).into_owned(), success: true };
    let ways = [
        (Some("a.0.b"), None, ProbeValue::Number),
        (None, Some(r"value=\s*([0-9.]+)(k|M)?"), ProbeValue::Text),
        (None, None, ProbeValue::Binary),
    ];
    for (json, regex, value) in ways {
        let probe = ProbeSettings {
            name: "x".to_owned(),
            command: Vec::new(),
            value,
            json: json.map(str::to_owned),
            regex: regex.map(str::to_owned),
            unit: None,
            factor: 0.001,
            problem: None,
            interval: None,
            timeout: 1,
        };
        let _ = understand(&probe, &output);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn probe(more: &str) -> ProbeSettings {
        let text = format!("[[probe]]\nname = \"x\"\ncommand = [\"/bin/x\"]\n{more}");
        toml::from_str::<Settings>(&text).unwrap().probe.remove(0)
    }

    fn says(more: &str, output: &str) -> Result<Said, String> {
        understand(&probe(more), &Output { text: output.to_owned(), success: true })
    }

    #[test]
    fn values_are_found_in_all_the_ways() {
        assert_eq!(says("factor = 0.001", " 45250\n"), Ok(Said::Number(45.25)));
        assert_eq!(says("json = \"a.1.t\"", r#"{"a":[0,{"t":7}]}"#), Ok(Said::Number(7.0)));
        assert_eq!(says("regex = 'temp=([0-9.]+)'", "temp=51.5'C"), Ok(Said::Number(51.5)));
        assert_eq!(says("value = \"text\"\nregex = 'v\\d+'", "is v12 now"), Ok(Said::Text("v12".into())));
        assert_eq!(says("value = \"binary\"", "Yes\n"), Ok(Said::Binary(true)));
        assert_eq!(says("value = \"binary\"", ""), Ok(Said::Binary(true)));
        for (more, output) in [
            ("", "warm"),
            ("", "NaN"),
            ("", ""),
            ("json = \"a.b\"", "{}"),
            ("json = \"a\"", "{\"a\":null}"),
            ("json = \"a\"", "{"),
            ("regex = 'x'", "y"),
            ("value = \"binary\"", "maybe"),
        ] {
            assert!(says(more, output).is_err(), "{more} {output}");
        }
    }

    #[test]
    fn a_real_command_is_run_and_what_fails_or_hangs_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).with_tools(std::sync::Arc::new(crate::SystemTools::default()));
        let text = "
            [[probe]]\nname = \"warm\"\ncommand = [\"/bin/echo\", \"21.5\"]\nunit = \"celsius\"
            [[probe]]\nname = \"odd\"\ncommand = [\"/bin/echo\", \"3\"]\nunit = \"lux\"
            [[probe]]\nname = \"door\"\ncommand = [\"/bin/false\"]\nvalue = \"binary\"\nproblem = \"off\"
            [[probe]]\nname = \"gone\"\ncommand = [\"/nowhere/x\"]
            [[probe]]\nname = \"long\"\ncommand = [\"/bin/sleep\", \"100\"]\ntimeout = 1\n";
        let settings: Settings = toml::from_str(text).unwrap();
        let scopes = make(&root, &settings).collect(Moment::default());
        let [warm, odd, door, gone, long] = &scopes[0].facets[..] else { panic!("{scopes:?}") };
        assert_eq!((warm.reading("value_celsius"), warm.reading("failed")), (Some(21.5), Some(0.0)));
        assert_eq!((odd.reading("value"), odd.attribute("unit").unwrap().to_string()), (Some(3.0), "lux".into()));
        assert_eq!((door.reading("on"), door.reading("problem")), (Some(0.0), Some(1.0)));
        assert_eq!(gone.reading("failed"), Some(1.0));
        assert!(long.attribute("error").unwrap().to_string().contains("has not ended within 1.0 s"), "{long:?}");
    }

    #[test]
    fn a_probe_is_not_run_more_often_than_it_wants() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tools")).unwrap();
        let answer = |text: &str| std::fs::write(dir.path().join("tools/!bin!x"), text).unwrap();
        let text = "[[probe]]\nname = \"x\"\ncommand = [\"/bin/x\"]\ninterval = 300\n";
        let mut collector = make(&Root::new(dir.path()), &toml::from_str(text).unwrap());
        let mut at = |second: u64| {
            let scopes = collector.collect(Moment { boot_millis: second * 1000, ..Moment::default() });
            scopes[0].facets[0].reading("value")
        };
        answer("1");
        assert_eq!(at(1_000), Some(1.0));
        answer("2");
        assert_eq!((at(1_060), at(1_300)), (Some(1.0), Some(2.0)));
    }

    proptest::proptest! {
        #[test]
        fn any_output_is_safe(text: String, path in "[a-z0-9.$]{0,12}") {
            for more in ["", "value = \"text\"", "value = \"binary\"", "regex = '([0-9]+)|x*'"] {
                let _ = understand(&probe(more), &Output { text: text.clone(), success: false });
            }
            let _ = in_json(&text, &path);
        }
    }
}
