//! What a broker says on the commands topic: it is refused, or a bounded request.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tomte_mqtt::command::fuzz_request(bytes));
