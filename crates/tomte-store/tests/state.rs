//! The story of the records, told to any engine: today there is one.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use tomte_model::event::EventKind;
use tomte_model::{Action, ActionId, ActionState, HostName, Latest, Plan, Risk, Severity, Step};
use tomte_store::state::{
    Account, ActionQuery, ApiToken, AuditEntry, EnrolmentCode, EventQuery, Grant, HostRecord, HostToken, NewEvent,
    Page, Role, Session, Snapshot,
};
use tomte_store::{StateStore, Store, StoreError};

fn name(text: &str) -> HostName {
    text.parse().unwrap()
}

fn token(number: u8, of: u128) -> HostToken {
    HostToken {
        hash: [number; 32],
        host: host(of),
        prefix: format!("tok{number}"),
        created_at: at(i64::from(number)),
        first_used_at: None,
        revoked_at: None,
    }
}

fn with_store(test: impl Fn(&dyn StateStore)) {
    let folder = tempfile::tempdir().unwrap();
    test(&*open(folder.path()).state);
}

/// Writes with one store, reads with the next.
fn over_a_restart(write: impl Fn(&dyn StateStore), read: impl Fn(&dyn StateStore)) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    write(&*store.state);
    read(&*store.state);
    drop(store);
    read(&*open(folder.path()).state);
}

fn action(number: u8, of: u128, steps: &[ActionState]) -> Action {
    let step = |(place, to): (usize, &ActionState)| Step {
        at: at(i64::from(number) + place as i64),
        to: *to,
        by: "mqtt".into(),
        reason: String::new(),
    };
    Action {
        id: ActionId::from_bytes([number; 16]),
        host: host(of),
        kind: "command".into(),
        target: "df".into(),
        arguments: vec!["/".into()],
        plan: Plan { text: "run df".into(), hash: "aa".into() },
        risk: Risk::Safe,
        state: *steps.last().unwrap(),
        via: "mqtt".into(),
        request_id: format!("r{number}"),
        created_at: at(i64::from(number)),
        expires_at: at(i64::from(number) + 300),
        history: steps.iter().enumerate().map(step).collect(),
        result: None,
    }
}

#[test]
fn an_action_is_kept_as_it_was_told_last_and_goes_with_its_host() {
    use ActionState::{Approved, Pending, Rejected};
    let query = |states: &[ActionState]| ActionQuery { states: states.to_vec(), limit: 10, ..ActionQuery::default() };
    over_a_restart(
        |state| {
            state.put_host(&HostRecord::new(host(1), name("nas"), at(0))).unwrap();
            state.put_host(&HostRecord::new(host(2), name("pve"), at(0))).unwrap();
            assert!(state.put_action(&action(1, 1, &[Pending, Approved])).unwrap());
            assert!(!state.put_action(&action(1, 1, &[Pending])).unwrap(), "older news");
            assert!(!state.put_action(&action(1, 2, &[Pending, Approved, Rejected])).unwrap(), "another host's");
            assert!(state.put_action(&action(2, 2, &[Pending])).unwrap());
        },
        |state| {
            assert_eq!(state.action(ActionId::from_bytes([1; 16])).unwrap(), Some(action(1, 1, &[Pending, Approved])));
            assert_eq!(state.action(ActionId::from_bytes([9; 16])).unwrap(), None);
            let all = state.actions(&query(&[])).unwrap();
            assert_eq!(all, [action(2, 2, &[Pending]), action(1, 1, &[Pending, Approved])], "newest first");
            assert_eq!(state.actions(&query(&[Pending])).unwrap(), [action(2, 2, &[Pending])]);
            let before = Some((at(2), ActionId::from_bytes([2; 16])));
            let older = state.actions(&ActionQuery { before, ..query(&[]) }).unwrap();
            assert_eq!(older, [action(1, 1, &[Pending, Approved])]);
            let of = state.actions(&ActionQuery { hosts: vec![host(2)], ..query(&[]) }).unwrap();
            assert_eq!(of.len(), 1);
        },
    );
    with_store(|state| {
        state.put_host(&HostRecord::new(host(1), name("nas"), at(0))).unwrap();
        state.put_action(&action(1, 1, &[Pending])).unwrap();
        state.remove_host(host(1)).unwrap();
        assert!(state.actions(&query(&[])).unwrap().is_empty());
    });
}

