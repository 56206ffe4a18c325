//! What others ask this host to do: filed, decided on, run once, remembered.
//!
//! The [`Desk`] is the one place where requests of the broker, and decisions
//! of root and of the hub's operators, meet. It keeps the
//! [`Ledger`] on disk before anything is said or done, holds a request against
//! the host's list of commands when it comes and again before it runs, and
//! tells every change: to the audit, as an event, and to whoever listens
//! ([`Desk::watch`]). What is run runs in the helper ([`crate::command`]).

pub mod audit;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, Notify, broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tomte_collect::{Refusal, clock_synchronised};
use tomte_control::{Change as Step, FileError, Ledger, New, Refused};
use tomte_model::{Action, ActionId, ActionResult, ActionState, Event, EventKind, HostId, Risk, Severity};
use tracing::{info, warn};

use crate::command::client::{self, NotRun};
use crate::command::{Commands, LIST, MqttRule, Run};
use crate::config::schema::CommandsEntry;
use crate::link::with_causes;
use crate::pipeline::agent_event;
use crate::state::{StateDir, random_u128};
use crate::station::Station;
use crate::workers::Change;

use audit::{Audit, Line};

/// Through what all of them are asked for: the host's own broker.
pub const VIA: &str = "mqtt";
/// The file of the Actions.
pub const FILE: &str = "actions.json";
/// So many run at once.
const AT_ONCE: usize = 4;
/// The list of commands is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How many changes a slow listener may lag behind.
const CHANGES: usize = 64;

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who, as far as it is known.
    pub by: String,
    /// The command's trigger.
    pub trigger: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The request's own id; `None`: one is made up.
    pub request_id: Option<String>,
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The commands, in words.
    Listed(String),
    /// It is filed, and perhaps approved already.
    Filed(Action),
    /// It was made before.
    Known(Action),
    /// It is not allowed, or cannot be taken.
    Refused(String),
}

/// Why a decision was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// There is no such Action.
    #[error("there is no such action")]
    NotFound,
    /// It cannot be decided any more, or not like that.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The disk does not take it.
    #[error("it cannot be written down: {0}")]
    Disk(String),
}

/// An Action after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// As it is now, with as much output as is kept.
    pub action: Action,
    /// All of the output, where it was run just now.
    pub output: Option<Output>,
}

/// What a command printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The text.
    pub text: String,
    /// Whether there was more.
    pub truncated: bool,
}

/// The desk. Always shared.
#[derive(Debug)]
pub struct Desk {
    ledger: Mutex<Ledger>,
    host: HostId,
    station: Arc<Station>,
    state: StateDir,
    audit: Audit,
    settings: CommandsEntry,
    commands: watch::Sender<Option<Arc<Commands>>>,
    changed: broadcast::Sender<Arc<Told>>,
    work: Notify,
    refresh: mpsc::Sender<Change>,
}

impl Desk {
    /// With the Actions that an earlier run has left in that folder. Blocks.
    #[must_use]
    pub fn new(
        station: Arc<Station>,
        state: StateDir,
        settings: CommandsEntry,
        refresh: mpsc::Sender<Change>,
    ) -> Arc<Self> {
        let (ledger, trouble) = state.load::<Ledger>(FILE);
        if let Some(trouble) = trouble {
            warn!("{}; it was set aside", with_causes(&trouble));
        }
        let ledger = ledger.filter(|ledger| {
            let readable = ledger.is_readable();
            if !readable {
                warn!("{FILE} was written by a newer version; the actions in it are not known to this one");
            }
            readable
        });
        let host = station.pipeline().host();
        let desk = Self {
            ledger: Mutex::new(ledger.unwrap_or_default()),
            host,
            station,
            audit: Audit::new(state.path()),
            state,
            settings,
            commands: watch::Sender::new(None),
            changed: broadcast::Sender::new(CHANGES),
            work: Notify::new(),
            refresh,
        };
        desk.read_list();
        Arc::new(desk)
    }

    /// The list of commands as it was read last, and every change of it.
    pub fn commands(&self) -> watch::Receiver<Option<Arc<Commands>>> {
        self.commands.subscribe()
    }

