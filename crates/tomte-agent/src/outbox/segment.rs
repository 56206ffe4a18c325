//! The bytes of a spool segment: a header, then records that each carry a
//! checksum. Pure: bytes in, values out.
//!
//! Header: `TOMTESP1`, epoch (u64), boot id (u128), CRC-32 of the 24 bytes
//! before it. Record: payload length (u32), CRC-32 of all that follows (u32),
//! sequence (u64), wall clock in milliseconds (i64), boot clock in
//! milliseconds (u64), payload. All numbers are little-endian. The payload is
//! a report by [`tomte_link::encode_report`].

use std::ops::Range;

use tomte_model::{BootId, Moment, Timestamp};

const MAGIC: &[u8; 8] = b"TOMTESP1";
/// The length of a segment's header.
pub(super) const HEADER: usize = 36;
/// The length of a record without its payload.
pub(super) const RECORD: usize = 32;
/// No report is larger; a length beyond it is damage.
const PAYLOAD_LIMIT: usize = 16 << 20;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub epoch: u64,
    pub boot_id: BootId,
}

/// What a record says, and where its payload lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub sequence: u64,
    pub moment: Moment,
    pub payload: Range<usize>,
}

/// How a stretch of records ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a whole record.
    Clean,
    /// In the middle of a record, as after a power cut.
    Torn,
    /// With bytes that are no record.
    Damaged,
}

pub(super) fn header(header: Header) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&header.epoch.to_le_bytes());
    bytes.extend_from_slice(&header.boot_id.0.to_le_bytes());
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

pub(super) fn parse_header(bytes: &[u8]) -> Option<Header> {
    let bytes = bytes.get(..HEADER)?;
    let (said, sum) = bytes.split_at(HEADER - 4);
    let good = said.starts_with(MAGIC) && crc32fast::hash(said).to_le_bytes() == sum;
    good.then(|| Header {
        epoch: u64::from_le_bytes(array(&said[8..16])),
        boot_id: BootId(u128::from_le_bytes(array(&said[16..32]))),
    })
}

pub(super) fn push_record(bytes: &mut Vec<u8>, sequence: u64, moment: Moment, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("reports are far below 4 GB");
    bytes.extend_from_slice(&length.to_le_bytes());
    let sum_at = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&moment.wall.millis().to_le_bytes());
    bytes.extend_from_slice(&moment.boot_millis.to_le_bytes());
    bytes.extend_from_slice(payload);
    let sum = crc32fast::hash(&bytes[sum_at + 4..]);
    bytes[sum_at..sum_at + 4].copy_from_slice(&sum.to_le_bytes());
}

/// The whole records at the beginning of `bytes`, how many bytes they take,
/// and what comes after them.
pub(super) fn records(bytes: &[u8]) -> (Vec<Record>, usize, End) {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        if rest.is_empty() {
            return (found, at, End::Clean);
        }
        if rest.len() < RECORD {
            return (found, at, End::Torn);
        }
        let length = u32::from_le_bytes(array(&rest[..4])) as usize;
        if length > PAYLOAD_LIMIT {
            return (found, at, End::Damaged);
        }
        let Some(record) = rest.get(..RECORD + length) else { return (found, at, End::Torn) };
        if crc32fast::hash(&record[8..]).to_le_bytes() != record[4..8] {
            return (found, at, End::Damaged);
        }
        let wall = Timestamp::from_millis(i64::from_le_bytes(array(&record[16..24])));
        found.push(Record {
            sequence: u64::from_le_bytes(array(&record[8..16])),
            moment: Moment { wall, boot_millis: u64::from_le_bytes(array(&record[24..32])) },
            payload: at + RECORD..at + RECORD + length,
        });
        at += RECORD + length;
    }
}

/// What is whole in a stretch that has damage in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Salvage {
    /// The whole records, one behind the other.
    pub bytes: Vec<u8>,
    /// Each run of records that is lost.
    pub lost: Vec<Lost>,
}

/// Records that damage took.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// The last whole record before them.
    pub after: Option<u64>,
    /// The first whole record behind them; without it they go up to the end.
    pub before: Option<u64>,
    /// How many there were, estimated where their lengths are damaged too.
    pub count: u64,
}

