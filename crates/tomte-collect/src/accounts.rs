//! User names by number, from /etc/passwd.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::root::Root;

/// A memory of names that were asked for, good until the file changes.
///
/// Users that are not in the file (from LDAP, or of a container) are shown by
/// number: asking the name service could hang on the network.
pub(crate) struct Accounts {
    path: PathBuf,
    modified: Option<SystemTime>,
    names: HashMap<u32, String>,
}

/// More users than this are not remembered all at once.
const MOST: usize = 256;

impl Accounts {
    pub(crate) fn new(root: &Root) -> Self {
        Self { path: root.path("etc/passwd"), modified: None, names: HashMap::new() }
    }

    /// The name of that user, or else the number.
    pub(crate) fn name(&mut self, uid: u32) -> String {
        let modified = fs::metadata(&self.path).and_then(|file| file.modified()).ok();
        if modified != self.modified || self.names.len() >= MOST {
            self.modified = modified;
            self.names.clear();
        }
        let path = &self.path;
        let found = self.names.entry(uid).or_insert_with(|| {
            let text = fs::read(path).unwrap_or_default();
            find(&String::from_utf8_lossy(&text), uid).unwrap_or_else(|| uid.to_string())
        });
        found.clone()
    }
}

/// Lines `name:password:uid:…`, of which the first counts.
fn find(text: &str, uid: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?.parse::<u32>().ok()?;
        (number == uid && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_read_anew_when_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let mut accounts = Accounts::new(&Root::new(dir.path()));
        assert_eq!(accounts.name(0), "0", "no file at all");
        fs::create_dir(dir.path().join("etc")).unwrap();
        let path = dir.path().join("etc/passwd");
        fs::write(&path, "strange line\nroot:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nann:x:1000:1000:::\n").unwrap();
        assert_eq!((accounts.name(0), accounts.name(1000)), ("root".into(), "ann".into()));
        assert_eq!(accounts.name(7), "7");
        fs::write(&path, "eve:x:7:7:::\n").unwrap();
        let later = SystemTime::now() + Duration::from_secs(60);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!((accounts.name(7), accounts.name(0)), ("eve".into(), "0".into()));
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text: String, uid: u32) {
            let _ = find(&text, uid);
        }
    }
}
