//! What a commit may not contain, and what must hold across crates. Each rule
//! is a module here and says what is wrong, where, and what to do instead.

mod links;
mod rooms;
mod text;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// A file of the repository.
struct File {
    /// Its path from the repository's root.
    path: PathBuf,
    /// Its bytes.
    bytes: Vec<u8>,
}

impl File {
    /// What it says, unless it is not text.
    fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok().filter(|text| !text.contains('\0'))
    }

    /// Whether it was captured elsewhere or made by a tool, and is kept as it is.
    fn is_captured(&self) -> bool {
        let of_tool = |ending| self.path.extension().is_some_and(|e| e == ending);
        self.path.iter().any(|part| part == "fixtures") || of_tool("snap") || of_tool("lock")
    }
}

/// Everything that is wrong, one complaint each.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let files = files(root)?;
    let machine = text::Machine::this(root);
    let mut complaints = Vec::new();
    for file in &files {
        complaints.extend(text::complaints(file, &machine));
    }
    complaints.extend(links::complaints(&files));
    complaints.extend(rooms::complaints(&files)?);
    complaints.extend(crate::docs::stale(root)?);
    Ok(complaints)
}

/// What is tracked, and what would be if it were added now.
fn files(root: &Path) -> anyhow::Result<Vec<File>> {
    let listed = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"])
        .output()
        .context("running git")?;
    ensure!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr).trim());
    let mut files = Vec::new();
    for name in String::from_utf8(listed.stdout).context("file names are UTF-8")?.split_terminator('\0') {
        let path = root.join(name);
        // Links count as what they point to says; what was deleted is no more.
        if !path.symlink_metadata().is_ok_and(|about| about.is_file()) {
            continue;
        }
        let bytes = std::fs::read(&path).with_context(|| format!("reading {name}"))?;
        files.push(File { path: name.into(), bytes });
    }
    Ok(files)
}

#[cfg(test)]
fn file(path: &str, text: &str) -> File {
    File { path: path.into(), bytes: text.as_bytes().to_vec() }
}
