//! Which connection of a host is the present one.
//!
//! The newest wins; the one before is closed. A connection that was displaced
//! may end late: its end takes nothing away from its successor.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tomte_link::{CloseCode, Decision, Live};
use tomte_model::HostId;

/// Two agents displace each other so often within so long: a clash.
const CLASH_COUNT: usize = 3;
const CLASH_MILLIS: u64 = 5 * 60_000;
/// So many displacements of one host are remembered.
const REMEMBERED: usize = 64;
/// One agent's attempts on one host are news again after this long, and on so
/// many different hosts at most.
const REFUSAL_MILLIS: u64 = 10 * 60_000;
const REFUSALS: usize = 8;
/// So many commands may wait for one connection.
const COMMANDS: usize = 16;

/// What a connection is asked to tell its agent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Run the fast tier faster for a while.
    Live(Live),
    /// Run these collectors now.
    Refresh(Vec<String>),
    /// The settings changed.
    Settings,
    /// Who reports for its cluster changed.
    Cluster,
    /// Somebody decided on an Action.
    Decide(Decision),
    /// End the connection.
    Close(CloseCode, String),
}

impl Command {
    pub(crate) fn unauthorised(reason: &str) -> Self {
        Self::Close(CloseCode::Unauthorised, reason.to_owned())
    }
}

/// The connections of all hosts' agents.
#[derive(Debug)]
pub(crate) struct Links(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    generation: u64,
    present: HashMap<HostId, Present>,
    /// When which instance displaced another one, by the hub's boot clock.
    displacements: HashMap<HostId, VecDeque<(u64, u128)>>,
    /// When which agent was last refused for which host.
    refusals: HashMap<(HostId, HostId), u64>,
}

#[derive(Debug)]
struct Present {
    generation: u64,
    instance: u128,
    commands: mpsc::Sender<Command>,
    displaced: CancellationToken,
}

/// A connection's place.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) generation: u64,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Ends when a newer connection of the host takes over.
    pub(crate) displaced: CancellationToken,
    /// Whether another connection was displaced.
    pub(crate) displaced_another: bool,
    /// Whether two agents keep displacing each other.
    pub(crate) clash: bool,
    /// Whether no agent displaced another one of late.
    pub(crate) calm: bool,
}

impl Links {
    /// Generations count on from a number that grows with every start.
    pub(crate) fn new(generation: u64) -> Self {
        Self(Mutex::new(Inner {
            generation,
            present: HashMap::new(),
            displacements: HashMap::new(),
            refusals: HashMap::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection says hello, and becomes the present one of its host.
    pub(crate) fn enter(&self, host: HostId, instance: u128, now_millis: u64) -> Place {
        let mut inner = self.lock();
        inner.generation += 1;
        let generation = inner.generation;
        let (sender, commands) = mpsc::channel(COMMANDS);
        let displaced = CancellationToken::new();
        let present = Present { generation, instance, commands: sender, displaced: displaced.clone() };
        let before = inner.present.insert(host, present);
        let times = inner.displacements.entry(host).or_default();
        times.retain(|(at, _)| now_millis.saturating_sub(*at) <= CLASH_MILLIS);
        // An agent that displaces itself lost its old connection; that is no
        // second agent.
        if before.as_ref().is_some_and(|before| before.instance != instance) {
            times.push_back((now_millis, instance));
            if times.len() > REMEMBERED {
                times.pop_front();
            }
        }
        let calm = times.is_empty();
        // An agent that restarts often is a new instance each time; only one
        // that comes back was alive all the while.
        let comes_back = times.iter().filter(|(_, other)| *other == instance).count() > 1;
        let clash = times.len() >= CLASH_COUNT && comes_back;
        if calm {
            inner.displacements.remove(&host);
        }
        if let Some(before) = &before {
            before.displaced.cancel();
        }
        Place { generation, commands, displaced, displaced_another: before.is_some(), clash, calm }
    }

    /// A connection has ended. Nothing happens when it was displaced before.
    pub(crate) fn leave(&self, host: HostId, generation: u64) {
        let mut inner = self.lock();
        if inner.present.get(&host).is_some_and(|present| present.generation == generation) {
            inner.present.remove(&host);
        }
    }

    pub(crate) fn is_present(&self, host: HostId, generation: u64) -> bool {
        self.lock().present.get(&host).is_some_and(|present| present.generation == generation)
    }

    pub(crate) fn is_connected(&self, host: HostId) -> bool {
        self.lock().present.contains_key(&host)
    }

    pub(crate) fn connected(&self) -> Vec<HostId> {
        self.lock().present.keys().copied().collect()
    }

    /// Whether an agent was refused for a host within the last while already;
    /// it is now in any case.
    pub(crate) fn refused_before(&self, agent: HostId, host: HostId, now_millis: u64) -> bool {
        let mut inner = self.lock();
        inner.refusals.retain(|_, at| now_millis.saturating_sub(*at) < REFUSAL_MILLIS);
        // One agent may try many ids; beyond a few they are all the same news.
        let tried = inner.refusals.keys().filter(|(by, _)| *by == agent).count();
        tried >= REFUSALS || inner.refusals.insert((agent, host), now_millis).is_some()
    }

    /// Tells the agent of a host something; whether it is on its way.
    pub(crate) fn send(&self, host: HostId, command: Command) -> bool {
        self.lock().present.get(&host).is_some_and(|present| present.commands.try_send(command).is_ok())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn host() -> HostId {
        HostId::from_parts(1, 1)
    }

    #[test]
    fn the_newest_wins_and_a_late_end_takes_nothing_away() {
        let links = Links::new(100);
        let old = links.enter(host(), 1, 0);
        let new = links.enter(host(), 1, 10);
        assert!(old.displaced.is_cancelled() && !new.displaced.is_cancelled());
        assert!(new.generation > old.generation && new.displaced_another && !old.displaced_another);
        links.leave(host(), old.generation);
        assert!(links.is_connected(host()) && links.is_present(host(), new.generation));
        links.leave(host(), new.generation);
        assert!(!links.is_connected(host()));
        assert!(!links.send(host(), Command::Settings));
    }

    #[test]
    fn two_agents_that_displace_each_other_clash_and_restarts_do_not() {
        let clashes = |instances: &[u128], step: u64| {
            let links = Links::new(0);
            let enter = |(i, instance): (usize, &u128)| links.enter(host(), *instance, i as u64 * step).clash;
            instances.iter().enumerate().map(enter).collect::<Vec<_>>()
        };
        assert_eq!(clashes(&[1, 2, 1, 2], 1_000), [false, false, false, true]);
        assert_eq!(clashes(&[1, 2, 3, 1, 2, 3], 1_000), [false, false, false, false, true, true]);
        assert_eq!(clashes(&[1, 1, 1, 1, 1], 1_000), [false; 5], "it only lost its connection");
        assert_eq!(clashes(&[1, 2, 3, 4, 5], 1_000), [false; 5], "it only restarts");
        assert_eq!(clashes(&[1, 2, 1, 2], 200_000), [false; 4], "too seldom");
    }
}
