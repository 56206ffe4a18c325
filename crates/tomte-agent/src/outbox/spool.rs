//! Reports on disk, while the hub is away: segment files that are only ever
//! appended to and removed whole.
//!
//! Everything here blocks; [`super::Outbox`] decides what is to be done, and
//! whoever drives it gives the spool a thread. What is found damaged is set
//! aside as `NAME.bad`, counted, and never fatal.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tomte_link::{Gap, decode_report};
use tomte_model::{BootId, Moment, Position, RangeSet, Report, Timestamp};

use super::disk::Disk;
use super::segment::{self, End, HEADER, Header, Lost};

/// A clock that shows less than this was never set: 2020.
const CLOCK_WAS_SET: Timestamp = Timestamp::from_millis(1_577_836_800_000);
/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// How many damaged files are kept for whoever wants to look into them.
const BAD_KEPT: usize = 4;
const GAPS: &str = "gaps.json";

/// How much the spool keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Bytes in all.
    pub bytes: u64,
    /// How old a report may grow.
    pub max_age: Duration,
}

/// A report as it goes to disk.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Its place in the present epoch.
    pub sequence: u64,
    /// When it was read.
    pub moment: Moment,
    /// The report by [`tomte_link::encode_report`].
    pub bytes: Box<[u8]>,
}

/// What is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Reports that are not acked.
    pub reports: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// When the oldest report was read, by the host's clock.
    pub oldest: Option<Timestamp>,
    /// How many files or records were damaged since the start.
    pub damaged: u64,
}

#[derive(Debug)]
struct Segment {
    name: String,
    header: Header,
    all: RangeSet,
    acked: RangeSet,
    bytes: u64,
    oldest: Moment,
    newest: Moment,
}

impl Segment {
    fn unacked(&self) -> u64 {
        count(&self.all) - count(&self.acked)
    }

    /// What is lost when it is dropped.
    fn gap(&self) -> Option<Gap> {
        let mut lost = self.all.iter().flatten().filter(|sequence| !self.acked.contains(*sequence));
        let first = lost.next()?;
        let last = lost.last().unwrap_or(first);
        Some(Gap { epoch: self.header.epoch, first, last, count: self.unacked() })
    }

    fn add(&mut self, sequence: u64, moment: Moment) {
        if self.all.last().is_none() {
            self.oldest = moment;
        }
        self.newest = moment;
        self.all.insert(sequence);
    }
}

fn count(set: &RangeSet) -> u64 {
    set.iter().map(|range| range.end() - range.start() + 1).sum()
}

/// How far reading has come.
#[derive(Debug, Clone, Default)]
struct Cursor {
    /// The segment.
    name: String,
    /// The byte after the last record that was read.
    offset: u64,
    /// That record's sequence.
    sequence: u64,
}

/// The spool.
pub struct Spool {
    disk: Box<dyn Disk>,
    limits: SpoolLimits,
    /// The present epoch and boot, which new segments carry.
    header: Header,
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// Whether the newest segment may still be appended to.
    open: bool,
    cursor: Cursor,
    damaged: u64,
    /// What was found lost at the start.
    lost: Vec<Gap>,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("segments", &self.segments).finish_non_exhaustive()
    }
}

fn name(epoch: u64, first: u64) -> String {
    format!("{epoch:020}-{first:020}.spool")
}

/// The epoch and the first sequence by a segment's name.
fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (epoch, first) = name.strip_suffix(".spool")?.split_once('-')?;
    Some((epoch.parse().ok()?, first.parse().ok()?))
}

impl Spool {
    /// Opens what is there; whole records are kept, the rest is set aside.
    ///
    /// # Errors
    /// When the folder cannot even be listed.
    pub fn open(mut disk: Box<dyn Disk>, limits: SpoolLimits, epoch: u64, boot_id: BootId) -> io::Result<Self> {
        let mut names = disk.list()?;
        names.sort();
        let mut bad: Vec<_> = names.iter().filter(|name| name.ends_with(".bad")).cloned().collect();
        let header = Header { epoch, boot_id };
        let mut spool = Self {
            disk,
            limits,
            header,
            segments: VecDeque::new(),
            open: false,
            cursor: Cursor::default(),
            damaged: 0,
            lost: Vec::new(),
        };
        let names: Vec<_> = names.into_iter().filter(|name| name.ends_with(".spool")).collect();
        for (index, name) in names.iter().enumerate() {
            // Where a damaged end is not known, the next file's beginning is.
            let next = names.get(index + 1).and_then(|next| parse_name(next));
            spool.take_up(name.clone(), next, &mut bad);
        }
        while bad.len() > BAD_KEPT {
            let _ = spool.disk.remove(&bad.remove(0));
        }
        Ok(spool)
    }