    /// Every change from now on.
    pub fn watch(&self) -> broadcast::Receiver<Arc<Told>> {
        self.changed.subscribe()
    }

    /// All Actions that are kept, oldest first.
    pub async fn actions(&self) -> Vec<Action> {
        self.ledger.lock().await.actions().to_vec()
    }

    /// One of them.
    pub async fn action(&self, id: ActionId) -> Option<Action> {
        self.ledger.lock().await.get(id).cloned()
    }

    /// Takes a request. What comes back is on disk.
    pub async fn request(&self, request: Request) -> Reply {
        let refuse = async |why: String| {
            self.refused(&request.by, &request.request_id.clone().unwrap_or_default(), &why, 1).await;
            Reply::Refused(why)
        };
        let commands = match self.load().await {
            Ok(Some(commands)) => commands,
            Ok(None) => return refuse("this host allows no commands".to_owned()).await,
            // The file's troubles are its owner's business, and are in the log.
            Err(_) => return refuse("this host's list of commands cannot be used; see its log".to_owned()).await,
        };
        if request.trigger == LIST && request.arguments.is_empty() {
            let (by, request_id) = (request.by, request.request_id.unwrap_or_default());
            let at = self.now();
            let line = Line {
                at,
                outcome: "listed".into(),
                via: VIA.to_owned(),
                by: by.clone(),
                command: LIST.to_owned(),
                request_id,
                ..Line::default()
            };
            self.note(vec![line]).await;
            let details = [("command", LIST), ("state", "listed"), ("by", &by)];
            self.raise(agent_event(
                at,
                EventKind::ACTION_CHANGED,
                Severity::Info,
                "the commands were listed",
                &details,
            ));
            return Reply::Listed(listed(&commands));
        }
        let (command, allowed) = match commands.allowed(self.host, &request.trigger, &request.arguments) {
            Ok(allowed) => allowed,
            Err(error) => return refuse(error.to_string()).await,
        };
        let request_id = match request.request_id.clone() {
            Some(id) => id,
            None => match random_u128() {
                Ok(random) => format!("made-up-{random:032x}"),
                Err(error) => return refuse(error.to_string()).await,
            },
        };
        let plan_hash = allowed.plan.hash.clone();
        let at_once = command.mqtt == MqttRule::Run;
        let new = New {
            host: self.host,
            kind: "command".into(),
            target: request.trigger.clone(),
            arguments: request.arguments.clone(),
            plan: allowed.plan,
            risk: command.risk,
            via: VIA.to_owned(),
            request_id,
            by: request.by.clone(),
        };
        let now = self.now();
        let by = format!("{} (mqtt = \"run\")", self.settings.file.display());
        let filed = self.change(None, |ledger| {
            let id = ledger.file(new, now)?;
            if at_once {
                let approved = ledger.change(id, Step::Approve { plan_hash }, &by, now);
                debug_assert_eq!(approved, Some(Ok(true)), "it was filed just now, with that plan");
            }
            Ok(id)
        });
        match filed.await {
            Ok(Ok(id)) => {
                self.work.notify_one();
                match self.action(id).await {
                    Some(action) => Reply::Filed(action),
                    None => refuse("it was lost".to_owned()).await,
                }
            }
            Ok(Err(FileError::Known(id))) => {
                let Some(action) = self.action(id).await else { return refuse("it was made before".to_owned()).await };
                let line = Line { outcome: "repeated".into(), at: now, by: request.by.clone(), ..Line::of(&action) };
                self.note(vec![line]).await;
                Reply::Known(action)
            }
            Ok(Err(error @ FileError::Full)) => refuse(error.to_string()).await,
            Err(error) => refuse(format!("it cannot be written down: {error}")).await,
        }
    }

