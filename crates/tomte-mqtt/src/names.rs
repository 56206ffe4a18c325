//! Names on their way into topics and ids: what may not stand there is
//! written in another way, and two different names never become one.

use std::fmt::Write as _;

/// Longer levels of a topic are cut, with a hash of the whole at their end.
const LONGEST_LEVEL: usize = 200;
/// Longer parts of an id likewise.
const LONGEST_ID: usize = 80;

/// One level of a topic: `/`, `+`, `#`, `%`, control characters, and a `$` at
/// the beginning become `%` and two digits; an empty name becomes `%`.
#[must_use]
pub fn level(name: &str) -> String {
    if name.is_empty() {
        return "%".to_owned();
    }
    let mut level = String::with_capacity(name.len());
    for (place, c) in name.char_indices() {
        if matches!(c, '/' | '+' | '#' | '%') || c.is_control() || (place == 0 && c == '$') {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(level, "%{byte:02X}");
            }
        } else {
            level.push(c);
        }
    }
    bounded(level, name, LONGEST_LEVEL)
}

/// A part of an id of Home Assistant, of `a-z A-Z 0-9 _` alone: every other
/// byte, and `_` itself, becomes `_` and two digits.
#[must_use]
pub fn id(name: &str) -> String {
    let mut id = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() {
            id.push(char::from(byte));
        } else {
            let _ = write!(id, "_{byte:02x}");
        }
    }
    bounded(id, name, LONGEST_ID)
}

/// Words for an entity's id as people see it: `a-z 0-9`, single `_` between.
#[must_use]
pub fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('_') {
            slug.push('_');
        }
    }
    slug.truncate(LONGEST_ID);
    slug.trim_end_matches('_').to_owned()
}

fn bounded(written: String, name: &str, longest: usize) -> String {
    if written.len() <= longest {
        return written;
    }
    let end = (0..=longest - 17).rev().find(|end| written.is_char_boundary(*end)).unwrap_or(0);
    format!("{}_{:016x}", &written[..end], hash(name.as_bytes()))
}

/// FNV-1a: the same everywhere and always, as ids must be.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_means_something_in_a_topic_is_escaped() {
        for (name, written) in [
            ("/mnt/nas", "%2Fmnt%2Fnas"),
            ("a+b#c", "a%2Bb%23c"),
            ("$SYS", "%24SYS"),
            ("a$", "a$"),
            ("100%", "100%25"),
            ("", "%"),
            ("Küche 1", "Küche 1"),
            ("a\u{0}\n", "a%00%0A"),
            ("\u{85}", "%C2%85"),
        ] {
            assert_eq!(level(name), written);
        }
        assert_eq!(id("/mnt/my_nas"), "_2fmnt_2fmy_5fnas");
        assert_eq!(slug("/mnt/Küche -1"), "mnt_k_che_1");
        assert_eq!(slug("/"), "");
        let long = "/x".repeat(500);
        assert!(level(&long).len() <= LONGEST_LEVEL && id(&long).len() <= LONGEST_ID);
        assert_ne!(id(&long), id(&format!("{long}y")));
    }

    proptest! {
        #[test]
        fn names_stay_apart_and_are_safe(a in any::<String>(), b in any::<String>()) {
            let topic = level(&a);
            prop_assert!(!topic.is_empty() && !topic.contains(['/', '+', '#', '\0']) && !topic.starts_with('$'));
            prop_assert!(id(&a).bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'));
            if a != b {
                prop_assert_ne!(level(&a), level(&b));
                prop_assert_ne!(id(&a), id(&b));
            }
        }
    }
}
