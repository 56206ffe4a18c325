//! Text on a grid of cells: made harmless, measured, cut and padded.
//!
//! Names and messages come from hosts, containers and hubs that nobody here
//! vouches for. Whatever could steer a terminal (control characters, bidirectional
//! marks) or would be measured differently by different terminals (joined emoji,
//! invisible characters) never reaches a cell.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// More marks than this on one letter are left out.
const MARKS: usize = 3;

/// What stands for a character that must not reach the terminal.
const REPLACEMENT: char = '\u{fffd}';

/// What a character becomes on its way to the screen.
enum Fate {
    Keep,
    Replace,
    Drop,
}

fn fate(c: char) -> Fate {
    match c {
        ' '..='~' => Fate::Keep,
        // Line ends and tabs part words; they are no attack.
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Fate::Replace,
        _ if c.is_control() => Fate::Replace,
        // Marks that turn the direction of what follows.
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => Fate::Replace,
        // Invisible ones, and those that join emoji: terminals disagree on the
        // width of what they join.
        '\u{00ad}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' => Fate::Drop,
        '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}' | '\u{fff9}'..='\u{fffb}' => Fate::Drop,
        _ => Fate::Keep,
    }
}

/// Whether a character must never be in a cell.
pub(crate) fn forbidden(c: char) -> bool {
    !matches!(fate(c), Fate::Keep)
}

/// The text without anything that could steer a terminal.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut marks = 0;
    for c in text.chars() {
        match fate(c) {
            Fate::Keep if c.width() == Some(0) => {
                marks += 1;
                if marks <= MARKS && !cleaned.is_empty() {
                    cleaned.push(c);
                }
            }
            Fate::Keep => {
                marks = 0;
                cleaned.push(c);
            }
            Fate::Replace => {
                marks = 0;
                cleaned.push(if c.is_whitespace() { ' ' } else { REPLACEMENT });
            }
            Fate::Drop => {}
        }
    }
    Cow::Owned(cleaned)
}

/// How many cells the text takes.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// The text, clean, in at most `most` cells; what was cut off is marked.
pub(crate) fn fit<'a>(text: &'a str, most: usize, mark: &str) -> Cow<'a, str> {
    let cleaned = clean(text);
    if width(&cleaned) <= most {
        return cleaned;
    }
    let room = most.saturating_sub(width(mark));
    let mut cut = String::new();
    let mut used = 0;
    for grapheme in cleaned.graphemes(true) {
        let wide = width(grapheme);
        if used + wide > room {
            break;
        }
        used += wide;
        cut.push_str(grapheme);
    }
    if most >= width(mark) {
        cut.push_str(mark);
    }
    Cow::Owned(cut)
}

/// The end of the text, clean, in at most `most` cells; for what one types.
pub(crate) fn fit_end(text: &str, most: usize, mark: &str) -> String {
    let cleaned = clean(text);
    if width(&cleaned) <= most {
        return cleaned.into_owned();
    }
    let room = most.saturating_sub(width(mark));
    let mut used = 0;
    let mut kept: Vec<&str> = Vec::new();
    for grapheme in cleaned.graphemes(true).rev() {
        let wide = width(grapheme);
        if used + wide > room {
            break;
        }
        used += wide;
        kept.push(grapheme);
    }
    let tail: String = kept.into_iter().rev().collect();
    if most >= width(mark) { format!("{mark}{tail}") } else { tail }
}

/// The lines of a text that is broken between words, each in at most `most`
/// cells; at most `lines` of them.
pub(crate) fn wrap(text: &str, most: usize, lines: usize, mark: &str) -> Vec<String> {
    let cleaned = clean(text);
    let mut wrapped: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in cleaned.split_whitespace() {
        let needed = width(word) + usize::from(!line.is_empty());
        if !line.is_empty() && width(&line) + needed > most {
            wrapped.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        wrapped.push(line);
    }
    if wrapped.len() > lines {
        wrapped.truncate(lines);
        if let Some(last) = wrapped.last_mut() {
            *last = format!("{last} {mark}");
        }
    }
    wrapped.iter().map(|line| fit(line, most, mark).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert_eq!(clean("web-1"), "web-1");
        assert_eq!(clean("a\u{1b}[31mred"), "a\u{fffd}[31mred");
        assert_eq!(clean("a\u{9b}2Jb\u{7}"), "a\u{fffd}2Jb\u{fffd}");
        assert_eq!(clean("user\u{202e}txt.exe"), "user\u{fffd}txt.exe");
        assert_eq!(clean("two\nlines"), "two lines");
        assert_eq!(clean("👩\u{200d}👧"), "👩👧", "joined emoji are of no certain width");
        assert_eq!(clean("❤\u{fe0f}"), "❤");
        assert_eq!(clean("e\u{301}\u{301}\u{301}\u{301}\u{301}"), "e\u{301}\u{301}\u{301}");
        assert_eq!(clean("\u{301}x"), "x");
    }

    #[test]
    fn wide_characters_are_cut_where_they_end() {
        assert_eq!(fit("倉庫サーバー", 7, "…"), "倉庫サ…");
        assert_eq!(fit("倉庫サーバー", 6, "…"), "倉庫…");
        assert_eq!(fit("short", 5, "…"), "short");
        assert_eq!(fit("longer", 5, "…"), "long…");
        assert_eq!(fit("longer", 0, "…"), "");
        assert_eq!(fit("🚀🚀", 3, "…"), "🚀…");
        assert_eq!(fit_end("倉庫サーバー", 5, "…"), "…バー");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 7, 9, "…"), ["one two", "three"]);
        assert_eq!(wrap("extraordinary", 6, 9, "…"), ["extra…"]);
        assert_eq!(wrap("a b c", 1, 2, "…").len(), 2);
        assert!(wrap("", 5, 2, "…").is_empty());
    }

    proptest! {
        #[test]
        fn whatever_comes_fits(text in "\\PC*|.*", most in 0_usize..30) {
            let fitted = fit(&text, most, "…").into_owned();
            prop_assert!(width(&fitted) <= most);
            prop_assert!(!fitted.chars().any(forbidden));
            prop_assert!(width(&fit_end(&text, most, "…")) <= most);
            for line in wrap(&text, most, 5, "…") {
                prop_assert!(width(&line) <= most);
            }
        }
    }
}
