#![allow(clippy::unwrap_used, clippy::print_stderr)]
use std::fs;
use std::os::unix::net::UnixListener;
use std::thread;

use tomte_collect::SystemClock;
use tomte_model::{BootId, Catalogue, Clock};

use super::*;
use crate::command::helper::CommandHelper;
use crate::config::OutboxConfig;
use crate::helper::Allowed;
use crate::outbox::Outbox;
use crate::pipeline::{Judged, Pipeline, PipelineOptions};

const LIST_TEXT: &str = r#"
[[commands.available]]
trigger = "echo"
command = ["/bin/echo", "{what}"]
params = [{ name = "what", regex = "[a-z]+" }]
risk = "safe"
mqtt = "run"

[[commands.available]]
trigger = "ask"
command = ["/bin/sh", "-c", "echo secret-output; exit 3"]

[[commands.available]]
trigger = "wait"
command = ["/bin/sleep", "600"]
mqtt = "run"
"#;

struct Rig {
    folder: tempfile::TempDir,
    desk: Arc<Desk>,
    told: broadcast::Receiver<Arc<Told>>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    _refresh: mpsc::Receiver<Change>,
}

fn desk(folder: &Path) -> (Arc<Desk>, mpsc::Receiver<Change>) {
    let options = PipelineOptions {
        host: HostId::from_parts(1, 2),
        boot_id: BootId(1),
        catalogue: Arc::new(Catalogue::builtin()),
        rules: Vec::new(),
        judged: Judged::default(),
    };
    let outbox = Outbox::new(1, OutboxConfig::default(), SystemClock.now());
    let station = Station::new(Pipeline::new(options, outbox), Arc::new(SystemClock));
    let settings = CommandsEntry { file: folder.join("commands.toml"), socket: folder.join("sock") };
    let (refresh, refreshed) = mpsc::channel(8);
    (Desk::new(station, StateDir::open(folder.join("state")).unwrap(), settings, refresh), refreshed)
}

/// A host with a list, and a helper that never tires of listening. A list must
/// be root's: without root there is nothing to ask for.
async fn rig() -> Option<Rig> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can own a list of commands");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("commands.toml"), LIST_TEXT).unwrap();
    let listener = UnixListener::bind(folder.path().join("sock")).unwrap();
    let helper = CommandHelper::new(folder.path().join("commands.toml"), Allowed(0));
    thread::spawn(move || helper.serve(&listener, None));
    Some(on(folder))
}

fn on(folder: tempfile::TempDir) -> Rig {
    let (desk, refresh) = desk(folder.path());
    let cancel = CancellationToken::new();
    let told = desk.watch();
    let task = tokio::spawn(desk.clone().run(cancel.clone()));
    Rig { folder, desk, told, cancel, task, _refresh: refresh }
}

impl Rig {
    async fn until(&mut self, id: ActionId, state: ActionState) -> Arc<Told> {
        loop {
            let told = self.told.recv().await.unwrap();
            if told.action.id == id && told.action.state == state {
                return told;
            }
        }
    }

