//! What was reported and is not yet stored at the hub.
//!
//! [`Outbox`] is a state machine without I/O and without a clock: it numbers
//! reports, keeps them until they are acked, says what to send next (live
//! first, backlog behind, both within a window), and what to write to or read
//! from the [`Spool`]. While the hub is there nothing is written to disk; when
//! it is away, reports go there in batches. What must be dropped is the oldest
//! first, and it is declared as a gap.
//!
//! A report goes through here as an `Arc` while it may be sent at once, and
//! packed as bytes while it waits.

mod disk;
mod segment;
mod spool;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque, btree_map};
use std::sync::Arc;

use tomte_link::{Gap, Lane, decode_report, encode_report};
use tomte_model::{HostId, Moment, Name, Position, RangeSet, Report, Timestamp};
use tracing::{info, warn};

pub use disk::{Disk, Folder};
pub use spool::{Depth, Packed, Spool, SpoolLimits};

use crate::config::OutboxConfig;

/// How many live reports may be on their way without an ack.
const LIVE_WINDOW: usize = 256;
/// How many reports of the backlog may be, unless fewer are wanted.
const BACKLOG_WINDOW: usize = 512;
/// Below this, the next reports are read from the spool ahead of time.
const READ_AHEAD: usize = 32;
/// How often waiting reports go to disk, in milliseconds: seldom enough for an
/// SD card, often enough that a power cut costs little.
const FLUSH_EVERY: u64 = 60_000;
/// How often what is too old is looked for.
const EXPIRE_EVERY: u64 = 3_600_000;
/// More gaps than this are not kept apart.
const GAPS_KEPT: usize = 256;

#[derive(Debug)]
struct Entry {
    sequence: u64,
    moment: Moment,
    weight: u64,
    data: Data,
    /// Whether it went out on the present connection.
    sent: bool,
}

#[derive(Debug)]
enum Data {
    Ready(Arc<Report>),
    Packed(Box<[u8]>),
}

/// What one connection has been given.
#[derive(Debug)]
struct Connection {
    /// How many reports of the backlog may be on their way.
    backlog_window: usize,
    live: VecDeque<Arc<Report>>,
    /// Read ahead from the spool.
    backlog: VecDeque<Arc<Report>>,
    sent: BTreeMap<Position, Lane>,
    /// Whether reading has to start from the oldest again.
    rewind: bool,
    /// Whether the spool had nothing more when it was last read.
    read_all: bool,
}

impl Connection {
    fn in_flight(&self, lane: Lane) -> usize {
        self.sent.values().filter(|sent| **sent == lane).count()
    }
}

/// The outbox.
#[derive(Debug)]
pub struct Outbox {
    epoch: u64,
    last_sequence: u64,
    limits: OutboxConfig,
    /// Whether there is a hub to send to at all.
    enabled: bool,
    /// Whether there is a spool.
    spooled: bool,
    memory: VecDeque<Entry>,
    memory_bytes: u64,
    /// The last report of each collector, which opens every connection.
    last: BTreeMap<(HostId, Name), Arc<Report>>,
    gaps: Vec<Gap>,
    gaps_changed: bool,
    limits_changed: bool,
    /// Acks that the spool has not seen yet.
    acks: Vec<(u64, RangeSet)>,
    depth: Depth,
    connection: Option<Connection>,
    /// Boot time of the next flush, of the next search for the too old, and
    /// before which gaps are not tried to be kept.
    next_flush: u64,
    next_expiry: u64,
    next_gaps: u64,
    /// Since when the disk refuses, by the boot clock.
    trouble: Option<u64>,
    working: bool,
    stopping: bool,
    dropped: u64,
}

/// What the disk has to do next; see [`Outbox::work`].
#[derive(Debug)]
pub enum Work {
    /// Write these.
    Append(Vec<Packed>),
    /// Read on, from the oldest if so.
    Read {
        /// Whether to start from the oldest.
        rewind: bool,
    },
    /// Take these in.
    Ack(Vec<(u64, RangeSet)>),
    /// Drop what is too old.
    Expire(Moment),
    /// Keep these.
    Gaps(Vec<Gap>),
    /// Keep within these from now on.
    Limits(SpoolLimits),
}

/// What came of a [`Work`].
#[derive(Debug)]
pub struct Done {
    kind: DoneKind,
    gaps: Vec<Gap>,
    depth: Depth,
    error: Option<std::io::Error>,
}

#[derive(Debug)]
enum DoneKind {
    Appended(RangeSet),
    Read(Vec<Report>),
    Gaps,
    Other,
}

