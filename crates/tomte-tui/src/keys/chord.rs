//! One key with its modifiers, as people write it: `q`, `G`, `ctrl-d`,
//! `shift-tab`, `f1`, `space`.

use std::fmt;
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// One key with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct Chord {
    code: KeyCode,
    modifiers: KeyModifiers,
}

/// Keys that have a name.
const NAMED: [(&str, KeyCode); 15] = [
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backspace", KeyCode::Backspace),
    ("space", KeyCode::Char(' ')),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("insert", KeyCode::Insert),
    ("delete", KeyCode::Delete),
];

impl Chord {
    fn new(code: KeyCode, modifiers: KeyModifiers) -> Self {
        let mut modifiers = modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT);
        // Terminals disagree on whether the shift of a capital is told.
        let code = match code {
            KeyCode::Char(c) => {
                let shifted = modifiers.contains(KeyModifiers::SHIFT) && c.is_ascii_lowercase();
                modifiers.remove(KeyModifiers::SHIFT);
                KeyCode::Char(if shifted { c.to_ascii_uppercase() } else { c })
            }
            KeyCode::BackTab => {
                modifiers.insert(KeyModifiers::SHIFT);
                KeyCode::Tab
            }
            other => other,
        };
        Self { code, modifiers }
    }
}

impl From<KeyEvent> for Chord {
    fn from(event: KeyEvent) -> Self {
        Self::new(event.code, event.modifiers)
    }
}

impl FromStr for Chord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{text:?} is no key; write a character, a name such as enter, esc, tab, space, up, pagedown or f5, \
                 with ctrl-, alt- or shift- before it"
            )
        };
        let mut rest = text;
        let mut modifiers = KeyModifiers::NONE;
        // A lone minus is the key itself.
        while let Some((modifier, after)) =
            rest.split_once('-').filter(|(before, after)| !before.is_empty() && !after.is_empty())
        {
            modifiers |= match modifier {
                "ctrl" => KeyModifiers::CONTROL,
                "alt" => KeyModifiers::ALT,
                "shift" => KeyModifiers::SHIFT,
                _ => return Err(bad()),
            };
            rest = after;
        }
        let named = NAMED.iter().find(|(name, _)| *name == rest).map(|(_, code)| *code);
        let function = || {
            let number: u8 = rest.strip_prefix('f')?.parse().ok()?;
            (1..=24).contains(&number).then_some(KeyCode::F(number))
        };
        let character = || {
            let mut characters = rest.chars();
            characters.next().filter(|c| characters.next().is_none() && !c.is_control()).map(KeyCode::Char)
        };
        let code = named.or_else(function).or_else(character).ok_or_else(bad)?;
        Ok(Self::new(code, modifiers))
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (modifier, name) in
            [(KeyModifiers::CONTROL, "ctrl-"), (KeyModifiers::ALT, "alt-"), (KeyModifiers::SHIFT, "shift-")]
        {
            if self.modifiers.contains(modifier) {
                f.write_str(name)?;
            }
        }
        if let Some((name, _)) = NAMED.iter().find(|(_, code)| *code == self.code) {
            return f.write_str(name);
        }
        match self.code {
            KeyCode::Char(c) => write!(f, "{c}"),
            KeyCode::F(number) => write!(f, "f{number}"),
            _ => f.write_str("?"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        for text in ["q", "G", "?", "-", "/", "ctrl-d", "alt-x", "shift-tab", "f12", "space", "pageup", "ctrl-alt-k"] {
            assert_eq!(text.parse::<Chord>().unwrap().to_string(), text);
        }
        for text in ["", "qq", "ctrl-", "super-x", "f25", "\u{7}"] {
            assert!(text.parse::<Chord>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn terminals_that_tell_shift_and_those_that_do_not_are_alike() {
        let key = |code, modifiers| Chord::from(KeyEvent::new(code, modifiers));
        let capital = "G".parse::<Chord>().unwrap();
        assert_eq!(key(KeyCode::Char('G'), KeyModifiers::SHIFT), capital);
        assert_eq!(key(KeyCode::Char('G'), KeyModifiers::NONE), capital);
        assert_eq!(key(KeyCode::Char('g'), KeyModifiers::SHIFT), capital);
        assert_eq!(key(KeyCode::BackTab, KeyModifiers::NONE), "shift-tab".parse().unwrap());
        assert_eq!(key(KeyCode::BackTab, KeyModifiers::SHIFT), "shift-tab".parse().unwrap());
    }
}
