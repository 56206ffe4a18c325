//! What nvidia-smi prints.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tomte_collect::fuzz_nvidia(data));
