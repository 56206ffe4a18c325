//! Commands from the host's own broker: from the topic to the desk, and the
//! answers back.
//!
//! [`Commands::heard`] is called by the connection and never waits: it counts,
//! understands, and hands what is left to a task of its own, over a bounded
//! queue. That task asks the [`Desk`] and writes the answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tomte_model::{Action, ActionId};
use tomte_mqtt::command::{Answer, Intake, Refusal, Request, Taken, verify};
use tomte_mqtt::controls::{Control, Press, What};
use tomte_mqtt::protocol::{Publish, Qos};
use tomte_mqtt::topics::Topics;
use tracing::warn;

use crate::actions::{Desk, Output, Reply, Request as Asked, Told, VIA};
use crate::command::{self, file::Preset};
use crate::link::with_causes;
use crate::station::Station;

/// So many requests wait at most.
const QUEUE: usize = 32;
/// So many answers wait for the broker at most; the oldest go first.
const ANSWERS: usize = 100;
/// So many Actions are remembered with where they were asked for.
const REMEMBERED: usize = 64;

/// What the task is given.
enum Work {
    Request(Request, String),
    Refused(Refusal, String),
    Dropped(u64),
}

/// The connection's side.
pub struct Commands {
    /// Where requests come in, and where their answers go.
    topics: Vec<(String, String)>,
    intake: Intake,
    work: mpsc::Sender<Work>,
    answers: mpsc::Receiver<Publish>,
    waiting: VecDeque<Publish>,
    list: watch::Receiver<Option<Arc<command::Commands>>>,
    task: tokio::task::JoinHandle<()>,
    /// Requests that found no place in the queue.
    crowded: u64,
    /// What can be pressed has changed, and was not asked for since.
    news: bool,
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commands").field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where a host takes requests, and where it answers: its own topics, and
/// those of systant where it takes its place.
#[must_use]
pub fn topics(prefix: &str, name: &str, systant: bool) -> Vec<(String, String)> {
    let prefixes = std::iter::once(prefix).chain(systant.then_some("systant"));
    prefixes.map(|prefix| Topics::new(prefix, name)).map(|topics| (topics.commands(), topics.responses())).collect()
}

impl Commands {
    /// Takes requests for the host of that name.
    #[must_use]
    pub fn new(desk: Arc<Desk>, station: Arc<Station>, name: String, topics: Vec<(String, String)>) -> Self {
        let (work, queue) = mpsc::channel(QUEUE);
        let (answer, answers) = mpsc::channel(ANSWERS);
        let list = desk.commands();
        // From here on, not from when the task begins.
        let told = desk.watch();
        let now = station.clock().now().boot_millis;
        let per_minute = list.borrow().as_ref().map_or(30, |list| list.per_minute);
        let own = topics.first().map(|(_, responses)| responses.clone()).unwrap_or_default();
        let clerk = Clerk { desk, station, name, own, asked_at: BTreeMap::new(), order: VecDeque::new(), answer };
        Self {
            topics,
            intake: Intake::new(per_minute, now),
            work,
            answers,
            waiting: VecDeque::new(),
            list,
            task: tokio::spawn(clerk.run(queue, told)),
            crowded: 0,
            // They are announced at first as well.
            news: true,
        }
    }

    /// Takes a message; `false`: it is none of these.
    pub fn heard(&mut self, message: &Publish, now: u64) -> bool {
        let Some((_, responses)) = self.topics.iter().find(|(commands, _)| *commands == message.topic) else {
            return false;
        };
        let work = match self.intake.take(&message.payload, message.retain, now) {
            Taken::Request(request) => Work::Request(request, responses.clone()),
            Taken::Refused(refusal) => Work::Refused(refusal, responses.clone()),
            Taken::Dropped => return true,
        };
        if self.work.try_send(work).is_err() {
            self.crowded += 1;
        }
        true
    }

