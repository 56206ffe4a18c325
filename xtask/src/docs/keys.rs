//! `docs/reference/keys.md`: the keys of `tomte top`, from the table that they
//! work by.

use super::markdown::head;

pub(super) fn page() -> String {
    let introduction = "\
`tomte top` reads keys by this table. A key of a part of the screen goes before the same key everywhere. The `name` is
what `[keys]` in [the configuration](top-config.md) calls it; `preset = \"classic\"` starts from the second column where
that differs. The mouse selects, sorts and opens (two clicks), the wheel scrolls, and in a chart zooms.
";
    format!("{}{introduction}\n{}", head("Keys of tomte top"), tomte_tui::keys::reference())
}
