//! The keys, from the same table that they work by.

use crate::app::App;
use crate::keys::Scope;
use crate::keys::table::BINDINGS;

/// A line of the help.
pub(super) enum Line {
    Title(&'static str),
    Key(String, &'static str),
    Blank,
}

/// Every line, those of the part that has the keyboard first.
pub(super) fn lines(app: &App, beneath: Scope) -> Vec<Line> {
    let mut scopes = vec![beneath];
    scopes.extend(Scope::ALL.into_iter().filter(|scope| *scope != beneath));
    let mut lines = Vec::new();
    for scope in scopes {
        if !lines.is_empty() {
            lines.push(Line::Blank);
        }
        lines.push(Line::Title(scope.title()));
        for binding in BINDINGS.iter().filter(|binding| binding.scope == scope) {
            let keys = app.keymap.all(binding.action);
            let keys = if keys.is_empty() { app.glyphs.nothing.to_owned() } else { keys.join(" ") };
            lines.push(Line::Key(keys, binding.help));
        }
    }
    lines
}
