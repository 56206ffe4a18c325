//! A report as bytes that stand alone, for an agent's spool: a format byte,
//! then the same frames that open a stream on a connection.

use tomte_model::{BootId, HostId, Report};

use crate::decode::{Decoded, LaneDecoder};
use crate::dictionary::Head;
use crate::encode::LaneEncoder;
use crate::error::{LinkError, StoredReportError};
use crate::limits::Limits;
use crate::message::Lane;
use crate::wire::{self, to_hub};

/// The first byte: which format follows.
const FORMAT: u8 = 1;

/// What such bytes start from: the hello that they do not have.
const HEAD: Head = Head { epoch: 0, boot_id: BootId(0), interval_millis: 0, clock_synchronised: true };

fn no_host() -> HostId {
    HostId::from_bytes([0; 16])
}

/// A report as bytes that stand alone; every finite reading is kept exactly.
#[must_use]
pub fn encode_report(report: &Report) -> Vec<u8> {
    // Nobody else's memory is at stake.
    let unlimited = Limits {
        message_bytes: usize::MAX,
        text_bytes: usize::MAX,
        streams: 1,
        scopes: usize::MAX,
        facets: usize::MAX,
        readings: usize::MAX,
        fields: usize::MAX,
        memory_bytes: usize::MAX,
        unfolded_bytes: usize::MAX,
    };
    let mut lane = LaneEncoder::new(Lane::Live, unlimited, no_host(), HEAD);
    // Without resolutions from a catalogue, nothing is rounded.
    let encoded = lane.encode(report, None).expect("without limits, every report can be encoded");
    let mut bytes = vec![FORMAT];
    for (frame_type, body) in &encoded.frames {
        wire::put_bytes(&mut bytes, *frame_type, body);
    }
    bytes
}

/// The report of such bytes.
///
/// # Errors
/// When the bytes are damaged, or of a format that this version does not know.
pub fn decode_report(bytes: &[u8]) -> Result<Report, StoredReportError> {
    let (&format, message) = bytes.split_first().ok_or(StoredReportError::Empty)?;
    if format != FORMAT {
        return Err(StoredReportError::Format(format));
    }
    // Damage must not cost more memory than a large report would.
    let limits = Limits {
        message_bytes: usize::MAX,
        text_bytes: usize::MAX,
        streams: 1,
        scopes: usize::MAX,
        facets: usize::MAX,
        readings: usize::MAX,
        fields: usize::MAX,
        memory_bytes: 256 << 20,
        unfolded_bytes: 256 << 20,
    };
    let mut budget = limits.unfolded_bytes;
    let mut lane = LaneDecoder::new(Lane::Live, limits, no_host(), HEAD);
    let mut found = None;
    for frame in wire::frames(message, usize::MAX).map_err(StoredReportError::Damaged)? {
        match read_frame(frame, &mut lane, &mut budget).map_err(StoredReportError::Damaged)? {
            Some(Decoded::Report(report)) if found.is_none() => found = Some(report),
            None => {}
            _ => return Err(StoredReportError::NotOne),
        }
    }
    found.ok_or(StoredReportError::NotOne)
}

fn read_frame(
    frame: Result<wire::Frame<'_>, LinkError>,
    lane: &mut LaneDecoder,
    budget: &mut usize,
) -> Result<Option<Decoded>, LinkError> {
    let frame = frame?;
    match frame.frame_type {
        to_hub::PART => lane.part(frame.read("part")?).map(|()| None),
        to_hub::REPORT => lane.report(frame.read("report")?, budget).map(Some),
        _ => Ok(None),
    }
}
