//! The way in: every report of every source comes through here, and nothing
//! behind it knows where the report came from.
//!
//! A report is placed in time, applied to the host's latest state, told to the
//! live bus, and only then written: the live bus does not wait for the disk.
//! Whoever brought it learns when it is durable, and may acknowledge it then.

use std::sync::Arc;

use tomte_model::latest::Changes;
use tomte_model::{EventKind, KindDef, Latest, Report, Severity, Timestamp};
use tomte_store::history::OnDurable;
use tomte_store::state::NewEvent;
use tomte_store::{Arrival, Receipt};

use crate::Hub;
use crate::clusters::Share;
use crate::events::Occurrence;
use crate::fleet::Host;
use crate::live::Change;
use crate::notices::Notice;

/// No more kinds than this are taken from outside, and no more fields in all.
const MAX_KINDS: usize = 1_000;
const MAX_FIELDS: usize = 20_000;

/// Why a report was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The agent has no right to report for that host.
    #[error("the token does not cover this host")]
    NotCovered,
    /// The host is unknown or being removed.
    #[error("there is no such host (any more)")]
    NoSuchHost,
    /// Too many events wait to be written.
    #[error("too much waits to be written")]
    Busy,
}

/// What is done with a report that may come.
enum Standing {
    /// It is kept; of a cluster, in that turn.
    Kept(Option<u64>),
    /// It counts as received and is not kept.
    Dropped,
}

impl Hub {
    /// Takes in a report from the outbox of `agent`. `done` is called once it
    /// is durable, or cannot be made so.
    pub(crate) fn take_in(
        self: &Arc<Self>,
        agent: &Arc<Host>,
        report: Report,
        done: OnDurable<Receipt>,
    ) -> Result<(), Refusal> {
        let now = self.clock.now();
        let placed = agent.lock().clock.place(report.boot_id, report.moment, report.clock_synchronised, now);
        let turn = match self.standing(agent, &report, placed.at, now.wall)? {
            Standing::Kept(turn) => turn,
            Standing::Dropped => {
                let position = report.position;
                let noted = Box::new(|noted: Result<(), _>| done(noted.map(|()| Receipt::default())));
                // It counts as received, so that its agent need not keep it.
                let sequences = position.sequence..=position.sequence;
                self.store.history.declare_gap(agent.id, position.epoch, sequences, noted);
                return Ok(());
            }
        };
        if !report.events.is_empty() && !self.events.has_room() {
            return Err(Refusal::Busy);
        }
        let host = if report.host == agent.id { Some(Arc::clone(agent)) } else { self.fleet.get(report.host) };
        let host = host.ok_or(Refusal::NoSuchHost)?;
        // The lock is held until the report is on its way: so the reports of a
        // host are written in the order they were applied, and none slips in
        // behind the removal of its host.
        let mut state = host.lock();
        if state.removed {
            return Err(Refusal::NoSuchHost);
        }
        let arrival = Arrival {
            outbox: agent.id,
            report: Arc::new(report),
            at: placed.at,
            received_at: now.wall,
            quarantined: placed.quarantined,
            turn,
        };
        let report = &arrival.report;
        if placed.quarantined {
            self.quarantined(&host, report);
        } else {
            let Changes { updated, removed, outdated } = apply(&mut state.latest, &arrival);
            if !outdated {
                state.unsaved = true;
                self.bus.tell(Change::Resources { host: host.id, updated, removed });
            }
        }
        self.events.push(report.events.iter().map(|event| NewEvent {
            host: Some(host.id),
            received_at: now.wall,
            event: event.clone(),
        }));
        let (hub, written_for) = (Arc::clone(self), Arc::clone(&host));
        let written = Box::new(move |result: Result<Receipt, _>| {
            match &result {
                Ok(receipt) => hub.written(&written_for, *receipt),
                Err(_) => hub.counters.reports_failed.one(),
            }
            done(result);
        });
        self.store.history.append(arrival, self.catalogue(), written);
        Ok(())
    }

