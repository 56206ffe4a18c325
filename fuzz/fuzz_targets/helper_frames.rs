//! What the helper, as root, reads from whoever connects; and, of what it
//! understands, that only disks of the host are ever asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tomte_collect::{Refusal, Root, execute, read_request};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = read_request(bytes) {
        // A host with nothing: whatever names something is refused.
        let answer = execute(&Root::new("/nonexistent"), &request);
        assert!(matches!(answer, Err(Refusal::Invalid(_) | Refusal::Unavailable(_))));
    }
});