    fn take_up(&mut self, name: String, next: Option<(u64, u64)>, bad: &mut Vec<String>) {
        let Ok(bytes) = self.disk.read(&name, 0, usize::MAX) else {
            self.damaged += 1;
            return;
        };
        let header = segment::parse_header(&bytes);
        let (mut records, good, end) = match header {
            Some(_) => segment::records(&bytes[HEADER..]),
            None => (Vec::new(), 0, End::Damaged),
        };
        if end != End::Clean {
            self.damaged += 1;
        }
        let mut good = HEADER + good;
        if end == End::Damaged {
            // The evidence is kept whole; what is good of it goes on in a
            // file of its own. Where the disk refuses that, the rest is cut off.
            let from = header.map_or(0, |_| HEADER);
            let mut kept = segment::salvage(bytes.get(from..).unwrap_or_default());
            if header.is_none() {
                // Without the header nobody knows whose reports these are, but
                // how many there were is known.
                let whole = segment::records(&kept.bytes).0.len() as u64;
                let count = whole + kept.lost.iter().map(|lost| lost.count).sum::<u64>();
                kept.lost = vec![Lost { after: None, before: None, count }];
                kept.bytes.clear();
            }
            self.note_losses(&name, header, &kept.lost, next);
            let aside = format!("{name}.bad");
            if self.disk.rename(&name, &aside).is_ok() {
                bad.push(aside.clone());
                let mut whole = bytes[..from].to_vec();
                whole.extend_from_slice(&kept.bytes);
                if kept.bytes.is_empty() {
                    records.clear();
                } else if self.disk.write(&name, 0, &whole).is_ok() {
                    records = segment::records(&kept.bytes).0;
                    good = whole.len();
                } else {
                    let _ = self.disk.rename(&aside, &name);
                    let _ = self.disk.truncate(&name, good as u64);
                }
            }
        }
        let whole = header.filter(|_| !records.is_empty());
        if end == End::Torn && whole.is_some() {
            let _ = self.disk.truncate(&name, good as u64);
        }
        let Some(header) = whole else {
            if end != End::Damaged {
                let _ = self.disk.remove(&name);
            }
            return;
        };
        let mut segment = Segment {
            name,
            header,
            all: RangeSet::new(),
            acked: RangeSet::new(),
            bytes: good as u64,
            oldest: Moment::default(),
            newest: Moment::default(),
        };
        for record in records {
            segment.add(record.sequence, record.moment);
        }
        self.segments.push_back(segment);
    }

    /// Remembers what damage took from a file, so that the hub is told.
    fn note_losses(&mut self, name: &str, header: Option<Header>, lost: &[Lost], next: Option<(u64, u64)>) {
        let Some((named_epoch, named_first)) = parse_name(name) else { return };
        let epoch = header.map_or(named_epoch, |header| header.epoch);
        for lost in lost {
            let first = lost.after.map_or(named_first, |after| after.saturating_add(1));
            let last = match (lost.before, next) {
                (Some(before), _) => before.saturating_sub(1),
                (None, Some((next_epoch, next_first))) if next_epoch == epoch => next_first.saturating_sub(1),
                // Nothing of an earlier epoch comes any more, so that it does
                // no harm to name more than there was.
                (None, _) => first.saturating_add(lost.count - 1),
            };
            let last = last.max(first);
            let count = lost.count.min((last - first).saturating_add(1));
            self.lost.push(Gap { epoch, first, last, count });
        }
    }

