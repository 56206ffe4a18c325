//! In the place of NVIDIA's library, where this program cannot load any: it is
//! built against musl, as a rule static.

use std::ffi::OsString;

use super::nvidia::Gpu;

/// Nowhere.
pub(super) fn places() -> Vec<OsString> {
    Vec::new()
}

/// Why the library did not tell.
#[derive(Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "the other build has them")]
pub(super) enum NotTold {
    Absent(String),
    Denied(String),
    Failed(String),
}

/// Nothing is told here.
pub(super) fn read(_: &[OsString], _: &[&str]) -> Result<Vec<Gpu>, NotTold> {
    Err(NotTold::Absent("this build of the agent cannot load NVIDIA's library".to_owned()))
}
