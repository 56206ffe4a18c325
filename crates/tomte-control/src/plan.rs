//! Plans: what would be done, in words, and the hash that a decision names.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use tomte_model::{HostId, Plan, Risk};

/// A plan to run a command, before it is put into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandPlan<'a> {
    /// The host that runs it.
    pub host: HostId,
    /// The command's trigger.
    pub trigger: &'a str,
    /// The program and its arguments, as they will be.
    pub argv: &'a [String],
    /// The user it runs as.
    pub user: &'a str,
    /// How many seconds it may take.
    pub limit_seconds: u64,
    /// How many bytes of its output are kept.
    pub output_bytes: u64,
    /// How much harm it can do.
    pub risk: Risk,
}

impl CommandPlan<'_> {
    /// In words, with the hash of all that it says.
    #[must_use]
    pub fn render(&self) -> Plan {
        let text = format!(
            "run {} as {}\nfor at most {} s, with at most {} bytes of output; risk: {}",
            quoted(self.argv),
            self.user,
            self.limit_seconds,
            self.output_bytes,
            self.risk
        );
        let (host, count) = (self.host.to_string(), self.argv.len().to_string());
        let (limit, output) = (self.limit_seconds.to_string(), self.output_bytes.to_string());
        let head = ["tomte-plan-1", "command", &host, self.trigger, self.user, &limit, &output, self.risk.as_str()];
        let whole = joined(head.into_iter().chain([count.as_str()]).chain(self.argv.iter().map(String::as_str)));
        Plan { text, hash: hex(digest(&SHA256, whole.as_bytes()).as_ref()) }
    }
}

/// Texts behind their lengths, so that no two lists are written the same.
pub(crate) fn joined<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for text in texts {
        let _ = write!(joined, "{}:{text},", text.len());
    }
    joined
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Arguments as somebody would type them into a shell: for people to read, no
/// shell ever sees it.
#[must_use]
pub fn quoted(argv: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    let quote = |argument: &String| {
        if !argument.is_empty() && argument.chars().all(plain) {
            argument.clone()
        } else {
            let safe: String = argument.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            format!("'{}'", safe.replace('\'', "'\\''"))
        }
    };
    argv.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(argv: &[&str], user: &str, risk: Risk) -> Plan {
        let argv: Vec<String> = argv.iter().map(|text| (*text).to_owned()).collect();
        let host = HostId::from_parts(1, 2);
        CommandPlan { host, trigger: "df", argv: &argv, user, limit_seconds: 10, output_bytes: 16384, risk }.render()
    }

    #[test]
    fn a_plan_says_what_will_run() {
        let plan = plan(&["/usr/bin/df", "-h", "/srv/my files"], "nobody", Risk::Safe);
        assert_eq!(
            plan.text,
            "run /usr/bin/df -h '/srv/my files' as nobody\nfor at most 10 s, with at most 16384 bytes of output; risk: safe"
        );
        assert_eq!(plan.hash.len(), 64);
    }

    #[test]
    fn whatever_differs_has_another_hash() {
        let base = plan(&["/bin/a", "b c"], "nobody", Risk::Safe);
        for other in [
            plan(&["/bin/a", "b", "c"], "nobody", Risk::Safe),
            plan(&["/bin/a", "b c"], "root", Risk::Safe),
            plan(&["/bin/a", "b c"], "nobody", Risk::Guarded),
            plan(&["/bin/a", "b c", ""], "nobody", Risk::Safe),
        ] {
            assert_ne!(base.hash, other.hash);
        }
        assert_eq!(quoted(&["it's".to_owned(), "\u{1b}[2J".to_owned()]), "'it'\\''s' '\u{fffd}[2J'");
    }

    proptest! {
        #[test]
        fn lists_stay_apart(a: Vec<String>, b: Vec<String>) {
            let join = |list: &[String]| joined(list.iter().map(String::as_str));
            prop_assert_eq!(join(&a) == join(&b), a == b);
        }
    }
}
