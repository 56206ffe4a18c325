//! `tomte-agent doctor`: what works, what does not, and what to do about it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tomte_collect::{SystemClock, clock_synchronised};
use tomte_model::{Clock, Outcome, Unit};

use crate::config::{Config, ConfigError, Found, Layers, Sources};
use crate::connect::Endpoint;
use crate::http::ask;
use crate::link::with_causes;
use crate::look::{Sight, look};
use crate::own::{word, worst};
use crate::state::StateDir;
use crate::tls::Pin;

/// A clock that is off by more than this confuses people; the hub copes.
const SKEW: Duration = Duration::from_secs(60);

/// How one check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// `ok`, `unavailable`, `denied`, `failed`, `note`.
    pub verdict: &'static str,
    /// In words.
    pub text: String,
    /// What to do about it.
    pub cure: Option<String>,
}

impl Finding {
    fn new(subject: impl Into<String>, verdict: &'static str, text: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict, text: text.into(), cure: None }
    }

    fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// Whether somebody has to do something.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        matches!(self.verdict, "denied" | "failed")
    }
}

/// Looks at everything.
pub async fn examine(sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    let config = match configuration(sources) {
        Ok((config, finding)) => {
            findings.push(finding);
            config
        }
        Err(error) => {
            findings.push(Finding::new("configuration", "failed", with_causes(&error)));
            // Everything else is looked at with the defaults.
            match defaults(sources) {
                Some(config) => config,
                None => return findings,
            }
        }
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sights = look(&config, &crate::api::root(), None, &clock);
    let mut collectors: Vec<Finding> = sights.iter().map(collector).collect();
    for def in crate::collectors().iter().filter(|def| !config.collector(def).enabled) {
        collectors.push(Finding::new(def.name, "note", "switched off in the configuration"));
    }
    collectors.extend(findings);
    let mut findings = collectors;
    findings.push(state(&config));
    findings.push(clock_finding());
    findings.extend(hub(&config).await);
    findings.push(broker(&config).await);
    findings
}

fn configuration(sources: &Sources) -> Result<(Config, Finding), ConfigError> {
    match Layers::read(sources)? {
        Found::Layers(layers) => {
            let config = layers.resolve(&[])?;
            let text = format!("{} is in force", config.path.display());
            Ok((config, Finding::new("configuration", "ok", text)))
        }
        Found::Nothing(missing) => {
            let paths: Vec<_> = missing.iter().map(|path| path.display().to_string()).collect();
            let finding = Finding::new("configuration", "failed", format!("there is no {}", paths.join(" or ")));
            let path = missing.into_iter().next_back().unwrap_or_default();
            let config = Layers::of(path, "", &Sources::default())?.resolve(&[])?;
            Ok((config, finding.cure("run `tomte-agent enroll`, or start from `tomte-agent check --sample`")))
        }
    }
}

fn defaults(sources: &Sources) -> Option<Config> {
    let path = sources.path.clone().unwrap_or_else(|| crate::config::SYSTEM.into());
    Layers::of(path, "", &Sources::default()).ok()?.resolve(&[]).ok()
}

fn collector(sight: &Sight) -> Finding {
    let resources = sight.scopes.iter().flat_map(|scope| &scope.facets).count();
    let took = Unit::Seconds.format(sight.duration.as_secs_f64());
    match worst(&sight.scopes) {
        None => Finding::new(sight.def.name, "ok", format!("{resources} resources in {took}")),
        Some((scope, outcome)) => {
            let error = outcome.error().unwrap_or_default();
            let text = if scope == sight.def.name { error.to_owned() } else { format!("{scope}: {error}") };
            let finding = Finding::new(sight.def.name, word(&outcome), text);
            match outcome {
                Outcome::Denied { cure, .. } => finding.cure(cure),
                _ => finding,
            }
        }
    }
}

fn state(config: &Config) -> Finding {
    let path = config.state_dir.display();
    let Some(state) = StateDir::existing(&config.state_dir) else {
        return Finding::new("state", "note", format!("{path} is not there; the agent makes it at its first start"));
    };
    match state.identity() {
        Ok(Some(identity)) => match state.probe_write() {
            Ok(()) => Finding::new("state", "ok", format!("{path}, host {}", identity.host)),
            Err(error) => Finding::new("state", "failed", with_causes(&error))
                .cure(format!("let the agent's user write {path}, and see that its disk has room")),
        },
        Ok(None) => Finding::new("state", "note", format!("{path} holds no identity yet")),
        Err(error) => Finding::new("state", "failed", with_causes(&error)).cure(format!(
            "run this as the agent's user or as root; if it was, let the agent's user own it: chown -R tomte {path}"
        )),
    }
}

fn clock_finding() -> Finding {
    if clock_synchronised() {
        Finding::new("clock", "ok", "synchronised")
    } else {
        Finding::new("clock", "note", "not synchronised; a hub corrects the times of what this host reports")
            .cure("timedatectl set-ntp true")
    }
}

async fn hub(config: &Config) -> Vec<Finding> {
    let Some(url) = &config.hub else {
        return vec![Finding::new("hub", "note", "none is configured: this host lives alone")];
    };
    let identity = StateDir::existing(&config.state_dir).and_then(|state| state.identity().ok().flatten());
    let Some(enrolment) = identity.and_then(|identity| identity.enrolment) else {
        return vec![
            Finding::new("hub", "failed", format!("this host is not enrolled at {url}"))
                .cure("run `tomte host add NAME` on the hub and paste the line here"),
        ];
    };
    let pin = enrolment.pin.as_deref().map(Pin::from_text).transpose();
    let endpoint = match pin.and_then(|pin| Endpoint::new(url.clone(), pin, clock_synchronised)) {
        Ok(endpoint) => endpoint,
        Err(error) => return vec![Finding::new("hub", "failed", with_causes(&error))],
    };
    let answer = match ask(&endpoint, "/healthz", None).await {
        Ok(answer) => answer,
        Err(error) => {
            let cure = format!("see that the hub runs and that this host reaches {}", url.authority());
            return vec![Finding::new("hub", "failed", with_causes(&error)).cure(cure)];
        }
    };
    let known_by = if !url.tls {
        "without encryption"
    } else if enrolment.pin.is_some() {
        "known by its key"
    } else {
        "known by its certificate"
    };
    let reached = match answer.status {
        200 => Finding::new("hub", "ok", format!("{url}, {known_by}; this host is {} there", enrolment.name)),
        status => Finding::new("hub", "failed", format!("{url} answers with HTTP status {status}"))
            .cure("look at the hub's log"),
    };
    let mut findings = vec![reached];
    findings.extend(answer.date.as_deref().and_then(|date| skew(date, SystemTime::now())));
    findings
}

/// Tries the broker, as a client of its own, so that nobody is pushed aside.
async fn broker(config: &Config) -> Finding {
    let Some(mqtt) = &config.mqtt else { return Finding::new("mqtt", "note", "no broker is configured") };
    let identity = StateDir::existing(&config.state_dir).and_then(|state| state.identity().ok().flatten());
    let host = identity.map_or_else(|| tomte_model::HostId::from_parts(0, 0), |identity| identity.host);
    let mut settings = match crate::mqtt::settings(mqtt, host, "doctor") {
        Ok(settings) => settings,
        Err(error) => {
            return Finding::new("mqtt", "failed", with_causes(&error))
                .cure("mend that, then run: systemctl reload tomte-agent");
        }
    };
    settings.client.id.push_str("-doctor");
    match tomte_mqtt::client::try_once(&settings).await {
        Ok(version) => {
            let version = match version {
                tomte_mqtt::protocol::Version::V5 => "5",
                tomte_mqtt::protocol::Version::V311 => "3.1.1",
            };
            Finding::new("mqtt", "ok", format!("{}, MQTT {version}", mqtt.address))
        }
        // Whoever answers says what is wrong.
        Err(failed) if failed.answered => Finding::new("mqtt", "failed", failed.why),
        Err(failed) => Finding::new("mqtt", "failed", failed.why)
            .cure(format!("see that the broker runs and that this host reaches {}", mqtt.address.authority())),
    }
}

/// Compares the clocks, as well as a header in whole seconds lets one.
fn skew(date: &str, now: SystemTime) -> Option<Finding> {
    let theirs = http_date(date)?;
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let apart = seconds.abs_diff(theirs);
    (apart > SKEW.as_secs()).then(|| {
        let direction = if seconds > theirs { "ahead of" } else { "behind" };
        let apart = Unit::Seconds.format(apart as f64);
        Finding::new("clock", "failed", format!("{apart} {direction} the hub's")).cure("timedatectl set-ntp true")
    })
}

/// Seconds since 1970 of an HTTP date: `Sun, 06 Nov 1994 08:49:37 GMT`
/// (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day = words.next()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (year, time) = (words.next()?, words.next()?);
    let moment: tomte_model::Timestamp = format!("{year}-{month:02}-{day}T{time}Z").parse().ok()?;
    u64::try_from(moment.millis() / 1000).ok()
}

