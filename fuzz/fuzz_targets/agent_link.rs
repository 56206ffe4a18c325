//! What a hub, or somebody in its place, says to the agent.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tomte_fuzz::{converse, hello, hub_says, report};
use tomte_link::{AgentLink, Lane};
use tomte_model::Catalogue;

static SAID: LazyLock<Vec<Vec<u8>>> = LazyLock::new(hub_says);

fuzz_target!(|input: &[u8]| {
    let mut agent = AgentLink::new(hello(), Arc::new(Catalogue::builtin()));
    let mut sequence = 0;
    converse(&SAID, input, |message| {
        let lives = agent.handle(message).is_ok();
        // So that there are streams to ask for again.
        if agent.is_welcomed() {
            sequence += 1;
            let _ = agent.report(&report(sequence), Lane::Live);
        }
        lives
    });
});
