//! What is drawn besides text: marks, bars and lines, in Unicode or in plain
//! ASCII for terminals and fonts that have no more.

use tomte_api::host::Presence;
use tomte_model::{Severity, Status};

/// One set of marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glyphs {
    /// Whether nothing but ASCII may be drawn.
    pub(crate) ascii: bool,
    /// What was cut off.
    pub(crate) ellipsis: &'static str,
    /// Top left, top right, bottom left, bottom right.
    pub(crate) corners: [&'static str; 4],
    /// A border across.
    pub(crate) across: &'static str,
    /// A border down.
    pub(crate) down: &'static str,
    /// The eight heights of a little bar, lowest first.
    pub(crate) heights: [&'static str; 8],
    /// A meter's filled part.
    pub(crate) full: &'static str,
    /// A meter's empty part.
    pub(crate) empty: &'static str,
    /// The column that is sorted by, falling and rising.
    pub(crate) sorted: [&'static str; 2],
    /// What is selected.
    pub(crate) cursor: &'static str,
    /// Between parts of a line.
    pub(crate) dot: &'static str,
    /// Received, sent.
    pub(crate) arrows: [&'static str; 2],
    /// Nothing is known.
    pub(crate) nothing: &'static str,
    /// The moment under the cursor of a chart.
    pub(crate) rule: &'static str,
}

/// For most terminals.
pub(crate) const UNICODE: Glyphs = Glyphs {
    ascii: false,
    ellipsis: "…",
    corners: ["╭", "╮", "╰", "╯"],
    across: "─",
    down: "│",
    heights: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    full: "■",
    empty: "·",
    sorted: ["▼", "▲"],
    cursor: "›",
    dot: "·",
    arrows: ["↓", "↑"],
    nothing: "–",
    rule: "┊",
};

/// For the rest.
pub(crate) const ASCII: Glyphs = Glyphs {
    ascii: true,
    ellipsis: "~",
    corners: ["+", "+", "+", "+"],
    across: "-",
    down: "|",
    heights: ["_", ".", ".", "-", "-", "=", "=", "#"],
    full: "#",
    empty: ".",
    sorted: ["v", "^"],
    cursor: ">",
    dot: "-",
    arrows: ["<", ">"],
    nothing: "-",
    rule: ":",
};

impl Glyphs {
    /// Tells a status without colour.
    pub(crate) fn status(&self, status: Option<Status>) -> &'static str {
        match (status, self.ascii) {
            (Some(Status::Ok), false) => "●",
            (Some(Status::Unknown), _) => "?",
            (Some(Status::Warning), false) => "▲",
            (Some(Status::Critical), false) => "✗",
            (Some(Status::Ok), true) => "o",
            (Some(Status::Warning), true) => "!",
            (Some(Status::Critical), true) => "X",
            (None, false) => "·",
            (None, true) => ".",
        }
    }

    /// Tells whether a host is heard, without colour.
    pub(crate) fn presence(&self, presence: Presence) -> &'static str {
        match (presence, self.ascii) {
            (Presence::Online, false) => "●",
            (Presence::Late, false) => "◐",
            (Presence::Offline, false) => "○",
            (Presence::Online, true) => "o",
            (Presence::Late, true) => "l",
            (Presence::Offline, true) => "x",
            (Presence::Never, _) => "-",
        }
    }

    /// Tells how much an event matters, without colour.
    pub(crate) fn severity(&self, severity: Severity) -> &'static str {
        match (severity, self.ascii) {
            (Severity::Info, false) => "·",
            (Severity::Info, true) => ".",
            (Severity::Warning, _) => self.status(Some(Status::Warning)),
            (Severity::Error | Severity::Critical, _) => self.status(Some(Status::Critical)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::width;

    #[test]
    fn every_mark_is_one_cell_wide_and_the_fallback_is_ascii() {
        for glyphs in [UNICODE, ASCII] {
            let Glyphs { ellipsis, corners, across, down, heights, full, empty, sorted, cursor, dot, .. } = glyphs;
            let mut all = vec![ellipsis, across, down, full, empty, cursor, dot, glyphs.nothing, glyphs.rule];
            all.extend(corners.into_iter().chain(heights).chain(sorted).chain(glyphs.arrows));
            all.extend(Status::ALL.map(|status| glyphs.status(Some(status))));
            all.push(glyphs.status(None));
            let presences = [Presence::Online, Presence::Late, Presence::Offline, Presence::Never];
            all.extend(presences.map(|presence| glyphs.presence(presence)));
            for mark in all {
                assert_eq!(width(mark), 1, "{mark}");
                assert!(!glyphs.ascii || mark.is_ascii(), "{mark}");
            }
        }
    }
}
