//! What the tasks of one agent share: the pipeline, and the bells that wake
//! whoever waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, broadcast, oneshot};
use tokio_util::sync::CancellationToken;
use tomte_collect::Shared;
use tomte_link::{Decision, SettingsPush, SettingsResult};
use tomte_model::{Action, Clock, Event, Report};
use tracing::warn;

use crate::outbox::{Spool, Work};
use crate::pipeline::{Pipeline, Seen};

/// How many reports a slow local watcher may lag behind before it gets the
/// whole state again.
const CHANGES_KEPT: usize = 64;
/// How many events local clients can read up on. The hub has them all.
const EVENTS_KEPT: usize = 200;

/// So many Actions wait to be told at most.
const ACTIONS_KEPT: usize = 128;

/// What the hub asks of the agent.
#[derive(Debug)]
pub enum Command {
    /// Somebody watches: run the fast tier every `interval_millis` for
    /// `lease_millis` from now.
    Live {
        /// The interval.
        interval_millis: u32,
        /// How long; zero ends it.
        lease_millis: u32,
    },
    /// Run these collectors now; all, when there are none.
    Refresh {
        /// Their names.
        collectors: Vec<String>,
    },
    /// The hub let us in.
    Welcomed {
        /// What this host is called there.
        name: String,
        /// The hub's version.
        hub_version: String,
    },
    /// Who tells of the host's cluster has been decided, otherwise than before.
    Cluster,
    /// Somebody decided on an Action.
    Decide(Decision),
    /// There is a hub that wants to know of Actions.
    TellActions,
    /// Take these settings, as far as this host allows.
    Settings {
        /// All that the hub sets.
        push: SettingsPush,
        /// Where the verdict goes.
        answer: oneshot::Sender<SettingsResult>,
    },
}

/// Shared by the tasks of one agent.
pub struct Station {
    pipeline: Mutex<Pipeline>,
    /// Rings when there may be something to send.
    pub(crate) to_send: Notify,
    /// Rings when there may be something for the disk.
    pub(crate) to_store: Notify,
    changes: broadcast::Sender<Arc<Report>>,
    /// Actions that the hub is to be told of, the oldest news first.
    actions: Mutex<VecDeque<Action>>,
    /// What happened of late, oldest first.
    recent: Mutex<VecDeque<Event>>,
    clock: Arc<dyn Clock>,
    /// The hub's version, once it was heard.
    hub_version: Mutex<Option<String>>,
}

impl std::fmt::Debug for Station {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Station").finish_non_exhaustive()
    }
}

