//! Tools that answer what was recorded, for a copied tree and for tests.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Ran, ToolCall, ToolError, Tools};

/// Answers from a folder: a call's output is the file named as a person would
/// type it, with every slash written `!` (`zpool list -j`), its exit status, if
/// not zero, is in the file of that name and `.status`, its complaints in that
/// of `.stderr`. What was not recorded is not installed.
#[derive(Debug, Clone)]
pub struct RecordedTools {
    folder: PathBuf,
}

impl RecordedTools {
    /// What that folder holds.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

impl Tools for RecordedTools {
    fn run(&self, call: &ToolCall) -> Result<Ran, ToolError> {
        let name = call.to_string().replace('/', "!");
        let beside = |suffix: &str| fs::read_to_string(self.folder.join(format!("{name}.{suffix}"))).ok();
        let stdout = fs::read(self.folder.join(&name)).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ToolError::Missing { program: call.program.clone() },
            _ => ToolError::Failed { call: call.to_string(), source },
        })?;
        if stdout.len() > call.most {
            return Err(ToolError::TooMuch { call: call.to_string(), most: call.most });
        }
        let status = beside("status").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Ok(Ran { status: Some(status), stdout, stderr: beside("stderr").unwrap_or_default() })
    }

    fn has(&self, program: &str) -> bool {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        names.filter_map(|file| file.file_name().into_string().ok()).any(|name| name.split(' ').next() == Some(program))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn calls_are_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("smartctl -a !dev!sda"), "{}").unwrap();
        fs::write(dir.path().join("smartctl -a !dev!sda.status"), "4\n").unwrap();
        let tools = RecordedTools::new(dir.path());
        let call = ToolCall::new("smartctl").args(["-a", "/dev/sda"]);
        let ran = tools.run(&call).unwrap();
        assert_eq!((ran.status, ran.text().as_ref(), ran.stderr.as_str()), (Some(4), "{}", ""));
        assert!(tools.has("smartctl") && !tools.has("zpool"));
        assert!(matches!(tools.run(&call.clone().most(1)), Err(ToolError::TooMuch { .. })));
        assert!(matches!(tools.run(&call.arg("x")), Err(ToolError::Missing { program }) if program == "smartctl"));
    }
}
