//! Reports as they came in, in a ring of slots.
//!
//! A commit must touch few pages, for a page is what a commit costs. So the
//! reports of a commit are appended to a slot, a row of fixed size that fills
//! a page, and slots whose reports are sealed and covered by the hub's records
//! are used again: the page is written in place, no other is touched.
//!
//! ```text
//! slot:
//!   checksum       CRC-32 of what follows, four bytes
//!   sequence       eight bytes; slots are read in this order
//!   row, at        eight bytes each: of the record before the first that
//!                  begins here
//!   first          two bytes: where that one begins, or 0xFFFF
//!   used           two bytes
//!   records, which may go on in the next slot; zeros
//! record:
//!   length         varint, of what follows
//!   flags          one byte: 1 quarantined, 2 events, 4 unkept readings
//!   row, at        varint, zigzag varint: less those of the record before
//!   collector, frame, outbox, epoch, sequence, boot time   varints
//!   received       zigzag varint, less at
//!   events, unkept readings   length (varint) and bytes each, if any
//!   body           see body.rs
//! ```
//! Numbers in the slot's head are little endian.

use std::collections::VecDeque;

use rusqlite::{Connection, Transaction};

use crate::codec::{put_varint, take_bytes, take_length, take_varint, unzigzag, zigzag};
use crate::sqlite::Fault;

/// The size of a slot: with what SQLite adds, a page.
const SLOT: usize = 8_128;
const HEAD: usize = 32;
const ROOM: usize = SLOT - HEAD;
const NONE: u16 = u16::MAX;

/// So many free slots are always kept, and as many as were needed within so
/// many hours.
const SPARE: usize = 64;
const BUSIEST_HOURS: i64 = 6;

/// A report, but for what is in its frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) row: i64,
    pub(super) at: i64,
    pub(super) received_at: i64,
    pub(super) collector: i64,
    pub(super) frame: i64,
    pub(super) outbox: i64,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) boot_millis: u64,
    pub(super) quarantined: bool,
    pub(super) events: Option<Vec<u8>>,
    pub(super) unkept: Option<Vec<u8>>,
    pub(super) body: Vec<u8>,
}

impl Record {
    /// Writes the record, without its length.
    fn write(&self, (row, at): (i64, i64), record: &mut Vec<u8>) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        record.push(flag(self.quarantined, 1) | flag(self.events.is_some(), 2) | flag(self.unkept.is_some(), 4));
        put_varint(record, self.row.wrapping_sub(row).cast_unsigned());
        put_varint(record, zigzag(self.at.wrapping_sub(at)));
        for number in [self.collector, self.frame, self.outbox] {
            put_varint(record, number.cast_unsigned());
        }
        for number in [self.epoch, self.sequence, self.boot_millis] {
            put_varint(record, number);
        }
        put_varint(record, zigzag(self.received_at.wrapping_sub(self.at)));
        for bytes in [&self.events, &self.unkept].into_iter().flatten() {
            put_varint(record, bytes.len() as u64);
            record.extend_from_slice(bytes);
        }
        record.extend_from_slice(&self.body);
    }

    fn read(mut bytes: &[u8], (row, at): (i64, i64)) -> Option<Self> {
        let bytes = &mut bytes;
        let flags = take_bytes(bytes, 1)?[0];
        let row = row.wrapping_add(take_varint(bytes)?.cast_signed());
        let at = at.wrapping_add(unzigzag(take_varint(bytes)?));
        let mut signed = || Some(take_varint(bytes)?.cast_signed());
        let (collector, frame, outbox) = (signed()?, signed()?, signed()?);
        let (epoch, sequence, boot_millis) = (take_varint(bytes)?, take_varint(bytes)?, take_varint(bytes)?);
        let received_at = at.wrapping_add(unzigzag(take_varint(bytes)?));
        let mut optional = |flag: u8| {
            if flags & flag == 0 {
                return Some(None);
            }
            let length = take_length(bytes)?;
            take_bytes(bytes, length).map(|bytes| Some(bytes.to_vec()))
        };
        let (events, unkept) = (optional(2)?, optional(4)?);
        let quarantined = flags & 1 != 0;
        let body = bytes.to_vec();
        #[rustfmt::skip]
        let record = Self {
            row, at, received_at, collector, frame, outbox, epoch, sequence, boot_millis, quarantined, events, unkept,
            body,
        };
        Some(record)
    }
}

