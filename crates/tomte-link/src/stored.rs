//! A report as bytes that stand alone, for an agent's spool.

use tomte_model::Report;

use crate::error::StoredReportError;

/// A report as bytes that stand alone; every reading is kept exactly.
#[must_use]
pub fn encode_report(_report: &Report) -> Vec<u8> {
    todo!()
}

/// The report of such bytes.
///
/// # Errors
/// When the bytes are damaged, or of a format that this version does not know.
pub fn decode_report(_bytes: &[u8]) -> Result<Report, StoredReportError> {
    todo!()
}
