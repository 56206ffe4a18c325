//! Letting hosts in, naming them, letting them go.

use std::time::Duration;

use tomte_model::{EventKind, HostName, ResourceKey};

use super::support::*;
use crate::access::Actor;
use crate::config::{Flag, Surroundings, resolve};
use crate::{Caller, HubError};

fn name(text: &str) -> HostName {
    text.parse().unwrap()
}

fn anybody() -> Actor {
    Actor::new("agent", Some("10.0.0.9".to_owned()))
}

#[tokio::test]
async fn a_code_works_once_and_for_ten_minutes() {
    let bench = Bench::open();
    let admin = Bench::admin();
    let invitation = bench.hub.add_host(&admin, name("nas"), vec!["storage".into()]).await.unwrap();
    assert!(invitation.line.starts_with("tomte-agent enroll http://127.0.0.1:"), "{}", invitation.line);
    assert!(invitation.line.ends_with(&format!("--code {}", invitation.code)));
    let mut wrong = request(&invitation.code, 1);
    wrong.secret[0] ^= 1;
    assert!(matches!(bench.hub.enrol(wrong, &anybody()).await, Err(HubError::Refused(_))));
    let enrolled = bench.hub.enrol(request(&invitation.code, 1), &anybody()).await.unwrap();
    assert_eq!(enrolled.name, name("nas"));
    assert!(bench.hub.host(enrolled.host).unwrap().roles.contains("storage"));
    let again = bench.hub.enrol(request(&invitation.code, 2), &anybody()).await;
    assert!(matches!(again, Err(HubError::Refused(_))), "used");
    let late = bench.hub.add_host(&admin, name("late"), Vec::new()).await.unwrap();
    bench.clock.advance(Duration::from_secs(600));
    assert!(matches!(bench.hub.enrol(request(&late.code, 3), &anybody()).await, Err(HubError::Refused(_))));
    let outcomes: Vec<_> = bench.audit("host.enrol").into_iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes.len(), 4);
    assert_eq!(outcomes[1], "ok");
    assert_eq!(bench.audit("host.add").len(), 2);
    assert_eq!(bench.events_of(&EventKind::HOST_ENROLLED).len(), 1);
}

#[tokio::test]
async fn nobody_takes_over_a_name_or_an_identity() {
    let bench = Bench::open();
    let admin = Bench::admin();
    let nas = bench.enrol(1, "nas").await;
    assert!(matches!(bench.hub.add_host(&admin, name("nas"), Vec::new()).await, Err(HubError::Conflict(_))));
    assert!(matches!(bench.hub.add_host(&admin, name("machine-1"), Vec::new()).await, Err(HubError::Conflict(_))));
    // Another key, the same host id, a name of its own.
    let invitation = bench.hub.add_host(&admin, name("evil"), Vec::new()).await.unwrap();
    let mut thief = request(&invitation.code, 1);
    thief.public_key = vec![9];
    assert!(matches!(bench.hub.enrol(thief, &anybody()).await, Err(HubError::Conflict(_))));
    // A code for a known host, and another host that brings it.
    let again = bench.hub.invite_again(&admin, nas.host).await.unwrap();
    assert!(matches!(bench.hub.enrol(request(&again.code, 2), &anybody()).await, Err(HubError::Conflict(_))));
    // The host itself, with its state lost but for its id.
    let mut itself = request(&again.code, 1);
    itself.public_key = vec![4, 5, 6];
    let renewed = bench.hub.enrol(itself, &anybody()).await.unwrap();
    assert_eq!((renewed.host, renewed.name), (nas.host, name("nas")));
    assert!(bench.hub.fleet.token(&crate::secrets::hash(nas.token.as_bytes())).is_none(), "the old token is void");
    assert!(bench.hub.fleet.token(&crate::secrets::hash(renewed.token.as_bytes())).is_some());
}

#[tokio::test]
async fn there_are_no_more_hosts_than_may_be() {
    let bench = Bench::open_with(|config| config.limits.hosts = 1);
    bench.enrol(1, "one").await;
    let invitation = bench.hub.add_host(&Bench::admin(), name("two"), Vec::new()).await.unwrap();
    assert!(matches!(bench.hub.enrol(request(&invitation.code, 2), &anybody()).await, Err(HubError::Conflict(_))));
}