    /// Whether an agent's word on a host counts.
    fn standing(&self, agent: &Host, report: &Report, at: Timestamp, now: Timestamp) -> Result<Standing, Refusal> {
        let host = report.host;
        if host == agent.id {
            return Ok(Standing::Kept(None));
        }
        match self.clusters.share(host, agent.id, at, now) {
            Share::Turn(turn) => Ok(Standing::Kept(Some(turn))),
            Share::OutOfTurn => {
                self.counters.reports_out_of_turn.one();
                Ok(Standing::Dropped)
            }
            Share::NoCluster if self.fleet.may_report(agent.id, host) => Ok(Standing::Kept(None)),
            Share::NoCluster if self.fleet.get(host).is_none() => Ok(Standing::Dropped),
            Share::NoCluster | Share::Stranger => Err(Refusal::NotCovered),
        }
    }

    /// A report is durable. Runs on the store's thread.
    fn written(&self, host: &Host, receipt: Receipt) {
        if receipt.row.is_none() {
            self.counters.duplicate_reports.one();
            return;
        }
        self.counters.reports.one();
        self.counters.readings.add(receipt.kept);
        self.counters.readings_unfit.add(receipt.unfit);
        if receipt.over_limit == 0 {
            return;
        }
        self.counters.readings_over_limit.add(receipt.over_limit);
        if self.notices.raise(host.id, Notice::SeriesLimit) {
            let limit = self.config().limits.series_per_host;
            self.note(
                Occurrence::new(
                    Some(host.id),
                    EventKind::SERIES_LIMIT,
                    Severity::Warning,
                    format!("more than {limit} series: the history of the rest is not kept"),
                )
                .with("kept", limit)
                .with("refused", receipt.over_limit),
            );
        }
    }

    fn quarantined(&self, host: &Host, report: &Report) {
        self.counters.reports_quarantined.one();
        if self.notices.raise(host.id, Notice::Quarantined) {
            let claimed = report.moment.wall;
            self.note(
                Occurrence::new(
                    Some(host.id),
                    EventKind::QUARANTINED,
                    Severity::Warning,
                    format!(
                        "a report claims to be from {claimed}, which cannot be: set aside, as will be others like it"
                    ),
                )
                .with("count", 1)
                .with("collector", &report.collector)
                .with("claimed", claimed),
            );
        }
    }

    /// Takes in the description of a kind that an agent brought.
    pub(crate) fn describe(&self, kind: KindDef) {
        // Agents describe anew on every connection: mostly there is nothing new.
        if !self.catalogue().as_ref().clone().describe(kind.clone()) {
            return;
        }
        let name = kind.name.clone();
        let mut shared = self.catalogue.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut catalogue = shared.as_ref().clone();
        if !catalogue.describe(kind) {
            return;
        }
        let fields: usize = catalogue.kinds().map(|kind| kind.fields.len()).sum();
        if catalogue.kinds().count() > MAX_KINDS || fields > MAX_FIELDS {
            self.counters.kinds_refused.one();
            return;
        }
        tracing::info!(kind = %name, "learnt of a kind");
        *shared = Arc::new(catalogue);
        drop(shared);
        self.records.kind_changed(name);
    }
}

/// Applies a report to what is known of its host. Reports of one collector are
/// ordered by their place in one outbox; so what several agents see of one
/// host is kept apart by agent, lest one's guests look gone because the other
/// does not have them. Agents that take turns are ordered by these.
pub(crate) fn apply(latest: &mut Latest, arrival: &Arrival) -> Changes {
    if arrival.report.host == arrival.outbox {
        return latest.apply(&arrival.report, arrival.at);
    }
    let mut report = (*arrival.report).clone();
    report.collector = arrival.collector();
    report.position = arrival.place();
    latest.apply(&report, arrival.at)
}
