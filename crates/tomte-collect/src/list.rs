//! Listing the small directories of /sys and /run.

use std::fs;
use std::path::Path;

use crate::error::ReadError;

/// The names in a directory, in natural order (`zram2` before `zram10`); none
/// where it does not exist. Names that are not UTF-8 are left out.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, ReadError> {
    let entries = match fs::read_dir(directory).map_err(|source| ReadError::new(directory, source)) {
        Ok(entries) => entries,
        Err(ReadError::Missing { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| ReadError::new(directory, source))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort_by(|a, b| key(a).cmp(&key(b)));
    Ok(names)
}

/// What a name is ordered by: the text before its trailing number, the number.
fn key(name: &str) -> (&str, usize, &str) {
    let text = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &name[text.len()..];
    (text, number.len(), number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_come_in_natural_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["zram10", "zram2", "sda", "policy0"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(names(dir.path()).unwrap(), ["policy0", "sda", "zram2", "zram10"]);
        assert!(names(&dir.path().join("missing")).unwrap().is_empty());
    }
}
