//! The writing side: what of a report is a change, and where its row belongs.
//!
//! Rows are written in the transaction that writes the report, and a report is
//! written once; so a change is there exactly when its report is. A report that
//! says what the one before said costs a hash and leaves nothing.
//!
//! That leaves a question when reports arrive out of order: agents that were
//! away send what is new first and the rest behind it. Whatever is seen on the
//! far side of a hole in an outbox is therefore written whole, changed or not:
//! what fills the hole later is put before that row and cannot be taken for
//! what was seen after it.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction};
use tomte_model::latest::RETIRE_AFTER;
use tomte_model::report::{Outcome, Scope};
use tomte_model::{HostId, Name, Position, RangeSet, Report, ResourceKey, Timestamp};

use super::state::{ScopeState, hash_facets, hash_failure};
use super::{HOST_COLLECTOR, HOST_SCOPE, rebuild};
use crate::changes::HostFacts;
use crate::history::{Arrival, import_outbox};
use crate::sqlite::Fault;

/// After a day of changes, the next one is written whole.
const WHOLE_AFTER: i64 = 24 * 3_600_000;
/// No collector of a host has more scopes than this; what is beyond is not
/// noted.
const MAX_SCOPES: usize = 1_000;
/// Beyond so many rows of a scope a day, changes are noted every five minutes.
const ROWS_A_DAY: u32 = 2_000;
const CALM: i64 = 5 * 60_000;
/// How long a scope's or a collector's name may be.
const MAX_NAME: usize = 1024;

/// What is known of the rows, so that most reports need not look at them. A
/// cache of the database, for one writer.
#[derive(Debug, Default)]
pub(in crate::sqlite::history) struct Recorder {
    hosts: HashMap<HostId, HashMap<Name, Collector>>,
}

/// What a collector of a host brought.
#[derive(Debug, Default)]
struct Collector {
    /// The newest position that was taken in.
    last: Option<Position>,
    scopes: Vec<Known>,
}

/// A scope's newest row.
#[derive(Debug)]
struct Known {
    name: Name,
    number: i64,
    /// When it was last read; that it was the same is written nowhere.
    seen_at: i64,
    row_at: i64,
    whole_at: i64,
    facets_hash: u64,
    failure_hash: u64,
    /// The day, and how many rows were written on it.
    day: (i64, u32),
    late: Option<Late>,
}

/// Where late reports last were.
#[derive(Debug, Clone, Copy)]
struct Late {
    from: i64,
    until: i64,
    facets_hash: u64,
    failure_hash: u64,
}

/// A row to be.
struct New<'a> {
    at: i64,
    state: &'a ScopeState,
    facets_hash: u64,
    failure_hash: u64,
}

impl Recorder {
    /// Forgets everything; it is read again when it is needed. To be called
    /// when a transaction failed.
    pub(in crate::sqlite::history) fn forget(&mut self) {
        self.hosts.clear();
    }

    /// Forgets a host whose rows are gone.
    pub(in crate::sqlite::history) fn forget_host(&mut self, host: HostId) {
        self.hosts.remove(&host);
    }

    /// Writes what a report changed. It must be new; `received` is what is
    /// there of its outbox's epoch, itself included.
    pub(in crate::sqlite::history) fn note(
        &mut self,
        tx: &Transaction<'_>,
        arrival: &Arrival,
        received: &RangeSet,
    ) -> Result<(), Fault> {
        let report = &*arrival.report;
        // What was imported tells of readings, and not of what there was beside them.
        let imported = arrival.outbox == import_outbox();
        if arrival.quarantined || imported || report.collector.len() > MAX_NAME {
            return Ok(());
        }
        let at = arrival.at.millis();
        let Collected { host, name, collector } = self.collector(tx, arrival)?;
        let (reaffirm, newest) = collector.place(arrival.place(), received);
        for scope in &report.scopes {
            if scope.name.len() > MAX_NAME {
                continue;
            }
            let found = collector.scopes.iter().position(|known| known.name == scope.name);
            let Some(index) = found else {
                if collector.scopes.len() < MAX_SCOPES {
                    let known = first_row(tx, (host, &name), scope, report, at)?;
                    collector.scopes.push(known);
                }
                continue;
            };
            let known = &mut collector.scopes[index];
            if at > known.row_at {
                known.forward(tx, scope, report, at, reaffirm)?;
            } else {
                known.late(tx, scope, report, at)?;
            }
        }
        if newest {
            for known in &mut collector.scopes {
                known.retire_unmentioned(tx, report, at)?;
            }
        }
        Ok(())
    }

