//! The machine as a whole: how long it has been up, and who is logged in.

use tomte_model::{Facet, Moment, Scope, Table, Timestamp, Value};

use crate::Collector;
use crate::error::Malformed;
use crate::reader::FileReader;
use crate::root::Root;
use crate::settings::Settings;
use crate::users::{self, Session};

/// The collector `host`.
pub(crate) fn make(root: &Root, _: &Settings) -> Box<dyn Collector> {
    Box::new(Host { uptime: FileReader::new(root.proc("uptime")), root: root.clone() })
}

struct Host {
    uptime: FileReader,
    root: Root,
}

impl Collector for Host {
    fn collect(&mut self, _: Moment) -> Vec<Scope> {
        let host = match self.uptime.parse(parse_uptime) {
            Ok(seconds) => {
                let mut facet = Facet::owner("host", "host", "main");
                facet.read("uptime_seconds", seconds);
                Scope::complete("host", vec![facet])
            }
            Err(error) => error.scope("host"),
        };
        let users = match users::sessions(&self.root) {
            Ok(sessions) => Scope::complete("users", vec![users_facet(&sessions)]),
            Err(error) => error.scope("users"),
        };
        vec![host, users]
    }
}

/// `12345.67 54321.00`, of which the first is the uptime, sleep included. In a
/// container made with lxcfs it is the container's, unlike CLOCK_BOOTTIME.
fn parse_uptime(text: &str) -> Result<f64, Malformed> {
    let seconds = text.split_ascii_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    seconds.filter(|s| s.is_finite() && *s >= 0.0).ok_or_else(|| Malformed::new(1, "seconds since boot", text))
}

fn users_facet(sessions: &[Session]) -> Facet {
    let mut names: Vec<_> = sessions.iter().map(|session| &session.user).collect();
    names.sort_unstable();
    names.dedup();
    let mut facet = Facet::extra("host", "host", "users");
    facet.read("users_logged_in", names.len() as f64);
    let text = |text: &str| (!text.is_empty()).then(|| Value::Text(text.to_owned()));
    let since = |at: Timestamp| Some(Value::Text(at.to_string()));
    facet.tables.push(Table {
        name: "users".into(),
        columns: ["user", "terminal", "from", "since"].map(Into::into).into(),
        rows: sessions
            .iter()
            .map(|s| vec![text(&s.user), text(&s.terminal), text(&s.from), s.since.and_then(since)])
            .collect(),
    });
    facet
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use tomte_model::Outcome;

    use super::*;

    #[test]
    fn uptime_and_users_stand_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        std::fs::create_dir_all(root.proc("")).unwrap();
        std::fs::write(root.proc("uptime"), "12345.67 54321.00\n").unwrap();
        let scopes = make(&root, &Settings::default()).collect(Moment::default());
        assert_eq!(scopes[0].facets[0].reading("uptime_seconds"), Some(12_345.67));
        assert!(matches!(scopes[1].outcome, Outcome::Unavailable { .. }));
    }

    #[test]
    fn a_user_with_two_sessions_counts_once() {
        let session = |user: &str, terminal: &str| Session {
            user: user.to_owned(),
            terminal: terminal.to_owned(),
            from: String::new(),
            since: Some(Timestamp::from_millis(1_767_225_600_000)),
        };
        let facet = users_facet(&[session("ann", "tty1"), session("ann", "pts/0"), session("bob", "pts/1")]);
        assert_eq!(facet.reading("users_logged_in"), Some(2.0));
        assert_eq!(facet.tables[0].rows.len(), 3);
        let texts: Vec<_> = facet.tables[0].rows[1].iter().map(|cell| cell.as_ref().map(Value::to_string)).collect();
        assert_eq!(texts, [Some("ann".into()), Some("pts/0".into()), None, Some("2026-01-01T00:00:00.000Z".into())]);
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String) {
            let _ = parse_uptime(&text);
        }
    }
}