impl Station {
    /// Around a pipeline.
    #[must_use]
    pub fn new(pipeline: Pipeline, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            pipeline: Mutex::new(pipeline),
            to_send: Notify::new(),
            to_store: Notify::new(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            actions: Mutex::default(),
            recent: Mutex::default(),
            clock,
            hub_version: Mutex::default(),
        })
    }

    /// Has the hub told of Actions, when there is a connection that takes them.
    pub fn tell_actions(&self, actions: impl IntoIterator<Item = Action>) {
        {
            let mut waiting = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
            for action in actions {
                // Only how it is now is news.
                waiting.retain(|known| known.id != action.id);
                waiting.push_back(action);
            }
            let surplus = waiting.len().saturating_sub(ACTIONS_KEPT);
            waiting.drain(..surplus);
        }
        self.to_send.notify_one();
    }

    /// The Actions that the hub is to be told of.
    pub(crate) fn take_actions(&self) -> Vec<Action> {
        self.actions.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// The pipeline. Held for moments only, never over a wait.
    pub fn pipeline(&self) -> MutexGuard<'_, Pipeline> {
        // What it holds is whole after every call, also one that panicked in
        // a judge's arithmetic.
        self.pipeline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hub's version, once it was heard.
    #[must_use]
    pub fn hub_version(&self) -> Option<String> {
        self.hub_version.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of it.
    pub fn set_hub_version(&self, version: String) {
        *self.hub_version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Judges and queues what a collector saw.
    pub fn submit(&self, seen: Seen) {
        self.submit_shared(seen, None);
    }

    /// The same; some of it may belong to a cluster.
    pub fn submit_shared(&self, seen: Seen, shared: Option<Shared>) {
        let report = self.pipeline().submit_shared(seen, shared);
        self.announce(report);
    }

    /// Queues an event at once.
    pub fn raise(&self, event: Event, clock_synchronised: bool) {
        let report = {
            let mut pipeline = self.pipeline();
            pipeline.raise(event);
            pipeline.submit_events(self.clock.now(), clock_synchronised)
        };
        if let Some(report) = report {
            self.announce(report);
        }
    }

    fn announce(&self, report: Arc<Report>) {
        if !report.events.is_empty() {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.extend(report.events.iter().cloned());
            let surplus = recent.len().saturating_sub(EVENTS_KEPT);
            recent.drain(..surplus);
        }
        // An error only says that nobody watches.
        let _ = self.changes.send(report);
        self.to_send.notify_one();
        self.to_store.notify_one();
    }

    /// What happened since the agent started, as far as it is kept, newest first.
    pub fn recent_events(&self) -> Vec<Event> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().rev().cloned().collect()
    }

    /// Every report from now on, for local watchers.
    pub fn watch(&self) -> broadcast::Receiver<Arc<Report>> {
        self.changes.subscribe()
    }
}

/// Does the outbox's disk work on a thread of its own until cancelled, and
/// then puts what waits on disk.
pub async fn drive_spool(station: Arc<Station>, mut spool: Spool, cancel: CancellationToken) {
    /// What is due by time alone is looked for this often.
    const IDLE: std::time::Duration = std::time::Duration::from_secs(15);
    let mut last_round = false;
    loop {
        while let Some(work) = { next_work(&station) } {
            let done = tokio::task::spawn_blocking(move || (work.perform(&mut spool), spool)).await;
            let Ok((done, returned)) = done else {
                warn!("the spool's thread ended; reports are kept in memory only");
                return;
            };
            spool = returned;
            station.pipeline().outbox_mut().done(done, station.clock.now());
            station.to_send.notify_one();
        }
        if last_round {
            return;
        }
        tokio::select! {
            () = station.to_store.notified() => {}
            () = tokio::time::sleep(IDLE) => {}
            () = cancel.cancelled() => {}
        }
        // Whatever woke this up: who stops puts on disk what waits.
        if cancel.is_cancelled() {
            station.pipeline().outbox_mut().stop();
            last_round = true;
        }
    }
}

fn next_work(station: &Station) -> Option<Work> {
    station.pipeline().outbox_mut().work(station.clock.now())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use tomte_model::{BootId, Catalogue, HostId, Moment};

    use super::*;
    use crate::config::OutboxConfig;
    use crate::outbox::{Folder, Outbox, SpoolLimits};
    use crate::pipeline::{Judged, PipelineOptions};

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Moment {
            Moment::default()
        }
    }

    /// The bell rings and the agent stops at the same time; which of the two
    /// is heard first is left to chance, so it is tried often.
    #[tokio::test]
    async fn what_waits_is_put_on_disk_however_the_end_is_heard_of() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let limits = SpoolLimits { bytes: 1 << 20, max_age: Duration::from_secs(3600) };
            let open = || Spool::open(Box::new(Folder::new(folder.path())), limits, 1, BootId(1)).unwrap();
            let mut spool = open();
            let mut outbox = Outbox::new(1, OutboxConfig::default(), Moment::default());
            outbox.attach(&mut spool);
            let options = PipelineOptions {
                host: HostId::from_parts(1, 1),
                boot_id: BootId(1),
                catalogue: Arc::new(Catalogue::builtin()),
                rules: Vec::new(),
                judged: Judged::default(),
            };
            let station = Station::new(Pipeline::new(options, outbox), Arc::new(Still));
            let cancel = CancellationToken::new();
            station.submit(Seen {
                collector: "cpu".into(),
                interval: Duration::from_secs(10),
                moment: Moment::default(),
                clock_synchronised: true,
                scopes: Vec::new(),
            });
            cancel.cancel();
            drive_spool(station, spool, cancel).await;
            let spool = open();
            assert_eq!(spool.depth().reports, 1);
        }
    }
}
