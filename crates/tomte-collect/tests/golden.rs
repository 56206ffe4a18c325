//! End to end: every collector of the list reads a copied tree twice, ten
//! seconds apart, and all that comes out is compared with a golden file.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tomte_collect::{COLLECTORS, Root, Settings};
use tomte_model::{Catalogue, Moment, Scope, Timestamp};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Copies a tree over another one; links are copied as links.
fn lay_over(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            lay_over(&entry.path(), &target);
        } else if kind.is_symlink() {
            let _ = fs::remove_file(&target);
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else {
            // In place, so that a file kept open shows its new content.
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

fn at(boot_millis: u64) -> Moment {
    Moment { wall: Timestamp::from_millis(1_767_312_000_000 + boot_millis as i64), boot_millis }
}

/// What depends on who checked the tree out, and on the size of a page here.
fn settle(scopes: &mut [Scope]) {
    for table in scopes.iter_mut().flat_map(|scope| &mut scope.facets).flat_map(|facet| &mut facet.tables) {
        let columns = table.columns.clone();
        for row in &mut table.rows {
            for (column, cell) in columns.iter().zip(row) {
                match (column.as_ref(), cell) {
                    ("user", Some(user)) if table.name.starts_with("top_") => {
                        *user = tomte_model::Value::Text("[owner of the folder]".into());
                    }
                    ("resident_bytes", Some(tomte_model::Value::Number(bytes))) => {
                        *bytes = *bytes / rustix::param::page_size() as f64 * 4096.0;
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A scope as people can compare it: readings rounded as the agent does, a row
/// of a table on a line.
fn shown(scope: &Scope, catalogue: &Catalogue, tree: &Path) -> (String, Value) {
    let facets = scope.facets.iter().map(|facet| {
        let mut all = serde_json::Map::new();
        for (name, value) in &facet.attributes {
            all.insert(name.to_string(), json!(value));
        }
        for (name, value) in &facet.readings {
            let field = catalogue.field(&facet.resource.kind, name).expect("it was checked");
            all.insert(name.to_string(), json!(field.resolution.round(*value)));
        }
        for table in &facet.tables {
            let rows = table.rows.iter().map(|row| {
                let cells = row.iter().map(|cell| cell.as_ref().map_or("-".to_owned(), ToString::to_string));
                cells.collect::<Vec<_>>().join(" | ")
            });
            all.insert(table.name.to_string(), rows.collect());
        }
        (format!("{} {}", facet.resource, facet.name), Value::Object(all))
    });
    let value = match scope.outcome.error() {
        None => Value::Object(facets.collect()),
        // The tree's own path is nobody's business.
        Some(_) => Value::String(format!("{:?}", scope.outcome).replace(tree.to_str().expect("a plain path"), "")),
    };
    (scope.name.to_string(), value)
}

#[test]
fn everything_that_is_collected_from_a_copied_host() {
    let tree = tempfile::tempdir().unwrap();
    lay_over(&fixture("host"), tree.path());
    let root = Root::new(tree.path());
    let mut collectors: Vec<_> = COLLECTORS.iter().map(|def| (def, (def.make)(&root, &Settings::default()))).collect();
    let catalogue = Catalogue::builtin();
    let mut collect = |moment| -> Value {
        let all = collectors.iter_mut().map(|(def, collector)| {
            let mut scopes = collector.collect(moment);
            settle(&mut scopes);
            check(&scopes, &catalogue);
            (def.name.to_owned(), scopes.iter().map(|scope| shown(scope, &catalogue, tree.path())).collect())
        });
        Value::Object(all.collect())
    };
    let first = collect(at(86_400_000));
    lay_over(&fixture("host-later"), tree.path());
    let later = collect(at(86_410_000));
    insta::with_settings!({ sort_maps => true, omit_expression => true }, {
        insta::assert_json_snapshot!(json!({ "first": first, "ten_seconds_later": later }));
    });
}

/// Whatever is collected is in the catalogue, in the facet that it names.
fn check(scopes: &[Scope], catalogue: &Catalogue) {
    for facet in scopes.iter().flat_map(|scope| &scope.facets) {
        let at = format!("{} {}", facet.resource, facet.name);
        let kind = catalogue.kind(&facet.resource.kind).unwrap_or_else(|| panic!("{at}: no such kind"));
        let known = kind.facets.iter().find(|known| known.name == facet.name);
        assert_eq!(known.map(|known| known.owner), Some(facet.owner), "{at}: the facet");
        for (field, value) in &facet.readings {
            let known = kind.field(field).unwrap_or_else(|| panic!("{at}: no field {field}"));
            assert_eq!(known.facet, facet.name, "{at}: the facet of {field}");
            assert!(known.resolution.round(*value).is_some(), "{at}: {field} is {value}");
            assert!(*value >= 0.0 || field.ends_with("_celsius"), "{at}: {field} is {value}");
        }
        for (attribute, _) in &facet.attributes {
            assert!(
                kind.attributes.iter().any(|known| known.name == *attribute && known.facet == facet.name),
                "{at}: no attribute {attribute}"
            );
        }
        for table in &facet.tables {
            let known = kind.tables.iter().find(|known| known.name == table.name && known.facet == facet.name);
            let known = known.unwrap_or_else(|| panic!("{at}: no table {}", table.name));
            assert!(known.columns.iter().map(|(name, _)| name).eq(&table.columns), "{at}: columns of {}", table.name);
            assert!(table.rows.iter().all(|row| row.len() == table.columns.len()), "{at}: rows of {}", table.name);
        }
    }
}

#[test]
fn this_very_machine_can_be_read() {
    let root = Root::system();
    let catalogue = Catalogue::builtin();
    let mut complete = 0;
    for def in COLLECTORS {
        let mut collector = (def.make)(&root, &Settings::default());
        for moment in [at(1_000), at(11_000)] {
            let scopes = collector.collect(moment);
            check(&scopes, &catalogue);
            complete += scopes.iter().filter(|scope| scope.outcome.is_complete()).count();
        }
    }
    assert!(complete > 0, "not one scope could be read");
}

#[test]
fn an_empty_tree_is_unavailable_and_nothing_panics() {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::new(tree.path());
    for def in COLLECTORS {
        for scope in (def.make)(&root, &Settings::default()).collect(at(1_000)) {
            assert!(scope.facets.is_empty(), "{}: {scope:?}", def.name);
            assert!(
                !matches!(scope.outcome, tomte_model::Outcome::Failed { .. }),
                "{}: what is not there has not failed: {scope:?}",
                def.name
            );
        }
    }
}

#[test]
fn names_and_scopes_are_unique() {
    let mut names: Vec<_> = COLLECTORS.iter().map(|def| def.name).collect();
    let mut scopes: Vec<_> = COLLECTORS.iter().flat_map(|def| def.scopes).collect();
    let counts = (names.len(), scopes.len());
    names.sort_unstable();
    names.dedup();
    scopes.sort_unstable();
    scopes.dedup();
    assert_eq!((names.len(), scopes.len()), counts);
    assert!(COLLECTORS.iter().all(|def| def.help.ends_with('.') && !def.scopes.is_empty()));
}