#[test]
fn a_filled_file_of_version_1_is_brought_up_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let nas = HostRecord { roles: vec!["storage".into()], ..HostRecord::new(host(1), name("nas"), at(0)) };
    let line = AuditEntry {
        at: at(1),
        actor: "ada".into(),
        address: None,
        action: "host.add".into(),
        target: Some("nas".into()),
        outcome: "ok".into(),
        details: Default::default(),
    };
    let store = open(folder.path());
    store.state.put_host(&nas).unwrap();
    store.state.add_host_token(&token(1, 1)).unwrap();
    store.state.audit(&line).unwrap();
    store.state.put_value("hysteresis", Some(b"saved")).unwrap();
    drop(store);
    // Version 2 has brought the Actions, and nothing else.
    let file = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    file.execute_batch("DROP TABLE action; PRAGMA user_version = 1;").unwrap();
    drop(file);

    for _ in 0..2 {
        let store = open(folder.path());
        assert_eq!(store.state.hosts().unwrap(), std::slice::from_ref(&nas));
        assert_eq!(store.state.host_tokens().unwrap(), [token(1, 1)]);
        assert_eq!(store.state.audit_log(Page::NewestFirst(None), 10).unwrap()[0].entry, line);
        assert_eq!(store.state.value("hysteresis").unwrap().as_deref(), Some(&b"saved"[..]));
        store.state.put_action(&action(1, 1, &[ActionState::Pending])).unwrap();
        let kept = store.state.action(ActionId::from_bytes([1; 16])).unwrap();
        assert_eq!(kept, Some(action(1, 1, &[ActionState::Pending])));
    }
    let file = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    let version: i64 = file.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
}

#[test]
fn a_host_is_kept_whole_and_its_names_lead_to_it_alone() {
    let mut nas = HostRecord::new(host(1), name("nas"), at(0));
    nas.aliases = vec![name("storage"), name("backup")];
    nas.foreign_name = Some("NAS (old)".into());
    nas.roles = vec!["storage".into()];
    nas.external_ids = [("proxmox".to_owned(), "pve-nas".to_owned())].into();
    nas.via = Some(host(2));
    nas.public_key = Some(vec![1, 2, 3]);
    nas.agent_version = Some("0.1.0".into());
    nas.announced_presence = Some("online".into());
    nas.settings = [("intervals.fast".to_owned(), "\"5s\"".to_owned())].into();
    nas.settings_revision = 4;
    let pve = HostRecord::new(host(2), name("pve"), at(1));
    over_a_restart(
        |state| {
            state.put_host(&HostRecord::new(host(1), name("old-name"), at(0))).unwrap();
            state.put_host(&pve).unwrap();
            state.put_host(&nas).unwrap();
            let clash = HostRecord::new(host(3), name("backup"), at(2));
            assert!(matches!(state.put_host(&clash), Err(StoreError::NameTaken(taken)) if taken == "backup"));
            let clash = HostRecord { aliases: vec![name("nas")], ..pve.clone() };
            assert!(matches!(state.put_host(&clash), Err(StoreError::NameTaken(_))));
        },
        |state| assert_eq!(state.hosts().unwrap(), [nas.clone(), pve.clone()]),
    );
    with_store(|state| {
        state.put_host(&nas).unwrap();
        state.touch_hosts(&[(host(1), at(5)), (host(9), at(5))]).unwrap();
        state.touch_hosts(&[(host(1), at(6))]).unwrap();
        let seen = &state.hosts().unwrap()[0];
        assert_eq!((seen.first_seen_at, seen.last_seen_at), (Some(at(5)), Some(at(6))));
        // A name that was given up is free again.
        state.put_host(&HostRecord::new(host(1), name("nas"), at(0))).unwrap();
        state.put_host(&HostRecord::new(host(3), name("backup"), at(2))).unwrap();
    });
}

