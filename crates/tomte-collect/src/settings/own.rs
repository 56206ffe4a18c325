//! What only the host's own file may declare: what to reach, which commands to
//! run, which files to read.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use tomte_model::Unit;

/// More than so many checks, or probes, are refused.
const MOST: usize = 500;
/// How long an answer may take unless configured otherwise.
const TIMEOUT: u32 = 10;
/// The longest time-out.
const LONGEST: u32 = 60;

/// `[[check]]`: something that this host must be able to reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSettings {
    /// What it is called.
    pub name: String,
    /// How it is asked.
    #[serde(rename = "type")]
    pub kind: CheckKind,
    /// What is asked: `host:port` (tcp), a URL (http, mqtt), a name (dns), a
    /// name or an address (ping).
    pub target: String,
    /// How long the answer may take, in seconds.
    #[serde(default = "timeout")]
    pub timeout: u32,
    /// The HTTP status that it must have; without one, any from 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What must occur in the body (http), or among the addresses (dns).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// Whether the server's certificate must be good. It is watched in any case.
    #[serde(default = "yes")]
    pub verify: bool,
    /// Certificates to trust besides the system's, a PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The user at the broker (mqtt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The file that holds the password at the broker (mqtt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Where the message is published and received (mqtt).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// How something is asked whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// A connection is opened and closed.
    Tcp,
    /// A page is fetched.
    Http,
    /// A name is looked up.
    Dns,
    /// Echo requests are sent.
    Ping,
    /// A message is sent to a broker and comes back.
    Mqtt,
}

impl CheckKind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Dns => "dns",
            Self::Ping => "ping",
            Self::Mqtt => "mqtt",
        }
    }
}

fn timeout() -> u32 {
    TIMEOUT
}

fn yes() -> bool {
    true
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whether by TLS.
    pub tls: bool,
    /// The host's name or address, without brackets.
    pub host: String,
    /// The port; zero where there is none (dns, ping).
    pub port: u16,
    /// What a web server is asked for.
    pub path: String,
}

impl Place {
    /// What stands in a `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl CheckSettings {
    /// Where to connect.
    ///
    /// # Errors
    /// In words, when the target does not say.
    pub fn place(&self) -> Result<Place, String> {
        let wrong =
            |example: &str| format!("the target {:?} of the check is not understood; write {example}", self.target);
        match self.kind {
            CheckKind::Tcp => split(&self.target, None)
                .map(|(host, port)| Place { tls: false, host, port, path: String::new() })
                .ok_or_else(|| wrong("\"host:port\"")),
            CheckKind::Dns | CheckKind::Ping => {
                let clean =
                    !self.target.is_empty() && self.target.chars().all(|c| !c.is_whitespace() && !"/@?#".contains(c));
                clean
                    .then(|| Place { tls: false, host: self.target.clone(), port: 0, path: String::new() })
                    .ok_or_else(|| wrong("a name or an address"))
            }
            CheckKind::Http => {
                url(&self.target, [("http", 80), ("https", 443)]).ok_or_else(|| wrong("\"https://host/path\""))
            }
            CheckKind::Mqtt => {
                url(&self.target, [("mqtt", 1883), ("mqtts", 8883)]).ok_or_else(|| wrong("\"mqtt://host:1883\""))
            }
        }
    }
}

/// The schemes are the plain one and the one with TLS, with their ports.
fn url(text: &str, schemes: [(&str, u16); 2]) -> Option<Place> {
    let (scheme, rest) = text.split_once("://")?;
    let at = schemes.iter().position(|(name, _)| *name == scheme)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    // A password does not belong into a URL that everybody is shown.
    let clean = path.chars().all(|c| c.is_ascii_graphic()) && !authority.contains('@');
    let (host, port) = split(authority, Some(schemes[at].1)).filter(|_| clean)?;
    Some(Place { tls: at == 1, host, port, path })
}

fn split(authority: &str, usual: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map(|(host, port)| (host, port.strip_prefix(':')))?,
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => usual?,
    };
    let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(clean)).then(|| (host.to_owned(), port))
}

/// Reads `[[check]]`, and holds them against each other.
///
/// # Errors
/// In words, which of them is wrong and how.
pub fn checks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<CheckSettings>, D::Error> {
    let checks = Vec::<CheckSettings>::deserialize(deserializer)?;
    names::<D>("check", checks.iter().map(|check| check.name.as_str()))?;
    for check in &checks {
        check.place().map_err(|error| D::Error::custom(format!("check {:?}: {error}", check.name)))?;
        limit::<D>("check", &check.name, check.timeout)?;
    }
    Ok(checks)
}

fn names<'a, 'de, D: Deserializer<'de>>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), D::Error> {
    let mut seen = HashSet::new();
    for name in names {
        if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
            return Err(D::Error::custom(format!("{name:?} is no name for a {what}; write 1 to 100 characters")));
        }
        if !seen.insert(name) {
            return Err(D::Error::custom(format!("two {what}s are called {name:?}")));
        }
    }
    if seen.len() > MOST {
        return Err(D::Error::custom(format!("more than {MOST} {what}s")));
    }
    Ok(())
}

