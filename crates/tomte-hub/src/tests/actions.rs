//! Decisions on what hosts were asked to do: who may make them, about what,
//! and how often.

use tomte_api::account::Role;
use tomte_link::{FromHub, Twin};
use tomte_model::{Action, ActionId, ActionState, HostId, Plan, Risk, Step, Timestamp};

use super::support::*;
use crate::access::{Actor, Caller};
use crate::actions::DecideError;
use crate::view::Enrolled;
use crate::{Hub, HubError};

fn id() -> ActionId {
    ActionId::from_bytes([7; 16])
}

fn caller(name: &str, role: Role) -> Caller {
    Caller { actor: Actor::new(name, None), role }
}

/// What a host was asked to do, with those steps behind it.
fn action(host: HostId, risk: Risk, steps: &[ActionState]) -> Action {
    let at = |seconds: i64| Timestamp::from_millis(EPOCH + seconds * 1_000);
    let by = |to: &ActionState| if *to == ActionState::Pending { "mqtt" } else { "agent" }.to_owned();
    let step =
        |(place, to): (usize, &ActionState)| Step { at: at(place as i64), to: *to, by: by(to), reason: "".into() };
    Action {
        id: id(),
        host,
        kind: "command".into(),
        target: "wipe".into(),
        arguments: Vec::new(),
        plan: Plan { text: "run /usr/sbin/wipefs as root".into(), hash: "aa".into() },
        risk,
        state: *steps.last().unwrap(),
        via: "mqtt".into(),
        request_id: "r1".into(),
        created_at: at(0),
        expires_at: at(300),
        history: steps.iter().enumerate().map(step).collect(),
        result: None,
    }
}

/// A host whose agent is connected and tells of an Action.
async fn asked(bench: &Bench, risk: Risk) -> (Enrolled, Agent<Twin>) {
    let nas = bench.enrol(1, "nas").await;
    let mut agent = Agent::connect(&ByTwin, bench, &nas, 1).await;
    tell(&mut agent, &action(nas.host, risk, &[ActionState::Pending])).await;
    (nas, agent)
}

/// Tells, and waits until the hub has taken it: frames are taken in order.
async fn tell(agent: &mut Agent<Twin>, action: &Action) {
    use tomte_link::Sender as _;
    let message = agent.link.action(action);
    agent.sender.send(message).await.unwrap();
    agent.heartbeat().await;
}

async fn approve(hub: &std::sync::Arc<Hub>, by: &Caller, hash: &str) -> Result<Action, DecideError> {
    hub.decide_action(by, id(), true, hash.to_owned(), String::new()).await
}

fn conflict(result: Result<Action, DecideError>) -> String {
    match result {
        Err(DecideError::Hub(HubError::Conflict(why))) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_dangerous_is_an_admins_to_approve_and_to_reject() {
    let bench = Bench::open();
    let (_, mut agent) = asked(&bench, Risk::Dangerous).await;
    for role in [Role::Viewer, Role::Operator] {
        let refused = approve(&bench.hub, &caller("bob", role), "aa").await;
        assert!(matches!(refused, Err(DecideError::Forbidden(_))), "{role:?}: {refused:?}");
    }
    let rejected = bench.hub.decide_action(&caller("bob", Role::Operator), id(), false, "aa".into(), "no".into()).await;
    assert!(matches!(rejected, Err(DecideError::Forbidden(_))), "{rejected:?}");
    let tries = bench.audit("action.approve");
    assert_eq!((tries.len(), tries[0].actor.as_str()), (1, "bob"));
    assert!(tries[0].outcome.contains("an admin decides"), "{tries:?}");

    approve(&bench.hub, &caller("ada", Role::Admin), "aa").await.unwrap();
    // The first thing that the agent hears of it: nothing came of the tries.
    let FromHub::Decide(decision) = agent.next().await.unwrap() else { panic!("it is told something else") };
    assert_eq!((decision.id, decision.approve, decision.plan_hash.as_str()), (id(), true, "aa"));
    assert_eq!(decision.by, "ada");
    assert_eq!(bench.audit("action.approve").last().unwrap().outcome, "ok");
}

#[tokio::test]
async fn a_decision_is_about_the_plan_that_was_shown() {
    let bench = Bench::open();
    let (_, mut agent) = asked(&bench, Risk::Guarded).await;
    let viewer = approve(&bench.hub, &caller("eve", Role::Viewer), "aa").await;
    assert!(matches!(viewer, Err(DecideError::Forbidden(_))), "{viewer:?}");
    let bob = caller("bob", Role::Operator);
    for hash in ["bb", "", "AA"] {
        let why = conflict(approve(&bench.hub, &bob, hash).await);
        assert!(why.contains("not the one that was shown"), "{why}");
    }
    let tries = bench.audit("action.approve");
    assert_eq!(tries.len(), 3, "each is noted");
    assert!(tries.iter().all(|line| line.outcome != "ok"), "{tries:?}");
    approve(&bench.hub, &bob, "aa").await.unwrap();
    let FromHub::Decide(decision) = agent.next().await.unwrap() else { panic!("it is told something else") };
    assert_eq!(decision.plan_hash, "aa", "the wrong ones never went out");
}

#[tokio::test]
async fn what_is_over_or_decided_already_stays_so() {
    use ActionState::{Approved, Expired, Pending};
    let bench = Bench::open();
    let (nas, mut agent) = asked(&bench, Risk::Guarded).await;
    let (bob, cyd) = (caller("bob", Role::Operator), caller("cyd", Role::Operator));
    approve(&bench.hub, &bob, "aa").await.unwrap();
    tell(&mut agent, &action(nas.host, Risk::Guarded, &[Pending, Approved])).await;
    let why = conflict(bench.hub.decide_action(&cyd, id(), false, "aa".into(), "no".into()).await);
    assert!(why.contains("approved already"), "{why}");
    assert_ne!(bench.audit("action.reject")[0].outcome, "ok");
    // It did not get its turn in time; older news does not wake it again.
    tell(&mut agent, &action(nas.host, Risk::Guarded, &[Pending, Approved, Expired])).await;
    tell(&mut agent, &action(nas.host, Risk::Guarded, &[Pending])).await;
    let why = conflict(approve(&bench.hub, &bob, "aa").await);
    assert!(why.contains("expired already, by agent"), "{why}");
}

#[tokio::test]
async fn only_a_hosts_own_agent_tells_of_it_and_has_to_be_there_for_a_decision() {
    let bench = Bench::open();
    let (nas, agent) = asked(&bench, Risk::Guarded).await;
    let web = bench.enrol(2, "web").await;
    let mut other = Agent::connect(&ByTwin, &bench, &web, 1).await;
    tell(&mut other, &action(nas.host, Risk::Safe, &[ActionState::Pending, ActionState::Completed])).await;
    let known = bench.hub.store.state.action(id()).unwrap().unwrap();
    assert_eq!((known.state, known.risk), (ActionState::Pending, Risk::Guarded));

    drop(agent);
    while bench.hub.links.is_connected(nas.host) {
        tokio::task::yield_now().await;
    }
    let away = approve(&bench.hub, &caller("bob", Role::Operator), "aa").await;
    assert!(matches!(&away, Err(DecideError::Hub(HubError::NotConnected(host))) if host == "nas"), "{away:?}");
    let unheard_of = ActionId::from_bytes([8; 16]);
    let missing =
        bench.hub.decide_action(&caller("bob", Role::Operator), unheard_of, true, "aa".into(), "".into()).await;
    assert!(matches!(missing, Err(DecideError::Hub(HubError::NotFound { what: "action", .. }))), "{missing:?}");
}
