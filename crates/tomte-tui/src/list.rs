//! Moving in lists, and typing a line of text.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// How long a typed line may be.
const TYPED: usize = 200;

/// What is selected in a list, and what is the first of it on the screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) at: usize,
    pub(crate) offset: usize,
}

impl Cursor {
    /// Moves within a list of that length.
    pub(crate) fn step(&mut self, by: isize, len: usize) {
        self.at = self.at.saturating_add_signed(by).min(len.saturating_sub(1));
    }

    /// Keeps within a list of that length, and on a screen of that height.
    pub(crate) fn keep(&mut self, len: usize, height: usize) {
        self.at = self.at.min(len.saturating_sub(1));
        self.offset = scrolled(self.offset, self.at, len, height);
    }
}

/// The first line on a screen of that height, so that `at` is on it and no
/// room is wasted.
pub(crate) fn scrolled(offset: usize, at: usize, len: usize, height: usize) -> usize {
    let height = height.max(1);
    let offset = offset.min(at).max((at + 1).saturating_sub(height));
    offset.min(len.saturating_sub(height))
}

/// A line of text that is being typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) text: String,
}

/// What a key did to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Typed {
    /// It is another text now.
    Changed,
    /// It is finished.
    Done,
    /// It is given up.
    Given,
    /// The key is none of a line's.
    Other,
}

impl Input {
    pub(crate) fn key(&mut self, key: KeyEvent) -> Typed {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => Typed::Done,
            KeyCode::Esc => Typed::Given,
            KeyCode::Backspace => {
                if self.text.pop().is_some() {
                    Typed::Changed
                } else {
                    Typed::Given
                }
            }
            KeyCode::Char('u') if control => {
                self.text.clear();
                Typed::Changed
            }
            KeyCode::Char('w') if control => {
                let kept = self.text.trim_end().rfind(' ').map_or(0, |blank| blank + 1);
                self.text.truncate(kept);
                Typed::Changed
            }
            KeyCode::Char('h') if control => self.key(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE)),
            KeyCode::Char(c) if !control && !key.modifiers.contains(KeyModifiers::ALT) => self.push(&c.to_string()),
            _ => Typed::Other,
        }
    }

    /// Typed or pasted.
    pub(crate) fn push(&mut self, text: &str) -> Typed {
        let room = TYPED.saturating_sub(self.text.chars().count());
        self.text.extend(crate::text::clean(text).chars().take(room));
        Typed::Changed
    }
}

/// Whether every word occurs in one of the texts. Words are lower-case.
pub(crate) fn matches<'a>(filter: &str, texts: impl Iterator<Item = &'a str> + Clone) -> bool {
    let lower = filter.to_lowercase();
    lower.split_whitespace().all(|word| texts.clone().any(|text| text.to_lowercase().contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_stay_in_their_list_and_on_the_screen() {
        let mut cursor = Cursor::default();
        cursor.step(-1, 5);
        assert_eq!(cursor.at, 0);
        cursor.step(100, 5);
        assert_eq!(cursor.at, 4);
        cursor.keep(5, 3);
        assert_eq!(cursor.offset, 2);
        cursor.keep(2, 3);
        assert_eq!((cursor.at, cursor.offset), (1, 0));
        cursor.keep(0, 0);
        assert_eq!((cursor.at, cursor.offset), (0, 0));
    }

    #[test]
    fn a_line_is_typed_and_edited() {
        let mut input = Input::default();
        let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
        let control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
        for c in "web nas".chars() {
            assert_eq!(input.key(key(KeyCode::Char(c))), Typed::Changed);
        }
        input.key(control('w'));
        assert_eq!(input.text, "web ");
        input.key(key(KeyCode::Backspace));
        assert_eq!(input.text, "web");
        input.push("\u{1b}[31m\n");
        assert!(!input.text.contains('\u{1b}'));
        input.key(control('u'));
        assert_eq!(input.text, "");
        assert_eq!(input.key(key(KeyCode::Backspace)), Typed::Given);
        input.push(&"x".repeat(5_000));
        assert_eq!(input.text.len(), TYPED);
        assert_eq!(input.key(key(KeyCode::Up)), Typed::Other);
    }

    #[test]
    fn every_word_must_occur() {
        let texts = ["nas-1", "storage", "critical"];
        assert!(matches("", texts.iter().copied()));
        assert!(matches("NAS crit", texts.iter().copied()));
        assert!(!matches("nas web", texts.iter().copied()));
    }
}
