//! The OpenAPI document is committed, whole and true.

use super::*;
use crate::http::routes::{Access, access_table};

#[test]
fn the_committed_document_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == crate::http::openapi(),
        "docs/reference/openapi.json is out of date; mend it with: cargo xtask docs"
    );
}

#[test]
fn the_document_names_every_route_whole_and_nothing_else() {
    let document: Value = serde_json::from_str(&crate::http::openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document.get("servers"), None);
    let mut described = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with('/') && path != "/link", "{path}");
        for (method, operation) in item.as_object().unwrap() {
            described.push((method.to_uppercase(), path.clone()));
            assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}: its id is taken");
            assert!(operation["responses"]["default"].is_object(), "{method} {path}");
            assert!(operation["security"].is_array(), "{method} {path}");
        }
    }
    described.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    let routes: Vec<_> = access_table().all().into_iter().map(|(m, p, _)| (m.to_string(), p)).collect();
    assert_eq!(described, routes);
    let open = access_table().all().into_iter().filter(|(.., access)| *access == Access::Open).count();
    let without = described
        .iter()
        .filter(|(method, path)| document["paths"][path][method.to_lowercase()]["security"] == json!([{}]));
    assert_eq!(without.count(), open);
}

#[test]
fn every_reference_leads_somewhere_and_live_messages_are_described() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    found.push(to.clone());
                }
                map.values().for_each(|v| references(v, found));
            }
            Value::Array(items) => items.iter().for_each(|v| references(v, found)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(&crate::http::openapi()).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for name in ["LiveRequest", "LiveMessage", "LiveSnapshot", "LiveDelta", "LiveEvent", "LiveError", "Problem"] {
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}
