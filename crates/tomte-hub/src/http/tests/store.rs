//! The databases through the API: how much there is, and their care.

use super::*;
use tomte_api::store::{BackedUp, Checked, Compacted, Step, StoreInfo};

/// The lines of long work; the last one is what came of it.
fn steps<T: serde::de::DeserializeOwned>(answer: &Answer) -> Vec<Step<T>> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn what_is_kept_is_counted_checked_and_compacted() {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    for sequence in 1..=20 {
        hub.report(nas, "cpu", sequence, vec![cpu(0.25)]);
        hub.forward(10_000);
    }
    let info: StoreInfo = serde_json::from_value(hub.get("/api/v1/store").await).unwrap();
    assert_eq!((info.series, &info.trouble), (1, &None));
    assert!(info.readings + info.waiting >= 20, "kept one by one, or waiting for it: {info:?}");
    assert!(info.history_bytes > 0 && info.state_bytes > 0);
    assert_eq!(info.retention.raw, 48 * 3600);
    let checked = hub.local(Method::POST, "/api/v1/store/check", None).await;
    let Some(Step::Done(Checked { sound: true, .. })) = steps(&checked).pop() else { panic!("{}", checked.text) };
    let compacted = hub.local(Method::POST, "/api/v1/store/compact", None).await;
    let Some(Step::Done(Compacted { .. })) = steps(&compacted).pop() else { panic!("{}", compacted.text) };
    // As browsers ask: line by line still, not packed.
    let token = format!("Bearer {}", hub.token("browser", Role::Admin).await);
    let headers = [("authorization", token.as_str()), ("accept-encoding", "gzip, deflate, br")];
    let checked = hub.send(stranger(), request(Method::POST, "/api/v1/store/check", &headers, None)).await;
    let Some(Step::Done(Checked { sound: true, .. })) = steps(&checked).pop() else { panic!("{}", checked.text) };
    assert!(!checked.headers.contains_key("content-encoding"));
    let audit = hub.get("/api/v1/audit").await;
    let actions: Vec<_> =
        audit["items"].as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap()).collect();
    let done = |action: &str| actions.iter().filter(|done| **done == action).count();
    assert_eq!((done("store.check"), done("store.compact")), (2, 1), "{actions:?}");
}

#[tokio::test]
async fn a_backup_is_made_on_the_hubs_own_socket_alone() {
    let hub = TestHub::new();
    let nas = hub.enrol("nas").await;
    hub.report(nas, "cpu", 1, vec![cpu(0.25)]);
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("copy");
    let body = json!({ "folder": folder });
    let made = hub.local(Method::POST, "/api/v1/store/backup", Some(body.clone())).await;
    let Some(Step::Done(BackedUp { bytes, .. })) = steps(&made).pop() else { panic!("{}", made.text) };
    assert!(bytes > 0);
    // It is a whole hub's memory.
    let config = HubConfig { data: folder, ..HubConfig::default() };
    let copy = Hub::open(Resolved::of(config), Arc::clone(&hub.clock) as Arc<dyn Clock>).unwrap();
    assert_eq!(copy.find_host("nas"), Some(nas));
    assert_eq!(copy.store().history.series(nas).unwrap().len(), 1);
    // Never over one that is there, never at somebody's whim.
    let again = hub.local(Method::POST, "/api/v1/store/backup", Some(body.clone())).await;
    assert!(matches!(steps::<BackedUp>(&again).pop(), Some(Step::Failed(_))), "{}", again.text);
    let relative = hub.local(Method::POST, "/api/v1/store/backup", Some(json!({"folder": "here"}))).await;
    assert_eq!(relative.status, StatusCode::UNPROCESSABLE_ENTITY);
    let token = format!("Bearer {}", hub.token("backup", Role::Admin).await);
    let from_afar = request(Method::POST, "/api/v1/store/backup", &[("authorization", &token)], Some(body));
    let refused = hub.send(stranger(), from_afar).await;
    assert_eq!(
        (refused.status, refused.problem()["type"].clone()),
        (StatusCode::FORBIDDEN, json!("urn:tomte:problem:forbidden"))
    );
}