/// The findings for people.
#[must_use]
pub fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { subject, verdict, text: words, cure } in findings {
        let _ = writeln!(text, "{subject:width$}  {verdict:11}  {words}");
        if let Some(cure) = cure {
            let _ = writeln!(text, "{:width$}  {:11}  -> {cure}", "", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_understood() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for bad in ["", "Sun, 06 Nov", "Sun, 99 Foo 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn clocks_that_are_far_apart_are_told() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 + 3_600);
        let finding = skew("Sun, 06 Nov 1994 08:49:37 GMT", now).expect("an hour is too much");
        assert!(finding.text.contains("1 h ahead of the hub's") && finding.is_trouble());
        let near = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(skew("Sun, 06 Nov 1994 08:49:37 GMT", near), None);
    }

    #[test]
    fn findings_are_lined_up_with_their_cures() {
        let findings =
            [Finding::new("cpu", "ok", "9 resources in 1 ms"), Finding::new("sensor", "denied", "no").cure("chmod x")];
        assert_eq!(
            text(&findings),
            "cpu     ok           9 resources in 1 ms\nsensor  denied       no\n                     -> chmod x\n"
        );
    }

    #[tokio::test]
    async fn a_machine_without_a_configuration_is_examined_with_the_defaults() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.toml");
        let findings = examine(&Sources { path: Some(path.clone()), ..Sources::default() }).await;
        let of = |subject: &str| findings.iter().find(|finding| finding.subject == subject);
        assert!(of("configuration").is_some_and(|finding| finding.is_trouble() && finding.cure.is_some()));
        for def in crate::collectors() {
            assert!(of(def.name).is_some(), "{}", def.name);
        }
        assert!(of("load").is_some_and(|finding| finding.verdict == "ok"));
        assert!(of("state").is_some() && of("hub").is_some() && of("clock").is_some());
        assert_eq!(std::fs::read_dir(folder.path()).map(Iterator::count).ok(), Some(0), "nothing was made");
        std::fs::write(&path, "hub = 5\n").expect("written");
        let findings = examine(&Sources { path: Some(path), ..Sources::default() }).await;
        assert!(findings.iter().any(|f| f.subject == "configuration" && f.text.contains("agent.toml:1:7")));
    }
}
