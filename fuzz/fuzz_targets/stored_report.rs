//! A damaged spool. What can be read is written and read again as it was.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tomte_fuzz::{converse, report};
use tomte_link::{decode_report, encode_report};

static SAID: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| (1..=3).map(|n| encode_report(&report(n))).collect());

fuzz_target!(|input: &[u8]| {
    converse(&SAID, input, |bytes| {
        if let Ok(report) = decode_report(bytes) {
            let again = decode_report(&encode_report(&report)).expect("our own bytes");
            // Compared as text, which a value that is not a number equals too.
            assert_eq!(format!("{again:?}"), format!("{report:?}"));
        }
        true
    });
});
