//! Rules for single files: their size, lines that a machine wrote, names of
//! package registries, paths that exist on one machine only.

use std::path::Path;

use super::File;

/// More than this is an artefact or a capture that should be cut down.
const LARGEST_FILE: usize = 400_000;

/// No person writes longer lines.
const LONGEST_LINE: usize = 2_000;

/// Sources in which long lines mean that they were minified.
const SOURCES: &[&str] = &["css", "html", "js", "mjs", "rs", "svelte", "ts"];

/// Where packages come from is a setting of each machine, never of the
/// repository. Put together, so that this file does not name them either.
const REGISTRIES: &[&str] = &[
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("registry.npm", "js.org"),
    concat!("registry.yarn", "pkg.com"),
    concat!("py", "pi.org"),
    concat!("files.python", "hosted.org"),
    concat!("deb.deb", "ian.org"),
    concat!("proxy.gol", "ang.org"),
    concat!("static.rust-", "lang.org"),
];

/// Folders of the machine that this runs on.
pub(super) struct Machine {
    folders: Vec<String>,
}

impl Machine {
    /// The clone itself, and the home of whoever runs this. Folders at the top,
    /// as `/root` or `/src`, count only with something below them.
    pub(super) fn this(root: &Path) -> Self {
        let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
        let folders = std::iter::once(root.to_owned()).chain(home);
        Self::of(folders.filter_map(|folder| folder.to_str().map(str::to_owned)))
    }

    fn of(folders: impl IntoIterator<Item = String>) -> Self {
        let below_something = |folder: &String| folder.starts_with('/') && folder.len() > 1;
        Self { folders: folders.into_iter().filter(below_something).map(|folder| format!("{folder}/")).collect() }
    }

    /// The folder that a line names.
    fn named_in(&self, line: &str) -> Option<&str> {
        let named = |folder: &&String| {
            // In the middle of a longer path it is another folder.
            line.match_indices(folder.as_str())
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_.-~*)}/".contains(c)))
        };
        self.folders.iter().find(named).map(String::as_str)
    }
}

/// What is wrong with a file.
pub(super) fn complaints(file: &File, machine: &Machine) -> Vec<String> {
    let path = file.path.display();
    let mut complaints = Vec::new();
    if file.bytes.len() > LARGEST_FILE {
        let size = file.bytes.len();
        complaints.push(format!("{path}: {size} bytes; keep files under {LARGEST_FILE}, make large ones in tests"));
    }
    let Some(text) = file.text().filter(|_| !file.is_captured()) else { return complaints };
    let source = file.path.extension().is_some_and(|ending| SOURCES.iter().any(|s| ending == *s));
    for (number, line) in (1..).zip(text.lines()) {
        if source && line.len() > LONGEST_LINE {
            complaints
                .push(format!("{path}:{number}: a line of {} bytes; commit sources, not their output", line.len()));
        }
        if let Some(host) = REGISTRIES.iter().find(|host| line.contains(**host)) {
            complaints.push(format!("{path}:{number}: names {host}; leave registries to the machine's settings"));
        }
        if let Some(folder) = machine.named_in(line) {
            complaints.push(format!("{path}:{number}: names {folder}, which exists on this machine only"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn on(folders: &[&str], path: &str, text: &str) -> usize {
        complaints(&file(path, text), &Machine::of(folders.iter().map(|f| (*f).to_owned()))).len()
    }

    #[test]
    fn size_and_minified_sources_are_found() {
        assert_eq!(on(&[], "a.bin", &"x\n".repeat(LARGEST_FILE)), 1);
        let long = "x".repeat(LONGEST_LINE + 1);
        assert_eq!(on(&[], "web/app.js", &long), 1);
        assert_eq!(on(&[], "docs/api.json", &long), 0);
        assert_eq!(on(&[], "tests/fixtures/app.js", &long), 0);
    }

    #[test]
    fn registries_are_found_and_lock_files_may_name_them() {
        let text = format!("[source]\nregistry = \"sparse+{}/\"", REGISTRIES[0]);
        assert_eq!(on(&[], ".cargo/config.toml", &text), 1);
        assert_eq!(on(&[], "Cargo.lock", &text), 0);
    }

    #[test]
    fn paths_of_this_machine_are_found_and_others_are_not() {
        let here = ["/home/ada", "/srv/build/tomte"];
        assert_eq!(on(&here, "a.rs", "open(\"/home/ada/x\")"), 1);
        assert_eq!(on(&here, "a.sh", "cd /srv/build/tomte/crates"), 1);
        assert_eq!(on(&here, "a.sh", "cd /home/adam/x /mnt/home/ada/x $X/home"), 0);
        assert_eq!(on(&["/"], "a.sh", "cd /etc/tomte"), 0);
    }
}