    /// The answers that are due.
    pub fn due(&mut self, now: u64) -> Vec<Publish> {
        if let Some(dropped) = self.intake.dropped(now) {
            let all = dropped + std::mem::take(&mut self.crowded);
            if self.work.try_send(Work::Dropped(all)).is_err() {
                self.crowded += all;
            }
        }
        while let Ok(answer) = self.answers.try_recv() {
            self.keep(answer);
        }
        self.waiting.drain(..).collect()
    }

    fn keep(&mut self, answer: Publish) {
        if self.waiting.len() >= ANSWERS {
            self.waiting.pop_front();
        }
        self.waiting.push_back(answer);
    }

    /// What can be pressed and switched, when that has changed.
    pub fn controls(&mut self) -> Option<Vec<Control>> {
        if !std::mem::take(&mut self.news) && !self.list.has_changed().unwrap_or(false) {
            return None;
        }
        let list = self.list.borrow_and_update().clone();
        if let Some(list) = &list {
            self.intake.set_limit(list.per_minute);
        }
        Some(list.map_or_else(Vec::new, |list| controls(&list)))
    }

    /// Returns when an answer is due, or what can be pressed has changed: once,
    /// until that is asked for.
    pub async fn wake(&mut self) {
        if !self.waiting.is_empty() || self.news {
            return std::future::pending().await;
        }
        tokio::select! {
            answer = self.answers.recv() => match answer {
                Some(answer) => self.keep(answer),
                None => std::future::pending().await,
            },
            changed = self.list.changed() => match changed {
                Ok(()) => self.news = true,
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// What Home Assistant shows of a list. What has to be signed it cannot send.
fn controls(list: &command::Commands) -> Vec<Control> {
    let press = |preset: &Preset| Press { command: preset.trigger.clone(), params: preset.arguments.clone() };
    let can = |preset: &Preset| list.command(&preset.trigger).is_some_and(|command| !command.signed);
    let buttons = list.buttons.iter().filter(|button| can(&button.press)).map(|button| Control {
        name: button.name.clone(),
        title: button.title.clone(),
        what: What::Button(press(&button.press)),
    });
    let switches = list.switches.iter().filter(|switch| can(&switch.on) && can(&switch.off)).map(|switch| Control {
        name: switch.name.clone(),
        title: switch.title.clone(),
        what: What::Switch { on: press(&switch.on), off: press(&switch.off), probe: switch.probe.clone() },
    });
    buttons.chain(switches).collect()
}

/// Asks the desk and writes the answers.
struct Clerk {
    desk: Arc<Desk>,
    station: Arc<Station>,
    name: String,
    /// Where answers go whose requests came before this run.
    own: String,
    asked_at: BTreeMap<ActionId, String>,
    order: VecDeque<ActionId>,
    answer: mpsc::Sender<Publish>,
}

impl Clerk {
    async fn run(mut self, mut queue: mpsc::Receiver<Work>, mut told: broadcast::Receiver<Arc<Told>>) {
        loop {
            tokio::select! {
                work = queue.recv() => match work {
                    Some(work) => self.work(work).await,
                    None => return,
                },
                told = told.recv() => match told {
                    Ok(told) => self.told(&told),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    async fn work(&mut self, work: Work) {
        match work {
            Work::Dropped(count) => self.desk.refused(VIA, "", "more requests than are looked at", count).await,
            Work::Refused(refusal, topic) => {
                let id = refusal.request_id.clone().unwrap_or_default();
                self.refuse(&id, "", refusal.reason, &topic).await;
            }
            Work::Request(request, topic) => self.request(request, topic).await,
        }
    }

    async fn refuse(&self, request_id: &str, command: &str, why: &str, topic: &str) {
        self.desk.refused(VIA, request_id, why, 1).await;
        self.say(topic, &Answer { request_id, command, status: "refused", error: why, ..Answer::default() });
    }

    async fn request(&mut self, request: Request, topic: String) {
        let made_up = || format!("made-up-{:032x}", fastrand::u128(..));
        let id = request.request_id.clone().unwrap_or_else(made_up);
        if let Err(why) = self.signed(&request).await {
            return self.refuse(&id, &request.command, &why, &topic).await;
        }
        let asked = Asked {
            by: VIA.to_owned(),
            trigger: request.command.clone(),
            arguments: request.params,
            request_id: Some(id.clone()),
        };
        match self.desk.request(asked).await {
            Reply::Listed(output) => self.say(
                &topic,
                &Answer {
                    request_id: &id,
                    command: &request.command,
                    status: "completed",
                    exit_code: Some(0),
                    output: &output,
                    duration_seconds: Some(0.0),
                    ..Answer::default()
                },
            ),
            Reply::Refused(why) => self.say(
                &topic,
                &Answer {
                    request_id: &id,
                    command: &request.command,
                    status: "refused",
                    error: &why,
                    ..Answer::default()
                },
            ),
            Reply::Filed(action) => {
                // One that runs at once is answered when it has run.
                if action.state == tomte_model::ActionState::Pending {
                    self.answer(&action, None, &topic);
                }
                self.remember(action.id, topic);
            }
            Reply::Known(action) => {
                self.answer(&action, None, &topic);
                if !action.state.is_over() {
                    self.remember(action.id, topic);
                }
            }
        }
    }

    /// Whether it is signed, where it has to be.
    async fn signed(&self, request: &Request) -> Result<(), String> {
        let Some(list) = self.desk.commands().borrow().clone() else { return Ok(()) };
        let needs = list.command(&request.command).map_or(list.key_file.is_some(), |command| command.signed);
        if !needs {
            return Ok(());
        }
        let key = tokio::task::spawn_blocking(move || list.key()).await.map_err(|error| error.to_string())?;
        let key = match key {
            Ok(Some(key)) => key,
            Ok(None) => return Err("requests must be signed, and there is no key".to_owned()),
            Err(error) => {
                warn!("no signed command is taken: {}", with_causes(&error));
                return Err("this host's key cannot be used; see its log".to_owned());
            }
        };
        let now = self.station.clock().now().wall.millis() / 1000;
        verify(request, &self.name, &key, now).map_err(str::to_owned)
    }

    fn remember(&mut self, id: ActionId, topic: String) {
        if self.asked_at.insert(id, topic).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.asked_at.remove(&oldest);
        }
    }

    fn told(&mut self, told: &Told) {
        let action = &told.action;
        if action.via != VIA || !action.state.is_over() {
            return;
        }
        let topic = self.asked_at.remove(&action.id);
        self.order.retain(|id| *id != action.id);
        let topic = topic.unwrap_or_else(|| self.own.clone());
        self.answer(action, told.output.as_ref(), &topic);
    }

    fn answer(&self, action: &Action, output: Option<&Output>, topic: &str) {
        let result = action.result.as_ref();
        let reason = action.history.last().map_or("", |step| step.reason.as_str());
        let kept = result.map_or(("", false), |result| (result.output.as_str(), result.truncated));
        let (output, truncated) = output.map_or(kept, |output| (output.text.as_str(), output.truncated));
        self.say(
            topic,
            &Answer {
                request_id: &action.request_id,
                command: &action.target,
                status: action.state.as_str(),
                action: Some(action.id.to_string()),
                expires_at: (!action.state.is_over()).then(|| action.expires_at.to_string()),
                exit_code: result.and_then(|result| result.exit_code),
                output,
                truncated,
                duration_seconds: result.map(|result| result.duration_millis as f64 / 1_000.0),
                error: result.map_or(reason, |result| &result.error),
            },
        );
    }

    fn say(&self, topic: &str, answer: &Answer<'_>) {
        let at = self.station.clock().now().wall.to_string();
        let payload = answer.text(&self.name, &at).into_bytes().into();
        let message = Publish { topic: topic.to_owned(), payload, qos: Qos::AtLeastOnce, retain: false };
        if self.answer.try_send(message).is_err() {
            warn!("an answer to a command found no place and was dropped");
        }
    }
}