#[tokio::test]
async fn a_renamed_hosts_old_name_still_leads_to_it() {
    let bench = Bench::open();
    let admin = Bench::admin();
    let (nas, web) = (bench.enrol(1, "nas").await, bench.enrol(2, "web").await);
    bench.hub.rename_host(&admin, nas.host, name("storage")).await.unwrap();
    assert_eq!(bench.hub.find_host("nas"), Some(nas.host));
    assert_eq!(bench.hub.find_host("storage"), Some(nas.host));
    assert_eq!(bench.hub.host(nas.host).unwrap().name, name("storage"));
    assert!(matches!(bench.hub.rename_host(&admin, web.host, name("nas")).await, Err(HubError::Conflict(_))));
    bench.hub.rename_host(&admin, nas.host, name("nas")).await.unwrap();
    assert_eq!(bench.hub.find_host("storage"), Some(nas.host), "and back");
    bench.hub.add_alias(&admin, nas.host, name("files")).await.unwrap();
    assert_eq!(bench.hub.find_host("files"), Some(nas.host));
    bench.hub.remove_alias(&admin, nas.host, &name("files")).await.unwrap();
    assert_eq!(bench.hub.find_host("files"), None);
    assert!(matches!(
        bench.hub.remove_alias(&admin, nas.host, &name("files")).await,
        Err(HubError::NotFound { what: "alias", .. })
    ));
    assert!(matches!(bench.hub.set_roles(&admin, nas.host, vec!["a b".into()]).await, Err(HubError::Invalid(_))));
    bench.hub.set_roles(&admin, nas.host, vec!["b".into(), "a".into(), "b".into()]).await.unwrap();
    assert_eq!(bench.events_of(&EventKind::HOST_RENAMED).len(), 2);
    let renames = bench.audit("host.rename");
    assert_eq!((renames.len(), renames[0].actor.as_str()), (3, "test"));
    assert_ne!(renames[1].outcome, "ok", "what was refused is audited too");
    // All of it is on disk.
    let clock = bench.clock.clone();
    let again = Bench::reopen(bench.stop().await, clock);
    let view = again.hub.host(nas.host).unwrap();
    assert_eq!(view.roles.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(again.hub.find_host("storage"), Some(nas.host));
}

#[tokio::test]
async fn a_new_token_ends_the_old_one_when_it_is_first_used() {
    let bench = Bench::listening().await;
    let nas = bench.enrol(1, "nas").await;
    bench.clock.seconds(1);
    let new = bench.hub.rotate_token(&Bench::admin(), nas.host).await.unwrap();
    assert!(bench.socket(&nas.token, None).await.is_ok(), "until then it works");
    assert!(bench.socket(&new, None).await.is_ok());
    assert_eq!(bench.socket(&nas.token, None).await.err(), Some(401));
    assert!(bench.socket(&new, None).await.is_ok());
    let clock = bench.clock.clone();
    let again = Bench::reopen(bench.stop().await, clock);
    assert!(again.hub.fleet.token(&crate::secrets::hash(nas.token.as_bytes())).is_none(), "also after a restart");
    assert!(again.hub.fleet.token(&crate::secrets::hash(new.as_bytes())).is_some());
}

#[tokio::test]
async fn a_removed_host_leaves_nothing_behind() {
    let bench = Bench::open();
    let admin = Bench::admin();
    let (nas, web) = (bench.enrol(1, "nas").await, bench.enrol(2, "web").await);
    let mut agent = Agent::connect(&ByTwin, &bench, &nas, 1).await;
    let mut other = Agent::connect(&ByTwin, &bench, &web, 1).await;
    agent.report(vec![disk("sda", 1.0)]).await;
    other.report(vec![disk("sda", 1.0)]).await;
    bench.hub.save_snapshots().unwrap();
    bench.hub.remove_host(&admin, nas.host).await.unwrap();
    assert_eq!(agent.end().await.0, tomte_link::CloseCode::Unauthorised);
    assert_eq!((bench.hub.find_host("nas"), bench.hub.hosts().len()), (None, 1));
    assert!(bench.hub.store.history.series(nas.host).unwrap().is_empty());
    assert!(bench.events().iter().all(|stored| stored.host != Some(nas.host)));
    assert_eq!(bench.events_of(&EventKind::HOST_REMOVED).len(), 1);
    other.report(vec![disk("sda", 2.0)]).await;
    bench.enrol(3, "nas").await;
    let clock = bench.clock.clone();
    let again = Bench::reopen(bench.stop().await, clock);
    assert!(again.hub.host(nas.host).is_none());
}

#[tokio::test]
async fn a_forgotten_resource_is_gone_until_it_is_seen_again() {
    let bench = Bench::open();
    let nas = bench.enrol(1, "nas").await;
    let mut agent = Agent::connect(&ByTwin, &bench, &nas, 1).await;
    agent.report(vec![disk("sda", 1.0)]).await;
    let operator = Caller { actor: Actor::hub(), role: tomte_api::account::Role::Operator }.operator().unwrap();
    let key = ResourceKey::new("disk", "sda");
    bench.hub.forget_resource(&operator, nas.host, &key).await.unwrap();
    assert_eq!(bench.hub.host(nas.host).unwrap().resources, 0);
    assert!(matches!(
        bench.hub.forget_resource(&operator, nas.host, &key).await,
        Err(HubError::NotFound { what: "resource", .. })
    ));
    agent.report(vec![disk("sda", 2.0)]).await;
    assert_eq!(bench.hub.host(nas.host).unwrap().resources, 1);
    drop(agent);
    let refresh = bench.hub.refresh(&operator, nas.host, Vec::new()).await;
    // The end of the connection may not have been noticed yet.
    assert!(matches!(refresh, Ok(()) | Err(HubError::NotConnected(_))));
    bench.stop().await;
}

#[tokio::test]
async fn a_configuration_that_is_read_again_is_taken_up_as_far_as_it_can_be() {
    let bench = Bench::open();
    let flags = [
        Flag { key: "public_url", value: "https://hub.example".into(), flag: "--public-url" },
        Flag { key: "history.raw", value: "5h".into(), flag: "--raw" },
        Flag { key: "data", value: bench.folder.path().to_str().unwrap().into(), flag: "--data" },
        Flag { key: "listen", value: vec!["127.0.0.1:0".to_owned()].into(), flag: "--listen" },
    ];
    let new = resolve(None, &flags, &Surroundings::default()).unwrap();
    assert_eq!(bench.hub.reload(&new), ["history.raw"]);
    assert_eq!(bench.hub.public_url(), "https://hub.example");
    assert_eq!(bench.hub.config().history.raw.to_string(), "2d");
    let url = bench.hub.resolved().settings.iter().find(|s| s.key == "public_url").unwrap().origin.to_string();
    assert_eq!(url, "--public-url");
    let invitation = bench.hub.add_host(&Bench::admin(), name("nas"), Vec::new()).await.unwrap();
    assert!(invitation.line.contains("https://hub.example"), "{}", invitation.line);
    use base64::Engine as _;
    let code = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&invitation.code).unwrap();
    assert_eq!(code[1], 1, "behind a proxy that does TLS, the name counts and not the pin");
    assert_eq!(code[18..], bench.hub.pin());
}
