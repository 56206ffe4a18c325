//! What restic, borg and zfs print, and the status files of others' jobs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tomte_collect::parse_any_backup(bytes));
