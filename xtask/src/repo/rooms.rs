//! Which crate may know which: lower floors know nothing of higher ones, and
//! some things are deliberately absent from a room (ARCHITECTURE.md says why).
//! Also that every crate is under the workspace's lints.

use anyhow::Context;
use toml::Table;

use super::File;

/// A crate of the workspace.
struct Room {
    /// Its name.
    name: &'static str,
    /// The crates of ours that it may use.
    may_know: &'static [&'static str],
    /// Dependencies that it must do without.
    never: &'static [&'static str],
}

const RUNTIME: &str = "tokio";
const DATABASE: &str = "rusqlite";
const SERVER: &str = "axum";
const TERMINAL: &[&str] = &["crossterm", "ratatui"];

/// Every crate, lowest floor first.
const ROOMS: &[Room] = &[
    Room {
        name: "tomte-model",
        may_know: &[],
        never: &[RUNTIME, DATABASE, SERVER, "hyper", "libc", "prost", "rustix", "tracing"],
    },
    Room {
        name: "tomte-collect",
        may_know: &["tomte-model"],
        never: &[RUNTIME, DATABASE, SERVER, "hyper", "prost", "rustls"],
    },
    Room {
        name: "tomte-link",
        may_know: &["tomte-model"],
        // Of tokio only its channels, for the in-process twin.
        never: &[DATABASE, SERVER, "hyper", "rustls", "tokio-rustls", "tokio-tungstenite"],
    },
    Room { name: "tomte-store", may_know: &["tomte-model"], never: &[RUNTIME, SERVER, "hyper", "prost"] },
    Room {
        name: "tomte-control",
        may_know: &["tomte-model"],
        never: &[RUNTIME, DATABASE, SERVER, "clap", "hyper", "prost", "rustix"],
    },
    Room { name: "tomte-mqtt", may_know: &["tomte-model"], never: &[DATABASE, SERVER, "clap", "hyper", "prost"] },
    Room { name: "tomte-api", may_know: &["tomte-model"], never: &[DATABASE, SERVER, "clap"] },
    Room {
        name: "tomte-agent",
        may_know: &["tomte-model", "tomte-collect", "tomte-link", "tomte-control", "tomte-mqtt", "tomte-api"],
        never: &[DATABASE, SERVER, TERMINAL[0], TERMINAL[1]],
    },
    Room {
        name: "tomte-hub",
        may_know: &["tomte-model", "tomte-link", "tomte-store", "tomte-mqtt", "tomte-api"],
        never: &["clap", TERMINAL[0], TERMINAL[1]],
    },
    Room { name: "tomte-tui", may_know: &["tomte-model", "tomte-api"], never: &[DATABASE, SERVER, "clap", "hyper"] },
    Room {
        name: "tomte",
        may_know: &["tomte-model", "tomte-collect", "tomte-link", "tomte-api", "tomte-agent", "tomte-hub", "tomte-tui"],
        never: &[DATABASE, SERVER],
    },
];

/// Crates that know more than they may.
pub(super) fn complaints(files: &[File]) -> anyhow::Result<Vec<String>> {
    let mut complaints = Vec::new();
    for file in files {
        let mut parts = file.path.iter().filter_map(|part| part.to_str());
        let (Some("crates"), Some(_), Some("Cargo.toml"), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let path = file.path.display();
        let text = file.text().with_context(|| format!("{path} is not text"))?;
        let manifest: Table = text.parse().with_context(|| format!("reading {path}"))?;
        complaints.extend(of_crate(&manifest).into_iter().map(|complaint| format!("{path}: {complaint}")));
    }
    Ok(complaints)
}

fn of_crate(manifest: &Table) -> Vec<String> {
    let mut complaints = Vec::new();
    let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
    if inherits != Some(true) {
        complaints.push("the lints are not the workspace's; add [lints] with workspace = true".to_owned());
    }
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    let Some(room) = ROOMS.iter().find(|room| Some(room.name) == name) else {
        complaints.push("a new crate; say in xtask/src/repo/rooms.rs and ARCHITECTURE.md what it may know".to_owned());
        return complaints;
    };
    for dependency in dependencies(manifest) {
        let ours = ROOMS.iter().any(|room| room.name == dependency);
        if (ours && !room.may_know.contains(&dependency)) || room.never.contains(&dependency) {
            complaints.push(format!("{} must do without {dependency} (ARCHITECTURE.md says why)", room.name));
        }
    }
    complaints
}

/// What a crate is made from: not what only its tests or its build use.
fn dependencies(manifest: &Table) -> Vec<&str> {
    let plain = manifest.get("dependencies").and_then(toml::Value::as_table);
    let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(|t| t.values());
    let of_targets = targets.filter_map(|target| target.get("dependencies")?.as_table());
    plain.into_iter().chain(of_targets).flat_map(|table| table.keys().map(String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::file;
    use super::*;

    fn of(dependencies: &str) -> Vec<String> {
        let text = format!("[package]\nname = \"tomte-model\"\n[lints]\nworkspace = true\n{dependencies}");
        complaints(&[file("crates/tomte-model/Cargo.toml", &text)]).unwrap()
    }

    #[test]
    fn a_crate_that_knows_too_much_is_found() {
        assert!(of("[dependencies]\nserde.workspace = true\n[dev-dependencies]\ntokio = \"1\"").is_empty());
        assert_eq!(of("[dependencies]\ntomte-store.workspace = true").len(), 1);
        assert_eq!(of("[dependencies.tokio]\nworkspace = true").len(), 1);
        assert_eq!(of("[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"").len(), 1);
    }

    #[test]
    fn a_crate_without_a_row_or_without_lints_is_found() {
        let text = "[package]\nname = \"tomte-cellar\"";
        assert_eq!(complaints(&[file("crates/tomte-cellar/Cargo.toml", text)]).unwrap().len(), 2);
        assert_eq!(complaints(&[file("fuzz/Cargo.toml", text)]).unwrap().len(), 0);
    }
}
