//! What a probe's command prints, looked into by path and by regular expression.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tomte_collect::fuzz_probe(data));