#[test]
fn a_removed_host_takes_its_belongings_with_it() {
    with_store(|state| {
        for (number, called) in [(1, "nas"), (2, "pve")] {
            state.put_host(&HostRecord::new(host(number), name(called), at(0))).unwrap();
            state.add_host_token(&token(number as u8, number)).unwrap();
            let event = event(number, at(1), "something");
            state.add_events(&[NewEvent { host: Some(host(number)), received_at: at(1), event }]).unwrap();
        }
        state.add_grant(Grant { agent: host(1), via: host(2) }).unwrap();
        let snapshot =
            |number| Snapshot { host: host(number), row: 1, at: at(1), latest: Latest::default().snapshot() };
        state.save_snapshots(&[snapshot(1), snapshot(2), snapshot(3)]).unwrap();
        assert_eq!(state.snapshots().unwrap().len(), 2, "there is no third host");
        assert!(state.remove_host(host(1)).unwrap());
        assert!(!state.remove_host(host(1)).unwrap());
        assert_eq!(state.hosts().unwrap().len(), 1);
        assert_eq!(state.host_tokens().unwrap(), [token(2, 2)]);
        assert_eq!(state.grants().unwrap(), []);
        assert_eq!(state.snapshots().unwrap(), [snapshot(2)]);
        assert_eq!(state.events(&EventQuery::default()).unwrap().len(), 1);
        state.put_host(&HostRecord::new(host(5), name("nas"), at(0))).unwrap();
        assert!(matches!(state.add_host_token(&token(9, 77)), Err(StoreError::NotFound(_))));
        assert!(matches!(state.add_grant(Grant { agent: host(5), via: host(77) }), Err(StoreError::NotFound(_))));
    });
}

#[test]
fn a_rotated_token_holds_until_the_new_one_is_first_used() {
    with_store(|state| {
        state.put_host(&HostRecord::new(host(1), name("nas"), at(0))).unwrap();
        state.put_host(&HostRecord::new(host(2), name("pve"), at(0))).unwrap();
        for (number, of) in [(1, 1), (2, 1), (3, 2)] {
            state.add_host_token(&token(number, of)).unwrap();
        }
        let uses = |number: u8, second| state.use_host_token(&[number; 32], at(second)).unwrap();
        // An old token that is used for the first time ends no newer one.
        state.add_host_token(&token(6, 2)).unwrap();
        assert!(uses(3, 1).is_some());
        assert!(uses(6, 1).is_some(), "it was not used up by the old one");
        assert_eq!(uses(3, 1), None);
        state.revoke_host_tokens(host(1), at(1)).unwrap();
        assert_eq!(uses(1, 2), None);
        state.add_host_token(&token(4, 1)).unwrap();
        assert_eq!(uses(4, 3).unwrap().first_used_at, Some(at(3)));
        assert_eq!(uses(4, 4).unwrap().first_used_at, Some(at(3)), "first stays first");
        state.add_host_token(&token(5, 1)).unwrap();
        assert!(uses(4, 5).is_some(), "the new one is not in use yet");
        assert!(uses(5, 6).is_some());
        assert_eq!(uses(4, 7), None, "now it is");
        assert!(uses(6, 8).is_some(), "other hosts' tokens are not touched");
        assert_eq!(uses(99, 9), None);
        state.maintain(at(6 + 24 * 3600), at(0)).unwrap();
        let left: Vec<u8> = state.host_tokens().unwrap().iter().map(|token| token.hash[0]).collect();
        assert_eq!(left, [5, 6], "void ones go a day later");
    });
}