fn limit<'de, D: Deserializer<'de>>(what: &str, name: &str, timeout: u32) -> Result<(), D::Error> {
    if (1..=LONGEST).contains(&timeout) {
        return Ok(());
    }
    Err(D::Error::custom(format!("{what} {name:?}: a timeout is 1 to {LONGEST} seconds, not {timeout}")))
}

/// `[[probe]]`: a command of the host's own, run as the agent's user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSettings {
    /// What it is called.
    pub name: String,
    /// The program's path and its arguments. No shell reads it.
    pub command: Vec<String>,
    /// What it says.
    #[serde(default)]
    pub value: ProbeValue,
    /// Where in a JSON output the value is: `sensors.0.temperature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// A regular expression whose first group, or whole match, is the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// What the value is measured in: celsius, bytes, ratio, or any other word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// The value is multiplied by this: 0.001 for what comes in thousandths.
    #[serde(default = "one")]
    pub factor: f64,
    /// What a binary probe, or a text, must not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How often it is run, in seconds; not more often than the collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<u32>,
    /// How long it may take, in seconds.
    #[serde(default = "timeout")]
    pub timeout: u32,
}

fn one() -> f64 {
    1.0
}

/// What a probe says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeValue {
    /// A number.
    #[default]
    Number,
    /// A text.
    Text,
    /// On or off: by on, off, yes, no, true, false, 1, 0; a command that says
    /// nothing, by whether it succeeds.
    Binary,
}

/// Reads `[[probe]]`, and holds them against each other.
///
/// # Errors
/// In words, which of them is wrong and how.
pub fn probes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ProbeSettings>, D::Error> {
    let probes = Vec::<ProbeSettings>::deserialize(deserializer)?;
    names::<D>("probe", probes.iter().map(|probe| probe.name.as_str()))?;
    for probe in &probes {
        let wrong = |why: String| D::Error::custom(format!("probe {:?}: {why}", probe.name));
        limit::<D>("probe", &probe.name, probe.timeout)?;
        if !probe.command.first().is_some_and(|program| program.starts_with('/')) {
            return Err(wrong("the command begins with the whole path of a program".to_owned()));
        }
        if probe.json.is_some() && probe.regex.is_some() {
            return Err(wrong("json and regex exclude each other".to_owned()));
        }
        if let Some(regex) = &probe.regex {
            regex_lite::Regex::new(regex).map_err(|error| wrong(format!("the regex is none: {error}")))?;
        }
        if !probe.factor.is_finite() || probe.interval == Some(0) {
            return Err(wrong("factor and interval are numbers above zero".to_owned()));
        }
    }
    Ok(probes)
}

/// Settings of the collector `textfile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextfileSettings {
    /// The folder whose files `*.prom` are read.
    pub directory: PathBuf,
}

impl Default for TextfileSettings {
    fn default() -> Self {
        Self { directory: "/var/lib/prometheus/node-exporter".into() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::Settings;

    fn check(kind: &str, target: &str) -> Result<Place, String> {
        let text = format!("[[check]]\nname = \"x\"\ntype = \"{kind}\"\ntarget = \"{target}\"\n");
        let settings: Settings = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
        settings.check[0].place()
    }

    #[test]
    fn targets_are_what_their_type_needs() {
        let place = check("http", "https://nas.example/x?y=1").unwrap();
        assert_eq!((place.tls, place.port, place.path.as_str()), (true, 443, "/x?y=1"));
        assert_eq!(place.authority(), "nas.example");
        assert_eq!(check("http", "http://[::1]:8080").unwrap().authority(), "[::1]:8080");
        assert_eq!(check("tcp", "nas:22").unwrap().port, 22);
        assert_eq!(check("mqtt", "mqtts://broker").unwrap().port, 8883);
        for (kind, target) in [
            ("tcp", "nas"),
            ("tcp", "nas:0"),
            ("http", "nas"),
            ("http", "https://user:secret@nas/"),
            ("mqtt", "http://x"),
            ("dns", ""),
            ("ping", "a b"),
            ("smoke", "x"),
        ] {
            assert!(check(kind, target).is_err(), "{kind} {target}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        let refused = |text: &str| toml::from_str::<Settings>(text).unwrap_err().message().to_owned();
        let probe = "[[probe]]\nname = \"a\"\ncommand = [\"/bin/true\"]\n";
        assert!(refused(&format!("{probe}{probe}")).contains("two probes are called \"a\""));
        assert!(refused(&format!("{probe}regex = \"(\"\n")).contains("the regex is none"));
        assert!(refused(&format!("{probe}timeout = 0\n")).contains("1 to 60 seconds"));
        assert!(refused("[[probe]]\nname = \"a\"\ncommand = [\"true\"]\n").contains("whole path"));
        let good: Settings = toml::from_str(&format!("{probe}unit = \"celsius\"\nvalue = \"binary\"\n")).unwrap();
        assert_eq!((good.probe[0].unit.clone(), good.probe[0].value), (Some(Unit::Celsius), ProbeValue::Binary));
        let again: Settings = toml::from_str(&toml::to_string(&good).unwrap()).unwrap();
        assert_eq!(again, good);
    }
}
