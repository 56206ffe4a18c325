//! Links in Markdown files must lead somewhere: to a file of the repository,
//! and to a heading that is there. Links to the outside are not followed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::File;

/// Links that lead nowhere.
pub(super) fn complaints(files: &[File]) -> Vec<String> {
    let pages: BTreeMap<&Path, &str> = files
        .iter()
        .filter(|file| file.path.extension().is_some_and(|ending| ending == "md") && !file.is_captured())
        .filter_map(|file| Some((file.path.as_path(), file.text()?)))
        .collect();
    let known: BTreeSet<&Path> = files.iter().flat_map(|file| file.path.ancestors()).collect();
    let mut complaints = Vec::new();
    for (path, text) in &pages {
        for (number, target) in links(text) {
            let at = format!("{}:{number}: the link to {target}", path.display());
            let (page, heading) = target.split_once('#').unwrap_or((target, ""));
            let page = if page.is_empty() { (*path).to_owned() } else { resolve(path, page) };
            if !known.contains(page.as_path()) {
                complaints.push(format!("{at}: there is no such file"));
            } else if let Some(text) = pages.get(page.as_path())
                && !heading.is_empty()
                && !headings(text).contains(heading)
            {
                complaints.push(format!("{at}: there is no such heading"));
            }
        }
    }
    complaints
}

/// Where a link of a page leads, from the repository's root.
fn resolve(page: &Path, target: &str) -> PathBuf {
    let mut resolved = page.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => drop(resolved.pop()),
            Component::Normal(part) => resolved.push(part),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    resolved
}

/// Links within the repository, with the numbers of their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        // Every other piece between backticks is code.
        for piece in line.split('`').step_by(2) {
            for after in piece.split("](").skip(1) {
                let Some((target, _)) = after.split_once(')') else { continue };
                let target = target.split(' ').next().unwrap_or(target);
                let outside = target.contains("://") || target.starts_with("mailto:");
                if !outside && !target.is_empty() {
                    links.push((number, target));
                }
            }
        }
    }
    links
}

/// Lines outside of code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The anchors of a page's headings, as Markdown viewers make them.
fn headings(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter_map(|(_, line)| line.strip_prefix('#'))
        .map(|heading| {
            let title = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let files = [
            file("README.md", "[a](docs/a.md) [b](docs/a.md#the-map-whole) [c](docs) [out](https://example.org/x)"),
            file("docs/a.md", "# A\n## The `map`, whole\n[back](../README.md) ![picture](images/a.png \"title\")"),
            file("docs/images/a.png", ""),
        ];
        assert_eq!(complaints(&files), Vec::<String>::new());

        let files =
            [file("README.md", "# T\n[a](gone.md)\n[b](#nowhere) [t](#t)\n`[c](code.md)`\n```\n[d](e.md)\n```")];
        let found = complaints(&files);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("README.md:2:") && found[1].starts_with("README.md:3:"), "{found:?}");
    }
}
