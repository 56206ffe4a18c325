//! One argument that whoever asks may choose, and what it may be.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};

use regex_lite::Regex;

/// Longer values are refused unseen.
pub const LONGEST: usize = 1024;

/// What a value may be.
#[derive(Debug, Clone)]
pub enum Rule {
    /// One of these.
    OneOf(Vec<String>),
    /// What the whole of it must match.
    Matches(Regex),
    /// A whole number within these.
    Within(RangeInclusive<i64>),
    /// Something below that folder, or the folder itself.
    Under(PathBuf),
}

/// An argument of a command.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// What it is called in the argument vector.
    pub name: String,
    /// Whether it can be left out.
    pub optional: bool,
    /// What it may be.
    pub rule: Rule,
}

/// A regular expression that matches whole values only.
///
/// # Errors
/// In words, when it is none.
pub fn anchored(text: &str) -> Result<Regex, String> {
    // Compiled alone first: what is put around it must not complete it.
    Regex::new(text).map_err(|error| error.to_string())?;
    Regex::new(&format!(r"\A(?:{text})\z")).map_err(|error| error.to_string())
}

impl Parameter {
    /// Holds a value against the rule.
    ///
    /// # Errors
    /// In words, when it may not be that. The value itself is not repeated.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let no = |why: &str| Err(format!("{} {why}", self.name));
        if value.len() > LONGEST {
            return no("is too long");
        }
        if value.chars().any(char::is_control) {
            return no("holds control characters");
        }
        let is_listed = matches!(&self.rule, Rule::OneOf(values) if values.iter().any(|known| known == value));
        let is_number = matches!(self.rule, Rule::Within(_));
        if value.starts_with('-') && !is_listed && !is_number {
            return no("begins with a dash, as options do");
        }
        match &self.rule {
            Rule::OneOf(values) if is_listed => {
                debug_assert!(!values.is_empty());
                Ok(())
            }
            Rule::OneOf(values) => no(&format!("must be one of {}", values.join(", "))),
            Rule::Matches(regex) if regex.is_match(value) => Ok(()),
            Rule::Matches(_) => no("does not match what is allowed"),
            Rule::Within(range) => {
                // As it is written otherwise, the program may read another number.
                let number = value.parse::<i64>().ok().filter(|number| number.to_string() == value);
                if number.is_some_and(|number| range.contains(&number)) {
                    Ok(())
                } else {
                    no(&format!("must be a whole number from {} to {}", range.start(), range.end()))
                }
            }
            Rule::Under(folder) => under(folder, value).or_else(|why| no(&why)),
        }
    }
}

/// Whether a path really lies below a folder: no `..`, and no symbolic link on
/// the way, which could lead elsewhere or be turned meanwhile.
fn under(folder: &Path, value: &str) -> Result<(), String> {
    let path = Path::new(value);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    // Components swallow `//`, `/./` and a slash at the end; programs may not.
    let written = path.components().collect::<PathBuf>();
    if !path.is_absolute() || !plain || written.as_os_str() != OsStr::new(value) {
        return Err("must be an absolute path without \".\", \"..\" and doubled slashes".to_owned());
    }
    let Ok(rest) = path.strip_prefix(folder) else {
        return Err(format!("must be below {}", folder.display()));
    };
    let real = |path: &Path| match fs::canonicalize(path) {
        Ok(real) => Ok(Some(real)),
        // The agent's user may not look everywhere. The helper may, and looks again.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(format!("cannot be found: {error}")),
    };
    let (Some(real_folder), Some(real_path)) = (real(folder)?, real(path)?) else { return Ok(()) };
    let wanted: PathBuf = if rest.as_os_str().is_empty() { real_folder } else { real_folder.join(rest) };
    if real_path == wanted { Ok(()) } else { Err("goes through a symbolic link".to_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn parameter(rule: Rule) -> Parameter {
        Parameter { name: "p".into(), optional: false, rule }
    }

    #[test]
    fn a_listed_value_is_taken_and_no_other() {
        let of = parameter(Rule::OneOf(vec!["nginx".into(), "-a".into()]));
        assert!(of.check("nginx").is_ok() && of.check("-a").is_ok());
        for bad in ["", "Nginx", "nginx ", "-b", "nginx\n", "nginx;id"] {
            assert!(of.check(bad).is_err(), "{bad:?}");
        }
        assert!(of.check("x").unwrap_err().contains("one of nginx, -a"));
    }

    #[test]
    fn an_expression_matches_the_whole_of_a_value() {
        let host = parameter(Rule::Matches(anchored("[a-z0-9.]+|localhost").unwrap()));
        assert!(host.check("nas.lan").is_ok());
        for bad in ["nas lan", "-c1", "nas.lan\n", "", "$(id)", "a b|localhost", "x\0"] {
            assert!(host.check(bad).is_err(), "{bad:?}");
        }
        assert!(anchored("a)|(b").is_err(), "what is put around it does not complete it");
        assert!(anchored("[").is_err());
    }

    #[test]
    fn a_number_is_written_plainly_and_in_range() {
        let number = parameter(Rule::Within(-5..=100));
        for good in ["-5", "0", "100"] {
            assert!(number.check(good).is_ok(), "{good}");
        }
        for bad in ["-6", "101", "+1", "01", "1.0", "0x1", " 1", "", "-0", "99999999999999999999"] {
            assert!(number.check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_stays_below_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        let folder = top.join("allowed");
        fs::create_dir_all(folder.join("a")).unwrap();
        fs::create_dir_all(top.join("allowed-not")).unwrap();
        fs::write(top.join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(top.join("secret"), folder.join("link")).unwrap();
        std::os::unix::fs::symlink(&folder, top.join("alias")).unwrap();
        std::os::unix::fs::symlink(folder.join("a"), folder.join("inside")).unwrap();
        let check = |rule: &Path, path: &str| {
            parameter(Rule::Under(rule.to_owned())).check(&path.replace('~', top.to_str().unwrap()))
        };
        assert!(check(&folder, "~/allowed").is_ok() && check(&folder, "~/allowed/a").is_ok());
        assert!(check(&top.join("alias"), "~/alias/a").is_ok(), "the folder itself may be a link of root's");
        for bad in [
            "~/allowed/../secret",
            "~/allowed/a/..",
            "~/allowed/./a",
            "~/allowed//a",
            "~/allowed/a/",
            "~/allowed/link",
            "~/allowed/inside",
            "~/allowed/none",
            "~/allowed-not",
            "~/secret",
            "allowed/a",
            "",
            "/",
        ] {
            assert!(check(&folder, bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_safe(value in any::<String>(), tail in "[a./-]{0,12}") {
            let folder = parameter(Rule::Under("/etc".into()));
            for value in [value, format!("/etc/{tail}")] {
                if folder.check(&value).is_ok() {
                    let real = fs::canonicalize(&value);
                    prop_assert!(real.is_err() || real.unwrap().starts_with("/etc"), "{value}");
                }
                let _ = parameter(Rule::Within(0..=9)).check(&value);
                let _ = parameter(Rule::OneOf(vec!["a".into()])).check(&value);
            }
        }
    }
}