/// Picks the whole records out of a damaged stretch. A record whose content is
/// damaged is stepped over by its length; where the length leads nowhere, the
/// rest is lost.
pub(super) fn salvage(bytes: &[u8]) -> Salvage {
    let mut kept = Salvage::default();
    let (mut at, mut whole, mut last, mut bad) = (0, 0_u64, None, 0);
    loop {
        let (found, good, _) = records(&bytes[at..]);
        if let Some(first) = found.first() {
            if bad > 0 {
                kept.lost.push(Lost { after: last, before: Some(first.sequence), count: bad });
                bad = 0;
            }
            last = found.last().map(|record| record.sequence);
            whole += found.len() as u64;
        }
        kept.bytes.extend_from_slice(&bytes[at..at + good]);
        at += good;
        let rest = &bytes[at..];
        if let Some((count, length)) = step_over(rest) {
            bad += count;
            at += length;
            continue;
        }
        if !rest.is_empty() {
            let usual = (kept.bytes.len() as u64).checked_div(whole).unwrap_or(RECORD as u64 * 8);
            bad += (rest.len() as u64 / usual.max(1)).max(1);
        }
        if bad > 0 {
            kept.lost.push(Lost { after: last, before: None, count: bad });
        }
        return kept;
    }
}

/// Follows the lengths of damaged records to a whole one, or to the end:
/// how many there are, and their bytes.
fn step_over(bytes: &[u8]) -> Option<(u64, usize)> {
    let (mut at, mut count) = (0, 0);
    while bytes.len() - at >= RECORD {
        at += RECORD + u32::from_le_bytes(array(&bytes[at..at + 4])) as usize;
        count += 1;
        let behind = bytes.get(at..)?;
        if behind.is_empty() || !records(behind).0.is_empty() {
            return Some((count, at));
        }
    }
    None
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller cut it to this length")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_whole_around_damage_is_kept_and_the_rest_counted() {
        let mut bytes = Vec::new();
        let mut starts = Vec::new();
        for sequence in 1..=9 {
            starts.push(bytes.len());
            push_record(&mut bytes, sequence, Moment::default(), b"payload");
        }
        // The content of two, and the length of one behind which nothing is found.
        bytes[starts[2] + RECORD] ^= 1;
        bytes[starts[3] + RECORD] ^= 1;
        bytes[starts[7] + 3] = 0xff;
        let kept = salvage(&bytes);
        let sequences: Vec<_> = records(&kept.bytes).0.into_iter().map(|record| record.sequence).collect();
        assert_eq!(sequences, [1, 2, 5, 6, 7]);
        assert_eq!(
            kept.lost,
            [Lost { after: Some(2), before: Some(5), count: 2 }, Lost { after: Some(7), before: None, count: 2 }]
        );
    }

    proptest! {
        #[test]
        fn salvage_of_anything_keeps_whole_records_alone(bytes in prop::collection::vec(any::<u8>(), 0..400), at: prop::sample::Index) {
            let mut mixed = Vec::new();
            push_record(&mut mixed, 7, Moment::default(), b"first");
            push_record(&mut mixed, 8, Moment::default(), b"second");
            let at = at.index(mixed.len());
            mixed.splice(at..at, bytes);
            prop_assert_eq!(records(&salvage(&mixed).bytes).2, End::Clean);
        }

        #[test]
        fn records_survive_a_cut_anywhere(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), cut: prop::sample::Index) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for (sequence, payload) in (1..).zip(&payloads) {
                push_record(&mut bytes, sequence, Moment::default(), payload);
                ends.push(bytes.len());
            }
            let cut = cut.index(bytes.len() + 1);
            let (found, good, end) = records(&bytes[..cut]);
            let whole = ends.iter().filter(|e| **e <= cut).count() - 1;
            prop_assert_eq!(found.len(), whole);
            prop_assert_eq!(good, ends[whole]);
            prop_assert_eq!(end, if ends.contains(&cut) { End::Clean } else { End::Torn });
            for (record, payload) in found.iter().zip(&payloads) {
                prop_assert_eq!(&bytes[record.payload.clone()], &payload[..]);
            }
        }

        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>) {
            let (_, good, _) = records(&bytes);
            prop_assert!(good <= bytes.len());
            let _ = parse_header(&bytes);
        }

        #[test]
        fn a_flipped_bit_is_noticed(flip in 32_usize..(RECORD + 5) * 8) {
            let mut bytes = Vec::new();
            push_record(&mut bytes, 7, Moment::default(), b"hello");
            bytes[flip / 8] ^= 1 << (flip % 8);
            prop_assert_eq!(records(&bytes).2, End::Damaged);
        }
    }

    #[test]
    fn a_header_is_read_back() {
        let said = Header { epoch: 5, boot_id: BootId(9) };
        let mut bytes = header(said);
        assert_eq!(parse_header(&bytes), Some(said));
        bytes[9] ^= 1;
        assert_eq!(parse_header(&bytes), None);
        assert_eq!(parse_header(b"TOMTE"), None);
    }
}