impl Work {
    /// Does it. This blocks for as long as the disk does.
    pub fn perform(self, spool: &mut Spool) -> Done {
        let mut gaps = Vec::new();
        let mut error = None;
        let kind = match self {
            Self::Append(reports) => {
                let (written, failure) = spool.append(&reports, &mut gaps);
                error = failure;
                let mut done = RangeSet::new();
                for report in &reports[..written] {
                    done.insert(report.sequence);
                }
                DoneKind::Appended(done)
            }
            Self::Read { rewind } => {
                if rewind {
                    spool.rewind();
                }
                DoneKind::Read(spool.read(&mut gaps))
            }
            Self::Ack(acks) => {
                for (epoch, ranges) in acks {
                    spool.ack(epoch, &ranges);
                }
                DoneKind::Other
            }
            Self::Expire(now) => {
                spool.expire(now, &mut gaps);
                DoneKind::Other
            }
            Self::Limits(limits) => {
                spool.set_limits(limits);
                DoneKind::Other
            }
            Self::Gaps(gaps) => {
                error = spool.save_gaps(&gaps).err();
                DoneKind::Gaps
            }
        };
        Done { kind, gaps, depth: spool.depth(), error }
    }
}

impl Outbox {
    /// An empty outbox. `epoch` must never have been used before.
    #[must_use]
    pub fn new(epoch: u64, limits: OutboxConfig, now: Moment) -> Self {
        Self {
            epoch,
            last_sequence: 0,
            limits,
            enabled: true,
            spooled: false,
            memory: VecDeque::new(),
            memory_bytes: 0,
            last: BTreeMap::new(),
            gaps: Vec::new(),
            gaps_changed: false,
            limits_changed: false,
            acks: Vec::new(),
            depth: Depth::default(),
            connection: None,
            next_flush: now.boot_millis + FLUSH_EVERY,
            next_expiry: now.boot_millis,
            next_gaps: 0,
            trouble: None,
            working: false,
            stopping: false,
            dropped: 0,
        }
    }

    /// Says that somebody drives [`Self::work`] on this spool.
    pub fn attach(&mut self, spool: &mut Spool) {
        self.spooled = true;
        self.depth = spool.depth();
        self.gaps = spool.load_gaps();
        for gap in spool.take_losses() {
            self.add_gap(gap);
        }
    }

    /// The next connection does not begin with reports about that host.
    pub fn forget_host(&mut self, host: HostId) {
        self.last.retain(|(of, _), _| *of != host);
    }

    /// Says whether there is a hub to send to. Without one nothing is kept.
    pub fn set_enabled(&mut self, enabled: bool) {
        self.enabled = enabled;
        if !enabled {
            self.memory.clear();
            self.memory_bytes = 0;
        }
    }

    /// Changes the limits.
    pub fn set_limits(&mut self, limits: OutboxConfig) {
        self.limits_changed |= limits != self.limits;
        self.limits = limits;
    }

    /// The epoch of the reports made now.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The next position, used up by asking for it.
    pub fn next_position(&mut self) -> Position {
        self.last_sequence += 1;
        Position { epoch: self.epoch, sequence: self.last_sequence }
    }

    /// Takes a report that has been given its position.
    pub fn push(&mut self, report: Arc<Report>) {
        self.last.insert((report.host, report.collector.clone()), report.clone());
        if !self.enabled {
            return;
        }
        let connected = self.connection.is_some();
        let entry = Entry {
            sequence: report.position.sequence,
            moment: report.moment,
            weight: weight(&report),
            data: Data::Ready(report.clone()),
            sent: false,
        };
        self.memory_bytes += entry.weight;
        self.memory.push_back(entry);
        if let Some(connection) = &mut self.connection {
            connection.live.push_back(report);
            // What has to wait this long is no longer live.
            if connection.live.len() > LIVE_WINDOW {
                connection.live.pop_front();
            }
        }
        if !connected && let Some(last) = self.memory.back_mut() {
            self.memory_bytes -= last.weight;
            last.pack();
            self.memory_bytes += last.weight;
        }
        self.bound_memory();
    }

    /// Drops the oldest when neither hub nor disk takes anything.
    fn bound_memory(&mut self) {
        let usable = self.spooled && self.limits.disk_limit > 0 && self.trouble.is_none();
        // A working disk takes what is over the limit; it is given some time.
        let most = self.limits.memory_limit.saturating_mul(if usable { 4 } else { 1 });
        let mut lost: Option<Gap> = None;
        while self.memory_bytes > most && self.memory.len() > 1 {
            let Some(entry) = self.memory.pop_front() else { break };
            self.memory_bytes -= entry.weight;
            let gap = Gap { epoch: self.epoch, first: entry.sequence, last: entry.sequence, count: 1 };
            lost = Some(match lost {
                Some(so_far) => Gap { last: gap.last, count: so_far.count + 1, ..so_far },
                None => gap,
            });
        }
        if let Some(gap) = lost {
            self.add_gap(gap);
        }
    }

