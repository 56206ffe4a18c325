//! What zpool and zfs print, as JSON and as text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tomte_collect::fuzz_zfs(data));
