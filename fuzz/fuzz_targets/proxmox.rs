//! What Proxmox VE answers, by its web API and by pvesh.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tomte_collect::parse_any_proxmox(bytes));
