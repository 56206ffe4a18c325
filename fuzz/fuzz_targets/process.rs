//! What the kernel says of processes, mounts and logged-in users, whose names others choose.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tomte_collect::fuzz_process(data));
