//! A certificate that a server shows.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tomte_agent::reach::fuzz_certificate(data));