#[test]
fn an_enrolment_code_works_once_in_time_and_whole() {
    with_store(|state| {
        let code = |number: u8| EnrolmentCode {
            hash: [number; 32],
            name: name("nas"),
            roles: vec!["storage".into()],
            created_by: "account:ada".into(),
            created_at: at(0),
            expires_at: at(600),
            used: None,
        };
        state.add_code(&code(1)).unwrap();
        state.add_code(&code(2)).unwrap();
        let nas = HostRecord::new(host(1), name("nas"), at(10));
        let enrol = |number: u8, second, record: &HostRecord, token: &HostToken| {
            state.enrol(&[number; 32], at(second), record, token)
        };
        assert!(matches!(enrol(9, 10, &nas, &token(1, 1)), Err(StoreError::BadCode)));
        assert!(matches!(enrol(1, 600, &nas, &token(1, 1)), Err(StoreError::BadCode)), "too late");
        assert_eq!(state.hosts().unwrap(), []);
        enrol(1, 10, &nas, &token(1, 1)).unwrap();
        assert_eq!(state.code(&[1; 32]).unwrap().unwrap().used, Some((at(10), host(1))));
        assert!(matches!(enrol(1, 11, &nas, &token(2, 1)), Err(StoreError::BadCode)), "once");
        // What fails half way leaves the code as it was.
        let clash = HostRecord::new(host(2), name("nas"), at(10));
        assert!(matches!(enrol(2, 12, &clash, &token(3, 2)), Err(StoreError::NameTaken(_))));
        assert_eq!(state.code(&[2; 32]).unwrap(), Some(code(2)));
        // The same machine again: its old token is void.
        enrol(2, 13, &nas, &token(4, 1)).unwrap();
        assert_eq!(state.use_host_token(&[1; 32], at(14)).unwrap(), None);
        assert!(state.use_host_token(&[4; 32], at(14)).unwrap().is_some());
        state.maintain(at(600 + 24 * 3600), at(0)).unwrap();
        assert_eq!(state.code(&[1; 32]).unwrap(), None);
    });
}

#[test]
fn accounts_sessions_and_tokens() {
    let ada = Account {
        name: "ada".into(),
        password_hash: Some("$argon2id$...".into()),
        role: Role::Admin,
        created_at: at(0),
        password_changed_at: Some(at(1)),
        last_login_at: None,
        disabled: false,
    };
    let session = |number: u8| Session {
        hash: [number; 32],
        account: "ada".into(),
        created_at: at(1),
        last_used_at: at(1),
        expires_at: at(100),
        address: Some("192.0.2.1".into()),
        user_agent: None,
    };
    let ci = ApiToken {
        hash: [7; 32],
        prefix: "abc".into(),
        name: "ci".into(),
        role: Role::Viewer,
        created_by: "account:ada".into(),
        created_at: at(0),
        expires_at: Some(at(50)),
        last_used_at: None,
    };
    over_a_restart(
        |state| {
            state.add_account(&Account { role: Role::Viewer, ..ada.clone() }).unwrap();
            assert!(matches!(state.add_account(&ada), Err(StoreError::NameTaken(_))));
            assert!(state.update_account(&ada).unwrap());
            assert!(!state.update_account(&Account { name: "bob".into(), ..ada.clone() }).unwrap());
            state.add_session(&session(1)).unwrap();
            let orphan = Session { account: "bob".into(), ..session(2) };
            assert!(matches!(state.add_session(&orphan), Err(StoreError::NotFound(_))));
            state.add_api_token(&ci).unwrap();
            let twin = ApiToken { hash: [8; 32], ..ci.clone() };
            assert!(matches!(state.add_api_token(&twin), Err(StoreError::NameTaken(_))));
        },
        |state| {
            assert_eq!(state.accounts().unwrap(), std::slice::from_ref(&ada));
            assert_eq!(state.account("ada").unwrap(), Some(ada.clone()));
            assert_eq!(state.account("bob").unwrap(), None);
            assert_eq!(state.session(&[1; 32], at(99)).unwrap(), Some(session(1)));
            assert_eq!(state.session(&[1; 32], at(100)).unwrap(), None, "expired");
            assert_eq!(state.api_tokens().unwrap(), std::slice::from_ref(&ci));
            assert_eq!(state.api_token(&[7; 32], at(49)).unwrap(), Some(ci.clone()));
            assert_eq!(state.api_token(&[7; 32], at(50)).unwrap(), None, "expired");
        },
    );
    with_store(|state| {
        state.add_account(&ada).unwrap();
        for number in 1..=4 {
            state.add_session(&session(number)).unwrap();
        }
        state.touch_session(&[1; 32], at(50), at(150)).unwrap();
        assert_eq!(state.session(&[1; 32], at(120)).unwrap().unwrap().last_used_at, at(50));
        assert!(state.remove_session(&[2; 32]).unwrap());
        assert!(!state.remove_session(&[2; 32]).unwrap());
        assert_eq!(state.remove_sessions("ada", Some(&[1; 32])).unwrap(), 2);
        assert!(state.session(&[1; 32], at(60)).unwrap().is_some());
        state.add_session(&session(5)).unwrap();
        assert!(state.remove_account("ada").unwrap());
        assert_eq!(state.session(&[5; 32], at(60)).unwrap(), None, "its sessions go with an account");
        state.add_api_token(&ci).unwrap();
        state.touch_api_token(&[7; 32], at(9)).unwrap();
        assert_eq!(state.api_tokens().unwrap()[0].last_used_at, Some(at(9)));
        assert!(state.remove_api_token("ci").unwrap());
        assert!(!state.remove_api_token("ci").unwrap());
    });
}