/// The slot that is written to.
#[derive(Debug, Clone, Default)]
struct Tail {
    slot: i64,
    sequence: u64,
    /// Of the record before the first that begins in it.
    base: (i64, i64),
    first: u16,
    records: Vec<u8>,
    dirty: bool,
}

impl Tail {
    fn new(slot: i64, sequence: u64) -> Self {
        Self { slot, sequence, base: (0, 0), first: NONE, records: Vec::new(), dirty: true }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(self.base.0.to_le_bytes());
        bytes.extend(self.base.1.to_le_bytes());
        bytes.extend(self.first.to_le_bytes());
        bytes.extend((self.records.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&self.records);
        let checksum = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        bytes.resize(SLOT, 0);
        bytes
    }
}

/// What a slot says of itself.
#[derive(Debug, Clone, Copy)]
struct Found {
    slot: i64,
    sequence: u64,
    base: (i64, i64),
    first: u16,
}

fn found(slot: i64, bytes: &[u8]) -> Option<(Found, &[u8])> {
    let number = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let short = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let checksum = u32::from_le_bytes(*bytes.first_chunk()?);
    let used = usize::from(short(30)?);
    let records = bytes.get(HEAD..HEAD + used)?;
    if crc32fast::hash(&bytes[4..HEAD + used]) != checksum {
        return None;
    }
    let base = (number(12)?.cast_signed(), number(20)?.cast_signed());
    Some((Found { slot, sequence: number(4)?, base, first: short(28)? }, records))
}

/// The writer's view of the ring.
#[derive(Debug, Default)]
pub(super) struct Journal {
    tail: Tail,
    /// Slots that are full, in order, each with the last row that begins in it
    /// or before it.
    full: VecDeque<(i64, i64)>,
    free: Vec<i64>,
    /// Slots that are no longer needed, and whose contents are to be
    /// overwritten before they are free.
    wiping: Vec<i64>,
    /// How many slots were full at most, by the hour: so many are kept.
    busiest: VecDeque<(i64, usize)>,
    /// The highest slot there is.
    slots: i64,
    /// Of the last record.
    last: (i64, i64),
    scratch: Vec<u8>,
    /// What a failed commit goes back to.
    before: Option<Box<Before>>,
}

#[derive(Debug)]
struct Before {
    tail: Tail,
    full: usize,
    taken: Vec<i64>,
    slots: i64,
    last: (i64, i64),
}

impl Journal {
    /// The ring as it is in the database; records up to the row `sealed` are
    /// no longer needed.
    pub(super) fn open(connection: &Connection, sealed: i64) -> Result<Self, Fault> {
        let (mut order, mut damaged, mut slots) = (Vec::new(), Vec::new(), 0);
        {
            let mut statement = connection.prepare("SELECT slot, body FROM journal")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let slot = row.get(0)?;
                slots = slots.max(slot);
                match found(slot, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?) {
                    Some((found, _)) => order.push(found),
                    None => damaged.push(slot),
                }
            }
        }
        order.sort_by_key(|found| found.sequence);
        let mut last = (sealed, 0);
        each(connection, |record| last = if record.row > last.0 { (record.row, record.at) } else { last })?;
        // A slot after the newest, far enough that one that cannot be read is
        // not taken for its successor.
        let sequence = order.last().map_or(1, |found| found.sequence + 1 + 1_000 * damaged.len() as u64);
        let mut journal = Self { tail: Tail::new(0, sequence), free: damaged, slots, last, ..Self::default() };
        for (place, found) in order.iter().enumerate() {
            // All that begins in it is no later than what the next one says.
            let next = order[place + 1..].iter().find(|next| next.first != NONE);
            let last_row = next.map_or(last.0, |next| next.base.0);
            if last_row <= sealed {
                journal.wiping.push(found.slot)
            } else {
                journal.full.push_back((found.slot, last_row))
            }
        }
        journal.tail.slot = journal.take_slot();
        Ok(journal)
    }