    /// What was found lost at the start, once.
    pub fn take_losses(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.lost)
    }

    /// The greatest epoch there is a report of, zero without any.
    #[must_use]
    pub fn last_epoch(&self) -> u64 {
        self.segments.iter().map(|segment| segment.header.epoch).max().unwrap_or(0)
    }

    /// Sets the epoch that new reports belong to.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.header.epoch = epoch;
        self.open = false;
    }

    /// Changes the limits; they are enforced with the next append.
    pub fn set_limits(&mut self, limits: SpoolLimits) {
        self.limits = limits;
    }

    /// Writes reports, oldest first, and makes them durable. Returns how many
    /// are, and what stopped it short of all. What had to be dropped to make
    /// room is added to `gaps`.
    pub fn append(&mut self, reports: &[Packed], gaps: &mut Vec<Gap>) -> (usize, Option<io::Error>) {
        let mut done = 0;
        while done < reports.len() {
            match self.append_some(&reports[done..]) {
                Ok(written) => done += written,
                Err(error) => {
                    // What is oldest makes room for what is new, but only a
                    // full disk is helped by that, and only once a time.
                    let full = matches!(
                        error.kind(),
                        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
                    );
                    self.open = false;
                    if !full || self.segments.is_empty() {
                        return (done, Some(error));
                    }
                    self.drop_oldest(gaps);
                    match self.append_some(&reports[done..]) {
                        Ok(written) => done += written,
                        Err(error) => return (done, Some(error)),
                    }
                }
            }
            while self.bytes() > self.limits.bytes && self.segments.len() > 1 {
                self.drop_oldest(gaps);
            }
        }
        (done, None)
    }

    /// Writes as many reports as fit into one segment, at least one.
    fn append_some(&mut self, reports: &[Packed]) -> io::Result<usize> {
        let target = (self.limits.bytes / 16).clamp(16 << 10, 1 << 20);
        let Some(first) = reports.first() else { return Ok(0) };
        if self.segments.back().is_none_or(|segment| segment.bytes >= target) {
            self.open = false;
        }
        let fresh = !self.open;
        let offset = if fresh { 0 } else { self.segments.back().map_or(0, |segment| segment.bytes) };
        let mut bytes = if fresh { segment::header(self.header) } else { Vec::new() };
        let mut written = 0;
        for report in reports {
            if written > 0 && offset + bytes.len() as u64 >= target {
                break;
            }
            segment::push_record(&mut bytes, report.sequence, report.moment, &report.bytes);
            written += 1;
        }
        let name = match self.segments.back() {
            Some(segment) if !fresh => segment.name.clone(),
            _ => name(self.header.epoch, first.sequence),
        };
        self.disk.write(&name, offset, &bytes)?;
        if fresh {
            self.segments.push_back(Segment {
                name,
                header: self.header,
                all: RangeSet::new(),
                acked: RangeSet::new(),
                bytes: 0,
                oldest: first.moment,
                newest: first.moment,
            });
            self.open = true;
        }
        let segment = self.segments.back_mut().expect("there is one, or it was just made");
        segment.bytes = offset + bytes.len() as u64;
        for report in &reports[..written] {
            segment.add(report.sequence, report.moment);
        }
        Ok(written)
    }

    fn drop_oldest(&mut self, gaps: &mut Vec<Gap>) {
        if let Some(segment) = self.segments.pop_front() {
            gaps.extend(segment.gap());
            let _ = self.disk.remove(&segment.name);
            self.open &= !self.segments.is_empty();
        }
    }

    /// Drops what has grown too old. Reports of this boot are measured by the
    /// boot clock, others by the wall clock; where that was never set, their
    /// age is not known and they stay.
    pub fn expire(&mut self, now: Moment, gaps: &mut Vec<Gap>) {
        while let Some(oldest) = self.segments.front() {
            let age = if oldest.header.boot_id == self.header.boot_id {
                Duration::from_millis(now.boot_millis.saturating_sub(oldest.newest.boot_millis))
            } else if oldest.newest.wall < CLOCK_WAS_SET {
                Duration::ZERO
            } else {
                now.wall.since(oldest.newest.wall)
            };
            if age <= self.limits.max_age {
                break;
            }
            self.drop_oldest(gaps);
        }
    }

    /// Takes in what the hub has stored for good; segments that are done go.
    pub fn ack(&mut self, epoch: u64, ranges: &RangeSet) {
        for segment in self.segments.iter_mut().filter(|segment| segment.header.epoch == epoch) {
            let here: Vec<_> = segment.all.iter().collect();
            for (theirs, ours) in ranges.iter().flat_map(|range| here.iter().map(move |ours| (range.clone(), ours))) {
                segment.acked.insert_range(*theirs.start().max(ours.start())..=*theirs.end().min(ours.end()));
            }
        }
        let (disk, open) = (&mut self.disk, &mut self.open);
        let last = self.segments.back().map(|segment| segment.name.clone());
        self.segments.retain(|segment| {
            let keep = segment.unacked() > 0;
            if !keep {
                let _ = disk.remove(&segment.name);
                *open &= last.as_ref() != Some(&segment.name);
            }
            keep
        });
    }

    /// Starts reading from the oldest report again.
    pub fn rewind(&mut self) {
        self.cursor = Cursor::default();
    }

    /// The next reports that are not acked, oldest first, about 64 KB of them.
    /// Empty when all have been read. A record that has gone bad since it was
    /// written is skipped and its loss declared.
    pub fn read(&mut self, gaps: &mut Vec<Gap>) -> Vec<Report> {
        // Names sort by age, so that a segment that is gone by now is passed by.
        let mut index = self.segments.partition_point(|segment| segment.name < self.cursor.name);
        let mut reports = Vec::new();
        while reports.is_empty()
            && let Some(segment) = self.segments.get_mut(index)
        {
            if self.cursor.name != segment.name {
                self.cursor = Cursor { name: segment.name.clone(), offset: HEADER as u64, sequence: 0 };
            }
            if self.cursor.offset < segment.bytes {
                let mut lost = Vec::new();
                read_some(self.disk.as_mut(), segment, &mut self.cursor, &mut reports, &mut lost);
                if let (Some(&first), Some(&last)) = (lost.first(), lost.last()) {
                    self.damaged += 1;
                    gaps.push(Gap { epoch: segment.header.epoch, first, last, count: lost.len() as u64 });
                    for sequence in lost {
                        segment.acked.insert(sequence);
                    }
                }
            } else if index + 1 < self.segments.len() {
                index += 1;
            } else {
                // The newest one may still be appended to.
                break;
            }
        }
        reports
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// What is there.
    #[must_use]
    pub fn depth(&self) -> Depth {
        Depth {
            reports: self.segments.iter().map(Segment::unacked).sum(),
            bytes: self.bytes(),
            oldest: self.segments.front().map(|segment| segment.oldest.wall),
            damaged: self.damaged,
        }
    }

    /// Where that report lies, if it is here and not acked.
    #[must_use]
    pub fn holds(&self, position: Position) -> bool {
        self.segments.iter().any(|segment| {
            segment.header.epoch == position.epoch
                && segment.all.contains(position.sequence)
                && !segment.acked.contains(position.sequence)
        })
    }

    /// The gaps that the hub has not been told of yet, from an earlier run.
    pub fn load_gaps(&mut self) -> Vec<Gap> {
        let text = self.disk.read(GAPS, 0, 1 << 20).unwrap_or_default();
        let numbers: Vec<[u64; 4]> = serde_json::from_slice(&text).unwrap_or_default();
        numbers.into_iter().map(|[epoch, first, last, count]| Gap { epoch, first, last, count }).collect()
    }

    /// Keeps the gaps that the hub has not been told of yet.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save_gaps(&mut self, gaps: &[Gap]) -> io::Result<()> {
        if gaps.is_empty() {
            return match self.disk.remove(GAPS) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let numbers: Vec<_> = gaps.iter().map(|gap| [gap.epoch, gap.first, gap.last, gap.count]).collect();
        let staged = format!("{GAPS}.new");
        self.disk.write(&staged, 0, &serde_json::to_vec(&numbers).expect("numbers are JSON"))?;
        self.disk.rename(&staged, GAPS)
    }
}