    /// Takes a decision. What comes back is on disk.
    ///
    /// # Errors
    /// When it is too late for it, or it is about another plan.
    pub async fn decide(
        &self,
        id: ActionId,
        yes: bool,
        plan_hash: &str,
        reason: &str,
        by: &str,
    ) -> Result<Action, DecideError> {
        let now = self.now();
        let plan_hash = plan_hash.to_owned();
        let step = if yes {
            Step::Approve { plan_hash }
        } else {
            Step::Reject { plan_hash, reason: reason.chars().filter(|c| !c.is_control()).take(200).collect() }
        };
        let changed = self.change(None, |ledger| ledger.change(id, step, by, now)).await.map_err(DecideError::Disk)?;
        changed.ok_or(DecideError::NotFound)??;
        self.work.notify_one();
        self.action(id).await.ok_or(DecideError::NotFound)
    }

    /// Takes a decision that the hub brings. The hub hears of what comes of it
    /// as of every change, and also when nothing does: it may know less.
    pub fn decide_for_hub(self: &Arc<Self>, decision: tomte_link::Decision) {
        let desk = self.clone();
        tokio::spawn(async move {
            let tomte_link::Decision { id, approve, plan_hash, by, reason } = decision;
            let by = format!("{by} at the hub");
            if let Err(error) = desk.decide(id, approve, &plan_hash, &reason, &by).await {
                warn!(action = %id, "a decision of the hub was not taken: {error}");
                let action = desk.action(id).await;
                desk.station.tell_actions(action);
            }
        });
    }

    /// Tells the hub of all Actions, as they are now.
    pub fn tell_hub(self: &Arc<Self>) {
        let desk = self.clone();
        tokio::spawn(async move {
            let actions = desk.actions().await;
            desk.station.tell_actions(actions);
        });
    }

    /// Notes that something was refused before it came to an Action; so often.
    pub async fn refused(&self, by: &str, request_id: &str, why: &str, count: u64) {
        let at = self.now();
        let line = Line {
            at,
            outcome: "refused".into(),
            via: VIA.to_owned(),
            by: by.to_owned(),
            request_id: request_id.to_owned(),
            reason: why.to_owned(),
            count: (count > 1).then_some(count),
            ..Line::default()
        };
        self.note(vec![line]).await;
        let message = match count {
            1 => format!("a request by {VIA} was refused: {why}"),
            _ => format!("{count} requests by {VIA} were refused: {why}"),
        };
        let count = count.to_string();
        let details = [("via", VIA), ("reason", why), ("count", &count)];
        self.raise(agent_event(at, EventKind::REQUEST_REFUSED, Severity::Warning, message, &details));
    }

