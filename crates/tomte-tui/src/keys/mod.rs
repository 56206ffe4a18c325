//! Keys: what each does, in which part of the screen, as data.
//!
//! [`table`] is the only list; the help on the screen, the page of the docs and
//! what a key press does are made from it. One's own keys replace those of an
//! action. A chord of several keys (`g g`) waits for its next key.

mod chord;
pub(crate) mod table;

use std::collections::{BTreeMap, HashMap};

pub(crate) use chord::Chord;
pub use table::{Action, Preset, Scope};
use table::{BINDINGS, Binding};

/// What a sequence of keys means so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It does something.
    Action(Action),
    /// It begins something.
    Begun,
    /// Nothing.
    Nothing,
}

/// The keys in force.
#[derive(Debug, Clone)]
pub(crate) struct Keymap {
    by_action: BTreeMap<Action, Vec<Vec<Chord>>>,
    by_keys: HashMap<(Scope, Vec<Chord>), Action>,
}

impl Keymap {
    /// The keys of a preset, with one's own over them, by the action's name.
    ///
    /// # Errors
    /// With a sentence, when a key or an action does not exist, or one key
    /// would do two things.
    pub(crate) fn new(preset: Preset, own: &BTreeMap<String, Vec<String>>) -> Result<Self, String> {
        let mut by_action = BTreeMap::new();
        for binding in BINDINGS {
            by_action.insert(binding.action, parsed(binding.keys(preset))?);
        }
        let mut mine = Vec::new();
        for (name, keys) in own {
            let binding = BINDINGS.iter().find(|binding| binding.name == name).ok_or_else(|| {
                let known: Vec<_> = BINDINGS.iter().map(|binding| binding.name).collect();
                format!("keys.{name}: no such action; there are {}", known.join(", "))
            })?;
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            by_action.insert(binding.action, parsed(&keys).map_err(|why| format!("keys.{name}: {why}"))?);
            mine.push(binding.action);
        }
        // What somebody chose takes a key from what merely came with it.
        let taken: Vec<(Scope, Vec<Chord>)> = BINDINGS
            .iter()
            .filter(|binding| mine.contains(&binding.action))
            .flat_map(|binding| by_action[&binding.action].iter().map(|keys| (binding.scope, keys.clone())))
            .collect();
        for binding in BINDINGS.iter().filter(|binding| !mine.contains(&binding.action)) {
            if let Some(keys) = by_action.get_mut(&binding.action) {
                keys.retain(|keys| !taken.iter().any(|(scope, taken)| *scope == binding.scope && taken == keys));
            }
        }
        let mut by_keys = HashMap::new();
        for binding in BINDINGS {
            for keys in &by_action[&binding.action] {
                if let Some(other) = by_keys.insert((binding.scope, keys.clone()), binding.action) {
                    let other = BINDINGS.iter().find(|b| b.action == other).map_or("", |b| b.name);
                    let keys = written(keys);
                    return Err(format!("keys: {keys:?} is asked to do both {other} and {}", binding.name));
                }
            }
        }
        Ok(Self { by_action, by_keys })
    }

    /// What keys pressed one after the other mean there. What belongs to the
    /// part of the screen goes before what holds everywhere.
    pub(crate) fn meaning(&self, scope: Scope, keys: &[Chord]) -> Meaning {
        let found = [scope, Scope::Everywhere].into_iter().find_map(|s| self.by_keys.get(&(s, keys.to_vec())));
        if let Some(action) = found {
            return Meaning::Action(*action);
        }
        let begins = |(s, known): &(Scope, Vec<Chord>)| {
            (*s == scope || *s == Scope::Everywhere) && known.len() > keys.len() && known.starts_with(keys)
        };
        if self.by_keys.keys().any(begins) { Meaning::Begun } else { Meaning::Nothing }
    }

    /// The first key of an action, for the status bar; empty when it has none.
    pub(crate) fn first(&self, action: Action) -> String {
        self.by_action.get(&action).and_then(|keys| keys.first()).map(|keys| written(keys)).unwrap_or_default()
    }

    /// All keys of an action.
    pub(crate) fn all(&self, action: Action) -> Vec<String> {
        self.by_action.get(&action).map(|all| all.iter().map(|keys| written(keys)).collect()).unwrap_or_default()
    }
}

fn parsed(keys: &[&str]) -> Result<Vec<Vec<Chord>>, String> {
    let sequence = |text: &&str| {
        let chords: Result<Vec<Chord>, String> = text.split_whitespace().map(str::parse).collect();
        match chords {
            Ok(chords) if chords.is_empty() => Err("a key is empty".to_owned()),
            Ok(chords) if chords.len() > 3 => Err(format!("{text:?} is more than three keys")),
            other => other,
        }
    };
    keys.iter().map(sequence).collect()
}

