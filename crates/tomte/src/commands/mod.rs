//! One file per command. Each asks the API and prints the answer.

pub(crate) mod action;
pub(crate) mod catalogue;
pub(crate) mod change;
pub(crate) mod check;
pub(crate) mod event;
pub(crate) mod export;
pub(crate) mod host;
pub(crate) mod hub;
pub(crate) mod import;
pub(crate) mod manual;
mod openmetrics;
pub(crate) mod query;
pub(crate) mod resource;
pub(crate) mod store;
pub(crate) mod token;
pub(crate) mod top;
pub(crate) mod user;
pub(crate) mod watch;

use std::time::Duration;

use tomte_model::Timestamp;

use crate::output::Text;

/// How long ago, for people; the time itself for programs.
fn ago(at: Option<Timestamp>, now: Timestamp) -> Text {
    let Some(at) = at else { return Text::none() };
    let age = now.since(at);
    let shown = if age.as_secs() == 0 { "now".to_owned() } else { span(age) };
    Text::with_raw(shown, at.to_string())
}

/// An age for people.
fn span(age: Duration) -> String {
    match age.as_secs() {
        // Tenths of a second are noise in an age.
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => tomte_model::Unit::Seconds.format(seconds as f64),
    }
}

/// The present time. The command line is at the edge: it may read a clock.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