    /// What was in slots that are no longer needed may stay there until they
    /// are used again.
    pub(super) fn wipe_nothing(&mut self) {
        self.free.append(&mut self.wiping);
    }

    fn take_slot(&mut self) -> i64 {
        if let Some(slot) = self.free.pop() {
            if let Some(before) = &mut self.before {
                before.taken.push(slot);
            }
            return slot;
        }
        self.slots += 1;
        self.slots
    }

    /// Begins a commit.
    pub(super) fn begin(&mut self) {
        self.before = Some(Box::new(Before {
            tail: self.tail.clone(),
            full: self.full.len(),
            taken: Vec::new(),
            slots: self.slots,
            last: self.last,
        }));
    }

    /// The commit has failed: nothing of it is there.
    pub(super) fn roll_back(&mut self) {
        if let Some(before) = self.before.take() {
            self.full.truncate(before.full);
            self.free.extend(before.taken);
            (self.tail, self.slots, self.last) = (before.tail, before.slots, before.last);
        }
    }

    /// The last row that was written.
    pub(super) fn last_row(&self) -> i64 {
        self.last.0
    }

    /// Adds a record; [`Self::write`] must follow.
    pub(super) fn append(&mut self, tx: &Transaction<'_>, record: &Record) -> Result<(), Fault> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        record.write(self.last, &mut scratch);
        let added = self.add(tx, &scratch, record);
        self.scratch = scratch;
        added
    }

    fn add(&mut self, tx: &Transaction<'_>, bytes: &[u8], record: &Record) -> Result<(), Fault> {
        let mut length = Vec::with_capacity(10);
        put_varint(&mut length, bytes.len() as u64);
        if self.tail.records.len() == ROOM {
            self.turn(tx)?;
        }
        if self.tail.first == NONE {
            self.tail.first = self.tail.records.len() as u16;
            self.tail.base = self.last;
        }
        self.last = (record.row, record.at);
        for mut rest in [length.as_slice(), bytes] {
            while !rest.is_empty() {
                if self.tail.records.len() == ROOM {
                    self.turn(tx)?;
                }
                let (now, later) = rest.split_at(rest.len().min(ROOM - self.tail.records.len()));
                self.tail.records.extend_from_slice(now);
                self.tail.dirty = true;
                rest = later;
            }
        }
        Ok(())
    }

    /// Goes on with another slot.
    fn turn(&mut self, tx: &Transaction<'_>) -> Result<(), Fault> {
        self.write(tx)?;
        self.full.push_back((self.tail.slot, self.last.0));
        let slot = self.take_slot();
        self.tail = Tail::new(slot, self.tail.sequence + 1);
        Ok(())
    }

    /// Writes what was added.
    pub(super) fn write(&mut self, tx: &Transaction<'_>) -> Result<(), Fault> {
        if std::mem::take(&mut self.tail.dirty) {
            let bytes = self.tail.bytes();
            // An update in place: the page that the row fills, and no other.
            let written =
                tx.prepare_cached("UPDATE journal SET body = ?2 WHERE slot = ?1")?.execute((self.tail.slot, &bytes))?;
            if written == 0 {
                tx.prepare_cached("INSERT INTO journal VALUES (?1, ?2)")?.execute((self.tail.slot, &bytes))?;
            }
        }
        Ok(())
    }

    /// Records up to a row are no longer needed: their slots are free, or are
    /// to be overwritten first.
    pub(super) fn release(&mut self, row: i64, now: i64, wipe: bool) {
        let hour = now.div_euclid(3_600_000);
        match self.busiest.back_mut() {
            Some((of, most)) if *of == hour => *most = (*most).max(self.full.len()),
            _ => self.busiest.push_back((hour, self.full.len())),
        }
        while let Some((slot, last_row)) = self.full.front().copied() {
            if last_row > row {
                break;
            }
            self.full.pop_front();
            if wipe { self.wiping.push(slot) } else { self.free.push(slot) }
        }
    }