fn written(keys: &[Chord]) -> String {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    // g g is pressed as gg.
    if keys.iter().all(|key| key.chars().count() == 1) { keys.concat() } else { keys.join(" ") }
}

/// The keys of both presets as Markdown, for the docs.
#[must_use]
pub fn reference() -> String {
    let column = |keys: &[&str]| match keys {
        [] => String::new(),
        keys => {
            let parsed = parsed(keys).unwrap_or_default();
            // A bar would end the cell of the table.
            let shown: Vec<String> =
                parsed.iter().map(|keys| format!("`{}`", written(keys).replace('|', "\\|"))).collect();
            shown.join(", ")
        }
    };
    let mut page = String::new();
    for scope in Scope::ALL {
        let of_scope: Vec<&Binding> = BINDINGS.iter().filter(|binding| binding.scope == scope).collect();
        page.push_str(&format!("## {}\n\n", scope.title()));
        page.push_str("| keys | preset `classic` | name | what it does |\n| --- | --- | --- | --- |\n");
        for binding in of_scope {
            let (usual, classic) = (column(binding.keys(Preset::Default)), column(binding.keys(Preset::Classic)));
            let classic = if usual == classic { String::new() } else { classic };
            page.push_str(&format!("| {usual} | {classic} | `{}` | {} |\n", binding.name, binding.help));
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn own(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let owned = |keys: &&[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        pairs.iter().map(|(name, keys)| ((*name).to_owned(), owned(keys))).collect()
    }

    #[test]
    fn both_presets_are_free_of_conflicts_and_can_quit() {
        for preset in [Preset::Default, Preset::Classic] {
            let keymap = Keymap::new(preset, &BTreeMap::new()).unwrap();
            let q = "q".parse::<Chord>().unwrap();
            assert_eq!(keymap.meaning(Scope::Fleet, &[q]), Meaning::Action(Action::Quit));
        }
        let names: std::collections::BTreeSet<_> = BINDINGS.iter().map(|binding| binding.name).collect();
        assert_eq!(names.len(), BINDINGS.len(), "names are unique");
        let actions: std::collections::BTreeSet<_> = BINDINGS.iter().map(|binding| binding.action).collect();
        assert_eq!(actions.len(), BINDINGS.len(), "an action is bound in one place");
    }

    #[test]
    fn sequences_wait_for_their_next_key() {
        let keymap = Keymap::new(Preset::Default, &BTreeMap::new()).unwrap();
        let g = "g".parse::<Chord>().unwrap();
        assert_eq!(keymap.meaning(Scope::Fleet, &[g]), Meaning::Begun);
        assert_eq!(keymap.meaning(Scope::Fleet, &[g, g]), Meaning::Action(Action::Top));
        assert_eq!(keymap.meaning(Scope::Fleet, &[g, "x".parse().unwrap()]), Meaning::Nothing);
        assert_eq!(keymap.first(Action::Top), "gg");
    }

    #[test]
    fn ones_own_keys_replace_those_of_the_preset_and_take_them_from_others() {
        let keymap = Keymap::new(Preset::Default, &own(&[("sort", &["f2", "r"])])).unwrap();
        let meaning = |key: &str| keymap.meaning(Scope::Fleet, &[key.parse().unwrap()]);
        assert_eq!(meaning("f2"), Meaning::Action(Action::Sort));
        assert_eq!(meaning("s"), Meaning::Nothing);
        let everywhere = Keymap::new(Preset::Default, &own(&[("freeze", &["r"])])).unwrap();
        assert_eq!(everywhere.meaning(Scope::Fleet, &["r".parse().unwrap()]), Meaning::Action(Action::Freeze));
        assert_eq!(everywhere.first(Action::Refresh), "f5");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let complaint = |pairs: &[(&str, &[&str])]| Keymap::new(Preset::Default, &own(pairs)).unwrap_err();
        assert!(complaint(&[("explode", &["x"])]).contains("there are quit"));
        assert!(complaint(&[("quit", &["hyper-x"])]).contains("keys.quit"));
        assert!(complaint(&[("quit", &[""])]).contains("empty"));
        assert!(complaint(&[("quit", &["x"]), ("help", &["x"])]).contains("both"));
    }

    #[test]
    fn the_reference_names_every_action() {
        let page = reference();
        assert!(BINDINGS.iter().all(|binding| page.contains(&format!("`{}`", binding.name))));
    }
}
