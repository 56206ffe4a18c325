//! The connection: a live stream that is opened again when it ends, and
//! questions beside it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tomte_api::client::{Client, EventFilter, LiveStream, ResourceFilter};
use tomte_api::live::Subscribe;

use crate::effect::{Answer, Effect, Event, Question};
use crate::search::RESULTS;

/// A connection that cannot be made within this will not be.
const CONNECT: Duration = Duration::from_secs(4);
/// The first wait before a lost connection is made again, and the longest.
const WAITS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];
/// How many questions are under way at once.
const QUESTIONS: usize = 4;
/// How many events a page has.
const EVENTS: usize = 200;

/// What the stream is asked.
#[derive(Debug)]
enum Command {
    Subscribe(Subscribe),
    Unsubscribe(String),
}

/// The connection's handle. Everything it does ends with it.
#[derive(Debug)]
pub(super) struct Link {
    client: Arc<Client>,
    commands: mpsc::UnboundedSender<Command>,
    events: mpsc::Sender<Event>,
    places: Arc<Semaphore>,
    search: Option<AbortHandle>,
    questions: JoinSet<()>,
    /// The live stream, which ends with this.
    _stream: JoinSet<()>,
}

/// An error with its causes, each once.
pub(super) fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl Link {
    pub(super) fn start(client: Arc<Client>, events: mpsc::Sender<Event>) -> Self {
        // Each key press asks for little, and who asks reads the answers too:
        // the queue is as short as the list of subscriptions.
        let (commands, receiver) = mpsc::unbounded_channel();
        let mut stream = JoinSet::new();
        stream.spawn(drive(client.clone(), receiver, events.clone()));
        Self {
            client,
            commands,
            events,
            places: Arc::new(Semaphore::new(QUESTIONS)),
            search: None,
            questions: JoinSet::new(),
            _stream: stream,
        }
    }

    /// The connection is lost: what was asked will not be answered, and must
    /// not stand in the way of what is asked next.
    pub(super) fn lost(&mut self) {
        self.questions.abort_all();
    }

    /// Does what the application wants of the hub.
    pub(super) fn perform(&mut self, effect: Effect) {
        while self.questions.try_join_next().is_some() {}
        match effect {
            // Without a stream nobody listens, and everything is asked for anew.
            Effect::Subscribe(request) => drop(self.commands.send(Command::Subscribe(request))),
            Effect::Unsubscribe(id) => drop(self.commands.send(Command::Unsubscribe(id))),
            Effect::Ask(number, question) => {
                let searching = matches!(question, Question::Search(_));
                if let Some(before) = self.search.take_if(|_| searching) {
                    before.abort();
                }
                let (client, events, places) = (self.client.clone(), self.events.clone(), self.places.clone());
                let handle = self.questions.spawn(async move {
                    let Ok(_place) = places.acquire().await else { return };
                    let answer = ask(&client, question).await.map(Box::new).map_err(|error| in_words(&error));
                    // The application is gone: so is the question.
                    let _ = events.send(Event::Answer(number, answer)).await;
                });
                if searching {
                    self.search = Some(handle);
                }
            }
            Effect::Refresh(host) => {
                let (client, events, places) = (self.client.clone(), self.events.clone(), self.places.clone());
                self.questions.spawn(async move {
                    let Ok(_place) = places.acquire().await else { return };
                    if let Err(error) = client.refresh(&host, Vec::new()).await {
                        let _ = events.send(Event::Notice(in_words(&error))).await;
                    }
                });
            }
            // These are not the connection's.
            Effect::Bell | Effect::Mouse(_) | Effect::Suspend | Effect::Save(_) => {}
        }
    }
}

async fn ask(client: &Client, question: Question) -> Result<Answer, tomte_api::ClientError> {
    Ok(match question {
        Question::Catalogue => Answer::Catalogue(client.catalogue().await?),
        Question::Events(cursor) => {
            let filter = EventFilter { limit: Some(EVENTS), cursor, ..EventFilter::default() };
            Answer::Events(client.events(&filter).await?)
        }
        Question::History(query) => Answer::History(client.history(&query).await?),
        Question::Moment { at, host, query } => {
            let at = at.to_string();
            let hosts = client.hosts_at(&at).await?;
            let resources = match &host {
                Some(host) => client.host_resources_at(host, None, &at).await?,
                None => Vec::new(),
            };
            Answer::Moment { hosts, resources, history: client.history(&query).await? }
        }
        Question::Search(text) => {
            let filter = ResourceFilter { text: Some(text), limit: Some(RESULTS), ..ResourceFilter::default() };
            Answer::Found(client.resources(&filter).await?)
        }
    })
}

/// Keeps a live stream open until nobody listens.
async fn drive(client: Arc<Client>, mut commands: mpsc::UnboundedReceiver<Command>, events: mpsc::Sender<Event>) {
    let mut wait = WAITS[0];
    loop {
        let why = match timeout(CONNECT, client.live()).await {
            Ok(Ok(stream)) => {
                wait = WAITS[0];
                tracing::info!(endpoint = %client.endpoint(), "connected");
                // What was asked of the stream before is of the past.
                while commands.try_recv().is_ok() {}
                if events.send(Event::Connected).await.is_err() {
                    return;
                }
                match follow(stream, &mut commands, &events).await {
                    Some(why) => why,
                    None => return,
                }
            }
            Ok(Err(error)) => in_words(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(why, "the connection is lost");
        // What questions went over is no better.
        client.hang_up().await;
        if events.send(Event::Lost(why)).await.is_err() {
            return;
        }
        sleep(wait).await;
        wait = (wait * 2).min(WAITS[1]);
    }
}

/// Follows a stream to its end, and says why it ended; `None` when nobody
/// listens any more.
async fn follow(
    mut stream: LiveStream,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    events: &mpsc::Sender<Event>,
) -> Option<String> {
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Ok(Some(message)) => events.send(Event::Told(Box::new(message))).await.ok()?,
                Ok(None) => return Some("the hub closed it".to_owned()),
                Err(error) => return Some(in_words(&error)),
            },
            command = commands.recv() => {
                let sent = match command? {
                    Command::Subscribe(request) => stream.subscribe(request).await,
                    Command::Unsubscribe(id) => stream.unsubscribe(id).await,
                };
                if let Err(error) = sent {
                    return Some(in_words(&error));
                }
            }
        }
    }
}