    /// Some slots that are to be overwritten. Once they are,
    /// [`Self::wiped`] must follow.
    pub(super) fn to_wipe(&self, limit: usize) -> Vec<i64> {
        self.wiping[self.wiping.len().saturating_sub(limit)..].to_vec()
    }

    /// Slots that were overwritten.
    pub(super) fn wiped(&mut self, slots: &[i64]) {
        self.wiping.truncate(self.wiping.len() - slots.len());
        self.free.extend_from_slice(slots);
    }

    /// Slots that may be deleted: free ones beyond as many as were needed in
    /// the last hours, so that a burst does not stay for ever, and what is
    /// needed again every two hours does. With `all`, every free one. Once
    /// they are deleted, [`Self::deleted`] must follow.
    pub(super) fn surplus(&mut self, now: i64, all: bool, limit: usize) -> Vec<i64> {
        let oldest = now.div_euclid(3_600_000) - BUSIEST_HOURS;
        // Hours to come are those of a clock that was ahead.
        self.busiest.retain(|(hour, _)| (oldest..=oldest + BUSIEST_HOURS).contains(hour));
        let busiest = self.busiest.iter().map(|(_, most)| *most).max().unwrap_or(0);
        let keep = if all { 0 } else { SPARE + busiest.saturating_sub(self.full.len()) };
        let surplus = self.free.len().saturating_sub(keep).min(limit);
        // The first ones are used again last.
        self.free[..surplus].to_vec()
    }

    /// The slots that [`Self::surplus`] named are gone.
    pub(super) fn deleted(&mut self, slots: &[i64]) {
        self.free.drain(..slots.len());
    }

    /// How many slots are in use.
    pub(super) fn in_use(&self) -> usize {
        self.full.len() + 1
    }
}

/// What overwrites a slot: one without records.
pub(super) fn empty() -> Vec<u8> {
    Tail::new(0, 0).bytes()
}

/// Calls `each` with every record that can be read, in the order of writing,
/// those that are no longer needed included. Returns how many slots cannot be.
pub(super) fn each(connection: &Connection, mut each: impl FnMut(Record)) -> Result<u64, Fault> {
    let (mut order, mut damaged) = (Vec::new(), 0);
    {
        let mut statement = connection.prepare("SELECT slot, body FROM journal")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match found(row.get(0)?, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?) {
                Some((found, _)) => order.push(found),
                None => damaged += 1,
            }
        }
    }
    order.sort_by_key(|found| found.sequence);
    let mut body = connection.prepare("SELECT body FROM journal WHERE slot = ?1")?;
    let mut stream = Stream::default();
    for Found { slot, sequence, .. } in order {
        let bytes: Vec<u8> = body.query_row([slot], |row| row.get(0))?;
        let Some((found, records)) = found(slot, &bytes) else { continue };
        stream.take(sequence, &found, records, &mut each);
    }
    Ok(damaged)
}

/// Records across slots.
#[derive(Default)]
struct Stream {
    /// The slot that goes on with it; `None` when nothing is to go on with.
    next: Option<u64>,
    /// Of a record that is not there whole.
    waiting: Vec<u8>,
    last: (i64, i64),
}

impl Stream {
    fn take(&mut self, sequence: u64, found: &Found, records: &[u8], each: &mut impl FnMut(Record)) {
        if self.next == Some(sequence) {
            self.waiting.extend_from_slice(records);
        } else {
            // What comes before the first beginning belongs to something lost.
            self.waiting.clear();
            self.next = None;
            if found.first == NONE {
                return;
            }
            self.last = found.base;
            self.waiting.extend_from_slice(records.get(usize::from(found.first)..).unwrap_or_default());
        }
        self.next = Some(sequence + 1);
        let mut rest = self.waiting.as_slice();
        loop {
            let mut ahead = rest;
            let Some(record) = take_length(&mut ahead).and_then(|length| take_bytes(&mut ahead, length)) else { break };
            if let Some(record) = Record::read(record, self.last) {
                self.last = (record.row, record.at);
                each(record);
            }
            rest = ahead;
        }
        let done = self.waiting.len() - rest.len();
        self.waiting.drain(..done);
    }
}
