//! One container: when it is asked after, and what is said of it.

use std::time::Instant;

use tomte_model::{Facet, Moment};

use super::ask::{Ask, ContainerId};
use super::engine::{Inspected, Listed, inspected};
use super::http::AskError;
use super::{Kernel, Socket, is_alive, network};
use crate::cgroup::{Group, Meter};
use crate::counter::Counter;
use crate::recent::Recent;

/// What changes without the list telling (the words of a failing check, a
/// limit) is asked for again after this long.
const LOOK_AGAIN: u64 = 60_000;
/// 128 and the number of SIGINT, SIGKILL, SIGTERM: somebody ended it.
const ENDED_FROM_OUTSIDE: [i64; 3] = [130, 137, 143];

/// What is kept of a container from run to run.
#[derive(Default)]
pub(super) struct Container {
    inspected: Option<Inspected>,
    /// State and health when it was last asked after.
    state: (String, String),
    looked: u64,
    group: Option<Group>,
    meter: Meter,
    received: Counter,
    sent: Counter,
    restarts: Recent,
    /// Kills that its control group told of while it ran.
    oom_kills: u64,
    /// Whether the engine told that its memory ran out before it ended.
    oom_told: bool,
    pub(super) seen: bool,
}

impl Container {
    /// `Some(true)` when something changed, `Some(false)` when it is only a
    /// while ago.
    pub(super) fn is_to_be_asked(&self, listed: &Listed, kernel: &Kernel<'_>, now: Moment) -> Option<bool> {
        let Some(inspected) = &self.inspected else { return Some(true) };
        let changed = (self.state.0.as_str(), self.state.1.as_str()) != (&*listed.state, &*listed.health)
            || inspected.pid.is_some_and(|pid| !is_alive(kernel.root, pid))
            // It is between two starts: whatever it was, it is something else.
            || listed.state == "restarting";
        let old = now.boot_millis.saturating_sub(self.looked) >= LOOK_AGAIN || now.boot_millis < self.looked;
        // What has ended does not change by itself.
        (changed || (old && listed.state != "exited")).then_some(changed)
    }

    pub(super) fn ask_after(
        &mut self,
        socket: &Socket,
        id: &ContainerId,
        listed: &Listed,
        kernel: &Kernel<'_>,
        until: Instant,
        now: Moment,
    ) -> Result<(), AskError> {
        let found = inspected(&socket.ask(&Ask::Inspect(id.clone()), until)?)?;
        let before = self.inspected.as_ref();
        if before.is_none_or(|before| before.pid != found.pid) {
            self.group = found.pid.and_then(|pid| {
                let short: &str = id.short();
                kernel.trees?.of_process(kernel.root, pid, Some(short)).ok().flatten()
            });
            if found.pid.is_some() {
                (self.oom_kills, self.oom_told) = (0, false);
            }
        }
        // With cgroup v2 engines of some versions do not say so; their events do.
        let killed = found.exit_code == Some(137) && !found.oom_killed && found.pid.is_none();
        let is_news = before.is_none_or(|before| before.finished != found.finished);
        if let (true, true, Some(started), Some(finished)) = (killed, is_news, found.started, found.finished) {
            let seconds = |millis: i64| u64::try_from(millis / 1000).unwrap_or(0);
            let (since, until_second) = (seconds(started.millis()), seconds(finished.millis()) + 1);
            let question = Ask::OutOfMemory { id: id.clone(), since, until: until_second };
            self.oom_told = match socket.ask(&question, until) {
                Ok(events) => !events.trim_ascii().is_empty(),
                // It need not know.
                Err(error) if error.is_answer() => false,
                Err(error) => return Err(error),
            };
        }
        self.inspected = Some(found);
        self.state = (listed.state.clone(), listed.health.clone());
        self.looked = now.boot_millis;
        Ok(())
    }