    /// Runs what is approved until cancelled. What runs then is left to the
    /// helper, and told as interrupted by the next run.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let now = self.now();
        if let Err(error) = self.change(None, |ledger| ledger.recover(now)).await {
            warn!("what was interrupted cannot be written down: {error}");
        }
        let mut running = JoinSet::new();
        let mut stamp = None;
        loop {
            self.begin(&mut running).await;
            let expiry = self.ledger.lock().await.next_expiry(self.now()).unwrap_or(LOOK_EVERY);
            let pause = expiry.clamp(Duration::from_millis(100), LOOK_EVERY);
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.work.notified() => {}
                Some(_) = running.join_next() => {}
                () = tokio::time::sleep(pause) => {
                    let now = self.now();
                    let _ = self.change(None, |ledger| ledger.tick(now)).await;
                    let seen = stamp_of(&self.settings.file);
                    if seen != stamp {
                        stamp = seen;
                        let _ = self.load().await;
                    }
                }
            }
        }
    }

    /// Starts what is approved, as far as there is room.
    async fn begin(self: &Arc<Self>, running: &mut JoinSet<()>) {
        while running.len() < AT_ONCE {
            let next = self.ledger.lock().await.approved().next().cloned();
            let Some(action) = next else { return };
            let id = action.id;
            let limit = match self.check(&action).await {
                Ok(limit) => limit,
                Err(error) => {
                    let result = ActionResult { error, ..ActionResult::default() };
                    let now = self.now();
                    if self.change(None, |ledger| ledger.change(id, Step::Fail(result), "agent", now)).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            let now = self.now();
            match self.change(None, |ledger| ledger.change(id, Step::Begin, "agent", now)).await {
                Ok(Some(Ok(true))) => {}
                // It expired, or was cancelled, in the meantime.
                Ok(_) => continue,
                // What is not on disk is not begun: after a crash it would be run again.
                Err(error) => {
                    warn!("nothing is run, because it cannot be written down: {error}");
                    return;
                }
            }
            let desk = self.clone();
            running.spawn(async move { desk.perform(action, limit).await });
        }
    }

    /// Whether the list still says what was approved; how long it may take.
    async fn check(&self, action: &Action) -> Result<Duration, String> {
        let commands = match self.load().await {
            Ok(Some(commands)) => commands,
            Ok(None) => return Err("this host allows no commands any more".to_owned()),
            Err(error) => return Err(error),
        };
        let (command, allowed) =
            commands.allowed(self.host, &action.target, &action.arguments).map_err(|error| error.to_string())?;
        if allowed.plan.hash != action.plan.hash {
            return Err("the list of commands says otherwise now than when this was approved".to_owned());
        }
        Ok(command.limit)
    }

    async fn perform(&self, action: Action, limit: Duration) {
        let request = Run {
            host: self.host,
            trigger: action.target.clone(),
            arguments: action.arguments.clone(),
            plan_hash: action.plan.hash.clone(),
        };
        let result = match client::run(&self.settings.socket, &request, limit).await {
            Ok(result) => result,
            Err(NotRun::Refused(refusal)) => {
                let error = match refusal {
                    Refusal::Denied { error, cure } => format!("{error}; {cure}"),
                    other => other.to_string(),
                };
                ActionResult { error, ..ActionResult::default() }
            }
            Err(NotRun::Unknown(error)) => ActionResult { error, outcome_unknown: true, ..ActionResult::default() },
        };
        let (now, output) = (self.now(), Output { text: result.output.clone(), truncated: result.truncated });
        let finish = |ledger: &mut Ledger| ledger.change(action.id, Step::Finish(result), "agent", now);
        if let Err(error) = self.change(Some(output), finish).await {
            warn!(action = %action.id, "the end of an action cannot be written down: {error}");
        }
        if action.risk != Risk::Safe {
            // What it changed is looked at soon, not when its turn comes.
            let _ = self.refresh.send(Change::Refresh(Vec::new())).await;
        }
    }

    /// Changes the ledger: on disk first, then in memory, then told.
    async fn change<R>(&self, output: Option<Output>, change: impl FnOnce(&mut Ledger) -> R) -> Result<R, String> {
        let mut ledger = self.ledger.lock().await;
        let mut next = ledger.clone();
        let made = change(&mut next);
        if next == *ledger {
            return Ok(made);
        }
        let (state, saved) = (self.state.clone(), next.clone());
        let written = tokio::task::spawn_blocking(move || state.save(FILE, &saved)).await;
        written.map_err(|error| error.to_string())?.map_err(|error| with_causes(&error))?;
        let before = std::mem::replace(&mut *ledger, next);
        let news = ledger.actions().iter().flat_map(|action| {
            let known = before.get(action.id).map_or(0, |before| before.history.len());
            // Two steps at once are told one by one.
            (known..action.history.len()).map(|last| as_it_was(action, last))
        });
        let news: Vec<Action> = news.collect();
        // Told in order: nobody else changes anything meanwhile.
        self.tell(news, output).await;
        drop(ledger);
        Ok(made)
    }

    async fn tell(&self, news: Vec<Action>, output: Option<Output>) {
        self.note(news.iter().map(Line::of).collect()).await;
        for action in news {
            if let Some(event) = event_of(&action) {
                self.raise(event);
            }
            self.station.tell_actions([action.clone()]);
            // An error only says that nobody listens.
            let output = output.clone().filter(|_| action.state.is_over());
            let _ = self.changed.send(Arc::new(Told { action, output }));
        }
    }

    async fn note(&self, lines: Vec<Line>) {
        let audit = self.audit.clone();
        // A slow disk holds up nothing but this.
        let _ = tokio::task::spawn_blocking(move || audit.write(&lines)).await;
    }

    fn raise(&self, event: Event) {
        self.station.raise(event, clock_synchronised());
    }

    fn now(&self) -> tomte_model::Timestamp {
        self.station.clock().now().wall
    }

    /// Reads the list of commands anew.
    async fn load(&self) -> Result<Option<Arc<Commands>>, String> {
        let path = self.settings.file.clone();
        let read = tokio::task::spawn_blocking(move || Commands::load(&path)).await;
        let read = read.map_err(|error| error.to_string())?;
        self.take_list(read.map_err(|error| with_causes(&error)))
    }

    fn read_list(&self) {
        let read = Commands::load(&self.settings.file).map_err(|error| with_causes(&error));
        let _ = self.take_list(read);
    }

    fn take_list(&self, read: Result<Option<Commands>, String>) -> Result<Option<Arc<Commands>>, String> {
        let list = match read {
            Ok(list) => list.map(Arc::new),
            Err(error) => {
                warn!("no command is allowed: {error}");
                self.commands.send_if_modified(|list| list.take().is_some());
                return Err(error);
            }
        };
        self.commands.send_if_modified(|known| {
            let news = format!("{known:?}") != format!("{list:?}");
            if news {
                match &list {
                    Some(list) => info!("{} commands are allowed", list.available.len()),
                    None => info!("no commands are allowed"),
                }
                known.clone_from(&list);
            }
            news
        });
        Ok(list)
    }
}

/// What tells whether a file has changed.
fn stamp_of(path: &Path) -> Option<(SystemTime, u64, u32)> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len() ^ (u64::from(meta.uid()) << 32), meta.mode()))
}

