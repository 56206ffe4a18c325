//! A chart of one reading: which, over which time, where the cursor is, and
//! what is to be asked for it.

use tomte_api::history::HistoryQuery;
use tomte_api::resource::Resource;
use tomte_model::{HostId, Timestamp};

use crate::series::Points;
use crate::world::Key;

/// The lengths of time a chart can show, in seconds.
const SPANS: [i64; 12] =
    [60, 300, 900, 3_600, 21_600, 86_400, 259_200, 604_800, 2_592_000, 7_776_000, 31_536_000, 157_680_000];

/// As many steps are asked for; each is at least a column of the widest screens.
const STEPS: i64 = 300;

/// A chart.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub(crate) host: HostId,
    pub(crate) host_name: String,
    pub(crate) key: Key,
    /// The readings that there are, and the one on screen.
    pub(crate) fields: Vec<String>,
    pub(crate) field: usize,
    span: usize,
    /// Where it ends; `None`: now.
    pub(crate) end: Option<Timestamp>,
    /// The moment under the cursor.
    pub(crate) cursor: Option<i64>,
    pub(crate) points: Points,
    /// The question under way.
    pub(crate) waiting: Option<u64>,
    pub(crate) trouble: Option<String>,
}

impl Chart {
    /// A chart of a resource's reading; of its first when `field` is none of
    /// them. `None` when it has no readings.
    pub(crate) fn of(resource: &Resource, field: Option<&str>) -> Option<Self> {
        let fields: Vec<String> = resource.readings.keys().cloned().collect();
        let place = fields.iter().position(|known| Some(known.as_str()) == field).unwrap_or(0);
        (!fields.is_empty()).then(|| Self {
            host: resource.host_id,
            host_name: resource.host.clone(),
            key: (resource.kind.clone(), resource.name.clone()),
            fields,
            field: place,
            span: 2,
            end: None,
            cursor: None,
            points: Points::every(10_000),
            waiting: None,
            trouble: None,
        })
    }

    pub(crate) fn field(&self) -> &str {
        self.fields.get(self.field).map_or("", String::as_str)
    }

    /// How long a time it shows, in milliseconds.
    pub(crate) fn span(&self) -> i64 {
        SPANS[self.span] * 1_000
    }

    /// From when to when it shows.
    pub(crate) fn range(&self, now: Timestamp) -> (i64, i64) {
        let end = self.end.unwrap_or(now).millis();
        (end.saturating_sub(self.span()), end)
    }

    /// Shows a longer or shorter time around the cursor, within limits.
    pub(crate) fn zoom(&mut self, longer: bool, now: Timestamp) {
        let span = if longer { self.span + 1 } else { self.span.wrapping_sub(1) };
        if span >= SPANS.len() {
            return;
        }
        let (from, to) = self.range(now);
        let before = (to - from).max(1);
        self.span = span;
        if let Some(cursor) = self.cursor {
            // What is under the cursor stays where it is.
            let behind = i128::from(to - cursor) * i128::from(self.span()) / i128::from(before);
            self.end_at(cursor.saturating_add(behind as i64), now);
        }
    }

    /// Moves by a part of what it shows.
    pub(crate) fn pan(&mut self, earlier: bool, now: Timestamp) {
        let (_, to) = self.range(now);
        let by = self.span() / 4;
        self.end_at(if earlier { to.saturating_sub(by) } else { to.saturating_add(by) }, now);
    }

    /// Nothing is known of the future: there it follows the present.
    fn end_at(&mut self, end: i64, now: Timestamp) {
        let end = end.max(self.span());
        self.end = (end < now.millis()).then(|| Timestamp::from_millis(end));
    }

    /// Moves the cursor by so many of `columns`.
    pub(crate) fn step(&mut self, by: i64, columns: u16, now: Timestamp) {
        let (from, to) = self.range(now);
        let column = (self.span() / i64::from(columns.max(1))).max(1);
        let cursor = self.cursor.unwrap_or(to).saturating_add(by.saturating_mul(column));
        self.cursor = Some(cursor.clamp(from, to));
    }

    /// What to ask for what it shows.
    pub(crate) fn query(&self, now: Timestamp) -> HistoryQuery {
        let (from, to) = self.range(now);
        let step = self.span() / STEPS;
        HistoryQuery {
            series: vec![format!("{}/{}:{}/{}", self.host, self.key.0, self.key.1, self.field())],
            from: Some(from.to_string()),
            to: Some(to.to_string()),
            // What is that close comes as it was read.
            step: (step >= 10_000).then(|| format!("{step}ms")),
            ..HistoryQuery::default()
        }
    }

    /// Another reading, or another time: what is known does not fit.
    pub(crate) fn forget(&mut self) {
        self.points = Points::every((self.span() / STEPS).max(10_000));
        self.trouble = None;
    }

    /// What was told live.
    pub(crate) fn told(&mut self, resource: &Resource) {
        let Some(value) = resource.readings.get(self.field()) else { return };
        let spacing = if self.span() / STEPS >= 10_000 { self.span() / STEPS } else { 0 };
        let last = self.points.iter().next_back().map_or(i64::MIN, |point| point.at);
        if self.waiting.is_none() && resource.at.millis().saturating_sub(spacing) >= last {
            self.points.push(resource.at, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn chart() -> Chart {
        let resource = crate::sample::resource(crate::sample::host_id(1), "cpu", "cpu", &[("usage_ratio", 0.5)]);
        Chart::of(&resource, Some("usage_ratio")).unwrap()
    }

    #[test]
    fn zooming_keeps_what_is_under_the_cursor() {
        let mut chart = chart();
        let (from, to) = chart.range(NOW);
        assert_eq!((to, to - from), (NOW.millis(), 900_000));
        chart.cursor = Some(from + 450_000);
        chart.zoom(false, NOW);
        let (closer, end) = chart.range(NOW);
        assert_eq!(from + 450_000 - closer, end - (from + 450_000), "it was in the middle and still is");
        for longer in [false, true] {
            (0..SPANS.len()).for_each(|_| chart.zoom(longer, NOW));
        }
        assert_eq!(chart.span(), SPANS[SPANS.len() - 1] * 1_000);
    }

    #[test]
    fn panning_ends_at_the_present() {
        let mut chart = chart();
        chart.pan(true, NOW);
        assert_eq!(chart.range(NOW).1, NOW.millis() - 225_000);
        chart.pan(false, NOW);
        chart.pan(false, NOW);
        assert_eq!(chart.end, None);
        chart.step(-10, 90, NOW);
        assert_eq!(chart.cursor, Some(NOW.millis() - 100_000));
        chart.step(1_000, 90, NOW);
        assert_eq!(chart.cursor, Some(NOW.millis()));
    }

    #[test]
    fn close_looks_ask_for_every_reading() {
        let mut chart = chart();
        assert_eq!(chart.query(NOW).step, None);
        while chart.span() < 86_400_000 {
            chart.zoom(true, NOW);
        }
        assert_eq!(chart.query(NOW).step.as_deref(), Some("288000ms"));
    }
}
