//! How long which readings are kept, in days.

use std::time::Duration;

use super::place::DAY;
use crate::options::Retention;

/// Retention, ready to be asked.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    usual: Spans,
    rules: Vec<(String, String, Spans)>,
    pub(super) max_bytes: Option<u64>,
}

/// How long something is kept, in milliseconds: readings, buckets of five
/// minutes, buckets of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spans {
    pub(super) raw: i64,
    pub(super) five: i64,
    pub(super) hour: i64,
}

/// From which day on there is history, by tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Floors {
    pub(super) raw: i64,
    pub(super) five: i64,
    pub(super) hour: i64,
}

impl Spans {
    fn new(raw: Duration, five: Duration, hour: Duration) -> Self {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 2);
        Self { raw: millis(raw), five: millis(five), hour: millis(hour) }
    }

    /// What is kept by then. A day goes when all of it is too old.
    pub(super) fn floors(self, now: i64) -> Floors {
        let floor = |span: i64| now.saturating_sub(span).div_euclid(DAY).max(0);
        Floors { raw: floor(self.raw), five: floor(self.five), hour: floor(self.hour) }
    }
}

impl Rules {
    pub(super) fn new(retention: &Retention) -> Self {
        let rules = retention
            .rules
            .iter()
            .map(|rule| (rule.kind.clone(), rule.field.clone(), Spans::new(rule.raw, rule.five_minutes, rule.hour)));
        Self {
            usual: Spans::new(retention.raw, retention.five_minutes, retention.hour),
            rules: rules.collect(),
            max_bytes: retention.max_bytes,
        }
    }

    /// How long a field is kept.
    pub(super) fn of(&self, kind: &str, field: &str) -> Spans {
        let fits = |(kinds, fields, _): &&(String, String, Spans)| fits(kinds, kind) && fits(fields, field);
        self.rules.iter().find(fits).map_or(self.usual, |(_, _, spans)| *spans)
    }

    /// Whether a field has history at all.
    pub(super) fn keeps(&self, kind: &str, field: &str) -> bool {
        self.rules.is_empty() || self.of(kind, field).raw > 0
    }

    /// The longest and the shortest span, by tier.
    pub(super) fn extremes(&self) -> (Spans, Spans) {
        let all = || self.rules.iter().map(|(_, _, spans)| spans).filter(|spans| spans.raw > 0).chain([&self.usual]);
        let of = |pick: fn(&Spans) -> i64, longest: bool| {
            let spans = all().map(pick);
            if longest { spans.max() } else { spans.min() }.unwrap_or(0)
        };
        let spans = |longest| Spans {
            raw: of(|spans| spans.raw, longest),
            five: of(|spans| spans.five, longest),
            hour: of(|spans| spans.hour, longest),
        };
        (spans(true), spans(false))
    }
}

/// Whether a word fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, word: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == word };
    let Some(mut word) = word.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').map_or((None, rest), |(middle, end)| (Some(middle), end));
    for piece in middle.into_iter().flat_map(|middle| middle.split('*')) {
        let Some(at) = word.find(piece) else { return false };
        word = &word[at + piece.len()..];
    }
    word.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_people_think() {
        for (pattern, word, expected) in [
            ("cpu", "cpu", true),
            ("cpu", "cpus", false),
            ("*", "", true),
            ("*_ratio", "used_ratio", true),
            ("*_ratio", "used_ratios", false),
            ("used_*", "used_ratio", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("a*a", "a", false),
            ("*x*", "axb", true),
            ("*x*", "ab", false),
        ] {
            assert_eq!(fits(pattern, word), expected, "{pattern} {word}");
        }
    }
}