/// Reads the records from the cursor on, as many as one chunk holds, at least
/// one.
fn read_some(
    disk: &mut dyn Disk,
    segment: &Segment,
    cursor: &mut Cursor,
    reports: &mut Vec<Report>,
    lost: &mut Vec<u64>,
) {
    let wanted = |sequence: u64| !segment.acked.contains(sequence);
    let left = usize::try_from(segment.bytes.saturating_sub(cursor.offset)).unwrap_or(usize::MAX);
    let mut length = CHUNK.min(left);
    loop {
        let chunk = match disk.read(&segment.name, cursor.offset, length) {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            // It is there and cannot be read now: it is tried again with the
            // next connection.
            Err(_) => {
                cursor.offset = segment.bytes;
                return;
            }
        };
        let (records, good, _) = segment::records(&chunk);
        if good == 0 && chunk.len() == length && length < left {
            // A record larger than the chunk.
            length = length.saturating_mul(4).min(left);
            continue;
        }
        for record in records {
            cursor.sequence = record.sequence;
            if !wanted(record.sequence) {
                continue;
            }
            match decode_report(&chunk[record.payload]) {
                Ok(report) => reports.push(report),
                Err(_) => lost.push(record.sequence),
            }
        }
        cursor.offset += good as u64;
        if good == 0 {
            // Nothing can be found any more from here on.
            let after = segment.all.iter().flatten().filter(|sequence| *sequence > cursor.sequence);
            lost.extend(after.filter(|sequence| wanted(*sequence)));
            cursor.offset = segment.bytes;
        }
        return;
    }
}