    pub(super) fn facet(
        &mut self,
        name: &str,
        engine: &str,
        listed: &Listed,
        id: &ContainerId,
        kernel: &mut Kernel<'_>,
        now: Moment,
    ) -> Option<Facet> {
        let inspected = self.inspected.as_ref()?;
        let mut facet = Facet::owner("container", name, "main");
        let running = listed.state == "running";
        // A list may give the image's digest once its name means another.
        let image = if inspected.image.is_empty() { &listed.image } else { &inspected.image };
        let health = if listed.health.is_empty() { &inspected.health } else { &listed.health };
        for (key, text) in [
            ("engine", engine),
            ("image", image),
            ("id", id.short()),
            ("state", &listed.state),
            ("project", &listed.project),
            ("service", &listed.service),
            ("restart_policy", &inspected.restart_policy),
            ("ports", &listed.ports),
            ("error", &inspected.error),
        ] {
            facet.text(key, text);
        }
        if running && !health.is_empty() {
            facet.text("health", health);
            let ill = health == "unhealthy";
            facet.read("unhealthy", f64::from(u8::from(ill)));
            if ill {
                facet.text("health_output", &inspected.health_output);
            }
        }
        let time = |time: Option<tomte_model::Timestamp>| time.map_or_else(String::new, |time| time.to_string());
        facet.text("started_at", time(inspected.started));
        facet.text("finished_at", time(inspected.finished));
        let oom_killed = inspected.oom_killed
            || (inspected.exit_code == Some(137) && inspected.pid.is_none() && (self.oom_told || self.oom_kills > 0));
        let end = End::of(inspected, &listed.state, oom_killed);
        if matches!(listed.state.as_str(), "exited" | "dead") {
            facet.flag("stopped_by_user", end == End::Stopped);
        }
        let flag = |yes: bool| f64::from(u8::from(yes));
        facet.read("running", flag(running));
        facet.read("failed", flag(end == End::Failed));
        facet.read("restarting", flag(listed.state == "restarting"));
        facet.read("restarts", inspected.restarts as f64);
        facet.read("recent_restarts", self.restarts.note(now, inspected.restarts) as f64);
        facet.read("oom_killed", flag(oom_killed));
        facet.read("exit_code", inspected.exit_code.map(|code| code as f64));
        if let Some(code) = inspected.exit_code.filter(|code| *code != 0) {
            facet.text("exit_status", code.to_string());
        }
        if running {
            let up = inspected.started.map(|started| now.wall.since(started).as_secs() as f64);
            facet.read("uptime_seconds", up);
            self.measure(&mut facet, kernel, now);
        }
        Some(facet)
    }

    fn measure(&mut self, facet: &mut Facet, kernel: &mut Kernel<'_>, now: Moment) {
        if let Some(group) = &self.group {
            let usage = kernel.reader.read(group);
            self.meter.fill(facet, now, &usage);
            self.oom_kills = self.oom_kills.max(usage.oom_kills.unwrap_or(0));
            facet.read("oom_kills", usage.oom_kills.map(|kills| kills as f64));
        }
        let Some(inspected) = self.inspected.as_ref().filter(|inspected| !inspected.host_network) else { return };
        let moved = inspected.pid.and_then(|pid| network(kernel.root, pid));
        facet.read("receive_bytes_per_second", self.received.rate(now, moved.map(|(received, _)| received)));
        facet.read("transmit_bytes_per_second", self.sent.rate(now, moved.map(|(_, sent)| sent)));
    }
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It has not ended, or the engine starts it again.
    NotYet,
    /// By itself, and well.
    Finished,
    /// Somebody ended it.
    Stopped,
    /// With an error.
    Failed,
}

impl End {
    /// Engines do not say who ended a container. But one that they would have
    /// started again, had it ended by itself, was stopped; and of the others,
    /// one that a signal ended was sent it by somebody.
    pub(super) fn of(inspected: &Inspected, state: &str, oom_killed: bool) -> Self {
        if !matches!(state, "exited" | "dead") {
            return Self::NotYet;
        }
        let code = inspected.exit_code.unwrap_or(0);
        if state == "dead" || !inspected.error.is_empty() {
            return Self::Failed;
        }
        match inspected.restart_policy.as_str() {
            "always" | "unless-stopped" => Self::Stopped,
            _ if code == 0 => Self::Finished,
            _ if oom_killed => Self::Failed,
            "on-failure" => {
                let given_up = inspected.restart_limit > 0 && inspected.restarts >= inspected.restart_limit;
                if given_up { Self::Failed } else { Self::Stopped }
            }
            _ if ENDED_FROM_OUTSIDE.contains(&code) => Self::Stopped,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ended_it_follows_from_how_it_would_be_restarted() {
        let ended = |policy: &str, code: i64| Inspected {
            restart_policy: policy.to_owned(),
            exit_code: Some(code),
            restart_limit: 3,
            restarts: 3,
            ..Inspected::default()
        };
        let of = |policy, code, oom| End::of(&ended(policy, code), "exited", oom);
        assert_eq!(of("always", 137, false), End::Stopped);
        assert_eq!((of("no", 0, false), of("no", 1, false)), (End::Finished, End::Failed));
        assert_eq!((of("no", 143, false), of("no", 137, true)), (End::Stopped, End::Failed));
        assert_eq!(of("on-failure", 1, false), End::Failed, "it was tried three times");
        let once = Inspected { restarts: 1, ..ended("on-failure", 1) };
        assert_eq!(End::of(&once, "exited", false), End::Stopped, "it would have been tried again");
        assert_eq!(End::of(&ended("no", 1), "running", false), End::NotYet);
        assert_eq!(End::of(&ended("always", 0), "dead", false), End::Failed);
        let broken = Inspected { error: "no such file".to_owned(), ..ended("always", 127) };
        assert_eq!(End::of(&broken, "exited", false), End::Failed);
    }
}