/// An Action as it was right after a step.
fn as_it_was(action: &Action, last: usize) -> Action {
    let mut then = action.clone();
    if last + 1 < then.history.len() {
        then.history.truncate(last + 1);
        then.result = None;
        then.state = then.history[last].to;
    }
    then
}

fn event_of(action: &Action) -> Option<Event> {
    let step = action.history.last()?;
    let severity = match action.state {
        ActionState::Failed => Severity::Error,
        ActionState::Expired => Severity::Warning,
        _ => Severity::Info,
    };
    let what = match action.arguments.as_slice() {
        [] => action.target.clone(),
        arguments => format!("{} {}", action.target, tomte_control::plan::quoted(arguments)),
    };
    let message = match action.state {
        ActionState::Pending => format!("{what} waits for a decision: asked for by {}", step.by),
        ActionState::Running => return None,
        ActionState::Failed => format!("{what} failed: {}", step.reason),
        ActionState::Completed => format!("{what} was run"),
        state if step.reason.is_empty() => format!("{what} was {state} by {}", step.by),
        state => format!("{what} is {state}: {}", step.reason),
    };
    let id = action.id.to_string();
    let mut event = agent_event(step.at, EventKind::ACTION_CHANGED, severity, message, &[]);
    let mut detail = |key: &str, value: String| drop(event.details.insert(key.to_owned(), value));
    detail("action", id);
    detail("state", action.state.as_str().to_owned());
    detail("command", action.target.clone());
    detail("by", step.by.clone());
    detail("via", action.via.clone());
    if let Some(result) = &action.result {
        detail("duration_seconds", format!("{:.3}", result.duration_millis as f64 / 1_000.0));
        if let Some(code) = result.exit_code {
            detail("exit_code", code.to_string());
        }
        if result.outcome_unknown {
            detail("outcome_unknown", "true".to_owned());
        }
    }
    event.subject = Some(format!("command:{}", action.target));
    Some(event)
}

/// What the built-in command answers.
fn listed(commands: &Commands) -> String {
    let line = |command: &crate::command::Command| {
        let parameters = command.parameters.iter().map(|parameter| match parameter.optional {
            true => format!(" [{}]", parameter.name),
            false => format!(" {}", parameter.name),
        });
        let about = if command.about.is_empty() { String::new() } else { format!(": {}", command.about) };
        format!(
            "{}{} ({}, {}){about}",
            command.trigger,
            parameters.collect::<String>(),
            command.mqtt.as_str(),
            command.risk
        )
    };
    let lines = commands.available.iter().map(line);
    std::iter::once(format!("{LIST} (run, safe): the commands of this host"))
        .chain(lines)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests;