    fn add_gap(&mut self, gap: Gap) {
        self.dropped += gap.count;
        self.gaps_changed = true;
        let known = self.gaps.iter_mut().find(|known| {
            known.epoch == gap.epoch
                && known.first <= gap.last.saturating_add(1)
                && gap.first <= known.last.saturating_add(1)
        });
        match known {
            Some(known) => {
                known.first = known.first.min(gap.first);
                known.last = known.last.max(gap.last);
                // Never more than the range holds: hubs refuse that.
                known.count = (known.count + gap.count).min((known.last - known.first).saturating_add(1));
            }
            None => {
                // The first of a kind; the counts that follow are in the gap.
                warn!(epoch = gap.epoch, first = gap.first, "reports had to be dropped before they could be sent");
                self.gaps.push(gap);
            }
        }
        if self.gaps.len() > GAPS_KEPT {
            self.gaps.remove(0);
        }
    }

    /// A connection is ready for reports. The last report of each collector
    /// goes first, with its own time.
    pub fn connected(&mut self) {
        for entry in &mut self.memory {
            entry.sent = false;
        }
        let mut live: Vec<_> = self.last.values().cloned().collect();
        live.sort_by_key(|report| report.position);
        self.connection = Some(Connection {
            backlog_window: BACKLOG_WINDOW,
            live: live.into(),
            backlog: VecDeque::new(),
            sent: BTreeMap::new(),
            rewind: true,
            read_all: false,
        });
    }

    /// No more reports of the backlog than these may be on their way, until
    /// the connection ends.
    pub fn limit_backlog(&mut self, window: usize) {
        if let Some(connection) = &mut self.connection {
            connection.backlog_window = window.min(BACKLOG_WINDOW);
        }
    }

    /// The connection is gone; what was on its way has to be sent again.
    pub fn disconnected(&mut self, now: Moment) {
        self.connection = None;
        self.next_flush = now.boot_millis + FLUSH_EVERY;
        for entry in &mut self.memory {
            self.memory_bytes -= entry.weight;
            entry.pack();
            self.memory_bytes += entry.weight;
        }
    }

    /// How many reports of the backlog wait for an ack.
    pub fn backlog_on_its_way(&self) -> usize {
        self.connection.as_ref().map_or(0, |connection| connection.in_flight(Lane::Backlog))
    }

    /// Whether something waits that is not on its way.
    pub fn has_unsent(&self) -> bool {
        let Some(connection) = &self.connection else { return false };
        !connection.live.is_empty()
            || !connection.backlog.is_empty()
            || self.depth.reports > 0
            || self.memory.iter().any(|entry| !entry.sent)
    }

    /// The report to send next, if there is one and the window has room. With
    /// a lane, only if it is of that lane.
    pub fn send_next(&mut self, lane: Option<Lane>) -> Option<(Lane, Arc<Report>)> {
        if lane != Some(Lane::Backlog)
            && let Some(report) = self.next_live()
        {
            return Some((Lane::Live, report));
        }
        if lane != Some(Lane::Live)
            && let Some(report) = self.next_waiting()
        {
            return Some((Lane::Backlog, report));
        }
        None
    }

    fn next_live(&mut self) -> Option<Arc<Report>> {
        let connection = self.connection.as_mut()?;
        while connection.in_flight(Lane::Live) < LIVE_WINDOW
            && let Some(report) = connection.live.pop_front()
        {
            let entry = entry_of(&mut self.memory, self.epoch, report.position);
            // Sent as backlog in the meantime.
            if entry.as_ref().is_some_and(|entry| entry.sent) {
                continue;
            }
            if let Some(entry) = entry {
                entry.sent = true;
            }
            connection.sent.insert(report.position, Lane::Live);
            return Some(report);
        }
        None
    }

