//! Patterns of names, as shells write them: `*` is anything, `/` too; `?` is
//! one character; `[a-z]` and `[!a-z]` are one of these, or none of them;
//! `{a,b}` is one or the other; `**/` is any number of folders, none included;
//! `\` takes a special meaning away.
//!
//! Not a regular expression: the agent matches some hundred names every ten
//! seconds on hosts of any size, and a general engine was a twentieth of its
//! program and a good part of its heap. A pattern may come from outside, so
//! what it can grow into is limited.

use std::fmt;
use std::str::{Chars, FromStr};

/// A pattern may be this long, in bytes.
const LONGEST: usize = 1024;
/// And stand for this many patterns without `{a,b}`.
const MOST_ALTERNATIVES: usize = 64;
/// How deep `{a,{b,c}}` may go.
const DEEPEST: usize = 8;

/// A pattern of names.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    alternatives: Vec<Vec<Token>>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{glob:?} is not a glob: {problem}")]
pub struct BadGlob {
    /// The text.
    pub glob: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(String),
    Run,
    One,
    Class { not: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// A pattern from its text.
    ///
    /// # Errors
    /// When a bracket is not closed, or the pattern is too large.
    pub fn new(text: &str) -> Result<Self, BadGlob> {
        let bad = |problem| BadGlob { glob: text.to_owned(), problem };
        if text.len() > LONGEST {
            return Err(BadGlob {
                glob: format!("{}…", text.chars().take(40).collect::<String>()),
                problem: "too long",
            });
        }
        let mut parser = Parser { rest: text.chars(), before: None };
        let alternatives = parser.sequence(0).map_err(bad)?;
        Ok(Self { text: text.to_owned(), alternatives })
    }

    /// Whether all of the name is as the pattern says.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.alternatives.iter().any(|tokens| fits(tokens, name))
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a text stands for itself alone, so that it is a name rather
    /// than a pattern.
    #[must_use]
    pub fn is_plain(text: &str) -> bool {
        !text.contains(['*', '?', '[', ']', '{', '}', '\\'])
    }
}

impl FromStr for Glob {
    type Err = BadGlob;
    fn from_str(text: &str) -> Result<Self, BadGlob> {
        Self::new(text)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Walks the name once, going back to the last `*` only: what an earlier one
/// took need not be tried again, so that this is quadratic at worst.
fn fits(tokens: &[Token], name: &str) -> bool {
    let (mut at, mut rest) = (0, name);
    let mut last_run: Option<(usize, &str)> = None;
    loop {
        match tokens.get(at) {
            None if rest.is_empty() => return true,
            None => {}
            Some(Token::Run) if at + 1 == tokens.len() => return true,
            Some(Token::Run) => {
                at += 1;
                last_run = Some((at, rest));
                continue;
            }
            Some(token) => {
                if let Some(after) = token.strip(rest) {
                    (at, rest) = (at + 1, after);
                    continue;
                }
            }
        }
        let Some((after, from)) = last_run else { return false };
        let mut longer = from.chars();
        if longer.next().is_none() {
            return false;
        }
        last_run = Some((after, longer.as_str()));
        (at, rest) = (after, longer.as_str());
    }
}

impl Token {
    /// What is left of the name behind this token, where it fits.
    fn strip<'a>(&self, name: &'a str) -> Option<&'a str> {
        if let Self::Text(text) = self {
            return name.strip_prefix(text.as_str());
        }
        let mut chars = name.chars();
        let first = chars.next()?;
        let takes = match self {
            Self::Class { not, ranges } => *not != ranges.iter().any(|(least, most)| (*least..=*most).contains(&first)),
            _ => true,
        };
        takes.then_some(chars.as_str())
    }
}

struct Parser<'a> {
    rest: Chars<'a>,
    /// The last character taken, to see where a folder begins.
    before: Option<char>,
}

/// Each of `heads` followed by each of `tails`.
fn cross(heads: &[Vec<Token>], tails: &[Vec<Token>]) -> Result<Vec<Vec<Token>>, &'static str> {
    if heads.len() * tails.len() > MOST_ALTERNATIVES {
        return Err("too many alternatives");
    }
    let pairs = heads.iter().flat_map(|head| tails.iter().map(move |tail| (head, tail)));
    Ok(pairs
        .map(|(head, tail)| {
            let mut both = head.clone();
            tail.iter().for_each(|token| push(&mut both, token.clone()));
            both
        })
        .collect())
}

fn push(tokens: &mut Vec<Token>, token: Token) {
    match (tokens.last_mut(), token) {
        (Some(Token::Text(before)), Token::Text(more)) => before.push_str(&more),
        (Some(Token::Run), Token::Run) => {}
        (_, token) => tokens.push(token),
    }
}