#[test]
fn an_event_is_kept_once_and_found_by_what_it_is() {
    with_store(|state| {
        let new = |number: u128, of: Option<u128>, second, severity, kind: &EventKind| {
            let mut event = event(number, at(second), "it happened");
            event.severity = severity;
            event.kind = kind.clone();
            NewEvent { host: of.map(host), received_at: at(second + 1), event }
        };
        let told = [
            new(1, Some(1), 10, Severity::Warning, &EventKind::STATUS_CHANGED),
            new(2, Some(2), 20, Severity::Info, &EventKind::HOST_ONLINE),
            new(3, None, 30, Severity::Critical, &EventKind::STORE_TROUBLE),
        ];
        assert_eq!(state.last_receipt().unwrap(), 0);
        assert_eq!(state.add_events(&told).unwrap(), [Some(1), Some(2), Some(3)]);
        let more = [told[1].clone(), new(4, Some(1), 5, Severity::Error, &EventKind::GAP), told[0].clone()];
        let receipts = state.add_events(&more).unwrap();
        assert_eq!((receipts[0], receipts[2]), (None, None));
        let newest = state.last_receipt().unwrap();
        assert_eq!(receipts[1], Some(newest));
        let all = state.events(&EventQuery::default()).unwrap();
        assert_eq!(all[3].event, told[0].event, "an event comes back whole");
        assert_eq!((all[3].received_at, all[3].host), (at(11), Some(host(1))));

        let seconds = |query: EventQuery| -> Vec<i64> {
            state.events(&query).unwrap().iter().map(|stored| (stored.event.at.millis() - START) / 1000).collect()
        };
        let any = EventQuery::default;
        assert_eq!(seconds(any()), [5, 30, 20, 10], "newest receipt first");
        assert_eq!(seconds(EventQuery { hosts: vec![host(1)], ..any() }), [5, 10]);
        assert_eq!(seconds(EventQuery { hosts: vec![host(1), host(2)], ..any() }), [5, 20, 10]);
        let kinds = vec!["gap".to_owned(), "host_online".to_owned()];
        assert_eq!(seconds(EventQuery { kinds, ..any() }), [5, 20]);
        assert_eq!(seconds(EventQuery { severity: Some(Severity::Error), ..any() }), [5, 30]);
        assert_eq!(seconds(EventQuery { from: Some(at(10)), to: Some(at(30)), ..any() }), [20, 10]);
        assert_eq!(seconds(EventQuery { subject: Some("aquarium:reef".into()), ..any() }).len(), 4);
        assert_eq!(seconds(EventQuery { subject: Some("disk:sda".into()), ..any() }).len(), 0);
        // Paging, both ways.
        assert_eq!(seconds(EventQuery { limit: 2, ..any() }), [5, 30]);
        assert_eq!(seconds(EventQuery { limit: 2, page: Page::NewestFirst(Some(3)), ..any() }), [20, 10]);
        assert_eq!(seconds(EventQuery { limit: 2, page: Page::OldestFirst(0), ..any() }), [10, 20]);
        assert_eq!(seconds(EventQuery { page: Page::OldestFirst(2), ..any() }), [30, 5]);

        state.maintain(at(100), at(20)).unwrap();
        assert_eq!(seconds(any()), [30, 20]);
        assert_eq!(state.last_receipt().unwrap(), newest, "receipt numbers go on");
    });
}