    fn next_waiting(&mut self) -> Option<Arc<Report>> {
        let connection = self.connection.as_mut()?;
        if connection.in_flight(Lane::Backlog) >= connection.backlog_window {
            return None;
        }
        while let Some(report) = connection.backlog.pop_front() {
            if let btree_map::Entry::Vacant(vacant) = connection.sent.entry(report.position) {
                vacant.insert(Lane::Backlog);
                return Some(report);
            }
        }
        // What is on disk is older.
        if self.spooled && !connection.read_all && self.depth.reports > 0 {
            return None;
        }
        let epoch = self.epoch;
        let queued = |sequence| connection.live.iter().any(|r| r.position == Position { epoch, sequence });
        let entry = self.memory.iter_mut().find(|entry| !entry.sent && !queued(entry.sequence))?;
        entry.sent = true;
        let report = match &entry.data {
            Data::Ready(report) => report.clone(),
            // Packed by this process a while ago: it can be read back.
            Data::Packed(bytes) => Arc::new(decode_report(bytes).ok()?),
        };
        connection.sent.insert(report.position, Lane::Backlog);
        Some(report)
    }

    /// The hub has stored these for good.
    pub fn ack(&mut self, epoch: u64, ranges: &RangeSet) {
        if let Some(connection) = &mut self.connection {
            connection.sent.retain(|position, _| position.epoch != epoch || !ranges.contains(position.sequence));
        }
        if epoch == self.epoch {
            let bytes = &mut self.memory_bytes;
            self.memory.retain(|entry| {
                let keep = !ranges.contains(entry.sequence);
                if !keep {
                    *bytes -= entry.weight;
                }
                keep
            });
        }
        if self.depth.reports > 0 || self.working {
            self.acks.push((epoch, ranges.clone()));
        }
        let before = self.gaps.len();
        let covered = |gap: &Gap| ranges.iter().any(|range| *range.start() <= gap.first && gap.last <= *range.end());
        self.gaps.retain(|gap| gap.epoch != epoch || !covered(gap));
        self.gaps_changed |= self.gaps.len() != before;
    }

    /// The hub could not take this report in, and wants it again.
    pub fn resend(&mut self, position: Position) {
        let Some(connection) = &mut self.connection else { return };
        connection.sent.remove(&position);
        if let Some(last) = self.last.values().find(|report| report.position == position) {
            if let Some(entry) = entry_of(&mut self.memory, self.epoch, position) {
                entry.sent = false;
            }
            connection.live.push_front(last.clone());
        } else if let Some(entry) = entry_of(&mut self.memory, self.epoch, position) {
            entry.sent = false;
        } else {
            connection.rewind = true;
            connection.read_all = false;
        }
    }

    /// The gaps that the hub has not confirmed.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The hub knows of these gaps.
    pub fn gaps_told(&mut self, told: &[Gap]) {
        let before = self.gaps.len();
        self.gaps.retain(|gap| !told.contains(gap));
        self.gaps_changed |= self.gaps.len() != before;
    }

    /// No more reports come: what waits goes to disk.
    pub fn stop(&mut self) {
        self.stopping = true;
        (self.next_flush, self.next_gaps) = (0, 0);
    }

    /// What the disk has to do next; [`Self::done`] must follow before this
    /// answers again.
    pub fn work(&mut self, now: Moment) -> Option<Work> {
        if self.working || !self.spooled {
            return None;
        }
        let work = self.next_work(now);
        self.working = work.is_some();
        work
    }

    fn next_work(&mut self, now: Moment) -> Option<Work> {
        if !self.acks.is_empty() {
            return Some(Work::Ack(std::mem::take(&mut self.acks)));
        }
        if std::mem::take(&mut self.limits_changed) {
            let OutboxConfig { disk_limit, max_age, .. } = self.limits;
            return Some(Work::Limits(SpoolLimits { bytes: disk_limit, max_age }));
        }
        let due = match (&self.connection, self.stopping) {
            (Some(_), false) => false,
            _ => now.boot_millis >= self.next_flush,
        };
        // A disk that refused is tried again, but not at every moment.
        let may = self.trouble.is_none() || now.boot_millis >= self.next_flush;
        let over = may && self.memory_bytes > self.limits.memory_limit;
        if (due || over) && self.limits.disk_limit > 0 && !self.memory.is_empty() {
            self.next_flush = now.boot_millis + FLUSH_EVERY;
            if self.stopping {
                // Tried once; whoever stops does not wait for a broken disk.
                self.next_flush = u64::MAX;
            }
            return Some(Work::Append(self.memory.iter().map(Entry::packed).collect()));
        }
        if self.gaps_changed && now.boot_millis >= self.next_gaps {
            self.gaps_changed = false;
            return Some(Work::Gaps(self.gaps.clone()));
        }
        if let Some(connection) = &mut self.connection
            && self.depth.reports > 0
            && !connection.read_all
            && connection.backlog.len() < READ_AHEAD
        {
            return Some(Work::Read { rewind: std::mem::take(&mut connection.rewind) });
        }
        if now.boot_millis >= self.next_expiry && self.depth.reports > 0 {
            self.next_expiry = now.boot_millis + EXPIRE_EVERY;
            return Some(Work::Expire(now));
        }
        None
    }

