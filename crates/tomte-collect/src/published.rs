//! For tests only: what other projects have published of real tools' output. It
//! lies beside the repository, where somebody has put it (`../shared/fixtures`),
//! and is not part of it.

use std::path::Path;

/// That file; `None`, said aloud, where it is not there.
#[allow(clippy::print_stderr, reason = "a test must not be skipped in silence")]
pub(crate) fn published(name: &str) -> Option<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/public").join(name);
    let read = std::fs::read(&path).ok();
    if read.is_none() {
        eprintln!("SKIPPED: {} is not there, so that {name} is not tested against", path.display());
    }
    read
}

/// Captured for this project: a file of `tests/captured`.
pub(crate) fn captured(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captured").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
