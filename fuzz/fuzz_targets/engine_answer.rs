//! What Docker or Podman answers, from the head of the HTTP answer on.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tomte_collect::fuzz_engine_answer(data));