    /// Takes in what came of the work.
    pub fn done(&mut self, done: Done, now: Moment) {
        self.working = false;
        self.depth = done.depth;
        for gap in done.gaps {
            self.add_gap(gap);
        }
        match done.kind {
            DoneKind::Appended(written) => {
                let bytes = &mut self.memory_bytes;
                self.memory.retain(|entry| {
                    let keep = !written.contains(entry.sequence);
                    if !keep {
                        *bytes -= entry.weight;
                    }
                    keep
                });
                if let Some(connection) = &mut self.connection {
                    connection.read_all = false;
                }
                match (&done.error, self.trouble) {
                    (Some(error), None) => {
                        self.trouble = Some(now.boot_millis);
                        warn!(%error, "the spool cannot be written; reports are kept in memory only");
                    }
                    (None, Some(_)) => {
                        self.trouble = None;
                        info!("the spool can be written again");
                    }
                    _ => {}
                }
                if done.error.is_some() {
                    // Memory that is over its limit must not ask every moment.
                    self.next_flush = self.next_flush.max(now.boot_millis + FLUSH_EVERY);
                }
                self.bound_memory();
            }
            DoneKind::Read(reports) => {
                if let Some(connection) = &mut self.connection {
                    connection.read_all = reports.is_empty();
                    connection.backlog.extend(reports.into_iter().map(Arc::new));
                }
            }
            DoneKind::Gaps => {
                if done.error.is_some() {
                    // What was lost and is not written down is lost in silence
                    // at the next start: it is tried again. Whoever stops does
                    // not wait for a broken disk.
                    self.gaps_changed = true;
                    self.next_gaps = if self.stopping { u64::MAX } else { now.boot_millis + FLUSH_EVERY };
                }
            }
            DoneKind::Other => {}
        }
    }

    /// Whether the disk refuses.
    #[must_use]
    pub fn in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    /// The report is more than a hub takes: it will never be sent.
    pub fn refuse(&mut self, position: Position) {
        let mut only = RangeSet::new();
        only.insert(position.sequence);
        self.ack(position.epoch, &only);
        self.add_gap(Gap { epoch: position.epoch, first: position.sequence, last: position.sequence, count: 1 });
    }

    /// How many reports wait, in memory and on disk.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.memory.len() as u64 + self.depth.reports
    }

    /// How many bytes they take, about.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        self.memory_bytes + self.depth.bytes
    }

    /// When the oldest of them was read, by the host's clock.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.depth.oldest.or_else(|| self.memory.front().map(|entry| entry.moment.wall))
    }

    /// How many reports were dropped, and how many files or records of the
    /// spool were damaged, since the start.
    #[must_use]
    pub fn losses(&self) -> (u64, u64) {
        (self.dropped, self.depth.damaged)
    }
}

impl Entry {
    fn pack(&mut self) {
        if let Data::Ready(report) = &self.data {
            let bytes = encode_report(report).into_boxed_slice();
            self.weight = bytes.len() as u64 + size_of::<Self>() as u64;
            self.data = Data::Packed(bytes);
        }
    }

    fn packed(&self) -> Packed {
        let bytes = match &self.data {
            Data::Ready(report) => encode_report(report).into_boxed_slice(),
            Data::Packed(bytes) => bytes.clone(),
        };
        Packed { sequence: self.sequence, moment: self.moment, bytes }
    }
}

fn entry_of(memory: &mut VecDeque<Entry>, epoch: u64, position: Position) -> Option<&mut Entry> {
    if position.epoch != epoch {
        return None;
    }
    let index = memory.binary_search_by_key(&position.sequence, |entry| entry.sequence).ok()?;
    memory.get_mut(index)
}

/// About how many bytes a report takes in memory.
fn weight(report: &Report) -> u64 {
    let facets = report.scopes.iter().flat_map(|scope| &scope.facets);
    let bytes: usize = facets
        .map(|facet| {
            let cells: usize =
                facet.tables.iter().map(|t| t.rows.iter().map(|row| row.len() * 40).sum::<usize>()).sum();
            200 + facet.readings.len() * 40 + facet.attributes.len() * 72 + cells
        })
        .sum();
    (size_of::<Report>() + report.scopes.len() * 80 + report.events.len() * 300 + bytes) as u64
}
