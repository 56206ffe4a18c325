//! A message of the system bus, and systemd's list of units in it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tomte_collect::fuzz_bus_message(data));
