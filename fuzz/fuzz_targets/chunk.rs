//! Pieces of history as they may stand in a damaged or forged database: they
//! are read or refused, and never cost more than their size says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tomte_store::codec::table::{Header, read_entry};
use tomte_store::codec::{column, rollup};

/// No row count beyond this is tried: what a table may have at most is told
/// apart from what a machine that fuzzes should decode.
const ROWS: usize = 10_000;

fuzz_target!(|input: &[u8]| {
    let _ = column::decode(input, input.len() * 8 % ROWS, &mut Vec::new());
    let common = rollup::Common::read(input, 4).unwrap_or_default();
    let _ = rollup::read(input, &[0, 300_000, 600_000, 900_000], &common, &mut Vec::new());
    let _ = Header::read_counts(input);
    let Some(header) = Header::read(input).filter(|header| header.rows <= ROWS) else { return };
    let _ = header.read_times(input, &mut Vec::new());
    let _ = rollup::read_all(&header, input);
    for place in &header.entries {
        if let Some(entry) = header.entry(input, place.series) {
            let _ = read_entry(entry, header.rows, &mut Vec::new());
        }
    }
});
