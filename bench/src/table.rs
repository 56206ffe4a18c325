//! Figures as rows of a table: ours, the target and how far off it is, the
//! peer's and the ratio.

use comfy_table::{CellAlignment, Table, presets};

/// What a figure is measured in; decides how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Bytes, written in millions.
    Megabytes,
    /// Bytes, written as they are.
    Bytes,
    /// Seconds, written in thousandths.
    Milliseconds,
    /// Seconds, written in thousandths of millionths.
    Nanoseconds,
    /// A part of one, written in per cent.
    Share,
    /// A plain number.
    Count,
}

impl Measure {
    fn write(self, value: f64) -> String {
        match self {
            Self::Megabytes => format!("{} MB", significant(value / 1e6)),
            Self::Bytes => format!("{} B", significant(value)),
            Self::Milliseconds => format!("{} ms", significant(value * 1e3)),
            Self::Nanoseconds => format!("{} ns", significant(value * 1e9)),
            Self::Share => format!("{} %", significant(value * 100.0)),
            Self::Count => significant(value),
        }
    }
}

/// Three digits, or all of those before the point.
fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) && digit.is_ascii_digit() && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// Another program's figure for the same thing.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    name: String,
    value: f64,
}

impl Peer {
    /// Measured in this very run.
    pub(crate) fn measured(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value }
    }
    /// Measured earlier, on another day: see docs/benchmarks.md.
    pub(crate) fn recorded(name: &str, value: f64) -> Self {
        Self { name: format!("{name} (recorded)"), value }
    }
}

/// One row. Less is better for all of them.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    what: String,
    measure: Measure,
    ours: f64,
    target: Option<f64>,
    peers: Vec<Peer>,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, measure: Measure, ours: f64) -> Self {
        Self { what: what.into(), measure, ours, target: None, peers: Vec::new() }
    }
    /// What it should be at most.
    pub(crate) fn target(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }
    /// Another program's figure.
    pub(crate) fn beside(mut self, peer: impl Into<Option<Peer>>) -> Self {
        self.peers.extend(peer.into());
        self
    }

    fn row(&self) -> [String; 7] {
        let list = |part: &dyn Fn(&Peer) -> String| self.peers.iter().map(part).collect::<Vec<_>>().join("; ");
        [
            self.what.clone(),
            self.measure.write(self.ours),
            self.target.map(|target| self.measure.write(target)).unwrap_or_default(),
            self.target.map(|target| distance(self.ours, target)).unwrap_or_default(),
            list(&|peer| peer.name.clone()),
            list(&|peer| self.measure.write(peer.value)),
            list(&|peer| ratio(peer.value, self.ours)),
        ]
    }
}

/// How far a figure is from its target.
fn distance(ours: f64, target: f64) -> String {
    let off = (ours / target - 1.0) * 100.0;
    if off <= 0.0 { format!("met, {:.0} % below", -off) } else { format!("MISSED by {off:.0} %") }
}

/// How many times ours the peer's is.
fn ratio(peer: f64, ours: f64) -> String {
    if ours > 0.0 { format!("{} x", significant(peer / ours)) } else { "-".to_owned() }
}

/// The figures as a table that can be pasted into a page.
pub(crate) fn render(figures: &[Figure]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["figure", "ours", "target", "", "peer", "peer's", "peer / ours"]);
    table.add_rows(figures.iter().map(Figure::row));
    for column in [1, 2, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_target_and_ratio() {
        let figure = Figure::new("memory", Measure::Megabytes, 2.5e6).target(2e6).beside(Peer::measured("them", 20e6));
        let row = figure.row();
        assert_eq!(row[1..], ["2.50 MB", "2.00 MB", "MISSED by 25 %", "them", "20.0 MB", "8.00 x"].map(str::to_owned));
        assert_eq!(distance(1.5, 2.0), "met, 25 % below");
        assert_eq!(ratio(1.0, 0.0), "-");
    }

    #[test]
    fn numbers_are_grouped_and_short() {
        assert_eq!(significant(1_234_567.8), "1,234,568");
        assert_eq!(significant(-123.4), "-123");
        assert_eq!(significant(0.012_34), "0.0123");
        assert_eq!(significant(0.0), "0");
    }
}
