//! References that are made from what the code declares. They are committed,
//! so that people can read them without building anything, and checked, so that
//! they never drift. A new one is a line in [`PAGES`].

mod catalogue;
mod collectors;
mod command_line;
mod keys;
mod markdown;
mod settings;

use std::fs;
use std::path::Path;

use anyhow::Context;

/// A generated file.
struct Page {
    /// Where it lies in the repository.
    path: &'static str,
    /// Makes it; given the repository's root.
    make: fn(&Path) -> anyhow::Result<String>,
}

/// Every generated file.
const PAGES: &[Page] = &[
    Page { path: "docs/reference/catalogue.md", make: |_| Ok(catalogue::page()) },
    Page { path: "docs/reference/collectors.md", make: |_| Ok(collectors::page()) },
    Page { path: "docs/reference/agent-config.md", make: settings::agent },
    Page { path: "docs/reference/commands-config.md", make: settings::commands },
    Page { path: "docs/reference/hub-config.md", make: settings::hub },
    Page { path: "docs/reference/keys.md", make: |_| Ok(keys::page()) },
    Page { path: "docs/reference/top-config.md", make: settings::top },
    Page { path: "docs/reference/cli.md", make: |_| Ok(command_line::page()) },
    Page { path: "docs/reference/openapi.json", make: |_| Ok(tomte_hub::http::openapi()) },
];

/// Writes what is not as it should be; returns what was written.
pub(crate) fn write(root: &Path) -> anyhow::Result<Vec<&'static str>> {
    let mut written = Vec::new();
    for page in PAGES {
        let (wanted, present) = page.compare(root)?;
        if present.as_ref() != Some(&wanted) {
            let path = root.join(page.path);
            let folder = path.parent().expect("every page lies in a folder of the repository");
            fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
            fs::write(&path, wanted).with_context(|| format!("writing {}", path.display()))?;
            written.push(page.path);
        }
    }
    Ok(written)
}

/// What is not as it should be, one complaint each, with the cure.
pub(crate) fn stale(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut complaints = Vec::new();
    for page in PAGES {
        let (wanted, present) = page.compare(root)?;
        match present {
            None => complaints.push(format!("{} is missing; `cargo xtask docs` writes it", page.path)),
            Some(present) if present != wanted => complaints.push(format!(
                "{}:{}: not what the code says; `cargo xtask docs` writes it anew",
                page.path,
                first_difference(&present, &wanted)
            )),
            Some(_) => {}
        }
    }
    Ok(complaints)
}

impl Page {
    /// What the file should hold, and what it holds, if it is there.
    fn compare(&self, root: &Path) -> anyhow::Result<(String, Option<String>)> {
        let wanted = (self.make)(root).with_context(|| format!("making {}", self.path))?;
        let present = match fs::read_to_string(root.join(self.path)) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("reading {}", self.path)),
        };
        Ok((wanted, present))
    }
}

/// The number of the first line that differs.
fn first_difference(one: &str, other: &str) -> usize {
    one.lines().zip(other.lines()).take_while(|(a, b)| a == b).count() + 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn generated_docs_say_what_the_code_says() {
        let complaints = stale(&crate::root()).unwrap();
        assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    }

    #[test]
    fn what_is_missing_or_changed_is_found_and_mended() {
        let copy = tempfile::tempdir().unwrap();
        for source in [settings::AGENT_SAMPLE, settings::COMMANDS_SAMPLE, settings::HUB_SAMPLE, settings::TOP_SAMPLE] {
            let path = copy.path().join(source);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::copy(crate::root().join(source), path).unwrap();
        }
        assert_eq!(stale(copy.path()).unwrap().len(), PAGES.len());
        assert_eq!(write(copy.path()).unwrap().len(), PAGES.len());
        assert!(stale(copy.path()).unwrap().is_empty());

        let page = copy.path().join(PAGES[0].path);
        let mut text = fs::read_to_string(&page).unwrap();
        text.push_str("By hand.\n");
        fs::write(&page, text).unwrap();
        let complaints = stale(copy.path()).unwrap();
        assert!(complaints.len() == 1 && complaints[0].contains("cargo xtask docs"), "{complaints:?}");
        assert_eq!(write(copy.path()).unwrap(), [PAGES[0].path]);
    }
}