impl Parser<'_> {
    /// Up to the end or, inside of `{}`, to what ends an alternative.
    fn sequence(&mut self, depth: usize) -> Result<Vec<Vec<Token>>, &'static str> {
        let mut all = vec![Vec::new()];
        loop {
            let begins_folder = matches!(self.before, None | Some('/'));
            let ahead = self.rest.clone();
            let Some(char) = self.rest.next() else {
                return if depth == 0 { Ok(all) } else { Err("a { is not closed") };
            };
            self.before = Some(char);
            let token = match char {
                ',' | '}' if depth > 0 => {
                    self.rest = ahead;
                    return Ok(all);
                }
                '}' => return Err("a } without a {"),
                '{' => {
                    all = cross(&all, &self.alternatives(depth + 1)?)?;
                    continue;
                }
                '*' if begins_folder && self.rest.as_str().starts_with("*/") => {
                    self.rest.next();
                    self.before = self.rest.next();
                    all = cross(&all, &[vec![], vec![Token::Run, Token::Text("/".to_owned())]])?;
                    continue;
                }
                '*' => Token::Run,
                '?' => Token::One,
                '[' => self.class()?,
                '\\' => Token::Text(self.rest.next().ok_or("a \\ at the end")?.to_string()),
                char => Token::Text(char.to_string()),
            };
            all.iter_mut().for_each(|tokens| push(tokens, token.clone()));
        }
    }

    /// What stands between `{` and `}`.
    fn alternatives(&mut self, depth: usize) -> Result<Vec<Vec<Token>>, &'static str> {
        if depth > DEEPEST {
            return Err("too many { in each other");
        }
        let mut all = Vec::new();
        loop {
            all.extend(self.sequence(depth)?);
            if all.len() > MOST_ALTERNATIVES {
                return Err("too many alternatives");
            }
            if self.rest.next() == Some('}') {
                return Ok(all);
            }
        }
    }

    /// What stands between `[` and `]`; a `]` that comes first is one of them.
    fn class(&mut self) -> Result<Token, &'static str> {
        const OPEN: &str = "a [ is not closed";
        let not = self.rest.as_str().starts_with(['!', '^']);
        if not {
            self.rest.next();
        }
        let mut ranges = Vec::new();
        loop {
            let least = self.rest.next().ok_or(OPEN)?;
            if least == ']' && !ranges.is_empty() {
                return Ok(Token::Class { not, ranges });
            }
            let mut most = least;
            let behind = self.rest.as_str();
            if behind.starts_with('-') && !behind.starts_with("-]") {
                self.rest.next();
                most = self.rest.next().ok_or(OPEN)?;
            }
            if most < least {
                return Err("a range in [] runs backwards");
            }
            ranges.push((least, most));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn matches(glob: &str, name: &str) -> bool {
        Glob::new(glob).unwrap().matches(name)
    }

    #[test]
    fn names_match_as_in_shells() {
        for (glob, yes, no) in [
            ("/", "/", "/mnt"),
            ("*", "", "\u{0}never"),
            ("/mnt/*", "/mnt/a/b", "/srv/mnt/a"),
            ("*.service", "ssh.service", "ssh.socket"),
            ("eth?", "eth0", "eth10"),
            ("sd[a-c]", "sdb", "sdd"),
            ("sd[!a-c]", "sdd", "sdb"),
            ("[]-]", "]", "a"),
            ("{docker,podman}-*", "podman-1", "lxc-1"),
            ("a{,b{c,d}}e", "abde", "abe"),
            ("/srv/**/tmp", "/srv/tmp", "/srv/xtmp"),
            (r"a\*b", "a*b", "axb"),
            ("*a*b*c", "xxaxxbxxbc", "xxaxxbxxb"),
            ("gr?ße", "größe", "grösse"),
        ] {
            assert!(matches(glob, yes), "{glob} {yes}");
            assert!(no.ends_with("never") || !matches(glob, no), "{glob} {no}");
        }
        assert!(matches("/srv/**/tmp", "/srv/a/b/tmp"));
        assert!(Glob::is_plain("nas.lan-1") && !Glob::is_plain("nas*"));
    }

    #[test]
    fn what_is_no_glob_is_told() {
        for (text, problem) in [
            ("[", "a [ is not closed"),
            ("[a-", "a [ is not closed"),
            ("[z-a]", "a range in [] runs backwards"),
            ("{a,b", "a { is not closed"),
            ("a}", "a } without a {"),
            ("a\\", "a \\ at the end"),
            ("{{{{{{{{{a}}}}}}}}}", "too many { in each other"),
            ("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", "too many alternatives"),
            (&"*".repeat(2000), "too long"),
        ] {
            assert_eq!(Glob::new(text).unwrap_err().problem, problem, "{text}");
        }
        let error = Glob::new("[").unwrap_err();
        assert_eq!(error.to_string(), "\"[\" is not a glob: a [ is not closed");
    }

    #[test]
    fn no_pattern_takes_long() {
        let glob = Glob::new(&"*a".repeat(500)).unwrap();
        assert!(!glob.matches(&"a".repeat(499)));
        assert!(glob.matches(&"a".repeat(500)));
    }

    proptest! {
        /// The habits of users are those of ripgrep's globs.
        #[test]
        fn like_the_globs_of_others(glob in "([ab/]|\\*|\\*\\*/[ab]|\\?|\\[!?[ab]-?[bc]?\\]|\\{[ab]{1,2},[ab*]{1,2}\\}){0,6}", name in "[abc/]{0,8}") {
            // Which by itself is `**` to them; to us it is folders, as it is before a name.
            prop_assume!(glob != "**/");
            let theirs = globset::Glob::new(&glob).map(|glob| glob.compile_matcher().is_match(&name));
            let ours = Glob::new(&glob).map(|glob| glob.matches(&name));
            prop_assert_eq!(ours.ok(), theirs.ok(), "{} {}", glob, name);
        }

        #[test]
        fn any_text_is_a_pattern_or_told(glob in ".{0,40}", name in ".{0,40}") {
            if let Ok(glob) = Glob::new(&glob) {
                let _ = glob.matches(&name);
            }
        }
    }
}
