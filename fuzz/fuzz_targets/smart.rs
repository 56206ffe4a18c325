//! What smartctl prints, of disks that may say anything.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tomte_collect::fuzz_smart(data));