    fn audit(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.folder.path().join("state/audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn events(&self) -> Vec<Event> {
        self.desk.station.recent_events()
    }
}

fn request(trigger: &str, arguments: &[&str], id: Option<&str>) -> Request {
    Request {
        by: "mqtt".into(),
        trigger: trigger.into(),
        arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        request_id: id.map(str::to_owned),
    }
}

fn filed(reply: Reply) -> Action {
    match reply {
        Reply::Filed(action) => action,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_the_list_lets_run_is_run_once_and_told() {
    let Some(mut rig) = rig().await else { return };
    let action = filed(rig.desk.request(request("echo", &["hello"], Some("r1"))).await);
    assert_eq!(action.state, ActionState::Approved);
    assert!(action.by().contains("mqtt = \"run\""), "the line of the file approved it: {}", action.by());
    let told = rig.until(action.id, ActionState::Completed).await;
    assert_eq!(told.output.as_ref().map(|output| output.text.as_str()), Some("hello\n"));
    // The same delivery again.
    let Reply::Known(again) = rig.desk.request(request("echo", &["hello"], Some("r1"))).await else { panic!("again") };
    assert_eq!((again.id, again.state), (action.id, ActionState::Completed));
    // Without an id each one is a request of its own.
    let one = filed(rig.desk.request(request("echo", &["a"], None)).await);
    let two = filed(rig.desk.request(request("echo", &["a"], None)).await);
    assert_ne!(one.id, two.id);
    rig.until(two.id, ActionState::Completed).await;
    let runs = rig.audit().iter().filter(|line| line["outcome"] == "running" && line["request_id"] == "r1").count();
    assert_eq!(runs, 1);
    let outcomes: Vec<_> = rig.audit().iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect();
    assert_eq!(outcomes[..4], ["pending", "approved", "running", "completed"]);
    assert!(outcomes.contains(&"repeated".to_owned()));
    let done = rig.events().into_iter().find(|event| event.details.get("state").is_some_and(|s| s == "completed"));
    let done = done.unwrap();
    assert!(done.details.contains_key("duration_seconds") && done.details["exit_code"] == "0");
}

#[tokio::test]
async fn what_has_to_be_asked_waits_for_the_first_decision() {
    let Some(mut rig) = rig().await else { return };
    let action = filed(rig.desk.request(request("ask", &[], None)).await);
    assert_eq!(action.state, ActionState::Pending);
    assert!(action.plan.text.contains("/bin/sh -c"), "{}", action.plan.text);
    let hash = action.plan.hash.clone();
    let other = rig.desk.decide(action.id, true, "0", "", "root").await.unwrap_err();
    assert_eq!(other, DecideError::Refused(Refused::OtherPlan));
    rig.desk.decide(action.id, true, &hash, "", "root").await.unwrap();
    let late = rig.desk.decide(action.id, false, &hash, "", "ada").await.unwrap_err();
    assert!(late.to_string().contains("already"), "{late}");
    let told = rig.until(action.id, ActionState::Failed).await;
    assert_eq!(told.action.result.as_ref().unwrap().exit_code, Some(3));
    let audit = fs::read_to_string(rig.folder.path().join("state/audit.log")).unwrap();
    let events = format!("{:?}", rig.events());
    assert!(!audit.contains("secret-output") && !events.contains("secret-output"), "output is in neither");
    assert!(rig.desk.decide(ActionId::from_bytes([0; 16]), true, &hash, "", "root").await.is_err());

    let no = filed(rig.desk.request(request("ask", &[], None)).await);
    let no = rig.desk.decide(no.id, false, &no.plan.hash, "not\u{1b} now", "root").await.unwrap();
    assert_eq!((no.state, no.history[1].reason.as_str()), (ActionState::Rejected, "not now"));
}

#[tokio::test]
async fn what_the_list_does_not_allow_is_refused_and_noted() {
    let Some(rig) = rig().await else { return };
    for (trigger, arguments) in [("rm", vec!["-rf"]), ("echo", vec!["NO"]), ("echo", vec![]), ("list", vec!["x"])] {
        let reply = rig.desk.request(request(trigger, &arguments, Some("bad"))).await;
        assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
    }
    let Reply::Listed(text) = rig.desk.request(request("list", &[], None)).await else { panic!("list") };
    assert!(text.contains("echo what (run, safe)") && text.contains("ask (ask, guarded)"), "{text}");
    let audit = rig.audit();
    assert_eq!(audit.len(), 5);
    assert!(audit[..4].iter().all(|line| line["outcome"] == "refused" && line["arguments"].is_null()), "{audit:?}");
    assert_eq!(rig.events().len(), 5);
    assert!(rig.desk.actions().await.is_empty());
}

#[tokio::test]
async fn a_list_that_changes_before_it_runs_runs_nothing() {
    let Some(mut rig) = rig().await else { return };
    let action = filed(rig.desk.request(request("ask", &[], None)).await);
    fs::write(rig.folder.path().join("commands.toml"), LIST_TEXT.replace("exit 3", "exit 4")).unwrap();
    rig.desk.decide(action.id, true, &action.plan.hash, "", "root").await.unwrap();
    let told = rig.until(action.id, ActionState::Failed).await;
    assert!(told.action.result.as_ref().unwrap().error.contains("otherwise now"));
    let states: Vec<_> = told.action.history.iter().map(|step| step.to).collect();
    assert!(!states.contains(&ActionState::Running), "{states:?}");
}

#[tokio::test]
async fn one_that_runs_when_the_agent_dies_has_failed_and_is_not_run_again() {
    let Some(mut rig) = rig().await else { return };
    let action = filed(rig.desk.request(request("wait", &[], Some("w"))).await);
    rig.until(action.id, ActionState::Running).await;
    // As a SIGKILL leaves it: no word more is written.
    rig.task.abort();
    let _ = (&mut rig.task).await;
    let folder = rig.folder;
    let mut rig = on(folder);
    let told = rig.until(action.id, ActionState::Failed).await;
    assert!(told.action.result.as_ref().unwrap().outcome_unknown);
    let Reply::Known(known) = rig.desk.request(request("wait", &[], Some("w"))).await else { panic!("run again") };
    assert_eq!(known.state, ActionState::Failed);
    rig.cancel.cancel();
    rig.task.await.unwrap();
}

#[tokio::test]
async fn without_a_helper_it_fails_with_the_cure_and_without_a_list_nothing_is_taken() {
    let Some(rig) = rig().await else { return };
    let folder = rig.folder;
    rig.task.abort();
    fs::remove_file(folder.path().join("sock")).unwrap();
    let mut rig = on(folder);
    let action = filed(rig.desk.request(request("echo", &["x"], None)).await);
    let told = rig.until(action.id, ActionState::Failed).await;
    assert!(told.action.result.as_ref().unwrap().error.contains("systemctl enable --now tomte-agent-commands.socket"));
    let path = rig.folder.path().join("commands.toml");
    std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
    let Reply::Refused(why) = rig.desk.request(request("echo", &["x"], None)).await else { panic!("taken") };
    assert!(why.contains("cannot be used"), "{why}");
    fs::remove_file(&path).unwrap();
    let Reply::Refused(why) = rig.desk.request(request("echo", &["x"], None)).await else { panic!("taken") };
    assert!(why.contains("no commands"), "{why}");
    assert!(rig.desk.commands().borrow().is_none());
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_taken() {
    let Some(rig) = rig().await else { return };
    // A folder where the file should be: it cannot be replaced.
    fs::create_dir_all(rig.folder.path().join("state/actions.json/x")).unwrap();
    let Reply::Refused(why) = rig.desk.request(request("echo", &["x"], None)).await else { panic!("taken") };
    assert!(why.contains("cannot be written down"), "{why}");
    assert!(rig.desk.actions().await.is_empty());
}
