//! The first message of an agent that nobody knows yet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tomte_link::{HubLink, Limits};

fuzz_target!(|input: &[u8]| {
    let _ = HubLink::accept(input, Limits::default());
});