    /// Notes who a host is, unless it is known. Returns whether it was not.
    pub(in crate::sqlite::history) fn note_host(
        &mut self,
        tx: &Transaction<'_>,
        host: HostId,
        at: Timestamp,
        facts: &HostFacts,
    ) -> Result<bool, Fault> {
        let at = at.millis();
        let newest: Option<(i64, i64, Vec<u8>)> = tx
            .prepare_cached(
                "SELECT number, change.at, body FROM change_scope JOIN change ON scope = number AND change.at = row_at
                 WHERE host = ?1 AND collector = ?2 AND name = ?3",
            )?
            .query_row((host.to_bytes(), HOST_COLLECTOR, HOST_SCOPE), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let (number, at) = match newest {
            None => (make_scope(tx, (host, HOST_COLLECTOR), HOST_SCOPE, at)?, at),
            Some((number, row_at, body)) => {
                let known: Option<HostFacts> = serde_json::from_slice(&body).ok();
                if known.is_some_and(|known| known.essence() == facts.essence()) {
                    return Ok(false);
                }
                // The hub's clock may have gone back; what is newest stays newest.
                (number, at.max(row_at.saturating_add(1)))
            }
        };
        tx.prepare_cached("INSERT OR REPLACE INTO change VALUES (?1, ?2, 1, ?3)")?.execute((
            number,
            at,
            serde_json::to_vec(facts)?,
        ))?;
        tx.prepare_cached("UPDATE change_scope SET row_at = ?2, whole_at = ?2 WHERE number = ?1")?
            .execute((number, at))?;
        Ok(true)
    }

    /// Notes that a resource was removed by hand, whoever brought it.
    pub(in crate::sqlite::history) fn note_forgotten(
        &mut self,
        tx: &Transaction<'_>,
        host: HostId,
        resource: &ResourceKey,
        at: Timestamp,
    ) -> Result<(), Fault> {
        let mut statement =
            tx.prepare_cached("SELECT number, row_at FROM change_scope WHERE host = ?1 AND collector <> ?2")?;
        let scopes = statement.query_map((host.to_bytes(), HOST_COLLECTOR), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let scopes: Vec<(i64, i64)> = scopes.collect::<rusqlite::Result<_>>()?;
        for (number, row_at) in scopes {
            let mut state = rebuild(tx, number, i64::MAX)?.state;
            let all = state.facets.len();
            state.facets.retain(|(key, _), _| key != resource);
            if state.facets.len() == all {
                continue;
            }
            let at = at.millis().max(row_at.saturating_add(1));
            insert(tx, number, at, &state, None)?;
            tx.prepare_cached(
                "UPDATE change_scope SET row_at = ?2, whole_at = ?2, facets_hash = ?3 WHERE number = ?1",
            )?
            .execute((number, at, state.facets_hash().cast_signed()))?;
        }
        // It is read again when it is needed.
        self.forget_host(host);
        Ok(())
    }

    /// The collector that a report is of. What several agents see of one host
    /// is kept apart by agent, unless they take turns.
    fn collector(&mut self, tx: &Transaction<'_>, arrival: &Arrival) -> Result<Collected<'_>, Fault> {
        let report = &arrival.report;
        let host = report.host;
        let name = arrival.collector();
        let collectors = self.hosts.entry(host).or_default();
        if !collectors.contains_key(&name) {
            let collector = Collector { last: None, scopes: load(tx, host, &name, arrival.at.millis())? };
            collectors.insert(name.clone(), collector);
        }
        let collector = collectors.get_mut(&name).expect("just put in");
        Ok(Collected { host, name, collector })
    }
}

struct Collected<'a> {
    host: HostId,
    name: Name,
    collector: &'a mut Collector,
}

impl Collector {
    /// Takes a position in. Returns whether something may still come that was
    /// read before this and after what was known, and whether this is newest.
    fn place(&mut self, position: Position, received: &RangeSet) -> (bool, bool) {
        let before = self.last;
        if before.is_some_and(|last| position < last) {
            return (false, false);
        }
        self.last = Some(position);
        let from = match before {
            Some(last) if last.epoch == position.epoch => last.sequence,
            Some(_) => return (true, true),
            // Since the start: whatever is in the first piece came in order.
            None => received.iter().next().map_or(0, |first| *first.start()),
        };
        if received.range_count() <= 1 {
            return (false, true);
        }
        let whole = received.iter().any(|range| *range.start() <= from && position.sequence <= *range.end());
        (!whole, true)
    }
}

impl Known {
    /// The newest report of the scope.
    fn forward(
        &mut self,
        tx: &Transaction<'_>,
        scope: &Scope,
        report: &Report,
        at: i64,
        reaffirm: bool,
    ) -> Result<(), Fault> {
        self.seen_at = self.seen_at.max(at);
        let (facets_hash, failure_hash) = self.hashes(scope, at);
        let same = facets_hash == self.facets_hash && failure_hash == self.failure_hash;
        if same && !reaffirm {
            return Ok(());
        }
        if !reaffirm && self.is_restless(at) {
            // The hashes stay, so it is looked at again with the next report.
            return Ok(());
        }
        let before = rebuild(tx, self.number, at - 1)?;
        let state = after(&before.state, scope, report, facets_hash == 0);
        let new = New { at, state: &state, facets_hash, failure_hash };
        let whole = reaffirm || at.saturating_sub(self.whole_at) >= WHOLE_AFTER;
        self.write_newest(tx, &new, (!whole).then_some(&before.state))
    }

    /// The hashes of a scope as it is now.
    fn hashes(&self, scope: &Scope, at: i64) -> (u64, u64) {
        match &scope.outcome {
            Outcome::Complete => (hash_facets(&scope.facets), 0),
            // What is unavailable for a day is retired. Its row began with the failure.
            Outcome::Unavailable { error }
                if self.failure_hash == hash_failure(error)
                    && at.saturating_sub(self.row_at) >= millis(RETIRE_AFTER) =>
            {
                (0, self.failure_hash)
            }
            failed => (self.facets_hash, hash_failure(failed.error().unwrap_or_default())),
        }
    }

    /// Whether there are so many changes that they are told only now and then.
    fn is_restless(&mut self, at: i64) -> bool {
        let day = at.div_euclid(WHOLE_AFTER);
        if self.day.0 != day {
            self.day = (day, 0);
        }
        self.day.1 >= ROWS_A_DAY && at.saturating_sub(self.row_at) < CALM
    }

    fn write_newest(&mut self, tx: &Transaction<'_>, new: &New<'_>, since: Option<&ScopeState>) -> Result<(), Fault> {
        let whole = insert(tx, self.number, new.at, new.state, since)?;
        self.row_at = new.at;
        if whole {
            self.whole_at = new.at;
        }
        (self.facets_hash, self.failure_hash) = (new.facets_hash, new.failure_hash);
        self.day = (new.at.div_euclid(WHOLE_AFTER), self.day.1 + 1);
        tx.prepare_cached(
            "UPDATE change_scope SET row_at = ?2, whole_at = ?3, facets_hash = ?4, failure_hash = ?5 WHERE number = ?1",
        )?
        .execute((
            self.number,
            self.row_at,
            self.whole_at,
            self.facets_hash.cast_signed(),
            self.failure_hash.cast_signed(),
        ))?;
        Ok(())
    }

    /// A report from before the newest row.
    fn late(&mut self, tx: &Transaction<'_>, scope: &Scope, report: &Report, at: i64) -> Result<(), Fault> {
        let covered = self.late.filter(|late| late.from < at && at < late.until);
        let late = match covered {
            Some(late) => late,
            None => {
                let before = rebuild(tx, self.number, at)?;
                let next: Option<i64> = tx
                    .prepare_cached("SELECT min(at) FROM change WHERE scope = ?1 AND at > ?2")?
                    .query_row((self.number, at), |row| row.get(0))?;
                let (facets_hash, failure_hash) = match before.row_at {
                    Some(_) => (before.state.facets_hash(), before.state.failure_hash()),
                    // Nothing was known then, so whatever it says is news.
                    None => (u64::MAX, u64::MAX),
                };
                let from = before.row_at.unwrap_or(i64::MIN);
                Late { from, until: next.unwrap_or(i64::MAX), facets_hash, failure_hash }
            }
        };
        let (facets_hash, failure_hash) = match &scope.outcome {
            Outcome::Complete => (hash_facets(&scope.facets), 0),
            failed => (late.facets_hash, hash_failure(failed.error().unwrap_or_default())),
        };
        if facets_hash == late.facets_hash && failure_hash == late.failure_hash {
            self.late = Some(late);
            return Ok(());
        }
        // What comes next was told as the difference to what was there before.
        if late.until != i64::MAX {
            self.make_whole(tx, late.until)?;
        }
        let before = rebuild(tx, self.number, at - 1)?;
        let state = after(&before.state, scope, report, false);
        let whole = before.whole_at.is_none_or(|whole_at| at.saturating_sub(whole_at) >= WHOLE_AFTER);
        // A row of the same moment gives way, whole, since others may build on it.
        let whole = whole || late.from == at;
        insert(tx, self.number, at, &state, (!whole).then_some(&before.state))?;
        let hashes = (state.facets_hash(), state.failure_hash());
        self.late = Some(Late { from: at, until: late.until, facets_hash: hashes.0, failure_hash: hashes.1 });
        if at == self.row_at {
            (self.facets_hash, self.failure_hash) = hashes;
            self.whole_at = if whole { at } else { self.whole_at };
        }
        Ok(())
    }

    fn make_whole(&mut self, tx: &Transaction<'_>, at: i64) -> Result<(), Fault> {
        let there = rebuild(tx, self.number, at)?;
        if there.whole_at == Some(at) {
            return Ok(());
        }
        insert(tx, self.number, at, &there.state, None)?;
        if at == self.row_at {
            self.whole_at = at;
            tx.prepare_cached("UPDATE change_scope SET whole_at = ?2 WHERE number = ?1")?.execute((self.number, at))?;
        }
        Ok(())
    }

    /// A scope that its collector no longer speaks of is retired like one that
    /// is unavailable.
    fn retire_unmentioned(&mut self, tx: &Transaction<'_>, report: &Report, at: i64) -> Result<(), Fault> {
        if at.saturating_sub(self.seen_at) < millis(RETIRE_AFTER) || self.facets_hash == 0 {
            return Ok(());
        }
        let state = ScopeState { interval_millis: report.interval_millis, ..ScopeState::default() };
        let new = New { at, state: &state, facets_hash: 0, failure_hash: 0 };
        self.write_newest(tx, &new, None)
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What a scope's report makes of what was known. What cannot be read stays as
/// it was, unless it is retired.
fn after(before: &ScopeState, scope: &Scope, report: &Report, nothing_left: bool) -> ScopeState {
    let facets = match scope.outcome {
        Outcome::Complete => ScopeState::of(&scope.facets),
        _ if nothing_left => Default::default(),
        _ => before.facets.clone(),
    };
    ScopeState { interval_millis: report.interval_millis, failure: scope.outcome.error().map(str::to_owned), facets }
}

/// Writes a row: what changed since a state, or all of it. Returns whether it
/// is whole.
fn insert(
    tx: &Transaction<'_>,
    number: i64,
    at: i64,
    state: &ScopeState,
    since: Option<&ScopeState>,
) -> Result<bool, Fault> {
    let changed = since.and_then(|before| state.since(before));
    let whole = changed.is_none();
    let body = changed.unwrap_or_else(|| state.whole());
    tx.prepare_cached("INSERT OR REPLACE INTO change VALUES (?1, ?2, ?3, ?4)")?.execute((number, at, whole, body))?;
    Ok(whole)
}

fn make_scope(tx: &Transaction<'_>, (host, collector): (HostId, &str), name: &str, at: i64) -> Result<i64, Fault> {
    Ok(tx
        .prepare_cached(
            "INSERT INTO change_scope (host, collector, name, row_at, whole_at, facets_hash, failure_hash)
             VALUES (?1, ?2, ?3, ?4, ?4, 0, 0) RETURNING number",
        )?
        .query_row((host.to_bytes(), collector, name, at), |row| row.get(0))?)
}

/// The first that is ever told of a scope.
fn first_row(
    tx: &Transaction<'_>,
    (host, collector): (HostId, &Name),
    scope: &Scope,
    report: &Report,
    at: i64,
) -> Result<Known, Fault> {
    let number = make_scope(tx, (host, collector), &scope.name, at)?;
    let mut known = Known {
        name: scope.name.clone(),
        number,
        seen_at: at,
        row_at: at,
        whole_at: at,
        facets_hash: 0,
        failure_hash: 0,
        day: (0, 0),
        late: None,
    };
    let state = after(&ScopeState::default(), scope, report, false);
    let (facets_hash, failure_hash) = known.hashes(scope, at);
    known.write_newest(tx, &New { at, state: &state, facets_hash, failure_hash }, None)?;
    Ok(known)
}

/// What the database has of a collector's scopes. They count as seen just now:
/// how long they were the same is written nowhere.
fn load(tx: &Transaction<'_>, host: HostId, collector: &str, now: i64) -> Result<Vec<Known>, Fault> {
    let mut statement = tx.prepare_cached(
        "SELECT name, number, row_at, whole_at, facets_hash, failure_hash FROM change_scope
         WHERE host = ?1 AND collector = ?2",
    )?;
    let known = statement.query_map((host.to_bytes(), collector), |row| {
        let name: String = row.get(0)?;
        Ok(Known {
            name: name.into(),
            number: row.get(1)?,
            seen_at: now,
            row_at: row.get(2)?,
            whole_at: row.get(3)?,
            facets_hash: row.get::<_, i64>(4)?.cast_unsigned(),
            failure_hash: row.get::<_, i64>(5)?.cast_unsigned(),
            day: (0, 0),
            late: None,
        })
    })?;
    Ok(known.collect::<rusqlite::Result<_>>()?)
}