#[test]
fn the_audit_only_grows() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let entry = AuditEntry {
        at: at(1),
        actor: "account:ada".into(),
        address: Some("192.0.2.1".into()),
        action: "host.rename".into(),
        target: Some("nas".into()),
        outcome: "ok".into(),
        details: [("to".to_owned(), "storage".to_owned())].into(),
    };
    assert_eq!(store.state.audit(&entry).unwrap(), 1);
    assert_eq!(store.state.audit(&AuditEntry { action: "host.rm".into(), ..entry.clone() }).unwrap(), 2);
    let log = store.state.audit_log(Page::NewestFirst(None), 10).unwrap();
    assert_eq!(log[1].entry, entry);
    assert_eq!(store.state.audit_log(Page::OldestFirst(1), 10).unwrap()[0].number, 2);
    drop(store);
    // Not even somebody with the file can change a line in passing.
    let file = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    for sql in ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"] {
        assert!(file.execute(sql, []).unwrap_err().to_string().contains("the audit is never"));
    }
}

#[test]
fn what_is_known_comes_back() {
    let mut latest = Latest::default();
    let mut seen = report(host(1), "tank", 1, "reef", &[("depth_celsius", 25.3)]);
    seen.scopes[0].facets[0].assessment = Some(tomte_model::Assessment::ok());
    latest.apply(&seen, at(1));
    let snapshot = Snapshot { host: host(1), row: 42, at: at(2), latest: latest.snapshot() };
    let catalogue = catalogue();
    let kind = catalogue.kind("aquarium").unwrap();
    over_a_restart(
        |state| {
            state.put_host(&HostRecord::new(host(1), name("nas"), at(0))).unwrap();
            state.save_snapshots(&[Snapshot { row: 1, ..snapshot.clone() }]).unwrap();
            state.save_snapshots(std::slice::from_ref(&snapshot)).unwrap();
            state.put_kind(kind).unwrap();
            state.put_value("hysteresis", Some(b"saved")).unwrap();
            state.put_value("other", Some(b"x")).unwrap();
            state.put_value("other", None).unwrap();
        },
        |state| {
            assert_eq!(state.snapshots().unwrap(), std::slice::from_ref(&snapshot));
            assert_eq!(Latest::from(state.snapshots().unwrap().remove(0).latest), latest);
            assert_eq!(state.kinds().unwrap(), std::slice::from_ref(kind));
            assert_eq!(state.value("hysteresis").unwrap().as_deref(), Some(&b"saved"[..]));
            assert_eq!(state.value("other").unwrap(), None);
        },
    );
}

#[test]
fn what_cannot_be_read_is_left_out_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for (number, called) in [(1, "nas"), (2, "pve")] {
        store.state.put_host(&HostRecord::new(host(number), name(called), at(0))).unwrap();
        let latest = Latest::default().snapshot();
        store.state.save_snapshots(&[Snapshot { host: host(number), row: 1, at: at(1), latest }]).unwrap();
    }
    drop(store);
    let file = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    file.execute("UPDATE snapshot SET latest = '{' WHERE host = ?1", [host(1).to_bytes()]).unwrap();
    file.execute("INSERT INTO kind VALUES ('aquarium', 'fish')", []).unwrap();
    drop(file);
    let store = open(folder.path());
    assert_eq!(store.state.snapshots().unwrap().len(), 1);
    assert_eq!(store.state.kinds().unwrap(), []);
}

#[test]
fn many_read_while_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), tomte_store::Options { readers: 2, ..options() }).unwrap();
    let record = |number: u128| HostRecord::new(host(number), name(&format!("h{number}")), at(0));
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| (1..=30).for_each(|number| store.state.put_host(&record(number)).unwrap()));
        for _ in 0..6 {
            threads.spawn(|| {
                let mut known = 0;
                while known < 30 {
                    let now = store.state.hosts().unwrap().len();
                    assert!(now >= known);
                    known = now;
                }
            });
        }
        writer.join().unwrap();
    });
}
